/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* vigclassify device=cuda over the emulated GPU: what the CPU says too, and one clear error for everything that CUDA can
 * refuse, after which nothing is left and the process goes on. */
#include <gst/analytics/analytics.h>

#include "common.h"
#include "emulated.h"

#define CAPS "video/x-raw,format=RGB,width=48,height=48,framerate=25/1"
#define OTHER_CAPS "video/x-raw,format=NV12,width=64,height=36,framerate=25/1"
#define LOST "VIG_EMU_FAIL=run:1:cudaErrorECCUncorrectable"

/* ---- right results ---- */

/* The probabilities of result @i of a buffer, by class. */
static void
probabilities (GstBuffer *buffer, guint i, float p[TINY_CLASSES])
{
  GstAnalyticsRelationMeta *meta = gst_buffer_get_analytics_relation_meta (buffer);
  GstAnalyticsClsMtd mtd;
  guint id, found = 0;
  g_assert_true (gst_structure_get_uint (test_result (buffer, i), "cls-id", &id));
  g_assert_true (gst_analytics_relation_meta_get_cls_mtd (meta, id, &mtd));
  g_assert_cmpuint (gst_analytics_cls_mtd_get_length (&mtd), ==, TINY_CLASSES);
  for (guint k = 0; k < TINY_CLASSES; k++)
    for (guint c = 0; c < TINY_CLASSES; c++)
      if (gst_analytics_cls_mtd_get_quark (&mtd, k) == g_quark_from_string (tiny_labels[c])) {
        p[c] = gst_analytics_cls_mtd_get_level (&mtd, k);
        found++;
      }
  g_assert_cmpuint (found, ==, TINY_CLASSES);
}

typedef struct {
  const char *precision;
  double tolerance; /* of a probability */
} Precision;

static const Precision precisions[] = { { "fp32", 1e-5 }, { "bf16", 3e-2 }, { "fp16", 1e-2 }, { "auto", 3e-2 } };

/* The CPU and the GPU one after the other, in every format and size, which change with every frame. */
static void
test_frames (gconstpointer data)
{
  static const char *const formats[] = { "NV12", "I420", "RGB", "BGRA", "P010_10LE", "GRAY8" };
  static const int sizes[][2] = { { 64, 48 }, { 32, 32 }, { 37, 61 }, { 320, 24 }, { 640, 360 }, { 17, 1 } };
  const Precision *precision = data;
  guint n = 0;

  emulated_machine ("");
  g_autofree char *description = g_strdup_printf ("vigclassify model-file=%s threads=1 device=cpu precision=fp32 top-k=99 "
      "overload=block ! vigclassify model-file=%s device=cuda precision=%s top-k=99 overload=block", test_model (), test_model (),
      precision->precision);
  GstHarness *h = gst_harness_new_parse (description);
  for (guint s = 0; s < G_N_ELEMENTS (sizes); s++)
    for (guint f = 0; f < G_N_ELEMENTS (formats); f++) {
      g_autofree char *caps = g_strdup_printf ("video/x-raw,format=%s,width=%d,height=%d,framerate=25/1", formats[f],
          sizes[s][0], sizes[s][1]);
      float cpu[TINY_CLASSES], cuda[TINY_CLASSES];
      gst_harness_set_src_caps_str (h, caps);
      g_assert_cmpint (gst_harness_push (h, test_frame (caps, (int) n % TINY_CLASSES, (int) n)), ==, GST_FLOW_OK);
      g_autoptr (GstBuffer) buffer = gst_harness_pull (h);
      g_assert_nonnull (buffer);
      g_assert_cmpuint (GST_BUFFER_PTS (buffer), ==, n++ * FRAME_TIME);
      probabilities (buffer, 0, cpu);
      probabilities (buffer, 1, cuda);
      for (guint c = 0; c < TINY_CLASSES; c++)
        g_assert_cmpfloat_with_epsilon (cuda[c], cpu[c], precision->tolerance);
      if (test_confidence (buffer) > 0.6)
        g_assert_cmpstr (gst_structure_get_string (test_result (buffer, 1), "label"), ==, test_label (buffer));
    }
  g_assert_true (gst_harness_push_event (h, gst_event_new_eos ()));
  GstEvent *event;
  while (GST_EVENT_TYPE (event = gst_harness_pull_event (h)) != GST_EVENT_EOS)
    gst_event_unref (event);
  gst_event_unref (event);
  gst_harness_teardown (h);
  g_assert_cmpint (emulated_live (), ==, 0);
}

