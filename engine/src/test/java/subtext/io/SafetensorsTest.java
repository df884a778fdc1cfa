package subtext.io;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.Arguments;
import org.junit.jupiter.params.provider.MethodSource;
import subtext.bindings.EngineException;
import subtext.random.Philox;

/** Files that break one rule each, by name; what is written is what is read; damaged headers never give anything but a clear refusal. */
class SafetensorsTest {
    private static final String GOOD = "{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}}";

    @TempDir
    private Path folder;

    static Stream<Arguments> brokenFiles() {
        List<Arguments> cases = new ArrayList<>();
        cases.add(Arguments.of("empty file", new byte[0], "has 0 bytes"));
        cases.add(Arguments.of("seven bytes", new byte[7], "has 7 bytes"));
        cases.add(Arguments.of("header length 0", raw(0, ""), "too short"));
        cases.add(Arguments.of("header length 1", raw(1, "{"), "too short"));
        cases.add(Arguments.of("header length over the limit", raw(100_000_001, GOOD), "exceeds 100000000"));
        cases.add(Arguments.of("header length past the file", raw(500, GOOD), "exceeds the file's"));
        cases.add(Arguments.of(
                "header length with the top bit", raw(Long.MIN_VALUE, GOOD), "9223372036854775808 exceeds"));
        cases.add(Arguments.of(
                "bad UTF-8", raw(7, new String(new char[] {'{', '"', '\u00c3', '"', ':', '1', '}'})), "not UTF-8"));
        header(cases, "not an object", "[1,2]", "does not begin with {");
        header(cases, "leading space", " " + GOOD, "does not begin with {");
        header(cases, "cut JSON", "{\"a\":{\"dtype\":\"F32\"", "not valid JSON");
        header(cases, "text after the object", GOOD + "x", "JSON");
        header(cases, "a second object", GOOD + "{}", "goes on after");
        header(
                cases,
                "tensor named twice",
                "{\"a\":" + tensor("F32", "[1]", "[0,4]") + ",\"a\":" + tensor("F32", "[1]", "[4,8]") + "}",
                "uplicate");
        header(cases, "field named twice", GOOD.replace("{\"dtype\"", "{\"dtype\":\"F32\",\"dtype\""), "uplicate");
        header(cases, "tensor is a number", "{\"a\":1}", "tensor a is not an object");
        header(cases, "no dtype", "{\"a\":{\"shape\":[2],\"data_offsets\":[0,8]}}", "lacks dtype");
        header(cases, "no shape", "{\"a\":{\"dtype\":\"F32\",\"data_offsets\":[0,8]}}", "lacks shape");
        header(cases, "no offsets", "{\"a\":{\"dtype\":\"F32\",\"shape\":[2]}}", "lacks data_offsets");
        header(cases, "unknown field", GOOD.replace("[0,8]", "[0,8],\"x\":1"), "unknown field x");
        header(cases, "dtype is a number", GOOD.replace("\"F32\"", "7"), "dtype is not a string");
        one(cases, "unknown dtype", "F31", "[2]", "[0,8]", "unknown dtype F31");
        one(cases, "dtype in lower case", "f32", "[2]", "[0,8]", "unknown dtype f32");
        one(cases, "shape is a number", "F32", "2", "[0,8]", "shape is not an array");
        one(cases, "rank 0", "F64", "[]", "[0,8]", "rank 0");
        one(cases, "rank 1000", "F32", "[" + "1,".repeat(999) + "2]", "[0,8]", "more than 8");
        one(cases, "negative size", "F32", "[-2]", "[0,8]", "negative number -2");
        one(cases, "fractional size", "F32", "[2.0]", "[0,8]", "not an integer");
        one(cases, "size as text", "F32", "[\"2\"]", "[0,8]", "not an integer");
        one(cases, "size of 2^63", "F32", "[9223372036854775808]", "[0,8]", "2^63 or more");
        one(cases, "shape product overflows", "F32", "[4294967296,4294967296]", "[0,8]", "overflows");
        one(cases, "shape product times width overflows", "F32", "[4611686018427387904]", "[0,8]", "overflows");
        one(cases, "one offset", "F32", "[2]", "[8]", "has 1 numbers");
        one(cases, "three offsets", "F32", "[2]", "[0,8,8]", "more than 2");
        one(cases, "negative offset", "F32", "[2]", "[-8,0]", "negative number -8");
        one(cases, "offset of 2^64", "F32", "[2]", "[0,18446744073709551616]", "2^63 or more");
        one(cases, "end before begin", "F32", "[2]", "[8,0]", "before it begins");
        one(cases, "end past the data", "F32", "[4]", "[0,16]", "past the 8 bytes");
        one(cases, "too few bytes", "F32", "[3]", "[0,8]", "need 12");
        one(cases, "too many bytes", "F32", "[1]", "[0,8]", "need 4");
        one(cases, "a hole in front", "F32", "[1]", "[4,8]", "leaves a hole");
        one(cases, "trailing bytes", "F32", "[1]", "[0,4]", "4 bytes follow");
        one(cases, "shape of depth 10,000", "F32", "[".repeat(10_000) + "]".repeat(10_000), "[0,8]", "not an integer");
        one(cases, "NaN as a size", "F32", "[NaN]", "[0,8]", "not valid JSON");
        header(cases, "no tensors but data", "{}", "8 bytes follow");
        two(cases, "overlap", "[0,4]", "[2,6]", "overlaps");
        two(cases, "the same bytes twice", "[0,4]", "[0,4]", "overlaps");
        two(cases, "a hole between", "[0,4]", "[5,9]", "past the 8 bytes");
        header(
                cases,
                "a hole of four",
                "{\"a\":" + tensor("F32", "[0]", "[0,0]") + ",\"b\":" + tensor("F32", "[1]", "[4,8]") + "}",
                "leaves a hole");
        header(cases, "metadata is a list", "{\"__metadata__\":[]}", "__metadata__ is not an object");
        header(
                cases,
                "metadata holds a number",
                "{\"__metadata__\":{\"format\":1}}",
                "__metadata__.format is not a string");
        header(
                cases,
                "metadata holds an object",
                "{\"__metadata__\":{\"format\":{}}}",
                "__metadata__.format is not a string");
        header(
                cases,
                "depth 10,000",
                "{\"a\":" + "[".repeat(10_000) + "]".repeat(10_000) + "}",
                "tensor a is not an object");
        return cases.stream();
    }

