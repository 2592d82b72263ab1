/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The public functions: what they answer, what they refuse, and that failures below come up as errors. */
#include <math.h>
#include <string.h>

#include <batcher.h>
#include <engine-private.h>

#include "made.h"

static VigEngine *
ref_engine (VigModel *model)
{
  GError *error = NULL;
  VigEngine *engine = vig_engine_new (model, &(VigEngineOptions) { .device = "ref" }, &error);
  g_assert_no_error (error);
  return engine;
}

static void
test_precision (void)
{
  VigPrecision p = VIG_PRECISION_AUTO;

  g_assert_true (vig_precision_from_string ("bf16", &p));
  g_assert_cmpint (p, ==, VIG_PRECISION_BF16);
  g_assert_cmpstr (vig_precision_to_string (VIG_PRECISION_FP32), ==, "fp32");
  g_assert_cmpstr (vig_precision_to_string (VIG_PRECISION_FP16), ==, "fp16");
  g_assert_cmpstr (vig_precision_to_string ((VigPrecision) 77), ==, NULL);
  g_assert_false (vig_precision_from_string ("fp64", &p));
  g_assert_false (vig_precision_from_string (NULL, &p));
  g_assert_cmpint (p, ==, VIG_PRECISION_BF16);
}

static void
test_new_engine (void)
{
  static const struct { VigEngineOptions options; VigError code; const char *part; } bad[] = {
    { { "cuda", VIG_PRECISION_AUTO, 0 }, VIG_ERROR_DEVICE, "device cuda: expected a build with the CUDA backend" },
    { { "cuda:1", VIG_PRECISION_AUTO, 0 }, VIG_ERROR_DEVICE, "device cuda:1: expected a build with the CUDA" },
    { { "cuda:", VIG_PRECISION_AUTO, 0 }, VIG_ERROR_DEVICE, "expected auto, cpu, cuda or cuda:N, found \"cuda:\"" },
    { { "cuda:x", VIG_PRECISION_AUTO, 0 }, VIG_ERROR_DEVICE, "found \"cuda:x\"" },
    { { "cudax", VIG_PRECISION_AUTO, 0 }, VIG_ERROR_DEVICE, "found \"cudax\"" },
    { { "", VIG_PRECISION_AUTO, 0 }, VIG_ERROR_DEVICE, "found \"\"" },
    { { "tpu", VIG_PRECISION_AUTO, 0 }, VIG_ERROR_DEVICE, "found \"tpu\"" },
    { { "cpu", (VigPrecision) 9, 0 }, VIG_ERROR_ARGUMENT, "precision: expected auto, fp32, bf16 or fp16, found the value 9" },
    { { "cpu", VIG_PRECISION_AUTO, 5000 }, VIG_ERROR_ARGUMENT, "threads: expected at most 1024, found 5000" },
  };
  static const char *const good[] = { NULL, "auto", "cpu", "ref" };
  g_autoptr (VigModel) model = random_model ("tiny_h", 1);
  GError *error = NULL;

  for (guint i = 0; i < G_N_ELEMENTS (bad); i++) {
    g_assert_null (vig_engine_new (model, &bad[i].options, &error));
    check_error (&error, bad[i].code, bad[i].part);
  }
  g_assert_null (vig_engine_new (NULL, NULL, &error));
  check_error (&error, VIG_ERROR_ARGUMENT, "model: expected one, found NULL");
  for (guint i = 0; i < G_N_ELEMENTS (good); i++) {
    g_autoptr (VigEngine) engine = vig_engine_new (model, &(VigEngineOptions) { .device = good[i] }, &error);
    g_assert_no_error (error);
    g_assert_cmpstr (vig_engine_get_device (engine), ==, i == 3 ? "ref" : "cpu");
    g_assert_cmpint (vig_engine_get_precision (engine), !=, VIG_PRECISION_AUTO);
    g_assert_true (vig_engine_get_model (engine) == model);
    g_assert_nonnull (vig_engine_get_kernels (engine));
    g_assert_cmpuint (vig_engine_get_weight_bytes (engine), >, vig_model_get_n_parameters (model));
    g_assert_cmpuint (vig_engine_get_workspace_bytes (engine), ==, 0);
  }
  g_autoptr (VigEngine) defaults = vig_engine_new (model, NULL, &error);
  g_assert_no_error (error);
}

