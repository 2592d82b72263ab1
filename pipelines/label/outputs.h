/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The files of one input: VIDEOS/NAME.jsonl and the like. */
#ifndef VIG_LABEL_OUTPUTS_H
#define VIG_LABEL_OUTPUTS_H

#include <stdio.h>

#include "inputs.h"
#include "journal.h"
#include "labelled.h"
#include "options.h"

/* How the files of all inputs become one: not; one behind the other; the same, with one header line; as one JSON array. */
typedef enum { VIG_JOIN_NONE, VIG_JOIN_LINES, VIG_JOIN_TABLE, VIG_JOIN_ARRAY } VigJoin;

/* One kind of file. */
typedef struct {
  const char *suffix;
  VigFormats format;
  void (*write) (FILE *out, const VigLabelled *labelled, const VigInput *input, const VigOptions *options);
  VigJoin join;
} VigOutput;

extern const VigOutput vig_outputs[];
extern const guint vig_n_outputs;

/* (transfer full): where it is, below the output @folder */
char *vig_output_path (const VigOutput *output, const char *folder, const char *name);
char *vig_outputs_folder (const char *folder);

/* Makes the output folder, takes it for this process, and removes what one that was killed has left half written. */
VigJournal *vig_outputs_open (const VigOptions *options, GError **error);

/* All that the options ask for are there. */
gboolean vig_outputs_exist (const VigOptions *options, const char *name);

/* Writes them, whole and on disk. GFileError */
gboolean vig_outputs_write (const VigOptions *options, const VigInput *input, const VigLabelled *labelled, GError **error);

/* Puts the outputs of @name that are in the folder @from, all of @formats, into @to as well. */
gboolean vig_outputs_take (VigFormats formats, const char *name, const char *from, const char *to, GError **error);

/* The list of all pages that are below @folder, of the outputs of @names in this order. */
gboolean vig_outputs_write_index (const char *folder, const char *const *names, guint n, GError **error);

#endif
