package subtext.cli;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.io.PrintStream;
import java.io.PrintWriter;
import java.io.StringWriter;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.TimeUnit;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;
import subtext.run.Beginning;
import subtext.run.RunDirectory;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.json.JsonMapper;

/**
 * Wrong and hostile inputs, a line each of {@code mistakes.tsv}: exit code, a part of the message, command line. All of them are given to one
 * process with little memory; each ends within seconds in one line on stderr, nothing on stdout and its exit code.
 */
class HostileInputTest {
    private static final String HEAP = "-Xmx128m";
    private static final long SECONDS = 20;
    private static final long RESIDENT_BYTES = 1L << 30;

    @TempDir
    static Path folder;

    private static Map<Integer, JsonNode> outcomes;
    private static JsonNode last;
    private static RunDirectory held;

    /** A line of the table. */
    record Row(int number, int code, String part, String command) {
        @Override
        public String toString() {
            return command.length() > 100 ? command.substring(0, 100) + "..." : command;
        }

        /** The command's words: divided by blanks, those in single quotes kept together; \n and \e are what they are in Java and in sh. */
        String[] words(Path at) {
            List<String> words = new ArrayList<>();
            var matcher = java.util.regex.Pattern.compile("'([^']*)'|(\\S+)").matcher(command);
            while (matcher.find()) {
                String word = matcher.group(1) == null ? matcher.group(2) : matcher.group(1);
                words.add(word.replace("@", at.toString())
                        .replace("\\n", "\n")
                        .replace("\\e", "\u001b")
                        .replace("{long}", "x".repeat(100_000)));
            }
            return words.toArray(String[]::new);
        }
    }

    static Stream<Row> rows() throws IOException {
        List<Row> rows = new ArrayList<>();
        try (var in = HostileInputTest.class.getResourceAsStream("mistakes.tsv")) {
            for (String line : new String(in.readAllBytes(), StandardCharsets.UTF_8)
                    .lines()
                    .toList()) {
                if (!line.isBlank() && !line.startsWith("#")) {
                    String[] cells = line.split("\t");
                    rows.add(new Row(rows.size(), Integer.parseInt(cells[0]), cells[1], cells[2]));
                }
            }
        }
        return rows.stream();
    }

    /** The process that gets them all: a line of JSON for each, then what memory it took. */
    static final class Victim {
        private Victim() {}

        public static void main(String[] arguments) throws IOException {
            Path at = Path.of(arguments[0]);
            PrintStream answers = System.out;
            System.setOut(System.err); // what writes past the program's own writers is seen there
            for (Row row : rows().toList()) {
                StringWriter out = new StringWriter();
                StringWriter err = new StringWriter();
                long from = System.nanoTime();
                int code = answer(row.words(at), out, err);
                answers.println(JsonMapper.shared()
                        .writeValueAsString(Map.of(
                                "row", row.number(),
                                "code", code,
                                "out", shortened(out),
                                "err", shortened(err),
                                "seconds", (System.nanoTime() - from) * 1e-9)));
            }
            String status = Files.readString(Path.of("/proc/self/status"));
            String peak = status.replaceAll("(?s).*VmHWM:\\s*(\\d+) kB.*", "$1");
            answers.println(
                    JsonMapper.shared().writeValueAsString(Map.of("residentBytes", Long.parseLong(peak) << 10)));
            System.exit(0);
        }

        /** The exit code; -1 if it does not come in time. */
        private static int answer(String[] words, StringWriter out, StringWriter err) {
            int[] code = {-1};
            Thread thread =
                    new Thread(() -> code[0] = Main.run(new PrintWriter(out, true), new PrintWriter(err, true), words));
            thread.setDaemon(true);
            thread.start();
            try {
                thread.join(Duration.ofSeconds(SECONDS));
            } catch (InterruptedException e) {
                throw new AssertionError(e);
            }
            return code[0];
        }

        private static String shortened(StringWriter text) {
            return text.toString().length() > 20_000 ? text.toString().substring(0, 20_000) : text.toString();
        }
    }

    private static Process begin(List<String> options, List<String> arguments) throws IOException {
        List<String> command = new ArrayList<>(List.of(
                Path.of(System.getProperty("java.home"), "bin", "java").toString(),
                "--enable-native-access=ALL-UNNAMED"));
        command.addAll(options);
        command.addAll(List.of("-cp", System.getProperty("java.class.path")));
        command.addAll(arguments);
        return new ProcessBuilder(command).start();
    }

