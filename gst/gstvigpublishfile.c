/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Publishes to a file, which is put aside when it is long or old enough: of regular files only whole lines are ever left.
 * Every line goes to the system at once, and to the disk when the file is put aside or closed. */
#include <fcntl.h>
#include <glib/gstdio.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "gstvigpublishqueue.h"
#include "gstvigpublishwriter.h"

typedef struct {
  GstVigPublishSink parent;
  GstVigPublishWriter writer;
  char *location;
  guint64 rotate_size;
  GstClockTime rotate_time;
  gboolean regular;
  guint64 size;
  gint64 began;       /* microseconds since 1970: when the file was, or was opened */
} File;

/* ---- opening --------------------------------------------------------------------------------------------------- */

static gboolean
fail (const char *path, const char *expected, const char *found, GError **error)
{
  g_set_error (error, GST_VIG_PUBLISH_ERROR, GST_VIG_PUBLISH_ERROR_LOST, "location: %s: expected %s, found %s.", path,
      expected, found);
  return FALSE;
}

/* Where the last whole line ends; -1: that is no file of ours. */
static goffset
find_end (int fd, goffset size)
{
  char piece[4096];
  if (size == 0)
    return 0;
  if (pread (fd, piece, 1, 0) != 1 || piece[0] != '{')
    return -1;
  for (goffset end = size; end > 0;) {
    const gsize n = MIN (end, (goffset) sizeof piece);
    if (pread (fd, piece, n, end - n) != (gssize) n)
      return -1;
    for (gsize i = n; i > 0; i--)
      if (piece[i - 1] == '\n')
        return end - n + i;
    end -= n;
  }
  return 0; /* not one line */
}

/* What was written in part when the power went is cut off. */
static gboolean
prepare_regular (File *self, int fd, goffset size, GError **error)
{
  if (flock (fd, LOCK_EX | LOCK_NB) < 0 && errno == EWOULDBLOCK)
    return fail (self->location, "a file of this element alone", "that another one writes to it", error);
  const goffset end = find_end (fd, size);
  if (end < 0)
    return fail (self->location, "a new file, or one of JSON Lines to go on with", "a file of something else", error);
  if (end < size && ftruncate (fd, end) < 0)
    return fail (self->location, "a file that can be cut", g_strerror (errno), error);
  self->size = end;
  return TRUE;
}

static gboolean
open_file (File *self, GError **error)
{
  struct stat st;
  const gboolean other = stat (self->location, &st) == 0 && !S_ISREG (st.st_mode); /* read from, a pipe would be its own reader */
  int fd = open (self->location, (other ? O_WRONLY : O_RDWR | O_CREAT) | O_APPEND | O_CLOEXEC | O_NONBLOCK | O_NOCTTY, 0666);
  if (fd < 0 || fstat (fd, &st) < 0) {
    const char *found = errno == ENXIO ? "a pipe that nobody reads" : g_strerror (errno);
    if (fd >= 0)
      close (fd);
    return fail (self->location, "a file that can be written", found, error);
  }
  self->regular = S_ISREG (st.st_mode);
  self->began = g_get_real_time ();
  self->size = 0;
  if (self->regular && !prepare_regular (self, fd, st.st_size, error)) {
    close (fd);
    return FALSE;
  }
  self->writer.fd = fd;
  return TRUE;
}

static void
close_file (File *self)
{
  gst_vig_publish_writer_forget (&self->writer);
  if (self->writer.fd < 0)
    return;
  if (self->regular)
    fsync (self->writer.fd);
  close (self->writer.fd);
  self->writer.fd = -1;
}

/* ---- rotation -------------------------------------------------------------------------------------------------- */

/* results.jsonl that was begun then: results-20260102T030405Z-000.jsonl, or the next number that is free. (transfer full) */
static char *
name_aside (const File *self)
{
  g_autoptr (GDateTime) then = g_date_time_new_from_unix_utc (self->began / G_USEC_PER_SEC);
  g_autofree char *time = g_date_time_format (then, "%Y%m%dT%H%M%SZ");
  g_autofree char *folder = g_path_get_dirname (self->location);
  g_autofree char *name = g_path_get_basename (self->location);
  const char *dot = strrchr (name, '.');
  const int stem = dot && dot > name ? (int) (dot - name) : (int) strlen (name);
  for (guint i = 0;; i++) {
    g_autofree char *aside = g_strdup_printf ("%.*s-%s-%03u%s", stem, name, time, i, name + stem);
    g_autofree char *path = g_build_filename (folder, aside, NULL);
    if (!g_file_test (path, G_FILE_TEST_EXISTS) && !g_file_test (path, G_FILE_TEST_IS_SYMLINK))
      return g_steal_pointer (&path);
  }
}

static gboolean
is_due (const File *self, gsize more)
{
  if (!self->regular || self->size == 0)
    return FALSE;
  if (self->rotate_size > 0 && self->size + more > self->rotate_size)
    return TRUE;
  return self->rotate_time > 0 && g_get_real_time () - self->began >= (gint64) (self->rotate_time / GST_USECOND);
}

