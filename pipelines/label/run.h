/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* All inputs of a run: which are done already, which run, and what is kept of each. */
#ifndef VIG_LABEL_RUN_H
#define VIG_LABEL_RUN_H

#include "options.h"

enum { VIG_STATUS_FINE = 0, VIG_STATUS_SOME_FAILED = 1, VIG_STATUS_NOT_STARTED = 2, VIG_STATUS_INTERRUPTED = 130 };

/* Returns the exit status; @error: with NOT_STARTED. */
int vig_run (VigOptions *options, GError **error);

#endif
