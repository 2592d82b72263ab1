/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * <script type="application/json" id="vig-summary">{"version": 1, "name": "a.mkv", "seconds": 4.0, "frames": 100, "error": "…",
 *   "labels": [["covered", 2.5], …], "bars": [[0, 0.1, 0.6], …]}</script>
 * bars: place in labels (-1: another one), beginning and end as parts of the whole.
 */
#include "summary.h"

#include <errno.h>
#include <json-glib/json-glib.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "palette.h"

#define OPENING "<script type=\"application/json\" id=\"vig-summary\">"
#define CLOSING "</script>"
#define VERSION 1

/* ---- writing ---------------------------------------------------------------------------------------------------- */

/* As many bytes at most as keep the element within VIG_SUMMARY_HEAD. */
static char *
short_text (const char *text)
{
  g_autofree char *valid = g_utf8_make_valid (text, -1);
  return g_utf8_strlen (valid, -1) <= 512 ? g_steal_pointer (&valid) : g_utf8_substring (valid, 0, 512);
}

static double
rounded (double number)
{
  return round (number * 1e4) / 1e4;
}

static void
add_text (JsonBuilder *builder, const char *text)
{
  g_autofree char *shortened = short_text (text);
  json_builder_add_string_value (builder, shortened);
}

/* Where a label is in the list, or -1. */
static int
place_of (const GArray *labels, GQuark label)
{
  for (guint i = 0; i < labels->len; i++)
    if (g_array_index (labels, VigRankedLabel, i).label == label)
      return (int) i;
  return -1;
}

static void
add_labels (JsonBuilder *builder, GArray *labels)
{
  json_builder_set_member_name (builder, "labels");
  json_builder_begin_array (builder);
  for (guint i = 0; i < labels->len; i++) {
    const VigRankedLabel *label = &g_array_index (labels, VigRankedLabel, i);
    json_builder_begin_array (builder);
    add_text (builder, g_quark_to_string (label->label));
    json_builder_add_double_value (builder, rounded (label->seconds));
    json_builder_end_array (builder);
  }
  json_builder_end_array (builder);
}

static void
add_bars (JsonBuilder *builder, const VigLabelled *video, const GArray *labels)
{
  g_autoptr (GArray) bars = vig_curve_bars (video, VIG_SUMMARY_BARS);
  json_builder_set_member_name (builder, "bars");
  json_builder_begin_array (builder);
  for (guint i = 0; i < bars->len; i++) {
    const VigBar *bar = &g_array_index (bars, VigBar, i);
    json_builder_begin_array (builder);
    json_builder_add_int_value (builder, place_of (labels, bar->label));
    json_builder_add_double_value (builder, rounded (bar->x0));
    json_builder_add_double_value (builder, rounded (bar->x1));
    json_builder_end_array (builder);
  }
  json_builder_end_array (builder);
}

void
vig_summary_append (GString *html, const VigLabelled *video)
{
  g_autoptr (GArray) labels = vig_palette_rank (video);
  guint n = 0;
  while (n < MIN (labels->len, VIG_PALETTE_SIZE) && g_array_index (labels, VigRankedLabel, n).seconds > 0)
    n++;
  g_array_set_size (labels, n);

  g_autoptr (JsonBuilder) builder = json_builder_new ();
  json_builder_begin_object (builder);
  json_builder_set_member_name (builder, "version");
  json_builder_add_int_value (builder, VERSION);
  json_builder_set_member_name (builder, "name");
  add_text (builder, video->input);
  json_builder_set_member_name (builder, "seconds");
  json_builder_add_double_value (builder, GST_CLOCK_TIME_IS_VALID (video->duration) ? (double) video->duration / GST_SECOND : 0);
  json_builder_set_member_name (builder, "frames");
  json_builder_add_int_value (builder, video->frames->len);
  if (video->error) {
    json_builder_set_member_name (builder, "error");
    add_text (builder, video->error);
  }
  add_labels (builder, labels);
  add_bars (builder, video, labels);
  json_builder_end_object (builder);

  g_autoptr (JsonNode) root = json_builder_get_root (builder);
  g_autofree char *json = json_to_string (root, FALSE);
  g_autoptr (GString) safe = g_string_new (json);
  g_string_replace (safe, "<", "\\u003c", 0); /* no "</script>" and no "<!--" */
  g_string_append_printf (html, OPENING "%s" CLOSING "\n", safe->str);
}

/* ---- reading ---------------------------------------------------------------------------------------------------- */

void
vig_summary_free (VigSummary *summary)
{
  g_free (summary->name);
  g_free (summary->error);
  g_array_unref (summary->labels);
  g_array_unref (summary->bars);
  g_free (summary);
}

/* NULL: it is not there, or of another type. */
static JsonNode *
member (JsonObject *object, const char *name, JsonNodeType type)
{
  JsonNode *node = json_object_get_member (object, name);
  return node && JSON_NODE_HOLDS (node, type) ? node : NULL;
}

