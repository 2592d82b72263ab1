/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Consensus over time, against what its header says, worked out anew for every answer from all frames in long double.
 */
#include <vig/consensus.h>

#include <math.h>
#include <string.h>

#include "made.h"

#define CLASSES 5
#define SECOND G_GINT64_CONSTANT (1000000000)

/* ---- the definition ---- */

typedef struct {
  float logits[CLASSES];
  gint64 time;
} Frame;

/* What is known of a stream, and where it last began. */
typedef struct {
  VigConsensusOptions options;
  VigConsensus *consensus;
  GArray *frames; /* of Frame, since the first */
} Both;

static void
begin (Both *b, const VigConsensusOptions *options)
{
  GError *error = NULL;
  *b = (Both) { .options = *options, .consensus = vig_consensus_new (options, CLASSES, &error),
    .frames = g_array_new (FALSE, FALSE, sizeof (Frame)) };
  g_assert_no_error (error);
}

static void
end (Both *b)
{
  vig_consensus_free (b->consensus);
  g_array_unref (b->frames);
}

static const Frame *
frame_of (const Both *b, guint i)
{
  return &g_array_index (b->frames, Frame, i);
}

/* [frames]: of the last answer; which frame is its first */
static guint
weigh_mean (const Both *b, long double *weights)
{
  const guint newest = b->frames->len - 1;
  guint first = newest, n = 0;
  for (guint i = 0; i < b->options.length && i * b->options.stride <= newest; i++, n++)
    weights[first = newest - i * b->options.stride] = 1;
  return first;
}

static void
weigh_ema (const Both *b, long double *weights)
{
  const guint newest = b->frames->len - 1;
  const long double tau = b->options.time_constant * 1e9L;
  gint64 second = 0; /* from the first to the one behind it in time */
  for (guint i = 1; i <= newest && second == 0; i++)
    second = frame_of (b, i)->time - frame_of (b, 0)->time;
  for (guint i = 0; i <= newest; i++) {
    const gint64 stands_for = i ? frame_of (b, i)->time - frame_of (b, i - 1)->time : second;
    const gint64 age = frame_of (b, newest)->time - frame_of (b, i)->time;
    weights[i] = -expm1l (-(long double) stands_for / tau) * expl (-(long double) age / tau);
  }
  if (second == 0)
    weights[0] = 1;
}

static void
work_out (const Both *b, long double *logits, gint64 *first, gboolean *warming_up)
{
  g_autofree long double *weights = g_new0 (long double, b->frames->len);
  guint first_frame = 0;
  long double sum = 0;
  const Frame *last = frame_of (b, b->frames->len - 1);
  if (b->options.kind == VIG_CONSENSUS_MEAN)
    first_frame = weigh_mean (b, weights);
  else
    weigh_ema (b, weights);
  *first = frame_of (b, first_frame)->time;
  *warming_up = b->options.kind == VIG_CONSENSUS_MEAN ? (b->frames->len - 1) / b->options.stride + 1 < b->options.length
      : (double) (last->time - *first) / 1e9 < b->options.time_constant;
  memset (logits, 0, CLASSES * sizeof *logits);
  for (guint i = 0; i < b->frames->len; i++) {
    sum += weights[i];
    for (guint c = 0; c < CLASSES; c++)
      logits[c] += weights[i] * frame_of (b, i)->logits[c];
  }
  for (guint c = 0; c < CLASSES; c++)
    logits[c] /= sum;
}

/* ---- and what comes of it ---- */

static guint
step_random (guint *seed)
{
  *seed = *seed * 1664525 + 1013904223;
  return *seed >> 8;
}

static void
fill (float *logits, guint *seed)
{
  for (guint c = 0; c < CLASSES; c++)
    logits[c] = ((float) (step_random (seed) % 200001) - 100000) / 5000;
}

static void
add (Both *b, const Frame *frame, VigConsensusAnswer *answer)
{
  GError *error = NULL;
  vig_consensus_add (b->consensus, frame->logits, frame->time, answer, &error);
  g_assert_no_error (error);
  g_array_append_vals (b->frames, frame, 1);
}

