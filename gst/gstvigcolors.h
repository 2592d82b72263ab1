/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef GST_VIG_COLORS_H
#define GST_VIG_COLORS_H

#include <glib.h>

G_BEGIN_DECLS

#define GST_VIG_N_COLORS 24

typedef struct {
  double r, g, b; /* 0 to 1 */
} GstVigColor;

/* Which label has which colour: zeroed, none has one. */
typedef struct {
  GQuark owners[GST_VIG_N_COLORS];
} GstVigColors;

/* A label's colour follows from its name; where two of this picture want the same, the second takes the next free one. */
GstVigColor gst_vig_colors_get (GstVigColors *colors, GQuark label);

/* How bright it looks, 0 to 1. */
double gst_vig_color_get_luma (GstVigColor color);

G_END_DECLS
#endif
