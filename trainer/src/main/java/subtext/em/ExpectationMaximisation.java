package subtext.em;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.Optional;
import java.util.OptionalDouble;
import java.util.function.Consumer;
import java.util.stream.Collectors;
import java.util.stream.IntStream;
import subtext.bindings.EngineException;
import subtext.data.Annotated;
import subtext.data.BatchLoader;
import subtext.data.Dataset;
import subtext.data.Leakage;
import subtext.data.SequenceBuilder;
import subtext.data.View;
import subtext.evaluate.Diagnosis;
import subtext.evaluate.EStepHealth;
import subtext.evaluate.Warning;
import subtext.io.AtomicFiles;
import subtext.model.LlamaConfig;
import subtext.model.WeightPieces;
import subtext.random.Philox;
import subtext.run.RunDirectory;
import subtext.run.Seeds;
import subtext.run.StopSignal;
import subtext.train.EarlyStopping;
import subtext.train.TrainEvent;
import subtext.train.TrainPlan;
import subtext.train.Trainer;

/**
 * The outer loop for one seed: a warm start on documents with thoughts (iteration 0); then in every iteration an E-step, in which the last
 * model draws thoughts for the corpus and one of K is chosen by its weight, and an M-step, which trains on the texts with the chosen
 * thoughts in either order; then the baselines. After each training the model is measured on held-out documents.
 *
 * <p>Everything finished is a file in the run's folder and nothing else stores progress: killed anywhere and run again, it goes on at the
 * first missing piece and ends with the same models to the bit.
 *
 * @see <a href="https://arxiv.org/abs/2503.18866">Ruan et al. 2025</a>
 */
public final class ExpectationMaximisation {
    /** One draw in so many is scored again behind its own prompt. */
    private static final int CHECKED = 100;

    private final Network network;
    private final Material material;
    private final EmPlan plan;
    private final Seeds seeds;
    private final Path folder;
    private final Consumer<EmEvent> listener;
    private final StopSignal stop;
    private final NeuralModel model;
    private final Questions corpus;
    private final Questions heldOut;
    private final Measurement measurement;
    private final List<EmReport.Raised> warnings = new ArrayList<>();

    private ExpectationMaximisation(Builder builder) {
        this.network = builder.network;
        this.material = builder.material;
        this.plan = builder.plan;
        this.seeds = new Seeds(builder.seed);
        this.folder = builder.folder;
        this.listener = builder.listener;
        this.stop = builder.stop;
        this.model = network.model(material.tokenizer().controls(), plan.maxThought());
        int positions = network.llama().config().context();
        this.corpus = Questions.of(material.corpus(), plan, positions);
        this.heldOut = Questions.of(material.heldOut(), plan, positions);
        this.measurement = new Measurement(material, heldOut, plan.evaluation(), seeds.evaluation());
    }

    /** Collects what a run needs; all but the listener and the stop signal must be given. */
    public static final class Builder {
        private Network network;
        private Material material;
        private EmPlan plan;
        private long seed;
        private Path folder;
        private Consumer<EmEvent> listener = event -> {};
        private StopSignal stop = new StopSignal();

        private Builder() {}

        /**
         * Says where to compute.
         *
         * @param value stays with the caller; weights and optimizer are overwritten
         * @return this
         */
        public Builder network(Network value) {
            network = value;
            return this;
        }

        /**
         * Gives the documents.
         *
         * @param value of this seed
         * @return this
         */
        public Builder material(Material value) {
            material = value;
            return this;
        }

        /**
         * Says what to do.
         *
         * @param value checked settings
         * @return this
         */
        public Builder plan(EmPlan value) {
            plan = value;
            return this;
        }

        /**
         * Sets the seed of everything drawn; 0 unless set.
         *
         * @param value the number a person gives
         * @return this
         */
        public Builder seed(long value) {
            seed = value;
            return this;
        }

        /**
         * Says where to keep everything. What is there already is taken as done.
         *
         * @param value folder of the seed
         * @return this
         */
        public Builder folder(Path value) {
            folder = value;
            return this;
        }

