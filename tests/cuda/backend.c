/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* device=cuda as the engine sees it, over the emulated module: opening, every failure of CUDA, and what comes after. */
#include <dlfcn.h>
#include <math.h>
#include <string.h>

#include <backend.h>
#include <engine-private.h>
#include <plan.h>
#include <random.h>
#include <vig/vig.h>

#include "made.h"

enum { SIZE = 32, ITEMS = 7, CLASSES = 10 };

static struct {
  void (*reset) (void);
  int (*live) (void);
  int (*calls) (const char *call);
  bool (*set_order) (const char *order);
} emu;

static const char *const orders[] = { "forward", "reverse", "shuffle:1", "shuffle:2", "shuffle:3" };

static void
find (void *module, const char *name, void *function)
{
  void *symbol = dlsym (module, name);
  g_assert_nonnull (symbol);
  memcpy (function, &symbol, sizeof symbol);
}

/* What the emulated machine is like from now on: "NAME=VALUE NAME=VALUE", the rest as usual. */
static void
machine (const char *settings)
{
  static const char *const names[] = { "VIG_EMU_FAIL", "VIG_EMU_DEVICES", "VIG_EMU_SM", "VIG_EMU_DRIVER" };
  g_auto (GStrv) pairs = g_strsplit (settings, " ", 0);

  for (guint i = 0; i < G_N_ELEMENTS (names); i++)
    g_unsetenv (names[i]);
  for (guint i = 0; pairs[i]; i++) {
    char *value = strchr (pairs[i], '=');
    if (value) {
      *value = 0;
      g_setenv (pairs[i], value + 1, TRUE);
    }
  }
  emu.reset ();
}

static VigEngine *
open_engine (VigModel *model, const char *device, VigPrecision precision, GError **error)
{
  return vig_engine_new (model, &(VigEngineOptions) { .device = device, .precision = precision, .n_threads = 1 }, error);
}

static VigKernels *
open_kernels (void)
{
  VigPrecision precision = VIG_PRECISION_FP32;
  GError *error = NULL;
  const char *name;
  VigKernels *kernels = vig_backend_open ("cuda", 1, &name, &precision, &error);
  g_assert_no_error (error);
  return kernels;
}

/* An engine that computes one item at a time: a batch of several is several in flight. */
static VigEngine *
open_one_by_one (VigModel *model, VigPrecision precision, GError **error)
{
  const char *name;
  VigKernels *kernels = vig_backend_open ("cuda", 1, &name, &precision, error);

  if (!kernels)
    return NULL;
  kernels->chunk = 1;
  return vig_engine_new_with_kernels (model, kernels, name, precision, error);
}

static const float *
input (void)
{
  static float values[ITEMS * 3 * SIZE * SIZE];
  for (guint i = 0; values[0] == 0 && i < G_N_ELEMENTS (values); i++)
    values[G_N_ELEMENTS (values) - 1 - i] = (float) (2 * vig_random_uniform ("backend", 0, i));
  return values;
}

static gboolean
classify (VigEngine *engine, guint first, guint n, float *logits, GError **error)
{
  return vig_engine_classify_tensors (engine, input () + first * 3 * SIZE * SIZE, n, SIZE, SIZE,
      &(VigOutput) { .logits = logits }, error);
}

/* ---- opening ---- */

static void
test_refused (void)
{
  static const struct {
    const char *settings, *device;
    VigPrecision precision;
    VigError code;
    const char *part;
  } cases[] = {
    { "VIG_EMU_FAIL=cudaGetDeviceCount:1", "cuda", VIG_PRECISION_AUTO, VIG_ERROR_DEVICE,
      "device cuda: cudaErrorNoDevice (no CUDA-capable device is detected) while looking for devices" },
    { "VIG_EMU_FAIL=cudaGetDeviceCount:1:cudaErrorInsufficientDriver VIG_EMU_DRIVER=11040", "cuda", VIG_PRECISION_AUTO,
      VIG_ERROR_DEVICE, "expected an NVIDIA driver for CUDA 13.0 or later, found one for CUDA 11.4: cudaErrorInsuff" },
    { "VIG_EMU_FAIL=cudaGetDeviceCount:1:cudaErrorInsufficientDriver VIG_EMU_DRIVER=0", "cuda", VIG_PRECISION_AUTO,
      VIG_ERROR_DEVICE, "device cuda: expected an NVIDIA driver, found none: cudaErrorInsufficientDriver" },
    { "VIG_EMU_DEVICES=2", "cuda:2", VIG_PRECISION_AUTO, VIG_ERROR_DEVICE,
      "device cuda:2: expected a number below 2, found 2" },
    { "", "cuda:99999999999999999999", VIG_PRECISION_AUTO, VIG_ERROR_DEVICE, "expected a number below 1, found 2147483647" },
    { "VIG_EMU_SM=70", "cuda", VIG_PRECISION_AUTO, VIG_ERROR_DEVICE, "expected compute capability 7.5 or later, found 7.0" },
    { "VIG_EMU_SM=75", "cuda", VIG_PRECISION_BF16, VIG_ERROR_ARGUMENT,
      "precision bf16: expected compute capability 8.0 or later, found 7.5 on device cuda" },
    { "VIG_EMU_FAIL=cudaFuncGetAttributes:1 VIG_EMU_SM=87", "cuda", VIG_PRECISION_AUTO, VIG_ERROR_DEVICE,
      "device cuda: cudaErrorNoKernelImageForDevice (no kernel image is available for execution on the device) while "
      "looking for kernels for compute capability 8.7" },
    { "VIG_EMU_FAIL=cudaStreamCreateWithFlags:1:cudaErrorDevicesUnavailable", "cuda", VIG_PRECISION_AUTO,
      VIG_ERROR_DEVICE, "device cuda: cudaErrorDevicesUnavailable (CUDA-capable device(s) is/are busy or unavailable)" },
    { "VIG_EMU_FAIL=cudaGetDriverEntryPointByVersion:1", "cuda", VIG_PRECISION_AUTO, VIG_ERROR_DEVICE,
      "device cuda: cudaErrorInvalidValue (invalid argument) while asking for the context of device 0" },
    { "VIG_EMU_FAIL=cublasLtCreate:1", "cuda", VIG_PRECISION_AUTO, VIG_ERROR_DEVICE,
      "device cuda: CUBLAS_STATUS_ALLOC_FAILED while opening cuBLASLt" },
  };
  g_autoptr (VigModel) model = random_model ("tiny_h", 1);

  for (guint i = 0; i < G_N_ELEMENTS (cases); i++) {
    g_autoptr (GError) error = NULL;
    machine (cases[i].settings);
    g_assert_null (open_engine (model, cases[i].device, cases[i].precision, &error));
    g_test_message ("%s", error->message);
    g_assert_error (error, VIG_ERROR, (int) cases[i].code);
    g_assert_nonnull (strstr (error->message, cases[i].part));
    g_assert_cmpint (emu.live (), ==, 0);
  }
}

