/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What is said about frames: metadata, intervals and holding, thresholds, messages, statistics. */
#include <gst/analytics/analytics.h>
#include <gst/controller/gstdirectcontrolbinding.h>
#include <gst/controller/gstinterpolationcontrolsource.h>

#include "common.h"

#define CAPS "video/x-raw,format=RGB,width=48,height=48,framerate=25/1"
#define OTHER_CAPS "video/x-raw,format=BGR,width=48,height=48,framerate=25/1"

static GstBuffer *
send (GstHarness *h, GstBuffer *buffer)
{
  g_assert_cmpint (gst_harness_push (h, buffer), ==, GST_FLOW_OK);
  GstBuffer *out = gst_harness_pull (h);
  g_assert_nonnull (out);
  return out;
}

/* Sends frame @i of @class and checks what is said about it. @state NULL: nothing. */
static void
expect (GstHarness *h, int class, int i, const char *state, int said, GstClockTime age)
{
  g_autoptr (GstBuffer) out = send (h, test_frame (CAPS, class, i));
  g_assert_cmpstr (test_state (out), ==, state);
  if (!state) {
    g_assert_null (gst_buffer_get_analytics_relation_meta (out));
    return;
  }
  g_assert_cmpstr (test_label (out), ==, tiny_labels[said]);
  g_assert_cmpuint (test_age (out), ==, age);
  guint64 start, end;
  g_assert_true (gst_structure_get (test_result (out, 0), "span-start", G_TYPE_UINT64, &start, "span-end",
          G_TYPE_UINT64, &end, NULL));
  g_assert_cmpuint (start, ==, i * FRAME_TIME - age);
  g_assert_cmpuint (end, ==, start + FRAME_TIME);
}

/* ---- metadata ---- */

static void
test_meta (void)
{
  GstHarness *h = test_harness (CAPS, "name", "judge", NULL);
  g_autoptr (GstBuffer) out = send (h, test_frame (CAPS, TINY_CYAN, 5));

  GstAnalyticsRelationMeta *relations = gst_buffer_get_analytics_relation_meta (out);
  g_assert_nonnull (relations);
  g_assert_cmpuint (gst_analytics_relation_get_length (relations), ==, 1);
  g_assert_cmpuint (test_n_results (out), ==, 1);
  const GstStructure *result = test_result (out, 0);
  g_assert_cmpstr (gst_structure_get_name (result), ==, "vig-result");
  g_assert_cmpstr (gst_structure_get_string (result, "element"), ==, "judge");
  g_assert_cmpstr (gst_structure_get_string (result, "model"), ==, "tiny-colours");
  g_autofree char *file = NULL;
  gsize size;
  g_assert_true (g_file_get_contents (test_model (), &file, &size, NULL));
  g_autofree char *hash = g_compute_checksum_for_data (G_CHECKSUM_SHA256, (const guint8 *) file, size);
  g_assert_cmpstr (gst_structure_get_string (result, "model-hash"), ==, hash);
  g_assert_cmpstr (gst_structure_get_string (result, "state"), ==, "fresh");

  guint id;
  g_assert_true (gst_structure_get_uint (result, "cls-id", &id));
  GstAnalyticsClsMtd cls;
  g_assert_true (gst_analytics_relation_meta_get_cls_mtd (relations, id, &cls));
  g_assert_cmpuint (gst_analytics_cls_mtd_get_length (&cls), ==, 1);
  g_assert_cmpstr (g_quark_to_string (gst_analytics_cls_mtd_get_quark (&cls, 0)), ==, "cyan");
  g_assert_cmpfloat (gst_analytics_cls_mtd_get_level (&cls, 0), ==, (float) test_confidence (out));
  g_assert_cmpfloat (test_confidence (out), >, 0.97);
  g_assert_cmpfloat (test_confidence (out), <=, 1);
  test_harness_free (h);
}

