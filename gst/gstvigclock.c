/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "gstvigclock.h"

static gint64
duration (const GstVideoInfo *info, GstBuffer *buffer)
{
  if (GST_BUFFER_DURATION (buffer) <= G_MAXINT64) /* or none */
    return (gint64) GST_BUFFER_DURATION (buffer);
  if (GST_VIDEO_INFO_FPS_N (info) <= 0)
    return 0;
  return (gint64) gst_util_uint64_scale_int (GST_SECOND, GST_VIDEO_INFO_FPS_D (info), GST_VIDEO_INFO_FPS_N (info));
}

/* Which takes it for the next of its epoch. */
static GstVigTick
take_timestamp (GstVigClock *clock, gint64 time)
{
  GstVigTick tick = GST_VIG_CLOCK_GOES_ON;
  if (!clock->known && clock->started)
    tick = GST_VIG_CLOCK_BEGINS;
  else if (clock->known && time < clock->last)
    tick = GST_VIG_CLOCK_GOES_BACK;
  clock->now = clock->started && tick == GST_VIG_CLOCK_GOES_ON ? MAX (clock->now, time) : time;
  clock->last = time;
  clock->known = TRUE;
  return tick;
}

GstVigTick
gst_vig_clock_tick (GstVigClock *clock, guint epoch, const GstSegment *segment, const GstVideoInfo *info, GstBuffer *buffer)
{
  const GstClockTime pts = GST_BUFFER_PTS (buffer);
  GstVigTick tick = GST_VIG_CLOCK_GOES_ON;
  if (clock->epoch != epoch)
    *clock = (GstVigClock) { .epoch = epoch };
  if (pts <= G_MAXINT64) /* or none */
    tick = take_timestamp (clock, segment->rate < 0 ? -(gint64) pts : (gint64) pts);
  else if (clock->started && __builtin_add_overflow (clock->now, duration (info, buffer), &clock->now))
    clock->now = G_MAXINT64;
  clock->started = TRUE;
  return tick;
}

GstClockTime
gst_vig_clock_to_pts (gint64 time)
{
  return (GstClockTime) ABS (time);
}

GstClockTime
gst_vig_clock_get_start (gint64 first, GstClockTime last)
{
  return first < 0 ? MAX (gst_vig_clock_to_pts (first), last) : MIN (gst_vig_clock_to_pts (first), last);
}
