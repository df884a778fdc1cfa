package subtext.data;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import com.github.luben.zstd.Zstd;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.Charset;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.Arrays;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.zip.GZIPOutputStream;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.DynamicTest;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.TestFactory;
import org.junit.jupiter.api.io.TempDir;
import subtext.bindings.EngineException;
import subtext.testing.ParquetFile;
import subtext.testing.ParquetFile.Codec;

/** Corpus files that are wrong, each by name: told in one line of its own that names the file, soon, and without much memory. */
class BadCorpusTest {
    /** 100 ms are wanted and met, see what is printed; a busy machine must not fail it. */
    private static final Duration SOON = Duration.ofSeconds(2);

    private static long slowest;
    private static String slowestName = "";

    private static final String GOOD = "{\"text\":\"One. Two.\"}\n";

    private static final Corpus.Mapping TEXT = new Corpus.Mapping(
            Template.parse("context", ""), Template.parse("text", "{text}"), Template.parse("thought", ""), "");
    private static final Corpus.Mapping NAMED = new Corpus.Mapping(TEXT.context(), TEXT.text(), TEXT.thought(), "id");
    private static final Corpus.Mapping ANSWER =
            new Corpus.Mapping(TEXT.context(), Template.parse("text", "{text|after:####}"), TEXT.thought(), "");

    @TempDir
    Path folder;

    /** @param says what its message holds, its own among all of these */
    private record Case(String name, String file, byte[] content, Corpus.Mapping mapping, String says) {}

    private final Map<String, Case> cases = new LinkedHashMap<>();

    private void add(String name, String file, byte[] content, String says) {
        add(name, file, content, TEXT, says);
    }

    private void add(String name, String file, byte[] content, Corpus.Mapping mapping, String says) {
        assertThat(cases.put(name, new Case(name, file, content, mapping, says)))
                .isNull();
    }

    private void add(String name, String file, String content, String says) {
        add(name, file, content.getBytes(StandardCharsets.UTF_8), says);
    }

    private static byte[] gzip(byte[] bytes) throws IOException {
        ByteArrayOutputStream out = new ByteArrayOutputStream();
        try (GZIPOutputStream packed = new GZIPOutputStream(out)) {
            packed.write(bytes);
        }
        return out.toByteArray();
    }

    private static byte[] bytes(String text) {
        return text.getBytes(StandardCharsets.UTF_8);
    }

    private static byte[] hex(String start) {
        byte[] bytes = Arrays.copyOf(java.util.HexFormat.of().parseHex(start), 64);
        Arrays.fill(bytes, start.length() / 2, 64, (byte) 'x');
        return bytes;
    }

    private static byte[] changed(byte[] bytes, int at) {
        byte[] bad = bytes.clone();
        bad[at] ^= 0x55;
        return bad;
    }

    private byte[] parquet(Codec codec, String column, String... values) throws IOException {
        LinkedHashMap<String, List<String>> columns = new LinkedHashMap<>();
        columns.put(column, Arrays.asList(values));
        return Files.readAllBytes(ParquetFile.write(folder.resolve("made.parquet"), codec, 2, columns));
    }

