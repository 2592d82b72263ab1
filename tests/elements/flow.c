/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What moves through the element: order, flushes, ends, returns, queries, latency. */
#include "common.h"

#define CAPS "video/x-raw,format=RGB,width=48,height=48,framerate=25/1"
#define OTHER_CAPS "video/x-raw,format=I420,width=64,height=36,framerate=25/1"

/* ---- downstream as a test wants it ---- */

/* Sits on the pad behind the element: writes down what comes, keeps frames waiting while it is closed, and answers. */
typedef struct {
  GMutex lock;
  GCond changed;
  gboolean closed;
  guint waiting;          /* frames at the gate */
  GstFlowReturn answer;   /* to frames; not OK: the frame ends here */
  gboolean answer_once;
  GString *seen;          /* one word an item */
} Gate;

static GstPadProbeReturn
gate_buffer (Gate *gate, GstPadProbeInfo *info)
{
  g_mutex_lock (&gate->lock);
  gate->waiting++;
  g_cond_broadcast (&gate->changed);
  while (gate->closed)
    g_cond_wait (&gate->changed, &gate->lock);
  gate->waiting--;
  g_string_append_printf (gate->seen, "frame%d ",
      (int) (GST_BUFFER_PTS (GST_PAD_PROBE_INFO_BUFFER (info)) / FRAME_TIME));
  GstFlowReturn answer = gate->answer;
  if (gate->answer_once)
    gate->answer = GST_FLOW_OK;
  g_mutex_unlock (&gate->lock);
  if (answer == GST_FLOW_OK)
    return GST_PAD_PROBE_OK;
  gst_buffer_unref (GST_PAD_PROBE_INFO_BUFFER (info));
  GST_PAD_PROBE_INFO_FLOW_RETURN (info) = answer;
  return GST_PAD_PROBE_HANDLED;
}

static GstPadProbeReturn
gate_event (Gate *gate, GstEvent *event)
{
  g_mutex_lock (&gate->lock);
  g_string_append_printf (gate->seen, "%s ", GST_EVENT_TYPE_NAME (event));
  if (GST_EVENT_TYPE (event) == GST_EVENT_FLUSH_START) { /* a sink lets go of its frame */
    gate->closed = FALSE;
    g_cond_broadcast (&gate->changed);
  }
  g_mutex_unlock (&gate->lock);
  return GST_PAD_PROBE_OK;
}

static GstPadProbeReturn
gate_probe (GstPad *pad, GstPadProbeInfo *info, gpointer data)
{
  if (GST_PAD_PROBE_INFO_TYPE (info) & GST_PAD_PROBE_TYPE_BUFFER)
    return gate_buffer (data, info);
  return gate_event (data, GST_PAD_PROBE_INFO_EVENT (info));
}

/* Waits until what has been pushed before is through. */
static void
drain (GstHarness *h)
{
  g_autoptr (GstQuery) query = gst_query_new_drain ();
  gst_pad_peer_query (h->srcpad, query);
}

static Gate *
gate_new (GstHarness *h)
{
  drain (h);
  Gate *gate = g_new0 (Gate, 1);
  g_mutex_init (&gate->lock);
  g_cond_init (&gate->changed);
  gate->seen = g_string_new (NULL);
  gst_pad_add_probe (h->sinkpad, GST_PAD_PROBE_TYPE_BUFFER | GST_PAD_PROBE_TYPE_EVENT_DOWNSTREAM
      | GST_PAD_PROBE_TYPE_EVENT_FLUSH, gate_probe, gate, NULL);
  return gate;
}

static void
gate_free (Gate *gate)
{
  g_mutex_clear (&gate->lock);
  g_cond_clear (&gate->changed);
  g_string_free (gate->seen, TRUE);
  g_free (gate);
}

static void
gate_set_closed (Gate *gate, gboolean closed)
{
  g_mutex_lock (&gate->lock);
  gate->closed = closed;
  g_cond_broadcast (&gate->changed);
  g_mutex_unlock (&gate->lock);
}

static void
gate_set_answer (Gate *gate, GstFlowReturn answer)
{
  g_mutex_lock (&gate->lock);
  gate->answer = answer;
  g_mutex_unlock (&gate->lock);
}

