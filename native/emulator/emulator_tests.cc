// Tests of the emulator itself: what it must compute, and the mistakes in kernels that it must catch.
#include <stdio.h>
#include <stdlib.h>

#include <string>
#include <vector>

#include "../cuda/common.cuh"
#include "../test/cublaslt.h"

using st::bf16;
namespace tc = st::tc;

// ---- a small harness -------------------------------------------------------------------------------------------------

static int passed = 0, failed = 0;

static void expect(bool condition, const std::string &what) {
    condition ? passed++ : failed++;
    if (!condition) printf("FAILED: %s\n", what.c_str());
}

/// Device memory with the values of a vector.
template <typename T>
struct Memory {
    T *at = nullptr;
    size_t count;
    explicit Memory(size_t n) : count(n) { cudaMalloc(&at, n * sizeof(T)); }
    explicit Memory(const std::vector<T> &values) : Memory(values.size()) {
        cudaMemcpy(at, values.data(), count * sizeof(T), cudaMemcpyHostToDevice);
    }
    ~Memory() { cudaFree(at); }
    Memory(const Memory &) = delete;
    std::vector<T> values() const {
        std::vector<T> copy(count);
        cudaMemcpy(copy.data(), at, count * sizeof(T), cudaMemcpyDeviceToHost);
        return copy;
    }
};

/// Waits; an expected failure must have the error's number and contain `words`.
static void expectFailure(cudaError_t error, const char *words, const char *what) {
    const cudaError_t got = cudaDeviceSynchronize();
    cudaGetLastError();
    const std::string text = cudaGetErrorString(got);
    expect(got == error && text.find(words) != std::string::npos, std::string(what) + ": got \"" + text + "\"");
}

static void expectSuccess(const char *what) {
    const cudaError_t got = cudaDeviceSynchronize();
    cudaGetLastError();
    expect(got == cudaSuccess, std::string(what) + ": got \"" + (got == cudaSuccess ? "" : cudaGetErrorString(got)) + "\"");
}

static const char *const orders[] = {"normal", "reversed", "shuffled:1", "shuffled:2", "shuffled:3"};

static void inOrder(const char *order) { setenv("SUBTEXT_EMULATOR_ORDER", order, 1); }

static uint32_t random32(uint32_t i) {
    i = (i ^ i >> 16) * 0x7feb352du;
    i = (i ^ i >> 15) * 0x846ca68bu;
    return i ^ i >> 16;
}

// ---- what it computes ------------------------------------------------------------------------------------------------

__global__ void indices(int *out) {
    const int block = blockIdx.x + gridDim.x * (blockIdx.y + gridDim.y * blockIdx.z);
    const int thread = threadIdx.x + blockDim.x * (threadIdx.y + blockDim.y * threadIdx.z);
    out[block * (blockDim.x * blockDim.y * blockDim.z) + thread] = block * 1000 + thread;
}

static void everyThreadOfEveryBlockRunsOnce() {
    for (const char *order : orders) {
        inOrder(order);
        Memory<int> out(2 * 3 * 4 * 5 * 6 * 7);
        ST_LAUNCH((indices), dim3(2, 3, 4), dim3(5, 6, 7), 0, nullptr, out.at);
        expectSuccess("indices");
        const std::vector<int> values = out.values();
        bool right = true;
        for (int b = 0; b < 24; b++)
            for (int t = 0; t < 210; t++) right &= values[b * 210 + t] == b * 1000 + t;
        expect(right, std::string("indices, ") + order);
    }
}

__global__ void blockSums(const float *x, float *out, int n) {
    __shared__ float partial[8];
    float sum = 0;
    for (int i = threadIdx.x; i < n; i += 256) sum += x[blockIdx.x * n + i];
    sum = st::blockSum<256>(sum, partial);
    if (threadIdx.x == 77) out[blockIdx.x] = sum;
}

static void barriersOrderSharedMemory() {
    const int blocks = 37, n = 1001;
    std::vector<float> x(blocks * n);
    for (size_t i = 0; i < x.size(); i++) x[i] = static_cast<float>(random32(i) % 100);
    Memory<float> in(x), out(blocks);
    for (const char *order : orders) {
        inOrder(order);
        ST_LAUNCH((blockSums), blocks, 256, 0, nullptr, in.at, out.at, n);
        expectSuccess("blockSums");
        const std::vector<float> sums = out.values();
        bool right = true;
        for (int b = 0; b < blocks; b++) {
            float sum = 0;
            for (int i = 0; i < n; i++) sum += x[b * n + i];  // small integers: exact in any order
            right &= sums[b] == sum;
        }
        expect(right, std::string("blockSums, ") + order);
    }
}

