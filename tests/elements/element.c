/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The element as a whole: what it is called, its properties, its states, and what it says when it cannot start. */
#include <glib/gstdio.h>
#include <unistd.h>

#include "common.h"

#define CAPS "video/x-raw,format=RGB,width=32,height=32,framerate=25/1"

static void
test_registered (void)
{
  g_autoptr (GstElementFactory) factory = gst_element_factory_find ("vigclassify");
  g_assert_nonnull (factory);
  g_assert_cmpstr (gst_element_factory_get_metadata (factory, GST_ELEMENT_METADATA_KLASS), ==,
      "Filter/Analyzer/Video");
  g_assert_cmpuint (gst_element_factory_get_num_pad_templates (factory), ==, 2);
  g_autoptr (GstPlugin) plugin = gst_plugin_load_by_name ("vig");
  g_assert_cmpstr (gst_plugin_get_source (plugin), ==, "gst-vig");
}

static void
test_properties (void)
{
  const struct { const char *name; GParamFlags change; } properties[] = {
    { "model-file", GST_PARAM_MUTABLE_PLAYING }, { "labels-file", GST_PARAM_MUTABLE_PLAYING },
    { "device", GST_PARAM_MUTABLE_READY }, { "precision", GST_PARAM_MUTABLE_READY },
    { "threads", GST_PARAM_MUTABLE_READY }, { "parallel-batches", GST_PARAM_MUTABLE_READY }, { "top-k", GST_PARAM_MUTABLE_PLAYING },
    { "threshold", GST_PARAM_MUTABLE_PLAYING }, { "interval", GST_PARAM_MUTABLE_PLAYING },
    { "hold-result", GST_PARAM_MUTABLE_PLAYING }, { "hold-max", GST_PARAM_MUTABLE_PLAYING },
    { "input-size", GST_PARAM_MUTABLE_PLAYING }, { "post-messages", GST_PARAM_MUTABLE_PLAYING },
    { "orientation", GST_PARAM_MUTABLE_PLAYING }, { "share", GST_PARAM_MUTABLE_READY },
    { "max-batch", GST_PARAM_MUTABLE_READY }, { "batch-delay", GST_PARAM_MUTABLE_READY },
    { "max-in-flight", GST_PARAM_MUTABLE_READY }, { "stats", 0 },
  };
  g_autoptr (GstElement) element = gst_object_ref_sink (test_element (NULL));
  GObjectClass *class = G_OBJECT_GET_CLASS (element);
  for (guint i = 0; i < G_N_ELEMENTS (properties); i++) {
    GParamSpec *p = g_object_class_find_property (class, properties[i].name);
    g_assert_nonnull (p);
    g_assert_cmpuint (p->flags & properties[i].change, ==, properties[i].change);
    g_assert_cmpuint (strlen (g_param_spec_get_blurb (p)), >, 10);
    if (properties[i].change == 0) {
      g_assert_false (p->flags & G_PARAM_WRITABLE);
      continue;
    }
    /* what is set is what is got */
    g_auto (GValue) value = G_VALUE_INIT;
    g_value_init (&value, p->value_type);
    g_param_value_set_default (p, &value);
    if (G_VALUE_HOLDS_UINT (&value))
      g_value_set_uint (&value, 7);
    else if (G_VALUE_HOLDS_STRING (&value))
      g_value_set_static_string (&value, "something");
    g_object_set_property (G_OBJECT (element), p->name, &value);
    g_auto (GValue) back = G_VALUE_INIT;
    g_value_init (&back, p->value_type);
    g_object_get_property (G_OBJECT (element), p->name, &back);
    g_assert_cmpint (g_param_values_cmp (p, &value, &back), ==, 0);
  }
}

/* An element that cannot start says why, once, and comes up after the property has been put right. */
static void
expect_failure (GstElement *element, int code, const char *part)
{
  g_autoptr (GstBus) bus = gst_bus_new ();
  gst_element_set_bus (element, bus);
  g_assert_cmpint (gst_element_set_state (element, GST_STATE_READY), ==, GST_STATE_CHANGE_FAILURE);
  test_expect_error (bus, GST_RESOURCE_ERROR, code, part);
  test_expect_no_error (bus);
  gst_element_set_state (element, GST_STATE_NULL);

  g_object_set (element, "model-file", test_model (), "labels-file", NULL, "device", "cpu", "input-size", 0, NULL);
  g_assert_cmpint (gst_element_set_state (element, GST_STATE_PLAYING), ==, GST_STATE_CHANGE_SUCCESS);
  test_expect_no_error (bus);
  gst_element_set_state (element, GST_STATE_NULL);
  gst_element_set_bus (element, NULL);
  gst_object_unref (element);
}

