/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* vigpublish behind vigclassify: what it writes, when, where, and that it never gets in the way. */
#include <glib/gstdio.h>
#include <gst/analytics/analytics.h>
#include <json-glib/json-glib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "publishing.h"

/* ---- a publisher ---- */

/* One that writes to @path, which is removed if it is there. */
static GstElement *
publisher (const char *path, const char *first_property, ...)
{
  va_list args;
  GstElement *element = gst_element_factory_make ("vigpublish", NULL);
  g_assert_nonnull (element);
  g_unlink (path);
  gst_util_set_object_arg (G_OBJECT (element), "sink", "file");
  g_object_set (element, "location", path, "stream-name", "camera 1", NULL);
  va_start (args, first_property);
  if (first_property)
    g_object_set_valist (G_OBJECT (element), first_property, args);
  va_end (args);
  return element;
}

/* ---- what was written ---- */

/* (transfer full): the lines of a file, each an object, each as the schema has it */
static JsonArray *
read_events (const char *path)
{
  g_autofree char *text = NULL;
  gsize length;
  g_autoptr (GError) error = NULL;
  g_assert_true (g_file_get_contents (path, &text, &length, &error));
  g_assert_true (length == 0 || text[length - 1] == '\n');
  publishing_check_schema (path);
  g_auto (GStrv) lines = g_strsplit (text, "\n", -1);
  JsonArray *events = json_array_new ();
  for (guint i = 0; lines[i] && *lines[i]; i++) {
    JsonNode *node = json_from_string (lines[i], &error);
    g_assert_no_error (error);
    json_array_add_element (events, node);
  }
  return events;
}

static JsonObject *
event (JsonArray *events, guint i)
{
  g_assert_cmpuint (i, <, json_array_get_length (events));
  return json_array_get_object_element (events, i);
}

static const char *
text_in (JsonObject *object, const char *name)
{
  g_assert_true (json_object_has_member (object, name));
  return json_object_get_string_member (object, name);
}

static JsonObject *
object_in (JsonObject *object, const char *name)
{
  g_assert_true (json_object_has_member (object, name));
  return json_object_get_object_member (object, name);
}

static gint64
time_in (JsonObject *object, const char *moment, const char *name)
{
  return json_object_get_int_member (object_in (object, moment), name);
}

/* Events of these frames' results, with those labels, numbered from 0 on. */
static void
expect_results (JsonArray *events, guint n, const int frames[], const int classes[])
{
  g_assert_cmpuint (json_array_get_length (events), ==, n);
  for (guint i = 0; i < n; i++) {
    JsonObject *e = event (events, i);
    g_assert_cmpint (json_object_get_int_member (e, "sequence"), ==, i);
    g_assert_cmpstr (text_in (e, "session"), ==, text_in (event (events, 0), "session"));
    g_assert_cmpint (time_in (e, "time", "pts"), ==, frames[i] * (gint64) FRAME_TIME);
    g_assert_cmpstr (text_in (e, "label"), ==, tiny_labels[classes[i]]);
  }
}

/* ---- results ---- */

#define NAME "first, \"0.10000000000000001\""

/* No number has more digits than a float needs, and what looks like one in a string is left alone. */
static void
expect_short_numbers (const char *path)
{
  g_autofree char *text = NULL;
  g_assert_true (g_file_get_contents (path, &text, NULL, NULL));
  g_assert_nonnull (strstr (text, "first, \\\"0.10000000000000001\\\""));
  g_assert_false (g_regex_match_simple (":-?\\d\\.\\d*[1-9]\\d{9}", text, 0, 0));
  g_assert_true (g_regex_match_simple (":0\\.\\d{1,9}[,}]", text, 0, 0));
}

static void
test_every_result (void)
{
  g_autofree char *path = publishing_in_dir ("every.jsonl");
  GstElement *publish = publisher (path, NULL);
  GstHarness *h = publishing_play (test_element ("top-k", 2, "name", NAME, NULL), publish, NULL);
  publishing_show (h, TINY_RED, 0, 2);
  publishing_show (h, TINY_LEFT, 2, 3);
  publishing_end_of_stream (h);
  g_assert_cmpuint (test_stat (publish, "published"), ==, 3);
  g_assert_cmpuint (test_stat (publish, "dropped"), ==, 0);
  g_assert_cmpuint (test_stat (publish, "queued"), ==, 0);
  g_autoptr (JsonArray) events = read_events (path);
  expect_results (events, 3, (int[]) { 0, 1, 2 }, (int[]) { TINY_RED, TINY_RED, TINY_LEFT });
  JsonObject *e = event (events, 2);
  g_assert_cmpstr (text_in (e, "element"), ==, NAME);
  expect_short_numbers (path);
  g_assert_cmpstr (text_in (e, "stream"), ==, "camera 1");
  g_assert_cmpstr (text_in (e, "state"), ==, "fresh");
  g_assert_cmpstr (text_in (object_in (e, "model"), "name"), ==, "tiny-colours");
  g_assert_cmpint (time_in (e, "time", "stream"), ==, 2 * (gint64) FRAME_TIME);
  g_assert_cmpint (time_in (e, "time", "running"), ==, 2 * (gint64) FRAME_TIME);
  g_assert_cmpint (time_in (e, "span", "end"), ==, 3 * (gint64) FRAME_TIME);
  g_assert_cmpint (time_in (e, "frame", "width"), ==, 48);
  JsonArray *labels = json_object_get_array_member (e, "labels");
  g_assert_cmpuint (json_array_get_length (labels), ==, 2);
  g_assert_cmpstr (text_in (event (labels, 0), "label"), ==, tiny_labels[TINY_LEFT]);
  g_assert_cmpfloat (json_object_get_double_member (event (labels, 0), "confidence"), ==,
      json_object_get_double_member (e, "confidence"));
  g_assert_false (json_object_has_member (e, "previous_label"));
  g_assert_false (json_object_has_member (object_in (e, "time"), "utc"));
  test_expect_no_error (test_bus (h));
  test_harness_free (h);
}

