/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The batcher over work of the test's own and a clock that stands until the test moves it: what starts when, what is in
 * it, who gets which answer. Then with threads, where ThreadSanitizer looks on if it was built in (tests/engine/tsan.sh);
 * VIG_PLANT_RACE=1 plants a race for it to find: pictures are written to before their frames are answered.
 */
#include <batcher.h>

#include <pthread.h>
#include <string.h>

#define DELAY 1000
#define CLASSES 2

/* ---- the work ---- */

/* A result is the picture's byte and its frame's number. */
typedef struct {
  gint64 time;        /* with @clock; the clock's lock is that of the test */
  pthread_mutex_t clock;
  GString *batches;   /* "1.0 2.0 | " for frame 0 of stream 1 with frame 0 of stream 2 */
  guint n_batches, n_frames, largest;
  gboolean fail, anything_wanted;
  guint refused;      /* the streams, as bits, that get nothing of what they need */
  struct Stops *stops; /* NULL: goes through */
} Work;

/* Where a batch stops until the test lets it go on. */
typedef struct Stops {
  pthread_mutex_t lock;
  pthread_cond_t changed;
  int reached, open; /* 1: taken; 2: the first picture read; 3: all of them */
} Stops;

static void
reach (Work *work, int stop)
{
  Stops *s = work->stops;

  if (!s)
    return;
  pthread_mutex_lock (&s->lock);
  s->reached = stop;
  pthread_cond_broadcast (&s->changed);
  while (s->open < stop)
    pthread_cond_wait (&s->changed, &s->lock);
  pthread_mutex_unlock (&s->lock);
}

static void
open_stop (Stops *s, int stop)
{
  pthread_mutex_lock (&s->lock);
  s->open = stop;
  pthread_cond_broadcast (&s->changed);
  pthread_mutex_unlock (&s->lock);
}

static void
wait_for_stop (Stops *s, int stop)
{
  pthread_mutex_lock (&s->lock);
  while (s->reached < stop)
    pthread_cond_wait (&s->changed, &s->lock);
  pthread_mutex_unlock (&s->lock);
}

/* frame.crop_x is the stream's number, crop_y the frame's */
static gboolean
check (gpointer data, const VigRequest *request, GError **error)
{
  if (request->frame.width > 0)
    return TRUE;
  g_set_error (error, VIG_ERROR, VIG_ERROR_ARGUMENT, "width: expected more than 0, found %d", request->frame.width);
  return FALSE;
}

static gboolean
prepare (gpointer data, const VigRequest *request, GError **error)
{
  const Work *work = data;
  if (!(work->refused >> request->frame.crop_x & 1))
    return TRUE;
  g_set_error (error, VIG_ERROR, VIG_ERROR_NO_MEMORY, "state: no memory");
  return FALSE;
}

/* What stands for a VigState, which the batcher does not look into. */
typedef struct {
  gint64 last;
  guint n;
  guint batch; /* the last that it was in */
} Memory;

/* Frames of one state lie side by side, in order. */
static void
remember (Work *work, const VigBatch *batch)
{
  for (guint i = 0; batch->moments && i < batch->n; i++) {
    Memory *m = (Memory *) batch->moments[i].state;
    g_assert_nonnull (m);
    g_assert_true (m->batch != work->n_batches || batch->moments[i - 1].state == batch->moments[i].state);
    g_assert_cmpint (batch->moments[i].time, >, m->last);
    *m = (Memory) { .last = batch->moments[i].time, .n = m->n + 1, .batch = work->n_batches };
    batch->seen[i] = (VigSeen) { .first = batch->windows[i], .n = m->n };
  }
}

static gboolean
run (gpointer data, const VigBatch *batch, VigOutput *output, VigReadFunc read, gpointer read_data, GError **error)
{
  Work *work = data;
  const VigFrame *frames = batch->frames;
  const guint n = batch->n;

  work->n_batches++;
  work->n_frames += n;
  work->largest = MAX (work->largest, n);
  remember (work, batch);
  work->anything_wanted = output->probabilities || output->logits;
  reach (work, 1);
  for (guint i = 0; i < n; i++) {
    if (output->probabilities)
      output->probabilities[i * CLASSES] = frames[i].data[0][0];
    read (read_data, i, 1);
    reach (work, i == 0 ? 2 : 3);
  }
  for (guint i = 0; i < n; i++) {
    if (work->batches)
      g_string_append_printf (work->batches, "%d.%d ", frames[i].crop_x, frames[i].crop_y);
    if (output->probabilities)
      output->probabilities[i * CLASSES + 1] = (float) frames[i].crop_y;
    for (guint c = 0; output->logits && c < CLASSES; c++)
      output->logits[i * CLASSES + c] = -(float) frames[i].data[0][0] - (float) c;
  }
  if (work->batches)
    g_string_append (work->batches, "| ");
  if (work->fail)
    g_set_error (error, VIG_ERROR, VIG_ERROR_FAILED, "device test: the computation failed");
  return !work->fail;
}

static gint64
now (gpointer data)
{
  Work *work = data;

  pthread_mutex_lock (&work->clock);
  gint64 time = work->time;
  pthread_mutex_unlock (&work->clock);
  return time;
}

static void
advance (Work *work, gint64 by)
{
  pthread_mutex_lock (&work->clock);
  work->time += by;
  pthread_mutex_unlock (&work->clock);
}

/* ---- a test's things ---- */

#define N_STREAMS 16
#define N_REQUESTS 64 /* of a stream */

typedef struct {
  Work work;
  VigBatcher *batcher;
  VigStream *streams[N_STREAMS];
  VigRequest requests[N_STREAMS][N_REQUESTS];
  guint8 pixels[N_STREAMS][N_REQUESTS];
  float results[N_STREAMS][N_REQUESTS][CLASSES];
  guint n_submitted[N_STREAMS];
} Fixture;

