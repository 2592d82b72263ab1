/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef GST_VIG_READINGS_H
#define GST_VIG_READINGS_H

#include <gst/video/video.h>

G_BEGIN_DECLS

/* How much of a class comes from which part of a rectangle of the frame; @shares NULL: not said. */
typedef struct {
  const float *shares; /* [rows, columns] */
  guint rows, columns;
  double x, y, width, height;
} GstVigReadingHeat;

/**
 * GstVigReading:
 * @element: name of the classifier
 * @label: the most confident one
 * @certain: it reaches the classifier's threshold
 * @is_region: it is about the object @region, of which there may be several readings; else about the frame
 *
 * What a classifier says about a frame or an object.
 */
typedef struct {
  GQuark element, label;
  double confidence;
  gboolean certain, is_region;
  guint region_id;
  GstVideoRectangle region;
  GstVigReadingHeat heat; /* the first that is said */
} GstVigReading;

/* All that the buffer's VigResults (docs/vigclassify.md) say, in that order; valid as long as those are. (transfer full): of
 * GstVigReading */
GArray *gst_vig_readings_take (GstBuffer *buffer);

G_END_DECLS
#endif
