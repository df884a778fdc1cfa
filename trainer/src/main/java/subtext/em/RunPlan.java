package subtext.em;

import java.io.File;
import java.io.IOException;
import java.nio.file.FileSystemException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import java.util.function.ToDoubleFunction;
import java.util.stream.IntStream;
import java.util.stream.Stream;
import subtext.bindings.Backend;
import subtext.bindings.DType;
import subtext.bindings.Device;
import subtext.bindings.DeviceOptions;
import subtext.bindings.EngineException;
import subtext.data.Annotated;
import subtext.data.SequenceBuilder;
import subtext.model.LlamaConfig;
import subtext.model.ParameterTable;
import subtext.text.Tokens;
import subtext.train.TrainPlan;
import tools.jackson.databind.json.JsonMapper;

/**
 * What a run will take, before it starts: device memory to the byte, since the code that allocates is run on a device that only counts;
 * heap and disk by the sizes of what is held and written; operations by the formulas of the model; time by rates.
 *
 * @param model the sizes
 * @param method what is done, and on how much text: lines for people
 * @param volume how much text EM has; empty for a training without it
 * @param needs memory and disk
 * @param stages in order
 * @param rates by which times were taken; empty: there are none
 */
public record RunPlan(
        LlamaConfig model,
        List<String> method,
        Optional<Volume> volume,
        Needs needs,
        List<Stage> stages,
        Optional<Rates> rates) {
    /**
     * How much text there is.
     *
     * @param warmDocuments with thoughts, for the warm start
     * @param documents for EM
     * @param chunks to be explained in them
     * @param text mean tokens of a chunk
     * @param context mean tokens shown before it
     * @param thought mean tokens of a thought
     * @param heldOutChunks measured on
     * @param rawShare tokens of a document without thoughts as a share of those with them
     * @param assumed what was assumed because it cannot be counted yet; empty if all was counted
     */
    public record Volume(
            long warmDocuments,
            long documents,
            double chunks,
            double text,
            double context,
            double thought,
            double heldOutChunks,
            double rawShare,
            String assumed) {

        /** Tokens of a chunk of some eight sentences of mathematical prose, and of its thought as a share of it. Ruan et al. 2025. */
        private static final double CHUNK = 200;

        private static final double EXPANSION = 2.3;

        /** Documents, or chunks, that a plan looks at for their length, at most. */
        private static final int COUNTED = 20_000;

        /** @param missing what is not there yet */
        static Volume assumed(subtext.run.RunConfig.Corpus c, EmPlan plan, String missing) {
            double thought = Math.min(plan.maxThought(), EXPANSION * CHUNK);
            double chunks = c.rawTokens() / CHUNK;
            double perDocument = chunks / Math.max(1, c.documents());
            double earlier = Math.min(plan.contextChunks(), Math.max(0, perDocument / 2));
            return new Volume(
                    c.warmStart(),
                    c.documents(),
                    chunks,
                    CHUNK,
                    earlier * CHUNK,
                    thought,
                    c.heldOut() * perDocument,
                    CHUNK / (CHUNK + thought),
                    String.format(
                            Locale.ROOT,
                            "%s is not there yet: planned with %s tokens in chunks of %.0f with thoughts of %.0f",
                            missing,
                            count(c.rawTokens()),
                            CHUNK,
                            thought));
        }

        static Volume counted(Material material, EmPlan plan, int context) {
            Questions questions = Questions.of(material.corpus(), plan, context);
            SequenceBuilder builder = new SequenceBuilder(material.tokenizer().controls(), 0, plan.priorShare());
            double thought = material.warmStart().stream()
                    .flatMap(document -> document.thoughts().stream())
                    .flatMap(Optional::stream)
                    .map(Annotated.Thought::tokens)
                    .mapToInt(Tokens::size)
                    .average()
                    .orElse(Math.min(plan.maxThought(), EXPANSION * CHUNK));
            double raw = mean(
                    material.corpus(),
                    document -> builder.build(Annotated.raw(document), 0).rows());
            double with = mean(
                    material.warmStart(), document -> builder.build(document, 0).rows());
            return new Volume(
                    material.warmStart().size(),
                    material.corpus().size(),
                    questions.size(),
                    mean(questions, question -> question.text().size()),
                    mean(questions, question -> question.context().size()),
                    thought,
                    Questions.of(material.heldOut(), plan, context).size(),
                    Math.min(1, raw / with),
                    "");
        }

        /** The mean of a figure over a list, or over some of a long one, which may lie on disk; 1 of nothing. */
        static <T> double mean(List<T> list, ToDoubleFunction<T> figure) {
            int some = Math.min(list.size(), COUNTED);
            return IntStream.range(0, some)
                    .mapToDouble(i -> figure.applyAsDouble(list.get((int) ((long) i * list.size() / some))))
                    .average()
                    .orElse(1);
        }
    }

    /**
     * Memory and disk, in bytes.
     *
     * @param device weights, gradients, optimizer, activations, cache: all that is allocated on the device
     * @param deviceFree what is free there
     * @param heap of Java, at its highest, about: the documents, the thoughts of an E-step and a floor, whatever the size of the model
     * @param heapLimit what Java may take
     * @param shared whether both come from the same memory, as on the CPU
     * @param disk what will be added to the run's folder, about
     * @param diskFree what is free there
     */
    public record Needs(
            long device, long deviceFree, long heap, long heapLimit, boolean shared, long disk, long diskFree) {
        /** {@return bytes that the process takes of the machine's memory: heap, the Java machine itself, and on the CPU the device} */
        public long process() {
            return (shared ? device : 0) + heap + BESIDE;
        }

        /**
         * Where the run fits, but Java may let its heap grow beyond what is free beside the tensors: a container's kernel would kill it.
         *
         * @return one line with what keeps the heap within; empty if it cannot grow so far
         */
        public Optional<String> caution() {
            long room = deviceFree - device - BESIDE;
            return shared && heap <= room && room < heapLimit
                    ? Optional.of("memory: Java's heap may grow to " + bytes(heapLimit) + ", " + bytes(room)
                            + " are free beside the model; SUBTEXT_JAVA_OPTS=-Xmx" + (room >> 20) + "m keeps it within")
                    : Optional.empty();
        }

        void requireFit(Path run) throws IOException {
            if (device > deviceFree) {
                throw new EngineException.OutOfDeviceMemory(
                        "memory: the run needs " + bytes(device)
                                + " for model, gradients, optimizer, activations and cache, " + bytes(deviceFree)
                                + " are free; lower training.microTokens, device.slots or model.context, or take device.recompute=true or device.type=bf16");
            }
            if (heap > heapLimit) {
                String limits =
                        "memory: Java needs about " + bytes(heap) + " of heap, and may take " + bytes(heapLimit);
                if (shared && process() > deviceFree) { // more heap would not help
                    throw new EngineException.OutOfDeviceMemory(
                            limits + "; beside the model " + bytes(Math.max(0, deviceFree - device - BESIDE))
                                    + " are free: take fewer documents, a lower em.samples or a smaller model");
                }
                throw new EngineException.OutOfDeviceMemory(limits + "; set SUBTEXT_JAVA_OPTS=-Xmx"
                        + (heap < 1L << 30
                                ? Math.ceilDiv(heap, 16L << 20) * 16 + "m" // a container may not have a whole GiB
                                : Math.ceilDiv(heap, 1L << 30) + "g"));
            }
            if (shared && process() > deviceFree) {
                throw new EngineException.OutOfDeviceMemory("memory: the run needs " + bytes(device)
                        + " and about " + bytes(heap) + " of Java's heap, " + bytes(deviceFree)
                        + " are free; lower training.microTokens or device.slots, or take a smaller model");
            }
            if (disk > diskFree) {
                throw new FileSystemException(
                        run.toString(),
                        null,
                        "the run will write about " + bytes(disk) + ", " + bytes(diskFree)
                                + " are free; name another place by --run");
            }
        }
    }

    /**
     * A part of the run.
     *
     * @param name such as {@code iteration 1: E-step}
     * @param steps updates; 0 for an E-step or a measurement
     * @param tokens predicted, drawn and scored
     * @param flops floating-point operations
     * @param seconds by the rates; NaN without
     */
    public record Stage(String name, int steps, double tokens, double flops, double seconds) {}

    /** Heap beside the documents: weights go between device and disk a piece at a time. */
    private static final long HEAP_FLOOR = 96L << 20;

    /** Bytes on the disk of a parameter: in a model, and in a checkpoint, with its two moments. */
    private static final long MODEL = 4;

    private static final long CHECKPOINT = 12;

    /**
     * Bytes of a token of a thought in the part of an E-step that is being drawn: itself, its log-probabilities from sampler and scorer, and the text it is
     * written as, several times over.
     */
    private static final int PER_TOKEN_AT_HAND = 48;

    /** Bytes that the Java machine, its code and the library take beside heap and tensors, about. */
    public static final long BESIDE = 64L << 20;

    /** Copies the lists. */
    public RunPlan {
        method = List.copyOf(method);
        stages = List.copyOf(stages);
    }

    /** What a network takes on a device of this kind, by building it on one that only counts. */
    static long deviceBytes(
            Backend backend,
            DeviceOptions options,
            LlamaConfig sizes,
            DType type,
            EmPlan plan,
            int slots,
            boolean recompute) {
        try (Device counting = Device.planning(backend, options);
                Network network = new Network(
                        counting,
                        sizes,
                        type,
                        plan.training().microTokens(),
                        plan.maxThought(),
                        slots,
                        plan.samples(),
                        recompute,
                        Optional.empty())) {
            return counting.allocatedBytes();
        }
    }

    /** The stages of a plan with their cost. */
    static RunPlan of(
            EmPlan plan,
            LlamaConfig model,
            Volume volume,
            Needs needs,
            Optional<Rates> rates,
            boolean truth,
            boolean recompute) {
        int passes = passes(recompute);
        List<Stage> stages = new ArrayList<>();
        double thought = Math.min(volume.thought() + 1, plan.maxThought());
        double keys = Math.min(
                model.context() / 2.0,
                plan.training().documentMask() ? (volume.context() + volume.text() + thought) : model.context() / 2.0);
        for (int i = 0; i <= plan.iterations(); i++) {
            String name = "iteration " + i;
            if (i > 0) {
                stages.add(
                        explaining(name + ": E-step", plan.samples(), volume.chunks(), volume, thought, model, rates));
            }
            TrainPlan training = i == 0 ? plan.warmStart() : plan.training();
            stages.add(training(
                    name + (i == 0 ? ": warm start" : ": M-step"),
                    training.steps(),
                    training.tokens(),
                    keys,
                    passes,
                    model,
                    rates));
            if (i > 0 && i < plan.iterations() && plan.folds() > 1) {
                stages.add(training(
                        name + ": M-steps of the folds",
                        plan.folds() * training.steps(),
                        training.tokens(),
                        keys,
                        passes,
                        model,
                        rates));
            }
            stages.add(measuring(name + ": measured", plan.evaluation().elboSamples(), volume, thought, model, rates));
        }
        // what is matched is the work itself: computing activations again does not count
        double before = stages.stream()
                .mapToDouble(stage -> stage.steps() > 0 ? stage.flops() * 3 / passes : stage.flops())
                .sum();
        TrainPlan m = plan.training();
        for (String name : plan.baselines()) {
            String label = "baseline " + name;
            switch (name) {
                case "raw-token-match" ->
                    stages.add(training(
                            label, m.steps(), Math.max(1, m.tokens() * volume.rawShare()), keys, passes, model, rates));
                case "raw-total-flop-match" ->
                    stages.add(training(
                            label,
                            (int) Math.min(
                                    Integer.MAX_VALUE, Math.ceil(before / (3 * model.forwardFlops(keys) * m.tokens()))),
                            m.tokens(),
                            keys,
                            passes,
                            model,
                            rates));
                case "warm-step-match" -> {
                    if (!plan.warmStart().equals(m)) { // else it is iteration 0
                        stages.add(training(label, m.steps(), m.tokens(), keys, passes, model, rates));
                    }
                }
                case "oracle", "raw-paraphrase" -> {
                    if (truth) {
                        stages.add(training(label, m.steps(), m.tokens(), keys, passes, model, rates));
                    }
                }
                default -> stages.add(training(label, m.steps(), m.tokens(), keys, passes, model, rates));
            }
        }
        return new RunPlan(model, method(plan, volume), Optional.of(volume), needs, stages, rates);
    }

    private static List<String> method(EmPlan plan, Volume volume) {
        List<String> lines = new ArrayList<>();
        lines.add(String.format(
                Locale.ROOT,
                "method     warm start, %d iterations, K = %d thoughts a chunk of at most %,d tokens; M-step %,d steps of %,d tokens, %s tokens"
                        + " an iteration",
                plan.iterations(),
                plan.samples(),
                plan.maxThought(),
                plan.training().steps(),
                plan.training().tokens(),
                count((double) plan.training().steps() * plan.training().tokens())));
        lines.add(String.format(
                Locale.ROOT,
                "documents  %,d with thoughts, %,d without, %s chunks of %.0f tokens after %.0f, thoughts of %.0f",
                volume.warmDocuments(),
                volume.documents(),
                count(volume.chunks()),
                volume.text(),
                volume.context(),
                volume.thought()));
        if (!volume.assumed().isEmpty()) {
            lines.add("           " + volume.assumed());
        }
        return lines;
    }

    /**
     * One training without EM.
     *
     * @param documents to train on
     * @param tokens in all of them
     */
    static RunPlan training(
            TrainPlan plan,
            LlamaConfig model,
            int documents,
            long tokens,
            Needs needs,
            Rates rates,
            boolean recompute) {
        double keys = Math.min(model.context(), plan.documentMask() ? tokens / Math.max(1.0, documents) : 1e9) / 2;
        return new RunPlan(
                model,
                List.of(String.format(
                        Locale.ROOT,
                        "method     training, %,d steps of %,d tokens; %,d documents of %s tokens, gone through %.2f times",
                        plan.steps(),
                        plan.tokens(),
                        documents,
                        count(tokens),
                        (double) plan.steps() * plan.tokens() / Math.max(1, tokens))),
                Optional.empty(),
                needs,
                List.of(training(
                        "training", plan.steps(), plan.tokens(), keys, passes(recompute), model, Optional.of(rates))),
                Optional.of(rates));
    }

    /** Bytes of the folder of one training, at its largest: the model and its checkpoints. */
    static long disk(TrainPlan plan, LlamaConfig model) {
        return ParameterTable.of(model).size()
                * (MODEL + CHECKPOINT * (plan.keep() + 1)); // the oldest goes when the newest is there
    }

    /** Bytes of a run's folder, at its largest: each trained model, the checkpoints of one training or of all, and the thoughts of each E-step. */
    static long disk(EmPlan plan, LlamaConfig model, Volume volume) {
        long folds = plan.folds() > 1 ? (long) plan.folds() * Math.max(0, plan.iterations() - 1) : 0;
        long trainings = 1 + plan.iterations() + folds + plan.baselines().size();
        long checkpoints = 1 + plan.training().keep() * (plan.keepFinished() ? trainings : 1);
        double tokens = volume.chunks() * plan.samples() * volume.thought() * plan.iterations();
        return ParameterTable.of(model).size() * (MODEL * trainings + CHECKPOINT * checkpoints) + (long) (tokens * 6);
    }

    /**
     * Bytes of Java's heap that thoughts with their scores take, about: of an E-step the part being drawn, the first ones, which are held until the
     * M-step is over, and of all others their places in the files; and those drawn for the held-out documents.
     */
    static long drawn(EmPlan plan, Volume volume) {
        if (plan.iterations() == 0) {
            return 0;
        }
        double one = Integer.BYTES * volume.thought() + LatentRecords.PER_THOUGHT;
        double all = volume.chunks() * plan.samples() * one;
        double measured = volume.heldOutChunks() * plan.evaluation().elboSamples() * one;
        double part = Math.min(volume.chunks(), plan.part())
                * (plan.samples() * (PER_TOKEN_AT_HAND * volume.thought() + LatentRecords.PER_THOUGHT)
                        + Integer.BYTES * (volume.context() + volume.text()));
        return (long) (part + measured + Math.min(all, LatentRecords.HELD + LatentRecords.PER_PLACE * volume.chunks()));
    }

    /** Bytes of files in a folder; 0 if it is not there. */
    static long bytesIn(Path folder) throws IOException {
        if (!Files.isDirectory(folder)) {
            return 0;
        }
        try (Stream<Path> files = Files.walk(folder)) {
            return files.map(Path::toFile)
                    .filter(File::isFile)
                    .mapToLong(File::length)
                    .sum();
        }
    }

    /** Bytes of Java's heap, of which documents and thoughts are so many. */
    static long heap(long material) {
        return HEAP_FLOOR + material;
    }

    /** Forward passes that a step costs: backward is two, and one more where activations are computed again. */
    private static int passes(boolean recompute) {
        return recompute ? 4 : 3;
    }

    private static Stage training(
            String name, int steps, double tokens, double keys, int passes, LlamaConfig model, Optional<Rates> rates) {
        double all = steps * tokens;
        double flops = passes * model.forwardFlops(keys) * all;
        return new Stage(
                name, steps, all, flops, rates.map(r -> flops / r.train()).orElse(Double.NaN));
    }

    /** Draws K thoughts of each chunk and scores them: context and text once, then K thoughts, then K thoughts and texts. */
    private static Stage explaining(
            String name, int k, double chunks, Volume v, double thought, LlamaConfig model, Optional<Rates> rates) {
        double drawn = chunks * k * thought;
        double scored = chunks * (v.context() + v.text() + 6 + k * (thought + v.text()));
        double drawFlops = drawn * model.forwardFlops(v.context() + v.text() + thought / 2);
        double scoreFlops = scored * model.forwardFlops(v.context() + (thought + v.text()) / 2);
        return new Stage(
                name,
                0,
                drawn + scored,
                drawFlops + scoreFlops,
                rates.map(r -> drawFlops / r.draw() + scoreFlops / r.score()).orElse(Double.NaN));
    }

    /** The bounds of the held-out chunks, and of some of them how likely they are behind K thoughts of the prior and behind none. */
    private static Stage measuring(
            String name, int k, Volume v, double thought, LlamaConfig model, Optional<Rates> rates) {
        Stage bounds = explaining(name, k, v.heldOutChunks(), v, thought, model, rates);
        double chunks = Math.min(v.heldOutChunks(), Measurement.PRIOR_CHUNKS);
        double drawn = chunks * k * thought;
        double scored = chunks * (v.context() + 2 + v.text() + v.context() + 2 + k * (thought + v.text()));
        double drawFlops = drawn * model.forwardFlops(v.context() + thought / 2);
        double scoreFlops = scored * model.forwardFlops(v.context() + (thought + v.text()) / 2);
        return new Stage(
                name,
                0,
                bounds.tokens() + drawn + scored,
                bounds.flops() + drawFlops + scoreFlops,
                bounds.seconds()
                        + rates.map(r -> drawFlops / r.draw() + scoreFlops / r.score())
                                .orElse(Double.NaN));
    }

    /**
     * Refuses what cannot fit.
     *
     * @param run folder of the run, which need not exist
     * @throws EngineException.OutOfDeviceMemory if memory is too small, with what is needed and what to change
     * @throws IOException if the disk is
     */
    public void requireFit(Path run) throws IOException {
        needs.requireFit(run);
    }

    /** The space on the disk that a folder lies on or would lie on. */
    static long diskFree(Path run) throws IOException {
        Path there = run.toAbsolutePath();
        while (!Files.exists(there)) {
            there = there.getParent();
        }
        return Files.getFileStore(there).getUsableSpace();
    }

    /** {@return the plan as text for people: model, memory, disk, and a row for each stage} */
    public String table() {
        StringBuilder text = new StringBuilder();
        text.append(String.format(
                Locale.ROOT,
                "model      %d layers, width %d, %d heads of %d (%d of keys), hidden %d, vocabulary %d, context %d: %s parameters%n",
                model.layers(),
                model.width(),
                model.heads(),
                model.headDim(),
                model.kvHeads(),
                model.hidden(),
                model.vocabulary(),
                model.context(),
                count(model.parameters())));
        method.forEach(line -> text.append(line).append(System.lineSeparator()));
        text.append("memory     ")
                .append(bytes(needs.device()))
                .append(" on the device, ")
                .append(bytes(needs.deviceFree()))
                .append(" free; about ")
                .append(bytes(needs.heap()))
                .append(" of Java's heap, ")
                .append(bytes(needs.heapLimit()))
                .append(" allowed; about ")
                .append(bytes(needs.process()))
                .append(" of this machine's in all\n");
        needs.caution()
                .ifPresent(line -> text.append(" ".repeat(11))
                        .append(line.substring("memory: ".length()))
                        .append('\n'));
        text.append("disk       about ")
                .append(bytes(needs.disk()))
                .append(", ")
                .append(bytes(needs.diskFree()))
                .append(" free\n");
        rates.ifPresent(r -> text.append(String.format(
                Locale.ROOT,
                "rates      %s: %.3g TFLOP/s training, %.3g drawing, %.3g scoring%n",
                r.machine(),
                r.train() * 1e-12,
                r.draw() * 1e-12,
                r.score() * 1e-12)));
        int width = stages.stream().mapToInt(s -> s.name().length()).max().orElse(5);
        text.append(String.format(
                Locale.ROOT, "%n%-" + width + "s %8s %10s %10s %10s%n", "stage", "steps", "tokens", "FLOP", "time"));
        for (Stage stage : stages) {
            text.append(row(width, stage));
        }
        text.append(row(
                width,
                new Stage(
                        "all",
                        stages.stream().mapToInt(Stage::steps).sum(),
                        stages.stream().mapToDouble(Stage::tokens).sum(),
                        stages.stream().mapToDouble(Stage::flops).sum(),
                        seconds())));
        return text.toString();
    }

    private static String row(int width, Stage stage) {
        return String.format(
                Locale.ROOT,
                "%-" + width + "s %8s %10s %10s %10s%n",
                stage.name(),
                stage.steps() == 0 ? "" : String.format(Locale.ROOT, "%,d", stage.steps()),
                count(stage.tokens()),
                String.format(Locale.ROOT, "%.2e", stage.flops()),
                time(stage.seconds()));
    }

    /** {@return seconds of all stages; NaN without rates} */
    public double seconds() {
        return stages.stream().mapToDouble(Stage::seconds).sum();
    }

    /** {@return the plan as one JSON object} */
    public String toJson() {
        Map<String, Object> root = new LinkedHashMap<>();
        root.put(
                "model",
                Map.of(
                        "layers", model.layers(),
                        "width", model.width(),
                        "vocabulary", model.vocabulary(),
                        "context", model.context(),
                        "parameters", model.parameters()));
        volume.ifPresent(v -> root.put("volume", v));
        root.put("needs", needs);
        root.put("processBytes", needs.process());
        root.put("rates", rates.orElse(null));
        root.put("stages", stages);
        root.put("seconds", seconds());
        return JsonMapper.shared().writeValueAsString(root);
    }

    private static String count(double n) {
        String[] units = {"", "k", "M", "B", "T"};
        int unit = 0;
        while (n >= 1000 && unit + 1 < units.length) {
            n /= 1000;
            unit++;
        }
        return String.format(Locale.ROOT, unit == 0 ? "%.0f%s" : unit >= 3 ? "%.1f%s" : "%.3g%s", n, units[unit]);
    }

    private static String bytes(long n) {
        return n >= 1L << 30
                ? String.format(Locale.ROOT, "%.2f GiB", n / 0x1p30)
                : String.format(Locale.ROOT, "%.1f MiB", n / 0x1p20);
    }

    private static String time(double seconds) {
        if (Double.isNaN(seconds)) {
            return "";
        }
        return seconds < 120
                ? String.format(Locale.ROOT, "%.1f s", seconds)
                : seconds < 7200
                        ? String.format(Locale.ROOT, "%.1f min", seconds / 60)
                        : seconds < 172_800
                                ? String.format(Locale.ROOT, "%.1f h", seconds / 3600)
                                : String.format(Locale.ROOT, "%.1f days", seconds / 86_400);
    }
}
