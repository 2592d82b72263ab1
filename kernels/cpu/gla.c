/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Gated linear attention, four tokens at a time; compiled once for each instruction set.
 *
 * The recurrence S <- diag(d) S + k v^T, o = q^T S costs three operations on all of S [DK, DV] for each token. Unrolled
 * over the four tokens 1..4 of a chunk (in the order of the direction; d_i = exp gk_i, products elementwise over DK):
 *   o_i = (q_i d_1 .. d_i)^T S + sum over j <= i of A_ij v_j,   A_ij = sum over DK of q_i k_j d_(j+1) .. d_i
 *   S   = diag(d_1 .. d_4) S + sum over j of (k_j d_(j+1) .. d_4) v_j^T
 * that is nine operations on each vector of S for four tokens instead of twelve, and one load and store instead of four.
 * Every factor is a product of decays, each at most 1: no gate, however strong, can overflow, and nothing is divided.
 *
 * An item of work is a part of a head's DV columns over all tokens, forward and then backward, so that o is the sum of both
 * without anybody waiting. Columns do not depend on each other: how they are cut changes no bits.
 */
#include <math.h>

#include "cpu/cpu.h"
#include "cpu/vec.h"

enum {
  T = 4,          /* tokens in a chunk */
  SV = 2,         /* vectors in a slice of DV, the unit of the inner loop */
  SLICE = SV * VW
};

/* Factors of a chunk, [DK] each, DK rounded up to whole vectors. */
typedef struct {
  float *decay;    /* d_1 .. d_4 */
  float *q[T], *k[T];
  float A[T][T];
} Chunk;

typedef struct {
  const VigGlaBidir *a;
  VigCpu *cpu;
  int slices;    /* of a head */
  int parts;     /* items a head is cut into */
} Job;

/* Token i of the chunk that starts at token t; tokens beyond n are ones that do nothing: q = k = 0, d = 1. */
static inline Vec
chunk_get (const float *p, ptrdiff_t row, int t, int step, int i, int n, int r, int dk)
{
  return i < n ? v_get_f (p + (t + i * step) * row + r, dk - r) : v_set (0);
}

static void
chunk_factors (const VigGlaBidir *a, const float *q, const float *k, const float *gk, int t, int step, int n, Chunk *f)
{
  Vec sum[T][T];
  for (int i = 0; i < T; i++)
    for (int j = 0; j <= i; j++)
      sum[i][j] = v_set (0);

  for (int r = 0; r < a->dk; r += VW) {
    Vec d[T], kt[T];
    for (int i = 0; i < T; i++) {
      d[i] = v_exp (chunk_get (gk, a->gk_row, t, step, i, n, r, a->dk));
      kt[i] = chunk_get (k, a->row, t, step, i, n, r, a->dk);
    }
    for (int i = 0; i < T; i++) {
      Vec qd = chunk_get (q, a->row, t, step, i, n, r, a->dk);
      for (int j = i; j >= 0; j--) {
        sum[i][j] = v_fma (qd, kt[j], sum[i][j]);
        qd = v_mul (qd, d[j]);
      }
      v_store (f->q[i] + r, qd);
    }
    Vec rest = d[T - 1];
    v_store (f->k[T - 1] + r, kt[T - 1]);
    for (int j = T - 2; j >= 0; j--) {
      v_store (f->k[j] + r, v_mul (kt[j], rest));
      rest = v_mul (rest, d[j]);
    }
    v_store (f->decay + r, rest);
  }
  for (int i = 0; i < T; i++)
    for (int j = 0; j <= i; j++)
      f->A[i][j] = v_sum (sum[i][j]);
}

/* The chunk's work on one slice of S [DK, SLICE]. v and o point at the slice's columns of token 0, of which `columns`
 * exist. add: o already holds the other direction's part; scale: what the sum is multiplied with. */
static inline void
chunk_slice (const VigGlaBidir *a, const Chunk *f, float *S, const float *v, float *o, int t, int step, int n,
    int columns, bool add, float scale)
{
  ptrdiff_t o_row = (ptrdiff_t) a->heads * a->dv;
  Vec vt[T][SV], ot[T][SV];
  for (int i = 0; i < T; i++)
    for (int s = 0; s < SV; s++) {
      int left = columns - s * VW;
      vt[i][s] = i < n && left > 0 ? v_get_f (v + (t + i * step) * a->row + s * VW, left) : v_set (0);
      ot[i][s] = v_set (0);
    }

  for (int r = 0; r < a->dk; r++) {
    Vec decay = v_set (f->decay[r]);
    Vec old[SV], new[SV];
    for (int s = 0; s < SV; s++) {
      old[s] = v_load (S + (r * SV + s) * VW);
      new[s] = v_mul (decay, old[s]);
    }
    for (int i = 0; i < T; i++) {
      Vec q = v_set (f->q[i][r]), k = v_set (f->k[i][r]);
      for (int s = 0; s < SV; s++) {
        ot[i][s] = v_fma (q, old[s], ot[i][s]);
        new[s] = v_fma (k, vt[i][s], new[s]);
      }
    }
    for (int s = 0; s < SV; s++)
      v_store (S + (r * SV + s) * VW, new[s]);
  }

  for (int i = 0; i < n; i++)
    for (int s = 0; s < SV && s * VW < columns; s++) {
      float *to = o + (t + i * step) * o_row + s * VW;
      int left = columns - s * VW;
      Vec sum = ot[i][s];
      for (int j = 0; j <= i; j++)
        sum = v_fma (v_set (f->A[i][j]), vt[j][s], sum);
      if (add)
        sum = v_add (v_get_f (to, left), sum);
      v_put (to, 0, VIG_TYPE_F32, left, v_mul (sum, v_set (scale)));
    }
}