    @ParameterizedTest(name = "{0}")
    @MethodSource("brokenFiles")
    void refusesBrokenFilesByTheRule(String name, byte[] content, String rule) throws IOException {
        Path file = folder.resolve("broken.safetensors");
        Files.write(file, content);
        long from = System.nanoTime();
        assertThatThrownBy(() -> Safetensors.open(file).close())
                .isInstanceOf(EngineException.CorruptFile.class)
                .hasMessageContaining(file.toString())
                .hasMessageContaining(rule)
                .message()
                .matches(m -> m.lines().count() == 1, "is one line");
        long nanos = System.nanoTime() - from;
        assertThat(nanos)
                .as("100 ms are wanted; a busy machine must not fail it")
                .isLessThan(2_000_000_000L);
        slowest = Math.max(slowest, nanos);
    }

    private static long slowest;

    @AfterAll
    static void say() {
        System.out.printf("bad safetensors files: the slowest refusal took %.1f ms%n", slowest * 1e-6);
    }

    @Test
    void theTableCoversManyRules() {
        Set<Object> names = new HashSet<>();
        brokenFiles().forEach(arguments -> names.add(arguments.get()[0]));
        assertThat(names).hasSizeGreaterThanOrEqualTo(50);
    }

    @Test
    void theGoodFileBehindTheTableOpens() throws IOException {
        Path file = folder.resolve("good.safetensors");
        Files.write(file, withData(GOOD, new byte[8]));
        try (Safetensors opened = Safetensors.open(file)) {
            assertThat(opened.floats("a")).containsExactly(0, 0);
            assertThatThrownBy(() -> opened.info("b"))
                    .isInstanceOf(EngineException.CorruptFile.class)
                    .hasMessageContaining("no tensor b");
            assertThatThrownBy(() -> opened.ints("a"))
                    .isInstanceOf(EngineException.CorruptFile.class)
                    .hasMessageContaining("expected I32");
        }
    }

