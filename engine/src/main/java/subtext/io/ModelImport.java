package subtext.io;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import subtext.bindings.EngineException;
import subtext.model.Initialisation;
import subtext.model.LlamaConfig;
import subtext.model.ParameterTable;
import subtext.random.Philox;
import subtext.text.BpeTokenizer;
import subtext.text.ControlTokens;
import subtext.text.Tokenizer;

/**
 * A checkpoint of others as a model folder of ours: the same layout, with the control tokens that training with latents needs. Those the
 * tokenizer lacks get ids after its own, and their rows of embedding and output are drawn anew, normal with a standard deviation of
 * C^-0.5, cut off at three of them, as Ruan et al. 2025 do; all other tensors are copied value by value. Nothing is held whole.
 * End tokens and chat templates are kept ({@link Conversation}).
 */
public final class ModelImport {
    private static final long SEED = 42;

    private ModelImport() {}

    /**
     * What an import did.
     *
     * @param config of the model written
     * @param added names of the control tokens that were added, in the order of their ids
     * @param firstAdded the first of those ids
     */
    public record Result(LlamaConfig config, List<String> added, int firstAdded) {}

    /**
     * Writes {@code to} from {@code from}.
     *
     * @param from a folder in Hugging Face's layout
     * @param to folder without a model; made if it is missing
     * @param type F32, BF16 or F16 of the tensors written
     * @param controls whether to add control tokens; without, this is a copy in another type
     * @return what was written
     * @throws EngineException.InvalidInput if there is a model in {@code to} already, or {@code from} lacks a file
     * @throws EngineException.CorruptFile if a file of {@code from} breaks a rule
     * @throws EngineException.InvalidConfig if {@code from} is not a model this engine computes
     * @throws IOException if a file cannot be read or written
     */
    public static Result run(Path from, Path to, Safetensors.Type type, boolean controls) throws IOException {
        if (Files.exists(to.resolve(HuggingFace.WEIGHTS)) || Files.exists(to.resolve(HuggingFace.CONFIG))) {
            throw new EngineException.InvalidInput(to + ": there is a model already; name another folder");
        }
        LlamaConfig config = HuggingFace.config(from);
        Tokenizer tokenizer = HuggingFace.tokenizerFor(from, config);
        int old = tokenizer.vocabulary();
        List<String> added = new ArrayList<>();
        if (controls && tokenizer instanceof BpeTokenizer bpe) {
            int[] ids = tokenizer.controls().ids();
            for (int i = 0; i < ids.length; i++) {
                if (ids[i] == ControlTokens.NONE) {
                    added.add(ControlTokens.NAMES.get(i));
                }
            }
            tokenizer = bpe.withControls();
        }
        // a checkpoint may have more rows than ids, as padding: the new ids take those first
        LlamaConfig grown = config.withVocabulary(Math.max(config.vocabulary(), tokenizer.vocabulary()));
        Conversation conversation = Conversation.of(from, config, tokenizer);
        try (ModelTensors tensors = ModelTensors.open(from, config)) {
            HuggingFace.save(
                    to,
                    grown,
                    tokenizer,
                    conversation,
                    new Grown(tensors, config, grown, old, tokenizer.vocabulary()),
                    type);
        }
        return new Result(grown, List.copyOf(added), old);
    }

    /** The flat array of the grown model, fetched from the files of the old one. */
    private static final class Grown implements Safetensors.Source {
        private final ModelTensors tensors;
        private final List<ParameterTable.Slice> slices;
        private final List<ParameterTable.Slice> originals;
        private final long width;
        private final int first;
        private final int last;

        Grown(ModelTensors tensors, LlamaConfig config, LlamaConfig grown, int first, int last) {
            this.tensors = tensors;
            this.slices = ParameterTable.of(grown).slices();
            this.originals = ParameterTable.of(config).slices();
            this.width = config.width();
            this.first = first;
            this.last = last;
        }

        @Override
        public float[] read(long at, int n) throws IOException {
            int i = 0;
            while (at >= slices.get(i).offset() + slices.get(i).size()
                    || at < slices.get(i).offset()) {
                i++;
            }
            ParameterTable.Slice slice = slices.get(i);
            ParameterTable.Slice original = originals.get(i);
            long from = at - slice.offset();
            if (!slice.name().equals("model.embed_tokens.weight")
                    && !slice.name().equals("lm_head.weight")) {
                return tensors.floats(original, from, n);
            }
            float[] values = new float[n];
            long kept = Math.clamp(original.size() - from, 0L, (long) n);
            System.arraycopy(
                    tensors.floats(original, Math.min(from, original.size()), (int) kept), 0, values, 0, (int) kept);
            long key = Philox.key(SEED, slice.name());
            double std = 1 / Math.sqrt(width);
            for (long e = Math.max(from, first * width); e < Math.min(from + n, last * width); e++) {
                values[(int) (e - from)] = (float) (std * Initialisation.normal(key, e));
            }
            return values;
        }
    }
}
