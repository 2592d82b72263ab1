/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* model-file and labels-file set while frames come. */
#include "common.h"

#define CAPS "video/x-raw,format=RGB,width=48,height=48,framerate=25/1"
#define WIDE_CAPS "video/x-raw,format=RGB,width=96,height=48,framerate=25/1"
#define FOR_EVER (G_GINT64_CONSTANT (10) * GST_SECOND) /* as batch delays go */
#define SOON (5 * G_USEC_PER_SEC)                      /* well within that */
#define WAIT (30 * GST_SECOND)                         /* for what comes on a busy machine too */
#define SLOW 1536 /* an input size that takes so long to warm up that a change is still to come when the setter returns */
#define N_CORNERS 8

/* Of another model: eight classes instead of twelve. */
static const char *const corners[N_CORNERS + 1] = { "noir", "bleu", "vert", "turquoise", "rouge", "rose", "jaune",
  "blanc", NULL };

static char *
in_dir (const char *name)
{
  return g_build_filename (test_dir (), name, NULL);
}

/* (transfer full) */
static char *
corner_model (void)
{
  char *path = in_dir ("corners.safetensors");
  if (!g_file_test (path, G_FILE_TEST_EXISTS))
    tiny_model_write_as (path, "corners", corners);
  return path;
}

/* (transfer full) */
static char *
file_of (const char *name, const char *contents, gssize size)
{
  char *path = in_dir (name);
  g_assert_true (g_file_set_contents (path, contents, size, NULL));
  return path;
}

/* The model's first half. (transfer full) */
static char *
truncated_model (void)
{
  g_autofree char *contents = NULL;
  gsize size;
  g_assert_true (g_file_get_contents (test_model (), &contents, &size, NULL));
  return file_of ("truncated.safetensors", contents, (gssize) size / 2);
}

/* (transfer full) */
static char *
two_labels (void)
{
  return file_of ("two.txt", "one\ntwo\n", -1);
}

static GstFlowReturn
push (GstHarness *h, int class, int i)
{
  return gst_harness_push (h, test_frame (CAPS, class, i));
}

static const char *
hash_of (GstBuffer *buffer)
{
  return gst_structure_get_string (test_result (buffer, 0), "model-hash");
}

/* The next frame is frame @i and named @label. */
static void
pull (GstHarness *h, const char *label, int i)
{
  g_autoptr (GstBuffer) buffer = gst_harness_pull (h);
  g_assert_nonnull (buffer);
  g_assert_cmpuint (GST_BUFFER_PTS (buffer), ==, i * FRAME_TIME);
  g_assert_cmpstr (test_label (buffer), ==, label);
}

static void
expect_fresh (GstHarness *h, int class, const char *label, int i)
{
  g_assert_cmpint (push (h, class, i), ==, GST_FLOW_OK);
  g_autoptr (GstBuffer) buffer = gst_harness_pull (h);
  g_assert_cmpstr (test_label (buffer), ==, label);
  g_assert_cmpstr (test_state (buffer), ==, "fresh");
}

static GstMessage *
pop_model_message (GstBus *bus, GstClockTime timeout)
{
  GstMessage *message;
  while ((message = gst_bus_timed_pop_filtered (bus, timeout, GST_MESSAGE_ELEMENT))) {
    if (gst_message_has_name (message, "vig-model"))
      return message;
    gst_message_unref (message);
  }
  return NULL;
}

static void
expect_string (const GstStructure *s, const char *field, const char *value)
{
  g_assert_true (gst_structure_has_field_typed (s, field, G_TYPE_STRING));
  g_assert_cmpstr (gst_structure_get_string (s, field), ==, value);
}

/* (transfer full) */
static GstMessage *
next_change (GstHarness *h, gboolean *success)
{
  GstMessage *message = pop_model_message (test_bus (h), WAIT);
  g_assert_nonnull (message);
  g_assert_true (GST_MESSAGE_SRC (message) == GST_OBJECT (h->element));
  g_assert_true (gst_structure_get_boolean (gst_message_get_structure (message), "success", success));
  return message;
}