static void
test_no_model (void)
{
  expect_failure (gst_object_ref_sink (test_element ("model-file", NULL, NULL)), GST_RESOURCE_ERROR_SETTINGS,
      "model-file");
}

static void
test_missing_model (void)
{
  expect_failure (gst_object_ref_sink (test_element ("model-file", "/nowhere/no.safetensors", NULL)),
      GST_RESOURCE_ERROR_OPEN_READ, "/nowhere/no.safetensors");
}

static char *
write_file (const char *name, const char *data, gssize size)
{
  char *path = g_build_filename (test_dir (), name, NULL);
  g_assert_true (g_file_set_contents (path, data, size, NULL));
  return path;
}

static void
test_corrupt_model (void)
{
  g_autofree char *data = NULL;
  gsize size;
  g_assert_true (g_file_get_contents (test_model (), &data, &size, NULL));
  g_autofree char *path = write_file ("truncated.safetensors", data, size / 2);
  expect_failure (gst_object_ref_sink (test_element ("model-file", path, NULL)), GST_RESOURCE_ERROR_READ,
      "truncated.safetensors");
  g_autofree char *text = write_file ("text.safetensors", "this is no model at all, but it is long enough", -1);
  expect_failure (gst_object_ref_sink (test_element ("model-file", text, NULL)), GST_RESOURCE_ERROR_READ,
      "text.safetensors");
}

static void
test_wrong_device (void)
{
  expect_failure (gst_object_ref_sink (test_element ("device", "cuda", NULL)), GST_RESOURCE_ERROR_NOT_FOUND, "cuda");
  expect_failure (gst_object_ref_sink (test_element ("device", "abacus", NULL)), GST_RESOURCE_ERROR_NOT_FOUND,
      "abacus");
}

static void
test_wrong_labels (void)
{
  g_autofree char *path = write_file ("few.txt", "one\ntwo\n", -1);
  expect_failure (gst_object_ref_sink (test_element ("labels-file", path, NULL)), GST_RESOURCE_ERROR_READ, "few.txt");
}

static void
test_wrong_size (void)
{
  expect_failure (gst_object_ref_sink (test_element ("input-size", 3, NULL)), GST_RESOURCE_ERROR_SETTINGS, "3");
}

static void
test_labels_file (void)
{
  g_autoptr (GString) text = g_string_new (NULL);
  for (int i = 0; i < TINY_CLASSES; i++)
    g_string_append_printf (text, "label %d\r\n", i);
  g_autofree char *path = write_file ("labels.txt", text->str, -1);
  GstHarness *h = test_harness (CAPS, "labels-file", path, NULL);
  gst_harness_push (h, test_picture (CAPS, TINY_RED));
  g_autoptr (GstBuffer) buffer = gst_harness_pull (h);
  g_autofree char *expected = g_strdup_printf ("label %d", TINY_RED);
  g_assert_cmpstr (test_label (buffer), ==, expected);
  test_harness_free (h);
}

/* The file may change or vanish once it is loaded. */
static void
test_model_vanishes (void)
{
  g_autofree char *data = NULL;
  gsize size;
  g_assert_true (g_file_get_contents (test_model (), &data, &size, NULL));
  g_autofree char *path = write_file ("vanishing.safetensors", data, size);
  GstHarness *h = test_harness (CAPS, "model-file", path, NULL);
  g_assert_cmpint (truncate (path, 0), ==, 0);
  g_unlink (path);
  test_expect_class (h, CAPS, TINY_GREEN, 0.9);
  test_harness_free (h);
}

