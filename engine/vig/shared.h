/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef VIG_SHARED_H
#define VIG_SHARED_H

#include <vig/state.h>

G_BEGIN_DECLS

/**
 * VigShared:
 *
 * A user's hold on an engine. Users in one process that ask for the same model (by content, not by path), device,
 * precision, number of threads and of parallel batches hold the same one: it is loaded once, and frames of all of them meet
 * in one batch. Any
 * thread; no function of a hold may be called once it is released.
 */
typedef struct VigShared VigShared;

/**
 * VigSharedOptions:
 * @engine: what vig_engine_new() takes
 * @user: (nullable): names who asks, in error messages
 * @alone: shares with nobody, whatever else is there
 * @max_batch: most frames of a batch, at most VIG_SHARED_MAX_BATCH; 0: as others say, or VIG_SHARED_DEFAULT_BATCH
 * @has_batch_delay: whether @batch_delay is set; else: as others say, or VIG_SHARED_DEFAULT_DELAY
 * @batch_delay: microseconds that a frame waits at most for others to share its batch with
 * @n_parallel: batches that the CPU computes at once, each with @engine's number of threads, over the same weights; 0: one.
 *   Several on one thread each get more frames through than one on several threads, since nobody waits for anybody; each
 *   frame takes longer. A GPU has one
 *
 * Zero-initialised options are the defaults.
 */
typedef struct {
  VigEngineOptions engine;
  const char *user;
  gboolean alone;
  guint max_batch;
  gboolean has_batch_delay;
  gint64 batch_delay;
  guint n_parallel;
} VigSharedOptions;

enum {
  VIG_SHARED_DEFAULT_BATCH = 8,
  VIG_SHARED_MAX_BATCH = 1024,
  VIG_SHARED_DEFAULT_DELAY = 5000,
  VIG_SHARED_MAX_DELAY = 10000000,
  VIG_SHARED_MAX_PARALLEL = 1024
};

/**
 * vig_shared_acquire:
 * @path: of the model file, which is read in any case
 * @options: (nullable): needed only during the call
 * @error: as vig_model_load() and vig_engine_new(), also when another user has loaded it in vain meanwhile;
 *   VIG_ERROR_ARGUMENT when another user has set an option differently: the message names both
 *
 * Returns: (transfer full): vig_shared_release() it; the last one that is released frees model and engine.
 */
VIG_API VigShared *vig_shared_acquire (const char *path, const VigSharedOptions *options, GError **error);

/* Its streams must have been freed. NULL is allowed. */
VIG_API void vig_shared_release (VigShared *shared);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (VigShared, vig_shared_release)

VIG_API VigModel *vig_shared_get_model (VigShared *shared);   /* (transfer none): as long as the hold */
VIG_API const char *vig_shared_get_device (VigShared *shared);      /* as vig_engine_get_device(), when it was loaded */
VIG_API gboolean vig_shared_get_cuda (VigShared *shared, int *device, void **context); /* as vig_engine_get_cuda(), now */
VIG_API VigPrecision vig_shared_get_precision (VigShared *shared);  /* never AUTO */
VIG_API guint vig_shared_get_n_users (VigShared *shared);     /* now */
VIG_API guint vig_shared_get_n_parallel (VigShared *shared);  /* batches that are computed at once; 1 on a GPU */

VIG_API gint64 vig_shared_get_batch_delay (VigShared *shared); /* microseconds, now */

/**
 * vig_shared_state_new:
 * @room: for a model that takes windows: of how many frames of a stream the last are remembered, 1 to 4096. Each takes
 *   12 x size x size bytes of the host's memory. For a model with a memory: 0
 * @error: VIG_ERROR_ARGUMENT: the model has no memory and takes no windows, or the room is none
 *
 * Any thread. From then on the functions of <vig/state.h> may be called from any thread but the engine's own, before the
 * hold is released; those that save, restore and reset wait for the batch that is being computed.
 *
 * Returns: (transfer full): the state of a stream that nothing has been seen of, for VigRequest. Its memory is taken with
 * the first frame.
 */
VIG_API VigState *vig_shared_state_new (VigShared *shared, guint room, GError **error);

/**
 * vig_shared_warm_up:
 * @size: side of the square input in pixels; 0: what the model says
 * @window: frames of a window, for a model that takes them; 0: single frames
 * @us: (out): microseconds that a frame takes alone, preprocessing (of a 1280x720 picture) and the answer to the window
 *   that it completes included: the 99th percentile of as many as were timed in a fifth of a second, 1 to 16
 * @error: VIG_ERROR_ARGUMENT: a size that no input can have, or a window and a model that takes none; else as a VigRequest's
 *
 * Makes everything that is made for the first frame of a size, with room for the largest batch where there is memory for
 * it: no later batch waits for that. What has been warmed up before is not done again.
 */
VIG_API gboolean vig_shared_warm_up (VigShared *shared, guint size, guint window, gint64 *us, GError **error);

/**
 * VigStream:
 *
 * One of those whose frames meet in the batches of an engine, a camera say. Frames are computed in the order in which
 * they were submitted, those of a batch together, and no stream starves: a batch takes from all in turn, beginning with the
 * frame that has waited longest. It starts when it is full, when its oldest frame has waited for the batch delay, or when no frame is expected
 * that is not in it. Where several are computed at once, one that started later may be answered before, but all that belongs
 * to states of one hold is computed one batch after the other. A stream is expected from a frame that it submits on, until it lets a batch wait in vain or says
 * that nothing more comes for now; so one that is paused or dead delays nobody for longer than one batch delay.
 *
 * One thread submits to a stream; the other functions may be called from any.
 */