/* Buffers are the very ones that came. */
static void
test_untouched (void)
{
  g_autofree char *path = publishing_in_dir ("untouched.jsonl");
  GstHarness *h = publishing_play (publisher (path, NULL), NULL);
  GstBuffer *buffer = test_frame (PUBLISHING_CAPS, TINY_RED, 0);
  gst_buffer_ref (buffer); /* not writable */
  g_autoptr (GstBuffer) out = test_send (h, buffer);
  g_assert_true (out == buffer);
  gst_buffer_unref (buffer);
  publishing_end_of_stream (h);
  g_autoptr (JsonArray) events = read_events (path);
  g_assert_cmpuint (json_array_get_length (events), ==, 0);
  test_harness_free (h);
}

static void
test_held (void)
{
  g_autofree char *path = publishing_in_dir ("held.jsonl"), *all = publishing_in_dir ("held-too.jsonl");
  GstHarness *h = publishing_play (test_element ("interval", 3, NULL), publisher (path, NULL), publisher (all, "include-held", TRUE, NULL), NULL);
  publishing_show (h, TINY_RED, 0, 5);
  publishing_end_of_stream (h);
  g_autoptr (JsonArray) events = read_events (path);
  expect_results (events, 2, (int[]) { 0, 3 }, (int[]) { TINY_RED, TINY_RED });
  g_autoptr (JsonArray) with_held = read_events (all);
  expect_results (with_held, 5, (int[]) { 0, 1, 2, 3, 4 }, (int[]) { TINY_RED, TINY_RED, TINY_RED, TINY_RED, TINY_RED });
  for (guint i = 0; i < 5; i++) {
    g_assert_cmpstr (text_in (event (with_held, i), "state"), ==, i % 3 ? "held" : "fresh");
    g_assert_cmpint (json_object_get_int_member (event (with_held, i), "age"), ==, i % 3 * (gint64) FRAME_TIME);
  }
  test_harness_free (h);
}

static void
test_changes (void)
{
  g_autofree char *path = publishing_in_dir ("changes.jsonl");
  GstElement *classify = test_element ("threshold", 0.0, NULL);
  GstHarness *h = publishing_play (classify, publisher (path, "publish", 1 /* changes */, NULL), NULL);
  publishing_show (h, TINY_RED, 0, 3);
  publishing_show (h, TINY_LEFT, 3, 5);
  g_object_set (classify, "threshold", 1.0, NULL);
  publishing_show (h, TINY_LEFT, 5, 7);
  g_object_set (classify, "threshold", 0.0, NULL);
  publishing_show (h, TINY_RED, 7, 9);
  test_happen (h, PUBLISHING_CAPS, "flush");
  publishing_show (h, TINY_RED, 9, 11);
  publishing_end_of_stream (h);
  g_autoptr (JsonArray) events = read_events (path);
  expect_results (events, 5, (int[]) { 0, 3, 5, 7, 9 }, (int[]) { TINY_RED, TINY_LEFT, TINY_LEFT, TINY_RED, TINY_RED });
  g_assert_false (json_object_has_member (event (events, 0), "previous_label"));
  g_assert_cmpstr (text_in (event (events, 1), "previous_label"), ==, tiny_labels[TINY_RED]);
  g_assert_cmpstr (text_in (event (events, 2), "previous_label"), ==, tiny_labels[TINY_LEFT]);
  g_assert_cmpstr (text_in (event (events, 2), "state"), ==, "below-threshold");
  g_assert_cmpuint (json_array_get_length (json_object_get_array_member (event (events, 2), "labels")), ==, 0);
  g_assert_true (json_object_get_null_member (event (events, 3), "previous_label"));
  g_assert_false (json_object_has_member (event (events, 4), "previous_label"));
  test_harness_free (h);
}

/* Each result names its element; one that says nothing new is not kept from the other. */
static void
test_in_series (void)
{
  g_autofree char *path = publishing_in_dir ("series.jsonl");
  GstHarness *h = publishing_play (test_element ("name", "one", NULL), test_element ("name", "two", "threshold", 1.0, NULL),
      publisher (path, "publish", 1 /* changes */, NULL), NULL);
  publishing_show (h, TINY_RED, 0, 2);
  publishing_show (h, TINY_LEFT, 2, 4);
  publishing_end_of_stream (h);
  g_autoptr (JsonArray) events = read_events (path);
  expect_results (events, 3, (int[]) { 0, 0, 2 }, (int[]) { TINY_RED, TINY_RED, TINY_LEFT });
  g_assert_cmpstr (text_in (event (events, 0), "element"), ==, "one");
  g_assert_cmpstr (text_in (event (events, 1), "element"), ==, "two");
  g_assert_cmpstr (text_in (event (events, 2), "element"), ==, "one");
  test_harness_free (h);
}

/* ---- times ---- */

static void
add_reference (GstBuffer *buffer, const char *caps, GstClockTime time)
{
  g_autoptr (GstCaps) reference = gst_caps_from_string (caps);
  gst_buffer_add_reference_timestamp_meta (buffer, reference, time, GST_CLOCK_TIME_NONE);
}

