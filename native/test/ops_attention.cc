// Attention forward, backward and over a cache, against the sums written out.
#include <algorithm>
#include <cmath>

#include "harness.h"

namespace op_tests {

namespace {

typedef std::vector<double> Values;

struct Shape {
    int64_t S, N, longest, H, Hkv, D, window;
    double scale;
    std::vector<int32_t> cuSeqlens;
    int64_t stride() const { return (H + 2 * Hkv) * D; }
};

/// Head counts, head size, window; sequences are added by the caller.
Shape headsOf(Trial& t) {
    Shape s = {};
    s.Hkv = 1 + t.random.below(3);
    s.H = s.Hkv * (1 + t.random.below(3));
    static const int64_t sizes[] = {8, 16, 32, 64, 128};  // what every library takes
    s.D = sizes[t.random.below(t.settings.largest < 128 ? 3 : 5)];
    s.scale = 1 / std::sqrt(static_cast<double>(s.D));
    s.window = t.random.below(3) ? 0 : 1 + t.random.below(100);
    t.note("H", static_cast<double>(s.H));
    t.note("Hkv", static_cast<double>(s.Hkv));
    t.note("D", static_cast<double>(s.D));
    t.note("window", static_cast<double>(s.window));
    s.cuSeqlens = {0};
    return s;
}

void addSequence(Trial& t, Shape& s, int64_t length) {
    t.note("T", static_cast<double>(length));
    s.S++;
    s.N += length;
    s.longest = std::max(s.longest, length);
    s.cuSeqlens.push_back(static_cast<int32_t>(s.N));
}

Shape packed(Trial& t) {
    Shape s = headsOf(t);
    const int64_t S = t.size("S", 6);
    const int64_t most = t.random.below(4) ? 90 : 257;
    for (int64_t i = 0; i < std::min<int64_t>(S, 6) && s.N < 300; i++) addSequence(t, s, t.size("", most));
    return s;
}

/// One row of attention in long double: key(j), value(j) for absolute positions low .. high.
struct RowResult {
    Wide lse = 0;
    double scoreError = 0;  // bound of the error of a score
    std::vector<Wide> p, score;
};

template <class Key>
RowResult softmaxRow(const Shape& s, double u, const double* q, int64_t low, int64_t high, Key key) {
    RowResult row;
    Wide top = -INFINITY;
    for (int64_t j = low; j <= high; j++) {
        Wide dot = 0, size = 0;
        for (int64_t d = 0; d < s.D; d++) {
            const Wide term = static_cast<Wide>(q[d]) * key(j)[d];
            dot += term;
            size += std::fabs(term);
        }
        row.score.push_back(dot * s.scale);
        top = std::max(top, row.score.back());
        row.scoreError = std::max(row.scoreError, static_cast<double>((2 * std::sqrt(static_cast<double>(s.D)) + 6) * u * size * s.scale));
    }
    Wide sum = 0;
    for (const Wide score : row.score) sum += std::exp(score - top);
    row.lse = top + std::log(sum);
    for (const Wide score : row.score) row.p.push_back(std::exp(score - row.lse));
    return row;
}

/// Relative error of a probability: of its score, of exp, and of the sum it is divided by.
double probabilityError(const RowResult& row, double u) {
    const double keys = static_cast<double>(row.p.size());
    double range = 0;
    for (const Wide score : row.score) range = std::max(range, static_cast<double>(std::fabs(score - row.lse)) * (range < 20 ? 1 : 0));
    return 2 * row.scoreError + (12 + 2 * std::min(range, 20.0) + std::sqrt(keys)) * u;
}

/// bf16 libraries multiply probabilities on tensor cores, that is rounded to bf16 as every operand is.
double operandError(st_dtype dtype) { return dtype == ST_BF16 ? roundoff(ST_BF16) : 0; }

int64_t lowest(const Shape& s, int64_t position) { return s.window ? std::max<int64_t>(0, position - s.window + 1) : 0; }

template <class Key, class Value>
void referenceRow(const Trial& t, const Shape& s, const double* q, int64_t position, Key key, Value value, double* y, double* yBound,
                  double* lse, double* lseBound) {
    const int64_t low = lowest(s, position);
    const RowResult row = softmaxRow(s, t.u(), q, low, position, key);
    const double relative = probabilityError(row, t.u()) + (2 * std::sqrt(static_cast<double>(row.p.size())) + 4) * t.u() + operandError(t.dtype);
    for (int64_t d = 0; d < s.D; d++) {
        Wide sum = 0, size = 0;
        for (int64_t j = low; j <= position; j++) {
            const Wide term = row.p[j - low] * value(j)[d];
            sum += term;
            size += std::fabs(term);
        }
        y[d] = static_cast<double>(sum);
        yBound[d] = relative * static_cast<double>(size);
    }
    if (lse) {
        *lse = static_cast<double>(row.lse);
        *lseBound = row.scoreError + (12 + std::sqrt(static_cast<double>(row.p.size())) + 2 * std::fabs(*lse)) * t.u();
    }
}

void testForward(Trial& t) {
    const Shape s = packed(t);
    const Values qkv = t.normals(s.N * s.stride(), 1, t.dtype);
    Buffer in(t, t.dtype, qkv), cu(t, s.cuSeqlens), y(t, t.dtype, s.N * s.H * s.D), lse(t, t.real(), s.N * s.H), plain(t, t.dtype, s.N * s.H * s.D);
    t.ok(t.device->attention_forward(t.device, y, lse, in, cu.as<int32_t>(), s.S, s.longest, s.N, s.H, s.Hkv, s.D, s.scale, s.window, t.dtype));
    t.ok(t.device->attention_forward(t.device, plain, nullptr, in, cu.as<int32_t>(), s.S, s.longest, s.N, s.H, s.Hkv, s.D, s.scale, s.window,
                                     t.dtype));
    t.require(y.readBytes() == plain.readBytes(), "y depends on whether lse is kept");
    Values wantLse(s.N * s.H), boundLse(s.N * s.H);
    t.check("y", y, [&](Values& want, Values& bound) {
        for (int64_t q = 0; q < s.S; q++) {
            const int64_t row0 = s.cuSeqlens[q];
            for (int64_t n = row0; n < s.cuSeqlens[q + 1]; n++) {
                for (int64_t h = 0; h < s.H; h++) {
                    const int64_t kv = h / (s.H / s.Hkv);
                    const auto key = [&](int64_t j) { return &qkv[(row0 + j) * s.stride() + (s.H + kv) * s.D]; };
                    const auto value = [&](int64_t j) { return &qkv[(row0 + j) * s.stride() + (s.H + s.Hkv + kv) * s.D]; };
                    const int64_t at = (n * s.H + h) * s.D;
                    referenceRow(t, s, &qkv[n * s.stride() + h * s.D], n - row0, key, value, &want[at], &bound[at], &wantLse[n * s.H + h],
                                 &boundLse[n * s.H + h]);
                }
            }
        }
    });
    t.check("lse", lse, [&](Values& want, Values& bound) {
        want = wantLse;
        bound = boundLse;
    });
}

void testBackward(Trial& t) {
    const Shape s = packed(t);
    const int64_t n = s.N * s.H * s.D;
    const Values qkv = t.normals(s.N * s.stride(), 1, t.dtype), dy = t.normals(n, 1, t.dtype);
    Buffer in(t, t.dtype, qkv), cu(t, s.cuSeqlens), yb(t, t.dtype, n), lse(t, t.real(), s.N * s.H), dyb(t, t.dtype, dy);
    Buffer dqkv(t, t.dtype, s.N * s.stride());
    t.ok(t.device->attention_forward(t.device, yb, lse, in, cu.as<int32_t>(), s.S, s.longest, s.N, s.H, s.Hkv, s.D, s.scale, s.window, t.dtype));
    Buffer scratch = scratchOf(t, t.device->attention_backward_scratch_bytes(t.device, s.S, s.longest, s.N, s.H, s.Hkv, s.D, t.dtype));
    t.ok(t.device->attention_backward(t.device, dqkv, dyb, yb, in, lse, cu.as<int32_t>(), scratch, s.S, s.longest, s.N, s.H, s.Hkv, s.D, s.scale,
                                      s.window, t.dtype));
    const Values y = yb.read();
    t.check("dqkv", dqkv, [&](Values& want, Values& bound) {
        std::vector<Wide> sum(want.size());
        const double u = t.u(), operand = operandError(t.dtype), chainD = (2 * std::sqrt(static_cast<double>(s.D)) + 6) * u;
        for (int64_t q = 0; q < s.S; q++) {
            const int64_t row0 = s.cuSeqlens[q], length = s.cuSeqlens[q + 1] - row0;
            const double chainT = (2 * std::sqrt(static_cast<double>(length * (s.H / s.Hkv))) + 6) * u;
            for (int64_t i = 0; i < length; i++) {
                for (int64_t h = 0; h < s.H; h++) {
                    const int64_t kv = h / (s.H / s.Hkv), n0 = row0 + i, low = lowest(s, i), at = (n0 * s.H + h) * s.D;
                    const int64_t qAt = n0 * s.stride() + h * s.D;
                    const auto keyAt = [&](int64_t j) { return (row0 + j) * s.stride() + (s.H + kv) * s.D; };
                    const auto valueAt = [&](int64_t j) { return (row0 + j) * s.stride() + (s.H + s.Hkv + kv) * s.D; };
                    const RowResult row = softmaxRow(s, u, &qkv[qAt], low, i, [&](int64_t j) { return &qkv[keyAt(j)]; });
                    const double pError = probabilityError(row, u) + 2 * std::fabs(static_cast<double>(row.lse)) * u;
                    Wide delta = 0, deltaSize = 0;
                    for (int64_t d = 0; d < s.D; d++) {
                        delta += static_cast<Wide>(dy[at + d]) * y[at + d];
                        deltaSize += std::fabs(static_cast<Wide>(dy[at + d]) * y[at + d]);
                    }
                    for (int64_t j = low; j <= i; j++) {
                        const Wide p = row.p[j - low];
                        Wide dp = 0, dpSize = 0;
                        for (int64_t d = 0; d < s.D; d++) {
                            const Wide term = static_cast<Wide>(dy[at + d]) * qkv[valueAt(j) + d];
                            dp += term;
                            dpSize += std::fabs(term);
                        }
                        const Wide ds = p * (dp - delta) * s.scale;
                        const double dsError = static_cast<double>(p * s.scale * (pError * (std::fabs(dp) + std::fabs(delta)) + chainD * (dpSize + deltaSize) +
                                                                                  operand * std::fabs(dp - delta)));
                        const double dsSize = static_cast<double>(std::fabs(ds)), pWide = static_cast<double>(p);
                        for (int64_t d = 0; d < s.D; d++) {
                            sum[qAt + d] += ds * qkv[keyAt(j) + d];
                            bound[qAt + d] += (dsError + chainT * dsSize) * std::fabs(qkv[keyAt(j) + d]);
                            sum[keyAt(j) + d] += ds * qkv[qAt + d];
                            bound[keyAt(j) + d] += (dsError + chainT * dsSize) * std::fabs(qkv[qAt + d]);
                            sum[valueAt(j) + d] += p * dy[at + d];
                            bound[valueAt(j) + d] += (pError + chainT + operand) * pWide * std::fabs(dy[at + d]);
                        }
                    }
                }
            }
        }
        for (size_t k = 0; k < want.size(); k++) want[k] = static_cast<double>(sum[k]);
    });
}

void gradAttention(Trial& t) {
    Shape s = headsOf(t);
    s.D = std::min<int64_t>(s.D, 32);
    s.scale = 1 / std::sqrt(static_cast<double>(s.D));
    const int64_t sequences = 1 + t.random.below(3);
    for (int64_t i = 0; i < sequences; i++) addSequence(t, s, t.size("", 90, 1));
    const int64_t n = s.N * s.H * s.D;
    const Values dy = t.normals(n, 1, ST_F64);
    Buffer in(t, ST_F64, t.normals(s.N * s.stride(), 1, ST_F64)), cu(t, s.cuSeqlens), y(t, ST_F64, n), lse(t, ST_F64, s.N * s.H), dyb(t, ST_F64, dy);
    Buffer dqkv(t, ST_F64, s.N * s.stride());
    Buffer scratch = scratchOf(t, t.device->attention_backward_scratch_bytes(t.device, s.S, s.longest, s.N, s.H, s.Hkv, s.D, ST_F64));
    const auto loss = [&] {
        t.ok(t.device->attention_forward(t.device, y, lse, in, cu.as<int32_t>(), s.S, s.longest, s.N, s.H, s.Hkv, s.D, s.scale, s.window, ST_F64));
        const Values out = y.read();
        Wide sum = 0;
        for (size_t i = 0; i < out.size(); i++) sum += static_cast<Wide>(out[i]) * dy[i];
        return static_cast<double>(sum);
    };
    loss();
    t.ok(t.device->attention_backward(t.device, dqkv, dyb, y, in, lse, cu.as<int32_t>(), scratch, s.S, s.longest, s.N, s.H, s.Hkv, s.D, s.scale,
                                      s.window, ST_F64));
    checkGradient(t, "dqkv", in, dqkv.read(), loss);
}

/// Sequences that borrow the head of a shared slot, own a few positions and bring new rows; some slots are empty (-1).
void testCached(Trial& t) {
    Shape s = headsOf(t);
    const int64_t S = std::min<int64_t>(t.size("S", 6), 6), forks = 1 + t.random.below(2), slots = S + forks + 1, capacity = 1 + t.random.below(150);
    t.note("capacity", static_cast<double>(capacity));
    std::vector<int32_t> slot, prefixSlot, prefixLength, start, rowSlot, rowPosition, rowOffset;
    for (int64_t i = 0; i < S; i++) {
        const int64_t own = t.random.below(capacity) + 1, prefix = t.random.below(2) ? t.random.below(capacity + 1) : 0;
        const int64_t fresh = t.random.below(2) ? 1 : 1 + t.random.below(own);  // decoding one row, or a chunk
        const bool empty = t.random.below(6) == 0;
        slot.push_back(empty ? -1 : static_cast<int32_t>(forks + i));
        prefixSlot.push_back(static_cast<int32_t>(t.random.below(forks)));
        prefixLength.push_back(static_cast<int32_t>(prefix));
        start.push_back(static_cast<int32_t>(prefix + own - fresh));
        addSequence(t, s, fresh);
        for (int64_t r = 0; r < fresh; r++) {
            rowSlot.push_back(slot.back());
            rowPosition.push_back(static_cast<int32_t>(start.back() + r));
            rowOffset.push_back(static_cast<int32_t>(prefix));
        }
    }
    const int64_t width = s.Hkv * s.D;
    Values k = t.normals(slots * capacity * width, 1, t.dtype), v = t.normals(slots * capacity * width, 1, t.dtype);
    const Values qkv = t.normals(s.N * s.stride(), 1, t.dtype);
    Buffer kb(t, t.dtype, k), vb(t, t.dtype, v), in(t, t.dtype, qkv), y(t, t.dtype, s.N * s.H * s.D), cu(t, s.cuSeqlens);
    Buffer slotB(t, slot), prefixSlotB(t, prefixSlot), prefixLengthB(t, prefixLength), startB(t, start);
    Buffer rowSlotB(t, rowSlot), rowPositionB(t, rowPosition), rowOffsetB(t, rowOffset);
    t.ok(t.device->cache_store(t.device, kb, vb, in, rowSlotB.as<int32_t>(), rowPositionB.as<int32_t>(), rowOffsetB.as<int32_t>(), s.N, s.H, s.Hkv,
                               s.D, slots, capacity, t.dtype));
    for (int64_t n = 0; n < s.N; n++) {
        if (rowSlot[n] < 0) continue;
        const int64_t at = (rowSlot[n] * capacity + rowPosition[n] - rowOffset[n]) * width;
        for (int64_t d = 0; d < width; d++) {
            k[at + d] = qkv[n * s.stride() + s.H * s.D + d];
            v[at + d] = qkv[n * s.stride() + (s.H + s.Hkv) * s.D + d];
        }
    }
    t.check("k", kb, [&](Values& want, Values&) { want = k; });
    t.check("v", vb, [&](Values& want, Values&) { want = v; });
    t.ok(t.device->attention_cached(t.device, y, in, kb, vb, cu.as<int32_t>(), slotB.as<int32_t>(), prefixSlotB.as<int32_t>(),
                                    prefixLengthB.as<int32_t>(), startB.as<int32_t>(), s.S, s.longest, s.N, s.H, s.Hkv, s.D, slots, capacity, s.scale,
                                    s.window, t.dtype));
    t.check("y", y, [&](Values& want, Values& bound) {
        for (int64_t q = 0; q < s.S; q++) {
            if (slot[q] < 0) continue;
            for (int64_t n = s.cuSeqlens[q]; n < s.cuSeqlens[q + 1]; n++) {
                for (int64_t h = 0; h < s.H; h++) {
                    const int64_t kv = h / (s.H / s.Hkv);
                    const auto place = [&](int64_t j) {
                        const int64_t row = j < prefixLength[q] ? prefixSlot[q] * capacity + j : slot[q] * capacity + j - prefixLength[q];
                        return row * width + kv * s.D;
                    };
                    const int64_t at = (n * s.H + h) * s.D;
                    referenceRow(t, s, &qkv[n * s.stride() + h * s.D], start[q] + n - s.cuSeqlens[q], [&](int64_t j) { return &k[place(j)]; },
                                 [&](int64_t j) { return &v[place(j)]; }, &want[at], &bound[at], nullptr, nullptr);
                }
            }
        }
    });
}

/// A NaN in a later token is seen by the rows after it; on the CPU it reaches neither the rows before it nor the other sequences, while a GPU's
/// tiles multiply masked values by 0, which a NaN survives (subtext.h says so).
void testNotANumber(Trial& t) {
    Shape s = headsOf(t);
    const int64_t sequences = 2 + t.random.below(2);
    for (int64_t i = 0; i < sequences; i++) addSequence(t, s, 1 + t.random.below(100));
    Values qkv = t.normals(s.N * s.stride(), 1, t.dtype);
    Buffer in(t, t.dtype, qkv), cu(t, s.cuSeqlens), y(t, t.dtype, s.N * s.H * s.D), z(t, t.dtype, s.N * s.H * s.D);
    const auto forward = [&](Buffer& out) {
        t.ok(t.device->attention_forward(t.device, out, nullptr, in, cu.as<int32_t>(), s.S, s.longest, s.N, s.H, s.Hkv, s.D, s.scale, s.window, t.dtype));
    };
    forward(y);
    const int64_t odd = t.random.below(s.N);
    for (int64_t c = s.H * s.D; c < s.stride(); c++) qkv[odd * s.stride() + c] = t.random.below(2) ? NAN : INFINITY;
    in.write(qkv);
    forward(z);
    const Values a = y.read(), b = z.read();
    const bool cpu = t.device.property(ST_COMPUTE_CAPABILITY) == 0;  // a GPU's tile may hold masked rows' NaN (subtext.h)
    const int64_t end = *std::upper_bound(s.cuSeqlens.begin(), s.cuSeqlens.end(), static_cast<int32_t>(odd));
    for (int64_t n = 0; n < s.N; n++) {
        const bool sees = n >= odd && n < end && (!s.window || n - odd < s.window);
        for (int64_t c = 0; c < s.H * s.D; c++) {
            const int64_t i = n * s.H * s.D + c;
            if (sees) t.require(!std::isfinite(b[i]), format("row %lld hides a NaN of row %lld", (long long)n, (long long)odd));
            else if (cpu) t.require(a[i] == b[i], format("a NaN of row %lld reaches row %lld", (long long)odd, (long long)n));
        }
    }
}

std::vector<Timing> perf(Device& d, const Settings& settings, st_dtype dtype) {
    std::vector<Timing> out;
    struct Case {
        int64_t S, T, H, Hkv, D;
    };
    std::vector<Case> cases;
    if (d.property(ST_COMPUTE_CAPABILITY) > 0) cases = {{8, 2048, 16, 16, 128}, {4, 4096, 16, 16, 128}, {1, 16384, 16, 16, 128}, {8, 2048, 32, 4, 64}};
    else cases = {{1000, 24, 4, 4, 16}, {200, 24, 4, 2, 32}, {64, 128, 4, 4, 32}, {4, 1024, 8, 8, 64}, {1, 2048, 8, 2, 128}};
    if (settings.quick) cases = {{20, 24, 4, 4, 16}};
    for (const Case& c : cases) {
        Trial t(d, settings, dtype, 5, 100, false);
        const int64_t N = c.S * c.T, stride = (c.H + 2 * c.Hkv) * c.D;
        std::vector<int32_t> bounds;
        for (int64_t i = 0; i <= c.S; i++) bounds.push_back(static_cast<int32_t>(i * c.T));
        Buffer in(t, dtype, t.normals(N * stride, 1, dtype)), cu(t, bounds), y(t, dtype, N * c.H * c.D), lse(t, realOf(dtype), N * c.H);
        Buffer dqkv(t, dtype, N * stride), scratch = scratchOf(t, d->attention_backward_scratch_bytes(d, c.S, c.T, N, c.H, c.Hkv, c.D, dtype));
        const double scale = 1 / std::sqrt(static_cast<double>(c.D));
        const std::string shape = format("S %lld T %lld H %lld/%lld D %lld", (long long)c.S, (long long)c.T, (long long)c.H, (long long)c.Hkv, (long long)c.D);
        const double pairs = static_cast<double>(c.S) * c.T * (c.T + 1) / 2 * c.H * c.D;
        const double forward = secondsOf(d, [&] {
            d.must(d->attention_forward(d, y, lse, in, cu.as<int32_t>(), c.S, c.T, N, c.H, c.Hkv, c.D, scale, 0, dtype), "attention_forward");
        });
        out.push_back({shape + " fwd", forward, static_cast<double>(N) * (stride + c.H * c.D) * bytesOf(dtype), 4 * pairs});
        const double backward = secondsOf(d, [&] {
            d.must(d->attention_backward(d, dqkv, y, y, in, lse, cu.as<int32_t>(), scratch, c.S, c.T, N, c.H, c.Hkv, c.D, scale, 0, dtype),
                   "attention_backward");
        });
        out.push_back({shape + " bwd", backward, static_cast<double>(N) * (2 * stride + 2 * c.H * c.D) * bytesOf(dtype), 10 * pairs});
    }
    return out;
}

std::vector<Timing> perfCached(Device& d, const Settings& settings, st_dtype dtype) {
    std::vector<Timing> out;
    struct Case {
        int64_t S, prefix, own, H, Hkv, D;
    };
    std::vector<Case> cases = {{256, 16, 16, 4, 4, 16}, {512, 40, 20, 4, 4, 32}, {64, 512, 64, 8, 8, 64}};
    if (settings.quick) cases = {{8, 16, 16, 4, 4, 16}};
    for (const Case& c : cases) {
        Trial t(d, settings, dtype, 5, 100, false);
        const int64_t slots = c.S + 8, capacity = std::max(c.prefix, c.own), width = c.Hkv * c.D, stride = (c.H + 2 * c.Hkv) * c.D;
        std::vector<int32_t> cu = {0}, slot, prefixSlot, prefixLength, start;
        for (int64_t i = 0; i < c.S; i++) {
            cu.push_back(static_cast<int32_t>(i + 1));
            slot.push_back(static_cast<int32_t>(8 + i));
            prefixSlot.push_back(static_cast<int32_t>(i % 8));
            prefixLength.push_back(static_cast<int32_t>(c.prefix));
            start.push_back(static_cast<int32_t>(c.prefix + c.own - 1));
        }
        Buffer k(t, dtype, Values(slots * capacity * width, 0.5)), v(t, dtype, Values(slots * capacity * width, 0.5));
        Buffer in(t, dtype, t.normals(c.S * stride, 1, dtype)), y(t, dtype, c.S * c.H * c.D), cuB(t, cu), slotB(t, slot), prefixSlotB(t, prefixSlot);
        Buffer prefixLengthB(t, prefixLength), startB(t, start);
        const double keys = static_cast<double>(c.S) * (c.prefix + c.own);
        const double seconds = secondsOf(d, [&] {
            d.must(d->attention_cached(d, y, in, k, v, cuB.as<int32_t>(), slotB.as<int32_t>(), prefixSlotB.as<int32_t>(), prefixLengthB.as<int32_t>(),
                                       startB.as<int32_t>(), c.S, 1, c.S, c.H, c.Hkv, c.D, slots, capacity, 0.25, 0, dtype), "attention_cached");
        });
        out.push_back({format("S %lld keys %lld H %lld/%lld D %lld", (long long)c.S, (long long)(c.prefix + c.own), (long long)c.H, (long long)c.Hkv, (long long)c.D),
                       seconds, keys * 2 * width * bytesOf(dtype), 4 * keys * c.H * c.D});
    }
    return out;
}

}  // namespace

void addAttentionOps(std::vector<Op>& ops) {
    ops.push_back({"attention_forward", testForward, {}, perf});
    ops.push_back({"attention_backward", testBackward, gradAttention, {}});
    ops.push_back({"attention_cached", testCached, {}, perfCached});
    ops.push_back({"attention_not_a_number", testNotANumber, {}, {}});
}

}  // namespace op_tests
