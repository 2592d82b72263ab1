/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "safetensors.h"

#include <string.h>

#include <numbers.h>
#include "json.h"
#include <vig/error.h>

static const struct { const char *name; gsize size; } dtypes[] = {
  [VIG_DTYPE_F32] = { "F32", 4 }, [VIG_DTYPE_F16] = { "F16", 2 }, [VIG_DTYPE_BF16] = { "BF16", 2 },
};

void
vig_safetensors_free (VigSafetensors *file)
{
  if (!file)
    return;
  g_array_unref (file->tensors);
  g_hash_table_unref (file->by_name);
  g_hash_table_unref (file->metadata);
  vig_json_free (file->header);
  g_free (file);
}

const VigTensor *
vig_safetensors_get (const VigSafetensors *file, const char *name)
{
  gpointer index;
  if (!g_hash_table_lookup_extended (file->by_name, name, NULL, &index))
    return NULL;
  return &g_array_index (file->tensors, VigTensor, GPOINTER_TO_UINT (index));
}

char *
vig_shape_to_string (const guint64 *shape, guint rank)
{
  GString *s = g_string_new ("[");
  for (guint i = 0; i < rank; i++)
    g_string_append_printf (s, "%s%" G_GUINT64_FORMAT, i ? ", " : "", shape[i]);
  g_string_append_c (s, ']');
  return g_string_free (s, FALSE);
}

gboolean
vig_safetensors_check_length (const guint8 *first, guint64 size, const char *name, guint64 *header_size,
    GError **error)
{
  guint64 length;

  if (size < 8) {
    g_set_error (error, VIG_ERROR, VIG_ERROR_MODEL, "%s: expected a safetensors file of at least 8 bytes, found %"
        G_GUINT64_FORMAT, name, size);
    return FALSE;
  }
  memcpy (&length, first, 8);
  length = GUINT64_FROM_LE (length);
  if (length > size - 8 || length > VIG_SAFETENSORS_MAX_HEADER) {
    g_set_error (error, VIG_ERROR, VIG_ERROR_MODEL, "%s: expected a header of at most %" G_GUINT64_FORMAT
        " bytes, found a length of %" G_GUINT64_FORMAT " (truncated, or no safetensors file)", name,
        MIN (size - 8, VIG_SAFETENSORS_MAX_HEADER), length);
    return FALSE;
  }
  *header_size = length;
  return TRUE;
}

static gboolean
read_metadata (VigSafetensors *file, const VigJson *json, const char *name, GError **error)
{
  if (json->type != VIG_JSON_OBJECT) {
    g_autofree char *found = vig_json_describe (json);
    g_set_error (error, VIG_ERROR, VIG_ERROR_MODEL, "%s: __metadata__: expected an object, found %s", name, found);
    return FALSE;
  }
  for (const VigJson *m = json->first; m; m = m->next) {
    if (m->type != VIG_JSON_STRING) {
      g_autofree char *found = vig_json_describe (m);
      g_set_error (error, VIG_ERROR, VIG_ERROR_MODEL, "%s: __metadata__ \"%s\": expected a string, found %s", name,
          m->name, found);
      return FALSE;
    }
    g_hash_table_insert (file->metadata, m->name, m->string);
  }
  return TRUE;
}

static gboolean
read_dtype (VigTensor *t, const VigJson *json, const char *name, GError **error)
{
  if (json && json->type == VIG_JSON_STRING)
    for (guint i = 0; i < G_N_ELEMENTS (dtypes); i++)
      if (strcmp (json->string, dtypes[i].name) == 0) {
        t->dtype = (VigDtype) i;
        return TRUE;
      }
  g_autofree char *found = vig_json_describe (json);
  g_set_error (error, VIG_ERROR, VIG_ERROR_MODEL, "%s: tensor %s: expected dtype F32, F16 or BF16, found %s", name,
      t->name, found);
  return FALSE;
}

static gboolean
read_shape (VigTensor *t, const VigJson *json, const char *name, GError **error)
{
  if (!json || json->type != VIG_JSON_ARRAY || json->n_children > VIG_SAFETENSORS_MAX_RANK) {
    g_autofree char *found = vig_json_describe (json);
    g_set_error (error, VIG_ERROR, VIG_ERROR_MODEL, "%s: tensor %s: expected a shape of at most %d numbers, found %s",
        name, t->name, VIG_SAFETENSORS_MAX_RANK, found);
    return FALSE;
  }
  t->count = 1;
  for (const VigJson *c = json->first; c; c = c->next) {
    guint64 n;
    if (!vig_json_to_uint (c, G_MAXINT32, &n) || !g_size_checked_mul (&t->count, t->count, n)) {
      g_autofree char *found = vig_json_describe (c);
      g_set_error (error, VIG_ERROR, VIG_ERROR_MODEL, "%s: tensor %s: expected a shape of whole numbers whose product "
          "is a size in memory, found %s at index %u", name, t->name, found, t->rank);
      return FALSE;
    }
    t->shape[t->rank++] = n;
  }
  return TRUE;
}