        /**
         * Says who is told what happens; nobody unless set.
         *
         * @param value called on the thread of the run
         * @return this
         */
        public Builder listener(Consumer<EmEvent> value) {
            listener = value;
            return this;
        }

        /**
         * Gives what may ask to save and stop; without it nobody can.
         *
         * @param value may be set by any thread
         * @return this
         */
        public Builder stop(StopSignal value) {
            stop = value;
            return this;
        }

        /** {@return a run of what was set so far; nothing is read or written yet} */
        public ExpectationMaximisation build() {
            return new ExpectationMaximisation(this);
        }
    }

    /** {@return a builder with nothing set} */
    public static Builder builder() {
        return new Builder();
    }

    /**
     * Runs, or goes on, to the end.
     *
     * @return the figures of all iterations and baselines, those found finished included
     * @throws subtext.bindings.EngineException.Stopped if it was asked for, with everything saved
     * @throws IOException if a file of the folder cannot be read or written
     */
    public EmReport.Seed run() throws IOException {
        WeightPieces initial = network.initialWeights(seeds.initialWeights());
        corpus.notice("corpus").ifPresent(line -> listener.accept(new EmEvent.Notice(line)));
        heldOut.notice("held out").ifPresent(line -> listener.accept(new EmEvent.Notice(line)));
        leakage().ifPresent(warning -> raise(0, warning));
        List<EmReport.Iteration> iterations = new ArrayList<>();
        List<Double> bounds = new ArrayList<>();
        Optional<EStepHealth> firstHealth = Optional.empty();
        for (int i = 0; i <= plan.iterations(); i++) {
            StageFolder stage = iterationFolder(i);
            Optional<EmReport.Iteration> done = stage.result(EmReport.Iteration.class);
            EmReport.Iteration iteration = done.isPresent() ? done.get() : iterate(i, stage, initial, iterations);
            iterations.add(iteration);
            stop.check("after iteration " + i);
            listener.accept(new EmEvent.IterationFinished(seeds.seed(), iteration));
            if (i > 0) {
                EStepHealth health = measurement.health(corpus, firstRecords(i), plan.weighting());
                Diagnosis.ofLogProbMismatch(mismatch(stage)).ifPresent(found -> raise(iteration.iteration(), found));
                for (Warning warning : Diagnosis.ofEStep(health, firstHealth, plan.warnings())) {
                    raise(i, warning);
                }
                firstHealth = firstHealth.or(() -> Optional.of(health));
            }
            for (Warning warning : ofHeldOut(iteration, bounds)) {
                raise(i, warning);
            }
        }
        List<EmReport.Baseline> baselines = new ArrayList<>();
        Baselines recipes = new Baselines(material, plan, seeds, network.llama().config(), iterations);
        for (String name : plan.baselines()) {
            baseline(name, recipes, iterations.getFirst(), initial).ifPresent(baseline -> {
                baselines.add(baseline);
                listener.accept(new EmEvent.BaselineFinished(seeds.seed(), baseline));
            });
            stop.check("after baseline " + name);
        }
        return new EmReport.Seed(seeds.seed(), iterations, baselines, warnings, shown());
    }

    // ---- warnings

    private void raise(int i, Warning warning) {
        warnings.add(new EmReport.Raised(i, warning));
        listener.accept(new EmEvent.Warned(seeds.seed(), i, warning));
    }

    /**
     * What the held-out figures of an iteration warn of.
     *
     * @param bounds of the iterations before; this one's is added
     */
    private List<Warning> ofHeldOut(EmReport.Iteration iteration, List<Double> bounds) {
        List<Warning> found = new ArrayList<>();
        EmReport.Measured measured = iteration.measured();
        measured.priorGap()
                .flatMap(gap -> Diagnosis.ofPriorGap(gap.priorThoughts(), gap.noThought(), plan.warnings()))
                .ifPresent(found::add);
        if (!measured.elbo().isEmpty()) {
            bounds.add(measured.elbo().lastEntry().getValue().mean());
            Diagnosis.ofHeldOut(bounds, plan.warnings()).ifPresent(found::add);
        }
        return found;
    }

