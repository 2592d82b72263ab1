/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The operators that work on rows and pictures. Contracts and terms: kernels.h. */
#include <assert.h>
#include <math.h>
#include <stdlib.h>

#include "ref/ref.h"

static double
sigmoid (double x)
{
  return 1 / (1 + exp (-x));
}

static double
silu (double x)
{
  return x * sigmoid (x);
}

static double
act (VigAct a, double x)
{
  switch (a) {
    case VIG_ACT_SILU: return silu (x);
    case VIG_ACT_GELU: return 0.5 * x * (1 + erf (x * M_SQRT1_2));
    default: return x;
  }
}

void
vig_im2col_c (void *ctx, const VigIm2col *a)
{
  int taps = a->kernel * a->kernel, filled = taps * a->c;
  size_t i = 0;
  for (int b = 0; b < a->batch; b++)
    for (int oy = a->out_y; oy < a->out_y + a->out_h; oy++)
      for (int ox = 0; ox < a->out_w; ox++) {
        for (int j = 0; j < filled; j++) {
          int c = a->planar ? j / taps : j % a->c, tap = a->planar ? j % taps : j / a->c;
          int y = oy * a->stride - a->pad + tap / a->kernel, x = ox * a->stride - a->pad + tap % a->kernel;
          bool inside = y >= 0 && y < a->h && x >= 0 && x < a->w;
          size_t at = a->planar ? (((size_t) b * a->c + c) * a->h + y) * a->w + x
                                : (((size_t) b * a->h + y) * a->w + x) * a->c + c;
          vig_set (a->cols, i++, a->type, inside ? a->x[at] : 0);
        }
        for (int c = filled; c < a->row; c++)
          vig_set (a->cols, i++, a->type, 0);
      }
}

void
vig_rmsnorm_c (void *ctx, const VigNorm *a)
{
  for (int r = 0; r < a->rows; r++) {
    const float *x = a->x + (size_t) r * a->c;
    double squares = 0;
    for (int c = 0; c < a->c; c++)
      squares += (double) x[c] * x[c];
    double scale = 1 / sqrt (squares / a->c + a->eps);
    for (int c = 0; c < a->c; c++)
      vig_set (a->y, (size_t) r * a->c + c, a->type, act (a->act, x[c] * scale * a->weight[c]));
  }
}

void
vig_layernorm_c (void *ctx, const VigNorm *a)
{
  for (int r = 0; r < a->rows; r++) {
    const float *x = a->x + (size_t) r * a->c;
    double sum = 0, squares = 0;
    for (int c = 0; c < a->c; c++)
      sum += x[c];
    double mean = sum / a->c;
    for (int c = 0; c < a->c; c++)
      squares += (x[c] - mean) * (x[c] - mean);
    double scale = 1 / sqrt (squares / a->c + a->eps);
    for (int c = 0; c < a->c; c++)
      vig_set (a->y, (size_t) r * a->c + c, a->type,
          act (a->act, (x[c] - mean) * scale * a->weight[c] + a->bias[c]));
  }
}

void
vig_add_pos_c (void *ctx, const VigAddPos *a)
{
  size_t item = (size_t) a->tokens * a->c;
  for (int b = 0; b < a->batch; b++)
    for (size_t i = 0; i < item; i++)
      a->x[b * item + i] += a->pos[i];
}

void
vig_dwconv3x3_c (void *ctx, const VigDwconv *a)
{
  for (int b = 0; b < a->batch; b++)
    for (int y = 0; y < a->h; y++)
      for (int x = 0; x < a->w; x++)
        for (int c = 0; c < a->c; c++) {
          double sum = 0;
          for (int ky = 0; ky < 3; ky++)
            for (int kx = 0; kx < 3; kx++) {
              int sy = y + ky - 1, sx = x + kx - 1;
              if (sy >= 0 && sy < a->h && sx >= 0 && sx < a->w)
                sum += (double) a->weight[(ky * 3 + kx) * a->c + c] *
                       a->x[(((size_t) b * a->h + sy) * a->w + sx) * a->c + c];
            }
          vig_set (a->y, (((size_t) b * a->h + y) * a->w + x) * a->c + c, a->type, act (a->act, sum));
        }
}

void
vig_norm_dwconv_c (void *ctx, const VigNormDwconv *a)
{
  int rows = a->batch * a->h * a->w;
  float *normed = malloc (sizeof *normed * rows * a->c);
  VigNorm norm = { .rows = rows, .c = a->c, .x = a->x, .weight = a->norm_weight, .bias = a->norm_bias, .eps = a->eps,
    .y = normed };

  if (!normed)
    vig_host_fail (ctx, "norm_dwconv: no memory");
  else {
    (a->norm_bias ? vig_layernorm_c : vig_rmsnorm_c) (ctx, &norm);
    vig_dwconv3x3_c (ctx, &(VigDwconv) { .batch = a->batch, .h = a->h, .w = a->w, .c = a->c, .x = normed,
        .weight = a->weight, .act = a->act, .y = a->y, .type = a->type });
  }
  free (normed);
}

