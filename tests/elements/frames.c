/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* From a buffer to a picture: formats, layout, the part that counts, which way is up; and that the buffer stays as it
 * was. */
#include <gst/analytics/analytics.h>

#include "common.h"

#define CAPS "video/x-raw,format=RGB,width=48,height=48,framerate=25/1"

static const char *const formats[] = { "NV12", "I420", "YV12", "NV21", "Y42B", "Y444", "YUY2", "UYVY", "P010_10LE",
  "I420_10LE", "RGB", "BGR", "RGBA", "BGRA", "ARGB", "ABGR", "RGBx", "BGRx", "xRGB", "xBGR", "GRAY8" };

static char *
caps_of (const char *format, int width, int height, const char *more)
{
  return g_strdup_printf ("video/x-raw,format=%s,width=%d,height=%d,framerate=25/1%s", format, width, height, more);
}

/* Every format gives the label of the picture, with about the confidence that RGB gives. */
static void
test_formats (gconstpointer data)
{
  const char *format = data;
  gboolean grey = g_str_equal (format, "GRAY8");
  for (int class = 0; class < TINY_CLASSES; class++) {
    if (grey && class != TINY_BLACK && class != TINY_WHITE && class < TINY_LEFT)
      continue;
    g_autofree char *caps = caps_of (format, 64, 48, "");
    g_autofree char *rgb_caps = caps_of ("RGB", 64, 48, "");
    GstHarness *h = test_harness (rgb_caps, NULL);
    gst_harness_push (h, test_picture (rgb_caps, class));
    g_autoptr (GstBuffer) expected = gst_harness_pull (h);
    g_assert_cmpstr (test_label (expected), ==, tiny_labels[class]);
    gst_harness_set_src_caps_str (h, caps);
    gst_harness_push (h, test_picture (caps, class));
    g_autoptr (GstBuffer) buffer = gst_harness_pull (h);
    g_assert_cmpstr (test_label (buffer), ==, tiny_labels[class]);
    g_assert_cmpfloat_with_epsilon (test_confidence (buffer), test_confidence (expected), 0.02);
    test_harness_free (h);
  }
}

/* The caps say which matrix and range. An orange halfway between red and yellow shows whether they are obeyed: a green
 * that is off by a few steps moves its confidence. */
static void
test_colorimetry (void)
{
  const char *more[] = { "", ",colorimetry=bt601", ",colorimetry=bt709", ",colorimetry=bt2020", ",colorimetry=1:4:0:0",
    ",colorimetry=1:3:5:1", ",chroma-site=jpeg", ",chroma-site=cosited" };
  const guint32 orange = 0xe67614;
  g_autofree char *rgb_caps = caps_of ("RGB", 64, 48, "");
  GstHarness *h = test_harness (rgb_caps, NULL);
  gst_harness_push (h, test_colour (rgb_caps, orange));
  g_autoptr (GstBuffer) expected = gst_harness_pull (h);
  g_assert_cmpfloat (test_confidence (expected), <, 0.7);
  for (guint i = 0; i < G_N_ELEMENTS (more); i++) {
    g_autofree char *caps = caps_of ("I420", 64, 48, more[i]);
    gst_harness_set_src_caps_str (h, caps);
    gst_harness_push (h, test_colour (caps, orange));
    g_autoptr (GstBuffer) buffer = gst_harness_pull (h);
    g_assert_cmpstr (test_label (buffer), ==, test_label (expected));
    g_assert_cmpfloat_with_epsilon (test_confidence (buffer), test_confidence (expected), 0.03);
  }
  test_harness_free (h);
}

/* A copy of @picture with its planes in reverse order, apart from each other, in rows of odd strides, at an offset into
 * the memory; what is not picture is noise. */
