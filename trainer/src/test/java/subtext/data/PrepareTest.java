package subtext.data;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import com.github.luben.zstd.ZstdOutputStream;
import java.io.IOException;
import java.io.OutputStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.TreeMap;
import java.util.stream.Stream;
import java.util.zip.GZIPOutputStream;
import org.junit.jupiter.api.Assumptions;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import subtext.bindings.EngineException;
import subtext.em.PrepareRun;
import subtext.io.Digest;
import subtext.random.Draws;
import subtext.run.RunConfig;
import subtext.testing.ParquetFile;
import subtext.text.BpeTrainer;
import subtext.text.TokenizerStyle;
import subtext.text.Tokens;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.json.JsonMapper;

class PrepareTest {
    private static final Corpus.Mapping TEXT = new Corpus.Mapping(
            Template.parse("context", ""), Template.parse("text", "{text}"), Template.parse("thought", ""), "");

    @TempDir
    Path folder;

    private static Prepare.Settings settings(Path corpus, Corpus.Mapping mapping) {
        return new Prepare.Settings(
                corpus.toString(),
                "",
                mapping,
                true,
                Optional.of(new Chunker(1, 3, 8)),
                Prepare.Duplicates.NEAR,
                0.1,
                Optional.empty(),
                400,
                20_000);
    }

    /** Documents of random words, so that none is like another. */
    private static List<String> documents(int count, long seed) {
        Draws draws = new Draws(seed);
        List<String> documents = new ArrayList<>();
        for (int i = 0; i < count; i++) {
            StringBuilder text = new StringBuilder();
            int words = 20 + draws.below(120);
            for (int w = 0; w < words; w++) {
                text.append(w % 9 == 0 ? "Word" : "word")
                        .append(draws.below(500))
                        .append(w % 9 == 8 ? ". " : " ");
            }
            documents.add(text.toString());
        }
        return documents;
    }

    private Path lines(String name, List<String> documents) throws IOException {
        StringBuilder lines = new StringBuilder();
        for (String document : documents) {
            lines.append(JsonMapper.shared().writeValueAsString(Map.of("text", document)))
                    .append('\n');
        }
        return Files.writeString(folder.resolve(name), lines);
    }

    private Prepared prepare(String out, Prepare.Settings settings) {
        return Prepare.run(folder.resolve(out), settings, progress -> {});
    }

    /** Shards and tokenizer by name, with their digests. */
    private static Map<String, String> files(Path out) throws IOException {
        Map<String, String> files = new TreeMap<>();
        try (Stream<Path> all = Files.walk(out)) {
            for (Path file : all.filter(Files::isRegularFile).toList()) {
                String name = out.relativize(file).toString();
                if (name.endsWith(".tok") || name.equals(Prepared.TOKENIZER)) {
                    files.put(name, Digest.of(file));
                }
            }
        }
        return files;
    }

    @Test
    void everyDocumentIsOnOneSideAndReadBackAsItWas() throws IOException {
        List<String> documents = documents(400, 1);
        Prepared prepared = prepare("out", settings(lines("a.jsonl", documents), TEXT));
        Prepared.Statistics statistics = prepared.statistics();
        assertThat(statistics.records()).isEqualTo(400);
        assertThat(statistics.exactDuplicates() + statistics.nearDuplicates() + statistics.bad())
                .isZero();
        assertThat(prepared.train().size()).isEqualTo((int) statistics.train().documents());
        assertThat(statistics.train().shards().size()).as("more than one shard").isGreaterThan(2);
        assertThat(prepared.heldOut().size()).isBetween(20, 65);
        List<String> back = new ArrayList<>();
        Set<String> ids = new HashSet<>();
        long tokens = 0;
        for (List<Annotated> side : List.of(prepared.train(), prepared.heldOut())) {
            for (Annotated annotated : side) {
                Tokens text = annotated.document().text();
                tokens += text.size();
                back.add(prepared.tokenizer().decode(text));
                ids.add(annotated.document().id());
                assertThat(annotated.document().chunks())
                        .hasSize(new Chunker(1, 3, 8).cut(back.getLast()).size());
            }
        }
        assertThat(back).containsExactlyInAnyOrderElementsOf(documents);
        assertThat(ids).hasSize(400);
        assertThat(tokens)
                .isEqualTo(statistics.train().tokens() + statistics.heldOut().tokens());
        assertThat(Prepared.verify(folder.resolve("out"))).isEmpty();
        // what was left is in the order of the corpus
        List<String> train = prepared.train().stream()
                .map(annotated ->
                        prepared.tokenizer().decode(annotated.document().text()))
                .toList();
        assertThat(train).isEqualTo(documents.stream().filter(train::contains).toList());
    }

