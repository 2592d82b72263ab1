/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Pictures whose patches are made in slices: both convolutions of the stem against their formula. */
#include <math.h>
#include <string.h>

#include <engine-private.h>
#include <plan.h>

/* tiny_h: 3 -> 16 -> 32 channels, steps of 2; both have more than 6 MB of patches in fp32 */
enum { H = 464, W = 448, ITEMS = 2, FIRST = 16, SECOND = 32, GPU = 32 << 20 /* a table of such a chunk */ };

typedef struct {
  float *conv1, *act1, *conv2;
} Seen;

static void
remember (const char *name, const float *data, gsize rows, gsize columns, gpointer user_data)
{
  Seen *seen = user_data;
  float **to = g_str_equal (name, "patch.conv1") ? &seen->conv1 : g_str_equal (name, "patch.act1") ? &seen->act1
      : g_str_equal (name, "patch.conv2") ? &seen->conv2 : NULL;
  g_assert_true (!to || !*to);
  if (to)
    *to = g_memdup2 (data, rows * columns * sizeof *data);
}

/* One number of a 3x3 convolution with steps of 2 and a border of zeros; x [in, h, w] if planar, else [h, w, in]. */
static double
formula (const float *x, gboolean planar, int h, int w, int in, const float *weight, const float *bias, int out, int y, int col)
{
  double sum = bias ? bias[out] : 0;

  for (int c = 0; c < in; c++)
    for (int ky = 0; ky < 3; ky++)
      for (int kx = 0; kx < 3; kx++) {
        int sy = 2 * y + ky - 1, sx = 2 * col + kx - 1;
        if (sy >= 0 && sy < h && sx >= 0 && sx < w)
          sum += (double) x[planar ? (c * h + sy) * w + sx : (sy * w + sx) * in + c] * weight[((out * in + c) * 3 + ky) * 3 + kx];
      }
  return sum;
}

/* Every row of @got [ITEMS, H / 2, W / 2, out] of the next grid, at some columns and channels. */
static void
check (const VigModel *model, int conv, const float *x, gboolean planar, int h, int w, int in, int out, const float *got)
{
  const float *weight = vig_model_get_weight (model, "patch_embed.%d.weight", conv);
  const float *bias = vig_model_get_weight (model, "patch_embed.%d.bias", conv);

  for (int item = 0; item < ITEMS; item++)
    for (int y = 0; y < h / 2; y++)
      for (int i = 0; i < 5; i++) {
        int column = (y * 7 + i * 31) % (w / 2), channel = (y + i) % out;
        double want = formula (x + (gsize) item * h * w * in, planar, h, w, in, weight, bias, channel, y, column);
        double is = got[(((gsize) item * (h / 2) + y) * (w / 2) + column) * out + channel];
        if (!(fabs (is - want) <= 1e-4 * (1 + fabs (want))))
          g_error ("convolution %d, item %d, row %d, column %d, channel %d: expected %g, found %g", conv, item, y, column, channel,
              want, is);
      }
}

static void
test_stem (void)
{
  GError *error = NULL;
  g_autoptr (VigModel) model = vig_model_new_random ("tiny_h", 1, NULL, &error);
  VigKernels *kernels = vig_kernels_cpu_open (1, VIG_CPU_ALL);
  kernels->chunk = GPU; /* both items at once, as on a GPU */
  g_autoptr (VigEngine) engine = vig_engine_new_with_kernels (model, kernels, "cpu", VIG_PRECISION_FP32, &error);
  g_autofree float *x = g_new (float, ITEMS * 3 * H * W);
  float logits[ITEMS * 10];
  Seen seen = { 0 };

  g_assert_no_error (error);
  for (guint i = 0; i < ITEMS * 3 * H * W; i++)
    x[i] = (float) (i * 2654435761u % 1000) / 250 - 2;
  vig_engine_set_tap (engine, remember, &seen);
  vig_engine_classify_tensors (engine, x, ITEMS, H, W, &(VigOutput) { .logits = logits }, &error);
  g_assert_no_error (error);
  check (model, 0, x, TRUE, H, W, 3, FIRST, seen.conv1);
  check (model, 5, seen.act1, FALSE, H / 2, W / 2, FIRST, SECOND, seen.conv2);
  g_free (seen.conv1);
  g_free (seen.act1);
  g_free (seen.conv2);
}

/* Every row is in one slice, however many items there are; and a slice is as large as it says. */
static void
test_cuts (void)
{
  static const struct { VigGrid grid; gsize patch; guint n, items, rows; size_t chunk; } cases[] = {
    { { 28, 28 }, 496, 1, 1, 28, GPU },     /* ViG-T at 224: one slice, and in a large batch 16 items */
    { { 28, 28 }, 496, 256, 16, 28, GPU },
    { { 256, 256 }, 496, 1, 1, 43, GPU },   /* at 2048: six of 43 rows or fewer */
    { { 256, 256 }, 496, 3, 1, 43, GPU },
    { { 1, 1 << 20 }, 64, 2, 1, 1, GPU },   /* a row of the grid is never cut */
    { { 28, 28 }, 496, 1, 1, 28, 0 },  /* on a CPU: fewer items, and the same rows */
    { { 28, 28 }, 496, 256, 2, 28, 0 },
    { { 64, 64 }, 496, 2, 1, 64, 0 },
    { { 256, 256 }, 496, 3, 1, 43, 0 },
  };

  for (guint i = 0; i < G_N_ELEMENTS (cases); i++) {
    VigSlice s = vig_plan_slice (&(VigKernels) { .chunk = cases[i].chunk }, cases[i].grid, cases[i].patch, cases[i].n);
    g_assert_cmpuint (s.items, ==, cases[i].items);
    g_assert_cmpuint (s.rows, ==, cases[i].rows);
    g_assert_cmpuint (s.bytes, ==, (gsize) s.items * s.rows * cases[i].grid.w * cases[i].patch);
  }
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/slices/stem", test_stem);
  g_test_add_func ("/slices/cuts", test_cuts);
  return g_test_run ();
}
