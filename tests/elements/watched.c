/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "watched.h"

#include "common.h"

void
watched_init (int *argc, char ***argv)
{
  g_setenv ("GST_TRACERS", "leaks(log-leaks-on-deinit=false)", TRUE);
  test_init (argc, argv);
}

GstElement *
launch (const char *format, ...)
{
  va_list args;
  va_start (args, format);
  g_autofree char *description = g_strdup_vprintf (format, args);
  va_end (args);
  g_autoptr (GError) error = NULL;
  GstElement *pipeline = gst_parse_launch (description, &error);
  g_assert_no_error (error);
  return pipeline;
}

void
expect_end (GstElement *pipeline, GstMessageType expected)
{
  g_autoptr (GstBus) bus = gst_element_get_bus (pipeline);
  g_autoptr (GstMessage) message = gst_bus_timed_pop_filtered (bus, 60 * GST_SECOND,
      GST_MESSAGE_EOS | GST_MESSAGE_ERROR);
  g_assert_nonnull (message);
  if (GST_MESSAGE_TYPE (message) == GST_MESSAGE_ERROR && expected != GST_MESSAGE_ERROR) {
    g_autoptr (GError) error = NULL;
    g_autofree char *debug = NULL;
    gst_message_parse_error (message, &error, &debug);
    g_error ("%s: %s (%s)", GST_MESSAGE_SRC_NAME (message), error->message, debug);
  }
  g_assert_cmpint (GST_MESSAGE_TYPE (message), ==, expected);
}

void
close_pipeline (GstElement *pipeline)
{
  gst_element_set_state (pipeline, GST_STATE_NULL);
  gst_object_unref (pipeline);
}

/* The tracer gives references away that are not its own, so the structure is kept and never freed. */
const GValue *
live_objects (void)
{
  static GPtrArray *kept;
  if (!kept)
    kept = g_ptr_array_new ();
  g_autolist (GstTracer) tracers = gst_tracing_get_active_tracers ();
  g_assert_cmpuint (g_list_length (tracers), ==, 1);
  GstStructure *info = NULL;
  g_signal_emit_by_name (tracers->data, "get-live-objects", &info);
  g_assert_nonnull (info);
  g_ptr_array_add (kept, info);
  return gst_structure_get_value (info, "live-objects-list");
}

/* Threads that have just been stopped hold their task for a moment more; the tracer takes references to all that is alive,
 * also (a critical warning) to what such a thread is disposing of: so not at once. */
void
expect_no_leaks (void)
{
  g_usleep (50000);
  const GValue *list = live_objects ();
  for (int i = 0; i < 100 && gst_value_list_get_size (list) > 0; i++) {
    g_usleep (20000);
    list = live_objects ();
  }
  for (guint i = 0; i < gst_value_list_get_size (list); i++) {
    g_autofree char *s = gst_structure_to_string (gst_value_get_structure (gst_value_list_get_value (list, i)));
    g_test_message ("alive: %s", s);
  }
  g_assert_cmpuint (gst_value_list_get_size (list), ==, 0);
}
