/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The stem measures, the blocks pass on, the head names. Of a patch the first convolution takes the mean of each colour
 * and the slope of the grey picture to the right and downwards; every measure v goes with its negative, so that
 * LayerNorm finds a mean of 0 and silu(v) - silu(-v) = v undoes the activation between the convolutions. */
#include "tiny-model.h"

#include <glib.h>
#include <string.h>

#define D 64
#define MEASURES 5 /* red, green, blue, slope to the right, slope downwards */

const char *const tiny_labels[TINY_CLASSES + 1] = { "black", "blue", "green", "cyan", "red", "magenta", "yellow",
  "white", "bright left", "bright right", "bright top", "bright bottom", NULL };

typedef struct {
  GString *header;
  GByteArray *data;
} Writer;

/* Appends a tensor of @n zeros; its numbers may be set until the next one is appended. */
static float *
add (Writer *w, const char *name, const char *shape, gsize n)
{
  gsize start = w->data->len;
  g_string_append_printf (w->header, ",\"%s\":{\"dtype\":\"F32\",\"shape\":[%s],\"data_offsets\":[%" G_GSIZE_FORMAT ",%"
      G_GSIZE_FORMAT "]}", name, shape, start, start + n * sizeof (float));
  g_byte_array_set_size (w->data, start + n * sizeof (float));
  memset (w->data->data + start, 0, n * sizeof (float));
  return (float *) (w->data->data + start);
}

static void
add_filled (Writer *w, const char *name, const char *shape, gsize n, float value)
{
  float *t = add (w, name, shape, n);
  for (gsize i = 0; i < n; i++)
    t[i] = value;
}

/* [32, 3, 9, 9]: measure m in channel 2m, its negative in 2m + 1. */
static void
add_first_convolution (Writer *w)
{
  float *t = add (w, "patch_embed.proj.0.weight", "32,3,9,9", 32 * 3 * 81);
  for (int m = 0; m < MEASURES; m++)
    for (int c = 0; c < 3; c++)
      for (int y = 0; y < 9; y++)
        for (int x = 0; x < 9; x++) {
          int along = m == 3 ? x - 4 : y - 4;
          float v = m < 3 ? (c == m ? 1.0f / 81 : 0) : (float) ((along > 0) - (along < 0)) / (36 * 3);
          t[((2 * m * 3 + c) * 9 + y) * 9 + x] = v;
          t[(((2 * m + 1) * 3 + c) * 9 + y) * 9 + x] = -v;
        }
}

/* [64, 32, 3, 3]: the mean of each measure over 3x3 patches. */
static void
add_second_convolution (Writer *w)
{
  float *t = add (w, "patch_embed.proj.3.weight", "64,32,3,3", 64 * 32 * 9);
  for (int m = 0; m < MEASURES; m++)
    for (int out = 0; out < 2; out++)
      for (int in = 0; in < 2; in++)
        for (int tap = 0; tap < 9; tap++)
          t[((2 * m + out) * 32 + 2 * m + in) * 9 + tap] = in == out ? 1.0f / 9 : -1.0f / 9;
}

static void
add_block (Writer *w, int i)
{
  const struct { const char *name, *shape; gsize n; float value; } tensors[] = {
    { "attn_norm.weight", "64", D, 1 },
    { "attn.in_proj.0.weight", "64,1,3,3", D * 9, 0.125f },
    { "attn.qkv_proj.weight", "128,64", 2 * D * D, 0.015625f },
    { "attn.gk_proj.0.weight", "16,64", 16 * D, 0 },
    { "attn.gk_proj.1.weight", "64,16", 16 * D, 0 },
    { "attn.gk_proj.1.bias", "64", D, 1 },
    { "attn.o_proj.weight", "64,64", D * D, 0 },
    { "attn.g_norm.weight", "64", D, 1 },
    { "attn.l_norm.weight", "64", D, 1 },
    { "attn.g_proj.weight", "64,64", D * D, 0 },
    { "attn.g_proj.bias", "64", D, 0 },
    { "mlp_norm.weight", "64", D, 1 },
    { "mlp.gate_proj.weight", "512,64", 512 * D, 0.015625f },
    { "mlp.down_proj.weight", "64,256", D * 256, 0 },
  };
  for (guint k = 0; k < G_N_ELEMENTS (tensors); k++) {
    g_autofree char *name = g_strdup_printf ("blocks.%d.%s", i, tensors[k].name);
    add_filled (w, name, tensors[k].shape, tensors[k].n, tensors[k].value);
  }
}

/* [n_classes, 64] and [n_classes]; of the last convolution's channels the even ones are the measures. */
static void
add_head (Writer *w, int n_classes)
{
  g_autofree char *shape = g_strdup_printf ("%d,%d", n_classes, D), *bias_shape = g_strdup_printf ("%d", n_classes);
  float t[TINY_CLASSES * D] = { 0 };
  for (int class = 0; class < 8; class++)
    for (int m = 0; m < 3; m++)
      t[class * D + 2 * m] = class >> (2 - m) & 1 ? 1 : -1;
  t[TINY_LEFT * D + 2 * 3] = t[TINY_TOP * D + 2 * 4] = -4;
  t[TINY_RIGHT * D + 2 * 3] = t[TINY_BOTTOM * D + 2 * 4] = 4;
  memcpy (add (w, "head.weight", shape, (gsize) n_classes * D), t, (gsize) n_classes * D * sizeof (float));
  add (w, "head.bias", bias_shape, n_classes);
}

