/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A live stream that offers more frames than the engine can classify: how late they leave, whether all do, and how many
 * are classified.
 *
 *   bench-overload MODEL [ROUNDS [SECONDS [FACTOR]]]
 *
 * A round measures how many frames (NV12, 1280x720) a second the engine classifies alone, one at a time, then offers
 * FACTOR times as many to vigclassify with overload=skip, each at its time. A frame is late by what its way through the
 * element took beyond the latency that the element reports. tests/bench/live-overload calls it.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include <gst/check/gstharness.h>
#include <vig/vig.h>

#include "figures.h"

enum { WIDTH = 1280, HEIGHT = 720, LUMA = WIDTH * HEIGHT, SIZE = LUMA * 3 / 2 };

typedef struct {
  guint n;
  double *in, *out; /* [n] us: when the frame was handed over, when it left */
  gint left, fresh; /* atomic */
} Run;

static void
sleep_until (double us)
{
  struct timespec t = { (time_t) (us / 1e6), (long) ((us - 1e6 * (double) (time_t) (us / 1e6)) * 1e3) };
  while (clock_nanosleep (CLOCK_MONOTONIC, TIMER_ABSTIME, &t, NULL) == EINTR)
    ;
}

/* Frames/s of the engine alone. */
static double
capacity (VigEngine *engine, const guint8 *pixels, double seconds)
{
  g_autoptr (GError) error = NULL;
  g_autofree float *probabilities = g_new (float, vig_model_get_n_classes (vig_engine_get_model (engine)));
  VigFrame frame = { .format = VIG_FORMAT_NV12, .width = WIDTH, .height = HEIGHT, .data = { pixels, pixels + LUMA },
    .stride = { WIDTH, WIDTH }, .matrix = VIG_MATRIX_BT709 };
  double start = now ();
  guint n = 0;

  for (; now () - start < 1e6 * seconds; n++) {
    VigOutput output = { .probabilities = probabilities };
    if (!vig_engine_classify_frames (engine, &frame, 1, 0, &output, &error))
      g_error ("%s", error->message);
  }
  return 1e6 * n / (now () - start);
}

static gboolean
is_fresh (GstBuffer *buffer)
{
  GstCustomMeta *meta = gst_buffer_get_custom_meta (buffer, "VigResults");
  const GValue *results = meta ? gst_structure_get_value (gst_custom_meta_get_structure (meta), "results") : NULL;
  if (!results || gst_value_array_get_size (results) == 0)
    return FALSE;
  const GstStructure *result = gst_value_get_structure (gst_value_array_get_value (results, 0));
  return g_strcmp0 (gst_structure_get_string (result, "state"), "fresh") == 0;
}

static GstPadProbeReturn
on_frame (GstPad *pad, GstPadProbeInfo *info, gpointer data)
{
  Run *run = data;
  GstBuffer *buffer = GST_PAD_PROBE_INFO_BUFFER (info);
  run->out[GST_BUFFER_OFFSET (buffer)] = now ();
  run->fresh += is_fresh (buffer);
  g_atomic_int_inc (&run->left);
  return GST_PAD_PROBE_OK;
}

/* Offers the frames, each at its time, and waits until they have left. */
static void
offer (GstHarness *h, Run *run, const guint8 *pixels, double frame_time)
{
  double start = now () + 10000;
  for (guint i = 0; i < run->n; i++) {
    GstBuffer *buffer = gst_buffer_new_wrapped_full (GST_MEMORY_FLAG_READONLY, (gpointer) pixels, SIZE, 0, SIZE, NULL, NULL);
    GST_BUFFER_PTS (buffer) = (GstClockTime) (1e3 * frame_time * i);
    GST_BUFFER_OFFSET (buffer) = i;
    sleep_until (start + frame_time * i);
    run->in[i] = now ();
    if (gst_harness_push (h, buffer) != GST_FLOW_OK)
      g_error ("vigclassify took no frame");
  }
  gst_harness_push_event (h, gst_event_new_eos ());
  for (int i = 0; i < 2000 && g_atomic_int_get (&run->left) < (gint) run->n; i++)
    g_usleep (1000);
}

static GstHarness *
open_stream (const char *model, double frame_time)
{
  g_autofree char *caps = g_strdup_printf ("video/x-raw,format=NV12,width=1280,height=720,framerate=%u/1,colorimetry=bt709",
      (guint) (1e6 / frame_time + 0.5));

  GstElement *element = gst_element_factory_make ("vigclassify", NULL);
  if (!element)
    g_error ("no element vigclassify: run it in meson devenv");
  if (!g_object_class_find_property (G_OBJECT_GET_CLASS (element), "overload"))
    g_error ("this vigclassify has no property overload");
  g_object_set (element, "model-file", model, "post-messages", FALSE, NULL);
  gst_util_set_object_arg (G_OBJECT (element), "overload", "skip");
  GstHarness *h = gst_harness_new_with_element (element, "sink", "src");
  gst_object_unref (element);
  gst_harness_set_src_caps_str (h, caps);
  gst_harness_set_drop_buffers (h, TRUE);
  return h;
}

