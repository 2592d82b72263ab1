/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "gstvigpublishqueue.h"

#include <signal.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define REPORT_EVERY (5 * G_USEC_PER_SEC) /* of drops */
#define GRACE (3 * G_USEC_PER_SEC)        /* for a sink's call to come back once it is cancelled */

typedef struct {
  GstVigPublishEvent *event;
  gboolean delivered;
} Entry;

struct _GstVigPublishQueue {
  gatomicrefcount references; /* the owner's and the thread's */
  GstVigPublishLimits limits;
  GstVigPublishReporter reporter;
  GWeakRef owner;
  GCancellable *cancellable;
  int wake_fd;
  GThread *thread;

  GMutex lock;
  GCond changed;
  GQueue entries;        /* of Entry, in the order of numbers */
  GList *next;           /* of entries: the first that has not been sent; NULL: all have */
  guint n_sent;          /* of entries */
  guint64 bytes;
  GstVigPublishCounts counts;
  guint64 n_connections;
  gboolean flushing, interrupted, stop, ended;
  gboolean over;         /* the sink takes nothing any more */
  gboolean failing;      /* since a connection failed until one is there */
  gint64 drain_began;    /* 0: none is going on */
  gint64 retry_at;
  GstClockTime delay;    /* to the next try */

  /* the thread's */
  GstVigPublishSink *sink;
  gboolean up;           /* a connection was begun */
  guint told;            /* kinds of failures that were reported since something was delivered */
  gboolean drops_told;
  guint64 dropped_told;
  gint64 drops_at;       /* the earliest next report */
};

/* ---- events ---------------------------------------------------------------------------------------------------- */

GQuark
gst_vig_publish_error_quark (void)
{
  return g_quark_from_static_string ("gst-vig-publish-error");
}

GstVigPublishEvent *
gst_vig_publish_event_new (guint64 number, const char *key, char *text, gsize length)
{
  GstVigPublishEvent *event = g_atomic_rc_box_new (GstVigPublishEvent);
  *event = (GstVigPublishEvent) { .number = number, .key = g_strdup (key), .text = text, .length = length };
  return event;
}

GstVigPublishEvent *
gst_vig_publish_event_ref (GstVigPublishEvent *event)
{
  return g_atomic_rc_box_acquire (event);
}

static void
clear_event (gpointer data)
{
  GstVigPublishEvent *event = data;
  g_free (event->key);
  g_free (event->text);
}

void
gst_vig_publish_event_unref (GstVigPublishEvent *event)
{
  g_atomic_rc_box_release_full (event, clear_event);
}

static void
free_entry (Entry *entry)
{
  gst_vig_publish_event_unref (entry->event);
  g_free (entry);
}

/* ---- what is in the queue; under the lock ---------------------------------------------------------------------- */

static void
wake (GstVigPublishQueue *queue)
{
  const guint64 one = 1;
  if (write (queue->wake_fd, &one, sizeof one) < 0)
    g_debug ("wake: %s", g_strerror (errno)); /* it is awake: the counter is full */
}

static gboolean
is_full (const GstVigPublishQueue *queue, gsize more)
{
  const GstVigPublishLimits *limits = &queue->limits;
  return (limits->max_events > 0 && queue->entries.length >= limits->max_events)
      || (limits->max_bytes > 0 && queue->entries.length > 0 && queue->bytes + more > limits->max_bytes);
}

static void
remove_entry (GstVigPublishQueue *queue, GList *link)
{
  Entry *entry = link->data;
  if (link == queue->next)
    queue->next = link->next;
  queue->bytes -= entry->event->length;
  g_queue_delete_link (&queue->entries, link);
  free_entry (entry);
}

static void
count_drop (GstVigPublishQueue *queue)
{
  queue->counts.dropped++;
  wake (queue); /* to report it */
}

/* Makes room for @more bytes if something waits that could go. */
static void
drop_oldest (GstVigPublishQueue *queue, gsize more)
{
  while (is_full (queue, more) && queue->next) {
    remove_entry (queue, queue->next);
    count_drop (queue);
  }
}

