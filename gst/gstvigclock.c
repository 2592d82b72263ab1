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

gboolean
gst_vig_clock_tick (GstVigClock *clock, guint epoch, const GstSegment *segment, const GstVideoInfo *info, GstBuffer *buffer)
{
  const gboolean follows = clock->started && clock->epoch == epoch;
  const GstClockTime pts = GST_BUFFER_PTS (buffer);
  gint64 now = 0;
  if (pts <= G_MAXINT64) /* or none */
    now = segment->rate < 0 ? -(gint64) pts : (gint64) pts;
  else if (follows && __builtin_add_overflow (clock->now, duration (info, buffer), &now))
    now = G_MAXINT64;
  const gboolean backwards = follows && now < clock->now;
  *clock = (GstVigClock) { .epoch = epoch, .started = TRUE, .now = now };
  return !backwards;
}

GstClockTime
gst_vig_clock_to_pts (gint64 time)
{
  return (GstClockTime) ABS (time);
}