static void
test_utc (void)
{
  g_autofree char *path = publishing_in_dir ("utc.jsonl"), *segments = publishing_in_dir ("utc-segments.jsonl");
  const GstClockTime then = 1700000000 * GST_SECOND + 123456789; /* 2023-11-14T22:13:20Z and */
  GstHarness *h = publishing_play (test_element ("enter-threshold", 0.5, NULL), publisher (path, NULL),
      publisher (segments, "publish", 2 /* segments */, NULL), NULL);
  GstBuffer *a = test_frame (PUBLISHING_CAPS, TINY_RED, 0), *b = test_frame (PUBLISHING_CAPS, TINY_RED, 1), *c = test_frame (PUBLISHING_CAPS, TINY_RED, 2);
  add_reference (a, "timestamp/x-unix", then);
  add_reference (b, "timestamp/x-ntp", then + FRAME_TIME + 2208988800 * GST_SECOND);
  add_reference (c, "timestamp/x-other", 5);
  gst_buffer_unref (test_send (h, a));
  gst_buffer_unref (test_send (h, b));
  gst_buffer_unref (test_send (h, c));
  publishing_end_of_stream (h);
  g_autoptr (JsonArray) events = read_events (path);
  g_assert_cmpstr (text_in (object_in (event (events, 0), "time"), "utc"), ==, "2023-11-14T22:13:20.123456789Z");
  g_assert_cmpstr (text_in (object_in (event (events, 1), "time"), "utc"), ==, "2023-11-14T22:13:20.163456789Z");
  g_assert_false (json_object_has_member (object_in (event (events, 2), "time"), "utc"));
  g_autoptr (JsonArray) ends = read_events (segments);
  g_assert_cmpuint (json_array_get_length (ends), ==, 1);
  g_assert_cmpstr (text_in (object_in (event (ends, 0), "start"), "utc"), ==, "2023-11-14T22:13:20.123456789Z");
  g_assert_cmpstr (text_in (object_in (event (ends, 0), "end"), "utc"), ==, "2023-11-14T22:13:20.243456789Z");
  test_harness_free (h);
}

/* A picture has no timestamp; a segment with a base has three times that differ. */
static void
test_times (void)
{
  g_autofree char *path = publishing_in_dir ("times.jsonl");
  GstSegment segment;
  GstHarness *h = publishing_play (test_element (NULL, NULL), publisher (path, "stream-name", NULL, NULL), NULL);
  gst_harness_push_event (h, gst_event_new_stream_start ("a/stream's\nid"));
  gst_harness_set_src_caps_str (h, PUBLISHING_CAPS);
  gst_segment_init (&segment, GST_FORMAT_TIME);
  segment.start = 2 * FRAME_TIME;
  segment.time = 10 * GST_SECOND;
  segment.base = 100 * GST_SECOND;
  gst_harness_push_event (h, gst_event_new_segment (&segment));
  gst_buffer_unref (test_send (h, test_picture (PUBLISHING_CAPS, TINY_RED)));
  publishing_show (h, TINY_RED, 3, 4);
  publishing_end_of_stream (h);
  g_autoptr (JsonArray) events = read_events (path);
  g_assert_true (json_object_get_null_member (object_in (event (events, 0), "time"), "pts"));
  g_assert_true (json_object_get_null_member (object_in (event (events, 0), "time"), "running"));
  g_assert_true (json_object_get_null_member (object_in (event (events, 0), "span"), "start"));
  g_assert_cmpint (time_in (event (events, 1), "time", "pts"), ==, 3 * (gint64) FRAME_TIME);
  g_assert_cmpint (time_in (event (events, 1), "time", "stream"), ==, 10 * GST_SECOND + FRAME_TIME);
  g_assert_cmpint (time_in (event (events, 1), "time", "running"), ==, 100 * GST_SECOND + FRAME_TIME);
  g_assert_cmpstr (text_in (event (events, 1), "stream"), ==, "a/stream's\nid");
  test_harness_free (h);
}

/* ---- clips, regions, segments ---- */

static void
test_clips (void)
{
  g_autofree char *path = publishing_in_dir ("clips.jsonl"), *model = test_model_over_time (TINY_JOINT);
  GstHarness *h = publishing_play (test_element ("model-file", model, "clip-length", 4, "clip-hop", 3, NULL),
      publisher (path, "include-held", TRUE, NULL), NULL);
  publishing_show (h, TINY_RED, 0, 8);
  publishing_end_of_stream (h);
  g_autoptr (JsonArray) events = read_events (path);
  g_assert_cmpuint (json_array_get_length (events), ==, 8);
  for (guint i = 0; i < 8; i++) {
    JsonObject *e = event (events, i);
    g_assert_cmpstr (text_in (e, "clip_mode"), ==, "joint");
    g_assert_cmpstr (text_in (e, "state"), ==, i % 3 ? "held" : "fresh");
    g_assert_cmpint (json_object_get_boolean_member (e, "warming_up"), ==, i < 3);
  }
  g_assert_cmpint (time_in (event (events, 6), "span", "start"), ==, 3 * (gint64) FRAME_TIME);
  test_harness_free (h);
}

/* A frame with an object at @x that is tracked if @id is not 0. */
static GstBuffer *
frame_with_object (int class, int i, int x, guint64 id)
{
  GstAnalyticsODMtd od;
  GstAnalyticsTrackingMtd track;
  GstBuffer *buffer = test_frame (PUBLISHING_CAPS, class, i);
  GstAnalyticsRelationMeta *meta = gst_buffer_add_analytics_relation_meta (buffer);
  g_assert_true (gst_analytics_relation_meta_add_od_mtd (meta, g_quark_from_string ("person"), x, 4, 20, 30, 0.5, &od));
  if (id) {
    g_assert_true (gst_analytics_relation_meta_add_tracking_mtd (meta, id, 0, &track));
    gst_analytics_relation_meta_set_relation (meta, GST_ANALYTICS_REL_TYPE_RELATE_TO, od.id, track.id);
  }
  return buffer;
}

