/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Answers become segments: which there are, and that each is told once, whatever ends it. */
#include <gst/analytics/analytics.h>

#include "common.h"

#define CAPS "video/x-raw,format=RGB,width=48,height=48,framerate=25/1"
#define OTHER_CAPS "video/x-raw,format=BGR,width=48,height=48,framerate=25/1"

enum { NONE = 1, MEAN, EMA, JOINT, STREAM }; /* clip-mode */

/* (transfer full) */
static char *
model_for (int mode)
{
  if (mode < JOINT)
    return g_strdup (test_model ());
  return test_model_over_time (mode == JOINT ? TINY_JOINT : TINY_STREAM);
}

/* ---- frames and messages ---- */

/* Frames @from to @to - 1 of one class. */
static void
show (GstHarness *h, int class, int from, int to)
{
  for (int i = from; i < to; i++)
    gst_buffer_unref (test_send (h, test_frame (CAPS, class, i)));
}

/* (transfer full): the next segment that was told; NULL: none */
static GstMessage *
next_segment (GstBus *bus)
{
  GstMessage *message;
  while ((message = gst_bus_pop_filtered (bus, GST_MESSAGE_ELEMENT))) {
    if (gst_message_has_name (message, "vig-segment"))
      return message;
    gst_message_unref (message);
  }
  return NULL;
}

static guint64
time_in (const GstStructure *s, const char *field)
{
  guint64 time;
  g_assert_true (gst_structure_get_uint64 (s, field, &time));
  return time;
}

static void
expect_none (GstHarness *h)
{
  g_autoptr (GstMessage) message = next_segment (test_bus (h));
  g_autofree char *text = message ? gst_structure_to_string (gst_message_get_structure (message)) : NULL;
  g_assert_cmpstr (text, ==, NULL);
}

/* The next one, of frames @from to @to - 1. */
static void
expect (GstHarness *h, int class, int from, int to)
{
  g_autoptr (GstMessage) message = next_segment (test_bus (h));
  g_assert_nonnull (message);
  g_assert_true (GST_MESSAGE_SRC (message) == GST_OBJECT (h->element));
  const GstStructure *s = gst_message_get_structure (message);
  double confidence;
  g_assert_cmpstr (gst_structure_get_string (s, "label"), ==, tiny_labels[class]);
  g_assert_cmpuint (time_in (s, "start"), ==, from * FRAME_TIME);
  g_assert_cmpuint (time_in (s, "end"), ==, to * FRAME_TIME);
  g_assert_true (gst_structure_get_double (s, "confidence", &confidence));
  g_assert_cmpfloat (confidence, >, 0.5);
  g_assert_cmpfloat (confidence, <=, 1);
}

static void
end_of_stream (GstHarness *h)
{
  g_assert_true (gst_harness_push_event (h, gst_event_new_eos ()));
  g_autoptr (GstEvent) event = NULL;
  do {
    gst_clear_event (&event);
    event = gst_harness_pull_event (h);
    g_assert_nonnull (event);
  } while (GST_EVENT_TYPE (event) != GST_EVENT_EOS);
}

static void
start_segment (GstHarness *h, double rate, GstClockTime time, GstClockTime base)
{
  GstSegment segment;
  gst_segment_init (&segment, GST_FORMAT_TIME);
  segment.rate = rate;
  segment.stop = 1000 * FRAME_TIME;
  segment.time = time;
  segment.base = base;
  gst_harness_push_event (h, gst_event_new_segment (&segment));
}

/* ---- which there are ---- */

/* A label's segment that is open, as the definition has it. */
typedef struct {
  gboolean open;
  int from;
  double sum, peak;
  guint n;
} Open;

typedef struct {
  int class, from, to;
  double confidence, peak;
  guint answers;
} Found;

static int
compare_found (gconstpointer a, gconstpointer b)
{
  const Found *x = a, *y = b;
  return x->class != y->class ? x->class - y->class : x->from - y->from;
}

static void
end_one (GArray *found, Open *o, int class, int to, guint min_frames)
{
  const Found f = { class, o->from, to, o->sum / o->n, o->peak, o->n };
  if (o->open && to - o->from >= (int) min_frames)
    g_array_append_val (found, f);
  *o = (Open) { 0 };
}

/* What frame @i says, one label after the other. */
static void
follow (GArray *found, Open open[TINY_CLASSES], GstBuffer *buffer, int i, double enter, double leave, guint min_frames)
{
  GstAnalyticsClsMtd cls;
  guint id, n_open = 0;
  g_assert_true (gst_structure_get_uint (test_result (buffer, 0), "cls-id", &id));
  g_assert_true (gst_analytics_relation_meta_get_cls_mtd (gst_buffer_get_analytics_relation_meta (buffer), id, &cls));
  for (int class = 0; class < TINY_CLASSES; class++) {
    Open *o = &open[class];
    double p = -1;
    for (guint k = 0; k < TINY_CLASSES; k++)
      if (g_str_equal (tiny_labels[class], g_quark_to_string (gst_analytics_cls_mtd_get_quark (&cls, k))))
        p = gst_analytics_cls_mtd_get_level (&cls, k);
    if (o->open && p < leave)
      end_one (found, o, class, i, min_frames);
    else if (!o->open && p >= enter)
      *o = (Open) { .open = TRUE, .from = i };
    if (o->open) {
      o->sum += p;
      o->peak = MAX (o->peak, p);
      o->n++;
      n_open++;
    }
  }
}

