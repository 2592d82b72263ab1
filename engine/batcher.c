/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * One lock guards everything but the requests of the batches that are being computed, which are their threads'; it
 * is never held during a computation. Requests are linked through themselves, so that a frame costs no allocation.
 * As many batches are computed at once as there are lanes, each by a thread of its own; what is free to be taken is taken by
 * whichever comes first. pthreads rather than GLib's locks: ThreadSanitizer knows them.
 */
#include "batcher.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>

#define AT_ONCE G_MININT64
#define NEVER G_MAXINT64
#define NO_PLACE G_MAXUINT
#define ANY_LANE G_MAXUINT

enum { IDLE, WAITING, RUNNING, READ, ANSWERED };

struct VigStream {
  VigBatcher *batcher;
  pthread_cond_t changed;  /* the phase of a request that was taken or answered */
  VigRequest *head, *tail; /* waiting, oldest first */
  guint running;           /* frames in batches that are being computed */
  gboolean expected;       /* a batch waits for its next frame, */
  guint lane;              /* of this lane, or ANY_LANE */
  gboolean hurried;        /* what waits starts at once */
};

/* A place in a batch that is being computed. */
typedef struct {
  VigStream *stream;
  VigRequest *request;
  gboolean calls; /* the request's done */
} Slot;

/* What somebody waits for to be done between batches. */
typedef struct Call {
  struct Call *next;
  void (*func) (gpointer data);
  gpointer data;
  gboolean done;
} Call;

/* Computes one batch after another. All but the calls are its thread's. */
typedef struct {
  VigBatcher *batcher;
  guint index;
  gpointer data; /* for the work */
  pthread_t thread;
  gboolean has_thread;
  Call *calls; /* under the lock */

  guint n_slots;
  Slot *slots;
  VigFrame *frames;
  VigMoment *moments;
  VigSeen *seen;
  guint *windows;
  VigMaps *maps;
  float *logits, *probabilities; /* [n_slots, classes] */
} Lane;

struct VigBatcher {
  VigBatcherWork work;
  pthread_mutex_t lock;
  pthread_cond_t changed; /* what the threads wait for */
  pthread_cond_t called;  /* and what those do whose calls they take */
  gboolean stop;
  GPtrArray *streams;
  guint n_waiting; /* in all streams */
  guint max_batch;
  gint64 delay;
  guint n_lanes;
  Lane *lanes;
};

static gint64
now (const VigBatcher *b)
{
  return b->work.now ? b->work.now (b->work.data) : g_get_monotonic_time ();
}

/* ---- when a batch starts, and what is in it; under the lock ---- */

/* The lane that a request must be in. */
static guint
get_lane (const VigBatcher *b, const VigRequest *request)
{
  return b->n_lanes > 1 && request->state ? b->work.lane (b->work.data, request) : ANY_LANE;
}

static gboolean
is_of (guint which, const Lane *lane)
{
  return which == ANY_LANE || which == lane->index;
}

/* Whether the stream has a frame that this lane may take now. */
static gboolean
has_for (const VigStream *s, const Lane *lane)
{
  return s->head && is_of (get_lane (lane->batcher, s->head), lane);
}

static gint64
start_time (const VigBatcher *b, const Lane *lane)
{
  gint64 oldest = NEVER;
  gboolean all_in = TRUE, hurried = FALSE;

  for (guint i = 0; b->n_waiting > 0 && i < b->streams->len; i++) {
    const VigStream *s = b->streams->pdata[i];
    if (has_for (s, lane)) {
      oldest = MIN (oldest, s->head->since);
      hurried |= s->hurried;
    } else if (!s->head && s->expected && is_of (s->lane, lane)) {
      all_in = FALSE;
    }
  }
  if (oldest == NEVER)
    return NEVER;
  return all_in || hurried || b->n_waiting >= b->max_batch ? AT_ONCE : oldest + b->delay;
}

/* A batch waited for these in vain: the next will not. */
static void
give_up_on_absent (VigBatcher *b)
{
  for (guint i = 0; i < b->streams->len; i++) {
    VigStream *s = b->streams->pdata[i];
    if (!s->head)
      s->expected = FALSE;
  }
}

/* @before: the one ahead of @request, or NULL */
static void
unlink_request (VigStream *s, VigRequest *before, VigRequest *request)
{
  if (before)
    before->next = request->next;
  else
    s->head = request->next;
  if (s->tail == request)
    s->tail = before;
  if (!s->head)
    s->hurried = FALSE;
  s->batcher->n_waiting--;
}

