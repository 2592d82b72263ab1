/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Events wait here for a thread that publishes them, so that nobody else has to. */
#ifndef GST_VIG_PUBLISH_QUEUE_H
#define GST_VIG_PUBLISH_QUEUE_H

#include "gstvigpublishsink.h"

G_BEGIN_DECLS

/**
 * GstVigPublishLimits:
 * @max_events, @max_bytes: that are not published yet; 0: any number
 * @block: who brings one too many waits; else the oldest that has not been sent is dropped
 * @delay, @max_delay: from a connection that failed to the next try, first and at most
 */
typedef struct {
  guint max_events;
  guint64 max_bytes;
  gboolean block;
  GstClockTime delay, max_delay;
} GstVigPublishLimits;

/* Since the start. */
typedef struct {
  guint64 published, dropped, queued, reconnects;
  gboolean connected;
} GstVigPublishCounts;

/* As a structure of that name. (transfer full) */
GstStructure *gst_vig_publish_counts_to_structure (const GstVigPublishCounts *counts, const char *name);

/**
 * GstVigPublishReport:
 * @what: a connection is there, failed, or events were dropped
 * @error: why it failed; NULL otherwise
 * @first: it is the first of its kind since something was published
 */
typedef struct {
  enum { GST_VIG_PUBLISH_CONNECTED, GST_VIG_PUBLISH_DISCONNECTED, GST_VIG_PUBLISH_DROPPED } what;
  const GError *error;
  gboolean first;
  GstVigPublishCounts counts;
} GstVigPublishReport;

/* Called from the queue's thread, which holds no lock. */
typedef void (*GstVigPublishReporter) (GstElement *owner, const GstVigPublishReport *report);

/**
 * gst_vig_publish_queue_new:
 * @sink: (transfer full):
 * @owner: whom @reporter is called with, for as long as there is one
 *
 * Returns: (transfer full) (nullable): with its thread running; to be closed
 */
GstVigPublishQueue *gst_vig_publish_queue_new (const GstVigPublishLimits *limits, GstVigPublishSink *sink, GstElement *owner,
    GstVigPublishReporter reporter, GError **error);

/* Takes @event. Waits only if it is to block. */
void gst_vig_publish_queue_push (GstVigPublishQueue *queue, GstVigPublishEvent *event);

/* Nobody waits here while it is flushing; what is in it stays. */
void gst_vig_publish_queue_set_flushing (GstVigPublishQueue *queue, gboolean flushing);

/* Waits until all is published, or for as long as @timeout; then drops the rest. Returns how many those are. */
guint64 gst_vig_publish_queue_drain (GstVigPublishQueue *queue, GstClockTime timeout);

/* Nobody waits in push and drain any more. */
void gst_vig_publish_queue_interrupt (GstVigPublishQueue *queue);

/**
 * gst_vig_publish_queue_close:
 * @queue: (transfer full):
 * @counts: (out): as they end
 *
 * Waits until all is published if nothing speaks against it, for as long as @timeout (from the beginning of a drain that was
 * interrupted), and drops the rest. A thread that does not end even then is left to itself.
 *
 * Returns: how many were dropped here
 */
guint64 gst_vig_publish_queue_close (GstVigPublishQueue *queue, GstClockTime timeout, GstVigPublishCounts *counts);

void gst_vig_publish_queue_get_counts (GstVigPublishQueue *queue, GstVigPublishCounts *counts);

/* ---- for sinks, on the thread that calls them ---- */

void gst_vig_publish_queue_connected (GstVigPublishQueue *queue);
void gst_vig_publish_queue_delivered (GstVigPublishQueue *queue, guint64 number);

/* It never will be. */
void gst_vig_publish_queue_undeliverable (GstVigPublishQueue *queue, guint64 number, const GError *error);

/* What to write to (eight bytes, a number above 0) from any thread, so that the sink is served. Valid as long as the sink. */
int gst_vig_publish_queue_get_wake_fd (GstVigPublishQueue *queue);

G_END_DECLS
#endif
