// Matrix products in the three layouts.
#include <cmath>

#include "harness.h"

namespace op_tests {

namespace {

typedef std::vector<double> Values;

/// c[i][j] = base + sum over k of a(i, k) b(k, j), and the sum of the terms' magnitudes.
void product(Values& c, Values& size, int64_t M, int64_t N, int64_t K, const Values& a, int64_t ai, int64_t ak, const Values& b, int64_t bk,
             int64_t bj) {
    for (int64_t i = 0; i < M; i++) {
        for (int64_t j = 0; j < N; j++) {
            Wide sum = 0, magnitude = 0;
            for (int64_t k = 0; k < K; k++) {
                const Wide term = static_cast<Wide>(a[i * ai + k * ak]) * b[k * bk + j * bj];
                sum += term;
                magnitude += std::fabs(term);
            }
            c[i * N + j] = static_cast<double>(sum);
            size[i * N + j] = static_cast<double>(magnitude);
        }
    }
}

/// Roundings of a chain of K fused multiply-adds, as they add up in the mean, with a margin.
double chain(int64_t K) { return 2 * std::sqrt(static_cast<double>(K)) + 4; }

int64_t depthOf(Trial& t) { return t.index % 8 == 7 ? t.size("K", 900) : t.size("K", 257); }

void testNt(Trial& t) {
    const int64_t M = t.size("M", 200), N = t.size("N", 200), K = depthOf(t);
    const bool wide = t.dtype == ST_BF16 && t.random.below(2);
    const int residual = static_cast<int>(t.random.below(3));  // none, another buffer, c itself
    t.note("residual", residual);
    const st_dtype out = wide ? ST_F32 : t.dtype;
    const Values a = t.normals(M * K, 1, t.dtype), b = t.normals(N * K, 1, t.dtype), r = t.normals(M * N, 3, out);
    Buffer ab(t, t.dtype, a), bb(t, t.dtype, b), c(t, out, M * N), rb(t, out, r);
    if (residual == 2) c.write(r);
    t.ok(t.device->matmul_nt(t.device, c, ab, bb, residual == 0 ? nullptr : residual == 1 ? rb.get() : c.get(), M, N, K, t.dtype, out));
    t.check("c", c, [&](Values& want, Values& bound) {
        product(want, bound, M, N, K, a, K, 1, b, 1, K);
        for (int64_t i = 0; i < M * N; i++) {
            if (residual) want[i] += r[i];
            bound[i] = chain(K) * t.u() * bound[i] + (residual ? t.u() * std::fabs(want[i]) : 0);
        }
    });
}

void testNn(Trial& t) {
    const int64_t M = t.size("M", 200), N = t.size("N", 200), K = depthOf(t);
    const Values a = t.normals(M * K, 1, t.dtype), b = t.normals(K * N, 1, t.dtype);
    Buffer ab(t, t.dtype, a), bb(t, t.dtype, b), c(t, t.dtype, M * N);
    t.ok(t.device->matmul_nn(t.device, c, ab, bb, M, N, K, t.dtype));
    t.check("c", c, [&](Values& want, Values& bound) {
        product(want, bound, M, N, K, a, K, 1, b, N, 1);
        for (double& x : bound) x *= chain(K) * t.u();
    });
}

void testTn(Trial& t) {
    const int64_t M = t.size("M", 200), N = t.size("N", 200), K = depthOf(t);
    const Values a = t.normals(K * M, 1, t.dtype), b = t.normals(K * N, 1, t.dtype), c0 = t.normals(M * N, 1, t.real());
    Buffer ab(t, t.dtype, a), bb(t, t.dtype, b), c(t, t.real(), c0);
    t.ok(t.device->matmul_tn(t.device, c, ab, bb, M, N, K, t.dtype));
    t.check("c", c, [&](Values& want, Values& bound) {
        product(want, bound, M, N, K, a, 1, M, b, N, 1);
        for (int64_t i = 0; i < M * N; i++) {
            want[i] += c0[i];
            bound[i] = chain(K) * t.u() * (bound[i] + std::fabs(c0[i]));
        }
    });
}

/// y = x w^T: dx = dy w (nn), dw += dy^T x (tn).
void gradLinear(Trial& t) {
    const int64_t M = t.size("M", 30, 1), N = t.size("N", 30, 1), K = t.size("K", 60, 1);
    const Values dy = t.normals(M * N, 1, ST_F64);
    Buffer x(t, ST_F64, t.normals(M * K, 1, ST_F64)), w(t, ST_F64, t.normals(N * K, 1, ST_F64)), y(t, ST_F64, M * N), dyb(t, ST_F64, dy);
    Buffer dx(t, ST_F64, M * K), dw(t, ST_F64, Values(N * K));
    t.ok(t.device->matmul_nn(t.device, dx, dyb, w, M, K, N, ST_F64));
    t.ok(t.device->matmul_tn(t.device, dw, dyb, x, N, K, M, ST_F64));
    const auto loss = [&] {
        t.ok(t.device->matmul_nt(t.device, y, x, w, nullptr, M, N, K, ST_F64, ST_F64));
        const Values out = y.read();
        Wide sum = 0;
        for (size_t i = 0; i < out.size(); i++) sum += static_cast<Wide>(out[i]) * dy[i];
        return static_cast<double>(sum);
    };
    checkGradient(t, "dx", x, dx.read(), loss);
    checkGradient(t, "dw", w, dw.read(), loss);
}

std::vector<Timing> perf(Device& d, const Settings& s, st_dtype dtype, int layout) {
    std::vector<Timing> out;
    std::vector<std::vector<int64_t>> shapes;
    if (d.property(ST_COMPUTE_CAPABILITY) > 0) shapes = {{4096, 4096, 4096}, {8192, 8192, 8192}, {8192, 2048, 5632}, {64, 8192, 2048}};
    else shapes = {{256, 256, 256},  {512, 512, 512},  {1024, 1024, 1024}, {2048, 2048, 2048}, {4000, 192, 64}, {4000, 340, 64},
                   {4000, 64, 170},  {2000, 384, 128}, {2000, 700, 128},   {2000, 128, 350},   {2000, 64, 64},  {64, 192, 64},
                   {1, 1024, 1024}, {4, 1024, 1024},  {8, 1024, 1024}};
    if (s.quick) shapes = {{256, 256, 256}, {8, 512, 512}};
    for (const auto& shape : shapes) {
        const int64_t M = shape[0], N = shape[1], K = shape[2];
        Trial t(d, s, dtype, 3, 100, false);
        Buffer a(t, dtype, t.normals(M * K, 1, dtype)), b(t, dtype, t.normals(N * K, 1, dtype));
        Buffer c(t, layout == 2 ? realOf(dtype) : dtype, Values(M * N, 0.0));
        const double seconds = secondsOf(d, [&] {
            d.must(layout == 0 ? d->matmul_nt(d, c, a, b, nullptr, M, N, K, dtype, dtype)
                   : layout == 1 ? d->matmul_nn(d, c, a, b, M, N, K, dtype) : d->matmul_tn(d, c, a, b, M, N, K, dtype), "matmul");
        });
        out.push_back({format("M %lld N %lld K %lld", (long long)M, (long long)N, (long long)K), seconds,
                       static_cast<double>(M * K + N * K + M * N) * bytesOf(dtype), 2.0 * M * N * K});
    }
    return out;
}

}  // namespace

void addMatmulOps(std::vector<Op>& ops) {
    const auto timing = [](int layout) {
        return [layout](Device& d, const Settings& s, st_dtype dtype) { return perf(d, s, dtype, layout); };
    };
    ops.push_back({"matmul_nt", testNt, gradLinear, timing(0)});
    ops.push_back({"matmul_nn", testNn, {}, timing(1)});
    ops.push_back({"matmul_tn", testTn, {}, timing(2)});
}

}  // namespace op_tests
