package subtext.em;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.BufferedReader;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.TreeMap;
import java.util.concurrent.TimeUnit;
import java.util.stream.Stream;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import subtext.bindings.EngineException;
import subtext.data.Annotated;
import subtext.data.Chunker;
import subtext.data.Document;
import subtext.data.Prepare;
import subtext.data.Prepared;
import subtext.io.Digest;
import subtext.random.Philox;
import subtext.run.RunConfig;
import subtext.run.Seeds;
import subtext.world.ChainText;
import subtext.world.ChainWorld;
import tools.jackson.databind.json.JsonMapper;
import tools.jackson.databind.node.ArrayNode;
import tools.jackson.databind.node.ObjectNode;

/**
 * EM on documents of several chunks whose warm start comes from files with a thought for each chunk. The chain world in text is written to such
 * files: what is read of them is the world's own material, and from it, from shards, and killed and taken up again, come the same models.
 */
class TaughtCorpusTest {
    private static final RunConfig WORLD = RunConfig.preset("chain-text")
            .with("device.backend", "cpu")
            .with("device.threads", "1")
            .with("world.readouts", "1,2,3,4,5,6")
            .with("world.problems", "3")
            .with("world.warmStart", "12")
            .with("world.documents", "10")
            .with("world.dev", "3")
            .with("world.heldOut", "4")
            .with("model.layers", "1")
            .with("model.width", "32")
            .with("model.heads", "2")
            .with("model.kvHeads", "1")
            .with("model.hidden", "64")
            .with("training.steps", "4")
            .with("training.tokens", "1024")
            .with("training.microTokens", "1024")
            .with("training.warmup", "2")
            .with("training.checkpointEvery", "2")
            .with("em.iterations", "1")
            .with("em.part", "7")
            .with("em.maxThought", "24")
            .with("evaluation.elboSamples", "2")
            .with("evaluation.bounds", "1,2");

    @TempDir
    static Path folder;

    private static ChainText told;
    private static RunConfig world;
    private static RunConfig files;

    /** The model that all start from, for its tokenizer; and the world's documents as files, in an order that the split undoes. */
    @BeforeAll
    static void write() throws IOException {
        RunConfig scratch = WORLD.with("em.iterations", "0").with("training.steps", "2");
        Path first = folder.resolve("first");
        EmRun.start(new EmSettings(first, false, false, scratch), event -> {});
        world = WORLD.with(
                "model.from", first.resolve("seeds/0/iterations/00/model").toString());
        RunConfig.World w = WORLD.world();
        told = new ChainText(
                new ChainWorld(new ChainWorld.Plan(w.states(), w.generators(), w.depth(), w.readouts(), 0)),
                w.problems());
        List<String> corpus = new ArrayList<>();
        for (var split : List.of(
                told.documents(ChainWorld.Split.HELD_OUT, w.heldOut()),
                told.documents(ChainWorld.Split.DEV, w.dev()),
                told.documents(ChainWorld.Split.TRAIN, w.documents()))) {
            split.forEach(document -> corpus.add(record(document).toString()));
        }
        lines("corpus.jsonl", dealt(corpus));
        lines(
                "taught.jsonl",
                dealt(told.documents(ChainWorld.Split.WARM_START, w.warmStart()).stream()
                        .map(document -> taught(document, "suffix", "latent").toString())
                        .toList()));
        files = world.with("corpus.path", folder.resolve("corpus.jsonl").toString())
                .with("corpus.id", "id")
                .with("corpus.thoughts", folder.resolve("taught.jsonl").toString())
                .with("corpus.warmStart", "0")
                .with("corpus.dev", "3")
                .with("corpus.heldOut", "4");
    }

    /** In the order that the split of seed 0 makes this one of. */
    private static <T> List<T> dealt(List<T> wanted) {
        int[] order = Philox.permutation(new Seeds(0).split(), wanted.size());
        List<T> dealt = new ArrayList<>(wanted);
        for (int i = 0; i < order.length; i++) {
            dealt.set(order[i], wanted.get(i));
        }
        return dealt;
    }

