/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The operators that work on rows and pictures. Contracts: kernels.h. Never run on a GPU.
 *
 * All of them are bound by memory traffic, so all do the same: neighbouring threads take neighbouring groups of four
 * elements, with accesses of 16 bytes (8 of the small types) where the shape and the addresses allow it ("wide"), else
 * one by one. Which it is changes no bit: the elements that a thread takes, and its order, are the same.
 *
 *   operator    one thread                                    block          grid
 *   im2col      4 elements of cols                            256            (item / 1024, batch)
 *   add_pos     4 elements                                    256            (item / 1024, batch)
 *   norms       a warp per row, 4 of every 128 channels       256: 8 rows    rows / 8
 *   dwconv3x3   4 channels of 4 neighbours in a row: 18       128            (h * w/4 * c/4 / 128, batch)
 *               pixels and 9 weights are read for 4 results
 *   norm_dwconv the norms of up to 10 x 18 tokens, then as    256           (tiles of up to 8 x 16, batch)
 *               dwconv3x3; shared memory [10][18] float2
 *   log_decay   one channel of 8 rows: its weights are        32 .. 128      (rows / 8, c / block)
 *               read once, the rows are the same for a warp
 *   gate_mix    8, 16 or 32 lanes per row and head            256            rows * heads / groups
 *   swiglu      4 elements, the block a tile of rows          up to 256      rows / tile
 *   pool_mean   every 32nd token of one channel, then the     32 x 32        (c / 32, batch)
 *               32 sums through shared memory [32][32]
 *   softmax     a warp per row                                256: 8 rows    rows / 8
 *   class_map   a warp per token; it looks for the greatest   256: 8 tokens  (L / 8, batch * maps)
 *               logit itself where that is asked for
 *
 * Rows longer than a thread's registers are read again where they are needed again: they are in L1 by then.
 * Sums over a row: each lane's part in order, then a butterfly over the lanes. No order depends on the batch.
 *
 * Counted for an H100 (3 TB/s), ViG-T at 224, batch 128, bf16 (25,088 tokens of 192 channels; x is 19.3 MB), were nothing in
 * L2: norm_dwconv 29 MB, 10 us; a norm in place and add_pos 39 MB each, 13 us; im2col 127 and 82 MB, 42 and 27 us, once
 * each; pool_mean 19 MB, 6 us; softmax 1 MB. swiglu, of ViG-S: 154 MB, 51 us, which is why mlp cuts tokens into slices that
 * stay in L2.
 */
#include "cuda/device.cuh"

#include <assert.h>

#include <type_traits>

#include "cuda/cuda.h"
#include "cuda/rows.cuh"

enum { THREADS = 256 };
enum { MANY_BLOCKS = 264 }; /* two for each multiprocessor of an H100 */

/* ---- host side: choosing a kernel ----------------------------------------------------------------------------------- */

/* Calls f with an element of the type. */
template <typename F>
static void
with_type (VigType type, F f)
{
  switch (type) {
    case VIG_TYPE_BF16: f (vig_bf16 ()); break;
    case VIG_TYPE_F16: f (vig_half ()); break;
    default: f (float ()); break;
  }
}

/* Whether groups of four from there lie on boundaries of 16 bytes (8 of a small type). */
static bool
wide_at (const void *p, VigType type = VIG_TYPE_F32)
{
  return (uintptr_t) p % (type == VIG_TYPE_F32 ? 16 : 8) == 0;
}

static unsigned
blocks (size_t n, size_t per_block)
{
  return (unsigned) ((n + per_block - 1) / per_block);
}

/* The grid for the elements of an item, four to a thread, and the batch; kernels go on where the grid ends. */
static dim3
item_grid (size_t elements, int batch)
{
  return dim3 (blocks (elements, 4 * THREADS), batch < 65535 ? batch : 65535);
}

/* ---- im2col ------------------------------------------------------------------------------------------------------------ */

/* Element i of an item's cols: where it is in x, or -1 in the padding and at the row's end. */
static __device__ __forceinline__ int
source_of (const VigIm2col &a, unsigned i)
{
  unsigned position = i / a.row, j = i % a.row, taps = a.kernel * a.kernel;
  unsigned c = a.planar ? j / taps : j % a.c, tap = a.planar ? j % taps : j / a.c;
  unsigned kx = tap % a.kernel, ky = tap / a.kernel;
  if (j >= taps * a.c)
    return -1;
  int x = (int) (position % a.out_w * a.stride + kx) - a.pad, y = (int) ((position / a.out_w + a.out_y) * a.stride + ky) - a.pad;
  if (x < 0 || x >= a.w || y < 0 || y >= a.h)
    return -1;
  return a.planar ? ((int) c * a.h + y) * a.w + x : (y * a.w + x) * a.c + (int) c;
}

