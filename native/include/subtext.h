/*
 * subtext.h: the contract between Java and the kernels.
 *
 * Two libraries implement it, libsubtext_cpu.so and libsubtext_cuda.so (and, for tests only, the CUDA sources compiled for
 * the host: libsubtext_cuda_emulated.so). They export the same symbols, so a device is "a library plus an ordinal".
 *
 * Conventions, stated once:
 *  - Every function returns st_status: ST_OK = 0, negative = error; the text is in st_last_error(device), kept in the device
 *    handle and not per thread. Nothing throws, prints or exits.
 *  - Argument order: device, outputs, inputs, sizes (int64_t), scalars, dtypes. Memory is contiguous and row-major; weights
 *    are (out, in). Device pointers come from st_alloc and are 256-byte aligned at their base; tensors cut from them are
 *    64-byte aligned.
 *  - Sizes by letter: N rows (tokens), C width, F hidden, H query heads, Hkv key/value heads, D head size, V vocabulary,
 *    S sequences or slots. A size may be 0: the op then does nothing and returns ST_OK.
 *  - `dtype` is the storage of activations and weights: ST_F32, ST_BF16, or ST_F64 (CPU only, for gradient tests). Arithmetic
 *    accumulates in f32 (f64 for ST_F64). "real" below is f32, or f64 when dtype is ST_F64: rstd, lse, logits, losses,
 *    log-probabilities, parameter gradients and optimizer state are real.
 *  - Forward writes its outputs. Backward writes input gradients and adds into parameter gradients. Ops with another habit
 *    say so.
 *  - Work is queued on the device's stream. st_upload copies host memory before it returns unless the memory came from
 *    st_host_alloc, in which case the copy is queued: leave that memory alone until a later synchronisation. st_download
 *    synchronises.
 *  - No op allocates. An op that needs scratch names its size by a st_<op>_scratch_bytes function; scratch need not be cleared.
 *  - Reductions have a fixed order (no float atomics, no order chosen by batch size or thread count): the same inputs give the
 *    same bits on the same device, and the result of a row does not depend on the other rows of the call. Attention visits the
 *    keys of a query in blocks of 64 absolute positions, the same in training, prefill, scoring and decoding, so that all of
 *    them agree bit for bit.
 *  - Nothing turns a value that is not finite into a finite result. In attention on a GPU, a key or value that is not finite may also
 *    show in rows of the same tile that are masked from it.
 *  - A non-NULL pointer must be valid; the library checks sizes and dtypes, not addresses.
 */
#ifndef SUBTEXT_H
#define SUBTEXT_H

#include <stdint.h>

#if defined(__GNUC__)
#define ST_API __attribute__((visibility("default")))
#else
#define ST_API
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* Raised whenever a prototype or the meaning of one changes. */
#define ST_ABI_VERSION 3

typedef struct st_device st_device;
typedef struct st_event st_event;
typedef struct st_recording st_recording;

/* Status codes. */
typedef int32_t st_status;
#define ST_OK 0
#define ST_INVALID_ARGUMENT (-1)
#define ST_OUT_OF_MEMORY (-2)
#define ST_UNSUPPORTED (-3)   /* this backend has no such path, e.g. ST_F64 on CUDA */
#define ST_DEVICE_ERROR (-4)  /* the driver or runtime reported an error */
#define ST_UNAVAILABLE (-5)   /* no such device, no driver */

/* Element types. */
typedef int32_t st_dtype;
#define ST_F32 0
#define ST_BF16 1
#define ST_I32 2
#define ST_F64 3

/* Integer facts about a device, for st_device_property. */
#define ST_TOTAL_BYTES 0       /* memory of the device; for the CPU the host's, or its container's limit */
#define ST_FREE_BYTES 1        /* of which can be had now, within every limit: files that are only cached count as free */
#define ST_PROCESSORS 2        /* streaming multiprocessors, or CPU threads in use */
#define ST_COMPUTE_CAPABILITY 3 /* 90 for sm_90; 0 for the CPU */
#define ST_DRIVER_VERSION 4    /* as cudaDriverGetVersion says; 0 for the CPU */
#define ST_RUNTIME_VERSION 5
#define ST_ALLOCATIONS 6       /* calls of st_alloc and st_host_alloc since the device was opened */
#define ST_ALLOCATED_BYTES 7   /* bytes of st_alloc and st_host_alloc not yet freed */
#define ST_IS_EMULATED 8       /* 1 for the emulator, else 0 */

