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
 *   dwconv3x3 + SiLU   52.2          17.6       14.7
 *   log_decay          46.9          28.6
 *   gate_mix + SiLU    65.9          33.8       26.8
 *   swiglu             59.9          28.0       19.4
 *   im2col 9x9 / 3x3   54 / 20       58 / 13    - / 9
 * Two threads halve all but rmsnorm (swiglu 14.2, log_decay 14.9, dwconv3x3 11.5, gate_mix 17.1). What becomes bf16 is
 * done with a sigmoid that is good enough for it: a third less time than with that of fp32.
 *   check-kernels --bench --threads 1
 */
#include <math.h>

#include "cpu/cpu.h"
#include "cpu/vec.h"

/* gla.c, gla-mix.c */
void VARIANT (vig_gla_bidir) (void *ctx, const VigGlaBidir *a);
void VARIANT (vig_gla_mix) (void *ctx, const VigGlaMix *a);

void VARIANT (vig_cpu_use_gla) (VigKernels *k);  /* gla-run.c */
void VARIANT (vig_cpu_use_time) (VigKernels *k); /* time.c */

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

/* Planes: the kernel's row ky is one run of k numbers in each. The runs follow one another in cols, so that a vector may reach
 * beyond its run, up to the row's end: the next one lies over that. Of a patch at an edge only numbers from `first` to `last`
 * of a run, and of rows of the picture, are there. */
TEMPLATE
im2col_planar (const VigIm2col *a, const float *x, size_t to, size_t end, int y, int first, int last, int k, VigType type)
{
  void *cols = a->cols;
  int h = a->h, w = a->w;
  bool inside = first == 0 && last == k && y >= 0 && y + k <= h;
  for (const float *plane_end = x + (ptrdiff_t) a->c * h * w; x != plane_end; x += (ptrdiff_t) h * w) {
    const float *run = x;
    for (int ky = 0; ky < k; ky++, to += k, run += w) {
      int until = inside || (y + ky >= 0 && y + ky < h) ? last : 0;
      for (int i = 0; !inside && i < k; i += VW)
        v_put (cols, to + i, type, k - i, v_set (0));
      for (int i = first; i < until; i += VW)
        v_put (cols, to + i, type, (int) (end - to) - i, v_get_f (run + i, until - i));
    }
  }
}

/* The same with what the compiler should know where there is most to do: a patch inside a picture of 9 x 9. */
TEMPLATE
im2col_patch (const VigIm2col *a, const float *x, size_t to, size_t end, int oy, int ox, VigType type)
{
  int y = oy * a->stride - a->pad, left = ox * a->stride - a->pad;
  int first = left < 0 ? -left : 0, last = left + a->kernel > a->w ? a->w - left : a->kernel;
  x += (ptrdiff_t) y * a->w + left;
  if (a->kernel == 9 && first == 0 && last == 9 && y >= 0 && y + 9 <= a->h)
    im2col_planar (a, x, to, end, 0, 0, 9, 9, type);
  else
    im2col_planar (a, x, to, end, y, first, last, a->kernel, type);
}

