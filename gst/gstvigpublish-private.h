/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the element's two files share: gstvigpublish.c, which has frames and events, and gstvigpublishproperties.c. */
#ifndef GST_VIG_PUBLISH_PRIVATE_H
#define GST_VIG_PUBLISH_PRIVATE_H

#include "gstvigpublish.h"
#include "gstvigpublishchanges.h"
#include "gstvigpublishevent.h"
#include "gstvigpublishqueue.h"

/* What is published. */
typedef enum { GST_VIG_PUBLISH_ALL, GST_VIG_PUBLISH_CHANGES, GST_VIG_PUBLISH_SEGMENTS } GstVigPublishWhat;

struct _GstVigPublish {
  GstBaseTransform parent;

  /* object lock */
  GstVigPublishSettings settings; /* from the next start on, as */
  GstVigPublishLimits limits;
  GstVigPublishWhat what;
  gboolean include_held;
  GstClockTime drain_timeout;
  char *stream_name;          /* NULL: the stream's id */
  GstVigPublishCounts counts; /* of the last run, while there is no queue */

  GstVigPublishQueue *queue;  /* from start to stop; changes under the object lock */

  /* the streaming thread's */
  GstVigPublishScene scene;
  GstVigPublishChanges changes;
  guint64 sequence;           /* of the next event */
  char *session, *stream_id, *stream;
};

void gst_vig_publish_install_properties (GObjectClass *class);
void gst_vig_publish_init_properties (GstVigPublish *self);

#endif
