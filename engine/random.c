/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Made-up weights, the same bits on every machine: the generator that the goldens' weights come from, described in
 * tests/golden/data/README.md. Every product is exact in double, so that neither optimisation nor fused multiply-add
 * changes anything.
 */
#include "random.h"

#include <math.h>
#include <string.h>

#define IMAGES { .frames = 0 }

static const struct { const char *name; VigConfig config; } variants[] = {
  { "vig_t", { FALSE, 1, { 192 }, { 12 }, { 3 }, 224, 1000, TRUE, TRUE, IMAGES } },
  { "vig_s", { FALSE, 1, { 384 }, { 12 }, { 6 }, 224, 1000, FALSE, FALSE, IMAGES } },
  { "vig_b", { FALSE, 1, { 768 }, { 12 }, { 12 }, 224, 1000, FALSE, FALSE, IMAGES } },
  { "vig_h_t", { TRUE, 4, { 96, 192, 384, 768 }, { 2, 2, 5, 2 }, { 3, 6, 12, 24 }, 0, 1000, FALSE, FALSE, IMAGES } },
  { "vig_h_s", { TRUE, 4, { 96, 192, 384, 768 }, { 2, 2, 17, 2 }, { 3, 6, 12, 24 }, 0, 1000, FALSE, FALSE, IMAGES } },
  { "vig_h_b", { TRUE, 4, { 128, 256, 512, 1024 }, { 2, 2, 17, 2 }, { 4, 8, 16, 32 }, 0, 1000, FALSE, FALSE, IMAGES } },
  { "tiny_t", { FALSE, 1, { 64 }, { 2 }, { 1 }, 64, 10, TRUE, TRUE, IMAGES } },
  { "tiny_s", { FALSE, 1, { 128 }, { 2 }, { 2 }, 64, 10, FALSE, FALSE, IMAGES } },
  /* models over time: tools/vig_reference.py has them too */
  { "tiny_joint", { FALSE, 1, { 64 }, { 2 }, { 1 }, 64, 10, TRUE, TRUE, { .frames = 4 } } },
  { "tiny_joint_time", { FALSE, 1, { 64 }, { 2 }, { 1 }, 64, 10, TRUE, TRUE, { .frames = 4, .over_time = TRUE } } },
  { "tiny_stream", { FALSE, 1, { 64 }, { 2 }, { 1 }, 64, 10, TRUE, TRUE,
      { .n_after = 2, .after = { 0, 1 }, .grid = 2, .width = 32, .heads = 1, .step = 0.04, .max_elapsed = 4, .difference = 8 } } },
  { "tiny_stream_plain", { FALSE, 1, { 64 }, { 2 }, { 1 }, 64, 10, TRUE, TRUE,
      { .n_after = 1, .after = { 1 }, .grid = 3, .width = 64, .heads = 2, .step = 0.2, .max_elapsed = 2 } } },
  { "tiny_h", { TRUE, 4, { 32, 64, 128, 256 }, { 1, 1, 2, 1 }, { 1, 2, 4, 8 }, 0, 10, FALSE, FALSE, IMAGES } },
};

/* The first rule whose suffix ends the tensor's name. gain g: scale = g * sqrt (3 / fan_in). */
static const struct { const char *suffix; double offset, scale, gain; } rules[] = {
  { "pos_embed", 0, 0.5, 0 },
  { "in_proj.0.weight", 0, 0, 1.5 },
  { "qkv_proj.weight", 0, 0, 1 },
  { "gk_proj.0.weight", 0, 0, 1 },
  { "gk_proj.1.weight", 0, 0, 3 },
  { "gk_proj.1.bias", -1, 6, 0 },
  { "g_proj.weight", 0, 0, 1.5 },
  { "g_proj.bias", 0, 1, 0 },
  { "o_proj.weight", 0, 0, 0.375 },
  { "mlp.gate_proj.weight", 0, 0, 1.25 },
  { "mlp.down_proj.weight", 0, 0, 0.375 },
  { "mlp.fc1.weight", 0, 0, 1.25 },
  { "mlp.fc2.weight", 0, 0, 0.375 },
  { "head.weight", 0, 0, 5 },
  { "boundary", -2, 2, 0 },
};

typedef struct {
  char *suffix;
  double value;
} Factor;

double
vig_random_uniform (const char *name, guint64 seed, guint64 index)
{
  guint64 hash = G_GUINT64_CONSTANT (0xCBF29CE484222325), z;

  for (const char *c = name; *c; c++) /* FNV-1a */
    hash = (hash ^ (guchar) *c) * G_GUINT64_CONSTANT (0x100000001B3);
  z = (hash ^ seed) + (index + 1) * G_GUINT64_CONSTANT (0x9E3779B97F4A7C15); /* splitmix64 */
  z = (z ^ (z >> 30)) * G_GUINT64_CONSTANT (0xBF58476D1CE4E5B9);
  z = (z ^ (z >> 27)) * G_GUINT64_CONSTANT (0x94D049BB133111EB);
  z = z ^ (z >> 31);
  return (double) (z >> 40) * 0x1p-23 - 1;
}

