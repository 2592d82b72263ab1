/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Answers over time: which modes a model can do, what an answer is of, and what ends it. */
#include <gst/analytics/analytics.h>
#include <math.h>

#include "common.h"

#define CAPS "video/x-raw,format=RGB,width=48,height=48,framerate=25/1"
#define LONG 60 /* frames */

/* ---- frames and what is said about them ---- */

static guint32
colour_of (guint i)
{
  return (i + 1) * 0x9e3779b1u >> 8;
}

/* Number @i of the pictures that no two are alike of, at @time. */
static GstBuffer *
picture (guint i, GstClockTime time)
{
  GstBuffer *buffer = test_colour (CAPS, colour_of (i));
  GST_BUFFER_PTS (buffer) = time;
  GST_BUFFER_DURATION (buffer) = FRAME_TIME;
  return buffer;
}

/* The probability of every class, by the ClsMtd of result @which. */
static void
read_classes (GstBuffer *buffer, guint which, double p[TINY_CLASSES])
{
  GstAnalyticsClsMtd cls;
  guint id;
  g_assert_true (gst_structure_get_uint (test_result (buffer, which), "cls-id", &id));
  g_assert_true (gst_analytics_relation_meta_get_cls_mtd (gst_buffer_get_analytics_relation_meta (buffer), id, &cls));
  g_assert_cmpuint (gst_analytics_cls_mtd_get_length (&cls), ==, TINY_CLASSES);
  for (guint c = 0; c < TINY_CLASSES; c++)
    for (guint k = 0; k < TINY_CLASSES; k++)
      if (g_str_equal (tiny_labels[c], g_quark_to_string (gst_analytics_cls_mtd_get_quark (&cls, k))))
        p[c] = gst_analytics_cls_mtd_get_level (&cls, k);
}

/* What the pictures say, each by itself. */
static double (*
say_alone (guint n))[TINY_CLASSES]
{
  double (*p)[TINY_CLASSES] = g_malloc (n * sizeof *p);
  GstHarness *h = test_harness (CAPS, "top-k", TINY_CLASSES, NULL);
  for (guint i = 0; i < n; i++) {
    g_autoptr (GstBuffer) out = test_send (h, picture (i, i * FRAME_TIME));
    read_classes (out, 0, p[i]);
  }
  test_harness_free (h);
  return p;
}

/* Result @which is the softmax of the mean logits of the pictures with these weights: logits are logarithms of
 * probabilities, but for a number that all classes of a picture have in common. */
static void
expect_mean (GstBuffer *buffer, guint which, double (*alone)[TINY_CLASSES], const double *weights, guint n)
{
  double p[TINY_CLASSES], expected[TINY_CLASSES], sum = 0, total = 0;
  for (guint i = 0; i < n; i++)
    total += weights[i];
  for (guint c = 0; c < TINY_CLASSES; c++) {
    double logit = 0;
    for (guint i = 0; i < n; i++)
      logit += weights[i] / total * log (alone[i][c]);
    sum += expected[c] = exp (logit);
  }
  read_classes (buffer, which, p);
  for (guint c = 0; c < TINY_CLASSES; c++)
    g_assert_cmpfloat_with_epsilon (p[c], expected[c] / sum, 2e-5);
}

static void
expect_span (GstBuffer *buffer, guint which, GstClockTime start, GstClockTime last, gboolean warming_up)
{
  guint64 from, to, end;
  gboolean warming;
  g_assert_true (gst_structure_get (test_result (buffer, which), "span-start", G_TYPE_UINT64, &from, "span-last",
          G_TYPE_UINT64, &to, "span-end", G_TYPE_UINT64, &end, "warming-up", G_TYPE_BOOLEAN, &warming, NULL));
  g_assert_cmpuint (from, ==, start);
  g_assert_cmpuint (to, ==, last);
  if (GST_CLOCK_TIME_IS_VALID (last))
    g_assert_cmpuint (end, ==, last + FRAME_TIME);
  g_assert_cmpint (warming, ==, warming_up);
}

static void
expect_mode (GstBuffer *buffer, const char *mode)
{
  g_assert_cmpstr (gst_structure_get_string (test_result (buffer, 0), "clip-mode"), ==, mode);
}

/* Modes as the enumeration has them. */
enum { NONE = 1, MEAN, EMA };

/* ---- modes and models ---- */