/* ---- pipelines ---- */

/* Plays to the end. How many errors the element named v posted; *text: the first. */
static guint
play (GstElement *pipeline, char **text)
{
  g_autoptr (GstBus) bus = gst_element_get_bus (pipeline);
  guint errors = 0;
  gboolean ended = FALSE;
  gst_element_set_state (pipeline, GST_STATE_PLAYING);
  while (!ended) {
    g_autoptr (GstMessage) message = gst_bus_timed_pop_filtered (bus, 60 * GST_SECOND, GST_MESSAGE_EOS | GST_MESSAGE_ERROR);
    g_assert_nonnull (message);
    ended = GST_MESSAGE_TYPE (message) == GST_MESSAGE_EOS;
    if (!ended && g_str_equal (GST_MESSAGE_SRC_NAME (message), "v")) {
      g_autoptr (GError) error = NULL;
      gst_message_parse_error (message, &error, NULL);
      if (errors++ == 0)
        *text = g_strdup (error->message);
    }
  }
  return errors;
}

/* Each frame is a batch, so that every run does the same. */
static GstElement *
launch (const char *device, int n)
{
  g_autofree char *description = g_strdup_printf ("videotestsrc num-buffers=%d pattern=red ! "
      "video/x-raw,format=NV12,width=64,height=48,framerate=25/1 ! vigclassify name=v threads=1 max-batch=1 model-file=%s "
      "device=%s ! fakesink", n, test_model (), device);
  g_autoptr (GError) error = NULL;
  GstElement *pipeline = gst_parse_launch (description, &error);
  g_assert_no_error (error);
  return pipeline;
}

static void
expect_classified (GstElement *pipeline, guint64 n)
{
  g_autoptr (GstElement) v = gst_bin_get_by_name (GST_BIN (pipeline), "v");
  g_assert_cmpuint (test_stat (v, "classified"), ==, n);
}

static void
close_pipeline (GstElement *pipeline)
{
  gst_element_set_state (pipeline, GST_STATE_NULL);
  gst_object_unref (pipeline);
  g_assert_cmpint (emulated_live (), ==, 0);
}

static void
test_pipeline (void)
{
  char *text = NULL;
  emulated_machine ("");
  GstElement *pipeline = launch ("cuda", 20);
  g_assert_cmpuint (play (pipeline, &text), ==, 0);
  expect_classified (pipeline, 20);
  close_pipeline (pipeline);
}

/* Loaded and warmed up, which takes more or less of the device. From here on the machine is like that. */
static GstElement *
launch_ready (const char *device, int n, const char *settings)
{
  GstElement *pipeline = launch (device, n);
  g_assert_cmpint (gst_element_set_state (pipeline, GST_STATE_READY), ==, GST_STATE_CHANGE_SUCCESS);
  emulated_machine (settings);
  return pipeline;
}

/* The device is lost somewhere between the first frame and the last. One on the CPU beside it does not notice. */
static void
test_lost_in_pipeline (void)
{
  enum { FRAMES = 20 };
  char *text = NULL;
  int runs[2]; /* operations on the device until the first frame's end, and until the last one's */
  for (int i = 0; i < 2; i++) {
    emulated_machine ("");
    GstElement *whole = launch_ready ("cuda", i ? FRAMES : 1, "");
    g_assert_cmpuint (play (whole, &text), ==, 0);
    runs[i] = emulated_calls ("run");
    close_pipeline (whole);
  }

  for (int part = 0; part < 5; part++) {
    int at = runs[0] + 1 + (runs[1] - runs[0] - 1) * part / 4;
    g_autofree char *settings = g_strdup_printf ("VIG_EMU_FAIL=run:%d:cudaErrorIllegalAddress", at);
    emulated_machine ("");
    GstElement *pipeline = launch_ready ("cuda", FRAMES, settings), *beside = launch ("cpu", FRAMES);
    gst_element_set_state (beside, GST_STATE_PLAYING);
    guint errors = play (pipeline, &text);
    g_assert_cmpuint (errors, ==, 1);
    g_test_message ("%s", text);
    g_assert_nonnull (strstr (text, "device cuda: the computation failed: cudaErrorIllegalAddress (an illegal memory access was "
            "encountered) while "));
    g_clear_pointer (&text, g_free);
    g_assert_cmpuint (play (beside, &text), ==, 0);
    expect_classified (beside, FRAMES);
    gst_element_set_state (beside, GST_STATE_NULL);
    gst_object_unref (beside);
    close_pipeline (pipeline);
  }
}

