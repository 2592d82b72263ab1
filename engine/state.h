/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What an engine does with the states of streams. */
#ifndef VIG_STATE_PRIVATE_H
#define VIG_STATE_PRIVATE_H

#include <pthread.h>

#include <kernels.h>
#include <vig/state.h>

#include "batcher.h"
#include "model-private.h"
#include "ring.h"

/* The states of an engine. The lock guards all of it; what a state remembers is the engine's thread's. */
typedef struct {
  pthread_mutex_t lock;
  VigEngine *engine;
  const VigModel *model;
  VigKernels *kernels;
  VigPrecision precision;
  GPtrArray *there, *gone; /* of VigState; those that nobody holds any more */
} VigStates;

struct VigState {
  VigEngine *engine;
  VigStates *states;     /* the engine's */
  VigBatcher *batcher;   /* whose thread the engine's is; NULL: its user's */
  guint lane;            /* of the batcher: that of the engine */
  gint refs;             /* atomic */
  const VigModel *model;
  VigKernels *kernels;   /* that @memory is of */
  VigPrecision precision;
  float *memory;         /* [numbers]; NULL: not yet */
  gsize numbers;
  guint h, w;            /* of the inputs it is for */
  guint64 n_seen;        /* frames, */
  gint64 first, time;    /* of the first and the last of them */
  guint64 batch;         /* the last one that it was in */
  VigRing ring;          /* of a model that takes windows, which has nothing else of the above */
};

void vig_states_init (VigStates *states, VigEngine *engine, const VigModel *model);

/* With no states but those that are gone. */
void vig_states_clear (VigStates *states);

/* Any thread. @room: of its ring. */
VigState *vig_states_add (VigStates *states, guint room);

/* The rest is for the engine's thread. */

/* Frees those that nobody holds any more. */
void vig_states_collect (VigStates *states);

/* Gives their memory, which is that of kernels that are about to be closed, back. */
void vig_states_drop (VigStates *states);

/* They are for these kernels from now on. */
void vig_states_move (VigStates *states, VigKernels *kernels, VigPrecision precision);

/* Memory for inputs of @h x @w; another size begins anew. FALSE: VIG_ERROR_NO_MEMORY */
gboolean vig_state_prepare (VigState *state, guint h, guint w, GError **error);

/* The memory is given back, and all forgotten. */
void vig_state_drop (VigState *state);

/* All is forgotten; vig_state_reset() from the engine's thread. */
void vig_state_forget (VigState *state);

/* The time since the frame before, in steps of the model, as kernels.h has it; the frame at @time is now the last. One
 * before the last is the first of another stream. */
float vig_state_advance (VigState *state, gint64 time);

#endif