/* A model set in READY is there in PAUSED. */
static void
test_model_set_in_ready (void)
{
  g_autofree char *path = write_file ("other.txt", "a\nb\nc\nd\ne\nf\ng\nh\ni\nj\nk\nl\n", -1);
  GstHarness *h = test_harness (CAPS, NULL);
  test_expect_class (h, CAPS, TINY_BLACK, 0.9);
  gst_element_set_state (h->element, GST_STATE_READY);
  g_object_set (h->element, "labels-file", path, NULL);
  gst_element_set_state (h->element, GST_STATE_PLAYING);
  gst_harness_push_event (h, gst_event_new_stream_start ("again"));
  gst_harness_set_src_caps_str (h, CAPS);
  gst_harness_push (h, test_picture (CAPS, TINY_BLACK));
  g_autoptr (GstBuffer) buffer = gst_harness_pull (h);
  g_assert_cmpstr (test_label (buffer), ==, "a");
  test_harness_free (h);
}

/* Every order of states, many times, with and without a model; in the end it works. */
static void
test_states (void)
{
  const GstState states[] = { GST_STATE_READY, GST_STATE_PAUSED, GST_STATE_PLAYING, GST_STATE_READY, GST_STATE_NULL,
    GST_STATE_PLAYING, GST_STATE_PAUSED, GST_STATE_NULL, GST_STATE_PAUSED, GST_STATE_READY, GST_STATE_PAUSED,
    GST_STATE_NULL };
  for (int with_model = 0; with_model < 2; with_model++) {
    GstElement *element = gst_object_ref_sink (test_element (NULL));
    if (!with_model)
      g_object_set (element, "model-file", NULL, NULL);
    for (int round = 0; round < 10; round++)
      for (guint i = 0; i < G_N_ELEMENTS (states); i++) {
        GstStateChangeReturn ret = gst_element_set_state (element, states[i]);
        if (with_model)
          g_assert_cmpint (ret, ==, GST_STATE_CHANGE_SUCCESS);
        else if (states[i] != GST_STATE_NULL)
          g_assert_cmpint (ret, ==, GST_STATE_CHANGE_FAILURE);
      }
    gst_element_set_state (element, GST_STATE_NULL);
    gst_object_unref (element);
  }
}

/* The states are gone through with a stream each time. */
static void
test_streams_in_a_row (void)
{
  for (int i = 0; i < 5; i++) {
    GstHarness *h = test_harness (CAPS, NULL);
    for (int cycle = 0; cycle < 3; cycle++) {
      test_expect_class (h, CAPS, TINY_MAGENTA, 0.9);
      g_assert_cmpuint (test_stat (h->element, "classified"), ==, 1);
      gst_element_set_state (h->element, GST_STATE_NULL);
      gst_element_set_state (h->element, GST_STATE_PLAYING);
      gst_harness_push_event (h, gst_event_new_stream_start ("again"));
      gst_harness_set_src_caps_str (h, CAPS);
    }
    test_harness_free (h);
  }
}

/* Both are made ready and taken down while a frame is on its way. */
static void
test_down_with_a_frame_in_flight (void)
{
  for (int i = 0; i < 20; i++) {
    GstHarness *h = test_harness (CAPS, NULL);
    gst_harness_push (h, test_picture (CAPS, TINY_RED));
    gst_element_set_state (h->element, GST_STATE_NULL);
    test_harness_free (h);
  }
}

int
main (int argc, char **argv)
{
  test_init (&argc, &argv);
  g_test_add_func ("/element/registered", test_registered);
  g_test_add_func ("/element/properties", test_properties);
  g_test_add_func ("/element/no-model", test_no_model);
  g_test_add_func ("/element/missing-model", test_missing_model);
  g_test_add_func ("/element/corrupt-model", test_corrupt_model);
  g_test_add_func ("/element/wrong-device", test_wrong_device);
  g_test_add_func ("/element/wrong-labels", test_wrong_labels);
  g_test_add_func ("/element/wrong-size", test_wrong_size);
  g_test_add_func ("/element/labels-file", test_labels_file);
  g_test_add_func ("/element/model-vanishes", test_model_vanishes);
  g_test_add_func ("/element/model-set-in-ready", test_model_set_in_ready);
  g_test_add_func ("/element/states", test_states);
  g_test_add_func ("/element/streams-in-a-row", test_streams_in_a_row);
  g_test_add_func ("/element/down-with-a-frame-in-flight", test_down_with_a_frame_in_flight);
  return test_run ();
}
