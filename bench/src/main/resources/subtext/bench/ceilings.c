/* What this machine can do at best: fused multiply-adds from registers, reading and copying of a footprint. Compiled where it runs, with
 * -O3 -march=native, and called from Ceilings.java. Each function lets `threads` threads work for about `seconds` in short stretches and
 * gives the rate of the fastest stretch: a ceiling is what can be reached, so disturbances are left out. */
#define _GNU_SOURCE
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#if defined(__AVX512F__)
#define BYTES 64
#define CHAINS 24
#else
#define BYTES 32
#define CHAINS 12
#endif
#define LANES (BYTES / 4)
#define MOST 256

typedef float vec __attribute__((vector_size(BYTES), aligned(BYTES), may_alias));

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec + 1e-9 * t.tv_nsec;
}

struct work {
    void (*stretch)(struct work *);
    pthread_barrier_t *barrier;
    double *rate;
    double seconds, units;
    const char *from;
    char *to;
    int64_t bytes, passes;
    int index;
    volatile int *stop;
    float sink;
};

static void fma_stretch(struct work *w) {
    vec x[CHAINS], m, a;
    for (int l = 0; l < LANES; l++) m[l] = 0.999f, a[l] = 0.001f * (w->index + 1);
    for (int i = 0; i < CHAINS; i++) x[i] = m * (float)i;
    for (int64_t p = 0; p < w->passes; p++) {
#pragma GCC unroll 24
        for (int i = 0; i < CHAINS; i++) x[i] = x[i] * m + a;
    }
    vec s = x[0];
    for (int i = 1; i < CHAINS; i++) s += x[i];
    w->sink += s[0];
}

static void read_stretch(struct work *w) {
    vec s[8];
    memset(s, 0, sizeof s);
    for (int64_t p = 0; p < w->passes; p++)
        for (const char *at = w->from, *end = w->from + w->bytes; at < end; at += 8 * BYTES) {
#pragma GCC unroll 8
            for (int i = 0; i < 8; i++) s[i] += *(const vec *)(at + i * BYTES);
        }
    for (int i = 1; i < 8; i++) s[0] += s[i];
    w->sink += s[0][0];
}

static void copy_stretch(struct work *w) {
    for (int64_t p = 0; p < w->passes; p++) {
        for (int64_t at = 0; at < w->bytes; at += 4 * BYTES) {
#pragma GCC unroll 4
            for (int i = 0; i < 4; i++) *(vec *)(w->to + at + i * BYTES) = *(const vec *)(w->from + at + i * BYTES);
        }
        __asm__ volatile("" ::: "memory");
    }
}

/* every line read, changed and written back where it lies */
static void update_stretch(struct work *w) {
    vec one;
    for (int l = 0; l < LANES; l++) one[l] = 1;
    for (int64_t p = 0; p < w->passes; p++) {
        for (char *at = (char *)w->from, *end = at + w->bytes; at < end; at += 4 * BYTES) {
#pragma GCC unroll 4
            for (int i = 0; i < 4; i++) *(vec *)(at + i * BYTES) += one;
        }
        __asm__ volatile("" ::: "memory");
    }
}

/* copying past the caches: no line is read in order to be overwritten */
static void stream_stretch(struct work *w) {
#if defined(__x86_64__)
    typedef long long i64x2 __attribute__((vector_size(16), may_alias));
    for (int64_t p = 0; p < w->passes; p++) {
        for (int64_t at = 0; at < w->bytes; at += 64) {
#pragma GCC unroll 4
            for (int i = 0; i < 64; i += 16) {
                i64x2 v = *(const i64x2 *)(w->from + at + i);
                __asm__ volatile("movntdq %1, %0" : "=m"(*(i64x2 *)(w->to + at + i)) : "x"(v));
            }
        }
        __asm__ volatile("sfence" ::: "memory");
    }
#else
    copy_stretch(w);
#endif
}

static void *thread(void *argument) {
    struct work *w = argument;
    if (w->from && w->to != (char *)w->from) memset(w->to, 1, w->bytes);
    double begin = 0, finish = 0;
    for (int64_t round = 0;; round++) {
        pthread_barrier_wait(w->barrier);
        if (w->index == 0) {
            double t = now();
            if (round == 0) finish = t + w->seconds;
            *w->stop = round > 3 && t > finish;
            begin = now();
        }
        pthread_barrier_wait(w->barrier);
        if (*w->stop) return NULL;
        w->stretch(w);
        pthread_barrier_wait(w->barrier);
        if (w->index == 0 && round > 0) {
            double rate = w->units / (now() - begin);
            if (rate > *w->rate) *w->rate = rate;
        }
    }
}

/* `touched`: 0 for reading, 1 for changing in place, 2 for copying to another place */
static double run(void (*stretch)(struct work *), int threads, double seconds, int64_t bytes, int touched, int64_t passes, double units) {
    if (threads < 1 || threads > MOST) return -1;
    pthread_barrier_t barrier;
    pthread_barrier_init(&barrier, NULL, threads);
    pthread_t ids[MOST];
    struct work work[MOST];
    volatile int stop = 0;
    double rate = 0;
    int64_t slice = bytes ? (bytes / threads / 4096 + 1) * 4096 : 0;
    char *from = NULL, *to = NULL;
    if (bytes) {
        from = aligned_alloc(4096, slice * threads);
        to = touched == 2 ? aligned_alloc(4096, slice * threads) : from;
        if (!from || !to) return -1;
        memset(from, 1, slice * threads);
    }
    for (int i = 0; i < threads; i++) {
        struct work w = {stretch, &barrier, &rate, seconds, units, from ? from + i * slice : NULL, to ? to + i * slice : NULL, slice, passes, i, &stop, 0};
        if (bytes) w.units = (double)slice * threads * passes * (touched ? 2 : 1);
        work[i] = w;
    }
    for (int i = 1; i < threads; i++) pthread_create(&ids[i], NULL, thread, &work[i]);
    thread(&work[0]);
    for (int i = 1; i < threads; i++) pthread_join(ids[i], NULL);
    pthread_barrier_destroy(&barrier);
    free(from);
    if (touched == 2) free(to);
    return rate;
}

/* FLOP/s of multiply-adds that touch no memory */
double ceiling_fma(int32_t threads, double seconds) {
    int64_t passes = 200000;
    return run(fma_stretch, threads, seconds, 0, 0, passes, 2.0 * passes * CHAINS * LANES * threads);
}

static int64_t passes(int64_t bytes) {
    int64_t n = (16 << 20) / (bytes + 1);
    return n < 1 ? 1 : n > 4096 ? 4096 : n;
}

/* bytes/s of reading `bytes` again and again */
double ceiling_read(int32_t threads, int64_t bytes, double seconds) {
    return run(read_stretch, threads, seconds, bytes, 0, passes(bytes), 0);
}

/* bytes/s, read and written both counted, of copying one half of `bytes` over the other; the better of two ways of storing */
double ceiling_copy(int32_t threads, int64_t bytes, double seconds) {
    double cached = run(copy_stretch, threads, seconds / 2, bytes / 2, 2, passes(bytes), 0);
    double streamed = run(stream_stretch, threads, seconds / 2, bytes / 2, 2, passes(bytes), 0);
    return cached > streamed ? cached : streamed;
}

/* bytes/s, read and written both counted, of changing `bytes` in place */
double ceiling_update(int32_t threads, int64_t bytes, double seconds) {
    return run(update_stretch, threads, seconds, bytes, 1, passes(bytes), 0);
}