    private static Path lines(String name, List<String> lines) throws IOException {
        return Files.write(folder.resolve(name), lines);
    }

    private static ObjectNode record(ChainText.TextDocument document) {
        return JsonMapper.shared().createObjectNode().put("id", document.id()).put("text", document.text());
    }

    private static ObjectNode taught(ChainText.TextDocument document, String text, String thought) {
        ObjectNode record = record(document);
        ArrayNode list = record.putArray("chunks");
        List<String> chunks = new Chunker(Seeds.chunks(), WORLD.corpus().chunkSentences(), Materials.MOST_SENTENCES)
                .cut(document.text());
        List<String> thoughts = document.thoughts(chunks);
        for (int i = 0; i < chunks.size(); i++) {
            // the world shows an empty thought where nothing is told; a file says with it that there is none
            assertThat(thoughts.get(i)).isNotEmpty();
            list.addObject()
                    .put("prefix", i == 0 ? "N/A" : chunks.get(i - 1))
                    .put(text, chunks.get(i))
                    .put(thought, thoughts.get(i));
        }
        return record;
    }

    private static Material material(RunConfig config) {
        return Materials.of(config, new Seeds(0), Origin.of(config), line -> {
            throw new AssertionError(line);
        });
    }

    private static Map<String, String> models(Path run) throws IOException {
        Map<String, String> digests = new TreeMap<>();
        try (Stream<Path> all = Files.walk(run.resolve("seeds"))) {
            for (Path file :
                    all.filter(f -> f.endsWith("model/model.safetensors")).toList()) {
                digests.put(run.relativize(file).toString(), Digest.of(file));
            }
        }
        return digests;
    }

    private static Map<String, String> run(String name, RunConfig config) throws IOException {
        Path run = folder.resolve(name);
        EmRun.start(new EmSettings(run, Files.exists(run.resolve("run.json")), false, config), event -> {});
        return models(run);
    }

    private static void assertSame(Material found, Material wanted) {
        assertThat(found.warmStart()).isEqualTo(wanted.warmStart());
        assertThat(found.corpus()).isEqualTo(wanted.corpus());
        assertThat(found.development()).isEqualTo(wanted.development());
        assertThat(found.heldOut()).isEqualTo(wanted.heldOut());
    }

    @Test
    void filesGiveTheMaterialAndTheModelsOfTheWorld() throws IOException {
        Material wanted = material(world);
        assertThat(wanted.corpus())
                .allSatisfy(document -> assertThat(document.chunks()).hasSizeGreaterThan(1));
        assertSame(material(files), wanted);
        Map<String, String> models = run("world", world);
        assertThat(models).hasSize(2);
        assertThat(run("files", files)).isEqualTo(models);
    }

    /** The run to be killed: it stops for ever once the first part of thoughts is drawn. */
    static final class Victim {
        private Victim() {}

        public static void main(String[] arguments) {
            RunConfig config = RunConfig.fromJson(arguments[1]);
            EmRun.start(new EmSettings(Path.of(arguments[0]), false, false, config), event -> {
                if (event instanceof EmEvent.LatentsDrawn) {
                    System.out.println("drawn");
                    try {
                        Thread.sleep(600_000);
                    } catch (InterruptedException e) {
                        throw new AssertionError(e);
                    }
                }
            });
        }
    }

