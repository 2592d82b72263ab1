/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Small drawn pictures that lie over a frame: each is drawn once, for as long as frames show it. */
#ifndef GST_VIG_SPRITES_H
#define GST_VIG_SPRITES_H

#include <cairo.h>
#include <gst/video/video.h>

G_BEGIN_DECLS

/* Draws, from (0, 0) on, over what is transparent. */
typedef void (*GstVigDraw) (cairo_t *cr, gconstpointer data);

/**
 * GstVigSprites:
 * @known: of the frame before, @shown: of this one: GstVideoOverlayRectangle by what is drawn on them
 * @rectangles, @last: the same in the order in which they lie over each other
 */
typedef struct {
  GHashTable *known, *shown;
  GPtrArray *rectangles, *last;
  GstVideoOverlayComposition *composition; /* (nullable): of @last */
} GstVigSprites;

void gst_vig_sprites_init (GstVigSprites *sprites);
void gst_vig_sprites_clear (GstVigSprites *sprites);

/* Between frames of different sizes, or streams: nothing is known any more. */
void gst_vig_sprites_forget (GstVigSprites *sprites);

/* Another frame: nothing is shown yet. */
void gst_vig_sprites_begin (GstVigSprites *sprites);

/**
 * gst_vig_sprites_add:
 * @key: says all that @draw depends on, but not where it is
 * @place: pixels of the frame, inside of it
 * @width, @height: pixels that are drawn; stretched to the place
 */
void gst_vig_sprites_add (GstVigSprites *sprites, const char *key, const GstVideoRectangle *place, int width, int height,
    GstVigDraw draw, gconstpointer data);

/* All that was added, the first at the bottom; the same as before where nothing has changed. NULL: nothing.
 * (transfer none) */
GstVideoOverlayComposition *gst_vig_sprites_end (GstVigSprites *sprites);

G_END_DECLS
#endif