/* The error names the modes that the model can do. */
static void
expect_refusal (const char *model, const char *mode, const char *part)
{
  GstElement *element = gst_object_ref_sink (test_element ("model-file", model, NULL));
  g_autoptr (GstBus) bus = gst_bus_new ();
  gst_element_set_bus (element, bus);
  gst_util_set_object_arg (G_OBJECT (element), "clip-mode", mode);
  g_assert_cmpint (gst_element_set_state (element, GST_STATE_READY), ==, GST_STATE_CHANGE_FAILURE);
  test_expect_error (bus, GST_RESOURCE_ERROR, GST_RESOURCE_ERROR_SETTINGS, part);
  gst_element_set_state (element, GST_STATE_NULL);
  gst_element_set_bus (element, NULL);
  gst_object_unref (element);
}

static void
test_refused_modes (void)
{
  g_autofree char *joint = test_model_over_time (TINY_JOINT), *stream = test_model_over_time (TINY_STREAM);
  expect_refusal (test_model (), "stream", "the model \"tiny-colours\" can do (none, mean, ema), found stream");
  expect_refusal (test_model (), "joint", "the model \"tiny-colours\" can do (none, mean, ema), found joint");
  expect_refusal (joint, "mean", "the model \"tiny-joint\" can do (none, joint), found mean");
  expect_refusal (stream, "ema", "the model \"tiny-stream\" can do (none, stream), found ema");
}

/* A model that cannot do what the one in use does is not taken; one that can begins anew. */
static void
test_other_model (void)
{
  g_autofree char *joint = test_model_over_time (TINY_JOINT);
  g_autofree char *other = g_build_filename (test_dir (), "other.safetensors", NULL);
  tiny_model_write_as (other, "other", tiny_labels);
  GstHarness *h = test_harness (CAPS, "clip-mode", MEAN, "clip-length", 4, NULL);
  for (guint i = 0; i < 4; i++)
    gst_buffer_unref (test_send (h, picture (i, i * FRAME_TIME)));
  g_object_set (h->element, "model-file", joint, NULL);
  g_autoptr (GstMessage) warning = gst_bus_timed_pop_filtered (test_bus (h), 30 * GST_SECOND, GST_MESSAGE_WARNING);
  g_assert_nonnull (warning);
  g_autoptr (GError) error = NULL;
  gst_message_parse_warning (warning, &error, NULL);
  g_assert_error (error, GST_RESOURCE_ERROR, GST_RESOURCE_ERROR_SETTINGS);
  g_assert_nonnull (strstr (error->message, "clip-mode: expected one that the model \"tiny-joint\" can do (none"));
  g_autoptr (GstBuffer) still = test_send (h, picture (4, 4 * FRAME_TIME));
  expect_span (still, 0, FRAME_TIME, 4 * FRAME_TIME, FALSE);

  g_object_set (h->element, "model-file", other, NULL);
  gboolean changed = FALSE;
  while (!changed) {
    g_autoptr (GstMessage) message = gst_bus_timed_pop_filtered (test_bus (h), 30 * GST_SECOND, GST_MESSAGE_ELEMENT);
    g_assert_nonnull (message);
    changed = gst_message_has_name (message, "vig-model")
        && g_strcmp0 (gst_structure_get_string (gst_message_get_structure (message), "model"), "other") == 0;
  }
  g_autoptr (GstBuffer) first = test_send (h, picture (5, 5 * FRAME_TIME));
  expect_span (first, 0, 5 * FRAME_TIME, 5 * FRAME_TIME, TRUE);
  test_harness_free (h);
}

/* ---- what an answer is of ---- */

static void
test_none (void)
{
  GstHarness *h = test_harness (CAPS, NULL);
  g_autoptr (GstBuffer) out = test_send (h, picture (0, 7 * FRAME_TIME));
  expect_mode (out, "none");
  expect_span (out, 0, 7 * FRAME_TIME, 7 * FRAME_TIME, FALSE);
  test_harness_free (h);
}

