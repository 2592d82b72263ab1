/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "gstvigreadings.h"

#include "gstvigmeta.h"

static gboolean
read_region (const GstStructure *result, GstVigReading *reading)
{
  return gst_structure_get (result, "region-id", G_TYPE_UINT, &reading->region_id,
      "region-x", G_TYPE_INT, &reading->region.x, "region-y", G_TYPE_INT, &reading->region.y,
      "region-width", G_TYPE_INT, &reading->region.w, "region-height", G_TYPE_INT, &reading->region.h, NULL);
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
