/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Much of everything at random: elements that start and stop in one process, and streams over one engine with flushes from
 * other threads, seeks, caps changes, gaps, ends, queries, changes of properties, models and states. No buffer may be lost
 * or leave out of order, nothing may be left over, no memory may grow, and a watchdog ends a run that stands still.
 *
 *   elements-soak [--cycles N] [--buffers N] [--streams N] [--seed N] [--no-memory]
 *
 * The default is short enough for every run of the tests; tests/bench/soak is the long form.
 */
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <gst/analytics/analytics.h>

#include "common.h"
#include "watched.h"

#define STANDSTILL 120 /* seconds */
#define MAX_STREAMS 16
#define ROUNDS 8       /* of the storm, all streams anew in each */
#define ENTER 0.6      /* with which segments begin */

static int option_cycles = 200, option_buffers = 16000, option_streams = 4, option_seed = -1;
static gboolean option_no_memory;

/* Two each that say the same, but are not the same: of images, with a memory, of windows. */
enum { N_IMAGE_MODELS = 2, N_MODELS = 6 };
static char *models[N_MODELS];

/* Modes as the enumeration has them. */
enum { AUTO, MEAN = 2, EMA };

/* ---- the watchdog ---- */

static gint progress; /* atomic */

static gpointer
watch (gpointer data)
{
  for (int last = -1, still = 0; ; still++) {
    int now = g_atomic_int_get (&progress);
    still = now == last ? still : 0;
    if (still >= STANDSTILL)
      g_error ("nothing has moved for %d s", STANDSTILL);
    last = now;
    g_usleep (G_USEC_PER_SEC);
  }
  return NULL;
}

/* ---- memory ---- */

typedef struct {
  double resident, allocated; /* MiB; the first includes what the allocator has lost in holes, and so grows a little at first */
} Memory;

static Memory
measure (void)
{
  const double mib = 1 << 20;
  long size, pages = 0;
  FILE *f = fopen ("/proc/self/statm", "r");
  g_assert_nonnull (f);
  malloc_trim (0); /* what is free does not count */
  g_assert_cmpint (fscanf (f, "%ld %ld", &size, &pages), ==, 2);
  fclose (f);
  struct mallinfo2 info = mallinfo2 ();
  return (Memory) { (double) pages * (double) sysconf (_SC_PAGESIZE) / mib, (double) (info.uordblks + info.hblkhd) / mib };
}

static void
check_memory (const char *what, Memory early)
{
  Memory now = measure ();
  g_test_message ("%s: early %.2f MiB allocated, %.1f resident; at the end %.2f and %.1f", what, early.allocated,
      early.resident, now.allocated, now.resident);
#ifndef __SANITIZE_ADDRESS__ /* which keeps what is freed for a while */
  if (!option_no_memory) {
    g_assert_cmpfloat (now.allocated - early.allocated, <, 0.5);
    g_assert_cmpfloat (now.resident - early.resident, <, 32); /* up to 16 were seen, and no more in four times as many buffers */
  }
#endif
}

/* ---- starts and stops ---- */

#define CAPS "video/x-raw,format=RGB,width=32,height=32,framerate=25/1"

static void
cycle (GRand *rand)
{
  GstHarness *h[3];
  int n = g_rand_int_range (rand, 1, 4);
  for (int i = 0; i < n; i++)
    h[i] = test_harness (g_rand_boolean (rand) ? CAPS : NULL, "share", g_rand_int_range (rand, 0, 4) > 0, "device", "cpu",
        "model-file", models[g_rand_int_range (rand, 0, N_MODELS)], "max-in-flight", g_rand_int_range (rand, 1, 5),
        "clip-length", 4, "clip-hop", g_rand_int_range (rand, 1, 4), NULL);
  for (int i = 0; i < n; i++) {
    if (!gst_pad_has_current_caps (h[i]->srcpad))
      continue;
    int frames = g_rand_int_range (rand, 0, 6);
    gst_harness_set_drop_buffers (h[i], TRUE);
    for (int f = 0; f < frames; f++)
      g_assert_cmpint (gst_harness_push (h[i], test_frame (CAPS, TINY_RED, f)), ==, GST_FLOW_OK);
    if (g_rand_boolean (rand))
      gst_harness_push_event (h[i], gst_event_new_eos ());
  }
  for (int i = 0; i < n; i++) { /* with frames in flight, or not */
    gst_element_set_state (h[i]->element, g_rand_int_range (rand, GST_STATE_NULL, GST_STATE_PLAYING + 1));
    test_expect_no_error (test_bus (h[i]));
    test_harness_free (h[i]);
  }
}