static void
expect_changed (GstHarness *h, const char *file, const char *model)
{
  gboolean success;
  g_autoptr (GstMessage) message = next_change (h, &success);
  const GstStructure *s = gst_message_get_structure (message);
  g_assert_cmpstr (gst_structure_get_string (s, "error"), ==, NULL);
  g_assert_true (success);
  expect_string (s, "model-file", file);
  expect_string (s, "model", model);
  expect_string (s, "error", NULL);
  g_assert_cmpuint (strlen (gst_structure_get_string (s, "model-hash")), ==, 64);
}

static void
expect_refused (GstHarness *h, const char *file, const char *part)
{
  gboolean success;
  g_autoptr (GstMessage) message = next_change (h, &success);
  const GstStructure *s = gst_message_get_structure (message);
  g_assert_false (success);
  expect_string (s, "model-file", file);
  expect_string (s, "model", "tiny-colours"); /* still */
  if (!strstr (gst_structure_get_string (s, "error"), part))
    g_error ("expected \"%s\" in \"%s\"", part, gst_structure_get_string (s, "error"));
  g_autoptr (GstMessage) warning = gst_bus_timed_pop_filtered (test_bus (h), WAIT, GST_MESSAGE_WARNING);
  g_assert_nonnull (warning);
  g_autoptr (GError) error = NULL;
  gst_message_parse_warning (warning, &error, NULL);
  g_assert_true (error->domain == GST_RESOURCE_ERROR);
  g_assert_cmpstr (error->message, ==, gst_structure_get_string (s, "error"));
  test_expect_no_error (test_bus (h));
}

static void
expect_no_change (GstHarness *h)
{
  g_autoptr (GstMessage) message = pop_model_message (test_bus (h), 0);
  if (message)
    g_error ("unexpected: %" GST_PTR_FORMAT, (void *) gst_message_get_structure (message));
}

static void
set_model (GstHarness *h, const char *file)
{
  g_object_set (h->element, "model-file", file, NULL);
}

static void
expect_file (GstHarness *h, const char *expected)
{
  g_autofree char *file = NULL;
  g_object_get (h->element, "model-file", &file, NULL);
  g_assert_cmpstr (file, ==, expected);
}

/* Changes to a model whose change takes long. */
static void
set_slowly (GstHarness *h, const char *file)
{
  g_object_set (h->element, "input-size", SLOW, "model-file", file, NULL);
  g_object_set (h->element, "input-size", 0, NULL);
  expect_no_change (h);
}

/* ---- frames come all the time ---- */

/* A camera, and what comes of it. */
typedef struct {
  GstHarness *h;
  GThread *source, *sink;
  gint stop, ended, n_pushed; /* ended: the source is */
  gboolean may_lose; /* there are flushes, */
  GMutex lock;       /* and no frame comes between the end of one and the segment behind it */
  guint n_by_tiny, n_by_corners;
} Load;

/* Of the colours, which both models know. */
static int
class_of (guint i)
{
  return (int) (i % N_CORNERS);
}

static gpointer
push_all (gpointer data)
{
  Load *load = data;
  for (int i = 0; !g_atomic_int_get (&load->stop); i++) {
    g_mutex_lock (&load->lock);
    GstFlowReturn flow = push (load->h, class_of ((guint) i), i);
    g_mutex_unlock (&load->lock);
    if (!load->may_lose)
      g_assert_cmpint (flow, ==, GST_FLOW_OK);
    g_atomic_int_set (&load->n_pushed, i + 1);
  }
  return NULL;
}

