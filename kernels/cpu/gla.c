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
 * With products of bf16, two such chunks become one: ten operations on each vector of S for eight tokens instead of
 * eighteen, since one instruction adds two products. S is rounded for q^T S only; S itself and all sums stay f32.
 *
 * Measured (a token of a head in one direction is a step; state 32 x 64, 196 tokens, 3 heads, both directions; one thread
 * on a Zen 4 core, best of 31):
 *   avx512 122 us, 9.7 Mstep/s; avx2 142 us; two threads 89 us. The nine operations alone would take 93 us at the
 *   rate at which matmul runs there (3.65 G multiply-adds of 16 floats a second).
 *   check-kernels --bench --kernel gla_bidir --threads 1
 * With products of bf16 (only where the machine multiplies bf16): 134 us where avx512 takes 163 us (a busy machine).
 *   check-kernels --bench --kernel gla_bidir_bf16 --threads 1
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

/* DK rounded up to whole vectors */
static inline int
padded_dk (const VigGlaBidir *a)
{
  return (a->dk + VW - 1) / VW * VW;
}

/* Floats that a direction of that many slices works in. */
static size_t
scan_scratch (int dk, int slices)
{
  int factors = 2 * (1 + 2 * T) + 1 + T + T; /* of two chunks, and of both together */
  return (size_t) ((dk + VW - 1) / VW * VW) * (factors + slices * SLICE);
}

/* Slices of S [DK, DV] in memory and as the scan uses them: [slice][padded DK, SLICE], zeros beyond DK and DV. */
static void
state_load (const VigGlaBidir *a, int first, int end, const float *state, float *S)
{
  for (int slice = first; slice < end; slice++)
    for (int r = 0; r < padded_dk (a); r++)
      for (int c = 0; c < SLICE; c++, S++) {
        int column = slice * SLICE + c;
        *S = state && r < a->dk && column < a->dv ? state[r * a->dv + column] : 0;
      }
}

static void
state_store (const VigGlaBidir *a, int first, int end, const float *S, float *state)
{
  for (int slice = first; slice < end; slice++)
    for (int r = 0; r < padded_dk (a); r++)
      for (int c = 0; c < SLICE; c++, S++)
        if (r < a->dk && slice * SLICE + c < a->dv)
          state[r * a->dv + slice * SLICE + c] = *S;
}

static inline void
prefetch_tokens (const VigGlaBidir *a, const float *q, const float *k, const float *v, const float *gk, const float *o,
    int done, int first, int end, int step)
{
  for (int i = done + AHEAD; i < done + AHEAD + T && i < a->tokens; i++) {
    int t = step > 0 ? i : a->tokens - 1 - i;
    prefetch (q, (size_t) (t * a->row), a->dk, VIG_TYPE_F32);
    prefetch (k, (size_t) (t * a->row), a->dk, VIG_TYPE_F32);
    prefetch (gk, (size_t) (t * a->gk_row), a->dk, VIG_TYPE_F32);
    prefetch (v, (size_t) (t * a->row + first * SLICE), (end - first) * SLICE, VIG_TYPE_F32);
    prefetch (o, (size_t) t * a->heads * a->dv + first * SLICE, (end - first) * SLICE, VIG_TYPE_F32);
  }
}

/* One direction over all tokens; q, k, v, gk, o point at the head's channels of token 0. */
static void
scan (const VigGlaBidir *a, const float *q, const float *k, const float *v, const float *gk, float *o, int first, int end,
    int step, bool add, float scale, Chunk *f, float *S)
{
  for (int done = 0; done < a->tokens; done += T) {
    int t = step > 0 ? done : a->tokens - 1 - done, n = a->tokens - done < T ? a->tokens - done : T;
    prefetch_tokens (a, q, k, v, gk, o, done, first, end, step);
    chunk_factors (a, q, k, gk, t, step, n, f);
    for (int slice = first; slice < end; slice++) {
      int columns = a->dv - slice * SLICE;
      float *part = S + (size_t) (slice - first) * padded_dk (a) * SLICE;
      if (columns >= SLICE && n == T) /* constants for the compiler */
        chunk_slice (a, f, part, v + slice * SLICE, o + slice * SLICE, t, step, T, SLICE, add, scale);
      else
        chunk_slice (a, f, part, v + slice * SLICE, o + slice * SLICE, t, step, n, columns, add, scale);
    }
  }
}

#if defined __AVX512BF16__