static void
test_regions (void)
{
  g_autofree char *path = publishing_in_dir ("regions.jsonl"), *changes = publishing_in_dir ("region-changes.jsonl");
  g_autofree char *segments = publishing_in_dir ("region-segments.jsonl");
  const guint64 id = G_MAXUINT64 - 1;
  GstHarness *h = publishing_play (test_element ("regions", 2 /* both */, "enter-threshold", 0.5, NULL), publisher (path, NULL),
      publisher (changes, "publish", 1, NULL), publisher (segments, "publish", 2, NULL), NULL);
  for (int i = 0; i < 4; i++)
    gst_buffer_unref (test_send (h, frame_with_object (i < 2 ? TINY_RED : TINY_BLUE, i, 8 + i, id)));
  gst_buffer_unref (test_send (h, frame_with_object (TINY_BLUE, 4, 8, 0)));
  gst_buffer_unref (test_send (h, frame_with_object (TINY_BLUE, 5, 8, 0)));
  publishing_end_of_stream (h);
  g_autoptr (JsonArray) events = read_events (path);
  g_assert_cmpuint (json_array_get_length (events), ==, 12);
  JsonObject *e = event (events, 3), *region = object_in (e, "region");
  g_assert_false (json_object_has_member (event (events, 2), "region"));
  g_assert_cmpstr (text_in (region, "label"), ==, "person");
  g_assert_cmpint (json_object_get_int_member (region, "x"), ==, 9);
  g_assert_cmpint (json_object_get_int_member (region, "height"), ==, 30);
  g_assert_cmpstr (text_in (region, "tracking_id"), ==, "18446744073709551614");
  g_assert_false (json_object_has_member (object_in (event (events, 9), "region"), "tracking_id"));
  g_autoptr (JsonArray) changed = read_events (changes); /* of the frame and the object: the first and red to blue; another object */
  g_assert_cmpuint (json_array_get_length (changed), ==, 5);
  g_assert_false (json_object_has_member (object_in (event (changed, 4), "region"), "tracking_id"));
  g_autoptr (JsonArray) ended = read_events (segments);
  g_assert_cmpuint (json_array_get_length (ended), ==, 4);
  guint of_objects = 0;
  for (guint i = 0; i < 4; i++)
    of_objects += json_object_has_member (event (ended, i), "region");
  g_assert_cmpuint (of_objects, ==, 2);
  test_harness_free (h);
}

static void
test_segments (void)
{
  g_autofree char *path = publishing_in_dir ("segments.jsonl"), *other = publishing_in_dir ("other.safetensors");
  GstElement *classify = test_element ("enter-threshold", 0.5, "name", "c", NULL);
  GstHarness *h = publishing_play (classify, publisher (path, "publish", 2, NULL), NULL);
  publishing_show (h, TINY_RED, 0, 3);
  publishing_show (h, TINY_LEFT, 3, 5);
  test_happen (h, PUBLISHING_CAPS, "flush");
  publishing_show (h, TINY_TOP, 7, 9);
  publishing_end_of_stream (h);
  g_autoptr (JsonArray) events = read_events (path);
  const int expected[][3] = { { TINY_RED, 0, 3 }, { TINY_LEFT, 3, 5 }, { TINY_TOP, 7, 9 } };
  g_assert_cmpuint (json_array_get_length (events), ==, G_N_ELEMENTS (expected));
  for (guint i = 0; i < G_N_ELEMENTS (expected); i++) {
    JsonObject *e = event (events, i);
    g_assert_cmpstr (text_in (e, "type"), ==, "segment");
    g_assert_cmpstr (text_in (e, "element"), ==, "c");
    g_assert_cmpstr (text_in (object_in (e, "model"), "name"), ==, "tiny-colours");
    g_assert_cmpstr (text_in (e, "label"), ==, tiny_labels[expected[i][0]]);
    g_assert_cmpint (time_in (e, "start", "pts"), ==, expected[i][1] * (gint64) FRAME_TIME);
    g_assert_cmpint (time_in (e, "end", "pts"), ==, expected[i][2] * (gint64) FRAME_TIME);
    g_assert_cmpint (json_object_get_int_member (e, "answers"), ==, expected[i][2] - expected[i][1]);
  }
  test_harness_free (h);
}

/* ---- files ---- */

/* What is there stays, but for a line that a power cut has left unfinished. */
static void
test_goes_on (void)
{
  g_autofree char *path = publishing_in_dir ("goes-on.jsonl"), *text = NULL;
  for (int i = 0; i < 2; i++) {
    g_autofree char *kept = i == 0 ? NULL : g_strconcat (text, "{\"version\":1,\"ty", NULL);
    GstElement *publish = publisher (path, NULL);
    if (kept)
      g_assert_true (g_file_set_contents (path, kept, -1, NULL));
    GstHarness *h = publishing_play (test_element (NULL, NULL), publish, NULL);
    publishing_show (h, TINY_RED, 2 * i, 2 * i + 2);
    publishing_end_of_stream (h);
    test_harness_free (h);
    g_clear_pointer (&text, g_free);
    g_assert_true (g_file_get_contents (path, &text, NULL, NULL));
  }
  g_autoptr (JsonArray) events = read_events (path);
  g_assert_cmpuint (json_array_get_length (events), ==, 4);
  g_assert_cmpint (time_in (event (events, 3), "time", "pts"), ==, 3 * (gint64) FRAME_TIME);
  g_assert_cmpstr (text_in (event (events, 1), "session"), !=, text_in (event (events, 2), "session"));
}

/* The events of all files whose names begin so, in the order of the names; (out) n: how many files. */
static guint
count_events_of (const char *prefix, guint *n_files, gsize *longest)
{
  g_autoptr (GDir) d = g_dir_open (test_dir (), 0, NULL);
  g_autoptr (GPtrArray) names = g_ptr_array_new_with_free_func (g_free);
  const char *name;
  guint n = 0;
  while ((name = g_dir_read_name (d)))
    if (g_str_has_prefix (name, prefix))
      g_ptr_array_add (names, g_strdup (name));
  g_ptr_array_sort_values (names, (GCompareFunc) strcmp);
  *n_files = names->len;
  *longest = 0;
  for (guint i = 0; i < names->len; i++) {
    g_autofree char *path = publishing_in_dir (names->pdata[i]);
    g_autoptr (JsonArray) events = read_events (path);
    GStatBuf st;
    g_stat (path, &st);
    *longest = MAX (*longest, (gsize) st.st_size);
    for (guint j = 0; j < json_array_get_length (events); j++)
      g_assert_cmpint (json_object_get_int_member (event (events, j), "sequence"), ==, n++);
    g_unlink (path);
  }
  return n;
}