/* pixels: four elements of cols are four channels of one pixel. */
template <typename T, bool pixels, bool wide>
static __global__ void
__launch_bounds__ (THREADS) im2col (VigIm2col a)
{
  unsigned item = (unsigned) a.out_h * a.out_w * a.row, i = 4 * (blockIdx.x * THREADS + threadIdx.x);
  if (i >= item)
    return;
  int left = (int) (item - i), at[4];
  at[0] = source_of (a, i);
  for (int j = 1; j < 4; j++)
    at[j] = !pixels && j < left ? source_of (a, i + j) : -1;
  for (unsigned b = blockIdx.y; b < (unsigned) a.batch; b += gridDim.y) {
    const float *x = a.x + (size_t) b * a.h * a.w * a.c;
    float4 v;
    if (pixels)
      v = at[0] < 0 ? make_float4 (0, 0, 0, 0) : vig_load4 (x + at[0]);
    else
      v = make_float4 (at[0] < 0 ? 0 : x[at[0]], at[1] < 0 ? 0 : x[at[1]], at[2] < 0 ? 0 : x[at[2]],
          at[3] < 0 ? 0 : x[at[3]]);
    store4<wide> (static_cast<T *> (a.cols) + (size_t) b * item + i, left, v);
  }
}

static void
vig_im2col_cuda (void *ctx, const VigIm2col *a)
{
  VigCuda *cuda = static_cast<VigCuda *> (ctx);
  VigIm2col with_row = *a;
  if (!a->row)
    with_row.row = a->kernel * a->kernel * a->c;
  size_t item = (size_t) a->out_h * a->out_w * with_row.row;
  assert (item <= INT32_MAX && (size_t) a->h * a->w * a->c <= INT32_MAX);
  with_type (a->type, [&] (auto element) {
    typedef decltype (element) T;
    bool wide = item % 4 == 0 && wide_at (a->cols, a->type), pixels = wide && !a->planar && a->c % 4 == 0 && with_row.row % 4 == 0 && wide_at (a->x);
    auto kernel = pixels ? im2col<T, true, true> : wide ? im2col<T, false, true> : im2col<T, false, false>;
    vig_cuda_ok (cuda, VIG_LAUNCH (kernel, item_grid (item, a->batch), THREADS, 0, cuda->stream, with_row),
        "launching im2col");
  });
}

/* ---- norms ------------------------------------------------------------------------------------------------------------- */

/* What the norm of a row subtracts and what it multiplies by, from a warp whose lanes begin at channel first. */
template <bool layer, bool wide>
static __device__ __forceinline__ float2
norm_stats (const float *x, int c, int first, float eps)
{
  float mean = 0, squares = 0;
  if (layer) {
    const float4 one = make_float4 (1, 1, 1, 1);
    for (int i = first; i < c; i += 4 * WARP)
      mean = dot4 (load4<wide> (x + i, c - i), one, mean);
    mean = sum_lanes (mean) / (float) c;
  }
  for (int i = first; i < c; i += 4 * WARP) {
    float4 v = map4 (load4<wide> (x + i, c - i, mean), [=] (float f) { return f - mean; });
    squares = dot4 (v, v, squares);
  }
  return make_float2 (mean, 1 / sqrtf (sum_lanes (squares) / (float) c + eps));
}

template <typename T, bool layer, bool wide>
static __global__ void
__launch_bounds__ (THREADS) norm (VigNorm a)
{
  int row = (int) (blockIdx.x * (THREADS / WARP) + threadIdx.x / WARP), first = (int) (threadIdx.x % WARP) * 4, c = a.c;
  if (row >= a.rows)
    return;
  const float *x = a.x + (size_t) row * c;
  T *y = static_cast<T *> (a.y) + (size_t) row * c;
  const float2 stats = norm_stats<layer, wide> (x, c, first, a.eps);
  const float mean = stats.x, scale = stats.y;
  for (int i = first; i < c; i += 4 * WARP) {
    float4 v = map4 (load4<wide> (x + i, c - i), [=] (float f) { return (f - mean) * scale; });
    float4 bias = layer ? load4<wide> (a.bias + i, c - i) : make_float4 (0, 0, 0, 0);
    v = fma4 (v, load4<wide> (a.weight + i, c - i), bias);
    store4<wide> (y + i, c - i, map4 (v, [=] (float f) { return act (a.act, f); }));
  }
}

