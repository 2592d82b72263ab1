/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Streams with a memory: what is refused, what is saved, and that a state is what it says (answers: tests/golden/temporal.c). */
#include <malloc.h>
#include <math.h>
#include <string.h>

#include <engine-private.h>
#include <plan.h>
#include <safetensors.h>

#include "made.h"

enum { SIDE = 64, PIXELS = 3 * SIDE * SIDE, CLASSES = 10 };

typedef struct {
  VigModel *model;
  VigEngine *engine;
  float picture[2][PIXELS];
} Fixture;

static void
set_up (Fixture *f, gconstpointer data)
{
  GError *error = NULL;

  f->model = random_model ("tiny_stream", 1);
  f->engine = vig_engine_new (f->model, &(VigEngineOptions) { .device = "cpu", .precision = VIG_PRECISION_FP32 }, &error);
  g_assert_no_error (error);
  for (guint i = 0; i < 2 * PIXELS; i++)
    f->picture[i / PIXELS][i % PIXELS] = (float) (i * 2654435761u % 1000) / 250 - 2;
}

static void
tear_down (Fixture *f, gconstpointer data)
{
  vig_engine_free (f->engine);
  vig_model_unref (f->model);
}

static VigState *
new_state (Fixture *f)
{
  GError *error = NULL;
  VigState *state = vig_state_new (f->engine, &error);
  g_assert_no_error (error);
  return state;
}

static gboolean
step (Fixture *f, VigState *state, int picture, gint64 time, float *logits, GError **error)
{
  return vig_engine_classify_stream_tensors (f->engine, f->picture[picture], &(VigMoment) { state, time }, 1, SIDE, SIDE,
      &(VigOutput) { .logits = logits }, error);
}

static void
test_without_memory (void)
{
  g_autoptr (VigModel) model = random_model ("tiny_t", 1);
  GError *error = NULL;
  g_autoptr (VigEngine) engine = vig_engine_new (model, &(VigEngineOptions) { .device = "ref" }, &error);

  g_assert_no_error (error);
  g_assert_false (vig_model_has_memory (model));
  g_assert_cmpuint (vig_state_get_bytes (model, 0), ==, 0);
  g_assert_null (vig_state_new (engine, &error));
  check_error (&error, VIG_ERROR_ARGUMENT, "state: expected a model with a memory, found tiny_t");
}

static void
test_size (Fixture *f, gconstpointer data)
{
  g_assert_true (vig_model_has_memory (f->model));
  /* two modules of 4 cells, one head of 16 x 32; the picture before */
  g_assert_cmpuint (vig_state_get_bytes (f->model, 0), ==, sizeof (float) * (2 * 4 * 16 * 32 + PIXELS));
  g_assert_cmpuint (vig_state_get_bytes (f->model, 32), ==, sizeof (float) * (2 * 4 * 16 * 32 + 3 * 32 * 32));
}

