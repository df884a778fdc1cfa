package subtext.bench;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;

/** A plot with two logarithmic axes, black on white: lines differ by their dashes, points by their marks, and each carries its name. */
final class Svg {
    private static final int WIDTH = 860;
    private static final int HEIGHT = 520;
    private static final int LEFT = 70;
    private static final int RIGHT = 170;
    private static final int TOP = 44;
    private static final int BOTTOM = 56;
    private static final String[] DASHES = {"", "9 5", "2 4", "12 4 2 4", "5 3", "1 6"};

    private final StringBuilder body = new StringBuilder();
    private final double x0;
    private final double x1;
    private final double y0;
    private final double y1;
    private final List<double[]> labels = new ArrayList<>();
    private int marks;

    Svg(String title, String xName, String yName, double x0, double x1, double y0, double y1) {
        this.x0 = Math.log10(x0);
        this.x1 = Math.log10(x1);
        this.y0 = Math.log10(y0);
        this.y1 = Math.log10(y1);
        text(WIDTH / 2.0 - RIGHT / 2.0, 24, title, "middle", 17, 0);
        text((LEFT + WIDTH - RIGHT) / 2.0, HEIGHT - 14, xName, "middle", 14, 0);
        text(18, (TOP + HEIGHT - BOTTOM) / 2.0, yName, "middle", 14, -90);
        for (double decade = Math.floor(this.x0); decade <= this.x1; decade++) {
            for (int digit : new int[] {1, 2, 5}) {
                tickX(digit * Math.pow(10, decade));
            }
        }
        for (double decade = Math.floor(this.y0); decade <= this.y1; decade++) {
            for (int digit : new int[] {1, 2, 5}) {
                tickY(digit * Math.pow(10, decade));
            }
        }
        shape(
                "<rect x=\"%d\" y=\"%d\" width=\"%d\" height=\"%d\" fill=\"none\" stroke=\"black\"/>%n",
                LEFT, TOP, WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM);
    }

    private void shape(String format, Object... arguments) {
        body.append(String.format(Locale.ROOT, format, arguments));
    }

    private void tickX(double value) {
        if (Math.log10(value) >= x0 - 1e-9 && Math.log10(value) <= x1 + 1e-9) {
            line(x(value), TOP, x(value), HEIGHT - BOTTOM, "#ccc", 0.7, "");
            text(x(value), HEIGHT - BOTTOM + 18, plain(value), "middle", 12, 0);
        }
    }

    private void tickY(double value) {
        if (Math.log10(value) >= y0 - 1e-9 && Math.log10(value) <= y1 + 1e-9) {
            line(LEFT, y(value), WIDTH - RIGHT, y(value), "#ccc", 0.7, "");
            text(LEFT - 6, y(value) + 4, plain(value), "end", 12, 0);
        }
    }

    private static String plain(double value) {
        return value >= 1
                ? String.format(Locale.ROOT, "%.0f", value)
                : String.format(Locale.ROOT, "%.3f", value).replaceAll("0+$", "");
    }

    private double x(double value) {
        return LEFT + (Math.log10(value) - x0) / (x1 - x0) * (WIDTH - LEFT - RIGHT);
    }

    private double y(double value) {
        double at = (Math.log10(value) - y0) / (y1 - y0);
        return HEIGHT - BOTTOM - Math.clamp(at, 0, 1) * (HEIGHT - TOP - BOTTOM);
    }

    private void line(double xa, double ya, double xb, double yb, String colour, double width, String dash) {
        shape(
                "<line x1=\"%.1f\" y1=\"%.1f\" x2=\"%.1f\" y2=\"%.1f\" stroke=\"%s\" stroke-width=\"%.1f\" stroke-dasharray=\"%s\"/>%n",
                xa, ya, xb, yb, colour, width, dash);
    }

    private void text(double x, double y, String text, String anchor, int size, int turn) {
        shape(
                "<text x=\"%.1f\" y=\"%.1f\" font-family=\"sans-serif\" font-size=\"%d\" text-anchor=\"%s\" transform=\"rotate(%d %.1f %.1f)\">%s</text>%n",
                x, y, size, anchor, turn, x, y, text.replace("&", "&amp;").replace("<", "&lt;"));
    }

    /** A straight line through the given x, y, x, y, ...; its name at the end. */
    void line(String name, int dash, double... points) {
        for (int i = 2; i < points.length; i += 2) {
            line(
                    x(points[i - 2]),
                    y(points[i - 1]),
                    x(points[i]),
                    y(points[i + 1]),
                    "black",
                    1.6,
                    DASHES[dash % DASHES.length]);
        }
        int last = points.length - 2;
        label(x(points[last]) + 8, y(points[last + 1]) + (x(points[last]) > WIDTH - RIGHT - 40 ? 4 : -7), name);
    }

    /** Measured points joined by a line, the name at the last. */
    void series(String name, int which, double[] xs, double[] ys) {
        double[] points = new double[2 * xs.length];
        for (int i = 0; i < xs.length; i++) {
            points[2 * i] = xs[i];
            points[2 * i + 1] = ys[i];
            mark(which, x(xs[i]), y(ys[i]));
        }
        line(name, which, points);
    }

    /** A single point with its name. */
    void point(String name, double px, double py) {
        mark(marks++, x(px), y(py));
        label(x(px) + 7, y(py) + 4, name);
    }

    private void mark(int which, double x, double y) {
        switch (which % 4) {
            case 0 -> shape("<circle cx=\"%.1f\" cy=\"%.1f\" r=\"4\" fill=\"black\"/>%n", x, y);
            case 1 ->
                shape(
                        "<rect x=\"%.1f\" y=\"%.1f\" width=\"8\" height=\"8\" fill=\"white\" stroke=\"black\"/>%n",
                        x - 4, y - 4);
            case 2 -> shape("<path d=\"M %.1f %.1f l 5 9 l -10 0 z\" fill=\"black\"/>%n", x, y - 5);
            default ->
                shape("<path d=\"M %.1f %.1f l 5 5 l -5 5 l -5 -5 z\" fill=\"white\" stroke=\"black\"/>%n", x, y - 5);
        }
    }

    /** A label near its place, moved down until it covers no other. */
    private void label(double x, double y, String name) {
        double width = 6.2 * name.length();
        double free = y;
        boolean moved = true;
        while (moved) {
            moved = false;
            for (double[] other : labels) {
                if (Math.abs(free - other[1]) < 12 && x < other[0] + other[2] && other[0] < x + width) {
                    free = other[1] + 12.5;
                    moved = true;
                }
            }
        }
        labels.add(new double[] {x, free, width});
        if (free > y + 1) {
            line(x - 2, y - 3, x - 1, free - 4, "#888", 0.6, "");
        }
        text(x, free, name, "start", 11, 0);
    }

    void write(Path file) throws IOException {
        Files.createDirectories(file.getParent());
        Files.writeString(
                file,
                String.format(
                        Locale.ROOT,
                        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %d %d\" width=\"%d\" height=\"%d\">%n<rect width=\"100%%\" height=\"100%%\" fill=\"white\"/>%n%s</svg>%n",
                        WIDTH,
                        HEIGHT,
                        WIDTH,
                        HEIGHT,
                        body));
    }
}