static Fixture *
fixture_new_for (guint n_streams, guint max_batch, gboolean windows)
{
  Fixture *f = g_new0 (Fixture, 1);
  const VigBatcherWork work = { .check = check, .prepare = prepare, .run = run, .now = now, .data = &f->work,
    .windows = windows, .n_classes = CLASSES, .size = 224 };

  pthread_mutex_init (&f->work.clock, NULL);
  f->work.batches = g_string_new (NULL);
  f->batcher = vig_batcher_new (&work, max_batch, DELAY);
  for (guint i = 0; i < n_streams; i++)
    f->streams[i] = vig_batcher_add_stream (f->batcher);
  return f;
}

static Fixture *
fixture_new (guint n_streams, guint max_batch)
{
  return fixture_new_for (n_streams, max_batch, FALSE);
}

static void
fixture_free (Fixture *f)
{
  for (guint s = 0; s < N_STREAMS; s++) {
    vig_stream_free (f->streams[s]);
    for (guint i = 0; i < N_REQUESTS; i++)
      g_clear_error (&f->requests[s][i].error);
  }
  vig_batcher_free (f->batcher);
  pthread_mutex_destroy (&f->work.clock);
  g_string_free (f->work.batches, TRUE);
  g_free (f);
}

static VigRequest *
submit_of_size (Fixture *f, guint stream, guint size)
{
  guint i = f->n_submitted[stream]++;
  VigRequest *r = &f->requests[stream][i];
  GError *error = NULL;

  f->pixels[stream][i] = (guint8) (stream * 16 + i);
  r->frame = (VigFrame) { .width = 1, .height = 1, .crop_x = (int) stream, .crop_y = (int) i,
    .data = { &f->pixels[stream][i] } };
  r->size = size;
  r->probabilities = f->results[stream][i];
  vig_stream_submit (f->streams[stream], r, &error);
  g_assert_no_error (error);
  return r;
}

static VigRequest *
submit (Fixture *f, guint stream)
{
  return submit_of_size (f, stream, 0);
}

static void
expect_nothing (Fixture *f)
{
  g_assert_false (vig_batcher_step (f->batcher, 0));
  g_assert_cmpstr (f->work.batches->str, ==, "");
}

/* The batches that start without time passing. */
static void
expect (Fixture *f, const char *batches)
{
  while (vig_batcher_step (f->batcher, 0))
    ;
  g_assert_cmpstr (f->work.batches->str, ==, batches);
  g_string_truncate (f->work.batches, 0);
}

/* Every stream has been seen, and the next batch waits for all. */
static void
begin (Fixture *f, guint n_streams)
{
  for (guint i = 0; i < n_streams; i++)
    submit (f, i);
  while (vig_batcher_step (f->batcher, 0))
    ;
  g_string_truncate (f->work.batches, 0);
}

static void
expect_answer (Fixture *f, guint stream, guint frame, guint batch)
{
  VigRequest *r = &f->requests[stream][frame];

  vig_stream_wait (f->streams[stream], r);
  g_assert_no_error (r->error);
  g_assert_cmpuint (r->batch, ==, batch);
  g_assert_cmpfloat (r->probabilities[0], ==, stream * 16 + frame);
  g_assert_cmpfloat (r->probabilities[1], ==, frame);
}

/* ---- when ---- */

static void
test_alone (void)
{
  Fixture *f = fixture_new (3, 8);
  expect_nothing (f);
  submit (f, 1); /* the others have never said a word */
  expect (f, "1.0 | ");
  expect_answer (f, 1, 0, 1);
  expect_nothing (f);
  fixture_free (f);
}

static void
test_all_in (void)
{
  Fixture *f = fixture_new (3, 8);
  begin (f, 3);
  submit (f, 2);
  expect_nothing (f);
  submit (f, 0);
  submit (f, 0);
  expect_nothing (f);
  submit (f, 1);
  expect (f, "0.1 1.1 2.1 0.2 | "); /* all at one time: from the first stream on */
  expect_answer (f, 0, 1, 4);
  expect_answer (f, 0, 2, 4);
  expect_answer (f, 2, 1, 4);
  fixture_free (f);
}

static void
test_full (void)
{
  Fixture *f = fixture_new (2, 4);
  begin (f, 2);
  for (int i = 0; i < 3; i++)
    submit (f, 0);
  expect_nothing (f);
  submit (f, 0);
  expect (f, "0.1 0.2 0.3 0.4 | ");
  submit (f, 0);
  expect_nothing (f); /* a full batch has not waited for the other: it is still expected */
  fixture_free (f);
}

static void
test_delay (void)
{
  Fixture *f = fixture_new (3, 8);
  begin (f, 3);
  submit (f, 0);
  advance (&f->work, DELAY / 2);
  submit (f, 1);
  expect_nothing (f);
  advance (&f->work, DELAY / 2 - 1);
  expect_nothing (f);
  advance (&f->work, 1);
  expect (f, "0.1 1.1 | ");
  g_assert_cmpint (f->requests[0][1].latency_us, ==, DELAY);
  g_assert_cmpint (f->requests[1][1].latency_us, ==, DELAY / 2);
  submit (f, 0);
  submit (f, 1);
  expect (f, "0.2 1.2 | "); /* the third is not waited for again… */
  submit (f, 2);
  expect_nothing (f); /* …until it is back; the two others are there */
  submit (f, 1);
  submit (f, 0);
  expect (f, "0.3 1.3 2.1 | ");
  submit (f, 0);
  submit (f, 1);
  expect_nothing (f);
  fixture_free (f);
}

