/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the benches of streams measure with. */
#ifndef FIGURES_H
#define FIGURES_H

#include <stdlib.h>
#include <time.h>

#include <glib.h>

/* Microseconds of the monotonic clock. */
static inline double
now (void)
{
  struct timespec t;
  clock_gettime (CLOCK_MONOTONIC, &t);
  return 1e6 * (double) t.tv_sec + 1e-3 * (double) t.tv_nsec;
}

static inline int
by_value (const void *a, const void *b)
{
  double x = *(const double *) a, y = *(const double *) b;
  return (x > y) - (x < y);
}

/* Sorts @values. @p: 0 to 1 */
static inline double
percentile (double *values, guint n, double p)
{
  qsort (values, n, sizeof *values, by_value);
  return values[(guint) (p * (n - 1) + 0.5)];
}

#endif