static void
test_module (void)
{
  static const struct { const char *path, *part; } cases[] = {
    { "", "device cuda: expected a build with the CUDA backend, found one without; use cpu or auto" },
    { "/nowhere/libvigcuda.so", "device cuda: cannot load its module: /nowhere/libvigcuda.so" },
    { "libm.so.6", "device cuda: expected vig_kernels_cuda_open in the module libm.so.6, found no such function" },
  };
  g_autofree char *module = g_strdup (g_getenv ("VIG_CUDA_MODULE"));
  g_autoptr (VigModel) model = random_model ("tiny_h", 1);

  machine ("");
  for (guint i = 0; i < G_N_ELEMENTS (cases); i++) {
    g_autoptr (GError) error = NULL;
    g_setenv ("VIG_CUDA_MODULE", cases[i].path, TRUE);
    g_assert_null (open_engine (model, "cuda", VIG_PRECISION_AUTO, &error));
    g_assert_error (error, VIG_ERROR, VIG_ERROR_DEVICE);
    g_assert_nonnull (strstr (error->message, cases[i].part));
  }
  g_setenv ("VIG_CUDA_MODULE", module, TRUE);
}

static void
test_chosen (void)
{
  static const struct { const char *settings, *device, *name; VigPrecision precision; const char *log; } cases[] = {
    { "", "cuda", "cuda", VIG_PRECISION_BF16, NULL },
    { "VIG_EMU_SM=75", "cuda:0", "cuda:0", VIG_PRECISION_FP16, NULL },
    { "VIG_EMU_DEVICES=3", "cuda:2", "cuda:2", VIG_PRECISION_BF16, NULL },
    { "", "auto", "cuda", VIG_PRECISION_BF16, "device auto: took cuda" },
    { "VIG_EMU_FAIL=cudaGetDeviceCount:1", "auto", "cpu", VIG_PRECISION_AUTO,
      "device auto: took cpu, for device cuda: cudaErrorNoDevice*" },
  };
  g_autoptr (VigModel) model = random_model ("tiny_h", 1);

  for (guint i = 0; i < G_N_ELEMENTS (cases); i++) {
    GError *error = NULL;
    machine (cases[i].settings);
    if (cases[i].log)
      g_test_expect_message ("vig", G_LOG_LEVEL_INFO, cases[i].log);
    g_autoptr (VigEngine) engine = open_engine (model, cases[i].device, VIG_PRECISION_AUTO, &error);
    g_assert_no_error (error);
    g_test_assert_expected_messages ();
    g_assert_cmpstr (vig_engine_get_device (engine), ==, cases[i].name);
    if (cases[i].precision != VIG_PRECISION_AUTO)
      g_assert_cmpint (vig_engine_get_precision (engine), ==, cases[i].precision);
  }
}

/* ---- running ---- */

/* The same bits alone and at any place of any batch, though the products' library proposes other algorithms for each. */
static void
test_identity (gconstpointer variant)
{
  static const guint batches[] = { 1, 2, 3, ITEMS };
  static const VigPrecision precisions[] = { VIG_PRECISION_FP32, VIG_PRECISION_BF16, VIG_PRECISION_FP16 };
  g_autoptr (VigModel) model = random_model (variant, 1);
  float want[ITEMS * CLASSES], got[ITEMS * CLASSES];

  machine ("");
  for (guint p = 0; p < G_N_ELEMENTS (precisions); p++) {
    GError *error = NULL;
    g_autoptr (VigEngine) engine = open_engine (model, "cuda", precisions[p], &error);
    g_assert_no_error (error);
    for (guint b = 0; b < G_N_ELEMENTS (batches); b++) {
      for (guint first = 0; first < ITEMS; first += batches[b]) {
        guint n = MIN (batches[b], ITEMS - first);
        classify (engine, first, n, got + first * CLASSES, &error);
        g_assert_no_error (error);
      }
      if (b == 0)
        memcpy (want, got, sizeof want);
      g_assert_cmpmem (got, sizeof got, want, sizeof want);
    }
  }
  g_assert_cmpint (emu.live (), ==, 0);
}

/* An engine made, and batches classified: as they come, recorded, and repeated; two in flight. */
static gboolean
one_life (VigModel *model, GError **error)
{
  g_autoptr (VigEngine) engine = open_one_by_one (model, VIG_PRECISION_BF16, error);
  float logits[ITEMS * CLASSES];
  return engine && classify (engine, 0, ITEMS, logits, error);
}

/* The n-th call fails, for the first, the last and some between: one clear error or none at all, and nothing is left. */
static void
test_failing (gconstpointer call)
{
  g_autoptr (VigModel) model = random_model ("tiny_t", 1);
  GError *error = NULL;
  guint failed = 0, total;

  machine ("");
  g_assert_true (one_life (model, &error));
  total = (guint) emu.calls (call);
  g_assert_cmpuint (total, >, 0);
  for (guint n = 1; n <= total; n = n < total ? MIN (n + 1 + n / 8, total) : total + 1) {
    g_autofree char *settings = g_strdup_printf ("VIG_EMU_FAIL=%s:%u", (const char *) call, n);
    machine (settings);
    if (!one_life (model, &error)) {
      g_assert_nonnull (error);
      g_test_message ("%u: %s", n, error->message);
      g_assert_true (strstr (error->message, "cudaError") || strstr (error->message, "CUBLAS_STATUS_")
          || strstr (error->message, "cuBLASLt"));
      g_clear_error (&error);
      failed++;
    }
    g_assert_cmpint (emu.live (), ==, 0);
  }
  g_assert_cmpuint (failed, >, 0);
}

