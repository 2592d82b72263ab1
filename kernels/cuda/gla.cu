/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Gated linear attention in both directions (kernels.h has the formula). Never run on a GPU: tested in the emulator
 * (tests/cuda/) and compiled by nvcc 13.0; every figure of time below is counted, not measured.
 *
 * Two forms. The length, DK and DV choose, never the batch, and no sum depends on anything but the item itself.
 *
 * 1. Token by token: any DK and DV to 256, any length. For sequences below LONG, other shapes, devices before 8.0.
 *    S stays in registers: a thread has 8 channels of 1 to 4 columns, DK / 8 neighbours share a column and add up
 *    their parts of q^T S for four tokens at once. Tokens come in tiles of 8 through two buffers in shared memory, the
 *    next tile on its way while this one is used. A block walks one head in both directions at once; up to the middle
 *    each direction leaves its part in o, beyond the middle it adds itself to what the other has left there.
 *
 * 2. Chunks of 64 tokens on tensor cores, three launches, each for both directions: chunk_states (what each chunk adds
 *    to S and how it decays it), scan_chunks (S before each chunk; elementwise, the only part that goes from chunk to
 *    chunk), chunk_outputs. With D(j..i) the product of the decays of tokens j+1 .. i, forward:
 *      o_i = (q_i D(0..i))^T S + sum over j <= i of A_ij v_j,   A_ij = sum over DK of q_i k_j D(j..i)
 *    and backward the same in the other order; both triangles of A share the product with v. A is made of blocks of 8
 *    tokens, the columns of one mma. Between blocks J < I, D(j..i) = D(j..end of J) D(whole blocks between)
 *    D(start of I..i), three factors of at most 1: the last two are multiplied into q while it goes from block to
 *    block, the first into k once. Within a block (i, j) go pair by pair through running products; forward and
 *    backward pairs fill one square of 8 x 8, so every lane has 8 steps whichever its row. Blocks of 8 rather than 16
 *    because pairs cost an access to shared memory for a few operations each, and tensor cores are idle meanwhile.
 *    Decays of whole blocks and chunks, and of k to the end of its chunk, are exp of a sum of log decays between just
 *    those tokens: nothing is subtracted or divided, no gate can overflow, and decays like 1 - 1e-8, which exp rounds
 *    to 1 one by one, still add up.
 *    The products are of fp32 numbers: each is split in two of 11 bits (3xTF32), three mma for one; what is lost is
 *    about 2^-21 of each product. Infinite inputs give NaN where the recurrence would give infinity.
 *
 * Resources (sm_90, nvcc 13.0; on sm_75 and sm_90 two of the shapes of recurrent spill 8 to 20 bytes, nothing else any)
 *                              grid          block  registers  shared    blocks on a multiprocessor
 *   recurrent    32 x 64, many heads  1, H, B     128    164    20.5 KB   3
 *                32 x 64, few         4, H, B      64    126     14.3 KB  8
 *                16 x 32, many        1, H, B      64    126     10.2 KB  8
 *   chunk_states    32 x 64    N, H, B        128     53       37.9 KB   5
 *   scan_chunks     32 x 64    8, 2, B H      256     27       0         8
 *   chunk_outputs   32 x 64    N, H, B        128    142       47.1 KB   3
 *
 * Counted for an H100 (132 multiprocessors at 1.75 GHz, 128 fp32 or 1024 tf32 multiply-adds a cycle each, 3 TB/s),
 * ViG-T at 224, batch 128 (75,264 tokens of heads, state 32 x 64):
 *   bytes that must move: q k v o and two gates, 1 KB a token and head: 77 MB, 26 us
 *   token by token: 3 operations on each element of S in both directions: 31 us of pure arithmetic, some 40 with loads
 *     from shared memory and sums; one image: 196 steps of some 75 instructions of a warp, 8 us
 *   chunks: 2,688 mma for 64 tokens of a head (196 tokens are four chunks): 18 us at the full rate, and twice that at
 *     what mma.sync can be expected to reach with the splitting beside it; bytes: 168 KB for 64 tokens of a head where
 *     64 KB are the least, most of them from L2
 * So for fp32 the two are about even where heads are many, and chunks win where a long sequence has few heads.
 */
#include "cuda/device.cuh"

#include "cuda/cuda.h"
#include "cuda/gla.cuh"

enum {
  LONG = 257,        /* tokens from which on chunks are used, where they can be */
  MANY_HEADS = 264,  /* heads of all items that give every multiprocessor of an H100 two blocks */
  SCAN_THREADS = 256
};

/* ---- token by token ------------------------------------------------------------------------------------------- */

/* A block's share of one head: COLS columns of S, both directions (or the one there is). DKP is DK rounded up to a
 * power of two; a thread holds R channels of C columns in registers, LANES neighbours hold a column together. */
