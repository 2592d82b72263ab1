/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What reports and contact sheets are made of: small pictures, curves, links, summaries. The pages themselves: test_report.py. */
#include <gdk-pixbuf/gdk-pixbuf.h>
#include <gio/gio.h>
#include <glib/gstdio.h>
#include <math.h>
#include <string.h>
#include <vig/frame.h>

#include "label/curves.h"
#include "label/html.h"
#include "label/palette.h"
#include "label/report.h"
#include "label/summary.h"
#include "label/thumbs.h"

/* ---- small pictures --------------------------------------------------------------------------------------------- */

/* RGB: `mark` in the upper left quarter, elsewhere black. */
static GstBuffer *
marked_frame (const GstVideoInfo *info, guint32 mark)
{
  GstBuffer *buffer = gst_buffer_new_allocate (NULL, GST_VIDEO_INFO_SIZE (info), NULL);
  gst_buffer_memset (buffer, 0, 0, GST_VIDEO_INFO_SIZE (info));
  GstVideoFrame frame;
  g_assert_true (gst_video_frame_map (&frame, info, buffer, GST_MAP_WRITE));
  guint8 *pixels = GST_VIDEO_FRAME_PLANE_DATA (&frame, 0);
  for (int y = 0; y < info->height / 2; y++)
    for (int x = 0; x < info->width / 2; x++)
      for (int c = 0; c < 3; c++)
        pixels[y * GST_VIDEO_FRAME_PLANE_STRIDE (&frame, 0) + 3 * x + c] = (guint8) (mark >> (16 - 8 * c));
  gst_video_frame_unmap (&frame);
  return buffer;
}

static GstBuffer *
converted (GstBuffer *from, const GstVideoInfo *from_info, const GstVideoInfo *to_info)
{
  GstBuffer *to = gst_buffer_new_allocate (NULL, GST_VIDEO_INFO_SIZE (to_info), NULL);
  GstVideoConverter *converter = gst_video_converter_new (from_info, to_info, NULL);
  GstVideoFrame a, b;
  g_assert_nonnull (converter);
  g_assert_true (gst_video_frame_map (&a, from_info, from, GST_MAP_READ));
  g_assert_true (gst_video_frame_map (&b, to_info, to, GST_MAP_WRITE));
  gst_video_converter_frame (converter, &a, &b);
  gst_video_frame_unmap (&a);
  gst_video_frame_unmap (&b);
  gst_video_converter_free (converter);
  return to;
}

/* The one picture that `buffer` becomes; NULL: none. */
static GdkPixbuf *
one_thumbnail (GstBuffer *buffer, const GstVideoInfo *info, GstVideoOrientationMethod orientation)
{
  g_autoptr (VigLabelled) video = vig_labelled_new ("one");
  g_autoptr (VigThumbs) thumbs = vig_thumbs_new (video->thumbnails);
  vig_thumbs_set_orientation (thumbs, orientation);
  vig_thumbs_frame (thumbs, buffer, info, 0);
  if (video->thumbnails->len == 0)
    return NULL;
  const VigThumbnail *thumbnail = &g_array_index (video->thumbnails, VigThumbnail, 0);
  g_autoptr (GInputStream) stream = g_memory_input_stream_new_from_bytes (thumbnail->jpeg);
  GdkPixbuf *picture = gdk_pixbuf_new_from_stream (stream, NULL, NULL);
  g_assert_nonnull (picture);
  g_assert_cmpint (gdk_pixbuf_get_width (picture), ==, thumbnail->width);
  g_assert_cmpint (gdk_pixbuf_get_height (picture), ==, thumbnail->height);
  return picture;
}

/* 0xRRGGBB at (x, y), parts of the whole. */
static guint32
pixel (GdkPixbuf *picture, double x, double y)
{
  const guint8 *p = gdk_pixbuf_read_pixels (picture) + (int) (y * gdk_pixbuf_get_height (picture)) * gdk_pixbuf_get_rowstride (picture)
      + 3 * (int) (x * gdk_pixbuf_get_width (picture));
  return (guint32) p[0] << 16 | (guint32) p[1] << 8 | p[2];
}

