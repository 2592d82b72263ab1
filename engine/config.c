/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "config.h"

#include <string.h>

#include "json.h"
#include <vig/error.h>

/* Far beyond any model there is; small enough that no product of two of them overflows anywhere. */
#define MAX_DIM 16384
#define MAX_MEMORY (1u << 30) /* with the largest picture before, a state is below 2 GiB */
#define MAX_DEPTH 1024
#define MAX_CLASSES 1000000
#define MAX_IMG_SIZE 16384

/* ---- reading ---- */

static const VigJson *
get (const VigJson *object, const char *key, const char *what, GError **error)
{
  const VigJson *value = vig_json_get (object, key);
  if (!value)
    g_set_error (error, VIG_ERROR, VIG_ERROR_MODEL, "%s: expected a field \"%s\", found none", what, key);
  return value;
}

static gboolean
to_uint (const VigJson *value, const char *key, guint min, guint max, guint *out, const char *what, GError **error)
{
  guint64 n;
  if (vig_json_to_uint (value, max, &n) && n >= min) {
    *out = (guint) n;
    return TRUE;
  }
  g_autofree char *found = vig_json_describe (value);
  g_set_error (error, VIG_ERROR, VIG_ERROR_MODEL, "%s: %s: expected a whole number from %u to %u, found %s", what, key,
      min, max, found);
  return FALSE;
}

static gboolean
get_uint (const VigJson *object, const char *key, guint min, guint max, guint *out, const char *what, GError **error)
{
  const VigJson *value = get (object, key, what, error);
  return value && to_uint (value, key, min, max, out, what, error);
}

static gboolean
get_list (const VigJson *object, const char *key, guint max, guint n, guint *out, const char *what, GError **error)
{
  const VigJson *value = get (object, key, what, error);
  if (!value)
    return FALSE;
  if (value->type != VIG_JSON_ARRAY || value->n_children != n) {
    g_autofree char *found = vig_json_describe (value);
    g_set_error (error, VIG_ERROR, VIG_ERROR_MODEL, "%s: %s: expected a list of %u numbers (as many as dims), found %s",
        what, key, n, found);
    return FALSE;
  }
  for (const VigJson *c = value->first; c; c = c->next)
    if (!to_uint (c, key, 1, max, out++, what, error))
      return FALSE;
  return TRUE;
}

static gboolean
get_boolean (const VigJson *object, const char *key, gboolean *out, const char *what, GError **error)
{
  const VigJson *value = get (object, key, what, error);
  if (!value)
    return FALSE;
  if (value->type != VIG_JSON_BOOLEAN) {
    g_autofree char *found = vig_json_describe (value);
    g_set_error (error, VIG_ERROR, VIG_ERROR_MODEL, "%s: %s: expected true or false, found %s", what, key, found);
    return FALSE;
  }
  *out = value->boolean;
  return TRUE;
}

/* A field that means something this version does not know must not pass unnoticed. */
static gboolean
check_known (const VigJson *object, const char *const *known, const char *what, GError **error)
{
  for (const VigJson *c = object->first; c; c = c->next)
    if (!g_strv_contains (known, c->name)) {
      g_autofree char *list = g_strjoinv (", ", (char **) known);
      g_set_error (error, VIG_ERROR, VIG_ERROR_MODEL, "%s: expected only the fields %s, found \"%s\"", what, list,
          c->name);
      return FALSE;
    }
  return TRUE;
}

static gboolean
get_number (const VigJson *object, const char *key, double min, double max, double *out, const char *what, GError **error)
{
  const VigJson *value = get (object, key, what, error);
  if (!value)
    return FALSE;
  if (value->type == VIG_JSON_NUMBER && value->number >= min && value->number <= max) {
    *out = value->number;
    return TRUE;
  }
  g_autofree char *found = vig_json_describe (value);
  g_set_error (error, VIG_ERROR, VIG_ERROR_MODEL, "%s: %s: expected a number from %g to %g, found %s", what, key, min, max,
      found);
  return FALSE;
}

