// op_tests: every op of subtext.h on any library that implements it, without a JVM.
//
//   op_tests test    against an independent reference in long double, awkward and random shapes, poisoned outputs
//   op_tests grad    every backward in f64 against central differences
//   op_tests exact   bit for bit: rows alone and in company, cached and not, threads, instruction sets, repeats
//   op_tests memory  what a library allocates: nothing after the first calls, and nothing is left when a device is closed
//   op_tests perf    GB/s, GFLOP/s and the share of a ceiling measured in the same run
//
// options: --lib FILE (once or twice; default libsubtext_cpu.so beside the program), --op PART, --dtype f32|bf16|f64, --seed N,
// --shapes N (random shapes an op), --largest N (largest size), --threads N, --matmul vector|amx, --device N,
// --orders A,B (thread orders of the emulator: normal, reversed, shuffled:SEED; every trial runs in each)
// Exit status: 0 if all passed, 1 if any failed, 2 if it could not run.
#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <thread>

#include "harness.h"

using namespace op_tests;

namespace {

const st_dtype kDtypes[] = {ST_F32, ST_BF16, ST_F64};

uint64_t seedOf(uint64_t seed, const char* op, st_dtype dtype, int index) {
    uint64_t h = seed * 1000003 + static_cast<uint64_t>(dtype);
    for (const char* c = op; *c; c++) h = h * 131 + static_cast<uint8_t>(*c);
    return h * 8191 + static_cast<uint64_t>(index);
}

bool selected(const Op& op, const Settings& settings) { return std::strstr(op.name, settings.op.c_str()) != nullptr; }

/// Runs `body` for the trials of one op and dtype; prints one line, and the shapes of what failed.
void runTrials(Device& device, const Settings& settings, const Op& op, st_dtype dtype, const std::function<void(Trial&)>& body, int first,
               int count, Score& score) {
    int failed = 0;
    const auto from = std::chrono::steady_clock::now();
    for (int index = first; index < first + count; index++) {
        const uint64_t seed = seedOf(settings.seed, op.name, dtype, index);
        for (const std::string& order : settings.orders) {
            if (!order.empty()) setenv("SUBTEXT_EMULATOR_ORDER", order.c_str(), 1);  // read at every launch
            Trial trial(device, settings, dtype, seed, index, true);
            body(trial);
            if (trial.failures.empty()) {
                score.passed++;
                continue;
            }
            score.failed++;
            if (failed++ < 3) {
                std::printf("FAIL %s %s, trial %d of seed %llu%s%s:%s\n", op.name, nameOf(dtype), index, (unsigned long long)settings.seed,
                            order.empty() ? "" : ", thread order ", order.c_str(), trial.description.c_str());
                for (const std::string& text : trial.failures) std::printf("     %s\n", text.c_str());
            }
        }
    }
    count *= static_cast<int>(settings.orders.size());
    const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - from).count();
    std::printf("%-22s %-5s %4d of %d, %.1f s\n", op.name, nameOf(dtype), count - failed, count, seconds);
    std::fflush(stdout);
}

void runTest(Device& device, const Settings& settings, const std::vector<Op>& ops, Score& score) {
    for (const Op& op : ops) {
        if (!op.test || !selected(op, settings)) continue;
        for (const st_dtype dtype : kDtypes) {
            if (settings.dtype >= 0 && dtype != settings.dtype && !op.f32Only) continue;
            if (op.f32Only && dtype != ST_F32) continue;
            if (dtype == ST_F64 && !device.hasF64()) continue;
            runTrials(device, settings, op, dtype, op.test, 0, op.trials ? op.trials : Trial::awkwardTrials + settings.shapes, score);
        }
    }
    if (!device.hasF64()) std::printf("this library has no f64: f64 trials are left out\n");
}

void runGrad(Device& device, const Settings& settings, const std::vector<Op>& ops, Score& score) {
    if (!device.hasF64()) {
        std::printf("this library has no f64: gradients are checked on the CPU library and compared through `test`\n");
        return;
    }
    for (const Op& op : ops) {
        if (!op.grad || !selected(op, settings)) continue;
        runTrials(device, settings, op, ST_F64, op.grad, Trial::awkwardTrials, 20, score);
    }
}

