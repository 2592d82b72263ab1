/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "gstvigpublishsink.h"

void
gst_vig_publish_settings_copy (GstVigPublishSettings *to, const GstVigPublishSettings *from)
{
  *to = *from;
  char **const strings[] = { &to->location, &to->address, &to->topic, &to->client_id, &to->username, &to->password,
    &to->password_file, &to->ca_file, &to->cert_file, &to->key_file, &to->kafka_options };
  for (guint i = 0; i < G_N_ELEMENTS (strings); i++)
    *strings[i] = g_strdup (*strings[i]);
}

void
gst_vig_publish_settings_clear (GstVigPublishSettings *settings)
{
  char *const strings[] = { settings->location, settings->address, settings->topic, settings->client_id, settings->username,
    settings->password, settings->password_file, settings->ca_file, settings->cert_file, settings->key_file,
    settings->kafka_options };
  for (guint i = 0; i < G_N_ELEMENTS (strings); i++)
    g_free (strings[i]);
  *settings = (GstVigPublishSettings) { 0 };
}

/* ---- which property says something to which sink --------------------------------------------------------------- */

enum { FILES = 1 << GST_VIG_PUBLISH_TO_FILE, MQTT = 1 << GST_VIG_PUBLISH_TO_MQTT, KAFKA = 1 << GST_VIG_PUBLISH_TO_KAFKA,
  BROKERS = MQTT | KAFKA };

static const char *const sink_names[] = { "file", "stdout", "mqtt", "kafka" };

/* One that is set and would be ignored is a mistake. */
static gboolean
check_uses (const GstVigPublishSettings *s, GError **error)
{
  const struct { const char *name; gboolean set; guint sinks; const char *of; } uses[] = {
    { "location", s->location != NULL, FILES, "sink=file" },
    { "rotate-size", s->rotate_size > 0, FILES, "sink=file" },
    { "rotate-time", s->rotate_time > 0, FILES, "sink=file" },
    { "address", s->address != NULL, BROKERS, "sink=mqtt or sink=kafka" },
    { "topic", s->topic != NULL, BROKERS, "sink=mqtt or sink=kafka" },
    { "client-id", s->client_id != NULL, BROKERS, "sink=mqtt or sink=kafka" },
    { "username", s->username != NULL, BROKERS, "sink=mqtt or sink=kafka" },
    { "password", s->password != NULL, BROKERS, "sink=mqtt or sink=kafka" },
    { "password-file", s->password_file != NULL, BROKERS, "sink=mqtt or sink=kafka" },
    { "tls", s->tls, BROKERS, "sink=mqtt or sink=kafka" },
    { "retain", s->retain, MQTT, "sink=mqtt" },
    { "kafka-options", s->kafka_options != NULL, KAFKA, "sink=kafka" },
  };
  for (guint i = 0; i < G_N_ELEMENTS (uses); i++) {
    if (!uses[i].set || uses[i].sinks & 1u << s->to)
      continue;
    g_set_error (error, GST_RESOURCE_ERROR, GST_RESOURCE_ERROR_SETTINGS, "%s is set: expected %s, found sink=%s.",
        uses[i].name, uses[i].of, sink_names[s->to]);
    return FALSE;
  }
  return TRUE;
}

/* ---- what brokers need ----------------------------------------------------------------------------------------- */

static gboolean
check_given (const char *name, const char *value, const char *what, GError **error)
{
  if (value && *value)
    return TRUE;
  g_set_error (error, GST_RESOURCE_ERROR, GST_RESOURCE_ERROR_SETTINGS, "%s: expected %s, found none.", name, what);
  return FALSE;
}

static gboolean
check_file (const char *name, const char *path, gboolean tls, GError **error)
{
  g_autofree char *content = NULL;
  g_autoptr (GError) why = NULL;
  if (!path)
    return TRUE;
  if (!tls) {
    g_set_error (error, GST_RESOURCE_ERROR, GST_RESOURCE_ERROR_SETTINGS, "%s is set: expected tls=true, found tls=false.", name);
    return FALSE;
  }
  if (!g_file_get_contents (path, &content, NULL, &why)) {
    g_set_error (error, GST_RESOURCE_ERROR, GST_RESOURCE_ERROR_OPEN_READ, "%s: expected a file that can be read, found: %s.",
        name, why->message);
    return FALSE;
  }
  if (strstr (content, "-----BEGIN "))
    return TRUE;
  g_set_error (error, GST_RESOURCE_ERROR, GST_RESOURCE_ERROR_SETTINGS, "%s: %s: expected a file in PEM format, found another.",
      name, path);
  return FALSE;
}

