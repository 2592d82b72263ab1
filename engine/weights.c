/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "weights.h"

#include <string.h>

/* After the first failure the helpers below do nothing more, and vig_weights_new() says so at its end. */
typedef struct {
  VigWeights *w;
  const VigModel *model;
  gboolean failed, no_memory;
} Builder;

static const float *
upload (Builder *b, const float *host, gsize n)
{
  VigKernels *k = b->w->kernels;
  float *memory = b->failed ? NULL : k->alloc (k->ctx, n * sizeof (float));
  if (!memory) {
    b->no_memory |= !b->failed;
    b->failed = TRUE;
    return NULL;
  }
  k->upload (k->ctx, memory, host, n * sizeof (float));
  g_ptr_array_add (b->w->vectors, memory);
  b->w->bytes += n * sizeof (float);
  return memory;
}

/* weight [n, k] */
static VigMatmul *
pack (Builder *b, const float *weight, const float *bias, guint n, guint k, VigType type)
{
  VigKernels *kernels = b->w->kernels;
  VigMatmulDesc desc = { .n = (int) n, .k = (int) k, .type = type, .weight = weight, .bias = bias };
  VigMatmul *m = b->failed ? NULL : kernels->matmul_create (kernels->ctx, &desc);
  if (!m) {
    b->failed = TRUE;
    return NULL;
  }
  g_ptr_array_add (b->w->matmuls, m);
  b->w->bytes += kernels->matmul_bytes (kernels->ctx, m);
  return m;
}

static float *
scratch (Builder *b, gsize n)
{
  float *memory = b->failed ? NULL : g_try_new0 (float, n);
  if (!memory)
    b->failed = TRUE;
  return memory;
}

/* @prefix is followed by ".weight" and, if @bias, ".bias". */
static VigNormWeights
norm (Builder *b, const char *prefix, guint c, gboolean bias)
{
  return (VigNormWeights) {
    .weight = upload (b, vig_model_get_weight (b->model, "%s.weight", prefix), c),
    .bias = bias ? upload (b, vig_model_get_weight (b->model, "%s.bias", prefix), c) : NULL,
  };
}

/* [out, in, taps] -> rows of [taps, in]: patches of x with its channels last. */
static void
channels_last (float *to, gsize row, const float *from, gsize out, gsize in, gsize taps)
{
  for (gsize o = 0; o < out; o++)
    for (gsize i = 0; i < in; i++)
      for (gsize t = 0; t < taps; t++)
        to[o * row + t * in + i] = from[(o * in + i) * taps + t];
}

/* @planar: of the pictures themselves, which have their channels first, as the weights do. */
static VigConvWeights
conv (Builder *b, const char *prefix, gboolean planar, guint conv_index, guint norm_index, guint in, guint out, guint kernel,
    guint stride)
{
  guint taps = kernel * kernel, row = vig_conv_row (kernel, in);
  g_autofree float *weight = scratch (b, (gsize) out * row); /* zeros */
  g_autofree char *norm_name = g_strdup_printf ("%s.%u", prefix, norm_index);

  if (weight)
    channels_last (weight, row, vig_model_get_weight (b->model, "%s.%u.weight", prefix, conv_index), out, planar ? 1 : in,
        planar ? in * taps : taps);
  return (VigConvWeights) {
    .kernel = kernel, .stride = stride, .pad = 1, .in = in, .out = out, .row = row,
    .matmul = pack (b, weight, vig_model_get_weight (b->model, "%s.%u.bias", prefix, conv_index), out, row,
        b->w->type),
    .norm = norm (b, norm_name, out, TRUE),
  };
}