static void
test_rotate_size (void)
{
  g_autofree char *path = publishing_in_dir ("bysize.jsonl");
  guint n_files;
  gsize longest;
  GstHarness *h = publishing_play (test_element (NULL, NULL), publisher (path, "rotate-size", (guint64) 2000, NULL), NULL);
  publishing_show (h, TINY_RED, 0, 10);
  publishing_end_of_stream (h);
  test_harness_free (h);
  g_assert_cmpuint (count_events_of ("bysize-", &n_files, &longest) /* '-' is before '.' */, ==, 9);
  g_assert_cmpuint (n_files, ==, 3);
  g_assert_cmpuint (longest, <=, 2000);
  g_assert_cmpuint (longest, >, 1000);
  g_autoptr (JsonArray) events = read_events (path);
  g_assert_cmpuint (json_array_get_length (events), ==, 1);
}

/* An event that is longer than a file may be has one of its own. */
static void
test_rotate_each (void)
{
  g_autofree char *path = publishing_in_dir ("each.jsonl");
  guint n_files;
  gsize longest;
  GstHarness *h = publishing_play (test_element (NULL, NULL), publisher (path, "rotate-size", (guint64) 1, NULL), NULL);
  publishing_show (h, TINY_RED, 0, 4);
  publishing_end_of_stream (h);
  test_harness_free (h);
  g_assert_cmpuint (count_events_of ("each-", &n_files, &longest), ==, 3);
  g_assert_cmpuint (n_files, ==, 3);
}

static void
test_rotate_time (void)
{
  g_autofree char *path = publishing_in_dir ("bytime.jsonl");
  guint n_files;
  gsize longest;
  GstHarness *h = publishing_play (test_element (NULL, NULL), publisher (path, "rotate-time", 300 * GST_MSECOND, NULL), NULL);
  publishing_show (h, TINY_RED, 0, 3);
  g_usleep (400 * 1000);
  publishing_show (h, TINY_RED, 3, 4);
  publishing_end_of_stream (h);
  test_harness_free (h);
  g_assert_cmpuint (count_events_of ("bytime-", &n_files, &longest), ==, 3);
  g_assert_cmpuint (n_files, ==, 1);
}

/* ---- standard output ---- */

/* Runs this program again, for the part of a test that has a standard output of its own; what that was. (transfer full) */
static char *
run_part (const char *part, GSubprocessFlags flags, char **errors)
{
  g_autoptr (GError) error = NULL;
  char *output = NULL;
  g_autofree char *self = g_file_read_link ("/proc/self/exe", &error);
  g_autoptr (GSubprocess) process = g_subprocess_new (flags | G_SUBPROCESS_FLAGS_STDERR_PIPE, &error, self, "--part", part, NULL);
  g_assert_no_error (error);
  g_assert_true (g_subprocess_communicate_utf8 (process, NULL, NULL, &output, errors, &error));
  g_assert_no_error (error);
  if (!g_subprocess_get_successful (process))
    g_error ("part %s failed: %s", part, *errors);
  return output;
}

/* Frames to standard output, to the end; returns how many were dropped. */
static guint64
part_frames (int n)
{
  GstElement *publish = gst_element_factory_make ("vigpublish", NULL);
  GstHarness *h = publishing_play (test_element (NULL, NULL), publish, NULL);
  publishing_show (h, TINY_RED, 0, n);
  publishing_end_of_stream (h);
  guint64 dropped = test_stat (publish, "dropped");
  g_assert_cmpuint (test_stat (publish, "published") + dropped, ==, n);
  test_harness_free (h);
  return dropped;
}

/* The other end has gone, which is said once and nothing else. */
static void
part_broken (void)
{
  int fds[2];
  g_assert_cmpint (pipe (fds), ==, 0);
  g_assert_cmpint (dup2 (fds[1], STDOUT_FILENO), ==, STDOUT_FILENO);
  close (fds[0]);
  close (fds[1]);
  g_assert_cmpuint (part_frames (20), ==, 20);
}

/* Nobody reads: the video goes on, and the end waits no longer than it may. */
static void
part_stuck (void)
{
  int fds[2];
  g_assert_cmpint (pipe (fds), ==, 0);
  g_assert_cmpint (dup2 (fds[1], STDOUT_FILENO), ==, STDOUT_FILENO);
  GstElement *publish = gst_element_factory_make ("vigpublish", NULL);
  g_object_set (publish, "max-queued", 20, "drain-timeout", 200 * GST_MSECOND, NULL);
  GstHarness *h = publishing_play (test_element (NULL, NULL), publish, NULL);
  publishing_show (h, TINY_RED, 0, 300);
  gint64 began = g_get_monotonic_time ();
  publishing_end_of_stream (h);
  g_assert_cmpint (g_get_monotonic_time () - began, <, 2 * G_USEC_PER_SEC);
  g_assert_cmpuint (test_stat (publish, "dropped"), >, 100);
  g_assert_cmpuint (test_stat (publish, "published"), >, 50);
  g_assert_cmpuint (test_stat (publish, "published") + test_stat (publish, "dropped"), ==, 300);
  test_harness_free (h);
}