/* The answer to the frame that was added last. */
static void
check (const Both *b, const VigConsensusAnswer *answer)
{
  long double logits[CLASSES], sum = 0;
  gint64 first;
  gboolean warming_up;
  work_out (b, logits, &first, &warming_up);
  for (guint c = 0; c < CLASSES; c++) {
    g_assert_cmpfloat (fabsl (answer->logits[c] - logits[c]), <=, 2e-6L); /* rounding to float */
    sum += expl (logits[c]);
  }
  for (guint c = 0; c < CLASSES; c++)
    g_assert_cmpfloat (fabsl (answer->probabilities[c] - expl (logits[c]) / sum), <=, 1e-7L);
  g_assert_cmpint (answer->first, ==, first);
  g_assert_cmpint (answer->last, ==, frame_of (b, b->frames->len - 1)->time);
  g_assert_cmpint (answer->warming_up, ==, warming_up);
}

/* ---- means ---- */

static void
test_mean (void)
{
  const guint shapes[][2] = { { 1, 1 }, { 2, 1 }, { 3, 2 }, { 16, 1 }, { 7, 3 }, { 1, 5 }, { 50, 4 } };
  for (guint i = 0; i < G_N_ELEMENTS (shapes); i++) {
    Both b;
    Frame frame;
    guint seed = i;
    float logits[CLASSES], probabilities[CLASSES];
    VigConsensusAnswer answer = { .logits = logits, .probabilities = probabilities };
    begin (&b, &(VigConsensusOptions) { .kind = VIG_CONSENSUS_MEAN, .length = shapes[i][0], .stride = shapes[i][1] });
    for (guint f = 0; f < 500; f++) {
      fill (frame.logits, &seed);
      frame.time = f * SECOND / 25;
      add (&b, &frame, &answer);
      check (&b, &answer);
    }
    end (&b);
  }
}

/* Of two streams that end alike, of which one has seen enormous numbers for long before: the same bits. */
static void
test_no_drift (void)
{
  const VigConsensusOptions options = { .kind = VIG_CONSENSUS_MEAN, .length = 16, .stride = 3 };
  GError *error = NULL;
  g_autoptr (VigConsensus) old = vig_consensus_new (&options, CLASSES, &error);
  g_autoptr (VigConsensus) young = vig_consensus_new (&options, CLASSES, &error);
  float logits[CLASSES], a[CLASSES], b[CLASSES];
  VigConsensusAnswer answer = { .logits = a };
  guint seed = 3;
  g_assert_no_error (error);
  for (guint f = 0; f < 100000; f++) {
    fill (logits, &seed);
    for (guint c = 0; c < CLASSES; c++)
      logits[c] *= f % 7 ? 1 : 1e3f;
    logits[0] = f % 2 ? 3e38f : -1e-30f;
    g_assert_true (vig_consensus_add (old, logits, f, &answer, &error));
  }
  for (guint f = 0; f < 60; f++) {
    fill (logits, &seed);
    answer.logits = a;
    g_assert_true (vig_consensus_add (old, logits, 100000 + f, &answer, &error));
    answer.logits = b;
    g_assert_true (vig_consensus_add (young, logits, 100000 + f, &answer, &error));
    g_assert_cmpint (answer.warming_up, ==, f < 45);
    if (f >= 45)
      g_assert_cmpmem (a, sizeof a, b, sizeof b);
  }
}

