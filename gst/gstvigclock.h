/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef GST_VIG_CLOCK_H
#define GST_VIG_CLOCK_H

#include <gst/video/video.h>

G_BEGIN_DECLS

/**
 * GstVigClock:
 * @epoch: of all times; those of different ones have nothing to do with each other
 * @known: whether a frame of the epoch has had a timestamp
 * @last: of the last that had one
 * @now: never before @last
 *
 * When frames are: by their PTS, which tells the time in the scene however fast it is played. It rises from frame to frame
 * also where a stream is played backwards.
 */
typedef struct {
  guint epoch;
  gboolean started, known;
  gint64 last, now;
} GstVigClock;

typedef enum {
  GST_VIG_CLOCK_GOES_ON,
  GST_VIG_CLOCK_BEGINS,    /* the first timestamp: what was guessed before has nothing to do with it */
  GST_VIG_CLOCK_GOES_BACK, /* a timestamp before the last one */
} GstVigTick;

/**
 * gst_vig_clock_tick:
 * @epoch: that the frame is of
 * @info: of the caps
 *
 * The next frame. One without a timestamp is one frame behind the one before it, by its own duration as @buffer or @info has it;
 * at the same time where neither does. That is a guess: time stands still where timestamps are behind it. Unless it goes on
 * the frame is the first of another epoch, which the caller then sets.
 */
GstVigTick gst_vig_clock_tick (GstVigClock *clock, guint epoch, const GstSegment *segment, const GstVideoInfo *info,
    GstBuffer *buffer);

/* Of a time of the clock's. */
GstClockTime gst_vig_clock_to_pts (gint64 time);

/* The PTS of the first frame of some, at @first by the clock, where the last has @last: none was behind that. */
GstClockTime gst_vig_clock_get_start (gint64 first, GstClockTime last);

G_END_DECLS
#endif
