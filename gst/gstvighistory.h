/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef GST_VIG_HISTORY_H
#define GST_VIG_HISTORY_H

#include <gst/gst.h>

G_BEGIN_DECLS

/* From @time on @label was said, until the next one; 0: nothing. */
typedef struct {
  GstClockTime time;
  GQuark label;
} GstVigTurn;

/**
 * GstVigHistory:
 * @turns: of GstVigTurn, the oldest first
 *
 * What one classifier has said about frames, for as long as a timeline shows it.
 */
typedef struct {
  GQuark element;
  GArray *turns;
} GstVigHistory;

void gst_vig_history_init (GstVigHistory *history, GQuark element);
void gst_vig_history_clear (GstVigHistory *history);

/**
 * gst_vig_history_add:
 * @length: what is older is forgotten
 *
 * At most about a thousand turns are kept: of those that are too close to each other to be told apart, the last. A time
 * that goes back ends what was known.
 */
void gst_vig_history_add (GstVigHistory *history, GstClockTime time, GQuark label, GstClockTime length);

/* Whether nothing has been said for as long as it goes back. */
gboolean gst_vig_history_is_silent (const GstVigHistory *history);

G_END_DECLS
#endif
