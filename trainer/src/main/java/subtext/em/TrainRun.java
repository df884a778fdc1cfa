package subtext.em;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.function.Consumer;
import subtext.bindings.Device;
import subtext.bindings.EngineException;
import subtext.data.Annotated;
import subtext.data.Chunk;
import subtext.data.Corpus;
import subtext.data.Dataset;
import subtext.data.Document;
import subtext.data.SequenceBuilder;
import subtext.data.Template;
import subtext.data.View;
import subtext.io.AtomicFiles;
import subtext.model.LlamaConfig;
import subtext.random.Philox;
import subtext.run.Provenance;
import subtext.run.RunConfig;
import subtext.run.RunDirectory;
import subtext.run.Seeds;
import subtext.run.StopSignal;
import subtext.text.BpeTrainer;
import subtext.text.Tokenizer;
import subtext.train.Trainer;
import tools.jackson.databind.json.JsonMapper;

/**
 * One training without expectation-maximisation, in the same folders, with the same resuming and the same figures: on text alone, or on the
 * documents whose thoughts are known.
 */
public final class TrainRun {
    private static final JsonMapper JSON = JsonMapper.builder().build();

    /** What to train on. */
    public enum On {
        /** The text, thoughts left out. */
        TEXT,
        /** The documents of the warm start with their thoughts. */
        THOUGHTS
    }

    /**
     * What came out.
     *
     * @param run folder of the run
     * @param model folder of the model
     * @param digest of its weights
     * @param loss mean training loss of the last steps, nats per token
     * @param before the model that training started from, on the same held-out text; empty from scratch
     * @param tokens predicted tokens trained on
     * @param seconds of training
     */
    public record Report(
            String run,
            String model,
            String digest,
            long seed,
            int steps,
            double loss,
            Optional<EmReport.Measured> before,
            EmReport.Measured measured,
            long tokens,
            double seconds,
            double wallSeconds) {

        /** The object that {@code train --json} prints. */
        public String toJson() {
            Map<String, Object> root = new LinkedHashMap<>();
            root.put("run", run);
            root.put("model", model);
            root.put("sha256", digest);
            root.put("seed", seed);
            root.put("steps", steps);
            root.put("loss", loss);
            before.ifPresent(figures -> root.put("before", EmReport.tree(figures)));
            root.putAll(EmReport.tree(measured));
            root.put("tokens", tokens);
            root.put("seconds", seconds);
            root.put("wallSeconds", wallSeconds);
            return JSON.writeValueAsString(root);
        }
    }

    /** What is kept of a finished training. */
    private record Finished(
            String digest,
            int steps,
            double loss,
            Optional<EmReport.Measured> before,
            EmReport.Measured measured,
            long tokens,
            double seconds) {}

    private TrainRun() {}

    /**
     * Trains a model for the first seed of the configuration, or goes on with it.
     *
     * @param listener told everything that happens, on the calling thread
     * @throws EngineException naming what cannot be and its cure
     */
    public static Report start(EmSettings settings, On on, Consumer<EmEvent> listener) {
        long from = System.nanoTime();
        RunConfig config = settings.config();
        EmPlan plan = EmPlan.of(config);
        if (config.seeds().size() != 1) {
            throw new EngineException.InvalidConfig("seeds: expected one, got " + config.seeds());
        }
        Seeds seeds = new Seeds(config.seeds().getFirst());
        List<String> notices = new ArrayList<>();
        Optional<Origin> origin = Origin.of(config);
        Material material = config.corpus().path().isEmpty() || on == On.THOUGHTS
                ? Materials.of(config, seeds, origin, notices::add)
                : plain(config.corpus(), seeds, origin.map(Origin::tokenizer), notices::add);
        try (Device device = EmRun.open(config.device())) {
            LlamaConfig sizes = EmRun.sizes(config, origin, material);
            listener.accept(new EmEvent.RunStarted(
                    settings.run(),
                    settings.resume(),
                    sizes.parameters(),
                    device.info().toString()));
            notices.forEach(line -> listener.accept(new EmEvent.Notice(line)));
            Provenance.inexact(device).ifPresent(line -> listener.accept(new EmEvent.Notice(line)));
            try (Network network = new Network(
                    device,
                    sizes,
                    EmRun.type(config.device()),
                    plan.training().microTokens(),
                    plan.maxThought(),
                    config.device().slots(),
                    plan.samples(),
                    origin)) {
                if (settings.dryRun()) {
                    listener.accept(new EmEvent.Notice(
                            "would train " + plan.training().steps() + " steps in " + settings.run()));
                    return new Report(
                            settings.run().toString(),
                            "",
                            "",
                            seeds.seed(),
                            0,
                            0,
                            Optional.empty(),
                            nothing(),
                            0,
                            0,
                            0);
                }
                try (RunDirectory directory =
                        RunDirectory.open(settings.run(), settings.resume(), config, Provenance.of(device))) {
                    String name = "train-" + on.name().toLowerCase(java.util.Locale.ROOT);
                    StageFolder stage =
                            new StageFolder(directory.seed(seeds.seed()).resolve(name));
                    Optional<Finished> found = stage.result(Finished.class);
                    Finished done = found.isPresent()
                            ? found.get()
                            : train(
                                    name,
                                    on,
                                    stage,
                                    material,
                                    plan,
                                    seeds,
                                    network,
                                    origin.isPresent(),
                                    settings.stop(),
                                    listener);
                    directory.finish();
                    return new Report(
                            directory.root().toString(),
                            stage.model().toString(),
                            done.digest(),
                            seeds.seed(),
                            done.steps(),
                            done.loss(),
                            done.before(),
                            done.measured(),
                            done.tokens(),
                            done.seconds(),
                            (System.nanoTime() - from) * 1e-9);
                }
            }
        } catch (IOException e) {
            throw new UncheckedIOException(settings.run() + ": " + e.getMessage(), e);
        }
    }

