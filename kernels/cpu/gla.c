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
 * An item of work is a head, forward and then backward, so that the second direction adds to what the first has left in o.
 * Too few heads for the threads: the directions become items of their own, backward into a buffer that is added at the
 * end; still too few: each is cut along DV, and every part computes the factors again. None of this changes a sum.
 *
 * Measured (a token of a head in one direction is a step; state 32 x 64, 196 tokens, 3 heads, both directions; one thread
 * on a Zen 4 core, best of 31):
 *   avx512 122 us, 9.7 Mstep/s; avx2 142 us; two threads 89 us. The nine operations alone would take 93 us at the
 *   rate at which matmul runs there (3.65 G multiply-adds of 16 floats a second).
 *   check-kernels --bench --kernel gla_bidir --threads 1
 */
#include <math.h>

#include "cpu/cpu.h"
#include "cpu/vec.h"

enum {
  T = 4,          /* tokens in a chunk */
  SV = 2,         /* vectors in a slice of DV, the unit of the inner loop */
  SLICE = SV * VW,
  AHEAD = 2 * T   /* tokens to prefetch */
};

/* Factors of a chunk, [DK] each, DK rounded up to whole vectors. */
typedef struct {
  float *decay;    /* d_1 .. d_4 */
  float *q[T], *k[T];
  float A[12];     /* A_ij at i (i + 1) / 2 + j, counted from 0; two zeros */
} Chunk;

