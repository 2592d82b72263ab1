/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The official evaluation transform's outputs, through the frame description and every preprocess kernel. */
#include <frame-private.h>

#include <gdk-pixbuf/gdk-pixbuf.h>
#include <math.h>
#include <string.h>

#include "golden.h"

/* ---- golden files: 8-bit tensors, which model files cannot have ----------------------------------------------- */

typedef struct {
  char *bytes;       /* the file */
  const char *data;  /* behind its header */
  VigJson *header;
} Pixels;

static void
pixels_open (Pixels *p, const char *name)
{
  g_autofree char *file = g_strdup_printf ("preprocess/%s.safetensors", name);
  g_autofree char *path = golden_path (file);
  guint64 header_size;
  gsize size;
  GError *error = NULL;

  g_file_get_contents (path, &p->bytes, &size, &error);
  g_assert_no_error (error);
  memcpy (&header_size, p->bytes, 8);
  header_size = GUINT64_FROM_LE (header_size);
  g_assert_cmpuint (header_size, <=, size - 8);
  p->header = vig_json_parse (p->bytes + 8, header_size, path, &error);
  g_assert_no_error (error);
  p->data = p->bytes + 8 + header_size;
}

static void
pixels_close (Pixels *p)
{
  g_free (p->bytes);
  vig_json_free (p->header);
}

/* Data of tensor "SIDE.what", `size` bytes; NULL if the file has none of that name. */
static const void *
pixels_get (const Pixels *p, int side, const char *what, gsize size)
{
  g_autofree char *name = g_strdup_printf ("%d.%s", side, what);
  const VigJson *tensor = vig_json_get (p->header, name), *begin;

  if (tensor == NULL)
    return NULL;
  begin = vig_json_get (tensor, "data_offsets")->first;
  g_assert_cmpfloat (begin->next->number - begin->number, ==, (double) size);
  return p->data + (gsize) begin->number;
}

/* ---- the test ------------------------------------------------------------------------------------------------- */

static const VigPreprocessConfig official = {
  .size = 224, .resize_ratio = 256.0 / 224,
  .mean = { 0.485f, 0.456f, 0.406f }, .std = { 0.229f, 0.224f, 0.225f },
};

static float *
preprocess (VigKernels *k, const VigFrame *frame, int side)
{
  VigPreprocessDesc desc;
  VigPlanes planes;
  GError *error = NULL;
  size_t size = (size_t) 3 * side * side * sizeof (float);
  float *device = k->alloc (k->ctx, size), *host = g_malloc (size);
  VigPreprocess *p;

  vig_frame_describe (frame, &official, side, &desc, &planes, &error);
  g_assert_no_error (error);
  p = k->preprocess_create (k->ctx, &desc);
  g_assert_nonnull (p);
  k->preprocess_run (k->ctx, p, &planes, 1, device);
  g_assert_null (k->finish (k->ctx));
  k->download (k->ctx, host, device, size);
  k->preprocess_destroy (k->ctx, p);
  k->free (k->ctx, device);
  return host;
}

/* Largest difference from the golden in 8-bit steps. */
static double
steps_off (const Pixels *p, int side, const float *got)
{
  size_t plane = (size_t) side * side;
  const guint8 *want = pixels_get (p, side, "u8", 3 * plane);
  double worst = 0;

  g_assert_nonnull (want);
  for (size_t i = 0; i < 3 * plane; i++) {
    int c = (int) (i / plane);
    double value = ((double) got[i] * official.std[c] + official.mean[c]) * 255;
    worst = fmax (worst, fabs (value - want[i % plane * 3 + c]));
  }
  return worst;
}

/* The same for the normalised tensor, where the file has it. */
static double
normalised_off (const Pixels *p, int side, const float *got)
{
  size_t plane = (size_t) side * side;
  const char *tensor = pixels_get (p, side, "tensor", 3 * plane * sizeof (float));
  double worst = 0;

  for (size_t i = 0; tensor && i < 3 * plane; i++) {
    float want;
    memcpy (&want, tensor + i * sizeof want, sizeof want);
    worst = fmax (worst, fabs ((double) got[i] - want) * official.std[i / plane] * 255);
  }
  return worst;
}

static VigFrame
frame_of (GdkPixbuf *pixbuf)
{
  VigFrame frame = {
    .format = gdk_pixbuf_get_has_alpha (pixbuf) ? VIG_FORMAT_RGBA : VIG_FORMAT_RGB,
    .width = gdk_pixbuf_get_width (pixbuf), .height = gdk_pixbuf_get_height (pixbuf),
    .data = { gdk_pixbuf_read_pixels (pixbuf) }, .stride = { gdk_pixbuf_get_rowstride (pixbuf) },
  };
  return frame;
}

typedef struct {
  const char *name;
  int sides[3];
} Picture;

static const Picture pictures[] = {
  { "photo_500x375", { 224 } }, { "wide_641x359", { 224, 288, 448 } }, { "tall_37x500", { 224 } },
  { "hd_1920x1080", { 224, 384 } }, { "small_100x80", { 224 } }, { "exact_256x300", { 224 } },
  { "checker_512x512", { 224 } }, { "gray_300x203", { 224 } }, { "alpha_260x257", { 224 } },
};

static void
test_picture (const Picture *picture, VigKernels *k)
{
  g_autofree char *file = g_strdup_printf ("preprocess/%s.png", picture->name);
  g_autofree char *path = golden_path (file);
  g_autoptr (GError) error = NULL;
  g_autoptr (GdkPixbuf) pixbuf = gdk_pixbuf_new_from_file (path, &error);
  Pixels want;
  VigFrame frame;

  g_assert_no_error (error);
  frame = frame_of (pixbuf);
  pixels_open (&want, picture->name);
  for (int i = 0; i < 3 && picture->sides[i]; i++) {
    g_autofree float *got = preprocess (k, &frame, picture->sides[i]);
    double off = fmax (steps_off (&want, picture->sides[i], got), normalised_off (&want, picture->sides[i], got));
    g_test_message ("%s at %d, %s: %.4f steps off", picture->name, picture->sides[i], k->name, off);
    g_assert_cmpfloat (off, <, 1.001);
  }
  pixels_close (&want);
}

static void
test_ref (gconstpointer picture)
{
  VigKernels *k = vig_kernels_ref_open ();
  test_picture (picture, k);
  k->close (k);
}

static void
test_cpu (gconstpointer picture)
{
  static const unsigned masks[] = { 0, VIG_CPU_AVX2, ~0u };

  for (guint i = 0; i < G_N_ELEMENTS (masks); i++) {
    VigKernels *k = vig_kernels_cpu_open (2, masks[i]);
    test_picture (picture, k);
    k->close (k);
  }
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  for (guint i = 0; i < G_N_ELEMENTS (pictures); i++) {
    g_autofree char *ref = g_strdup_printf ("/golden/preprocess/ref/%s", pictures[i].name);
    g_autofree char *cpu = g_strdup_printf ("/golden/preprocess/cpu/%s", pictures[i].name);
    g_test_add_data_func (ref, &pictures[i], test_ref);
    g_test_add_data_func (cpu, &pictures[i], test_cpu);
  }
  return g_test_run ();
}
