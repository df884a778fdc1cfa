package subtext.report;

import java.util.ArrayList;
import java.util.List;
import java.util.Locale;

/**
 * Charts as SVG text. Colours are the variables {@code --series-0} to {@code --series-7}, {@code --ink}, {@code --quiet} and {@code
 * --grid} of the page, so they follow its light and dark theme; every series also has its own dash and marker and its name at its end, so that a
 * chart reads without colour.
 */
final class Chart {
    /** A point and, unless NaN, its interval. */
    record Point(double x, double y, double low, double high) {
        static Point of(double x, double y) {
            return new Point(x, y, Double.NaN, Double.NaN);
        }
    }

    /** {@code flat}: a horizontal line through its one value, such as a baseline. */
    record Series(String name, List<Point> points, boolean flat) {}

    private static final int WIDTH = 600;
    private static final int HEIGHT = 300;
    private static final int LEFT = 62;
    private static final int RIGHT = 156;
    private static final int TOP = 14;
    private static final int BOTTOM = 44;
    private static final int COLOURS = 8;
    private static final double LABEL_GAP = 14;
    private static final int LONGEST_NAME = 21;
    private static final String[] DASHES = {"", "7 4", "2 3", "10 3 2 3", "5 2", "1 4", "12 4", "3 3 8 3"};

    private Chart() {}

    /**
     * Lines over x with intervals as whiskers.
     *
     * @param title of the figure, read out by screen readers
     * @param xName axis, with its unit
     * @param yName axis, with its unit
     * @param wholeX ticks of x on whole numbers only
     */
    static String lines(String title, String xName, String yName, boolean wholeX, List<Series> series) {
        List<Series> drawn = series.stream().filter(s -> !s.points().isEmpty()).toList();
        if (drawn.isEmpty()) {
            return "";
        }
        double x0 = Double.MAX_VALUE;
        double x1 = -Double.MAX_VALUE;
        double y0 = Double.MAX_VALUE;
        double y1 = -Double.MAX_VALUE;
        for (Series s : drawn) {
            for (Point p : s.points()) {
                if (!s.flat()) {
                    x0 = Math.min(x0, p.x());
                    x1 = Math.max(x1, p.x());
                }
                y0 = Math.min(y0, Double.isNaN(p.low()) ? p.y() : Math.min(p.y(), p.low()));
                y1 = Math.max(y1, Double.isNaN(p.high()) ? p.y() : Math.max(p.y(), p.high()));
            }
        }
        if (x0 > x1) {
            x0 = 0;
            x1 = 1;
        }
        if (x0 == x1) {
            x0 -= 0.5;
            x1 += 0.5;
        }
        double[] ticks = ticks(y0, y1, 5);
        y0 = Math.min(y0, ticks[0]);
        y1 = Math.max(y1, ticks[ticks.length - 1]);
        Frame frame = new Frame(x0, x1, y0, y1);
        StringBuilder svg = open(title);
        for (double tick : ticks) {
            frame.horizontal(svg, tick, label(tick, ticks));
        }
        double[] across = wholeX ? whole(x0, x1) : ticks(x0, x1, 6);
        for (double tick : across) {
            if (tick >= x0 - 1e-9 && tick <= x1 + 1e-9) {
                text(svg, frame.x(tick), HEIGHT - BOTTOM + 16, "middle", "tick", label(tick, across));
            }
        }
        names(svg, xName, yName);
        List<double[]> ends = new ArrayList<>(); // y of the label, index of the series
        for (int i = 0; i < drawn.size(); i++) {
            Series s = drawn.get(i);
            line(svg, frame, s, i);
            ends.add(new double[] {frame.y(s.points().getLast().y()), i});
        }
        place(ends);
        for (double[] end : ends) {
            int i = (int) end[1];
            Series s = drawn.get(i);
            double y = frame.y(s.points().getLast().y());
            double x = s.flat() ? WIDTH - RIGHT : frame.x(s.points().getLast().x());
            svg.append(String.format(
                    Locale.ROOT,
                    "<path d=\"M%.1f %.1fL%d %.1f\" class=\"lead\"/>",
                    x + 5,
                    y,
                    WIDTH - RIGHT + 8,
                    end[0]));
            svg.append(marker(i, WIDTH - RIGHT + 13, end[0]));
            text(svg, WIDTH - RIGHT + 20, end[0] + 3.5, "start", "name", cut(s.name()));
        }
        return svg.append("</svg>").toString();
    }

