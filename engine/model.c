/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "model-private.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "json.h"
#include "safetensors.h"

#define MAX_MODEL_BYTES ((guint64) 4 << 30) /* the largest published model has 0.36 GB */
#define MAX_LABELS_BYTES ((guint64) 64 << 20)
#define MAX_INPUT_SIZE 8192

/* ---- life ---- */

VigModel *
vig_model_new (const VigConfig *config, const char *name, GError **error)
{
  VigModel *model = g_new0 (VigModel, 1);
  gsize offset = 0;

  g_atomic_ref_count_init (&model->refs);
  model->config = *config;
  model->name = g_strdup (name);
  model->specs = vig_config_list_tensors (config);
  model->by_name = g_hash_table_new (g_str_hash, g_str_equal);
  for (guint i = 0; i < model->specs->len; i++)
    model->n_weights += g_array_index (model->specs, VigTensorSpec, i).count;
  model->weights = g_try_new (float, model->n_weights);
  if (!model->weights) {
    g_set_error (error, VIG_ERROR, VIG_ERROR_NO_MEMORY, "%s: no memory for %" G_GSIZE_FORMAT " weights", name,
        model->n_weights);
    vig_model_unref (model);
    return NULL;
  }
  for (guint i = 0; i < model->specs->len; i++) {
    const VigTensorSpec *spec = &g_array_index (model->specs, VigTensorSpec, i);
    g_hash_table_insert (model->by_name, spec->name, model->weights + offset);
    offset += spec->count;
  }
  return model;
}

VigModel *
vig_model_ref (VigModel *model)
{
  g_atomic_ref_count_inc (&model->refs);
  return model;
}

void
vig_model_unref (VigModel *model)
{
  if (!model || !g_atomic_ref_count_dec (&model->refs))
    return;
  g_free (model->name);
  g_free (model->hash);
  g_strfreev (model->labels);
  g_hash_table_unref (model->by_name);
  g_array_unref (model->specs);
  g_free (model->weights);
  g_free (model);
}

void
vig_model_set_defaults (VigModel *model)
{
  model->preprocess = (VigPreprocessConfig) {
    .size = model->config.hierarchical ? 224 : model->config.img_size,
    .resize_ratio = 256.0 / 224.0,
    .mean = { 0.485f, 0.456f, 0.406f },
    .std = { 0.229f, 0.224f, 0.225f },
  };
  g_strfreev (model->labels);
  model->labels = g_new0 (char *, model->config.n_classes + 1);
  for (guint i = 0; i < model->config.n_classes; i++)
    model->labels[i] = g_strdup_printf ("class %u", i);
}

/* ---- metadata ---- */

static gboolean
read_labels (VigModel *model, const char *text, const char *file, GError **error)
{
  g_autofree char *what = g_strdup_printf ("%s: vig_labels", file);
  g_autoptr (VigJson) json = vig_json_parse (text, strlen (text), what, error);
  guint i = 0;

  if (!json)
    return FALSE;
  if (json->type != VIG_JSON_ARRAY) {
    g_autofree char *found = vig_json_describe (json);
    g_set_error (error, VIG_ERROR, VIG_ERROR_MODEL, "%s: expected an array, found %s", what, found);
    return FALSE;
  }
  if (json->n_children != model->config.n_classes) {
    g_set_error (error, VIG_ERROR, VIG_ERROR_MODEL, "%s: expected %u labels, one for each class, found %u", what,
        model->config.n_classes, json->n_children);
    return FALSE;
  }
  for (const VigJson *c = json->first; c; c = c->next, i++) {
    if (c->type != VIG_JSON_STRING) {
      g_autofree char *found = vig_json_describe (c);
      g_set_error (error, VIG_ERROR, VIG_ERROR_MODEL, "%s: expected a string at index %u, found %s", what, i, found);
      return FALSE;
    }
    g_free (model->labels[i]);
    model->labels[i] = g_strdup (c->string);
  }
  return TRUE;
}