static void
test_bad_calls (void)
{
  g_autoptr (VigModel) model = random_model ("tiny_t", 1);
  g_autoptr (VigEngine) engine = ref_engine (model);
  g_autofree float *input = g_new0 (float, 3 * 64 * 64);
  g_autofree guint8 *pixels = g_malloc0 (3 * 64 * 64);
  float logits[10];
  VigOutput out = { .logits = logits };
  VigFrame frame = { .format = VIG_FORMAT_RGB, .width = 64, .height = 64, .data = { pixels }, .stride = { 192 } };
  VigFrame frames[2] = { frame, frame };
  GError *error = NULL;

  g_assert_false (vig_engine_classify_tensors (engine, NULL, 1, 64, 64, &out, &error));
  check_error (&error, VIG_ERROR_ARGUMENT, "tensors: expected at least one and somewhere to put its results, found NULL");
  g_assert_false (vig_engine_classify_tensors (engine, input, 0, 64, 64, &out, &error));
  check_error (&error, VIG_ERROR_ARGUMENT, "found none");
  g_assert_false (vig_engine_classify_tensors (engine, input, 1, 64, 64, NULL, &error));
  check_error (&error, VIG_ERROR_ARGUMENT, "found no output");
  g_assert_false (vig_engine_classify_tensors (engine, input, 1, 6, 64, &out, &error));
  check_error (&error, VIG_ERROR_ARGUMENT, "input: expected 7 to 8192 pixels in width and height, found 64x6");
  g_assert_false (vig_engine_classify_tensors (engine, input, 1, 64, 0, &out, &error));
  check_error (&error, VIG_ERROR_ARGUMENT, "found 0x64");
  g_assert_false (vig_engine_classify_tensors (engine, input, 1, 64, 8193, &out, &error));
  check_error (&error, VIG_ERROR_ARGUMENT, "found 8193x64");
  g_assert_false (vig_engine_classify_tensors (engine, input, 1, G_MAXUINT, G_MAXUINT, &out, &error));
  check_error (&error, VIG_ERROR_ARGUMENT, "found 4294967295x4294967295");
  g_assert_false (vig_engine_classify_frames (engine, NULL, 1, 0, &out, &error));
  check_error (&error, VIG_ERROR_ARGUMENT, "frames: expected at least one");
  g_assert_false (vig_engine_classify_frames (engine, &frame, 1, 9000, &out, &error));
  check_error (&error, VIG_ERROR_ARGUMENT, "found 9000x9000");
  frames[1].width = -1;
  g_assert_false (vig_engine_classify_frames (engine, frames, 2, 0, &out, &error));
  check_error (&error, VIG_ERROR_ARGUMENT, "frame 1: ");
  frames[1] = frame;
  frames[1].data[0] = NULL;
  g_assert_false (vig_engine_classify_frames (engine, frames, 2, 0, &out, &error));
  check_error (&error, VIG_ERROR_ARGUMENT, "frame 1: ");
  g_assert_false (vig_engine_preprocess (engine, NULL, 0, input, &error));
  check_error (&error, VIG_ERROR_ARGUMENT, "preprocess: expected a frame and an output, found NULL");
  g_assert_false (vig_engine_preprocess (engine, &frame, 6, input, &error));
  check_error (&error, VIG_ERROR_ARGUMENT, "found 6x6");

  vig_engine_classify_frames (engine, &frame, 1, 0, &out, &error); /* and still it works */
  g_assert_no_error (error);
  vig_engine_classify_tensors (engine, input, 1, 7, 8, &out, &error);
  g_assert_no_error (error);
  vig_engine_classify_tensors (engine, input, 1, 64, 64, &(VigOutput) { 0 }, &error); /* nothing wanted: nothing written */
  g_assert_no_error (error);
}