__global__ void collectives(int *out) {
    const int lane = threadIdx.x, n = blockDim.x;
    const uint32_t mask = 0xffffffffu;
    int row = 0;
    const auto put = [&](int v) { out[row++ * n + lane] = v; };
    put(__shfl_sync(mask, lane * 3, 5));
    put(__shfl_sync(mask, lane * 3, lane + 1, 8));
    put(__shfl_xor_sync(mask, lane, 9));
    put(__shfl_xor_sync(mask, lane, 9, 8));
    put(__shfl_up_sync(mask, lane, 3));
    put(__shfl_up_sync(mask, lane, 3, 16));
    put(__shfl_down_sync(mask, lane, 3));
    put(__shfl_down_sync(mask, lane, 3, 4));
    put(static_cast<int>(__ballot_sync(mask, lane % 3 == 0)));
    put(__any_sync(mask, lane == 31) + 2 * __any_sync(mask, 0) + 4 * __all_sync(mask, 1) + 8 * __all_sync(mask, lane != 7));
    put(__reduce_add_sync(mask, lane - 7));
    put(__reduce_min_sync(mask, lane - 7) * 100 + __reduce_max_sync(mask, lane % 13));
    put(static_cast<int>(__match_any_sync(mask, lane % 5)));
    put(__syncthreads_count(lane % 4 == 1) + 100 * __syncthreads_or(lane == 9) + 1000 * __syncthreads_and(lane != 9));
    // two halves of the warp meet on their own
    put(lane < 16 ? __shfl_sync(0x0000ffffu, lane, 3) : __shfl_sync(0xffff0000u, lane, 19));
    double wide = __shfl_xor_sync(mask, lane + 0.5, 1);
    put(static_cast<int>(2 * wide));
}

static void collectivesAgreeWithTheirDefinition() {
    const int rows = 16;
    for (const char *order : orders) {
        inOrder(order);
        Memory<int> out(rows * 32);
        ST_LAUNCH((collectives), 1, 32, 0, nullptr, out.at);
        expectSuccess("collectives");
        const std::vector<int> got = out.values();
        for (int lane = 0; lane < 32; lane++) {
            uint32_t thirds = 0, alike = 0;
            for (int l = 0; l < 32; l++) thirds |= (l % 3 == 0 ? 1u : 0u) << l, alike |= (l % 5 == lane % 5 ? 1u : 0u) << l;
            const int xorSegment = (lane ^ 9) <= (lane | 7) ? lane ^ 9 : lane;
            const int want[rows] = {15, ((lane & ~7) | ((lane + 1) & 7)) * 3, lane ^ 9, xorSegment, lane >= 3 ? lane - 3 : lane,
                                    lane % 16 >= 3 ? lane - 3 : lane, lane + 3 < 32 ? lane + 3 : lane, lane % 4 + 3 < 4 ? lane + 3 : lane,
                                    static_cast<int>(thirds), 1 + 4, 31 * 16 - 7 * 32, -700 + 12, static_cast<int>(alike), 8 + 100,
                                    lane < 16 ? 3 : 19, 2 * (lane ^ 1) + 1};
            for (int row = 0; row < rows; row++)
                expect(got[row * 32 + lane] == want[row], "collective " + std::to_string(row) + ", lane " + std::to_string(lane) + ", " +
                                                              order + ": got " + std::to_string(got[row * 32 + lane]));
        }
    }
}

__global__ void mmaTile(const bf16 *a, const bf16 *b, const float *c, float *d) {  // a (16, 16), b (8, 16) by columns, c, d (16, 8)
    const int lane = threadIdx.x, g = lane / 4, t = lane % 4;
    const auto pair = [](const bf16 *p) { return *reinterpret_cast<const uint32_t *>(p); };
    const uint32_t fa[4] = {pair(a + g * 16 + 2 * t), pair(a + (g + 8) * 16 + 2 * t), pair(a + g * 16 + 2 * t + 8),
                            pair(a + (g + 8) * 16 + 2 * t + 8)};
    const uint32_t fb[2] = {pair(b + g * 16 + 2 * t), pair(b + g * 16 + 2 * t + 8)};
    float fd[4] = {c[g * 8 + 2 * t], c[g * 8 + 2 * t + 1], c[(g + 8) * 8 + 2 * t], c[(g + 8) * 8 + 2 * t + 1]};
    tc::mma_m16n8k16_bf16(fd, fa, fb);
    d[g * 8 + 2 * t] = fd[0], d[g * 8 + 2 * t + 1] = fd[1], d[(g + 8) * 8 + 2 * t] = fd[2], d[(g + 8) * 8 + 2 * t + 1] = fd[3];
}

/// Every position of A and B is tried alone, then all together against a plain sum.
static void mmaAgreesWithAPlainProduct() {
    inOrder("shuffled:4");
    std::vector<bf16> a(256), b(128);
    std::vector<float> c(128);
    const auto product = [&](std::vector<float> &want) {
        Memory<bf16> da(a), db(b);
        Memory<float> dc(c), dd(128);
        ST_LAUNCH((mmaTile), 1, 32, 0, nullptr, da.at, db.at, dc.at, dd.at);
        expectSuccess("mma");
        want = c;
        for (int i = 0; i < 16; i++)
            for (int j = 0; j < 8; j++)
                for (int k = 0; k < 16; k++) want[i * 8 + j] += float(a[i * 16 + k]) * float(b[j * 16 + k]);
        return dd.values();
    };
    std::vector<float> want;
    bool right = true;
    for (int hot = 0; hot < 256 + 128; hot++) {
        for (int i = 0; i < 256; i++) a[i] = hot >= 256 ? static_cast<float>(1 + i % 16 + 16 * (i / 16)) : hot == i ? 1.0f : 0.0f;
        for (int i = 0; i < 128; i++) b[i] = hot < 256 ? static_cast<float>(1 + i) : hot - 256 == i ? 1.0f : 0.0f;
        for (int i = 0; i < 128; i++) c[i] = static_cast<float>(1000 * i);
        const std::vector<float> got = product(want);
        right &= got == want;
    }
    expect(right, "mma, one position at a time");
    for (int round = 0; round < 10; round++) {
        for (int i = 0; i < 256; i++) a[i] = static_cast<float>(static_cast<int>(random32(round * 1000 + i))) * 1e-9f;
        for (int i = 0; i < 128; i++) b[i] = static_cast<float>(static_cast<int>(random32(round * 1000 + 500 + i))) * 1e-9f;
        for (int i = 0; i < 128; i++) c[i] = static_cast<float>(static_cast<int>(random32(round * 1000 + 700 + i))) * 1e-9f;
        const std::vector<float> got = product(want);
        expect(got == want, "mma of random values is the chain it documents");
    }
}

