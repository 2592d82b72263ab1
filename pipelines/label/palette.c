/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A label's name says which colour it would like, so that it has mostly the same one in all videos; of two that like the same
 * the less important one takes the next that is free. */
#include "palette.h"

/* With it the fourteen labels of the models that ship like 14 different colours. */
#define HASH_DIVISOR 16957

static const guint colours[VIG_PALETTE_SIZE + 1] = { 0x4e79a7, 0x59a14f, 0xf28e2b, 0x9467bd, 0x3aa6a0, 0xe15759, 0xd4ab1a,
  0x5aaeea, 0xe377a8, 0x9c755f, 0x8c9a2e, 0x6366d8, 0xb4456f, 0x2b6f7d, 0xa8c64e, 0xcf9fe0, [VIG_PALETTE_OTHER] = 0x8a8f98 };

static VigRankedLabel *
entry (GArray *ranked, GHashTable *places, GQuark label)
{
  gpointer place;
  if (!g_hash_table_lookup_extended (places, GUINT_TO_POINTER (label), NULL, &place)) {
    VigRankedLabel fresh = { .label = label };
    place = GUINT_TO_POINTER (ranked->len);
    g_hash_table_insert (places, GUINT_TO_POINTER (label), place);
    g_array_append_val (ranked, fresh);
  }
  return &g_array_index (ranked, VigRankedLabel, GPOINTER_TO_UINT (place));
}

static int
compare (gconstpointer a, gconstpointer b)
{
  const VigRankedLabel *x = a, *y = b;
  if (x->seconds != y->seconds)
    return x->seconds > y->seconds ? -1 : 1;
  if (x->presence != y->presence)
    return x->presence > y->presence ? -1 : 1;
  return g_strcmp0 (g_quark_to_string (x->label), g_quark_to_string (y->label));
}

void
vig_palette_sort (GArray *ranked)
{
  gboolean taken[VIG_PALETTE_SIZE] = { FALSE };
  g_array_sort (ranked, compare);
  for (guint i = 0; i < ranked->len; i++) {
    VigRankedLabel *label = &g_array_index (ranked, VigRankedLabel, i);
    label->colour = VIG_PALETTE_OTHER;
    if (i >= VIG_PALETTE_SIZE)
      continue;
    guint colour = g_str_hash (g_quark_to_string (label->label)) / HASH_DIVISOR % VIG_PALETTE_SIZE;
    while (taken[colour])
      colour = (colour + 1) % VIG_PALETTE_SIZE;
    taken[colour] = TRUE;
    label->colour = (int) colour;
  }
}

GArray *
vig_palette_rank (const VigLabelled *video)
{
  GArray *ranked = g_array_new (FALSE, FALSE, sizeof (VigRankedLabel));
  g_autoptr (GHashTable) places = g_hash_table_new (NULL, NULL);
  for (guint i = 0; i < video->segments->len; i++) {
    const VigLabelledSegment *segment = &g_array_index (video->segments, VigLabelledSegment, i);
    if (segment->end > segment->start)
      entry (ranked, places, segment->label)->seconds += (double) (segment->end - segment->start) / GST_SECOND;
  }
  for (guint i = 0; i < video->frames->len; i++) {
    const VigLabelledFrame *frame = &g_array_index (video->frames, VigLabelledFrame, i);
    for (guint s = 0; s < frame->scores->len; s++) {
      const VigScore *score = &g_array_index (frame->scores, VigScore, s);
      VigRankedLabel *label = entry (ranked, places, score->label);
      label->presence += score->confidence;
      label->peak = MAX (label->peak, score->confidence);
    }
  }
  vig_palette_sort (ranked);
  return ranked;
}

const VigRankedLabel *
vig_palette_find (const GArray *ranked, GQuark label)
{
  for (guint i = 0; i < ranked->len; i++) {
    const VigRankedLabel *found = &g_array_index (ranked, VigRankedLabel, i);
    if (found->label == label)
      return found;
  }
  return NULL;
}

int
vig_palette_colour (const GArray *ranked, GQuark label)
{
  const VigRankedLabel *found = vig_palette_find (ranked, label);
  return found ? found->colour : VIG_PALETTE_OTHER;
}

guint
vig_palette_rgb (int colour)
{
  return colours[CLAMP (colour, 0, VIG_PALETTE_OTHER)];
}