/* A failure that passes: one batch is lost. A device that is lost: all later ones, until the process opens another. */
static void
test_after (void)
{
  g_autoptr (VigModel) model = random_model ("tiny_h", 1);
  float two[2 * CLASSES], want[CLASSES], got[CLASSES];
  GError *error = NULL;

  machine ("");
  g_autoptr (VigEngine) engine = open_engine (model, "cuda", VIG_PRECISION_FP32, &error);
  g_assert_true (classify (engine, 0, 2, two, &error));
  machine ("VIG_EMU_FAIL=launch:5");
  g_assert_false (classify (engine, 0, 1, want, &error));
  g_assert_error (error, VIG_ERROR, VIG_ERROR_FAILED);
  g_assert_nonnull (strstr (error->message, "device cuda: the computation failed: cudaErrorLaunchOutOfResources"));
  g_assert_nonnull (strstr (error->message, "while launching"));
  g_clear_error (&error);
  for (guint i = 0; i < 3; i++) {
    g_assert_true (classify (engine, 0, 1, i ? got : want, &error));
    g_assert_cmpmem (i ? got : want, sizeof got, two, sizeof want);
  }
  machine ("VIG_EMU_FAIL=cudaGraphLaunch:1");
  g_assert_false (classify (engine, 0, 1, got, &error));
  g_assert_nonnull (strstr (error->message, "while enqueueing the recording of a batch"));
  g_clear_error (&error);
  g_assert_true (classify (engine, 0, 1, got, &error));
  g_assert_cmpmem (got, sizeof got, want, sizeof want);

  machine ("VIG_EMU_FAIL=run:9:cudaErrorECCUncorrectable"); /* of what is repeated */
  for (guint i = 0; i < 2; i++) {
    g_assert_false (classify (engine, 0, 1, got, &error));
    g_assert_error (error, VIG_ERROR, VIG_ERROR_FAILED);
    g_assert_nonnull (strstr (error->message, "cudaErrorECCUncorrectable (uncorrectable ECC error encountered) while"));
    g_clear_error (&error);
  }
  machine ("");
  g_assert_true (classify (engine, 0, 1, got, &error));
  g_assert_cmpmem (got, sizeof got, want, sizeof want);
}

/* auto: the CPU takes over from a GPU that fails before its first batch is done; later failures are told. */
static void
test_fall_back (void)
{
  static const char *const failures[] = { "VIG_EMU_FAIL=cudaMalloc:9", "VIG_EMU_FAIL=run:3:cudaErrorLaunchFailure",
    "VIG_EMU_FAIL=launch:2" };
  g_autoptr (VigModel) model = random_model ("tiny_h", 1);
  float want[CLASSES], got[CLASSES];
  GError *error = NULL;
  g_autoptr (VigEngine) cpu = open_engine (model, "cpu", VIG_PRECISION_FP32, &error);

  machine ("");
  g_assert_true (classify (cpu, 0, 1, want, &error));
  for (guint i = 0; i < G_N_ELEMENTS (failures); i++) {
    machine (failures[i]);
    g_test_expect_message ("vig", G_LOG_LEVEL_INFO, "device auto: took cuda");
    g_test_expect_message ("vig", G_LOG_LEVEL_MESSAGE, "device auto: cpu takes over: *cudaError*");
    g_autoptr (VigEngine) engine = open_engine (model, "auto", VIG_PRECISION_FP32, &error);
    g_assert_no_error (error);
    classify (engine, 0, 1, got, &error);
    g_assert_no_error (error);
    g_test_assert_expected_messages ();
    g_assert_cmpstr (vig_engine_get_device (engine), ==, "cpu");
    g_assert_cmpmem (got, sizeof got, want, sizeof want);
    g_assert_cmpint (emu.live (), ==, 0);
  }

  machine ("");
  g_autoptr (VigEngine) engine = open_engine (model, "auto", VIG_PRECISION_FP32, &error);
  g_assert_true (classify (engine, 0, 1, got, &error));
  machine ("VIG_EMU_FAIL=run:2");
  g_assert_false (classify (engine, 0, 1, got, &error));
  g_assert_error (error, VIG_ERROR, VIG_ERROR_FAILED);
  g_assert_cmpstr (vig_engine_get_device (engine), ==, "cuda");
  g_clear_error (&error);
}

/* Nobody looks at a picture that was read: it may be anything. */
static void
spoil (gpointer pixels, guint first, guint n)
{
  memset ((guint8 *) pixels + first * 40 * 40 * 3, 255, n * 40 * 40 * 3);
}

/* Also not the CPU that takes over, which is given the pictures a second time. */
static void
test_pictures_read (void)
{
  static const char *const machines[] = { "", "VIG_EMU_FAIL=launch:6" };
  g_autoptr (VigModel) model = random_model ("tiny_h", 1);
  g_autofree guint8 *pixels = g_malloc (3 * 40 * 40 * 3);
  GError *error = NULL;

  for (guint m = 0; m < G_N_ELEMENTS (machines); m++) {
    float want[3 * CLASSES], got[3 * CLASSES];
    VigFrame frames[3];
    for (guint i = 0; i < 3; i++)
      frames[i] = (VigFrame) { .format = VIG_FORMAT_RGB, .width = 40, .height = 40, .data[0] = pixels + i * 40 * 40 * 3,
        .stride[0] = 40 * 3 };
    for (guint i = 0; i < 3 * 40 * 40 * 3; i++)
      pixels[i] = (guint8) (vig_random_uniform ("pixels", 0, i) * 255);
    machine ("");
    g_autoptr (VigEngine) plain = open_engine (model, m ? "cpu" : "cuda", VIG_PRECISION_FP32, &error);
    g_assert_true (vig_engine_classify_frames (plain, frames, 3, SIZE, &(VigOutput) { .logits = want }, &error));
    machine (machines[m]);
    g_test_expect_message ("vig", G_LOG_LEVEL_INFO, "device auto: took cuda");
    g_autoptr (VigEngine) engine = open_engine (model, "auto", VIG_PRECISION_FP32, &error);
    g_assert_no_error (error);
    g_test_assert_expected_messages ();
    if (m)
      g_test_expect_message ("vig", G_LOG_LEVEL_MESSAGE, "device auto: cpu takes over: *cudaError*");
    else /* no longer on trial */
      g_assert_true (vig_engine_classify_frames (engine, frames, 1, SIZE, &(VigOutput) { .logits = got }, &error));
    g_assert_true (vig_engine_classify_batch (engine, &(VigBatch) { .frames = frames, .n = 3, .size = SIZE },
        &(VigOutput) { .logits = got }, spoil, pixels, &error));
    g_test_assert_expected_messages ();
    g_assert_cmpmem (got, sizeof got, want, sizeof want);
    g_assert_true (pixels[0] == 255 && pixels[1] == 255 && pixels[3 * 40 * 40 * 3 - 1] == 255);
  }
}

/* ---- batches in flight ---- */

/* What a batch does to the host when it is met again and again. */
typedef struct {
  int launches, replays, allocations, waits;
} Cost;

