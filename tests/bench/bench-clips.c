/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What time costs: a model with a memory beside its backbone without one, early in a stream and late, beside a window that
 * is computed anew for every frame; and windows of 8 frames beside windows of 64. Always both sides in turns, in one
 * process, on RGB frames of the model's own size.
 *
 *   bench-clips [--model M] [--device D] [--precision P] [--threads N] [--rounds N] [--frames N] [--late N] [--profile]
 *
 * --model is a file of kind "stream" or "joint", measured beside a made-up backbone of its shape, or one of the models that
 * are made up at run time: camera-health-clip, like the one that ships, and vig_t-clip, of ViG-T's size. Without it: both of
 * them, each as a stream and as windows. tests/bench/clips calls it.
 */
#include <stdio.h>
#include <stdlib.h>

#include <backend.h>
#include <engine-private.h>
#include <model-private.h>
#include <profile.h>
#include <random.h>

#include "figures.h"

enum { PICTURES = 16, MAX_STREAMS = 8, WINDOW = 16, SHORT = 8, LONG = 64, EARLY = 10 };

typedef struct {
  char *model, *device, *precision;
  int threads, rounds, frames, late;
  gboolean profile;
} Options;

/* An engine, and what one call of it classifies: n frames, each the next one of a stream if there are states, or windows of
 * that many. */
typedef struct {
  VigEngine *engine;
  VigKernels *profile;   /* NULL: not wanted */
  guint n, window;
  VigState *states[MAX_STREAMS];
  gint64 time;           /* of the streams, ns */
  guint next;            /* picture */
  guint per;             /* frames that a figure is for: 1, or those of a window that is computed anew for each */
} Side;

static guint8 *pictures[PICTURES];
static guint side;         /* of the pictures */

static void
make_pictures (guint size)
{
  guint32 state = 1;

  side = size;
  for (guint p = 0; p < PICTURES; p++) {
    g_free (pictures[p]);
    pictures[p] = g_malloc ((gsize) 3 * size * size);
    for (gsize i = 0; i < (gsize) 3 * size * size; i++)
      pictures[p][i] = (guint8) ((state = state * 1664525u + 1013904223u) >> 24);
  }
}

static gboolean
open_side (Side *s, const Options *o, VigModel *model, guint n, guint window, GError **error)
{
  VigPrecision precision = VIG_PRECISION_AUTO;
  const char *device;
  VigKernels *kernels;

  *s = (Side) { .n = n, .window = window, .per = 1 };
  if (o->precision && !vig_precision_from_string (o->precision, &precision)) {
    g_set_error (error, VIG_ERROR, VIG_ERROR_ARGUMENT, "precision: expected auto, fp32, bf16 or fp16, found \"%s\"",
        o->precision);
    return FALSE;
  }
  if (!(kernels = vig_backend_open (o->device ? o->device : "cpu", (guint) o->threads, &device, &precision, error)))
    return FALSE;
  if (o->profile)
    kernels = s->profile = vig_profile_open (kernels);
  if (!(s->engine = vig_engine_new_with_kernels (model, kernels, device, precision, error)))
    return FALSE;
  for (guint i = 0; vig_model_has_memory (model) && i < n; i++)
    if (!(s->states[i] = vig_state_new (s->engine, error)))
      return FALSE;
  return TRUE;
}

static void
close_side (Side *s)
{
  for (guint i = 0; i < MAX_STREAMS; i++)
    vig_state_free (s->states[i]);
  vig_engine_free (s->engine);
}