void
vig_log_decay_c (void *ctx, const VigLogDecay *a)
{
  for (int r = 0; r < a->rows; r++)
    for (int c = 0; c < a->c; c++) {
      double z = a->bias[c];
      for (int i = 0; i < a->rank; i++)
        z += (double) a->low[r * a->low_row + i] * a->weight[(size_t) c * a->rank + i];
      /* log sigmoid z without overflow on either side */
      a->gk[(size_t) r * a->c + c] = (float) ((fmin (z, 0) - log1p (exp (-fabs (z)))) / 16);
    }
}

void
vig_gate_mix_c (void *ctx, const VigGateMix *a)
{
  int dv = a->dv;
  for (int r = 0; r < a->rows; r++)
    for (int j = 0; j < a->heads; j++) {
      size_t head = ((size_t) r * a->heads + j) * dv;
      double o2 = 0, l2 = 0;
      for (int c = 0; c < dv; c++) {
        double o = a->o[head + c], l = vig_get (a->l, head + c, a->type);
        o2 += o * o;
        l2 += l * l;
      }
      double rms_o = 1 / sqrt (o2 / dv + a->eps), rms_l = 1 / sqrt (l2 / dv + a->eps);
      for (int c = 0; c < dv; c++) {
        double gate = sigmoid (a->gate[r * a->gate_row + j * dv + c]);
        double o = a->o[head + c] * rms_o * a->g_norm[c];
        double l = vig_get (a->l, head + c, a->type) * rms_l * a->l_norm[c];
        vig_set (a->m, head + c, a->type, act (a->act, gate * o + (1 - gate) * l));
      }
    }
}

void
vig_swiglu_c (void *ctx, const VigSwiglu *a)
{
  for (int r = 0; r < a->rows; r++) {
    const float *gate = a->u + (size_t) r * 2 * a->width, *up = gate + a->width;
    for (int c = 0; c < a->width; c++)
      vig_set (a->y, (size_t) r * a->width + c, a->type, silu (gate[c]) * up[c]);
  }
}

void
vig_pool_mean_c (void *ctx, const VigPoolMean *a)
{
  for (int b = 0; b < a->batch; b++)
    for (int c = 0; c < a->c; c++) {
      double sum = 0;
      for (int t = 0; t < a->tokens; t++)
        sum += a->x[((size_t) b * a->tokens + t) * a->c + c];
      a->y[(size_t) b * a->c + c] = (float) (sum / a->tokens);
    }
}

void
vig_softmax_c (void *ctx, const VigSoftmax *a)
{
  for (int r = 0; r < a->rows; r++) {
    const float *x = a->x + (size_t) r * a->c;
    float *y = a->y + (size_t) r * a->c;
    double top = x[0], sum = 0;
    for (int c = 1; c < a->c; c++)
      top = fmax (top, x[c]);
    for (int c = 0; c < a->c; c++)
      sum += exp (x[c] - top);
    for (int c = 0; c < a->c; c++)
      y[c] = (float) (exp (x[c] - top) / sum);
  }
}

/* logits [frames, classes]: the class of the greatest mean */
static int
top_class (const float *logits, int frames, int classes)
{
  float best = -INFINITY;
  int top = 0;
  for (int c = 0; c < classes; c++) {
    double sum = 0;
    for (int f = 0; f < frames; f++)
      sum += logits[(size_t) f * classes + c];
    float mean = (float) (sum / frames);
    if (mean > best) {
      best = mean;
      top = c;
    }
  }
  return top;
}

void
vig_class_map_c (void *ctx, const VigClassMap *a)
{
  for (int i = 0; i < a->batch * a->maps; i++) {
    int b = i / a->maps, class = (int) a->which[i];
    const float *x = a->x + ((size_t) b + 1) * a->frames * a->tokens * a->c - (size_t) a->tokens * a->c;
    if (a->which[i] == VIG_WHICH_TOP)
      class = top_class (a->logits + (size_t) b * a->frames * a->classes, a->frames, a->classes);
    a->chosen[i] = (float) class;
    for (int t = 0; t < a->tokens; t++) {
      double sum = 0;
      for (int c = 0; c < a->c && class >= 0; c++)
        sum += (double) a->weight[(size_t) class * a->c + c] * x[(size_t) t * a->c + c];
      a->y[(size_t) i * a->tokens + t] = (float) (sum / ((double) a->frames * a->tokens));
    }
  }
}