template <int DKP, int COLS, int C>
struct Recurrent {
  enum {
    R = 8,
    LANES = DKP / R,
    THREADS = COLS / C * LANES, /* of a direction: whole warps */
    TILE = 8,                   /* tokens in shared memory at a time */
    GROUP = 4,                  /* tokens whose sums over the lanes are made together */
    QKD = TILE * DKP / THREADS, /* a thread's part of a tile */
    V = (TILE * COLS + THREADS - 1) / THREADS,
    TOKEN = 3 * DKP + COLS,     /* floats of a token: q, k, decay [DKP], v [COLS] */
    SHARED = 2 * TILE * TOKEN,  /* floats of a direction: one tile in use, one being filled */
    VALUES = GROUP * C,         /* sums of a group, over LANES lanes */
    KEPT = VALUES / LANES ? VALUES / LANES : 1,
    COPIES = LANES * KEPT / VALUES, /* lanes that end with the same sum */
  };
  static_assert (THREADS % 32 == 0 && QKD * THREADS == TILE * DKP, "whole warps, whole parts");
};

/* A thread's part of a tile on its way from global to shared memory. */
template <typename G>
struct Part {
  float q[G::QKD], k[G::QKD], gk[G::QKD], v[G::V];
};

/* n tokens in the order of the direction; those that are missing and the channels beyond dk, dv do nothing:
 * q = k = v = 0, decay 1. q, k, gk, v point at the head's (v: the block's) channels of the first token. */
template <int DKP, int COLS, typename G>
static __device__ __forceinline__ void
tile_load (Part<G> &p, const float *q, const float *k, const float *gk, const float *v, ptrdiff_t row, ptrdiff_t gk_row,
    int dk, int columns, int n, int thread)
{
#pragma unroll
  for (int i = 0; i < G::QKD; i++) {
    int at = i * G::THREADS + thread, t = at / DKP, c = at % DKP;
    bool there = t < n && c < dk;
    p.q[i] = there ? q[t * row + c] : 0;
    p.k[i] = there ? k[t * row + c] : 0;
    p.gk[i] = there ? gk[t * gk_row + c] : 0;
  }
#pragma unroll
  for (int i = 0; i < G::V; i++) {
    int at = i * G::THREADS + thread, t = at / COLS, c = at % COLS;
    p.v[i] = t < n && c < columns ? v[t * row + c] : 0;
  }
}

template <int DKP, int COLS, typename G>
static __device__ __forceinline__ void
tile_put (const Part<G> &p, float *tile, int thread)
{
#pragma unroll
  for (int i = 0; i < G::QKD; i++) {
    int at = i * G::THREADS + thread;
    float *token = tile + at / DKP * G::TOKEN + at % DKP;
    token[0] = p.q[i];
    token[DKP] = p.k[i];
    token[2 * DKP] = expf (p.gk[i]);
  }
#pragma unroll
  for (int i = 0; i < G::V; i++) {
    int at = i * G::THREADS + thread;
    if (at < G::TILE * COLS)
      tile[at / COLS * G::TOKEN + 3 * DKP + at % COLS] = p.v[i];
  }
}

/* Channel i of the R that a lane holds: two runs of four, so that the lanes of a quarter warp read 16 bytes each from
 * different banks. */
template <typename G>
static __device__ __forceinline__ int
channel (int lane, int i)
{
  return i / 4 * 4 * G::LANES + lane * 4 + i % 4;
}

/* S <- diag (decay) S + k v^T; o [C] = the lane's part of q^T S */
template <int DKP, int C, typename G>
static __device__ __forceinline__ void
step (float S[G::R][C], const float *token, int lane, int column, float *o)
{
  struct __align__ (sizeof (float) * C) Columns { float at[C]; }; /* read at once */
  const Columns v = vig_load<Columns> (token + 3 * DKP + column);
#pragma unroll
  for (int c = 0; c < C; c++)
    o[c] = 0;
#pragma unroll
  for (int i = 0; i < G::R; i += 4) {
    const float *at = token + channel<G> (lane, i);
    float4 q4 = vig_load<float4> (at), k4 = vig_load<float4> (at + DKP), d4 = vig_load<float4> (at + 2 * DKP);
    float q[4] = { q4.x, q4.y, q4.z, q4.w }, k[4] = { k4.x, k4.y, k4.z, k4.w }, d[4] = { d4.x, d4.y, d4.z, d4.w };
#pragma unroll
    for (int j = 0; j < 4; j++)
#pragma unroll
      for (int c = 0; c < C; c++) {
        S[i + j][c] = fmaf (d[j], S[i + j][c], k[j] * v.at[c]);
        o[c] = fmaf (q[j], S[i + j][c], o[c]);
      }
  }
}

