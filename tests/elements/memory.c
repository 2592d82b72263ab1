/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Models that see more than one frame, modes stream and joint: in whatever batches, with whatever between frames, answers have the
 * bits that the engine alone gives to the same frames and times. */
#include <gst/analytics/analytics.h>
#include <vig/vig.h>

#include "common.h"

#define CAPS "video/x-raw,format=RGB,width=48,height=48,framerate=25/1"
#define LONG 40 /* frames */

/* Modes as the enumeration has them. */
enum { NONE = 1, JOINT = 4, STREAM };

static GstHarness *
harness (TinyKind kind, const char *first_property, ...)
{
  g_autofree char *model = test_model_over_time (kind);
  GstHarness *h = test_harness (NULL, "model-file", model, "top-k", TINY_CLASSES, NULL);
  va_list properties;
  va_start (properties, first_property);
  g_object_set_valist (G_OBJECT (h->element), first_property, properties);
  va_end (properties);
  gst_harness_set_src_caps_str (h, CAPS);
  return h;
}

/* ---- frames ---- */

/* Number @i of the pictures that no two are alike of, at @time. */
static GstBuffer *
picture (guint i, GstClockTime time)
{
  GstBuffer *buffer = test_colour (CAPS, (i + 1) * 0x9e3779b1u >> 8);
  GST_BUFFER_PTS (buffer) = time;
  GST_BUFFER_DURATION (buffer) = FRAME_TIME;
  return buffer;
}

/* @id < 0: it is not tracked. */
static void
add_object (GstBuffer *buffer, gint64 id)
{
  GstAnalyticsODMtd od;
  GstAnalyticsTrackingMtd tracking;
  GstAnalyticsRelationMeta *meta = gst_buffer_add_analytics_relation_meta (buffer);
  gst_analytics_relation_meta_add_od_mtd (meta, g_quark_from_string ("thing"), 0, 0, 48, 48, 1, &od);
  if (id < 0)
    return;
  gst_analytics_relation_meta_add_tracking_mtd (meta, (guint64) id, 0, &tracking);
  gst_analytics_relation_meta_set_relation (meta, GST_ANALYTICS_REL_TYPE_RELATE_TO, od.id, tracking.id);
}

/* Rates change, a frame has the time of the one before, hours pass. */
static GstClockTime
uneven (guint i)
{
  const guint steps[] = { 0, 40, 40, 80, 0, 7, 40, 10800000, 40, 33 };
  GstClockTime time = 5 * GST_SECOND;
  for (guint k = 0; k <= i; k++)
    time += steps[k % G_N_ELEMENTS (steps)] * GST_MSECOND;
  return time;
}

/* ---- what the engine says ---- */

typedef struct {
  VigEngine *engine;
  VigState *state;
  gboolean alone; /* each frame by itself */
} Oracle;

static Oracle
oracle_new (TinyKind kind)
{
  g_autoptr (GError) error = NULL;
  g_autofree char *path = test_model_over_time (kind);
  g_autoptr (VigModel) model = vig_model_load (path, &error);
  g_assert_no_error (error);
  const VigEngineOptions options = { .device = "cpu", .precision = VIG_PRECISION_FP32, .n_threads = 1 };
  Oracle o = { .engine = vig_engine_new (model, &options, &error) };
  g_assert_no_error (error);
  if (kind == TINY_STREAM)
    o.state = vig_state_new (o.engine, &error);
  g_assert_no_error (error);
  return o;
}

static void
oracle_clear (Oracle *o)
{
  vig_state_free (o->state);
  vig_engine_free (o->engine);
}

static VigFrame
view (const GstMapInfo *map)
{
  return (VigFrame) { .format = VIG_FORMAT_RGB, .width = 48, .height = 48, .data = { map->data }, .stride = { 144 },
    .full_range = TRUE };
}

/* Of the pictures with these numbers: the next of a stream at @time, or a window. */
static void
ask (Oracle *o, const guint *pictures, guint n, gint64 time, float *p)
{
  g_autoptr (GError) error = NULL;
  GstBuffer *buffers[LONG];
  GstMapInfo maps[LONG];
  VigFrame frames[LONG];
  for (guint i = 0; i < n; i++) {
    buffers[i] = picture (pictures[i], 0);
    gst_buffer_map (buffers[i], &maps[i], GST_MAP_READ);
    frames[i] = view (&maps[i]);
  }
  VigOutput output = { .probabilities = p };
  if (o->alone)
    vig_engine_classify_frames (o->engine, frames, 1, 0, &output, &error);
  else if (o->state)
    vig_engine_classify_stream (o->engine, frames, &(VigMoment) { o->state, time }, 1, 0, &output, &error);
  else
    vig_engine_classify_windows (o->engine, frames, 1, n, 0, NULL, &output, &error);
  g_assert_no_error (error);
  for (guint i = 0; i < n; i++) {
    gst_buffer_unmap (buffers[i], &maps[i]);
    gst_buffer_unref (buffers[i]);
  }
}

/* ---- what the element says ---- */