static void
test_moments (Fixture *f, gconstpointer data)
{
  g_autoptr (VigState) a = new_state (f), b = new_state (f);
  float logits[3 * CLASSES], before[CLASSES], after[CLASSES];
  g_autofree float *three = g_new0 (float, 3 * PIXELS);
  VigOutput output = { .logits = logits };
  GError *error = NULL;

  g_assert_true (step (f, a, 0, 1000, before, &error));
  g_assert_false (step (f, a, 1, 999, logits, &error));
  check_error (&error, VIG_ERROR_ARGUMENT, "moment 0: expected a time from 1000 on, that of the frame before, found 999");
  g_assert_false (step (f, NULL, 1, 0, logits, &error));
  check_error (&error, VIG_ERROR_ARGUMENT, "moment 0: expected a state of this engine, found none");
  g_assert_false (vig_engine_classify_stream_tensors (f->engine, three, (VigMoment[]) { { a, 2000 }, { b, 0 }, { a, 3000 } }, 3,
      SIDE, SIDE, &output, &error));
  check_error (&error, VIG_ERROR_ARGUMENT, "moment 2: expected the frames of a stream side by side");
  g_assert_false (vig_engine_classify_stream_tensors (f->engine, three, (VigMoment[]) { { a, 2000 }, { a, 1999 } }, 2, SIDE,
      SIDE, &output, &error));
  check_error (&error, VIG_ERROR_ARGUMENT, "moment 1: expected a time from 2000 on");

  Fixture other;
  set_up (&other, NULL);
  g_autoptr (VigState) strange = new_state (&other);
  g_assert_false (step (f, strange, 0, 0, logits, &error));
  check_error (&error, VIG_ERROR_ARGUMENT, "moment 0: expected a state of this engine, found that of another");
  g_clear_pointer (&strange, vig_state_free);
  tear_down (&other, NULL);

  /* nothing that was refused has left a trace, and a reset one may begin at any time */
  g_assert_true (step (f, a, 1, 2000, after, &error));
  g_assert_true (step (f, b, 0, 1000, logits, &error));
  g_assert_cmpmem (logits, sizeof before, before, sizeof before);
  g_assert_true (step (f, b, 1, 2000, logits, &error));
  g_assert_cmpmem (logits, sizeof after, after, sizeof after);
  vig_state_reset (a);
  g_assert_true (step (f, a, 0, 5, logits, &error));
  g_assert_cmpmem (logits, sizeof before, before, sizeof before);
}

/* Another size of input is another memory. */
static void
test_resize (Fixture *f, gconstpointer data)
{
  g_autoptr (VigState) a = new_state (f), b = new_state (f);
  float first[CLASSES], again[CLASSES];
  GError *error = NULL;

  g_assert_true (step (f, a, 0, 0, first, &error));
  g_assert_true (vig_engine_classify_stream_tensors (f->engine, f->picture[1], (VigMoment[]) { { b, 0 } }, 1, 32, 48,
      &(VigOutput) { .logits = again }, &error));
  g_assert_true (step (f, b, 0, 1000000000, again, &error));
  g_assert_cmpmem (first, sizeof first, again, sizeof again);
}

/* A frame that makes no numbers spoils no other: not of its stream, and not of the batch. */
static void
test_broken (Fixture *f, gconstpointer data)
{
  g_autoptr (VigState) a = new_state (f), b = new_state (f), other = new_state (f);
  g_autofree float *two = g_memdup2 (f->picture, 2 * sizeof f->picture[0]);
  float first[CLASSES], second[CLASSES], got[2 * CLASSES];
  GError *error = NULL;

  g_assert_true (step (f, other, 1, 1, first, &error));
  g_assert_true (step (f, other, 1, 2, second, &error));
  g_assert_true (step (f, a, 0, 0, got, &error));
  g_assert_true (step (f, b, 1, 1, got, &error));
  for (gint64 round = 0; round < 2; round++) {
    VigOutput output = { 0 };
    *(round ? &output.probabilities : &output.logits) = got;
    two[0] = INFINITY; /* then b's frame, which is its second */
    g_assert_true (vig_engine_classify_stream_tensors (f->engine, two, (VigMoment[]) { { a, 1 + 2 * round },
        { b, 2 + round } }, 2, SIDE, SIDE, &output, &error));
    g_assert_false (isfinite (got[0]));
    g_assert_true (isfinite (got[CLASSES]));
    if (round == 0)
      g_assert_cmpmem (got + CLASSES, sizeof second, second, sizeof second);
    g_assert_true (step (f, a, 1, 2 + 2 * round, got, &error));
    g_assert_cmpmem (got, sizeof first, first, sizeof first);
  }
}