static void
test_hurry (void)
{
  Fixture *f = fixture_new (3, 8);
  begin (f, 3);
  submit (f, 1);
  submit (f, 1);
  expect_nothing (f);
  vig_stream_hurry (f->streams[1]);
  expect (f, "1.1 1.2 | ");
  submit (f, 0);
  submit (f, 2);
  expect (f, "0.1 2.1 | "); /* who has hurried is not waited for */
  submit (f, 0);
  expect_nothing (f);
  vig_stream_hurry (f->streams[2]); /* nothing to start, but nothing to wait for either */
  expect (f, "0.2 | ");
  submit (f, 1);
  expect_nothing (f); /* the hurry of before is over */
  fixture_free (f);
}

/* A frame after which none is to follow soon is a frame as any other, but its stream is not waited for. */
static void
test_last (void)
{
  Fixture *f = fixture_new (2, 8);
  begin (f, 2);
  submit (f, 0);
  f->requests[1][1].last = TRUE;
  submit (f, 1);
  expect (f, "0.1 1.1 | ");
  submit (f, 0);
  expect (f, "0.2 | ");
  submit (f, 1); /* it waits for the others itself, */
  expect_nothing (f);
  submit (f, 0);
  expect (f, "0.3 1.2 | ");
  submit (f, 0);
  expect_nothing (f); /* and is expected as it did not say so again */
  fixture_free (f);
}

/* More than a batch of them: all of them start. */
static void
test_hurry_much (void)
{
  Fixture *f = fixture_new (2, 4);
  begin (f, 2);
  for (int i = 0; i < 3; i++)
    submit (f, 0);
  vig_batcher_set_limits (f->batcher, 2, DELAY);
  vig_stream_hurry (f->streams[0]);
  expect (f, "0.1 0.2 | 0.3 | ");
  fixture_free (f);
}

static void
test_gone (void)
{
  Fixture *f = fixture_new (3, 8);
  begin (f, 3);
  submit (f, 0);
  submit (f, 1);
  expect_nothing (f);
  g_clear_pointer (&f->streams[2], vig_stream_free);
  expect (f, "0.1 1.1 | ");
  submit (f, 0);
  submit (f, 1);
  submit (f, 1);
  vig_stream_free (f->streams[1]); /* with frames waiting */
  f->streams[1] = NULL;
  expect (f, "0.2 | ");
  g_assert_error (f->requests[1][2].error, VIG_ERROR, VIG_ERROR_CANCELLED);
  fixture_free (f);
}

static void
test_limits (void)
{
  Fixture *f = fixture_new (2, 2);
  begin (f, 2);
  vig_batcher_set_limits (f->batcher, 6, 3 * DELAY);
  for (int i = 0; i < 5; i++)
    submit (f, 0);
  advance (&f->work, 3 * DELAY - 1);
  expect_nothing (f);
  submit (f, 0);
  expect (f, "0.1 0.2 0.3 0.4 0.5 0.6 | ");
  submit (f, 0);
  expect_nothing (f);
  vig_batcher_set_limits (f->batcher, 6, 0);
  expect (f, "0.7 | ");
  fixture_free (f);
}

/* ---- what ---- */

/* Sixteen streams with two frames each, batches of four: nobody's second before everybody's first. */
static void
test_fair (void)
{
  Fixture *f = fixture_new (N_STREAMS, 4);
  for (int i = 0; i < 2; i++)
    for (guint s = 0; s < N_STREAMS; s++) {
      submit (f, s);
      advance (&f->work, 1);
    }
  for (guint i = 0; i < 2 * N_STREAMS / 4; i++) {
    g_assert_true (vig_batcher_step (f->batcher, 0));
    for (guint s = 4 * i; s < 4 * i + 4; s++)
      expect_answer (f, s % N_STREAMS, s / N_STREAMS, 4);
  }
  fixture_free (f);
}

/* One has many frames waiting, and refills: the others get their share at once, and it gets what they leave. */
static void
test_greedy (void)
{
  Fixture *f = fixture_new (4, 4);
  for (int i = 0; i < 20; i++)
    submit (f, 0);
  for (int round = 0; round < 5; round++) {
    advance (&f->work, 1);
    for (guint s = 1; s < 4; s++)
      submit (f, s);
    submit (f, 0);
    g_assert_true (vig_batcher_step (f->batcher, 0));
    for (guint s = 0; s < 4; s++)
      expect_answer (f, s, (guint) round, 4);
  }
  fixture_free (f);
}

/* Frames of two sizes never meet, and neither kind starves. */
static void
test_sizes (void)
{
  Fixture *f = fixture_new (3, 4);
  submit_of_size (f, 0, 224);
  submit_of_size (f, 1, 64);
  submit_of_size (f, 2, 0);
  submit_of_size (f, 0, 64);
  submit_of_size (f, 0, 224);
  for (guint i = 0; i < 3; i++)
    vig_stream_hurry (f->streams[i]);
  expect (f, "0.0 2.0 | 0.1 1.0 | 0.2 | ");
  for (int i = 0; i < 8; i++) {
    submit_of_size (f, 0, 224);
    submit_of_size (f, 2, 224);
    if (i == 1)
      submit_of_size (f, 1, 64);
    advance (&f->work, 1);
  }
  expect (f, "0.3 2.1 0.4 2.2 | 1.1 | 0.5 2.3 0.6 2.4 | 0.7 2.5 0.8 2.6 | 0.9 2.7 0.10 2.8 | ");
  fixture_free (f);
}

static void
test_nothing_wanted (void)
{
  Fixture *f = fixture_new (1, 2);
  VigRequest r = { .frame = { .width = 1, .data = { f->pixels[0] } } };
  g_assert_true (vig_stream_submit (f->streams[0], &r, NULL));
  expect (f, "0.0 | ");
  g_assert_false (f->work.anything_wanted);
  submit (f, 0);
  g_assert_true (vig_stream_submit (f->streams[0], &r, NULL));
  expect (f, "0.0 0.0 | ");
  g_assert_true (f->work.anything_wanted);
  fixture_free (f);
}