/* Grid: (slices of DV, H, B). Block: THREADS for each direction there is. */
template <int DKP, int COLS, int C>
static __global__ void
__launch_bounds__ ((2 * Recurrent<DKP, COLS, C>::THREADS))
recurrent (VigGlaBidir a)
{
  using G = Recurrent<DKP, COLS, C>;
  const int slice = blockIdx.x * COLS, head = blockIdx.y, b = blockIdx.z;
  const int thread = threadIdx.x % G::THREADS, lane = thread % G::LANES, column = thread / G::LANES * C;
  const bool both = a.gk_fw && a.gk_bw, backward = threadIdx.x >= G::THREADS || !a.gk_fw;
  const int columns = min (a.dv - slice, COLS);
  float *shared = vig_shared<float> () + threadIdx.x / G::THREADS * G::SHARED;

  /* token i of the direction lies at first + i * step */
  const ptrdiff_t first = (ptrdiff_t) b * a.tokens + (backward ? a.tokens - 1 : 0);
  const ptrdiff_t row = backward ? -a.row : a.row, gk_row = backward ? -a.gk_row : a.gk_row;
  const ptrdiff_t o_row = (ptrdiff_t) a.heads * a.dv * (backward ? -1 : 1);
  const float *q = a.q + first * a.row + head * a.dk, *k = a.k + first * a.row + head * a.dk;
  const float *v = a.v + first * a.row + head * a.dv + slice;
  const float *gk = (backward ? a.gk_bw : a.gk_fw) + first * a.gk_row + head * a.dk;
  float *o = a.o + (first * a.heads + head) * a.dv + slice + column;

  const size_t state = ((size_t) b * a.heads + head) * a.dk * a.dv + slice + column;
  const float *from = backward ? a.state_bw : a.state_fw;
  float *to = backward ? a.end_bw : a.end_fw;
  float S[G::R][C];
#pragma unroll
  for (int i = 0; i < G::R; i++)
#pragma unroll
    for (int c = 0; c < C; c++) {
      int r = channel<G> (lane, i);
      S[i][c] = from && r < a.dk && column + c < columns ? from[state + (size_t) r * a.dv + c] : 0;
    }

  /* Each token's o is written by the direction that comes to it first and completed by the other. The two walk towards
   * each other, so the tokens up to the middle are one phase, those beyond it another, with a barrier in between. */
  const int middle = both ? (backward ? a.tokens / 2 : (a.tokens + 1) / 2) : a.tokens;
  const int tiles = ((both ? (a.tokens + 1) / 2 : a.tokens) + G::TILE - 1) / G::TILE; /* of a phase */
  const int all = both ? 2 * tiles : tiles;
  Part<G> next;
  tile_load<DKP, COLS> (next, q, k, gk, v, row, gk_row, a.dk, columns, min (middle, +G::TILE), thread);

  for (int tile = 0; tile < all; tile++) {
    const bool second = tile >= tiles;
    const int start = second ? middle + (tile - tiles) * G::TILE : tile * G::TILE;
    const int n = (second ? a.tokens : middle) - start; /* left in the phase; may be below 1 */
    float *now = shared + tile % 2 * G::TILE * G::TOKEN;
    tile_put<DKP, COLS> (next, now, thread);
    __syncthreads ();

    if (tile + 1 < all) {
      bool after = tile + 1 >= tiles;
      int t = after ? middle + (tile + 1 - tiles) * G::TILE : (tile + 1) * G::TILE;
      tile_load<DKP, COLS> (next, q + t * row, k + t * row, gk + t * gk_row, v + t * row, row, gk_row, a.dk, columns,
          (after ? a.tokens : middle) - t, thread);
    }

#pragma unroll 1
    for (int group = 0; group < G::TILE && group < n; group += G::GROUP) {
      float x[G::VALUES], other[G::KEPT];
#pragma unroll
      for (int i = 0; i < G::KEPT; i++) {
        int value = lane / G::COPIES * G::KEPT + i, t = group + value / C, c = value % C;
        other[i] = second && t < n && column + c < columns ? o[(start + t) * o_row + c] : 0;
      }
#pragma unroll
      for (int t = 0; t < G::GROUP; t++)
        step<DKP, C, G> (S, now + (group + t) * G::TOKEN, lane, column, x + t * C);
      sum_over_lanes<G::LANES, G::VALUES> (x, lane);
#pragma unroll
      for (int i = 0; i < G::KEPT; i++) {
        int value = lane / G::COPIES * G::KEPT + i, t = group + value / C, c = value % C;
        if (lane % G::COPIES == 0 && t < n && column + c < columns)
          o[(start + t) * o_row + c] = both && !second ? x[i] : a.scale * (x[i] + other[i]);
      }
    }
  }

#pragma unroll
  for (int i = 0; i < G::R; i++)
#pragma unroll
    for (int c = 0; c < C; c++) {
      int r = channel<G> (lane, i);
      if (to && r < a.dk && column + c < columns)
        to[state + (size_t) r * a.dv + c] = S[i][c];
    }
}

/* ---- chunks on tensor cores ------------------------------------------------------------------------------------ */

enum { CHUNK = 64, BLOCK = 8, BLOCKS = CHUNK / BLOCK, WARPS = CHUNK / 16, CHUNK_THREADS = 32 * WARPS };

template <int DK, int DV>
struct Chunk {
  enum {
    KS = DK + 4, VS = DV + 4,   /* floats from row to row in shared memory, so that fragments come from all banks */
    LANE = DK / 4,              /* channels that a lane holds of the rows of q: LANE * t .. of lane 4 g + t */
    ITEMS = 2 * BLOCKS * DK / CHUNK_THREADS, /* (direction, block, channel) for each thread */
  };
};