    /** Llama 2's tokenizer puts a space before a text: before the first chunk of a document, and not between two. */
    @Test
    void chunksAreTheTextWhereATokenizerPutsASpaceBeforeIt() throws IOException {
        List<String> documents = documents(60, 21);
        BpeTrainer trainer = new BpeTrainer(TokenizerStyle.LLAMA2);
        documents.forEach(trainer::add);
        Prepare.Settings s = settings(lines("a.jsonl", documents), TEXT);
        Prepared prepared = prepare(
                "out",
                new Prepare.Settings(
                        s.corpus(),
                        "",
                        s.mapping(),
                        true,
                        s.chunker(),
                        s.duplicates(),
                        0,
                        Optional.of(trainer.train(500)),
                        0,
                        s.shardBytes()));
        assertThat(prepared.train())
                .extracting(annotated ->
                        prepared.tokenizer().decode(annotated.document().text()))
                .isEqualTo(documents);
        assertThat(prepared.train())
                .as("of several chunks")
                .anyMatch(annotated -> annotated.document().chunks().size() > 2);
    }

    @Test
    void sidesDependOnTheDocumentAlone() throws IOException {
        List<String> documents = documents(300, 2);
        Prepared some = prepare("some", settings(lines("some.jsonl", documents.subList(0, 150)), TEXT));
        List<String> turned = new ArrayList<>(documents);
        java.util.Collections.reverse(turned);
        Prepared all = prepare("all", settings(lines("all.jsonl", turned), TEXT));
        Set<String> heldOut = new HashSet<>();
        all.heldOut().forEach(annotated -> heldOut.add(annotated.document().id()));
        assertThat(heldOut)
                .containsAll(some.heldOut().stream()
                        .map(annotated -> annotated.document().id())
                        .toList());
        assertThat(heldOut)
                .doesNotContainAnyElementsOf(some.train().stream()
                        .map(annotated -> annotated.document().id())
                        .toList());
    }

    @Test
    void equalAndNearlyEqualDocumentsAreLeftOutAfterTheFirst() throws IOException {
        List<String> documents = new ArrayList<>(documents(200, 3));
        String first = documents.get(5);
        documents.add(first); // equal
        documents.add(first.toUpperCase(java.util.Locale.ROOT) + "!!"); // nearly: case and punctuation
        documents.add(documents.get(9).replaceFirst("word\\d+", "another")); // one word of many
        Path corpus = lines("a.jsonl", documents);
        Prepared near = prepare("near", settings(corpus, TEXT));
        assertThat(near.statistics().exactDuplicates()).isEqualTo(1);
        assertThat(near.statistics().nearDuplicates()).isEqualTo(2);
        assertThat(near.train().size() + near.heldOut().size()).isEqualTo(200);
        Prepare.Settings s = settings(corpus, TEXT);
        for (Prepare.Duplicates duplicates : List.of(Prepare.Duplicates.KEEP, Prepare.Duplicates.EXACT)) {
            Prepared prepared = prepare(
                    duplicates.toString(),
                    new Prepare.Settings(
                            s.corpus(),
                            "",
                            s.mapping(),
                            true,
                            s.chunker(),
                            duplicates,
                            s.heldOut(),
                            s.tokenizer(),
                            s.vocabulary(),
                            s.shardBytes()));
            Set<String> ids = new HashSet<>();
            prepared.train().forEach(annotated -> ids.add(annotated.document().id()));
            prepared.heldOut().forEach(annotated -> ids.add(annotated.document().id()));
            assertThat(ids).hasSize(duplicates == Prepare.Duplicates.KEEP ? 203 : 202);
        }
    }

