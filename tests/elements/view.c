/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the engine is told about a picture: caps and metas on the left, fields of VigFrame on the right. */
#include "gstvigframe.h"

typedef struct {
  const char *caps; /* after video/x-raw,width=64,height=48,framerate=25/1, */
  VigFormat format;
  VigMatrix matrix;
  gboolean full_range;
  VigChroma chroma;
  int par_n, par_d;
} Row;

static const Row rows[] = {
  { "format=NV12", VIG_FORMAT_NV12, VIG_MATRIX_BT601, FALSE, VIG_CHROMA_CENTRE, 1, 1 },
  { "format=I420,colorimetry=bt601", VIG_FORMAT_I420, VIG_MATRIX_BT601, FALSE, VIG_CHROMA_CENTRE, 1, 1 },
  { "format=I420,colorimetry=bt709", VIG_FORMAT_I420, VIG_MATRIX_BT709, FALSE, VIG_CHROMA_CENTRE, 1, 1 },
  { "format=I420,colorimetry=bt2020", VIG_FORMAT_I420, VIG_MATRIX_BT2020, FALSE, VIG_CHROMA_CENTRE, 1, 1 },
  { "format=P010_10LE,colorimetry=bt2100-pq", VIG_FORMAT_P010_10LE, VIG_MATRIX_BT2020, FALSE, VIG_CHROMA_CENTRE, 1, 1 },
  { "format=I420,colorimetry=smpte240m", VIG_FORMAT_I420, VIG_MATRIX_BT709, FALSE, VIG_CHROMA_CENTRE, 1, 1 },
  { "format=I420,colorimetry=1:4:0:0", VIG_FORMAT_I420, VIG_MATRIX_BT601, TRUE, VIG_CHROMA_CENTRE, 1, 1 },
  { "format=I420,colorimetry=1:3:5:1", VIG_FORMAT_I420, VIG_MATRIX_BT709, TRUE, VIG_CHROMA_CENTRE, 1, 1 },
  { "format=I420,colorimetry=2:0:0:0", VIG_FORMAT_I420, VIG_MATRIX_BT601, FALSE, VIG_CHROMA_CENTRE, 1, 1 },
  { "format=I420,chroma-site=mpeg2", VIG_FORMAT_I420, VIG_MATRIX_BT601, FALSE, VIG_CHROMA_H_COSITED, 1, 1 },
  { "format=I420,chroma-site=jpeg", VIG_FORMAT_I420, VIG_MATRIX_BT601, FALSE, VIG_CHROMA_CENTRE, 1, 1 },
  { "format=I420,chroma-site=cosited", VIG_FORMAT_I420, VIG_MATRIX_BT601, FALSE, VIG_CHROMA_COSITED, 1, 1 },
  { "format=YUY2,pixel-aspect-ratio=16/11", VIG_FORMAT_YUY2, VIG_MATRIX_BT601, FALSE, VIG_CHROMA_CENTRE, 16, 11 },
  { "format=xRGB", VIG_FORMAT_xRGB, VIG_MATRIX_BT601, TRUE, VIG_CHROMA_CENTRE, 1, 1 },
  { "format=GRAY8,colorimetry=1:4:0:0", VIG_FORMAT_GRAY8, VIG_MATRIX_BT601, TRUE, VIG_CHROMA_CENTRE, 1, 1 },
};

static void
info_of (const char *more, int width, int height, GstVideoInfo *info)
{
  g_autofree char *string = g_strdup_printf ("video/x-raw,width=%d,height=%d,framerate=25/1,%s", width, height, more);
  g_autoptr (GstCaps) caps = gst_caps_from_string (string);
  g_assert_true (gst_video_info_from_caps (info, caps));
}

static void
test_caps (gconstpointer data)
{
  const Row *row = data;
  GstVideoInfo info;
  info_of (row->caps, 64, 48, &info);
  g_autoptr (GError) error = NULL;
  g_assert_true (gst_vig_frame_check_info (&info, &error));
  g_autoptr (GstBuffer) buffer = gst_buffer_new_allocate (NULL, info.size, NULL);
  GstVigFrame frame;
  g_assert_true (gst_vig_frame_map (&frame, &info, buffer, GST_MAP_READ, 6, &error));
  g_assert_no_error (error);
  const VigFrame *v = &frame.view;
  g_assert_cmpint (v->format, ==, row->format);
  g_assert_cmpint (v->width, ==, 64);
  g_assert_cmpint (v->height, ==, 48);
  if (GST_VIDEO_INFO_IS_YUV (&info)) {
    g_assert_cmpint (v->matrix, ==, row->matrix);
    g_assert_cmpint (v->chroma, ==, row->chroma);
  }
  g_assert_cmpint (v->full_range, ==, row->full_range);
  g_assert_cmpint (v->par_n, ==, row->par_n);
  g_assert_cmpint (v->par_d, ==, row->par_d);
  g_assert_cmpuint (v->orientation, ==, 6);
  g_assert_cmpint (v->crop_width, ==, 0);
  for (guint p = 0; p < vig_format_get_n_planes (v->format); p++) {
    g_assert_cmpint (v->stride[p], ==, GST_VIDEO_INFO_PLANE_STRIDE (&info, p));
    g_assert_cmpint (v->data[p] - v->data[0], ==, GST_VIDEO_INFO_PLANE_OFFSET (&info, p));
  }
  gst_vig_frame_unmap (&frame);
}

/* What the caps leave open follows the height, as everywhere in GStreamer. */
static void
test_defaults (void)
{
  const struct { int height; VigMatrix matrix; VigChroma chroma; } sizes[] = {
    { 480, VIG_MATRIX_BT601, VIG_CHROMA_CENTRE }, { 576, VIG_MATRIX_BT601, VIG_CHROMA_CENTRE },
    { 577, VIG_MATRIX_BT709, VIG_CHROMA_H_COSITED }, { 1080, VIG_MATRIX_BT709, VIG_CHROMA_H_COSITED } };
  for (guint i = 0; i < G_N_ELEMENTS (sizes); i++) {
    GstVideoInfo info;
    info_of ("format=NV12", sizes[i].height * 16 / 9, sizes[i].height, &info);
    g_autoptr (GstBuffer) buffer = gst_buffer_new_allocate (NULL, info.size, NULL);
    GstVigFrame frame;
    g_assert_true (gst_vig_frame_map (&frame, &info, buffer, GST_MAP_READ, 0, NULL));
    g_assert_cmpint (frame.view.matrix, ==, sizes[i].matrix);
    g_assert_cmpint (frame.view.chroma, ==, sizes[i].chroma);
    gst_vig_frame_unmap (&frame);
  }
}

int
main (int argc, char **argv)
{
  gst_init (&argc, &argv);
  g_test_init (&argc, &argv, NULL);
  for (guint i = 0; i < G_N_ELEMENTS (rows); i++) {
    g_autofree char *name = g_strdup_printf ("/view/%s", rows[i].caps);
    g_strdelimit (name + 6, "/:", '-');
    g_test_add_data_func (name, &rows[i], test_caps);
  }
  g_test_add_func ("/view/defaults", test_defaults);
  return g_test_run ();
}