static void
test_cycles (void)
{
  g_autoptr (GRand) rand = g_rand_new_with_seed ((guint32) option_seed);
  Memory early = { 0 };
  for (int i = 0; i < option_cycles; i++) {
    cycle (rand);
    g_atomic_int_inc (&progress);
    if (i == option_cycles / 4)
      early = measure ();
  }
  check_memory ("cycles", early);
  expect_no_leaks ();
}

/* ---- the storm ---- */

static const struct { int width, height; } sizes[] = { { 32, 32 }, { 48, 32 }, { 33, 45 } };

typedef struct {
  GstHarness *h;
  int number, buffers;
  int n_models;     /* that can do what it is to do, of those there are: what is not loaded yet at a restart is then, or it fails */
  GRand *rand;      /* the streaming thread's */
  GMutex lock;      /* held by the streaming thread while it streams, and by who flushes from FLUSH_STOP on */
  gint stop;        /* atomic */

  /* under the lock; what the source pad's thread reads of it is atomic */
  gint64 pushed;    /* serial number of the last buffer */
  gint64 flushed;   /* buffers up to this one may have been dropped */
  int size;         /* index of @sizes */
  gint flushing;    /* atomic: a FLUSH_START is out */

  /* the source pad's thread's, atomic */
  gint64 last;      /* serial number of the last buffer that left */
  gint64 left;
  int n_flushes, n_fresh, n_reloads;

  /* of frames, not of objects: atomic */
  gint n_sure;      /* answers seen that are in a segment: of at least ENTER, */
  gint n_told;      /* answers of the segments that were told, */
  gint n_classified; /* and those that there can be at most, without those of the start that is going on */
} Stream;

static gint64
load (gint64 *value)
{
  return __atomic_load_n (value, __ATOMIC_SEQ_CST);
}

static void
store (gint64 *value, gint64 to)
{
  __atomic_store_n (value, to, __ATOMIC_SEQ_CST);
}

/* The next after the last one, or the first after a flush. */
static void
check_order (Stream *s, gint64 serial)
{
  gint64 last = load (&s->last), flushed = load (&s->flushed);
  if (serial != last + 1 && !(last < flushed && serial == flushed + 1))
    g_error ("stream %d: buffer %" G_GINT64_FORMAT " after %" G_GINT64_FORMAT ", flushed up to %" G_GINT64_FORMAT, s->number,
        serial, last, flushed);
}

/* What of segments was told, and to whom; nothing of it is kept. */
static GstBusSyncReply
on_message (GstBus *bus, GstMessage *message, gpointer data)
{
  Stream *s = data;
  guint answers;
  if (!gst_message_has_name (message, "vig-segment"))
    return GST_BUS_PASS;
  const GstStructure *segment = gst_message_get_structure (message);
  g_assert_true (gst_structure_get_uint (segment, "answers", &answers));
  g_assert_cmpuint (answers, >, 0);
  if (!gst_structure_has_field (segment, "tracking-id"))
    g_atomic_int_add (&s->n_told, (gint) answers);
  gst_message_unref (message);
  return GST_BUS_DROP;
}

/* Before the element starts anew, or ends: all that it has told is told. Each answer is in one segment: where the threshold is
 * above one half, no two labels have one at the same time. */
static void
count_segments (Stream *s)
{
  g_atomic_int_add (&s->n_classified, (gint) test_stat (s->h->element, "classified"));
  const int told = g_atomic_int_get (&s->n_told), sure = g_atomic_int_get (&s->n_sure), most = s->n_classified;
  if (told < sure || told > most)
    g_error ("stream %d: segments of %d answers, where at least %d and at most %d frames had one", s->number, told, sure, most);
}