static void
test_mean (void)
{
  const guint shapes[][2] = { { 1, 1 }, { 4, 1 }, { 5, 3 }, { 16, 1 } };
  g_autofree gpointer alone = say_alone (LONG);
  for (guint s = 0; s < G_N_ELEMENTS (shapes); s++) {
    const guint length = shapes[s][0], stride = shapes[s][1];
    GstHarness *h = test_harness (CAPS, "top-k", TINY_CLASSES, "clip-mode", MEAN, "clip-length", length, "clip-stride",
        stride, NULL);
    for (guint i = 0; i < LONG; i++) {
      double weights[LONG] = { 0 };
      guint n = 0, first = i;
      for (; n < length && n * stride <= i; n++)
        weights[first = i - n * stride] = 1;
      g_autoptr (GstBuffer) out = test_send (h, picture (i, i * FRAME_TIME));
      g_assert_cmpstr (test_state (out), ==, "fresh");
      expect_mode (out, "mean");
      expect_mean (out, 0, alone, weights, i + 1);
      expect_span (out, 0, first * FRAME_TIME, i * FRAME_TIME, n < length);
    }
    test_harness_free (h);
  }
}

/* The time that frame @i of an uneven stream is at. */
static GstClockTime
uneven (guint i)
{
  return (10 * i + i * i % 7) * GST_MSECOND + (i > 40 ? GST_SECOND : 0);
}

static void
test_ema (void)
{
  const double tau = 0.15;
  g_autofree gpointer alone = say_alone (LONG);
  GstHarness *h = test_harness (CAPS, "top-k", TINY_CLASSES, "clip-mode", EMA, "clip-time-constant", tau, NULL);
  for (guint i = 0; i < LONG; i++) {
    double weights[LONG] = { 1 };
    for (guint k = 0; k <= i && i > 0; k++) {
      double stands_for = (double) (k ? uneven (k) - uneven (k - 1) : uneven (1) - uneven (0)) / GST_SECOND;
      weights[k] = (1 - exp (-stands_for / tau)) * exp (-(double) (uneven (i) - uneven (k)) / GST_SECOND / tau);
    }
    g_autoptr (GstBuffer) out = test_send (h, picture (i, uneven (i)));
    expect_mode (out, "ema");
    expect_mean (out, 0, alone, weights, i + 1);
    expect_span (out, 0, uneven (0), uneven (i), (double) (uneven (i) - uneven (0)) / GST_SECOND < tau);
  }
  test_harness_free (h);
}

/* Labels, thresholds and the message are of what the frames say together. */
static void
test_of_the_label (void)
{
  GstHarness *h = test_harness (CAPS, "clip-mode", MEAN, "clip-length", 5, NULL);
  const int classes[] = { TINY_RED, TINY_RED, TINY_RED, TINY_BLUE, TINY_RED, TINY_RED, TINY_BLUE, TINY_BLUE, TINY_BLUE };
  const int said[] = { TINY_RED, TINY_RED, TINY_RED, TINY_RED, TINY_RED, TINY_RED, TINY_RED, TINY_BLUE, TINY_BLUE };
  for (guint i = 0; i < G_N_ELEMENTS (classes); i++) {
    g_autoptr (GstBuffer) out = test_send (h, test_frame (CAPS, classes[i], (int) i));
    g_assert_cmpstr (gst_structure_get_string (test_result (out, 0), "label"), ==, tiny_labels[said[i]]);
  }
  for (guint i = 0; i < 2; i++) {
    g_autoptr (GstMessage) message = gst_bus_pop_filtered (test_bus (h), GST_MESSAGE_ELEMENT);
    guint64 since;
    g_assert_nonnull (message);
    const GstStructure *s = gst_message_get_structure (message);
    g_assert_cmpstr (gst_structure_get_string (s, "label"), ==, i ? "blue" : "red");
    g_assert_true (gst_structure_get_uint64 (s, "since", &since));
    g_assert_cmpuint (since, ==, i * 7 * FRAME_TIME);
  }
  g_assert_null (gst_bus_pop_filtered (test_bus (h), GST_MESSAGE_ELEMENT));
  test_harness_free (h);
}

/* Frames that are not classified are not in the window; they carry the last answer. */
static void
test_interval (void)
{
  g_autofree gpointer alone = say_alone (LONG);
  GstHarness *h = test_harness (CAPS, "top-k", TINY_CLASSES, "clip-mode", MEAN, "clip-length", 3, "interval", 4, NULL);
  for (guint i = 0; i < LONG; i++) {
    const guint newest = i / 4 * 4;
    double weights[LONG] = { 0 };
    for (guint n = 0; n < 3 && 4 * n <= newest; n++)
      weights[newest - 4 * n] = 1;
    g_autoptr (GstBuffer) out = test_send (h, picture (i, i * FRAME_TIME));
    g_assert_cmpstr (test_state (out), ==, i % 4 ? "held" : "fresh");
    g_assert_cmpuint (test_age (out), ==, i % 4 * FRAME_TIME);
    expect_mean (out, 0, alone, weights, newest + 1);
    expect_span (out, 0, newest < 8 ? 0 : (newest - 8) * FRAME_TIME, newest * FRAME_TIME, newest < 8);
  }
  test_harness_free (h);
}