template <bool layer>
static void
run_norm (VigCuda *cuda, const VigNorm *a)
{
  with_type (a->type, [&] (auto element) {
    typedef decltype (element) T;
    bool wide = a->c % 4 == 0 && wide_at (a->x) && wide_at (a->weight) && (!layer || wide_at (a->bias)) &&
                wide_at (a->y, a->type);
    auto kernel = wide ? norm<T, layer, true> : norm<T, layer, false>;
    vig_cuda_ok (cuda, VIG_LAUNCH (kernel, blocks (a->rows, THREADS / WARP), THREADS, 0, cuda->stream, *a), "launching %s",
        layer ? "layernorm" : "rmsnorm");
  });
}

void
vig_cuda_norm (VigCuda *cuda, const VigNorm *a)
{
  a->bias ? run_norm<true> (cuda, a) : run_norm<false> (cuda, a);
}

static void
vig_rmsnorm_cuda (void *ctx, const VigNorm *a)
{
  run_norm<false> (static_cast<VigCuda *> (ctx), a);
}

static void
vig_layernorm_cuda (void *ctx, const VigNorm *a)
{
  run_norm<true> (static_cast<VigCuda *> (ctx), a);
}

/* ---- add_pos ------------------------------------------------------------------------------------------------------------ */

template <bool wide>
static __global__ void
__launch_bounds__ (THREADS) add_pos (VigAddPos a)
{
  unsigned item = (unsigned) a.tokens * a.c, i = 4 * (blockIdx.x * THREADS + threadIdx.x);
  if (i >= item)
    return;
  int left = (int) (item - i);
  float4 pos = load4<wide> (a.pos + i, left);
  for (unsigned b = blockIdx.y; b < (unsigned) a.batch; b += gridDim.y) {
    float *x = a.x + (size_t) b * item + i;
    float4 v = load4<wide> (x, left);
    store4<wide> (x, left, make_float4 (v.x + pos.x, v.y + pos.y, v.z + pos.z, v.w + pos.w));
  }
}

static void
vig_add_pos_cuda (void *ctx, const VigAddPos *a)
{
  VigCuda *cuda = static_cast<VigCuda *> (ctx);
  size_t item = (size_t) a->tokens * a->c;
  assert (item <= INT32_MAX);
  auto kernel = item % 4 == 0 && wide_at (a->x) && wide_at (a->pos) ? add_pos<true> : add_pos<false>;
  vig_cuda_ok (cuda, VIG_LAUNCH (kernel, item_grid (item, a->batch), THREADS, 0, cuda->stream, *a), "launching add_pos");
}

/* ---- dwconv3x3 ---------------------------------------------------------------------------------------------------------- */

enum { DW_THREADS = 128, DW_STRIP = 4 };

template <typename T, bool wide>
static __global__ void
__launch_bounds__ (DW_THREADS) dwconv3x3 (VigDwconv a)
{
  unsigned quads = (unsigned) (a.c + 3) / 4, strips = (unsigned) (a.w + DW_STRIP - 1) / DW_STRIP;
  unsigned i = blockIdx.x * DW_THREADS + threadIdx.x;
  if (i >= quads * strips * a.h)
    return;
  int ch = (int) (i % quads) * 4, x0 = (int) (i / quads % strips) * DW_STRIP, y = (int) (i / quads / strips);
  int left = a.c - ch;
  const float4 zero = make_float4 (0, 0, 0, 0);
  for (unsigned b = blockIdx.y; b < (unsigned) a.batch; b += gridDim.y) {
    float4 sum[DW_STRIP] = { zero, zero, zero, zero };
#pragma unroll
    for (int ky = 0; ky < 3; ky++) {
      int sy = y + ky - 1;
      if (sy < 0 || sy >= a.h)
        continue;
      const float *row = a.x + ((size_t) b * a.h + sy) * a.w * a.c + ch;
      float4 pixel[DW_STRIP + 2];
#pragma unroll
      for (int j = 0; j < DW_STRIP + 2; j++) {
        int sx = x0 + j - 1;
        pixel[j] = sx >= 0 && sx < a.w ? load4<wide> (row + (size_t) sx * a.c, left) : zero;
      }
#pragma unroll
      for (int kx = 0; kx < 3; kx++) {
        float4 weight = load4<wide> (a.weight + (ky * 3 + kx) * a.c + ch, left);
#pragma unroll
        for (int j = 0; j < DW_STRIP; j++)
          sum[j] = fma4 (weight, pixel[j + kx], sum[j]);
      }
    }
    T *out = static_cast<T *> (a.y) + (((size_t) b * a.h + y) * a.w + x0) * a.c + ch;
#pragma unroll
    for (int j = 0; j < DW_STRIP; j++)
      if (x0 + j < a.w)
        store4<wide> (out + (size_t) j * a.c, left, map4 (sum[j], [=] (float f) { return act (a.act, f); }));
  }
}