/* Of the frame or of an object in it: all is of one colour. What several frames say together is what they say. */
static void
check_results (Stream *s, GstBuffer *buffer)
{
  const char *colour = tiny_labels[GST_BUFFER_OFFSET (buffer) % 8];
  for (guint i = 0; i < test_n_results (buffer); i++) {
    const GstStructure *result = test_result (buffer, i);
    guint64 start, last;
    if (g_strcmp0 (gst_structure_get_string (result, "state"), "fresh") != 0)
      continue;
    if (g_str_equal (gst_structure_get_string (result, "clip-mode"), "none"))
      g_assert_cmpstr (gst_structure_get_string (result, "label"), ==, colour);
    g_assert_true (gst_structure_get (result, "span-start", G_TYPE_UINT64, &start, "span-last", G_TYPE_UINT64, &last, NULL));
    g_assert_cmpuint (last, ==, GST_BUFFER_PTS (buffer));
    if (GST_CLOCK_TIME_IS_VALID (start) && GST_CLOCK_TIME_IS_VALID (last))
      g_assert_cmpuint (start, <=, last);
    s->n_fresh++;
    double confidence;
    g_assert_true (gst_structure_get_double (result, "confidence", &confidence));
    if (confidence >= ENTER && !gst_structure_has_field (result, "region-id"))
      g_atomic_int_inc (&s->n_sure);
  }
}

/* A buffer's size is that of the caps that hold when it leaves. */
static void
check_caps (Stream *s, GstPad *pad, GstBuffer *buffer)
{
  GstVideoInfo info;
  g_autoptr (GstCaps) caps = gst_pad_get_current_caps (pad);
  g_assert_nonnull (caps);
  g_assert_true (gst_video_info_from_caps (&info, caps));
  g_assert_cmpuint (gst_buffer_get_size (buffer), ==, info.size);
}

static GstPadProbeReturn
on_leaving (GstPad *pad, GstPadProbeInfo *info, gpointer data)
{
  Stream *s = data;
  g_atomic_int_inc (&progress);
  if (info->type & GST_PAD_PROBE_TYPE_BUFFER) {
    GstBuffer *buffer = GST_PAD_PROBE_INFO_BUFFER (info);
    gint64 serial = (gint64) GST_BUFFER_OFFSET (buffer);
    check_order (s, serial);
    check_caps (s, pad, buffer);
    check_results (s, buffer);
    store (&s->last, serial);
    store (&s->left, load (&s->left) + 1);
    if (serial % 97 == 0)
      g_usleep (2000); /* downstream is slow at times */
  } else if (GST_EVENT_TYPE (GST_PAD_PROBE_INFO_EVENT (info)) == GST_EVENT_CUSTOM_DOWNSTREAM) {
    gint64 after; /* leaves behind the buffer that it came behind, unless that is gone */
    const GstStructure *structure = gst_event_get_structure (GST_PAD_PROBE_INFO_EVENT (info));
    if (gst_structure_has_name (structure, "vig-segment")) /* the element's own */
      return GST_PAD_PROBE_OK;
    g_assert_true (gst_structure_get_int64 (structure, "after", &after));
    g_assert_true (load (&s->last) == after || after <= load (&s->flushed));
  }
  return GST_PAD_PROBE_OK;
}

static void
send_segment (Stream *s)
{
  GstSegment segment;
  gst_segment_init (&segment, GST_FORMAT_TIME);
  segment.start = segment.time = (guint64) (load (&s->pushed) + 1) * FRAME_TIME / 2;
  gst_pad_push_event (s->h->srcpad, gst_event_new_segment (&segment));
}

static void
send_caps (Stream *s)
{
  g_autoptr (GstCaps) caps = gst_caps_new_simple ("video/x-raw", "format", G_TYPE_STRING, "RGB", "width", G_TYPE_INT,
      sizes[s->size].width, "height", G_TYPE_INT, sizes[s->size].height, "framerate", GST_TYPE_FRACTION, 25, 1, NULL);
  gst_pad_push_event (s->h->srcpad, gst_event_new_caps (caps));
}

static void
begin_stream (Stream *s)
{
  g_autofree char *id = g_strdup_printf ("%d/%" G_GINT64_FORMAT, s->number, load (&s->pushed));
  gst_pad_push_event (s->h->srcpad, gst_event_new_stream_start (id));
  send_caps (s);
  send_segment (s);
}

