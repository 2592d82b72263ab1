/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* More frames than the engine can do, in both modes: what leaves when, with what result, and what is counted. The engine
 * is slow because pictures are large; nothing here depends on how slow. */
#include "common.h"

#include <string.h>

#define CAPS "video/x-raw,format=RGB,width=48,height=48,framerate=25/1"
#define OTHER_CAPS "video/x-raw,format=I420,width=64,height=36,framerate=25/1"
#define AUTO 0
#define BLOCK 1
#define SKIP 2
#define SLOW 512 /* input-size: 256 times the pixels that the tiny model is made for */
#define MS ((gint64) GST_MSECOND)
#define COLOURS 8

/* ---- frames whose memory is spoiled and freed as soon as nobody holds it ---- */

typedef struct {
  gsize size;
  guint8 bytes[];
} Memory;

static void
spoil (gpointer data)
{
  Memory *memory = data;
  memset (memory->bytes, 0x55, memory->size);
  g_free (memory);
}

/* Of frame @i, in the colour that is its turn. */
static GstBuffer *
frame (const char *caps, int i)
{
  GstMapInfo map;
  g_autoptr (GstBuffer) picture = test_frame (caps, i % COLOURS, i);
  g_assert_true (gst_buffer_map (picture, &map, GST_MAP_READ));
  Memory *memory = g_malloc (sizeof *memory + map.size);
  memory->size = map.size;
  memcpy (memory->bytes, map.data, map.size);
  gst_buffer_unmap (picture, &map);
  GstBuffer *buffer = gst_buffer_new_wrapped_full (0, memory->bytes, memory->size, 0, memory->size, memory, spoil);
  GST_BUFFER_PTS (buffer) = GST_BUFFER_PTS (picture);
  GST_BUFFER_DURATION (buffer) = GST_BUFFER_DURATION (picture);
  return buffer;
}

/* What left, in words: "3f" is frame 3 with its own result, "5h2" frame 5 with that of two frames before, "4-" without. */
typedef struct {
  GMutex lock;
  GString *seen;
  guint n, n_fresh, n_held;
  int last;
} Log;

static GstPadProbeReturn
on_frame (GstPad *pad, GstPadProbeInfo *info, gpointer data)
{
  Log *log = data;
  GstBuffer *buffer = GST_PAD_PROBE_INFO_BUFFER (info);
  const char *state = test_state (buffer);
  g_mutex_lock (&log->lock);
  int i = GST_BUFFER_PTS_IS_VALID (buffer) ? (int) (GST_BUFFER_PTS (buffer) / FRAME_TIME) : -1;
  g_assert_cmpint (i, >, log->last);
  log->last = i;
  log->n++;
  if (!state) {
    g_string_append_printf (log->seen, "%d- ", i);
  } else if (g_str_equal (state, "fresh")) {
    log->n_fresh++;
    g_string_append_printf (log->seen, "%df ", i);
    g_assert_cmpstr (test_label (buffer), ==, tiny_labels[i % COLOURS]);
    g_assert_cmpuint (test_age (buffer), ==, 0);
  } else {
    g_assert_cmpstr (state, ==, "held");
    int age = (int) (test_age (buffer) / FRAME_TIME);
    log->n_held++;
    g_string_append_printf (log->seen, "%dh%d ", i, age);
    g_assert_cmpint (age, >, 0);
    g_assert_cmpstr (test_label (buffer), ==, tiny_labels[(i - age) % COLOURS]); /* its truth, from before it was spoiled */
  }
  g_mutex_unlock (&log->lock);
  return GST_PAD_PROBE_OK;
}

static Log *
log_new (GstHarness *h)
{
  Log *log = g_new0 (Log, 1);
  g_mutex_init (&log->lock);
  log->seen = g_string_new (NULL);
  log->last = -1;
  gst_pad_add_probe (h->sinkpad, GST_PAD_PROBE_TYPE_BUFFER, on_frame, log, NULL);
  gst_harness_set_drop_buffers (h, TRUE);
  return log;
}