static void
expect_bits (GstBuffer *buffer, guint which, const float *p)
{
  GstAnalyticsClsMtd cls;
  guint id;
  g_assert_nonnull (test_result (buffer, which));
  g_assert_true (gst_structure_get_uint (test_result (buffer, which), "cls-id", &id));
  g_assert_true (gst_analytics_relation_meta_get_cls_mtd (gst_buffer_get_analytics_relation_meta (buffer), id, &cls));
  g_assert_cmpuint (gst_analytics_cls_mtd_get_length (&cls), ==, TINY_CLASSES);
  for (guint c = 0; c < TINY_CLASSES; c++)
    for (guint k = 0; k < TINY_CLASSES; k++)
      if (g_str_equal (tiny_labels[c], g_quark_to_string (gst_analytics_cls_mtd_get_quark (&cls, k))))
        g_assert_cmpfloat (gst_analytics_cls_mtd_get_level (&cls, k), ==, p[c]);
}

static void
expect_span (GstBuffer *buffer, guint which, GstClockTime start, GstClockTime last, gboolean warming_up)
{
  guint64 from, to;
  gboolean warming;
  g_assert_true (gst_structure_get (test_result (buffer, which), "span-start", G_TYPE_UINT64, &from, "span-last",
          G_TYPE_UINT64, &to, "warming-up", G_TYPE_BOOLEAN, &warming, NULL));
  g_assert_cmpuint (from, ==, start);
  g_assert_cmpuint (to, ==, last);
  g_assert_cmpint (warming, ==, warming_up);
}

static void
expect_mode (GstBuffer *buffer, const char *mode)
{
  g_assert_cmpstr (gst_structure_get_string (test_result (buffer, 0), "clip-mode"), ==, mode);
}

/* The next frame of the oracle's stream, at @time by its clock. */
static void
expect_next (GstBuffer *out, guint which, Oracle *o, guint number, gint64 time)
{
  float p[TINY_CLASSES];
  ask (o, &number, 1, time, p);
  expect_bits (out, which, p);
}

/* ---- stream ---- */

/* Frame by frame, and with so many in flight that they are batched. */
static void
test_stream (gconstpointer data)
{
  const guint in_flight = GPOINTER_TO_UINT (data);
  Oracle o = oracle_new (TINY_STREAM);
  GstHarness *h = harness (TINY_STREAM, "max-in-flight", in_flight, NULL);
  for (guint i = 0; i < LONG; i += in_flight) {
    for (guint k = 0; k < in_flight; k++)
      g_assert_cmpint (gst_harness_push (h, picture (i + k, uneven (i + k))), ==, GST_FLOW_OK);
    for (guint k = 0; k < in_flight; k++) {
      g_autoptr (GstBuffer) out = gst_harness_pull (h);
      g_assert_cmpstr (test_state (out), ==, "fresh");
      expect_mode (out, "stream"); /* that is what auto is */
      expect_next (out, 0, &o, i + k, (gint64) uneven (i + k));
      expect_span (out, 0, uneven (0), uneven (i + k), i + k == 0);
    }
  }
  g_assert_cmpuint (test_stat (h->element, "classified"), ==, LONG);
  test_harness_free (h);
  oracle_clear (&o);
}

/* A file in parts, many frames of it in one batch, is what it is live. */
static void
test_parts (void)
{
  g_autoptr (GError) error = NULL;
  Oracle parts = oracle_new (TINY_STREAM);
  GstBuffer *buffers[LONG];
  GstMapInfo maps[LONG];
  VigFrame frames[LONG];
  VigMoment moments[LONG];
  float p[LONG * TINY_CLASSES];
  for (guint i = 0; i < LONG; i++) {
    buffers[i] = picture (i, 0);
    gst_buffer_map (buffers[i], &maps[i], GST_MAP_READ);
    frames[i] = view (&maps[i]);
    moments[i] = (VigMoment) { parts.state, (gint64) uneven (i) };
  }
  const guint ends[] = { 17, 18, 31, LONG };
  for (guint k = 0, i = 0; k < G_N_ELEMENTS (ends); i = ends[k++])
    g_assert_true (vig_engine_classify_stream (parts.engine, frames + i, moments + i, ends[k] - i, 0,
            &(VigOutput) { .probabilities = p + i * TINY_CLASSES }, &error));
  GstHarness *h = harness (TINY_STREAM, NULL);
  for (guint i = 0; i < LONG; i++) {
    g_autoptr (GstBuffer) out = test_send (h, picture (i, uneven (i)));
    expect_bits (out, 0, p + i * TINY_CLASSES);
    gst_buffer_unmap (buffers[i], &maps[i]);
    gst_buffer_unref (buffers[i]);
  }
  test_harness_free (h);
  oracle_clear (&parts);
}

/* What a frame says depends on those before it, in this model, and with clip-mode=none it does not. */
static void
test_none (void)
{
  for (TinyKind kind = TINY_JOINT; kind <= TINY_STREAM; kind++) {
    g_autofree char *path = test_model_over_time (kind);
    GstHarness *h = harness (kind, NULL);
    GstHarness *alone = test_harness (CAPS, "model-file", path, "top-k", TINY_CLASSES, "clip-mode", NONE, NULL);
    for (guint i = 0; i < 4; i++) {
      float p[TINY_CLASSES];
      Oracle o = oracle_new (kind);
      o.alone = TRUE;
      ask (&o, &i, 1, 0, p);
      g_autoptr (GstBuffer) out = test_send (alone, picture (i, i * FRAME_TIME));
      expect_mode (out, "none");
      expect_span (out, 0, i * FRAME_TIME, i * FRAME_TIME, FALSE);
      expect_bits (out, 0, p);
      g_autoptr (GstBuffer) other = test_send (h, picture (i, i * FRAME_TIME));
      if (kind == TINY_STREAM && i > 0)
        g_assert_cmpfloat (test_confidence (other), !=, test_confidence (out));
      oracle_clear (&o);
    }
    test_harness_free (alone);
    test_harness_free (h);
  }
}

