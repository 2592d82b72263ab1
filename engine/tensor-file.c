/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "tensor-file.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <vig/error.h>

#define NPY_MAGIC "\x93NUMPY"

/* "(1, 3, 224, 224)" */
static gboolean
read_npy_shape (const char *text, VigTensor *t)
{
  t->count = 1;
  text++;
  while (*text != ')') {
    char *end;
    guint64 n = g_ascii_strtoull (text, &end, 10);
    if (end == text || t->rank == VIG_SAFETENSORS_MAX_RANK || !g_size_checked_mul (&t->count, t->count, n))
      return FALSE;
    t->shape[t->rank++] = n;
    text = end + strspn (end, ", ");
  }
  return TRUE;
}

/* Magic, version, header length (2 bytes, from version 2 on 4), a Python dict, the data. */
static gboolean
read_npy (const guint8 *bytes, gsize size, const char *path, VigTensor *t, GError **error)
{
  gsize at = size > 12 && bytes[6] >= 2 ? 12 : 10, length = 0;

  if (size >= at)
    length = at == 10 ? (gsize) bytes[8] | (gsize) bytes[9] << 8
        : (gsize) bytes[8] | (gsize) bytes[9] << 8 | (gsize) bytes[10] << 16 | (gsize) bytes[11] << 24;
  if (size < at || length > size - at) {
    g_set_error (error, VIG_ERROR, VIG_ERROR_FILE, "%s: expected the header of a .npy file, found it truncated", path);
    return FALSE;
  }
  g_autofree char *header = g_strndup ((const char *) bytes + at, length);
  const char *shape = strstr (header, "'shape': (");
  if (!strstr (header, "'descr': '<f4'") || !strstr (header, "'fortran_order': False") || !shape || !strchr (shape, ')')
      || !read_npy_shape (strchr (shape, '('), t)) {
    g_set_error (error, VIG_ERROR, VIG_ERROR_FILE, "%s: expected a .npy of little-endian float32 in C order, found %s",
        path, header);
    return FALSE;
  }
  if (t->count > (size - at - length) / sizeof (float)) {
    g_set_error (error, VIG_ERROR, VIG_ERROR_FILE, "%s: expected %" G_GSIZE_FORMAT " values, found %" G_GSIZE_FORMAT,
        path, t->count, (size - at - length) / sizeof (float));
    return FALSE;
  }
  t->data = bytes + at + length;
  return TRUE;
}

float *
vig_tensor_file_read (const char *path, const char *name, guint rank, guint64 *shape, GError **error)
{
  g_autofree char *bytes = NULL;
  g_autoptr (VigSafetensors) file = NULL;
  VigTensor npy = { .dtype = VIG_DTYPE_F32 };
  const VigTensor *t = &npy;
  gsize size;

  if (!g_file_get_contents (path, &bytes, &size, error))
    return NULL;
  if (size >= 6 && memcmp (bytes, NPY_MAGIC, 6) == 0) {
    if (!read_npy ((const guint8 *) bytes, size, path, &npy, error))
      return NULL;
  } else {
    if (!(file = vig_safetensors_parse ((const guint8 *) bytes, size, path, error)))
      return NULL;
    if (!(t = vig_safetensors_get (file, name))) {
      g_set_error (error, VIG_ERROR, VIG_ERROR_FILE, "%s: expected a tensor \"%s\", found none", path, name);
      return NULL;
    }
  }
  if (t->rank != rank) {
    g_autofree char *found = vig_shape_to_string (t->shape, t->rank);
    g_set_error (error, VIG_ERROR, VIG_ERROR_FILE, "%s: expected a tensor of %u dimensions, found shape %s", path, rank,
        found);
    return NULL;
  }
  float *values = g_try_new (float, MAX (t->count, 1));
  if (!values) {
    g_set_error (error, VIG_ERROR, VIG_ERROR_NO_MEMORY, "%s: no memory for %" G_GSIZE_FORMAT " values", path, t->count);
    return NULL;
  }
  memcpy (shape, t->shape, rank * sizeof *shape);
  vig_tensor_to_float (t, values);
  return values;
}

static GByteArray *
format_npy (const VigTensor *t)
{
  GByteArray *out = g_byte_array_new ();
  g_autoptr (GString) header = g_string_new ("{'descr': '<f4', 'fortran_order': False, 'shape': (");

  for (guint i = 0; i < t->rank; i++)
    g_string_append_printf (header, "%" G_GUINT64_FORMAT ", ", t->shape[i]);
  g_string_append (header, "), }");
  while ((10 + header->len + 1) % 64)
    g_string_append_c (header, ' ');
  g_string_append_c (header, '\n');
  guint8 start[10] = { 0x93, 'N', 'U', 'M', 'P', 'Y', 1, 0, header->len & 255, (guint8) (header->len >> 8) };
  g_byte_array_append (out, start, sizeof start);
  g_byte_array_append (out, (const guint8 *) header->str, (guint) header->len);
  g_byte_array_append (out, t->data, (guint) (t->count * sizeof (float)));
  return out;
}

gboolean
vig_tensor_file_write (const char *path, const VigTensor *tensors, guint n, GError **error)
{
  g_autoptr (GByteArray) bytes = g_str_has_suffix (path, ".npy") ? format_npy (&tensors[0])
      : vig_safetensors_format (tensors, n, NULL);
  return g_file_set_contents (path, (const char *) bytes->data, bytes->len, error);
}
