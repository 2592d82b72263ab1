/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Small pictures of a video, taken while its frames go by: few, evenly spread, whatever its length. */
#ifndef VIG_THUMBS_H
#define VIG_THUMBS_H

#include <gst/video/video.h>

#include "labelled.h"

/* At most this many are kept; at least half as many as soon as that many frames have gone by. */
#define VIG_THUMBS_MAX 64
/* The longer side, in pixels. */
#define VIG_THUMBS_SIDE 256

/* Not locked: used by one thread at a time. */
typedef struct _VigThumbs VigThumbs;

/* Keeps the pictures in `into`, of VigThumbnail (VigLabelled.thumbnails), by time; at any moment it may be read. */
VigThumbs *vig_thumbs_new (GArray *into);
void vig_thumbs_free (VigThumbs *thumbs);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (VigThumbs, vig_thumbs_free)

/* How the pictures from here on are turned upright; what the tag image-orientation says. */
void vig_thumbs_set_orientation (VigThumbs *thumbs, GstVideoOrientationMethod method);

/* Shows it one frame, in system memory or in memory that can be mapped as such. Most frames cost nothing. A frame that cannot
 * be mapped or converted is passed over. */
void vig_thumbs_frame (VigThumbs *thumbs, GstBuffer *buffer, const GstVideoInfo *info, GstClockTime time);

#endif
