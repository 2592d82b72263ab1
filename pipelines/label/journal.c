/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "journal.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include <glib/gstdio.h>
#include <json-glib/json-glib.h>

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

static const char *
get_string (JsonObject *object, const char *member)
{
  JsonNode *node = json_object_get_member (object, member);
  return node && JSON_NODE_HOLDS_VALUE (node) && json_node_get_value_type (node) == G_TYPE_STRING ? json_node_get_string (node)
      : NULL;
}

static double
get_number (JsonObject *object, const char *member)
{
  JsonNode *node = json_object_get_member (object, member);
  const double value = node && JSON_NODE_HOLDS_VALUE (node) ? json_node_get_double (node) : -1;
  return isfinite (value) && value <= 9e15 ? value : -1; /* as far as whole numbers are exact */
}

VigEntry *
vig_entry_parse (const char *line, gsize size)
{
  g_autoptr (JsonParser) parser = json_parser_new ();
  if (size > G_MAXINT || !g_utf8_validate_len (line, size, NULL) || !json_parser_load_from_data (parser, line, (gssize) size, NULL))
    return NULL;
  JsonNode *root = json_parser_get_root (parser);
  JsonObject *object = root && JSON_NODE_HOLDS_OBJECT (root) ? json_node_get_object (root) : NULL;
  if (!object || get_number (object, "journal") != VERSION)
    return NULL;
  const char *key = get_string (object, "key"), *name = get_string (object, "name");
  const double frames = get_number (object, "frames"), segments = get_number (object, "segments");
  const double duration = get_number (object, "duration");
  if (!key || !name || !*name || strchr (name, '/') || frames < 0 || segments < 0 || duration < 0)
    return NULL;
  VigEntry *entry = g_new0 (VigEntry, 1);
  *entry = (VigEntry) { .key = g_strdup (key), .name = g_strdup (name), .error = g_strdup (get_string (object, "error")),
    .frames = (guint64) frames, .segments = (guint64) segments, .duration = duration };
  return entry;
}

static void
add_text (JsonBuilder *builder, const char *name, const char *text)
{
  json_builder_set_member_name (builder, name);
  if (text)
    json_builder_add_string_value (builder, text);
  else
    json_builder_add_null_value (builder);
}

char *
vig_entry_to_line (const VigEntry *entry)
{
  g_autoptr (JsonBuilder) builder = json_builder_new ();
  json_builder_begin_object (builder);
  json_builder_set_member_name (builder, "journal");
  json_builder_add_int_value (builder, VERSION);
  add_text (builder, "key", entry->key);
  add_text (builder, "name", entry->name);
  json_builder_set_member_name (builder, "frames");
  json_builder_add_int_value (builder, (gint64) entry->frames);
  json_builder_set_member_name (builder, "segments");
  json_builder_add_int_value (builder, (gint64) entry->segments);
  json_builder_set_member_name (builder, "duration");
  json_builder_add_double_value (builder, entry->duration);
  add_text (builder, "error", entry->error);
  json_builder_end_object (builder);
  g_autoptr (JsonNode) root = json_builder_get_root (builder);
  g_autofree char *text = json_to_string (root, FALSE);
  return g_strconcat (text, "\n", NULL);
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