    @Test
    void leaksAreCounted() throws IOException {
        List<String> documents = documents(300, 4);
        Prepare.Settings plain = settings(lines("a.jsonl", documents), TEXT);
        Prepared clean = prepare("clean", plain);
        assertThat(clean.statistics().leaks().chunks())
                .isEqualTo(clean.heldOut().stream()
                        .mapToLong(a -> a.document().chunks().size())
                        .sum());
        assertThat(clean.statistics().leaks().exact()).isZero();
        assertThat(clean.statistics().leaks().runs()).isZero();
        // three training documents quote a passage of a held-out one, among text of their own
        List<String> held = new ArrayList<>();
        clean.heldOut()
                .forEach(a -> held.add(clean.tokenizer().decode(a.document().text())));
        List<String> quoting = new ArrayList<>(documents);
        List<String> own = documents(3, 99);
        for (int i = 0; i < 3; i++) {
            String quote = String.join(" ", List.of(held.get(i).split(" ")).subList(3, 17)); // 14 words
            quoting.add(own.get(i) + " (" + quote.toUpperCase(java.util.Locale.ROOT) + ")\n\n"
                    + documents(1, 70 + i).getFirst());
        }
        Prepared leaky = prepare("leaky", settings(lines("b.jsonl", quoting), TEXT));
        long quoted = leaky.train().stream()
                .map(a -> leaky.tokenizer().decode(a.document().text()))
                .filter(text -> text.contains("("))
                .count();
        assertThat(quoted).as("all three on the training side").isEqualTo(3);
        assertThat(leaky.statistics().leaks().runs()).isBetween(1L, 6L);
        assertThat(leaky.statistics().leaks().exact()).isZero();
    }

    /** Stops dead, as a kill would, at the n-th progress message. */
    private static final class Kill extends Error {
        private static final long serialVersionUID = 1L;
    }

    @Test
    void killedAndResumedItMakesTheSameFiles() throws IOException {
        List<String> documents = documents(3000, 5);
        documents.set(2500, documents.get(7));
        Path corpus = lines("a.jsonl", documents);
        Prepared whole = prepare("whole", settings(corpus, TEXT));
        Map<String, String> expected = files(folder.resolve("whole"));
        assertThat(expected.size()).isGreaterThan(10);
        for (int kill = 1; kill <= 8; kill++) {
            Path out = folder.resolve("killed");
            int[] left = {kill};
            for (boolean done = false; !done; ) {
                try {
                    Prepare.run(out, settings(corpus, TEXT), progress -> {
                        if (--left[0] == 0) {
                            throw new Kill();
                        }
                    });
                    done = true;
                } catch (Kill e) {
                    assertThat(Prepared.isAt(out)).isFalse();
                }
            }
            assertThat(files(out)).as("killed at message " + kill).isEqualTo(expected);
            assertThat(Prepared.open(out).statistics()).isEqualTo(whole.statistics());
            assertThat(Files.exists(out.resolve("scan"))).isFalse();
            try (Stream<Path> all = Files.walk(out)) {
                all.sorted(java.util.Comparator.reverseOrder())
                        .forEach(path -> path.toFile().delete());
            }
        }
    }

    @Test
    void aFolderIsForOneCorpusAndItsSettings() throws IOException {
        Path corpus = lines("a.jsonl", documents(100, 6));
        Prepare.Settings s = settings(corpus, TEXT);
        prepare("out", s);
        assertThat(prepare("out", s).statistics().records()).as("done already").isEqualTo(100);
        assertThatThrownBy(() -> prepare(
                        "out",
                        new Prepare.Settings(
                                s.corpus(),
                                "",
                                s.mapping(),
                                true,
                                s.chunker(),
                                s.duplicates(),
                                0.2,
                                s.tokenizer(),
                                s.vocabulary(),
                                s.shardBytes())))
                .isInstanceOf(EngineException.InvalidConfig.class)
                .hasMessageContaining("heldOut (0.1, now 0.2)");
        Files.writeString(corpus, Files.readString(corpus) + "\n{\"text\":\"One more.\"}\n");
        assertThatThrownBy(() -> prepare("out", s)).hasMessageContaining("files, or these have changed");
        Files.createDirectories(folder.resolve("full"));
        Files.writeString(folder.resolve("full/thesis.txt"), "important");
        assertThatThrownBy(() -> prepare("full", s)).hasMessageContaining("is not empty");
        assertThat(folder.resolve("full")).isDirectoryContaining("glob:**thesis.txt");
        try (Stream<Path> there = Files.list(folder.resolve("full"))) {
            assertThat(there).hasSize(1);
        }
    }