    private void fill() throws IOException {
        // JSON lines
        add("empty file", "a.jsonl", "", "holds no usable document");
        add("blank lines only", "a.jsonl", "\n \r\n\t\n", "holds no usable document");
        add("a mark and nothing else", "a.jsonl", "\uFEFF", "holds no usable document");
        add("cut line", "a.jsonl", GOOD + "{\"text\":\"cut of", "line 2: not JSON");
        add("no JSON", "a.jsonl", GOOD + "Once upon a time\n", "Unrecognized token 'Once'");
        add("single quotes", "a.jsonl", GOOD + "{'text':'a'}\n", "Unexpected character (''' (code 39))");
        add("trailing comma", "a.jsonl", GOOD + "{\"text\":\"a\",}\n", "Unexpected character ('}' (code 125))");
        add("not a number", "a.jsonl", GOOD + "{\"text\":NaN}\n", "NaN");
        add("raw control character", "a.jsonl", GOOD + "{\"text\":\"a\u0001b\"}\n", "CTRL-CHAR, code 1");
        add("raw zero byte", "a.jsonl", GOOD + "{\"text\":\"a\0b\"}\n", "CTRL-CHAR, code 0");
        add("two objects in a line", "a.jsonl", GOOD + "{\"text\":\"a\"}{\"text\":\"b\"}\n", "Trailing token");
        add("field given twice", "a.jsonl", GOOD + "{\"text\":\"a\",\"text\":\"b\"}\n", "Duplicate");
        add("array in a line", "a.jsonl", GOOD + "[\"a\"]\n", "expected a JSON object, got array");
        add("string in a line", "a.jsonl", GOOD + "\"a\"\n", "expected a JSON object, got string");
        add("null in a line", "a.jsonl", GOOD + "null\n", "expected a JSON object, got null");
        add("deep nesting", "a.jsonl", GOOD + "{\"text\":" + "[".repeat(10_000) + "\n", "nesting depth");
        add("huge number", "a.jsonl", GOOD + "{\"text\":" + "9".repeat(5000) + "}\n", "Number value length");
        add("field missing", "a.jsonl", GOOD + "{\"body\":\"a\"}\n", "field 'text' is missing");
        add("field is a list", "a.jsonl", GOOD + "{\"text\":[\"a\"]}\n", "expected text, got a list or an object");
        add("empty text", "a.jsonl", GOOD + "{\"text\":\"\"}\n", "the text is empty");
        add("half a surrogate pair", "a.jsonl", GOOD + "{\"text\":\"\\ud83d\"}\n", "half a surrogate pair");
        add("mark of the template missing", "a.jsonl", bytes("{\"text\":\"a\"}\n"), ANSWER, "has no '####'");
        add("name missing", "a.jsonl", bytes(GOOD), NAMED, "field 'id' should name the record");
        add(
                "name given twice",
                "a.jsonl",
                bytes("{\"id\":1,\"text\":\"a\"}\n{\"id\":1,\"text\":\"b\"}\n"),
                NAMED,
                "the id '1' was there before");
        add(
                "Latin-1",
                "a.jsonl",
                (GOOD + "{\"text\":\"caf\u00e9\"}").getBytes(StandardCharsets.ISO_8859_1),
                "line 2: not UTF-8");
        add("overlong UTF-8", "a.jsonl", new byte[] {'{', (byte) 0xC0, (byte) 0xAF, '}'}, "line 1: not UTF-8");
        add(
                "surrogates in UTF-8",
                "a.jsonl",
                new byte[] {'\n', (byte) 0xED, (byte) 0xA0, (byte) 0x80},
                "line 2: not UTF-8");
        add("UTF-16", "a.jsonl", GOOD.getBytes(StandardCharsets.UTF_16), "is text in UTF-16");
        add("UTF-32", "a.jsonl", ("\uFEFF" + GOOD).getBytes(Charset.forName("UTF-32LE")), "is text in UTF-32");
        add(
                "one array over many lines",
                "a.json",
                "[\n  {\"text\": \"a\"}\n]\n",
                "is one JSON array over several lines");
        add(
                "one object over many lines",
                "a.json",
                "{\n  \"text\": \"a\"\n}\n",
                "is one JSON object over several lines");
        byte[] long1 = new byte[Corpus.LARGEST_RECORD + 1000];
        Arrays.fill(long1, (byte) 'x');
        add("endless line", "a.jsonl", long1, "longer than 16777216 bytes");

        // plain text
        add("binary as plain text", "a.txt", new byte[] {'a', 0, 'b'}, "holds a zero byte");
        add("plain text in Latin-1", "a.txt", new byte[] {'a', (byte) 0xE9, '\n'}, "a.txt: line 1: not UTF-8");

        // names and other formats
        add("unknown name", "a.csv", "a,b\n1,2\n", "the name should end in .jsonl");
        add("no name", "corpus", GOOD, "corpus: the name should end in");
        add("bzip2", "a.jsonl.bz2", hex("425a68"), "packed by bzip2");
        add("xz", "a.jsonl.xz", hex("fd377a585a00"), "packed by xz");
        add("lz4", "a.jsonl.lz4", hex("04224d18"), "packed by lz4");
        add("zip", "a.zip", hex("504b0304"), "a zip archive");
        add("7z", "a.7z", hex("377abcaf271c"), "a 7z archive");
        add("Arrow", "a.arrow", hex("4152524f5731"), "an Arrow file");
        add("Avro", "a.avro", hex("4f626a01"), "an Avro file");
        add("ORC", "a.orc", hex("4f5243"), "an ORC file");
        add("SQLite", "a.jsonl", hex("53514c69746520666f726d6174"), "an SQLite database");
        add("PDF", "a.txt", hex("255044462d"), "a PDF document");
        add("program", "a.txt", hex("7f454c46"), "is a program");

        // packed
        byte[] lines = bytes(GOOD.repeat(2000));
        byte[] gz = gzip(lines);
        byte[] zst = Zstd.compress(lines);
        add("empty gzip", "a.jsonl.gz", new byte[0], "is empty: expected gzip data");
        add("gzip by name only", "a.jsonl.gz", bytes(GOOD), "is not gzip data, as its name says");
        add("gzip cut in its head", "a.jsonl.gz", Arrays.copyOf(gz, 7), "line 1: the gzip data is cut off");
        add("gzip cut off", "a.jsonl.gz", Arrays.copyOf(gz, gz.length - 20), "the gzip data is cut off; fetch");
        add("gzip of another method", "a.jsonl.gz", changed(gz, 2), "Unsupported compression method");
        add("gzip with a wrong checksum", "a.jsonl.gz", changed(gz, gz.length - 6), "Corrupt GZIP trailer");
        add("gzip with wrong bytes", "a.jsonl.gz", changed(gz, 12), "the gzip data is damaged");
        add("gzip in gzip", "a.jsonl.gz", gzip(gz), "a.jsonl.gz is packed twice");
        add("gzip bomb", "a.jsonl.gz", gzip(new byte[64 << 20]), "a.jsonl.gz grows more than 500-fold");
        add("bzip2 in gzip", "a.jsonl.gz", gzip(hex("425a68")), "unpacked, is packed by bzip2");
        add("zstd by name only", "a.jsonl.zst", bytes(GOOD), "is not zstd data, as its name says");
        add(
                "zstd cut off",
                "a.jsonl.zst",
                Arrays.copyOf(zst, zst.length - 5),
                "the zstd data is damaged (Truncated source)");
        add("zstd with wrong bytes", "a.jsonl.zst", changed(zst, 4), "the zstd data is damaged");
        add("zstd bomb", "a.jsonl.zst", Zstd.compress(new byte[64 << 20]), "a.jsonl.zst grows more than 500-fold");
        add("gzip in zstd", "a.jsonl.zst", Zstd.compress(gz), "a.jsonl.zst is packed twice");

        // parquet
        byte[] good = parquet(Codec.SNAPPY, "text", "One.", "Two.", "Three.");
        add("parquet by name only", "a.parquet", bytes(GOOD), "is not a parquet file, as its name says");
        add("empty parquet", "a.parquet", new byte[0], "is empty: expected a parquet file");
        add("parquet of a start only", "a.parquet", bytes("PAR1"), "File too small");
        add("encrypted parquet", "a.parquet", hex("50415245"), "an encrypted parquet file");
        add("parquet cut off", "a.parquet", Arrays.copyOf(good, good.length - 9), "row 1: the parquet file is damaged");
        byte[] footer = good.clone();
        ByteBuffer.wrap(footer).order(ByteOrder.LITTLE_ENDIAN).putInt(good.length - 8, 1 << 30);
        add("parquet with a footer too long", "a.parquet", footer, "footer");
        add("parquet with wrong pages", "a.parquet", changed(good, 30), "a.parquet: row 1: the parquet file");
        add(
                "parquet without the column",
                "a.parquet",
                parquet(Codec.ZSTD, "body", "a"),
                "has no column 'text'; it has [body]");
        add(
                "parquet with nothing in a row",
                "a.parquet",
                parquet(Codec.GZIP, "text", "a", null),
                "row 2: field 'text' is missing");
        add("parquet of a codec that is not there", "a.parquet", parquet(Codec.BROTLI, "text", "a"), "rotli");
        LinkedHashMap<String, List<byte[]>> latin = new LinkedHashMap<>();
        latin.put("text", List.of(bytes("a"), new byte[] {'b', (byte) 0xE9}));
        add(
                "parquet of bytes that are no text",
                "a.parquet",
                Files.readAllBytes(
                        ParquetFile.writeBytes(folder.resolve("made.parquet"), Codec.UNCOMPRESSED, 9, latin)),
                "row 2: column 'text': not UTF-8");
    }