/* Frames that are not classified do not warp time. */
static void
test_interval (void)
{
  Oracle o = oracle_new (TINY_STREAM);
  GstHarness *h = harness (TINY_STREAM, "interval", 3, "hold-max", G_MAXUINT64, NULL);
  for (guint i = 0; i < LONG; i++) {
    g_autoptr (GstBuffer) out = test_send (h, picture (i, uneven (i)));
    g_assert_cmpstr (test_state (out), ==, i % 3 ? "held" : "fresh");
    if (i % 3 == 0)
      expect_next (out, 0, &o, i, (gint64) uneven (i));
    expect_span (out, 0, uneven (0), uneven (i / 3 * 3), i < 3);
  }
  test_harness_free (h);
  oracle_clear (&o);
}

static void
test_reset (void)
{
  const char *reasons[] = { "flush", "discont", "caps", "stream-start", "nothing" };
  for (guint r = 0; r < G_N_ELEMENTS (reasons); r++) {
    for (guint mask = 0; mask < 16; mask += 5) { /* none, two and two, all */
      const gboolean resets = mask >> r & 1;
      Oracle o = oracle_new (TINY_STREAM);
      GstHarness *h = harness (TINY_STREAM, "clip-reset", mask, NULL);
      for (guint i = 0; i < 6; i++) {
        GstBuffer *in = picture (i, uneven (i));
        if (i == 3)
          test_happen (h, CAPS, reasons[r]);
        if (i == 3 && g_str_equal (reasons[r], "discont"))
          GST_BUFFER_FLAG_SET (in, GST_BUFFER_FLAG_DISCONT);
        if (i == 3 && resets)
          vig_state_reset (o.state);
        g_autoptr (GstBuffer) out = test_send (h, in);
        expect_next (out, 0, &o, i, (gint64) uneven (i));
        expect_span (out, 0, uneven (i >= 3 && resets ? 3 : 0), uneven (i), i == (i >= 3 && resets ? 3 : 0));
      }
      test_harness_free (h);
      oracle_clear (&o);
    }
  }
}

/* A discontinuity on a frame that is not classified is one for the next that is. */
static void
test_reset_between (void)
{
  Oracle o = oracle_new (TINY_STREAM);
  GstHarness *h = harness (TINY_STREAM, "interval", 2, NULL);
  for (guint i = 0; i < 8; i++) {
    GstBuffer *in = picture (i, i * FRAME_TIME);
    if (i == 3)
      GST_BUFFER_FLAG_SET (in, GST_BUFFER_FLAG_DISCONT);
    g_autoptr (GstBuffer) out = test_send (h, in);
    if (i == 4)
      vig_state_reset (o.state);
    if (i % 2 == 0)
      expect_next (out, 0, &o, i, (gint64) (i * FRAME_TIME));
  }
  test_harness_free (h);
  oracle_clear (&o);
}

/* ---- timestamps that are none, or go backwards ---- */

static guint n_warnings;

static void
count_warnings (GstDebugCategory *category, GstDebugLevel level, const char *file, const char *function, int line,
    GObject *object, GstDebugMessage *message, gpointer data)
{
  if (level == GST_LEVEL_WARNING && strstr (gst_debug_message_get (message), "time goes backwards: expected a frame behind "
          "0:00:00.080000000, found one at 0:00:00.060000000: answers begin anew"))
    n_warnings++;
}

static void
test_backwards (void)
{
  const guint times[] = { 0, 40, 80, 60, 100, 140, 20, 60 };
  Oracle o = oracle_new (TINY_STREAM);
  GstHarness *h = harness (TINY_STREAM, "clip-reset", 0, NULL);
  GstClockTime start = 0;
  n_warnings = 0;
  gst_debug_set_threshold_for_name ("vigclassify", GST_LEVEL_WARNING);
  (gst_debug_add_log_function) (count_warnings, NULL, NULL);
  for (guint i = 0; i < G_N_ELEMENTS (times); i++) {
    const GstClockTime time = times[i] * GST_MSECOND;
    if (i > 0 && times[i] < times[i - 1]) {
      vig_state_reset (o.state);
      start = time;
    }
    g_autoptr (GstBuffer) out = test_send (h, picture (i, time));
    expect_next (out, 0, &o, i, (gint64) time);
    expect_span (out, 0, start, time, time == start);
  }
  g_assert_cmpuint (n_warnings, ==, 1);
  g_autofree char *path = test_model_over_time (TINY_STREAM);
  GstHarness *alone = test_harness (CAPS, "model-file", path, "clip-mode", NONE, NULL); /* where nothing begins anew nothing is said */
  for (guint i = 0; i < G_N_ELEMENTS (times); i++)
    gst_buffer_unref (test_send (alone, picture (i, times[i] * GST_MSECOND)));
  test_harness_free (alone);
  (gst_debug_remove_log_function) (count_warnings);
  g_assert_cmpuint (n_warnings, ==, 1);
  test_expect_no_error (test_bus (h));
  test_harness_free (h);
  oracle_clear (&o);
}

