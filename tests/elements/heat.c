/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* heatmap=true: where in the picture a label comes from, as metadata. That the cells add up is tests/golden's; here is that the
 * right ones arrive, with the rectangle that they cover, held and turned with the frame. */
#include <gst/analytics/analytics.h>
#include <math.h>
#include <string.h>
#include <vig/vig.h>

#include "common.h"
#include "watched.h"

#define CAPS "video/x-raw,format=RGB,width=96,height=48,framerate=25/1"

/* ---- reading ---- */

static guint
n_maps (GstBuffer *buffer, guint result)
{
  const GValue *maps = gst_structure_get_value (test_result (buffer, result), "heatmaps");
  return maps ? gst_value_array_get_size (maps) : 0;
}

static const GstStructure *
get_map (GstBuffer *buffer, guint result, guint i)
{
  g_assert_cmpuint (i, <, n_maps (buffer, result));
  const GstStructure *map = gst_value_get_structure (gst_value_array_get_value (gst_structure_get_value (test_result (buffer,
                  result), "heatmaps"), i));
  g_assert_cmpstr (gst_structure_get_name (map), ==, "vig-heatmap");
  return map;
}

/* As many as there are @cells. */
static const float *
get_shares (const GstStructure *map, guint cells)
{
  gsize size;
  guint rows, columns;
  const float *shares = g_bytes_get_data (g_value_get_boxed (gst_structure_get_value (map, "shares")), &size);
  g_assert_true (gst_structure_get (map, "rows", G_TYPE_UINT, &rows, "columns", G_TYPE_UINT, &columns, NULL));
  g_assert_cmpuint (rows * columns, ==, cells);
  g_assert_cmpuint (size, ==, cells * sizeof *shares);
  return shares;
}

static void
expect_area (const GstStructure *map, double x, double y, double width, double height)
{
  const char *names[] = { "x", "y", "width", "height" };
  const double wanted[] = { x, y, width, height };
  for (guint i = 0; i < 4; i++) {
    double found;
    g_assert_true (gst_structure_get_double (map, names[i], &found));
    g_assert_cmpfloat_with_epsilon (found, wanted[i], 1e-6);
  }
}

/* What a class would be if all cells were like this one, but for the bias. */
static double
sum_of (const float *shares, guint n)
{
  double sum = 0;
  for (guint i = 0; i < n; i++)
    sum += shares[i];
  return sum;
}

/* ---- pictures ---- */

/* The middle square is red on the left and blue on the right. */
static GstBuffer *
two_halves (int i)
{
  GstBuffer *buffer = test_frame (CAPS, TINY_BLUE, i);
  GstMapInfo map;
  g_assert_true (gst_buffer_map (buffer, &map, GST_MAP_WRITE));
  for (guint y = 0; y < 48; y++)
    for (guint x = 0; x < 48; x++)
      memcpy (map.data + (y * 96 + x) * 3, "\xff\0\0", 3);
  gst_buffer_unmap (buffer, &map);
  return buffer;
}

/* ---- tests ---- */

