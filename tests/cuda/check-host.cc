/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The emulator's host half: what its runtime and cuBLASLt do, and that faults planted in their use are found. */
#include <glib.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include <vector>

#include "cublasLt.h"

#define OK(call) g_assert_cmpint ((int) (call), ==, 0)

static cudaStream_t stream;

static void *
device (const void *host, size_t size)
{
  void *memory;
  OK (cudaMalloc (&memory, size));
  if (host)
    OK (cudaMemcpyAsync (memory, host, size, cudaMemcpyHostToDevice, stream));
  return memory;
}

/* ---- streams: planted races ------------------------------------------------------------------------------------ */

/* Pinned memory changes before the copy from it has run: the copy has the new bytes. */
static void
test_early_reuse (void)
{
  int *pinned, got = 0;
  OK (cudaMallocHost ((void **) &pinned, sizeof *pinned));
  *pinned = 1;
  void *memory = device (NULL, sizeof *pinned);
  OK (cudaMemcpyAsync (memory, pinned, sizeof *pinned, cudaMemcpyHostToDevice, stream));
  *pinned = 2; /* the fault: nobody waited */
  OK (cudaMemcpyAsync (&got, memory, sizeof got, cudaMemcpyDeviceToHost, stream));
  g_assert_cmpint (got, ==, 2);

  OK (cudaMemcpyAsync (memory, pinned, sizeof *pinned, cudaMemcpyHostToDevice, stream));
  OK (cudaStreamSynchronize (stream));
  *pinned = 3;
  OK (cudaMemcpyAsync (&got, memory, sizeof got, cudaMemcpyDeviceToHost, stream));
  g_assert_cmpint (got, ==, 2);
  OK (cudaFree (memory));
  OK (cudaFreeHost (pinned));
}

/* One stream reads what another writes. Without an event in between it finds what was there before: NaNs. */
static void
test_no_event (gconstpointer with_event)
{
  const float one = 1;
  float *pinned, got;
  cudaStream_t other;
  cudaEvent_t written;
  OK (cudaMallocHost ((void **) &pinned, sizeof *pinned));
  OK (cudaStreamCreateWithFlags (&other, cudaStreamNonBlocking));
  OK (cudaEventCreateWithFlags (&written, cudaEventDisableTiming));
  *pinned = one;
  void *memory = device (NULL, sizeof one);
  OK (cudaMemcpyAsync (memory, pinned, sizeof one, cudaMemcpyHostToDevice, stream));
  OK (cudaEventRecord (written, stream));
  if (with_event)
    OK (cudaStreamWaitEvent (other, written));
  OK (cudaMemcpyAsync (&got, memory, sizeof got, cudaMemcpyDeviceToHost, other));
  if (with_event)
    g_assert_cmpfloat (got, ==, one);
  else
    g_assert_true (isnan (got));
  OK (cudaStreamDestroy (other));
  OK (cudaEventDestroy (written));
  OK (cudaFree (memory));
  OK (cudaFreeHost (pinned));
}

/* ---- copies: planted overruns ------------------------------------------------------------------------------------ */

static void
test_copies_refused (void)
{
  char host[64] = { 0 };
  char *memory = (char *) device (NULL, 32);
  const struct { void *to; const void *from; size_t size; cudaMemcpyKind kind; } bad[] = {
    { memory, host, 33, cudaMemcpyHostToDevice }, { memory + 1, host, 32, cudaMemcpyHostToDevice },
    { memory - 1, host, 8, cudaMemcpyHostToDevice }, { host, memory, 33, cudaMemcpyDeviceToHost },
    { host, memory + 32, 1, cudaMemcpyDeviceToHost }, { host, memory, 8, cudaMemcpyHostToDevice },
    { memory, host, 8, cudaMemcpyDeviceToHost }, { memory, host, 8, cudaMemcpyDeviceToDevice },
  };
  for (const auto &b : bad)
    g_assert_cmpint (cudaMemcpyAsync (b.to, b.from, b.size, b.kind, stream), ==, cudaErrorInvalidValue);
  g_assert_cmpint (cudaMemsetAsync (memory, 0, 33, stream), ==, cudaErrorInvalidValue);
  g_assert_cmpint (cudaFree (memory + 1), ==, cudaErrorInvalidValue);
  OK (cudaFree (memory));
  g_assert_cmpint (cudaFree (memory), ==, cudaErrorInvalidValue);
  cudaGetLastError ();
}

/* ---- cuBLASLt: planted layouts ------------------------------------------------------------------------------------ */

