/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Every element of the plugin through all orders of states, alone and between others, with a model and without, many
 * times: no state change may hang, leave a message unsaid or an element alive. */
#include "common.h"

/* All that the plugin is to have: one that is missing here, or there, is a failure. */
static const char *const elements[] = { "vigclassify", "vigoverlay", "vigpublish", NULL };

static const GstState states[] = { GST_STATE_NULL, GST_STATE_READY, GST_STATE_PAUSED, GST_STATE_PLAYING };
enum { N_STATES = G_N_ELEMENTS (states), LENGTH = 4, ORDERS = N_STATES * N_STATES * N_STATES * N_STATES };

/* State @i of order @order: all sequences of LENGTH states, repetitions included. */
static GstState
state_of (guint order, guint i)
{
  while (i--)
    order /= N_STATES;
  return states[order % N_STATES];
}

static gboolean
has_property (gpointer object, const char *name)
{
  return g_object_class_find_property (G_OBJECT_GET_CLASS (object), name) != NULL;
}

static GstElement *
make (const char *factory, gboolean with_model)
{
  GstElement *element = gst_element_factory_make (factory, NULL);
  g_assert_nonnull (element);
  if (has_property (element, "threads"))
    g_object_set (element, "threads", 1, "device", "cpu", NULL);
  if (with_model && has_property (element, "model-file"))
    g_object_set (element, "model-file", test_model (), NULL);
  return element;
}

/* Whether it cannot leave NULL: it needs a model and has none. */
static gboolean
is_stuck (GstElement *element)
{
  g_autofree char *model = NULL;
  if (has_property (element, "model-file"))
    g_object_get (element, "model-file", &model, NULL);
  return has_property (element, "model-file") && !model;
}

static guint
count_errors (GstBus *bus)
{
  guint n = 0;
  GstMessage *message;
  while ((message = gst_bus_pop (bus))) {
    n += GST_MESSAGE_TYPE (message) == GST_MESSAGE_ERROR;
    gst_message_unref (message);
  }
  return n;
}

/* Alone: a state is reached at once, or not at all and then with one error message that says why. */
static void
change (GstElement *element, GstBus *bus, GstState state)
{
  gboolean fails = is_stuck (element) && state != GST_STATE_NULL;
  g_assert_cmpint (gst_element_set_state (element, state), ==,
      fails ? GST_STATE_CHANGE_FAILURE : GST_STATE_CHANGE_SUCCESS);
  g_assert_cmpint (GST_STATE (element), ==, fails ? GST_STATE_NULL : state);
  g_assert_cmpuint (count_errors (bus), ==, fails ? 1 : 0);
}

static void
end (GstElement *element, GstBus *bus)
{
  gpointer alive = element;
  g_object_add_weak_pointer (G_OBJECT (element), &alive);
  g_assert_cmpint (gst_element_set_state (element, GST_STATE_NULL), ==, GST_STATE_CHANGE_SUCCESS);
  g_assert_cmpuint (count_errors (bus), ==, 0); /* and no message holds it */
  gst_element_set_bus (element, NULL);
  g_assert_cmpint (GST_OBJECT_REFCOUNT (element), ==, 1);
  gst_object_unref (element);
  g_assert_null (alive);
}

static void
test_alone (gconstpointer factory)
{
  for (int with_model = 0; with_model < 2; with_model++) {
    g_autoptr (GstBus) bus = gst_bus_new ();
    GstElement *element = gst_object_ref_sink (make (factory, with_model));
    gst_element_set_bus (element, bus);
    for (guint order = 0; order < ORDERS; order++)
      for (guint i = 0; i < LENGTH; i++)
        change (element, bus, state_of (order, i));
    end (element, bus);
  }
}

/* A new element for each order, which ends where the order ends. */
static void
test_anew (gconstpointer factory)
{
  for (int with_model = 0; with_model < 2; with_model++)
    for (guint order = 0; order < ORDERS; order++) {
      g_autoptr (GstBus) bus = gst_bus_new ();
      GstElement *element = gst_object_ref_sink (make (factory, with_model));
      gst_element_set_bus (element, bus);
      for (guint i = 0; i < LENGTH; i++)
        change (element, bus, state_of (order, i));
      end (element, bus);
    }
}