/* The blocks that a module over time follows. */
static gboolean
read_after (VigConfig *c, const VigJson *json, const char *what, GError **error)
{
  VigTemporal *t = &c->temporal;
  const VigJson *after = get (json, "after", what, error);

  if (!after)
    return FALSE;
  if (after->type != VIG_JSON_ARRAY || after->n_children < 1 || after->n_children > VIG_MAX_MEMORIES) {
    g_autofree char *found = vig_json_describe (after);
    g_set_error (error, VIG_ERROR, VIG_ERROR_MODEL, "%s: after: expected a list of 1 to %d blocks, found %s", what,
        VIG_MAX_MEMORIES, found);
    return FALSE;
  }
  for (const VigJson *b = after->first; b; b = b->next, t->n_after++)
    if (!to_uint (b, "after", t->n_after ? t->after[t->n_after - 1] + 1 : 0, c->depths[0] - 1, &t->after[t->n_after], what,
            error))
      return FALSE;
  return TRUE;
}

/* Kind "joint". */
static gboolean
read_windows (VigConfig *c, const VigJson *json, const char *what, GError **error)
{
  static const char *const known[] = { "kind", "frames", "conv", NULL };
  const VigJson *conv;

  if (!check_known (json, known, what, error)
      || !get_uint (json, "frames", 1, 4096, &c->temporal.frames, what, error)
      || !(conv = get (json, "conv", what, error)))
    return FALSE;
  c->temporal.over_time = g_strcmp0 (conv->string, "time") == 0;
  if (c->temporal.over_time || g_strcmp0 (conv->string, "frame") == 0)
    return TRUE;
  g_autofree char *found = vig_json_describe (conv);
  g_set_error (error, VIG_ERROR, VIG_ERROR_MODEL, "%s: conv: expected \"frame\" or \"time\", found %s", what, found);
  return FALSE;
}

/* Kind "stream". */
static gboolean
read_memory (VigConfig *c, const VigJson *json, const char *what, GError **error)
{
  static const char *const known[] = { "kind", "after", "grid", "width", "num_heads", "step", "max_elapsed", "difference",
    NULL };
  VigTemporal *t = &c->temporal;

  if (!check_known (json, known, what, error) || !read_after (c, json, what, error)
      || !get_uint (json, "grid", 1, 64, &t->grid, what, error)
      || !get_uint (json, "width", 2, MAX_DIM, &t->width, what, error)
      || !get_uint (json, "num_heads", 1, MAX_DIM, &t->heads, what, error)
      || !get_number (json, "step", 1e-6, 1e6, &t->step, what, error)
      || !get_number (json, "max_elapsed", 1, 1e6, &t->max_elapsed, what, error)
      || !get_number (json, "difference", 0, 1e6, &t->difference, what, error))
    return FALSE;
  if (t->width % (2 * t->heads) != 0) {
    g_set_error (error, VIG_ERROR, VIG_ERROR_MODEL, "%s: expected a width that is a multiple of twice the heads, found %u "
        "and %u heads", what, t->width, t->heads);
    return FALSE;
  }
  const gsize bytes = t->n_after * vig_config_memory_size (c) * sizeof (float);
  if (bytes > MAX_MEMORY) {
    g_set_error (error, VIG_ERROR, VIG_ERROR_MODEL, "%s: expected modules that remember at most %u bytes of a stream, found %"
        G_GSIZE_FORMAT, what, MAX_MEMORY, bytes);
    return FALSE;
  }
  if (t->grid > vig_config_native_side (c)) {
    g_set_error (error, VIG_ERROR, VIG_ERROR_MODEL, "%s: grid: expected no more cells than the %u tokens of a side, found %u",
        what, vig_config_native_side (c), t->grid);
    return FALSE;
  }
  return TRUE;
}

