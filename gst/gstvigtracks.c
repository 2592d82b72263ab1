/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "gstvigtracks.h"

typedef struct {
  guint64 id;
  GList link;
  GDestroyNotify clear;
  guint64 seen;         /* number of the frame that it was last in, */
  GstClockTime seen_at; /* and its running time */
  guint8 note[] __attribute__ ((aligned (16)));
} Track;

static void
track_free (gpointer data)
{
  Track *track = data;
  if (track->clear)
    track->clear (track->note);
  g_free (track);
}

void
gst_vig_tracks_init (GstVigTracks *tracks, gsize size, GDestroyNotify clear)
{
  *tracks = (GstVigTracks) { .notes = g_hash_table_new_full (g_int64_hash, g_int64_equal, NULL, track_free),
    .size = size, .clear = clear, .now = GST_CLOCK_TIME_NONE };
}

void
gst_vig_tracks_clear (GstVigTracks *tracks)
{
  g_hash_table_unref (tracks->notes);
}

void
gst_vig_tracks_reset (GstVigTracks *tracks)
{
  g_queue_init (&tracks->order); /* its links are part of what the table frees */
  g_hash_table_remove_all (tracks->notes);
}

/* One that was in the last frame has not been away, however long ago that was. */
static gboolean
is_away (const GstVigTracks *tracks, const Track *track, GstClockTime longest)
{
  return track->seen + 1 < tracks->n_frames && GST_CLOCK_TIME_IS_VALID (track->seen_at) && tracks->now > track->seen_at
      && tracks->now - track->seen_at > longest;
}

void
gst_vig_tracks_begin_frame (GstVigTracks *tracks, GstClockTime now, GstClockTime longest)
{
  tracks->n_frames++;
  if (GST_CLOCK_TIME_IS_VALID (now))
    tracks->now = now;
  while (tracks->order.head && is_away (tracks, tracks->order.head->data, longest))
    gst_vig_tracks_forget_oldest (tracks);
}

static Track *
find (GstVigTracks *tracks, guint64 id)
{
  Track *track = g_hash_table_lookup (tracks->notes, &id);
  if (!track)
    return NULL;
  g_queue_unlink (&tracks->order, &track->link);
  g_queue_push_tail_link (&tracks->order, &track->link);
  return track;
}

static void
see (const GstVigTracks *tracks, Track *track)
{
  track->seen = tracks->n_frames;
  track->seen_at = tracks->now;
}

void
gst_vig_tracks_see (GstVigTracks *tracks, guint64 id)
{
  Track *track = find (tracks, id);
  if (track)
    see (tracks, track);
}

gpointer
gst_vig_tracks_find (GstVigTracks *tracks, guint64 id)
{
  Track *track = find (tracks, id);
  return track ? track->note : NULL;
}

gpointer
gst_vig_tracks_note (GstVigTracks *tracks, guint64 id)
{
  gpointer note = gst_vig_tracks_find (tracks, id);
  if (note)
    return note;
  if (tracks->order.length == GST_VIG_MAX_TRACKS)
    gst_vig_tracks_forget_oldest (tracks);
  Track *track = g_malloc0 (sizeof *track + tracks->size);
  track->id = id;
  track->clear = tracks->clear;
  track->link.data = track;
  see (tracks, track);
  g_queue_push_tail_link (&tracks->order, &track->link);
  g_hash_table_insert (tracks->notes, &track->id, track);
  return track->note;
}

gpointer
gst_vig_tracks_peek_oldest (GstVigTracks *tracks)
{
  return tracks->order.head ? ((Track *) tracks->order.head->data)->note : NULL;
}

void
gst_vig_tracks_forget_oldest (GstVigTracks *tracks)
{
  Track *oldest = g_queue_pop_head_link (&tracks->order)->data;
  g_hash_table_remove (tracks->notes, &oldest->id);
}
