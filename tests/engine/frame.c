/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * VigFrame: formats, geometry, checks, and the way of every format through the reference kernel, held against a
 * conversion of its own: in double, pixel by pixel, clipped and rounded before anything is resized.
 */
#include <frame-private.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

static const VigPreprocessConfig official = {
  .size = 224, .resize_ratio = 256.0 / 224,
  .mean = { 0.485f, 0.456f, 0.406f }, .std = { 0.229f, 0.224f, 0.225f },
};

/* A picture with memory of its own: random low-frequency colour with noise, rows padded, upside down if asked for. */
typedef struct {
  VigFrame frame;
  guint8 *memory[4];
} Picture;

static void
picture_init (Picture *p, VigFormat format, int w, int h, gboolean upside_down)
{
  memset (p, 0, sizeof *p);
  p->frame = (VigFrame) { .format = format, .width = w, .height = h };
  for (guint i = 0; i < vig_format_get_n_planes (format); i++) {
    gsize bytes = vig_format_get_row_bytes (format, i, w), stride = bytes + 5;
    int rows = vig_format_get_rows (format, i, h);
    p->memory[i] = g_malloc (rows * stride - 5);
    for (gsize k = 0; k < rows * stride - 5; k++) {
      double wave = sin ((double) (k % stride) / (7 + 5 * i)) + cos ((double) (k / stride) / (9 + i));
      p->memory[i][k] = (guint8) (128 + 50 * wave + g_test_rand_int_range (-28, 28));
    }
    p->frame.data[i] = p->memory[i] + (upside_down ? (rows - 1) * stride : 0);
    p->frame.stride[i] = upside_down ? -(gssize) stride : (gssize) stride;
  }
}

static void
picture_clear (Picture *p)
{
  for (int i = 0; i < 4; i++)
    g_free (p->memory[i]);
}

static float *
preprocess_with (VigKernels *k, const VigFrame *frame, const VigPreprocessConfig *config, int size)
{
  VigPreprocessDesc desc;
  VigPlanes planes;
  GError *error = NULL;
  float *out = g_new (float, 3 * size * size);
  VigPreprocess *p;

  vig_frame_describe (frame, config, size, &desc, &planes, &error);
  g_assert_no_error (error);
  p = k->preprocess_create (k->ctx, &desc);
  g_assert_nonnull (p);
  k->preprocess_run (k->ctx, p, &planes, 1, out);
  g_assert_null (k->finish (k->ctx));
  k->preprocess_destroy (k->ctx, p);
  return out;
}

/* By the reference; the CPU backend must have the same bits. */
static float *
preprocess (const VigFrame *frame, const VigPreprocessConfig *config, int size)
{
  VigKernels *ref = vig_kernels_ref_open (), *cpu = vig_kernels_cpu_open (2, ~0u);
  float *out = preprocess_with (ref, frame, config, size), *again = preprocess_with (cpu, frame, config, size);

  g_assert_cmpmem (out, 3 * sizeof *out * size * size, again, 3 * sizeof *out * size * size);
  g_free (again);
  ref->close (ref);
  cpu->close (cpu);
  return out;
}

/* ---- formats -------------------------------------------------------------------------------------------------- */

