/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Publishes to an MQTT broker. Each connection is a client of its own, which knows nothing of the one before: what the
 * broker has not acknowledged is in the queue. */
#include <mosquitto.h>
#include <mqtt_protocol.h>
#include <sys/socket.h>

#include "gstvigpublishqueue.h"
#include "gstvigpublishtls.h"

#define WINDOW 20                         /* what brokers take at once, if nobody tells them otherwise */
#define ANSWER_TIME (10 * G_USEC_PER_SEC) /* for a connection to be made */
#define KEEPALIVE 20                      /* seconds in which a broker that has gone is missed, or a little more */
#define TICK (G_USEC_PER_SEC / 2)
#define HANDSHAKE_TICK (20 * 1000)

typedef struct {
  GstVigPublishSink parent;
  GstVigPublishSettings settings;
  GSocketConnectable *address;
  char *client_id;
  GSocketFamily families[2];     /* of the host's addresses: those that worked last, or that the system prefers, first */
  guint n_families, family;      /* which one is tried */

  /* of one connection */
  struct mosquitto *client;
  gint64 answer_at;              /* until when the broker has to say yes */
  gboolean connected;
  int refusal;                   /* what it said instead; 0: nothing */
  char *complaint;               /* of TLS, the first */
  struct { int id; guint64 number; } sent[WINDOW]; /* id 0: none */
} Mqtt;

/* ---- what libmosquitto tells us -------------------------------------------------------------------------------- */

static void
on_connect (struct mosquitto *client, void *data, int code)
{
  Mqtt *self = data;
  self->connected = code == 0;
  self->refusal = code;
  if (self->connected)
    gst_vig_publish_queue_connected (self->parent.queue);
}

static void
on_publish (struct mosquitto *client, void *data, int id)
{
  Mqtt *self = data;
  for (guint i = 0; i < WINDOW; i++) {
    if (self->sent[i].id != id)
      continue;
    self->sent[i].id = 0;
    gst_vig_publish_queue_delivered (self->parent.queue, self->sent[i].number);
    return;
  }
}

static void
on_log (struct mosquitto *client, void *data, int level, const char *text)
{
  Mqtt *self = data;
  GST_DEBUG ("%s", text);
  if (level == MOSQ_LOG_ERR && !self->complaint)
    self->complaint = g_strdup (text);
}

/* ---- what is wrong --------------------------------------------------------------------------------------------- */

static gboolean
fail (const Mqtt *self, GstVigPublishError code, const char *why, GError **error)
{
  g_set_error (error, GST_VIG_PUBLISH_ERROR, code, "MQTT broker %s: %s", self->settings.address, why);
  return FALSE;
}

/* The peer did speak, and TLS with it will fail again. */
static gboolean
is_refused_by_tls (const Mqtt *self)
{
  return self->complaint && !self->connected && !strstr (self->complaint, "unexpected eof");
}

/* What the last call's code means: the broker's own words first. */
static gboolean
explain (Mqtt *self, int code, GError **error)
{
  const char *why = code == MOSQ_ERR_ERRNO ? g_strerror (errno) : mosquitto_strerror (code);
  if (self->refusal == CONNACK_REFUSED_SERVER_UNAVAILABLE)
    return fail (self, GST_VIG_PUBLISH_ERROR_LOST, mosquitto_connack_string (self->refusal), error);
  if (self->refusal)
    return fail (self, GST_VIG_PUBLISH_ERROR_REFUSED, mosquitto_connack_string (self->refusal), error);
  if (code == MOSQ_ERR_TLS && !self->complaint)
    return fail (self, GST_VIG_PUBLISH_ERROR_LOST, "the connection was refused or closed", error);
  if (!is_refused_by_tls (self))
    return fail (self, GST_VIG_PUBLISH_ERROR_LOST, why, error);
  g_autofree char *tls = g_strconcat ("no TLS connection: ", self->complaint, NULL);
  return fail (self, GST_VIG_PUBLISH_ERROR_REFUSED, tls, error);
}

/* ---- the connection -------------------------------------------------------------------------------------------- */

static void
add_family (Mqtt *self, GSocketFamily family)
{
  for (guint i = 0; i < self->n_families; i++)
    if (self->families[i] == family)
      return;
  if (self->n_families < G_N_ELEMENTS (self->families))
    self->families[self->n_families++] = family;
}

/* libmosquitto asks for the addresses itself, and cannot be stopped then: by now the answer is known, or that there is none. */
static gboolean
look_up (Mqtt *self, GCancellable *cancellable, GError **error)
{
  g_autoptr (GError) why = NULL;
  g_autoptr (GResolver) resolver = g_resolver_get_default ();
  GList *found = g_resolver_lookup_by_name (resolver, g_network_address_get_hostname (G_NETWORK_ADDRESS (self->address)),
      cancellable, &why);
  if (why)
    return fail (self, GST_VIG_PUBLISH_ERROR_LOST, why->message, error);
  const GSocketFamily worked = self->n_families ? self->families[self->family] : G_SOCKET_FAMILY_INVALID;
  self->n_families = self->family = 0;
  for (GList *l = found; l; l = l->next)
    if (g_inet_address_get_family (l->data) == worked)
      add_family (self, worked);
  for (GList *l = found; l; l = l->next)
    add_family (self, g_inet_address_get_family (l->data));
  g_resolver_free_addresses (found);
  return TRUE;
}

