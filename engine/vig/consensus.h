/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef VIG_CONSENSUS_H
#define VIG_CONSENSUS_H

#include <vig/error.h>

G_BEGIN_DECLS

/**
 * VigConsensus:
 *
 * What the frames of a stream say together: a mean of their logits over time, for models that see each frame by itself. It
 * costs the same at every frame, however many have come. One thread at a time; different ones are independent.
 */
typedef struct VigConsensus VigConsensus;

/**
 * VigConsensusKind:
 * @VIG_CONSENSUS_MEAN: the mean over a sliding window: the frame, and of those before it every @stride-th, @length in all.
 *   Each logit is rounded to a multiple of 2^-32 and limited to -32768 … 32768; sums of these are exact, so that an answer
 *   has the same bits whatever came before its window. It is warming up until there have been as many frames.
 * @VIG_CONSENSUS_EMA: the mean over all frames, in which each weighs as much as the time that it stands for, which is
 *   that since the frame before it, times exp(-age / @time_constant): 1 - exp(-dt / @time_constant), as the weights of all
 *   time before add up to 1. Rates may vary. The first stands for as long as the second. A frame with the time of the one
 *   before stands for no time and changes nothing. Behind a gap of more than 40 time constants, beside which the frames
 *   before it weigh nothing, it begins anew. It is warming up until a time constant has passed since the first frame.
 */
typedef enum { VIG_CONSENSUS_MEAN, VIG_CONSENSUS_EMA } VigConsensusKind;

/**
 * VigConsensusOptions:
 * @length: frames of a window, 1 to VIG_CONSENSUS_MAX_LENGTH; MEAN only
 * @stride: 1 to VIG_CONSENSUS_MAX_STRIDE; MEAN only
 * @time_constant: seconds, VIG_CONSENSUS_MIN_TIME to VIG_CONSENSUS_MAX_TIME; EMA only
 */
typedef struct {
  VigConsensusKind kind;
  guint length, stride;
  double time_constant;
} VigConsensusOptions;

enum { VIG_CONSENSUS_MAX_LENGTH = 4096, VIG_CONSENSUS_MAX_STRIDE = 256 };

#define VIG_CONSENSUS_MIN_TIME 1e-9
#define VIG_CONSENSUS_MAX_TIME 1e9

#define VIG_CONSENSUS_NO_TIME G_MININT64 /* not known when */

/**
 * vig_consensus_new:
 * @options: needed only during the call
 * @n_classes: logits of a frame, at least 1
 * @error: VIG_ERROR_ARGUMENT, naming the option
 *
 * Takes memory as frames come: MEAN for the last @length * @stride frames, EMA none.
 */
VIG_API VigConsensus *vig_consensus_new (const VigConsensusOptions *options, guint n_classes, GError **error);
VIG_API void vig_consensus_free (VigConsensus *consensus); /* NULL is allowed */
G_DEFINE_AUTOPTR_CLEANUP_FUNC (VigConsensus, vig_consensus_free)

/* Forgets all: the next frame is the first. */
VIG_API void vig_consensus_reset (VigConsensus *consensus);

/**
 * VigConsensusAnswer:
 * @logits, @probabilities: (out caller-allocates) (nullable): [classes]: the mean, and its softmax
 * @first, @last: of the frames that it is of, the times of the first and the last, as they were given
 * @warming_up: it is of less than it will be
 */
typedef struct {
  float *logits, *probabilities;
  gint64 first, last;
  gboolean warming_up;
} VigConsensusAnswer;

/**
 * vig_consensus_add:
 * @logits: [classes] of the next frame
 * @time: when it was, in nanoseconds of any clock. One before that of the frame before begins anew, with this frame as the
 *   first. VIG_CONSENSUS_NO_TIME: MEAN takes it as any other; EMA, which cannot say what it stands for, begins anew
 *   with it, and with the one behind it.
 * @answer: (inout): what the frames say with it, which may be asked for at each; where it is of no interest NULL
 * @error: VIG_ERROR_ARGUMENT: a logit is no number, or infinite: the message names the class; VIG_ERROR_NO_MEMORY. Then all
 *   is as if this frame had not been.
 */
VIG_API gboolean vig_consensus_add (VigConsensus *consensus, const float *logits, gint64 time, VigConsensusAnswer *answer,
    GError **error);

G_END_DECLS
#endif
