// Measures st_attention_forward, _backward and _cached of a library, knowing it only through subtext.h, and checks on the way that decoding
// gives the bits of the forward pass and that bf16 agrees with f32. The status is 1 if not.
//
//   attention_bench --lib libsubtext_cuda.so [--json file] [--quick]
//
// Training: 16384 tokens in sequences of 2k to 16k, 2048 / D heads, causal; FLOP counted as 4 D (forward) and 10 D (backward) per pair
// of query and key seen, half of all pairs. Decoding: 256 sequences, 32 query and 4 kv heads, bytes of the keys and values read.
// --quick: small sizes, for machines where the library is slow (the emulator, the CPU).
#include <dlfcn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <algorithm>
#include <string>
#include <vector>

#include "../include/subtext.h"

namespace {

void *library;
st_device *device;

/// The library's function of that name; ends the program if there is none.
template <typename F>
F *symbol(const char *name) {
    void *address = dlsym(library, name);
    if (address == nullptr) {
        fprintf(stderr, "%s\n", dlerror());
        exit(2);
    }
    return reinterpret_cast<F *>(address);
}
#define CALL(name, ...) check(symbol<decltype(name)>(#name)(__VA_ARGS__), #name)

void check(st_status status, const char *what) {
    if (status == ST_OK) return;
    fprintf(stderr, "%s: status %d: %s\n", what, status, symbol<decltype(st_last_error)>("st_last_error")(device));
    exit(2);
}

struct Memory {
    void *address = nullptr;
    explicit Memory(int64_t bytes) { CALL(st_alloc, device, &address, std::max<int64_t>(bytes, 64)); }
    Memory(const Memory &) = delete;
    ~Memory() { CALL(st_free, device, address); }
    int32_t *ints() const { return static_cast<int32_t *>(address); }
    void upload(const std::vector<int32_t> &x) const { CALL(st_upload, device, address, x.data(), 4 * static_cast<int64_t>(x.size())); }
};

void fillNormal(const Memory &x, int64_t n, uint64_t seed, st_dtype dtype) {
    CALL(st_fill_normal, device, x.address, n, 0.0, 1.0, 0.0, seed, 0, dtype);
}

/// Median milliseconds of `work`, after a warm-up.
template <typename Work>
double milliseconds(int repeats, Work work) {
    st_event *from, *to;
    CALL(st_event_create, device, &from);
    CALL(st_event_create, device, &to);
    work();
    work();
    std::vector<double> times;
    for (int i = 0; i < repeats; i++) {
        CALL(st_event_record, device, from);
        work();
        CALL(st_event_record, device, to);
        double ms = 0;
        CALL(st_event_elapsed, device, &ms, from, to);
        times.push_back(ms);
    }
    CALL(st_event_free, device, from);
    CALL(st_event_free, device, to);
    std::sort(times.begin(), times.end());
    return times[times.size() / 2];
}

std::string json;
void report(const char *line) {
    json += json.empty() ? "" : ",\n  ";
    json += line;
}

void train(int64_t tokens, int64_t T, int64_t H, int64_t Hkv, int64_t D, int repeats) {
    const int64_t S = tokens / T, N = S * T, width = (H + 2 * Hkv) * D;
    std::vector<int32_t> starts;
    for (int64_t s = 0; s <= S; s++) starts.push_back(static_cast<int32_t>(s * T));
    Memory qkv(2 * N * width), dqkv(2 * N * width), y(2 * N * H * D), dy(2 * N * H * D), lse(4 * N * H), cu(4 * (S + 1));
    Memory scratch(symbol<decltype(st_attention_backward_scratch_bytes)>("st_attention_backward_scratch_bytes")(device, S, T, N, H, Hkv, D,
                                                                                                                ST_BF16));
    cu.upload(starts);
    fillNormal(qkv, N * width, 1, ST_BF16);
    fillNormal(dy, N * H * D, 2, ST_BF16);
    const double scale = 1.0 / __builtin_sqrt(static_cast<double>(D));
    const double forward = milliseconds(repeats, [&] {
        CALL(st_attention_forward, device, y.address, lse.address, qkv.address, cu.ints(), S, T, N, H, Hkv, D, scale, 0, ST_BF16);
    });
    const double backward = milliseconds(repeats, [&] {
        CALL(st_attention_backward, device, dqkv.address, dy.address, y.address, qkv.address, lse.address, cu.ints(), scratch.address, S, T, N,
             H, Hkv, D, scale, 0, ST_BF16);
    });
    const double pairs = 0.5 * static_cast<double>(S) * T * T * H;
    const double forwardRate = 4.0 * D * pairs / forward * 1e-9, backwardRate = 10.0 * D * pairs / backward * 1e-9;
    printf("%5lld %4lld %3lld/%-3lld %10.3f %8.1f %11.3f %8.1f\n", static_cast<long long>(T), static_cast<long long>(D),
           static_cast<long long>(H), static_cast<long long>(Hkv), forward, forwardRate, backward, backwardRate);
    fflush(stdout);
    char line[400];
    snprintf(line, sizeof line,
             "{\"op\": \"attention\", \"length\": %lld, \"head\": %lld, \"heads\": %lld, \"kv_heads\": %lld, \"forward_ms\": %.4f, "
             "\"forward_tflops\": %.1f, \"backward_ms\": %.4f, \"backward_tflops\": %.1f}",
             static_cast<long long>(T), static_cast<long long>(D), static_cast<long long>(H), static_cast<long long>(Hkv), forward, forwardRate,
             backward, backwardRate);
    report(line);
}

void decode(int64_t S, int64_t context, int64_t prefix, int64_t H, int64_t Hkv, int64_t D, int repeats) {
    const int64_t width = (H + 2 * Hkv) * D, slots = S + 1, capacity = context;
    Memory qkv(2 * S * width), y(2 * S * H * D), k(2 * slots * capacity * Hkv * D), v(2 * slots * capacity * Hkv * D);
    Memory cu(4 * (S + 1)), slot(4 * S), prefixSlot(4 * S), prefixLength(4 * S), start(4 * S);
    std::vector<int32_t> starts, own, lengths(static_cast<size_t>(S), static_cast<int32_t>(prefix)), lent(static_cast<size_t>(S), 0);
    for (int64_t s = 0; s <= S; s++) starts.push_back(static_cast<int32_t>(s));
    for (int64_t s = 0; s < S; s++) own.push_back(static_cast<int32_t>(s + 1));
    cu.upload(starts);
    slot.upload(own);
    prefixSlot.upload(lent);
    prefixLength.upload(lengths);
    start.upload(std::vector<int32_t>(static_cast<size_t>(S), static_cast<int32_t>(context - 1)));
    fillNormal(qkv, S * width, 1, ST_BF16);
    fillNormal(k, slots * capacity * Hkv * D, 2, ST_BF16);
    fillNormal(v, slots * capacity * Hkv * D, 3, ST_BF16);
    const double ms = milliseconds(repeats, [&] {
        CALL(st_attention_cached, device, y.address, qkv.address, k.address, v.address, cu.ints(), slot.ints(), prefixSlot.ints(),
             prefixLength.ints(), start.ints(), S, 1, S, H, Hkv, D, slots, capacity, 1.0 / __builtin_sqrt(static_cast<double>(D)), 0, ST_BF16);
    });
    const double rate = 4.0 * D * Hkv * context * S / ms * 1e-6;
    printf("%5lld %4lld %3lld/%-3lld %6lld of %-6lld %10.4f %8.0f\n", static_cast<long long>(S), static_cast<long long>(D),
           static_cast<long long>(H), static_cast<long long>(Hkv), static_cast<long long>(prefix), static_cast<long long>(context), ms, rate);
    fflush(stdout);
    char line[400];
    snprintf(line, sizeof line,
             "{\"op\": \"decode\", \"sequences\": %lld, \"head\": %lld, \"heads\": %lld, \"kv_heads\": %lld, \"context\": %lld, "
             "\"shared_prefix\": %lld, \"ms\": %.4f, \"gb_per_s\": %.0f}",
             static_cast<long long>(S), static_cast<long long>(D), static_cast<long long>(H), static_cast<long long>(Hkv),
             static_cast<long long>(context), static_cast<long long>(prefix), ms, rate);
    report(line);
}

/// Rows of the forward pass against the same rows through the cache, behind a prefix of `prefix` positions in another slot, `chunk` rows a
/// call: the number of differing elements, which must be 0.
int64_t differences(int64_t T, int64_t H, int64_t Hkv, int64_t D, int64_t prefix, int64_t chunk, int64_t window, st_dtype dtype) {
    const int64_t width = (H + 2 * Hkv) * D, bytes = dtype == ST_BF16 ? 2 : 4, row = H * D * bytes;
    Memory qkv(bytes * T * width), y(T * row), cached(T * row), k(bytes * 2 * T * Hkv * D), v(bytes * 2 * T * Hkv * D), ints(4 * 16),
        slots(4 * T), positions(4 * T), offsets(4 * T);
    const double scale = 1.0 / __builtin_sqrt(static_cast<double>(D));
    fillNormal(qkv, T * width, static_cast<uint64_t>(T * D + prefix), dtype);
    CALL(st_fill_zero, device, k.address, bytes * 2 * T * Hkv * D);
    CALL(st_fill_zero, device, v.address, bytes * 2 * T * Hkv * D);
    ints.upload({0, static_cast<int32_t>(T)});
    CALL(st_attention_forward, device, y.address, nullptr, qkv.address, ints.ints(), 1, T, T, H, Hkv, D, scale, window, dtype);
    std::vector<int32_t> slot, position, offset;
    for (int32_t p = 0; p < T; p++) {
        slot.push_back(p < prefix ? 0 : 1);
        position.push_back(p);
        offset.push_back(p < prefix ? 0 : static_cast<int32_t>(prefix));
    }
    slots.upload(slot);
    positions.upload(position);
    offsets.upload(offset);
    for (int64_t from = 0, rows; from < T; from += rows) {
        rows = std::min(chunk, (from < prefix ? prefix : T) - from);  // the rows of a call share a slot
        const bool lent = from < prefix;
        char *const rowQkv = static_cast<char *>(qkv.address) + from * width * bytes, *const out = static_cast<char *>(cached.address) + from * row;
        CALL(st_cache_store, device, k.address, v.address, rowQkv, slots.ints() + from, positions.ints() + from, offsets.ints() + from, rows, H,
             Hkv, D, 2, T, dtype);
        ints.upload({0, static_cast<int32_t>(rows), lent ? 0 : 1, 0, lent ? 0 : static_cast<int32_t>(prefix), static_cast<int32_t>(from)});
        CALL(st_attention_cached, device, out, rowQkv, k.address, v.address, ints.ints(), ints.ints() + 2, ints.ints() + 3, ints.ints() + 4,
             ints.ints() + 5, 1, rows, rows, H, Hkv, D, 2, T, scale, window, dtype);
    }
    std::vector<char> a(static_cast<size_t>(T * row)), b(a.size());
    CALL(st_download, device, a.data(), y.address, T * row);
    CALL(st_download, device, b.data(), cached.address, T * row);
    int64_t count = 0;
    for (size_t i = 0; i < a.size(); i += static_cast<size_t>(bytes)) count += memcmp(&a[i], &b[i], static_cast<size_t>(bytes)) != 0;
    return count;
}

/// Relative error (Frobenius) of bf16 results against the same operations on the same inputs in f32: of y and of dqkv, over sequences of
/// awkward lengths. The f32 kernels share no code with the tensor cores'.
void errors(double *ofY, double *ofGradient, int64_t H, int64_t Hkv, int64_t D, int64_t window, int64_t longest) {
    std::vector<int32_t> starts = {0};
    for (const int64_t length : {int64_t{1}, longest / 2, int64_t{65}, int64_t{0}, int64_t{63}, longest, int64_t{129}, int64_t{64}, int64_t{200}})
        starts.push_back(starts.back() + static_cast<int32_t>(std::min(length, longest)));
    const int64_t S = static_cast<int64_t>(starts.size()) - 1, N = starts.back(), width = (H + 2 * Hkv) * D;
    const double scale = 1.0 / __builtin_sqrt(static_cast<double>(D));
    Memory cu(4 * (S + 1)), qkv(2 * N * width), dy(2 * N * H * D);
    cu.upload(starts);
    fillNormal(qkv, N * width, 5, ST_BF16);
    fillNormal(dy, N * H * D, 6, ST_BF16);
    std::vector<float> y[2], gradient[2];
    for (const st_dtype dtype : {ST_F32, ST_BF16}) {
        const int64_t bytes = dtype == ST_BF16 ? 2 : 4;
        Memory inputs(bytes * N * width), dys(bytes * N * H * D), out(bytes * N * H * D), dqkv(bytes * N * width), lse(4 * N * H);
        Memory scratch(symbol<decltype(st_attention_backward_scratch_bytes)>("st_attention_backward_scratch_bytes")(device, S, longest, N, H, Hkv,
                                                                                                                    D, dtype));
        Memory wide(4 * N * width);
        CALL(st_cast, device, inputs.address, qkv.address, N * width, dtype, ST_BF16);
        CALL(st_cast, device, dys.address, dy.address, N * H * D, dtype, ST_BF16);
        CALL(st_attention_forward, device, out.address, lse.address, inputs.address, cu.ints(), S, longest, N, H, Hkv, D, scale, window, dtype);
        CALL(st_attention_backward, device, dqkv.address, dys.address, out.address, inputs.address, lse.address, cu.ints(), scratch.address, S,
             longest, N, H, Hkv, D, scale, window, dtype);
        y[dtype == ST_BF16].resize(static_cast<size_t>(N * H * D));
        gradient[dtype == ST_BF16].resize(static_cast<size_t>(N * width));
        CALL(st_cast, device, wide.address, out.address, N * H * D, ST_F32, dtype);
        CALL(st_download, device, y[dtype == ST_BF16].data(), wide.address, 4 * N * H * D);
        CALL(st_cast, device, wide.address, dqkv.address, N * width, ST_F32, dtype);
        CALL(st_download, device, gradient[dtype == ST_BF16].data(), wide.address, 4 * N * width);
    }
    const auto relative = [](const std::vector<float> &truth, const std::vector<float> &x) {
        double error = 0, norm = 0;
        for (size_t i = 0; i < x.size(); i++) {
            error += (x[i] - truth[i]) * static_cast<double>(x[i] - truth[i]);
            norm += truth[i] * static_cast<double>(truth[i]);
        }
        return __builtin_sqrt(error / norm);
    };
    *ofY = relative(y[0], y[1]);
    *ofGradient = relative(gradient[0], gradient[1]);
}

}  // namespace

