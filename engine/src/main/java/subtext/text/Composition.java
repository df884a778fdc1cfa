package subtext.text;

import java.text.Normalizer;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;

/**
 * Unicode's composed form (NFC) in time linear in the text. Java's own normalizer brings marks into canonical order by insertion, which
 * takes minutes for a mebibyte of marks in the wrong order; so long runs of marks are put in order first, by counting. Marks in canonical
 * order are the same text to the normalizer (Unicode Standard Annex 15, D108 to D117).
 */
final class Composition {
    /** Shorter runs are left to Java: no language has longer ones. */
    private static final int LONG_RUN = 64;

    /** Marks of the lowest and the highest class of those that are reordered, 1 and 240. */
    private static final String LOWEST = "\u0334";

    private static final String HIGHEST = "\u0345";

    private Composition() {}

    static String nfc(String text) {
        return Normalizer.normalize(ordered(text), Normalizer.Form.NFC);
    }

    private static String ordered(String text) {
        StringBuilder whole = null;
        int copied = 0;
        for (int i = 0; i < text.length(); ) {
            int end = i;
            int size = 0;
            while (end < text.length() && isMark(text.codePointAt(end))) {
                end += Character.charCount(text.codePointAt(end));
                size++;
            }
            if (size > LONG_RUN) {
                whole = whole == null ? new StringBuilder(text.length()) : whole;
                whole.append(text, copied, i);
                order(text.substring(i, end), whole);
                copied = end;
            }
            i = end > i ? end : i + Character.charCount(text.codePointAt(i));
        }
        return whole == null ? text : whole.append(text, copied, text.length()).toString();
    }

    private static boolean isMark(int c) {
        return c >= 0x300
                && switch (Character.getType(c)) {
                    case Character.NON_SPACING_MARK, Character.COMBINING_SPACING_MARK, Character.ENCLOSING_MARK -> true;
                    default -> false;
                };
    }

    /** Appends a run of marks, decomposed and in canonical order. */
    private static void order(String run, StringBuilder out) {
        Map<Integer, int[]> decomposed = new HashMap<>();
        List<Integer> stretch = new ArrayList<>();
        run.codePoints().forEach(c -> {
            int[] parts = decomposed.computeIfAbsent(
                    c, key -> normal(Character.toString(key)).codePoints().toArray());
            for (int part : parts) {
                stretch.add(part);
            }
        });
        Map<Integer, Boolean> moving = new HashMap<>();
        int from = 0;
        for (int i = 0; i <= stretch.size(); i++) {
            // a mark of class 0 stays, and nothing passes it
            if (i == stretch.size() || !moving.computeIfAbsent(stretch.get(i), Composition::moves)) {
                sort(stretch.subList(from, i), out);
                if (i < stretch.size()) {
                    out.appendCodePoint(stretch.get(i));
                }
                from = i + 1;
            }
        }
    }

    private static boolean moves(int mark) {
        String m = Character.toString(mark);
        return !normal(m + LOWEST).equals(m + LOWEST) || !normal(HIGHEST + m).equals(HIGHEST + m);
    }

    /** Stable, by class; classes are told apart by whether the normalizer swaps two marks. */
    private static void sort(List<Integer> marks, StringBuilder out) {
        List<Integer> kinds = new ArrayList<>(marks.stream().distinct().toList());
        kinds.sort(Composition::compare);
        Map<Integer, Integer> rank = new HashMap<>();
        int ranks = 0;
        for (int i = 0; i < kinds.size(); i++) {
            if (i > 0 && compare(kinds.get(i - 1), kinds.get(i)) != 0) {
                ranks++;
            }
            rank.put(kinds.get(i), ranks);
        }
        int[] begin = new int[ranks + 2];
        for (int mark : marks) {
            begin[rank.get(mark) + 1]++;
        }
        for (int r = 0; r <= ranks; r++) {
            begin[r + 1] += begin[r];
        }
        int[] sorted = new int[marks.size()];
        for (int mark : marks) {
            sorted[begin[rank.get(mark)]++] = mark;
        }
        for (int mark : sorted) {
            out.appendCodePoint(mark);
        }
    }

    private static int compare(int a, int b) {
        String x = Character.toString(a);
        String y = Character.toString(b);
        if (!normal(x + y).equals(x + y)) {
            return 1;
        }
        return normal(y + x).equals(y + x) ? 0 : -1;
    }

    private static String normal(String text) {
        return Normalizer.normalize(text, Normalizer.Form.NFD);
    }
}