static void
test_random (void)
{
  GError *error = NULL;

  g_assert_null (vig_model_new_random ("vig_x", 1, NULL, &error));
  check_error (&error, VIG_ERROR_ARGUMENT, "variant: expected one of vig_t, vig_s");
  g_assert_null (vig_model_new_random (NULL, 1, NULL, &error));
  check_error (&error, VIG_ERROR_ARGUMENT, "found none");
  g_assert_null (vig_model_new_random ("tiny_t", 1, "a", &error));
  check_error (&error, VIG_ERROR_ARGUMENT, "factors: expected suffix=value, found \"a\"");
  g_assert_null (vig_model_new_random ("tiny_t", 1, "a=1,b=x", &error));
  check_error (&error, VIG_ERROR_ARGUMENT, "found \"b=x\"");
  g_assert_null (vig_model_new_random ("tiny_t", 1, "=1", &error));
  check_error (&error, VIG_ERROR_ARGUMENT, "found \"=1\"");
  g_assert_null (vig_model_new_random ("tiny_t", 1, "a=inf", &error));
  check_error (&error, VIG_ERROR_ARGUMENT, "found \"a=inf\"");
}

/* Published sizes and operation counts (million multiply-accumulates at 224x224). */
static void
test_counts (void)
{
  static const struct { const char *name; guint64 parameters; double mmacs; guint features; } published[] = {
    { "vig_t", 5834536, 1168, 192 }, { "vig_s", 22615144, 4481, 384 }, { "vig_h_t", 28600680, 4494, 768 },
  };
  for (guint i = 0; i < G_N_ELEMENTS (published); i++) {
    g_autoptr (VigModel) m = random_model (published[i].name, 1);
    g_assert_cmpuint (vig_model_get_n_parameters (m), ==, published[i].parameters);
    g_assert_cmpfloat (fabs (1e-6 * (double) vig_model_get_macs (m, 224, 224) - published[i].mmacs), <, 1.5);
    g_assert_cmpuint (vig_model_get_macs (m, 0, 224), ==, 0);
    g_assert_cmpuint (vig_model_get_n_features (m), ==, published[i].features);
    g_assert_cmpuint (vig_model_get_input_size (m), ==, 224);
  }
}

static void
test_top_k (void)
{
  const float values[] = { 1, 5, 3, 5, -2, NAN, 4 };
  VigRank ranks[7];

  g_assert_cmpuint (vig_top_k (values, 7, 3, ranks), ==, 3);
  g_assert_cmpuint (ranks[0].index, ==, 1); /* the first of equals */
  g_assert_cmpuint (ranks[1].index, ==, 3);
  g_assert_cmpuint (ranks[2].index, ==, 6);
  g_assert_cmpfloat (ranks[2].value, ==, 4);
  g_assert_cmpuint (vig_top_k (values, 5, 9, ranks), ==, 5);
  g_assert_cmpuint (ranks[4].index, ==, 4);
  g_assert_cmpuint (vig_top_k (values, 7, 0, ranks), ==, 0);
  g_assert_cmpuint (vig_top_k (values, 0, 3, ranks), ==, 0);
}

