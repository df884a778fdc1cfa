package subtext.generate;

import subtext.bindings.EngineException;
import subtext.text.Tokens;

/**
 * The law to draw from and when to stop.
 *
 * @param temperature divides the logits; 0 takes the most likely token, and log-probabilities are then those of temperature 1
 * @param topK keeps the k most likely tokens; 0 keeps all
 * @param topP then keeps the smallest set of most likely tokens that reaches this probability; 1 keeps all
 * @param stopTokens each of them ends a sample, which contains it; empty for none
 * @param maxTokens the most tokens of a sample
 */
public record Sampling(double temperature, int topK, double topP, Tokens stopTokens, int maxTokens) {
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
        for (int i = 0; i < stopTokens.size(); i++) {
            require(stopTokens.at(i) >= 0, "stopTokens", stopTokens.at(i), "ids");
        }
        require(maxTokens > 0, "maxTokens", maxTokens, "1 or more");
    }

    /**
     * A law with one token to stop at, or none.
     *
     * @param temperature divides the logits; 0 takes the most likely token
     * @param topK keeps the k most likely tokens; 0 keeps all
     * @param topP then keeps the smallest set of most likely tokens that reaches this probability; 1 keeps all
     * @param stopToken ends a sample, which contains it; {@link #NO_STOP} for none
     * @param maxTokens the most tokens of a sample
     */
    public Sampling(double temperature, int topK, double topP, int stopToken, int maxTokens) {
        this(temperature, topK, topP, stopToken == NO_STOP ? Tokens.EMPTY : Tokens.of(stopToken), maxTokens);
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

    /** Whether this token ends a sample. */
    boolean stopsAt(int token) {
        for (int i = 0; i < stopTokens.size(); i++) {
            if (stopTokens.at(i) == token) {
                return true;
            }
        }
        return false;
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