/* Some of them followed from frame to frame, some partly or wholly outside of the picture. */
static void
add_objects (Stream *s, GstBuffer *buffer)
{
  GstAnalyticsRelationMeta *meta = gst_buffer_add_analytics_relation_meta (buffer);
  for (int i = g_rand_int_range (s->rand, 0, 6); i > 0; i--) {
    GstAnalyticsODMtd object;
    GstAnalyticsTrackingMtd tracking;
    g_assert_true (gst_analytics_relation_meta_add_od_mtd (meta, g_quark_from_static_string ("thing"),
            g_rand_int_range (s->rand, -10, 40), g_rand_int_range (s->rand, -10, 40), g_rand_int_range (s->rand, 1, 40),
            g_rand_int_range (s->rand, 1, 40), 0.5, &object));
    if (i % 2 && gst_analytics_relation_meta_add_tracking_mtd (meta, (guint64) i, 0, &tracking))
      gst_analytics_relation_meta_set_relation (meta, GST_ANALYTICS_REL_TYPE_RELATE_TO, object.id, tracking.id);
  }
}

static void
push_buffer (Stream *s)
{
  gint64 serial = load (&s->pushed) + 1;
  gsize row = GST_ROUND_UP_4 (3 * sizes[s->size].width), size = row * sizes[s->size].height;
  guint8 *pixels = g_malloc (size);
  for (gsize i = 0; i < size; i++)
    pixels[i] = serial >> (2 - i % row % 3) & 1 ? 255 : 0; /* the colour of class serial % 8 */
  GstBuffer *buffer = gst_buffer_new_wrapped (pixels, size);
  GST_BUFFER_OFFSET (buffer) = (guint64) serial;
  GST_BUFFER_PTS (buffer) = (guint64) serial * FRAME_TIME;
  if (g_rand_int_range (s->rand, 0, 50) == 0)
    GST_BUFFER_PTS (buffer) = GST_CLOCK_TIME_NONE;
  else if (g_rand_int_range (s->rand, 0, 50) == 0)
    GST_BUFFER_PTS (buffer) = (guint64) serial / 2 * FRAME_TIME;
  if (g_rand_int_range (s->rand, 0, 50) == 0)
    GST_BUFFER_FLAG_SET (buffer, GST_BUFFER_FLAG_DISCONT);
  GST_BUFFER_DURATION (buffer) = FRAME_TIME;
  if (g_rand_int_range (s->rand, 0, 20) == 0)
    GST_BUFFER_FLAG_SET (buffer, GST_BUFFER_FLAG_GAP);
  if (g_rand_int_range (s->rand, 0, 4) == 0)
    add_objects (s, buffer);
  gboolean before = g_atomic_int_get (&s->flushing);
  store (&s->pushed, serial);
  GstFlowReturn flow = gst_pad_push (s->h->srcpad, buffer);
  if (flow != GST_FLOW_OK && !before && !g_atomic_int_get (&s->flushing))
    g_error ("stream %d: buffer %" G_GINT64_FORMAT " was not taken: %s", s->number, serial, gst_flow_get_name (flow));
}

/* What has come before leaves first. */
static void
drain (Stream *s)
{
  g_autoptr (GstQuery) query = gst_query_new_drain ();
  gboolean answered = gst_pad_peer_query (s->h->srcpad, query);
  if (answered && !g_atomic_int_get (&s->flushing))
    g_assert_true (load (&s->last) == load (&s->pushed) || load (&s->flushed) == load (&s->pushed));
}

static void
ask_for_memory (Stream *s)
{
  g_autoptr (GstCaps) caps = gst_pad_get_current_caps (s->h->srcpad);
  g_autoptr (GstQuery) query = gst_query_new_allocation (caps, TRUE);
  gst_pad_peer_query (s->h->srcpad, query);
}

static gboolean
has (Stream *s, const char *property)
{
  return g_object_class_find_property (G_OBJECT_GET_CLASS (s->h->element), property) != NULL;
}

