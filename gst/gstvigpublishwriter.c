/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "gstvigpublishwriter.h"

#include <limits.h>
#include <sys/socket.h>
#include <unistd.h>

/* As much as is taken now; -1 and errno EAGAIN: nothing is. */
static gssize
write_some (const GstVigPublishWriter *writer, const char *text, gsize length)
{
  const int fd = writer->fd;
  if (!writer->may_wait)
    return write (fd, text, length);
  GPollFD ready = { .fd = fd, .events = G_IO_OUT };
  if (g_poll (&ready, 1, 0) == 0) {
    errno = EAGAIN;
    return -1;
  }
  gssize n = send (fd, text, length, MSG_DONTWAIT | MSG_NOSIGNAL);
  if (n < 0 && errno == ENOTSOCK)
    n = write (fd, text, MIN (length, PIPE_BUF)); /* so much is taken at once by a pipe that is ready */
  return n;
}

GstVigPublishOutcome
gst_vig_publish_writer_go_on (GstVigPublishWriter *writer, GError **error)
{
  while (writer->event && writer->at < writer->event->length) {
    gssize n = write_some (writer, writer->event->text + writer->at, writer->event->length - writer->at);
    if (n >= 0) {
      writer->at += n;
    } else if (errno == EAGAIN) {
      return GST_VIG_PUBLISH_SENT;
    } else if (errno != EINTR) {
      g_set_error (error, GST_VIG_PUBLISH_ERROR,
          errno == EPIPE || errno == EBADF ? GST_VIG_PUBLISH_ERROR_OVER : GST_VIG_PUBLISH_ERROR_LOST, "%s",
          g_strerror (errno));
      return GST_VIG_PUBLISH_FAILED;
    }
  }
  return GST_VIG_PUBLISH_DONE;
}

GstVigPublishOutcome
gst_vig_publish_writer_write (GstVigPublishWriter *writer, GstVigPublishEvent *event, GError **error)
{
  if (writer->event && writer->event->number != event->number)
    return GST_VIG_PUBLISH_BUSY;
  if (!writer->event) {
    writer->event = gst_vig_publish_event_ref (event);
    writer->at = 0;
  }
  GstVigPublishOutcome outcome = gst_vig_publish_writer_go_on (writer, error);
  if (outcome == GST_VIG_PUBLISH_DONE)
    gst_vig_publish_writer_forget (writer);
  return outcome;
}

void
gst_vig_publish_writer_poll (const GstVigPublishWriter *writer, GPollFD *fd)
{
  if (writer->event)
    *fd = (GPollFD) { .fd = writer->fd, .events = G_IO_OUT };
}

void
gst_vig_publish_writer_forget (GstVigPublishWriter *writer)
{
  g_clear_pointer (&writer->event, gst_vig_publish_event_unref);
}