static void
gate_wait_for_frame (Gate *gate)
{
  gint64 end = g_get_monotonic_time () + 10 * G_TIME_SPAN_SECOND;
  g_mutex_lock (&gate->lock);
  while (gate->waiting == 0)
    g_assert_true (g_cond_wait_until (&gate->changed, &gate->lock, end));
  g_mutex_unlock (&gate->lock);
}

/* Waits until the last word is @word. */
static void
gate_wait_for (Gate *gate, const char *word)
{
  g_autofree char *ending = g_strconcat (word, " ", NULL);
  for (int i = 0; i < 10000; i++) {
    g_mutex_lock (&gate->lock);
    gboolean there = g_str_has_suffix (gate->seen->str, ending);
    g_mutex_unlock (&gate->lock);
    if (there)
      return;
    g_usleep (1000);
  }
  g_error ("waited for \"%s\", found \"%s\"", word, gate->seen->str);
}

static GstFlowReturn
push (GstHarness *h, int i)
{
  return gst_harness_push (h, test_frame (CAPS, TINY_RED, i));
}

/* Something that another thread does to the harness. */
typedef struct {
  GstHarness *h;
  GstQuery *query;
  gboolean answer;
  gint done;
} Asking;

static gpointer
push_in_thread (gpointer h)
{
  return GINT_TO_POINTER (push (h, 100));
}

static gboolean
still_waiting (gint *done)
{
  g_usleep (50000);
  return !g_atomic_int_get (done);
}

/* ---- order ---- */

static void
test_order (void)
{
  GstHarness *h = test_harness (CAPS, NULL);
  Gate *gate = gate_new (h);
  g_assert_cmpint (push (h, 0), ==, GST_FLOW_OK);
  gst_harness_push_event (h, gst_event_new_gap (FRAME_TIME, FRAME_TIME));
  g_assert_cmpint (push (h, 2), ==, GST_FLOW_OK);
  gst_harness_push_event (h, gst_event_new_tag (gst_tag_list_new (GST_TAG_TITLE, "t", NULL)));
  gst_harness_push_event (h, gst_event_new_custom (GST_EVENT_CUSTOM_DOWNSTREAM, gst_structure_new_empty ("mine")));
  g_assert_cmpint (push (h, 3), ==, GST_FLOW_OK);
  GstSegment segment;
  gst_segment_init (&segment, GST_FORMAT_TIME);
  segment.base = 4 * FRAME_TIME;
  gst_harness_push_event (h, gst_event_new_segment (&segment));
  g_assert_cmpint (push (h, 4), ==, GST_FLOW_OK);
  gst_harness_push_event (h, gst_event_new_eos ());
  gate_wait_for (gate, "eos");
  g_assert_cmpstr (gate->seen->str, ==,
      "frame0 gap frame2 tag custom-downstream frame3 segment frame4 eos ");
  test_harness_free (h);
  gate_free (gate);
}

static void
test_list (void)
{
  GstHarness *h = test_harness (CAPS, NULL);
  Gate *gate = gate_new (h);
  GstBufferList *list = gst_buffer_list_new ();
  for (int i = 0; i < 5; i++)
    gst_buffer_list_add (list, test_frame (CAPS, TINY_RED, i));
  g_assert_cmpint (gst_pad_push_list (h->srcpad, list), ==, GST_FLOW_OK);
  gst_harness_push_event (h, gst_event_new_eos ());
  gate_wait_for (gate, "eos");
  g_assert_cmpstr (gate->seen->str, ==, "frame0 frame1 frame2 frame3 frame4 eos ");
  g_assert_cmpuint (test_stat (h->element, "classified"), ==, 5);
  test_harness_free (h);
  gate_free (gate);
}

/* Two frames are in flight: the third waits until the first has been taken, and no longer. */
static void
test_two_in_flight (void)
{
  GstHarness *h = test_harness (CAPS, NULL);
  Gate *gate = gate_new (h);
  gate_set_closed (gate, TRUE);
  g_assert_cmpint (push (h, 0), ==, GST_FLOW_OK);
  gate_wait_for_frame (gate);
  g_assert_cmpint (push (h, 1), ==, GST_FLOW_OK);
  GThread *thread = g_thread_new ("push", push_in_thread, h);
  g_usleep (50000);
  g_assert_cmpuint (test_stat (h->element, "classified"), ==, 1);
  gate_set_closed (gate, FALSE);
  g_assert_cmpint (GPOINTER_TO_INT (g_thread_join (thread)), ==, GST_FLOW_OK);
  gate_wait_for (gate, "frame100");
  test_harness_free (h);
  gate_free (gate);
}

