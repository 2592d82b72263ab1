/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Many streams over one engine: what of the engine's own throughput at the same batch size they get together, how fair
 * they are to one another, and what one that freezes costs the others.
 *
 *   bench-streams MODEL [STREAMS [ROUNDS [FRAMES]]]
 *
 * A round classifies STREAMS x FRAMES frames (NV12, 1280x720) with vig_engine_classify_frames () in batches of STREAMS,
 * then pushes FRAMES frames through each of STREAMS elements, each from a thread of its own with two in flight, then
 * again with the first one blocked behind its source pad. tests/bench/many-streams calls it.
 */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include <gst/check/gstharness.h>
#include <vig/vig.h>

#include "figures.h"

enum { WIDTH = 1280, HEIGHT = 720, LUMA = WIDTH * HEIGHT, SIZE = LUMA * 3 / 2, MAX_STREAMS = 64 };

typedef struct {
  GstHarness *h;
  const guint8 *pixels;
  guint frames;
  double took;      /* all of them, us */
  double *waits;    /* [frames] from push to pull, us */
} Stream;

static GstHarness *
open_stream (const char *model, guint max_batch)
{
  GstElement *element = gst_element_factory_make ("vigclassify", NULL);
  if (!element)
    g_error ("no element vigclassify: run it in meson devenv");
  g_object_set (element, "model-file", model, "max-batch", max_batch, "post-messages", FALSE, NULL);
  gst_util_set_object_arg (G_OBJECT (element), "overload", "block"); /* a harness says that it is live */
  GstHarness *h = gst_harness_new_with_element (element, "sink", "src");
  gst_object_unref (element);
  gst_harness_set_src_caps_str (h, "video/x-raw,format=NV12,width=1280,height=720,framerate=25/1,colorimetry=bt709");
  return h;
}

static gpointer
play (gpointer data)
{
  Stream *s = data;
  double start = now ();

  for (guint i = 0; i <= s->frames; i++) {
    if (i < s->frames) {
      GstBuffer *buffer = gst_buffer_new_wrapped_full (GST_MEMORY_FLAG_READONLY, (gpointer) s->pixels, SIZE, 0, SIZE, NULL,
          NULL);
      s->waits[i] = -now ();
      if (gst_harness_push (s->h, buffer) != GST_FLOW_OK)
        g_error ("vigclassify took no frame");
    }
    if (i > 0) {
      gst_buffer_unref (gst_harness_pull (s->h));
      s->waits[i - 1] += now ();
    }
  }
  s->took = now () - start;
  return NULL;
}

/* Returns frames/s of the streams from @first on together. */
static double
run_streams (Stream *streams, guint first, guint n)
{
  GThread *threads[MAX_STREAMS];
  double start = now ();

  for (guint i = first; i < n; i++)
    threads[i] = g_thread_new ("stream", play, &streams[i]);
  for (guint i = first; i < n; i++)
    g_thread_join (threads[i]);
  return 1e6 * (n - first) * streams[0].frames / (now () - start);
}

/* Frames/s. */
static double
run_engine (VigEngine *engine, const guint8 *pixels, guint batch, guint batches)
{
  g_autoptr (GError) error = NULL;
  g_autofree float *probabilities = g_new (float, batch * vig_model_get_n_classes (vig_engine_get_model (engine)));
  g_autofree VigFrame *frames = g_new (VigFrame, batch);
  double start = now ();

  for (guint i = 0; i < batch; i++)
    frames[i] = (VigFrame) { .format = VIG_FORMAT_NV12, .width = WIDTH, .height = HEIGHT,
      .data = { pixels, pixels + LUMA }, .stride = { WIDTH, WIDTH }, .matrix = VIG_MATRIX_BT709 };
  for (guint i = 0; i < batches; i++) {
    VigOutput output = { .probabilities = probabilities };
    if (!vig_engine_classify_frames (engine, frames, batch, 0, &output, &error))
      g_error ("%s", error->message);
  }
  return 1e6 * batch * batches / (now () - start);
}

static double
slowest_to_mean (const Stream *streams, guint n)
{
  double sum = 0, slowest = G_MAXDOUBLE;

  for (guint i = 0; i < n; i++) {
    sum += 1 / streams[i].took;
    slowest = MIN (slowest, 1 / streams[i].took);
  }
  return slowest * n / sum;
}

static double
p99 (const Stream *streams, guint first, guint n)
{
  guint frames = streams[0].frames, count = 0;
  g_autofree double *waits = g_new (double, n * frames);

  for (guint i = first; i < n; i++)
    for (guint f = 0; f < frames; f++)
      waits[count++] = streams[i].waits[f];
  return percentile (waits, count, 0.99);
}