/* All projections of a mixer of width @w that read the same @d channels, in one product. */
static VigMatmul *
joint (Builder *b, const char *op, guint w, guint d)
{
  gsize n = 3 * w + VIG_GATE_RANK;
  g_autofree float *weight = scratch (b, n * d), *bias = scratch (b, n);

  if (b->failed)
    return NULL;
  memcpy (weight, vig_model_get_weight (b->model, "%s.qkv_proj.weight", op), sizeof (float) * 2 * w * d);
  memcpy (weight + (gsize) 2 * w * d, vig_model_get_weight (b->model, "%s.g_proj.weight", op), sizeof (float) * w * d);
  memcpy (weight + (gsize) 3 * w * d, vig_model_get_weight (b->model, "%s.gk_proj.0.weight", op),
      sizeof (float) * VIG_GATE_RANK * d);
  memcpy (bias + 2 * w, vig_model_get_weight (b->model, "%s.g_proj.bias", op), sizeof (float) * w);
  return pack (b, weight, bias, (guint) n, d, b->w->type);
}

/* @p: "blocks.3"; the names of the parts differ between the families. */
static void
block (Builder *b, VigBlockWeights *out, const char *p, guint d, guint heads, guint hidden)
{
  const VigModel *m = b->model;
  gboolean h = m->config.hierarchical;
  g_autofree char *op = g_strconcat (p, h ? ".op" : ".attn", NULL);
  g_autofree char *norm1 = g_strconcat (p, h ? ".norm" : ".attn_norm", NULL);
  g_autofree char *norm2 = g_strconcat (p, h ? ".norm2" : ".mlp_norm", NULL);
  gsize taps = m->config.temporal.over_time ? 27 : 9;
  g_autofree float *dwconv = scratch (b, taps * d);

  if (dwconv)
    channels_last (dwconv, taps * d, vig_model_get_weight (m, "%s.in_proj.0.weight", op), 1, d, taps);
  *out = (VigBlockWeights) {
    .attn_norm = norm (b, norm1, d, h),
    .mlp_norm = norm (b, norm2, d, h),
    .dwconv = upload (b, dwconv, taps * d),
    .boundary = vig_config_has_windows (&m->config) ? upload (b, vig_model_get_weight (m, "%s.boundary", op), d / 2) : NULL,
    .joint = joint (b, op, d, d),
    .gk_weight = upload (b, vig_model_get_weight (m, "%s.gk_proj.1.weight", op), d * VIG_GATE_RANK),
    .gk_bias = upload (b, vig_model_get_weight (m, "%s.gk_proj.1.bias", op), d),
    .g_norm = upload (b, vig_model_get_weight (m, "%s.g_norm.weight", op), d / heads),
    .l_norm = upload (b, vig_model_get_weight (m, "%s.l_norm.weight", op), d / heads),
    .o_proj = pack (b, vig_model_get_weight (m, "%s.o_proj.weight", op), NULL, d, d, b->w->type),
    .mlp_in = pack (b, vig_model_get_weight (m, h ? "%s.mlp.fc1.weight" : "%s.mlp.gate_proj.weight", p), NULL,
        2 * hidden, d, b->w->type),
    .mlp_out = pack (b, vig_model_get_weight (m, h ? "%s.mlp.fc2.weight" : "%s.mlp.down_proj.weight", p), NULL,
        d, hidden, b->w->type),
  };
}

static VigMemoryWeights
memory (Builder *b, guint block_index)
{
  const VigModel *m = b->model;
  guint d = m->config.dims[0], w = m->config.temporal.width;
  g_autofree char *p = g_strdup_printf ("blocks.%u.temporal", block_index), *norm_name = g_strconcat (p, ".norm", NULL);

  return (VigMemoryWeights) {
    .norm = norm (b, norm_name, d, FALSE),
    .joint = joint (b, p, w, d),
    .gk_weight = upload (b, vig_model_get_weight (m, "%s.gk_proj.1.weight", p), (gsize) w / 2 * VIG_GATE_RANK),
    .gk_bias = upload (b, vig_model_get_weight (m, "%s.gk_proj.1.bias", p), w / 2),
    .g_norm = upload (b, vig_model_get_weight (m, "%s.g_norm.weight", p), w / m->config.temporal.heads),
    .o_proj = pack (b, vig_model_get_weight (m, "%s.o_proj.weight", p), NULL, d, w, b->w->type),
  };
}