/* Of a picture of 5x3. */
static const struct {
  const char *name;
  guint n_planes;
  gsize row_bytes[3];
  int rows[3];
} layouts[VIG_FORMAT_COUNT] = {
  [VIG_FORMAT_NV12] = { "NV12", 2, { 5, 6 }, { 3, 2 } },
  [VIG_FORMAT_NV21] = { "NV21", 2, { 5, 6 }, { 3, 2 } },
  [VIG_FORMAT_I420] = { "I420", 3, { 5, 3, 3 }, { 3, 2, 2 } },
  [VIG_FORMAT_YV12] = { "YV12", 3, { 5, 3, 3 }, { 3, 2, 2 } },
  [VIG_FORMAT_Y42B] = { "Y42B", 3, { 5, 3, 3 }, { 3, 3, 3 } },
  [VIG_FORMAT_Y444] = { "Y444", 3, { 5, 5, 5 }, { 3, 3, 3 } },
  [VIG_FORMAT_YUY2] = { "YUY2", 1, { 12 }, { 3 } },
  [VIG_FORMAT_UYVY] = { "UYVY", 1, { 12 }, { 3 } },
  [VIG_FORMAT_P010_10LE] = { "P010_10LE", 2, { 10, 12 }, { 3, 2 } },
  [VIG_FORMAT_I420_10LE] = { "I420_10LE", 3, { 10, 6, 6 }, { 3, 2, 2 } },
  [VIG_FORMAT_RGB] = { "RGB", 1, { 15 }, { 3 } },
  [VIG_FORMAT_BGR] = { "BGR", 1, { 15 }, { 3 } },
  [VIG_FORMAT_RGBA] = { "RGBA", 1, { 20 }, { 3 } },
  [VIG_FORMAT_BGRA] = { "BGRA", 1, { 20 }, { 3 } },
  [VIG_FORMAT_ARGB] = { "ARGB", 1, { 20 }, { 3 } },
  [VIG_FORMAT_ABGR] = { "ABGR", 1, { 20 }, { 3 } },
  [VIG_FORMAT_RGBx] = { "RGBx", 1, { 20 }, { 3 } },
  [VIG_FORMAT_BGRx] = { "BGRx", 1, { 20 }, { 3 } },
  [VIG_FORMAT_xRGB] = { "xRGB", 1, { 20 }, { 3 } },
  [VIG_FORMAT_xBGR] = { "xBGR", 1, { 20 }, { 3 } },
  [VIG_FORMAT_GRAY8] = { "GRAY8", 1, { 5 }, { 3 } },
};

static void
test_formats (void)
{
  for (guint f = 0; f < VIG_FORMAT_COUNT; f++) {
    g_assert_cmpstr (vig_format_to_string (f), ==, layouts[f].name);
    g_assert_cmpuint (vig_format_get_n_planes (f), ==, layouts[f].n_planes);
    for (guint i = 0; i < layouts[f].n_planes; i++) {
      g_assert_cmpuint (vig_format_get_row_bytes (f, i, 5), ==, layouts[f].row_bytes[i]);
      g_assert_cmpint (vig_format_get_rows (f, i, 3), ==, layouts[f].rows[i]);
    }
    g_assert_cmpint (vig_format_get_rows (f, layouts[f].n_planes, 3), ==, 0);
  }
  g_assert_cmpuint (vig_format_get_n_planes (VIG_FORMAT_COUNT), ==, 0);
}

/* ---- colour: a conversion of the test's own --------------------------------------------------------------------- */

static double
byte_at (const VigFrame *f, int plane, int y, gssize at)
{
  return f->data[plane][y * f->stride[plane] + at];
}

static double
ten_bits_at (const VigFrame *f, int plane, int y, gssize at, double unit)
{
  return (byte_at (f, plane, y, at) + 256 * byte_at (f, plane, y, at + 1)) / unit;
}

/* Sample (x, y) of component c as it lies in memory, P010 with its six low bits as a fraction cut off. */
static double
yuv_sample (const VigFrame *f, int c, int x, int y)
{
  switch (f->format) {
    case VIG_FORMAT_NV12: return c ? byte_at (f, 1, y, 2 * x + c - 1) : byte_at (f, 0, y, x);
    case VIG_FORMAT_NV21: return c ? byte_at (f, 1, y, 2 * x + 2 - c) : byte_at (f, 0, y, x);
    case VIG_FORMAT_YV12: return byte_at (f, c ? 3 - c : 0, y, x);
    case VIG_FORMAT_YUY2: return byte_at (f, 0, y, c ? 4 * x + 2 * c - 1 : 2 * x);
    case VIG_FORMAT_UYVY: return byte_at (f, 0, y, c ? 4 * x + 2 * c - 2 : 2 * x + 1);
    case VIG_FORMAT_P010_10LE: return floor (ten_bits_at (f, c > 0, y, c ? 4 * x + 2 * c - 2 : 2 * x, 64));
    case VIG_FORMAT_I420_10LE: return fmod (ten_bits_at (f, c, y, 2 * x, 1), 1024);
    default: return byte_at (f, c, y, x);
  }
}

