/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef GST_VIG_REGIONS_H
#define GST_VIG_REGIONS_H

#include <gst/video/video.h>

G_BEGIN_DECLS

/* What of a frame is classified. */
typedef enum { GST_VIG_REGIONS_FRAME, GST_VIG_REGIONS_OBJECTS, GST_VIG_REGIONS_BOTH } GstVigRegions;

GType gst_vig_regions_get_type (void);

/**
 * GstVigRegionFilter:
 * @classes: (nullable): strings: the types of the objects that are wanted; NULL: all
 * @min_size: pixels that the shorter side of what is seen of an object has at least
 * @max_objects: most objects of a frame, the first that pass the rest; 0: as many as there are
 */
typedef struct {
  GPtrArray *classes;
  guint min_size, max_objects;
} GstVigRegionFilter;

/* The strings of a comma-separated list, without the spaces around them; NULL where there are none. (transfer full) */
GPtrArray *gst_vig_object_classes_parse (const char *list);

/**
 * GstVigRegion:
 * @part: what is seen of the object, in pixels of the frame; never empty
 * @place: where the object is said to be, perhaps outside of the frame in part
 * @od_id: id of its GstAnalyticsODMtd if it @has_od; a GstVideoRegionOfInterestMeta alone has none yet
 * @tracking_id: of its GstAnalyticsTrackingMtd if it is @tracked
 * @followed: it is, and is the only one of that id: what was seen of the id before was seen of this object
 * @shot: which of the flight's shots shows it; GST_VIG_NO_SHOT: none
 *
 * An object that upstream has found in a frame.
 */
typedef struct {
  GstVideoRectangle part, place;
  GQuark type;
  gboolean has_od, tracked, followed;
  guint od_id;
  guint64 tracking_id;
  guint shot;
} GstVigRegion;

#define GST_VIG_NO_SHOT G_MAXUINT

/**
 * gst_vig_regions_find:
 * @info: of the caps
 * @n_skipped: (out): how many objects there are that do not pass @filter, or of which nothing can be seen
 *
 * Returns: (transfer full): of GstVigRegion: the objects to classify, those of GstAnalyticsODMtd first, then those of
 * GstVideoRegionOfInterestMeta that have no such, each in the order in which upstream has attached them.
 */
GArray *gst_vig_regions_find (GstBuffer *buffer, const GstVideoInfo *info, const GstVigRegionFilter *filter,
    guint *n_skipped);

/**
 * gst_vig_region_relate:
 * @buffer: writable
 * @cls_id: of a GstAnalyticsClsMtd in the buffer's relation meta
 *
 * Says that the ClsMtd is about the object: RELATE_TO and CONTAIN from its ODMtd, RELATE_TO and IS_PART_OF back, beside
 * what else is said there.
 */
void gst_vig_region_relate (const GstVigRegion *region, GstBuffer *buffer, guint cls_id);

/* Gives it an ODMtd if it has none. @buffer is writable. FALSE: that cannot be done. */
gboolean gst_vig_region_ensure_od (GstVigRegion *region, GstBuffer *buffer);

G_END_DECLS
#endif
