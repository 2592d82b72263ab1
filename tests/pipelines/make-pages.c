/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Writes the pages, sheets and index that test_report.py opens in a browser, from results made up here: make-pages FOLDER
 *   plain.html      FOLDER/plain film.webm: 100 frames of 25 a second, three labels, overlapping segments
 *   hostile.html    a name and labels that would break out of HTML and JSON, not UTF-8, cut by an error that would too; no such file
 *   few.html        5 frames, an upright picture
 *   long.html       50,000 frames, 3,000 segments, 40 labels
 *   nothing.html    an input that could not be read at all
 *   stream.html     rtsp://, which no browser plays
 */
#include <gst/video/video.h>
#include <math.h>

#include "label/report.h"
#include "label/sheet.h"
#include "label/thumbs.h"

static const char *folder;

/* A picture that can be told from others: a grey of its own, a white mark at the upper left. */
static GstBuffer *
draw_frame (const GstVideoInfo *info, guint n)
{
  GstBuffer *buffer = gst_buffer_new_allocate (NULL, GST_VIDEO_INFO_SIZE (info), NULL);
  GstVideoFrame frame;
  if (!gst_video_frame_map (&frame, info, buffer, GST_MAP_WRITE))
    g_error ("a frame cannot be mapped");
  guint8 *pixels = GST_VIDEO_FRAME_PLANE_DATA (&frame, 0);
  for (int y = 0; y < info->height; y++)
    for (int x = 0; x < info->width; x++)
      for (int c = 0; c < 3; c++)
        pixels[y * GST_VIDEO_FRAME_PLANE_STRIDE (&frame, 0) + 3 * x + c] =
            x < info->width / 4 && y < info->height / 4 ? 255 : (guint8) (40 + (n * (guint) (c + 1) + (guint) x / 4) % 150);
  gst_video_frame_unmap (&frame);
  return buffer;
}

typedef struct {
  const char *input, *page;
  guint frames, fps, labels;
  int width, height;
  const char *const *names; /* or NULL: made up */
} Film;

static GQuark
label_of (const Film *film, guint l)
{
  if (film->names)
    return g_quark_from_static_string (film->names[l]);
  g_autofree char *name = g_strdup_printf ("label %u", l);
  return g_quark_from_string (name);
}

static void
add_frame (VigLabelled *video, const Film *film, guint i)
{
  VigLabelledFrame frame = { i * GST_SECOND / film->fps, g_array_new (FALSE, FALSE, sizeof (VigScore)) };
  guint best = i / 17 % film->labels;
  double top = 0.55 + 0.4 * sin (i * 0.31);
  for (guint k = 0; k < MIN (film->labels, 3); k++) {
    VigScore score = { label_of (film, (best + k) % film->labels), CLAMP (top / (1 << 2 * k), 0.01, 0.99) };
    g_array_append_val (frame.scores, score);
  }
  g_array_append_val (video->frames, frame);
}

static void
add_segments (VigLabelled *video, const Film *film)
{
  for (guint i = 0; i + 17 <= film->frames; i += 17) {
    VigLabelledSegment segment = { i * GST_SECOND / film->fps, (i + 20) * GST_SECOND / film->fps, label_of (film, i / 17 % film->labels), 0.7, 0.95 };
    segment.end = MIN (segment.end, video->duration);
    g_array_append_val (video->segments, segment);
  }
}

static VigLabelled *
make_up (const Film *film)
{
  VigLabelled *video = vig_labelled_new (film->input);
  video->model = g_strdup ("camera-health");
  video->model_hash = g_strdup ("0123456789abcdef0123456789abcdef");
  video->created = g_strdup ("2026-03-29T01:59:59Z");
  video->width = film->width;
  video->height = film->height;
  video->duration = film->frames * GST_SECOND / MAX (film->fps, 1);
  g_autoptr (VigThumbs) thumbs = vig_thumbs_new (video->thumbnails);
  GstVideoInfo info;
  gst_video_info_set_format (&info, GST_VIDEO_FORMAT_RGB, (guint) MAX (film->width, 8), (guint) MAX (film->height, 8));
  for (guint i = 0; i < film->frames; i++) {
    add_frame (video, film, i);
    GstBuffer *buffer = draw_frame (&info, i);
    vig_thumbs_frame (thumbs, buffer, &info, i * GST_SECOND / film->fps);
    gst_buffer_unref (buffer);
  }
  add_segments (video, film);
  return video;
}

static char *
in_folder (const char *name, const char *ending)
{
  g_autofree char *file = g_strconcat (name, ending, NULL);
  return g_build_filename (folder, file, NULL);
}

static void
write_out (const VigLabelled *video, const char *name)
{
  g_autofree char *page = in_folder (name, ".html"), *sheet = in_folder (name, ".png");
  g_autoptr (GError) error = NULL;
  g_autoptr (GString) html = vig_report_page (video, video->input, page);
  g_autoptr (GBytes) png = vig_sheet_draw (video);
  if (!g_file_set_contents (page, html->str, (gssize) html->len, &error)
      || !g_file_set_contents (sheet, g_bytes_get_data (png, NULL), (gssize) g_bytes_get_size (png), &error))
    g_error ("%s", error->message);
}

int
main (int argc, char **argv)
{
  gst_init (&argc, &argv);
  if (argc != 2)
    return 2;
  folder = argv[1];
  static const char *const plain[] = { "normal", "covered", "defocused" };
  static const char *const hostile[] = { "</script><script>alert(1)</script>", "\"'><img src=x onerror=alert(2)>&amp;", "<!-- \xff\xfe" };
  g_autofree char *film = in_folder ("plain film", ".webm");
  const Film films[] = {
    { film, "plain", 100, 25, 3, 320, 240, plain },
    { "no/such/<b>film</b> & \"co\" 'x' \xe9\xff #1?100%.mkv", "hostile", 60, 25, 3, 320, 180, hostile },
    { "few.mkv", "few", 5, 25, 2, 90, 160, NULL },
    { "long.mkv", "long", 50000, 25, 40, 64, 36, NULL },
    { "/videos/nothing.mkv", "nothing", 0, 0, 1, 0, 0, NULL },
    { "rtsp://camera/stream", "stream", 40, 10, 2, 160, 90, NULL },
  };
  g_autoptr (GPtrArray) pages = g_ptr_array_new_with_free_func (g_free);
  for (guint i = 0; i < G_N_ELEMENTS (films); i++) {
    g_autoptr (VigLabelled) video = make_up (&films[i]);
    if (films[i].names == hostile)
      video->error = g_strdup ("it ends at <script>alert(3)</script> \xfe");
    if (films[i].frames == 0)
      video->error = g_strdup ("expected a video, found an empty file");
    write_out (video, films[i].page);
    g_ptr_array_add (pages, in_folder (films[i].page, ".html"));
  }
  g_ptr_array_add (pages, in_folder ("gone", ".html"));
  g_autofree char *index = in_folder ("index", ".html");
  g_autoptr (GString) html = vig_report_index (pages, index);
  g_autoptr (GError) error = NULL;
  if (!g_file_set_contents (index, html->str, (gssize) html->len, &error))
    g_error ("%s", error->message);
  return 0;
}