static Cost
cost (void)
{
  return (Cost) { emu.calls ("launch") + emu.calls ("cublasLtMatmul"), emu.calls ("cudaGraphLaunch"),
    emu.calls ("cudaMalloc") + emu.calls ("cudaMallocHost") + emu.calls ("cudaEventCreateWithFlags")
        + emu.calls ("cudaGraphInstantiate"),
    emu.calls ("cudaStreamSynchronize") + emu.calls ("cudaEventSynchronize") };
}

/* Met once, recorded, repeated: the same bits, and of the third time on one call for all of the forward pass, and one wait: for
 * the result. */
static void
test_replay (gconstpointer variant)
{
  g_autoptr (VigModel) model = random_model (variant, 1);
  GError *error = NULL;
  float want[4 * CLASSES], other[4 * CLASSES], got[4 * CLASSES];

  machine ("");
  g_autoptr (VigEngine) fresh = open_engine (model, "cuda", VIG_PRECISION_BF16, &error);
  g_autoptr (VigEngine) engine = open_engine (model, "cuda", VIG_PRECISION_BF16, &error);
  g_assert_true (classify (fresh, 3, 4, other, &error));
  for (guint i = 0; i < 5; i++) {
    emu.reset ();
    g_assert_true (classify (engine, i == 3 ? 3 : 0, 4, i ? got : want, &error));
    Cost c = cost ();
    g_test_message ("%u: %d launches, %d replays, %d allocations, %d waits", i, c.launches, c.replays, c.allocations, c.waits);
    g_assert_cmpint (c.replays, ==, i > 0);
    g_assert_cmpint (c.launches > 0, ==, i < 2);
    g_assert_cmpint (c.allocations > 0, ==, i < 2);
    if (i > 1)
      g_assert_cmpint (c.waits, ==, 1);
    if (i)
      g_assert_cmpmem (got, sizeof got, i == 3 ? other : want, sizeof got);
  }
}

/* What a picture of 224 x 224 costs ViG-T: kernels in its recording, the library's products among them. */
static void
test_launches (void)
{
  enum { SIDE = 224, CONVOLUTIONS = 2, BLOCKS = 12 };
  /* im2col, product, norm; norm with convolution, product, gla_mix, product, mlp; positions; norm, mean, product, softmax */
  const int want = 3 * CONVOLUTIONS + 5 * BLOCKS + 1 + 4;
  g_autoptr (VigModel) model = random_model ("vig_t", 1);
  g_autofree float *picture = g_new0 (float, 3 * SIDE * SIDE);
  g_autoptr (GError) error = NULL;
  float logits[1000];
  VigOutput output = { .logits = logits };

  machine ("");
  g_autoptr (VigEngine) engine = open_engine (model, "cuda", VIG_PRECISION_BF16, &error);
  g_assert_true (vig_engine_classify_tensors (engine, picture, 1, SIDE, SIDE, &output, &error));
  machine ("VIG_EMU_FAIL=cudaGraphLaunch:1"); /* it need not run again */
  g_assert_false (vig_engine_classify_tensors (engine, picture, 1, SIDE, SIDE, &output, &error));
  g_test_message ("%d kernels of ours, %d products of the library", emu.calls ("launch"), emu.calls ("cublasLtMatmul"));
  g_assert_cmpint (emu.calls ("launch") + emu.calls ("cublasLtMatmul"), ==, want);
  g_assert_cmpint (want, <=, 80);
  machine ("");
}

/* Memory between operators, without the two inputs and the library's own: 3 KB a token of ViG-T in bf16, however large. */
static void
test_memory (void)
{
  enum { SIDE = 2048, TOKENS = SIDE / 16 * SIDE / 16 };
  /* gla_mix's between its launches: 64 segments of 256 tokens, two directions of 3 heads, a state of 32 x 64 and 32 decays */
  const gsize segments = 64 * 2 * 3 * 32 * 65 * sizeof (float), inputs = VIG_SLOTS * 3 * SIDE * SIDE * sizeof (float);
  g_autoptr (VigModel) model = random_model ("vig_t", 1);
  g_autoptr (GError) error = NULL;

  machine ("");
  VigKernels *kernels = open_kernels ();
  VigPlan *plan = vig_plan_new (model, kernels, VIG_TYPE_BF16, 1, SIDE, SIDE, 1, 0, FALSE, &error);
  g_assert_no_error (error);
  gsize bytes = (plan->workspace_bytes - inputs + segments) / TOKENS;
  g_test_message ("%" G_GSIZE_FORMAT " bytes a token", bytes);
  g_assert_cmpuint (bytes, <=, 3 << 10);
  vig_plan_free (plan);
  kernels->close (kernels);
}

/* Two batches in flight, whichever stream is ahead: the bits of each alone. */
static void
test_overlap (gconstpointer order)
{
  g_autoptr (VigModel) model = random_model ("tiny_h", 1);
  GError *error = NULL;
  float want[ITEMS * CLASSES], got[ITEMS * CLASSES];
  guint8 *pixels = g_malloc (ITEMS * 40 * 40 * 3);
  VigFrame frames[ITEMS];

  machine ("");
  emu.set_order (order);
  for (guint i = 0; i < ITEMS * 40 * 40 * 3; i++)
    pixels[i] = (guint8) (vig_random_uniform ("pixels", 0, i) * 255);
  for (guint i = 0; i < ITEMS; i++)
    frames[i] = (VigFrame) { .format = VIG_FORMAT_RGB, .width = 40, .height = 40, .data[0] = pixels + i * 40 * 40 * 3,
      .stride[0] = 40 * 3 };
  for (guint kind = 0; kind < 2; kind++) {
    g_autoptr (VigEngine) alone = open_engine (model, "cuda", VIG_PRECISION_FP32, &error);
    g_autoptr (VigEngine) engine = open_one_by_one (model, VIG_PRECISION_FP32, &error);
    for (guint i = 0; i < ITEMS; i++)
      g_assert_true (kind ? classify (alone, i, 1, want + i * CLASSES, &error)
          : vig_engine_classify_frames (alone, &frames[i], 1, SIZE, &(VigOutput) { .logits = want + i * CLASSES }, &error));
    g_assert_true (isfinite (want[0]) && want[0] != want[CLASSES]);
    for (guint i = 0; i < 2; i++) {
      memset (got, 0, sizeof got);
      g_assert_true (kind ? classify (engine, 0, ITEMS, got, &error)
          : vig_engine_classify_frames (engine, frames, ITEMS, SIZE, &(VigOutput) { .logits = got }, &error));
      g_assert_cmpmem (got, sizeof got, want, sizeof want);
    }
  }
  g_free (pixels);
  emu.set_order ("forward");
}