/* Chroma at a place given in chroma samples, bilinear, clamped to the plane of w x h samples. */
static double
chroma_at (const VigFrame *f, int c, double x, double y, int w, int h)
{
  int x0 = (int) floor (x), y0 = (int) floor (y);
  double fx = x - x0, fy = y - y0;
#define AT(i, j) yuv_sample (f, c, CLAMP (i, 0, w - 1), CLAMP (j, 0, h - 1))
  return (1 - fy) * ((1 - fx) * AT (x0, y0) + fx * AT (x0 + 1, y0))
      + fy * ((1 - fx) * AT (x0, y0 + 1) + fx * AT (x0 + 1, y0 + 1));
#undef AT
}

static void
yuv_pixel (const VigFrame *f, int x, int y, double rgb[3])
{
  static const double kr[] = { 0.299, 0.2126, 0.2627 }, kb[] = { 0.114, 0.0722, 0.0593 };
  gboolean half_x = f->format != VIG_FORMAT_Y444;
  gboolean half_y = half_x && f->format != VIG_FORMAT_Y42B && f->format != VIG_FORMAT_YUY2 && f->format != VIG_FORMAT_UYVY;
  gboolean ten = f->format == VIG_FORMAT_P010_10LE || f->format == VIG_FORMAT_I420_10LE;
  double one = ten ? 4 : 1, max = ten ? 1023 : 255, r = kr[f->matrix], b = kb[f->matrix];
  double cx = half_x ? (x - (f->chroma == VIG_CHROMA_CENTRE ? 0.5 : 0)) / 2 : x;
  double cy = half_y ? (y - (f->chroma == VIG_CHROMA_COSITED ? 0 : 0.5)) / 2 : y;
  int w = half_x ? (f->width + 1) / 2 : f->width, h = half_y ? (f->height + 1) / 2 : f->height;
  double luma = yuv_sample (f, 0, x, y);
  double u = chroma_at (f, 1, cx, cy, w, h) - 128 * one, v = chroma_at (f, 2, cx, cy, w, h) - 128 * one;

  luma = f->full_range ? luma * 255 / max : (luma - 16 * one) * 255 / (219 * one);
  u *= 255 / (f->full_range ? max : 224 * one);
  v *= 255 / (f->full_range ? max : 224 * one);
  rgb[0] = luma + 2 * (1 - r) * v;
  rgb[2] = luma + 2 * (1 - b) * u;
  rgb[1] = (luma - r * rgb[0] - b * rgb[2]) / (1 - r - b);
}

static void
pixel (const VigFrame *f, int x, int y, double rgb[3])
{
  const char *name = vig_format_to_string (f->format);
  const char *const order[] = { "R", "G", "B" };

  if (f->format == VIG_FORMAT_GRAY8) {
    double g = byte_at (f, 0, y, x);
    rgb[0] = rgb[1] = rgb[2] = f->full_range ? g : (g - 16) * 255 / 219;
  } else if (f->format >= VIG_FORMAT_RGB) { /* the name says where each byte is */
    for (int c = 0; c < 3; c++)
      rgb[c] = byte_at (f, 0, y, (gssize) (x * strlen (name) + strcspn (name, order[c])));
  } else
    yuv_pixel (f, x, y, rgb);
}

/* The crop of the frame, turned upright, as RGB; pixels[height][width][3], to be freed. */
static guint8 *
convert (const VigFrame *f, int *width, int *height)
{
  int cw = f->crop_width ? f->crop_width : f->width, ch = f->crop_width ? f->crop_height : f->height;
  int cx = f->crop_width ? f->crop_x : 0, cy = f->crop_width ? f->crop_y : 0;
  int w = *width = f->orientation >= 5 ? ch : cw, h = *height = f->orientation >= 5 ? cw : ch;
  guint8 *out = g_malloc ((gsize) 3 * w * h);

  for (int y = 0; y < ch; y++)
    for (int x = 0; x < cw; x++) {
      int to[9][2] = { /* where stored pixel (x, y) goes */
        { x, y }, { x, y }, { cw - 1 - x, y }, { cw - 1 - x, ch - 1 - y }, { x, ch - 1 - y },
        { y, x }, { ch - 1 - y, x }, { ch - 1 - y, cw - 1 - x }, { y, cw - 1 - x },
      };
      double rgb[3];
      pixel (f, cx + x, cy + y, rgb);
      for (int c = 0; c < 3; c++)
        out[((gsize) to[f->orientation][1] * w + to[f->orientation][0]) * 3 + c] =
            (guint8) floor (CLAMP (rgb[c], 0, 255) + 0.5);
    }
  return out;
}

