/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The CUDA backend as the checks of kernels open it: on the emulated GPU, or on a real one. */
#ifndef GPU_H
#define GPU_H

#include <glib.h>

#include "kernels.h"

/* A module to test, in place of the emulated GPU; for the option --cuda-module. NULL: the emulated one. */
extern char *gpu_module;

#define GPU_OPTION \
  { "cuda-module", 0, 0, G_OPTION_ARG_FILENAME, &gpu_module, "Test a GPU with the backend in this file, in place of the " \
      "emulated one", "libvigcuda.so" }

/* Device 0; aborts, saying why, where there is none. The emulated GPU's threads then run in the order that @nth stands
 * for: one of forward, reverse and two shuffled ones. */
VigKernels *gpu_open (int nth);

#endif