typedef struct VigStream VigStream;

typedef struct VigRequest VigRequest;

/**
 * VigRequest:
 * @frame: the description; the picture must stay as it is until it has been read (vig_stream_wait_read()) or the frame
 *   is answered
 * @size: side of the square input in pixels; 0: what the model says
 * @state: (nullable): what is remembered of the stream of frames that this is the next of (vig_shared_state_new()); the
 *   caller's, who holds it until the answer. Frames of one state are submitted to one VigStream, and computed in that order,
 *   whatever batches they are in. NULL: the frame is by itself
 * @time: with @state: when the frame was, nanoseconds of a clock of the stream. One before that of the frame before is the
 *   first of another stream: all is forgotten
 * @window: with @state, for a model that takes windows: of how many of the last frames there is to be an answer, this one
 *   included, or of as many as there are; no more than the state has room for. 0: the frame is only remembered
 * @logits, @probabilities: (out caller-allocates) (nullable): [classes]; not written to when a frame is only remembered
 * @maps: where in the picture which classes come from; as @logits, the memory that it points to is written to when there is
 *   an answer
 * @last: no other is to follow soon, so none is expected of the stream
 * @done: (nullable): called when the frame is answered, instead of waiting for it: from the engine's thread, which waits
 *   meanwhile. The request may be freed or submitted again from there, but nothing else freed, released or waited for.
 *   Until it has been called, or vig_stream_cancel() has said that it will not be, the memory is the stream's.
 * @error: why there is no result, the caller's to free; NULL: there is one
 * @first_time, @n_seen: how many frames the answer is of (of a frame that is only remembered: how many are), and the @time
 *   of the first of them. After vig_state_restore() it begins with the last frame before vig_state_save().
 * @batch: frames of its batch
 * @latency_us: from vig_stream_submit() to the answer
 * @preprocess_us, @inference_us: what that batch took
 *
 * A frame on its way. The memory is the caller's, zeroed before it is first filled in, and is the stream's from
 * vig_stream_submit() until the answer: nothing is allocated.
 *
 * Each batch takes one frame of every stream that waits, and more of them in turn where there is room; frames with a state
 * and those without are in different batches. A request whose state or window there is no memory for fails alone
 * (VIG_ERROR_NO_MEMORY), and its state is reset. If a batch fails, all of its requests say so; if it was computing, all of
 * its states are reset; so are those of a model with a memory when the CPU takes over from a GPU (VigEngineOptions).
 */
struct VigRequest {
  VigFrame frame;
  guint size;
  VigState *state;
  gint64 time;
  guint window;
  float *logits, *probabilities;
  VigMaps maps;
  gboolean last;
  void (*done) (VigRequest *request, gpointer user_data);
  gpointer user_data;

  GError *error;
  gint64 first_time;
  guint64 n_seen;
  guint batch;
  gint64 latency_us, preprocess_us, inference_us;

  /*< private >*/
  VigRequest *next;
  gint64 since;
  int phase;
};

VIG_API VigStream *vig_stream_new (VigShared *shared);

/* Drops what waits, as vig_stream_cancel() does, and waits for what is being computed. NULL is allowed. */
VIG_API void vig_stream_free (VigStream *stream);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (VigStream, vig_stream_free)

/**
 * vig_stream_submit:
 * @error: VIG_ERROR_ARGUMENT (names the field): a frame that cannot be classified is refused, and so fails no other
 *
 * Does not wait. The answer is that of vig_engine_classify_frames() to the whole batch; how frames fail: see VigRequest.
 */
VIG_API gboolean vig_stream_submit (VigStream *stream, VigRequest *request, GError **error);

/**
 * vig_stream_submit_all:
 * @requests: [@n]
 * @error: as vig_stream_submit(); then none of them has been submitted
 *
 * As one after the other, except that no batch starts before the last of them is there: for several parts of a picture.
 */
VIG_API gboolean vig_stream_submit_all (VigStream *stream, VigRequest *const *requests, guint n, GError **error);

/* Waits for the answer; returns at once where the request has not been submitted or was answered before. */
VIG_API void vig_stream_wait (VigStream *stream, VigRequest *request);

/* Waits until nothing looks at the request's picture any more: a batch has taken it and read it, or it was answered. Of a
 * request that no batch has taken yet (see vig_stream_cancel()) that is as long as until then; of one that a batch has
 * taken no longer than the pictures of that batch take to be preprocessed, and the next one to start. (Longer only where
 * inputs of a batch take more than 256 MiB or, on a GPU, more than two of the pieces that it is computed in; and a picture
 * in a GPU's memory counts as read when the frame is answered.) */
VIG_API void vig_stream_wait_read (VigStream *stream, VigRequest *request);

/* A request, or all (NULL), that no batch has taken yet are answered at once, with VIG_ERROR_CANCELLED; done is not
 * called. Those that are being computed are answered as ever. Returns how many were cancelled. */
VIG_API guint vig_stream_cancel (VigStream *stream, VigRequest *request);

/* Nothing more comes for now (end, pause, drain): what the stream has submitted starts at once, with what else waits,
 * and nobody waits for it until it submits again. */
VIG_API void vig_stream_hurry (VigStream *stream);

G_END_DECLS
#endif
