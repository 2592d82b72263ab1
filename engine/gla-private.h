/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef VIG_GLA_PRIVATE_H
#define VIG_GLA_PRIVATE_H

#include <kernels.h>
#include <vig/gla.h>

/* The device's kernels, for those who need its memory. They belong to @gla. */
VigKernels *vig_gla_kernels (VigGla *gla);

#endif
