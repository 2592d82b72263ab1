/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The operators that work on rows and pictures, on vectors along the channels; compiled once for each instruction set.
 * All but log_decay do little arithmetic for what they read and write, so each goes over its data once, and the rows are
 * cut into pieces for the threads. Element type and activation are compile-time constants of the inner loops.
 *
 * Measured (ViG-T at 224: 196 tokens, 192 channels, MLP 512; microseconds, one thread on a Zen 4 core, best of 31; what
 * has a sigmoid in it is bound by arithmetic, the rest by the caches):
 *                 avx2 fp32   avx512 fp32   bf16 out
 *   rmsnorm            11.1           5.6        7.3
 *   dwconv3x3 + SiLU   52.2          17.6       19.4
 *   log_decay          46.9          28.6
 *   gate_mix + SiLU    65.9          33.8       36.2
 *   swiglu             59.9          28.0       31.3
 *   im2col 9x9 / 3x3   54 / 20       58 / 13    - / 9
 * Two threads halve all but rmsnorm (swiglu 14.2, log_decay 14.9, dwconv3x3 11.5, gate_mix 17.1).
 *   check-kernels --bench --threads 1
 */
#include <math.h>

#include "cpu/cpu.h"
#include "cpu/vec.h"

/* gla.c */
void VARIANT (vig_gla_bidir) (void *ctx, const VigGlaBidir *a);

#define TEMPLATE static inline __attribute__ ((always_inline)) void

/* Calls f (…, type) with the type as a constant. */
#define FOR_TYPE(type, f, ...) \
  do { \
    if ((type) == VIG_TYPE_F32) \
      f (__VA_ARGS__, VIG_TYPE_F32); \
    else if ((type) == VIG_TYPE_BF16) \
      f (__VA_ARGS__, VIG_TYPE_BF16); \
    else \
      f (__VA_ARGS__, VIG_TYPE_F16); \
  } while (0)

/* A job: the operator's arguments, and how its rows are cut. */
typedef struct {
  const void *a;
  VigCpu *cpu;
  int rows, pieces;
} Job;

/* Runs work over rows cut into pieces of at least `least` rows. */
static void
run_rows (VigCpu *cpu, const void *a, int rows, int least, VigWork *work)
{
  Job job = { a, cpu, rows, vig_cpu_pieces (cpu, rows, least) };
  vig_pool_run (cpu->pool, job.pieces, work, &job);
}

#define PIECE(job, item, first, end) \
  int first = vig_cpu_cut ((job)->rows, (job)->pieces, item), end = vig_cpu_cut ((job)->rows, (job)->pieces, (item) + 1)

/* Rows that move about 8 KB: a microsecond or two, below which handing out work costs more than it gains. */
static int
rows_of (size_t row_bytes)
{
  return (int) (8192 / row_bytes) + 1;
}

/* ---- im2col ---- */

/* Channel-last: the kernel's row ky is one run of kernel * C numbers in the picture, but for what hangs over its edge. */
TEMPLATE
im2col_dense (const VigIm2col *a, const float *x, size_t to, int oy, int ox, VigType type)
{
  int x0 = ox * a->stride - a->pad, kc = a->kernel * a->c;
  int first = x0 < 0 ? -x0 * a->c : 0, end = x0 + a->kernel > a->w ? (a->w - x0) * a->c : kc;
  for (int ky = 0; ky < a->kernel; ky++, to += kc) {
    int y = oy * a->stride - a->pad + ky;
    bool inside = y >= 0 && y < a->h && first < end;
    int from = inside ? first : kc, until = inside ? end : kc;
    const float *run = x + ((ptrdiff_t) y * a->w + x0) * a->c;
    for (int i = 0; i < from; i += VW)
      v_put (a->cols, to + i, type, from - i, v_set (0));
    for (int i = from; i < until; i += VW)
      v_put (a->cols, to + i, type, until - i, v_get_f (run + i, until - i));
    for (int i = until; i < kc; i += VW)
      v_put (a->cols, to + i, type, kc - i, v_set (0));
  }
}

/* Planes: few channels and short runs, so scalar copies; inside: no part of the patch hangs over an edge. */
TEMPLATE
im2col_planar (const VigIm2col *a, const float *x, size_t to, int oy, int ox, int channels, bool inside, VigType type)
{
  size_t plane = (size_t) a->h * a->w;
  int y = oy * a->stride - a->pad, sx = ox * a->stride - a->pad;
  for (int ky = 0; ky < a->kernel; ky++)
    for (int kx = 0; kx < a->kernel; kx++)
      for (int c = 0; c < channels; c++, to++) {
        bool there = inside || (y + ky >= 0 && y + ky < a->h && sx + kx >= 0 && sx + kx < a->w);
        v_put_one (a->cols, to, type, there ? x[c * plane + (ptrdiff_t) (y + ky) * a->w + sx + kx] : 0);
      }
}

