/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* From the name of a device to its kernels. */
#include "backend.h"

#include <string.h>

#define MAX_THREADS 1024

static gboolean
is_cuda (const char *device)
{
  return g_str_has_prefix (device, "cuda")
      && (device[4] == 0 || (device[4] == ':' && device[5] && strspn (device + 5, "0123456789") == strlen (device + 5)));
}

static const VigPrecision precision_of[] = {
  [VIG_TYPE_F32] = VIG_PRECISION_FP32, [VIG_TYPE_BF16] = VIG_PRECISION_BF16, [VIG_TYPE_F16] = VIG_PRECISION_FP16,
};

VigType
vig_backend_type (VigPrecision precision)
{
  return precision == VIG_PRECISION_BF16 ? VIG_TYPE_BF16 : precision == VIG_PRECISION_FP16 ? VIG_TYPE_F16 : VIG_TYPE_F32;
}

VigKernels *
vig_backend_open (const char *device, guint n_threads, const char **name, VigPrecision *precision, GError **error)
{
  VigKernels *kernels;
  gboolean reference = g_strcmp0 (device, "ref") == 0;

  if ((guint) *precision > VIG_PRECISION_FP16) {
    g_set_error (error, VIG_ERROR, VIG_ERROR_ARGUMENT, "precision: expected auto, fp32, bf16 or fp16, found the value %d",
        (int) *precision);
    return NULL;
  }
  if (n_threads > MAX_THREADS) {
    g_set_error (error, VIG_ERROR, VIG_ERROR_ARGUMENT, "threads: expected at most %d, found %u", MAX_THREADS, n_threads);
    return NULL;
  }
  if (device && is_cuda (device)) {
    g_set_error (error, VIG_ERROR, VIG_ERROR_DEVICE, "device %s: expected a build with the CUDA backend, found one "
        "without; use cpu or auto", device);
    return NULL;
  }
  if (device && !reference && strcmp (device, "auto") != 0 && strcmp (device, "cpu") != 0) {
    g_set_error (error, VIG_ERROR, VIG_ERROR_DEVICE, "device: expected auto, cpu, cuda or cuda:N, found \"%s\"", device);
    return NULL;
  }
  kernels = reference ? vig_kernels_ref_open () : vig_kernels_cpu_open ((int) n_threads, VIG_CPU_ALL);
  if (!kernels) {
    g_set_error (error, VIG_ERROR, VIG_ERROR_NO_MEMORY, "device %s: no memory to open it", device ? device : "auto");
    return NULL;
  }
  *name = reference ? "ref" : "cpu";
  if (*precision == VIG_PRECISION_AUTO)
    *precision = precision_of[kernels->fastest];
  return kernels;
}