/* A code of libmosquitto's. */
static int
set_up_tls (Mqtt *self)
{
  const GstVigPublishSettings *s = &self->settings;
  if (!s->tls)
    return MOSQ_ERR_SUCCESS;
  if (!s->ca_file && !s->cert_file)
    return mosquitto_int_option (self->client, MOSQ_OPT_TLS_USE_OS_CERTS, 1);
  return mosquitto_tls_set (self->client, s->ca_file, s->ca_file ? NULL : "/etc/ssl/certs", s->cert_file, s->key_file, NULL);
}

static gboolean
make_client (Mqtt *self, GError **error)
{
  self->client = mosquitto_new (self->client_id, true, self);
  if (!self->client)
    return fail (self, GST_VIG_PUBLISH_ERROR_LOST, g_strerror (errno), error);
  mosquitto_connect_callback_set (self->client, on_connect);
  mosquitto_publish_callback_set (self->client, on_publish);
  mosquitto_log_callback_set (self->client, on_log);
  int code = mosquitto_max_inflight_messages_set (self->client, WINDOW);
  if (code == MOSQ_ERR_SUCCESS && self->settings.username)
    code = mosquitto_username_pw_set (self->client, self->settings.username, self->settings.password);
  if (code == MOSQ_ERR_SUCCESS)
    code = set_up_tls (self);
  return code == MOSQ_ERR_SUCCESS ? TRUE : explain (self, code, error);
}

static void
drop_client (Mqtt *self)
{
  if (self->client && self->connected)
    mosquitto_disconnect (self->client);
  g_clear_pointer (&self->client, mosquitto_destroy);
  g_clear_pointer (&self->complaint, g_free);
  self->connected = FALSE;
  self->refusal = 0;
  memset (self->sent, 0, sizeof self->sent);
}

/* Of all of the host's addresses libmosquitto tries the first alone where it may not wait. */
static gboolean
begin (Mqtt *self, GError **error)
{
  GNetworkAddress *address = G_NETWORK_ADDRESS (self->address);
  const char *any = self->families[self->family] == G_SOCKET_FAMILY_IPV6 ? "::" : "0.0.0.0";
  if (!make_client (self, error))
    return FALSE;
  self->answer_at = g_get_monotonic_time () + ANSWER_TIME;
  int code = mosquitto_connect_bind_async (self->client, g_network_address_get_hostname (address),
      g_network_address_get_port (address), KEEPALIVE, any);
  return code == MOSQ_ERR_SUCCESS ? TRUE : explain (self, code, error);
}

/* Nobody is there: perhaps at the host's other kind of address. FALSE: @error is set. */
static gboolean
begin_or_try_another (Mqtt *self, gboolean begun, GError **error)
{
  while (!begun && self->family + 1 < self->n_families && !self->connected && !self->refusal && !is_refused_by_tls (self)) {
    g_clear_error (error);
    drop_client (self);
    self->family++;
    begun = begin (self, error);
  }
  return begun;
}

static gboolean
connect_mqtt (GstVigPublishSink *sink, GCancellable *cancellable, GError **error)
{
  Mqtt *self = (Mqtt *) sink;
  return look_up (self, cancellable, error) && begin_or_try_another (self, begin (self, error), error);
}

static void
disconnect_mqtt (GstVigPublishSink *sink)
{
  drop_client ((Mqtt *) sink);
}

/* While TLS is being agreed upon there is something to write that cannot be written: what comes drives it on. */
static void
poll_mqtt (GstVigPublishSink *sink, GPollFD *fd, gint64 *wake_at)
{
  Mqtt *self = (Mqtt *) sink;
  const gboolean agreeing = self->settings.tls && !self->connected;
  const gboolean writes = mosquitto_want_write (self->client) && !agreeing;
  *fd = (GPollFD) { .fd = mosquitto_socket (self->client), .events = G_IO_IN | (writes ? G_IO_OUT : 0) };
  *wake_at = MIN (*wake_at, g_get_monotonic_time () + (agreeing ? HANDSHAKE_TICK : TICK));
}

/* Of TCP; TLS would only say that there is no connection. */
static gboolean
check_socket (Mqtt *self, GError **error)
{
  int problem = 0;
  socklen_t length = sizeof problem;
  if (!self->connected && getsockopt (mosquitto_socket (self->client), SOL_SOCKET, SO_ERROR, &problem, &length) == 0 && problem)
    return fail (self, GST_VIG_PUBLISH_ERROR_LOST, g_strerror (problem), error);
  return TRUE;
}