static GArray *
read_found (GstHarness *h)
{
  GArray *told = g_array_new (FALSE, FALSE, sizeof (Found));
  GstMessage *message;
  while ((message = next_segment (test_bus (h)))) {
    const GstStructure *s = gst_message_get_structure (message);
    Found f = { .class = -1, .from = (int) (time_in (s, "start") / FRAME_TIME), .to = (int) (time_in (s, "end") / FRAME_TIME) };
    for (int class = 0; class < TINY_CLASSES; class++)
      if (g_str_equal (tiny_labels[class], gst_structure_get_string (s, "label")))
        f.class = class;
    g_assert_true (gst_structure_get (s, "confidence", G_TYPE_DOUBLE, &f.confidence, "peak", G_TYPE_DOUBLE, &f.peak,
            "answers", G_TYPE_UINT, &f.answers, NULL));
    g_array_append_val (told, f);
    gst_message_unref (message);
  }
  return told;
}

static guint
count_overlaps (const GArray *found)
{
  guint n = 0;
  for (guint i = 0; i < found->len; i++)
    for (guint k = 0; k < i; k++) {
      const Found *a = &g_array_index (found, Found, i), *b = &g_array_index (found, Found, k);
      n += a->class != b->class && a->from < b->to && b->from < a->to;
    }
  return n;
}

/* Every colour there is: what is told is what the definition says of the metadata. */
static void
test_definition (void)
{
  const struct { double enter, leave; guint min_frames; int mode; } cases[] = {
    { 0.5, 0.5, 0, NONE }, { 0.4, 0.1, 0, NONE }, { 0.2, 0.05, 3, NONE }, { 0.3, 0.2, 2, MEAN }, { 0.25, 0, 0, EMA },
    { 1, 0.9, 0, NONE }, { 0.3, 0.1, 0, JOINT }, { 0.3, 0.1, 0, STREAM } };
  for (guint t = 0; t < G_N_ELEMENTS (cases); t++) {
    g_autoptr (GArray) found = g_array_new (FALSE, FALSE, sizeof (Found));
    Open open[TINY_CLASSES] = { 0 };
    guint32 colour = 1;
    const int n = 100;
    g_autofree char *model = model_for (cases[t].mode);
    GstHarness *h = test_harness (CAPS, "model-file", model, "top-k", TINY_CLASSES, "enter-threshold", cases[t].enter,
        "leave-threshold", cases[t].leave, "min-duration", cases[t].min_frames * FRAME_TIME, "clip-mode", cases[t].mode,
        "clip-length", 4, "clip-hop", 3, "clip-time-constant", 0.1, NULL);
    int last = 0;
    for (int i = 0; i < n; i++) {
      colour = i % 3 ? colour + (guint32) (i % 5) * 0x081f05 : colour * 0x9e3779b1u;
      GstBuffer *in = test_colour (CAPS, colour >> 8 & 0xffffff);
      GST_BUFFER_PTS (in) = i * FRAME_TIME;
      GST_BUFFER_DURATION (in) = FRAME_TIME;
      g_autoptr (GstBuffer) out = test_send (h, in);
      if (g_str_equal (test_state (out), "held"))
        continue;
      last = i;
      follow (found, open, out, i, cases[t].enter, cases[t].leave, cases[t].min_frames);
    }
    end_of_stream (h);
    for (int class = 0; class < TINY_CLASSES; class++)
      end_one (found, &open[class], class, last + 1, cases[t].min_frames);
    g_autoptr (GArray) told = read_found (h);
    g_array_sort (found, compare_found);
    g_array_sort (told, compare_found);
    g_test_message ("%u segments, %u times two at once", told->len, count_overlaps (told));
    g_assert_cmpuint (told->len, ==, found->len);
    for (guint i = 0; i < found->len; i++) {
      const Found *a = &g_array_index (told, Found, i), *b = &g_array_index (found, Found, i);
      g_assert_cmpint (a->class, ==, b->class);
      g_assert_cmpint (a->from, ==, b->from);
      g_assert_cmpint (a->to, ==, b->to);
      g_assert_cmpuint (a->answers, ==, b->answers);
      g_assert_cmpfloat_with_epsilon (a->confidence, b->confidence, 1e-12);
      g_assert_cmpfloat (a->peak, ==, b->peak);
    }
    if (cases[t].enter < 1)
      g_assert_cmpuint (told->len, >, 5);
    if (cases[t].enter < 0.4)
      g_assert_cmpuint (count_overlaps (told), >, 0);
    test_harness_free (h);
  }
}

