/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Title and facts, the timeline with its legend, then the pictures in rows, each with its time and label. */
#include "sheet.h"

#include <gdk-pixbuf/gdk-pixbuf.h>
#include <gio/gio.h>
#include <math.h>
#include <pango/pangocairo.h>

#include "curves.h"
#include "html.h"
#include "palette.h"

#define MARGIN 24
#define GAP 12
#define CAPTION 26      /* under each picture */
#define BAR 22          /* height of the timeline */
#define LEAST_WIDTH 720 /* of the sheet, for the title */
#define NAMED 8         /* labels in the legend */

typedef struct {
  const VigLabelled *video;
  GArray *ranked;
  cairo_t *cr;
  int cell_width, cell_height, columns, width;
} Sheet;

/* ---- drawing ---------------------------------------------------------------------------------------------------- */

static void
set_colour (cairo_t *cr, guint rgb)
{
  cairo_set_source_rgb (cr, (rgb >> 16) / 255.0, (rgb >> 8 & 255) / 255.0, (rgb & 255) / 255.0);
}

/* Draws `text` at (x, y), cut with an ellipsis at `width`, or in at most `lines` lines; returns its width, and in `height` its height. */
static int
draw_text (Sheet *sheet, const char *font, guint rgb, double x, double y, int width, int lines, const char *text, int *height)
{
  g_autoptr (PangoLayout) layout = pango_cairo_create_layout (sheet->cr);
  PangoFontDescription *description = pango_font_description_from_string (font);
  g_autofree char *valid = g_utf8_make_valid (text, -1);
  pango_layout_set_font_description (layout, description);
  pango_font_description_free (description);
  pango_layout_set_text (layout, valid, -1);
  pango_layout_set_width (layout, width * PANGO_SCALE);
  pango_layout_set_height (layout, -lines);
  pango_layout_set_wrap (layout, PANGO_WRAP_WORD_CHAR);
  pango_layout_set_ellipsize (layout, lines > 1 ? PANGO_ELLIPSIZE_END : PANGO_ELLIPSIZE_MIDDLE);
  set_colour (sheet->cr, rgb);
  cairo_move_to (sheet->cr, x, y);
  pango_cairo_show_layout (sheet->cr, layout);
  int drawn, tall;
  pango_layout_get_pixel_size (layout, &drawn, &tall);
  if (height)
    *height = tall;
  return drawn;
}

/* (nullable) (transfer full) */
static cairo_surface_t *
load_picture (const VigThumbnail *thumbnail)
{
  g_autoptr (GInputStream) stream = g_memory_input_stream_new_from_bytes (thumbnail->jpeg);
  g_autoptr (GdkPixbuf) picture = gdk_pixbuf_new_from_stream (stream, NULL, NULL);
  if (!picture || gdk_pixbuf_get_n_channels (picture) != 3)
    return NULL;
  int width = gdk_pixbuf_get_width (picture), height = gdk_pixbuf_get_height (picture);
  cairo_surface_t *surface = cairo_image_surface_create (CAIRO_FORMAT_RGB24, width, height);
  for (int y = 0; y < height; y++) {
    const guint8 *from = gdk_pixbuf_read_pixels (picture) + (gsize) y * gdk_pixbuf_get_rowstride (picture);
    guint32 *to = (guint32 *) (void *) (cairo_image_surface_get_data (surface) + (gsize) y * cairo_image_surface_get_stride (surface));
    for (int x = 0; x < width; x++)
      to[x] = (guint32) from[3 * x] << 16 | (guint32) from[3 * x + 1] << 8 | from[3 * x + 2];
  }
  cairo_surface_mark_dirty (surface);
  return surface;
}

static void
draw_picture (Sheet *sheet, const VigThumbnail *thumbnail, double x, double y)
{
  cairo_rectangle (sheet->cr, x, y, sheet->cell_width, sheet->cell_height);
  set_colour (sheet->cr, 0xe9ecef);
  cairo_fill (sheet->cr);
  cairo_surface_t *surface = load_picture (thumbnail);
  if (!surface)
    return;
  x += (sheet->cell_width - thumbnail->width) / 2;
  y += (sheet->cell_height - thumbnail->height) / 2;
  cairo_set_source_surface (sheet->cr, surface, x, y);
  cairo_rectangle (sheet->cr, x, y, thumbnail->width, thumbnail->height);
  cairo_fill (sheet->cr);
  cairo_surface_destroy (surface);
}

