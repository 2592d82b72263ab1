/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The architecture of a model: what `vig_config` of a model file says (docs/model-file.md), and what follows from it:
 * the tensors, the grids, the work. Both families are one structure: the plain one has a single stage.
 */
#ifndef VIG_CONFIG_H
#define VIG_CONFIG_H

#include <glib.h>

#define VIG_MAX_STAGES 8
#define VIG_GATE_RANK 16 /* of gk_proj, in every published model */
#define VIG_MAX_MEMORIES 16 /* modules over time */
#define VIG_MAX_SIZE 8192   /* of an input: sizes of tensors stay well within 64 bits, numbers of rows within 31 */

/* `temporal` of vig_config (docs/temporal.md). All zero in a model of images. */
typedef struct {
  /* kind "joint": windows of frames */
  guint frames;                   /* of the temporal position embedding; 0: not this kind */
  gboolean over_time;             /* the depthwise convolution is three frames deep */
  /* kind "stream": a memory */
  guint n_after, after[VIG_MAX_MEMORIES]; /* blocks that a module over time follows, rising; none: no memory */
  guint grid;                     /* g: g x g cells */
  guint width, heads;             /* W; dk = W / (2 heads), dv = W / heads */
  double step;                    /* dt0, seconds */
  double max_elapsed;             /* limit of r for what is written */
  double difference;              /* what the difference to the frame before is multiplied by; 0: not offered */
} VigTemporal;

typedef struct {
  gboolean hierarchical;          /* family vig_h, else vig */
  guint n_stages;                 /* plain: 1 */
  guint dims[VIG_MAX_STAGES];     /* D of each stage */
  guint depths[VIG_MAX_STAGES];   /* blocks */
  guint heads[VIG_MAX_STAGES];    /* dk = D / (2 heads), dv = D / heads */
  guint img_size;                 /* plain: side of the picture that pos_embed was made for, else 0 */
  guint n_classes;
  gboolean act_in_conv, out_act;  /* SiLU after the depthwise convolution, SiLU before o_proj */
  VigTemporal temporal;
} VigConfig;

typedef struct {
  guint h, w;
} VigGrid;

/* A tensor that the architecture needs: official name and shape. */
typedef struct {
  char *name;
  guint rank;
  guint64 shape[5];
  gsize count;
} VigTensorSpec;

/* Reads vig_config. @what begins every message; @name: (out): the model's own name, or NULL; to be freed. */
gboolean vig_config_parse (VigConfig *config, const char *text, const char *what, char **name, GError **error);

/* All tensors, in the order of the official state_dict: the one list that loader and generator work from. */
GArray *vig_config_list_tensors (const VigConfig *config); /* of VigTensorSpec */

guint vig_config_mlp_width (const VigConfig *config, guint stage);
guint vig_config_native_side (const VigConfig *config); /* plain: side of the grid of pos_embed */
guint vig_config_n_features (const VigConfig *config);
guint vig_config_in_chans (const VigConfig *config);
gboolean vig_config_has_windows (const VigConfig *config);
gboolean vig_config_has_memory (const VigConfig *config);
gsize vig_config_memory_size (const VigConfig *config); /* numbers of a stream's memory in one module */
guint vig_config_min_size (const VigConfig *config);    /* of an input's height or width */

/* Grids for an input of @h x @w, at least min_size: of the stem's first convolution, and of each stage. */
void vig_config_grids (const VigConfig *config, guint h, guint w, VigGrid *stem, VigGrid stages[VIG_MAX_STAGES]);

/* Multiply-accumulates of one input of @h x @w: products, convolutions and the recurrence (update and read of the
 * state), not norms and activations; or of the matrix products alone. */
guint64 vig_config_macs (const VigConfig *config, guint h, guint w, gboolean products_only);

#endif
