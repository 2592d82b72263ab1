/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Gated linear attention, one token after the other: GLA (arXiv 2312.06635) eq. 3; gla_bidir and gla_mix are its cases. */
#include <math.h>
#include <stdlib.h>

#include "ref/ref.h"

/* Of a head in one direction: token t of the sequence is at q + t * a->q_at.token elements, and so on. S [DK, DV] starts
 * and ends as the state; o [L, DV]. */
static void
scan (const VigGlaRun *a, int tokens, size_t q, size_t k, size_t v, size_t gate, bool backward, double *S, double *o)
{
  const float *gates = backward ? a->gate_bw : a->gate_fw;
  for (int i = 0; i < tokens; i++) {
    ptrdiff_t t = backward ? tokens - 1 - i : i;
    for (int r = 0; r < a->dk; r++) {
      double decay = !a->gate_width ? 1 : exp (gates[gate + t * a->gate_at.token + (a->gate_width > 1 ? r : 0)]);
      double qr = vig_get (a->q, q + t * a->q_at.token + r, a->type), kr = vig_get (a->k, k + t * a->k_at.token + r, a->type);
      for (int c = 0; c < a->dv; c++) {
        double *s = &S[r * a->dv + c];
        *s = decay * *s + kr * vig_get (a->v, v + t * a->v_at.token + c, a->type);
        o[t * a->dv + c] = (r ? o[t * a->dv + c] : 0) + qr * *s;
      }
    }
  }
}

static size_t
place (VigStrides at, int b, ptrdiff_t token, int head)
{
  return b * at.sequence + token * at.token + head * at.head;
}

/* Both directions of one head; S [DK, DV] and o [2, L, DV] are to work in. */
static void
head (const VigGlaRun *a, int b, int j, double *S, double *o)
{
  int sequence = a->ragged ? 0 : b, tokens = a->ragged ? (int) (a->offsets[b + 1] - a->offsets[b]) : a->tokens;
  ptrdiff_t first = a->ragged ? a->offsets[b] : 0;
  size_t size = (size_t) a->dk * a->dv, n = (size_t) tokens * a->dv, at = ((size_t) b * a->heads + j) * size;

  for (int backward = 0; backward < 2; backward++) {
    const float *state = backward ? a->state_bw : a->state_fw;
    float *end = backward ? a->end_bw : a->end_fw;
    for (size_t i = 0; i < size; i++)
      S[i] = state ? state[at + i] : 0;
    if (backward ? a->backward : a->forward)
      scan (a, tokens, place (a->q_at, sequence, first, j), place (a->k_at, sequence, first, j),
          place (a->v_at, sequence, first, j), place (a->gate_at, sequence, first, j), backward, S, o + backward * n);
    else
      memset (o + backward * n, 0, n * sizeof *o);
    for (size_t i = 0; end && i < size; i++)
      end[at + i] = (float) S[i];
  }
  for (size_t i = 0; i < n; i++) {
    size_t to = place (a->o_at, sequence, first + (ptrdiff_t) (i / a->dv), j) + i % a->dv;
    if (a->o_fw)
      vig_set (a->o_fw, to, a->o_type, a->scale * o[i]);
    if (a->o_bw)
      vig_set (a->o_bw, to, a->o_type, a->scale * o[n + i]);
    if (a->o_sum)
      vig_set (a->o_sum, to, a->o_type, a->scale * (o[i] + o[n + i]));
  }
}

size_t
vig_gla_plan_c (void *ctx, VigGlaRun *a)
{
  if (a->form == VIG_SCAN_AUTO)
    a->form = VIG_SCAN_TOKENS;
  return sizeof (double) * a->dv * (a->dk + 2 * (size_t) a->tokens);
}

void
vig_gla_c (void *ctx, const VigGlaRun *a)
{
  double *S = a->workspace;
  for (int b = 0; b < a->batch; b++)
    for (int j = 0; j < a->heads; j++)
      head (a, b, j, S, S + a->dk * a->dv);
}

void
vig_gla_bidir_c (void *ctx, const VigGlaBidir *a)
{
  VigStrides k = { a->tokens * a->row, a->row, a->dk }, v = { a->tokens * a->row, a->row, a->dv };
  VigGlaRun run = { .batch = a->batch, .heads = a->heads, .dk = a->dk, .dv = a->dv, .tokens = a->tokens,
    .forward = a->gk_fw, .backward = a->gk_bw, .gate_width = a->dk, .scale = a->scale, .q = a->q, .k = a->k, .v = a->v,
    .gate_fw = a->gk_fw, .gate_bw = a->gk_bw, .q_at = k, .k_at = k, .v_at = v,
    .gate_at = { a->tokens * a->gk_row, a->gk_row, a->dk },
    .o_at = { (ptrdiff_t) a->tokens * a->heads * a->dv, (ptrdiff_t) a->heads * a->dv, a->dv },
    .state_fw = a->state_fw, .state_bw = a->state_bw, .end_fw = a->end_fw, .end_bw = a->end_bw, .o_sum = a->o };

  if ((run.workspace = malloc (vig_gla_plan_c (ctx, &run))))
    vig_gla_c (ctx, &run);
  else
    vig_host_fail (ctx, "gla_bidir: no memory for the state");
  free (run.workspace);
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