#if defined(__x86_64__)
typedef float Lanes16 __attribute__((vector_size(64)));
typedef float Lanes8 __attribute__((vector_size(32)));
/// Eight independent chains of fused multiply-adds; returns flops done. In assembly: a compiler would simplify a loop
/// without purpose, or keep it in memory.
#define ST_CHAINS(name, isa, Lanes)                                                                                               \
    __attribute__((target(isa))) double name(int64_t rounds, float* sink) {                                                       \
        Lanes a = Lanes{} + 0.999f, b = Lanes{} + 0.001f;                                                                         \
        Lanes x0 = a, x1 = b, x2 = a, x3 = b, x4 = a, x5 = b, x6 = a, x7 = b;                                                     \
        for (int64_t r = 0; r < rounds; r++) {                                                                                    \
            asm volatile("vfmadd213ps %9, %8, %0\n vfmadd213ps %9, %8, %1\n vfmadd213ps %9, %8, %2\n vfmadd213ps %9, %8, %3\n"      \
                         "vfmadd213ps %9, %8, %4\n vfmadd213ps %9, %8, %5\n vfmadd213ps %9, %8, %6\n vfmadd213ps %9, %8, %7\n"      \
                         : "+v"(x0), "+v"(x1), "+v"(x2), "+v"(x3), "+v"(x4), "+v"(x5), "+v"(x6), "+v"(x7)                         \
                         : "v"(a), "v"(b));                                                                                       \
        }                                                                                                                         \
        Lanes total = x0 + x1 + x2 + x3 + x4 + x5 + x6 + x7;                                                                      \
        *sink = total[0];                                                                                                         \
        return static_cast<double>(rounds) * 8 * (sizeof(Lanes) / 4) * 2;                                                         \
    }
ST_CHAINS(chains512, "avx512f", Lanes16)
ST_CHAINS(chains256, "avx2,fma", Lanes8)
#endif

/// f32 fused multiply-adds the processor does a second with that many threads, 0 where unknown.
double processorCeiling(const std::string& path, int threads) {
#if defined(__x86_64__)
    if (path != "avx512" && path != "avx2") return 0;
    const auto run = path == "avx512" ? chains512 : chains256;
    double best = 0;
    for (int repeat = 0; repeat < 10; repeat++) {
        std::vector<std::thread> workers;
        std::vector<double> rates(threads);
        for (int t = 0; t < threads; t++) {
            workers.emplace_back([&, t] {
                float sink;
                timespec from, to;
                clock_gettime(CLOCK_MONOTONIC, &from);
                const double flops = run(3000000, &sink);
                clock_gettime(CLOCK_MONOTONIC, &to);
                rates[t] = flops / (static_cast<double>(to.tv_sec - from.tv_sec) + 1e-9 * static_cast<double>(to.tv_nsec - from.tv_nsec));
            });
        }
        double total = 0;
        for (int t = 0; t < threads; t++) {
            workers[t].join();
            total += rates[t];
        }
        best = std::max(best, total);
    }
    return best;
#else
    (void)path;
    (void)threads;
    return 0;
#endif
}

void runPerf(Device& device, const Settings& settings, const std::vector<Op>& ops) {
    const int threads = static_cast<int>(device.property(ST_PROCESSORS));
    const double peak = processorCeiling(device.text(ST_TEXT_PATH), threads);
    void *a = nullptr, *b = nullptr;
    const int64_t bytes = int64_t{256} << 20;
    device.must(device->alloc(device, &a, bytes), "alloc");
    device.must(device->alloc(device, &b, bytes), "alloc");
    device.must(device->fill_zero(device, a, bytes), "fill_zero");
    const double copy = 2.0 * bytes / secondsOf(device, [&] { device->copy(device, b, a, bytes); });
    device.must(device->free(device, a), "free");
    device.must(device->free(device, b), "free");
    std::printf("ceilings of this run: copy %.1f GB/s", copy * 1e-9);
    if (peak > 0) std::printf(", f32 multiply-add %.1f GFLOP/s on %d threads", peak * 1e-9, threads);
    std::printf("\n%-22s %-5s %-34s %10s %9s %10s %s\n", "op", "dtype", "shape", "us", "GB/s", "GFLOP/s", "of ceiling");
    for (const Op& op : ops) {
        if (!op.perf || !selected(op, settings)) continue;
        for (const st_dtype dtype : {ST_F32, ST_BF16}) {
            if (settings.dtype >= 0 && dtype != settings.dtype) continue;
            for (const Timing& t : op.perf(device, settings, dtype)) {
                const double byCompute = peak > 0 ? t.flops / t.seconds / peak : 0, byMemory = t.bytes / t.seconds / copy;
                std::printf("%-22s %-5s %-34s %10.1f %9.1f %10.1f %s\n", op.name, nameOf(dtype), t.shape.c_str(), t.seconds * 1e6,
                            t.bytes / t.seconds * 1e-9, t.flops / t.seconds * 1e-9,
                            t.flops > 0 && peak > 0 ? format("%.0f %% of multiply-add", 100 * byCompute).c_str()
                                                    : format("%.0f %% of copy", 100 * byMemory).c_str());
                std::fflush(stdout);
            }
        }
    }
}