/* ---- what ends it ---- */

static void
test_reset (void)
{
  const char *reasons[] = { "flush", "discont", "caps", "stream-start", "nothing" };
  for (guint r = 0; r < G_N_ELEMENTS (reasons); r++) {
    for (guint mask = 0; mask < 16; mask += 5) { /* none, two and two, all */
      const gboolean resets = mask >> r & 1;
      GstHarness *h = test_harness (CAPS, "clip-mode", r % 2 ? MEAN : EMA, "clip-length", 4, "clip-time-constant", 0.1,
          "clip-reset", mask, NULL);
      for (guint i = 0; i < 8; i++) {
        GstBuffer *in = picture (i, i * FRAME_TIME);
        if (i == 6)
          test_happen (h, CAPS, reasons[r]);
        if (i == 6 && g_str_equal (reasons[r], "discont"))
          GST_BUFFER_FLAG_SET (in, GST_BUFFER_FLAG_DISCONT);
        g_autoptr (GstBuffer) out = test_send (h, in);
        const guint first = i >= 6 && resets ? 6 : r % 2 && i > 3 ? i - 3 : 0;
        expect_span (out, 0, first * FRAME_TIME, i * FRAME_TIME, i - first < 3);
      }
      test_harness_free (h);
    }
  }
}

/* Always: another direction, settings, and time that goes back. */
static void
test_begins_anew (void)
{
  GstHarness *h = test_harness (CAPS, "clip-mode", MEAN, "clip-length", 2, "clip-reset", 0, NULL);
  guint i = 0;
  for (; i < 3; i++)
    gst_buffer_unref (test_send (h, picture (i, i * FRAME_TIME)));
  g_object_set (h->element, "clip-length", 3, NULL);
  for (; i < 6; i++) {
    g_autoptr (GstBuffer) out = test_send (h, picture (i, i * FRAME_TIME));
    expect_span (out, 0, 3 * FRAME_TIME, i * FRAME_TIME, i < 5);
  }
  g_autoptr (GstBuffer) back = test_send (h, picture (0, 5 * FRAME_TIME - 1));
  expect_span (back, 0, 5 * FRAME_TIME - 1, 5 * FRAME_TIME - 1, TRUE);

  test_start_segment (h, -1); /* from the last to the first */
  for (i = 20; i > 10; i--) {
    g_autoptr (GstBuffer) out = test_send (h, picture (i, i * FRAME_TIME));
    expect_span (out, 0, MIN (i + 2, 20) * FRAME_TIME, i * FRAME_TIME, i > 18);
  }
  test_harness_free (h);
}

/* Frames are then as far apart as the caps say. */
static void
test_no_timestamps (void)
{
  for (int mode = MEAN; mode <= EMA; mode++) {
    GstHarness *h = test_harness (CAPS, "clip-mode", mode, "clip-length", 4, "clip-time-constant", 0.1, NULL);
    for (guint i = 0; i < 6; i++) {
      GstBuffer *in = picture (i, GST_CLOCK_TIME_NONE);
      GST_BUFFER_DURATION (in) = GST_CLOCK_TIME_NONE;
      g_autoptr (GstBuffer) out = test_send (h, in);
      expect_span (out, 0, GST_CLOCK_TIME_NONE, GST_CLOCK_TIME_NONE, i < 3);
    }
    test_harness_free (h);
  }
}

/* ---- objects ---- */

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

/* A picture with objects all over it: two that are tracked and one that is not. Which is which changes. */
static GstBuffer *
picture_with_objects (guint i)
{
  GstBuffer *buffer = picture (i, i * FRAME_TIME);
  for (guint k = 0; k < 3; k++) {
    const guint which = (i + k) % 3;
    if (which == 1 && i % 2) /* seen in every other frame */
      continue;
    add_object (buffer, which == 2 ? -1 : 100 + (gint64) which);
  }
  return buffer;
}