    @Test
    void killedInTheEStepItEndsInTheSameModels() throws IOException, InterruptedException {
        Process process = new ProcessBuilder(
                        ProcessHandle.current().info().command().orElseThrow(),
                        "-Xmx256m",
                        "-cp",
                        System.getProperty("java.class.path"),
                        "--enable-native-access=ALL-UNNAMED",
                        Victim.class.getName(),
                        folder.resolve("killed").toString(),
                        files.toJson())
                .redirectError(ProcessBuilder.Redirect.INHERIT)
                .start();
        try (BufferedReader lines = process.inputReader(StandardCharsets.UTF_8)) {
            assertThat(lines.readLine()).isEqualTo("drawn");
            process.destroyForcibly();
            assertThat(process.waitFor(60, TimeUnit.SECONDS)).isTrue();
        }
        assertThat(process.exitValue()).isEqualTo(128 + 9);
        assertThat(models(folder.resolve("killed"))).hasSize(1);
        Path thoughts = folder.resolve("taught.jsonl");
        String content = Files.readString(thoughts);
        Files.writeString(thoughts, content.replaceFirst("takes", "leads"));
        assertThatThrownBy(() -> run("killed", files))
                .isInstanceOf(EngineException.InvalidInput.class)
                .hasMessageStartingWith("corpus.thoughts: not what the run in");
        Files.writeString(thoughts, content);
        assertThat(run("killed", files)).isEqualTo(run("whole", files));
    }

    private static Prepared prepare(String out, RunConfig config) {
        return PrepareRun.start(config, folder.resolve(out), Prepare.Duplicates.EXACT, 0.25, progress -> {});
    }

    @Test
    void shardsGiveTheModelsOfTheFilesTheyWereMadeOf() throws IOException {
        Prepared prepared = prepare("shards", files);
        assertThat(prepared.warmStart()).hasSize(12);
        assertThat(prepared.heldOut()).hasSizeGreaterThanOrEqualTo(2);
        assertThat(Prepared.verify(prepared.folder())).isEmpty();
        assertThat(Prepared.files(prepared.folder())).isEqualTo(3 + 3);
        RunConfig shards =
                files.with("corpus.path", folder.resolve("shards").toString()).with("corpus.heldOut", "2");
        Material material = material(shards.with("corpus.thoughts", ""));
        assertThat(material.warmStart()).isEqualTo(material(files).warmStart());
        assertThat(material.corpus())
                .hasSize(prepared.train().size() - 3)
                .allSatisfy(document -> assertThat(document.chunks()).hasSizeGreaterThan(1));

        // the very documents in files, in the order that the shards deal them
        Map<String, String> records = new TreeMap<>();
        Files.readAllLines(folder.resolve("corpus.jsonl"))
                .forEach(line -> records.put(
                        JsonMapper.shared().readTree(line).path("id").asString(), line));
        List<String> wanted = Stream.of(material.heldOut(), material.development(), material.corpus())
                .flatMap(List::stream)
                .map(Document::id)
                .map(records::get)
                .toList();
        RunConfig direct =
                shards.with("corpus.path", lines("dealt.jsonl", dealt(wanted)).toString());
        assertSame(material(direct), material);
        Map<String, String> models = run("from-shards", shards);
        assertThat(models).hasSize(2);
        assertThat(run("direct", direct)).isEqualTo(models);

        // thoughts given to a run and not to prepare
        prepare("bare", files.with("corpus.thoughts", ""));
        RunConfig bare = shards.with("corpus.path", folder.resolve("bare").toString());
        assertSame(material(bare), material);
        assertThatThrownBy(() -> material(bare.with("corpus.thoughts", "").with("corpus.warmStart", "2")))
                .isInstanceOf(EngineException.InvalidConfig.class)
                .hasMessageContaining("was prepared without thoughts")
                .hasMessageContaining("corpus.thoughts");
    }

