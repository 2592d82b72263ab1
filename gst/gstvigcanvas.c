/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "gstvigcanvas.h"

#include <math.h>

#define MAX_LINES 8 /* of text, and strips of a timeline */

static const GstVigColor grey = { 0.62, 0.62, 0.62 };

void
gst_vig_canvas_init (GstVigCanvas *canvas)
{
  *canvas = (GstVigCanvas) { .stretch = 1 };
  /* of its own: the default one belongs to the thread that asks for it */
  g_autoptr (PangoFontMap) fonts = pango_cairo_font_map_new ();
  canvas->pango = pango_font_map_create_context (fonts);
  gst_vig_sprites_init (&canvas->sprites);
}

void
gst_vig_canvas_clear (GstVigCanvas *canvas)
{
  gst_vig_sprites_clear (&canvas->sprites);
  g_clear_pointer (&canvas->font, pango_font_description_free);
  g_clear_object (&canvas->pango);
}

/* A 24th of the shorter side suits most frames; under 12 pixels nobody can read. */
static double
suitable_em (const GstVigCanvas *canvas)
{
  return MAX (12, MIN (canvas->width * canvas->stretch, canvas->height) / 24);
}

void
gst_vig_canvas_set_frame (GstVigCanvas *canvas, const GstVideoInfo *info, const char *font)
{
  gst_vig_sprites_forget (&canvas->sprites);
  canvas->width = GST_VIDEO_INFO_WIDTH (info);
  canvas->height = GST_VIDEO_INFO_HEIGHT (info);
  const double n = GST_VIDEO_INFO_PAR_N (info), d = GST_VIDEO_INFO_PAR_D (info);
  canvas->stretch = n > 0 && d > 0 ? CLAMP (n / d, 0.01, 100) : 1;
  g_clear_pointer (&canvas->font, pango_font_description_free);
  canvas->font = pango_font_description_from_string (font ? font : "Sans Bold");
  const int size = pango_font_description_get_size (canvas->font);
  canvas->em = size > 0 ? size / (double) PANGO_SCALE : suitable_em (canvas);
}

/* ---- what the drawings have in common ---- */

static double
shown_width (const GstVigCanvas *canvas)
{
  return canvas->width * canvas->stretch;
}

static void
set_color (cairo_t *cr, GstVigColor color, double alpha)
{
  cairo_set_source_rgba (cr, color.r, color.g, color.b, alpha);
}

static void
rounded (cairo_t *cr, double x, double y, double w, double h, double radius)
{
  radius = MIN (radius, MIN (w, h) / 2);
  cairo_new_sub_path (cr);
  cairo_arc (cr, x + w - radius, y + radius, radius, -G_PI_2, 0);
  cairo_arc (cr, x + w - radius, y + h - radius, radius, 0, G_PI_2);
  cairo_arc (cr, x + radius, y + h - radius, radius, G_PI_2, G_PI);
  cairo_arc (cr, x + radius, y + radius, radius, G_PI, 3 * G_PI_2);
  cairo_close_path (cr);
}

/* Text of that height, cut off where it is wider than @width; < 0: never. (transfer full) */
static PangoLayout *
set_text (const GstVigCanvas *canvas, const char *text, double em, double width)
{
  PangoLayout *layout = pango_layout_new (canvas->pango);
  g_autoptr (PangoFontDescription) font = pango_font_description_copy_static (canvas->font);
  pango_font_description_set_absolute_size (font, em * PANGO_SCALE);
  pango_layout_set_font_description (layout, font);
  pango_layout_set_single_paragraph_mode (layout, TRUE);
  pango_layout_set_text (layout, text, -1);
  if (width >= 0) {
    pango_layout_set_width (layout, (int) (width * PANGO_SCALE));
    pango_layout_set_ellipsize (layout, PANGO_ELLIPSIZE_END);
  }
  return layout;
}

static void
show_text (cairo_t *cr, PangoLayout *layout, double x, double y)
{
  cairo_move_to (cr, x, y);
  pango_cairo_show_layout (cr, layout);
}

/* Black or white, whichever is easier to read on it. */
static void
set_ink (cairo_t *cr, GstVigColor ground)
{
  const double ink = gst_vig_color_get_luma (ground) > 0.45 ? 0 : 1;
  cairo_set_source_rgb (cr, ink, ink, ink);
}