static gboolean
check_pair (const GstVigPublishSettings *s, GError **error)
{
  if (!s->cert_file == !s->key_file)
    return TRUE;
  g_set_error (error, GST_RESOURCE_ERROR, GST_RESOURCE_ERROR_SETTINGS, "%s: expected the %s too, found none.",
      s->cert_file ? "cert-file" : "key-file", s->cert_file ? "key-file" : "cert-file");
  return FALSE;
}

/* The property, else the first line of the file, else the environment's. */
static gboolean
find_password (GstVigPublishSettings *s, GError **error)
{
  g_autoptr (GError) why = NULL;
  if (s->password && s->password_file) {
    g_set_error (error, GST_RESOURCE_ERROR, GST_RESOURCE_ERROR_SETTINGS,
        "password: expected one of password and password-file, found both.");
    return FALSE;
  }
  if (s->password_file) {
    if (!g_file_get_contents (s->password_file, &s->password, NULL, &why)) {
      g_set_error (error, GST_RESOURCE_ERROR, GST_RESOURCE_ERROR_OPEN_READ,
          "password-file: expected a file that can be read, found: %s.", why->message);
      return FALSE;
    }
    s->password[strcspn (s->password, "\r\n")] = '\0';
  }
  if (!s->password && s->username)
    s->password = g_strdup (g_getenv ("VIGPUBLISH_PASSWORD"));
  if (!s->password || s->username)
    return TRUE;
  g_set_error (error, GST_RESOURCE_ERROR, GST_RESOURCE_ERROR_SETTINGS, "password: expected a username too, found none.");
  return FALSE;
}

static gboolean
check_broker (GstVigPublishSettings *s, GError **error)
{
  return check_given ("address", s->address, "HOST or HOST:PORT", error)
      && check_given ("topic", s->topic, "the topic to publish to", error)
      && check_file ("ca-file", s->ca_file, s->tls, error) && check_file ("cert-file", s->cert_file, s->tls, error)
      && check_file ("key-file", s->key_file, s->tls, error) && check_pair (s, error) && find_password (s, error);
}

/* ---- the kinds ------------------------------------------------------------------------------------------------- */

#ifndef HAVE_MQTT
GstVigPublishSink *
gst_vig_publish_mqtt_open (const GstVigPublishSettings *settings, GError **error)
{
  g_set_error (error, GST_RESOURCE_ERROR, GST_RESOURCE_ERROR_NOT_FOUND,
      "sink=mqtt: expected a build with MQTT, found one without libmosquitto (meson option mqtt).");
  return NULL;
}
#endif

#ifndef HAVE_KAFKA
GstVigPublishSink *
gst_vig_publish_kafka_open (const GstVigPublishSettings *settings, GError **error)
{
  g_set_error (error, GST_RESOURCE_ERROR, GST_RESOURCE_ERROR_NOT_FOUND,
      "sink=kafka: expected a build with Kafka, found one without librdkafka (meson option kafka).");
  return NULL;
}
#endif

static GstVigPublishSink *
open_broker (const GstVigPublishSettings *settings, GError **error)
{
  GstVigPublishSink *sink = NULL;
  GstVigPublishSettings s;
  gst_vig_publish_settings_copy (&s, settings);
  if (check_broker (&s, error))
    sink = (s.to == GST_VIG_PUBLISH_TO_MQTT ? gst_vig_publish_mqtt_open : gst_vig_publish_kafka_open) (&s, error);
  gst_vig_publish_settings_clear (&s);
  return sink;
}

GstVigPublishSink *
gst_vig_publish_sink_open (const GstVigPublishSettings *settings, GError **error)
{
  if (!check_uses (settings, error))
    return NULL;
  switch (settings->to) {
    case GST_VIG_PUBLISH_TO_FILE:
      return gst_vig_publish_file_open (settings, error);
    case GST_VIG_PUBLISH_TO_STDOUT:
      return gst_vig_publish_stdout_open ();
    case GST_VIG_PUBLISH_TO_MQTT:
    case GST_VIG_PUBLISH_TO_KAFKA:
      return open_broker (settings, error);
  }
  g_return_val_if_reached (NULL);
}