/* Each gets what it wants, and what others want of the same batch is not written anywhere else. */
static void
test_logits (void)
{
  enum { N = 4 };
  Fixture *f = fixture_new (1, N);
  float logits[N][CLASSES], probabilities[N][CLASSES];
  VigRequest r[N] = { 0 };
  VigRequest *all[N];
  for (guint i = 0; i < N; i++) {
    f->pixels[0][i] = (guint8) (10 * i + 1);
    all[i] = &r[i];
    r[i].frame = (VigFrame) { .width = 1, .crop_y = (int) i, .data = { &f->pixels[0][i] } };
    r[i].logits = i & 1 ? logits[i] : NULL;
    r[i].probabilities = i & 2 ? probabilities[i] : NULL;
    for (guint c = 0; c < CLASSES; c++)
      logits[i][c] = probabilities[i][c] = 1000;
  }
  g_assert_true (vig_stream_submit_all (f->streams[0], all, N, NULL));
  expect (f, "0.0 0.1 0.2 0.3 | ");
  for (guint i = 0; i < N; i++) {
    float byte = 10.0f * (float) i + 1;
    g_assert_cmpfloat (logits[i][0], ==, i & 1 ? -byte : 1000);
    g_assert_cmpfloat (logits[i][1], ==, i & 1 ? -byte - 1 : 1000);
    g_assert_cmpfloat (probabilities[i][0], ==, i & 2 ? byte : 1000);
    g_assert_cmpfloat (probabilities[i][1], ==, i & 2 ? (float) i : 1000);
  }
  fixture_free (f);
}

/* ---- answers ---- */

static void
test_failure (void)
{
  Fixture *f = fixture_new (3, 8);
  begin (f, 3);
  f->work.fail = TRUE;
  for (guint s = 0; s < 3; s++)
    submit (f, s);
  expect (f, "0.1 1.1 2.1 | ");
  for (guint s = 0; s < 3; s++) {
    VigRequest *r = &f->requests[s][1];
    vig_stream_wait (f->streams[s], r);
    g_assert_error (r->error, VIG_ERROR, VIG_ERROR_FAILED);
    g_assert_cmpstr (r->error->message, ==, "device test: the computation failed");
    g_assert_cmpuint (r->batch, ==, 3);
  }
  f->work.fail = FALSE;
  for (guint s = 0; s < 3; s++)
    submit (f, s);
  expect (f, "0.2 1.2 2.2 | ");
  expect_answer (f, 2, 2, 3);
  fixture_free (f);
}

/* A frame that nobody could classify is refused, and the others of the batch do not hear of it. */
static void
expect_refusal (Fixture *f, guint stream, guint frame)
{
  VigRequest *r = &f->requests[stream][frame];
  vig_stream_wait (f->streams[stream], r);
  g_assert_error (r->error, VIG_ERROR, VIG_ERROR_NO_MEMORY);
  g_assert_cmpint (r->latency_us, ==, 0);
}

/* Who gets nothing of what it needs is refused alone; the others keep their order. */
static void
test_refused (void)
{
  Fixture *f = fixture_new (5, 8);
  begin (f, 5);
  f->work.refused = 1 << 0 | 1 << 2 | 1 << 3;
  for (guint s = 0; s < 5; s++)
    submit (f, s);
  expect (f, "1.1 4.1 | ");
  expect_refusal (f, 0, 1);
  expect_refusal (f, 2, 1);
  expect_refusal (f, 3, 1);
  expect_answer (f, 1, 1, 2);
  expect_answer (f, 4, 1, 2);
  f->work.refused = 0x1f;
  for (guint s = 0; s < 5; s++)
    submit (f, s);
  expect (f, ""); /* nobody is left */
  expect_refusal (f, 4, 2);
  fixture_free (f);
}

static void
test_bad_frame (void)
{
  Fixture *f = fixture_new (2, 8);
  begin (f, 2);
  submit (f, 0);
  VigRequest bad = { .frame = { .width = -3 } };
  GError *error = NULL;
  g_assert_false (vig_stream_submit (f->streams[1], &bad, &error));
  g_assert_error (error, VIG_ERROR, VIG_ERROR_ARGUMENT);
  g_assert_cmpstr (error->message, ==, "width: expected more than 0, found -3");
  g_clear_error (&error);
  vig_stream_wait (f->streams[1], &bad); /* was never submitted */
  expect_nothing (f);
  submit (f, 1);
  expect (f, "0.1 1.1 | ");
  expect_answer (f, 0, 1, 2);
  fixture_free (f);
}

/* Nothing goes in before one has been refused. */
static void
test_bad_part (void)
{
  Fixture *f = fixture_new (1, 8);
  VigRequest parts[3] = { { .frame = { .width = 1 } }, { .frame = { .width = 1 } }, { .frame = { .width = -3 } } };
  VigRequest *requests[] = { &parts[0], &parts[1], &parts[2] };
  GError *error = NULL;
  g_assert_false (vig_stream_submit_all (f->streams[0], requests, 3, &error));
  g_assert_error (error, VIG_ERROR, VIG_ERROR_ARGUMENT);
  g_clear_error (&error);
  expect_nothing (f);
  vig_stream_wait (f->streams[0], &parts[0]);
  fixture_free (f);
}

