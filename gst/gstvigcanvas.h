/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What is drawn on a frame, and where: lines of text, boxes, the timeline, heat. */
#ifndef GST_VIG_CANVAS_H
#define GST_VIG_CANVAS_H

#include <pango/pangocairo.h>

#include "gstvigcolors.h"
#include "gstvighistory.h"
#include "gstvigreadings.h"
#include "gstvigsprites.h"

G_BEGIN_DECLS

/**
 * GstVigCanvas:
 * @width, @height: of the frame, pixels
 * @stretch: how many times as wide as high its pixels are shown
 * @em: height of the font, pixels
 *
 * Where and how large things are. Everything is measured as it is shown, in heights of a pixel; only sprites are in pixels.
 */
typedef struct {
  int width, height;
  double stretch, em;
  PangoContext *pango;
  PangoFontDescription *font;
  GstVigColors colors;
  GstVigSprites sprites;
} GstVigCanvas;

void gst_vig_canvas_init (GstVigCanvas *canvas);
void gst_vig_canvas_clear (GstVigCanvas *canvas);

/* @font: (nullable): as pango_font_description_from_string() takes it; a size in it is in pixels of the frame, without one
 * it suits the frame */
void gst_vig_canvas_set_frame (GstVigCanvas *canvas, const GstVideoInfo *info, const char *font);

/* Where the frame's first classifier with such a thing, and each object's, has its label from. @opacity: 0 to 1 */
void gst_vig_canvas_add_heat (GstVigCanvas *canvas, const GArray *readings, double opacity);

/* One line for each reading of the frame, at the top left. */
void gst_vig_canvas_add_lines (GstVigCanvas *canvas, const GArray *readings);

/* A box around each object that there are readings of; with @labels they are beside it. */
void gst_vig_canvas_add_boxes (GstVigCanvas *canvas, const GArray *readings, gboolean labels);

/**
 * gst_vig_canvas_add_timeline:
 * @histories: of GstVigHistory: a strip for each, at the bottom
 * @now: time of its right end
 */
void gst_vig_canvas_add_timeline (GstVigCanvas *canvas, const GArray *histories, GstClockTime now, GstClockTime length);

G_END_DECLS
#endif