static guint64
drop_all (GstVigPublishQueue *queue)
{
  guint64 n = queue->entries.length;
  queue->next = NULL;
  queue->n_sent = 0;
  while (queue->entries.head)
    remove_entry (queue, queue->entries.head);
  queue->counts.dropped += n;
  g_cond_broadcast (&queue->changed);
  return n;
}

/* What is published at the head leaves. */
static void
pop_delivered (GstVigPublishQueue *queue)
{
  while (queue->n_sent > 0 && ((Entry *) queue->entries.head->data)->delivered) {
    remove_entry (queue, queue->entries.head);
    queue->n_sent--;
  }
  g_cond_broadcast (&queue->changed);
}

void
gst_vig_publish_queue_push (GstVigPublishQueue *queue, GstVigPublishEvent *event)
{
  g_mutex_lock (&queue->lock);
  while (queue->limits.block && is_full (queue, event->length) && !queue->flushing && !queue->interrupted && !queue->over)
    g_cond_wait (&queue->changed, &queue->lock);
  if (!queue->limits.block && !queue->over)
    drop_oldest (queue, event->length);
  if (queue->over || is_full (queue, event->length)) {
    count_drop (queue);
    gst_vig_publish_event_unref (event);
  } else {
    Entry *entry = g_new (Entry, 1);
    *entry = (Entry) { .event = event };
    g_queue_push_tail (&queue->entries, entry);
    if (!queue->next)
      queue->next = queue->entries.tail;
    queue->bytes += event->length;
    wake (queue);
  }
  g_mutex_unlock (&queue->lock);
}

void
gst_vig_publish_queue_set_flushing (GstVigPublishQueue *queue, gboolean flushing)
{
  g_mutex_lock (&queue->lock);
  queue->flushing = flushing;
  g_cond_broadcast (&queue->changed);
  g_mutex_unlock (&queue->lock);
}

void
gst_vig_publish_queue_get_counts (GstVigPublishQueue *queue, GstVigPublishCounts *counts)
{
  g_mutex_lock (&queue->lock);
  *counts = queue->counts;
  counts->queued = queue->entries.length;
  g_mutex_unlock (&queue->lock);
}

GstStructure *
gst_vig_publish_counts_to_structure (const GstVigPublishCounts *counts, const char *name)
{
  return gst_structure_new (name, "published", G_TYPE_UINT64, counts->published, "dropped", G_TYPE_UINT64, counts->dropped,
      "queued", G_TYPE_UINT64, counts->queued, "reconnects", G_TYPE_UINT64, counts->reconnects,
      "connected", G_TYPE_BOOLEAN, counts->connected, NULL);
}

/* ---- ends ------------------------------------------------------------------------------------------------------ */

guint64
gst_vig_publish_queue_drain (GstVigPublishQueue *queue, GstClockTime timeout)
{
  guint64 n = 0;
  gboolean in_time = TRUE;
  g_mutex_lock (&queue->lock);
  queue->drain_began = g_get_monotonic_time ();
  queue->retry_at = 0; /* at once */
  wake (queue);
  const gint64 until = queue->drain_began + (gint64) (timeout / GST_USECOND);
  while (queue->entries.length > 0 && !queue->flushing && !queue->interrupted && !queue->over && in_time)
    in_time = g_cond_wait_until (&queue->changed, &queue->lock, until);
  if (!in_time || queue->over)
    n = drop_all (queue);
  if (!queue->interrupted)
    queue->drain_began = 0;
  g_mutex_unlock (&queue->lock);
  return n;
}

void
gst_vig_publish_queue_interrupt (GstVigPublishQueue *queue)
{
  g_mutex_lock (&queue->lock);
  queue->interrupted = TRUE;
  g_cond_broadcast (&queue->changed);
  g_mutex_unlock (&queue->lock);
}

static void
release (GstVigPublishQueue *queue)
{
  if (!g_atomic_ref_count_dec (&queue->references))
    return;
  drop_all (queue);
  g_weak_ref_clear (&queue->owner);
  g_object_unref (queue->cancellable);
  close (queue->wake_fd);
  g_mutex_clear (&queue->lock);
  g_cond_clear (&queue->changed);
  g_free (queue);
}

