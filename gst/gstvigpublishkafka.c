/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Publishes to Kafka. Each connection is a producer of its own: what none has reported as delivered is in the queue. Within one
 * librdkafka tries again by itself, with one request at a time, so that the order is kept. */
#include <librdkafka/rdkafka.h>

#include "gstvigpublishqueue.h"

#define WINDOW 1000                       /* one request's worth, and more to come */
#define ANSWER_TIME (10 * G_USEC_PER_SEC) /* for the first broker to be there */
#define RECOVERY_MS 1000                  /* for one to be there again, before it counts as lost */
#define TICK (50 * 1000)                  /* while there is none */

typedef struct {
  GstVigPublishSink parent;
  GstVigPublishSettings settings;

  /* of one connection */
  rd_kafka_t *producer;
  gint64 answer_at;
  gboolean connected, down;
  GError *failure; /* what ends it */
  char *complaint; /* the last */
} Kafka;

/* ---- what is wrong --------------------------------------------------------------------------------------------- */

static gboolean
fail (const Kafka *self, GstVigPublishError code, const char *why, GError **error)
{
  g_set_error (error, GST_VIG_PUBLISH_ERROR, code, "Kafka brokers %s: %s", self->settings.address, why);
  return FALSE;
}

/* What somebody has to do something about. */
static gboolean
is_refusal (rd_kafka_resp_err_t code)
{
  switch (code) {
    case RD_KAFKA_RESP_ERR__AUTHENTICATION:
    case RD_KAFKA_RESP_ERR__SSL:
    case RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC:
    case RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART:
    case RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED:
    case RD_KAFKA_RESP_ERR_CLUSTER_AUTHORIZATION_FAILED:
    case RD_KAFKA_RESP_ERR_SASL_AUTHENTICATION_FAILED:
    case RD_KAFKA_RESP_ERR_INVALID_REQUIRED_ACKS:
      return TRUE;
    default:
      return FALSE;
  }
}

/* What is wrong with the message itself. */
static gboolean
is_about_message (rd_kafka_resp_err_t code)
{
  return code == RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE || code == RD_KAFKA_RESP_ERR_INVALID_MSG
      || code == RD_KAFKA_RESP_ERR_INVALID_MSG_SIZE || code == RD_KAFKA_RESP_ERR_RECORD_LIST_TOO_LARGE
      || code == RD_KAFKA_RESP_ERR_INVALID_RECORD;
}

/* The first counts. */
static void
end_with (Kafka *self, rd_kafka_resp_err_t code, const char *why)
{
  if (!self->failure)
    fail (self, is_refusal (code) ? GST_VIG_PUBLISH_ERROR_REFUSED : GST_VIG_PUBLISH_ERROR_LOST, why, &self->failure);
}

/* ---- what librdkafka tells us, while it is polled ------------------------------------------------------------------ */

static void
on_error (rd_kafka_t *producer, int code, const char *reason, void *data)
{
  Kafka *self = data;
  GST_DEBUG ("%s: %s", rd_kafka_err2name (code), reason);
  if (code == RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN) {
    self->down = TRUE;
  } else if (is_refusal (code) || code == RD_KAFKA_RESP_ERR__FATAL) {
    end_with (self, code, reason);
  } else {
    g_free (self->complaint);
    self->complaint = g_strdup (reason);
  }
}

static void
on_delivery (rd_kafka_t *producer, const rd_kafka_message_t *message, void *data)
{
  Kafka *self = data;
  g_autoptr (GError) error = NULL;
  const guint64 number = (guintptr) message->_private;
  if (message->err == RD_KAFKA_RESP_ERR_NO_ERROR) {
    gst_vig_publish_queue_delivered (self->parent.queue, number);
  } else if (is_about_message (message->err)) {
    fail (self, GST_VIG_PUBLISH_ERROR_EVENT, rd_kafka_err2str (message->err), &error);
    gst_vig_publish_queue_undeliverable (self->parent.queue, number, error);
  } else {
    end_with (self, message->err, rd_kafka_err2str (message->err));
  }
}