/* Numbers of all kinds, up to @scale. */
static void
add_varied (Writer *w, const char *name, const char *shape, gsize n, float scale)
{
  float *t = add (w, name, shape, n);
  for (gsize i = 0; i < n; i++)
    t[i] = scale * (float) ((gint32) ((guint32) (i + 1) * 0x9e3779b1u) / 2147483648.0);
}

/* What makes an image model one over time (docs/temporal.md). */
static const char *const temporal_config[] = { [TINY_IMAGE] = "",
  [TINY_JOINT] = ",\"temporal\":{\"kind\":\"joint\",\"frames\":4,\"conv\":\"frame\"}",
  [TINY_STREAM] = ",\"temporal\":{\"kind\":\"stream\",\"after\":[0],\"grid\":2,\"width\":32,\"num_heads\":1,\"step\":0.04,"
      "\"max_elapsed\":4,\"difference\":0}" };

static void
add_temporal (Writer *w, TinyKind kind)
{
  if (kind == TINY_JOINT) {
    add_varied (w, "temporal_pos_embed", "1,4,64", 4 * D, 1);
    add_filled (w, "blocks.0.attn.boundary", "32", D / 2, -1);
    add_filled (w, "blocks.1.attn.boundary", "32", D / 2, -1);
  } else if (kind == TINY_STREAM) {
    add_filled (w, "blocks.0.temporal.norm.weight", "64", D, 1);
    add_varied (w, "blocks.0.temporal.qkv_proj.weight", "64,64", 64 * D, 0.5f);
    add_varied (w, "blocks.0.temporal.gk_proj.0.weight", "16,64", 16 * D, 0.5f);
    add_varied (w, "blocks.0.temporal.gk_proj.1.weight", "16,16", 16 * 16, 0.5f);
    add (w, "blocks.0.temporal.gk_proj.1.bias", "16", 16);
    add_varied (w, "blocks.0.temporal.g_proj.weight", "32,64", 32 * D, 0.5f);
    add (w, "blocks.0.temporal.g_proj.bias", "32", 32);
    add_filled (w, "blocks.0.temporal.g_norm.weight", "32", 32, 1);
    add_varied (w, "blocks.0.temporal.o_proj.weight", "64,32", 32 * D, 1);
  }
}

static void
add_metadata (GString *header, TinyKind kind, const char *model_name, const char *const *label, int n_classes)
{
  g_autoptr (GString) labels = g_string_new ("[");
  for (int i = 0; i < n_classes; i++)
    g_string_append_printf (labels, "%s\"%s\"", i ? "," : "", label[i]);
  g_string_append_c (labels, ']');
  g_autofree char *config = g_strdup_printf ("{\"family\":\"vig\",\"name\":\"tiny\",\"embed_dim\":64,\"depth\":2,"
      "\"num_heads\":1,\"img_size\":32,\"patch_size\":16,\"in_chans\":3,\"num_classes\":%d,\"act_in_conv\":false,"
      "\"out_act\":false%s}", n_classes, temporal_config[kind]);
  const char *values[][2] = {
    { "vig_config", config },
    { "vig_preprocess", "{\"size\":32,\"resize\":\"crop\",\"resize_ratio\":1.0}" },
    { "vig_labels", labels->str },
    { "vig_name", model_name },
  };
  for (guint i = 0; i < G_N_ELEMENTS (values); i++) {
    g_autofree char *escaped = g_strescape (values[i][1], NULL);
    g_string_append_printf (header, "%s\"%s\":\"%s\"", i ? "," : "{\"__metadata__\":{", values[i][0], escaped);
  }
  g_string_append_c (header, '}');
}

static void
write_model (const char *path, TinyKind kind, const char *name, const char *const *labels)
{
  const int n_classes = (int) g_strv_length ((char **) labels);
  Writer w = { g_string_new (NULL), g_byte_array_new () };
  add_metadata (w.header, kind, name, labels, n_classes);
  add (&w, "pos_embed", "1,4,64", 4 * D);
  add_first_convolution (&w);
  add (&w, "patch_embed.proj.0.bias", "32", D / 2);
  add_filled (&w, "patch_embed.proj.1.weight", "32", D / 2, 1);
  add (&w, "patch_embed.proj.1.bias", "32", D / 2);
  add_second_convolution (&w);
  add (&w, "patch_embed.proj.3.bias", "64", D);
  add_filled (&w, "patch_embed.proj.4.weight", "64", D, 1);
  add (&w, "patch_embed.proj.4.bias", "64", D);
  add_head (&w, n_classes);
  add_block (&w, 0);
  add_block (&w, 1);
  add_temporal (&w, kind);
  add_filled (&w, "norm.weight", "64", D, 1);
  g_string_append_c (w.header, '}');

  g_autoptr (GByteArray) file = g_byte_array_new ();
  guint64 length = GUINT64_TO_LE (w.header->len);
  g_byte_array_append (file, (const guint8 *) &length, sizeof length);
  g_byte_array_append (file, (const guint8 *) w.header->str, w.header->len);
  g_byte_array_append (file, w.data->data, w.data->len);
  g_autoptr (GError) error = NULL;
  g_file_set_contents (path, (const char *) file->data, file->len, &error);
  g_assert_no_error (error);
  g_string_free (w.header, TRUE);
  g_byte_array_unref (w.data);
}

void
tiny_model_write (const char *path)
{
  tiny_model_write_as (path, "tiny-colours", tiny_labels);
}

void
tiny_model_write_as (const char *path, const char *name, const char *const *labels)
{
  write_model (path, TINY_IMAGE, name, labels);
}

void
tiny_model_write_over_time (const char *path, TinyKind kind)
{
  write_model (path, kind, kind == TINY_JOINT ? "tiny-joint" : "tiny-stream", tiny_labels);
}
