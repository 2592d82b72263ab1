/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef GST_VIG_STATS_H
#define GST_VIG_STATS_H

#include <gst/gst.h>

G_BEGIN_DECLS

#define GST_VIG_STATS_WINDOW 256 /* samples that means and percentiles are taken over */

/* The last times of one kind, nanoseconds. */
typedef struct {
  guint64 samples[GST_VIG_STATS_WINDOW];
  guint n, next;
} GstVigTimes;

/**
 * GstVigStats:
 *
 * What an element has done since it was started. Not locked: the element's object lock guards it.
 */
typedef struct {
  guint64 frames_in, classified, skipped, copies, gpu_copies;
  guint64 shed, late;  /* inferences: not made for want of time; made, but too late for their frame */
  guint64 objects_classified, objects_held, objects_skipped;
  GstVigTimes preprocess, inference;
  GstVigTimes whole;   /* of a classified frame, from its arrival to its result: what the latency comes from */
  GstVigTimes batch;   /* not times: frames of the batch that each was in */
  gint64 left[GST_VIG_STATS_WINDOW]; /* when the last frames left, microseconds of the monotonic clock */
  guint n_left, next_left;
} GstVigStats;

void gst_vig_times_add (GstVigTimes *times, guint64 value);
guint64 gst_vig_times_mean (const GstVigTimes *times);
guint64 gst_vig_times_p99 (const GstVigTimes *times); /* nearest rank; 0 without samples */

void gst_vig_stats_frame_left (GstVigStats *stats, gint64 now);

/* Adds the documented fields to @structure. */
void gst_vig_stats_to_structure (const GstVigStats *stats, GstStructure *structure);

G_END_DECLS
#endif