static int
run_named_part (const char *part)
{
  const int out = dup (STDOUT_FILENO);
  g_log_set_default_handler (g_log_default_handler, NULL); /* g_test's writes to standard output */
  if (g_str_equal (part, "frames"))
    g_assert_cmpuint (part_frames (500), ==, 0);
  else if (g_str_equal (part, "broken"))
    part_broken ();
  else if (g_str_equal (part, "stuck"))
    part_stuck ();
  g_assert_cmpint (dup2 (out, STDOUT_FILENO), ==, STDOUT_FILENO);
  close (out);
  return test_run ();
}

static void
test_stdout (void)
{
  g_autofree char *path = publishing_in_dir ("stdout.jsonl"), *errors = NULL;
  g_autofree char *output = run_part ("frames", G_SUBPROCESS_FLAGS_STDOUT_PIPE, &errors);
  g_autofree char *last = g_strrstr (output, "}\n") ? g_strdup (strchr (output, '{')) : NULL; /* behind what g_test says */
  g_assert_nonnull (last);
  g_strrstr (last, "}\n")[2] = '\0';
  g_assert_true (g_file_set_contents (path, last, -1, NULL));
  g_autoptr (JsonArray) events = read_events (path);
  g_assert_cmpuint (json_array_get_length (events), ==, 500);
  g_assert_cmpint (json_object_get_int_member (event (events, 499), "sequence"), ==, 499);
}

static void
test_stdout_broken (void)
{
  g_autofree char *errors = NULL;
  g_free (run_part ("broken", G_SUBPROCESS_FLAGS_STDOUT_SILENCE, &errors));
}

static void
test_stdout_stuck (void)
{
  g_autofree char *errors = NULL;
  g_free (run_part ("stuck", G_SUBPROCESS_FLAGS_STDOUT_SILENCE, &errors));
}

/* ---- what cannot be written ---- */

/* A disk that is full: the video goes on, results are dropped and counted, and it is said. */
static void
test_full_disk (void)
{
  GstElement *publish = gst_element_factory_make ("vigpublish", NULL);
  gst_util_set_object_arg (G_OBJECT (publish), "sink", "file");
  g_object_set (publish, "location", "/dev/full", "max-queued", 10, "drain-timeout", 100 * GST_MSECOND, NULL);
  GstHarness *h = publishing_play (test_element (NULL, NULL), publish, NULL);
  publishing_show (h, TINY_RED, 0, 50);
  publishing_expect_warning (test_bus (h), "No space left on device");
  publishing_expect_warning (test_bus (h), "more wait to be published than may");
  publishing_end_of_stream (h);
  publishing_expect_warning (test_bus (h), "10 results were not published");
  publishing_expect_no_warning (test_bus (h));
  g_assert_cmpuint (test_stat (publish, "dropped"), ==, 50);
  g_assert_cmpuint (test_stat (publish, "published"), ==, 0);
  test_harness_free (h);
}

/* A pipe that is read only later, and by two readers one after the other. */
static void
test_named_pipe (void)
{
  g_autofree char *path = publishing_in_dir ("pipe");
  char text[65536];
  GstElement *publish = publisher (path, "reconnect-delay", 5 * GST_MSECOND, "max-reconnect-delay", 5 * GST_MSECOND, NULL);
  g_assert_cmpint (mkfifo (path, 0600), ==, 0);
  GstHarness *h = publishing_play (test_element (NULL, NULL), publish, NULL);
  publishing_show (h, TINY_RED, 0, 3);
  publishing_expect_warning (test_bus (h), "a pipe that nobody reads");
  for (int reader = 0; reader < 2; reader++) {
    FILE *f = fopen (path, "r");
    publishing_show (h, TINY_RED, 3 + reader, 4 + reader);
    for (int i = reader ? 4 : 0; i < 4 + reader; i++) {
      g_autofree char *sequence = g_strdup_printf ("\"sequence\":%d,", i);
      g_assert_nonnull (fgets (text, sizeof text, f));
      g_assert_nonnull (strstr (text, sequence));
    }
    fclose (f);
  }
  test_harness_free (h);
}

/* While nothing can be written nothing is lost as long as it fits, and the order is kept. */
static void
test_block (void)
{
  g_autofree char *path = publishing_in_dir ("block");
  char text[65536];
  GstElement *publish = publisher (path, "reconnect-delay", 5 * GST_MSECOND, "when-full", TRUE /* block */, "max-queued", 5, NULL);
  g_assert_cmpint (mkfifo (path, 0600), ==, 0);
  GstHarness *h = publishing_play (test_element (NULL, NULL), publish, NULL);
  g_assert_cmpint (gst_harness_push (h, test_frame (PUBLISHING_CAPS, TINY_RED, 0)), ==, GST_FLOW_OK);
  for (int i = 1; i < 7; i++) /* five that wait, and those that vigclassify holds: one waits here, the other behind it */
    g_assert_cmpint (gst_harness_push (h, test_frame (PUBLISHING_CAPS, TINY_RED, i)), ==, GST_FLOW_OK);
  g_usleep (50 * 1000);
  g_assert_cmpuint (test_stat (publish, "queued"), ==, 5);
  g_assert_cmpuint (gst_harness_buffers_received (h), ==, 5);
  FILE *f = fopen (path, "r");
  for (int i = 0; i < 7; i++) {
    g_autofree char *sequence = g_strdup_printf ("\"sequence\":%d,", i);
    g_assert_nonnull (fgets (text, sizeof text, f));
    g_assert_nonnull (strstr (text, sequence));
  }
  publishing_end_of_stream (h);
  g_assert_cmpuint (test_stat (publish, "dropped"), ==, 0);
  g_assert_cmpuint (test_stat (publish, "published"), ==, 7);
  fclose (f);
  test_harness_free (h);
}

static gpointer
push_frames (gpointer data)
{
  GstHarness *h = data;
  for (int i = 0; i < 20; i++)
    if (gst_harness_push (h, test_frame (PUBLISHING_CAPS, TINY_RED, i)) != GST_FLOW_OK)
      return GINT_TO_POINTER (1);
  return NULL;
}

