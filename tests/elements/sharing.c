/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Several elements over one engine: who shares, whose frames meet, who waits for whom, and who does not. */
#include <glib/gstdio.h>
#include <gst/analytics/analytics.h>
#include <gst/app/app.h>

#include "common.h"

#define CAPS "video/x-raw,format=RGB,width=48,height=48,framerate=25/1"
#define FOR_EVER (G_GINT64_CONSTANT (10) * GST_SECOND) /* as batch delays go */
#define SOON (5 * G_USEC_PER_SEC)                      /* well within that */
#define MANY 16

static GstFlowReturn
push (GstHarness *h, int class, int i)
{
  return gst_harness_push (h, test_frame (CAPS, class, i));
}

static void
pull (GstHarness *h, int class, int i)
{
  g_autoptr (GstBuffer) buffer = gst_harness_pull (h);
  g_assert_nonnull (buffer);
  g_assert_cmpuint (GST_BUFFER_PTS (buffer), ==, i * FRAME_TIME);
  g_assert_cmpstr (test_label (buffer), ==, tiny_labels[class]);
}

/* A frame that starts at once, after which the stream's next one is expected. Of the first of several only: the frames of
 * others would wait for it. */
static void
begin (GstHarness *h)
{
  g_assert_cmpint (push (h, TINY_RED, 0), ==, GST_FLOW_OK);
  pull (h, TINY_RED, 0);
}

static double
batch_mean (GstHarness *h)
{
  g_autoptr (GstStructure) stats = NULL;
  double mean;
  g_object_get (h->element, "stats", &stats, NULL);
  g_assert_true (gst_structure_get_double (stats, "batch-mean", &mean));
  return mean;
}

/* ---- who shares ---- */

static void
test_sharers (void)
{
  GstHarness *a = test_harness (CAPS, NULL), *b = test_harness (CAPS, "top-k", 3, "interval", 2, NULL),
    *alone = test_harness (CAPS, "share", FALSE, NULL), *threads = test_harness (CAPS, "threads", 2, NULL), *parallel = test_harness (CAPS, "parallel-batches", 3, NULL);
  g_assert_cmpuint (test_stat (a->element, "sharers"), ==, 2);
  g_assert_cmpuint (test_stat (b->element, "sharers"), ==, 2);
  g_assert_cmpuint (test_stat (alone->element, "sharers"), ==, 1);
  g_assert_cmpuint (test_stat (threads->element, "sharers"), ==, 1);
  g_assert_cmpuint (test_stat (parallel->element, "sharers"), ==, 1);
  g_assert_cmpuint (test_stat (parallel->element, "parallel-batches"), ==, 3);
  g_assert_cmpuint (test_stat (a->element, "parallel-batches"), ==, 1);
  test_expect_class (a, CAPS, TINY_BLUE, 0.9);
  gst_element_set_state (a->element, GST_STATE_NULL);
  g_assert_cmpuint (test_stat (a->element, "sharers"), ==, 0);
  g_assert_cmpuint (test_stat (b->element, "sharers"), ==, 1);
  test_expect_class (b, CAPS, TINY_GREEN, 0.9); /* who stays goes on */
  g_object_set (b->element, "share", FALSE, NULL); /* takes effect with the next start */
  gst_element_set_state (b->element, GST_STATE_READY);
  gst_element_set_state (b->element, GST_STATE_PLAYING);
  g_assert_cmpuint (test_stat (b->element, "sharers"), ==, 1);
  test_harness_free (a);
  test_harness_free (b);
  test_harness_free (alone);
  test_harness_free (threads);
  test_harness_free (parallel);
}

static guint64
sharers (GstElement *element)
{
  return test_stat (element, "sharers");
}

static void
change (GstElement *element, GstState state)
{
  g_assert_cmpint (gst_element_set_state (element, state), ==, GST_STATE_CHANGE_SUCCESS);
}