    /** Whichever reading finds the fault: the folder is as it was, and the same command on the mended corpus is not told of another plan. */
    @Test
    void aRefusedCorpusLeavesNothingBehind() throws IOException {
        List<String> documents = documents(300, 9);
        Path corpus = lines("a.jsonl", documents);
        String good = Files.readString(corpus);
        Prepare.Settings s = settings(corpus, new Corpus.Mapping(TEXT.context(), TEXT.text(), TEXT.thought(), "name"));
        Prepare.Settings strict = new Prepare.Settings(
                s.corpus(),
                "",
                TEXT,
                false,
                s.chunker(),
                s.duplicates(),
                0.1,
                s.tokenizer(),
                s.vocabulary(),
                s.shardBytes());
        Files.writeString(corpus, good + "{\"text\": 7\n");
        refused("new", strict, "a.jsonl: line 301: not JSON");
        Files.createDirectories(folder.resolve("kept"));
        refused("kept", strict, "a.jsonl: line 301: not JSON");
        // found only when it is written, with shards before it
        StringBuilder named = new StringBuilder();
        for (int i = 0; i < documents.size(); i++) {
            named.append("{\"name\":")
                    .append(i == 299 ? 0 : i)
                    .append(",\"text\":\"")
                    .append(documents.get(i))
                    .append("\"}\n");
        }
        Files.writeString(corpus, named);
        refused(
                "new",
                new Prepare.Settings(
                        s.corpus(),
                        "",
                        s.mapping(),
                        false,
                        s.chunker(),
                        s.duplicates(),
                        0.1,
                        s.tokenizer(),
                        s.vocabulary(),
                        s.shardBytes()),
                "line 300: the id '0' was there before");
        Files.writeString(corpus, good);
        assertThat(prepare("new", strict).statistics().records()).isEqualTo(300);
    }

    private void refused(String out, Prepare.Settings settings, String says) throws IOException {
        assertThatThrownBy(() -> prepare(out, settings))
                .isInstanceOf(EngineException.InvalidInput.class)
                .hasMessageContaining(says);
        if (out.equals("kept")) {
            assertThat(folder.resolve(out)).isEmptyDirectory();
        } else {
            assertThat(folder.resolve(out)).doesNotExist();
        }
    }

    @Test
    void namesGivenTwiceAreBad() throws IOException {
        Path corpus = Files.writeString(
                folder.resolve("a.jsonl"),
                "{\"id\":\"x\",\"text\":\"One two three.\"}\n{\"id\":\"y\",\"text\":\"Four five six.\"}\n"
                        + "{\"id\":\"x\",\"text\":\"Seven eight nine.\"}\n");
        Prepare.Settings s = settings(corpus, new Corpus.Mapping(TEXT.context(), TEXT.text(), TEXT.thought(), "id"));
        Prepared prepared = prepare(
                "out",
                new Prepare.Settings(
                        s.corpus(),
                        "",
                        s.mapping(),
                        true,
                        s.chunker(),
                        s.duplicates(),
                        0,
                        s.tokenizer(),
                        300,
                        1 << 20));
        assertThat(prepared.train().stream().map(a -> a.document().id())).containsExactly("x", "y");
        assertThat(prepared.statistics().bad()).isEqualTo(1);
        assertThat(prepared.statistics().problems())
                .singleElement()
                .asString()
                .contains("line 3: the id 'x' was there before");
        assertThatThrownBy(() -> prepare(
                        "stop",
                        new Prepare.Settings(
                                s.corpus(),
                                "",
                                s.mapping(),
                                false,
                                s.chunker(),
                                s.duplicates(),
                                0,
                                s.tokenizer(),
                                300,
                                1 << 20)))
                .isInstanceOf(EngineException.InvalidInput.class)
                .hasMessageContaining("a.jsonl: line 3: the id 'x' was there before; mend it");
    }

    /** Every byte of a shard is under some checksum, which is looked at before the byte is used. */
    @Test
    void everyChangedByteIsFound() throws IOException {
        Prepared prepared = prepare("out", settings(lines("a.jsonl", documents(12, 8)), TEXT));
        Path out = folder.resolve("out");
        Path shard =
                out.resolve(prepared.statistics().train().shards().getFirst().file());
        byte[] good = Files.readAllBytes(shard);
        for (int i = 0; i < good.length; i += i < 200 ? 1 : 37) {
            byte[] bad = good.clone();
            bad[i] ^= (byte) (1 << i % 8);
            Files.delete(shard); // it is mapped: a new file, not new content
            Files.write(shard, bad);
            assertThat(Prepared.verify(out)).as("byte " + i).isNotEmpty();
            assertThatThrownBy(() -> Prepared.open(out).train().forEach(document -> {}))
                    .as("byte " + i)
                    .isInstanceOf(EngineException.class)
                    .hasMessageContaining(shard.getFileName().toString());
        }
        for (int length : new int[] {0, 7, 97, good.length - 1}) {
            Files.delete(shard);
            Files.write(shard, java.util.Arrays.copyOf(good, length));
            assertThat(Prepared.verify(out))
                    .as("cut to " + length)
                    .singleElement()
                    .asString()
                    .contains("damaged");
        }
    }

