/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Writes whole lines to a file descriptor, and never waits for who reads it. */
#ifndef GST_VIG_PUBLISH_WRITER_H
#define GST_VIG_PUBLISH_WRITER_H

#include "gstvigpublishsink.h"

G_BEGIN_DECLS

/**
 * GstVigPublishWriter:
 * @fd: -1: none
 * @may_wait: it is not ours, and may be one that makes who writes wait
 * @event: (nullable): that is written in part,
 * @at: up to there
 */
typedef struct {
  int fd;
  gboolean may_wait;
  GstVigPublishEvent *event;
  gsize at;
} GstVigPublishWriter;

/* BUSY: one before it is not written yet. FAILED: what is written of it is told by @at. */
GstVigPublishOutcome gst_vig_publish_writer_write (GstVigPublishWriter *writer, GstVigPublishEvent *event, GError **error);

/* Goes on with @event, if there is one: DONE when it is written, else as above. */
GstVigPublishOutcome gst_vig_publish_writer_go_on (GstVigPublishWriter *writer, GError **error);

void gst_vig_publish_writer_poll (const GstVigPublishWriter *writer, GPollFD *fd);
void gst_vig_publish_writer_forget (GstVigPublishWriter *writer); /* @event */

G_END_DECLS
#endif