/* Texts about a device, for st_device_text. */
#define ST_TEXT_NAME 0         /* e.g. "NVIDIA H100 80GB HBM3" or the CPU's model name */
#define ST_TEXT_PATH 1         /* instruction set or kernel path in use: "avx512", "avx2", "portable", "sm_90a", "sm_80" */
#define ST_TEXT_BUILD 2        /* compiler and its version */
#define ST_TEXT_LIMITS 3       /* where this process may use less than the machine has, by which file; "" if nowhere, and on CUDA */

/* How a CPU multiplies matrices of ST_F32 and ST_BF16, for st_device_matmul. */
#define ST_MATMUL_VECTOR 0     /* fused multiply-adds of f32 in vectors: the same bits on every instruction set */
#define ST_MATMUL_AMX 1        /* the matrix unit (Intel AMX): bf16 as it is, f32 in three parts of bf16, with bits of its own; see native/cpu/amx.h */

/* ---- device ------------------------------------------------------------------------------------------------------- */

ST_API int32_t st_abi_version(void);

/* Opens device `ordinal` (0 for the CPU). `threads` is the number of CPU threads, 0 for one per core that the process
 * may use: the least of scheduling affinity and a container's quota. CUDA ignores it.
 * On failure *device is NULL and `error` (capacity bytes, may be NULL) holds the reason. */
ST_API st_status st_device_open(st_device **device, int32_t ordinal, int32_t threads, char *error, int64_t capacity);
/* Frees what the device still owns. NULL is allowed. */
ST_API st_status st_device_close(st_device *device);
/* The text of the last failure on this device, "" if none. Owned by the device, valid until its next failure. */
ST_API const char *st_last_error(const st_device *device);
ST_API st_status st_device_property(st_device *device, int64_t *value, int32_t property);
ST_API st_status st_device_text(st_device *device, char *text, int64_t capacity, int32_t which);
/* Says which unit matrix products run on from now on: ST_MATMUL_VECTOR unless this is called. ST_UNSUPPORTED, with the reason, where the
 * processor or the system has no such unit, and on CUDA for all but ST_MATMUL_VECTOR, which there means its own kernels. */
ST_API st_status st_device_matmul(st_device *device, int32_t unit);
/* The CUDA stream all work is queued on (cudaStream_t), for cuBLASLt; NULL on the CPU. */
ST_API st_status st_device_stream(st_device *device, void **stream);

/* ---- memory ------------------------------------------------------------------------------------------------------- */

ST_API st_status st_alloc(st_device *device, void **memory, int64_t bytes);
ST_API st_status st_free(st_device *device, void *memory);
/* Host memory the device can copy from without staging (pinned). */
ST_API st_status st_host_alloc(st_device *device, void **memory, int64_t bytes);
ST_API st_status st_host_free(st_device *device, void *memory);
ST_API st_status st_upload(st_device *device, void *to, const void *host, int64_t bytes);
ST_API st_status st_download(st_device *device, void *host, const void *from, int64_t bytes);
ST_API st_status st_copy(st_device *device, void *to, const void *from, int64_t bytes);
ST_API st_status st_fill_zero(st_device *device, void *to, int64_t bytes);
/* y[i] = value, n elements of ST_I32. */
ST_API st_status st_fill_i32(st_device *device, int32_t *y, int64_t n, int32_t value);
/* y[i] = clamp(mean + std * g_i, mean - clamp * std, mean + clamp * std), with g_i standard normal by Box-Muller from Philox4x32-10:
 * key `seed`, counter `first + i`; clamp <= 0 means no clamp. Element i depends on (seed, first + i) alone; each backend gives the
 * same values up to rounding of log and cos, therefore initial weights are made on the CPU library and uploaded. */
ST_API st_status st_fill_normal(st_device *device, void *y, int64_t n, double mean, double std, double clamp, uint64_t seed,
                                uint64_t first, st_dtype dtype);
/* y[i] = (y_dtype) x[i], round to nearest even. Any pair of ST_F32, ST_BF16 and, on the CPU, ST_F64. */
ST_API st_status st_cast(st_device *device, void *y, const void *x, int64_t n, st_dtype y_dtype, st_dtype x_dtype);

/* ---- order and time ----------------------------------------------------------------------------------------------- */

ST_API st_status st_synchronize(st_device *device);
ST_API st_status st_event_create(st_device *device, st_event **event);
ST_API st_status st_event_record(st_device *device, st_event *event);
/* Waits for both and gives the milliseconds between them. */
ST_API st_status st_event_elapsed(st_device *device, double *milliseconds, st_event *from, st_event *to);
ST_API st_status st_event_free(st_device *device, st_event *event);