/* The probability itself enters, and does not leave. */
static void
test_edges (void)
{
  GstHarness *h = test_harness (CAPS, NULL);
  g_autoptr (GstBuffer) out = test_send (h, test_frame (CAPS, TINY_LEFT, 0));
  const double p = test_confidence (out);
  test_harness_free (h);
  g_assert_cmpfloat (p, <, 1);
  for (int t = 0; t < 3; t++) {
    h = test_harness (CAPS, "enter-threshold", t == 1 ? p + 1e-9 : p, "leave-threshold", t == 2 ? p : -1.0, NULL);
    show (h, TINY_LEFT, 0, 3);
    expect_none (h);
    end_of_stream (h);
    if (t != 1)
      expect (h, TINY_LEFT, 0, 3);
    expect_none (h);
    test_harness_free (h);
  }
}

/* Off unless asked for, whatever else is set. */
static void
test_off (void)
{
  GstHarness *h = test_harness (CAPS, "min-duration", (guint64) 1, NULL);
  show (h, TINY_RED, 0, 3);
  show (h, TINY_BLUE, 3, 6);
  end_of_stream (h);
  expect_none (h);
  test_harness_free (h);
}

/* Times as messages have them; and without timestamps none is known. */
static void
test_times (void)
{
  GstHarness *h = test_harness (CAPS, "enter-threshold", 0.5, NULL);
  start_segment (h, 2, 10 * GST_SECOND, 20 * GST_SECOND);
  show (h, TINY_RED, 4, 8);
  show (h, TINY_BLUE, 8, 10);
  end_of_stream (h);
  for (int i = 0; i < 2; i++) {
    g_autoptr (GstMessage) message = next_segment (test_bus (h));
    const guint64 start = i ? 8 * FRAME_TIME : 4 * FRAME_TIME, end = i ? 10 * FRAME_TIME : 8 * FRAME_TIME;
    g_assert_nonnull (message);
    const GstStructure *s = gst_message_get_structure (message);
    g_assert_cmpuint (time_in (s, "start"), ==, start);
    g_assert_cmpuint (time_in (s, "end"), ==, end);
    g_assert_cmpuint (time_in (s, "stream-start"), ==, start + 10 * GST_SECOND);
    g_assert_cmpuint (time_in (s, "stream-end"), ==, end + 10 * GST_SECOND);
    g_assert_cmpuint (time_in (s, "running-start"), ==, start / 2 + 20 * GST_SECOND);
    g_assert_cmpuint (time_in (s, "running-end"), ==, end / 2 + 20 * GST_SECOND);
    g_assert_false (gst_structure_has_field (s, "tracking-id"));
    g_assert_false (gst_structure_has_field (s, "region-type"));
  }
  test_harness_free (h);

  for (guint64 min = 0; min < 2; min++) { /* how long it was nobody knows */
    h = test_harness (CAPS, "enter-threshold", 0.5, "min-duration", min, NULL);
    gst_buffer_unref (test_send (h, test_picture (CAPS, TINY_RED)));
    end_of_stream (h);
    g_autoptr (GstMessage) message = next_segment (test_bus (h));
    g_assert_cmpint (message != NULL, ==, min == 0);
    if (message)
      g_assert_cmpuint (time_in (gst_message_get_structure (message), "start"), ==, GST_CLOCK_TIME_NONE);
    test_harness_free (h);
  }
}

/* A frame without a timestamp is an answer, but no time: @times are numbers of frames, or -1. */
static void
say (GstHarness *h, int class, const int *times, guint n)
{
  for (guint i = 0; i < n; i++) {
    GstBuffer *in = test_frame (CAPS, class, MAX (times[i], 0));
    if (times[i] < 0)
      GST_BUFFER_PTS (in) = GST_CLOCK_TIME_NONE;
    gst_buffer_unref (test_send (h, in));
  }
}

#define SAY(h, class, ...) say (h, class, (const int[]) { __VA_ARGS__ }, G_N_ELEMENTS (((const int[]) { __VA_ARGS__ })))

static void
test_missing_times (void)
{
  GstHarness *h = test_harness (CAPS, "enter-threshold", 0.5, "min-duration", (guint64) 1, NULL);
  SAY (h, TINY_RED, 0, 1, -1); /* ended by an answer without a time, */
  SAY (h, TINY_BLUE, -1, 5, -1, 7); /* begun by one, */
  SAY (h, TINY_GREEN, 9, -1); /* and of the end */
  expect (h, TINY_RED, 0, 2);
  expect (h, TINY_BLUE, 5, 9);
  end_of_stream (h);
  expect (h, TINY_GREEN, 9, 10);
  expect_none (h);
  test_harness_free (h);

  h = test_harness (CAPS, "enter-threshold", 0.5, NULL); /* nothing is known of blue, and of those before it nothing helps */
  SAY (h, TINY_RED, 3);
  SAY (h, TINY_BLUE, -1, -1);
  SAY (h, TINY_GREEN, -1, 4);
  end_of_stream (h);
  expect (h, TINY_RED, 3, 4);
  g_autoptr (GstMessage) message = next_segment (test_bus (h));
  g_assert_nonnull (message);
  g_assert_cmpuint (time_in (gst_message_get_structure (message), "start"), ==, GST_CLOCK_TIME_NONE);
  g_assert_cmpuint (time_in (gst_message_get_structure (message), "end"), ==, GST_CLOCK_TIME_NONE);
  expect (h, TINY_GREEN, 4, 5);
  expect_none (h);
  test_harness_free (h);
}

