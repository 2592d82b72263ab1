/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Means of logits over time. A window with a stride of s is s windows, of which each frame moves one on. A running sum of
 * floating-point numbers would keep every rounding error for ever; in whole numbers what goes in comes out again exactly.
 */
#include <vig/consensus.h>

#include <math.h>
#include <string.h>

#define ONE 4294967296.0 /* 1 in fixed point: VIG_CONSENSUS_MAX_LENGTH * LIMIT * ONE is 2^59 */
#define LIMIT 32768.0
#define FORGOTTEN 40.0   /* exp(-40) is less than half a unit in the last place of a double's 1 */

struct VigConsensus {
  VigConsensusOptions options;
  guint n_classes;
  guint64 n_frames; /* since the first */
  gint64 first, last, latest; /* the last two differ where the last is not known */
  double *values;   /* [classes]: of the answer that is being made */
  /* MEAN: frame i is in slot i % (length * stride), and of window i % stride */
  gint64 *sums;     /* [stride, classes], in fixed point */
  float *logits;    /* [n_slots, classes] */
  gint64 *times;    /* [n_slots] */
  guint n_slots;    /* as many as have been needed, length * stride at most */
  /* EMA */
  double *sum;      /* [classes]: of weight * logit */
  double weight;    /* of all; 1 while there is but the first frame, of which nobody knows yet what it stands for */
  gboolean alone;
};

/* ---- made and freed ---- */

static gboolean
check_options (const VigConsensusOptions *o, guint n_classes, GError **error)
{
  const gboolean mean = o->kind == VIG_CONSENSUS_MEAN;

  if (!mean && o->kind != VIG_CONSENSUS_EMA)
    g_set_error (error, VIG_ERROR, VIG_ERROR_ARGUMENT, "kind: expected mean or ema, found %d", (int) o->kind);
  else if (n_classes == 0)
    g_set_error (error, VIG_ERROR, VIG_ERROR_ARGUMENT, "classes: expected at least 1, found 0");
  else if (mean && (o->length < 1 || o->length > VIG_CONSENSUS_MAX_LENGTH))
    g_set_error (error, VIG_ERROR, VIG_ERROR_ARGUMENT, "length: expected 1 to %d frames, found %u",
        VIG_CONSENSUS_MAX_LENGTH, o->length);
  else if (mean && (o->stride < 1 || o->stride > VIG_CONSENSUS_MAX_STRIDE))
    g_set_error (error, VIG_ERROR, VIG_ERROR_ARGUMENT, "stride: expected 1 to %d frames, found %u",
        VIG_CONSENSUS_MAX_STRIDE, o->stride);
  else if (!mean && !(o->time_constant >= VIG_CONSENSUS_MIN_TIME && o->time_constant <= VIG_CONSENSUS_MAX_TIME))
    g_set_error (error, VIG_ERROR, VIG_ERROR_ARGUMENT, "time constant: expected %g to %g seconds, found %g",
        VIG_CONSENSUS_MIN_TIME, VIG_CONSENSUS_MAX_TIME, o->time_constant);
  else
    return TRUE;
  return FALSE;
}

VigConsensus *
vig_consensus_new (const VigConsensusOptions *options, guint n_classes, GError **error)
{
  if (!check_options (options, n_classes, error))
    return NULL;
  VigConsensus *c = g_new0 (VigConsensus, 1);
  *c = (VigConsensus) { .options = *options, .n_classes = n_classes, .values = g_new (double, n_classes) };
  if (options->kind == VIG_CONSENSUS_MEAN)
    c->sums = g_new (gint64, (gsize) options->stride * n_classes);
  else
    c->sum = g_new (double, n_classes);
  vig_consensus_reset (c);
  return c;
}

void
vig_consensus_free (VigConsensus *c)
{
  if (!c)
    return;
  g_free (c->sums);
  g_free (c->logits);
  g_free (c->times);
  g_free (c->sum);
  g_free (c->values);
  g_free (c);
}

void
vig_consensus_reset (VigConsensus *c)
{
  c->n_frames = 0;
  c->first = c->last = c->latest = VIG_CONSENSUS_NO_TIME;
  if (c->sums)
    memset (c->sums, 0, (gsize) c->options.stride * c->n_classes * sizeof *c->sums);
}

/* ---- a window ---- */

static gint64
to_fixed (float logit)
{
  return llrint (CLAMP ((double) logit, -LIMIT, LIMIT) * ONE);
}

/* Room for one more slot, as long as not all are there. */
static gboolean
grow (VigConsensus *c, GError **error)
{
  const guint all = c->options.length * c->options.stride;

  if (c->n_frames < c->n_slots || c->n_slots == all)
    return TRUE;
  const guint n = MIN (MAX (2 * c->n_slots, 16), all);
  float *logits = g_try_realloc_n (c->logits, (gsize) n * c->n_classes, sizeof *logits);
  c->logits = logits ? logits : c->logits;
  gint64 *times = logits ? g_try_realloc_n (c->times, n, sizeof *times) : NULL;
  c->times = times ? times : c->times;
  if (!times) {
    g_set_error (error, VIG_ERROR, VIG_ERROR_NO_MEMORY, "consensus: expected memory for %u frames of %u logits, found none",
        n, c->n_classes);
    return FALSE;
  }
  c->n_slots = n;
  return TRUE;
}

