/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Holds every backend's preprocessing against the reference, bit for bit, or times it.
 *
 *   check-preprocess [--variant NAME]… [--cuda-module FILE] [--trials N] [--bench] [GLib test options; --seed of GLib's form
 *       repeats a run]
 *
 * Random pictures in every layout of components, with strides of either sign, crops, orientations, scales up and down
 * and windows; in a batch of three, on 1, 2 and 3 threads, or in three orders of the emulated GPU's threads. Planes are
 * allocated to the byte (the sanitizer build sees a read past them) and filled anew between run and finish: run is done
 * with them. Results have guard bands.
 */
#include <glib.h>
#include <stdio.h>
#include <string.h>

#include "gpu.h"

enum { BATCH = 3, GUARD = 64 };

static char **only_variants;
static gint trials = 60;
static gboolean bench;

static const GOptionEntry options[] = {
  { "variant", 0, 0, G_OPTION_ARG_STRING_ARRAY, &only_variants, "Only this variant (and others so named): avx2, best, cuda",
      "NAME" },
  GPU_OPTION,
  { "trials", 0, 0, G_OPTION_ARG_INT, &trials, "Pictures of each layout (60)", "N" },
  { "bench", 0, 0, G_OPTION_ARG_NONE, &bench, "Time instead of test", NULL },
  G_OPTION_ENTRY_NULL,
};

/* ---- backends ------------------------------------------------------------------------------------------------- */

static VigKernels *
avx2_open (int threads)
{
  return vig_kernels_cpu_open (threads, VIG_CPU_AVX2);
}

static VigKernels *
best_open (int threads)
{
  return vig_kernels_cpu_open (threads, VIG_CPU_ALL);
}

typedef struct {
  const char *name;
  VigKernels *(*open) (int threads);
} Backend;

static const Backend backends[] = {
  { "avx2", avx2_open }, { "best", best_open }, { "cuda", gpu_open },
};

/* ---- pictures ------------------------------------------------------------------------------------------------- */

typedef struct {
  const char *name;
  VigColorKind kind;
  int sub_x, sub_y; /* -1: either */
  VigComponent component[3];
} Layout;

static const Layout layouts[] = {
  { "planar", VIG_COLOR_YUV, -1, -1, { { 0, 0, 1, 0, 8 }, { 1, 0, 1, 0, 8 }, { 2, 0, 1, 0, 8 } } },
  { "semi-planar", VIG_COLOR_YUV, -1, -1, { { 0, 0, 1, 0, 8 }, { 1, 1, 2, 0, 8 }, { 1, 0, 2, 0, 8 } } },
  { "packed yuyv", VIG_COLOR_YUV, 1, 0, { { 0, 0, 2, 0, 8 }, { 0, 1, 4, 0, 8 }, { 0, 3, 4, 0, 8 } } },
  { "packed uyvy", VIG_COLOR_YUV, 1, 0, { { 0, 1, 2, 0, 8 }, { 0, 0, 4, 0, 8 }, { 0, 2, 4, 0, 8 } } },
  { "packed 4:4:4", VIG_COLOR_YUV, 0, 0, { { 0, 0, 3, 0, 8 }, { 0, 1, 3, 0, 8 }, { 0, 2, 3, 0, 8 } } },
  { "planar 10", VIG_COLOR_YUV, -1, -1, { { 0, 0, 2, 0, 10 }, { 1, 0, 2, 0, 10 }, { 2, 0, 2, 0, 10 } } },
  { "semi-planar 10", VIG_COLOR_YUV, -1, -1, { { 0, 0, 2, 6, 10 }, { 1, 0, 4, 6, 10 }, { 1, 2, 4, 6, 10 } } },
  { "rgb 24", VIG_COLOR_RGB, 0, 0, { { 0, 2, 3, 0, 8 }, { 0, 1, 3, 0, 8 }, { 0, 0, 3, 0, 8 } } },
  { "rgb 32", VIG_COLOR_RGB, 0, 0, { { 0, 1, 4, 0, 8 }, { 0, 2, 4, 0, 8 }, { 0, 3, 4, 0, 8 } } },
  { "rgb planes", VIG_COLOR_RGB, 0, 0, { { 0, 0, 1, 0, 8 }, { 1, 0, 1, 0, 8 }, { 2, 0, 1, 0, 8 } } },
  { "gray", VIG_COLOR_GRAY, 0, 0, { { 0, 0, 1, 0, 8 } } },
};

