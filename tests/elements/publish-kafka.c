/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* vigpublish and librdkafka's mock cluster, whose broker goes and comes. */
#include <json-glib/json-glib.h>
#include <librdkafka/rdkafka.h>
#include <librdkafka/rdkafka_mock.h>

#include "publishing.h"

#define PRODUCE 0 /* the request, in Kafka's protocol */

/* ---- the cluster ----------------------------------------------------------------------------------------------- */

typedef struct {
  rd_kafka_t *owner;
  rd_kafka_mock_cluster_t *mock;
} Cluster;

static Cluster
make_cluster (void)
{
  char why[512];
  Cluster cluster = { 0 };
  cluster.owner = rd_kafka_new (RD_KAFKA_PRODUCER, rd_kafka_conf_new (), why, sizeof why);
  g_assert_nonnull (cluster.owner);
  cluster.mock = rd_kafka_mock_cluster_new (cluster.owner, 1);
  g_assert_nonnull (cluster.mock);
  g_assert_cmpint (rd_kafka_mock_topic_create (cluster.mock, "labels", 4, 1), ==, RD_KAFKA_RESP_ERR_NO_ERROR);
  return cluster;
}

static void
free_cluster (Cluster *cluster)
{
  rd_kafka_mock_cluster_destroy (cluster->mock);
  rd_kafka_destroy (cluster->owner);
}

/* ---- who reads ------------------------------------------------------------------------------------------------- */

static rd_kafka_t *
make_reader (const Cluster *cluster)
{
  char why[512];
  rd_kafka_conf_t *conf = rd_kafka_conf_new ();
  g_assert_cmpint (rd_kafka_conf_set (conf, "bootstrap.servers", rd_kafka_mock_cluster_bootstraps (cluster->mock), why,
          sizeof why), ==, RD_KAFKA_CONF_OK);
  g_assert_cmpint (rd_kafka_conf_set (conf, "group.id", "reader", why, sizeof why), ==, RD_KAFKA_CONF_OK);
  rd_kafka_t *reader = rd_kafka_new (RD_KAFKA_CONSUMER, conf, why, sizeof why);
  g_assert_nonnull (reader);
  rd_kafka_topic_partition_list_t *all = rd_kafka_topic_partition_list_new (4);
  for (int i = 0; i < 4; i++)
    rd_kafka_topic_partition_list_add (all, "labels", i)->offset = RD_KAFKA_OFFSET_BEGINNING;
  g_assert_cmpint (rd_kafka_assign (reader, all), ==, RD_KAFKA_RESP_ERR_NO_ERROR);
  rd_kafka_topic_partition_list_destroy (all);
  return reader;
}

/* The next message's line, with its sequence. (transfer full) */
static char *
read_line (rd_kafka_t *reader, guint *sequence)
{
  rd_kafka_message_t *message = NULL;
  const gint64 until = g_get_monotonic_time () + 30 * G_USEC_PER_SEC;
  while (!message || message->err) {
    if (message)
      rd_kafka_message_destroy (message);
    g_assert_cmpint (g_get_monotonic_time (), <, until);
    message = rd_kafka_consumer_poll (reader, 100);
  }
  g_assert_cmpuint (message->key_len, ==, strlen ("door"));
  g_assert_cmpint (memcmp (message->key, "door", 4), ==, 0);
  char *line = g_strndup (message->payload, message->len);
  rd_kafka_message_destroy (message);
  g_autoptr (JsonNode) node = json_from_string (line, NULL);
  *sequence = json_object_get_int_member (json_node_get_object (node), "sequence");
  return line;
}

/* All of @n results have come, each once but for repetitions, in order. */
static void
expect_all (const Cluster *cluster, guint n)
{
  rd_kafka_t *reader = make_reader (cluster);
  g_autoptr (GString) lines = g_string_new (NULL);
  for (guint next = 0, sequence; next < n; next += sequence == next) {
    g_autofree char *line = read_line (reader, &sequence);
    g_assert_cmpuint (sequence, <=, next);
    g_string_append_printf (lines, "%s\n", line);
  }
  rd_kafka_consumer_close (reader);
  rd_kafka_destroy (reader);
  g_autofree char *path = publishing_in_dir ("received.jsonl");
  g_assert_true (g_file_set_contents (path, lines->str, -1, NULL));
  publishing_check_schema (path);
}

