/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The operator gla token by token (docs/gla.md), for decoding: S is read once, kept in registers and written once.
 * Never run on a GPU: tested in the emulator (tests/cuda/) and compiled by nvcc 13.0.
 *
 * A block has 64 columns of one head's S. A thread has 4 columns of every 16th row, so that half a warp reads a row's 64
 * numbers at once, and all of its loads of S are on their way before the first is used: 16 KB of a state of 64 x 64, in
 * flight on 256 threads. The sums of a token go over the two rows of a warp and then, in shared memory, over 8 warps. The
 * directions follow each other in a block, whose threads add what they left themselves: in o_sum, or in f32 beside it.
 *
 * As on the CPU a decay is two floats, and of many tokens one by one what S lacks after each sum is added at the next.
 *
 * Grid: (B * H, slices of DV).
 */
#include "cuda/device.cuh"

#include "cuda/gla_run.cuh"

enum {
  THREADS = 256, WARPS = THREADS / WARP,
  ACROSS = VALUES / 4,         /* threads side by side */
  DOWN = THREADS / ACROSS,     /* one below the other */
  CAREFUL = 64                 /* tokens from which on what sums lose is kept */
};

/* q, k and the decay's two parts of a token, [4][rows] in shared memory; rows from DK on change nothing. */
static __device__ __forceinline__ void
load_token (const VigGlaRun &a, int b, int head, int t, const float *gates, int rows, float *shared)
{
  const ptrdiff_t q = place (a.q_at, b, head) + t * a.q_at.token, k = place (a.k_at, b, head) + t * a.k_at.token;
  const ptrdiff_t gate = place (a.gate_at, b, head) + t * a.gate_at.token;
  for (int r = (int) threadIdx.x; r < rows; r += THREADS) {
    const bool there = r < a.dk;
    const float2 decay = decay_parts (there && a.gate_width ? gates[gate + (a.gate_width > 1 ? r : 0)] : 0);
    shared[r] = there ? get (a.q, q + r, a.type) : 0;
    shared[rows + r] = there ? get (a.k, k + r, a.type) : 0;
    shared[2 * rows + r] = decay.x;
    shared[3 * rows + r] = decay.y;
  }
}

/* high S + y; *lost: what that lacks, for the next time */
static __device__ __forceinline__ float
add_carefully (float high, float S, float y, float *lost)
{
  y = fmaf (high, *lost, y);
  const float product = __fmul_rn (high, S), sum = __fadd_rn (product, y), of_y = __fadd_rn (sum, -product);
  *lost = __fadd_rn (__fadd_rn (__fadd_rn (product, -__fadd_rn (sum, -of_y)), __fadd_rn (y, -of_y)),
      fmaf (high, S, -product));
  return sum;
}

/* ROWS: of S, for each thread */
template <int ROWS, bool careful>
struct Tokens {
  float S[ROWS][4], lost[careful ? ROWS : 1][4];

  __device__ __forceinline__ void
  begin (const float *from, const VigGlaRun &a, int down, int left, bool wide)
  {
#pragma unroll
    for (int i = 0; i < ROWS; i++) {
      const int r = i * DOWN + down;
      float4 s = make_float4 (0, 0, 0, 0);
      if (from && r < a.dk && left > 0)
        s = wide ? vig_load4 (from + r * a.dv) : load4<false> (from + r * a.dv, left);
      S[i][0] = s.x, S[i][1] = s.y, S[i][2] = s.z, S[i][3] = s.w;
    }
    if (careful)
#pragma unroll
      for (int i = 0; i < ROWS; i++)
        lost[i][0] = lost[i][1] = lost[i][2] = lost[i][3] = 0;
  }

  __device__ __forceinline__ void
  end (float *to, const VigGlaRun &a, int down, int left, bool wide) const
  {
#pragma unroll
    for (int i = 0; i < ROWS; i++) {
      const int r = i * DOWN + down;
      const float4 s = make_float4 (S[i][0], S[i][1], S[i][2], S[i][3]);
      if (r >= a.dk || left <= 0)
        continue;
      if (wide)
        vig_store4 (to + r * a.dv, s);
      else
        store4<false> (to + r * a.dv, left, s);
    }
  }

  /* o [4]: this thread's part of q^T S after the token */
  __device__ __forceinline__ void
  step (const float *token, const float v[4], int down, float o[4])
  {
    enum { DK = ROWS * DOWN };
    o[0] = o[1] = o[2] = o[3] = 0;
#pragma unroll
    for (int i = 0; i < ROWS; i++) {
      const float *at = token + i * DOWN + down;
      const float q = at[0], k = at[DK], high = at[2 * DK], low = at[3 * DK];
#pragma unroll
      for (int c = 0; c < 4; c++) {
        const float x = fmaf (low, S[i][c], k * v[c]);
        S[i][c] = careful ? add_carefully (high, S[i][c], x, &lost[i][c]) : fmaf (high, S[i][c], x);
        o[c] = fmaf (q, S[i][c], o[c]);
      }
    }
  }
};