/* The cells are those of the engine, and with the bias the logit; they cover the centre crop; red is where red is. */
static void
test_cells (void)
{
  GstHarness *h = test_harness (CAPS, "heatmap", TRUE, "heatmap-labels", "red, blue", NULL);
  g_autoptr (GstBuffer) out = test_send (h, two_halves (0));
  g_assert_cmpuint (n_maps (out, 0), ==, 2);

  GError *error = NULL;
  g_autoptr (VigModel) model = vig_model_load (test_model (), &error);
  g_autoptr (VigEngine) engine = vig_engine_new (model, &(VigEngineOptions) { .device = "cpu", .precision = VIG_PRECISION_FP32,
      .n_threads = 1 }, &error);
  g_assert_no_error (error);
  GstMapInfo map;
  g_assert_true (gst_buffer_map (out, &map, GST_MAP_READ));
  const VigFrame frame = { .format = VIG_FORMAT_RGB, .width = 96, .height = 48, .data = { map.data }, .stride = { 96 * 3 } };
  const int classes[] = { TINY_RED, TINY_BLUE };
  int chosen[2];
  float shares[2][4], logits[TINY_CLASSES];
  const VigMaps maps = { 2, classes, chosen, shares[0] };
  vig_engine_classify_frames (engine, &frame, 1, 0, &(VigOutput) { .logits = logits, .maps = &maps }, &error);
  g_assert_no_error (error);
  gst_buffer_unmap (out, &map);
  for (guint i = 0; i < 2; i++) {
    const GstStructure *found = get_map (out, 0, i);
    const float *said = get_shares (found, 4);
    double bias;
    g_assert_cmpstr (gst_structure_get_string (found, "label"), ==, tiny_labels[classes[i]]);
    g_assert_cmpmem (said, 4 * sizeof *said, shares[i], 4 * sizeof *said);
    g_assert_true (gst_structure_get_double (found, "bias", &bias));
    g_assert_cmpfloat_with_epsilon (sum_of (said, 4) + bias, logits[classes[i]], 1e-5 * fabs (logits[classes[i]]) + 1e-6);
    expect_area (found, 24, 0, 48, 48);
    for (guint row = 0; row < 2; row++) {
      if (i == 0)
        g_assert_cmpfloat (said[2 * row], >, said[2 * row + 1]);
      else
        g_assert_cmpfloat (said[2 * row], <, said[2 * row + 1]);
    }
  }
  test_harness_free (h);
}

/* The most confident label where none is named; nothing where it is off, or nothing of this model is named, which is said. */
static void
test_labels (void)
{
  GstHarness *h = test_harness (CAPS, NULL);
  g_autoptr (GstBuffer) off = test_send (h, test_frame (CAPS, TINY_RED, 0));
  g_assert_false (gst_structure_has_field (test_result (off, 0), "heatmaps"));
  g_object_set (h->element, "heatmap", TRUE, NULL);
  g_autoptr (GstBuffer) on = test_send (h, test_frame (CAPS, TINY_YELLOW, 1));
  g_assert_cmpuint (n_maps (on, 0), ==, 1);
  g_assert_cmpstr (gst_structure_get_string (get_map (on, 0, 0), "label"), ==, "yellow");
  g_autofree char *text = gst_structure_to_string (test_result (on, 0)); /* logs do that */
  g_assert_nonnull (text);

  g_object_set (h->element, "heatmap-labels", "puce,white", NULL);
  g_autoptr (GstBuffer) one = test_send (h, test_frame (CAPS, TINY_RED, 2));
  g_autoptr (GstBuffer) two = test_send (h, test_frame (CAPS, TINY_RED, 3));
  g_assert_cmpuint (n_maps (one, 0), ==, 1);
  g_assert_cmpuint (n_maps (two, 0), ==, 1);
  g_assert_cmpstr (gst_structure_get_string (get_map (one, 0, 0), "label"), ==, "white");
  guint n = 0;
  GstMessage *message;
  while ((message = gst_bus_pop_filtered (test_bus (h), GST_MESSAGE_WARNING))) {
    g_autoptr (GError) error = NULL;
    gst_message_parse_warning (message, &error, NULL);
    g_assert_nonnull (strstr (error->message, "puce"));
    gst_message_unref (message);
    n++;
  }
  g_assert_cmpuint (n, ==, 1);
  g_object_set (h->element, "heatmap-labels", "puce", NULL);
  g_autoptr (GstBuffer) none = test_send (h, test_frame (CAPS, TINY_RED, 4));
  g_assert_cmpuint (n_maps (none, 0), ==, 0);
  test_harness_free (h);
}