/* ---- bad input ---- */

/* The next error, which is of this code and reads so ('*' for anything). */
static void
expect_error (GstBus *bus, int code, const char *pattern)
{
  g_autoptr (GstMessage) message = gst_bus_timed_pop_filtered (bus, 10 * GST_SECOND, GST_MESSAGE_ERROR);
  g_autoptr (GError) error = NULL;
  g_assert_nonnull (message);
  gst_message_parse_error (message, &error, NULL);
  g_assert_error (error, GST_RESOURCE_ERROR, code);
  if (!g_pattern_match_simple (pattern, error->message))
    g_error ("the error must read \"%s\", found \"%s\"", pattern, error->message);
}

/* The element says what is wrong, once, when it is made ready, and works when that has been put right. */
static void
test_refused (void)
{
  static const struct { const char *settings, *device, *precision; int size, code; const char *pattern; } cases[] = {
    { "VIG_EMU_FAIL=cudaGetDeviceCount:1", "cuda", "auto", 0, GST_RESOURCE_ERROR_NOT_FOUND,
      "device cuda: cudaErrorNoDevice (no CUDA-capable device is detected) while looking for devices" },
    { "VIG_EMU_FAIL=cudaGetDeviceCount:1:cudaErrorInsufficientDriver VIG_EMU_DRIVER=11040", "cuda:0", "auto", 0,
      GST_RESOURCE_ERROR_NOT_FOUND, "device cuda:0: expected an NVIDIA driver for CUDA 13.0 or later, found one for CUDA "
      "11.4: cudaErrorInsufficientDriver*" },
    { "", "cuda:1", "auto", 0, GST_RESOURCE_ERROR_NOT_FOUND, "device cuda:1: expected a number below 1, found 1" },
    { "VIG_EMU_SM=75", "cuda", "bf16", 0, GST_RESOURCE_ERROR_SETTINGS, "precision bf16: expected compute capability 8.0 or later, found 7.5*" },
    /* too large a model: with no room for the weights, for those alone, and for the library's workspace too */
    { "VIG_EMU_MEMORY=10000", "cuda", "fp32", 0, GST_RESOURCE_ERROR_FAILED,
      "model tiny-colours: cannot prepare the weights: cudaErrorMemoryAllocation (out of memory) while allocating * bytes on device 0" },
    { "VIG_EMU_MEMORY=33000000", "cuda", "fp32", 0, GST_RESOURCE_ERROR_NO_SPACE_LEFT,
      "input *: no memory for the * bytes of workspace that a batch of 1 needs: cudaErrorMemoryAllocation (out of memory) "
      "while allocating 33554432 bytes on device 0" },
    { "VIG_EMU_MEMORY=60000000", "cuda", "fp32", 2048, GST_RESOURCE_ERROR_NO_SPACE_LEFT,
      "input 2048x2048: no memory for the * bytes of workspace that a batch of 1 needs: cudaErrorMemoryAllocation (out of "
      "memory) while allocating * bytes on device 0" },
    { "VIG_EMU_FAIL=launch:3", "cuda", "auto", 0, GST_RESOURCE_ERROR_FAILED,
      "device cuda: the computation failed: cudaErrorLaunchOutOfResources (too many resources requested for launch) while "
      "launching *" },
  };

  for (guint i = 0; i < G_N_ELEMENTS (cases); i++) {
    GstElement *element = gst_object_ref_sink (test_element ("device", cases[i].device, "input-size", cases[i].size, NULL));
    g_autoptr (GstBus) bus = gst_bus_new ();
    gst_util_set_object_arg (G_OBJECT (element), "precision", cases[i].precision);
    gst_element_set_bus (element, bus);
    emulated_machine (cases[i].settings);
    g_assert_cmpint (gst_element_set_state (element, GST_STATE_PAUSED), ==, GST_STATE_CHANGE_FAILURE);
    expect_error (bus, cases[i].code, cases[i].pattern);
    test_expect_no_error (bus);
    gst_element_set_state (element, GST_STATE_NULL);
    g_assert_cmpint (emulated_live (), ==, 0);

    emulated_machine ("");
    g_object_set (element, "device", "cuda", "input-size", 0, NULL);
    g_assert_cmpint (gst_element_set_state (element, GST_STATE_PAUSED), ==, GST_STATE_CHANGE_SUCCESS);
    test_expect_no_error (bus);
    gst_element_set_state (element, GST_STATE_NULL);
    g_assert_cmpint (emulated_live (), ==, 0);
    gst_element_set_bus (element, NULL);
    gst_object_unref (element);
  }
}