/* The model's content counts, not its path; device and precision count too. */
static void
test_same_model (void)
{
  g_autofree char *copy = g_build_filename (test_dir (), "copy.safetensors", NULL), *data = NULL;
  gsize size;
  g_assert_true (g_file_get_contents (test_model (), &data, &size, NULL));
  g_assert_true (g_file_set_contents (copy, data, (gssize) size, NULL));
  struct { GstElement *element; guint64 sharers; } rows[] = {
    { test_element (NULL), 2 },
    { test_element ("model-file", copy, NULL), 2 },
    { test_element ("precision", 2 /* bf16 */, NULL), 1 },
    { test_element ("device", "ref", NULL), 1 },
    { test_element ("model-file", VIG_SHIPPED_MODEL, NULL), 1 },
  };
  for (guint i = 0; i < G_N_ELEMENTS (rows); i++)
    change (gst_object_ref_sink (rows[i].element), GST_STATE_READY);
  for (guint i = 0; i < G_N_ELEMENTS (rows); i++)
    g_assert_cmpuint (sharers (rows[i].element), ==, rows[i].sharers);
  for (guint i = 0; i < G_N_ELEMENTS (rows); i++) {
    change (rows[i].element, GST_STATE_NULL);
    gst_object_unref (rows[i].element);
  }
  g_unlink (copy);
}

static guint
count_threads (void)
{
  g_autoptr (GDir) tasks = g_dir_open ("/proc/self/task", 0, NULL);
  guint n = 0;
  while (g_dir_read_name (tasks))
    n++;
  return n;
}

/* Held from READY to NULL, and in no other state; with the last one everything goes, the engine's thread included. */
static void
test_held (void)
{
  GstElement *a = gst_object_ref_sink (test_element (NULL)), *b = gst_object_ref_sink (test_element (NULL));
  guint before = count_threads ();
  g_assert_cmpuint (sharers (a), ==, 0);
  change (a, GST_STATE_READY);
  g_assert_cmpuint (count_threads (), >, before);
  const GstState states[] = { GST_STATE_READY, GST_STATE_PAUSED, GST_STATE_PLAYING, GST_STATE_PAUSED, GST_STATE_READY };
  for (guint i = 0; i < G_N_ELEMENTS (states); i++) {
    change (b, states[i]);
    g_assert_cmpuint (sharers (a), ==, 2);
  }
  change (b, GST_STATE_NULL);
  g_assert_cmpuint (sharers (a), ==, 1);
  change (b, GST_STATE_READY);
  change (a, GST_STATE_NULL); /* not always who came first stays */
  g_assert_cmpuint (sharers (b), ==, 1);
  change (b, GST_STATE_NULL);
  for (int i = 0; i < 1000 && count_threads () > before; i++)
    g_usleep (1000); /* one that has been joined may be listed for a moment more */
  g_assert_cmpuint (count_threads (), ==, before);
  gst_object_unref (a);
  gst_object_unref (b);
}

static GstBuffer *
next (GstHarness *h, int i)
{
  GstBuffer *buffer = gst_harness_pull (h);
  g_assert_nonnull (buffer);
  g_assert_cmpuint (GST_BUFFER_PTS (buffer), ==, i * FRAME_TIME);
  return buffer;
}

/* Entries of the ClsMtd of the first result; 0: there is none */
static gsize
count_labels (GstBuffer *buffer)
{
  guint id;
  GstAnalyticsClsMtd cls;
  if (!gst_structure_get_uint (test_result (buffer, 0), "cls-id", &id))
    return 0;
  g_assert_true (gst_analytics_relation_meta_get_cls_mtd (gst_buffer_get_analytics_relation_meta (buffer), id, &cls));
  return gst_analytics_cls_mtd_get_length (&cls);
}

