/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The token mixer behind its products, in one: decays from their low rank, gated linear attention in both directions, the
 * norms of the heads, gate, mix and activation (kernels.h has the formulas). Never run on a GPU: tested in the emulator
 * (tests/cuda/) and compiled by nvcc 13.0; every figure of time below is counted, not measured.
 *
 * Two forms: below for numbers of 16 bits, rank 16, (dk, dv) = (32, 64) or (16, 32), no boundaries of frames and devices
 * from 8.0 on; everything else, and fp32, goes through log_decay, gla_bidir and gate_mix one after the other.
 *
 * A block has one head of one item (or of a segment of one): half of its threads walk forward, half backward, each over
 * tiles of 32 tokens. What the first to come finds for o stays in shared memory [tokens, DV]; the second adds its own
 * and, a tile at a time, makes m of it. So q, k, v and low come from memory once (the second time from L2), gate and l
 * once, and nothing but m goes back. A direction counts its tokens as it meets them; it has a warp for every 16 columns
 * of v. For a tile:
 *   1. z = low W^T + bias by mma, a warp for 8 channels; W is split in two numbers of 16 bits, which together are as good
 *      as fp32 beside the tolerance. log sigmoid (z) / 16 to shared memory.
 *   2. A thread has one key channel of a block of 8 tokens in registers: running products of the block's decays make
 *        q decayed from the block's start, k decayed to its end, the decay of the whole block (exp of the sum), and
 *        for A, the products of q and k within the block, halves of halves: of the tokens 0..7, q of 4..7 decayed from
 *        4 on and k of 0..3 decayed to 4 give every pair across the middle; likewise for pairs in 0..3 and 4..7, and so
 *        on. So every pair is a product of factors that are at most 1, whatever the gates, and nothing is divided.
 *      A warp makes A of its own blocks: 3 products by mma, of which it keeps what belongs to each.
 *   3. S^T [DV, DK], in registers as accumulators of mma (16 columns of v to a warp), goes through the blocks without a
 *      barrier: o^T = S^T q^T + v^T A^T; S^T = S^T decay + v^T k. As tf32: S keeps the exponents of fp32 (it overflows
 *      fp16), and numbers of 16 bits lose nothing. Accumulators lie as factors of the next product must: column 2t and
 *      2t + 1 of one are t and t + 4 of the other, which is right as long as both factors agree.
 *   4. The second to come: barrier, then DV / 4 lanes to a token for the norms and the mix.
 * q and k of a block lie transposed, [channel][8 tokens] of 16 bits: 16 bytes are a thread's result in 2 and a row of
 * ldmatrix in 3, and nobody's banks collide.
 *
 * Up to ALONE tokens that is one launch. A longer sequence is cut into segments, and two launches come before: what each
 * segment alone makes of S, and how it decays what was there (exp of a sum of logs); then the elementwise scan over the
 * segments. Its length says how long they are. Grid: (segments, H, B), 4 DV threads.
 *
 * What a type of 16 bits rounds: q and k decayed, v (exact), A and S to tf32. Sums are fp32.
 *
 * Counted for an H100, ViG-T at 224, batch 128 (75,264 tokens of heads): 48 MB to move, 16 us; instructions about as many
 * us. Shared memory for 196 tokens: 73.7 KB; 80 registers (sm_90, nvcc 13.0, none spilled): three blocks of 256 threads on
 * a multiprocessor, so that all 384 run at once. (16, 32): five blocks of 128.
 */
#include "cuda/device.cuh"

#include "cuda/cuda.h"
#include "cuda/rows.cuh"

enum {
  ALONE = 256, /* tokens that one block can have */
  TILE = 32, BLOCK = 8, BLOCKS = TILE / BLOCK, RANK = 16
};

#define LOG2_E 1.4426950408889634f /* logs are to the base of 2: fewer instructions, and an error of 1e-7 beside 1e-3 */

template <int DK>
struct Shape {
  enum {
    DV = 2 * DK,
    WARPS = DV / 16, /* of a direction */
    THREADS = 32 * WARPS,
    /* Blocks on a multiprocessor: more would spill registers; and in the shared memory of others than 9.0 and 10.0 there is
     * room for two at most. */
    TOGETHER = DK == 16 ? 5 : VIG_SM >= 90 && VIG_SM < 120 ? 3 : 2,
    OWN = 3 * BLOCK * DK * 2,                             /* bytes: a block's log decays, then its numbers for A */
    WALK = BLOCKS * (OWN + 2 * BLOCK * DK * 2 + DK * 4 + BLOCK * BLOCK * 4), /* bytes of a direction */
  };
  static_assert (THREADS == BLOCKS * DK && WARPS * 8 == DK, "a thread for each block and channel, a warp for 8 channels");
};

