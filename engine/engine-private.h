/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef VIG_ENGINE_PRIVATE_H
#define VIG_ENGINE_PRIVATE_H

#include <kernels.h>
#include <vig/state.h>
#include <vig/window.h>

#include "batch.h"
#include "tap.h"

/* An engine over any table of kernels, which it closes at its end (also when this fails); @precision is not AUTO.
 * For benchmarks and tests. */
VigEngine *vig_engine_new_with_kernels (VigModel *model, VigKernels *kernels, const char *device,
    VigPrecision precision, GError **error);

/* One more over the same weights, which are @engine's and must stay as long, with kernels and a workspace of its own: for
 * another thread. Only where the CPU computes. VIG_ERROR_NO_MEMORY */
VigEngine *vig_engine_new_beside (VigEngine *engine, GError **error);

/* Of the CPU, should it have to step in for a GPU. */
void vig_engine_set_spare_threads (VigEngine *engine, guint n_threads);

/* Classifies once more what the last batch of this size left in the device's memory, for benchmarks: copying is not timed.
 * A batch larger than the plan's inputs has their items again and again. */
gboolean vig_engine_classify_resident (VigEngine *engine, guint n, guint height, guint width, VigOutput *output,
    GError **error);

/* As vig_engine_classify_frames(), or of streams of frames, and tells @read (nullable) when pictures have been read, which is
 * before the first of them is computed unless their inputs are hundreds of megabytes (plan.c) or, on a GPU, more than two
 * chunks. On failure, and of pictures in a GPU's memory, it is not told: then the return says so. When a computation has
 * failed all states of the batch are reset. */
gboolean vig_engine_classify_batch (VigEngine *engine, const VigBatch *batch, VigOutput *output, VigReadFunc read,
    gpointer data, GError **error);

/* As vig_state_new(), from any thread; for a model that takes windows, the state is the last @room frames. */
VigState *vig_engine_add_state (VigEngine *engine, guint room, GError **error);

/* Batches of up to @n items are to come: what is made for a size is made for so many, if there is memory for it. Any
 * thread; takes effect with the next batch. */
void vig_engine_expect (VigEngine *engine, guint n);

/* Whether vig_engine_classify_frames() would take this frame; any thread. */
gboolean vig_engine_check_frame (VigEngine *engine, const VigFrame *frame, guint size, GError **error);

/* Whether it would give such maps; any thread. */
gboolean vig_engine_check_maps (const VigEngine *engine, const VigMaps *maps, GError **error);

/* Whether vig_engine_classify_batch() would take such a moment and window; any thread. */
gboolean vig_engine_check_state (VigEngine *engine, const VigState *state, guint window, GError **error);

/* Takes what an answer to a window of so many frames (0: to none) of the state's stream needs and another stream's may not:
 * memory for what is remembered, and the plan of the window. What a batch is refused for then is everybody's. FALSE:
 * VIG_ERROR_NO_MEMORY; the state is reset. The engine's thread */
gboolean vig_engine_prepare_state (VigEngine *engine, VigState *state, guint window, guint size, GError **error);

/* vig_engine_classify_stream() of tensors [n, 3, height, width], already normalised, host memory. */
gboolean vig_engine_classify_stream_tensors (VigEngine *engine, const float *input, const VigMoment *moments, guint n,
    guint height, guint width, VigOutput *output, GError **error);

/* vig_engine_classify_windows() of tensors [n * window, 3, height, width]. */
gboolean vig_engine_classify_windows_tensors (VigEngine *engine, const float *input, guint n, guint window, guint height,
    guint width, float *frame_logits, VigOutput *output, GError **error);

/* From now on @func sees every intermediate tensor; NULL ends it. */
void vig_engine_set_tap (VigEngine *engine, VigTapFunc func, gpointer user_data);

#endif
