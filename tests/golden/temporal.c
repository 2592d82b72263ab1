/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Models over time against tools/vig_reference.py (docs/temporal.md). With a memory: a clip frame by frame, in batches, with
 * another stream beside it, and cut in two by saving and restoring; and windows of frames. "temporal DEVICE" tests that
 * device. */
#include <math.h>
#include <string.h>

#include <engine-private.h>
#include <model-private.h>

#include "golden.h"

enum { SIDE = 64, PIXELS = 3 * SIDE * SIDE, FRAMES = 8, CLASSES = 10 };

typedef struct {
  const char *variant, *device;
  VigPrecision precision;
} Test;

typedef struct {
  VigEngine *engine;
  float *pictures;        /* [FRAMES, 3, SIDE, SIDE] */
  gint64 times[FRAMES];
  float want[FRAMES * CLASSES];
} Clip;

static void
clip_open_engine (Clip *clip, const Test *test)
{
  GError *error = NULL;
  g_autoptr (VigModel) model = vig_model_new_random (test->variant, 1, NULL, &error);

  g_assert_no_error (error);
  clip->engine = vig_engine_new (model, &(VigEngineOptions) { .device = test->device, .precision = test->precision }, &error);
  g_assert_no_error (error);
  clip->pictures = g_new (float, FRAMES * PIXELS);
  for (guint i = 0; i < FRAMES; i++) {
    guint h, w;
    g_autofree char *name = g_strdup_printf ("%c_%dx%d", (char) ('a' + i), SIDE, SIDE);
    g_autofree float *picture = golden_input (name, &h, &w);
    memcpy (clip->pictures + i * PIXELS, picture, sizeof (float) * PIXELS);
  }
}

static void
clip_open (Clip *clip, const Test *test, const GoldenFile *file)
{
  g_autofree float *times = golden_get (file, "times", NULL), *want = golden_get (file, "logits", NULL);

  clip_open_engine (clip, test);
  memcpy (clip->want, want, sizeof clip->want);
  for (guint i = 0; i < FRAMES; i++)
    clip->times[i] = llround (times[i] * 1e9);
}

static void
clip_close (Clip *clip)
{
  vig_engine_free (clip->engine);
  g_free (clip->pictures);
}

static VigState *
new_state (const Clip *clip)
{
  GError *error = NULL;
  VigState *state = vig_state_new (clip->engine, &error);
  g_assert_no_error (error);
  return state;
}

/* @n frames from @first on, in one batch. */
static void
run (const Clip *clip, VigState *state, guint first, guint n, float *logits)
{
  VigMoment moments[FRAMES];
  GError *error = NULL;

  for (guint i = 0; i < n; i++)
    moments[i] = (VigMoment) { state, clip->times[first + i] };
  vig_engine_classify_stream_tensors (clip->engine, clip->pictures + first * PIXELS, moments, n, SIDE, SIDE,
      &(VigOutput) { .logits = logits + first * CLASSES }, &error);
  g_assert_no_error (error);
}

static void
check_state (const Clip *clip, const Test *test, VigState *state, const GoldenFile *file, double bound)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (GBytes) bytes = vig_state_save (state, &error);
  g_autoptr (VigSafetensors) saved = vig_safetensors_parse (g_bytes_get_data (bytes, NULL), g_bytes_get_size (bytes), "saved",
      &error);
  const VigTensor *shape, *t = vig_safetensors_get (saved, "state");
  g_autofree float *numbers = g_new (float, t->count);
  gsize at = 0;

  vig_tensor_to_float (t, numbers);
  for (guint block = 0; block < 2; block++) {
    g_autofree char *name = g_strdup_printf ("blocks.%u.state", block);
    if (!vig_safetensors_get (file->tensors, name))
      continue;
    g_autofree float *want = golden_get (file, name, &shape);
    double e = golden_error (numbers + at, want, shape->count);
    g_test_message ("%s: %.2g", name, e);
    g_assert_cmpfloat (e, <=, bound);
    at += shape->count;
  }
  g_assert_cmpuint (vig_state_get_bytes (vig_engine_get_model (clip->engine), 0), ==, t->count * sizeof (float));
}

/* Two streams, the second one frame behind, side by side in every batch. */
static void
run_beside_another (const Clip *clip, float *logits)
{
  g_autoptr (VigState) state = new_state (clip), other = new_state (clip);
  g_autofree float *pair = g_new (float, 2 * PIXELS);
  GError *error = NULL;

  for (guint i = 0; i < FRAMES; i++) {
    guint before = i > 0 ? i - 1 : 0;
    float out[2 * CLASSES];
    memcpy (pair, clip->pictures + before * PIXELS, sizeof (float) * PIXELS);
    memcpy (pair + PIXELS, clip->pictures + i * PIXELS, sizeof (float) * PIXELS);
    vig_engine_classify_stream_tensors (clip->engine, pair, (VigMoment[]) { { other, clip->times[before] },
        { state, clip->times[i] } }, 2, SIDE, SIDE, &(VigOutput) { .logits = out }, &error);
    g_assert_no_error (error);
    memcpy (logits + i * CLASSES, out + CLASSES, sizeof (float) * CLASSES);
  }
}

