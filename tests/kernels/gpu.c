/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "gpu.h"

#include <dlfcn.h>
#include <string.h>

char *gpu_module;

VigKernels *vig_kernels_cuda_open (int device, const char **why);
bool vig_emu_set_order (const char *order);

typedef VigKernels *(*Open) (int device, const char **why);

static Open
module_open (void)
{
  void *module = dlopen (gpu_module, RTLD_NOW | RTLD_LOCAL);
  void *symbol = module ? dlsym (module, "vig_kernels_cuda_open") : NULL;
  Open open;
  if (!symbol)
    g_error ("%s: %s", gpu_module, dlerror ());
  memcpy (&open, &symbol, sizeof open);
  return open;
}

VigKernels *
gpu_open (int nth)
{
  static const char *const orders[] = { "shuffle:2", "forward", "shuffle:1", "reverse" };
  const char *why;
  g_assert_true (vig_emu_set_order (orders[nth % (int) G_N_ELEMENTS (orders)]));
  VigKernels *k = (gpu_module ? module_open () : vig_kernels_cuda_open) (0, &why);
  if (!k)
    g_error ("%s: %s", gpu_module ? gpu_module : "the emulated GPU", why);
  return k;
}