    /** Whether held-out chunks stand in what is trained on. Looked for once: a large corpus takes its time. */
    private Optional<Warning> leakage() throws IOException {
        StageFolder stage = stage(folder.resolve("leakage"));
        Optional<Leakage.Found> done = stage.result(Leakage.Found.class);
        Leakage.Found found;
        if (done.isPresent()) {
            found = done.get();
        } else {
            found = material.truth().isPresent()
                    ? Leakage.inWorld(material.heldOut(), material.corpus(), material.warmStart())
                    : Leakage.inText(material.heldOut(), material.corpus(), material.warmStart(), material.tokenizer());
            AtomicFiles.createDirectories(stage.path());
            stage.finish(found);
        }
        Optional<Warning> warning = Diagnosis.ofLeakage(found.share(), plan.warnings());
        if (warning.isPresent()) {
            listener.accept(new EmEvent.Notice(String.format(
                    Locale.ROOT,
                    "held out: of %,d chunks %,d stand in the training text whole, %,d share 13 words in a row with it: %s",
                    found.chunks(),
                    found.exact(),
                    found.runs(),
                    String.join(", ", found.documents()))));
        }
        return warning;
    }

    // ---- an iteration

    /** @param before all iterations before it */
    private EmReport.Iteration iterate(int i, StageFolder stage, WeightPieces initial, List<EmReport.Iteration> before)
            throws IOException {
        String name = "iteration " + i;
        List<Annotated> documents = material.warmStart();
        Optional<EmReport.Draws> drawn = Optional.empty();
        double eSeconds = 0;
        WeightPieces start = initial;
        if (i > 0) {
            Proposer last = proposer(iterationFolder(i - 1), before.getLast().model());
            List<LatentRecord> records = eStep(i, stage, proposers(i, last));
            eSeconds = seconds(stage);
            drawn = Optional.of(measurement.draws(corpus, records, plan.weighting(), eSeconds));
            stage.writeShown(shown(i, records));
            documents = plan.weightedLoss()
                    ? MStep.weighted(corpus, records, plan.weighting())
                    : MStep.chosen(corpus, records);
            start = plan.restart() == Restart.CARRY ? last.weights() : initial;
        }
        SequenceBuilder builder =
                new SequenceBuilder(material.tokenizer().controls(), seeds.coins(name), plan.priorShare());
        Dataset dataset = Dataset.shuffled(documents, builder, seeds.shuffle(name));
        Trainer.Result trained = train(
                i == 0 ? name + ": warm start" : name + ": M-step",
                dataset,
                i == 0 ? plan.warmStart() : plan.training(),
                start,
                stage,
                Optional.empty());
        String digest = network.writeTo(stage, material.tokenizer());
        double mSeconds = trained.state().seconds();
        long mTokens = trained.state().tokens();
        if (i > 0 && i < plan.iterations() && plan.folds() > 1) {
            for (int f = 0; f < plan.folds(); f++) {
                FoldModel fold = trainFold(i, f, documents, initial);
                mSeconds += fold.mSeconds();
                mTokens += fold.mTokens();
            }
            network.llama().upload(stage.weights(network.llama().config(), digest));
        }
        measuring(name);
        LlamaConfig sizes = network.llama().config();
        EmReport.Cost cost = Compute.cost(sizes, i == 0 ? plan.warmStart() : plan.training(), trained.state(), mTokens);
        EmReport.Iteration iteration = new EmReport.Iteration(
                i,
                measurement.thinking(model),
                drawn,
                trained.state().loss(),
                eSeconds,
                mSeconds,
                mTokens,
                digest,
                Optional.of(cost),
                drawn.isEmpty()
                        ? OptionalDouble.empty()
                        : OptionalDouble.of(drawn.get().tokens()
                                * Compute.forward(
                                        sizes,
                                        cost.documentTokens(),
                                        plan.training().documentMask())));
        stage.finish(iteration);
        return iteration;
    }

    // ---- cross-fitting

    /**
     * The model that explains a fold, trained on the others.
     *
     * @param mTokens predicted tokens it was trained on
     * @param model digest of its weights
     */
    record FoldModel(int fold, double loss, double mSeconds, long mTokens, String model) {}

