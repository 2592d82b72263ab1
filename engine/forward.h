/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef VIG_FORWARD_H
#define VIG_FORWARD_H

#include "plan.h"
#include "tap.h"
#include "weights.h"

/* Computes plan->features, plan->logits, plan->probabilities and plan->maps of the first @n items of plan->input. Only enqueues:
 * failures show in finish(). */
void vig_forward (const VigModel *model, const VigWeights *weights, VigPlan *plan, guint n, const VigTap *tap);

#endif
