/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Elements vigclassify that wait, with the engine they share, for the next pipeline: the model is loaded once. */
#ifndef VIG_LABEL_CLASSIFIERS_H
#define VIG_LABEL_CLASSIFIERS_H

#include "options.h"

typedef struct VigClassifiers VigClassifiers;

/* Makes the first; if the model cannot be loaded, or a property not be set, that is an error before any file is opened. */
VigClassifiers *vig_classifiers_new (const VigOptions *options, GError **error);
void vig_classifiers_free (VigClassifiers *classifiers); /* NULL is allowed; none is out */

/* Batches that their engine computes at once. */
guint vig_classifiers_get_parallel (const VigClassifiers *classifiers);

/* (transfer full): in READY, in no pipeline. Any thread. */
GstElement *vig_classifiers_take (VigClassifiers *classifiers, GError **error);
void vig_classifiers_give (VigClassifiers *classifiers, GstElement *classify /* (transfer full) */);

#endif
