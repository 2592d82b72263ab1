/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* vigoverlay: what is drawn, where, on which frames, and that nothing else changes. */
#include <math.h>
#include <string.h>

#include "common.h"
#include "gstvigcolors.h"
#include "gstvighistory.h"
#include "watched.h"

#define SIZED(format, w, h) "video/x-raw,format=" format ",width=" #w ",height=" #h ",framerate=25/1"
#define CAPS SIZED ("RGB", 320, 240)
#define GROUND 0x406080

/* ---- frames with results ---- */

typedef struct {
  const char *element, *label;
  double confidence;
  const char *state;
  int id, x, y, w, h; /* of an object; w 0: of the frame */
} Said;

static void
say (GstBuffer *buffer, const Said *said, guint n)
{
  GstStructure *structure = gst_custom_meta_get_structure (gst_buffer_add_custom_meta (buffer, "VigResults"));
  GValue results = G_VALUE_INIT;
  g_value_init (&results, GST_TYPE_ARRAY);
  for (guint i = 0; i < n; i++) {
    const Said *s = &said[i];
    GstStructure *entry = gst_structure_new ("vig-result", "element", G_TYPE_STRING, s->element, "label", G_TYPE_STRING,
        s->label, "confidence", G_TYPE_DOUBLE, s->confidence, "state", G_TYPE_STRING, s->state ? s->state : "fresh", NULL);
    if (s->w)
      gst_structure_set (entry, "region-id", G_TYPE_UINT, s->id, "region-x", G_TYPE_INT, s->x, "region-y", G_TYPE_INT, s->y,
          "region-width", G_TYPE_INT, s->w, "region-height", G_TYPE_INT, s->h, NULL);
    GValue value = G_VALUE_INIT;
    g_value_init (&value, GST_TYPE_STRUCTURE);
    g_value_take_boxed (&value, entry);
    gst_value_array_append_and_take_value (&results, &value);
  }
  gst_structure_take_value (structure, "results", &results);
}

/* A plain frame @i of which all of that is said. */
static GstBuffer *
frame_with (const char *caps, int i, const Said *said, guint n)
{
  GstBuffer *buffer = test_colour (caps, GROUND);
  GST_BUFFER_PTS (buffer) = (GstClockTime) i * FRAME_TIME;
  GST_BUFFER_DURATION (buffer) = FRAME_TIME;
  if (n > 0)
    say (buffer, said, n);
  return buffer;
}

static GstHarness *
overlay (const char *caps, const char *properties)
{
  g_autofree char *line = g_strdup_printf ("vigoverlay %s", properties);
  GstHarness *h = gst_harness_new_parse (line);
  if (caps)
    gst_harness_set_src_caps_str (h, caps);
  return h;
}

static GstElement *
element_of (GstHarness *h)
{
  GstElement *element = gst_harness_find_element (h, "vigoverlay");
  gst_object_unref (element); /* the harness has it */
  return element;
}

static const Said cat = { .element = "v", .label = "cat", .confidence = 0.5 };

/* ---- looking at pixels ---- */

typedef struct {
  int w, h;
  guint8 *rgb;
} Picture;

static Picture
look (GstBuffer *buffer, const char *caps_string)
{
  g_autoptr (GstCaps) caps = gst_caps_from_string (caps_string);
  GstVideoInfo from, to;
  GstVideoFrame in, out;
  g_assert_true (gst_video_info_from_caps (&from, caps));
  gst_video_info_set_format (&to, GST_VIDEO_FORMAT_RGB, (guint) from.width, (guint) from.height);
  to.fps_n = from.fps_n;
  to.fps_d = from.fps_d;
  to.interlace_mode = from.interlace_mode;
  GstVideoConverter *converter = gst_video_converter_new (&from, &to, NULL);
  g_autoptr (GstBuffer) rgb = gst_buffer_new_allocate (NULL, to.size, NULL);
  g_assert_true (gst_video_frame_map (&in, &from, buffer, GST_MAP_READ));
  g_assert_true (gst_video_frame_map (&out, &to, rgb, GST_MAP_WRITE));
  gst_video_converter_frame (converter, &in, &out);
  Picture picture = { from.width, from.height, g_malloc ((gsize) from.width * (gsize) from.height * 3) };
  for (int y = 0; y < picture.h; y++)
    memcpy (picture.rgb + (gsize) y * (gsize) picture.w * 3,
        (guint8 *) GST_VIDEO_FRAME_PLANE_DATA (&out, 0) + y * GST_VIDEO_FRAME_PLANE_STRIDE (&out, 0), (gsize) picture.w * 3);
  gst_video_frame_unmap (&out);
  gst_video_frame_unmap (&in);
  gst_video_converter_free (converter);
  return picture;
}

static const guint8 *
pixel (const Picture *picture, int x, int y)
{
  return picture->rgb + ((gsize) y * (gsize) picture->w + (gsize) x) * 3;
}

/* The greatest difference of any pixel of a rectangle in two pictures of one size. */
static int
difference (const Picture *a, const Picture *b, int x, int y, int w, int h)
{
  int most = 0;
  for (int row = y; row < y + h; row++)
    for (int i = 0; i < 3 * w; i++)
      most = MAX (most, abs (pixel (a, x, row)[i] - pixel (b, x, row)[i]));
  return most;
}