/* Softmax, features and logits belong together. */
static void
test_outputs (void)
{
  g_autoptr (VigModel) model = random_model ("tiny_s", 1);
  g_autoptr (VigEngine) engine = ref_engine (model);
  g_autofree float *input = g_new (float, 2 * 3 * 32 * 32);
  float logits[20], probabilities[20], features[256];
  VigOutput out = { .logits = logits, .probabilities = probabilities, .features = features, .preprocess_us = -1, .inference_us = -1 };
  GError *error = NULL;

  for (guint i = 0; i < 2 * 3 * 32 * 32; i++)
    input[i] = sinf ((float) i * 0.1f);
  vig_engine_classify_tensors (engine, input, 2, 32, 32, &out, &error);
  g_assert_no_error (error);
  g_assert_cmpint (out.preprocess_us, ==, 0);
  g_assert_cmpint (out.inference_us, >=, 0);
  for (guint i = 0; i < 2; i++) {
    double sum = 0, exponentials = 0;
    for (guint j = 0; j < 10; j++) {
      sum += probabilities[10 * i + j];
      exponentials += exp (logits[10 * i + j]);
    }
    g_assert_cmpfloat (fabs (sum - 1), <, 1e-5);
    for (guint j = 0; j < 10; j++)
      g_assert_cmpfloat (fabs (probabilities[10 * i + j] - exp (logits[10 * i + j]) / exponentials), <, 1e-5);
  }
  g_assert_cmpuint (vig_engine_get_workspace_bytes (engine), >, 0);
}

/* ---- a table that counts and fails ---- */

static struct {
  VigKernels *inner;
  VigKernels table;
  guint allocations, fail_at; /* fail_at: the allocation that fails, from 1; 0: none */
  gsize most;                 /* bytes: larger ones fail; 0: none */
  gboolean fail_matmul;
  const char *failure;
} injector;

static void *
injector_alloc (void *ctx, size_t size)
{
  injector.allocations++;
  if (injector.allocations == injector.fail_at || (injector.most && size > injector.most))
    return NULL;
  return injector.inner->alloc (ctx, size);
}

static VigMatmul *
injector_matmul_create (void *ctx, const VigMatmulDesc *desc)
{
  if (injector.fail_matmul && desc->n == 10) { /* the head's, the last one */
    injector.failure = "matmul_create: it was made to fail";
    return NULL;
  }
  return injector.inner->matmul_create (ctx, desc);
}

static const char *
injector_finish (void *ctx)
{
  const char *failure = injector.failure;
  injector.failure = NULL;
  return failure ? failure : injector.inner->finish (ctx);
}

static void
injector_close (VigKernels *self)
{
  injector.inner->close (injector.inner);
  injector.inner = NULL;
}

static VigKernels *
injector_open (void)
{
  memset (&injector, 0, sizeof injector);
  injector.inner = vig_kernels_ref_open ();
  injector.table = *injector.inner;
  injector.table.alloc = injector_alloc;
  injector.table.matmul_create = injector_matmul_create;
  injector.table.finish = injector_finish;
  injector.table.close = injector_close;
  return &injector.table;
}

/* Every single allocation fails once: an error each time, and nothing is lost (the leak sanitizer looks on). */
static void
test_no_memory (void)
{
  static const char *const variants[] = { "tiny_t", "tiny_h" };
  g_autofree float *input = g_new0 (float, 3 * 64 * 64);
  float logits[10];

  for (guint v = 0; v < G_N_ELEMENTS (variants); v++) {
    g_autoptr (VigModel) model = random_model (variants[v], 1);
    gboolean done = FALSE;
    for (guint fail_at = 1; !done; fail_at++) {
      GError *error = NULL;
      VigKernels *kernels = injector_open ();
      injector.fail_at = fail_at;
      g_autoptr (VigEngine) engine = vig_engine_new_with_kernels (model, kernels, "test", VIG_PRECISION_FP32, &error);
      done = engine && vig_engine_classify_tensors (engine, input, 1, 64, 64, &(VigOutput) { .logits = logits }, &error);
      if (!done)
        check_error (&error, VIG_ERROR_NO_MEMORY, engine ? "input 64x64: no memory for the" : "no memory for the weights");
      g_assert_cmpuint (fail_at, <, 1000);
    }
    g_assert_null (injector.inner);
  }
}