/* The frame directly, and converted by the test first: how many 8-bit steps they are apart at most. */
static double
steps_apart (const VigFrame *frame, const VigPreprocessConfig *config, int size)
{
  int w, h;
  g_autofree guint8 *rgb = convert (frame, &w, &h);
  VigFrame upright = { .format = VIG_FORMAT_RGB, .width = w, .height = h, .data = { rgb }, .stride = { 3 * w },
    .par_n = frame->orientation >= 5 ? frame->par_d : frame->par_n,
    .par_d = frame->orientation >= 5 ? frame->par_n : frame->par_d };
  g_autofree float *got = preprocess (frame, config, size), *want = preprocess (&upright, config, size);
  double worst = 0;

  for (int i = 0; i < 3 * size * size; i++)
    worst = fmax (worst, fabs (got[i] - want[i]) * config->std[i / (size * size)] * 255);
  return worst;
}

static void
test_colour (gconstpointer data)
{
  VigFormat format = GPOINTER_TO_UINT (data);
  double limit = format < VIG_FORMAT_RGB ? 2 : format == VIG_FORMAT_GRAY8 ? 1 : 0, worst = 0;

  for (int i = 0; i < 18; i++) {
    Picture p;
    picture_init (&p, format, 40 + i, 31 + i / 2, i % 4 == 3);
    p.frame.matrix = i % 3;
    p.frame.full_range = i / 9;
    p.frame.chroma = i / 3 % 3;
    worst = fmax (worst, steps_apart (&p.frame, &official, 32));
    picture_clear (&p);
  }
  g_test_message ("%s: at most %.2f steps from converting first", vig_format_to_string (format), worst);
  g_assert_cmpfloat (worst, <, limit + 0.01);
}

/* Every orientation, with crops that begin and end anywhere, other pixel aspect ratios, both ways of resizing. */
static void
test_turned (gconstpointer data)
{
  static const int par[][2] = { { 0, 0 }, { 4, 3 }, { 10, 11 }, { 1, 2 } };
  VigFormat formats[] = { VIG_FORMAT_NV12, VIG_FORMAT_UYVY, VIG_FORMAT_I420_10LE, VIG_FORMAT_BGRx, VIG_FORMAT_GRAY8 };
  VigOrientation orientation = GPOINTER_TO_UINT (data);

  for (guint i = 0; i < 40; i++) {
    VigPreprocessConfig config = official;
    Picture p;
    picture_init (&p, formats[i % G_N_ELEMENTS (formats)], 67, 45, i % 7 == 3);
    config.stretch = i % 2;
    p.frame.orientation = orientation;
    p.frame.par_n = par[i % 4][0];
    p.frame.par_d = par[i % 4][1];
    p.frame.chroma = i % 3;
    if (i % 5) {
      p.frame.crop_x = i;
      p.frame.crop_y = i / 2;
      p.frame.crop_width = 67 - i - i % 3;
      p.frame.crop_height = 45 - i / 2 - i % 4;
    }
    g_assert_cmpfloat (steps_apart (&p.frame, &config, 24), <, 2.01);
    picture_clear (&p);
  }
}

/* ---- geometry --------------------------------------------------------------------------------------------------- */