TEMPLATE
im2col_rows (const VigIm2col *a, int first, int end, VigType type)
{
  size_t item = (size_t) a->h * a->w * a->c, filled = (size_t) a->kernel * a->kernel * a->c;
  size_t row = a->row ? (size_t) a->row : filled;
  for (int r = first; r < end; r++) {
    int ox = r % a->out_w, oy = r / a->out_w % a->out_h + a->out_y;
    const float *x = a->x + r / a->out_w / a->out_h * item;
    if (a->planar)
      im2col_patch (a, x, r * row, (r + 1) * row, oy, ox, type);
    else
      im2col_dense (a, x, r * row, oy, ox, type);
    for (size_t i = filled; i < row; i++)
      v_put_one (a->cols, r * row + i, type, 0);
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
    v_put (a->y, (size_t) r * a->c + c, type, n, v_act (v, act, type));
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

/* Rows of either norm: the one whose bias is given. */
static void
norm_all (const VigNorm *a, int first, int end)
{
  if (a->bias)
    FOR_TYPE (a->type, norm_acts, a, first, end, true);
  else
    FOR_TYPE (a->type, norm_acts, a, first, end, false);
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

/* One row of the picture [w, C], VW channels at a time with their nine weights in registers; rows: it and its neighbours,
 * zeros beyond the edge. */
TEMPLATE
dwconv_row (const float *const rows[3], int w, int C, const float *weight, void *y, size_t to, VigAct act, VigType type)
{
  for (int c = 0; c < C; c += VW) {
    int n = C - c;
    Vec k[9];
    for (int i = 0; i < 9; i++)
      k[i] = v_get_f (weight + (size_t) i * C + c, n);
    for (int x = 0; x < w; x++) {
      ptrdiff_t at = (ptrdiff_t) x * C + c;
      Vec sum = v_set (0);
      if (x > 0 && x < w - 1 && n >= VW)
        for (int i = 0; i < 9; i++)
          sum = v_fma (k[i], v_load (rows[i / 3] + at + (i % 3 - 1) * C), sum);
      else
        for (int i = 0; i < 9; i++)
          if (x + i % 3 > 0 && x + i % 3 <= w)
            sum = v_fma (k[i], v_get_f (rows[i / 3] + at + (i % 3 - 1) * C, n), sum);
      v_put (y, to + (size_t) at, type, n, v_act (sum, act, type));
    }
  }
}

TEMPLATE
dwconv_acts (const float *const rows[3], int w, int C, const float *weight, VigAct act, void *y, size_t to, VigType type)
{
  switch (act) {
    case VIG_ACT_SILU: dwconv_row (rows, w, C, weight, y, to, VIG_ACT_SILU, type); break;
    case VIG_ACT_GELU: dwconv_row (rows, w, C, weight, y, to, VIG_ACT_GELU, type); break;
    default: dwconv_row (rows, w, C, weight, y, to, VIG_ACT_NONE, type); break;
  }
}

static void
dwconv_work (const void *data, int item, int thread)
{
  const Job *job = data;
  const VigDwconv *a = job->a;
  ptrdiff_t line = (ptrdiff_t) a->w * a->c;
  const float *zeros = job->cpu->scratch[thread];
  PIECE (job, item, first, end);
  memset (job->cpu->scratch[thread], 0, sizeof *zeros * line);
  for (int r = first; r < end; r++) {
    int y = r % a->h;
    const float *x = a->x + r * line;
    const float *rows[3] = { y > 0 ? x - line : zeros, x, y < a->h - 1 ? x + line : zeros };
    FOR_TYPE (a->type, dwconv_acts, rows, a->w, a->c, a->weight, a->act, a->y, (size_t) (r * line));
  }
}

static void
dwconv3x3 (void *ctx, const VigDwconv *a)
{
  if (vig_cpu_scratch (ctx, sizeof (float) * a->w * a->c))
    run_rows (ctx, a, a->batch * a->h, rows_of ((size_t) a->w * a->c * 8), dwconv_work);
}

/* ---- norm_dwconv ---- */

/* Three normed rows of the picture go round in the scratch space, with a row of zeros beside them. */
static void
norm_dwconv_work (const void *data, int item, int thread)
{
  const Job *job = data;
  const VigNormDwconv *a = job->a;
  ptrdiff_t line = (ptrdiff_t) a->w * a->c;
  float *ring = job->cpu->scratch[thread], *zeros = ring + 3 * line;
  int normed = 0; /* rows before this one are in the ring */
  PIECE (job, item, first, end);
  memset (zeros, 0, sizeof *zeros * line);
  for (int r = first; r < end; r++) {
    int y = r % a->h;
    const float *rows[3];
    if (r == first || y == 0)
      normed = r - (y > 0);
    for (; normed <= r + (y < a->h - 1); normed++)
      norm_all (&(VigNorm) { .rows = a->w, .c = a->c, .x = a->x + normed * line, .weight = a->norm_weight,
          .bias = a->norm_bias, .eps = a->eps, .y = ring + normed % 3 * line }, 0, a->w);
    for (int i = 0; i < 3; i++)
      rows[i] = y + i > 0 && y + i <= a->h ? ring + (r + i - 1) % 3 * line : zeros;
    FOR_TYPE (a->type, dwconv_acts, rows, a->w, a->c, a->weight, a->act, a->y, (size_t) (r * line));
  }
}

static void
norm_dwconv (void *ctx, const VigNormDwconv *a)
{
  VigCpu *cpu = ctx;
  int rows = a->batch * a->h, pieces = vig_cpu_pieces (cpu, rows, 7); /* the norms at the seams are computed twice */
  Job job = { a, cpu, rows, pieces < cpu->n_threads && rows >= cpu->n_threads ? cpu->n_threads : pieces };
  if (vig_cpu_scratch (cpu, sizeof (float) * 4 * a->w * a->c))
    vig_pool_run (cpu->pool, job.pieces, norm_dwconv_work, &job);
}

/* ---- log_decay ---- */

enum { LD_ROWS = 4, LD_VECS = 2, LD_C = LOG_DECAY_CHANNELS };

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

/* Some of the rows for LD_C channels from c on, whose weights are transposed first. */
static void
log_decay_channels (const VigLogDecay *a, int c, int first, int end, float *weight)
{
  for (int j = 0; j < LD_C; j++)
    for (int i = 0; i < a->rank; i++)
      weight[i * LD_C + j] = c + j < a->c ? a->weight[(size_t) (c + j) * a->rank + i] : 0;
  for (int r = first; r < end; r += LD_ROWS)
    if (end - r >= LD_ROWS)
      log_decay_block (a, weight, c, r, LD_ROWS);
    else
      log_decay_block (a, weight, c, r, end - r);
}

void
VARIANT (vig_log_decay_rows) (const VigLogDecay *a, float *scratch)
{
  for (int c = 0; c < a->c; c += LD_C)
    log_decay_channels (a, c, 0, a->rows, scratch);
}

static void
log_decay_work (const void *data, int item, int thread)
{
  const Job *job = data;
  PIECE (job, item % job->pieces, first, end);
  log_decay_channels (job->a, item / job->pieces * LD_C, first, end, job->cpu->scratch[thread]);
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

enum { PAIRS = 8 }; /* of a row and a head, whose norms are taken together: their roots and divisions overlap */

/* Pairs first .. end - 1, counted row by row; at most PAIRS. */
TEMPLATE
mix_pairs (const Mix *a, int first, int end, VigAct act, VigType gate_type, VigType type)
{
  int dv = a->dv;
  float rms[2 * PAIRS] = { 0 }; /* of o and l: their inverses */
  for (int p = first; p < end; p += 2) {
    Vec squares[4] = { v_set (0), v_set (0), v_set (0), v_set (0) };
    for (int i = 0; i < 2 && p + i < end; i++) {
      int r = (p + i) / a->heads, j = (p + i) % a->heads;
      const float *from = a->o + r * a->o_row + j * dv;
      size_t head = (size_t) (r * a->row + j * dv);
      prefetch (a->l, head + PAIRS * a->row, dv, type);
      prefetch (a->gate, (size_t) ((r + PAIRS) * a->gate_row + j * dv), dv, gate_type);
      for (int c = 0; c < dv; c += VW) {
        Vec o = v_get_f (from + c, dv - c), l = v_get (a->l, head + c, type, dv - c);
        squares[2 * i] = v_fma (o, o, squares[2 * i]);
        squares[2 * i + 1] = v_fma (l, l, squares[2 * i + 1]);
      }
    }
    v_sum4 (squares[0], squares[1], squares[2], squares[3], rms + 2 * (p - first));
  }
  for (int i = 0; i < 2 * (end - first); i += VW)
    v_store (rms + i, v_inverse_root (v_fma (v_load (rms + i), v_set (1 / (float) dv), v_set (a->eps))));

  for (int p = first; p < end; p++) {
    int r = p / a->heads, j = p % a->heads;
    const float *from = a->o + r * a->o_row + j * dv, *rms_of = rms + 2 * (p - first);
    size_t head = (size_t) (r * a->row + j * dv), gate = (size_t) (r * a->gate_row + j * dv);
    for (int c = 0; c < dv; c += VW) {
      int n = dv - c;
      Vec g = v_sigmoid (v_get (a->gate, gate + c, gate_type, n), type);
      Vec o = v_mul (v_mul (v_get_f (from + c, n), v_set (rms_of[0])), v_get_f (a->g_norm + c, n));
      Vec l = v_mul (v_mul (v_get (a->l, head + c, type, n), v_set (rms_of[1])), v_get_f (a->l_norm + c, n));
      v_put (a->m, head + c, type, n, v_act (v_fma (g, v_sub (o, l), l), act, type));
    }
  }
}

TEMPLATE
mix_acts (const Mix *a, int first, int end, VigType gate_type, VigType type)
{
  switch (a->act) {
    case VIG_ACT_SILU: mix_pairs (a, first, end, VIG_ACT_SILU, gate_type, type); break;
    case VIG_ACT_GELU: mix_pairs (a, first, end, VIG_ACT_GELU, gate_type, type); break;
    default: mix_pairs (a, first, end, VIG_ACT_NONE, gate_type, type); break;
  }
}

/* gate_type is F32 or type */
TEMPLATE
mix_types (const Mix *a, int first, int end, VigType type)
{
  if (a->gate_type == VIG_TYPE_F32)
    mix_acts (a, first, end, VIG_TYPE_F32, type);
  else
    mix_acts (a, first, end, type, type);
}

void
VARIANT (vig_mix_rows) (const Mix *a, int first, int end)
{
  int last = end * a->heads;
  for (int p = first * a->heads; p < last; p += PAIRS)
    FOR_TYPE (a->type, mix_types, a, p, p + PAIRS < last ? p + PAIRS : last);
}

static void
gate_mix_work (const void *data, int item, int thread)
{
  const Job *job = data;
  const VigGateMix *a = job->a;
  ptrdiff_t row = (ptrdiff_t) a->heads * a->dv;
  Mix mix = { .heads = a->heads, .dv = a->dv, .gate = a->gate, .gate_row = a->gate_row, .o = a->o, .o_row = row,
    .l = a->l, .m = a->m, .row = row, .type = a->type, .g_norm = a->g_norm, .l_norm = a->l_norm, .eps = a->eps,
    .act = a->act };
  PIECE (job, item, first, end);
  VARIANT (vig_mix_rows) (&mix, first, end);
}

static void
gate_mix (void *ctx, const VigGateMix *a)
{
  run_rows (ctx, a, a->rows, rows_of ((size_t) a->heads * a->dv * 16), gate_mix_work);
}

/* ---- swiglu ---- */

TEMPLATE
swiglu_rows (const void *u, int width, void *y, int first, int end, VigType u_type, VigType type)
{
  for (int r = first; r < end; r++) {
    size_t gate = (size_t) r * 2 * width, up = gate + width;
    for (int c = 0; c < width; c += VW) {
      int n = width - c;
      v_put (y, (size_t) r * width + c, type, n,
          v_mul (v_silu (v_get (u, gate + c, u_type, n), type), v_get (u, up + c, u_type, n)));
    }
  }
}

TEMPLATE
swiglu_wide (const void *u, int width, void *y, int first, int end, VigType type)
{
  swiglu_rows (u, width, y, first, end, VIG_TYPE_F32, type);
}

static void
swiglu_work (const void *data, int item, int thread)
{
  const Job *job = data;
  const VigSwiglu *a = job->a;
  PIECE (job, item, first, end);
  FOR_TYPE (a->type, swiglu_wide, a->u, a->width, a->y, first, end);
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

TEMPLATE
narrow_all (const float *from, size_t n, void *to, VigType type)
{
  for (size_t i = 0; i < n; i += VW) {
    int left = n - i < VW ? (int) (n - i) : VW;
    v_put (to, i, type, left, v_get_f (from + i, left));
  }
}

static void
narrow (const float *from, size_t n, void *to, VigType type)
{
  FOR_TYPE (type, narrow_all, from, n, to);
}

TEMPLATE
swiglu_same (const void *u, int width, void *y, int first, int end, VigType type)
{
  swiglu_rows (u, width, y, first, end, type, type);
}

static void
swiglu_all (const void *u, VigType u_type, int rows, int width, void *y, VigType type)
{
  if (u_type == VIG_TYPE_F32)
    FOR_TYPE (type, swiglu_wide, u, width, y, 0, rows);
  else
    FOR_TYPE (type, swiglu_same, u, width, y, 0, rows);
}

void
VARIANT (vig_cpu_use) (VigKernels *k)
{
  VigCpu *cpu = k->ctx;
  cpu->widen = widen;
  cpu->narrow = narrow;
  cpu->norm = norm_all;
  cpu->swiglu = swiglu_all;
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
  k->norm_dwconv = norm_dwconv;
  k->gla_mix = VARIANT (vig_gla_mix);
  VARIANT (vig_cpu_use_gla) (k);
  VARIANT (vig_cpu_use_time) (k);
}
