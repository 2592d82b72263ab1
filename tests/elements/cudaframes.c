/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* vigclassify and frames in CUDA memory, which gstreamer-cuda makes on the emulated GPU, or on a real one where
 * VIG_CUDA_MODULE names the real module: the same results as from system memory, the context that is offered, what the caps
 * say, and frames that lie elsewhere. */
#define GST_USE_UNSTABLE_API
#include <gst/cuda/gstcuda.h>

#include "common.h"
#include "emulated.h"

#define FEATURE "(memory:CUDAMemory)"
#define REST "format=NV12,width=48,height=48,framerate=25/1"
#define CAPS "video/x-raw" FEATURE "," REST

/* ---- frames ---- */

/* Of the same pixels as @picture (which is freed), in @context, on the way there in @stream (NULL: there). */
static GstBuffer *
upload (GstBuffer *picture, const char *caps_string, GstCudaContext *context, GstCudaStream *stream)
{
  g_autoptr (GstCaps) caps = gst_caps_from_string (caps_string);
  GstVideoInfo info;
  GstVideoFrame from, to;
  g_assert_true (gst_video_info_from_caps (&info, caps));
  GstMemory *memory = gst_cuda_allocator_alloc (NULL, context, stream, &info);
  g_assert_nonnull (memory);
  GstBuffer *buffer = gst_buffer_new ();
  gst_buffer_copy_into (buffer, picture, GST_BUFFER_COPY_TIMESTAMPS, 0, -1);
  gst_buffer_append_memory (buffer, memory);
  const GstVideoInfo *aligned = &GST_CUDA_MEMORY_CAST (memory)->info;
  gst_buffer_add_video_meta_full (buffer, GST_VIDEO_FRAME_FLAG_NONE, GST_VIDEO_INFO_FORMAT (&info), (guint) info.width,
      (guint) info.height, GST_VIDEO_INFO_N_PLANES (&info), aligned->offset, aligned->stride);
  g_assert_true (gst_video_frame_map (&from, &info, picture, GST_MAP_READ));
  g_assert_true (gst_video_frame_map (&to, &info, buffer, GST_MAP_WRITE));
  g_assert_true (gst_video_frame_copy (&to, &from));
  gst_video_frame_unmap (&from);
  gst_video_frame_unmap (&to); /* who maps it for CUDA next, has it copied there */
  gst_buffer_unref (picture);
  return buffer;
}

/* The context that a pad's peer would be told of; NULL: none. */
static GstCudaContext *
ask_context (GstElement *element, const char *pad_name)
{
  g_autoptr (GstPad) pad = gst_element_get_static_pad (element, pad_name);
  GstQuery *query = gst_query_new_context (GST_CUDA_CONTEXT_TYPE);
  GstCudaContext *cuda = NULL;
  GstContext *context = NULL;
  if (gst_pad_query (pad, query))
    gst_query_parse_context (query, &context);
  if (context)
    gst_structure_get (gst_context_get_structure (context), GST_CUDA_CONTEXT_TYPE, GST_TYPE_CUDA_CONTEXT, &cuda, NULL);
  gst_query_unref (query);
  return cuda;
}

static gboolean emulated;

static void
push (GstHarness *h, GstBuffer *buffer)
{
  g_assert_cmpint (gst_harness_push (h, buffer), ==, GST_FLOW_OK);
}

/* The next frame says the same as that of @other. */
static void
expect_same (GstHarness *h, GstHarness *other)
{
  g_autoptr (GstBuffer) buffer = gst_harness_pull (h), want = gst_harness_pull (other);
  g_assert_cmpstr (test_state (buffer), ==, "fresh");
  g_assert_cmpstr (test_label (buffer), ==, test_label (want));
  if (test_confidence (buffer) != test_confidence (want))
    g_error ("expected the confidence %.9g, found %.9g", test_confidence (want), test_confidence (buffer));
}

/* ---- results ---- */

/* Every format, in memory whose rows are longer than pictures, in a stream that has not come so far yet. (Of odd widths
 * gstreamer-cuda itself leaves the last chroma samples behind.) */
