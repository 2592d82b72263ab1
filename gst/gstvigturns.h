/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef GST_VIG_TURNS_H
#define GST_VIG_TURNS_H

#include "gstvigflight.h"
#include "gstvigtracks.h"

G_BEGIN_DECLS

/**
 * GstVigTurns:
 * @epoch: results of another say nothing about what comes
 *
 * What of the frames that come is to be classified: whose interval is over, that of frames and that of each tracked object.
 */
typedef struct {
  guint epoch;
  gboolean have_result; /* a frame of this epoch has been submitted, */
  guint since_result;   /* and this many have come since */
  guint64 n_frames;
  GstVigTracks objects; /* when their turns were, in this epoch */
} GstVigTurns;

void gst_vig_turns_init (GstVigTurns *turns);
void gst_vig_turns_clear (GstVigTurns *turns);

/* The last results no longer say anything about what comes. */
void gst_vig_turns_end_results (GstVigTurns *turns);

/**
 * gst_vig_turns_choose:
 * @flight: with its moment and settings, and with regions if objects are asked for; its @frame_shot and theirs are set
 * @n_shed: (inout) (optional): not NULL: nothing can be classified now; how many parts would have been, which stay due
 *
 * Returns: (transfer full): of GstVideoRectangle, for gst_vig_flight_start(): what is to be classified, the whole frame
 * first; may be empty.
 */
GArray *gst_vig_turns_choose (GstVigTurns *turns, GstVigFlight *flight, guint *n_shed);

G_END_DECLS
#endif
