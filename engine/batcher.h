/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Frames of several streams meet in batches: which frame goes into which batch, and when a batch starts
 * (vig/shared.h says how). Knows no models: what is done with a batch is the maker's.
 */
#ifndef VIG_BATCHER_H
#define VIG_BATCHER_H

#include <vig/shared.h>

#include "batch.h"

typedef struct VigBatcher VigBatcher;

/**
 * VigBatcherWork:
 * @check: refuses a request that would fail a batch; any thread
 * @prepare: (nullable): takes what a request in a batch needs beyond the others, memory of its stream say; FALSE: it is
 *   refused alone. The computing thread
 * @run: as vig_engine_classify_batch(), with no lock held; of each lane one at a time
 * @now: (nullable): the clock, microseconds; NULL: the monotonic one. With one of its own the batcher does not see time
 *   pass: see vig_batcher_tick().
 * @lane: which lane a request with a state must be in; needed only if there are several
 * @data: for @check, @now and @lane; and for all others where there are no @lanes
 * @lanes: [n_lanes]: data for @prepare and @run of each of the batches that are computed at once
 * @n_lanes: 0: one
 * @windows: requests with a state are answered by windows: a batch has one of each state
 * @n_classes: of the results
 * @size: what a request's size of 0 means
 */
typedef struct {
  gboolean (*check) (gpointer data, const VigRequest *request, GError **error);
  gboolean (*prepare) (gpointer data, const VigRequest *request, GError **error);
  gboolean (*run) (gpointer data, const VigBatch *batch, VigOutput *output, VigReadFunc read, gpointer read_data,
      GError **error);
  gint64 (*now) (gpointer data);
  guint (*lane) (gpointer data, const VigRequest *request);
  gpointer data, *lanes;
  guint n_lanes;
  gboolean windows;
  guint n_classes, size;
} VigBatcherWork;

VigBatcher *vig_batcher_new (const VigBatcherWork *work, guint max_batch, gint64 delay);
void vig_batcher_free (VigBatcher *batcher); /* has no streams any more; NULL is allowed */

/* Threads of the batcher's own, one for each lane, compute from now on. VIG_ERROR_FAILED: there is none to be had. */
gboolean vig_batcher_start (VigBatcher *batcher, GError **error);

/* Without such threads: computes the batch that is to start now in this lane. FALSE: none is. */
gboolean vig_batcher_step (VigBatcher *batcher, guint lane);

/* Has @func called by the thread of a lane, between two batches of it (without one, at once), and waits for that. Not for
 * that thread itself. */
void vig_batcher_call (VigBatcher *batcher, guint lane, void (*func) (gpointer data), gpointer data);

void vig_batcher_set_limits (VigBatcher *batcher, guint max_batch, gint64 delay);

gint64 vig_batcher_get_delay (VigBatcher *batcher);

/* Looks at the clock: for those whose clock is their own. */
void vig_batcher_tick (VigBatcher *batcher);

VigStream *vig_batcher_add_stream (VigBatcher *batcher);

#endif