static gboolean
alike (guint32 a, guint32 b, int tolerance)
{
  for (int shift = 0; shift < 24; shift += 8)
    if (ABS ((int) (a >> shift & 255) - (int) (b >> shift & 255)) > tolerance)
      return FALSE;
  return TRUE;
}

static void
test_spread (void)
{
  static const guint counts[] = { 0, 1, 5, 63, 64, 65, 1000, 50000 };
  GstVideoInfo info;
  gst_video_info_set_format (&info, GST_VIDEO_FORMAT_RGB, 16, 16);
  g_autoptr (GstBuffer) buffer = marked_frame (&info, 0xffffff);
  for (guint c = 0; c < G_N_ELEMENTS (counts); c++) {
    g_autoptr (VigLabelled) video = vig_labelled_new ("spread");
    g_autoptr (VigThumbs) thumbs = vig_thumbs_new (video->thumbnails);
    for (guint i = 0; i < counts[c]; i++)
      vig_thumbs_frame (thumbs, buffer, &info, i * GST_MSECOND);
    const GArray *kept = video->thumbnails;
    g_assert_cmpuint (kept->len, <=, VIG_THUMBS_MAX);
    g_assert_cmpuint (kept->len, >=, MIN (counts[c], VIG_THUMBS_MAX / 2));
    for (guint i = 0; i < kept->len; i++)
      g_assert_cmpuint (g_array_index (kept, VigThumbnail, i).time, ==, i * g_array_index (kept, VigThumbnail, MIN (kept->len - 1, 1)).time);
    if (kept->len)
      g_assert_cmpuint (g_array_index (kept, VigThumbnail, kept->len - 1).time * (kept->len + 1), >=, (counts[c] - 1) * GST_MSECOND * (kept->len - 1));
  }
}

static void
test_formats (void)
{
  GstVideoInfo rgb, info;
  gst_video_info_set_format (&rgb, GST_VIDEO_FORMAT_RGB, 64, 48);
  g_autoptr (GstBuffer) buffer = marked_frame (&rgb, 0xf04020);
  for (int f = 0; f < VIG_FORMAT_COUNT; f++) {
    const char *name = vig_format_to_string ((VigFormat) f);
    gst_video_info_set_format (&info, gst_video_format_from_string (name), 64, 48);
    g_autoptr (GstBuffer) other = converted (buffer, &rgb, &info);
    info.fps_n = 25;
    info.interlace_mode = f % 2 ? GST_VIDEO_INTERLACE_MODE_INTERLEAVED : GST_VIDEO_INTERLACE_MODE_MIXED;
    g_autoptr (GdkPixbuf) picture = one_thumbnail (other, &info, GST_VIDEO_ORIENTATION_IDENTITY);
    g_assert_nonnull (picture);
    guint32 mark = pixel (picture, 0.25, 0.25), rest = pixel (picture, 0.75, 0.75);
    g_test_message ("%s: %06x %06x", name, mark, rest);
    g_assert_true (GST_VIDEO_INFO_IS_GRAY (&info) ? alike (mark, 0x6d6d6d, 24) : alike (mark, 0xf04020, 24));
    g_assert_true (alike (rest, 0, 12));
  }
}

static void
test_orientations (void)
{
  static const struct {
    GstVideoOrientationMethod method;
    double x, y; /* where the upper left comes to lie */
  } cases[] = { { GST_VIDEO_ORIENTATION_IDENTITY, 0.25, 0.25 }, { GST_VIDEO_ORIENTATION_90R, 0.75, 0.25 }, { GST_VIDEO_ORIENTATION_180, 0.75, 0.75 },
    { GST_VIDEO_ORIENTATION_90L, 0.25, 0.75 }, { GST_VIDEO_ORIENTATION_HORIZ, 0.75, 0.25 }, { GST_VIDEO_ORIENTATION_VERT, 0.25, 0.75 },
    { GST_VIDEO_ORIENTATION_UL_LR, 0.25, 0.25 }, { GST_VIDEO_ORIENTATION_UR_LL, 0.75, 0.75 } };
  GstVideoInfo info;
  gst_video_info_set_format (&info, GST_VIDEO_FORMAT_RGB, 640, 320);
  g_autoptr (GstBuffer) buffer = marked_frame (&info, 0xffffff);
  for (guint i = 0; i < G_N_ELEMENTS (cases); i++) {
    g_autoptr (GdkPixbuf) picture = one_thumbnail (buffer, &info, cases[i].method);
    gboolean upright = cases[i].method == GST_VIDEO_ORIENTATION_90R || cases[i].method == GST_VIDEO_ORIENTATION_90L
        || cases[i].method == GST_VIDEO_ORIENTATION_UL_LR || cases[i].method == GST_VIDEO_ORIENTATION_UR_LL;
    g_assert_cmpint (gdk_pixbuf_get_width (picture), ==, upright ? 128 : 256);
    g_assert_cmpint (gdk_pixbuf_get_height (picture), ==, upright ? 256 : 128);
    for (double y = 0.25; y < 1; y += 0.5)
      for (double x = 0.25; x < 1; x += 0.5)
        g_assert_true (alike (pixel (picture, x, y), x == cases[i].x && y == cases[i].y ? 0xffffff : 0, 24));
  }
}

