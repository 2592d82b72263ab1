/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef GST_VIG_CAPS_H
#define GST_VIG_CAPS_H

#include <gst/video/video.h>

G_BEGIN_DECLS

/* The formats of VigFormat, for caps strings: those that decoders and cameras give first. */
#define GST_VIG_FORMATS \
  "{ NV12, I420, YV12, NV21, Y42B, Y444, YUY2, UYVY, P010_10LE, I420_10LE, RGB, BGR, RGBA, BGRA, ARGB, ABGR, " \
  "RGBx, BGRx, xRGB, xBGR, GRAY8 }"
/* Those that frames in CUDA memory may have. */
#define GST_VIG_CUDA_FORMATS \
  "{ NV12, I420, YV12, NV21, Y42B, Y444, YUY2, UYVY, P010_10LE, I420_10LE, RGB, BGR, RGBA, BGRA, ARGB, ABGR, RGBx, BGRx }"

#define GST_VIG_SYSTEM_CAPS GST_VIDEO_CAPS_MAKE (GST_VIG_FORMATS) "; " \
  GST_VIDEO_CAPS_MAKE_WITH_FEATURES (GST_CAPS_FEATURE_MEMORY_SYSTEM_MEMORY ", " \
      GST_CAPS_FEATURE_META_GST_VIDEO_OVERLAY_COMPOSITION, GST_VIG_FORMATS)
#ifdef HAVE_GST_CUDA
#define GST_VIG_CAPS GST_VIG_SYSTEM_CAPS "; " \
  GST_VIDEO_CAPS_MAKE_WITH_FEATURES ("memory:CUDAMemory", GST_VIG_CUDA_FORMATS) "; " \
  GST_VIDEO_CAPS_MAKE_WITH_FEATURES ("memory:CUDAMemory, " GST_CAPS_FEATURE_META_GST_VIDEO_OVERLAY_COMPOSITION, \
      GST_VIG_CUDA_FORMATS)
#else
#define GST_VIG_CAPS GST_VIG_SYSTEM_CAPS
#endif

/**
 * gst_vig_caps_parse:
 * @cuda: frames may be in CUDA memory
 * @error: GST_STREAM_ERROR: a sentence that says what to do
 *
 * FALSE for caps of which no frame could be described.
 */
gboolean gst_vig_caps_parse (const GstCaps *caps, gboolean cuda, GstVideoInfo *info, GError **error);

/* Whether all of @caps is video in CUDA memory. */
gboolean gst_vig_caps_are_cuda (const GstCaps *caps);

/* Of @caps (transfer full) those that can be worked with: with @cuda all, CUDA memory first, else those without it. */
GstCaps *gst_vig_caps_choose (GstCaps *caps, gboolean cuda);

G_END_DECLS
#endif