/* In order, none twice, each named as the model that says so names it. */
static void
check (Load *load, GstBuffer *buffer, int *next)
{
  int i = (int) (GST_BUFFER_PTS (buffer) / FRAME_TIME);
  if (load->may_lose)
    g_assert_cmpint (i, >=, *next);
  else
    g_assert_cmpint (i, ==, *next);
  const GstStructure *result = test_result (buffer, 0);
  g_assert_nonnull (result);
  gboolean by_corners = g_str_equal (gst_structure_get_string (result, "model"), "corners");
  g_assert_cmpstr (test_label (buffer), ==, (by_corners ? corners : tiny_labels)[class_of ((guint) i)]);
  g_assert_cmpstr (test_state (buffer), ==, "fresh");
  if (by_corners)
    load->n_by_corners++;
  else
    load->n_by_tiny++;
  *next = i + 1;
}

static gpointer
pull_all (gpointer data)
{
  Load *load = data;
  int next = 0;
  while (!g_atomic_int_get (&load->ended) || next < g_atomic_int_get (&load->n_pushed)) {
    g_autoptr (GstBuffer) buffer = gst_harness_try_pull (load->h);
    if (buffer)
      check (load, buffer, &next);
    else if (g_atomic_int_get (&load->ended) && load->may_lose)
      break;
    else
      g_usleep (200);
  }
  return NULL;
}

static void
load_begin (Load *load, GstHarness *h, gboolean may_lose)
{
  *load = (Load) { .h = h, .may_lose = may_lose };
  g_mutex_init (&load->lock);
  load->source = g_thread_new ("source", push_all, load);
  load->sink = g_thread_new ("sink", pull_all, load);
}

/* So many frames more. */
static void
load_go_on (Load *load, int n)
{
  const int until = g_atomic_int_get (&load->n_pushed) + n;
  while (g_atomic_int_get (&load->n_pushed) < until)
    g_usleep (500);
}

static void
flush (Load *load)
{
  GstHarness *h = load->h;
  GstSegment segment;
  gst_segment_init (&segment, GST_FORMAT_TIME);
  gst_harness_push_event (h, gst_event_new_flush_start ());
  g_mutex_lock (&load->lock);
  gst_harness_push_event (h, gst_event_new_flush_stop (TRUE));
  gst_harness_push_event (h, gst_event_new_segment (&segment));
  g_mutex_unlock (&load->lock);
}

static void
load_end (Load *load)
{
  GstBuffer *left;
  g_atomic_int_set (&load->stop, 1);
  g_thread_join (load->source);
  g_atomic_int_set (&load->ended, 1);
  g_thread_join (load->sink);
  if (load->may_lose)
    flush (load);
  while ((left = gst_harness_try_pull (load->h)))
    gst_buffer_unref (left);
  g_mutex_clear (&load->lock);
}

/* ---- a change ---- */

static void
test_switch (void)
{
  g_autofree char *other = corner_model ();
  GstHarness *h = test_harness (CAPS, "max-in-flight", 4, NULL);
  Load load;
  load_begin (&load, h, FALSE);
  for (int round = 0; round < 5; round++) {
    load_go_on (&load, 20);
    set_model (h, other);
    expect_changed (h, other, "corners");
    load_go_on (&load, 20);
    set_model (h, test_model ());
    expect_changed (h, test_model (), "tiny-colours");
  }
  load_end (&load);
  g_assert_cmpuint (load.n_by_tiny, >=, 100);
  g_assert_cmpuint (load.n_by_corners, >=, 5 * (20 - 4 - 1));
  g_assert_cmpuint (test_stat (h->element, "classified"), ==, load.n_by_tiny + load.n_by_corners);
  expect_no_change (h);
  test_expect_no_error (test_bus (h));
  test_harness_free (h);
}

