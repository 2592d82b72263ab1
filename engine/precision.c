/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <vig/engine.h>

static const char *const precisions[] = { "auto", "fp32", "bf16", "fp16" };

const char *
vig_precision_to_string (VigPrecision precision)
{
  return (guint) precision < G_N_ELEMENTS (precisions) ? precisions[precision] : NULL;
}

gboolean
vig_precision_from_string (const char *string, VigPrecision *precision)
{
  for (guint i = 0; i < G_N_ELEMENTS (precisions); i++)
    if (g_strcmp0 (string, precisions[i]) == 0) {
      *precision = (VigPrecision) i;
      return TRUE;
    }
  return FALSE;
}