static void
test_formats (gconstpointer order)
{
  static const char *const formats[] = { "NV12", "NV21", "I420", "YV12", "Y42B", "Y444", "YUY2", "UYVY", "P010_10LE", "I420_10LE",
    "RGB", "BGR", "RGBA", "BGRA", "ARGB", "ABGR", "RGBx", "BGRx" };
  emulated_machine ("");
  emulated_order (order);
  GstHarness *h = test_harness (NULL, "device", "cuda", NULL), *system = test_harness (NULL, "device", "cuda", NULL);
  GstCudaContext *context = ask_context (h->element, "sink");
  g_assert_nonnull (context);
  GstCudaStream *stream = gst_cuda_stream_new (context);
  for (guint f = 0; f < G_N_ELEMENTS (formats); f++) {
    g_autofree char *rest = g_strdup_printf ("format=%s,width=%d,height=%d,framerate=25/1", formats[f], 38 + 2 * f, 72 - 2 * f);
    g_autofree char *caps = g_strconcat ("video/x-raw,", rest, NULL);
    g_autofree char *cuda_caps = g_strconcat ("video/x-raw" FEATURE ",", rest, NULL);
    gst_harness_set_src_caps_str (system, caps);
    gst_harness_set_src_caps_str (h, cuda_caps);
    for (int i = 0; i < 3; i++) {
      const int class = (int) (f + 3 * i) % TINY_CLASSES;
      push (system, test_frame (caps, class, i));
      push (h, upload (test_frame (caps, class, i), caps, context, i == 2 ? NULL : stream));
      expect_same (h, system);
    }
  }
  g_assert_cmpuint (test_stat (h->element, "gpu-copies"), ==, 0);
  g_assert_cmpuint (test_stat (h->element, "classified"), ==, 3 * G_N_ELEMENTS (formats));
  test_harness_free (h);
  test_harness_free (system);
  gst_cuda_stream_unref (stream);
  gst_object_unref (context);
  g_assert_cmpint (emulated_live (), ==, 0);
  emulated_order ("forward");
}

/* Parts of a picture of many sizes, in batches, in device memory and in the system's: the same bits. */
static void
test_regions (void)
{
  emulated_machine ("");
  GstHarness *h = test_harness (CAPS, "device", "cuda", "regions", 2, "max-batch", 4, NULL);
  GstHarness *system = test_harness ("video/x-raw," REST, "device", "cuda", "regions", 2, "max-batch", 4, NULL);
  GstCudaContext *context = ask_context (h->element, "sink");
  GstCudaStream *stream = gst_cuda_stream_new (context);
  for (int i = 0; i < 3; i++) {
    GstBuffer *in[2] = { test_frame ("video/x-raw," REST, TINY_LEFT + i, i), NULL };
    in[1] = upload (test_frame ("video/x-raw," REST, TINY_LEFT + i, i), "video/x-raw," REST, context, stream);
    for (int k = 0; k < 2; k++)
      for (guint o = 0; o < 9; o++)
        gst_buffer_add_video_region_of_interest_meta (in[k], "thing", 3 * o, 2 * o, 7 + 5 * o, 50 - 5 * o);
    push (system, in[0]);
    push (h, in[1]);
    g_autoptr (GstBuffer) want = gst_harness_pull (system), found = gst_harness_pull (h);
    g_assert_cmpuint (test_n_results (want), ==, 10);
    g_assert_cmpuint (test_n_results (found), ==, 10);
    for (guint r = 0; r < 10; r++) {
      double confidence[2];
      gst_structure_get_double (test_result (want, r), "confidence", &confidence[0]);
      gst_structure_get_double (test_result (found, r), "confidence", &confidence[1]);
      g_assert_cmpfloat (confidence[0], ==, confidence[1]);
      g_assert_cmpstr (gst_structure_get_string (test_result (want, r), "label"), ==,
          gst_structure_get_string (test_result (found, r), "label"));
    }
  }
  g_assert_cmpuint (test_stat (h->element, "objects-classified"), ==, 27);
  g_assert_cmpuint (test_stat (h->element, "gpu-copies"), ==, 0);
  test_harness_free (h);
  test_harness_free (system);
  gst_cuda_stream_unref (stream);
  gst_object_unref (context);
  g_assert_cmpint (emulated_live (), ==, 0);
}