/* d [n, m] = a [n, k] * w [m, k]^T + bias [m], all row by row: column by column, D [m, n] = W^T [m, k] * A [k, n]. */
enum { M = 4, N = 8, K = 12 };

typedef enum {
  RIGHT, W_NOT_TRANSPOSED, A_TRANSPOSED, W_LEADING, A_LEADING, A_LEADING_SHORT, D_LEADING, W_BY_ROWS, A_TYPE, MISALIGNED,
  ROWS, BIAS_LATE, FAULTS
} Fault;

static const struct { const char *name; bool refused; } faults[FAULTS] = {
  { "none", false }, { "w-not-transposed", true }, { "a-transposed", true }, { "w-leading", false }, { "a-leading", false },
  { "a-leading-short", true }, { "d-leading", false }, { "w-by-rows", false }, { "a-type", true }, { "misaligned", true },
  { "rows", true }, { "bias-late", false },
};

/* Whether the product has come out right; *status: what cuBLASLt said. Small whole numbers: every sum is exact. */
static bool
multiplies (Fault fault, cublasStatus_t *status)
{
  const int32_t transposed = CUBLAS_OP_T, by_rows = CUBLASLT_ORDER_ROW;
  const uint32_t with_bias = CUBLASLT_EPILOGUE_BIAS;
  const float one = 1, zero = 0;
  std::vector<float> a (2 * N * K), w (2 * K * K), bias (M), got (2 * N * M);
  cublasLtHandle_t handle;
  cublasLtMatmulDesc_t desc;
  cublasLtMatrixLayout_t lw, la, ld;

  for (size_t i = 0; i < a.size (); i++)
    a[i] = (float) ((int) i * 7 % 23 - 11);
  for (size_t i = 0; i < w.size (); i++)
    w[i] = (float) ((int) i * 5 % 19 - 9);
  for (int i = 0; i < M; i++)
    bias[i] = (float) (100 * i);
  OK (cublasLtCreate (&handle));
  OK (cublasLtMatmulDescCreate (&desc, CUBLAS_COMPUTE_32F, CUDA_R_32F));
  if (fault != W_NOT_TRANSPOSED)
    OK (cublasLtMatmulDescSetAttribute (desc, CUBLASLT_MATMUL_DESC_TRANSA, &transposed, sizeof transposed));
  if (fault == A_TRANSPOSED)
    OK (cublasLtMatmulDescSetAttribute (desc, CUBLASLT_MATMUL_DESC_TRANSB, &transposed, sizeof transposed));
  OK (cublasLtMatrixLayoutCreate (&lw, CUDA_R_32F, K, M, fault == W_LEADING ? K + 1 : K));
  OK (cublasLtMatrixLayoutCreate (&la, fault == A_TYPE ? CUDA_R_16BF : CUDA_R_32F, K, N,
      fault == A_LEADING ? 2 * K : fault == A_LEADING_SHORT ? K - 1 : K));
  OK (cublasLtMatrixLayoutCreate (&ld, CUDA_R_32F, M, fault == ROWS ? N - 1 : N, fault == D_LEADING ? 2 * M : M));
  if (fault == W_BY_ROWS)
    OK (cublasLtMatrixLayoutSetAttribute (lw, CUBLASLT_MATRIX_LAYOUT_ORDER, &by_rows, sizeof by_rows));

  float *db = (float *) device (fault == BIAS_LATE ? NULL : bias.data (), M * sizeof (float));
  OK (cublasLtMatmulDescSetAttribute (desc, CUBLASLT_MATMUL_DESC_EPILOGUE, &with_bias, sizeof with_bias));
  OK (cublasLtMatmulDescSetAttribute (desc, CUBLASLT_MATMUL_DESC_BIAS_POINTER, &db, sizeof db));
  float *dw = (float *) device (w.data (), w.size () * sizeof (float)), *da = (float *) device (a.data (), a.size () * sizeof (float));
  float *dd = (float *) device (got.data (), got.size () * sizeof (float));
  *status = cublasLtMatmul (handle, desc, &one, dw, lw, fault == MISALIGNED ? da + 1 : da, la, &zero, dd, ld, dd, ld, NULL,
      NULL, 0, stream);
  if (fault == BIAS_LATE)
    OK (cudaMemcpyAsync (db, bias.data (), M * sizeof (float), cudaMemcpyHostToDevice, stream));
  OK (cudaMemcpyAsync (got.data (), dd, got.size () * sizeof (float), cudaMemcpyDeviceToHost, stream));

  bool right = *status == CUBLAS_STATUS_SUCCESS;
  for (int i = 0; i < N; i++)
    for (int j = 0; j < M; j++) {
      float sum = bias[j];
      for (int k = 0; k < K; k++)
        sum += a[i * K + k] * w[j * K + k];
      right = right && got[i * M + j] == sum;
    }
  for (void *memory : { (void *) db, (void *) dw, (void *) da, (void *) dd })
    OK (cudaFree (memory));
  for (cublasLtMatrixLayout_t layout : { lw, la, ld })
    OK (cublasLtMatrixLayoutDestroy (layout));
  OK (cublasLtMatmulDescDestroy (desc));
  OK (cublasLtDestroy (handle));
  return right;
}