/* From its threads. */
static void
on_log (const rd_kafka_t *producer, int level, const char *facility, const char *text)
{
  GST_DEBUG ("%s: %s", facility, text);
}

/* ---- the producer ---------------------------------------------------------------------------------------------- */

typedef struct {
  const char *name, *value;
} Option;

/* FALSE: librdkafka says that it cannot be so. */
static gboolean
set_option (rd_kafka_conf_t *conf, const char *property, const char *name, const char *value, GError **error)
{
  char why[256];
  if (rd_kafka_conf_set (conf, name, value, why, sizeof why) == RD_KAFKA_CONF_OK)
    return TRUE;
  g_set_error (error, GST_RESOURCE_ERROR, GST_RESOURCE_ERROR_SETTINGS, "%s: %s.", property, why);
  return FALSE;
}

static gboolean
set_from_properties (rd_kafka_conf_t *conf, const GstVigPublishSettings *s, GError **error)
{
  const char *protocol = s->username ? (s->tls ? "sasl_ssl" : "sasl_plaintext") : (s->tls ? "ssl" : "plaintext");
  const Option options[] = {
    { "bootstrap.servers", s->address }, { "client.id", s->client_id ? s->client_id : "vigpublish" },
    { "security.protocol", protocol },
    { "sasl.mechanism", s->username ? "PLAIN" : NULL }, { "sasl.username", s->username }, { "sasl.password", s->password },
    { "ssl.ca.location", s->ca_file }, { "ssl.certificate.location", s->cert_file }, { "ssl.key.location", s->key_file },
    /* delivered is what all replicas have; it is tried for as long as it takes; one after another */
    { "acks", "all" }, { "message.timeout.ms", "0" }, { "max.in.flight.requests.per.connection", "1" },
  };
  for (guint i = 0; i < G_N_ELEMENTS (options); i++)
    if (options[i].value && !set_option (conf, "address", options[i].name, options[i].value, error))
      return FALSE;
  return TRUE;
}

static gboolean
set_from_options (rd_kafka_conf_t *conf, const char *text, GError **error)
{
  g_auto (GStrv) options = g_strsplit (text ? text : "", ";", -1);
  for (guint i = 0; options[i]; i++) {
    if (!*g_strstrip (options[i]))
      continue;
    char *equals = strchr (options[i], '=');
    if (!equals) {
      g_set_error (error, GST_RESOURCE_ERROR, GST_RESOURCE_ERROR_SETTINGS, "kafka-options: expected NAME=VALUE, found %s.",
          options[i]);
      return FALSE;
    }
    *equals = '\0';
    if (!set_option (conf, "kafka-options", g_strstrip (options[i]), g_strstrip (equals + 1), error))
      return FALSE;
  }
  return TRUE;
}

/* It begins to look for brokers. FALSE: a GST_RESOURCE_ERROR */
static gboolean
make_producer (Kafka *self, GError **error)
{
  char why[512];
  rd_kafka_conf_t *conf = rd_kafka_conf_new ();
  rd_kafka_conf_set_opaque (conf, self);
  rd_kafka_conf_set_error_cb (conf, on_error);
  rd_kafka_conf_set_dr_msg_cb (conf, on_delivery);
  rd_kafka_conf_set_log_cb (conf, on_log);
  if (set_from_properties (conf, &self->settings, error) && set_from_options (conf, self->settings.kafka_options, error)) {
    self->producer = rd_kafka_new (RD_KAFKA_PRODUCER, conf, why, sizeof why);
    if (self->producer)
      return TRUE;
    g_set_error (error, GST_RESOURCE_ERROR, GST_RESOURCE_ERROR_SETTINGS, "%s: no Kafka producer can be made: %s.",
        self->settings.tls ? "ca-file, cert-file, key-file" : "kafka-options", why);
  }
  rd_kafka_conf_destroy (conf);
  return FALSE;
}