typedef struct {
  const char *name, *settings;
  const char *caps; /* of the frame that fails, if it is of another kind */
  int code;
  const char *pattern;
} MidStream;

static const MidStream mid_stream[] = {
  { "lost", LOST, NULL, GST_RESOURCE_ERROR_FAILED,
    "device cuda: the computation failed: cudaErrorECCUncorrectable (uncorrectable ECC error encountered) while *" },
  { "lost-at-new-caps", LOST, OTHER_CAPS, GST_RESOURCE_ERROR_FAILED,
    "device cuda: the computation failed: cudaErrorECCUncorrectable (uncorrectable ECC error encountered) while *" },
  { "out-of-memory", "VIG_EMU_MEMORY=1", OTHER_CAPS, GST_RESOURCE_ERROR_NO_SPACE_LEFT,
    "frame 64x36: no memory to prepare its preprocessing: cudaErrorMemoryAllocation (out of memory) while allocating * bytes*" },
  { "out-of-pinned-memory", "VIG_EMU_FAIL=cudaMallocHost:1", OTHER_CAPS, GST_RESOURCE_ERROR_NO_SPACE_LEFT,
    "frame 64x36: no memory to prepare its preprocessing: cudaErrorMemoryAllocation (out of memory) while allocating * bytes*" },
  { "copy", "VIG_EMU_FAIL=cudaMemcpyAsync:1", NULL, GST_RESOURCE_ERROR_FAILED,
    "device cuda: the computation failed: cudaErrorInvalidValue (invalid argument) while uploading * bytes" },
};

/* Frames, then one that fails. @told: upstream goes on and hears of it; else the stream ends here. */
static void
fail_in_mid_stream (const MidStream *m, gboolean told)
{
  emulated_machine ("");
  GstHarness *h = test_harness (CAPS, "device", "cuda", NULL);
  for (int i = 0; i < 3; i++)
    test_expect_class (h, CAPS, i, 0.9);
  if (m->caps)
    gst_harness_set_src_caps_str (h, m->caps);
  emulated_machine (m->settings);
  g_assert_cmpint (gst_harness_push (h, test_picture (m->caps ? m->caps : CAPS, TINY_RED)), ==, GST_FLOW_OK);
  expect_error (test_bus (h), m->code, m->pattern);
  if (told)
    g_assert_cmpint (test_push_until_refused (h, m->caps ? m->caps : CAPS), ==, GST_FLOW_ERROR);
  g_assert_true (gst_harness_push_event (h, gst_event_new_eos ()));
  GstEvent *event;
  while (GST_EVENT_TYPE (event = gst_harness_pull_event (h)) != GST_EVENT_EOS)
    gst_event_unref (event);
  gst_event_unref (event);
  g_assert_null (gst_harness_try_pull (h));
  test_expect_no_error (test_bus (h));
  gst_element_set_state (h->element, GST_STATE_NULL);
  g_assert_cmpint (emulated_live (), ==, 0);

  emulated_machine ("");
  gst_element_set_state (h->element, GST_STATE_PLAYING);
  gst_harness_push_event (h, gst_event_new_stream_start ("again"));
  gst_harness_set_src_caps_str (h, CAPS);
  test_expect_class (h, CAPS, TINY_GREEN, 0.9);
  test_harness_free (h);
  g_assert_cmpint (emulated_live (), ==, 0);
}

static void
test_mid_stream (gconstpointer m)
{
  fail_in_mid_stream (m, TRUE);
  fail_in_mid_stream (m, FALSE);
}