static void
test_shapes (void)
{
  static const struct {
    int width, height, par_n, par_d, shown_width, shown_height;
  } cases[] = { { 720, 576, 16, 15, 256, 192 }, { 720, 576, 64, 45, 256, 144 }, { 1, 1, 1, 1, 8, 8 }, { 4000, 2, 1, 1, 256, 8 }, { 2, 4000, 1, 1, 8, 256 },
    { 100, 50, 1, 1, 100, 50 }, { 1081, 1921, 1, 1, 144, 256 } };
  for (guint i = 0; i < G_N_ELEMENTS (cases); i++) {
    GstVideoInfo info;
    gst_video_info_set_format (&info, GST_VIDEO_FORMAT_RGB, (guint) cases[i].width, (guint) cases[i].height);
    info.par_n = cases[i].par_n;
    info.par_d = cases[i].par_d;
    g_autoptr (GstBuffer) buffer = marked_frame (&info, 0xffffff);
    g_autoptr (GdkPixbuf) picture = one_thumbnail (buffer, &info, GST_VIDEO_ORIENTATION_IDENTITY);
    g_assert_cmpint (gdk_pixbuf_get_width (picture), ==, cases[i].shown_width);
    g_assert_cmpint (gdk_pixbuf_get_height (picture), ==, cases[i].shown_height);
  }
}

static void
test_crop (void)
{
  GstVideoInfo info;
  gst_video_info_set_format (&info, GST_VIDEO_FORMAT_RGB, 64, 64);
  g_autoptr (GstBuffer) buffer = marked_frame (&info, 0xffffff);
  GstVideoCropMeta *crop = gst_buffer_add_video_crop_meta (buffer);
  *crop = (GstVideoCropMeta) { .meta = crop->meta, .x = 4, .y = 2, .width = 28, .height = 20 };
  g_autoptr (GdkPixbuf) picture = one_thumbnail (buffer, &info, GST_VIDEO_ORIENTATION_IDENTITY);
  g_assert_cmpint (gdk_pixbuf_get_width (picture), ==, 28);
  g_assert_cmpint (gdk_pixbuf_get_height (picture), ==, 20);
  g_assert_true (alike (pixel (picture, 0.95, 0.95), 0xffffff, 8));
  crop->x = 1000; /* beyond the picture: of no account */
  g_autoptr (GdkPixbuf) whole = one_thumbnail (buffer, &info, GST_VIDEO_ORIENTATION_IDENTITY);
  g_assert_cmpint (gdk_pixbuf_get_width (whole), ==, 64);
}

static void
test_bad_frames (void)
{
  GstVideoInfo info;
  gst_video_info_set_format (&info, GST_VIDEO_FORMAT_I420, 640, 480);
  g_autoptr (GstBuffer) small = gst_buffer_new_allocate (NULL, 100, NULL);
  g_assert_null (one_thumbnail (small, &info, GST_VIDEO_ORIENTATION_IDENTITY));
  g_autoptr (GstBuffer) other = gst_buffer_new_allocate (NULL, GST_VIDEO_INFO_SIZE (&info), NULL);
  gst_buffer_add_video_meta (other, GST_VIDEO_FRAME_FLAG_NONE, GST_VIDEO_FORMAT_NV12, 320, 240);
  g_assert_null (one_thumbnail (other, &info, GST_VIDEO_ORIENTATION_IDENTITY));
}

