// Measures libsubtext_cuda.so: matrix products against cuBLASLt of the same run, attention, and the memory-bound kernels against the copy
// bandwidth of the same run. Random data, buffers rotated beyond L2, medians of device-event times.
//
//   cuda_bench [matmul|square|memory|attention|exact ...] [--json FILE]       nothing named: all
//
// "square" takes the three layouts at 8192^3 in turns, three times: what differs between turns is the clock's doing, not the layout's.
//
// "exact" checks that a row of a product has the same bits whatever M is; any difference makes the exit status 1.
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <algorithm>
#include <functional>
#include <string>
#include <vector>

#include "../include/subtext.h"
#include "cublaslt.h"

namespace {

st_device *device;
FILE *json;
bool firstRow = true;
int failures = 0;

void ok(st_status status, const char *what) {
    if (status == ST_OK) return;
    fprintf(stderr, "%s: status %d: %s\n", what, status, st_last_error(device));
    exit(2);
}
#define OK(call) ok((call), #call)

/// Device memory of one measurement; everything is freed at its end.
struct Arena {
    std::vector<void *> held;
    uint64_t seed = 1;

    ~Arena() {
        for (void *memory : held) st_free(device, memory);
    }
    char *bytes(int64_t count) {
        void *memory = nullptr;
        OK(st_alloc(device, &memory, count));
        held.push_back(memory);
        return static_cast<char *>(memory);
    }
    char *normal(int64_t count, st_dtype dtype, double std = 1) {
        char *memory = bytes(count * (dtype == ST_BF16 ? 2 : 4));
        OK(st_fill_normal(device, memory, count, 0, std, 0, seed++, 0, dtype));
        return memory;
    }
    int32_t *integers(const std::vector<int32_t> &values) {
        char *memory = bytes(static_cast<int64_t>(values.size()) * 4);
        OK(st_upload(device, memory, values.data(), static_cast<int64_t>(values.size()) * 4));
        return reinterpret_cast<int32_t *>(memory);
    }
};

/// Milliseconds of one call: the median of five timings of enough calls to last some 4 ms. body(i) uses the i-th set of buffers.
double measure(const std::function<void(int)> &body) {
    st_event *from = nullptr, *to = nullptr;
    OK(st_event_create(device, &from));
    OK(st_event_create(device, &to));
    const auto time = [&](int calls) {
        double elapsed = 0;
        OK(st_event_record(device, from));
        for (int i = 0; i < calls; i++) body(i);
        OK(st_event_record(device, to));
        OK(st_event_elapsed(device, &elapsed, from, to));
        return elapsed / calls;
    };
    time(2);
    const double once = time(3);
    const int calls = static_cast<int>(std::min(200.0, std::max(3.0, 4.0 / std::max(once, 1e-4))));
    std::vector<double> times;
    for (int round = 0; round < 5; round++) times.push_back(time(calls));
    std::sort(times.begin(), times.end());
    OK(st_event_free(device, from));
    OK(st_event_free(device, to));
    return times[2];
}

void row(const char *what, const std::string &shape, double milliseconds, double rate, const char *unit, double share, const char *of) {
    printf("%-26s %-30s %9.4f ms %9.1f %-8s %6.1f %% of %s\n", what, shape.c_str(), milliseconds, rate, unit, 100 * share, of);
    fflush(stdout);
    if (json == nullptr) return;
    fprintf(json, "%s\n  {\"op\": \"%s\", \"shape\": \"%s\", \"ms\": %.5f, \"rate\": %.2f, \"unit\": \"%s\", \"share\": %.4f, \"of\": \"%s\"}",
            firstRow ? "" : ",", what, shape.c_str(), milliseconds, rate, unit, share, of);
    fflush(json);
    firstRow = false;
}

std::string text(const char *format, ...) __attribute__((format(printf, 1, 2)));
std::string text(const char *format, ...) {
    char buffer[256];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(buffer, sizeof buffer, format, arguments);
    va_end(arguments);
    return buffer;
}

// ---- matrix products -------------------------------------------------------------------------------------------------

using Layout = CublasLt::Layout;

float valueAt(const std::vector<char> &bytes, size_t i, bool wide) {
    if (wide) {
        float x;
        memcpy(&x, bytes.data() + 4 * i, 4);
        return x;
    }
    uint16_t half;
    memcpy(&half, bytes.data() + 2 * i, 2);
    const uint32_t bits = static_cast<uint32_t>(half) << 16;
    float x;
    memcpy(&x, &bits, 4);
    return x;
}

void matmul(const CublasLt &vendor, Layout layout, int64_t M, int64_t N, int64_t K, bool wideC) {
    Arena arena;
    const int64_t bytes = 2 * (M * K + N * K) + (wideC ? 4 : 2) * M * N;
    const int sets = static_cast<int>(std::min<int64_t>(16, std::max<int64_t>(1, 192000000 / bytes)));
    std::vector<char *> a, b, c;
    for (int s = 0; s < sets; s++) {
        a.push_back(arena.normal(M * K, ST_BF16));
        b.push_back(arena.normal(N * K, ST_BF16, 0.05));
        c.push_back(arena.bytes(M * N * (wideC ? 4 : 2)));
        OK(st_fill_zero(device, c.back(), M * N * (wideC ? 4 : 2)));
    }
    const auto ours = [&](int i) {
        const int s = i % sets;
        if (layout == Layout::NT) OK(st_matmul_nt(device, c[s], a[s], b[s], nullptr, M, N, K, ST_BF16, wideC ? ST_F32 : ST_BF16));
        if (layout == Layout::NN) OK(st_matmul_nn(device, c[s], a[s], b[s], M, N, K, ST_BF16));
        if (layout == Layout::TN) OK(st_matmul_tn(device, c[s], a[s], b[s], M, N, K, ST_BF16));
    };
    const char *name = layout == Layout::NT ? "matmul_nt" : layout == Layout::NN ? "matmul_nn" : "matmul_tn";
    const std::string shape = text("M %lld N %lld K %lld%s", (long long)M, (long long)N, (long long)K, wideC ? " f32" : "");
    const double flops = 2.0 * M * N * K;

    double vendorTime = 0, error = -1;
    if (vendor.present()) {
        const CublasLt::Plan plan = vendor.plan(layout, M, N, K, wideC, 3);
        char *workspace = arena.bytes(CublasLt::workspaceBytes);
        void *stream = nullptr;
        OK(st_device_stream(device, &stream));
        // same result? the first call of each on the same operands
        const size_t elements = static_cast<size_t>(std::min<int64_t>(M * N, 1 << 21)), width = wideC ? 4 : 2;
        std::vector<char> mine(elements * width), theirs(elements * width);
        ours(0);
        OK(st_download(device, mine.data(), c[0], static_cast<int64_t>(mine.size())));
        OK(st_fill_zero(device, c[0], M * N * static_cast<int64_t>(width)));
        if (!plan.algorithms.empty() && vendor.run(plan, 0, c[0], a[0], b[0], workspace, stream) == 0) {
            OK(st_download(device, theirs.data(), c[0], static_cast<int64_t>(theirs.size())));
            double difference = 0, norm = 0;
            for (size_t i = 0; i < elements; i++) {
                const double x = valueAt(mine, i, wideC), y = valueAt(theirs, i, wideC);
                difference += (x - y) * (x - y);
                norm += y * y;
            }
            error = sqrt(difference / norm);
            if (!(error < 5e-3)) failures++;
        }
        for (size_t algorithm = 0; algorithm < plan.algorithms.size(); algorithm++) {
            const double t = measure([&](int i) {
                const int s = i % sets;
                vendor.run(plan, static_cast<int>(algorithm), c[s], a[s], b[s], workspace, stream);
            });
            if (vendorTime == 0 || t < vendorTime) vendorTime = t;
        }
        row("cublaslt", text("%s %s", name + 7, shape.c_str()), vendorTime, flops / vendorTime * 1e-9, "TFLOP/s", 1, "itself (best of 3)");
    }
    const double t = measure(ours);
    row(name, shape + (error >= 0 ? text(" err %.0e", error) : ""), t, flops / t * 1e-9, "TFLOP/s", vendorTime > 0 ? vendorTime / t : 0,
        "cuBLASLt");
}

void squares() {
    const CublasLt vendor;
    for (int turn = 0; turn < 3; turn++)
        for (Layout layout : {Layout::NT, Layout::NN, Layout::TN}) matmul(vendor, layout, 8192, 8192, 8192, layout == Layout::TN);
}

void matmuls() {
    const CublasLt vendor;
    printf("cuBLASLt: %s\n", vendor.present() ? vendor.path.c_str() : "not found");
    for (Layout layout : {Layout::NT, Layout::NN, Layout::TN}) matmul(vendor, layout, 8192, 8192, 8192, layout == Layout::TN);
    const int64_t rows = 16384;
    const int64_t linear[][2] = {{2560, 2048}, {2048, 2048}, {11264, 2048}, {2048, 5632}};  // (out, in) of a 1.1B Llama
    for (const auto &l : linear) matmul(vendor, Layout::NT, rows, l[0], l[1], false);
    for (const auto &l : linear) matmul(vendor, Layout::NN, rows, l[1], l[0], false);
    for (const auto &l : linear) matmul(vendor, Layout::TN, l[0], l[1], rows, true);
    matmul(vendor, Layout::NT, 4096, 32064, 2048, true);  // a chunk of logits
    matmul(vendor, Layout::NN, 4096, 2048, 32064, false);
    matmul(vendor, Layout::TN, 32064, 2048, 4096, true);
    for (int64_t m : {1, 16, 64, 256, 512})
        for (const auto &l : linear) matmul(vendor, Layout::NT, m, l[0], l[1], false);
}

/// Rows of a product for several M against the same rows for the largest M.
void exact() {
    for (st_dtype dtype : {ST_BF16, ST_F32})
        for (const auto &l : {std::pair<int64_t, int64_t>{2560, 2048}, {264, 200}, {2048, 5632}, {31, 77}}) {
            const int64_t N = l.first, K = l.second, most = 4096, width = dtype == ST_BF16 ? 2 : 4;
            Arena arena;
            char *a = arena.normal(most * K, dtype), *b = arena.normal(N * K, dtype), *residual = arena.normal(most * N, dtype), *c = arena.bytes(most * N * width);
            std::vector<char> whole(static_cast<size_t>(most * N * width)), part(whole.size());
            OK(st_matmul_nt(device, c, a, b, residual, most, N, K, dtype, dtype));
            OK(st_download(device, whole.data(), c, most * N * width));
            int64_t differing = 0;
            std::string where;
            for (int64_t M : {1, 7, 33, 64, 65, 127, 128, 200, 256, 384, 600, 1000, 2048})
                for (int64_t from : {int64_t(0), most - M}) {
                    OK(st_fill_zero(device, c, M * N * width));
                    OK(st_matmul_nt(device, c, a + from * K * width, b, residual + from * N * width, M, N, K, dtype, dtype));
                    OK(st_download(device, part.data(), c, M * N * width));
                    if (memcmp(part.data(), whole.data() + from * N * width, static_cast<size_t>(M * N * width)) != 0) {
                        differing++;
                        where += text(" %lld@%lld", (long long)M, (long long)from);
                    }
                }
            failures += differing != 0;
            printf("exact: matmul_nt %s N %lld K %lld: %s%s\n", dtype == ST_BF16 ? "bf16" : "f32", (long long)N, (long long)K,
                   differing == 0 ? "rows have the same bits for 13 values of M" : "BITS DIFFER at M@row", where.c_str());
        }
    // the same product twice: weight gradients must not depend on which block came first
    Arena arena;
    const int64_t M = 2560, N = 2048, K = 16384;
    char *a = arena.normal(M * K, ST_BF16), *b = arena.normal(N * K, ST_BF16), *c = arena.bytes(M * N * 4);
    std::vector<char> first(static_cast<size_t>(M * N * 4)), again(first.size());
    bool same = true;
    for (int round = 0; round < 6; round++) {
        OK(st_fill_zero(device, c, M * N * 4));
        OK(st_matmul_tn(device, c, a, b, M, N, K, ST_BF16));
        OK(st_download(device, round == 0 ? first.data() : again.data(), c, M * N * 4));
        same = same && (round == 0 || first == again);
    }
    failures += !same;
    printf("exact: matmul_tn M %lld N %lld K %lld: %s\n", (long long)M, (long long)N, (long long)K, same ? "the same bits six times" : "BITS DIFFER between runs");
}

// ---- memory-bound kernels --------------------------------------------------------------------------------------------

double ceiling;  // bytes per second of a copy, read and written

void bandwidth(const char *name, const std::string &shape, double bytes, const std::function<void(int)> &body) {
    const double t = measure(body), rate = bytes / t * 1e3;
    row(name, shape, t, rate * 1e-9, "GB/s", rate / ceiling, "copy");
}

void memory() {
    {
        Arena arena;
        const int64_t bytes = 1ll << 30;
        char *from = arena.normal(bytes / 4, ST_F32), *to = arena.bytes(bytes);
        const double t = measure([&](int) { OK(st_copy(device, to, from, bytes)); });
        ceiling = 2.0 * static_cast<double>(bytes) / t * 1e3;
        row("copy", "1 GiB", t, ceiling * 1e-9, "GB/s", 1, "itself");
    }
    const int64_t N = 16384, C = 2048, F = 5632, V = 32000, stride = 32064, H = 32, Hkv = 4, D = 64;
    const std::string rows = text("N %lld C %lld bf16", (long long)N, (long long)C);
    Arena arena;
    const int sets = 4;
    std::vector<char *> x, y, z, gateUp, hidden, qkv;
    for (int s = 0; s < sets; s++) {
        x.push_back(arena.normal(N * C, ST_BF16));
        y.push_back(arena.normal(N * C, ST_BF16));
        z.push_back(arena.normal(N * C, ST_BF16));
        gateUp.push_back(arena.normal(N * 2 * F, ST_BF16));
        hidden.push_back(arena.normal(N * F, ST_BF16));
        qkv.push_back(arena.normal(N * (H + 2 * Hkv) * D, ST_BF16));
    }
    char *w = arena.normal(C, ST_BF16), *rstd = arena.normal(N, ST_F32), *dw = arena.normal(C, ST_F32);
    char *scratch = arena.bytes(std::max<int64_t>(1, st_rmsnorm_backward_scratch_bytes(device, N, C, ST_BF16)));
    const double nc = 2.0 * N * C, nf = 2.0 * N * F;
    bandwidth("rmsnorm_forward", rows, 2 * nc, [&](int i) { OK(st_rmsnorm_forward(device, y[i % sets], rstd, x[i % sets], w, N, C, 1e-5, ST_BF16)); });
    bandwidth("rmsnorm_backward", rows, 4 * nc, [&](int i) {
        OK(st_rmsnorm_backward(device, z[i % sets], dw, y[i % sets], x[i % sets], w, rstd, scratch, N, C, ST_BF16));
    });
    bandwidth("add", rows, 3 * nc, [&](int i) { OK(st_add(device, z[i % sets], x[i % sets], y[i % sets], N * C, ST_BF16)); });
    bandwidth("swiglu_forward", text("N %lld F %lld bf16", (long long)N, (long long)F), 3 * nf,
              [&](int i) { OK(st_swiglu_forward(device, hidden[i % sets], gateUp[i % sets], N, F, ST_BF16)); });
    bandwidth("swiglu_backward", text("N %lld F %lld bf16", (long long)N, (long long)F), 5 * nf,
              [&](int i) { OK(st_swiglu_backward(device, gateUp[i % sets], hidden[i % sets], gateUp[(i + 1) % sets], N, F, ST_BF16)); });
    std::vector<int32_t> position(N), token(N), order(N);
    for (int64_t n = 0; n < N; n++) {
        position[n] = static_cast<int32_t>(n % 2048);
        const double u = (static_cast<double>(rand()) + 1) / (RAND_MAX + 2.0);
        token[n] = static_cast<int32_t>(std::min<double>(V - 1, pow(static_cast<double>(V), u) - 1));  // Zipf's law: a few tokens fill most rows
        order[n] = static_cast<int32_t>(n);
    }
    std::stable_sort(order.begin(), order.end(), [&](int32_t l, int32_t r) { return token[l] < token[r]; });
    int64_t distinct = 1;
    for (int64_t n = 1; n < N; n++) distinct += token[order[n]] != token[order[n - 1]];
    int32_t *positions = arena.integers(position), *tokens = arena.integers(token), *orders = arena.integers(order);
    char *table = arena.normal(2048 * D, ST_F32);
    bandwidth("rope", text("N %lld, %lld heads of %lld", (long long)N, (long long)(H + Hkv), (long long)D), 2.0 * 2 * N * (H + Hkv) * D,
              [&](int i) { OK(st_rope(device, qkv[i % sets], positions, table, N, H + Hkv, D, (H + 2 * Hkv) * D, 2048, 1, ST_BF16)); });
    {
        Arena embedding;
        char *weights = embedding.normal(V * C, ST_BF16), *gradient = embedding.normal(V * C, ST_F32);
        bandwidth("embedding_forward", rows, nc + 2.0 * distinct * C, [&](int i) { OK(st_embedding_forward(device, y[i % sets], weights, tokens, N, C, V, ST_BF16)); });
        bandwidth("embedding_backward", rows, nc + 8.0 * distinct * C,
                  [&](int i) { OK(st_embedding_backward(device, gradient, x[i % sets], tokens, orders, N, C, V, ST_BF16)); });
        bandwidth("gather_rows", rows, 2 * nc, [&](int i) { OK(st_gather_rows(device, y[i % sets], x[i % sets], orders, N, C, ST_BF16)); });
    }
    {
        Arena head;
        const int64_t n = 4096;
        char *logits = head.normal(n * stride, ST_F32, 2), *dlogits = head.bytes(n * stride * 2), *out = head.bytes(n * 4);
        char *weight = head.normal(n, ST_F32), *keys = head.normal(n * 2, ST_F32), *drawn = head.bytes(n * 4);
        char *space = head.bytes(std::max<int64_t>(1, st_sample_scratch_bytes(device, n, V)));
        const std::string shape = text("N %lld V %lld", (long long)n, (long long)V);
        const double read = 4.0 * n * V;
        bandwidth("log_prob", shape, read, [&](int) { OK(st_log_prob(device, out, logits, tokens, n, V, stride, ST_BF16)); });
        bandwidth("cross_entropy", shape, read + 2.0 * n * stride,
                  [&](int) { OK(st_cross_entropy(device, out, dlogits, logits, tokens, weight, n, V, stride, ST_BF16)); });
        const auto sample = [&](const char *name, int64_t count, double temperature, int64_t topK, double topP) {
            const int parts = static_cast<int>(n / count);
            bandwidth(name, text("N %lld V %lld", (long long)count, (long long)V), 4.0 * count * V, [&](int i) {
                OK(st_sample(device, reinterpret_cast<int32_t *>(drawn), out, logits + (i % parts) * count * stride * 4,
                             reinterpret_cast<const uint64_t *>(keys), positions, space, count, V, stride, temperature, topK, topP, ST_BF16));
            });
        };
        sample("sample", 4096, 1, 0, 1);
        sample("sample", 256, 1, 0, 1);
        sample("sample greedy", 256, 0, 0, 1);
        sample("sample top-k 50", 256, 0.8, 50, 1);
        sample("sample top-p 0.9", 256, 0.8, 0, 0.9);
    }
    {
        Arena optimizer;
        const int64_t n = 100000000;
        char *weight = optimizer.normal(n, ST_BF16), *master = optimizer.normal(n, ST_F32), *m = optimizer.normal(n, ST_F32), *grad = optimizer.normal(n, ST_F32);
        char *v = optimizer.bytes(n * 4), *sum = optimizer.bytes(8), *space = optimizer.bytes(st_sum_squares_scratch_bytes(device, n));
        OK(st_fill_zero(device, v, n * 4));
        bandwidth("adamw", text("n %lld bf16", (long long)n), 30.0 * n, [&](int) {
            OK(st_adamw(device, weight, master, m, v, grad, n, 1, 1e-4, 0.9, 0.95, 1e-8, 0.1, 10, ST_BF16));
        });
        bandwidth("sum_squares", text("n %lld f32", (long long)n), 4.0 * n,
                  [&](int) { OK(st_sum_squares(device, reinterpret_cast<double *>(sum), grad, space, n, ST_F32)); });
        bandwidth("cast", text("n %lld f32 to bf16", (long long)n), 6.0 * n, [&](int) { OK(st_cast(device, weight, grad, n, ST_BF16, ST_F32)); });
    }
    bandwidth("fill_normal", rows, nc, [&](int i) { OK(st_fill_normal(device, y[i % sets], N * C, 0, 1, 0, 7, 0, ST_BF16)); });
}

// ---- attention -------------------------------------------------------------------------------------------------------

void attention(int64_t T, int64_t H, int64_t Hkv, int64_t D) {
    Arena arena;
    const int64_t N = 16384, S = N / T, width = (H + 2 * Hkv) * D;
    std::vector<int32_t> bounds;
    for (int64_t s = 0; s <= S; s++) bounds.push_back(static_cast<int32_t>(s * T));
    int32_t *cu = arena.integers(bounds);
    char *qkv = arena.normal(N * width, ST_BF16), *dqkv = arena.bytes(N * width * 2), *y = arena.bytes(N * H * D * 2), *dy = arena.normal(N * H * D, ST_BF16);
    char *lse = arena.bytes(N * H * 4);
    char *scratch = arena.bytes(std::max<int64_t>(1, st_attention_backward_scratch_bytes(device, S, T, N, H, Hkv, D, ST_BF16)));
    const double scale = 1 / sqrt(static_cast<double>(D)), flops = 2.0 * N * T * H * D;  // causal: half of 4 T^2 D a head and sequence
    const std::string shape = text("T %lld, %lld/%lld heads of %lld", (long long)T, (long long)H, (long long)Hkv, (long long)D);
    const double forward = measure([&](int) { OK(st_attention_forward(device, y, lse, qkv, cu, S, T, N, H, Hkv, D, scale, 0, ST_BF16)); });
    row("attention_forward", shape, forward, flops / forward * 1e-9, "TFLOP/s", flops / forward * 1e-9 / 989, "989 TFLOP/s");
    const double backward =
        measure([&](int) { OK(st_attention_backward(device, dqkv, dy, y, qkv, lse, cu, scratch, S, T, N, H, Hkv, D, scale, 0, ST_BF16)); });
    row("attention_backward", shape, backward, 2.5 * flops / backward * 1e-9, "TFLOP/s", 2.5 * flops / backward * 1e-9 / 989, "989 TFLOP/s");
}

/// One decoded token each for S sequences behind a shared prefix.
void attentionCached(int64_t S, int64_t prefix, int64_t own, int64_t forks, int64_t H, int64_t Hkv, int64_t D) {
    Arena arena;
    const int64_t slots = S + S / forks, capacity = std::max(prefix, own + 1), width = (H + 2 * Hkv) * D, cells = slots * capacity * Hkv * D;
    std::vector<int32_t> bounds, slot, prefixSlot, prefixLength, start;
    for (int64_t s = 0; s <= S; s++) bounds.push_back(static_cast<int32_t>(s));
    for (int64_t s = 0; s < S; s++) {
        slot.push_back(static_cast<int32_t>(s));
        prefixSlot.push_back(static_cast<int32_t>(S + s / forks));
        prefixLength.push_back(static_cast<int32_t>(prefix));
        start.push_back(static_cast<int32_t>(prefix + own));
    }
    char *k = arena.normal(cells, ST_BF16), *v = arena.normal(cells, ST_BF16), *qkv = arena.normal(S * width, ST_BF16), *y = arena.bytes(S * H * D * 2);
    int32_t *cu = arena.integers(bounds), *slotAt = arena.integers(slot), *prefixAt = arena.integers(prefixSlot), *lengthAt = arena.integers(prefixLength),
            *startAt = arena.integers(start);
    const double t = measure([&](int) {
        OK(st_attention_cached(device, y, qkv, k, v, cu, slotAt, prefixAt, lengthAt, startAt, S, 1, S, H, Hkv, D, slots, capacity,
                               1 / sqrt(static_cast<double>(D)), 0, ST_BF16));
    });
    const double bytes = 4.0 * Hkv * D * (static_cast<double>(S) * (own + 1) + static_cast<double>(S) / forks * prefix);
    row("attention_cached", text("S %lld, %lld shared by %lld + %lld", (long long)S, (long long)prefix, (long long)forks, (long long)own), t, bytes / t * 1e-6,
        "GB/s", bytes / t * 1e3 / (ceiling > 0 ? ceiling : 3e12), ceiling > 0 ? "copy" : "3 TB/s");
}

void attentions() {
    attention(2048, 32, 4, 64);
    attention(4096, 32, 4, 64);
    attention(16384, 32, 4, 64);
    attention(2048, 16, 16, 128);
    attention(16384, 16, 16, 128);
    attentionCached(256, 512, 256, 8, 32, 4, 64);
    attentionCached(256, 1024, 1024, 1, 32, 4, 64);
}

}  // namespace

