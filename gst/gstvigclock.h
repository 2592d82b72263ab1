/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef GST_VIG_CLOCK_H
#define GST_VIG_CLOCK_H

#include <gst/video/video.h>

G_BEGIN_DECLS

/**
 * GstVigClock:
 * @epoch: of all times; those of different ones have nothing to do with each other
 *
 * When frames are: by their PTS, which tells the time in the scene however fast it is played. It rises from frame to frame
 * also where a stream is played backwards.
 */
typedef struct {
  guint epoch;
  gboolean started;
  gint64 now;
} GstVigClock;

/**
 * gst_vig_clock_tick:
 * @epoch: that the frame is of
 * @info: of the caps
 *
 * The next frame. One without a timestamp is one frame behind the one before it, by that one's duration as @buffer or
 * @info has it; at the same time where neither does. FALSE: time has gone backwards since the last frame of its epoch.
 */
gboolean gst_vig_clock_tick (GstVigClock *clock, guint epoch, const GstSegment *segment, const GstVideoInfo *info,
    GstBuffer *buffer);

/* Of a time of the clock's. */
GstClockTime gst_vig_clock_to_pts (gint64 time);

G_END_DECLS
#endif
