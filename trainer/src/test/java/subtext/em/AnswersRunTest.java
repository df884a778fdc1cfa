package subtext.em;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import subtext.bindings.Backend;
import subtext.bindings.DType;
import subtext.bindings.DeviceOptions;
import subtext.data.Document;
import subtext.engine.Engine;
import subtext.run.RunConfig;
import subtext.run.Seeds;

/** The accuracy of a run on text whose answers are known is what its models answer when they are asked one by one. */
class AnswersRunTest {
    private static final int MAX_THOUGHT = 12;

    private static final RunConfig CONFIG = RunConfig.preset("smoke")
            .with("device.backend", "cpu")
            .with("device.threads", "2")
            .with("em.iterations", "1")
            .with("em.maxThought", "" + MAX_THOUGHT)
            .with("baselines", "[\"raw-token-match\"]")
            .with("training.steps", "60")
            .with("training.learningRate", "0.01")
            .with("corpus.id", "id")
            .with("corpus.context", "{question}\n")
            .with("corpus.text", "#### {answer|after:####|trim}")
            .with("corpus.thought", "{answer|before:####|trim}")
            .with("corpus.answer", "${answer|after:####|trim}.00")
            .with("corpus.chunked", "false")
            .with("corpus.warmStart", "60")
            .with("corpus.dev", "2")
            .with("corpus.heldOut", "20")
            .with("corpus.vocabulary", "280")
            .with("model.context", "128")
            .with("training.microTokens", "512");

    @TempDir
    private Path folder;

    /** The answer of a document, by its id. */
    private static int answer(String id) {
        return 2 + Integer.parseInt(id.substring(1)) % 3;
    }

    private RunConfig corpus() throws IOException {
        StringBuilder lines = new StringBuilder();
        for (int i = 0; i < 140; i++) {
            int answer = answer("d" + i);
            lines.append("{\"id\":\"d%d\",\"question\":\"Say %d.\",\"answer\":\"it is %d #### %d\"}%n"
                    .formatted(i, answer, answer, answer));
        }
        Path file = folder.resolve("corpus.jsonl");
        Files.writeString(file, lines);
        return CONFIG.with("corpus.path", file.toString());
    }

    private static double asked(Path model, List<Document> documents, int maxText, boolean thinking)
            throws IOException {
        int right = 0;
        try (Engine engine =
                Engine.open(model, Backend.CPU, DeviceOptions.defaults().withThreads(1), DType.F32)) {
            for (Document document : documents) {
                String question =
                        engine.tokenizer().decode(document.chunks().getFirst().text());
                String text = thinking
                        ? engine.think(question, engine.greedy(maxText), MAX_THOUGHT, 0)
                                .text()
                        : engine.generate(question, engine.greedy(maxText));
                int mark = text.lastIndexOf("####");
                String[] numbers =
                        text.substring(mark + 1).replaceAll("^\\D+", "").split("\\D+");
                String given = mark < 0 ? numbers[numbers.length - 1] : numbers[0];
                right += given.equals("" + answer(document.id())) ? 1 : 0;
            }
        }
        return (double) right / documents.size();
    }

    @Test
    void isWhatTheModelsAnswer() throws IOException {
        RunConfig config = corpus();
        Material material = Materials.of(config, new Seeds(0), Optional.empty(), line -> {});
        assertThat(material.answers()).isPresent();
        int maxText = 1
                + material.heldOut().stream()
                        .mapToInt(document -> document.chunks().getLast().text().size())
                        .max()
                        .orElseThrow();
        EmReport report = EmRun.start(new EmSettings(folder.resolve("run"), false, false, config), event -> {});
        EmReport.Seed seed = report.seeds().getFirst();
        List<Double> reported = new ArrayList<>();
        List<Double> found = new ArrayList<>();
        for (int i = 0; i < seed.iterations().size(); i++) {
            reported.add(seed.iterations().get(i).measured().accuracy().getAsDouble());
            Path model = folder.resolve("run/seeds/0/iterations/0%d/model".formatted(i));
            found.add(asked(model, material.heldOut(), maxText, true));
        }
        assertThat(seed.baselines()).hasSize(1);
        reported.add(seed.baselines().getFirst().measured().accuracy().getAsDouble());
        try (var models = Files.walk(folder.resolve("run/seeds/0/baselines"))) {
            Path model =
                    models.filter(path -> path.endsWith("model")).findFirst().orElseThrow();
            found.add(asked(model, material.heldOut(), maxText, false));
        }
        System.out.println("accuracy of the warm start, iteration 1 and raw text: " + reported);
        assertThat(reported).isEqualTo(found);
        assertThat(reported.stream().mapToDouble(a -> a).max().orElseThrow())
                .as("some answer is right")
                .isPositive();
        assertThat(folder.resolve("run/report.html")).content().contains("accuracy");
    }

    @Test
    void withoutATemplateThereIsNone() throws IOException {
        assertThat(Materials.of(corpus().with("corpus.answer", ""), new Seeds(0), Optional.empty(), line -> {})
                        .answers())
                .isEmpty();
        assertThat(RunConfig.preset("gsm8k").corpus().answer()).isEqualTo("{answer|after:####|trim}");
    }
}