static GstVigColor
color_of (GstVigCanvas *canvas, const GstVigReading *reading)
{
  return reading->certain ? gst_vig_colors_get (&canvas->colors, reading->label) : grey;
}

static int
percent (double confidence)
{
  return (int) lround (CLAMP (confidence, 0, 1) * 100);
}

/* Of text at (x, y), as it is shown, in whole pixels of the frame: what of it is inside. FALSE: nothing. */
static gboolean
to_pixels (const GstVigCanvas *canvas, double x, double y, double w, double h, GstVideoRectangle *place)
{
  const int left = (int) CLAMP (floor (x / canvas->stretch), 0, canvas->width);
  const int right = (int) CLAMP (ceil ((x + w) / canvas->stretch), 0, canvas->width);
  const int top = (int) CLAMP (floor (y), 0, canvas->height), bottom = (int) CLAMP (ceil (y + h), 0, canvas->height);
  *place = (GstVideoRectangle) { left, top, right - left, bottom - top };
  return place->w > 0 && place->h > 0;
}

static void
add_sprite (GstVigCanvas *canvas, const char *key, const GstVideoRectangle *place, GstVigDraw draw, gconstpointer data)
{
  gst_vig_sprites_add (&canvas->sprites, key, place, place->w, place->h, draw, data);
}

/* ---- lines ---- */

typedef struct {
  char *text;
  GstVigColor color;
  int percent;
} Line;

typedef struct {
  const GstVigCanvas *canvas;
  double width, line, pad; /* of the whole; of a line and its bar; of what is around them */
  guint n;
  Line lines[MAX_LINES];
} Lines;

/* The label, how sure it is, and as a bar. */
static void
draw_line (cairo_t *cr, const Lines *lines, const Line *line, double y)
{
  const GstVigCanvas *canvas = lines->canvas;
  const double em = canvas->em, x = lines->pad, width = lines->width - 2 * x, bar = em * 0.28;
  g_autofree char *number = g_strdup_printf ("%d%%", line->percent);
  g_autoptr (PangoLayout) right = set_text (canvas, number, em, -1);
  int w;
  pango_layout_get_pixel_size (right, &w, NULL);
  g_autoptr (PangoLayout) left = set_text (canvas, line->text, em, MAX (width - w - em * 0.5, 0));
  cairo_set_source_rgb (cr, 1, 1, 1);
  show_text (cr, left, x, y);
  show_text (cr, right, x + width - w, y);
  y += lines->line - bar - em * 0.25;
  cairo_set_source_rgba (cr, 1, 1, 1, 0.25);
  rounded (cr, x, y, width, bar, bar / 2);
  cairo_fill (cr);
  if (line->percent == 0)
    return;
  set_color (cr, line->color, 1);
  rounded (cr, x, y, MAX (width * line->percent / 100, bar), bar, bar / 2);
  cairo_fill (cr);
}

static void
draw_lines (cairo_t *cr, gconstpointer data)
{
  const Lines *lines = data;
  const double em = lines->canvas->em;
  cairo_scale (cr, 1 / lines->canvas->stretch, 1);
  cairo_set_source_rgba (cr, 0, 0, 0, 0.6);
  rounded (cr, 0, 0, lines->width, lines->pad + lines->n * lines->line, em * 0.35);
  cairo_fill (cr);
  for (guint i = 0; i < lines->n; i++)
    draw_line (cr, lines, &lines->lines[i], lines->pad * 0.6 + i * lines->line);
}

/* Whether readings of the frame are of several classifiers. */
static gboolean
are_several (const GArray *readings)
{
  GQuark first = 0;
  for (guint i = 0; i < readings->len; i++) {
    const GstVigReading *reading = &g_array_index (readings, GstVigReading, i);
    if (reading->is_region)
      continue;
    if (first && reading->element != first)
      return TRUE;
    first = reading->element;
  }
  return FALSE;
}