static void
find_rule (const VigTensorSpec *spec, double *offset, double *scale)
{
  double gain = 1; /* no rule: a convolution */

  *offset = *scale = 0;
  for (guint i = 0; i < G_N_ELEMENTS (rules); i++)
    if (g_str_has_suffix (spec->name, rules[i].suffix)) {
      *offset = rules[i].offset;
      *scale = rules[i].scale;
      gain = rules[i].gain;
      goto found;
    }
  if (g_str_has_suffix (spec->name, ".bias")) {
    *scale = 0.125;
  } else if (spec->rank == 1) { /* weight of a norm */
    *offset = 1;
    *scale = 0.25;
  }
found:
  if (*scale == 0)
    *scale = gain * sqrt (3.0 / (double) (spec->count / spec->shape[0]));
}

static void
fill (float *out, const VigTensorSpec *spec, guint64 seed, GArray *factors)
{
  double offset, scale;

  find_rule (spec, &offset, &scale);
  for (guint i = 0; i < factors->len; i++) {
    const Factor *f = &g_array_index (factors, Factor, i);
    if (g_str_has_suffix (spec->name, f->suffix)) {
      offset *= f->value;
      scale *= f->value;
      break;
    }
  }
  offset = (float) offset;
  scale = (float) scale;
  for (gsize i = 0; i < spec->count; i++)
    out[i] = (float) (offset + scale * vig_random_uniform (spec->name, seed, i));
}

static void
clear_factor (gpointer data)
{
  g_free (((Factor *) data)->suffix);
}

/* "suffix=value,suffix=value" */
static GArray *
parse_factors (const char *text, GError **error)
{
  g_autoptr (GArray) factors = g_array_new (FALSE, FALSE, sizeof (Factor));
  g_auto (GStrv) parts = g_strsplit (text ? text : "", ",", -1);

  g_array_set_clear_func (factors, clear_factor);
  for (char **part = parts; *part; part++) {
    char *equals = strrchr (*part, '='), *end = NULL;
    Factor f = { .value = equals ? g_ascii_strtod (equals + 1, &end) : 0 };
    if (!equals || equals == *part || end == equals + 1 || *end || !isfinite (f.value)) {
      g_set_error (error, VIG_ERROR, VIG_ERROR_ARGUMENT, "factors: expected suffix=value, found \"%s\"", *part);
      return NULL;
    }
    f.suffix = g_strndup (*part, (gsize) (equals - *part));
    g_array_append_val (factors, f);
  }
  return g_steal_pointer (&factors);
}

static char *
hash_weights (const VigModel *model)
{
  g_autoptr (GChecksum) sum = g_checksum_new (G_CHECKSUM_SHA256);
  for (gsize i = 0; i < model->n_weights;) {
    guint32 words[1024];
    gsize n = MIN (G_N_ELEMENTS (words), model->n_weights - i);
    memcpy (words, model->weights + i, n * 4);
    for (gsize j = 0; j < n; j++)
      words[j] = GUINT32_TO_LE (words[j]);
    g_checksum_update (sum, (const guchar *) words, (gssize) (n * 4));
    i += n;
  }
  return g_strdup (g_checksum_get_string (sum));
}

VigModel *
vig_model_new_random_of (const VigConfig *config, const char *name, guint64 seed, const char *factors, GError **error)
{
  g_autoptr (GArray) parsed = parse_factors (factors, error);
  VigModel *model = parsed ? vig_model_new (config, name, error) : NULL;

  if (!model)
    return NULL;
  vig_model_set_defaults (model);
  float *out = model->weights;
  for (guint i = 0; i < model->specs->len; i++) {
    const VigTensorSpec *spec = &g_array_index (model->specs, VigTensorSpec, i);
    fill (out, spec, seed, parsed);
    out += spec->count;
  }
  model->hash = hash_weights (model);
  return model;
}

VigModel *
vig_model_new_random (const char *variant, guint64 seed, const char *factors, GError **error)
{
  g_autoptr (GString) known = g_string_new (NULL);

  for (guint i = 0; i < G_N_ELEMENTS (variants); i++) {
    if (g_strcmp0 (variant, variants[i].name) == 0)
      return vig_model_new_random_of (&variants[i].config, variant, seed, factors, error);
    g_string_append_printf (known, "%s%s", i ? ", " : "", variants[i].name);
  }
  g_set_error (error, VIG_ERROR, VIG_ERROR_ARGUMENT, "variant: expected one of %s, found %s", known->str,
      variant ? variant : "none");
  return NULL;
}
