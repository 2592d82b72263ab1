/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* vigpublish and a real mosquitto with TLS and passwords, which is killed and started again. */
#include <glib/gstdio.h>
#include <json-glib/json-glib.h>
#include <mosquitto.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#include "publishing.h"

#define PATIENCE (60 * G_USEC_PER_SEC)

/* ---- the broker ---- */

static guint16
free_port (void)
{
  g_autoptr (GSocket) socket = g_socket_new (G_SOCKET_FAMILY_IPV4, G_SOCKET_TYPE_STREAM, G_SOCKET_PROTOCOL_TCP, NULL);
  g_autoptr (GInetAddress) loopback = g_inet_address_new_loopback (G_SOCKET_FAMILY_IPV4);
  g_autoptr (GSocketAddress) any = g_inet_socket_address_new (loopback, 0);
  g_assert_true (g_socket_bind (socket, any, TRUE, NULL));
  g_autoptr (GSocketAddress) bound = g_socket_get_local_address (socket, NULL);
  return g_inet_socket_address_get_port (G_INET_SOCKET_ADDRESS (bound));
}

/* In the tests' folder. */
static void
run (const char *command)
{
  g_autoptr (GError) error = NULL;
  g_auto (GStrv) argv = g_strsplit (command, " ", -1);
  g_autofree char *errors = NULL;
  int status;
  g_spawn_sync (test_dir (), argv, NULL, G_SPAWN_SEARCH_PATH | G_SPAWN_STDOUT_TO_DEV_NULL, NULL, NULL, NULL, &errors, &status, &error);
  g_assert_no_error (error);
  if (!g_spawn_check_wait_status (status, &error))
    g_error ("%s: %s", command, errors);
}

static void
write_in_dir (const char *name, const char *text)
{
  g_autofree char *path = publishing_in_dir (name);
  g_assert_true (g_file_set_contents (path, text, -1, NULL));
}

/* Two authorities, of which one has signed the broker's certificate; passwords of the reader, and of both. */
static void
make_secrets (void)
{
#define KEY "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 "
  run ("openssl req -x509 " KEY "-keyout ca.key -out ca.pem -subj /CN=authority");
  run ("openssl req -x509 " KEY "-keyout other.key -out other.pem -subj /CN=another");
  run ("openssl req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout server.key -out server.csr -subj /CN=broker");
  write_in_dir ("server.ext", "subjectAltName=DNS:localhost\n");
  run ("openssl x509 -req -in server.csr -CA ca.pem -CAkey ca.key -CAcreateserial -out server.pem -days 2 -extfile server.ext");
  run ("mosquitto_passwd -b -c reader.pw reader read");
  run ("mosquitto_passwd -b -c both.pw reader read");
  run ("mosquitto_passwd -b both.pw camera s3cret");
}

typedef struct {
  guint16 port;
  GSubprocess *process;
} Broker;

static void
copy_passwords (const char *from)
{
  g_autofree char *path = publishing_in_dir (from), *text = NULL;
  g_assert_true (g_file_get_contents (path, &text, NULL, NULL));
  write_in_dir ("passwords", text);
}

/* Until it takes connections. @passwords: of whom it knows */
static void
start_broker (Broker *broker, const char *passwords)
{
  g_autoptr (GError) error = NULL;
  g_autofree char *config = publishing_in_dir ("mosquitto.conf");
  g_autofree char *text = g_strdup_printf ("listener %u 127.0.0.1\nallow_anonymous false\npassword_file %s/passwords\n"
      "cafile %s/ca.pem\ncertfile %s/server.pem\nkeyfile %s/server.key\nuser %s\nlog_dest none\n",
      broker->port, test_dir (), test_dir (), test_dir (), test_dir (), g_get_user_name ());
  write_in_dir ("mosquitto.conf", text);
  copy_passwords (passwords);
  broker->process = g_subprocess_new (G_SUBPROCESS_FLAGS_STDERR_SILENCE, &error, "mosquitto", "-c", config, NULL);
  g_assert_no_error (error);
  const gint64 until = g_get_monotonic_time () + PATIENCE;
  for (;;) {
    g_autoptr (GSocketClient) client = g_socket_client_new ();
    g_autoptr (GSocketConnection) connection = g_socket_client_connect_to_host (client, "127.0.0.1", broker->port, NULL, NULL);
    if (connection)
      break;
    g_assert_cmpint (g_get_monotonic_time (), <, until);
    g_usleep (10 * 1000);
  }
}

static void
kill_broker (Broker *broker)
{
  g_subprocess_force_exit (broker->process); /* SIGKILL */
  g_subprocess_wait (broker->process, NULL, NULL);
  g_clear_object (&broker->process);
}

