/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "json.h"

#include <math.h>
#include <string.h>

#include <vig/error.h>

typedef struct {
  const char *start, *at, *end;
  const char *what;
  guint depth, n_values;
  GError **error;
} Reader;

/* Whether it can stand in a message as it is. */
static gboolean
is_presentable (const char *string, gsize max)
{
  for (const char *c = string; *c; c++)
    if ((gsize) (c - string) >= max || g_ascii_iscntrl (*c))
      return FALSE;
  return TRUE;
}

char *
vig_json_describe (const VigJson *json)
{
  if (!json)
    return g_strdup ("none");
  switch (json->type) {
    case VIG_JSON_NULL: return g_strdup ("null");
    case VIG_JSON_BOOLEAN: return g_strdup (json->boolean ? "true" : "false");
    case VIG_JSON_NUMBER: return g_strdup_printf ("%.17g", json->number);
    case VIG_JSON_ARRAY: return g_strdup_printf ("an array of %u", json->n_children);
    case VIG_JSON_OBJECT: return g_strdup ("an object");
    default: return is_presentable (json->string, 64) ? g_strdup_printf ("\"%s\"", json->string) : g_strdup ("a string");
  }
}

void
vig_json_free (VigJson *json)
{
  while (json) {
    VigJson *next = json->next;
    vig_json_free (json->first);
    g_free (json->name);
    g_free (json->string);
    g_free (json);
    json = next;
  }
}

const VigJson *
vig_json_get (const VigJson *object, const char *name)
{
  for (const VigJson *child = object->first; child; child = child->next)
    if (child->name && strcmp (child->name, name) == 0)
      return child;
  return NULL;
}

gboolean
vig_json_to_uint (const VigJson *json, guint64 max, guint64 *value)
{
  if (json->type != VIG_JSON_NUMBER || !(json->number >= 0 && json->number <= 9007199254740992.0))
    return FALSE;
  *value = (guint64) json->number;
  return (double) *value == json->number && *value <= max;
}

void
vig_json_append_string (GString *out, const char *string)
{
  g_string_append_c (out, '"');
  for (const char *c = string; *c; c++) {
    if (*c == '"' || *c == '\\')
      g_string_append_printf (out, "\\%c", *c);
    else if ((guchar) *c < 0x20)
      g_string_append_printf (out, "\\u%04x", *c);
    else
      g_string_append_c (out, *c);
  }
  g_string_append_c (out, '"');
}

static gboolean
fail (Reader *r, const char *expected)
{
  g_autofree char *found = NULL;

  if (r->at == r->end)
    found = g_strdup ("the end");
  else if (g_ascii_iscntrl (*r->at))
    found = g_strdup_printf ("the byte 0x%02x", (guchar) *r->at);
  else /* valid UTF-8: a whole character */
    found = g_strdup_printf ("'%.*s'", (int) (g_utf8_next_char (r->at) - r->at), r->at);
  g_set_error (r->error, VIG_ERROR, VIG_ERROR_MODEL, "%s: broken JSON at byte %" G_GSIZE_FORMAT ": expected %s, found %s",
      r->what, (gsize) (r->at - r->start), expected, found);
  return FALSE;
}

static void
skip_space (Reader *r)
{
  while (r->at < r->end && (*r->at == ' ' || *r->at == '\t' || *r->at == '\n' || *r->at == '\r'))
    r->at++;
}

static gboolean
accept (Reader *r, char c)
{
  skip_space (r);
  if (r->at == r->end || *r->at != c)
    return FALSE;
  r->at++;
  return TRUE;
}

static gboolean
digit_at (const Reader *r)
{
  return r->at < r->end && g_ascii_isdigit (*r->at);
}

static gboolean
read_digits (Reader *r)
{
  if (!digit_at (r))
    return fail (r, "a digit");
  while (digit_at (r))
    r->at++;
  return TRUE;
}

static gboolean
read_number (Reader *r, double *number)
{
  char buffer[64];
  const char *start = r->at;

  if (*r->at == '-')
    r->at++;
  if (r->at < r->end && *r->at == '0')
    r->at++;
  else if (!read_digits (r))
    return FALSE;
  if (r->at < r->end && *r->at == '.') {
    r->at++;
    if (!read_digits (r))
      return FALSE;
  }
  if (r->at < r->end && (*r->at == 'e' || *r->at == 'E')) {
    r->at++;
    if (r->at < r->end && (*r->at == '+' || *r->at == '-'))
      r->at++;
    if (!read_digits (r))
      return FALSE;
  }

  gsize length = (gsize) (r->at - start);
  r->at = start; /* where a message should point */
  if (length >= sizeof buffer)
    return fail (r, "a number of less than 64 characters");
  memcpy (buffer, start, length);
  buffer[length] = 0;
  *number = g_ascii_strtod (buffer, NULL);
  if (!isfinite (*number))
    return fail (r, "a finite number");
  r->at += length;
  return TRUE;
}

static gboolean
read_hex4 (Reader *r, gunichar *value)
{
  *value = 0;
  for (int i = 0; i < 4; i++, r->at++) {
    if (r->at == r->end || !g_ascii_isxdigit (*r->at))
      return fail (r, "four hexadecimal digits");
    *value = *value * 16 + (gunichar) g_ascii_xdigit_value (*r->at);
  }
  return TRUE;
}

