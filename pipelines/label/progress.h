/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What a person sees of a run: bars on a terminal, lines elsewhere, a table in the end. */
#ifndef VIG_LABEL_PROGRESS_H
#define VIG_LABEL_PROGRESS_H

#include "job.h"
#include "totals.h"

typedef struct VigProgress VigProgress;

VigProgress *vig_progress_new (gboolean quiet);
void vig_progress_free (VigProgress *progress);

/* One that runs. */
typedef struct {
  const char *name;
  guint64 size; /* bytes; 0: not known */
  VigJobProgress at;
} VigRunning;

/* As often as one likes: it shows no more than is readable. */
void vig_progress_show (VigProgress *progress, const VigTotals *totals, const VigRunning *running, guint n);

/* A line that stays; @is_error: also where it is to be quiet. */
void vig_progress_say (VigProgress *progress, gboolean is_error, const char *format, ...) G_GNUC_PRINTF (3, 4);

/* The bars go; then the table, on standard output. */
void vig_progress_end (VigProgress *progress, const VigTotals *totals);

#endif