static void
log_free (Log *log)
{
  g_test_message ("%s", log->seen->str);
  g_string_free (log->seen, TRUE);
  g_mutex_clear (&log->lock);
  g_free (log);
}

static void
drain (GstHarness *h)
{
  g_autoptr (GstQuery) query = gst_query_new_drain ();
  gst_pad_peer_query (h->srcpad, query);
}

static void
push_frames (GstHarness *h, int first, int n, gulong pause)
{
  for (int i = first; i < first + n; i++) {
    g_assert_cmpint (gst_harness_push (h, frame (CAPS, i)), ==, GST_FLOW_OK);
    if (pause)
      g_usleep (pause);
  }
}

static void
start_segment (GstHarness *h, double rate, GstSegmentFlags flags, GstClockTime start, GstClockTime stop)
{
  GstSegment segment;
  gst_segment_init (&segment, GST_FORMAT_TIME);
  segment.rate = rate;
  segment.flags = flags;
  segment.start = segment.time = start;
  segment.stop = stop;
  segment.position = rate < 0 ? stop : start;
  gst_harness_push_event (h, gst_event_new_segment (&segment));
}

/* ---- modes ---- */

/* Nobody is too late, so all is as in block. */
static void
test_in_time (void)
{
  const int modes[] = { BLOCK, SKIP };
  for (guint m = 0; m < G_N_ELEMENTS (modes); m++) {
    GstHarness *h = test_harness (CAPS, "overload", modes[m], "latency-budget", 60 * (gint64) GST_SECOND, NULL);
    Log *log = log_new (h);
    for (int i = 0; i < 20; i++) {
      push_frames (h, i, 1, 0);
      drain (h);
    }
    g_assert_cmpuint (log->n_fresh, ==, 20);
    g_assert_cmpuint (test_stat (h->element, "classified"), ==, 20);
    g_assert_cmpuint (test_stat (h->element, "shed") + test_stat (h->element, "late"), ==, 0);
    test_harness_free (h);
    log_free (log);
  }
}

/* However slow: each frame waits for its own result. */
static void
test_block (void)
{
  GstHarness *h = test_harness (CAPS, "input-size", SLOW, "latency-budget", (gint64) 0, NULL);
  Log *log = log_new (h);
  push_frames (h, 0, 20, 0);
  drain (h);
  g_assert_cmpuint (log->n_fresh, ==, 20);
  g_assert_cmpuint (test_stat (h->element, "shed"), ==, 0);
  test_harness_free (h);
  log_free (log);
}

/* Frames leave at once, their inference goes on, and is held for those behind. Nothing of it is made up, none is lost. */
static void
test_skip (void)
{
  enum { N = 60 };
  GstHarness *h = test_harness (CAPS, "overload", SKIP, "input-size", SLOW, "latency-budget", (gint64) 0, "hold-max",
      (guint64) G_MAXUINT64, NULL);
  Log *log = log_new (h);
  push_frames (h, 0, N / 2, 0);
  for (int i = N / 2; i < N; i++) /* now with time for a result to come */
    push_frames (h, i, 1, 20000);
  drain (h);
  g_assert_cmpuint (log->n, ==, N);
  g_assert_cmpuint (log->n_held, >, 0);
  guint64 classified = test_stat (h->element, "classified"), skipped = test_stat (h->element, "skipped");
  guint64 shed = test_stat (h->element, "shed"), late = test_stat (h->element, "late");
  g_test_message ("%u fresh, %u held; %u classified, %u late, %u shed", log->n_fresh, log->n_held, (guint) classified,
      (guint) late, (guint) shed);
  g_assert_cmpuint (classified + skipped, ==, N);
  g_assert_cmpuint (shed, ==, skipped); /* interval is 1: all were due */
  g_assert_cmpuint (late, >, 0);
  g_assert_cmpuint (classified, ==, late + log->n_fresh);
  g_assert_cmpuint (shed, >, 0);
  test_expect_no_error (test_bus (h));
  test_harness_free (h);
  log_free (log);
}

