/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef VIG_PREPROCESS_CONFIG_H
#define VIG_PREPROCESS_CONFIG_H

#include <glib.h>

/* From picture to input tensor, as the model was trained (`vig_preprocess` in docs/model-file.md).
 * Input = (rgb / 255 - mean) / std. */
typedef struct {
  guint size;          /* side of the square input, pixels */
  gboolean stretch;    /* both sides are resized to size; else the shorter one to int (resize_ratio * size), then a
                        * centre crop */
  double resize_ratio; /* at least 1 */
  float mean[3], std[3]; /* of R G B in 0..1; std is positive */
} VigPreprocessConfig;

#endif
