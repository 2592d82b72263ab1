/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef GST_VIG_META_H
#define GST_VIG_META_H

#include <gst/gst.h>
#include <vig/engine.h>

G_BEGIN_DECLS

#define GST_VIG_META_NAME "VigResults"

/**
 * GstVigResult:
 *
 * What is to be said about one frame. Strings and arrays belong to the caller; needed only during the call.
 */
typedef struct {
  const char *element, *model, *model_hash;
  const char *const *labels;   /* [classes] */
  const GQuark *quarks;        /* [classes]: of the labels */
  const VigRank *ranks;        /* [n_ranks]: greatest first; at least one */
  guint n_ranks;
  double threshold;            /* ranks under it are not attached */
  GstClockTime span_start, span_end; /* the time seen, in the segment's time (as PTS) */
  gboolean held;               /* the result of an earlier frame, */
  GstClockTime age;            /* this much earlier in running time */
} GstVigResult;

/* Registers the custom meta; once per process, from the plugin's class. */
void gst_vig_meta_register (void);

/**
 * gst_vig_meta_attach:
 * @buffer: writable
 *
 * Adds a GstAnalyticsClsMtd to the buffer's relation meta and an entry to its VigResults, beside what others have put
 * there (docs/vigclassify.md has the layout).
 */
void gst_vig_meta_attach (GstBuffer *buffer, const GstVigResult *result);

G_END_DECLS
#endif