static GstBuffer *
spread_out (const char *caps_string, GstBuffer *picture)
{
  g_autoptr (GstCaps) caps = gst_caps_from_string (caps_string);
  GstVideoInfo info;
  g_assert_true (gst_video_info_from_caps (&info, caps));
  gsize offset[GST_VIDEO_MAX_PLANES] = { 0 }, end = 13;
  gint stride[GST_VIDEO_MAX_PLANES] = { 0 };
  guint n = GST_VIDEO_INFO_N_PLANES (&info);
  for (guint p = n; p-- > 0;) {
    gint comp[GST_VIDEO_MAX_COMPONENTS];
    gst_video_format_info_component (info.finfo, p, comp);
    stride[p] = GST_VIDEO_INFO_PLANE_STRIDE (&info, p) + 8 * (gint) p + 22;
    offset[p] = end;
    end += (gsize) stride[p] * GST_VIDEO_INFO_COMP_HEIGHT (&info, comp[0]) + 31;
  }
  GstBuffer *buffer = gst_buffer_new_allocate (NULL, end, NULL);
  GstMapInfo map;
  gst_buffer_map (buffer, &map, GST_MAP_WRITE);
  for (gsize i = 0; i < map.size; i++)
    map.data[i] = (guint8) g_test_rand_int ();
  gst_buffer_unmap (buffer, &map);
  gst_buffer_add_video_meta_full (buffer, 0, GST_VIDEO_INFO_FORMAT (&info), info.width, info.height, n, offset, stride);
  GstVideoFrame in, out;
  g_assert_true (gst_video_frame_map (&in, &info, picture, GST_MAP_READ));
  g_assert_true (gst_video_frame_map (&out, &info, buffer, GST_MAP_WRITE));
  g_assert_true (gst_video_frame_copy (&out, &in));
  gst_video_frame_unmap (&in);
  gst_video_frame_unmap (&out);
  return buffer;
}

static void
test_strides (gconstpointer data)
{
  g_autofree char *caps = caps_of (data, 38, 26, "");
  GstHarness *h = test_harness (caps, NULL);
  GstBuffer *picture = test_picture (caps, TINY_TOP);
  GstBuffer *spread = spread_out (caps, picture);
  gst_harness_push (h, picture);
  gst_harness_push (h, spread);
  g_autoptr (GstBuffer) tight = gst_harness_pull (h);
  g_autoptr (GstBuffer) wide = gst_harness_pull (h);
  g_assert_cmpstr (test_label (tight), ==, tiny_labels[TINY_TOP]);
  g_assert_cmpstr (test_label (wide), ==, tiny_labels[TINY_TOP]);
  g_assert_cmpfloat (test_confidence (tight), ==, test_confidence (wide));
  test_harness_free (h);
}

/* Pictures stored bottom row first have a negative stride. */
static void
test_negative_stride (void)
{
  GstHarness *h = test_harness (CAPS, NULL);
  GstBuffer *buffer = test_picture (CAPS, TINY_TOP);
  gsize offset[GST_VIDEO_MAX_PLANES] = { 47 * 144 };
  gint stride[GST_VIDEO_MAX_PLANES] = { -144 };
  gst_buffer_add_video_meta_full (buffer, 0, GST_VIDEO_FORMAT_RGB, 48, 48, 1, offset, stride);
  gst_harness_push (h, buffer);
  g_autoptr (GstBuffer) out = gst_harness_pull (h);
  g_assert_cmpstr (test_label (out), ==, tiny_labels[TINY_BOTTOM]);
  test_harness_free (h);
}

