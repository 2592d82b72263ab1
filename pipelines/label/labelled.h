/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What vig-label knows of one input when it has been labelled: what every writer (JSON Lines, CSV, WebVTT, report, …) reads. */
#ifndef VIG_LABELLED_H
#define VIG_LABELLED_H

#include <gst/gst.h>

typedef struct {
  GQuark label;
  double confidence; /* 0 … 1 */
} VigScore;

typedef struct {
  GstClockTime time; /* presentation time (stream time), ns */
  GArray *scores;    /* of VigScore, best first; may be empty (below the threshold) */
} VigLabelledFrame;

typedef struct {
  GstClockTime start, end;
  GQuark label;
  double mean, peak; /* of the label's confidence */
} VigLabelledSegment;

typedef struct {
  GstClockTime time;
  int width, height;
  GBytes *jpeg;
} VigThumbnail;

typedef struct {
  char *input;             /* as given: path or URI */
  char *model, *model_hash;
  GstClockTime duration;   /* of what could be read */
  int width, height;       /* as shown: after rotation and pixel aspect ratio */
  int fps_n, fps_d;        /* nominal frames per second; 0/1: not known, or varies */
  char *created;           /* ISO 8601, or NULL */
  int rotation;            /* degrees clockwise that the file asks for: 0, 90, 180, 270 */
  char *error;             /* why it could not be read to its end, or NULL */
  GArray *frames;          /* of VigLabelledFrame, by time */
  GArray *segments;        /* of VigLabelledSegment, by start */
  GArray *thumbnails;      /* of VigThumbnail, by time; empty unless a report or a sheet was asked for */
} VigLabelled;

/* Empty: no frames, no error. */
VigLabelled *vig_labelled_new (const char *input);
void vig_labelled_free (VigLabelled *labelled); /* NULL is allowed */
G_DEFINE_AUTOPTR_CLEANUP_FUNC (VigLabelled, vig_labelled_free)

/* (nullable): the first label of the last frame that is not later than `time` (or of the first of all). */
const VigScore *vig_labelled_best (const VigLabelled *labelled, GstClockTime time);

#endif
