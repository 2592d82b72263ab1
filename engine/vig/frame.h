/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef VIG_FRAME_H
#define VIG_FRAME_H

#include <vig/error.h>

G_BEGIN_DECLS

/* Pixel formats, named and laid out as GStreamer's of the same name. Alpha and X are ignored. */
typedef enum {
  VIG_FORMAT_NV12, VIG_FORMAT_NV21, VIG_FORMAT_I420, VIG_FORMAT_YV12, VIG_FORMAT_Y42B, VIG_FORMAT_Y444,
  VIG_FORMAT_YUY2, VIG_FORMAT_UYVY, VIG_FORMAT_P010_10LE, VIG_FORMAT_I420_10LE,
  VIG_FORMAT_RGB, VIG_FORMAT_BGR,
  VIG_FORMAT_RGBA, VIG_FORMAT_BGRA, VIG_FORMAT_ARGB, VIG_FORMAT_ABGR,
  VIG_FORMAT_RGBx, VIG_FORMAT_BGRx, VIG_FORMAT_xRGB, VIG_FORMAT_xBGR,
  VIG_FORMAT_GRAY8,
  VIG_FORMAT_COUNT
} VigFormat;

typedef enum { VIG_MATRIX_BT601, VIG_MATRIX_BT709, VIG_MATRIX_BT2020 } VigMatrix;

/* Where chroma samples lie between luma samples (4:2:0 and 4:2:2). */
typedef enum {
  VIG_CHROMA_H_COSITED, /* horizontally on the even luma sample, vertically midway (MPEG-2, H.264 default) */
  VIG_CHROMA_CENTRE,    /* midway in both directions (JPEG, MPEG-1) */
  VIG_CHROMA_COSITED    /* on the even luma sample in both directions (top left) */
} VigChroma;

/* How the picture must be turned to stand upright, numbered as in EXIF and GStreamer's image-orientation tag:
 * 1 rotate-0, 2 flip-rotate-0, 3 rotate-180, 4 flip-rotate-180, 5 flip-rotate-270, 6 rotate-90, 7 flip-rotate-90,
 * 8 rotate-270. */
typedef guint VigOrientation;

/* Where planes are: in the host's memory, or in that of a CUDA device (its primary context's). */
typedef enum { VIG_MEMORY_HOST, VIG_MEMORY_CUDA } VigMemory;

/**
 * VigFrame:
 * @data: first byte of each plane; only read, only during the call
 * @stride: bytes from one row of a plane to the next; negative for pictures stored upside down
 * @crop_x: the part of the picture that counts, in luma samples; a width of 0 means all of it
 * @par_n: pixel aspect ratio; 0/0 means 1/1
 * @orientation: 0 means 1
 * @memory: where @data points to
 * @device: of VIG_MEMORY_CUDA: the device's number; must be that which computes, vig_engine_get_cuda()
 * @ready: (nullable): of VIG_MEMORY_CUDA: an event (CUevent or cudaEvent_t), already recorded, after which the planes may
 *   be read: the engine's stream waits for it, not its thread. NULL: they may be read now.
 *
 * A description of a picture in memory; nothing is copied and the memory stays the caller's.
 */
typedef struct {
  VigFormat format;
  int width, height;
  const guint8 *data[4];
  gssize stride[4];
  VigMatrix matrix;
  gboolean full_range;
  VigChroma chroma;
  int crop_x, crop_y, crop_width, crop_height;
  int par_n, par_d;
  VigOrientation orientation;
  VigMemory memory;
  int device;
  void *ready;
} VigFrame;

VIG_API const char *vig_format_to_string (VigFormat format); /* GStreamer's name of it */

/* Number of planes, and bytes that a row of @plane needs at least / rows of @plane for a picture of that size. */
VIG_API guint vig_format_get_n_planes (VigFormat format);
VIG_API gsize vig_format_get_row_bytes (VigFormat format, guint plane, int width);
VIG_API int vig_format_get_rows (VigFormat format, guint plane, int height);

G_END_DECLS
#endif