    @BeforeAll
    static void askOneProcessAll() throws IOException, InterruptedException {
        Materials.make(folder);
        held = RunDirectory.open(
                folder.resolve("locked"), true, new Beginning("em", Materials.TINY, Map.of()), Map.of());
        Process process = begin(List.of(HEAP), List.of(Victim.class.getName(), folder.toString()));
        Path noise = folder.resolve("noise");
        Thread reader = Thread.ofVirtual().start(() -> {
            try {
                Files.copy(process.getErrorStream(), noise);
            } catch (IOException e) {
                throw new java.io.UncheckedIOException(e);
            }
        });
        outcomes = new HashMap<>();
        Thread watchdog = Thread.ofVirtual().start(() -> {
            try {
                process.waitFor(300, TimeUnit.SECONDS);
            } catch (InterruptedException e) {
                // asked to end
            }
            process.destroyForcibly();
        });
        try (var lines = process.inputReader(StandardCharsets.UTF_8).lines()) {
            lines.forEach(line -> {
                JsonNode answer = JsonMapper.shared().readTree(line);
                if (answer.has("row")) {
                    outcomes.put(answer.path("row").asInt(), answer);
                } else {
                    last = answer;
                }
            });
        }
        process.waitFor();
        reader.join();
        watchdog.interrupt();
        assertThat(process.exitValue())
                .as("the process after %d rows: %s", outcomes.size(), Files.readString(noise))
                .isZero();
        assertThat(noise).as("what was written past the program's own writers").isEmptyFile();
    }

    @AfterAll
    static void release() throws IOException {
        if (held != null) {
            held.close();
        }
    }

    @ParameterizedTest(name = "{0}")
    @MethodSource("rows")
    void isOneLineAndItsExitCode(Row row) {
        JsonNode outcome = outcomes.get(row.number());
        assertThat(outcome).as("an answer").isNotNull();
        String err = outcome.path("err").asString();
        assertThat(err).startsWith("subtext: ").contains(row.part().replace("@", folder.toString()));
        assertThat(err.strip().lines()).as(err).hasSize(1);
        assertThat(err.strip())
                .as("no control characters")
                .doesNotMatch("(?s).*\\p{Cntrl}.*")
                .hasSizeLessThan(2000);
        assertThat(outcome.path("code").asInt()).as(err).isEqualTo(row.code());
        assertThat(outcome.path("out").asString()).isEmpty();
        assertThat(outcome.path("seconds").asDouble()).as("seconds").isLessThan(SECONDS);
    }

    @Test
    void theTableIsLongAndNothingWasLeftOrTaken() throws IOException {
        List<Row> rows = rows().toList();
        assertThat(rows).hasSizeGreaterThanOrEqualTo(100);
        assertThat(rows.stream().map(Row::command)).doesNotHaveDuplicates();
        assertThat(folder.resolve("r")).as("a run that could not begin").doesNotExist();
        assertThat(folder.resolve("out")).doesNotExist();
        assertThat(folder.resolve("precious")).hasContent("precious");
        assertThat(last.path("residentBytes").asLong()).isLessThan(RESIDENT_BYTES);
        System.out.printf(
                "%d wrong inputs to one process (%s): %.1f s in all, at most %.2f s, %.0f MiB resident%n",
                rows.size(),
                HEAP,
                outcomes.values().stream()
                        .mapToDouble(o -> o.path("seconds").asDouble())
                        .sum(),
                outcomes.values().stream()
                        .mapToDouble(o -> o.path("seconds").asDouble())
                        .max()
                        .orElseThrow(),
                last.path("residentBytes").asLong() / 0x1p20);
    }

    /** A few as a person would meet them: the exit status is the process's own. */
    @Test
    void processesEndWithTheirCodes() throws IOException, InterruptedException {
        for (String wanted : List.of(
                "em --iteratoins 3", "verify @/nowhere", "em --run @/r --config @/bomb.yaml", "verify @/damaged")) {
            Row row = rows().filter(r -> r.command().equals(wanted)).findFirst().orElse(new Row(-1, 7, "", wanted));
            List<String> arguments = new ArrayList<>(List.of(Main.class.getName()));
            arguments.addAll(List.of(row.words(folder)));
            Process process = begin(List.of(HEAP), arguments);
            String err = new String(process.getErrorStream().readAllBytes(), StandardCharsets.UTF_8);
            assertThat(process.waitFor(60, TimeUnit.SECONDS)).isTrue();
            assertThat(process.exitValue()).as(err).isEqualTo(row.code());
            assertThat(err).contains(row.part().replace("@", folder.toString()));
        }
    }
}
