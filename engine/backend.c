/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * From the name of a device to its kernels. Those for CUDA are in a module of their own, so that libvig needs no CUDA
 * library: the one that was built with it, or the file that VIG_CUDA_MODULE names (empty: none).
 */
#include "backend.h"

#include <dlfcn.h>
#include <string.h>

#define MAX_THREADS 1024

typedef VigKernels *(*OpenFunc) (int device, const char **why);

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

static const char *
module_path (void)
{
  const char *path = g_getenv ("VIG_CUDA_MODULE");
#ifdef VIG_CUDA_MODULE
  if (!path)
    path = VIG_CUDA_MODULE;
#endif
  return path && *path ? path : NULL;
}

/* The module's one function. The module stays loaded: what CUDA starts in a process never ends before it. */
static OpenFunc
load_module (const char *device, GError **error)
{
  const char *path = module_path ();
  void *module, *symbol;
  OpenFunc open;

  if (!path) {
    g_set_error (error, VIG_ERROR, VIG_ERROR_DEVICE, "device %s: expected a build with the CUDA backend, found one "
        "without; use cpu or auto", device);
    return NULL;
  }
  if (!(module = dlopen (path, RTLD_NOW | RTLD_LOCAL))) {
    g_set_error (error, VIG_ERROR, VIG_ERROR_DEVICE, "device %s: cannot load its module: %s", device, dlerror ());
    return NULL;
  }
  if (!(symbol = dlsym (module, "vig_kernels_cuda_open"))) {
    g_set_error (error, VIG_ERROR, VIG_ERROR_DEVICE, "device %s: expected vig_kernels_cuda_open in the module %s, found "
        "no such function", device, path);
    dlclose (module);
    return NULL;
  }
  memcpy (&open, &symbol, sizeof open);
  return open;
}

/* @device: "cuda" or "cuda:N" */
static VigKernels *
open_cuda (const char *device, VigPrecision precision, GError **error)
{
  guint64 number = device[4] ? g_ascii_strtoull (device + 5, NULL, 10) : 0;
  OpenFunc open = load_module (device, error);
  const char *why = NULL;
  VigKernels *kernels;

  if (!open)
    return NULL;
  kernels = open ((int) MIN (number, G_MAXINT), &why);
  if (!kernels) {
    g_set_error (error, VIG_ERROR, VIG_ERROR_DEVICE, "device %s: %s", device, why);
    return NULL;
  }
  if (kernels->abi != VIG_KERNELS_ABI) {
    g_set_error (error, VIG_ERROR, VIG_ERROR_DEVICE, "device %s: expected a module with interface %d, found %d in %s",
        device, VIG_KERNELS_ABI, kernels->abi, module_path ());
    return NULL; /* how to close it is not known */
  }
  if (precision == VIG_PRECISION_BF16 && kernels->no_bf16) {
    g_set_error (error, VIG_ERROR, VIG_ERROR_ARGUMENT, "precision bf16: %s on device %s", kernels->no_bf16, device);
    kernels->close (kernels);
    return NULL;
  }
  return kernels;
}

/* The GPU if one works; NULL: the log says why not. */
static VigKernels *
try_cuda (VigPrecision precision)
{
  g_autoptr (GError) error = NULL;
  VigKernels *kernels = open_cuda ("cuda", precision, &error);

  if (kernels)
    g_info ("device auto: took cuda");
  else
    g_info ("device auto: took cpu, for %s", error->message);
  return kernels;
}

static VigKernels *
open_host (const char *device, guint n_threads, GError **error)
{
  VigKernels *kernels = g_str_equal (device, "ref") ? vig_kernels_ref_open ()
      : vig_kernels_cpu_open ((int) n_threads, VIG_CPU_ALL);

  if (!kernels)
    g_set_error (error, VIG_ERROR, VIG_ERROR_NO_MEMORY, "device %s: no memory to open it", device);
  return kernels;
}

gboolean
vig_backend_is_auto (const char *device)
{
  return !device || g_str_equal (device, "auto");
}

VigKernels *
vig_backend_open (const char *device, guint n_threads, const char **name, VigPrecision *precision, GError **error)
{
  VigKernels *kernels = NULL;

  if ((guint) *precision > VIG_PRECISION_FP16) {
    g_set_error (error, VIG_ERROR, VIG_ERROR_ARGUMENT, "precision: expected auto, fp32, bf16 or fp16, found the value %d",
        (int) *precision);
    return NULL;
  }
  if (n_threads > MAX_THREADS) {
    g_set_error (error, VIG_ERROR, VIG_ERROR_ARGUMENT, "threads: expected at most %d, found %u", MAX_THREADS, n_threads);
    return NULL;
  }
  if (vig_backend_is_auto (device)) {
    device = (kernels = try_cuda (*precision)) ? "cuda" : "cpu";
  } else if (is_cuda (device)) {
    if (!(kernels = open_cuda (device, *precision, error)))
      return NULL;
  } else if (!g_str_equal (device, "cpu") && !g_str_equal (device, "ref")) {
    g_set_error (error, VIG_ERROR, VIG_ERROR_DEVICE, "device: expected auto, cpu, cuda or cuda:N, found \"%s\"", device);
    return NULL;
  }
  if (!kernels && !(kernels = open_host (device, n_threads, error)))
    return NULL;
  *name = g_intern_string (device);
  if (*precision == VIG_PRECISION_AUTO)
    *precision = precision_of[kernels->fastest];
  return kernels;
}
