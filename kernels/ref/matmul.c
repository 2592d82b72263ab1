/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* c = a * weight^T + bias, one row after the other. */
#include <stdlib.h>

#include "ref/ref.h"

struct VigMatmul {
  int n, k;
  VigType type;
  float *weight; /* [k, n], rounded to type: transposed, so that the inner loop runs over independent sums */
  float *bias;   /* [n], zeros if there is none */
  double *sum;   /* [n] */
};

VigMatmul *
vig_matmul_create_c (void *ctx, const VigMatmulDesc *desc)
{
  VigMatmul *m = calloc (1, sizeof *m);
  size_t n = desc->n, k = desc->k;
  if (m) {
    *m = (VigMatmul) { .n = desc->n, .k = desc->k, .type = desc->type };
    m->weight = malloc (sizeof (float) * n * k);
    m->bias = calloc (n, sizeof (float));
    m->sum = malloc (sizeof (double) * n);
  }
  if (!m || !m->weight || !m->bias || !m->sum) {
    vig_matmul_destroy_c (ctx, m);
    vig_host_fail (ctx, "matmul_create: no memory for the weights");
    return NULL;
  }
  for (size_t j = 0; j < n; j++) {
    for (size_t i = 0; i < k; i++)
      m->weight[i * n + j] = vig_round_to (desc->weight[j * k + i], desc->type);
    if (desc->bias)
      m->bias[j] = desc->bias[j];
  }
  return m;
}

void
vig_matmul_run_c (void *ctx, VigMatmul *m, const VigMatmulRun *a)
{
  for (size_t r = 0; r < (size_t) a->batch * a->rows; r++) {
    for (int j = 0; j < m->n; j++)
      m->sum[j] = m->bias[j] + (a->accumulate ? (double) vig_get (a->c, r * m->n + j, a->type) : 0);
    for (int i = 0; i < m->k; i++) {
      double x = vig_get (a->a, r * m->k + i, m->type);
      const float *w = m->weight + (size_t) i * m->n;
      for (int j = 0; j < m->n; j++)
        m->sum[j] += x * w[j];
    }
    for (int j = 0; j < m->n; j++)
      vig_set (a->c, r * m->n + j, a->type, m->sum[j]);
  }
}

void
vig_mlp_c (void *ctx, const VigMlp *a)
{
  VigType type = a->in->type;
  int width = a->out->k, rows = a->batch * a->rows;
  void *y = malloc (vig_type_size (type) * rows * a->c), *s = malloc (vig_type_size (type) * rows * width);
  float *u = malloc (sizeof *u * rows * 2 * width);
  VigNorm norm = { .rows = rows, .c = a->c, .x = a->x, .weight = a->norm_weight, .bias = a->norm_bias, .eps = a->eps,
    .y = y, .type = type };

  if (!y || !s || !u)
    vig_host_fail (ctx, "mlp: no memory");
  else {
    (a->norm_bias ? vig_layernorm_c : vig_rmsnorm_c) (ctx, &norm);
    vig_matmul_run_c (ctx, a->in, &(VigMatmulRun) { .batch = a->batch, .rows = a->rows, .a = y, .c = u });
    vig_swiglu_c (ctx, &(VigSwiglu) { .rows = rows, .width = width, .u = u, .y = s, .type = type });
    vig_matmul_run_c (ctx, a->out, &(VigMatmulRun) { .batch = a->batch, .rows = a->rows, .a = s, .c = a->x,
        .accumulate = true });
  }
  free (y);
  free (s);
  free (u);
}

void
vig_matmul_destroy_c (void *ctx, VigMatmul *m)
{
  if (!m)
    return;
  free (m->weight);
  free (m->bias);
  free (m->sum);
  free (m);
}

size_t
vig_matmul_bytes_c (void *ctx, const VigMatmul *m)
{
  return sizeof (float) * ((size_t) m->n * m->k + m->n);
}