/* What the launches pass on, for item and head i of B * H, direction d (0 forward), chunk n of N. */
typedef struct {
  float *state;   /* [B * H, 2, N, DV, DK]: the chunk's own part of S^T; after the scan S^T before the chunk */
  float *decay;   /* [B * H, 2, N, DK]: of a whole chunk */
  int chunks;     /* N */
  bool aligned;   /* rows of q, k, v begin on 16 bytes */
} Between;

/* The n tokens of a chunk that there are, then zeros: to [CHUNK, STRIDE], from rows of N floats. */
template <int N, int STRIDE>
static __device__ __forceinline__ void
rows_load (float *to, const float *from, ptrdiff_t row, int n, bool aligned)
{
  if (aligned)
#pragma unroll
    for (int i = 0; i < CHUNK * N / 4 / CHUNK_THREADS; i++) {
      int at = i * CHUNK_THREADS + threadIdx.x, t = at / (N / 4), c = at % (N / 4) * 4;
      vig_cp_async16 (to + t * STRIDE + c, t < n ? from + t * row + c : from, t < n);
    }
  else
#pragma unroll 8
    for (int i = 0; i < CHUNK * N / CHUNK_THREADS; i++) {
      int at = i * CHUNK_THREADS + threadIdx.x, t = at / N, c = at % N;
      to[t * STRIDE + c] = t < n ? from[t * row + c] : 0;
    }
  vig_cp_async_commit ();
}

/* Which (direction, block, channel) item i of a thread is; the first half of the items are forward. */
template <int DK, int ITEMS>
struct Item {
  int direction, block, channel;

  __device__ __forceinline__ Item (int i)
  {
    direction = i / (ITEMS / 2); /* a constant in an unrolled loop */
    int at = i % (ITEMS / 2) * CHUNK_THREADS + threadIdx.x;
    channel = at % DK;
    block = at / DK;
  }

  __device__ __forceinline__ bool
  there (const VigGlaBidir &a) const
  {
    return direction ? a.gk_bw : a.gk_fw;
  }

  /* Log decays, 0 beyond the n tokens that there are; at: of the chunk's first token and the head's first channel. */
  __device__ __forceinline__ void
  load (const VigGlaBidir &a, size_t at, int n, float *g) const
  {
    const float *from = (direction ? a.gk_bw : a.gk_fw) + at + channel;
#pragma unroll
    for (int i = 0; i < BLOCK; i++)
      g[i] = block * BLOCK + i < n ? from[(block * BLOCK + i) * a.gk_row] : 0;
  }
};

/* First launch: what each chunk adds to S^T, and how it decays what was there before, in both directions.
 * Grid: (N, H, B). */
template <int DK, int DV>
static __global__ void
__launch_bounds__ (CHUNK_THREADS)
chunk_states (VigGlaBidir a, Between to)
{
  using G = Chunk<DK, DV>;
  const int head = blockIdx.y, n = min (a.tokens - (int) blockIdx.x * CHUNK, +CHUNK);
  const size_t token = (size_t) blockIdx.z * a.tokens + blockIdx.x * CHUNK;
  const size_t item = (size_t) blockIdx.z * a.heads + head;
  float *V = vig_shared<float> (), *K = V + CHUNK * G::VS; /* V [CHUNK, VS], K [2, CHUNK, KS] */
  float *logs = K + 2 * CHUNK * G::KS;                     /* of the decays of blocks, [2, BLOCKS, DK] */

  rows_load<DV, G::VS> (V, a.v + token * a.row + head * DV, a.row, n, to.aligned);

  float g[G::ITEMS][BLOCK];
#pragma unroll
  for (int i = 0; i < G::ITEMS; i++) {
    Item<DK, G::ITEMS> it (i);
    if (it.there (a)) {
      float sum = 0;
      it.load (a, token * a.gk_row + head * DK, n, g[i]);
#pragma unroll
      for (int j = 0; j < BLOCK; j++)
        sum += g[i][j];
      logs[(it.direction * BLOCKS + it.block) * DK + it.channel] = sum;
    }
  }
  __syncthreads ();

  /* k decayed from its token to the end of the chunk: forward by all tokens after it, backward by all before it */
#pragma unroll
  for (int i = 0; i < G::ITEMS; i++) {
    Item<DK, G::ITEMS> it (i);
    if (it.there (a)) {
      const float *k = a.k + token * a.row + head * DK + it.channel;
      float beyond = 0, all = 0;
#pragma unroll
      for (int j = 0; j < BLOCKS; j++) {
        int block = it.direction ? j : BLOCKS - 1 - j; /* from the end of the chunk */
        float log = logs[(it.direction * BLOCKS + block) * DK + it.channel];
        if (it.direction ? block < it.block : block > it.block)
          beyond += log;
        all += log;
      }
      if (it.block == 0)
        to.decay[((item * 2 + it.direction) * to.chunks + blockIdx.x) * DK + it.channel] = expf (all);
      float *out = K + (it.direction * CHUNK + it.block * BLOCK) * G::KS + it.channel;
#pragma unroll
      for (int j = 0; j < BLOCK; j++) {
        int t = it.direction ? j : BLOCK - 1 - j;
        out[t * G::KS] = it.block * BLOCK + t < n ? k[(it.block * BLOCK + t) * a.row] * expf (beyond) : 0;
        beyond += g[i][t];
      }
    }
  }
  vig_cp_async_wait<0> ();
  __syncthreads ();

  /* S^T = V^T K: tiles of 16 columns of V and all of K; tokens 2t and 2t+1 are t and t+4 of a fragment */
  const int row = threadIdx.x % 32 / 4, t = threadIdx.x % 4;
  for (int unit = threadIdx.x / 32; unit < 2 * DV / 16; unit += WARPS) {
    const int column = unit % (DV / 16) * 16 + row, direction = unit / (DV / 16);
    if (!(direction ? a.gk_bw : a.gk_fw))
      continue;
    float S[DK / 8][4] = {};
#pragma unroll
    for (int block = 0; block < BLOCKS; block++) {
      const float *v = V + (block * BLOCK + 2 * t) * G::VS + column;
      const float *k = K + (direction * CHUNK + block * BLOCK + 2 * t) * G::KS + row;
      Split v2[4] = { split (v[0]), split (v[8]), split (v[G::VS]), split (v[G::VS + 8]) };
#pragma unroll
      for (int i = 0; i < DK / 8; i++)
        multiply (S[i], v2, split (k[i * 8]), split (k[G::KS + i * 8]));
    }
    float *out = to.state + (((item * 2 + direction) * to.chunks + blockIdx.x) * DV + column) * DK + 2 * t;
#pragma unroll
    for (int i = 0; i < DK / 8; i++) {
      vig_store (out + i * 8, make_float2 (S[i][0], S[i][1]));
      vig_store (out + 8 * DK + i * 8, make_float2 (S[i][2], S[i][3]));
    }
  }
}

