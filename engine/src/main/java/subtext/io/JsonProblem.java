package subtext.io;

import java.util.regex.Pattern;
import tools.jackson.core.JacksonException;
import tools.jackson.core.TokenStreamLocation;

/** What is wrong with a JSON text, in one line for the person who has the file. */
public final class JsonProblem {
    /** Where an object or a list was opened, in the parser's own terms, which say nothing about the file. */
    private static final Pattern MARKER = Pattern.compile("\\s*\\(start marker at \\[Source:.*?]\\)", Pattern.DOTALL);

    private static final int MOST = 200;

    private JsonProblem() {}

    /**
     * {@return the parser's complaint in one line, with the column where it knows it}
     *
     * @param e what reading one line of a file threw; which one, the caller knows
     */
    public static String inLine(JacksonException e) {
        return at(e, "");
    }

    /**
     * {@return the parser's complaint in one line, with line and column where it knows them}
     *
     * @param e what reading the whole text threw
     */
    public static String of(JacksonException e) {
        TokenStreamLocation at = e.getLocation();
        return at(e, at == null ? "" : "line " + at.getLineNr() + ", ");
    }

    private static String at(JacksonException e, String line) {
        String what =
                plain(MARKER.matcher(String.valueOf(e.getOriginalMessage())).replaceAll(""));
        TokenStreamLocation at = e.getLocation();
        return at == null || at.getLineNr() < 1
                ? what
                : what + " (" + line + "column " + Math.max(1, at.getColumnNr()) + ")";
    }

    /** What may stand in a line on a terminal: controls and the like as in JSON, a name of a mebibyte cut. */
    private static String plain(String text) {
        StringBuilder out = new StringBuilder();
        for (char c : text.toCharArray()) {
            switch (Character.getType(c)) {
                case Character.CONTROL,
                        Character.FORMAT,
                        Character.LINE_SEPARATOR,
                        Character.PARAGRAPH_SEPARATOR,
                        Character.SURROGATE -> out.append(String.format("\\u%04x", (int) c));
                default -> out.append(c);
            }
            if (out.length() >= MOST) {
                return out.append("...").toString();
            }
        }
        return out.toString();
    }
}