TEMPLATE
im2col_rows (const VigIm2col *a, int first, int end, VigType type)
{
  size_t item = (size_t) a->h * a->w * a->c, row = (size_t) a->kernel * a->kernel * a->c;
  for (int r = first; r < end; r++) {
    int ox = r % a->out_w, oy = r / a->out_w % a->out_h;
    const float *x = a->x + r / a->out_w / a->out_h * item;
    int left = ox * a->stride - a->pad, top = oy * a->stride - a->pad;
    if (!a->planar)
      im2col_dense (a, x, r * row, oy, ox, type);
    else if (a->c == 3 && left >= 0 && top >= 0 && left + a->kernel <= a->w && top + a->kernel <= a->h)
      im2col_planar (a, x, r * row, oy, ox, 3, true, type);
    else
      im2col_planar (a, x, r * row, oy, ox, a->c, false, type);
  }
}

static void
im2col_work (const void *data, int item, int thread)
{
  const Job *job = data;
  const VigIm2col *a = job->a;
  PIECE (job, item, first, end);
  FOR_TYPE (a->type, im2col_rows, a, first, end);
}

static void
im2col (void *ctx, const VigIm2col *a)
{
  run_rows (ctx, a, a->batch * a->out_h * a->out_w, rows_of ((size_t) a->kernel * a->kernel * a->c * 4), im2col_work);
}

/* ---- rmsnorm, layernorm ---- */

/* y = act ((x - mean) * scale * weight + bias) */
TEMPLATE
norm_apply (const VigNorm *a, int r, float mean, float scale, bool layer, VigAct act, VigType type)
{
  const float *x = a->x + (size_t) r * a->c;
  for (int c = 0; c < a->c; c += VW) {
    int n = a->c - c;
    Vec v = v_get_f (x + c, n), w = v_get_f (a->weight + c, n);
    if (layer)
      v = v_fma (v_mul (v_sub (v, v_set (mean)), v_set (scale)), w, v_get_f (a->bias + c, n));
    else
      v = v_mul (v_mul (v, v_set (scale)), w);
    v_put (a->y, (size_t) r * a->c + c, type, n, v_act (v, act));
  }
}

TEMPLATE
norm_rows (const VigNorm *a, int first, int end, bool layer, VigAct act, VigType type)
{
  for (int r = first; r < end; r++) {
    const float *x = a->x + (size_t) r * a->c;
    float mean = 0;
    Vec sum = v_set (0), squares = v_set (0);
    if (layer) {
      for (int c = 0; c < a->c; c += VW)
        sum = v_add (sum, v_get_f (x + c, a->c - c));
      mean = v_sum (sum) / (float) a->c;
    }
    for (int c = 0; c < a->c; c += VW) {
      int n = a->c - c;
      Vec v = v_get_f (x + c, n);
      if (layer)
        v = v_sub (v, v_set (mean));
      if (layer && n < VW)
        v = v_zero_beyond (v_lanes (n), v);
      squares = v_fma (v, v, squares);
    }
    norm_apply (a, r, mean, 1 / sqrtf (v_sum (squares) / (float) a->c + a->eps), layer, act, type);
  }
}

TEMPLATE
norm_acts (const VigNorm *a, int first, int end, bool layer, VigType type)
{
  switch (a->act) {
    case VIG_ACT_SILU: norm_rows (a, first, end, layer, VIG_ACT_SILU, type); break;
    case VIG_ACT_GELU: norm_rows (a, first, end, layer, VIG_ACT_GELU, type); break;
    default: norm_rows (a, first, end, layer, VIG_ACT_NONE, type); break;
  }
}

static void
rmsnorm_work (const void *data, int item, int thread)
{
  const Job *job = data;
  const VigNorm *a = job->a;
  PIECE (job, item, first, end);
  FOR_TYPE (a->type, norm_acts, a, first, end, false);
}

static void
layernorm_work (const void *data, int item, int thread)
{
  const Job *job = data;
  const VigNorm *a = job->a;
  PIECE (job, item, first, end);
  FOR_TYPE (a->type, norm_acts, a, first, end, true);
}

static void
rmsnorm (void *ctx, const VigNorm *a)
{
  run_rows (ctx, a, a->rows, rows_of ((size_t) a->c * 8), rmsnorm_work);
}

