import static org.bytedeco.pytorch.global.torch.cat;
import static org.bytedeco.pytorch.global.torch.cross_entropy_loss;
import static org.bytedeco.pytorch.global.torch.embedding;
import static org.bytedeco.pytorch.global.torch.linear;
import static org.bytedeco.pytorch.global.torch.rms_norm;
import static org.bytedeco.pytorch.global.torch.scaled_dot_product_attention;
import static org.bytedeco.pytorch.global.torch.set_num_threads;
import static org.bytedeco.pytorch.global.torch.silu;

import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.nio.ByteOrder;
import java.nio.FloatBuffer;
import java.nio.IntBuffer;
import java.nio.channels.FileChannel;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import org.bytedeco.javacpp.PointerScope;
import org.bytedeco.pytorch.AdamW;
import org.bytedeco.pytorch.AdamWOptions;
import org.bytedeco.pytorch.DoubleOptional;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.TensorOptional;
import org.bytedeco.pytorch.TensorVector;
import org.bytedeco.pytorch.global.torch.ScalarType;

/**
 * The training step of `train_torch.py` on the CPU by libtorch, which is faster there than Debian's PyTorch: f32, AdamW, SDPA. Takes weights
 * and tokens from a folder that `bench/cpu.sh` writes, prints a line when ready, and answers each line of its input with one step and its
 * {"seconds", "loss"}.
 *
 *   java -cp 'bench/peers/target/jars/*' -Dorg.bytedeco.openblas.load=mkl bench/peers/LibtorchTrain.java \
 *       FOLDER LAYERS WIDTH HEADS HIDDEN VOCABULARY LENGTH SEQUENCES THREADS
 */
public final class LibtorchTrain {
    private final int layers;
    private final int width;
    private final int heads;
    private final int hidden;
    private final int vocabulary;
    private final int length;
    private final int sequences;
    private final Tensor cos;
    private final Tensor sin;
    private final List<Tensor> matrices = new ArrayList<>();
    private final List<Tensor> norms = new ArrayList<>();
    private final FloatBuffer weights;

    private LibtorchTrain(String[] v) throws Exception {
        layers = Integer.parseInt(v[1]);
        width = Integer.parseInt(v[2]);
        heads = Integer.parseInt(v[3]);
        hidden = Integer.parseInt(v[4]);
        vocabulary = Integer.parseInt(v[5]);
        length = Integer.parseInt(v[6]);
        sequences = Integer.parseInt(v[7]);
        int half = width / heads / 2;
        float[] c = new float[length * half];
        float[] s = new float[length * half];
        for (int t = 0; t < length; t++) {
            for (int i = 0; i < half; i++) {
                double angle = t * Math.pow(10_000, -(double) i / half);
                c[t * half + i] = (float) Math.cos(angle);
                s[t * half + i] = (float) Math.sin(angle);
            }
        }
        cos = Tensor.create(c, 1, length, 1, half);
        sin = Tensor.create(s, 1, length, 1, half);
        // the order of subtext.model.ParameterTable: all matrices, then all norms
        weights = map(Path.of(v[0], "weights.f32")).asFloatBuffer();
        matrix(vocabulary, width);
        for (int l = 0; l < layers; l++) {
            matrix(3 * width, width);
            matrix(width, width);
            matrix(2 * hidden, width);
            matrix(width, hidden);
        }
        for (int n = 0; n < 2 * layers + 1; n++) {
            norms.add(parameter(width));
        }
    }

    private static java.nio.MappedByteBuffer map(Path file) throws Exception {
        try (FileChannel channel = FileChannel.open(file)) {
            java.nio.MappedByteBuffer bytes = channel.map(FileChannel.MapMode.READ_ONLY, 0, channel.size());
            bytes.order(ByteOrder.LITTLE_ENDIAN);
            return bytes;
        }
    }

    private void matrix(long rows, long columns) {
        matrices.add(parameter(rows, columns));
    }

    private Tensor parameter(long... shape) {
        long n = 1;
        for (long size : shape) {
            n *= size;
        }
        float[] values = new float[(int) n];
        weights.get(values);
        Tensor tensor = Tensor.create(values, shape);
        tensor.set_requires_grad(true);
        return tensor;
    }

