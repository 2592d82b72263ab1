/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The properties of vigpublish (docs/vigpublish.md): what can be set, and where it goes. */
#include "gstvigpublish-private.h"

#define DEFAULT_SINK GST_VIG_PUBLISH_TO_STDOUT
#define DEFAULT_PUBLISH GST_VIG_PUBLISH_ALL
#define DEFAULT_QOS 1
#define DEFAULT_MAX_QUEUED 10000
#define DEFAULT_MAX_QUEUED_BYTES (64 << 20)
#define DEFAULT_DRAIN_TIMEOUT (5 * GST_SECOND)
#define DEFAULT_RECONNECT_DELAY (500 * GST_MSECOND)
#define DEFAULT_MAX_RECONNECT_DELAY (30 * GST_SECOND)

enum {
  PROP_0, PROP_SINK, PROP_LOCATION, PROP_ROTATE_SIZE, PROP_ROTATE_TIME, PROP_ADDRESS, PROP_TOPIC, PROP_CLIENT_ID,
  PROP_USERNAME, PROP_PASSWORD, PROP_PASSWORD_FILE, PROP_TLS, PROP_CA_FILE, PROP_CERT_FILE, PROP_KEY_FILE, PROP_QOS,
  PROP_RETAIN, PROP_KAFKA_OPTIONS, PROP_PUBLISH, PROP_INCLUDE_HELD, PROP_STREAM_NAME, PROP_WHEN_FULL, PROP_MAX_QUEUED,
  PROP_MAX_QUEUED_BYTES, PROP_DRAIN_TIMEOUT, PROP_RECONNECT_DELAY, PROP_MAX_RECONNECT_DELAY, PROP_STATS
};

static GType
get_enum_type (gsize *type, const char *name, const GEnumValue *values)
{
  if (g_once_init_enter (type))
    g_once_init_leave (type, g_enum_register_static (name, values));
  return *type;
}

static GType
sink_get_type (void)
{
  static gsize type;
  static const GEnumValue values[] = {
    { GST_VIG_PUBLISH_TO_FILE, "A file (location), rotated", "file" },
    { GST_VIG_PUBLISH_TO_STDOUT, "Standard output", "stdout" },
    { GST_VIG_PUBLISH_TO_MQTT, "An MQTT broker (address, topic)", "mqtt" },
    { GST_VIG_PUBLISH_TO_KAFKA, "Kafka brokers (address, topic)", "kafka" },
    { 0, NULL, NULL },
  };
  return get_enum_type (&type, "GstVigPublishSinkKind", values);
}

static GType
what_get_type (void)
{
  static gsize type;
  static const GEnumValue values[] = {
    { GST_VIG_PUBLISH_ALL, "Every result", "all" },
    { GST_VIG_PUBLISH_CHANGES, "Results with another label than the one before", "changes" },
    { GST_VIG_PUBLISH_SEGMENTS, "From when to when a label held (enter-threshold of vigclassify)", "segments" },
    { 0, NULL, NULL },
  };
  return get_enum_type (&type, "GstVigPublishWhat", values);
}

static GType
full_get_type (void)
{
  static gsize type;
  static const GEnumValue values[] = {
    { FALSE, "Drop the oldest that wait, and count them", "drop" },
    { TRUE, "Let the video wait (for files)", "block" },
    { 0, NULL, NULL },
  };
  return get_enum_type (&type, "GstVigPublishFull", values);
}

/* Where a string goes; NULL: it is none. */
static char **
find_string (GstVigPublish *self, guint id)
{
  GstVigPublishSettings *s = &self->settings;
  switch (id) {
    case PROP_LOCATION:
      return &s->location;
    case PROP_ADDRESS:
      return &s->address;
    case PROP_TOPIC:
      return &s->topic;
    case PROP_CLIENT_ID:
      return &s->client_id;
    case PROP_USERNAME:
      return &s->username;
    case PROP_PASSWORD:
      return &s->password;
    case PROP_PASSWORD_FILE:
      return &s->password_file;
    case PROP_CA_FILE:
      return &s->ca_file;
    case PROP_CERT_FILE:
      return &s->cert_file;
    case PROP_KEY_FILE:
      return &s->key_file;
    case PROP_KAFKA_OPTIONS:
      return &s->kafka_options;
    case PROP_STREAM_NAME:
      return &self->stream_name;
    default:
      return NULL;
  }
}

