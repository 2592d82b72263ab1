/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A look at the intermediate tensors of a forward pass, for tests. */
#ifndef VIG_TAP_H
#define VIG_TAP_H

#include <glib.h>

/**
 * VigTapFunc:
 * @name: as in tests/golden/data/README.md ("blocks.0.attn_norm", …)
 * @data: [rows, columns], host memory, valid during the call
 */
typedef void (*VigTapFunc) (const char *name, const float *data, gsize rows, gsize columns, gpointer user_data);

typedef struct {
  VigTapFunc func; /* NULL: nobody looks */
  gpointer user_data;
} VigTap;

#endif
