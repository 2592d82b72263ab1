/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What vig-label gets out of a machine beside what decoding and the bare engine could give if perfectly overlapped.
 *
 *   bench-label MODEL VIG_LABEL OUTPUT ROUNDS FILE…
 *
 * A round (1) decodes all files, with pipelines like vig-label's but for the classifier: one thread a decoder, and eight
 * files at once on two cores, which is the fastest of 2, 4 and 8 with one thread or as many as decoders like; (2) classifies as
 * many frames of theirs with vig_engine_classify_frames() in batches of 8, with one engine on all cores and with as many on one
 * thread each as there are cores: what is faster counts; (3) runs the program VIG_LABEL on them,
 * whole, from its start to its end: what is beside decoding and engine (start, loading and warming up, results,
 * fsync, journal) counts against it, and the two programs measured first have no such thing. With the engine on the CPU decoding
 * and engine need the same cores: perfectly overlapped they take the sum of both times, since either alone keeps all cores
 * busy. With the engine on a GPU they take the longer of both. tests/bench/label calls it.
 */
#include <stdio.h>
#include <stdlib.h>

#include <gst/video/video.h>
#include <vig/vig.h>

#include "figures.h"

enum { BATCH = 8, FILES_PER_CORE = 4 };

/* A frame of a file, to be classified again and again. */
typedef struct {
  GstBuffer *buffer;
  GstVideoFrame map;
  VigFrame frame;
  guint64 n; /* frames of the file */
} Sample;

typedef struct {
  char **files;
  guint n_files;
  gint next;
  Sample *samples; /* [n_files] */
} Files;

static VigFormat
get_format (const GstVideoInfo *info)
{
  switch (GST_VIDEO_INFO_FORMAT (info)) {
    case GST_VIDEO_FORMAT_I420:
      return VIG_FORMAT_I420;
    case GST_VIDEO_FORMAT_NV12:
      return VIG_FORMAT_NV12;
    default:
      g_error ("expected frames of I420 or NV12, found %s", GST_VIDEO_INFO_NAME (info));
  }
}

static void
keep (Sample *sample, GstPad *pad, GstBuffer *buffer)
{
  g_autoptr (GstCaps) caps = gst_pad_get_current_caps (pad);
  GstVideoInfo info;

  if (!gst_video_info_from_caps (&info, caps))
    g_error ("no caps of video");
  sample->buffer = gst_buffer_copy_deep (buffer);
  if (!gst_video_frame_map (&sample->map, &info, sample->buffer, GST_MAP_READ))
    g_error ("a frame cannot be mapped");
  sample->frame = (VigFrame) { .format = get_format (&info), .width = (guint) info.width, .height = (guint) info.height,
    .matrix = VIG_MATRIX_BT709 };
  for (guint i = 0; i < GST_VIDEO_INFO_N_PLANES (&info); i++) {
    sample->frame.data[i] = GST_VIDEO_FRAME_PLANE_DATA (&sample->map, i);
    sample->frame.stride[i] = GST_VIDEO_FRAME_PLANE_STRIDE (&sample->map, i);
  }
}

static GstPadProbeReturn
on_frame (GstPad *pad, GstPadProbeInfo *info, gpointer data)
{
  Sample *sample = data;

  if (!sample->buffer)
    keep (sample, pad, GST_PAD_PROBE_INFO_BUFFER (info));
  sample->n++;
  return GST_PAD_PROBE_OK;
}

/* As vig-label does. */
static void
on_element (GstBin *bin, GstBin *parent, GstElement *element, gpointer data)
{
  const char *const names[] = { "max-threads", "n-threads", "threads" };
  GstElementFactory *factory = gst_element_get_factory (element);

  for (guint i = 0; i < G_N_ELEMENTS (names); i++)
    if (factory && gst_element_factory_list_is_type (factory, GST_ELEMENT_FACTORY_TYPE_DECODER)
        && g_object_class_find_property (G_OBJECT_GET_CLASS (element), names[i]))
      gst_util_set_object_arg (G_OBJECT (element), names[i], "1");
}

