// The ops of subtext.h: checks arguments, cuts the work into fixed pieces, and runs the kernels of the device's instruction set.
#include <cmath>
#include <cstring>
#include <new>

#include "device.h"

using subtext::AttentionPlan;
using subtext::kindOf;
using subtext::MatmulPlan;
using subtext::realBytes;

namespace {

// Below this many elements (or multiply-adds / 16) a loop is done before a second thread has heard of it.
constexpr int64_t kShare = 16384;

int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }
int64_t most(int64_t a, int64_t b) { return a > b ? a : b; }

/// Rows to hand out at a time, for rows of `width` elements: about 8,192 elements.
int64_t rowGrain(int64_t width) { return most(1, 8192 / most(1, width)); }

struct Size {
    const char* name;
    int64_t value;
};
struct Pointer {
    const char* name;
    const void* value;
};

/// First line of every op: sizes not negative, dtype known. Sets `kind`.
st_status check(st_device* device, const char* op, st_dtype dtype, int* kind, std::initializer_list<Size> sizes) {
    if (!device) return ST_INVALID_ARGUMENT;
    *kind = kindOf(dtype);
    if (*kind < 0) return device->fail(ST_INVALID_ARGUMENT, "%s: dtype %d, expected ST_F32, ST_BF16 or ST_F64", op, dtype);
    for (const Size& size : sizes) {
        if (size.value < 0) {
            return device->fail(ST_INVALID_ARGUMENT, "%s: %s must not be negative, got %lld", op, size.name, (long long)size.value);
        }
    }
    return ST_OK;
}

st_status checkPointers(st_device* device, const char* op, std::initializer_list<Pointer> pointers) {
    for (const Pointer& pointer : pointers) {
        if (!pointer.value) return device->fail(ST_INVALID_ARGUMENT, "%s: %s must not be NULL", op, pointer.name);
    }
    return ST_OK;
}

#define ST_CHECK(call)                                     \
    do {                                                   \
        const st_status status_ = (call);                  \
        if (status_ != ST_OK) return status_;              \
    } while (0)
#define ST_REQUIRE(condition, ...) \
    do {                           \
        if (!(condition)) return device->fail(ST_INVALID_ARGUMENT, __VA_ARGS__); \
    } while (0)

/// A product of few rows is bound by reading b, which two threads do faster than one as soon as it is not tiny.
st_status fewRows(st_device* device, int kind, MatmulPlan& plan) {
    device->kernels->fewPlan[kind](&plan);
    const int64_t shared = (plan.sharedBytes + 63) / 64 * 64;
    char* scratch = device->scratch(64 + shared + plan.scratchBytes);
    if (!scratch) return ST_OUT_OF_MEMORY;
    scratch += 64;  // behind the header of matmul
    const int64_t each = device->threadScratchBytes;
    device->kernels->fewWiden[kind](&plan, scratch);
    const int64_t grain = most(1, plan.tasks / (8 * device->pool->threads()));
    device->parallel(plan.tasks, grain, plan.N * plan.K / 16 * (plan.M + 16) >= 2 * kShare,
                     [&](int64_t from, int64_t to, int32_t thread) {
        device->kernels->few[kind](&plan, from, to, scratch, scratch + thread * each + shared);
    });
    return ST_OK;
}

st_status matmul(st_device* device, const char* op, void* c, const void* a, const void* b, const void* residual, int64_t M, int64_t N,
                 int64_t K, st_dtype dtype, bool wide, int32_t layout) {
    int kind;
    ST_CHECK(check(device, op, dtype, &kind, {{"M", M}, {"N", N}, {"K", K}}));
    if (M == 0 || N == 0) return ST_OK;
    if (layout == 2 && K == 0) return ST_OK;  // adds nothing
    ST_CHECK(checkPointers(device, op, {{"c", c}}));
    if (K > 0) ST_CHECK(checkPointers(device, op, {{"a", a}, {"b", b}}));
    MatmulPlan plan = {};
    plan.c = c;
    plan.a = a;
    plan.b = b;
    plan.residual = residual;
    plan.M = M;
    plan.N = N;
    plan.K = K;
    plan.layout = layout;
    plan.wide = wide;
    plan.serial = ++device->serial;
    const bool share = M * N / 16 * K >= 4 * kShare;
    if (device->amx && kind < 2) return subtext::amxMatmul(device, kind, plan) ? ST_OK : ST_OUT_OF_MEMORY;
    if (layout == 0 && kind < 2 && M <= device->kernels->fewRows[kind]) return fewRows(device, kind, plan);
    device->kernels->matmulPlan[kind](&plan, share ? device->pool->threads() : 1);
    char* scratch = device->scratch(plan.scratchBytes);
    if (!scratch) return ST_OUT_OF_MEMORY;
    const int64_t each = device->threadScratchBytes;
    device->parallel(plan.tasks, 1, share, [&](int64_t from, int64_t to, int32_t thread) {
        device->kernels->matmul[kind](&plan, from, to, scratch + thread * each);
    });
    return ST_OK;
}

