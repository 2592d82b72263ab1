/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The operator gla in chunks of 64 tokens on tensor cores (docs/gla.md has the formulas). Never run on a GPU: tested in the
 * emulator (tests/cuda/) and compiled by nvcc 13.0; every figure of time below is counted, not measured.
 *
 *   states    S through the chunks of a piece, one after the other, and S before each of them to memory. This alone goes
 *             from chunk to chunk, so it does nothing else; what it needs next is on its way while it computes. Rows and
 *             columns of S do not depend on each other: a block has a tile of 32 channels of dk and 64 of dv.
 *   outputs   o of a chunk from S before it (behind it, for the other direction): all chunks side by side.
 *   join      (SPLIT alone) states has begun each piece from 0: S before each piece, elementwise. What that is to a chunk,
 *             outputs adds, with queries that are decayed to the beginning of the piece.
 *
 * CHUNKS is one piece for a sequence. The forms differ in nothing else.
 *
 * A chunk's A = Q K^T, each pair decayed from the key to the query, is made of blocks of 8 tokens, the columns of one mma.
 * Between blocks J < I, the decay from j to i is D(j .. end of J) D(whole blocks between) D(start of I .. i), three factors
 * of at most 1: the last two are multiplied into q while it goes from block to block, the first into k once. Within a
 * block pairs are elementwise, as running products. Decays of whole blocks and chunks, and of k to the end of its chunk,
 * are exp of a sum of log decays between just those tokens: nothing is subtracted or divided, no gate can overflow.
 * The backward direction is the same with the tokens in the other order, one direction after the other in a block.
 *
 * Products are of tf32, whose exponents are those of fp32. q, k, v of f32 are split in two numbers of 11 bits, three mma
 * for one (3xTF32); numbers of 16 bits lose nothing in tf32, what they are multiplied with is rounded to 11 bits, and in
 * states, where errors would add up, split. The decay of S is two floats and outside of the products: their sums are
 * cut off by the hardware, those of S are not.
 *
 * A NaN of v must not reach outputs before it, not even times 0. Blocks of A that are 0 as a whole take no part; in the
 * 16 x 16 on the diagonal, v that is not finite counts as 0, and its column's outputs from there on are made NaN.
 *
 * Counted for an H100, 64 / 64, bf16, gates of channels, for a token of a head: the least is 768 bytes (q k v o, a gate of
 * fp32), 1,024 in both directions. states reads 512 and writes 128, outputs reads 768 and writes 128: 1,536 together, 2,560
 * in both directions. Products: some 2,600 mma of a warp for a chunk and direction. SPLIT moves up to 512 more in each direction,
 * half of which others have just read.
 */
#include "cuda/device.cuh"

#include "cuda/gla.cuh"
#include "cuda/gla_run.cuh"

enum {
  BLOCK = 8, BLOCKS = CHUNK / BLOCK,
  WARPS = 4, THREADS = WARPS * WARP,   /* a warp has 16 tokens of outputs, 16 columns of states */
  LANE = KEYS / 4,                     /* channels of a slice that a lane has of a row: LANE t .. of lane 4 g + t */
  ITEMS = BLOCKS * KEYS / THREADS,     /* (block, channel) for each thread */
  STATES_KS = KEYS + 1, KS = KEYS + 4, VS = VALUES + 4, /* from row to row in shared memory: lanes meet in no bank */
  JOIN_THREADS = 256
};

/* ---- numbers --------------------------------------------------------------------------------------------------------- */

/* A factor of mma, of q, k and v of type T. */
struct Tf32 {
  uint32_t bits;
};

template <typename T>
struct Kind {
  typedef Tf32 Factor;      /* of what was rounded to 16 bits already, or may be to 11 */
  typedef vig_bf16 Before;  /* S before a chunk: outputs alone read it, and fp16 has not its range */
};

template <>
struct Kind<float> {
  typedef Split Factor;
  typedef float Before;
};

static __device__ __forceinline__ void
factor (float x, Split *to)
{
  *to = split (x);
}

static __device__ __forceinline__ void
factor (float x, Tf32 *to)
{
  to->bits = vig_tf32 (x);
}

template <typename F>
static __device__ __forceinline__ F
factor_of (float x)
{
  F f;
  factor (x, &f);
  return f;
}

static __device__ __forceinline__ void
multiply (float d[4], const Tf32 a[4], Tf32 b0, Tf32 b1)
{
  const uint32_t a4[4] = { a[0].bits, a[1].bits, a[2].bits, a[3].bits }, b2[2] = { b0.bits, b1.bits };
  vig_mma_m16n8k8_tf32 (d, a4, b2);
}