static void
decode (const char *file, Sample *sample)
{
  g_autoptr (GError) error = NULL;
  GstElement *pipeline = gst_parse_launch ("uridecodebin name=decode caps=video/x-raw(ANY) expose-all-streams=false ! videoconvert ! "
      "fakesink name=sink sync=false", &error);
  g_autofree char *uri = gst_filename_to_uri (file, NULL);
  g_autoptr (GstElement) source = gst_bin_get_by_name (GST_BIN (pipeline), "decode");
  g_autoptr (GstElement) sink = gst_bin_get_by_name (GST_BIN (pipeline), "sink");
  g_autoptr (GstPad) pad = gst_element_get_static_pad (sink, "sink");
  g_autoptr (GstBus) bus = gst_element_get_bus (pipeline);

  sample->n = 0;
  g_object_set (source, "uri", uri, NULL);
  g_signal_connect (source, "deep-element-added", G_CALLBACK (on_element), NULL);
  gst_pad_add_probe (pad, GST_PAD_PROBE_TYPE_BUFFER, on_frame, sample, NULL);
  gst_element_set_state (pipeline, GST_STATE_PLAYING);
  g_autoptr (GstMessage) message = gst_bus_timed_pop_filtered (bus, GST_CLOCK_TIME_NONE, GST_MESSAGE_ERROR | GST_MESSAGE_EOS);
  if (GST_MESSAGE_TYPE (message) == GST_MESSAGE_ERROR)
    g_error ("%s cannot be decoded", file);
  gst_element_set_state (pipeline, GST_STATE_NULL);
  gst_object_unref (pipeline);
}

static gpointer
decode_some (gpointer data)
{
  Files *files = data;
  gint i;

  while ((i = g_atomic_int_add (&files->next, 1)) < (gint) files->n_files)
    decode (files->files[i], &files->samples[i]);
  return NULL;
}

/* Seconds; @frames: of all files */
static double
run_decoders (Files *files, guint64 *frames)
{
  const guint n = FILES_PER_CORE * g_get_num_processors ();
  g_autofree GThread **threads = g_new0 (GThread *, n);
  const double start = now ();

  files->next = 0;
  for (guint i = 0; i < n; i++)
    threads[i] = g_thread_new ("decode", decode_some, files);
  for (guint i = 0; i < n; i++)
    g_thread_join (threads[i]);
  *frames = 0;
  for (guint i = 0; i < files->n_files; i++)
    *frames += files->samples[i].n;
  return (now () - start) / 1e6;
}

/* Batches of all frames, of each file as many as it has, that several engines share. */
typedef struct {
  const Files *files;
  guint *file_of; /* [n_frames] */
  guint64 n_frames;
  gint next;
} Batches;

typedef struct {
  Batches *batches;
  VigEngine *engine;
} Classifying;

static Batches
make_batches (const Files *files, guint64 n_frames)
{
  guint *file_of = g_new (guint, n_frames);
  guint64 at = 0;

  for (guint i = 0; i < files->n_files; i++)
    for (guint64 k = 0; k < files->samples[i].n && at < n_frames; k++)
      file_of[at++] = i;
  return (Batches) { .files = files, .file_of = file_of, .n_frames = n_frames };
}

static gpointer
classify_some (gpointer data)
{
  const Classifying *c = data;
  Batches *b = c->batches;
  g_autoptr (GError) error = NULL;
  g_autofree float *probabilities = g_new (float, BATCH * vig_model_get_n_classes (vig_engine_get_model (c->engine)));
  VigOutput output = { .probabilities = probabilities };
  guint64 first;

  while ((first = BATCH * (guint64) g_atomic_int_add (&b->next, 1)) < b->n_frames) {
    VigFrame batch[BATCH];
    const guint n = (guint) MIN (b->n_frames - first, BATCH);
    for (guint i = 0; i < n; i++)
      batch[i] = b->files->samples[b->file_of[first + i]].frame;
    if (!vig_engine_classify_frames (c->engine, batch, n, 0, &output, &error))
      g_error ("%s", error->message);
  }
  return NULL;
}

/* Seconds */
static double
run_engines (VigEngine *const *engines, guint n, const Files *files, guint64 n_frames)
{
  Batches batches = make_batches (files, n_frames);
  g_autofree GThread **threads = g_new0 (GThread *, n);
  g_autofree Classifying *classifying = g_new0 (Classifying, n);
  const double start = now ();

  for (guint i = 0; i < n; i++) {
    classifying[i] = (Classifying) { &batches, engines[i] };
    threads[i] = g_thread_new ("classify", classify_some, &classifying[i]);
  }
  for (guint i = 0; i < n; i++)
    g_thread_join (threads[i]);
  g_free (batches.file_of);
  return (now () - start) / 1e6;
}

