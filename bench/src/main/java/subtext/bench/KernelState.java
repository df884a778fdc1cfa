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
import subtext.bindings.Matmul;
import subtext.bindings.Slab;
import subtext.bindings.Tensor;

/** A device and room for operands, opened on the benchmark's thread. One operation of a benchmark ends with a synchronisation. */
@State(Scope.Thread)
public class KernelState implements AutoCloseable {
    @Param("CPU")
    public Backend backend = Backend.CPU;

    @Param("F32")
    public DType dtype = DType.F32;

    /** CPU threads, 0 for one per core. */
    @Param("0")
    public int threads;

    @Param("OWN")
    public Matmul matmul = Matmul.OWN;

    Device device;
    Kernels k;
    private Slab slab;
    private long begin;
    private final SplittableRandom random = new SplittableRandom(7);

    /** 1 GiB to cut operands from. */
    @Setup(Level.Trial)
    public void open() {
        device = Device.open(
                backend, DeviceOptions.defaults().withThreads(threads).withMatmul(matmul));
        k = device.kernels();
        slab = device.slab("operands", s -> s.release(reserve(s)));
        begin = slab.mark();
    }

    private static long reserve(Slab s) {
        long mark = s.mark();
        s.tensor("all", DType.I32, 1L << 28);
        return mark;
    }

    /** Gives all operands back. */
    void clear() {
        slab.release(begin);
    }

    /** A tensor of standard normal values. */
    Tensor normal(String name, long... shape) {
        return fill(slab.tensor(name, dtype, shape));
    }

    /** The same in the type of statistics, gradients and logits. */
    Tensor real(String name, long... shape) {
        return fill(slab.tensor(name, dtype.real(), shape));
    }

    private Tensor fill(Tensor tensor) {
        k.fillNormal(tensor, 0, 1, 0, random.nextLong(), 0);
        return tensor;
    }

    /** Room for doubles. */
    Tensor doubles(String name, long n) {
        return slab.tensor(name, DType.F64, n);
    }

    /** Ids below {@code bound}. */
    Tensor ids(String name, int n, int bound) {
        return ints(name, random.ints(n, 0, bound).toArray());
    }

    /** Given integers. */
    Tensor ints(String name, int... values) {
        Tensor tensor = slab.tensor(name, DType.I32, values.length);
        device.upload(tensor, values);
        return tensor;
    }

    /** Random keys. */
    Tensor keys(String name, int n) {
        Tensor tensor = slab.tensor(name, DType.I64, n);
        device.upload(tensor, random.longs(n).toArray());
        return tensor;
    }

    Tensor scratch(long bytes) {
        return slab.tensor("scratch", DType.I32, bytes / 4 + 1);
    }

    @Override
    @TearDown(Level.Trial)
    public void close() {
        device.close();
    }
}