/* A time goes back behind the last that is known, whatever is between; behind an end none is. */
static void
test_missing_and_back (void)
{
  GstHarness *h = test_harness (CAPS, "enter-threshold", 0.5, NULL);
  SAY (h, TINY_RED, 9, 10, -1, 5, 6);
  expect (h, TINY_RED, 9, 11);
  gst_harness_push_event (h, gst_event_new_flush_start ());
  gst_harness_push_event (h, gst_event_new_flush_stop (TRUE));
  expect (h, TINY_RED, 5, 7);
  start_segment (h, 1, 0, 0);
  SAY (h, TINY_RED, -1, 2, 3);
  expect_none (h);
  end_of_stream (h);
  expect (h, TINY_RED, 2, 4);
  expect_none (h);
  test_harness_free (h);
}

static void
expect_running (const GstStructure *s, int from, int to)
{
  g_assert_cmpuint (time_in (s, "running-start"), ==, from * FRAME_TIME);
  g_assert_cmpuint (time_in (s, "running-end"), ==, to * FRAME_TIME);
}

/* Backwards a segment begins, in its time, where it was last seen; but time runs. */
static void
test_backwards (void)
{
  GstHarness *h = test_harness (CAPS, "enter-threshold", 0.5, NULL);
  start_segment (h, -1, 0, 0); /* from frame 1000 on */
  for (int i = 20; i > 10; i--)
    gst_buffer_unref (test_send (h, test_frame (CAPS, i > 15 ? TINY_RED : TINY_BLUE, i)));
  end_of_stream (h);
  for (int i = 0; i < 2; i++) {
    g_autoptr (GstMessage) message = next_segment (test_bus (h));
    g_assert_nonnull (message);
    const GstStructure *s = gst_message_get_structure (message);
    const int from = i ? 11 : 16, to = i ? 16 : 21;
    g_assert_cmpstr (gst_structure_get_string (s, "label"), ==, tiny_labels[i ? TINY_BLUE : TINY_RED]);
    g_assert_cmpuint (time_in (s, "start"), ==, from * FRAME_TIME);
    g_assert_cmpuint (time_in (s, "end"), ==, to * FRAME_TIME);
    g_assert_cmpuint (time_in (s, "stream-start"), ==, from * FRAME_TIME);
    g_assert_cmpuint (time_in (s, "stream-end"), ==, to * FRAME_TIME);
    expect_running (s, 1000 - to, 1000 - from);
  }
  expect_none (h);
  test_harness_free (h);
}

/* Of frames that are not classified nothing is said; a segment lasts until an answer ends it. */
static void
test_interval (void)
{
  GstHarness *h = test_harness (CAPS, "enter-threshold", 0.5, "interval", 3, NULL);
  show (h, TINY_RED, 0, 2);
  show (h, TINY_BLUE, 2, 11); /* 3, 6, 9 */
  end_of_stream (h);
  expect (h, TINY_RED, 0, 3);
  expect (h, TINY_BLUE, 3, 10);
  expect_none (h);
  test_harness_free (h);
}

static void
test_min_duration (void)
{
  for (guint64 more = 0; more < 2; more++) {
    GstHarness *h = test_harness (CAPS, "enter-threshold", 0.5, "min-duration", 3 * FRAME_TIME + more, NULL);
    show (h, TINY_RED, 0, 2);
    show (h, TINY_BLUE, 2, 5);
    show (h, TINY_GREEN, 5, 9);
    show (h, TINY_RED, 9, 10);
    end_of_stream (h);
    if (more == 0)
      expect (h, TINY_BLUE, 2, 5);
    expect (h, TINY_GREEN, 5, 9);
    expect_none (h);
    test_harness_free (h);
  }
}

/* ---- what ends them ---- */

/* All messages that are posted before EOS comes out. */
static GstPadProbeReturn
on_event (GstPad *pad, GstPadProbeInfo *info, gpointer data)
{
  GstHarness *h = data;
  if (GST_EVENT_TYPE (GST_PAD_PROBE_INFO_EVENT (info)) == GST_EVENT_EOS)
    expect (h, TINY_RED, 0, 3);
  return GST_PAD_PROBE_OK;
}

static void
test_before_eos (void)
{
  GstHarness *h = test_harness (CAPS, "enter-threshold", 0.5, NULL);
  gst_pad_add_probe (h->sinkpad, GST_PAD_PROBE_TYPE_EVENT_DOWNSTREAM, on_event, h, NULL);
  show (h, TINY_RED, 0, 3);
  end_of_stream (h);
  expect_none (h);
  test_harness_free (h);
}

