/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * ViG and ViG-H, evaluation path, in the order of the paper (arXiv 2405.18425), over the table of any backend.
 *
 * B items, L = h * w tokens row by row, D channels, H heads of DK = D / 2H key and DV = D / H value channels, I MLP
 * width. x, the residual stream, is f32; what enters a matrix product is of weights->type.
 */
#include "forward.h"

#include <math.h>
#include <numbers.h>

#define RMS_EPS 1e-6f
#define LAYER_EPS 1e-5f
#define DIFFERENCE_LIMIT 4.0f /* of the amplified difference to the picture before */

typedef struct {
  VigKernels *k;
  const VigConfig *c;
  const VigWeights *w;
  VigPlan *p;
  int n; /* items */
  const VigTap *tap;
  char prefix[32]; /* of the names that the tap sees */
} Forward;

/* Shows [rows, columns] of @type, @row elements from one row to the next. */
static void
show (const Forward *f, const char *name, const void *data, VigType type, gsize rows, gsize columns, gsize row)
{
  gsize size = vig_type_size (type);

  if (!f->tap->func)
    return;
  g_autofree char *full = g_strconcat (f->prefix, name, NULL);
  g_autofree guint8 *host = g_malloc (rows * row * size);
  g_autofree float *dense = g_new (float, rows * columns);
  f->k->finish (f->k->ctx);
  f->k->download (f->k->ctx, host, data, ((rows - 1) * row + columns) * size);
  for (gsize r = 0; r < rows; r++)
    for (gsize i = 0; i < columns; i++)
      dense[r * columns + i] = vig_get (host, r * row + i, type);
  f->tap->func (full, dense, rows, columns, f->tap->user_data);
}

static void
show_f32 (const Forward *f, const char *name, const float *data, gsize rows, gsize columns)
{
  show (f, name, data, VIG_TYPE_F32, rows, columns, columns);
}

static float
norm_eps (const VigNormWeights *w)
{
  return w->bias ? LAYER_EPS : RMS_EPS;
}

/* y = norm (x), x [rows, C] */
static void
norm (const Forward *f, const VigNormWeights *w, const float *x, int rows, int c, VigAct act, void *y, VigType type)
{
  VigNorm a = { .rows = rows, .c = c, .x = x, .weight = w->weight, .bias = w->bias, .act = act, .y = y, .type = type,
    .eps = norm_eps (w) };
  (w->bias ? f->k->layernorm : f->k->rmsnorm) (f->k->ctx, &a);
}

/* c = a * weight^T + bias, or c += it; @rows of each item */
static void
product (const Forward *f, VigMatmul *m, const void *a, float *c, int rows, bool accumulate)
{
  f->k->matmul_run (f->k->ctx, m, &(VigMatmulRun) { .batch = f->n, .rows = rows, .a = a, .c = c,
      .accumulate = accumulate });
}

/* The mean of both scans; the official evaluation path of the plain family halves it once more. */
static float
gla_scale (const Forward *f, int dk)
{
  return 1 / sqrtf ((float) dk) * (f->c->hierarchical ? 0.5f : 0.25f);
}

/* y [N, to.h * to.w, out] = convolution of x [N, from.h * from.w, in], or of x [N, in, from.h, from.w] if planar; y may be
 * x where it is one slice. */
static void
convolution (const Forward *f, const VigConvWeights *w, const float *x, guint n, bool planar, VigGrid from, VigGrid to,
    VigSlice slice, void *cols, float *y)
{
  gsize item = (gsize) from.h * from.w * w->in;

  for (guint i = 0; i < n; i += slice.items)
    for (guint row = 0; row < to.h; row += slice.rows) {
      int items = (int) MIN (slice.items, n - i), rows = (int) MIN (slice.rows, to.h - row);
      f->k->im2col (f->k->ctx, &(VigIm2col) { .batch = items, .h = (int) from.h, .w = (int) from.w, .c = (int) w->in,
          .kernel = (int) w->kernel, .stride = (int) w->stride, .pad = (int) w->pad, .out_h = rows, .out_w = (int) to.w,
          .out_y = (int) row, .planar = planar, .x = x + i * item, .cols = cols, .row = (int) w->row, .type = f->w->type });
      f->k->matmul_run (f->k->ctx, w->matmul, &(VigMatmulRun) { .batch = items, .rows = rows * (int) to.w, .a = cols,
          .c = y + ((gsize) i * to.h + row) * to.w * w->out });
    }
}

