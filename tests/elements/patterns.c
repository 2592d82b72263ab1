/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What people put around a classifier: tee, queue, identity, valve, videorate, input-selector, appsink, and elements that
 * are exchanged while playing. Frames are of one plain colour, so that each says itself what its label must be. */
#include <gst/analytics/analytics.h>
#include <gst/app/app.h>

#include "common.h"
#include "watched.h"

#define VIG "vigclassify threads=1 model-file="
#define RGB "video/x-raw,format=RGB,width=32,height=32,framerate=25/1"
#define SOURCE "videotestsrc num-buffers=40 pattern=red ! " RGB " ! "

static GstElement *
get (GstElement *pipeline, const char *name)
{
  GstElement *element = gst_bin_get_by_name (GST_BIN (pipeline), name);
  g_assert_nonnull (element);
  gst_object_unref (element); /* the pipeline has it */
  return element;
}

static GstSample *
pull (GstElement *pipeline, const char *sink)
{
  return gst_app_sink_try_pull_sample (GST_APP_SINK (get (pipeline, sink)), 60 * GST_SECOND);
}

static const char *
colour_of (GstBuffer *buffer)
{
  guint8 rgb[3];
  g_assert_cmpuint (gst_buffer_extract (buffer, 0, rgb, 3), ==, 3);
  return tiny_labels[(rgb[0] > 127) << 2 | (rgb[1] > 127) << 1 | (rgb[2] > 127)];
}

/* As an application reads it that knows GstAnalytics and nothing of us; NULL: no result. */
static const char *
analytics_label (GstBuffer *buffer)
{
  GstAnalyticsRelationMeta *meta = gst_buffer_get_analytics_relation_meta (buffer);
  gpointer state = NULL;
  GstAnalyticsMtd mtd;
  if (!meta || !gst_analytics_relation_meta_iterate (meta, &state, gst_analytics_cls_mtd_get_mtd_type (), &mtd))
    return NULL;
  return g_quark_to_string (gst_analytics_cls_mtd_get_quark ((GstAnalyticsClsMtd *) &mtd, 0));
}

static void
expect_own_label (GstBuffer *buffer)
{
  g_assert_cmpuint (test_n_results (buffer), ==, 1);
  g_assert_cmpstr (test_label (buffer), ==, colour_of (buffer));
  g_assert_cmpstr (analytics_label (buffer), ==, colour_of (buffer));
}

static void
start (GstElement *pipeline)
{
  g_assert_cmpint (gst_element_set_state (pipeline, GST_STATE_PLAYING), !=, GST_STATE_CHANGE_FAILURE);
}

static void
end (GstElement *pipeline)
{
  close_pipeline (pipeline);
  expect_no_leaks ();
}

/* To the end of the stream: all frames labelled with what they show, later and later. Returns how many. */
static guint
drain (GstElement *pipeline, const char *sink)
{
  GstSample *sample;
  GstClockTime last = GST_CLOCK_TIME_NONE;
  guint n = 0;
  for (; (sample = pull (pipeline, sink)); n++) {
    GstBuffer *buffer = gst_sample_get_buffer (sample);
    expect_own_label (buffer);
    if (n > 0)
      g_assert_cmpuint (GST_BUFFER_PTS (buffer), >, last);
    last = GST_BUFFER_PTS (buffer);
    gst_sample_unref (sample);
  }
  g_assert_true (gst_app_sink_is_eos (GST_APP_SINK (get (pipeline, sink))));
  return n;
}

/* ---- branches ---- */