int main(int count, char **argument) {
    std::vector<std::string> wanted;
    const char *file = nullptr;
    for (int i = 1; i < count; i++) {
        if (strcmp(argument[i], "--json") == 0 && i + 1 < count)
            file = argument[++i];
        else
            wanted.push_back(argument[i]);
    }
    const auto asked = [&](const char *part) { return wanted.empty() || std::find(wanted.begin(), wanted.end(), part) != wanted.end(); };
    char error[512] = "", name[256] = "", path[64] = "", build[64] = "";
    if (st_device_open(&device, 0, 0, error, sizeof error) != ST_OK) {
        fprintf(stderr, "%s\n", error);
        return 4;
    }
    OK(st_device_text(device, name, sizeof name, ST_TEXT_NAME));
    OK(st_device_text(device, path, sizeof path, ST_TEXT_PATH));
    OK(st_device_text(device, build, sizeof build, ST_TEXT_BUILD));
    printf("%s, path %s, %s\n", name, path, build);
    if (file != nullptr) json = fopen(file, "w");
    if (json != nullptr) fprintf(json, "{\"device\": \"%s\", \"path\": \"%s\", \"build\": \"%s\", \"rows\": [", name, path, build);
    if (asked("exact")) exact();
    if (asked("memory")) memory();
    if (asked("matmul")) matmuls();
    if (asked("square")) squares();
    if (asked("attention")) attentions();
    if (json != nullptr) {
        fprintf(json, "\n]}\n");
        fclose(json);
    }
    OK(st_device_close(device));
    if (failures > 0) fprintf(stderr, "%d checks failed\n", failures);
    return failures > 0 ? 1 : 0;
}
