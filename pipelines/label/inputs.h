/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What is to be labelled: arguments become a list of videos, each once, in an order that depends on nothing else. */
#ifndef VIG_LABEL_INPUTS_H
#define VIG_LABEL_INPUTS_H

#include "options.h"

/**
 * VigInput:
 * @given: as the user named it, or as it was found below a folder that was named
 * @path: absolute, without links in it; NULL: it is no file
 * @uri: of it
 * @name: what its outputs begin with: like no other's, and the same in every run that finds it in the same place
 * @index: among all inputs, also those of other shards
 * @size, @mtime: nanoseconds; 0 where not known
 * @problem: why there is nothing to read, or NULL
 */
typedef struct {
  char *given, *path, *uri, *name;
  guint index;
  guint64 size;
  gint64 mtime;
  char *problem;
} VigInput;

void vig_input_free (VigInput *input);

/* Size, time and problem, as they are now. */
void vig_input_look (VigInput *input);

/* UTF-8, whatever bytes the name has. (transfer full) */
char *vig_input_display (const VigInput *input);

/**
 * vig_inputs_find:
 * @error: a manifest that cannot be read, or is none (vig_manifest_parse()). Anything else that cannot be read is an input that
 *   says so.
 *
 * Returns: (transfer full) (element-type VigInput): all of them, of all shards.
 */
GPtrArray *vig_inputs_find (const VigOptions *options, GError **error);

#endif
