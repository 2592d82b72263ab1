/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef GST_VIG_HEAT_H
#define GST_VIG_HEAT_H

#include <gst/video/video.h>
#include <vig/map.h>

G_BEGIN_DECLS

/**
 * GstVigHeat:
 * @maps: what a request asks for and is answered; the memory is part of this
 * @rows, @columns: of cells, upright
 * @area: of the picture: what the cells cover
 * @part: of the picture: what was looked at; a width of 0: all of it
 *
 * Where in a picture, or a part of one, classes come from. Reference counted; once answered it does not change. Valid as long as
 * the model is.
 */
typedef struct {
  const VigModel *model;
  VigMaps maps;
  guint rows, columns;
  VigOrientation orientation;
  VigMapArea area;
  GstVideoRectangle part;
} GstVigHeat;

/**
 * gst_vig_heat_find_classes:
 * @wanted: (nullable): strings: labels; NULL: the most confident one, whichever it is
 * @quarks: [@n_classes]: the model's labels
 * @unknown: (out): one of @wanted that is not among them, or NULL
 *
 * Returns: (transfer full): of int: what VigMaps takes
 */
GArray *gst_vig_heat_find_classes (const GPtrArray *wanted, const GQuark *quarks, guint n_classes, const char **unknown);

/* NULL: the frame cannot be classified, or @classes are none. (transfer full) */
GstVigHeat *gst_vig_heat_new (const VigModel *model, const VigFrame *frame, guint size, const GstVideoRectangle *part,
    const GArray *classes);
GstVigHeat *gst_vig_heat_ref (GstVigHeat *heat); /* NULL is allowed, and is NULL */
void gst_vig_heat_unref (GstVigHeat *heat);

/* Adds "heatmaps" (docs/vigclassify.md) to a result. @now: (nullable): where the object that was looked at is now */
void gst_vig_heat_describe (const GstVigHeat *heat, const GstVideoRectangle *now, const char *const *labels,
    GstStructure *result);

G_END_DECLS
#endif