/* How far a pixel is from what the label is drawn in. */
static int
distance (const Picture *picture, int x, int y, const char *label)
{
  GstVigColors colors = { 0 };
  const GstVigColor color = gst_vig_colors_get (&colors, g_quark_from_string (label));
  const guint8 *p = pixel (picture, x, y);
  return (int) MAX (MAX (fabs (p[0] - color.r * 255), fabs (p[1] - color.g * 255)), fabs (p[2] - color.b * 255));
}

static Picture
send_and_look (GstHarness *h, const char *caps, int i, const Said *said, guint n)
{
  g_autoptr (GstBuffer) out = test_send (h, frame_with (caps, i, said, n));
  return look (out, caps);
}

static Picture
plain (const char *caps)
{
  g_autoptr (GstBuffer) buffer = test_colour (caps, GROUND);
  return look (buffer, caps);
}

/* ---- what is drawn ---- */

/* In every format: the label at the top left, the timeline at the bottom, nothing in the middle. */
static void
test_formats (void)
{
  const char *formats[] = { "NV12", "I420", "YV12", "NV21", "Y42B", "Y444", "YUY2", "UYVY", "P010_10LE", "I420_10LE", "RGB",
    "BGR", "RGBA", "BGRA", "ARGB", "ABGR", "RGBx", "BGRx", "xRGB", "xBGR", "GRAY8" };
  for (guint i = 0; i < G_N_ELEMENTS (formats); i++) {
    g_autofree char *caps = g_strdup_printf ("video/x-raw,format=%s,width=320,height=240,framerate=25/1", formats[i]);
    GstHarness *h = overlay (caps, "");
    g_free (send_and_look (h, caps, 0, &cat, 1).rgb);
    Picture before = plain (caps), after = send_and_look (h, caps, 10, &cat, 1);
    g_assert_cmpint (difference (&before, &after, 8, 8, 100, 20), >, 60);
    g_assert_cmpint (difference (&before, &after, 8, 220, 300, 12), >, 30);
    g_assert_cmpint (difference (&before, &after, 0, 60, 320, 140), ==, 0);
    g_free (before.rgb);
    g_free (after.rgb);
    gst_harness_teardown (h);
  }
}

/* How much of a bar is filled says how sure it is, and its colour which label; grey under the threshold. */
static void
test_bar (void)
{
  GstHarness *h = overlay (CAPS, "timeline=0");
  int filled[4];
  for (int i = 0; i < 4; i++) {
    const Said said = { .element = "v", .label = "cat", .confidence = i < 3 ? i * 0.4 + 0.1 : 0.9,
      .state = i < 3 ? "fresh" : "below-threshold" };
    Picture picture = send_and_look (h, CAPS, i, &said, 1);
    filled[i] = 0;
    for (int x = 0; x < 200; x++) {
      int nearest = 255;
      for (int y = 10; y < 40; y++)
        nearest = MIN (nearest, distance (&picture, x, y, "cat"));
      filled[i] += nearest < 8;
    }
    g_free (picture.rgb);
  }
  g_assert_cmpint (filled[0], >, 8);
  g_assert_cmpint (filled[1], >, 4 * filled[0]);
  g_assert_cmpint (filled[2], >, filled[1] * 3 / 2);
  g_assert_cmpint (filled[3], ==, 0);
  gst_harness_teardown (h);
}

/* Two classifiers: two lines, one below the other. */
static void
test_several (void)
{
  const Said both[] = { cat, { .element = "w", .label = "indoors", .confidence = 1 } };
  GstHarness *h = overlay (CAPS, "timeline=0");
  Picture one = send_and_look (h, CAPS, 0, both, 1), two = send_and_look (h, CAPS, 1, both, 2), ground = plain (CAPS);
  g_assert_cmpint (difference (&one, &ground, 10, 36, 100, 20), ==, 0);
  g_assert_cmpint (difference (&two, &ground, 10, 36, 100, 20), >, 60);
  g_free (one.rgb);
  g_free (two.rgb);
  g_free (ground.rgb);
  gst_harness_teardown (h);
}