/* ---- with products of bf16: two chunks at a time, two factors of each sum in one instruction ---- */

/* Two chunks become one: with D the decay of a whole chunk, q_i of the second reaches S through D of the first, k_j of
 * the first is left with D of the second, and between them A_ij = sum over DK of q_i k_j. */
typedef struct {
  Chunk half[2];
  float *decay;
  uint16_t *q;             /* [2 T, padded DK] */
  uint32_t *k;             /* [T, padded DK]: of tokens 2 p and 2 p + 1 */
  uint16_t A[2 * T][2 * T]; /* 0 beyond the diagonal */
} Double;

/* a and b lane by lane as one pair of bf16 */
static inline __m512bh
pair (Vec a, Vec b)
{
  const __m512i lanes = _mm512_set_epi16 (31, 15, 30, 14, 29, 13, 28, 12, 27, 11, 26, 10, 25, 9, 24, 8, 23, 7, 22, 6, 21,
      5, 20, 4, 19, 3, 18, 2, 17, 1, 16, 0);
  return (__m512bh) _mm512_permutexvar_epi16 (lanes, (__m512i) _mm512_cvtne2ps_pbh (b, a));
}

static inline __m512bh
broadcast_pair (const void *p)
{
  int both;
  memcpy (&both, p, sizeof both);
  return (__m512bh) _mm512_set1_epi32 (both);
}

static void
double_factors (const VigGlaBidir *a, const float *q, const float *k, const float *gk, int t, int step, int n, Double *f)
{
  int padded = padded_dk (a);
  Vec sum[T * T];
  for (int i = 0; i < T * T; i++)
    sum[i] = v_set (0);

  chunk_factors (a, q, k, gk, t, step, n < T ? n : T, &f->half[0]);
  chunk_factors (a, q, k, gk, t + T * step, step, n < T ? 0 : n - T, &f->half[1]);
  for (int r = 0; r < padded; r += VW) {
    Vec d0 = v_load (f->half[0].decay + r), d1 = v_load (f->half[1].decay + r);
    v_store (f->decay + r, v_mul (d0, d1));
    Vec k0[T];
    for (int j = 0; j < T; j++)
      k0[j] = v_load (f->half[0].k[j] + r);
    for (int i = 0; i < T; i++) {
      Vec q1 = v_load (f->half[1].q[i] + r);
      for (int j = 0; j < T; j++)
        sum[i * T + j] = v_fma (q1, k0[j], sum[i * T + j]);
      v_store_16 (f->q + i * padded + r, v_to_bf16 (v_load (f->half[0].q[i] + r)));
      v_store_16 (f->q + (T + i) * padded + r, v_to_bf16 (v_mul (q1, d0)));
    }
    for (int p = 0; p < T / 2; p++) {
      _mm512_storeu_si512 (f->k + p * padded + r, (__m512i) pair (v_mul (k0[2 * p], d1), v_mul (k0[2 * p + 1], d1)));
      _mm512_storeu_si512 (f->k + (T / 2 + p) * padded + r,
          (__m512i) pair (v_load (f->half[1].k[2 * p] + r), v_load (f->half[1].k[2 * p + 1] + r)));
    }
  }
  for (int i = 0; i < T; i++) {
    float cross[T];
    v_sum4 (sum[i * T], sum[i * T + 1], sum[i * T + 2], sum[i * T + 3], cross);
    __mmask8 row = (__mmask8) ((2 << i) - 1);
    __m128 first = _mm_maskz_loadu_ps (row, f->half[0].A + i * (i + 1) / 2);
    __m128 second = _mm_maskz_loadu_ps (row, f->half[1].A + i * (i + 1) / 2);
    _mm_storeu_si128 ((__m128i *) f->A[i], (__m128i) _mm256_cvtneps_pbh (_mm256_zextps128_ps256 (first)));
    _mm_storeu_si128 ((__m128i *) f->A[T + i],
        (__m128i) _mm256_cvtneps_pbh (_mm256_set_m128 (second, _mm_loadu_ps (cross))));
  }
}

/* What tokens 2 p and 2 p + 1 give themselves and those after them. */
static inline __attribute__ ((always_inline)) void
double_within (const Double *f, int p, const __m512bh v[SV], Vec ot[2 * T][SV])
{
  for (int i = 2 * p; i < 2 * T; i++)
    for (int s = 0; s < SV; s++)
      ot[i][s] = _mm512_dpbf16_ps (ot[i][s], broadcast_pair (&f->A[i][2 * p]), v[s]);
}

