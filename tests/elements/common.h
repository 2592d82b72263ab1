/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the element tests share: a private registry, the tiny model, pictures, and reading of results. */
#ifndef COMMON_H
#define COMMON_H

#include <gst/check/gstharness.h>
#include <gst/gst.h>
#include <gst/video/video.h>

#include "tiny-model.h"

#define FRAME_TIME (GST_SECOND / 25)

/**
 * test_init:
 *
 * Before anything of GStreamer: a registry of this run's own, made of our plugin and the few of GStreamer that tests
 * use; then gst_init() and g_test_init(), a check that vigclassify is there, and the tiny model written.
 */
void test_init (int *argc, char ***argv);
int test_run (void); /* g_test_run() and removal of what test_init() made */

const char *test_dir (void);   /* for files of this run */
const char *test_model (void); /* path of the tiny model */
char *test_model_over_time (TinyKind kind); /* (transfer full): of one that takes windows of frames, or has a memory */

/* An element in NULL with the tiny model set; more properties as for g_object_set(). (transfer floating) */
GstElement *test_element (const char *first_property, ...);

/* A harness around such an element, playing, with the caps pushed when they are given; a bus collects its messages. */
GstHarness *test_harness (const char *caps, const char *first_property, ...);
GstBus *test_bus (GstHarness *h); /* (transfer none) */
void test_harness_free (GstHarness *h);

/* The class's picture in any format that GStreamer can convert to. */
GstBuffer *test_picture (const char *caps, int class);
/* All of one colour, 0xrrggbb. */
GstBuffer *test_colour (const char *caps, guint32 colour);
/* Of frame @i at 25 frames/s. */
GstBuffer *test_frame (const char *caps, int class, int i);

/* Pushes a frame and pulls it. */
GstBuffer *test_send (GstHarness *h, GstBuffer *buffer);

/* Forwards without an end, backwards from 1000 s on. */
void test_start_segment (GstHarness *h, double rate);

/* What happens between frames of these caps, in words of clip-reset: flush, caps, stream-start; nothing at other words. */
void test_happen (GstHarness *h, const char *caps, const char *what);

/* The next error message, or fails; (transfer full), checks domain and code and that the text holds @part. */
void test_expect_error (GstBus *bus, GQuark domain, int code, const char *part);
void test_expect_no_error (GstBus *bus);

/* Entry @i of the buffer's VigResults; NULL: no such. (transfer none) */
const GstStructure *test_result (GstBuffer *buffer, guint i);
guint test_n_results (GstBuffer *buffer);
const char *test_state (GstBuffer *buffer);  /* of the first entry; NULL: none */
const char *test_label (GstBuffer *buffer);
double test_confidence (GstBuffer *buffer);
guint64 test_age (GstBuffer *buffer);

/* Pushes a frame of the class, pulls it and checks that it is named so with at least that confidence. */
void test_expect_class (GstHarness *h, const char *caps, int class, double confidence);

/* Pushes frames until one is not taken, for a second at most: what the push returned. */
GstFlowReturn test_push_until_refused (GstHarness *h, const char *caps);

guint64 test_stat (GstElement *element, const char *name);

/* The engine of a model, which one element has, stands still in the batch that a request of this test's own is in (the
 * next, alone unless a frame of the element's is expected): as another user of it lets its thread wait. Frames whose requests
 * come behind in that batch are computed, but have no results. */
typedef struct TestIce TestIce;
TestIce *test_freeze (const char *model);
guint test_wait_until_still (TestIce *ice); /* returns how many requests are in the batch */
void test_thaw (TestIce *ice); /* when it returns, those of its batch have */

#endif