/* What is pushed once the message is there is the new model's; and the change is said once, in words of both models. */
static void
test_message_then_new (void)
{
  g_autofree char *other = corner_model ();
  GstHarness *h = test_harness (CAPS, NULL);
  for (int i = 0; i < 20; i += 2) {
    expect_fresh (h, TINY_RED, "red", i);
    set_model (h, other);
    expect_changed (h, other, "corners");
    expect_file (h, other);
    expect_fresh (h, TINY_RED, "rouge", i + 1);
    set_model (h, test_model ());
    expect_changed (h, test_model (), "tiny-colours");
  }
  test_harness_free (h);
}

static void
test_label_messages (void)
{
  g_autofree char *other = corner_model ();
  GstHarness *h = test_harness (CAPS, NULL);
  expect_fresh (h, TINY_RIGHT, "bright right", 0);
  gst_bus_set_flushing (test_bus (h), TRUE);
  gst_bus_set_flushing (test_bus (h), FALSE);
  set_model (h, other);
  expect_changed (h, other, "corners");
  expect_fresh (h, TINY_RED, "rouge", 1);
  g_autoptr (GstMessage) message = gst_bus_timed_pop_filtered (test_bus (h), WAIT, GST_MESSAGE_ELEMENT);
  g_assert_true (gst_message_has_name (message, "vig-label"));
  expect_string (gst_message_get_structure (message), "label", "rouge");
  expect_string (gst_message_get_structure (message), "previous-label", "bright right"); /* of a class that is no more */
  test_harness_free (h);
}

/* The frames that wait for a batch leave at once, as the old model sees them, and the others that wait there for this
 * element's frames do so no longer. */
static void
test_in_flight (void)
{
  g_autofree char *other = corner_model ();
  GstHarness *a = test_harness (CAPS, "max-in-flight", 4, "batch-delay", FOR_EVER, NULL),
    *b = test_harness (CAPS, "max-in-flight", 4, NULL);
  expect_fresh (b, TINY_RED, "red", 0); /* from now on expected, and never there */
  for (int i = 0; i < 3; i++)
    g_assert_cmpint (push (a, TINY_GREEN, i), ==, GST_FLOW_OK);
  g_usleep (50000);
  g_assert_cmpuint (gst_harness_buffers_in_queue (a), ==, 0);
  gint64 start = g_get_monotonic_time ();
  set_model (a, other);
  expect_changed (a, other, "corners");
  for (int i = 0; i < 3; i++)
    pull (a, "green", i);
  expect_fresh (a, TINY_GREEN, "vert", 3);
  g_assert_cmpint (g_get_monotonic_time () - start, <, SOON);
  expect_fresh (b, TINY_GREEN, "green", 1); /* alone now */
  g_assert_cmpint (g_get_monotonic_time () - start, <, SOON);
  g_assert_cmpuint (test_stat (b->element, "classified"), ==, 2);
  expect_no_change (b);
  test_harness_free (a);
  test_harness_free (b);
}

/* Only the element whose property it is; and what it had is let go of with its last frame. */
static void
test_sharers (void)
{
  g_autofree char *other = corner_model ();
  GstHarness *h[3];
  for (int i = 0; i < 3; i++)
    h[i] = test_harness (CAPS, NULL);
  Load load;
  load_begin (&load, h[1], FALSE);
  load_go_on (&load, 10);
  set_model (h[0], other);
  expect_changed (h[0], other, "corners");
  expect_fresh (h[0], TINY_BLUE, "bleu", 0);
  g_assert_cmpuint (test_stat (h[0]->element, "sharers"), ==, 1);
  for (int i = 0; test_stat (h[1]->element, "sharers") != 2; i++, g_usleep (1000))
    g_assert_cmpint (i, <, 10000);
  load_go_on (&load, 10);
  set_model (h[2], other);
  expect_changed (h[2], other, "corners");
  g_assert_cmpuint (test_stat (h[0]->element, "sharers"), ==, 2);
  load_end (&load);
  g_assert_cmpuint (load.n_by_corners, ==, 0);
  for (int i = 0; i < 3; i++)
    test_harness_free (h[i]);
}