/* A recording is a CUDA graph of the work queued between begin and end (which is not executed then). The CPU answers
 * ST_UNSUPPORTED to begin, and the caller runs its code again instead of replaying. */
ST_API st_status st_record_begin(st_device *device);
ST_API st_status st_record_end(st_device *device, st_recording **recording);
ST_API st_status st_record_replay(st_device *device, st_recording *recording);
ST_API st_status st_record_free(st_device *device, st_recording *recording);

/* ---- embedding ---------------------------------------------------------------------------------------------------- */

/* y[n] = w[token[n]]     y (N, C) dtype; w (V, C) dtype; token (N) i32 in [0, V): others give a row of zeros */
ST_API st_status st_embedding_forward(st_device *device, void *y, const void *w, const int32_t *token, int64_t N, int64_t C,
                                      int64_t V, st_dtype dtype);
/* dw[token[n]] += dy[n]   dw (V, C) real; order (N) i32: the row numbers stably sorted by token, so that every sum has one order */
ST_API st_status st_embedding_backward(st_device *device, void *dw, const void *dy, const int32_t *token, const int32_t *order,
                                       int64_t N, int64_t C, int64_t V, st_dtype dtype);
/* y[m] = x[row[m]]        y (M, C), x (N, C) dtype; row (M) i32 in [0, N) */
ST_API st_status st_gather_rows(st_device *device, void *y, const void *x, const int32_t *row, int64_t M, int64_t C,
                                st_dtype dtype);

/* ---- normalisation ------------------------------------------------------------------------------------------------ */

/* y = x / sqrt(mean(x^2) + eps) * w                                                     Zhang & Sennrich 2019, equation 4
 * y, x (N, C) dtype; rstd (N) real, 1 / sqrt(mean + eps), kept for backward (may be NULL); w (C) dtype */
ST_API st_status st_rmsnorm_forward(st_device *device, void *y, void *rstd, const void *x, const void *w, int64_t N, int64_t C,
                                    double eps, st_dtype dtype);
ST_API int64_t st_rmsnorm_backward_scratch_bytes(st_device *device, int64_t N, int64_t C, st_dtype dtype);
/* ADDS into dx (the residual branch has already put its part there) and into dw.
 * dx, dy, x (N, C) dtype; dw (C) real; w (C) dtype; rstd (N) real */
ST_API st_status st_rmsnorm_backward(st_device *device, void *dx, void *dw, const void *dy, const void *x, const void *w,
                                     const void *rstd, void *scratch, int64_t N, int64_t C, st_dtype dtype);

/* ---- matrix products ---------------------------------------------------------------------------------------------- */

/* c = a b^T + residual          c (M, N) c_dtype; a (M, K), b (N, K) dtype; residual (M, N) c_dtype or NULL.
 * Every element is one fixed chain over k, whatever M is; the residual is added last, before rounding to c_dtype.
 * c_dtype is dtype, or real (logits). c may be the residual itself. */
ST_API st_status st_matmul_nt(st_device *device, void *c, const void *a, const void *b, const void *residual, int64_t M,
                              int64_t N, int64_t K, st_dtype dtype, st_dtype c_dtype);
/* c = a b                       c (M, N), a (M, K), b (K, N) dtype: input gradients */
ST_API st_status st_matmul_nn(st_device *device, void *c, const void *a, const void *b, int64_t M, int64_t N, int64_t K,
                              st_dtype dtype);
/* c += a^T b                    c (M, N) real; a (K, M), b (K, N) dtype: weight gradients; ADDS */
ST_API st_status st_matmul_tn(st_device *device, void *c, const void *a, const void *b, int64_t M, int64_t N, int64_t K,
                              st_dtype dtype);

/* ---- positions ---------------------------------------------------------------------------------------------------- */

/* Rotates, in place, the first `heads` heads of every row by its position (rotate-half convention of Hugging Face: element i is
 * paired with i + D/2).                                                                              Su et al. 2021
 * x (N, stride) dtype, a row holding heads of size D one after another; position (N) i32 in [0, context);
 * table (context, D/2, 2) f32: cos, sin (real for ST_F64).  direction +1 forward, -1 the transpose, which is the backward. */
ST_API st_status st_rope(st_device *device, void *x, const int32_t *position, const void *table, int64_t N, int64_t heads,
                         int64_t D, int64_t stride, int64_t context, int32_t direction, st_dtype dtype);

/* ---- attention ---------------------------------------------------------------------------------------------------- */

