/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Frames that are computed together, as the batcher hands them to the engine. */
#ifndef VIG_BATCH_H
#define VIG_BATCH_H

#include <vig/state.h>

/* What an answer is of: @n frames of a stream, the first of them at @first. */
typedef struct {
  gint64 first;
  guint64 n;
} VigSeen;

/**
 * VigBatch:
 * @frames: [@n]
 * @moments: [@n] (nullable): each has a state, and frames of one state lie side by side; a time before that of the frame
 *   before is the first of another stream. NULL: every frame is by itself
 * @windows: [@n], for a model that takes windows, with @moments, each state once: how many of the last frames of the
 *   stream an answer is to be of, if there are as many; 0: no answer, the frame is only remembered
 * @seen: (out): [@n], with @moments
 */
typedef struct {
  const VigFrame *frames;
  const VigMoment *moments;
  const guint *windows;
  VigSeen *seen;
  guint n, size;
} VigBatch;

/* Of a batch, the pictures of @n frames from @first on have been read: nothing looks at them any more. */
typedef void (*VigReadFunc) (gpointer data, guint first, guint n);

#endif