/* Second launch: S^T before each chunk, in the place of the chunk's own part; initial states in, final states out.
 * Grid: (DK * DV / block, 2, B * H); a thread is an element of S^T. */
template <int DK, int DV>
static __global__ void
scan_chunks (VigGlaBidir a, Between to)
{
  enum { AHEAD = 4 };
  const int direction = blockIdx.y, e = blockIdx.x * blockDim.x + threadIdx.x, r = e % DK, c = e / DK;
  const size_t item = (size_t) blockIdx.z * 2 + direction, at = (size_t) blockIdx.z * DK * DV + r * DV + c;
  const float *from = direction ? a.state_bw : a.state_fw;
  float *end = direction ? a.end_bw : a.end_fw;
  if (!(direction ? a.gk_bw : a.gk_fw))
    return;

  float S = from ? from[at] : 0;
  for (int i = 0; i < to.chunks; i += AHEAD) {
    float own[AHEAD], decay[AHEAD];
#pragma unroll
    for (int j = 0; j < AHEAD; j++)
      if (i + j < to.chunks) {
        size_t chunk = item * to.chunks + (direction ? to.chunks - 1 - i - j : i + j);
        own[j] = to.state[chunk * DK * DV + e];
        decay[j] = to.decay[chunk * DK + r];
      }
#pragma unroll
    for (int j = 0; j < AHEAD; j++)
      if (i + j < to.chunks) {
        size_t chunk = item * to.chunks + (direction ? to.chunks - 1 - i - j : i + j);
        to.state[chunk * DK * DV + e] = S;
        S = fmaf (decay[j], S, own[j]);
      }
  }
  if (end)
    end[at] = S;
}

/* Products of a row of q with the keys of its own block of 8 tokens, both directions: row `li` of the block, K and the
 * decays F, B of the block's first token, at the lane's channels. x[s] is the lane's part of the product with token
 * li - s for s <= li (forward), token s for s > li (backward); the token itself counts once for each direction. On
 * return fw is q decayed from the block's start to the row, bw from the block's end. */
template <int LANE, int STRIDE>
static __device__ __forceinline__ void
block_products (const float *q, const float *K, const float *F, const float *B, int li, float count, float *x,
    float *fw, float *bw)
{
  float now[LANE], later[LANE];
#pragma unroll
  for (int c = 0; c < LANE; c += 4) {
    float4 d = vig_load<float4> (B + li * STRIDE + c);
    float d4[4] = { d.x, d.y, d.z, d.w };
#pragma unroll
    for (int i = 0; i < 4; i++) {
      now[c + i] = q[c + i];
      later[c + i] = q[c + i] * d4[i];
    }
  }
#pragma unroll
  for (int s = 0; s < BLOCK; s++) {
    if (s == li + 1)
#pragma unroll
      for (int c = 0; c < LANE; c++) {
        float swap = now[c];
        now[c] = later[c];
        later[c] = swap;
      }
    const int j = s <= li ? li - s : s;
    const float *k = K + j * STRIDE, *d = (s <= li ? F : B) + j * STRIDE;
    float sum = 0;
#pragma unroll
    for (int c = 0; c < LANE; c += 4) {
      float4 k4 = vig_load<float4> (k + c), d4 = vig_load<float4> (d + c);
      float ks[4] = { k4.x, k4.y, k4.z, k4.w }, ds[4] = { d4.x, d4.y, d4.z, d4.w };
#pragma unroll
      for (int i = 0; i < 4; i++) {
        sum = fmaf (now[c + i], ks[i], sum);
        now[c + i] *= ds[i];
      }
    }
    x[s] = s == 0 ? count * sum : sum;
  }
#pragma unroll
  for (int c = 0; c < LANE; c++) {
    fw[c] = li == BLOCK - 1 ? now[c] : later[c];
    bw[c] = li == BLOCK - 1 ? later[c] : now[c];
  }
}

