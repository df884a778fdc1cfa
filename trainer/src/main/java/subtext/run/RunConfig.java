package subtext.run;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Objects;
import java.util.TreeMap;
import java.util.stream.Collectors;
import subtext.bindings.EngineException;
import subtext.evaluate.Thresholds;
import subtext.io.JsonProblem;
import tools.jackson.core.JacksonException;
import tools.jackson.databind.DeserializationFeature;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.MapperFeature;
import tools.jackson.databind.SerializationFeature;
import tools.jackson.databind.exc.MismatchedInputException;
import tools.jackson.databind.json.JsonMapper;
import tools.jackson.databind.node.ObjectNode;

/**
 * Everything that decides what a run computes, resolved: what is not here does not change a result. Written to {@code run.json}. Values
 * come from a preset, a file over it, and single settings over that; unknown keys are refused.
 *
 * @param seeds one whole run of the method per seed
 * @param corpus text to learn from; an empty path means the embedded chain world
 * @param world the embedded chain world, used when there is no corpus
 * @param model sizes of the network
 * @param training one M-step, and every baseline unless its name says otherwise
 * @param em the outer loop
 * @param evaluation what is measured after each iteration
 * @param baselines names of the baselines to train beside
 * @param device where to compute; does not enter the identity of a run, except by the bits of its arithmetic
 * @param warnings bounds beyond which a figure is warned of; they do not enter the identity of a run either
 */
