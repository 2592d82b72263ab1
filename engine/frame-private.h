/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef VIG_FRAME_PRIVATE_H
#define VIG_FRAME_PRIVATE_H

#include <kernels.h>
#include <preprocess-config.h>
#include <vig/frame.h>

/* Bounds of what is accepted: they keep every product of sizes in range, and tap tables and scratch memory bounded by
 * a few times one row or column of the picture. */
enum {
  VIG_FRAME_MAX_SIDE = 65535,    /* of a picture, pixels */
  VIG_FRAME_MAX_INPUT = 16384,   /* of the square input, pixels */
  VIG_FRAME_MAX_RESIZED = 1 << 24, /* the longer side once resized; only the window is ever computed */
  VIG_FRAME_MAX_PAR = 100        /* pixels may be this much wider than high, or higher than wide */
};

/**
 * vig_frame_describe:
 * @size: side of the square input, pixels; 0: what @config says
 * @desc: (out): zeroed first, so that frames which need the same work have descs that memcmp() equal
 * @planes: (out): where this frame's samples are; the memory stays the caller's
 * @error: VIG_ERROR_ARGUMENT: the field, what was expected, what was found
 *
 * Checks everything about @frame that can be checked and turns it into what the preprocess kernels take. The geometry
 * is the official evaluation transform's, of the picture as it is displayed: cropped, stretched by its pixel aspect
 * ratio and turned upright. Any thread.
 */
gboolean vig_frame_describe (const VigFrame *frame, const VigPreprocessConfig *config, guint size,
    VigPreprocessDesc *desc, VigPlanes *planes, GError **error);

#endif
