/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* One input: a pipeline from its URI to its labels. */
#ifndef VIG_LABEL_JOB_H
#define VIG_LABEL_JOB_H

#include "classifiers.h"
#include "inputs.h"
#include "labelled.h"

/* How far it is. */
typedef struct {
  GstClockTime position, duration; /* duration: what its header promises; NONE: not known */
  guint64 frames;                  /* that were classified */
  double engine;                   /* seconds that the engine was at work for them */
  gint64 beat;                     /* monotonic time of the last sign of life */
} VigJobProgress;

typedef struct VigJob VigJob;

/* @options, @input and @classifiers are needed as long as the job. */
VigJob *vig_job_new (const VigOptions *options, const VigInput *input, VigClassifiers *classifiers);
void vig_job_free (VigJob *job);

/* Before it runs: has @func called once all of it has been decoded, from another thread and before vig_job_run() returns; not
 * when it breaks off. Then it only waits for the engine, and another may be decoded. */
void vig_job_set_decoded (VigJob *job, void (*func) (gpointer data), gpointer data);

/* Labels it, in the thread that calls. (transfer full): never NULL; where it could not be read to its end, error says why. */
VigLabelled *vig_job_run (VigJob *job);

/* These from any thread. What vig_job_run() then returns is not to be used. */
void vig_job_cancel (VigJob *job);
gboolean vig_job_is_cancelled (VigJob *job);
void vig_job_get_progress (VigJob *job, VigJobProgress *progress);

#endif
