/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The outputs of all shards become one folder, as one run would have left it. */
#ifndef VIG_LABEL_MERGE_H
#define VIG_LABEL_MERGE_H

#include "options.h"
#include "progress.h"

/* Says what is missing and what has failed, and counts it in @totals. @error: nothing can be merged, or written. */
gboolean vig_merge (VigOptions *options, VigProgress *progress, VigTotals *totals, GError **error);

#endif
