/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "common.h"

#include <glib/gstdio.h>
#include <unistd.h>
#include <vig/shared.h>

static char *dir, *model;

/* The registry holds these and ours alone: scanning all that is installed takes long and says nothing about us. */
static const char *const plugins[] = { "coreelements", "videotestsrc", "videoconvertscale", "videofilter", "videorate",
  "app", "coretracers", "jpeg", "avi", "videocrop", "analyticsoverlay", NULL };

static void
private_registry (void)
{
  for (int i = 0; plugins[i]; i++) {
    g_autofree char *name = g_strdup_printf ("libgst%s.so", plugins[i]);
    g_autofree char *from = g_build_filename (GST_PLUGINS_DIR, name, NULL);
    g_autofree char *to = g_build_filename (dir, name, NULL);
    g_assert_cmpint (symlink (from, to), ==, 0);
  }
  g_autofree char *registry = g_build_filename (dir, "registry.bin", NULL);
  g_setenv ("GST_REGISTRY_1_0", registry, TRUE);
  g_setenv ("GST_REGISTRY_FORK", "no", TRUE);
  g_setenv ("GST_PLUGIN_SYSTEM_PATH_1_0", dir, TRUE);
  const char *packed = g_getenv ("VIG_PLUGIN_DIR"); /* tests/gpu/run's */
  g_setenv ("GST_PLUGIN_PATH_1_0", packed ? packed : VIG_PLUGIN_DIR, TRUE);
}

static void
check_plugin (void)
{
  g_autoptr (GstPlugin) plugin = gst_registry_find_plugin (gst_registry_get (), "vig");
  if (!plugin)
    g_error ("no plugin 'vig' in %s", VIG_PLUGIN_DIR);
  if (GST_OBJECT_FLAG_IS_SET (plugin, GST_PLUGIN_FLAG_BLACKLISTED))
    g_error ("the plugin 'vig' is blacklisted");
  g_autoptr (GstElementFactory) factory = gst_element_factory_find ("vigclassify");
  if (!factory)
    g_error ("the plugin 'vig' has no element vigclassify");
}

void
test_init (int *argc, char ***argv)
{
  g_autoptr (GError) error = NULL;
  dir = g_dir_make_tmp ("vig-elements-XXXXXX", &error);
  g_assert_no_error (error);
  private_registry ();
  gst_init (argc, argv);
  g_test_init (argc, argv, NULL);
  check_plugin ();
  model = g_build_filename (dir, "tiny.safetensors", NULL);
  tiny_model_write (model);
}

int
test_run (void)
{
  int status = g_test_run ();
  g_autoptr (GDir) d = g_dir_open (dir, 0, NULL);
  const char *name;
  while ((name = g_dir_read_name (d))) {
    g_autofree char *path = g_build_filename (dir, name, NULL);
    g_unlink (path);
  }
  g_rmdir (dir);
  g_free (dir);
  g_free (model);
  return status;
}

const char *
test_dir (void)
{
  return dir;
}

const char *
test_model (void)
{
  return model;
}

char *
test_model_over_time (TinyKind kind)
{
  char *path = g_build_filename (dir, kind == TINY_JOINT ? "joint.safetensors" : "stream.safetensors", NULL);
  if (!g_file_test (path, G_FILE_TEST_EXISTS))
    tiny_model_write_over_time (path, kind);
  return path;
}

static GstElement *
element_valist (const char *first_property, va_list args)
{
  GstElement *element = gst_element_factory_make ("vigclassify", NULL);
  g_assert_nonnull (element);
  /* the tests run beside each other: one thread each is faster than all on all cores */
  /* and a harness says that it is live, but most tests are about results */
  g_object_set (element, "model-file", model, "threads", 1, "precision", 1 /* fp32 */, "overload", 1 /* block */, NULL);
  if (first_property)
    g_object_set_valist (G_OBJECT (element), first_property, args);
  return element;
}

