// Ops on elements and rows: memory, casts, noise, embedding, norms, rotary positions, gates, the optimizer.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <numeric>

#include "harness.h"
#include "philox.h"

namespace op_tests {

namespace {

typedef std::vector<double> Values;

/// Sum of w * y: the scalar whose gradient is checked.
double weighted(const Values& y, const Values& w) {
    Wide total = 0;
    for (size_t i = 0; i < y.size(); i++) total += static_cast<Wide>(y[i]) * w[i];
    return static_cast<double>(total);
}

void testMemory(Trial& t) {
    const int64_t n = t.size("n", 4096);
    const Values x = t.normals(n, 1, ST_F32);
    Buffer a(t, ST_F32, x), b(t, ST_F32, n);
    t.ok(t.device->copy(t.device, b, a, 4 * n));
    t.check("copy", b, [&](Values& want, Values&) { want = x; });
    t.ok(t.device->fill_zero(t.device, a, 4 * n));
    t.check("fill_zero", a, [](Values&, Values&) {});
    Buffer words(t, ST_I32, n);
    t.ok(t.device->fill_i32(t.device, words.as<int32_t>(), n, -7));
    t.check("fill_i32", words, [](Values& want, Values&) { std::fill(want.begin(), want.end(), -7); });

    const int64_t before = t.device.property(ST_ALLOCATIONS), held = t.device.property(ST_ALLOCATED_BYTES);
    void *memory = nullptr, *host = nullptr;
    t.ok(t.device->alloc(t.device, &memory, 4 * n));
    t.ok(t.device->host_alloc(t.device, &host, 4 * n + 4));
    t.require(reinterpret_cast<uintptr_t>(memory) % 256 == 0, "st_alloc is not 256-byte aligned");
    t.require(t.device.property(ST_ALLOCATIONS) == before + 2, "ST_ALLOCATIONS does not count");
    t.require(t.device.property(ST_ALLOCATED_BYTES) == held + 8 * n + 4, "ST_ALLOCATED_BYTES does not count");
    std::vector<float> back(n + 1);
    for (int64_t i = 0; i < n; i++) static_cast<float*>(host)[i] = static_cast<float>(x[i]);
    t.ok(t.device->upload(t.device, memory, host, 4 * n));
    t.ok(t.device->synchronize(t.device));
    t.ok(t.device->download(t.device, back.data(), memory, 4 * n));
    for (int64_t i = 0; i < n; i++) t.require(back[i] == static_cast<float>(x[i]), "upload and download differ");
    t.ok(t.device->free(t.device, memory));
    t.ok(t.device->host_free(t.device, host));
    t.require(t.device.property(ST_ALLOCATED_BYTES) == held, "ST_ALLOCATED_BYTES after freeing");
}

/// What every library must refuse, with a status and a text, and go on working.
void testRefusals(Trial& t) {
    Buffer x(t, ST_F32, t.normals(64, 1, ST_F32)), y(t, ST_F32, 64);
    Device& d = t.device;
    const auto refused = [&](const char* what, st_status status) {
        t.require(status == ST_INVALID_ARGUMENT, format("%s: status %d, expected ST_INVALID_ARGUMENT", what, status));
        t.require(std::strlen(d->last_error(d)) > 0, format("%s: no error text", what));
    };
    refused("add, negative n", d->add(d, y, x, x, -1, ST_F32));
    refused("add, unknown dtype", d->add(d, y, x, x, 1, 77));
    refused("matmul_nt, negative M", d->matmul_nt(d, y, x, x, nullptr, -1, 2, 2, ST_F32, ST_F32));
    refused("matmul_nt, c_dtype", d->matmul_nt(d, y, x, x, nullptr, 2, 2, 2, ST_F32, ST_I32));
    refused("rope, odd D", d->rope(d, y, x.as<int32_t>(), x, 1, 1, 3, 3, 1, 1, ST_F32));
    refused("attention_forward, H % Hkv",
            d->attention_forward(d, y, nullptr, x, x.as<int32_t>(), 1, 1, 1, 3, 2, 4, 0.5, 0, ST_F32));
    refused("log_prob, stride < V", d->log_prob(d, y, x, x.as<int32_t>(), 1, 8, 4, ST_F32));
    refused("alloc, negative", [&] {
        void* p = nullptr;
        return d->alloc(d, &p, -5);
    }());
    t.require(d->add(d, y, x, x, 0, ST_F32) == ST_OK, "n = 0 is not ST_OK");
    t.require(d->rmsnorm_forward(d, y, nullptr, x, x, 0, 8, 1e-5, ST_F32) == ST_OK, "N = 0 is not ST_OK");
    t.ok(d->add(d, y, x, x, 64, ST_F32));
}

void testCast(Trial& t) {
    const int64_t n = t.size("n", 5000);
    const Values x = t.normals(n, std::exp(3 * t.random.normal()), t.dtype);
    Buffer in(t, t.dtype, x);
    for (const st_dtype to : {ST_F32, ST_BF16, ST_F64}) {
        if (to == ST_F64 && !t.device.hasF64()) continue;
        Buffer out(t, to, n);
        t.ok(t.device->cast(t.device, out, in, n, to, t.dtype));
        t.check(nameOf(to), out, [&](Values& want, Values&) {
            for (int64_t i = 0; i < n; i++) want[i] = rounded(x[i], to);
        });
        if (t.compare) {  // a cast has one right answer
            const Values got = out.read();
            for (int64_t i = 0; i < n; i++) t.require(got[i] == rounded(x[i], to), format("cast to %s is not the nearest", nameOf(to)));
        }
    }
}

void testFillNormal(Trial& t) {
    const int64_t n = t.size("n", 3000);
    const double mean = t.random.normal(), std = t.random.uniform(), clamp = t.random.below(2) ? 1.5 : 0;
    const uint64_t seed = t.random.next(), first = t.random.next() >> t.random.below(64);
    Buffer y(t, t.dtype, n);
    t.ok(t.device->fill_normal(t.device, y, n, mean, std, clamp, seed, first, t.dtype));
    t.check("y", y, [&](Values& want, Values& bound) {
        for (int64_t i = 0; i < n; i++) {
            const st::PhiloxBlock block = st::philox(seed, first + static_cast<uint64_t>(i));
            const double radius = std::sqrt(-2 * std::log(static_cast<double>(st::uniform(block.x[0]))));
            const double g = radius * std::cos(6.283185307179586477 * static_cast<double>(st::uniform(block.x[1])));
            want[i] = mean + std * (clamp > 0 ? std::min(std::max(g, -clamp), clamp) : g);
            bound[i] = t.u() * (2 * std::fabs(mean) + std * radius * 24);  // cos of an angle up to 2 pi loses some 2 pi u
        }
    });
}

/// The published vectors of Random123 for philox4x32-10.
void testPhilox(Trial& t) {
    const auto same = [&](const st::PhiloxBlock& b, uint32_t x0, uint32_t x1, uint32_t x2, uint32_t x3) {
        t.require(b.x[0] == x0 && b.x[1] == x1 && b.x[2] == x2 && b.x[3] == x3, "philox differs from the published vectors");
    };
    same(st::philox(0, 0u, 0u, 0u, 0u), 0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8);
    same(st::philox(~0ull, ~0u, ~0u, ~0u, ~0u), 0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd);
    same(st::philox(0x299f31d0a4093822ull, 0x243f6a88u, 0x85a308d3u, 0x13198a2eu, 0x03707344u), 0xd16cfe09, 0x94fdcceb, 0x5001e420,
         0x24126ea1);
    (void)t.random.next();
}

void testEmbedding(Trial& t) {
    const int64_t N = t.size("N", 400), C = t.size("C", 300), vocabulary = t.size("V", 97, 1);
    const std::vector<int32_t> token = t.integers(N, -1, vocabulary + 1);  // two of them lie outside
    const Values w = t.normals(vocabulary * C, 1, t.dtype), dy = t.normals(N * C, 1, t.dtype), dw0 = t.normals(vocabulary * C, 1, t.real());
    std::vector<int32_t> order(N);
    std::iota(order.begin(), order.end(), 0);
    std::stable_sort(order.begin(), order.end(), [&](int32_t a, int32_t b) { return token[a] < token[b]; });
    Buffer wb(t, t.dtype, w), tb(t, token), y(t, t.dtype, N * C), dyb(t, t.dtype, dy), dw(t, t.real(), dw0), ob(t, order);
    t.ok(t.device->embedding_forward(t.device, y, wb, tb.as<int32_t>(), N, C, vocabulary, t.dtype));
    t.check("y", y, [&](Values& want, Values&) {
        for (int64_t n = 0; n < N; n++) {
            for (int64_t c = 0; c < C; c++) want[n * C + c] = token[n] < 0 || token[n] >= vocabulary ? 0 : w[token[n] * C + c];
        }
    });
    t.ok(t.device->embedding_backward(t.device, dw, dyb, tb.as<int32_t>(), ob.as<int32_t>(), N, C, vocabulary, t.dtype));
    t.check("dw", dw, [&](Values& want, Values& bound) {
        std::vector<Wide> sum(dw0.begin(), dw0.end());
        Values magnitude(dw0.size());
        std::vector<int64_t> terms(vocabulary);
        for (size_t i = 0; i < dw0.size(); i++) magnitude[i] = std::fabs(dw0[i]);
        for (int64_t n = 0; n < N; n++) {
            if (token[n] < 0 || token[n] >= vocabulary) continue;
            terms[token[n]]++;
            for (int64_t c = 0; c < C; c++) {
                sum[token[n] * C + c] += dy[n * C + c];
                magnitude[token[n] * C + c] += std::fabs(dy[n * C + c]);
            }
        }
        for (size_t i = 0; i < want.size(); i++) {
            want[i] = static_cast<double>(sum[i]);
            bound[i] = (2 * std::sqrt(static_cast<double>(terms[i / C])) + 2) * t.u() * magnitude[i];
        }
    });
}

void testGather(Trial& t) {
    const int64_t M = t.size("M", 300), N = t.size("N", 300, 1), C = t.size("C", 300);
    const std::vector<int32_t> row = t.integers(M, 0, N);
    const Values x = t.normals(N * C, 1, t.dtype);
    Buffer xb(t, t.dtype, x), rb(t, row), y(t, t.dtype, M * C);
    t.ok(t.device->gather_rows(t.device, y, xb, rb.as<int32_t>(), M, C, t.dtype));
    t.check("y", y, [&](Values& want, Values&) {
        for (int64_t m = 0; m < M; m++) {
            for (int64_t c = 0; c < C; c++) want[m * C + c] = x[row[m] * C + c];
        }
    });
}

void testRmsnorm(Trial& t) {
    const int64_t N = t.size("N", 300), C = t.size("C", 2048, 1);
    const double eps = 1e-5;
    const Values x = t.normals(N * C, std::exp(t.random.normal()), t.dtype), w = t.normals(C, 1, t.dtype);
    const Values dy = t.normals(N * C, 1, t.dtype), dx0 = t.normals(N * C, 1, t.dtype), dw0 = t.normals(C, 1, t.real());
    Buffer xb(t, t.dtype, x), wb(t, t.dtype, w), y(t, t.dtype, N * C), rstd(t, t.real(), N), plain(t, t.dtype, N * C);
    t.ok(t.device->rmsnorm_forward(t.device, y, rstd, xb, wb, N, C, eps, t.dtype));
    t.ok(t.device->rmsnorm_forward(t.device, plain, nullptr, xb, wb, N, C, eps, t.dtype));
    t.require(y.readBytes() == plain.readBytes(), "y depends on whether rstd is kept");
    Values exact(N);
    for (int64_t n = 0; n < N; n++) {
        Wide squares = 0;
        for (int64_t c = 0; c < C; c++) squares += static_cast<Wide>(x[n * C + c]) * x[n * C + c];
        exact[n] = static_cast<double>(1 / std::sqrt(squares / C + static_cast<Wide>(eps)));
    }
    const double length = std::sqrt(static_cast<double>(C)) + 8;
    t.check("rstd", rstd, [&](Values& want, Values& bound) {
        for (int64_t n = 0; n < N; n++) {
            want[n] = exact[n];
            bound[n] = length * t.u() * exact[n];
        }
    });
    t.check("y", y, [&](Values& want, Values& bound) {
        for (int64_t i = 0; i < N * C; i++) {
            want[i] = static_cast<double>(static_cast<Wide>(x[i]) * exact[i / C] * w[i % C]);
            bound[i] = (length + 4) * t.u() * std::fabs(want[i]);
        }
    });
    const Values r = rstd.read();
    Buffer dx(t, t.dtype, dx0), dw(t, t.real(), dw0), dyb(t, t.dtype, dy);
    Buffer scratch = scratchOf(t, t.device->rmsnorm_backward_scratch_bytes(t.device, N, C, t.dtype));
    t.ok(t.device->rmsnorm_backward(t.device, dx, dw, dyb, xb, wb, rstd, scratch, N, C, t.dtype));
    t.check("dx", dx, [&](Values& want, Values& bound) {
        for (int64_t n = 0; n < N; n++) {
            Wide dot = 0, size = 0;
            for (int64_t c = 0; c < C; c++) {
                const Wide term = static_cast<Wide>(dy[n * C + c]) * w[c] * x[n * C + c];
                dot += term;
                size += std::fabs(term);
            }
            for (int64_t c = 0; c < C; c++) {
                const int64_t i = n * C + c;
                const Wide g = static_cast<Wide>(dy[i]) * w[c], q = static_cast<Wide>(r[n]) * r[n] / C;
                want[i] = static_cast<double>(dx0[i] + r[n] * (g - x[i] * q * dot));
                bound[i] = static_cast<double>((length + 8) * t.u() * (std::fabs(dx0[i]) + r[n] * (std::fabs(g) + std::fabs(x[i]) * q * size)));
            }
        }
    });
    t.check("dw", dw, [&](Values& want, Values& bound) {
        for (int64_t c = 0; c < C; c++) {
            Wide sum = dw0[c], size = std::fabs(dw0[c]);
            for (int64_t n = 0; n < N; n++) {
                const Wide term = static_cast<Wide>(dy[n * C + c]) * x[n * C + c] * r[n];
                sum += term;
                size += std::fabs(term);
            }
            want[c] = static_cast<double>(sum);
            bound[c] = static_cast<double>((2 * std::sqrt(static_cast<Wide>(N)) + 8) * t.u() * size);
        }
    });
}

void gradRmsnorm(Trial& t) {
    const int64_t N = t.size("N", 20, 1), C = t.size("C", 64, 1);
    Buffer x(t, ST_F64, t.normals(N * C, 1, ST_F64)), w(t, ST_F64, t.normals(C, 1, ST_F64)), y(t, ST_F64, N * C), rstd(t, ST_F64, N);
    const Values dy = t.normals(N * C, 1, ST_F64);
    Buffer dyb(t, ST_F64, dy), dx(t, ST_F64, Values(N * C)), dw(t, ST_F64, Values(C));
    Buffer scratch = scratchOf(t, t.device->rmsnorm_backward_scratch_bytes(t.device, N, C, ST_F64));
    const auto loss = [&] {
        t.ok(t.device->rmsnorm_forward(t.device, y, rstd, x, w, N, C, 1e-5, ST_F64));
        return weighted(y.read(), dy);
    };
    loss();
    t.ok(t.device->rmsnorm_backward(t.device, dx, dw, dyb, x, w, rstd, scratch, N, C, ST_F64));
    checkGradient(t, "dx", x, dx.read(), loss);
    checkGradient(t, "dw", w, dw.read(), loss);
}

void gradEmbedding(Trial& t) {
    const int64_t N = t.size("N", 40, 1), C = t.size("C", 40, 1), vocabulary = t.size("V", 12, 1);
    const std::vector<int32_t> token = t.integers(N, 0, vocabulary);
    std::vector<int32_t> order(N);
    std::iota(order.begin(), order.end(), 0);
    std::stable_sort(order.begin(), order.end(), [&](int32_t a, int32_t b) { return token[a] < token[b]; });
    const Values dy = t.normals(N * C, 1, ST_F64);
    Buffer w(t, ST_F64, t.normals(vocabulary * C, 1, ST_F64)), tb(t, token), ob(t, order), y(t, ST_F64, N * C), dyb(t, ST_F64, dy);
    Buffer dw(t, ST_F64, Values(vocabulary * C));
    t.ok(t.device->embedding_backward(t.device, dw, dyb, tb.as<int32_t>(), ob.as<int32_t>(), N, C, vocabulary, ST_F64));
    checkGradient(t, "dw", w, dw.read(), [&] {
        t.ok(t.device->embedding_forward(t.device, y, w, tb.as<int32_t>(), N, C, vocabulary, ST_F64));
        return weighted(y.read(), dy);
    });
}

Values ropeTable(int64_t context, int64_t D, st_dtype real) {
    Values table(context * D);
    for (int64_t p = 0; p < context; p++) {
        for (int64_t i = 0; i < D / 2; i++) {
            const double angle = static_cast<double>(p) * std::pow(10000.0, -2.0 * static_cast<double>(i) / static_cast<double>(D));
            table[p * D + 2 * i] = rounded(std::cos(angle), real);
            table[p * D + 2 * i + 1] = rounded(std::sin(angle), real);
        }
    }
    return table;
}

void testRope(Trial& t) {
    const int64_t N = t.size("N", 200), heads = t.size("heads", 9), D = 2 * t.size("D/2", 64), context = t.size("context", 300, 1);
    const int64_t stride = heads * D + t.random.below(3) * 8;
    const int32_t direction = t.random.below(2) ? 1 : -1;
    const std::vector<int32_t> position = t.integers(N, 0, context);
    const Values x = t.normals(N * stride, 1, t.dtype), table = ropeTable(context, D, t.real());
    Buffer xb(t, t.dtype, x), pb(t, position), tb(t, t.real(), table);
    t.ok(t.device->rope(t.device, xb, pb.as<int32_t>(), tb, N, heads, D, stride, context, direction, t.dtype));
    t.check("x", xb, [&](Values& want, Values& bound) {
        want = x;
        for (int64_t n = 0; n < N; n++) {
            for (int64_t h = 0; h < heads; h++) {
                for (int64_t i = 0; i < D / 2; i++) {
                    const int64_t a = n * stride + h * D + i, b = a + D / 2;
                    const Wide c = table[position[n] * D + 2 * i], s = direction * static_cast<Wide>(table[position[n] * D + 2 * i + 1]);
                    want[a] = static_cast<double>(x[a] * c - x[b] * s);
                    want[b] = static_cast<double>(x[b] * c + x[a] * s);
                    bound[a] = bound[b] = 3 * t.u() * (std::fabs(x[a]) + std::fabs(x[b]));
                }
            }
        }
    });
}

/// The backward of a rotation is the rotation the other way: checked as a gradient.
void gradRope(Trial& t) {
    const int64_t N = t.size("N", 8, 1), heads = t.size("heads", 3, 1), D = 2 * t.size("D/2", 16, 1), context = 50;
    const std::vector<int32_t> position = t.integers(N, 0, context);
    const int64_t n = N * heads * D;
    const Values dy = t.normals(n, 1, ST_F64), table = ropeTable(context, D, ST_F64);
    Buffer x(t, ST_F64, t.normals(n, 1, ST_F64)), y(t, ST_F64, n), pb(t, position), tb(t, ST_F64, table), dx(t, ST_F64, dy);
    t.ok(t.device->rope(t.device, dx, pb.as<int32_t>(), tb, N, heads, D, heads * D, context, -1, ST_F64));
    checkGradient(t, "dx", x, dx.read(), [&] {
        t.ok(t.device->copy(t.device, y, x, n * 8));
        t.ok(t.device->rope(t.device, y, pb.as<int32_t>(), tb, N, heads, D, heads * D, context, 1, ST_F64));
        return weighted(y.read(), dy);
    });
}

void testSwiglu(Trial& t) {
    const int64_t N = t.size("N", 200), F = t.size("F", 700);
    const Values gateUp = t.normals(N * 2 * F, t.random.below(4) ? 2 : 12, t.dtype), dy = t.normals(N * F, 1, t.dtype);
    Buffer gb(t, t.dtype, gateUp), y(t, t.dtype, N * F), dyb(t, t.dtype, dy), dg(t, t.dtype, N * 2 * F);
    t.ok(t.device->swiglu_forward(t.device, y, gb, N, F, t.dtype));
    // e^x of a rounded multiple of x is off by |x| u; results below 1e-36 may vanish where e^-x overflows
    t.check("y", y, [&](Values& want, Values& bound) {
        for (int64_t i = 0; i < N * F; i++) {
            const Wide g = gateUp[i / F * 2 * F + i % F], up = gateUp[i / F * 2 * F + F + i % F];
            want[i] = static_cast<double>(g / (1 + std::exp(-g)) * up);
            bound[i] = (8 + 2 * static_cast<double>(std::fabs(g))) * t.u() * std::fabs(want[i]) + 1e-36 * static_cast<double>(std::fabs(up));
        }
    });
    t.ok(t.device->swiglu_backward(t.device, dg, dyb, gb, N, F, t.dtype));
    t.check("d_gate_up", dg, [&](Values& want, Values& bound) {
        for (int64_t n = 0; n < N; n++) {
            for (int64_t f = 0; f < F; f++) {
                const int64_t gate = n * 2 * F + f, up = gate + F;
                const Wide g = gateUp[gate], s = 1 / (1 + std::exp(-g)), d = dy[n * F + f];
                want[gate] = static_cast<double>(d * gateUp[up] * s * (1 + g * (1 - s)));
                want[up] = static_cast<double>(d * g * s);
                const double c = (12 + 2 * static_cast<double>(std::fabs(g))) * t.u();
                bound[gate] = static_cast<double>(c * std::fabs(d * gateUp[up]) * s * (1 + std::fabs(g) * (1 - s)) + 1e-36L * std::fabs(gateUp[up]));
                bound[up] = c * std::fabs(want[up]) + 1e-36;
            }
        }
    });
}

void gradSwiglu(Trial& t) {
    const int64_t N = t.size("N", 20, 1), F = t.size("F", 40, 1);
    const Values dy = t.normals(N * F, 1, ST_F64);
    Buffer g(t, ST_F64, t.normals(N * 2 * F, 2, ST_F64)), y(t, ST_F64, N * F), dyb(t, ST_F64, dy), dg(t, ST_F64, N * 2 * F);
    t.ok(t.device->swiglu_backward(t.device, dg, dyb, g, N, F, ST_F64));
    checkGradient(t, "d_gate_up", g, dg.read(), [&] {
        t.ok(t.device->swiglu_forward(t.device, y, g, N, F, ST_F64));
        return weighted(y.read(), dy);
    });
}

void testAdd(Trial& t) {
    const int64_t n = t.size("n", 5000);
    const Values a = t.normals(n, 1, t.dtype), b = t.normals(n, 1, t.dtype);
    Buffer ab(t, t.dtype, a), bb(t, t.dtype, b), y(t, t.dtype, n);
    t.ok(t.device->add(t.device, y, ab, bb, n, t.dtype));
    const auto fill = [&](Values& want, Values& bound) {
        for (int64_t i = 0; i < n; i++) {
            want[i] = static_cast<double>(static_cast<Wide>(a[i]) + b[i]);
            bound[i] = t.u() * std::fabs(want[i]);
        }
    };
    t.check("y", y, fill);
    t.ok(t.device->add(t.device, bb, ab, bb, n, t.dtype));
    t.check("in place", bb, fill);
}

void testAdamw(Trial& t) {
    const int64_t n = t.size("n", 5000), step = 1 + t.random.below(2000);
    const double lr = 3e-3, beta1 = 0.9, beta2 = 0.99, eps = 1e-8, decay = 0.1, scale = 0.5 + t.random.uniform();
    const Values p0 = t.normals(n, 1, t.real()), m0 = t.normals(n, 0.1, t.real()), g0 = t.normals(n, 1, t.real());
    Values v0 = t.normals(n, 0.3, t.real());
    for (double& v : v0) v = std::fabs(v);
    Buffer master(t, t.real(), p0), m(t, t.real(), m0), v(t, t.real(), v0), g(t, t.real(), g0), weight(t, t.dtype, n);
    const bool shared = t.dtype == t.real();
    t.ok(t.device->adamw(t.device, shared ? master.get() : weight.get(), master, m, v, g, n, scale, lr, beta1, beta2, eps, decay, step, t.dtype));
    t.check("m", m, [&](Values& want, Values& bound) {
        for (int64_t i = 0; i < n; i++) {
            want[i] = beta1 * m0[i] + (1 - beta1) * scale * g0[i];
            bound[i] = 6 * t.u() * (std::fabs(beta1 * m0[i]) + std::fabs((1 - beta1) * scale * g0[i]));
        }
    });
    t.check("v", v, [&](Values& want, Values& bound) {
        for (int64_t i = 0; i < n; i++) {
            want[i] = beta2 * v0[i] + (1 - beta2) * scale * g0[i] * scale * g0[i];
            bound[i] = 8 * t.u() * want[i];
        }
    });
    t.check("master", master, [&](Values& want, Values& bound) {
        const Wide c1 = 1 - std::pow(static_cast<Wide>(beta1), step), c2 = 1 - std::pow(static_cast<Wide>(beta2), step);
        for (int64_t i = 0; i < n; i++) {
            const Wide gi = static_cast<Wide>(scale) * g0[i], a = static_cast<Wide>(beta1) * m0[i], b = (1 - static_cast<Wide>(beta1)) * gi;
            const Wide vi = static_cast<Wide>(beta2) * v0[i] + (1 - static_cast<Wide>(beta2)) * gi * gi;
            const Wide below = std::sqrt(vi / c2) + eps;
            want[i] = static_cast<double>(p0[i] - lr * ((a + b) / c1 / below + decay * static_cast<Wide>(p0[i])));
            bound[i] = static_cast<double>(t.u() * (2 * std::fabs(p0[i]) + lr * (20 * (std::fabs(a) + std::fabs(b)) / c1 / below + 8 * decay * std::fabs(p0[i]))));
        }
    });
    if (!shared) {
        const Values got = master.read();
        t.check("weight", weight, [&](Values& want, Values&) {
            for (int64_t i = 0; i < n; i++) want[i] = rounded(got[i], t.dtype);
        });
    }
}

void testSumSquares(Trial& t) {
    if (t.dtype == ST_BF16) {  // gradients are real
        Buffer x(t, ST_BF16, Values(8, 1.0)), out(t, ST_F64, 1);
        t.require(t.device->sum_squares(t.device, out.as<double>(), x, x, 8, ST_BF16) == ST_INVALID_ARGUMENT, "bf16 is not refused");
        return;
    }
    const int64_t n = t.index % 10 == 9 ? 70001 : t.size("n", 5000);
    Values x = t.normals(n, 1, t.dtype);
    Buffer xb(t, t.dtype, x), out(t, ST_F64, 1);
    Buffer scratch = scratchOf(t, t.device->sum_squares_scratch_bytes(t.device, n));
    t.ok(t.device->sum_squares(t.device, out.as<double>(), xb, scratch, n, t.dtype));
    t.check("sum", out, [&](Values& want, Values& bound) {
        Wide sum = 0;
        for (const double value : x) sum += static_cast<Wide>(value) * value;
        want[0] = static_cast<double>(sum);
        bound[0] = (2 * std::sqrt(static_cast<double>(n)) + 4) * 0x1p-53 * want[0];
    });
    if (n == 0) return;
    x[t.random.below(n)] = t.random.below(2) ? NAN : INFINITY;
    xb.write(x);
    t.ok(t.device->sum_squares(t.device, out.as<double>(), xb, scratch, n, t.dtype));
    t.require(!std::isfinite(out.read()[0]), "a NaN or infinity is lost in the sum");
}

/// A NaN in one row leaves the other rows as they were.
void testNotANumber(Trial& t) {
    const int64_t N = t.size("N", 60, 2), C = t.size("C", 100, 1);
    Values x = t.normals(N * C, 1, t.dtype);
    const Values w = t.normals(C, 1, t.dtype);
    Buffer xb(t, t.dtype, x), wb(t, t.dtype, w), y(t, t.dtype, N * C), z(t, t.dtype, N * C);
    t.ok(t.device->rmsnorm_forward(t.device, y, nullptr, xb, wb, N, C, 1e-5, t.dtype));
    const int64_t odd = t.random.below(N);
    x[odd * C + t.random.below(C)] = NAN;
    xb.write(x);
    t.ok(t.device->rmsnorm_forward(t.device, z, nullptr, xb, wb, N, C, 1e-5, t.dtype));
    const Values a = y.read(), b = z.read();
    for (int64_t i = 0; i < N * C; i++) {
        if (i / C == odd) t.require(std::isnan(b[i]), "rmsnorm hides a NaN");
        else t.require(a[i] == b[i], "a NaN reaches another row of rmsnorm");
    }
}

Timing timed(Device& d, const std::string& shape, double bytes, const std::function<st_status()>& call) {
    const double seconds = secondsOf(d, [&] { d.must(call(), shape.c_str()); });
    return {shape, seconds, bytes, 0};
}

/// Buffers for timing: a trial only to own them.
struct Bench {
    Trial trial;
    Bench(Device& device, const Settings& settings, st_dtype dtype) : trial(device, settings, dtype, 7, 100, false) {}
};

std::vector<int64_t> perfRows(Device& d, const Settings& s) {
    if (s.quick) return {512};
    return d.property(ST_COMPUTE_CAPABILITY) > 0 ? std::vector<int64_t>{8192, 32768} : std::vector<int64_t>{2048, 16384};
}

}  // namespace

void addRowOps(std::vector<Op>& ops) {
    ops.push_back({"memory", testMemory, {}, {}, true});
    ops.push_back({"refusals", testRefusals, {}, {}, true, 2});
    ops.push_back({"philox", testPhilox, {}, {}, true, 1});
    ops.push_back({"cast", testCast, {}, {}});
    ops.push_back({"fill_normal", testFillNormal, {}, {}});
    ops.push_back({"embedding", testEmbedding, gradEmbedding, [](Device& d, const Settings& s, st_dtype dtype) {
        std::vector<Timing> out;
        Bench b(d, s, dtype);
        const int64_t C = 1024, vocabulary = 32000;
        for (const int64_t N : perfRows(d, s)) {
            Buffer w(b.trial, dtype, vocabulary * C), y(b.trial, dtype, N * C), token(b.trial, b.trial.integers(N, 0, vocabulary));
            out.push_back(timed(d, format("N %lld C %lld", (long long)N, (long long)C), 2.0 * N * C * bytesOf(dtype), [&] {
                return d->embedding_forward(d, y, w, token.as<int32_t>(), N, C, vocabulary, dtype);
            }));
        }
        return out;
    }});
    ops.push_back({"gather_rows", testGather, {}, {}});
    ops.push_back({"rmsnorm", testRmsnorm, gradRmsnorm, [](Device& d, const Settings& s, st_dtype dtype) {
        std::vector<Timing> out;
        Bench b(d, s, dtype);
        for (const int64_t C : {64, 1024, 4096}) {
            for (const int64_t N : perfRows(d, s)) {
                Buffer x(b.trial, dtype, Values(N * C, 1.0)), y(b.trial, dtype, N * C), w(b.trial, dtype, Values(C, 1.0)), r(b.trial, realOf(dtype), N);
                Buffer dw(b.trial, realOf(dtype), Values(C, 0.0)), dx(b.trial, dtype, Values(N * C, 0.0));
                Buffer scratch = scratchOf(b.trial, d->rmsnorm_backward_scratch_bytes(d, N, C, dtype));
                const std::string shape = format("N %lld C %lld", (long long)N, (long long)C);
                out.push_back(timed(d, shape + " forward", 2.0 * N * C * bytesOf(dtype),
                                    [&] { return d->rmsnorm_forward(d, y, r, x, w, N, C, 1e-5, dtype); }));
                out.push_back(timed(d, shape + " backward", 4.0 * N * C * bytesOf(dtype),
                                    [&] { return d->rmsnorm_backward(d, dx, dw, y, x, w, r, scratch, N, C, dtype); }));
            }
        }
        return out;
    }});
    ops.push_back({"rope", testRope, gradRope, [](Device& d, const Settings& s, st_dtype dtype) {
        std::vector<Timing> out;
        Bench b(d, s, dtype);
        const int64_t heads = 20, D = 64, context = 2048;
        for (const int64_t N : perfRows(d, s)) {
            Buffer x(b.trial, dtype, Values(N * heads * D, 1.0)), position(b.trial, b.trial.integers(N, 0, context));
            Buffer table(b.trial, realOf(dtype), ropeTable(context, D, realOf(dtype)));
            out.push_back(timed(d, format("N %lld heads 20 D 64", (long long)N), 2.0 * N * heads * D * bytesOf(dtype), [&] {
                return d->rope(d, x, position.as<int32_t>(), table, N, heads, D, heads * D, context, 1, dtype);
            }));
        }
        return out;
    }});
    ops.push_back({"swiglu", testSwiglu, gradSwiglu, [](Device& d, const Settings& s, st_dtype dtype) {
        std::vector<Timing> out;
        Bench b(d, s, dtype);
        for (const int64_t F : {170, 2816}) {
            for (const int64_t N : perfRows(d, s)) {
                Buffer g(b.trial, dtype, Values(2 * N * F, 1.0)), y(b.trial, dtype, N * F), dg(b.trial, dtype, 2 * N * F);
                const std::string shape = format("N %lld F %lld", (long long)N, (long long)F);
                out.push_back(timed(d, shape + " forward", 3.0 * N * F * bytesOf(dtype), [&] { return d->swiglu_forward(d, y, g, N, F, dtype); }));
                out.push_back(timed(d, shape + " backward", 5.0 * N * F * bytesOf(dtype),
                                    [&] { return d->swiglu_backward(d, dg, y, g, N, F, dtype); }));
            }
        }
        return out;
    }});
    ops.push_back({"add", testAdd, {}, [](Device& d, const Settings& s, st_dtype dtype) {
        std::vector<Timing> out;
        Bench b(d, s, dtype);
        const int64_t n = s.quick ? 1 << 18 : 1 << 24;
        Buffer x(b.trial, dtype, n), y(b.trial, dtype, n);
        out.push_back(timed(d, format("n %lld", (long long)n), 3.0 * n * bytesOf(dtype), [&] { return d->add(d, y, x, y, n, dtype); }));
        return out;
    }});
    ops.push_back({"adamw", testAdamw, {}, [](Device& d, const Settings& s, st_dtype dtype) {
        std::vector<Timing> out;
        Bench b(d, s, dtype);
        for (const int64_t n : {int64_t{250000}, s.quick ? int64_t{500000} : int64_t{1} << 24}) {
            const st_dtype real = realOf(dtype);
            Buffer p(b.trial, real, Values(n, 1.0)), m(b.trial, real, Values(n, 0.0)), v(b.trial, real, Values(n, 0.0)), g(b.trial, real, Values(n, 0.1));
            Buffer w(b.trial, dtype, n);
            void* weight = dtype == real ? p.get() : w.get();
            out.push_back(timed(d, format("n %lld", (long long)n), n * (7.0 * bytesOf(real) + (dtype == real ? 0 : bytesOf(dtype))),
                                [&] { return d->adamw(d, weight, p, m, v, g, n, 1, 1e-3, 0.9, 0.95, 1e-8, 0.1, 10, dtype); }));
        }
        return out;
    }});
    ops.push_back({"sum_squares", testSumSquares, {}, {}});
    ops.push_back({"not_a_number", testNotANumber, {}, {}});
}

}  // namespace op_tests