/* Of the stream whose oldest frame is the oldest of all that the lane may take; there is one. */
static guint
find_oldest (const VigBatcher *b, const Lane *lane)
{
  guint found = 0;
  gint64 since = NEVER;

  for (guint i = 0; i < b->streams->len; i++) {
    const VigStream *s = b->streams->pdata[i];
    if (has_for (s, lane) && s->head->since < since) {
      since = s->head->since;
      found = i;
    }
  }
  return found;
}

static void
reserve (Lane *lane)
{
  const VigBatcher *b = lane->batcher;

  if (lane->n_slots >= b->max_batch)
    return;
  lane->n_slots = b->max_batch;
  lane->slots = g_renew (Slot, lane->slots, lane->n_slots);
  lane->frames = g_renew (VigFrame, lane->frames, lane->n_slots);
  lane->moments = g_renew (VigMoment, lane->moments, lane->n_slots);
  lane->seen = g_renew (VigSeen, lane->seen, lane->n_slots);
  lane->windows = g_renew (guint, lane->windows, lane->n_slots);
  lane->maps = g_renew (VigMaps, lane->maps, lane->n_slots);
  lane->logits = g_renew (float, lane->logits, (gsize) lane->n_slots * b->work.n_classes);
  lane->probabilities = g_renew (float, lane->probabilities, (gsize) lane->n_slots * b->work.n_classes);
}

/* Whether the two may be in one batch. */
static gboolean
same_kind (const VigRequest *a, const VigRequest *b)
{
  return a->size == b->size && !a->state == !b->state;
}

/* Where among @n slots the request goes: behind the last of its state, as frames of one state lie side by side. NO_PLACE: it
 * is to wait for another batch. */
static guint
find_place (const Lane *lane, const VigRequest *request, guint n)
{
  for (guint i = n; request->state && i > 0; i--)
    if (lane->slots[i - 1].request->state == request->state)
      return lane->batcher->work.windows ? NO_PLACE : i;
  return n;
}

/* Into the slots: a frame of each stream in turn, from the one that has waited longest on, until no more fit. Frames of
 * another kind than the first stay for a later batch. */
static guint
take (VigBatcher *b, Lane *lane)
{
  guint first = find_oldest (b, lane), n_streams = b->streams->len, n = 0, place;
  const VigRequest *oldest = ((VigStream *) b->streams->pdata[first])->head;
  gboolean more = TRUE;

  reserve (lane);
  while (more) {
    more = FALSE;
    for (guint i = 0; i < n_streams && n < b->max_batch; i++) {
      VigStream *s = b->streams->pdata[(first + i) % n_streams];
      VigRequest *r = s->head;
      if (!has_for (s, lane) || !same_kind (r, oldest) || (place = find_place (lane, r, n)) == NO_PLACE)
        continue;
      unlink_request (s, NULL, r);
      r->phase = RUNNING;
      s->running++;
      memmove (&lane->slots[place + 1], &lane->slots[place], (n - place) * sizeof *lane->slots);
      lane->slots[place] = (Slot) { .stream = s, .request = r, .calls = r->done != NULL };
      n++;
      more = TRUE;
    }
  }
  return n;
}

/* Returns how many frames there are to compute now; else 0, and until when to wait. */
static guint
take_due (VigBatcher *b, Lane *lane, gint64 *until)
{
  *until = start_time (b, lane);
  if (*until == NEVER)
    return 0;
  if (*until > AT_ONCE) {
    if (now (b) < *until)
      return 0;
    give_up_on_absent (b);
  }
  return take (b, lane);
}

/* Of requests in the batch that is being computed; under the lock. */
static void
set_phase (Lane *lane, guint first, guint n, int phase)
{
  for (guint i = first; i < first + n; i++) {
    lane->slots[i].request->phase = phase;
    pthread_cond_broadcast (&lane->slots[i].stream->changed);
  }
}

/* ---- computing; without the lock ---- */

static void
pictures_read (gpointer data, guint first, guint n)
{
  Lane *lane = data;

  pthread_mutex_lock (&lane->batcher->lock);
  set_phase (lane, first, n, READ);
  pthread_mutex_unlock (&lane->batcher->lock);
}