/* A frame without a timestamp is one frame behind the one before. What is guessed before any is known ends with the first. */
static void
test_missing (void)
{
  Oracle o = oracle_new (TINY_STREAM);
  GstHarness *h = harness (TINY_STREAM, NULL);
  const gint64 times[] = { 0, 40, 80, 200, 240, 290, 300, 340 };
  for (guint i = 0; i < G_N_ELEMENTS (times); i++) {
    const gboolean has = i == 3 || i == 6;
    GstBuffer *in = picture (i, has ? (GstClockTime) times[i] * GST_MSECOND : GST_CLOCK_TIME_NONE);
    if (i == 5)
      GST_BUFFER_DURATION (in) = 50 * GST_MSECOND; /* its own, else that of the caps */
    else
      GST_BUFFER_DURATION (in) = GST_CLOCK_TIME_NONE;
    g_autoptr (GstBuffer) out = test_send (h, in);
    if (i == 3)
      vig_state_reset (o.state);
    expect_next (out, 0, &o, i, times[i] * (gint64) GST_MSECOND);
    if (has)
      expect_span (out, 0, 200 * GST_MSECOND, (GstClockTime) times[i] * GST_MSECOND, i == 3);
    else
      expect_span (out, 0, GST_CLOCK_TIME_NONE, GST_CLOCK_TIME_NONE, i == 0);
  }
  gst_harness_set_src_caps_str (h, "video/x-raw,format=RGB,width=48,height=48,framerate=0/1");
  vig_state_reset (o.state);
  for (guint i = 0; i < 3; i++) { /* nobody knows: all of one time */
    GstBuffer *in = picture (i, GST_CLOCK_TIME_NONE);
    GST_BUFFER_DURATION (in) = GST_CLOCK_TIME_NONE;
    g_autoptr (GstBuffer) out = test_send (h, in);
    expect_next (out, 0, &o, i, 7);
  }
  test_harness_free (h);
  oracle_clear (&o);
}

/* Timestamps that rise are none that go back, wherever the guesses between them were: time waits for them. */
static void
test_guessed_too_far (void)
{
  Oracle o = oracle_new (TINY_STREAM);
  GstHarness *h = harness (TINY_STREAM, "regions", 2, NULL);
  const struct { int pts; guint is; } frames[] = { { 100, 100 }, { -1, 140 }, { -1, 180 }, { 150, 180 }, { 170, 180 }, { 190, 190 } };
  for (int rate = 1; rate >= -1; rate -= 2) {
    test_start_segment (h, rate);
    vig_state_reset (o.state);
    for (guint i = 0; i < G_N_ELEMENTS (frames); i++) {
      const gint64 zero = rate < 0 ? 1000 : 0;
      const GstClockTime pts = frames[i].pts < 0 ? GST_CLOCK_TIME_NONE
          : (GstClockTime) (zero + rate * frames[i].pts) * GST_MSECOND;
      GstBuffer *in = picture (i, pts);
      if (i > 3)
        add_object (in, rate + 1);
      g_autoptr (GstBuffer) out = test_send (h, in);
      expect_next (out, 0, &o, i, (gint64) GST_MSECOND * (rate * zero + frames[i].is));
      if (GST_CLOCK_TIME_IS_VALID (pts))
        expect_span (out, 0, (GstClockTime) (zero + rate * 100) * GST_MSECOND, pts, i == 0);
      if (i == 4) /* begins at a time that is guessed too far, and yet not behind its own frame */
        expect_span (out, 1, pts, pts, TRUE);
    }
  }
  test_harness_free (h);
  oracle_clear (&o);
}

/* Played faster or slower, time in the scene is what it is; backwards, it goes the other way round, from frame to frame on. */
static void
test_rates (void)
{
  Oracle o = oracle_new (TINY_STREAM);
  GstHarness *h = harness (TINY_STREAM, NULL);
  guint i = 0;
  for (; i < 12; i++) {
    if (i % 4 == 0)
      test_start_segment (h, i == 4 ? 2 : 1);
    g_autoptr (GstBuffer) out = test_send (h, picture (i, uneven (i)));
    expect_next (out, 0, &o, i, (gint64) uneven (i));
  }
  test_start_segment (h, -1);
  vig_state_reset (o.state);
  for (i = 30; i > 20; i--) {
    g_autoptr (GstBuffer) out = test_send (h, picture (i, i * FRAME_TIME));
    expect_next (out, 0, &o, i, -(gint64) (i * FRAME_TIME));
    expect_span (out, 0, 30 * FRAME_TIME, i * FRAME_TIME, i == 30);
  }
  test_harness_free (h);
  oracle_clear (&o);
}

/* A flush that resets nothing (but time) does not turn the stream round. */
static void
test_flush_backwards (void)
{
  Oracle o = oracle_new (TINY_STREAM);
  GstHarness *h = harness (TINY_STREAM, "clip-reset", 0, NULL);
  test_start_segment (h, -1);
  for (guint i = 20; i > 10; i--) {
    if (i == 15) {
      gst_harness_push_event (h, gst_event_new_flush_start ());
      gst_harness_push_event (h, gst_event_new_flush_stop (TRUE));
      test_start_segment (h, -1);
    }
    g_autoptr (GstBuffer) out = test_send (h, picture (i, i * FRAME_TIME));
    expect_next (out, 0, &o, i, -(gint64) (i * FRAME_TIME));
    expect_span (out, 0, 20 * FRAME_TIME, i * FRAME_TIME, i == 20);
  }
  test_harness_free (h);
  oracle_clear (&o);
}