static double
run_label (const char *program, const char *model, const char *output, const Files *files)
{
  g_autoptr (GPtrArray) argv = g_ptr_array_new ();
  g_autoptr (GError) error = NULL;
  const char *const options[] = { program, "--model", model, "--output", output, "--force", "--quiet", "--format", "jsonl" };
  int status;

  for (guint i = 0; i < G_N_ELEMENTS (options); i++)
    g_ptr_array_add (argv, (char *) options[i]);
  for (guint i = 0; i < files->n_files; i++)
    g_ptr_array_add (argv, files->files[i]);
  g_ptr_array_add (argv, NULL);
  const double start = now ();
  if (!g_spawn_sync (NULL, (char **) argv->pdata, NULL, G_SPAWN_DEFAULT, NULL, NULL, NULL, NULL, &status, &error)
      || !g_spawn_check_wait_status (status, &error))
    g_error ("%s: %s", program, error->message);
  return (now () - start) / 1e6;
}

static VigEngine *
load_engine (VigModel *model, guint n_threads)
{
  g_autoptr (GError) error = NULL;
  VigEngine *engine = vig_engine_new (model, &(VigEngineOptions) { .n_threads = n_threads }, &error);

  if (!engine)
    g_error ("%s", error->message);
  return engine;
}

enum { DECODE, ENGINE, ENGINES, LABEL, RATIO, N_FIGURES };

static void
print_figures (const double *m, VigEngine *engine, const Files *files, guint64 frames, guint rounds)
{
  const gboolean is_cpu = g_str_equal (vig_engine_get_device (engine), "cpu");

  printf ("%u files of %" G_GUINT64_FORMAT " frames, %u rounds, %s on %s (%s), medians\n", files->n_files, frames, rounds,
      vig_model_get_name (vig_engine_get_model (engine)), vig_engine_get_kernels (engine),
      vig_precision_to_string (vig_engine_get_precision (engine)));
  printf ("decoding alone               %8.1f frames/s\n", m[DECODE]);
  printf ("engine alone, batches of %d   %8.1f frames/s\n", BATCH, m[ENGINE]);
  if (is_cpu)
    printf ("one on each core alone       %8.1f frames/s\n", m[ENGINES]);
  printf ("vig-label, start to end      %8.1f frames/s, %.1f%% of both perfectly overlapped on %s (at least 90%% is promised)\n",
      m[LABEL], m[RATIO], is_cpu ? "the same cores" : "their own");
}

int
main (int argc, char **argv)
{
  g_autoptr (GError) error = NULL;
  guint64 frames = 0;
  double m[N_FIGURES];

  gst_init (&argc, &argv);
  const guint rounds = argc > 5 ? (guint) atoi (argv[4]) : 0;
  if (rounds < 1) {
    fprintf (stderr, "usage: bench-label MODEL VIG_LABEL OUTPUT ROUNDS FILE…\n");
    return 2;
  }
  Files files = { .files = argv + 5, .n_files = (guint) argc - 5 };
  files.samples = g_new0 (Sample, files.n_files);
  g_autoptr (VigModel) model = vig_model_load (argv[1], &error);
  if (!model) {
    fprintf (stderr, "bench-label: %s\n", error->message);
    return 1;
  }
  const guint n = g_get_num_processors ();
  g_autoptr (VigEngine) engine = load_engine (model, 0);
  g_autofree VigEngine **engines = g_new0 (VigEngine *, n);
  const gboolean is_cpu = g_str_equal (vig_engine_get_device (engine), "cpu");
  for (guint i = 0; i < n && is_cpu; i++)
    engines[i] = load_engine (model, 1);
  run_decoders (&files, &frames); /* all files, decoders and plans warm */
  run_engines (&engine, 1, &files, MIN (frames, 10 * BATCH));
  if (is_cpu)
    run_engines (engines, n, &files, MIN (frames, 10 * BATCH));
  g_autofree double *figures = g_new (double, N_FIGURES * rounds);
  for (guint r = 0; r < rounds; r++) {
    const double d = run_decoders (&files, &frames), one = run_engines (&engine, 1, &files, frames);
    const double each = is_cpu ? run_engines (engines, n, &files, frames) : one, e = MIN (one, each);
    const double l = run_label (argv[2], argv[1], argv[3], &files), best = is_cpu ? d + e : MAX (d, e);
    const double f[N_FIGURES] = { (double) frames / d, (double) frames / one, (double) frames / each, (double) frames / l,
      100 * best / l };
    for (guint i = 0; i < N_FIGURES; i++)
      figures[i * rounds + r] = f[i];
  }
  for (guint i = 0; i < N_FIGURES; i++)
    m[i] = percentile (figures + i * rounds, rounds, 0.5);
  print_figures (m, engine, &files, frames, rounds);
  for (guint i = 0; i < n; i++)
    vig_engine_free (engines[i]);
  for (guint i = 0; i < files.n_files; i++) {
    gst_video_frame_unmap (&files.samples[i].map);
    gst_buffer_unref (files.samples[i].buffer);
  }
  g_free (files.samples);
  return 0;
}