/* Bytes of a row of a plane, and its rows; 0: no such plane. */
static size_t
plane_size (const VigPreprocessDesc *d, int plane, int *rows)
{
  size_t bytes = 0;

  for (int i = 0; i < (d->kind == VIG_COLOR_GRAY ? 1 : 3); i++) {
    int w = i ? (d->width + d->sub_x) >> d->sub_x : d->width;
    if (d->component[i].plane != plane || (size_t) w * d->component[i].step <= bytes)
      continue;
    bytes = (size_t) w * d->component[i].step;
    *rows = i ? (d->height + d->sub_y) >> d->sub_y : d->height;
  }
  return bytes;
}

/* Random bytes; every other picture in runs of 0 and 255, the hardest for clipping. */
static void
fill (guint8 *bytes, size_t n, GRand *random)
{
  gboolean extreme = g_rand_boolean (random);
  guint8 value = 0;

  for (size_t i = 0; i < n; i++) {
    if (!extreme)
      value = (guint8) g_rand_int (random);
    else if (g_rand_int_range (random, 0, 4) == 0)
      value = (guint8) ~value;
    bytes[i] = value;
  }
}

static void
planes_new (const VigPreprocessDesc *d, VigPlanes *planes, guint8 *memory[4], GRand *random)
{
  for (int i = 0, rows = 0; i < 4; i++) {
    size_t bytes = plane_size (d, i, &rows), stride = bytes + g_rand_int_range (random, 0, 40);
    memory[i] = NULL;
    planes->plane[i] = NULL;
    planes->stride[i] = (ptrdiff_t) stride;
    if (bytes == 0)
      continue;
    memory[i] = g_malloc ((rows - 1) * stride + bytes);
    fill (memory[i], (rows - 1) * stride + bytes, random);
    planes->plane[i] = memory[i];
    if (g_rand_boolean (random)) {
      planes->plane[i] = memory[i] + (rows - 1) * stride;
      planes->stride[i] = -(ptrdiff_t) stride;
    }
  }
}

/* A side of 1 to a few hundred, short ones more often. */
static int
draw_side (GRand *random)
{
  static const int most[] = { 1, 3, 20, 70, 70, 400 };
  return g_rand_int_range (random, 1, most[g_rand_int_range (random, 0, G_N_ELEMENTS (most))] + 1);
}

static void
draw_part (GRand *random, int whole, int *at, int *size)
{
  *at = g_rand_boolean (random) ? 0 : g_rand_int_range (random, 0, whole);
  *size = g_rand_boolean (random) ? whole - *at : g_rand_int_range (random, 1, whole - *at + 1);
}

static void
draw_geometry (VigPreprocessDesc *d, GRand *random)
{
  draw_part (random, d->width, &d->crop_x, &d->crop_width);
  draw_part (random, d->height, &d->crop_y, &d->crop_height);
  d->orientation = g_rand_int_range (random, 1, 9);
  d->resize_width = draw_side (random);
  d->resize_height = draw_side (random);
  if (g_rand_int_range (random, 0, 4) == 0) /* as it is */
    d->resize_width = d->orientation >= 5 ? d->crop_height : d->crop_width;
  draw_part (random, d->resize_width, &d->out_x, &d->out_width);
  draw_part (random, d->resize_height, &d->out_y, &d->out_height);
}

static void
draw_desc (VigPreprocessDesc *d, const Layout *layout, GRand *random)
{
  static const float weights[][2] = { { 0.299f, 0.114f }, { 0.2126f, 0.0722f }, { 0.2627f, 0.0593f } };
  int matrix = g_rand_int_range (random, 0, 3);

  memset (d, 0, sizeof *d);
  d->width = draw_side (random);
  d->height = draw_side (random);
  switch (g_rand_int_range (random, 0, 12)) { /* a strip, of which few outputs need much */
    case 0: d->width = g_rand_int_range (random, 600, 3000), d->height = 1 + d->height % 16; break;
    case 1: d->height = g_rand_int_range (random, 600, 3000), d->width = 1 + d->width % 16; break;
    default: break;
  }
  d->kind = layout->kind;
  memcpy (d->component, layout->component, sizeof d->component);
  d->sub_x = layout->sub_x < 0 ? g_rand_boolean (random) : layout->sub_x;
  d->sub_y = layout->sub_y < 0 ? g_rand_boolean (random) : layout->sub_y;
  d->site_x = d->sub_x && g_rand_boolean (random);
  d->site_y = d->sub_y && g_rand_boolean (random);
  d->kr = weights[matrix][0];
  d->kb = weights[matrix][1];
  d->full_range = g_rand_boolean (random);
  draw_geometry (d, random);
  for (int c = 0; c < 3; c++) {
    d->mean[c] = (float) g_rand_double_range (random, 0, 1);
    d->std[c] = (float) g_rand_double_range (random, 0.1, 1);
  }
}

