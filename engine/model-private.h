/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef VIG_MODEL_PRIVATE_H
#define VIG_MODEL_PRIVATE_H

#include <vig/model.h>

#include "config.h"
#include "preprocess-config.h"

struct VigModel {
  gatomicrefcount refs;
  VigConfig config;
  VigPreprocessConfig preprocess;
  char *name;
  char *hash;
  char **labels;         /* n_classes, NULL-terminated */
  GArray *specs;         /* of VigTensorSpec */
  GHashTable *by_name;   /* name -> its weights */
  float *weights;        /* all tensors, in the order of specs */
  gsize n_weights;
};

/* An empty model of @config with room for all weights, or NULL for want of memory. */
VigModel *vig_model_new (const VigConfig *config, const char *name, GError **error);
/* Fills in what a model file may leave out. */
void vig_model_set_defaults (VigModel *model);

/* The weights of one tensor. It is an error in the program to ask for one that the architecture does not have. */
const float *vig_model_get_weight (const VigModel *model, const char *format, ...) G_GNUC_PRINTF (2, 3);

/* What vig_model_get_hash() would say of a model loaded from there. (transfer full); VIG_ERROR_FILE */
char *vig_model_hash_file (const char *path, GError **error);

/* A model's file in memory, and its hash. */
typedef struct {
  guint8 *data;
  gsize size;
  char *hash;
} VigModelFile;

/* vig_model_load() in two steps. */
gboolean vig_model_file_read (VigModelFile *file, const char *path, GError **error);
VigModel *vig_model_file_load (const VigModelFile *file, const char *name, GError **error);
void vig_model_file_clear (VigModelFile *file); /* zeroed is allowed */
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC (VigModelFile, vig_model_file_clear)

#endif
