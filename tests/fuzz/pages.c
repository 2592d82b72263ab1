/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* libFuzzer target: any bytes as a page that vig-label finds in its output folder: for the index, and to be merged. */
#include <stdint.h>
#include <string.h>

#include <label/html.h>
#include <label/palette.h>
#include <label/report.h>
#include <label/summary.h>

int LLVMFuzzerTestOneInput (const uint8_t *data, size_t size);

static void
read_summary (const char *data, gsize size)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (VigSummary) summary = vig_summary_parse (data, size, &error);
  g_assert_true (!summary == !!error);
  if (!summary)
    return;
  g_assert_true (g_utf8_validate (summary->name, -1, NULL) && summary->seconds >= 0);
  g_assert_true (summary->labels->len <= VIG_PALETTE_SIZE && summary->bars->len <= VIG_SUMMARY_BARS);
  for (guint i = 0; i < summary->bars->len; i++) {
    const VigBar *bar = &g_array_index (summary->bars, VigBar, i);
    g_assert_true (bar->x0 >= 0 && bar->x0 <= bar->x1 && bar->x1 <= 1);
  }
  g_autoptr (GString) html = g_string_new (NULL);
  vig_html_text (html, summary->name);
  g_assert_null (strchr (html->str, '<'));
}

static void
move (const char *data, gsize size)
{
  g_autoptr (GString) page = g_string_new_len (data, (gssize) size);
  vig_report_move (page, "/a/b/c.html", "/d/c.html");
}

int
LLVMFuzzerTestOneInput (const uint8_t *data, size_t size)
{
  read_summary ((const char *) data, size);
  move ((const char *) data, size);
  return 0;
}
