package subtext.data;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import com.github.luben.zstd.ZstdOutputStream;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.OutputStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.zip.GZIPOutputStream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;
import subtext.bindings.EngineException;
import subtext.testing.ParquetFile;
import tools.jackson.databind.json.JsonMapper;

/** The same records, whatever the file they come in and however they are spread over files. */
class CorpusFormatsTest {
    @TempDir
    Path folder;

    private final Corpus.Mapping text = new Corpus.Mapping(
            Template.parse("context", "{question}\n"),
            Template.parse("text", "{answer}"),
            Template.parse("thought", ""),
            "");

    private static List<Map<String, String>> records(int count) {
        List<Map<String, String>> records = new ArrayList<>();
        for (int i = 0; i < count; i++) {
            records.add(Map.of(
                    "question", "How many? " + i + " é \uD83D\uDE00 \"q\"", "answer", "It is " + i * i + ".\nSo."));
        }
        return records;
    }

    private static byte[] jsonLines(List<Map<String, String>> records) {
        StringBuilder lines = new StringBuilder();
        records.forEach(record ->
                lines.append(JsonMapper.shared().writeValueAsString(record)).append('\n'));
        return lines.toString().getBytes(StandardCharsets.UTF_8);
    }

    private static byte[] gzip(byte[] bytes) throws IOException {
        ByteArrayOutputStream out = new ByteArrayOutputStream();
        try (OutputStream packed = new GZIPOutputStream(out)) {
            packed.write(bytes);
        }
        return out.toByteArray();
    }

    private static byte[] zstd(byte[] bytes) throws IOException {
        ByteArrayOutputStream out = new ByteArrayOutputStream();
        try (OutputStream packed = new ZstdOutputStream(out)) {
            packed.write(bytes);
        }
        return out.toByteArray();
    }

    private List<Corpus.Record> read(String path) {
        return Corpus.read(path, text, false).records();
    }

    @Test
    void packedFilesAreTheSameCorpus() throws IOException {
        byte[] lines = jsonLines(records(257));
        List<Corpus.Record> plain =
                read(Files.write(folder.resolve("a.jsonl"), lines).toString());
        assertThat(plain).hasSize(257);
        assertThat(read(Files.write(folder.resolve("a.jsonl.gz"), gzip(lines)).toString()))
                .isEqualTo(plain);
        assertThat(read(Files.write(folder.resolve("a.jsonl.zst"), zstd(lines)).toString()))
                .isEqualTo(plain);
        // the first bytes tell, not the name
        assertThat(read(Files.write(folder.resolve("b.jsonl"), zstd(lines)).toString()))
                .isEqualTo(plain);
        // members and frames one after another are one file
        int half = new String(lines, StandardCharsets.UTF_8).indexOf('\n', lines.length / 3) + 1;
        byte[] first = java.util.Arrays.copyOf(lines, half);
        byte[] second = java.util.Arrays.copyOfRange(lines, half, lines.length);
        for (String name : List.of("two.jsonl.gz", "two.jsonl.zst")) {
            ByteArrayOutputStream both = new ByteArrayOutputStream();
            both.writeBytes(name.endsWith("gz") ? gzip(first) : zstd(first));
            both.writeBytes(name.endsWith("gz") ? gzip(second) : zstd(second));
            assertThat(read(Files.write(folder.resolve(name), both.toByteArray())
                            .toString()))
                    .as(name)
                    .hasSameSizeAs(plain)
                    .isNotEmpty();
        }
    }

    @ParameterizedTest
    @EnumSource(names = {"UNCOMPRESSED", "SNAPPY", "GZIP", "ZSTD"})
    void parquetIsTheSameCorpus(ParquetFile.Codec codec) throws IOException {
        List<Map<String, String>> records = records(1001);
        List<Corpus.Record> plain =
                read(Files.write(folder.resolve("a.jsonl"), jsonLines(records)).toString());
        Path file = folder.resolve("a.parquet");
        ParquetFile.write(file, codec, 97, ParquetFile.columns(records, "id", "answer", "question"));
        assertThat(read(file.toString())).isEqualTo(plain);
    }

    /** Written by DuckDB: dictionaries, several pages and types, columns that are not asked for. */
    @Test
    void parquetOfAnotherWriterIsRead() throws IOException {
        Path file = folder.resolve("duck.parquet");
        try (var in = CorpusFormatsTest.class.getResourceAsStream("/corpus/duckdb-snappy.parquet")) {
            Files.copy(in, file);
        }
        Corpus.Mapping mapping = new Corpus.Mapping(
                Template.parse("context", "{score} {pages} {good}\n"),
                Template.parse("text", "{text}"),
                Template.parse("thought", ""),
                "url");
        List<Corpus.Record> records = Corpus.read(file, mapping, false).records();
        assertThat(records).hasSize(500);
        assertThat(records.get(7).id()).isEqualTo("https://example.org/7");
        assertThat(records.get(7).context()).isEqualTo("3.5 21 false\n");
        assertThat(records.get(7).text()).isEqualTo("Page 7: √2 is irrational.\n\nLorem 0");
    }

