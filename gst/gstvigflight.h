/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef GST_VIG_FLIGHT_H
#define GST_VIG_FLIGHT_H

#include "gstvigframe.h"
#include "gstvigloaded.h"
#include "gstvigregions.h"

G_BEGIN_DECLS

/* What may change from one frame to the next. */
typedef struct {
  guint top_k, interval, input_size;
  double threshold;
  gboolean hold_result, post_messages;
  GstClockTime hold_max;
  GstVideoOrientationMethod orientation;
  GstVigRegions regions;
  guint min_size, max_objects, reclassify_interval;
} GstVigSettings;

/**
 * GstVigShot:
 * @request: the picture, all of it or a part, on its way through the engine; once landed, what it took
 * @probabilities: [classes]: the flight's memory; filled in when the shot has landed and has no @error
 * @submitted: the engine has it, until it has landed
 * @error: why there is no result
 */
typedef struct {
  VigRequest request;
  float *probabilities;
  gboolean submitted;
  GError *error;
} GstVigShot;

/**
 * GstVigFlight:
 * @loaded: what it is classified by
 * @error: why the frame cannot be classified; found when it came, said when it is its turn
 * @due: something of it is to be classified, and if there is no @error it is on its way through the engine
 * @across: it came in the memory of another context or GPU than computes
 * @epoch: a result says nothing about frames of another
 * @regions: (nullable): of GstVigRegion: the objects in it, if they are asked for
 * @frame_shot: which shot shows all of it; GST_VIG_NO_SHOT: none
 * @shots: [n_shots]: the parts of the picture that are to be classified, in the order in which they were named
 *
 * A frame in the element, from the sink pad's thread that maps and submits it to the source pad's task that waits for its
 * results and sends it on. When the last reference goes the frame is dropped: nothing reads its memory any more.
 */
typedef struct {
  GstMiniObject object;
  GstBuffer *buffer;
  GstVigLoaded *loaded;
  GstVigSettings settings;
  guint epoch;
  gboolean due;
  GError *error;
  GArray *regions;
  guint frame_shot;

  GstVigFrame frame;
  gboolean mapped, across;
  GstVigShot *shots;
  guint n_shots;
  float *probabilities; /* [n_shots, classes] */
} GstVigFlight;

/* Takes @buffer. */
GstVigFlight *gst_vig_flight_new (GstBuffer *buffer, GstVigLoaded *loaded);

/**
 * gst_vig_flight_start:
 * @parts: [@n], in pixels of the picture, inside of it; a width of 0 means all that counts of it
 *
 * Maps the frame and submits its parts; @error of the flight says if that is not possible.
 */
void gst_vig_flight_start (GstVigFlight *flight, const GstVideoInfo *info, VigOrientation orientation,
    const GstVideoRectangle *parts, guint n);

/* Waits for all results, after which nothing reads the frame. FALSE: a shot has none, @error of the flight says why. */
gboolean gst_vig_flight_land (GstVigFlight *flight);

/* (transfer full): the flight is over */
GstBuffer *gst_vig_flight_steal_buffer (GstVigFlight *flight);

G_END_DECLS
#endif