static const struct {
  int w, h, par_n, par_d;
  guint orientation, size;
  gboolean stretch;
  int resize_w, resize_h, out_x, out_y;
} shapes[] = {
  { 641, 359, 0, 0, 0, 224, FALSE, 457, 256, 116, 16 },
  { 644, 359, 0, 0, 0, 224, FALSE, 459, 256, 118, 16 },
  { 359, 641, 0, 0, 1, 224, FALSE, 256, 457, 16, 116 },
  { 641, 359, 0, 0, 6, 224, FALSE, 256, 457, 16, 116 },
  { 500, 500, 0, 0, 3, 224, FALSE, 256, 256, 16, 16 },
  { 500, 375, 0, 0, 0, 256, FALSE, 389, 292, 66, 18 },
  { 500, 375, 0, 0, 0, 288, FALSE, 438, 329, 75, 20 },
  { 500, 375, 0, 0, 0, 448, FALSE, 682, 512, 117, 32 },
  { 1920, 1080, 0, 0, 0, 384, FALSE, 778, 438, 197, 27 },
  { 720, 576, 16, 15, 0, 224, FALSE, 341, 256, 58, 16 },
  { 720, 576, 64, 45, 0, 224, FALSE, 455, 256, 116, 16 },
  { 720, 576, 16, 15, 8, 224, FALSE, 256, 341, 16, 58 },
  { 100, 100, 1, 2, 0, 224, FALSE, 256, 512, 16, 144 },
  { 100, 100, 1, 2, 5, 224, FALSE, 512, 256, 144, 16 },
  { 641, 359, 4, 3, 6, 160, TRUE, 160, 160, 0, 0 },
  { 1, 1, 0, 0, 0, 224, FALSE, 256, 256, 16, 16 },
  { 8192, 64, 0, 0, 0, 224, FALSE, 32768, 256, 16272, 16 },
  { 65535, 1, 0, 0, 0, 224, FALSE, 16776960, 256, 8388368, 16 },
};

static void
test_geometry (void)
{
  for (guint i = 0; i < G_N_ELEMENTS (shapes); i++) {
    Picture p;
    VigPreprocessConfig config = official;
    VigPreprocessDesc desc;
    VigPlanes planes;
    GError *error = NULL;

    picture_init (&p, VIG_FORMAT_GRAY8, shapes[i].w, shapes[i].h, FALSE);
    p.frame.par_n = shapes[i].par_n;
    p.frame.par_d = shapes[i].par_d;
    p.frame.orientation = shapes[i].orientation;
    config.stretch = shapes[i].stretch;
    vig_frame_describe (&p.frame, &config, shapes[i].size, &desc, &planes, &error);
    g_assert_no_error (error);
    g_assert_cmpint (desc.resize_width, ==, shapes[i].resize_w);
    g_assert_cmpint (desc.resize_height, ==, shapes[i].resize_h);
    g_assert_cmpint (desc.out_x, ==, shapes[i].out_x);
    g_assert_cmpint (desc.out_y, ==, shapes[i].out_y);
    g_assert_cmpint (desc.out_width, ==, shapes[i].size);
    g_assert_cmpint (desc.out_height, ==, shapes[i].size);
    picture_clear (&p);
  }
}

/* A long picture is the same as the piece of it that the window shows. */
static void
test_extreme (void)
{
  static const int sizes[][2] = { { 1, 1 }, { 1, 2 }, { 3, 1 }, { 65535, 1 }, { 1, 65535 } };
  VigFormat formats[] = { VIG_FORMAT_NV12, VIG_FORMAT_YUY2, VIG_FORMAT_I420_10LE, VIG_FORMAT_RGB };

  for (guint f = 0; f < G_N_ELEMENTS (formats); f++) {
    for (guint i = 0; i < G_N_ELEMENTS (sizes); i++) {
      Picture p;
      picture_init (&p, formats[f], sizes[i][0], sizes[i][1], FALSE);
      g_free (preprocess (&p.frame, &official, 224));
      picture_clear (&p);
    }
    for (int tall = 0; tall < 2; tall++) {
      Picture p;
      picture_init (&p, formats[f], tall ? 64 : 8192, tall ? 8192 : 64, FALSE);
      g_autofree float *whole = preprocess (&p.frame, &official, 224);
      p.frame.crop_x = tall ? 0 : (8192 - 1024) / 2;
      p.frame.crop_y = tall ? (8192 - 1024) / 2 : 0;
      p.frame.crop_width = tall ? 64 : 1024;
      p.frame.crop_height = tall ? 1024 : 64;
      g_autofree float *piece = preprocess (&p.frame, &official, 224);
      g_assert_cmpmem (whole, sizeof (float) * 3 * 224 * 224, piece, sizeof (float) * 3 * 224 * 224);
      picture_clear (&p);
    }
  }
}

/* ---- what is refused -------------------------------------------------------------------------------------------- */