enum { CAPACITY, FRAME_TIME, LATENCY, P99, WORST, LATE, LOST, FRESH, CLASSIFIED, SHED, N_FIGURES };

static void
measure (const char *model, VigEngine *engine, const guint8 *pixels, double seconds, double factor, double f[N_FIGURES])
{
  f[CAPACITY] = capacity (engine, pixels, MIN (seconds, 3));
  double frame_time = 1e6 / (factor * f[CAPACITY]);
  Run run = { .n = (guint) (1e6 * seconds / frame_time) };
  run.in = g_new (double, run.n);
  run.out = g_new0 (double, run.n);
  GstHarness *h = open_stream (model, frame_time);
  gst_pad_add_probe (h->sinkpad, GST_PAD_PROBE_TYPE_BUFFER, on_frame, &run, NULL);
  f[LATENCY] = (double) gst_harness_query_latency (h) / 1e3; /* what a pipeline would have waited from the start on */
  offer (h, &run, pixels, frame_time);
  g_autoptr (GstStructure) stats = NULL;
  guint64 classified = 0, shed = 0;
  g_object_get (h->element, "stats", &stats, NULL);
  gst_structure_get (stats, "classified", G_TYPE_UINT64, &classified, "shed", G_TYPE_UINT64, &shed, NULL);
  gst_harness_teardown (h);
  f[CLASSIFIED] = 100.0 * (double) classified / run.n;
  f[SHED] = 100.0 * (double) shed / run.n;

  g_autofree double *late = g_new (double, run.n);
  guint n_late = 0;
  for (guint i = 0; i < run.n; i++) {
    late[i] = run.out[i] - run.in[i] - f[LATENCY];
    n_late += late[i] > frame_time;
  }
  f[FRAME_TIME] = frame_time;
  f[P99] = percentile (late, run.n, 0.99);
  f[WORST] = late[run.n - 1];
  f[LATE] = n_late;
  f[LOST] = (double) run.n - g_atomic_int_get (&run.left);
  f[FRESH] = 100.0 * run.fresh / run.n;
  g_free (run.in);
  g_free (run.out);
}

int
main (int argc, char **argv)
{
  g_autoptr (GError) error = NULL;
  guint rounds = argc > 2 ? (guint) atoi (argv[2]) : 5;
  double seconds = argc > 3 ? atof (argv[3]) : 10, factor = argc > 4 ? atof (argv[4]) : 4;

  gst_init (&argc, &argv);
  if (argc < 2 || rounds < 1 || seconds <= 0 || factor <= 0) {
    fprintf (stderr, "usage: bench-overload MODEL [ROUNDS [SECONDS [FACTOR]]]\n");
    return 2;
  }
  g_autoptr (VigModel) model = vig_model_load (argv[1], &error);
  g_autoptr (VigEngine) engine = model ? vig_engine_new (model, NULL, &error) : NULL;
  if (!engine) {
    fprintf (stderr, "bench-overload: %s\n", error->message);
    return 1;
  }
  g_autofree guint8 *pixels = g_malloc (SIZE);
  for (int i = 0; i < SIZE; i++)
    pixels[i] = (guint8) (16 + (i * 7 + i / WIDTH * 3) % 200);
  capacity (engine, pixels, 0.5); /* plans and caches warm */

  g_autofree double *figures = g_new (double, N_FIGURES * rounds);
  double late = 0, lost = 0, worst = -G_MAXDOUBLE, m[N_FIGURES];
  for (guint r = 0; r < rounds; r++) {
    double f[N_FIGURES];
    measure (argv[1], engine, pixels, seconds, factor, f);
    for (guint i = 0; i < N_FIGURES; i++)
      figures[i * rounds + r] = f[i];
    late += f[LATE];
    lost += f[LOST];
    worst = MAX (worst, f[WORST]);
  }
  for (guint i = 0; i < N_FIGURES; i++)
    m[i] = percentile (figures + i * rounds, rounds, 0.5);
  printf ("%u rounds of %.0f s, 1280x720 NV12, %s on %s (%s), medians\n", rounds, seconds, vig_model_get_name (model),
      vig_engine_get_kernels (engine), vig_precision_to_string (vig_engine_get_precision (engine)));
  printf ("engine alone         %8.1f frames/s; offered %.1f times as many, one each %.2f ms\n", m[CAPACITY], factor,
      m[FRAME_TIME] / 1e3);
  printf ("latency reported     %8.2f ms\n", m[LATENCY] / 1e3);
  printf ("later than that      %8.2f ms at the 99th percentile, %.2f ms at most in all rounds\n", m[P99] / 1e3, worst / 1e3);
  printf ("late by a frame time %8.0f frames in all rounds, lost %.0f (none of either is promised)\n", late, lost);
  printf ("classified           %8.1f%% of the frames (%.1f%% is what the engine could), %.1f%% in time for themselves; shed %.1f%%\n",
      m[CLASSIFIED], 100 / factor, m[FRESH], m[SHED]);
  return 0;
}
