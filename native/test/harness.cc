#include "harness.h"

#include <dlfcn.h>

#include <algorithm>
#include <cmath>
#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace op_tests {

std::string format(const char* text, ...) {
    char out[1024];
    va_list list;
    va_start(list, text);
    std::vsnprintf(out, sizeof out, text, list);
    va_end(list);
    return out;
}

Library openLibrary(const std::string& path) {
    void* handle = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
    if (!handle) {
        std::fprintf(stderr, "%s\n", dlerror());
        std::exit(2);
    }
    Library library = {};
    library.path = path;
#define ST_LOOK_UP(name)                                                                        \
    library.name = reinterpret_cast<decltype(library.name)>(dlsym(handle, "st_" #name));        \
    if (!library.name) {                                                                        \
        std::fprintf(stderr, "%s has no st_" #name "\n", path.c_str());                         \
        std::exit(2);                                                                           \
    }
    ST_FUNCTIONS(ST_LOOK_UP)
#undef ST_LOOK_UP
    if (library.abi_version() != ST_ABI_VERSION) {
        std::fprintf(stderr, "%s: ABI version %d, expected %d; build both from one commit\n", path.c_str(), library.abi_version(), ST_ABI_VERSION);
        std::exit(2);
    }
    return library;
}

Device::Device(const Library& library, int32_t ordinal, int32_t threads, int32_t matmul) : library_(library) {
    char error[512] = "";
    if (library.device_open(&handle_, ordinal, threads, error, sizeof error) != ST_OK) {
        std::fprintf(stderr, "%s: %s\n", library.path.c_str(), error);
        std::exit(2);
    }
    if (library.device_matmul(handle_, matmul) == ST_UNSUPPORTED) {
        std::fprintf(stderr, "skipped: %s\n", library.last_error(handle_));
        std::exit(77);
    }
    void *a = nullptr;
    must(library.alloc(handle_, &a, 64), "alloc");
    must(library.fill_zero(handle_, a, 64), "fill_zero");
    hasF64_ = library.add(handle_, a, a, a, 1, ST_F64) == ST_OK;
    must(library.free(handle_, a), "free");
}

Device::~Device() { library_.device_close(handle_); }

std::string Device::text(int32_t which) const {
    char out[256] = "";
    must(library_.device_text(handle_, out, sizeof out, which), "device_text");
    return out;
}

int64_t Device::property(int32_t which) const {
    int64_t value = 0;
    must(library_.device_property(handle_, &value, which), "device_property");
    return value;
}

void Device::must(st_status status, const char* what) const {
    if (status == ST_OK) return;
    std::fprintf(stderr, "%s: %s: status %d: %s\n", library_.path.c_str(), what, status, library_.last_error(handle_));
    std::exit(2);
}

uint64_t Random::next() {
    uint64_t z = (state_ += 0x9E3779B97F4A7C15ull);
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ull;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBull;
    return z ^ (z >> 31);
}

double Random::normal() {
    const double radius = std::sqrt(-2 * std::log(1 - uniform()));
    return radius * std::cos(6.283185307179586 * uniform());
}

int64_t bytesOf(st_dtype dtype) { return dtype == ST_BF16 ? 2 : dtype == ST_F64 ? 8 : 4; }
const char* nameOf(st_dtype dtype) { return dtype == ST_F32 ? "f32" : dtype == ST_BF16 ? "bf16" : dtype == ST_F64 ? "f64" : "i32"; }
double roundoff(st_dtype dtype) { return dtype == ST_BF16 ? 0x1p-8 : dtype == ST_F64 ? 0x1p-53 : 0x1p-24; }

namespace {

uint16_t toBf16(double x) {
    // nearest f32 rounded to odd, then to nearest even: one rounding in all
    float f = static_cast<float>(x);
    uint32_t bits;
    std::memcpy(&bits, &f, 4);
    if (std::isnan(x)) return 0x7FC0;
    if (static_cast<double>(f) != x && !(bits & 1u)) {
        bits = std::fabs(x) > std::fabs(static_cast<double>(f)) ? bits + 1 : bits - 1;
    }
    return static_cast<uint16_t>((bits + 0x7FFFu + ((bits >> 16) & 1u)) >> 16);
}

double fromBf16(uint16_t bits) {
    const uint32_t wide = static_cast<uint32_t>(bits) << 16;
    float f;
    std::memcpy(&f, &wide, 4);
    return f;
}

std::vector<uint8_t> encode(const std::vector<double>& values, st_dtype dtype) {
    std::vector<uint8_t> bytes(values.size() * bytesOf(dtype));
    for (size_t i = 0; i < values.size(); i++) {
        if (dtype == ST_F64) {
            std::memcpy(&bytes[8 * i], &values[i], 8);
        } else if (dtype == ST_F32) {
            const float f = static_cast<float>(values[i]);
            std::memcpy(&bytes[4 * i], &f, 4);
        } else {
            const uint16_t b = toBf16(values[i]);
            std::memcpy(&bytes[2 * i], &b, 2);
        }
    }
    return bytes;
}

}  // namespace

double rounded(double x, st_dtype dtype) {
    return dtype == ST_F64 ? x : dtype == ST_F32 ? static_cast<double>(static_cast<float>(x)) : fromBf16(toBf16(x));
}

int64_t Trial::size(const char* name, int64_t most, int64_t least) {
    static const int64_t awkward[] = {0, 1, 7, 97, 257};
    most = std::min(most, settings.largest);
    int64_t n;
    if (index < awkwardTrials) {
        n = awkward[random.below(5)];
    } else {
        n = static_cast<int64_t>(std::exp(random.uniform() * std::log(static_cast<double>(most) + 1)));
    }
    n = std::max(std::max<int64_t>(least, 0), std::min(n, most));
    if (*name) note(name, static_cast<double>(n));
    return n;
}

void Trial::note(const char* name, double value) { description += format(" %s=%g", name, value); }

std::vector<double> Trial::normals(int64_t n, double scale, st_dtype storage) {
    std::vector<double> values(n);
    for (double& value : values) value = rounded(scale * random.normal(), storage);
    return values;
}

std::vector<int32_t> Trial::integers(int64_t n, int64_t low, int64_t high) {
    std::vector<int32_t> values(n);
    for (int32_t& value : values) value = static_cast<int32_t>(low + random.below(high - low));
    return values;
}

void Trial::fail(const std::string& text) {
    if (failures.size() < 4) failures.push_back(text);
}

bool Trial::ok(st_status status) {
    if (status == ST_OK) return true;
    fail(format("status %d: %s", status, device->last_error(device)));
    return false;
}

void Trial::digestBytes(const void* bytes, size_t n) {
    for (size_t i = 0; i < n; i++) digest = (digest ^ static_cast<const uint8_t*>(bytes)[i]) * 1099511628211ull;
}

void Trial::check(const char* what, const Buffer& got, const std::function<void(std::vector<double>&, std::vector<double>&)>& fill) {
    if (!compare) {
        const std::vector<uint8_t> bytes = got.readBytes();
        digestBytes(bytes.data(), bytes.size());
        return;
    }
    std::vector<double> want(got.size(), 0.0), bound(got.size(), 0.0);
    fill(want, bound);
    const std::vector<double> values = got.read();
    const double store = roundoff(got.dtype()), tiny = got.dtype() == ST_F64 ? 0x1p-1074 : 0x1p-133;  // denormals lose bits
    int64_t wrong = 0, worst = -1;
    double worstRatio = 0;
    for (size_t i = 0; i < values.size(); i++) {
        if (std::isnan(want[i]) && std::isnan(values[i])) continue;
        if (values[i] == want[i]) continue;
        const double allowed = bound[i] + 1.01 * store * (std::fabs(want[i]) + bound[i]) + tiny;
        const double error = std::fabs(values[i] - want[i]);
        if (error <= allowed) continue;  // false for NaN
        wrong++;
        const double ratio = std::isnan(error) ? INFINITY : error / allowed;
        if (worst < 0 || ratio > worstRatio) {
            worst = static_cast<int64_t>(i);
            worstRatio = ratio;
        }
    }
    if (wrong) {
        fail(format("%s: %lld of %zu elements off; worst [%lld]: got %.9g, want %.9g, %.3g times the bound", what, (long long)wrong,
                    values.size(), (long long)worst, values[worst], want[worst], worstRatio));
    }
}

Buffer::Buffer(Trial& trial, st_dtype dtype, int64_t n) : trial_(trial), dtype_(dtype), n_(n) { allocate(); }

Buffer::Buffer(Trial& trial, st_dtype dtype, const std::vector<double>& values) : Buffer(trial, dtype, static_cast<int64_t>(values.size())) {
    write(values);
}

Buffer::Buffer(Trial& trial, const std::vector<int32_t>& values) : Buffer(trial, ST_I32, static_cast<int64_t>(values.size())) {
    trial.device.must(trial.device->upload(trial.device, memory_, values.data(), bytes_), "upload");
}

Buffer::Buffer(Trial& trial, const std::vector<uint64_t>& values) : Buffer(trial, ST_F64, static_cast<int64_t>(values.size())) {
    trial.device.must(trial.device->upload(trial.device, memory_, values.data(), bytes_), "upload");
}

void Buffer::allocate() {
    bytes_ = n_ * bytesOf(dtype_);
    // every other trial without a guard, so that a checking allocator sees the true end
    guard_ = trial_.index % 2 ? 64 : 0;
    trial_.device.must(trial_.device->alloc(trial_.device, &memory_, bytes_ + guard_), "alloc");
    const std::vector<uint8_t> poison(bytes_ + guard_, 0xFF);
    trial_.device.must(trial_.device->upload(trial_.device, memory_, poison.data(), bytes_ + guard_), "upload");
}

Buffer::~Buffer() {
    if (guard_) {
        std::vector<uint8_t> bytes(guard_);
        trial_.device.must(trial_.device->download(trial_.device, bytes.data(), static_cast<char*>(memory_) + bytes_, guard_), "download");
        for (const uint8_t b : bytes) {
            if (b != 0xFF) {
                trial_.fail(format("wrote behind a buffer of %lld %s", (long long)n_, nameOf(dtype_)));
                break;
            }
        }
    }
    trial_.device.must(trial_.device->free(trial_.device, memory_), "free");
}

void Buffer::write(const std::vector<double>& values) {
    const std::vector<uint8_t> bytes = encode(values, dtype_);
    trial_.device.must(trial_.device->upload(trial_.device, memory_, bytes.data(), bytes_), "upload");
}

std::vector<uint8_t> Buffer::readBytes() const {
    std::vector<uint8_t> bytes(bytes_);
    trial_.device.must(trial_.device->download(trial_.device, bytes.data(), memory_, bytes_), "download");
    return bytes;
}

std::vector<double> Buffer::read() const {
    const std::vector<uint8_t> bytes = readBytes();
    std::vector<double> values(n_);
    for (int64_t i = 0; i < n_; i++) {
        if (dtype_ == ST_F64) {
            std::memcpy(&values[i], &bytes[8 * i], 8);
        } else if (dtype_ == ST_F32) {
            float f;
            std::memcpy(&f, &bytes[4 * i], 4);
            values[i] = f;
        } else if (dtype_ == ST_BF16) {
            uint16_t b;
            std::memcpy(&b, &bytes[2 * i], 2);
            values[i] = fromBf16(b);
        } else {
            int32_t w;
            std::memcpy(&w, &bytes[4 * i], 4);
            values[i] = w;
        }
    }
    return values;
}

std::vector<int32_t> Buffer::readInts() const {
    const std::vector<uint8_t> bytes = readBytes();
    std::vector<int32_t> values(n_);
    if (n_) std::memcpy(values.data(), bytes.data(), bytes.size());
    return values;
}

Buffer scratchOf(Trial& trial, int64_t bytes) { return Buffer(trial, ST_F32, (bytes + 3) / 4); }

double secondsOf(Device& device, const std::function<void()>& call) {
    st_event *from = nullptr, *to = nullptr;
    device.must(device->event_create(device, &from), "event_create");
    device.must(device->event_create(device, &to), "event_create");
    const auto measure = [&](int repeats) {
        double ms = 0;
        device.must(device->event_record(device, from), "event_record");
        for (int i = 0; i < repeats; i++) call();
        device.must(device->event_record(device, to), "event_record");
        device.must(device->event_elapsed(device, &ms, from, to), "event_elapsed");
        return ms * 1e-3;
    };
    measure(2);
    const double once = std::max(measure(1), 1e-7);
    const int repeats = std::max(1, static_cast<int>(0.02 / once));
    std::vector<double> times;
    for (int i = 0; i < 7; i++) times.push_back(measure(std::min(repeats, 20000)) / std::min(repeats, 20000));
    std::sort(times.begin(), times.end());
    device->event_free(device, from);
    device->event_free(device, to);
    return times[3];
}

void checkGradient(Trial& trial, const char* what, Buffer& x, const std::vector<double>& analytic, const std::function<double()>& loss) {
    std::vector<double> values = x.read();
    if (values.empty()) return;
    double greatest = 0;
    for (const double g : analytic) greatest = std::max(greatest, std::fabs(g));
    for (int i = 0; i < 24; i++) {
        const int64_t at = trial.random.below(static_cast<int64_t>(values.size()));
        const double before = values[at], h = 1e-5;
        // four points: the error of the difference falls with h^4, well below 1e-6
        const auto lossAt = [&](double step) {
            values[at] = before + step;
            x.write(values);
            return loss();
        };
        const double near = lossAt(h * 10) - lossAt(-h * 10), far = lossAt(h * 20) - lossAt(-h * 20);
        const double numeric = (8 * near - far) / (12 * h * 10);
        values[at] = before;
        x.write(values);
        if (!(std::fabs(numeric - analytic[at]) <= 1e-6 * std::max(1e-2, greatest))) {
            trial.fail(format("%s[%lld]: gradient %.12g, by differences %.12g", what, (long long)at, analytic[at], numeric));
        }
    }
}

}  // namespace op_tests