public record RunConfig(
        List<Long> seeds,
        Corpus corpus,
        World world,
        Model model,
        Training training,
        Em em,
        Evaluation evaluation,
        List<String> baselines,
        Device device,
        Thresholds warnings) {

    /**
     * A file of documents and how its fields become text and thoughts. A template holds {@code {field}} places, each optionally with
     * filters: {@code {answer|before:####|trim}}, {@code {answer|after:####|trim}}, {@code {answer|drop:<<[^>]*>>}} (a regular
     * expression to delete).
     *
     * @param path a file, a folder or a glob of JSON lines (.jsonl, .json, .ndjson), parquet or plain text (.txt: one document per block between
     *     blank lines), .gz and .zst unpacked; or a folder that {@code prepare} made, with whose settings these must then agree, unless they are
     *     the usual ones; empty: no corpus
     * @param context template of a first chunk that takes no thought, such as a question; empty: none
     * @param text template of the text to explain
     * @param thought template of the thought known for the first part; empty: none known
     * @param answer template of the known final answer, against which greedy answers to held-out documents are matched; empty: none known, and
     *     no accuracy is measured
     * @param id field that names a document; empty: its content does
     * @param chunked cut the text into chunks of about eight sentences, each of which takes a thought; false: it is one chunk
     * @param badRecords {@code stop} or {@code skip}
     * @param warmStart number of documents, from the front of the shuffled corpus or of the shuffled {@code thoughts}, whose thoughts are shown to
     *     the warm start; of {@code thoughts} 0: all
     * @param documents number of documents for EM, thoughts hidden; 0: all that remain
     * @param dev number of documents for early stopping
     * @param heldOut number of documents for reported figures
     * @param vocabulary ids of the tokenizer trained on the warm-start part
     * @param chunkSentences mean number of sentences of a chunk
     * @param thoughts a file, a folder or a glob of JSON lines (.gz and .zst unpacked) with the documents of the warm start, cut into chunks with
     *     a teacher's thoughts: {@code {"chunks": [{"suffix": "...", "latent": "..."}, ...]}}, or {@code text} and {@code thought} in place
     *     of these. A chunk without a thought is trained on raw. Empty: the first part of the corpus has thoughts, by the template, or a
     *     folder that {@code prepare} made has them
     * @param rawTokens tokens of the documents for EM, where they are known beforehand: {@code --dry-run} plans with them as long as the
     *     corpus or its {@code thoughts} are not there; 0: they are counted
     */
    public record Corpus(
            String path,
            String context,
            String text,
            String thought,
            String answer,
            String id,
            boolean chunked,
            String badRecords,
            int warmStart,
            int documents,
            int dev,
            int heldOut,
            int vocabulary,
            double chunkSentences,
            String thoughts,
            long rawTokens) {}

    /**
     * The chain world, when there is no corpus: sizes as in {@code subtext.world.ChainWorld.Plan}, numbers of documents of each part.
     *
     * @param rendering {@code tokens}: one token per state, for the science; {@code text}: sentences, for the whole text pipeline
     * @param states n, number of states
     * @param generators G, number of rules, at most 26
     * @param depth L, steps of a problem
     * @param readouts the steps, 1 to {@code depth} in rising order, after which the answer tells the state
     * @param warmStart documents with thoughts for the warm start
     * @param taughtRules rules that the teacher of the warm start knows; it guesses the state after the others. Token form only: the
     *     text form shows the true thoughts
     * @param teacherErrors share of the warm start's thoughts in which the teacher slips at one step, 0 to 1. Token form only
     * @param documents documents for EM, thoughts hidden
     * @param dev documents for early stopping
     * @param heldOut documents for reported figures
     * @param problems problems of a document, text rendering only
     */
    public record World(
            String rendering,
            int states,
            int generators,
            int depth,
            List<Integer> readouts,
            int warmStart,
            int taughtRules,
            double teacherErrors,
            int documents,
            int dev,
            int heldOut,
            int problems) {}

    /**
     * Sizes by the names of {@code subtext.model.LlamaConfig}; the vocabulary comes from the tokenizer.
     *
     * @param layers L
     * @param width C, of the residual stream
     * @param heads H, query heads
     * @param kvHeads Hkv, key and value heads; divides H
     * @param headDim D, even; H * D need not be C
     * @param hidden F, of the feed-forward half
     * @param context the most positions of a sequence
     * @param ropeTheta base of the rotary frequencies
     * @param normEps added to the mean square in RMSNorm
     * @param tied whether the output matrix is the embedding
     * @param from folder of a model in Hugging Face layout to start from: its sizes and tokenizer are then taken, with the control tokens
     *     it lacks, and {@code context} only shortens its own; empty: from scratch
     */
    public record Model(
            int layers,
            int width,
            int heads,
            int kvHeads,
            int headDim,
            int hidden,
            int context,
            double ropeTheta,
            double normEps,
            boolean tied,
            String from) {}

    /**
     * How the weights are updated.
     *
     * @param steps updates of the weights
     * @param tokens predicted tokens per step, at most
     * @param microTokens predicted tokens per forward and backward pass, at most; a larger batch is accumulated
     * @param schedule {@code constant}, {@code linear}, {@code cosine} or {@code wsd}
     * @param learningRate peak
     * @param warmup steps of linear rise
     * @param finalShare learning rate at the end as a share of the peak
     * @param decayShare share of the steps in which {@code wsd} decays
     * @param beta1 AdamW
     * @param beta2 AdamW
     * @param eps AdamW
     * @param weightDecay of the matrices
     * @param clip largest global norm of the gradient; 0: no clipping
     * @param spike a step whose gradient norm exceeds this many times its running mean is not taken; 0: no guard
     * @param checkpointEvery steps between checkpoints; 0: only at the end
     * @param keep checkpoints kept, at least 2
     * @param warmSteps steps of the warm start; 0: as many as an M-step
     * @param warmTokens tokens per step of the warm start; 0: as many as in an M-step
     * @param documentMask whether packed documents do not see each other; false: they are one stream that is cut at the context, as in the
     *     paper
     * @param keepFinished whether a finished training keeps its checkpoints; false: its model alone, a quarter of one
     */
    public record Training(
            int steps,
            int tokens,
            int microTokens,
            String schedule,
            double learningRate,
            int warmup,
            double finalShare,
            double decayShare,
            double beta1,
            double beta2,
            double eps,
            double weightDecay,
            double clip,
            double spike,
            int checkpointEvery,
            int keep,
            int warmSteps,
            int warmTokens,
            boolean documentMask,
            boolean keepFinished) {}

    /**
     * The E-step and what an M-step makes of it.
     *
     * @param iterations EM iterations after the warm start (iteration 0)
     * @param samples K, thoughts drawn per chunk
     * @param selection {@code resample}, {@code uniform}, {@code best}, or {@code all}: train on all K with their weights
     * @param weight {@code joint}: p(z, x) / q(z | x); {@code likelihood}: p(x | z) only, a control
     * @param restart {@code scratch}: every M-step starts from the initial weights; {@code carry}: from the previous iteration's
     * @param priorShare probability of the prior order in training
     * @param contextChunks chunks of raw text before a chunk that its prompt shows
     * @param maxThought most tokens of a thought, its closing marker included
     * @param part chunks per file of thoughts
     * @param folds more than 1: cross-fitting. A model that has not been trained on a document explains it: each iteration trains, beside
     *     its own model, one for each fold on the other folds
     * @param teacherShare share of the documents of the baseline {@code raw-plus-teacher} that are the warm start's, above 0, below 1
     */
    public record Em(
            int iterations,
            int samples,
            String selection,
            String weight,
            String restart,
            double priorShare,
            int contextChunks,
            int maxThought,
            int part,
            int folds,
            double teacherShare) {}

    /**
     * What is measured on held-out text.
     *
     * @param elboSamples fresh draws per held-out chunk for the bounds
     * @param bounds the K of the reported ELBO_K, each at most {@code elboSamples}
     * @param resamples bootstrap samples of the intervals
     * @param shown chunks printed with all their thoughts and weights
     */
    public record Evaluation(int elboSamples, List<Integer> bounds, int resamples, int shown) {}

    /**
     * What computes, and how.
     *
     * @param backend {@code best}, {@code cpu} or {@code cuda}
     * @param threads CPU threads, 0 for one per core; results do not depend on it
     * @param type storage of weights and activations, {@code f32} or {@code bf16}
     * @param slots sequences drawn at once; 0: chosen by the engine; results do not depend on it
     * @param matmul matrix products: {@code own} kernels; {@code auto}, on CUDA own forward and cuBLASLt backward where it is found;
     *     {@code vendor}, on CUDA cuBLASLt throughout: log-probabilities then agree up to rounding only; {@code amx}, on the CPU own kernels
     *     for the processor's matrix unit, with bits of its own
     * @param recompute whether training keeps of each layer only its input and computes the rest again in backward: a third more work, far
     *     less memory; results do not depend on it
     */
    public record Device(String backend, int threads, String type, int slots, String matmul, boolean recompute) {}

    /** The names that {@code baselines} may hold. */
    public static final List<String> BASELINES = List.of(
            "raw-token-match",
            "raw-flop-match",
            "raw-total-flop-match",
            "raw-plus-teacher",
            "raw-paraphrase",
            "warm-step-match",
            "oracle");

    /** Those that stand beside a run if nothing else is said. Part of the settings of every run there is: it does not grow. */
    public static final List<String> USUAL_BASELINES = List.of(
            "raw-token-match",
            "raw-flop-match",
            "raw-total-flop-match",
            "raw-plus-teacher",
            "warm-step-match",
            "oracle");

    /** The names of the presets. */
    public static final List<String> PRESETS =
            List.of("chain", "chain-text", "smoke", "gsm8k", "gsm8k-small", "tinyllama-finemath", "smollm2-135m");

    private static final JsonMapper JSON = JsonMapper.builder()
            .disable(MapperFeature.SORT_PROPERTIES_ALPHABETICALLY)
            .enable(SerializationFeature.INDENT_OUTPUT)
            .disable(DeserializationFeature.ACCEPT_FLOAT_AS_INT)
            .build();

    /** Copies the lists; values are checked where plans are made of them. */
    public RunConfig {
        seeds = List.copyOf(seeds);
        baselines = List.copyOf(baselines);
    }

    /** {@return the default: the chain world in token form, sized to end within minutes on two cores} */
    public static RunConfig chain() {
        return new RunConfig(
                List.of(0L),
                new Corpus("", "", "{text}", "", "", "", true, "stop", 1000, 0, 200, 500, 1024, 8, "", 0),
                new World("tokens", 16, 8, 6, List.of(3, 6), 600, 8, 0, 6000, 500, 1000, 4),
                new Model(3, 64, 4, 4, 16, 176, 64, 10000, 1e-5, false, ""),
                new Training(
                        600, 3072, 3072, "cosine", 2e-3, 50, 0.0, 0.2, 0.9, 0.999, 1e-8, 0.1, 1.0, 20, 200, 2, 0, 0,
                        true, false),
                new Em(3, 4, "resample", "joint", "scratch", 0.5, 3, 12, 1000, 1, 0.5),
                new Evaluation(8, List.of(1, 4, 8), 1000, 8),
                USUAL_BASELINES,
                new Device("best", 0, "f32", 0, "auto", false),
                Thresholds.DEFAULT);
    }

    /**
     * {@return the settings of a name}
     *
     * @param name one of {@link #PRESETS}
     * @throws EngineException.InvalidConfig if there are none of that name
     */
    public static RunConfig preset(String name) {
        return switch (name) {
            case "chain" -> chain();
            case "chain-text" ->
                chain().with("world.rendering", "text")
                        .with("world.warmStart", "300")
                        .with("world.documents", "1500")
                        .with("world.dev", "100")
                        .with("world.heldOut", "200")
                        .with("corpus.vocabulary", "320")
                        .with("model.context", "512")
                        .with("em.maxThought", "64")
                        .with("baselines", "[]");
            case "smoke" ->
                chain().with("world.warmStart", "40")
                        .with("world.documents", "60")
                        .with("world.dev", "20")
                        .with("world.heldOut", "20")
                        .with("model.layers", "2")
                        .with("model.width", "32")
                        .with("model.heads", "2")
                        .with("model.kvHeads", "1")
                        .with("model.hidden", "64")
                        .with("training.steps", "12")
                        .with("training.tokens", "512")
                        .with("training.microTokens", "256")
                        .with("training.warmup", "4")
                        .with("training.checkpointEvery", "5")
                        .with("em.iterations", "2")
                        .with("em.part", "25");
            case "gsm8k" ->
                chain().with("corpus.path", "gsm8k/train.jsonl")
                        .with("corpus.rawTokens", "225000")
                        .with("corpus.context", "{question}\n")
                        .with("corpus.text", "#### {answer|after:####|trim}")
                        .with("corpus.thought", "{answer|before:####|drop:<<[^>]*>>|trim}")
                        .with("corpus.answer", "{answer|after:####|trim}")
                        .with("corpus.chunked", "false")
                        .with("corpus.warmStart", "1500")
                        .with("corpus.documents", "3000")
                        .with("corpus.vocabulary", "1024")
                        .with("model.context", "512")
                        .with("model.width", "128")
                        .with("model.heads", "4")
                        .with("model.kvHeads", "2")
                        .with("model.headDim", "32")
                        .with("model.hidden", "352")
                        .with("training.steps", "400")
                        .with("training.tokens", "4096")
                        .with("training.microTokens", "4096")
                        .with("em.maxThought", "160")
                        .with("em.iterations", "1")
                        .with("baselines", "[\"raw-token-match\"]");
            case "gsm8k-small" ->
                preset("gsm8k")
                        .with("corpus.rawTokens", "75000")
                        .with("corpus.warmStart", "800")
                        .with("corpus.documents", "1000")
                        .with("corpus.dev", "50")
                        .with("corpus.heldOut", "100")
                        .with("corpus.vocabulary", "512")
                        .with("model.layers", "2")
                        .with("model.width", "64")
                        .with("model.kvHeads", "2")
                        .with("model.headDim", "16")
                        .with("model.hidden", "176")
                        .with("training.steps", "100")
                        .with("training.warmup", "10")
                        .with("training.tokens", "2048")
                        .with("training.microTokens", "2048")
                        .with("em.maxThought", "192")
                        .with("em.iterations", "2")
                        .with("evaluation.elboSamples", "4")
                        .with("evaluation.bounds", "[1,4]")
                        .with("baselines", "[]");
            case "tinyllama-finemath" -> finemath();
            case "smollm2-135m" ->
                finemath()
                        .with("corpus.vocabulary", "49156")
                        .with("model.from", "SmolLM2-135M")
                        .with("model.layers", "30")
                        .with("model.width", "576")
                        .with("model.heads", "9")
                        .with("model.kvHeads", "3")
                        .with("model.hidden", "1536")
                        .with("model.ropeTheta", "100000")
                        .with("model.tied", "true");
            default ->
                throw new EngineException.InvalidConfig(
                        "preset: no preset '" + name + "'" + Spelling.hint(name, PRESETS) + "; there are " + PRESETS);
        };
    }

    /**
     * Ruan et al. 2025 on a fixed corpus, as its published code runs it: TinyLlama with four more tokens, 1.92 billion tokens of FineMath-4+
     * for EM, 33,060 steps of 192 x 2048 tokens an iteration, K = 4. Two things differ: here norms do not decay, and documents are shuffled
     * anew for each epoch.
     */
    private static RunConfig finemath() {
        return chain().with("seeds", "42")
                .with("corpus.path", "finemath-4plus")
                .with("corpus.thoughts", "finemath-thoughts.jsonl")
                .with("corpus.warmStart", "167320")
                .with("corpus.documents", "1338556")
                .with("corpus.dev", "670")
                .with("corpus.heldOut", "670")
                .with("corpus.vocabulary", "32004")
                .with("corpus.rawTokens", "1920000000")
                .with("model.from", "TinyLlama_v1.1")
                .with("model.layers", "22")
                .with("model.width", "2048")
                .with("model.heads", "32")
                .with("model.kvHeads", "4")
                .with("model.headDim", "64")
                .with("model.hidden", "5632")
                .with("model.context", "2048")
                .with("training.steps", "33060")
                .with("training.tokens", "393216")
                .with("training.microTokens", "8192")
                .with("training.learningRate", "1e-4")
                .with("training.warmup", "1000")
                .with("training.finalShare", "1e-6")
                .with("training.beta2", "0.95")
                .with("training.weightDecay", "0.01")
                .with("training.checkpointEvery", "2500")
                .with("training.warmSteps", "4069")
                .with("training.warmTokens", "196608")
                .with("training.documentMask", "false")
                .with("em.iterations", "4")
                .with("em.maxThought", "1024")
                .with("baselines", "[\"raw-token-match\",\"raw-flop-match\"]")
                .with("device.type", "bf16");
    }

    /**
     * {@return the settings of a JSON file over these}
     *
     * @param file an object with any of the keys of {@link #toJson}
     * @throws EngineException.InvalidConfig if the file cannot be read, is not JSON, has an unknown key or a value of another kind
     */
    public RunConfig over(Path file) {
        try {
            JsonNode tree = JSON.readTree(Files.readString(file));
            return over(tree, file + ": ");
        } catch (IOException e) {
            throw new EngineException.InvalidConfig("config: cannot read " + file + " (" + e.getMessage() + ")");
        } catch (JacksonException e) {
            throw new EngineException.InvalidConfig(file + ": not JSON: " + JsonProblem.of(e));
        }
    }

    /**
     * {@return one setting over these}
     *
     * @param key dotted, such as {@code em.samples}; a value and not a group
     * @param value JSON or bare text; a comma list is taken where a list is wanted
     * @throws EngineException.InvalidConfig naming the key, if there is none or the value cannot be its
     */
    public RunConfig with(String key, String value) {
        ObjectNode tree = tree();
        ObjectNode parent = tree;
        String[] names = key.split("\\.", -1);
        for (int i = 0; i + 1 < names.length; i++) {
            JsonNode child = child(parent, names[i], key, "");
            if (!child.isObject()) {
                throw new EngineException.InvalidConfig(key + ": '" + names[i] + "' is a value, not a group");
            }
            parent = (ObjectNode) child;
        }
        String last = names[names.length - 1];
        JsonNode old = child(parent, last, key, "");
        if (old.isObject()) {
            throw new EngineException.InvalidConfig(key + ": is a group of settings; set one of them, such as " + key
                    + "." + old.propertyNames().iterator().next());
        }
        JsonNode now;
        if (old.isString()) {
            now = tree.stringNode(value.startsWith("\"") ? parsed(value, key).asString() : value);
        } else if (old.isArray() && !value.contains("\"")) {
            var list = tree.arrayNode();
            // brackets are welcome and not needed
            String items = value.strip().replaceAll("^\\[(.*)]$", "$1");
            for (String item : items.isBlank() ? new String[0] : items.split(",")) {
                JsonNode number = scalar(item.strip(), tree);
                list.add(number);
            }
            now = list;
        } else {
            now = parsed(value, key);
        }
        parent.set(last, now);
        return read(tree, "");
    }

    /**
     * {@return the settings of a tree over these}
     *
     * @param changes an object with any of the keys of {@link #toJson}
     * @param where begins the message about what is wrong in it, such as the file; may be empty
     * @throws EngineException.InvalidConfig if there is an unknown key or a value of another kind
     */
    public RunConfig over(JsonNode changes, String where) {
        ObjectNode tree = tree();
        merge(tree, changes, "", where);
        return read(tree, where);
    }

    private static void merge(ObjectNode base, JsonNode changes, String prefix, String where) {
        if (!changes.isObject()) {
            throw new EngineException.InvalidConfig(
                    where + (prefix.isEmpty() ? "the file" : prefix) + ": expected an object");
        }
        for (var change : changes.properties()) {
            String key = prefix.isEmpty() ? change.getKey() : prefix + "." + change.getKey();
            JsonNode old = child(base, change.getKey(), key, where);
            if (old.isObject()) {
                merge((ObjectNode) old, change.getValue(), key, where);
            } else {
                base.set(change.getKey(), change.getValue());
            }
        }
    }

    private static JsonNode child(ObjectNode parent, String name, String key, String where) {
        JsonNode child = parent.get(name);
        if (child == null) {
            throw new EngineException.InvalidConfig(where + "unknown key '" + key + "'"
                    + Spelling.hint(name, List.copyOf(new TreeMap<>(names(parent)).keySet())));
        }
        return child;
    }

    private static java.util.Map<String, Boolean> names(ObjectNode node) {
        var names = new TreeMap<String, Boolean>();
        node.properties().forEach(entry -> names.put(entry.getKey(), true));
        return names;
    }

    private static JsonNode scalar(String text, ObjectNode factory) {
        try {
            return JSON.readTree(text);
        } catch (JacksonException e) {
            return factory.stringNode(text);
        }
    }

    private static JsonNode parsed(String value, String key) {
        try {
            JsonNode node = JSON.readTree(value);
            if (!node.isMissingNode()) {
                return node;
            }
            throw new EngineException.InvalidConfig(key + ": a value is missing");
        } catch (JacksonException e) {
            throw new EngineException.InvalidConfig(key + ": cannot be '" + value + "'");
        }
    }

    private ObjectNode tree() {
        return JSON.valueToTree(this);
    }

    private static RunConfig read(JsonNode tree, String where) {
        requireFinite("", tree, where);
        try {
            return JSON.treeToValue(tree, RunConfig.class);
        } catch (JacksonException e) {
            String key = e.getPath().stream()
                    .map(JacksonException.Reference::getPropertyName)
                    .filter(Objects::nonNull)
                    .collect(Collectors.joining("."));
            String value = tree.at("/" + key.replace('.', '/')).toString();
            String expected = e instanceof MismatchedInputException mismatch
                    ? kind(mismatch.getTargetType())
                    : "a number of the size of an int";
            throw new EngineException.InvalidConfig(
                    where + key + ": expected " + expected + ", got "
                            + (value.length() > 100 ? value.substring(0, 100) + "..." : value),
                    e);
        }
    }

    private static String kind(Class<?> type) {
        return type == int.class || type == long.class || type == Integer.class || type == Long.class
                ? "a whole number"
                : type == double.class
                        ? "a number"
                        : type == boolean.class ? "true or false" : type == String.class ? "a text" : "a list";
    }

    /** A number too large for its type is read as infinite; no setting may be. */
    private static void requireFinite(String key, JsonNode node, String where) {
        for (var entry : node.properties()) {
            requireFinite(key.isEmpty() ? entry.getKey() : key + "." + entry.getKey(), entry.getValue(), where);
        }
        if (node.isDouble() && !Double.isFinite(node.doubleValue())) {
            throw new EngineException.InvalidConfig(
                    where + key + ": expected a finite number, got " + node.doubleValue());
        }
    }

    /** {@return these settings as JSON, keys in the order of the records} */
    public String toJson() {
        return JSON.writeValueAsString(this);
    }

    /**
     * {@return the settings of the JSON of {@link #toJson}}
     *
     * @param json settings; a key left out has the value of {@link #chain}
     * @throws EngineException.InvalidConfig if there is an unknown key or a value of another kind
     * @throws JacksonException if it is not JSON
     */
    public static RunConfig fromJson(String json) {
        return chain().over(JSON.readTree(json), "");
    }
}