static void
test_caps_change (void)
{
  GstHarness *h = test_harness (CAPS, "interval", 100, NULL);
  for (int round = 0; round < 3; round++) {
    gst_harness_set_src_caps_str (h, CAPS);
    test_expect_class (h, CAPS, TINY_BLUE, 0.97);
    gst_harness_set_src_caps_str (h, OTHER_CAPS);
    test_expect_class (h, OTHER_CAPS, TINY_YELLOW, 0.97);
  }
  g_assert_cmpuint (test_stat (h->element, "classified"), ==, 6);
  test_harness_free (h);
}

/* ---- flush, end ---- */

static void
end_flush (GstHarness *h)
{
  g_assert_true (gst_harness_push_event (h, gst_event_new_flush_stop (TRUE)));
  GstSegment segment;
  gst_segment_init (&segment, GST_FORMAT_TIME);
  gst_harness_push_event (h, gst_event_new_segment (&segment));
}

static void
flush (GstHarness *h)
{
  g_assert_true (gst_harness_push_event (h, gst_event_new_flush_start ()));
  end_flush (h);
}

static void
test_flush_with_a_frame_in_flight (void)
{
  GstHarness *h = test_harness (CAPS, NULL);
  Gate *gate = gate_new (h);
  for (int round = 0; round < 10; round++) {
    gate_set_closed (gate, TRUE);
    g_assert_cmpint (push (h, 0), ==, GST_FLOW_OK);
    gate_wait_for_frame (gate);
    g_assert_cmpint (push (h, 50), ==, GST_FLOW_OK);
    GThread *thread = g_thread_new ("push", push_in_thread, h); /* waits for a place */
    while (test_stat (h->element, "frames-in") % 4 != 3)
      g_usleep (1000);
    flush (h);
    g_assert_cmpint (GPOINTER_TO_INT (g_thread_join (thread)), ==, GST_FLOW_FLUSHING);
    g_string_truncate (gate->seen, 0);
    g_assert_cmpint (push (h, 1), ==, GST_FLOW_OK);
    gate_wait_for (gate, "frame1");
    g_assert_null (strstr (gate->seen->str, "frame50"));
    g_assert_null (strstr (gate->seen->str, "frame100"));
  }
  test_harness_free (h);
  gate_free (gate);
}

static GstPadProbeReturn
flush_from_within (GstPad *pad, GstPadProbeInfo *info, gpointer data)
{
  Asking *flushing = data;
  if (flushing->done)
    return GST_PAD_PROBE_OK;
  flush (flushing->h);
  gst_buffer_unref (GST_PAD_PROBE_INFO_BUFFER (info));
  GST_PAD_PROBE_INFO_FLOW_RETURN (info) = GST_FLOW_FLUSHING; /* as a sink says that was flushed meanwhile */
  g_atomic_int_set (&flushing->done, 1);
  return GST_PAD_PROBE_HANDLED;
}

/* Downstream's thread, which is our task, seeks: the flush comes round while the frame is still being pushed. */
static void
test_flush_from_the_task (void)
{
  GstHarness *h = test_harness (CAPS, NULL);
  Asking flushing = { .h = h };
  gst_pad_add_probe (h->sinkpad, GST_PAD_PROBE_TYPE_BUFFER, flush_from_within, &flushing, NULL);
  g_assert_cmpint (push (h, 0), ==, GST_FLOW_OK);
  while (!g_atomic_int_get (&flushing.done))
    g_usleep (1000);
  Gate *gate = gate_new (h);
  for (int i = 1; i < 4; i++)
    g_assert_cmpint (push (h, i), ==, GST_FLOW_OK);
  gate_wait_for (gate, "frame3");
  test_harness_free (h);
  gate_free (gate);
}

