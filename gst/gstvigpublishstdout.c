/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Publishes to standard output, which may be a file, a terminal, a pipe or a socket. */
#include <unistd.h>

#include "gstvigpublishqueue.h"
#include "gstvigpublishwriter.h"

typedef struct {
  GstVigPublishSink parent;
  GstVigPublishWriter writer; /* what it has begun it goes on with, also after it has failed */
} Stdout;

static gboolean
connect_stdout (GstVigPublishSink *sink, GCancellable *cancellable, GError **error)
{
  gst_vig_publish_queue_connected (sink->queue);
  return TRUE;
}

static void
poll_stdout (GstVigPublishSink *sink, GPollFD *fd, gint64 *wake_at)
{
  gst_vig_publish_writer_poll (&((Stdout *) sink)->writer, fd);
}

static gboolean
serve_stdout (GstVigPublishSink *sink, GError **error)
{
  GstVigPublishWriter *writer = &((Stdout *) sink)->writer;
  GstVigPublishOutcome outcome = gst_vig_publish_writer_go_on (writer, error);
  if (outcome == GST_VIG_PUBLISH_FAILED)
    g_prefix_error (error, "standard output: ");
  if (outcome == GST_VIG_PUBLISH_DONE && writer->event) {
    gst_vig_publish_queue_delivered (sink->queue, writer->event->number);
    gst_vig_publish_writer_forget (writer);
  }
  return outcome != GST_VIG_PUBLISH_FAILED;
}

static GstVigPublishOutcome
send_stdout (GstVigPublishSink *sink, GstVigPublishEvent *event, GError **error)
{
  GstVigPublishOutcome outcome = gst_vig_publish_writer_write (&((Stdout *) sink)->writer, event, error);
  if (outcome == GST_VIG_PUBLISH_FAILED)
    g_prefix_error (error, "standard output: ");
  return outcome;
}

static void
disconnect_stdout (GstVigPublishSink *sink)
{
}

static void
free_stdout (GstVigPublishSink *sink)
{
  gst_vig_publish_writer_forget (&((Stdout *) sink)->writer);
  g_free (sink);
}

GstVigPublishSink *
gst_vig_publish_stdout_open (void)
{
  static const GstVigPublishSinkClass class = { .window = 1, .connect = connect_stdout, .poll = poll_stdout,
    .serve = serve_stdout, .send = send_stdout, .disconnect = disconnect_stdout, .free = free_stdout };
  Stdout *self = g_new0 (Stdout, 1);
  self->parent.class = &class;
  self->writer = (GstVigPublishWriter) { .fd = STDOUT_FILENO, .may_wait = TRUE };
  return &self->parent;
}
