// What must hold to the bit: a row does not depend on the rows beside it, attention over a cache gives the bits of attention over the
// packed sequence however it is split, and neither threads nor instruction sets nor repetition change anything.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>

#include "harness.h"

namespace op_tests {

namespace {

typedef std::vector<double> Values;
typedef std::vector<uint8_t> Bytes;

Bytes slice(const Bytes& bytes, int64_t from, int64_t count) { return Bytes(bytes.begin() + from, bytes.begin() + from + count); }

/// Rows of a product, in groups of random size, against the whole.
void matmulRows(Trial& t) {
    const int64_t M = 1 + t.random.below(150), N = t.size("N", 300, 1), K = t.size("K", 900, 1);
    const st_dtype out = t.dtype == ST_BF16 && t.random.below(2) ? ST_F32 : t.dtype;
    const int64_t in = bytesOf(t.dtype), each = N * bytesOf(out);
    Buffer a(t, t.dtype, t.normals(M * K, 1, t.dtype)), b(t, t.dtype, t.normals(N * K, 1, t.dtype)), r(t, out, t.normals(M * N, 1, out));
    Buffer c(t, out, M * N), part(t, out, M * N);
    const bool residual = t.random.below(2);
    t.ok(t.device->matmul_nt(t.device, c, a, b, residual ? r.get() : nullptr, M, N, K, t.dtype, out));
    for (int64_t row = 0; row < M;) {
        const int64_t rows = std::min(M - row, 1 + (t.random.below(2) ? 0 : t.random.below(20)));
        t.ok(t.device->matmul_nt(t.device, part.as<char>() + row * each, a.as<char>() + row * K * in, b, residual ? r.as<char>() + row * each : nullptr, rows,
                                 N, K, t.dtype, out));
        row += rows;
    }
    t.require(c.readBytes() == part.readBytes(), "matmul_nt: a row depends on the rows beside it");
}

/// Draws from the whole law, where noise that cannot win is not computed, against draws among all entries but one of no weight, where
/// all of it is. CPU: on a GPU the two sum the law in different orders.
void prunedNoise(Trial& t) {
    const int64_t N = 4, V = 1 + t.random.below(5000), stride = V + 1;
    const double spread = t.random.below(2) ? 1 : 6, temperature = t.random.below(2) ? 1 : 0.7;
    std::vector<double> values = t.normals(N * stride, spread, t.real());
    for (int64_t n = 0; n < N; n++) values[n * stride + V] = -1e30;
    Buffer logits(t, t.real(), values), token(t, t.integers(N, 0, V)), position(t, t.integers(N, 0, 1000)), other(t, t.integers(N, 0, V));
    std::vector<uint64_t> keys(N);
    for (uint64_t& key : keys) key = t.random.next();
    Buffer key(t, keys), p(t, t.real(), N), q(t, t.real(), N), scratch = scratchOf(t, t.device->sample_scratch_bytes(t.device, N, stride));
    for (int64_t draw = 0; draw < 4; draw++) {
        t.ok(t.device->sample(t.device, token.as<int32_t>(), p, logits, key.as<uint64_t>(), position.as<int32_t>(), scratch, N, V, stride, temperature, 0,
                              1, t.dtype));
        t.ok(t.device->sample(t.device, other.as<int32_t>(), q, logits, key.as<uint64_t>(), position.as<int32_t>(), scratch, N, stride, stride,
                              temperature, V, 1, t.dtype));
        t.require(token.readBytes() == other.readBytes() && p.readBytes() == q.readBytes(), "sample: leaving out noise changes a draw");
        for (int64_t n = 0; n < N; n++) position.as<int32_t>()[n] += 1;
    }
}

/// Products large enough to be cut differently for every number of threads, on another device against the first.
void matmulOnThreads(Trial& t, Device& other) {
    const int64_t M = 1 + t.random.below(1600), N = 1 + t.random.below(t.random.below(2) ? 70 : 700), K = 1 + t.random.below(40);
    Buffer a(t, t.dtype, t.normals(M * K, 1, t.dtype)), b(t, t.dtype, t.normals(N * K, 1, t.dtype)), r(t, t.dtype, t.normals(M * N, 1, t.dtype));
    const char* names[] = {"matmul_nt", "matmul_nn", "matmul_tn"};
    for (int layout = 0; layout < 3; layout++) {
        const st_dtype out = layout == 2 ? t.real() : t.dtype;
        Buffer c(t, out, std::vector<double>(M * N, 1)), d(t, out, std::vector<double>(M * N, 1));
        const auto run = [&](Device& device, void* to) {
            if (layout == 0) t.ok(device->matmul_nt(device, to, a, b, r, M, N, K, t.dtype, out));
            if (layout == 1) t.ok(device->matmul_nn(device, to, a, b, M, N, K, t.dtype));
            if (layout == 2) t.ok(device->matmul_tn(device, to, a, b, M, N, K, t.dtype));
        };
        run(t.device, c);
        run(other, d);
        t.require(c.readBytes() == d.readBytes(), std::string(names[layout]) + ": threads change it");
    }
}

float flushed(float x) { return std::fpclassify(x) == FP_SUBNORMAL ? std::copysign(0.0f, x) : x; }

/// x as the sum of bf16 numbers: three of an f32, each the nearest of what is left (half-way: the greater in size), itself of a bf16.
std::vector<float> partsOf(float x, st_dtype dtype) {
    std::vector<float> parts;
    for (int i = 0; i < (dtype == ST_F32 ? 3 : 1); i++) {
        uint32_t bits;
        std::memcpy(&bits, &x, 4);
        bits = (bits + (i < 2 ? 0x8000 : 0)) & 0xFFFF0000;
        float part;
        std::memcpy(&part, &bits, 4);
        parts.push_back(flushed(part));
        x -= part;
    }
    return parts;
}

/// Elements of products by the matrix unit against the chain that native/cpu/amx.h defines, worked out here one multiplication at a time.
void amxChain(Trial& t) {
    const int64_t M = t.size("M", 300, 1), N = t.size("N", 300, 1), K = t.size("K", 900, 1);
    if (t.dtype == ST_F64) return;
    const double spread = t.random.below(3) ? 0 : 40;  // exponents, so that sums and parts reach the subnormal numbers
    Values av = t.normals(M * K, 1, t.dtype), bv = t.normals(N * K, 1, t.dtype);
    for (Values* values : {&av, &bv}) {
        for (double& x : *values) x = rounded(std::ldexp(x, static_cast<int>(spread * (t.random.uniform() * 2 - 1.6))), t.dtype);
    }
    Buffer a(t, t.dtype, av), b(t, t.dtype, bv), c(t, ST_F32, M * N);
    t.ok(t.device->matmul_nt(t.device, c, a, b, nullptr, M, N, K, t.dtype, ST_F32));
    const Values got = c.read();
    static const int order[6][2] = {{2, 0}, {1, 0}, {1, 1}, {0, 1}, {0, 2}, {0, 0}};
    for (int trial = 0; trial < 20; trial++) {
        const int64_t m = t.random.below(M), n = t.random.below(N);
        float sum = 0;
        for (int64_t k0 = 0; k0 < K; k0 += 32) {
            for (int product = t.dtype == ST_F32 ? 0 : 5; product < 6; product++) {
                float chains[2] = {0, 0};
                for (int64_t k = k0; k < std::min(K, k0 + 32); k++) {
                    const float x = partsOf(static_cast<float>(av[m * K + k]), t.dtype)[order[product][0]];
                    const float y = partsOf(static_cast<float>(bv[n * K + k]), t.dtype)[order[product][1]];
                    float& chain = chains[t.dtype == ST_F32 ? (k - k0) / 16 : k % 2];
                    chain = flushed(std::fma(x, y, chain));
                }
                sum = flushed(sum + flushed(chains[0] + chains[1]));
            }
        }
        t.require(sum == static_cast<float>(got[m * N + n]),
                  format("element %lld, %lld is %a, its chain %a", (long long)m, (long long)n, got[m * N + n], sum));
    }
}

/// Norm, gate and log-probability of single rows against the batch.
void plainRows(Trial& t) {
    const int64_t N = 1 + t.random.below(60), C = t.size("C", 300, 1), each = C * bytesOf(t.dtype);
    Buffer x(t, t.dtype, t.normals(N * C, 1, t.dtype)), w(t, t.dtype, t.normals(C, 1, t.dtype)), y(t, t.dtype, N * C), z(t, t.dtype, N * C);
    t.ok(t.device->rmsnorm_forward(t.device, y, nullptr, x, w, N, C, 1e-5, t.dtype));
    for (int64_t n = 0; n < N; n++) {
        t.ok(t.device->rmsnorm_forward(t.device, z.as<char>() + n * each, nullptr, x.as<char>() + n * each, w, 1, C, 1e-5, t.dtype));
    }
    t.require(y.readBytes() == z.readBytes(), "rmsnorm: a row depends on the rows beside it");

    Buffer g(t, t.dtype, t.normals(N * 2 * C, 2, t.dtype));
    t.ok(t.device->swiglu_forward(t.device, y, g, N, C, t.dtype));
    for (int64_t n = 0; n < N; n++) {
        t.ok(t.device->swiglu_forward(t.device, z.as<char>() + n * each, g.as<char>() + 2 * n * each, 1, C, t.dtype));
    }
    t.require(y.readBytes() == z.readBytes(), "swiglu: a row depends on the rows beside it");

    const int64_t real = bytesOf(t.real());
    Buffer logits(t, t.real(), t.normals(N * C, 2, t.real())), token(t, t.integers(N, 0, C)), p(t, t.real(), N), q(t, t.real(), N);
    t.ok(t.device->log_prob(t.device, p, logits, token.as<int32_t>(), N, C, C, t.dtype));
    for (int64_t n = 0; n < N; n++) {
        t.ok(t.device->log_prob(t.device, q.as<char>() + n * real, logits.as<char>() + n * C * real, token.as<int32_t>() + n, 1, C, C, t.dtype));
    }
    t.require(p.readBytes() == q.readBytes(), "log_prob: a row depends on the rows beside it");

    // the same logits with other padding behind the vocabulary
    const int64_t stride = C + 64;
    Values wide(N * stride, NAN);
    const Values narrow = logits.read();
    for (int64_t n = 0; n < N; n++) std::copy(narrow.begin() + n * C, narrow.begin() + (n + 1) * C, wide.begin() + n * stride);
    Buffer padded(t, t.real(), wide), r(t, t.real(), N);
    t.ok(t.device->log_prob(t.device, r, padded, token.as<int32_t>(), N, C, stride, t.dtype));
    t.require(p.readBytes() == r.readBytes(), "log_prob: depends on the stride");

    std::vector<uint64_t> key(N);
    for (uint64_t& k : key) k = t.random.next();
    Buffer kb(t, key), position(t, t.integers(N, 0, 1000)), drawn(t, ST_I32, N), single(t, ST_I32, N);
    Buffer scratch = scratchOf(t, t.device->sample_scratch_bytes(t.device, N, C));
    const int64_t topK = t.random.below(2) ? 5 : 0;
    const double topP = t.random.below(2) ? 0.8 : 1;
    t.ok(t.device->sample(t.device, drawn.as<int32_t>(), p, logits, kb.as<uint64_t>(), position.as<int32_t>(), scratch, N, C, C, 1, topK, topP, t.dtype));
    for (int64_t n = 0; n < N; n++) {
        t.ok(t.device->sample(t.device, single.as<int32_t>() + n, q.as<char>() + n * real, logits.as<char>() + n * C * real, kb.as<uint64_t>() + n,
                              position.as<int32_t>() + n, scratch, 1, C, C, 1, topK, topP, t.dtype));
    }
    t.require(drawn.readBytes() == single.readBytes() && p.readBytes() == q.readBytes(), "sample: a row depends on the rows beside it");
}

/// A document with K continuations: packed forward, each sequence alone, and through the cache by random chunks behind a shared prefix.
void cachedAttention(Trial& t) {
    const int64_t Hkv = 1 + t.random.below(2), G = 1 + t.random.below(3), H = Hkv * G;
    static const int64_t sizes[] = {8, 16, 32, 64, 128};
    const int64_t D = sizes[t.random.below(t.settings.largest < 128 ? 3 : 5)], stride = (H + 2 * Hkv) * D, width = H * D, bytes = bytesOf(t.dtype);
    const int64_t window = t.random.below(4) ? 0 : 1 + t.random.below(90);
    const double scale = 1 / std::sqrt(static_cast<double>(D));
    const int64_t K = 1 + t.random.below(4), prefix = t.random.below(4) ? t.random.below(150) : 64;
    t.note("D", static_cast<double>(D));
    t.note("H", static_cast<double>(H));
    t.note("Hkv", static_cast<double>(Hkv));
    t.note("prefix", static_cast<double>(prefix));
    t.note("window", static_cast<double>(window));
    std::vector<int64_t> own;
    std::vector<int32_t> cu = {0};
    int64_t longest = 0;
    for (int64_t k = 0; k < K; k++) {
        own.push_back(1 + t.random.below(100));
        t.note("own", static_cast<double>(own[k]));
        longest = std::max(longest, prefix + own[k]);
        cu.push_back(static_cast<int32_t>(cu.back() + prefix + own[k]));
    }
    // the same prefix rows stand at the head of every packed sequence
    const int64_t N = cu.back();
    const Values head = t.normals(prefix * stride, 1, t.dtype);
    Values qkv;
    for (int64_t k = 0; k < K; k++) {
        qkv.insert(qkv.end(), head.begin(), head.end());
        const Values tail = t.normals(own[k] * stride, 1, t.dtype);
        qkv.insert(qkv.end(), tail.begin(), tail.end());
    }
    Buffer in(t, t.dtype, qkv), cuB(t, cu), y(t, t.dtype, N * width), alone(t, t.dtype, N * width);
    t.ok(t.device->attention_forward(t.device, y, nullptr, in, cuB.as<int32_t>(), K, longest, N, H, Hkv, D, scale, window, t.dtype));
    const Bytes whole = y.readBytes();
    for (int64_t k = 0; k < K; k++) {
        const int64_t rows = cu[k + 1] - cu[k];
        Buffer one(t, std::vector<int32_t>{0, static_cast<int32_t>(rows)});
        t.ok(t.device->attention_forward(t.device, alone.as<char>() + cu[k] * width * bytes, nullptr, in.as<char>() + cu[k] * stride * bytes,
                                         one.as<int32_t>(), 1, rows, rows, H, Hkv, D, scale, window, t.dtype));
    }
    t.require(whole == alone.readBytes(), "attention_forward: a sequence depends on its neighbours");

    const int64_t slots = K + 1, capacity = std::max<int64_t>(longest, 1);
    Buffer kc(t, t.dtype, slots * capacity * Hkv * D), vc(t, t.dtype, slots * capacity * Hkv * D);
    // stage 0: sequence 0's prefix rows into slot 0, in chunks; stage 1: the tails of all, each behind slot 0, a random chunk of each at a time
    struct Piece {
        int64_t row, count, slot, prefixLength, start;
    };
    const auto runPieces = [&](const std::vector<Piece>& pieces) {
        std::vector<int32_t> bounds = {0}, slot, prefixSlot, prefixLength, start, rowSlot, rowPosition, rowOffset;
        int64_t rows = 0, most = 0;
        for (const Piece& p : pieces) {
            rows += p.count;
            most = std::max(most, p.count);
            bounds.push_back(static_cast<int32_t>(rows));
            slot.push_back(static_cast<int32_t>(p.slot));
            prefixSlot.push_back(0);
            prefixLength.push_back(static_cast<int32_t>(p.prefixLength));
            start.push_back(static_cast<int32_t>(p.start));
            for (int64_t i = 0; i < p.count; i++) {
                rowSlot.push_back(static_cast<int32_t>(p.slot));
                rowPosition.push_back(static_cast<int32_t>(p.start + i));
                rowOffset.push_back(static_cast<int32_t>(p.prefixLength));
            }
        }
        if (rows == 0) return;
        Buffer part(t, t.dtype, rows * stride), out(t, t.dtype, rows * width), boundsB(t, bounds), slotB(t, slot), prefixSlotB(t, prefixSlot);
        Buffer prefixLengthB(t, prefixLength), startB(t, start), rowSlotB(t, rowSlot), rowPositionB(t, rowPosition), rowOffsetB(t, rowOffset);
        for (size_t i = 0; i < pieces.size(); i++) {
            t.ok(t.device->copy(t.device, part.as<char>() + bounds[i] * stride * bytes, in.as<char>() + pieces[i].row * stride * bytes,
                                pieces[i].count * stride * bytes));
        }
        t.ok(t.device->cache_store(t.device, kc, vc, part, rowSlotB.as<int32_t>(), rowPositionB.as<int32_t>(), rowOffsetB.as<int32_t>(), rows, H, Hkv,
                                   D, slots, capacity, t.dtype));
        t.ok(t.device->attention_cached(t.device, out, part, kc, vc, boundsB.as<int32_t>(), slotB.as<int32_t>(), prefixSlotB.as<int32_t>(),
                                        prefixLengthB.as<int32_t>(), startB.as<int32_t>(), static_cast<int64_t>(pieces.size()), most, rows, H, Hkv, D, slots,
                                        capacity, scale, window, t.dtype));
        const Bytes got = out.readBytes();
        for (size_t i = 0; i < pieces.size(); i++) {
            const int64_t size = pieces[i].count * width * bytes;
            t.require(slice(got, bounds[i] * width * bytes, size) == slice(whole, pieces[i].row * width * bytes, size),
                      format("attention_cached differs: slot %lld rows %lld from position %lld", (long long)pieces[i].slot, (long long)pieces[i].count,
                             (long long)pieces[i].start));
        }
    };
    const auto chunk = [&](int64_t rest) { return std::min(rest, t.random.below(3) ? 1 + t.random.below(70) : 1); };
    for (int64_t at = 0; at < prefix;) {
        const int64_t rows = chunk(prefix - at);
        runPieces({{at, rows, 0, 0, at}});
        at += rows;
    }
    std::vector<int64_t> done(K);
    for (bool more = true; more;) {
        more = false;
        std::vector<Piece> pieces;
        for (int64_t k = 0; k < K; k++) {
            if (done[k] == own[k]) continue;
            const int64_t rows = chunk(own[k] - done[k]);
            pieces.push_back({cu[k] + prefix + done[k], rows, k + 1, prefix, prefix + done[k]});
            done[k] += rows;
            more = true;
        }
        runPieces(pieces);
    }
}

void runTrials(Device& device, const Settings& settings, const char* name, int trials, const std::function<void(Trial&)>& body, Score& score) {
    if (!settings.op.empty() && !std::strstr(name, settings.op.c_str())) return;
    for (const st_dtype dtype : {ST_F32, ST_BF16, ST_F64}) {
        if (settings.dtype >= 0 && settings.dtype != dtype) continue;
        if (dtype == ST_F64 && !device.hasF64()) continue;
        int failed = 0;
        for (int i = 0; i < trials; i++) {
            Trial t(device, settings, dtype, settings.seed * 7919 + static_cast<uint64_t>(i), Trial::awkwardTrials / 2 + i, true);
            body(t);
            if (t.failures.empty()) {
                score.passed++;
                continue;
            }
            score.failed++;
            if (failed++ < 3) {
                std::printf("FAIL %s %s, trial %d of seed %llu:%s\n", name, nameOf(dtype), i, (unsigned long long)settings.seed, t.description.c_str());
                for (const std::string& text : t.failures) std::printf("     %s\n", text.c_str());
            }
        }
        std::printf("%-34s %-5s %4d of %d\n", name, nameOf(dtype), trials - failed, trials);
        std::fflush(stdout);
    }
}

/// Digests of the outputs of every op's trials, by "op dtype trial".
std::map<std::string, uint64_t> digests(Device& device, const Settings& settings, const std::vector<Op>& ops) {
    std::map<std::string, uint64_t> out;
    for (const Op& op : ops) {
        if (!op.test || !std::strstr(op.name, settings.op.c_str())) continue;
        for (const st_dtype dtype : {ST_F32, ST_BF16, ST_F64}) {
            if ((op.f32Only && dtype != ST_F32) || (dtype == ST_F64 && !device.hasF64())) continue;
            if (settings.dtype >= 0 && settings.dtype != dtype) continue;
            const int count = op.trials ? 1 : std::max(4, settings.shapes / 5);
            for (int i = 0; i < count; i++) {
                // beyond the awkward sizes: these are about order, which only larger shapes can lose
                Trial t(device, settings, dtype, settings.seed * 104729 + static_cast<uint64_t>(i), Trial::awkwardTrials + i, false);
                op.test(t);
                out[std::string(op.name) + " " + nameOf(dtype) + " " + std::to_string(i) + ":" + t.description] = t.digest;
            }
        }
    }
    return out;
}

void compareDigests(const char* what, const std::map<std::string, uint64_t>& want, const std::map<std::string, uint64_t>& got, Score& score) {
    int failed = 0;
    for (const auto& entry : want) {
        const auto other = got.find(entry.first);
        if (other != got.end() && other->second == entry.second) {
            score.passed++;
            continue;
        }
        score.failed++;
        if (failed++ < 8) std::printf("FAIL %s: %s\n", what, entry.first.c_str());
    }
    std::printf("%-40s %4zu of %zu\n", what, want.size() - failed, want.size());
    std::fflush(stdout);
}

}  // namespace

void runExact(const Library& library, const Settings& settings, const std::vector<Op>& ops, Score& score) {
    const int trials = std::max(5, settings.shapes);
    std::map<std::string, uint64_t> first;
    std::string path;
    bool cpu;
    {
        Device device(library, settings.ordinal, settings.threads, settings.matmul);
        path = device.text(ST_TEXT_PATH);
        cpu = device.property(ST_COMPUTE_CAPABILITY) == 0;
        std::printf("%s: %s, %s, seed %llu\n", library.path.c_str(), device.text(ST_TEXT_NAME).c_str(), path.c_str(), (unsigned long long)settings.seed);
        runTrials(device, settings, "matmul rows alone", trials, matmulRows, score);
        runTrials(device, settings, "rows alone: norm, gate, head", trials / 2, plainRows, score);
        runTrials(device, settings, "attention packed, alone, cached", trials, cachedAttention, score);
        first = digests(device, settings, ops);
        compareDigests("every op, repeated", first, digests(device, settings, ops), score);
    }
    if (!cpu) return;
    {
        Device device(library, settings.ordinal, settings.threads, settings.matmul);
        runTrials(device, settings, "noise left out, and all of it", trials, prunedNoise, score);
    }
    for (const int32_t threads : {1, 2, 4}) {
        Device device(library, settings.ordinal, threads, settings.matmul);
        compareDigests(format("every op on %d threads", threads).c_str(), first, digests(device, settings, ops), score);
    }
    for (const int32_t threads : {2, 3, 7, 16}) {
        Device device(library, settings.ordinal, 1, settings.matmul), other(library, settings.ordinal, threads, settings.matmul);
        runTrials(device, settings, format("matmul on %d threads", threads).c_str(), trials, [&](Trial& t) { matmulOnThreads(t, other); }, score);
    }
    if (settings.matmul == ST_MATMUL_AMX) {
        Device device(library, settings.ordinal, settings.threads, settings.matmul);
        runTrials(device, settings, "matmul is the chain of amx.h", trials, amxChain, score);
    }
    if (settings.matmul == ST_MATMUL_AMX) {  // the unit against its definition in software; vectors have no part in it
        setenv("SUBTEXT_AMX", "emulated", 1);
        {
            Device device(library, settings.ordinal, settings.threads, settings.matmul);
            compareDigests(format("every op on %s", device.text(ST_TEXT_PATH).c_str()).c_str(), first, digests(device, settings, ops), score);
        }
        unsetenv("SUBTEXT_AMX");
    }
    for (const char* isa : {"avx2", "portable"}) {
        if (path == isa || path == "portable") continue;
        setenv("SUBTEXT_ISA", isa, 1);
        {
            Device device(library, settings.ordinal, settings.threads, settings.matmul);
            compareDigests(format("every op on %s", device.text(ST_TEXT_PATH).c_str()).c_str(), first, digests(device, settings, ops), score);
        }
        unsetenv("SUBTEXT_ISA");
    }
}

}  // namespace op_tests