void
gst_vig_canvas_add_lines (GstVigCanvas *canvas, const GArray *readings)
{
  const double em = canvas->em, margin = em * 0.5, pad = em * 0.5;
  Lines lines = { canvas, MIN (shown_width (canvas) - 2 * margin, em * 15), em * 1.95, pad, 0, { { 0 } } };
  const guint room = (guint) CLAMP ((canvas->height - 2 * margin - pad) / lines.line, 0, MAX_LINES);
  const gboolean named = are_several (readings);
  g_autoptr (GString) key = g_string_new ("lines");
  GstVideoRectangle place;

  if (lines.width < 5 * em)
    return;
  for (guint i = 0; i < readings->len && lines.n < room; i++) {
    const GstVigReading *reading = &g_array_index (readings, GstVigReading, i);
    if (reading->is_region)
      continue;
    Line *line = &lines.lines[lines.n++];
    line->text = named ? g_strdup_printf ("%s: %s", g_quark_to_string (reading->element), g_quark_to_string (reading->label))
        : g_strdup (g_quark_to_string (reading->label));
    line->color = color_of (canvas, reading);
    line->percent = percent (reading->confidence);
    g_string_append_printf (key, "\n%d %d %s", line->percent, reading->certain, line->text);
  }
  if (lines.n > 0 && to_pixels (canvas, margin, margin, lines.width, pad + lines.n * lines.line, &place))
    add_sprite (canvas, key->str, &place, draw_lines, &lines);
  for (guint i = 0; i < lines.n; i++)
    g_free (lines.lines[i].text);
}

/* ---- boxes ---- */

typedef struct {
  const GstVigCanvas *canvas;
  GstVideoRectangle box;
  int thickness, edge, x, y; /* edge: what of the thickness is dark, on either side; (x, y): what is drawn of the box */
  GstVigColor color;
} Box;

/* Between two rectangles, the second @from and the first @to pixels inside of the box. */
static void
fill_ring (cairo_t *cr, const Box *box, int from, int to)
{
  const GstVideoRectangle *b = &box->box;
  cairo_set_fill_rule (cr, CAIRO_FILL_RULE_EVEN_ODD);
  cairo_rectangle (cr, from, from, b->w - 2 * from, b->h - 2 * from);
  if (b->w > 2 * to && b->h > 2 * to)
    cairo_rectangle (cr, to, to, b->w - 2 * to, b->h - 2 * to);
  cairo_fill (cr);
}

static void
draw_box (cairo_t *cr, gconstpointer data)
{
  const Box *box = data;
  cairo_set_antialias (cr, CAIRO_ANTIALIAS_NONE);
  cairo_translate (cr, -box->x, -box->y);
  cairo_set_source_rgba (cr, 0, 0, 0, 0.6);
  fill_ring (cr, box, 0, box->thickness);
  set_color (cr, box->color, 1);
  fill_ring (cr, box, box->edge, box->thickness - box->edge);
}

static void
add_side (GstVigCanvas *canvas, Box *box, guint id, int x, int y, int w, int h)
{
  const GstVideoRectangle place = { box->box.x + x, box->box.y + y, w, h };
  box->x = x;
  box->y = y;
  g_autofree char *key = g_strdup_printf ("box %u %dx%d %d,%d %.2f %.2f %.2f", id, box->box.w, box->box.h, x, y,
      box->color.r, box->color.g, box->color.b);
  if (w > 0 && h > 0)
    add_sprite (canvas, key, &place, draw_box, box);
}

/* Its four sides, each by itself: what is inside costs nothing. */
static void
add_box (GstVigCanvas *canvas, const GstVideoRectangle *region, guint id, GstVigColor color)
{
  Box box = { .canvas = canvas, .color = color };
  if (!to_pixels (canvas, region->x * canvas->stretch, region->y, region->w * canvas->stretch, region->h, &box.box))
    return;
  const int w = box.box.w, h = box.box.h;
  box.edge = MAX (1, (int) lround (canvas->em / 24));
  const int t = box.thickness = MAX (2, (int) lround (canvas->em / 8)) + 2 * box.edge;
  if (w <= 2 * t || h <= 2 * t) {
    add_side (canvas, &box, id, 0, 0, w, h);
    return;
  }
  add_side (canvas, &box, id, 0, 0, w, t);
  add_side (canvas, &box, id, 0, h - t, w, t);
  add_side (canvas, &box, id, 0, t, t, h - 2 * t);
  add_side (canvas, &box, id, w - t, t, t, h - 2 * t);
}

