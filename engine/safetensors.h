/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The container of model files and tensors: 8 bytes little-endian header length, a JSON header naming dtype, shape and
 * place of every tensor, then the data. Parsed from memory; nothing in the bytes is believed before it is checked.
 */
#ifndef VIG_SAFETENSORS_H
#define VIG_SAFETENSORS_H

#include <glib.h>

/* A model of 1000 tensors has a header of 100 kB; labels of 100,000 classes take about 3 MB. */
#define VIG_SAFETENSORS_MAX_HEADER (16u << 20)
#define VIG_SAFETENSORS_MAX_RANK 8

typedef enum { VIG_DTYPE_F32, VIG_DTYPE_F16, VIG_DTYPE_BF16 } VigDtype;

typedef struct {
  const char *name;
  VigDtype dtype;
  guint rank;
  guint64 shape[VIG_SAFETENSORS_MAX_RANK];
  gsize count;        /* product of the shape */
  const void *data;   /* count little-endian values, of any alignment; belongs to whoever gave the bytes */
} VigTensor;

typedef struct {
  GArray *tensors;    /* of VigTensor, in the order of the header */
  GHashTable *by_name;
  GHashTable *metadata; /* name -> string */
  struct VigJson *header;
} VigSafetensors;

/**
 * vig_safetensors_parse:
 * @data: the whole file; must live as long as the result
 * @name: what messages call it
 * @error: VIG_ERROR_MODEL
 *
 * Accepts exactly the files whose tensors have known dtypes (F32, F16, BF16), sizes that follow from their shapes, and
 * data that covers the rest of the file without overlap, hole or remainder.
 */
VigSafetensors *vig_safetensors_parse (const guint8 *data, gsize size, const char *name, GError **error);
void vig_safetensors_free (VigSafetensors *file); /* NULL is allowed */
G_DEFINE_AUTOPTR_CLEANUP_FUNC (VigSafetensors, vig_safetensors_free)

/* The first check, good before the rest is read: @first are the first 8 bytes of a file of @size bytes. */
gboolean vig_safetensors_check_length (const guint8 *first, guint64 size, const char *name, guint64 *header_size,
    GError **error);

const VigTensor *vig_safetensors_get (const VigSafetensors *file, const char *name); /* NULL if there is none */

void vig_tensor_to_float (const VigTensor *tensor, float *out);

/* "[2, 3]", to be freed */
char *vig_shape_to_string (const guint64 *shape, guint rank);

/* The bytes of a file of these tensors (names must differ); @metadata: pairs of key and value, NULL-terminated. */
GByteArray *vig_safetensors_format (const VigTensor *tensors, guint n, const char *const *metadata);

#endif
