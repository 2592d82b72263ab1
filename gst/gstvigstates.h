/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef GST_VIG_STATES_H
#define GST_VIG_STATES_H

#include <gst/gst.h>
#include <vig/shared.h>

#include "gstvigclip.h"
#include "gstvigtracks.h"

G_BEGIN_DECLS

/* What is remembered of the frame, or of an object. */
typedef struct {
  VigState *state;  /* NULL: nothing */
  guint since;      /* windows: frames since the last that was asked for */
  gint *owed;       /* atomic, g_atomic_rc_box: that one has had no answer */
} GstVigMemory;

/**
 * GstVigStates:
 * @shared: NULL: the mode is none of the two
 * @room: frames of a window; 0: mode STREAM
 * @stride: of windows
 * @epoch: that all of it is of
 *
 * What is remembered, in the modes JOINT and STREAM, of an element's frames and of each object that is tracked in them. Of
 * the thread that submits.
 */
typedef struct {
  VigShared *shared;
  guint room, stride, epoch;
  gint64 now;
  GstVigMemory frame;
  GstVigTracks objects; /* of GstVigMemory */
} GstVigStates;

void gst_vig_states_init (GstVigStates *states, VigShared *shared, GstVigClipMode mode);
void gst_vig_states_clear (GstVigStates *states); /* zeroed is allowed */

/**
 * gst_vig_states_begin:
 * @settings: another length or stride of windows than at the frame before forgets all
 * @epoch: another than that of the frame before forgets all
 * @time: of GstVigClock, when the frame is
 * @running, @away: objects are forgotten as gst_vig_tracks_begin_frame() has it
 *
 * A frame, whether it is to be classified or not.
 */
void gst_vig_states_begin (GstVigStates *states, const GstVigClipSettings *settings, guint epoch, gint64 time,
    GstClockTime running, GstClockTime away);

/* It has this object in it. */
void gst_vig_states_see (GstVigStates *states, guint64 tracking_id);

/**
 * gst_vig_states_aim:
 * @tracking_id: (nullable): of which object; NULL: of the frame
 * @request: its state (a hold of the caller's), time and window are set. No state: it is by itself
 * @owed: (out) (nullable) (transfer full): g_atomic_rc_box: to be set if the window that @request asks for is not answered, for
 *   which the next frame then asks; NULL: it asks for none
 * @silent: (out): it is only remembered
 *
 * The frame, or object, is to be classified now.
 */
gboolean gst_vig_states_aim (GstVigStates *states, const GstVigClipSettings *settings, const guint64 *tracking_id,
    VigRequest *request, gint **owed, gboolean *silent, GError **error);

G_END_DECLS
#endif