template <int matrices, bool transposed>
__global__ void loadMatrices(const uint16_t *in, uint16_t *out) {
    ST_DYNAMIC_SHARED(uint16_t, tile);
    for (int i = threadIdx.x; i < matrices * 64; i += 32) tile[i] = in[i];
    __syncthreads();
    uint32_t r[matrices];
    const uint16_t *row = tile + threadIdx.x % (8 * matrices) * 8;
    if (matrices == 4 && !transposed) tc::ldmatrix_x4(r, row);
    if (matrices == 4 && transposed) tc::ldmatrix_x4_trans(r, row);
    if (matrices == 2 && !transposed) tc::ldmatrix_x2(r, row);
    if (matrices == 2 && transposed) tc::ldmatrix_x2_trans(r, row);
    for (int m = 0; m < matrices; m++) {
        out[m * 64 + 2 * threadIdx.x] = static_cast<uint16_t>(r[m]);
        out[m * 64 + 2 * threadIdx.x + 1] = static_cast<uint16_t>(r[m] >> 16);
    }
}

template <int matrices, bool transposed>
static void ldmatrixDealsOutRows() {
    std::vector<uint16_t> in(matrices * 64);
    for (size_t i = 0; i < in.size(); i++) in[i] = static_cast<uint16_t>(100 + i);
    Memory<uint16_t> from(in), to(in.size());
    ST_LAUNCH((loadMatrices<matrices, transposed>), 1, 32, matrices * 128, nullptr, from.at, to.at);
    expectSuccess("ldmatrix");
    const std::vector<uint16_t> got = to.values();
    bool right = true;
    for (int m = 0; m < matrices; m++)
        for (int i = 0; i < 8; i++)
            for (int j = 0; j < 8; j++) right &= got[m * 64 + i * 8 + j] == in[m * 64 + (transposed ? j * 8 + i : i * 8 + j)];
    expect(right, "ldmatrix x" + std::to_string(matrices) + (transposed ? " transposed" : ""));
}

/// A pipeline of two stages, as the matrix product has; `wait` is what the mistaken version leaves out.
template <bool wait>
__global__ void pipeline(const float *in, float *out, int tiles, int valid) {
    ST_DYNAMIC_SHARED(float, stage);
    const auto fetch = [&](int tile) {
        if (tile < tiles) tc::cp_async_16(stage + tile % 2 * 128 + threadIdx.x * 4, in + tile * 128 + threadIdx.x * 4, tile < valid);
        tc::cp_async_commit();
    };
    float sum = 0;
    fetch(0);
    for (int tile = 0; tile < tiles; tile++) {
        fetch(tile + 1);
        if (wait) tc::cp_async_wait<1>();
        __syncthreads();
        for (int i = 0; i < 4; i++) sum += stage[tile % 2 * 128 + (threadIdx.x * 4 + i + 64) % 128];
        __syncthreads();
    }
    out[threadIdx.x] = sum;
}

static void asynchronousCopiesArriveAtTheWait() {
    const int tiles = 5, valid = 4;
    std::vector<float> in(tiles * 128);
    for (size_t i = 0; i < in.size(); i++) in[i] = static_cast<float>(i % 91);
    Memory<float> from(in), to(32);
    for (const char *order : orders) {
        inOrder(order);
        ST_LAUNCH((pipeline<true>), 1, 32, 1024, nullptr, from.at, to.at, tiles, valid);
        expectSuccess("pipeline");
        const std::vector<float> got = to.values();
        bool right = true;
        for (int t = 0; t < 32; t++) {
            float want = 0;
            for (int tile = 0; tile < valid; tile++)
                for (int i = 0; i < 4; i++) want += in[tile * 128 + (t * 4 + i + 64) % 128];
            right &= got[t] == want;
        }
        expect(right, std::string("pipeline, ") + order);
    }
    ST_LAUNCH((pipeline<false>), 1, 32, 1024, nullptr, from.at, to.at, tiles, valid);
    expectSuccess("pipeline without wait");
    const float first = to.values()[0];
    expect(first != first, "a missing cp.async wait gives NaN");
}

__global__ void addOne(float *x, int n) {
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n) x[i] += 1;
}