static guint
cls_of (GstBuffer *buffer, guint result, GstAnalyticsClsMtd *cls)
{
  guint id;
  g_assert_true (gst_structure_get_uint (test_result (buffer, result), "cls-id", &id));
  g_assert_true (gst_analytics_relation_meta_get_cls_mtd (gst_buffer_get_analytics_relation_meta (buffer), id, cls));
  return gst_analytics_cls_mtd_get_length (cls);
}

/* The most confident first; more than there are classes gives all; together they are certain. */
static void
test_top_k (void)
{
  GstHarness *h = test_harness (CAPS, NULL);
  const guint ks[] = { 1, 3, TINY_CLASSES, 1000, 2 };
  for (guint i = 0; i < G_N_ELEMENTS (ks); i++) {
    g_object_set (h->element, "top-k", ks[i], NULL); /* while playing */
    g_autoptr (GstBuffer) out = send (h, test_frame (CAPS, TINY_LEFT, (int) i));
    GstAnalyticsClsMtd cls;
    guint n = cls_of (out, 0, &cls);
    g_assert_cmpuint (n, ==, MIN (ks[i], TINY_CLASSES));
    double sum = gst_analytics_cls_mtd_get_level (&cls, 0);
    for (guint k = 1; k < n; k++) {
      g_assert_cmpfloat (gst_analytics_cls_mtd_get_level (&cls, k), <=, gst_analytics_cls_mtd_get_level (&cls, k - 1));
      sum += gst_analytics_cls_mtd_get_level (&cls, k);
    }
    if (n == TINY_CLASSES)
      g_assert_cmpfloat_with_epsilon (sum, 1, 1e-5);
  }
  test_harness_free (h);
}

/* Under the threshold nothing is attached, but what was thought can be read. */
static void
test_threshold (void)
{
  GstHarness *h = test_harness (CAPS, "top-k", TINY_CLASSES, NULL);
  g_autoptr (GstBuffer) all = send (h, test_frame (CAPS, TINY_LEFT, 0));
  GstAnalyticsClsMtd cls;
  g_assert_cmpuint (cls_of (all, 0, &cls), ==, TINY_CLASSES);
  double first = gst_analytics_cls_mtd_get_level (&cls, 0), second = gst_analytics_cls_mtd_get_level (&cls, 1);
  g_assert_cmpfloat (first, <, 1);

  g_object_set (h->element, "threshold", (first + second) / 2, NULL);
  g_autoptr (GstBuffer) one = send (h, test_frame (CAPS, TINY_LEFT, 1));
  g_assert_cmpuint (cls_of (one, 0, &cls), ==, 1);
  g_assert_cmpstr (test_state (one), ==, "fresh");

  g_object_set (h->element, "threshold", (first + 1) / 2, NULL);
  g_autoptr (GstBuffer) none = send (h, test_frame (CAPS, TINY_LEFT, 2));
  g_assert_cmpstr (test_state (none), ==, "below-threshold");
  g_assert_cmpstr (test_label (none), ==, tiny_labels[TINY_LEFT]);
  g_assert_cmpfloat (test_confidence (none), ==, first);
  g_assert_false (gst_structure_has_field (test_result (none, 0), "cls-id"));
  g_assert_null (gst_buffer_get_analytics_relation_meta (none));
  test_harness_free (h);
}

