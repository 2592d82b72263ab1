/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "curves.h"

static double
to_seconds (GstClockTime time)
{
  return GST_CLOCK_TIME_IS_VALID (time) ? (double) time / GST_SECOND : 0;
}

double
vig_curve_end (const VigLabelled *video)
{
  double end = to_seconds (video->duration);
  if (video->frames->len)
    end = MAX (end, to_seconds (g_array_index (video->frames, VigLabelledFrame, video->frames->len - 1).time));
  for (guint i = 0; i < video->segments->len; i++)
    end = MAX (end, to_seconds (g_array_index (video->segments, VigLabelledSegment, i).end));
  return end > 0 ? end : 1;
}

/* ---- curves ----------------------------------------------------------------------------------------------------- */

/* What one column has shown of the label so far. */
typedef struct {
  gboolean any;
  VigCurvePoint least, greatest;
} Column;

static const VigScore *
find_score (const VigLabelledFrame *frame, GQuark label)
{
  for (guint i = 0; i < frame->scores->len; i++) {
    const VigScore *score = &g_array_index (frame->scores, VigScore, i);
    if (score->label == label)
      return score;
  }
  return NULL;
}

/* The least and the greatest in the order in which they came. FALSE: there is none. */
static gboolean
flush_column (GArray *points, Column *column, gboolean begins)
{
  if (!column->any)
    return FALSE;
  column->any = FALSE;
  gboolean rises = column->least.x <= column->greatest.x;
  VigCurvePoint first = rises ? column->least : column->greatest, last = rises ? column->greatest : column->least;
  first.begins = begins;
  g_array_append_val (points, first);
  if (first.x != last.x || first.y != last.y)
    g_array_append_val (points, last);
  return TRUE;
}

static void
add_point (Column *column, double x, double y)
{
  VigCurvePoint point = { x, y, FALSE };
  if (!column->any || y < column->least.y)
    column->least = point;
  if (!column->any || y > column->greatest.y)
    column->greatest = point;
  column->any = TRUE;
}

GArray *
vig_curve_points (const VigLabelled *video, GQuark label, guint columns)
{
  GArray *points = g_array_new (FALSE, FALSE, sizeof (VigCurvePoint));
  double end = vig_curve_end (video);
  guint n = video->frames->len, current = 0;
  gboolean begins = TRUE;
  Column column = { .any = FALSE };
  for (guint i = 0; i < n; i++) {
    const VigLabelledFrame *frame = &g_array_index (video->frames, VigLabelledFrame, i);
    double x = to_seconds (frame->time) / end;
    guint place = n <= 2 * columns ? i : (guint) (x * (columns - 1));
    if (i > 0 && place != current)
      begins = !flush_column (points, &column, begins);
    current = place;
    const VigScore *score = find_score (frame, label);
    if (score)
      add_point (&column, x, CLAMP (score->confidence, 0, 1));
  }
  flush_column (points, &column, begins);
  return points;
}

/* ---- bars ------------------------------------------------------------------------------------------------------- */

static VigBar
bar_of (const VigLabelledSegment *segment, double end)
{
  return (VigBar) { to_seconds (segment->start) / end, to_seconds (segment->end) / end, segment->label };
}

/* Each column is of the segment that covers most of it. */
static GArray *
columns_of (const VigLabelled *video, double end, guint columns)
{
  g_autofree double *covered = g_new0 (double, columns);
  g_autofree GQuark *labels = g_new0 (GQuark, columns);
  for (guint i = 0; i < video->segments->len; i++) {
    VigBar bar = bar_of (&g_array_index (video->segments, VigLabelledSegment, i), end);
    for (guint c = (guint) (bar.x0 * columns); c < columns && c < bar.x1 * columns; c++) {
      double part = MIN (bar.x1 * columns, c + 1.0) - MAX (bar.x0 * columns, (double) c);
      if (part > covered[c]) {
        covered[c] = part;
        labels[c] = bar.label;
      }
    }
  }
  GArray *bars = g_array_new (FALSE, FALSE, sizeof (VigBar));
  for (guint c = 0; c < columns; c++) {
    VigBar *last = bars->len ? &g_array_index (bars, VigBar, bars->len - 1) : NULL;
    VigBar bar = { (double) c / columns, (c + 1.0) / columns, labels[c] };
    if (last && last->label == bar.label && last->x1 == bar.x0)
      last->x1 = bar.x1;
    else if (bar.label)
      g_array_append_val (bars, bar);
  }
  return bars;
}

GArray *
vig_curve_bars (const VigLabelled *video, guint columns)
{
  double end = vig_curve_end (video);
  if (video->segments->len > columns)
    return columns_of (video, end, columns);
  GArray *bars = g_array_new (FALSE, FALSE, sizeof (VigBar));
  for (guint i = 0; i < video->segments->len; i++) {
    VigBar bar = bar_of (&g_array_index (video->segments, VigLabelledSegment, i), end);
    g_array_append_val (bars, bar);
  }
  return bars;
}