/* ---- over time ---- */

static gboolean
classify_stream (VigEngine *engine, const VigMoment *moments, guint n, float *logits, GError **error)
{
  return vig_engine_classify_stream_tensors (engine, input (), moments, n, SIZE, SIZE, &(VigOutput) { .logits = logits },
      error);
}

static VigState *
new_state (VigEngine *engine)
{
  GError *error = NULL;
  VigState *state = vig_state_new (engine, &error);
  g_assert_no_error (error);
  return state;
}

/* Chunks in flight of which each follows the one before: the bits of one frame after the other. */
static void
test_overlap_streams (gconstpointer order)
{
  g_autoptr (VigModel) model = random_model ("tiny_stream", 1);
  GError *error = NULL;
  float want[ITEMS * CLASSES], got[ITEMS * CLASSES];

  machine ("");
  emu.set_order (order);
  g_autoptr (VigEngine) alone = open_engine (model, "cuda", VIG_PRECISION_FP32, &error);
  g_autoptr (VigEngine) engine = open_one_by_one (model, VIG_PRECISION_FP32, &error);
  VigState *one[2] = { new_state (alone), new_state (alone) }, *all[2] = { new_state (engine), new_state (engine) };
  for (gint64 round = 0; round < 2; round++) { /* the second time they have seen something */
    VigMoment moments[ITEMS];
    for (guint i = 0; i < ITEMS; i++) {
      const gint64 time = round * 10000000000 + i * 70000000;
      moments[i] = (VigMoment) { all[i > 3], time };
      g_assert_true (vig_engine_classify_stream_tensors (alone, input () + i * 3 * SIZE * SIZE,
          &(VigMoment) { one[i > 3], time }, 1, SIZE, SIZE, &(VigOutput) { .logits = want + i * CLASSES }, &error));
    }
    g_assert_true (isfinite (want[0]) && want[0] != want[CLASSES]);
    g_assert_true (classify_stream (engine, moments, ITEMS, got, &error));
    g_assert_cmpmem (got, sizeof got, want, sizeof want);
  }
  for (guint i = 0; i < 2; i++) {
    vig_state_free (one[i]);
    vig_state_free (all[i]);
  }
  emu.set_order ("forward");
}

/* Windows in flight, and windows of another length between them. */
static void
test_overlap_windows (gconstpointer order)
{
  enum { WINDOW = 2, N = ITEMS / WINDOW };
  g_autoptr (VigModel) model = random_model ("tiny_joint", 1);
  GError *error = NULL;
  float want[N * CLASSES], got[N * CLASSES], longer[2][CLASSES];

  machine ("");
  emu.set_order (order);
  g_autoptr (VigEngine) alone = open_engine (model, "cuda", VIG_PRECISION_FP32, &error);
  g_autoptr (VigEngine) engine = open_one_by_one (model, VIG_PRECISION_FP32, &error);
  for (guint i = 0; i < N; i++)
    g_assert_true (vig_engine_classify_windows_tensors (alone, input () + i * WINDOW * 3 * SIZE * SIZE, 1, WINDOW, SIZE, SIZE,
        NULL, &(VigOutput) { .logits = want + i * CLASSES }, &error));
  g_assert_true (isfinite (want[0]) && want[0] != want[CLASSES]);
  for (guint i = 0; i < 2; i++) {
    g_assert_true (vig_engine_classify_windows_tensors (engine, input (), N, WINDOW, SIZE, SIZE, NULL,
        &(VigOutput) { .logits = got }, &error));
    g_assert_cmpmem (got, sizeof got, want, sizeof want);
    g_assert_true (vig_engine_classify_windows_tensors (engine, input (), 1, ITEMS, SIZE, SIZE, NULL,
        &(VigOutput) { .logits = longer[i] }, &error));
  }
  g_assert_cmpmem (longer[0], sizeof longer[0], longer[1], sizeof longer[1]);
  emu.set_order ("forward");
}

/* A computation that failed has spoilt the states of its batch: they begin anew, and a third one does not. */
static void
test_failing_streams (void)
{
  g_autoptr (VigModel) model = random_model ("tiny_stream", 1);
  float first[2 * CLASSES], second[2 * CLASSES], got[2 * CLASSES];
  GError *error = NULL;

  machine ("");
  g_autoptr (VigEngine) engine = open_one_by_one (model, VIG_PRECISION_FP32, &error);
  VigState *a = new_state (engine), *b = new_state (engine), *other = new_state (engine);
  g_assert_true (classify_stream (engine, (VigMoment[]) { { a, 0 }, { b, 0 } }, 2, first, &error));
  g_assert_true (classify_stream (engine, &(VigMoment) { other, 0 }, 1, got, &error));
  g_assert_true (classify_stream (engine, (VigMoment[]) { { a, 1000000000 }, { b, 1000000000 } }, 2, second, &error));
  machine ("VIG_EMU_FAIL=run:9");
  g_assert_false (classify_stream (engine, (VigMoment[]) { { a, 2000000000 }, { b, 2000000000 } }, 2, got, &error));
  g_assert_error (error, VIG_ERROR, VIG_ERROR_FAILED);
  g_clear_error (&error);
  machine ("");
  g_assert_true (classify_stream (engine, (VigMoment[]) { { a, 5 }, { b, 5 } }, 2, got, &error));
  g_assert_cmpmem (got, sizeof got, first, sizeof first);
  g_assert_true (classify_stream (engine, &(VigMoment) { other, 1000000000 }, 1, got, &error));
  g_assert_cmpmem (got, sizeof second / 2, second, sizeof second / 2);
  vig_state_free (a);
  vig_state_free (b);
  vig_state_free (other);
}