    @Test
    void aDocumentOfWideIdsAndThoughtsIsReadBack() {
        Annotated annotated = new Annotated(
                new Document(
                        "a name é",
                        List.of(
                                new Chunk(Tokens.of(0, 65535, 7), false),
                                new Chunk(Tokens.EMPTY, true),
                                new Chunk(Tokens.of(3), true))),
                List.of(
                        Optional.empty(),
                        Optional.of(new Annotated.Thought(Tokens.of(1, 2, 3), 1f)),
                        Optional.of(new Annotated.Thought(Tokens.EMPTY, 1f))));
        for (int idBytes : new int[] {2, 4}) {
            var bytes = TokenShard.encode(annotated, idBytes);
            bytes.position(8);
            assertThat(TokenShard.decode(bytes.slice().order(java.nio.ByteOrder.LITTLE_ENDIAN), idBytes))
                    .isEqualTo(annotated);
        }
    }

    /** All of GSM8K by its preset, as lines, as lines packed in two ways, and as parquet: the same tokenizer and shards, byte for byte. */
    @Test
    void gsm8kGivesTheSameShardsInEveryFormat() throws IOException {
        Path given = Path.of(System.getProperty("subtext.root", "..")).resolve("../shared/data/gsm8k/train.jsonl");
        Assumptions.assumeTrue(Files.exists(given), given + " is not there: skipped");
        byte[] lines = Files.readAllBytes(given);
        Map<String, Path> formats = new LinkedHashMap<>();
        formats.put("jsonl", given);
        try (OutputStream gz = new GZIPOutputStream(Files.newOutputStream(folder.resolve("g.jsonl.gz")))) {
            gz.write(lines);
        }
        formats.put("gz", folder.resolve("g.jsonl.gz"));
        try (OutputStream zst = new ZstdOutputStream(Files.newOutputStream(folder.resolve("g.jsonl.zst")))) {
            zst.write(lines);
        }
        formats.put("zst", folder.resolve("g.jsonl.zst"));
        List<Map<String, String>> fields = new ArrayList<>();
        for (String record : Files.readAllLines(given)) {
            JsonNode node = JsonMapper.shared().readTree(record);
            Map<String, String> row = new HashMap<>();
            row.put("question", node.get("question").asString());
            row.put("answer", node.get("answer").asString());
            fields.add(row);
        }
        formats.put(
                "parquet",
                ParquetFile.write(
                        folder.resolve("g.parquet"),
                        ParquetFile.Codec.SNAPPY,
                        1000,
                        ParquetFile.columns(fields, "question", "answer")));
        Map<String, String> first = null;
        for (Map.Entry<String, Path> format : formats.entrySet()) {
            Path out = folder.resolve("of-" + format.getKey());
            Prepared prepared = PrepareRun.start(
                    RunConfig.preset("gsm8k-small")
                            .with("corpus.path", format.getValue().toString()),
                    out,
                    Prepare.Duplicates.NEAR,
                    0.03,
                    progress -> {});
            Prepared.Statistics statistics = prepared.statistics();
            assertThat(statistics.records()).as(format.getKey()).isEqualTo(7473);
            assertThat(statistics.bad()).isZero();
            assertThat(statistics.train().documents()
                            + statistics.heldOut().documents()
                            + statistics.exactDuplicates()
                            + statistics.nearDuplicates())
                    .as("every record is somewhere")
                    .isEqualTo(7473);
            Map<String, String> files = files(out);
            first = first == null ? files : first;
            assertThat(files).as(format.getKey()).isEqualTo(first);
        }
        assertThat(first.keySet())
                .containsExactly("held-out/shard-00000.tok", Prepared.TOKENIZER, "train/shard-00000.tok");
    }
}
