/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Which inputs are finished: a file that only grows, a line for each, on disk before anything relies on it. */
#ifndef VIG_LABEL_JOURNAL_H
#define VIG_LABEL_JOURNAL_H

#include <gio/gio.h>

/**
 * VigEntry:
 * @key: of the input as it was and of all that its results depend on; empty: what was finished does not count any more
 * @name: of its outputs
 * @error: why it failed, or NULL
 */
typedef struct {
  char *key, *name, *error;
  guint64 frames, segments;
  double duration;
} VigEntry;

void vig_entry_free (VigEntry *entry);

/* (transfer full): NULL: the line is no entry, torn or damaged. */
VigEntry *vig_entry_parse (const char *line, gsize size);
char *vig_entry_to_line (const VigEntry *entry); /* (transfer full): with its newline */

typedef struct VigJournal VigJournal;

/**
 * vig_journal_open:
 * @folder: where its file is, or will be
 * @error: G_IO_ERROR_BUSY: another process has it; GFileError
 *
 * Takes the folder for this process, until vig_journal_free(). A torn last line, from a process that was killed, is cut off.
 */
VigJournal *vig_journal_open (const char *folder, GError **error);
VigJournal *vig_journal_peek (const char *folder); /* only reads; no journal there is an empty one */
void vig_journal_free (VigJournal *journal);       /* NULL is allowed */
G_DEFINE_AUTOPTR_CLEANUP_FUNC (VigJournal, vig_journal_free)

/* By name of outputs: the last that was written. (nullable) */
const VigEntry *vig_journal_find (VigJournal *journal, const char *name);

/* Takes the entry, which is on disk when this returns. */
gboolean vig_journal_add (VigJournal *journal, VigEntry *entry, GError **error);

#endif
