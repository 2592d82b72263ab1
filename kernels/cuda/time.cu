/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What models over time do. Contracts: kernels.h. Never run on a GPU.
 *
 *   operator     one thread                                      block              grid
 *   dwconv3x3x3  4 channels of a token: 27 of x, 27 weights      256                (item / 1024, batch)
 *   add_boundary one key channel of a frame, both ends of it     256                (frames * channels / 256)
 *   cell_mean    one channel of a cell, tokens in order          up to 256          (channels / 256, cells, batch)
 *   cell_add     4 channels of a token                           256                (item / 1024, batch)
 *   memory_step  one value channel of a head: a column of S      dv, whole warps    (cells * heads, batch)
 *   difference   4 numbers of a picture                          256                (size / 1024, batch)
 *
 * memory_step and difference: frames of one stream lie side by side in the batch. The blocks of the first of them go through
 * all of them in order; the blocks of the others have nothing to do. All are bound by memory traffic: of a state of 98 KB
 * (16 cells, 3 heads of 16 x 32) a step reads and writes each number once, coalesced along the value channels.
 */
#include "cuda/device.cuh"

#include "cuda/cuda.h"
#include "cuda/rows.cuh"

enum { THREADS = 256 };

static unsigned
blocks (size_t n, size_t per_block)
{
  return (unsigned) ((n + per_block - 1) / per_block);
}

static unsigned
at_most_grid (int n)
{
  return n < 65535 ? (unsigned) n : 65535u;
}

/* ---- dwconv3x3x3, add_boundary ------------------------------------------------------------------------------------- */

template <typename T, bool wide>
static __global__ void
__launch_bounds__ (THREADS) dwconv_time (VigDwconvTime a)
{
  int groups = (a.c + 3) / 4, i = (int) (blockIdx.x * THREADS + threadIdx.x);
  if (i >= a.frames * a.h * a.w * groups)
    return;
  int token = i / groups, c = i % groups * 4, left = a.c - c;
  int x = token % a.w, y = token / a.w % a.h, t = token / a.w / a.h;
  for (int b = (int) blockIdx.y; b < a.batch; b += (int) gridDim.y) {
    size_t at = ((size_t) b * a.frames * a.h * a.w + token) * a.c + c;
    float4 sum = make_float4 (0, 0, 0, 0);
    for (int tap = 0; tap < 27; tap++) {
      int dt = tap / 9 - 1, dy = tap / 3 % 3 - 1, dx = tap % 3 - 1;
      if (t + dt >= 0 && t + dt < a.frames && y + dy >= 0 && y + dy < a.h && x + dx >= 0 && x + dx < a.w)
        sum = fma4 (load4<wide> (a.weight + (size_t) tap * a.c + c, left),
            load4<wide> (a.x + at + ((ptrdiff_t) (dt * a.h + dy) * a.w + dx) * a.c, left), sum);
    }
    store4<wide> (static_cast<T *> (a.y) + at, left, map4 (sum, [=] (float f) { return act (a.act, f); }));
  }
}

template <typename T>
static void
run_dwconv_time (VigCuda *cuda, const VigDwconvTime *a)
{
  bool wide = a->c % 4 == 0 && (uintptr_t) a->x % 16 == 0 && (uintptr_t) a->weight % 16 == 0
      && (uintptr_t) a->y % (4 * sizeof (T)) == 0;
  size_t work = (size_t) a->frames * a->h * a->w * ((a->c + 3) / 4);
  auto kernel = wide ? dwconv_time<T, true> : dwconv_time<T, false>;
  vig_cuda_ok (cuda, VIG_LAUNCH (kernel, dim3 (blocks (work, THREADS), at_most_grid (a->batch)), THREADS, 0, cuda->stream, *a),
      "launching dwconv3x3x3");
}

static void
vig_dwconv3x3x3_cuda (void *ctx, const VigDwconvTime *a)
{
  VigCuda *cuda = static_cast<VigCuda *> (ctx);
  if (a->type == VIG_TYPE_BF16)
    run_dwconv_time<vig_bf16> (cuda, a);
  else if (a->type == VIG_TYPE_F16)
    run_dwconv_time<vig_half> (cuda, a);
  else
    run_dwconv_time<float> (cuda, a);
}