/* What happens at frame 3, and whether it ends what was open. */
static void
test_ends (void)
{
  enum { FLUSH, STREAM_START, OTHER_SEGMENT, SAME_SEGMENT, CAPS_CHANGE, BACK, SAME_CAPS, GAP, N };
  for (int what = 0; what < N; what++) {
    const gboolean ends = what != SAME_SEGMENT && what != SAME_CAPS && what != GAP;
    const gboolean at_once = ends && what != CAPS_CHANGE && what != BACK;
    GstHarness *h = test_harness (CAPS, "enter-threshold", 0.5, NULL);
    start_segment (h, 1, 0, 0);
    show (h, TINY_RED, 0, 3);
    if (what == FLUSH) {
      gst_harness_push_event (h, gst_event_new_flush_start ());
      gst_harness_push_event (h, gst_event_new_flush_stop (TRUE));
      expect (h, TINY_RED, 0, 3);
      start_segment (h, 1, 0, 0);
    } else if (what == STREAM_START) {
      gst_harness_push_event (h, gst_event_new_stream_start ("next"));
      gst_harness_set_src_caps_str (h, CAPS);
      start_segment (h, 1, 0, 0);
    } else if (what == OTHER_SEGMENT || what == SAME_SEGMENT) {
      start_segment (h, 1, what == OTHER_SEGMENT ? GST_SECOND : 0, 0);
    } else if (what == CAPS_CHANGE) {
      g_autoptr (GstCaps) caps = gst_caps_from_string (OTHER_CAPS); /* alone: the harness would start a segment too */
      gst_harness_push_event (h, gst_event_new_caps (caps));
    } else if (what == SAME_CAPS) {
      gst_harness_push_event (h, gst_pad_get_sticky_event (h->srcpad, GST_EVENT_CAPS, 0));
    } else if (what == GAP) {
      gst_harness_push_event (h, gst_event_new_gap (3 * FRAME_TIME, FRAME_TIME));
    }
    g_autoptr (GstQuery) drain = gst_query_new_drain ();
    gst_pad_peer_query (h->srcpad, drain);
    if (at_once && what != FLUSH)
      expect (h, TINY_RED, 0, 3);
    expect_none (h);
    int from = what == BACK ? 1 : 3;
    if (what == CAPS_CHANGE)
      gst_buffer_unref (test_send (h, test_frame (OTHER_CAPS, TINY_RED, from)));
    else
      show (h, TINY_RED, from, from + 1);
    if (ends && !at_once)
      expect (h, TINY_RED, 0, 3);
    expect_none (h);
    end_of_stream (h);
    expect (h, TINY_RED, ends ? from : 0, from + 1);
    expect_none (h);
    test_harness_free (h);
  }
}

/* Frame 1 has left without its result: it is computed, but the engine says so only when it is thawed. */
typedef struct {
  TestIce *ice;
  gboolean at_once; /* thaws while the frame is being pushed */
  guint n; /* requests in the batch that stands still: 1 if the frame's time was over before its computation began */
} Late;

static GstPadProbeReturn
on_late (GstPad *pad, GstPadProbeInfo *info, gpointer data)
{
  Late *late = data;
  late->n = test_wait_until_still (late->ice);
  if (late->at_once)
    test_thaw (late->ice);
  return GST_PAD_PROBE_REMOVE;
}

/* NULL: this machine took longer than @budget to begin with the frame */
static GstHarness *
try_harness_with_late (GstClockTime budget, Late *late)
{
  GstHarness *h = test_harness (CAPS, "enter-threshold", 0.5, "overload", 2, "latency-budget", 60 * (gint64) GST_SECOND,
      "batch-delay", 10 * (gint64) GST_SECOND, NULL);
  start_segment (h, 1, 0, 0);
  show (h, TINY_RED, 0, 1);
  late->ice = test_freeze (test_model ()); /* waits for the next frame, to be in one batch with it */
  gst_pad_add_probe (h->sinkpad, GST_PAD_PROBE_TYPE_BUFFER, on_late, late, NULL);
  g_object_set (h->element, "latency-budget", budget, NULL);
  g_autoptr (GstBuffer) out = test_send (h, test_frame (CAPS, TINY_RED, 1));
  if (late->n < 2) {
    if (!late->at_once)
      test_thaw (late->ice);
    test_harness_free (h);
    return NULL;
  }
  g_assert_cmpstr (test_state (out), ==, "held");
  g_assert_cmpuint (test_stat (h->element, "late"), ==, 1);
  g_object_set (h->element, "latency-budget", 60 * (gint64) GST_SECOND, NULL);
  return h;
}

static GstHarness *
harness_with_late (Late *late)
{
  GstHarness *h = NULL;
  for (GstClockTime budget = 250 * GST_MSECOND; !h; budget *= 2) {
    g_assert_cmpuint (budget, <, 60 * GST_SECOND);
    h = try_harness_with_late (budget, late);
  }
  return h;
}