/* What belongs to the element stays with it, whatever the others that share its engine have set, and when. */
static void
test_own_options (void)
{
  g_autofree char *labels = g_build_filename (test_dir (), "labels.txt", NULL);
  g_assert_true (g_file_set_contents (labels, "a\nb\nc\nd\ne\nf\ng\nh\ni\nj\nk\nl\n", -1, NULL));
  GstHarness *top = test_harness (CAPS, "top-k", 3, NULL), *some = test_harness (CAPS, "interval", 3, NULL),
    *none = test_harness (CAPS, "threshold", 1.0, NULL), *named = test_harness (CAPS, "labels-file", labels, NULL),
    *big = test_harness (CAPS, "input-size", 64, NULL), *objects = test_harness (CAPS, "regions", 1, NULL);
  GstHarness *const all[] = { top, some, none, named, big, objects };
  g_assert_cmpuint (sharers (top->element), ==, G_N_ELEMENTS (all));
  for (int i = 0; i < 12; i++) {
    for (guint k = 0; k < G_N_ELEMENTS (all); k++)
      g_assert_cmpint (push (all[k], TINY_GREEN, i), ==, GST_FLOW_OK);
    GstBuffer *b[G_N_ELEMENTS (all)];
    for (guint k = 0; k < G_N_ELEMENTS (all); k++)
      b[k] = next (all[k], i);
    g_assert_cmpstr (test_label (b[0]), ==, "green");
    g_assert_cmpuint (count_labels (b[0]), ==, 3);
    g_assert_cmpstr (test_state (b[0]), ==, "fresh");
    g_assert_cmpstr (test_label (b[1]), ==, "green");
    g_assert_cmpuint (count_labels (b[1]), ==, 1);
    g_assert_cmpstr (test_state (b[1]), ==, i % 3 ? "held" : "fresh");
    g_assert_cmpstr (test_state (b[2]), ==, "below-threshold");
    g_assert_cmpuint (count_labels (b[2]), ==, 0);
    g_assert_cmpstr (test_label (b[3]), ==, "c");
    g_assert_cmpstr (test_label (b[4]), ==, "green");
    g_assert_cmpuint (test_n_results (b[5]), ==, 0); /* there is no object */
    for (guint k = 0; k < G_N_ELEMENTS (all); k++)
      gst_buffer_unref (b[k]);
  }
  for (guint k = 0; k < G_N_ELEMENTS (all); k++)
    test_harness_free (all[k]);
  g_unlink (labels);
}

static gpointer
start (gpointer element)
{
  return GINT_TO_POINTER (gst_element_set_state (element, GST_STATE_READY));
}

static void
test_start_at_once (void)
{
  GstElement *elements[MANY];
  GThread *threads[MANY];
  for (int i = 0; i < MANY; i++) {
    elements[i] = gst_object_ref_sink (test_element (NULL));
    threads[i] = g_thread_new ("start", start, elements[i]);
  }
  for (int i = 0; i < MANY; i++)
    g_assert_cmpint (GPOINTER_TO_INT (g_thread_join (threads[i])), ==, GST_STATE_CHANGE_SUCCESS);
  for (int i = 0; i < MANY; i++)
    g_assert_cmpuint (test_stat (elements[i], "sharers"), ==, MANY);
  for (int i = 0; i < MANY; i++) {
    gst_element_set_state (elements[i], GST_STATE_NULL);
    gst_object_unref (elements[i]);
  }
}

/* The failure of one load reaches all that wait for it, each with its own message. */
static void
test_fail_at_once (void)
{
  g_autofree char *broken = g_build_filename (test_dir (), "broken.safetensors", NULL), *data = NULL;
  gsize size;
  g_assert_true (g_file_get_contents (test_model (), &data, &size, NULL));
  g_assert_true (g_file_set_contents (broken, data, (gssize) size - 1, NULL));
  GstElement *elements[MANY];
  GstBus *buses[MANY];
  GThread *threads[MANY];
  for (int i = 0; i < MANY; i++) {
    elements[i] = gst_object_ref_sink (test_element ("model-file", broken, NULL));
    buses[i] = gst_bus_new ();
    gst_element_set_bus (elements[i], buses[i]);
  }
  for (int i = 0; i < MANY; i++)
    threads[i] = g_thread_new ("start", start, elements[i]);
  for (int i = 0; i < MANY; i++)
    g_assert_cmpint (GPOINTER_TO_INT (g_thread_join (threads[i])), ==, GST_STATE_CHANGE_FAILURE);
  for (int i = 0; i < MANY; i++) {
    test_expect_error (buses[i], GST_RESOURCE_ERROR, GST_RESOURCE_ERROR_READ, "broken.safetensors");
    test_expect_no_error (buses[i]);
    gst_element_set_bus (elements[i], NULL);
    gst_object_unref (buses[i]);
    gst_object_unref (elements[i]);
  }
  g_unlink (broken);
}

