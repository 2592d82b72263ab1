/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* How fast a model runs here, and how far that is from what this machine's matrix products reach in the same run. */
#include <locale.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <vig/vig.h>

#include "backend.h"
#include "engine-private.h"
#include "json.h"
#include "model-private.h"
#include "profile.h"
#include "random.h"

typedef struct {
  char *model, *random, *device, *precision, *frame;
  int width, height; /* of frame, 0: there is none */
  int batch, size, threads, peak;
  double seconds;
  gboolean json, profile, resident;
} Options;

typedef struct {
  double median, p99, preprocess; /* seconds a batch; preprocess: of them, the median */
  double frames_per_second;       /* all frames over all of the time: slow batches count as well */
  guint runs;
  double gflops, product_gflops, peak_gflops; /* all, of the matrix products alone, of a large product (0: not measured) */
} Figures;

static gboolean
usage_error (GError **error, const char *message)
{
  g_set_error_literal (error, G_OPTION_ERROR, G_OPTION_ERROR_FAILED, message);
  return FALSE;
}

static gboolean
parse (Options *o, int *argc, char ***argv, GError **error)
{
  const GOptionEntry entries[] = {
    { "model", 'm', 0, G_OPTION_ARG_FILENAME, &o->model, "The model", "M.safetensors" },
    { "random", 'r', 0, G_OPTION_ARG_STRING, &o->random,
        "Made-up weights instead: vig_t, vig_s, vig_b, vig_h_t, vig_h_s, vig_h_b", "VARIANT" },
    { "device", 'd', 0, G_OPTION_ARG_STRING, &o->device, "auto, cpu, cuda, cuda:N or ref (default auto)", "D" },
    { "precision", 'p', 0, G_OPTION_ARG_STRING, &o->precision, "auto, fp32, bf16 or fp16 (default auto)", "P" },
    { "batch", 'b', 0, G_OPTION_ARG_INT, &o->batch, "Items in a batch (default 1)", "B" },
    { "size", 's', 0, G_OPTION_ARG_INT, &o->size, "Side of the square input (default what the model says)", "S" },
    { "threads", 't', 0, G_OPTION_ARG_INT, &o->threads, "Threads of the CPU backend (default one a core)", "N" },
    { "seconds", 0, 0, G_OPTION_ARG_DOUBLE, &o->seconds, "How long to measure (default 3)", "SECONDS" },
    { "peak", 0, 0, G_OPTION_ARG_INT, &o->peak,
        "Side of the square product that gives the peak, 0 for none (default 2048, on a GPU 8192)", "N" },
    { "resident", 0, 0, G_OPTION_ARG_NONE, &o->resident, "The input stays in the device's memory: copying it is not timed",
        NULL },
    { "frame", 0, 0, G_OPTION_ARG_STRING, &o->frame,
        "The input are NV12 pictures of that size: they are preprocessed, and that is timed too", "WIDTHxHEIGHT" },
    { "profile", 0, 0, G_OPTION_ARG_NONE, &o->profile, "Print the time of every operator as well", NULL },
    { "json", 'j', 0, G_OPTION_ARG_NONE, &o->json, "Print one JSON object", NULL },
    G_OPTION_ENTRY_NULL
  };
  g_autoptr (GOptionContext) context = g_option_context_new ("- measure a ViG model");

  g_option_context_add_main_entries (context, entries, NULL);
  g_option_context_set_description (context,
      "The peak is that of a product of two large square matrices in the same precision, measured before and after.\n"
      "--profile waits for the device after every operator: its times add up to more than the median.\n\n"
      "Examples:\n"
      "  vig-bench --random vig_t --precision bf16 --batch 8\n"
      "  vig-bench --random vig_t --frame 1920x1080\n"
      "  vig-bench --model M.safetensors --device cpu --size 448 --profile\n");
  if (!g_option_context_parse (context, argc, argv, error))
    return FALSE;
  if (*argc > 1)
    return usage_error (error, "expected options only");
  if (!o->model == !o->random)
    return usage_error (error, "expected either --model or --random");
  char end;
  if (o->frame && (o->resident || sscanf (o->frame, "%dx%d%c", &o->width, &o->height, &end) != 2 || o->width < 2
      || o->height < 2 || o->width > 16384 || o->height > 16384 || o->width % 2 || o->height % 2))
    return usage_error (error, "expected --frame WIDTHxHEIGHT, both even and up to 16384, and no --resident beside it");
  if (o->batch < 1 || o->batch > 4096 || o->size < 0 || o->threads < 0 || o->peak < -1 || o->peak > 32768
      || !(o->seconds >= 0 && o->seconds <= 3600))
    return usage_error (error, "expected --batch from 1 to 4096, --size and --threads of at least 0, --peak up to "
        "32768 and --seconds from 0 to 3600");
  return TRUE;
}