static void
vig_dwconv3x3_cuda (void *ctx, const VigDwconv *a)
{
  VigCuda *cuda = static_cast<VigCuda *> (ctx);
  size_t item = (size_t) a->h * ((a->w + DW_STRIP - 1) / DW_STRIP) * ((a->c + 3) / 4);
  assert (item <= INT32_MAX);
  with_type (a->type, [&] (auto element) {
    typedef decltype (element) T;
    bool wide = a->c % 4 == 0 && wide_at (a->x) && wide_at (a->weight) && wide_at (a->y, a->type);
    auto kernel = wide ? dwconv3x3<T, true> : dwconv3x3<T, false>;
    vig_cuda_ok (cuda, VIG_LAUNCH (kernel, dim3 (blocks (item, DW_THREADS), a->batch < 65535 ? a->batch : 65535),
        DW_THREADS, 0, cuda->stream, *a), "launching dwconv3x3");
  });
}

/* ---- norm_dwconv -------------------------------------------------------------------------------------------------------- */

enum { ND_TALL = 8, ND_WIDE = 16 }; /* tokens of a tile at most; wide: a multiple of DW_STRIP */

/* A tile of tall x wide tokens, all channels. First the norm of each token that it or its neighbours are, a warp per
 * token, of which only mean and scale stay, in shared memory [tall + 2, wide + 2]; then the convolution as dwconv3x3,
 * which finds x in L1 or L2. The norm's weight and bias are the same for all nine taps, so they come last. */
template <typename T, bool layer, bool aligned>
static __global__ void
__launch_bounds__ (THREADS) norm_dwconv (VigNormDwconv a, int tall, int wide)
{
  float2 *stats = vig_shared<float2> ();
  const int across = (a.w + wide - 1) / wide, columns = wide + 2;
  const int left_x = (int) (blockIdx.x % across) * wide, top = (int) (blockIdx.x / across) * tall;
  const int quads = (a.c + 3) / 4, strips = wide / DW_STRIP;
  const float4 zero = make_float4 (0, 0, 0, 0), one = make_float4 (1, 1, 1, 1);
  for (unsigned b = blockIdx.y; b < (unsigned) a.batch; b += gridDim.y) {
    const float *item = a.x + (size_t) b * a.h * a.w * a.c;
    for (int i = (int) threadIdx.x / WARP; i < (tall + 2) * columns; i += THREADS / WARP) {
      int y = top + i / columns - 1, x = left_x + i % columns - 1;
      if (y < 0 || y >= a.h || x < 0 || x >= a.w)
        continue;
      float2 s = norm_stats<layer, aligned> (item + ((size_t) y * a.w + x) * a.c, a.c, (int) threadIdx.x % WARP * 4, a.eps);
      if (threadIdx.x % WARP == 0)
        stats[i] = s;
    }
    __syncthreads ();
    for (int i = (int) threadIdx.x; i < quads * strips * tall; i += THREADS) {
      int ch = i % quads * 4, tile_x = i / quads % strips * DW_STRIP, tile_y = i / quads / strips, left = a.c - ch;
      int x0 = left_x + tile_x, y = top + tile_y;
      if (x0 >= a.w || y >= a.h)
        continue;
      float4 sum[DW_STRIP] = { zero, zero, zero, zero }, weights[DW_STRIP] = { zero, zero, zero, zero };
#pragma unroll
      for (int ky = 0; ky < 3; ky++) {
        int sy = y + ky - 1;
        if (sy < 0 || sy >= a.h)
          continue;
        const float *row = item + (size_t) sy * a.w * a.c + ch;
        const float2 *row_stats = stats + (tile_y + ky) * columns + tile_x;
        float4 pixel[DW_STRIP + 2];
#pragma unroll
        for (int j = 0; j < DW_STRIP + 2; j++) {
          int sx = x0 + j - 1;
          pixel[j] = zero;
          if (sx >= 0 && sx < a.w) {
            float2 s = row_stats[j];
            pixel[j] = map4 (load4<aligned> (row + (size_t) sx * a.c, left), [=] (float f) { return (f - s.x) * s.y; });
          }
        }
#pragma unroll
        for (int kx = 0; kx < 3; kx++) {
          float4 weight = load4<aligned> (a.weight + (ky * 3 + kx) * a.c + ch, left);
#pragma unroll
          for (int j = 0; j < DW_STRIP; j++) {
            sum[j] = fma4 (weight, pixel[j + kx], sum[j]);
            if (layer && x0 + j + kx > 0 && x0 + j + kx <= a.w)
              weights[j] = fma4 (weight, one, weights[j]);
          }
        }
      }
      float4 scale = load4<aligned> (a.norm_weight + ch, left);
      float4 bias = layer ? load4<aligned> (a.norm_bias + ch, left) : zero;
      T *out = static_cast<T *> (a.y) + (((size_t) b * a.h + y) * a.w + x0) * a.c + ch;
#pragma unroll
      for (int j = 0; j < DW_STRIP; j++)
        if (x0 + j < a.w)
          store4<aligned> (out + (size_t) j * a.c, left,
              map4 (fma4 (sum[j], scale, fma4 (weights[j], bias, zero)), [=] (float f) { return act (a.act, f); }));
    }
    __syncthreads ();
  }
}