static void
build (Builder *b)
{
  const VigConfig *c = &b->model->config;
  gboolean h = c->hierarchical;
  VigWeights *w = b->w;

  w->stem[0] = h ? conv (b, "patch_embed", TRUE, 0, 2, 3, c->dims[0] / 2, 3, 2)
      : conv (b, "patch_embed.proj", TRUE, 0, 1, vig_config_in_chans (c), c->dims[0] / 2, 9, 8);
  w->stem[1] = h ? conv (b, "patch_embed", FALSE, 5, 7, c->dims[0] / 2, c->dims[0], 3, 2)
      : conv (b, "patch_embed.proj", FALSE, 3, 4, c->dims[0] / 2, c->dims[0], 3, 2);
  for (guint s = 0; s < c->n_stages; s++) {
    w->stages[s].blocks = g_new0 (VigBlockWeights, c->depths[s]);
    for (guint i = 0; i < c->depths[s]; i++) {
      g_autofree char *p = h ? g_strdup_printf ("layers.%u.blocks.%u", s, i) : g_strdup_printf ("blocks.%u", i);
      block (b, &w->stages[s].blocks[i], p, c->dims[s], c->heads[s], vig_config_mlp_width (c, s));
    }
    if (s + 1 < c->n_stages) {
      g_autofree char *p = g_strdup_printf ("layers.%u.downsample", s);
      w->stages[s].downsample = conv (b, p, FALSE, 1, 3, c->dims[s], c->dims[s + 1], 3, 2);
    }
  }
  for (guint i = 0; i < c->temporal.n_after; i++)
    w->memories[i] = memory (b, c->temporal.after[i]);
  w->norm = norm (b, h ? "classifier.norm" : "norm", vig_config_n_features (c), h);
  w->head = pack (b, vig_model_get_weight (b->model, h ? "classifier.head.weight" : "head.weight"),
      vig_model_get_weight (b->model, h ? "classifier.head.bias" : "head.bias"), c->n_classes,
      vig_config_n_features (c), VIG_TYPE_F32);
}

VigWeights *
vig_weights_new (const VigModel *model, VigKernels *kernels, VigType type, GError **error)
{
  Builder b = { .w = g_new0 (VigWeights, 1), .model = model };

  b.w->kernels = kernels;
  b.w->type = type;
  b.w->vectors = g_ptr_array_new ();
  b.w->matmuls = g_ptr_array_new ();
  build (&b);
  const char *failure = kernels->finish (kernels->ctx);
  if (!failure && !b.failed)
    return b.w;
  if (failure)
    g_set_error (error, VIG_ERROR, b.no_memory ? VIG_ERROR_NO_MEMORY : VIG_ERROR_FAILED,
        "model %s: cannot prepare the weights: %s", model->name, failure);
  else
    g_set_error (error, VIG_ERROR, VIG_ERROR_NO_MEMORY, "model %s: no memory for the weights", model->name);
  vig_weights_free (b.w);
  return NULL;
}

gboolean
vig_weights_add_head_rows (VigWeights *w, const VigModel *model, GError **error)
{
  static GMutex lock; /* engines side by side have the same weights */
  Builder b = { .w = w, .model = model };

  g_mutex_lock (&lock);
  if (!w->head_rows)
    w->head_rows = upload (&b, vig_model_get_weight (model, model->config.hierarchical ? "classifier.head.weight"
            : "head.weight"), (gsize) model->config.n_classes * vig_config_n_features (&model->config));
  g_mutex_unlock (&lock);
  if (b.failed)
    g_set_error (error, VIG_ERROR, VIG_ERROR_NO_MEMORY, "model %s: no memory for what maps of classes need", model->name);
  return !b.failed;
}

void
vig_weights_free (VigWeights *w)
{
  if (!w)
    return;
  for (guint i = 0; i < w->matmuls->len; i++)
    w->kernels->matmul_destroy (w->kernels->ctx, w->matmuls->pdata[i]);
  for (guint i = 0; i < w->vectors->len; i++)
    w->kernels->free (w->kernels->ctx, w->vectors->pdata[i]);
  for (guint s = 0; s < VIG_MAX_STAGES; s++)
    g_free (w->stages[s].blocks);
  g_ptr_array_unref (w->matmuls);
  g_ptr_array_unref (w->vectors);
  g_free (w);
}
