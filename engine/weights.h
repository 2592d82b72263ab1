/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A model's weights as a backend wants them: uploaded or packed once, in the order and form the kernels read. */
#ifndef VIG_WEIGHTS_H
#define VIG_WEIGHTS_H

#include <kernels.h>

#include "model-private.h"

typedef struct {
  const float *weight, *bias; /* [C]; bias NULL: an RMS norm, else a LayerNorm */
} VigNormWeights;

/* A convolution as a matrix product over patches, and the LayerNorm behind it. */
typedef struct {
  guint kernel, stride, pad, in, out; /* in, out: channels */
  guint row;                          /* kernel * kernel * in, in whole eights: rows that tensor cores read fast */
  VigMatmul *matmul;                  /* [out, row]: (ky, kx, channel), then zeros */
  VigNormWeights norm;
} VigConvWeights;

static inline guint
vig_conv_row (guint kernel, guint in)
{
  return (kernel * kernel * in + 7) / 8 * 8;
}

/* D, I (MLP width) and DV are those of the block's stage. */
typedef struct {
  VigNormWeights attn_norm, mlp_norm;
  const float *dwconv;                /* [3 * 3, D], or [3 * 3 * 3, D] if it goes over time */
  const float *boundary;              /* [D/2]; NULL: not a model of windows */
  VigMatmul *joint;                   /* [3D + 16, D]: rows q D/2, k D/2, v D | g_proj D | gk_proj.0 16 */
  const float *gk_weight, *gk_bias;   /* gk_proj.1 [D, 16], [D]: forward, then backward */
  const float *g_norm, *l_norm;       /* [DV] */
  VigMatmul *o_proj;                  /* [D, D] */
  VigMatmul *mlp_in, *mlp_out;        /* [2I, D]: gate, then up; [D, I] */
} VigBlockWeights;

/* A module over time (docs/temporal.md). W its width, DV the value channels of its heads. */
typedef struct {
  VigNormWeights norm;                /* [D] */
  VigMatmul *joint;                   /* [3W + 16, D]: rows q W/2, k W/2, v W | g_proj W | gk_proj.0 16 */
  const float *gk_weight, *gk_bias;   /* gk_proj.1 [W/2, 16], [W/2] */
  const float *g_norm;                /* [DV] */
  VigMatmul *o_proj;                  /* [D, W] */
} VigMemoryWeights;

typedef struct {
  VigBlockWeights *blocks;            /* depths[s] of them */
  VigConvWeights downsample;          /* all but the last stage */
} VigStageWeights;

typedef struct {
  VigKernels *kernels;
  VigType type;                       /* of what enters matrix products; the head is always f32 */
  gsize bytes;
  VigConvWeights stem[2];
  VigStageWeights stages[VIG_MAX_STAGES];
  VigMemoryWeights memories[VIG_MAX_MEMORIES]; /* in the order of the config's `after` */
  VigNormWeights norm;
  VigMatmul *head;                    /* [classes, D] */
  const float *head_rows;             /* the same as it is in the model; NULL: nobody has asked for it */
  GPtrArray *vectors, *matmuls;       /* everything to give back */
} VigWeights;

/* @error: VIG_ERROR_NO_MEMORY, VIG_ERROR_FAILED. Free before the kernels are closed. */
VigWeights *vig_weights_new (const VigModel *model, VigKernels *kernels, VigType type, GError **error);
/* Makes head_rows, unless they are there. VIG_ERROR_NO_MEMORY */
gboolean vig_weights_add_head_rows (VigWeights *weights, const VigModel *model, GError **error);
void vig_weights_free (VigWeights *weights); /* NULL is allowed */

#endif
