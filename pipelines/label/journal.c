/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "journal.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include <glib/gstdio.h>

#include "jsonl.h"

#define FILE_NAME "vig-label.journal"
#define VERSION 1

struct VigJournal {
  char *path;
  int fd; /* -1: only read */
  GHashTable *entries; /* name -> VigEntry (owned) */
};

void
vig_entry_free (VigEntry *entry)
{
  g_free (entry->key);
  g_free (entry->name);
  g_free (entry->error);
  g_free (entry);
}

/* ---- a line ------------------------------------------------------------------------------------------------------- */

VigEntry *
vig_entry_parse (const char *line, gsize size)
{
  g_autoptr (JsonParser) parser = vig_jsonl_parse (line, size);
  JsonObject *object = parser ? vig_jsonl_get_object (parser) : NULL;
  if (!object || vig_jsonl_get_number (object, "journal") != VERSION)
    return NULL;
  const char *key = vig_jsonl_get_string (object, "key"), *name = vig_jsonl_get_string (object, "name");
  const double frames = vig_jsonl_get_number (object, "frames"), segments = vig_jsonl_get_number (object, "segments");
  const double duration = vig_jsonl_get_number (object, "duration");
  if (!key || !name || !*name || strchr (name, '/') || frames < 0 || segments < 0 || duration < 0)
    return NULL;
  VigEntry *entry = g_new0 (VigEntry, 1);
  *entry = (VigEntry) { .key = g_strdup (key), .name = g_strdup (name), .error = g_strdup (vig_jsonl_get_string (object, "error")),
    .frames = (guint64) frames, .segments = (guint64) segments, .duration = duration };
  return entry;
}

char *
vig_entry_to_line (const VigEntry *entry)
{
  g_autofree char *key = vig_json_quote (entry->key), *name = vig_json_quote (entry->name), *error = vig_json_quote (entry->error);
  char duration[G_ASCII_DTOSTR_BUF_SIZE];
  g_ascii_formatd (duration, sizeof duration, "%.3f", entry->duration);
  return g_strdup_printf ("{\"journal\": %d, \"key\": %s, \"name\": %s, \"frames\": %" G_GUINT64_FORMAT
      ", \"segments\": %" G_GUINT64_FORMAT ", \"duration\": %s, \"error\": %s}\n", VERSION, key, name, entry->frames,
      entry->segments, duration, error);
}

/* ---- the file ----------------------------------------------------------------------------------------------------- */

static void
take (VigJournal *journal, VigEntry *entry)
{
  g_hash_table_replace (journal->entries, entry->name, entry);
}

/* Returns the bytes of whole lines. A line that is damaged says nothing: its input will be done again. */
static gsize
read_entries (VigJournal *journal, const char *data, gsize size)
{
  gsize from = 0;
  const char *end;
  while (from < size && (end = memchr (data + from, '\n', size - from))) {
    VigEntry *entry = vig_entry_parse (data + from, (gsize) (end - data) - from);
    if (entry)
      take (journal, entry);
    from = (gsize) (end - data) + 1;
  }
  return from;
}

static VigJournal *
journal_new (const char *folder)
{
  VigJournal *journal = g_new0 (VigJournal, 1);
  journal->path = g_build_filename (folder, FILE_NAME, NULL);
  journal->fd = -1;
  journal->entries = g_hash_table_new_full (g_str_hash, g_str_equal, NULL, (GDestroyNotify) vig_entry_free);
  return journal;
}

VigJournal *
vig_journal_peek (const char *folder)
{
  VigJournal *journal = journal_new (folder);
  g_autofree char *data = NULL;
  gsize size;
  if (g_file_get_contents (journal->path, &data, &size, NULL))
    read_entries (journal, data, size);
  return journal;
}

static gboolean
open_and_lock (VigJournal *journal, GError **error)
{
  g_autofree char *name = g_filename_display_name (journal->path);
  journal->fd = g_open (journal->path, O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
  if (journal->fd < 0) {
    g_set_error (error, G_FILE_ERROR, (int) g_file_error_from_errno (errno), "%s: cannot be written: %s", name, g_strerror (errno));
    return FALSE;
  }
  if (flock (journal->fd, LOCK_EX | LOCK_NB) == 0)
    return TRUE;
  if (errno == EWOULDBLOCK)
    g_set_error (error, G_IO_ERROR, G_IO_ERROR_BUSY, "%s: expected to be the only vig-label that writes into this folder, found "
        "another at work", name);
  else
    g_set_error (error, G_FILE_ERROR, (int) g_file_error_from_errno (errno), "%s: cannot be locked: %s", name, g_strerror (errno));
  return FALSE;
}

VigJournal *
vig_journal_open (const char *folder, GError **error)
{
  g_autoptr (VigJournal) journal = journal_new (folder);
  g_autofree char *data = NULL;
  gsize size;
  if (!open_and_lock (journal, error) || !g_file_get_contents (journal->path, &data, &size, error))
    return NULL;
  const gsize whole = read_entries (journal, data, size);
  if (whole < size && ftruncate (journal->fd, (off_t) whole) != 0) {
    g_set_error (error, G_FILE_ERROR, (int) g_file_error_from_errno (errno), "%s: cannot be written: %s", journal->path,
        g_strerror (errno));
    return NULL;
  }
  return g_steal_pointer (&journal);
}

void
vig_journal_free (VigJournal *journal)
{
  if (!journal)
    return;
  if (journal->fd >= 0)
    close (journal->fd); /* and unlocks it */
  g_hash_table_unref (journal->entries);
  g_free (journal->path);
  g_free (journal);
}

const VigEntry *
vig_journal_find (VigJournal *journal, const char *name)
{
  return g_hash_table_lookup (journal->entries, name);
}

gboolean
vig_journal_add (VigJournal *journal, VigEntry *entry, GError **error)
{
  g_autofree char *line = vig_entry_to_line (entry);
  const gsize n = strlen (line);
  take (journal, entry);
  gsize done = 0;
  while (done < n) {
    const ssize_t wrote = write (journal->fd, line + done, n - done);
    if (wrote < 0 && errno != EINTR)
      break;
    done += wrote > 0 ? (gsize) wrote : 0;
  }
  if (done == n && fdatasync (journal->fd) == 0)
    return TRUE;
  g_set_error (error, G_FILE_ERROR, (int) g_file_error_from_errno (errno), "%s: cannot be written: %s", journal->path,
      g_strerror (errno));
  return FALSE;
}
