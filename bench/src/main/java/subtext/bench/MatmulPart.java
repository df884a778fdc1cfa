package subtext.bench;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Comparator;
import java.util.List;
import java.util.Locale;
import java.util.Optional;
import subtext.bindings.Kernels;
import subtext.bindings.Matmul;
import subtext.bindings.Tensor;

/** Products of the three layouts at the shapes of three models, against OpenBLAS, oneDNN and MKL on the same numbers. */
final class MatmulPart {
    private enum Layout {
        NT,
        NN,
        TN
    }

    private record Product(ModelShape model, String name, int rows, int out, int in) {}

    private MatmulPart() {}

    static Section measure(Peers peers, int threads, int rounds, double ceiling) {
        List<Sgemm> libraries = new ArrayList<>();
        List<String> columns = new ArrayList<>(List.of("model", "product", "layout", "M x N x K", "subtext"));
        List<String> missing = new ArrayList<>();
        for (Optional<Sgemm> library :
                List.of(Sgemm.openBlas(peers, threads), Sgemm.oneDnn(peers, threads), Sgemm.mkl(peers, threads))) {
            library.ifPresent(libraries::add);
        }
        for (String name : List.of("OpenBLAS", "oneDNN", "MKL")) {
            if (libraries.stream().noneMatch(library -> library.name().equals(name))) {
                missing.add(name);
            } else {
                columns.add(name);
            }
        }
        columns.add("of the best");
        List<Matmul> units = Units.here();
        if (units.size() > 1) {
            columns.addAll(List.of("--matmul amx", "of the best"));
        }
        Section section = new Section(
                "Matrix products, f32, " + threads + (threads == 1 ? " thread" : " threads") + ", GFLOP/s",
                columns.toArray(String[]::new));
        missing.forEach(name -> section.note("%s: %s.", name, Peers.FETCH));
        List<Product> products = new ArrayList<>();
        for (ModelShape m : List.of(ModelShape.TINY, ModelShape.SMALL, ModelShape.GPT124M)) {
            int rows = m == ModelShape.TINY ? 8192 : m == ModelShape.SMALL ? 4096 : 1024;
            products.add(new Product(m, "qkv", rows, 3 * m.width, m.width));
            products.add(new Product(m, "attention out", rows, m.width, m.width));
            products.add(new Product(m, "gate and up", rows, 2 * m.hidden, m.width));
            products.add(new Product(m, "down", rows, m.width, m.hidden));
        }
        double worst = Double.POSITIVE_INFINITY;
        int below = 0;
        int all = 0;
        double logs = 0;
        double worstUnit = Double.POSITIVE_INFINITY;
        double logsUnit = 0;
        for (Product product : products) {
            for (Layout layout : Layout.values()) {
                double[] ratios = measure(section, product, layout, units, libraries, threads, rounds);
                double ratio = ratios[0];
                if (Double.isFinite(ratio)) {
                    worstUnit = Math.min(worstUnit, ratios[ratios.length - 1]);
                    logsUnit += Math.log(ratios[ratios.length - 1]);
                    worst = Math.min(worst, ratio);
                    below += ratio < 0.95 ? 1 : 0;
                    all++;
                    logs += Math.log(ratio);
                }
            }
        }
        if (all > 0) {
            section.note(
                    "Of the best: median over %d rounds of ours over the library that is fastest by its median. Worst %.2f, geometric mean "
                            + "%.2f; %d of %d below 0.95. Multiply-adds from registers: %.0f GFLOP/s.",
                    rounds, worst, Math.exp(logs / all), below, all, ceiling);
        }
        if (units.size() > 1) {
            section.note(
                    "--matmul amx multiplies f32 by the matrix unit, in three parts of bf16 whose products leave out 2^-25 of one"
                            + " (native/cpu/amx.h); held to the libraries' results within the same bound as the vectors. Of the best: worst"
                            + " %.2f, geometric mean %.2f.",
                    worstUnit, Math.exp(logsUnit / all));
        }
        section.note(
                "NT and NN gave the same bits in one call and cut into batches of 1, 7, 97 and the remaining rows.");
        return section;
    }