guint64
gst_vig_publish_queue_close (GstVigPublishQueue *queue, GstClockTime timeout, GstVigPublishCounts *counts)
{
  gst_vig_publish_queue_interrupt (queue);
  g_mutex_lock (&queue->lock);
  const gint64 began = queue->drain_began ? queue->drain_began : g_get_monotonic_time ();
  const gint64 until = began + (gint64) (timeout / GST_USECOND);
  while (queue->entries.length > 0 && !queue->failing && !queue->over)
    if (!g_cond_wait_until (&queue->changed, &queue->lock, until))
      break;
  guint64 n = drop_all (queue);
  queue->stop = TRUE;
  wake (queue);
  g_mutex_unlock (&queue->lock);
  g_cancellable_cancel (queue->cancellable);

  g_mutex_lock (&queue->lock);
  const gint64 patience = g_get_monotonic_time () + GRACE;
  while (!queue->ended && g_cond_wait_until (&queue->changed, &queue->lock, patience))
    ;
  gboolean ended = queue->ended;
  *counts = queue->counts;
  counts->connected = FALSE;
  g_mutex_unlock (&queue->lock);
  if (ended)
    g_thread_join (queue->thread);
  else
    g_thread_unref (queue->thread);
  release (queue);
  return n;
}

/* ---- reports; the thread's, without the lock ------------------------------------------------------------------- */

static void
report (GstVigPublishQueue *queue, GstVigPublishReport *report)
{
  g_autoptr (GstElement) owner = g_weak_ref_get (&queue->owner);
  gst_vig_publish_queue_get_counts (queue, &report->counts);
  if (owner)
    queue->reporter (owner, report);
}

/* Takes @error. */
static void
report_failure (GstVigPublishQueue *queue, GError *error)
{
  const guint kind = 1u << error->code;
  GstVigPublishReport r = { .what = GST_VIG_PUBLISH_DISCONNECTED, .error = error, .first = !(queue->told & kind) };
  report (queue, &r);
  queue->told |= kind;
  g_error_free (error);
}

static void
report_drops (GstVigPublishQueue *queue)
{
  GstVigPublishCounts counts;
  const gint64 now = g_get_monotonic_time ();
  gst_vig_publish_queue_get_counts (queue, &counts);
  if (counts.dropped == queue->dropped_told || now < queue->drops_at)
    return;
  GstVigPublishReport r = { .what = GST_VIG_PUBLISH_DROPPED, .first = !queue->drops_told };
  queue->drops_told = TRUE;
  queue->dropped_told = counts.dropped;
  queue->drops_at = now + REPORT_EVERY;
  report (queue, &r);
}

/* ---- the connection; the thread's, without the lock ------------------------------------------------------------- */

/* When to try again. */
static void
put_off (GstVigPublishQueue *queue, GstVigPublishError why)
{
  g_mutex_lock (&queue->lock);
  queue->failing = TRUE;
  queue->over |= why == GST_VIG_PUBLISH_ERROR_OVER;
  if (why == GST_VIG_PUBLISH_ERROR_REFUSED)
    queue->delay = queue->limits.max_delay;
  /* not all of those that one broker has lost at the same moment */
  queue->retry_at = g_get_monotonic_time () + (gint64) (queue->delay / GST_USECOND * g_random_double_range (0.8, 1));
  queue->delay = MIN (queue->delay * 2, queue->limits.max_delay);
  g_cond_broadcast (&queue->changed);
  g_mutex_unlock (&queue->lock);
}

/* Takes @error. */
static void
lose (GstVigPublishQueue *queue, GError *error)
{
  if (queue->up)
    queue->sink->class->disconnect (queue->sink);
  queue->up = FALSE;
  g_mutex_lock (&queue->lock);
  queue->counts.connected = FALSE;
  queue->next = queue->entries.head;
  queue->n_sent = 0;
  g_mutex_unlock (&queue->lock);
  put_off (queue, error->code);
  report_failure (queue, error);
}

static void
try_to_connect (GstVigPublishQueue *queue)
{
  GError *error = NULL;
  queue->up = TRUE;
  if (!queue->sink->class->connect (queue->sink, queue->cancellable, &error))
    lose (queue, error);
}