GstElement *
test_element (const char *first_property, ...)
{
  va_list args;
  va_start (args, first_property);
  GstElement *element = element_valist (first_property, args);
  va_end (args);
  return element;
}

GstHarness *
test_harness (const char *caps, const char *first_property, ...)
{
  va_list args;
  va_start (args, first_property);
  GstElement *element = element_valist (first_property, args);
  va_end (args);
  g_autoptr (GstBus) bus = gst_bus_new ();
  gst_element_set_bus (element, bus);
  GstHarness *h = gst_harness_new_with_element (element, "sink", "src");
  gst_object_unref (element);
  if (caps)
    gst_harness_set_src_caps_str (h, caps);
  return h;
}

GstBus *
test_bus (GstHarness *h)
{
  return GST_ELEMENT_BUS (h->element);
}

void
test_harness_free (GstHarness *h)
{
  gst_element_set_bus (h->element, NULL);
  gst_harness_teardown (h);
}

/* RGB (a class's, or of one colour 0xrrggbb where @class is -1) of a picture at x, y of a w times h picture; 0…255 */
static void
colour_at (int class, guint32 colour, int x, int y, int w, int h, guint8 *rgb)
{
  for (int c = 0; c < 3; c++) {
    switch (class) {
      case -1:
        rgb[c] = colour >> 8 * (2 - c) & 255;
        break;
      case TINY_LEFT:
        rgb[c] = 255 * (w - 1 - x) / MAX (w - 1, 1);
        break;
      case TINY_RIGHT:
        rgb[c] = 255 * x / MAX (w - 1, 1);
        break;
      case TINY_TOP:
        rgb[c] = 255 * (h - 1 - y) / MAX (h - 1, 1);
        break;
      case TINY_BOTTOM:
        rgb[c] = 255 * y / MAX (h - 1, 1);
        break;
      default:
        rgb[c] = class >> (2 - c) & 1 ? 255 : 0;
    }
  }
}

static GstBuffer *
rgb_picture (int class, guint32 colour, const GstVideoInfo *info)
{
  GstBuffer *buffer = gst_buffer_new_allocate (NULL, info->size, NULL);
  GstVideoFrame frame;
  g_assert_true (gst_video_frame_map (&frame, info, buffer, GST_MAP_WRITE));
  for (int y = 0; y < info->height; y++) {
    guint8 *row = (guint8 *) GST_VIDEO_FRAME_PLANE_DATA (&frame, 0) + y * GST_VIDEO_FRAME_PLANE_STRIDE (&frame, 0);
    for (int x = 0; x < info->width; x++)
      colour_at (class, colour, x, y, info->width, info->height, row + 3 * x);
  }
  gst_video_frame_unmap (&frame);
  return buffer;
}

static GstBuffer *
picture (const char *caps_string, int class, guint32 colour)
{
  g_autoptr (GstCaps) caps = gst_caps_from_string (caps_string);
  GstVideoInfo to, from;
  g_assert_true (gst_video_info_from_caps (&to, caps));
  gst_video_info_set_format (&from, GST_VIDEO_FORMAT_RGB, to.width, to.height);
  from.fps_n = to.fps_n;
  from.fps_d = to.fps_d;
  from.interlace_mode = to.interlace_mode;
  GstBuffer *rgb = rgb_picture (class, colour, &from);
  GstBuffer *buffer = gst_buffer_new_allocate (NULL, to.size, NULL);
  gst_buffer_memset (buffer, 0, 0, to.size);
  GstVideoFrame in, out;
  g_assert_true (gst_video_frame_map (&in, &from, rgb, GST_MAP_READ));
  g_assert_true (gst_video_frame_map (&out, &to, buffer, GST_MAP_WRITE));
  GstVideoConverter *converter = gst_video_converter_new (&from, &to, NULL);
  g_assert_nonnull (converter);
  gst_video_converter_frame (converter, &in, &out);
  gst_video_converter_free (converter);
  gst_video_frame_unmap (&in);
  gst_video_frame_unmap (&out);
  gst_buffer_unref (rgb);
  return buffer;
}

