/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the index says of a video; it travels in the head of the video's page, so that an index can be made of pages alone. */
#ifndef VIG_SUMMARY_H
#define VIG_SUMMARY_H

#include "curves.h"

typedef struct {
  char *name, *error; /* error: or NULL */
  double seconds;
  guint frames;
  GArray *labels; /* of VigRankedLabel: those with segments, at most VIG_PALETTE_SIZE of them */
  GArray *bars;   /* of VigBar, at most VIG_SUMMARY_BARS */
} VigSummary;

#define VIG_SUMMARY_BARS 96
/* Of a page, the summary lies within so many first bytes. */
#define VIG_SUMMARY_HEAD (64 * 1024)

/* The element that carries it. */
void vig_summary_append (GString *html, const VigLabelled *video);

/* (nullable) (transfer full): from the first bytes of a page, which may be anything. */
VigSummary *vig_summary_parse (const char *html, gsize size, GError **error);
VigSummary *vig_summary_load (const char *page, GError **error);

void vig_summary_free (VigSummary *summary);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (VigSummary, vig_summary_free)

#endif