/* Segments of a sequence; one, and no memory, if it is short. */
typedef struct {
  int tokens, count; /* of one; how many */
  float *state;      /* [B * H, 2, count, DV, DK]: the segment's own part of S^T; after the scan S^T before it */
  float *decay;      /* [B * H, 2, count, DK]: of a whole segment */
} Segments;

/* ---- pieces ----------------------------------------------------------------------------------------------------- */

/* d [16, 8] += a [16, 8] b [8, 8]; a and b as tf32 */
static __device__ __forceinline__ void
multiply (float d[4], const float a[4], float2 b)
{
  const uint32_t a4[4] = { __float_as_uint (a[0]), __float_as_uint (a[1]), __float_as_uint (a[2]), __float_as_uint (a[3]) };
  const uint32_t b2[2] = { __float_as_uint (b.x), __float_as_uint (b.y) };
  vig_mma_m16n8k8_tf32 (d, a4, b2);
}

/* A block's [DK][8]: r[s] of lane 4 g + t has channel 8 s + g of tokens 2t, 2t + 1; across: channels 8 s + 2t, + 1 of
 * token g. */
template <int DK, bool across, typename T>
static __device__ __forceinline__ void
fragments (uint32_t r[DK / 8], const T *block, int lane)
{
  const T *row = block + lane % DK * BLOCK;
  if constexpr (DK == 32)
    across ? vig_ldmatrix_x4_trans (r, row) : vig_ldmatrix_x4 (r, row);
  else
    across ? vig_ldmatrix_x2_trans (r, row) : vig_ldmatrix_x2 (r, row);
}

/* Number i of such eight in four registers. */
template <typename T>
static __device__ __forceinline__ float
nth (const uint32_t x[4], int i)
{
  const float2 two = vig_unpack2<T> (x[i / 2]);
  return i % 2 ? two.y : two.x;
}

/* x[0 .. 7] of one channel */
template <typename T>
static __device__ __forceinline__ void
put8 (T *to, const float *x)
{
  vig_store (to, make_uint4 (vig_pack2<T> (x[0], x[1]), vig_pack2<T> (x[2], x[3]), vig_pack2<T> (x[4], x[5]),
      vig_pack2<T> (x[6], x[7])));
}

/* from[0] and from[next] in one register; those that are not there are 0. */
template <typename T>
static __device__ __forceinline__ uint32_t
pair (const T *from, ptrdiff_t next, bool low_there, bool high_there)
{
  return (low_there ? from->bits : 0u) | (high_there ? (uint32_t) from[next].bits << 16 : 0u);
}

/* from[0], from[next] … from[7 next], n of which are there */
template <typename T>
static __device__ __forceinline__ void
load8 (uint32_t x[4], const T *from, ptrdiff_t next, int n)
{
#pragma unroll
  for (int i = 0; i < 4; i++)
    x[i] = pair (from + 2 * i * next, next, 2 * i < n, 2 * i + 1 < n);
}

/* v of two tokens in columns g and g + 8 */
template <typename T>
static __device__ __forceinline__ void
load_v (uint32_t v[2], const T *from, ptrdiff_t next, int n)
{
  v[0] = pair (from, next, n > 0, n > 1);
  v[1] = pair (from + 8, next, n > 0, n > 1);
}

/* Where column c of token i is in what the first to come leaves of o: four neighbours stay together, and the lanes of a
 * warp, which write 8 columns of 4 pairs of tokens, come to different banks. */
template <int DV>
static __device__ __forceinline__ int
place (int i, int c)
{
  return i * DV + (c ^ i / 2 % 4 * 8);
}

/* A direction of a head: what its threads know of themselves and of where things lie. Token i of the direction is token
 * first + i * step of the batch. */
template <typename T, int DK>
struct Walk {
  using G = Shape<DK>;
  bool backward;
  int thread, warp, lane, g, t, first, step;
  T *own, *q, *k;          /* shared: [BLOCKS][3][DK][8], [BLOCKS][DK][8] twice */
  float *decay, *A;        /* shared: [BLOCKS][DK], [BLOCKS][8][8] */