    /** Shares of the values by bin, one step line per series, so that series of different size compare. */
    static String histogram(String title, String xName, double low, double high, int bins, List<Series> series) {
        List<Series> shares = new ArrayList<>();
        for (Series s : series) {
            if (s.points().isEmpty()) {
                continue;
            }
            int[] counts = new int[bins];
            for (Point p : s.points()) {
                int bin = (int) Math.floor((p.x() - low) / (high - low) * bins);
                counts[Math.max(0, Math.min(bins - 1, bin))]++;
            }
            List<Point> steps = new ArrayList<>();
            for (int b = 0; b < bins; b++) {
                double share = (double) counts[b] / s.points().size();
                steps.add(Point.of(low + (high - low) * b / bins, share));
                steps.add(Point.of(low + (high - low) * (b + 1) / bins, share));
            }
            shares.add(new Series(s.name(), steps, false));
        }
        if (shares.isEmpty()) {
            return "";
        }
        double most = shares.stream()
                .flatMap(s -> s.points().stream())
                .mapToDouble(Point::y)
                .max()
                .orElse(1);
        double[] ticks = ticks(0, most, 4);
        Frame frame = new Frame(low, high, 0, Math.max(most, ticks[ticks.length - 1]));
        StringBuilder svg = open(title);
        for (double tick : ticks) {
            frame.horizontal(svg, tick, label(tick, ticks));
        }
        double[] across = ticks(low, high, 6);
        for (double tick : across) {
            if (tick >= low - 1e-9 && tick <= high + 1e-9) {
                text(svg, frame.x(tick), HEIGHT - BOTTOM + 16, "middle", "tick", label(tick, across));
            }
        }
        names(svg, xName, "share");
        List<double[]> keys = new ArrayList<>();
        for (int i = 0; i < shares.size(); i++) {
            StringBuilder path = new StringBuilder();
            for (Point p : shares.get(i).points()) {
                path.append(String.format(
                        Locale.ROOT, "%s%.1f %.1f", path.isEmpty() ? "M" : "L", frame.x(p.x()), frame.y(p.y())));
            }
            svg.append("<path d=\"")
                    .append(path)
                    .append("\" class=\"line\"")
                    .append(stroke(i))
                    .append("/>");
            keys.add(new double[] {TOP + 10 + i * (LABEL_GAP + 4), i});
        }
        for (double[] key : keys) {
            int i = (int) key[1];
            svg.append(String.format(
                    Locale.ROOT, "<path d=\"M%d %.1fh22\" class=\"line\"%s/>", WIDTH - RIGHT + 8, key[0], stroke(i)));
            text(
                    svg,
                    WIDTH - RIGHT + 35,
                    key[0] + 3.5,
                    "start",
                    "name",
                    cut(shares.get(i).name()));
        }
        return svg.append("</svg>").toString();
    }

    private static void line(StringBuilder svg, Frame frame, Series s, int i) {
        if (s.flat()) {
            Point p = s.points().getLast();
            svg.append(String.format(
                    Locale.ROOT,
                    "<path d=\"M%d %.1fH%d\" class=\"line flat\"%s><title>%s: %s</title></path>",
                    LEFT,
                    frame.y(p.y()),
                    WIDTH - RIGHT,
                    stroke(i),
                    Html.text(s.name()),
                    interval(p)));
            return;
        }
        StringBuilder path = new StringBuilder();
        for (Point p : s.points()) {
            path.append(String.format(
                    Locale.ROOT, "%s%.1f %.1f", path.isEmpty() ? "M" : "L", frame.x(p.x()), frame.y(p.y())));
        }
        svg.append("<path d=\"")
                .append(path)
                .append("\" class=\"line\"")
                .append(stroke(i))
                .append("/>");
        boolean few = s.points().size() <= 24;
        for (Point p : s.points()) {
            if (!Double.isNaN(p.low())) {
                svg.append(String.format(
                        Locale.ROOT,
                        "<path d=\"M%.1f %.1fV%.1fm-3 0h6m-3 0V%.1fm-3 0h6\" class=\"whisker\" style=\"stroke:var(--series-%d)\"/>",
                        frame.x(p.x()),
                        frame.y(p.low()),
                        frame.y(p.high()),
                        frame.y(p.low()),
                        i % COLOURS));
            }
            if (few) {
                svg.append("<g>")
                        .append(marker(i, frame.x(p.x()), frame.y(p.y())))
                        .append("<title>")
                        .append(Html.text(s.name()))
                        .append(", ")
                        .append(trimmed(p.x()))
                        .append(": ")
                        .append(interval(p))
                        .append("</title></g>");
            }
        }
    }

    /** Moves labels apart that would overlap, as little as needed, inside the frame. */
    private static void place(List<double[]> ends) {
        ends.sort((a, b) -> Double.compare(a[0], b[0]));
        for (int i = 1; i < ends.size(); i++) {
            ends.get(i)[0] = Math.max(ends.get(i)[0], ends.get(i - 1)[0] + LABEL_GAP);
        }
        double limit = HEIGHT - BOTTOM + 6.0;
        for (int i = ends.size() - 1; i >= 0; i--) {
            ends.get(i)[0] = Math.min(ends.get(i)[0], limit);
            limit = ends.get(i)[0] - LABEL_GAP;
        }
    }

    private static String stroke(int i) {
        return " style=\"stroke:var(--series-" + i % COLOURS + ")\""
                + (DASHES[i % DASHES.length].isEmpty()
                        ? ""
                        : " stroke-dasharray=\"" + DASHES[i % DASHES.length] + "\"");
    }

