/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * gla_mix: a head from its part of the products to its part of m on one thread; compiled once for each instruction set.
 * Decays, both walks (gla.c) and o stay in its caches: a segment's decays are made just before it is walked, forward and
 * then backward, and its rows are mixed as soon as the second direction has left it. Of a segment only o outlives it.
 *
 * Where there are too few heads for the threads, the directions (and parts of DV) are items as in gla_bidir, each with an o
 * of its own, and mixing follows. None of this changes a sum.
 *
 * What the walks want is not gk = log_sigmoid (z) / 16 but d = exp gk = (1 + exp -z)^(-1/16), and that takes one exponential
 * instead of two: with u = exp (-|z| / 16) and e = u^16 it is (1 + e)^(-1/16), times u if z is negative.
 *
 * Measured (196 tokens, 3 heads of 32 x 64, bf16; one thread on a Zen 4 core, best of 31):
 *   138 us: 27 of them for decays, 84 for the walks and 27 for mixing; two threads 76 us; avx2 236 us
 *   check-kernels --bench --kernel gla_mix_16 --threads 1
 */
#include "cpu/cpu.h"
#include "cpu/gla.h"

typedef struct {
  const VigGlaMix *a;
  VigCpu *cpu;
  int slices, parts;
  int pieces;  /* rows of a head are cut into, for mixing */
  float *o[2]; /* [B, H, L, DV] of each direction, or NULL */
} MixJob;

/* Where a head's numbers lie in the thread's scratch space; N tokens are those of a segment. */
typedef struct {
  float *low;    /* [N, rank], if they are not f32 already */
  float *weight; /* [rank, padded DK] */
  float *decays; /* [N, padded DK] */
  float *o;      /* [L, DV], unless the directions are apart */
  float *memory; /* what a walk works in */
} HeadScratch;

static size_t
head_scratch (const VigGlaMix *a, bool apart, float *at, HeadScratch *s)
{
  int padded = vig_gla_padded (a->dk);
  size_t sizes[] = { (size_t) GLA_SEGMENT * a->rank, (size_t) a->rank * padded, (size_t) GLA_SEGMENT * padded,
    apart ? 0 : (size_t) a->tokens * a->dv };
  float *parts[4];
  size_t used = 0;
  for (int i = 0; i < 4; i++) {
    parts[i] = at + used;
    used += (sizes[i] + 15) / 16 * 16;
  }
  *s = (HeadScratch) { parts[0], parts[1], parts[2], parts[3], at + used };
  return used;
}

/* ---- decays ---- */

/* What decays are made of: the rows of gk_weight and gk_bias for a head in one direction. */
typedef struct {
  int rank, dk;
  const float *weight; /* [rank, padded DK] */
  const float *bias;   /* [DK] */
} Gate;

static void
gate_weight (const VigGlaMix *a, int channel, float *weight)
{
  int padded = vig_gla_padded (a->dk);
  for (int i = 0; i < a->rank; i++)
    for (int c = 0; c < padded; c++)
      weight[i * padded + c] = c < a->dk ? a->gk_weight[(size_t) (channel + c) * a->rank + i] : 0;
}

enum { DECAY_ROWS = VW / 2, DECAY_VECS = 2 };

/* n rows of some vectors of channels from c on; d: those rows */
TEMPLATE
decay_block (const Gate *g, const float *low, ptrdiff_t low_row, int c, int n, int vecs, float *d, VigType type)
{
  int padded = vig_gla_padded (g->dk);
  Vec z[DECAY_ROWS][DECAY_VECS];
  for (int s = 0; s < vecs; s++) {
    Vec bias = v_get_f (g->bias + c + s * VW, g->dk - c - s * VW);
    for (int j = 0; j < n; j++)
      z[j][s] = bias;
  }
  for (int i = 0; i < g->rank; i++)
    for (int s = 0; s < vecs; s++) {
      Vec w = v_load (g->weight + i * padded + c + s * VW);
      for (int j = 0; j < n; j++)
        z[j][s] = v_fma (v_set (low[j * low_row + i]), w, z[j][s]);
    }
  for (int j = 0; j < n; j++)
    for (int s = 0; s < vecs; s++)
      v_store (d + j * padded + c + s * VW, v_decay (z[j][s], type));
}

TEMPLATE
decay_columns (const Gate *g, const float *low, ptrdiff_t low_row, int n, float *d, VigType type)
{
  int padded = vig_gla_padded (g->dk), c = 0;
  for (; c + VW < padded; c += 2 * VW)
    decay_block (g, low, low_row, c, n, 2, d, type);
  if (c < padded)
    decay_block (g, low, low_row, c, n, 1, d, type);
}

/* d [rows, padded DK] of rows of low */
TEMPLATE
decay_rows (const Gate *g, const float *low, ptrdiff_t low_row, int rows, float *d, VigType type)
{
  int r = 0;
  for (; r + DECAY_ROWS <= rows; r += DECAY_ROWS)
    decay_columns (g, low + r * low_row, low_row, DECAY_ROWS, d + r * vig_gla_padded (g->dk), type);
  for (; r < rows; r++)
    decay_columns (g, low + r * low_row, low_row, 1, d + r * vig_gla_padded (g->dk), type);
}

