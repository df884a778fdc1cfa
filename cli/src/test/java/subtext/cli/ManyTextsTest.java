package subtext.cli;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.io.PrintWriter;
import java.io.StringWriter;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.stream.Stream;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import subtext.em.EmRun;
import subtext.em.EmSettings;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.json.JsonMapper;
import tools.jackson.databind.node.ObjectNode;

/** {@code generate} and {@code score} with a model that {@code em} trained: thoughts, bounds, and files of many texts. */
class ManyTextsTest {
    private static final int COUNT = 50;

    @TempDir
    static Path folder;

    private static String model;

    private record Outcome(int code, String out, String err) {
        List<JsonNode> lines() {
            assertThat(code).as(err).isZero();
            return out.lines().map(line -> JsonMapper.shared().readTree(line)).toList();
        }
    }

    private static Outcome run(String... arguments) {
        StringWriter out = new StringWriter();
        StringWriter err = new StringWriter();
        int code = Main.run(
                new PrintWriter(out, true),
                new PrintWriter(err, true),
                Stream.of(arguments)
                        .map(argument -> argument.replace("@", folder.toString()))
                        .toArray(String[]::new));
        return new Outcome(code, out.toString(), err.toString());
    }

    private static Outcome run(List<String> command, String... more) {
        return run(Stream.concat(command.stream(), Stream.of(more)).toArray(String[]::new));
    }

    @BeforeAll
    static void train() throws IOException {
        EmRun.start(new EmSettings(folder.resolve("run"), false, false, Materials.TINY), event -> {});
        model = folder.resolve("run/seeds/0/iterations/01/model").toString();
        StringBuilder lines = new StringBuilder();
        for (int i = 0; i < COUNT; i++) {
            ObjectNode line = JsonMapper.shared().createObjectNode();
            if (i % 2 == 0) {
                line.put("id", "line " + i);
            }
            line.put("prompt", prompt(i)).put("text", text(i)).put("note", i);
            lines.append(line).append(i % 10 == 0 ? "\n\n" : "\n"); // blank lines are passed over
        }
        Files.writeString(folder.resolve("many.jsonl"), lines);
    }

    private static String prompt(int i) {
        return i == 7 ? "" : "s" + i % 16 + " a b c d e f".substring(0, 2 * (i % 7));
    }

    private static String text(int i) {
        return "s" + i % 5 + " s" + i % 11;
    }

    /** Each result of a file is, to the bit, what its line gives alone. */
    private void fileEqualsSingleCalls(List<String> command, boolean scored) {
        List<JsonNode> many = run(command, "--file", "@/many.jsonl").lines();
        assertThat(many).hasSize(COUNT);
        for (int i = 0; i < COUNT; i++) {
            ObjectNode one = (ObjectNode) many.get(i);
            JsonNode id = one.remove("id");
            if (i % 2 == 0) {
                assertThat(id.asString()).isEqualTo("line " + i);
            } else {
                assertThat(id.asInt()).as("number of the line").isEqualTo(1 + i + (i + 9) / 10);
            }
            String[] single = scored
                    ? new String[] {"--prompt", prompt(i), "--text", text(i), "--json"}
                    : new String[] {"--prompt", prompt(i), "--json"};
            assertThat(run(command, single).lines()).containsExactly(one);
        }
        Outcome written = run(command, "--file", "@/many.jsonl", "--out", "@/out.jsonl");
        assertThat(written.code()).as(written.err()).isZero();
        assertThat(written.out()).isEmpty();
        assertThat(folder.resolve("out.jsonl"))
                .hasContent(run(command, "--file", "@/many.jsonl").out());
    }

    @Test
    void generatedFromAFile() {
        fileEqualsSingleCalls(List.of("generate", "--model", model, "--temperature", "1", "--seed", "3"), false);
    }

    @Test
    void thoughtAboutFromAFile() {
        fileEqualsSingleCalls(
                List.of("generate", "--model", model, "--temperature", "1", "--seed", "3", "--think"), false);
    }

    @Test
    void scoredFromAFile() {
        fileEqualsSingleCalls(List.of("score", "--model", model), true);
    }

    @Test
    void boundedFromAFile() {
        fileEqualsSingleCalls(
                List.of("score", "--model", model, "--elbo", "3", "--seed", "5", "--max-thought", "9", "--thoughts"),
                true);
    }