/* Caps change in mid-stream: each picture has the shape of its frame. */
static void
test_change (void)
{
  g_autoptr (VigLabelled) video = vig_labelled_new ("change");
  g_autoptr (VigThumbs) thumbs = vig_thumbs_new (video->thumbnails);
  for (guint i = 0; i < 4; i++) {
    GstVideoInfo info;
    gst_video_info_set_format (&info, GST_VIDEO_FORMAT_RGB, i % 2 ? 64 : 32, 32);
    g_autoptr (GstBuffer) buffer = marked_frame (&info, 0xffffff);
    vig_thumbs_frame (thumbs, buffer, &info, (4 - i) * GST_SECOND); /* backwards: they are sorted */
  }
  g_assert_cmpuint (video->thumbnails->len, ==, 4);
  for (guint i = 0; i < 4; i++) {
    g_assert_cmpuint (g_array_index (video->thumbnails, VigThumbnail, i).time, ==, (i + 1) * GST_SECOND);
    g_assert_cmpint (g_array_index (video->thumbnails, VigThumbnail, i).width, ==, i % 2 ? 32 : 64);
  }
}

/* ---- curves and bars -------------------------------------------------------------------------------------------- */

static void
add_score (VigLabelled *video, GstClockTime time, const char *label, double confidence)
{
  VigLabelledFrame frame = { time, g_array_new (FALSE, FALSE, sizeof (VigScore)) };
  VigScore score = { g_quark_from_string (label), confidence };
  if (confidence >= 0)
    g_array_append_val (frame.scores, score);
  g_array_append_val (video->frames, frame);
}

static void
add_segment (VigLabelled *video, double start, double end, const char *label)
{
  VigLabelledSegment segment = { (GstClockTime) (start * GST_SECOND), (GstClockTime) (end * GST_SECOND), g_quark_from_string (label), 0.6, 0.9 };
  g_array_append_val (video->segments, segment);
}

static void
test_few_points (void)
{
  static const double values[] = { 0.2, 0.4, -1, 0.9, -1, -1, 0.1, 0.3 }; /* -1: the label is not among the scores */
  g_autoptr (VigLabelled) video = vig_labelled_new ("few");
  for (guint i = 0; i < G_N_ELEMENTS (values); i++)
    add_score (video, i * GST_SECOND, "a", values[i]);
  g_autoptr (GArray) points = vig_curve_points (video, g_quark_from_string ("a"), 100);
  static const struct {
    double x, y;
    gboolean begins;
  } expected[] = { { 0, 0.2, TRUE }, { 1, 0.4, FALSE }, { 3, 0.9, TRUE }, { 6, 0.1, TRUE }, { 7, 0.3, FALSE } };
  g_assert_cmpuint (points->len, ==, G_N_ELEMENTS (expected));
  for (guint i = 0; i < points->len; i++) {
    const VigCurvePoint *point = &g_array_index (points, VigCurvePoint, i);
    g_assert_cmpfloat_with_epsilon (point->x * 7, expected[i].x, 1e-9);
    g_assert_cmpfloat_with_epsilon (point->y, expected[i].y, 1e-9);
    g_assert_cmpint (point->begins, ==, expected[i].begins);
  }
  g_autoptr (GArray) none = vig_curve_points (video, g_quark_from_string ("b"), 100);
  g_assert_cmpuint (none->len, ==, 0);
}

/* One frame of 50,000 that stands out, up or down, is in the curve. */
static void
test_many_points (void)
{
  g_autoptr (VigLabelled) video = vig_labelled_new ("many");
  for (guint i = 0; i < 50000; i++)
    add_score (video, i * 40 * GST_MSECOND, "a", i == 31234 ? 0.99 : i == 12345 ? 0.01 : 0.5);
  g_autoptr (GArray) points = vig_curve_points (video, g_quark_from_string ("a"), 600);
  g_assert_cmpuint (points->len, <=, 1200);
  g_assert_cmpuint (points->len, >=, 600);
  guint high = 0, low = 0;
  for (guint i = 0; i < points->len; i++) {
    const VigCurvePoint *point = &g_array_index (points, VigCurvePoint, i);
    high += point->y == 0.99 && fabs (point->x - 31234.0 / 49999) < 1e-9;
    low += point->y == 0.01 && fabs (point->x - 12345.0 / 49999) < 1e-9;
    g_assert_cmpint (point->begins, ==, i == 0);
    g_assert_true (i == 0 || point->x >= point[-1].x);
  }
  g_assert_cmpuint (high, ==, 1);
  g_assert_cmpuint (low, ==, 1);
}