static void
set_value (GstVigPublish *self, guint id, const GValue *value, GParamSpec *pspec)
{
  switch (id) {
    case PROP_SINK:
      self->settings.to = g_value_get_enum (value);
      break;
    case PROP_ROTATE_SIZE:
      self->settings.rotate_size = g_value_get_uint64 (value);
      break;
    case PROP_ROTATE_TIME:
      self->settings.rotate_time = g_value_get_uint64 (value);
      break;
    case PROP_TLS:
      self->settings.tls = g_value_get_boolean (value);
      break;
    case PROP_QOS:
      self->settings.qos = g_value_get_uint (value);
      break;
    case PROP_RETAIN:
      self->settings.retain = g_value_get_boolean (value);
      break;
    case PROP_PUBLISH:
      self->what = g_value_get_enum (value);
      break;
    case PROP_INCLUDE_HELD:
      self->include_held = g_value_get_boolean (value);
      break;
    case PROP_WHEN_FULL:
      self->limits.block = g_value_get_enum (value);
      break;
    case PROP_MAX_QUEUED:
      self->limits.max_events = g_value_get_uint (value);
      break;
    case PROP_MAX_QUEUED_BYTES:
      self->limits.max_bytes = g_value_get_uint64 (value);
      break;
    case PROP_DRAIN_TIMEOUT:
      self->drain_timeout = g_value_get_uint64 (value);
      break;
    case PROP_RECONNECT_DELAY:
      self->limits.delay = g_value_get_uint64 (value);
      break;
    case PROP_MAX_RECONNECT_DELAY:
      self->limits.max_delay = g_value_get_uint64 (value);
      break;
    default:
      G_OBJECT_WARN_INVALID_PROPERTY_ID (self, id, pspec);
  }
}

static void
set_property (GObject *object, guint id, const GValue *value, GParamSpec *pspec)
{
  GstVigPublish *self = GST_VIG_PUBLISH (object);
  GST_OBJECT_LOCK (self);
  char **string = find_string (self, id);
  if (string) {
    g_free (*string);
    *string = g_value_dup_string (value);
  } else {
    set_value (self, id, value, pspec);
  }
  GST_OBJECT_UNLOCK (self);
}

/* Under the object lock. (transfer full) */
static GstStructure *
get_stats (GstVigPublish *self)
{
  GstVigPublishCounts counts = self->counts;
  if (self->queue)
    gst_vig_publish_queue_get_counts (self->queue, &counts);
  return gst_vig_publish_counts_to_structure (&counts, "vig-publish-stats");
}

static void
get_value (GstVigPublish *self, guint id, GValue *value, GParamSpec *pspec)
{
  switch (id) {
    case PROP_SINK:
      g_value_set_enum (value, self->settings.to);
      break;
    case PROP_ROTATE_SIZE:
      g_value_set_uint64 (value, self->settings.rotate_size);
      break;
    case PROP_ROTATE_TIME:
      g_value_set_uint64 (value, self->settings.rotate_time);
      break;
    case PROP_TLS:
      g_value_set_boolean (value, self->settings.tls);
      break;
    case PROP_QOS:
      g_value_set_uint (value, self->settings.qos);
      break;
    case PROP_RETAIN:
      g_value_set_boolean (value, self->settings.retain);
      break;
    case PROP_PUBLISH:
      g_value_set_enum (value, self->what);
      break;
    case PROP_INCLUDE_HELD:
      g_value_set_boolean (value, self->include_held);
      break;
    case PROP_WHEN_FULL:
      g_value_set_enum (value, self->limits.block);
      break;
    case PROP_MAX_QUEUED:
      g_value_set_uint (value, self->limits.max_events);
      break;
    case PROP_MAX_QUEUED_BYTES:
      g_value_set_uint64 (value, self->limits.max_bytes);
      break;
    case PROP_DRAIN_TIMEOUT:
      g_value_set_uint64 (value, self->drain_timeout);
      break;
    case PROP_RECONNECT_DELAY:
      g_value_set_uint64 (value, self->limits.delay);
      break;
    case PROP_MAX_RECONNECT_DELAY:
      g_value_set_uint64 (value, self->limits.max_delay);
      break;
    case PROP_STATS:
      g_value_take_boxed (value, get_stats (self));
      break;
    default:
      G_OBJECT_WARN_INVALID_PROPERTY_ID (self, id, pspec);
  }
}