    /** The M-step of an iteration on all documents but those of a fold, unless it is there already. */
    private FoldModel trainFold(int i, int fold, List<Annotated> documents, WeightPieces initial) throws IOException {
        StageFolder stage = foldFolder(i, fold);
        Optional<FoldModel> done = stage.result(FoldModel.class);
        if (done.isPresent()) {
            return done.get();
        }
        String name = "iteration " + i + ", fold " + fold;
        int variants = documents.size() / material.corpus().size(); // K under a weighted loss
        List<Annotated> others = View.pick(
                documents,
                IntStream.range(0, documents.size())
                        .filter(d -> fold(material.corpus().get(d / variants).id()) != fold)
                        .toArray());
        if (others.isEmpty()) {
            throw new EngineException.InvalidConfig("em.folds: the " + plan.folds()
                    + " folds leave nothing to train fold " + fold + " on; take fewer folds or more documents");
        }
        Dataset dataset = Dataset.shuffled(
                others,
                new SequenceBuilder(material.tokenizer().controls(), seeds.coins(name), plan.priorShare()),
                seeds.shuffle(name));
        Trainer.Result trained = train(name + ": M-step", dataset, plan.training(), initial, stage, Optional.empty());
        FoldModel result = new FoldModel(
                fold,
                trained.state().loss(),
                trained.state().seconds(),
                trained.state().tokens(),
                network.writeTo(stage, material.tokenizer()));
        stage.finish(result);
        stop.check("after " + name);
        return result;
    }

    /** The fold of a document. */
    private int fold(String document) {
        return Philox.below(Philox.key(seeds.folds(), document), 0, plan.folds());
    }

    private StageFolder foldFolder(int i, int fold) {
        return stage(iterationFolder(i).path().resolve("fold-" + fold));
    }

    /**
     * A model that draws thoughts. Its weights stay on the disk until they are wanted on the device.
     *
     * @param digest of its file
     */
    private record Proposer(String digest, WeightPieces weights) {}

    private Proposer proposer(StageFolder stage, String digest) {
        return new Proposer(digest, stage.weights(network.llama().config(), digest));
    }

    /**
     * Models that draw thoughts.
     *
     * @param digest of what they are, together
     * @param weights one for all documents, or one for each fold
     */
    private record Proposers(String digest, List<WeightPieces> weights) {}

    /** The models of the E-step of an iteration: the last one, or, once it has seen the corpus, those that have not seen their fold. */
    private Proposers proposers(int i, Proposer last) throws IOException {
        if (plan.folds() == 1 || i == 1) {
            return new Proposers(last.digest(), List.of(last.weights()));
        }
        List<Proposer> folds = new ArrayList<>();
        for (int f = 0; f < plan.folds(); f++) {
            StageFolder stage = foldFolder(i - 1, f);
            folds.add(proposer(stage, stage.digest()));
        }
        return new Proposers(
                "folds " + folds.stream().map(Proposer::digest).collect(Collectors.joining(" ")),
                folds.stream().map(Proposer::weights).toList());
    }

    /** The thoughts of some questions, each by the model of its fold. A record does not depend on which are drawn together. */
    private List<LatentRecord> explain(EStep eStep, List<Question> questions, Proposers proposers) throws IOException {
        if (proposers.weights().size() == 1) {
            return eStep.explain(model, questions);
        }
        LatentRecord[] records = new LatentRecord[questions.size()];
        for (int f = 0; f < proposers.weights().size(); f++) {
            int fold = f;
            int[] places = IntStream.range(0, questions.size())
                    .filter(q -> fold(questions.get(q).document()) == fold)
                    .toArray();
            if (places.length == 0) {
                continue;
            }
            network.llama().upload(proposers.weights().get(f));
            List<LatentRecord> drawn = eStep.explain(
                    model, IntStream.of(places).mapToObj(questions::get).toList());
            for (int j = 0; j < places.length; j++) {
                records[places[j]] = drawn.get(j);
            }
        }
        return List.of(records);
    }

