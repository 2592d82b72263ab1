/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Float tensors in files, for the command-line tools: .npy, or one tensor of a .safetensors file. */
#ifndef VIG_TENSOR_FILE_H
#define VIG_TENSOR_FILE_H

#include "safetensors.h"

/**
 * vig_tensor_file_read:
 * @path: a .npy file of float32 in C order, or else a .safetensors file with a tensor @name
 * @shape: (out): of @rank numbers
 *
 * Returns: (transfer full): the values, or NULL with @error set.
 */
float *vig_tensor_file_read (const char *path, const char *name, guint rank, guint64 *shape, GError **error);

/* Writes float32 tensors to a .safetensors file, or the first of them alone if @path ends in .npy. */
gboolean vig_tensor_file_write (const char *path, const VigTensor *tensors, guint n, GError **error);

#endif
