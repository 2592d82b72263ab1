/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The MLP of a block in one launch: x += W_out (silu (u1) * u2), [u1 | u2] = W_in norm (x). Never run on a GPU: tested in
 * the emulator (tests/cuda/) and compiled by nvcc 13.0; every figure of time below is counted, not measured.
 *
 * For numbers of 16 bits, up to 192 channels, a multiple of 16, a width that is a multiple of 8, and devices from 8.0 on;
 * everything else is the four launches of matmul.cu. Which it is must not depend on the number of rows, as the two have
 * different bits; and it is right for few rows and for many: the four launches of ViG-T move 9.2 KB a token and
 * block, this one 2.3 KB. From 256 channels on products weigh more than what they move, and the library's are the better.
 *
 * A block of 8 warps has ROWS rows of x and goes through the hidden numbers slice by slice:
 *   1. norm (x), of 16 bits, to shared memory: y [ROWS, C]. A warp a row.
 *   2. u1 and u2 of the slice: a warp has the same 8 columns of both, for 16 or 32 rows, so that silu (u1) * u2 is made of
 *      its own registers; it goes to shared memory, of 16 bits: hidden [ROWS, SLICE].
 *   3. The slice's part of the result: a warp has every ACROSS-th group of 8 columns, in registers until the end.
 * The slice of W_out is copied (cp.async) while 2 computes, the next slice of W_in while 3 does: one buffer for each. Rows
 * in shared memory have a gap of 16 bytes behind them, so that ldmatrix finds its 8 rows in different banks.
 *
 *   ROWS  SLICE  warps           shared memory, C = 192   for
 *   16    64     1 x 8           87.5 KB                  fewer rows than MANY: as many blocks as there can be
 *   64    32     2 x 4           71.7 KB                  more: every weight that is read is used four times as often
 * Grid: rows / ROWS. No bit depends on which: an element's sum runs over C, and then over the hidden numbers, 16 at a time
 * in the same order, and only rows lie in other places.
 *
 * Counted for an H100 and ViG-T at 224. Batch 1: 13 blocks, each reads all weights, 590 KB, from L2: 5.3 us at 64 bytes a
 * clock, about 6 with the norm. Batch 128: 392 blocks, two to a multiprocessor; 7.4 G multiply-adds at 800 a clock and
 * multiprocessor, which is what shared memory lets through: 40 us. A block of 64 rows takes as long as 2.6 of 16, so that
 * MANY should be between 4,000 and 5,500. Registers (sm_90): 69 for 16 rows, 123 for 64, none spilled.
 */
#include "cuda/device.cuh"

#include <assert.h>

#include "cuda/cuda.h"
#include "cuda/rows.cuh"

enum {
  MOST_C = 192, WARPS = 8, THREADS = WARPS * WARP,
  GAP = 8,    /* elements behind each row in shared memory */
  MANY = 4096 /* rows */
};

template <int ROWS>
struct MlpShape {
  enum {
    TILES = ROWS > 16 ? 2 : 1,         /* of 16 rows to a warp */
    DOWN = ROWS / 16 / TILES,          /* warps above one another … */
    ACROSS = WARPS / DOWN,             /* and beside one another */
    SLICE = 8 * ACROSS,                /* hidden numbers */
    GROUPS = MOST_C / 8 / ACROSS       /* of 8 columns of the result, of a warp, at most */
  };
  static_assert (SLICE % 32 == 0, "two steps of 16 hidden numbers at once");

  static size_t
  elements (int c)
  {
    return (ROWS + 2 * SLICE) * (c + GAP) + (c + ROWS) * (SLICE + GAP);
  }
};

typedef struct {
  int rows, c, width;
  float *x;
  const float *norm_weight, *norm_bias;
  float eps;
  const void *in, *out; /* [2 width, c], [c, width] */
} Mlp;

/* ---- pieces ----------------------------------------------------------------------------------------------------- */

/* The slice's rows of both halves of W_in, to [2 SLICE][c + GAP]; what lies beyond the width is 0. */
template <typename T, int SLICE>
static __device__ __forceinline__ void
copy_in (const Mlp &a, T *to, int first)
{
  const T *in = static_cast<const T *> (a.in);
  const int pieces = a.c / 8;
  for (int i = (int) threadIdx.x; i < 2 * SLICE * pieces; i += THREADS) {
    const int row = i / pieces, piece = i % pieces * 8, h = first + row % SLICE;
    const bool there = h < a.width;
    vig_cp_async16 (to + row * (a.c + GAP) + piece, there ? in + (ptrdiff_t) (row < SLICE ? h : a.width + h) * a.c + piece : in,
        there);
  }
  vig_cp_async_commit ();
}

