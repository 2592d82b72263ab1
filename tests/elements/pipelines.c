/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Real pipelines, watched by GStreamer's leaks tracer: after each one nothing of it may be left. */
#include <gst/analytics/analytics.h>
#include <gst/app/app.h>

#include "common.h"
#include "watched.h"

#define SOURCE "videotestsrc num-buffers=40 pattern=red ! video/x-raw,width=64,height=48,framerate=25/1 ! "
#define VIG "vigclassify threads=1 model-file="

/* The tracer does see what is left. */
static void
test_a_leak_shows (void)
{
  GstPad *left = gst_object_ref_sink (gst_pad_new (NULL, GST_PAD_SRC));
  g_assert_cmpuint (gst_value_list_get_size (live_objects ()), ==, 1);
  gst_object_unref (left);
  expect_no_leaks ();
}

static void
test_to_the_end (void)
{
  GstElement *pipeline = launch (SOURCE VIG "%s name=v ! fakesink", test_model ());
  gst_element_set_state (pipeline, GST_STATE_PLAYING);
  expect_end (pipeline, GST_MESSAGE_EOS);
  GstElement *v = gst_bin_get_by_name (GST_BIN (pipeline), "v");
  g_assert_cmpuint (test_stat (v, "classified"), ==, 40);
  g_assert_cmpuint (test_stat (v, "copies"), ==, 0);
  gst_object_unref (v);
  close_pipeline (pipeline);
  expect_no_leaks ();
}

/* What was seen and what is open, to the end and not. */
static void
test_clips (void)
{
  const char *modes[] = { "mean", "ema" };
  for (guint i = 0; i < 4; i++) {
    GstElement *pipeline = launch (SOURCE VIG "%s clip-mode=%s enter-threshold=0.5 ! fakesink name=f", test_model (),
        modes[i % 2]);
    gst_element_set_state (pipeline, i < 2 ? GST_STATE_PLAYING : GST_STATE_PAUSED);
    if (i < 2)
      expect_end (pipeline, GST_MESSAGE_EOS);
    else
      g_assert_cmpint (gst_element_get_state (pipeline, NULL, NULL, 30 * GST_SECOND), ==, GST_STATE_CHANGE_SUCCESS);
    close_pipeline (pipeline);
    expect_no_leaks ();
  }
}

/* Both branches get every frame, unchanged; only one has results, and no memory is copied. */
static void
test_tee (void)
{
  GstElement *pipeline = launch (SOURCE "tee name=t ! queue ! " VIG "%s name=v ! appsink name=a sync=false "
      "t. ! queue ! appsink name=b sync=false", test_model ());
  gst_element_set_state (pipeline, GST_STATE_PLAYING);
  GstElement *a = gst_bin_get_by_name (GST_BIN (pipeline), "a"), *b = gst_bin_get_by_name (GST_BIN (pipeline), "b");
  for (int i = 0; i < 40; i++) {
    g_autoptr (GstSample) with = gst_app_sink_pull_sample (GST_APP_SINK (a));
    g_autoptr (GstSample) without = gst_app_sink_pull_sample (GST_APP_SINK (b));
    g_assert_nonnull (with);
    g_assert_nonnull (without);
    GstBuffer *x = gst_sample_get_buffer (with), *y = gst_sample_get_buffer (without);
    g_assert_cmpuint (GST_BUFFER_PTS (x), ==, GST_BUFFER_PTS (y));
    g_assert_true (gst_buffer_peek_memory (x, 0) == gst_buffer_peek_memory (y, 0));
    g_assert_cmpstr (test_label (x), ==, "red");
    g_assert_cmpuint (test_n_results (y), ==, 0);
  }
  expect_end (pipeline, GST_MESSAGE_EOS);
  GstElement *v = gst_bin_get_by_name (GST_BIN (pipeline), "v");
  g_assert_cmpuint (test_stat (v, "copies"), ==, 0);
  gst_object_unref (v);
  gst_object_unref (a);
  gst_object_unref (b);
  close_pipeline (pipeline);
  expect_no_leaks ();
}

static GstPadProbeReturn
add_objects (GstPad *pad, GstPadProbeInfo *info, gpointer data)
{
  GstBuffer *buffer = info->data = gst_buffer_make_writable (GST_PAD_PROBE_INFO_BUFFER (info));
  GstAnalyticsRelationMeta *meta = gst_buffer_add_analytics_relation_meta (buffer);
  GstAnalyticsODMtd od;
  GstAnalyticsTrackingMtd tracking;
  gst_analytics_relation_meta_add_od_mtd (meta, g_quark_from_string ("box"), 2, 2, 20, 20, 1, &od);
  gst_analytics_relation_meta_add_tracking_mtd (meta, 1, 0, &tracking);
  gst_analytics_relation_meta_set_relation (meta, GST_ANALYTICS_REL_TYPE_RELATE_TO, od.id, tracking.id);
  gst_buffer_add_video_region_of_interest_meta (buffer, "door", 10, 10, 100, 100);
  return GST_PAD_PROBE_OK;
}