    @Test
    void aThoughtStandsApartFromItsText() {
        List<String> command = List.of(
                "generate",
                "--model",
                model,
                "--think",
                "--prompt",
                "s5 c a",
                "--temperature",
                "1",
                "--max-thought",
                "8");
        JsonNode json = run(command, "--json").lines().getFirst();
        assertThat(json.propertyNames())
                .contains("thought", "thoughtFinished", "text", "thoughtLogProbs", "logProbs", "finished");
        assertThat(json.path("thoughtLogProbs")).hasSameSizeAs(json.path("thoughtTokens"));
        Outcome told = run(command);
        assertThat(told.code()).isZero();
        assertThat(told.out().lines())
                .containsExactly(
                        ("thought| " + json.path("thought").asString()).strip(),
                        "s5 c a" + json.path("text").asString());
        assertThat(told.err().contains("cut off after 8 tokens"))
                .isEqualTo(!json.path("thoughtFinished").asBoolean());
    }

    @Test
    void aBoundIsToldWithItsThoughts() {
        List<String> command = List.of(
                "score", "--model", model, "--elbo", "4", "--prompt", "s5 c a", "--text", "s3 s2", "--thoughts");
        JsonNode json = run(command, "--json").lines().getFirst();
        assertThat(json.path("thoughts")).hasSize(4);
        double sum = 0;
        double squares = 0;
        for (JsonNode thought : json.path("thoughts")) {
            double weight = Math.exp(thought.path("logPrior").asDouble()
                    + thought.path("logLikelihood").asDouble()
                    - thought.path("logQ").asDouble());
            sum += weight;
            squares += weight * weight;
        }
        assertThat(json.path("elbo").asDouble())
                .isCloseTo(Math.log(sum / 4), org.assertj.core.api.Assertions.within(1e-9));
        assertThat(json.path("ess").asDouble())
                .isCloseTo(sum * sum / squares, org.assertj.core.api.Assertions.within(1e-9));
        assertThat(json.path("nllPerToken").asDouble())
                .isEqualTo(-json.path("elbo").asDouble() / 2);
        Outcome told = run(command);
        assertThat(told.out().lines()).hasSize(1 + 4 + 1);
        assertThat(told.out())
                .contains("ELBO_4 %.4f nats over 2 tokens"
                        .formatted(json.path("elbo").asDouble()));
    }

    /** The last line is wrong: nothing is printed, what was there before stays, and no temporary file is left. */
    @Test
    void aBadLineIsFoundBeforeAnythingIsComputed() throws IOException {
        String good = Files.readString(folder.resolve("many.jsonl"));
        Files.writeString(folder.resolve("bad.jsonl"), good + "{\"prompt\": \"s1 zebra\", \"text\": \"s1\"}\n");
        Files.writeString(folder.resolve("kept.jsonl"), "before");
        for (String command : new String[] {"generate", "score"}) {
            Outcome printed = run(command, "--model", model, "--file", "@/bad.jsonl");
            assertThat(printed.code()).isEqualTo(3);
            assertThat(printed.out()).isEmpty();
            assertThat(printed.err())
                    .contains("bad.jsonl: line 56: no symbol \"zebra\"")
                    .hasLineCount(1);
            assertThat(run(command, "--model", model, "--file", "@/bad.jsonl", "--out", "@/kept.jsonl")
                            .code())
                    .isEqualTo(3);
        }
        assertThat(folder.resolve("kept.jsonl")).hasContent("before");
        try (Stream<Path> files = Files.list(folder)) {
            List<String> names = new ArrayList<>();
            files.forEach(file -> names.add(file.getFileName().toString()));
            assertThat(names).noneMatch(name -> name.startsWith("."));
        }
    }

    /** Windows of a few: the same lines come out, whatever they are cut into. */
    @Test
    void windowsAreCutByCountAndByLength() throws IOException {
        StringBuilder lines = new StringBuilder();
        for (int i = 0; i < 25; i++) {
            lines.append("{\"prompt\": \"%s\"}\n".formatted("x".repeat(i % 10 == 9 ? 1 << 20 : 1)));
        }
        Files.writeString(folder.resolve("windows.jsonl"), lines);
        List<Integer> sizes = new ArrayList<>();
        List<Long> numbers = new ArrayList<>();
        List<Long> checked = new ArrayList<>();
        new Requests(folder.resolve("windows.jsonl"), false, 4)
                .forEachWindow(request -> checked.add(request.line()), window -> {
                    sizes.add(window.size());
                    window.forEach(request -> numbers.add(request.line()));
                });
        assertThat(sizes).containsExactly(4, 4, 2, 4, 4, 2, 4, 1);
        assertThat(numbers).hasSize(25).isSorted();
        assertThat(checked).as("looked through before, and again").hasSize(50);
    }
}