/* What is there already stays, with its ids; the second classifier's is beside it. */
static void
test_in_series (void)
{
  GstElement *bin = gst_parse_bin_from_description (
      "vigclassify name=first overload=block ! queue ! vigclassify name=second overload=block orientation=180", TRUE, NULL);
  for (int i = 0; i < 2; i++) {
    g_autoptr (GstElement) element = gst_bin_get_by_name (GST_BIN (bin), i ? "second" : "first");
    g_object_set (element, "model-file", test_model (), "threads", 1, NULL);
  }
  GstHarness *h = gst_harness_new_with_element (bin, "sink", "src");
  gst_harness_set_src_caps_str (h, CAPS);
  GstBuffer *in = test_frame (CAPS, TINY_LEFT, 0);
  GstAnalyticsRelationMeta *relations = gst_buffer_add_analytics_relation_meta (in);
  GstAnalyticsODMtd od;
  gst_analytics_relation_meta_add_od_mtd (relations, g_quark_from_string ("thing"), 1, 2, 3, 4, 0.5, &od);
  g_autoptr (GstBuffer) out = send (h, in);
  g_assert_cmpuint (gst_analytics_relation_get_length (gst_buffer_get_analytics_relation_meta (out)), ==, 3);
  g_assert_true (gst_analytics_relation_meta_get_od_mtd (gst_buffer_get_analytics_relation_meta (out), od.id, &od));
  g_assert_cmpstr (g_quark_to_string (gst_analytics_od_mtd_get_obj_type (&od)), ==, "thing");
  g_assert_cmpuint (test_n_results (out), ==, 2);
  const int said[2] = { TINY_LEFT, TINY_RIGHT };
  for (guint i = 0; i < 2; i++) {
    GstAnalyticsClsMtd cls;
    cls_of (out, i, &cls);
    g_assert_cmpstr (gst_structure_get_string (test_result (out, i), "element"), ==, i ? "second" : "first");
    g_assert_cmpstr (g_quark_to_string (gst_analytics_cls_mtd_get_quark (&cls, 0)), ==, tiny_labels[said[i]]);
  }
  gst_harness_teardown (h);
  gst_object_unref (bin);
}

/* Through elements that copy, scale and convert; and what is done to a copy is not done to the original. */
static void
test_meta_survives (void)
{
  const char *elements[] = { "queue", "identity", "tee ! queue", "videoconvert ! video/x-raw,format=I420",
    "videoscale ! video/x-raw,width=20,height=30", "videorate ! video/x-raw,framerate=50/1",
    "videobalance saturation=0.1", "videoconvertscale ! video/x-raw,format=NV12,width=100" };
  for (guint i = 0; i < G_N_ELEMENTS (elements); i++) {
    g_autofree char *description = g_strdup_printf ("vigclassify name=v overload=block ! %s", elements[i]);
    GstElement *bin = gst_parse_bin_from_description (description, TRUE, NULL);
    g_assert_nonnull (bin);
    g_autoptr (GstElement) element = gst_bin_get_by_name (GST_BIN (bin), "v");
    g_object_set (element, "model-file", test_model (), "threads", 1, NULL);
    GstHarness *h = gst_harness_new_with_element (bin, "sink", "src");
    gst_harness_set_src_caps_str (h, CAPS);
    for (int f = 0; f < 3; f++) /* pools recycle */
      gst_harness_push (h, test_frame (CAPS, TINY_YELLOW, f));
    gst_harness_push_event (h, gst_event_new_eos ());
    for (int f = 0; f < 3; f++) {
      g_autoptr (GstBuffer) out = gst_harness_pull (h);
      g_assert_nonnull (out);
      g_assert_cmpuint (test_n_results (out), ==, 1);
      g_assert_cmpstr (test_label (out), ==, "yellow");
      GstAnalyticsClsMtd cls;
      cls_of (out, 0, &cls);
      g_assert_cmpstr (g_quark_to_string (gst_analytics_cls_mtd_get_quark (&cls, 0)), ==, "yellow");
    }
    gst_harness_teardown (h);
    gst_object_unref (bin);
  }
}

/* ---- intervals and holding ---- */

/* The table of docs/vigclassify.md. */
static void
test_interval (void)
{
  GstHarness *h = test_harness (CAPS, "interval", 3, NULL);
  for (int i = 0; i < 9; i++)
    expect (h, i / 2, i, i % 3 ? "held" : "fresh", i / 3 * 3 / 2, i % 3 * FRAME_TIME);
  g_assert_cmpuint (test_stat (h->element, "classified"), ==, 3);
  g_assert_cmpuint (test_stat (h->element, "skipped"), ==, 6);
  g_assert_cmpuint (test_stat (h->element, "frames-in"), ==, 9);
  test_harness_free (h);
}