/* Objects on both branches of a tee, twice classified on one: no branch sees what is said on the other. */
static void
test_objects (void)
{
  GstElement *pipeline = launch (SOURCE "tee name=t ! queue ! " VIG "%s name=v regions=objects reclassify-interval=3 ! "
      VIG "%s regions=both ! appsink name=a sync=false t. ! queue ! " VIG "%s regions=objects ! appsink name=b sync=false",
      test_model (), test_model (), test_model ());
  GstElement *t = gst_bin_get_by_name (GST_BIN (pipeline), "t");
  GstPad *pad = gst_element_get_static_pad (t, "sink");
  gst_pad_add_probe (pad, GST_PAD_PROBE_TYPE_BUFFER, add_objects, NULL, NULL);
  gst_element_set_state (pipeline, GST_STATE_PLAYING);
  GstElement *a = gst_bin_get_by_name (GST_BIN (pipeline), "a"), *b = gst_bin_get_by_name (GST_BIN (pipeline), "b");
  for (int i = 0; i < 40; i++) {
    g_autoptr (GstSample) twice = gst_app_sink_pull_sample (GST_APP_SINK (a));
    g_autoptr (GstSample) once = gst_app_sink_pull_sample (GST_APP_SINK (b));
    g_assert_cmpuint (test_n_results (gst_sample_get_buffer (twice)), ==, 5);
    g_assert_cmpuint (test_n_results (gst_sample_get_buffer (once)), ==, 2);
  }
  expect_end (pipeline, GST_MESSAGE_EOS);
  GstElement *v = gst_bin_get_by_name (GST_BIN (pipeline), "v");
  g_assert_cmpuint (test_stat (v, "objects-classified"), ==, 40 + 14);
  g_assert_cmpuint (test_stat (v, "objects-held"), ==, 26);
  g_assert_cmpuint (test_stat (v, "copies"), ==, 0);
  gst_object_unref (v);
  gst_object_unref (a);
  gst_object_unref (b);
  gst_object_unref (pad);
  gst_object_unref (t);
  close_pipeline (pipeline);
  expect_no_leaks ();
}

/* Sixteen streams and one engine: nobody loses a frame, and it ends with the last of them. */
static void
test_sixteen (void)
{
  g_autoptr (GString) description = g_string_new (NULL);
  for (int i = 0; i < 16; i++)
    g_string_append_printf (description, SOURCE VIG "%s name=v%d max-in-flight=%d interval=%d ! fakesink  ", test_model (), i,
        1 + i % 5, 1 + i / 14);
  GstElement *pipeline = launch ("%s", description->str);
  gst_element_set_state (pipeline, GST_STATE_PLAYING);
  expect_end (pipeline, GST_MESSAGE_EOS);
  for (int i = 0; i < 16; i++) {
    g_autofree char *name = g_strdup_printf ("v%d", i);
    GstElement *v = gst_bin_get_by_name (GST_BIN (pipeline), name);
    g_assert_cmpuint (test_stat (v, "classified"), ==, i < 14 ? 40 : 20);
    g_assert_cmpuint (test_stat (v, "sharers"), ==, 16);
    gst_object_unref (v);
  }
  close_pipeline (pipeline);
  expect_no_leaks ();
}

static void
test_seeks (void)
{
  GstElement *pipeline = launch ("videotestsrc num-buffers=2000 ! video/x-raw,width=64,height=48 ! " VIG
      "%s ! fakesink sync=true", test_model ());
  gst_element_set_state (pipeline, GST_STATE_PAUSED);
  for (int i = 0; i < 20; i++) {
    g_assert_cmpint (gst_element_get_state (pipeline, NULL, NULL, 20 * GST_SECOND), ==, GST_STATE_CHANGE_SUCCESS);
    if (i == 10)
      gst_element_set_state (pipeline, GST_STATE_PLAYING);
    g_assert_true (gst_element_seek_simple (pipeline, GST_FORMAT_TIME, GST_SEEK_FLAG_FLUSH | GST_SEEK_FLAG_ACCURATE,
            (i * 7 % 20) * GST_SECOND));
    g_usleep (g_test_rand_int_range (0, 20000));
  }
  close_pipeline (pipeline);
  expect_no_leaks ();
}

