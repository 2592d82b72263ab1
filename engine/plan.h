/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Everything about one input size that need not be done again for each frame: grids, buffers, position embedding. */
#ifndef VIG_PLAN_H
#define VIG_PLAN_H

#include <kernels.h>

#include "model-private.h"

/* Memory of the backend, in one allocation. B is the plan's batch; L and D those of the stage. "type" tensors enter
 * matrix products. Buffers that are never needed at the same time share memory. */
typedef struct {
  void *cols;      /* patches of the convolution after this stage, of type */
  /* the token mixer */
  void *l;         /* [B, L, D] of type */
  void *joint;     /* [B, L, 3D + 16] of type if fused, else f32 */
  void *m;         /* [B, L, D] of type */
  gsize mixer_bytes; /* from l to the end of m */
  float *a;        /* [B, L, D] normed input of a convolution over time, where joint will be; not fused: of any, then o, the
                    * sum of both scans */
  /* only where operators are not fused */
  float *gk;       /* [B, L, D] log decays: forward D/2, backward D/2 */
  /* the MLP, likewise */
  void *y;         /* [B, L, D] of type */
  float *u;        /* [B, L, 2I] */
  void *s;         /* [B, L, I] of type */
} VigStageBuffers;

/* Of a model with a memory. CELLS are those of a picture, W the width of its modules. */
typedef struct {
  gsize picture;          /* where the picture before lies in a state, in numbers; the modules' memories are before it */
  gsize numbers;          /* of a whole state */
  float *nobody;          /* a state for items of no stream: written, never read */
  float *host_elapsed, **host_states;             /* [room]: what vig_plan_upload_states() takes, in the host's memory */
  float *elapsed[VIG_SLOTS], **states[VIG_SLOTS]; /* [room]: as in kernels.h; of each input */
  float *now_elapsed, **now_states;               /* of the batch that vig_plan_use() chose */
  float *views;           /* [items of the stem's first slice, 6, h, w]: inputs and their differences to those before; NULL if
                           * that is not offered */
  void *cells;            /* [B, CELLS, D] of type */
  float *joint;           /* [B, CELLS, 3W + 16] */
  void *o;                /* [B, CELLS, W] of type */
  float *y;               /* [B, CELLS, D] */
} VigMemoryBuffers;

/* The patches of a convolution are made and multiplied in slices: of whole items, or of rows of one item's grid. */
typedef struct {
  guint items, rows;
  gsize bytes;     /* of patches */
} VigSlice;

typedef struct {
  VigKernels *kernels;
  guint h, w, batch;
  guint window;    /* frames that are one sequence; the batch is a multiple of it, as it is now */
  guint room;      /* items of an input: as many as batch, or several times that */
  guint longest, most, most_room; /* the three as the plan was made: windows may become shorter */
  VigGrid stem, grids[VIG_MAX_STAGES];
  gboolean fused;  /* several operators in one, where the backend can and nobody taps between them */
  gsize workspace_bytes;
  void *workspace;
  float *pos;      /* plain: [longest, L, D], of it [window, L, D]: position embedding of this grid, that over time added */
  guint64 used;    /* when last: the engine's clock */
  guint expected;  /* windows that it was to be made for; it may have room for fewer */
  guint asked;     /* items likewise, or those that it has room for */

  guint n_slots;   /* inputs: one for each batch in flight */
  VigPipe *pipe;   /* NULL: the backend has none */
  float *inputs[VIG_SLOTS];
  float *results;
  guint n_maps;    /* of an item, or window, at most */
  float *host_which, *which[VIG_SLOTS]; /* [room, maps]: as in kernels.h; what is uploaded, and of each input */

  /* of the items that vig_plan_use() chose */
  float *input;    /* [B, 3, h, w] */
  float *x;        /* [B, L, D]: the residual stream, of whichever stage */
  void *cols[2];   /* patches of the stem's convolutions, of type */
  float *stem_out; /* [B, stem.h, stem.w, D/2] */
  VigStageBuffers stages[VIG_MAX_STAGES];
  VigMemoryBuffers memory;
  float *normed;   /* [B, L, D] of the last stage */
  float *features; /* [B, D] */
  float *logits, *probabilities; /* [B, classes] */
  float *now_which; /* [B, maps] */
  float *maps, *chosen; /* [B, maps, L of the last stage], [B, maps] */
} VigPlan;

/* Where the results of @n items lie in memory that begins at @base; bytes of all of them. */
typedef struct {
  float *features, *logits, *probabilities, *maps, *chosen;
  gsize bytes;
} VigResults;

/* For a convolution to @grid with @patch bytes for each result. Where an item is cut does not depend on @n. */
VigSlice vig_plan_slice (const VigKernels *kernels, VigGrid grid, gsize patch, guint n);

/* How many items of @h x @w are computed together: see plan.c. A multiple of @window. */
guint vig_plan_chunk (const VigModel *model, const VigKernels *kernels, guint h, guint w, guint window);

/* For how many items of @n an input has room: see plan.c. */
guint vig_plan_room (const VigModel *model, const VigKernels *kernels, guint n, guint h, guint w, guint window);

/* @n: items, most of them in several chunks; @maps: of an item, or window; @tapped: somebody looks at what lies between
 * operators. @error: VIG_ERROR_NO_MEMORY */
VigPlan *vig_plan_new (const VigModel *model, VigKernels *kernels, VigType type, guint n, guint h, guint w, guint window,
    guint maps, gboolean tapped, GError **error);
void vig_plan_free (VigPlan *plan); /* NULL is allowed */

/* Whether it can be made to take windows of so many frames: a pipe's recordings are of one length. */
gboolean vig_plan_takes (const VigPlan *plan, guint window);

/* It takes windows of so many frames from now on, which vig_plan_takes(); nothing is in flight. VIG_ERROR_NO_MEMORY */
gboolean vig_plan_set_window (VigPlan *plan, const VigModel *model, guint window, GError **error);

/* Numbers of a stream's state for inputs of @h x @w; 0: the model has no memory. */
gsize vig_plan_state_numbers (const VigConfig *config, guint h, guint w);

/* Of a model with a memory: tells the device what @n items of input @slot from item @at on follow, as host_elapsed and
 * host_states say from their beginning on. At first that is nothing. */
void vig_plan_upload_states (VigPlan *plan, guint slot, guint at, guint n);

/* Likewise, which maps are wanted of them: as host_which says. */
void vig_plan_upload_which (VigPlan *plan, guint slot, guint at, guint n);

VigResults vig_plan_results (const VigPlan *plan, const VigConfig *config, float *base, guint n);
/* The next forward pass is of @n items in @slot, from item @at on. */
VigResults vig_plan_use (VigPlan *plan, const VigConfig *config, guint slot, guint at, guint n);

#endif
