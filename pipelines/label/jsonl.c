/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "jsonl.h"

#include <math.h>

#define MOST 9e15 /* as far as whole numbers are exact */

JsonParser *
vig_jsonl_parse (const char *line, gsize size)
{
  g_autoptr (JsonParser) parser = json_parser_new ();
  if (size > G_MAXINT || !g_utf8_validate_len (line, size, NULL) || !json_parser_load_from_data (parser, line, (gssize) size, NULL))
    return NULL;
  JsonNode *root = json_parser_get_root (parser);
  return root && JSON_NODE_HOLDS_OBJECT (root) ? g_steal_pointer (&parser) : NULL;
}

JsonObject *
vig_jsonl_get_object (JsonParser *parser)
{
  return json_node_get_object (json_parser_get_root (parser));
}

static JsonNode *
get_value (JsonObject *object, const char *member)
{
  JsonNode *node = json_object_get_member (object, member);
  return node && JSON_NODE_HOLDS_VALUE (node) ? node : NULL;
}

const char *
vig_jsonl_get_string (JsonObject *object, const char *member)
{
  JsonNode *node = get_value (object, member);
  return node && json_node_get_value_type (node) == G_TYPE_STRING ? json_node_get_string (node) : NULL;
}

double
vig_jsonl_get_number (JsonObject *object, const char *member)
{
  JsonNode *node = get_value (object, member);
  const double value = node ? json_node_get_double (node) : -1;
  return isfinite (value) && value >= 0 && value <= MOST ? value : -1;
}

char *
vig_json_quote (const char *text)
{
  if (!text)
    return g_strdup ("null");
  g_autofree char *valid = g_utf8_make_valid (text, -1);
  g_autoptr (JsonNode) node = json_node_init_string (json_node_alloc (), valid);
  return json_to_string (node, FALSE);
}
