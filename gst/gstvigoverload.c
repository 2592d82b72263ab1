/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "gstvigoverload.h"

#define DRIFT 0.2
#define PERIOD (5 * G_USEC_PER_SEC)
#define MOST_HELD 32

GType
gst_vig_overload_get_type (void)
{
  static gsize type;
  static const GEnumValue values[] = {
    { GST_VIG_OVERLOAD_AUTO, "skip where upstream is live, else block", "auto" },
    { GST_VIG_OVERLOAD_BLOCK, "Frames wait for their results", "block" },
    { GST_VIG_OVERLOAD_SKIP, "Frames wait for latency-budget at most, and then leave with the last result", "skip" },
    { 0, NULL, NULL },
  };
  if (g_once_init_enter (&type))
    g_once_init_leave (&type, g_enum_register_static ("GstVigOverload", values));
  return type;
}

guint
gst_vig_overload_frames_held (GstClockTime budget, const GstVideoInfo *info)
{
  GstClockTime frame = GST_SECOND / 60;
  if (GST_VIDEO_INFO_FPS_N (info) > 0 && GST_VIDEO_INFO_FPS_D (info) > 0)
    frame = gst_util_uint64_scale_int (GST_SECOND, GST_VIDEO_INFO_FPS_D (info), GST_VIDEO_INFO_FPS_N (info));
  return (guint) MIN (budget / MAX (frame, 1) + 2, MOST_HELD);
}

gboolean
gst_vig_latency_changes (GstVigLatency *latency, GstClockTime is, gint64 now)
{
  double drift = ((double) is - (double) latency->told) / (double) MAX (latency->told, 1);
  if (ABS (drift) <= DRIFT || (latency->posted && now - latency->posted < PERIOD))
    return FALSE;
  latency->told = is;
  latency->posted = now;
  return TRUE;
}
