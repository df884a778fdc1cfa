package subtext.bench;

import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;

/**
 * Where each kernel stands: its arithmetic intensity, what it reaches, and which ceiling is above it. A kernel's bandwidth ceiling is that
 * of its own footprint, read, copied or changed in place by the same number of threads: operands that fit a cache are held against the cache.
 */
final class Roofline {
    private Roofline() {}

    /** The least time a call can take on this machine: by multiply-adds or by bytes, whichever takes longer. */
    static double bestSeconds(KernelCases.Case run, Ceilings ceilings, int threads) {
        return Math.max(
                run.flops() * 1e-9 / ceilings.fma(threads), run.bytes() * 1e-9 / bandwidth(run, ceilings, threads));
    }

    /** GB/s of the kernel's footprint: of reading it, or of copying or changing it, whichever is faster. */
    static double bandwidth(KernelCases.Case run, Ceilings ceilings, int threads) {
        long bytes = Math.max(1 << 16, (long) run.footprint());
        return run.readsOnly()
                ? ceilings.read(threads, bytes)
                : Math.max(ceilings.copy(threads, bytes), ceilings.update(threads, bytes));
    }

    /** One point. */
    private record Point(String kernel, double intensity, double gflops, double ceiling, double bandwidth) {}

    /** Measures all kernels of a shape and draws them. */
    static Section measure(Ceilings ceilings, ModelShape shape, int rows, int length, int rounds, Path figure)
            throws IOException {
        Section section = new Section(
                "Roofline: kernels at the " + shape.label() + " shape (" + rows + " rows, sequences of " + length + ")",
                "kernel",
                "FLOP/byte",
                "GFLOP/s",
                "GB/s",
                "µs",
                "ceiling, GB/s of its footprint",
                "bound by",
                "share of the ceiling");
        List<Point> points = new ArrayList<>();
        try (KernelState state = new KernelState()) {
            state.open();
            int threads = state.device.info().processors();
            double fma = ceilings.fma(threads);
            double memory = ceilings.copy(threads, Ceilings.MEMORY);
            Map<Long, Double> known = new HashMap<>();
            for (String name : KernelCases.NAMES) {
                state.clear();
                KernelCases.Case run = KernelCases.of(name, state, KernelCases.Sizes.of(shape, rows, length));
                run.verify().run();
                double[] seconds = new double[rounds];
                double bandwidth = 0;
                for (int round = 0; round < rounds; round++) {
                    // the ceiling in the same breath as the kernel
                    bandwidth = Math.max(bandwidth, bandwidth(run, ceilings, threads));
                    seconds[round] = Contest.secondsPerCall(0.05, () -> {
                        run.call().run();
                        state.device.synchronize();
                    });
                }
                double median = Contest.median(seconds);
                double byFlops = run.flops() * 1e-9 / fma;
                double byBytes = run.bytes() * 1e-9 / bandwidth;
                boolean compute = byFlops > byBytes;
                section.row(
                        name,
                        run.flops() == 0 ? "0" : Section.number(run.intensity()),
                        run.flops() * 1e-9 / median,
                        run.bytes() * 1e-9 / median,
                        median * 1e6,
                        bandwidth,
                        compute ? "multiply-adds" : run.footprint() < 32e6 ? "cache" : "memory",
                        Math.round(100 * Math.max(byFlops, byBytes) / median) + " %");
                section.measured(name, "subtext", "s", seconds);
                if (run.flops() > 0) {
                    points.add(new Point(name, run.intensity(), run.flops() * 1e-9 / median, fma, bandwidth));
                }
            }
            section.note(
                    "Multiply-adds from registers %.0f GFLOP/s, copying of memory %.1f GB/s, %d threads, measured between the kernels. "
                            + "A byte counts once however often a kernel reads it; `cache` means that the operands together are below 32 MB.",
                    fma, memory, threads);
            section.note(
                    "Exponentials, logarithms and random numbers count as one to a few operations each in FLOP/byte: of `sample`,"
                            + " which makes a random number and two logarithms an entry, 30.");
            draw(points, fma, memory, ceilings.copy(threads, 2 << 20), figure);
        }
        return section;
    }

    private static void draw(List<Point> points, double fma, double memory, double cache, Path figure)
            throws IOException {
        Svg svg = new Svg("Kernels under their ceilings", "FLOP per byte", "GFLOP/s", 0.05, 1000, 0.5, 2 * fma);
        svg.line("multiply-adds from registers", 0, fma / cache, fma, 1000, fma);
        svg.line("cache", 0, 0.05, 0.05 * cache, fma / cache, fma);
        svg.line("memory", 1, 0.05, 0.05 * memory, fma / memory, fma);
        for (Point point : points) {
            svg.point(point.kernel(), point.intensity(), point.gflops());
        }
        svg.write(figure);
    }
}
