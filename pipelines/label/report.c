/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The page of one video. Everything is in it: pictures as data, curves as SVG, style and script (report.css, report.js). Without the
 * script, and where the browser cannot play the video, it is still there to be read.
 */
#include "report.h"

#include <math.h>
#include <string.h>

#include "curves.h"
#include "html.h"
#include "palette.h"
#include "summary.h"

#define LANES 16       /* labels with a curve of their own */
#define NOTHING 0.1    /* a label that is never surer than this, and in no segment, has none */
#define COLUMNS 600    /* of a curve */
#define BARS 1000      /* of the timeline */
#define ROWS 5000      /* of the table */
#define TICKS 8        /* about, of the time axis */
#define SOURCE " data-source=\"" /* the link to the video, for vig_report_move() */

typedef struct {
  const VigLabelled *video;
  GString *html;
  GArray *ranked; /* of VigRankedLabel */
  double end;     /* seconds of the time axis */
  char *link;     /* to the video itself, or NULL */
} Page;

static double
to_seconds (GstClockTime time)
{
  return GST_CLOCK_TIME_IS_VALID (time) ? (double) time / GST_SECOND : 0;
}

/* " href=…" to a moment of the video. */
static void
append_href (Page *page, double seconds)
{
  vig_html_format (page->html, " href=\"%s#t=", page->link ? page->link : "");
  vig_html_number (page->html, seconds, 3);
  g_string_append (page->html, "\"");
}

/* A square of the label's colour. */
static void
append_chip (Page *page, GQuark label)
{
  g_string_append_printf (page->html, "<i class=\"chip c%d\"></i>", vig_palette_colour (page->ranked, label));
}

static void
append_percent (Page *page, double part)
{
  vig_html_number (page->html, 100 * part, 0);
  g_string_append (page->html, "&#8239;%");
}

/* ---- head and facts --------------------------------------------------------------------------------------------- */

static char *
base_name (const VigLabelled *video)
{
  g_autofree char *base = g_path_get_basename (video->input);
  return g_filename_display_name (base);
}

static void
append_head (Page *page)
{
  GString *html = page->html;
  const VigLabelled *video = page->video;
  g_autofree char *name = base_name (video);
  g_autoptr (GString) summary = g_string_new (NULL);
  vig_summary_append (summary, video);
  vig_html_begin (html, name, summary->str, "report.js");
  if (page->link)
    vig_html_format (html, SOURCE "%s\"", page->link);
  g_string_append (html, " data-end=\"");
  vig_html_number (html, page->end, 3);
  vig_html_format (html, "\">\n<header><h1><bdi>%s</bdi></h1></header>\n", name);
  if (!video->error)
    return;
  g_string_append (html, "<p class=\"error\" role=\"alert\">");
  if (video->frames->len) {
    g_string_append (html, "Labelled only up to ");
    vig_html_time (html, to_seconds (g_array_index (video->frames, VigLabelledFrame, video->frames->len - 1).time), 1);
    g_string_append (html, ": ");
  } else {
    g_string_append (html, "Could not be labelled: ");
  }
  vig_html_format (html, "%s</p>\n", video->error);
}

static void
append_fact (Page *page, const char *name, const char *value)
{
  vig_html_format (page->html, "<dt>%s</dt><dd><bdi>%s</bdi></dd>\n", name, value);
}

static void
append_facts (Page *page)
{
  const VigLabelled *video = page->video;
  g_autoptr (GString) text = g_string_new (NULL);
  g_string_append (page->html, "<dl class=\"facts\">\n");
  append_fact (page, "File", video->input);
  vig_html_time (text, to_seconds (video->duration), 1);
  append_fact (page, "Duration", text->str);
  if (video->width > 0) {
    g_string_printf (text, "%d × %d", video->width, video->height);
    if (video->rotation)
      g_string_append_printf (text, ", turned by %d°", video->rotation);
    append_fact (page, "Picture", text->str);
  }
  if (video->created)
    append_fact (page, "Recorded", video->created);
  if (video->model)
    g_string_printf (text, "%s%s%.12s", video->model, video->model_hash ? ", " : "", video->model_hash ? video->model_hash : "");
  append_fact (page, "Model", video->model ? text->str : "unknown");
  g_string_printf (text, "%u frame%s, %u segment%s", video->frames->len, video->frames->len == 1 ? "" : "s",
      video->segments->len, video->segments->len == 1 ? "" : "s");
  append_fact (page, "Results", text->str);
  g_string_append (page->html, "</dl>\n");
}