/* What describes the stream and is still on its way when a flush comes is not lost with the frames. */
static void
test_flush_spares_sticky_events (void)
{
  GstHarness *h = test_harness (CAPS, NULL);
  Gate *gate = gate_new (h);
  gate_set_closed (gate, TRUE);
  push (h, 0);
  gate_wait_for_frame (gate);
  gst_harness_push_event (h, gst_event_new_tag (gst_tag_list_new (GST_TAG_IMAGE_ORIENTATION, "rotate-180", NULL)));
  gst_harness_set_src_caps_str (h, OTHER_CAPS);
  flush (h);
  g_assert_cmpint (gst_harness_push (h, test_frame (OTHER_CAPS, TINY_LEFT, 1)), ==, GST_FLOW_OK);
  gate_wait_for (gate, "frame1");
  g_assert_nonnull (strstr (gate->seen->str, "tag caps "));
  GstBuffer *last = NULL, *next;
  while ((next = gst_harness_try_pull (h)))
    gst_buffer_replace (&last, next), gst_buffer_unref (next);
  g_assert_cmpstr (test_label (last), ==, tiny_labels[TINY_RIGHT]);
  gst_buffer_unref (last);
  test_harness_free (h);
  gate_free (gate);
}

/* At any moment. */
static void
test_flush_storm (void)
{
  GstHarness *h = test_harness (CAPS, NULL);
  for (int round = 0; round < 300; round++) {
    GThread *thread = g_thread_new ("push", push_in_thread, h);
    g_usleep (g_test_rand_int_range (0, 1000));
    g_assert_true (gst_harness_push_event (h, gst_event_new_flush_start ()));
    g_thread_join (thread);
    end_flush (h);
  }
  GstBuffer *buffer;
  while ((buffer = gst_harness_try_pull (h)))
    gst_buffer_unref (buffer);
  flush (h);
  test_expect_class (h, CAPS, TINY_GREEN, 0.97);
  test_expect_no_error (test_bus (h));
  test_harness_free (h);
}

/* A FLUSH_STOP of which the FLUSH_START was never seen, or before another start: it waits for nobody. */
static void
test_flush_stop_alone (void)
{
  GstHarness *h = test_harness (CAPS, NULL);
  end_flush (h);
  test_expect_class (h, CAPS, TINY_GREEN, 0.97);
  gst_harness_push_event (h, gst_event_new_flush_start ());
  gst_element_set_state (h->element, GST_STATE_READY);
  gst_element_set_state (h->element, GST_STATE_PLAYING);
  end_flush (h);
  gst_harness_set_src_caps_str (h, CAPS);
  test_expect_class (h, CAPS, TINY_BLUE, 0.97);
  test_expect_no_error (test_bus (h));
  test_harness_free (h);
}

static void
test_eos_drains (void)
{
  GstHarness *h = test_harness (CAPS, NULL);
  for (int round = 0; round < 20; round++) {
    g_assert_cmpint (push (h, 0), ==, GST_FLOW_OK);
    gst_harness_push_event (h, gst_event_new_eos ());
    g_autoptr (GstBuffer) buffer = gst_harness_pull (h);
    g_assert_cmpstr (test_label (buffer), ==, "red");
    GstEvent *event;
    while ((event = gst_harness_pull_event (h)) && GST_EVENT_TYPE (event) != GST_EVENT_EOS)
      gst_event_unref (event);
    g_assert_nonnull (event);
    gst_event_unref (event);
    g_assert_cmpint (push (h, 1), ==, GST_FLOW_EOS);
    flush (h); /* ends the end */
  }
  test_harness_free (h);
}

/* ---- returns ---- */

static GstFlowReturn
push_until_refused (GstHarness *h)
{
  return test_push_until_refused (h, CAPS);
}

static void
test_flow_returns (void)
{
  const GstFlowReturn returns[] = { GST_FLOW_EOS, GST_FLOW_ERROR, GST_FLOW_NOT_LINKED, GST_FLOW_NOT_NEGOTIATED,
    GST_FLOW_CUSTOM_ERROR, GST_FLOW_CUSTOM_SUCCESS_2 };
  for (guint i = 0; i < G_N_ELEMENTS (returns); i++) {
    GstHarness *h = test_harness (CAPS, NULL);
    Gate *gate = gate_new (h);
    gate_set_answer (gate, returns[i]);
    g_assert_cmpint (push (h, 0), ==, GST_FLOW_OK);
    g_assert_cmpint (push_until_refused (h), ==, returns[i]);
    if (returns[i] < GST_FLOW_OK) {
      g_assert_cmpint (push (h, 2), ==, returns[i]);
      g_assert_cmpstr (gate->seen->str, ==, "frame0 ");
    }
    gate_set_answer (gate, GST_FLOW_OK);
    flush (h);
    g_assert_cmpint (push (h, 3), ==, GST_FLOW_OK);
    gate_wait_for (gate, "frame3");
    test_expect_no_error (test_bus (h));
    test_harness_free (h);
    gate_free (gate);
  }
}