    private static EmReport.Measured nothing() {
        return new EmReport.Measured(
                java.util.OptionalDouble.empty(),
                new java.util.TreeMap<>(),
                Optional.empty(),
                java.util.OptionalDouble.empty(),
                Optional.empty());
    }

    private static Finished train(
            String name,
            On on,
            StageFolder stage,
            Material material,
            EmPlan plan,
            Seeds seeds,
            Network network,
            boolean continued,
            StopSignal stop,
            Consumer<EmEvent> listener)
            throws IOException {
        List<Annotated> documents =
                on == On.THOUGHTS ? material.warmStart() : View.map(material.corpus(), Annotated::raw);
        Dataset dataset = Dataset.shuffled(
                documents,
                new SequenceBuilder(material.tokenizer().controls(), seeds.coins(name), plan.priorShare()),
                seeds.shuffle(name));
        AtomicFiles.createDirectories(stage.path());
        float[] initial = network.initialWeights(seeds.initialWeights());
        LlamaConfig sizes = network.llama().config();
        NeuralModel model = network.model(material.tokenizer().controls(), plan.maxThought());
        Measurement measurement = new Measurement(
                material,
                ExpectationMaximisation.questions(material.heldOut(), plan, sizes.context()),
                plan.evaluation(),
                seeds.evaluation());
        Optional<EmReport.Measured> before = Optional.empty();
        if (continued) {
            network.llama().upload(initial);
            before = Optional.of(measurement.raw(model));
        }
        Trainer.Result trained = ExpectationMaximisation.train(
                network,
                seeds.seed(),
                name,
                dataset,
                plan.training(),
                initial,
                stage,
                Optional.empty(),
                stop,
                listener);
        String digest = stage.writeModel(sizes, trained.weights(), material.tokenizer());
        network.llama().upload(trained.weights());
        Finished finished = new Finished(
                digest,
                trained.state().step(),
                trained.state().loss(),
                before,
                on == On.THOUGHTS ? measurement.thinking(model) : measurement.raw(model),
                trained.state().tokens(),
                trained.state().seconds());
        stage.finish(finished);
        return finished;
    }

    /** A corpus as text alone: no thoughts are needed, and the tokenizer is trained on all that is trained on. */
    private static Material plain(RunConfig.Corpus c, Seeds seeds, Optional<Tokenizer> given, Consumer<String> notice) {
        if (Materials.isPrepared(c)) {
            return Materials.preparedText(c, seeds, given);
        }
        Corpus corpus =
                Corpus.read(c.path(), Materials.mapping(c, Template.parse("corpus.thought", "")), Materials.skipBad(c));
        if (corpus.skipped() > 0) {
            notice.accept("corpus: left out " + corpus.skipped() + " bad records, the first: " + corpus.firstProblem());
        }
        List<Corpus.Record> records = new ArrayList<>();
        for (int i : Philox.permutation(seeds.split(), corpus.records().size())) {
            records.add(corpus.records().get(i));
        }
        // a small corpus keeps a tenth for measuring
        int heldOut = Math.min(c.heldOut(), records.size() / 10);
        if (heldOut < 1) {
            throw new EngineException.InvalidInput(
                    c.path() + ": " + records.size() + " documents; at least 10 are needed to keep some for measuring");
        }
        List<Corpus.Record> rest = records.subList(heldOut, records.size());
        if (c.documents() > 0 && c.documents() < rest.size()) {
            rest = rest.subList(0, c.documents());
        }
        BpeTrainer trainer = new BpeTrainer();
        rest.forEach(record -> trainer.add(record.context()).add(record.text()));
        Tokenizer tokenizer = given.orElseGet(() -> trainer.train(Materials.vocabulary(c)));
        return new Material(
                tokenizer,
                List.of(),
                rest.stream().map(record -> document(record, tokenizer)).toList(),
                List.of(),
                records.subList(0, heldOut).stream()
                        .map(record -> document(record, tokenizer))
                        .toList(),
                Optional.empty(),
                true);
    }

    private static Document document(Corpus.Record record, Tokenizer tokenizer) {
        List<Chunk> chunks = new ArrayList<>();
        if (!record.context().isEmpty()) {
            Chunk.add(chunks, tokenizer, record.context(), false);
        }
        Chunk.add(chunks, tokenizer, record.text(), true);
        return new Document(record.id(), chunks);
    }
}