static void
test_cancel (void)
{
  Fixture *f = fixture_new (2, 8);
  begin (f, 2);
  for (int i = 0; i < 4; i++)
    submit (f, 0);
  g_assert_cmpuint (vig_stream_cancel (f->streams[0], &f->requests[0][4]), ==, 1); /* the last, */
  g_assert_cmpuint (vig_stream_cancel (f->streams[0], &f->requests[0][2]), ==, 1); /* one between, */
  g_assert_cmpuint (vig_stream_cancel (f->streams[0], &f->requests[0][0]), ==, 0); /* one that was answered */
  vig_stream_wait (f->streams[0], &f->requests[0][2]);
  g_assert_error (f->requests[0][2].error, VIG_ERROR, VIG_ERROR_CANCELLED);
  g_assert_error (f->requests[0][4].error, VIG_ERROR, VIG_ERROR_CANCELLED);
  g_assert_no_error (f->requests[0][0].error);
  submit (f, 0);
  submit (f, 1);
  expect (f, "0.1 1.1 0.3 0.5 | ");
  submit (f, 0);
  submit (f, 0);
  g_assert_cmpuint (vig_stream_cancel (f->streams[0], NULL), ==, 2);
  g_assert_error (f->requests[0][6].error, VIG_ERROR, VIG_ERROR_CANCELLED);
  g_assert_error (f->requests[0][7].error, VIG_ERROR, VIG_ERROR_CANCELLED);
  expect_nothing (f);
  submit (f, 1);
  expect (f, "1.2 | "); /* who has cancelled everything is not waited for */
  fixture_free (f);
}

static void
called (VigRequest *r, gpointer user_data)
{
  Fixture *f = user_data;
  g_assert_no_error (r->error);
  g_assert_cmpfloat (r->probabilities[0], ==, r->frame.data[0][0]);
  if (r->frame.crop_y < 3) {
    r->frame.crop_y++;
    g_assert_true (vig_stream_submit (f->streams[0], r, NULL));
  }
}

static void
test_called (void)
{
  Fixture *f = fixture_new (1, 2);
  VigRequest *r = &f->requests[0][0];
  r->frame = (VigFrame) { .width = 1, .data = { f->pixels[0] } };
  r->probabilities = f->results[0][0];
  r->done = called;
  r->user_data = f;
  g_assert_true (vig_stream_submit (f->streams[0], r, NULL));
  expect (f, "0.0 | 0.1 | 0.2 | 0.3 | ");
  fixture_free (f);
}

/* ---- pictures ---- */

typedef struct {
  Fixture *f;
  guint stream;
  gint done;
} Reading;

static void *
wait_read (void *data)
{
  Reading *r = data;

  vig_stream_wait_read (r->f->streams[r->stream], &r->f->requests[r->stream][0]);
  r->f->pixels[r->stream][0] = 99; /* nobody looks any more */
  __atomic_store_n (&r->done, 1, __ATOMIC_RELEASE);
  return NULL;
}

static gboolean
is_done (Reading *r)
{
  g_usleep (20000);
  return __atomic_load_n (&r->done, __ATOMIC_ACQUIRE);
}

/* Each picture is the caller's again as soon as it has been read, while its batch is yet to be computed; one that a
 * batch has taken is not cancelled, and its result comes. */
static void
test_read (void)
{
  Fixture *f = fixture_new (2, 2);
  Stops stops = { .reached = 0 };
  Reading readings[2] = { { .f = f, .stream = 0 }, { .f = f, .stream = 1 } };
  pthread_t threads[2];

  pthread_mutex_init (&stops.lock, NULL);
  pthread_cond_init (&stops.changed, NULL);
  f->work.stops = &stops;
  vig_stream_wait_read (f->streams[0], &f->requests[0][0]); /* was never submitted */
  submit (f, 0);
  submit (f, 1);
  for (int i = 0; i < 2; i++)
    pthread_create (&threads[i], NULL, wait_read, &readings[i]);
  g_assert_false (is_done (&readings[0])); /* waits for a batch to take it */
  g_assert_true (vig_batcher_start (f->batcher, NULL));
  wait_for_stop (&stops, 1);
  g_assert_cmpuint (vig_stream_cancel (f->streams[0], NULL), ==, 0);
  g_assert_false (is_done (&readings[0]));
  open_stop (&stops, 1);
  pthread_join (threads[0], NULL);
  g_assert_false (is_done (&readings[1]));
  g_assert_cmpuint (vig_stream_cancel (f->streams[0], NULL), ==, 0);
  open_stop (&stops, 2);
  pthread_join (threads[1], NULL);
  g_assert_false (vig_stream_cancel (f->streams[1], &f->requests[1][0]));
  open_stop (&stops, 3);
  expect_answer (f, 0, 0, 2);
  expect_answer (f, 1, 0, 2);
  vig_stream_wait_read (f->streams[0], &f->requests[0][0]); /* was answered */
  fixture_free (f);
  pthread_cond_destroy (&stops.changed);
  pthread_mutex_destroy (&stops.lock);
}

/* ---- streams with a state ---- */

static VigRequest *
submit_of (Fixture *f, guint stream, Memory *memory)
{
  VigRequest *r = &f->requests[stream][f->n_submitted[stream]];
  r->state = (VigState *) memory;
  r->time = f->n_submitted[stream] + 1;
  return submit (f, stream);
}

/* Frames of one state lie side by side, whichever were taken between them. */
static void
test_side_by_side (void)
{
  Fixture *f = fixture_new (2, 8);
  Memory a = { 0 }, b = { 0 }, c = { 0 };
  submit_of (f, 0, &a);
  submit_of (f, 0, &b);
  submit_of (f, 0, &a);
  submit_of (f, 0, &b);
  submit_of (f, 0, &a);
  submit_of (f, 1, &c);
  expect (f, "0.0 0.2 0.4 1.0 0.1 0.3 | ");
  const guint n_seen[] = { 1, 1, 2, 2, 3 };
  for (guint i = 0; i < G_N_ELEMENTS (n_seen); i++) {
    expect_answer (f, 0, i, 6);
    g_assert_cmpuint (f->requests[0][i].n_seen, ==, n_seen[i]);
  }
  fixture_free (f);
}

