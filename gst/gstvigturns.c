/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "gstvigturns.h"

/* Of a tracked object. */
typedef struct {
  guint64 classified; /* number of the frame, last; counted from 1 */
} Turn;

void
gst_vig_turns_init (GstVigTurns *turns)
{
  *turns = (GstVigTurns) { 0 };
  gst_vig_tracks_init (&turns->objects, sizeof (Turn), NULL);
}

void
gst_vig_turns_clear (GstVigTurns *turns)
{
  gst_vig_tracks_clear (&turns->objects);
}

void
gst_vig_turns_end_results (GstVigTurns *turns)
{
  turns->epoch++;
  turns->have_result = FALSE;
  gst_vig_tracks_reset (&turns->objects);
}

/* Filler and frames that nobody will see carry no picture worth a result. */
static gboolean
has_picture (GstBuffer *buffer)
{
  return !GST_BUFFER_FLAG_IS_SET (buffer, GST_BUFFER_FLAG_GAP)
      && !GST_BUFFER_FLAG_IS_SET (buffer, GST_BUFFER_FLAG_DECODE_ONLY);
}

static gboolean
take_frame_turn (GstVigTurns *turns, const GstVigFlight *flight, gboolean shed)
{
  gboolean due = has_picture (flight->buffer)
      && (!turns->have_result || turns->since_result + 1 >= flight->settings.interval);
  turns->since_result = due && !shed ? 0 : turns->since_result + 1;
  turns->have_result |= due && !shed;
  return due;
}

static gboolean
take_object_turn (GstVigTurns *turns, const GstVigRegion *region, const GstVigSettings *settings, gboolean shed)
{
  Turn *turn = gst_vig_tracks_note (&turns->objects, region->tracking_id);
  gst_vig_tracks_see (&turns->objects, region->tracking_id);
  if (!region->followed) /* nothing is held for it */
    return TRUE;
  gboolean due = turn->classified == 0 || turns->n_frames - turn->classified >= settings->reclassify_interval;
  if (due && !shed)
    turn->classified = turns->n_frames;
  return due;
}

GArray *
gst_vig_turns_choose (GstVigTurns *turns, GstVigFlight *flight, guint *n_shed)
{
  GArray *parts = g_array_new (FALSE, FALSE, sizeof (GstVideoRectangle));
  turns->n_frames++;
  gst_vig_tracks_begin_frame (&turns->objects, flight->moment.running, flight->settings.hold_max);
  const gboolean turn = take_frame_turn (turns, flight, n_shed != NULL);
  if (turn && n_shed && flight->settings.regions != GST_VIG_REGIONS_OBJECTS) {
    (*n_shed)++;
  } else if (turn && flight->settings.regions != GST_VIG_REGIONS_OBJECTS) {
    const GstVideoRectangle whole = { 0 };
    flight->frame_shot = parts->len;
    g_array_append_val (parts, whole);
  }
  for (guint i = 0; flight->regions && has_picture (flight->buffer) && i < flight->regions->len; i++) {
    GstVigRegion *region = &g_array_index (flight->regions, GstVigRegion, i);
    if (!(region->tracked ? take_object_turn (turns, region, &flight->settings, n_shed != NULL) : turn))
      continue;
    if (n_shed) {
      (*n_shed)++;
      continue;
    }
    region->shot = parts->len;
    g_array_append_val (parts, region->part);
  }
  return parts;
}
