package subtext.text;

import java.util.ArrayList;
import java.util.List;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/**
 * How text is cut into words before byte-pair merging: the patterns of the models in use, known by their text. Others are refused, since a
 * pattern from a file may take exponential time.
 */
enum Splitting {
    GPT2("'(?:[sdmt]|ll|ve|re)| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+"),
    GPT2_SPELLED("'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+"),
    LLAMA3(
            "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"),
    QWEN2(
            "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"),
    /** Every digit alone, all else untouched. */
    DIGITS("\\p{Nd}|\\P{Nd}+");

    private final String text;
    private final Pattern pattern;

    Splitting(String text) {
        this.text = text;
        // \s is Unicode's white space, as in the original regular expression engine
        this.pattern = Pattern.compile(text.replace("\\s", "\\p{IsWhite_Space}").replace("\\S", "\\P{IsWhite_Space}"));
    }

    /** The pattern as written in {@code tokenizer.json}. */
    String text() {
        return text;
    }

    /** The words of a text; concatenated, they are the text. */
    List<String> split(String whole) {
        List<String> words = new ArrayList<>();
        Matcher matcher = pattern.matcher(whole);
        int at = 0;
        while (matcher.find()) {
            if (matcher.start() > at) {
                words.add(whole.substring(at, matcher.start()));
            }
            words.add(matcher.group());
            at = matcher.end();
        }
        if (at < whole.length()) {
            words.add(whole.substring(at));
        }
        return words;
    }
}