/* A block of the triangle: A [16, 8] += q [16, DK] K^T of 8 tokens, of which this lane reads row g at its channels. The
 * upper and lower 8 rows of q take part only if so told; those are then decayed by the block. Channels LANE t + 2s, + 1
 * are t and t + 4 of fragment s. */
template <int LANE>
static __device__ __forceinline__ void
key_block (float A[4], float q[2][LANE], const float *K, const float *decay, bool upper, bool lower)
{
  float k[LANE], d[LANE];
#pragma unroll
  for (int c = 0; c < LANE; c += 4) {
    float4 k4 = vig_load<float4> (K + c), d4 = vig_load<float4> (decay + c);
    k[c] = k4.x, k[c + 1] = k4.y, k[c + 2] = k4.z, k[c + 3] = k4.w;
    d[c] = d4.x, d[c + 1] = d4.y, d[c + 2] = d4.z, d[c + 3] = d4.w;
  }
#pragma unroll
  for (int s = 0; s < LANE; s += 2) {
    Split q2[4] = { split (upper ? q[0][s] : 0), split (lower ? q[1][s] : 0), split (upper ? q[0][s + 1] : 0),
      split (lower ? q[1][s + 1] : 0) };
    multiply (A, q2, split (k[s]), split (k[s + 1]));
  }
#pragma unroll
  for (int c = 0; c < LANE; c++) {
    q[0][c] *= upper ? d[c] : 1;
    q[1][c] *= lower ? d[c] : 1;
  }
}

/* o [16, DV] += q [16, DK] S, S^T [DV, DK] from the scan */
template <int DK, int DV, int LANE>
static __device__ __forceinline__ void
add_state (float o[DV / 8][4], const float q[2][LANE], const float *S, int g, int t)
{
  Split q2[LANE / 2][4];
#pragma unroll
  for (int s = 0; s < LANE / 2; s++) {
    q2[s][0] = split (q[0][2 * s]);
    q2[s][1] = split (q[1][2 * s]);
    q2[s][2] = split (q[0][2 * s + 1]);
    q2[s][3] = split (q[1][2 * s + 1]);
  }
#pragma unroll
  for (int i = 0; i < DV / 8; i++) {
    float s[LANE];
#pragma unroll
    for (int c = 0; c < LANE; c += 4) {
      float4 s4 = vig_load<float4> (S + (i * 8 + g) * DK + t * LANE + c);
      s[c] = s4.x, s[c + 1] = s4.y, s[c + 2] = s4.z, s[c + 3] = s4.w;
    }
#pragma unroll
    for (int c = 0; c < LANE; c += 2)
      multiply (o[i], q2[c / 2], split (s[c]), split (s[c + 1]));
  }
}