static gboolean
bad_preprocess (const VigJson *json, const char *what, const char *expected, GError **error)
{
  g_autofree char *found = vig_json_describe (json);
  g_set_error (error, VIG_ERROR, VIG_ERROR_MODEL, "%s: %s: expected %s, found %s", what, json->name, expected, found);
  return FALSE;
}

static gboolean
read_rgb (const VigJson *json, float *rgb, double min, const char *what, const char *expected, GError **error)
{
  if (json->type != VIG_JSON_ARRAY || json->n_children != 3)
    return bad_preprocess (json, what, expected, error);
  for (const VigJson *c = json->first; c; c = c->next, rgb++) {
    if (c->type != VIG_JSON_NUMBER || c->number < min || c->number > 1000)
      return bad_preprocess (json, what, expected, error);
    *rgb = (float) c->number;
  }
  return TRUE;
}

static gboolean
read_preprocess (VigModel *model, const char *text, const char *file, GError **error)
{
  g_autofree char *what = g_strdup_printf ("%s: vig_preprocess", file);
  g_autoptr (VigJson) json = vig_json_parse (text, strlen (text), what, error);
  VigPreprocessConfig *p = &model->preprocess;
  guint min = MAX (vig_config_min_size (&model->config), 1);
  guint64 size;

  if (!json)
    return FALSE;
  if (json->type != VIG_JSON_OBJECT) {
    g_autofree char *found = vig_json_describe (json);
    g_set_error (error, VIG_ERROR, VIG_ERROR_MODEL, "%s: expected an object, found %s", what, found);
    return FALSE;
  }
  for (const VigJson *c = json->first; c; c = c->next) {
    if (strcmp (c->name, "size") == 0) {
      if (!vig_json_to_uint (c, MAX_INPUT_SIZE, &size) || size < min)
        return bad_preprocess (c, what, "a whole number of pixels that the model can take, at most 8192", error);
      p->size = (guint) size;
    } else if (strcmp (c->name, "resize") == 0) {
      if (g_strcmp0 (c->string, "crop") != 0 && g_strcmp0 (c->string, "stretch") != 0)
        return bad_preprocess (c, what, "\"crop\" or \"stretch\"", error);
      p->stretch = c->string[0] == 's';
    } else if (strcmp (c->name, "resize_ratio") == 0) {
      if (c->type != VIG_JSON_NUMBER || c->number < 1 || c->number > 16)
        return bad_preprocess (c, what, "a number from 1 to 16", error);
      p->resize_ratio = c->number;
    } else if (strcmp (c->name, "mean") == 0) {
      if (!read_rgb (c, p->mean, -1000, what, "three numbers from -1000 to 1000", error))
        return FALSE;
    } else if (strcmp (c->name, "std") == 0) {
      if (!read_rgb (c, p->std, 1e-6, what, "three numbers from 1e-6 to 1000", error))
        return FALSE;
    } else {
      g_set_error (error, VIG_ERROR, VIG_ERROR_MODEL, "%s: expected only the fields size, resize, resize_ratio, mean, "
          "std, found \"%s\"", what, c->name);
      return FALSE;
    }
  }
  return TRUE;
}

/* ---- weights ---- */