static VigSlice
slice_of (const Forward *f, const VigConvWeights *w, VigGrid to)
{
  return vig_plan_slice (f->k, to, w->row * vig_type_size (f->w->type), (guint) f->n);
}

/* What the stem sees of @n items from @first on: input [N, 3, h, w], or [N, 6, h, w] with its difference to the picture before,
 * in fp32. Items come in order: each may be what the next one follows. */
static const float *
view (const Forward *f, guint first, guint n)
{
  VigPlan *p = f->p;
  const VigMemoryBuffers *m = &p->memory;
  const float *x = p->input + (gsize) first * 3 * p->h * p->w;

  if (!m->views)
    return x;
  f->k->difference (f->k->ctx, &(VigDifference) { .batch = (int) n, .size = (int) (3 * p->h * p->w), .x = x,
      .gain = (float) f->c->temporal.difference, .limit = DIFFERENCE_LIMIT, .elapsed = m->now_elapsed + first,
      .state = m->now_states + first, .offset = m->picture, .y = m->views });
  return m->views;
}

/* view [N, C, h, w], slice by slice, -> x [B, L, D] of the first stage */
static void
stem (Forward *f)
{
  VigPlan *p = f->p;
  const VigConvWeights *w = f->w->stem;
  VigGrid image = { p->h, p->w }, half = p->stem, grid = p->grids[0];
  int half_rows = f->n * (int) (half.h * half.w), rows = f->n * (int) (grid.h * grid.w);
  int half_c = (int) w[0].out, c = (int) w[1].out;
  VigSlice slice = slice_of (f, &w[0], half);

  for (guint i = 0; i < (guint) f->n; i += slice.items) {
    guint n = MIN (slice.items, (guint) f->n - i);
    convolution (f, &w[0], view (f, i, n), n, true, image, half, slice, p->cols[0],
        p->stem_out + (gsize) i * half.h * half.w * half_c);                                               /* [B, half, D/2] */
  }
  show_f32 (f, "patch.conv1", p->stem_out, (gsize) half_rows, (gsize) half_c);
  norm (f, &w[0].norm, p->stem_out, half_rows, half_c, f->c->hierarchical ? VIG_ACT_GELU : VIG_ACT_SILU, p->stem_out,
      VIG_TYPE_F32);
  show_f32 (f, "patch.act1", p->stem_out, (gsize) half_rows, (gsize) half_c);
  convolution (f, &w[1], p->stem_out, (guint) f->n, false, half, grid, slice_of (f, &w[1], grid), p->cols[1],
      p->x);                                                                                               /* [B, L, D] */
  show_f32 (f, "patch.conv2", p->x, (gsize) rows, (gsize) c);
  norm (f, &w[1].norm, p->x, rows, c, VIG_ACT_NONE, p->x, VIG_TYPE_F32);
  show_f32 (f, "patch.out", p->x, (gsize) rows, (gsize) c);

  if (p->pos) {
    f->k->add_pos (f->k->ctx, &(VigAddPos) { .batch = f->n / (int) p->window, .tokens = (int) (p->window * grid.h * grid.w),
        .c = c, .x = p->x, .pos = p->pos });
    show_f32 (f, "embed", p->x, (gsize) rows, (gsize) c);
  }
}

/* l = convolution (a) of each frame by itself, or over time */
static void
locality (const Forward *f, const VigBlockWeights *w, const VigStageBuffers *b, VigGrid grid, int d)
{
  VigAct act = f->c->act_in_conv ? VIG_ACT_SILU : VIG_ACT_NONE;

  if (f->c->temporal.over_time)
    f->k->dwconv3x3x3 (f->k->ctx, &(VigDwconvTime) { .batch = f->n / (int) f->p->window, .frames = (int) f->p->window,
        .h = (int) grid.h, .w = (int) grid.w, .c = d, .x = b->a, .weight = w->dwconv, .act = act, .y = b->l,
        .type = f->w->type });
  else
    f->k->dwconv3x3 (f->k->ctx, &(VigDwconv) { .batch = f->n, .h = (int) grid.h, .w = (int) grid.w, .c = d, .x = b->a,
        .weight = w->dwconv, .act = act, .y = b->l, .type = f->w->type });
}

/* x += mixer (norm (x)): 2D locality, then gated linear attention over the tokens, of a window of frames if there is one, in
 * both directions */
