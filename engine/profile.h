/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef VIG_PROFILE_H
#define VIG_PROFILE_H

#include <glib.h>
#include <kernels.h>

/* A table that passes every call on to @inner, which it closes at its end, and adds up the time each one takes. Waits
 * for each: the sum is the time without overlap. */
VigKernels *vig_profile_open (VigKernels *inner);

typedef struct {
  char *name;      /* of the operator; a matrix product with its n x k */
  guint calls;
  double seconds;
} VigProfileEntry;

void vig_profile_reset (VigKernels *profile);
GArray *vig_profile_report (VigKernels *profile); /* of VigProfileEntry, slowest first */

#endif
