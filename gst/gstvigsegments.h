/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Answers become segments: from when to when a label held, told once it is over. */
#ifndef GST_VIG_SEGMENTS_H
#define GST_VIG_SEGMENTS_H

#include "gstvigregions.h"
#include "gstvigtracks.h"

G_BEGIN_DECLS

/**
 * GstVigLimits:
 * @enter: a segment of a label begins with the first answer that gives it at least this probability; 0: there are none
 * @leave: and ends with the first that gives it less than this; at most @enter, which it is if it is below 0
 * @min_duration: those that are shorter are not told
 */
typedef struct {
  double enter, leave;
  GstClockTime min_duration;
} GstVigLimits;

/* GST_RESOURCE_ERROR: names the property */
gboolean gst_vig_limits_check (const GstVigLimits *limits, GError **error);

/* Of a frame: where it begins and ends, in its three times; NONE: not known. @part: see gst_vig_segments_end(). */
typedef struct {
  GstClockTime pts, stream, running;
  GstClockTime end, stream_end, running_end;
  guint part;
} GstVigMoment;

/* As @segment, that of the frame, has it. */
void gst_vig_moment_init (GstVigMoment *moment, const GstSegment *segment, GstBuffer *buffer);

/* What is open, of the frame or of one object. */
typedef struct {
  GArray *open;       /* of segments, in the order of classes; NULL: none has been */
  GstVigMoment last;  /* of the last answer that has a timestamp; NONE: none has */
} GstVigSubject;

/**
 * GstVigSegments:
 * @found: is told each segment that is over, once; takes @message, a structure as docs/vigclassify.md has it
 * @objects: of tracked objects
 *
 * The segments of one stream. One thread at a time.
 */
typedef struct {
  GstVigLimits limits;
  gboolean backwards; /* the stream plays backwards */
  guint epoch;        /* of the last answer */
  guint part;         /* how often all were ended */
  GstVigSubject frame;
  GstVigTracks objects;
  GArray *scratch;    /* of segments */
  void (*found) (gpointer owner, GstStructure *message);
  gpointer owner;
} GstVigSegments;

void gst_vig_segments_init (GstVigSegments *segments, void (*found) (gpointer owner, GstStructure *message),
    gpointer owner);
void gst_vig_segments_clear (GstVigSegments *segments); /* none is open any more */

/* The next frame leaves. Ends the segments of objects that have gone, as gst_vig_tracks_begin_frame() has it, and sets the part
 * of @moment, the frame's. */
void gst_vig_segments_begin_frame (GstVigSegments *segments, GstVigMoment *moment, GstClockTime longest);

/* The tracked object is in it, whether or not it was classified. */
void gst_vig_segments_see (GstVigSegments *segments, const GstVigRegion *region);

/**
 * gst_vig_segments_add:
 * @epoch: answers of another have nothing to do with those before, which end here
 * @region: (nullable): the tracked object that it is about; NULL: the frame
 * @labels, @probabilities: [@n]
 *
 * The next answer: of that frame, or of one before it whose result came late.
 */
void gst_vig_segments_add (GstVigSegments *segments, guint epoch, const GstVigRegion *region, const GstVigMoment *moment,
    const GQuark *labels, const float *probabilities, guint n);

/* Ends all, with the last frame of which they were said. What is still said of frames that have left is of another part of the
 * stream than what follows, and of no segment. */
void gst_vig_segments_end (GstVigSegments *segments);

G_END_DECLS
#endif
