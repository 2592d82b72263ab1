/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Which results say another label than the one before, of the same element about the same thing. */
#ifndef GST_VIG_PUBLISH_CHANGES_H
#define GST_VIG_PUBLISH_CHANGES_H

#include <gst/gst.h>

G_BEGIN_DECLS

/* The last label of the frame and of each object, of each element: of the 1024 that were seen last. */
typedef struct {
  GHashTable *subjects; /* by name */
  GQueue order;         /* of the same: the one seen last first */
} GstVigPublishChanges;

void gst_vig_publish_changes_init (GstVigPublishChanges *changes);
void gst_vig_publish_changes_clear (GstVigPublishChanges *changes);
void gst_vig_publish_changes_forget (GstVigPublishChanges *changes); /* the next results are the first */

/**
 * gst_vig_publish_changes_see:
 * @result: of VigResults. One that is below the threshold says no label. A tracked object is known by its tracking id, another
 *     by its type and where it is
 * @first: (out): nothing is known from before
 * @previous: (out): the label before it; 0: none
 *
 * Returns: whether it is another than before
 */
gboolean gst_vig_publish_changes_see (GstVigPublishChanges *changes, const GstStructure *result, gboolean *first,
    GQuark *previous);

G_END_DECLS
#endif