/* Without states each frame is the first of its stream, alone and in a batch. */
static void
test_stateless (Fixture *f, gconstpointer data)
{
  g_autoptr (VigState) a = new_state (f), b = new_state (f);
  float first[2][CLASSES], batch[2][CLASSES];
  GError *error = NULL;

  g_assert_true (step (f, a, 0, 0, first[0], &error));
  g_assert_true (step (f, b, 1, 0, first[1], &error));
  g_assert_true (vig_engine_classify_tensors (f->engine, f->picture[0], 2, SIDE, SIDE, &(VigOutput) { .logits = batch[0] },
      &error));
  g_assert_cmpmem (first, sizeof first, batch, sizeof batch);
}

static void
restore (VigState *state, GBytes *bytes, const char *part)
{
  gsize size;
  const guint8 *data = g_bytes_get_data (bytes, &size);
  GError *error = NULL;

  g_assert_true (vig_state_restore (state, data, size, &error) == !part);
  if (part)
    check_error (&error, VIG_ERROR_MODEL, part);
  g_assert_no_error (error);
}

/* The saved file with one thing in its header changed for another of the same length. */
static GBytes *
edited (GBytes *saved, const char *from, const char *to)
{
  gsize size;
  g_autofree char *bytes = g_bytes_unref_to_data (g_bytes_ref (saved), &size);
  char *at = memmem (bytes, size, from, strlen (from));

  g_assert_nonnull (at);
  g_assert_cmpuint (strlen (from), ==, strlen (to));
  memcpy (at, to, strlen (to));
  return g_bytes_new (bytes, size);
}

/* The saved file with all numbers of the state changed for another. */
static GBytes *
filled (GBytes *saved, float number)
{
  gsize size, n = 2 * 4 * 16 * 32 + PIXELS;
  g_autofree guint8 *bytes = g_bytes_unref_to_data (g_bytes_ref (saved), &size);

  for (gsize i = 0; i < n; i++)
    memcpy (bytes + size - 4 * (i + 1), &number, sizeof number);
  return g_bytes_new (bytes, size);
}

/* Whose inputs have another size than the stream's. */
static void
test_bad_size (Fixture *f, gconstpointer data)
{
  g_autoptr (VigState) small = new_state (f), fresh = new_state (f), used = new_state (f);
  float logits[CLASSES], want[CLASSES], got[CLASSES];
  GError *error = NULL;

  g_assert_true (step (f, used, 0, 1, logits, &error));
  g_autoptr (GBytes) large = vig_state_save (used, &error);
  g_assert_true (vig_engine_classify_stream_tensors (f->engine, f->picture[1], &(VigMoment) { small, 1 }, 1, 32, 32,
      &(VigOutput) { .logits = logits }, &error));
  g_autoptr (GBytes) saved = vig_state_save (small, &error);
  g_autoptr (GBytes) tiny = edited (saved, "\"vig_state_width\":\"32\"", "\"vig_state_width\":\"06\"");
  g_autoptr (GBytes) half = edited (saved, "\"vig_state_width\":\"32\"", "\"vig_state_width\":\"00\"");

  restore (used, saved, "state: input: expected 64x64, as the stream has, found 32x32");
  restore (fresh, tiny, "state: input: expected at least 23 pixels in width and height, found 6x32");
  restore (fresh, half, "state: input: expected at least 23 pixels in width and height, found 0x32");
  restore (fresh, saved, NULL);
  restore (fresh, large, "state: input: expected 32x32, as the stream has, found 64x64");
  g_assert_true (vig_engine_classify_stream_tensors (f->engine, f->picture[0], &(VigMoment) { small, 2 }, 1, 32, 32,
      &(VigOutput) { .logits = want }, &error));
  g_assert_true (vig_engine_classify_stream_tensors (f->engine, f->picture[0], &(VigMoment) { fresh, 2 }, 1, 32, 32,
      &(VigOutput) { .logits = got }, &error));
  g_assert_cmpmem (got, sizeof got, want, sizeof want);
}