int main(int argc, char **argv) {
    const char *path = nullptr, *jsonPath = nullptr;
    bool quick = false;
    for (int i = 1; i < argc; i++) {
        const std::string argument = argv[i];
        if (argument == "--lib" && i + 1 < argc) {
            path = argv[++i];
        } else if (argument == "--json" && i + 1 < argc) {
            jsonPath = argv[++i];
        } else if (argument == "--quick") {
            quick = true;
        } else {
            path = nullptr;
            break;
        }
    }
    if (path == nullptr) {
        fprintf(stderr, "usage: attention_bench --lib LIBRARY [--json FILE] [--quick]\n");
        return 2;
    }
    library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (library == nullptr) {
        fprintf(stderr, "%s\n", dlerror());
        return 2;
    }
    char error[512] = "";
    if (symbol<decltype(st_device_open)>("st_device_open")(&device, 0, 0, error, sizeof error) != ST_OK) {
        fprintf(stderr, "%s\n", error);
        return 2;
    }

    bool wrong = false;
    for (const int64_t D : {64, 128}) {
        for (const int64_t window : {0, 100}) {
            double ofY, ofGradient;
            errors(&ofY, &ofGradient, 6, 2, D, window, quick ? 150 : 1000);
            // bf16 keeps 8 bits: 2^-9 for each of q, k, v and p, and some cancellation in dp - delta
            const bool bad = !(ofY < 4e-3) || !(ofGradient < 1e-2);
            printf("bf16 against f32, D %lld, window %lld: y %.1e, dqkv %.1e%s\n", static_cast<long long>(D), static_cast<long long>(window), ofY,
                   ofGradient, bad ? "  WRONG" : "");
            wrong = wrong || bad;
        }
    }
    int64_t differing = 0;
    for (const int64_t D : {16, 64, 80, 128}) {
        for (const st_dtype dtype : {ST_F32, ST_BF16}) {
            const int64_t T = quick ? 97 : 1025;
            differing += differences(T, 8, 2, D, T / 3, 1, 0, dtype);
            differing += differences(T, 8, 2, D, 65, 77, 0, dtype);
            differing += differences(T, 4, 4, D, 0, T, 50, dtype);
        }
    }
    printf("forward against cache: %lld elements differ\n", static_cast<long long>(differing));
    char line[100];
    snprintf(line, sizeof line, "{\"op\": \"exactness\", \"differing\": %lld}", static_cast<long long>(differing));
    report(line);

    printf("    T    D   H/Hkv forward ms  TFLOP/s backward ms  TFLOP/s\n");
    if (quick) {
        train(256, 128, 2, 1, 64, 1);
    } else {
        for (const int64_t D : {64, 128})
            for (const int64_t T : {2048, 4096, 8192, 16384}) train(16384, T, 2048 / D, 2048 / D, D, 10);
        train(16384, 2048, 32, 4, 64, 10);
        train(16384, 1024, 12, 12, 64, 10);
    }
    printf("    S    D   H/Hkv shared of context          ms     GB/s\n");
    if (quick) {
        decode(4, 80, 0, 8, 2, 64, 1);
    } else {
        for (const int64_t context : {512, 1024, 2048}) decode(256, context, 0, 32, 4, 64, 30);
        decode(256, 1024, 512, 32, 4, 64, 30);
        decode(256, 2048, 0, 32, 4, 128, 30);
        decode(256, 1024, 0, 12, 12, 64, 30);
        decode(16, 2048, 0, 32, 4, 64, 30);
    }
    if (jsonPath != nullptr) {
        FILE *file = fopen(jsonPath, "w");
        if (file == nullptr) {
            perror(jsonPath);
            return 2;
        }
        fprintf(file, "[\n  %s\n]\n", json.c_str());
        fclose(file);
    }
    CALL(st_device_close, device);
    return differing == 0 && !wrong ? 0 : 1;
}
