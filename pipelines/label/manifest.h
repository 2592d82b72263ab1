/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Lists of inputs as users write them. */
#ifndef VIG_LABEL_MANIFEST_H
#define VIG_LABEL_MANIFEST_H

#include <gio/gio.h>

/* Longer than any path or sensible URI. */
#define VIG_MANIFEST_MAX_LINE 65536

/**
 * vig_manifest_parse:
 * @data: [@size]: an input a line, empty lines and those that begin with # left out; or, where there is a NUL in it, inputs with a
 *   NUL behind each (find -print0), names of any bytes
 * @name: what error messages call it
 * @folder: where relative paths begin
 * @lines: (element-type filename): appended to: absolute paths, and URIs as they are
 * @error: G_IO_ERROR_INVALID_DATA: names the line
 */
gboolean vig_manifest_parse (const char *data, gsize size, const char *name, const char *folder, GPtrArray *lines,
    GError **error);

/* Begins like "scheme://". */
gboolean vig_is_uri (const char *text);

#endif
