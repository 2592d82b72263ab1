/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* device=cuda as the engine sees it, over the emulated module: opening, every failure of CUDA, and what comes after. */
#include <dlfcn.h>
#include <string.h>

#include <random.h>
#include <vig/vig.h>

enum { SIZE = 32, ITEMS = 7, CLASSES = 10 };

static struct {
  void (*reset) (void);
  int (*live) (void);
  int (*calls) (const char *call);
} emu;

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

static VigModel *
random_model (const char *variant)
{
  GError *error = NULL;
  VigModel *model = vig_model_new_random (variant, 1, NULL, &error);
  g_assert_no_error (error);
  return model;
}

static VigEngine *
open_engine (VigModel *model, const char *device, VigPrecision precision, GError **error)
{
  return vig_engine_new (model, &(VigEngineOptions) { .device = device, .precision = precision, .n_threads = 1 }, error);
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
    { "VIG_EMU_FAIL=cublasLtCreate:1", "cuda", VIG_PRECISION_AUTO, VIG_ERROR_DEVICE,
      "device cuda: CUBLAS_STATUS_ALLOC_FAILED while opening cuBLASLt" },
  };
  g_autoptr (VigModel) model = random_model ("tiny_h");

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
  g_autoptr (VigModel) model = random_model ("tiny_h");

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
  g_autoptr (VigModel) model = random_model ("tiny_h");

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
  g_autoptr (VigModel) model = random_model (variant);
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

/* An engine made and one batch classified. */
static gboolean
one_life (VigModel *model, GError **error)
{
  g_autoptr (VigEngine) engine = open_engine (model, "cuda", VIG_PRECISION_BF16, error);
  float logits[2 * CLASSES];
  return engine && classify (engine, 0, 2, logits, error);
}

/* The n-th call fails, for the first, the last and some between: one clear error or none at all, and nothing is left. */
static void
test_failing (gconstpointer call)
{
  g_autoptr (VigModel) model = random_model ("tiny_t");
  GError *error = NULL;
  guint failed = 0, total;

  machine ("");
  g_assert_true (one_life (model, &error));
  total = (guint) emu.calls (call);
  g_assert_cmpuint (total, >, 0);
  for (guint n = 1; n <= total; n = n < total ? MIN (n + 1 + n / 3, total) : total + 1) {
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
  g_autoptr (VigModel) model = random_model ("tiny_h");
  float want[CLASSES], got[CLASSES];
  GError *error = NULL;

  machine ("");
  g_autoptr (VigEngine) engine = open_engine (model, "cuda", VIG_PRECISION_FP32, &error);
  g_assert_true (classify (engine, 0, 1, want, &error));
  machine ("VIG_EMU_FAIL=launch:5");
  g_assert_false (classify (engine, 0, 1, got, &error));
  g_assert_error (error, VIG_ERROR, VIG_ERROR_FAILED);
  g_assert_nonnull (strstr (error->message, "device cuda: the computation failed: cudaErrorLaunchOutOfResources"));
  g_assert_nonnull (strstr (error->message, "while launching"));
  g_clear_error (&error);
  g_assert_true (classify (engine, 0, 1, got, &error));
  g_assert_cmpmem (got, sizeof got, want, sizeof want);

  machine ("VIG_EMU_FAIL=run:9:cudaErrorECCUncorrectable");
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
  g_autoptr (VigModel) model = random_model ("tiny_h");
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
  machine ("VIG_EMU_FAIL=launch:2");
  g_assert_false (classify (engine, 0, 1, got, &error));
  g_assert_error (error, VIG_ERROR, VIG_ERROR_FAILED);
  g_assert_cmpstr (vig_engine_get_device (engine), ==, "cuda");
  g_clear_error (&error);
}

int
main (int argc, char **argv)
{
  static const char *const calls[] = { "cudaSetDevice", "cudaMalloc", "cudaMallocHost", "cudaMemcpyAsync", "cudaMemsetAsync",
    "cudaStreamCreateWithFlags", "cudaStreamSynchronize", "cudaEventCreateWithFlags", "cudaEventRecord",
    "cudaEventSynchronize", "launch", "run", "cublasLtCreate", "cublasLtMatrixLayoutCreate", "cublasLtMatmulDescCreate",
    "cublasLtMatmulPreferenceCreate", "cublasLtMatmulAlgoGetHeuristic", "cublasLtMatmul" };
  static const char *const variants[] = { "tiny_t", "tiny_s", "tiny_h" };
  void *module = dlopen (g_getenv ("VIG_CUDA_MODULE"), RTLD_NOW | RTLD_LOCAL);

  g_test_init (&argc, &argv, NULL);
  if (!module)
    g_error ("VIG_CUDA_MODULE: %s", dlerror ());
  find (module, "vig_emu_reset", &emu.reset);
  find (module, "vig_emu_live", &emu.live);
  find (module, "vig_emu_calls", &emu.calls);
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
  return g_test_run ();
}
