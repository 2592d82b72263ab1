/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "inputs.h"

#include <errno.h>
#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "manifest.h"

/* In folders, what is not named so is not taken for a video. */
static const char *const video_suffixes[] = { "3g2", "3gp", "asf", "avi", "dv", "f4v", "flv", "h264", "h265", "hevc", "ivf", "m1v",
  "m2t", "m2ts", "m2v", "m4v", "mjpeg", "mjpg", "mkv", "mov", "mp4", "mpe", "mpeg", "mpg", "mts", "mxf", "nut", "obu", "ogm",
  "ogv", "qt", "rm", "rmvb", "ts", "vob", "webm", "wmv", "y4m" };
static const char *const manifest_suffixes[] = { "txt", "list", "manifest" };

typedef struct {
  const VigOptions *options;
  GPtrArray *inputs;   /* of VigInput (owned) */
  GHashTable *known;   /* of their paths and URIs */
  GHashTable *folders; /* "device:inode" of those that were looked into: links may lead in circles */
} Search;

void
vig_input_free (VigInput *input)
{
  g_free (input->given);
  g_free (input->path);
  g_free (input->uri);
  g_free (input->name);
  g_free (input->problem);
  g_free (input);
}

static const char *
kind_of (mode_t mode)
{
  return S_ISDIR (mode) ? "a folder" : S_ISFIFO (mode) ? "a pipe" : S_ISSOCK (mode) ? "a socket" : "a device";
}

void
vig_input_look (VigInput *input)
{
  struct stat st;
  g_clear_pointer (&input->problem, g_free);
  input->size = 0;
  input->mtime = 0;
  if (!input->path)
    return;
  if (stat (input->path, &st) != 0) {
    input->problem = g_strdup_printf ("it cannot be read: %s", g_strerror (errno));
  } else if (!S_ISREG (st.st_mode)) {
    input->problem = g_strdup_printf ("expected a file, found %s", kind_of (st.st_mode));
  } else {
    input->size = (guint64) st.st_size;
    input->mtime = st.st_mtim.tv_sec * (gint64) 1000000000 + st.st_mtim.tv_nsec;
    if (access (input->path, R_OK) != 0)
      input->problem = g_strdup_printf ("it cannot be read: %s", g_strerror (errno));
    else if (input->size == 0)
      input->problem = g_strdup ("it is empty");
  }
}

char *
vig_input_display (const VigInput *input)
{
  return g_utf8_make_valid (input->given, -1);
}

/* The last part of its path, as far as every file system and shell takes it, and a hash of the whole. */
static char *
make_name (const char *whole)
{
  g_autofree char *base = g_path_get_basename (whole);
  g_autofree char *valid = g_utf8_make_valid (base, -1);
  g_autofree char *hash = g_compute_checksum_for_string (G_CHECKSUM_SHA256, whole, -1);
  GString *name = g_string_new (NULL);
  for (const char *c = valid; *c && name->len < 120; c = g_utf8_next_char (c)) {
    const gunichar u = g_utf8_get_char (c);
    g_string_append_unichar (name, g_unichar_isalnum (u) || (u < 128 && strchr ("._-+", (int) u)) ? u : '_');
  }
  if (name->len == 0 || *name->str == '.' || *name->str == '-')
    g_string_prepend_c (name, '_');
  g_string_append_printf (name, "-%.12s", hash);
  return g_string_free (name, FALSE);
}

static void
add_input (Search *search, const char *given, char *path /* (transfer full) */, char *uri /* (transfer full) */)
{
  const char *whole = path ? path : uri;
  if (!g_hash_table_add (search->known, g_strdup (whole))) {
    g_free (path);
    g_free (uri);
    return;
  }
  VigInput *input = g_new0 (VigInput, 1);
  *input = (VigInput) { .given = g_strdup (given), .path = path, .uri = uri, .name = make_name (whole),
    .index = search->inputs->len };
  vig_input_look (input);
  g_ptr_array_add (search->inputs, input);
}

static void
add_file (Search *search, const char *given)
{
  char *real = realpath (given, NULL); /* what is not there has none */
  char *path = real ? g_strdup (real) : g_canonicalize_filename (given, NULL);
  free (real);
  add_input (search, given, path, g_filename_to_uri (path, NULL, NULL));
}

static void
add_uri (Search *search, const char *uri)
{
  g_autofree char *path = g_filename_from_uri (uri, NULL, NULL);
  if (path)
    add_file (search, path);
  else
    add_input (search, uri, NULL, g_strdup (uri));
}

/* ---- folders ------------------------------------------------------------------------------------------------------ */

static gboolean
has_suffix (const char *name, const char *const *suffixes, guint n)
{
  const char *dot = strrchr (name, '.');
  for (guint i = 0; dot && i < n; i++)
    if (g_ascii_strcasecmp (dot + 1, suffixes[i]) == 0)
      return TRUE;
  return FALSE;
}

/* As people count: 9.mp4 before 10.mp4. */
static int
by_number (gconstpointer a, gconstpointer b)
{
  return strverscmp (*(const char *const *) a, *(const char *const *) b);
}

static GPtrArray *
list_folder (const char *folder)
{
  GPtrArray *names = g_ptr_array_new_with_free_func (g_free);
  g_autoptr (GDir) dir = g_dir_open (folder, 0, NULL);
  const char *name;
  while (dir && (name = g_dir_read_name (dir)))
    if (*name != '.')
      g_ptr_array_add (names, g_strdup (name));
  g_ptr_array_sort (names, by_number);
  return names;
}