/* What the requests in the slots ask for. */
static VigBatch
describe (Lane *lane, guint n, VigOutput *output)
{
  const VigRequest *first = lane->slots[0].request;

  for (guint i = 0; i < n; i++) {
    const VigRequest *r = lane->slots[i].request;
    lane->frames[i] = r->frame;
    lane->moments[i] = (VigMoment) { r->state, r->time };
    lane->windows[i] = r->window;
    lane->maps[i] = r->maps;
    if (r->maps.n > 0)
      output->maps = lane->maps;
    if (r->logits)
      output->logits = lane->logits;
    if (r->probabilities)
      output->probabilities = lane->probabilities; /* nothing wanted: warming up */
  }
  return (VigBatch) { .frames = lane->frames, .moments = first->state ? lane->moments : NULL, .windows = lane->windows,
    .seen = lane->seen, .n = n, .size = first->size };
}

/* To the request of slot @i. */
static void
deliver (const Lane *lane, guint i)
{
  const VigBatcherWork *work = &lane->batcher->work;
  const gsize classes = work->n_classes;
  VigRequest *r = lane->slots[i].request;
  const gboolean answered = !work->windows || !r->state || r->window > 0;

  if (answered && r->logits)
    memcpy (r->logits, lane->logits + i * classes, classes * sizeof (float));
  if (answered && r->probabilities)
    memcpy (r->probabilities, lane->probabilities + i * classes, classes * sizeof (float));
  r->first_time = r->state ? lane->seen[i].first : r->time;
  r->n_seen = r->state ? lane->seen[i].n : 1;
}

/* Requests that are refused go behind the others, with their errors; returns how many are left. */
static guint
prepare (Lane *lane, guint n)
{
  const VigBatcherWork *work = &lane->batcher->work;
  guint left = work->prepare ? 0 : n;

  for (guint i = left; i < n; i++) { /* those before left are taken, the refused up to i follow */
    const Slot slot = lane->slots[i];
    if (!work->prepare (lane->data, slot.request, &slot.request->error))
      continue;
    memmove (&lane->slots[left + 1], &lane->slots[left], (i - left) * sizeof slot);
    lane->slots[left++] = slot;
  }
  return left;
}

static void
compute (Lane *lane, guint n)
{
  const VigBatcher *b = lane->batcher;
  const guint left = prepare (lane, n);
  g_autoptr (GError) error = NULL;
  VigOutput output = { 0 };

  if (left > 0) {
    const VigBatch batch = describe (lane, left, &output);
    b->work.run (lane->data, &batch, &output, pictures_read, lane, &error);
  }
  const gint64 end = now (b);
  for (guint i = 0; i < n; i++) {
    VigRequest *r = lane->slots[i].request;
    r->batch = left;
    r->latency_us = end - r->since;
    r->preprocess_us = output.preprocess_us;
    r->inference_us = output.inference_us;
    if (i < left && error)
      r->error = g_error_copy (error);
    else if (i < left)
      deliver (lane, i);
  }
}

/* With the lock, which is let go of while those are called that want to be: before a stream may be freed, but after its
 * last look at the request, which may be anything from then on. */
static void
answer (VigBatcher *b, Lane *lane, guint n)
{
  set_phase (lane, 0, n, ANSWERED);
  pthread_mutex_unlock (&b->lock);
  for (guint i = 0; i < n; i++)
    if (lane->slots[i].calls)
      lane->slots[i].request->done (lane->slots[i].request, lane->slots[i].request->user_data);
  pthread_mutex_lock (&b->lock);
  for (guint i = 0; i < n; i++) {
    VigStream *s = lane->slots[i].stream;
    s->running--;
    pthread_cond_broadcast (&s->changed);
  }
}

/* With the lock, which is let go of meanwhile. */
static void
take_calls (VigBatcher *b, Lane *lane)
{
  while (lane->calls) {
    Call *call = lane->calls;
    lane->calls = call->next;
    pthread_mutex_unlock (&b->lock);
    call->func (call->data);
    pthread_mutex_lock (&b->lock);
    call->done = TRUE;
    pthread_cond_broadcast (&b->called);
  }
}

/* With the lock, which is let go of meanwhile. */
static gboolean
step (VigBatcher *b, Lane *lane, gint64 *until)
{
  take_calls (b, lane);
  guint n = take_due (b, lane, until);

  if (n == 0)
    return FALSE;
  pthread_mutex_unlock (&b->lock);
  compute (lane, n);
  pthread_mutex_lock (&b->lock);
  answer (b, lane, n);
  return TRUE;
}

gboolean
vig_batcher_step (VigBatcher *b, guint lane)
{
  gint64 until;

  pthread_mutex_lock (&b->lock);
  gboolean done = step (b, &b->lanes[lane], &until);
  pthread_mutex_unlock (&b->lock);
  return done;
}

