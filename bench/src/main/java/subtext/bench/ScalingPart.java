package subtext.bench;

import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import subtext.bindings.Matmul;
import subtext.model.LlamaConfig;

/** How cost grows: time against sequence length, batch, layers and K, beside what the work predicts. */
final class ScalingPart {
    private static final ModelShape SHAPE = ModelShape.TINY;

    private ScalingPart() {}

    private interface Opening {
        Runner open(int value);
    }

    /** Something to time, and the work in it. */
    private record Runner(Runnable run, double work, AutoCloseable resource) {}

    static Section measure(int threads, int rounds, Path figure) throws Exception {
        Section section = new Section(
                "How cost grows, " + SHAPE.label() + " model, " + threads + " threads",
                "against",
                "value",
                "ms",
                "grew by",
                "its work grew by",
                "time over work, last value = 1");
        Svg svg = new Svg("Time against size, logarithmic", "value", "milliseconds", 0.8, 1500, 0.5, 20_000);
        axis(section, svg, 0, "sequence length", new int[] {64, 128, 256, 512, 1024}, rounds, t -> {
            return train(SHAPE.config(t), threads, 8, t);
        });
        axis(section, svg, 1, "batch", new int[] {4, 8, 16, 32, 64}, rounds, b -> {
            return train(SHAPE.config(128), threads, b, 128);
        });
        axis(section, svg, 2, "layers", new int[] {1, 2, 4, 8, 16}, rounds, l -> {
            return train(SHAPE.config(l, 128), threads, 16, 128);
        });
        axis(section, svg, 3, "K", new int[] {1, 2, 4, 8, 16}, rounds, k -> {
            EStepWork work = new EStepWork(SHAPE, threads, 32, 8, k);
            work.engine();
            double tokens = work.computed(0);
            return new Runner(work::engine, tokens, work);
        });
        svg.write(figure);
        section.note(
                "Work is floating-point operations of a training step, and for K tokens computed in an E-step (chunks of 32, contexts of"
                        + " 96). A training step with 8 sequences, or of length 128, or of 16 sequences of 128.");
        return section;
    }

    private static Runner train(LlamaConfig config, int threads, int sequences, int length) {
        TrainWork work = new TrainWork(config, Matmul.OWN, threads, sequences, length);
        return new Runner(work::step, work.flops(), work);
    }

    private static void axis(
            Section section, Svg svg, int which, String name, int[] values, int rounds, Opening opening)
            throws Exception {
        List<Runner> runners = new ArrayList<>();
        try {
            List<Contest.Contender> contenders = new ArrayList<>();
            for (int value : values) {
                Runner runner = opening.open(value);
                runners.add(runner);
                contenders.add(new Contest.Contender("" + value, () -> 1 / Contest.secondsPerCall(0.1, runner.run())));
            }
            List<Contest.Result> results = Contest.run(contenders, rounds);
            double[] millis =
                    results.stream().mapToDouble(r -> 1e3 / r.median()).toArray();
            int last = values.length - 1;
            for (int i = 0; i <= last; i++) {
                double perWork = millis[i]
                        / runners.get(i).work()
                        / (millis[last] / runners.get(last).work());
                section.row(
                        name,
                        values[i],
                        millis[i],
                        i == 0 ? "" : Section.times(millis[i] / millis[i - 1]),
                        i == 0
                                ? ""
                                : Section.times(runners.get(i).work()
                                        / runners.get(i - 1).work()),
                        Section.times(perWork));
                section.measured(
                        name + " " + values[i],
                        "subtext",
                        "s",
                        Arrays.stream(results.get(i).rates())
                                .map(rate -> 1 / rate)
                                .toArray());
            }
            svg.series(name, which, Arrays.stream(values).asDoubleStream().toArray(), millis);
        } finally {
            for (Runner runner : runners) {
                runner.resource().close();
            }
        }
    }
}