static void
test_hold_max (void)
{
  GstHarness *h = test_harness (CAPS, "interval", 4, "hold-max", (guint64) FRAME_TIME * 2, NULL);
  expect (h, TINY_RED, 0, "fresh", TINY_RED, 0);
  expect (h, TINY_BLUE, 1, "held", TINY_RED, FRAME_TIME);
  expect (h, TINY_BLUE, 2, "held", TINY_RED, 2 * FRAME_TIME);
  expect (h, TINY_BLUE, 3, NULL, 0, 0);
  expect (h, TINY_BLUE, 4, "fresh", TINY_BLUE, 0);
  g_object_set (h->element, "hold-max", (guint64) 0, NULL);
  expect (h, TINY_BLUE, 5, NULL, 0, 0);
  test_harness_free (h);
}

static void
test_no_hold (void)
{
  GstHarness *h = test_harness (CAPS, "interval", 2, "hold-result", FALSE, NULL);
  for (int i = 0; i < 6; i++)
    expect (h, TINY_RED, i, i % 2 ? NULL : "fresh", TINY_RED, 0);
  test_harness_free (h);
}

/* A longer or shorter interval counts from the last classified frame on. */
static void
test_interval_changes (void)
{
  GstHarness *h = test_harness (CAPS, "interval", 100, NULL);
  for (int i = 0; i < 5; i++)
    expect (h, TINY_RED, i, i ? "held" : "fresh", TINY_RED, i * FRAME_TIME);
  g_object_set (h->element, "interval", 2, NULL);
  expect (h, TINY_BLUE, 5, "fresh", TINY_BLUE, 0);
  expect (h, TINY_RED, 6, "held", TINY_BLUE, FRAME_TIME);
  expect (h, TINY_RED, 7, "fresh", TINY_RED, 0);
  test_harness_free (h);
}

static void
push_segment (GstHarness *h, GstClockTime start, GstClockTime base)
{
  GstSegment segment;
  gst_segment_init (&segment, GST_FORMAT_TIME);
  segment.start = segment.time = start;
  segment.base = base;
  gst_harness_push_event (h, gst_event_new_segment (&segment));
}

static void
test_hold_ends (void)
{
  GstHarness *h = test_harness (CAPS, "interval", 100, NULL);
  expect (h, TINY_RED, 0, "fresh", TINY_RED, 0);
  expect (h, TINY_BLUE, 1, "held", TINY_RED, FRAME_TIME);

  gst_harness_push_event (h, gst_event_new_flush_start ());
  gst_harness_push_event (h, gst_event_new_flush_stop (TRUE));
  push_segment (h, 0, 0);
  expect (h, TINY_BLUE, 2, "fresh", TINY_BLUE, 0);

  gst_harness_push_event (h, gst_event_new_stream_start ("next"));
  gst_harness_set_src_caps_str (h, CAPS);
  push_segment (h, 0, 0);
  expect (h, TINY_GREEN, 3, "fresh", TINY_GREEN, 0);

  gst_harness_set_src_caps_str (h, OTHER_CAPS);
  g_autoptr (GstBuffer) out = send (h, test_frame (OTHER_CAPS, TINY_YELLOW, 4));
  g_assert_cmpstr (test_state (out), ==, "fresh");
  gst_harness_set_src_caps_str (h, CAPS);
  expect (h, TINY_RED, 5, "fresh", TINY_RED, 0);

  /* the same caps again, or a segment that goes on in running time, change nothing */
  gst_harness_push_event (h, gst_pad_get_sticky_event (h->srcpad, GST_EVENT_CAPS, 0));
  expect (h, TINY_BLUE, 6, "held", TINY_RED, FRAME_TIME);
  push_segment (h, 50 * FRAME_TIME, 7 * FRAME_TIME);
  g_autoptr (GstBuffer) later = send (h, test_frame (CAPS, TINY_BLUE, 50));
  g_assert_cmpstr (test_state (later), ==, "held");
  g_assert_cmpuint (test_age (later), ==, 2 * FRAME_TIME);
  /* running time that goes back makes the result one of the future */
  push_segment (h, 0, 0);
  expect (h, TINY_BLUE, 0, NULL, 0, 0);
  test_harness_free (h);
}