/* Times at the end of what there is. */
static void
test_far_times (void)
{
  const GstClockTime times[] = { 0, 1, G_MAXINT64 - 1, G_MAXINT64, (GstClockTime) G_MAXINT64 + 1, GST_CLOCK_TIME_NONE - 1 };
  GstHarness *h = harness (TINY_STREAM, NULL);
  for (guint i = 0; i < G_N_ELEMENTS (times); i++) {
    g_autoptr (GstBuffer) out = test_send (h, picture (i, times[i]));
    g_assert_cmpstr (test_state (out), ==, "fresh");
  }
  test_expect_no_error (test_bus (h));
  test_harness_free (h);
}

/* ---- joint ---- */

static void
test_joint (void)
{
  const struct { guint length, stride, hop; } shapes[] = { { 4, 1, 3 }, { 3, 2, 4 }, { 5, 2, 3 }, { 1, 1, 1 }, { 16, 1, 8 } };
  Oracle o = oracle_new (TINY_JOINT);
  for (guint s = 0; s < G_N_ELEMENTS (shapes); s++) {
    const guint length = shapes[s].length, stride = shapes[s].stride;
    const guint hop = (shapes[s].hop + stride - 1) / stride * stride; /* to the next frame that is in a window */
    GstHarness *h = harness (TINY_JOINT, "clip-length", length, "clip-stride", stride, "clip-hop", shapes[s].hop, NULL);
    float p[TINY_CLASSES];
    for (guint i = 0; i < LONG; i++) {
      const guint newest = i / hop * hop, n = MIN (newest / stride + 1, length), oldest = newest - (n - 1) * stride;
      guint window[LONG];
      for (guint k = 0; k < n; k++)
        window[k] = oldest + k * stride;
      g_autoptr (GstBuffer) out = test_send (h, picture (i, i * FRAME_TIME));
      if (i == newest)
        ask (&o, window, n, 0, p);
      expect_mode (out, "joint");
      g_assert_cmpstr (test_state (out), ==, i == newest ? "fresh" : "held");
      g_assert_cmpuint (test_age (out), ==, (i - newest) * FRAME_TIME);
      expect_bits (out, 0, p);
      expect_span (out, 0, oldest * FRAME_TIME, newest * FRAME_TIME, n < length);
    }
    g_assert_cmpuint (test_stat (h->element, "classified"), ==, (LONG + hop - 1) / hop);
    test_harness_free (h);
  }
  oracle_clear (&o);
}

/* Another length begins anew, and so does what ends a stream. */
static void
test_joint_anew (void)
{
  Oracle o = oracle_new (TINY_JOINT);
  GstHarness *h = harness (TINY_JOINT, "clip-length", 4, "clip-hop", 1, NULL);
  guint start = 0;
  for (guint i = 0; i < 20; i++) {
    const guint length = i < 6 ? 4 : 3;
    guint window[4];
    float p[TINY_CLASSES];
    if (i == 6)
      g_object_set (h->element, "clip-length", 3, NULL);
    if (i == 12)
      test_happen (h, CAPS, "stream-start");
    if (i == 6 || i == 12)
      start = i;
    const guint n = MIN (i - start + 1, length);
    for (guint k = 0; k < n; k++)
      window[k] = i + 1 - n + k;
    ask (&o, window, n, 0, p);
    g_autoptr (GstBuffer) out = test_send (h, picture (i, i * FRAME_TIME));
    expect_bits (out, 0, p);
    expect_span (out, 0, (i + 1 - n) * FRAME_TIME, i * FRAME_TIME, n < length);
  }
  test_harness_free (h);
  oracle_clear (&o);
}

/* The first frame behind a step back in time is the first of a window, and answered. */
static void
test_joint_backwards (void)
{
  Oracle o = oracle_new (TINY_JOINT);
  GstHarness *h = harness (TINY_JOINT, "clip-length", 4, "clip-hop", 3, "clip-reset", 0, NULL);
  for (guint i = 0; i < 12; i++) {
    const guint start = i < 5 ? 0 : 5, newest = start + (i - start) / 3 * 3, n = MIN (newest - start + 1, 4);
    const GstClockTime ago = i < 5 ? 0 : 3 * FRAME_TIME;
    g_autoptr (GstBuffer) out = test_send (h, picture (i, (i + 10) * FRAME_TIME - ago));
    if (i == newest) {
      guint window[4];
      float p[TINY_CLASSES];
      for (guint k = 0; k < n; k++)
        window[k] = i + 1 - n + k;
      ask (&o, window, n, 0, p);
      expect_bits (out, 0, p);
      expect_span (out, 0, (i + 11 - n) * FRAME_TIME - ago, (i + 10) * FRAME_TIME - ago, n < 4);
    }
    g_assert_cmpstr (test_state (out), ==, i == newest ? "fresh" : "held");
  }
  test_harness_free (h);
  oracle_clear (&o);
}

/* Result 0 is of this window, the last frame of which it is about. */
static void
expect_window (GstBuffer *out, Oracle *o, const guint *window, guint n, gboolean warming_up)
{
  float p[TINY_CLASSES];
  ask (o, window, n, 0, p);
  g_assert_cmpstr (test_state (out), ==, "fresh");
  expect_bits (out, 0, p);
  expect_span (out, 0, window[0] * FRAME_TIME, window[n - 1] * FRAME_TIME, warming_up);
}