int usage() {
    std::fprintf(stderr,
                 "usage: op_tests test|grad|exact|memory|perf [--lib FILE]... [--op PART] [--dtype f32|bf16|f64] [--seed N] [--shapes N]\n"
                 "                [--largest N] [--threads N] [--matmul vector|amx] [--device N] [--quick] [--orders normal,reversed,shuffled:N]\n");
    return 2;
}

std::vector<std::string> split(const std::string& text, char at) {
    std::vector<std::string> parts;
    for (size_t from = 0; from <= text.size();) {
        const size_t to = std::min(text.find(at, from), text.size());
        parts.push_back(text.substr(from, to - from));
        from = to + 1;
    }
    return parts;
}

std::string besideProgram(const char* program) {
    const std::string path = program;
    const size_t slash = path.rfind('/');
    return (slash == std::string::npos ? std::string("./") : path.substr(0, slash + 1)) + "libsubtext_cpu.so";
}

}  // namespace

int main(int count, char** arguments) {
    Settings settings;
    if (count < 2) return usage();
    settings.mode = arguments[1];
    for (int i = 2; i < count; i++) {
        const std::string name = arguments[i];
        if (name == "--quick") {
            settings.quick = true;
            continue;
        }
        if (i + 1 >= count) return usage();
        const std::string value = arguments[++i];
        if (name == "--lib") settings.libraries.push_back(value);
        else if (name == "--op") settings.op = value;
        else if (name == "--seed") settings.seed = std::strtoull(value.c_str(), nullptr, 10);
        else if (name == "--shapes") settings.shapes = std::atoi(value.c_str());
        else if (name == "--largest") settings.largest = std::atoll(value.c_str());
        else if (name == "--threads") settings.threads = std::atoi(value.c_str());
        else if (name == "--matmul" && (value == "vector" || value == "amx")) settings.matmul = value == "amx" ? ST_MATMUL_AMX : ST_MATMUL_VECTOR;
        else if (name == "--orders") settings.orders = split(value, ',');
        else if (name == "--device") settings.ordinal = std::atoi(value.c_str());
        else if (name == "--dtype" && value == "f32") settings.dtype = ST_F32;
        else if (name == "--dtype" && value == "bf16") settings.dtype = ST_BF16;
        else if (name == "--dtype" && value == "f64") settings.dtype = ST_F64;
        else return usage();
    }
    if (settings.libraries.empty()) settings.libraries.push_back(besideProgram(arguments[0]));

    std::vector<Op> ops;
    addRowOps(ops);
    addMatmulOps(ops);
    addAttentionOps(ops);
    addHeadOps(ops);

    Score score;
    for (const std::string& path : settings.libraries) {
        const Library library = openLibrary(path);
        if (settings.mode == "exact") {
            runExact(library, settings, ops, score);
            continue;
        }
        if (settings.mode == "memory") {
            runMemory(library, settings, ops, score);
            continue;
        }
        Device device(library, settings.ordinal, settings.threads, settings.matmul);
        std::printf("%s: %s, %s, %s, seed %llu\n", path.c_str(), device.text(ST_TEXT_NAME).c_str(), device.text(ST_TEXT_PATH).c_str(),
                    device.text(ST_TEXT_BUILD).c_str(), (unsigned long long)settings.seed);
        if (settings.mode == "test") runTest(device, settings, ops, score);
        else if (settings.mode == "grad") runGrad(device, settings, ops, score);
        else if (settings.mode == "perf") runPerf(device, settings, ops);
        else return usage();
    }
    std::printf("%d passed, %d failed\n", score.passed, score.failed);
    return score.failed ? 1 : 0;
}
