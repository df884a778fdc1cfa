package subtext.data;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import subtext.bindings.EngineException;
import subtext.io.Digest;
import subtext.io.WholeFile;
import subtext.run.SelfDigest;
import subtext.text.Tokenizer;
import tools.jackson.core.JacksonException;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.SerializationFeature;
import tools.jackson.databind.json.JsonMapper;
import tools.jackson.databind.node.ObjectNode;

/**
 * A folder that {@link Prepare} made of a corpus: {@code prepared.json} with the statistics, {@code tokenizer.json}, and token shards under
 * {@code train/}, {@code held-out/} and, if there is a warm start with files of its own, {@code warm-start/}. Documents are read from the mapped shards when they are asked for.
 *
 * @param folder where
 * @param statistics what it holds and what was left out
 * @param tokenizer that made the tokens
 * @param train documents to train on, in the order of the corpus
 * @param heldOut documents to measure on
 * @param warmStart documents in chunks with thoughts, from files of their own; empty if there were none
 */
public record Prepared(
        Path folder,
        Statistics statistics,
        Tokenizer tokenizer,
        List<Annotated> train,
        List<Annotated> heldOut,
        List<Annotated> warmStart) {
    static final String MANIFEST = "prepared.json";
    static final String TOKENIZER = "tokenizer.json";
    private static final int LARGEST = 256 << 20;

    private static final JsonMapper JSON =
            JsonMapper.builder().enable(SerializationFeature.INDENT_OUTPUT).build();

    /**
     * What became of a corpus.
     *
     * @param corpus its path
     * @param files how many it was
     * @param thoughts path of the documents of the warm start; empty if there are none
     * @param records good ones
     * @param bad ones that could not be used
     * @param problems what was wrong with the first of them
     * @param exactDuplicates records left out because an earlier one is equal
     * @param nearDuplicates records left out because an earlier one is nearly equal
     * @param train what is trained on
     * @param heldOut what is measured on
     * @param warmStart documents in chunks with thoughts
     * @param leaks held-out chunks found in the training text
     * @param tokenizerSha256 digest of tokenizer.json
     * @param vocabulary ids of the tokenizer
     */
    public record Statistics(
            String corpus,
            int files,
            String thoughts,
            long records,
            long bad,
            List<String> problems,
            long exactDuplicates,
            long nearDuplicates,
            Part train,
            Part heldOut,
            Part warmStart,
            Leaked leaks,
            String tokenizerSha256,
            int vocabulary) {
        /** Folders prepared before there were thoughts have none. */
        public Statistics {
            thoughts = thoughts == null ? "" : thoughts;
            warmStart = warmStart == null ? Part.NONE : warmStart;
        }

        List<Part> parts() {
            return List.of(train, heldOut, warmStart);
        }

        /** {@return the statistics as JSON, a key a line} */
        public String toJson() {
            return JSON.writeValueAsString(this);
        }
    }

    /**
     * One side of the split, or the documents of the warm start.
     *
     * @param documents how many
     * @param characters of contexts, texts and thoughts
     * @param tokens of all three
     * @param shards files, in order
     */
    public record Part(long documents, long characters, long tokens, List<Shard> shards) {
        static final Part NONE = new Part(0, 0, 0, List.of());
    }

    /**
     * A file of tokens.
     *
     * @param file name, relative to the folder
     * @param documents how many it holds
     * @param tokens of their contexts, texts and thoughts
     * @param bytes size of the file
     * @param sha256 digest of its documents
     */
    public record Shard(String file, long documents, long tokens, long bytes, String sha256) {}

    /**
     * Held-out chunks found in the training text.
     *
     * @param chunks held-out chunks looked at, each with the context of its record
     * @param exact of them, those that are training chunks word for word
     * @param runs of them, those that share a run of 13 words with the training text
     * @param sampled one in how many runs was looked at
     */
    public record Leaked(long chunks, long exact, long runs, long sampled) {}

    /**
     * {@return whether a path is such a folder, finished}
     *
     * @param path of anything, or of nothing
     */
    public static boolean isAt(Path path) {
        return Files.isRegularFile(path.resolve(MANIFEST));
    }

    /**
     * Opens a folder: maps its shards and checks their headers; documents are checked when they are read.
     *
     * @param folder that {@link #isAt} is true of
     * @return the folder, its documents still unread; the files stay mapped while these are reachable
     * @throws EngineException.CorruptFile if it is damaged, naming the file
     * @throws IOException if a file cannot be read
     */
    public static Prepared open(Path folder) throws IOException {
        Statistics statistics = statistics(folder);
        Path tokenizer = folder.resolve(TOKENIZER);
        if (!Digest.of(tokenizer).equals(statistics.tokenizerSha256())) {
            throw new EngineException.CorruptFile(
                    tokenizer + ": damaged: its digest is not the one in " + MANIFEST + "; prepare the corpus again");
        }
        return new Prepared(
                folder,
                statistics,
                Tokenizer.load(tokenizer),
                documents(folder, statistics, statistics.train()),
                documents(folder, statistics, statistics.heldOut()),
                documents(folder, statistics, statistics.warmStart()));
    }

    /**
     * {@return the digest of a folder, which is that of its list of digests}
     *
     * @param folder that {@link #isAt} is true of
     * @throws IOException if the list cannot be read
     */
    public static String digest(Path folder) throws IOException {
        return Digest.of(folder.resolve(MANIFEST));
    }

    /**
     * {@return what a folder was made with: {@code context}, {@code text}, {@code thought}, {@code id}, {@code chunks}, {@code badRecords} and
     * {@code tokenizer}, as its {@code plan.json} has them; empty if there is none}
     *
     * @param folder that {@link #isAt} is true of
     * @throws EngineException.CorruptFile if the plan is damaged
     * @throws IOException if it cannot be read
     */
    public static Map<String, String> plan(Path folder) throws IOException {
        Path file = folder.resolve(Prepare.PLAN);
        Map<String, String> plan = new TreeMap<>();
        if (Files.exists(file)) {
            JsonNode tree = JSON.readTree(unsealed(file));
            for (String key : List.of("context", "text", "thought", "id", "chunks", "badRecords", "tokenizer")) {
                plan.put(key, tree.path(key).asString(""));
            }
        }
        return plan;
    }

    private static Statistics statistics(Path folder) throws IOException {
        Path manifest = folder.resolve(MANIFEST);
        try {
            return JSON.readValue(unsealed(manifest), Statistics.class);
        } catch (JacksonException e) {
            throw new EngineException.CorruptFile(
                    manifest + ": damaged: " + Corpus.oneLine(e.getMessage()) + "; prepare the corpus again", e);
        }
    }

    /** JSON that holds its own digest. */
    static String sealed(Object value) {
        ObjectNode tree = JSON.createObjectNode();
        tree.put("sha256", SelfDigest.EMPTY);
        tree.setAll((ObjectNode) JSON.valueToTree(value));
        return SelfDigest.seal(JSON.writeValueAsString(tree) + "\n");
    }

    /**
     * What {@link #sealed} gave, its digest left out.
     *
     * @throws EngineException.CorruptFile if a byte of it is not as written
     */
    static String unsealed(Path file) throws IOException {
        String text = SelfDigest.open(
                WholeFile.bytes(file, LARGEST), file, ": damaged, or of an older version; prepare the corpus again");
        ObjectNode tree = (ObjectNode) JSON.readTree(text);
        tree.remove("sha256");
        return tree.toString();
    }

    private static List<Annotated> documents(Path folder, Statistics statistics, Part part) throws IOException {
        List<TokenShard> shards = new ArrayList<>();
        int[] from = new int[part.shards().size() + 1];
        for (int s = 0; s < part.shards().size(); s++) {
            TokenShard shard = shard(folder, statistics, part.shards().get(s));
            shards.add(shard);
            from[s + 1] = Math.addExact(from[s], shard.size());
        }
        return View.of(from[from.length - 1], i -> {
            int s = java.util.Arrays.binarySearch(from, i);
            s = s < 0 ? -s - 2 : s;
            return shards.get(s).document(i - from[s]);
        });
    }

    private static TokenShard shard(Path folder, Statistics statistics, Shard said) throws IOException {
        Path file = folder.resolve(said.file()).normalize();
        if (!file.startsWith(folder.normalize())) {
            throw TokenShard.damaged(folder.resolve(MANIFEST), "it names a shard outside the folder, " + said.file());
        }
        if (!Files.isRegularFile(file)) {
            throw TokenShard.damaged(file, "it is missing");
        }
        TokenShard shard = TokenShard.open(file);
        if (!shard.header().digest().equals(said.sha256())
                || !shard.header().tokenizer().equals(statistics.tokenizerSha256())) {
            throw TokenShard.damaged(file, "it is not the file that " + MANIFEST + " lists");
        }
        return shard;
    }

    /**
     * Reads everything and compares it with its digests.
     *
     * @param folder that {@link #isAt} is true of
     * @return what is wrong, a line each; empty if nothing is
     * @throws IOException if a file cannot be read
     */
    public static List<String> verify(Path folder) throws IOException {
        List<String> problems = new ArrayList<>();
        try {
            if (Files.exists(folder.resolve(Prepare.PLAN))) {
                unsealed(folder.resolve(Prepare.PLAN));
            }
            Prepared prepared = open(folder);
            for (Part part : prepared.statistics().parts()) {
                for (Shard said : part.shards()) {
                    TokenShard shard = TokenShard.open(folder.resolve(said.file()));
                    if (!shard.bodyDigest().equals(said.sha256())) {
                        problems.add(
                                folder.resolve(said.file()) + ": damaged: its digest is not the one in " + MANIFEST);
                    }
                }
            }
        } catch (EngineException e) {
            problems.add(e.getMessage());
        } catch (UncheckedIOException e) {
            problems.add(folder + ": cannot be read: " + e.getMessage());
        }
        return problems;
    }

    /**
     * {@return how many files {@link #verify} reads: the shards and three more}
     *
     * @param folder that {@link #isAt} is true of
     * @throws EngineException.CorruptFile if {@code prepared.json} is damaged
     * @throws IOException if it cannot be read
     */
    public static int files(Path folder) throws IOException {
        return 3
                + statistics(folder).parts().stream()
                        .mapToInt(part -> part.shards().size())
                        .sum();
    }

    /**
     * {@return the digest of a tokenizer as it is written to a file, 64 hexadecimal digits}
     *
     * @param tokenizer written to a temporary file to find out
     * @throws IOException if that file cannot be written
     */
    public static String digest(Tokenizer tokenizer) throws IOException {
        Path file = Files.createTempFile("tokenizer", ".json");
        try {
            tokenizer.save(file);
            return Digest.of(file);
        } finally {
            Files.delete(file);
        }
    }
}