/* As chunk_slice(). */
static inline __attribute__ ((always_inline)) void
double_slice (const VigGlaBidir *a, const Double *f, float *S, const float *v, float *o, int t, int step, int n,
    int columns, bool add, float scale)
{
  int padded = padded_dk (a);
  ptrdiff_t o_row = (ptrdiff_t) a->heads * a->dv;
  __m512bh vt[T][SV];
  Vec ot[2 * T][SV];
  for (int s = 0; s < SV; s++) {
    int left = columns - s * VW;
    for (int p = 0; p < T; p++) {
      Vec one[2];
      for (int i = 0; i < 2; i++)
        one[i] = 2 * p + i < n && left > 0 ? v_get_f (v + (t + (2 * p + i) * step) * a->row + s * VW, left) : v_set (0);
      vt[p][s] = pair (one[0], one[1]);
    }
    for (int i = 0; i < 2 * T; i++)
      ot[i][s] = v_set (0);
  }
  double_within (f, 0, vt[0], ot); /* one by one: a loop around it is not unrolled, and ot leaves the registers */
  double_within (f, 1, vt[1], ot);
  double_within (f, 2, vt[2], ot);
  double_within (f, 3, vt[3], ot);

  for (int r = 0; r < padded; r += 2) {
    Vec new[2][SV];
    __m512bh old[SV];
    for (int s = 0; s < SV; s++) {
      for (int i = 0; i < 2; i++)
        new[i][s] = v_load (S + ((r + i) * SV + s) * VW);
      old[s] = pair (new[0][s], new[1][s]);
      for (int i = 0; i < 2; i++)
        new[i][s] = v_mul (new[i][s], v_set (f->decay[r + i]));
    }
    for (int i = 0; i < 2 * T; i++) {
      __m512bh q = broadcast_pair (f->q + i * padded + r);
      for (int s = 0; s < SV; s++)
        ot[i][s] = _mm512_dpbf16_ps (ot[i][s], q, old[s]);
    }
    for (int p = 0; p < T; p++)
      for (int i = 0; i < 2; i++) {
        __m512bh k = broadcast_pair (f->k + p * padded + r + i);
        for (int s = 0; s < SV; s++)
          new[i][s] = _mm512_dpbf16_ps (new[i][s], k, vt[p][s]);
      }
    for (int i = 0; i < 2; i++)
      for (int s = 0; s < SV; s++)
        v_store (S + ((r + i) * SV + s) * VW, new[i][s]);
  }

  for (int i = 0; i < 2 * T; i++)
    for (int s = 0; s < SV; s++) {
      float *to = o + (t + i * step) * o_row + s * VW;
      int left = columns - s * VW;
      if (i < n && left > 0)
        v_put (to, 0, VIG_TYPE_F32, left, v_mul (add ? v_add (v_get_f (to, left), ot[i][s]) : ot[i][s], v_set (scale)));
    }
}

static void
scan_bf16 (const VigGlaBidir *a, const float *q, const float *k, const float *v, const float *gk, float *o, int first,
    int end, int step, bool add, float scale, Double *f, float *S)
{
  for (int done = 0; done < a->tokens; done += 2 * T) {
    int t = step > 0 ? done : a->tokens - 1 - done, n = a->tokens - done < 2 * T ? a->tokens - done : 2 * T;
    prefetch_tokens (a, q, k, v, gk, o, done, first, end, step);
    prefetch_tokens (a, q, k, v, gk, o, done + T, first, end, step);
    double_factors (a, q, k, gk, t, step, n, f);
    for (int slice = first; slice < end; slice++) {
      int columns = a->dv - slice * SLICE;
      float *part = S + (size_t) (slice - first) * padded_dk (a) * SLICE;
      if (columns >= SLICE && n == 2 * T) /* constants for the compiler */
        double_slice (a, f, part, v + slice * SLICE, o + slice * SLICE, t, step, 2 * T, SLICE, add, scale);
      else
        double_slice (a, f, part, v + slice * SLICE, o + slice * SLICE, t, step, n, columns, add, scale);
    }
  }
}

#endif

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

/* A chunk with its factors at *memory, which moves on. */
static Chunk
chunk_in (const VigGlaBidir *a, float **memory)
{
  Chunk f = { .decay = *memory };
  *memory += padded_dk (a);
  for (int i = 0; i < T; i++, *memory += 2 * padded_dk (a)) {
    f.q[i] = *memory;
    f.k[i] = *memory + padded_dk (a);
  }
  return f;
}