static char *
get_text (JsonObject *object, const char *name)
{
  JsonNode *node = member (object, name, JSON_NODE_VALUE);
  return node && json_node_get_value_type (node) == G_TYPE_STRING ? short_text (json_node_get_string (node)) : NULL;
}

static double
get_number (JsonNode *node)
{
  double number = node && JSON_NODE_HOLDS_VALUE (node) ? json_node_get_double (node) : 0;
  return isfinite (number) ? CLAMP (number, -1e12, 1e12) : 0;
}

/* (nullable): the i-th of `list` where that is an array of `length`. */
static JsonArray *
get_row (JsonArray *list, guint i, guint length)
{
  JsonNode *node = json_array_get_element (list, i);
  JsonArray *row = JSON_NODE_HOLDS_ARRAY (node) ? json_node_get_array (node) : NULL;
  return row && json_array_get_length (row) == length ? row : NULL;
}

static void
parse_labels (VigSummary *summary, JsonArray *list)
{
  for (guint i = 0; i < MIN (json_array_get_length (list), VIG_PALETTE_SIZE); i++) {
    JsonArray *row = get_row (list, i, 2);
    JsonNode *name = row ? json_array_get_element (row, 0) : NULL;
    if (!name || !JSON_NODE_HOLDS_VALUE (name) || json_node_get_value_type (name) != G_TYPE_STRING)
      return; /* the bars name labels by their places: none may be left out */
    g_autofree char *text = short_text (json_node_get_string (name));
    VigRankedLabel label = { .label = g_quark_from_string (text), .seconds = get_number (json_array_get_element (row, 1)),
      .colour = VIG_PALETTE_OTHER };
    g_array_append_val (summary->labels, label);
  }
}

static void
parse_bars (VigSummary *summary, JsonArray *list)
{
  for (guint i = 0; i < MIN (json_array_get_length (list), VIG_SUMMARY_BARS); i++) {
    JsonArray *row = get_row (list, i, 3);
    if (!row)
      continue;
    double place = get_number (json_array_get_element (row, 0));
    VigBar bar = { get_number (json_array_get_element (row, 1)), get_number (json_array_get_element (row, 2)), 0 };
    if (place >= 0 && place < summary->labels->len)
      bar.label = g_array_index (summary->labels, VigRankedLabel, (guint) place).label;
    if (bar.x0 >= 0 && bar.x0 <= bar.x1 && bar.x1 <= 1)
      g_array_append_val (summary->bars, bar);
  }
}

VigSummary *
vig_summary_parse (const char *html, gsize size, GError **error)
{
  const char *start = g_strstr_len (html, (gssize) size, OPENING);
  const char *end = start ? g_strstr_len (start, html + size - start, CLOSING) : NULL;
  if (!end) {
    g_set_error_literal (error, G_IO_ERROR, G_IO_ERROR_INVALID_DATA,
        "expected a page that vig-label wrote, with a vig-summary in its head, found none");
    return NULL;
  }
  start += strlen (OPENING);
  g_autoptr (JsonParser) parser = json_parser_new ();
  if (!json_parser_load_from_data (parser, start, end - start, error))
    return NULL;
  JsonNode *root = json_parser_get_root (parser);
  JsonObject *object = root && JSON_NODE_HOLDS_OBJECT (root) ? json_node_get_object (root) : NULL;
  JsonNode *version = object ? member (object, "version", JSON_NODE_VALUE) : NULL;
  g_autofree char *name = object ? get_text (object, "name") : NULL;
  if (!version || json_node_get_int (version) != VERSION || !name) {
    g_set_error (error, G_IO_ERROR, G_IO_ERROR_INVALID_DATA, "expected a vig-summary of version %d with a name, found another", VERSION);
    return NULL;
  }
  VigSummary *summary = g_new0 (VigSummary, 1);
  summary->name = g_steal_pointer (&name);
  summary->error = get_text (object, "error");
  summary->seconds = MAX (get_number (member (object, "seconds", JSON_NODE_VALUE)), 0);
  summary->frames = (guint) CLAMP (get_number (member (object, "frames", JSON_NODE_VALUE)), 0, (double) G_MAXUINT);
  summary->labels = g_array_new (FALSE, FALSE, sizeof (VigRankedLabel));
  summary->bars = g_array_new (FALSE, FALSE, sizeof (VigBar));
  JsonNode *labels = member (object, "labels", JSON_NODE_ARRAY), *bars = member (object, "bars", JSON_NODE_ARRAY);
  if (labels)
    parse_labels (summary, json_node_get_array (labels));
  if (bars)
    parse_bars (summary, json_node_get_array (bars));
  return summary;
}

VigSummary *
vig_summary_load (const char *page, GError **error)
{
  FILE *file = fopen (page, "rb");
  if (!file) {
    int reason = errno;
    g_set_error (error, G_IO_ERROR, g_io_error_from_errno (reason), "%s", g_strerror (reason));
    return NULL;
  }
  g_autofree char *head = g_malloc (VIG_SUMMARY_HEAD);
  gsize size = fread (head, 1, VIG_SUMMARY_HEAD, file);
  fclose (file);
  return vig_summary_parse (head, size, error);
}