/* The CPU takes over from a GPU with states in its memory. */
static void
test_fall_back_streams (void)
{
  g_autoptr (VigModel) model = random_model ("tiny_stream", 1);
  float want[2 * CLASSES], got[2 * CLASSES];
  GError *error = NULL;
  g_autoptr (VigEngine) cpu = open_engine (model, "cpu", VIG_PRECISION_FP32, &error);
  VigState *on_cpu = new_state (cpu);

  g_assert_true (classify_stream (cpu, (VigMoment[]) { { on_cpu, 0 }, { on_cpu, 1000000000 } }, 2, want, &error));
  machine ("VIG_EMU_FAIL=run:9:cudaErrorLaunchFailure");
  g_test_expect_message ("vig", G_LOG_LEVEL_INFO, "device auto: took cuda");
  g_test_expect_message ("vig", G_LOG_LEVEL_MESSAGE, "device auto: cpu takes over: *cudaError*");
  g_autoptr (VigEngine) engine = open_engine (model, "auto", VIG_PRECISION_FP32, &error);
  VigState *state = new_state (engine);
  g_assert_true (classify_stream (engine, (VigMoment[]) { { state, 0 }, { state, 1000000000 } }, 2, got, &error));
  g_test_assert_expected_messages ();
  g_assert_cmpstr (vig_engine_get_device (engine), ==, "cpu");
  g_assert_cmpmem (got, sizeof got, want, sizeof want);
  g_assert_cmpint (emu.live (), ==, 0);
  vig_state_free (on_cpu);
  vig_state_free (state);
}

/* And with the last frames of a stream, which are the host's and stay. */
static void
test_fall_back_windows (void)
{
  g_autoptr (VigModel) model = random_model ("tiny_joint", 1);
  static const guint8 pixels[SIZE * SIZE * 3];
  const VigFrame frame = { .format = VIG_FORMAT_RGB, .width = SIZE, .height = SIZE, .data = { pixels }, .stride = { 3 * SIZE } };
  float got[CLASSES];
  VigOutput output = { .logits = got };
  GError *error = NULL;

  machine ("");
  g_test_expect_message ("vig", G_LOG_LEVEL_INFO, "device auto: took cuda");
  g_autoptr (VigEngine) engine = open_engine (model, "auto", VIG_PRECISION_FP32, &error);
  VigState *state = vig_engine_add_state (engine, 2, &error);
  g_test_assert_expected_messages ();
  for (guint i = 0; i < 2; i++) {
    VigSeen seen = { 0 };
    VigBatch batch = { .frames = &frame, .moments = &(VigMoment) { state, i }, .windows = &(guint) { i ? 2 : 0 }, .seen = &seen,
      .n = 1, .size = SIZE };
    if (i == 1) {
      machine ("VIG_EMU_FAIL=run:9:cudaErrorLaunchFailure");
      g_test_expect_message ("vig", G_LOG_LEVEL_MESSAGE, "device auto: cpu takes over: *cudaError*");
    }
    g_assert_true (vig_engine_classify_batch (engine, &batch, &output, NULL, NULL, &error));
    g_assert_cmpuint (seen.n, ==, i + 1);
  }
  g_test_assert_expected_messages ();
  g_assert_cmpstr (vig_engine_get_device (engine), ==, "cpu");
  g_assert_true (isfinite (got[0]));
  vig_state_free (state);
}

/* The second of two is on its way before the first is waited for. */
static void
test_ahead (void)
{
  g_autoptr (VigModel) model = random_model ("tiny_h", 1);
  g_autoptr (GError) error = NULL;
  float got[2 * CLASSES];

  machine ("");
  g_autoptr (VigEngine) engine = open_one_by_one (model, VIG_PRECISION_FP32, &error);
  g_assert_true (classify (engine, 0, 2, got, &error));
  machine ("VIG_EMU_FAIL=cudaEventSynchronize:1");
  g_assert_false (classify (engine, 0, 2, got, &error));
  g_assert_nonnull (strstr (error->message, "while waiting for a batch"));
  g_assert_cmpint (emu.calls ("cudaStreamWaitEvent"), ==, 2); /* one for each that was enqueued */
}

/* Sizes come and go: the plans that are dropped take their recordings along. */
static void
test_evict (void)
{
  static const guint sizes[] = { 32, 48, 64, 40, 56, 72 };
  g_autoptr (VigModel) model = random_model ("tiny_t", 1);
  GError *error = NULL;
  float want[G_N_ELEMENTS (sizes)][CLASSES], got[CLASSES];
  g_autofree float *values = g_new (float, 3 * 72 * 72);
  int live = 0;

  machine ("");
  for (guint i = 0; i < 3 * 72 * 72; i++)
    values[i] = (float) vig_random_uniform ("sizes", 0, i);
  g_autoptr (VigEngine) engine = open_engine (model, "cuda", VIG_PRECISION_FP32, &error);
  for (guint turn = 0; turn < 3; turn++) {
    for (guint i = 0; i < G_N_ELEMENTS (sizes); i++)
      for (guint k = 0; k < 3; k++) {
        g_assert_true (vig_engine_classify_tensors (engine, values, 1, sizes[i], sizes[i], &(VigOutput) { .logits = got },
            &error));
        if (turn + k == 0)
          memcpy (want[i], got, sizeof got);
        g_assert_cmpmem (got, sizeof got, want[i], sizeof got);
      }
    if (turn > 0)
      g_assert_cmpint (emu.live (), ==, live);
    live = emu.live ();
  }
  g_assert_cmpint (emu.calls ("cudaGraphLaunch"), ==, 3 * 2 * G_N_ELEMENTS (sizes));
  g_clear_pointer (&engine, vig_engine_free);
  g_assert_cmpint (emu.live (), ==, 0);
}

/* What cannot be recorded is computed call by call, once told. */
static void
test_refused_recording (void)
{
  static const struct { const char *fail; int earlier; } cases[] = { /* calls before the recording: of the first batch */
    { "cudaStreamBeginCapture", 0 }, { "cudaStreamEndCapture", 0 }, { "cudaGraphInstantiate", 0 }, { "launch", 1 },
    { "cublasLtMatmul", 1 },
  };
  g_autoptr (VigModel) model = random_model ("tiny_h", 1);
  float want[CLASSES], got[CLASSES];

  for (guint i = 0; i < G_N_ELEMENTS (cases); i++) {
    GError *error = NULL;
    machine ("");
    g_autoptr (VigEngine) engine = open_engine (model, "cuda", VIG_PRECISION_FP32, &error);
    g_assert_true (classify (engine, 0, 1, want, &error));
    g_autofree char *settings = g_strdup_printf ("VIG_EMU_FAIL=%s:%d", cases[i].fail, 1 + 3 * cases[i].earlier);
    machine (settings);
    g_test_expect_message ("vig", G_LOG_LEVEL_DEBUG, "device cuda: input 32x32 goes on without recordings: *");
    for (guint k = 0; k < 3; k++) {
      classify (engine, 0, 1, got, &error);
      g_assert_no_error (error);
      g_assert_cmpmem (got, sizeof got, want, sizeof got);
    }
    g_test_assert_expected_messages ();
    g_assert_cmpint (emu.calls ("cudaGraphLaunch"), ==, 0);
    g_clear_pointer (&engine, vig_engine_free);
    g_assert_cmpint (emu.live (), ==, 0);
  }
}

