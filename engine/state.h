/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What an engine does with the states of streams. */
#ifndef VIG_STATE_PRIVATE_H
#define VIG_STATE_PRIVATE_H

#include <kernels.h>
#include <vig/state.h>

#include "model-private.h"

struct VigState {
  VigEngine *engine;
  const VigModel *model;
  VigKernels *kernels;   /* that @memory is of */
  VigPrecision precision;
  float *memory;         /* [numbers]; NULL: not yet */
  gsize numbers;
  guint h, w;            /* of the inputs it is for */
  gboolean seen;         /* a frame, at: */
  gint64 time;
  guint64 batch;         /* the last one that it was in */
};

/* Memory for inputs of @h x @w; another size begins anew. FALSE: VIG_ERROR_NO_MEMORY */
gboolean vig_state_prepare (VigState *state, guint h, guint w, GError **error);

/* The memory is given back, and all forgotten. */
void vig_state_drop (VigState *state);

/* The time since the frame before, in steps of the model, as kernels.h has it; the frame at @time is now the last. */
float vig_state_advance (VigState *state, gint64 time);

#endif