typedef struct {
  const VigGlaBidir *a;
  VigCpu *cpu;
  int slices;    /* of a head */
  int parts;     /* items the slices of a head are cut into */
  float *apart;  /* [B, L, H * DV] for o_bw if the directions are items of their own, else NULL */
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
  Vec sum[12];
  for (int i = 0; i < 12; i++)
    sum[i] = v_set (0);

  for (int r = 0; r < a->dk; r += VW) {
    Vec d[T], kt[T];
    for (int i = 0; i < T; i++) {
      d[i] = v_exp (chunk_get (gk, a->gk_row, t, step, i, n, r, a->dk));
      kt[i] = chunk_get (k, a->row, t, step, i, n, r, a->dk);
    }
    for (int i = 0; i < T; i++) {
      Vec qd = chunk_get (q, a->row, t, step, i, n, r, a->dk);
      for (int j = i; j >= 0; j--) {
        sum[i * (i + 1) / 2 + j] = v_fma (qd, kt[j], sum[i * (i + 1) / 2 + j]);
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
  for (int i = 0; i < 12; i += 4)
    v_sum4 (sum[i], sum[i + 1], sum[i + 2], sum[i + 3], f->A + i);
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
        sum = v_fma (v_set (f->A[i * (i + 1) / 2 + j]), vt[j][s], sum);
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

static inline void
prefetch_run (const float *p, int n)
{
  for (int i = 0; i < n; i += 16)
    __builtin_prefetch (p + i);
}

/* A head's numbers lie a row apart, too far for the hardware to see a pattern. */
static inline void
prefetch (const VigGlaBidir *a, const float *q, const float *k, const float *v, const float *gk, const float *o, int done,
    int first, int end, int step)
{
  for (int i = done + AHEAD; i < done + AHEAD + T && i < a->tokens; i++) {
    int t = step > 0 ? i : a->tokens - 1 - i;
    prefetch_run (q + t * a->row, a->dk);
    prefetch_run (k + t * a->row, a->dk);
    prefetch_run (gk + t * a->gk_row, a->dk);
    prefetch_run (v + t * a->row + first * SLICE, (end - first) * SLICE);
    prefetch_run (o + (ptrdiff_t) t * a->heads * a->dv + first * SLICE, (end - first) * SLICE);
  }
}

/* One direction over all tokens; q, k, v, gk, o point at the head's channels of token 0. */
static void
scan (const VigGlaBidir *a, const float *q, const float *k, const float *v, const float *gk, float *o, int first, int end,
    int step, bool add, float scale, Chunk *f, float *S)
{
  for (int done = 0; done < a->tokens; done += T) {
    int t = step > 0 ? done : a->tokens - 1 - done, n = a->tokens - done < T ? a->tokens - done : T;
    prefetch (a, q, k, v, gk, o, done, first, end, step);
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

/* Adds up the directions where they were apart. */
static void
add_work (const void *data, int item, int thread)
{
  const Job *job = data;
  const VigGlaBidir *a = job->a;
  int n = a->heads * a->dv;
  size_t row = (size_t) item * n;
  for (int c = 0; c < n; c += VW) {
    Vec sum = v_add (v_get_f (a->o + row + c, n - c), v_get_f (job->apart + row + c, n - c));
    v_put (a->o, row + c, VIG_TYPE_F32, n - c, v_mul (sum, v_set (a->scale)));
  }
}

/* Slices first .. end - 1 of head j of item b in one direction. */
static void
direction (const Job *job, bool backward, int b, int j, int first, int end, float *scratch)
{
  const VigGlaBidir *a = job->a;
  const float *gk = backward ? a->gk_bw : a->gk_fw, *from = backward ? a->state_bw : a->state_fw;
  float *to = backward ? a->end_bw : a->end_fw, *out = backward && job->apart ? job->apart : a->o;
  bool add = backward && a->gk_fw && !job->apart, last = !job->apart && (backward || !a->gk_bw);
  size_t padded = (size_t) (a->dk + VW - 1) / VW * VW, state = ((size_t) b * a->heads + j) * a->dk * a->dv;
  size_t token = (size_t) b * a->tokens;

  Chunk f = { .decay = scratch };
  for (int i = 0; i < T; i++) {
    f.q[i] = scratch + padded * (1 + i);
    f.k[i] = scratch + padded * (1 + T + i);
  }
  float *S = scratch + padded * (1 + 2 * T);
  state_load (a, first, end, from ? from + state : NULL, S);
  scan (a, a->q + token * a->row + j * a->dk, a->k + token * a->row + j * a->dk, a->v + token * a->row + j * a->dv,
      gk + token * a->gk_row + j * a->dk, out + (token * a->heads + j) * a->dv, first, end, backward ? -1 : 1, add,
      last ? a->scale : 1, &f, S);
  if (to)
    state_store (a, first, end, S, to + state);
}

static void
gla_work (const void *data, int item, int thread)
{
  const Job *job = data;
  const VigGlaBidir *a = job->a;
  int n_directions = job->apart ? 2 : 1, which = item % n_directions;
  item /= n_directions;
  int part = item % job->parts, j = item / job->parts % a->heads, b = item / job->parts / a->heads;
  int first = job->slices * part / job->parts, end = job->slices * (part + 1) / job->parts;
  float *scratch = job->cpu->scratch[thread];

  if (a->gk_fw && which == 0)
    direction (job, false, b, j, first, end, scratch);
  if (a->gk_bw && which == n_directions - 1)
    direction (job, true, b, j, first, end, scratch);
}

void VARIANT (vig_gla_bidir) (void *ctx, const VigGlaBidir *a);

void
VARIANT (vig_gla_bidir) (void *ctx, const VigGlaBidir *a)
{
  VigCpu *cpu = ctx;
  Job job = { .a = a, .cpu = cpu, .slices = (a->dv + SLICE - 1) / SLICE, .parts = 1 };
  size_t padded = (size_t) (a->dk + VW - 1) / VW * VW;
  int heads = a->batch * a->heads;
  if (!vig_cpu_scratch (cpu, sizeof (float) * (padded * (1 + 2 * T) + (size_t) job.slices * a->dk * SLICE)))
    return;
  if (cpu->n_threads > 1 && heads < 2 * cpu->n_threads && heads % cpu->n_threads && a->gk_fw && a->gk_bw &&
      !(job.apart = vig_cpu_buffer (cpu, sizeof (float) * a->batch * a->tokens * a->heads * a->dv)))
    return;
  if (heads * (job.apart ? 2 : 1) < cpu->n_threads)
    job.parts = job.slices;
  vig_pool_run (cpu->pool, heads * job.parts * (job.apart ? 2 : 1), gla_work, &job);
  if (job.apart)
    vig_pool_run (cpu->pool, a->batch * a->tokens, add_work, &job);
}
