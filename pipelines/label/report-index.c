/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The page that lists all videos of a run, made from the pages themselves in two passes: ten thousand of them need no more memory
 * than the list that comes out. */
#include "report.h"

#include "html.h"
#include "palette.h"
#include "summary.h"

/* Labels named in a row. */
#define NAMED 3

typedef struct {
  GString *html;
  const char *path;
  GArray *ranked; /* of VigRankedLabel, over all videos */
  double seconds;
  guint errors;
} Index;

static void
count_labels (Index *index, GHashTable *places, const VigSummary *summary)
{
  for (guint i = 0; i < summary->labels->len; i++) {
    VigRankedLabel label = g_array_index (summary->labels, VigRankedLabel, i);
    gpointer place;
    if (g_hash_table_lookup_extended (places, GUINT_TO_POINTER (label.label), NULL, &place)) {
      g_array_index (index->ranked, VigRankedLabel, GPOINTER_TO_UINT (place)).seconds += label.seconds;
    } else {
      g_hash_table_insert (places, GUINT_TO_POINTER (label.label), GUINT_TO_POINTER (index->ranked->len));
      g_array_append_val (index->ranked, label);
    }
  }
}

static void
count (Index *index, const GPtrArray *pages)
{
  g_autoptr (GHashTable) places = g_hash_table_new (NULL, NULL);
  for (guint i = 0; i < pages->len; i++) {
    g_autoptr (VigSummary) summary = vig_summary_load (g_ptr_array_index (pages, i), NULL);
    if (!summary || summary->error)
      index->errors++;
    if (!summary)
      continue;
    index->seconds += summary->seconds;
    count_labels (index, places, summary);
  }
  vig_palette_sort (index->ranked);
}

static void
append_tiny_timeline (Index *index, const VigSummary *summary)
{
  GString *html = index->html;
  g_string_append (html, "<svg viewBox=\"0 0 1000 10\" preserveAspectRatio=\"none\" aria-hidden=\"true\">");
  for (guint i = 0; i < summary->bars->len; i++) {
    const VigBar *bar = &g_array_index (summary->bars, VigBar, i);
    g_string_append_printf (html, "<path class=\"c%d\" d=\"M%d 0H%dV10H%dz\"/>", vig_palette_colour (index->ranked, bar->label),
        (int) (1000 * bar->x0), MAX ((int) (1000 * bar->x1), (int) (1000 * bar->x0) + 1), (int) (1000 * bar->x0));
  }
  g_string_append (html, "</svg>");
}

static void
append_labels (Index *index, const VigSummary *summary)
{
  for (guint i = 0; i < MIN (summary->labels->len, NAMED); i++) {
    const VigRankedLabel *label = &g_array_index (summary->labels, VigRankedLabel, i);
    g_string_append_printf (index->html, "<span class=\"named\"><i class=\"chip c%d\"></i>", vig_palette_colour (index->ranked, label->label));
    vig_html_format (index->html, "%s <small>", g_quark_to_string (label->label));
    vig_html_time (index->html, label->seconds, 0);
    g_string_append (index->html, "</small></span> ");
  }
  if (summary->labels->len > NAMED)
    g_string_append_printf (index->html, "<small>and %u more</small>", summary->labels->len - NAMED);
}

static void
append_row (Index *index, const char *page)
{
  GString *html = index->html;
  g_autoptr (GError) error = NULL;
  g_autoptr (VigSummary) summary = vig_summary_load (page, &error);
  g_autofree char *link = vig_html_link (index->path, page), *shown = g_filename_display_name (page);
  const char *reason = summary ? summary->error : error->message;
  double seconds = summary ? summary->seconds : 0;
  g_string_append_printf (html, "<tr%s><td><a href=\"", reason ? " class=\"failed\"" : "");
  vig_html_format (html, "%s\"><bdi>%s</bdi></a>", link, summary ? summary->name : shown);
  if (reason)
    vig_html_format (html, "<p class=\"error\">%s</p>", reason);
  g_string_append (html, "</td><td data-v=\"");
  vig_html_number (html, seconds, 3);
  g_string_append (html, "\">");
  vig_html_time (html, seconds, 1);
  g_string_append (html, "</td><td>");
  if (summary) {
    append_tiny_timeline (index, summary);
    append_labels (index, summary);
  }
  g_string_append (html, "</td></tr>\n");
}

static void
append_legend (Index *index)
{
  GString *html = index->html;
  g_string_append (html, "<ul class=\"legend\" aria-label=\"labels\">");
  for (guint i = 0; i < MIN (index->ranked->len, VIG_PALETTE_SIZE); i++) {
    const VigRankedLabel *label = &g_array_index (index->ranked, VigRankedLabel, i);
    g_string_append_printf (html, "<li><i class=\"chip c%d\"></i>", label->colour);
    vig_html_format (html, "%s <small>", g_quark_to_string (label->label));
    vig_html_time (html, label->seconds, 0);
    g_string_append (html, "</small></li>");
  }
  g_string_append (html, "</ul>\n");
}

GString *
vig_report_index (const GPtrArray *pages, const char *path)
{
  Index index = { .html = g_string_new (NULL), .path = path, .ranked = g_array_new (FALSE, FALSE, sizeof (VigRankedLabel)) };
  GString *html = index.html;
  count (&index, pages);
  vig_html_begin (html, "Labelled videos", "", "report-index.js");
  g_string_append_printf (html, ">\n<header><h1>Labelled videos</h1><p class=\"facts\">%u videos, ", pages->len);
  vig_html_time (html, index.seconds, 0);
  g_string_append_printf (html, " in all, %u with errors</p></header>\n<main>\n", index.errors);
  append_legend (&index);
  g_string_append (html, "<form class=\"find\" id=\"find\" hidden><label>Find <input type=\"search\" id=\"words\" placeholder=\"file or label\">"
      "</label><label><input type=\"checkbox\" id=\"failed\"> only with errors</label> <output id=\"shown\"></output></form>\n"
      "<table id=\"videos\"><thead><tr><th scope=\"col\">video</th><th scope=\"col\">duration</th><th scope=\"col\">labels</th></tr></thead>"
      "<tbody>\n");
  for (guint i = 0; i < pages->len; i++)
    append_row (&index, g_ptr_array_index (pages, i));
  g_string_append (html, "</tbody></table>\n</main>\n");
  vig_html_end (html, "report-index.js");
  g_array_unref (index.ranked);
  return html;
}