/* Two classifiers over one engine, on two branches: each gets all and says it on its own branch only, over one memory. */
static void
test_two_branches (void)
{
  GstElement *pipeline = launch (SOURCE "tee name=t ! queue ! " VIG "%s name=v ! appsink name=a sync=false "
      "t. ! queue ! " VIG "%s name=w interval=2 ! appsink name=b sync=false", test_model (), test_model ());
  start (pipeline);
  for (int i = 0; i < 40; i++) {
    g_autoptr (GstSample) a = pull (pipeline, "a"), b = pull (pipeline, "b");
    GstBuffer *x = gst_sample_get_buffer (a), *y = gst_sample_get_buffer (b);
    g_assert_true (gst_buffer_peek_memory (x, 0) == gst_buffer_peek_memory (y, 0));
    g_assert_cmpuint (GST_BUFFER_PTS (x), ==, i * FRAME_TIME);
    g_assert_cmpuint (GST_BUFFER_PTS (y), ==, i * FRAME_TIME);
    expect_own_label (x);
    expect_own_label (y);
    g_assert_cmpstr (gst_structure_get_string (test_result (x, 0), "element"), ==, "v");
    g_assert_cmpstr (gst_structure_get_string (test_result (y, 0), "element"), ==, "w");
    g_assert_cmpstr (test_state (y), ==, i % 2 ? "held" : "fresh");
    if (i == 0)
      g_assert_cmpuint (test_stat (get (pipeline, "v"), "sharers"), ==, 2);
  }
  expect_end (pipeline, GST_MESSAGE_EOS);
  g_assert_cmpuint (test_stat (get (pipeline, "v"), "copies") + test_stat (get (pipeline, "w"), "copies"), ==, 0);
  end (pipeline);
}

/* A branch that is shown and one that is classified, the usual way to keep a slow model out of a fast picture: the picture
 * loses nothing. (Both ends must not preroll, or the one would wait for a frame that the leaky queue has dropped.) */
static void
test_leaky_branch (void)
{
  GstElement *pipeline = launch ("videotestsrc num-buffers=200 pattern=red ! " RGB " ! tee name=t ! queue ! "
      "appsink name=a sync=false async=false  t. ! queue leaky=downstream max-size-buffers=1 ! " VIG "%s name=v ! "
      "identity sleep-time=2000 ! appsink name=b sync=false async=false", test_model ());
  start (pipeline);
  for (int i = 0; i < 200; i++) {
    g_autoptr (GstSample) sample = pull (pipeline, "a");
    g_assert_cmpuint (GST_BUFFER_PTS (gst_sample_get_buffer (sample)), ==, gst_util_uint64_scale (i, GST_SECOND, 25));
    g_assert_cmpuint (test_n_results (gst_sample_get_buffer (sample)), ==, 0);
  }
  guint n = drain (pipeline, "b");
  g_assert_cmpuint (n, >=, 2);
  g_assert_cmpuint (n, ==, test_stat (get (pipeline, "v"), "classified"));
  end (pipeline);
}

/* ---- frames are left out, held back, doubled ---- */

static void
test_leaky_queue (void)
{
  const char *const leaky[] = { "upstream", "downstream" };
  for (guint i = 0; i < G_N_ELEMENTS (leaky); i++) {
    GstElement *pipeline = launch ("videotestsrc num-buffers=300 pattern=blue ! " RGB " ! queue name=q leaky=%s "
        "max-size-buffers=2 ! " VIG "%s name=v ! identity sleep-time=2000 ! appsink name=a sync=false", leaky[i],
        test_model ());
    start (pipeline);
    guint n = drain (pipeline, "a");
    g_assert_cmpuint (n, >=, 2);
    g_assert_cmpuint (n, <, 300); /* it has leaked */
    g_assert_cmpuint (n, ==, test_stat (get (pipeline, "v"), "frames-in"));
    g_assert_cmpuint (n, ==, test_stat (get (pipeline, "v"), "classified"));
    end (pipeline);
  }
}

/* In time by the clock in front of it, and dropped at random before and behind. */
static void
test_identity (void)
{
  GstElement *pipeline = launch ("videotestsrc num-buffers=100 pattern=green ! video/x-raw,format=RGB,width=32,height=32,"
      "framerate=200/1 ! identity sync=true ! identity drop-probability=0.3 ! " VIG "%s name=v overload=block ! "
      "identity name=i silent=false ! appsink name=a sync=false", test_model ());
  gint64 before = g_get_monotonic_time ();
  start (pipeline);
  guint n = drain (pipeline, "a");
  g_assert_cmpint (g_get_monotonic_time () - before, >=, 99 * G_USEC_PER_SEC / 200);
  g_assert_cmpuint (n, >, 30);
  g_assert_cmpuint (n, <, 100);
  g_assert_cmpuint (n, ==, test_stat (get (pipeline, "v"), "classified"));
  end (pipeline);
  pipeline = launch (SOURCE VIG "%s name=v ! identity drop-probability=0.5 ! appsink name=a sync=false", test_model ());
  start (pipeline);
  g_assert_cmpuint (drain (pipeline, "a"), <, 40);
  g_assert_cmpuint (test_stat (get (pipeline, "v"), "classified"), ==, 40);
  end (pipeline);
}