/* Logits beyond the limits count as these. */
static void
test_limits (void)
{
  GError *error = NULL;
  g_autoptr (VigConsensus) c = vig_consensus_new (&(VigConsensusOptions) { .kind = VIG_CONSENSUS_MEAN, .length = 2,
      .stride = 1 }, 2, &error);
  float mean[2], probabilities[2];
  VigConsensusAnswer answer = { .logits = mean, .probabilities = probabilities };
  g_assert_no_error (error);
  g_assert_true (vig_consensus_add (c, (float[]) { 3e38f, -1e9f }, 0, &answer, &error));
  g_assert_cmpfloat (mean[0], ==, 32768);
  g_assert_cmpfloat (mean[1], ==, -32768);
  g_assert_cmpfloat (probabilities[0], ==, 1);
  g_assert_cmpfloat (probabilities[1], ==, 0);
  g_assert_true (vig_consensus_add (c, (float[]) { 0, 0.5f }, 0, &answer, &error));
  g_assert_cmpfloat (mean[0], ==, 16384);
  g_assert_cmpfloat (mean[1], ==, -16383.75f);
}

/* ---- fading ---- */

static void
test_ema (void)
{
  const double time_constants[] = { 0.02, 1, 30, 1e9 };
  for (guint i = 0; i < G_N_ELEMENTS (time_constants); i++) {
    Both b;
    Frame frame = { .time = G_MAXINT64 / 2 };
    guint seed = 10 + i;
    float logits[CLASSES], probabilities[CLASSES];
    VigConsensusAnswer answer = { .logits = logits, .probabilities = probabilities };
    begin (&b, &(VigConsensusOptions) { .kind = VIG_CONSENSUS_EMA, .time_constant = time_constants[i] });
    for (guint f = 0; f < 600; f++) {
      fill (frame.logits, &seed);
      add (&b, &frame, &answer);
      check (&b, &answer);
      /* a rate that varies, repeated times, the second among them, and gaps shorter than what makes it begin anew */
      const gint64 longest = (gint64) (MIN (time_constants[i], 100) * 39e9);
      frame.time += f == 0 || f % 11 == 0 ? 0 : f % 50 == 0 ? longest : (gint64) (step_random (&seed) % 80) * SECOND / 1000;
    }
    end (&b);
  }
}

/* For hours, 100 frames a second: still what the last minutes alone give. */
static void
test_ema_for_long (void)
{
  const VigConsensusOptions options = { .kind = VIG_CONSENSUS_EMA, .time_constant = 2 };
  GError *error = NULL;
  g_autoptr (VigConsensus) old = vig_consensus_new (&options, CLASSES, &error);
  g_autoptr (VigConsensus) young = vig_consensus_new (&options, CLASSES, &error);
  float logits[CLASSES], a[CLASSES], b[CLASSES];
  VigConsensusAnswer answer = { 0 };
  guint seed = 5;
  const guint n = 1000000, late = n - 10000; /* 50 time constants */
  g_assert_no_error (error);
  for (guint f = 0; f < n; f++) {
    fill (logits, &seed);
    answer.logits = a;
    g_assert_true (vig_consensus_add (old, logits, f * SECOND / 100, &answer, &error));
    answer.logits = b;
    if (f >= late)
      g_assert_true (vig_consensus_add (young, logits, f * SECOND / 100, &answer, &error));
  }
  for (guint c = 0; c < CLASSES; c++)
    g_assert_cmpfloat_with_epsilon (a[c], b[c], 1e-6);
}

/* Half of the frames say what all say: time is what counts. A picture that changes: after a time constant the new one has
 * 63% of the weight, whatever the rate. */
static void
test_ema_follows_time (void)
{
  for (guint rate = 5; rate <= 80; rate *= 2) {
    GError *error = NULL;
    g_autoptr (VigConsensus) c = vig_consensus_new (&(VigConsensusOptions) { .kind = VIG_CONSENSUS_EMA,
        .time_constant = 2 }, 1, &error);
    float mean;
    VigConsensusAnswer answer = { .logits = &mean };
    g_assert_no_error (error);
    for (guint f = 0; f <= 100 * rate; f++)
      g_assert_true (vig_consensus_add (c, (float[]) { 0 }, f * SECOND / rate, &answer, &error));
    for (guint f = 100 * rate + 1; f <= 102 * rate; f++)
      g_assert_true (vig_consensus_add (c, (float[]) { 1 }, f * SECOND / rate, &answer, &error));
    g_assert_cmpfloat_with_epsilon (mean, -expm1 (-1), 1e-6);
  }
}

