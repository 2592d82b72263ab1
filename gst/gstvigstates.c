/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "gstvigstates.h"

static void
forget (gpointer note)
{
  GstVigMemory *memory = note;
  g_clear_pointer (&memory->state, vig_state_free);
  g_clear_pointer (&memory->owed, g_atomic_rc_box_release);
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
  const guint room = states->room ? settings->length : 0, stride = states->room ? settings->stride : 0;
  if (states->epoch != epoch || states->room != room || states->stride != stride) {
    forget (&states->frame);
    gst_vig_tracks_reset (&states->objects);
  }
  states->epoch = epoch;
  states->room = room;
  states->stride = stride;
  states->now = time;
  gst_vig_tracks_begin_frame (&states->objects, running, away);
}

void
gst_vig_states_see (GstVigStates *states, guint64 tracking_id)
{
  if (states->shared)
    gst_vig_tracks_see (&states->objects, tracking_id);
}

/* A frame that is in a window: whether that is to be answered now. */
static gboolean
take_turn (GstVigMemory *memory, const GstVigClipSettings *settings)
{
  const guint hop = (settings->hop + settings->stride - 1) / settings->stride; /* of frames that are in windows */
  const gboolean first = !memory->owed;
  if (first)
    memory->owed = g_atomic_rc_box_new0 (gint);
  memory->since++;
  if (!g_atomic_int_compare_and_exchange (memory->owed, TRUE, FALSE) && !first && memory->since < hop)
    return FALSE;
  memory->since = 0;
  return TRUE;
}

gboolean
gst_vig_states_aim (GstVigStates *states, const GstVigClipSettings *settings, const guint64 *tracking_id, VigRequest *request,
    gint **owed, gboolean *silent, GError **error)
{
  *silent = FALSE;
  *owed = NULL;
  if (!states->shared)
    return TRUE;
  GstVigMemory *memory = tracking_id ? gst_vig_tracks_note (&states->objects, *tracking_id) : &states->frame;
  if (!memory->state && !(memory->state = vig_shared_state_new (states->shared, states->room, error)))
    return FALSE;
  if (states->room && take_turn (memory, settings)) {
    request->window = states->room;
    *owed = g_atomic_rc_box_acquire (memory->owed);
  }
  request->state = vig_state_ref (memory->state);
  request->time = states->now;
  *silent = states->room && request->window == 0;
  return TRUE;
}
