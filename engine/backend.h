/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef VIG_BACKEND_H
#define VIG_BACKEND_H

#include <kernels.h>
#include <vig/engine.h>

/**
 * vig_backend_open:
 * @device: NULL, "auto", "cpu", "ref", "cuda" or "cuda:N"
 * @name: (out): what the device became, a static string
 * @precision: (inout): never AUTO afterwards
 * @error: VIG_ERROR_DEVICE, VIG_ERROR_ARGUMENT, VIG_ERROR_NO_MEMORY
 *
 * Returns: the device's kernels, to be closed with their close ().
 */
VigKernels *vig_backend_open (const char *device, guint n_threads, const char **name, VigPrecision *precision,
    GError **error);

/* What enters the matrix products; precision is not AUTO. */
VigType vig_backend_type (VigPrecision precision);
/* Whether @device leaves the choice to vig_backend_open(). */
gboolean vig_backend_is_auto (const char *device);

#endif