    @Test
    void whatIsWrittenIsReadToTheBit() throws IOException {
        float[] values = new float[700_001];
        for (int i = 0; i < values.length; i++) {
            values[i] = Float.intBitsToFloat((int) Philox.bits(1, i) & 0xFF7FFFFF); // any finite number
        }
        values[1] = -0f;
        values[2] = Float.MIN_VALUE;
        values[3] = Float.NEGATIVE_INFINITY;
        Path file = folder.resolve("x.safetensors");
        float[] half = {1, 1.00390625f, -3.3895314e38f};
        Safetensors.write(
                file,
                List.of(
                        Safetensors.Entry.floats("large", Safetensors.Type.F32, List.of(100L, 7000L), values, 1),
                        Safetensors.Entry.ints("counts", new int[] {1, -2, Integer.MAX_VALUE}),
                        Safetensors.Entry.floats("half \"quoted\"\n", Safetensors.Type.BF16, List.of(3L), half, 0),
                        Safetensors.Entry.floats("none", Safetensors.Type.F32, List.of(0L, 4L), values, 0)),
                Map.of("format", "pt", "note", "a\\b"));
        try (Safetensors read = Safetensors.open(file)) {
            assertThat(read.metadata()).isEqualTo(Map.of("format", "pt", "note", "a\\b"));
            float[] back = read.floats("large");
            for (int i = 0; i < back.length; i++) {
                if (Float.floatToRawIntBits(back[i]) != Float.floatToRawIntBits(values[i + 1])) {
                    throw new AssertionError("element " + i + ": " + back[i] + " for " + values[i + 1]);
                }
            }
            assertThat(read.ints("counts")).containsExactly(1, -2, Integer.MAX_VALUE);
            assertThat(read.floats("half \"quoted\"\n"))
                    .containsExactly(1f, 1f, -3.3895314e38f); // the tie goes to even
            assertThat(read.floats("none")).isEmpty();
        }
        ByteBuffer prefix = ByteBuffer.wrap(Files.readAllBytes(file), 0, 8).order(ByteOrder.LITTLE_ENDIAN);
        assertThat(prefix.getLong() % 8).isZero();
    }

    @Test
    void namesTakenTwiceAreNotWritten() {
        Safetensors.Entry entry = Safetensors.Entry.ints("a", new int[1]);
        assertThatThrownBy(() -> Safetensors.write(folder.resolve("x"), List.of(entry, entry), Map.of()))
                .isInstanceOf(IllegalArgumentException.class)
                .hasMessageContaining("a is taken");
        assertThat(folder.resolve("x")).doesNotExist();
    }

    @Test
    void aThousandDamagedHeadersAreRefusedOrRead() throws IOException {
        fuzz(0, 1000);
    }

    @Test
    @Tag("slow")
    void aHundredThousandDamagedHeadersAreRefusedOrRead() throws IOException {
        fuzz(1000, 101_000);
    }

    /**
     * Bytes overwritten, numbers and words replaced by hostile ones, parts doubled, the file cut: a header so damaged is refused with the
     * file named in one line, or is still right and can be read; within 100 ms (all of it in the mean of far less), on little memory.
     */
    private void fuzz(int first, int last) throws IOException {
        byte[] good = withData(
                "{\"__metadata__\":{\"format\":\"pt\"},\"a\":" + tensor("F32", "[2,1]", "[0,8]") + ",\"b\":"
                        + tensor("BF16", "[3]", "[8,14]") + "}",
                new byte[14]);
        Path file = folder.resolve("fuzz.safetensors");
        int refused = 0;
        int slow = 0;
        for (int i = first; i < last; i++) {
            Files.write(file, damaged(good, i));
            long begin = System.nanoTime();
            try (Safetensors opened = Safetensors.open(file)) {
                for (String name : opened.tensors().keySet()) {
                    opened.bytes(name);
                }
            } catch (EngineException.CorruptFile e) {
                refused++;
                assertThat(e.getMessage()).as("case %d", i).startsWith(file.toString());
                assertThat(e.getMessage().lines().count())
                        .as("case %d: %s", i, e.getMessage())
                        .isOne();
            }
            slow += System.nanoTime() - begin > 100_000_000 ? 1 : 0;
        }
        assertThat(refused).isBetween((last - first) * 7 / 10, last - first - 1);
        assertThat(slow)
                .as("cases over 100 ms, of which a busy machine may make a few")
                .isLessThan(5);
    }

