/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef GST_VIG_META_H
#define GST_VIG_META_H

#include <gst/gst.h>
#include <vig/engine.h>

#include "gstvigheld.h"
#include "gstvigregions.h"

G_BEGIN_DECLS

#define GST_VIG_META_NAME "VigResults"

/**
 * GstVigResult:
 * @region: (nullable): the object that it is about; NULL: the whole frame
 * @heat: (nullable): where in the picture it comes from
 *
 * What is to be said about one frame or object. Strings and arrays belong to the caller; needed only during the call.
 */
typedef struct {
  const char *element, *model, *model_hash;
  const char *const *labels;   /* [classes] */
  const GQuark *quarks;        /* [classes]: of the labels */
  const VigRank *ranks;        /* [n_ranks]: greatest first; at least one */
  guint n_ranks;
  double threshold;            /* ranks under it are not attached */
  const char *clip_mode;
  GstVigSpan span;             /* what was seen */
  gboolean held;               /* the result of an earlier frame, */
  GstClockTime age;            /* this much earlier in running time */
  GstVigRegion *region;
  const GstVigHeat *heat;
} GstVigResult;

/* Registers the custom meta; from each class that writes or reads it. */
void gst_vig_meta_register (void);

/* All that one element says about a buffer; other elements' results stay beside it. */
typedef struct {
  GstBuffer *buffer;
  GValue results; /* of the buffer's VigResults */
} GstVigMetaWriter;

/* @buffer is writable, and stays the caller's, who leaves it alone until the end. */
void gst_vig_meta_begin (GstVigMetaWriter *writer, GstBuffer *buffer);

/* Adds a GstAnalyticsClsMtd to the buffer's relation meta, tied to the object that it is about, and an entry to its
 * VigResults (docs/vigclassify.md has the layout). */
void gst_vig_meta_add (GstVigMetaWriter *writer, const GstVigResult *result);

void gst_vig_meta_end (GstVigMetaWriter *writer);

G_END_DECLS
#endif