    @TestFactory
    List<DynamicTest> eachIsRefusedInOneLineOfItsOwn() throws IOException {
        fill();
        assertThat(cases.size()).isGreaterThanOrEqualTo(50);
        return cases.values().stream()
                .map(bad -> DynamicTest.dynamicTest(bad.name(), () -> {
                    Path file = Files.write(
                            Files.createDirectories(folder.resolve(bad.name())).resolve(bad.file()), bad.content());
                    long from = System.nanoTime();
                    assertThatThrownBy(() -> Corpus.read(file, bad.mapping(), false))
                            .isInstanceOf(EngineException.InvalidInput.class)
                            .hasMessageContaining(bad.file())
                            .hasMessageContaining(bad.says())
                            .satisfies(e -> assertThat(e.getMessage())
                                    .doesNotContain("\n")
                                    .hasSizeLessThan(700));
                    long nanos = System.nanoTime() - from;
                    assertThat(Duration.ofNanos(nanos)).isLessThan(SOON);
                    if (nanos > slowest) {
                        slowest = nanos;
                        slowestName = bad.name();
                    }
                }))
                .toList();
    }

    @AfterAll
    static void say() {
        System.out.printf("bad corpus files: the slowest refusal took %.1f ms (%s)%n", slowest * 1e-6, slowestName);
    }