static double
now (void)
{
  struct timespec t;
  clock_gettime (CLOCK_MONOTONIC, &t);
  return (double) t.tv_sec + 1e-9 * (double) t.tv_nsec;
}

static VigKernels *
open_kernels (const Options *o, const char **device, VigPrecision *precision, GError **error)
{
  *precision = VIG_PRECISION_AUTO;
  if (o->precision && !vig_precision_from_string (o->precision, precision)) {
    g_set_error (error, VIG_ERROR, VIG_ERROR_ARGUMENT, "precision: expected auto, fp32, bf16 or fp16, found \"%s\"",
        o->precision);
    return NULL;
  }
  return vig_backend_open (o->device, (guint) o->threads, device, precision, error);
}

static gsize
peak_side (const Options *o, const char *device)
{
  if (o->peak > 0)
    return (gsize) o->peak;
  return g_str_equal (device, "ref") ? 256 : g_str_has_prefix (device, "cuda") ? 8192 : 2048; /* the reference is no race */
}

/* *gflops: of a large square product, if that is more. */
static gboolean
measure_peak (const Options *o, double *gflops, GError **error)
{
  const char *device, *failure = NULL;
  VigPrecision precision;
  VigKernels *k = o->peak != 0 ? open_kernels (o, &device, &precision, error) : NULL;

  if (!k)
    return o->peak == 0;
  gsize n = peak_side (o, device);
  VigType type = vig_backend_type (precision);
  g_autofree float *weight = g_new (float, n * n);
  for (gsize i = 0; i < n * n; i++)
    weight[i] = i < 65521 ? (float) vig_random_uniform ("bench/weight", 0, i) : weight[i - 65521];
  VigMatmul *m = k->matmul_create (k->ctx, &(VigMatmulDesc) { .n = (int) n, .k = (int) n, .type = type,
      .weight = weight });
  void *a = k->alloc (k->ctx, n * n * sizeof (float));
  float *c = k->alloc (k->ctx, n * n * sizeof (float));
  if (m && a && c) {
    if (type != VIG_TYPE_F32) /* the upper halves: any numbers do */
      for (gsize i = 0; i < n * n; i++)
        memcpy ((char *) weight + 2 * i, (char *) &weight[i] + (G_BYTE_ORDER == G_LITTLE_ENDIAN ? 2 : 0), 2);
    k->upload (k->ctx, a, weight, n * n * sizeof (float));
    double end = now () + 0.3;
    do {
      double start = now ();
      k->matmul_run (k->ctx, m, &(VigMatmulRun) { .batch = 1, .rows = (int) n, .a = a, .c = c });
      failure = k->finish (k->ctx);
      *gflops = MAX (*gflops, 2e-9 * (double) n * (double) n * (double) n / (now () - start));
    } while (!failure && now () < end);
  }
  if (failure || !m || !a || !c) {
    g_set_error (error, VIG_ERROR, VIG_ERROR_FAILED, "peak: the matrix product failed: %s", failure ? failure :
        "no memory");
    *gflops = 0;
  }
  k->free (k->ctx, a);
  k->free (k->ctx, c);
  if (m)
    k->matmul_destroy (k->ctx, m);
  k->close (k);
  return *gflops > 0;
}

/* What is classified: pictures, else tensors, else what is in the device's memory. */
typedef struct {
  VigFrame *frames; /* [batch], all the same picture */
  guint8 *pixels;
  float *tensors;   /* [batch, 3, size, size] */
} Input;

static void
input_clear (Input *input)
{
  g_free (input->frames);
  g_free (input->pixels);
  g_free (input->tensors);
}

G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC (Input, input_clear)

static gboolean
input_init (Input *input, const Options *o, guint size, GError **error)
{
  gsize width = (gsize) o->width, height = (gsize) o->height, batch = (gsize) o->batch;
  gsize count = width ? width * height * 3 / 2 : batch * 3 * size * size;

  if (width) {
    input->frames = g_new (VigFrame, batch);
    input->pixels = g_try_new (guint8, count);
  } else {
    input->tensors = g_try_new (float, count);
  }
  if (!input->pixels && !input->tensors) {
    g_set_error (error, VIG_ERROR, VIG_ERROR_NO_MEMORY, "batch: no memory for %d items of %ux%u", o->batch, size, size);
    return FALSE;
  }
  for (gsize i = 0; i < count; i++) {
    double value = vig_random_uniform ("bench/input", 0, i); /* -1 to 1 */
    if (width)
      input->pixels[i] = (guint8) (126 + 110 * value);
    else
      input->tensors[i] = (float) (2 * value);
  }
  for (gsize i = 0; width && i < batch; i++)
    input->frames[i] = (VigFrame) { .format = VIG_FORMAT_NV12, .width = o->width, .height = o->height,
      .data = { input->pixels, input->pixels + width * height }, .stride = { o->width, o->width },
      .matrix = VIG_MATRIX_BT709 };
  return TRUE;
}