/* What leaves is what came: the same memory, still the GPU's, of which nothing has gone to the host. */
static void
test_untouched (void)
{
  emulated_machine ("");
  GstHarness *h = test_harness (CAPS, "device", "cuda", "max-in-flight", 4, NULL);
  GstCudaContext *context = ask_context (h->element, "src");
  GstCudaStream *stream = gst_cuda_stream_new (context);
  GstMemory *memory[4];
  for (int i = 0; i < 4; i++) {
    GstBuffer *buffer = upload (test_frame ("video/x-raw," REST, i, i), "video/x-raw," REST, context, stream);
    memory[i] = gst_buffer_peek_memory (buffer, 0);
    push (h, buffer);
  }
  for (int i = 0; i < 4; i++) {
    g_autoptr (GstBuffer) buffer = gst_harness_pull (h);
    g_assert_true (gst_buffer_peek_memory (buffer, 0) == memory[i]);
    g_assert_cmpuint (GST_BUFFER_PTS (buffer), ==, i * FRAME_TIME);
    g_assert_false (GST_MEMORY_FLAG_IS_SET (memory[i], GST_CUDA_MEMORY_TRANSFER_NEED_DOWNLOAD));
    g_assert_cmpstr (test_label (buffer), ==, tiny_labels[i]);
  }
  g_assert_cmpuint (test_stat (h->element, "copies"), ==, 0);
  test_harness_free (h);
  gst_cuda_stream_unref (stream);
  gst_object_unref (context);
  g_assert_cmpint (emulated_live (), ==, 0);
}

/* Frames of another context of the same GPU, and of another GPU: what nobody can read there would crash. */
static void
test_across (void)
{
  emulated_machine ("VIG_EMU_DEVICES=2");
  for (guint device = 0; device < (emulated ? 2 : 1); device++) {
    GstHarness *h = test_harness (CAPS, "device", "cuda", NULL), *system = test_harness ("video/x-raw," REST, "device", "cuda", NULL);
    GstCudaContext *context = ask_context (h->element, "sink"), *other = gst_cuda_context_new (device);
    GstCudaStream *stream = gst_cuda_stream_new (other);
    g_assert_true (gst_cuda_context_get_handle (context) != gst_cuda_context_get_handle (other));
    for (int i = 0; i < 4; i++) {
      GstBuffer *frame = test_frame ("video/x-raw," REST, i, i);
      push (system, gst_buffer_ref (frame));
      push (h, upload (frame, "video/x-raw," REST, i == 3 ? context : other, i % 2 ? NULL : stream));
      expect_same (h, system);
    }
    g_assert_cmpuint (test_stat (h->element, "gpu-copies"), ==, 3);
    test_harness_free (h);
    test_harness_free (system);
    gst_cuda_stream_unref (stream);
    gst_object_unref (context);
    gst_object_unref (other);
    g_assert_cmpint (emulated_live (), ==, 0);
  }
}

