/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the tests of vigpublish share, beyond common.h. */
#ifndef PUBLISHING_H
#define PUBLISHING_H

#include <gio/gio.h>

#include "common.h"

#define PUBLISHING_CAPS "video/x-raw,format=RGB,width=48,height=48,framerate=25/1"

/* A harness around these elements, to the NULL behind the last, playing. Takes them. */
GstHarness *publishing_play (GstElement *first, ...) G_GNUC_NULL_TERMINATED;

/* Frames @from to @to - 1 of one class. */
void publishing_show (GstHarness *h, int class, int from, int to);
void publishing_end_of_stream (GstHarness *h); /* until it has come through */

/* The next warning says @part; within ten seconds. */
void publishing_expect_warning (GstBus *bus, const char *part);
void publishing_expect_no_warning (GstBus *bus);

char *publishing_in_dir (const char *name); /* (transfer full): a path */

/* All lines of the file are as docs/vigpublish.schema.json has it. */
void publishing_check_schema (const char *path);

#endif