/* Another hop goes on with the same window, another stride begins anew. */
static void
test_joint_settings (void)
{
  Oracle o = oracle_new (TINY_JOINT);
  GstHarness *h = harness (TINY_JOINT, "clip-length", 3, "clip-hop", 1, NULL);
  for (guint i = 0; i < 18; i++) {
    if (i == 6)
      g_object_set (h->element, "clip-hop", 3, NULL);
    if (i == 12)
      g_object_set (h->element, "clip-stride", 2, NULL); /* frame 11 was one of a window, so 13 is */
    g_autoptr (GstBuffer) out = test_send (h, picture (i, i * FRAME_TIME));
    if (i < 2)
      expect_window (out, &o, (const guint[]) { 0, 1 }, i + 1, TRUE);
    else if (i < 6 || i == 8 || i == 11)
      expect_window (out, &o, (const guint[]) { i - 2, i - 1, i }, 3, FALSE);
    else if (i == 13)
      expect_window (out, &o, &i, 1, TRUE);
    else if (i == 17)
      expect_window (out, &o, (const guint[]) { 13, 15, 17 }, 3, FALSE);
    else
      g_assert_cmpstr (test_state (out), ==, "held");
  }
  test_harness_free (h);
  oracle_clear (&o);
}

/* The frame @i is in the element when it has to go: by its time, or by a flush. */
static void
lose (GstHarness *h, guint i, gboolean by_flush)
{
  g_autofree char *path = test_model_over_time (TINY_JOINT);
  TestIce *ice = test_freeze (path);
  test_wait_until_still (ice);
  g_object_set (h->element, "latency-budget", by_flush ? 60 * (gint64) GST_SECOND : 0, NULL);
  g_assert_cmpint (gst_harness_push (h, picture (i, i * FRAME_TIME)), ==, GST_FLOW_OK);
  if (by_flush) {
    test_happen (h, CAPS, "flush");
  } else {
    gst_buffer_unref (gst_harness_pull (h));
    g_assert_cmpuint (test_stat (h->element, "shed"), >, 0);
  }
  g_object_set (h->element, "latency-budget", 60 * (gint64) GST_SECOND, NULL);
  test_thaw (ice);
}

/* An answer that was not made is made up for by the next frame: the first, and a later one. */
static void
test_joint_lost (gconstpointer data)
{
  Oracle o = oracle_new (TINY_JOINT);
  for (guint first = 0; first < 2; first++) {
    GstHarness *h = harness (TINY_JOINT, "clip-length", 3, "clip-hop", 3, "clip-reset", 0, "overload", 2, "latency-budget",
        60 * (gint64) GST_SECOND, "hold-max", G_MAXUINT64, NULL);
    const guint lost = first ? 0 : 3;
    for (guint i = 0; i < lost; i++)
      gst_buffer_unref (test_send (h, picture (i, i * FRAME_TIME)));
    lose (h, lost, GPOINTER_TO_INT (data));
    for (guint i = lost + 1; i < lost + 5; i++) {
      const guint before[] = { 1, 2, 4 }, behind[] = { i - 2, i - 1, i };
      g_autoptr (GstBuffer) out = test_send (h, picture (i, i * FRAME_TIME));
      if (i == lost + 1)
        expect_window (out, &o, first ? &i : before, first ? 1 : 3, first);
      else if (i == lost + 4)
        expect_window (out, &o, behind, 3, FALSE);
      else
        g_assert_cmpstr (test_state (out), ==, "held");
    }
    test_harness_free (h);
  }
  oracle_clear (&o);
}

/* ---- objects ---- */

/* Objects come, go and come again; each has a memory of its own, for as long as it is not away for longer than hold-max. One
 * that is not tracked, or has the id of another, is by itself. */
static void
test_objects (void)
{
  enum { N = 4 };
  const guint away = 5; /* frames */
  Oracle frame = oracle_new (TINY_STREAM), objects[N];
  guint last[N] = { 0 }, first[N] = { 0 };
  gboolean known[N] = { FALSE };
  GstHarness *h = harness (TINY_STREAM, "regions", 2, "hold-max", away * FRAME_TIME, NULL);
  for (guint k = 0; k < N; k++)
    objects[k] = oracle_new (TINY_STREAM);
  for (guint i = 0; i < LONG; i++) {
    guint there[N], n = 0;
    GstBuffer *in = picture (i, i * FRAME_TIME);
    for (guint k = 0; k < N; k++)
      if ((i + k * 7) % (9 + k) >= 2 * k) {
        add_object (in, k);
        there[n++] = k;
      }
    add_object (in, -1);
    if (i == 9)
      add_object (in, 0);
    g_autoptr (GstBuffer) out = test_send (h, in);
    expect_next (out, 0, &frame, i, (gint64) (i * FRAME_TIME));
    const guint n_twins = i == 9 && n > 0 && there[0] == 0;
    g_assert_cmpuint (n_twins, ==, i == 9);
    for (guint r = n_twins; r < n; r++) {
      const guint k = there[r];
      if (!known[k] || i - last[k] > away) {
        vig_state_reset (objects[k].state);
        first[k] = i;
      }
      known[k] = TRUE;
      last[k] = i;
      expect_next (out, 1 + r, &objects[k], i, (gint64) (i * FRAME_TIME));
      expect_span (out, 1 + r, first[k] * FRAME_TIME, i * FRAME_TIME, i == first[k]);
    }
    if (n_twins)
      last[0] = i; /* it is there, in one of them */
    for (guint r = n_twins ? 0 : n; r < n + 1 + n_twins; r = r == 0 && n_twins ? n : r + 1) {
      Oracle alone = oracle_new (TINY_STREAM);
      expect_next (out, 1 + r, &alone, i, 0);
      expect_span (out, 1 + r, i * FRAME_TIME, i * FRAME_TIME, TRUE);
      oracle_clear (&alone);
    }
  }
  for (guint k = 0; k < N; k++)
    oracle_clear (&objects[k]);
  test_harness_free (h);
  oracle_clear (&frame);
}

