/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "golden.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include <random.h>

char *
golden_path (const char *name)
{
  return g_path_is_absolute (name) ? g_strdup (name) : g_test_build_filename (G_TEST_DIST, "data", name, NULL);
}

GoldenFile *
golden_open (const char *name)
{
  GoldenFile *file = g_new0 (GoldenFile, 1);
  g_autofree char *path = golden_path (name);
  GError *error = NULL;
  gsize size;

  if (g_file_get_contents (path, &file->bytes, &size, &error))
    file->tensors = vig_safetensors_parse ((const guint8 *) file->bytes, size, name, &error);
  g_assert_no_error (error);
  return file;
}

void
golden_close (GoldenFile *file)
{
  vig_safetensors_free (file->tensors);
  g_free (file->bytes);
  g_free (file);
}

float *
golden_get (const GoldenFile *file, const char *name, const VigTensor **tensor)
{
  const VigTensor *t = vig_safetensors_get (file->tensors, name);
  if (!t)
    g_error ("no tensor %s in the golden file", name);
  float *values = g_new (float, t->count);
  vig_tensor_to_float (t, values);
  if (tensor)
    *tensor = t;
  return values;
}

static VigJson *
parse (const char *text, gsize size, const char *name)
{
  GError *error = NULL;
  VigJson *json = vig_json_parse (text, size, name, &error);
  g_assert_no_error (error);
  return json;
}

VigJson *
golden_manifest (void)
{
  g_autofree char *path = golden_path ("manifest.json"), *text = NULL;
  GError *error = NULL;
  gsize size;

  g_file_get_contents (path, &text, &size, &error);
  g_assert_no_error (error);
  return parse (text, size, "manifest.json");
}

const char *
golden_string (const VigJson *object, const char *name)
{
  const VigJson *value = vig_json_get (object, name);
  return value ? value->string : NULL;
}

double
golden_number (const VigJson *object, const char *name)
{
  const VigJson *value = vig_json_get (object, name);
  g_assert_true (value && value->type == VIG_JSON_NUMBER);
  return value->number;
}

VigModel *
golden_model (const VigJson *run)
{
  g_autoptr (GString) factors = g_string_new (NULL);
  GError *error = NULL;

  for (const VigJson *f = vig_json_get (run, "factors")->first; f; f = f->next)
    g_string_append_printf (factors, "%s%s=%.17g", factors->len ? "," : "", f->name, f->number);
  VigModel *model = vig_model_new_random (golden_string (vig_json_get (run, "config"), "name"),
      (guint64) golden_number (run, "seed"), factors->len ? factors->str : NULL, &error);
  g_assert_no_error (error);
  return model;
}

/* One channel of a picture: value noise, from coarse to single pixels. */
static double
noise (const char *id, int channel, guint y, guint x)
{
  static const struct { guint period; double amplitude; } octaves[] = {
    { 64, 2 }, { 32, 1.5 }, { 16, 1 }, { 8, 0.75 }, { 4, 0.5 }, { 1, 0.25 },
  };
  double sum = 0;

  for (guint i = 0; i < G_N_ELEMENTS (octaves); i++) {
    guint p = octaves[i].period;
    guint64 at = (guint64) (y / p) * 65536 + x / p;
    double fy = (double) (y % p) / p, fx = (double) (x % p) / p;
    char name[64];
    g_snprintf (name, sizeof name, "image/%s/c%d/p%u", id, channel, p);
    double top = (1 - fx) * vig_random_uniform (name, 0, at) + fx * vig_random_uniform (name, 0, at + 1);
    double bottom = (1 - fx) * vig_random_uniform (name, 0, at + 65536) + fx * vig_random_uniform (name, 0, at + 65537);
    sum += octaves[i].amplitude * ((1 - fy) * top + fy * bottom);
  }
  return sum;
}

/* Normalised photo: a file with a dtype that model files cannot have, so it is read by hand. */
static float *
photo (void)
{
  g_autofree char *path = golden_path ("preprocess/photo_500x375.safetensors"), *bytes = NULL;
  GError *error = NULL;
  guint64 header, begin;
  gsize size, count = 3 * 224 * 224;

  g_file_get_contents (path, &bytes, &size, &error);
  g_assert_no_error (error);
  memcpy (&header, bytes, 8);
  header = GUINT64_FROM_LE (header);
  g_autoptr (VigJson) json = parse (bytes + 8, header, path);
  const VigJson *tensor = vig_json_get (json, "224.tensor");
  g_assert_true (vig_json_to_uint (vig_json_get (tensor, "data_offsets")->first, size, &begin));
  g_assert_cmpuint (8 + header + begin + 4 * count, <=, size);
  float *out = g_new (float, count);
  vig_tensor_to_float (&(VigTensor) { .dtype = VIG_DTYPE_F32, .count = count, .data = bytes + 8 + header + begin }, out);
  return out;
}

float *
golden_input (const char *name, guint *h, guint *w)
{
  g_autofree char *id = g_strndup (name, strcspn (name, "_"));

  g_assert_cmpint (sscanf (strchr (name, '_'), "_%ux%u", h, w), ==, 2);
  if (strcmp (id, "photo") == 0)
    return photo ();
  float *out = g_new (float, 3 * *h * *w), *at = out;
  for (int c = 0; c < 3; c++)
    for (guint y = 0; y < *h; y++)
      for (guint x = 0; x < *w; x++)
        *at++ = (float) noise (id, c, y, x);
  return out;
}

double
golden_error (const float *got, const float *want, gsize n)
{
  double difference = 0, largest = 0;
  for (gsize i = 0; i < n; i++) {
    if (isnan (got[i]))
      return INFINITY;
    difference = MAX (difference, fabs ((double) got[i] - want[i]));
    largest = MAX (largest, fabs ((double) want[i]));
  }
  return difference / largest;
}