static void recordingsReplay() {
    cudaStream_t stream;
    cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking);
    const int n = 1000;
    Memory<float> x(std::vector<float>(n, 0.0f));
    cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal);
    cudaMemsetAsync(x.at, 0, 4, stream);
    for (int i = 0; i < 3; i++) ST_LAUNCH((addOne), 8, 128, 0, stream, x.at, n);
    cudaGraph_t graph;
    cudaGraphExec_t executable;
    expect(cudaStreamEndCapture(stream, &graph) == cudaSuccess, "end of capture");
    expect(cudaGraphInstantiate(&executable, graph, 0) == cudaSuccess, "instantiate");
    expect(x.values()[5] == 0, "capture does not run");
    for (int i = 0; i < 4; i++) cudaGraphLaunch(executable, stream);
    expect(cudaStreamSynchronize(stream) == cudaSuccess, "replay");
    expect(x.values()[5] == 12 && x.values()[0] == 3 && x.values()[n - 1] == 12, "replayed four times");
    cudaGraphExecDestroy(executable);
    cudaGraphDestroy(graph);
    cudaStreamDestroy(stream);
}

static void streamsRunWhenSomebodyWaits() {
    cudaStream_t stream;
    cudaStreamCreate(&stream);
    float *pinned;
    cudaHostAlloc(&pinned, 4, cudaHostAllocDefault);
    Memory<float> x(std::vector<float>(1, 0.0f));
    *pinned = 1;
    cudaMemcpyAsync(x.at, pinned, 4, cudaMemcpyHostToDevice, stream);
    *pinned = 2;  // a mistake: the copy has only been queued
    cudaStreamSynchronize(stream);
    expect(x.values()[0] == 2, "pinned memory is read when the copy runs");
    float pageable = 3;
    cudaMemcpyAsync(x.at, &pageable, 4, cudaMemcpyHostToDevice, stream);
    pageable = 4;  // allowed: pageable memory is staged
    cudaStreamSynchronize(stream);
    expect(x.values()[0] == 3, "pageable memory is read at once");
    cudaEvent_t from, to;
    cudaEventCreate(&from), cudaEventCreate(&to);
    cudaEventRecord(from, stream);
    ST_LAUNCH((addOne), 1, 32, 0, stream, x.at, 1);
    cudaEventRecord(to, stream);
    float milliseconds = -1;
    expect(cudaEventElapsedTime(&milliseconds, from, to) == cudaErrorNotReady, "an event that has not passed has no time");
    cudaEventSynchronize(to);
    expect(cudaEventElapsedTime(&milliseconds, from, to) == cudaSuccess && milliseconds > 0, "time between events");
    cudaEventDestroy(from), cudaEventDestroy(to);
    cudaFreeHost(pinned);
    cudaStreamDestroy(stream);
    cudaGetLastError();
}

__global__ void histogram(const int *x, int *count, int n) {
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n) atomicAdd(&count[x[i]], 1);
    if (i < n) atomicMax(&count[16], x[i] + 1);
}

static void atomicsCount() {
    const int n = 10000;
    std::vector<int> x(n), want(17, 0);
    for (int i = 0; i < n; i++) x[i] = static_cast<int>(random32(i) % 16), want[x[i]]++;
    want[16] = 16;
    Memory<int> in(x), out(std::vector<int>(17, 0));
    ST_LAUNCH((histogram), 79, 128, 0, nullptr, in.at, out.at, n);
    expectSuccess("histogram");
    expect(out.values() == want, "atomics");
}

__global__ void bf16RoundTrip(const float *x, uint16_t *y, int n) {
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n) y[i] = __bfloat16_as_ushort(__float2bfloat16_rn(x[i]));
}

static void bf16RoundsToNearestEven() {
    const std::vector<float> x = {1.0f, 1.00390625f, 1.01171875f, 1.0039064f, -1.00390625f, 3.4e38f, 1e-45f, INFINITY, NAN, 0.0f, -0.0f};
    const std::vector<uint16_t> want = {0x3f80, 0x3f80, 0x3f82, 0x3f81, 0xbf80, 0x7f80, 0x0000, 0x7f80, 0x7fff, 0x0000, 0x8000};
    Memory<float> in(x);
    Memory<uint16_t> out(x.size());
    ST_LAUNCH((bf16RoundTrip), 1, 32, 0, nullptr, in.at, out.at, static_cast<int>(x.size()));
    expectSuccess("bf16");
    expect(out.values() == want, "bf16 rounds to nearest even");
}

// ---- mistakes --------------------------------------------------------------------------------------------------------

template <bool barrier>
__global__ void neighbour(float *out) {
    __shared__ float line[64];
    line[threadIdx.x] = static_cast<float>(threadIdx.x);
    if (barrier) __syncthreads();
    out[threadIdx.x] = line[(threadIdx.x + 1) % 64];
}

/// The planted race: without the barrier the orders disagree (and poison shows); with it they agree.
static void aMissingBarrierShowsBetweenOrders() {
    std::vector<std::vector<float>> without, with;
    for (const char *order : orders) {
        inOrder(order);
        Memory<float> out(64);
        ST_LAUNCH((neighbour<false>), 1, 64, 0, nullptr, out.at);
        if (cudaDeviceSynchronize() == cudaSuccess) without.push_back(out.values());  // the checked library stops it
        cudaGetLastError();
        ST_LAUNCH((neighbour<true>), 1, 64, 0, nullptr, out.at);
        expectSuccess("neighbour with a barrier");
        with.push_back(out.values());
    }
    bool differ = without.empty(), agree = true;
    for (const auto &each : without) differ |= memcmp(each.data(), without[0].data(), 256) != 0;
    for (const auto &each : with) agree &= each == with[0];
    expect(differ, "a missing barrier shows between thread orders");
    expect(agree, "with the barrier all orders agree");
    inOrder("normal");
}