static void
call (Side *s)
{
  VigModel *model = vig_engine_get_model (s->engine);
  g_autofree float *probabilities = g_new (float, (gsize) s->n * vig_model_get_n_classes (model));
  VigOutput output = { .probabilities = probabilities };
  VigFrame frames[LONG];
  VigMoment moments[MAX_STREAMS];
  GError *error = NULL;
  gboolean ok;

  for (guint i = 0; i < s->n; i++) {
    const guint8 *picture = pictures[(s->next + i) % PICTURES];
    frames[i] = (VigFrame) { .format = VIG_FORMAT_RGB, .width = (int) side, .height = (int) side, .data = { picture },
      .stride = { 3 * side } };
    if (s->states[0])
      moments[i] = (VigMoment) { s->states[i], s->time };
  }
  s->next++;
  s->time += 40000000;
  if (s->states[0])
    ok = vig_engine_classify_stream (s->engine, frames, moments, s->n, 0, &output, &error);
  else if (s->window)
    ok = vig_engine_classify_windows (s->engine, frames, s->n / s->window, s->window, 0, NULL, &output, &error);
  else
    ok = vig_engine_classify_frames (s->engine, frames, s->n, 0, &output, &error);
  if (!ok)
    g_error ("%s", error->message);
}

/* Microseconds of a figure's frames, over about @frames of them. */
static double
measure (Side *s, guint frames)
{
  guint calls = MAX (frames / s->n, 1);
  double start = now ();

  for (guint i = 0; i < calls; i++)
    call (s);
  return (now () - start) / calls / s->n * s->per;
}

/* A stream's frames from EARLY on. */
static double
measure_early (Side *s, guint frames)
{
  for (guint i = 0; i < s->n; i++)
    vig_state_reset (s->states[i]);
  for (guint i = 1; i < EARLY; i++)
    call (s);
  return measure (s, frames);
}

typedef double (*Measure) (Side *s, guint frames);

typedef struct {
  double a, b, ratio; /* medians; of b / a round by round */
} Result;

/* Both sides in turns. */
static Result
compare (const Options *o, Side *a, Measure of_a, Side *b, Measure of_b)
{
  guint rounds = (guint) o->rounds, frames = (guint) o->frames;
  g_autofree double *v = g_new (double, 3 * rounds);

  for (guint i = 0; i < 2; i++) { /* plans, weights and caches warm */
    of_a (a, frames);
    of_b (b, frames);
  }
  if (o->profile) {
    vig_profile_reset (a->profile);
    vig_profile_reset (b->profile);
  }
  for (guint r = 0; r < rounds; r++) {
    v[r] = of_a (a, frames);
    v[rounds + r] = of_b (b, frames);
    v[2 * rounds + r] = v[rounds + r] / v[r];
  }
  return (Result) { percentile (v, rounds, 0.5), percentile (v + rounds, rounds, 0.5),
    percentile (v + 2 * rounds, rounds, 0.5) };
}

static void
print_profile (const Options *o, const char *name, const Side *s)
{
  if (!o->profile)
    return;
  g_autoptr (GArray) report = vig_profile_report (s->profile);
  printf ("  operators of %s (microseconds a call of %u frames)\n", name, s->n);
  for (guint i = 0; i < report->len; i++) {
    const VigProfileEntry *e = &g_array_index (report, VigProfileEntry, i);
    guint calls = (guint) o->rounds * MAX ((guint) o->frames / s->n, 1);
    printf ("    %-18s %9.1f  %.1f calls\n", e->name, 1e6 * e->seconds / calls, (double) e->calls / calls);
  }
}

static gboolean
bench_beside_backbone (const Options *o, VigModel *image, VigModel *stream, guint n, GError **error)
{
  Side a = { NULL }, b = { NULL };
  gboolean ok = open_side (&a, o, image, n, 0, error) && open_side (&b, o, stream, n, 0, error);

  if (ok) {
    Result r = compare (o, &a, measure, &b, measure);
    printf ("%-28s %8.1f us a frame, backbone alone %.1f: %+.1f%% (at most 15%% is promised)\n",
        n == 1 ? "stream" : "streams side by side, 8", r.b, r.a, 100 * (r.ratio - 1));
    print_profile (o, "the backbone", &a);
    print_profile (o, "stream", &b);
  }
  close_side (&a);
  close_side (&b);
  return ok;
}

static gboolean
bench_beside_window (const Options *o, VigModel *image, VigModel *stream, GError **error)
{
  Side a = { NULL }, b = { NULL };
  gboolean ok = open_side (&a, o, stream, 1, 0, error) && open_side (&b, o, image, WINDOW, 0, error);

  if (ok) {
    b.per = WINDOW;
    Result r = compare (o, &a, measure, &b, measure);
    printf ("%-28s %8.1f us a frame, stream %.1f: stream is %.1f times cheaper (at least 10 is promised)\n",
        "16 frames anew for each", r.b, r.a, r.ratio);
  }
  close_side (&a);
  close_side (&b);
  return ok;
}