static gboolean
read_temporal (VigConfig *c, const VigJson *json, const char *config, GError **error)
{
  g_autofree char *what = g_strconcat (config, ": temporal", NULL);
  const VigJson *kind;

  if (json->type != VIG_JSON_OBJECT) {
    g_autofree char *found = vig_json_describe (json);
    g_set_error (error, VIG_ERROR, VIG_ERROR_MODEL, "%s: expected an object, found %s", what, found);
    return FALSE;
  }
  if (!(kind = get (json, "kind", what, error)))
    return FALSE;
  if (g_strcmp0 (kind->string, "stream") == 0)
    return read_memory (c, json, what, error);
  if (g_strcmp0 (kind->string, "joint") == 0)
    return read_windows (c, json, what, error);
  g_autofree char *found = vig_json_describe (kind);
  g_set_error (error, VIG_ERROR, VIG_ERROR_MODEL, "%s: kind: expected \"joint\" or \"stream\", found %s", what, found);
  return FALSE;
}

static gboolean
read_plain (VigConfig *c, const VigJson *json, const char *what, GError **error)
{
  static const char *const known[] = { "family", "name", "embed_dim", "depth", "num_heads", "img_size", "patch_size",
    "in_chans", "num_classes", "act_in_conv", "out_act", "temporal", NULL };
  const VigJson *temporal = vig_json_get (json, "temporal");
  guint patch;

  c->n_stages = 1;
  return check_known (json, known, what, error)
      && get_uint (json, "embed_dim", 2, MAX_DIM, &c->dims[0], what, error)
      && get_uint (json, "depth", 1, MAX_DEPTH, &c->depths[0], what, error)
      && get_uint (json, "num_heads", 1, MAX_DIM, &c->heads[0], what, error)
      && get_uint (json, "img_size", 16, MAX_IMG_SIZE, &c->img_size, what, error)
      && get_uint (json, "patch_size", 16, 16, &patch, what, error)
      && (!temporal || read_temporal (c, temporal, what, error));
}

static gboolean
read_hierarchical (VigConfig *c, const VigJson *json, const char *what, GError **error)
{
  static const char *const known[] = { "family", "name", "dims", "depths", "num_heads", "in_chans", "num_classes",
    "act_in_conv", "out_act", NULL };
  const VigJson *dims = get (json, "dims", what, error);

  if (!dims)
    return FALSE;
  if (dims->type != VIG_JSON_ARRAY || dims->n_children < 1 || dims->n_children > VIG_MAX_STAGES) {
    g_autofree char *found = vig_json_describe (dims);
    g_set_error (error, VIG_ERROR, VIG_ERROR_MODEL, "%s: dims: expected a list of 1 to %d numbers, found %s", what,
        VIG_MAX_STAGES, found);
    return FALSE;
  }
  c->n_stages = dims->n_children;
  return check_known (json, known, what, error)
      && get_list (json, "dims", MAX_DIM, c->n_stages, c->dims, what, error)
      && get_list (json, "depths", MAX_DEPTH, c->n_stages, c->depths, what, error)
      && get_list (json, "num_heads", MAX_DIM, c->n_stages, c->heads, what, error);
}

gboolean
vig_config_parse (VigConfig *config, const char *text, const char *what, char **name, GError **error)
{
  g_autoptr (VigJson) json = vig_json_parse (text, strlen (text), what, error);
  const VigJson *family, *own_name;
  guint in_chans;

  memset (config, 0, sizeof *config);
  *name = NULL;
  if (!json)
    return FALSE;
  if (json->type != VIG_JSON_OBJECT) {
    g_autofree char *found = vig_json_describe (json);
    g_set_error (error, VIG_ERROR, VIG_ERROR_MODEL, "%s: expected an object, found %s", what, found);
    return FALSE;
  }
  if (!(family = get (json, "family", what, error)))
    return FALSE;
  config->hierarchical = g_strcmp0 (family->string, "vig_h") == 0;
  if (!config->hierarchical && g_strcmp0 (family->string, "vig") != 0) {
    g_autofree char *found = vig_json_describe (family);
    g_set_error (error, VIG_ERROR, VIG_ERROR_MODEL, "%s: family: expected \"vig\" or \"vig_h\", found %s", what, found);
    return FALSE;
  }
  if (!(config->hierarchical ? read_hierarchical : read_plain) (config, json, what, error)
      || !get_uint (json, "in_chans", vig_config_in_chans (config), vig_config_in_chans (config), &in_chans, what, error)
      || !get_uint (json, "num_classes", 1, MAX_CLASSES, &config->n_classes, what, error)
      || !get_boolean (json, "act_in_conv", &config->act_in_conv, what, error)
      || !get_boolean (json, "out_act", &config->out_act, what, error))
    return FALSE;
  for (guint s = 0; s < config->n_stages; s++)
    if (config->dims[s] % (2 * config->heads[s]) != 0) {
      g_set_error (error, VIG_ERROR, VIG_ERROR_MODEL, "%s: expected a width that is a multiple of twice the heads, "
          "found %u and %u heads in stage %u", what, config->dims[s], config->heads[s], s);
      return FALSE;
    }
  own_name = vig_json_get (json, "name");
  if (own_name && own_name->type != VIG_JSON_STRING) {
    g_autofree char *found = vig_json_describe (own_name);
    g_set_error (error, VIG_ERROR, VIG_ERROR_MODEL, "%s: name: expected a string, found %s", what, found);
    return FALSE;
  }
  *name = own_name ? g_strdup (own_name->string) : NULL;
  return TRUE;
}