/* Slices of S [DK, DV] in memory and as the scan uses them: [slice][DK, SLICE], zeros beyond DV. */
static void
state_load (const VigGlaBidir *a, int first, int end, const float *state, float *S)
{
  for (int slice = first; slice < end; slice++)
    for (int r = 0; r < a->dk; r++)
      for (int c = 0; c < SLICE; c++, S++) {
        int column = slice * SLICE + c;
        *S = state && column < a->dv ? state[r * a->dv + column] : 0;
      }
}

static void
state_store (const VigGlaBidir *a, int first, int end, const float *S, float *state)
{
  for (int slice = first; slice < end; slice++)
    for (int r = 0; r < a->dk; r++)
      for (int c = 0; c < SLICE; c++, S++)
        if (slice * SLICE + c < a->dv)
          state[r * a->dv + slice * SLICE + c] = *S;
}

/* One direction over all tokens; q, k, v, gk, o point at the head's channels of token 0. */
static void
scan (const VigGlaBidir *a, const float *q, const float *k, const float *v, const float *gk, float *o, int first, int end,
    int step, bool add, float scale, Chunk *f, float *S)
{
  for (int done = 0; done < a->tokens; done += T) {
    int t = step > 0 ? done : a->tokens - 1 - done, n = a->tokens - done < T ? a->tokens - done : T;
    chunk_factors (a, q, k, gk, t, step, n, f);
    for (int slice = first; slice < end; slice++) {
      int columns = a->dv - slice * SLICE;
      float *part = S + (size_t) (slice - first) * a->dk * SLICE;
      if (columns >= SLICE && n == T) /* constants for the compiler */
        chunk_slice (a, f, part, v + slice * SLICE, o + slice * SLICE, t, step, T, SLICE, add, scale);
      else
        chunk_slice (a, f, part, v + slice * SLICE, o + slice * SLICE, t, step, n, columns, add, scale);
    }
  }
}

static void
gla_work (const void *data, int item, int thread)
{
  const Job *job = data;
  const VigGlaBidir *a = job->a;
  int part = item % job->parts, j = item / job->parts % a->heads, b = item / job->parts / a->heads;
  int first = job->slices * part / job->parts, end = job->slices * (part + 1) / job->parts;
  size_t padded = (size_t) (a->dk + VW - 1) / VW * VW, state = ((size_t) b * a->heads + j) * a->dk * a->dv;

  float *scratch = job->cpu->scratch[thread];
  Chunk f = { .decay = scratch };
  for (int i = 0; i < T; i++) {
    f.q[i] = scratch + padded * (1 + i);
    f.k[i] = scratch + padded * (1 + T + i);
  }
  float *S = scratch + padded * (1 + 2 * T);

  size_t token = (size_t) b * a->tokens;
  const float *q = a->q + token * a->row + j * a->dk, *k = a->k + token * a->row + j * a->dk;
  const float *v = a->v + token * a->row + j * a->dv;
  float *o = a->o + (token * a->heads + j) * a->dv;

  for (int backward = 0; backward < 2; backward++) {
    const float *gk = backward ? a->gk_bw : a->gk_fw, *from = backward ? a->state_bw : a->state_fw;
    float *to = backward ? a->end_bw : a->end_fw;
    bool add = backward && a->gk_fw, last = backward || !a->gk_bw;
    if (!gk)
      continue;
    state_load (a, first, end, from ? from + state : NULL, S);
    scan (a, q, k, v, gk + token * a->gk_row + j * a->dk, o, first, end, backward ? -1 : 1, add, last ? a->scale : 1,
        &f, S);
    if (to)
      state_store (a, first, end, S, to + state);
  }
}

void VARIANT (vig_gla_bidir) (void *ctx, const VigGlaBidir *a);

void
VARIANT (vig_gla_bidir) (void *ctx, const VigGlaBidir *a)
{
  VigCpu *cpu = ctx;
  Job job = { .a = a, .cpu = cpu, .slices = (a->dv + SLICE - 1) / SLICE, .parts = 1 };
  size_t padded = (size_t) (a->dk + VW - 1) / VW * VW;
  if (!vig_cpu_scratch (cpu, sizeof (float) * (padded * (1 + 2 * T) + (size_t) job.slices * a->dk * SLICE)))
    return;
  /* few heads: cut them, though each part computes the factors again */
  if (a->batch * a->heads < 2 * cpu->n_threads && a->batch * a->heads % cpu->n_threads)
    job.parts = job.slices;
  vig_pool_run (cpu->pool, a->batch * a->heads * job.parts, gla_work, &job);
}