/* The slice's columns of W_out, to [c][SLICE + GAP] */
template <typename T, int SLICE>
static __device__ __forceinline__ void
copy_out (const Mlp &a, T *to, int first)
{
  const T *out = static_cast<const T *> (a.out);
  for (int i = (int) threadIdx.x; i < a.c * (SLICE / 8); i += THREADS) {
    const int row = i / (SLICE / 8), piece = i % (SLICE / 8) * 8;
    const bool there = first + piece < a.width;
    vig_cp_async16 (to + row * (SLICE + GAP) + piece, there ? out + (ptrdiff_t) row * a.width + first + piece : out, there);
  }
  vig_cp_async_commit ();
}

/* Step 1: y of the block's rows; of those that are not there 0. */
template <typename T, int ROWS>
static __device__ __forceinline__ void
norm_rows (const Mlp &a, T *y, int first)
{
  enum { FOURS = (MOST_C + 4 * WARP - 1) / (4 * WARP) };
  const int lane = (int) threadIdx.x % WARP;
  const float4 zero = make_float4 (0, 0, 0, 0);
  float4 weight[FOURS], bias[FOURS];
#pragma unroll
  for (int j = 0; j < FOURS; j++) {
    const int c = (j * WARP + lane) * 4;
    weight[j] = c < a.c ? load4<false> (a.norm_weight + c, 4) : zero;
    bias[j] = c < a.c && a.norm_bias ? load4<false> (a.norm_bias + c, 4) : zero;
  }
#pragma unroll 2
  for (int row = (int) threadIdx.x / WARP; row < ROWS; row += WARPS) {
    const float *x = a.x + (ptrdiff_t) (first + row) * a.c;
    float4 v[FOURS];
    float mean = 0, squares = 0;
#pragma unroll
    for (int j = 0; j < FOURS; j++) {
      const int c = (j * WARP + lane) * 4;
      v[j] = c < a.c && first + row < a.rows ? vig_load4 (x + c) : zero;
      mean += (v[j].x + v[j].y) + (v[j].z + v[j].w);
    }
    mean = a.norm_bias ? sum_lanes (mean) / (float) a.c : 0;
#pragma unroll
    for (int j = 0; j < FOURS; j++)
      if ((int) (j * WARP + lane) * 4 < a.c) {
        v[j] = map4 (v[j], [=] (float f) { return f - mean; });
        squares = dot4 (v[j], v[j], squares);
      }
    const float scale = 1 / sqrtf (sum_lanes (squares) / (float) a.c + a.eps);
#pragma unroll
    for (int j = 0; j < FOURS; j++) {
      const int c = (j * WARP + lane) * 4;
      if (c < a.c)
        vig_store4 (y + row * (a.c + GAP) + c, fma4 (map4 (v[j], [=] (float f) { return f * scale; }), weight[j], bias[j]));
    }
  }
}

/* Where a lane's row of ldmatrix begins: of a factor's 16 rows and 16 columns. */
template <typename T>
static __device__ __forceinline__ const T *
factor (const T *from, int distance)
{
  return from + (int) threadIdx.x % 16 * distance + (int) threadIdx.x % WARP / 16 * 8;
}

/* Step 2 for a warp: 8 columns of u1 and u2, C channels; y and hidden at the warp's first row, in and hidden at its first
 * column. */
template <typename T, int ROWS>
static __device__ __forceinline__ void
up (const Mlp &a, const T *y, const T *in, T *hidden)
{
  using G = MlpShape<ROWS>;
  const int distance = a.c + GAP, lane = (int) threadIdx.x % WARP, g = lane / 4, t = lane % 4;
  const T *rows = factor (y, distance);
  const T *columns = in + (lane / 16 * G::SLICE + lane % 8) * distance + lane / 8 % 2 * 8;
  float u1[G::TILES][4] = {}, u2[G::TILES][4] = {};
#pragma unroll 4
  for (int k = 0; k < a.c; k += 16) {
    uint32_t both[4];
    vig_ldmatrix_x4 (both, columns + k);
#pragma unroll
    for (int i = 0; i < G::TILES; i++) {
      uint32_t r[4];
      vig_ldmatrix_x4 (r, rows + i * 16 * distance + k);
      multiply (u1[i], r, both, T ());
      multiply (u2[i], r, both + 2, T ());
    }
  }
#pragma unroll
  for (int i = 0; i < G::TILES; i++)
#pragma unroll
    for (int e = 0; e < 4; e += 2)
      vig_store (hidden + (i * 16 + g + e / 2 * 8) * (G::SLICE + GAP) + 2 * t,
          vig_pack2<T> (u1[i][e] * sigmoid (u1[i][e]) * u2[i][e], u1[i][e + 1] * sigmoid (u1[i][e + 1]) * u2[i][e + 1]));
}