/* ---- the pipe itself ---- */

/* One operator on n items: gated linear attention, which needs memory between its launches, the more, the more items; or, cheap,
 * softmax. */
enum { LENGTH = 260, DK = 16, DV = 32, ROW = 2 * DK + DV, MOST = 20 };

typedef struct {
  VigKernels *k;
  VigPipe *pipe;
  float *x, *y; /* [MOST + 1, LENGTH, ROW], [MOST, LENGTH, DV] */
  gboolean cheap;
  int n;
  gsize offset; /* in x: must be the same whenever n is */
} Piped;

static void
piped_work (void *data)
{
  const Piped *p = data;
  const float *x = p->x + p->offset;

  if (p->cheap)
    p->k->softmax (p->k->ctx, &(VigSoftmax) { .rows = p->n, .c = LENGTH * DV, .x = x, .y = p->y });
  else
    p->k->gla_bidir (p->k->ctx, &(VigGlaBidir) { .batch = p->n, .tokens = LENGTH, .heads = 1, .dk = DK, .dv = DV, .q = x,
        .k = x + DK, .v = x + 2 * DK, .row = ROW, .gk_fw = x, .gk_bw = x, .gk_row = ROW, .o = p->y, .scale = 1 });
}

/* Runs and waits; -> the last number of the first item's result, and of the last's. */
static void
piped_run (Piped *p, int slot, int n, float got[2])
{
  const gsize item = LENGTH * DV;
  void *host;

  p->n = n;
  p->k->pipe_fill (p->k->ctx, p->pipe);
  g_assert_null (p->k->pipe_run (p->k->ctx, p->pipe, &(VigPipeRun) { .slot = slot, .n = n, .work = piped_work, .data = p,
      .results = p->y, .size = (gsize) n * item * sizeof (float) }));
  g_assert_null (p->k->pipe_wait (p->k->ctx, p->pipe, slot, &host));
  got[0] = ((float *) host)[item - 1];
  got[1] = ((float *) host)[(gsize) n * item - 1];
}

static Piped
piped_new (gboolean cheap)
{
  const gsize numbers = (MOST + 1) * LENGTH * ROW;
  g_autofree float *host = g_new (float, numbers);
  Piped p = { .k = open_kernels (), .cheap = cheap };

  for (gsize i = 0; i < numbers; i++)
    host[i] = (float) -vig_random_uniform ("piped", 0, i) / 64; /* decays among them */
  p.x = p.k->alloc (p.k->ctx, numbers * sizeof (float));
  p.y = p.k->alloc (p.k->ctx, MOST * LENGTH * DV * sizeof (float));
  p.k->upload (p.k->ctx, p.x, host, numbers * sizeof (float));
  p.pipe = p.k->pipe_create (p.k->ctx, MOST * LENGTH * DV * sizeof (float));
  g_assert_nonnull (p.pipe);
  return p;
}

static void
piped_free (Piped *p)
{
  p->k->pipe_destroy (p->k->ctx, p->pipe);
  p->k->free (p->k->ctx, p->x);
  p->k->free (p->k->ctx, p->y);
  p->k->close (p->k);
  g_assert_cmpint (emu.live (), ==, 0);
}

/* What fills a slot need not wait for the batch before: where other streams go first, it is done with that batch. */
static void
test_beside (void)
{
  int runs[2];
  void *host;
  float result[2];

  machine ("");
  Piped p = piped_new (TRUE);
  for (int ahead = 0; ahead < 2; ahead++) {
    emu.set_order (ahead ? "reverse" : "forward");
    piped_run (&p, 0, 1, result);
    emu.reset ();
    p.k->pipe_run (p.k->ctx, p.pipe, &(VigPipeRun) { .slot = 0, .n = 2, .work = piped_work, .data = &p, .results = p.y,
        .size = sizeof result });
    p.k->pipe_fill (p.k->ctx, p.pipe);
    p.k->upload (p.k->ctx, p.x + LENGTH * ROW, result, sizeof result);
    g_assert_null (p.k->pipe_wait (p.k->ctx, p.pipe, 0, &host));
    runs[ahead] = emu.calls ("run");
    g_assert_null (p.k->finish (p.k->ctx));
  }
  g_assert_cmpint (runs[1], ==, runs[0] + 1);
  emu.set_order ("forward");
  piped_free (&p);
}

/* Each batch goes through both pinned buffers: what the next one writes there must wait for the copies of the batch that is
 * still in flight, though an earlier one was waited for. */
static void
test_staged (void)
{
  enum { NUMBERS = LENGTH * DV, BATCHES = 4 };
  float want[BATCHES][2], values[2] = { 0 };
  void *host;

  machine ("");
  Piped p = piped_new (TRUE);
  p.n = 1;
  for (int together = 0; together < 2; together++)
    for (int i = 0; i < BATCHES + together; i++) {
      p.offset = (gsize) (i % VIG_SLOTS) * LENGTH * ROW;
      if (together && i >= VIG_SLOTS) {
        g_assert_null (p.k->pipe_wait (p.k->ctx, p.pipe, i % VIG_SLOTS, &host));
        g_assert_cmpfloat (((float *) host)[0], ==, want[i - VIG_SLOTS][0]);
        g_assert_cmpfloat (((float *) host)[NUMBERS - 1], ==, want[i - VIG_SLOTS][1]);
      }
      p.k->pipe_fill (p.k->ctx, p.pipe);
      values[0] = (float) i, values[1] = (float) (5 - i);
      p.k->upload (p.k->ctx, p.x + p.offset, &values[0], sizeof (float));
      p.k->upload (p.k->ctx, p.x + p.offset + NUMBERS - 1, &values[1], sizeof (float));
      g_assert_null (p.k->pipe_run (p.k->ctx, p.pipe, &(VigPipeRun) { .slot = i % VIG_SLOTS, .n = 1, .work = piped_work,
          .data = &p, .results = p.y, .size = NUMBERS * sizeof (float) }));
      if (together)
        continue;
      g_assert_null (p.k->pipe_wait (p.k->ctx, p.pipe, i % VIG_SLOTS, &host));
      want[i][0] = ((float *) host)[0];
      want[i][1] = ((float *) host)[NUMBERS - 1];
    }
  g_assert_cmpfloat (want[0][0], !=, want[2][0]);
  g_assert_null (p.k->finish (p.k->ctx));
  piped_free (&p);
}