__global__ void readAt(const float *x, float *y, long long i) { y[0] = x[i]; }
__global__ void writeAt(float *x, long long i) { x[i] = 1; }
__global__ void vectorAt(const float *x, float *y, int i) { st::storeWords(y, st::loadWords(x + i)); }
__global__ void sharedAt(float *y, int i) {
    ST_DYNAMIC_SHARED(float, s);
    s[i] = 1;
    y[0] = s[i];
}

static void strayAccessesAreCaught() {
    Memory<float> x(std::vector<float>(1000, 1.0f)), y(4);
    ST_LAUNCH((readAt), 1, 1, 0, nullptr, x.at, y.at, 1 << 20);
    expectFailure(cudaErrorIllegalAddress, "kernel (readAt)", "a read far outside");
    ST_LAUNCH((readAt), 1, 1, 0, nullptr, x.at, y.at, -(1 << 14));
    expectFailure(cudaErrorIllegalAddress, "kernel (readAt)", "a read far before");
    ST_LAUNCH((writeAt), 1, 1, 0, nullptr, x.at, 1024);
    expectFailure(cudaErrorIllegalAddress, "offset 4096 of 4000 bytes of device memory", "a write behind the last page");
    ST_LAUNCH((writeAt), 1, 1, 0, nullptr, x.at, 1000);
    expectFailure(cudaErrorIllegalAddress, "offset 4000 of", "a write just behind the end");
    ST_LAUNCH((writeAt), 1, 1, 0, nullptr, x.at, -1);
    expectFailure(cudaErrorIllegalAddress, "offset -4 of", "a write just before the start");
    ST_LAUNCH((readAt), 1, 1, 0, nullptr, static_cast<const float *>(nullptr), y.at, 0);
    expectFailure(cudaErrorIllegalAddress, "no device memory", "a null pointer");
    ST_LAUNCH((vectorAt), 1, 1, 0, nullptr, x.at, y.at, 1);
    expectFailure(cudaErrorMisalignedAddress, "not aligned to 16", "a misaligned vector load");
    ST_LAUNCH((vectorAt), 1, 1, 0, nullptr, x.at, y.at, 1000);
    expectFailure(cudaErrorIllegalAddress, "offset 4000 of", "a vector load just outside");
    ST_LAUNCH((sharedAt), 1, 1, 4096, nullptr, y.at, 1024);
    expectFailure(cudaErrorIllegalAddress, "offset 4096 of 4096 bytes of dynamic shared memory", "shared memory overrun");
    ST_LAUNCH((sharedAt), 1, 1, 4000, nullptr, y.at, 1000);
    expectFailure(cudaErrorIllegalAddress, "offset 4000 of 4000 bytes of dynamic shared memory", "a slight shared memory overrun");
    ST_LAUNCH((vectorAt), 1, 1, 0, nullptr, x.at, y.at, 996);
    expectSuccess("the last vector is in bounds");
    float *gone;
    cudaMalloc(&gone, 400);
    cudaFree(gone);
    ST_LAUNCH((writeAt), 1, 1, 0, nullptr, gone, 3);
    expectFailure(cudaErrorIllegalAddress, "has been freed", "use after free");
    expect(cudaFree(gone) == cudaErrorInvalidValue, "a second free");
    cudaGetLastError();
    expect(cudaMemcpy(x.at, y.at, 17, cudaMemcpyDeviceToDevice) == cudaErrorInvalidValue, "a copy beyond its source");
    cudaGetLastError();
}

static void freshMemoryIsPoisoned() {
    Memory<float> fresh(100);
    const std::vector<float> values = fresh.values();
    bool all = true;
    for (float v : values) all &= v != v;
    expect(all, "fresh device memory is NaN");
    Memory<float> y(4);
    ST_LAUNCH((neighbour<true>), 1, 64, 0, nullptr, Memory<float>(64).at);
    cudaDeviceSynchronize();
    cudaGetLastError();
}

__global__ void staleShared(float *out) {
    __shared__ float kept[32];
    out[blockIdx.x * 32 + threadIdx.x] = kept[threadIdx.x];
    kept[threadIdx.x] = 1;
}

static void sharedMemoryIsPoisonedForEveryBlock() {
    Memory<float> out(64 * 32);
    ST_LAUNCH((staleShared), 64, 32, 0, nullptr, out.at);
    expectSuccess("staleShared");
    bool all = true;
    for (float v : out.values()) all &= v != v;
    expect(all, "static shared memory is NaN at the start of every block");
}