/* All the time in the world, but so many frames: who hands them over waits for no inference, so most leave without. */
static void
test_chain_waits_not (void)
{
  enum { N = 200 };
  GstHarness *h = test_harness (CAPS, "overload", SKIP, "input-size", SLOW, "latency-budget", 3600 * (gint64) GST_SECOND,
      NULL);
  Log *log = log_new (h);
  push_frames (h, 0, N, 0);
  g_assert_cmpuint (log->n, >=, N - 33); /* 32 are held at most */
  gst_harness_push_event (h, gst_event_new_flush_start ());
  g_assert_cmpuint (test_stat (h->element, "shed"), >, 0);
  test_harness_free (h);
  log_free (log);
}

/* Not a single answer comes, and all frames leave nevertheless: at the end of their time, before it where they are too many,
 * at a flush and at the end. */
static void
test_frozen (void)
{
  GstHarness *h = test_harness (CAPS, "overload", SKIP, "latency-budget", 20 * MS, NULL);
  Log *log = log_new (h);
  TestIce *ice = test_freeze (test_model ());
  test_wait_until_still (ice);
  push_frames (h, 0, 50, 1000);
  drain (h);
  g_assert_cmpuint (log->n, ==, 50);
  g_object_set (h->element, "latency-budget", 3600 * (gint64) GST_SECOND, NULL);
  push_frames (h, 50, 100, 0);
  g_assert_cmpuint (log->n, >=, 150 - 33);
  g_assert_cmpuint (log->n_fresh + log->n_held, ==, 0);
  g_assert_cmpuint (test_stat (h->element, "classified"), ==, 0);
  g_assert_cmpuint (test_stat (h->element, "shed"), >=, 150 - 33);
  g_assert_true (gst_harness_push_event (h, gst_event_new_flush_start ()));
  g_assert_true (gst_harness_push_event (h, gst_event_new_flush_stop (TRUE)));
  start_segment (h, 1, 0, 0, GST_CLOCK_TIME_NONE);
  log->last = -1;
  g_object_set (h->element, "latency-budget", 20 * MS, NULL);
  push_frames (h, 0, 1, 0);
  drain (h);
  g_assert_true (g_str_has_suffix (log->seen->str, " 0- "));
  test_thaw (ice);
  g_object_set (h->element, "latency-budget", 60 * (gint64) GST_SECOND, NULL);
  push_frames (h, 1, 1, 0);
  drain (h);
  g_assert_true (g_str_has_suffix (log->seen->str, " 1f "));
  test_harness_free (h);
  log_free (log);
}

/* A harness says that it is live; a file does not. */
static void
test_auto (void)
{
  GstHarness *h = test_harness (CAPS, "overload", AUTO, "latency-budget", 77 * MS, NULL);
  g_assert_cmpuint (gst_harness_query_latency (h), ==, 77 * MS);
  test_harness_free (h);

  g_autofree char *description = g_strdup_printf ("videotestsrc num-buffers=40 ! " CAPS " ! vigclassify name=v "
      "latency-budget=0 input-size=%d threads=1 model-file=%s ! fakesink", SLOW, test_model ());
  GstElement *pipeline = gst_parse_launch (description, NULL);
  g_autoptr (GstElement) v = gst_bin_get_by_name (GST_BIN (pipeline), "v");
  g_autoptr (GstBus) bus = gst_element_get_bus (pipeline);
  gst_element_set_state (pipeline, GST_STATE_PLAYING);
  g_autoptr (GstMessage) end = gst_bus_timed_pop_filtered (bus, 60 * GST_SECOND, GST_MESSAGE_EOS | GST_MESSAGE_ERROR);
  g_assert_cmpint (GST_MESSAGE_TYPE (end), ==, GST_MESSAGE_EOS);
  g_assert_cmpuint (test_stat (v, "classified"), ==, 40);
  gst_element_set_state (pipeline, GST_STATE_NULL);
  gst_object_unref (pipeline);
}

/* ---- latency ---- */

static guint
count_latency_messages (GstHarness *h)
{
  guint n = 0;
  GstMessage *message;
  while ((message = gst_bus_pop_filtered (test_bus (h), GST_MESSAGE_LATENCY))) {
    gst_message_unref (message);
    n++;
  }
  return n;
}