/* The corners of a box are of the label's colour, just inside of the object; what is in it stays. */
static void
test_boxes (void)
{
  const Said dogs[] = { { .element = "v", .label = "dog", .confidence = 0.7, .id = 3, .x = 60, .y = 80, .w = 100, .h = 70 },
    { .element = "v", .label = "bird", .confidence = 0.7, .id = 4, .x = 290, .y = 200, .w = 60, .h = 90 } };
  GstHarness *h = overlay (CAPS, "");
  Picture picture = send_and_look (h, CAPS, 0, dogs, 2), ground = plain (CAPS);
  const int corners[][2] = { { 62, 82 }, { 157, 82 }, { 62, 147 }, { 157, 147 }, { 62, 110 }, { 110, 147 } };
  for (guint i = 0; i < G_N_ELEMENTS (corners); i++)
    g_assert_cmpint (distance (&picture, corners[i][0], corners[i][1], "dog"), <, 4);
  g_assert_cmpint (distance (&picture, 292, 238, "bird"), <, 4); /* cut off where the picture ends */
  g_assert_cmpint (difference (&picture, &ground, 66, 86, 88, 58), ==, 0);
  g_assert_cmpint (difference (&picture, &ground, 0, 0, 320, 60), ==, 0);
  g_assert_cmpint (difference (&picture, &ground, 60, 64, 20, 14), >, 60); /* its label */
  Picture bare = picture;
  g_object_set (element_of (h), "draw-labels", FALSE, NULL);
  picture = send_and_look (h, CAPS, 1, dogs, 2);
  g_assert_cmpint (difference (&picture, &ground, 60, 64, 20, 14), ==, 0);
  g_assert_cmpint (distance (&picture, 62, 82, "dog"), <, 4);
  g_free (bare.rgb);
  g_free (picture.rgb);
  g_free (ground.rgb);
  gst_harness_teardown (h);
}

/* Frames of half a second, then of another label, with a timeline of one second: half and half. */
static void
test_timeline (void)
{
  const Said dog = { .element = "v", .label = "dog", .confidence = 0.5 };
  GstHarness *h = overlay (CAPS, "timeline=1 draw-labels=false");
  Picture picture = { 0 }, ground = plain (CAPS);
  for (int i = 0; i <= 25; i++) {
    g_free (picture.rgb);
    picture = send_and_look (h, CAPS, i, i < 13 ? &cat : &dog, 1);
  }
  g_assert_cmpint (distance (&picture, 140, 228, "cat"), <, 8);
  g_assert_cmpint (distance (&picture, 305, 228, "dog"), <, 8);
  for (int i = 26; i <= 38; i++) { /* nothing is said: what was said moves on */
    g_free (picture.rgb);
    picture = send_and_look (h, CAPS, i, NULL, 0);
  }
  g_assert_cmpint (distance (&picture, 140, 228, "dog"), <, 8);
  g_assert_cmpint (distance (&picture, 300, 228, "dog"), >, 40);
  g_free (picture.rgb);

  gst_harness_push_event (h, gst_event_new_flush_start ());
  gst_harness_push_event (h, gst_event_new_flush_stop (TRUE));
  test_start_segment (h, 1);
  picture = send_and_look (h, CAPS, 39, NULL, 0);
  g_assert_cmpint (difference (&picture, &ground, 0, 0, 320, 240), ==, 0);
  g_free (picture.rgb);
  g_object_set (element_of (h), "timeline", 0.0, NULL);
  picture = send_and_look (h, CAPS, 40, &cat, 1);
  g_assert_cmpint (difference (&picture, &ground, 0, 0, 320, 240), ==, 0);
  g_free (picture.rgb);
  g_free (ground.rgb);
  gst_harness_teardown (h);
}

/* @shares [3, 4] of a rectangle of the frame, added to what is said first. */
static void
add_heat (GstBuffer *buffer, const float *shares, double x, double y, double w, double h)
{
  GstStructure *structure = gst_custom_meta_get_structure (gst_buffer_get_custom_meta (buffer, "VigResults"));
  const GValue *results = gst_structure_get_value (structure, "results");
  GstStructure *first = (GstStructure *) gst_value_get_structure (gst_value_array_get_value (results, 0));
  g_autoptr (GBytes) bytes = g_bytes_new (shares, 12 * sizeof *shares);
  GValue maps = G_VALUE_INIT, value = G_VALUE_INIT;
  g_value_init (&maps, GST_TYPE_ARRAY);
  g_value_init (&value, GST_TYPE_STRUCTURE);
  g_value_take_boxed (&value, gst_structure_new ("vig-heatmap", "rows", G_TYPE_UINT, 3, "columns", G_TYPE_UINT, 4,
          "x", G_TYPE_DOUBLE, x, "y", G_TYPE_DOUBLE, y, "width", G_TYPE_DOUBLE, w, "height", G_TYPE_DOUBLE, h,
          "shares", G_TYPE_BYTES, bytes, NULL));
  gst_value_array_append_and_take_value (&maps, &value);
  gst_structure_take_value (first, "heatmaps", &maps);
}

/* The warmest cell is yellow in its middle, cold ones are as they were, and so is what is not covered; a map of nothing but
 * noise, or of nonsense, is not seen. */