static __device__ __forceinline__ void
multiply (float d[4], const Tf32 a[4], Split b0, Split b1)
{
  multiply (d, a, Tf32 { b0.low }, Tf32 { b1.low });
  multiply (d, a, Tf32 { b0.high }, Tf32 { b1.high });
}

/* Eight neighbours as they are in memory. */
template <typename T>
struct Eight {
  uint32_t bits[2 * sizeof (T)];
};

static __device__ __forceinline__ uint32_t
bits_of (vig_bf16 x)
{
  return x.bits;
}

static __device__ __forceinline__ uint32_t
bits_of (vig_half x)
{
  return x.bits;
}

/* n of them are there, the others are 0; n may be below 0 */
template <typename T>
static __device__ __forceinline__ Eight<T>
load8 (const T *from, int n, bool wide)
{
  Eight<T> x;
  if (wide && n >= 8) {
#pragma unroll
    for (int i = 0; i < (int) sizeof (T) / 2; i++) {
      const uint4 four = vig_load<uint4> (from + i * 16 / (int) sizeof (T));
      x.bits[4 * i] = four.x, x.bits[4 * i + 1] = four.y, x.bits[4 * i + 2] = four.z, x.bits[4 * i + 3] = four.w;
    }
    return x;
  }
#pragma unroll
  for (int i = 0; i < (int) (2 * sizeof (T)); i++)
    if constexpr (sizeof (T) == 4)
      x.bits[i] = i < n ? __float_as_uint (from[i]) : 0;
    else
      x.bits[i] = (2 * i < n ? bits_of (from[2 * i]) : 0) | (2 * i + 1 < n ? bits_of (from[2 * i + 1]) << 16 : 0);
  return x;
}

template <typename T>
static __device__ __forceinline__ void
widen (const Eight<T> &x, float to[8])
{
#pragma unroll
  for (int i = 0; i < 8; i++)
    if constexpr (sizeof (T) == 4)
      to[i] = __uint_as_float (x.bits[i]);
    else {
      const float2 two = vig_unpack2<T> (x.bits[i / 2]);
      to[i] = i % 2 ? two.y : two.x;
    }
}

static __device__ __forceinline__ void
get8 (const float *from, float x[8])
{
  const float4 a = vig_load<float4> (from), b = vig_load<float4> (from + 4);
  x[0] = a.x, x[1] = a.y, x[2] = a.z, x[3] = a.w, x[4] = b.x, x[5] = b.y, x[6] = b.z, x[7] = b.w;
}

static __device__ __forceinline__ void
get8 (const vig_bf16 *from, float x[8])
{
  widen (load8 (from, 8, true), x);
}

static __device__ __forceinline__ void
put8 (float *to, const float x[8])
{
  vig_store (to, make_float4 (x[0], x[1], x[2], x[3]));
  vig_store (to + 4, make_float4 (x[4], x[5], x[6], x[7]));
}

static __device__ __forceinline__ void
put8 (vig_bf16 *to, const float x[8])
{
  typedef vig_bf16 T;
  vig_store (to, make_uint4 (vig_pack2<T> (x[0], x[1]), vig_pack2<T> (x[2], x[3]), vig_pack2<T> (x[4], x[5]),
      vig_pack2<T> (x[6], x[7])));
}

static __device__ __forceinline__ bool
is_finite (float x)
{
  return (__float_as_uint (x) & 0x7f800000) != 0x7f800000;
}

/* ---- where things are ------------------------------------------------------------------------------------------------- */

/* A chunk of a head in one direction. */
struct Place {
  int b, head, chunk, n; /* n: tokens that there are */
  bool backward;
  ptrdiff_t first;       /* token */

  __device__ __forceinline__
  Place (const VigGlaJob &job, int item, int of, bool goes_back)
  {
    b = item / job.a.heads, head = item % job.a.heads, chunk = of, backward = goes_back;
    first = (ptrdiff_t) of * CHUNK;
    n = min (job.a.tokens - of * CHUNK, +CHUNK);
  }

  /* Channel 0 of a token of the chunk, of which row 0 is the first. */
  template <typename T>
  __device__ __forceinline__ const T *
  at (const void *p, VigStrides to, int row) const
  {
    return static_cast<const T *> (p) + place (to, b, head) + (first + row) * to.token;
  }
};

/* One channel's log decays of a block of 8 tokens, 0 for what is not there. */
static __device__ __forceinline__ void
load_logs (const VigGlaRun &a, const Place &p, int block, int channel, float log[BLOCK])
{
  const float *from = a.gate_width ? p.at<float> (p.backward ? a.gate_bw : a.gate_fw, a.gate_at, block * BLOCK) : NULL;
#pragma unroll
  for (int i = 0; i < BLOCK; i++)
    log[i] = from && channel < a.dk && block * BLOCK + i < p.n ? from[i * a.gate_at.token + (a.gate_width > 1 ? channel : 0)] : 0;
}