static void
test_latency (void)
{
  GstHarness *h = test_harness (CAPS, "overload", SKIP, "batch-delay", 7 * MS, NULL);
  gst_harness_set_upstream_latency (h, 40 * GST_MSECOND);
  GstClockTime latency = gst_harness_query_latency (h);
  g_assert_cmpuint (latency, >, 47 * MS); /* and what warming up has measured */
  g_assert_cmpuint (latency, <, 60 * GST_SECOND);
  g_assert_cmpuint (test_stat (h->element, "latency"), ==, latency - 40 * MS);
  g_object_set (h->element, "latency-budget", 100 * MS, NULL);
  g_assert_cmpuint (gst_harness_query_latency (h), ==, 140 * MS);
  count_latency_messages (h);
  const struct { gint64 budget; guint messages; } steps[] = {
    { 110 * MS, 0 }, { 90 * MS, 0 }, /* by less than a fifth */
    { 130 * MS, 1 }, { 300 * MS, 0 }, /* and not again for five seconds */
  };
  for (guint i = 0; i < G_N_ELEMENTS (steps); i++) {
    g_object_set (h->element, "latency-budget", steps[i].budget, NULL);
    push_frames (h, (int) i, 1, 0);
    drain (h);
    g_assert_cmpuint (count_latency_messages (h), ==, steps[i].messages);
  }
  g_assert_cmpuint (test_stat (h->element, "latency"), ==, 130 * MS); /* what it was told */
  test_harness_free (h);
}

/* ---- buffers ---- */

static guint pool_max;

static gboolean
take_query (GstPad *pad, GstObject *parent, GstQuery *query)
{
  if (GST_QUERY_TYPE (query) == GST_QUERY_DRAIN)
    return TRUE;
  if (GST_QUERY_TYPE (query) != GST_QUERY_ALLOCATION)
    return gst_pad_query_default (pad, parent, query);
  gst_query_add_allocation_pool (query, NULL, 1000, 3, pool_max);
  return TRUE;
}

static guint
ask_for_buffers (GstHarness *h)
{
  guint min;
  g_autoptr (GstCaps) caps = gst_caps_from_string (CAPS);
  g_autoptr (GstQuery) query = gst_query_new_allocation (caps, TRUE);
  g_assert_true (gst_pad_peer_query (h->srcpad, query));
  gst_query_parse_nth_allocation_pool (query, 0, NULL, NULL, &min, NULL);
  return min;
}

/* What may be held is what is asked for; and where a pool has no more, fewer are held, so that nobody starves. */
static void
test_buffers (void)
{
  GstHarness *h = test_harness (CAPS, "overload", SKIP, "latency-budget", 400 * MS, NULL);
  gst_pad_set_query_function (h->sinkpad, take_query);
  pool_max = 0;
  g_assert_cmpuint (ask_for_buffers (h), ==, 3 + 12); /* 400 ms at 25 frames/s */
  g_object_set (h->element, "latency-budget", (gint64) 0, NULL);
  g_assert_cmpuint (ask_for_buffers (h), ==, 3 + 2);
  g_object_set (h->element, "latency-budget", 3600 * (gint64) GST_SECOND, "input-size", SLOW, NULL);
  g_assert_cmpuint (ask_for_buffers (h), ==, 3 + 32);
  pool_max = 4;
  g_assert_cmpuint (ask_for_buffers (h), ==, 4);
  Log *log = log_new (h);
  for (int i = 0; i < 20; i++) {
    push_frames (h, i, 1, 0);
    g_assert_cmpuint (log->n, >=, (guint) i); /* but one have left */
  }
  drain (h);
  g_assert_cmpuint (log->n, ==, 20);
  test_harness_free (h);
  log_free (log);
}

/* ---- what comes between frames, under load ---- */