static void
layernorm (void *ctx, const VigNorm *a)
{
  run_rows (ctx, a, a->rows, rows_of ((size_t) a->c * 8), layernorm_work);
}

/* ---- add_pos ---- */

static void
add_pos_work (const void *data, int item, int thread)
{
  const Job *job = data;
  const VigAddPos *a = job->a;
  PIECE (job, item, first, end);
  for (int r = first; r < end; r++) {
    float *x = a->x + (size_t) r * a->c;
    const float *pos = a->pos + (size_t) (r % a->tokens) * a->c;
    for (int c = 0; c < a->c; c += VW)
      v_put (x, (size_t) c, VIG_TYPE_F32, a->c - c, v_add (v_get_f (x + c, a->c - c), v_get_f (pos + c, a->c - c)));
  }
}

static void
add_pos (void *ctx, const VigAddPos *a)
{
  run_rows (ctx, a, a->batch * a->tokens, rows_of ((size_t) a->c * 8), add_pos_work);
}

/* ---- dwconv3x3 ---- */

/* One row of the picture, VW channels at a time with their nine weights in registers. */
TEMPLATE
dwconv_row (const VigDwconv *a, int r, VigAct act, VigType type)
{
  int y = r % a->h, n_y = (y > 0) + 1 + (y < a->h - 1);
  ptrdiff_t C = a->c, line = a->w * C;
  const float *x = a->x + r * line - (y > 0 ? line : 0); /* the first of n_y rows that are inside */
  const float *weight = a->weight + (y > 0 ? 0 : 3 * C);

  for (int c = 0; c < C; c += VW) {
    int n = (int) C - c;
    Vec w[9];
    for (int i = 0; i < 9; i++)
      w[i] = i < 3 * n_y ? v_get_f (weight + i * C + c, n) : v_set (0);
    for (int ox = 0; ox < a->w; ox++) {
      const float *p = x + ox * C + c;
      Vec sum = v_set (0);
      if (ox > 0 && ox < a->w - 1 && n_y == 3 && n >= VW)
        for (int i = 0; i < 9; i++)
          sum = v_fma (w[i], v_load (p + i / 3 * line + (i % 3 - 1) * C), sum);
      else
        for (int i = 0; i < 9; i++) {
          int sx = ox + i % 3 - 1;
          if (i < 3 * n_y && sx >= 0 && sx < a->w)
            sum = v_fma (w[i], v_get_f (p + i / 3 * line + (i % 3 - 1) * C, n), sum);
        }
      v_put (a->y, (size_t) r * line + ox * C + c, type, n, v_act (sum, act));
    }
  }
}

TEMPLATE
dwconv_rows (const VigDwconv *a, int first, int end, VigType type)
{
  for (int r = first; r < end; r++)
    switch (a->act) {
      case VIG_ACT_SILU: dwconv_row (a, r, VIG_ACT_SILU, type); break;
      case VIG_ACT_GELU: dwconv_row (a, r, VIG_ACT_GELU, type); break;
      default: dwconv_row (a, r, VIG_ACT_NONE, type); break;
    }
}

static void
dwconv_work (const void *data, int item, int thread)
{
  const Job *job = data;
  const VigDwconv *a = job->a;
  PIECE (job, item, first, end);
  FOR_TYPE (a->type, dwconv_rows, a, first, end);
}

static void
dwconv3x3 (void *ctx, const VigDwconv *a)
{
  run_rows (ctx, a, a->batch * a->h, rows_of ((size_t) a->w * a->c * 8), dwconv_work);
}

/* ---- log_decay ---- */

enum { LD_ROWS = 4, LD_VECS = 2, LD_C = LD_VECS * VW };

/* Rows r .. r + n - 1 of LD_C channels from c on; weight is [rank, LD_C]. */
TEMPLATE
log_decay_block (const VigLogDecay *a, const float *weight, int c, int r, int n)
{
  Vec z[LD_ROWS][LD_VECS];
  for (int j = 0; j < n; j++)
    for (int s = 0; s < LD_VECS; s++)
      z[j][s] = c + s * VW < a->c ? v_get_f (a->bias + c + s * VW, a->c - c - s * VW) : v_set (0);
  for (int i = 0; i < a->rank; i++)
    for (int j = 0; j < n; j++)
      for (int s = 0; s < LD_VECS; s++)
        z[j][s] = v_fma (v_set (a->low[(r + j) * a->low_row + i]), v_load (weight + i * LD_C + s * VW), z[j][s]);
  for (int j = 0; j < n; j++)
    for (int s = 0; s < LD_VECS && c + s * VW < a->c; s++)
      v_put (a->gk, (size_t) (r + j) * a->c + c + s * VW, VIG_TYPE_F32, a->c - c - s * VW,
          v_mul (v_log_sigmoid (z[j][s]), v_set (1 / 16.f)));
}