/* All but the files is as it was when the element started. */
static void
test_other_options (void)
{
  g_autofree char *other = corner_model ();
  GstHarness *h = test_harness (CAPS, NULL), *b = test_harness (CAPS, NULL);
  g_object_set (h->element, "share", FALSE, "device", "cuda:99", NULL);
  set_model (h, other);
  expect_changed (h, other, "corners");
  set_model (b, other);
  expect_changed (b, other, "corners");
  g_assert_cmpuint (test_stat (h->element, "sharers"), ==, 2);
  test_harness_free (h);
  test_harness_free (b);
}

static void
test_same_path (void)
{
  g_autofree char *path = in_dir ("changing.safetensors");
  g_autofree char *first = NULL, *second = NULL;
  tiny_model_write (path);
  GstHarness *h = test_harness (CAPS, "model-file", path, "interval", 1000, NULL);
  expect_fresh (h, TINY_RED, "red", 0);
  set_model (h, path); /* as it is */
  expect_changed (h, path, "tiny-colours");
  expect_fresh (h, TINY_RED, "red", 1);
  tiny_model_write_as (path, "corners", corners);
  g_assert_cmpint (push (h, TINY_RED, 2), ==, GST_FLOW_OK); /* nobody has asked for it yet */
  g_autoptr (GstBuffer) held = gst_harness_pull (h);
  g_assert_cmpstr (test_label (held), ==, "red");
  first = g_strdup (hash_of (held));
  set_model (h, path);
  expect_changed (h, path, "corners");
  g_assert_cmpint (push (h, TINY_RED, 3), ==, GST_FLOW_OK);
  g_autoptr (GstBuffer) fresh = gst_harness_pull (h);
  g_assert_cmpstr (test_label (fresh), ==, "rouge");
  second = g_strdup (hash_of (fresh));
  g_assert_cmpstr (first, !=, second);
  test_harness_free (h);
}

/* No frame carries what another model says than the one it belongs to; the first frame of the new one is classified
 * whatever the interval. */
static void
test_held (void)
{
  g_autofree char *other = corner_model ();
  GstHarness *h = test_harness (CAPS, "interval", 1000, NULL);
  expect_fresh (h, TINY_RED, "red", 0);
  g_assert_cmpint (push (h, TINY_BLUE, 1), ==, GST_FLOW_OK);
  pull (h, "red", 1);
  set_model (h, other);
  expect_changed (h, other, "corners");
  expect_fresh (h, TINY_BLUE, "bleu", 2);
  g_assert_cmpint (push (h, TINY_GREEN, 3), ==, GST_FLOW_OK);
  pull (h, "bleu", 3);
  GstBuffer *gap = test_frame (CAPS, TINY_GREEN, 4);
  GST_BUFFER_FLAG_SET (gap, GST_BUFFER_FLAG_GAP);
  set_model (h, test_model ());
  expect_changed (h, test_model (), "tiny-colours");
  g_assert_cmpint (gst_harness_push (h, gap), ==, GST_FLOW_OK);
  g_autoptr (GstBuffer) buffer = gst_harness_pull (h);
  g_assert_null (test_label (buffer)); /* the old model's result is over, the new one has none */
  expect_fresh (h, TINY_GREEN, "green", 5);
  test_harness_free (h);
}

static void
test_labels (void)
{
  g_autofree char *other = corner_model ();
  g_autofree char *text = g_strjoinv ("\n", (char **) corners);
  g_autofree char *upper = g_ascii_strup (text, -1), *labels = file_of ("labels.txt", upper, -1),
    *more = g_strconcat (upper, "\nA\nB\nC\nD", NULL), *twelve = file_of ("twelve.txt", more, -1);
  GstHarness *h = test_harness (CAPS, NULL);
  expect_fresh (h, TINY_RED, "red", 0);
  g_object_set (h->element, "labels-file", twelve, NULL);
  expect_changed (h, test_model (), "tiny-colours");
  expect_fresh (h, TINY_RED, "ROUGE", 1);
  g_object_set (h->element, "model-file", other, "labels-file", labels, NULL); /* one change */
  expect_changed (h, other, "corners");
  expect_fresh (h, TINY_RED, "ROUGE", 2);
  g_object_set (h->element, "labels-file", NULL, NULL);
  expect_changed (h, other, "corners");
  expect_fresh (h, TINY_RED, "rouge", 3);
  expect_no_change (h);
  test_harness_free (h);
}