static void
vig_norm_dwconv_cuda (void *ctx, const VigNormDwconv *a)
{
  VigCuda *cuda = static_cast<VigCuda *> (ctx);
  bool aligned = a->c % 4 == 0 && wide_at (a->x) && wide_at (a->norm_weight) && wide_at (a->norm_bias) &&
                 wide_at (a->weight) && wide_at (a->y, a->type);
  int wide = a->w < ND_WIDE ? (a->w + DW_STRIP - 1) / DW_STRIP * DW_STRIP : (int) ND_WIDE, tall = ND_TALL;
  unsigned across = blocks (a->w, wide);
  /* lower tiles read more neighbours, but few of them would leave multiprocessors idle; no bit depends on it */
  while (tall > 1 && (size_t) across * blocks (a->h, tall) * a->batch < MANY_BLOCKS)
    tall /= 2;
  with_type (a->type, [&] (auto element) {
    typedef decltype (element) T;
    auto kernel = a->norm_bias ? (aligned ? norm_dwconv<T, true, true> : norm_dwconv<T, true, false>)
                               : (aligned ? norm_dwconv<T, false, true> : norm_dwconv<T, false, false>);
    vig_cuda_ok (cuda, VIG_LAUNCH (kernel, dim3 (across * blocks (a->h, tall), a->batch < 65535 ? a->batch : 65535), THREADS,
        (tall + 2) * (wide + 2) * sizeof (float2), cuda->stream, *a, tall, wide), "launching norm_dwconv");
  });
}

/* ---- log_decay ---------------------------------------------------------------------------------------------------------- */

enum { LD_THREADS = 128, LD_ROWS = 8 };

template <bool wide>
static __global__ void
__launch_bounds__ (LD_THREADS) log_decay (VigLogDecay a)
{
  int c = (int) (blockIdx.y * blockDim.x + threadIdx.x), row = (int) blockIdx.x * LD_ROWS;
  if (c >= a.c)
    return;
  const float *weight = a.weight + (size_t) c * a.rank, *low = a.low + (ptrdiff_t) row * a.low_row;
  int rows = min (a.rows - row, (int) LD_ROWS);
  float z[LD_ROWS], bias = a.bias[c];
#pragma unroll
  for (int r = 0; r < LD_ROWS; r++)
    z[r] = bias;
  for (int i = 0; i < a.rank; i += 4) {
    float4 w = load4<wide> (weight + i, a.rank - i);
#pragma unroll
    for (int r = 0; r < LD_ROWS; r++)
      if (r < rows)
        z[r] = dot4 (load4<wide> (low + r * a.low_row + i, a.rank - i), w, z[r]);
  }
#pragma unroll
  for (int r = 0; r < LD_ROWS; r++)
    if (r < rows) /* log sigmoid z without overflow on either side */
      a.gk[(size_t) (row + r) * a.c + c] = (fminf (z[r], 0) - log1pf (expf (-fabsf (z[r])))) * 0.0625f;
}