/* A new segment behind a frame that was the last one downstream wanted: the frames of the new one are tried, even if
 * they come before either has left. */
static void
test_segment_after_eos_return (void)
{
  GstHarness *h = test_harness (CAPS, NULL);
  Gate *gate = gate_new (h);
  GstSegment segment;
  gst_segment_init (&segment, GST_FORMAT_TIME);
  for (int round = 0; round < 20; round++) {
    drain (h);
    gate_set_answer (gate, GST_FLOW_EOS);
    gate->answer_once = TRUE;
    gate_set_closed (gate, TRUE);
    g_assert_cmpint (push (h, 0), ==, GST_FLOW_OK);
    gate_wait_for_frame (gate);
    gst_harness_push_event (h, gst_event_new_segment (&segment));
    GThread *thread = g_thread_new ("push", push_in_thread, h);
    g_usleep (g_test_rand_int_range (0, 2000));
    gate_set_closed (gate, FALSE);
    g_assert_cmpint (GPOINTER_TO_INT (g_thread_join (thread)), ==, GST_FLOW_OK);
    gate_wait_for (gate, "frame0 segment frame100");
  }
  test_harness_free (h);
  gate_free (gate);
}

static void
test_linked_again (void)
{
  GstHarness *h = test_harness (CAPS, NULL);
  g_autoptr (GstPad) src = gst_element_get_static_pad (h->element, "src");
  g_autoptr (GstPad) peer = gst_pad_get_peer (src);
  gst_pad_unlink (src, peer);
  g_assert_cmpint (push (h, 0), ==, GST_FLOW_OK);
  g_assert_cmpint (push_until_refused (h), ==, GST_FLOW_NOT_LINKED);
  gst_pad_link (src, peer);
  test_expect_class (h, CAPS, TINY_BLUE, 0.9);
  test_harness_free (h);
}

/* A property set while playing that the engine cannot take: an error on the bus, and upstream is told. */
static void
test_bad_size_while_playing (void)
{
  GstHarness *h = test_harness (CAPS, NULL);
  test_expect_class (h, CAPS, TINY_BLUE, 0.9);
  g_object_set (h->element, "input-size", 3, NULL);
  g_assert_cmpint (push (h, 1), ==, GST_FLOW_OK);
  test_expect_error (test_bus (h), GST_RESOURCE_ERROR, GST_RESOURCE_ERROR_SETTINGS, "3");
  g_assert_cmpint (push_until_refused (h), ==, GST_FLOW_ERROR);
  test_harness_free (h);
}

/* Upstream never calls again: the bus hears of it. */
static void
test_error_at_eos (void)
{
  GstHarness *h = test_harness (CAPS, NULL);
  Gate *gate = gate_new (h);
  gate_set_answer (gate, GST_FLOW_NOT_LINKED);
  g_assert_cmpint (push (h, 0), ==, GST_FLOW_OK);
  gst_harness_push_event (h, gst_event_new_eos ());
  gate_wait_for (gate, "eos");
  test_expect_error (test_bus (h), GST_STREAM_ERROR, GST_STREAM_ERROR_FAILED, "");
  test_harness_free (h);
  gate_free (gate);
}

/* ---- queries ---- */

static gpointer
ask (gpointer data)
{
  Asking *asking = data;
  asking->answer = gst_pad_peer_query (asking->h->srcpad, asking->query);
  g_atomic_int_set (&asking->done, 1);
  return NULL;
}

static gboolean
take_query (GstPad *pad, GstObject *parent, GstQuery *query)
{
  if (GST_QUERY_TYPE (query) == GST_QUERY_DRAIN)
    return TRUE;
  if (GST_QUERY_TYPE (query) == GST_QUERY_ALLOCATION) {
    gst_query_add_allocation_meta (query, GST_VIDEO_META_API_TYPE, NULL);
    gst_query_add_allocation_pool (query, NULL, 1000, 3, 0);
    gst_query_add_allocation_pool (query, NULL, 1000, 4, 4);
    return TRUE;
  }
  return gst_pad_query_default (pad, parent, query);
}