__global__ void wrongMask() {
    if (threadIdx.x < 16) __shfl_sync(0x00ffffffu, 1, 0);
    else __shfl_sync(0xffffffffu, 1, 0);
}
__global__ void notInMask() { __shfl_sync(0x0000ffffu, 1, 0); }
__global__ void differentCollectives() {
    if (threadIdx.x % 2) __syncwarp();
    else __ballot_sync(0xffffffffu, 1);
}
__global__ void someLanesOnly() {
    if (threadIdx.x < 16) __syncwarp();
}
__global__ void goneLane() {
    if (threadIdx.x == 3) return;
    __syncwarp();
}
__global__ void barrierInABranch() {
    if (threadIdx.x < 32) __syncthreads();
    else __syncwarp(), __syncwarp();
}
__global__ void barrierAgainstShuffle() {
    if (threadIdx.x % 2) __syncthreads();
    else __shfl_xor_sync(0xffffffffu, 1, 1);
}
__global__ void earlyExit(int n) {
    if (static_cast<int>(threadIdx.x) >= n) return;
    __syncthreads();
}
__global__ void differentBarriers() {
    if (threadIdx.x < 32) __syncthreads();
    else __syncthreads_or(1);
}
__global__ void trapping() {
    if (threadIdx.x == 5) __trap();
}
__global__ void deepStack(int *out, int depth) {
    volatile char frame[2048];
    frame[0] = static_cast<char>(depth);
    if (depth > 0) deepStack(out, depth - 1);
    out[0] = frame[0];
}

static void mismatchedCollectivesAreCaught() {
    Memory<int> out(1);
    for (const char *order : orders) {
        inOrder(order);
        ST_LAUNCH((wrongMask), 1, 32, 0, nullptr);
        expectFailure(cudaErrorLaunchFailure, "kernel (wrongMask), block (0,0,0), thread", "different masks");
        ST_LAUNCH((notInMask), 1, 32, 0, nullptr);
        expectFailure(cudaErrorLaunchFailure, "leaves out its own lane", "a lane outside its mask");
        ST_LAUNCH((differentCollectives), 1, 32, 0, nullptr);
        expectFailure(cudaErrorLaunchFailure, "differentCollectives", "different collectives");
        ST_LAUNCH((someLanesOnly), 1, 32, 0, nullptr);
        expectFailure(cudaErrorLaunchFailure, "__syncwarp", "lanes that never come");
        ST_LAUNCH((goneLane), 1, 32, 0, nullptr);
        expectFailure(cudaErrorLaunchFailure, "__syncwarp", "a lane that has left");
        ST_LAUNCH((barrierInABranch), 1, 64, 0, nullptr);
        expectFailure(cudaErrorLaunchFailure, "__syncthreads", "a barrier in a branch");
        ST_LAUNCH((barrierAgainstShuffle), 1, 32, 0, nullptr);
        expectFailure(cudaErrorLaunchFailure, "nobody can go on", "a barrier against a shuffle");
        ST_LAUNCH((earlyExit), 1, 64, 0, nullptr, 40);
        expectFailure(cudaErrorLaunchFailure, "__syncthreads", "an exit before a barrier");
        ST_LAUNCH((differentBarriers), 1, 64, 0, nullptr);
        expectFailure(cudaErrorLaunchFailure, "while others wait at", "different barriers");
        ST_LAUNCH((trapping), 4, 32, 0, nullptr);
        expectFailure(cudaErrorLaunchFailure, "__trap", "a trap");
        ST_LAUNCH((deepStack), 1, 1, 0, nullptr, out.at, 1000);
        expectFailure(cudaErrorLaunchFailure, "stack", "a stack overflow");
        ST_LAUNCH((indices), 1, 1, 0, nullptr, out.at);
        expectSuccess("the device goes on after failures");
    }
    inOrder("normal");
}

static void badLaunchesAreRefused() {
    Memory<float> y(1);
    const auto refused = [&](dim3 grid, dim3 block, size_t shared, const char *what) {
        ST_LAUNCH((sharedAt), grid, block, shared, nullptr, y.at, 0);
        expect(cudaGetLastError() != cudaSuccess, what);
        cudaDeviceSynchronize();
        cudaGetLastError();
    };
    refused(0, 32, 0, "an empty grid");
    refused(1, 1025, 0, "too many threads");
    refused(dim3(1, 65536), 32, 0, "a grid too high");
    refused(1, 32, 200 * 1024, "too much shared memory");
    void *function = nullptr;
    expect(cudaGetDriverEntryPoint("cuTensorMapEncodeTiled", &function, 0) != cudaSuccess && function == nullptr, "no driver");
    cudaGetLastError();
    void *much;
    expect(cudaMalloc(&much, size_t{1} << 50) == cudaErrorMemoryAllocation, "out of memory");
    cudaGetLastError();
}

#if defined(ST_EMULATOR_CHECKED)