  __device__ __forceinline__
  Walk (const VigGlaMix &a, const Segments &seg, int n, char *shared)
  {
    backward = threadIdx.x >= G::THREADS;
    thread = threadIdx.x % G::THREADS;
    warp = thread / 32, lane = thread % 32, g = lane / 4, t = lane % 4;
    first = (int) blockIdx.z * a.tokens + (int) blockIdx.x * seg.tokens + (backward ? n - 1 : 0);
    step = backward ? -1 : 1;
    shared += backward * G::WALK;
    own = (T *) shared;
    q = own + BLOCKS * 3 * DK * BLOCK;
    k = q + BLOCKS * DK * BLOCK;
    decay = (float *) (k + BLOCKS * DK * BLOCK);
    A = decay + BLOCKS * DK;
  }

  /* what a token's row of one of the inputs begins with */
  __device__ __forceinline__ const T *
  row (const void *from, ptrdiff_t row, int token) const
  {
    return static_cast<const T *> (from) + (ptrdiff_t) (first + token * step) * row;
  }

  __device__ __forceinline__ void
  barrier () const
  {
    if (backward)
      vig_barrier (2, G::THREADS);
    else
      vig_barrier (1, G::THREADS);
  }
};

/* The gates' weights for a warp's 8 channels as factors of mma: column n of a product is channel n / 2 + n % 2 * 4. */
template <typename T>
struct Gates {
  uint32_t high[2], low[2];
  float bias[2];
};

template <typename T, int DK>
static __device__ __forceinline__ Gates<T>
gates_of (const VigGlaMix &a, const Walk<T, DK> &w)
{
  Gates<T> gates;
  const int channel = ((w.backward ? a.heads : 0) + (int) blockIdx.y) * DK + w.warp * 8;
  const float *weight = a.gk_weight + (size_t) (channel + w.g / 2 + w.g % 2 * 4) * RANK + 2 * w.t;
#pragma unroll
  for (int i = 0; i < 2; i++) {
    const float x = weight[8 * i], y = weight[8 * i + 1];
    const float x_high = vig_to_float (vig_from_float<T> (x)), y_high = vig_to_float (vig_from_float<T> (y));
    gates.high[i] = vig_pack2<T> (x, y);
    gates.low[i] = vig_pack2<T> (x - x_high, y - y_high);
    gates.bias[i] = a.gk_bias[channel + w.t + 4 * i];
  }
  return gates;
}

/* Step 1: log decays of n tokens from token on, 0 beyond them, to own[block] as float [DK][8]. */
template <typename T, int DK>
static __device__ __forceinline__ void
log_decays (const VigGlaMix &a, const Walk<T, DK> &w, const Gates<T> &gates, int token, int n)
{
#pragma unroll
  for (int m = 0; m < BLOCKS / 2; m++) {
    const int upper = m * 16 + w.g, lower = upper + BLOCK;
    const T *up = w.row (a.low, a.row, token + upper) + 2 * w.t, *down = w.row (a.low, a.row, token + lower) + 2 * w.t;
    const uint32_t low[4] = { pair (up, 1, upper < n, upper < n), pair (down, 1, lower < n, lower < n),
      pair (up + 8, 1, upper < n, upper < n), pair (down + 8, 1, lower < n, lower < n) };
    float z[4] = { gates.bias[0], gates.bias[1], gates.bias[0], gates.bias[1] };
    multiply (z, low, gates.low, T ());
    multiply (z, low, gates.high, T ());
#pragma unroll
    for (int i = 0; i < 4; i++) {
      float *logs = (float *) (w.own + (2 * m + i / 2) * 3 * DK * BLOCK);
      float log = (fminf (LOG2_E * z[i], 0) - log2f (1 + exp2f (-LOG2_E * fabsf (z[i])))) * 0.0625f;
      logs[(w.warp * 8 + w.t + i % 2 * 4) * BLOCK + w.g] = (i / 2 ? lower : upper) < n ? log : 0;
    }
  }
}

