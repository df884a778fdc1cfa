package subtext.data;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import subtext.text.ControlTokens;
import subtext.text.Tokens;

/**
 * Documents to token sequences and back. The grammar (Ruan et al. 2025, with our names for the markers):
 *
 * <pre>
 * document := &lt;bos&gt; block* &lt;eos&gt;
 * block    := x                                                      raw
 *           | &lt;latent&gt;&lt;prior&gt; z &lt;/latent&gt; x                           prior
 *           | &lt;latent&gt;&lt;/latent&gt; x &lt;latent&gt;&lt;posterior&gt; z &lt;/latent&gt;     posterior
 * </pre>
 *
 * Texts and thoughts hold no control token, which makes the grammar unambiguous: a block that opens with an empty pair is followed by
 * its thought.
 *
 * @param control ids of the markers
 * @param key key of the coins
 * @param priorShare probability of the prior order
 */
public record SequenceBuilder(ControlTokens control, long key, double priorShare) {
    /**
     * {@return the sequence of a document in one epoch: its coins are drawn afresh for each}
     *
     * @param annotated the document with its thoughts
     * @param epoch number of the pass over the data, from 0
     */
    public Sequence build(Annotated annotated, long epoch) {
        Document document = annotated.document();
        List<Tokens> parts = new ArrayList<>();
        List<Float> weights = new ArrayList<>();
        parts.add(Tokens.of(control.bos()));
        weights.add(1f);
        for (int c = 0; c < document.chunks().size(); c++) {
            var thought = annotated.thoughts().get(c);
            parts.add(Arrangement.of(thought, key, document.id(), c, epoch, priorShare)
                    .block(document.chunks().get(c).text(), control));
            weights.add(thought.map(Annotated.Thought::weight).orElse(1f));
        }
        parts.add(Tokens.of(control.eos()));
        weights.add(1f);
        Tokens tokens = Tokens.concat(parts.toArray(Tokens[]::new));
        float[] factor = new float[tokens.size()];
        int at = 0;
        for (int p = 0; p < parts.size(); p++) {
            Arrays.fill(factor, at, at + parts.get(p).size(), weights.get(p));
            at += parts.get(p).size();
        }
        return new Sequence(tokens, factor);
    }

    /**
     * A block read back.
     *
     * @param arrangement with its thought, if it has one
     * @param text the text, x; that of raw chunks after a prior block is part of it, since nothing separates them
     */
    public record Block(Arrangement arrangement, Tokens text) {}

    /**
     * Reads a sequence back into its blocks.
     *
     * @param sequence from {@code <bos>} to {@code <eos>}, whole
     * @return its blocks in order; joined, with the ends, they are the sequence
     * @throws IllegalArgumentException if the sequence is not in the grammar, naming the place
     */
    public List<Block> parse(Tokens sequence) {
        int n = sequence.size();
        if (n < 2 || sequence.at(0) != control.bos() || sequence.at(n - 1) != control.eos()) {
            throw new IllegalArgumentException("sequence: expected <bos> ... <eos>");
        }
        List<Block> blocks = new ArrayList<>();
        int at = 1;
        while (at < n - 1) {
            if (sequence.at(at) != control.latent()) {
                int end = plain(sequence, at);
                if (end == at) {
                    throw new IllegalArgumentException("sequence: a control token without its block at token " + at);
                }
                blocks.add(new Block(new Arrangement.Raw(), sequence.slice(at, end)));
                at = end;
            } else if (sequence.at(at + 1) == control.prior()) {
                int close = plain(sequence, at + 2);
                expect(sequence, close, control.endLatent(), "</latent>");
                int end = plain(sequence, close + 1);
                blocks.add(new Block(
                        new Arrangement.Prior(sequence.slice(at + 2, close)), sequence.slice(close + 1, end)));
                at = end;
            } else {
                expect(sequence, at + 1, control.endLatent(), "<prior> or </latent>");
                int open = plain(sequence, at + 2);
                expect(sequence, open, control.latent(), "<latent>");
                expect(sequence, open + 1, control.posterior(), "<posterior>");
                int close = plain(sequence, open + 2);
                expect(sequence, close, control.endLatent(), "</latent>");
                blocks.add(new Block(
                        new Arrangement.Posterior(sequence.slice(open + 2, close)), sequence.slice(at + 2, open)));
                at = close + 1;
            }
        }
        return blocks;
    }

    /**
     * {@return the prompt that asks the posterior for a thought: {@code <bos> C <latent></latent> X <latent><posterior>}}
     *
     * @param context C, what stands before the chunk in its document
     * @param text X, the chunk to explain
     */
    public Tokens posteriorPrompt(Tokens context, Tokens text) {
        return Tokens.concat(
                Tokens.of(control.bos()),
                context,
                Tokens.of(control.latent(), control.endLatent()),
                text,
                Tokens.of(control.latent(), control.posterior()));
    }

    /**
     * {@return the prompt that asks the prior for a thought, and the given part of the joint: {@code <bos> C <latent><prior>}}
     *
     * @param context C, what stands before the chunk in its document
     */
    public Tokens priorPrompt(Tokens context) {
        return control.priorPrompt(context);
    }

    private int plain(Tokens sequence, int from) {
        int at = from;
        while (at < sequence.size() && !isControl(sequence.at(at))) {
            at++;
        }
        return at;
    }

    private boolean isControl(int id) {
        return id == control.bos()
                || id == control.eos()
                || id == control.latent()
                || id == control.endLatent()
                || id == control.prior()
                || id == control.posterior();
    }

    private static void expect(Tokens sequence, int at, int id, String name) {
        if (at >= sequence.size() || sequence.at(at) != id) {
            throw new IllegalArgumentException("sequence: expected " + name + " at token " + at);
        }
    }
}
