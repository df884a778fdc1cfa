// What the op tests stand on: a library opened by dlopen, device buffers that begin poisoned, random numbers with a printed seed, and
// comparison against a reference in long double under a bound derived from dtype and length.
//
// An op is declared once, as an Op: how to test it on one random shape, how to check its backward, how to time it. The same trial,
// run without its reference, yields a digest of the output bits, by which threads and instruction sets are compared.
#ifndef SUBTEXT_TEST_HARNESS_H
#define SUBTEXT_TEST_HARNESS_H

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "subtext.h"

namespace op_tests {

typedef long double Wide;

#define ST_FUNCTIONS(X)                                                                                                            \
    X(abi_version) X(device_open) X(device_close) X(last_error) X(device_property) X(device_text) X(device_matmul) X(device_stream) X(alloc) X(free)  \
    X(host_alloc) X(host_free) X(upload) X(download) X(copy) X(fill_zero) X(fill_i32) X(fill_normal) X(cast) X(synchronize)          \
    X(event_create) X(event_record) X(event_elapsed) X(event_free) X(record_begin) X(record_end) X(record_replay) X(record_free)     \
    X(embedding_forward) X(embedding_backward) X(gather_rows) X(rmsnorm_forward) X(rmsnorm_backward_scratch_bytes)                   \
    X(rmsnorm_backward) X(matmul_nt) X(matmul_nn) X(matmul_tn) X(rope) X(attention_forward) X(attention_backward_scratch_bytes)      \
    X(attention_backward) X(cache_store) X(attention_cached) X(swiglu_forward) X(swiglu_backward) X(add) X(log_prob)                 \
    X(cross_entropy) X(sample_scratch_bytes) X(sample) X(decode_advance) X(sum_squares_scratch_bytes) X(sum_squares) X(adamw)

/// The functions of one library, by their names without st_.
struct Library {
    std::string path;
#define ST_MEMBER(name) decltype(&st_##name) name;
    ST_FUNCTIONS(ST_MEMBER)
#undef ST_MEMBER
};

/// Opens a library; on failure prints why and exits with 2.
Library openLibrary(const std::string& path);

/// An open device of a library, closed with the object.
class Device {
  public:
    Device(const Library& library, int32_t ordinal, int32_t threads, int32_t matmul = ST_MATMUL_VECTOR);
    ~Device();
    Device(const Device&) = delete;
    Device& operator=(const Device&) = delete;

    const Library* operator->() const { return &library_; }
    operator st_device*() const { return handle_; }
    bool hasF64() const { return hasF64_; }
    std::string text(int32_t which) const;
    int64_t property(int32_t which) const;
    /// Prints the device's error text and exits with 2 if a call that must work does not.
    void must(st_status status, const char* what) const;

  private:
    const Library& library_;
    st_device* handle_ = nullptr;
    bool hasF64_ = false;
};

/// SplitMix64: tests draw from this, never from the code under test.
class Random {
  public:
    explicit Random(uint64_t seed) : state_(seed) {}
    uint64_t next();
    /// In [0, n).
    int64_t below(int64_t n) { return n <= 0 ? 0 : static_cast<int64_t>(next() % static_cast<uint64_t>(n)); }
    double uniform() { return static_cast<double>(next() >> 11) * 0x1p-53; }
    double normal();

  private:
    uint64_t state_;
};

int64_t bytesOf(st_dtype dtype);
inline st_dtype realOf(st_dtype dtype) { return dtype == ST_F64 ? ST_F64 : ST_F32; }
const char* nameOf(st_dtype dtype);
/// x as storage of `dtype` holds it.
double rounded(double x, st_dtype dtype);
/// Half a unit in the last place, relative: the error of one rounding.
double roundoff(st_dtype dtype);

struct Settings {
    std::string mode;
    std::vector<std::string> libraries;
    std::string op;       // part of a name, empty: all
    int32_t dtype = -1;   // one dtype, -1: all
    uint64_t seed = 1;
    int shapes = 50;      // random shapes an op, besides the awkward ones
    int64_t largest = 257;
    int32_t ordinal = 0;
    int32_t threads = 0;
    int32_t matmul = ST_MATMUL_VECTOR;
    std::vector<std::string> orders = {""};  // of the emulator's threads: every trial runs in each; empty: as the environment says
    bool quick = false;   // perf: smaller shapes
};

struct Score {
    int passed = 0, failed = 0;
};

class Buffer;

/// One random shape of one op on one device.
class Trial {
  public:
    Trial(Device& device, const Settings& settings, st_dtype dtype, uint64_t seed, int index, bool compare)
        : device(device), settings(settings), dtype(dtype), random(seed), index(index), compare(compare) {}