static __global__ void
__launch_bounds__ (THREADS) add_boundary (VigAddBoundary a)
{
  size_t i = (size_t) blockIdx.x * THREADS + threadIdx.x, frame = i / a.c, c = i % a.c;
  if (frame >= (size_t) a.frames)
    return;
  float *first = a.gk + frame * a.tokens * 2 * a.c, *last = first + (size_t) (a.tokens - 1) * 2 * a.c;
  first[c] += a.boundary[c];
  last[a.c + c] += a.boundary[c];
}

void
vig_cuda_add_boundary (VigCuda *cuda, const VigAddBoundary *a)
{
  vig_cuda_ok (cuda, VIG_LAUNCH (add_boundary, blocks ((size_t) a->frames * a->c, THREADS), THREADS, 0, cuda->stream, *a),
      "launching add_boundary");
}

static void
vig_add_boundary_cuda (void *ctx, const VigAddBoundary *a)
{
  vig_cuda_add_boundary (static_cast<VigCuda *> (ctx), a);
}

/* ---- cell_mean, cell_add ------------------------------------------------------------------------------------------- */

/* The first row (or column) of cell i of grid, among n. */
static __device__ __forceinline__ int
first_of (int i, int n, int grid)
{
  return (i * n + grid - 1) / grid;
}

template <typename T>
static __global__ void
__launch_bounds__ (THREADS) cell_mean (VigCellMean a)
{
  int c = (int) (blockIdx.x * blockDim.x + threadIdx.x), cells = a.grid * a.grid;
  if (c >= a.c)
    return;
  for (int b = (int) blockIdx.z; b < a.batch; b += (int) gridDim.z)
    for (int cell = (int) blockIdx.y; cell < cells; cell += (int) gridDim.y) {
      int row = cell / a.grid, column = cell % a.grid;
      int y0 = first_of (row, a.h, a.grid), y1 = first_of (row + 1, a.h, a.grid);
      int x0 = first_of (column, a.w, a.grid), x1 = first_of (column + 1, a.w, a.grid);
      const float *x = a.x + (size_t) b * a.h * a.w * a.c + c;
      float sum = 0;
      for (int y = y0; y < y1; y++) {
        float part = 0; /* of a row, so that rounding does not grow with the cell */
        for (int t = x0; t < x1; t++)
          part += x[((size_t) y * a.w + t) * a.c];
        sum += part;
      }
      static_cast<T *> (a.y)[((size_t) b * cells + cell) * a.c + c] = vig_from_float<T> (sum / (float) ((y1 - y0) * (x1 - x0)));
    }
}

static void
vig_cell_mean_cuda (void *ctx, const VigCellMean *a)
{
  VigCuda *cuda = static_cast<VigCuda *> (ctx);
  auto kernel = a->type == VIG_TYPE_BF16 ? cell_mean<vig_bf16> : a->type == VIG_TYPE_F16 ? cell_mean<vig_half> : cell_mean<float>;
  int block = a->c < THREADS ? (a->c + WARP - 1) / WARP * WARP : (int) THREADS;
  vig_cuda_ok (cuda, VIG_LAUNCH (kernel, dim3 (blocks (a->c, block), at_most_grid (a->grid * a->grid), at_most_grid (a->batch)),
      block, 0, cuda->stream, *a), "launching cell_mean");
}

template <bool wide>
static __global__ void
__launch_bounds__ (THREADS) cell_add (VigCellAdd a)
{
  int groups = (a.c + 3) / 4, i = (int) (blockIdx.x * THREADS + threadIdx.x);
  if (i >= a.h * a.w * groups)
    return;
  int token = i / groups, c = i % groups * 4, left = a.c - c;
  int cell = token / a.w * a.grid / a.h * a.grid + token % a.w * a.grid / a.w;
  for (int b = (int) blockIdx.y; b < a.batch; b += (int) gridDim.y) {
    float *x = a.x + ((size_t) b * a.h * a.w + token) * a.c + c;
    float4 f = load4<wide> (x, left), y = load4<wide> (a.y + ((size_t) b * a.grid * a.grid + cell) * a.c + c, left);
    store4<wide> (x, left, make_float4 (f.x + y.x, f.y + y.y, f.z + y.z, f.w + y.w));
  }
}