typedef struct {
  const GstVigCanvas *canvas;
  PangoLayout *layout;
  GstVigColor color;
  double width, height, pad;
} Tag;

static void
draw_tag (cairo_t *cr, gconstpointer data)
{
  const Tag *tag = data;
  cairo_scale (cr, 1 / tag->canvas->stretch, 1);
  set_color (cr, tag->color, 1);
  cairo_rectangle (cr, 0, 0, tag->width, tag->height);
  cairo_fill (cr);
  set_ink (cr, tag->color);
  show_text (cr, tag->layout, tag->pad, 0);
}

/* Number @nth of the object's tags: above the box, or, where there is no room, in it. */
static void
add_tag (GstVigCanvas *canvas, const GstVigReading *reading, const char *text, guint nth, guint n)
{
  const double em = canvas->em * 0.9, pad = em * 0.3;
  g_autoptr (PangoLayout) layout = set_text (canvas, text, em, MAX (shown_width (canvas) - 2 * pad, 0));
  GstVideoRectangle place;
  int w, h;
  pango_layout_get_pixel_size (layout, &w, &h);
  const Tag tag = { canvas, layout, color_of (canvas, reading), w + 2 * pad, h, pad };
  const double above = reading->region.y - n * tag.height;
  const double x = CLAMP (reading->region.x * canvas->stretch, 0, MAX (shown_width (canvas) - tag.width, 0));
  const double y = (above >= 0 ? above : MAX (reading->region.y, 0)) + nth * tag.height;
  g_autofree char *key = g_strdup_printf ("tag %u %u %d %s", reading->region_id, nth, reading->certain, text);
  if (to_pixels (canvas, floor (x), floor (y), tag.width, tag.height, &place))
    add_sprite (canvas, key, &place, draw_tag, &tag);
}

/* The readings of one object, of which @first is the first. */
static void
add_tags (GstVigCanvas *canvas, const GArray *readings, guint first)
{
  const GstVigReading *object = &g_array_index (readings, GstVigReading, first);
  guint n = 0, nth = 0;
  for (guint i = first; i < readings->len; i++) {
    const GstVigReading *reading = &g_array_index (readings, GstVigReading, i);
    n += reading->is_region && reading->region_id == object->region_id;
  }
  for (guint i = first; i < readings->len; i++) {
    const GstVigReading *reading = &g_array_index (readings, GstVigReading, i);
    if (!reading->is_region || reading->region_id != object->region_id)
      continue;
    g_autofree char *text = g_strdup_printf ("%s %d%%", g_quark_to_string (reading->label), percent (reading->confidence));
    add_tag (canvas, reading, text, nth++, n);
  }
}

static gboolean
is_first_of_object (const GArray *readings, guint which)
{
  const GstVigReading *object = &g_array_index (readings, GstVigReading, which);
  for (guint i = 0; i < which; i++) {
    const GstVigReading *reading = &g_array_index (readings, GstVigReading, i);
    if (reading->is_region && reading->region_id == object->region_id)
      return FALSE;
  }
  return object->is_region;
}

void
gst_vig_canvas_add_boxes (GstVigCanvas *canvas, const GArray *readings, gboolean labels)
{
  for (guint i = 0; i < readings->len; i++) {
    const GstVigReading *reading = &g_array_index (readings, GstVigReading, i);
    if (is_first_of_object (readings, i))
      add_box (canvas, &reading->region, reading->region_id, color_of (canvas, reading));
  }
  for (guint i = 0; labels && i < readings->len; i++)
    if (is_first_of_object (readings, i))
      add_tags (canvas, readings, i);
}

/* ---- timeline ---- */

typedef struct {
  GstVigCanvas *canvas;
  double width, strip, gap, pad;
  const GArray *histories;
  guint n;
  GstClockTime now, length;
} Timeline;

/* How far to the right a time is. */
static double
position (const Timeline *line, GstClockTime time)
{
  const double past = line->now > time ? (double) (line->now - time) / (double) line->length : 0;
  const double width = line->width - 2 * line->pad;
  /* whole pixels: what has not moved by one is not drawn anew */
  return line->pad + floor (width * (1 - MIN (past, 1)));
}

