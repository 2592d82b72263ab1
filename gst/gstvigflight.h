/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef GST_VIG_FLIGHT_H
#define GST_VIG_FLIGHT_H

#include "gstvigframe.h"
#include "gstvigloaded.h"
#include "gstvigqueue.h"
#include "gstvigregions.h"
#include "gstvigsegments.h"

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
  gint64 latency_budget; /* nanoseconds; < 0: not set */
  gboolean heatmap;
  GstVigClipSettings clip;
} GstVigSettings;

/**
 * GstVigShot:
 * @request: the picture, all of it or a part, on its way through the engine; once landed, what it took. Its state is held
 * @silent: it is only remembered: no result is to come of it
 * @owed: (nullable): gst_vig_states_aim()'s
 * @logits: (nullable), @probabilities: [classes]: the flight's memory; filled in when it is GST_VIG_SHOT_THERE
 * @heat: (nullable): where it comes from; answered with the probabilities
 * @answered: atomic: the engine is done with it, which nobody has looked at yet
 * @taken: its result was made the last one; @probabilities are from then on those of the clip that it completes, and @span says
 *   what that is
 */
typedef struct {
  VigRequest request;
  float *logits, *probabilities;
  GstVigHeat *heat;
  GstVigSpan span;
  enum { GST_VIG_SHOT_NONE, GST_VIG_SHOT_OUT, GST_VIG_SHOT_THERE } state;
  gint answered;
  gint *owed;
  gboolean silent, taken;
} GstVigShot;

/**
 * GstVigFlight:
 * @loaded: what it is classified by
 * @error: why the frame cannot be classified; found when it came, said when it is its turn
 * @due: something of it is to be classified, and if there is no @error it is on its way through the engine
 * @across: it came in the memory of another context or GPU than computes
 * @epoch: a result says nothing about frames of another
 * @clip_epoch: what was seen in another has no part in the frame's answer
 * @time: of GstVigClock, when it is
 * @regions: (nullable): of GstVigRegion: the objects in it, if they are asked for
 * @heat_classes: (nullable): of int: of which classes it is to be said where in the picture they come from
 * @frame_shot: which shot shows all of it; GST_VIG_NO_SHOT: none
 * @until: when it leaves, with its results or without; microseconds, monotonic; G_MAXINT64: when it has them
 * @moment: of the frame
 * @span: of the frame, once it leaves
 * @shots: [n_shots]: the parts of the picture that are to be classified, in the order in which they were named
 * @out: how many of them are with the engine; @queue's lock's
 *
 * A frame in the element, from the sink pad's thread that maps and submits it to the source pad's task that waits for its
 * results and sends it on. Results may come when the buffer has left. When the last reference goes the rest is dropped:
 * nothing reads its memory any more.
 */
typedef struct {
  GstMiniObject object;
  GstBuffer *buffer;
  GstVigLoaded *loaded;
  GstVigSettings settings;
  guint epoch, clip_epoch;
  gint64 time;
  gboolean due;
  GError *error;
  GArray *regions, *heat_classes;
  guint frame_shot;
  gint64 until;
  GstVigSpan span;
  GstVigMoment moment;

  GstVigQueue *queue;
  GstVigFrame frame;
  gboolean mapped, across;
  GstVigShot *shots;
  guint n_shots, out;
  float *logits, *probabilities; /* [n_shots, classes] */
} GstVigFlight;

/* Takes @buffer. @queue outlives the flight. */
GstVigFlight *gst_vig_flight_new (GstBuffer *buffer, GstVigLoaded *loaded, GstVigQueue *queue);

/* Every frame, in order, before it starts if it does: the model comes to know which objects are in it. */
void gst_vig_flight_recall (GstVigFlight *flight);

/**
 * gst_vig_flight_start:
 * @parts: [@n], in pixels of the picture, inside of it; a width of 0 means all that counts of it
 *
 * Maps the frame and submits its parts; @error of the flight says if that is not possible.
 */
void gst_vig_flight_start (GstVigFlight *flight, const GstVideoInfo *info, VigOrientation orientation,
    const GstVideoRectangle *parts, guint n);

/**
 * gst_vig_flight_leave:
 * @n_shed: (out): how many shots no batch had taken: they will have no results
 *
 * The frame's time is over. Waits until nothing reads it, which is no longer than the preprocessing of a batch
 * (vig_stream_wait_read()), and takes the results that are there. FALSE: one failed, @error of the flight says why.
 */
gboolean gst_vig_flight_leave (GstVigFlight *flight, guint *n_shed);

/* What the result of a shot is of, clips of models that see more than one frame included. */
GstVigSpan gst_vig_flight_get_span (const GstVigFlight *flight, const GstVigShot *shot);

/* Whether results were still to come when they were last looked for. */
gboolean gst_vig_flight_is_out (const GstVigFlight *flight);

/* Whether no result is to come any more; takes those that have come. @error of the flight says if one failed. */
gboolean gst_vig_flight_is_over (GstVigFlight *flight);

/* (transfer full): the flight is over */
GstBuffer *gst_vig_flight_steal_buffer (GstVigFlight *flight);

G_END_DECLS
#endif