/* The largest numbers that a file may have come to nothing that is not a number, in that frame or later ones. */
static void
test_large (Fixture *f, gconstpointer data)
{
  g_autoptr (VigState) state = new_state (f);
  float logits[CLASSES];
  GError *error = NULL;

  g_assert_true (step (f, state, 0, 77, logits, &error));
  g_autoptr (GBytes) saved = vig_state_save (state, &error), large = filled (saved, -1e12f);
  restore (state, large, NULL);
  for (gint64 time = 77; time < 80; time++) {
    g_assert_true (step (f, state, 1, time, logits, &error));
    for (guint i = 0; i < CLASSES; i++)
      g_assert_true (isfinite (logits[i]));
  }
}

static void
test_bad_files (Fixture *f, gconstpointer data)
{
  static const struct { const char *from, *to, *part; } edits[] = {
    { "\"fp32\"", "\"bf16\"", "state: vig_state_precision: expected fp32, found bf16" },
    { "\"vig_state_height\":\"64\"", "\"vig_state_height\":\"-4\"", "vig_state_height: expected a whole number from 0 to 8192, found -4" },
    { "\"vig_state_height\":\"64\"", "\"vig_state_height\":\"32\"", "state: input: expected 64x64, as the stream has, found 64x32" },
    { "\"vig_state_width\":", "\"vig_state_xidth\":", "vig_state_width: expected a whole number from 0 to 8192, found none" },
    { "\"vig_state_time\":\"77\"", "\"vig_state_time\":\"7x\"", "vig_state_time: expected a whole number from -9223372036854775808" },
    { "\"state\"", "\"stare\"", "state: tensors: expected [16384], found others" },
    { "\"F32\"", "\"F16\"", "state: " },
  };
  g_autoptr (VigState) state = new_state (f), other = new_state (f);
  float want[CLASSES], got[CLASSES], logits[CLASSES];
  GError *error = NULL;
  gsize size;

  g_assert_true (step (f, state, 0, 77, logits, &error));
  g_autoptr (GBytes) saved = vig_state_save (state, &error);
  const guint8 *bytes = g_bytes_get_data (saved, &size);
  g_assert_true (step (f, state, 1, 78, want, &error));

  g_assert_true (step (f, other, 0, 77, logits, &error));
  for (guint i = 0; i < G_N_ELEMENTS (edits); i++) {
    g_autoptr (GBytes) spoilt = edited (saved, edits[i].from, edits[i].to);
    restore (other, spoilt, edits[i].part);
  }
  for (gsize n = 0; n < size; n += n < 600 ? 7 : 4999) {
    g_autoptr (GBytes) cut = g_bytes_new (bytes, n);
    restore (other, cut, "state: ");
  }
  static const float strange_numbers[] = { NAN, INFINITY, 1.001e12f, -3e38f };
  for (guint i = 0; i < G_N_ELEMENTS (strange_numbers); i++) {
    g_autoptr (GBytes) spoilt = filled (saved, strange_numbers[i]);
    restore (other, spoilt, "state: tensor state: expected values from -1e12 to 1e12, found others");
  }

  Fixture strange = { 0 };
  strange.model = random_model ("tiny_stream", 2);
  strange.engine = vig_engine_new (strange.model, &(VigEngineOptions) { .device = "cpu", .precision = VIG_PRECISION_FP32 },
      &error);
  g_autoptr (VigState) of_another = new_state (&strange);
  restore (of_another, saved, "state: vig_state_model: expected ");
  g_clear_pointer (&of_another, vig_state_free);
  tear_down (&strange, NULL);

  /* what was refused has left the state as it was */
  g_assert_true (step (f, other, 1, 78, got, &error));
  g_assert_cmpmem (got, sizeof got, want, sizeof want);
}