static gboolean
classify (const Options *o, VigEngine *engine, const Input *input, guint size, VigOutput *output, GError **error)
{
  guint batch = (guint) o->batch;
  if (input->frames)
    return vig_engine_classify_frames (engine, input->frames, batch, size, output, error);
  return input->tensors ? vig_engine_classify_tensors (engine, input->tensors, batch, size, size, output, error)
      : vig_engine_classify_resident (engine, batch, size, size, output, error);
}

static int
by_value (gconstpointer a, gconstpointer b)
{
  double x = *(const double *) a, y = *(const double *) b;
  return x < y ? -1 : x > y;
}

static gboolean
measure (const Options *o, VigEngine *engine, guint size, VigKernels *profile, Figures *figures, GError **error)
{
  VigModel *model = vig_engine_get_model (engine);
  guint batch = (guint) o->batch;
  g_auto (Input) input = { 0 };
  g_autofree float *logits = g_try_new (float, (gsize) batch * vig_model_get_n_classes (model));
  g_autoptr (GArray) times = g_array_new (FALSE, FALSE, sizeof (double));
  g_autoptr (GArray) preprocess = g_array_new (FALSE, FALSE, sizeof (double));
  VigOutput output = { .logits = logits };

  if (!input_init (&input, o, size, error))
    return FALSE;
  if (!logits) {
    g_set_error (error, VIG_ERROR, VIG_ERROR_NO_MEMORY, "batch: no memory for the logits of %u items", batch);
    return FALSE;
  }
  if (!classify (o, engine, &input, size, &output, error))
    return FALSE;
  if (o->resident)
    g_clear_pointer (&input.tensors, g_free); /* it is there from now on */
  for (double end = now () + o->seconds / 10; ;) { /* warm up */
    if (!classify (o, engine, &input, size, &output, error))
      return FALSE;
    if (now () >= end)
      break;
  }
  if (profile)
    vig_profile_reset (profile);
  const double begin = now ();
  for (double end = begin + o->seconds; ;) {
    double start = now (), took, prepared;
    if (!classify (o, engine, &input, size, &output, error))
      return FALSE;
    took = now () - start;
    prepared = 1e-6 * (double) output.preprocess_us;
    g_array_append_val (times, took);
    g_array_append_val (preprocess, prepared);
    if (now () >= end)
      break;
  }
  figures->frames_per_second = batch * times->len / (now () - begin);
  g_array_sort (times, by_value);
  g_array_sort (preprocess, by_value);
  figures->runs = times->len;
  figures->median = g_array_index (times, double, times->len / 2);
  figures->preprocess = g_array_index (preprocess, double, preprocess->len / 2);
  figures->p99 = g_array_index (times, double, MIN (times->len - 1, times->len * 99 / 100));
  figures->gflops = 2e-9 * (double) vig_config_macs (&model->config, size, size, FALSE) * batch / figures->median;
  figures->product_gflops = 2e-9 * (double) vig_config_macs (&model->config, size, size, TRUE) * batch / figures->median;
  return TRUE;
}

static void
print_profile (const Options *o, VigKernels *profile, guint runs)
{
  g_autoptr (GArray) report = vig_profile_report (profile);
  double sum = 0;

  for (guint i = 0; i < report->len; i++)
    sum += g_array_index (report, VigProfileEntry, i).seconds;
  if (o->json)
    printf (",\"profile\":{");
  for (guint i = 0; i < report->len; i++) {
    const VigProfileEntry *e = &g_array_index (report, VigProfileEntry, i);
    if (o->json)
      printf ("%s\"%s\":%.6f", i ? "," : "", e->name, 1e3 * e->seconds / runs);
    else
      printf ("  %-18s %8.3f ms  %5.1f%%  %u calls\n", e->name, 1e3 * e->seconds / runs, 100 * e->seconds / sum,
          e->calls / runs);
  }
  if (o->json)
    printf ("}");
}

