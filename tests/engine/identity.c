/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The same input gives the same bits: alone and at any place in any batch, with one thread and with two, on every run,
 * in every engine; as a tensor and as a frame. "identity DEVICE" tests that device. */
#include <string.h>

#include <random.h>
#include <vig/vig.h>

typedef struct {
  const char *variant;
  VigPrecision precision;
  guint h, w, items;
} Test;

enum { MAX_NEW_ENGINES = 5 };

static const char *device = "cpu";
static guint max_threads = 3;

static VigEngine *
engine_new (VigModel *model, VigPrecision precision, guint threads)
{
  GError *error = NULL;
  VigEngine *engine = vig_engine_new (model, &(VigEngineOptions) { device, precision, threads }, &error);
  g_assert_no_error (error);
  return engine;
}

static void
classify (VigEngine *engine, const float *input, guint n, const Test *t, float *logits)
{
  GError *error = NULL;
  vig_engine_classify_tensors (engine, input, n, t->h, t->w, &(VigOutput) { .logits = logits }, &error);
  g_assert_no_error (error);
}

static void
test_tensors (gconstpointer data)
{
  static const guint batches[] = { 1, 2, 3, 5, 8, 19, 64, 130 };
  const Test *t = data;
  GError *error = NULL;
  g_autoptr (VigModel) model = vig_model_new_random (t->variant, 1, NULL, &error);
  guint classes = vig_model_get_n_classes (model);
  gsize item = (gsize) 3 * t->h * t->w;
  g_autofree float *input = g_new (float, t->items * item), *want = g_new (float, t->items * classes);
  g_autofree float *got = g_new (float, t->items * classes);

  for (gsize i = 0; i < t->items * item; i++)
    input[i] = (float) (2 * vig_random_uniform ("identity", 0, i));
  VigEngine *alone = NULL;
  for (guint i = 0; i < t->items; i++) { /* each alone; the first in engines that have seen nothing else */
    if (i < MAX_NEW_ENGINES) {
      vig_engine_free (alone);
      alone = engine_new (model, t->precision, 1);
    }
    classify (alone, input + i * item, 1, t, want + i * classes);
  }
  vig_engine_free (alone);
  g_assert_true (memcmp (want, want + classes, classes * sizeof *want) != 0);
  for (guint threads = 1; threads <= max_threads; threads++) {
    g_autoptr (VigEngine) engine = engine_new (model, t->precision, threads);
    for (guint run = 0; run < 2; run++)
      for (guint b = 0; b < G_N_ELEMENTS (batches) && batches[b] <= t->items; b++)
        for (guint first = 0; first < t->items; first += batches[b]) {
          guint n = MIN (batches[b], t->items - first);
          memset (got, 0xff, t->items * classes * sizeof *got);
          classify (engine, input + first * item, n, t, got);
          if (memcmp (got, want + first * classes, n * classes * sizeof *got) != 0)
            g_error ("batches of %u, items from %u, %u threads: other bits than alone", batches[b], first, threads);
        }
  }
}

/* Frames of three kinds, mixed in one batch, against each alone, and against preprocess and tensors. */
static void
test_frames (void)
{
  GError *error = NULL;
  g_autoptr (VigModel) model = vig_model_new_random ("tiny_h", 1, NULL, &error);
  g_autofree guint8 *pixels = g_malloc (640 * 480 * 4);
  VigFrame kinds[] = {
    { .format = VIG_FORMAT_RGB, .width = 200, .height = 120, .data = { pixels }, .stride = { 600 } },
    { .format = VIG_FORMAT_NV12, .width = 320, .height = 240, .data = { pixels, pixels + 320 * 240 },
      .stride = { 320, 320 } },
    { .format = VIG_FORMAT_GRAY8, .width = 37, .height = 41, .data = { pixels + 100 }, .stride = { 40 } },
  };
  VigFrame frames[20];
  float want[20 * 10], got[20 * 10];
  g_autofree float *tensor = g_new (float, 3 * 64 * 64);

  for (guint i = 0; i < 640 * 480 * 4; i++)
    pixels[i] = (guint8) (vig_random_uniform ("pixels", 0, i / 7) * 128 + 128);
  for (guint i = 0; i < G_N_ELEMENTS (frames); i++) {
    g_autoptr (VigEngine) engine = engine_new (model, VIG_PRECISION_FP32, 1);
    frames[i] = kinds[i / 2 % 3];
    vig_engine_classify_frames (engine, &frames[i], 1, 64, &(VigOutput) { .logits = want + 10 * i }, &error);
    g_assert_no_error (error);
    vig_engine_preprocess (engine, &frames[i], 64, tensor, &error);
    g_assert_no_error (error);
    vig_engine_classify_tensors (engine, tensor, 1, 64, 64, &(VigOutput) { .logits = got }, &error);
    g_assert_no_error (error);
    g_assert_cmpmem (got, 40, want + 10 * i, 40);
  }
  for (guint threads = 1; threads <= MIN (max_threads, 2); threads++) {
    g_autoptr (VigEngine) engine = engine_new (model, VIG_PRECISION_FP32, threads);
    vig_engine_classify_frames (engine, frames, G_N_ELEMENTS (frames), 64, &(VigOutput) { .logits = got }, &error);
    g_assert_no_error (error);
    g_assert_cmpmem (got, sizeof got, want, sizeof want);
  }
}

int
main (int argc, char **argv)
{
  static const Test tests[] = {
    { "tiny_t", VIG_PRECISION_FP32, 64, 64, 19 }, { "tiny_t", VIG_PRECISION_BF16, 64, 64, 19 },
    { "tiny_s", VIG_PRECISION_FP32, 40, 136, 19 }, { "tiny_s", VIG_PRECISION_BF16, 72, 56, 19 },
    { "tiny_h", VIG_PRECISION_FP32, 64, 64, 19 }, { "tiny_h", VIG_PRECISION_BF16, 100, 75, 19 },
    { "tiny_t", VIG_PRECISION_FP16, 64, 64, 19 }, { "tiny_h", VIG_PRECISION_FP16, 100, 75, 19 },
    { "vig_t", VIG_PRECISION_FP32, 224, 224, 3 }, { "vig_t", VIG_PRECISION_BF16, 224, 224, 3 },
  };
  static const Test large[] = { /* for a GPU */
    { "vig_t", VIG_PRECISION_FP32, 224, 224, 130 }, { "vig_t", VIG_PRECISION_BF16, 224, 224, 130 },
    { "vig_t", VIG_PRECISION_FP16, 224, 224, 130 }, { "vig_h_t", VIG_PRECISION_BF16, 224, 224, 64 },
    { "vig_h_t", VIG_PRECISION_FP16, 160, 288, 19 }, { "vig_s", VIG_PRECISION_BF16, 256, 192, 64 },
    { "vig_b", VIG_PRECISION_BF16, 224, 224, 19 },
  };
  g_test_init (&argc, &argv, NULL);
  if (argc > 1) {
    device = argv[1];
    max_threads = 1;
  }
  for (guint i = 0; i < G_N_ELEMENTS (tests) + (argc > 1 ? G_N_ELEMENTS (large) : 0); i++) {
    const Test *t = i < G_N_ELEMENTS (tests) ? &tests[i] : &large[i - G_N_ELEMENTS (tests)];
    g_autofree char *path = g_strdup_printf ("/identity/%s/%s/%ux%u/%u", t->variant, vig_precision_to_string (t->precision),
        t->w, t->h, t->items);
    g_test_add_data_func (path, t, test_tensors);
  }
  g_test_add_func ("/identity/frames", test_frames);
  return g_test_run ();
}
