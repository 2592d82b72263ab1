/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "gstvigstates.h"

static void
forget (gpointer note)
{
  GstVigMemory *memory = note;
  g_clear_pointer (&memory->state, vig_state_free);
}

void
gst_vig_states_init (GstVigStates *states, VigShared *shared, GstVigClipMode mode)
{
  if (mode != GST_VIG_CLIP_JOINT && mode != GST_VIG_CLIP_STREAM)
    return;
  *states = (GstVigStates) { .shared = shared, .room = mode == GST_VIG_CLIP_JOINT };
  gst_vig_tracks_init (&states->objects, sizeof (GstVigMemory), forget);
}

void
gst_vig_states_clear (GstVigStates *states)
{
  if (!states->shared)
    return;
  forget (&states->frame);
  gst_vig_tracks_clear (&states->objects);
}

void
gst_vig_states_begin (GstVigStates *states, const GstVigClipSettings *settings, guint epoch, gint64 time,
    GstClockTime running, GstClockTime away)
{
  if (!states->shared)
    return;
  const guint room = states->room ? settings->length : 0;
  if (states->epoch != epoch || states->room != room) {
    forget (&states->frame);
    gst_vig_tracks_reset (&states->objects);
  }
  states->epoch = epoch;
  states->room = room;
  states->now = time;
  gst_vig_tracks_begin_frame (&states->objects, running, away);
}

void
gst_vig_states_see (GstVigStates *states, guint64 tracking_id)
{
  if (states->shared)
    gst_vig_tracks_see (&states->objects, tracking_id);
}

gboolean
gst_vig_states_aim (GstVigStates *states, const GstVigClipSettings *settings, const guint64 *tracking_id, VigRequest *request,
    gboolean *silent, GError **error)
{
  *silent = FALSE;
  if (!states->shared)
    return TRUE;
  GstVigMemory *memory = tracking_id ? gst_vig_tracks_note (&states->objects, *tracking_id) : &states->frame;
  const gboolean first = !memory->state;
  if (first && !(memory->state = vig_shared_state_new (states->shared, states->room, error)))
    return FALSE;
  const guint hop = (settings->hop + settings->stride - 1) / settings->stride; /* of frames that are in windows */
  memory->since++;
  if (states->room && (first || memory->since >= hop)) {
    request->window = states->room;
    memory->since = 0;
  }
  request->state = vig_state_ref (memory->state);
  request->time = states->now;
  *silent = states->room && request->window == 0;
  return TRUE;
}
