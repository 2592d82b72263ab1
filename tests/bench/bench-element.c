/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What vigclassify costs beside the engine alone: the same frames through both, alternating, in one process.
 *
 *   bench-element MODEL [ROUNDS [FRAMES [WIDTHxHEIGHT [THREADS]]]]
 *
 * A round pushes FRAMES NV12 frames (of 1280x720) through the element (GstHarness: chain, queue, task, metadata, sink) and
 * classifies as many with vig_engine_classify_frames (). It prints medians of the rounds: time and processor time a frame
 * of either, and the difference. tests/bench/element-overhead calls it.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <gst/check/gstharness.h>
#include <gst/video/video.h>
#include <vig/vig.h>

static guint width = 1280, height = 720; /* both even */

typedef struct {
  double wall, cpu; /* microseconds a frame */
} Cost;

static double
clock_us (clockid_t clock)
{
  struct timespec t;
  clock_gettime (clock, &t);
  return 1e6 * (double) t.tv_sec + 1e-3 * (double) t.tv_nsec;
}

static Cost
cost_since (Cost start, guint frames)
{
  return (Cost) { (clock_us (CLOCK_MONOTONIC) - start.wall) / frames,
    (clock_us (CLOCK_PROCESS_CPUTIME_ID) - start.cpu) / frames };
}

static Cost
run_element (GstHarness *h, const guint8 *pixels, guint frames)
{
  static guint64 n;
  const gsize size = width * height * 3 / 2;
  Cost start = { clock_us (CLOCK_MONOTONIC), clock_us (CLOCK_PROCESS_CPUTIME_ID) };

  for (guint i = 0; i < frames; i++) {
    GstBuffer *buffer = gst_buffer_new_wrapped_full (GST_MEMORY_FLAG_READONLY, (gpointer) pixels, size, 0, size, NULL,
        NULL);
    GST_BUFFER_PTS (buffer) = n++ * GST_SECOND / 25;
    if (gst_harness_push (h, buffer) != GST_FLOW_OK)
      g_error ("vigclassify took no frame");
  }
  for (guint i = 0; i < frames; i++) /* upstream need not wait for what it has sent, and does not */
    gst_buffer_unref (gst_harness_pull (h));
  return cost_since (start, frames);
}

static Cost
run_engine (VigEngine *engine, const guint8 *pixels, guint frames)
{
  g_autoptr (GError) error = NULL;
  guint classes = vig_model_get_n_classes (vig_engine_get_model (engine));
  g_autofree float *probabilities = g_new (float, classes);
  VigFrame frame = { .format = VIG_FORMAT_NV12, .width = (int) width, .height = (int) height,
    .data = { pixels, pixels + width * height }, .stride = { width, width }, .matrix = VIG_MATRIX_BT709 };
  Cost start = { clock_us (CLOCK_MONOTONIC), clock_us (CLOCK_PROCESS_CPUTIME_ID) };

  for (guint i = 0; i < frames; i++) {
    VigOutput output = { .probabilities = probabilities };
    if (!vig_engine_classify_frames (engine, &frame, 1, 0, &output, &error))
      g_error ("%s", error->message);
  }
  return cost_since (start, frames);
}

static int
by_value (const void *a, const void *b)
{
  double x = *(const double *) a, y = *(const double *) b;
  return (x > y) - (x < y);
}

static double
median (double *values, guint n)
{
  qsort (values, n, sizeof *values, by_value);
  return n % 2 ? values[n / 2] : (values[n / 2 - 1] + values[n / 2]) / 2;
}

int
main (int argc, char **argv)
{
  g_autoptr (GError) error = NULL;
  guint rounds = argc > 2 ? (guint) atoi (argv[2]) : 15, frames = argc > 3 ? (guint) atoi (argv[3]) : 100;

  VigEngineOptions options = { .n_threads = argc > 5 ? (guint) atoi (argv[5]) : 0 };

  gst_init (&argc, &argv);
  if (argc < 2 || rounds < 1 || frames < 1 || (argc > 4 && sscanf (argv[4], "%ux%u", &width, &height) != 2)
      || width % 2 || height % 2) {
    fprintf (stderr, "usage: bench-element MODEL [ROUNDS [FRAMES [WIDTHxHEIGHT (both even) [THREADS]]]]\n");
    return 2;
  }
  g_autoptr (VigModel) model = vig_model_load (argv[1], &error);
  g_autoptr (VigEngine) engine = model ? vig_engine_new (model, &options, &error) : NULL;
  GstElement *element = gst_element_factory_make ("vigclassify", NULL);
  if (!engine || !element) {
    fprintf (stderr, "bench-element: %s\n", error ? error->message : "no element vigclassify: run it in meson devenv");
    return 1;
  }
  g_object_set (element, "model-file", argv[1], "threads", options.n_threads, NULL);
  gst_util_set_object_arg (G_OBJECT (element), "overload", "block"); /* a harness says that it is live */
  GstHarness *h = gst_harness_new_with_element (element, "sink", "src");
  gst_object_unref (element);
  gst_harness_set_src_caps (h, gst_caps_new_simple ("video/x-raw", "format", G_TYPE_STRING, "NV12", "width", G_TYPE_INT,
          (int) width, "height", G_TYPE_INT, (int) height, "framerate", GST_TYPE_FRACTION, 25, 1, "colorimetry",
          G_TYPE_STRING, "bt709", NULL));

  const guint size = width * height * 3 / 2;
  g_autofree guint8 *pixels = g_malloc (size);
  for (guint i = 0; i < size; i++)
    pixels[i] = (guint8) (16 + (i * 7 + i / width * 3) % 200);
  run_element (h, pixels, 20); /* weights, plans and caches warm */
  run_engine (engine, pixels, 20);

  g_autofree double *v = g_new (double, 8 * rounds);
  double *wall[2] = { v, v + rounds }, *cpu[2] = { v + 2 * rounds, v + 3 * rounds }, *more = v + 4 * rounds,
    *more_cpu = v + 5 * rounds, *us = v + 6 * rounds, *us_cpu = v + 7 * rounds;
  for (guint r = 0; r < rounds; r++) {
    Cost c[2];
    for (guint i = 0; i < 2; i++) { /* whoever is first in one round is second in the next */
      guint which = (i + r) % 2;
      c[which] = which ? run_element (h, pixels, frames) : run_engine (engine, pixels, frames);
      wall[which][r] = c[which].wall;
      cpu[which][r] = c[which].cpu;
    }
    more[r] = 100 * (c[1].wall / c[0].wall - 1);
    more_cpu[r] = 100 * (c[1].cpu / c[0].cpu - 1);
    us[r] = c[1].wall - c[0].wall;
    us_cpu[r] = c[1].cpu - c[0].cpu;
  }
  printf ("%u rounds of %u frames, %ux%u NV12, %s on %s (%s), medians\n", rounds, frames, width, height,
      vig_model_get_name (model), vig_engine_get_kernels (engine), vig_precision_to_string (vig_engine_get_precision (engine)));
  for (guint i = 0; i < 2; i++)
    printf ("%-12s %8.0f us a frame, %8.0f us of processor time\n", i ? "vigclassify" : "engine alone",
        median (wall[i], rounds), median (cpu[i], rounds));
  printf ("the element costs %+.1f%% time, %+.1f%% processor time (at most 2%% is promised), %+.0f us and %+.0f us a frame "
      "(medians of the rounds' own differences; at most 50 us is promised)\n", median (more, rounds), median (more_cpu, rounds),
      median (us, rounds), median (us_cpu, rounds));
  gst_harness_teardown (h);
  return 0;
}