/* Not a test of time, but a look at it: what a large frame costs from system memory, and from CUDA memory. */
static void
test_rate (void)
{
  static const char *const features[] = { "", FEATURE };
  const char *const rest = "format=NV12,width=1280,height=720,framerate=25/1";
  g_autofree char *system_caps = g_strconcat ("video/x-raw,", rest, NULL);
  const int frames = emulated ? 3 : 500;
  emulated_machine ("");
  for (int cuda = 0; cuda < 2; cuda++) {
    g_autofree char *caps = g_strconcat ("video/x-raw", features[cuda], ",", rest, NULL);
    GstHarness *h = test_harness (caps, "device", "cuda", NULL);
    GstCudaContext *context = ask_context (h->element, "sink");
    GstBuffer *buffer = test_picture (system_caps, TINY_GREEN);
    if (cuda)
      buffer = upload (buffer, system_caps, context, NULL);
    gint64 begin = 0;
    for (int i = 0; i < frames + 1; i++) {
      push (h, gst_buffer_ref (buffer));
      g_autoptr (GstBuffer) done = gst_harness_pull (h);
      g_assert_cmpstr (test_label (done), ==, tiny_labels[TINY_GREEN]);
      if (i == 0) /* which makes what is made once */
        begin = g_get_monotonic_time ();
    }
    g_test_message ("rate from %s memory: %.0f us a frame of 1280x720", cuda ? "CUDA" : "system",
        (double) (g_get_monotonic_time () - begin) / frames);
    gst_buffer_unref (buffer);
    test_harness_free (h);
    gst_object_unref (context);
  }
  g_assert_cmpint (emulated_live (), ==, 0);
}

/* ---- contexts ---- */

static void
test_context (void)
{
  const char *const name = emulated ? "cuda:1" : "cuda";
  emulated_machine ("VIG_EMU_DEVICES=2");
  GstElement *element = gst_object_ref_sink (test_element ("device", name, NULL));
  g_autoptr (GstBus) bus = gst_bus_new ();
  gst_element_set_bus (element, bus);
  g_assert_null (ask_context (element, "sink"));
  gst_element_set_state (element, GST_STATE_READY);

  g_autoptr (GstMessage) message = gst_bus_pop_filtered (bus, GST_MESSAGE_HAVE_CONTEXT);
  g_assert_nonnull (message);
  g_autoptr (GstContext) context = NULL;
  GstCudaContext *offered = NULL, *sink, *src;
  guint device;
  gst_message_parse_have_context (message, &context);
  g_assert_cmpstr (gst_context_get_context_type (context), ==, GST_CUDA_CONTEXT_TYPE);
  g_assert_true (gst_structure_get (gst_context_get_structure (context), GST_CUDA_CONTEXT_TYPE, GST_TYPE_CUDA_CONTEXT, &offered,
          "cuda-device-id", G_TYPE_UINT, &device, NULL));
  g_assert_cmpuint (device, ==, emulated ? 1 : 0);
  sink = ask_context (element, "sink");
  src = ask_context (element, "src");
  g_assert_true (sink == offered && src == offered);

  /* the device's own context, not one more: another element has the same */
  GstElement *second = gst_object_ref_sink (test_element ("device", name, "share", FALSE, NULL));
  gst_element_set_state (second, GST_STATE_READY);
  GstCudaContext *other = ask_context (second, "sink");
  g_assert_true (gst_cuda_context_get_handle (other) == gst_cuda_context_get_handle (offered));
  gst_element_set_state (second, GST_STATE_NULL);
  gst_element_set_state (element, GST_STATE_NULL);
  g_assert_null (ask_context (element, "sink"));

  /* who has it goes on after we have gone */
  GstBuffer *buffer = upload (test_picture ("video/x-raw," REST, TINY_RED), "video/x-raw," REST, offered, NULL);
  GstMapInfo map;
  g_assert_true (gst_buffer_map (buffer, &map, GST_MAP_READ));
  gst_buffer_unmap (buffer, &map);
  gst_buffer_unref (buffer);

  gst_element_set_bus (element, NULL);
  for (GstElement *e = element; e; e = e == element ? second : NULL) {
    g_object_set (e, "device", "cpu", NULL);
    gst_element_set_state (e, GST_STATE_READY);
    g_assert_null (ask_context (e, "sink"));
    gst_element_set_state (e, GST_STATE_NULL);
  }
  gst_object_unref (element);
  gst_object_unref (second);
  gst_object_unref (offered);
  gst_object_unref (sink);
  gst_object_unref (src);
  gst_object_unref (other);
  gst_message_unref (g_steal_pointer (&message));
  gst_context_unref (g_steal_pointer (&context));
  g_assert_cmpint (emulated_live (), ==, 0);
}