/* Frame 10 beside frame 10,000: a stream that begins again and again, and one that goes on. */
static gboolean
bench_late (const Options *o, VigModel *stream, GError **error)
{
  Side a = { NULL }, b = { NULL };
  gboolean ok = open_side (&a, o, stream, 1, 0, error) && open_side (&b, o, stream, 1, 0, error);

  if (ok) {
    gsize early, late;
    for (int i = 0; i < EARLY; i++)
      call (&b);
    early = vig_engine_get_workspace_bytes (b.engine);
    for (int i = EARLY; i < o->late; i++)
      call (&b);
    late = vig_engine_get_workspace_bytes (b.engine);
    Result r = compare (o, &a, measure_early, &b, measure);
    printf ("%-28s %8.1f us, frame %d %.1f us: %+.1f%% (at most 5%% is promised)\n", "frame 10", r.a, o->late, r.b,
        100 * (r.ratio - 1));
    printf ("%-28s %8" G_GSIZE_FORMAT " bytes; workspace %" G_GSIZE_FORMAT " bytes, %+" G_GSSIZE_FORMAT " from frame 10 to %d\n",
        "memory of a stream", vig_state_get_bytes (stream, 0), late, (gssize) late - (gssize) early, o->late);
  }
  close_side (&a);
  close_side (&b);
  return ok;
}

static gboolean
bench_windows (const Options *o, VigModel *joint, GError **error)
{
  Side a = { NULL }, b = { NULL };
  gboolean ok = open_side (&a, o, joint, SHORT, SHORT, error) && open_side (&b, o, joint, LONG, LONG, error);

  if (ok) {
    Result r = compare (o, &a, measure, &b, measure);
    gsize few = vig_engine_get_workspace_bytes (a.engine), many = vig_engine_get_workspace_bytes (b.engine);
    printf ("%-28s %8.1f us a frame, of %d %.1f: %+.1f%% (at most 15%% is promised)\n", "joint, window of 64", r.b, SHORT, r.a,
        100 * (r.ratio - 1));
    printf ("%-28s %8.1f MB, of %d %.1f MB: %.2f times\n", "workspace of 64", 1e-6 * (double) many, SHORT, 1e-6 * (double) few,
        (double) many / (double) few);
    print_profile (o, "windows of 8", &a);
    print_profile (o, "a window of 64", &b);
  }
  close_side (&a);
  close_side (&b);
  return ok;
}

/* Made-up weights for @config with that memory, or those windows. */
static VigModel *
model_over_time (const VigConfig *config, const VigTemporal *temporal, const char *name, GError **error)
{
  VigConfig c = *config;

  c.temporal = *temporal;
  return vig_model_new_random_of (&c, name, 1, NULL, error);
}

/* stream, joint: (nullable) */
static gboolean
bench (const Options *o, VigModel *stream, VigModel *joint, GError **error)
{
  static const VigTemporal images = { .frames = 0 };
  g_autoptr (VigModel) image = model_over_time (&(stream ? stream : joint)->config, &images, "backbone", error);

  if (!image)
    return FALSE;
  make_pictures (vig_model_get_input_size (image));
  printf ("\n%s, %u wide, %u blocks, %ux%u\n", vig_model_get_name (stream ? stream : joint), image->config.dims[0],
      image->config.depths[0], side, side);
  return (!stream || (bench_beside_backbone (o, image, stream, 1, error)
          && bench_beside_backbone (o, image, stream, MAX_STREAMS, error) && bench_late (o, stream, error)
          && bench_beside_window (o, image, stream, error)))
      && (!joint || bench_windows (o, joint, error));
}