/* ---- what follows ---- */

guint
vig_config_mlp_width (const VigConfig *config, guint stage)
{
  guint multiple = config->hierarchical ? 32 : 256;
  return (config->dims[stage] * 8 / 3 + multiple - 1) / multiple * multiple;
}

guint
vig_config_native_side (const VigConfig *config)
{
  return config->img_size / 16;
}

guint
vig_config_n_features (const VigConfig *config)
{
  return config->dims[config->n_stages - 1];
}

guint
vig_config_in_chans (const VigConfig *config)
{
  return config->temporal.difference > 0 ? 6 : 3;
}

gboolean
vig_config_has_windows (const VigConfig *config)
{
  return config->temporal.frames > 0;
}

gboolean
vig_config_has_memory (const VigConfig *config)
{
  return config->temporal.n_after > 0;
}

gsize
vig_config_memory_size (const VigConfig *config)
{
  const VigTemporal *t = &config->temporal;
  return t->heads ? (gsize) t->grid * t->grid * t->width * t->width / (2 * t->heads) : 0;
}

guint
vig_config_min_size (const VigConfig *config)
{
  guint grid = config->temporal.grid;

  if (config->hierarchical)
    return 1;
  return grid > 1 ? 16 * (grid - 1) + 7 : 7; /* the least side of at least as many tokens as cells */
}

static guint
side_of_first (const VigConfig *config, guint n)
{
  return config->hierarchical ? (n + 1) / 2 : (n - 7) / 8 + 1;
}

/* Of a convolution 3x3, stride 2, padding 1. */
static guint
halve (guint n)
{
  return (n + 1) / 2;
}

void
vig_config_grids (const VigConfig *config, guint h, guint w, VigGrid *stem, VigGrid stages[VIG_MAX_STAGES])
{
  VigGrid grid = { side_of_first (config, h), side_of_first (config, w) };
  *stem = grid;
  for (guint s = 0; s < config->n_stages; s++) {
    grid = (VigGrid) { halve (grid.h), halve (grid.w) };
    stages[s] = grid;
  }
}

guint64
vig_config_macs (const VigConfig *config, guint h, guint w, gboolean products_only)
{
  VigGrid stem, stages[VIG_MAX_STAGES];
  guint kernel = config->hierarchical ? 3 : 9;
  guint64 macs, last = config->dims[0] / 2; /* channels before the next convolution */

  vig_config_grids (config, h, w, &stem, stages);
  macs = (guint64) stem.h * stem.w * kernel * kernel * vig_config_in_chans (config) * last;
  for (guint s = 0; s < config->n_stages; s++) {
    guint64 d = config->dims[s], dv = d / config->heads[s], r = VIG_GATE_RANK;
    guint64 mixer = 2 * d * d + d * d + 2 * r * d + d * d, others = (config->temporal.over_time ? 27 : 9) * d + 2 * d * dv;
    guint64 mlp = 3 * d * vig_config_mlp_width (config, s);
    macs += (guint64) stages[s].h * stages[s].w
        * (9 * last * d + config->depths[s] * (mixer + mlp + (products_only ? 0 : others)));
    last = d;
  }
  if (config->temporal.n_after) {
    const VigTemporal *t = &config->temporal;
    guint64 cells = (guint64) t->grid * t->grid, width = t->width, r = VIG_GATE_RANK;
    guint64 products = cells * (last * (3 * width + r) + r * width / 2 + width * last);
    macs += t->n_after * (products + (products_only ? 0 : 2 * vig_config_memory_size (config)));
  }
  return macs + last * config->n_classes;
}