/* Step 2 but for A: what a thread makes of its channel of a block. */
template <typename T, int DK, bool outputs>
static __device__ __forceinline__ float
decayed (const Walk<T, DK> &w, const uint32_t q[4], const uint32_t k[4], float d[8])
{
  const int block = w.thread / DK, channel = w.thread % DK;
  const float *logs = (const float *) (w.own + block * 3 * DK * BLOCK) + channel * BLOCK;
  float x[8], p = 1, sum = 0;
#pragma unroll
  for (int i = 0; i < 8; i += 4) {
    float4 log = vig_load<float4> (logs + i);
    d[i] = log.x, d[i + 1] = log.y, d[i + 2] = log.z, d[i + 3] = log.w;
  }
#pragma unroll
  for (int i = 0; i < 8; i++) {
    sum += d[i];
    d[i] = exp2f (d[i]);
  }
  w.decay[w.thread] = exp2f (sum);
#pragma unroll
  for (int i = 7; i >= 0; i--) {
    x[i] = nth<T> (k, i) * p;
    p *= d[i];
  }
  put8 (w.k + w.thread * BLOCK, x);
  if (outputs) {
    p = 1;
#pragma unroll
    for (int i = 0; i < 8; i++)
      x[i] = nth<T> (q, i) * (p *= d[i]);
    put8 (w.q + w.thread * BLOCK, x);
  }
  return sum;
}

/* The rest of step 2: A [8][8] of the warp's blocks. The warp's own memory: first q, q with its own decay, and k, for
 * the diagonal and the pairs (0, 1), (2, 3) …; then what is decayed to the middle of 8 and of 4 tokens, where the first
 * half of them has k, the other q, so that the same rows are both factors. */
template <typename T, int DK>
static __device__ __forceinline__ void
products (const Walk<T, DK> &w, const uint32_t q[4], const uint32_t k[4], const float d[8])
{
  enum { MINE = 32 / DK, SIZE = DK * BLOCK }; /* blocks of a warp, numbers of each array */
  T *mine = w.own + w.thread / DK * 3 * SIZE + w.thread % DK * BLOCK;
  float x[8], A[MINE][2];

  __syncwarp (); /* the log decays lie there until all have read them */
#pragma unroll
  for (int i = 0; i < 8; i++)
    x[i] = nth<T> (q, i) * d[i];
  vig_store (mine, make_uint4 (q[0], q[1], q[2], q[3]));
  put8 (mine + SIZE, x);
  vig_store (mine + 2 * SIZE, make_uint4 (k[0], k[1], k[2], k[3]));
  __syncwarp ();
#pragma unroll
  for (int b = 0; b < MINE; b++) {
    const T *block = w.own + (w.warp * MINE + b) * 3 * SIZE;
    uint32_t rq[DK / 8], rqd[DK / 8], rk[DK / 8];
    float c[4] = {};
    fragments<DK, true> (rq, block, w.lane);
    fragments<DK, true> (rqd, block + SIZE, w.lane);
    fragments<DK, true> (rk, block + 2 * SIZE, w.lane);
#pragma unroll
    for (int s = 0; s < DK / 8; s += 2) {
      const uint32_t both[4] = { rq[s], rqd[s], rq[s + 1], rqd[s + 1] };
      multiply (c, both, rk + s, T ());
    }
#pragma unroll
    for (int e = 0; e < 2; e++) {
      const int j = 2 * w.t + e;
      A[b][e] = w.g == j ? c[e] : w.g == j + 1 ? c[2 + e] : 0;
    }
  }
  __syncwarp ();

  float p = 1;
#pragma unroll
  for (int i = 4; i < 8; i++)
    x[i] = nth<T> (q, i) * (p *= d[i]);
  p = 1;
#pragma unroll
  for (int i = 3; i >= 0; i--) {
    x[i] = nth<T> (k, i) * p;
    p *= d[i];
  }
  put8 (mine, x);
#pragma unroll
  for (int i = 0; i < 8; i += 4) {
    x[i] = nth<T> (k, i) * d[i + 1];
    x[i + 1] = nth<T> (k, i + 1);
    x[i + 2] = nth<T> (q, i + 2) * d[i + 2];
    x[i + 3] = nth<T> (q, i + 3) * (d[i + 2] * d[i + 3]);
  }
  put8 (mine + SIZE, x);
  __syncwarp ();
#pragma unroll
  for (int b = 0; b < MINE; b++) {
    const T *block = w.own + (w.warp * MINE + b) * 3 * SIZE;
    uint32_t r8[DK / 8], r4[DK / 8];
    float c8[4] = {}, c4[4] = {};
    fragments<DK, true> (r8, block, w.lane);
    fragments<DK, true> (r4, block + SIZE, w.lane);
#pragma unroll
    for (int s = 0; s < DK / 8; s += 2) {
      const uint32_t rows8[4] = { r8[s], 0, r8[s + 1], 0 }, rows4[4] = { r4[s], 0, r4[s + 1], 0 };
      multiply (c8, rows8, r8 + s, T ());
      multiply (c4, rows4, r4 + s, T ());
    }
#pragma unroll
    for (int e = 0; e < 2; e++) {
      const int j = 2 * w.t + e, apart = w.g ^ j;
      if (w.g > j && apart >= 2)
        A[b][e] = apart >= 4 ? c8[e] : c4[e];
    }
    vig_store (w.A + ((w.warp * MINE + b) * BLOCK + w.g) * BLOCK + 2 * w.t, make_float2 (A[b][0], A[b][1]));
  }
}