    private static final String[] HOSTILE = {
        "-1",
        "9223372036854775807",
        "9223372036854775808",
        "1e400",
        "NaN",
        "{}",
        "[]",
        "[[[[[[",
        "null",
        "true",
        "\"\"",
        "\"\\u0000\"",
        "\"F32\"",
        "\"F4\"",
        "\"shape\"",
        "\"a\"",
        "\"__metadata__\"",
        "0",
        "00",
        "4294967296"
    };

    private static byte[] damaged(byte[] good, int i) {
        byte[] bytes = good;
        switch (Philox.below(i, 3, 4)) {
            case 0 -> {
                bytes = good.clone();
                for (int flips = 0; flips <= Philox.below(i, 0, 3); flips++) {
                    bytes[Philox.below(i, 10 + flips, bytes.length - 14)] = (byte) Philox.bits(i, 20 + flips);
                }
            }
            case 1, 2 -> { // a token of the JSON becomes a hostile one, the length follows or not
                String json = new String(good, 8, good.length - 22, StandardCharsets.UTF_8);
                String[] tokens = json.split("(?<=[\\[\\]{},:])|(?=[\\[\\]{},:])");
                for (int k = 0; k <= Philox.below(i, 1, 2); k++) {
                    tokens[Philox.below(i, 30 + k, tokens.length)] = HOSTILE[Philox.below(i, 40 + k, HOSTILE.length)];
                }
                bytes = withData(String.join("", tokens), new byte[14]);
                if (Philox.below(i, 4, 4) == 0) {
                    bytes[0] += (byte) (Philox.below(i, 5, 9) - 4);
                }
            }
            default -> { // a part is doubled or left out
                int from = 8 + Philox.below(i, 6, good.length - 30);
                int to = from + 1 + Philox.below(i, 7, good.length - 22 - from);
                ByteArrayOutputStream out = new ByteArrayOutputStream();
                out.write(good, 8, from - 8);
                for (int k = 0; k < 2 * Philox.below(i, 8, 2); k++) {
                    out.write(good, from, to - from);
                }
                out.write(good, to, good.length - 14 - to);
                bytes = withData(out.toString(StandardCharsets.UTF_8), new byte[14]);
            }
        }
        int length = Philox.below(i, 2, 6) == 0 ? Philox.below(i, 9, bytes.length) : bytes.length;
        return Arrays.copyOf(bytes, length);
    }

    private static String tensor(String dtype, String shape, String offsets) {
        return "{\"dtype\":\"" + dtype + "\",\"shape\":" + shape + ",\"data_offsets\":" + offsets + "}";
    }

    private static void one(
            List<Arguments> cases, String name, String dtype, String shape, String offsets, String rule) {
        header(cases, name, "{\"a\":" + tensor(dtype, shape, offsets) + "}", rule);
    }

    private static void two(List<Arguments> cases, String name, String first, String second, String rule) {
        header(
                cases,
                name,
                "{\"a\":" + tensor("F32", "[1]", first) + ",\"b\":" + tensor("F32", "[1]", second) + "}",
                rule);
    }

    private static void header(List<Arguments> cases, String name, String json, String rule) {
        cases.add(Arguments.of(name, withData(json, new byte[8]), rule));
    }

    private static byte[] withData(String json, byte[] data) {
        byte[] text = json.getBytes(StandardCharsets.UTF_8);
        return ByteBuffer.allocate(8 + text.length + data.length)
                .order(ByteOrder.LITTLE_ENDIAN)
                .putLong(text.length)
                .put(text)
                .put(data)
                .array();
    }

    /** A claimed header length and bytes that need not agree with it. */
    private static byte[] raw(long length, String rest) {
        ByteArrayOutputStream out = new ByteArrayOutputStream();
        out.writeBytes(ByteBuffer.allocate(8)
                .order(ByteOrder.LITTLE_ENDIAN)
                .putLong(length)
                .array());
        out.writeBytes(rest.getBytes(StandardCharsets.ISO_8859_1));
        return out.toByteArray();
    }
}
