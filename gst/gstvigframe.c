/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "gstvigframe.h"

#include "gstvigcaps.h"

static gboolean
format_from_video (GstVideoFormat video, VigFormat *format)
{
  const char *name = gst_video_format_to_string (video);
  for (int f = 0; f < VIG_FORMAT_COUNT; f++) {
    if (g_str_equal (name, vig_format_to_string ((VigFormat) f))) {
      *format = (VigFormat) f;
      return TRUE;
    }
  }
  return FALSE;
}

gboolean
gst_vig_frame_check_info (const GstVideoInfo *info, GError **error)
{
  VigFormat format;
  GstVideoInterlaceMode mode = GST_VIDEO_INFO_INTERLACE_MODE (info);
  if (mode == GST_VIDEO_INTERLACE_MODE_ALTERNATE || mode == GST_VIDEO_INTERLACE_MODE_FIELDS) {
    g_set_error (error, GST_STREAM_ERROR, GST_STREAM_ERROR_FORMAT,
        "Each buffer must hold a whole picture, but the caps say interlace-mode=%s, one field at a time: put a "
        "deinterlace element in front of vigclassify.", gst_video_interlace_mode_to_string (mode));
    return FALSE;
  }
  if (!format_from_video (GST_VIDEO_INFO_FORMAT (info), &format)) {
    g_set_error (error, GST_STREAM_ERROR, GST_STREAM_ERROR_FORMAT,
        "The caps must have one of the formats %s, found %s: put a videoconvert element in front of vigclassify.",
        GST_VIG_FORMATS, gst_video_format_to_string (GST_VIDEO_INFO_FORMAT (info)));
    return FALSE;
  }
  return TRUE;
}

static VigMatrix
matrix_from_info (const GstVideoInfo *info)
{
  switch (info->colorimetry.matrix) {
    case GST_VIDEO_COLOR_MATRIX_BT2020:
      return VIG_MATRIX_BT2020;
    case GST_VIDEO_COLOR_MATRIX_BT709:
    case GST_VIDEO_COLOR_MATRIX_SMPTE240M: /* differs from it by less than a step of 8 bits for most colours */
      return VIG_MATRIX_BT709;
    case GST_VIDEO_COLOR_MATRIX_BT601:
    case GST_VIDEO_COLOR_MATRIX_FCC:
      return VIG_MATRIX_BT601;
    default: /* not said: what GStreamer itself assumes for a picture of this height */
      return info->height > 576 ? VIG_MATRIX_BT709 : VIG_MATRIX_BT601;
  }
}

static VigChroma
chroma_from_info (const GstVideoInfo *info)
{
  GstVideoChromaSite site = info->chroma_site;
  if (site == GST_VIDEO_CHROMA_SITE_UNKNOWN)
    return VIG_CHROMA_H_COSITED;
  if (!(site & GST_VIDEO_CHROMA_SITE_H_COSITED))
    return VIG_CHROMA_CENTRE;
  return site & GST_VIDEO_CHROMA_SITE_V_COSITED ? VIG_CHROMA_COSITED : VIG_CHROMA_H_COSITED;
}

/* gst_video_frame_map() takes a contradiction between caps and meta for a programming error: look first. */
static gboolean
check_meta (const GstVideoInfo *info, const GstVideoMeta *meta, GError **error)
{
  if (meta->format == GST_VIDEO_INFO_FORMAT (info) && meta->width >= (guint) info->width
      && meta->height >= (guint) info->height)
    return TRUE;
  g_set_error (error, GST_STREAM_ERROR, GST_STREAM_ERROR_FORMAT,
      "The caps say %s %dx%d, but the buffer's GstVideoMeta says %s %ux%u.",
      gst_video_format_to_string (GST_VIDEO_INFO_FORMAT (info)), info->width, info->height,
      gst_video_format_to_string (meta->format), meta->width, meta->height);
  return FALSE;
}

/* All rows of every plane must lie in the memory that is mapped for it. */
static gboolean
check_planes (const GstVigFrame *frame, gboolean has_meta, GError **error)
{
  const VigFrame *v = &frame->view;
  for (guint p = 0; p < vig_format_get_n_planes (v->format); p++) {
    const GstMapInfo *map = &frame->map.map[has_meta ? p : 0];
    gssize rows = vig_format_get_rows (v->format, p, v->height);
    gssize row_bytes = (gssize) vig_format_get_row_bytes (v->format, p, v->width);
    gssize span = (rows - 1) * v->stride[p];
    gssize start = v->data[p] - map->data;
    gssize first = start + MIN (span, 0), last = start + MAX (span, 0) + row_bytes;
    if (ABS (v->stride[p]) < row_bytes && rows > 1) {
      g_set_error (error, GST_STREAM_ERROR, GST_STREAM_ERROR_FORMAT,
          "Plane %u of a %s picture %d wide needs rows of %" G_GSSIZE_FORMAT " bytes, found a stride of %"
          G_GSSIZE_FORMAT ".", p, vig_format_to_string (v->format), v->width, row_bytes, v->stride[p]);
      return FALSE;
    }
    if (first < 0 || last > (gssize) map->size) {
      g_set_error (error, GST_STREAM_ERROR, GST_STREAM_ERROR_FORMAT,
          "Plane %u of a %s %dx%d picture needs bytes %" G_GSSIZE_FORMAT " to %" G_GSSIZE_FORMAT
          " of its memory, found only %" G_GSIZE_FORMAT " bytes.", p, vig_format_to_string (v->format), v->width,
          v->height, first, last, map->size);
      return FALSE;
    }
  }
  return TRUE;
}