void
gst_vig_publish_queue_connected (GstVigPublishQueue *queue)
{
  g_mutex_lock (&queue->lock);
  gboolean news = !queue->counts.connected;
  queue->counts.connected = TRUE;
  queue->failing = FALSE;
  if (news && queue->n_connections++ > 0)
    queue->counts.reconnects++;
  g_mutex_unlock (&queue->lock);
  if (!news)
    return;
  GstVigPublishReport r = { .what = GST_VIG_PUBLISH_CONNECTED };
  report (queue, &r);
}

int
gst_vig_publish_queue_get_wake_fd (GstVigPublishQueue *queue)
{
  return queue->wake_fd;
}

/* ---- sending; the thread's ------------------------------------------------------------------------------------- */

/* Under the lock. The event with that number, of those that were sent. */
static Entry *
find_sent (GstVigPublishQueue *queue, guint64 number)
{
  GList *link = queue->entries.head;
  for (guint i = 0; i < queue->n_sent; i++, link = link->next)
    if (((Entry *) link->data)->event->number == number)
      return link->data;
  return NULL;
}

static void
settle (GstVigPublishQueue *queue, guint64 number, guint64 *count)
{
  g_mutex_lock (&queue->lock);
  queue->delay = queue->limits.delay; /* it works */
  Entry *entry = find_sent (queue, number);
  if (entry && !entry->delivered) {
    entry->delivered = TRUE;
    (*count)++;
    pop_delivered (queue);
  }
  g_mutex_unlock (&queue->lock);
}

void
gst_vig_publish_queue_delivered (GstVigPublishQueue *queue, guint64 number)
{
  settle (queue, number, &queue->counts.published);
  queue->told = 0; /* a connection alone does not show that what it is for works */
  queue->drops_told = FALSE;
}

void
gst_vig_publish_queue_undeliverable (GstVigPublishQueue *queue, guint64 number, const GError *error)
{
  settle (queue, number, &queue->counts.dropped);
  if (!(queue->told & 1u << error->code)) /* those that follow are told with other drops */
    report_failure (queue, g_error_copy (error));
}

/* The next that is to be sent, which counts as sent from now on. (transfer full) (nullable) */
static GstVigPublishEvent *
take_next (GstVigPublishQueue *queue)
{
  GstVigPublishEvent *event = NULL;
  g_mutex_lock (&queue->lock);
  for (; queue->next && queue->n_sent < queue->sink->class->window && !event; queue->next = queue->next->next) {
    const Entry *entry = queue->next->data;
    if (!entry->delivered) /* though an earlier one was not */
      event = gst_vig_publish_event_ref (entry->event);
    queue->n_sent++;
  }
  g_mutex_unlock (&queue->lock);
  return event;
}

/* Not taken: it counts as not sent. */
static void
put_back (GstVigPublishQueue *queue, const GstVigPublishEvent *event)
{
  g_mutex_lock (&queue->lock);
  if (find_sent (queue, event->number)) { /* unless all were dropped meanwhile */
    queue->next = queue->next ? queue->next->prev : queue->entries.tail;
    queue->n_sent--;
  }
  g_mutex_unlock (&queue->lock);
}

/* FALSE: no more for now. */
static gboolean
send_event (GstVigPublishQueue *queue, GstVigPublishEvent *event)
{
  GError *error = NULL;
  switch (queue->sink->class->send (queue->sink, event, &error)) {
    case GST_VIG_PUBLISH_DONE:
      gst_vig_publish_queue_delivered (queue, event->number);
      return TRUE;
    case GST_VIG_PUBLISH_SENT:
      return TRUE;
    case GST_VIG_PUBLISH_BUSY:
      put_back (queue, event);
      return FALSE;
    case GST_VIG_PUBLISH_FAILED:
      break;
  }
  if (error->code == GST_VIG_PUBLISH_ERROR_EVENT) {
    gst_vig_publish_queue_undeliverable (queue, event->number, error);
    g_error_free (error);
    return TRUE;
  }
  lose (queue, error);
  return FALSE;
}

static void
send_waiting (GstVigPublishQueue *queue)
{
  GstVigPublishEvent *event;
  gboolean more = TRUE;
  while (more && queue->up && queue->counts.connected && (event = take_next (queue))) {
    more = send_event (queue, event);
    gst_vig_publish_event_unref (event);
  }
}

