package subtext.bench;

import java.util.ArrayList;
import java.util.List;
import java.util.SplittableRandom;
import subtext.bindings.Backend;
import subtext.bindings.DType;
import subtext.bindings.Device;
import subtext.bindings.DeviceOptions;
import subtext.bindings.Matmul;
import subtext.generate.Generator;
import subtext.generate.Prompt;
import subtext.generate.Sample;
import subtext.generate.Sampling;
import subtext.generate.Score;
import subtext.generate.Scorer;
import subtext.model.Llama;
import subtext.text.Tokens;

/** Sequences drawn side by side from random weights, each behind a prompt of its own, log-probabilities included. */
final class GenerateWork implements AutoCloseable {
    private final Device device;
    private final Llama llama;
    private final int vocabulary;
    private final int context;

    /** @param context prompt and drawn tokens of a sequence, at most */
    GenerateWork(ModelShape shape, DType dtype, Matmul unit, int threads, int context) {
        this.vocabulary = shape.vocabulary;
        this.context = context;
        device = Device.open(
                Backend.CPU, DeviceOptions.defaults().withThreads(threads).withMatmul(unit));
        llama = Llama.open(device, shape.config(context + 1), dtype, Llama.Capacity.weights());
        ModelShape.randomWeights(device, llama);
    }

    /** Bytes of the weights that a step reads. */
    double weightBytes() {
        double embedding =
                (double) llama.config().paddedVocabulary() * llama.config().width();
        // of an embedding that is not the output matrix, a step reads a row
        return (llama.table().size() - (llama.config().tied() ? 0 : embedding))
                * llama.dtype().bytes();
    }

    /** A generator with room for so many sequences. */
    Generator generator(int sequences, int prompt, int tokens) {
        return new Generator(llama, new Generator.Limits(sequences, sequences, Math.max(prompt, tokens), 512));
    }

    /** Draws {@code tokens} tokens of each of {@code sequences} sequences. */
    List<List<Sample>> draw(Generator generator, int sequences, int prompt, int tokens) {
        SplittableRandom random = new SplittableRandom(2);
        List<Prompt> prompts = new ArrayList<>();
        for (int s = 0; s < sequences; s++) {
            prompts.add(new Prompt(Tokens.of(random.ints(prompt, 0, vocabulary).toArray()), random.nextLong()));
        }
        return generator.draw(prompts, Sampling.exact(Sampling.NO_STOP, tokens));
    }

    /** Checks that what is drawn has the log-probabilities that scoring gives it, to the bit. */
    void verify() {
        int prompt = Math.min(5, context - 7);
        try (Generator generator = generator(3, prompt, 7);
                Scorer scorer = new Scorer(llama, new Scorer.Limits(64, 8, 16))) {
            SplittableRandom random = new SplittableRandom(2);
            for (List<Sample> one : draw(generator, 3, prompt, 7)) {
                Tokens asked = Tokens.of(random.ints(prompt, 0, vocabulary).toArray());
                random.nextLong();
                Score score =
                        scorer.score(asked, List.of(one.getFirst().tokens())).getFirst();
                if (!java.util.Arrays.equals(score.logProbs(), one.getFirst().logProbs())) {
                    throw new IllegalStateException("generation: log-probabilities differ from those of scoring");
                }
            }
        }
    }

    @Override
    public void close() {
        llama.close();
        device.close();
    }
}