    @Test
    void aSettingThatShardsHaveBehindThemIsRefusedIfItAsksForSomethingElse() {
        RunConfig shards = files.with(
                        "corpus.path", prepare("made", files).folder().toString())
                .with("corpus.heldOut", "2");
        material(shards);
        String made = "corpus.%s: " + folder.resolve("made") + " was prepared with '%s', got '%s'; give what";
        assertRefused(shards.with("corpus.text", "{body}"), made.formatted("text", "{text}", "{body}"));
        assertRefused(shards.with("corpus.context", "{id}"), made.formatted("context", "", "{id}"));
        assertRefused(shards.with("corpus.id", "name"), made.formatted("id", "id", "name"));
        assertRefused(shards.with("corpus.chunked", "false"), made.formatted("chunked", "true", "false"));
        assertRefused(shards.with("corpus.chunkSentences", "4"), made.formatted("chunkSentences", "8.0", "4.0"));
        assertRefused(shards.with("corpus.badRecords", "skip"), made.formatted("badRecords", "stop", "skip"));
        material(shards.with("corpus.id", "")
                .with("corpus.vocabulary", "1024")); // the usual, and a tokenizer that was given
        RunConfig scratch = files.with("model.from", "").with("corpus.vocabulary", "300");
        RunConfig trained = scratch.with(
                        "corpus.path", prepare("learnt", scratch).folder().toString())
                .with("corpus.heldOut", "2");
        material(trained);
        assertRefused(
                trained.with("corpus.vocabulary", "310"),
                "corpus.vocabulary: " + folder.resolve("learnt") + " was prepared with '300', got '310'");
        RunConfig whole = files.with("corpus.chunked", "false").with("corpus.chunkSentences", "8");
        RunConfig uncut = whole.with(
                        "corpus.path", prepare("uncut", whole).folder().toString())
                .with("corpus.heldOut", "2");
        material(uncut.with("corpus.chunked", "true"));
        assertRefused(uncut.with("corpus.chunkSentences", "4"), "was prepared with 'no chunks', got '4.0'");
    }

    @Test
    void aTrainingOnTextCutsItAsAskedAndTellsWhatItTakesFewerOf() {
        RunConfig asked = files.with("corpus.documents", "100").with("corpus.heldOut", "4");
        List<String> notices = new ArrayList<>();
        Material direct = TrainRun.material(asked, new Seeds(0), TrainRun.On.TEXT, Origin.of(asked), notices::add);
        assertThat(notices)
                .containsExactly(
                        "corpus.heldOut: 4 asked for, 1 taken: a tenth of 17 documents",
                        "corpus.documents: 100 asked for, 16 taken: all but those held out");
        Map<String, Document> byId = new TreeMap<>();
        Stream.of(
                        material(files).heldOut(),
                        material(files).development(),
                        material(files).corpus())
                .flatMap(List::stream)
                .forEach(document -> byId.put(document.id(), document));
        assertThat(direct.corpus())
                .hasSize(16)
                .allSatisfy(document -> assertThat(document).isEqualTo(byId.get(document.id())));
        notices.clear();
        RunConfig whole = asked.with("corpus.chunked", "false")
                .with("corpus.documents", "0")
                .with("corpus.heldOut", "1");
        assertThat(TrainRun.material(whole, new Seeds(0), TrainRun.On.TEXT, Origin.of(whole), notices::add)
                        .corpus())
                .hasSize(16)
                .allSatisfy(document -> assertThat(document.chunks()).hasSize(1));
        assertThat(notices).isEmpty();

        Prepared prepared = prepare("text", files);
        int train = prepared.train().size();
        int held = prepared.heldOut().size();
        RunConfig shards =
                asked.with("corpus.path", prepared.folder().toString()).with("corpus.heldOut", "50");
        TrainRun.material(shards, new Seeds(0), TrainRun.On.TEXT, Origin.of(shards), notices::add);
        assertThat(notices)
                .containsExactly(
                        "corpus.documents: 100 asked for, " + train + " taken: all there are to train on",
                        "corpus.heldOut: 50 asked for, " + held + " taken: all that are held out");
        assertThatThrownBy(() -> TrainRun.material(
                        shards.with("corpus.documents", "-1"),
                        new Seeds(0),
                        TrainRun.On.TEXT,
                        Origin.of(shards),
                        notices::add))
                .isInstanceOf(EngineException.InvalidConfig.class)
                .hasMessageContaining("corpus.documents: expected at least 1, got -1");
    }

