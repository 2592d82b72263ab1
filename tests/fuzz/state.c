/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* libFuzzer target: any bytes as the saved state of a stream. Either it is taken, and the frame behind it has an answer, or
 * there is one error. */
#include <math.h>
#include <stdint.h>
#include <string.h>

#include <engine-private.h>
#include <random.h>
#include <state.h>

enum { SIDE = 16, CLASSES = 2 };

int LLVMFuzzerTestOneInput (const uint8_t *data, size_t size);

static VigEngine *
new_engine (void)
{
  const VigConfig config = { .n_stages = 1, .dims = { 2 }, .depths = { 1 }, .heads = { 1 }, .img_size = SIDE,
    .n_classes = CLASSES, .temporal = { .n_after = 1, .grid = 1, .width = 2, .heads = 1, .step = 1, .max_elapsed = 4 } };
  GError *error = NULL;
  VigModel *model = vig_model_new_random_of (&config, "small", 1, NULL, &error);

  g_assert_no_error (error);
  g_free (model->hash);
  model->hash = g_strdup ("abc");
  VigEngine *engine = vig_engine_new_with_kernels (model, vig_kernels_ref_open (), "ref", VIG_PRECISION_FP32, &error);
  g_assert_no_error (error);
  vig_model_unref (model);
  return engine;
}

/* The frame behind the last one that the state says it has seen. */
static void
classify (VigEngine *engine, VigState *state)
{
  static const float picture[3 * SIDE * SIDE] = { 1 };
  const VigMoment moment = { state, state->time };
  float logits[CLASSES];
  GError *error = NULL;

  vig_engine_classify_stream_tensors (engine, picture, &moment, 1, SIDE, SIDE, &(VigOutput) { .logits = logits }, &error);
  g_assert_no_error (error);
  for (guint i = 0; i < CLASSES; i++)
    g_assert_true (isfinite (logits[i]));
}

int
LLVMFuzzerTestOneInput (const uint8_t *data, size_t size)
{
  static VigEngine *engine;
  GError *error = NULL;

  if (!engine)
    engine = new_engine ();
  VigState *state = vig_state_new (engine, &error);
  gboolean ok = vig_state_restore (state, data, size, &error);
  g_assert_true (ok == !error);
  if (error)
    g_assert_true (error->domain == VIG_ERROR && g_str_has_prefix (error->message, "state") && strlen (error->message) < 2000);
  else
    classify (engine, state);
  vig_state_free (state);
  g_clear_error (&error);
  return 0;
}