static void
test_heat (void)
{
  float shares[12] = { 0 };
  GstHarness *h = overlay (CAPS, "timeline=0 draw-labels=false heatmap=true opacity=1");
  Picture ground = plain (CAPS), picture = { 0 };
  for (int i = 0; i < 8; i++) {
    GstBuffer *in = frame_with (CAPS, i, &cat, 1);
    shares[6] = i == 1 ? 1e-3f : i == 2 ? NAN : i == 3 ? INFINITY : 3;
    const double bad[] = { NAN, 1e9, -40, 0 }; /* no number, far away, outside, of no size */
    add_heat (in, shares, i < 4 ? 40 : bad[i - 4], 30, i == 6 ? 30 : i == 7 ? 0 : 200, 150);
    g_autoptr (GstBuffer) out = test_send (h, in);
    g_free (picture.rgb);
    picture = look (out, CAPS);
    if (i == 0) {
      const guint8 *hot = pixel (&picture, 40 + 125, 30 + 75);
      g_assert_cmpint (hot[0], >, 215);
      g_assert_cmpint (hot[1], >, 190);
      g_assert_cmpint (hot[2], <, 100);
      g_assert_cmpint (difference (&picture, &ground, 40 + 25, 30 + 25, 1, 1), ==, 0);
      g_assert_cmpint (difference (&picture, &ground, 250, 0, 70, 240), ==, 0);
      g_assert_cmpint (difference (&picture, &ground, 0, 185, 320, 55), ==, 0);
    } else {
      g_assert_cmpint (difference (&picture, &ground, 0, 0, 320, 240), <, i == 1 ? 8 : 1);
    }
  }
  g_free (picture.rgb);
  shares[6] = 3;
  g_object_set (element_of (h), "opacity", 0.5, NULL);
  GstBuffer *half = frame_with (CAPS, 8, &cat, 1);
  add_heat (half, shares, 40, 30, 200, 150);
  g_autoptr (GstBuffer) mixed = test_send (h, half);
  picture = look (mixed, CAPS);
  g_assert_cmpint (abs (pixel (&picture, 165, 105)[0] - (0x40 + 255) / 2), <, 20); /* red, by half */
  g_free (picture.rgb);
  g_object_set (element_of (h), "heatmap", FALSE, NULL);
  GstBuffer *in = frame_with (CAPS, 9, &cat, 1);
  add_heat (in, shares, 40, 30, 200, 150);
  g_autoptr (GstBuffer) out = test_send (h, in);
  picture = look (out, CAPS);
  g_assert_cmpint (difference (&picture, &ground, 0, 0, 320, 240), ==, 0);
  g_free (picture.rgb);
  g_free (ground.rgb);
  gst_harness_teardown (h);
}

/* ---- what is left alone ---- */

static void
test_passes_on (void)
{
  GstHarness *h = overlay (CAPS, "");
  GstBuffer *in = frame_with (CAPS, 3, NULL, 0);
  GST_BUFFER_OFFSET (in) = 17;
  GST_BUFFER_FLAG_SET (in, GST_BUFFER_FLAG_MARKER);
  gst_buffer_add_video_region_of_interest_meta (in, "door", 1, 2, 3, 4);
  GstBuffer *kept = gst_buffer_ref (in);
  GstBuffer *out = test_send (h, in);
  g_assert_true (out == kept); /* nothing is said: nothing is touched */
  gst_buffer_unref (out);
  gst_buffer_unref (kept);

  in = frame_with (CAPS, 4, &cat, 1);
  GST_BUFFER_OFFSET (in) = 18;
  GST_BUFFER_FLAG_SET (in, GST_BUFFER_FLAG_MARKER);
  gst_buffer_add_video_region_of_interest_meta (in, "door", 1, 2, 3, 4);
  out = test_send (h, in);
  g_assert_cmpuint (GST_BUFFER_PTS (out), ==, 4 * FRAME_TIME);
  g_assert_cmpuint (GST_BUFFER_DURATION (out), ==, FRAME_TIME);
  g_assert_cmpuint (GST_BUFFER_OFFSET (out), ==, 18);
  g_assert_true (GST_BUFFER_FLAG_IS_SET (out, GST_BUFFER_FLAG_MARKER));
  g_assert_nonnull (gst_buffer_get_video_region_of_interest_meta_id (out, 0));
  g_assert_cmpuint (test_n_results (out), ==, 1);
  gst_buffer_unref (out);
  gst_harness_teardown (h);
}

/* Who else holds the frame does not see what is drawn. */
static void
test_shared (void)
{
  GstHarness *h = overlay (CAPS, "");
  GstBuffer *in = frame_with (CAPS, 0, &cat, 1);
  g_autoptr (GstBuffer) kept = gst_buffer_copy (in); /* the same memory */
  g_autoptr (GstBuffer) out = test_send (h, in);
  Picture ground = plain (CAPS), other = look (kept, CAPS), drawn = look (out, CAPS);
  g_assert_cmpint (difference (&ground, &other, 0, 0, 320, 240), ==, 0);
  g_assert_cmpint (difference (&ground, &drawn, 0, 0, 320, 240), >, 60);
  g_free (ground.rgb);
  g_free (other.rgb);
  g_free (drawn.rgb);
  gst_harness_teardown (h);
}