static void
print (const Options *o, VigEngine *engine, guint size, VigKernels *profile, const Figures *f)
{
  VigModel *model = vig_engine_get_model (engine);
  const char *precision = vig_precision_to_string (vig_engine_get_precision (engine));
  double share = f->gflops / f->peak_gflops, products = f->product_gflops / f->peak_gflops;

  if (o->json) {
    g_autoptr (GString) name = g_string_new (NULL);
    vig_json_append_string (name, vig_model_get_name (model));
    printf ("{\"model\":%s,\"device\":\"%s\",\"kernels\":\"%s\",\"precision\":\"%s\",\"batch\":%d,\"size\":%u,"
        "\"threads\":%d,\"runs\":%u,\"median_ms\":%.6f,\"p99_ms\":%.6f,\"frames_per_second\":%.3f,\"gflops\":%.3f,"
        "\"product_gflops\":%.3f,\"weight_bytes\":%" G_GSIZE_FORMAT ",\"workspace_bytes\":%"
        G_GSIZE_FORMAT, name->str, vig_engine_get_device (engine), vig_engine_get_kernels (engine), precision, o->batch,
        size, o->threads, f->runs, 1e3 * f->median, 1e3 * f->p99, f->frames_per_second, f->gflops,
        f->product_gflops, vig_engine_get_weight_bytes (engine), vig_engine_get_workspace_bytes (engine));
    if (o->frame)
      printf (",\"preprocess_ms\":%.6f", 1e3 * f->preprocess);
    if (o->peak)
      printf (",\"peak_gflops\":%.3f,\"share_of_peak\":%.5f,\"product_share_of_peak\":%.5f", f->peak_gflops, share, products);
    if (profile)
      print_profile (o, profile, f->runs);
    printf ("}\n");
    return;
  }
  printf ("%s on %s (%s), %s, batch %d, %ux%u, %u runs\n", vig_model_get_name (model), vig_engine_get_device (engine),
      vig_engine_get_kernels (engine), precision, o->batch, size, size, f->runs);
  printf ("  median %.3f ms, p99 %.3f ms, %.1f frames/s\n", 1e3 * f->median, 1e3 * f->p99, f->frames_per_second);
  if (o->frame)
    printf ("  %.3f ms of them preprocess %dx%d NV12\n", 1e3 * f->preprocess, o->width, o->height);
  printf ("  %.1f GFLOP/s, %.1f of them in matrix products\n", f->gflops, f->product_gflops);
  if (o->peak)
    printf ("  %.1f%% and %.1f%% of the measured peak of %.1f GFLOP/s\n", 100 * share, 100 * products, f->peak_gflops);
  printf ("  weights %.1f MB, workspace %.1f MB\n", 1e-6 * (double) vig_engine_get_weight_bytes (engine),
      1e-6 * (double) vig_engine_get_workspace_bytes (engine));
  if (profile)
    print_profile (o, profile, f->runs);
}

static gboolean
run (const Options *o, GError **error)
{
  g_autoptr (VigModel) model = o->model ? vig_model_load (o->model, error)
      : vig_model_new_random (o->random, 1, NULL, error);
  g_autoptr (VigEngine) engine = NULL;
  Figures f = { 0 };
  VigPrecision precision;
  VigKernels *kernels;
  const char *device;

  if (!model || !measure_peak (o, &f.peak_gflops, error)
      || !(kernels = open_kernels (o, &device, &precision, error)))
    return FALSE;
  if (o->profile)
    kernels = vig_profile_open (kernels);
  if (!(engine = vig_engine_new_with_kernels (model, kernels, device, precision, error)))
    return FALSE;
  guint size = o->size ? (guint) o->size : vig_model_get_input_size (model);
  if (!measure (o, engine, size, o->profile ? kernels : NULL, &f, error))
    return FALSE;
  if (!measure_peak (o, &f.peak_gflops, error))
    return FALSE;
  print (o, engine, size, o->profile ? kernels : NULL, &f);
  return TRUE;
}

int
main (int argc, char **argv)
{
  Options o = { .batch = 1, .seconds = 3, .peak = -1 };
  g_autoptr (GError) error = NULL;
  int status = EXIT_SUCCESS;

  setlocale (LC_CTYPE, ""); /* not the numbers: they are for programs too */
  if (!parse (&o, &argc, &argv, &error)) {
    fprintf (stderr, "vig-bench: %s\nTry vig-bench --help.\n", error->message);
    status = 2;
  } else if (!run (&o, &error)) {
    fprintf (stderr, "vig-bench: %s\n", error->message);
    status = EXIT_FAILURE;
  }
  g_free (o.model);
  g_free (o.random);
  g_free (o.device);
  g_free (o.precision);
  g_free (o.frame);
  return status;
}