static void
change_property (Stream *s)
{
  GObject *element = G_OBJECT (s->h->element);
  switch (g_rand_int_range (s->rand, 0, 12)) {
    case 8:
      g_object_set (element, "clip-length", g_rand_int_range (s->rand, 1, 6), NULL);
      break;
    case 9:
      g_object_set (element, "clip-hop", g_rand_int_range (s->rand, 1, 6), NULL);
      break;
    case 10:
      g_object_set (element, "clip-stride", g_rand_int_range (s->rand, 1, 4), NULL);
      break;
    case 11:
      g_object_set (element, "clip-reset", g_rand_int_range (s->rand, 0, 16), NULL);
      break;
    case 0:
      g_object_set (element, "top-k", g_rand_int_range (s->rand, 1, 5), NULL);
      break;
    case 1:
      g_object_set (element, "interval", g_rand_int_range (s->rand, 1, 4), NULL);
      break;
    case 2:
      g_object_set (element, "input-size", 32 * g_rand_int_range (s->rand, 0, 3), NULL);
      break;
    case 3:
      g_object_set (element, "hold-result", g_rand_boolean (s->rand), NULL);
      break;
    case 4:
      g_object_set (element, "max-in-flight", g_rand_int_range (s->rand, 1, 6), NULL);
      break;
    case 5:
      if (has (s, "regions"))
        g_object_set (element, "regions", 2 * g_rand_int_range (s->rand, 0, 2), NULL); /* frame or both */
      break;
    case 6:
      if (has (s, "overload"))
        gst_util_set_object_arg (element, "overload", g_rand_boolean (s->rand) ? "skip" : "block");
      break;
    default:
      if (has (s, "latency-budget"))
        g_object_set (element, "latency-budget", (gint64) g_rand_int_range (s->rand, 0, 20) * GST_MSECOND, NULL);
  }
}

static void
reload (Stream *s)
{
  GParamSpec *spec = g_object_class_find_property (G_OBJECT_GET_CLASS (s->h->element), "model-file");
  if (spec->flags & GST_PARAM_MUTABLE_PLAYING) {
    g_object_set (s->h->element, "model-file", models[g_rand_int_range (s->rand, 0, s->n_models)], NULL);
    s->n_reloads++;
  }
}

/* What is in flight is dropped, and a new stream begins. */
static void
restart (Stream *s)
{
  gst_element_set_state (s->h->element, g_rand_boolean (s->rand) ? GST_STATE_READY : GST_STATE_NULL);
  count_segments (s);
  store (&s->flushed, load (&s->pushed));
  g_assert_cmpint (gst_element_set_state (s->h->element, GST_STATE_PLAYING), ==, GST_STATE_CHANGE_SUCCESS);
  begin_stream (s);
}

static void
mark (Stream *s)
{
  gst_pad_push_event (s->h->srcpad, gst_event_new_custom (GST_EVENT_CUSTOM_DOWNSTREAM,
      gst_structure_new ("mark", "after", G_TYPE_INT64, load (&s->pushed), NULL)));
}

static void
step (Stream *s)
{
  int dice = g_rand_int_range (s->rand, 0, 1000);
  if (dice < 10) {
    s->size = g_rand_int_range (s->rand, 0, G_N_ELEMENTS (sizes));
    send_caps (s);
  } else if (dice < 20) {
    send_segment (s);
  } else if (dice < 30) {
    gst_pad_push_event (s->h->srcpad, gst_event_new_gap ((guint64) load (&s->pushed) * FRAME_TIME, FRAME_TIME));
  } else if (dice < 50) {
    mark (s);
  } else if (dice < 55) {
    drain (s);
  } else if (dice < 60) {
    ask_for_memory (s);
  } else if (dice < 63) {
    gst_pad_push_event (s->h->srcpad, gst_event_new_eos ());
    begin_stream (s);
  } else if (dice < 70) {
    change_property (s);
  } else if (dice < 72) {
    reload (s);
  } else if (dice < 74) {
    gst_element_set_state (s->h->element, GST_STATE_PAUSED);
    gst_element_set_state (s->h->element, GST_STATE_PLAYING);
  } else if (dice < 75) {
    restart (s);
  } else {
    push_buffer (s);
  }
}

