/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "gstvigheld.h"

#include <string.h>

static gsize
last_size (guint n_classes)
{
  return sizeof (GstVigLast) + n_classes * sizeof (float);
}

static void
drop_heat (gpointer last)
{
  g_clear_pointer (&((GstVigLast *) last)->heat, gst_vig_heat_unref);
}

void
gst_vig_held_init (GstVigHeld *held, guint n_classes)
{
  *held = (GstVigHeld) { .n_classes = n_classes, .frame = g_malloc0 (last_size (n_classes)) };
  gst_vig_tracks_init (&held->objects, last_size (n_classes), drop_heat);
}

void
gst_vig_held_clear (GstVigHeld *held)
{
  if (held->frame) {
    drop_heat (held->frame);
    gst_vig_tracks_clear (&held->objects);
  }
  g_clear_pointer (&held->frame, g_free);
}

void
gst_vig_held_put (GstVigHeld *held, guint epoch, const guint64 *tracking_id, const GstVigSpan *span,
    const float *probabilities, GstVigHeat *heat)
{
  if (held->epoch != epoch) {
    held->epoch = epoch;
    held->frame->valid = FALSE;
    gst_vig_tracks_reset (&held->objects);
  }
  GstVigLast *last = tracking_id ? gst_vig_tracks_note (&held->objects, *tracking_id) : held->frame;
  last->valid = TRUE;
  last->span = *span;
  drop_heat (last);
  last->heat = gst_vig_heat_ref (heat);
  memcpy (last->probabilities, probabilities, held->n_classes * sizeof (float));
}

const GstVigLast *
gst_vig_held_get (GstVigHeld *held, guint epoch, const guint64 *tracking_id)
{
  if (held->epoch != epoch)
    return NULL;
  const GstVigLast *last = tracking_id ? gst_vig_tracks_find (&held->objects, *tracking_id) : held->frame;
  return last && last->valid ? last : NULL;
}
