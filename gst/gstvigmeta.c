/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "gstvigmeta.h"

#include <gst/analytics/analytics.h>

static const char *
state_name (const GstVigResult *result, guint n_attached)
{
  if (n_attached == 0)
    return "below-threshold";
  return result->held ? "held" : "fresh";
}

/* The buffer's VigResults, made if there is none. */
static GstStructure *
get_structure (GstBuffer *buffer)
{
  GstCustomMeta *meta = gst_buffer_get_custom_meta (buffer, GST_VIG_META_NAME);
  if (!meta)
    meta = gst_buffer_add_custom_meta (buffer, GST_VIG_META_NAME);
  return gst_custom_meta_get_structure (meta);
}

void
gst_vig_meta_register (void)
{
  static gsize done;
  if (!g_once_init_enter (&done))
    return;
  gst_meta_register_custom_simple (GST_VIG_META_NAME); /* without tags: results stay true of whatever is made of a frame */
  g_once_init_leave (&done, 1);
}

/* The ranks that reach the threshold, as one ClsMtd. Returns how many. */
static guint
attach_classes (GstBuffer *buffer, const GstVigResult *result, guint *id)
{
  guint n = 0;
  while (n < result->n_ranks && result->ranks[n].value >= result->threshold)
    n++;
  if (n == 0)
    return 0;
  gfloat *levels = g_newa (gfloat, n);
  GQuark *quarks = g_newa (GQuark, n);
  for (guint i = 0; i < n; i++) {
    levels[i] = result->ranks[i].value;
    quarks[i] = result->quarks[result->ranks[i].index];
  }
  GstAnalyticsRelationMetaInitParams params = { .initial_relation_order = 4, .initial_buf_size = 256 };
  GstAnalyticsRelationMeta *meta = gst_buffer_add_analytics_relation_meta_full (buffer, &params);
  GstAnalyticsClsMtd mtd;
  if (!meta || !gst_analytics_relation_meta_add_cls_mtd (meta, n, levels, quarks, &mtd))
    return 0;
  *id = mtd.id;
  return n;
}

/* What an entry says about the object that it is about. */
static void
describe_region (GstStructure *entry, const GstVigRegion *region)
{
  const char *type = g_quark_to_string (region->type);
  gst_structure_set (entry, "region-id", G_TYPE_UINT, region->od_id,
      "region-type", G_TYPE_STRING, type ? type : "",
      "region-x", G_TYPE_INT, region->part.x, "region-y", G_TYPE_INT, region->part.y,
      "region-width", G_TYPE_INT, region->part.w, "region-height", G_TYPE_INT, region->part.h, NULL);
  if (region->tracked)
    gst_structure_set (entry, "tracking-id", G_TYPE_UINT64, region->tracking_id, NULL);
}

void
gst_vig_meta_begin (GstVigMetaWriter *writer, GstBuffer *buffer)
{
  const GValue *old = gst_structure_get_value (get_structure (buffer), "results");
  *writer = (GstVigMetaWriter) { .buffer = buffer };
  if (old) {
    g_value_init (&writer->results, GST_TYPE_ARRAY);
    g_value_copy (old, &writer->results);
  } else {
    gst_value_array_init (&writer->results, 1);
  }
}

void
gst_vig_meta_add (GstVigMetaWriter *writer, const GstVigResult *result)
{
  guint id = 0;
  GstVigRegion *region = result->region;
  if (region && !gst_vig_region_ensure_od (region, writer->buffer))
    return;
  guint n = attach_classes (writer->buffer, result, &id);
  if (region && n > 0)
    gst_vig_region_relate (region, writer->buffer, id);
  GstStructure *entry = gst_structure_new ("vig-result",
      "element", G_TYPE_STRING, result->element,
      "model", G_TYPE_STRING, result->model,
      "model-hash", G_TYPE_STRING, result->model_hash,
      "state", G_TYPE_STRING, state_name (result, n),
      "label", G_TYPE_STRING, result->labels[result->ranks[0].index],
      "confidence", G_TYPE_DOUBLE, (double) result->ranks[0].value,
      "span-start", G_TYPE_UINT64, result->span.start,
      "span-last", G_TYPE_UINT64, result->span.last,
      "span-end", G_TYPE_UINT64, result->span.end,
      "clip-mode", G_TYPE_STRING, result->clip_mode,
      "warming-up", G_TYPE_BOOLEAN, result->span.warming_up,
      "age", G_TYPE_UINT64, result->age, NULL);
  if (n > 0)
    gst_structure_set (entry, "cls-id", G_TYPE_UINT, id, NULL);
  if (region)
    describe_region (entry, region);
  if (result->heat)
    gst_vig_heat_describe (result->heat, region ? &region->part : NULL, result->labels, entry);
  GValue value = G_VALUE_INIT;
  g_value_init (&value, GST_TYPE_STRUCTURE);
  g_value_take_boxed (&value, entry);
  gst_value_array_append_and_take_value (&writer->results, &value);
}

void
gst_vig_meta_end (GstVigMetaWriter *writer)
{
  gst_structure_take_value (get_structure (writer->buffer), "results", &writer->results);
}