static void
expect_conflict (const char *property, gint64 one, gint64 other)
{
  GstElement *a = gst_object_ref_sink (test_element ("name", "north", NULL)),
    *b = gst_object_ref_sink (test_element ("name", "south", NULL));
  g_autoptr (GstBus) bus = gst_bus_new ();
  g_autofree char *first = g_strdup_printf ("%" G_GINT64_FORMAT, one);
  gst_util_set_object_arg (G_OBJECT (a), property, first);
  gst_element_set_bus (b, bus);
  g_assert_cmpint (gst_element_set_state (a, GST_STATE_READY), ==, GST_STATE_CHANGE_SUCCESS);
  g_autofree char *text = g_strdup_printf ("%" G_GINT64_FORMAT, other);
  gst_util_set_object_arg (G_OBJECT (b), property, text);
  g_assert_cmpint (gst_element_set_state (b, GST_STATE_READY), ==, GST_STATE_CHANGE_FAILURE);
  g_autoptr (GstMessage) message = gst_bus_timed_pop_filtered (bus, GST_SECOND, GST_MESSAGE_ERROR);
  g_autoptr (GError) error = NULL;
  gst_message_parse_error (message, &error, NULL);
  g_assert_error (error, GST_RESOURCE_ERROR, GST_RESOURCE_ERROR_SETTINGS);
  if (!strstr (error->message, property) || !strstr (error->message, "north") || !strstr (error->message, "south"))
    g_error ("expected %s, north and south in \"%s\"", property, error->message);
  gst_element_set_state (b, GST_STATE_NULL);
  g_object_set (b, "share", FALSE, NULL);
  g_assert_cmpint (gst_element_set_state (b, GST_STATE_READY), ==, GST_STATE_CHANGE_SUCCESS);
  gst_element_set_state (b, GST_STATE_NULL);
  g_object_set (b, "share", TRUE, NULL);
  gst_element_set_state (a, GST_STATE_NULL); /* what it has set goes with it */
  g_assert_cmpint (gst_element_set_state (b, GST_STATE_READY), ==, GST_STATE_CHANGE_SUCCESS);
  gst_element_set_state (b, GST_STATE_NULL);
  gst_element_set_bus (b, NULL);
  gst_object_unref (a);
  gst_object_unref (b);
}

static void
test_conflicts (void)
{
  expect_conflict ("max-batch", 4, 5);
  expect_conflict ("batch-delay", 0, 1000000);
}

/* Who has set nothing shares with all, whoever came first; who says the same agrees. */
static void
test_no_conflict (void)
{
  const gint64 delay = GST_SECOND;
  GstElement *elements[] = { test_element (NULL), test_element ("max-batch", 3, NULL), test_element ("batch-delay", delay, NULL),
    test_element ("max-batch", 3, "batch-delay", delay, NULL), test_element (NULL) };
  for (guint i = 0; i < G_N_ELEMENTS (elements); i++) {
    change (gst_object_ref_sink (elements[i]), GST_STATE_READY);
    g_assert_cmpuint (sharers (elements[i]), ==, i + 1);
  }
  for (guint i = 0; i < G_N_ELEMENTS (elements); i++) {
    change (elements[i], GST_STATE_NULL);
    gst_object_unref (elements[i]);
  }
}

/* ---- whose frames meet ---- */

static void
test_meet (void)
{
  GstHarness *h[4];
  for (int i = 0; i < 4; i++)
    h[i] = test_harness (CAPS, NULL);
  GstHarness *last = test_harness (CAPS, "batch-delay", FOR_EVER, "max-batch", 32, NULL);
  begin (last);
  for (int i = 0; i < 4; i++)
    g_assert_cmpint (push (h[i], TINY_RED + i, 1), ==, GST_FLOW_OK);
  push (last, TINY_BLACK, 1);
  for (int i = 0; i < 4; i++) {
    pull (h[i], TINY_RED + i, 1);
    g_assert_cmpfloat (batch_mean (h[i]), ==, 5);
    test_harness_free (h[i]);
  }
  pull (last, TINY_BLACK, 1);
  g_assert_cmpfloat (batch_mean (last), ==, 3); /* of 1 and 5 */
  test_harness_free (last);
}

