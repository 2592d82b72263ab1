/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef GST_VIG_TRACKS_H
#define GST_VIG_TRACKS_H

#include <gst/gst.h>

G_BEGIN_DECLS

/* Most objects that are remembered: those met last. */
#define GST_VIG_MAX_TRACKS 1024

/**
 * GstVigTracks:
 *
 * What is known of tracked objects, by tracking id: a note of a fixed size for each of the GST_VIG_MAX_TRACKS that were
 * looked up last, until they have been away for too long. One thread at a time.
 */
typedef struct {
  GHashTable *notes;
  GQueue order; /* met last: at the tail */
  gsize size;   /* of a note, bytes */
  GDestroyNotify clear; /* of what a note holds; NULL: nothing */
  guint64 n_frames;
  GstClockTime now; /* running time of the last frame that has one; NONE: none had */
} GstVigTracks;

/* @size: of a note, bytes; @clear: (nullable): called with a note that is forgotten, for what it holds */
void gst_vig_tracks_init (GstVigTracks *tracks, gsize size, GDestroyNotify clear);
void gst_vig_tracks_clear (GstVigTracks *tracks);

void gst_vig_tracks_reset (GstVigTracks *tracks); /* forgets all */

/* The next frame, at the running time @now (NONE: not known). Forgets the objects that were not in the one before it, and were
 * last seen more than @longest nanoseconds ago: where running times are not known nobody can say that. */
void gst_vig_tracks_begin_frame (GstVigTracks *tracks, GstClockTime now, GstClockTime longest);

/* It has this object in it. */
void gst_vig_tracks_see (GstVigTracks *tracks, guint64 id);

/* NULL: not known. Valid until the next gst_vig_tracks_note(). */
gpointer gst_vig_tracks_find (GstVigTracks *tracks, guint64 id);

/* As found, or a new one, zeroed, of an object that is seen now. */
gpointer gst_vig_tracks_note (GstVigTracks *tracks, guint64 id);

/* Of the object that was looked up longest ago; NULL: none is known. */
gpointer gst_vig_tracks_peek_oldest (GstVigTracks *tracks);
void gst_vig_tracks_forget_oldest (GstVigTracks *tracks); /* there is one */

G_END_DECLS
#endif