/* DRAIN is answered when the frames before it have left. */
static void
test_drain (void)
{
  GstHarness *h = test_harness (CAPS, NULL);
  gst_pad_set_query_function (h->sinkpad, take_query);
  Gate *gate = gate_new (h);
  gate_set_closed (gate, TRUE);
  push (h, 0);
  gate_wait_for_frame (gate);
  Asking asking = { .h = h, .query = gst_query_new_drain () };
  GThread *thread = g_thread_new ("ask", ask, &asking);
  g_assert_true (still_waiting (&asking.done));
  gate_set_closed (gate, FALSE);
  g_thread_join (thread);
  g_assert_true (asking.answer);
  g_assert_cmpstr (gate->seen->str, ==, "frame0 ");
  gst_query_unref (asking.query);
  test_harness_free (h);
  gate_free (gate);
}

/* A query that waits gives up when a flush comes. */
static void
test_flush_ends_a_query (void)
{
  GstHarness *h = test_harness (CAPS, NULL);
  Gate *gate = gate_new (h);
  gate_set_closed (gate, TRUE);
  push (h, 0);
  gate_wait_for_frame (gate);
  Asking asking = { .h = h, .query = gst_query_new_drain () };
  GThread *thread = g_thread_new ("ask", ask, &asking);
  g_assert_true (still_waiting (&asking.done));
  flush (h);
  g_thread_join (thread);
  g_assert_false (asking.answer);
  gst_query_unref (asking.query);
  g_assert_cmpint (push (h, 1), ==, GST_FLOW_OK);
  gate_wait_for (gate, "frame1");
  test_harness_free (h);
  gate_free (gate);
}

static gboolean
refuse_query (GstPad *pad, GstObject *parent, GstQuery *query)
{
  return FALSE;
}

/* Downstream's answer, with two buffers more where that is allowed. */
static void
test_allocation (void)
{
  GstHarness *h = test_harness (CAPS, NULL);
  g_autoptr (GstCaps) caps = gst_caps_from_string (CAPS);
  g_autoptr (GstQuery) query = gst_query_new_allocation (caps, TRUE);
  gst_pad_set_query_function (h->sinkpad, refuse_query);
  g_assert_false (gst_pad_peer_query (h->srcpad, query));
  gst_pad_set_query_function (h->sinkpad, take_query);
  g_assert_true (gst_pad_peer_query (h->srcpad, query));
  g_assert_true (gst_query_find_allocation_meta (query, GST_VIDEO_META_API_TYPE, NULL));
  g_assert_false (gst_query_find_allocation_meta (query, GST_VIDEO_CROP_META_API_TYPE, NULL));
  guint size, min, max;
  gst_query_parse_nth_allocation_pool (query, 0, NULL, &size, &min, &max);
  g_assert_cmpuint (size, ==, 1000);
  g_assert_cmpuint (min, ==, 5);
  gst_query_parse_nth_allocation_pool (query, 1, NULL, &size, &min, &max);
  g_assert_cmpuint (min, ==, 4);
  g_assert_cmpuint (max, ==, 4);
  test_harness_free (h);
}

/* What may come is what downstream takes of our formats. */
static void
test_caps_query (void)
{
  GstHarness *h = test_harness (NULL, NULL);
  gst_harness_set_sink_caps_str (h, "video/x-raw,format={AYUV,NV12},width=[16,64],height=48");
  g_autoptr (GstCaps) caps = gst_pad_peer_query_caps (h->srcpad, NULL);
  g_autoptr (GstCaps) expected = gst_caps_from_string (
      "video/x-raw,format=NV12,width=[16,64],height=48,framerate=[0/1,2147483647/1]");
  g_assert_true (gst_caps_is_subset (caps, expected));
  g_assert_true (gst_caps_is_subset (expected, caps));
  g_autoptr (GstCaps) no = gst_caps_from_string ("video/x-raw,format=NV12,width=640,height=48,framerate=25/1");
  g_autoptr (GstCaps) yes = gst_caps_from_string ("video/x-raw,format=NV12,width=64,height=48,framerate=25/1");
  g_assert_false (gst_pad_peer_query_accept_caps (h->srcpad, no));
  g_assert_true (gst_pad_peer_query_accept_caps (h->srcpad, yes));
  test_harness_free (h);
}