/* More sizes than a pipe keeps: recordings go, and are made again. */
static void
test_many_sizes (void)
{
  float want[MOST][2], got[2];
  int most = 0;

  machine ("");
  Piped p = piped_new (TRUE);
  int before = emu.live ();
  for (int turn = 0; turn < 3; turn++)
    for (int n = 1; n <= MOST; n++)
      for (int k = 0; k < 4; k++) {
        piped_run (&p, k % VIG_SLOTS, n, got);
        if (turn + k == 0)
          memcpy (want[n - 1], got, sizeof got);
        g_assert_cmpmem (got, sizeof got, want[n - 1], sizeof got);
        most = MAX (most, emu.live () - before);
      }
  g_assert_cmpint (most, ==, 16 * VIG_SLOTS);
  g_assert_cmpint (emu.calls ("launch"), ==, 3 * MOST * (1 + VIG_SLOTS));
  g_assert_cmpint (emu.calls ("cudaGraphLaunch"), ==, 3 * MOST * 3);
  piped_free (&p);
}

/* A larger size moves the memory that a smaller one's recording has the address of. */
static void
test_moved (void)
{
  static const int sizes[] = { 1, 1, 1, 3, 1, 3, 3, 1 };
  float want[2], got[2];
  size_t one = 0;

  machine ("");
  Piped p = piped_new (FALSE);
  for (guint i = 0; i < G_N_ELEMENTS (sizes); i++) {
    piped_run (&p, 0, sizes[i], i ? got : want);
    g_assert_cmpfloat (i ? got[0] : want[0], ==, want[0]);
    one = i ? one : p.k->pipe_bytes (p.k->ctx, p.pipe);
  }
  g_assert_cmpuint (one, >, 0);
  g_assert_cmpuint (p.k->pipe_bytes (p.k->ctx, p.pipe), ==, 3 * one);
  g_assert_cmpint (emu.calls ("cudaGraphInstantiate"), ==, 3);
  piped_free (&p);
}

/* A planted fault: an argument changes though slot and n are the same. What was recorded has the old one, and shows it. */
static void
test_stale (void)
{
  float want[2], other[2], got[2];

  machine ("");
  Piped p = piped_new (FALSE);
  p.offset = LENGTH * ROW;
  piped_run (&p, 0, 2, other);
  p.offset = 0;
  for (int k = 0; k < 2; k++)
    piped_run (&p, 1, 1, want);
  g_assert_cmpfloat (want[0], !=, other[0]);
  p.offset = LENGTH * ROW;
  piped_run (&p, 1, 1, got);
  g_assert_cmpfloat (got[0], ==, want[0]); /* and not other[0] */
  piped_free (&p);
}

int
main (int argc, char **argv)
{
  static const char *const calls[] = { "cudaSetDevice", "cudaMalloc", "cudaMallocHost", "cudaMemcpyAsync", "cudaMemsetAsync",
    "cudaStreamCreateWithFlags", "cudaStreamSynchronize", "cudaEventCreateWithFlags", "cudaEventRecord",
    "cudaEventSynchronize", "cudaStreamWaitEvent", "cudaGraphLaunch", "launch", "run", "cublasLtCreate", "cublasLtMatrixLayoutCreate", "cublasLtMatmulDescCreate",
    "cublasLtMatmulPreferenceCreate", "cublasLtMatmulAlgoGetHeuristic", "cublasLtMatmul" };
  static const char *const variants[] = { "tiny_t", "tiny_s", "tiny_h" };
  void *module = dlopen (g_getenv ("VIG_CUDA_MODULE"), RTLD_NOW | RTLD_LOCAL);

  g_test_init (&argc, &argv, NULL);
  if (!module)
    g_error ("VIG_CUDA_MODULE: %s", dlerror ());
  find (module, "vig_emu_reset", &emu.reset);
  find (module, "vig_emu_live", &emu.live);
  find (module, "vig_emu_calls", &emu.calls);
  find (module, "vig_emu_set_order", &emu.set_order);
  g_test_add_func ("/open/refused", test_refused);
  g_test_add_func ("/open/module", test_module);
  g_test_add_func ("/open/chosen", test_chosen);
  for (guint i = 0; i < G_N_ELEMENTS (variants); i++) {
    g_autofree char *path = g_strconcat ("/run/identity/", variants[i], NULL);
    g_test_add_data_func (path, variants[i], test_identity);
  }
  for (guint i = 0; i < G_N_ELEMENTS (calls); i++) {
    g_autofree char *path = g_strconcat ("/run/failing/", calls[i], NULL);
    g_test_add_data_func (path, calls[i], test_failing);
  }
  g_test_add_func ("/run/after", test_after);
  g_test_add_func ("/run/fall-back", test_fall_back);
  g_test_add_func ("/run/pictures-read", test_pictures_read);
  for (guint i = 0; i < G_N_ELEMENTS (variants); i++) {
    g_autofree char *path = g_strconcat ("/pipe/replay/", variants[i], NULL);
    g_test_add_data_func (path, variants[i], test_replay);
  }
  for (guint i = 0; i < G_N_ELEMENTS (orders); i++) {
    g_autofree char *path = g_strconcat ("/pipe/overlap/", orders[i], NULL);
    g_test_add_data_func (path, orders[i], test_overlap);
  }
  for (guint i = 0; i < G_N_ELEMENTS (orders); i++) {
    g_autofree char *streams = g_strconcat ("/pipe/overlap-streams/", orders[i], NULL);
    g_autofree char *windows = g_strconcat ("/pipe/overlap-windows/", orders[i], NULL);
    g_test_add_data_func (streams, orders[i], test_overlap_streams);
    g_test_add_data_func (windows, orders[i], test_overlap_windows);
  }
  g_test_add_func ("/run/failing-streams", test_failing_streams);
  g_test_add_func ("/run/fall-back-streams", test_fall_back_streams);
  g_test_add_func ("/run/fall-back-windows", test_fall_back_windows);
  g_test_add_func ("/pipe/launches", test_launches);
  g_test_add_func ("/pipe/memory", test_memory);
  g_test_add_func ("/pipe/ahead", test_ahead);
  g_test_add_func ("/pipe/beside", test_beside);
  g_test_add_func ("/pipe/staged", test_staged);
  g_test_add_func ("/pipe/evict", test_evict);
  g_test_add_func ("/pipe/refused", test_refused_recording);
  g_test_add_func ("/pipe/many-sizes", test_many_sizes);
  g_test_add_func ("/pipe/moved", test_moved);
  g_test_add_func ("/pipe/stale", test_stale);
  return g_test_run ();
}