/* Six frames of one stream are one batch, and leave in their order, with what came between them. */
static void
test_meet_in_a_stream (void)
{
  GstHarness *h = test_harness (CAPS, "max-in-flight", 6, "max-batch", 6, "batch-delay", FOR_EVER, NULL),
    *other = test_harness (CAPS, NULL);
  begin (other);
  GstEvent *event;
  while ((event = gst_harness_try_pull_event (h)))
    gst_event_unref (event);
  for (int i = 0; i < 6; i++) {
    g_assert_cmpint (push (h, TINY_RED, i), ==, GST_FLOW_OK);
    gst_harness_push_event (h, gst_event_new_custom (GST_EVENT_CUSTOM_DOWNSTREAM,
        gst_structure_new ("number", "is", G_TYPE_INT, i, NULL)));
  }
  for (int i = 0; i < 6; i++) {
    pull (h, TINY_RED, i);
    event = gst_harness_pull_event (h);
    int number;
    g_assert_true (gst_structure_get_int (gst_event_get_structure (event), "is", &number));
    g_assert_cmpint (number, ==, i);
    gst_event_unref (event);
  }
  g_assert_cmpfloat (batch_mean (h), ==, 6);
  test_harness_free (h);
  test_harness_free (other);
}

static gboolean
take_query (GstPad *pad, GstObject *parent, GstQuery *query)
{
  if (GST_QUERY_TYPE (query) != GST_QUERY_ALLOCATION)
    return GST_QUERY_TYPE (query) == GST_QUERY_DRAIN || gst_pad_query_default (pad, parent, query);
  gst_query_add_allocation_pool (query, NULL, 1000, 1, 0);
  gst_query_add_allocation_pool (query, NULL, 1000, 2, 4);
  return TRUE;
}

/* What has come when the stream ends, drains or asks for memory waits for nobody. */
static void
test_hurry (void)
{
  GstHarness *other = test_harness (CAPS, "batch-delay", FOR_EVER, NULL);
  for (int how = 0; how < 4; how++) {
    GstHarness *h = test_harness (CAPS, NULL);
    gst_pad_set_query_function (h->sinkpad, take_query);
    g_autoptr (GstCaps) caps = gst_caps_from_string (CAPS);
    g_autoptr (GstQuery) query = how == 0 ? gst_query_new_drain () : gst_query_new_allocation (caps, TRUE);
    begin (other);
    gint64 before = g_get_monotonic_time ();
    push (h, TINY_CYAN, 1);
    if (how == 2)
      gst_harness_push_event (h, gst_event_new_eos ());
    else if (how == 3)
      gst_harness_push_event (h, gst_event_new_gap (2 * FRAME_TIME, FRAME_TIME));
    else
      g_assert_true (gst_pad_peer_query (h->srcpad, query));
    pull (h, TINY_CYAN, 1);
    g_assert_cmpint (g_get_monotonic_time () - before, <, SOON);
    test_harness_free (h);
    g_autoptr (GstQuery) drain = gst_query_new_drain ();
    gst_pad_peer_query (other->srcpad, drain);
  }
  test_harness_free (other);
}

/* A flush does not wait for a batch that waits for others. */
static void
test_flush (void)
{
  GstHarness *h = test_harness (CAPS, "batch-delay", FOR_EVER, NULL), *other = test_harness (CAPS, NULL);
  begin (other);
  gint64 before = g_get_monotonic_time ();
  for (int round = 0; round < 5; round++) {
    push (h, TINY_RED, 1);
    push (h, TINY_RED, 2);
    gst_harness_push_event (h, gst_event_new_flush_start ());
    gst_harness_push_event (h, gst_event_new_flush_stop (TRUE));
    GstSegment segment;
    gst_segment_init (&segment, GST_FORMAT_TIME);
    gst_harness_push_event (h, gst_event_new_segment (&segment));
  }
  g_assert_null (gst_harness_try_pull (h));
  push (h, TINY_BLUE, 3);
  gst_element_set_state (h->element, GST_STATE_NULL); /* nor does an end */
  g_assert_cmpint (g_get_monotonic_time () - before, <, SOON);
  test_expect_no_error (test_bus (h));
  test_harness_free (h);
  test_harness_free (other);
}

/* ---- who waits for whom ---- */

static GstPadProbeReturn
block (GstPad *pad, GstPadProbeInfo *info, gpointer data)
{
  return GST_PAD_PROBE_OK;
}

