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

/* Appends to the structure's array, @entry becomes the array's. */
static void
append_result (GstStructure *structure, GstStructure *entry)
{
  GValue results = G_VALUE_INIT, value = G_VALUE_INIT;
  const GValue *old = gst_structure_get_value (structure, "results");
  if (old) {
    g_value_init (&results, GST_TYPE_ARRAY);
    g_value_copy (old, &results);
  } else {
    gst_value_array_init (&results, 1);
  }
  g_value_init (&value, GST_TYPE_STRUCTURE);
  g_value_take_boxed (&value, entry);
  gst_value_array_append_and_take_value (&results, &value);
  gst_structure_take_value (structure, "results", &results);
}

void
gst_vig_meta_register (void)
{
  gst_meta_register_custom_simple (GST_VIG_META_NAME); /* without tags: results stay true of whatever is made of a frame */
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

void
gst_vig_meta_attach (GstBuffer *buffer, const GstVigResult *result)
{
  guint id = 0;
  guint n = attach_classes (buffer, result, &id);
  GstStructure *entry = gst_structure_new ("vig-result",
      "element", G_TYPE_STRING, result->element,
      "model", G_TYPE_STRING, result->model,
      "model-hash", G_TYPE_STRING, result->model_hash,
      "state", G_TYPE_STRING, state_name (result, n),
      "label", G_TYPE_STRING, result->labels[result->ranks[0].index],
      "confidence", G_TYPE_DOUBLE, (double) result->ranks[0].value,
      "span-start", G_TYPE_UINT64, result->span_start,
      "span-end", G_TYPE_UINT64, result->span_end,
      "age", G_TYPE_UINT64, result->age, NULL);
  if (n > 0)
    gst_structure_set (entry, "cls-id", G_TYPE_UINT, id, NULL);
  append_result (get_structure (buffer), entry);
}