/* Waits until the state is reached, or does not, by turns. */
static void
change_pipeline (GstElement *pipeline, GstState state, gboolean stuck, gboolean wait)
{
  gboolean fails = stuck && state != GST_STATE_NULL;
  GstStateChangeReturn ret = gst_element_set_state (pipeline, state);
  if (fails)
    g_assert_cmpint (ret, ==, GST_STATE_CHANGE_FAILURE);
  else
    g_assert_cmpint (ret, !=, GST_STATE_CHANGE_FAILURE);
  if (wait && !fails) {
    g_assert_cmpint (gst_element_get_state (pipeline, NULL, NULL, 60 * GST_SECOND), ==, GST_STATE_CHANGE_SUCCESS);
    g_assert_cmpint (GST_STATE (pipeline), ==, state);
  }
}

/* With frames on their way. */
static void
test_playing (gconstpointer factory)
{
  for (int with_model = 0; with_model < 2; with_model++)
    for (int wait = 0; wait < 2; wait++) {
      GstElement *pipeline = gst_pipeline_new (NULL), *source = gst_element_factory_make ("videotestsrc", NULL),
        *filter = gst_element_factory_make ("capsfilter", NULL), *element = make (factory, with_model),
        *sink = gst_element_factory_make ("fakesink", NULL);
      g_autoptr (GstCaps) caps = gst_caps_from_string ("video/x-raw,width=32,height=32,framerate=1000/1");
      g_object_set (filter, "caps", caps, NULL);
      g_object_set (sink, "sync", TRUE, NULL);
      gst_bin_add_many (GST_BIN (pipeline), source, filter, element, sink, NULL);
      g_assert_true (gst_element_link_many (source, filter, element, sink, NULL));
      gst_object_ref_sink (pipeline);
      gboolean stuck = is_stuck (element);
      for (guint order = 0; order < ORDERS; order++)
        for (guint i = 0; i < LENGTH; i++)
          change_pipeline (pipeline, state_of (order, i), stuck, wait);
      g_autoptr (GstBus) bus = gst_element_get_bus (pipeline);
      g_assert_cmpint (count_errors (bus) > 0, ==, stuck);
      gpointer alive = element;
      g_object_add_weak_pointer (G_OBJECT (element), &alive);
      gst_element_set_state (pipeline, GST_STATE_NULL);
      gst_object_unref (pipeline);
      /* a thread of GStreamer's that was taking the bin to a state holds it until it sees that nobody wants that any more */
      for (guint ms = 0; ms < 10000 && g_atomic_pointer_get (&alive); ms++)
        g_usleep (1000);
      g_assert_null (g_atomic_pointer_get (&alive));
    }
}

/* What the plugin has, by its registry, is what is tested here; and GStreamer's own program of this kind finds it by
 * this source. */
static void
test_all_seen (void)
{
  g_autoptr (GstPlugin) plugin = gst_registry_find_plugin (gst_registry_get (), "vig");
  g_assert_cmpstr (gst_plugin_get_source (plugin), ==, "gst-vig");
  GList *features = gst_registry_get_feature_list_by_plugin (gst_registry_get (), "vig");
  guint n = 0;
  for (GList *l = features; l; l = l->next) {
    if (!GST_IS_ELEMENT_FACTORY (l->data))
      continue;
    if (!g_strv_contains (elements, GST_OBJECT_NAME (l->data)))
      g_error ("%s is in the plugin, but not in the list of this test", GST_OBJECT_NAME (l->data));
    n++;
  }
  g_assert_cmpuint (n, ==, g_strv_length ((char **) elements));
  gst_plugin_feature_list_free (features);
}

int
main (int argc, char **argv)
{
  test_init (&argc, &argv);
  for (int i = 0; elements[i]; i++) {
    const struct { const char *name; GTestDataFunc test; } tests[] = { { "alone", test_alone }, { "anew", test_anew },
      { "playing", test_playing } };
    for (guint t = 0; t < G_N_ELEMENTS (tests); t++) {
      g_autofree char *path = g_strdup_printf ("/states/%s/%s", elements[i], tests[t].name);
      g_test_add_data_func (path, elements[i], tests[t].test);
    }
  }
  g_test_add_func ("/states/all-seen", test_all_seen);
  return test_run ();
}
