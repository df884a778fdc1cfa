package subtext.report;

import java.util.ArrayList;
import java.util.List;
import java.util.Locale;

/**
 * Charts as SVG text, each drawn twice: wide, with the names of the series at their ends, and narrow for a telephone, with the names below; the
 * page's style shows one of them. Colours are the variables {@code --series-0} to {@code --series-7}, {@code --ink}, {@code --quiet} and {@code
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

    private static final Chart WIDE = new Chart("wide", 600, 300, 62, 156, 21);
    private static final Chart NARROW = new Chart("narrow", 340, 230, 54, 16, 40);
    private static final int TOP = 14;
    private static final int BOTTOM = 44;
    private static final int COLOURS = 8;
    private static final double LABEL_GAP = 14;
    private static final String[] DASHES = {"", "7 4", "2 3", "10 3 2 3", "5 2", "1 4", "12 4", "3 3 8 3"};

    private final String style;
    private final int width;
    private final int height;
    private final int left;
    private final int right;
    private final int longestName;

    private Chart(String style, int width, int height, int left, int right, int longestName) {
        this.style = style;
        this.width = width;
        this.height = height;
        this.left = left;
        this.right = right;
        this.longestName = longestName;
    }

    /** Whether the names of the series stand below the plot. */
    private boolean below() {
        return this == NARROW;
    }

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
        return drawn.isEmpty()
                ? ""
                : WIDE.drawLines(title, xName, yName, wholeX, drawn)
                        + NARROW.drawLines(title, xName, yName, wholeX, drawn);
    }

    private String drawLines(String title, String xName, String yName, boolean wholeX, List<Series> drawn) {
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
        StringBuilder svg = open(title, drawn.size());
        for (double tick : ticks) {
            frame.horizontal(svg, tick, label(tick, ticks));
        }
        double[] across = wholeX ? whole(x0, x1) : ticks(x0, x1, below() ? 4 : 6);
        for (double tick : across) {
            if (tick >= x0 - 1e-9 && tick <= x1 + 1e-9) {
                text(svg, frame.x(tick), height - BOTTOM + 16, "middle", "tick", label(tick, across));
            }
        }
        names(svg, xName, yName);
        List<double[]> ends = new ArrayList<>(); // y of the label, index of the series
        for (int i = 0; i < drawn.size(); i++) {
            Series s = drawn.get(i);
            line(svg, frame, s, i);
            if (below()) {
                key(svg, i, s.name(), !s.flat());
            } else {
                ends.add(new double[] {frame.y(s.points().getLast().y()), i});
            }
        }
        place(ends);
        for (double[] end : ends) {
            int i = (int) end[1];
            Series s = drawn.get(i);
            double y = frame.y(s.points().getLast().y());
            double x = s.flat() ? width - right : frame.x(s.points().getLast().x());
            svg.append(String.format(
                    Locale.ROOT,
                    "<path d=\"M%.1f %.1fL%d %.1f\" class=\"lead\"/>",
                    x + 5,
                    y,
                    width - right + 8,
                    end[0]));
            svg.append(marker(i, width - right + 13, end[0]));
            text(svg, width - right + 20, end[0] + 3.5, "start", "name", cut(s.name()));
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
        return shares.isEmpty()
                ? ""
                : WIDE.drawShares(title, xName, low, high, shares) + NARROW.drawShares(title, xName, low, high, shares);
    }

    private String drawShares(String title, String xName, double low, double high, List<Series> shares) {
        double most = shares.stream()
                .flatMap(s -> s.points().stream())
                .mapToDouble(Point::y)
                .max()
                .orElse(1);
        double[] ticks = ticks(0, most, 4);
        Frame frame = new Frame(low, high, 0, Math.max(most, ticks[ticks.length - 1]));
        StringBuilder svg = open(title, shares.size());
        for (double tick : ticks) {
            frame.horizontal(svg, tick, label(tick, ticks));
        }
        double[] across = ticks(low, high, 6);
        for (double tick : across) {
            if (tick >= low - 1e-9 && tick <= high + 1e-9) {
                text(svg, frame.x(tick), height - BOTTOM + 16, "middle", "tick", label(tick, across));
            }
        }
        names(svg, xName, "share");
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
            key(svg, i, shares.get(i).name(), false);
        }
        return svg.append("</svg>").toString();
    }

    /** The name of a series with its dash and, if it has one, its marker: beside the plot at the top, or below it. */
    private void key(StringBuilder svg, int i, String name, boolean marked) {
        double x = below() ? left : width - right + 8;
        double y = below() ? height + LABEL_GAP / 2 + i * (LABEL_GAP + 4) : TOP + 10 + i * (LABEL_GAP + 4);
        svg.append(String.format(Locale.ROOT, "<path d=\"M%.1f %.1fh22\" class=\"line\"%s/>", x, y, stroke(i)));
        if (marked) {
            svg.append(marker(i, x + 11, y));
        }
        text(svg, x + 27, y + 3.5, "start", "name", cut(name));
    }

    private void line(StringBuilder svg, Frame frame, Series s, int i) {
        if (s.flat()) {
            Point p = s.points().getLast();
            svg.append(String.format(
                    Locale.ROOT,
                    "<path d=\"M%d %.1fH%d\" class=\"line flat\"%s><title>%s: %s</title></path>",
                    left,
                    frame.y(p.y()),
                    width - right,
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
    private void place(List<double[]> ends) {
        ends.sort((a, b) -> Double.compare(a[0], b[0]));
        for (int i = 1; i < ends.size(); i++) {
            ends.get(i)[0] = Math.max(ends.get(i)[0], ends.get(i - 1)[0] + LABEL_GAP);
        }
        double limit = height - BOTTOM + 6.0;
        for (int i = ends.size() - 1; i >= 0; i--) {
            ends.get(i)[0] = Math.min(ends.get(i)[0], limit);
            limit = ends.get(i)[0] - LABEL_GAP;
        }
    }

    /** Series that share a colour have other dashes. */
    private static String dash(int i) {
        return DASHES[(i + i / COLOURS) % DASHES.length];
    }

    private static String stroke(int i) {
        return " style=\"stroke:var(--series-" + i % COLOURS + ")\""
                + (dash(i).isEmpty() ? "" : " stroke-dasharray=\"" + dash(i) + "\"");
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

    private StringBuilder open(String title, int series) {
        int whole = below() ? height + (int) Math.ceil(LABEL_GAP / 2 + series * (LABEL_GAP + 4)) : height;
        return new StringBuilder("<svg class=\"" + style + "\" viewBox=\"0 0 " + width + " " + whole
                + "\" role=\"img\" aria-label=\"" + Html.text(title) + "\"><title>" + Html.text(title) + "</title>");
    }

    private void names(StringBuilder svg, String xName, String yName) {
        text(svg, (left + width - right) / 2.0, height - 8, "middle", "axis", xName);
        svg.append(String.format(
                Locale.ROOT,
                "<text transform=\"translate(12 %.1f) rotate(-90)\" text-anchor=\"middle\" class=\"axis\">%s</text>",
                (TOP + height - BOTTOM) / 2.0,
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

    private String cut(String name) {
        return name.length() <= longestName ? name : name.substring(0, longestName - 1) + "\u2026";
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
            // a share of nothing is drawn from zero up
            low = low >= 0 ? Math.max(0, low - range / 2) : low - range / 2;
            high = low + range;
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
    private final class Frame {
        private final double x0;
        private final double x1;
        private final double y0;
        private final double y1;

        Frame(double x0, double x1, double y0, double y1) {
            this.x0 = x0;
            this.x1 = x1;
            this.y0 = y0;
            this.y1 = y1;
        }

        double x(double value) {
            return left + (value - x0) / (x1 - x0) * (width - left - right);
        }

        double y(double value) {
            return height - BOTTOM - (value - y0) / (y1 - y0) * (height - TOP - BOTTOM);
        }

        void horizontal(StringBuilder svg, double value, String label) {
            svg.append(String.format(
                    Locale.ROOT, "<path d=\"M%d %.1fH%d\" class=\"grid\"/>", left, y(value), width - right));
            text(svg, left - 7, y(value) + 3.5, "end", "tick", label);
        }
    }
}