__global__ void overwriteWhatOthersRead(float *out) {
    __shared__ float line[64];
    line[threadIdx.x] = 1;
    __syncthreads();
    out[threadIdx.x] = line[threadIdx.x ^ 32];
    line[threadIdx.x] = 2;  // the other warp may not have read it yet
}
template <bool sync>
__global__ void exchangeInWarp(float *out) {
    __shared__ float line[64];
    line[threadIdx.x] = 1;
    if (sync) __syncwarp();
    out[threadIdx.x] = line[threadIdx.x ^ 1];
}
__global__ void halvesOfAWarp(float *out, bool across) {
    __shared__ float line[32];
    line[threadIdx.x] = 1;
    __syncwarp(threadIdx.x < 16 ? 0x0000ffffu : 0xffff0000u);
    out[threadIdx.x] = line[across ? threadIdx.x ^ 16 : threadIdx.x ^ 1];
}
__global__ void allWriteOneWord(float *out) { out[threadIdx.x / 2] = 1; }
__global__ void blocksOverlap(float *out) { out[blockIdx.x * 31 + threadIdx.x] = 1; }
/// The last block to finish adds up what all have written: ordered by the counter.
template <bool counted>
__global__ void lastBlockSums(float *partial, int *counter, float *out) {
    if (threadIdx.x == 0) partial[blockIdx.x] = 1;
    __shared__ int last;
    __syncthreads();
    if (threadIdx.x == 0) {
        __threadfence();
        last = counted ? atomicAdd(counter, 1) == static_cast<int>(gridDim.x) - 1 : blockIdx.x == gridDim.x - 1;
        __threadfence();
    }
    __syncthreads();
    if (last && threadIdx.x == 0) {
        float sum = 0;
        for (unsigned b = 0; b < gridDim.x; b++) sum += partial[b];
        *out = sum;
    }
}
template <bool barrier>
__global__ void pipelineWithoutBarrier(const float *in, float *out) {
    __shared__ float stage[128];
    tc::cp_async_16(stage + threadIdx.x * 4, in + threadIdx.x * 4, true);
    tc::cp_async_commit();
    tc::cp_async_wait<0>();
    if (barrier) __syncthreads();
    out[threadIdx.x] = stage[threadIdx.x * 4 ^ 64];
}
__global__ void fragments(uint32_t *out, bool barrier) {
    __shared__ __align__(16) uint16_t tile[256];
    for (int i = 0; i < 8; i++) tile[threadIdx.x * 8 + i] = 1;
    if (barrier) __syncwarp();
    uint32_t r[4];
    tc::ldmatrix_x4(r, tile + (threadIdx.x ^ 1) * 8);
    out[threadIdx.x] = r[0];
}

static void racesAreFoundWhateverTheOrder() {
    Memory<float> x(std::vector<float>(2000, 1.0f)), partial(64), out(64);
    Memory<int> counter(std::vector<int>(1, 0));
    Memory<uint32_t> bits(32);
    for (const char *order : orders) {
        inOrder(order);
        ST_LAUNCH((neighbour<false>), 1, 64, 0, nullptr, out.at);
        expectFailure(cudaErrorLaunchFailure, "static shared memory, which thread", "a read before the barrier");
        ST_LAUNCH((overwriteWhatOthersRead), 1, 64, 0, nullptr, out.at);
        expectFailure(cudaErrorLaunchFailure, "race", "a write after the last barrier");
        ST_LAUNCH((exchangeInWarp<false>), 1, 64, 0, nullptr, out.at);
        expectFailure(cudaErrorLaunchFailure, "race", "lanes without __syncwarp");
        ST_LAUNCH((exchangeInWarp<true>), 1, 64, 0, nullptr, out.at);
        expectSuccess("lanes with __syncwarp");
        ST_LAUNCH((halvesOfAWarp), 1, 32, 0, nullptr, out.at, true);
        expectFailure(cudaErrorLaunchFailure, "race", "across the halves of a warp");
        ST_LAUNCH((halvesOfAWarp), 1, 32, 0, nullptr, out.at, false);
        expectSuccess("inside the halves of a warp");
        ST_LAUNCH((allWriteOneWord), 1, 64, 0, nullptr, out.at);
        expectFailure(cudaErrorLaunchFailure, "device memory, which thread", "two threads write one word");
        ST_LAUNCH((blocksOverlap), 2, 32, 0, nullptr, out.at);
        expectFailure(cudaErrorLaunchFailure, "race", "two blocks write one word");
        ST_LAUNCH((lastBlockSums<false>), 64, 32, 0, nullptr, partial.at, counter.at, out.at);
        expectFailure(cudaErrorLaunchFailure, "race", "a block reads what others write");
        ST_LAUNCH((lastBlockSums<true>), 64, 32, 0, nullptr, partial.at, counter.at, out.at);
        expectSuccess("the last block, known by a counter");
        expect(out.values()[0] == 64, "the last block's sum");
        cudaMemset(counter.at, 0, 4);
        ST_LAUNCH((pipelineWithoutBarrier<false>), 1, 32, 0, nullptr, x.at, out.at);
        expectFailure(cudaErrorLaunchFailure, "race", "cp.async read by others without a barrier");
        ST_LAUNCH((pipelineWithoutBarrier<true>), 1, 32, 0, nullptr, x.at, out.at);
        expectSuccess("cp.async read by others after a barrier");
        ST_LAUNCH((fragments), 1, 32, 0, nullptr, bits.at, false);
        expectFailure(cudaErrorLaunchFailure, "race", "ldmatrix of rows just written");
        ST_LAUNCH((fragments), 1, 32, 0, nullptr, bits.at, true);
        expectSuccess("ldmatrix after __syncwarp");
    }
    inOrder("normal");
}