static void
draw_turn (cairo_t *cr, const Timeline *line, GQuark label, double from, double to, double y)
{
  const GstVigColor color = gst_vig_colors_get (&line->canvas->colors, label);
  const double em = line->strip * 0.74;
  set_color (cr, color, 1);
  cairo_rectangle (cr, from, y, to - from, line->strip);
  cairo_fill (cr);
  if (to - from < 2.5 * em)
    return;
  g_autoptr (PangoLayout) text = set_text (line->canvas, g_quark_to_string (label), em, to - from - em * 0.5);
  int h;
  pango_layout_get_pixel_size (text, NULL, &h);
  set_ink (cr, color);
  show_text (cr, text, from + em * 0.3, y + (line->strip - h) / 2);
}

static void
draw_strip (cairo_t *cr, const Timeline *line, const GstVigHistory *history, double y)
{
  const GArray *turns = history->turns;
  for (guint i = 0; i < turns->len; i++) {
    const GstVigTurn *turn = &g_array_index (turns, GstVigTurn, i);
    const double from = position (line, turn->time);
    const double to = i + 1 < turns->len ? position (line, turn[1].time) : line->width - line->pad;
    if (turn->label && to > from)
      draw_turn (cr, line, turn->label, from, to, y);
  }
}

static void
draw_timeline (cairo_t *cr, gconstpointer data)
{
  const Timeline *line = data;
  cairo_scale (cr, 1 / line->canvas->stretch, 1);
  cairo_set_source_rgba (cr, 0, 0, 0, 0.6);
  rounded (cr, 0, 0, line->width, 2 * line->pad + line->n * (line->strip + line->gap) - line->gap, line->pad);
  cairo_fill (cr);
  for (guint i = 0; i < line->n; i++)
    draw_strip (cr, line, &g_array_index (line->histories, GstVigHistory, i), line->pad + i * (line->strip + line->gap));
}

static char *
timeline_key (const Timeline *line)
{
  GString *key = g_string_new ("timeline");
  for (guint i = 0; i < line->n; i++) {
    const GArray *turns = g_array_index (line->histories, GstVigHistory, i).turns;
    g_string_append_c (key, '\n');
    for (guint t = 0; t < turns->len; t++) {
      const GstVigTurn *turn = &g_array_index (turns, GstVigTurn, t);
      g_string_append_printf (key, " %d:%u", (int) position (line, turn->time), turn->label);
    }
  }
  return g_string_free (key, FALSE);
}

void
gst_vig_canvas_add_timeline (GstVigCanvas *canvas, const GArray *histories, GstClockTime now, GstClockTime length)
{
  const double em = canvas->em, margin = em * 0.5, pad = em * 0.2;
  const double width = floor (shown_width (canvas) - 2 * margin);
  const Timeline line = { canvas, width, ceil (em * 1.05), ceil (em * 0.15), pad, histories, MIN (histories->len, MAX_LINES), now,
    length };
  const double height = 2 * pad + line.n * (line.strip + line.gap) - line.gap;
  GstVideoRectangle place;
  if (line.n == 0 || width < 5 * em || height + 2 * margin > canvas->height / 2.0)
    return;
  g_autofree char *key = timeline_key (&line);
  if (to_pixels (canvas, margin, floor (canvas->height - margin - height), width, height, &place))
    add_sprite (canvas, key, &place, draw_timeline, &line);
}

/* ---- heat ---- */

typedef struct {
  const GstVigReadingHeat *heat;
  double opacity;
  int width, height; /* of what is drawn */
} Heat;

/* From dark to light; what is not warm cannot be seen. */
static GstVigColor
color_of_heat (double warmth)
{
  static const GstVigColor steps[] = { { 0.95, 0, 0.30 }, { 1, 0.15, 0 }, { 1, 0.60, 0 }, { 1, 1, 0.30 } };
  const double at = warmth * (G_N_ELEMENTS (steps) - 1);
  const guint i = (guint) MIN (at, G_N_ELEMENTS (steps) - 2);
  const GstVigColor *a = &steps[i], *b = a + 1;
  const double part = at - i;
  return (GstVigColor) { a->r + part * (b->r - a->r), a->g + part * (b->g - a->g), a->b + part * (b->b - a->b) };
}

