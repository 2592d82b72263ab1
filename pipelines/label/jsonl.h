/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Lines that are JSON objects, as files of ours have them: what is read may be torn or anybody's. */
#ifndef VIG_LABEL_JSONL_H
#define VIG_LABEL_JSONL_H

#include <json-glib/json-glib.h>

/* (nullable): the line is no object. Its object is that of the parser. */
JsonParser *vig_jsonl_parse (const char *line, gsize size);
JsonObject *vig_jsonl_get_object (JsonParser *parser);

const char *vig_jsonl_get_string (JsonObject *object, const char *member); /* NULL: there is none */
double vig_jsonl_get_number (JsonObject *object, const char *member);      /* 0 to 9e15; -1: there is none */

/* (transfer full): in quotes and UTF-8, whatever it was; NULL: null */
char *vig_json_quote (const char *text);

#endif