static void
test_upstream_events (void)
{
  GstHarness *h = test_harness (CAPS, NULL);
  GstEvent *event;
  while ((event = gst_harness_try_pull_upstream_event (h)))
    gst_event_unref (event);
  gst_harness_push_upstream_event (h, gst_event_new_qos (GST_QOS_TYPE_UNDERFLOW, 1.5, 7, 9));
  event = gst_harness_try_pull_upstream_event (h);
  g_assert_nonnull (event);
  g_assert_cmpint (GST_EVENT_TYPE (event), ==, GST_EVENT_QOS);
  gst_event_unref (event);
  test_expect_class (h, CAPS, TINY_RED, 0.9); /* late or not, no frame is dropped */
  test_harness_free (h);
}

/* ---- latency ---- */

static void
test_latency (void)
{
  GstHarness *h = test_harness (CAPS, NULL);
  GstClockTime own = test_stat (h->element, "latency");
  g_assert_cmpuint (own, >, 0);
  g_assert_cmpuint (own, <, 10 * GST_SECOND);
  gst_harness_set_upstream_latency (h, 40 * GST_MSECOND);
  g_assert_cmpuint (gst_harness_query_latency (h), ==, 40 * GST_MSECOND + own);
  test_harness_free (h);
}

/* A model that suddenly takes longer is told to the pipeline; what is told is what is measured. */
static void
test_latency_changes (void)
{
  GstHarness *h = test_harness (CAPS, NULL);
  gst_harness_set_upstream_latency (h, 0);
  GstClockTime before = gst_harness_query_latency (h);
  g_object_set (h->element, "input-size", 640, NULL); /* four hundred times the pixels */
  for (int i = 0; i < 40; i++) {
    push (h, i);
    gst_buffer_unref (gst_harness_pull (h));
  }
  g_autoptr (GstMessage) message = gst_bus_pop_filtered (test_bus (h), GST_MESSAGE_LATENCY);
  g_assert_nonnull (message);
  g_assert_cmpuint (gst_harness_query_latency (h), >, before);
  g_assert_cmpuint (gst_harness_query_latency (h), ==, test_stat (h->element, "latency"));
  g_assert_null (gst_bus_pop_filtered (test_bus (h), GST_MESSAGE_LATENCY)); /* not again at once */
  test_harness_free (h);
}

int
main (int argc, char **argv)
{
  test_init (&argc, &argv);
  g_test_add_func ("/flow/order", test_order);
  g_test_add_func ("/flow/list", test_list);
  g_test_add_func ("/flow/two-in-flight", test_two_in_flight);
  g_test_add_func ("/flow/caps-change", test_caps_change);
  g_test_add_func ("/flow/flush-with-a-frame-in-flight", test_flush_with_a_frame_in_flight);
  g_test_add_func ("/flow/flush-from-the-task", test_flush_from_the_task);
  g_test_add_func ("/flow/flush-spares-sticky-events", test_flush_spares_sticky_events);
  g_test_add_func ("/flow/flush-storm", test_flush_storm);
  g_test_add_func ("/flow/flush-stop-alone", test_flush_stop_alone);
  g_test_add_func ("/flow/eos-drains", test_eos_drains);
  g_test_add_func ("/flow/returns", test_flow_returns);
  g_test_add_func ("/flow/segment-after-eos-return", test_segment_after_eos_return);
  g_test_add_func ("/flow/linked-again", test_linked_again);
  g_test_add_func ("/flow/bad-size-while-playing", test_bad_size_while_playing);
  g_test_add_func ("/flow/error-at-eos", test_error_at_eos);
  g_test_add_func ("/flow/drain", test_drain);
  g_test_add_func ("/flow/flush-ends-a-query", test_flush_ends_a_query);
  g_test_add_func ("/flow/allocation", test_allocation);
  g_test_add_func ("/flow/caps-query", test_caps_query);
  g_test_add_func ("/flow/upstream-events", test_upstream_events);
  g_test_add_func ("/flow/latency", test_latency);
  g_test_add_func ("/flow/latency-changes", test_latency_changes);
  return test_run ();
}