/* ---- time ---- */

static float
one (VigConsensus *c, float logit, gint64 time, gint64 first, gboolean warming_up)
{
  GError *error = NULL;
  float mean;
  VigConsensusAnswer answer = { .logits = &mean };
  vig_consensus_add (c, &logit, time, &answer, &error);
  g_assert_no_error (error);
  g_assert_cmpint (answer.first, ==, first);
  g_assert_cmpint (answer.last, ==, time);
  g_assert_cmpint (answer.warming_up, ==, warming_up);
  return mean;
}

/* Time that goes back, a gap that leaves nothing, time that is not known, and a reset: who begins anew. */
static void
test_begins_anew (void)
{
  const gint64 none = VIG_CONSENSUS_NO_TIME, s = SECOND;
  GError *error = NULL;
  g_autoptr (VigConsensus) ema = vig_consensus_new (&(VigConsensusOptions) { .kind = VIG_CONSENSUS_EMA,
      .time_constant = 1 }, 1, &error);
  g_assert_no_error (error);
  g_assert_cmpfloat (one (ema, 8, 10 * s, 10 * s, TRUE), ==, 8);
  g_assert_cmpfloat (one (ema, 4, 10 * s, 10 * s, TRUE), ==, 8);     /* no time has passed */
  g_assert_cmpfloat (one (ema, 4, 11 * s, 10 * s, FALSE), <, 6);
  g_assert_cmpfloat (one (ema, 7, 11 * s - 1, 11 * s - 1, TRUE), ==, 7); /* back */
  one (ema, 1, 51 * s - 1, 11 * s - 1, FALSE);                       /* 40 time constants */
  g_assert_cmpfloat (one (ema, 3, 91 * s, 91 * s, TRUE), ==, 3);     /* and more */
  g_assert_cmpfloat (one (ema, 5, none, none, TRUE), ==, 5);
  g_assert_cmpfloat (one (ema, 6, 92 * s, 92 * s, TRUE), ==, 6);
  g_assert_cmpfloat (one (ema, -9, G_MININT64 + 1, G_MININT64 + 1, TRUE), ==, -9); /* the ends of time */
  g_assert_cmpfloat (one (ema, 9, G_MAXINT64, G_MAXINT64, TRUE), ==, 9);
  vig_consensus_reset (ema);
  g_assert_cmpfloat (one (ema, 2, G_MAXINT64, G_MAXINT64, TRUE), ==, 2);

  g_autoptr (VigConsensus) slow = vig_consensus_new (&(VigConsensusOptions) { .kind = VIG_CONSENSUS_EMA,
      .time_constant = VIG_CONSENSUS_MAX_TIME }, 1, &error);
  g_assert_cmpfloat (one (slow, 5, none, none, TRUE), ==, 5); /* an unknown time is not 292 years ago */
  g_assert_cmpfloat (one (slow, 6, 92 * s, 92 * s, TRUE), ==, 6);

  g_autoptr (VigConsensus) mean = vig_consensus_new (&(VigConsensusOptions) { .kind = VIG_CONSENSUS_MEAN, .length = 2,
      .stride = 1 }, 1, &error);
  g_assert_no_error (error);
  g_assert_cmpfloat (one (mean, 8, 10 * s, 10 * s, TRUE), ==, 8);
  g_assert_cmpfloat (one (mean, 4, 10 * s, 10 * s, FALSE), ==, 6);
  g_assert_cmpfloat (one (mean, 6, 9999 * s, 10 * s, FALSE), ==, 5);
  g_assert_cmpfloat (one (mean, 8, none, 9999 * s, FALSE), ==, 7);
  g_assert_cmpfloat (one (mean, 10, 9999 * s, none, FALSE), ==, 9);
  one (mean, 0, none, 9999 * s, FALSE);
  g_assert_cmpfloat (one (mean, 1, 9998 * s, 9998 * s, TRUE), ==, 1); /* back, though the one before is not known */
  vig_consensus_reset (mean);
  g_assert_cmpfloat (one (mean, 2, 1, 1, TRUE), ==, 2);
}