/* One of sixteen is frozen behind its source pad: it is waited for once, and never again. */
static void
test_frozen (void)
{
  GstHarness *h[MANY];
  const gint64 delay = GST_SECOND, n_frames = 12;
  for (int i = 0; i < MANY; i++)
    h[i] = test_harness (CAPS, "batch-delay", delay, "max-batch", MANY, NULL);
  gulong probe = gst_pad_add_probe (h[0]->sinkpad, GST_PAD_PROBE_TYPE_BLOCK | GST_PAD_PROBE_TYPE_BUFFER, block, NULL,
      NULL);
  push (h[0], TINY_RED, 0);
  gint64 before = g_get_monotonic_time ();
  for (int f = 0; f < n_frames; f++) {
    for (int i = 1; i < MANY; i++)
      push (h[i], i % TINY_CLASSES, f);
    for (int i = 1; i < MANY; i++)
      pull (h[i], i % TINY_CLASSES, f);
  }
  g_assert_cmpint (g_get_monotonic_time () - before, <, (n_frames / 2) * delay / GST_USECOND);
  gst_pad_remove_probe (h[0]->sinkpad, probe);
  pull (h[0], TINY_RED, 0);
  for (int i = 0; i < MANY; i++)
    test_harness_free (h[i]);
}

/* One that is paused is waited for not at all, with its frame in the open batch or not. */
static void
test_paused (void)
{
  for (int with_frame = 0; with_frame < 2; with_frame++) {
    GstHarness *h = test_harness (CAPS, "batch-delay", FOR_EVER, NULL), *other = test_harness (CAPS, NULL);
    begin (h);
    g_assert_cmpint (push (other, TINY_RED, 0), ==, GST_FLOW_OK); /* waits for the one that has begun */
    gint64 before = g_get_monotonic_time ();
    if (with_frame)
      g_assert_cmpint (push (h, TINY_BLUE, 1), ==, GST_FLOW_OK);
    gst_element_set_state (h->element, GST_STATE_PAUSED);
    pull (other, TINY_RED, 0);
    for (int i = 1; i < 5; i++) {
      g_assert_cmpint (push (other, TINY_RED, i), ==, GST_FLOW_OK);
      pull (other, TINY_RED, i);
    }
    g_assert_cmpint (g_get_monotonic_time () - before, <, SOON);
    gst_element_set_state (h->element, GST_STATE_PLAYING);
    if (with_frame)
      pull (h, TINY_BLUE, 1);
    test_harness_free (h);
    test_harness_free (other);
  }
}

/* Upstream has four buffers and no more, others have a full batch to fill: it goes on. */
static void
test_small_pool (void)
{
  GstHarness *h = test_harness (CAPS, "max-in-flight", 8, "max-batch", 8, "batch-delay", (gint64) 20 * GST_MSECOND, NULL),
    *other = test_harness (CAPS, NULL);
  g_autoptr (GstBufferPool) pool = gst_buffer_pool_new ();
  GstStructure *config = gst_buffer_pool_get_config (pool);
  g_autoptr (GstCaps) caps = gst_caps_from_string (CAPS);
  gst_buffer_pool_config_set_params (config, caps, 48 * 48 * 3, 4, 4);
  g_assert_true (gst_buffer_pool_set_config (pool, config));
  gst_buffer_pool_set_active (pool, TRUE);
  gst_harness_set_drop_buffers (h, TRUE);
  for (int i = 0; i < 40; i++) {
    GstBuffer *buffer;
    if (i % 10 == 0)
      test_expect_class (other, CAPS, TINY_RED, 0.9); /* is expected again */
    g_assert_cmpint (gst_buffer_pool_acquire_buffer (pool, &buffer, NULL), ==, GST_FLOW_OK);
    g_assert_cmpint (gst_harness_push (h, buffer), ==, GST_FLOW_OK);
  }
  gst_harness_push_event (h, gst_event_new_eos ());
  while (gst_harness_buffers_received (h) < 40)
    g_usleep (1000);
  g_assert_cmpuint (test_stat (h->element, "classified"), ==, 40);
  test_harness_free (h);
  test_harness_free (other);
  gst_buffer_pool_set_active (pool, FALSE);
}

static GstBufferPool *offered;