static void
test_objects (void)
{
  g_autofree gpointer alone = say_alone (LONG);
  GstHarness *h = test_harness (CAPS, "top-k", TINY_CLASSES, "clip-mode", MEAN, "clip-length", 3, "regions", 2, NULL);
  for (guint i = 0; i < LONG; i++) {
    g_autoptr (GstBuffer) out = test_send (h, picture_with_objects (i));
    g_assert_cmpuint (test_n_results (out), ==, i % 2 ? 3 : 4);
    for (guint r = 0; r < test_n_results (out); r++) {
      guint64 id = 0;
      double weights[LONG] = { 0 };
      const gboolean is_object = gst_structure_has_field (test_result (out, r), "region-id");
      gst_structure_get_uint64 (test_result (out, r), "tracking-id", &id);
      const guint step = id == 101 ? 2 : 1, length = is_object && id == 0 ? 1 : 3;
      guint n = 0, first = i;
      for (; n < length && n * step <= i; n++)
        weights[first = i - n * step] = 1;
      expect_mean (out, r, alone, weights, i + 1);
      expect_span (out, r, first * FRAME_TIME, i * FRAME_TIME, n < 3);
    }
  }
  test_harness_free (h);
}

/* Two of one id are judged by the one frame, both of them, and say nothing about the one of that id before and after. */
static void
test_same_id (void)
{
  for (int mode = MEAN; mode <= EMA; mode++) {
    g_autofree gpointer alone = say_alone (8);
    GstHarness *h = test_harness (CAPS, "top-k", TINY_CLASSES, "clip-mode", mode, "clip-length", 8, "clip-time-constant", 0.15,
        "regions", 1, NULL);
    double seen[LONG] = { 0 };
    for (guint i = 0; i < 8; i++) {
      const gboolean twins = i == 3 || i == 4;
      GstBuffer *in = picture (i, i * FRAME_TIME);
      add_object (in, 100);
      if (twins)
        add_object (in, 100);
      g_autoptr (GstBuffer) out = test_send (h, in);
      g_assert_cmpuint (test_n_results (out), ==, twins ? 2 : 1);
      for (guint r = 0; r < test_n_results (out); r++) {
        double by_itself[LONG] = { 0 };
        by_itself[i] = 1;
        if (mode == MEAN && !twins)
          seen[i] = 1;
        if (twins || mode == MEAN)
          expect_mean (out, r, alone, twins ? by_itself : seen, i + 1);
        expect_span (out, r, twins ? i * FRAME_TIME : 0, i * FRAME_TIME, twins || mode == MEAN || i < 4);
      }
    }
    test_harness_free (h);
  }
}

/* One that has been away for longer than hold-max is another when it comes back. */
static void
test_objects_go (void)
{
  for (guint away = 3; away <= 4; away++) {
    GstHarness *h = test_harness (CAPS, "clip-mode", MEAN, "clip-length", 4, "regions", 1, "hold-max", 4 * FRAME_TIME, NULL);
    const guint back = 2 + away;
    for (guint i = 0; i < back + 2; i++) {
      GstBuffer *in = i < 2 || i >= back ? picture_with_objects (i * 2) : picture (i, 0);
      GST_BUFFER_PTS (in) = i * FRAME_TIME;
      g_autoptr (GstBuffer) out = test_send (h, in);
      for (guint r = 0; r < test_n_results (out); r++) {
        const gboolean tracked = gst_structure_has_field (test_result (out, r), "tracking-id");
        const guint start = !tracked ? i : away > 3 && i >= back ? back : 0;
        expect_span (out, r, start * FRAME_TIME, i * FRAME_TIME, !tracked || i < back + (away > 3 ? 3 : 1));
      }
    }
    test_harness_free (h);
  }
}

/* ---- frames that are not waited for ---- */

typedef struct {
  guint n_fresh, n_held;
  GstClockTime start, last;
} Seen;

static GstPadProbeReturn
on_frame (GstPad *pad, GstPadProbeInfo *info, gpointer data)
{
  Seen *seen = data;
  GstBuffer *buffer = GST_PAD_PROBE_INFO_BUFFER (info);
  guint64 start, last;
  if (!test_state (buffer))
    return GST_PAD_PROBE_OK;
  g_assert_true (gst_structure_get (test_result (buffer, 0), "span-start", G_TYPE_UINT64, &start, "span-last",
          G_TYPE_UINT64, &last, NULL));
  if (seen->n_fresh + seen->n_held == 0)
    seen->start = start;
  g_assert_cmpuint (start, ==, seen->start); /* has never begun anew */
  g_assert_cmpuint (last, >=, seen->last);
  seen->last = last;
  *(g_str_equal (test_state (buffer), "held") ? &seen->n_held : &seen->n_fresh) += 1;
  return GST_PAD_PROBE_OK;
}