    /** Among all cases, what one says is not what another says, but where both are the same fault in another dress. */
    @Test
    void messagesAreTheirOwn() throws IOException {
        fill();
        Map<String, String> said = new HashMap<>();
        int same = 0;
        for (Case bad : cases.values()) {
            Path file = Files.write(
                    Files.createDirectories(folder.resolve(bad.name())).resolve(bad.file()), bad.content());
            String message = "";
            try {
                Corpus.read(file, bad.mapping(), false);
            } catch (EngineException e) {
                message = e.getMessage().replace(folder.resolve(bad.name()).toString(), "");
            }
            same += said.put(message, bad.name()) == null ? 0 : 1;
        }
        // two of nothing but white space, three spellings of bytes that are not UTF-8
        assertThat(same).isLessThanOrEqualTo(4);
    }

    @Test
    void pathsThatAreNoCorpusAreRefused() throws IOException {
        Files.createDirectories(folder.resolve("empty"));
        Map<String, String> paths = Map.of(
                folder + "/none.jsonl",
                "no file",
                folder + "/empty",
                "holds no file whose name ends in",
                folder + "/none/*.jsonl",
                "no corpus file matches",
                folder + "/{a",
                "not a glob",
                "/dev/null",
                "neither a file nor a folder",
                "a\0b",
                "not a path");
        paths.forEach((path, says) -> assertThatThrownBy(() -> Corpus.read(path, TEXT, false))
                .isInstanceOf(EngineException.InvalidInput.class)
                .hasMessageContaining(says)
                .hasMessageNotContaining("\n"));
    }
}