static void
test_valve (void)
{
  GstElement *pipeline = launch ("videotestsrc pattern=white ! " RGB " ! valve name=before ! " VIG
      "%s name=v ! valve name=after ! appsink name=a sync=false max-buffers=3", test_model ());
  start (pipeline);
  GstClockTime last = GST_CLOCK_TIME_NONE;
  for (int i = 0; i < 60; i++) {
    GstElement *valve = get (pipeline, i % 4 < 2 ? "before" : "after");
    g_object_set (valve, "drop", TRUE, NULL);
    g_usleep (g_test_rand_int_range (0, 2000));
    g_object_set (valve, "drop", FALSE, NULL);
    g_autoptr (GstSample) sample = pull (pipeline, "a");
    g_assert_nonnull (sample);
    expect_own_label (gst_sample_get_buffer (sample));
    if (i > 0)
      g_assert_cmpuint (GST_BUFFER_PTS (gst_sample_get_buffer (sample)), >, last);
    last = GST_BUFFER_PTS (gst_sample_get_buffer (sample));
  }
  guint64 classified = test_stat (get (pipeline, "v"), "classified");
  g_assert_cmpuint (classified, >=, 10);
  end (pipeline);
}

/* What videorate puts in between is marked as filler (GAP): in front, it is not classified but carries the last result;
 * behind, it is a copy with the result of what it is a copy of. */
static void
test_videorate (void)
{
  const struct { const char *before, *after; guint frames, classified; } lines[] = {
    { "videorate ! video/x-raw,framerate=50/1 ! ", "", 80, 40 },
    { "videorate ! video/x-raw,framerate=5/1 ! ", "", 8, 8 },
    { "", "videorate ! video/x-raw,framerate=50/1 ! ", 80, 40 },
    { "", "videorate ! video/x-raw,framerate=5/1 ! ", 8, 40 },
  };
  for (guint i = 0; i < G_N_ELEMENTS (lines); i++) {
    GstElement *pipeline = launch (SOURCE "%s" VIG "%s name=v ! %s appsink name=a sync=false", lines[i].before,
        test_model (), lines[i].after);
    start (pipeline);
    guint n = drain (pipeline, "a");
    guint64 classified = test_stat (get (pipeline, "v"), "classified");
    g_assert_cmpint (ABS ((int) n - (int) lines[i].frames), <=, 1); /* videorate rounds the end */
    g_assert_cmpint (ABS ((int) classified - (int) lines[i].classified), <=, 1);
    end (pipeline);
  }
}

/* ---- changes while playing ---- */

/* Two sources of different sizes; only one is let through at a time. */
static void
test_input_selector (void)
{
  GstElement *pipeline = launch ("input-selector name=s sync-streams=false ! " VIG "%s name=v ! appsink name=a sync=false "
      "max-buffers=2 drop=true "
      "videotestsrc is-live=true pattern=red ! video/x-raw,format=RGB,width=32,height=32,framerate=200/1 ! s.sink_0 "
      "videotestsrc is-live=true pattern=blue ! video/x-raw,format=RGB,width=48,height=40,framerate=200/1 ! s.sink_1",
      test_model ());
  GstElement *selector = get (pipeline, "s");
  start (pipeline);
  for (int i = 0; i < 20; i++) {
    g_autoptr (GstPad) pad = gst_element_get_static_pad (selector, i % 2 ? "sink_1" : "sink_0");
    g_object_set (selector, "active-pad", pad, NULL);
    gboolean changed = FALSE;
    for (int f = 0; f < 100 && !changed; f++) {
      g_autoptr (GstSample) sample = pull (pipeline, "a");
      g_assert_nonnull (sample);
      expect_own_label (gst_sample_get_buffer (sample));
      changed = g_str_equal (test_label (gst_sample_get_buffer (sample)), i % 2 ? "blue" : "red");
    }
    g_assert_true (changed);
  }
  end (pipeline);
}