/* A result that is late counts where it has come before the end, and is in no segment of what follows where it has not. */
static void
test_late (void)
{
  enum { NEVER, BEFORE_THE_END, AT_ONCE, N_WAYS };
  for (int t = 0; t < 3 * N_WAYS; t++) {
    const int comes = t % N_WAYS, end = t / N_WAYS;
    Late late = { .at_once = comes == AT_ONCE };
    GstHarness *h = harness_with_late (&late);
    if (comes == BEFORE_THE_END)
      test_thaw (late.ice);
    if (end == 0)
      start_segment (h, 1, GST_SECOND, 0);
    else if (end == 1)
      gst_harness_push_event (h, gst_event_new_stream_start ("next"));
    else
      end_of_stream (h);
    g_autoptr (GstQuery) drain = gst_query_new_drain ();
    gst_pad_peer_query (h->srcpad, drain);
    expect (h, TINY_RED, 0, comes == NEVER ? 1 : 2);
    expect_none (h);
    if (comes == NEVER)
      test_thaw (late.ice);
    if (end == 1) {
      gst_harness_set_src_caps_str (h, CAPS);
      start_segment (h, 1, 0, 0);
    }
    if (end < 2) {
      show (h, TINY_BLUE, 2, 3);
      expect_none (h);
      end_of_stream (h);
      expect (h, TINY_BLUE, 2, 3);
    }
    expect_none (h);
    test_harness_free (h);
  }
}

/* A segment is told by one thread, which takes its time over it; meanwhile another ends it too. */
typedef struct {
  GMutex lock;
  GCond changed;
  guint n_told;
} Told;

static GstBusSyncReply
on_segment (GstBus *bus, GstMessage *message, gpointer data)
{
  Told *told = data;
  if (!gst_message_has_name (message, "vig-segment"))
    return GST_BUS_PASS;
  g_mutex_lock (&told->lock);
  told->n_told++;
  g_cond_broadcast (&told->changed);
  const gint64 end = g_get_monotonic_time () + G_USEC_PER_SEC / 2;
  while (told->n_told < 2 && g_cond_wait_until (&told->changed, &told->lock, end)) ;
  g_mutex_unlock (&told->lock);
  return GST_BUS_PASS;
}

static gpointer
stop (gpointer element)
{
  g_assert_cmpint (gst_element_set_state (element, GST_STATE_READY), ==, GST_STATE_CHANGE_SUCCESS);
  return NULL;
}

/* Once, also when a flush and a stop end it at the same time. */
static void
test_flush_and_stop (void)
{
  Told told = { 0 };
  GstHarness *h = test_harness (CAPS, "enter-threshold", 0.5, NULL);
  show (h, TINY_RED, 0, 3);
  gst_bus_set_sync_handler (test_bus (h), on_segment, &told, NULL);
  gst_pad_push_event (h->srcpad, gst_event_new_flush_start ());
  GThread *thread = g_thread_new ("stop", stop, h->element);
  g_mutex_lock (&told.lock);
  while (told.n_told == 0)
    g_cond_wait (&told.changed, &told.lock);
  g_mutex_unlock (&told.lock);
  gst_pad_push_event (h->srcpad, gst_event_new_flush_stop (TRUE));
  g_thread_join (thread);
  gst_bus_set_sync_handler (test_bus (h), NULL, NULL, NULL);
  expect (h, TINY_RED, 0, 3);
  expect_none (h);
  test_harness_free (h);
}

/* An element that is stopped tells what was open, and only that. */
static void
test_stop (void)
{
  GstHarness *h = test_harness (CAPS, "enter-threshold", 0.5, NULL);
  show (h, TINY_RED, 0, 3);
  expect_none (h);
  g_assert_cmpint (gst_element_set_state (h->element, GST_STATE_READY), ==, GST_STATE_CHANGE_SUCCESS);
  expect (h, TINY_RED, 0, 3);
  gst_element_set_state (h->element, GST_STATE_NULL);
  expect_none (h);
  test_harness_free (h);
}

/* Another model: its labels are others, and what the old one said is over. */
static void
test_other_model (void)
{
  const char *labels[] = { "noir", "bleu", "vert", "turquoise", "rouge", "rose", "jaune", "blanc", NULL };
  g_autofree char *other = g_build_filename (test_dir (), "other.safetensors", NULL);
  tiny_model_write_as (other, "other", labels);
  GstHarness *h = test_harness (CAPS, "enter-threshold", 0.5, NULL);
  show (h, TINY_RED, 0, 3);
  g_object_set (h->element, "model-file", other, NULL);
  gboolean changed = FALSE;
  while (!changed) {
    g_autoptr (GstMessage) message = gst_bus_timed_pop_filtered (test_bus (h), 30 * GST_SECOND, GST_MESSAGE_ELEMENT);
    g_assert_nonnull (message);
    g_assert_false (gst_message_has_name (message, "vig-segment"));
    changed = gst_message_has_name (message, "vig-model");
  }
  show (h, TINY_RED, 3, 5);
  expect (h, TINY_RED, 0, 3);
  expect_none (h);
  end_of_stream (h);
  g_autoptr (GstMessage) message = next_segment (test_bus (h));
  g_assert_nonnull (message);
  g_assert_cmpstr (gst_structure_get_string (gst_message_get_structure (message), "label"), ==, "rouge");
  expect_none (h);
  test_harness_free (h);
}

/* ---- objects ---- */