/* Step 3 for one block: o^T [16, 8] of the warp's columns and the block's tokens, and S^T [16, DK]. v: tokens 2t and
 * 2t + 1 of column g, of column g + 8. */
template <typename T, int DK, bool outputs>
static __device__ __forceinline__ void
through_block (const Walk<T, DK> &w, int block, const uint32_t v[2], float S[DK / 8][4], float o[4])
{
  const float2 upper = vig_unpack2<T> (v[0]), lower = vig_unpack2<T> (v[1]);
  const float v4[4] = { upper.x, lower.x, upper.y, lower.y };
  uint32_t r[DK / 8];
  if (outputs) {
    fragments<DK, true> (r, w.q + block * DK * BLOCK, w.lane);
#pragma unroll
    for (int s = 0; s < DK / 8; s++) {
      const float S4[4] = { S[s][0], S[s][2], S[s][1], S[s][3] };
      multiply (o, S4, vig_unpack2<T> (r[s]));
    }
    multiply (o, v4, vig_load<float2> (w.A + (block * BLOCK + w.g) * BLOCK + 2 * w.t));
  }
  fragments<DK, false> (r, w.k + block * DK * BLOCK, w.lane);
#pragma unroll
  for (int s = 0; s < DK / 8; s++) {
    const float2 d = vig_load<float2> (w.decay + block * DK + s * 8 + 2 * w.t);
    S[s][0] *= d.x, S[s][1] *= d.y, S[s][2] *= d.x, S[s][3] *= d.y;
    multiply (S[s], v4, vig_unpack2<T> (r[s]));
  }
}

/* Step 4: m of n tokens from token on, of what is in O. */
template <typename T, int DK, bool wide>
static __device__ __forceinline__ void
mix (const VigGlaMix &a, const Walk<T, DK> &w, const float *O, int tokens, int token, int n)
{
  enum { DV = 2 * DK, LANES = DV / 4, AT_ONCE = Shape<DK>::THREADS / LANES };
  const int c = w.thread % LANES * 4, head = blockIdx.y;
  const ptrdiff_t row = (ptrdiff_t) a.heads * DV;
  const float4 g_norm = load4<false> (a.g_norm + c, 4), l_norm = load4<false> (a.l_norm + c, 4);
#pragma unroll 1
  for (int i = w.thread / LANES; i < n + AT_ONCE - 1 - (n + AT_ONCE - 1) % AT_ONCE; i += AT_ONCE) {
    const bool there = i < n; /* all lanes of a warp take part in the sums */
    const int at = there ? token + i : token, local = w.backward ? tokens - 1 - at : at;
    float4 o = vig_load<float4> (O + place<DV> (local, c));
    float4 l = load4<wide> (w.row (a.l, row, at) + head * DV + c, 4);
    float4 gate = load4<wide> (w.row (a.gate, a.row, at) + head * DV + c, 4);
    o = map4 (o, [=] (float f) { return f * a.scale; });
    const float o_scale = 1 / sqrtf (sum_lanes (dot4 (o, o, 0), LANES) / DV + a.eps);
    const float l_scale = 1 / sqrtf (sum_lanes (dot4 (l, l, 0), LANES) / DV + a.eps);
    gate = map4 (gate, sigmoid);
    float4 m = make_float4 (fmaf (gate.x, o.x * o_scale * g_norm.x, (1 - gate.x) * (l.x * l_scale * l_norm.x)),
        fmaf (gate.y, o.y * o_scale * g_norm.y, (1 - gate.y) * (l.y * l_scale * l_norm.y)),
        fmaf (gate.z, o.z * o_scale * g_norm.z, (1 - gate.z) * (l.z * l_scale * l_norm.z)),
        fmaf (gate.w, o.w * o_scale * g_norm.w, (1 - gate.w) * (l.w * l_scale * l_norm.w)));
    if (there)
      store4<wide> (const_cast<T *> (w.row (a.m, row, at)) + head * DV + c, 4,
          map4 (m, [=] (float f) { return act (a.act, f); }));
  }
}

