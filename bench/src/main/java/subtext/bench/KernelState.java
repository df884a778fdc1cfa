package subtext.bench;

import java.util.SplittableRandom;
import org.openjdk.jmh.annotations.Level;
import org.openjdk.jmh.annotations.Param;
import org.openjdk.jmh.annotations.Scope;
import org.openjdk.jmh.annotations.Setup;
import org.openjdk.jmh.annotations.State;
import org.openjdk.jmh.annotations.TearDown;
import subtext.bindings.Backend;
import subtext.bindings.DType;
import subtext.bindings.Device;
import subtext.bindings.DeviceOptions;
import subtext.bindings.Kernels;
import subtext.bindings.Slab;
import subtext.bindings.Tensor;

/** A device and room for operands, opened on the benchmark's thread. One operation of a benchmark ends with a synchronisation. */
@State(Scope.Thread)
public class KernelState {
    @Param("CPU")
    public Backend backend;

    @Param("F32")
    public DType dtype;

    @Param("0")
    public int threads;

    Device device;
    Kernels k;
    private Slab slab;
    private final SplittableRandom random = new SplittableRandom(7);

    /** 1 GiB to cut operands from. */
    @Setup(Level.Trial)
    public void open() {
        device = Device.open(backend, DeviceOptions.defaults().withThreads(threads));
        k = device.kernels();
        slab = device.slab("operands", s -> s.release(reserve(s)));
    }

    private static long reserve(Slab s) {
        long mark = s.mark();
        s.tensor("all", DType.I32, 1L << 28);
        return mark;
    }

    /** A tensor of standard normal values. */
    Tensor normal(String name, long... shape) {
        Tensor tensor = slab.tensor(name, dtype, shape);
        k.fillNormal(tensor, 0, 1, 0, random.nextLong(), 0);
        return tensor;
    }

    /** The same in the type of statistics, gradients and logits. */
    Tensor real(String name, long... shape) {
        Tensor tensor = slab.tensor(name, dtype.real(), shape);
        k.fillNormal(tensor, 0, 1, 0, random.nextLong(), 0);
        return tensor;
    }

    /** Ids below {@code bound}. */
    Tensor ids(String name, int n, int bound) {
        Tensor tensor = slab.tensor(name, DType.I32, n);
        device.upload(tensor, random.ints(n, 0, bound).toArray());
        return tensor;
    }

    /** Given integers. */
    Tensor ints(String name, int... values) {
        Tensor tensor = slab.tensor(name, DType.I32, values.length);
        device.upload(tensor, values);
        return tensor;
    }

    Tensor keys(String name, int n) {
        Tensor tensor = slab.tensor(name, DType.I64, n);
        device.upload(tensor, random.longs(n).toArray());
        return tensor;
    }

    Tensor scratch(long bytes) {
        return slab.tensor("scratch", DType.I32, bytes / 4 + 1);
    }

    @TearDown(Level.Trial)
    public void close() {
        device.close();
    }
}
