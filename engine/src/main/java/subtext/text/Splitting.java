package subtext.text;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Optional;
import java.util.function.Consumer;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/**
 * How text is cut into words before byte-pair merging: the patterns of the models in use, known by their text. Others are refused, since a
 * pattern from a file may take exponential time; these take time linear in the text, whatever it is.
 */
enum Splitting {
    GPT2("'(?:[sdmt]|ll|ve|re)| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+"),
    GPT2_SPELLED("'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+"),
    LLAMA3(
            "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"),
    QWEN2(
            "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"),
    /** Mistral's later models. */
    TEKKEN(
            "[^\\r\\n\\p{L}\\p{N}]?[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]*[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]+|[^\\r\\n\\p{L}\\p{N}]?[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]+[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]*|\\p{N}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"),
    /** Every number alone, be it a digit, a fraction or a Roman numeral; all else untouched. */
    DIGITS("\\p{N}|\\P{N}+");

    private final String text;
    private final Pattern pattern;

    Splitting(String text) {
        this.text = text;
        // \s is Unicode's white space and case is Unicode's, as in the original regular expression engine
        this.pattern = Pattern.compile(text.replace("(?i:", "(?iu:")
                .replace("\\s", "\\p{IsWhite_Space}")
                .replace("\\S", "\\P{IsWhite_Space}"));
    }

    /** The pattern as written in {@code tokenizer.json}. */
    String text() {
        return text;
    }

    /** The one with that pattern. */
    static Optional<Splitting> of(String text) {
        return Arrays.stream(values()).filter(known -> known.text.equals(text)).findFirst();
    }

    /** Hands out the words of a text in order; concatenated, they are the text. */
    void each(String whole, Consumer<String> word) {
        Matcher matcher = pattern.matcher(whole);
        int at = 0;
        while (matcher.find()) {
            if (matcher.start() > at) {
                word.accept(whole.substring(at, matcher.start()));
            }
            word.accept(matcher.group());
            at = matcher.end();
        }
        if (at < whole.length()) {
            word.accept(whole.substring(at));
        }
    }

    /** The words of a text. */
    List<String> split(String whole) {
        List<String> words = new ArrayList<>();
        each(whole, words::add);
        return words;
    }
}