/* All of it for n tokens from token on. second: what the other direction has come to first. Returns the logarithm of what
 * decays the thread's channel of its block. */
template <typename T, int DK, bool outputs, bool second, bool wide>
static __device__ __forceinline__ float
walk_tile (const VigGlaMix &a, const Walk<T, DK> &w, float *O, int tokens, int token, int n, float S[DK / 8][4])
{
  enum { DV = 2 * DK };
  const ptrdiff_t next = w.step * a.row;
  uint32_t q[4] = {}, k[4], v[2][2]; /* v of this block and the next */
  float decays[8], log;

  log_decays (a, w, gates_of (a, w), token, n); /* again for each tile: they would cost registers meanwhile */
  const int mine = w.thread / DK * BLOCK, channel = (int) blockIdx.y * DK + w.thread % DK;
  if (outputs)
    load8 (q, w.row (a.q, a.row, token + mine) + channel, next, n - mine);
  load8 (k, w.row (a.k, a.row, token + mine) + channel, next, n - mine);
  w.barrier ();
  log = decayed<T, DK, outputs> (w, q, k, decays);
  if (outputs)
    products (w, q, k, decays);

  const T *from = w.row (a.v, a.row, token + 2 * w.t) + blockIdx.y * DV + w.warp * 16 + w.g;
  load_v (v[0], from, next, n - 2 * w.t);
  load_v (v[1], from + BLOCK * next, next, n - BLOCK - 2 * w.t);
  w.barrier ();
#pragma unroll 1 /* unrolled it takes more registers than there are for three blocks on a multiprocessor */
  for (int block = 0; block * BLOCK < n; block++) {
    const uint32_t now[2] = { v[0][0], v[0][1] };
    float o[4] = {};
    v[0][0] = v[1][0], v[0][1] = v[1][1];
    load_v (v[1], from + (block + 2) * BLOCK * next, next, n - (block + 2) * BLOCK - 2 * w.t);
    through_block<T, DK, outputs> (w, block, now, S, o);
    if (outputs)
#pragma unroll
      for (int i = 0; i < 4; i++) {
        const int at = block * BLOCK + 2 * w.t + i % 2;
        if (at < n) {
          float *to = O + place<DV> ((w.backward ? tokens - 1 - token : token) + at * w.step, w.warp * 16 + w.g + i / 2 * 8);
          *to = second ? *to + o[i] : o[i];
        }
      }
  }
  if (second) {
    w.barrier ();
    mix<T, DK, wide> (a, w, O, tokens, token, n);
  }
  return log;
}

/* ---- the launches ------------------------------------------------------------------------------------------------ */

/* outputs: m, from S before the segment; else what the segment adds to S and how it decays it. */
template <typename T, int DK, bool outputs, bool wide>
static __global__ void
__launch_bounds__ ((2 * Shape<DK>::THREADS), Shape<DK>::TOGETHER)
gla_mix (VigGlaMix a, Segments seg)
{
  using G = Shape<DK>;
  enum { DV = G::DV };
  const int head = blockIdx.y, tokens = min (seg.tokens, a.tokens - (int) blockIdx.x * seg.tokens);
  float *O = vig_shared<float> ();
  const Walk<T, DK> w (a, seg, tokens, (char *) (outputs ? O + seg.tokens * DV : O));
  const size_t item = (((size_t) blockIdx.z * a.heads + head) * 2 + w.backward) * seg.count + blockIdx.x;
  float *state = seg.state + (item * DV + w.warp * 16 + w.g) * DK + 2 * w.t, log = 0;
  float S[DK / 8][4] = {};

  if (outputs && seg.count > 1)
#pragma unroll
    for (int s = 0; s < DK / 8; s++) {
      float2 upper = vig_load<float2> (state + s * 8), lower = vig_load<float2> (state + 8 * DK + s * 8);
      S[s][0] = upper.x, S[s][1] = upper.y, S[s][2] = lower.x, S[s][3] = lower.y;
    }

  /* Whole tiles up to the middle forward, the rest backward; then each what the other has left its part of o in. */
  const int half = min ((tokens + 2 * TILE - 1) / (2 * TILE) * TILE, tokens);
  const int middle = !outputs ? tokens : w.backward ? tokens - half : half;
#pragma unroll 1
  for (int token = 0; token < middle; token += TILE)
    log += walk_tile<T, DK, outputs, false, wide> (a, w, O, tokens, token, min (middle - token, +TILE), S);
  if (outputs) {
    __syncthreads ();
#pragma unroll 1
    for (int token = middle; token < tokens; token += TILE)
      walk_tile<T, DK, outputs, true, wide> (a, w, O, tokens, token, min (tokens - token, +TILE), S);
  }

  if (!outputs) {
#pragma unroll
    for (int s = 0; s < DK / 8; s++) {
      vig_store (state + s * 8, make_float2 (S[s][0], S[s][1]));
      vig_store (state + 8 * DK + s * 8, make_float2 (S[s][2], S[s][3]));
    }
    w.barrier ();
    w.A[w.thread] = log; /* [BLOCKS][DK]; there is no A here */
    w.barrier ();
    if (w.thread < DK)
      seg.decay[item * DK + w.thread] = exp2f ((w.A[w.thread] + w.A[DK + w.thread]) + (w.A[2 * DK + w.thread] + w.A[3 * DK + w.thread]));
  }
}