    @Test
    void rowsWithNothingInThemAreBadByTheirNumber() throws IOException {
        List<Map<String, String>> records = new ArrayList<>(records(20));
        records.set(4, Map.of("question", "q"));
        Path file = folder.resolve("a.parquet");
        ParquetFile.write(file, ParquetFile.Codec.SNAPPY, 3, ParquetFile.columns(records, "question", "answer"));
        assertThatThrownBy(() -> read(file.toString()))
                .isInstanceOf(EngineException.InvalidInput.class)
                .hasMessageContaining("a.parquet: row 5: field 'answer' is missing");
        assertThat(Corpus.read(file, text, true).records()).hasSize(19);
    }

    @Test
    void foldersAndGlobsAreReadInTheOrderOfNames() throws IOException {
        List<Map<String, String>> records = records(50);
        Path data = Files.createDirectories(folder.resolve("data/inner"));
        Files.write(folder.resolve("data/b.jsonl"), jsonLines(records.subList(10, 20)));
        Files.write(folder.resolve("data/a.jsonl.zst"), zstd(jsonLines(records.subList(0, 10))));
        ParquetFile.write(
                data.resolve("c.parquet"),
                ParquetFile.Codec.ZSTD,
                7,
                ParquetFile.columns(records.subList(20, 50), "question", "answer"));
        Files.writeString(folder.resolve("data/README.md"), "not a corpus");
        Files.writeString(folder.resolve("data/.hidden.jsonl"), "not read");
        Files.writeString(folder.resolve("data/_SUCCESS.json"), "not read");
        Path whole = Files.write(folder.resolve("all.jsonl"), jsonLines(records));
        assertThat(read(folder.resolve("data").toString())).isEqualTo(read(whole.toString()));
        assertThat(read(folder + "/data/**")).isEqualTo(read(whole.toString()));
        assertThat(read(folder + "/data/*.{jsonl,jsonl.zst}"))
                .isEqualTo(read(whole.toString()).subList(0, 20));
        assertThatThrownBy(() -> read(folder + "/data/*.gz")).hasMessageContaining("no corpus file matches");
        Files.createDirectories(folder.resolve("none"));
        assertThatThrownBy(() -> read(folder.resolve("none").toString())).hasMessageContaining("holds no file");
    }

    @Test
    void equalDocumentsOfDifferentFilesHaveDifferentNames() throws IOException {
        Files.createDirectories(folder.resolve("d"));
        Files.write(folder.resolve("d/a.jsonl"), jsonLines(records(3)));
        Files.write(folder.resolve("d/b.jsonl"), jsonLines(records(3)));
        assertThat(read(folder.resolve("d").toString()))
                .extracting(Corpus.Record::id)
                .doesNotHaveDuplicates()
                .hasSize(6);
    }

    @Test
    void aRecordOverTheLimitIsBadAndTheNextOneIsRead() throws IOException {
        Map<String, String> long1 = new HashMap<>(records(1).getFirst());
        long1.put("answer", "x".repeat(Corpus.LARGEST_RECORD));
        List<Map<String, String>> records =
                List.of(records(1).getFirst(), long1, records(2).get(1));
        Path lines = Files.write(folder.resolve("a.jsonl"), jsonLines(records));
        Path rows = folder.resolve("a.parquet");
        long1.put("answer", "x".repeat(Corpus.LARGEST_RECORD + 1));
        ParquetFile.write(rows, ParquetFile.Codec.UNCOMPRESSED, 1, ParquetFile.columns(records, "question", "answer"));
        for (Path file : List.of(lines, rows)) {
            assertThatThrownBy(() -> read(file.toString()))
                    .isInstanceOf(EngineException.InvalidInput.class)
                    .hasMessageContaining(" 2: longer than " + Corpus.LARGEST_RECORD + " bytes")
                    .hasMessageContaining("--bad-records skip");
            assertThat(Corpus.read(file, text, true).records()).hasSize(2);
        }
        Path plain = Files.writeString(
                folder.resolve("a.txt"), "one\n\n" + "long line\n".repeat(Corpus.LARGEST_RECORD / 9) + "\ntwo\n");
        assertThat(Corpus.read(plain, text, true).records())
                .extracting(Corpus.Record::text)
                .containsExactly("one\n", "two\n");
    }

    @Test
    void aReplacementCharacterOfTheTextItselfIsNoError() throws IOException {
        LinkedHashMap<String, String> record = new LinkedHashMap<>();
        record.put("question", "What is \uFFFD?");
        record.put("answer", "A sign.");
        assertThat(read(Files.write(folder.resolve("a.jsonl"), jsonLines(List.of(record)))
                        .toString()))
                .singleElement()
                .satisfies(read -> assertThat(read.context()).isEqualTo("What is \uFFFD?\n"));
    }
}