static gboolean
prepare (gpointer engine, const VigRequest *r, GError **error)
{
  return vig_engine_prepare_state (engine, r->state, r->window, r->size, error);
}

static gboolean
check (gpointer engine, const VigRequest *r, GError **error)
{
  return vig_engine_check_state (engine, r->state, r->window, error);
}

static gboolean
run (gpointer engine, const VigBatch *batch, VigOutput *output, VigReadFunc read, gpointer data, GError **error)
{
  return vig_engine_classify_batch (engine, batch, output, read, data, error);
}

/* Two streams with a state each, in the batches of one engine. */
typedef struct {
  VigEngine *engine;
  VigBatcher *batcher;
  VigStream *streams[2];
  VigState *states[2];
  guint windows[2];
  VigRequest requests[2];
  float logits[2][10];
  gint64 time;
} Pair;

static void
pair_open (Pair *p, VigModel *model, const guint *windows)
{
  GError *error = NULL;

  *p = (Pair) { .engine = vig_engine_new_with_kernels (model, injector_open (), "test", VIG_PRECISION_FP32, &error) };
  const VigBatcherWork work = { .check = check, .prepare = prepare, .run = run, .data = p->engine,
    .windows = vig_model_has_windows (model), .n_classes = 10, .size = 64 };
  p->batcher = vig_batcher_new (&work, 2, 0);
  for (guint i = 0; i < 2; i++) {
    p->windows[i] = windows[i];
    p->streams[i] = vig_batcher_add_stream (p->batcher);
    p->states[i] = vig_engine_add_state (p->engine, windows[i], &error);
    g_assert_no_error (error);
  }
}

/* A frame of the first @n streams, in one batch. */
static void
pair_step (Pair *p, guint n)
{
  static const guint8 pixels[3 * 64 * 64];
  VigRequest *all[2];

  p->time++;
  for (guint i = 0; i < n; i++) {
    g_clear_error (&p->requests[i].error);
    p->requests[i] = (VigRequest) { .frame = { .format = VIG_FORMAT_RGB, .width = 64, .height = 64, .data = { pixels },
        .stride = { 192 } }, .state = p->states[i], .window = p->windows[i], .time = p->time, .logits = p->logits[i] };
    all[i] = &p->requests[i];
  }
  g_assert_true (vig_stream_submit_all (p->streams[0], all, n, NULL));
  g_assert_true (vig_batcher_step (p->batcher, 0));
}

static void
pair_expect (const Pair *p, guint which, guint n_seen)
{
  g_assert_no_error (p->requests[which].error);
  g_assert_cmpuint (p->requests[which].n_seen, ==, n_seen);
}

static void
pair_close (Pair *p)
{
  for (guint i = 0; i < 2; i++) {
    vig_state_free (p->states[i]);
    vig_stream_free (p->streams[i]);
  }
  vig_batcher_free (p->batcher);
  vig_engine_free (p->engine);
}

/* A stream that there is no memory for is the only one of its batch that fails, and the others' states stay. */
static void
test_no_memory_alone (void)
{
  static const struct { const char *variant; guint windows[2]; const char *part; } cases[] = {
    { "tiny_stream", { 0, 0 }, "state: no memory for the " },
    { "tiny_joint", { 2, 64 }, "input 64x64: no memory for the " },
  };

  for (guint i = 0; i < G_N_ELEMENTS (cases); i++) {
    g_autoptr (VigModel) model = random_model (cases[i].variant, 1);
    Pair p;
    pair_open (&p, model, cases[i].windows);
    pair_step (&p, 1);
    pair_step (&p, 1);
    pair_expect (&p, 0, 2);
    injector.most = i == 0 ? 1 : vig_engine_get_workspace_bytes (p.engine);
    for (guint frame = 0; frame < 2; frame++) {
      pair_step (&p, 2);
      pair_expect (&p, 0, i == 0 ? 3 + frame : 2);
      check_error (&p.requests[1].error, VIG_ERROR_NO_MEMORY, cases[i].part);
    }
    injector.most = 0;
    pair_step (&p, 2);
    pair_expect (&p, 0, i == 0 ? 5 : 2);
    pair_expect (&p, 1, 1);
    pair_close (&p);
  }
}