/* A piece of the rows for LD_C channels, whose weights are transposed first. */
static void
log_decay_work (const void *data, int item, int thread)
{
  const Job *job = data;
  const VigLogDecay *a = job->a;
  float *weight = job->cpu->scratch[thread];
  int c = item / job->pieces * LD_C;
  PIECE (job, item % job->pieces, first, end);
  for (int j = 0; j < LD_C; j++)
    for (int i = 0; i < a->rank; i++)
      weight[i * LD_C + j] = c + j < a->c ? a->weight[(size_t) (c + j) * a->rank + i] : 0;
  for (int r = first; r < end; r += LD_ROWS)
    if (end - r >= LD_ROWS)
      log_decay_block (a, weight, c, r, LD_ROWS);
    else
      log_decay_block (a, weight, c, r, end - r);
}

static void
log_decay (void *ctx, const VigLogDecay *a)
{
  VigCpu *cpu = ctx;
  Job job = { a, cpu, a->rows, a->rows / 256 + 1 };
  if (vig_cpu_scratch (cpu, sizeof (float) * a->rank * LD_C))
    vig_pool_run (cpu->pool, job.pieces * ((a->c + LD_C - 1) / LD_C), log_decay_work, &job);
}

/* ---- gate_mix ---- */

enum { HEADS = 8 }; /* whose norms are taken together: their roots and divisions overlap */

/* Heads first .. end - 1 of a row. */
TEMPLATE
gate_mix_heads (const VigGateMix *a, int r, int first, int end, VigAct act, VigType type)
{
  int dv = a->dv;
  float rms_o[HEADS], rms_l[HEADS];
  for (int j = first; j < end; j++) {
    size_t head = ((size_t) r * a->heads + j) * dv;
    Vec o2 = v_set (0), l2 = v_set (0);
    for (int c = 0; c < dv; c += VW) {
      Vec o = v_get_f (a->o + head + c, dv - c), l = v_get (a->l, head + c, type, dv - c);
      o2 = v_fma (o, o, o2);
      l2 = v_fma (l, l, l2);
    }
    rms_o[j - first] = 1 / sqrtf (v_sum (o2) / (float) dv + a->eps);
    rms_l[j - first] = 1 / sqrtf (v_sum (l2) / (float) dv + a->eps);
  }
  for (int j = first; j < end; j++) {
    size_t head = ((size_t) r * a->heads + j) * dv;
    const float *gate = a->gate + r * a->gate_row + j * dv;
    for (int c = 0; c < dv; c += VW) {
      int n = dv - c;
      Vec g = v_sigmoid (v_get_f (gate + c, n));
      Vec o = v_mul (v_mul (v_get_f (a->o + head + c, n), v_set (rms_o[j - first])), v_get_f (a->g_norm + c, n));
      Vec l = v_mul (v_mul (v_get (a->l, head + c, type, n), v_set (rms_l[j - first])), v_get_f (a->l_norm + c, n));
      v_put (a->m, head + c, type, n, v_act (v_fma (g, o, v_mul (v_sub (v_set (1), g), l)), act));
    }
  }
}

TEMPLATE
gate_mix_rows (const VigGateMix *a, int first, int end, VigType type)
{
  for (int r = first; r < end; r++)
    for (int j = 0; j < a->heads; j += HEADS) {
      int to = j + HEADS < a->heads ? j + HEADS : a->heads;
      switch (a->act) {
        case VIG_ACT_SILU: gate_mix_heads (a, r, j, to, VIG_ACT_SILU, type); break;
        case VIG_ACT_GELU: gate_mix_heads (a, r, j, to, VIG_ACT_GELU, type); break;
        default: gate_mix_heads (a, r, j, to, VIG_ACT_NONE, type); break;
      }
    }
}

static void
gate_mix_work (const void *data, int item, int thread)
{
  const Job *job = data;
  const VigGateMix *a = job->a;
  PIECE (job, item, first, end);
  FOR_TYPE (a->type, gate_mix_rows, a, first, end);
}

static void
gate_mix (void *ctx, const VigGateMix *a)
{
  run_rows (ctx, a, a->rows, rows_of ((size_t) a->heads * a->dv * 16), gate_mix_work);
}

