package subtext.io;

import java.util.regex.Pattern;
import tools.jackson.core.JacksonException;
import tools.jackson.core.TokenStreamLocation;

/** What is wrong with a JSON text, in one line for the person who has the file. */
public final class JsonProblem {
    /** Where an object or a list was opened, in the parser's own terms, which say nothing about the file. */
    private static final Pattern MARKER = Pattern.compile("\\s*\\(start marker at \\[Source:.*?]\\)", Pattern.DOTALL);

    private JsonProblem() {}

    /**
     * {@return the parser's complaint in one line, with line and column where it knows them}
     *
     * @param e what reading the text threw
     */
    public static String of(JacksonException e) {
        String what = MARKER.matcher(String.valueOf(e.getOriginalMessage()))
                .replaceAll("")
                .replaceAll("\\s*\\R\\s*", " ")
                .strip();
        TokenStreamLocation at = e.getLocation();
        return at == null || at.getLineNr() < 1
                ? what
                : what + " (line " + at.getLineNr() + ", column " + Math.max(1, at.getColumnNr()) + ")";
    }
}