st_status checkHeads(st_device* device, const char* op, int64_t H, int64_t Hkv, int64_t D) {
    ST_REQUIRE(H > 0 && Hkv > 0 && D > 0, "%s: H, Hkv and D must be positive, got %lld, %lld, %lld", op, (long long)H, (long long)Hkv,
               (long long)D);
    ST_REQUIRE(H % Hkv == 0, "%s: H must be a multiple of Hkv, got %lld and %lld", op, (long long)H, (long long)Hkv);
    return ST_OK;
}

/// Sequence bounds must ascend from 0 to N, and none be longer than `longest`.
st_status checkSequences(st_device* device, const char* op, const int32_t* cuSeqlens, int64_t S, int64_t longest, int64_t N) {
    ST_REQUIRE(cuSeqlens[0] == 0, "%s: cu_seqlens[0] must be 0, got %d", op, cuSeqlens[0]);
    for (int64_t s = 0; s < S; s++) {
        const int64_t length = static_cast<int64_t>(cuSeqlens[s + 1]) - cuSeqlens[s];
        ST_REQUIRE(length >= 0, "%s: cu_seqlens must not descend, got %d after %d at %lld", op, cuSeqlens[s + 1], cuSeqlens[s],
                   (long long)(s + 1));
        ST_REQUIRE(length <= longest, "%s: longest is %lld but sequence %lld has %lld rows", op, (long long)longest, (long long)s,
                   (long long)length);
    }
    ST_REQUIRE(cuSeqlens[S] == N, "%s: cu_seqlens[S] must be N = %lld, got %d", op, (long long)N, cuSeqlens[S]);
    return ST_OK;
}

/// Runs the forward of every (sequence, block of 64 rows, key head).
st_status attention(st_device* device, int kind, const AttentionPlan& plan, int64_t N) {
    constexpr int64_t block = 64;
    std::vector<int64_t>& first = device->firstTask;
    if (static_cast<int64_t>(first.size()) < plan.S + 1) {
        try {
            first.resize(plan.S + 1);
        } catch (const std::bad_alloc&) {
            return device->fail(ST_OUT_OF_MEMORY, "attention: no host memory for %lld sequences", (long long)plan.S);
        }
    }
    int64_t tasks = 0;
    for (int64_t s = 0; s < plan.S; s++) {
        first[s] = tasks;
        tasks += (plan.cuSeqlens[s + 1] - plan.cuSeqlens[s] + block - 1) / block;
    }
    first[plan.S] = tasks;
    char* scratch = device->scratch(device->kernels->attentionScratchBytes[kind](plan.H, plan.Hkv, plan.D));
    if (!scratch) return ST_OUT_OF_MEMORY;
    const int64_t each = device->threadScratchBytes;
    const int64_t grain = most(1, least(8, tasks * plan.Hkv / (8 * device->pool->threads())));
    device->parallel(tasks * plan.Hkv, grain, N * plan.H * plan.D >= kShare / 4, [&](int64_t from, int64_t to, int32_t thread) {
        // the sequence of the first task by halving, of the others by walking
        int64_t low = 0, high = plan.S;
        while (high - low > 1) {
            const int64_t middle = (low + high) / 2;
            (first[middle] <= from / plan.Hkv ? low : high) = middle;
        }
        int64_t s = low;
        for (int64_t task = from; task < to; task++) {
            const int64_t unit = task / plan.Hkv, kv = task % plan.Hkv;
            while (first[s + 1] <= unit) s++;
            const int64_t length = plan.cuSeqlens[s + 1] - plan.cuSeqlens[s];
            const int64_t row = (unit - first[s]) * block, rows = least(block, length - row);
            if (plan.k && plan.slot[s] < 0) {
                const int64_t bytes = kind == 1 ? 2 : realBytes(kind == 2 ? ST_F64 : ST_F32), G = plan.H / plan.Hkv;
                for (int64_t r = row; r < row + rows; r++) {
                    std::memset(static_cast<char*>(plan.y) + ((plan.cuSeqlens[s] + r) * plan.H + kv * G) * plan.D * bytes, 0, G * plan.D * bytes);
                }
            } else {
                device->kernels->attentionForward[kind](&plan, s, kv, row, rows, scratch + thread * each);
            }
        }
    });
    return ST_OK;
}

