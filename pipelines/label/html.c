/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "html.h"

#include <gio/gio.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "label-resources.h"
#include "palette.h"

void
vig_html_text (GString *html, const char *text)
{
  g_autofree char *valid = g_utf8_make_valid (text, -1);
  g_autofree char *escaped = g_markup_escape_text (valid, -1);
  g_string_append (html, escaped);
}

void
vig_html_format (GString *html, const char *format, ...)
{
  va_list args;
  va_start (args, format);
  g_autofree char *escaped = g_markup_vprintf_escaped (format, args);
  va_end (args);
  g_autofree char *valid = g_utf8_make_valid (escaped, -1);
  g_string_append (html, valid);
}

void
vig_html_number (GString *html, double number, int decimals)
{
  char format[8] = "%.0f", buffer[64];
  format[2] = (char) ('0' + CLAMP (decimals, 0, 6));
  g_string_append (html, g_ascii_formatd (buffer, sizeof buffer, format, number));
}

void
vig_html_time (GString *html, double seconds, int decimals)
{
  /* in units of the last digit, so that 59.96 becomes 1:00.0 and not 0:60.0 */
  guint64 unit = 1;
  for (int i = 0; i < decimals; i++)
    unit *= 10;
  guint64 all = seconds > 0 ? (guint64) llround (seconds * (double) unit) : 0;
  guint64 whole = all / unit;
  if (whole >= 3600)
    g_string_append_printf (html, "%" G_GUINT64_FORMAT ":%02u:%02u", whole / 3600, (guint) (whole / 60 % 60), (guint) (whole % 60));
  else
    g_string_append_printf (html, "%u:%02u", (guint) (whole / 60), (guint) (whole % 60));
  if (decimals)
    g_string_append_printf (html, ".%0*u", decimals, (guint) (all % unit));
}

/* ---- links ------------------------------------------------------------------------------------------------------ */

char *
vig_html_folder (const char *file)
{
  g_autofree char *absolute = g_canonicalize_filename (file, NULL);
  char *folder = g_path_get_dirname (absolute);
  char *real = realpath (folder, NULL);
  if (!real)
    return folder;
  char *copy = g_strdup (real);
  free (real);
  g_free (folder);
  return copy;
}

/* (transfer full): how one comes from the folder `from` to `to`, both absolute: "" or "../../a/". */
static char *
way (const char *from, const char *to)
{
  g_auto (GStrv) a = g_strsplit (from + 1, "/", -1), b = g_strsplit (to + 1, "/", -1);
  guint same = 0;
  while (a[same] && b[same] && g_str_equal (a[same], b[same]))
    same++;
  GString *path = g_string_new (NULL);
  for (guint i = same; a[i]; i++)
    g_string_append (path, "../");
  for (guint i = same; b[i]; i++)
    g_string_append_printf (path, "%s/", b[i]);
  return g_string_free (path, FALSE);
}

char *
vig_html_link (const char *page, const char *input)
{
  gboolean is_uri = strstr (input, "://") != NULL; /* a file may well be called "a:b" */
  g_autofree char *scheme = is_uri ? g_uri_parse_scheme (input) : NULL, *file = NULL;
  if (!scheme)
    file = g_strdup (input);
  else if (g_ascii_strcasecmp (scheme, "file") == 0)
    file = g_filename_from_uri (input, NULL, NULL);
  else if (g_ascii_strcasecmp (scheme, "http") == 0 || g_ascii_strcasecmp (scheme, "https") == 0)
    return g_strdup (input);
  if (!file)
    return NULL;
  g_autofree char *from = vig_html_folder (page), *to = vig_html_folder (file), *between = way (from, to), *name = g_path_get_basename (file);
  g_autofree char *path = g_strconcat (between, name, NULL);
  return g_uri_escape_bytes ((const guint8 *) path, strlen (path), "/");
}

/* ---- the frame of a page ---------------------------------------------------------------------------------------- */

static GBytes *
resource (const char *name)
{
  g_autofree char *path = g_strconcat ("/vig/label/", name, NULL);
  g_autoptr (GError) error = NULL;
  /* through the resource's own name: registered by itself it would be left out of a program that links the static library */
  GBytes *bytes = g_resource_lookup_data (vig_label_get_resource (), path, G_RESOURCE_LOOKUP_FLAGS_NONE, &error);
  if (!bytes)
    g_error ("%s", error->message); /* it is linked in */
  return bytes;
}

static void
append_resource (GString *html, const char *name)
{
  g_autoptr (GBytes) bytes = resource (name);
  gsize size;
  const char *data = g_bytes_get_data (bytes, &size);
  g_string_append_len (html, data, (gssize) size);
}

/* (transfer full): what a Content-Security-Policy allows this script by. */
static char *
script_hash (const char *name)
{
  g_autoptr (GBytes) bytes = resource (name);
  g_autoptr (GChecksum) checksum = g_checksum_new (G_CHECKSUM_SHA256);
  gsize size;
  const guint8 *data = g_bytes_get_data (bytes, &size);
  g_checksum_update (checksum, data, (gssize) size);
  guint8 digest[32];
  gsize length = sizeof digest;
  g_checksum_get_digest (checksum, digest, &length);
  return g_base64_encode (digest, length);
}

void
vig_html_begin (GString *html, const char *title, const char *head, const char *script)
{
  g_autofree char *hash = script_hash (script);
  g_string_append (html, "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n");
  g_string_append (html, head);
  g_string_append_printf (html, "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; img-src data:; "
      "style-src 'unsafe-inline'; media-src * file:; script-src 'sha256-%s'\">\n", hash);
  g_string_append (html, "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<title>");
  vig_html_text (html, title);
  g_string_append (html, "</title>\n<style>\n");
  append_resource (html, "report.css");
  for (int i = 0; i <= VIG_PALETTE_OTHER; i++)
    g_string_append_printf (html, ".c%d{--c:#%06x}", i, vig_palette_rgb (i));
  g_string_append (html, "</style>\n</head>\n<body");
}

void
vig_html_end (GString *html, const char *script)
{
  g_string_append (html, "<script>");
  append_resource (html, script);
  g_string_append (html, "</script>\n</body>\n</html>\n");
}