/* ---- the tensors (names and shapes of the official code, commit dfb9d321) ---- */

static void
clear_spec (gpointer data)
{
  g_free (((VigTensorSpec *) data)->name);
}

static void
add (GArray *list, guint rank, const guint64 *shape, const char *format, va_list args)
{
  VigTensorSpec spec = { .name = g_strdup_vprintf (format, args), .rank = rank, .count = 1 };
  for (guint i = 0; i < rank; i++) {
    spec.shape[i] = shape[i];
    spec.count *= shape[i];
  }
  g_array_append_val (list, spec);
}

static void G_GNUC_PRINTF (3, 4)
vector (GArray *list, guint n, const char *format, ...)
{
  va_list args;
  va_start (args, format);
  add (list, 1, (guint64[]) { n }, format, args);
  va_end (args);
}

static void G_GNUC_PRINTF (4, 5)
matrix (GArray *list, guint rows, guint columns, const char *format, ...)
{
  va_list args;
  va_start (args, format);
  add (list, 2, (guint64[]) { rows, columns }, format, args);
  va_end (args);
}

static void G_GNUC_PRINTF (5, 6)
convolution (GArray *list, guint out, guint in, guint kernel, const char *format, ...)
{
  va_list args;
  va_start (args, format);
  add (list, 4, (guint64[]) { out, in, kernel, kernel }, format, args);
  va_end (args);
}

static void G_GNUC_PRINTF (3, 4)
convolution_over_time (GArray *list, guint d, const char *format, ...)
{
  va_list args;
  va_start (args, format);
  add (list, 5, (guint64[]) { d, 1, 3, 3, 3 }, format, args);
  va_end (args);
}

/* The token mixer: key width D / 2, value width D. */
static void
mixer (GArray *list, guint d, guint heads, gboolean over_time, const char *p)
{
  if (over_time)
    convolution_over_time (list, d, "%sin_proj.0.weight", p);
  else
    convolution (list, d, 1, 3, "%sin_proj.0.weight", p);
  matrix (list, 2 * d, d, "%sqkv_proj.weight", p);
  matrix (list, VIG_GATE_RANK, d, "%sgk_proj.0.weight", p);
  matrix (list, d, VIG_GATE_RANK, "%sgk_proj.1.weight", p);
  vector (list, d, "%sgk_proj.1.bias", p);
  matrix (list, d, d, "%so_proj.weight", p);
  vector (list, d / heads, "%sg_norm.weight", p);
  vector (list, d / heads, "%sl_norm.weight", p);
  matrix (list, d, d, "%sg_proj.weight", p);
  vector (list, d, "%sg_proj.bias", p);
}

/* A convolution with bias and the LayerNorm behind it. */
static void
conv_norm (GArray *list, guint out, guint in, guint kernel, const char *p, guint conv, guint norm)
{
  convolution (list, out, in, kernel, "%s.%u.weight", p, conv);
  vector (list, out, "%s.%u.bias", p, conv);
  vector (list, out, "%s.%u.weight", p, norm);
  vector (list, out, "%s.%u.bias", p, norm);
}

static void
module_over_time (GArray *list, const VigConfig *c, guint block)
{
  guint d = c->dims[0], w = c->temporal.width;
  g_autofree char *p = g_strdup_printf ("blocks.%u.temporal.", block);

  vector (list, d, "%snorm.weight", p);
  matrix (list, 2 * w, d, "%sqkv_proj.weight", p);
  matrix (list, VIG_GATE_RANK, d, "%sgk_proj.0.weight", p);
  matrix (list, w / 2, VIG_GATE_RANK, "%sgk_proj.1.weight", p);
  vector (list, w / 2, "%sgk_proj.1.bias", p);
  matrix (list, w, d, "%sg_proj.weight", p);
  vector (list, w, "%sg_proj.bias", p);
  vector (list, w / c->temporal.heads, "%sg_norm.weight", p);
  matrix (list, d, w, "%so_proj.weight", p);
}