/* ---- check ---------------------------------------------------------------------------------------------------- */

/* Every byte of the pictures to its opposite, and with a second call back. */
static void
invert (const VigPreprocessDesc *d, const VigPlanes *frames)
{
  for (int i = 0; i < BATCH * 4; i++) {
    const VigPlanes *f = &frames[i / 4];
    int rows = 0;
    size_t bytes = plane_size (d, i % 4, &rows);
    for (int y = 0; bytes && y < rows; y++)
      for (size_t x = 0; x < bytes; x++)
        ((guint8 *) f->plane[i % 4] + y * f->stride[i % 4])[x] ^= 0xff;
  }
}

/* The pictures one by one, then all at once: [2, BATCH, 3, h, w], which must be twice the same. */
static float *
run (VigKernels *k, const VigPreprocessDesc *d, const VigPlanes *frames)
{
  size_t item = (size_t) 3 * d->out_width * d->out_height, size = 2 * BATCH * item + 2 * GUARD;
  float *host = g_new (float, size), *memory = k->alloc (k->ctx, size * sizeof (float));
  VigPreprocess *p = k->preprocess_create (k->ctx, d);

  g_assert_nonnull (p);
  memset (host, 0xff, size * sizeof (float)); /* NaN */
  k->upload (k->ctx, memory, host, size * sizeof (float));
  for (int i = 0; i < BATCH; i++)
    k->preprocess_run (k->ctx, p, &frames[i], 1, memory + GUARD + i * item);
  k->preprocess_run (k->ctx, p, frames, BATCH, memory + GUARD + BATCH * item);
  invert (d, frames);
  g_assert_null (k->finish (k->ctx));
  invert (d, frames);
  k->download (k->ctx, host, memory, size * sizeof (float));
  k->preprocess_destroy (k->ctx, p);
  k->free (k->ctx, memory);
  return host;
}

static void
compare (const VigPreprocessDesc *d, const char *layout, const char *name, int threads, const float *got,
    const float *want)
{
  size_t size = (size_t) 2 * BATCH * 3 * d->out_width * d->out_height + 2 * GUARD, i = 0;

  if (memcmp (got, want, size * sizeof *got) == 0)
    return;
  while (memcmp (&got[i], &want[i], sizeof *got) == 0)
    i++;
  g_test_message ("%s on %d threads, %s %dx%d, sub %d %d, site %d %d, full range %d, crop %dx%d at %d,%d, orientation "
      "%d, resized to %dx%d, window %dx%d at %d,%d: element %ld of %ld is %g, expected %g", name, threads, layout,
      d->width, d->height, d->sub_x, d->sub_y, d->site_x, d->site_y, d->full_range, d->crop_width, d->crop_height,
      d->crop_x, d->crop_y, d->orientation, d->resize_width, d->resize_height, d->out_width, d->out_height, d->out_x,
      d->out_y, (long) i - GUARD, (long) size - 2 * GUARD, got[i], want[i]);
  g_test_fail ();
}

static void
check (const Layout *layout, const Backend *backend)
{
  GRand *random = g_rand_new_with_seed ((guint32) g_test_rand_int ());
  VigKernels *ref = vig_kernels_ref_open (), *k[3];

  for (int t = 0; t < 3; t++)
    k[t] = backend->open (t + 1);
  for (int trial = 0; trial < trials && !g_test_failed (); trial++) {
    VigPreprocessDesc d;
    VigPlanes frames[BATCH];
    guint8 *memory[BATCH][4];

    draw_desc (&d, layout, random);
    for (int i = 0; i < BATCH; i++)
      planes_new (&d, &frames[i], memory[i], random);
    size_t batch = (size_t) BATCH * 3 * d.out_width * d.out_height;
    g_autofree float *want = run (ref, &d, frames);
    g_assert_cmpmem (want + GUARD, batch * sizeof *want, want + GUARD + batch, batch * sizeof *want);
    for (int t = 0; t < 3; t++) {
      g_autofree float *got = run (k[t], &d, frames);
      compare (&d, layout->name, k[t]->name, t + 1, got, want);
    }
    for (int i = 0; i < BATCH * 4; i++)
      g_free (memory[i / 4][i % 4]);
  }
  for (int t = 0; t < 3; t++)
    k[t]->close (k[t]);
  ref->close (ref);
  g_rand_free (random);
}