/* The first frame makes what full windows of as many streams as are expected need; shorter ones of streams that begin go
 * through the same plan. */
static void
test_windows_begin (void)
{
  g_autoptr (VigModel) model = random_model ("tiny_joint", 1);
  Pair p;

  pair_open (&p, model, (const guint[]) { 4, 4 });
  vig_engine_expect (p.engine, 2);
  pair_step (&p, 1);
  const guint before = injector.allocations;
  const gsize bytes = vig_engine_get_workspace_bytes (p.engine);
  for (guint i = 2; i < 8; i++) {
    pair_step (&p, i < 4 ? 1 : 2);
    pair_expect (&p, 0, MIN (i, 4));
  }
  pair_expect (&p, 1, 4);
  g_assert_cmpuint (vig_engine_get_workspace_bytes (p.engine), ==, bytes);
  g_assert_cmpuint (injector.allocations, ==, before + 1); /* room to preprocess two frames at once */
  pair_close (&p);
}

static void
test_failures (void)
{
  g_autoptr (VigModel) model = random_model ("tiny_h", 1);
  g_autofree float *input = g_new0 (float, 3 * 64 * 64);
  float logits[10];
  VigOutput out = { .logits = logits };
  GError *error = NULL;

  VigKernels *kernels = injector_open ();
  injector.fail_matmul = TRUE;
  g_assert_null (vig_engine_new_with_kernels (model, kernels, "test", VIG_PRECISION_FP32, &error));
  check_error (&error, VIG_ERROR_FAILED, "cannot prepare the weights: matmul_create: it was made to fail");

  g_autoptr (VigEngine) engine = vig_engine_new_with_kernels (model, injector_open (), "test", VIG_PRECISION_FP32,
      &error);
  g_assert_no_error (error);
  injector.failure = "out of smoke";
  g_assert_false (vig_engine_classify_tensors (engine, input, 1, 64, 64, &out, &error));
  check_error (&error, VIG_ERROR_FAILED, "device test: the computation failed: out of smoke");
  vig_engine_classify_tensors (engine, input, 1, 64, 64, &out, &error);
  g_assert_no_error (error);
}

/* After the first batch of a size nothing is taken from the backend's memory. */
static void
test_no_allocations (void)
{
  g_autoptr (VigModel) model = random_model ("tiny_t", 1);
  g_autofree float *input = g_new0 (float, 40 * 3 * 64 * 64);
  g_autofree float *logits = g_new (float, 40 * 10);
  g_autofree guint8 *pixels = g_malloc0 (3 * 80 * 60);
  VigFrame frame = { .format = VIG_FORMAT_RGB, .width = 80, .height = 60, .data = { pixels }, .stride = { 240 } };
  VigOutput out = { .logits = logits };
  GError *error = NULL;
  g_autoptr (VigEngine) engine = vig_engine_new_with_kernels (model, injector_open (), "test", VIG_PRECISION_FP32,
      &error);

  g_assert_no_error (error);
  for (guint round = 0; round < 3; round++) {
    guint before = injector.allocations;
    g_assert_true (vig_engine_classify_tensors (engine, input, 40, 64, 64, &out, &error));
    g_assert_true (vig_engine_classify_tensors (engine, input, 3, 48, 80, &out, &error));
    g_assert_true (vig_engine_classify_tensors (engine, input, 1, 64, 64, &out, &error));
    g_assert_true (vig_engine_classify_frames (engine, &frame, 1, 64, &out, &error));
    if (round > 0)
      g_assert_cmpuint (injector.allocations, ==, before);
  }
  gsize bytes = vig_engine_get_workspace_bytes (engine);
  for (guint size = 16; size < 64; size += 4) /* more sizes than are kept: the workspace stays bounded */
    g_assert_true (vig_engine_classify_tensors (engine, input, 1, size, size, &out, &error));
  g_assert_cmpuint (vig_engine_get_workspace_bytes (engine), <, bytes);
}

