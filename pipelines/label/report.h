/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A page to look at for each video, and one that lists them all: HTML that needs nothing but a browser. */
#ifndef VIG_REPORT_H
#define VIG_REPORT_H

#include "labelled.h"

/* The page of one video, which will lie at `path`; it plays `source`, a path or URI. */
GString *vig_report_page (const VigLabelled *video, const char *source, const char *path);

/* Makes the page that lay at `from` right for `to`, where its links to the video are others. */
void vig_report_move (GString *page, const char *from, const char *to);

/* The page that links to `pages` (of char *, paths), in this order; it will lie at `path`. All that it says of a video is read
 * from the head of its page; one that cannot be read is listed with the reason. */
GString *vig_report_index (const GPtrArray *pages, const char *path);

#endif