/* A seek as it looks from here: FLUSH_START at any moment, and then, when nothing streams, FLUSH_STOP and a segment. */
static void
flush (Stream *s, gboolean reset_time)
{
  g_atomic_int_set (&s->flushing, TRUE);
  gst_pad_push_event (s->h->srcpad, gst_event_new_flush_start ());
  g_mutex_lock (&s->lock);
  store (&s->flushed, load (&s->pushed));
  gst_pad_push_event (s->h->srcpad, gst_event_new_flush_stop (reset_time));
  begin_stream (s); /* events that came while it was flushing are lost */
  g_atomic_int_set (&s->flushing, FALSE);
  s->n_flushes++;
  g_mutex_unlock (&s->lock);
}

static gpointer
flusher (gpointer data)
{
  Stream *s = data;
  g_autoptr (GRand) rand = g_rand_new_with_seed ((guint32) (option_seed + 1000 + s->number));
  const int often = CLAMP (s->buffers / 4, 2, 200);
  gint64 next = g_rand_int_range (rand, 0, often);
  while (!g_atomic_int_get (&s->stop)) {
    g_usleep (g_rand_int_range (rand, 0, 2000)); /* at any moment after that buffer, however slow the machine */
    if (load (&s->pushed) < next)
      continue;
    flush (s, g_rand_boolean (rand));
    next = load (&s->pushed) + g_rand_int_range (rand, 0, often);
  }
  return NULL;
}

static gpointer
streamer (gpointer data)
{
  Stream *s = data;
  while (load (&s->pushed) < s->buffers) {
    if (g_atomic_int_get (&s->flushing)) { /* as upstream that was told so waits for the end of the flush */
      g_usleep (200);
      continue;
    }
    g_mutex_lock (&s->lock);
    step (s);
    g_mutex_unlock (&s->lock);
  }
  g_atomic_int_set (&s->stop, TRUE);
  return NULL;
}

/* The end of the stream, behind which everything has left. */
static void
finish (Stream *s)
{
  for (int i = 0; i < 5; i++)
    push_buffer (s);
  drain (s);
  g_assert_cmpint (load (&s->last), ==, load (&s->pushed));
  gst_pad_push_event (s->h->srcpad, gst_event_new_eos ());
  test_expect_no_error (test_bus (s->h));
  gst_element_set_state (s->h->element, GST_STATE_READY);
  count_segments (s);
  gst_bus_set_sync_handler (test_bus (s->h), NULL, NULL, NULL);
  test_harness_free (s->h);
}

static void
open_stream (Stream *s, int number, int buffers)
{
  *s = (Stream) { .number = number, .buffers = buffers, .rand = g_rand_new_with_seed ((guint32) (option_seed + number)) };
  g_mutex_init (&s->lock);
  const int modes[] = { AUTO, AUTO, MEAN, AUTO, EMA, AUTO }, mode = modes[number % 6];
  s->n_models = mode == AUTO ? N_MODELS : N_IMAGE_MODELS;
  s->h = test_harness (NULL, "model-file", models[number % s->n_models], "device", "cpu",
      "clip-mode", mode, "clip-length", 4, "clip-hop", 2, "max-in-flight", 1 + number % 4,
      "enter-threshold", ENTER, "post-messages", number % 2, "regions", number % 4 / 2 * 2 /* frame, both */, NULL);
  gst_bus_set_sync_handler (test_bus (s->h), on_message, s, NULL);
  gst_harness_set_drop_buffers (s->h, TRUE);
  gst_pad_add_probe (s->h->sinkpad, GST_PAD_PROBE_TYPE_BUFFER | GST_PAD_PROBE_TYPE_EVENT_DOWNSTREAM, on_leaving, s, NULL);
  begin_stream (s);
}