/* Element of S^T that a tile [VALUES][KEYS] of a head begins with, in memory of n such heads before it. */
static __device__ __forceinline__ size_t
tile_at (const VigGlaJob &job, size_t n, int keys, int values)
{
  return ((n * job.key_slices + keys) * job.value_slices + values) * TILE;
}

/* ---- states ------------------------------------------------------------------------------------------------------------ */

/* A thread's part of a chunk on its way from memory. */
template <typename T>
struct Part {
  enum { ROWS = CHUNK * VALUES / 8 / THREADS };
  float log[ITEMS][BLOCK];
  T k[ITEMS][BLOCK];
  Eight<T> v[ROWS];

  __device__ __forceinline__ void
  load (const VigGlaJob &job, const Place &p, int keys, int values)
  {
    const VigGlaRun &a = job.a;
    const int channel = keys * KEYS + (int) threadIdx.x % KEYS, column = values * VALUES + (int) threadIdx.x % 8 * 8;
#pragma unroll
    for (int i = 0; i < ITEMS; i++) {
      const int block = (int) threadIdx.x / KEYS + i * (THREADS / KEYS);
      const T *from = p.at<T> (a.k, a.k_at, block * BLOCK) + channel;
      load_logs (a, p, block, channel, log[i]);
#pragma unroll
      for (int j = 0; j < BLOCK; j++)
        k[i][j] = channel < a.dk && block * BLOCK + j < p.n ? from[j * a.k_at.token] : T ();
    }
#pragma unroll
    for (int i = 0; i < ROWS; i++) {
      const int row = (int) threadIdx.x / 8 + i * (THREADS / 8);
      v[i] = load8 (p.at<T> (a.v, a.v_at, row) + column, row < p.n ? a.dv - column : 0, job.wide);
    }
  }
};

/* S [2][LANE] of a lane 4 g + t: rows g and g + 8 of the warp's 16 of S^T, channels LANE t on. Channel LANE t + 2 i + e is
 * column 2 t + e of accumulator i, so that a lane has neighbours. */
typedef float State[LANE / 2][4];

static __device__ __forceinline__ float &
state_at (State S, int row, int channel)
{
  return S[channel / 2][2 * row + channel % 2];
}

/* The head's S [DK, DV] in the caller's memory. */
static __device__ __forceinline__ size_t
element (const VigGlaRun &a, int item, int r, int c)
{
  return ((size_t) item * a.dk + r) * a.dv + c;
}