    // ---- E-step

    /** Draws the parts that are not there yet and reads those that are. */
    private List<LatentRecord> eStep(int i, StageFolder stage, Proposers proposers) throws IOException {
        AtomicFiles.createDirectories(stage.latents());
        EStep eStep = new EStep(plan.samples(), plan.selection(), plan.weighting(), seeds.eStep(i));
        String source = source(i, proposers.digest());
        int parts = parts();
        int present = 0;
        while (present < parts && Files.exists(part(stage, present))) {
            present++;
        }
        listener.accept(new EmEvent.StageStarted(seeds.seed(), "iteration " + i + ": E-step", "parts", present, parts));
        boolean loaded = false;
        LatentRecords records = new LatentRecords();
        for (int p = 0; p < parts; p++) {
            List<Question> questions =
                    List.copyOf(corpus.subList(p * plan.part(), (int) Math.min(corpus.size(), (p + 1L) * plan.part())));
            Path file = part(stage, p);
            List<LatentRecord> drawn;
            if (Files.exists(file)) {
                drawn = LatentPart.read(file, source);
                requireAbout(questions, drawn, file);
            } else {
                if (!loaded && proposers.weights().size() == 1) { // those of folds are loaded in turn
                    network.llama().upload(proposers.weights().getFirst());
                    loaded = true;
                }
                long from = System.nanoTime();
                try {
                    drawn = explain(eStep, questions, proposers);
                } catch (EngineException.NonFinite e) {
                    throw new EngineException.NonFinite(
                            "E-step of iteration " + i + ", part " + (p + 1) + " of " + parts + ": " + e.getMessage());
                }
                double seconds = (System.nanoTime() - from) * 1e-9;
                LatentPart.write(file, source, seconds, mismatch(i, questions, drawn, proposers), drawn);
                listener.accept(progress(i, p, parts, questions, drawn, seconds));
                stop.check("after part " + (p + 1) + " of " + parts + " of the E-step of iteration " + i);
            }
            records.add(drawn, LatentPart.open(file, source));
        }
        return records;
    }

    /** A part that was there must be about the chunks that the corpus has in its place. */
    private static void requireAbout(List<Question> questions, List<LatentRecord> records, Path file) {
        for (int q = 0; q < Math.max(questions.size(), records.size()); q++) {
            String asked = q < questions.size()
                    ? "chunk " + questions.get(q).chunk() + " of "
                            + questions.get(q).document()
                    : "nothing";
            String found = q < records.size()
                    ? "chunk " + records.get(q).chunk() + " of "
                            + records.get(q).document()
                    : "nothing";
            if (!asked.equals(found)) {
                throw new EngineException.CorruptFile(file + ": line " + (q + 2) + " is about " + found
                        + ", the corpus has " + asked
                        + " there: it is not the corpus that the run began with; put that back, or begin a new run");
            }
        }
    }

    /**
     * The largest difference between sampler and scorer, nats, in some draws that are scored again behind the prompt they were drawn from.
     *
     * @throws EngineException.Inexact if there is one on a device whose log-probabilities are said to be exact
     */
    private double mismatch(int i, List<Question> questions, List<LatentRecord> drawn, Proposers proposers) {
        int some = Math.max(1, questions.size() / CHECKED);
        // those that the loaded model drew: all, or the last fold's
        int[] places = IntStream.range(0, questions.size())
                .filter(q ->
                        proposers.weights().size() == 1 || fold(questions.get(q).document()) == plan.folds() - 1)
                .limit(some)
                .toArray();
        double mismatch = model.largestMismatch(
                IntStream.of(places).mapToObj(questions::get).toList(),
                IntStream.of(places).mapToObj(drawn::get).toList());
        if (network.exact()) {
            requireAgreement(i, mismatch);
        }
        return mismatch;
    }

    /** @param mismatch between sampler and scorer, nats; NaN is one too */
    static void requireAgreement(int i, double mismatch) {
        if (mismatch != 0) {
            throw new EngineException.Inexact("E-step of iteration " + i + ": sampler and scorer differ by " + mismatch
                    + " nats about the same tokens, so weights would compare two models; nothing of this part is saved; run"
                    + " `doctor`, and report the device and library");
        }
    }