/* Step 3 for a warp: sum += hidden W_out^T; hidden at the warp's first row. */
template <typename T, int ROWS>
static __device__ __forceinline__ void
down (const Mlp &a, const T *hidden, const T *out, int across, float sum[][MlpShape<ROWS>::TILES][4])
{
  using G = MlpShape<ROWS>;
  enum { DISTANCE = G::SLICE + GAP };
  const int lane = (int) threadIdx.x % WARP;
#pragma unroll
  for (int k = 0; k < G::SLICE; k += 32) {
    uint32_t r[G::TILES][2][4];
#pragma unroll
    for (int i = 0; i < G::TILES; i++)
#pragma unroll
      for (int half = 0; half < 2; half++)
        vig_ldmatrix_x4 (r[i][half], factor (hidden + i * 16 * DISTANCE + k + half * 16, DISTANCE));
#pragma unroll
    for (int n = 0; n < G::GROUPS; n++) {
      const int column = (n * G::ACROSS + across) * 8;
      if (column < a.c) {
        uint32_t b[4];
        vig_ldmatrix_x4 (b, out + (column + lane % 8) * DISTANCE + k + lane / 8 * 8);
#pragma unroll
        for (int i = 0; i < G::TILES; i++) {
          multiply (sum[n][i], r[i][0], b, T ());
          multiply (sum[n][i], r[i][1], b + 2, T ());
        }
      }
    }
  }
}

/* ---- the launch --------------------------------------------------------------------------------------------------- */

template <typename T, int ROWS>
static __global__ void
__launch_bounds__ (THREADS, 2)
mlp (Mlp a)
{
  using G = MlpShape<ROWS>;
  const int distance = a.c + GAP, warp = (int) threadIdx.x / WARP, lane = (int) threadIdx.x % WARP;
  const int across = warp % G::ACROSS, above = warp / G::ACROSS * G::TILES * 16; /* the warp's rows in the block */
  const int first_row = (int) blockIdx.x * ROWS;
  T *y = vig_shared<T> ();                       /* [ROWS][c + GAP] */
  T *in = y + ROWS * distance;                   /* [2 SLICE][c + GAP] */
  T *out = in + 2 * G::SLICE * distance;         /* [c][SLICE + GAP] */
  T *hidden = out + a.c * (G::SLICE + GAP);      /* [ROWS][SLICE + GAP] */
  float sum[G::GROUPS][G::TILES][4] = {};

  copy_in<T, G::SLICE> (a, in, 0);
  norm_rows<T, ROWS> (a, y, first_row);
#pragma unroll 1
  for (int first = 0; first < a.width; first += G::SLICE) {
    vig_cp_async_wait<0> ();
    __syncthreads (); /* y and the slice of W_in are there; that of W_out and hidden are free */
    copy_out<T, G::SLICE> (a, out, first);
    up<T, ROWS> (a, y + above * distance, in + across * 8 * distance, hidden + above * (G::SLICE + GAP) + across * 8);
    vig_cp_async_wait<0> ();
    __syncthreads (); /* hidden and the slice of W_out are there; that of W_in is free */
    if (first + G::SLICE < a.width)
      copy_in<T, G::SLICE> (a, in, first + G::SLICE);
    down<T, ROWS> (a, hidden + above * (G::SLICE + GAP), out, across, sum);
  }

#pragma unroll
  for (int n = 0; n < G::GROUPS; n++)
#pragma unroll
    for (int i = 0; i < G::TILES; i++)
#pragma unroll
      for (int e = 0; e < 4; e += 2) {
        const int row = first_row + above + i * 16 + lane / 4 + e / 2 * 8, column = (n * G::ACROSS + across) * 8 + lane % 4 * 2;
        if (row < a.rows && column < a.c) {
          float *x = a.x + (ptrdiff_t) row * a.c + column;
          const float2 v = vig_load<float2> (x);
          vig_store (x, make_float2 (v.x + sum[n][i][e], v.y + sum[n][i][e + 1]));
        }
      }
}

/* ---- the host's side ---------------------------------------------------------------------------------------------- */

template <typename T, int ROWS>
static void
launch (VigCuda *cuda, const Mlp &a)
{
  vig_cuda_ok (cuda, VIG_LAUNCH ((mlp<T, ROWS>), (a.rows + ROWS - 1) / ROWS, THREADS, MlpShape<ROWS>::elements (a.c) * sizeof (T),
      cuda->stream, a), "launching mlp");
}

template <typename T>
static void
launch (VigCuda *cuda, const Mlp &a)
{
  a.rows < MANY ? launch<T, 16> (cuda, a) : launch<T, 64> (cuda, a);
}

bool
vig_cuda_mlp (VigCuda *cuda, const VigMlp *a, const void *in, const void *out, int width, VigType type)
{
  const Mlp mlp = { a->batch * a->rows, a->c, width, a->x, a->norm_weight, a->norm_bias, a->eps, in, out };

  if (type == VIG_TYPE_F32 || cuda->sm < 80 || a->c > MOST_C || a->c % 16 || width % 8)
    return false;
  assert ((uintptr_t) a->x % 16 == 0);
  type == VIG_TYPE_BF16 ? launch<vig_bf16> (cuda, mlp) : launch<vig_half> (cuda, mlp);
  return true;
}
