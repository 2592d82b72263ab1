/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef VIG_MODEL_H
#define VIG_MODEL_H

#include <vig/error.h>

G_BEGIN_DECLS

/**
 * VigModel:
 *
 * A ViG model as its file describes it: architecture, preprocessing, labels and weights, in host memory (read, not
 * mapped: the file may change or vanish later). Immutable once made and reference counted: any number of threads and
 * engines may use one model at the same time.
 */
typedef struct VigModel VigModel;

/**
 * vig_model_load:
 * @path: a .safetensors file (docs/model-file.md)
 * @error: VIG_ERROR_FILE or VIG_ERROR_MODEL, naming file, tensor or field, what was expected and what was found
 *
 * Every tensor that the architecture needs must be there, with its shape and with finite values; unknown tensors are
 * refused.
 *
 * Returns: (transfer full): the model, or NULL with @error set.
 */
VIG_API VigModel *vig_model_load (const char *path, GError **error);

/**
 * vig_model_load_bytes:
 * @data: the bytes of such a file; not needed after the call
 * @name: what error messages call it
 */
VIG_API VigModel *vig_model_load_bytes (const guint8 *data, gsize size, const char *name, GError **error);

/**
 * vig_model_new_random:
 * @variant: "vig_t", "vig_s", "vig_b", "vig_h_t", "vig_h_s", "vig_h_b", or one of the tests' "tiny_t", "tiny_s", "tiny_h"
 * @seed: of the generator
 * @factors: (nullable): "suffix=value,suffix=value": tensors whose name ends in a suffix are multiplied (first match)
 *
 * Made-up weights by the generator of tests/golden/data/README.md, bit for bit: for benchmarks and tests.
 */
VIG_API VigModel *vig_model_new_random (const char *variant, guint64 seed, const char *factors, GError **error);

VIG_API VigModel *vig_model_ref (VigModel *model);
VIG_API void vig_model_unref (VigModel *model); /* NULL is allowed */
G_DEFINE_AUTOPTR_CLEANUP_FUNC (VigModel, vig_model_unref)

/* Strings belong to the model. */
VIG_API const char *vig_model_get_name (const VigModel *model);
VIG_API const char *vig_model_get_family (const VigModel *model);      /* "vig" or "vig_h" */
VIG_API const char *vig_model_get_hash (const VigModel *model);        /* SHA-256 of the file's bytes (random models: of the weights), 64 hex digits */
VIG_API guint vig_model_get_n_classes (const VigModel *model);
VIG_API const char *vig_model_get_label (const VigModel *model, guint index); /* NULL past the last class */
VIG_API guint vig_model_get_n_features (const VigModel *model);        /* width of the pooled features */
VIG_API guint vig_model_get_input_size (const VigModel *model);        /* side of the square input, pixels */
VIG_API guint vig_model_get_min_size (const VigModel *model);          /* smallest input height or width it can take */
VIG_API gboolean vig_model_has_windows (const VigModel *model);        /* takes windows of frames: <vig/window.h> */
VIG_API gboolean vig_model_has_memory (const VigModel *model);         /* answers depend on the frames before: <vig/state.h> */
VIG_API guint64 vig_model_get_n_parameters (const VigModel *model);
VIG_API guint64 vig_model_get_macs (const VigModel *model, guint height, guint width); /* multiply-accumulates of one image */

/**
 * vig_labels_load:
 * @path: UTF-8 text, one label a line (CR LF allowed, empty lines at the end ignored)
 * @n_classes: how many there must be
 *
 * Returns: (transfer full): a NULL-terminated array, g_strfreev(); NULL with @error set (VIG_ERROR_FILE, VIG_ERROR_MODEL)
 * when the file cannot be read, is not UTF-8, or holds another number of labels.
 */
VIG_API char **vig_labels_load (const char *path, guint n_classes, GError **error);

G_END_DECLS
#endif
