/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What models over time do, on vectors along the channels; compiled once for each instruction set. Little beside the
 * blocks. From frame to frame what is threaded is what does not depend on the frame before (cells and heads, numbers of a
 * picture), so that the frames of one stream go through in order whatever the batch.
 */
#include <math.h>

#include "cpu/cpu.h"
#include "cpu/vec.h"

void VARIANT (vig_cpu_use_time) (VigKernels *k);

/* ---- dwconv3x3x3 ---- */

/* One row of tokens. */
TEMPLATE
dwconv_time_row (const VigDwconvTime *a, int item, VigAct act, VigType type)
{
  int y = item % a->h, t = item / a->h % a->frames;
  const float *row = a->x + (size_t) item * a->w * a->c;
  ptrdiff_t line = (ptrdiff_t) a->w * a->c, frame = line * a->h;
  for (int x = 0; x < a->w; x++)
    for (int c = 0; c < a->c; c += VW) {
      int n = a->c - c;
      Vec sum = v_set (0);
      for (int tap = 0; tap < 27; tap++) {
        int dt = tap / 9 - 1, dy = tap / 3 % 3 - 1, dx = tap % 3 - 1;
        if (t + dt >= 0 && t + dt < a->frames && y + dy >= 0 && y + dy < a->h && x + dx >= 0 && x + dx < a->w)
          sum = v_fma (v_get_f (a->weight + (size_t) tap * a->c + c, n),
              v_get_f (row + dt * frame + dy * line + (ptrdiff_t) (x + dx) * a->c + c, n), sum);
      }
      v_put (a->y, ((size_t) item * a->w + x) * a->c + c, type, n, v_act (sum, act, type));
    }
}

TEMPLATE
dwconv_time_acts (const VigDwconvTime *a, int item, VigType type)
{
  if (a->act == VIG_ACT_SILU)
    dwconv_time_row (a, item, VIG_ACT_SILU, type);
  else
    dwconv_time_row (a, item, VIG_ACT_NONE, type);
}

static void
dwconv_time_work (const void *data, int item, int thread)
{
  const VigDwconvTime *a = data;
  FOR_TYPE (a->type, dwconv_time_acts, a, item);
}

static void
dwconv3x3x3 (void *ctx, const VigDwconvTime *a)
{
  vig_pool_run (((VigCpu *) ctx)->pool, a->batch * a->frames * a->h, dwconv_time_work, a);
}

/* ---- cell_mean, cell_add ---- */

/* The first row (or column) of cell i of grid, among n. */
static int
first_of (int i, int n, int grid)
{
  return (i * n + grid - 1) / grid;
}

TEMPLATE
cell_mean_one (const VigCellMean *a, int b, int cell, VigType type)
{
  int row = cell / a->grid, column = cell % a->grid;
  int y0 = first_of (row, a->h, a->grid), y1 = first_of (row + 1, a->h, a->grid);
  int x0 = first_of (column, a->w, a->grid), x1 = first_of (column + 1, a->w, a->grid);
  const float *x = a->x + (size_t) b * a->h * a->w * a->c;
  Vec scale = v_set (1 / (float) ((y1 - y0) * (x1 - x0)));
  for (int c = 0; c < a->c; c += VW) {
    int n = a->c - c;
    Vec sum = v_set (0);
    for (int ty = y0; ty < y1; ty++) {
      Vec part = v_set (0); /* of a row, so that rounding does not grow with the cell */
      for (int tx = x0; tx < x1; tx++)
        part = v_add (part, v_get_f (x + ((size_t) ty * a->w + tx) * a->c + c, n));
      sum = v_add (sum, part);
    }
    v_put (a->y, ((size_t) b * a->grid * a->grid + cell) * a->c + c, type, n, v_mul (sum, scale));
  }
}

static void
cell_mean_work (const void *data, int item, int thread)
{
  const VigCellMean *a = data;
  int cells = a->grid * a->grid;
  FOR_TYPE (a->type, cell_mean_one, a, item / cells, item % cells);
}