/* Premultiplied, as cairo has them. */
static guint32
to_argb (GstVigColor color, double alpha)
{
  const guint a = (guint) lround (255 * alpha), r = (guint) lround (255 * alpha * color.r),
      g = (guint) lround (255 * alpha * color.g), b = (guint) lround (255 * alpha * color.b);
  return a << 24 | r << 16 | g << 8 | b;
}

/* How warm a cell is, 0 to 1: 0 where it says no more than cells do in the mean, 1 from two standard deviations more on; and
 * from two logits more, were all cells like it: else noise would look like something. */
static void
warm_cells (const GstVigReadingHeat *heat, double *warmth)
{
  const guint n = heat->rows * heat->columns;
  double sum = 0, squares = 0;
  for (guint i = 0; i < n; i++)
    sum += heat->shares[i];
  const double mean = sum / n;
  for (guint i = 0; i < n; i++)
    squares += (heat->shares[i] - mean) * (heat->shares[i] - mean);
  const double full = MAX (2 * sqrt (squares / n), 2.0 / n);
  for (guint i = 0; i < n; i++) {
    const double w = (heat->shares[i] - mean) / full;
    warmth[i] = w > 0 ? MIN (w, 1) : 0; /* 0 also of what is no number */
  }
}

static void
draw_heat (cairo_t *cr, gconstpointer data)
{
  const Heat *heat = data;
  const int rows = (int) heat->heat->rows, columns = (int) heat->heat->columns;
  g_autofree double *warmth = g_new (double, (gsize) rows * columns);
  g_autofree guint32 *cells = g_new (guint32, (gsize) rows * columns);
  warm_cells (heat->heat, warmth);
  for (int i = 0; i < rows * columns; i++)
    cells[i] = to_argb (color_of_heat (warmth[i]), heat->opacity * MIN (1.6 * warmth[i], 1));
  cairo_surface_t *surface = cairo_image_surface_create_for_data ((guint8 *) cells, CAIRO_FORMAT_ARGB32, columns, rows,
      columns * (int) sizeof *cells);
  cairo_scale (cr, (double) heat->width / columns, (double) heat->height / rows);
  cairo_set_source_surface (cr, surface, 0, 0);
  cairo_pattern_set_extend (cairo_get_source (cr), CAIRO_EXTEND_PAD);
  cairo_pattern_set_filter (cairo_get_source (cr), CAIRO_FILTER_BILINEAR);
  cairo_paint (cr);
  cairo_set_source_rgb (cr, 0, 0, 0); /* lets go of the surface */
  cairo_surface_finish (surface);
  cairo_surface_destroy (surface);
}

/* Some pixels for each cell, which whoever draws makes larger: the cells' own pixels would be moved by half of one. */
static void
add_heat (GstVigCanvas *canvas, const GstVigReading *reading, double opacity)
{
  const GstVigReadingHeat *h = &reading->heat;
  const GstVideoRectangle place = { (int) lround (h->x), (int) lround (h->y), MAX ((int) lround (h->width), 1),
    MAX ((int) lround (h->height), 1) };
  const guint fine = CLAMP (512 / MAX (h->rows, h->columns), 1, 16);
  const Heat heat = { h, opacity, (int) (h->columns * fine), (int) (h->rows * fine) };
  g_autofree char *sum = g_compute_checksum_for_data (G_CHECKSUM_MD5, (const guint8 *) h->shares,
      (gsize) h->rows * h->columns * sizeof (float));
  g_autofree char *key = g_strdup_printf ("heat %u %u %.3f %s", h->rows, h->columns, opacity, sum);
  if (place.x < canvas->width && place.y < canvas->height && place.x + place.w > 0 && place.y + place.h > 0)
    gst_vig_sprites_add (&canvas->sprites, key, &place, heat.width, heat.height, draw_heat, &heat);
}

void
gst_vig_canvas_add_heat (GstVigCanvas *canvas, const GArray *readings, double opacity)
{
  gboolean has_frame = FALSE;
  for (guint i = 0; i < readings->len; i++) {
    const GstVigReading *reading = &g_array_index (readings, GstVigReading, i);
    if (!reading->heat.shares || (reading->is_region ? !is_first_of_object (readings, i) : has_frame))
      continue;
    add_heat (canvas, reading, opacity);
    has_frame |= !reading->is_region;
  }
}