static void
test_gap_buffers (void)
{
  GstHarness *h = test_harness (CAPS, "overload", SKIP, "input-size", SLOW, "latency-budget", (gint64) 0, NULL);
  Log *log = log_new (h);
  for (int i = 0; i < 20; i++) {
    GstBuffer *buffer = frame (CAPS, i);
    GST_BUFFER_FLAG_SET (buffer, GST_BUFFER_FLAG_GAP);
    g_assert_cmpint (gst_harness_push (h, buffer), ==, GST_FLOW_OK);
  }
  drain (h);
  g_assert_cmpuint (log->n, ==, 20);
  g_assert_cmpuint (test_stat (h->element, "skipped"), ==, 20);
  g_assert_cmpuint (test_stat (h->element, "shed") + test_stat (h->element, "classified"), ==, 0);
  test_harness_free (h);
  log_free (log);
}

static GstPadProbeReturn
write_down (GstPad *pad, GstPadProbeInfo *info, gpointer data)
{
  if (GST_PAD_PROBE_INFO_TYPE (info) & GST_PAD_PROBE_TYPE_BUFFER)
    g_string_append (data, "frame ");
  else
    g_string_append_printf (data, "%s ", GST_EVENT_TYPE_NAME (GST_PAD_PROBE_INFO_EVENT (info)));
  return GST_PAD_PROBE_OK;
}

/* Everything in its place, with as many frames ahead of it as are held. */
static void
test_order (void)
{
  for (int mode = BLOCK; mode <= SKIP; mode++) {
    GstHarness *h = test_harness (CAPS, "overload", mode, "input-size", SLOW, "latency-budget", 20 * MS, NULL);
    gst_harness_set_drop_buffers (h, TRUE);
    g_autoptr (GString) seen = g_string_new (NULL), expected = g_string_new (NULL);
    drain (h);
    gst_pad_add_probe (h->sinkpad, GST_PAD_PROBE_TYPE_BUFFER | GST_PAD_PROBE_TYPE_EVENT_DOWNSTREAM, write_down, seen,
        NULL);
    for (int round = 0; round < 5; round++) {
      push_frames (h, 10 * round, 2, 0);
      gst_harness_push_event (h, gst_event_new_gap (0, FRAME_TIME));
      push_frames (h, 10 * round + 2, 1, 0);
      gst_harness_set_src_caps_str (h, round % 2 ? CAPS : OTHER_CAPS);
      g_assert_cmpint (gst_harness_push (h, frame (round % 2 ? CAPS : OTHER_CAPS, 10 * round + 3)), ==, GST_FLOW_OK);
      gst_harness_set_src_caps_str (h, CAPS);
      g_string_append (expected, round % 2 ? "frame frame gap frame frame " : "frame frame gap frame caps frame caps ");
    }
    gst_harness_push_event (h, gst_event_new_eos ());
    g_string_append (expected, "frame frame frame frame eos ");
    GstEvent *event;
    while ((event = gst_harness_pull_event (h)) && GST_EVENT_TYPE (event) != GST_EVENT_EOS)
      gst_event_unref (event);
    g_assert_nonnull (event);
    gst_event_unref (event);
    /* with what caps events were repeated is the harness's: count frames and see that the end is the end */
    guint n = 0;
    for (const char *at = seen->str; (at = strstr (at, "frame ")); at++)
      n++;
    g_assert_cmpuint (n, ==, 20);
    g_assert_true (g_str_has_prefix (seen->str, "frame frame gap frame "));
    g_assert_true (g_str_has_suffix (seen->str, "eos "));
    test_expect_no_error (test_bus (h));
    test_harness_free (h);
  }
}

static gpointer
push_many (gpointer h)
{
  for (int i = 0; i < 40; i++)
    gst_harness_push (h, frame (CAPS, i));
  return NULL;
}

