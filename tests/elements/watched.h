/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Real pipelines, watched by GStreamer's leaks tracer. */
#ifndef WATCHED_H
#define WATCHED_H

#include <gst/gst.h>

void watched_init (int *argc, char ***argv); /* instead of test_init() */

GstElement *launch (const char *format, ...) G_GNUC_PRINTF (1, 2);

/* Waits for the end or an error, and expects the one. */
void expect_end (GstElement *pipeline, GstMessageType expected);
void close_pipeline (GstElement *pipeline);

const GValue *live_objects (void); /* what is alive */
void expect_no_leaks (void);       /* fails with a list of what is */

#endif
