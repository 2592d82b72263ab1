/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Gated linear attention, one token after the other: GLA (arXiv 2312.06635) eq. 3, as ViG uses it. */
#include <math.h>
#include <stdlib.h>

#include "ref/ref.h"

/* One head in one direction. q, k, v, gk and o point at the head's channels of token 0; step is 1 or -1.
 * S [DK, DV] starts and ends as the state, o [L, DV] is added to. */
static void
scan (const VigGlaBidir *a, const float *q, const float *k, const float *v, const float *gk, int step, double *S,
    double *o)
{
  for (int i = 0, t = step > 0 ? 0 : a->tokens - 1; i < a->tokens; i++, t += step) {
    const float *qt = q + t * a->row, *kt = k + t * a->row, *vt = v + t * a->row, *gt = gk + t * a->gk_row;
    for (int r = 0; r < a->dk; r++) {
      double decay = exp ((double) gt[r]);
      for (int c = 0; c < a->dv; c++) {
        double *s = &S[r * a->dv + c];
        *s = decay * *s + (double) kt[r] * vt[c];
        o[t * a->dv + c] += qt[r] * *s;
      }
    }
  }
}

/* One direction of one head, with its state in and out (either may be NULL). */
static void
direction (const VigGlaBidir *a, int b, int j, const float *gk, int step, const float *state, float *end, double *S,
    double *o)
{
  size_t token = (size_t) b * a->tokens, size = (size_t) a->dk * a->dv, at = ((size_t) b * a->heads + j) * size;
  const float *q = a->q + token * a->row + j * a->dk, *k = a->k + token * a->row + j * a->dk;
  const float *v = a->v + token * a->row + j * a->dv;

  for (size_t i = 0; i < size; i++)
    S[i] = state ? state[at + i] : 0;
  scan (a, q, k, v, gk + token * a->gk_row + j * a->dk, step, S, o);
  for (size_t i = 0; end && i < size; i++)
    end[at + i] = (float) S[i];
}

void
vig_gla_bidir_c (void *ctx, const VigGlaBidir *a)
{
  double *S = malloc (sizeof (double) * a->dk * a->dv), *o = malloc (sizeof (double) * a->tokens * a->dv);
  if (!S || !o)
    vig_host_fail (ctx, "gla_bidir: no memory for the state");
  else
    for (int b = 0; b < a->batch; b++)
      for (int j = 0; j < a->heads; j++) {
        memset (o, 0, sizeof (double) * a->tokens * a->dv);
        if (a->gk_fw)
          direction (a, b, j, a->gk_fw, 1, a->state_fw, a->end_fw, S, o);
        if (a->gk_bw)
          direction (a, b, j, a->gk_bw, -1, a->state_bw, a->end_bw, S, o);
        for (int t = 0; t < a->tokens; t++)
          for (int c = 0; c < a->dv; c++)
            a->o[(((size_t) b * a->tokens + t) * a->heads + j) * a->dv + c] = (float) (a->scale * o[t * a->dv + c]);
      }
  free (S);
  free (o);
}

/* n columns of rows of type, as floats */
static float *
dense (const void *from, ptrdiff_t row, VigType type, int rows, int n)
{
  float *to = malloc (sizeof *to * rows * n);
  for (int r = 0; to && r < rows; r++)
    for (int c = 0; c < n; c++)
      to[(size_t) r * n + c] = vig_get (from, (size_t) r * row + c, type);
  return to;
}

void
vig_gla_mix_c (void *ctx, const VigGlaMix *a)
{
  int rows = a->batch * a->tokens, hk = a->heads * a->dk, hv = a->heads * a->dv, width = 2 * hk + hv;
  float *low = dense (a->low, a->row, a->type, rows, a->rank), *gate = dense (a->gate, a->row, a->type, rows, hv);
  float *qkv = malloc (sizeof *qkv * rows * width), *gk = malloc (sizeof *gk * rows * 2 * hk);
  float *o = malloc (sizeof *o * rows * hv);

  if (!low || !gate || !qkv || !gk || !o)
    vig_host_fail (ctx, "gla_mix: no memory");
  else {
    for (int r = 0; r < rows; r++)
      for (int c = 0; c < width; c++) {
        const void *from = c < hk ? a->q : c < 2 * hk ? a->k : a->v;
        int column = c < hk ? c : c < 2 * hk ? c - hk : c - 2 * hk;
        qkv[(size_t) r * width + c] = vig_get (from, (size_t) r * a->row + column, a->type);
      }
    vig_log_decay_c (ctx, &(VigLogDecay) { .rows = rows, .rank = a->rank, .c = 2 * hk, .low = low, .low_row = a->rank,
        .weight = a->gk_weight, .bias = a->gk_bias, .gk = gk });
    if (a->boundary)
      vig_add_boundary_c (ctx, &(VigAddBoundary) { .frames = rows / a->frame, .tokens = a->frame, .c = hk, .gk = gk,
          .boundary = a->boundary });
    vig_gla_bidir_c (ctx, &(VigGlaBidir) { .batch = a->batch, .tokens = a->tokens, .heads = a->heads, .dk = a->dk,
        .dv = a->dv, .q = qkv, .k = qkv + hk, .v = qkv + 2 * hk, .row = width, .gk_fw = gk, .gk_bw = gk + hk,
        .gk_row = 2 * hk, .o = o, .scale = a->scale });
    vig_gate_mix_c (ctx, &(VigGateMix) { .rows = rows, .heads = a->heads, .dv = a->dv, .gate = gate, .gate_row = hv,
        .o = o, .l = a->l, .g_norm = a->g_norm, .l_norm = a->l_norm, .eps = a->eps, .act = a->act, .m = a->m,
        .type = a->type });
  }
  free (low);
  free (gate);
  free (qkv);
  free (gk);
  free (o);
}