/* ---- who publishes --------------------------------------------------------------------------------------------- */

static GstElement *
publisher (const char *address, const char *first_property, ...)
{
  va_list args;
  GstElement *element = gst_element_factory_make ("vigpublish", NULL);
  gst_util_set_object_arg (G_OBJECT (element), "sink", "kafka");
  g_object_set (element, "address", address, "topic", "labels", "stream-name", "door", "drain-timeout", 60 * GST_SECOND,
      "reconnect-delay", 50 * GST_MSECOND, "max-reconnect-delay", 400 * GST_MSECOND, NULL);
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
  g_assert_cmpint (g_get_monotonic_time () - began, <, 4 * G_USEC_PER_SEC);
  test_harness_free (h);
}

/* ---- tests ----------------------------------------------------------------------------------------------------- */

static void
test_delivers (void)
{
  Cluster cluster = make_cluster ();
  GstElement *publish = publisher (rd_kafka_mock_cluster_bootstraps (cluster.mock), "kafka-options",
      "linger.ms=1; compression.codec=none", NULL);
  GstHarness *h = publishing_play (test_element (NULL, NULL), publish, NULL);
  publishing_show (h, TINY_RED, 0, 100);
  publishing_end_of_stream (h);
  g_assert_cmpuint (test_stat (publish, "published"), ==, 100);
  g_assert_cmpuint (test_stat (publish, "dropped"), ==, 0);
  publishing_expect_no_warning (test_bus (h));
  expect_all (&cluster, 100);
  stop_in_time (h);
  free_cluster (&cluster);
}

/* The broker goes in mid-stream, and comes back. */
static void
test_down_and_up (void)
{
  Cluster cluster = make_cluster ();
  GstElement *publish = publisher (rd_kafka_mock_cluster_bootstraps (cluster.mock), NULL);
  GstHarness *h = publishing_play (test_element (NULL, NULL), publish, NULL);
  int i = 0;
  for (int round = 0; round < 2; round++) {
    const guint64 before = test_stat (publish, "published");
    for (; test_stat (publish, "published") < before + 20; i++) {
      publishing_show (h, TINY_RED, i, i + 1);
      g_usleep (2000); /* the mock cluster forgets messages, of thousands */
    }
    g_assert_cmpint (rd_kafka_mock_broker_set_down (cluster.mock, 1), ==, RD_KAFKA_RESP_ERR_NO_ERROR);
    publishing_show (h, TINY_RED, i, i + 50);
    i += 50;
    publishing_expect_warning (test_bus (h), "Kafka brokers");
    g_assert_cmpint (rd_kafka_mock_broker_set_up (cluster.mock, 1), ==, RD_KAFKA_RESP_ERR_NO_ERROR);
  }
  publishing_show (h, TINY_RED, i, i + 50);
  i += 50;
  publishing_end_of_stream (h);
  g_assert_cmpuint (test_stat (publish, "published"), ==, i);
  g_assert_cmpuint (test_stat (publish, "dropped"), ==, 0);
  g_assert_cmpuint (test_stat (publish, "reconnects"), ==, 2);
  expect_all (&cluster, i);
  stop_in_time (h);
  free_cluster (&cluster);
}

static void
test_down_at_start (void)
{
  Cluster cluster = make_cluster ();
  g_assert_cmpint (rd_kafka_mock_broker_set_down (cluster.mock, 1), ==, RD_KAFKA_RESP_ERR_NO_ERROR);
  GstElement *publish = publisher (rd_kafka_mock_cluster_bootstraps (cluster.mock), NULL);
  GstHarness *h = publishing_play (test_element (NULL, NULL), publish, NULL);
  publishing_show (h, TINY_RED, 0, 30);
  publishing_expect_warning (test_bus (h), "Kafka brokers");
  g_assert_cmpint (rd_kafka_mock_broker_set_up (cluster.mock, 1), ==, RD_KAFKA_RESP_ERR_NO_ERROR);
  publishing_end_of_stream (h);
  g_assert_cmpuint (test_stat (publish, "published"), ==, 30);
  test_expect_no_error (test_bus (h));
  expect_all (&cluster, 30);
  stop_in_time (h);
  free_cluster (&cluster);
}