/* While the device stays lost, auto takes the CPU and says why. */
static void
test_auto_without (void)
{
  emulated_machine ("");
  GstHarness *h = test_harness (CAPS, "device", "cuda", NULL);
  test_expect_class (h, CAPS, TINY_RED, 0.9);
  emulated_machine (LOST);
  gst_harness_push (h, test_picture (CAPS, TINY_RED));
  expect_error (test_bus (h), GST_RESOURCE_ERROR_FAILED, "*cudaErrorECCUncorrectable*");

  g_test_expect_message ("vig", G_LOG_LEVEL_INFO, "device auto: took cpu, for device cuda: cudaErrorECCUncorrectable*");
  GstHarness *other = test_harness (CAPS, "device", "auto", NULL);
  g_test_assert_expected_messages ();
  test_expect_class (other, CAPS, TINY_BLUE, 0.9);
  test_harness_free (other);
  test_harness_free (h);
  g_assert_cmpint (emulated_live (), ==, 0);
}

/* auto, and the GPU fails: making the engine, warming it up, and at the first frame. */
static void
test_auto_falls_back (void)
{
  static const struct { const char *at_start, *at_frame; } cases[] = {
    { "VIG_EMU_FAIL=cudaMalloc:9", "" }, { "VIG_EMU_MEMORY=33600000", "" }, { "VIG_EMU_FAIL=launch:2", "" }, { LOST, "" },
    { "", LOST }, { "", "VIG_EMU_MEMORY=1" }, { "", "VIG_EMU_FAIL=launch:1" },
  };

  for (guint i = 0; i < G_N_ELEMENTS (cases); i++) {
    emulated_machine (cases[i].at_start);
    g_test_expect_message ("vig", G_LOG_LEVEL_INFO, "device auto: took cuda");
    g_test_expect_message ("vig", G_LOG_LEVEL_MESSAGE, "device auto: cpu takes over: *cudaError*");
    GstHarness *h = test_harness (CAPS, "device", "auto", NULL);
    emulated_machine (cases[i].at_frame);
    for (int class = 0; class < TINY_CLASSES; class++)
      test_expect_class (h, CAPS, class, 0.6);
    g_test_assert_expected_messages ();
    test_expect_no_error (test_bus (h));
    g_assert_cmpuint (test_stat (h->element, "classified"), ==, TINY_CLASSES);
    g_assert_cmpint (emulated_live (), ==, 0);
    test_harness_free (h);
  }
}

/* auto, and the GPU has given out results before it fails. */
static void
test_auto_after (void)
{
  emulated_machine ("");
  g_test_expect_message ("vig", G_LOG_LEVEL_INFO, "device auto: took cuda");
  GstHarness *h = test_harness (CAPS, "device", "auto", NULL);
  g_test_assert_expected_messages ();
  test_expect_class (h, CAPS, TINY_RED, 0.9);
  emulated_machine (LOST);
  gst_harness_push (h, test_picture (CAPS, TINY_RED));
  expect_error (test_bus (h), GST_RESOURCE_ERROR_FAILED, "device cuda: the computation failed: cudaErrorECCUncorrectable*");
  g_assert_cmpint (test_push_until_refused (h, CAPS), ==, GST_FLOW_ERROR);
  test_expect_no_error (test_bus (h));
  test_harness_free (h);
  g_assert_cmpint (emulated_live (), ==, 0);
}

int
main (int argc, char **argv)
{
  test_init (&argc, &argv);
  emulated_init ();
  for (guint i = 0; i < G_N_ELEMENTS (precisions); i++) {
    g_autofree char *path = g_strconcat ("/cuda/frames/", precisions[i].precision, NULL);
    g_test_add_data_func (path, &precisions[i], test_frames);
  }
  g_test_add_func ("/cuda/pipeline", test_pipeline);
  g_test_add_func ("/cuda/lost-in-pipeline", test_lost_in_pipeline);
  g_test_add_func ("/cuda/refused", test_refused);
  for (guint i = 0; i < G_N_ELEMENTS (mid_stream); i++) {
    g_autofree char *path = g_strconcat ("/cuda/mid-stream/", mid_stream[i].name, NULL);
    g_test_add_data_func (path, &mid_stream[i], test_mid_stream);
  }
  g_test_add_func ("/cuda/auto/without", test_auto_without);
  g_test_add_func ("/cuda/auto/falls-back", test_auto_falls_back);
  g_test_add_func ("/cuda/auto/after", test_auto_after);
  return test_run ();
}