/* What is expected is made room for at once, if there is memory for it; else for what is asked for. */
static void
test_expect (void)
{
  g_autoptr (VigModel) model = random_model ("tiny_t", 1);
  g_autofree float *input = g_new0 (float, 12 * 3 * 64 * 64);
  g_autofree float *logits = g_new (float, 12 * 10);
  VigOutput out = { .logits = logits };
  GError *error = NULL;
  g_autoptr (VigEngine) engine = vig_engine_new_with_kernels (model, injector_open (), "test", VIG_PRECISION_FP32,
      &error);

  g_assert_no_error (error);
  g_assert_true (vig_engine_classify_tensors (engine, input, 1, 64, 64, &out, &error));
  const gsize one = vig_engine_get_workspace_bytes (engine);
  vig_engine_expect (engine, 8);
  g_assert_true (vig_engine_classify_tensors (engine, input, 1, 64, 64, &out, &error));
  const gsize eight = vig_engine_get_workspace_bytes (engine);
  g_assert_cmpuint (eight, >, one);
  guint before = injector.allocations;
  for (guint n = 1; n <= 8; n++)
    g_assert_true (vig_engine_classify_tensors (engine, input, n, 64, 64, &out, &error));
  vig_engine_expect (engine, 2);
  g_assert_true (vig_engine_classify_tensors (engine, input, 3, 64, 64, &out, &error));
  g_assert_cmpuint (injector.allocations, ==, before);
  g_assert_cmpuint (vig_engine_get_workspace_bytes (engine), ==, eight);

  vig_engine_expect (engine, 16);
  injector.fail_at = injector.allocations + 1;
  g_assert_true (vig_engine_classify_tensors (engine, input, 1, 64, 64, &out, &error));
  g_assert_cmpuint (injector.allocations, >, injector.fail_at);
  g_assert_cmpuint (vig_engine_get_workspace_bytes (engine), ==, one);
  before = injector.allocations;
  g_assert_true (vig_engine_classify_tensors (engine, input, 1, 64, 64, &out, &error)); /* it is not tried each time */
  g_assert_cmpuint (injector.allocations, ==, before);
  g_assert_true (vig_engine_classify_tensors (engine, input, 12, 64, 64, &out, &error));
  g_assert_no_error (error);
}

/* ---- pictures ---- */

#define N_READ 40 /* more than one chunk */

typedef struct {
  guint8 pixels[N_READ][60 * 80 * 3];
  gboolean read[N_READ];
  guint n_read, n_read_first; /* until the first tensor was computed */
} Pictures;

/* Nobody looks at a picture that was read: it may be anything. */
static void
spoil (gpointer data, guint first, guint n)
{
  Pictures *p = data;

  for (guint i = first; i < first + n; i++) {
    g_assert_false (p->read[i]);
    p->read[i] = TRUE;
    memset (p->pixels[i], 255, sizeof p->pixels[i]);
  }
  p->n_read += n;
}

static void
computed (const char *name, const float *data, gsize rows, gsize columns, gpointer user_data)
{
  Pictures *p = user_data;

  if (p->n_read_first == 0)
    p->n_read_first = p->n_read;
}