void
vig_cuda_log_decay (VigCuda *cuda, const VigLogDecay *a)
{
  int threads = a->c < LD_THREADS ? (a->c + WARP - 1) / WARP * WARP : (int) LD_THREADS;
  bool wide = a->rank % 4 == 0 && a->low_row % 4 == 0 && wide_at (a->low) && wide_at (a->weight);
  auto kernel = wide ? log_decay<true> : log_decay<false>;
  vig_cuda_ok (cuda, VIG_LAUNCH (kernel, dim3 (blocks (a->rows, LD_ROWS), blocks (a->c, threads)), threads, 0, cuda->stream,
      *a), "launching log_decay");
}

/* ---- gate_mix ----------------------------------------------------------------------------------------------------------- */

template <typename T, bool wide>
static __global__ void
__launch_bounds__ (THREADS) gate_mix (VigGateMix a, int lanes)
{
  unsigned group = (blockIdx.x * THREADS + threadIdx.x) / lanes, groups = (unsigned) a.rows * a.heads;
  int first = (int) (threadIdx.x % lanes) * 4, dv = a.dv;
  bool there = group < groups; /* the other groups of the last warp only take part in its shuffles */
  unsigned row = there ? group / a.heads : 0, head = there ? group % a.heads : 0;
  size_t at = ((size_t) row * a.heads + head) * dv;
  const float *o = a.o + at, *gate = a.gate + row * a.gate_row + head * dv;
  const T *l = static_cast<const T *> (a.l) + at;
  float o2 = 0, l2 = 0;
  for (int i = first; i < dv; i += 4 * lanes) {
    float4 vo = load4<wide> (o + i, dv - i), vl = load4<wide> (l + i, dv - i);
    o2 = dot4 (vo, vo, o2);
    l2 = dot4 (vl, vl, l2);
  }
  float rms_o = 1 / sqrtf (sum_lanes (o2, lanes) / (float) dv + a.eps);
  float rms_l = 1 / sqrtf (sum_lanes (l2, lanes) / (float) dv + a.eps);
  if (!there)
    return;
  for (int i = first; i < dv; i += 4 * lanes) {
    float4 vg = map4 (load4<wide> (gate + i, dv - i), sigmoid);
    float4 vo = map4 (load4<wide> (o + i, dv - i), [=] (float f) { return f * rms_o; });
    float4 vl = map4 (load4<wide> (l + i, dv - i), [=] (float f) { return f * rms_l; });
    float4 wo = load4<wide> (a.g_norm + i, dv - i), wl = load4<wide> (a.l_norm + i, dv - i);
    float4 m = make_float4 (fmaf (vg.x, vo.x * wo.x, (1 - vg.x) * (vl.x * wl.x)),
        fmaf (vg.y, vo.y * wo.y, (1 - vg.y) * (vl.y * wl.y)), fmaf (vg.z, vo.z * wo.z, (1 - vg.z) * (vl.z * wl.z)),
        fmaf (vg.w, vo.w * wo.w, (1 - vg.w) * (vl.w * wl.w)));
    store4<wide> (static_cast<T *> (a.m) + at + i, dv - i, map4 (m, [=] (float f) { return act (a.act, f); }));
  }
}

void
vig_cuda_gate_mix (VigCuda *cuda, const VigGateMix *a)
{
  int lanes = a->dv <= 32 ? 8 : a->dv <= 64 ? 16 : 32;
  with_type (a->type, [&] (auto element) {
    typedef decltype (element) T;
    bool wide = a->dv % 4 == 0 && a->gate_row % 4 == 0 && wide_at (a->gate) && wide_at (a->o) && wide_at (a->l, a->type) &&
                wide_at (a->g_norm) && wide_at (a->l_norm) && wide_at (a->m, a->type);
    auto kernel = wide ? gate_mix<T, true> : gate_mix<T, false>;
    vig_cuda_ok (cuda, VIG_LAUNCH (kernel, blocks ((size_t) a->rows * a->heads, THREADS / lanes), THREADS, 0, cuda->stream,
        *a, lanes), "launching gate_mix");
  });
}

/* ---- swiglu ------------------------------------------------------------------------------------------------------------- */

template <typename U, typename T, bool wide>
static __global__ void
__launch_bounds__ (THREADS) swiglu (const U *u, int rows, int width, T *y)
{
  unsigned row = blockIdx.x * blockDim.y + threadIdx.y;
  if (row >= (unsigned) rows)
    return;
  const U *gate = u + (size_t) row * 2 * width, *up = gate + width;
  y += (size_t) row * width;
  for (int i = (int) threadIdx.x * 4, left; (left = width - i) > 0; i += (int) blockDim.x * 4) {
    float4 g = load4<wide> (gate + i, left), f = load4<wide> (up + i, left);
    g = map4 (g, [] (float x) { return x * sigmoid (x); });
    store4<wide> (y + i, left, make_float4 (g.x * f.x, g.y * f.y, g.z * f.z, g.w * f.w));
  }
}

