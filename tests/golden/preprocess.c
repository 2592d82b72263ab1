/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The official evaluation transform's outputs, through the frame description and every preprocess kernel, and through
 * vig-infer (named by VIG_INFER in the environment). */
#include <frame-private.h>

#include <gdk-pixbuf/gdk-pixbuf.h>
#include <glib/gstdio.h>
#include <math.h>
#include <string.h>
#include <unistd.h>

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

/* ---- picture files, by vig-infer --preprocess-only --------------------------------------------------------------- */

/* The "input" that vig-infer makes of a file, [3, side, side]; to be freed. */
static float *
infer (const char *path, int side)
{
  g_autofree char *folder = g_dir_make_tmp (NULL, NULL), *out = g_build_filename (folder, "out.safetensors", NULL);
  g_autofree char *size = g_strdup_printf ("%d", side), *bytes = NULL;
  const char *argv[] = { g_getenv ("VIG_INFER"), "--image", path, "--preprocess-only", "--size", size, "--output", out,
    NULL };
  g_autoptr (VigSafetensors) file = NULL;
  const VigTensor *tensor;
  GError *error = NULL;
  int status;
  gsize length;
  float *values;

  g_assert_nonnull (argv[0]);
  g_spawn_sync (NULL, (char **) argv, NULL, G_SPAWN_DEFAULT, NULL, NULL, NULL, NULL, &status, &error);
  g_assert_no_error (error);
  g_assert_true (g_spawn_check_wait_status (status, NULL));
  g_assert_true (g_file_get_contents (out, &bytes, &length, NULL));
  file = vig_safetensors_parse ((const guint8 *) bytes, length, out, &error);
  g_assert_no_error (error);
  tensor = vig_safetensors_get (file, "input");
  g_assert_nonnull (tensor);
  g_assert_cmpuint (tensor->count, ==, 3 * (gsize) side * side);
  values = g_new (float, tensor->count);
  vig_tensor_to_float (tensor, values);
  g_remove (out);
  g_rmdir (folder);
  return values;
}

static void
test_infer (gconstpointer data)
{
  const Picture *picture = data;
  g_autofree char *file = g_strdup_printf ("preprocess/%s.png", picture->name);
  g_autofree char *path = golden_path (file);
  Pixels want;

  pixels_open (&want, picture->name);
  for (int i = 0; i < 3 && picture->sides[i]; i++) {
    g_autofree float *got = infer (path, picture->sides[i]);
    double off = fmax (steps_off (&want, picture->sides[i], got), normalised_off (&want, picture->sides[i], got));
    g_test_message ("%s at %d: %.4f steps off", picture->name, picture->sides[i], off);
    g_assert_cmpfloat (off, <, 1.001);
  }
  pixels_close (&want);
}

/* Bytes as a file, by vig-infer. */
static float *
infer_bytes (const void *bytes, gsize size, int side)
{
  g_autofree char *path = NULL;
  float *values;
  int fd = g_file_open_tmp (NULL, &path, NULL);

  g_assert_cmpint (fd, >=, 0);
  close (fd);
  g_assert_true (g_file_set_contents (path, bytes, (gssize) size, NULL));
  values = infer (path, side);
  g_remove (path);
  return values;
}

/* A palette is expanded, and its transparency dropped. */
static void
test_palette (void)
{
  static const char png[] =
    "iVBORw0KGgoAAAANSUhEUgAAAAMAAAACCAMAAACqqpYoAAAADFBMVEX/AAAA/wAKFPrIyAf6YKvvAAAAAnRSTlMAgJsrThgAAAAQ"
    "SURBVHjaY2BgZGJgZmIAAAAlAAnzwwsDAAAAAElFTkSuQmCC";
  static const guint8 rgb[] = { 255, 0, 0, 0, 255, 0, 10, 20, 250, 200, 200, 7, 10, 20, 250, 255, 0, 0 };
  VigFrame frame = { .format = VIG_FORMAT_RGB, .width = 3, .height = 2, .data = { rgb }, .stride = { 9 } };
  VigKernels *ref = vig_kernels_ref_open ();
  gsize size;
  g_autofree guchar *bytes = g_base64_decode (png, &size);
  g_autofree float *got = infer_bytes (bytes, size, 32), *want = preprocess (ref, &frame, 32);

  g_assert_cmpmem (got, 3 * 32 * 32 * sizeof (float), want, 3 * 32 * 32 * sizeof (float));
  ref->close (ref);
}

/* The official transform does not look at a JPEG's orientation. */
static void
test_exif (void)
{
  static const guint8 turned[] = { 0xff, 0xe1, 0, 34, 'E', 'x', 'i', 'f', 0, 0, 'M', 'M', 0, 42, 0, 0, 0, 8, 0, 1,
    1, 0x12, 0, 3, 0, 0, 0, 1, 0, 6, 0, 0, 0, 0, 0, 0 };
  g_autofree char *path = golden_path ("preprocess/small_100x80.png"), *jpeg = NULL;
  g_autoptr (GdkPixbuf) pixbuf = gdk_pixbuf_new_from_file (path, NULL);
  g_autoptr (GByteArray) exif = g_byte_array_new ();
  gsize size;

  g_assert_true (gdk_pixbuf_save_to_buffer (pixbuf, &jpeg, &size, "jpeg", NULL, NULL));
  g_byte_array_append (exif, (guint8 *) jpeg, 2);
  g_byte_array_append (exif, turned, sizeof turned);
  g_byte_array_append (exif, (guint8 *) jpeg + 2, (guint) size - 2);
  g_autoptr (GdkPixbufLoader) loader = gdk_pixbuf_loader_new ();
  g_assert_true (gdk_pixbuf_loader_write (loader, exif->data, exif->len, NULL) && gdk_pixbuf_loader_close (loader, NULL));
  g_assert_cmpstr (gdk_pixbuf_get_option (gdk_pixbuf_loader_get_pixbuf (loader), "orientation"), ==, "6"); /* it is there */
  g_autofree float *plain = infer_bytes (jpeg, size, 64), *tagged = infer_bytes (exif->data, exif->len, 64);
  g_assert_cmpmem (plain, 3 * 64 * 64 * sizeof (float), tagged, 3 * 64 * 64 * sizeof (float));
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  for (guint i = 0; i < G_N_ELEMENTS (pictures); i++) {
    g_autofree char *ref = g_strdup_printf ("/golden/preprocess/ref/%s", pictures[i].name);
    g_autofree char *cpu = g_strdup_printf ("/golden/preprocess/cpu/%s", pictures[i].name);
    g_autofree char *by_infer = g_strdup_printf ("/golden/preprocess/vig-infer/%s", pictures[i].name);
    g_test_add_data_func (ref, &pictures[i], test_ref);
    g_test_add_data_func (cpu, &pictures[i], test_cpu);
    g_test_add_data_func (by_infer, &pictures[i], test_infer);
  }
  g_test_add_func ("/golden/preprocess/vig-infer/palette", test_palette);
  g_test_add_func ("/golden/preprocess/vig-infer/exif", test_exif);
  return g_test_run ();
}