/* Names and shapes, before anything of the file's size is allocated. */
static gboolean
check_tensors (const VigSafetensors *file, GArray *specs, const char *name, GError **error)
{
  g_autoptr (GHashTable) known = g_hash_table_new (g_str_hash, g_str_equal);

  for (guint i = 0; i < specs->len; i++) {
    const VigTensorSpec *spec = &g_array_index (specs, VigTensorSpec, i);
    const VigTensor *t = vig_safetensors_get (file, spec->name);
    g_autofree char *expected = vig_shape_to_string (spec->shape, spec->rank);

    g_hash_table_add (known, spec->name);
    if (!t) {
      g_set_error (error, VIG_ERROR, VIG_ERROR_MODEL, "%s: tensor %s: expected shape %s, found no such tensor", name,
          spec->name, expected);
      return FALSE;
    }
    if (t->rank != spec->rank || memcmp (t->shape, spec->shape, spec->rank * sizeof *t->shape) != 0) {
      g_autofree char *found = vig_shape_to_string (t->shape, t->rank);
      g_set_error (error, VIG_ERROR, VIG_ERROR_MODEL, "%s: tensor %s: expected shape %s, found %s", name, spec->name,
          expected, found);
      return FALSE;
    }
  }
  for (guint i = 0; i < file->tensors->len; i++) {
    const VigTensor *t = &g_array_index (file->tensors, VigTensor, i);
    if (!g_hash_table_contains (known, t->name)) {
      g_set_error (error, VIG_ERROR, VIG_ERROR_MODEL, "%s: expected the %u tensors of its vig_config, found also %s",
          name, specs->len, t->name);
      return FALSE;
    }
  }
  return TRUE;
}

static gboolean
read_weights (VigModel *model, const VigSafetensors *file, const char *name, GError **error)
{
  float *out = model->weights;

  for (guint i = 0; i < model->specs->len; i++) {
    const VigTensorSpec *spec = &g_array_index (model->specs, VigTensorSpec, i);
    vig_tensor_to_float (vig_safetensors_get (file, spec->name), out);
    for (gsize j = 0; j < spec->count; j++)
      if (!isfinite (out[j])) {
        g_set_error (error, VIG_ERROR, VIG_ERROR_MODEL, "%s: tensor %s: expected finite values, found %s at index %"
            G_GSIZE_FORMAT, name, spec->name, isnan (out[j]) ? "NaN" : "infinity", j);
        return FALSE;
      }
    if (g_str_has_suffix (spec->name, ".boundary"))
      for (gsize j = 0; j < spec->count; j++)
        if (out[j] > 0) {
          g_set_error (error, VIG_ERROR, VIG_ERROR_MODEL, "%s: tensor %s: expected no value above 0, found %g at index %"
              G_GSIZE_FORMAT, name, spec->name, (double) out[j], j);
          return FALSE;
        }
    out += spec->count;
  }
  return TRUE;
}

const float *
vig_model_get_weight (const VigModel *model, const char *format, ...)
{
  va_list args;
  va_start (args, format);
  g_autofree char *name = g_strdup_vprintf (format, args);
  va_end (args);
  const float *weight = g_hash_table_lookup (model->by_name, name);
  if (!weight)
    g_error ("no tensor %s", name);
  return weight;
}

/* ---- loading ---- */

/* Takes @hash. */
static VigModel *
load_bytes (const guint8 *data, gsize size, char *hash, const char *name, GError **error)
{
  g_autofree char *own_hash = hash;
  g_autoptr (VigSafetensors) file = vig_safetensors_parse (data, size, name, error);
  g_autoptr (VigModel) model = NULL;
  g_autoptr (GArray) specs = NULL;
  g_autofree char *what = g_strdup_printf ("%s: vig_config", name), *own_name = NULL;
  const char *text;
  VigConfig config;

  if (!file)
    return NULL;
  if (!(text = g_hash_table_lookup (file->metadata, "vig_config"))) {
    g_set_error (error, VIG_ERROR, VIG_ERROR_MODEL, "%s: expected an entry vig_config in __metadata__, found none "
        "(docs/model-file.md; tools/convert_checkpoint.py writes it)", name);
    return NULL;
  }
  if (!vig_config_parse (&config, text, what, &own_name, error))
    return NULL;
  specs = vig_config_list_tensors (&config);
  if (!check_tensors (file, specs, name, error))
    return NULL;

  const char *given_name = g_hash_table_lookup (file->metadata, "vig_name");
  g_autofree char *basename = g_path_get_basename (name);
  if (!(model = vig_model_new (&config, given_name ? given_name : own_name ? own_name : basename, error)))
    return NULL;
  vig_model_set_defaults (model);
  if ((text = g_hash_table_lookup (file->metadata, "vig_preprocess")) && !read_preprocess (model, text, name, error))
    return NULL;
  if ((text = g_hash_table_lookup (file->metadata, "vig_labels")) && !read_labels (model, text, name, error))
    return NULL;
  if (!read_weights (model, file, name, error))
    return NULL;
  model->hash = g_steal_pointer (&own_hash);
  return g_steal_pointer (&model);
}

