/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Many results as few shapes: curves and bars of a bounded size, whatever the length of the video. */
#ifndef VIG_CURVES_H
#define VIG_CURVES_H

#include "labelled.h"

typedef struct {
  double x, y;     /* 0 … 1: time, confidence */
  gboolean begins; /* the frames between this point and the one before do not have the label */
} VigCurvePoint;

typedef struct {
  double x0, x1; /* 0 … 1 */
  GQuark label;
} VigBar;

/* Seconds that time axes of `video` go to; never 0. */
double vig_curve_end (const VigLabelled *video);

/* (transfer full): of VigCurvePoint: the confidence of `label`. Where there are more than two frames a column, the least and the
 * greatest of each of `columns`. */
GArray *vig_curve_points (const VigLabelled *video, GQuark label, guint columns);

/* (transfer full): of VigBar, the segments by start; where there are more than `columns`, what most of each column is. */
GArray *vig_curve_bars (const VigLabelled *video, guint columns);

#endif