static void
mixer (Forward *f, const VigBlockWeights *w, const VigStageBuffers *b, VigGrid grid, int d, int heads)
{
  VigKernels *k = f->k;
  float *x = f->p->x, *o = b->a; /* a is not used again once l is there */
  VigType type = f->w->type;
  int tokens = (int) (grid.h * grid.w), rows = f->n * tokens;
  int dk = d / (2 * heads), dv = d / heads, width = 3 * d + VIG_GATE_RANK;
  const float *q = b->joint, *key = q + d / 2, *v = q + d, *gate = q + 2 * d, *low = q + 3 * d;
  gsize R = (gsize) rows, D = (gsize) d, W = (gsize) width;

  norm (f, &w->attn_norm, x, rows, d, VIG_ACT_NONE, b->a, VIG_TYPE_F32);      /* a [B, L, D] */
  show_f32 (f, "attn_norm", b->a, R, D);
  locality (f, w, b, grid, d);
  show (f, "local", b->l, type, R, D, D);                                     /* l [B, L, D] */
  product (f, w->joint, b->l, b->joint, tokens, false);                       /* joint [B, L, q | k | v | gate | low] */
  show (f, "q", q, VIG_TYPE_F32, R, D / 2, W);
  show (f, "k", key, VIG_TYPE_F32, R, D / 2, W);
  show (f, "v", v, VIG_TYPE_F32, R, D, W);
  show (f, "gate", gate, VIG_TYPE_F32, R, D, W);
  k->log_decay (k->ctx, &(VigLogDecay) { .rows = rows, .rank = VIG_GATE_RANK, .c = d, .low = low, .low_row = width,
      .weight = w->gk_weight, .bias = w->gk_bias, .gk = b->gk });             /* gk [B, L, forward | backward] */
  show (f, "log_decay_fw", b->gk, VIG_TYPE_F32, R, D / 2, D);
  show (f, "log_decay_bw", b->gk + d / 2, VIG_TYPE_F32, R, D / 2, D);
  if (w->boundary)
    k->add_boundary (k->ctx, &(VigAddBoundary) { .frames = f->n, .tokens = tokens, .c = d / 2, .gk = b->gk,
        .boundary = w->boundary });

  k->gla_bidir (k->ctx, &(VigGlaBidir) { .batch = f->n / (int) f->p->window, .tokens = tokens * (int) f->p->window,
      .heads = heads, .dk = dk, .dv = dv, .q = q, .k = key, .v = v, .row = width, .gk_fw = b->gk, .gk_bw = b->gk + d / 2,
      .gk_row = d, .o = o, .scale = gla_scale (f, dk), .type = type });
  show_f32 (f, "o", o, R, D);                                                 /* o [B, L, H * DV] */
  k->gate_mix (k->ctx, &(VigGateMix) { .rows = rows, .heads = heads, .dv = dv, .gate = gate, .gate_row = width, .o = o,
      .l = b->l, .g_norm = w->g_norm, .l_norm = w->l_norm, .eps = RMS_EPS,
      .act = f->c->out_act ? VIG_ACT_SILU : VIG_ACT_NONE, .m = b->m, .type = type });
  show (f, "mix", b->m, type, R, D, D);                                       /* m [B, L, D] */
  product (f, w->o_proj, b->m, x, tokens, true);
  show_f32 (f, "resid", x, R, D);
}

/* x += W_out (silu (u1) * u2), [u1 | u2] = W_in norm (x) */
static void
mlp (Forward *f, const VigBlockWeights *w, const VigStageBuffers *b, VigGrid grid, int d, int hidden)
{
  float *x = f->p->x;
  int tokens = (int) (grid.h * grid.w), rows = f->n * tokens;

  norm (f, &w->mlp_norm, x, rows, d, VIG_ACT_NONE, b->y, f->w->type);         /* y [B, L, D] */
  show (f, "mlp_norm", b->y, f->w->type, (gsize) rows, (gsize) d, (gsize) d);
  product (f, w->mlp_in, b->y, b->u, tokens, false);                          /* u [B, L, 2I] */
  f->k->swiglu (f->k->ctx, &(VigSwiglu) { .rows = rows, .width = hidden, .u = b->u, .y = b->s, .type = f->w->type });
  product (f, w->mlp_out, b->s, x, tokens, true);                             /* s [B, L, I] */
  show_f32 (f, "out", x, (gsize) rows, (gsize) d);
}

