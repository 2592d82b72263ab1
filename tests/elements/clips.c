/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Answers over time: which modes a model can do, what an answer is of, and what ends it. */
#include "common.h"

#define CAPS "video/x-raw,format=RGB,width=48,height=48,framerate=25/1"

/* (transfer full): a model that takes windows of frames, or has a memory */
static char *
model_over_time (TinyKind kind)
{
  char *path = g_build_filename (test_dir (), kind == TINY_JOINT ? "joint.safetensors" : "stream.safetensors", NULL);
  if (!g_file_test (path, G_FILE_TEST_EXISTS))
    tiny_model_write_over_time (path, kind);
  return path;
}

/* ---- modes and models ---- */

/* The error names the modes that the model can do. */
static void
expect_refusal (const char *model, const char *mode, const char *part)
{
  GstElement *element = gst_object_ref_sink (test_element ("model-file", model, NULL));
  g_autoptr (GstBus) bus = gst_bus_new ();
  gst_element_set_bus (element, bus);
  gst_util_set_object_arg (G_OBJECT (element), "clip-mode", mode);
  g_assert_cmpint (gst_element_set_state (element, GST_STATE_READY), ==, GST_STATE_CHANGE_FAILURE);
  test_expect_error (bus, GST_RESOURCE_ERROR, GST_RESOURCE_ERROR_SETTINGS, part);
  gst_element_set_state (element, GST_STATE_NULL);
  gst_element_set_bus (element, NULL);
  gst_object_unref (element);
}

static void
test_refused_modes (void)
{
  g_autofree char *joint = model_over_time (TINY_JOINT), *stream = model_over_time (TINY_STREAM);
  expect_refusal (test_model (), "stream", "the model \"tiny-colours\" can do (none), found stream");
  expect_refusal (test_model (), "joint", "the model \"tiny-colours\" can do (none), found joint");
  expect_refusal (joint, "mean", "the model \"tiny-joint\" can do (none), found mean");
  expect_refusal (stream, "ema", "the model \"tiny-stream\" can do (none), found ema");
}

int
main (int argc, char **argv)
{
  test_init (&argc, &argv);
  g_test_add_func ("/clips/refused-modes", test_refused_modes);
  return test_run ();
}