/* S^T before each segment, in the place of the segment's own part. A thread is an element. Grid: (DK * DV / block, 2,
 * B * H). */
template <int DK>
static __global__ void
__launch_bounds__ (256)
scan (Segments seg)
{
  const int e = blockIdx.x * 256 + threadIdx.x, size = DK * 2 * DK;
  const size_t item = ((size_t) blockIdx.z * 2 + blockIdx.y) * seg.count;
  float S = 0;
#pragma unroll 4
  for (int i = 0; i < seg.count; i++) {
    const size_t at = item + (blockIdx.y ? seg.count - 1 - i : i);
    const float own = seg.state[at * size + e], decay = seg.decay[at * DK + e % DK];
    seg.state[at * size + e] = S;
    S = fmaf (decay, S, own);
  }
}

/* ---- the host's side ---------------------------------------------------------------------------------------------- */

template <typename T, int DK>
static void
fused_launch (VigCuda *cuda, const VigGlaMix *a)
{
  using G = Shape<DK>;
  Segments seg = { a->tokens, 1, NULL, NULL };
  bool wide = a->row % 4 == 0 && ((uintptr_t) a->gate | (uintptr_t) a->l | (uintptr_t) a->m) % 8 == 0;

  if (a->tokens > ALONE) {
    const size_t items = (size_t) a->batch * a->heads * 2;
    seg.tokens = a->tokens <= 4096 ? 64 : a->tokens <= 8192 ? 128 : ALONE;
    seg.count = (a->tokens + seg.tokens - 1) / seg.tokens;
    seg.state = (float *) vig_cuda_scratch (cuda, sizeof (float) * items * seg.count * DK * (G::DV + 1));
    if (!seg.state)
      return;
    seg.decay = seg.state + items * seg.count * DK * G::DV;
  }
  const dim3 grid (seg.count, a->heads, a->batch), block (2 * G::THREADS);
  if (seg.count > 1) {
    vig_cuda_ok (cuda, VIG_LAUNCH ((gla_mix<T, DK, false, false>), grid, block, 2 * G::WALK, cuda->stream, *a, seg),
        "launching gla_mix, states of segments");
    vig_cuda_ok (cuda, VIG_LAUNCH (scan<DK>, dim3 (DK * G::DV / 256, 2, a->batch * a->heads), 256, 0, cuda->stream, seg),
        "launching gla_mix, scan over segments");
  }
  auto kernel = wide ? gla_mix<T, DK, true, true> : gla_mix<T, DK, true, false>;
  vig_cuda_ok (cuda, VIG_LAUNCH (kernel, grid, block, sizeof (float) * seg.tokens * G::DV + 2 * G::WALK, cuda->stream, *a,
      seg), "launching gla_mix");
}

/* q k v gate low as floats, next to each other: to [rows, 2 HK + 2 HV + rank]. A thread does one number. */
template <typename T>
static __global__ void
__launch_bounds__ (256)
widen (VigGlaMix a, float *to)
{
  const int hk = a.heads * a.dk, hv = a.heads * a.dv, width = 2 * hk + 2 * hv + a.rank;
  const size_t i = (size_t) blockIdx.x * 256 + threadIdx.x, row = i / width;
  int c = (int) (i % width);
  const void *from = a.q;
  if (row >= (size_t) a.batch * a.tokens)
    return;
  if (c >= 2 * hk + 2 * hv)
    c -= 2 * hk + 2 * hv, from = a.low;
  else if (c >= 2 * hk + hv)
    c -= 2 * hk + hv, from = a.gate;
  else if (c >= 2 * hk)
    c -= 2 * hk, from = a.v;
  else if (c >= hk)
    c -= hk, from = a.k;
  to[i] = vig_to_float (static_cast<const T *> (from)[(ptrdiff_t) row * a.row + c]);
}

