/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "publishing.h"

GstHarness *
publishing_play (GstElement *first, ...)
{
  va_list args;
  GstElement *bin = gst_bin_new (NULL), *last = NULL;
  g_autoptr (GstBus) bus = gst_bus_new ();
  gst_element_set_bus (bin, bus);
  va_start (args, first);
  for (GstElement *e = first; e; e = va_arg (args, GstElement *)) {
    g_assert_true (gst_bin_add (GST_BIN (bin), e));
    g_assert_true (!last || gst_element_link (last, e));
    last = e;
  }
  va_end (args);
  g_autoptr (GstPad) sink = gst_element_get_static_pad (first, "sink"), src = gst_element_get_static_pad (last, "src");
  gst_element_add_pad (bin, gst_ghost_pad_new ("sink", sink));
  gst_element_add_pad (bin, gst_ghost_pad_new ("src", src));
  GstHarness *h = gst_harness_new_with_element (bin, "sink", "src");
  gst_object_unref (bin);
  gst_harness_set_src_caps_str (h, PUBLISHING_CAPS);
  return h;
}

char *
publishing_in_dir (const char *name)
{
  return g_build_filename (test_dir (), name, NULL);
}

void
publishing_show (GstHarness *h, int class, int from, int to)
{
  for (int i = from; i < to; i++)
    gst_buffer_unref (test_send (h, test_frame (PUBLISHING_CAPS, class, i)));
}

void
publishing_end_of_stream (GstHarness *h)
{
  g_assert_true (gst_harness_push_event (h, gst_event_new_eos ()));
  g_autoptr (GstEvent) event = NULL;
  do {
    gst_clear_event (&event);
    event = gst_harness_pull_event (h);
    g_assert_nonnull (event);
  } while (GST_EVENT_TYPE (event) != GST_EVENT_EOS);
}

void
publishing_check_schema (const char *path)
{
  g_autofree char *output = NULL, *errors = NULL;
  g_autoptr (GError) error = NULL;
  int status;
  const char *argv[] = { VIG_PYTHON, VIG_CHECK_SCHEMA, VIG_SCHEMA, path, NULL };
  g_assert_true (g_spawn_sync (NULL, (char **) argv, NULL, 0, NULL, NULL, &output, &errors, &status, &error));
  g_assert_no_error (error);
  if (!g_spawn_check_wait_status (status, &error))
    g_error ("%s: %s%s", path, output, errors);
}

/* (transfer full): the next warning's text; NULL: none within @timeout */
static char *
next_warning (GstBus *bus, GstClockTime timeout)
{
  g_autoptr (GstMessage) message = gst_bus_timed_pop_filtered (bus, timeout, GST_MESSAGE_WARNING);
  g_autoptr (GError) error = NULL;
  if (!message)
    return NULL;
  gst_message_parse_warning (message, &error, NULL);
  return g_strdup (error->message);
}

void
publishing_expect_warning (GstBus *bus, const char *part)
{
  g_autofree char *text = next_warning (bus, 10 * GST_SECOND);
  if (!text || !strstr (text, part))
    g_error ("a warning must say \"%s\", found \"%s\"", part, text);
}

void
publishing_expect_no_warning (GstBus *bus)
{
  g_autofree char *text = next_warning (bus, 0);
  g_assert_cmpstr (text, ==, NULL);
}