/* Frame @i, all of one class, with an object for each letter: that of the alphabet is its tracking id; ? is not tracked. */
static GstBuffer *
frame_with (int class, const char *objects, int i)
{
  GstBuffer *buffer = test_frame (CAPS, class, i);
  GstAnalyticsRelationMeta *meta = gst_buffer_add_analytics_relation_meta (buffer);
  for (; *objects; objects++) {
    GstAnalyticsODMtd od;
    GstAnalyticsTrackingMtd tracking;
    gst_analytics_relation_meta_add_od_mtd (meta, g_quark_from_string (*objects == 'c' ? "car" : "person"), 0, 0, 48, 48,
        1, &od);
    if (*objects == '?')
      continue;
    gst_analytics_relation_meta_add_tracking_mtd (meta, (guint64) *objects, 0, &tracking);
    gst_analytics_relation_meta_set_relation (meta, GST_ANALYTICS_REL_TYPE_RELATE_TO, od.id, tracking.id);
  }
  return buffer;
}

static void
show_objects (GstHarness *h, int class, const char *objects, int from, int to)
{
  for (int i = from; i < to; i++)
    gst_buffer_unref (test_send (h, frame_with (class, objects, i)));
}

static void
expect_object (GstHarness *h, char id, const char *type, int class, int from, int to)
{
  g_autoptr (GstMessage) message = next_segment (test_bus (h));
  g_assert_nonnull (message);
  const GstStructure *s = gst_message_get_structure (message);
  g_assert_cmpuint (time_in (s, "tracking-id"), ==, (guint64) id);
  g_assert_cmpstr (gst_structure_get_string (s, "region-type"), ==, type);
  g_assert_cmpstr (gst_structure_get_string (s, "label"), ==, tiny_labels[class]);
  g_assert_cmpuint (time_in (s, "start"), ==, from * FRAME_TIME);
  g_assert_cmpuint (time_in (s, "end"), ==, to * FRAME_TIME);
}

static void
test_objects (void)
{
  GstHarness *h = test_harness (CAPS, "enter-threshold", 0.5, "regions", 2, NULL);
  show_objects (h, TINY_RED, "ac?", 0, 3);
  show_objects (h, TINY_RED, "a", 3, 4);
  show_objects (h, TINY_BLUE, "a?", 4, 6);
  expect (h, TINY_RED, 0, 4);
  expect_object (h, 'a', "person", TINY_RED, 0, 4);
  expect_none (h);
  end_of_stream (h);
  expect (h, TINY_BLUE, 4, 6);
  expect_object (h, 'c', "car", TINY_RED, 0, 3);
  expect_object (h, 'a', "person", TINY_BLUE, 4, 6);
  expect_none (h);
  test_harness_free (h);
}

/* One that is away for longer than hold-max has gone, and is another when it comes back; one that is there but not
 * classified has not. */
static void
test_objects_go (void)
{
  GstHarness *h = test_harness (CAPS, "enter-threshold", 0.5, "regions", 1, "hold-max", 2 * FRAME_TIME,
      "reclassify-interval", 10, NULL);
  show_objects (h, TINY_RED, "abc", 0, 3);
  show_objects (h, TINY_RED, "ab", 3, 4);
  show_objects (h, TINY_RED, "a", 4, 5);
  expect_none (h);
  show_objects (h, TINY_RED, "ab", 5, 6); /* c was last seen three frames ago */
  expect_object (h, 'c', "car", TINY_RED, 0, 1);
  show_objects (h, TINY_RED, "ab", 6, 20);
  show_objects (h, TINY_RED, "", 20, 22);
  expect_none (h);
  show_objects (h, TINY_BLUE, "ac", 22, 23);
  expect_object (h, 'a', "person", TINY_RED, 0, 11);
  expect_object (h, 'b', "person", TINY_RED, 0, 11);
  expect_none (h);
  end_of_stream (h);
  expect_object (h, 'a', "person", TINY_BLUE, 22, 23);
  expect_object (h, 'c', "car", TINY_BLUE, 22, 23);
  expect_none (h);
  test_harness_free (h);
}

/* Two of one id have none, and end none. */
static void
test_objects_of_one_id (void)
{
  GstHarness *h = test_harness (CAPS, "enter-threshold", 0.5, "regions", 1, "hold-max", (guint64) 1, NULL);
  show_objects (h, TINY_RED, "a", 0, 3);
  show_objects (h, TINY_BLUE, "aabb", 3, 6);
  show_objects (h, TINY_RED, "a", 6, 8);
  expect_none (h);
  end_of_stream (h);
  expect_object (h, 'a', "person", TINY_RED, 0, 8);
  expect_none (h);
  test_harness_free (h);
}

/* However far apart frames are: one that was in the last has not been away. */
static void
test_objects_stay (void)
{
  GstHarness *h = test_harness (CAPS, "enter-threshold", 0.5, "regions", 1, "hold-max", (guint64) 1, NULL);
  show_objects (h, TINY_RED, "a", 0, 3);
  show_objects (h, TINY_RED, "a", 500, 501);
  expect_none (h);
  end_of_stream (h);
  expect_object (h, 'a', "person", TINY_RED, 0, 501);
  expect_none (h);
  test_harness_free (h);
}