/* ---- those that fail ---- */

static void
test_failures (void)
{
  g_autofree char *other = corner_model (), *truncated = truncated_model (), *two = two_labels (),
    *missing = in_dir ("missing.safetensors");
  GstHarness *h = test_harness (CAPS, "max-in-flight", 3, NULL);
  Load load;
  load_begin (&load, h, FALSE);
  load_go_on (&load, 10);
  set_model (h, missing);
  expect_refused (h, missing, "missing.safetensors");
  expect_file (h, test_model ());
  set_model (h, truncated);
  expect_refused (h, truncated, "truncated.safetensors");
  set_model (h, NULL);
  expect_refused (h, NULL, "model-file");
  g_object_set (h->element, "model-file", other, "labels-file", two, NULL);
  expect_refused (h, other, "expected 8 labels");
  g_autofree char *labels_file = NULL;
  g_object_get (h->element, "labels-file", &labels_file, NULL);
  g_assert_null (labels_file);
  load_go_on (&load, 10);
  load_end (&load);
  g_assert_cmpuint (load.n_by_corners, ==, 0);
  gst_element_set_state (h->element, GST_STATE_READY); /* what could not be loaded is not tried again */
  g_assert_cmpint (gst_element_set_state (h->element, GST_STATE_PLAYING), ==, GST_STATE_CHANGE_SUCCESS);
  test_harness_free (h);
}

/* Two elements that do not agree on what is the engine's. */
static void
test_conflict (void)
{
  g_autofree char *other = corner_model ();
  GstHarness *a = test_harness (CAPS, "max-batch", 2, "name", "north", NULL),
    *b = test_harness (CAPS, "max-batch", 3, "name", "south", "model-file", other, NULL);
  set_model (a, other);
  expect_refused (a, other, "south");
  expect_fresh (a, TINY_RED, "red", 0);
  test_harness_free (b);
  set_model (a, other);
  expect_changed (a, other, "corners");
  expect_fresh (a, TINY_RED, "rouge", 1);
  test_harness_free (a);
}

/* ---- several, and what else happens meanwhile ---- */

/* The setter is back before anything is loaded, and frames are classified meanwhile. */
static void
test_does_not_block (void)
{
  g_autofree char *other = corner_model ();
  GstHarness *h = test_harness (CAPS, NULL);
  set_slowly (h, other);
  expect_fresh (h, TINY_RED, "red", 0);
  expect_fresh (h, TINY_RED, "red", 1);
  expect_changed (h, other, "corners");
  expect_fresh (h, TINY_RED, "rouge", 2);
  test_harness_free (h);
}

