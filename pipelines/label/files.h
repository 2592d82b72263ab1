/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Files that appear whole or not at all, whenever the power goes. */
#ifndef VIG_LABEL_FILES_H
#define VIG_LABEL_FILES_H

#include <stdio.h>

#include <gio/gio.h>

/* A file that is being written, beside the one that it will take the place of. */
typedef struct {
  FILE *out;
  char *path, *temporary;
} VigFile;

/* GFileError. What is written to @out in between is looked at in the end: no write needs to be checked. */
gboolean vig_file_begin (VigFile *file, const char *path, GError **error);
gboolean vig_file_end (VigFile *file, GError **error); /* on disk, under its name; but see vig_folder_sync() */
void vig_file_drop (VigFile *file);                    /* as if it had not begun */

/* Names that files of the folder were given outlive a power cut. */
gboolean vig_folder_sync (const char *folder, GError **error);

/* Removes what vig_file_begin() of a process that was killed has left in it. */
void vig_folder_sweep (const char *folder);

/* Makes @to another name of @from's content, or a copy of it. */
gboolean vig_file_link (const char *from, const char *to, GError **error);

#endif