typedef struct {
  GstElement *pipeline, *classify, *behind; /* those that are there now */
  gint drained, n; /* atomic */
} Exchange;

static GstPadProbeReturn
on_drained (GstPad *pad, GstPadProbeInfo *info, gpointer data)
{
  Exchange *exchange = data;
  if (GST_EVENT_TYPE (GST_PAD_PROBE_INFO_EVENT (info)) != GST_EVENT_EOS)
    return GST_PAD_PROBE_PASS;
  g_atomic_int_set (&exchange->drained, TRUE);
  return GST_PAD_PROBE_DROP; /* it is not the end of what comes behind */
}

/* Nothing comes any more: what is in the old element is driven out by an end of stream that goes no further. */
static GstPadProbeReturn
on_blocked (GstPad *pad, GstPadProbeInfo *info, gpointer data)
{
  Exchange *exchange = data;
  gst_pad_remove_probe (pad, GST_PAD_PROBE_INFO_ID (info));
  g_autoptr (GstPad) source = gst_element_get_static_pad (exchange->classify, "src");
  g_autoptr (GstPad) sink = gst_element_get_static_pad (exchange->classify, "sink");
  gst_pad_add_probe (source, GST_PAD_PROBE_TYPE_EVENT_DOWNSTREAM, on_drained, exchange, NULL);
  gst_pad_send_event (sink, gst_event_new_eos ());
  while (!g_atomic_int_get (&exchange->drained))
    g_usleep (200);
  GstElement *queue = get (exchange->pipeline, "before"), *after = get (exchange->pipeline, "after"),
    *next = gst_object_ref_sink (test_element (NULL));
  gst_element_unlink_many (queue, exchange->classify, after, NULL);
  gst_element_set_state (exchange->classify, GST_STATE_NULL);
  gst_bin_remove (GST_BIN (exchange->pipeline), exchange->classify);
  gst_bin_add (GST_BIN (exchange->pipeline), next);
  g_assert_true (gst_element_link_many (queue, next, after, NULL));
  g_assert_true (gst_element_sync_state_with_parent (next));
  gst_object_unref (next);
  exchange->classify = next;
  g_atomic_int_set (&exchange->drained, FALSE);
  g_atomic_int_inc (&exchange->n);
  return GST_PAD_PROBE_OK;
}

/* The element is exchanged for another one again and again, and no frame is lost or goes without a result. */
static void
test_exchange (void)
{
  GstElement *pipeline = launch ("videotestsrc num-buffers=400 pattern=blue ! " RGB " ! queue name=before ! " VIG
      "%s name=v max-in-flight=4 ! queue name=after max-size-buffers=1 ! appsink name=a sync=false max-buffers=1", test_model ());
  Exchange exchange = { .pipeline = pipeline, .classify = get (pipeline, "v") };
  g_autoptr (GstPad) pad = gst_element_get_static_pad (get (pipeline, "before"), "src");
  start (pipeline);
  for (int i = 0; i < 400; i++) {
    if (i % 10 == 5)
      gst_pad_add_probe (pad, GST_PAD_PROBE_TYPE_BLOCK_DOWNSTREAM, on_blocked, &exchange, NULL);
    g_autoptr (GstSample) sample = pull (pipeline, "a");
    g_assert_nonnull (sample);
    g_assert_cmpuint (GST_BUFFER_PTS (gst_sample_get_buffer (sample)), ==, i * FRAME_TIME);
    expect_own_label (gst_sample_get_buffer (sample));
  }
  expect_end (pipeline, GST_MESSAGE_EOS);
  g_assert_cmpint (g_atomic_int_get (&exchange.n), >=, 30); /* the last frames may have gone through before */
  g_clear_object (&pad);
  end (pipeline);
}

