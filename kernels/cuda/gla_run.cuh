/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the files of the operator gla share (gla_run.cu chooses and launches). Never run on a GPU. */
#ifndef VIG_GLA_RUN_CUH
#define VIG_GLA_RUN_CUH

#include "cuda/cuda.h"
#include "cuda/rows.cuh"

/* Sequences of one length that are computed at once, in memory that gla_run.cu lays out. Tensors of S in it are cut into
 * tiles [VALUES][KEYS] of S^T: [key slices][value slices] of them are a head's, whatever DK and DV. */
enum { CHUNK = 64 /* tokens */, KEYS = 32, VALUES = 64, TILE = KEYS * VALUES };

typedef struct {
  VigGlaRun a;               /* not ragged: a sequence of those is a batch of its own */
  int directions, key_slices, value_slices;
  int chunks, piece, pieces; /* chunks of a sequence (0: by token); of each piece of it but the last; how many pieces */
  bool wide;                 /* q, k, v: eight channels that begin at a multiple of eight lie on a boundary of 16 bytes */
  bool pairs;                /* o_*: two that begin at an even one are one access */
  void *before;              /* S before each chunk: [B * H, directions, chunks] of f32; of bf16 if q, k, v have 16 bits */
  /* Of pieces, if there are several: each then begins from 0, and so before is what its own tokens left. */
  float *own;                /* what a piece leaves, then S before it: [B * H, directions, pieces] */
  float *sums;               /* of a piece's log decays: [B * H, directions, pieces, key slices, KEYS] */
  float *gone;               /* of those before a chunk in its piece: [B * H, directions, chunks, key slices, KEYS] */
  float *between;            /* by token: what the first direction leaves to the second, [B, L, H, DV]; NULL: o_sum does */
} VigGlaJob;

/* Whether direction number i of the job goes backward. */
static __host__ __device__ __forceinline__ bool
goes_backward (const VigGlaRun &a, int i)
{
  return i || !a.forward;
}

static __device__ __forceinline__ float
get (const void *p, ptrdiff_t i, VigType type)
{
  switch (type) {
    case VIG_TYPE_BF16: return vig_to_float (static_cast<const vig_bf16 *> (p)[i]);
    case VIG_TYPE_F16: return vig_to_float (static_cast<const vig_half *> (p)[i]);
    default: return static_cast<const float *> (p)[i];
  }
}

static __device__ __forceinline__ void
put (void *p, ptrdiff_t i, VigType type, float x)
{
  switch (type) {
    case VIG_TYPE_BF16: static_cast<vig_bf16 *> (p)[i] = vig_from_float<vig_bf16> (x); break;
    case VIG_TYPE_F16: static_cast<vig_half *> (p)[i] = vig_from_float<vig_half> (x); break;
    default: static_cast<float *> (p)[i] = x; break;
  }
}

/* Where a head of token 0 of a sequence begins. */
static __device__ __forceinline__ ptrdiff_t
place (VigStrides at, int b, int head)
{
  return b * at.sequence + head * at.head;
}

/* exp g = high + low, to more digits than a float has where it is near 1: a state that remembers 65,536 tokens is
 * multiplied with it as often. */
static __device__ __forceinline__ float2
decay_parts (float g)
{
  const bool near_1 = fabsf (g) < 0.35f;
  const float less = expm1f (near_1 ? g : 0), high = near_1 ? 1 + less : expf (g);
  return make_float2 (high, near_1 ? less - (high - 1) : 0);
}

/* The files behind gla_run.cu. */
void vig_cuda_gla_tokens (VigCuda *cuda, const VigGlaJob *job, cudaStream_t stream);
void vig_cuda_gla_chunks (VigCuda *cuda, const VigGlaJob *job, cudaStream_t stream); /* pieces above 1: SPLIT */

#endif