static void
test_state_cycles (void)
{
  GstElement *pipeline = launch ("videotestsrc ! video/x-raw,width=64,height=48 ! " VIG "%s ! queue ! " VIG
      "%s interval=3 ! fakesink sync=false", test_model (), test_model ());
  const GstState states[] = { GST_STATE_PAUSED, GST_STATE_PLAYING, GST_STATE_READY, GST_STATE_PLAYING, GST_STATE_NULL,
    GST_STATE_PLAYING, GST_STATE_PAUSED, GST_STATE_READY, GST_STATE_PAUSED, GST_STATE_NULL };
  for (int round = 0; round < 6; round++)
    for (guint i = 0; i < G_N_ELEMENTS (states); i++) {
      g_assert_cmpint (gst_element_set_state (pipeline, states[i]), !=, GST_STATE_CHANGE_FAILURE);
      if (round % 2) /* odd rounds wait, even ones do not */
        g_assert_cmpint (gst_element_get_state (pipeline, NULL, NULL, 20 * GST_SECOND), ==, GST_STATE_CHANGE_SUCCESS);
      else
        g_usleep (g_test_rand_int_range (0, 5000));
    }
  close_pipeline (pipeline);
  expect_no_leaks ();
}

/* The source's caps change while it plays. */
static void
test_renegotiation (void)
{
  GstElement *pipeline = launch ("videotestsrc num-buffers=300 pattern=blue ! capsfilter name=c caps-change-mode=delayed "
      "caps=video/x-raw,width=64,height=48,format=NV12 ! " VIG "%s name=v ! fakesink sync=false", test_model ());
  GstElement *filter = gst_bin_get_by_name (GST_BIN (pipeline), "c");
  const char *caps[] = { "video/x-raw,width=32,height=32,format=RGB", "video/x-raw,width=320,height=24,format=UYVY",
    "video/x-raw,width=33,height=31,format=I420" };
  gst_element_set_state (pipeline, GST_STATE_PLAYING);
  for (int i = 0; i < 30; i++) {
    g_usleep (1000);
    gst_util_set_object_arg (G_OBJECT (filter), "caps", caps[i % 3]);
  }
  expect_end (pipeline, GST_MESSAGE_EOS);
  gst_object_unref (filter);
  close_pipeline (pipeline);
  expect_no_leaks ();
}

/* A file that stops in the middle of a picture, and one that is damaged there. */
static void
test_broken_video (void)
{
  g_autofree char *path = g_build_filename (test_dir (), "broken.avi", NULL);
  GstElement *pipeline = launch (SOURCE "jpegenc ! avimux ! filesink location=%s", path);
  gst_element_set_state (pipeline, GST_STATE_PLAYING);
  expect_end (pipeline, GST_MESSAGE_EOS);
  close_pipeline (pipeline);
  g_autofree char *data = NULL;
  gsize size;
  g_assert_true (g_file_get_contents (path, &data, &size, NULL));
  for (int damaged = 0; damaged < 2; damaged++) {
    if (damaged)
      for (gsize i = size / 2; i < size * 3 / 4; i++)
        data[i] = (char) g_test_rand_int ();
    g_assert_true (g_file_set_contents (path, data, (gssize) (damaged ? size : size / 2 + 7), NULL));
    pipeline = launch ("filesrc location=%s ! avidemux ! jpegdec max-errors=-1 ! " VIG "%s name=v ! fakesink", path,
        test_model ());
    gst_element_set_state (pipeline, GST_STATE_PLAYING);
    g_autoptr (GstBus) bus = gst_element_get_bus (pipeline);
    g_autoptr (GstMessage) message = gst_bus_timed_pop_filtered (bus, 60 * GST_SECOND,
        GST_MESSAGE_EOS | GST_MESSAGE_ERROR);
    g_assert_nonnull (message); /* either, but not for ever neither */
    GstElement *v = gst_bin_get_by_name (GST_BIN (pipeline), "v");
    g_assert_cmpuint (test_stat (v, "classified"), >, 5);
    gst_object_unref (v);
    g_clear_pointer (&message, gst_message_unref);
    g_clear_object (&bus);
    close_pipeline (pipeline);
    expect_no_leaks ();
  }
}

/* A sink that wants no more, and a source that cannot be understood: an end, not a hang. */
static void
test_early_end (void)
{
  GstElement *pipeline = launch (SOURCE VIG "%s ! identity eos-after=5 ! fakesink", test_model ());
  gst_element_set_state (pipeline, GST_STATE_PLAYING);
  expect_end (pipeline, GST_MESSAGE_EOS);
  close_pipeline (pipeline);
  expect_no_leaks ();
}

static void
test_downstream_error (void)
{
  GstElement *pipeline = launch (SOURCE VIG "%s ! identity error-after=5 ! fakesink", test_model ());
  gst_element_set_state (pipeline, GST_STATE_PLAYING);
  expect_end (pipeline, GST_MESSAGE_ERROR);
  close_pipeline (pipeline);
  expect_no_leaks ();
}