GstBuffer *
test_picture (const char *caps, int class)
{
  return picture (caps, class, 0);
}

GstBuffer *
test_colour (const char *caps, guint32 colour)
{
  return picture (caps, -1, colour);
}

GstBuffer *
test_frame (const char *caps, int class, int i)
{
  GstBuffer *buffer = test_picture (caps, class);
  GST_BUFFER_PTS (buffer) = i * FRAME_TIME;
  GST_BUFFER_DURATION (buffer) = FRAME_TIME;
  return buffer;
}

GstBuffer *
test_send (GstHarness *h, GstBuffer *buffer)
{
  g_assert_cmpint (gst_harness_push (h, buffer), ==, GST_FLOW_OK);
  GstBuffer *out = gst_harness_pull (h);
  g_assert_nonnull (out);
  return out;
}

void
test_start_segment (GstHarness *h, double rate)
{
  GstSegment segment;
  gst_segment_init (&segment, GST_FORMAT_TIME);
  segment.rate = rate;
  if (rate < 0)
    segment.stop = 1000 * GST_SECOND;
  gst_harness_push_event (h, gst_event_new_segment (&segment));
}

void
test_happen (GstHarness *h, const char *caps, const char *what)
{
  if (g_str_equal (what, "flush")) {
    gst_harness_push_event (h, gst_event_new_flush_start ());
    gst_harness_push_event (h, gst_event_new_flush_stop (TRUE));
    test_start_segment (h, 1);
  } else if (g_str_equal (what, "caps")) {
    gst_harness_set_src_caps_str (h, "video/x-raw,format=GRAY8,width=16,height=16,framerate=25/1");
    gst_harness_set_src_caps_str (h, caps);
  } else if (g_str_equal (what, "stream-start")) {
    gst_harness_push_event (h, gst_event_new_stream_start ("next"));
    gst_harness_set_src_caps_str (h, caps);
    test_start_segment (h, 1);
  }
}

void
test_expect_error (GstBus *bus, GQuark domain, int code, const char *part)
{
  g_autoptr (GstMessage) message = gst_bus_timed_pop_filtered (bus, 10 * GST_SECOND, GST_MESSAGE_ERROR);
  g_assert_nonnull (message);
  g_autoptr (GError) error = NULL;
  gst_message_parse_error (message, &error, NULL);
  g_assert_error (error, domain, code);
  if (!strstr (error->message, part))
    g_error ("the error must say \"%s\", found \"%s\"", part, error->message);
}

void
test_expect_no_error (GstBus *bus)
{
  g_autoptr (GstMessage) message = gst_bus_pop_filtered (bus, GST_MESSAGE_ERROR);
  if (message) {
    g_autoptr (GError) error = NULL;
    gst_message_parse_error (message, &error, NULL);
    g_error ("unexpected error: %s", error->message);
  }
}

static const GValue *
results (GstBuffer *buffer)
{
  GstCustomMeta *meta = gst_buffer_get_custom_meta (buffer, "VigResults");
  return meta ? gst_structure_get_value (gst_custom_meta_get_structure (meta), "results") : NULL;
}

guint
test_n_results (GstBuffer *buffer)
{
  const GValue *array = results (buffer);
  return array ? gst_value_array_get_size (array) : 0;
}

const GstStructure *
test_result (GstBuffer *buffer, guint i)
{
  return i < test_n_results (buffer) ? gst_value_get_structure (gst_value_array_get_value (results (buffer), i)) : NULL;
}

const char *
test_state (GstBuffer *buffer)
{
  const GstStructure *result = test_result (buffer, 0);
  return result ? gst_structure_get_string (result, "state") : NULL;
}