/* Frames of no known time are classified in turn, but nobody can say how old a held result would be. */
static void
test_no_timestamps (void)
{
  GstHarness *h = test_harness (CAPS, "interval", 2, NULL);
  for (int i = 0; i < 6; i++) {
    g_autoptr (GstBuffer) out = send (h, test_picture (CAPS, TINY_RED));
    g_assert_cmpstr (test_state (out), ==, i % 2 ? NULL : "fresh");
    if (i % 2 == 0) {
      guint64 start;
      g_assert_true (gst_structure_get_uint64 (test_result (out, 0), "span-start", &start));
      g_assert_cmpuint (start, ==, GST_CLOCK_TIME_NONE);
    }
  }
  test_harness_free (h);
}

/* A segment in bytes, as appsrc sends it unless told otherwise, makes timestamps mean nothing. */
static void
test_segment_in_bytes (void)
{
  GstHarness *h = test_harness (CAPS, "interval", 2, NULL);
  GstSegment segment;
  gst_segment_init (&segment, GST_FORMAT_BYTES);
  gst_harness_push_event (h, gst_event_new_segment (&segment));
  for (int i = 0; i < 4; i++) {
    g_autoptr (GstBuffer) out = send (h, test_frame (CAPS, TINY_RED, i));
    g_assert_cmpstr (test_state (out), ==, i % 2 ? NULL : "fresh");
  }
  g_autoptr (GstMessage) message = gst_bus_pop_filtered (test_bus (h), GST_MESSAGE_ELEMENT);
  guint64 running;
  g_assert_true (gst_structure_get_uint64 (gst_message_get_structure (message), "running-time", &running));
  g_assert_cmpuint (running, ==, GST_CLOCK_TIME_NONE);
  test_harness_free (h);
}

/* Filler and frames that are not shown pass without a look. Damaged ones are looked at. */
static void
test_flagged_frames (void)
{
  GstHarness *h = test_harness (CAPS, NULL);
  const GstBufferFlags unseen[] = { GST_BUFFER_FLAG_GAP, GST_BUFFER_FLAG_DECODE_ONLY };
  for (guint i = 0; i < G_N_ELEMENTS (unseen); i++) {
    GstBuffer *buffer = test_frame (CAPS, TINY_RED, (int) i);
    GST_BUFFER_FLAG_SET (buffer, unseen[i]);
    g_autoptr (GstBuffer) out = send (h, buffer);
    g_assert_null (test_state (out));
  }
  /* filler may have no bytes at all */
  GstBuffer *empty = gst_buffer_new ();
  GST_BUFFER_FLAG_SET (empty, GST_BUFFER_FLAG_GAP);
  gst_buffer_unref (send (h, empty));
  GstBuffer *damaged = test_frame (CAPS, TINY_RED, 3);
  GST_BUFFER_FLAG_SET (damaged, GST_BUFFER_FLAG_CORRUPTED);
  g_autoptr (GstBuffer) out = send (h, damaged);
  g_assert_cmpstr (test_state (out), ==, "fresh");
  test_expect_no_error (test_bus (h));
  test_harness_free (h);
}

/* ---- messages ---- */

static GstMessage *
next_label_message (GstHarness *h)
{
  return gst_bus_pop_filtered (test_bus (h), GST_MESSAGE_ELEMENT);
}

