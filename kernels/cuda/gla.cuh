/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the kernels of gated linear attention share: products of fp32 numbers on tensor cores. Never run on a GPU. */
#ifndef VIG_GLA_CUH
#define VIG_GLA_CUH

#include "cuda/device.cuh"

#define ALL_LANES 0xffffffffu

/* fp32 as two numbers of 11 bits; what is lost is below 2^-21 of x. An infinity becomes a NaN. */
struct Split {
  uint32_t high, low;
};

static __device__ __forceinline__ Split
split (float x)
{
  uint32_t high = (__float_as_uint (x) + 0x1000) & 0xffffe000;
  return { high, __float_as_uint (x - __uint_as_float (high)) & 0xffffe000 };
}

/* d [16, 8] += a [16, 8] b [8, 8] to fp32's precision: three products of tensor cores, the small ones first. */
static __device__ __forceinline__ void
multiply (float d[4], const Split a[4], Split b0, Split b1)
{
  uint32_t high[4] = { a[0].high, a[1].high, a[2].high, a[3].high };
  uint32_t low[4] = { a[0].low, a[1].low, a[2].low, a[3].low };
  uint32_t b_high[2] = { b0.high, b1.high }, b_low[2] = { b0.low, b1.low };
  vig_mma_m16n8k8_tf32 (d, low, b_high);
  vig_mma_m16n8k8_tf32 (d, high, b_low);
  vig_mma_m16n8k8_tf32 (d, high, b_high);
}

/* N sums over LANES lanes: in each round a lane gives half of them to its partner and takes the other half, as long as
 * it has more than one. With K = N / LANES left to each, value i is then in x[i % K] of lane i / K (K below 1: in x[0] of
 * 1 / K lanes). */
template <int LANES, int N>
static __device__ __forceinline__ void
sum_over_lanes (float *x, int lane)
{
  if constexpr (LANES > 1) {
    constexpr int M = LANES / 2, HALF = N / 2;
    bool upper = lane & M;
    if constexpr (N > 1) {
#pragma unroll
      for (int i = 0; i < HALF; i++) {
        float keep = upper ? x[HALF + i] : x[i], give = upper ? x[i] : x[HALF + i];
        x[i] = keep + __shfl_xor_sync (ALL_LANES, give, M);
      }
    } else
      x[0] += __shfl_xor_sync (ALL_LANES, x[0], M);
    sum_over_lanes<M, (N > 1 ? HALF : 1)> (x, lane);
  }
}

#endif
