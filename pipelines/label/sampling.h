/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Which frames are classified when not all are: by presentation time, so that nothing adds up however long the video. */
#ifndef VIG_LABEL_SAMPLING_H
#define VIG_LABEL_SAMPLING_H

#include <gst/gst.h>

/* Containers round timestamps, Matroska to a millisecond: a frame may be this much early for its turn. */
#define VIG_SAMPLING_TOLERANCE (GST_MSECOND / 2)

/* Zeroed but for @rate: at the beginning. */
typedef struct {
  double rate;     /* frames per second; 0: every one */
  guint64 next;    /* turn that no frame has had yet: turn n begins at n / rate */
} VigSampling;

/* Frame by frame, as they come: the first of each turn is wanted. */
gboolean vig_sampling_wants (VigSampling *sampling, GstClockTime time);

#endif