int64_t rmsnormBlockRows(int64_t N) { return most(64, (N + 63) / 64); }  // at most 64 blocks, chosen by N alone

constexpr int64_t kSquaresChunk = 16384;

}  // namespace

extern "C" {

st_status st_cast(st_device* device, void* y, const void* x, int64_t n, st_dtype y_dtype, st_dtype x_dtype) {
    int to, from;
    ST_CHECK(check(device, "cast", y_dtype, &to, {{"n", n}}));
    ST_CHECK(check(device, "cast", x_dtype, &from, {}));
    if (n == 0) return ST_OK;
    ST_CHECK(checkPointers(device, "cast", {{"y", y}, {"x", x}}));
    device->parallel(n, 8192, n >= kShare, [&](int64_t a, int64_t b, int32_t) { device->kernels->cast[to][from](y, x, a, b); });
    return ST_OK;
}

st_status st_embedding_forward(st_device* device, void* y, const void* w, const int32_t* token, int64_t N, int64_t C, int64_t V,
                               st_dtype dtype) {
    int kind;
    ST_CHECK(check(device, "embedding_forward", dtype, &kind, {{"N", N}, {"C", C}, {"V", V}}));
    if (N == 0 || C == 0) return ST_OK;
    ST_CHECK(checkPointers(device, "embedding_forward", {{"y", y}, {"token", token}}));
    if (V > 0) ST_CHECK(checkPointers(device, "embedding_forward", {{"w", w}}));
    device->parallel(N, rowGrain(C), N * C >= 4 * kShare, [&](int64_t from, int64_t to, int32_t) {
        device->kernels->embeddingForward[kind](y, w, token, from, to, C, V);
    });
    return ST_OK;
}

st_status st_embedding_backward(st_device* device, void* dw, const void* dy, const int32_t* token, const int32_t* order, int64_t N,
                                int64_t C, int64_t V, st_dtype dtype) {
    int kind;
    ST_CHECK(check(device, "embedding_backward", dtype, &kind, {{"N", N}, {"C", C}, {"V", V}}));
    if (N == 0 || C == 0 || V == 0) return ST_OK;
    ST_CHECK(checkPointers(device, "embedding_backward", {{"dw", dw}, {"dy", dy}, {"token", token}, {"order", order}}));
    device->parallel(N, rowGrain(C), N * C >= 2 * kShare, [&](int64_t from, int64_t to, int32_t) {
        device->kernels->embeddingBackward[kind](dw, dy, token, order, from, to, N, C, V);
    });
    return ST_OK;
}

st_status st_gather_rows(st_device* device, void* y, const void* x, const int32_t* row, int64_t M, int64_t C, st_dtype dtype) {
    int kind;
    ST_CHECK(check(device, "gather_rows", dtype, &kind, {{"M", M}, {"C", C}}));
    if (M == 0 || C == 0) return ST_OK;
    ST_CHECK(checkPointers(device, "gather_rows", {{"y", y}, {"x", x}, {"row", row}}));
    // a table without an upper bound: negative rows give zeros, like a token outside the vocabulary
    device->parallel(M, rowGrain(C), M * C >= 4 * kShare, [&](int64_t from, int64_t to, int32_t) {
        device->kernels->embeddingForward[kind](y, x, row, from, to, C, INT32_MAX);
    });
    return ST_OK;
}

st_status st_rmsnorm_forward(st_device* device, void* y, void* rstd, const void* x, const void* w, int64_t N, int64_t C, double eps,
                             st_dtype dtype) {
    int kind;
    ST_CHECK(check(device, "rmsnorm_forward", dtype, &kind, {{"N", N}, {"C", C}}));
    if (N == 0 || C == 0) return ST_OK;
    ST_CHECK(checkPointers(device, "rmsnorm_forward", {{"y", y}, {"x", x}, {"w", w}}));
    device->parallel(N, rowGrain(C), N * C >= 2 * kShare, [&](int64_t from, int64_t to, int32_t) {
        device->kernels->rmsnormForward[kind](y, rstd, x, w, from, to, C, eps);
    });
    return ST_OK;
}

int64_t st_rmsnorm_backward_scratch_bytes(st_device*, int64_t N, int64_t C, st_dtype dtype) {
    if (N <= 0 || C <= 0) return 0;
    const int64_t rows = rmsnormBlockRows(N);
    return (N + rows - 1) / rows * C * realBytes(dtype);
}

st_status st_rmsnorm_backward(st_device* device, void* dx, void* dw, const void* dy, const void* x, const void* w, const void* rstd,
                              void* scratch, int64_t N, int64_t C, st_dtype dtype) {
    int kind;
    ST_CHECK(check(device, "rmsnorm_backward", dtype, &kind, {{"N", N}, {"C", C}}));
    if (N == 0 || C == 0) return ST_OK;
    ST_CHECK(checkPointers(device, "rmsnorm_backward",
                           {{"dx", dx}, {"dw", dw}, {"dy", dy}, {"x", x}, {"w", w}, {"rstd", rstd}, {"scratch", scratch}}));
    const int64_t rows = rmsnormBlockRows(N), blocks = (N + rows - 1) / rows, real = realBytes(dtype);
    device->parallel(blocks, 1, N * C >= 2 * kShare, [&](int64_t from, int64_t to, int32_t) {
        for (int64_t block = from; block < to; block++) {
            device->kernels->rmsnormBackward[kind](dx, static_cast<char*>(scratch) + block * C * real, dy, x, w, rstd, block * rows,
                                                   least(N, (block + 1) * rows), C);
        }
    });
    device->parallel(C, 256, blocks * C >= kShare, [&](int64_t from, int64_t to, int32_t) {
        device->kernels->rmsnormReduce[kind](dw, scratch, blocks, from, to, C);
    });
    return ST_OK;
}

st_status st_matmul_nt(st_device* device, void* c, const void* a, const void* b, const void* residual, int64_t M, int64_t N, int64_t K,
                       st_dtype dtype, st_dtype c_dtype) {
    if (!device) return ST_INVALID_ARGUMENT;
    ST_REQUIRE(c_dtype == dtype || (dtype == ST_BF16 && c_dtype == ST_F32),
               "matmul_nt: c_dtype %d, expected dtype (%d) or its real type", c_dtype, dtype);
    return matmul(device, "matmul_nt", c, a, b, residual, M, N, K, dtype, c_dtype != dtype, 0);
}
st_status st_matmul_nn(st_device* device, void* c, const void* a, const void* b, int64_t M, int64_t N, int64_t K, st_dtype dtype) {
    return matmul(device, "matmul_nn", c, a, b, nullptr, M, N, K, dtype, false, 1);
}
st_status st_matmul_tn(st_device* device, void* c, const void* a, const void* b, int64_t M, int64_t N, int64_t K, st_dtype dtype) {
    return matmul(device, "matmul_tn", c, a, b, nullptr, M, N, K, dtype, true, 2);
}

st_status st_rope(st_device* device, void* x, const int32_t* position, const void* table, int64_t N, int64_t heads, int64_t D,
                  int64_t stride, int64_t context, int32_t direction, st_dtype dtype) {
    int kind;
    ST_CHECK(check(device, "rope", dtype, &kind, {{"N", N}, {"heads", heads}, {"D", D}, {"context", context}}));
    ST_REQUIRE(D % 2 == 0, "rope: D must be even, got %lld", (long long)D);
    ST_REQUIRE(stride >= heads * D, "rope: stride %lld is less than heads * D = %lld", (long long)stride, (long long)(heads * D));
    ST_REQUIRE(direction == 1 || direction == -1, "rope: direction must be +1 or -1, got %d", direction);
    if (N == 0 || heads == 0 || D == 0) return ST_OK;
    ST_CHECK(checkPointers(device, "rope", {{"x", x}, {"position", position}, {"table", table}}));
    device->parallel(N, rowGrain(heads * D), N * heads * D >= 2 * kShare, [&](int64_t from, int64_t to, int32_t) {
        device->kernels->rope[kind](x, position, table, from, to, heads, D, stride, context, direction);
    });
    return ST_OK;
}

st_status st_attention_forward(st_device* device, void* y, void* lse, const void* qkv, const int32_t* cu_seqlens, int64_t S,
                               int64_t longest, int64_t N, int64_t H, int64_t Hkv, int64_t D, double scale, int64_t window,
                               st_dtype dtype) {
    int kind;
    ST_CHECK(check(device, "attention_forward", dtype, &kind, {{"S", S}, {"longest", longest}, {"N", N}, {"window", window}}));
    ST_CHECK(checkHeads(device, "attention_forward", H, Hkv, D));
    if (N == 0 || S == 0) return ST_OK;
    ST_CHECK(checkPointers(device, "attention_forward", {{"y", y}, {"qkv", qkv}, {"cu_seqlens", cu_seqlens}}));
    ST_CHECK(checkSequences(device, "attention_forward", cu_seqlens, S, longest, N));
    AttentionPlan plan = {};
    plan.y = y;
    plan.lse = lse;
    plan.qkv = qkv;
    plan.cuSeqlens = cu_seqlens;
    plan.S = S;
    plan.H = H;
    plan.Hkv = Hkv;
    plan.D = D;
    plan.scale = scale;
    plan.window = window;
    return attention(device, kind, plan, N);
}

int64_t st_attention_backward_scratch_bytes(st_device*, int64_t, int64_t, int64_t N, int64_t H, int64_t, int64_t D, st_dtype dtype) {
    return N <= 0 || H <= 0 || D <= 0 ? 0 : N * H * (D + 1) * realBytes(dtype);
}

st_status st_attention_backward(st_device* device, void* dqkv, const void* dy, const void* y, const void* qkv, const void* lse,
                                const int32_t* cu_seqlens, void* scratch, int64_t S, int64_t longest, int64_t N, int64_t H,
                                int64_t Hkv, int64_t D, double scale, int64_t window, st_dtype dtype) {
    int kind;
    ST_CHECK(check(device, "attention_backward", dtype, &kind, {{"S", S}, {"longest", longest}, {"N", N}, {"window", window}}));
    ST_CHECK(checkHeads(device, "attention_backward", H, Hkv, D));
    if (N == 0 || S == 0) return ST_OK;
    ST_CHECK(checkPointers(device, "attention_backward",
                           {{"dqkv", dqkv}, {"dy", dy}, {"y", y}, {"qkv", qkv}, {"lse", lse}, {"cu_seqlens", cu_seqlens}, {"scratch", scratch}}));
    ST_CHECK(checkSequences(device, "attention_backward", cu_seqlens, S, longest, N));
    AttentionPlan plan = {};
    plan.y = const_cast<void*>(y);
    plan.lse = const_cast<void*>(lse);
    plan.qkv = qkv;
    plan.cuSeqlens = cu_seqlens;
    plan.S = S;
    plan.H = H;
    plan.Hkv = Hkv;
    plan.D = D;
    plan.scale = scale;
    plan.window = window;
    plan.dqkv = dqkv;
    plan.dy = dy;
    plan.dq = scratch;
    plan.delta = static_cast<char*>(scratch) + N * H * D * realBytes(dtype);
    char* desk = device->scratch(device->kernels->attentionScratchBytes[kind](H, Hkv, D));
    if (!desk) return ST_OUT_OF_MEMORY;
    const int64_t each = device->threadScratchBytes;
    const int64_t grain = most(1, least(8, S * Hkv / (8 * device->pool->threads())));
    device->parallel(S * Hkv, grain, N * H * D >= kShare / 4, [&](int64_t from, int64_t to, int32_t thread) {
        for (int64_t task = from; task < to; task++) {
            device->kernels->attentionBackward[kind](&plan, task / Hkv, task % Hkv, desk + thread * each);
        }
    });
    return ST_OK;
}

st_status st_cache_store(st_device* device, void* k, void* v, const void* qkv, const int32_t* slot, const int32_t* position,
                         const int32_t* offset, int64_t N, int64_t H, int64_t Hkv, int64_t D, int64_t slots, int64_t capacity,
                         st_dtype dtype) {
    int kind;
    ST_CHECK(check(device, "cache_store", dtype, &kind, {{"N", N}, {"slots", slots}, {"capacity", capacity}}));
    ST_CHECK(checkHeads(device, "cache_store", H, Hkv, D));
    if (N == 0) return ST_OK;
    ST_CHECK(checkPointers(device, "cache_store", {{"k", k}, {"v", v}, {"qkv", qkv}, {"slot", slot}, {"position", position}, {"offset", offset}}));
    for (int64_t n = 0; n < N; n++) {
        if (slot[n] < 0) continue;
        const int64_t index = static_cast<int64_t>(position[n]) - offset[n];
        ST_REQUIRE(slot[n] < slots, "cache_store: slot[%lld] = %d, the cache has %lld", (long long)n, slot[n], (long long)slots);
        ST_REQUIRE(index >= 0 && index < capacity, "cache_store: row %lld goes to index %lld of a slot that holds %lld", (long long)n,
                   (long long)index, (long long)capacity);
    }
    device->parallel(N, rowGrain(2 * Hkv * D), N * Hkv * D >= 4 * kShare, [&](int64_t from, int64_t to, int32_t) {
        device->kernels->cacheStore[kind](k, v, qkv, slot, position, offset, from, to, H, Hkv, D, slots, capacity);
    });
    return ST_OK;
}

st_status st_attention_cached(st_device* device, void* y, const void* qkv, const void* k, const void* v, const int32_t* cu_seqlens,
                              const int32_t* slot, const int32_t* prefix_slot, const int32_t* prefix_length, const int32_t* start,
                              int64_t S, int64_t longest, int64_t N, int64_t H, int64_t Hkv, int64_t D, int64_t slots,
                              int64_t capacity, double scale, int64_t window, st_dtype dtype) {
    int kind;
    ST_CHECK(check(device, "attention_cached", dtype, &kind,
                   {{"S", S}, {"longest", longest}, {"N", N}, {"slots", slots}, {"capacity", capacity}, {"window", window}}));
    ST_CHECK(checkHeads(device, "attention_cached", H, Hkv, D));
    if (N == 0 || S == 0) return ST_OK;
    ST_CHECK(checkPointers(device, "attention_cached",
                           {{"y", y}, {"qkv", qkv}, {"k", k}, {"v", v}, {"cu_seqlens", cu_seqlens}, {"slot", slot},
                            {"prefix_slot", prefix_slot}, {"prefix_length", prefix_length}, {"start", start}}));
    ST_CHECK(checkSequences(device, "attention_cached", cu_seqlens, S, longest, N));
    for (int64_t s = 0; s < S; s++) {
        if (slot[s] < 0) continue;
        const int64_t end = static_cast<int64_t>(start[s]) + cu_seqlens[s + 1] - cu_seqlens[s], prefix = prefix_length[s];
        ST_REQUIRE(slot[s] < slots, "attention_cached: slot[%lld] = %d, the cache has %lld", (long long)s, slot[s], (long long)slots);
        ST_REQUIRE(start[s] >= 0 && prefix >= 0 && prefix <= capacity && end - prefix <= capacity,
                   "attention_cached: sequence %lld (start %d, prefix_length %d, end %lld) does not fit slots of %lld", (long long)s,
                   start[s], prefix_length[s], (long long)end, (long long)capacity);
        ST_REQUIRE(prefix == 0 || (prefix_slot[s] >= 0 && prefix_slot[s] < slots),
                   "attention_cached: prefix_slot[%lld] = %d, the cache has %lld slots", (long long)s, prefix_slot[s], (long long)slots);
    }
    AttentionPlan plan = {};
    plan.y = y;
    plan.qkv = qkv;
    plan.k = k;
    plan.v = v;
    plan.cuSeqlens = cu_seqlens;
    plan.slot = slot;
    plan.prefixSlot = prefix_slot;
    plan.prefixLength = prefix_length;
    plan.start = start;
    plan.S = S;
    plan.H = H;
    plan.Hkv = Hkv;
    plan.D = D;
    plan.capacity = capacity;
    plan.scale = scale;
    plan.window = window;
    return attention(device, kind, plan, N * 8);
}

st_status st_swiglu_forward(st_device* device, void* y, const void* gate_up, int64_t N, int64_t F, st_dtype dtype) {
    int kind;
    ST_CHECK(check(device, "swiglu_forward", dtype, &kind, {{"N", N}, {"F", F}}));
    if (N == 0 || F == 0) return ST_OK;
    ST_CHECK(checkPointers(device, "swiglu_forward", {{"y", y}, {"gate_up", gate_up}}));
    device->parallel(N, rowGrain(F), N * F >= kShare, [&](int64_t from, int64_t to, int32_t) {
        device->kernels->swigluForward[kind](y, gate_up, from, to, F);
    });
    return ST_OK;
}

st_status st_swiglu_backward(st_device* device, void* d_gate_up, const void* dy, const void* gate_up, int64_t N, int64_t F,
                             st_dtype dtype) {
    int kind;
    ST_CHECK(check(device, "swiglu_backward", dtype, &kind, {{"N", N}, {"F", F}}));
    if (N == 0 || F == 0) return ST_OK;
    ST_CHECK(checkPointers(device, "swiglu_backward", {{"d_gate_up", d_gate_up}, {"dy", dy}, {"gate_up", gate_up}}));
    device->parallel(N, rowGrain(F), N * F >= kShare, [&](int64_t from, int64_t to, int32_t) {
        device->kernels->swigluBackward[kind](d_gate_up, dy, gate_up, from, to, F);
    });
    return ST_OK;
}

st_status st_add(st_device* device, void* y, const void* a, const void* b, int64_t n, st_dtype dtype) {
    int kind;
    ST_CHECK(check(device, "add", dtype, &kind, {{"n", n}}));
    if (n == 0) return ST_OK;
    ST_CHECK(checkPointers(device, "add", {{"y", y}, {"a", a}, {"b", b}}));
    device->parallel(n, 16384, n >= 4 * kShare, [&](int64_t from, int64_t to, int32_t) { device->kernels->add[kind](y, a, b, from, to); });
    return ST_OK;
}

st_status st_log_prob(st_device* device, void* log_prob, const void* logits, const int32_t* token, int64_t N, int64_t V, int64_t stride,
                      st_dtype dtype) {
    int kind;
    ST_CHECK(check(device, "log_prob", dtype, &kind, {{"N", N}, {"V", V}}));
    ST_REQUIRE(stride >= V, "log_prob: stride %lld is less than V = %lld", (long long)stride, (long long)V);
    if (N == 0) return ST_OK;
    ST_CHECK(checkPointers(device, "log_prob", {{"log_prob", log_prob}, {"token", token}}));
    if (V > 0) ST_CHECK(checkPointers(device, "log_prob", {{"logits", logits}}));
    device->parallel(N, rowGrain(V), N * V >= kShare, [&](int64_t from, int64_t to, int32_t) {
        device->kernels->logProb[kind](log_prob, logits, token, from, to, V, stride);
    });
    return ST_OK;
}

st_status st_cross_entropy(st_device* device, void* loss, void* dlogits, const void* logits, const int32_t* target, const void* weight,
                           int64_t N, int64_t V, int64_t stride, st_dtype dtype) {
    int kind;
    ST_CHECK(check(device, "cross_entropy", dtype, &kind, {{"N", N}, {"V", V}}));
    ST_REQUIRE(stride >= V, "cross_entropy: stride %lld is less than V = %lld", (long long)stride, (long long)V);
    if (N == 0) return ST_OK;
    ST_CHECK(checkPointers(device, "cross_entropy", {{"loss", loss}, {"target", target}}));
    if (V > 0) ST_CHECK(checkPointers(device, "cross_entropy", {{"logits", logits}}));
    if (dlogits) ST_CHECK(checkPointers(device, "cross_entropy", {{"weight", weight}}));
    device->parallel(N, rowGrain(V), N * V >= kShare, [&](int64_t from, int64_t to, int32_t) {
        device->kernels->crossEntropy[kind](loss, dlogits, logits, target, weight, from, to, V, stride);
    });
    return ST_OK;
}

/// Per thread: ids (i32), probabilities (f64) and gathered logits (real) of one row.
int64_t st_sample_scratch_bytes(st_device* device, int64_t, int64_t V) {
    return device && V > 0 ? device->pool->threads() * ((V * 20 + 127) / 64 * 64) : 0;
}

st_status st_sample(st_device* device, int32_t* token, void* log_prob, const void* logits, const uint64_t* key, const int32_t* position,
                    void* scratch, int64_t N, int64_t V, int64_t stride, double temperature, int64_t top_k, double top_p,
                    st_dtype dtype) {
    int kind;
    ST_CHECK(check(device, "sample", dtype, &kind, {{"N", N}, {"V", V}, {"top_k", top_k}}));
    ST_REQUIRE(stride >= V, "sample: stride %lld is less than V = %lld", (long long)stride, (long long)V);
    ST_REQUIRE(temperature >= 0 && std::isfinite(temperature), "sample: temperature must be finite and not negative, got %g", temperature);
    ST_REQUIRE(top_p > 0, "sample: top_p must be positive (1 switches it off), got %g", top_p);
    if (N == 0) return ST_OK;
    ST_REQUIRE(V > 0, "sample: V must be positive");
    ST_CHECK(checkPointers(device, "sample", {{"token", token}, {"log_prob", log_prob}, {"logits", logits}, {"key", key}, {"position", position}}));
    const bool truncated = temperature > 0 && ((top_k > 0 && top_k < V) || top_p < 1);
    if (!truncated) {
        device->parallel(N, rowGrain(V), N * V >= kShare / 4, [&](int64_t from, int64_t to, int32_t) {
            device->kernels->sample[kind](token, log_prob, logits, key, position, from, to, V, stride, temperature);
        });
        return ST_OK;
    }
    ST_CHECK(checkPointers(device, "sample", {{"scratch", scratch}}));
    const int64_t each = (V * 20 + 127) / 64 * 64, real = realBytes(dtype);
    device->parallel(N, 1, N * V >= kShare / 8, [&](int64_t from, int64_t to, int32_t thread) {
        double* p = reinterpret_cast<double*>(static_cast<char*>(scratch) + thread * each);
        char* gathered = reinterpret_cast<char*>(p + V);
        int32_t* kept = reinterpret_cast<int32_t*>(gathered + 8 * V);
        for (int64_t n = from; n < to; n++) {
            const char* row = static_cast<const char*>(logits) + n * stride * real;
            const int64_t count = subtext::keepMostLikely(kept, p, gathered, row, real == 8, V, temperature, top_k, top_p,
                                                          device->kernels->law[kind]);
            if (count == 0) {  // not a law: the plain path reports it as a log-probability that is not a number
                device->kernels->sample[kind](token, log_prob, logits, key, position, n, n + 1, V, stride, temperature);
                continue;
            }
            for (int64_t i = 0; i < count; i++) std::memcpy(gathered + i * real, row + kept[i] * real, real);
            device->kernels->sampleKept[kind](token + n, static_cast<char*>(log_prob) + n * real, gathered, kept, count, key[n], position[n],
                                              temperature);
        }
    });
    return ST_OK;
}

st_status st_decode_advance(st_device* device, int32_t* history, void* history_log_prob, int32_t* token, int32_t* position,
                            int32_t* drawn, int32_t* done, const int32_t* sampled, const void* sampled_log_prob, const int32_t* limit,
                            int64_t S, int64_t capacity, int32_t stop_token, st_dtype dtype) {
    int kind;
    ST_CHECK(check(device, "decode_advance", dtype, &kind, {{"S", S}, {"capacity", capacity}}));
    if (S == 0) return ST_OK;
    ST_CHECK(checkPointers(device, "decode_advance",
                           {{"history", history}, {"history_log_prob", history_log_prob}, {"token", token}, {"position", position},
                            {"drawn", drawn}, {"done", done}, {"sampled", sampled}, {"sampled_log_prob", sampled_log_prob}, {"limit", limit}}));
    const int64_t real = realBytes(dtype);
    for (int64_t s = 0; s < S; s++) {
        if (done[s]) continue;
        if (drawn[s] >= 0 && drawn[s] < capacity) {
            const int64_t at = s * capacity + drawn[s];
            history[at] = sampled[s];
            std::memcpy(static_cast<char*>(history_log_prob) + at * real, static_cast<const char*>(sampled_log_prob) + s * real, real);
        }
        drawn[s]++;
        token[s] = sampled[s];
        position[s]++;
        done[s] = sampled[s] == stop_token ? 1 : drawn[s] == limit[s] ? 2 : 0;
    }
    return ST_OK;
}

int64_t st_sum_squares_scratch_bytes(st_device*, int64_t n) { return n <= 0 ? 0 : (n + kSquaresChunk - 1) / kSquaresChunk * 8; }

st_status st_sum_squares(st_device* device, double* out, const void* x, void* scratch, int64_t n, st_dtype dtype) {
    int kind;
    ST_CHECK(check(device, "sum_squares", dtype, &kind, {{"n", n}}));
    ST_REQUIRE(dtype != ST_BF16, "sum_squares: dtype must be ST_F32 or ST_F64 (gradients are real), got ST_BF16");
    ST_CHECK(checkPointers(device, "sum_squares", {{"out", out}}));
    *out = 0;
    if (n == 0) return ST_OK;
    ST_CHECK(checkPointers(device, "sum_squares", {{"x", x}, {"scratch", scratch}}));
    double* partial = static_cast<double*>(scratch);
    const int64_t chunks = (n + kSquaresChunk - 1) / kSquaresChunk;
    device->parallel(chunks, 4, n >= 8 * kShare, [&](int64_t from, int64_t to, int32_t) {
        for (int64_t i = from; i < to; i++) {
            partial[i] = device->kernels->sumSquares[kind](x, i * kSquaresChunk, least(n, (i + 1) * kSquaresChunk));
        }
    });
    double total = 0;
    for (int64_t i = 0; i < chunks; i++) total += partial[i];
    *out = total;
    return ST_OK;
}

st_status st_adamw(st_device* device, void* weight, void* master, void* m, void* v, const void* grad, int64_t n, double grad_scale,
                   double lr, double beta1, double beta2, double eps, double decay, int64_t step, st_dtype dtype) {
    int kind;
    ST_CHECK(check(device, "adamw", dtype, &kind, {{"n", n}}));
    ST_REQUIRE(step >= 1, "adamw: step counts from 1, got %lld", (long long)step);
    if (n == 0) return ST_OK;
    ST_CHECK(checkPointers(device, "adamw", {{"weight", weight}, {"master", master}, {"m", m}, {"v", v}, {"grad", grad}}));
    const double correction1 = 1 - std::pow(beta1, static_cast<double>(step)), correction2 = 1 - std::pow(beta2, static_cast<double>(step));
    device->parallel(n, 8192, n >= 2 * kShare, [&](int64_t from, int64_t to, int32_t) {
        device->kernels->adamw[kind](weight, master, m, v, grad, from, to, grad_scale, lr, beta1, beta2, eps, decay, correction1, correction2);
    });
    return ST_OK;
}

}  // extern "C"
