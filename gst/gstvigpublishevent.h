/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What is said about a frame, or a segment, as the JSON object of docs/vigpublish.schema.json. */
#ifndef GST_VIG_PUBLISH_EVENT_H
#define GST_VIG_PUBLISH_EVENT_H

#include <gst/gst.h>

G_BEGIN_DECLS

#define GST_VIG_PUBLISH_VERSION 1 /* of the schema; raised when what was valid means something else */

/**
 * GstVigPublishScene:
 * @session, @stream: names of this run and of the stream
 * @width, @height: of the frames; 0: not known
 * @utc, @utc_pts: the time of capture of the last frame that has one, in nanoseconds since 1970, and its PTS; NONE: none has
 *
 * What events are told of besides themselves.
 */
typedef struct {
  const char *session, *stream;
  int width, height;
  GstSegment segment;
  GstClockTime utc, utc_pts;
} GstVigPublishScene;

/* Looks for the time of capture of a frame: GstReferenceTimestampMeta of timestamp/x-unix or timestamp/x-ntp. */
void gst_vig_publish_scene_see (GstVigPublishScene *scene, GstBuffer *buffer);

/**
 * gst_vig_publish_result_to_json:
 * @result: of @buffer's VigResults
 * @changed: it is told because the label is another than @previous (nullable: that nothing reached the threshold)
 *
 * Returns: (transfer full): a line with its newline
 */
char *gst_vig_publish_result_to_json (const GstVigPublishScene *scene, guint64 sequence, GstBuffer *buffer,
    const GstStructure *result, gboolean changed, const char *previous, gsize *length);

/* @segment: of a vig-segment event */
char *gst_vig_publish_segment_to_json (const GstVigPublishScene *scene, guint64 sequence, const GstStructure *segment,
    gsize *length);

G_END_DECLS
#endif