/* Third launch: o. A warp has 16 tokens; lane 4 g + t works on rows g and g + 8 of them. Grid: (N, H, B). */
template <int DK, int DV>
static __global__ void
__launch_bounds__ (CHUNK_THREADS)
chunk_outputs (VigGlaBidir a, Between from)
{
  using G = Chunk<DK, DV>;
  const int head = blockIdx.y, n = min (a.tokens - (int) blockIdx.x * CHUNK, +CHUNK);
  const size_t token = (size_t) blockIdx.z * a.tokens + blockIdx.x * CHUNK;
  const size_t item = (size_t) blockIdx.z * a.heads + head;
  const int warp = threadIdx.x / 32, g = threadIdx.x % 32 / 4, t = threadIdx.x % 4;
  float *V = vig_shared<float> (), *K = V + CHUNK * G::VS; /* V [CHUNK, VS], the others [CHUNK, KS] */
  float *F = K + CHUNK * G::KS, *B = F + CHUNK * G::KS;    /* decays, then keys decayed within their block */
  float *decay = B + CHUNK * G::KS;                        /* of whole blocks, [2, BLOCKS, DK] */

  rows_load<DK, G::KS> (K, a.k + token * a.row + head * DK, a.row, n, from.aligned);
  rows_load<DV, G::VS> (V, a.v + token * a.row + head * DV, a.row, n, from.aligned);

  float q[2][G::LANE];
#pragma unroll
  for (int h = 0; h < 2; h++) {
    const int i = warp * 16 + h * 8 + g;
    const float *at = a.q + (token + i) * a.row + head * DK + t * G::LANE;
#pragma unroll
    for (int c = 0; c < G::LANE; c += 4) {
      float4 q4 = make_float4 (0, 0, 0, 0);
      if (i < n)
        q4 = from.aligned ? vig_load<float4> (at + c) : make_float4 (at[c], at[c + 1], at[c + 2], at[c + 3]);
      q[h][c] = q4.x, q[h][c + 1] = q4.y, q[h][c + 2] = q4.z, q[h][c + 3] = q4.w;
    }
  }

  /* a direction that is left out decays everything at once */
#pragma unroll
  for (int i = 0; i < G::ITEMS; i++) {
    Item<DK, G::ITEMS> it (i);
    float log[BLOCK], sum = 0, *out = (it.direction ? B : F) + it.block * BLOCK * G::KS + it.channel;
    const bool there = it.there (a);
    if (there)
      it.load (a, token * a.gk_row + head * DK, n, log);
#pragma unroll
    for (int j = 0; j < BLOCK; j++) {
      out[j * G::KS] = there ? expf (log[j]) : 0;
      sum += there ? log[j] : 0;
    }
    decay[(it.direction * BLOCKS + it.block) * DK + it.channel] = there ? expf (sum) : 0;
  }
  vig_cp_async_wait<0> ();
  __syncthreads ();

  /* A [16, CHUNK], first the two blocks on the diagonal; of their sums over a row's four lanes, lane t gets 2t, 2t+1 */
  float fw[2][G::LANE], bw[2][G::LANE], x[2][BLOCK];
#pragma unroll
  for (int h = 0; h < 2; h++) {
    const int at = (warp * 16 + h * 8) * G::KS + t * G::LANE;
    block_products<G::LANE, G::KS> (q[h], K + at, F + at, B + at, g, (a.gk_fw != NULL) + (a.gk_bw != NULL), x[h],
        fw[h], bw[h]);
    sum_over_lanes<4, BLOCK> (x[h], t);
  }
  float A[BLOCKS][4] = {};
#pragma unroll
  for (int i = 0; i < 2; i++) {
    const int token_of = 2 * t + i, s = token_of <= g ? g - token_of : token_of, lane = 4 * g + s / 2;
    float value[2];
#pragma unroll
    for (int h = 0; h < 2; h++) {
      float even = __shfl_sync (ALL_LANES, x[h][0], lane), odd = __shfl_sync (ALL_LANES, x[h][1], lane);
      value[h] = s % 2 ? odd : even;
    }
#pragma unroll
    for (int block = 0; block < BLOCKS; block++) {
      A[block][i] = block == 2 * warp ? value[0] : 0;
      A[block][2 + i] = block == 2 * warp + 1 ? value[1] : 0;
    }
  }

  /* keys decayed to the end (F) and to the start (B) of their block; a warp has read and writes its own 16 rows only */
  __syncwarp ();
  for (int at = threadIdx.x % 32; at < 2 * DK; at += 32) {
    const int first = (warp * 16 + at / DK * BLOCK) * G::KS + at % DK;
    float p = 1;
#pragma unroll
    for (int j = BLOCK - 1; j >= 0; j--) {
      float d = F[first + j * G::KS];
      F[first + j * G::KS] = K[first + j * G::KS] * p;
      p *= d;
    }
    p = 1;
#pragma unroll
    for (int j = 0; j < BLOCK; j++) {
      float d = B[first + j * G::KS];
      B[first + j * G::KS] = K[first + j * G::KS] * p;
      p *= d;
    }
  }
  __syncthreads ();

  if (a.gk_fw)
#pragma unroll
    for (int block = BLOCKS - 1; block >= 0; block--)
      if (block <= 2 * warp)
        key_block<G::LANE> (A[block], fw, F + (block * BLOCK + g) * G::KS + t * G::LANE,
            decay + block * DK + t * G::LANE, block < 2 * warp, true);
  if (a.gk_bw)
#pragma unroll
    for (int block = 0; block < BLOCKS; block++)
      if (block > 2 * warp)
        key_block<G::LANE> (A[block], bw, B + (block * BLOCK + g) * G::KS + t * G::LANE,
            decay + (BLOCKS + block) * DK + t * G::LANE, true, block > 2 * warp + 1);

  /* o = A V, tokens 2t and 2t+1 of a block being t and t+4 of a fragment: then A already lies as it must */
  float o[DV / 8][4] = {};
#pragma unroll
  for (int block = 0; block < BLOCKS; block++) {
    Split A2[4] = { split (A[block][0]), split (A[block][2]), split (A[block][1]), split (A[block][3]) };
    const float *v = V + (block * BLOCK + 2 * t) * G::VS + g;
#pragma unroll
    for (int i = 0; i < DV / 8; i++)
      multiply (o[i], A2, split (v[i * 8]), split (v[G::VS + i * 8]));
  }
  const float *S = from.state + (item * 2 * from.chunks + blockIdx.x) * DK * DV;
  if (a.gk_fw)
    add_state<DK, DV, G::LANE> (o, fw, S, g, t);
  if (a.gk_bw)
    add_state<DK, DV, G::LANE> (o, bw, S + (size_t) from.chunks * DK * DV, g, t);

#pragma unroll
  for (int h = 0; h < 2; h++) {
    const int i = warp * 16 + h * 8 + g;
    float *out = a.o + ((token + i) * a.heads + head) * DV + 2 * t;
    if (i < n)
#pragma unroll
      for (int c = 0; c < DV / 8; c++)
        vig_store (out + c * 8, make_float2 (a.scale * o[c][2 * h], a.scale * o[c][2 * h + 1]));
  }
}

/* ---- the host's side ------------------------------------------------------------------------------------------- */