/* A state's frames are cut into batches wherever one is full; frames by themselves are in others. */
static void
test_batches_of_states (void)
{
  Fixture *f = fixture_new (3, 3);
  Memory a = { 0 }, b = { 0 };
  for (int i = 0; i < 4; i++)
    submit_of (f, 0, &a);
  submit_of (f, 1, &b);
  submit (f, 2);
  expect (f, "0.0 0.1 1.0 | 0.2 0.3 | ");
  vig_stream_hurry (f->streams[2]);
  expect (f, "2.0 | ");
  g_assert_cmpint (f->requests[2][0].n_seen, ==, 1);
  fixture_free (f);
}

/* Models that take windows have one frame of a state in a batch; what is only remembered has no results. */
static void
test_windows (void)
{
  Fixture *f = fixture_new_for (2, 8, TRUE);
  Memory a = { 0 }, b = { 0 };
  for (guint i = 0; i < 3; i++) {
    f->requests[0][i].window = i;
    f->results[0][i][0] = 1000;
    submit_of (f, 0, &a);
  }
  submit_of (f, 1, &b);
  vig_stream_hurry (f->streams[0]);
  expect (f, "0.0 1.0 | 0.1 | 0.2 | ");
  g_assert_cmpfloat (f->results[0][0][0], ==, 1000);
  g_assert_cmpfloat (f->results[0][1][0], ==, 1);
  g_assert_cmpint (f->requests[0][2].first_time, ==, 2); /* the window, as it was asked for */
  fixture_free (f);
}

typedef struct {
  Work *work;
  gint n_calls;
  guint n_batches;
} Called;

static void
count_call (gpointer data)
{
  Called *c = data;
  c->n_calls++;
  c->n_batches = c->work->n_batches; /* what is being computed is the thread's, as this is */
}

/* What is to be done between two batches. */
static void
test_call (void)
{
  Fixture *f = fixture_new (1, 1);
  Called c = { &f->work, 0, 0 };
  vig_batcher_call (f->batcher, 0, count_call, &c);
  g_assert_cmpint (c.n_calls, ==, 1);
  g_assert_true (vig_batcher_start (f->batcher, NULL));
  for (guint i = 0; i < N_REQUESTS; i++) {
    submit (f, 0);
    vig_batcher_call (f->batcher, 0, count_call, &c);
  }
  vig_stream_wait (f->streams[0], &f->requests[0][N_REQUESTS - 1]);
  vig_batcher_call (f->batcher, 0, count_call, &c);
  g_assert_cmpint (c.n_calls, ==, N_REQUESTS + 2);
  g_assert_cmpuint (c.n_batches, ==, N_REQUESTS);
  fixture_free (f);
}

/* ---- several batches at once ---- */

enum { LANES = 2 };

/* Frames of odd streams that have a state belong to the second lane. */
static guint
lane_of (gpointer data, const VigRequest *request)
{
  return (guint) request->frame.crop_x % LANES;
}

/* What is free goes to whichever lane asks first; what has a state to its own, which waits for nobody of the other's. */
static void
test_lanes (void)
{
  Fixture *f = g_new0 (Fixture, 1);
  gpointer lanes[LANES] = { &f->work, &f->work };
  const VigBatcherWork work = { .check = check, .run = run, .now = now, .lane = lane_of, .data = &f->work, .lanes = lanes,
    .n_lanes = LANES, .n_classes = CLASSES, .size = 224 };
  Memory a = { 0 }, b = { 0 };
  pthread_mutex_init (&f->work.clock, NULL);
  f->work.batches = g_string_new (NULL);
  f->batcher = vig_batcher_new (&work, 3, DELAY);
  for (guint i = 0; i < 4; i++)
    f->streams[i] = vig_batcher_add_stream (f->batcher);
  submit_of (f, 0, &a);
  submit_of (f, 0, &a);
  submit_of (f, 1, &b);
  g_assert_true (vig_batcher_step (f->batcher, 1));
  g_assert_false (vig_batcher_step (f->batcher, 1));
  g_assert_true (vig_batcher_step (f->batcher, 0));
  g_assert_cmpstr (f->work.batches->str, ==, "1.0 | 0.0 0.1 | ");
  submit_of (f, 1, &b); /* the first lane has nothing of stream 0, which the second does not wait for */
  g_assert_false (vig_batcher_step (f->batcher, 0));
  g_assert_true (vig_batcher_step (f->batcher, 1));
  for (guint i = 0; i < 5; i++)
    submit (f, 2);
  g_assert_true (vig_batcher_step (f->batcher, 1));
  g_assert_false (vig_batcher_step (f->batcher, 1)); /* two are left, and stream 1 may send more */
  advance (&f->work, DELAY);
  g_assert_true (vig_batcher_step (f->batcher, 0));
  g_assert_cmpstr (f->work.batches->str, ==, "1.0 | 0.0 0.1 | 1.1 | 2.0 2.1 2.2 | 2.3 2.4 | ");
  fixture_free (f);
}