/* Any size and shape of frames and pixels, and places that are not in the picture. */
static void
test_odd_frames (void)
{
  const char *all[] = { SIZED ("I420", 1, 1), SIZED ("NV12", 16, 16), SIZED ("I420", 17, 13), SIZED ("YUY2", 321, 241),
    SIZED ("NV12", 40, 1000), SIZED ("RGB", 2000, 20), SIZED ("GRAY8", 3, 700), SIZED ("NV12", 3840, 2160),
    SIZED ("I420", 320, 240) ",pixel-aspect-ratio=2/1", SIZED ("I420", 320, 240) ",pixel-aspect-ratio=1/50",
    SIZED ("I420", 320, 240) ",pixel-aspect-ratio=1000000/1",
    SIZED ("I420", 320, 240) ",interlace-mode=interleaved", SIZED ("NV12", 321, 241) ",interlace-mode=mixed" };
  const Said said[] = { cat, { .element = "w", .label = "", .confidence = 7 }, { .element = "x", .label = "a\nb<c>&", .confidence = -1 },
    { .element = "v", .label = "far", .confidence = 0.5, .id = 1, .x = 100000, .y = -50, .w = 10, .h = 10 },
    { .element = "v", .label = "all", .confidence = 0.5, .id = 2, .x = -1000, .y = -1000, .w = 100000, .h = 100000 },
    { .element = "w", .label = "of a very long name that is longer than any picture is wide, however wide that may be", .confidence = 0.5,
      .id = 2, .x = -1000, .y = -1000, .w = 100000, .h = 100000 },
    { .element = "v", .label = "dot", .confidence = 0.5, .id = 3, .x = 0, .y = 0, .w = 1, .h = 1 } };
  GstHarness *h = overlay (NULL, "");
  for (guint i = 0; i < G_N_ELEMENTS (all); i++) {
    gst_harness_set_src_caps_str (h, all[i]);
    for (int f = 0; f < 3; f++) {
      g_autoptr (GstBuffer) out = test_send (h, frame_with (all[i], 3 * (int) i + f, said, G_N_ELEMENTS (said)));
      g_assert_cmpuint (test_n_results (out), ==, G_N_ELEMENTS (said));
    }
  }
  gst_harness_teardown (h);
}

/* Nothing that another element may have written there is believed. */
static void
test_strange_results (void)
{
  GstHarness *h = overlay (CAPS, "");
  const char *entries[] = { "vig-result", "vig-result,element=v", "vig-result,element=v,label=cat",
    "vig-result,element=v,label=cat,confidence=(string)a", "vig-result,element=v,label=cat,confidence=(double)1,region-id=(uint)3",
    "vig-result,element=v,label=cat,confidence=(double)1,region-id=(string)3" };
  Picture ground = plain (CAPS);
  for (guint i = 0; i <= G_N_ELEMENTS (entries); i++) {
    GstBuffer *in = frame_with (CAPS, (int) i, NULL, 0);
    GstStructure *structure = gst_custom_meta_get_structure (gst_buffer_add_custom_meta (in, "VigResults"));
    if (i == G_N_ELEMENTS (entries)) {
      gst_structure_set (structure, "results", G_TYPE_INT, 5, NULL);
    } else {
      GValue results = G_VALUE_INIT, value = G_VALUE_INIT;
      g_value_init (&results, GST_TYPE_ARRAY);
      g_value_init (&value, GST_TYPE_STRUCTURE);
      g_value_take_boxed (&value, gst_structure_from_string (entries[i], NULL));
      gst_value_array_append_and_take_value (&results, &value);
      gst_structure_take_value (structure, "results", &results);
    }
    g_autoptr (GstBuffer) out = test_send (h, in);
    Picture picture = look (out, CAPS);
    g_assert_cmpint (difference (&picture, &ground, 0, 0, 320, 240), ==, 0);
    g_free (picture.rgb);
  }
  g_free (ground.rgb);
  gst_harness_teardown (h);
}

/* ---- who draws ---- */

#define WITH "video/x-raw(memory:SystemMemory,meta:GstVideoOverlayComposition),format=RGB,width=320,height=240,framerate=25/1"

static guint
n_rectangles (GstBuffer *buffer)
{
  GstVideoOverlayCompositionMeta *meta = gst_buffer_get_video_overlay_composition_meta (buffer);
  return meta ? gst_video_overlay_composition_n_rectangles (meta->overlay) : 0;
}

static gboolean
output_has_feature (GstHarness *h)
{
  g_autoptr (GstCaps) caps = gst_pad_get_current_caps (h->sinkpad);
  return gst_caps_features_contains (gst_caps_get_features (caps, 0), GST_CAPS_FEATURE_META_GST_VIDEO_OVERLAY_COMPOSITION);
}

/* Downstream draws where it says so in caps and ALLOCATION query; else we do. */
static void
test_attached (void)
{
  for (int draws = 0; draws < 2; draws++) {
    GstHarness *h = overlay (NULL, "");
    if (draws)
      gst_harness_add_propose_allocation_meta (h, GST_VIDEO_OVERLAY_COMPOSITION_META_API_TYPE, NULL);
    gst_harness_set_src_caps_str (h, CAPS);
    g_autoptr (GstBuffer) out = test_send (h, frame_with (CAPS, 0, &cat, 1));
    g_assert_cmpint (output_has_feature (h), ==, draws);
    g_assert_cmpuint (n_rectangles (out), ==, draws ? 2 : 0); /* a line, the timeline */
    Picture ground = plain (CAPS), picture = look (out, CAPS);
    g_assert_cmpint (difference (&picture, &ground, 0, 0, 320, 240) == 0, ==, draws);
    g_free (ground.rgb);
    g_free (picture.rgb);
    gst_harness_teardown (h);
  }
}