/* ---- what is refused ---- */

static void
expect_refused (const VigConsensusOptions *options, guint n_classes, const char *part)
{
  GError *error = NULL;
  g_assert_null (vig_consensus_new (options, n_classes, &error));
  check_error (&error, VIG_ERROR_ARGUMENT, part);
}

static void
test_bad_options (void)
{
  const double bad[] = { 0, -1, NAN, INFINITY, 1e-10, 1e10 };
  const VigConsensusOptions mean = { .kind = VIG_CONSENSUS_MEAN, .length = 4096, .stride = 256 };
  VigConsensusOptions o = mean;
  g_autoptr (VigConsensus) largest = vig_consensus_new (&mean, 1, NULL); /* takes no memory yet */
  g_assert_nonnull (largest);
  expect_refused (&mean, 0, "classes: expected at least 1, found 0");
  o.length = 0;
  expect_refused (&o, 3, "length: expected 1 to 4096 frames, found 0");
  o.length = 4097;
  expect_refused (&o, 3, "length: expected 1 to 4096 frames, found 4097");
  o = mean;
  o.stride = 0;
  expect_refused (&o, 3, "stride: expected 1 to 256 frames, found 0");
  o.stride = 257;
  expect_refused (&o, 3, "stride: expected 1 to 256 frames, found 257");
  o = (VigConsensusOptions) { .kind = (VigConsensusKind) 9 };
  expect_refused (&o, 3, "kind: expected mean or ema, found 9");
  for (guint i = 0; i < G_N_ELEMENTS (bad); i++) {
    o = (VigConsensusOptions) { .kind = VIG_CONSENSUS_EMA, .time_constant = bad[i] };
    expect_refused (&o, 3, "time constant: expected 1e-09 to 1e+09 seconds, found ");
  }
}

/* Logits that are no numbers have no part in any answer. */
static void
test_bad_logits (void)
{
  const VigConsensusOptions options[] = { { .kind = VIG_CONSENSUS_MEAN, .length = 4, .stride = 1 },
    { .kind = VIG_CONSENSUS_EMA, .time_constant = 1 } };
  const float bad[] = { NAN, INFINITY, -INFINITY };
  for (guint i = 0; i < 2; i++) {
    Both b;
    guint seed = 1;
    float logits[CLASSES], probabilities[CLASSES];
    VigConsensusAnswer answer = { .logits = logits, .probabilities = probabilities };
    begin (&b, &options[i]);
    for (guint f = 0; f < 20; f++) {
      Frame frame = { .time = f * SECOND / 10 }, spoiled;
      GError *error = NULL;
      fill (frame.logits, &seed);
      spoiled = frame;
      spoiled.logits[f % CLASSES] = bad[f % 3];
      g_autofree char *part = g_strdup_printf ("logits: expected numbers, found %g for class %u", bad[f % 3], f % CLASSES);
      const gint64 back = f % 2 ? -SECOND : 0; /* nor does it begin anew with them */
      g_assert_false (vig_consensus_add (b.consensus, spoiled.logits, frame.time + back, &answer, &error));
      check_error (&error, VIG_ERROR_ARGUMENT, part);
      add (&b, &frame, &answer);
      check (&b, &answer);
    }
    end (&b);
  }
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/consensus/mean", test_mean);
  g_test_add_func ("/consensus/no-drift", test_no_drift);
  g_test_add_func ("/consensus/limits", test_limits);
  g_test_add_func ("/consensus/ema", test_ema);
  g_test_add_func ("/consensus/ema-for-long", test_ema_for_long);
  g_test_add_func ("/consensus/ema-follows-time", test_ema_follows_time);
  g_test_add_func ("/consensus/begins-anew", test_begins_anew);
  g_test_add_func ("/consensus/bad-options", test_bad_options);
  g_test_add_func ("/consensus/bad-logits", test_bad_logits);
  return g_test_run ();
}
