/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "gstvigqueue.h"

/* Events take no place in flight, but a source of nothing but events (gaps, say) must not fill the memory either. */
#define MAX_ITEMS 64

void
gst_vig_queue_init (GstVigQueue *queue, guint max_in_flight)
{
  *queue = (GstVigQueue) { .max_in_flight = max_in_flight, .flushing = TRUE, .flow = GST_FLOW_OK };
  g_mutex_init (&queue->lock);
  g_cond_init (&queue->changed);
  queue->items = gst_queue_array_new (MAX_ITEMS);
}

static gboolean
is_frame (GstMiniObject *item)
{
  return !GST_IS_EVENT (item) && !GST_IS_QUERY (item);
}

/* What describes the stream outlives a flush: nobody would send it again. */
static gboolean
survives_flush (GstMiniObject *item)
{
  if (!GST_IS_EVENT (item) || !GST_EVENT_IS_STICKY (item))
    return FALSE;
  GstEventType type = GST_EVENT_TYPE (item);
  return type != GST_EVENT_SEGMENT && type != GST_EVENT_EOS;
}

/* Under the lock. What is returned is to be freed without it: letting go of a frame may take the time of a batch. */
static GPtrArray *
drop_items (GstVigQueue *queue, gboolean all)
{
  GPtrArray *dropped = g_ptr_array_new_with_free_func ((GDestroyNotify) gst_mini_object_unref);
  for (guint n = gst_queue_array_get_length (queue->items); n > 0; n--) {
    GstMiniObject *item = gst_queue_array_pop_head (queue->items);
    if (!all && survives_flush (item)) {
      gst_queue_array_push_tail (queue->items, item);
      continue;
    }
    if (is_frame (item))
      queue->in_flight--;
    if (!GST_IS_QUERY (item)) /* which is the asker's */
      g_ptr_array_add (dropped, item);
  }
  return dropped;
}

void
gst_vig_queue_clear (GstVigQueue *queue)
{
  g_ptr_array_unref (drop_items (queue, TRUE));
  gst_queue_array_free (queue->items);
  g_cond_clear (&queue->changed);
  g_mutex_clear (&queue->lock);
}

void
gst_vig_queue_set_flushing (GstVigQueue *queue, gboolean flushing)
{
  g_mutex_lock (&queue->lock);
  queue->flushing = flushing;
  queue->flushes++;
  GPtrArray *dropped = drop_items (queue, FALSE);
  queue->flow = GST_FLOW_OK;
  queue->flow_told = FALSE;
  g_cond_broadcast (&queue->changed);
  g_mutex_unlock (&queue->lock);
  g_ptr_array_unref (dropped);
}

void
gst_vig_queue_empty (GstVigQueue *queue)
{
  g_mutex_lock (&queue->lock);
  GPtrArray *dropped = drop_items (queue, TRUE);
  g_mutex_unlock (&queue->lock);
  g_ptr_array_unref (dropped);
}

/* A frame waits for a place. When the last one failed it also waits for the events behind that one: they may be what
 * makes downstream take frames again. */
static gboolean
frame_must_wait (GstVigQueue *queue)
{
  return queue->in_flight >= queue->max_in_flight
      || (queue->flow < GST_FLOW_OK && (queue->busy || !gst_queue_array_is_empty (queue->items)));
}

void
gst_vig_queue_set_max_in_flight (GstVigQueue *queue, guint max_in_flight)
{
  g_mutex_lock (&queue->lock);
  queue->max_in_flight = max_in_flight;
  g_cond_broadcast (&queue->changed);
  g_mutex_unlock (&queue->lock);
}

GstFlowReturn
gst_vig_queue_wait_for_place (GstVigQueue *queue)
{
  g_mutex_lock (&queue->lock);
  while (!queue->flushing && frame_must_wait (queue)) {
    gboolean full = queue->in_flight >= queue->max_in_flight;
    queue->place_wanted += full;
    if (full)
      g_cond_broadcast (&queue->changed);
    g_cond_wait (&queue->changed, &queue->lock);
    queue->place_wanted -= full;
  }
  GstFlowReturn flow = queue->flushing ? GST_FLOW_FLUSHING : queue->flow;
  if (flow < GST_FLOW_OK)
    queue->flow_told = TRUE;
  g_mutex_unlock (&queue->lock);
  return flow;
}

void
gst_vig_queue_compute (GstVigQueue *queue, guint *out, guint n)
{
  g_mutex_lock (&queue->lock);
  queue->computing += *out == 0;
  *out += n;
  g_mutex_unlock (&queue->lock);
}

void
gst_vig_queue_computed (GstVigQueue *queue, guint *out, guint n)
{
  g_mutex_lock (&queue->lock);
  *out -= n;
  if (*out == 0) {
    queue->computing--;
    g_cond_broadcast (&queue->changed);
  }
  g_mutex_unlock (&queue->lock);
}

guint
gst_vig_queue_get_computing (GstVigQueue *queue)
{
  g_mutex_lock (&queue->lock);
  guint n = queue->computing;
  g_mutex_unlock (&queue->lock);
  return n;
}