/* A flush at any moment; afterwards everything is as if new, and no result of before is held. */
static void
test_flush_storm (void)
{
  for (int mode = BLOCK; mode <= SKIP; mode++) {
    GstHarness *h = test_harness (CAPS, "overload", mode, "input-size", 160, "latency-budget", 3 * MS, NULL);
    gst_harness_set_drop_buffers (h, TRUE);
    for (int round = 0; round < 60; round++) {
      GThread *thread = g_thread_new ("push", push_many, h);
      g_usleep (g_test_rand_int_range (0, 8000));
      g_assert_true (gst_harness_push_event (h, gst_event_new_flush_start ()));
      g_thread_join (thread);
      g_assert_true (gst_harness_push_event (h, gst_event_new_flush_stop (TRUE)));
      start_segment (h, 1, 0, 0, GST_CLOCK_TIME_NONE);
    }
    g_object_set (h->element, "overload", BLOCK, NULL);
    Log *log = log_new (h);
    push_frames (h, 0, 10, 0);
    drain (h);
    g_assert_cmpuint (log->n_fresh, ==, 10);
    test_expect_no_error (test_bus (h));
    test_harness_free (h);
    log_free (log);
  }
}

/* Stops and starts at any moment. */
static void
test_state_storm (void)
{
  for (int mode = BLOCK; mode <= SKIP; mode++) {
    GstHarness *h = test_harness (CAPS, "overload", mode, "input-size", 160, "latency-budget", 3 * MS, NULL);
    gst_harness_set_drop_buffers (h, TRUE);
    for (int round = 0; round < 30; round++) {
      GThread *thread = g_thread_new ("push", push_many, h);
      g_usleep (g_test_rand_int_range (0, 8000));
      GstState state = round % 3 == 0 ? GST_STATE_NULL : round % 3 == 1 ? GST_STATE_READY : GST_STATE_PAUSED;
      g_assert_cmpint (gst_element_set_state (h->element, state), ==, GST_STATE_CHANGE_SUCCESS);
      g_thread_join (thread);
      g_assert_cmpint (gst_element_set_state (h->element, GST_STATE_PLAYING), ==, GST_STATE_CHANGE_SUCCESS);
      gst_harness_set_src_caps_str (h, CAPS);
      start_segment (h, 1, 0, 0, GST_CLOCK_TIME_NONE);
    }
    push_frames (h, 0, 5, 0);
    drain (h);
    test_expect_no_error (test_bus (h));
    test_harness_free (h);
  }
}

/* ---- rates ---- */

/* Backwards nothing is held, which is said once; forwards again, nothing of before. */
static void
test_backwards (void)
{
  GstHarness *h = test_harness (CAPS, "interval", 3, NULL);
  guint n_said = 0;
  for (int turn = 0; turn < 3; turn++) {
    gboolean backwards = turn != 1;
    start_segment (h, backwards ? -1 : 1, 0, 0, 6 * FRAME_TIME);
    for (int i = 0; i < 5; i++) { /* at the turn, the next would not be due for a while */
      int n = backwards ? 5 - i : i;
      g_assert_cmpint (gst_harness_push (h, frame (CAPS, n)), ==, GST_FLOW_OK);
      g_autoptr (GstBuffer) out = gst_harness_pull (h);
      g_assert_cmpuint (GST_BUFFER_PTS (out), ==, (guint) n * FRAME_TIME);
      if (i % 3 == 0)
        g_assert_cmpstr (test_state (out), ==, "fresh");
      else
        g_assert_cmpstr (test_state (out), ==, backwards ? NULL : "held");
      if (test_state (out))
        g_assert_cmpstr (test_label (out), ==, tiny_labels[backwards || i < 3 ? n - (backwards ? 0 : i) : 3]);
    }
  }
  GstMessage *message;
  while ((message = gst_bus_pop_filtered (test_bus (h), GST_MESSAGE_INFO))) {
    gst_message_unref (message);
    n_said++;
  }
  g_assert_cmpuint (n_said, ==, 1);
  test_harness_free (h);
}