    private EmEvent progress(
            int i, int part, int parts, List<Question> questions, List<LatentRecord> drawn, double seconds) {
        double ess = 0;
        double elbo = 0;
        long tokens = 0;
        for (int q = 0; q < drawn.size(); q++) {
            LogWeights weights = plan.weighting().of(drawn.get(q).samples());
            ess += weights.ess() / weights.size();
            elbo += LogWeights.of(drawn.get(q).samples().stream()
                            .mapToDouble(ScoredSample::logBoundWeight)
                            .toArray())
                    .elbo();
            tokens += Measurement.tokens(questions.get(q), drawn.get(q));
        }
        return new EmEvent.LatentsDrawn(
                seeds.seed(), i, part, parts, drawn.size(), ess / drawn.size(), elbo / drawn.size(), tokens / seconds);
    }

    /** The records of an E-step that its health is taken of. */
    private List<LatentRecord> firstRecords(int i) throws IOException {
        List<LatentRecord> records = new ArrayList<>();
        for (int p = 0; p < parts() && records.size() < Measurement.LOOKED_AT; p++) {
            records.addAll(LatentPart.read(part(iterationFolder(i), p), null));
        }
        return records;
    }

    private double seconds(StageFolder stage) throws IOException {
        double seconds = 0;
        for (int p = 0; p < parts(); p++) {
            seconds += LatentPart.seconds(part(stage, p));
        }
        return seconds;
    }

    private double mismatch(StageFolder stage) throws IOException {
        double mismatch = 0;
        for (int p = 0; p < parts(); p++) {
            mismatch = Math.max(mismatch, LatentPart.mismatch(part(stage, p)));
        }
        return mismatch;
    }

    private int parts() {
        return (corpus.size() + plan.part() - 1) / plan.part();
    }

    private static Path part(StageFolder stage, int part) {
        return stage.latents().resolve(LatentPart.name(part));
    }

    /** All that a part is a function of, beside the corpus. */
    private String source(int i, String proposer) {
        return "model " + proposer + " K " + plan.samples() + " " + plan.selection() + " " + plan.weighting()
                + " maxThought "
                + plan.maxThought() + " context " + plan.contextChunks() + " part " + plan.part() + " key "
                + Long.toHexString(seeds.eStep(i));
    }

    // ---- training

    private Trainer.Result train(
            String stage,
            Dataset dataset,
            TrainPlan training,
            WeightPieces start,
            StageFolder place,
            Optional<EarlyStopping> stopping)
            throws IOException {
        return train(network, seeds.seed(), stage, dataset, training, start, place, stopping, stop, listener);
    }

    /** One training in a stage's folder, its events told as those of a run. */
    static Trainer.Result train(
            Network network,
            long seed,
            String stage,
            Dataset dataset,
            TrainPlan training,
            WeightPieces start,
            StageFolder place,
            Optional<EarlyStopping> stopping,
            StopSignal stop,
            Consumer<EmEvent> listener)
            throws IOException {
        listener.accept(new EmEvent.StageStarted(seed, stage, "steps", 0, training.steps()));
        BatchLoader loader = new BatchLoader(
                dataset, network.llama().config().context(), training.tokens(), training.documentMask());
        return network.trainer(stop).train(training, loader, start, place.checkpoints(), stopping, event -> {
            switch (event) {
                case TrainEvent.Step s ->
                    listener.accept(new EmEvent.StepTrained(
                            seed,
                            stage,
                            s.step(),
                            s.steps(),
                            s.loss(),
                            s.gradientNorm(),
                            s.learningRate(),
                            s.tokensPerSecond(),
                            s.skipped()));
                case TrainEvent.Saved s ->
                    listener.accept(new EmEvent.CheckpointWritten(seed, stage, s.step(), s.folder()));
                case TrainEvent.Resumed s ->
                    listener.accept(new EmEvent.StageStarted(seed, stage, "steps", s.step(), training.steps()));
                case TrainEvent.Development d ->
                    listener.accept(new EmEvent.Notice(String.format(
                            java.util.Locale.ROOT,
                            "%s: development loss %.4f at step %d%s",
                            stage,
                            d.loss(),
                            d.step(),
                            d.best() ? ", lowest" : "")));
                case TrainEvent.Notice n -> listener.accept(new EmEvent.Notice(n.line()));
            }
        });
    }