/* Grid: (B * H * pieces, key slices * value slices * directions). */
template <typename T>
static __global__ void
__launch_bounds__ (THREADS, 2) states (VigGlaJob job)
{
  typedef typename Kind<T>::Factor Factor;
  typedef typename Kind<T>::Before Before;
  const VigGlaRun &a = job.a;
  const int piece = (int) blockIdx.x % job.pieces, item = (int) blockIdx.x / job.pieces;
  const int keys = (int) blockIdx.y % job.key_slices, values = (int) blockIdx.y / job.key_slices % job.value_slices;
  const int direction = (int) blockIdx.y / job.key_slices / job.value_slices;
  const bool backward = goes_backward (a, direction);
  const int begin = piece * job.piece;
  const int chunks = min (job.chunks - begin, job.piece), first = backward ? begin + chunks - 1 : begin, step = backward ? -1 : 1;
  const int warp = (int) threadIdx.x / WARP, lane = (int) threadIdx.x % WARP, g = lane / 4, t = lane % 4;
  const int row = warp * 16 + g, channel = keys * KEYS + LANE * t, column = values * VALUES + row;
  const size_t head = (size_t) item * job.directions + direction;
  float *V = vig_shared<float> (), *K = V + CHUNK * VS;                 /* [CHUNK, VS], [CHUNK, STATES_KS] */
  float *logs = K + CHUNK * STATES_KS, *high = logs + BLOCKS * KEYS, *low = high + KEYS; /* [BLOCKS, KEYS], of the chunk */
  State S;
  float sum = 0; /* of the piece's log decays, of warp 0 */

  const float *state = backward ? a.state_bw : a.state_fw;
#pragma unroll
  for (int h = 0; h < 2; h++)
#pragma unroll
    for (int i = 0; i < LANE; i++) {
      const int r = channel + i, c = column + 8 * h;
      state_at (S, h, i) = state && job.pieces == 1 && r < a.dk && c < a.dv ? state[element (a, item, r, c)] : 0;
    }

  Part<T> part;
  part.load (job, Place (job, item, first, backward), keys, values);
  for (int i = 0; i < chunks; i++) {
    const int chunk = first + i * step;
#pragma unroll
    for (int j = 0; j < ITEMS; j++) {
      float of_block = 0;
#pragma unroll
      for (int l = 0; l < BLOCK; l++)
        of_block += part.log[j][l];
      logs[j * THREADS + threadIdx.x] = of_block;
    }
    __syncthreads (); /* and the products of the last chunk are done */

    /* k decayed from its token to the end of the chunk, by all that come after it */
#pragma unroll
    for (int j = 0; j < ITEMS; j++) {
      const int own_block = warp + j * WARPS;
      float beyond = 0, all = 0;
#pragma unroll
      for (int l = 0; l < BLOCKS; l++) {
        const int block = backward ? l : BLOCKS - 1 - l; /* from the end */
        const float log = logs[block * KEYS + lane];
        if (backward ? block < own_block : block > own_block)
          beyond += log;
        all += log;
      }
      if (own_block == 0) {
        const float2 decay = decay_parts (all);
        high[lane] = decay.x;
        low[lane] = decay.y;
        if (job.pieces > 1 && values == 0)
          job.gone[((head * job.chunks + chunk) * job.key_slices + keys) * KEYS + lane] = sum;
        sum += all;
      }
#pragma unroll
      for (int l = 0; l < BLOCK; l++) {
        const int own = (backward ? l : BLOCK - 1 - l);
        const float k = backward ? vig_to_float (part.k[j][l]) : vig_to_float (part.k[j][BLOCK - 1 - l]);
        const float log = backward ? part.log[j][l] : part.log[j][BLOCK - 1 - l];
        K[(own_block * BLOCK + own) * STATES_KS + lane] = k * expf (beyond);
        beyond += log;
      }
    }
#pragma unroll
    for (int j = 0; j < Part<T>::ROWS; j++) {
      float v[8];
      widen (part.v[j], v);
      put8 (V + (threadIdx.x / 8 + j * (THREADS / 8)) * VS + threadIdx.x % 8 * 8, v);
    }
    if (i + 1 < chunks)
      part.load (job, Place (job, item, chunk + step, backward), keys, values);
    __syncthreads ();

    if (job.before) {
      Before *to = static_cast<Before *> (job.before) + tile_at (job, head * job.chunks + chunk, keys, values);
#pragma unroll
      for (int h = 0; h < 2; h++) {
        float x[LANE];
#pragma unroll
        for (int j = 0; j < LANE; j++)
          x[j] = state_at (S, h, j);
        put8 (to + (row + 8 * h) * KEYS + LANE * t, x);
      }
    }
    State add;
#pragma unroll
    for (int j = 0; j < LANE; j++)
#pragma unroll
      for (int h = 0; h < 2; h++)
        state_at (add, h, j) = low[LANE * t + j] * state_at (S, h, j);
    /* tokens 2t and 2t + 1 of a block are t and t + 4 of a fragment */
#pragma unroll
    for (int block = 0; block < BLOCKS; block++) {
      const float *v = V + (block * BLOCK + 2 * t) * VS + row, *k = K + (block * BLOCK + 2 * t) * STATES_KS + g / 2 * LANE + g % 2;
      const Factor v4[4] = { factor_of<Factor> (v[0]), factor_of<Factor> (v[8]), factor_of<Factor> (v[VS]),
        factor_of<Factor> (v[VS + 8]) };
#pragma unroll
      for (int j = 0; j < LANE / 2; j++)
        multiply (add[j], v4, split (k[2 * j]), split (k[STATES_KS + 2 * j]));
    }
#pragma unroll
    for (int j = 0; j < LANE; j++)
#pragma unroll
      for (int h = 0; h < 2; h++)
        state_at (S, h, j) = fmaf (high[LANE * t + j], state_at (S, h, j), state_at (add, h, j));
  }

  if (job.pieces > 1) {
    float *to = job.own + tile_at (job, head * job.pieces + piece, keys, values);
#pragma unroll
    for (int h = 0; h < 2; h++)
#pragma unroll
      for (int i = 0; i < LANE; i++)
        to[(row + 8 * h) * KEYS + LANE * t + i] = state_at (S, h, i);
    if (values == 0 && warp == 0)
      job.sums[((head * job.pieces + piece) * job.key_slices + keys) * KEYS + lane] = sum;
    return;
  }
  float *end = backward ? a.end_bw : a.end_fw;
#pragma unroll
  for (int h = 0; h < 2; h++)
#pragma unroll
    for (int i = 0; i < LANE; i++) {
      const int r = channel + i, c = column + 8 * h;
      if (end && r < a.dk && c < a.dv)
        end[element (a, item, r, c)] = state_at (S, h, i);
    }
}

/* ---- join --------------------------------------------------------------------------------------------------------------- */