/* Four times as fast: a frame is older by a quarter of what lies between. */
static void
test_trick_mode (void)
{
  GstHarness *h = test_harness (CAPS, "interval", 2, NULL);
  start_segment (h, 4, GST_SEGMENT_FLAG_TRICKMODE | GST_SEGMENT_FLAG_TRICKMODE_KEY_UNITS, 0, GST_CLOCK_TIME_NONE);
  for (int i = 0; i < 40; i += 8) {
    for (int k = 0; k < 2; k++) {
      g_assert_cmpint (gst_harness_push (h, frame (CAPS, i + 4 * k)), ==, GST_FLOW_OK);
      g_autoptr (GstBuffer) out = gst_harness_pull (h);
      g_assert_cmpstr (test_state (out), ==, k ? "held" : "fresh");
      g_assert_cmpuint (test_age (out), ==, k * FRAME_TIME);
    }
  }
  test_harness_free (h);
}

/* The event overtakes the frames; they go on as they are. */
static void
test_instant_rate (void)
{
  for (int mode = BLOCK; mode <= SKIP; mode++) {
    GstHarness *h = test_harness (CAPS, "overload", mode, "latency-budget", 60 * (gint64) GST_SECOND, NULL);
    Log *log = log_new (h);
    push_frames (h, 0, 3, 0);
    g_assert_true (gst_harness_push_event (h, gst_event_new_instant_rate_change (2, GST_SEGMENT_FLAG_NONE)));
    push_frames (h, 3, 3, 0);
    drain (h);
    GstEvent *event;
    gboolean found = FALSE;
    while ((event = gst_harness_try_pull_event (h))) {
      found |= GST_EVENT_TYPE (event) == GST_EVENT_INSTANT_RATE_CHANGE;
      gst_event_unref (event);
    }
    g_assert_true (found);
    g_assert_cmpuint (log->n, ==, 6);
    gst_harness_push_upstream_event (h, gst_event_new_instant_rate_sync_time (2, 0, 0));
    found = FALSE;
    while ((event = gst_harness_try_pull_upstream_event (h))) {
      found |= GST_EVENT_TYPE (event) == GST_EVENT_INSTANT_RATE_SYNC_TIME;
      gst_event_unref (event);
    }
    g_assert_true (found);
    test_harness_free (h);
    log_free (log);
  }
}

/* Without timestamps frames are classified, and nothing is held: nobody knows how old it would be. */
static void
test_no_timestamps (void)
{
  for (int mode = BLOCK; mode <= SKIP; mode++) {
    GstHarness *h = test_harness (CAPS, "overload", mode, "interval", 2, "latency-budget", 60 * (gint64) GST_SECOND, NULL);
    for (int i = 0; i < 10; i++) {
      GstBuffer *buffer = frame (CAPS, i);
      GST_BUFFER_PTS (buffer) = GST_BUFFER_DURATION (buffer) = GST_CLOCK_TIME_NONE;
      g_assert_cmpint (gst_harness_push (h, buffer), ==, GST_FLOW_OK);
      g_autoptr (GstBuffer) out = gst_harness_pull (h);
      g_assert_false (GST_BUFFER_PTS_IS_VALID (out));
      g_assert_cmpstr (test_state (out), ==, i % 2 ? NULL : "fresh");
    }
    test_harness_free (h);
  }
}

int
main (int argc, char **argv)
{
  test_init (&argc, &argv);
  g_test_add_func ("/overload/in-time", test_in_time);
  g_test_add_func ("/overload/block", test_block);
  g_test_add_func ("/overload/skip", test_skip);
  g_test_add_func ("/overload/chain-waits-not", test_chain_waits_not);
  g_test_add_func ("/overload/frozen", test_frozen);
  g_test_add_func ("/overload/auto", test_auto);
  g_test_add_func ("/overload/latency", test_latency);
  g_test_add_func ("/overload/buffers", test_buffers);
  g_test_add_func ("/overload/gap-buffers", test_gap_buffers);
  g_test_add_func ("/overload/order", test_order);
  g_test_add_func ("/overload/flush-storm", test_flush_storm);
  g_test_add_func ("/overload/state-storm", test_state_storm);
  g_test_add_func ("/overload/backwards", test_backwards);
  g_test_add_func ("/overload/trick-mode", test_trick_mode);
  g_test_add_func ("/overload/instant-rate", test_instant_rate);
  g_test_add_func ("/overload/no-timestamps", test_no_timestamps);
  return test_run ();
}