static void
storm (int round, int buffers)
{
  Stream *streams = g_new (Stream, option_streams);
  GThread *threads[2 * MAX_STREAMS];
  gint64 pushed = 0, left = 0, fresh = 0, flushes = 0, reloads = 0, told = 0, sure = 0;
  for (int i = 0; i < option_streams; i++)
    open_stream (&streams[i], i + round * option_streams, buffers / option_streams);
  for (int i = 0; i < option_streams; i++) {
    threads[2 * i] = g_thread_new ("streamer", streamer, &streams[i]);
    threads[2 * i + 1] = g_thread_new ("flusher", flusher, &streams[i]);
  }
  for (int i = 0; i < 2 * option_streams; i++)
    g_thread_join (threads[i]);
  for (int i = 0; i < option_streams; i++) {
    finish (&streams[i]);
    pushed += streams[i].pushed;
    left += streams[i].left;
    fresh += streams[i].n_fresh;
    flushes += streams[i].n_flushes;
    reloads += streams[i].n_reloads;
    told += streams[i].n_told;
    sure += streams[i].n_sure;
    g_rand_free (streams[i].rand);
    g_mutex_clear (&streams[i].lock);
  }
  g_test_message ("%d streams: %" G_GINT64_FORMAT " buffers, %" G_GINT64_FORMAT " left; %" G_GINT64_FORMAT " results, "
      "%" G_GINT64_FORMAT " flushes, %" G_GINT64_FORMAT " models; segments of %" G_GINT64_FORMAT " answers, %" G_GINT64_FORMAT
      " seen", option_streams, pushed, left, fresh, flushes, reloads, told, sure);
  g_assert_cmpint (left, >, pushed / 4); /* flushes take many, but not most */
  g_free (streams);
}

static void
test_storm (void)
{
  Memory early = { 0 };
  for (int round = 0; round < ROUNDS; round++) {
    storm (round, option_buffers / ROUNDS);
    if (round == ROUNDS / 2)
      early = measure ();
  }
  check_memory ("storm", early);
  expect_no_leaks ();
}

/* ---- */

/* The same but for its name, of which the first letters are others. (transfer full) */
static char *
other_model (const char *path, const char *name)
{
  g_autofree char *data = NULL;
  gsize size;
  char *other = g_strdup_printf ("%s.other.safetensors", path);
  g_assert_true (g_file_get_contents (path, &data, &size, NULL));
  char *found = memmem (data, size, name, strlen (name));
  g_assert_nonnull (found);
  memcpy (found, "also", 4);
  g_assert_true (g_file_set_contents (other, data, (gssize) size, NULL));
  return other;
}

static void
make_models (void)
{
  models[0] = g_strdup (test_model ());
  models[1] = other_model (models[0], "tiny-colours");
  models[2] = g_build_filename (test_dir (), "stream.safetensors", NULL);
  tiny_model_write_over_time (models[2], TINY_STREAM);
  models[3] = other_model (models[2], "tiny-stream");
  models[4] = g_build_filename (test_dir (), "joint.safetensors", NULL);
  tiny_model_write_over_time (models[4], TINY_JOINT);
  models[5] = other_model (models[4], "tiny-joint");
}

static gboolean
parse_options (int *argc, char ***argv)
{
  const GOptionEntry entries[] = {
    { "cycles", 0, 0, G_OPTION_ARG_INT, &option_cycles, "Starts and stops", "N" },
    { "buffers", 0, 0, G_OPTION_ARG_INT, &option_buffers, "Buffers of all streams", "N" },
    { "streams", 0, 0, G_OPTION_ARG_INT, &option_streams, "Streams", "N" },
    { "seed", 0, 0, G_OPTION_ARG_INT, &option_seed, "Of the random numbers", "N" },
    { "no-memory", 0, 0, G_OPTION_ARG_NONE, &option_no_memory, "Memory may grow (under valgrind)", NULL },
    G_OPTION_ENTRY_NULL
  };
  g_autoptr (GOptionContext) context = g_option_context_new (NULL);
  g_autoptr (GError) error = NULL;
  g_option_context_add_main_entries (context, entries, NULL);
  g_option_context_set_ignore_unknown_options (context, TRUE); /* g_test's */
  if (!g_option_context_parse (context, argc, argv, &error))
    fprintf (stderr, "soak: %s\n", error->message);
  return !error && option_streams >= 1 && option_streams <= MAX_STREAMS && option_cycles >= 0 && option_buffers >= 0;
}

int
main (int argc, char **argv)
{
  if (!parse_options (&argc, &argv))
    return 2;
  watched_init (&argc, &argv);
  if (option_seed < 0)
    option_seed = g_random_int_range (0, 1000000);
  g_print ("# seed %d\n", option_seed);
  make_models ();
  g_thread_unref (g_thread_new ("watch", watch, NULL));
  g_test_add_func ("/soak/cycles", test_cycles);
  g_test_add_func ("/soak/storm", test_storm);
  int status = test_run ();
  for (guint i = 0; i < N_MODELS; i++)
    g_free (models[i]);
  return status;
}