/* One memory a plane, as decoders make them. */
static void
test_memory_per_plane (void)
{
  g_autofree char *caps_string = caps_of ("I420", 64, 48, "");
  g_autoptr (GstCaps) caps = gst_caps_from_string (caps_string);
  GstVideoInfo info;
  g_assert_true (gst_video_info_from_caps (&info, caps));
  g_autoptr (GstBuffer) whole = test_picture (caps_string, TINY_CYAN);
  GstBuffer *buffer = gst_buffer_new ();
  for (guint p = 0; p < 3; p++) {
    gsize size = (p < 2 ? GST_VIDEO_INFO_PLANE_OFFSET (&info, p + 1) : info.size) - GST_VIDEO_INFO_PLANE_OFFSET (&info, p);
    GstBuffer *part = gst_buffer_copy_region (whole, GST_BUFFER_COPY_MEMORY | GST_BUFFER_COPY_DEEP,
        GST_VIDEO_INFO_PLANE_OFFSET (&info, p), size);
    buffer = gst_buffer_append (buffer, part);
  }
  gst_buffer_add_video_meta_full (buffer, 0, GST_VIDEO_FORMAT_I420, 64, 48, 3, info.offset, info.stride);
  GstHarness *h = test_harness (caps_string, NULL);
  gst_harness_push (h, buffer);
  g_autoptr (GstBuffer) out = gst_harness_pull (h);
  g_assert_cmpuint (gst_buffer_n_memory (out), ==, 3);
  g_assert_cmpstr (test_label (out), ==, tiny_labels[TINY_CYAN]);
  test_harness_free (h);
}

static void
paint (GstBuffer *buffer, int width, int x, int y, int w, int h, const guint8 rgb[3])
{
  GstMapInfo map;
  gst_buffer_map (buffer, &map, GST_MAP_WRITE);
  for (int j = y; j < y + h; j++)
    for (int i = x; i < x + w; i++)
      memcpy (map.data + j * GST_ROUND_UP_4 (width * 3) + i * 3, rgb, 3);
  gst_buffer_unmap (buffer, &map);
}

/* A blue picture with a red part: what counts is what the crop meta says, or what the caps say of a larger picture. */
static void
test_crop (void)
{
  const guint8 red[3] = { 255, 0, 0 };
  g_autofree char *large = caps_of ("RGB", 160, 120, "");
  GstHarness *h = test_harness (large, NULL);
  GstBuffer *buffer = test_picture (large, TINY_BLUE);
  paint (buffer, 160, 96, 70, 40, 40, red);
  GstBuffer *cropped = gst_buffer_copy (buffer);
  gst_harness_push (h, buffer);
  g_autoptr (GstBuffer) whole = gst_harness_pull (h);
  g_assert_cmpstr (test_label (whole), ==, tiny_labels[TINY_BLUE]);

  GstVideoCropMeta *crop = gst_buffer_add_video_crop_meta (cropped);
  crop->x = 96;
  crop->y = 70;
  crop->width = crop->height = 40;
  gst_harness_push (h, cropped);
  g_autoptr (GstBuffer) part = gst_harness_pull (h);
  g_assert_cmpstr (test_label (part), ==, tiny_labels[TINY_RED]);
  g_assert_cmpfloat (test_confidence (part), >, 0.97);
  test_harness_free (h);

  /* the same bytes, under caps of the top left 40x40 only, of which the meta knows the layout */
  g_autofree char *small = caps_of ("RGB", 40, 40, "");
  buffer = test_picture (large, TINY_BLUE);
  paint (buffer, 160, 0, 0, 40, 40, red);
  gst_buffer_add_video_meta (buffer, 0, GST_VIDEO_FORMAT_RGB, 160, 120);
  h = test_harness (small, NULL);
  gst_harness_push (h, buffer);
  g_autoptr (GstBuffer) top_left = gst_harness_pull (h);
  g_assert_cmpstr (test_label (top_left), ==, tiny_labels[TINY_RED]);
  g_assert_cmpfloat (test_confidence (top_left), >, 0.97);
  test_harness_free (h);
}

/* 64x64 samples, red with blue margins left and right. In square pixels the margins are seen; in pixels twice as wide the
 * picture is 128x64 and the centre crop sees the middle 32 columns only. */
