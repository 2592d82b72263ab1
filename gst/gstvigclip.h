/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* How an element's answers are made over time: in which mode, and what ends the memory of what was seen. */
#ifndef GST_VIG_CLIP_H
#define GST_VIG_CLIP_H

#include <gst/gst.h>
#include <vig/consensus.h>
#include <vig/model.h>

#include "gstvigheld.h"
#include "gstvigtracks.h"

G_BEGIN_DECLS

/* What an answer is of. */
typedef enum {
  GST_VIG_CLIP_AUTO,   /* as the model is made for; never that of a loaded one */
  GST_VIG_CLIP_NONE,   /* each frame by itself */
  GST_VIG_CLIP_MEAN,   /* the mean of a window's logits */
  GST_VIG_CLIP_EMA,    /* the mean of all logits, of which those longer ago weigh less */
  GST_VIG_CLIP_JOINT,  /* a window of frames, in one sequence */
  GST_VIG_CLIP_STREAM, /* all frames, by way of the model's own memory */
} GstVigClipMode;

GType gst_vig_clip_mode_get_type (void);
const char *gst_vig_clip_mode_to_string (GstVigClipMode mode);

/**
 * gst_vig_clip_mode_choose:
 * @asked: what clip-mode says
 * @mode: (out): what becomes of it; never AUTO
 * @error: VIG_ERROR_ARGUMENT: @model cannot do it; names the modes that it can do
 */
gboolean gst_vig_clip_mode_choose (GstVigClipMode asked, const VigModel *model, GstVigClipMode *mode, GError **error);

/* After what an answer says nothing any more about what was seen before it. (Another model, and another direction, always.) */
typedef enum {
  GST_VIG_CLIP_RESET_FLUSH = 1 << 0,
  GST_VIG_CLIP_RESET_DISCONT = 1 << 1,
  GST_VIG_CLIP_RESET_CAPS = 1 << 2,
  GST_VIG_CLIP_RESET_STREAM_START = 1 << 3,
} GstVigClipReset;

#define GST_VIG_CLIP_RESET_ALL (GST_VIG_CLIP_RESET_FLUSH | GST_VIG_CLIP_RESET_DISCONT | GST_VIG_CLIP_RESET_CAPS \
    | GST_VIG_CLIP_RESET_STREAM_START)

GType gst_vig_clip_reset_get_type (void);

/* What may change from one frame to the next. */
typedef struct {
  GstVigClipReset reset;
  guint length, stride, hop;
  double time_constant; /* seconds */
} GstVigClipSettings;

/**
 * GstVigClip:
 * @frame: of whole frames; NULL: none has been seen
 * @objects: of VigConsensus *: of each tracked object
 *
 * What was seen of a stream by a model that sees each frame by itself, and what it says together: modes MEAN and EMA. Of the
 * thread that takes results.
 */
typedef struct {
  VigConsensusOptions options;
  guint n_classes, epoch;
  VigConsensus *frame;
  GstVigTracks objects;
} GstVigClip;

void gst_vig_clip_init (GstVigClip *clip, guint n_classes);
void gst_vig_clip_clear (GstVigClip *clip); /* zeroed is allowed */

/* The next frame leaves, with this object in it or without. Objects are forgotten as gst_vig_tracks_begin_frame() has it. */
void gst_vig_clip_begin_frame (GstVigClip *clip, GstClockTime running, GstClockTime longest);
void gst_vig_clip_see (GstVigClip *clip, guint64 tracking_id);

/* Before the answers of a frame: other settings, mode or epoch than at the frame before begin anew. */
void gst_vig_clip_follow (GstVigClip *clip, GstVigClipMode mode, const GstVigClipSettings *settings, guint epoch);

/**
 * gst_vig_clip_add:
 * @tracking_id: (nullable): of which object; NULL: of the frame
 * @time: of GstVigClock, when it was
 * @span: (inout): of the frame alone; of what was seen
 * @logits, @probabilities: [classes]: of the frame; (out): of what was seen
 * @error: as vig_consensus_add(): it has no part in any answer
 */
gboolean gst_vig_clip_add (GstVigClip *clip, const guint64 *tracking_id, gint64 time, GstVigSpan *span,
    const float *logits, float *probabilities, GError **error);

/* Logits of each frame are needed. */
gboolean gst_vig_clip_mode_needs_logits (GstVigClipMode mode);

G_END_DECLS
#endif
