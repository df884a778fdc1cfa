package subtext.evaluate;

import java.util.List;
import subtext.text.Tokens;

/** Something that continues prompts greedily, such as a network behind a generator. */
public interface Completer {
    /**
     * The most likely continuation of each prompt, token by token, lowest id first among equals.
     *
     * @param prompts each with at least one token; a continuation depends on its own prompt alone
     * @param stopToken ends a continuation and is its last token if it came within the limit
     * @param maxTokens most tokens of a continuation, stop token included
     * @return element i continues prompt i, without repeating it
     */
    List<Tokens> complete(List<Tokens> prompts, int stopToken, int maxTokens);
}