/* After "\u". */
static gboolean
read_unicode_escape (Reader *r, GString *out)
{
  gunichar c, low;

  if (!read_hex4 (r, &c))
    return FALSE;
  if (c >= 0xD800 && c < 0xDC00) {
    if (r->end - r->at < 2 || r->at[0] != '\\' || r->at[1] != 'u')
      return fail (r, "the second half of a surrogate pair");
    r->at += 2;
    if (!read_hex4 (r, &low))
      return FALSE;
    if (low < 0xDC00 || low > 0xDFFF)
      return fail (r, "the second half of a surrogate pair before this");
    c = 0x10000 + ((c - 0xD800) << 10) + (low - 0xDC00);
  }
  if (c == 0 || (c >= 0xDC00 && c <= 0xDFFF))
    return fail (r, "a character (neither NUL nor half a surrogate pair) before this");
  g_string_append_unichar (out, c);
  return TRUE;
}

/* At the character after the opening quote; the text is valid UTF-8. Returns NULL on error. */
static char *
read_string (Reader *r)
{
  static const char escapes[] = "\"\\/bfnrt", meaning[] = "\"\\/\b\f\n\r\t";
  g_autoptr (GString) out = g_string_new (NULL);

  for (;;) {
    if (r->at == r->end || (guchar) *r->at < 0x20) {
      fail (r, "the rest of a string");
      return NULL;
    }
    char c = *r->at++;
    if (c == '"')
      return g_string_free (g_steal_pointer (&out), FALSE);
    if (c != '\\') {
      g_string_append_c (out, c);
      continue;
    }
    const char *escape = r->at < r->end && *r->at ? strchr (escapes, *r->at) : NULL;
    if (escape) {
      g_string_append_c (out, meaning[escape - escapes]);
      r->at++;
    } else if (r->at < r->end && *r->at == 'u') {
      r->at++;
      if (!read_unicode_escape (r, out))
        return NULL;
    } else {
      fail (r, "an escape");
      return NULL;
    }
  }
}

static gboolean read_value (Reader *r, VigJson *json);

/* After the opening bracket of an array or object. */
static gboolean
read_children (Reader *r, VigJson *json)
{
  gboolean object = json->type == VIG_JSON_OBJECT;
  char close = object ? '}' : ']';
  VigJson **tail = &json->first;
  g_autoptr (GHashTable) names = object ? g_hash_table_new (g_str_hash, g_str_equal) : NULL;

  if (++r->depth > VIG_JSON_MAX_DEPTH)
    return fail (r, "at most " G_STRINGIFY (VIG_JSON_MAX_DEPTH) " levels of nesting before this");
  if (accept (r, close)) {
    r->depth--;
    return TRUE;
  }
  do {
    VigJson *child = *tail = g_new0 (VigJson, 1); /* json owns it, whatever happens below */
    tail = &child->next;
    json->n_children++;
    if (object) {
      if (!accept (r, '"'))
        return fail (r, "a name in quotes");
      if (!(child->name = read_string (r)))
        return FALSE;
      if (!is_presentable (child->name, VIG_JSON_MAX_NAME))
        return fail (r, "a name of at most " G_STRINGIFY (VIG_JSON_MAX_NAME) " printable bytes before this");
      if (!g_hash_table_add (names, child->name)) {
        g_set_error (r->error, VIG_ERROR, VIG_ERROR_MODEL, "%s: expected every name once, found \"%s\" twice",
            r->what, child->name);
        return FALSE;
      }
      if (!accept (r, ':'))
        return fail (r, "':'");
    }
    if (!read_value (r, child))
      return FALSE;
  } while (accept (r, ','));
  if (!accept (r, close))
    return fail (r, object ? "',' or '}'" : "',' or ']'");
  r->depth--;
  return TRUE;
}

static gboolean
read_word (Reader *r, const char *word)
{
  gsize length = strlen (word);
  if ((gsize) (r->end - r->at) < length || memcmp (r->at, word, length) != 0)
    return fail (r, "a value");
  r->at += length;
  return TRUE;
}

static gboolean
read_value (Reader *r, VigJson *json)
{
  skip_space (r);
  if (r->at == r->end)
    return fail (r, "a value");
  if (++r->n_values > VIG_JSON_MAX_VALUES)
    return fail (r, "at most " G_STRINGIFY (VIG_JSON_MAX_VALUES) " values before this");
  switch (*r->at) {
    case '{':
    case '[':
      json->type = *r->at++ == '{' ? VIG_JSON_OBJECT : VIG_JSON_ARRAY;
      return read_children (r, json);
    case '"':
      json->type = VIG_JSON_STRING;
      r->at++;
      return (json->string = read_string (r)) != NULL;
    case 't':
    case 'f':
      json->type = VIG_JSON_BOOLEAN;
      json->boolean = *r->at == 't';
      return read_word (r, json->boolean ? "true" : "false");
    case 'n':
      json->type = VIG_JSON_NULL;
      return read_word (r, "null");
    default:
      if (*r->at != '-' && !g_ascii_isdigit (*r->at))
        return fail (r, "a value");
      json->type = VIG_JSON_NUMBER;
      return read_number (r, &json->number);
  }
}

VigJson *
vig_json_parse (const char *text, gsize size, const char *what, GError **error)
{
  Reader r = { text, text, text + size, what, 0, 0, error };
  const char *valid_end;
  g_autoptr (VigJson) json = g_new0 (VigJson, 1);

  if (!g_utf8_validate_len (text, size, &valid_end)) {
    g_set_error (error, VIG_ERROR, VIG_ERROR_MODEL, "%s: expected UTF-8, found the byte 0x%02x at byte %"
        G_GSIZE_FORMAT, what, (guchar) *valid_end, (gsize) (valid_end - text));
    return NULL;
  }
  if (!read_value (&r, json))
    return NULL;
  skip_space (&r);
  if (r.at != r.end) {
    fail (&r, "nothing more");
    return NULL;
  }
  return g_steal_pointer (&json);
}
