package subtext.bench;

import java.util.List;

/** The E-step against the naive scheme that pays context and chunk for every sample, in sampling and in scoring. */
final class EStepPart {
    private static final int CHUNK = 64;
    private static final int SAMPLES = 8;

    private EStepPart() {}

    static Section measure(int threads, int rounds, List<ModelShape> only) throws Exception {
        Section section = new Section(
                "E-step, K = 8, contexts three times the chunk, thoughts as long as the chunk, " + threads + " threads",
                "model",
                "scheme",
                "latents/s",
                "lowest to highest",
                "tokens computed a latent",
                "in chunk lengths, of all K");
        for (ModelShape shape : only.isEmpty() ? List.of(ModelShape.SMALL, ModelShape.STORIES15M) : only) {
            int count = 8;
            try (EStepWork work = new EStepWork(shape, threads, CHUNK, count, SAMPLES)) {
                work.verify();
                double latents = count * SAMPLES;
                long[] before = {work.computed(0), work.computed(1)};
                List<Contest.Result> results = Contest.run(
                        List.of(
                                new Contest.Contender(
                                        "subtext", () -> latents / Contest.secondsPerCall(0, work::engine)),
                                new Contest.Contender("naive", () -> latents / Contest.secondsPerCall(0, work::naive))),
                        rounds);
                double[] tokens = new double[2];
                for (int i = 0; i < 2; i++) {
                    Contest.Result result = results.get(i);
                    tokens[i] = (work.computed(i) - before[i]) / latents / (rounds + 1);
                    section.row(
                            shape.label(),
                            result.name(),
                            result.median(),
                            Section.number(result.low()) + " to " + Section.number(result.high()),
                            tokens[i],
                            Section.number(tokens[i] * SAMPLES / CHUNK));
                    section.measured(shape.label(), result.name(), "latents/s", result.rates());
                    section.measured(shape.label(), result.name(), "tokens computed a latent", tokens[i]);
                }
                section.note(
                        "%s: %.2f x fewer tokens (wanted 2.8), %.2f x the speed (wanted 2.2); the same thoughts, scores and choices to the bit.",
                        shape.label(), tokens[1] / tokens[0], results.get(0).over(results.get(1)));
            }
        }
        return section;
    }
}