/* An object that is in every frame has not been away, however little is held and however far apart they are. */
static void
test_objects_always_there (void)
{
  Oracle o = oracle_new (TINY_STREAM);
  GstHarness *h = harness (TINY_STREAM, "regions", 1, "hold-max", (guint64) 0, "reclassify-interval", 2, NULL);
  for (guint i = 0; i < 9; i++) {
    GstBuffer *in = picture (i, uneven (i));
    add_object (in, 3);
    g_autoptr (GstBuffer) out = test_send (h, in);
    if (i % 2)
      continue;
    expect_next (out, 0, &o, i, (gint64) uneven (i));
    expect_span (out, 0, uneven (0), uneven (i), i == 0);
  }
  test_harness_free (h);
  oracle_clear (&o);
}

/* For how long one was away is told by running time, as for how long a result is held: at twice the rate it is half as long. */
static void
test_objects_at_rates (void)
{
  for (guint rate = 1; rate <= 2; rate++) {
    GstHarness *h = harness (TINY_STREAM, "regions", 1, "hold-max", 3 * FRAME_TIME, NULL);
    test_start_segment (h, rate);
    for (guint i = 0; i < 7; i++) {
      GstBuffer *in = picture (i, i * FRAME_TIME);
      if (i == 0 || i == 6)
        add_object (in, 3);
      g_autoptr (GstBuffer) out = test_send (h, in);
      if (i == 6)
        expect_span (out, 0, (rate > 1 ? 0 : 6) * FRAME_TIME, 6 * FRAME_TIME, rate == 1);
    }
    test_harness_free (h);
  }
}

/* Each object has a window of its own. */
static void
test_objects_joint (void)
{
  Oracle o = oracle_new (TINY_JOINT);
  GstHarness *h = harness (TINY_JOINT, "regions", 1, "clip-length", 3, "clip-hop", 1, NULL);
  guint seen[2][LONG], n_seen[2] = { 0 };
  for (guint i = 0; i < LONG; i++) {
    GstBuffer *in = picture (i, i * FRAME_TIME);
    add_object (in, 0);
    if (i % 3 == 1)
      add_object (in, 1);
    g_autoptr (GstBuffer) out = test_send (h, in);
    for (guint k = 0; k < (i % 3 == 1 ? 2 : 1); k++) {
      float p[TINY_CLASSES];
      seen[k][n_seen[k]++] = i;
      const guint n = MIN (n_seen[k], 3);
      ask (&o, seen[k] + n_seen[k] - n, n, 0, p);
      expect_bits (out, k, p);
      expect_span (out, k, seen[k][n_seen[k] - n] * FRAME_TIME, i * FRAME_TIME, n < 3);
    }
  }
  test_harness_free (h);
  oracle_clear (&o);
}

/* ---- several elements, other models, frames that are not waited for ---- */

/* Two that share a model meet in batches, and neither has anything of the other. */
static void
test_together (gconstpointer data)
{
  const TinyKind kind = GPOINTER_TO_INT (data);
  GstHarness *h[2];
  Oracle o[2];
  guint window[2][4];
  for (guint e = 0; e < 2; e++) {
    o[e] = oracle_new (kind);
    h[e] = harness (kind, "clip-length", 4, "clip-hop", 1, NULL);
  }
  for (guint i = 0; i < LONG; i++) {
    for (guint e = 0; e < 2; e++)
      g_assert_cmpint (gst_harness_push (h[e], picture (i * 2 + e, uneven (i) * (1 + e))), ==, GST_FLOW_OK);
    for (guint e = 0; e < 2; e++) {
      const guint n = kind == TINY_STREAM ? 1 : MIN (i + 1, 4);
      float p[TINY_CLASSES];
      for (guint k = 0; k < n; k++)
        window[e][k] = (i + 1 - n + k) * 2 + e;
      g_autoptr (GstBuffer) out = gst_harness_pull (h[e]);
      ask (&o[e], window[e], n, (gint64) uneven (i) * (1 + e), p);
      expect_bits (out, 0, p);
    }
  }
  double batch;
  g_autoptr (GstStructure) stats = NULL;
  g_object_get (h[0]->element, "stats", &stats, NULL);
  g_assert_true (gst_structure_get_double (stats, "batch-mean", &batch));
  g_assert_cmpfloat (batch, >, 1.5);
  for (guint e = 0; e < 2; e++) {
    test_harness_free (h[e]);
    oracle_clear (&o[e]);
  }
}

static void
wait_for_model (GstHarness *h, gboolean success)
{
  for (gboolean found = FALSE; !found;) {
    g_autoptr (GstMessage) message = gst_bus_timed_pop_filtered (test_bus (h), 30 * GST_SECOND, GST_MESSAGE_ELEMENT);
    gboolean changed;
    g_assert_nonnull (message);
    found = gst_message_has_name (message, "vig-model");
    if (found) {
      g_assert_true (gst_structure_get_boolean (gst_message_get_structure (message), "success", &changed));
      g_assert_cmpint (changed, ==, success);
    }
  }
}