static gboolean
rotate (File *self, GError **error)
{
  g_autofree char *aside = name_aside (self);
  if (g_rename (self->location, aside) < 0)
    return fail (aside, "a name that the file can be given", g_strerror (errno), error);
  close_file (self);
  return open_file (self, error);
}

/* ---- the sink -------------------------------------------------------------------------------------------------- */

static gboolean
connect_file (GstVigPublishSink *sink, GCancellable *cancellable, GError **error)
{
  File *self = (File *) sink;
  if (self->writer.fd < 0 && !open_file (self, error))
    return FALSE;
  gst_vig_publish_queue_connected (sink->queue);
  return TRUE;
}

static void
poll_file (GstVigPublishSink *sink, GPollFD *fd, gint64 *wake_at)
{
  gst_vig_publish_writer_poll (&((File *) sink)->writer, fd);
}

/* A pipe whose reader has gone may have another later. */
static GstVigPublishOutcome
explain (File *self, GstVigPublishOutcome outcome, GError **error)
{
  if (outcome != GST_VIG_PUBLISH_FAILED)
    return outcome;
  g_prefix_error (error, "location: %s: ", self->location);
  if (error && *error)
    (*error)->code = GST_VIG_PUBLISH_ERROR_LOST;
  if (self->regular && self->writer.at > 0 && ftruncate (self->writer.fd, (goffset) self->size) < 0)
    GST_WARNING ("%s: part of a line stays: %s", self->location, g_strerror (errno));
  return outcome;
}

static gboolean
serve_file (GstVigPublishSink *sink, GError **error)
{
  File *self = (File *) sink;
  GstVigPublishOutcome outcome = explain (self, gst_vig_publish_writer_go_on (&self->writer, error), error);
  if (outcome == GST_VIG_PUBLISH_DONE && self->writer.event) {
    gst_vig_publish_queue_delivered (sink->queue, self->writer.event->number);
    gst_vig_publish_writer_forget (&self->writer);
  }
  return outcome != GST_VIG_PUBLISH_FAILED;
}

static GstVigPublishOutcome
send_file (GstVigPublishSink *sink, GstVigPublishEvent *event, GError **error)
{
  File *self = (File *) sink;
  if (is_due (self, event->length) && !rotate (self, error))
    return GST_VIG_PUBLISH_FAILED;
  GstVigPublishOutcome outcome = explain (self, gst_vig_publish_writer_write (&self->writer, event, error), error);
  if (outcome == GST_VIG_PUBLISH_DONE)
    self->size += event->length;
  return outcome;
}

static void
disconnect_file (GstVigPublishSink *sink)
{
  close_file ((File *) sink);
}

static void
free_file (GstVigPublishSink *sink)
{
  File *self = (File *) sink;
  close_file (self);
  g_free (self->location);
  g_free (self);
}

static gboolean
check_location (const GstVigPublishSettings *settings, GError **error)
{
  const char *location = settings->location;
  if (!location || !*location || g_file_test (location, G_FILE_TEST_IS_DIR)) {
    g_set_error (error, GST_RESOURCE_ERROR, GST_RESOURCE_ERROR_SETTINGS, "location: expected the path of a file, found %s.",
        location && *location ? "a folder" : "none");
    return FALSE;
  }
  g_autofree char *folder = g_path_get_dirname (location);
  if ((settings->rotate_size == 0 && settings->rotate_time == 0) || g_access (folder, W_OK) == 0)
    return TRUE;
  g_set_error (error, GST_RESOURCE_ERROR, GST_RESOURCE_ERROR_OPEN_WRITE,
      "location: %s: expected a folder in which files can be renamed (rotate-size, rotate-time), found %s.", folder,
      g_strerror (errno));
  return FALSE;
}

/* What cannot be written now is an error of the settings, but for a pipe that nobody reads yet. */
GstVigPublishSink *
gst_vig_publish_file_open (const GstVigPublishSettings *settings, GError **error)
{
  static const GstVigPublishSinkClass class = { .window = 1, .connect = connect_file, .poll = poll_file,
    .serve = serve_file, .send = send_file, .disconnect = disconnect_file, .free = free_file };
  g_autoptr (GError) why = NULL;
  struct stat st;
  if (!check_location (settings, error))
    return NULL;
  File *self = g_new0 (File, 1);
  *self = (File) { .parent = { .class = &class }, .writer = { .fd = -1 }, .location = g_strdup (settings->location),
    .rotate_size = settings->rotate_size, .rotate_time = settings->rotate_time };
  if (stat (self->location, &st) == 0 && S_ISFIFO (st.st_mode))
    return &self->parent;
  if (open_file (self, &why))
    return &self->parent;
  g_set_error (error, GST_RESOURCE_ERROR, GST_RESOURCE_ERROR_OPEN_WRITE, "%s", why->message);
  free_file (&self->parent);
  return NULL;
}
