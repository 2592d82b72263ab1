/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef GST_VIG_FLIGHT_H
#define GST_VIG_FLIGHT_H

#include <vig/shared.h>

#include "gstvigframe.h"

G_BEGIN_DECLS

/* What may change from one frame to the next. */
typedef struct {
  guint top_k, interval, input_size;
  double threshold;
  gboolean hold_result, post_messages;
  GstClockTime hold_max;
  GstVideoOrientationMethod orientation;
} GstVigSettings;

/**
 * GstVigFlight:
 * @error: why the frame cannot be classified; found when it came, said when it is its turn
 * @due: it is to be classified, and if there is no @error it is on its way through @stream
 * @epoch: a result says nothing about frames of another
 *
 * A frame in the element, from the sink pad's thread that maps and submits it to the source pad's task that waits for its
 * result and sends it on. When the last reference goes the frame is dropped: nothing reads its memory any more.
 */
typedef struct {
  GstMiniObject object;
  GstBuffer *buffer;
  GstVigSettings settings;
  guint epoch;
  gboolean due;
  GError *error;

  VigStream *stream;
  GstVigFrame frame;
  gboolean mapped;
  VigRequest request;
  float probabilities[]; /* [classes] */
} GstVigFlight;

/* Takes @buffer. */
GstVigFlight *gst_vig_flight_new (GstBuffer *buffer, guint n_classes);

/* Maps the frame and submits it to @stream; @error of the flight says if that is not possible. */
void gst_vig_flight_start (GstVigFlight *flight, VigStream *stream, const GstVideoInfo *info,
    VigOrientation orientation);

/* Waits for the result, after which nothing reads the frame. FALSE: there is none, @error of the flight says why. */
gboolean gst_vig_flight_land (GstVigFlight *flight);

/* (transfer full): the flight is over */
GstBuffer *gst_vig_flight_steal_buffer (GstVigFlight *flight);

G_END_DECLS
#endif