static char *
hash_bytes (const guint8 *data, gsize size)
{
  return g_compute_checksum_for_data (G_CHECKSUM_SHA256, data, size);
}

VigModel *
vig_model_load_bytes (const guint8 *data, gsize size, const char *name, GError **error)
{
  return load_bytes (data, size, hash_bytes (data, size), name, error);
}

/* Opens a regular file of at most @max bytes. @check_header: its first 8 bytes must be a header length that fits,
 * before memory for the rest is taken. Returns -1 with @error set if it cannot. */
static int
open_file (const char *path, guint64 max, gboolean check_header, gsize *size, GError **error)
{
  guint8 first[8];
  guint64 header_size;
  struct stat st;
  int fd = open (path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* not to hang on a FIFO */

  if (fd < 0 || fstat (fd, &st) < 0) {
    g_set_error (error, VIG_ERROR, VIG_ERROR_FILE, "%s: cannot be opened: %s", path, g_strerror (errno));
    goto fail;
  }
  if (!S_ISREG (st.st_mode)) {
    g_set_error (error, VIG_ERROR, VIG_ERROR_FILE, "%s: expected a file, found %s", path,
        S_ISDIR (st.st_mode) ? "a folder" : "something else");
    goto fail;
  }
  if ((guint64) st.st_size > max) {
    g_set_error (error, VIG_ERROR, VIG_ERROR_FILE, "%s: expected at most %" G_GUINT64_FORMAT " bytes, found %"
        G_GUINT64_FORMAT, path, max, (guint64) st.st_size);
    goto fail;
  }
  if (check_header && (pread (fd, first, 8, 0) == 8 || st.st_size < 8)
      && !vig_safetensors_check_length (first, (guint64) st.st_size, path, &header_size, error))
    goto fail;
  *size = (gsize) st.st_size;
  return fd;
fail:
  if (fd >= 0)
    close (fd);
  return -1;
}

static gboolean
read_bytes (int fd, const char *path, guint8 *data, gsize size, GError **error)
{
  gsize done = 0;

  while (done < size) {
    ssize_t n = read (fd, data + done, size - done);
    if (n < 0 && errno == EINTR)
      continue;
    if (n <= 0) {
      g_set_error (error, VIG_ERROR, VIG_ERROR_FILE, "%s: cannot be read: %s", path,
          n < 0 ? g_strerror (errno) : "it became shorter meanwhile");
      return FALSE;
    }
    done += (gsize) n;
  }
  return TRUE;
}

/* As open_file(); a zero byte follows what is returned. */
static guint8 *
read_file (const char *path, guint64 max, gboolean check_header, gsize *size, GError **error)
{
  guint8 *data;
  int fd = open_file (path, max, check_header, size, error);

  if (fd < 0)
    return NULL;
  if (!(data = g_try_malloc (*size + 1)))
    g_set_error (error, VIG_ERROR, VIG_ERROR_NO_MEMORY, "%s: no memory for %" G_GSIZE_FORMAT " bytes", path, *size);
  else if (!read_bytes (fd, path, data, *size, error))
    g_clear_pointer (&data, g_free);
  else
    data[*size] = 0;
  close (fd);
  return data;
}

gboolean
vig_model_file_read (VigModelFile *file, const char *path, GError **error)
{
  file->data = read_file (path, MAX_MODEL_BYTES, TRUE, &file->size, error);
  file->hash = file->data ? hash_bytes (file->data, file->size) : NULL;
  return file->data != NULL;
}

VigModel *
vig_model_file_load (const VigModelFile *file, const char *name, GError **error)
{
  return load_bytes (file->data, file->size, g_strdup (file->hash), name, error);
}

void
vig_model_file_clear (VigModelFile *file)
{
  g_clear_pointer (&file->data, g_free);
  g_clear_pointer (&file->hash, g_free);
}

VigModel *
vig_model_load (const char *path, GError **error)
{
  g_auto (VigModelFile) file = { 0 };
  return vig_model_file_read (&file, path, error) ? vig_model_file_load (&file, path, error) : NULL;
}

char *
vig_model_hash_file (const char *path, GError **error)
{
  const gsize part = 1 << 20; /* not the whole file: many may do this at the same time */
  gsize left, n = 0;
  int fd = open_file (path, MAX_MODEL_BYTES, TRUE, &left, error);

  if (fd < 0)
    return NULL;
  g_autoptr (GChecksum) checksum = g_checksum_new (G_CHECKSUM_SHA256);
  g_autofree guint8 *data = g_malloc (part);
  for (; left > 0; left -= n) {
    n = MIN (left, part);
    if (!read_bytes (fd, path, data, n, error))
      break;
    g_checksum_update (checksum, data, (gssize) n);
  }
  close (fd);
  return left == 0 ? g_strdup (g_checksum_get_string (checksum)) : NULL;
}

char **
vig_labels_load (const char *path, guint n_classes, GError **error)
{
  gsize size;
  const char *end;
  g_autofree char *text = (char *) read_file (path, MAX_LABELS_BYTES, FALSE, &size, error);
  if (!text)
    return NULL;
  if (!g_utf8_validate_len (text, size, &end)) {
    g_set_error (error, VIG_ERROR, VIG_ERROR_MODEL, "%s: expected UTF-8 text, found the byte 0x%02x at byte %"
        G_GSIZE_FORMAT, path, (guchar) *end, (gsize) (end - text));
    return NULL;
  }
  while (size > 0 && (text[size - 1] == '\n' || text[size - 1] == '\r'))
    text[--size] = 0;
  g_auto (GStrv) labels = g_strsplit (text, "\n", -1);
  guint n = g_strv_length (labels);
  if (n != n_classes) {
    g_set_error (error, VIG_ERROR, VIG_ERROR_MODEL, "%s: expected %u labels, one for each class, found %u", path,
        n_classes, n);
    return NULL;
  }
  for (guint i = 0; i < n; i++)
    if (g_str_has_suffix (labels[i], "\r"))
      labels[i][strlen (labels[i]) - 1] = 0;
  return g_steal_pointer (&labels);
}

/* ---- questions ---- */

const char *
vig_model_get_name (const VigModel *model)
{
  return model->name;
}

const char *
vig_model_get_family (const VigModel *model)
{
  return model->config.hierarchical ? "vig_h" : "vig";
}

const char *
vig_model_get_hash (const VigModel *model)
{
  return model->hash;
}

guint
vig_model_get_n_classes (const VigModel *model)
{
  return model->config.n_classes;
}

const char *
vig_model_get_label (const VigModel *model, guint index)
{
  return index < model->config.n_classes ? model->labels[index] : NULL;
}

guint
vig_model_get_n_features (const VigModel *model)
{
  return vig_config_n_features (&model->config);
}

guint
vig_model_get_input_size (const VigModel *model)
{
  return model->preprocess.size;
}

guint
vig_model_get_min_size (const VigModel *model)
{
  return vig_config_min_size (&model->config);
}

gboolean
vig_model_has_windows (const VigModel *model)
{
  return vig_config_has_windows (&model->config);
}

gboolean
vig_model_has_memory (const VigModel *model)
{
  return vig_config_has_memory (&model->config);
}

guint64
vig_model_get_n_parameters (const VigModel *model)
{
  return model->n_weights;
}

guint64
vig_model_get_macs (const VigModel *model, guint height, guint width)
{
  guint min = vig_config_min_size (&model->config);
  return height < min || width < min ? 0 : vig_config_macs (&model->config, height, width, FALSE);
}
