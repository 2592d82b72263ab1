/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What models over time do (docs/temporal.md): within a window of frames, or from frame to frame. Contracts: kernels.h. */
#include <math.h>
#include <stdlib.h>

#include "ref/ref.h"

void
vig_dwconv3x3x3_c (void *ctx, const VigDwconvTime *a)
{
  int token = 0;
  for (int b = 0; b < a->batch; b++)
    for (int t = 0; t < a->frames; t++)
      for (int y = 0; y < a->h; y++)
        for (int x = 0; x < a->w; x++, token++)
          for (int c = 0; c < a->c; c++) {
            double sum = 0;
            for (int tap = 0; tap < 27; tap++) {
              int st = t + tap / 9 - 1, sy = y + tap / 3 % 3 - 1, sx = x + tap % 3 - 1;
              if (st >= 0 && st < a->frames && sy >= 0 && sy < a->h && sx >= 0 && sx < a->w)
                sum += (double) a->weight[(size_t) tap * a->c + c]
                    * a->x[((((size_t) b * a->frames + st) * a->h + sy) * a->w + sx) * a->c + c];
            }
            vig_set (a->y, (size_t) token * a->c + c, a->type, a->act == VIG_ACT_SILU ? sum / (1 + exp (-sum)) : sum);
          }
}

void
vig_add_boundary_c (void *ctx, const VigAddBoundary *a)
{
  for (int f = 0; f < a->frames; f++)
    for (int c = 0; c < a->c; c++) {
      a->gk[(size_t) f * a->tokens * 2 * a->c + c] += a->boundary[c];
      a->gk[((size_t) (f + 1) * a->tokens - 1) * 2 * a->c + a->c + c] += a->boundary[c];
    }
}

static int
cell_of (int row, int column, int h, int w, int grid)
{
  return row * grid / h * grid + column * grid / w;
}

void
vig_cell_mean_c (void *ctx, const VigCellMean *a)
{
  for (int b = 0; b < a->batch; b++)
    for (int cell = 0; cell < a->grid * a->grid; cell++)
      for (int c = 0; c < a->c; c++) {
        double sum = 0;
        int tokens = 0;
        for (int y = 0; y < a->h; y++)
          for (int x = 0; x < a->w; x++)
            if (cell_of (y, x, a->h, a->w, a->grid) == cell) {
              sum += a->x[(((size_t) b * a->h + y) * a->w + x) * a->c + c];
              tokens++;
            }
        vig_set (a->y, ((size_t) b * a->grid * a->grid + cell) * a->c + c, a->type, sum / tokens);
      }
}

void
vig_cell_add_c (void *ctx, const VigCellAdd *a)
{
  for (int b = 0; b < a->batch; b++)
    for (int y = 0; y < a->h; y++)
      for (int x = 0; x < a->w; x++) {
        const float *from = a->y + ((size_t) b * a->grid * a->grid + cell_of (y, x, a->h, a->w, a->grid)) * a->c;
        for (int c = 0; c < a->c; c++)
          a->x[(((size_t) b * a->h + y) * a->w + x) * a->c + c] += from[c];
      }
}

/* r times the log decay of one key channel */
static double
log_decay (const VigMemoryStep *a, const float *low, int channel, double r)
{
  double z = a->gk_bias[channel];
  for (int i = 0; i < a->rank; i++)
    z += (double) low[i] * a->gk_weight[(size_t) channel * a->rank + i];
  return r * (fmin (z, 0) - log1p (exp (-fabs (z)))) / 16;
}

/* One head of one row. S [DK, DV]; o [DV] is added to. */
static void
step (const VigMemoryStep *a, size_t row, int head, float elapsed, float *S, double *o)
{
  const float *q = a->q + row * a->row + head * a->dk, *k = a->k + row * a->row + head * a->dk;
  const float *v = a->v + row * a->row + head * a->dv;
  bool first = elapsed < 0;
  double r = first ? 1 : elapsed, write = fmin (r, a->max_elapsed);
  for (int i = 0; i < a->dk; i++) {
    double decay = exp (log_decay (a, a->low + row * a->row, head * a->dk + i, r));
    for (int c = 0; c < a->dv; c++) {
      float *s = &S[i * a->dv + c];
      *s = (float) ((first ? 0 : decay * *s) + write * k[i] * v[c]);
      o[c] += (double) q[i] * *s;
    }
  }
}

void
vig_memory_step_c (void *ctx, const VigMemoryStep *a)
{
  double *o = malloc (sizeof *o * a->dv);
  if (!o)
    vig_host_fail (ctx, "memory_step: no memory");
  for (int b = 0; o && b < a->batch; b++)
    for (int cell = 0; cell < a->cells; cell++)
      for (int j = 0; j < a->heads; j++) {
        size_t row = (size_t) b * a->cells + cell, size = (size_t) a->dk * a->dv;
        double squares = 0;
        memset (o, 0, sizeof *o * a->dv);
        step (a, row, j, a->elapsed[b], a->state[b] + a->offset + ((size_t) cell * a->heads + j) * size, o);
        for (int c = 0; c < a->dv; c++) {
          o[c] *= a->scale;
          squares += o[c] * o[c];
        }
        double rms = 1 / sqrt (squares / a->dv + a->eps);
        for (int c = 0; c < a->dv; c++) {
          double gate = 1 / (1 + exp (-a->gate[row * a->row + j * a->dv + c]));
          vig_set (a->o, (row * a->heads + j) * a->dv + c, a->type, gate * o[c] * rms * a->g_norm[c]);
        }
      }
  free (o);
}

void
vig_difference_c (void *ctx, const VigDifference *a)
{
  for (int b = 0; b < a->batch; b++) {
    const float *x = a->x + (size_t) b * a->size;
    float *before = a->state[b] + a->offset, *y = a->y + (size_t) b * 2 * a->size;
    for (int i = 0; i < a->size; i++) {
      float d = a->elapsed[b] < 0 ? 0 : a->gain * (x[i] - before[i]);
      y[i] = x[i];
      y[a->size + i] = fminf (fmaxf (d, -a->limit), a->limit);
      before[i] = x[i];
    }
  }
}