/* A batch is computed while another stands still, and is answered before it. */
static void
test_at_once (void)
{
  Stops stops = { .reached = 0 };
  Work works[LANES] = { { .stops = &stops }, { .stops = &stops } };
  gpointer lanes[LANES] = { &works[0], &works[1] };
  const VigBatcherWork work = { .check = check, .run = run, .lane = lane_of, .data = works, .lanes = lanes, .n_lanes = LANES,
    .n_classes = CLASSES, .size = 224 };
  VigBatcher *batcher = vig_batcher_new (&work, 1, 0);
  guint8 picture = 1;
  VigStream *streams[LANES];
  VigRequest requests[LANES] = { 0 };
  Called c = { works, 0, 0 };

  pthread_mutex_init (&stops.lock, NULL);
  pthread_cond_init (&stops.changed, NULL);
  g_assert_true (vig_batcher_start (batcher, NULL));
  for (guint i = 0; i < LANES; i++) {
    streams[i] = vig_batcher_add_stream (batcher);
    requests[i].frame = (VigFrame) { .width = 1, .data = { &picture } };
  }
  g_assert_true (vig_stream_submit (streams[0], &requests[0], NULL));
  wait_for_stop (&stops, 1); /* one lane stands still: */
  const guint busy = works[1].n_batches, idle = 1 - busy;
  works[idle].stops = NULL;
  vig_batcher_call (batcher, idle, count_call, &c);
  g_assert_cmpint (c.n_calls, ==, 1);
  for (guint i = 0; i < 10; i++) {
    g_assert_true (vig_stream_submit (streams[1], &requests[1], NULL));
    vig_stream_wait (streams[1], &requests[1]);
  }
  g_assert_cmpuint (works[idle].n_batches, ==, 10);
  open_stop (&stops, 3);
  vig_stream_wait (streams[0], &requests[0]);
  g_assert_cmpuint (works[busy].n_batches, ==, 1);
  for (guint i = 0; i < LANES; i++)
    vig_stream_free (streams[i]);
  vig_batcher_free (batcher);
  pthread_cond_destroy (&stops.changed);
  pthread_mutex_destroy (&stops.lock);
}

/* ---- threads ---- */

#define N_FRAMES 150 /* of a stream */
#define IN_FLIGHT 4

typedef struct {
  VigBatcher *batcher;
  guint number;
  gboolean plant;
  guint n_answered, n_cancelled;
  Memory memory; /* of every third */
} Camera;

static void
take_answer (Camera *c, VigStream *stream, VigRequest *r, int number)
{
  vig_stream_wait (stream, r);
  if (r->error) {
    g_assert_error (r->error, VIG_ERROR, VIG_ERROR_CANCELLED);
    g_clear_error (&r->error);
    c->n_cancelled++;
    return;
  }
  g_assert_cmpfloat (r->probabilities[0], ==, (guint8) (c->number + number));
  g_assert_cmpfloat (r->probabilities[1], ==, number);
  c->n_answered++;
  if (r->state)
    g_assert_cmpuint (r->n_seen, ==, c->n_answered);
}

static void
nothing (gpointer data)
{
}

/* Several frames in flight, answers in order; pauses, flushes, comes and goes. */
static void *
camera (void *data)
{
  Camera *c = data;
  VigStream *stream = vig_batcher_add_stream (c->batcher);
  VigRequest requests[IN_FLIGHT] = { 0 };
  guint8 pictures[IN_FLIGHT];
  float results[IN_FLIGHT][CLASSES];
  guint random = c->number;

  for (int i = 0; i < N_FRAMES + IN_FLIGHT; i++) {
    VigRequest *r = &requests[i % IN_FLIGHT];
    if (i >= IN_FLIGHT)
      take_answer (c, stream, r, i - IN_FLIGHT);
    if (i >= N_FRAMES)
      continue;
    guint8 *picture = &pictures[i % IN_FLIGHT];
    *picture = (guint8) (c->number + (guint) i);
    r->frame = (VigFrame) { .width = 1, .crop_x = (int) c->number, .crop_y = i, .data = { picture } };
    r->size = c->number % 5 == 0 ? 64 : 0;
    r->state = c->number % 3 == 0 ? (VigState *) &c->memory : NULL;
    r->time = i + 1;
    r->probabilities = results[i % IN_FLIGHT];
    g_assert_true (vig_stream_submit (stream, r, NULL));
    for (int k = 0; c->plant && k < 20; k++) { /* before, while and after a batch reads it */
      *(volatile guint8 *) picture = (guint8) (c->number + (guint) i);
      g_usleep (5);
    }
    random = random * 1103515245 + 12345;
    switch (random >> 16 & 31) {
      case 5:
        vig_batcher_call (c->batcher, 0, nothing, NULL);
        break;
      case 3: /* its time is over: the picture is wanted elsewhere, the result may come later */
      case 4:
        if (vig_stream_cancel (stream, r) == 0) {
          vig_stream_wait_read (stream, r);
          *picture = 0;
        }
        break;
      case 0:
        vig_stream_hurry (stream);
        break;
      case 1:
        vig_stream_cancel (stream, NULL);
        break;
      case 2:
        vig_stream_cancel (stream, r);
        break;
      default:
        break;
    }
  }
  vig_stream_free (stream);
  return NULL;
}

typedef struct {
  Work *work;
  VigBatcher *batcher;
  gint stop;
} Ticker;

static void *
tick (void *data)
{
  Ticker *t = data;
  while (!__atomic_load_n (&t->stop, __ATOMIC_ACQUIRE)) {
    advance (t->work, DELAY / 4);
    vig_batcher_tick (t->batcher);
    g_usleep (50);
  }
  return NULL;
}

static void
run_threads (guint n_lanes)
{
  Work work = { .time = 0 }, beside = { .time = 0 };
  gpointer lanes[LANES] = { &work, &beside };
  const VigBatcherWork w = { .check = check, .run = run, .now = now, .lane = lane_of, .data = &work, .lanes = lanes,
    .n_lanes = n_lanes, .n_classes = CLASSES, .size = 224 };
  VigBatcher *batcher = vig_batcher_new (&w, 6, DELAY);
  Ticker ticker = { &work, batcher, 0 };
  Camera cameras[N_STREAMS];
  pthread_t threads[N_STREAMS], clock;
  VigStream *frozen = vig_batcher_add_stream (batcher);
  guint answered = 0;

  pthread_mutex_init (&work.clock, NULL);
  g_assert_true (vig_batcher_start (batcher, NULL));
  pthread_create (&clock, NULL, tick, &ticker);
  for (guint i = 0; i < N_STREAMS; i++) {
    cameras[i] = (Camera) { .batcher = batcher, .number = i, .plant = g_getenv ("VIG_PLANT_RACE") != NULL };
    pthread_create (&threads[i], NULL, camera, &cameras[i]);
  }
  for (guint i = 0; i < N_STREAMS; i++) {
    pthread_join (threads[i], NULL);
    g_assert_cmpuint (cameras[i].n_answered + cameras[i].n_cancelled, ==, N_FRAMES);
    g_assert_cmpuint (cameras[i].n_answered, >, 0);
    answered += cameras[i].n_answered;
  }
  __atomic_store_n (&ticker.stop, 1, __ATOMIC_RELEASE);
  pthread_join (clock, NULL);
  vig_stream_free (frozen);
  vig_batcher_free (batcher);
  g_assert_cmpuint (work.n_frames + beside.n_frames, ==, answered);
  g_assert_cmpuint (MAX (work.largest, beside.largest), <=, 6);
  g_assert_cmpuint (work.n_batches + beside.n_batches, <, answered); /* frames did meet */
  g_test_message ("%u frames in %u + %u batches", answered, work.n_batches, beside.n_batches);
  pthread_mutex_destroy (&work.clock);
}