/* mixer() and mlp() in as few operators as there are, for when nobody wants to see what lies between them. */
static void
fused_block (Forward *f, const VigBlockWeights *w, const VigStageBuffers *b, VigGrid grid, int d, int heads)
{
  VigKernels *k = f->k;
  float *x = f->p->x;
  VigType type = f->w->type;
  gsize size = vig_type_size (type);
  int tokens = (int) (grid.h * grid.w), window = (int) f->p->window, dk = d / (2 * heads);
  const char *joint = b->joint; /* [B, L, q | k | v | gate | low] of type */

  if (f->c->temporal.over_time) {
    norm (f, &w->attn_norm, x, f->n * tokens, d, VIG_ACT_NONE, b->a, VIG_TYPE_F32);
    locality (f, w, b, grid, d);
  } else {
    k->norm_dwconv (k->ctx, &(VigNormDwconv) { .batch = f->n, .h = (int) grid.h, .w = (int) grid.w, .c = d, .x = x,
        .norm_weight = w->attn_norm.weight, .norm_bias = w->attn_norm.bias, .eps = norm_eps (&w->attn_norm),
        .weight = w->dwconv, .act = f->c->act_in_conv ? VIG_ACT_SILU : VIG_ACT_NONE, .y = b->l, .type = type });
  }
  k->matmul_run (k->ctx, w->joint, &(VigMatmulRun) { .batch = f->n, .rows = tokens, .a = b->l, .c = b->joint,
      .type = type });
  k->gla_mix (k->ctx, &(VigGlaMix) { .batch = f->n / window, .tokens = tokens * window, .heads = heads, .dk = dk,
      .dv = d / heads, .rank = VIG_GATE_RANK, .q = joint, .k = joint + d / 2 * size, .v = joint + d * size,
      .gate = joint + 2 * d * size,
      .low = joint + 3 * d * size, .row = 3 * d + VIG_GATE_RANK, .gk_weight = w->gk_weight, .gk_bias = w->gk_bias,
      .boundary = w->boundary, .frame = tokens, .scale = gla_scale (f, dk), .l = b->l, .g_norm = w->g_norm,
      .l_norm = w->l_norm, .eps = RMS_EPS,
      .act = f->c->out_act ? VIG_ACT_SILU : VIG_ACT_NONE, .m = b->m, .type = type });
  product (f, w->o_proj, b->m, x, tokens, true);
  k->mlp (k->ctx, &(VigMlp) { .batch = f->n, .rows = tokens, .c = d, .x = x, .norm_weight = w->mlp_norm.weight,
      .norm_bias = w->mlp_norm.bias, .eps = norm_eps (&w->mlp_norm), .in = w->mlp_in, .out = w->mlp_out,
      .spare = b->l, .spare_size = b->mixer_bytes });
}

/* x += what the module over time that follows block @i adds; nothing if there is none (docs/temporal.md) */
static void
memory (Forward *f, guint i)
{
  const VigTemporal *t = &f->c->temporal;
  const VigMemoryBuffers *m = &f->p->memory;
  VigKernels *k = f->k;
  VigGrid grid = f->p->grids[0];
  float *x = f->p->x, *normed = f->p->normed;
  int d = (int) f->c->dims[0], w = (int) t->width, g = (int) t->grid;
  const float *joint = m->joint; /* [B, CELLS, q | k | v | gate | low] */
  guint nth = 0;

  while (nth < t->n_after && t->after[nth] != i)
    nth++;
  if (nth == t->n_after)
    return;
  const VigMemoryWeights *weights = &f->w->memories[nth];
  int dv = (int) (t->width / t->heads); /* a model without has none */
  norm (f, &weights->norm, x, f->n * (int) (grid.h * grid.w), d, VIG_ACT_NONE, normed, VIG_TYPE_F32);
  k->cell_mean (k->ctx, &(VigCellMean) { .batch = f->n, .h = (int) grid.h, .w = (int) grid.w, .c = d, .grid = g,
      .x = normed, .y = m->cells, .type = f->w->type });
  product (f, weights->joint, m->cells, m->joint, g * g, false);
  k->memory_step (k->ctx, &(VigMemoryStep) { .batch = f->n, .cells = g * g, .heads = (int) t->heads, .dk = dv / 2, .dv = dv,
      .rank = VIG_GATE_RANK, .q = joint, .k = joint + w / 2, .v = joint + w, .gate = joint + 2 * w, .low = joint + 3 * w,
      .row = 3 * w + VIG_GATE_RANK, .gk_weight = weights->gk_weight, .gk_bias = weights->gk_bias, .g_norm = weights->g_norm,
      .eps = RMS_EPS, .scale = 1 / sqrtf ((float) (dv / 2)), .max_elapsed = (float) t->max_elapsed,
      .elapsed = m->now_elapsed, .state = m->now_states, .offset = nth * vig_config_memory_size (f->c), .o = m->o,
      .type = f->w->type });
  product (f, weights->o_proj, m->o, m->y, g * g, false);
  k->cell_add (k->ctx, &(VigCellAdd) { .batch = f->n, .h = (int) grid.h, .w = (int) grid.w, .c = d, .grid = g, .y = m->y,
      .x = x });
}