template <int DKP, int COLS, int C>
static void
recurrent_launch (VigCuda *cuda, const VigGlaBidir *a)
{
  using G = Recurrent<DKP, COLS, C>;
  int directions = (a->gk_fw != NULL) + (a->gk_bw != NULL);
  dim3 grid ((a->dv + COLS - 1) / COLS, a->heads, a->batch);
  vig_cuda_ok (cuda, VIG_LAUNCH ((recurrent<DKP, COLS, C>), grid, dim3 (directions * G::THREADS),
      sizeof (float) * directions * G::SHARED, cuda->stream, *a), "launching gla_bidir, token by token");
}

/* How many columns a block has, and how many of them a thread, changes no bit of the result: every column of S is
 * summed on its own, over the same lanes. Few heads are cut finer, to reach more multiprocessors. */
static void
token_by_token (VigCuda *cuda, const VigGlaBidir *a)
{
  bool many = (long) a->batch * a->heads >= MANY_HEADS;
  if (a->dk <= 16 && a->dv > 16 && many)
    recurrent_launch<16, 32, 2> (cuda, a);
  else if (a->dk <= 16)
    recurrent_launch<16, 16, 1> (cuda, a);
  else if (a->dk <= 32 && a->dv > 16 && many)
    recurrent_launch<32, 64, 4> (cuda, a);
  else if (a->dk <= 32)
    recurrent_launch<32, 16, 2> (cuda, a);
  else if (a->dk <= 64)
    recurrent_launch<64, 16, 2> (cuda, a);
  else if (a->dk <= 128)
    recurrent_launch<128, 16, 2> (cuda, a);
  else
    recurrent_launch<256, 16, 2> (cuda, a);
}

template <int DK, int DV>
static void
chunked_launch (VigCuda *cuda, const VigGlaBidir *a, float *memory)
{
  using G = Chunk<DK, DV>;
  const int chunks = (a->tokens + CHUNK - 1) / CHUNK;
  const size_t rows = (size_t) a->batch * a->heads * 2 * chunks * DK;

  bool aligned = a->row % 4 == 0 && ((uintptr_t) a->q | (uintptr_t) a->k | (uintptr_t) a->v) % 16 == 0;
  Between between = { memory, memory + rows * DV, chunks, aligned };
  dim3 grid (chunks, a->heads, a->batch);
  size_t v = CHUNK * G::VS, k = CHUNK * G::KS, decays = 2 * BLOCKS * DK;
  vig_cuda_ok (cuda, VIG_LAUNCH ((chunk_states<DK, DV>), grid, dim3 (CHUNK_THREADS),
      sizeof (float) * (v + 2 * k + decays), cuda->stream, *a, between), "launching gla_bidir, states of chunks");
  vig_cuda_ok (cuda, VIG_LAUNCH ((scan_chunks<DK, DV>), dim3 (DK * DV / SCAN_THREADS, 2, a->batch * a->heads),
      dim3 (SCAN_THREADS), 0, cuda->stream, *a, between), "launching gla_bidir, scan over chunks");
  vig_cuda_ok (cuda, VIG_LAUNCH ((chunk_outputs<DK, DV>), grid, dim3 (CHUNK_THREADS),
      sizeof (float) * (v + 3 * k + decays), cuda->stream, *a, between), "launching gla_bidir, outputs of chunks");
}

/* How many numbers of memory that takes. */
static size_t
chunked_numbers (int batch, int tokens, int heads, int dk, int dv)
{
  return (size_t) batch * heads * 2 * ((tokens + CHUNK - 1) / CHUNK) * dk * (dv + 1);
}

static bool
in_chunks (const VigCuda *cuda, int tokens, int dk, int dv)
{
  return tokens >= LONG && cuda->sm >= 80 && ((dk == 32 && dv == 64) || (dk == 16 && dv == 32));
}

size_t
vig_cuda_gla_numbers (const VigCuda *cuda, int batch, int tokens, int heads, int dk, int dv)
{
  return in_chunks (cuda, tokens, dk, dv) ? chunked_numbers (batch, tokens, heads, dk, dv) : 0;
}

void
vig_cuda_gla_bidir (VigCuda *cuda, const VigGlaBidir *a, float *memory)
{
  if (!in_chunks (cuda, a->tokens, a->dk, a->dv) || (uintptr_t) a->o % 8 != 0)
    token_by_token (cuda, a);
  else if (a->dk == 32)
    chunked_launch<32, 64> (cuda, a, memory);
  else
    chunked_launch<16, 32> (cuda, a, memory);
}

static void
gla_bidir_cuda (void *ctx, const VigGlaBidir *a)
{
  VigCuda *cuda = (VigCuda *) ctx;
  size_t numbers = vig_cuda_gla_numbers (cuda, a->batch, a->tokens, a->heads, a->dk, a->dv);
  float *memory = numbers ? (float *) vig_cuda_scratch (cuda, sizeof (float) * numbers) : NULL;
  if (!numbers || memory)
    vig_cuda_gla_bidir (cuda, a, memory);
}

void
vig_cuda_use_gla (VigKernels *k)
{
  k->gla_bidir = gla_bidir_cuda;
}