/* S before each piece, in the place of what it leaves; and the end. Grid: (B * H, numbers of a head's S / block, directions). */
static __global__ void
join (VigGlaJob job)
{
  const VigGlaRun &a = job.a;
  const int tiles = job.key_slices * job.value_slices, direction = (int) blockIdx.z;
  const bool backward = goes_backward (a, direction);
  const int at = (int) (blockIdx.y * JOIN_THREADS + threadIdx.x), e = at % TILE, tile = at / TILE, item = (int) blockIdx.x;
  const int keys = tile / job.value_slices, r = keys * KEYS + e % KEYS, c = tile % job.value_slices * VALUES + e / KEYS;
  const float *state = backward ? a.state_bw : a.state_fw;
  float S = state && r < a.dk && c < a.dv ? state[element (a, item, r, c)] : 0;

  for (int i = 0; i < job.pieces; i++) {
    const size_t piece = ((size_t) item * job.directions + direction) * job.pieces + (backward ? job.pieces - 1 - i : i);
    float *own = job.own + (piece * tiles + tile) * TILE + e;
    const float2 decay = decay_parts (job.sums[(piece * job.key_slices + keys) * KEYS + e % KEYS]);
    const float before = S;
    S = fmaf (decay.x, S, fmaf (decay.y, S, *own));
    *own = before;
  }
  float *end = backward ? a.end_bw : a.end_fw;
  if (end && r < a.dk && c < a.dv)
    end[element (a, item, r, c)] = S;
}

/* ---- outputs ------------------------------------------------------------------------------------------------------------ */

/* A warp's A [16, CHUNK]: blocks of keys against the direction, so that forward and backward differ in addresses alone.
 * Rows 0 .. 7 (h = 0) and 8 .. 15 see block number i from their own, number_of (), on. */
typedef float Pairs[BLOCKS][4];

static __device__ __forceinline__ int
block_of (int i, bool backward)
{
  return backward ? i : BLOCKS - 1 - i;
}

static __device__ __forceinline__ int
number_of (int warp, int h, bool backward)
{
  return block_of (2 * warp + h, backward);
}

/* A row of q with the keys of its own block, from itself on against the direction: x[s] is the lane's part of the product
 * with the key s steps away, of n. q becomes what it is to those before the block. */
static __device__ __forceinline__ void
block_products (float q[LANE], const float *K, const float *F, int row, int step, int n, float x[BLOCK])
{
#pragma unroll
  for (int s = 0; s < BLOCK; s++) {
    const bool there = s < n;
    const int at = (there ? row + s * step : row) * KS;
    float k[LANE], d[LANE], sum = 0;
    get8 (K + at, k);
    get8 (F + at, d);
#pragma unroll
    for (int c = 0; c < LANE; c++) {
      sum = fmaf (q[c], k[c], sum);
      q[c] = there ? q[c] * d[c] : q[c];
    }
    x[s] = there ? sum : 0;
  }
}

/* What the diagonal gives to A, and q decayed to the bounds of its block. K, F: at the warp's 16 rows and the lane's channels */
static __device__ __forceinline__ void
diagonal (Pairs A, float q[2][LANE], const float *K, const float *F, int warp, int g, int t, bool backward)
{
  float x[2][BLOCK];
#pragma unroll
  for (int h = 0; h < 2; h++) {
    block_products (q[h], K + h * BLOCK * KS, F + h * BLOCK * KS, g, backward ? 1 : -1, backward ? BLOCK - g : g + 1, x[h]);
    sum_over_lanes<4, BLOCK> (x[h], t); /* lane t has the sums of 2t and 2t + 1 */
  }
#pragma unroll
  for (int i = 0; i < 2; i++) {
    const int key = 2 * t + i, s = backward ? key - g : g - key, lane = 4 * g + (s & 7) / 2;
    float value[2];
#pragma unroll
    for (int h = 0; h < 2; h++) {
      const float even = __shfl_sync (ALL_LANES, x[h][0], lane), odd = __shfl_sync (ALL_LANES, x[h][1], lane);
      value[h] = s < 0 ? 0 : s % 2 ? odd : even;
    }
#pragma unroll
    for (int j = 0; j < BLOCKS; j++) {
      A[j][i] += j == number_of (warp, 0, backward) ? value[0] : 0;
      A[j][2 + i] += j == number_of (warp, 1, backward) ? value[1] : 0;
    }
  }
}

/* A block of A [16, 8] beside the diagonal: += q [16, LANE * 4] K^T of its 8 tokens, of which this lane reads row g at its
 * channels. The upper and lower 8 rows of q take part only if so told; those are then decayed by the block. Channels
 * LANE t + 2s, + 1 are t and t + 4 of fragment s. */