/* Five frames, saved; three more with another state that was restored. */
static void
run_in_two (const Clip *clip, float *logits)
{
  g_autoptr (VigState) first = new_state (clip), second = new_state (clip);
  GError *error = NULL;
  gsize size;

  run (clip, first, 0, 5, logits);
  g_autoptr (GBytes) saved = vig_state_save (first, &error);
  g_assert_no_error (error);
  const guint8 *data = g_bytes_get_data (saved, &size);
  run (clip, second, 6, 2, logits); /* something else, to be forgotten */
  vig_state_restore (second, data, size, &error);
  g_assert_no_error (error);
  run (clip, second, 5, 3, logits);
}

static void
test_clip (gconstpointer data)
{
  const Test *test = data;
  g_autofree char *name = g_strdup_printf ("temporal/%s.safetensors", test->variant);
  g_autoptr (GoldenFile) file = golden_open (name);
  double bound = test->precision == VIG_PRECISION_FP32 ? 1e-4 : test->precision == VIG_PRECISION_FP16 ? 1e-2 : 3e-2;
  float one_by_one[FRAMES * CLASSES], others[FRAMES * CLASSES];
  Clip clip;

  clip_open (&clip, test, file);
  VigState *state = new_state (&clip);
  for (guint i = 0; i < FRAMES; i++)
    run (&clip, state, i, 1, one_by_one);
  double e = golden_error (one_by_one, clip.want, FRAMES * CLASSES);
  g_test_message ("logits %.2g", e);
  g_assert_cmpfloat (e, <=, bound);
  check_state (&clip, test, state, file, bound);

  vig_state_reset (state);
  run (&clip, state, 0, FRAMES, others);
  g_assert_cmpmem (others, sizeof others, one_by_one, sizeof one_by_one);
  run_beside_another (&clip, others);
  g_assert_cmpmem (others, sizeof others, one_by_one, sizeof one_by_one);
  run_in_two (&clip, others);
  g_assert_cmpmem (others, sizeof others, one_by_one, sizeof one_by_one);
  vig_state_free (state);
  clip_close (&clip);
}

/* Windows of 1, 4 and 7 frames (the model was made for 4): every frame's logits, and that windows of a batch are alone. */
static void
test_windows (gconstpointer data)
{
  const Test *test = data;
  g_autofree char *name = g_strdup_printf ("temporal/%s.safetensors", test->variant);
  g_autoptr (GoldenFile) file = golden_open (name);
  double bound = test->precision == VIG_PRECISION_FP32 ? 1e-4 : test->precision == VIG_PRECISION_FP16 ? 1e-2 : 3e-2;
  static const guint lengths[] = { 1, 4, 7 };
  GError *error = NULL;
  Clip clip;

  clip_open_engine (&clip, test);
  for (guint i = 0; i < G_N_ELEMENTS (lengths); i++) {
    guint n = lengths[i];
    g_autofree char *key = g_strdup_printf ("%u.logits", n);
    g_autofree float *want = golden_get (file, key, NULL), *two = g_new (float, 2 * n * PIXELS);
    float got[7 * CLASSES], window[CLASSES], again[2 * 7 * CLASSES], both[2 * CLASSES];
    vig_engine_classify_windows_tensors (clip.engine, clip.pictures, 1, n, SIDE, SIDE, got, &(VigOutput) { .logits = window },
        &error);
    g_assert_no_error (error);
    double e = golden_error (got, want, n * CLASSES);
    g_test_message ("%u frames: %.2g", n, e);
    g_assert_cmpfloat (e, <=, bound);
    for (guint c = 0; c < CLASSES; c++) {
      double sum = 0;
      for (guint t = 0; t < n; t++)
        sum += got[t * CLASSES + c];
      g_assert_cmpfloat_with_epsilon (window[c], sum / n, 1e-5);
    }
    memcpy (two, clip.pictures + PIXELS, sizeof (float) * n * PIXELS);
    memcpy (two + n * PIXELS, clip.pictures, sizeof (float) * n * PIXELS);
    vig_engine_classify_windows_tensors (clip.engine, two, 2, n, SIDE, SIDE, again, &(VigOutput) { .logits = both }, &error);
    g_assert_no_error (error);
    g_assert_cmpmem (again + n * CLASSES, sizeof (float) * n * CLASSES, got, sizeof (float) * n * CLASSES);
    g_assert_cmpmem (both + CLASSES, sizeof window, window, sizeof window);
  }
  clip_close (&clip);
}

