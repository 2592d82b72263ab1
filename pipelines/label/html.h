/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Pieces of HTML: every string that comes from outside goes through one of these. */
#ifndef VIG_HTML_H
#define VIG_HTML_H

#include <gst/gst.h>

/* Escaped for text and for attributes in quotes; what is not UTF-8 becomes U+FFFD. */
void vig_html_text (GString *html, const char *text);
/* A printf() whose strings are escaped so. No numbers with a point in it: those depend on the locale. */
void vig_html_format (GString *html, const char *format, ...) G_GNUC_PRINTF (2, 3);
/* With a point whatever the locale says. */
void vig_html_number (GString *html, double number, int decimals);
/* As people read it: 0:07.4, 1:02:03.0; without the tenths where `decimals` is 0. */
void vig_html_time (GString *html, double seconds, int decimals);

/* (transfer full): the folder of a file, without symbolic links where it exists: a ".." in a link does not know them. */
char *vig_html_folder (const char *file);

/* (nullable) (transfer full): what a page that lies at `page` links to for `input`, a path or URI: relative and percent-encoded
 * for a file; NULL where a browser cannot open it. */
char *vig_html_link (const char *page, const char *input);

/* The beginning of a page, up to <body>'s tag, which is left open for attributes, and its end. `head` comes first inside <head>.
 * The page may load nothing, and run nothing but `script`, a resource that vig_html_end() puts in. */
void vig_html_begin (GString *html, const char *title, const char *head, const char *script);
void vig_html_end (GString *html, const char *script);

#endif