static gboolean
offer_pool (GstAppSink *sink, GstQuery *query, gpointer data)
{
  GstCaps *caps;
  gst_query_parse_allocation (query, &caps, NULL);
  GstVideoInfo info;
  g_assert_true (gst_video_info_from_caps (&info, caps));
  g_clear_object (&offered);
  offered = gst_buffer_pool_new ();
  GstStructure *config = gst_buffer_pool_get_config (offered);
  gst_buffer_pool_config_set_params (config, caps, (guint) info.size, 2, 4);
  g_assert_true (gst_buffer_pool_set_config (offered, config));
  gst_query_add_allocation_pool (query, offered, (guint) info.size, 2, 4);
  return TRUE;
}

/* The same as pipelines negotiate it: the sink offers a pool of at most four, of which it needs two, and the source takes
 * it. Two may be held then, and a batch of eight that others could fill does not wait for more of this stream. */
static void
test_offered_pool (void)
{
  GstHarness *other = test_harness (CAPS, NULL);
  g_autoptr (GError) error = NULL;
  g_autofree char *line = g_strdup_printf ("videotestsrc num-buffers=60 pattern=red ! " CAPS " ! vigclassify name=v threads=1 "
      "precision=fp32 model-file=%s max-in-flight=8 max-batch=8 batch-delay=20000000 ! "
      "appsink name=a sync=false emit-signals=true", test_model ());
  GstElement *pipeline = gst_parse_launch (line, &error);
  g_assert_no_error (error);
  GstElement *sink = gst_bin_get_by_name (GST_BIN (pipeline), "a"), *v = gst_bin_get_by_name (GST_BIN (pipeline), "v");
  g_signal_connect (sink, "propose-allocation", G_CALLBACK (offer_pool), NULL);
  gst_element_set_state (pipeline, GST_STATE_PLAYING);
  for (int i = 0; i < 60; i++) {
    if (i % 10 == 0)
      test_expect_class (other, CAPS, TINY_RED, 0.9); /* is expected again */
    g_autoptr (GstSample) sample = gst_app_sink_try_pull_sample (GST_APP_SINK (sink), 60 * GST_SECOND);
    g_assert_nonnull (sample);
    GstBuffer *buffer = gst_sample_get_buffer (sample);
    g_assert_true (buffer->pool == offered);
    g_assert_cmpuint (GST_BUFFER_PTS (buffer), ==, i * FRAME_TIME);
    g_assert_cmpstr (test_label (buffer), ==, "red");
    g_assert_cmpstr (test_state (buffer), ==, "fresh");
  }
  g_assert_cmpuint (sharers (v), ==, 2);
  gst_element_set_state (pipeline, GST_STATE_NULL);
  gst_object_unref (sink);
  gst_object_unref (v);
  gst_object_unref (pipeline);
  g_clear_object (&offered);
  test_harness_free (other);
}

static gint pushed; /* by the thread */

static gpointer
push_in_thread (gpointer h)
{
  GstFlowReturn flow = push (h, TINY_RED, 100);
  g_atomic_int_set (&pushed, 1);
  return GINT_TO_POINTER (flow);
}

/* The frame that is @n + 1st while none has left waits; what an ALLOCATION answer allows is what may be held. */
static void
expect_in_flight (GstHarness *h, int n)
{
  gulong probe = gst_pad_add_probe (h->sinkpad, GST_PAD_PROBE_TYPE_BLOCK | GST_PAD_PROBE_TYPE_BUFFER, block, NULL, NULL);
  guint64 before = test_stat (h->element, "frames-in");
  g_atomic_int_set (&pushed, 0);
  for (int i = 0; i < n; i++)
    g_assert_cmpint (push (h, TINY_RED, i), ==, GST_FLOW_OK);
  GThread *thread = g_thread_new ("push", push_in_thread, h);
  while (test_stat (h->element, "frames-in") < before + n + 1)
    g_usleep (1000);
  g_usleep (50000);
  g_assert_cmpint (g_atomic_int_get (&pushed), ==, 0);
  gst_pad_remove_probe (h->sinkpad, probe);
  g_assert_cmpint (GPOINTER_TO_INT (g_thread_join (thread)), ==, GST_FLOW_OK);
  for (int i = 0; i < n; i++)
    pull (h, TINY_RED, i);
  pull (h, TINY_RED, 100);
}