static void
expect_error (const VigFrame *frame, const VigPreprocessConfig *config, guint size, const char *part)
{
  VigPreprocessDesc desc;
  VigPlanes planes;
  g_autoptr (GError) error = NULL;

  g_assert_false (vig_frame_describe (frame, config, size, &desc, &planes, &error));
  g_assert_error (error, VIG_ERROR, VIG_ERROR_ARGUMENT);
  g_test_message ("%s", error->message);
  if (strstr (error->message, part) == NULL)
    g_error ("\"%s\" does not name \"%s\"", error->message, part);
}

#define BAD_FRAME(part, change) do { VigFrame f = p.frame; f.change; expect_error (&f, &official, 224, part); } while (0)
#define BAD_CONFIG(part, change) \
  do { VigPreprocessConfig c = official; c.change; expect_error (&p.frame, &c, 0, part); } while (0)

static void
test_refused (void)
{
  Picture p;

  picture_init (&p, VIG_FORMAT_NV12, 40, 30, FALSE);
  BAD_FRAME ("format", format = VIG_FORMAT_COUNT);
  BAD_FRAME ("format", format = -1);
  BAD_FRAME ("size", width = 0);
  BAD_FRAME ("size", height = -3);
  BAD_FRAME ("size", width = VIG_FRAME_MAX_SIDE + 1);
  BAD_FRAME ("data[1]", data[1] = NULL);
  BAD_FRAME ("stride[0]", stride[0] = 39);
  BAD_FRAME ("stride[1]", stride[1] = -39);
  BAD_FRAME ("matrix", matrix = 3);
  BAD_FRAME ("chroma", chroma = 3);
  BAD_FRAME ("crop", crop_width = 41);
  BAD_FRAME ("crop", crop_width = -1);
  BAD_FRAME ("orientation", orientation = 9);
  BAD_FRAME ("pixel aspect ratio", par_n = 1);
  BAD_FRAME ("pixel aspect ratio", par_n = -1; f.par_d = -1);
  BAD_FRAME ("pixel aspect ratio", par_n = 1; f.par_d = 101);
  BAD_FRAME ("pixel aspect ratio", par_n = G_MAXINT; f.par_d = 1);
  BAD_FRAME ("crop", crop_width = 10; f.crop_height = 0);
  BAD_FRAME ("crop", crop_width = 10; f.crop_height = 10; f.crop_x = 31);
  BAD_FRAME ("crop", crop_width = 10; f.crop_height = 10; f.crop_x = G_MAXINT);
  BAD_FRAME ("crop", crop_width = 10; f.crop_height = 10; f.crop_y = -1);
  BAD_FRAME ("long and thin", crop_width = 40; f.width = 65535; f.crop_width = 65535; f.crop_height = 1;
      f.stride[0] = f.stride[1] = 70000; f.par_n = 2; f.par_d = 1);
  BAD_CONFIG ("input size", size = 0);
  BAD_CONFIG ("input size", size = VIG_FRAME_MAX_INPUT + 1);
  BAD_CONFIG ("resize_ratio", resize_ratio = 0.99);
  BAD_CONFIG ("resize_ratio", resize_ratio = NAN);
  BAD_CONFIG ("std of channel 2", std[2] = 0);
  BAD_CONFIG ("mean and std of channel 0", mean[0] = INFINITY);
  picture_clear (&p);
}

/* One row needs no stride. */
static void
test_one_row (void)
{
  Picture p;

  picture_init (&p, VIG_FORMAT_RGB, 40, 1, FALSE);
  p.frame.stride[0] = 0;
  g_free (preprocess (&p.frame, &official, 32));
  picture_clear (&p);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/engine/frame/formats", test_formats);
  for (guint f = 0; f < VIG_FORMAT_COUNT; f++) {
    g_autofree char *path = g_strdup_printf ("/engine/frame/colour/%s", vig_format_to_string (f));
    g_test_add_data_func (path, GUINT_TO_POINTER (f), test_colour);
  }
  for (guint o = 1; o <= 8; o++) {
    g_autofree char *path = g_strdup_printf ("/engine/frame/orientation/%u", o);
    g_test_add_data_func (path, GUINT_TO_POINTER (o), test_turned);
  }
  g_test_add_func ("/engine/frame/geometry", test_geometry);
  g_test_add_func ("/engine/frame/extreme", test_extreme);
  g_test_add_func ("/engine/frame/refused", test_refused);
  g_test_add_func ("/engine/frame/one-row", test_one_row);
  return g_test_run ();
}