/* What add_boundary does, to the decays of n tokens from t on. */
static void
cross_frames (const VigGlaMix *a, bool backward, int j, int t, int n, float *d)
{
  int padded = vig_gla_padded (a->dk), at = backward ? a->frame - 1 : 0; /* of a frame */
  for (int i = (a->frame + at - t % a->frame) % a->frame; i < n; i += a->frame)
    for (int c = 0; c < a->dk; c += VW) {
      float *to = d + i * padded + c;
      v_store (to, v_mul (v_load (to), v_exp (v_get_f (a->boundary + j * a->dk + c, a->dk - c))));
    }
}

/* Of a long sequence, which lies in memory with its rows far apart, those `next` rows further will be wanted soon. */
TEMPLATE
widen_rows (const void *from, size_t first, ptrdiff_t row, int next, int rows, int n, float *to, VigType type)
{
  for (int r = 0; r < rows; r++) {
    prefetch (from, first + (r + next) * row, n, type);
    for (int c = 0; c < n; c += VW)
      v_put (to + (size_t) r * n + c, 0, VIG_TYPE_F32, n - c, v_get (from, first + r * row + c, type, n - c));
  }
}

/* Of n tokens of item b from t on, for head j in one direction */
static void
decays (const VigGlaMix *a, const Gate *g, bool backward, int b, int j, int t, int n, const HeadScratch *s)
{
  size_t first = ((size_t) b * a->tokens + t) * a->row;
  const float *low = s->low;
  ptrdiff_t row = a->rank;
  if (a->type == VIG_TYPE_F32) {
    low = (const float *) a->low + first;
    row = a->row;
  } else
    FOR_TYPE (a->type, widen_rows, a->low, first, a->row, backward ? -GLA_SEGMENT : GLA_SEGMENT, n, a->rank, s->low);
  FOR_TYPE (a->type, decay_rows, g, low, row, n, s->decays);
  if (a->boundary)
    cross_frames (a, backward, j, t, n, s->decays);
}

/* ---- a head ---- */

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

/* Slices first .. end - 1 of o [L, DV] of head j of item b in one direction; m, too, if that is the second of two. */
static void
mix_direction (const MixJob *job, bool backward, bool both, int b, int j, int first, int end, float *o, const HeadScratch *s)
{
  const VigGlaMix *a = job->a;
  size_t size = vig_type_size (a->type), token = (size_t) b * a->tokens;
  int channel = (backward * a->heads + j) * a->dk;
  Gate gate = { .rank = a->rank, .dk = a->dk, .weight = s->weight, .bias = a->gk_bias + channel };
  GlaHead h = { .dk = a->dk, .dv = a->dv, .q = (const char *) a->q + (token * a->row + j * a->dk) * size,
    .k = (const char *) a->k + (token * a->row + j * a->dk) * size,
    .v = (const char *) a->v + (token * a->row + j * a->dv) * size, .row = a->row, .type = a->type, .products = a->type,
    .o = o, .o_row = a->dv, .backward = backward, .add = backward && both, .scale = backward && both ? a->scale : 1,
    .first = first, .end = end };

  gate_weight (a, channel, s->weight);
  VARIANT (vig_gla_begin) (&h, NULL, s->memory);
  for (int i = 0, segments = vig_gla_segments (a->tokens); i < segments; i++) {
    int t = (backward ? segments - 1 - i : i) * GLA_SEGMENT, n = a->tokens - t < GLA_SEGMENT ? a->tokens - t : GLA_SEGMENT;
    decays (a, &gate, backward, b, j, t, n, s);
    VARIANT (vig_gla_walk) (&h, (size_t) t, n, s->decays, s->memory);
    if (backward && both)
      mix_head (a, b, j, o, t, t + n);
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
  mix_direction (job, false, true, b, j, 0, job->slices, s.o, &s);
  mix_direction (job, true, true, b, j, 0, job->slices, s.o, &s);
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
  mix_direction (job, d, false, head / a->heads, head % a->heads, first, end,
      job->o[d] + (size_t) head * a->tokens * a->dv, &s);
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
  MixJob job = { .a = a, .cpu = cpu, .slices = (a->dv + GLA_SLICE - 1) / GLA_SLICE, .parts = 1 };
  int heads = a->batch * a->heads;
  bool apart = cpu->n_threads > 1 && heads < 2 * cpu->n_threads && heads % cpu->n_threads;
  size_t o = (size_t) heads * a->tokens * a->dv;
  HeadScratch s;
  if (!vig_cpu_scratch (cpu, sizeof (float) * (head_scratch (a, apart, NULL, &s) + VARIANT (vig_gla_memory) (a->dk, job.slices))))
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