/* u_type: f32, or the same as type */
void
vig_cuda_swiglu (VigCuda *cuda, const void *u, VigType u_type, int rows, int width, void *y, VigType type)
{
  unsigned across = blocks (blocks (width, 4), WARP) * WARP;
  dim3 block (across < THREADS ? across : +THREADS);
  block.y = THREADS / block.x;
  bool wide = width % 4 == 0 && wide_at (u, u_type) && wide_at (y, type);
  with_type (type, [&] (auto element) {
    typedef decltype (element) T;
    auto launch = [&] (auto *from) {
      typedef std::remove_pointer_t<decltype (from)> U;
      auto kernel = wide ? swiglu<std::remove_const_t<U>, T, true> : swiglu<std::remove_const_t<U>, T, false>;
      vig_cuda_ok (cuda, VIG_LAUNCH (kernel, blocks (rows, block.y), block, 0, cuda->stream, from, rows, width,
          static_cast<T *> (y)), "launching swiglu");
    };
    u_type == VIG_TYPE_F32 ? launch (static_cast<const float *> (u)) : launch (static_cast<const T *> (u));
  });
}

/* ---- pool_mean ---------------------------------------------------------------------------------------------------------- */

static __global__ void
__launch_bounds__ (WARP * WARP) pool_mean (VigPoolMean a)
{
  float *sums = vig_shared<float> (); /* [32 parts][32 channels] */
  int c = (int) (blockIdx.x * WARP + threadIdx.x), part = (int) threadIdx.y;
  for (unsigned b = blockIdx.y; b < (unsigned) a.batch; b += gridDim.y) {
    const float *x = a.x + (size_t) b * a.tokens * a.c + c;
    float sum = 0;
    if (c < a.c) {
#pragma unroll 4
      for (int t = part; t < a.tokens; t += WARP)
        sum += x[(size_t) t * a.c];
    }
    sums[part * WARP + threadIdx.x] = sum;
    __syncthreads ();
    for (int n = WARP / 2; n; n /= 2) {
      if (part < n)
        sums[part * WARP + threadIdx.x] += sums[(part + n) * WARP + threadIdx.x];
      __syncthreads ();
    }
    if (part == 0 && c < a.c)
      a.y[(size_t) b * a.c + c] = sums[threadIdx.x] / (float) a.tokens;
    __syncthreads ();
  }
}

static void
vig_pool_mean_cuda (void *ctx, const VigPoolMean *a)
{
  VigCuda *cuda = static_cast<VigCuda *> (ctx);
  vig_cuda_ok (cuda, VIG_LAUNCH (pool_mean, dim3 (blocks (a->c, WARP), a->batch < 65535 ? a->batch : 65535),
      dim3 (WARP, WARP), WARP * WARP * sizeof (float), cuda->stream, *a), "launching pool_mean");
}

/* ---- softmax ------------------------------------------------------------------------------------------------------------ */

template <bool wide>
static __global__ void
__launch_bounds__ (THREADS) softmax (VigSoftmax a)
{
  int row = (int) (blockIdx.x * (THREADS / WARP) + threadIdx.x / WARP), first = (int) (threadIdx.x % WARP) * 4, c = a.c;
  if (row >= a.rows)
    return;
  const float *x = a.x + (size_t) row * c;
  float top = -INFINITY, sum = 0;
  for (int i = first; i < c; i += 4 * WARP) {
    float4 v = load4<wide> (x + i, c - i, -INFINITY);
    top = fmaxf (top, fmaxf (fmaxf (v.x, v.y), fmaxf (v.z, v.w)));
  }
  top = max_lanes (top);
  for (int i = first; i < c; i += 4 * WARP) {
    float4 e = map4 (load4<wide> (x + i, c - i, -INFINITY), [=] (float f) { return expf (f - top); });
    sum += (e.x + e.y) + (e.z + e.w);
  }
  sum = sum_lanes (sum);
  for (int i = first; i < c; i += 4 * WARP)
    store4<wide> (a.y + (size_t) row * c + i, c - i,
        map4 (load4<wide> (x + i, c - i), [=] (float f) { return expf (f - top) / sum; }));
}