/* Slices first .. end - 1 of head j of item b in one direction, from the state in scratch on, which goes on from there. */
static void
walk (const Job *job, bool backward, int b, int j, int first, int end, float *scratch)
{
  const VigGlaBidir *a = job->a;
  const float *gk = backward ? a->gk_bw : a->gk_fw;
  float *out = backward && job->apart ? job->apart : a->o;
  bool add = backward && a->gk_fw && !job->apart, last = !job->apart && (backward || !a->gk_bw);
  size_t token = (size_t) b * a->tokens;
  const float *q = a->q + token * a->row + j * a->dk, *k = a->k + token * a->row + j * a->dk;
  const float *v = a->v + token * a->row + j * a->dv;
  float *S = scratch, *factors = S + (size_t) (end - first) * padded_dk (a) * SLICE;
  float scale = last ? a->scale : 1;
  int step = backward ? -1 : 1;
  gk += token * a->gk_row + j * a->dk;
  out += (token * a->heads + j) * a->dv;

#if defined __AVX512BF16__
  if (a->type == VIG_TYPE_BF16) {
    Double f = { .half = { chunk_in (a, &factors), chunk_in (a, &factors) } };
    f.decay = factors;
    f.k = (uint32_t *) (f.decay + padded_dk (a));
    f.q = (uint16_t *) (f.k + T * padded_dk (a));
    scan_bf16 (a, q, k, v, gk, out, first, end, step, add, scale, &f, S);
  } else
#endif
  {
    Chunk f = chunk_in (a, &factors);
    scan (a, q, k, v, gk, out, first, end, step, add, scale, &f, S);
  }
}