    @Test
    void fromScratchTheTokenizerLearnsTextsAndThoughts() {
        RunConfig scratch = files.with("model.from", "").with("corpus.vocabulary", "330");
        Material direct = material(scratch);
        // a word of thoughts only, and one of texts only
        assertThat(direct.tokenizer().encodeContinuation(" takes").size()).isEqualTo(1);
        assertThat(direct.tokenizer().encodeContinuation(" state").size()).isEqualTo(1);
        Prepared prepared = prepare("scratch", scratch);
        assertThat(prepared.tokenizer().encodeContinuation(" takes").size()).isEqualTo(1);
        assertThat(prepared.tokenizer().encodeContinuation(" state").size()).isEqualTo(1);
    }

    @Test
    void theOtherNamesOfTheFieldsSayTheSameAndAChunkWithoutAThoughtIsRaw() throws IOException {
        List<String> records = new ArrayList<>();
        for (ChainText.TextDocument document : told.documents(ChainWorld.Split.WARM_START, 12)) {
            ObjectNode record = taught(document, "text", "thought");
            ((ObjectNode) record.path("chunks").get(0)).putNull("thought");
            records.add(record.toString());
        }
        RunConfig config = files.with(
                "corpus.thoughts", lines("other.jsonl", dealt(records)).toString());
        List<Annotated> wanted = material(files).warmStart();
        List<Annotated> found = material(config).warmStart();
        for (int i = 0; i < wanted.size(); i++) {
            List<Optional<Annotated.Thought>> thoughts =
                    new ArrayList<>(wanted.get(i).thoughts());
            thoughts.set(0, Optional.empty());
            assertThat(found.get(i)).isEqualTo(new Annotated(wanted.get(i).document(), thoughts));
        }
    }

    @Test
    void aPlanCountsWhatIsThereAndSaysWhatIsNot() {
        RunConfig config = files.with("corpus.rawTokens", "1000000").with("corpus.documents", "10");
        Optional<Rates> rates = Optional.of(new Rates("a machine", 1e12, 1e12, 1e12));
        RunPlan.Volume counted = EmRun.plan(
                        new EmSettings(folder.resolve("plan"), false, true, config), rates, event -> {})
                .volume()
                .orElseThrow();
        assertThat(counted.assumed()).isEmpty();
        assertThat(counted.warmDocuments()).isEqualTo(12);
        Material material = material(config);
        assertThat(counted.chunks())
                .isEqualTo(material.corpus().stream()
                        .mapToInt(d -> d.chunks().size())
                        .sum());
        assertThat(counted.thought())
                .isEqualTo(material.warmStart().stream()
                        .flatMap(d -> d.thoughts().stream())
                        .mapToInt(z -> z.orElseThrow().tokens().size())
                        .average()
                        .orElseThrow());
        RunConfig missing =
                config.with("corpus.thoughts", folder.resolve("missing.jsonl").toString());
        assertThat(EmRun.plan(new EmSettings(folder.resolve("plan"), false, true, missing), rates, event -> {})
                        .volume()
                        .orElseThrow()
                        .assumed())
                .contains("missing.jsonl is not there yet");
    }

    @Test
    void settingsThatCannotBeAreRefused() {
        assertRefused(
                files.with("corpus.warmStart", "13"), "corpus.warmStart: expected at most 12, the usable documents");
        assertRefused(files.with("corpus.thought", "{text}"), "corpus.thought: expected none beside corpus.thoughts");
        assertRefused(files.with("corpus.path", ""), "corpus.thoughts: there is no corpus to learn from beside it");
        assertRefused(
                files.with("corpus.documents", "11"), "has 17 usable documents; documents 11, dev 3 and heldOut 4");
        assertRefused(
                files.with("corpus.chunkSentences", "0.5"), "corpus.chunkSentences: expected at least 1, got 0.5");
        assertRefused(
                files.with("corpus.thoughts", "").with("corpus.thought", "{text}"),
                "corpus.chunked: expected false where corpus.thought gives one thought");
    }

    private static void assertRefused(RunConfig config, String says) {
        assertThatThrownBy(() -> material(config))
                .isInstanceOf(EngineException.InvalidConfig.class)
                .hasMessageContaining(says);
    }
}
