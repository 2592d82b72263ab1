/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* How many files at once: one more as long as neither the engine nor the cores are busy. */
#ifndef VIG_LABEL_LOAD_H
#define VIG_LABEL_LOAD_H

#include <glib.h>

/* @parallel: batches that the engine computes at once; @cpu, @engine: seconds of processor time, and that it was at work for
 * one of them, when it was last looked at */
typedef struct {
  guint limit, most, parallel;
  gint64 since; /* monotonic time; 0: not yet */
  double cpu, engine;
} VigLoad;

/* @jobs: what the user says; 0: nothing */
void vig_load_init (VigLoad *load, guint jobs, guint parallel);

/* As often as one likes. @engine: seconds that it was at work since the beginning; @full: as many run as may */
void vig_load_look (VigLoad *load, double engine, gboolean full);

#endif
