package subtext.em;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import java.util.function.Consumer;
import java.util.stream.Stream;
import subtext.bindings.Device;
import subtext.bindings.EngineException;
import subtext.data.Annotated;
import subtext.data.Chunker;
import subtext.data.Corpus;
import subtext.data.Dataset;
import subtext.data.SequenceBuilder;
import subtext.data.Template;
import subtext.data.View;
import subtext.engine.SelfTest;
import subtext.io.AtomicFiles;
import subtext.model.LlamaConfig;
import subtext.model.WeightPieces;
import subtext.random.Philox;
import subtext.report.HtmlReport;
import subtext.report.RunView;
import subtext.report.TensorBoard;
import subtext.run.Beginning;
import subtext.run.MetricsLog;
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
        THOUGHTS;

        private String command() {
            return "train --on " + name().toLowerCase(Locale.ROOT);
        }

        /**
         * {@return the folder of the training's stage in that of its seed}
         *
         * @param seed folder of the seed
         */
        public Path folder(Path seed) {
            return seed.resolve("train-" + name().toLowerCase(Locale.ROOT));
        }

        /**
         * {@return what an existing run is trained on; empty if it is one of EM}
         *
         * @param run its folder
         * @throws EngineException.InvalidInput if there is no run
         */
        public static Optional<On> find(Path run) {
            String command = RunDirectory.storedCommand(run).orElse("");
            return Stream.of(values())
                    .filter(on -> on.command().equals(command))
                    .findFirst();
        }

        /**
         * {@return what an existing run is trained on}
         *
         * @param run its folder
         * @throws EngineException.InvalidConfig if it is no training
         * @throws EngineException.InvalidInput if there is no run
         */
        public static On of(Path run) {
            String command = RunDirectory.storedCommand(run).orElse(TEXT.command());
            return Stream.of(values())
                    .filter(on -> on.command().equals(command))
                    .findFirst()
                    .orElseThrow(() -> new EngineException.InvalidConfig(
                            "run: " + run + " was begun by '" + command + "'; resume it by that"));
        }
    }

    /**
     * What came out.
     *
     * @param run folder of the run
     * @param model folder of the model
     * @param digest of its weights
     * @param seed first of the configuration
     * @param steps updates of the training
     * @param loss mean training loss of the last steps, nats per token
     * @param before the model that training started from, on the same held-out text; empty from scratch
     * @param measured the trained model on held-out documents
     * @param tokens predicted tokens trained on
     * @param seconds of training
     * @param wallSeconds time of this process
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

        /** {@return the object that {@code train --json} prints} */
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

    /**
     * What is kept of a finished training.
     *
     * @param digest of the model's weights
     * @param steps updates
     * @param loss mean training loss of the last steps, nats per token
     * @param before the model that training started from, on the same held-out text; empty from scratch
     * @param measured the trained model on held-out documents
     * @param tokens predicted tokens trained on
     * @param seconds of training
     */
    public record Finished(
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
     * @param settings folder, configuration and who may stop it
     * @param on what to train on
     * @param listener told everything that happens, on the calling thread
     * @return the figures of the training, also if it was found finished
     * @throws EngineException naming what cannot be and its cure
     * @throws UncheckedIOException if a file cannot be read or written
     */
    public static Report start(EmSettings settings, On on, Consumer<EmEvent> listener) {
        long from = System.nanoTime();
        RunConfig config = settings.config();
        EmPlan plan = EmPlan.of(config);
        Seeds seeds = seeds(config);
        List<String> notices = new ArrayList<>();
        Optional<Origin> origin = Origin.of(config);
        Material material = material(config, seeds, on, origin, notices::add);
        try (Device device = EmRun.open(config.device())) {
            SelfTest.require(device); // no weights and no thoughts by kernels that compute wrong
            LlamaConfig sizes = EmRun.sizes(config, origin, material);
            RunPlan.Needs needs = needs(settings, plan, device, sizes, material);
            needs.requireFit(settings.run());
            needs.caution().ifPresent(notices::add);
            try (RunDirectory directory = RunDirectory.open(
                            settings.run(),
                            settings.resume(),
                            new Beginning(on.command(), config, inputs(config, on)),
                            Provenance.of(device));
                    MetricsLog log = MetricsLog.open(directory.metrics());
                    TensorBoard board = new TensorBoard(directory.root());
                    Network network = new Network(
                            device,
                            sizes,
                            EmRun.type(config.device()),
                            plan.training().microTokens(),
                            plan.maxThought(),
                            config.device().slots(),
                            plan.samples(),
                            config.device().recompute(),
                            origin)) {
                Metrics metrics = new Metrics(directory, log, listener.andThen(board));
                metrics.accept(new EmEvent.RunStarted(
                        directory.root(),
                        directory.resumed(),
                        sizes.parameters(),
                        device.info().toString()));
                notices.addAll(directory.notices());
                Provenance.inexact(device).ifPresent(notices::add);
                notices.forEach(line -> metrics.accept(new EmEvent.Notice(line)));
                Path folder = on.folder(directory.seed(seeds.seed()));
                StageFolder stage = new StageFolder(folder, plan.keepFinished());
                Optional<Finished> found = stage.result(Finished.class);
                Finished done = found.isPresent()
                        ? found.get()
                        : train(
                                folder.getFileName().toString(),
                                on,
                                stage,
                                material,
                                plan,
                                seeds,
                                network,
                                origin.isPresent(),
                                settings.stop(),
                                metrics);
                log.add("finished", Map.of("wallSeconds", (System.nanoTime() - from) * 1e-9));
                log.flush();
                RunDirectory.writePage(directory.root(), HtmlReport.page(RunView.read(directory.root())));
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
        } catch (IOException e) {
            throw new UncheckedIOException(settings.run() + ": " + e.getMessage(), e);
        }
    }

    /**
     * What a training of these settings would take; trains nothing and allocates nothing on the device but what measures it.
     *
     * @param settings as for {@link #start}; nothing is written into their folder
     * @param on what to train on
     * @param listener told what a person should know about the data
     * @return sizes, memory, disk and time
     */
    public static RunPlan plan(EmSettings settings, On on, Consumer<EmEvent> listener) {
        RunConfig config = settings.config();
        EmPlan plan = EmPlan.of(config);
        Optional<Origin> origin = Origin.of(config);
        Material material =
                material(config, seeds(config), on, origin, line -> listener.accept(new EmEvent.Notice(line)));
        try (Device device = EmRun.open(config.device())) {
            LlamaConfig sizes = EmRun.sizes(config, origin, material);
            List<Annotated> documents = documents(material, on);
            return RunPlan.training(
                    plan.training(),
                    sizes,
                    documents.size(),
                    (long) (documents.size() * meanRows(documents, material, plan)),
                    needs(settings, plan, device, sizes, material),
                    Rates.measured(device, sizes, EmRun.type(config.device())),
                    config.device().recompute());
        } catch (IOException e) {
            throw new UncheckedIOException(settings.run() + ": " + e.getMessage(), e);
        }
    }

    private static RunPlan.Needs needs(
            EmSettings settings, EmPlan plan, Device device, LlamaConfig sizes, Material material) throws IOException {
        return EmRun.needs(settings, plan, device, sizes, material.bytes(), RunPlan.disk(plan.training(), sizes));
    }

    /** Tokens of a document in training. */
    private static double meanRows(List<Annotated> documents, Material material, EmPlan plan) {
        SequenceBuilder builder = new SequenceBuilder(material.tokenizer().controls(), 0, plan.priorShare());
        return RunPlan.Volume.mean(
                documents, document -> builder.build(document, 0).rows());
    }

    private static Seeds seeds(RunConfig config) {
        if (config.seeds().size() != 1) {
            throw new EngineException.InvalidConfig("seeds: expected one, got " + config.seeds());
        }
        return new Seeds(config.seeds().getFirst());
    }

    static Material material(RunConfig config, Seeds seeds, On on, Optional<Origin> origin, Consumer<String> notice) {
        return config.corpus().path().isEmpty() || on == On.THOUGHTS
                ? Materials.of(config, seeds, origin, notice)
                : plain(config.corpus(), seeds, origin.map(Origin::tokenizer), notice);
    }

    private static Map<String, String> inputs(RunConfig config, On on) throws IOException {
        return Inputs.of(on == On.TEXT ? config.with("corpus.thoughts", "") : config); // text alone has none
    }

    private static List<Annotated> documents(Material material, On on) {
        return on == On.THOUGHTS ? material.warmStart() : View.map(material.corpus(), Annotated::raw);
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
        List<Annotated> documents = documents(material, on);
        Dataset dataset = Dataset.shuffled(
                documents,
                new SequenceBuilder(material.tokenizer().controls(), seeds.coins(name), plan.priorShare()),
                seeds.shuffle(name));
        AtomicFiles.createDirectories(stage.path());
        WeightPieces initial = network.initialWeights(seeds.initialWeights());
        LlamaConfig sizes = network.llama().config();
        NeuralModel model = network.model(material.tokenizer().controls(), plan.maxThought());
        Measurement measurement = new Measurement(
                material,
                on == On.THOUGHTS
                        ? Questions.of(material.heldOut(), plan, sizes.context())
                        : Questions.whole(material.heldOut(), sizes.context()),
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
        String digest = network.writeTo(stage, material.tokenizer());
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
            return Materials.preparedText(c, seeds, given, notice);
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
        if (records.size() < 10) {
            throw new EngineException.InvalidInput(
                    c.path() + ": " + records.size() + " documents; at least 10 are needed to keep some for measuring");
        }
        int heldOut = Materials.atMost(
                records.size() / 10, c.heldOut(), "heldOut", "a tenth of " + records.size() + " documents", notice);
        int left = records.size() - heldOut;
        int documents = c.documents() == 0
                ? left
                : Materials.atMost(left, c.documents(), "documents", "all but those held out", notice);
        List<Corpus.Record> rest = records.subList(heldOut, heldOut + documents);
        Optional<Chunker> chunker = c.chunked() ? Optional.of(Materials.cutter(c)) : Optional.empty();
        BpeTrainer trainer = new BpeTrainer();
        rest.forEach(record -> trainer.add(record.context()).add(record.text()));
        Tokenizer tokenizer = given.orElseGet(() -> trainer.train(Materials.vocabulary(c)));
        return new Material(
                tokenizer,
                List.of(),
                Materials.documents(rest, chunker, tokenizer),
                List.of(),
                Materials.documents(records.subList(0, heldOut), chunker, tokenizer),
                Optional.empty(),
                true);
    }
}
