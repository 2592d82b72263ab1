/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "sampling.h"

#include <math.h>

gboolean
vig_sampling_wants (VigSampling *sampling, GstClockTime time)
{
  if (sampling->rate <= 0)
    return TRUE;
  const double turn = floor ((double) (time + VIG_SAMPLING_TOLERANCE) / (double) GST_SECOND * sampling->rate);
  if (turn < (double) sampling->next)
    return FALSE;
  sampling->next = (guint64) turn + 1;
  return TRUE;
}