/* An element that makes frames in CUDA memory, as far as it looks for a context. */
typedef struct {
  GstElement parent;
  GstCudaContext *context;
} Maker;
typedef GstElementClass MakerClass;
GType maker_get_type (void);
G_DEFINE_TYPE (Maker, maker, GST_TYPE_ELEMENT)

static void
maker_set_context (GstElement *element, GstContext *context)
{
  gst_cuda_handle_set_context (element, context, -1, &((Maker *) element)->context);
  GST_ELEMENT_CLASS (maker_parent_class)->set_context (element, context);
}

static void
maker_finalize (GObject *object)
{
  gst_clear_object (&((Maker *) object)->context);
  G_OBJECT_CLASS (maker_parent_class)->finalize (object);
}

static void
maker_class_init (MakerClass *class)
{
  class->set_context = maker_set_context;
  G_OBJECT_CLASS (class)->finalize = maker_finalize;
}

static void
maker_init (Maker *maker)
{
  gst_element_add_pad (GST_ELEMENT (maker), gst_pad_new ("src", GST_PAD_SRC));
}

/* Makers find the engine's context: one in front of the element, and one that is linked to nothing, by way of the bin. */
static void
test_makers (void)
{
  emulated_machine ("");
  GstElement *bin = gst_object_ref_sink (gst_pipeline_new (NULL)), *v = test_element ("device", "cuda", NULL);
  GstElement *queue = gst_element_factory_make ("queue", NULL);
  Maker *in_front = g_object_new (maker_get_type (), NULL), *apart = g_object_new (maker_get_type (), NULL);
  gst_bin_add_many (GST_BIN (bin), GST_ELEMENT (in_front), queue, v, GST_ELEMENT (apart), NULL);
  g_assert_true (gst_element_link_many (GST_ELEMENT (in_front), queue, v, NULL));
  gst_element_set_state (v, GST_STATE_READY);
  GstCudaContext *context = ask_context (v, "sink");
  for (Maker *maker = in_front; maker; maker = maker == in_front ? apart : NULL) {
    g_assert_true (gst_cuda_ensure_element_context (GST_ELEMENT (maker), -1, &maker->context));
    g_assert_true (maker->context == context);
  }
  gst_element_set_state (v, GST_STATE_NULL);
  gst_object_unref (bin);
  gst_object_unref (context);
  g_assert_cmpint (emulated_live (), ==, 0);
}

/* One behind the other, in a bin that has heard of the context, so that who needs one in it is given that. */
static void
test_series (void)
{
  emulated_machine ("");
  g_autofree char *description = g_strdup_printf ("vigclassify name=a model-file=%s device=cuda precision=fp32 overload=block ! "
      "vigclassify name=b model-file=%s device=cuda precision=fp32 share=false overload=block", test_model (), test_model ());
  GstHarness *h = gst_harness_new_parse (description);
  gst_harness_set_src_caps_str (h, CAPS);
  g_autoptr (GstContext) known = gst_element_get_context (h->element, GST_CUDA_CONTEXT_TYPE);
  GstCudaContext *context = NULL;
  g_assert_nonnull (known);
  g_assert_true (gst_cuda_handle_set_context (h->element, known, 0, &context));
  for (int i = 0; i < 5; i++) {
    push (h, upload (test_frame ("video/x-raw," REST, i, i), "video/x-raw," REST, context, NULL));
    g_autoptr (GstBuffer) buffer = gst_harness_pull (h);
    g_assert_cmpuint (test_n_results (buffer), ==, 2);
    for (guint r = 0; r < 2; r++)
      g_assert_cmpstr (gst_structure_get_string (test_result (buffer, r), "label"), ==, tiny_labels[i]);
  }
  for (const char *name = "a"; name; name = *name == 'a' ? "b" : NULL) {
    g_autoptr (GstElement) element = gst_bin_get_by_name (GST_BIN (h->element), name);
    g_assert_cmpuint (test_stat (element, "gpu-copies"), ==, 0);
    GstCudaContext *own = ask_context (element, "sink");
    g_assert_true (gst_cuda_context_get_handle (own) == gst_cuda_context_get_handle (context));
    gst_object_unref (own);
  }
  gst_harness_teardown (h);
  gst_context_unref (g_steal_pointer (&known));
  gst_object_unref (context);
  g_assert_cmpint (emulated_live (), ==, 0);
}