static void
drop_producer (Kafka *self)
{
  if (self->producer) {
    rd_kafka_purge (self->producer, RD_KAFKA_PURGE_F_QUEUE | RD_KAFKA_PURGE_F_INFLIGHT | RD_KAFKA_PURGE_F_NON_BLOCKING);
    rd_kafka_destroy (self->producer);
  }
  self->producer = NULL;
  self->connected = self->down = FALSE;
  g_clear_error (&self->failure);
  g_clear_pointer (&self->complaint, g_free);
}

/* ---- the connection -------------------------------------------------------------------------------------------- */

static gboolean
connect_kafka (GstVigPublishSink *sink, GCancellable *cancellable, GError **error)
{
  static const guint64 one = 1;
  Kafka *self = (Kafka *) sink;
  g_autoptr (GError) why = NULL;
  if (!self->producer && !make_producer (self, &why)) /* the settings were good once: a file has changed */
    return fail (self, GST_VIG_PUBLISH_ERROR_REFUSED, why->message, error);
  rd_kafka_queue_t *events = rd_kafka_queue_get_main (self->producer);
  rd_kafka_queue_io_event_enable (events, gst_vig_publish_queue_get_wake_fd (sink->queue), &one, sizeof one);
  rd_kafka_queue_destroy (events);
  self->answer_at = g_get_monotonic_time () + ANSWER_TIME;
  return TRUE;
}

static void
disconnect_kafka (GstVigPublishSink *sink)
{
  drop_producer ((Kafka *) sink);
}

static void
poll_kafka (GstVigPublishSink *sink, GPollFD *fd, gint64 *wake_at)
{
  if (!((Kafka *) sink)->connected)
    *wake_at = MIN (*wake_at, g_get_monotonic_time () + TICK);
}

/* Some broker has told which cluster it is of. */
static gboolean
knows_cluster (Kafka *self)
{
  char *id = rd_kafka_clusterid (self->producer, 0);
  if (id)
    rd_kafka_mem_free (self->producer, id);
  return id != NULL;
}

/* Brokers also close what is idle, and take the next connection at once. */
static gboolean
comes_back (Kafka *self)
{
  const struct rd_kafka_metadata *metadata;
  if (rd_kafka_metadata (self->producer, 0, NULL, &metadata, RECOVERY_MS) != RD_KAFKA_RESP_ERR_NO_ERROR)
    return FALSE;
  rd_kafka_metadata_destroy (metadata);
  self->down = FALSE;
  return TRUE;
}

static gboolean
serve_kafka (GstVigPublishSink *sink, GError **error)
{
  Kafka *self = (Kafka *) sink;
  rd_kafka_poll (self->producer, 0);
  if (!self->connected && !self->failure && knows_cluster (self)) {
    self->connected = TRUE;
    gst_vig_publish_queue_connected (sink->queue);
  }
  if (self->failure) {
    g_propagate_error (error, g_steal_pointer (&self->failure));
    return FALSE;
  }
  if (self->down && !(self->connected && comes_back (self)))
    return fail (self, GST_VIG_PUBLISH_ERROR_LOST, self->complaint ? self->complaint : "none can be reached", error);
  if (self->connected || g_get_monotonic_time () < self->answer_at)
    return TRUE;
  return fail (self, GST_VIG_PUBLISH_ERROR_LOST, self->complaint ? self->complaint : "none has answered within ten seconds", error);
}

/* ---- messages -------------------------------------------------------------------------------------------------- */