static void
test_bars (void)
{
  g_autoptr (VigLabelled) video = vig_labelled_new ("bars");
  add_segment (video, 0, 2, "a");
  add_segment (video, 1.5, 4, "b");
  g_autoptr (GArray) exact = vig_curve_bars (video, 10);
  g_assert_cmpuint (exact->len, ==, 2);
  g_assert_cmpfloat (g_array_index (exact, VigBar, 1).x0, ==, 1.5 / 4);
  for (guint i = 0; i < 998; i++)
    add_segment (video, 4 + i, 5 + i, i < 700 ? "c" : "d");
  g_autoptr (GArray) columns = vig_curve_bars (video, 100);
  g_assert_cmpuint (columns->len, <=, 4); /* a and b share the first column */
  const VigBar *last = &g_array_index (columns, VigBar, columns->len - 1);
  g_assert_cmpstr (g_quark_to_string (last->label), ==, "d");
  g_assert_cmpfloat_with_epsilon (last->x0, 0.7, 0.011);
  g_assert_cmpfloat (last->x1, ==, 1);
}

static void
test_palette (void)
{
  g_autoptr (VigLabelled) video = vig_labelled_new ("palette");
  for (guint i = 0; i < 40; i++) {
    g_autofree char *label = g_strdup_printf ("label %u", i);
    add_segment (video, i, i + 1 + i * 0.01, label);
  }
  g_autoptr (GArray) ranked = vig_palette_rank (video);
  gboolean seen[VIG_PALETTE_SIZE] = { FALSE };
  for (guint i = 0; i < ranked->len; i++) {
    int colour = g_array_index (ranked, VigRankedLabel, i).colour;
    g_assert_cmpint (colour == VIG_PALETTE_OTHER, ==, i >= VIG_PALETTE_SIZE);
    g_assert_true (colour == VIG_PALETTE_OTHER || !seen[colour]);
    seen[colour % VIG_PALETTE_SIZE] = TRUE;
  }
  g_assert_cmpstr (g_quark_to_string (g_array_index (ranked, VigRankedLabel, 0).label), ==, "label 39");
  g_assert_cmpint (vig_palette_colour (ranked, g_quark_from_string ("no such label")), ==, VIG_PALETTE_OTHER);
}

/* ---- text ------------------------------------------------------------------------------------------------------- */

static void
test_times (void)
{
  static const struct {
    double seconds;
    int decimals;
    const char *text;
  } cases[] = { { 0, 1, "0:00.0" }, { 59.96, 1, "1:00.0" }, { 59.94, 2, "0:59.94" }, { 3599.99, 0, "1:00:00" }, { 3725.5, 1, "1:02:05.5" }, { -1, 0, "0:00" },
    { 360000, 0, "100:00:00" } };
  for (guint i = 0; i < G_N_ELEMENTS (cases); i++) {
    g_autoptr (GString) text = g_string_new (NULL);
    vig_html_time (text, cases[i].seconds, cases[i].decimals);
    g_assert_cmpstr (text->str, ==, cases[i].text);
  }
}