/* A sink that takes no such caps. */
static void
test_not_attached (void)
{
  GstHarness *h = overlay (NULL, "");
  gst_harness_add_propose_allocation_meta (h, GST_VIDEO_OVERLAY_COMPOSITION_META_API_TYPE, NULL);
  gst_harness_set_caps_str (h, CAPS, CAPS);
  g_autoptr (GstBuffer) out = test_send (h, frame_with (CAPS, 0, &cat, 1));
  g_assert_false (output_has_feature (h));
  g_assert_cmpuint (n_rectangles (out), ==, 0);
  gst_harness_teardown (h);
}

/* Downstream changes its mind. */
static void
test_reconfigure (void)
{
  GstHarness *h = overlay (CAPS, "");
  gst_buffer_unref (test_send (h, frame_with (CAPS, 0, &cat, 1)));
  g_assert_false (output_has_feature (h));
  gst_harness_add_propose_allocation_meta (h, GST_VIDEO_OVERLAY_COMPOSITION_META_API_TYPE, NULL);
  gst_harness_push_upstream_event (h, gst_event_new_reconfigure ());
  g_autoptr (GstBuffer) out = test_send (h, frame_with (CAPS, 1, &cat, 1));
  g_assert_true (output_has_feature (h));
  g_assert_cmpuint (n_rectangles (out), >, 0);
  gst_harness_teardown (h);
}

/* What others want to have drawn stays, and is below. */
static void
test_composition_of_others (void)
{
  GstHarness *h = overlay (NULL, "");
  gst_harness_add_propose_allocation_meta (h, GST_VIDEO_OVERLAY_COMPOSITION_META_API_TYPE, NULL);
  gst_harness_set_src_caps_str (h, WITH);
  g_autoptr (GstBuffer) pixels = gst_buffer_new_allocate (NULL, 4 * 4 * 4, NULL);
  gst_buffer_add_video_meta (pixels, GST_VIDEO_FRAME_FLAG_NONE, GST_VIDEO_OVERLAY_COMPOSITION_FORMAT_RGB, 4, 4);
  GstVideoOverlayRectangle *rectangle = gst_video_overlay_rectangle_new_raw (pixels, 0, 0, 4, 4, GST_VIDEO_OVERLAY_FORMAT_FLAG_NONE);
  GstVideoOverlayComposition *theirs = gst_video_overlay_composition_new (rectangle);
  GstBuffer *in = frame_with (CAPS, 0, &cat, 1);
  gst_buffer_add_video_overlay_composition_meta (in, theirs);
  g_autoptr (GstBuffer) out = test_send (h, in);
  g_assert_true (output_has_feature (h));
  g_assert_cmpuint (n_rectangles (out), ==, 3);
  g_assert_true (gst_video_overlay_composition_get_rectangle (gst_buffer_get_video_overlay_composition_meta (out)->overlay, 0)
      == rectangle);
  g_assert_cmpuint (gst_video_overlay_composition_n_rectangles (theirs), ==, 1);
  gst_video_overlay_composition_unref (theirs);
  gst_video_overlay_rectangle_unref (rectangle);
  gst_harness_teardown (h);
}

/* What has not changed is not drawn anew: sinks that draw know it by its identity. */
static void
test_unchanged (void)
{
  const Said now[] = { { .element = "v", .label = "cat", .confidence = 0.5 },
    { .element = "v", .label = "dog", .confidence = 0.7, .id = 3, .x = 60, .y = 80, .w = 100, .h = 70 } };
  Said moved[] = { now[0], now[1] };
  moved[1].x += 5;
  GstHarness *h = overlay (NULL, "timeline=0");
  gst_harness_add_propose_allocation_meta (h, GST_VIDEO_OVERLAY_COMPOSITION_META_API_TYPE, NULL);
  gst_harness_set_src_caps_str (h, CAPS);
  g_autoptr (GstBuffer) first = test_send (h, frame_with (CAPS, 0, now, 2));
  g_autoptr (GstBuffer) second = test_send (h, frame_with (CAPS, 1, now, 2));
  g_autoptr (GstBuffer) third = test_send (h, frame_with (CAPS, 2, moved, 2));
  GstVideoOverlayComposition *a = gst_buffer_get_video_overlay_composition_meta (first)->overlay;
  GstVideoOverlayComposition *b = gst_buffer_get_video_overlay_composition_meta (second)->overlay;
  GstVideoOverlayComposition *c = gst_buffer_get_video_overlay_composition_meta (third)->overlay;
  g_assert_true (a == b);
  g_assert_true (b != c);
  g_assert_cmpuint (gst_video_overlay_composition_n_rectangles (c), ==, 6); /* four sides, its label, a line */
  for (guint i = 0; i < 6; i++) {
    GstVideoOverlayRectangle *x = gst_video_overlay_composition_get_rectangle (a, i);
    GstVideoOverlayRectangle *y = gst_video_overlay_composition_get_rectangle (c, i);
    g_assert_true ((x == y) == (i == 5));
    g_assert_true (gst_video_overlay_rectangle_get_pixels_unscaled_raw (x, GST_VIDEO_OVERLAY_FORMAT_FLAG_PREMULTIPLIED_ALPHA)
        == gst_video_overlay_rectangle_get_pixels_unscaled_raw (y, GST_VIDEO_OVERLAY_FORMAT_FLAG_PREMULTIPLIED_ALPHA));
  }
  gst_harness_teardown (h);
}