static void
test_threads (void)
{
  run_threads (1);
}

static void
test_threads_and_lanes (void)
{
  run_threads (LANES);
}

/* By the real clock: one that has died is waited for once, and not for long. */
static void
test_clock (void)
{
  Work work = { .time = 0 };
  const VigBatcherWork w = { .check = check, .run = run, .data = &work, .n_classes = CLASSES, .size = 224 };
  const gint64 delay = 300 * 1000;
  VigBatcher *batcher = vig_batcher_new (&w, 6, delay);
  VigStream *dying = vig_batcher_add_stream (batcher), *alive = vig_batcher_add_stream (batcher);
  guint8 picture = 1;
  VigRequest r = { .frame = { .width = 1, .data = { &picture } } };

  g_assert_true (vig_batcher_start (batcher, NULL));
  g_assert_true (vig_stream_submit (dying, &r, NULL));
  vig_stream_wait (dying, &r);
  gint64 start = g_get_monotonic_time ();
  g_assert_true (vig_stream_submit (alive, &r, NULL));
  vig_stream_wait (alive, &r);
  g_assert_cmpint (g_get_monotonic_time () - start, >=, delay);
  start = g_get_monotonic_time ();
  for (int i = 0; i < 10; i++) {
    g_assert_true (vig_stream_submit (alive, &r, NULL));
    vig_stream_wait (alive, &r);
  }
  g_assert_cmpint (g_get_monotonic_time () - start, <, 10 * delay / 2);
  vig_stream_free (dying);
  vig_stream_free (alive);
  vig_batcher_free (batcher);
}

/* The parts of a picture are in one batch, however quick the thread that computes. */
static void
test_parts (void)
{
  enum { PARTS = 6, PICTURES = 300 };
  Work work = { .time = 0 };
  const VigBatcherWork w = { .check = check, .run = run, .data = &work, .n_classes = CLASSES, .size = 224 };
  VigBatcher *batcher = vig_batcher_new (&w, PARTS, 0);
  VigStream *stream = vig_batcher_add_stream (batcher);
  guint8 picture = 1;
  VigRequest parts[PARTS] = { 0 }, *requests[PARTS];

  for (guint i = 0; i < PARTS; i++) {
    parts[i].frame = (VigFrame) { .width = 1, .data = { &picture } };
    requests[i] = &parts[i];
  }
  g_assert_true (vig_batcher_start (batcher, NULL));
  for (guint n = 0; n < PICTURES; n++) {
    g_assert_true (vig_stream_submit_all (stream, requests, PARTS, NULL));
    for (guint i = 0; i < PARTS; i++) {
      vig_stream_wait (stream, &parts[i]);
      g_assert_cmpuint (parts[i].batch, ==, PARTS);
    }
  }
  vig_stream_free (stream);
  vig_batcher_free (batcher);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/batcher/alone", test_alone);
  g_test_add_func ("/batcher/all-in", test_all_in);
  g_test_add_func ("/batcher/full", test_full);
  g_test_add_func ("/batcher/delay", test_delay);
  g_test_add_func ("/batcher/hurry", test_hurry);
  g_test_add_func ("/batcher/last", test_last);
  g_test_add_func ("/batcher/hurry-much", test_hurry_much);
  g_test_add_func ("/batcher/gone", test_gone);
  g_test_add_func ("/batcher/limits", test_limits);
  g_test_add_func ("/batcher/fair", test_fair);
  g_test_add_func ("/batcher/greedy", test_greedy);
  g_test_add_func ("/batcher/sizes", test_sizes);
  g_test_add_func ("/batcher/nothing-wanted", test_nothing_wanted);
  g_test_add_func ("/batcher/logits", test_logits);
  g_test_add_func ("/batcher/side-by-side", test_side_by_side);
  g_test_add_func ("/batcher/batches-of-states", test_batches_of_states);
  g_test_add_func ("/batcher/windows", test_windows);
  g_test_add_func ("/batcher/call", test_call);
  g_test_add_func ("/batcher/failure", test_failure);
  g_test_add_func ("/batcher/refused", test_refused);
  g_test_add_func ("/batcher/bad-frame", test_bad_frame);
  g_test_add_func ("/batcher/bad-part", test_bad_part);
  g_test_add_func ("/batcher/cancel", test_cancel);
  g_test_add_func ("/batcher/called", test_called);
  g_test_add_func ("/batcher/read", test_read);
  g_test_add_func ("/batcher/lanes", test_lanes);
  g_test_add_func ("/batcher/at-once", test_at_once);
  g_test_add_func ("/batcher/threads", test_threads);
  g_test_add_func ("/batcher/threads-and-lanes", test_threads_and_lanes);
  g_test_add_func ("/batcher/clock", test_clock);
  g_test_add_func ("/batcher/parts", test_parts);
  return g_test_run ();
}
