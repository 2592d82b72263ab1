/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* One output for all inputs, made of theirs. */
#ifndef VIG_LABEL_COMBINE_H
#define VIG_LABEL_COMBINE_H

#include "options.h"

/* Writes FOLDER/all.jsonl and the like of the outputs of @names, in this order, one after the other through memory. GFileError */
gboolean vig_combine (const VigOptions *options, const char *const *names, guint n, GError **error);

#endif