static void
test_pixel_aspect_ratio (void)
{
  const guint8 blue[3] = { 0, 0, 255 };
  const char *more[] = { ",pixel-aspect-ratio=1/1", ",pixel-aspect-ratio=2/1" };
  double confidence[2];
  for (int i = 0; i < 2; i++) {
    g_autofree char *caps = caps_of ("RGB", 64, 64, more[i]);
    GstHarness *h = test_harness (caps, NULL);
    GstBuffer *buffer = test_picture (caps, TINY_RED);
    paint (buffer, 64, 0, 0, 15, 64, blue);
    paint (buffer, 64, 49, 0, 15, 64, blue);
    gst_harness_push (h, buffer);
    g_autoptr (GstBuffer) out = gst_harness_pull (h);
    if (i == 1)
      g_assert_cmpstr (test_label (out), ==, tiny_labels[TINY_RED]);
    confidence[i] = g_str_equal (test_label (out), tiny_labels[TINY_RED]) ? test_confidence (out) : 0;
    test_harness_free (h);
  }
  g_assert_cmpfloat (confidence[1], >, 0.97);
  g_assert_cmpfloat (confidence[0], <, confidence[1] - 0.05);
}

/* method: what turns the picture upright; seen: what "bright left" then is. */
static const struct { const char *method, *tag; int seen_left, seen_top; } turns[] = {
  { "identity", "rotate-0", TINY_LEFT, TINY_TOP },
  { "90r", "rotate-90", TINY_TOP, TINY_RIGHT },
  { "180", "rotate-180", TINY_RIGHT, TINY_BOTTOM },
  { "90l", "rotate-270", TINY_BOTTOM, TINY_LEFT },
  { "horiz", "flip-rotate-0", TINY_RIGHT, TINY_TOP },
  { "vert", "flip-rotate-180", TINY_LEFT, TINY_BOTTOM },
  { "ul-lr", "flip-rotate-270", TINY_TOP, TINY_LEFT },
  { "ur-ll", "flip-rotate-90", TINY_BOTTOM, TINY_RIGHT },
};

static void
expect_seen (GstHarness *h, int class, int seen)
{
  gst_harness_push (h, test_picture (CAPS, class));
  g_autoptr (GstBuffer) buffer = gst_harness_pull (h);
  g_assert_cmpstr (test_label (buffer), ==, tiny_labels[seen]);
}

static void
test_orientation (void)
{
  GstHarness *h = test_harness (CAPS, NULL);
  for (guint i = 0; i < G_N_ELEMENTS (turns); i++) {
    gst_util_set_object_arg (G_OBJECT (h->element), "orientation", turns[i].method);
    expect_seen (h, TINY_LEFT, turns[i].seen_left);
    expect_seen (h, TINY_TOP, turns[i].seen_top);
  }
  test_harness_free (h);
}

static void
push_orientation (GstHarness *h, GstTagScope scope, const char *value)
{
  GstTagList *tags = gst_tag_list_new (GST_TAG_IMAGE_ORIENTATION, value, NULL);
  gst_tag_list_set_scope (tags, scope);
  gst_harness_push_event (h, gst_event_new_tag (tags));
}

static void
test_orientation_tag (void)
{
  GstHarness *h = test_harness (CAPS, NULL);
  for (guint i = 0; i < G_N_ELEMENTS (turns); i++) {
    push_orientation (h, GST_TAG_SCOPE_STREAM, turns[i].tag);
    expect_seen (h, TINY_LEFT, turns[i].seen_left);
    expect_seen (h, TINY_TOP, turns[i].seen_top);
  }
  /* the stream's comes before the file's, and a property before both */
  push_orientation (h, GST_TAG_SCOPE_STREAM, "rotate-0");
  push_orientation (h, GST_TAG_SCOPE_GLOBAL, "rotate-180");
  expect_seen (h, TINY_LEFT, TINY_LEFT);
  gst_harness_push_event (h, gst_event_new_stream_start ("next"));
  gst_harness_set_src_caps_str (h, CAPS);
  expect_seen (h, TINY_LEFT, TINY_RIGHT);
  gst_util_set_object_arg (G_OBJECT (h->element), "orientation", "identity");
  expect_seen (h, TINY_LEFT, TINY_LEFT);
  test_harness_free (h);
}

