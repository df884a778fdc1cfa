package subtext.model;

import java.util.Arrays;
import java.util.Optional;

/** The models this engine computes: Llama, and those that differ from it in the attention half alone. */
public enum Family {
    /** Llama 2 and 3, TinyLlama, SmolLM2. Touvron et al. 2023. */
    LLAMA("llama", "LlamaForCausalLM", false, false),
    /** Attention over the last {@code window} positions. Jiang et al. 2023. */
    MISTRAL("mistral", "MistralForCausalLM", false, false),
    /** Queries, keys and values have a bias; so Qwen2.5. Yang et al. 2024. */
    QWEN2("qwen2", "Qwen2ForCausalLM", true, false),
    /** Each head of queries and keys has an RMSNorm before it turns. Yang et al. 2025. */
    QWEN3("qwen3", "Qwen3ForCausalLM", false, true);

    private final String modelType;
    private final String architecture;
    private final boolean qkvBias;
    private final boolean headNorms;

    Family(String modelType, String architecture, boolean qkvBias, boolean headNorms) {
        this.modelType = modelType;
        this.architecture = architecture;
        this.qkvBias = qkvBias;
        this.headNorms = headNorms;
    }

    /** {@return {@code model_type} of a {@code config.json}} */
    public String modelType() {
        return modelType;
    }

    /** {@return what a {@code config.json} names under {@code architectures}} */
    public String architecture() {
        return architecture;
    }

    /** {@return whether a vector is added to queries, keys and values} */
    public boolean qkvBias() {
        return qkvBias;
    }

    /** {@return whether each head of queries and keys is normed} */
    public boolean headNorms() {
        return headNorms;
    }

    /**
     * The family of a {@code config.json}.
     *
     * @param modelType its {@code model_type}, in lower case
     * @return the family; empty if this engine does not compute it
     */
    public static Optional<Family> of(String modelType) {
        return Arrays.stream(values())
                .filter(f -> f.modelType.equals(modelType))
                .findFirst();
    }
}