/* Nothing is on its way through the pad: called at once, or by the thread that has just sent something. */
static GstPadProbeReturn
on_idle (GstPad *pad, GstPadProbeInfo *info, gpointer data)
{
  Exchange *exchange = data;
  GstElement *pipeline = exchange->pipeline, *next = gst_element_factory_make ("identity", NULL);
  gst_element_unlink_many (get (pipeline, "v"), exchange->behind, get (pipeline, "a"), NULL);
  gst_element_set_state (exchange->behind, GST_STATE_NULL);
  gst_bin_remove (GST_BIN (pipeline), exchange->behind);
  gst_bin_add (GST_BIN (pipeline), next);
  g_assert_true (gst_element_link_many (get (pipeline, "v"), next, get (pipeline, "a"), NULL));
  g_assert_true (gst_element_sync_state_with_parent (next));
  exchange->behind = next;
  g_atomic_int_inc (&exchange->n);
  return GST_PAD_PROBE_REMOVE;
}

/* What comes behind it is exchanged while playing. */
static void
test_relink (void)
{
  GstElement *pipeline = launch ("videotestsrc num-buffers=400 pattern=green ! " RGB " ! " VIG "%s name=v max-in-flight=3 ! "
      "identity name=i ! appsink name=a sync=false max-buffers=1", test_model ());
  Exchange exchange = { .pipeline = pipeline, .behind = get (pipeline, "i") };
  g_autoptr (GstPad) pad = gst_element_get_static_pad (get (pipeline, "v"), "src");
  start (pipeline);
  for (int i = 0; i < 400; i++) {
    if (i % 10 == 5)
      gst_pad_add_probe (pad, GST_PAD_PROBE_TYPE_IDLE, on_idle, &exchange, NULL);
    g_autoptr (GstSample) sample = pull (pipeline, "a");
    g_assert_nonnull (sample);
    g_assert_cmpuint (GST_BUFFER_PTS (gst_sample_get_buffer (sample)), ==, i * FRAME_TIME);
    expect_own_label (gst_sample_get_buffer (sample));
  }
  expect_end (pipeline, GST_MESSAGE_EOS);
  g_assert_cmpint (g_atomic_int_get (&exchange.n), ==, 40);
  g_clear_object (&pad);
  end (pipeline);
}

/* ---- an application reads ---- */

static gpointer
read_all (gpointer data)
{
  GstAppSink *sink = data;
  GPtrArray *kept = g_ptr_array_new_with_free_func ((GDestroyNotify) gst_sample_unref);
  GstSample *sample;
  while ((sample = gst_app_sink_pull_sample (sink))) {
    expect_own_label (gst_sample_get_buffer (sample));
    g_ptr_array_add (kept, sample);
    g_usleep (g_test_rand_int_range (0, 500));
  }
  return kept;
}

/* Pulled in a thread of the application's, and kept: frames and results are still good when the pipeline is gone. */
static void
test_appsink (void)
{
  const char *const properties[] = { "", "max-buffers=1", "max-buffers=2 wait-on-eos=false" };
  for (guint p = 0; p < G_N_ELEMENTS (properties); p++) {
    GstElement *pipeline = launch (SOURCE VIG "%s ! appsink name=a sync=false %s", test_model (), properties[p]);
    start (pipeline);
    GThread *thread = g_thread_new ("reader", read_all, get (pipeline, "a"));
    GPtrArray *kept = g_thread_join (thread);
    close_pipeline (pipeline);
    g_assert_cmpuint (kept->len, ==, 40);
    for (guint i = 0; i < kept->len; i++) {
      g_assert_cmpuint (GST_BUFFER_PTS (gst_sample_get_buffer (kept->pdata[i])), ==, i * FRAME_TIME);
      expect_own_label (gst_sample_get_buffer (kept->pdata[i]));
    }
    g_ptr_array_unref (kept);
    expect_no_leaks ();
  }
}

int
main (int argc, char **argv)
{
  watched_init (&argc, &argv);
  g_test_add_func ("/patterns/two-branches", test_two_branches);
  g_test_add_func ("/patterns/leaky-branch", test_leaky_branch);
  g_test_add_func ("/patterns/leaky-queue", test_leaky_queue);
  g_test_add_func ("/patterns/identity", test_identity);
  g_test_add_func ("/patterns/valve", test_valve);
  g_test_add_func ("/patterns/videorate", test_videorate);
  g_test_add_func ("/patterns/input-selector", test_input_selector);
  g_test_add_func ("/patterns/exchange", test_exchange);
  g_test_add_func ("/patterns/relink", test_relink);
  g_test_add_func ("/patterns/appsink", test_appsink);
  return test_run ();
}