/* The same with the states that the call is given and wants. */
static void
direction (const Job *job, bool backward, int b, int j, int first, int end, float *scratch)
{
  const VigGlaBidir *a = job->a;
  const float *from = backward ? a->state_bw : a->state_fw;
  float *to = backward ? a->end_bw : a->end_fw;
  size_t state = ((size_t) b * a->heads + j) * a->dk * a->dv;

  state_load (a, first, end, from ? from + state : NULL, scratch);
  walk (job, backward, b, j, first, end, scratch);
  if (to)
    state_store (a, first, end, scratch, to + state);
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
  int heads = a->batch * a->heads;
  if (!vig_cpu_scratch (cpu, sizeof (float) * scan_scratch (a->dk, job.slices)))
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

/* ---- gla_mix ---- */

/*
 * A head from its part of the products to its part of m on one thread: gates, both scans and o stay in its cache. Where
 * there are too few heads for the threads, the directions (and parts of DV) are items as in gla_bidir, and mixing follows.
 *
 * A long sequence goes through in segments, forward and then backward; of what a segment needs only o outlives it.
 */
enum {
  SEGMENT = 256,  /* tokens: a multiple of both chunks; 180 KB of a head of 32 x 64, beside o */
  ROWS_AHEAD = 32 /* to prefetch: a long sequence lies in memory */
};

typedef struct {
  const VigGlaMix *a;
  VigCpu *cpu;
  int slices, parts;
  int pieces;  /* rows of a head are cut into, for mixing */
  float *o[2]; /* [B, H, L, DV] of each direction, or NULL */
} MixJob;

/* Where a head's numbers lie in the thread's scratch space; N tokens are those of a segment. */
typedef struct {
  float *qkv;   /* [N, DK + DK + DV], if they are not f32 already */
  float *low;   /* [N, rank], likewise */
  float *gk;    /* [N, DK] */
  float *o;     /* [L, DV], unless the directions are apart */
  float *gates; /* what the log decays are computed in */
  float *rest;  /* S, and what a scan works in */
} HeadScratch;

static size_t
head_scratch (const VigGlaMix *a, bool apart, float *memory, HeadScratch *s)
{
  size_t n = a->tokens < SEGMENT ? a->tokens : SEGMENT, typed = a->type != VIG_TYPE_F32;
  size_t sizes[] = { typed * n * (2 * a->dk + a->dv), typed * n * a->rank, n * a->dk,
    apart ? 0 : (size_t) a->tokens * a->dv, (size_t) a->rank * LOG_DECAY_CHANNELS };
  float *at[5];
  size_t used = 0;
  for (int i = 0; i < 5; i++) {
    at[i] = memory + used;
    used += (sizes[i] + 15) / 16 * 16;
  }
  *s = (HeadScratch) { at[0], at[1], at[2], at[3], at[4], memory + used };
  return used;
}

TEMPLATE
columns_rows (const void *from, size_t first, ptrdiff_t row, int rows, int n, float *to, int to_row, VigType type)
{
  for (int r = 0; r < rows; r++) {
    prefetch (from, first + (r + ROWS_AHEAD) * row, n, type);
    for (int c = 0; c < n; c += VW)
      v_put (to + (size_t) r * to_row + c, 0, VIG_TYPE_F32, n - c, v_get (from, first + r * row + c, type, n - c));
  }
}

/* n columns from `first` on of rows [token, token + rows), as floats in `to`, or where they are. */
static const float *
columns (const VigGlaMix *a, const void *from, size_t token, int rows, int first, int n, float *to, int to_row)
{
  size_t at = token * a->row + first;
  if (a->type == VIG_TYPE_F32)
    return (const float *) from + at;
  FOR_TYPE (a->type, columns_rows, from, at, a->row, rows, n, to, to_row);
  return to;
}

/* gk [rows, DK] of head j and one direction, of tokens t .. t + rows - 1 of the sequence: what add_boundary adds */
static void
cross_frames (const VigGlaMix *a, bool backward, int j, int t, int rows, float *gk)
{
  int at = backward ? a->frame - 1 : 0; /* of a frame */
  for (int i = (a->frame + at - t % a->frame) % a->frame; i < rows; i += a->frame)
    for (int c = 0; c < a->dk; c++)
      gk[(size_t) i * a->dk + c] += a->boundary[j * a->dk + c];
}

/* gk [rows, DK] of head j and one direction, of tokens t .. t + rows - 1 of the sequence; low: their rows */
static void
head_gates (const VigGlaMix *a, bool backward, int j, int t, int rows, const float *low, const HeadScratch *s)
{
  int channel = (backward * a->heads + j) * a->dk;
  VARIANT (vig_log_decay_rows) (&(VigLogDecay) { .rows = rows, .rank = a->rank, .c = a->dk, .low = low,
      .low_row = a->type == VIG_TYPE_F32 ? a->row : a->rank, .weight = a->gk_weight + (size_t) channel * a->rank,
      .bias = a->gk_bias + channel, .gk = s->gk }, s->gates);
  if (a->boundary)
    cross_frames (a, backward, j, t, rows, s->gk);
}

/* Rows first .. end - 1 of head j of item b: m from o [L, DV]. */
static void
mix_head (const VigGlaMix *a, int b, int j, const float *o, int first, int end)
{
  size_t size = vig_type_size (a->type), token = (size_t) b * a->tokens;
  ptrdiff_t row = (ptrdiff_t) a->heads * a->dv;
  VARIANT (vig_mix_rows) (&(Mix) { .heads = 1, .dv = a->dv,
      .gate = (const char *) a->gate + (token * a->row + j * a->dv) * size, .gate_row = a->row, .gate_type = a->type,
      .o = o, .o_row = a->dv, .l = (const char *) a->l + (token * row + j * a->dv) * size,
      .m = (char *) a->m + (token * row + j * a->dv) * size, .row = row, .type = a->type, .g_norm = a->g_norm,
      .l_norm = a->l_norm, .eps = a->eps, .act = a->act }, first, end);
}

/* Slices first .. end - 1 of o [L, DV] of head j of item b, in the directions wanted; m if those are both. */
static void
mix_scan (const MixJob *job, int b, int j, const bool wanted[2], int first, int end, float *o, float scale, HeadScratch *s)
{
  const VigGlaMix *a = job->a;
  int dk = a->dk, dv = a->dv, width = 2 * dk + dv, segments = (a->tokens + SEGMENT - 1) / SEGMENT, there = -1;
  const float *low = NULL;
  VigGlaBidir one = { .batch = 1, .heads = 1, .dk = dk, .dv = dv, .row = a->type == VIG_TYPE_F32 ? a->row : width,
    .gk_fw = wanted[0] ? s->gk : NULL, .gk_bw = wanted[1] ? s->gk : NULL, .gk_row = dk, .scale = scale, .type = a->type };
  Job scan_job = { .a = &one, .cpu = job->cpu, .slices = job->slices, .parts = 1 };

  for (int d = 0; d < 2; d++) {
    if (!wanted[d])
      continue;
    state_load (&one, first, end, NULL, s->rest);
    for (int i = 0; i < segments; i++) {
      int segment = d ? segments - 1 - i : i, t = segment * SEGMENT, n = a->tokens - t < SEGMENT ? a->tokens - t : SEGMENT;
      size_t token = (size_t) b * a->tokens + t;
      if (segment != there) {
        low = columns (a, a->low, token, n, 0, a->rank, s->low, a->rank);
        one.q = columns (a, a->q, token, n, j * dk, dk, s->qkv, width);
        one.k = columns (a, a->k, token, n, j * dk, dk, s->qkv + dk, width);
        one.v = columns (a, a->v, token, n, j * dv, dv, s->qkv + 2 * dk, width);
        there = segment;
      }
      one.tokens = n;
      one.o = o + (size_t) t * dv;
      head_gates (a, d, j, t, n, low, s);
      walk (&scan_job, d, 0, 0, first, end, s->rest);
      if (d && wanted[0])
        mix_head (a, b, j, o, t, t + n);
    }
  }
}

static void
mix_work (const void *data, int item, int thread)
{
  const MixJob *job = data;
  const VigGlaMix *a = job->a;
  int j = item % a->heads, b = item / a->heads;
  HeadScratch s;
  head_scratch (a, false, job->cpu->scratch[thread], &s);
  mix_scan (job, b, j, (bool[]) { true, true }, 0, job->slices, s.o, a->scale, &s);
}

static void
apart_work (const void *data, int item, int thread)
{
  const MixJob *job = data;
  const VigGlaMix *a = job->a;
  int d = item % 2, part = item / 2 % job->parts, head = item / 2 / job->parts;
  int first = job->slices * part / job->parts, end = job->slices * (part + 1) / job->parts;
  HeadScratch s;
  head_scratch (a, true, job->cpu->scratch[thread], &s);
  mix_scan (job, head / a->heads, head % a->heads, (bool[]) { !d, d }, first, end,
      job->o[d] + (size_t) head * a->tokens * a->dv, 1, &s);
}

static void
join_work (const void *data, int item, int thread)
{
  const MixJob *job = data;
  const VigGlaMix *a = job->a;
  int piece = item % job->pieces, head = item / job->pieces;
  int first = vig_cpu_cut (a->tokens, job->pieces, piece), end = vig_cpu_cut (a->tokens, job->pieces, piece + 1);
  float *o = job->o[0] + (size_t) head * a->tokens * a->dv, *other = job->o[1] + (size_t) head * a->tokens * a->dv;
  for (int i = first * a->dv; i < end * a->dv; i += VW) {
    int n = end * a->dv - i;
    v_put (o + i, 0, VIG_TYPE_F32, n, v_mul (v_add (v_get_f (o + i, n), v_get_f (other + i, n)), v_set (a->scale)));
  }
  mix_head (a, head / a->heads, head % a->heads, o, first, end);
}

void VARIANT (vig_gla_mix) (void *ctx, const VigGlaMix *a);

void
VARIANT (vig_gla_mix) (void *ctx, const VigGlaMix *a)
{
  VigCpu *cpu = ctx;
  MixJob job = { .a = a, .cpu = cpu, .slices = (a->dv + SLICE - 1) / SLICE, .parts = 1 };
  int heads = a->batch * a->heads;
  bool apart = cpu->n_threads > 1 && heads < 2 * cpu->n_threads && heads % cpu->n_threads;
  size_t o = (size_t) heads * a->tokens * a->dv;
  HeadScratch s;
  if (!vig_cpu_scratch (cpu, sizeof (float) * (head_scratch (a, apart, NULL, &s) + scan_scratch (a->dk, job.slices))))
    return;
  if (!apart) {
    vig_pool_run (cpu->pool, heads, mix_work, &job);
    return;
  }
  if (!(job.o[0] = vig_cpu_buffer (cpu, sizeof (float) * 2 * o)))
    return;
  job.o[1] = job.o[0] + o;
  job.parts = 2 * heads < cpu->n_threads ? job.slices : 1;
  job.pieces = vig_cpu_pieces (cpu, a->tokens, 16);
  vig_pool_run (cpu->pool, 2 * heads * job.parts, apart_work, &job);
  vig_pool_run (cpu->pool, heads * job.pieces, join_work, &job);
}