static GstPadProbeReturn
block (GstPad *pad, GstPadProbeInfo *info, gpointer data)
{
  return GST_PAD_PROBE_OK;
}

int
main (int argc, char **argv)
{
  g_autoptr (GError) error = NULL;
  guint n = argc > 2 ? (guint) atoi (argv[2]) : 16, rounds = argc > 3 ? (guint) atoi (argv[3]) : 9;
  guint frames = argc > 4 ? (guint) atoi (argv[4]) : 40;
  Stream streams[MAX_STREAMS];

  gst_init (&argc, &argv);
  if (argc < 2 || n < 2 || n > MAX_STREAMS || rounds < 1 || frames < 2) {
    fprintf (stderr, "usage: bench-streams MODEL [STREAMS (2 to %d) [ROUNDS [FRAMES]]]\n", MAX_STREAMS);
    return 2;
  }
  g_autoptr (VigModel) model = vig_model_load (argv[1], &error);
  g_autoptr (VigEngine) engine = model ? vig_engine_new (model, NULL, &error) : NULL;
  if (!engine) {
    fprintf (stderr, "bench-streams: %s\n", error->message);
    return 1;
  }
  g_autofree guint8 *pixels = g_malloc (SIZE);
  for (int i = 0; i < SIZE; i++)
    pixels[i] = (guint8) (16 + (i * 7 + i / WIDTH * 3) % 200);
  for (guint i = 0; i < n; i++)
    streams[i] = (Stream) { .h = open_stream (argv[1], n), .pixels = pixels, .frames = frames,
      .waits = g_new0 (double, frames) };
  run_engine (engine, pixels, n, 2); /* plans and caches warm */
  run_streams (streams, 0, n);

  enum { ALONE, TOGETHER, RATIO, FAIR, P99, FROZEN, RISE, N_FIGURES };
  g_autofree double *figures = g_new (double, N_FIGURES * rounds);
  for (guint r = 0; r < rounds; r++) {
    double f[N_FIGURES];
    f[ALONE] = run_engine (engine, pixels, n, frames);
    f[TOGETHER] = run_streams (streams, 0, n);
    f[RATIO] = 100 * f[TOGETHER] / f[ALONE];
    f[FAIR] = 100 * slowest_to_mean (streams, n);
    f[P99] = p99 (streams, 1, n);
    gulong probe = gst_pad_add_probe (streams[0].h->sinkpad, GST_PAD_PROBE_TYPE_BLOCK | GST_PAD_PROBE_TYPE_BUFFER, block,
        NULL, NULL);
    gst_harness_push (streams[0].h, gst_buffer_new_wrapped_full (GST_MEMORY_FLAG_READONLY, pixels, SIZE, 0, SIZE, NULL,
            NULL));
    run_streams (streams, 1, n);
    f[FROZEN] = p99 (streams, 1, n);
    f[RISE] = (f[FROZEN] - f[P99]) / 1e3;
    gst_pad_remove_probe (streams[0].h->sinkpad, probe);
    gst_buffer_unref (gst_harness_pull (streams[0].h));
    for (guint i = 0; i < N_FIGURES; i++)
      figures[i * rounds + r] = f[i];
  }
  double m[N_FIGURES];
  for (guint i = 0; i < N_FIGURES; i++)
    m[i] = percentile (figures + i * rounds, rounds, 0.5);
  g_autoptr (GstStructure) stats = NULL;
  double batch = 0;
  g_object_get (streams[1].h->element, "stats", &stats, NULL);
  gst_structure_get_double (stats, "batch-mean", &batch);
  printf ("%u streams of %u frames, %u rounds, 1280x720 NV12, %s on %s (%s), medians\n", n, frames, rounds,
      vig_model_get_name (model), vig_engine_get_kernels (engine),
      vig_precision_to_string (vig_engine_get_precision (engine)));
  printf ("engine alone, batches of %u  %8.1f frames/s\n", n, m[ALONE]);
  printf ("streams together             %8.1f frames/s, %.1f%% of that, in batches of %.1f (at least 95%% is promised)\n",
      m[TOGETHER], m[RATIO], batch);
  printf ("the slowest stream           %8.1f%% of the mean (at least 90%% is promised)\n", m[FAIR]);
  printf ("99th percentile of a frame   %8.1f ms; with one stream frozen %.1f ms, %+.1f ms (batch-delay is %.1f ms)\n",
      m[P99] / 1e3, m[FROZEN] / 1e3, m[RISE], VIG_SHARED_DEFAULT_DELAY / 1e3);
  for (guint i = 0; i < n; i++) {
    gst_harness_teardown (streams[i].h);
    g_free (streams[i].waits);
  }
  return 0;
}