/* ---- who reads ---- */

typedef struct {
  struct mosquitto *client;
  GMutex lock;
  gboolean subscribed;
  GString *lines;
} Reader;

static void
on_connect (struct mosquitto *client, void *data, int code)
{
  if (code == 0)
    mosquitto_subscribe (client, NULL, "cameras/#", 0); /* at once, with no window to wait for */
}

static void
on_subscribe (struct mosquitto *client, void *data, int id, int n, const int *qos)
{
  Reader *reader = data;
  g_mutex_lock (&reader->lock);
  reader->subscribed = TRUE;
  g_mutex_unlock (&reader->lock);
}

static void
on_message (struct mosquitto *client, void *data, const struct mosquitto_message *message)
{
  Reader *reader = data;
  g_assert_cmpstr (message->topic, ==, "cameras/door");
  g_mutex_lock (&reader->lock);
  g_string_append_len (reader->lines, message->payload, message->payloadlen);
  g_string_append_c (reader->lines, '\n');
  g_mutex_unlock (&reader->lock);
}

static void
disconnect_reader (Reader *reader)
{
  mosquitto_disconnect (reader->client);
  mosquitto_loop_stop (reader->client, false);
  mosquitto_destroy (reader->client);
  reader->subscribed = FALSE;
}

/* Until it is subscribed. Each broker has a client of its own: libmosquitto's thread gives up where TLS is cut short. */
static void
connect_reader (Reader *reader, const Broker *broker)
{
  g_autofree char *ca = publishing_in_dir ("ca.pem");
  const gint64 until = g_get_monotonic_time () + PATIENCE;
  reader->client = mosquitto_new (NULL, true, reader);
  mosquitto_connect_callback_set (reader->client, on_connect);
  mosquitto_subscribe_callback_set (reader->client, on_subscribe);
  mosquitto_message_callback_set (reader->client, on_message);
  mosquitto_username_pw_set (reader->client, "reader", "read");
  mosquitto_tls_set (reader->client, ca, NULL, NULL, NULL, NULL);
  g_assert_cmpint (mosquitto_connect (reader->client, "localhost", broker->port, 20), ==, MOSQ_ERR_SUCCESS);
  g_assert_cmpint (mosquitto_loop_start (reader->client), ==, MOSQ_ERR_SUCCESS);
  for (gboolean is = FALSE; !is;) {
    g_usleep (5000);
    g_assert_cmpint (g_get_monotonic_time (), <, until);
    g_mutex_lock (&reader->lock);
    is = reader->subscribed;
    g_mutex_unlock (&reader->lock);
  }
}

static Reader *
start_reader (const Broker *broker)
{
  Reader *reader = g_new0 (Reader, 1);
  reader->lines = g_string_new (NULL);
  g_mutex_init (&reader->lock);
  connect_reader (reader, broker);
  return reader;
}

/* All of @n results have come, each once but for repetitions, in order. Frees the reader. */
static void
expect_all (Reader *reader, guint n)
{
  guint next = 0;
  const gint64 until = g_get_monotonic_time () + 10 * G_USEC_PER_SEC; /* what is acknowledged is on its way */
  g_autofree char *last = g_strdup_printf ("\"sequence\":%u,", n - 1);
  for (gboolean there = FALSE; !there && g_get_monotonic_time () < until; g_usleep (5000)) {
    g_mutex_lock (&reader->lock);
    there = strstr (reader->lines->str, last) != NULL;
    g_mutex_unlock (&reader->lock);
  }
  disconnect_reader (reader);
  g_autofree char *path = publishing_in_dir ("received.jsonl");
  g_assert_true (g_file_set_contents (path, reader->lines->str, -1, NULL));
  publishing_check_schema (path);
  g_auto (GStrv) lines = g_strsplit (reader->lines->str, "\n", -1);
  for (guint i = 0; *lines[i]; i++) {
    g_autoptr (JsonNode) node = json_from_string (lines[i], NULL);
    guint sequence = json_object_get_int_member (json_node_get_object (node), "sequence");
    g_assert_cmpuint (sequence, <=, next);
    next += sequence == next;
  }
  g_assert_cmpuint (next, ==, n);
  g_string_free (reader->lines, TRUE);
  g_mutex_clear (&reader->lock);
  g_free (reader);
}

/* ---- who publishes ---- */