    Device& device;
    const Settings& settings;
    const st_dtype dtype;
    Random random;
    const int index;      // below awkwardTrials: sizes from the awkward list
    const bool compare;   // false: only the digest is wanted

    static constexpr int awkwardTrials = 20;

    st_dtype real() const { return realOf(dtype); }
    /// Relative error of one rounding in the arithmetic of the op.
    double u() const { return roundoff(real()); }

    /// A size for this trial, at most `most`: 0, 1, 7, 97 or 257 first, later random, small ones as likely as large ones.
    int64_t size(const char* name, int64_t most, int64_t least = 0);
    /// Notes a parameter in the description that a failure prints.
    void note(const char* name, double value);
    std::vector<double> normals(int64_t n, double scale, st_dtype storage);
    std::vector<int32_t> integers(int64_t n, int64_t low, int64_t high);  // in [low, high)

    /// Fails the trial unless the status is ST_OK.
    bool ok(st_status status);
    void fail(const std::string& text);
    void require(bool condition, const std::string& text) {
        if (!condition) fail(text);
    }
    /// Compares every element with want under bound (error of the arithmetic) plus one rounding to storage. `fill` is called only if
    /// the trial compares; both vectors come in with the buffer's length, zeros.
    void check(const char* what, const Buffer& got, const std::function<void(std::vector<double>& want, std::vector<double>& bound)>& fill);
    void digestBytes(const void* bytes, size_t n);

    uint64_t digest = 1469598103934665603ull;
    std::string description;
    std::vector<std::string> failures;
};

/// Device memory of n elements: poisoned (NaN), or holding given values. Bytes behind it are checked when it goes.
class Buffer {
  public:
    Buffer(Trial& trial, st_dtype dtype, int64_t n);
    Buffer(Trial& trial, st_dtype dtype, const std::vector<double>& values);
    Buffer(Trial& trial, const std::vector<int32_t>& values);
    Buffer(Trial& trial, const std::vector<uint64_t>& values);
    ~Buffer();
    Buffer(const Buffer&) = delete;
    Buffer& operator=(const Buffer&) = delete;

    void* get() const { return memory_; }
    operator void*() const { return memory_; }
    template <class T>
    T* as() const { return static_cast<T*>(memory_); }
    st_dtype dtype() const { return dtype_; }
    int64_t size() const { return n_; }
    void write(const std::vector<double>& values);
    std::vector<double> read() const;
    std::vector<int32_t> readInts() const;
    std::vector<uint8_t> readBytes() const;

  private:
    void allocate();

    Trial& trial_;
    st_dtype dtype_;
    int64_t n_, bytes_, guard_;
    void* memory_ = nullptr;
};

/// Scratch of `bytes` bytes, poisoned.
Buffer scratchOf(Trial& trial, int64_t bytes);

struct Timing {
    std::string shape;
    double seconds, bytes, flops;
};

struct Op {
    const char* name;
    std::function<void(Trial&)> test;
    /// Backward in f64 against central differences; empty for ops without one.
    std::function<void(Trial&)> grad;
    std::function<std::vector<Timing>(Device&, const Settings&, st_dtype)> perf;
    bool f32Only = false;  // does not depend on dtype
    int trials = 0;        // how many instead of the usual number, 0: as usual
};

/// Median seconds of `call` on the device, by its events, after a warm-up.
double secondsOf(Device& device, const std::function<void()>& call);

/// |numeric - analytic| relative to the greatest gradient, at up to 24 random coordinates of x. `loss` evaluates with x in place.
void checkGradient(Trial& trial, const char* what, Buffer& x, const std::vector<double>& analytic, const std::function<double()>& loss);

void addRowOps(std::vector<Op>& ops);
void addMatmulOps(std::vector<Op>& ops);
void addAttentionOps(std::vector<Op>& ops);
void addHeadOps(std::vector<Op>& ops);

/// Properties that hold bit for bit: rows alone and in company, cached and not, threads, instruction sets.
void runExact(const Library& library, const Settings& settings, const std::vector<Op>& ops, Score& score);

/// What the library allocates, and that it gives it back.
void runMemory(const Library& library, const Settings& settings, const std::vector<Op>& ops, Score& score);

std::string format(const char* text, ...) __attribute__((format(printf, 1, 2)));

}  // namespace op_tests

#endif