    // ---- baselines

    private Optional<EmReport.Baseline> baseline(
            String name, Baselines recipes, EmReport.Iteration warm, WeightPieces initial) throws IOException {
        StageFolder stage = stage(folder.resolve("baselines").resolve(name));
        Optional<EmReport.Baseline> done = stage.result(EmReport.Baseline.class);
        if (done.isPresent()) {
            return done;
        }
        if (name.equals("warm-step-match")) {
            Optional<EmReport.Baseline> same = EmReport.Baseline.ofWarmStart(plan, warm);
            if (same.isPresent()) {
                AtomicFiles.createDirectories(stage.path());
                stage.finish(same.get());
                return same;
            }
        }
        Optional<Recipe> found = recipes.recipe(name);
        if (found.isEmpty()) {
            listener.accept(new EmEvent.Notice("baseline " + name + ": left out, no "
                    + (name.equals("oracle") ? "true thoughts are" : "other way of saying the documents is")
                    + " known for this corpus"));
            return Optional.empty();
        }
        Recipe recipe = found.get();
        Trainer.Result trained =
                train("baseline " + name, recipe.dataset(), recipe.plan(), initial, stage, recipe.stopping());
        network.writeTo(stage, material.tokenizer());
        measuring("baseline " + name);
        EmReport.Baseline baseline = new EmReport.Baseline(
                name,
                trained.state().step(),
                trained.chosenStep(),
                recipe.thinking() ? measurement.thinking(model) : measurement.raw(model),
                trained.state().loss(),
                trained.state().seconds(),
                recipe.note(),
                Optional.of(Compute.cost(
                        network.llama().config(),
                        recipe.plan(),
                        trained.state(),
                        trained.state().tokens())));
        stage.finish(baseline);
        return Optional.of(baseline);
    }

    /** Measuring takes its time and has no steps to count. */
    private void measuring(String stage) {
        listener.accept(new EmEvent.StageStarted(
                seeds.seed(),
                stage + ": measuring",
                "held-out documents",
                0,
                material.heldOut().size()));
    }

    // ---- for people

    /** The first chunks of the corpus with all thoughts of the last E-step. */
    private List<EmReport.Shown> shown() throws IOException {
        int i = plan.iterations();
        return i == 0 || corpus.isEmpty() ? List.of() : shown(i, LatentPart.read(part(iterationFolder(i), 0), null));
    }

    /** The same chunks in every iteration, with their thoughts in this one. */
    private List<EmReport.Shown> shown(int i, List<LatentRecord> records) {
        List<EmReport.Shown> shown = new ArrayList<>();
        for (int q = 0; q < Math.min(plan.evaluation().shown(), records.size()); q++) {
            LatentRecord record = records.get(q);
            LogWeights weights = plan.weighting().of(record.samples());
            double[] share = weights.normalised();
            List<EmReport.ShownThought> thoughts = new ArrayList<>();
            for (int k = 0; k < share.length; k++) {
                ScoredSample sample = record.samples().get(k);
                thoughts.add(new EmReport.ShownThought(
                        material.tokenizer().show(sample.thought()),
                        weights.at(k),
                        share[k],
                        k == record.chosen(),
                        sample.finished(),
                        sample.malformed()));
            }
            Question question = corpus.get(q);
            shown.add(new EmReport.Shown(
                    i,
                    record.document(),
                    record.chunk(),
                    material.tokenizer().show(question.context()),
                    material.tokenizer().show(question.text()),
                    thoughts));
        }
        return shown;
    }

    private StageFolder iterationFolder(int i) {
        return stage(RunDirectory.iteration(folder, i));
    }

    private StageFolder stage(Path path) {
        return new StageFolder(path, plan.keepFinished());
    }
}