/* ---- pictures --------------------------------------------------------------------------------------------------- */

static void
append_data_url (GString *html, const VigThumbnail *thumbnail)
{
  gsize size;
  const guchar *data = g_bytes_get_data (thumbnail->jpeg, &size);
  g_autofree char *text = g_base64_encode (data, size);
  g_string_append_printf (html, "data:image/jpeg;base64,%s", text);
}

static void
append_thumbnail (Page *page, const VigThumbnail *thumbnail)
{
  GString *html = page->html;
  const VigScore *best = vig_labelled_best (page->video, thumbnail->time);
  double seconds = to_seconds (thumbnail->time);
  g_string_append (html, "<a class=\"thumb\" data-t=\"");
  vig_html_number (html, seconds, 3);
  g_string_append (html, "\"");
  append_href (page, seconds);
  g_string_append_printf (html, "><img width=\"%d\" height=\"%d\" alt=\"picture at ", thumbnail->width, thumbnail->height);
  vig_html_time (html, seconds, 1);
  if (best)
    vig_html_format (html, ": %s", g_quark_to_string (best->label));
  g_string_append (html, "\" src=\"");
  append_data_url (html, thumbnail);
  g_string_append (html, "\"><small>");
  vig_html_time (html, seconds, page->end < 60 ? 2 : 1);
  g_string_append (html, "</small>");
  if (best) {
    g_string_append (html, "<span>");
    append_chip (page, best->label);
    vig_html_format (html, "%s ", g_quark_to_string (best->label));
    append_percent (page, best->confidence);
    g_string_append (html, "</span>");
  }
  g_string_append (html, "</a>\n");
}

static void
append_strip (Page *page)
{
  const GArray *thumbnails = page->video->thumbnails;
  if (thumbnails->len == 0)
    return;
  g_string_append (page->html, "<section><h2>Pictures</h2>\n<div class=\"strip\" id=\"strip\" tabindex=\"-1\">\n");
  for (guint i = 0; i < thumbnails->len; i++)
    append_thumbnail (page, &g_array_index (thumbnails, VigThumbnail, i));
  g_string_append (page->html, "</div></section>\n");
}

/* The video, and the picture that stands for it where it does not play. */
static void
append_view (Page *page)
{
  GString *html = page->html;
  const GArray *thumbnails = page->video->thumbnails;
  g_string_append (html, "<section class=\"view\">\n<figure id=\"view\">\n");
  if (page->link && page->video->frames->len) {
    /* nothing is fetched from a network until somebody plays it */
    gboolean remote = g_str_has_prefix (page->link, "http");
    double first = to_seconds (g_array_index (page->video->frames, VigLabelledFrame, 0).time);
    vig_html_format (html, "<video id=\"video\" controls muted preload=\"%s\" aria-label=\"the video\" src=\"%s#t=",
        remote ? "none" : "metadata", page->link);
    vig_html_number (html, first, 3);
    g_string_append (html, "\"></video>\n");
  }
  if (thumbnails->len)
    g_string_append (html, "<img id=\"still\" alt=\"\" hidden>\n");
  g_string_append (html, "<figcaption><output id=\"now\"></output><span id=\"cannot\" hidden>This browser cannot play the file: you see "
      "the nearest of the pictures below.</span></figcaption>\n</figure>\n");
  append_facts (page);
  g_string_append (html, "</section>\n");
}

/* ---- timeline and curves ---------------------------------------------------------------------------------------- */

/* 1, 2 or 5 seconds, 10, 20, 30, 60, …: what `seconds` are divided into about TICKS parts by. */
static double
tick_step (double seconds)
{
  static const double steps[] = { 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1200, 1800, 3600, 7200, 18000, 36000 };
  for (guint i = 0; i < G_N_ELEMENTS (steps); i++)
    if (seconds / steps[i] <= TICKS)
      return steps[i];
  return 86400 * ceil (seconds / TICKS / 86400);
}

static void
append_axis (Page *page)
{
  double step = tick_step (page->end);
  g_string_append (page->html, "<div class=\"lane axis\" aria-hidden=\"true\"><span></span><div class=\"plot\">");
  for (guint i = 0; i * step <= 0.94 * page->end; i++) { /* one at the very end would stick out */
    g_string_append (page->html, "<span style=\"left:");
    vig_html_number (page->html, 100 * i * step / page->end, 3);
    g_string_append (page->html, "%\">");
    vig_html_time (page->html, i * step, step < 1);
    g_string_append (page->html, "</span>");
  }
  g_string_append (page->html, "</div></div>\n");
}

