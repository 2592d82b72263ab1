/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "made.h"

#include <string.h>

#include <random.h>

Made *
made_new (const char *config)
{
  Made *made = g_new0 (Made, 1);
  g_autofree char *name = NULL;
  GError *error = NULL;
  VigConfig parsed;

  vig_config_parse (&parsed, config, "made", &name, &error);
  g_assert_no_error (error);
  made->config = g_strdup (config);
  made->specs = vig_config_list_tensors (&parsed);
  made->tensors = g_array_new (FALSE, TRUE, sizeof (VigTensor));
  made->values = g_ptr_array_new_with_free_func (g_free);
  for (guint i = 0; i < made->specs->len; i++) {
    const VigTensorSpec *spec = &g_array_index (made->specs, VigTensorSpec, i);
    float *values = g_new (float, spec->count);
    for (gsize j = 0; j < spec->count; j++)
      values[j] = (float) vig_random_uniform (spec->name, 1, j) - (g_str_has_suffix (spec->name, ".boundary") ? 1 : 0);
    VigTensor t = { .name = spec->name, .rank = spec->rank, .count = spec->count, .data = values };
    memcpy (t.shape, spec->shape, sizeof spec->shape);
    g_ptr_array_add (made->values, values);
    g_array_append_val (made->tensors, t);
  }
  return made;
}

void
made_free (Made *made)
{
  g_free (made->config);
  g_array_unref (made->specs);
  g_array_unref (made->tensors);
  g_ptr_array_unref (made->values);
  g_free (made);
}

VigTensor *
made_get (Made *made, const char *name)
{
  for (guint i = 0; i < made->tensors->len; i++)
    if (g_str_equal (g_array_index (made->tensors, VigTensor, i).name, name))
      return &g_array_index (made->tensors, VigTensor, i);
  g_error ("no tensor %s", name);
}

void
made_set_dtype (Made *made, VigTensor *tensor, VigDtype dtype)
{
  tensor->dtype = dtype;
  tensor->data = g_new0 (float, tensor->count);
  g_ptr_array_add (made->values, (gpointer) tensor->data);
}

GByteArray *
made_file (Made *made, const char *const *metadata)
{
  g_autoptr (GPtrArray) pairs = g_ptr_array_new ();
  gboolean given = FALSE;

  for (const char *const *m = metadata; m && m[0]; m += 2) {
    given |= g_str_equal (m[0], "vig_config");
    g_ptr_array_add (pairs, (gpointer) m[0]);
    g_ptr_array_add (pairs, (gpointer) m[1]);
  }
  if (!given) {
    g_ptr_array_add (pairs, "vig_config");
    g_ptr_array_add (pairs, made->config);
  }
  g_ptr_array_add (pairs, NULL);
  return vig_safetensors_format ((VigTensor *) made->tensors->data, made->tensors->len,
      (const char *const *) pairs->pdata);
}

GByteArray *
made_raw (const char *header, gsize data_size)
{
  GByteArray *file = g_byte_array_new ();
  guint64 length = GUINT64_TO_LE ((guint64) strlen (header));
  g_autofree guint8 *zeros = g_malloc0 (data_size + 1);

  g_byte_array_append (file, (guint8 *) &length, 8);
  g_byte_array_append (file, (const guint8 *) header, (guint) strlen (header));
  g_byte_array_append (file, zeros, (guint) data_size);
  return file;
}

void
made_edit (GByteArray *file, const char *from, const char *to)
{
  guint64 length;

  memcpy (&length, file->data, 8);
  length = GUINT64_FROM_LE (length);
  char *header = (char *) file->data + 8, *at = g_strstr_len (header, (gssize) length, from);
  if (!at)
    g_error ("no %s in the header", from);
  g_autoptr (GString) edited = g_string_new_len (header, at - header);
  g_string_append (edited, to);
  g_string_append_len (edited, at + strlen (from), header + length - at - (gssize) strlen (from));
  g_byte_array_remove_range (file, 0, (guint) (8 + length));
  length = GUINT64_TO_LE ((guint64) edited->len);
  g_byte_array_prepend (file, (guint8 *) edited->str, (guint) edited->len);
  g_byte_array_prepend (file, (guint8 *) &length, 8);
}

VigModel *
random_model (const char *variant, guint64 seed)
{
  GError *error = NULL;
  VigModel *model = vig_model_new_random (variant, seed, NULL, &error);
  g_assert_no_error (error);
  return model;
}

void
check_error (GError **error, VigError code, const char *part)
{
  g_assert_error (*error, VIG_ERROR, (int) code);
  if (!strstr ((*error)->message, part) || strchr ((*error)->message, '\n'))
    g_error ("expected \"%s\" in \"%s\"", part, (*error)->message);
  g_clear_error (error);
}
