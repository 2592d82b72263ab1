/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef VIG_STATE_H
#define VIG_STATE_H

#include <vig/engine.h>

G_BEGIN_DECLS

/**
 * VigState:
 *
 * What a model with a memory (docs/temporal.md) remembers of one stream of frames: of fixed size, in the memory of the
 * engine's device. It belongs to its engine, is used by the engine's thread, and must be freed before the engine. Of a
 * shared engine see vig_shared_state_new().
 */
typedef struct VigState VigState;

/**
 * vig_state_new:
 * @error: VIG_ERROR_ARGUMENT: the engine's model has no memory
 *
 * Returns: (transfer full): the state of a stream that nothing has been seen of; its memory is taken with the first frame.
 */
VIG_API VigState *vig_state_new (VigEngine *engine, GError **error);

/* Returns: (transfer full): @state, with another hold on it. Any thread. */
VIG_API VigState *vig_state_ref (VigState *state);

/* Lets go of it: the last hold frees it. Any thread; its memory is given back by the engine's, before the next batch or with
 * the engine. NULL is allowed. */
VIG_API void vig_state_free (VigState *state);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (VigState, vig_state_free)

/* Forgets all: the next frame is the first. Of a shared engine that is the next one that a batch takes, which may have been
 * submitted before. */
VIG_API void vig_state_reset (VigState *state);

/* Bytes of a state for inputs of @size x @size pixels (0: what the model says); 0: the model has no memory. */
VIG_API gsize vig_state_get_bytes (const VigModel *model, guint size);

/**
 * vig_state_save:
 *
 * Returns: (transfer full): the state as a .safetensors file: the one tensor "state", and in the metadata the model's hash,
 * the precision, the size of the input and the time of the last frame. NULL: VIG_ERROR_FAILED, VIG_ERROR_NO_MEMORY;
 * VIG_ERROR_ARGUMENT: it is of a model that takes windows
 */
VIG_API GBytes *vig_state_save (VigState *state, GError **error);

/**
 * vig_state_restore:
 * @data: what vig_state_save() gave
 * @error: VIG_ERROR_MODEL: the bytes are no state, or that of another model or precision, or for inputs of another size than
 *   those of the stream; VIG_ERROR_NO_MEMORY, VIG_ERROR_FAILED. The state is then as it was before.
 *
 * The stream goes on behind the last frame of the one that was saved, bit for bit. (One that nothing has been seen of takes
 * a state of any size; if its first input then has another, that is the first of a new stream.)
 */
VIG_API gboolean vig_state_restore (VigState *state, const guint8 *data, gsize size, GError **error);

/**
 * VigMoment:
 * @state: of the stream that a frame is of
 * @time: when it was, in nanoseconds of a clock of the stream
 */
typedef struct {
  VigState *state;
  gint64 time;
} VigMoment;

/**
 * vig_engine_classify_stream:
 * @moments: [@n], one for each frame. Frames of one stream follow each other in time and lie side by side.
 * @error: as vig_engine_classify_frames(); VIG_ERROR_ARGUMENT also for a time before that of the frame before. When a
 *   computation has failed all states of the batch are reset.
 *
 * A frame whose logits (or, where they are not asked for, probabilities) are not all finite resets its state, too: what it
 * left there would spoil every frame behind it.
 *
 * As vig_engine_classify_frames(), for the next frame, or frames, of each stream. However the frames of streams are cut into
 * batches, the answers have the same bits. (A model with a memory given to vig_engine_classify_frames() takes each frame
 * for the first of its stream.)
 */
VIG_API gboolean vig_engine_classify_stream (VigEngine *engine, const VigFrame *frames, const VigMoment *moments, guint n,
    guint size, VigOutput *output, GError **error);

G_END_DECLS
#endif