static void
test_odd_sizes (void)
{
  const struct { int width, height; } sizes[] = { { 1, 1 }, { 1, 7 }, { 3, 1 }, { 8192, 64 }, { 64, 8192 }, { 33, 31 } };
  const char *some[] = { "RGB", "I420", "NV12", "YUY2", "P010_10LE", "GRAY8" };
  for (guint s = 0; s < G_N_ELEMENTS (sizes); s++)
    for (guint f = 0; f < G_N_ELEMENTS (some); f++) {
      g_autofree char *caps = caps_of (some[f], sizes[s].width, sizes[s].height, "");
      GstHarness *h = test_harness (caps, NULL);
      test_expect_class (h, caps, TINY_WHITE, 0.97);
      test_expect_no_error (test_bus (h));
      test_harness_free (h);
    }
}

/* What lies outside the memory is never read: the sanitizers watch. */
static void
test_too_small (void)
{
  GstHarness *h = test_harness (CAPS, NULL);
  gst_harness_push (h, gst_buffer_new_allocate (NULL, 100, NULL));
  test_expect_error (test_bus (h), GST_STREAM_ERROR, GST_STREAM_ERROR_FORMAT, "6912");
  g_assert_cmpint (test_push_until_refused (h, CAPS), ==, GST_FLOW_ERROR);
  test_expect_no_error (test_bus (h));
  test_harness_free (h);
}

static void
test_lying_meta (void)
{
  const struct { gint stride; gsize offset; guint width, height; const char *says; } lies[] = {
    { 144, 200, 48, 48, "only" }, { 10000, 0, 48, 48, "only" }, { 140, 0, 48, 48, "stride" },
    { 144, 0, 47, 48, "47" }, { 144, 0, 48, 49, "only" },
  };
  for (guint i = 0; i < G_N_ELEMENTS (lies); i++) {
    GstHarness *h = test_harness (CAPS, NULL);
    GstBuffer *buffer = test_picture (CAPS, TINY_RED);
    gsize offset[GST_VIDEO_MAX_PLANES] = { 0 };
    gint stride[GST_VIDEO_MAX_PLANES] = { 144 };
    GstVideoMeta *meta = gst_buffer_add_video_meta_full (buffer, 0, GST_VIDEO_FORMAT_RGB, 48, 48, 1, offset, stride);
    meta->offset[0] = lies[i].offset;
    meta->stride[0] = lies[i].stride;
    meta->width = lies[i].width;
    meta->height = lies[i].height;
    gst_harness_push (h, buffer);
    test_expect_error (test_bus (h), GST_STREAM_ERROR, GST_STREAM_ERROR_FORMAT, lies[i].says);
    test_harness_free (h);
  }
  GstHarness *h = test_harness (CAPS, NULL);
  GstBuffer *buffer = test_picture (CAPS, TINY_RED);
  GstVideoCropMeta *crop = gst_buffer_add_video_crop_meta (buffer);
  crop->x = 40;
  crop->width = crop->height = 9;
  gst_harness_push (h, buffer);
  test_expect_error (test_bus (h), GST_STREAM_ERROR, GST_STREAM_ERROR_FORMAT, "GstVideoCropMeta");
  test_harness_free (h);
}

static void
test_no_caps (void)
{
  GstHarness *h = test_harness (NULL, NULL);
  gst_harness_push_event (h, gst_event_new_stream_start ("no caps"));
  GstSegment segment;
  gst_segment_init (&segment, GST_FORMAT_TIME);
  gst_harness_push_event (h, gst_event_new_segment (&segment));
  gst_pad_push (h->srcpad, gst_buffer_new_allocate (NULL, 100, NULL));
  test_expect_error (test_bus (h), GST_STREAM_ERROR, GST_STREAM_ERROR_FORMAT, "caps");
  test_harness_free (h);
}

