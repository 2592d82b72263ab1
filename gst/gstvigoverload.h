/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef GST_VIG_OVERLOAD_H
#define GST_VIG_OVERLOAD_H

#include <gst/video/video.h>

G_BEGIN_DECLS

/* What happens where frames come faster than they are classified. */
typedef enum { GST_VIG_OVERLOAD_AUTO, GST_VIG_OVERLOAD_BLOCK, GST_VIG_OVERLOAD_SKIP } GstVigOverload;

GType gst_vig_overload_get_type (void);

/* How many frames are in the element at most where each may stay for @budget: those that come meanwhile, and the one that
 * downstream is taking. Where nobody says how many come in a second, 60 do. */
guint gst_vig_overload_frames_held (GstClockTime budget, const GstVideoInfo *info);

/**
 * GstVigLatency:
 * @told: what the pipeline was told
 * @posted: when it was last asked to query anew; microseconds, monotonic; 0: never
 */
typedef struct {
  GstClockTime told;
  gint64 posted;
} GstVigLatency;

/* Whether the pipeline is to be asked to query anew, as the latency is now @is: it was told another by more than a fifth,
 * and was not asked in the last five seconds. If so, that is from now on what it was told. */
gboolean gst_vig_latency_changes (GstVigLatency *latency, GstClockTime is, gint64 now);

G_END_DECLS
#endif