/* ---- caps ---- */

static gboolean
has_cuda (const GstCaps *caps, guint i)
{
  return gst_caps_features_contains (gst_caps_get_features (caps, i), "memory:CUDAMemory");
}

static guint
count_cuda (const GstCaps *caps)
{
  guint n = 0;
  for (guint i = 0; i < gst_caps_get_size (caps); i++)
    n += has_cuda (caps, i);
  return n;
}

static gboolean
accepts (GstElement *element, const char *pad_name, const char *caps_string)
{
  g_autoptr (GstPad) pad = gst_element_get_static_pad (element, pad_name);
  g_autoptr (GstCaps) caps = gst_caps_from_string (caps_string);
  return gst_pad_query_accept_caps (pad, caps);
}

/* What the pads say with each device, and before there is one. */
static void
test_caps (void)
{
  static const struct { const char *device, *settings; gboolean cuda; } cases[] = {
    { "cuda", "", TRUE }, { "auto", "", TRUE }, { "cpu", "", FALSE }, { "auto", "VIG_EMU_FAIL=cudaGetDeviceCount:1", FALSE },
    { "auto", "VIG_EMU_FAIL=launch:2", FALSE }, /* the CPU takes over while warming up */
  };
  static const char *const pads[] = { "sink", "src" };

  for (guint c = 0; c < G_N_ELEMENTS (cases); c++) {
    if (!emulated && *cases[c].settings)
      continue;
    GstElement *element = gst_object_ref_sink (test_element ("device", cases[c].device, NULL));
    emulated_machine (cases[c].settings);
    for (int loaded = 0; loaded < 2; loaded++) {
      if (loaded)
        g_assert_cmpint (gst_element_set_state (element, GST_STATE_PAUSED), ==, GST_STATE_CHANGE_SUCCESS);
      for (guint p = 0; p < 2; p++) {
        g_autoptr (GstPad) pad = gst_element_get_static_pad (element, pads[p]);
        g_autoptr (GstCaps) caps = gst_pad_query_caps (pad, NULL);
        g_assert_cmpuint (count_cuda (caps), ==, !loaded || cases[c].cuda ? 2 : 0);
        g_assert_cmpuint (gst_caps_get_size (caps) - count_cuda (caps), ==, 2);
        g_assert_true (has_cuda (caps, 0) == (loaded && cases[c].cuda)); /* preferred */
        if (loaded) {
          g_assert_true (accepts (element, pads[p], CAPS) == cases[c].cuda);
          g_assert_true (accepts (element, pads[p], "video/x-raw," REST));
          g_assert_false (accepts (element, pads[p], "video/x-raw" FEATURE ",format=GRAY8,width=48,height=48,framerate=25/1"));
        }
      }
    }
    gst_element_set_state (element, GST_STATE_NULL);
    gst_object_unref (element);
    g_assert_cmpint (emulated_live (), ==, 0);
  }
}

/* With the CPU, caps with CUDA memory are an error that says what to do. */
static void
test_caps_refused (void)
{
  emulated_machine ("");
  GstHarness *h = test_harness (NULL, "device", "cpu", NULL);
  gst_harness_push_event (h, gst_event_new_stream_start ("frames"));
  g_autoptr (GstCaps) caps = gst_caps_from_string (CAPS);
  gst_harness_push_event (h, gst_event_new_caps (caps));
  test_expect_error (test_bus (h), GST_STREAM_ERROR, GST_STREAM_ERROR_FORMAT,
      "The frames must be in system memory, but the caps say memory:CUDAMemory: put cudadownload in front of vigclassify.");
  test_harness_free (h);
}