/* All pictures of a batch are read before any of it is computed, and then not looked at again. */
static void
test_pictures_read (void)
{
  g_autoptr (VigModel) model = random_model ("tiny_t", 1);
  g_autofree Pictures *p = g_new0 (Pictures, 1);
  VigFrame frames[N_READ];
  float want[N_READ * 10], got[N_READ * 10];
  GError *error = NULL;

  for (guint i = 0; i < N_READ; i++) {
    for (guint k = 0; k < sizeof p->pixels[i]; k++)
      p->pixels[i][k] = (guint8) (i * 5 + k * k % 53);
    frames[i] = (VigFrame) { .format = VIG_FORMAT_RGB, .width = 80, .height = 60, .data = { p->pixels[i] },
      .stride = { 240 } };
  }
  g_autoptr (VigEngine) one = vig_engine_new (model, &(VigEngineOptions) { .device = "cpu", .precision = VIG_PRECISION_FP32, .n_threads = 1 }, &error);
  g_assert_no_error (error);
  for (guint i = 0; i < N_READ; i++)
    g_assert_true (vig_engine_classify_frames (one, &frames[i], 1, 64, &(VigOutput) { .logits = want + i * 10 }, NULL));
  g_autoptr (VigEngine) all = vig_engine_new (model, &(VigEngineOptions) { .device = "cpu", .precision = VIG_PRECISION_FP32, .n_threads = 1 }, &error);
  g_assert_no_error (error);
  vig_engine_set_tap (all, computed, p);
  vig_engine_classify_batch (all, &(VigBatch) { .frames = frames, .n = N_READ, .size = 64 }, &(VigOutput) { .logits = got }, spoil, p, &error);
  g_assert_no_error (error);
  g_assert_cmpuint (p->n_read_first, ==, N_READ);
  g_assert_cmpuint (p->n_read, ==, N_READ);
  for (guint i = 0; i < N_READ * 10; i++) /* with a tap, operators are not fused: nearly the same */
    g_assert_cmpfloat_with_epsilon (got[i], want[i], 1e-3f);
  g_assert_cmpfloat (ABS (want[0] - want[10]), >, 1e-2f); /* another picture, another result */
}

static void
test_too_big (void)
{
  g_autoptr (VigModel) model = random_model ("tiny_h", 1);
  g_autoptr (VigEngine) engine = vig_engine_new_with_kernels (model, injector_open (), "test", VIG_PRECISION_FP32, NULL);
  float logits[10], input[1] = { 0 };
  GError *error = NULL;

  injector.fail_at = injector.allocations + 1; /* as if the machine had no such memory; nothing of input is read */
  g_assert_false (vig_engine_classify_tensors (engine, input, 1, 8192, 8192, &(VigOutput) { .logits = logits }, &error));
  check_error (&error, VIG_ERROR_NO_MEMORY, "input 8192x8192: no memory for the ");
}

/* A model outlives its file and its last outside reference; two engines share it. */
static void
test_references (void)
{
  VigModel *model = random_model ("tiny_h", 1);
  g_autoptr (VigEngine) one = ref_engine (model);
  g_autoptr (VigEngine) two = ref_engine (vig_model_ref (model));
  vig_model_unref (model);
  vig_model_unref (model);
  g_assert_cmpstr (vig_model_get_name (vig_engine_get_model (one)), ==, "tiny_h");
  vig_model_unref (NULL);
  vig_engine_free (NULL);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/api/precision", test_precision);
  g_test_add_func ("/api/new-engine", test_new_engine);
  g_test_add_func ("/api/bad-calls", test_bad_calls);
  g_test_add_func ("/api/random", test_random);
  g_test_add_func ("/api/counts", test_counts);
  g_test_add_func ("/api/top-k", test_top_k);
  g_test_add_func ("/api/outputs", test_outputs);
  g_test_add_func ("/api/no-memory", test_no_memory);
  g_test_add_func ("/api/no-memory-alone", test_no_memory_alone);
  g_test_add_func ("/api/windows-begin", test_windows_begin);
  g_test_add_func ("/api/failures", test_failures);
  g_test_add_func ("/api/no-allocations", test_no_allocations);
  g_test_add_func ("/api/pictures-read", test_pictures_read);
  g_test_add_func ("/api/expect", test_expect);
  g_test_add_func ("/api/too-big", test_too_big);
  g_test_add_func ("/api/references", test_references);
  return g_test_run ();
}
