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