/* What librdkafka tries again itself nobody hears of; what it does not is said and tried again; what is too long goes. */
static void
test_errors (void)
{
  Cluster cluster = make_cluster ();
  GstElement *publish = publisher (rd_kafka_mock_cluster_bootstraps (cluster.mock), "kafka-options", "linger.ms=0", NULL);
  GstHarness *h = publishing_play (test_element (NULL, NULL), publish, NULL);
  rd_kafka_mock_push_request_errors (cluster.mock, PRODUCE, 2, RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION,
      RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED);
  publishing_show (h, TINY_RED, 0, 10);
  publishing_expect_warning (test_bus (h), "Topic authorization failed");
  while (test_stat (publish, "published") < 10)
    g_usleep (5000);
  expect_all (&cluster, 10);
  rd_kafka_mock_push_request_errors (cluster.mock, PRODUCE, 1, RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE);
  publishing_show (h, TINY_RED, 10, 11);
  publishing_expect_warning (test_bus (h), "That result is dropped");
  publishing_show (h, TINY_RED, 11, 12);
  publishing_end_of_stream (h);
  g_assert_cmpuint (test_stat (publish, "published"), ==, 11);
  g_assert_cmpuint (test_stat (publish, "dropped"), ==, 1);
  stop_in_time (h);
  free_cluster (&cluster);
}

/* Nobody there, one that says nothing, one without TLS, a password that nobody asks for: the end comes in time. */
static void
test_refused (void)
{
  Cluster cluster = make_cluster ();
  g_autoptr (GSocketListener) listener = g_socket_listener_new ();
  g_autofree char *silent = g_strdup_printf ("127.0.0.1:%u", g_socket_listener_add_any_inet_port (listener, NULL, NULL));
  const char *mock = rd_kafka_mock_cluster_bootstraps (cluster.mock);
  const struct { const char *address, *warning; gboolean tls; const char *user; } cases[] = {
    { "127.0.0.1:1", "Connection refused", FALSE, NULL },
    { "nowhere.invalid", "nowhere.invalid", FALSE, NULL },
    { silent, NULL, FALSE, NULL },
    { mock, "SSL", TRUE, NULL },
    { mock, "Kafka brokers", FALSE, "somebody" },
  };
  for (guint i = 0; i < G_N_ELEMENTS (cases); i++) {
    GstElement *publish = publisher (cases[i].address, "tls", cases[i].tls, "username", cases[i].user, "password",
        cases[i].user ? "wrong" : NULL, "drain-timeout", 300 * GST_MSECOND, NULL);
    GstHarness *h = publishing_play (test_element (NULL, NULL), publish, NULL);
    publishing_show (h, TINY_RED, 0, 10);
    if (cases[i].warning)
      publishing_expect_warning (test_bus (h), cases[i].warning);
    gint64 began = g_get_monotonic_time ();
    publishing_end_of_stream (h);
    g_assert_cmpint (g_get_monotonic_time () - began, <, 3 * G_USEC_PER_SEC);
    publishing_expect_warning (test_bus (h), "10 results were not published");
    test_expect_no_error (test_bus (h));
    stop_in_time (h);
  }
  free_cluster (&cluster);
}

int
main (int argc, char **argv)
{
  test_init (&argc, &argv);
  g_test_add_func ("/publish-kafka/delivers", test_delivers);
  g_test_add_func ("/publish-kafka/down-and-up", test_down_and_up);
  g_test_add_func ("/publish-kafka/down-at-start", test_down_at_start);
  g_test_add_func ("/publish-kafka/errors", test_errors);
  g_test_add_func ("/publish-kafka/refused", test_refused);
  return test_run ();
}