/* Where the tensor lies; @data_size bytes follow the header. */
static gboolean
read_offsets (VigTensor *t, const VigJson *json, const guint8 *data, gsize data_size, const char *name, GError **error)
{
  guint64 begin, end;
  gsize size;

  if (!json || json->type != VIG_JSON_ARRAY || json->n_children != 2
      || !vig_json_to_uint (json->first, G_MAXUINT64, &begin)
      || !vig_json_to_uint (json->first->next, G_MAXUINT64, &end)) {
    g_autofree char *found = vig_json_describe (json);
    g_set_error (error, VIG_ERROR, VIG_ERROR_MODEL, "%s: tensor %s: expected data_offsets of two whole numbers, found "
        "%s", name, t->name, found);
    return FALSE;
  }
  if (begin > end || end > data_size) {
    g_set_error (error, VIG_ERROR, VIG_ERROR_MODEL, "%s: tensor %s: expected data_offsets within the %" G_GSIZE_FORMAT
        " bytes of data, found [%" G_GUINT64_FORMAT ", %" G_GUINT64_FORMAT "]", name, t->name, data_size, begin, end);
    return FALSE;
  }
  if (!g_size_checked_mul (&size, t->count, dtypes[t->dtype].size) || size != end - begin) {
    g_autofree char *shape = vig_shape_to_string (t->shape, t->rank);
    g_set_error (error, VIG_ERROR, VIG_ERROR_MODEL, "%s: tensor %s: expected the bytes of %s %s, found data_offsets of %"
        G_GUINT64_FORMAT " bytes", name, t->name, dtypes[t->dtype].name, shape, end - begin);
    return FALSE;
  }
  t->data = data + begin;
  return TRUE;
}

static int
by_place (gconstpointer a, gconstpointer b)
{
  const VigTensor *x = *(const VigTensor *const *) a, *y = *(const VigTensor *const *) b;
  gsize ex = (gsize) x->data + x->count, ey = (gsize) y->data + y->count; /* empty ones first */
  if (x->data != y->data)
    return (gsize) x->data < (gsize) y->data ? -1 : 1;
  return ex < ey ? -1 : ex > ey;
}

/* Every byte of the data belongs to exactly one tensor. */
static gboolean
check_cover (const VigSafetensors *file, const guint8 *data, gsize data_size, const char *name, GError **error)
{
  g_autoptr (GPtrArray) order = g_ptr_array_new ();
  const guint8 *at = data;
  const char *last = NULL;

  for (guint i = 0; i < file->tensors->len; i++)
    g_ptr_array_add (order, &g_array_index (file->tensors, VigTensor, i));
  g_ptr_array_sort (order, by_place);
  for (guint i = 0; i < order->len; i++) {
    const VigTensor *t = order->pdata[i];
    if ((const guint8 *) t->data < at) {
      g_set_error (error, VIG_ERROR, VIG_ERROR_MODEL, "%s: tensor %s: expected data of its own, found it overlapping "
          "that of %s", name, t->name, last);
      return FALSE;
    }
    if ((const guint8 *) t->data > at) {
      g_set_error (error, VIG_ERROR, VIG_ERROR_MODEL, "%s: expected data without holes, found %" G_GSIZE_FORMAT
          " bytes that belong to no tensor before %s", name, (gsize) ((const guint8 *) t->data - at), t->name);
      return FALSE;
    }
    at += t->count * dtypes[t->dtype].size;
    last = t->name;
  }
  if (at != data + data_size) {
    g_set_error (error, VIG_ERROR, VIG_ERROR_MODEL, "%s: expected the file to end with the last tensor, found %"
        G_GSIZE_FORMAT " bytes more", name, (gsize) (data + data_size - at));
    return FALSE;
  }
  return TRUE;
}

