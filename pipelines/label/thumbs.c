/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Keeps every 2^k-th frame. When there are VIG_THUMBS_MAX pictures every second one is dropped and k grows: a video of n frames
 * has had about VIG_THUMBS_MAX + VIG_THUMBS_MAX / 2 * log2 (n / VIG_THUMBS_MAX) of them converted, 600 in an hour.
 * It counts frames, not time: a broken file's leaps in time would leave the strip with two pictures.
 */
#include "thumbs.h"

#include <gdk-pixbuf/gdk-pixbuf.h>

#define JPEG_QUALITY "78"

struct _VigThumbs {
  GstVideoOrientationMethod orientation;
  GArray *kept;
  guint64 seen, step; /* frames */
  GstVideoConverter *converter; /* for the three that follow; NULL: none */
  GstVideoInfo from, to;
  GstVideoRectangle crop;
};

VigThumbs *
vig_thumbs_new (GArray *into)
{
  VigThumbs *thumbs = g_new0 (VigThumbs, 1);
  thumbs->kept = g_array_ref (into);
  thumbs->step = 1;
  return thumbs;
}

void
vig_thumbs_free (VigThumbs *thumbs)
{
  g_clear_pointer (&thumbs->converter, gst_video_converter_free);
  g_array_unref (thumbs->kept);
  g_free (thumbs);
}

void
vig_thumbs_set_orientation (VigThumbs *thumbs, GstVideoOrientationMethod method)
{
  thumbs->orientation = method;
}

/* The size as shown, before it is turned, made to fit; a thread of a picture still has a few pixels. */
static void
thumbnail_size (const GstVideoInfo *info, const GstVideoRectangle *crop, int *width, int *height)
{
  double w = (double) crop->w * MAX (info->par_n, 1) / MAX (info->par_d, 1), h = crop->h;
  double scale = MIN (1, VIG_THUMBS_SIDE / MAX (w, h));
  *width = CLAMP ((int) (w * scale + 0.5), 8, VIG_THUMBS_SIDE);
  *height = CLAMP ((int) (h * scale + 0.5), 8, VIG_THUMBS_SIDE);
}

static GstVideoRectangle
visible_part (GstBuffer *buffer, const GstVideoInfo *info)
{
  GstVideoRectangle all = { 0, 0, info->width, info->height };
  const GstVideoCropMeta *meta = gst_buffer_get_video_crop_meta (buffer);
  if (!meta || meta->width == 0 || meta->height == 0 || meta->x >= (guint) all.w || meta->y >= (guint) all.h)
    return all;
  return (GstVideoRectangle) { (int) meta->x, (int) meta->y, (int) MIN (meta->width, all.w - meta->x),
    (int) MIN (meta->height, all.h - meta->y) };
}

static gboolean
prepare_converter (VigThumbs *thumbs, GstBuffer *buffer, const GstVideoInfo *info)
{
  /* As one whole picture of no rate: the converter demands that these are the same. At this size nobody sees the combs. */
  GstVideoInfo from = *info;
  from.fps_n = 0;
  from.fps_d = 1;
  from.interlace_mode = GST_VIDEO_INTERLACE_MODE_PROGRESSIVE;
  GstVideoRectangle crop = visible_part (buffer, info);
  if (thumbs->converter && gst_video_info_is_equal (&from, &thumbs->from) && memcmp (&crop, &thumbs->crop, sizeof crop) == 0)
    return TRUE;

  g_clear_pointer (&thumbs->converter, gst_video_converter_free);
  int width, height;
  thumbnail_size (info, &crop, &width, &height);
  thumbs->from = from;
  thumbs->crop = crop;
  gst_video_info_set_format (&thumbs->to, GST_VIDEO_FORMAT_RGB, (guint) width, (guint) height);
  thumbs->converter = gst_video_converter_new (&thumbs->from, &thumbs->to,
      gst_structure_new ("options",
          GST_VIDEO_CONVERTER_OPT_RESAMPLER_METHOD, GST_TYPE_VIDEO_RESAMPLER_METHOD, GST_VIDEO_RESAMPLER_METHOD_LINEAR,
          GST_VIDEO_CONVERTER_OPT_SRC_X, G_TYPE_INT, crop.x, GST_VIDEO_CONVERTER_OPT_SRC_Y, G_TYPE_INT, crop.y,
          GST_VIDEO_CONVERTER_OPT_SRC_WIDTH, G_TYPE_INT, crop.w, GST_VIDEO_CONVERTER_OPT_SRC_HEIGHT, G_TYPE_INT, crop.h, NULL));
  return thumbs->converter != NULL;
}