/* The same model anew has seen nothing. One that cannot do what was asked for is not taken, and the memory stays. */
static void
test_reload (void)
{
  Oracle o = oracle_new (TINY_STREAM);
  g_autofree char *path = test_model_over_time (TINY_STREAM);
  GstHarness *h = harness (TINY_STREAM, NULL);
  g_object_set (h->element, "clip-mode", STREAM, NULL); /* at the next start */
  gst_element_set_state (h->element, GST_STATE_READY);
  gst_element_set_state (h->element, GST_STATE_PLAYING);
  gst_harness_push_event (h, gst_event_new_stream_start ("again"));
  gst_harness_set_src_caps_str (h, CAPS);
  test_start_segment (h, 1);
  for (guint i = 0; i < 12; i++) {
    if (i == 4) {
      g_object_set (h->element, "model-file", path, NULL);
      wait_for_model (h, TRUE);
      vig_state_reset (o.state);
    } else if (i == 8) {
      g_object_set (h->element, "model-file", test_model (), NULL);
      wait_for_model (h, FALSE);
      g_autoptr (GstMessage) warning = gst_bus_timed_pop_filtered (test_bus (h), 30 * GST_SECOND, GST_MESSAGE_WARNING);
      g_autoptr (GError) error = NULL;
      gst_message_parse_warning (warning, &error, NULL);
      g_assert_nonnull (strstr (error->message, "clip-mode: expected one that the model \"tiny-colours\" can do (none, mean, "
              "ema), found stream"));
    }
    g_autoptr (GstBuffer) out = test_send (h, picture (i, i * FRAME_TIME));
    expect_next (out, 0, &o, i, (gint64) (i * FRAME_TIME));
    expect_span (out, 0, (i < 4 ? 0 : 4) * FRAME_TIME, i * FRAME_TIME, i == 0 || i == 4);
  }
  test_harness_free (h);
  oracle_clear (&o);
}

/* Frames that are shed are gaps: those that are classified are of one stream from the first on, and nothing fails. */
static void
test_skip (gconstpointer data)
{
  const TinyKind kind = GPOINTER_TO_INT (data);
  GstHarness *h = harness (kind, "overload", 2, "latency-budget", (gint64) 0, "input-size", 256, "clip-length", 3, "clip-hop", 2,
      "hold-max", G_MAXUINT64, NULL);
  guint64 last = 0, begin = GST_CLOCK_TIME_NONE;
  guint i = 0, n_answers = 0;
  for (; n_answers < 10 && i < 5000; i++) {
    g_autoptr (GstBuffer) out = test_send (h, picture (i, i * FRAME_TIME));
    guint64 start, seen;
    if (!test_state (out))
      continue;
    g_assert_true (gst_structure_get (test_result (out, 0), "span-start", G_TYPE_UINT64, &start, "span-last", G_TYPE_UINT64,
            &seen, NULL));
    n_answers += seen > last;
    g_assert_cmpuint (seen, >=, last);
    g_assert_cmpuint (start, <=, seen);
    if (kind == TINY_STREAM)
      g_assert_cmpuint (start, ==, begin = MIN (begin, start));
    last = seen;
    g_usleep (1000);
  }
  g_assert_cmpuint (n_answers, ==, 10);
  g_assert_cmpuint (test_stat (h->element, "shed"), >, 0);
  test_expect_no_error (test_bus (h));
  test_harness_free (h);
}

int
main (int argc, char **argv)
{
  test_init (&argc, &argv);
  g_test_add_data_func ("/memory/stream", GUINT_TO_POINTER (1), test_stream);
  g_test_add_data_func ("/memory/stream-in-flight", GUINT_TO_POINTER (8), test_stream);
  g_test_add_func ("/memory/parts", test_parts);
  g_test_add_func ("/memory/none", test_none);
  g_test_add_func ("/memory/interval", test_interval);
  g_test_add_func ("/memory/reset", test_reset);
  g_test_add_func ("/memory/reset-between", test_reset_between);
  g_test_add_func ("/memory/backwards", test_backwards);
  g_test_add_func ("/memory/missing", test_missing);
  g_test_add_func ("/memory/guessed-too-far", test_guessed_too_far);
  g_test_add_func ("/memory/rates", test_rates);
  g_test_add_func ("/memory/flush-backwards", test_flush_backwards);
  g_test_add_func ("/memory/far-times", test_far_times);
  g_test_add_func ("/memory/joint", test_joint);
  g_test_add_func ("/memory/joint-anew", test_joint_anew);
  g_test_add_func ("/memory/joint-backwards", test_joint_backwards);
  g_test_add_func ("/memory/joint-settings", test_joint_settings);
  g_test_add_data_func ("/memory/joint-shed", GINT_TO_POINTER (FALSE), test_joint_lost);
  g_test_add_data_func ("/memory/joint-flushed", GINT_TO_POINTER (TRUE), test_joint_lost);
  g_test_add_func ("/memory/objects", test_objects);
  g_test_add_func ("/memory/objects-always-there", test_objects_always_there);
  g_test_add_func ("/memory/objects-at-rates", test_objects_at_rates);
  g_test_add_func ("/memory/objects-joint", test_objects_joint);
  g_test_add_data_func ("/memory/together-stream", GINT_TO_POINTER (TINY_STREAM), test_together);
  g_test_add_data_func ("/memory/together-joint", GINT_TO_POINTER (TINY_JOINT), test_together);
  g_test_add_func ("/memory/reload", test_reload);
  g_test_add_data_func ("/memory/skip-stream", GINT_TO_POINTER (TINY_STREAM), test_skip);
  g_test_add_data_func ("/memory/skip-joint", GINT_TO_POINTER (TINY_JOINT), test_skip);
  return test_run ();
}