/* All blocks of stage s and, but for the last, the step to the next one's grid and width. */
static void
stage (Forward *f, guint s)
{
  const VigConfig *c = f->c;
  const VigStageWeights *w = &f->w->stages[s];
  const VigStageBuffers *b = &f->p->stages[s];
  VigGrid grid = f->p->grids[s];

  for (guint i = 0; i < c->depths[s]; i++) {
    if (f->tap->func && c->hierarchical)
      g_snprintf (f->prefix, sizeof f->prefix, "layers.%u.blocks.%u.", s, i);
    else if (f->tap->func)
      g_snprintf (f->prefix, sizeof f->prefix, "blocks.%u.", i);
    if (f->p->fused) {
      fused_block (f, &w->blocks[i], b, grid, (int) c->dims[s], (int) c->heads[s]);
    } else {
      mixer (f, &w->blocks[i], b, grid, (int) c->dims[s], (int) c->heads[s]);
      mlp (f, &w->blocks[i], b, grid, (int) c->dims[s], (int) vig_config_mlp_width (c, s));
    }
    memory (f, i);
  }
  if (s + 1 == c->n_stages)
    return;

  VigGrid next = f->p->grids[s + 1];
  int rows = f->n * (int) (next.h * next.w), d = (int) c->dims[s + 1];
  convolution (f, &w->downsample, f->p->x, (guint) f->n, false, grid, next, (VigSlice) { (guint) f->n, next.h, 0 }, b->cols,
      f->p->x); /* [B, L', D'] */
  norm (f, &w->downsample.norm, f->p->x, rows, d, VIG_ACT_NONE, f->p->x, VIG_TYPE_F32);
  if (f->tap->func)
    g_snprintf (f->prefix, sizeof f->prefix, "layers.%u.", s);
  show_f32 (f, "downsample", f->p->x, (gsize) rows, (gsize) d);
}

/* x [B, L, D] -> features [B, D], logits and probabilities [B, classes]; maps [B, maps, L] if there are any */
static void
head (Forward *f)
{
  VigPlan *p = f->p;
  VigGrid grid = p->grids[f->c->n_stages - 1];
  int d = (int) vig_config_n_features (f->c), classes = (int) f->c->n_classes;
  int tokens = (int) (grid.h * grid.w), rows = f->n * tokens;

  f->prefix[0] = 0;
  norm (f, &f->w->norm, p->x, rows, d, VIG_ACT_NONE, p->normed, VIG_TYPE_F32);
  show_f32 (f, "norm", p->normed, (gsize) rows, (gsize) d);
  f->k->pool_mean (f->k->ctx, &(VigPoolMean) { .batch = f->n, .tokens = tokens, .c = d, .x = p->normed,
      .y = p->features });
  show_f32 (f, "pooled", p->features, (gsize) f->n, (gsize) d);
  product (f, f->w->head, p->features, p->logits, 1, false);
  show_f32 (f, "logits", p->logits, (gsize) f->n, (gsize) classes);
  f->k->softmax (f->k->ctx, &(VigSoftmax) { .rows = f->n, .c = classes, .x = p->logits, .y = p->probabilities });
  if (p->n_maps)
    f->k->class_map (f->k->ctx, &(VigClassMap) { .batch = f->n / (int) p->window, .frames = (int) p->window, .tokens = tokens,
        .c = d, .classes = classes, .maps = (int) p->n_maps, .x = p->normed, .weight = f->w->head_rows, .logits = p->logits,
        .which = p->now_which, .y = p->maps, .chosen = p->chosen });
}

void
vig_forward (const VigModel *model, const VigWeights *weights, VigPlan *plan, guint n, const VigTap *tap)
{
  Forward f = { .k = plan->kernels, .c = &model->config, .w = weights, .p = plan, .n = (int) n, .tap = tap };

  stem (&f);
  for (guint s = 0; s < model->config.n_stages; s++)
    stage (&f, s);
  head (&f);
}
