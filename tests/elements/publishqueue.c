/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The queue in front of a sink, with sinks of the test's own: what is dropped, what is sent again, and that the end comes. */
#include "gstvigpublishqueue.h"

#define WINDOW 3
#define LONG (60 * GST_SECOND)

/* What a sink does next, and what it has seen. */
typedef struct {
  GstVigPublishSink parent;
  GMutex lock;
  GCond changed;
  gboolean absent;      /* no connection can be made */
  gboolean keeps;       /* what is sent is not acknowledged, */
  gboolean answers;     /* but now it is */
  gboolean breaks;      /* the connection does */
  gboolean hangs;       /* a call does not come back */
  guint n_connects;
  GArray *sent;         /* of guint64: the numbers, in order */
  GArray *unanswered;
} Fake;

static Fake *fake; /* of the test that runs; outlives its sink */

static gboolean
connect_fake (GstVigPublishSink *sink, GCancellable *cancellable, GError **error)
{
  g_mutex_lock (&fake->lock);
  fake->n_connects++;
  while (fake->hangs)
    g_cond_wait (&fake->changed, &fake->lock);
  gboolean absent = fake->absent;
  g_mutex_unlock (&fake->lock);
  if (absent)
    g_set_error (error, GST_VIG_PUBLISH_ERROR, GST_VIG_PUBLISH_ERROR_LOST, "absent");
  else
    gst_vig_publish_queue_connected (sink->queue);
  return !absent;
}

static void
poll_fake (GstVigPublishSink *sink, GPollFD *fd, gint64 *wake_at)
{
  *wake_at = MIN (*wake_at, g_get_monotonic_time () + 1000);
}

static gboolean
serve_fake (GstVigPublishSink *sink, GError **error)
{
  g_mutex_lock (&fake->lock);
  gboolean breaks = fake->breaks;
  fake->breaks = FALSE;
  for (guint i = 0; fake->answers && i < fake->unanswered->len; i++)
    gst_vig_publish_queue_delivered (sink->queue, g_array_index (fake->unanswered, guint64, i));
  if (fake->answers)
    g_array_set_size (fake->unanswered, 0);
  g_mutex_unlock (&fake->lock);
  if (breaks)
    g_set_error (error, GST_VIG_PUBLISH_ERROR, GST_VIG_PUBLISH_ERROR_LOST, "broken");
  return !breaks;
}

static GstVigPublishOutcome
send_fake (GstVigPublishSink *sink, GstVigPublishEvent *event, GError **error)
{
  g_mutex_lock (&fake->lock);
  g_array_append_val (fake->sent, event->number);
  gboolean keeps = fake->keeps;
  if (keeps)
    g_array_append_val (fake->unanswered, event->number);
  g_mutex_unlock (&fake->lock);
  return keeps ? GST_VIG_PUBLISH_SENT : GST_VIG_PUBLISH_DONE;
}

static void
disconnect_fake (GstVigPublishSink *sink)
{
  g_mutex_lock (&fake->lock);
  g_array_set_size (fake->unanswered, 0);
  g_mutex_unlock (&fake->lock);
}

static void
free_fake (GstVigPublishSink *sink)
{
}

static void
set (gboolean *what, gboolean value)
{
  g_mutex_lock (&fake->lock);
  *what = value;
  g_cond_broadcast (&fake->changed);
  g_mutex_unlock (&fake->lock);
}

static const GstVigPublishSinkClass fake_class = { .window = WINDOW, .connect = connect_fake, .poll = poll_fake,
  .serve = serve_fake, .send = send_fake, .disconnect = disconnect_fake, .free = free_fake };

static void
set_up (void)
{
  fake = g_new0 (Fake, 1);
  fake->parent.class = &fake_class;
  g_mutex_init (&fake->lock);
  g_cond_init (&fake->changed);
  fake->sent = g_array_new (FALSE, FALSE, sizeof (guint64));
  fake->unanswered = g_array_new (FALSE, FALSE, sizeof (guint64));
}

static void
tear_down (void)
{
  g_array_unref (fake->sent);
  g_array_unref (fake->unanswered);
  g_mutex_clear (&fake->lock);
  g_cond_clear (&fake->changed);
  g_clear_pointer (&fake, g_free);
}

static void
ignore (GstElement *owner, const GstVigPublishReport *report)
{
}

static GstVigPublishQueue *
make_queue (guint max_events, guint64 max_bytes)
{
  const GstVigPublishLimits limits = { .max_events = max_events, .max_bytes = max_bytes, .delay = GST_MSECOND,
    .max_delay = 5 * GST_MSECOND };
  g_autoptr (GError) error = NULL;
  GstVigPublishQueue *queue = gst_vig_publish_queue_new (&limits, &fake->parent, NULL, ignore, &error);
  g_assert_no_error (error);
  return queue;
}

static void
push (GstVigPublishQueue *queue, guint64 from, guint64 to)
{
  for (guint64 i = from; i < to; i++)
    gst_vig_publish_queue_push (queue, gst_vig_publish_event_new (i, "key", g_strdup ("0123456789"), 10));
}

static GstVigPublishCounts
counts_of (GstVigPublishQueue *queue)
{
  GstVigPublishCounts counts;
  gst_vig_publish_queue_get_counts (queue, &counts);
  return counts;
}

static void
wait_until_sent (guint n)
{
  for (guint sent = 0; sent < n; g_usleep (500)) {
    g_mutex_lock (&fake->lock);
    sent = fake->sent->len;
    g_mutex_unlock (&fake->lock);
  }
}

