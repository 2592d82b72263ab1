/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "files.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include <glib/gstdio.h>

#define PREFIX ".vig-label-"
#define SUFFIX ".tmp"

static gboolean
fail (GError **error, const char *path, const char *what)
{
  const int saved = errno;
  g_autofree char *name = g_filename_display_name (path);
  g_set_error (error, G_FILE_ERROR, (int) g_file_error_from_errno (saved), "%s: cannot be %s: %s", name, what, g_strerror (saved));
  return FALSE;
}

static char *
make_temporary (const char *path)
{
  g_autofree char *folder = g_path_get_dirname (path);
  return g_build_filename (folder, PREFIX "XXXXXX" SUFFIX, NULL);
}

gboolean
vig_file_begin (VigFile *file, const char *path, GError **error)
{
  *file = (VigFile) { .path = g_strdup (path), .temporary = make_temporary (path) };
  const int fd = g_mkstemp_full (file->temporary, O_WRONLY | O_CLOEXEC, 0666);
  if (fd >= 0 && (file->out = fdopen (fd, "w")))
    return TRUE;
  fail (error, path, "written");
  if (fd >= 0)
    close (fd);
  vig_file_drop (file);
  return FALSE;
}

void
vig_file_drop (VigFile *file)
{
  if (file->out) {
    fclose (file->out);
    g_unlink (file->temporary);
  }
  g_free (file->path);
  g_free (file->temporary);
  *file = (VigFile) { 0 };
}

gboolean
vig_file_end (VigFile *file, GError **error)
{
  gboolean ok = !ferror (file->out) && fflush (file->out) == 0 && fsync (fileno (file->out)) == 0
      && g_rename (file->temporary, file->path) == 0;
  if (!ok) {
    if (ferror (file->out) && errno == 0)
      errno = EIO;
    fail (error, file->path, "written");
    vig_file_drop (file);
    return FALSE;
  }
  fclose (file->out);
  g_free (file->path);
  g_free (file->temporary);
  *file = (VigFile) { 0 };
  return TRUE;
}

gboolean
vig_folder_sync (const char *folder, GError **error)
{
  const int fd = g_open (folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
  const gboolean ok = fd >= 0 && (fsync (fd) == 0 || errno == EINVAL); /* some file systems cannot */
  if (!ok)
    fail (error, folder, "written");
  if (fd >= 0)
    close (fd);
  return ok;
}

void
vig_folder_sweep (const char *folder)
{
  g_autoptr (GDir) dir = g_dir_open (folder, 0, NULL);
  const char *name;
  while (dir && (name = g_dir_read_name (dir)))
    if (g_str_has_prefix (name, PREFIX) && g_str_has_suffix (name, SUFFIX)) {
      g_autofree char *path = g_build_filename (folder, name, NULL);
      g_unlink (path);
    }
}

static gboolean
copy (const char *from, const char *to, GError **error)
{
  g_autoptr (GFile) source = g_file_new_for_path (from);
  g_autoptr (GFile) target = g_file_new_for_path (to);
  if (!g_file_copy (source, target, G_FILE_COPY_OVERWRITE, NULL, NULL, NULL, error))
    return FALSE;
  const int fd = g_open (to, O_RDONLY | O_CLOEXEC, 0);
  const gboolean ok = fd >= 0 && fsync (fd) == 0;
  if (!ok)
    fail (error, to, "written");
  if (fd >= 0)
    close (fd);
  return ok;
}

gboolean
vig_file_link (const char *from, const char *to, GError **error)
{
  g_autofree char *temporary = make_temporary (to);
  const int fd = g_mkstemp_full (temporary, O_WRONLY | O_CLOEXEC, 0666); /* for a name that nobody has */
  if (fd < 0)
    return fail (error, to, "written");
  close (fd);
  g_unlink (temporary);
  if (link (from, temporary) != 0 && !copy (from, temporary, error)) {
    g_unlink (temporary);
    return FALSE;
  }
  if (g_rename (temporary, to) != 0) {
    fail (error, to, "written");
    g_unlink (temporary);
    return FALSE;
  }
  g_unlink (temporary); /* rename() does nothing where both are the same file already */
  return TRUE;
}