static GstElement *
publisher (const Broker *broker, const char *host, const char *ca_file, const char *first_property, ...)
{
  va_list args;
  GstElement *element = gst_element_factory_make ("vigpublish", NULL);
  g_autofree char *ca = publishing_in_dir (ca_file), *address = g_strdup_printf ("%s:%u", host, broker->port);
  gst_util_set_object_arg (G_OBJECT (element), "sink", "mqtt");
  g_object_set (element, "address", address, "topic", "cameras/door", "username", "camera", "password", "s3cret", "tls", TRUE,
      "ca-file", ca, "reconnect-delay", 50 * GST_MSECOND, "max-reconnect-delay", 400 * GST_MSECOND, NULL);
  va_start (args, first_property);
  if (first_property)
    g_object_set_valist (G_OBJECT (element), first_property, args);
  va_end (args);
  return element;
}

static void
stop_in_time (GstHarness *h)
{
  gint64 began = g_get_monotonic_time ();
  gst_element_set_state (h->element, GST_STATE_NULL);
  g_assert_cmpint (g_get_monotonic_time () - began, <, 3 * G_USEC_PER_SEC);
  test_harness_free (h);
}

/* ---- tests ---- */

static void
test_delivers (gconstpointer qos)
{
  Broker broker = { .port = free_port () };
  start_broker (&broker, "both.pw");
  Reader *reader = start_reader (&broker);
  GstElement *publish = publisher (&broker, "localhost", "ca.pem", "qos", GPOINTER_TO_UINT (qos), "drain-timeout", 30 * GST_SECOND, NULL);
  GstHarness *h = publishing_play (test_element (NULL, NULL), publish, NULL);
  publishing_show (h, TINY_RED, 0, 100);
  publishing_end_of_stream (h);
  g_assert_cmpuint (test_stat (publish, "published"), ==, 100);
  g_assert_cmpuint (test_stat (publish, "dropped"), ==, 0);
  publishing_expect_no_warning (test_bus (h));
  expect_all (reader, 100);
  stop_in_time (h);
  kill_broker (&broker);
}

/* Killed in mid-stream; the new one does not know the publisher at first. */
static void
test_killed (void)
{
  Broker broker = { .port = free_port () };
  start_broker (&broker, "both.pw");
  Reader *reader = start_reader (&broker);
  GstElement *publish = publisher (&broker, "localhost", "ca.pem", "drain-timeout", 60 * GST_SECOND, NULL);
  GstHarness *h = publishing_play (test_element (NULL, NULL), publish, NULL);
  int i = 0;
  for (int round = 0; round < 3; round++) {
    const guint64 before = test_stat (publish, "published");
    for (; test_stat (publish, "published") < before + 20; i++)
      publishing_show (h, TINY_RED, i, i + 1);
    kill_broker (&broker);
    g_usleep (100 * 1000); /* what it had sent is read */
    disconnect_reader (reader);
    publishing_show (h, TINY_RED, i, i + 50);
    i += 50;
    publishing_expect_warning (test_bus (h), "MQTT broker");
    start_broker (&broker, "reader.pw");
    connect_reader (reader, &broker);
    publishing_expect_warning (test_bus (h), "not authorised");
    copy_passwords ("both.pw");
    g_subprocess_send_signal (broker.process, SIGHUP);
  }
  publishing_show (h, TINY_RED, i, i + 50);
  i += 50;
  publishing_end_of_stream (h);
  g_assert_cmpuint (test_stat (publish, "published"), ==, i);
  g_assert_cmpuint (test_stat (publish, "dropped"), ==, 0);
  g_assert_cmpuint (test_stat (publish, "reconnects"), ==, 3);
  publishing_expect_no_warning (test_bus (h));
  expect_all (reader, i);
  stop_in_time (h);
  kill_broker (&broker);
}

/* One that is not there yet. */
static void
test_down_at_start (void)
{
  Broker broker = { .port = free_port () };
  GstElement *publish = publisher (&broker, "localhost", "ca.pem", "drain-timeout", 60 * GST_SECOND, NULL);
  GstHarness *h = publishing_play (test_element (NULL, NULL), publish, NULL);
  publishing_show (h, TINY_RED, 0, 30);
  publishing_expect_warning (test_bus (h), "refused or closed");
  start_broker (&broker, "reader.pw");
  Reader *reader = start_reader (&broker);
  copy_passwords ("both.pw");
  g_subprocess_send_signal (broker.process, SIGHUP);
  publishing_end_of_stream (h);
  g_assert_cmpuint (test_stat (publish, "published"), ==, 30);
  expect_all (reader, 30);
  test_expect_no_error (test_bus (h));
  stop_in_time (h);
  kill_broker (&broker);
}

