package subtext.run;

import java.util.Comparator;
import java.util.List;

/** Finds what was meant by a misspelt name. */
public final class Spelling {
    private Spelling() {}

    /**
     * {@return {@code ; did you mean 'x'?} if a known name is near, else an empty string}
     *
     * @param name as it was written; upper and lower case are the same
     * @param known all that it could have been
     */
    public static String hint(String name, List<String> known) {
        return known.stream()
                .min(Comparator.comparingInt(candidate -> distance(name.toLowerCase(), candidate.toLowerCase())))
                .filter(candidate ->
                        distance(name.toLowerCase(), candidate.toLowerCase()) <= Math.max(2, candidate.length() / 3))
                .map(candidate -> "; did you mean '" + candidate + "'?")
                .orElse("");
    }

    /** Insertions, deletions and replacements of a letter that lead from one name to the other. Levenshtein 1966. */
    static int distance(String a, String b) {
        int[] row = new int[b.length() + 1];
        for (int j = 0; j <= b.length(); j++) {
            row[j] = j;
        }
        for (int i = 1; i <= a.length(); i++) {
            int diagonal = row[0];
            row[0] = i;
            for (int j = 1; j <= b.length(); j++) {
                int replaced = diagonal + (a.charAt(i - 1) == b.charAt(j - 1) ? 0 : 1);
                diagonal = row[j];
                row[j] = Math.min(replaced, 1 + Math.min(row[j], row[j - 1]));
            }
        }
        return row[b.length()];
    }
}
