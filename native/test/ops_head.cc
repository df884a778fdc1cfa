// The head: log-probabilities, loss, sampling and the bookkeeping of decoding.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <numeric>

#include "harness.h"
#include "philox.h"

namespace op_tests {

namespace {

typedef std::vector<double> Values;

struct Head {
    int64_t N, V, stride;
};

Head headOf(Trial& t, int64_t mostRows = 150) {
    const int64_t N = t.size("N", mostRows), vocabulary = t.index % 10 == 9 ? 1 + t.random.below(9 * t.settings.largest) : t.size("V", 300, 1);
    t.note("V", static_cast<double>(vocabulary));
    return {N, vocabulary, vocabulary + t.random.below(3) * 5};
}

/// Logits with poison in the padding: it must never be read.
Values logitsOf(Trial& t, const Head& h) {
    const double scale = t.random.below(3) ? 2 : 15;
    Values x = t.normals(h.N * h.stride, scale, t.real());
    for (int64_t i = 0; i < h.N * h.stride; i++) {
        if (i % h.stride >= h.V) x[i] = NAN;
        else if (t.random.below(40) == 0) x[i] = -INFINITY;  // a forbidden token
    }
    for (int64_t n = 0; n < h.N; n++) x[n * h.stride + t.random.below(h.V)] = 1;  // at least one is allowed
    return x;
}

struct Law {
    Wide top, logSum;
    Wide logProb(Wide z) const { return z - top - logSum; }
};

Law lawOf(const double* row, const std::vector<int32_t>& ids, double temperature) {
    Law law = {-INFINITY, 0};
    for (const int32_t v : ids) law.top = std::max(law.top, static_cast<Wide>(row[v]) / temperature);
    Wide sum = 0;
    for (const int32_t v : ids) sum += std::exp(static_cast<Wide>(row[v]) / temperature - law.top);
    law.logSum = std::log(sum);
    return law;
}

std::vector<int32_t> everyToken(int64_t vocabulary) {
    std::vector<int32_t> ids(vocabulary);
    std::iota(ids.begin(), ids.end(), 0);
    return ids;
}

/// Error of a log-probability: two subtractions, the sum of V exponentials, its logarithm.
double logProbBound(const Trial& t, const Law& law, Wide z, int64_t vocabulary) {
    const double logp = static_cast<double>(std::fabs(law.logProb(z))), distance = static_cast<double>(std::fabs(z - law.top));
    const double bound = t.u() * (std::sqrt(static_cast<double>(vocabulary)) + 16 + 3 * distance + 3 * logp + 2 * static_cast<double>(std::fabs(law.top)));
    return std::isfinite(bound) ? bound : 0;
}

void testLoss(Trial& t) {
    const Head h = headOf(t);
    const Values x = logitsOf(t, h), weight = t.normals(h.N, 1, t.real());
    const std::vector<int32_t> target = t.integers(h.N, -1, h.V + 1);
    Buffer logits(t, t.real(), x), tb(t, target), wb(t, t.real(), weight), loss(t, t.real(), h.N), alone(t, t.real(), h.N), logp(t, t.real(), h.N);
    Buffer d(t, t.dtype, h.N * h.stride);
    t.ok(t.device->log_prob(t.device, logp, logits, tb.as<int32_t>(), h.N, h.V, h.stride, t.dtype));
    t.ok(t.device->cross_entropy(t.device, alone, nullptr, logits, tb.as<int32_t>(), wb, h.N, h.V, h.stride, t.dtype));
    t.ok(t.device->cross_entropy(t.device, loss, d, logits, tb.as<int32_t>(), wb, h.N, h.V, h.stride, t.dtype));
    t.require(loss.readBytes() == alone.readBytes(), "loss depends on whether dlogits is asked for");
    const std::vector<int32_t> ids = everyToken(h.V);
    const auto inside = [&](int64_t n) { return target[n] >= 0 && target[n] < h.V; };
    std::vector<Law> law(h.N);
    if (t.compare) {
        for (int64_t n = 0; n < h.N; n++) law[n] = lawOf(&x[n * h.stride], ids, 1);
    }
    t.check("log_prob", logp, [&](Values& want, Values& bound) {
        for (int64_t n = 0; n < h.N; n++) {
            if (!inside(n)) continue;
            const Wide z = x[n * h.stride + target[n]];
            want[n] = static_cast<double>(law[n].logProb(z));
            bound[n] = logProbBound(t, law[n], z, h.V);
        }
    });
    const Values a = logp.read(), b = loss.read();
    for (int64_t n = 0; n < h.N; n++) t.require(a[n] == -b[n], "loss is not the very negative of log_prob");
    t.check("dlogits", d, [&](Values& want, Values& bound) {
        for (int64_t n = 0; n < h.N; n++) {
            if (!inside(n)) continue;
            for (int64_t v = 0; v < h.V; v++) {
                const int64_t i = n * h.stride + v;
                const Wide logq = law[n].logProb(x[i]), p = std::exp(logq), hot = v == target[n] ? 1 : 0;
                want[i] = static_cast<double>(weight[n] * (p - hot));
                bound[i] = std::isinf(x[i]) ? 0
                           : static_cast<double>(std::fabs(weight[n]) * (p * (logProbBound(t, law[n], x[i], h.V) + (8 + 2 * std::fabs(logq)) * t.u()) + 2 * hot * t.u())) + 1e-37;
            }
        }
    });
    if (t.dtype == t.real()) {
        t.ok(t.device->cross_entropy(t.device, loss, logits, logits, tb.as<int32_t>(), wb, h.N, h.V, h.stride, t.dtype));
        t.require(logits.readBytes() == d.readBytes(), "dlogits in place of the logits differs");
    }
}

void gradLoss(Trial& t) {
    const int64_t N = t.size("N", 20, 1), vocabulary = t.size("V", 60, 1), stride = vocabulary + t.random.below(8);
    const Values weight = t.normals(N, 1, ST_F64);
    Values x = t.normals(N * stride, 2, ST_F64);
    Buffer logits(t, ST_F64, x), tb(t, t.integers(N, 0, vocabulary)), wb(t, ST_F64, weight), loss(t, ST_F64, N), d(t, ST_F64, N * stride);
    t.ok(t.device->cross_entropy(t.device, loss, d, logits, tb.as<int32_t>(), wb, N, vocabulary, stride, ST_F64));
    checkGradient(t, "dlogits", logits, d.read(), [&] {
        t.ok(t.device->cross_entropy(t.device, loss, nullptr, logits, tb.as<int32_t>(), wb, N, vocabulary, stride, ST_F64));
        const Values l = loss.read();
        Wide sum = 0;
        for (int64_t n = 0; n < N; n++) sum += static_cast<Wide>(l[n]) * weight[n];
        return static_cast<double>(sum);
    });
}

double gumbelOf(uint64_t key, int32_t position, int32_t v) {
    const st::PhiloxBlock block = st::sampleNoise(key, position, static_cast<uint32_t>(v / 4));
    return -std::log(-std::log1p(-static_cast<double>(st::uniform(block.x[v % 4]))));
}

void testSample(Trial& t) {
    const Head h = headOf(t, 60);
    const Values x = logitsOf(t, h);
    static const double temperatures[] = {0, 1, 1, 0.5, 1.7};
    const double temperature = temperatures[t.random.below(5)];
    const int64_t topK = t.random.below(3) ? 0 : 1 + t.random.below(std::min<int64_t>(h.V + 3, 60));
    const double topP = t.random.below(3) ? 1 : 0.05 + 0.9 * t.random.uniform();
    t.note("temperature", temperature);
    t.note("top_k", static_cast<double>(topK));
    t.note("top_p", topP);
    std::vector<uint64_t> key(h.N);
    for (uint64_t& k : key) k = t.random.next();
    const std::vector<int32_t> position = t.integers(h.N, 0, 100000);
    Buffer logits(t, t.real(), x), kb(t, key), pb(t, position), token(t, ST_I32, h.N), logp(t, t.real(), h.N);
    Buffer scratch = scratchOf(t, t.device->sample_scratch_bytes(t.device, h.N, h.V));
    t.ok(t.device->sample(t.device, token.as<int32_t>(), logp, logits, kb.as<uint64_t>(), pb.as<int32_t>(), scratch, h.N, h.V, h.stride, temperature,
                          topK, topP, t.dtype));
    t.digestBytes(token.readBytes().data(), 4 * h.N);
    const std::vector<int32_t> drawn = token.readInts();
    std::vector<std::vector<int32_t>> kept(h.N);
    std::vector<bool> borderline(h.N);
    if (t.compare) {
        for (int64_t n = 0; n < h.N; n++) {
            const double* row = &x[n * h.stride];
            std::vector<int32_t>& ids = kept[n] = everyToken(h.V);
            if (drawn[n] < 0 || drawn[n] >= h.V) {
                t.fail(format("row %lld drew %d", (long long)n, drawn[n]));
                return;
            }
            if (temperature == 0) {
                t.require(drawn[n] == std::max_element(row, row + h.V) - row, format("row %lld: not the most likely token", (long long)n));
                continue;
            }
            std::stable_sort(ids.begin(), ids.end(), [&](int32_t a, int32_t b) { return row[a] > row[b]; });
            if (topK > 0 && topK < h.V) ids.resize(topK);
            if (topP < 1) {
                const Law law = lawOf(row, ids, temperature);
                Wide mass = 0;
                size_t count = 0;
                while (count < ids.size()) {
                    mass += std::exp(law.logProb(row[ids[count++]] / static_cast<Wide>(temperature)));
                    if (std::fabs(mass - topP) < 1e-5) borderline[n] = true;  // one token more or less is as good
                    if (mass >= topP) break;
                }
                ids.resize(count);
            }
            Wide best = -INFINITY, mine = -INFINITY, slack = 0;
            for (const int32_t v : ids) {
                const Wide value = row[v] / static_cast<Wide>(temperature) + gumbelOf(key[n], position[n], v);
                if (value > best) {
                    best = value;
                    slack = 0x1p-19 * (1 + std::fabs(row[v] / temperature) + std::fabs(value));  // 32 f32 roundings: noise is f32 always
                }
                if (v == drawn[n]) mine = value;
            }
            if (!borderline[n]) {
                t.require(mine >= best - slack, format("row %lld drew %d, which is %s", (long long)n, drawn[n], std::isinf(mine) ? "not kept" : "not the arg max"));
            }
        }
    }
    t.check("log_prob", logp, [&](Values& want, Values& bound) {
        const Values got = logp.read();
        for (int64_t n = 0; n < h.N; n++) {
            const double heat = temperature == 0 ? 1 : temperature;
            const Law law = lawOf(&x[n * h.stride], kept[n], heat);
            const Wide z = x[n * h.stride + drawn[n]] / static_cast<Wide>(heat);
            want[n] = borderline[n] ? got[n] : static_cast<double>(law.logProb(z));
            bound[n] = logProbBound(t, law, z, h.V) + static_cast<double>(4 * t.u() * std::fabs(z));
        }
    });
    if (temperature == 1 && topK == 0 && topP == 1) {
        Buffer scored(t, t.real(), h.N);
        t.ok(t.device->log_prob(t.device, scored, logits, token.as<int32_t>(), h.N, h.V, h.stride, t.dtype));
        t.require(scored.readBytes() == logp.readBytes(), "sample and log_prob differ in the log-probability of the same token");
    }
}

/// Frequencies of many draws from one row against its probabilities, by chi-squared.
void testLaw(Trial& t) {
    // the emulator needs a millisecond a draw
    const int64_t vocabulary = 6, N = t.device.property(ST_IS_EMULATED) ? 1000 : t.settings.largest < 128 ? 4000 : 100000;
    const double temperature = t.index % 2 ? 0.7 : 1;
    const int64_t topK = t.index % 4 >= 2 ? 4 : 0;
    const Values one = t.normals(vocabulary, 1, t.real());
    Values x;
    std::vector<uint64_t> key(N);
    for (int64_t n = 0; n < N; n++) {
        x.insert(x.end(), one.begin(), one.end());
        key[n] = static_cast<uint64_t>(n) + (t.random.next() << 32);
    }
    Buffer logits(t, t.real(), x), kb(t, key), pb(t, std::vector<int32_t>(N, 11)), token(t, ST_I32, N), logp(t, t.real(), N);
    Buffer scratch = scratchOf(t, t.device->sample_scratch_bytes(t.device, N, vocabulary));
    t.ok(t.device->sample(t.device, token.as<int32_t>(), logp, logits, kb.as<uint64_t>(), pb.as<int32_t>(), scratch, N, vocabulary, vocabulary,
                          temperature, topK, 1, t.dtype));
    std::vector<int32_t> ids = everyToken(vocabulary);
    std::stable_sort(ids.begin(), ids.end(), [&](int32_t a, int32_t b) { return one[a] > one[b]; });
    if (topK) ids.resize(topK);
    const Law law = lawOf(one.data(), ids, temperature);
    Values count(vocabulary);
    for (const int32_t v : token.readInts()) count[std::min<int64_t>(std::max(v, 0), vocabulary - 1)]++;
    double chi = 0, inside = 0;
    for (const int32_t v : ids) {
        const double expected = static_cast<double>(N) * static_cast<double>(std::exp(law.logProb(one[v] / static_cast<Wide>(temperature))));
        chi += (count[v] - expected) * (count[v] - expected) / expected;
        inside += count[v];
    }
    t.require(inside == static_cast<double>(N), "a token that top_k excludes was drawn");
    t.require(chi < 28, format("chi-squared %.1f over %zu tokens", chi, ids.size()));  // 5 degrees of freedom: 28 has probability 4e-5
}

void testAdvance(Trial& t) {
    const int64_t S = t.size("S", 300), capacity = t.size("capacity", 40, 1);
    const std::vector<int32_t> sampled = t.integers(S, 0, 6), limit = t.integers(S, 1, capacity + 1);
    std::vector<int32_t> drawn(S), done = t.integers(S, 0, 3), token = t.integers(S, 0, 6), position = t.integers(S, 0, 99);
    std::vector<int32_t> history = t.integers(S * capacity, 0, 6);
    for (int64_t s = 0; s < S; s++) drawn[s] = static_cast<int32_t>(t.random.below(limit[s]));
    const Values logp = t.normals(S, 1, t.real());
    Values past = t.normals(S * capacity, 1, t.real());
    Buffer historyB(t, history), pastB(t, t.real(), past), tokenB(t, token), positionB(t, position), drawnB(t, drawn), doneB(t, done);
    Buffer sampledB(t, sampled), logpB(t, t.real(), logp), limitB(t, limit);
    const int32_t stop = 3;
    t.ok(t.device->decode_advance(t.device, historyB.as<int32_t>(), pastB, tokenB.as<int32_t>(), positionB.as<int32_t>(), drawnB.as<int32_t>(),
                                  doneB.as<int32_t>(), sampledB.as<int32_t>(), logpB, limitB.as<int32_t>(), S, capacity, stop, t.dtype));
    for (int64_t s = 0; s < S; s++) {
        if (done[s]) continue;
        history[s * capacity + drawn[s]] = sampled[s];
        past[s * capacity + drawn[s]] = logp[s];
        drawn[s]++;
        token[s] = sampled[s];
        position[s]++;
        done[s] = sampled[s] == stop ? 1 : drawn[s] == limit[s] ? 2 : 0;
    }
    t.require(historyB.readInts() == history, "history");
    t.require(pastB.read() == past, "history_log_prob");
    t.require(tokenB.readInts() == token, "token");
    t.require(positionB.readInts() == position, "position");
    t.require(drawnB.readInts() == drawn, "drawn");
    t.require(doneB.readInts() == done, "done");
}

/// A row with a NaN: its log-probability says so, the token is still one of the vocabulary, the other rows do not notice.
void testNotANumber(Trial& t) {
    const int64_t N = 2 + t.random.below(20), vocabulary = t.size("V", 200, 2);
    Values x = t.normals(N * vocabulary, 2, t.real());
    std::vector<uint64_t> key(N);
    for (uint64_t& k : key) k = t.random.next();
    const int64_t topK = t.random.below(2) ? 3 : 0;
    const double topP = t.random.below(2) ? 0.9 : 1;
    Buffer logits(t, t.real(), x), kb(t, key), pb(t, std::vector<int32_t>(N, 5)), token(t, ST_I32, N), logp(t, t.real(), N);
    Buffer scratch = scratchOf(t, t.device->sample_scratch_bytes(t.device, N, vocabulary));
    const auto draw = [&] {
        t.ok(t.device->sample(t.device, token.as<int32_t>(), logp, logits, kb.as<uint64_t>(), pb.as<int32_t>(), scratch, N, vocabulary, vocabulary, 0.8,
                              topK, topP, t.dtype));
    };
    draw();
    const std::vector<int32_t> before = token.readInts();
    const Values beforeP = logp.read();
    const int64_t odd = t.random.below(N);
    x[odd * vocabulary + t.random.below(vocabulary)] = NAN;
    logits.write(x);
    draw();
    const std::vector<int32_t> after = token.readInts();
    const Values afterP = logp.read();
    for (int64_t n = 0; n < N; n++) {
        if (n == odd) {
            t.require(after[n] >= 0 && after[n] < vocabulary, format("a row with a NaN drew %d", after[n]));
            t.require(std::isnan(afterP[n]), format("a row with a NaN has log-probability %g", afterP[n]));
        } else {
            t.require(before[n] == after[n] && beforeP[n] == afterP[n], "a NaN reaches another row");
        }
    }
}

std::vector<Timing> perf(Device& d, const Settings& s, st_dtype dtype) {
    std::vector<Timing> out;
    struct Case {
        int64_t N, V;
    };
    std::vector<Case> cases = {{4000, 32}, {1000, 64}, {64, 32000}, {512, 32000}};
    if (s.quick) cases = {{64, 64}};
    for (const Case& c : cases) {
        Trial t(d, s, dtype, 5, 100, false);
        const st_dtype real = realOf(dtype);
        std::vector<uint64_t> key(c.N, 77);
        Buffer logits(t, real, t.normals(c.N * c.V, 1, real)), target(t, t.integers(c.N, 0, c.V)), weight(t, real, Values(c.N, 1.0)), loss(t, real, c.N);
        Buffer dl(t, dtype, c.N * c.V), kb(t, key), pb(t, t.integers(c.N, 0, 100)), token(t, ST_I32, c.N);
        Buffer scratch = scratchOf(t, d->sample_scratch_bytes(d, c.N, c.V));
        const std::string shape = format("N %lld V %lld ", (long long)c.N, (long long)c.V);
        const double read = static_cast<double>(c.N) * c.V * bytesOf(real);
        const auto time = [&](const char* what, double bytes, const std::function<st_status()>& call) {
            out.push_back({shape + what, secondsOf(d, [&] { d.must(call(), what); }), bytes, 0});
        };
        time("log_prob", read, [&] { return d->log_prob(d, loss, logits, target.as<int32_t>(), c.N, c.V, c.V, dtype); });
        time("cross_entropy", read + static_cast<double>(c.N) * c.V * bytesOf(dtype),
             [&] { return d->cross_entropy(d, loss, dl, logits, target.as<int32_t>(), weight, c.N, c.V, c.V, dtype); });
        const auto sample = [&](double temperature, int64_t k, double p) {
            return d->sample(d, token.as<int32_t>(), loss, logits, kb.as<uint64_t>(), pb.as<int32_t>(), scratch, c.N, c.V, c.V, temperature, k, p, dtype);
        };
        time("sample", read, [&] { return sample(1, 0, 1); });
        time("sample top_k 50", read, [&] { return sample(1, 50, 1); });
        time("sample top_p .9", read, [&] { return sample(1, 0, 0.9); });
    }
    return out;
}

}  // namespace

void addHeadOps(std::vector<Op>& ops) {
    ops.push_back({"cross_entropy", testLoss, gradLoss, perf});
    ops.push_back({"sample", testSample, {}, {}});
    ops.push_back({"sample_law", testLaw, {}, {}, true, 8});
    ops.push_back({"sample_not_a_number", testNotANumber, {}, {}});
    ops.push_back({"decode_advance", testAdvance, {}, {}});
}

}  // namespace op_tests
