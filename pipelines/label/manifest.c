/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "manifest.h"

#include <string.h>

gboolean
vig_is_uri (const char *text)
{
  g_autofree char *scheme = g_uri_parse_scheme (text);
  return scheme && g_str_has_prefix (text + strlen (scheme), "://");
}

static void
add (GPtrArray *lines, const char *folder, const char *text)
{
  g_ptr_array_add (lines, vig_is_uri (text) ? g_strdup (text) : g_canonicalize_filename (text, folder));
}

static gboolean
is_wanted (const char *text, gboolean is_text)
{
  return *text && !(is_text && *text == '#');
}

gboolean
vig_manifest_parse (const char *data, gsize size, const char *name, const char *folder, GPtrArray *lines, GError **error)
{
  const gboolean is_text = !memchr (data, 0, size);
  guint number = 0;
  for (gsize from = 0; from < size;) {
    const char *end = memchr (data + from, is_text ? '\n' : 0, size - from);
    gsize n = end ? (gsize) (end - data) - from : size - from;
    g_autofree char *line = NULL;
    number++;
    if (n > VIG_MANIFEST_MAX_LINE) {
      g_set_error (error, G_IO_ERROR, G_IO_ERROR_INVALID_DATA, "%s: line %u: expected at most %d bytes, found %" G_GSIZE_FORMAT,
          name, number, VIG_MANIFEST_MAX_LINE, n);
      return FALSE;
    }
    line = g_strndup (data + from, n);
    from += n + 1;
    if (is_text && n > 0 && line[n - 1] == '\r')
      line[n - 1] = 0;
    if (is_wanted (line, is_text))
      add (lines, folder, line);
  }
  return TRUE;
}