/* Frames between carry the map of the frame whose result they carry, until it is switched off. */
static void
test_held (void)
{
  GstHarness *h = test_harness (CAPS, "heatmap", TRUE, "interval", 3, NULL);
  g_autoptr (GstBuffer) fresh = test_send (h, two_halves (0)), held = test_send (h, test_frame (CAPS, TINY_WHITE, 1));
  g_assert_cmpstr (test_state (held), ==, "held");
  const GstStructure *a = get_map (fresh, 0, 0), *b = get_map (held, 0, 0);
  g_assert_cmpstr (gst_structure_get_string (a, "label"), ==, gst_structure_get_string (b, "label"));
  g_assert_cmpmem (get_shares (a, 4), 16, get_shares (b, 4), 16);
  expect_area (b, 24, 0, 48, 48);
  g_object_set (h->element, "heatmap", FALSE, NULL);
  g_autoptr (GstBuffer) off = test_send (h, test_frame (CAPS, TINY_WHITE, 2));
  g_assert_cmpstr (test_state (off), ==, "held");
  g_assert_cmpuint (n_maps (off, 0), ==, 0);
  test_harness_free (h);
}

/* Turned for the model, the cells lie where they are in the picture as it is. */
static void
test_orientation (void)
{
  for (int o = GST_VIDEO_ORIENTATION_IDENTITY; o <= GST_VIDEO_ORIENTATION_UR_LL; o++) {
    GstHarness *h = test_harness (CAPS, "heatmap", TRUE, "heatmap-labels", "red", "orientation", o, NULL);
    g_autoptr (GstBuffer) out = test_send (h, two_halves (0));
    const GstStructure *map = get_map (out, 0, 0);
    const float *shares = get_shares (map, 4);
    expect_area (map, 24, 0, 48, 48);
    for (guint row = 0; row < 2; row++)
      g_assert_cmpfloat (shares[2 * row], >, shares[2 * row + 1]);
    test_harness_free (h);
  }
}

static GstBuffer *
with_object (GstBuffer *buffer, int x, int y, int w, int h)
{
  GstAnalyticsRelationMeta *meta = gst_buffer_add_analytics_relation_meta (buffer);
  GstAnalyticsODMtd od;
  GstAnalyticsTrackingMtd tracking;
  gst_analytics_relation_meta_add_od_mtd (meta, g_quark_from_string ("box"), x, y, w, h, 1, &od);
  gst_analytics_relation_meta_add_tracking_mtd (meta, 1, 0, &tracking);
  gst_analytics_relation_meta_set_relation (meta, GST_ANALYTICS_REL_TYPE_RELATE_TO, od.id, tracking.id);
  return buffer;
}

/* Of an object: the middle of its rectangle, and where that has gone while the result is held. */
static void
test_objects (void)
{
  GstHarness *h = test_harness (CAPS, "heatmap", TRUE, "regions", 2 /* both */, "reclassify-interval", 3, NULL);
  g_autoptr (GstBuffer) fresh = test_send (h, with_object (two_halves (0), 10, 4, 40, 20));
  g_autoptr (GstBuffer) moved = test_send (h, with_object (two_halves (1), 30, 8, 20, 40));
  g_assert_cmpuint (test_n_results (fresh), ==, 2);
  expect_area (get_map (fresh, 0, 0), 24, 0, 48, 48);
  expect_area (get_map (fresh, 1, 0), 20, 4, 20, 20);
  g_assert_cmpstr (gst_structure_get_string (test_result (moved, 1), "state"), ==, "held");
  expect_area (get_map (moved, 1, 0), 35, 8, 10, 40);
  g_assert_cmpmem (get_shares (get_map (fresh, 1, 0), 4), 16, get_shares (get_map (moved, 1, 0), 4), 16);
  test_harness_free (h);
}

