/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What a frame that leaves says: of itself and of the objects in it, fresh results or held ones. */
#ifndef GST_VIG_SAYINGS_H
#define GST_VIG_SAYINGS_H

#include "gstvigflight.h"

G_BEGIN_DECLS

/**
 * gst_vig_sayings_find:
 * @flight: is over: nothing of it is being computed any more
 * @n_held: (out): objects of which an earlier result is said
 * @n_silent: (out): objects of which nothing is
 *
 * Returns: (transfer full): what is to be said, the frame's first, then its objects'; valid as long as @flight and the held
 * results of its model are.
 */
GArray *gst_vig_sayings_find (const GstVigFlight *flight, guint *n_held, guint *n_silent);

/* Says it all as metadata of @buffer (writable), the flight's, in the name of @element. */
void gst_vig_sayings_attach (const GArray *sayings, GstBuffer *buffer, const GstVigFlight *flight, const char *element);

G_END_DECLS
#endif