typedef struct {
  const Layout *layout;
  const Backend *backend;
} Row;

static void
test_row (gconstpointer row)
{
  check (((const Row *) row)->layout, ((const Row *) row)->backend);
}

/* ---- bench ---------------------------------------------------------------------------------------------------- */

static void
time_one (const Layout *layout, int w, int h, int side, bool crop, int threads)
{
  VigPreprocessDesc d = {
    .width = w, .height = h, .kind = layout->kind, .sub_x = layout->sub_x != 0, .sub_y = layout->sub_y != 0,
    .site_y = layout->sub_y != 0, .kr = 0.2126f, .kb = 0.0722f, .crop_width = w, .crop_height = h, .orientation = 1,
    .resize_width = crop ? side * 8 / 7 * w / h : side, .resize_height = crop ? side * 8 / 7 : side,
    .out_width = side, .out_height = side, .std = { 1, 1, 1 },
  };
  GRand *random = g_rand_new_with_seed (1);
  VigKernels *k = vig_kernels_cpu_open (threads, ~0u);
  float *out = g_new (float, 3 * side * side);
  VigPlanes planes;
  guint8 *memory[4];
  gint64 best = G_MAXINT64;
  VigPreprocess *p;

  memcpy (d.component, layout->component, sizeof d.component);
  d.out_x = (d.resize_width - side) / 2;
  d.out_y = (d.resize_height - side) / 2;
  planes_new (&d, &planes, memory, random);
  p = k->preprocess_create (k->ctx, &d);
  for (int i = 0; i < 100; i++) {
    gint64 start = g_get_monotonic_time ();
    k->preprocess_run (k->ctx, p, &planes, 1, out);
    best = MIN (best, g_get_monotonic_time () - start);
  }
  printf ("# %-16s %4dx%-4d %s %d, %s, %d threads: %.2f ms\n", layout->name, w, h, crop ? "crop to" : "stretch to", side,
      k->name, threads, (double) best / 1000);
  k->preprocess_destroy (k->ctx, p);
  k->close (k);
  g_free (out);
  for (int i = 0; i < 4; i++)
    g_free (memory[i]);
  g_rand_free (random);
}

static int
run_bench (void)
{
  for (guint i = 0; i < G_N_ELEMENTS (layouts); i++)
    for (int threads = 1; threads <= 2; threads++) {
      time_one (&layouts[i], 1920, 1080, 224, true, threads);
      time_one (&layouts[i], 640, 480, 160, false, threads);
    }
  return 0;
}

int
main (int argc, char **argv)
{
  static Row rows[G_N_ELEMENTS (layouts) * G_N_ELEMENTS (backends)];
  g_autoptr (GError) error = NULL;
  g_autoptr (GOptionContext) context = g_option_context_new ("- preprocessing against its reference");
  g_option_context_add_main_entries (context, options, NULL);
  g_option_context_set_ignore_unknown_options (context, TRUE);
  if (!g_option_context_parse (context, &argc, &argv, &error)) {
    fprintf (stderr, "check-preprocess: %s\n", error->message);
    return 2;
  }
  if (bench)
    return run_bench ();

  g_test_init (&argc, &argv, NULL);
  for (guint i = 0; i < G_N_ELEMENTS (rows); i++) {
    rows[i] = (Row) { &layouts[i % G_N_ELEMENTS (layouts)], &backends[i / G_N_ELEMENTS (layouts)] };
    if (only_variants && !g_strv_contains ((const char *const *) only_variants, rows[i].backend->name))
      continue;
    g_autofree char *path = g_strdup_printf ("/kernels/preprocess/%s/%s", rows[i].backend->name, rows[i].layout->name);
    g_test_add_data_func (path, &rows[i], test_row);
  }
  return g_test_run ();
}