/* ---- in the stream ---- */

static void
test_caps_change (void)
{
  GstHarness *h = overlay (CAPS, "");
  const char *others[] = { SIZED ("NV12", 640, 480), CAPS, SIZED ("BGRx", 100, 400), CAPS };
  for (int i = 0; i < 4; i++) {
    gst_harness_set_src_caps_str (h, others[i]);
    Picture picture = send_and_look (h, others[i], i, &cat, 1), ground = plain (others[i]);
    g_assert_cmpint (difference (&picture, &ground, 8, 8, 80, 30), >, 60);
    g_free (picture.rgb);
    g_free (ground.rgb);
  }
  gst_harness_teardown (h);
}

static void
test_font (void)
{
  GstHarness *h = overlay (CAPS, "timeline=0 font-desc=\"Sans 30\"");
  Picture large = send_and_look (h, CAPS, 0, &cat, 1), ground = plain (CAPS);
  g_assert_cmpint (difference (&large, &ground, 20, 40, 100, 20), >, 60);
  g_object_set (element_of (h), "font-desc", NULL, NULL);
  Picture suitable = send_and_look (h, CAPS, 1, &cat, 1);
  g_assert_cmpint (difference (&suitable, &ground, 20, 40, 100, 20), ==, 0);
  g_free (large.rgb);
  g_free (suitable.rgb);
  g_free (ground.rgb);
  gst_harness_teardown (h);
}

static GstHarness *
watched_overlay (GstBus *bus)
{
  GstElement *element = gst_element_factory_make ("vigoverlay", NULL);
  gst_element_set_bus (element, bus);
  GstHarness *h = gst_harness_new_with_element (element, "sink", "src");
  gst_object_unref (element);
  return h;
}

/* A frame that came before any caps, or that is not what they say, ends the stream with a sentence. */
static void
test_errors (void)
{
  g_autoptr (GstBus) bus = gst_bus_new ();
  GstHarness *h = watched_overlay (bus);
  gst_harness_push_event (h, gst_event_new_stream_start ("no caps"));
  test_start_segment (h, 1);
  g_assert_cmpint (gst_harness_push (h, gst_buffer_new ()), ==, GST_FLOW_NOT_NEGOTIATED);
  test_expect_error (bus, GST_STREAM_ERROR, GST_STREAM_ERROR_FORMAT, "before any caps");
  test_harness_free (h);

  h = watched_overlay (bus);
  gst_harness_set_src_caps_str (h, CAPS);
  GstBuffer *small = gst_buffer_new_allocate (NULL, 100, NULL);
  say (small, &cat, 1);
  g_assert_cmpint (gst_harness_push (h, small), ==, GST_FLOW_ERROR);
  test_expect_error (bus, GST_RESOURCE_ERROR, GST_RESOURCE_ERROR_WRITE, "100 bytes");
  test_harness_free (h);
}

/* With vigclassify in front, to the end, into pixels and as meta; nothing of it is left. */
static void
test_pipeline (void)
{
  for (int i = 0; i < 2; i++) {
    GstElement *pipeline = launch ("videotestsrc num-buffers=40 pattern=red ! video/x-raw,width=64,height=48,framerate=25/1 ! "
        "vigclassify threads=1 model-file=%s heatmap=true ! vigoverlay heatmap=true ! %s fakesink", test_model (), i ? "videoconvert ! video/x-raw,format=BGRx !" : "");
    gst_element_set_state (pipeline, GST_STATE_PLAYING);
    expect_end (pipeline, GST_MESSAGE_EOS);
    close_pipeline (pipeline);
    expect_no_leaks ();
  }
}

/* ---- cost ---- */

static int
compare_times (gconstpointer a, gconstpointer b)
{
  return *(const gint64 *) a < *(const gint64 *) b ? -1 : *(const gint64 *) a > *(const gint64 *) b;
}

/* Milliseconds a frame, of frames that all have another confidence, a moved box, and timeline, and perhaps another heat map. */
static double
cost (const char *caps, gboolean draws, gboolean heat)
{
  enum { N = 60 };
  gint64 times[N];
  GstVideoInfo info;
  g_autoptr (GstCaps) parsed = gst_caps_from_string (caps);
  gst_video_info_from_caps (&info, parsed);
  GstHarness *h = overlay (NULL, heat ? "heatmap=true" : "");
  if (draws)
    gst_harness_add_propose_allocation_meta (h, GST_VIDEO_OVERLAY_COMPOSITION_META_API_TYPE, NULL);
  gst_harness_set_src_caps_str (h, caps);
  for (int i = 0; i < N; i++) {
    const Said said[] = { { .element = "v", .label = i / 10 % 2 ? "cat" : "dog", .confidence = i / 100.0 },
      { .element = "v", .label = "bird", .confidence = 0.7, .id = 3, .x = i, .y = info.height / 4, .w = info.width / 3,
        .h = info.height / 3 } };
    const float shares[12] = { (float) i, 0, 5, 7, 20, 3 };
    GstBuffer *in = frame_with (caps, i, said, 2);
    add_heat (in, shares, 0, 0, info.width, info.height);
    const gint64 begin = g_get_monotonic_time ();
    gst_harness_push (h, in);
    times[i] = g_get_monotonic_time () - begin;
    gst_buffer_unref (gst_harness_pull (h));
  }
  gst_harness_teardown (h);
  qsort (times, N, sizeof *times, compare_times);
  return (double) times[N / 2] / 1000;
}