static void
append_bar (Page *page, const VigBar *bar, double y, double height)
{
  double x0 = CLAMP (bar->x0, 0, 1), x1 = CLAMP (bar->x1, x0, 1);
  g_string_append_printf (page->html, "<rect class=\"c%d\" x=\"", vig_palette_colour (page->ranked, bar->label));
  vig_html_number (page->html, 1000 * x0, 2);
  g_string_append (page->html, "\" y=\"");
  vig_html_number (page->html, y, 0);
  g_string_append (page->html, "\" width=\"");
  vig_html_number (page->html, MAX (1000 * (x1 - x0), 0.5), 2); /* never too thin to be seen */
  g_string_append (page->html, "\" height=\"");
  vig_html_number (page->html, height, 0);
  vig_html_format (page->html, "\"><title>%s</title></rect>", g_quark_to_string (bar->label));
}

static void
append_coordinates (GString *path, const char *command, double x, double y)
{
  g_string_append (path, command);
  vig_html_number (path, 1000 * x, 1);
  g_string_append_c (path, ' ');
  vig_html_number (path, 100 - 100 * y, 1);
}

/* The curve as a line, and as an area down to nought. */
static void
append_curve (Page *page, const GArray *points, int colour)
{
  g_autoptr (GString) line = g_string_new (NULL), area = g_string_new (NULL);
  for (guint i = 0; i < points->len; i++) {
    const VigCurvePoint *point = &g_array_index (points, VigCurvePoint, i);
    const VigCurvePoint *next = i + 1 < points->len ? point + 1 : NULL;
    if (point->begins)
      append_coordinates (area, "M", point->x, 0);
    append_coordinates (line, point->begins ? "M" : "L", point->x, point->y);
    append_coordinates (area, "L", point->x, point->y);
    if (next && !next->begins)
      continue;
    if (point->begins)
      g_string_append (line, "h0"); /* alone: the line's round end is a dot */
    append_coordinates (area, "L", point->x, 0);
    g_string_append (area, "z");
  }
  g_string_append_printf (page->html, "<path class=\"area c%d\" d=\"%s\"/><path class=\"line c%d\" d=\"%s\"/>", colour, area->str, colour,
      line->str);
}

static void
append_lane (Page *page, const VigRankedLabel *label, const GArray *bars)
{
  GString *html = page->html;
  g_autoptr (GArray) points = vig_curve_points (page->video, label->label, COLUMNS);
  g_string_append (html, "<div class=\"lane\"><span>");
  append_chip (page, label->label);
  vig_html_format (html, "<b>%s</b> <small>", g_quark_to_string (label->label));
  if (label->seconds > 0)
    vig_html_time (html, label->seconds, 1);
  vig_html_format (html, "</small></span><div class=\"plot\"><svg role=\"img\" viewBox=\"0 0 1000 100\" preserveAspectRatio=\"none\" "
      "aria-label=\"confidence of %s over time\">", g_quark_to_string (label->label));
  for (guint i = 0; i < bars->len; i++)
    if (g_array_index (bars, VigBar, i).label == label->label)
      append_bar (page, &g_array_index (bars, VigBar, i), 0, 100);
  append_curve (page, points, label->colour);
  g_string_append (html, "</svg></div></div>\n");
}

static void
append_timeline (Page *page)
{
  GString *html = page->html;
  if (page->video->frames->len == 0)
    return;
  g_autoptr (GArray) bars = vig_curve_bars (page->video, BARS);
  g_string_append (html, "<section><h2>Timeline</h2>\n<div class=\"time\" id=\"time\">\n<div class=\"lane all\"><span>segments</span>"
      "<div class=\"plot\" id=\"slider\" tabindex=\"0\" role=\"slider\" aria-label=\"time\" aria-valuemin=\"0\" aria-valuenow=\"0\" aria-valuemax=\"");
  vig_html_number (html, page->end, 3);
  g_string_append (html, "\"><svg id=\"timeline\" aria-hidden=\"true\" viewBox=\"0 0 1000 100\" preserveAspectRatio=\"none\">");
  for (guint i = 0; i < bars->len; i++)
    append_bar (page, &g_array_index (bars, VigBar, i), 0, 100);
  g_string_append (html, "</svg></div></div>\n");
  guint lanes = 0, more = 0;
  for (guint i = 0; i < page->ranked->len; i++) {
    const VigRankedLabel *label = &g_array_index (page->ranked, VigRankedLabel, i);
    if (label->seconds <= 0 && label->peak < NOTHING)
      continue;
    if (lanes++ < LANES)
      append_lane (page, label, bars);
    else
      more++;
  }
  append_axis (page);
  g_string_append (html, "<div class=\"over\" aria-hidden=\"true\"><div id=\"head\"></div><div id=\"peek\" hidden><img alt=\"\"><span></span>"
      "</div></div>\n</div>\n");
  if (more)
    g_string_append_printf (html, "<p class=\"note\">The other results have %u more labels, that were seen for less time.</p>\n", more);
  g_string_append (html, "</section>\n");
}

