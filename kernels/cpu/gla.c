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
 * With products of bf16, two such chunks become one: ten operations on each vector of S for eight tokens instead of
 * eighteen, since one instruction adds two products. S is rounded for q^T S only; S itself and all sums stay f32.
 *
 * walk() takes some tokens of a head on in one direction, from the state it is given: q, k, v as they lie in memory, and the
 * decays d. gla_bidir makes them of gk and is at the end of this file; gla_mix (gla-mix.c) makes them of what gk comes of.
 *
 * An item of work is a head, forward and then backward, so that the second direction adds to what the first has left in o.
 * Too few heads for the threads: the directions become items of their own, backward into a buffer that is added at the
 * end; still too few: each is cut along DV, and every part computes the factors again. None of this changes a sum.
 *
 * Measured (a token of a head in one direction is a step; state 32 x 64, 196 tokens, 3 heads, both directions; one thread
 * on a Zen 4 core, best of 31):
 *   avx512 137 us, 8.6 Mstep/s; avx2 159 us; with products of bf16 98 us, 12.0 Mstep/s. The ten operations on S alone would
 *   take 53 us of those 98, at the rate at which matmul runs there (3.4 G of them a second).
 *   check-kernels --bench --kernel gla_bidir --threads 1
 *   check-kernels --bench --kernel gla_bidir_bf16 --threads 1
 */
#include <math.h>

#include "cpu/cpu.h"
#include "cpu/gla.h"

enum {
  T = 4,         /* tokens in a chunk */
  SLICE = GLA_SLICE,
  SV = SLICE / VW,
  AHEAD = 2 * T  /* tokens to prefetch */
};
_Static_assert (GLA_SEGMENT % (2 * T) == 0, "a segment is whole chunks");

/* Factors of a chunk, [DK] each, DK rounded up to whole vectors. */
typedef struct {
  float *decay;    /* d_1 .. d_4 */
  float *q[T], *k[T];
  float A[12];     /* A_ij at i (i + 1) / 2 + j, counted from 0; two zeros */
} Chunk;

/* The tokens of a chunk: of a walk's, t, t + step, .. t + (n - 1) step. Those beyond n do nothing: q = k = 0, d = 1. */
typedef struct {
  const void *q, *k, *v; /* the walk's token 0 */
  const float *d;
  float *o;
  int t, step, n;
} Tokens;

static inline Vec
token_get (const Tokens *c, const void *p, ptrdiff_t row, VigType type, int i, int r, int n)
{
  return i < c->n ? v_get (p, (size_t) ((c->t + i * c->step) * row + r), type, n - r) : v_set (0);
}