/* Downstream decides, where it takes but one of them. */
static void
test_downstream (void)
{
  static const char *const sides[] = { "video/x-raw" FEATURE, "video/x-raw" };
  emulated_machine ("");
  for (guint i = 0; i < 2; i++) {
    GstHarness *h = test_harness (NULL, "device", "cuda", NULL);
    gst_harness_set_sink_caps_str (h, sides[i]);
    g_autoptr (GstPad) pad = gst_element_get_static_pad (h->element, "sink");
    g_autoptr (GstCaps) caps = gst_pad_query_caps (pad, NULL);
    g_assert_cmpuint (gst_caps_get_size (caps), ==, 1);
    g_assert_true (has_cuda (caps, 0) == (i == 0));
    test_harness_free (h);
  }
}

/* ---- failures ---- */

static void
test_failures (void)
{
  static const struct { const char *settings; GQuark (*domain) (void); int code; const char *part; } cases[] = {
    { "VIG_EMU_FAIL=run:1:cudaErrorECCUncorrectable", gst_resource_error_quark, GST_RESOURCE_ERROR_FAILED,
      "device cuda: the computation failed: cudaErrorECCUncorrectable (uncorrectable ECC error encountered) while " },
    { "VIG_EMU_FAIL=cudaStreamWaitEvent:1", gst_resource_error_quark, GST_RESOURCE_ERROR_FAILED,
      "device cuda: the computation failed: cudaErrorInvalidResourceHandle (invalid resource handle) while waiting for a picture" },
    { "VIG_EMU_FAIL=cudaEventRecord:1", gst_stream_error_quark, GST_STREAM_ERROR_FAILED,
      "The frame is in CUDA memory, but nobody can wait until it is complete: cudaErrorInvalidResourceHandle." },
  };
  for (guint i = 0; i < G_N_ELEMENTS (cases); i++) {
    emulated_machine ("");
    GstHarness *h = test_harness (CAPS, "device", "cuda", NULL);
    GstCudaContext *context = ask_context (h->element, "sink");
    GstCudaStream *stream = gst_cuda_stream_new (context);
    push (h, upload (test_frame ("video/x-raw," REST, 1, 0), "video/x-raw," REST, context, stream));
    gst_buffer_unref (gst_harness_pull (h));
    GstBuffer *next = upload (test_frame ("video/x-raw," REST, 2, 1), "video/x-raw," REST, context, stream);
    emulated_machine (cases[i].settings);
    push (h, next);
    test_expect_error (test_bus (h), cases[i].domain (), cases[i].code, cases[i].part);
    test_expect_no_error (test_bus (h));
    test_harness_free (h);
    emulated_machine ("");
    gst_cuda_stream_unref (stream);
    gst_object_unref (context);
    g_assert_cmpint (emulated_live (), ==, 0);
  }
}

int
main (int argc, char **argv)
{
  static const char *const orders[] = { "forward", "reverse", "shuffle:1" };
  emulated = emulated_try (); /* before gstreamer-cuda looks for the driver */
  test_init (&argc, &argv);
  for (guint i = 0; i < (emulated ? G_N_ELEMENTS (orders) : 1); i++) {
    g_autofree char *path = g_strconcat ("/cuda-frames/formats/", orders[i], NULL);
    g_test_add_data_func (path, orders[i], test_formats);
  }
  g_test_add_func ("/cuda-frames/regions", test_regions);
  g_test_add_func ("/cuda-frames/untouched", test_untouched);
  g_test_add_func ("/cuda-frames/across", test_across);
  g_test_add_func ("/cuda-frames/rate", test_rate);
  g_test_add_func ("/cuda-frames/context", test_context);
  g_test_add_func ("/cuda-frames/makers", test_makers);
  g_test_add_func ("/cuda-frames/series", test_series);
  g_test_add_func ("/cuda-frames/caps", test_caps);
  g_test_add_func ("/cuda-frames/caps-refused", test_caps_refused);
  g_test_add_func ("/cuda-frames/downstream", test_downstream);
  if (emulated)
    g_test_add_func ("/cuda-frames/failures", test_failures);
  return test_run ();
}