/* Causal grouped-query attention over packed sequences. Sequence s owns rows cu_seqlens[s] .. cu_seqlens[s+1]-1; a row attends to
 * the rows of its own sequence up to itself.        Vaswani et al. 2017; Ainslie et al. 2023; Dao et al. 2022 for the algorithm
 * y (N, H*D) dtype; lse (N, H) real, log-sum-exp of the scaled scores, kept for backward (may be NULL);
 * qkv (N, (H + 2*Hkv)*D) dtype: q heads, k heads, v heads; cu_seqlens (S+1) i32 on the device, cu_seqlens[S] = N;
 * longest: the longest sequence, an upper bound; scale usually D^-0.5; window: keys a query sees, itself included, 0 = all. */
ST_API st_status st_attention_forward(st_device *device, void *y, void *lse, const void *qkv, const int32_t *cu_seqlens,
                                      int64_t S, int64_t longest, int64_t N, int64_t H, int64_t Hkv, int64_t D, double scale,
                                      int64_t window, st_dtype dtype);
ST_API int64_t st_attention_backward_scratch_bytes(st_device *device, int64_t S, int64_t longest, int64_t N, int64_t H,
                                                   int64_t Hkv, int64_t D, st_dtype dtype);
/* dqkv (N, (H + 2*Hkv)*D) written; dy, y (N, H*D); the rest as in forward */
ST_API st_status st_attention_backward(st_device *device, void *dqkv, const void *dy, const void *y, const void *qkv,
                                       const void *lse, const int32_t *cu_seqlens, void *scratch, int64_t S, int64_t longest,
                                       int64_t N, int64_t H, int64_t Hkv, int64_t D, double scale, int64_t window,
                                       st_dtype dtype);

/* Key/value cache of one layer: k, v (slots, capacity, Hkv, D) dtype. A sequence has a slot for its own positions and may borrow
 * the first `prefix_length` positions from another slot (a K-way fork): its position p lies in slot prefix_slot at index p if
 * p < prefix_length, else in its own slot at index p - prefix_length. */

/* Stores the keys and values of N rows. Row n goes to slot[n] at index position[n] - offset[n]; rows with slot[n] < 0 are skipped.
 * k, v as above; qkv (N, (H + 2*Hkv)*D), already rotated; slot, position, offset (N) i32 */
ST_API st_status st_cache_store(st_device *device, void *k, void *v, const void *qkv, const int32_t *slot,
                                const int32_t *position, const int32_t *offset, int64_t N, int64_t H, int64_t Hkv, int64_t D,
                                int64_t slots, int64_t capacity, st_dtype dtype);
/* Attention of new rows over the cache, to be called after st_cache_store of the same rows. Sequence s owns rows cu_seqlens[s] ..
 * cu_seqlens[s+1]-1, whose absolute positions are start[s], start[s]+1, ...; they see all positions up to their own.
 * Serves decoding (one row a sequence), chunked prefill and scoring behind a shared prefix, with the very bits of
 * st_attention_forward. A sequence with slot[s] < 0 gets zeros.
 * y (N, H*D); qkv (N, (H + 2*Hkv)*D) of which q is read; cu_seqlens (S+1), slot, prefix_slot, prefix_length, start (S) i32;
 * longest: the most rows any sequence has here */
ST_API st_status st_attention_cached(st_device *device, void *y, const void *qkv, const void *k, const void *v,
                                     const int32_t *cu_seqlens, const int32_t *slot, const int32_t *prefix_slot,
                                     const int32_t *prefix_length, const int32_t *start, int64_t S, int64_t longest, int64_t N,
                                     int64_t H, int64_t Hkv, int64_t D, int64_t slots, int64_t capacity, double scale,
                                     int64_t window, st_dtype dtype);

/* ---- feed-forward ------------------------------------------------------------------------------------------------- */

/* y = silu(gate) * up           y (N, F) dtype; gate_up (N, 2F) dtype: gate, then up                         Shazeer 2020 */
ST_API st_status st_swiglu_forward(st_device *device, void *y, const void *gate_up, int64_t N, int64_t F, st_dtype dtype);
/* d_gate_up (N, 2F) written; dy (N, F) */
ST_API st_status st_swiglu_backward(st_device *device, void *d_gate_up, const void *dy, const void *gate_up, int64_t N,
                                    int64_t F, st_dtype dtype);
/* y = a + b                     n elements of dtype; y may be a or b */
ST_API st_status st_add(st_device *device, void *y, const void *a, const void *b, int64_t n, st_dtype dtype);