/* What somebody has to do something about is said, once, and the video goes on. */
static void
expect_refusal (const Broker *broker, GstElement *publish, const char *why)
{
  GstHarness *h = publishing_play (test_element (NULL, NULL), publish, NULL);
  publishing_show (h, TINY_RED, 0, 10);
  publishing_expect_warning (test_bus (h), why);
  g_usleep (G_USEC_PER_SEC); /* it is tried again */
  publishing_expect_no_warning (test_bus (h));
  g_assert_cmpuint (test_stat (publish, "queued"), ==, 10);
  gst_element_set_state (h->element, GST_STATE_READY);
  publishing_expect_warning (test_bus (h), "10 results were not published");
  g_assert_cmpuint (test_stat (publish, "dropped"), ==, 10);
  test_expect_no_error (test_bus (h));
  stop_in_time (h);
}

static void
test_refused (void)
{
  Broker broker = { .port = free_port () };
  start_broker (&broker, "both.pw");
  expect_refusal (&broker, publisher (&broker, "localhost", "ca.pem", "password", "wrong", NULL), "not authorised");
  expect_refusal (&broker, publisher (&broker, "localhost", "other.pem", NULL), "certificate verify failed");
  expect_refusal (&broker, publisher (&broker, "127.0.0.1", "ca.pem", NULL), "host name verification failed");
  expect_refusal (&broker, publisher (&broker, "localhost", "ca.pem", "tls", FALSE, "ca-file", NULL, NULL), "MQTT broker");
  expect_refusal (&broker, publisher (&broker, "nowhere.invalid", "ca.pem", NULL), "nowhere.invalid");
  kill_broker (&broker);
}

/* The password in a file, and in the environment. */
static void
test_passwords (void)
{
  Broker broker = { .port = free_port () };
  g_autofree char *file = publishing_in_dir ("password");
  write_in_dir ("password", "s3cret\nanother line\n");
  start_broker (&broker, "both.pw");
  for (int i = 0; i < 2; i++) {
    if (i)
      g_setenv ("VIGPUBLISH_PASSWORD", "s3cret", TRUE);
    GstElement *publish = publisher (&broker, "localhost", "ca.pem", "password", NULL, "password-file", i ? NULL : file, NULL);
    GstHarness *h = publishing_play (test_element (NULL, NULL), publish, NULL);
    publishing_show (h, TINY_RED, 0, 5);
    publishing_end_of_stream (h);
    g_assert_cmpuint (test_stat (publish, "published"), ==, 5);
    stop_in_time (h);
  }
  g_unsetenv ("VIGPUBLISH_PASSWORD");
  kill_broker (&broker);
}

/* One that takes connections and says nothing, with TLS and without: the end comes in time. */
static void
test_silent (void)
{
  for (int tls = 0; tls < 2; tls++) {
    Broker broker = { 0 };
    g_autoptr (GSocketListener) listener = g_socket_listener_new ();
    broker.port = g_socket_listener_add_any_inet_port (listener, NULL, NULL);
    GstElement *publish = publisher (&broker, "localhost", "ca.pem", "tls", tls, "drain-timeout", 300 * GST_MSECOND, NULL);
    if (!tls)
      g_object_set (publish, "ca-file", NULL, NULL);
    GstHarness *h = publishing_play (test_element (NULL, NULL), publish, NULL);
    publishing_show (h, TINY_RED, 0, 10);
    gint64 began = g_get_monotonic_time ();
    publishing_end_of_stream (h);
    g_assert_cmpint (g_get_monotonic_time () - began, <, 3 * G_USEC_PER_SEC);
    publishing_expect_warning (test_bus (h), "10 results were not published");
    stop_in_time (h);
  }
}

int
main (int argc, char **argv)
{
  test_init (&argc, &argv);
  mosquitto_lib_init ();
  make_secrets ();
  g_test_add_data_func ("/publish-mqtt/delivers/qos-0", GUINT_TO_POINTER (0), test_delivers);
  g_test_add_data_func ("/publish-mqtt/delivers/qos-1", GUINT_TO_POINTER (1), test_delivers);
  g_test_add_data_func ("/publish-mqtt/delivers/qos-2", GUINT_TO_POINTER (2), test_delivers);
  g_test_add_func ("/publish-mqtt/killed", test_killed);
  g_test_add_func ("/publish-mqtt/down-at-start", test_down_at_start);
  g_test_add_func ("/publish-mqtt/refused", test_refused);
  g_test_add_func ("/publish-mqtt/passwords", test_passwords);
  g_test_add_func ("/publish-mqtt/silent", test_silent);
  int status = test_run ();
  mosquitto_lib_cleanup ();
  return status;
}
