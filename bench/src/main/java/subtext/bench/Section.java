package subtext.bench;

import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;

/** What one part of {@code bench/cpu.sh} found: a table for people, the measured values for machines, and remarks. */
final class Section {
    private final String title;
    private final List<String> columns;
    private final List<List<String>> rows = new ArrayList<>();
    private final List<String> notes = new ArrayList<>();
    private final List<Map<String, Object>> measured = new ArrayList<>();

    Section(String title, String... columns) {
        this.title = title;
        this.columns = List.of(columns);
    }

    /** A row of the table, also printed at once. */
    void row(Object... cells) {
        List<String> row = new ArrayList<>();
        for (Object cell : cells) {
            row.add(cell instanceof Double number ? number(number) : String.valueOf(cell));
        }
        rows.add(row);
        System.err.println("  " + String.join(" | ", row));
    }

    void note(String format, Object... arguments) {
        notes.add(String.format(Locale.ROOT, format, arguments));
    }

    /** A figure for machines: every round's value. */
    void measured(String what, String who, String unit, double... values) {
        Map<String, Object> one = new LinkedHashMap<>();
        one.put("what", what);
        one.put("who", who);
        one.put("unit", unit);
        one.put("values", values);
        measured.add(one);
    }

    /** Three digits that matter. */
    static String number(double value) {
        double size = Math.abs(value);
        return String.format(Locale.ROOT, size >= 99.95 ? "%.0f" : size >= 9.995 ? "%.1f" : "%.2f", value);
    }

    /** A ratio, to two places. */
    static String times(double ratio) {
        return String.format(Locale.ROOT, "%.2f", ratio);
    }

    Map<String, Object> tree() {
        Map<String, Object> tree = new LinkedHashMap<>();
        tree.put("title", title);
        tree.put("columns", columns);
        tree.put("rows", rows);
        tree.put("notes", notes);
        tree.put("measured", measured);
        return tree;
    }
}