/* One field a buffer is refused with a sentence that says what to do. */
static void
test_alternate (void)
{
  const char *caps[] = {
    "video/x-raw(format:Interlaced),format=I420,width=64,height=64,framerate=25/1,interlace-mode=alternate",
    "video/x-raw,format=I420,width=64,height=64,framerate=25/1,interlace-mode=fields" };
  for (guint i = 0; i < G_N_ELEMENTS (caps); i++) {
    GstHarness *h = test_harness (NULL, NULL);
    g_autoptr (GstCaps) c = gst_caps_from_string (caps[i]);
    gst_harness_push_event (h, gst_event_new_stream_start ("interlaced"));
    gst_harness_push_event (h, gst_event_new_caps (c));
    test_expect_error (test_bus (h), GST_STREAM_ERROR, GST_STREAM_ERROR_FORMAT, "deinterlace");
    GstSegment segment;
    gst_segment_init (&segment, GST_FORMAT_TIME);
    gst_harness_push_event (h, gst_event_new_segment (&segment));
    g_assert_cmpint (gst_harness_push (h, gst_buffer_new_allocate (NULL, 6144, NULL)), ==, GST_FLOW_NOT_NEGOTIATED);
    test_harness_free (h);
  }
  /* both fields in a buffer are a picture */
  g_autofree char *woven = caps_of ("I420", 64, 48, ",interlace-mode=interleaved");
  GstHarness *h = test_harness (woven, NULL);
  test_expect_class (h, woven, TINY_GREEN, 0.97);
  test_harness_free (h);
}

/* They are not accepted, and who sends them all the same is told what to put in front. */
static void
test_unfit_caps (void)
{
  const char *caps[][2] = {
    { "video/x-raw,format=Y444_10LE,width=64,height=64,framerate=25/1", "videoconvert" },
    { "video/x-raw(memory:DMABuf),format=DMA_DRM,drm-format=NV12,width=64,height=64,framerate=25/1", "vapostproc" },
    { "video/x-raw(memory:VAMemory),format=NV12,width=64,height=64,framerate=25/1", "vapostproc" },
    { "video/x-raw(memory:GLMemory),format=RGBA,width=64,height=64,framerate=25/1", "gldownload" },
    { "video/x-raw(memory:CUDAMemory),format=NV12,width=64,height=64,framerate=25/1", "cudadownload" },
    { "audio/x-raw", "raw video" },
  };
  for (guint i = 0; i < G_N_ELEMENTS (caps); i++) {
    GstHarness *h = test_harness (NULL, NULL);
    g_autoptr (GstCaps) c = gst_caps_from_string (caps[i][0]);
    g_assert_false (gst_pad_peer_query_accept_caps (h->srcpad, c));
    gst_harness_push_event (h, gst_event_new_stream_start ("unfit"));
    gst_harness_push_event (h, gst_event_new_caps (c));
    test_expect_error (test_bus (h), GST_STREAM_ERROR, GST_STREAM_ERROR_FORMAT, caps[i][1]);
    test_expect_no_error (test_bus (h));
    test_harness_free (h);
  }
}

/* Once each time the element is started. */
static void
test_hdr (void)
{
  g_autofree char *caps = caps_of ("P010_10LE", 64, 48, ",colorimetry=bt2100-pq");
  g_autofree char *sdr = caps_of ("P010_10LE", 64, 48, ",colorimetry=bt2020-10");
  GstHarness *h = test_harness (caps, NULL);
  gst_harness_push (h, test_picture (caps, TINY_RED));
  gst_buffer_unref (gst_harness_pull (h));
  g_autoptr (GstMessage) warning = gst_bus_pop_filtered (test_bus (h), GST_MESSAGE_WARNING);
  g_assert_nonnull (warning);
  g_autoptr (GError) error = NULL;
  gst_message_parse_warning (warning, &error, NULL);
  g_assert_nonnull (strstr (error->message, "PQ"));
  gst_harness_set_src_caps_str (h, sdr);
  gst_harness_set_src_caps_str (h, caps);
  gst_harness_push (h, test_picture (caps, TINY_RED));
  gst_buffer_unref (gst_harness_pull (h));
  g_assert_null (gst_bus_pop_filtered (test_bus (h), GST_MESSAGE_WARNING | GST_MESSAGE_ERROR));
  test_harness_free (h);
}