static void
expect_message (GstHarness *h, const char *label, int since, gboolean first, const char *previous, int previous_since)
{
  g_autoptr (GstMessage) message = next_label_message (h);
  g_assert_nonnull (message);
  const GstStructure *s = gst_message_get_structure (message);
  g_assert_cmpstr (gst_structure_get_name (s), ==, "vig-label");
  g_assert_cmpstr (gst_structure_get_string (s, "label"), ==, label);
  guint64 pts, stream_time, running, from;
  double confidence;
  g_assert_true (gst_structure_get (s, "pts", G_TYPE_UINT64, &pts, "stream-time", G_TYPE_UINT64, &stream_time,
          "running-time", G_TYPE_UINT64, &running, "since", G_TYPE_UINT64, &from, "confidence", G_TYPE_DOUBLE,
          &confidence, NULL));
  g_assert_cmpuint (pts, ==, since * FRAME_TIME);
  g_assert_cmpuint (from, ==, since * FRAME_TIME);
  g_assert_cmpuint (stream_time, ==, since * FRAME_TIME + GST_SECOND);
  g_assert_cmpuint (running, ==, since * FRAME_TIME + 2 * GST_SECOND);
  g_assert_cmpint (gst_structure_has_field (s, "previous-label"), ==, !first);
  if (!first) {
    g_assert_cmpstr (gst_structure_get_string (s, "previous-label"), ==, previous);
    g_assert_true (gst_structure_get_uint64 (s, "previous-since", &from));
    g_assert_cmpuint (from, ==, previous_since * FRAME_TIME);
  }
}

static void
test_messages (void)
{
  GstHarness *h = test_harness (CAPS, NULL);
  GstSegment segment;
  gst_segment_init (&segment, GST_FORMAT_TIME);
  segment.time = GST_SECOND;
  segment.base = 2 * GST_SECOND;
  gst_harness_push_event (h, gst_event_new_segment (&segment));
  const int classes[] = { TINY_RED, TINY_RED, TINY_BLUE, TINY_BLUE, TINY_BLUE, TINY_RED };
  for (int i = 0; i < 6; i++)
    gst_buffer_unref (send (h, test_frame (CAPS, classes[i], i)));
  expect_message (h, "red", 0, TRUE, NULL, 0);
  expect_message (h, "blue", 2, FALSE, "red", 0);
  expect_message (h, "red", 5, FALSE, "blue", 2);
  g_assert_null (next_label_message (h));

  /* nothing reaches the threshold: the label is none, and then there is one again */
  g_object_set (h->element, "threshold", 1.0, NULL);
  gst_buffer_unref (send (h, test_frame (CAPS, TINY_LEFT, 6)));
  gst_buffer_unref (send (h, test_frame (CAPS, TINY_TOP, 7)));
  g_object_set (h->element, "threshold", 0.5, NULL);
  gst_buffer_unref (send (h, test_frame (CAPS, TINY_BLUE, 8)));
  expect_message (h, NULL, 6, FALSE, "red", 5);
  expect_message (h, "blue", 8, FALSE, NULL, 6);
  g_assert_null (next_label_message (h));

  g_object_set (h->element, "post-messages", FALSE, NULL);
  gst_buffer_unref (send (h, test_frame (CAPS, TINY_GREEN, 9)));
  g_assert_null (next_label_message (h));
  test_harness_free (h);
}

/* ---- statistics ---- */

static void
test_stats (void)
{
  GstHarness *h = test_harness (CAPS, "interval", 2, NULL);
  for (int i = 0; i < 300; i++)
    gst_buffer_unref (send (h, test_frame (CAPS, TINY_RED, i)));
  const char *times[] = { "inference-mean", "inference-p99", "preprocess-mean", "preprocess-p99", "latency" };
  for (guint i = 0; i < G_N_ELEMENTS (times); i++)
    g_assert_cmpuint (test_stat (h->element, times[i]), <, GST_SECOND);
  g_assert_cmpuint (test_stat (h->element, "inference-mean"), >, 0);
  g_assert_cmpuint (test_stat (h->element, "inference-p99"), >=, test_stat (h->element, "inference-mean") / 2);
  g_autoptr (GstStructure) stats = NULL;
  double rate;
  g_object_get (h->element, "stats", &stats, NULL);
  g_assert_true (gst_structure_get_double (stats, "frames-per-second", &rate));
  g_assert_cmpfloat (rate, >, 1);
  g_assert_cmpuint (test_stat (h->element, "frames-in"), ==, 300);
  g_assert_cmpuint (test_stat (h->element, "classified"), ==, 150);
  test_harness_free (h);
}