static void
get_property (GObject *object, guint id, GValue *value, GParamSpec *pspec)
{
  GstVigPublish *self = GST_VIG_PUBLISH (object);
  GST_OBJECT_LOCK (self);
  char **string = find_string (self, id);
  if (string)
    g_value_set_string (value, *string);
  else
    get_value (self, id, value, pspec);
  GST_OBJECT_UNLOCK (self);
}

static void
install_string (GObjectClass *class, guint id, const char *name, const char *nick, const char *blurb, GParamFlags flags)
{
  g_object_class_install_property (class, id, g_param_spec_string (name, nick, blurb, NULL, flags));
}

static void
install_uint64 (GObjectClass *class, guint id, const char *name, const char *nick, const char *blurb, guint64 least,
    guint64 value, GParamFlags flags)
{
  g_object_class_install_property (class, id, g_param_spec_uint64 (name, nick, blurb, least, G_MAXINT64, value, flags));
}

static void
install_boolean (GObjectClass *class, guint id, const char *name, const char *nick, const char *blurb, GParamFlags flags)
{
  g_object_class_install_property (class, id, g_param_spec_boolean (name, nick, blurb, FALSE, flags));
}

static void
install_broker (GObjectClass *class, GParamFlags ready)
{
  install_string (class, PROP_ADDRESS, "address", "Address", "Broker as HOST or HOST:PORT; for sink=kafka perhaps several, "
      "with commas between them", ready);
  install_string (class, PROP_TOPIC, "topic", "Topic", "Topic to publish to", ready);
  install_string (class, PROP_CLIENT_ID, "client-id", "Client id",
      "Name that the broker knows this element by, of each element another (not set: one made up)", ready);
  install_string (class, PROP_USERNAME, "username", "User name", "User to log in as (sink=kafka: by SASL)", ready);
  install_string (class, PROP_PASSWORD, "password", "Password", "Password of the user; cannot be read back. Not set: what "
      "password-file or the environment's VIGPUBLISH_PASSWORD says", (ready & ~G_PARAM_READABLE));
  install_string (class, PROP_PASSWORD_FILE, "password-file", "Password file", "File whose first line is the password", ready);
  install_boolean (class, PROP_TLS, "tls", "TLS", "Connect with TLS; the broker's certificate has to be of a known authority, "
      "and of the host in address", ready);
  install_string (class, PROP_CA_FILE, "ca-file", "CA file", "PEM file of the authorities that brokers' certificates may be "
      "of (not set: those that this system knows)", ready);
  install_string (class, PROP_CERT_FILE, "cert-file", "Certificate file", "PEM file of this client's own certificate", ready);
  install_string (class, PROP_KEY_FILE, "key-file", "Key file", "PEM file of its key, without a pass phrase", ready);
  g_object_class_install_property (class, PROP_QOS, g_param_spec_uint ("qos", "Quality of service",
          "sink=mqtt: 0: published when it is sent, and lost with the connection; 1: when the broker has it, perhaps twice; "
          "2: once", 0, 2, DEFAULT_QOS, ready));
  install_boolean (class, PROP_RETAIN, "retain", "Retain", "sink=mqtt: who subscribes later gets the last one", ready);
  install_string (class, PROP_KAFKA_OPTIONS, "kafka-options", "Kafka options", "sink=kafka: librdkafka's configuration "
      "properties as NAME=VALUE, with semicolons between them", ready);
}