static void
test_links (void)
{
  static const struct {
    const char *page, *input, *link;
  } cases[] = {
    { "/out/a.html", "/out/b.mkv", "b.mkv" },
    { "/out/a.html", "/videos/x/b c.mkv", "../videos/x/b%20c.mkv" },
    { "/out/videos/a.html", "/out/b%41.mkv", "../b%2541.mkv" },
    { "/a.html", "/b.mkv", "b.mkv" },
    { "/out/a.html", "/b.mkv", "../b.mkv" },
    { "/out/a.html", "/out/../in/./b?c#d&\"<\xff.mkv", "../in/b%3Fc%23d%26%22%3C%FF.mkv" },
    { "out/a.html", "b:c.mkv", "../b%3Ac.mkv" },
    { "/out/a.html", "file:///in/b%20c.mkv", "../in/b%20c.mkv" },
    { "/out/a.html", "http://host/b.mkv?x=1", "http://host/b.mkv?x=1" },
    { "/out/a.html", "rtsp://host/b", NULL },
    { "/out/a.html", "javascript://alert(1)", NULL },
  };
  for (guint i = 0; i < G_N_ELEMENTS (cases); i++) {
    g_autofree char *link = vig_html_link (cases[i].page, cases[i].input);
    g_assert_cmpstr (link, ==, cases[i].link);
  }
}

/* ".." in a URL knows nothing of symbolic links. */
static void
test_link_through_links (void)
{
  g_autoptr (GError) error = NULL;
  g_autofree char *folder = g_dir_make_tmp ("check-report-XXXXXX", &error);
  g_assert_no_error (error);
  g_autofree char *real = g_build_filename (folder, "real", "deep", NULL), *out = g_build_filename (folder, "out", NULL);
  g_autofree char *page = g_build_filename (out, "a.html", NULL), *input = g_build_filename (folder, "b.mkv", NULL);
  g_assert_cmpint (g_mkdir_with_parents (real, 0700), ==, 0);
  g_autoptr (GFile) file = g_file_new_for_path (out);
  g_assert_true (g_file_make_symbolic_link (file, real, NULL, &error));
  g_autofree char *link = vig_html_link (page, input);
  g_assert_cmpstr (link, ==, "../../b.mkv");
  g_autofree char *between = g_path_get_dirname (real);
  g_assert_true (g_file_delete (file, NULL, NULL));
  g_assert_cmpint (g_rmdir (real) | g_rmdir (between) | g_rmdir (folder), ==, 0);
}

/* A page that was made in one folder is as if it had been made in another. */
static void
test_move (void)
{
  static const char *const inputs[] = { "/in/a b&c.mkv", "/out/videos/a.mkv", "http://host/a.mkv?x=1&y=2", "rtsp://host/a" };
  for (guint i = 0; i < G_N_ELEMENTS (inputs); i++) {
    g_autoptr (VigLabelled) video = vig_labelled_new (inputs[i]);
    video->duration = 10 * GST_SECOND;
    add_score (video, 0, "a\" data-source=\"b", 0.5);
    add_segment (video, 0, 6, "=\"../a.mkv#t=");
    g_autoptr (GString) page = vig_report_page (video, inputs[i], "/out/shards/1/videos/a.html");
    g_autoptr (GString) expected = vig_report_page (video, inputs[i], "/out/videos/a.html");
    vig_report_move (page, "/out/shards/1/videos/a.html", "/out/videos/a.html");
    g_assert_cmpstr (page->str, ==, expected->str);
  }
}

/* ---- summaries -------------------------------------------------------------------------------------------------- */

static void
test_summary (void)
{
  g_autoptr (VigLabelled) video = vig_labelled_new ("/in/</script><!-- \xff.mkv");
  video->duration = 10 * GST_SECOND;
  video->error = g_strdup ("it \"ends\" </script> at \xfe");
  add_score (video, 0, "a", 0.5);
  add_segment (video, 0, 6, "a");
  add_segment (video, 6, 10, "</script>");
  g_autoptr (GString) page = vig_report_page (video, video->input, "/out/a.html");
  g_autoptr (GError) error = NULL;
  g_autoptr (VigSummary) summary = vig_summary_parse (page->str, MIN (page->len, VIG_SUMMARY_HEAD), &error);
  g_assert_no_error (error);
  g_assert_cmpstr (summary->name, ==, "/in/</script><!-- \xef\xbf\xbd.mkv");
  g_assert_cmpstr (summary->error, ==, "it \"ends\" </script> at \xef\xbf\xbd");
  g_assert_cmpfloat (summary->seconds, ==, 10);
  g_assert_cmpuint (summary->frames, ==, 1);
  g_assert_cmpuint (summary->labels->len, ==, 2);
  g_assert_cmpuint (summary->bars->len, ==, 2);
  const VigBar *bar = &g_array_index (summary->bars, VigBar, 1);
  g_assert_cmpstr (g_quark_to_string (bar->label), ==, "</script>");
  g_assert_cmpfloat (bar->x0, ==, 0.6);
}