/* ---- swiglu ---- */

TEMPLATE
swiglu_rows (const VigSwiglu *a, int first, int end, VigType type)
{
  for (int r = first; r < end; r++) {
    const float *gate = a->u + (size_t) r * 2 * a->width, *up = gate + a->width;
    for (int c = 0; c < a->width; c += VW) {
      int n = a->width - c;
      v_put (a->y, (size_t) r * a->width + c, type, n, v_mul (v_silu (v_get_f (gate + c, n)), v_get_f (up + c, n)));
    }
  }
}

static void
swiglu_work (const void *data, int item, int thread)
{
  const Job *job = data;
  const VigSwiglu *a = job->a;
  PIECE (job, item, first, end);
  FOR_TYPE (a->type, swiglu_rows, a, first, end);
}

static void
swiglu (void *ctx, const VigSwiglu *a)
{
  run_rows (ctx, a, a->rows, rows_of ((size_t) a->width * 12), swiglu_work);
}

/* ---- pool_mean ---- */

/* VW channels of one item: sums of 64 tokens, summed, so that rounding does not grow with L. */
static void
pool_mean_work (const void *data, int item, int thread)
{
  const VigPoolMean *a = data;
  int groups = (a->c + VW - 1) / VW, b = item / groups, c = item % groups * VW, n = a->c - c;
  const float *x = a->x + (size_t) b * a->tokens * a->c + c;
  Vec sum = v_set (0);
  for (int first = 0; first < a->tokens; first += 64) {
    Vec part = v_set (0);
    for (int t = first; t < first + 64 && t < a->tokens; t++)
      part = v_add (part, v_get_f (x + (size_t) t * a->c, n));
    sum = v_add (sum, part);
  }
  v_put (a->y, (size_t) b * a->c + c, VIG_TYPE_F32, n, v_mul (sum, v_set (1 / (float) a->tokens)));
}

static void
pool_mean (void *ctx, const VigPoolMean *a)
{
  VigCpu *cpu = ctx;
  vig_pool_run (cpu->pool, a->batch * ((a->c + VW - 1) / VW), pool_mean_work, a);
}

/* ---- softmax ---- */

static void
softmax_work (const void *data, int r, int thread)
{
  const VigSoftmax *a = data;
  const float *x = a->x + (size_t) r * a->c;
  float *y = a->y + (size_t) r * a->c;
  int c = 0;
  Vec greatest = v_set (x[0]), sum = v_set (0);
  for (; c + VW <= a->c; c += VW)
    greatest = v_max (greatest, v_load (x + c));
  float top = v_greatest (greatest);
  for (; c < a->c; c++)
    top = fmaxf (top, x[c]);

  for (c = 0; c < a->c; c += VW) {
    int n = a->c - c;
    Vec e = v_exp (v_sub (v_get_f (x + c, n), v_set (top)));
    sum = v_add (sum, n < VW ? v_zero_beyond (v_lanes (n), e) : e);
    v_put (y, (size_t) c, VIG_TYPE_F32, n, e);
  }
  Vec scale = v_set (1 / v_sum (sum));
  for (c = 0; c < a->c; c += VW)
    v_put (y, (size_t) c, VIG_TYPE_F32, a->c - c, v_mul (v_get_f (y + c, a->c - c), scale));
}

static void
softmax (void *ctx, const VigSoftmax *a)
{
  VigCpu *cpu = ctx;
  vig_pool_run (cpu->pool, a->rows, softmax_work, a);
}

/* ---- for matmul.c ---- */

TEMPLATE
widen_all (const void *from, size_t n, float *to, VigType type)
{
  for (size_t i = 0; i < n; i += VW) {
    int left = n - i < VW ? (int) (n - i) : VW;
    v_put (to, i, VIG_TYPE_F32, left, v_get (from, i, type, left));
  }
}

static void
widen (const void *from, VigType type, size_t n, float *to)
{
  FOR_TYPE (type, widen_all, from, n, to);
}

void
VARIANT (vig_cpu_use) (VigKernels *k)
{
  VigCpu *cpu = k->ctx;
  cpu->widen = widen;
  k->im2col = im2col;
  k->rmsnorm = rmsnorm;
  k->layernorm = layernorm;
  k->add_pos = add_pos;
  k->dwconv3x3 = dwconv3x3;
  k->log_decay = log_decay;
  k->gla_bidir = VARIANT (vig_gla_bidir);
  k->gate_mix = gate_mix;
  k->swiglu = swiglu;
  k->pool_mean = pool_mean;
  k->softmax = softmax;
}