/* One that waits for room goes on at a flush, and at the end of the element. */
static void
test_block_ends (void)
{
  g_autofree char *path = publishing_in_dir ("block-ends");
  g_assert_cmpint (mkfifo (path, 0600), ==, 0);
  for (int flush = 0; flush < 2; flush++) {
    GstElement *publish = publisher ("", "location", path, "when-full", TRUE, "max-queued", 2, NULL);
    GstHarness *h = publishing_play (test_element (NULL, NULL), publish, NULL);
    GThread *thread = g_thread_new ("push", push_frames, h);
    while (test_stat (publish, "queued") < 2)
      g_usleep (1000);
    gint64 began = g_get_monotonic_time ();
    if (flush)
      test_happen (h, PUBLISHING_CAPS, "flush");
    else
      gst_element_set_state (h->element, GST_STATE_NULL);
    if (!flush)
      g_assert_nonnull (g_thread_join (thread));
    if (flush) {
      gst_element_set_state (h->element, GST_STATE_NULL);
      g_thread_join (thread);
    }
    g_assert_cmpint (g_get_monotonic_time () - began, <, 2 * G_USEC_PER_SEC);
    publishing_expect_warning (test_bus (h), "a pipe that nobody reads");
    test_harness_free (h);
  }
}

/* ---- properties that are wrong ---- */

static void
test_wrong_properties (void)
{
  g_autofree char *text = publishing_in_dir ("text.txt"), *missing = publishing_in_dir ("missing/x.jsonl"), *video = publishing_in_dir ("video.mp4");
  g_autofree char *no_pem = g_strdup_printf ("sink=mqtt address=localhost topic=t tls=true ca-file=\"%s\"", text);
  g_autofree char *pem = publishing_in_dir ("pem.txt");
  g_autofree char *pem_of_nothing = g_strdup_printf ("sink=kafka address=localhost topic=t tls=true ca-file=\"%s\"", pem);
  g_autofree char *broken_ca = g_strdup_printf ("sink=mqtt address=localhost topic=t tls=true ca-file=\"%s\"", pem);
  g_autofree char *broken_cert = g_strdup_printf ("sink=mqtt address=localhost topic=t tls=true cert-file=\"%s\" key-file=\"%s\"", pem, pem);
  g_autofree char *said_of_ca = g_strdup_printf ("ca-file: %s: expected certificates in PEM format", pem);
  g_autofree char *said_of_cert = g_strdup_printf ("cert-file: %s: expected a certificate in PEM format", pem);
  g_autofree char *into_missing = g_strdup_printf ("sink=file location=\"%s\"", missing);
  g_autofree char *over_other = g_strdup_printf ("sink=file location=\"%s\"", video);
  g_autofree char *into_dir = g_strdup_printf ("sink=file location=\"%s\"", test_dir ());
  const struct { const char *properties; int code; const char *part; } wrong[] = {
    { "sink=file", GST_RESOURCE_ERROR_SETTINGS, "location: expected the path of a file, found none" },
    { into_dir, GST_RESOURCE_ERROR_SETTINGS, "found a folder" },
    { into_missing, GST_RESOURCE_ERROR_OPEN_WRITE, "No such file or directory" },
    { over_other, GST_RESOURCE_ERROR_OPEN_WRITE, "a file of something else" },
    { "sink=file location=/proc/x.jsonl", GST_RESOURCE_ERROR_OPEN_WRITE, "/proc/x.jsonl" },
    { "location=x.jsonl", GST_RESOURCE_ERROR_SETTINGS, "location is set: expected sink=file, found sink=stdout" },
    { "sink=file location=x rotate-size=1 topic=a", GST_RESOURCE_ERROR_SETTINGS, "topic is set" },
    { "sink=mqtt topic=t", GST_RESOURCE_ERROR_SETTINGS, "address: expected" },
    { "sink=mqtt address=localhost", GST_RESOURCE_ERROR_SETTINGS, "topic: expected" },
    { "sink=mqtt address=localhost topic=t ca-file=x", GST_RESOURCE_ERROR_SETTINGS, "expected tls=true" },
    { "sink=mqtt address=localhost topic=t tls=true ca-file=/nowhere/ca.pem", GST_RESOURCE_ERROR_OPEN_READ, "/nowhere/ca.pem" },
    { no_pem, GST_RESOURCE_ERROR_SETTINGS, "PEM" },
    { "sink=mqtt address=localhost topic=t username=u password-file=/nowhere", GST_RESOURCE_ERROR_OPEN_READ, "/nowhere" },
    { "sink=mqtt address=localhost topic=t password=p", GST_RESOURCE_ERROR_SETTINGS, "expected a username" },
#ifdef HAVE_MQTT
    { "sink=mqtt address=localhost:99999 topic=t", GST_RESOURCE_ERROR_SETTINGS, "address: expected HOST or HOST:PORT, found localhost:99999" },
    { "sink=mqtt address=mqtt://localhost topic=t", GST_RESOURCE_ERROR_SETTINGS, "address: expected" },
    { "sink=mqtt address=a,b topic=t", GST_RESOURCE_ERROR_SETTINGS, "address: expected" },
    { broken_ca, GST_RESOURCE_ERROR_SETTINGS, said_of_ca },
    { broken_cert, GST_RESOURCE_ERROR_SETTINGS, said_of_cert },
    { "sink=mqtt address=localhost topic=a/+/b", GST_RESOURCE_ERROR_SETTINGS, "topic: expected one without" },
#else
    { "sink=mqtt address=localhost topic=t", GST_RESOURCE_ERROR_NOT_FOUND, "without libmosquitto" },
#endif
#ifdef HAVE_KAFKA
    { "sink=kafka address=localhost:0 topic=t", GST_RESOURCE_ERROR_SETTINGS, "address: expected HOST or HOST:PORT" },
    { "sink=kafka address=localhost topic=a/b", GST_RESOURCE_ERROR_SETTINGS, "topic: expected at most 249 letters" },
    { "sink=kafka address=localhost topic=t kafka-options=compression.codec", GST_RESOURCE_ERROR_SETTINGS, "expected NAME=VALUE" },
    { "sink=kafka address=localhost topic=t kafka-options=no.such=1", GST_RESOURCE_ERROR_SETTINGS, "no.such" },
    { pem_of_nothing, GST_RESOURCE_ERROR_SETTINGS, "ca-file, cert-file, key-file: no Kafka producer can be made" },
#else
    { "sink=kafka address=localhost topic=t", GST_RESOURCE_ERROR_NOT_FOUND, "without librdkafka" },
#endif
    { "sink=kafka address=localhost topic=t retain=true", GST_RESOURCE_ERROR_SETTINGS, "retain is set" },
    { "sink=mqtt address=localhost topic=t kafka-options=a=b", GST_RESOURCE_ERROR_SETTINGS, "kafka-options is set" },
  };
  g_assert_true (g_file_set_contents (text, "no certificate\n", -1, NULL));
  g_assert_true (g_file_set_contents (pem, "-----BEGIN CERTIFICATE-----\nnothing\n", -1, NULL));
  g_assert_true (g_file_set_contents (video, "ftypisom", -1, NULL));
  for (guint i = 0; i < G_N_ELEMENTS (wrong); i++) {
    g_autofree char *line = g_strconcat ("vigpublish ", wrong[i].properties, NULL);
    g_autoptr (GError) error = NULL;
    g_autoptr (GstBus) bus = gst_bus_new ();
    GstElement *element = gst_parse_launch (line, &error);
    g_assert_no_error (error);
    gst_element_set_bus (element, bus);
    g_assert_cmpint (gst_element_set_state (element, GST_STATE_PAUSED), ==, GST_STATE_CHANGE_FAILURE);
    test_expect_error (bus, GST_RESOURCE_ERROR, wrong[i].code, wrong[i].part);
    test_expect_no_error (bus);
    gst_element_set_state (element, GST_STATE_NULL);
    gst_element_set_bus (element, NULL);
    gst_object_unref (element);
  }
  g_autofree char *content = NULL;
  g_assert_true (g_file_get_contents (video, &content, NULL, NULL));
  g_assert_cmpstr (content, ==, "ftypisom");
}