static void
vig_cell_add_cuda (void *ctx, const VigCellAdd *a)
{
  VigCuda *cuda = static_cast<VigCuda *> (ctx);
  bool wide = a->c % 4 == 0 && (uintptr_t) a->x % 16 == 0 && (uintptr_t) a->y % 16 == 0;
  size_t work = (size_t) a->h * a->w * ((a->c + 3) / 4);
  vig_cuda_ok (cuda, VIG_LAUNCH (wide ? cell_add<true> : cell_add<false>, dim3 (blocks (work, THREADS), at_most_grid (a->batch)),
      THREADS, 0, cuda->stream, *a), "launching cell_add");
}

/* ---- memory_step --------------------------------------------------------------------------------------------------- */

/* Whether item b is the next frame of the stream that item b - 1 is of. */
static __device__ __forceinline__ bool
goes_on (float *const *state, int b, int batch)
{
  return b > 0 && b < batch && state[b] == state[b - 1];
}

/* The sum over the block, in whole warps, in an order that depends on the block alone; sums [warps]. */
static __device__ __forceinline__ float
sum_block (float x, float *sums)
{
  x = sum_lanes (x);
  if (threadIdx.x % WARP == 0)
    sums[threadIdx.x / WARP] = x;
  __syncthreads ();
  float all = 0;
  for (unsigned i = 0; i < blockDim.x / WARP; i++)
    all += sums[i];
  return all;
}

/* One frame of one cell and head: S [DK, DV]. q, k, decay [DK] and sums [warps] in shared memory: the first three are read
 * before sum_block()'s barrier, the sums before the next frame's first one, so the next frame may write at once. */
template <typename T>
static __device__ __forceinline__ void
one_step (const VigMemoryStep &a, int b, float *q, float *k, float *decay, float *sums)
{
  int head = (int) blockIdx.x % a.heads, c = (int) threadIdx.x;
  size_t row = (size_t) b * a.cells + blockIdx.x / a.heads, at = row * a.row;
  bool first = a.elapsed[b] < 0;
  float r = first ? 1 : a.elapsed[b], write = fminf (r, a.max_elapsed), o = 0;

  for (int i = c; i < a.dk; i += (int) blockDim.x) {
    int channel = head * a.dk + i;
    float z = a.gk_bias[channel];
    for (int j = 0; j < a.rank; j++)
      z = fmaf (a.low[at + j], a.gk_weight[(size_t) channel * a.rank + j], z);
    decay[i] = expf ((fminf (z, 0) - log1pf (expf (-fabsf (z)))) * (r / 16));
    q[i] = a.q[at + channel];
    k[i] = a.k[at + channel] * write;
  }
  __syncthreads ();
  if (c < a.dv) {
    float *S = a.state[b] + a.offset + (size_t) blockIdx.x * a.dk * a.dv + c;
    float v = a.v[at + head * a.dv + c];
    for (int i = 0; i < a.dk; i++) {
      float s = k[i] * v;
      if (!first)
        s = fmaf (decay[i], S[(size_t) i * a.dv], s);
      S[(size_t) i * a.dv] = s;
      o = fmaf (q[i], s, o);
    }
    o *= a.scale;
  }
  float rms = rsqrtf (sum_block (o * o, sums) / (float) a.dv + a.eps);
  if (c < a.dv)
    static_cast<T *> (a.o)[(row * a.heads + head) * a.dv + c] =
        vig_from_float<T> (sigmoid (a.gate[at + head * a.dv + c]) * (o * rms * a.g_norm[c]));
}