/* The state of a stream that has seen nothing. */
static void
test_empty (Fixture *f, gconstpointer data)
{
  g_autoptr (VigState) fresh = new_state (f), used = new_state (f);
  float first[CLASSES], again[CLASSES];
  GError *error = NULL;

  g_autoptr (GBytes) saved = vig_state_save (fresh, &error);
  g_assert_no_error (error);
  g_assert_true (step (f, fresh, 0, 0, first, &error));
  g_assert_true (step (f, used, 1, 1000, again, &error));
  restore (used, saved, NULL);
  g_assert_true (step (f, used, 0, 5, again, &error));
  g_assert_cmpmem (first, sizeof first, again, sizeof again);
}

/* All that this process has taken from malloc (), and what the engine and the saved state say of themselves. */
static void
look_at_memory (Fixture *f, VigState *state, gsize found[3])
{
  GError *error = NULL;
  struct mallinfo2 heap = mallinfo2 ();
  g_autoptr (GBytes) saved = vig_state_save (state, &error);

  g_assert_no_error (error);
  found[0] = heap.uordblks + heap.hblkhd;
  found[1] = vig_engine_get_workspace_bytes (f->engine);
  found[2] = g_bytes_get_size (saved);
}

/* Frame 10,000 finds the memory that frame 10 left. (Its time is what tests/bench/clips looks at.) */
static void
test_long (Fixture *f, gconstpointer data)
{
  enum { SMALL = 32, EARLY = 10, LATE = 10000 };
  g_autoptr (VigState) state = new_state (f), other = new_state (f);
  gsize early[3], late[3];
  float logits[2 * CLASSES];
  GError *error = NULL;

  for (gint64 i = 1; i <= LATE; i++) {
    VigMoment moments[] = { { state, i * 40000000 }, { other, i } };
    vig_engine_classify_stream_tensors (f->engine, f->picture[i % 2], moments, 1 + i % 2, SMALL, SMALL,
        &(VigOutput) { .logits = logits }, &error);
    g_assert_no_error (error);
    g_assert_true (isfinite (logits[0]));
    if (i == EARLY)
      look_at_memory (f, state, early);
  }
  look_at_memory (f, state, late);
  g_test_message ("%" G_GSIZE_FORMAT " bytes allocated, %" G_GSIZE_FORMAT " of workspace, a state of %" G_GSIZE_FORMAT
      " saved in %" G_GSIZE_FORMAT, late[0], late[1], vig_state_get_bytes (f->model, SMALL), late[2]);
  g_assert_cmpuint (late[0], <, early[0] + LATE - EARLY); /* malloc () counts what it keeps for the next time: not a byte a frame */
  g_assert_cmpuint (late[1], ==, early[1]);
  g_assert_cmpuint (late[2], <, early[2] + 64); /* the time of the last frame has more digits */
}