/* A weight of a model that nobody else has yet. */
static float *
weight (VigModel *model, const char *name)
{
  return (float *) vig_model_get_weight (model, "%s", name);
}

/* The joint model that an image model becomes: nothing crosses into another frame, no place in time, the image's convolution
 * in the middle of the three. */
static VigModel *
inflate (const VigModel *image, const char *variant)
{
  GError *error = NULL;
  VigModel *joint = vig_model_new_random (variant, 1, NULL, &error);
  guint d = image->config.dims[0];

  g_assert_no_error (error);
  memset (weight (joint, "temporal_pos_embed"), 0, sizeof (float) * joint->config.temporal.frames * d);
  for (guint i = 0; i < image->config.depths[0]; i++) {
    g_autofree char *boundary = g_strdup_printf ("blocks.%u.attn.boundary", i);
    g_autofree char *conv = g_strdup_printf ("blocks.%u.attn.in_proj.0.weight", i);
    for (guint c = 0; c < d / 2; c++)
      weight (joint, boundary)[c] = -200;
    if (!joint->config.temporal.over_time)
      continue;
    const float *from = vig_model_get_weight (image, "%s", conv);
    for (guint j = 0; j < 27 * d; j++) {
      guint tap = j % 27;
      weight (joint, conv)[j] = tap >= 9 && tap < 18 ? from[j / 27 * 9 + tap - 9] : 0;
    }
  }
  return joint;
}

/* Then every frame says what the image model says: also of more tokens than gla_mix takes at once. */
static void
test_inflated (gconstpointer data)
{
  const Test *test = data;
  GError *error = NULL;
  g_autoptr (VigModel) image = vig_model_new_random ("tiny_t", 1, NULL, &error);
  g_autoptr (VigModel) joint = inflate (image, test->variant);
  VigEngineOptions options = { .device = test->device, .precision = VIG_PRECISION_FP32 };
  g_autoptr (VigEngine) one = vig_engine_new (image, &options, &error), all = vig_engine_new (joint, &options, &error);
  enum { N = 20 }; /* frames of 16 tokens */
  float want[N * CLASSES], got[N * CLASSES];
  g_autofree float *pictures = g_new (float, N * PIXELS);
  Clip clip;

  g_assert_no_error (error);
  clip_open_engine (&clip, test);
  for (guint i = 0; i < N; i++)
    memcpy (pictures + i * PIXELS, clip.pictures + i * 3 % FRAMES * PIXELS, PIXELS * sizeof *pictures);
  vig_engine_classify_tensors (one, pictures, N, SIDE, SIDE, &(VigOutput) { .logits = want }, &error);
  g_assert_no_error (error);
  vig_engine_classify_windows_tensors (all, pictures, 1, N, SIDE, SIDE, got, &(VigOutput) { .logits = NULL }, &error);
  g_assert_no_error (error);
  double e = golden_error (got, want, N * CLASSES);
  g_test_message ("inflated: %.2g", e);
  g_assert_cmpfloat (e, <=, 1e-5);
  clip_close (&clip);
}

int
main (int argc, char **argv)
{
  static const struct { const char *name; GTestDataFunc test; } variants[] = { { "tiny_stream", test_clip },
    { "tiny_stream_plain", test_clip }, { "tiny_joint", test_windows }, { "tiny_joint_time", test_windows },
    { "tiny_joint", test_inflated }, { "tiny_joint_time", test_inflated } };
  static const VigPrecision precisions[] = { VIG_PRECISION_FP32, VIG_PRECISION_BF16, VIG_PRECISION_FP16 };
  g_test_init (&argc, &argv, NULL);
  static const char *devices[] = { "cpu", "ref", NULL };
  g_autoptr (GPtrArray) tests = g_ptr_array_new_with_free_func (g_free);

  if (argc > 1) {
    devices[0] = argv[1];
    devices[1] = NULL;
  }
  for (guint v = 0; v < G_N_ELEMENTS (variants); v++)
    for (guint d = 0; devices[d]; d++)
      for (guint p = 0; p < G_N_ELEMENTS (precisions); p++) {
        gboolean inflated = variants[v].test == test_inflated;
        if (inflated && precisions[p] != VIG_PRECISION_FP32)
          continue;
        g_autofree char *path = g_strdup_printf ("/temporal/%s%s/%s/%s", inflated ? "inflated-" : "", variants[v].name, devices[d],
            vig_precision_to_string (precisions[p]));
        Test *test = g_new (Test, 1);
        *test = (Test) { variants[v].name, devices[d], precisions[p] };
        g_ptr_array_add (tests, test);
        g_test_add_data_func (path, test, variants[v].test);
      }
  return g_test_run ();
}
