/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What a place that events are published to is, to the queue in front of it. */
#ifndef GST_VIG_PUBLISH_SINK_H
#define GST_VIG_PUBLISH_SINK_H

#include <gio/gio.h>
#include <gst/gst.h>

G_BEGIN_DECLS

/**
 * GstVigPublishEvent:
 * @number: later ones have greater ones
 * @key: of the stream that it is about
 * @text: one JSON object in one line, with the newline
 *
 * What is to be published once. Nobody changes it.
 */
typedef struct {
  guint64 number;
  char *key, *text;
  gsize length; /* of @text */
} GstVigPublishEvent;

/* Takes @text; copies @key. */
GstVigPublishEvent *gst_vig_publish_event_new (guint64 number, const char *key, char *text, gsize length);
GstVigPublishEvent *gst_vig_publish_event_ref (GstVigPublishEvent *event);
void gst_vig_publish_event_unref (GstVigPublishEvent *event);

/* Why something could not be published, as the code of an error of this domain. */
#define GST_VIG_PUBLISH_ERROR (gst_vig_publish_error_quark ())
GQuark gst_vig_publish_error_quark (void);

typedef enum {
  GST_VIG_PUBLISH_ERROR_LOST,    /* not now: to be tried again soon, then less and less often */
  GST_VIG_PUBLISH_ERROR_REFUSED, /* somebody has to do something about it; to be tried again, but seldom */
  GST_VIG_PUBLISH_ERROR_OVER,    /* never again */
  GST_VIG_PUBLISH_ERROR_EVENT    /* nothing is wrong but with this event, which will never be taken */
} GstVigPublishError;

/* What came of an event that a sink was given. */
typedef enum {
  GST_VIG_PUBLISH_DONE,   /* it is published */
  GST_VIG_PUBLISH_SENT,   /* gst_vig_publish_queue_delivered() will say so */
  GST_VIG_PUBLISH_BUSY,   /* not taken: to be offered again when the sink has been served */
  GST_VIG_PUBLISH_FAILED  /* not taken: the error says why */
} GstVigPublishOutcome;

typedef struct _GstVigPublishSink GstVigPublishSink;
typedef struct _GstVigPublishQueue GstVigPublishQueue;

/**
 * GstVigPublishSinkClass:
 * @window: most events that are sent and not yet delivered
 * @connect: begins to make a connection; gst_vig_publish_queue_connected() says that there is one
 * @poll: what to wait for: @fd, left as it is where there is nothing, and @wake_at, a time by g_get_monotonic_time()
 * @serve: what was waited for has come, or something else has: goes on without waiting; FALSE: the connection is lost
 * @send: while there is a connection
 * @disconnect: there is no connection any more. What was not delivered will be sent again
 * @free: after @disconnect
 *
 * All are called from one thread, and none waits for the other end. @poll and @serve may be NULL together.
 */
typedef struct {
  guint window;
  gboolean (*connect) (GstVigPublishSink *sink, GCancellable *cancellable, GError **error);
  void (*poll) (GstVigPublishSink *sink, GPollFD *fd, gint64 *wake_at);
  gboolean (*serve) (GstVigPublishSink *sink, GError **error);
  GstVigPublishOutcome (*send) (GstVigPublishSink *sink, GstVigPublishEvent *event, GError **error);
  void (*disconnect) (GstVigPublishSink *sink);
  void (*free) (GstVigPublishSink *sink);
} GstVigPublishSinkClass;

struct _GstVigPublishSink {
  const GstVigPublishSinkClass *class;
  GstVigPublishQueue *queue; /* whom to tell; set when it has the sink */
};

/* Where to publish. */
typedef enum {
  GST_VIG_PUBLISH_TO_FILE,
  GST_VIG_PUBLISH_TO_STDOUT,
  GST_VIG_PUBLISH_TO_MQTT,
  GST_VIG_PUBLISH_TO_KAFKA
} GstVigPublishTo;

/* The properties of the same names; strings may be NULL. */
typedef struct {
  GstVigPublishTo to;
  char *location;
  guint64 rotate_size;
  GstClockTime rotate_time;
  char *address, *topic, *client_id, *username, *password, *password_file, *ca_file, *cert_file, *key_file, *kafka_options;
  gboolean tls, retain;
  guint qos;
} GstVigPublishSettings;

void gst_vig_publish_settings_copy (GstVigPublishSettings *to, const GstVigPublishSettings *from);
void gst_vig_publish_settings_clear (GstVigPublishSettings *settings);

/**
 * gst_vig_publish_sink_open:
 *
 * Checks all of @settings that can be known to be wrong without asking a broker; opens files.
 *
 * Returns: (transfer full): a sink that is not connected; NULL and a GST_RESOURCE_ERROR that names the property
 */
GstVigPublishSink *gst_vig_publish_sink_open (const GstVigPublishSettings *settings, GError **error);

/* The kinds of them, for that function alone. */
GstVigPublishSink *gst_vig_publish_file_open (const GstVigPublishSettings *settings, GError **error);
GstVigPublishSink *gst_vig_publish_stdout_open (void);
GstVigPublishSink *gst_vig_publish_mqtt_open (const GstVigPublishSettings *settings, GError **error);
GstVigPublishSink *gst_vig_publish_kafka_open (const GstVigPublishSettings *settings, GError **error);

G_END_DECLS
#endif
