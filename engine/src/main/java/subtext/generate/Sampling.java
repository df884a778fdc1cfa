package subtext.generate;

import subtext.bindings.EngineException;

/**
 * The law to draw from and when to stop.
 *
 * @param temperature divides the logits; 0 takes the most likely token, and log-probabilities are then those of temperature 1
 * @param topK keeps the k most likely tokens; 0 keeps all
 * @param topP then keeps the smallest set of most likely tokens that reaches this probability; 1 keeps all
 * @param stopToken ends a sample, which contains it; {@link #NO_STOP} for none
 * @param maxTokens the most tokens of a sample
 */
public record Sampling(double temperature, int topK, double topP, int stopToken, int maxTokens) {
    /** No token stops a sample. */
    public static final int NO_STOP = -1;

    /**
     * Checks every value.
     *
     * @throws EngineException.InvalidConfig naming the first field that cannot be
     */
    public Sampling {
        require(temperature >= 0 && Double.isFinite(temperature), "temperature", temperature, "0 or more");
        require(topK >= 0, "topK", topK, "0 (all) or more");
        require(topP > 0 && topP <= 1, "topP", topP, "a number in (0, 1]");
        require(stopToken >= NO_STOP, "stopToken", stopToken, "an id, or -1 for none");
        require(maxTokens > 0, "maxTokens", maxTokens, "1 or more");
    }

    /**
     * {@return the model's own law, whole: what the E-step draws from}
     *
     * @param stopToken ends a sample, which contains it; {@link #NO_STOP} for none
     * @param maxTokens the most tokens of a sample, 1 or more
     */
    public static Sampling exact(int stopToken, int maxTokens) {
        return new Sampling(1, 0, 1, stopToken, maxTokens);
    }

    /**
     * {@return the law that always takes the most likely token}
     *
     * @param stopToken ends a sample, which contains it; {@link #NO_STOP} for none
     * @param maxTokens the most tokens of a sample, 1 or more
     */
    public static Sampling greedy(int stopToken, int maxTokens) {
        return new Sampling(0, 0, 1, stopToken, maxTokens);
    }

    /** {@return whether draws follow the model's own law, so that log q is the model's log-probability} */
    public boolean isExact() {
        return temperature == 1 && topK == 0 && topP == 1;
    }

    private static void require(boolean holds, String field, Object value, String expected) {
        if (!holds) {
            throw new EngineException.InvalidConfig(field + ": expected " + expected + ", got " + value);
        }
    }
}