template <typename Factor>
static __device__ __forceinline__ void
key_block (float A[4], float q[2][LANE], const float *K, const float *decay, bool upper, bool lower)
{
  float k[LANE], d[LANE], sum[4] = { 0, 0, 0, 0 };
  get8 (K, k);
  get8 (decay, d);
#pragma unroll
  for (int s = 0; s < LANE; s += 2) {
    const Factor q4[4] = { factor_of<Factor> (q[0][s]), factor_of<Factor> (q[1][s]), factor_of<Factor> (q[0][s + 1]),
      factor_of<Factor> (q[1][s + 1]) };
    multiply (sum, q4, factor_of<Factor> (k[s]), factor_of<Factor> (k[s + 1]));
  }
#pragma unroll
  for (int i = 0; i < 2; i++) {
    A[i] += upper ? sum[i] : 0;
    A[2 + i] += lower ? sum[2 + i] : 0;
  }
#pragma unroll
  for (int c = 0; c < LANE; c++) {
    q[0][c] *= upper ? d[c] : 1;
    q[1][c] *= lower ? d[c] : 1;
  }
}

/* o [16, VALUES] += q [16, KEYS] S, of S^T [VALUES, KEYS] */
template <typename Factor, typename Before>
static __device__ __forceinline__ void
add_state (float o[VALUES / 8][4], const float q[2][LANE], const Before *S, int g, int t)
{
  Factor q4[LANE / 2][4];
#pragma unroll
  for (int s = 0; s < LANE / 2; s++) {
    q4[s][0] = factor_of<Factor> (q[0][2 * s]);
    q4[s][1] = factor_of<Factor> (q[1][2 * s]);
    q4[s][2] = factor_of<Factor> (q[0][2 * s + 1]);
    q4[s][3] = factor_of<Factor> (q[1][2 * s + 1]);
  }
#pragma unroll
  for (int i = 0; i < VALUES / 8; i++) {
    float s[LANE];
    get8 (S + (i * 8 + g) * KEYS + t * LANE, s);
#pragma unroll
    for (int c = 0; c < LANE; c += 2)
      multiply (o[i], q4[c / 2], factor_of<Factor> (s[c]), factor_of<Factor> (s[c + 1]));
  }
}

/* o [16, VALUES] += A V, tokens 2t and 2t + 1 of a block being t and t + 4 of a fragment: then A already lies as it must.
 * Blocks that the warp's rows cannot see take no part. spoilt: some of v are not finite. */
template <typename Factor>
static __device__ __forceinline__ void
add_pairs (float o[VALUES / 8][4], const Pairs A, const float *V, int warp, int g, int t, bool backward, bool spoilt)
{
#pragma unroll
  for (int j = 0; j < BLOCKS; j++) {
    const int block = block_of (j, backward);
    if (j < number_of (warp, !backward, backward)) /* the sooner of the two */
      continue;
    const bool clean = spoilt && block / 2 == warp;
    const Factor A4[4] = { factor_of<Factor> (A[j][0]), factor_of<Factor> (A[j][2]), factor_of<Factor> (A[j][1]),
      factor_of<Factor> (A[j][3]) };
    const float *v = V + (block * BLOCK + 2 * t) * VS + g;
#pragma unroll
    for (int i = 0; i < VALUES / 8; i++) {
      float two[2] = { v[i * 8], v[VS + i * 8] };
      if (clean)
        two[0] = is_finite (two[0]) ? two[0] : 0, two[1] = is_finite (two[1]) ? two[1] : 0;
      multiply (o[i], A4, factor_of<Factor> (two[0]), factor_of<Factor> (two[1]));
    }
  }
}

/* Outputs from which on a value of the warp's own 16 tokens is not finite. V: at those */
static __device__ __forceinline__ void
spoil (float o[VALUES / 8][4], const float *V, int g, int t, bool backward)
{
#pragma unroll
  for (int i = 0; i < VALUES / 8; i++)
#pragma unroll
    for (int e = 0; e < 4; e++) {
      const int row = g + e / 2 * 8;
      for (int j = backward ? row : 0; j <= (backward ? 15 : row); j++)
        if (!is_finite (V[j * VS + i * 8 + 2 * t + e % 2]))
          o[i][e] = NAN;
    }
}

/* Two neighbours of a row, n of which are there. */
static __device__ __forceinline__ void
put2 (void *to, ptrdiff_t at, VigType type, int n, bool pairs, float x, float y)
{
  if (pairs && n >= 2) {
    switch (type) {
      case VIG_TYPE_BF16: vig_store (static_cast<vig_bf16 *> (to) + at, vig_pack2<vig_bf16> (x, y)); break;
      case VIG_TYPE_F16: vig_store (static_cast<vig_half *> (to) + at, vig_pack2<vig_half> (x, y)); break;
      default: vig_store (static_cast<float *> (to) + at, make_float2 (x, y)); break;
    }
    return;
  }
  if (n > 0)
    put (to, at, type, x);
  if (n > 1)
    put (to, at + 1, type, y);
}