static void
test_layout (gconstpointer number)
{
  const Fault fault = (Fault) GPOINTER_TO_INT (number);
  cublasStatus_t status;
  const bool right = multiplies (fault, &status);
  g_assert_cmpint (right, ==, fault == RIGHT);
  g_assert_cmpint (status, ==, faults[fault].refused ? CUBLAS_STATUS_INVALID_VALUE : CUBLAS_STATUS_SUCCESS);
}

/* ---- AddressSanitizer's to find ------------------------------------------------------------------------------------ */

#ifdef __SANITIZE_ADDRESS__
static void
host_reads_device (void)
{
  volatile float *memory = (volatile float *) device (NULL, 64);
  cudaStreamSynchronize (stream);
  if (memory[0] == 0)
    exit (1);
}

/* a [K, 2 N] is said to be of 3 N columns */
static void
product_overruns (void)
{
  cublasLtHandle_t handle;
  cublasLtMatmulDesc_t desc;
  cublasLtMatrixLayout_t lw, la, ld;
  const float one = 1, zero = 0;
  cublasLtCreate (&handle);
  cublasLtMatmulDescCreate (&desc, CUBLAS_COMPUTE_32F, CUDA_R_32F);
  cublasLtMatrixLayoutCreate (&lw, CUDA_R_32F, M, K, M);
  cublasLtMatrixLayoutCreate (&la, CUDA_R_32F, K, 3 * N, K);
  cublasLtMatrixLayoutCreate (&ld, CUDA_R_32F, M, 3 * N, M);
  void *w = device (NULL, M * K * sizeof (float)), *a = device (NULL, 2 * N * K * sizeof (float));
  void *d = device (NULL, 3 * N * M * sizeof (float));
  OK (cublasLtMatmul (handle, desc, &one, w, lw, a, la, &zero, d, ld, d, ld, NULL, NULL, 0, stream));
  cudaStreamSynchronize (stream);
}

static const struct { const char *name; void (*f) (void); const char *message; } ended[] = {
  { "host-reads-device", host_reads_device, "*use-after-poison*READ of size 4*" },
  { "product-overruns", product_overruns, "*heap-buffer-overflow*READ of size 4*" },
};

static void
test_ends (gconstpointer number)
{
  const auto &e = ended[GPOINTER_TO_INT (number)];
  if (g_test_subprocess ()) {
    e.f ();
    exit (0); /* not found */
  }
  g_test_trap_subprocess (nullptr, 0, G_TEST_SUBPROCESS_DEFAULT);
  g_test_trap_assert_failed ();
  g_test_trap_assert_stderr (e.message);
}
#endif

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, nullptr);
  OK (cudaStreamCreateWithFlags (&stream, cudaStreamNonBlocking));
  g_test_add_func ("/cuda/emulator/host/finds/early-reuse", test_early_reuse);
  g_test_add_data_func ("/cuda/emulator/host/finds/no-event", NULL, test_no_event);
  g_test_add_data_func ("/cuda/emulator/host/event", "with", test_no_event);
  g_test_add_func ("/cuda/emulator/host/finds/copies", test_copies_refused);
  for (int fault = RIGHT; fault < FAULTS; fault++) {
    g_autofree char *path = g_strdup_printf ("/cuda/emulator/host/layout/%s", faults[fault].name);
    g_test_add_data_func (path, GINT_TO_POINTER (fault), test_layout);
  }
#ifdef __SANITIZE_ADDRESS__
  for (guint i = 0; i < G_N_ELEMENTS (ended); i++) {
    g_autofree char *path = g_strdup_printf ("/cuda/emulator/host/finds/%s", ended[i].name);
    g_test_add_data_func (path, GINT_TO_POINTER (i), test_ends);
  }
#endif
  int result = g_test_run ();
  cudaStreamDestroy (stream);
  return result;
}