    private static double[] measure(
            Section section,
            Product product,
            Layout layout,
            List<Matmul> units,
            List<Sgemm> libraries,
            int threads,
            int rounds) {
        // forward: rows x out from in; input gradient: rows x in from out; weight gradient: out x in from rows
        int m = layout == Layout.TN ? product.out : product.rows;
        int n = layout == Layout.NT ? product.out : product.in;
        int k = layout == Layout.NT ? product.in : layout == Layout.NN ? product.out : product.rows;
        List<Operands> all = new ArrayList<>();
        try (Arena arena = Arena.ofConfined()) {
            for (Matmul unit : units) {
                all.add(new Operands(unit, layout, m, n, k, threads));
            }
            float[] ours = all.getFirst().product();
            MemorySegment aCopy = copy(arena, all.getFirst().values(all.getFirst().a));
            MemorySegment bCopy = copy(arena, all.getFirst().values(all.getFirst().b));
            MemorySegment theirs = Sgemm.large(arena, 4L * m * n);
            double work = 2e-9 * m * n * k;
            List<Contest.Contender> contenders = new ArrayList<>();
            for (Operands one : all) {
                contenders.add(new Contest.Contender(
                        Units.name(one.state.matmul), () -> work / Contest.secondsPerCall(0.03, one::multiply)));
            }
            for (Sgemm library : libraries) {
                Runnable call = () -> library.multiply(
                        layout == Layout.TN,
                        layout == Layout.NT,
                        m,
                        n,
                        k,
                        aCopy,
                        bCopy,
                        layout == Layout.TN ? 1 : 0,
                        theirs);
                theirs.fill((byte) 0);
                call.run();
                for (Operands one : all) {
                    agree(library.name(), one == all.getFirst() ? ours : one.product(), theirs, k);
                }
                contenders.add(new Contest.Contender(library.name(), () -> work / Contest.secondsPerCall(0.03, call)));
            }
            List<Contest.Result> results = Contest.run(contenders, rounds);
            List<Object> row = new ArrayList<>(List.of(
                    product.model.label(), product.name, layout, String.format(Locale.ROOT, "%d x %d x %d", m, n, k)));
            List<Contest.Result> own = results.subList(0, units.size());
            List<Contest.Result> others = results.subList(units.size(), results.size());
            results.forEach(result -> section.measured(
                    product.model.label() + " " + product.name + " " + layout,
                    result.name(),
                    "GFLOP/s",
                    result.rates()));
            Contest.Result best = others.stream()
                    .max(Comparator.comparingDouble(Contest.Result::median))
                    .orElse(null);
            row.add(own.getFirst().median());
            others.forEach(result -> row.add(result.median()));
            for (Contest.Result one : own) {
                if (one != own.getFirst()) {
                    row.add(one.median());
                }
                row.add(best == null ? "" : Section.times(one.over(best)));
            }
            section.row(row.toArray());
            return own.stream()
                    .mapToDouble(one -> best == null ? Double.NaN : one.over(best))
                    .toArray();
        } finally {
            all.forEach(Operands::close);
        }
    }

    /** The operands of one product on one unit. */
    private static final class Operands implements AutoCloseable {
        private final KernelState state = new KernelState();
        private final Layout layout;
        private final Tensor a;
        private final Tensor b;
        private final Tensor c;

        Operands(Matmul unit, Layout layout, int m, int n, int k, int threads) {
            this.layout = layout;
            state.threads = threads;
            state.matmul = unit;
            state.open();
            a = layout == Layout.TN ? state.normal("a", k, m) : state.normal("a", m, k);
            b = layout == Layout.NT ? state.normal("b", n, k) : state.normal("b", k, n);
            c = state.real("c", m, n);
        }

        void multiply() {
            MatmulPart.multiply(state.k, layout, c, a, b);
            state.device.synchronize();
        }

        /** The product, checked to have the same bits in other batches. */
        float[] product() {
            state.device.zero(c);
            multiply();
            float[] whole = values(c);
            if (layout != Layout.TN) {
                split(state, layout, c, a, b, whole);
            }
            return whole;
        }

        float[] values(Tensor tensor) {
            return state.device.downloadFloats(tensor);
        }

        @Override
        public void close() {
            state.close();
        }
    }

    private static void multiply(Kernels k, Layout layout, Tensor c, Tensor a, Tensor b) {
        switch (layout) {
            case NT -> k.matmulNT(c, a, b);
            case NN -> k.matmulNN(c, a, b);
            case TN -> k.matmulTN(c, a, b);
        }
    }

    /** The same rows in batches of other sizes, to the bit. */
    private static void split(KernelState state, Layout layout, Tensor c, Tensor a, Tensor b, float[] whole) {
        long rows = a.shape().rows();
        long from = 0;
        state.device.zero(c);
        for (long size : new long[] {1, 7, 97, rows - 105}) {
            multiply(state.k, layout, c.rows(from, from + size), a.rows(from, from + size), b);
            from += size;
        }
        if (!Arrays.equals(whole, state.device.downloadFloats(c))) {
            throw new IllegalStateException("matmul" + layout + ": rows in other batches have other bits");
        }
    }

    private static MemorySegment copy(Arena arena, float[] values) {
        MemorySegment segment = Sgemm.large(arena, 4L * values.length);
        MemorySegment.copy(values, 0, segment, ValueLayout.JAVA_FLOAT, 0, values.length);
        return segment;
    }

    private static void agree(String name, float[] ours, MemorySegment theirs, int k) {
        for (int i = 0; i < ours.length; i += 1 + ours.length / 5000) {
            float value = theirs.getAtIndex(ValueLayout.JAVA_FLOAT, i);
            if (!(Math.abs(value - ours[i]) <= 1e-5 * k + 1e-5)) {
                throw new IllegalStateException(name + " computes another product: " + value + " for " + ours[i]);
            }
        }
    }
}
