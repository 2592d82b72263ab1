/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "gstvigsprites.h"

static GHashTable *
new_table (void)
{
  return g_hash_table_new_full (g_str_hash, g_str_equal, g_free, (GDestroyNotify) gst_video_overlay_rectangle_unref);
}

static GPtrArray *
new_array (void)
{
  return g_ptr_array_new_with_free_func ((GDestroyNotify) gst_video_overlay_rectangle_unref);
}

void
gst_vig_sprites_init (GstVigSprites *sprites)
{
  *sprites = (GstVigSprites) { new_table (), new_table (), new_array (), new_array (), NULL };
}

void
gst_vig_sprites_clear (GstVigSprites *sprites)
{
  g_hash_table_unref (sprites->known);
  g_hash_table_unref (sprites->shown);
  g_ptr_array_unref (sprites->rectangles);
  g_ptr_array_unref (sprites->last);
  g_clear_pointer (&sprites->composition, gst_video_overlay_composition_unref);
}

void
gst_vig_sprites_forget (GstVigSprites *sprites)
{
  gst_vig_sprites_clear (sprites);
  gst_vig_sprites_init (sprites);
}

/* What was shown becomes what is known. */
void
gst_vig_sprites_begin (GstVigSprites *sprites)
{
  GHashTable *table = sprites->known;
  sprites->known = sprites->shown;
  sprites->shown = table;
  g_hash_table_remove_all (table);
  g_ptr_array_set_size (sprites->rectangles, 0);
}

/* Colours as they are, not times their opacity. */
static void
unpremultiply (guint8 *pixels, gsize n)
{
  guint32 *argb = (guint32 *) (gpointer) pixels;
  for (gsize i = 0; i < n; i++) {
    const guint32 a = argb[i] >> 24;
    guint32 straight = a << 24;
    for (guint shift = 0; a && shift < 24; shift += 8)
      straight |= MIN (((argb[i] >> shift & 255) * 255 + a / 2) / a, 255) << shift;
    argb[i] = straight;
  }
}

/* What is to be stretched is not premultiplied: blending forgets that of pixels that it has stretched (GStreamer 1.26). */
static GstVideoOverlayRectangle *
draw_rectangle (const GstVideoRectangle *place, int width, int height, GstVigDraw draw, gconstpointer data)
{
  const gsize stride = (gsize) width * 4, size = stride * (gsize) height;
  guint8 *pixels = g_malloc0 (size);
  cairo_surface_t *surface = cairo_image_surface_create_for_data (pixels, CAIRO_FORMAT_ARGB32, width, height, (int) stride);
  cairo_t *cr = cairo_create (surface);
  draw (cr, data);
  cairo_destroy (cr);
  cairo_surface_finish (surface);
  cairo_surface_destroy (surface);
  const gboolean stretched = width != place->w || height != place->h;
  if (stretched)
    unpremultiply (pixels, (gsize) width * (gsize) height);
  g_autoptr (GstBuffer) buffer = gst_buffer_new_wrapped (pixels, size);
  gst_buffer_add_video_meta (buffer, GST_VIDEO_FRAME_FLAG_NONE, GST_VIDEO_OVERLAY_COMPOSITION_FORMAT_RGB, (guint) width,
      (guint) height);
  return gst_video_overlay_rectangle_new_raw (buffer, place->x, place->y, (guint) place->w, (guint) place->h,
      stretched ? GST_VIDEO_OVERLAY_FORMAT_FLAG_NONE : GST_VIDEO_OVERLAY_FORMAT_FLAG_PREMULTIPLIED_ALPHA);
}

/* One that is drawn, at @place. (transfer full) */
static GstVideoOverlayRectangle *
move (GstVideoOverlayRectangle *drawn, const GstVideoRectangle *place)
{
  int x, y;
  guint w, h;
  gst_video_overlay_rectangle_get_render_rectangle (drawn, &x, &y, &w, &h);
  if (x == place->x && y == place->y && w == (guint) place->w && h == (guint) place->h)
    return gst_video_overlay_rectangle_ref (drawn);
  GstVideoOverlayRectangle *moved = gst_video_overlay_rectangle_copy (drawn);
  gst_video_overlay_rectangle_set_render_rectangle (moved, place->x, place->y, (guint) place->w, (guint) place->h);
  return moved;
}

void
gst_vig_sprites_add (GstVigSprites *sprites, const char *key, const GstVideoRectangle *place, int width, int height,
    GstVigDraw draw, gconstpointer data)
{
  GstVideoOverlayRectangle *drawn = g_hash_table_lookup (sprites->known, key);
  GstVideoOverlayRectangle *rectangle = drawn ? move (drawn, place) : draw_rectangle (place, width, height, draw, data);
  g_hash_table_replace (sprites->shown, g_strdup (key), gst_video_overlay_rectangle_ref (rectangle));
  g_ptr_array_add (sprites->rectangles, rectangle);
}

static gboolean
is_as_before (const GstVigSprites *sprites)
{
  if (sprites->rectangles->len != sprites->last->len)
    return FALSE;
  for (guint i = 0; i < sprites->last->len; i++)
    if (sprites->rectangles->pdata[i] != sprites->last->pdata[i])
      return FALSE;
  return TRUE;
}

GstVideoOverlayComposition *
gst_vig_sprites_end (GstVigSprites *sprites)
{
  if (is_as_before (sprites))
    return sprites->composition;
  GPtrArray *old = sprites->last;
  sprites->last = sprites->rectangles;
  sprites->rectangles = old;
  g_clear_pointer (&sprites->composition, gst_video_overlay_composition_unref);
  if (sprites->last->len > 0)
    sprites->composition = gst_video_overlay_composition_new (NULL);
  for (guint i = 0; i < sprites->last->len; i++)
    gst_video_overlay_composition_add_rectangle (sprites->composition, sprites->last->pdata[i]);
  return sprites->composition;
}