VigSafetensors *
vig_safetensors_parse (const guint8 *data, gsize size, const char *name, GError **error)
{
  g_autofree char *what = g_strdup_printf ("%s: header", name);
  g_autoptr (VigSafetensors) file = g_new0 (VigSafetensors, 1);
  guint64 header_size;

  file->tensors = g_array_new (FALSE, TRUE, sizeof (VigTensor));
  file->by_name = g_hash_table_new (g_str_hash, g_str_equal);
  file->metadata = g_hash_table_new (g_str_hash, g_str_equal);

  if (!vig_safetensors_check_length (data, size, name, &header_size, error))
    return NULL;
  if (!(file->header = vig_json_parse ((const char *) data + 8, header_size, what, error)))
    return NULL;
  if (file->header->type != VIG_JSON_OBJECT) {
    g_autofree char *found = vig_json_describe (file->header);
    g_set_error (error, VIG_ERROR, VIG_ERROR_MODEL, "%s: expected an object, found %s", what, found);
    return NULL;
  }
  const guint8 *body = data + 8 + header_size;
  gsize body_size = size - 8 - header_size;
  for (const VigJson *entry = file->header->first; entry; entry = entry->next) {
    VigTensor t = { .name = entry->name };
    if (strcmp (entry->name, "__metadata__") == 0) {
      if (!read_metadata (file, entry, name, error))
        return NULL;
      continue;
    }
    if (entry->type != VIG_JSON_OBJECT) {
      g_autofree char *found = vig_json_describe (entry);
      g_set_error (error, VIG_ERROR, VIG_ERROR_MODEL, "%s: tensor %s: expected an object, found %s", name,
          entry->name, found);
      return NULL;
    }
    if (!read_dtype (&t, vig_json_get (entry, "dtype"), name, error)
        || !read_shape (&t, vig_json_get (entry, "shape"), name, error)
        || !read_offsets (&t, vig_json_get (entry, "data_offsets"), body, body_size, name, error))
      return NULL;
    g_hash_table_insert (file->by_name, entry->name, GUINT_TO_POINTER (file->tensors->len));
    g_array_append_val (file->tensors, t);
  }
  if (!check_cover (file, body, body_size, name, error))
    return NULL;
  return g_steal_pointer (&file);
}

void
vig_tensor_to_float (const VigTensor *tensor, float *out)
{
  const guint8 *data = tensor->data;
  for (gsize i = 0; i < tensor->count; i++) {
    guint32 word;
    guint16 half;
    if (tensor->dtype == VIG_DTYPE_F32) {
      memcpy (&word, data + 4 * i, 4);
      out[i] = vig_f32_of_bits (GUINT32_FROM_LE (word));
    } else {
      memcpy (&half, data + 2 * i, 2);
      half = GUINT16_FROM_LE (half);
      out[i] = tensor->dtype == VIG_DTYPE_F16 ? vig_f16_to_f32 (half) : vig_bf16_to_f32 (half);
    }
  }
}

GByteArray *
vig_safetensors_format (const VigTensor *tensors, guint n, const char *const *metadata)
{
  g_autoptr (GString) header = g_string_new ("{\"__metadata__\":{");
  GByteArray *out = g_byte_array_new ();
  gsize offset = 0;

  for (const char *const *m = metadata; m && m[0]; m += 2) {
    if (m != metadata)
      g_string_append_c (header, ',');
    vig_json_append_string (header, m[0]);
    g_string_append_c (header, ':');
    vig_json_append_string (header, m[1]);
  }
  g_string_append_c (header, '}');
  for (guint i = 0; i < n; i++) {
    const VigTensor *t = &tensors[i];
    g_autofree char *shape = vig_shape_to_string (t->shape, t->rank);
    gsize size = t->count * dtypes[t->dtype].size;
    g_string_append_c (header, ',');
    vig_json_append_string (header, t->name);
    g_string_append_printf (header, ":{\"dtype\":\"%s\",\"shape\":%s,\"data_offsets\":[%" G_GSIZE_FORMAT ",%"
        G_GSIZE_FORMAT "]}", dtypes[t->dtype].name, shape, offset, offset + size);
    offset += size;
  }
  g_string_append_c (header, '}');
  while (header->len % 8) /* so that the data is aligned */
    g_string_append_c (header, ' ');

  guint64 length = GUINT64_TO_LE ((guint64) header->len);
  g_byte_array_append (out, (const guint8 *) &length, 8);
  g_byte_array_append (out, (const guint8 *) header->str, (guint) header->len);
  for (guint i = 0; i < n; i++)
    if (tensors[i].count)
      g_byte_array_append (out, tensors[i].data, (guint) (tensors[i].count * dtypes[tensors[i].dtype].size));
  return out;
}