/* Models that see more than one frame, and means over several: there is one at every answer. */
static void
test_clips (void)
{
  const struct { int kind; const char *mode; } all[] = { { TINY_STREAM, "stream" }, { TINY_JOINT, "joint" }, { TINY_IMAGE, "mean" },
    { TINY_IMAGE, "ema" } };
  for (guint i = 0; i < G_N_ELEMENTS (all); i++) {
    g_autofree char *path = all[i].kind == TINY_IMAGE ? g_strdup (test_model ()) : test_model_over_time (all[i].kind);
    GstHarness *h = test_harness (NULL, "model-file", path, "heatmap", TRUE, "clip-length", 4, "clip-hop", 2, NULL);
    gst_util_set_object_arg (G_OBJECT (h->element), "clip-mode", all[i].mode);
    gst_element_set_state (h->element, GST_STATE_READY); /* takes effect */
    gst_element_set_state (h->element, GST_STATE_PLAYING);
    gst_harness_set_src_caps_str (h, CAPS);
    for (int f = 0; f < 6; f++) {
      g_autoptr (GstBuffer) out = test_send (h, test_frame (CAPS, f % 8, f));
      g_assert_cmpstr (gst_structure_get_string (test_result (out, 0), "clip-mode"), ==, all[i].mode);
      g_assert_cmpuint (n_maps (out, 0), ==, 1);
      const GstStructure *map = get_map (out, 0, 0);
      const float *shares = get_shares (map, 4);
      for (guint c = 0; c < 4; c++)
        g_assert_true (isfinite (shares[c]));
      if (all[i].kind != TINY_IMAGE)
        g_assert_cmpstr (gst_structure_get_string (map, "label"), ==, test_label (out));
      else
        g_assert_cmpstr (gst_structure_get_string (map, "label"), ==, tiny_labels[f % 8]); /* the frame's own */
    }
    test_harness_free (h);
  }
}

/* Frames of several elements in one batch, some with maps: the same bits as alone. */
static void
test_shared (void)
{
  GstHarness *with = test_harness (CAPS, "heatmap", TRUE, NULL), *without = test_harness (CAPS, NULL);
  g_autoptr (GstBuffer) alone = test_send (with, two_halves (0));
  for (int i = 1; i < 5; i++) {
    gst_harness_push (without, test_frame (CAPS, TINY_WHITE, i));
    gst_harness_push (with, two_halves (i));
    g_autoptr (GstBuffer) other = gst_harness_pull (without), out = gst_harness_pull (with);
    g_assert_cmpuint (n_maps (other, 0), ==, 0);
    g_assert_cmpmem (get_shares (get_map (alone, 0, 0), 4), 16, get_shares (get_map (out, 0, 0), 4), 16);
  }
  test_harness_free (with);
  test_harness_free (without);
}

/* Dropped by a flush, late, or to the end: nothing is left of it. */
static void
test_leaks (void)
{
  const char *lines[] = { "interval=2", "overload=skip latency-budget=0", "clip-mode=mean max-in-flight=4", "regions=both" };
  for (guint i = 0; i < G_N_ELEMENTS (lines); i++) {
    GstElement *pipeline = launch ("videotestsrc num-buffers=40 ! video/x-raw,width=64,height=48,framerate=25/1 ! vigclassify "
        "threads=1 model-file=%s heatmap=true %s ! fakesink", test_model (), lines[i]);
    gst_element_set_state (pipeline, GST_STATE_PLAYING);
    expect_end (pipeline, GST_MESSAGE_EOS);
    close_pipeline (pipeline);
    expect_no_leaks ();
  }
}

int
main (int argc, char **argv)
{
  watched_init (&argc, &argv);
  g_test_add_func ("/heat/cells", test_cells);
  g_test_add_func ("/heat/labels", test_labels);
  g_test_add_func ("/heat/held", test_held);
  g_test_add_func ("/heat/orientation", test_orientation);
  g_test_add_func ("/heat/objects", test_objects);
  g_test_add_func ("/heat/clips", test_clips);
  g_test_add_func ("/heat/shared", test_shared);
  g_test_add_func ("/heat/leaks", test_leaks);
  return test_run ();
}