/* What windows of frames ask for. */
static void
test_windows (void)
{
  g_autoptr (VigModel) image = random_model ("tiny_t", 1), joint = random_model ("tiny_joint", 1);
  GError *error = NULL;
  g_autoptr (VigEngine) of_images = vig_engine_new (image, &(VigEngineOptions) { .device = "ref" }, &error);
  g_autoptr (VigEngine) engine = vig_engine_new (joint, &(VigEngineOptions) { .device = "ref" }, &error);
  g_autofree float *frames = g_new0 (float, 2 * PIXELS);
  float logits[2 * CLASSES], alone[CLASSES], probabilities[CLASSES], features[64];
  VigOutput output = { .logits = logits, .probabilities = probabilities, .features = features };

  g_assert_no_error (error);
  g_assert_true (vig_model_has_windows (joint) && !vig_model_has_windows (image) && !vig_model_has_memory (joint));
  g_assert_false (vig_engine_classify_windows_tensors (of_images, frames, 1, 2, SIDE, SIDE, NULL, &output, &error));
  check_error (&error, VIG_ERROR_ARGUMENT, "windows: expected a model that takes them, found tiny_t");
  g_assert_false (vig_engine_classify_windows_tensors (engine, frames, 1, 0, SIDE, SIDE, NULL, &output, &error));
  check_error (&error, VIG_ERROR_ARGUMENT, "window: expected 1 to 4096 frames, found 0");
  g_assert_false (vig_engine_classify_windows_tensors (engine, frames, 1, 5000, SIDE, SIDE, NULL, &output, &error));
  check_error (&error, VIG_ERROR_ARGUMENT, "window: expected 1 to 4096 frames, found 5000");
  g_assert_false (vig_engine_classify_windows_tensors (engine, frames, G_MAXUINT, 2, SIDE, SIDE, NULL, &output, &error));
  check_error (&error, VIG_ERROR_ARGUMENT, "windows: expected at most 524287, found 4294967295");
  g_assert_false (vig_engine_classify_windows (engine, NULL, 1, 2, 0, NULL, &output, &error));
  check_error (&error, VIG_ERROR_ARGUMENT, "frames: expected at least one");
  g_assert_true (vig_engine_classify_windows_tensors (engine, frames, 1, 2, SIDE, SIDE, NULL, &output, &error));
  float sum = 0;
  for (guint i = 0; i < CLASSES; i++)
    sum += probabilities[i];
  g_assert_cmpfloat_with_epsilon (sum, 1, 1e-5);
  /* a frame by itself is a window of one */
  g_assert_true (vig_engine_classify_windows_tensors (engine, frames, 1, 1, SIDE, SIDE, alone, &output, &error));
  g_assert_true (vig_engine_classify_tensors (engine, frames, 1, SIDE, SIDE, &(VigOutput) { .logits = logits }, &error));
  g_assert_cmpmem (alone, sizeof alone, logits, sizeof alone);
}

/* Each frame of a window takes the same memory, however many there are. */
static void
test_window_memory (void)
{
  static const guint windows[] = { 64, 512, 960 };
  static const char *const variants[] = { "tiny_joint", "tiny_joint_time" };
  VigKernels *kernels = vig_kernels_cpu_open (1, VIG_CPU_ALL);
  GError *error = NULL;

  for (guint v = 0; v < G_N_ELEMENTS (variants); v++) {
    g_autoptr (VigModel) model = random_model (variants[v], 1);
    gsize bytes[3];
    for (guint i = 0; i < 3; i++) {
      VigPlan *plan = vig_plan_new (model, kernels, VIG_TYPE_F32, windows[i], SIDE, SIDE, windows[i], 0, FALSE, &error);
      g_assert_no_error (error);
      bytes[i] = plan->workspace_bytes;
      vig_plan_free (plan);
    }
    g_test_message ("%s: 64 frames %" G_GSIZE_FORMAT " bytes, 448 more %" G_GSIZE_FORMAT ", and as many again %" G_GSIZE_FORMAT,
        variants[v], bytes[0], bytes[1] - bytes[0], bytes[2] - bytes[1]);
    g_assert_cmpfloat_with_epsilon ((double) (bytes[2] - bytes[1]) / (double) (bytes[1] - bytes[0]), 1, 1e-2);
    g_assert_cmpuint (bytes[2], <=, bytes[0] / 64 * 960);
  }
  kernels->close (kernels);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
#define ADD(name, func) g_test_add ("/state/" name, Fixture, NULL, set_up, func, tear_down)
  g_test_add_func ("/state/without-memory", test_without_memory);
  g_test_add_func ("/state/windows", test_windows);
  g_test_add_func ("/state/window-memory", test_window_memory);
  ADD ("size", test_size);
  ADD ("moments", test_moments);
  ADD ("resize", test_resize);
  ADD ("broken", test_broken);
  ADD ("stateless", test_stateless);
  ADD ("bad-files", test_bad_files);
  ADD ("bad-size", test_bad_size);
  ADD ("large", test_large);
  ADD ("empty", test_empty);
  ADD ("long", test_long);
  return g_test_run ();
}