static void
add_folder (Search *search, const char *folder, const struct stat *st)
{
  char *id = g_strdup_printf ("%" G_GUINT64_FORMAT ":%" G_GUINT64_FORMAT, (guint64) st->st_dev, (guint64) st->st_ino);
  if (!g_hash_table_add (search->folders, id))
    return;
  if (access (folder, R_OK | X_OK) != 0) {
    add_file (search, folder); /* which says so */
    return;
  }
  g_autoptr (GPtrArray) names = list_folder (folder);
  for (guint i = 0; i < names->len; i++) {
    const char *name = names->pdata[i];
    g_autofree char *path = g_build_filename (folder, name, NULL);
    struct stat inner;
    if (stat (path, &inner) == 0 && S_ISDIR (inner.st_mode))
      add_folder (search, path, &inner);
    else if (search->options->all_files || has_suffix (name, video_suffixes, G_N_ELEMENTS (video_suffixes)))
      add_file (search, path);
  }
}

static void
add_path (Search *search, const char *path)
{
  struct stat st;
  if (stat (path, &st) == 0 && S_ISDIR (st.st_mode))
    add_folder (search, path, &st);
  else
    add_file (search, path);
}

/* ---- manifests ---------------------------------------------------------------------------------------------------- */

static void
add_line (Search *search, const char *line)
{
  if (vig_is_uri (line))
    add_uri (search, line);
  else
    add_path (search, line);
}

static char *
read_all (int fd, gsize *size)
{
  GString *text = g_string_new (NULL);
  char part[65536];
  ssize_t n;
  while ((n = read (fd, part, sizeof part)) > 0 || (n < 0 && errno == EINTR))
    if (n > 0)
      g_string_append_len (text, part, n);
  *size = text->len;
  return g_string_free (text, FALSE);
}

static gboolean
add_manifest (Search *search, const char *path, GError **error)
{
  const gboolean is_stdin = g_str_equal (path, "-");
  g_autofree char *data = NULL, *folder = is_stdin ? g_get_current_dir () : g_path_get_dirname (path);
  g_autofree char *name = is_stdin ? g_strdup ("standard input") : g_filename_display_name (path);
  g_autofree char *absolute = g_canonicalize_filename (folder, NULL);
  g_autoptr (GPtrArray) lines = g_ptr_array_new_with_free_func (g_free);
  gsize size;
  if (is_stdin)
    data = read_all (STDIN_FILENO, &size);
  else if (!g_file_get_contents (path, &data, &size, error))
    return FALSE;
  if (!vig_manifest_parse (data, size, name, absolute, lines, error))
    return FALSE;
  for (guint i = 0; i < lines->len; i++)
    add_line (search, lines->pdata[i]);
  return TRUE;
}

/* ---- arguments ---------------------------------------------------------------------------------------------------- */

/* What the shell has left: in quotes, or in a script. FALSE: it is none, or there is nothing like it. */
static gboolean
add_pattern (Search *search, const char *pattern)
{
  glob_t found;
  if (!strpbrk (pattern, "*?[") || glob (pattern, GLOB_NOSORT, NULL, &found) != 0)
    return FALSE;
  g_autoptr (GPtrArray) paths = g_ptr_array_new_with_free_func (g_free);
  for (gsize i = 0; i < found.gl_pathc; i++)
    g_ptr_array_add (paths, g_strdup (found.gl_pathv[i]));
  globfree (&found);
  g_ptr_array_sort (paths, by_number);
  for (guint i = 0; i < paths->len; i++)
    add_path (search, paths->pdata[i]);
  return TRUE;
}

static gboolean
add_argument (Search *search, const char *argument, GError **error)
{
  if (g_str_equal (argument, "-"))
    return add_manifest (search, argument, error);
  if (vig_is_uri (argument)) {
    add_uri (search, argument);
    return TRUE;
  }
  const gboolean is_there = access (argument, F_OK) == 0;
  if (is_there && has_suffix (argument, manifest_suffixes, G_N_ELEMENTS (manifest_suffixes))
      && !g_file_test (argument, G_FILE_TEST_IS_DIR))
    return add_manifest (search, argument, error);
  if (is_there || !add_pattern (search, argument))
    add_path (search, argument);
  return TRUE;
}

GPtrArray *
vig_inputs_find (const VigOptions *options, GError **error)
{
  Search search = { .options = options, .inputs = g_ptr_array_new_with_free_func ((GDestroyNotify) vig_input_free),
    .known = g_hash_table_new_full (g_str_hash, g_str_equal, g_free, NULL),
    .folders = g_hash_table_new_full (g_str_hash, g_str_equal, g_free, NULL) };
  gboolean ok = TRUE;
  for (char **path = options->manifests; ok && path && *path; path++)
    ok = add_manifest (&search, *path, error);
  for (char **argument = options->arguments; ok && argument && *argument; argument++)
    ok = add_argument (&search, *argument, error);
  g_hash_table_unref (search.known);
  g_hash_table_unref (search.folders);
  if (!ok)
    g_clear_pointer (&search.inputs, g_ptr_array_unref);
  return search.inputs;
}