static void
vig_softmax_cuda (void *ctx, const VigSoftmax *a)
{
  VigCuda *cuda = static_cast<VigCuda *> (ctx);
  auto kernel = a->c % 4 == 0 && wide_at (a->x) && wide_at (a->y) ? softmax<true> : softmax<false>;
  vig_cuda_ok (cuda, VIG_LAUNCH (kernel, blocks (a->rows, THREADS / WARP), THREADS, 0, cuda->stream, *a),
      "launching softmax");
}

/* ---- class_map ---------------------------------------------------------------------------------------------------------- */

/* logits [frames, classes]: the class of the greatest mean, the first of equals; the same for every lane. */
static __device__ __forceinline__ int
top_class (const float *logits, int frames, int classes)
{
  float best = -INFINITY;
  int top = 0;
  for (int c = (int) (threadIdx.x % WARP); c < classes; c += WARP) {
    double sum = 0;
    for (int f = 0; f < frames; f++)
      sum += logits[(size_t) f * classes + c];
    float mean = (float) (sum / frames);
    if (mean > best) {
      best = mean;
      top = c;
    }
  }
  for (int n = WARP / 2; n; n /= 2) {
    float other = __shfl_xor_sync (0xffffffffu, best, n);
    int where = __shfl_xor_sync (0xffffffffu, top, n);
    if (other > best || (other == best && where < top)) {
      best = other;
      top = where;
    }
  }
  return top;
}

static __global__ void
__launch_bounds__ (THREADS) class_map (VigClassMap a)
{
  int t = (int) (blockIdx.x * (THREADS / WARP) + threadIdx.x / WARP), lane = (int) (threadIdx.x % WARP);
  if (t >= a.tokens)
    return;
  for (unsigned i = blockIdx.y; i < (unsigned) a.batch * a.maps; i += gridDim.y) {
    size_t b = i / a.maps;
    int chosen = (int) a.which[i];
    if (a.which[i] == VIG_WHICH_TOP)
      chosen = top_class (a.logits + b * a.frames * a.classes, a.frames, a.classes);
    const float *x = a.x + (((b + 1) * a.frames - 1) * a.tokens + t) * a.c;
    float sum = 0;
    for (int c = lane; c < a.c && chosen >= 0; c += WARP)
      sum += a.weight[(size_t) chosen * a.c + c] * x[c];
    sum = sum_lanes (sum);
    if (lane == 0)
      a.y[(size_t) i * a.tokens + t] = sum / ((float) a.frames * (float) a.tokens);
    if (lane == 0 && t == 0)
      a.chosen[i] = (float) chosen;
  }
}

static void
vig_class_map_cuda (void *ctx, const VigClassMap *a)
{
  VigCuda *cuda = static_cast<VigCuda *> (ctx);
  int rows = a->batch * a->maps;
  vig_cuda_ok (cuda, VIG_LAUNCH (class_map, dim3 (blocks (a->tokens, THREADS / WARP), rows < 65535 ? rows : 65535), THREADS, 0,
      cuda->stream, *a), "launching class_map");
}

/* ---- the table ---------------------------------------------------------------------------------------------------------- */

static void
vig_log_decay_cuda (void *ctx, const VigLogDecay *a)
{
  vig_cuda_log_decay (static_cast<VigCuda *> (ctx), a);
}

static void
vig_gate_mix_cuda (void *ctx, const VigGateMix *a)
{
  vig_cuda_gate_mix (static_cast<VigCuda *> (ctx), a);
}

static void
vig_swiglu_cuda (void *ctx, const VigSwiglu *a)
{
  vig_cuda_swiglu (static_cast<VigCuda *> (ctx), a->u, VIG_TYPE_F32, a->rows, a->width, a->y, a->type);
}

void
vig_cuda_use_ops (VigKernels *k)
{
  k->im2col = vig_im2col_cuda;
  k->rmsnorm = vig_rmsnorm_cuda;
  k->layernorm = vig_layernorm_cuda;
  k->add_pos = vig_add_pos_cuda;
  k->dwconv3x3 = vig_dwconv3x3_cuda;
  k->log_decay = vig_log_decay_cuda;
  k->gate_mix = vig_gate_mix_cuda;
  k->swiglu = vig_swiglu_cuda;
  k->pool_mean = vig_pool_mean_cuda;
  k->softmax = vig_softmax_cuda;
  k->class_map = vig_class_map_cuda;
  k->norm_dwconv = vig_norm_dwconv_cuda;
}
