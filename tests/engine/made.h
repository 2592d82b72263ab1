/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Small model files that the tests make themselves, and ways to spoil them; and how errors are looked at. */
#ifndef MADE_H
#define MADE_H

#include <config.h>
#include <safetensors.h>
#include <vig/model.h>

/* The tensors of an architecture, with made-up values; each may be changed before the file is made. */
typedef struct {
  char *config;      /* vig_config */
  GArray *specs;     /* of VigTensorSpec */
  GArray *tensors;   /* of VigTensor, in the same order; the values belong to values */
  GPtrArray *values;
} Made;

#define MADE_PLAIN "{\"family\":\"vig\",\"name\":\"small\",\"embed_dim\":4,\"depth\":1,\"num_heads\":1,\"img_size\":32," \
  "\"patch_size\":16,\"in_chans\":3,\"num_classes\":3,\"act_in_conv\":true,\"out_act\":true}"
#define MADE_STREAM "{\"family\":\"vig\",\"name\":\"small\",\"embed_dim\":4,\"depth\":2,\"num_heads\":1,\"img_size\":32," \
  "\"patch_size\":16,\"in_chans\":6,\"num_classes\":3,\"act_in_conv\":true,\"out_act\":true,\"temporal\":{\"kind\":\"stream\"," \
  "\"after\":[0,1],\"grid\":2,\"width\":4,\"num_heads\":1,\"step\":0.2,\"max_elapsed\":4,\"difference\":8}}"
#define MADE_JOINT "{\"family\":\"vig\",\"name\":\"small\",\"embed_dim\":4,\"depth\":2,\"num_heads\":1,\"img_size\":32," \
  "\"patch_size\":16,\"in_chans\":3,\"num_classes\":3,\"act_in_conv\":true,\"out_act\":true,\"temporal\":{\"kind\":\"joint\"," \
  "\"frames\":3,\"conv\":\"time\"}}"
#define MADE_HIERARCHICAL "{\"family\":\"vig_h\",\"name\":\"small\",\"dims\":[4,8],\"depths\":[1,1],\"num_heads\":[1,2]," \
  "\"in_chans\":3,\"num_classes\":3,\"act_in_conv\":false,\"out_act\":false}"

Made *made_new (const char *config);
void made_free (Made *made);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (Made, made_free)

VigTensor *made_get (Made *made, const char *name);
/* Values of another type, all zero. */
void made_set_dtype (Made *made, VigTensor *tensor, VigDtype dtype);

/* The file. @metadata: further pairs, NULL-terminated, or NULL. A "vig_config" among them replaces the made one. */
GByteArray *made_file (Made *made, const char *const *metadata);

/* A file of any header and @data_size zeros. */
GByteArray *made_raw (const char *header, gsize data_size);

/* The header of @file with its first @from replaced. */
void made_edit (GByteArray *file, const char *from, const char *to);

/* vig_model_new_random(), which must succeed. */
VigModel *random_model (const char *variant, guint64 seed);

/* Eats @error, which is one sentence that holds @part. */
void check_error (GError **error, VigError code, const char *part);

#endif