/* The frame that has the slot leaves its window, and the new one comes in. */
static void
add_to_window (VigConsensus *c, const float *logits, gint64 time)
{
  const VigConsensusOptions *o = &c->options;
  const guint slot = c->n_frames % (o->length * o->stride);
  float *there = c->logits + (gsize) slot * c->n_classes;
  gint64 *sums = c->sums + c->n_frames % o->stride * c->n_classes;

  for (guint i = 0; i < c->n_classes; i++) {
    if (c->n_frames >= o->length * o->stride)
      sums[i] -= to_fixed (there[i]);
    sums[i] += to_fixed (logits[i]);
    there[i] = logits[i];
  }
  c->times[slot] = time;
}

/* Of the last frame's window; [classes] */
static void
answer_of_window (const VigConsensus *c, double *logits, VigConsensusAnswer *answer)
{
  const VigConsensusOptions *o = &c->options;
  const guint64 newest = c->n_frames - 1;
  const guint64 n = MIN (newest / o->stride + 1, o->length);
  const gint64 *sums = c->sums + newest % o->stride * c->n_classes;

  for (guint i = 0; i < c->n_classes; i++)
    logits[i] = (double) sums[i] / ((double) n * ONE);
  answer->first = c->times[(newest - (n - 1) * o->stride) % (o->length * o->stride)];
  answer->warming_up = n < o->length;
}

/* ---- a mean that fades ---- */

/* In time constants; @to is not before @from. */
static double
elapsed (const VigConsensus *c, gint64 from, gint64 to)
{
  return (double) ((guint64) to - (guint64) from) / 1e9 / c->options.time_constant;
}

static void
add_to_mean (VigConsensus *c, const float *logits, gint64 time)
{
  const double dt = c->n_frames ? elapsed (c, c->last, time) : INFINITY;

  if (dt > FORGOTTEN) {
    c->n_frames = 0;
    c->first = time;
    c->alone = TRUE;
    c->weight = 1;
    for (guint i = 0; i < c->n_classes; i++)
      c->sum[i] = logits[i];
  } else if (dt > 0) {
    const double keep = exp (-dt), is = -expm1 (-dt);
    const double fade = c->alone ? keep * is : keep;
    c->alone = FALSE;
    c->weight = fade * c->weight + is;
    for (guint i = 0; i < c->n_classes; i++)
      c->sum[i] = fade * c->sum[i] + is * logits[i];
  }
}

static void
answer_of_mean (const VigConsensus *c, double *logits, VigConsensusAnswer *answer)
{
  for (guint i = 0; i < c->n_classes; i++)
    logits[i] = c->sum[i] / c->weight;
  answer->first = c->first;
  answer->warming_up = elapsed (c, c->first, c->last) < 1;
}

/* ---- both ---- */

static gboolean
check_logits (const VigConsensus *c, const float *logits, GError **error)
{
  for (guint i = 0; i < c->n_classes; i++) {
    if (isfinite (logits[i]))
      continue;
    g_set_error (error, VIG_ERROR, VIG_ERROR_ARGUMENT, "logits: expected numbers, found %g for class %u", logits[i], i);
    return FALSE;
  }
  return TRUE;
}

/* Over [n]; in place. */
static void
softmax (double *x, guint n)
{
  double largest = x[0], sum = 0;

  for (guint i = 1; i < n; i++)
    largest = MAX (largest, x[i]);
  for (guint i = 0; i < n; i++)
    sum += x[i] = exp (x[i] - largest);
  for (guint i = 0; i < n; i++)
    x[i] /= sum;
}

static void
fill_answer (const VigConsensus *c, VigConsensusAnswer *answer)
{
  double *x = c->values;

  if (c->options.kind == VIG_CONSENSUS_MEAN)
    answer_of_window (c, x, answer);
  else
    answer_of_mean (c, x, answer);
  answer->last = c->last;
  for (guint i = 0; answer->logits && i < c->n_classes; i++)
    answer->logits[i] = (float) x[i];
  if (!answer->probabilities)
    return;
  softmax (x, c->n_classes);
  for (guint i = 0; i < c->n_classes; i++)
    answer->probabilities[i] = (float) x[i];
}

/* A frame of unknown time is never before another; how long it or the one before stands for, EMA cannot say. */
static gboolean
begins_anew (const VigConsensus *c, gint64 time)
{
  if (c->options.kind == VIG_CONSENSUS_EMA && (time == VIG_CONSENSUS_NO_TIME || c->last == VIG_CONSENSUS_NO_TIME))
    return TRUE;
  return time != VIG_CONSENSUS_NO_TIME && time < c->latest;
}

gboolean
vig_consensus_add (VigConsensus *c, const float *logits, gint64 time, VigConsensusAnswer *answer, GError **error)
{
  if (!check_logits (c, logits, error))
    return FALSE;
  if (begins_anew (c, time))
    vig_consensus_reset (c);
  if (c->options.kind == VIG_CONSENSUS_EMA)
    add_to_mean (c, logits, time);
  else if (grow (c, error))
    add_to_window (c, logits, time);
  else
    return FALSE;
  c->n_frames++;
  c->last = time;
  if (time != VIG_CONSENSUS_NO_TIME)
    c->latest = time;
  if (answer)
    fill_answer (c, answer);
  return TRUE;
}