template <typename T>
static __global__ void
memory_step (VigMemoryStep a)
{
  float *q = vig_shared<float> (), *k = q + a.dk, *decay = k + a.dk, *sums = decay + a.dk;
  for (int first = (int) blockIdx.y; first < a.batch; first += (int) gridDim.y)
    if (!goes_on (a.state, first, a.batch)) {
      one_step<T> (a, first, q, k, decay, sums);
      for (int b = first + 1; goes_on (a.state, b, a.batch); b++)
        one_step<T> (a, b, q, k, decay, sums);
    }
}

static void
vig_memory_step_cuda (void *ctx, const VigMemoryStep *a)
{
  VigCuda *cuda = static_cast<VigCuda *> (ctx);
  auto kernel = a->type == VIG_TYPE_BF16 ? memory_step<vig_bf16> : a->type == VIG_TYPE_F16 ? memory_step<vig_half>
      : memory_step<float>;
  int block = (a->dv + WARP - 1) / WARP * WARP;
  if (block > 1024) {
    vig_cuda_fail (cuda, "memory_step: expected heads of at most 1024 value channels, found %d", a->dv);
    return;
  }
  vig_cuda_ok (cuda, VIG_LAUNCH (kernel, dim3 ((unsigned) (a->cells * a->heads), at_most_grid (a->batch)), block,
      (3 * a->dk + block / WARP) * sizeof (float), cuda->stream, *a), "launching memory_step");
}

/* ---- difference ---------------------------------------------------------------------------------------------------- */

static __device__ __forceinline__ float
limited (float now, float before, float gain, float limit)
{
  return fminf (fmaxf (gain * (now - before), -limit), limit);
}

template <bool wide>
static __global__ void
__launch_bounds__ (THREADS) difference (VigDifference a)
{
  int i = 4 * (int) (blockIdx.x * THREADS + threadIdx.x), left = a.size - i;
  if (left <= 0)
    return;
  for (int first = (int) blockIdx.y; first < a.batch; first += (int) gridDim.y) {
    if (goes_on (a.state, first, a.batch))
      continue;
    float *memory = a.state[first] + a.offset + i;
    float4 before = a.elapsed[first] < 0 ? make_float4 (0, 0, 0, 0) : load4<wide> (memory, left);
    for (int b = first; b == first || goes_on (a.state, b, a.batch); b++) {
      float4 now = load4<wide> (a.x + (size_t) b * a.size + i, left);
      float *y = a.y + (size_t) b * 2 * a.size + i;
      if (a.elapsed[b] < 0)
        before = now;
      store4<wide> (y, left, now);
      store4<wide> (y + a.size, left, make_float4 (limited (now.x, before.x, a.gain, a.limit),
          limited (now.y, before.y, a.gain, a.limit), limited (now.z, before.z, a.gain, a.limit),
          limited (now.w, before.w, a.gain, a.limit)));
      before = now;
    }
    store4<wide> (memory, left, before);
  }
}

static void
vig_difference_cuda (void *ctx, const VigDifference *a)
{
  VigCuda *cuda = static_cast<VigCuda *> (ctx);
  /* where states lie only the device knows: they are memory of its own, and so on 16 bytes if the offset is */
  bool wide = a->size % 4 == 0 && a->offset % 4 == 0 && (uintptr_t) a->x % 16 == 0 && (uintptr_t) a->y % 16 == 0;
  vig_cuda_ok (cuda, VIG_LAUNCH (wide ? difference<true> : difference<false>,
      dim3 (blocks ((size_t) a->size, 4 * THREADS), at_most_grid (a->batch)), THREADS, 0, cuda->stream, *a),
      "launching difference");
}

void
vig_cuda_use_time (VigKernels *k)
{
  k->dwconv3x3x3 = vig_dwconv3x3x3_cuda;
  k->add_boundary = vig_add_boundary_cuda;
  k->cell_mean = vig_cell_mean_cuda;
  k->cell_add = vig_cell_add_cuda;
  k->memory_step = vig_memory_step_cuda;
  k->difference = vig_difference_cuda;
}