/* ---- the thread ------------------------------------------------------------------------------------------------ */

static int
milliseconds_until (gint64 at)
{
  if (at == G_MAXINT64)
    return -1;
  return (int) CLAMP ((at - g_get_monotonic_time () + 999) / 1000, 0, 3600 * 1000);
}

static void
wait_for_something (GstVigPublishQueue *queue)
{
  GPollFD fds[2] = { { .fd = queue->wake_fd, .events = G_IO_IN }, { .fd = -1 } };
  gint64 at = G_MAXINT64;
  guint64 n;
  g_mutex_lock (&queue->lock);
  if (!queue->up && !queue->over)
    at = queue->retry_at;
  if (queue->counts.dropped != queue->dropped_told)
    at = MIN (at, queue->drops_at);
  g_mutex_unlock (&queue->lock);
  if (queue->up && queue->sink->class->poll)
    queue->sink->class->poll (queue->sink, &fds[1], &at);
  g_poll (fds, fds[1].fd >= 0 ? 2 : 1, milliseconds_until (at));
  while (read (queue->wake_fd, &n, sizeof n) > 0)
    ;
}

static gboolean
is_time_to_connect (GstVigPublishQueue *queue)
{
  g_mutex_lock (&queue->lock);
  gboolean is = !queue->up && !queue->over && g_get_monotonic_time () >= queue->retry_at;
  g_mutex_unlock (&queue->lock);
  return is;
}

static gboolean
goes_on (GstVigPublishQueue *queue)
{
  g_mutex_lock (&queue->lock);
  gboolean on = !queue->stop;
  g_mutex_unlock (&queue->lock);
  return on;
}

static void
serve (GstVigPublishQueue *queue)
{
  GError *error = NULL;
  if (queue->up && queue->sink->class->serve && !queue->sink->class->serve (queue->sink, &error))
    lose (queue, error);
}

/* Who has closed the other end of a pipe is an error here, not the end of the process. */
static void
ignore_broken_pipes (void)
{
  sigset_t signals;
  sigemptyset (&signals);
  sigaddset (&signals, SIGPIPE);
  pthread_sigmask (SIG_BLOCK, &signals, NULL);
}

static gpointer
run (gpointer data)
{
  GstVigPublishQueue *queue = data;
  ignore_broken_pipes ();
  while (goes_on (queue)) {
    if (is_time_to_connect (queue))
      try_to_connect (queue);
    serve (queue);
    send_waiting (queue);
    report_drops (queue);
    wait_for_something (queue);
  }
  if (queue->up)
    queue->sink->class->disconnect (queue->sink);
  queue->sink->class->free (queue->sink);
  g_mutex_lock (&queue->lock);
  queue->ended = TRUE;
  g_cond_broadcast (&queue->changed);
  g_mutex_unlock (&queue->lock);
  release (queue);
  return NULL;
}

GstVigPublishQueue *
gst_vig_publish_queue_new (const GstVigPublishLimits *limits, GstVigPublishSink *sink, GstElement *owner,
    GstVigPublishReporter reporter, GError **error)
{
  const int wake_fd = eventfd (0, EFD_CLOEXEC | EFD_NONBLOCK);
  if (wake_fd < 0) {
    g_set_error (error, GST_RESOURCE_ERROR, GST_RESOURCE_ERROR_FAILED, "No file descriptor to wake a thread with: %s.",
        g_strerror (errno));
    sink->class->free (sink);
    return NULL;
  }
  GstVigPublishQueue *queue = g_new0 (GstVigPublishQueue, 1);
  g_atomic_ref_count_init (&queue->references);
  g_atomic_ref_count_inc (&queue->references);
  queue->limits = *limits;
  queue->delay = limits->delay;
  queue->reporter = reporter;
  g_weak_ref_init (&queue->owner, owner);
  queue->cancellable = g_cancellable_new ();
  queue->wake_fd = wake_fd;
  g_mutex_init (&queue->lock);
  g_cond_init (&queue->changed);
  g_queue_init (&queue->entries);
  queue->sink = sink;
  sink->queue = queue;
  queue->thread = g_thread_new ("vigpublish", run, queue);
  return queue;
}