static void
test_max_in_flight (void)
{
  GstHarness *h = test_harness (CAPS, "max-in-flight", 5, NULL);
  expect_in_flight (h, 5);
  gst_pad_set_query_function (h->sinkpad, take_query);
  g_autoptr (GstCaps) caps = gst_caps_from_string (CAPS);
  g_autoptr (GstQuery) query = gst_query_new_allocation (caps, TRUE);
  g_assert_true (gst_pad_peer_query (h->srcpad, query));
  guint min, max;
  gst_query_parse_nth_allocation_pool (query, 0, NULL, NULL, &min, &max);
  g_assert_cmpuint (min, ==, 1 + 5);
  gst_query_parse_nth_allocation_pool (query, 1, NULL, NULL, &min, &max);
  g_assert_cmpuint (min, ==, 4);
  g_assert_cmpuint (max, ==, 4);
  expect_in_flight (h, 2);
  test_harness_free (h);
}

/* ---- coming and going ---- */

typedef struct {
  int number, rounds;
  gint *stop; /* plays until this is set; NULL: starts and ends @rounds times */
} Camera;

static void
play (GstHarness *h, int class, int n)
{
  for (int i = 0; i < n; i++) {
    g_assert_cmpint (push (h, class, i), ==, GST_FLOW_OK);
    if (i > 0)
      pull (h, class, i - 1);
  }
  pull (h, class, n - 1);
}

static gpointer
camera (gpointer data)
{
  Camera *c = data;
  guint random = c->number;
  for (int round = 0; c->stop ? round == 0 : round < c->rounds; round++) {
    GstHarness *h = test_harness (CAPS, "max-in-flight", 1 + c->number % 4, NULL);
    do {
      play (h, (c->number + round) % TINY_CLASSES, 10);
      random = random * 1103515245 + 12345;
      if ((random >> 16) % 3 == 0) { /* with a frame on its way */
        push (h, TINY_RED, 0);
        gst_harness_push_event (h, gst_event_new_flush_start ());
        gst_harness_push_event (h, gst_event_new_flush_stop (TRUE));
        GstSegment segment;
        gst_segment_init (&segment, GST_FORMAT_TIME);
        gst_harness_push_event (h, gst_event_new_segment (&segment));
        GstBuffer *buffer;
        while ((buffer = gst_harness_try_pull (h)))
          gst_buffer_unref (buffer);
      }
    } while (c->stop && !g_atomic_int_get (c->stop));
    if (round % 2 == 0)
      push (h, TINY_RED, 0);
    test_expect_no_error (test_bus (h));
    test_harness_free (h);
  }
  return NULL;
}

static void
test_come_and_go (void)
{
  Camera cameras[8];
  GThread *threads[8];
  gint stop = 0;
  for (int i = 0; i < 8; i++) {
    cameras[i] = (Camera) { .number = i, .rounds = 6, .stop = i < 3 ? &stop : NULL };
    threads[i] = g_thread_new ("camera", camera, &cameras[i]);
  }
  for (int i = 7; i >= 0; i--) {
    if (i == 2)
      g_atomic_int_set (&stop, 1);
    g_thread_join (threads[i]);
  }
}

int
main (int argc, char **argv)
{
  test_init (&argc, &argv);
  g_test_add_func ("/sharing/sharers", test_sharers);
  g_test_add_func ("/sharing/same-model", test_same_model);
  g_test_add_func ("/sharing/held", test_held);
  g_test_add_func ("/sharing/own-options", test_own_options);
  g_test_add_func ("/sharing/start-at-once", test_start_at_once);
  g_test_add_func ("/sharing/fail-at-once", test_fail_at_once);
  g_test_add_func ("/sharing/conflicts", test_conflicts);
  g_test_add_func ("/sharing/no-conflict", test_no_conflict);
  g_test_add_func ("/sharing/meet", test_meet);
  g_test_add_func ("/sharing/meet-in-a-stream", test_meet_in_a_stream);
  g_test_add_func ("/sharing/hurry", test_hurry);
  g_test_add_func ("/sharing/flush", test_flush);
  g_test_add_func ("/sharing/frozen", test_frozen);
  g_test_add_func ("/sharing/paused", test_paused);
  g_test_add_func ("/sharing/small-pool", test_small_pool);
  g_test_add_func ("/sharing/offered-pool", test_offered_pool);
  g_test_add_func ("/sharing/max-in-flight", test_max_in_flight);
  g_test_add_func ("/sharing/come-and-go", test_come_and_go);
  return test_run ();
}