/* Of the operators that it consists of; in f32 m holds o meanwhile. */
static void
mix_in_parts (VigCuda *cuda, const VigGlaMix *a)
{
  const bool f32 = a->type == VIG_TYPE_F32;
  const int rows = a->batch * a->tokens, hk = a->heads * a->dk, hv = a->heads * a->dv;
  const size_t width = 2 * hk + 2 * hv + a->rank;
  const size_t between = (vig_cuda_gla_numbers (cuda, a->batch, a->tokens, a->heads, a->dk, a->dv) + 3) / 4 * 4;
  const size_t decays = ((size_t) rows * 2 * hk + 3) / 4 * 4, outputs = f32 ? 0 : ((size_t) rows * hv + 3) / 4 * 4;
  const size_t wide = f32 ? 0 : rows * width;
  float *memory = (float *) vig_cuda_scratch (cuda, sizeof (float) * (between + decays + outputs + wide));
  float *gk = memory + between, *o = f32 ? (float *) a->m : gk + decays, *joint = gk + decays + outputs;
  const float *q = (const float *) a->q, *k = (const float *) a->k, *v = (const float *) a->v;
  const float *gate = (const float *) a->gate, *low = (const float *) a->low;
  ptrdiff_t row = a->row;

  if (!memory)
    return;
  if (!f32) {
    auto kernel = a->type == VIG_TYPE_BF16 ? widen<vig_bf16> : widen<vig_half>;
    vig_cuda_ok (cuda, VIG_LAUNCH (kernel, (unsigned) ((wide + 255) / 256), 256, 0, cuda->stream, *a, joint),
        "launching gla_mix, widening");
    q = joint, k = q + hk, v = k + hk, gate = v + hv, low = gate + hv;
    row = (ptrdiff_t) width;
  }
  VigLogDecay decay = {};
  decay.rows = rows, decay.rank = a->rank, decay.c = 2 * hk, decay.low = low, decay.low_row = row;
  decay.weight = a->gk_weight, decay.bias = a->gk_bias, decay.gk = gk;
  vig_cuda_log_decay (cuda, &decay);
  if (a->boundary) {
    VigAddBoundary boundary = {};
    boundary.frames = rows / a->frame, boundary.tokens = a->frame, boundary.c = hk, boundary.gk = gk;
    boundary.boundary = a->boundary;
    vig_cuda_add_boundary (cuda, &boundary);
  }

  VigGlaBidir gla = {};
  gla.batch = a->batch, gla.tokens = a->tokens, gla.heads = a->heads, gla.dk = a->dk, gla.dv = a->dv;
  gla.q = q, gla.k = k, gla.v = v, gla.row = row;
  gla.gk_fw = gk, gla.gk_bw = gk + hk, gla.gk_row = 2 * hk, gla.o = o, gla.scale = a->scale;
  vig_cuda_gla_bidir (cuda, &gla, memory);

  VigGateMix mix = {};
  mix.rows = rows, mix.heads = a->heads, mix.dv = a->dv, mix.gate = gate, mix.gate_row = row, mix.o = o, mix.l = a->l;
  mix.g_norm = a->g_norm, mix.l_norm = a->l_norm, mix.eps = a->eps, mix.act = a->act, mix.m = a->m, mix.type = a->type;
  vig_cuda_gate_mix (cuda, &mix);
}

static void
gla_mix_cuda (void *ctx, const VigGlaMix *a)
{
  VigCuda *cuda = (VigCuda *) ctx;
  const bool fits = cuda->sm >= 80 && a->rank == RANK && a->dv == 2 * a->dk, bf16 = a->type == VIG_TYPE_BF16;

  if (a->type == VIG_TYPE_F32 || a->boundary || !fits || (a->dk != 32 && a->dk != 16))
    mix_in_parts (cuda, a);
  else if (a->dk == 32)
    bf16 ? fused_launch<vig_bf16, 32> (cuda, a) : fused_launch<vig_half, 32> (cuda, a);
  else
    bf16 ? fused_launch<vig_bf16, 16> (cuda, a) : fused_launch<vig_half, 16> (cuda, a);
}

void
vig_cuda_use_gla_mix (VigKernels *k)
{
  k->gla_mix = gla_mix_cuda;
}