static void
test_cost (void)
{
  const char *all[] = { SIZED ("NV12", 320, 240), SIZED ("NV12", 1920, 1080), SIZED ("NV12", 3840, 2160) };
  for (guint i = 0; i < G_N_ELEMENTS (all); i++)
    g_test_message ("%s: blended %.2f ms, with a heat map %.2f ms; drawn by downstream %.2f and %.2f ms", all[i],
        cost (all[i], FALSE, FALSE), cost (all[i], FALSE, TRUE), cost (all[i], TRUE, FALSE), cost (all[i], TRUE, TRUE));
}

/* ---- colours and turns by themselves ---- */

static void
test_colors (void)
{
  GstVigColors colors = { 0 }, again = { 0 };
  GstVigColor all[GST_VIG_N_COLORS + 3];
  for (guint i = 0; i < G_N_ELEMENTS (all); i++) {
    g_autofree char *name = g_strdup_printf ("label %u", i);
    const GQuark label = g_quark_from_string (name);
    all[i] = gst_vig_colors_get (&colors, label);
    const GstVigColor same = gst_vig_colors_get (&colors, label), alone = gst_vig_colors_get (&again, label);
    g_assert_cmpmem (&same, sizeof same, &all[i], sizeof all[i]);
    if (i == 0)
      g_assert_cmpmem (&alone, sizeof alone, &all[i], sizeof all[i]);
    g_assert_cmpfloat (gst_vig_color_get_luma (all[i]), >, 0.15);
    for (guint j = 0; j < i && i < GST_VIG_N_COLORS; j++)
      g_assert_cmpfloat (fabs (all[i].r - all[j].r) + fabs (all[i].g - all[j].g) + fabs (all[i].b - all[j].b), >, 0.15);
  }
}

static void
test_history (void)
{
  GstVigHistory history;
  gst_vig_history_init (&history, 1);
  g_assert_true (gst_vig_history_is_silent (&history));
  for (guint i = 0; i < 100000; i++)
    gst_vig_history_add (&history, i * GST_MSECOND, 1 + i % 2, 10 * GST_SECOND);
  g_assert_cmpuint (history.turns->len, <=, 1002);
  const GstVigTurn *first = &g_array_index (history.turns, GstVigTurn, 0);
  g_assert_cmpuint (first->time, <=, 90 * GST_SECOND);
  g_assert_cmpuint (first[1].time, >, 89 * GST_SECOND);
  gst_vig_history_add (&history, 0, 0, GST_SECOND); /* back */
  g_assert_cmpuint (history.turns->len, ==, 1);
  g_assert_true (gst_vig_history_is_silent (&history));
  gst_vig_history_add (&history, 100, 1, 0); /* a length of nothing */
  gst_vig_history_clear (&history);
}

int
main (int argc, char **argv)
{
  watched_init (&argc, &argv);
  g_test_add_func ("/overlay/formats", test_formats);
  g_test_add_func ("/overlay/bar", test_bar);
  g_test_add_func ("/overlay/several", test_several);
  g_test_add_func ("/overlay/boxes", test_boxes);
  g_test_add_func ("/overlay/timeline", test_timeline);
  g_test_add_func ("/overlay/heat", test_heat);
  g_test_add_func ("/overlay/passes-on", test_passes_on);
  g_test_add_func ("/overlay/shared", test_shared);
  g_test_add_func ("/overlay/odd-frames", test_odd_frames);
  g_test_add_func ("/overlay/strange-results", test_strange_results);
  g_test_add_func ("/overlay/attached", test_attached);
  g_test_add_func ("/overlay/not-attached", test_not_attached);
  g_test_add_func ("/overlay/reconfigure", test_reconfigure);
  g_test_add_func ("/overlay/composition-of-others", test_composition_of_others);
  g_test_add_func ("/overlay/unchanged", test_unchanged);
  g_test_add_func ("/overlay/caps-change", test_caps_change);
  g_test_add_func ("/overlay/font", test_font);
  g_test_add_func ("/overlay/errors", test_errors);
  g_test_add_func ("/overlay/pipeline", test_pipeline);
  g_test_add_func ("/overlay/colors", test_colors);
  g_test_add_func ("/overlay/history", test_history);
  if (g_test_perf ())
    g_test_add_func ("/overlay/cost", test_cost);
  return test_run ();
}
