/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "gstvigstats.h"

#include <stdlib.h>
#include <string.h>

void
gst_vig_times_add (GstVigTimes *times, guint64 value)
{
  times->samples[times->next] = value;
  times->next = (times->next + 1) % GST_VIG_STATS_WINDOW;
  times->n = MIN (times->n + 1, GST_VIG_STATS_WINDOW);
}

guint64
gst_vig_times_mean (const GstVigTimes *times)
{
  guint64 sum = 0;
  for (guint i = 0; i < times->n; i++)
    sum += times->samples[i];
  return times->n ? sum / times->n : 0;
}

static int
compare (const void *a, const void *b)
{
  guint64 x = *(const guint64 *) a, y = *(const guint64 *) b;
  return (x > y) - (x < y);
}

guint64
gst_vig_times_p99 (const GstVigTimes *times)
{
  guint64 sorted[GST_VIG_STATS_WINDOW];
  if (times->n == 0)
    return 0;
  memcpy (sorted, times->samples, times->n * sizeof *sorted);
  qsort (sorted, times->n, sizeof *sorted, compare);
  return sorted[(times->n * 99 + 99) / 100 - 1];
}

void
gst_vig_stats_frame_left (GstVigStats *stats, gint64 now)
{
  stats->left[stats->next_left] = now;
  stats->next_left = (stats->next_left + 1) % GST_VIG_STATS_WINDOW;
  stats->n_left = MIN (stats->n_left + 1, GST_VIG_STATS_WINDOW);
}

static double
batch_mean (const GstVigStats *stats)
{
  double sum = 0;
  for (guint i = 0; i < stats->batch.n; i++)
    sum += stats->batch.samples[i];
  return stats->batch.n ? sum / stats->batch.n : 0;
}

static double
frames_per_second (const GstVigStats *stats)
{
  if (stats->n_left < 2)
    return 0;
  guint newest = (stats->next_left + GST_VIG_STATS_WINDOW - 1) % GST_VIG_STATS_WINDOW;
  guint oldest = (stats->next_left + GST_VIG_STATS_WINDOW - stats->n_left) % GST_VIG_STATS_WINDOW;
  gint64 span = stats->left[newest] - stats->left[oldest];
  return span > 0 ? (stats->n_left - 1) * (double) G_USEC_PER_SEC / span : 0;
}

void
gst_vig_stats_to_structure (const GstVigStats *stats, GstStructure *structure)
{
  gst_structure_set (structure,
      "frames-in", G_TYPE_UINT64, stats->frames_in,
      "classified", G_TYPE_UINT64, stats->classified,
      "skipped", G_TYPE_UINT64, stats->skipped,
      "copies", G_TYPE_UINT64, stats->copies,
      "gpu-copies", G_TYPE_UINT64, stats->gpu_copies,
      "shed", G_TYPE_UINT64, stats->shed,
      "late", G_TYPE_UINT64, stats->late,
      "objects-classified", G_TYPE_UINT64, stats->objects_classified,
      "objects-held", G_TYPE_UINT64, stats->objects_held,
      "objects-skipped", G_TYPE_UINT64, stats->objects_skipped,
      "inference-mean", G_TYPE_UINT64, gst_vig_times_mean (&stats->inference),
      "inference-p99", G_TYPE_UINT64, gst_vig_times_p99 (&stats->inference),
      "preprocess-mean", G_TYPE_UINT64, gst_vig_times_mean (&stats->preprocess),
      "preprocess-p99", G_TYPE_UINT64, gst_vig_times_p99 (&stats->preprocess),
      "batch-mean", G_TYPE_DOUBLE, batch_mean (stats),
      "frames-per-second", G_TYPE_DOUBLE, frames_per_second (stats), NULL);
}