/* The warp's rows of one direction, or of the sum of both. */
static __device__ __forceinline__ void
put_outputs (const VigGlaJob &job, const Place &p, int values, int warp, int g, int t, const float o[VALUES / 8][4], void *to)
{
  const VigGlaRun &a = job.a;
#pragma unroll
  for (int h = 0; h < 2; h++) {
    const int row = warp * 16 + h * 8 + g;
    const ptrdiff_t at = place (a.o_at, p.b, p.head) + (p.first + row) * a.o_at.token;
#pragma unroll
    for (int i = 0; i < VALUES / 8; i++) {
      const int c = values * VALUES + i * 8 + 2 * t;
      put2 (to, at + c, a.o_type, row < p.n ? a.dv - c : 0, job.pairs, a.scale * o[i][2 * h], a.scale * o[i][2 * h + 1]);
    }
  }
}

/* Grid: (B * H * chunks, value slices); lane 4 g + t of a warp works on rows g and g + 8 of 16. Behind what is shared, where
 * there are two directions to add up, each thread's own of the first. */
template <typename T>
static __global__ void
__launch_bounds__ (THREADS, 2) outputs (VigGlaJob job)
{
  typedef typename Kind<T>::Factor Factor;
  typedef typename Kind<T>::Before Before;
  const VigGlaRun &a = job.a;
  const int item = (int) blockIdx.x / job.chunks, chunk = (int) blockIdx.x % job.chunks, values = (int) blockIdx.y;
  const int warp = (int) threadIdx.x / WARP, lane = (int) threadIdx.x % WARP, g = lane / 4, t = lane % 4;
  float *V = vig_shared<float> (), *K = V + CHUNK * VS, *F = K + CHUNK * KS; /* [CHUNK, VS], [CHUNK, KS] twice */
  float *decay = F + CHUNK * KS;                                             /* of whole blocks, [BLOCKS, KEYS] */
  int *spoilt = (int *) (decay + BLOCKS * KEYS);                             /* [WARPS] */
  float *kept = (float *) (spoilt + WARPS) + threadIdx.x;                    /* [VALUES / 8 * 4] of THREADS */

  const Place at (job, item, chunk, false);
  bool sound = true;
#pragma unroll
  for (int i = 0; i < Part<T>::ROWS; i++) {
    const int row = (int) threadIdx.x / 8 + i * (THREADS / 8), column = (int) threadIdx.x % 8 * 8, c = values * VALUES + column;
    float v[8];
    widen (load8 (at.at<T> (a.v, a.v_at, row) + c, row < at.n ? a.dv - c : 0, job.wide), v);
    put8 (V + row * VS + column, v);
#pragma unroll
    for (int j = 0; j < 8; j++)
      sound &= is_finite (v[j]);
  }
  sound = __all_sync (ALL_LANES, sound);
  if (lane == 0)
    spoilt[warp] = !sound;

  for (int direction = 0; direction < job.directions; direction++) {
    const Place p (job, item, chunk, goes_backward (a, direction));
    Pairs A = {};
    float o[VALUES / 8][4] = {};
    for (int keys = 0; keys < job.key_slices; keys++) {
      __syncthreads (); /* nobody needs the last slice any more */
#pragma unroll
      for (int i = 0; i < CHUNK * KEYS / 8 / THREADS; i++) {
        const int row = (int) threadIdx.x / 4 + i * (THREADS / 4), column = (int) threadIdx.x % 4 * 8, c = keys * KEYS + column;
        float k[8];
        widen (load8 (p.at<T> (a.k, a.k_at, row) + c, row < p.n ? a.dk - c : 0, job.wide), k);
        put8 (K + row * KS + column, k);
      }
#pragma unroll
      for (int i = 0; i < ITEMS; i++) {
        const int block = warp + i * WARPS;
        float log[BLOCK], sum = 0;
        load_logs (a, p, block, keys * KEYS + lane, log);
#pragma unroll
        for (int j = 0; j < BLOCK; j++) {
          F[(block * BLOCK + j) * KS + lane] = expf (log[j]);
          sum += log[j];
        }
        decay[block * KEYS + lane] = expf (sum);
      }
      float q[2][LANE];
#pragma unroll
      for (int h = 0; h < 2; h++) {
        const int row = warp * 16 + h * 8 + g, c = keys * KEYS + t * LANE;
        widen (load8 (p.at<T> (a.q, a.q_at, row) + c, row < p.n ? a.dk - c : 0, job.wide), q[h]);
      }
      __syncthreads ();

      diagonal (A, q, K + warp * 16 * KS + t * LANE, F + warp * 16 * KS + t * LANE, warp, g, t, p.backward);
      /* keys decayed to the end of their block; a warp has read and writes its own 16 rows only */
      __syncwarp ();
#pragma unroll
      for (int h = 0; h < 2; h++) {
        float rest = 1;
#pragma unroll
        for (int j = 0; j < BLOCK; j++) {
          const int i = (warp * 16 + h * 8 + (p.backward ? j : BLOCK - 1 - j)) * KS + lane;
          const float d = F[i];
          F[i] = K[i] * rest;
          rest *= d;
        }
      }
      __syncthreads ();

#pragma unroll
      for (int i = 0; i < BLOCKS; i++) {
        const int block = block_of (i, p.backward);
        const bool upper = i > number_of (warp, 0, p.backward), lower = i > number_of (warp, 1, p.backward);
        if (upper || lower)
          key_block<Factor> (A[i], q, F + (block * BLOCK + g) * KS + t * LANE, decay + block * KEYS + t * LANE, upper, lower);
      }
      const size_t head = (size_t) item * job.directions + direction;
      const size_t nth = head * job.chunks + chunk;
      add_state<Factor> (o, q, static_cast<const Before *> (job.before) + tile_at (job, nth, keys, values), g, t);
      if (job.pieces > 1) {
        const float *gone = job.gone + (nth * job.key_slices + keys) * KEYS + t * LANE;
#pragma unroll
        for (int c = 0; c < LANE; c++) {
          const float rest = expf (gone[c]);
          q[0][c] *= rest;
          q[1][c] *= rest;
        }
        add_state<Factor> (o, q, job.own + tile_at (job, head * job.pieces + chunk / job.piece, keys, values), g, t);
      }
    }

    const bool some = spoilt[0] | spoilt[1] | spoilt[2] | spoilt[3];
    add_pairs<Factor> (o, A, V, warp, g, t, p.backward, some);
    if (some)
      spoil (o, V + warp * 16 * VS, g, t, p.backward);

    void *own = p.backward ? a.o_bw : a.o_fw;
    if (own)
      put_outputs (job, p, values, warp, g, t, o, own);
    if (!a.o_sum)
      continue;
#pragma unroll
    for (int i = 0; i < VALUES / 8; i++)
#pragma unroll
      for (int e = 0; e < 4; e++) {
        float *first = kept + (i * 4 + e) * THREADS;
        if (direction)
          o[i][e] += *first;
        else if (job.directions == 2)
          *first = o[i][e];
      }
    if (direction == job.directions - 1)
      put_outputs (job, p, values, warp, g, t, o, a.o_sum);
  }
}

