/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The inputs of the last frames of a stream, for models that take windows of them. */
#ifndef VIG_RING_H
#define VIG_RING_H

#include <vig/error.h>

/**
 * VigRing:
 * @room: most frames that are remembered; 0: it is none
 * @n: those that are
 * @next: where the next one goes
 * @inputs: [room, 3, h, w], host memory; NULL: not yet
 * @times: [room]
 */
typedef struct {
  guint room, n, next;
  guint h, w;
  float *inputs;
  gint64 *times;
} VigRing;

/* Memory for inputs of @h x @w; another size begins anew. FALSE: VIG_ERROR_NO_MEMORY */
gboolean vig_ring_prepare (VigRing *ring, guint h, guint w, GError **error);
void vig_ring_clear (VigRing *ring);

/* Where the input [3, h, w] of the next frame goes, in place of the oldest if there is no room. One before the last begins
 * anew. */
float *vig_ring_push (VigRing *ring, gint64 time);

/* Of the last @window frames that are there, oldest first, number @i. */
const float *vig_ring_get (const VigRing *ring, guint window, guint i);
gint64 vig_ring_get_time (const VigRing *ring, guint window, guint i);

#endif