    private Tensor rotate(Tensor x) {
        long half = width / heads / 2;
        Tensor a = x.narrow(3, 0, half);
        Tensor b = x.narrow(3, half, half);
        return cat(new TensorVector(a.mul(cos).sub(b.mul(sin)), b.mul(cos).add(a.mul(sin))), 3);
    }

    private Tensor norm(Tensor x, Tensor w) {
        return rms_norm(x, new long[] {width}, new TensorOptional(w), new DoubleOptional(1e-5));
    }

    private Tensor loss(Tensor tokens, Tensor targets) {
        Tensor x = embedding(matrices.get(0), tokens);
        for (int l = 0; l < layers; l++) {
            Tensor qkv = linear(norm(x, norms.get(2 * l)), matrices.get(1 + 4 * l))
                    .view(sequences, length, 3L * heads, width / heads);
            Tensor q = rotate(qkv.narrow(2, 0, heads)).transpose(1, 2);
            Tensor k = rotate(qkv.narrow(2, heads, heads)).transpose(1, 2);
            Tensor v = qkv.narrow(2, 2L * heads, heads).transpose(1, 2);
            Tensor y = scaled_dot_product_attention(
                    q, k, v, new TensorOptional(), 0.0, true, new DoubleOptional(), false);
            x = x.add(linear(y.transpose(1, 2).reshape((long) sequences * length, width), matrices.get(2 + 4 * l)));
            Tensor both = linear(norm(x, norms.get(2 * l + 1)), matrices.get(3 + 4 * l));
            Tensor mixed = silu(both.narrow(1, 0, hidden)).mul(both.narrow(1, hidden, hidden));
            x = x.add(linear(mixed, matrices.get(4 + 4 * l)));
        }
        return cross_entropy_loss(linear(norm(x, norms.get(2 * layers)), matrices.get(0)), targets);
    }

    private static AdamW adamw(List<Tensor> parameters, double decay) {
        AdamWOptions options = new AdamWOptions(1e-4);
        options.weight_decay().put(decay);
        // a std::tuple, which libstdc++ lays out from its last element
        options.betas().put(0, 0.95);
        options.betas().put(1, 0.9);
        options.eps().put(1e-8);
        return new AdamW(new TensorVector(parameters.toArray(Tensor[]::new)), options);
    }

    public static void main(String[] v) throws Exception {
        set_num_threads(Integer.parseInt(v[8]));
        LibtorchTrain peer = new LibtorchTrain(v);
        int rows = peer.sequences * peer.length;
        IntBuffer ids = map(Path.of(v[0], "tokens.i32")).asIntBuffer();
        int[] read = new int[rows];
        int[] next = new int[rows];
        for (int s = 0; s < peer.sequences; s++) {
            for (int t = 0; t < peer.length; t++) {
                read[s * peer.length + t] = ids.get(s * (peer.length + 1) + t);
                next[s * peer.length + t] = ids.get(s * (peer.length + 1) + t + 1);
            }
        }
        Tensor tokens = Tensor.create(read, rows).to(ScalarType.Long);
        Tensor targets = Tensor.create(next, rows).to(ScalarType.Long);
        AdamW matrices = adamw(peer.matrices, 0.01);
        AdamW norms = adamw(peer.norms, 0);
        System.out.println("{\"ready\": \"libtorch 2.10\"}");
        BufferedReader in = new BufferedReader(new InputStreamReader(System.in));
        while (in.readLine() != null) {
            long from = System.nanoTime();
            double loss;
            try (PointerScope scope = new PointerScope()) {
                Tensor sum = peer.loss(tokens, targets);
                sum.backward();
                matrices.step();
                norms.step();
                matrices.zero_grad();
                norms.zero_grad();
                loss = sum.item_float();
            }
            System.out.printf(
                    Locale.ROOT, "{\"seconds\": %.6f, \"loss\": %.6f}%n", (System.nanoTime() - from) * 1e-9, loss);
        }
    }
}