    private static String marker(int i, double x, double y) {
        String fill = " style=\"fill:var(--series-" + i % COLOURS + ")\"";
        return switch (i % 4) {
            case 0 -> String.format(Locale.ROOT, "<circle cx=\"%.1f\" cy=\"%.1f\" r=\"3.6\"%s/>", x, y, fill);
            case 1 ->
                String.format(
                        Locale.ROOT,
                        "<rect x=\"%.1f\" y=\"%.1f\" width=\"6.6\" height=\"6.6\"%s/>",
                        x - 3.3,
                        y - 3.3,
                        fill);
            case 2 -> String.format(Locale.ROOT, "<path d=\"M%.1f %.1fl4.4 7.4h-8.8z\"%s/>", x, y - 4.6, fill);
            default ->
                String.format(Locale.ROOT, "<path d=\"M%.1f %.1fl4.6 4.6l-4.6 4.6l-4.6-4.6z\"%s/>", x, y - 4.6, fill);
        };
    }

    private static StringBuilder open(String title) {
        return new StringBuilder("<svg viewBox=\"0 0 " + WIDTH + " " + HEIGHT + "\" role=\"img\" aria-label=\""
                + Html.text(title) + "\"><title>" + Html.text(title) + "</title>");
    }

    private static void names(StringBuilder svg, String xName, String yName) {
        text(svg, (LEFT + WIDTH - RIGHT) / 2.0, HEIGHT - 8, "middle", "axis", xName);
        svg.append(String.format(
                Locale.ROOT,
                "<text transform=\"translate(12 %.1f) rotate(-90)\" text-anchor=\"middle\" class=\"axis\">%s</text>",
                (TOP + HEIGHT - BOTTOM) / 2.0,
                Html.text(yName)));
    }

    private static void text(StringBuilder svg, double x, double y, String anchor, String style, String text) {
        svg.append(String.format(
                Locale.ROOT,
                "<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"%s\" class=\"%s\">%s</text>",
                x,
                y,
                anchor,
                style,
                Html.text(text)));
    }

    private static String cut(String name) {
        return name.length() <= LONGEST_NAME ? name : name.substring(0, LONGEST_NAME - 1) + "\u2026";
    }

    private static String interval(Point p) {
        return Double.isNaN(p.low())
                ? trimmed(p.y())
                : trimmed(p.y()) + " [" + trimmed(p.low()) + ", " + trimmed(p.high()) + "]";
    }

    private static String trimmed(double value) {
        return String.format(Locale.ROOT, "%.4g", value);
    }

    /** Round values from at most {@code low} to at least {@code high}, some {@code wanted} of them. */
    static double[] ticks(double low, double high, int wanted) {
        double range = high - low;
        if (!(range > 0)) {
            range = Math.max(Math.abs(low) * 0.2, 0.1);
            low -= range / 2;
            high += range / 2;
        }
        double step = Math.pow(10, Math.floor(Math.log10(range / wanted)));
        for (double factor : new double[] {1, 2, 5, 10}) {
            if (range / (step * factor) <= wanted) {
                step *= factor;
                break;
            }
        }
        long first = (long) Math.floor(low / step + 1e-9);
        long last = (long) Math.ceil(high / step - 1e-9);
        double[] ticks = new double[(int) (last - first) + 1];
        for (int i = 0; i < ticks.length; i++) {
            ticks[i] = (first + i) * step;
        }
        return ticks;
    }

    private static double[] whole(double low, double high) {
        int first = (int) Math.ceil(low);
        int last = (int) Math.floor(high);
        int step = Math.max(1, (last - first) / 8);
        List<Double> ticks = new ArrayList<>();
        for (int t = first; t <= last; t += step) {
            ticks.add((double) t);
        }
        return ticks.stream().mapToDouble(Double::doubleValue).toArray();
    }

    /** With as many decimals as tell neighbours apart. */
    private static String label(double tick, double[] ticks) {
        double step = ticks.length > 1 ? Math.abs(ticks[1] - ticks[0]) : 1;
        int decimals = (int) Math.max(0, Math.min(6, Math.ceil(-Math.log10(step) - 1e-9)));
        return String.format(Locale.ROOT, "%." + decimals + "f", tick == 0 ? 0.0 : tick)
                .replace("-", "\u2212");
    }

    /** Values of an axis to places in the picture. */
    private record Frame(double x0, double x1, double y0, double y1) {
        double x(double value) {
            return LEFT + (value - x0) / (x1 - x0) * (WIDTH - LEFT - RIGHT);
        }

        double y(double value) {
            return HEIGHT - BOTTOM - (value - y0) / (y1 - y0) * (HEIGHT - TOP - BOTTOM);
        }

        void horizontal(StringBuilder svg, double value, String label) {
            svg.append(String.format(
                    Locale.ROOT, "<path d=\"M%d %.1fH%d\" class=\"grid\"/>", LEFT, y(value), WIDTH - RIGHT));
            text(svg, LEFT - 7, y(value) + 3.5, "end", "tick", label);
        }
    }
}
