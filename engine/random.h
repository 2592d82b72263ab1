/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef VIG_RANDOM_H
#define VIG_RANDOM_H

#include "model-private.h"

/* Number @index of the stream of @name: a multiple of 2^-23 in [-1, 1). */
double vig_random_uniform (const char *name, guint64 seed, guint64 index);

/* vig_model_new_random() of any architecture. */
VigModel *vig_model_new_random_of (const VigConfig *config, const char *name, guint64 seed, const char *factors,
    GError **error);

#endif