/* A control source sets the threshold by stream time. */
static void
test_controlled (void)
{
  GstHarness *h = test_harness (CAPS, NULL);
  GstControlSource *source = gst_interpolation_control_source_new ();
  g_object_set (source, "mode", GST_INTERPOLATION_MODE_NONE, NULL);
  gst_timed_value_control_source_set (GST_TIMED_VALUE_CONTROL_SOURCE (source), 0, 0.0);
  gst_timed_value_control_source_set (GST_TIMED_VALUE_CONTROL_SOURCE (source), 3 * FRAME_TIME, 1.0);
  g_assert_true (gst_object_add_control_binding (GST_OBJECT (h->element),
          gst_direct_control_binding_new (GST_OBJECT (h->element), "threshold", source)));
  gst_object_unref (source);
  for (int i = 0; i < 6; i++)
    expect (h, TINY_LEFT, i, i < 3 ? "fresh" : "below-threshold", TINY_LEFT, 0);
  test_harness_free (h);
}

static gpointer
change_everything (gpointer data)
{
  GstHarness *h = data;
  for (guint i = 0; i < 2000; i++) {
    g_autoptr (GstStructure) stats = NULL;
    g_object_set (h->element, "top-k", 1 + i % 15, "threshold", i % 10 / 10.0, "interval", 1 + i % 3, "hold-result",
        i % 5 > 0, "hold-max", (guint64) i * GST_MSECOND, "post-messages", i % 2, "orientation", i % 9, "input-size",
        i % 4 ? 0 : 48, NULL);
    g_object_get (h->element, "stats", &stats, NULL);
  }
  return NULL;
}

/* All that may change while playing, changed by another thread all the time. */
static void
test_changes_while_playing (void)
{
  GstHarness *h = test_harness (CAPS, NULL);
  GThread *thread = g_thread_new ("change", change_everything, h);
  for (int i = 0; i < 500; i++)
    gst_buffer_unref (send (h, test_frame (CAPS, i % TINY_CLASSES, i)));
  g_thread_join (thread);
  test_expect_no_error (test_bus (h));
  test_harness_free (h);
}

int
main (int argc, char **argv)
{
  test_init (&argc, &argv);
  g_test_add_func ("/results/meta", test_meta);
  g_test_add_func ("/results/top-k", test_top_k);
  g_test_add_func ("/results/threshold", test_threshold);
  g_test_add_func ("/results/in-series", test_in_series);
  g_test_add_func ("/results/meta-survives", test_meta_survives);
  g_test_add_func ("/results/interval", test_interval);
  g_test_add_func ("/results/hold-max", test_hold_max);
  g_test_add_func ("/results/no-hold", test_no_hold);
  g_test_add_func ("/results/interval-changes", test_interval_changes);
  g_test_add_func ("/results/hold-ends", test_hold_ends);
  g_test_add_func ("/results/no-timestamps", test_no_timestamps);
  g_test_add_func ("/results/segment-in-bytes", test_segment_in_bytes);
  g_test_add_func ("/results/flagged-frames", test_flagged_frames);
  g_test_add_func ("/results/messages", test_messages);
  g_test_add_func ("/results/stats", test_stats);
  g_test_add_func ("/results/controlled", test_controlled);
  g_test_add_func ("/results/changes-while-playing", test_changes_while_playing);
  return test_run ();
}