/* ---- head --------------------------------------------------------------------------------------------------------- */
/* Logits are (N, stride) real with stride >= V; columns V .. stride-1 are padding: never read, and written as 0 in dlogits.
 * st_log_prob, st_cross_entropy and st_sample (at temperature 1, without truncation) share one row routine: the same logits give
 * the same log-probability bits. */

/* log_prob[n] = log softmax(logits[n])[token[n]]     log_prob (N) real; token (N) i32, outside [0, V) gives 0 */
ST_API st_status st_log_prob(st_device *device, void *log_prob, const void *logits, const int32_t *token, int64_t N, int64_t V,
                             int64_t stride, st_dtype dtype);
/* loss[n] = -log softmax(logits[n])[target[n]];  dlogits[n] = weight[n] * (softmax(logits[n]) - onehot(target[n]))
 * loss (N) real, not weighted; dlogits (N, stride) dtype, may be NULL; target (N) i32, outside [0, V): loss 0 and dlogits 0;
 * weight (N) real. With dtype real, dlogits may be logits itself. */
ST_API st_status st_cross_entropy(st_device *device, void *loss, void *dlogits, const void *logits, const int32_t *target,
                                  const void *weight, int64_t N, int64_t V, int64_t stride, st_dtype dtype);
/* Draws one token a row by the Gumbel-max trick: arg max over v of logit_v / temperature + g_v, ties to the lower id. g_v is standard
 * Gumbel noise from lane v%4 of the Philox block sampleNoise(key[n], position[n], v/4) of common/philox.h.  Maddison et al. 2014
 * log_prob is the logarithm of the probability, under the law drawn from, of the token drawn.
 * temperature 0: the most likely token, lowest id first; log_prob is then that of temperature 1.
 * top_k > 0 keeps the k most likely tokens (ties: lower id first); top_p < 1 then keeps the smallest set of most likely tokens whose
 * probability reaches top_p; the law is renormalised over what is kept. 0 and 1 switch them off.
 * token (N) i32; log_prob (N) real; logits (N, stride); key (N) u64; position (N) i32; scratch by st_sample_scratch_bytes */
ST_API int64_t st_sample_scratch_bytes(st_device *device, int64_t N, int64_t V);
ST_API st_status st_sample(st_device *device, int32_t *token, void *log_prob, const void *logits, const uint64_t *key,
                           const int32_t *position, void *scratch, int64_t N, int64_t V, int64_t stride, double temperature,
                           int64_t top_k, double top_p, st_dtype dtype);
/* One step of the bookkeeping of S decoding slots, so that n steps can be replayed without the host looking.
 * For every slot with done[s] == 0: history[s][drawn[s]] = sampled[s]; history_log_prob likewise; drawn[s] += 1;
 * token[s] = sampled[s]; position[s] += 1; done[s] = 1 if sampled[s] == stop_token, 2 if drawn[s] == limit[s].
 * Slots that are done keep their state. history (S, capacity) i32; history_log_prob (S, capacity) real; the rest (S) i32. */
ST_API st_status st_decode_advance(st_device *device, int32_t *history, void *history_log_prob, int32_t *token,
                                   int32_t *position, int32_t *drawn, int32_t *done, const int32_t *sampled,
                                   const void *sampled_log_prob, const int32_t *limit, int64_t S, int64_t capacity,
                                   int32_t stop_token, st_dtype dtype);

/* ---- optimizer ---------------------------------------------------------------------------------------------------- */

ST_API int64_t st_sum_squares_scratch_bytes(st_device *device, int64_t n);
/* out[0] = sum of x_i^2 (f64, fixed order); not finite if any x_i is not.    out (1) f64; x (n) of dtype ST_F32 or ST_F64 */
ST_API st_status st_sum_squares(st_device *device, double *out, const void *x, void *scratch, int64_t n, st_dtype dtype);
/* AdamW with decoupled decay over one flat range.                                Loshchilov & Hutter 2019, algorithm 2
 *   g = grad_scale * grad;  m = beta1 m + (1 - beta1) g;  v = beta2 v + (1 - beta2) g^2;
 *   master -= lr * (m / (1 - beta1^step) / (sqrt(v / (1 - beta2^step)) + eps) + decay * master);  weight = (dtype) master
 * weight (n) dtype; master, m, v, grad (n) real; step counts from 1. With dtype real, weight and master are the same pointer. */
ST_API st_status st_adamw(st_device *device, void *weight, void *master, void *m, void *v, const void *grad, int64_t n,
                          double grad_scale, double lr, double beta1, double beta2, double eps, double decay, int64_t step,
                          st_dtype dtype);

#ifdef __cplusplus
}
#endif

#endif /* SUBTEXT_H */