gboolean
gst_vig_queue_wait_computed (GstVigQueue *queue, const guint *out, gint64 until)
{
  gboolean in_time = TRUE;
  g_mutex_lock (&queue->lock);
  while (*out > 0 && !queue->flushing && in_time) {
    if (until == G_MAXINT64)
      g_cond_wait (&queue->changed, &queue->lock);
    else
      in_time = queue->place_wanted == 0 && g_cond_wait_until (&queue->changed, &queue->lock, until);
  }
  gboolean ok = !queue->flushing;
  g_mutex_unlock (&queue->lock);
  return ok;
}

void
gst_vig_queue_wait_all_computed (GstVigQueue *queue, const guint *out)
{
  g_mutex_lock (&queue->lock);
  while (*out > 0)
    g_cond_wait (&queue->changed, &queue->lock);
  g_mutex_unlock (&queue->lock);
}

gboolean
gst_vig_queue_push_frame (GstVigQueue *queue, GstMiniObject *frame)
{
  g_mutex_lock (&queue->lock);
  gboolean taken = !queue->flushing;
  if (taken) {
    queue->in_flight++;
    gst_queue_array_push_tail (queue->items, frame);
    g_cond_broadcast (&queue->changed);
  }
  g_mutex_unlock (&queue->lock);
  if (!taken)
    gst_mini_object_unref (frame);
  return taken;
}

gboolean
gst_vig_queue_push_event (GstVigQueue *queue, GstEvent *event)
{
  g_mutex_lock (&queue->lock);
  while (!queue->flushing && gst_queue_array_get_length (queue->items) >= MAX_ITEMS)
    g_cond_wait (&queue->changed, &queue->lock);
  gboolean taken = !queue->flushing;
  if (taken) {
    gst_queue_array_push_tail (queue->items, event);
    g_cond_broadcast (&queue->changed);
  } else {
    gst_event_unref (event);
  }
  g_mutex_unlock (&queue->lock);
  return taken;
}

gboolean
gst_vig_queue_ask (GstVigQueue *queue, GstQuery *query)
{
  g_mutex_lock (&queue->lock);
  gboolean answer = FALSE;
  if (!queue->flushing) {
    queue->asked = query;
    queue->asked_taken = queue->asked_done = FALSE;
    gst_queue_array_push_tail (queue->items, query);
    g_cond_broadcast (&queue->changed);
    /* once taken it is being looked at: the caller may have it back only when that is over, flushing or not */
    while (!queue->asked_done && (!queue->flushing || queue->asked_taken))
      g_cond_wait (&queue->changed, &queue->lock);
    answer = queue->asked_done && queue->answer;
    queue->asked = NULL;
  }
  g_mutex_unlock (&queue->lock);
  return answer;
}

GstMiniObject *
gst_vig_queue_pop (GstVigQueue *queue)
{
  g_mutex_lock (&queue->lock);
  while (!queue->flushing && gst_queue_array_is_empty (queue->items))
    g_cond_wait (&queue->changed, &queue->lock);
  GstMiniObject *item = queue->flushing ? NULL : gst_queue_array_pop_head (queue->items);
  if (item && item == GST_MINI_OBJECT_CAST (queue->asked))
    queue->asked_taken = TRUE;
  queue->busy = item != NULL;
  queue->taken_in = queue->flushes;
  g_cond_broadcast (&queue->changed);
  g_mutex_unlock (&queue->lock);
  return item;
}

void
gst_vig_queue_frame_done (GstVigQueue *queue, GstFlowReturn flow)
{
  g_mutex_lock (&queue->lock);
  queue->busy = FALSE;
  queue->in_flight--;
  if (queue->taken_in == queue->flushes) { /* a flush from within the push has made the answer one of the past */
    queue->flow = flow;
    queue->flow_told = FALSE;
  }
  g_cond_broadcast (&queue->changed);
  g_mutex_unlock (&queue->lock);
}

void
gst_vig_queue_event_done (GstVigQueue *queue)
{
  g_mutex_lock (&queue->lock);
  queue->busy = FALSE;
  g_cond_broadcast (&queue->changed);
  g_mutex_unlock (&queue->lock);
}

void
gst_vig_queue_query_done (GstVigQueue *queue, gboolean answer)
{
  g_mutex_lock (&queue->lock);
  queue->busy = FALSE;
  queue->answer = answer;
  queue->asked_done = TRUE;
  g_cond_broadcast (&queue->changed);
  g_mutex_unlock (&queue->lock);
}

GstFlowReturn
gst_vig_queue_get_flow (GstVigQueue *queue, gboolean *told)
{
  g_mutex_lock (&queue->lock);
  GstFlowReturn flow = queue->flow;
  *told = queue->flow_told;
  g_mutex_unlock (&queue->lock);
  return flow;
}

void
gst_vig_queue_forgive (GstVigQueue *queue, GstFlowReturn flow)
{
  g_mutex_lock (&queue->lock);
  if (queue->flow == flow) {
    queue->flow = GST_FLOW_OK;
    queue->flow_told = FALSE;
    g_cond_broadcast (&queue->changed);
  }
  g_mutex_unlock (&queue->lock);
}