static void
test_last_wins (void)
{
  g_autofree char *other = corner_model (), *missing = in_dir ("missing.safetensors");
  GstHarness *h = test_harness (CAPS, "max-in-flight", 4, "post-messages", FALSE, NULL);
  Load load;
  load_begin (&load, h, FALSE);
  load_go_on (&load, 10);
  set_slowly (h, other);
  load_go_on (&load, 5); /* it is being loaded */
  set_model (h, missing);
  set_model (h, test_model ());
  expect_changed (h, test_model (), "tiny-colours"); /* the only one that is heard of */
  expect_no_change (h);
  for (int i = 0; i < 200; i++)
    set_model (h, i % 3 == 0 ? missing : i % 3 == 1 ? test_model () : other);
  set_model (h, other);
  gboolean success = FALSE;
  for (GstMessage *message = next_change (h, &success), *next; message; message = next) {
    next = pop_model_message (test_bus (h), GST_SECOND); /* none comes after the last one's */
    if (next)
      gst_structure_get_boolean (gst_message_get_structure (next), "success", &success);
    else
      expect_string (gst_message_get_structure (message), "model-file", other);
    gst_message_unref (message);
  }
  g_assert_true (success);
  expect_file (h, other);
  load_go_on (&load, 10);
  load_end (&load);
  expect_fresh (h, TINY_RED, "rouge", load.n_pushed);
  expect_no_change (h);
  test_harness_free (h);
}

static void
expect_stopped (GstState state)
{
  g_autofree char *other = corner_model ();
  GstHarness *h = test_harness (CAPS, NULL);
  g_assert_cmpint (push (h, TINY_RED, 0), ==, GST_FLOW_OK); /* on its way */
  set_slowly (h, other);
  g_assert_cmpint (gst_element_set_state (h->element, state), ==, GST_STATE_CHANGE_SUCCESS);
  expect_no_change (h);
  g_assert_cmpuint (test_stat (h->element, "sharers"), ==, state == GST_STATE_NULL ? 0 : 1);
  expect_file (h, other);
  gst_element_set_state (h->element, GST_STATE_PLAYING); /* with what was asked for */
  gst_harness_push_event (h, gst_event_new_stream_start ("again"));
  gst_harness_set_src_caps_str (h, CAPS);
  GstBuffer *left;
  while ((left = gst_harness_try_pull (h)))
    gst_buffer_unref (left);
  expect_fresh (h, TINY_RED, "rouge", 0);
  expect_no_change (h);
  test_expect_no_error (test_bus (h));
  test_harness_free (h);
}

static void
test_ready (void)
{
  expect_stopped (GST_STATE_READY);
}

static void
test_null (void)
{
  expect_stopped (GST_STATE_NULL);
}

/* Set in PAUSED it is loaded there; set in READY or NULL, at the next start. */
static void
test_states (void)
{
  g_autofree char *other = corner_model ();
  GstHarness *h = test_harness (CAPS, NULL);
  gst_element_set_state (h->element, GST_STATE_PAUSED);
  set_model (h, other);
  expect_changed (h, other, "corners");
  gst_element_set_state (h->element, GST_STATE_READY);
  set_model (h, test_model ());
  gst_element_set_state (h->element, GST_STATE_PLAYING);
  gst_harness_push_event (h, gst_event_new_stream_start ("again"));
  gst_harness_set_src_caps_str (h, CAPS);
  expect_fresh (h, TINY_RED, "red", 0);
  expect_no_change (h);
  test_harness_free (h);
}

static void
test_flush (void)
{
  g_autofree char *other = corner_model ();
  GstHarness *h = test_harness (CAPS, "max-in-flight", 4, NULL);
  Load load;
  load_begin (&load, h, TRUE);
  for (int round = 0; round < 20; round++) {
    const char *file = round % 2 ? test_model () : other;
    load_go_on (&load, 5);
    set_model (h, file);
    g_usleep ((gulong) round * 200);
    flush (&load);
    expect_changed (h, file, round % 2 ? "tiny-colours" : "corners");
    flush (&load);
  }
  load_end (&load);
  expect_fresh (h, TINY_RED, "red", load.n_pushed);
  test_expect_no_error (test_bus (h));
  test_harness_free (h);
}