/* Of results that come late those are in the answers that come in order, and what is shed is in none. */
static void
test_skip (void)
{
  Seen seen = { 0 };
  GstHarness *h = test_harness (CAPS, "overload", 2, "latency-budget", (gint64) 0, "input-size", 256, "clip-mode", EMA,
      "clip-time-constant", 1000.0, "hold-max", 3600 * (guint64) GST_SECOND, NULL);
  gst_pad_add_probe (h->sinkpad, GST_PAD_PROBE_TYPE_BUFFER, on_frame, &seen, NULL);
  gst_harness_set_drop_buffers (h, TRUE);
  guint i = 0;
  for (; i < 10000; i++) {
    if (seen.n_held >= 50 && test_stat (h->element, "late") > 1 && test_stat (h->element, "shed") > 0)
      break;
    g_assert_cmpint (gst_harness_push (h, picture (i, i * FRAME_TIME)), ==, GST_FLOW_OK);
    g_usleep (1000);
  }
  g_assert_cmpuint (test_stat (h->element, "late"), >, 1);
  g_assert_cmpuint (test_stat (h->element, "shed"), >, 0);
  g_test_message ("%u frames, %u fresh, %u held", i, seen.n_fresh, seen.n_held);
  g_assert_cmpuint (seen.n_held, >=, 50);
  g_assert_cmpuint (seen.last, >, 0);
  test_harness_free (h);
}

/* ---- logits that are no numbers ---- */

/* The tiny model with weights so large that its logits are not finite. (transfer full) */
static char *
overflowing_model (void)
{
  char *path = g_build_filename (test_dir (), "overflowing.safetensors", NULL);
  g_autofree char *file = NULL;
  gsize size;
  g_assert_true (g_file_get_contents (test_model (), &file, &size, NULL));
  guint64 header;
  memcpy (&header, file, 8);
  header = GUINT64_FROM_LE (header);
  g_autofree char *text = g_strndup (file + 8, header);
  const char *offsets = strstr (strstr (text, "\"head.weight\""), "data_offsets");
  guint64 start = g_ascii_strtoull (strchr (offsets, '[') + 1, NULL, 10);
  for (guint i = 0; i < 64; i++) {
    const float huge = 3e38f;
    memcpy (file + 8 + header + start + i * sizeof huge, &huge, sizeof huge);
  }
  g_assert_true (g_file_set_contents (path, file, (gssize) size, NULL));
  return path;
}

/* They have no part in any answer; frames go on. */
static void
test_overflow (void)
{
  g_autofree char *model = overflowing_model ();
  for (int mode = NONE; mode <= EMA; mode++) {
    GstHarness *h = test_harness (CAPS, "model-file", model, "clip-mode", mode, "regions", 2, NULL);
    for (guint i = 0; i < 3; i++) {
      GstBuffer *in = picture_with_objects (0);
      GST_BUFFER_PTS (in) = i * FRAME_TIME;
      g_autoptr (GstBuffer) out = test_send (h, in);
      g_assert_cmpuint (test_n_results (out), ==, 0);
    }
    g_assert_cmpuint (test_stat (h->element, "classified"), ==, 0);
    g_assert_null (gst_bus_pop_filtered (test_bus (h), GST_MESSAGE_ELEMENT));
    test_expect_no_error (test_bus (h));
    test_harness_free (h);
  }
}

int
main (int argc, char **argv)
{
  test_init (&argc, &argv);
  g_test_add_func ("/clips/refused-modes", test_refused_modes);
  g_test_add_func ("/clips/other-model", test_other_model);
  g_test_add_func ("/clips/none", test_none);
  g_test_add_func ("/clips/mean", test_mean);
  g_test_add_func ("/clips/ema", test_ema);
  g_test_add_func ("/clips/label", test_of_the_label);
  g_test_add_func ("/clips/interval", test_interval);
  g_test_add_func ("/clips/reset", test_reset);
  g_test_add_func ("/clips/begins-anew", test_begins_anew);
  g_test_add_func ("/clips/no-timestamps", test_no_timestamps);
  g_test_add_func ("/clips/objects", test_objects);
  g_test_add_func ("/clips/same-id", test_same_id);
  g_test_add_func ("/clips/objects-go", test_objects_go);
  g_test_add_func ("/clips/skip", test_skip);
  g_test_add_func ("/clips/overflow", test_overflow);
  return test_run ();
}
