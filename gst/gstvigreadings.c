/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "gstvigreadings.h"

#include <math.h>

#include "gstvigmeta.h"

#define MAX_CELLS 512 /* in a row or column: an input of 8192 pixels */

static gboolean
read_region (const GstStructure *result, GstVigReading *reading)
{
  return gst_structure_get (result, "region-id", G_TYPE_UINT, &reading->region_id,
      "region-x", G_TYPE_INT, &reading->region.x, "region-y", G_TYPE_INT, &reading->region.y,
      "region-width", G_TYPE_INT, &reading->region.w, "region-height", G_TYPE_INT, &reading->region.h, NULL);
}

static gboolean
is_sound (const GstVigReadingHeat *heat, gsize size)
{
  const double all[] = { heat->x, heat->y, heat->width, heat->height };
  for (guint i = 0; i < G_N_ELEMENTS (all); i++)
    if (!(fabs (all[i]) < G_MAXUINT16))
      return FALSE;
  return heat->rows > 0 && heat->columns > 0 && heat->rows <= MAX_CELLS && heat->columns <= MAX_CELLS && heat->width > 0
      && heat->height > 0 && size == (gsize) heat->rows * heat->columns * sizeof (float);
}

static void
read_heat (const GstStructure *result, GstVigReadingHeat *heat)
{
  const GValue *maps = gst_structure_get_value (result, "heatmaps");
  if (!maps || !GST_VALUE_HOLDS_ARRAY (maps) || gst_value_array_get_size (maps) == 0)
    return;
  const GValue *first = gst_value_array_get_value (maps, 0);
  const GstStructure *map = GST_VALUE_HOLDS_STRUCTURE (first) ? gst_value_get_structure (first) : NULL;
  const GValue *shares = map ? gst_structure_get_value (map, "shares") : NULL;
  if (!shares || !G_VALUE_HOLDS (shares, G_TYPE_BYTES) || !g_value_get_boxed (shares)
      || !gst_structure_get (map, "rows", G_TYPE_UINT, &heat->rows, "columns", G_TYPE_UINT, &heat->columns,
          "x", G_TYPE_DOUBLE, &heat->x, "y", G_TYPE_DOUBLE, &heat->y, "width", G_TYPE_DOUBLE, &heat->width,
          "height", G_TYPE_DOUBLE, &heat->height, NULL))
    return;
  gsize size;
  const float *data = g_bytes_get_data (g_value_get_boxed (shares), &size);
  heat->shares = is_sound (heat, size) ? data : NULL;
}

/* FALSE: it is not what it should be. */
static gboolean
read_result (const GValue *value, GstVigReading *reading)
{
  if (!GST_VALUE_HOLDS_STRUCTURE (value))
    return FALSE;
  const GstStructure *result = gst_value_get_structure (value);
  const char *element = gst_structure_get_string (result, "element");
  const char *label = gst_structure_get_string (result, "label");
  if (!element || !label || !gst_structure_get_double (result, "confidence", &reading->confidence))
    return FALSE;
  reading->element = g_quark_from_string (element);
  reading->label = g_quark_from_string (label);
  reading->certain = g_strcmp0 (gst_structure_get_string (result, "state"), "below-threshold") != 0;
  reading->is_region = gst_structure_has_field (result, "region-id");
  read_heat (result, &reading->heat);
  return !reading->is_region || read_region (result, reading);
}

GArray *
gst_vig_readings_take (GstBuffer *buffer)
{
  GArray *readings = g_array_new (FALSE, FALSE, sizeof (GstVigReading));
  GstCustomMeta *meta = gst_buffer_get_custom_meta (buffer, GST_VIG_META_NAME);
  const GValue *results = meta ? gst_structure_get_value (gst_custom_meta_get_structure (meta), "results") : NULL;
  for (guint i = 0; results && GST_VALUE_HOLDS_ARRAY (results) && i < gst_value_array_get_size (results); i++) {
    GstVigReading reading = { 0 };
    if (read_result (gst_value_array_get_value (results, i), &reading))
      g_array_append_val (readings, reading);
  }
  return readings;
}