/* Column c's sum over the block; the directions are added up where it is known. */
static __device__ __forceinline__ void
put_output (const VigGlaJob &job, int b, int head, int t, int c, bool backward, float o)
{
  const VigGlaRun &a = job.a;
  const ptrdiff_t at = place (a.o_at, b, head) + t * a.o_at.token + c;
  void *own = backward ? a.o_bw : a.o_fw;
  const bool first = !backward || !a.forward, last = backward || !a.backward;
  o *= a.scale;
  if (own)
    put (own, at, a.o_type, o);
  if (!a.o_sum)
    return;
  float *sum = job.between ? job.between + (((size_t) b * a.tokens + t) * a.heads + head) * a.dv + c
      : a.o_type == VIG_TYPE_F32 ? static_cast<float *> (a.o_sum) + at : NULL;
  if (!first)
    o += *sum;
  if (last)
    put (a.o_sum, at, a.o_type, o);
  else
    *sum = o;
}

template <int ROWS, bool careful>
static __global__ void
__launch_bounds__ (THREADS) by_token (VigGlaJob job, bool wide)
{
  enum { DK = ROWS * DOWN };
  const VigGlaRun &a = job.a;
  const int b = (int) blockIdx.x / a.heads, head = (int) blockIdx.x % a.heads;
  const int warp = (int) threadIdx.x / WARP, lane = (int) threadIdx.x % WARP;
  const int down = (int) threadIdx.x / ACROSS, slice = (int) blockIdx.y * VALUES, first = slice + lane % ACROSS * 4;
  const int left = a.dv - first;
  const size_t state = (size_t) blockIdx.x * a.dk * a.dv + first;
  float *token = vig_shared<float> (), *sums = token + 4 * DK; /* [4][DK], [WARPS][VALUES] */
  Tokens<ROWS, careful> s;

  for (int direction = 0; direction < job.directions; direction++) {
    const bool backward = goes_backward (a, direction);
    const float *from = backward ? a.state_bw : a.state_fw;
    float *to = backward ? a.end_bw : a.end_fw;
    s.begin (from ? from + state : NULL, a, down, left, wide);
    for (int i = 0; i < a.tokens; i++) {
      const int t = backward ? a.tokens - 1 - i : i;
      const ptrdiff_t at_v = place (a.v_at, b, head) + t * a.v_at.token + first;
      float v[4], o[4];
      __syncthreads ();
      load_token (a, b, head, t, backward ? a.gate_bw : a.gate_fw, DK, token);
#pragma unroll
      for (int c = 0; c < 4; c++)
        v[c] = c < left ? get (a.v, at_v + c, a.type) : 0;
      __syncthreads ();
      s.step (token, v, down, o);
#pragma unroll
      for (int c = 0; c < 4; c++) {
        o[c] += __shfl_xor_sync (ALL, o[c], ACROSS);
        if (lane < ACROSS)
          sums[warp * VALUES + lane * 4 + c] = o[c];
      }
      __syncthreads ();
      if ((int) threadIdx.x < VALUES && slice + (int) threadIdx.x < a.dv) {
        float sum = 0;
#pragma unroll
        for (int w = 0; w < WARPS; w++)
          sum += sums[w * VALUES + threadIdx.x];
        put_output (job, b, head, t, slice + (int) threadIdx.x, backward, sum);
      }
    }
    if (to)
      s.end (to + state, a, down, left, wide);
  }
}

template <int ROWS>
static void
launch (VigCuda *cuda, const VigGlaJob *job, cudaStream_t stream)
{
  const VigGlaRun &a = job->a;
  const dim3 grid ((unsigned) a.batch * (unsigned) a.heads, (unsigned) job->value_slices);
  const size_t shared = sizeof (float) * (4 * ROWS * DOWN + WARPS * VALUES);
  const bool wide = a.dv % 4 == 0
      && ((uintptr_t) a.state_fw | (uintptr_t) a.state_bw | (uintptr_t) a.end_fw | (uintptr_t) a.end_bw) % 16 == 0;
  vig_cuda_ok (cuda, a.tokens < CAREFUL
      ? VIG_LAUNCH ((by_token<ROWS, false>), grid, THREADS, shared, stream, *job, wide)
      : VIG_LAUNCH ((by_token<ROWS, true>), grid, THREADS, shared, stream, *job, wide), "launching gla, token by token");
}

void
vig_cuda_gla_tokens (VigCuda *cuda, const VigGlaJob *job, cudaStream_t stream)
{
  if (job->a.dk <= 32)
    launch<2> (cuda, job, stream);
  else if (job->a.dk <= 64)
    launch<4> (cuda, job, stream);
  else if (job->a.dk <= 128)
    launch<8> (cuda, job, stream);
  else
    launch<16> (cuda, job, stream);
}