/* Caps that say an overlay will be drawn later pass, if downstream takes them. */
static void
test_overlay_composition (void)
{
  const char *caps = "video/x-raw(memory:SystemMemory, meta:GstVideoOverlayComposition),format=RGB,width=48,height=48,"
      "framerate=25/1";
  GstHarness *h = test_harness (caps, NULL);
  g_autoptr (GstBuffer) picture = test_picture (CAPS, TINY_YELLOW);
  gst_harness_push (h, gst_buffer_ref (picture));
  g_autoptr (GstBuffer) out = gst_harness_pull (h);
  g_assert_cmpstr (test_label (out), ==, tiny_labels[TINY_YELLOW]);
  test_harness_free (h);
}

/* The buffer that leaves is the one that came, with all that was on it. */
static void
test_untouched (void)
{
  GstHarness *h = test_harness (CAPS, NULL);
  GstBuffer *in = test_frame (CAPS, TINY_GREEN, 3);
  GST_BUFFER_DTS (in) = 17;
  GST_BUFFER_OFFSET (in) = 23;
  GST_BUFFER_OFFSET_END (in) = 29;
  const GstBufferFlags flags = GST_BUFFER_FLAG_DISCONT | GST_BUFFER_FLAG_CORRUPTED | GST_BUFFER_FLAG_MARKER
      | GST_BUFFER_FLAG_DROPPABLE;
  GST_BUFFER_FLAG_SET (in, flags);
  g_autoptr (GstCaps) reference = gst_caps_new_empty_simple ("timestamp/x-ntp");
  gst_buffer_add_reference_timestamp_meta (in, reference, 31, 37);
  g_autoptr (GstBuffer) expected = gst_buffer_copy_deep (in);
  GstMemory *memory = gst_buffer_peek_memory (in, 0);
  gst_harness_push (h, in);
  g_autoptr (GstBuffer) out = gst_harness_pull (h);
  g_assert_true (out == in);
  g_assert_true (gst_buffer_peek_memory (out, 0) == memory);
  g_assert_cmpuint (GST_BUFFER_PTS (out), ==, 3 * FRAME_TIME);
  g_assert_cmpuint (GST_BUFFER_DURATION (out), ==, FRAME_TIME);
  g_assert_cmpuint (GST_BUFFER_DTS (out), ==, 17);
  g_assert_cmpuint (GST_BUFFER_OFFSET (out), ==, 23);
  g_assert_cmpuint (GST_BUFFER_OFFSET_END (out), ==, 29);
  g_assert_true (GST_BUFFER_FLAG_IS_SET (out, flags));
  g_assert_nonnull (gst_buffer_get_reference_timestamp_meta (out, NULL));
  GstMapInfo a, b;
  gst_buffer_map (out, &a, GST_MAP_READ);
  gst_buffer_map (expected, &b, GST_MAP_READ);
  g_assert_cmpmem (a.data, a.size, b.data, b.size);
  gst_buffer_unmap (out, &a);
  gst_buffer_unmap (expected, &b);
  test_harness_free (h);
}

/* A buffer that others hold too is not theirs to see changed: they get no metadata, we get a shell around the memory. */
static void
test_shared_buffer (void)
{
  GstHarness *h = test_harness (CAPS, NULL);
  g_autoptr (GstBuffer) held = test_frame (CAPS, TINY_GREEN, 1);
  gst_harness_push (h, gst_buffer_ref (held));
  g_autoptr (GstBuffer) out = gst_harness_pull (h);
  g_assert_true (out != held);
  g_assert_true (gst_buffer_peek_memory (out, 0) == gst_buffer_peek_memory (held, 0));
  g_assert_cmpuint (GST_BUFFER_PTS (out), ==, FRAME_TIME);
  g_assert_cmpstr (test_label (out), ==, tiny_labels[TINY_GREEN]);
  g_assert_cmpuint (test_n_results (held), ==, 0);
  g_assert_null (gst_buffer_get_analytics_relation_meta (held));
  g_assert_cmpuint (test_stat (h->element, "copies"), ==, 0);
  test_harness_free (h);
}

