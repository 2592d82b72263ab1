/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* How many files at once: one more as long as neither the engine nor the cores are busy. */
#ifndef VIG_LABEL_LOAD_H
#define VIG_LABEL_LOAD_H

#include <glib.h>

/* @parallel: batches that the engine computes at once; @idle, @engine: seconds that cores had nothing to do, and that it was
 * at work for one of them, when it was last looked at */
typedef struct {
  guint limit, most, parallel;
  gint64 since; /* monotonic time; 0: not yet */
  double idle, engine;
} VigLoad;

/* @jobs: what the user says; 0: nothing */
void vig_load_init (VigLoad *load, guint jobs, guint parallel);

/* Seconds that this machine's cores, taken together, had nothing to do, since it was started: whoever else uses them leaves none.
 * 0 where that cannot be read */
double vig_load_get_idle (void);

/* As often as one likes. @idle: vig_load_get_idle(); @engine: seconds that it was at work since the beginning; @full: as many run as may */
void vig_load_look (VigLoad *load, double idle, double engine, gboolean full);

#endif
