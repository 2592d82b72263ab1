/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The CPU backend: picks the best variant of every operator. */
#include "ref/ref.h"

VigKernels *
vig_kernels_cpu_open (int threads, unsigned mask)
{
  return vig_kernels_ref_open ();
}
