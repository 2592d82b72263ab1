/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "ring.h"

static gsize
item (const VigRing *r)
{
  return (gsize) 3 * r->h * r->w;
}

gboolean
vig_ring_prepare (VigRing *r, guint h, guint w, GError **error)
{
  if (r->inputs && r->h == h && r->w == w)
    return TRUE;
  vig_ring_clear (r);
  r->h = h;
  r->w = w;
  r->inputs = g_try_malloc_n (r->room, item (r) * sizeof *r->inputs);
  r->times = g_try_new (gint64, r->room);
  if (r->inputs && r->times)
    return TRUE;
  vig_ring_clear (r);
  g_set_error (error, VIG_ERROR, VIG_ERROR_NO_MEMORY, "state: no memory for the last %u inputs of %ux%u of a stream", r->room,
      w, h);
  return FALSE;
}

void
vig_ring_clear (VigRing *r)
{
  g_clear_pointer (&r->inputs, g_free);
  g_clear_pointer (&r->times, g_free);
  r->n = r->next = 0;
}

/* Of the last @window frames number @i, as a place. */
static guint
place (const VigRing *r, guint window, guint i)
{
  return (guint) (((guint64) r->next + r->room - window + i) % r->room);
}

float *
vig_ring_push (VigRing *r, gint64 time)
{
  if (r->n > 0 && time < r->times[place (r, 1, 0)])
    r->n = 0;
  const guint at = r->next;
  r->times[at] = time;
  r->next = (at + 1) % r->room;
  r->n = MIN (r->n + 1, r->room);
  return r->inputs + at * item (r);
}

const float *
vig_ring_get (const VigRing *r, guint window, guint i)
{
  return r->inputs + place (r, window, i) * item (r);
}

gint64
vig_ring_get_time (const VigRing *r, guint window, guint i)
{
  return r->times[place (r, window, i)];
}