static void
test_no_model (void)
{
  GstElement *pipeline = launch (SOURCE "vigclassify ! fakesink");
  g_assert_cmpint (gst_element_set_state (pipeline, GST_STATE_PLAYING), ==, GST_STATE_CHANGE_FAILURE);
  expect_end (pipeline, GST_MESSAGE_ERROR);
  close_pipeline (pipeline);
  expect_no_leaks ();
}

static void
test_labels_change (void)
{
  GstElement *pipeline = launch (SOURCE VIG "%s name=v ! fakesink", test_model ());
  g_autoptr (GstBus) bus = gst_element_get_bus (pipeline);
  gst_element_set_state (pipeline, GST_STATE_PLAYING);
  g_autoptr (GstMessage) message = gst_bus_timed_pop_filtered (bus, 20 * GST_SECOND, GST_MESSAGE_ELEMENT);
  g_assert_nonnull (message);
  g_assert_cmpstr (gst_structure_get_string (gst_message_get_structure (message), "label"), ==, "red");
  expect_end (pipeline, GST_MESSAGE_EOS);
  g_clear_pointer (&message, gst_message_unref);
  g_clear_object (&bus);
  close_pipeline (pipeline);
  expect_no_leaks ();
}

/* A live source: no frame is late by the latency that was reported, and the pipeline's latency holds it. */
static void
test_live (void)
{
  GstElement *pipeline = launch ("videotestsrc is-live=true num-buffers=25 ! "
      "video/x-raw,width=64,height=48,framerate=25/1 ! " VIG "%s name=v ! fakesink sync=true", test_model ());
  gst_element_set_state (pipeline, GST_STATE_PLAYING);
  expect_end (pipeline, GST_MESSAGE_EOS);
  GstQuery *query = gst_query_new_latency ();
  g_assert_true (gst_element_query (pipeline, query));
  gboolean live;
  GstClockTime min;
  gst_query_parse_latency (query, &live, &min, NULL);
  gst_query_unref (query);
  GstElement *v = gst_bin_get_by_name (GST_BIN (pipeline), "v");
  g_assert_true (live);
  g_assert_cmpuint (min, >=, test_stat (v, "latency"));
  g_assert_cmpuint (test_stat (v, "classified"), ==, 25);
  gst_object_unref (v);
  close_pipeline (pipeline);
  expect_no_leaks ();
}

/* The model that ships, on what a camera shows when its signal is gone. */
static void
test_shipped_model (void)
{
  const struct { const char *pattern, *label; } patterns[] = { { "smpte", "test-pattern" }, { "snow", "snow" },
    { "black", "black" }, { "blue", "solid-colour" } };
  for (guint i = 0; i < G_N_ELEMENTS (patterns); i++) {
    GstElement *pipeline = launch ("videotestsrc num-buffers=5 pattern=%s ! video/x-raw,width=640,height=480 ! " VIG
        "%s ! appsink name=a sync=false", patterns[i].pattern, VIG_SHIPPED_MODEL);
    gst_element_set_state (pipeline, GST_STATE_PLAYING);
    GstElement *sink = gst_bin_get_by_name (GST_BIN (pipeline), "a");
    GstSample *sample;
    while ((sample = gst_app_sink_pull_sample (GST_APP_SINK (sink)))) {
      g_assert_cmpstr (test_label (gst_sample_get_buffer (sample)), ==, patterns[i].label);
      gst_sample_unref (sample);
    }
    expect_end (pipeline, GST_MESSAGE_EOS);
    gst_object_unref (sink);
    close_pipeline (pipeline);
    expect_no_leaks ();
  }
}

int
main (int argc, char **argv)
{
  watched_init (&argc, &argv);
  g_test_add_func ("/pipelines/a-leak-shows", test_a_leak_shows);
  g_test_add_func ("/pipelines/to-the-end", test_to_the_end);
  g_test_add_func ("/pipelines/clips", test_clips);
  g_test_add_func ("/pipelines/tee", test_tee);
  g_test_add_func ("/pipelines/objects", test_objects);
  g_test_add_func ("/pipelines/sixteen", test_sixteen);
  g_test_add_func ("/pipelines/seeks", test_seeks);
  g_test_add_func ("/pipelines/state-cycles", test_state_cycles);
  g_test_add_func ("/pipelines/renegotiation", test_renegotiation);
  g_test_add_func ("/pipelines/broken-video", test_broken_video);
  g_test_add_func ("/pipelines/early-end", test_early_end);
  g_test_add_func ("/pipelines/downstream-error", test_downstream_error);
  g_test_add_func ("/pipelines/no-model", test_no_model);
  g_test_add_func ("/pipelines/labels-change", test_labels_change);
  g_test_add_func ("/pipelines/shipped-model", test_shipped_model);
  g_test_add_func ("/pipelines/live", test_live);
  return test_run ();
}