/* Frames of other caps, and what waits of the old model, at the same time. */
static void
test_caps (void)
{
  g_autofree char *other = corner_model ();
  GstHarness *h = test_harness (CAPS, "max-in-flight", 4, "interval", 1000, NULL);
  for (int round = 0; round < 20; round++) {
    const char *file = round % 2 ? test_model () : other, *caps = round % 2 ? CAPS : WIDE_CAPS;
    g_assert_cmpint (gst_harness_push (h, test_frame (round % 2 ? WIDE_CAPS : CAPS, TINY_RED, 3 * round)), ==,
        GST_FLOW_OK);
    set_model (h, file);
    gst_harness_set_src_caps_str (h, caps);
    g_assert_cmpint (gst_harness_push (h, test_frame (caps, TINY_RED, 3 * round + 1)), ==, GST_FLOW_OK);
    expect_changed (h, file, round % 2 ? "tiny-colours" : "corners");
    g_assert_cmpint (gst_harness_push (h, test_frame (caps, TINY_RED, 3 * round + 2)), ==, GST_FLOW_OK);
    pull (h, round % 2 ? "rouge" : "red", 3 * round);
    GstBuffer *between = gst_harness_pull (h); /* by whichever it was then */
    g_assert_nonnull (test_label (between));
    gst_buffer_unref (between);
    pull (h, round % 2 ? "red" : "rouge", 3 * round + 2);
  }
  test_expect_no_error (test_bus (h));
  test_harness_free (h);
}

/* All of it at once: several elements, each with its source, and threads that change models and flush. */
static gpointer
change_and_stop (gpointer data)
{
  g_autofree char *other = corner_model (), *truncated = in_dir ("truncated.safetensors");
  const guint seed = GPOINTER_TO_UINT (data);
  g_autoptr (GRand) random = g_rand_new_with_seed (seed);
  const char *files[] = { other, test_model (), truncated };
  for (int life = 0; life < 4; life++) {
    GstHarness *h = test_harness (CAPS, "max-in-flight", 1 + seed % 4, NULL);
    Load load;
    load_begin (&load, h, TRUE);
    for (int i = 0; i < 15; i++) {
      load_go_on (&load, g_rand_int_range (random, 1, 6));
      set_model (h, files[g_rand_int_range (random, 0, 3)]);
      if (g_rand_int_range (random, 0, 4) == 0)
        flush (&load);
    }
    load_end (&load);
    test_expect_no_error (test_bus (h));
    test_harness_free (h);
  }
  return NULL;
}

static void
test_everything (void)
{
  GThread *threads[4];
  g_autofree char *truncated = truncated_model (), *other = corner_model ();
  for (guint i = 0; i < G_N_ELEMENTS (threads); i++)
    threads[i] = g_thread_new ("changes", change_and_stop, GUINT_TO_POINTER (i + 1));
  for (guint i = 0; i < G_N_ELEMENTS (threads); i++)
    g_thread_join (threads[i]);
}

int
main (int argc, char **argv)
{
  test_init (&argc, &argv);
  g_test_add_func ("/reload/switch", test_switch);
  g_test_add_func ("/reload/message-then-new", test_message_then_new);
  g_test_add_func ("/reload/label-messages", test_label_messages);
  g_test_add_func ("/reload/in-flight", test_in_flight);
  g_test_add_func ("/reload/sharers", test_sharers);
  g_test_add_func ("/reload/other-options", test_other_options);
  g_test_add_func ("/reload/same-path", test_same_path);
  g_test_add_func ("/reload/held", test_held);
  g_test_add_func ("/reload/labels", test_labels);
  g_test_add_func ("/reload/failures", test_failures);
  g_test_add_func ("/reload/conflict", test_conflict);
  g_test_add_func ("/reload/does-not-block", test_does_not_block);
  g_test_add_func ("/reload/last-wins", test_last_wins);
  g_test_add_func ("/reload/ready", test_ready);
  g_test_add_func ("/reload/null", test_null);
  g_test_add_func ("/reload/states", test_states);
  g_test_add_func ("/reload/flush", test_flush);
  g_test_add_func ("/reload/caps", test_caps);
  g_test_add_func ("/reload/everything", test_everything);
  return test_run ();
}