static gboolean
bench_file (const Options *o, GError **error)
{
  g_autoptr (VigModel) model = vig_model_load (o->model, error);

  if (!model)
    return FALSE;
  if (vig_model_has_memory (model))
    return bench (o, model, NULL, error);
  if (vig_model_has_windows (model))
    return bench (o, NULL, model, error);
  g_set_error (error, VIG_ERROR, VIG_ERROR_ARGUMENT, "model: expected one over time, found %s, which is of images",
      vig_model_get_name (model));
  return FALSE;
}

/* The model that was asked for, or all that are made up. */
static gboolean
run (const Options *o, GError **error)
{
  static const struct { const char *name; VigConfig config; } made[] = {
    { "camera-health-clip", { FALSE, 1, { 96 }, { 6 }, { 3 }, 160, 14, TRUE, TRUE,
        { .n_after = 1, .after = { 4 }, .grid = 5, .width = 192, .heads = 12, .step = 0.2, .max_elapsed = 4, .difference = 32 } } },
    { "vig_t-clip", { FALSE, 1, { 192 }, { 12 }, { 3 }, 224, 1000, TRUE, TRUE,
        { .n_after = 2, .after = { 5, 9 }, .grid = 5, .width = 192, .heads = 3, .step = 0.2, .max_elapsed = 4, .difference = 16 } } },
  };
  static const VigTemporal windows = { .frames = 16 };
  gboolean found = FALSE;

  for (guint i = 0; i < G_N_ELEMENTS (made); i++) {
    if (o->model && !g_str_equal (o->model, made[i].name))
      continue;
    found = TRUE;
    g_autoptr (VigModel) stream = vig_model_new_random_of (&made[i].config, made[i].name, 1, NULL, error);
    g_autoptr (VigModel) joint = stream ? model_over_time (&made[i].config, &windows, made[i].name, error) : NULL;
    if (!joint || !bench (o, stream, joint, error))
      return FALSE;
  }
  return found || bench_file (o, error);
}

int
main (int argc, char **argv)
{
  Options o = { .rounds = 15, .frames = LONG, .late = 10000 };
  const GOptionEntry entries[] = {
    { "model", 'm', 0, G_OPTION_ARG_FILENAME, &o.model, "One of the made-up models or a file (default the made-up ones)", "M" },
    { "device", 'd', 0, G_OPTION_ARG_STRING, &o.device, "auto, cpu, ref, cuda or cuda:N (default cpu)", "D" },
    { "precision", 'p', 0, G_OPTION_ARG_STRING, &o.precision, "auto, fp32, bf16 or fp16 (default auto)", "P" },
    { "threads", 't', 0, G_OPTION_ARG_INT, &o.threads, "Threads (default one a core)", "N" },
    { "rounds", 'r', 0, G_OPTION_ARG_INT, &o.rounds, "Turns of each two sides (default 15)", "N" },
    { "frames", 'f', 0, G_OPTION_ARG_INT, &o.frames, "Frames of a turn (default 64)", "N" },
    { "late", 0, 0, G_OPTION_ARG_INT, &o.late, "The frame that frame 10 is compared with (default 10000)", "N" },
    { "profile", 0, 0, G_OPTION_ARG_NONE, &o.profile, "Print the time of every operator as well", NULL },
    G_OPTION_ENTRY_NULL
  };
  g_autoptr (GOptionContext) context = g_option_context_new ("- measure what time costs");
  g_autoptr (GError) error = NULL;
  int status = EXIT_SUCCESS;

  g_option_context_add_main_entries (context, entries, NULL);
  if (!g_option_context_parse (context, &argc, &argv, &error) || argc > 1 || o.threads < 0 || o.rounds < 1 || o.frames < 1
      || o.late < EARLY) {
    fprintf (stderr, "bench-clips: %s\n", error ? error->message : "expected options only, and positive numbers");
    return 2;
  }
  g_autofree char *command = g_strjoinv (" ", argv);
  printf ("%s --rounds %d --frames %d --late %d: medians\n", command, o.rounds, o.frames, o.late);
  if (!run (&o, &error)) {
    fprintf (stderr, "bench-clips: %s\n", error->message);
    status = EXIT_FAILURE;
  }
  for (guint i = 0; i < PICTURES; i++)
    g_free (pictures[i]);
  g_free (o.model);
  g_free (o.device);
  g_free (o.precision);
  return status;
}