static void
cell_mean (void *ctx, const VigCellMean *a)
{
  vig_pool_run (((VigCpu *) ctx)->pool, a->batch * a->grid * a->grid, cell_mean_work, a);
}

/* One row of tokens. */
static void
cell_add_work (const void *data, int item, int thread)
{
  const VigCellAdd *a = data;
  int b = item / a->h, row = item % a->h;
  const float *cells = a->y + ((size_t) b * a->grid + row * a->grid / a->h) * a->grid * a->c;
  float *x = a->x + (size_t) item * a->w * a->c;
  for (int t = 0; t < a->w; t++, x += a->c) {
    const float *y = cells + (size_t) (t * a->grid / a->w) * a->c;
    for (int c = 0; c < a->c; c += VW)
      v_put (x, (size_t) c, VIG_TYPE_F32, a->c - c, v_add (v_get_f (x + c, a->c - c), v_get_f (y + c, a->c - c)));
  }
}

static void
cell_add (void *ctx, const VigCellAdd *a)
{
  vig_pool_run (((VigCpu *) ctx)->pool, a->batch * a->h, cell_add_work, a);
}

/* ---- memory_step ---- */

typedef struct {
  const VigMemoryStep *a;
  VigCpu *cpu;
  int pieces; /* rows are cut into, for their log decays */
  float *gk;  /* [B, cells, H * DK] */
} Step;

/* Log decays of some of the rows. */
static void
gates_work (const void *data, int item, int thread)
{
  const Step *job = data;
  const VigMemoryStep *a = job->a;
  int rows = a->batch * a->cells, c = a->heads * a->dk;
  int first = vig_cpu_cut (rows, job->pieces, item), end = vig_cpu_cut (rows, job->pieces, item + 1);
  VARIANT (vig_log_decay_rows) (&(VigLogDecay) { .rows = end - first, .rank = a->rank, .c = c,
      .low = a->low + first * a->row, .low_row = a->row, .weight = a->gk_weight, .bias = a->gk_bias,
      .gk = job->gk + (size_t) first * c }, job->cpu->scratch[thread]);
}

/* decay[i] = exp (r gk[i]) */
static void
decays (const float *gk, int dk, float r, float *decay)
{
  for (int i = 0; i < dk; i += VW)
    v_put (decay, (size_t) i, VIG_TYPE_F32, dk - i, v_exp (v_mul (v_get_f (gk + i, dk - i), v_set (r))));
}

/* S = diag(decay) S + write k v^T; o = q^T S */
static void
update (const VigMemoryStep *a, const float *q, const float *k, const float *v, const float *decay, float write, bool first,
    float *S, float *o)
{
  for (int c = 0; c < a->dv; c += VW) {
    int n = a->dv - c;
    Vec vc = v_get_f (v + c, n), sum = v_set (0);
    for (int i = 0; i < a->dk; i++) {
      float *at = S + (size_t) i * a->dv + c;
      Vec s = v_mul (v_set (write * k[i]), vc);
      if (!first)
        s = v_fma (v_set (decay[i]), v_get_f (at, n), s);
      v_put (at, 0, VIG_TYPE_F32, n, s);
      sum = v_fma (v_set (q[i]), s, sum);
    }
    v_put (o, (size_t) c, VIG_TYPE_F32, n, v_mul (sum, v_set (a->scale)));
  }
}

/* o = sigmoid(gate) * rms(o) * g_norm */
TEMPLATE
finish (const VigMemoryStep *a, const float *o, const float *gate, size_t to, VigType type)
{
  Vec squares = v_set (0);
  for (int c = 0; c < a->dv; c += VW) {
    Vec x = v_get_f (o + c, a->dv - c);
    squares = v_fma (x, x, squares);
  }
  Vec scale = v_set (1 / sqrtf (v_sum (squares) / (float) a->dv + a->eps));
  for (int c = 0; c < a->dv; c += VW) {
    int n = a->dv - c;
    Vec x = v_mul (v_mul (v_get_f (o + c, n), scale), v_get_f (a->g_norm + c, n));
    v_put (a->o, to + c, type, n, v_mul (x, v_sigmoid (v_get_f (gate + c, n), type)));
  }
}