/* The part of the picture that counts: that of the crop meta, else what the caps say of a larger picture. */
static gboolean
set_crop (VigFrame *view, const GstVideoInfo *info, GstBuffer *buffer, GError **error)
{
  GstVideoCropMeta *crop = gst_buffer_get_video_crop_meta (buffer);
  if (crop) {
    if (crop->width == 0 || crop->height == 0 || (guint64) crop->x + crop->width > (guint) view->width
        || (guint64) crop->y + crop->height > (guint) view->height) {
      g_set_error (error, GST_STREAM_ERROR, GST_STREAM_ERROR_FORMAT,
          "The GstVideoCropMeta must lie in the picture of %dx%d, found %ux%u at %u,%u.", view->width, view->height,
          crop->width, crop->height, crop->x, crop->y);
      return FALSE;
    }
    view->crop_x = (int) crop->x;
    view->crop_y = (int) crop->y;
    view->crop_width = (int) crop->width;
    view->crop_height = (int) crop->height;
  } else if (view->width != info->width || view->height != info->height) {
    view->crop_width = info->width;
    view->crop_height = info->height;
  }
  return TRUE;
}

gboolean
gst_vig_frame_map (GstVigFrame *frame, const GstVideoInfo *info, GstBuffer *buffer, GstMapFlags flags,
    VigOrientation orientation, GError **error)
{
  GstVideoMeta *meta = gst_buffer_get_video_meta (buffer);
  if (meta && !check_meta (info, meta, error))
    return FALSE;
  if (!meta && gst_buffer_get_size (buffer) < info->size) {
    g_set_error (error, GST_STREAM_ERROR, GST_STREAM_ERROR_FORMAT,
        "A %s %dx%d picture takes %" G_GSIZE_FORMAT " bytes, found a buffer of %" G_GSIZE_FORMAT " bytes.",
        gst_video_format_to_string (GST_VIDEO_INFO_FORMAT (info)), info->width, info->height, info->size,
        gst_buffer_get_size (buffer));
    return FALSE;
  }
  GstVideoInfo map_info = *info;
  if (!gst_video_frame_map (&frame->map, &map_info, buffer, flags | GST_VIDEO_FRAME_MAP_FLAG_NO_REF)) {
    g_set_error (error, GST_STREAM_ERROR, GST_STREAM_ERROR_FAILED,
        "The buffer's memory must be readable by %s, but mapping it failed (see the README for what to put in "
        "front for DMABuf, GL and VA memory).", flags == GST_MAP_READ ? "the CPU" : "the GPU");
    return FALSE;
  }

  VigFrame *v = &frame->view;
  *v = (VigFrame) {
    .width = GST_VIDEO_FRAME_WIDTH (&frame->map),
    .height = GST_VIDEO_FRAME_HEIGHT (&frame->map),
    .matrix = matrix_from_info (info),
    .full_range = info->colorimetry.range == GST_VIDEO_COLOR_RANGE_0_255,
    .chroma = chroma_from_info (info),
    .par_n = GST_VIDEO_INFO_PAR_N (info),
    .par_d = GST_VIDEO_INFO_PAR_D (info),
    .orientation = orientation,
  };
  format_from_video (GST_VIDEO_INFO_FORMAT (info), &v->format);
  for (guint p = 0; p < GST_VIDEO_FRAME_N_PLANES (&frame->map); p++) {
    v->data[p] = GST_VIDEO_FRAME_PLANE_DATA (&frame->map, p);
    v->stride[p] = GST_VIDEO_FRAME_PLANE_STRIDE (&frame->map, p);
  }
  if (!check_planes (frame, meta != NULL, error) || !set_crop (v, info, buffer, error)) {
    gst_vig_frame_unmap (frame);
    return FALSE;
  }
  return TRUE;
}

void
gst_vig_frame_unmap (GstVigFrame *frame)
{
  gst_video_frame_unmap (&frame->map);
}

VigOrientation
gst_vig_orientation_from_method (GstVideoOrientationMethod method)
{
  static const VigOrientation orientations[] = {
    [GST_VIDEO_ORIENTATION_IDENTITY] = 1, [GST_VIDEO_ORIENTATION_90R] = 6, [GST_VIDEO_ORIENTATION_180] = 3,
    [GST_VIDEO_ORIENTATION_90L] = 8, [GST_VIDEO_ORIENTATION_HORIZ] = 2, [GST_VIDEO_ORIENTATION_VERT] = 4,
    [GST_VIDEO_ORIENTATION_UL_LR] = 5, [GST_VIDEO_ORIENTATION_UR_LL] = 7,
  };
  return method < G_N_ELEMENTS (orientations) ? orientations[method] : 0;
}

VigOrientation
gst_vig_orientation_from_tag (const char *value)
{
  /* in the order of EXIF's numbers */
  static const char *const values[] = { "rotate-0", "flip-rotate-0", "rotate-180", "flip-rotate-180",
    "flip-rotate-270", "rotate-90", "flip-rotate-90", "rotate-270" };
  for (guint i = 0; i < G_N_ELEMENTS (values); i++)
    if (g_str_equal (value, values[i]))
      return i + 1;
  return 0;
}