static void
expect_sent (guint n, const guint64 numbers[])
{
  g_assert_cmpuint (fake->sent->len, ==, n);
  for (guint i = 0; i < n; i++)
    g_assert_cmpuint (g_array_index (fake->sent, guint64, i), ==, numbers[i]);
}

/* The oldest go that are not sent; those that are stay until they are acknowledged. */
static void
test_drop (void)
{
  GstVigPublishCounts counts;
  set_up ();
  fake->keeps = TRUE;
  GstVigPublishQueue *queue = make_queue (5, 0);
  push (queue, 0, 3);
  wait_until_sent (3);
  push (queue, 3, 10); /* 3 and 4 have room; then 3 goes for 5, 4 for 6, … */
  g_assert_cmpuint (counts_of (queue).queued, ==, 5);
  g_assert_cmpuint (counts_of (queue).dropped, ==, 5);
  g_assert_cmpuint (counts_of (queue).published, ==, 0);
  set (&fake->answers, TRUE);
  g_assert_cmpuint (gst_vig_publish_queue_drain (queue, LONG), ==, 0);
  g_assert_cmpuint (gst_vig_publish_queue_close (queue, 0, &counts), ==, 0);
  g_assert_cmpuint (counts.published, ==, 5);
  g_assert_cmpuint (counts.dropped, ==, 5);
  expect_sent (5, (guint64[]) { 0, 1, 2, 8, 9 });
  tear_down ();
}

static void
test_drop_by_bytes (void)
{
  GstVigPublishCounts counts;
  set_up ();
  fake->absent = TRUE;
  GstVigPublishQueue *queue = make_queue (0, 45);
  push (queue, 0, 10);
  g_assert_cmpuint (counts_of (queue).queued, ==, 4);
  set (&fake->absent, FALSE);
  g_assert_cmpuint (gst_vig_publish_queue_drain (queue, LONG), ==, 0);
  gst_vig_publish_queue_close (queue, 0, &counts);
  expect_sent (4, (guint64[]) { 6, 7, 8, 9 });
  tear_down ();
}

/* What was not acknowledged is sent again, in order, and what comes behind it later. */
static void
test_sent_again (void)
{
  GstVigPublishCounts counts;
  set_up ();
  fake->keeps = TRUE;
  GstVigPublishQueue *queue = make_queue (0, 0);
  push (queue, 0, 5);
  wait_until_sent (3);
  set (&fake->breaks, TRUE);
  wait_until_sent (6);
  set (&fake->answers, TRUE);
  g_assert_cmpuint (gst_vig_publish_queue_drain (queue, LONG), ==, 0);
  gst_vig_publish_queue_close (queue, 0, &counts);
  g_assert_cmpuint (counts.published, ==, 5);
  g_assert_cmpuint (counts.reconnects, ==, 1);
  expect_sent (8, (guint64[]) { 0, 1, 2, 0, 1, 2, 3, 4 });
  tear_down ();
}

/* What is left when the time is over is dropped, once. */
static void
test_drain_in_vain (void)
{
  GstVigPublishCounts counts;
  set_up ();
  fake->keeps = TRUE;
  GstVigPublishQueue *queue = make_queue (0, 0);
  push (queue, 0, 7);
  gint64 began = g_get_monotonic_time ();
  g_assert_cmpuint (gst_vig_publish_queue_drain (queue, 100 * GST_MSECOND), ==, 7);
  g_assert_cmpint (g_get_monotonic_time () - began, >=, 100 * 1000);
  g_assert_cmpuint (gst_vig_publish_queue_close (queue, LONG, &counts), ==, 0);
  g_assert_cmpuint (counts.dropped, ==, 7);
  tear_down ();
}

/* At the end a sink that has failed is not waited for. */
static void
test_close_while_failing (void)
{
  GstVigPublishCounts counts;
  set_up ();
  fake->absent = TRUE;
  GstVigPublishQueue *queue = make_queue (0, 0);
  push (queue, 0, 3);
  while (fake->n_connects < 2)
    g_usleep (500);
  gint64 began = g_get_monotonic_time ();
  g_assert_cmpuint (gst_vig_publish_queue_close (queue, LONG, &counts), ==, 3);
  g_assert_cmpint (g_get_monotonic_time () - began, <, 2 * G_USEC_PER_SEC);
  tear_down ();
}

/* A call that does not come back: the thread is left to itself, and ends when it can. */
static void
test_hangs (void)
{
  GstVigPublishCounts counts;
  set_up ();
  fake->hangs = TRUE;
  GstVigPublishQueue *queue = make_queue (0, 0);
  push (queue, 0, 3);
  gint64 began = g_get_monotonic_time ();
  g_assert_cmpuint (gst_vig_publish_queue_close (queue, 50 * GST_MSECOND, &counts), ==, 3);
  g_assert_cmpint (g_get_monotonic_time () - began, <, 10 * G_USEC_PER_SEC);
  set (&fake->hangs, FALSE);
  g_usleep (200 * 1000); /* until it has; nothing is sent */
  expect_sent (0, NULL);
  tear_down ();
}

int
main (int argc, char **argv)
{
  gst_init (&argc, &argv);
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/publishqueue/drop", test_drop);
  g_test_add_func ("/publishqueue/drop-by-bytes", test_drop_by_bytes);
  g_test_add_func ("/publishqueue/sent-again", test_sent_again);
  g_test_add_func ("/publishqueue/drain-in-vain", test_drain_in_vain);
  g_test_add_func ("/publishqueue/close-while-failing", test_close_while_failing);
  g_test_add_func ("/publishqueue/hangs", test_hangs);
  return g_test_run ();
}