/* Two that would write to one file. */
static void
test_file_taken (void)
{
  g_autofree char *path = publishing_in_dir ("taken.jsonl");
  g_autoptr (GstBus) bus = gst_bus_new ();
  GstHarness *h = publishing_play (publisher (path, NULL), NULL);
  GstElement *second = gst_element_factory_make ("vigpublish", NULL);
  gst_util_set_object_arg (G_OBJECT (second), "sink", "file");
  g_object_set (second, "location", path, NULL);
  gst_element_set_bus (second, bus);
  g_assert_cmpint (gst_element_set_state (second, GST_STATE_PAUSED), ==, GST_STATE_CHANGE_FAILURE);
  test_expect_error (bus, GST_RESOURCE_ERROR, GST_RESOURCE_ERROR_OPEN_WRITE, "another one writes to it");
  gst_element_set_state (second, GST_STATE_NULL);
  gst_element_set_bus (second, NULL);
  gst_object_unref (second);
  test_harness_free (h);
}

/* The password cannot be read back, so that no dump of the pipeline shows it. */
static void
test_password (void)
{
  g_autoptr (GstElement) element = gst_object_ref_sink (gst_element_factory_make ("vigpublish", NULL));
  GParamSpec *spec = g_object_class_find_property (G_OBJECT_GET_CLASS (element), "password");
  g_assert_true (spec->flags & G_PARAM_WRITABLE);
  g_assert_false (spec->flags & G_PARAM_READABLE);
}

int
main (int argc, char **argv)
{
  const char *part = argc == 3 && g_str_equal (argv[1], "--part") ? argv[2] : NULL;
  if (part)
    argc = 1;
  test_init (&argc, &argv);
  if (part)
    return run_named_part (part);
  g_test_add_func ("/publish/every-result", test_every_result);
  g_test_add_func ("/publish/untouched", test_untouched);
  g_test_add_func ("/publish/held", test_held);
  g_test_add_func ("/publish/changes", test_changes);
  g_test_add_func ("/publish/in-series", test_in_series);
  g_test_add_func ("/publish/utc", test_utc);
  g_test_add_func ("/publish/times", test_times);
  g_test_add_func ("/publish/clips", test_clips);
  g_test_add_func ("/publish/regions", test_regions);
  g_test_add_func ("/publish/segments", test_segments);
  g_test_add_func ("/publish/goes-on", test_goes_on);
  g_test_add_func ("/publish/rotate-size", test_rotate_size);
  g_test_add_func ("/publish/rotate-each", test_rotate_each);
  g_test_add_func ("/publish/rotate-time", test_rotate_time);
  g_test_add_func ("/publish/stdout", test_stdout);
  g_test_add_func ("/publish/stdout-broken", test_stdout_broken);
  g_test_add_func ("/publish/stdout-stuck", test_stdout_stuck);
  g_test_add_func ("/publish/full-disk", test_full_disk);
  g_test_add_func ("/publish/named-pipe", test_named_pipe);
  g_test_add_func ("/publish/block", test_block);
  g_test_add_func ("/publish/block-ends", test_block_ends);
  g_test_add_func ("/publish/wrong-properties", test_wrong_properties);
  g_test_add_func ("/publish/file-taken", test_file_taken);
  g_test_add_func ("/publish/password", test_password);
  return test_run ();
}