static void
install_queue (GObjectClass *class, GParamFlags ready, GParamFlags playing)
{
  g_object_class_install_property (class, PROP_WHEN_FULL, g_param_spec_enum ("when-full", "When full",
          "What happens to a result when as many wait to be published as may", full_get_type (), FALSE, ready));
  g_object_class_install_property (class, PROP_MAX_QUEUED, g_param_spec_uint ("max-queued", "Most queued",
          "Most that wait to be published (0: any number)", 0, G_MAXUINT, DEFAULT_MAX_QUEUED, ready));
  install_uint64 (class, PROP_MAX_QUEUED_BYTES, "max-queued-bytes", "Most bytes queued",
      "Most bytes that wait to be published (0: any number)", 0, DEFAULT_MAX_QUEUED_BYTES, ready);
  install_uint64 (class, PROP_DRAIN_TIMEOUT, "drain-timeout", "Drain timeout",
      "Nanoseconds that the end of a stream waits at most for what is not published yet", 0, DEFAULT_DRAIN_TIMEOUT, playing);
  install_uint64 (class, PROP_RECONNECT_DELAY, "reconnect-delay", "Reconnect delay",
      "Nanoseconds until a connection that failed is tried again, at first; each time twice as many", GST_MSECOND,
      DEFAULT_RECONNECT_DELAY, ready);
  install_uint64 (class, PROP_MAX_RECONNECT_DELAY, "max-reconnect-delay", "Longest reconnect delay",
      "And at most; at once where the broker has refused it", GST_MSECOND, DEFAULT_MAX_RECONNECT_DELAY, ready);
}

void
gst_vig_publish_install_properties (GObjectClass *class)
{
  const GParamFlags ready = G_PARAM_READWRITE | G_PARAM_STATIC_STRINGS | GST_PARAM_MUTABLE_READY;
  const GParamFlags playing = G_PARAM_READWRITE | G_PARAM_STATIC_STRINGS | GST_PARAM_MUTABLE_PLAYING;
  class->set_property = set_property;
  class->get_property = get_property;
  gst_type_mark_as_plugin_api (sink_get_type (), 0);
  gst_type_mark_as_plugin_api (what_get_type (), 0);
  gst_type_mark_as_plugin_api (full_get_type (), 0);

  g_object_class_install_property (class, PROP_SINK, g_param_spec_enum ("sink", "Sink", "Where to publish", sink_get_type (),
          DEFAULT_SINK, ready));
  install_string (class, PROP_LOCATION, "location", "Location", "sink=file: path of the file; what is in it stays", ready);
  install_uint64 (class, PROP_ROTATE_SIZE, "rotate-size", "Rotate by size",
      "sink=file: begin another file before it has more bytes (0: never)", 0, 0, ready);
  install_uint64 (class, PROP_ROTATE_TIME, "rotate-time", "Rotate by time",
      "sink=file: begin another file when it has been open for as many nanoseconds (0: never)", 0, 0, ready);
  install_broker (class, ready);
  g_object_class_install_property (class, PROP_PUBLISH, g_param_spec_enum ("publish", "Publish", "What is published",
          what_get_type (), DEFAULT_PUBLISH, playing));
  install_boolean (class, PROP_INCLUDE_HELD, "include-held", "Include held",
      "Also publish results of earlier frames that a frame merely carries on", playing);
  install_string (class, PROP_STREAM_NAME, "stream-name", "Stream name",
      "Name of the stream in what is published (not set: the stream's id)", playing);
  install_queue (class, ready, playing);
  g_object_class_install_property (class, PROP_STATS, g_param_spec_boxed ("stats", "Statistics",
          "Counters since the start, and whether there is a connection", GST_TYPE_STRUCTURE,
          G_PARAM_READABLE | G_PARAM_STATIC_STRINGS));
}

void
gst_vig_publish_init_properties (GstVigPublish *self)
{
  self->settings = (GstVigPublishSettings) { .to = DEFAULT_SINK, .qos = DEFAULT_QOS };
  self->what = DEFAULT_PUBLISH;
  self->drain_timeout = DEFAULT_DRAIN_TIMEOUT;
  self->limits = (GstVigPublishLimits) { .max_events = DEFAULT_MAX_QUEUED, .max_bytes = DEFAULT_MAX_QUEUED_BYTES,
    .delay = DEFAULT_RECONNECT_DELAY, .max_delay = DEFAULT_MAX_RECONNECT_DELAY };
}