/* One cell and head of all frames, in order. */
static void
memory_step_work (const void *data, int item, int thread)
{
  const Step *job = data;
  const VigMemoryStep *a = job->a;
  int cell = item / a->heads, head = item % a->heads, size = a->dk * a->dv;
  float *decay = job->cpu->scratch[thread], *o = decay + a->dk + VW;
  for (int b = 0; b < a->batch; b++) {
    size_t row = (size_t) b * a->cells + cell, at = row * a->row, place = a->offset + (size_t) item * size;
    if (b + 1 < a->batch)
      prefetch (a->state[b + 1], place, size, VIG_TYPE_F32);
    bool first = a->elapsed[b] < 0;
    float r = first ? 1 : a->elapsed[b];
    decays (job->gk + (row * a->heads + head) * a->dk, a->dk, r, decay);
    update (a, a->q + at + head * a->dk, a->k + at + head * a->dk, a->v + at + head * a->dv, decay,
        fminf (r, a->max_elapsed), first, a->state[b] + place, o);
    FOR_TYPE (a->type, finish, a, o, a->gate + at + head * a->dv, (row * a->heads + head) * a->dv);
  }
}

static void
memory_step (void *ctx, const VigMemoryStep *a)
{
  VigCpu *cpu = ctx;
  int rows = a->batch * a->cells;
  size_t step = (size_t) (a->dk + a->dv + 2 * VW), gates = (size_t) a->rank * LOG_DECAY_CHANNELS;
  Step job = { a, cpu, vig_cpu_pieces (cpu, rows, 16), vig_cpu_buffer (cpu, sizeof (float) * rows * a->heads * a->dk) };
  if (!job.gk || !vig_cpu_scratch (cpu, sizeof (float) * (step > gates ? step : gates)))
    return;
  vig_pool_run (cpu->pool, job.pieces, gates_work, &job);
  vig_pool_run (cpu->pool, a->cells * a->heads, memory_step_work, &job);
}

/* ---- difference ---- */

enum { DIFFERENCE_PIECE = 4096 };

/* A piece of all frames, in order. */
static void
difference_work (const void *data, int item, int thread)
{
  const VigDifference *a = data;
  int first = item * DIFFERENCE_PIECE, end = first + DIFFERENCE_PIECE < a->size ? first + DIFFERENCE_PIECE : a->size;
  Vec gain = v_set (a->gain), limit = v_set (a->limit), least = v_set (-a->limit);
  for (int b = 0; b < a->batch; b++) {
    const float *x = a->x + (size_t) b * a->size;
    float *before = a->state[b] + a->offset, *y = a->y + (size_t) b * 2 * a->size;
    bool none = a->elapsed[b] < 0;
    for (int i = first; i < end; i += VW) {
      int n = end - i;
      Vec now = v_get_f (x + i, n);
      Vec d = none ? v_set (0) : v_mul (gain, v_sub (now, v_get_f (before + i, n)));
      v_put (y, (size_t) i, VIG_TYPE_F32, n, now);
      v_put (y, (size_t) (a->size + i), VIG_TYPE_F32, n, v_min (v_max (d, least), limit));
      v_put (before, (size_t) i, VIG_TYPE_F32, n, now);
    }
  }
}

static void
difference (void *ctx, const VigDifference *a)
{
  vig_pool_run (((VigCpu *) ctx)->pool, (a->size + DIFFERENCE_PIECE - 1) / DIFFERENCE_PIECE, difference_work, a);
}

void
VARIANT (vig_cpu_use_time) (VigKernels *k)
{
  k->dwconv3x3x3 = dwconv3x3x3;
  k->cell_mean = cell_mean;
  k->cell_add = cell_add;
  k->memory_step = memory_step;
  k->difference = difference;
}
