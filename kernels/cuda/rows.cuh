/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What kernels that work on rows of channels share. Never run on a GPU. */
#ifndef VIG_ROWS_CUH
#define VIG_ROWS_CUH

#include "cuda/device.cuh"

extern "C" {
#include "kernels.h"
}

enum { WARP = 32, ALL = 0xffffffff };

/* p[0 .. 3]; where only `left` are there and the access is not wide, the rest is `none`. */
template <bool wide, typename T>
static __device__ __forceinline__ float4
load4 (const T *p, int left, float none = 0)
{
  if (wide)
    return vig_load4 (p);
  return make_float4 (vig_to_float (p[0]), left > 1 ? vig_to_float (p[1]) : none, left > 2 ? vig_to_float (p[2]) : none,
      left > 3 ? vig_to_float (p[3]) : none);
}

template <bool wide, typename T>
static __device__ __forceinline__ void
store4 (T *p, int left, float4 f)
{
  if (wide) {
    vig_store4 (p, f);
    return;
  }
  p[0] = vig_from_float<T> (f.x);
  if (left > 1)
    p[1] = vig_from_float<T> (f.y);
  if (left > 2)
    p[2] = vig_from_float<T> (f.z);
  if (left > 3)
    p[3] = vig_from_float<T> (f.w);
}

/* a * b + c */
static __device__ __forceinline__ float4
fma4 (float4 a, float4 b, float4 c)
{
  return make_float4 (fmaf (a.x, b.x, c.x), fmaf (a.y, b.y, c.y), fmaf (a.z, b.z, c.z), fmaf (a.w, b.w, c.w));
}

/* a . b + c, in order */
static __device__ __forceinline__ float
dot4 (float4 a, float4 b, float c)
{
  return fmaf (a.w, b.w, fmaf (a.z, b.z, fmaf (a.y, b.y, fmaf (a.x, b.x, c))));
}

template <typename F>
static __device__ __forceinline__ float4
map4 (float4 v, F f)
{
  return make_float4 (f (v.x), f (v.y), f (v.z), f (v.w));
}

/* Over groups of `lanes` neighbours, a power of two; every lane gets the same bits. The whole warp comes here. */
static __device__ __forceinline__ float
sum_lanes (float x, int lanes = WARP)
{
  for (int d = lanes / 2; d; d /= 2)
    x += __shfl_xor_sync (ALL, x, d);
  return x;
}

static __device__ __forceinline__ float
max_lanes (float x)
{
  for (int d = WARP / 2; d; d /= 2)
    x = fmaxf (x, __shfl_xor_sync (ALL, x, d));
  return x;
}

/* d [16, 8] += a [16, 16] b [16, 8] of either type */
static __device__ __forceinline__ void
multiply (float d[4], const uint32_t a[4], const uint32_t b[2], vig_bf16)
{
  vig_mma_m16n8k16_bf16 (d, a, b);
}

static __device__ __forceinline__ void
multiply (float d[4], const uint32_t a[4], const uint32_t b[2], vig_half)
{
  vig_mma_m16n8k16_f16 (d, a, b);
}

static __device__ __forceinline__ float
sigmoid (float x)
{
  return 1 / (1 + expf (-x));
}

static __device__ __forceinline__ float
act (VigAct a, float x)
{
  switch (a) {
    case VIG_ACT_SILU: return x * sigmoid (x);
    case VIG_ACT_GELU: return 0.5f * x * erfcf (-x * 0.70710678118654752f);
    default: return x;
  }
}

#endif