static void
test_unshareable_memory (void)
{
  GstHarness *h = test_harness (CAPS, NULL);
  g_autoptr (GstBuffer) held = test_frame (CAPS, TINY_GREEN, 1);
  GST_MINI_OBJECT_FLAG_SET (gst_buffer_peek_memory (held, 0), GST_MEMORY_FLAG_NO_SHARE);
  gst_harness_push (h, gst_buffer_ref (held));
  g_autoptr (GstBuffer) out = gst_harness_pull (h);
  g_assert_true (gst_buffer_peek_memory (out, 0) != gst_buffer_peek_memory (held, 0));
  g_assert_cmpstr (test_label (out), ==, tiny_labels[TINY_GREEN]);
  g_assert_cmpuint (test_stat (h->element, "copies"), ==, 1);
  test_harness_free (h);
}

/* Read-only memory is enough, and stays where it is. */
static void
test_readonly_memory (void)
{
  GstHarness *h = test_harness (CAPS, NULL);
  GstBuffer *buffer = test_frame (CAPS, TINY_CYAN, 0);
  GST_MINI_OBJECT_FLAG_SET (gst_buffer_peek_memory (buffer, 0), GST_MEMORY_FLAG_READONLY);
  GstMemory *memory = gst_buffer_peek_memory (buffer, 0);
  gst_harness_push (h, buffer);
  g_autoptr (GstBuffer) out = gst_harness_pull (h);
  g_assert_true (gst_buffer_peek_memory (out, 0) == memory);
  g_assert_cmpstr (test_label (out), ==, tiny_labels[TINY_CYAN]);
  test_harness_free (h);
}

int
main (int argc, char **argv)
{
  test_init (&argc, &argv);
  for (guint i = 0; i < G_N_ELEMENTS (formats); i++) {
    g_autofree char *name = g_strdup_printf ("/frames/format/%s", formats[i]);
    g_autofree char *strides = g_strdup_printf ("/frames/strides/%s", formats[i]);
    g_test_add_data_func (name, formats[i], test_formats);
    g_test_add_data_func (strides, formats[i], test_strides);
  }
  g_test_add_func ("/frames/colorimetry", test_colorimetry);
  g_test_add_func ("/frames/negative-stride", test_negative_stride);
  g_test_add_func ("/frames/memory-per-plane", test_memory_per_plane);
  g_test_add_func ("/frames/crop", test_crop);
  g_test_add_func ("/frames/pixel-aspect-ratio", test_pixel_aspect_ratio);
  g_test_add_func ("/frames/orientation", test_orientation);
  g_test_add_func ("/frames/orientation-tag", test_orientation_tag);
  g_test_add_func ("/frames/odd-sizes", test_odd_sizes);
  g_test_add_func ("/frames/too-small", test_too_small);
  g_test_add_func ("/frames/lying-meta", test_lying_meta);
  g_test_add_func ("/frames/no-caps", test_no_caps);
  g_test_add_func ("/frames/alternate", test_alternate);
  g_test_add_func ("/frames/unfit-caps", test_unfit_caps);
  g_test_add_func ("/frames/hdr", test_hdr);
  g_test_add_func ("/frames/overlay-composition", test_overlay_composition);
  g_test_add_func ("/frames/untouched", test_untouched);
  g_test_add_func ("/frames/shared-buffer", test_shared_buffer);
  g_test_add_func ("/frames/unshareable-memory", test_unshareable_memory);
  g_test_add_func ("/frames/readonly-memory", test_readonly_memory);
  return test_run ();
}
