/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef GST_VIG_QUEUE_H
#define GST_VIG_QUEUE_H

#include <gst/base/gstqueuearray.h>
#include <gst/gst.h>

G_BEGIN_DECLS

/**
 * GstVigQueue:
 *
 * What passes between the two streaming threads of vigclassify: frames, serialised events and serialised queries, in
 * the order in which they arrived. The sink pad's thread puts them in; the source pad's task takes each out, deals with
 * it and says so. A frame (whatever mini object is neither event nor query) is in flight from the moment it is put in
 * until downstream has taken it; at most @max_in_flight are. It may also be with the engine, which may keep its
 * inferences for longer than the frame is in flight. What downstream answered to a frame is kept and told to the next
 * one that asks for a place.
 *
 * All functions may be called from any thread; one thread at a time takes out.
 */
typedef struct {
  GMutex lock;
  GCond changed;
  GstQueueArray *items;   /* GstMiniObject: frames, GstEvent, GstQuery */
  guint in_flight, max_in_flight;
  guint place_wanted;     /* callers that wait for a place because so many are in flight */
  guint computing;        /* frames of which inferences are with the engine */
  gboolean busy;          /* with an item that was taken out */
  gboolean flushing;
  guint flushes, taken_in; /* how many there were; and when the item that is being dealt with was taken out */
  GstFlowReturn flow;     /* of the last frame */
  gboolean flow_told;     /* @flow has been returned to upstream */
  GstQuery *asked;        /* the query that waits for its answer; the asker's */
  gboolean asked_taken, asked_done, answer;
} GstVigQueue;

void gst_vig_queue_init (GstVigQueue *queue, guint max_in_flight); /* flushing at first */
void gst_vig_queue_clear (GstVigQueue *queue);

/* Flushing: nothing goes in, waiting callers come back at once, what is in the queue is dropped, but for the sticky
 * events that a flush leaves valid. */
void gst_vig_queue_set_flushing (GstVigQueue *queue, gboolean flushing);

/* Drops these too: the stream is over. */
void gst_vig_queue_empty (GstVigQueue *queue);

void gst_vig_queue_set_max_in_flight (GstVigQueue *queue, guint max_in_flight);

/* Waits for a place for a frame. Returns GST_FLOW_FLUSHING, or what downstream answered last. */
GstFlowReturn gst_vig_queue_wait_for_place (GstVigQueue *queue);

/* @n inferences of a frame go to the engine; *out, which is locked here, says how many of the frame's are there. */
void gst_vig_queue_compute (GstVigQueue *queue, guint *out, guint n);
/* And @n of them are back. */
void gst_vig_queue_computed (GstVigQueue *queue, guint *out, guint n);
/* How many frames have inferences there. */
guint gst_vig_queue_get_computing (GstVigQueue *queue);

/* Waits until all are back; no longer than to @until (microseconds, monotonic; G_MAXINT64: for ever) or to a flush, nor,
 * unless it is for ever, once somebody waits for the place that the frame takes. Returns whether there was no flush. */
gboolean gst_vig_queue_wait_computed (GstVigQueue *queue, const guint *out, gint64 until);
/* Waits until all are back, whatever happens. */
void gst_vig_queue_wait_all_computed (GstVigQueue *queue, const guint *out);

/* Takes @frame, for which there is a place, in any case. FALSE: flushing. */
gboolean gst_vig_queue_push_frame (GstVigQueue *queue, GstMiniObject *frame);

/* Takes @event in any case. FALSE: flushing. */
gboolean gst_vig_queue_push_event (GstVigQueue *queue, GstEvent *event);

/* Waits until all that came before @query has left and it has been answered. */
gboolean gst_vig_queue_ask (GstVigQueue *queue, GstQuery *query);

/* Waits for the next item. A query stays the asker's and must be answered. NULL: flushing. */
GstMiniObject *gst_vig_queue_pop (GstVigQueue *queue) G_GNUC_WARN_UNUSED_RESULT;

/* What was taken out has been dealt with; @flow and @answer are what downstream said to it. */
void gst_vig_queue_frame_done (GstVigQueue *queue, GstFlowReturn flow);
void gst_vig_queue_event_done (GstVigQueue *queue);
void gst_vig_queue_query_done (GstVigQueue *queue, gboolean answer);

GstFlowReturn gst_vig_queue_get_flow (GstVigQueue *queue, gboolean *told);
/* From now on frames are tried again if @flow was the last answer. */
void gst_vig_queue_forgive (GstVigQueue *queue, GstFlowReturn flow);

G_END_DECLS
#endif
