/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the golden tests share: the manifest, the inputs, and how far two tensors are apart. */
#ifndef GOLDEN_H
#define GOLDEN_H

#include <json.h>
#include <safetensors.h>
#include <vig/vig.h>

/* Absolute path of a file under tests/golden/data/, or the name itself if it is absolute; to be freed. */
char *golden_path (const char *name);

/* A file (golden_path()) and its tensors. Failing to read one ends the test program. */
typedef struct {
  char *bytes;
  VigSafetensors *tensors;
} GoldenFile;

GoldenFile *golden_open (const char *name);
void golden_close (GoldenFile *file);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (GoldenFile, golden_close)

/* The values of one tensor, to be freed; @tensor (out) (optional): its shape. */
float *golden_get (const GoldenFile *file, const char *name, const VigTensor **tensor);

/* data/manifest.json */
VigJson *golden_manifest (void);
const char *golden_string (const VigJson *object, const char *name);
double golden_number (const VigJson *object, const char *name);

/* The model of a run: generated, not stored. */
VigModel *golden_model (const VigJson *run);

/* The input "ID_HxW" [3, H, W] by the formula of data/README.md ("photo": from data/preprocess); to be freed. */
float *golden_input (const char *name, guint *h, guint *w);

/* The largest difference over the largest absolute value of @want; infinite if @got holds a NaN. */
double golden_error (const float *got, const float *want, gsize n);

#endif
