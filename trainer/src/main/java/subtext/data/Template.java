package subtext.data;

import java.util.ArrayList;
import java.util.List;
import java.util.Set;
import java.util.TreeSet;
import java.util.regex.Pattern;
import java.util.regex.PatternSyntaxException;
import subtext.bindings.EngineException;
import tools.jackson.databind.JsonNode;

/**
 * How the fields of a JSON record become a text. Between literal text stand places such as {@code {question}}; a place may pass its field
 * through filters, left to right:
 *
 * <ul>
 *   <li>{@code {answer|before:####}}: what stands before the last {@code ####}; the record is refused if there is none
 *   <li>{@code {answer|after:####}}: what stands after it
 *   <li>{@code {answer|drop:<<[^>]*>>}}: without every match of a regular expression
 *   <li>{@code {answer|trim}}: without white space at the ends
 * </ul>
 *
 * <p>Two braces, <code>{{</code> or <code>}}</code>, stand for one. A field may be a string, a number or a truth value.
 */
public final class Template {
    private sealed interface Part {}

    private record Literal(String text) implements Part {}

    private record Place(String field, List<Filter> filters) implements Part {}

    private sealed interface Filter {}

    private record Before(String mark) implements Filter {}

    private record After(String mark) implements Filter {}

    private record Drop(Pattern pattern) implements Filter {}

    private record Trim() implements Filter {}

    private final String source;
    private final List<Part> parts;

    private Template(String source, List<Part> parts) {
        this.source = source;
        this.parts = List.copyOf(parts);
    }

    /**
     * Reads a template.
     *
     * @param name what it is called in the configuration, for messages
     * @param source text with places in braces; empty: a template that is empty
     * @return the template read
     * @throws EngineException.InvalidConfig if a place does not end or a filter is not known
     */
    public static Template parse(String name, String source) {
        List<Part> parts = new ArrayList<>();
        StringBuilder literal = new StringBuilder();
        int at = 0;
        while (at < source.length()) {
            char c = source.charAt(at);
            if ((c == '{' || c == '}') && at + 1 < source.length() && source.charAt(at + 1) == c) {
                literal.append(c);
                at += 2;
            } else if (c == '{') {
                int end = source.indexOf('}', at);
                if (end < 0) {
                    throw new EngineException.InvalidConfig(
                            name + ": the place at character " + at + " has no closing }: " + source);
                }
                if (!literal.isEmpty()) {
                    parts.add(new Literal(literal.toString()));
                    literal.setLength(0);
                }
                parts.add(place(name, source.substring(at + 1, end)));
                at = end + 1;
            } else if (c == '}') {
                throw new EngineException.InvalidConfig(name + ": a } without its {: write }} for a brace in the text");
            } else {
                literal.append(c);
                at++;
            }
        }
        if (!literal.isEmpty()) {
            parts.add(new Literal(literal.toString()));
        }
        return new Template(source, parts);
    }

    private static Place place(String name, String inside) {
        String[] pieces = inside.split("\\|", -1);
        String field = pieces[0].strip();
        if (field.isEmpty()) {
            throw new EngineException.InvalidConfig(name + ": a place names no field: {" + inside + "}");
        }
        List<Filter> filters = new ArrayList<>();
        for (int i = 1; i < pieces.length; i++) {
            filters.add(filter(name, pieces[i]));
        }
        return new Place(field, List.copyOf(filters));
    }

    private static Filter filter(String name, String text) {
        int colon = text.indexOf(':');
        String verb = (colon < 0 ? text : text.substring(0, colon)).strip();
        String argument = colon < 0 ? "" : text.substring(colon + 1);
        boolean wantsArgument = !verb.equals("trim");
        if (wantsArgument == argument.isEmpty()) {
            throw new EngineException.InvalidConfig(name + ": unknown filter '" + text
                    + "'; there are before:MARK, after:MARK, drop:EXPRESSION and trim");
        }
        return switch (verb) {
            case "before" -> new Before(argument);
            case "after" -> new After(argument);
            case "trim" -> new Trim();
            case "drop" -> {
                try {
                    yield new Drop(Pattern.compile(argument));
                } catch (PatternSyntaxException e) {
                    throw new EngineException.InvalidConfig(
                            name + ": not a regular expression: " + argument + " (" + e.getDescription() + ")");
                }
            }
            default ->
                throw new EngineException.InvalidConfig(name + ": unknown filter '" + verb
                        + "'; there are before:MARK, after:MARK, drop:EXPRESSION and trim");
        };
    }

    /** {@return names of the fields it takes from a record, sorted} */
    public Set<String> fields() {
        Set<String> fields = new TreeSet<>();
        for (Part part : parts) {
            if (part instanceof Place place) {
                fields.add(place.field());
            }
        }
        return fields;
    }

    /** {@return true if the template is empty: it says nothing of any record} */
    public boolean isEmpty() {
        return parts.isEmpty();
    }

    /**
     * The text of one record.
     *
     * @param record a JSON object
     * @return the literal text with its places filled
     * @throws EngineException.InvalidInput if a field or a mark is missing, naming it
     */
    public String render(JsonNode record) {
        StringBuilder text = new StringBuilder();
        for (Part part : parts) {
            switch (part) {
                case Literal literal -> text.append(literal.text());
                case Place place -> text.append(render(place, record));
            }
        }
        return text.toString();
    }

    private static String render(Place place, JsonNode record) {
        JsonNode field = record.get(place.field());
        if (field == null || field.isNull()) {
            throw new EngineException.InvalidInput("field '" + place.field() + "' is missing");
        }
        if (field.isObject() || field.isArray()) {
            throw new EngineException.InvalidInput(
                    "field '" + place.field() + "': expected text, got a list or an object");
        }
        String value = field.asString();
        for (Filter filter : place.filters()) {
            value = switch (filter) {
                case Before before -> value.substring(0, find(value, before.mark(), place.field()));
                case After after ->
                    value.substring(find(value, after.mark(), place.field())
                            + after.mark().length());
                case Drop drop -> drop.pattern().matcher(value).replaceAll("");
                case Trim trim -> value.strip();
            };
        }
        return value;
    }

    private static int find(String value, String mark, String field) {
        int at = value.lastIndexOf(mark);
        if (at < 0) {
            throw new EngineException.InvalidInput("field '" + field + "' has no '" + mark + "'");
        }
        return at;
    }

    @Override
    public String toString() {
        return source;
    }
}