static void
list_windows (GArray *list, const VigConfig *c)
{
  VigTensorSpec pos = { .name = g_strdup ("temporal_pos_embed"), .rank = 3, .shape = { 1, c->temporal.frames, c->dims[0] },
    .count = (gsize) c->temporal.frames * c->dims[0] };

  g_array_append_val (list, pos);
  for (guint i = 0; i < c->depths[0]; i++)
    vector (list, c->dims[0] / 2, "blocks.%u.attn.boundary", i);
}

static void
list_plain (GArray *list, const VigConfig *c)
{
  guint d = c->dims[0], hidden = vig_config_mlp_width (c, 0), side = vig_config_native_side (c);
  VigTensorSpec pos = { .name = g_strdup ("pos_embed"), .rank = 3, .shape = { 1, (guint64) side * side, d },
    .count = (gsize) side * side * d };

  g_array_append_val (list, pos);
  conv_norm (list, d / 2, vig_config_in_chans (c), 9, "patch_embed.proj", 0, 1);
  conv_norm (list, d, d / 2, 3, "patch_embed.proj", 3, 4);
  matrix (list, c->n_classes, d, "head.weight");
  vector (list, c->n_classes, "head.bias");
  for (guint i = 0; i < c->depths[0]; i++) {
    g_autofree char *attn = g_strdup_printf ("blocks.%u.attn.", i);
    vector (list, d, "blocks.%u.attn_norm.weight", i);
    mixer (list, d, c->heads[0], c->temporal.over_time, attn);
    vector (list, d, "blocks.%u.mlp_norm.weight", i);
    matrix (list, 2 * hidden, d, "blocks.%u.mlp.gate_proj.weight", i);
    matrix (list, d, hidden, "blocks.%u.mlp.down_proj.weight", i);
  }
  vector (list, d, "norm.weight");
  if (vig_config_has_windows (c))
    list_windows (list, c);
  for (guint i = 0; i < c->temporal.n_after; i++)
    module_over_time (list, c, c->temporal.after[i]);
}

static void
list_hierarchical (GArray *list, const VigConfig *c)
{
  conv_norm (list, c->dims[0] / 2, 3, 3, "patch_embed", 0, 2);
  conv_norm (list, c->dims[0], c->dims[0] / 2, 3, "patch_embed", 5, 7);
  for (guint s = 0; s < c->n_stages; s++) {
    guint d = c->dims[s], hidden = vig_config_mlp_width (c, s);
    for (guint j = 0; j < c->depths[s]; j++) {
      g_autofree char *p = g_strdup_printf ("layers.%u.blocks.%u.", s, j), *op = g_strconcat (p, "op.", NULL);
      vector (list, d, "%snorm.weight", p);
      vector (list, d, "%snorm.bias", p);
      mixer (list, d, c->heads[s], FALSE, op);
      vector (list, d, "%snorm2.weight", p);
      vector (list, d, "%snorm2.bias", p);
      matrix (list, 2 * hidden, d, "%smlp.fc1.weight", p);
      matrix (list, d, hidden, "%smlp.fc2.weight", p);
    }
    if (s + 1 < c->n_stages) {
      g_autofree char *p = g_strdup_printf ("layers.%u.downsample", s);
      conv_norm (list, c->dims[s + 1], d, 3, p, 1, 3);
    }
  }
  vector (list, vig_config_n_features (c), "classifier.norm.weight");
  vector (list, vig_config_n_features (c), "classifier.norm.bias");
  matrix (list, c->n_classes, vig_config_n_features (c), "classifier.head.weight");
  vector (list, c->n_classes, "classifier.head.bias");
}

GArray *
vig_config_list_tensors (const VigConfig *config)
{
  GArray *list = g_array_new (FALSE, FALSE, sizeof (VigTensorSpec));
  g_array_set_clear_func (list, clear_spec);
  (config->hierarchical ? list_hierarchical : list_plain) (list, config);
  return list;
}
