/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef GST_VIG_HELD_H
#define GST_VIG_HELD_H

#include <gst/gst.h>

#include "gstvigheat.h"
#include "gstvigtracks.h"

G_BEGIN_DECLS

/**
 * GstVigSpan:
 * @start, @last: PTS of the first and the last frame that were seen, in the order in which they came; one, or more in clips
 * @end: that of the last and its duration
 * @running: running time of the last; NONE: not known
 * @warming_up: it is less than answers of this kind are of, once enough has come
 *
 * What a result is of.
 */
typedef struct {
  GstClockTime start, last, end, running;
  gboolean warming_up;
} GstVigSpan;

typedef struct {
  gboolean valid;
  GstVigSpan span;
  GstVigHeat *heat; /* NULL: nobody asked for it */
  float probabilities[]; /* [classes] */
} GstVigLast;

/**
 * GstVigHeld:
 * @epoch: of all results; they say nothing about frames of another
 *
 * The last results of a model, of the frame and of each tracked object.
 */
typedef struct {
  guint epoch, n_classes;
  GstVigLast *frame;
  GstVigTracks objects; /* of GstVigLast */
} GstVigHeld;

void gst_vig_held_init (GstVigHeld *held, guint n_classes);
void gst_vig_held_clear (GstVigHeld *held); /* zeroed is allowed */

/* @tracking_id: (nullable): of which object; NULL: of the frame. @heat: (nullable) */
void gst_vig_held_put (GstVigHeld *held, guint epoch, const guint64 *tracking_id, const GstVigSpan *span,
    const float *probabilities, GstVigHeat *heat);

/* NULL: nothing is known that could be said of @epoch. Valid until the next gst_vig_held_put(). */
const GstVigLast *gst_vig_held_get (GstVigHeld *held, guint epoch, const guint64 *tracking_id);

G_END_DECLS
#endif