/* The key keeps a stream's in one partition, and so in order. */
static GstVigPublishOutcome
send_kafka (GstVigPublishSink *sink, GstVigPublishEvent *event, GError **error)
{
  Kafka *self = (Kafka *) sink;
  const rd_kafka_vu_t message[] = {
    { .vtype = RD_KAFKA_VTYPE_TOPIC, .u.cstr = self->settings.topic },
    { .vtype = RD_KAFKA_VTYPE_KEY, .u.mem = { event->key, strlen (event->key) } },
    { .vtype = RD_KAFKA_VTYPE_VALUE, .u.mem = { event->text, event->length - 1 } },
    { .vtype = RD_KAFKA_VTYPE_MSGFLAGS, .u.i = RD_KAFKA_MSG_F_COPY },
    { .vtype = RD_KAFKA_VTYPE_OPAQUE, .u.ptr = (void *) (guintptr) event->number },
  };
  rd_kafka_error_t *refused = rd_kafka_produceva (self->producer, message, G_N_ELEMENTS (message));
  const rd_kafka_resp_err_t code = refused ? rd_kafka_error_code (refused) : RD_KAFKA_RESP_ERR_NO_ERROR;
  if (refused)
    rd_kafka_error_destroy (refused);
  if (code == RD_KAFKA_RESP_ERR_NO_ERROR)
    return GST_VIG_PUBLISH_SENT;
  if (code == RD_KAFKA_RESP_ERR__QUEUE_FULL)
    return GST_VIG_PUBLISH_BUSY;
  GstVigPublishError kind = is_refusal (code) ? GST_VIG_PUBLISH_ERROR_REFUSED : GST_VIG_PUBLISH_ERROR_LOST;
  fail (self, is_about_message (code) ? GST_VIG_PUBLISH_ERROR_EVENT : kind, rd_kafka_err2str (code), error);
  return GST_VIG_PUBLISH_FAILED;
}

/* ---- the sink -------------------------------------------------------------------------------------------------- */

static void
free_kafka (GstVigPublishSink *sink)
{
  Kafka *self = (Kafka *) sink;
  drop_producer (self);
  gst_vig_publish_settings_clear (&self->settings);
  g_free (self);
}

static gboolean
check_addresses (const char *text, GError **error)
{
  g_auto (GStrv) addresses = g_strsplit (text, ",", -1);
  for (guint i = 0; addresses[i]; i++) {
    g_autoptr (GSocketConnectable) address = g_network_address_parse (g_strstrip (addresses[i]), 9092, NULL);
    if (address && !strstr (addresses[i], "://") && g_network_address_get_port (G_NETWORK_ADDRESS (address)) > 0)
      continue;
    g_set_error (error, GST_RESOURCE_ERROR, GST_RESOURCE_ERROR_SETTINGS,
        "address: expected HOST or HOST:PORT, perhaps several with commas between them, found %s.", text);
    return FALSE;
  }
  return TRUE;
}

static gboolean
check_topic (const char *topic, GError **error)
{
  if (g_regex_match_simple ("^[A-Za-z0-9._-]{1,249}$", topic, G_REGEX_DOLLAR_ENDONLY, 0))
    return TRUE;
  g_set_error (error, GST_RESOURCE_ERROR, GST_RESOURCE_ERROR_SETTINGS,
      "topic: expected at most 249 letters, digits, dots, underscores and hyphens, found %s.", topic);
  return FALSE;
}

GstVigPublishSink *
gst_vig_publish_kafka_open (const GstVigPublishSettings *settings, GError **error)
{
  static const GstVigPublishSinkClass class = { .window = WINDOW, .connect = connect_kafka, .poll = poll_kafka,
    .serve = serve_kafka, .send = send_kafka, .disconnect = disconnect_kafka, .free = free_kafka };
  if (!check_addresses (settings->address, error) || !check_topic (settings->topic, error))
    return NULL;
  Kafka *self = g_new0 (Kafka, 1);
  self->parent.class = &class;
  gst_vig_publish_settings_copy (&self->settings, settings);
  if (make_producer (self, error))
    return &self->parent;
  free_kafka (&self->parent);
  return NULL;
}