TEMPLATE
chunk_factors (const GlaHead *h, const Tokens *c, Chunk *f, VigType type)
{
  int padded = vig_gla_padded (h->dk);
  Vec sum[12];
  for (int i = 0; i < 12; i++)
    sum[i] = v_set (0);

  for (int r = 0; r < h->dk; r += VW) {
    Vec d[T], kt[T];
    for (int i = 0; i < T; i++) {
      d[i] = i < c->n ? v_load (c->d + (c->t + i * c->step) * padded + r) : v_set (1);
      kt[i] = token_get (c, c->k, h->row, type, i, r, h->dk);
    }
    for (int i = 0; i < T; i++) {
      Vec qd = token_get (c, c->q, h->row, type, i, r, h->dk);
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

/* The chunk's work on slice number `slice` of S, which is [padded DK, SLICE]; columns of it exist. */
TEMPLATE
chunk_slice (const GlaHead *h, const Tokens *c, const Chunk *f, float *S, int slice, int columns, VigType type)
{
  Vec vt[T][SV], ot[T][SV];
  for (int i = 0; i < T; i++)
    for (int s = 0; s < SV; s++) {
      vt[i][s] = s * VW < columns ? token_get (c, c->v, h->row, type, i, slice * SLICE + s * VW, slice * SLICE + columns)
          : v_set (0);
      ot[i][s] = v_set (0);
    }

  for (int r = 0; r < h->dk; r++) {
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

  for (int i = 0; i < c->n; i++)
    for (int s = 0; s < SV && s * VW < columns; s++) {
      float *to = c->o + (c->t + i * c->step) * h->o_row + slice * SLICE + s * VW;
      int left = columns - s * VW;
      Vec sum = ot[i][s];
      for (int j = 0; j <= i; j++)
        sum = v_fma (v_set (f->A[i * (i + 1) / 2 + j]), vt[j][s], sum);
      if (h->add)
        sum = v_add (v_get_f (to, left), sum);
      v_put (to, 0, VIG_TYPE_F32, left, v_mul (sum, v_set (h->scale)));
    }
}

static inline void
prefetch_token (const GlaHead *h, const Tokens *c, int t, int n)
{
  if (t < 0 || t >= n)
    return;
  int first = h->first * SLICE, columns = (h->end - h->first) * SLICE;
  prefetch (c->q, (size_t) (t * h->row), h->dk, h->type);
  prefetch (c->k, (size_t) (t * h->row), h->dk, h->type);
  prefetch (c->v, (size_t) (t * h->row + first), columns, h->type);
  prefetch (c->o, (size_t) (t * h->o_row + first), columns, VIG_TYPE_F32);
}

/* n tokens, those of c, from the first of the direction on */
TEMPLATE
walk_chunks (const GlaHead *h, Tokens c, int n, Chunk *f, float *S, VigType type)
{
  size_t slice_size = (size_t) vig_gla_padded (h->dk) * SLICE;
  for (int done = 0; done < n; done += T, c.t += T * c.step) {
    c.n = n - done < T ? n - done : T;
    for (int i = AHEAD; i < AHEAD + T; i++)
      prefetch_token (h, &c, c.t + i * c.step, n);
    Tokens all = c;
    all.n = T; /* a constant for the compiler */
    if (c.n == T)
      chunk_factors (h, &all, f, type);
    else
      chunk_factors (h, &c, f, type);
    for (int slice = h->first; slice < h->end; slice++) {
      int columns = h->dv - slice * SLICE;
      float *part = S + (slice - h->first) * slice_size;
      if (columns >= SLICE && c.n == T)
        chunk_slice (h, &all, f, part, slice, SLICE, type);
      else
        chunk_slice (h, &c, f, part, slice, columns, type);
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

/* The lower half of x and the upper, lane by lane */
static inline __m512bh
interleave (__m512i x)
{
  const __m512i lanes = _mm512_set_epi16 (31, 15, 30, 14, 29, 13, 28, 12, 27, 11, 26, 10, 25, 9, 24, 8, 23, 7, 22, 6, 21,
      5, 20, 4, 19, 3, 18, 2, 17, 1, 16, 0);
  return (__m512bh) _mm512_permutexvar_epi16 (lanes, x);
}

/* a and b lane by lane as one pair of bf16 */
static inline __m512bh
pair (Vec a, Vec b)
{
  return interleave ((__m512i) _mm512_cvtne2ps_pbh (b, a));
}

/* The same of v of the chunk's tokens i and i + 1, from column c on; end: of all columns. */
static inline __m512bh
pair_tokens (const GlaHead *h, const Tokens *t, int i, int c, int end, VigType type)
{
  if (type != VIG_TYPE_BF16)
    return pair (token_get (t, t->v, h->row, type, i, c, end), token_get (t, t->v, h->row, type, i + 1, c, end));
  Narrow v[2];
  for (int p = 0; p < 2; p++)
    v[p] = i + p < t->n ? v_load_16_lanes ((const uint16_t *) t->v + (t->t + (i + p) * t->step) * h->row + c,
        v_lanes (end - c < VW ? end - c : VW)) : _mm256_setzero_si256 ();
  return interleave (_mm512_inserti64x4 (_mm512_castsi256_si512 (v[0]), v[1], 1));
}

static inline __m512bh
broadcast_pair (const void *p)
{
  int both;
  memcpy (&both, p, sizeof both);
  return (__m512bh) _mm512_set1_epi32 (both);
}

TEMPLATE
double_factors (const GlaHead *h, const Tokens *c, Double *f, VigType type)
{
  int padded = vig_gla_padded (h->dk);
  Vec sum[T * T];
  for (int i = 0; i < T * T; i++)
    sum[i] = v_set (0);

  Tokens half[2] = { *c, *c };
  half[0].n = c->n < T ? c->n : T;
  half[1].n = c->n < T ? 0 : c->n - T;
  half[1].t += T * c->step;
  chunk_factors (h, &half[0], &f->half[0], type);
  chunk_factors (h, &half[1], &f->half[1], type);
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
TEMPLATE
double_slice (const GlaHead *h, const Tokens *c, const Double *f, float *S, int slice, int columns, VigType type)
{
  int padded = vig_gla_padded (h->dk);
  __m512bh vt[T][SV];
  Vec ot[2 * T][SV];
  for (int s = 0; s < SV; s++) {
    for (int p = 0; p < T; p++)
      vt[p][s] = s * VW < columns ? pair_tokens (h, c, 2 * p, slice * SLICE + s * VW, slice * SLICE + columns, type)
          : (__m512bh) v_set (0);
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
      float *to = c->o + (c->t + i * c->step) * h->o_row + slice * SLICE + s * VW;
      int left = columns - s * VW;
      if (i < c->n && left > 0)
        v_put (to, 0, VIG_TYPE_F32, left,
            v_mul (h->add ? v_add (v_get_f (to, left), ot[i][s]) : ot[i][s], v_set (h->scale)));
    }
}

TEMPLATE
walk_doubles (const GlaHead *h, Tokens c, int n, Double *f, float *S, VigType type)
{
  size_t slice_size = (size_t) vig_gla_padded (h->dk) * SLICE;
  for (int done = 0; done < n; done += 2 * T, c.t += 2 * T * c.step) {
    c.n = n - done < 2 * T ? n - done : 2 * T;
    for (int i = AHEAD; i < AHEAD + 2 * T; i++)
      prefetch_token (h, &c, c.t + i * c.step, n);
    Tokens all = c;
    all.n = 2 * T; /* a constant for the compiler */
    if (c.n == 2 * T)
      double_factors (h, &all, f, type);
    else
      double_factors (h, &c, f, type);
    for (int slice = h->first; slice < h->end; slice++) {
      int columns = h->dv - slice * SLICE;
      float *part = S + (slice - h->first) * slice_size;
      if (columns >= SLICE && c.n == 2 * T)
        double_slice (h, &all, f, part, slice, SLICE, type);
      else
        double_slice (h, &c, f, part, slice, columns, type);
    }
  }
}

#endif

/* ---- a walk ---- */

/* Floats of the slices of S [padded DK, SLICE]. */
static size_t
state_size (int dk, int slices)
{
  return (size_t) vig_gla_padded (dk) * slices * SLICE;
}

size_t
VARIANT (vig_gla_memory) (int dk, int slices)
{
  int factors = 2 * (1 + 2 * T) + 1 + T + T; /* of two chunks, and of both together */
  return state_size (dk, slices) + (size_t) vig_gla_padded (dk) * factors;
}

void
VARIANT (vig_gla_begin) (const GlaHead *h, const float *state, float *memory)
{
  for (int slice = h->first; slice < h->end; slice++)
    for (int r = 0; r < vig_gla_padded (h->dk); r++)
      for (int c = 0; c < SLICE; c++, memory++) {
        int column = slice * SLICE + c;
        *memory = state && r < h->dk && column < h->dv ? state[r * h->dv + column] : 0;
      }
}

/* The other way round. */
static void
end_state (const GlaHead *h, const float *memory, float *state)
{
  for (int slice = h->first; slice < h->end; slice++)
    for (int r = 0; r < vig_gla_padded (h->dk); r++)
      for (int c = 0; c < SLICE; c++, memory++)
        if (r < h->dk && slice * SLICE + c < h->dv)
          state[r * h->dv + slice * SLICE + c] = *memory;
}

/* A chunk with its factors at *memory, which moves on. */
static Chunk
chunk_in (int padded, float **memory)
{
  Chunk f = { .decay = *memory };
  *memory += padded;
  for (int i = 0; i < T; i++, *memory += 2 * padded) {
    f.q[i] = *memory;
    f.k[i] = *memory + padded;
  }
  return f;
}

void
VARIANT (vig_gla_walk) (const GlaHead *h, size_t token, int n, const float *decays, float *memory)
{
  int padded = vig_gla_padded (h->dk);
  size_t at = token * h->row * vig_type_size (h->type);
  float *factors = memory + state_size (h->dk, h->end - h->first);
  Tokens c = { .q = (const char *) h->q + at, .k = (const char *) h->k + at, .v = (const char *) h->v + at, .d = decays,
    .o = h->o + token * h->o_row, .t = h->backward ? n - 1 : 0, .step = h->backward ? -1 : 1 };

#if defined __AVX512BF16__
  if (h->products == VIG_TYPE_BF16) {
    Double f = { .half = { chunk_in (padded, &factors), chunk_in (padded, &factors) } };
    f.decay = factors;
    f.k = (uint32_t *) (f.decay + padded);
    f.q = (uint16_t *) (f.k + T * padded);
    if (h->type == VIG_TYPE_BF16)
      walk_doubles (h, c, n, &f, memory, VIG_TYPE_BF16);
    else
      walk_doubles (h, c, n, &f, memory, VIG_TYPE_F32);
    return;
  }
#endif
  Chunk f = chunk_in (padded, &factors);
  FOR_TYPE (h->type, walk_chunks, h, c, n, &f, memory);
}

/* ---- gla_bidir ---- */

typedef struct {
  const VigGlaBidir *a;
  VigCpu *cpu;
  int slices;    /* of a head */
  int parts;     /* items the slices of a head are cut into */
  float *apart;  /* [B, L, H * DV] for o_bw if the directions are items of their own, else NULL */
} Job;

/* d [n, padded DK] = exp gk. Rows of the segment that comes next, `next` rows further, will be wanted soon. */
static void
decays_of (const float *gk, ptrdiff_t row, int next, int n, int dk, float *d)
{
  for (int i = 0; i < n; i++, gk += row) {
    prefetch (gk, (size_t) (next * row), dk, VIG_TYPE_F32);
    for (int r = 0; r < dk; r += VW, d += VW)
      v_store (d, v_exp (v_get_f (gk + r, dk - r)));
  }
}

/* Slices first .. end - 1 of head j of item b in one direction. */
static void
direction (const Job *job, bool backward, int b, int j, int first, int end, float *scratch)
{
  const VigGlaBidir *a = job->a;
  float *to = backward ? a->end_bw : a->end_fw, *decays = scratch, *memory = scratch + GLA_SEGMENT * vig_gla_padded (a->dk);
  const float *gk = backward ? a->gk_bw : a->gk_fw, *from = backward ? a->state_bw : a->state_fw;
  size_t state = ((size_t) b * a->heads + j) * a->dk * a->dv, token = (size_t) b * a->tokens;
  bool last = !job->apart && (backward || !a->gk_bw);
  GlaHead h = { .dk = a->dk, .dv = a->dv, .q = a->q + j * a->dk, .k = a->k + j * a->dk, .v = a->v + j * a->dv, .row = a->row,
    .products = a->type, .o = (backward && job->apart ? job->apart : a->o) + j * a->dv,
    .o_row = (ptrdiff_t) a->heads * a->dv, .backward = backward, .add = backward && a->gk_fw && !job->apart,
    .scale = last ? a->scale : 1, .first = first, .end = end };

  VARIANT (vig_gla_begin) (&h, from ? from + state : NULL, memory);
  for (int i = 0, segments = vig_gla_segments (a->tokens); i < segments; i++) {
    int t = (backward ? segments - 1 - i : i) * GLA_SEGMENT, n = a->tokens - t < GLA_SEGMENT ? a->tokens - t : GLA_SEGMENT;
    decays_of (gk + (token + t) * a->gk_row + j * a->dk, a->gk_row, backward ? -GLA_SEGMENT : GLA_SEGMENT, n,
        a->dk, decays);
    VARIANT (vig_gla_walk) (&h, token + t, n, decays, memory);
  }
  if (to)
    end_state (&h, memory, to + state);
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

void VARIANT (vig_gla_bidir) (void *ctx, const VigGlaBidir *a);

void
VARIANT (vig_gla_bidir) (void *ctx, const VigGlaBidir *a)
{
  VigCpu *cpu = ctx;
  Job job = { .a = a, .cpu = cpu, .slices = (a->dv + SLICE - 1) / SLICE, .parts = 1 };
  int heads = a->batch * a->heads;
  size_t decays = (size_t) GLA_SEGMENT * vig_gla_padded (a->dk);
  if (!vig_cpu_scratch (cpu, sizeof (float) * (decays + VARIANT (vig_gla_memory) (a->dk, job.slices))))
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
