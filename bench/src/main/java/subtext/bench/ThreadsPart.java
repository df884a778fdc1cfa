package subtext.bench;

import java.util.ArrayList;
import java.util.List;
import subtext.bindings.Matmul;

/** Two threads against one on the training step, and that they train the same bits. */
final class ThreadsPart {
    private ThreadsPart() {}

    static Section measure(int rounds, List<ModelShape> only) {
        Section section = new Section(
                "Two threads against one, training step",
                "model",
                "1 thread, tokens/s",
                "2 threads, tokens/s",
                "ratio");
        for (ModelShape shape : only.isEmpty() ? List.of(ModelShape.TINY, ModelShape.SMALL) : only) {
            int sequences = shape == ModelShape.TINY ? 64 : 16;
            int length = shape == ModelShape.TINY ? 128 : 256;
            List<List<Double>> losses = List.of(new ArrayList<>(), new ArrayList<>());
            try (TrainWork one = new TrainWork(shape.config(length), Matmul.OWN, 1, sequences, length);
                    TrainWork two = new TrainWork(shape.config(length), Matmul.OWN, 2, sequences, length)) {
                List<TrainWork> works = List.of(one, two);
                List<Contest.Contender> contenders = new ArrayList<>();
                for (int i = 0; i < 2; i++) {
                    int which = i;
                    contenders.add(new Contest.Contender(
                            (i + 1) + " threads",
                            () -> one.rows()
                                    / Contest.secondsPerCall(
                                            0,
                                            () -> losses.get(which)
                                                    .add(works.get(which).step()))));
                }
                List<Contest.Result> results = Contest.run(contenders, rounds);
                if (!losses.get(0).equals(losses.get(1))) {
                    throw new IllegalStateException("threads change the losses: " + losses);
                }
                section.row(
                        shape.label(),
                        results.get(0).median(),
                        results.get(1).median(),
                        Section.times(results.get(1).over(results.get(0))) + " x");
                results.forEach(result -> section.measured(shape.label(), result.name(), "tokens/s", result.rates()));
            }
        }
        section.note("The losses of all steps were the same to the bit. Wanted: 1.8 x on a quiet machine.");
        return section;
    }
}