const char *
test_label (GstBuffer *buffer)
{
  const GstStructure *result = test_result (buffer, 0);
  return result ? gst_structure_get_string (result, "label") : NULL;
}

double
test_confidence (GstBuffer *buffer)
{
  double confidence;
  g_assert_true (gst_structure_get_double (test_result (buffer, 0), "confidence", &confidence));
  return confidence;
}

guint64
test_age (GstBuffer *buffer)
{
  guint64 age;
  g_assert_true (gst_structure_get_uint64 (test_result (buffer, 0), "age", &age));
  return age;
}

void
test_expect_class (GstHarness *h, const char *caps, int class, double confidence)
{
  g_assert_cmpint (gst_harness_push (h, test_picture (caps, class)), ==, GST_FLOW_OK);
  g_autoptr (GstBuffer) buffer = gst_harness_pull (h);
  g_assert_nonnull (buffer);
  g_assert_cmpstr (test_label (buffer), ==, tiny_labels[class]);
  g_assert_cmpfloat (test_confidence (buffer), >=, confidence);
}

GstFlowReturn
test_push_until_refused (GstHarness *h, const char *caps)
{
  GstFlowReturn flow = GST_FLOW_OK;
  for (int i = 0; flow == GST_FLOW_OK && i < 1000; i++) {
    flow = gst_harness_push (h, test_picture (caps, TINY_RED));
    g_usleep (1000);
  }
  return flow;
}

guint64
test_stat (GstElement *element, const char *name)
{
  g_autoptr (GstStructure) stats = NULL;
  guint64 value;
  g_object_get (element, "stats", &stats, NULL);
  g_assert_true (gst_structure_get_uint64 (stats, name, &value));
  return value;
}

/* ---- an engine that stands still ---- */

struct TestIce {
  GMutex lock;
  GCond changed;
  gboolean still, thawed;
  VigShared *shared;
  VigStream *stream;
  VigRequest request;
  guint8 picture[48 * 48];
};

static void
stand_still (VigRequest *request, gpointer data)
{
  TestIce *ice = data;
  g_mutex_lock (&ice->lock);
  ice->still = TRUE;
  g_cond_broadcast (&ice->changed);
  while (!ice->thawed)
    g_cond_wait (&ice->changed, &ice->lock);
  g_mutex_unlock (&ice->lock);
}

TestIce *
test_freeze (const char *path)
{
  const VigSharedOptions options = { .engine = { .precision = VIG_PRECISION_FP32, .n_threads = 1 } };
  g_autoptr (GError) error = NULL;
  TestIce *ice = g_new0 (TestIce, 1);
  ice->shared = vig_shared_acquire (path, &options, &error);
  g_assert_no_error (error);
  g_assert_cmpuint (vig_shared_get_n_users (ice->shared), ==, 2);
  ice->stream = vig_stream_new (ice->shared);
  ice->request = (VigRequest) { .frame = { .format = VIG_FORMAT_GRAY8, .width = 48, .height = 48, .data = { ice->picture },
    .stride = { 48 } }, .last = TRUE, .done = stand_still, .user_data = ice };
  g_assert_true (vig_stream_submit (ice->stream, &ice->request, &error));
  return ice;
}

guint
test_wait_until_still (TestIce *ice)
{
  g_mutex_lock (&ice->lock);
  while (!ice->still)
    g_cond_wait (&ice->changed, &ice->lock);
  g_mutex_unlock (&ice->lock);
  return ice->request.batch;
}

void
test_thaw (TestIce *ice)
{
  g_mutex_lock (&ice->lock);
  ice->thawed = TRUE;
  g_cond_broadcast (&ice->changed);
  g_mutex_unlock (&ice->lock);
  vig_stream_free (ice->stream);
  vig_shared_release (ice->shared);
  g_mutex_clear (&ice->lock);
  g_cond_clear (&ice->changed);
  g_free (ice);
}