static void
draw_chip (Sheet *sheet, GQuark label, double x, double y)
{
  set_colour (sheet->cr, vig_palette_rgb (vig_palette_colour (sheet->ranked, label)));
  cairo_rectangle (sheet->cr, x, y, 11, 11);
  cairo_fill (sheet->cr);
}

static void
draw_cell (Sheet *sheet, const VigThumbnail *thumbnail, double x, double y)
{
  draw_picture (sheet, thumbnail, x, y);
  y += sheet->cell_height + 4;
  g_autoptr (GString) text = g_string_new (NULL);
  vig_html_time (text, (double) thumbnail->time / GST_SECOND, 1);
  int used = draw_text (sheet, "Sans 10", 0x5d6673, x, y, sheet->cell_width, 1, text->str, NULL) + 10;
  const VigScore *best = vig_labelled_best (sheet->video, thumbnail->time);
  if (!best || used + 30 > sheet->cell_width)
    return;
  draw_chip (sheet, best->label, x + used, y + 3);
  g_string_printf (text, "%s %.0f %%", g_quark_to_string (best->label), 100 * best->confidence);
  draw_text (sheet, "Sans 10", 0x1d2229, x + used + 16, y, sheet->cell_width - used - 16, 1, text->str, NULL);
}

/* ---- above the pictures: each draws at y and returns where the next begins ------------------------------------------ */

static double
draw_title (Sheet *sheet, double y)
{
  const VigLabelled *video = sheet->video;
  int inner = sheet->width - 2 * MARGIN, height;
  g_autofree char *base = g_path_get_basename (video->input), *name = g_filename_display_name (base);
  draw_text (sheet, "Sans Bold 17", 0x1d2229, MARGIN, y, inner, 1, name, &height);
  y += height + 4;
  g_autoptr (GString) facts = g_string_new (NULL);
  vig_html_time (facts, GST_CLOCK_TIME_IS_VALID (video->duration) ? (double) video->duration / GST_SECOND : 0, 1);
  if (video->width > 0)
    g_string_append_printf (facts, " · %d × %d", video->width, video->height);
  if (video->created)
    g_string_append_printf (facts, " · recorded %s", video->created);
  if (video->model)
    g_string_append_printf (facts, " · %s", video->model);
  draw_text (sheet, "Sans 11", 0x5d6673, MARGIN, y, inner, 1, facts->str, &height);
  y += height + 8;
  if (video->error) {
    draw_text (sheet, "Sans 11", 0xb3261e, MARGIN, y, inner, 4, video->error, &height);
    y += height + 8;
  }
  return y;
}

static double
draw_timeline (Sheet *sheet, double y)
{
  int inner = sheet->width - 2 * MARGIN;
  cairo_rectangle (sheet->cr, MARGIN, y, inner, BAR);
  set_colour (sheet->cr, 0xe9ecef);
  cairo_fill (sheet->cr);
  g_autoptr (GArray) bars = vig_curve_bars (sheet->video, (guint) inner);
  for (guint i = 0; i < bars->len; i++) {
    const VigBar *bar = &g_array_index (bars, VigBar, i);
    set_colour (sheet->cr, vig_palette_rgb (vig_palette_colour (sheet->ranked, bar->label)));
    double x0 = CLAMP (bar->x0, 0, 1), x1 = CLAMP (bar->x1, x0, 1);
    cairo_rectangle (sheet->cr, MARGIN + x0 * inner, y, MAX ((x1 - x0) * inner, 1), BAR);
    cairo_fill (sheet->cr);
  }
  return y + BAR + 8;
}

