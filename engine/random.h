/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef VIG_RANDOM_H
#define VIG_RANDOM_H

#include <glib.h>

/* Number @index of the stream of @name: a multiple of 2^-23 in [-1, 1). */
double vig_random_uniform (const char *name, guint64 seed, guint64 index);

#endif