/* (nullable) (transfer full): the frame as a small RGB picture, as it is stored. */
static GdkPixbuf *
convert (VigThumbs *thumbs, GstBuffer *buffer, const GstVideoInfo *info)
{
  /* gst_video_frame_map() takes a contradiction between caps and meta for a programming error: look first */
  const GstVideoMeta *meta = gst_buffer_get_video_meta (buffer);
  if (meta && (meta->format != GST_VIDEO_INFO_FORMAT (info) || meta->width < (guint) info->width || meta->height < (guint) info->height))
    return NULL;
  GstVideoFrame from, to;
  if (!prepare_converter (thumbs, buffer, info) || !gst_video_frame_map (&from, &thumbs->from, buffer, GST_MAP_READ))
    return NULL;
  GstBuffer *small = gst_buffer_new_allocate (NULL, GST_VIDEO_INFO_SIZE (&thumbs->to), NULL);
  GdkPixbuf *picture = NULL;
  if (gst_video_frame_map (&to, &thumbs->to, small, GST_MAP_READWRITE)) {
    gst_video_converter_frame (thumbs->converter, &from, &to);
    g_autoptr (GdkPixbuf) view = gdk_pixbuf_new_from_data (GST_VIDEO_FRAME_PLANE_DATA (&to, 0), GDK_COLORSPACE_RGB, FALSE, 8,
        GST_VIDEO_FRAME_WIDTH (&to), GST_VIDEO_FRAME_HEIGHT (&to), GST_VIDEO_FRAME_PLANE_STRIDE (&to, 0), NULL, NULL);
    picture = gdk_pixbuf_copy (view);
    gst_video_frame_unmap (&to);
  }
  gst_buffer_unref (small);
  gst_video_frame_unmap (&from);
  return picture;
}

/* (transfer full): takes `picture`. */
static GdkPixbuf *
turn (GdkPixbuf *picture, GstVideoOrientationMethod orientation)
{
  static const struct {
    GdkPixbufRotation rotation;
    int mirror; /* 1: left and right are exchanged afterwards; 2: top and bottom */
  } turns[] = {
    [GST_VIDEO_ORIENTATION_90R] = { GDK_PIXBUF_ROTATE_CLOCKWISE, 0 },
    [GST_VIDEO_ORIENTATION_180] = { GDK_PIXBUF_ROTATE_UPSIDEDOWN, 0 },
    [GST_VIDEO_ORIENTATION_90L] = { GDK_PIXBUF_ROTATE_COUNTERCLOCKWISE, 0 },
    [GST_VIDEO_ORIENTATION_HORIZ] = { GDK_PIXBUF_ROTATE_NONE, 1 },
    [GST_VIDEO_ORIENTATION_VERT] = { GDK_PIXBUF_ROTATE_NONE, 2 },
    [GST_VIDEO_ORIENTATION_UL_LR] = { GDK_PIXBUF_ROTATE_CLOCKWISE, 1 },
    [GST_VIDEO_ORIENTATION_UR_LL] = { GDK_PIXBUF_ROTATE_CLOCKWISE, 2 },
  };
  if ((guint) orientation >= G_N_ELEMENTS (turns))
    return picture;
  if (turns[orientation].rotation != GDK_PIXBUF_ROTATE_NONE) {
    GdkPixbuf *turned = gdk_pixbuf_rotate_simple (picture, turns[orientation].rotation);
    g_object_unref (picture);
    picture = turned;
  }
  if (turns[orientation].mirror) {
    GdkPixbuf *mirrored = gdk_pixbuf_flip (picture, turns[orientation].mirror == 1);
    g_object_unref (picture);
    picture = mirrored;
  }
  return picture;
}

static void
keep (VigThumbs *thumbs, GdkPixbuf *picture, GstClockTime time)
{
  char *data;
  gsize size;
  if (!gdk_pixbuf_save_to_buffer (picture, &data, &size, "jpeg", NULL, "quality", JPEG_QUALITY, NULL))
    return;
  VigThumbnail thumbnail = { time, gdk_pixbuf_get_width (picture), gdk_pixbuf_get_height (picture), g_bytes_new_take (data, size) };
  guint place = thumbs->kept->len; /* times mostly rise */
  while (place > 0 && g_array_index (thumbs->kept, VigThumbnail, place - 1).time > time)
    place--;
  g_array_insert_val (thumbs->kept, place, thumbnail);
  if (thumbs->kept->len < VIG_THUMBS_MAX)
    return;
  for (guint i = 1; i < thumbs->kept->len; i++)
    g_array_remove_index (thumbs->kept, i); /* every second: what came behind it has moved up */
  thumbs->step *= 2;
}

void
vig_thumbs_frame (VigThumbs *thumbs, GstBuffer *buffer, const GstVideoInfo *info, GstClockTime time)
{
  if (thumbs->seen++ % thumbs->step != 0 || !GST_CLOCK_TIME_IS_VALID (time))
    return;
  g_autoptr (GdkPixbuf) picture = convert (thumbs, buffer, info);
  if (!picture)
    return;
  picture = turn (picture, thumbs->orientation);
  keep (thumbs, picture, time);
}
