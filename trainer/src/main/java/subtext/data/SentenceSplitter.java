package subtext.data;

import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.Set;

/**
 * Cuts text into sentences without losing a character: the sentences concatenated are the text. A paragraph ends at a blank line, which
 * stays with its last sentence; white space between two sentences stays with the second.
 */
public final class SentenceSplitter {
    // Words that end in a full stop without ending a sentence; a single letter (an initial) is another case.
    private static final Set<String> ABBREVIATIONS = Set.of(
            "mr", "mrs", "ms", "dr", "prof", "st", "sr", "jr", "vs", "etc", "eg", "e.g", "ie", "i.e", "cf", "fig", "eq",
            "no", "vol", "al", "approx", "dept", "inc", "ltd", "co", "u.s", "a.m", "p.m");

    private static final int LONGEST_ABBREVIATION = 8; // longer than any above: what is cut there is none

    private static final int MOST_MARKS =
            64; // stops, quotes and brackets at the end of a sentence; a longer run is no such end

    /** A splitter, which keeps nothing from one text to the next. */
    public SentenceSplitter() {}

    /**
     * {@return the sentences of a text, none of them empty; concatenated they are the text} Time is linear in the text.
     *
     * @param text any; an empty one has no sentences
     */
    public List<String> split(String text) {
        List<String> sentences = new ArrayList<>();
        int from = 0;
        int at = 0;
        int first = 0; // where text begins
        while (first < text.length() && Character.isWhitespace(text.charAt(first))) {
            first++;
        }
        int last = text.length(); // where it ends
        while (last > first && Character.isWhitespace(text.charAt(last - 1))) {
            last--;
        }
        while (at < last) {
            int end = at < first ? -1 : endOfParagraph(text, at);
            if (end < 0) {
                end = endOfSentence(text, from, at);
            }
            if (end < 0) {
                at++;
            } else {
                sentences.add(text.substring(from, end));
                from = end;
                at = end;
            }
        }
        if (from < text.length()) {
            if (text.substring(from).isBlank() && !sentences.isEmpty()) {
                sentences.add(sentences.removeLast() + text.substring(from));
            } else {
                sentences.add(text.substring(from));
            }
        }
        return sentences;
    }

    /** If a blank line starts at {@code at}, before which text stands: the first character after all white space, else -1. */
    private static int endOfParagraph(String text, int at) {
        if (text.charAt(at) != '\n') {
            return -1;
        }
        int lines = 0;
        int end = at;
        while (end < text.length() && Character.isWhitespace(text.charAt(end))) {
            lines += text.charAt(end) == '\n' ? 1 : 0;
            end++;
        }
        return lines >= 2 && end < text.length() ? end : -1;
    }

    /** If a sentence ends with the character at {@code at}: the place after its closing quotes and brackets, else -1. */
    private static int endOfSentence(String text, int from, int at) {
        char c = text.charAt(at);
        if (c != '.' && c != '!' && c != '?' && c != '。' && c != '！' && c != '？') {
            return -1;
        }
        int end = at + 1;
        while (end < text.length() && end - at < MOST_MARKS && ".!?\"')]}»”’".indexOf(text.charAt(end)) >= 0) {
            end++;
        }
        if (end == text.length()) {
            return end;
        }
        boolean wide = c > 0x7F; // full-width stops need no space after them
        if (!wide && !Character.isWhitespace(text.charAt(end))) {
            return -1;
        }
        if (c == '.' && end == at + 1 && isAbbreviation(text, from, at)) {
            return -1;
        }
        int next = end;
        while (next < text.length() && Character.isWhitespace(text.charAt(next))) {
            next++;
        }
        if (next == text.length()) {
            return next; // trailing white space belongs to the last sentence
        }
        return Character.isLowerCase(text.charAt(next)) ? -1 : blankLine(text, end, next) ? -1 : end;
    }

    // A blank line after the sentence ends the paragraph, which takes the white space with it.
    private static boolean blankLine(String text, int from, int to) {
        return text.substring(from, to).chars().filter(c -> c == '\n').count() >= 2;
    }

    private static boolean isAbbreviation(String text, int from, int at) {
        int start = at;
        while (start > from
                && at - start < LONGEST_ABBREVIATION
                && !Character.isWhitespace(text.charAt(start - 1))
                && "([\"'".indexOf(text.charAt(start - 1)) < 0) {
            start--;
        }
        String word = text.substring(start, at);
        return word.length() == 1 && Character.isUpperCase(word.charAt(0))
                || ABBREVIATIONS.contains(word.toLowerCase(Locale.ROOT));
    }
}