static void everyAccessIsInBounds() {
    Memory<float> x(std::vector<float>(1000, 1.0f)), y(4);
    ST_LAUNCH((readAt), 1, 1, 0, nullptr, x.at, y.at, 1000);
    expectFailure(cudaErrorIllegalAddress, "reads 4 bytes at offset 4000 of 4000 bytes", "a plain read just outside");
    ST_LAUNCH((readAt), 1, 1, 0, nullptr, x.at, y.at, 999);
    expectSuccess("a plain read of the last element");
    ST_LAUNCH((readAt), 1, 1, 0, nullptr, reinterpret_cast<const float *>(reinterpret_cast<uintptr_t>(x.at) + 2), y.at, 0);
    expectFailure(cudaErrorMisalignedAddress, "not aligned to 4", "a plain misaligned read");
}

#endif

/// The same launch gives the same bits, however many OS threads take part and whatever ran before.
static void runsAreReproducible() {
    std::vector<float> x(64 * 1000);
    for (size_t i = 0; i < x.size(); i++) x[i] = static_cast<float>(random32(i)) * 1e-9f;
    Memory<float> in(x), out(64);
    inOrder("shuffled:9");
    std::vector<float> first;
    for (int round = 0; round < 5; round++) {
        ST_LAUNCH((blockSums), 64, 256, 0, nullptr, in.at, out.at, 1000);
        expectSuccess("blockSums");
        if (round == 0) first = out.values();
        expect(first == out.values(), "reproducible");
    }
    inOrder("normal");
}

/// The emulated cuBLASLt, called the way the bench calls the vendor's; its work is queued and recorded like kernels.
static void cublasLtMultiplies(const char *path) {
    setenv("SUBTEXT_CUBLASLT", path, 1);
    const CublasLt lt;
    expect(lt.present() && lt.path == path, "cuBLASLt opens");
    if (!lt.present()) return;
    cudaStream_t stream;
    cudaStreamCreate(&stream);
    const int M = 13, N = 7, K = 29;
    Memory<unsigned char> workspace(CublasLt::workspaceBytes);
    for (const CublasLt::Layout layout : {CublasLt::Layout::NT, CublasLt::Layout::NN, CublasLt::Layout::TN}) {
        const bool aT = layout == CublasLt::Layout::TN, bT = layout == CublasLt::Layout::NT;
        std::vector<bf16> a(M * K), b(K * N);
        for (size_t i = 0; i < a.size(); i++) a[i] = static_cast<float>(static_cast<int>(random32(static_cast<uint32_t>(i)) % 17) - 8);
        for (size_t i = 0; i < b.size(); i++) b[i] = static_cast<float>(static_cast<int>(random32(static_cast<uint32_t>(i + 999)) % 17) - 8);
        Memory<bf16> da(a), db(b);
        Memory<float> dc(aT ? std::vector<float>(M * N, 5.0f) : std::vector<float>(M * N, NAN));  // NaN: C is not read when beta is 0
        const CublasLt::Plan plan = lt.plan(layout, M, N, K, true, 4);
        expect(!plan.algorithms.empty(), "an algorithm");
        if (plan.algorithms.empty()) continue;
        cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal);
        expect(lt.run(plan, 0, dc.at, da.at, db.at, workspace.at, stream) == 0, "cublasLtMatmul");
        cudaGraph_t graph;
        cudaGraphExec_t executable;
        cudaStreamEndCapture(stream, &graph);
        cudaGraphInstantiate(&executable, graph, 0);
        cudaGraphLaunch(executable, stream);
        cudaStreamSynchronize(stream);
        const std::vector<float> c = dc.values();
        bool right = true;
        for (int i = 0; i < M; i++)
            for (int j = 0; j < N; j++) {
                float want = aT ? 5.0f : 0.0f;  // small integers: exact
                for (int k = 0; k < K; k++) want += float(a[aT ? k * M + i : i * K + k]) * float(b[bT ? j * K + k : k * N + j]);
                right &= c[i * N + j] == want;
            }
        expect(right, "cuBLASLt product " + std::to_string(static_cast<int>(layout)));
        cudaGraphExecDestroy(executable);
        cudaGraphDestroy(graph);
    }
    cudaStreamDestroy(stream);
}

int main(int count, char **arguments) {
    everyThreadOfEveryBlockRunsOnce();
    barriersOrderSharedMemory();
    collectivesAgreeWithTheirDefinition();
    mmaAgreesWithAPlainProduct();
    ldmatrixDealsOutRows<4, false>();
    ldmatrixDealsOutRows<4, true>();
    ldmatrixDealsOutRows<2, false>();
    ldmatrixDealsOutRows<2, true>();
    asynchronousCopiesArriveAtTheWait();
    recordingsReplay();
    streamsRunWhenSomebodyWaits();
    atomicsCount();
    bf16RoundsToNearestEven();
    aMissingBarrierShowsBetweenOrders();
    freshMemoryIsPoisoned();
    sharedMemoryIsPoisonedForEveryBlock();
    strayAccessesAreCaught();
    mismatchedCollectivesAreCaught();
    badLaunchesAreRefused();
#if defined(ST_EMULATOR_CHECKED)
    racesAreFoundWhateverTheOrder();
    everyAccessIsInBounds();
#endif
    runsAreReproducible();
    if (count > 1) cublasLtMultiplies(arguments[1]);
    printf("%d passed, %d failed\n", passed, failed);
    return failed == 0 ? 0 : 1;
}
