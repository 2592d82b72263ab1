/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* How far a run is, in numbers. */
#ifndef VIG_LABEL_TOTALS_H
#define VIG_LABEL_TOTALS_H

#include <glib.h>

/**
 * VigTotals:
 * @inputs: of this run (of its shard)
 * @before: finished by an earlier run, @failed_before of them in vain
 * @done: by this one, @failed of them in vain
 * @frames, @media: classified by this one, and seconds of video that they are from
 * @bytes, @bytes_done: of the inputs that were to be done by this one, and of those done
 * @start: monotonic time; 0: nothing is labelled, only put together
 */
typedef struct {
  guint inputs, before, failed_before, done, failed;
  guint64 frames, bytes, bytes_done;
  double media;
  gint64 start;
} VigTotals;

#endif