static void
wait_until (VigBatcher *b, gint64 until)
{
  const struct timespec time = { .tv_sec = until / G_USEC_PER_SEC, .tv_nsec = until % G_USEC_PER_SEC * 1000 };

  if (until == NEVER || b->work.now)
    pthread_cond_wait (&b->changed, &b->lock);
  else
    pthread_cond_timedwait (&b->changed, &b->lock, &time);
}

static void *
run (void *data)
{
  Lane *lane = data;
  VigBatcher *b = lane->batcher;
  gint64 until;

  pthread_mutex_lock (&b->lock);
  while (!b->stop)
    if (!step (b, lane, &until))
      wait_until (b, until);
  pthread_mutex_unlock (&b->lock);
  return NULL;
}

/* ---- the batcher ---- */

VigBatcher *
vig_batcher_new (const VigBatcherWork *work, guint max_batch, gint64 delay)
{
  VigBatcher *b = g_new0 (VigBatcher, 1);
  pthread_condattr_t monotonic;

  *b = (VigBatcher) { .work = *work, .streams = g_ptr_array_new (), .max_batch = max_batch, .delay = delay,
    .n_lanes = MAX (work->n_lanes, 1) };
  b->lanes = g_new0 (Lane, b->n_lanes);
  for (guint i = 0; i < b->n_lanes; i++)
    b->lanes[i] = (Lane) { .batcher = b, .index = i, .data = work->n_lanes ? work->lanes[i] : work->data };
  pthread_mutex_init (&b->lock, NULL);
  pthread_condattr_init (&monotonic);
  pthread_condattr_setclock (&monotonic, CLOCK_MONOTONIC);
  pthread_cond_init (&b->changed, &monotonic);
  pthread_cond_init (&b->called, NULL);
  pthread_condattr_destroy (&monotonic);
  return b;
}

gboolean
vig_batcher_start (VigBatcher *b, GError **error)
{
  for (guint i = 0; i < b->n_lanes; i++) {
    Lane *lane = &b->lanes[i];
    const int failure = pthread_create (&lane->thread, NULL, run, lane);
    if (failure) {
      g_set_error (error, VIG_ERROR, VIG_ERROR_FAILED, "batcher: expected a thread, found none: %s", g_strerror (failure));
      return FALSE;
    }
    pthread_setname_np (lane->thread, "vig-batcher");
    lane->has_thread = TRUE;
  }
  return TRUE;
}

static void
lane_clear (Lane *lane)
{
  g_free (lane->slots);
  g_free (lane->frames);
  g_free (lane->moments);
  g_free (lane->seen);
  g_free (lane->windows);
  g_free (lane->maps);
  g_free (lane->logits);
  g_free (lane->probabilities);
}

void
vig_batcher_free (VigBatcher *b)
{
  if (!b)
    return;
  g_assert (b->streams->len == 0);
  pthread_mutex_lock (&b->lock);
  b->stop = TRUE;
  pthread_cond_broadcast (&b->changed);
  pthread_mutex_unlock (&b->lock);
  for (guint i = 0; i < b->n_lanes; i++) {
    if (b->lanes[i].has_thread)
      pthread_join (b->lanes[i].thread, NULL);
    lane_clear (&b->lanes[i]);
  }
  pthread_cond_destroy (&b->changed);
  pthread_cond_destroy (&b->called);
  pthread_mutex_destroy (&b->lock);
  g_ptr_array_unref (b->streams);
  g_free (b->lanes);
  g_free (b);
}

void
vig_batcher_call (VigBatcher *b, guint lane, void (*func) (gpointer data), gpointer data)
{
  Call call = { .func = func, .data = data };
  Call **end = &b->lanes[lane].calls;

  if (!b->lanes[lane].has_thread) {
    func (data);
    return;
  }
  pthread_mutex_lock (&b->lock);
  while (*end)
    end = &(*end)->next;
  *end = &call;
  pthread_cond_broadcast (&b->changed);
  while (!call.done)
    pthread_cond_wait (&b->called, &b->lock);
  pthread_mutex_unlock (&b->lock);
}

void
vig_batcher_set_limits (VigBatcher *b, guint max_batch, gint64 delay)
{
  pthread_mutex_lock (&b->lock);
  b->max_batch = max_batch;
  b->delay = delay;
  pthread_cond_broadcast (&b->changed);
  pthread_mutex_unlock (&b->lock);
}

gint64
vig_batcher_get_delay (VigBatcher *b)
{
  pthread_mutex_lock (&b->lock);
  gint64 delay = b->delay;
  pthread_mutex_unlock (&b->lock);
  return delay;
}

