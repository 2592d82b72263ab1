/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef GST_VIG_FRAME_H
#define GST_VIG_FRAME_H

#include <gst/video/video.h>
#include <vig/frame.h>

G_BEGIN_DECLS

/**
 * GstVigFrame:
 *
 * A buffer's picture as the engine wants it described, for as long as it is mapped.
 */
typedef struct {
  GstVideoFrame map;
  VigFrame view;
} GstVigFrame;

/* FALSE with @error set (GST_STREAM_ERROR) for caps whose pictures cannot be described. */
gboolean gst_vig_frame_check_info (const GstVideoInfo *info, GError **error);

/**
 * gst_vig_frame_map:
 * @info: of the caps; has passed gst_vig_frame_check_info()
 * @flags: GST_MAP_READ, and in whose memory
 * @orientation: what turns the picture upright
 * @error: GST_STREAM_ERROR: the buffer cannot be mapped, contradicts its caps, or is smaller than they say
 *
 * Strides, offsets and size are those of the GstVideoMeta where there is one, and the part that counts that of the
 * GstVideoCropMeta. Nothing is copied. @buffer must outlive the mapping and stays the caller's.
 */
gboolean gst_vig_frame_map (GstVigFrame *frame, const GstVideoInfo *info, GstBuffer *buffer, GstMapFlags flags,
    VigOrientation orientation, GError **error);
void gst_vig_frame_unmap (GstVigFrame *frame);

/* GST_VIDEO_ORIENTATION_AUTO and CUSTOM give 0. */
VigOrientation gst_vig_orientation_from_method (GstVideoOrientationMethod method);
/* Of the value of GST_TAG_IMAGE_ORIENTATION; 0: no such orientation. */
VigOrientation gst_vig_orientation_from_tag (const char *value);

G_END_DECLS
#endif