/* ---- the host's side ------------------------------------------------------------------------------------------------------ */

template <typename T>
static void
launch (VigCuda *cuda, const VigGlaJob *job, cudaStream_t stream)
{
  const VigGlaRun &a = job->a;
  const unsigned items = (unsigned) a.batch * (unsigned) a.heads, tiles = (unsigned) (job->key_slices * job->value_slices);
  const unsigned directions = (unsigned) job->directions;
  const dim3 walks (items * (unsigned) job->pieces, tiles * directions);
  const size_t walking = sizeof (float) * (CHUNK * (VS + STATES_KS) + (BLOCKS + 2) * KEYS);
  const size_t ending = sizeof (float) * (CHUNK * (VS + 2 * KS) + BLOCKS * KEYS) + sizeof (int) * WARPS
      + (a.o_sum && directions == 2 ? sizeof (float) * VALUES / 2 * THREADS : 0);

  vig_cuda_ok (cuda, VIG_LAUNCH (states<T>, walks, THREADS, walking, stream, *job), "launching gla, states of chunks");
  if (job->pieces > 1)
    vig_cuda_ok (cuda, VIG_LAUNCH (join, dim3 (items, tiles * (TILE / JOIN_THREADS), directions), JOIN_THREADS, 0, stream, *job),
        "launching gla, joining pieces");
  if (job->before)
    vig_cuda_ok (cuda, VIG_LAUNCH (outputs<T>, dim3 (items * (unsigned) job->chunks, (unsigned) job->value_slices), THREADS,
        ending, stream, *job), "launching gla, outputs of chunks");
}

void
vig_cuda_gla_chunks (VigCuda *cuda, const VigGlaJob *job, cudaStream_t stream)
{
  switch (job->a.type) {
    case VIG_TYPE_BF16: launch<vig_bf16> (cuda, job, stream); break;
    case VIG_TYPE_F16: launch<vig_half> (cuda, job, stream); break;
    default: launch<float> (cuda, job, stream); break;
  }
}