void
vig_batcher_tick (VigBatcher *b)
{
  pthread_mutex_lock (&b->lock);
  pthread_cond_broadcast (&b->changed);
  pthread_mutex_unlock (&b->lock);
}

/* ---- streams ---- */

VigStream *
vig_batcher_add_stream (VigBatcher *b)
{
  VigStream *s = g_new0 (VigStream, 1);

  s->batcher = b;
  pthread_cond_init (&s->changed, NULL);
  pthread_mutex_lock (&b->lock);
  g_ptr_array_add (b->streams, s);
  pthread_mutex_unlock (&b->lock);
  return s;
}

/* What is wrong with one of them is said before any goes in. */
static gboolean
check_requests (VigBatcher *b, VigRequest *const *requests, guint n, GError **error)
{
  for (guint i = 0; i < n; i++) {
    VigRequest *r = requests[i];
    r->size = r->size ? r->size : b->work.size;
    r->error = NULL;
    r->next = NULL;
    if (!b->work.check (b->work.data, r, error))
      return FALSE;
  }
  return TRUE;
}

/* Under the lock. */
static void
append_request (VigStream *s, VigRequest *request, gint64 since)
{
  request->since = since;
  request->phase = WAITING;
  if (s->tail)
    s->tail->next = request;
  else
    s->head = request;
  s->tail = request;
  s->expected = !request->last;
  s->lane = get_lane (s->batcher, request);
  s->batcher->n_waiting++;
}

gboolean
vig_stream_submit_all (VigStream *s, VigRequest *const *requests, guint n, GError **error)
{
  VigBatcher *b = s->batcher;

  if (!check_requests (b, requests, n, error))
    return FALSE;
  pthread_mutex_lock (&b->lock);
  const gint64 since = now (b);
  for (guint i = 0; i < n; i++)
    append_request (s, requests[i], since);
  pthread_cond_broadcast (&b->changed);
  pthread_mutex_unlock (&b->lock);
  return TRUE;
}

gboolean
vig_stream_submit (VigStream *stream, VigRequest *request, GError **error)
{
  return vig_stream_submit_all (stream, &request, 1, error);
}

static void
wait_for (VigStream *s, const VigRequest *request, int phase)
{
  pthread_mutex_lock (&s->batcher->lock);
  while (request->phase != IDLE && request->phase < phase)
    pthread_cond_wait (&s->changed, &s->batcher->lock);
  pthread_mutex_unlock (&s->batcher->lock);
}

void
vig_stream_wait (VigStream *s, VigRequest *request)
{
  wait_for (s, request, ANSWERED);
}

void
vig_stream_wait_read (VigStream *s, VigRequest *request)
{
  wait_for (s, request, READ);
}

/* Under the lock. */
static guint
cancel (VigStream *s, const VigRequest *which)
{
  VigRequest *before = NULL, *next;
  guint n = 0;

  for (VigRequest *r = s->head; r; r = next) {
    next = r->next;
    if (which && r != which) {
      before = r;
      continue;
    }
    unlink_request (s, before, r);
    r->phase = ANSWERED;
    r->error = g_error_new_literal (VIG_ERROR, VIG_ERROR_CANCELLED, "frame: expected a result, found it cancelled");
    n++;
  }
  if (!s->head)
    s->expected = FALSE;
  pthread_cond_broadcast (&s->changed);
  pthread_cond_broadcast (&s->batcher->changed);
  return n;
}

guint
vig_stream_cancel (VigStream *s, VigRequest *request)
{
  pthread_mutex_lock (&s->batcher->lock);
  guint n = cancel (s, request);
  pthread_mutex_unlock (&s->batcher->lock);
  return n;
}

void
vig_stream_hurry (VigStream *s)
{
  pthread_mutex_lock (&s->batcher->lock);
  s->hurried = s->head != NULL;
  s->expected = FALSE;
  pthread_cond_broadcast (&s->batcher->changed);
  pthread_mutex_unlock (&s->batcher->lock);
}

void
vig_stream_free (VigStream *s)
{
  if (!s)
    return;
  VigBatcher *b = s->batcher;
  pthread_mutex_lock (&b->lock);
  cancel (s, NULL);
  while (s->running > 0)
    pthread_cond_wait (&s->changed, &b->lock);
  g_ptr_array_remove (b->streams, s);
  pthread_mutex_unlock (&b->lock);
  pthread_cond_destroy (&s->changed);
  g_free (s);
}
