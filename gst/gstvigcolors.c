/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "gstvigcolors.h"

#include <math.h>

#define N_HUES 12

/* One channel of a hue: 1 around @peak degrees, 0 on the other side of the circle. */
static double
channel (double hue, double peak)
{
  const double away = fabs (remainder (hue - peak, 360));
  return CLAMP (2 - away / 60, 0, 1);
}

/* Twelve hues, each once strong and once pale; neighbours in the list are far from each other. */
static GstVigColor
color_at (guint i)
{
  const double hue = i * 5 % N_HUES * 360.0 / N_HUES;
  const double base = i < N_HUES ? 0.16 : 0.55, reach = i < N_HUES ? 0.80 : 0.40;
  return (GstVigColor) { base + reach * channel (hue, 0), base + reach * channel (hue, 120),
    base + reach * channel (hue, 240) };
}

GstVigColor
gst_vig_colors_get (GstVigColors *colors, GQuark label)
{
  const guint wanted = g_str_hash (g_quark_to_string (label)) % GST_VIG_N_COLORS;
  for (guint i = 0; i < GST_VIG_N_COLORS; i++) {
    const guint at = (wanted + i) % GST_VIG_N_COLORS;
    if (colors->owners[at] == 0)
      colors->owners[at] = label;
    if (colors->owners[at] == label)
      return color_at (at);
  }
  return color_at (wanted); /* more labels than colours */
}

double
gst_vig_color_get_luma (GstVigColor color)
{
  return 0.2126 * color.r + 0.7152 * color.g + 0.0722 * color.b;
}