static gboolean
serve_client (Mqtt *self, GError **error)
{
  if (!check_socket (self, error))
    return FALSE;
  errno = 0;
  int code = mosquitto_loop_read (self->client, 1);
  if (code == MOSQ_ERR_SUCCESS && !self->refusal && mosquitto_want_write (self->client))
    code = mosquitto_loop_write (self->client, 1);
  if (code == MOSQ_ERR_SUCCESS && !self->refusal)
    code = mosquitto_loop_misc (self->client);
  if (code != MOSQ_ERR_SUCCESS || self->refusal)
    return explain (self, code, error);
  if (self->connected || g_get_monotonic_time () < self->answer_at)
    return TRUE;
  return fail (self, GST_VIG_PUBLISH_ERROR_LOST, "it has not answered within ten seconds", error);
}

static gboolean
serve_mqtt (GstVigPublishSink *sink, GError **error)
{
  Mqtt *self = (Mqtt *) sink;
  return begin_or_try_another (self, serve_client (self, error), error);
}

/* ---- messages -------------------------------------------------------------------------------------------------- */

static GstVigPublishOutcome
send_mqtt (GstVigPublishSink *sink, GstVigPublishEvent *event, GError **error)
{
  Mqtt *self = (Mqtt *) sink;
  const GstVigPublishSettings *s = &self->settings;
  guint i = 0;
  while (i < WINDOW && self->sent[i].id != 0)
    i++;
  if (i == WINDOW)
    return GST_VIG_PUBLISH_BUSY;
  self->sent[i].number = event->number;
  int code = mosquitto_publish (self->client, &self->sent[i].id, s->topic, (int) event->length - 1, event->text, (int) s->qos,
      s->retain);
  if (code == MOSQ_ERR_SUCCESS)
    return GST_VIG_PUBLISH_SENT;
  if (code == MOSQ_ERR_PAYLOAD_SIZE || code == MOSQ_ERR_OVERSIZE_PACKET) {
    self->sent[i].id = 0;
    fail (self, GST_VIG_PUBLISH_ERROR_EVENT, mosquitto_strerror (code), error);
  } else {
    explain (self, code, error);
  }
  return GST_VIG_PUBLISH_FAILED;
}

/* ---- the sink -------------------------------------------------------------------------------------------------- */

static void
free_mqtt (GstVigPublishSink *sink)
{
  Mqtt *self = (Mqtt *) sink;
  gst_vig_publish_settings_clear (&self->settings);
  g_clear_object (&self->address);
  g_free (self->client_id);
  g_free (self);
}

static gpointer
init_library (gpointer data)
{
  mosquitto_lib_init ();
  return NULL;
}

static char *
make_up_id (void)
{
  g_autofree char *random = g_uuid_string_random ();
  return g_strdup_printf ("vigpublish-%.12s", random + strlen (random) - 12); /* 23 characters: as many as any broker takes */
}

/* (transfer full): NULL and an error */
static GSocketConnectable *
parse_address (const char *text, gboolean tls, GError **error)
{
  g_autoptr (GError) why = NULL;
  GSocketConnectable *address = g_network_address_parse (text, tls ? 8883 : 1883, &why);
  if (address && !strstr (text, "://") && !strchr (text, ',') && g_network_address_get_port (G_NETWORK_ADDRESS (address)) > 0)
    return address;
  g_clear_object (&address);
  g_set_error (error, GST_RESOURCE_ERROR, GST_RESOURCE_ERROR_SETTINGS, "address: expected HOST or HOST:PORT, found %s.", text);
  return NULL;
}

GstVigPublishSink *
gst_vig_publish_mqtt_open (const GstVigPublishSettings *settings, GError **error)
{
  static const GstVigPublishSinkClass class = { .window = WINDOW, .connect = connect_mqtt, .poll = poll_mqtt,
    .serve = serve_mqtt, .send = send_mqtt, .disconnect = disconnect_mqtt, .free = free_mqtt };
  static GOnce once = G_ONCE_INIT;
  GSocketConnectable *address = parse_address (settings->address, settings->tls, error);
  if (!address)
    return NULL;
  if (mosquitto_pub_topic_check (settings->topic) != MOSQ_ERR_SUCCESS) {
    g_set_error (error, GST_RESOURCE_ERROR, GST_RESOURCE_ERROR_SETTINGS,
        "topic: expected one without + and #, of at most 65535 bytes, found %s.", settings->topic);
    g_object_unref (address);
    return NULL;
  }
  if (!gst_vig_publish_tls_check (settings, error)) {
    g_object_unref (address);
    return NULL;
  }
  g_once (&once, init_library, NULL);
  Mqtt *self = g_new0 (Mqtt, 1);
  self->parent.class = &class;
  gst_vig_publish_settings_copy (&self->settings, settings);
  self->address = address;
  self->client_id = settings->client_id ? g_strdup (settings->client_id) : make_up_id ();
  return &self->parent;
}
