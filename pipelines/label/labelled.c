/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "labelled.h"

static void
clear_frame (gpointer item)
{
  g_clear_pointer (&((VigLabelledFrame *) item)->scores, g_array_unref);
}

static void
clear_thumbnail (gpointer item)
{
  g_clear_pointer (&((VigThumbnail *) item)->jpeg, g_bytes_unref);
}

VigLabelled *
vig_labelled_new (const char *input)
{
  VigLabelled *labelled = g_new0 (VigLabelled, 1);
  labelled->input = g_strdup (input);
  labelled->frames = g_array_new (FALSE, FALSE, sizeof (VigLabelledFrame));
  g_array_set_clear_func (labelled->frames, clear_frame);
  labelled->segments = g_array_new (FALSE, FALSE, sizeof (VigLabelledSegment));
  labelled->thumbnails = g_array_new (FALSE, FALSE, sizeof (VigThumbnail));
  g_array_set_clear_func (labelled->thumbnails, clear_thumbnail);
  return labelled;
}

void
vig_labelled_free (VigLabelled *labelled)
{
  if (!labelled)
    return;
  g_free (labelled->input);
  g_free (labelled->model);
  g_free (labelled->model_hash);
  g_free (labelled->created);
  g_free (labelled->error);
  g_array_unref (labelled->frames);
  g_array_unref (labelled->segments);
  g_array_unref (labelled->thumbnails);
  g_free (labelled);
}

const VigScore *
vig_labelled_best (const VigLabelled *labelled, GstClockTime time)
{
  guint from = 0, to = labelled->frames->len; /* the first frame that is later lies in from … to */
  while (from < to) {
    guint middle = from + (to - from) / 2;
    if (g_array_index (labelled->frames, VigLabelledFrame, middle).time <= time)
      from = middle + 1;
    else
      to = middle;
  }
  if (labelled->frames->len == 0)
    return NULL;
  const GArray *scores = g_array_index (labelled->frames, VigLabelledFrame, MAX (from, 1) - 1).scores;
  return scores->len ? &g_array_index (scores, VigScore, 0) : NULL;
}