/* ---- the table -------------------------------------------------------------------------------------------------- */

static void
append_row (Page *page, const VigLabelledSegment *segment)
{
  GString *html = page->html;
  double start = to_seconds (segment->start), end = MAX (to_seconds (segment->end), start);
  g_string_append (html, "<tr data-t=\"");
  vig_html_number (html, start, 3);
  g_string_append (html, "\" data-end=\"");
  vig_html_number (html, end, 3);
  g_string_append (html, "\"><td><a");
  append_href (page, start);
  g_string_append (html, ">");
  vig_html_time (html, start, 2);
  g_string_append (html, "</a></td><td>");
  vig_html_time (html, end, 2);
  g_string_append (html, "</td><td>");
  vig_html_number (html, end - start, 2);
  g_string_append (html, "&#8239;s</td><td>");
  append_chip (page, segment->label);
  vig_html_format (html, "<b>%s</b></td><td>", g_quark_to_string (segment->label));
  append_percent (page, segment->mean);
  g_string_append (html, "</td><td>");
  append_percent (page, segment->peak);
  g_string_append (html, "</td></tr>\n");
}

static void
append_table (Page *page)
{
  GString *html = page->html;
  const GArray *segments = page->video->segments;
  if (segments->len == 0)
    return;
  g_string_append (html, "<section><h2>Segments</h2>\n<table id=\"segments\"><thead><tr><th scope=\"col\">from</th><th scope=\"col\">to</th>"
      "<th scope=\"col\">length</th><th scope=\"col\">label</th><th scope=\"col\">mean</th><th scope=\"col\">peak</th></tr></thead><tbody>\n");
  for (guint i = 0; i < MIN (segments->len, ROWS); i++)
    append_row (page, &g_array_index (segments, VigLabelledSegment, i));
  g_string_append (html, "</tbody></table>\n");
  if (segments->len > ROWS)
    g_string_append_printf (html, "<p class=\"note\">%u more are in the other results: a page with more than %d would be slow.</p>\n",
        segments->len - ROWS, ROWS);
  g_string_append (html, "</section>\n");
}

GString *
vig_report_page (const VigLabelled *video, const char *source, const char *path)
{
  Page page = { video, g_string_new (NULL), vig_palette_rank (video), vig_curve_end (video), vig_html_link (path, source) };
  append_head (&page);
  g_string_append (page.html, "<main>\n");
  append_view (&page);
  append_strip (&page);
  append_timeline (&page);
  append_table (&page);
  g_string_append (page.html, "</main>\n");
  vig_html_end (page.html, "report.js");
  g_array_unref (page.ranked);
  g_free (page.link);
  return page.html;
}

/* (nullable) (transfer full): the link to the video as it stands in the page. */
static char *
find_link (const GString *page)
{
  const char *body = strstr (page->str, "<body"), *end = body ? strchr (body, '>') : NULL;
  const char *start = end ? g_strstr_len (body, end - body, SOURCE) : NULL;
  start = start ? start + strlen (SOURCE) : NULL;
  const char *quote = start ? memchr (start, '"', (gsize) (end - start)) : NULL;
  return quote ? g_strndup (start, (gsize) (quote - start)) : NULL;
}

void
vig_report_move (GString *page, const char *from, const char *to)
{
  /* a link to a file is percent-encoded and has nothing that HTML would escape; one with "://" is the same from everywhere */
  g_autofree char *link = find_link (page);
  g_autofree char *file = link && !strstr (link, "://") ? g_uri_unescape_string (link, NULL) : NULL;
  if (!file)
    return;
  g_autofree char *folder = vig_html_folder (from), *path = g_build_filename (folder, file, NULL), *moved = vig_html_link (to, path);
  const char *endings[] = { "\"", "#t=" };
  for (guint i = 0; i < G_N_ELEMENTS (endings); i++) {
    g_autofree char *old = g_strconcat ("=\"", link, endings[i], NULL), *new = g_strconcat ("=\"", moved, endings[i], NULL);
    g_string_replace (page, old, new, 0);
  }
}