/* Frames without a time say nothing about how long an object is away, but those with one do, around them. */
static void
test_objects_without_times (void)
{
  GstHarness *h = test_harness (CAPS, "enter-threshold", 0.5, "regions", 1, "hold-max", 2 * FRAME_TIME, NULL);
  show_objects (h, TINY_RED, "a", 0, 2);
  GstBuffer *in = frame_with (TINY_RED, "a", 2);
  GST_BUFFER_PTS (in) = GST_CLOCK_TIME_NONE;
  gst_buffer_unref (test_send (h, in));
  show_objects (h, TINY_RED, "", 3, 4);
  expect_none (h);
  show_objects (h, TINY_RED, "", 4, 5);
  expect_object (h, 'a', "person", TINY_RED, 0, 2);
  expect_none (h);
  test_harness_free (h);
}

/* Of more objects than are remembered each is told nevertheless, once. */
static void
test_many_objects (void)
{
  const guint n = 1040; /* 1024 are remembered */
  GstHarness *h = test_harness (CAPS, "enter-threshold", 0.5, "regions", 1, "hold-max", G_MAXUINT64, NULL);
  g_autofree guint *told = g_new0 (guint, n);
  for (guint i = 0; i < n; i++) {
    GstBuffer *buffer = test_frame (CAPS, TINY_RED, (int) i);
    GstAnalyticsRelationMeta *meta = gst_buffer_add_analytics_relation_meta (buffer);
    GstAnalyticsODMtd od;
    GstAnalyticsTrackingMtd tracking;
    gst_analytics_relation_meta_add_od_mtd (meta, 0, 0, 0, 48, 48, 1, &od);
    gst_analytics_relation_meta_add_tracking_mtd (meta, i, 0, &tracking);
    gst_analytics_relation_meta_set_relation (meta, GST_ANALYTICS_REL_TYPE_RELATE_TO, od.id, tracking.id);
    gst_buffer_unref (test_send (h, buffer));
  }
  end_of_stream (h);
  GstMessage *message;
  while ((message = next_segment (test_bus (h)))) {
    const GstStructure *s = gst_message_get_structure (message);
    guint64 id = time_in (s, "tracking-id");
    g_assert_cmpuint (id, <, n);
    g_assert_cmpuint (time_in (s, "start"), ==, id * FRAME_TIME);
    told[id]++;
    gst_message_unref (message);
  }
  for (guint i = 0; i < n; i++)
    g_assert_cmpuint (told[i], ==, 1);
  test_harness_free (h);
}

/* ---- what is refused ---- */

static void
test_bad_thresholds (void)
{
  const double bad[][2] = { { 0.5, 0.6 }, { 0, 0.1 } };
  for (guint i = 0; i < G_N_ELEMENTS (bad); i++) {
    GstElement *element = gst_object_ref_sink (test_element ("enter-threshold", bad[i][0], "leave-threshold", bad[i][1], NULL));
    g_autoptr (GstBus) bus = gst_bus_new ();
    gst_element_set_bus (element, bus);
    g_assert_cmpint (gst_element_set_state (element, GST_STATE_PAUSED), ==, GST_STATE_CHANGE_FAILURE);
    test_expect_error (bus, GST_RESOURCE_ERROR, GST_RESOURCE_ERROR_SETTINGS, i
        ? "leave-threshold: expected at most enter-threshold, which is 0, found 0.1."
        : "leave-threshold: expected at most enter-threshold, which is 0.5, found 0.6.");
    g_object_set (element, "leave-threshold", bad[i][0], NULL); /* and then it can */
    g_assert_cmpint (gst_element_set_state (element, GST_STATE_PAUSED), !=, GST_STATE_CHANGE_FAILURE);
    gst_element_set_state (element, GST_STATE_NULL);
    gst_element_set_bus (element, NULL);
    gst_object_unref (element);
  }
}

int
main (int argc, char **argv)
{
  test_init (&argc, &argv);
  g_test_add_func ("/segments/definition", test_definition);
  g_test_add_func ("/segments/edges", test_edges);
  g_test_add_func ("/segments/off", test_off);
  g_test_add_func ("/segments/times", test_times);
  g_test_add_func ("/segments/missing-times", test_missing_times);
  g_test_add_func ("/segments/missing-and-back", test_missing_and_back);
  g_test_add_func ("/segments/backwards", test_backwards);
  g_test_add_func ("/segments/interval", test_interval);
  g_test_add_func ("/segments/min-duration", test_min_duration);
  g_test_add_func ("/segments/before-eos", test_before_eos);
  g_test_add_func ("/segments/ends", test_ends);
  g_test_add_func ("/segments/late", test_late);
  g_test_add_func ("/segments/stop", test_stop);
  g_test_add_func ("/segments/flush-and-stop", test_flush_and_stop);
  g_test_add_func ("/segments/other-model", test_other_model);
  g_test_add_func ("/segments/objects", test_objects);
  g_test_add_func ("/segments/objects-go", test_objects_go);
  g_test_add_func ("/segments/objects-of-one-id", test_objects_of_one_id);
  g_test_add_func ("/segments/objects-stay", test_objects_stay);
  g_test_add_func ("/segments/objects-without-times", test_objects_without_times);
  g_test_add_func ("/segments/many-objects", test_many_objects);
  g_test_add_func ("/segments/bad-thresholds", test_bad_thresholds);
  return test_run ();
}
