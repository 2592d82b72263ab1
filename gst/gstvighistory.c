/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "gstvighistory.h"

#define MAX_TURNS 1000

static GstVigTurn *
turn (const GstVigHistory *history, guint i)
{
  return &g_array_index (history->turns, GstVigTurn, i);
}

void
gst_vig_history_init (GstVigHistory *history, GQuark element)
{
  *history = (GstVigHistory) { .element = element, .turns = g_array_new (FALSE, FALSE, sizeof (GstVigTurn)) };
}

void
gst_vig_history_clear (GstVigHistory *history)
{
  g_array_unref (history->turns);
}

static void
forget (GstVigHistory *history, GstClockTime time, GstClockTime length)
{
  guint n = 0;
  while (n + 1 < history->turns->len && turn (history, n + 1)->time + length <= time)
    n++;
  if (n > 0)
    g_array_remove_range (history->turns, 0, n);
}

void
gst_vig_history_add (GstVigHistory *history, GstClockTime time, GQuark label, GstClockTime length)
{
  GArray *turns = history->turns;
  if (turns->len > 0 && time < turn (history, turns->len - 1)->time)
    g_array_set_size (turns, 0);
  forget (history, time, length);
  const GstVigTurn *last = turns->len > 0 ? turn (history, turns->len - 1) : NULL;
  if (last && last->label == label)
    return;
  if (last && time - last->time < length / MAX_TURNS) {
    const GstClockTime since = last->time;
    g_array_set_size (turns, turns->len - 1);
    if (turns->len > 0 && turn (history, turns->len - 1)->label == label)
      return;
    time = since;
  }
  g_array_append_val (turns, ((GstVigTurn) { time, label }));
}

gboolean
gst_vig_history_is_silent (const GstVigHistory *history)
{
  return history->turns->len == 0 || (history->turns->len == 1 && turn (history, 0)->label == 0);
}