static double
draw_legend (Sheet *sheet, double y)
{
  double x = MARGIN;
  int height = 0;
  for (guint i = 0; i < MIN (sheet->ranked->len, NAMED); i++) {
    const VigRankedLabel *label = &g_array_index (sheet->ranked, VigRankedLabel, i);
    int room = sheet->width - MARGIN - (int) x - 16;
    if (label->seconds <= 0 || room < 60)
      break;
    g_autoptr (GString) text = g_string_new (g_quark_to_string (label->label));
    g_string_append (text, "  ");
    vig_html_time (text, label->seconds, 1);
    draw_chip (sheet, label->label, x, y + 3);
    x += 16 + draw_text (sheet, "Sans 10", 0x1d2229, x + 16, y, MIN (room, 260), 1, text->str, &height) + 20;
  }
  return y + height + GAP;
}

/* ---- the whole -------------------------------------------------------------------------------------------------- */

static void
measure (Sheet *sheet)
{
  const GArray *thumbnails = sheet->video->thumbnails;
  sheet->cell_width = sheet->cell_height = 1;
  for (guint i = 0; i < thumbnails->len; i++) {
    sheet->cell_width = MAX (sheet->cell_width, g_array_index (thumbnails, VigThumbnail, i).width);
    sheet->cell_height = MAX (sheet->cell_height, g_array_index (thumbnails, VigThumbnail, i).height);
  }
  /* a sheet that is about one and a half times as wide as high */
  double shape = (double) (sheet->cell_height + CAPTION + GAP) / (sheet->cell_width + GAP);
  sheet->columns = MAX ((int) ceil (sqrt (1.5 * thumbnails->len * shape)), 1);
  sheet->width = MAX (2 * MARGIN + sheet->columns * (sheet->cell_width + GAP) - GAP, LEAST_WIDTH);
}

/* Returns the height. On a recording surface first, to know it. */
static int
draw_all (Sheet *sheet)
{
  const GArray *thumbnails = sheet->video->thumbnails;
  set_colour (sheet->cr, 0xffffff);
  cairo_paint (sheet->cr);
  double y = draw_title (sheet, MARGIN);
  if (sheet->video->frames->len)
    y = draw_legend (sheet, draw_timeline (sheet, y));
  for (guint i = 0; i < thumbnails->len; i++) {
    int column = (int) i % sheet->columns, row = (int) i / sheet->columns;
    draw_cell (sheet, &g_array_index (thumbnails, VigThumbnail, i), MARGIN + column * (sheet->cell_width + GAP),
        y + row * (sheet->cell_height + CAPTION + GAP));
  }
  int rows = ((int) thumbnails->len + sheet->columns - 1) / sheet->columns;
  return (int) ceil (y) + rows * (sheet->cell_height + CAPTION + GAP) + MARGIN - GAP;
}

static cairo_status_t
append (void *closure, const unsigned char *data, unsigned int length)
{
  g_byte_array_append (closure, data, length);
  return CAIRO_STATUS_SUCCESS;
}

static GBytes *
to_png (cairo_surface_t *surface)
{
  GByteArray *png = g_byte_array_new ();
  cairo_status_t status = cairo_surface_write_to_png_stream (surface, append, png);
  if (status != CAIRO_STATUS_SUCCESS) /* there is no memory: GLib does not go on then either */
    g_error ("the contact sheet cannot be drawn: %s", cairo_status_to_string (status));
  return g_byte_array_free_to_bytes (png);
}

GBytes *
vig_sheet_draw (const VigLabelled *video)
{
  Sheet sheet = { .video = video, .ranked = vig_palette_rank (video) };
  measure (&sheet);
  cairo_surface_t *trial = cairo_recording_surface_create (CAIRO_CONTENT_COLOR, NULL);
  sheet.cr = cairo_create (trial);
  int height = draw_all (&sheet);
  cairo_destroy (sheet.cr);
  cairo_surface_destroy (trial);

  cairo_surface_t *surface = cairo_image_surface_create (CAIRO_FORMAT_RGB24, sheet.width, height);
  sheet.cr = cairo_create (surface);
  draw_all (&sheet);
  cairo_destroy (sheet.cr);
  GBytes *png = to_png (surface);
  cairo_surface_destroy (surface);
  g_array_unref (sheet.ranked);
  return png;
}