/* However long and odd its names are, the summary lies within the bytes that are read of a page. */
static void
test_long_summary (void)
{
  g_autofree char *name = g_strnfill (100000, '<');
  g_autoptr (VigLabelled) video = vig_labelled_new (name);
  video->error = g_strnfill (100000, '\1');
  video->duration = 1000 * GST_SECOND;
  for (guint i = 0; i < 1000; i++) {
    g_autofree char *label = g_strdup_printf ("%s%u", name + 98000 + i, i % 20);
    add_segment (video, i, i + 1, label);
  }
  g_autoptr (GString) page = vig_report_page (video, video->input, "/out/a.html");
  g_autoptr (GError) error = NULL;
  g_autoptr (VigSummary) summary = vig_summary_parse (page->str, MIN (page->len, VIG_SUMMARY_HEAD), &error);
  g_assert_no_error (error);
  g_assert_cmpuint (summary->labels->len, ==, VIG_PALETTE_SIZE);
}

#define HEAD "<script type=\"application/json\" id=\"vig-summary\">"

static void
test_bad_summaries (void)
{
  static const char *const none[] = { "", "<html>", HEAD, HEAD "{}", HEAD "{}</script>", HEAD "[1]</script>", HEAD "{\"version\": 1}</script>",
    HEAD "{\"version\": 2, \"name\": \"a\"}</script>", HEAD "{\"version\": [], \"name\": \"a\"}</script>", HEAD "{\"version\": 1, \"name\": {}}</script>",
    HEAD "</script>", HEAD "{\"version\": 1, \"name\": \"a\"</script>" };
  for (guint i = 0; i < G_N_ELEMENTS (none); i++) {
    g_autoptr (GError) error = NULL;
    g_assert_null (vig_summary_parse (none[i], strlen (none[i]), &error));
    g_assert_nonnull (error);
  }
  static const char odd[] = HEAD "{\"version\": 1, \"name\": \"a\", \"seconds\": \"x\", \"frames\": -3, \"error\": 5, \"labels\": [[\"a\", null], [1, 2]], "
      "\"bars\": [[0, 0.5, 0.4], [7, 0, 1], [-1, 0, 1e99], 5, [0, 0, 0.5], [0, 0]]}</script>";
  g_autoptr (VigSummary) summary = vig_summary_parse (odd, strlen (odd), NULL);
  g_assert_nonnull (summary);
  g_assert_cmpfloat (summary->seconds, ==, 0);
  g_assert_cmpuint (summary->frames, ==, 0);
  g_assert_null (summary->error);
  g_assert_cmpuint (summary->labels->len, ==, 1);
  g_assert_cmpuint (summary->bars->len, ==, 2);
}

int
main (int argc, char **argv)
{
  gst_init (&argc, &argv);
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/report/thumbs/spread", test_spread);
  g_test_add_func ("/report/thumbs/formats", test_formats);
  g_test_add_func ("/report/thumbs/orientations", test_orientations);
  g_test_add_func ("/report/thumbs/shapes", test_shapes);
  g_test_add_func ("/report/thumbs/crop", test_crop);
  g_test_add_func ("/report/thumbs/bad-frames", test_bad_frames);
  g_test_add_func ("/report/thumbs/change", test_change);
  g_test_add_func ("/report/curves/few", test_few_points);
  g_test_add_func ("/report/curves/many", test_many_points);
  g_test_add_func ("/report/curves/bars", test_bars);
  g_test_add_func ("/report/palette", test_palette);
  g_test_add_func ("/report/html/times", test_times);
  g_test_add_func ("/report/html/links", test_links);
  g_test_add_func ("/report/html/link-through-links", test_link_through_links);
  g_test_add_func ("/report/html/move", test_move);
  g_test_add_func ("/report/summary/round-trip", test_summary);
  g_test_add_func ("/report/summary/long", test_long_summary);
  g_test_add_func ("/report/summary/bad", test_bad_summaries);
  return g_test_run ();
}
