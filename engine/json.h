/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A strict JSON reader (RFC 8259) for bytes nobody vouches for. Duplicate names, invalid UTF-8, lone surrogates, NUL
 * characters and numbers that are not finite are errors, so that two readers of one file never see two different models;
 * depth, number of values and names are bounded, and with them stack, memory and messages.
 */
#ifndef VIG_JSON_H
#define VIG_JSON_H

#include <glib.h>

#define VIG_JSON_MAX_DEPTH 16
#define VIG_JSON_MAX_VALUES 1000000
#define VIG_JSON_MAX_NAME 256 /* bytes of a member's name */

typedef enum {
  VIG_JSON_NULL, VIG_JSON_BOOLEAN, VIG_JSON_NUMBER, VIG_JSON_STRING, VIG_JSON_ARRAY, VIG_JSON_OBJECT
} VigJsonType;

typedef struct VigJson VigJson;
struct VigJson {
  VigJsonType type;
  char *name;          /* of a member of an object, else NULL */
  gboolean boolean;
  double number;
  char *string;
  VigJson *first;      /* children of an array or object, in order */
  guint n_children;
  VigJson *next;       /* sibling */
};

/* Reads @size bytes. @what begins every message: "FILE: header". Returns NULL with a VIG_ERROR_MODEL set. */
VigJson *vig_json_parse (const char *text, gsize size, const char *what, GError **error);
void vig_json_free (VigJson *json); /* NULL is allowed */
G_DEFINE_AUTOPTR_CLEANUP_FUNC (VigJson, vig_json_free)

/* The member @name of an object, or NULL. */
const VigJson *vig_json_get (const VigJson *object, const char *name);

/* What @json (NULL: nothing) is, for messages: "none", "an array of 3", "-4", "\"crop\"", …; one line, to be freed. */
char *vig_json_describe (const VigJson *json);

/* TRUE if @json is a whole number of 0 … @max (at most 2^53). */
gboolean vig_json_to_uint (const VigJson *json, guint64 max, guint64 *value);

/* Appends @string to @out as a JSON string, quotes included. */
void vig_json_append_string (GString *out, const char *string);

#endif
