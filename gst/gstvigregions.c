/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Which objects upstream has found in a frame, read from the buffer's metas; and how results are tied to them. */
#include "gstvigregions.h"

#include <gst/analytics/analytics.h>

#define MAX_RATIO 256 /* a picture that much longer than wide shows nothing, and not every input size could take it */

GType
gst_vig_regions_get_type (void)
{
  static gsize type;
  static const GEnumValue values[] = {
    { GST_VIG_REGIONS_FRAME, "The whole frame", "frame" },
    { GST_VIG_REGIONS_OBJECTS, "Each object that upstream has found in it", "objects" },
    { GST_VIG_REGIONS_BOTH, "The whole frame, and each object", "both" },
    { 0, NULL, NULL },
  };
  if (g_once_init_enter (&type))
    g_once_init_leave (&type, g_enum_register_static ("GstVigRegions", values));
  return type;
}

GPtrArray *
gst_vig_object_classes_parse (const char *list)
{
  g_auto (GStrv) names = g_strsplit (list ? list : "", ",", -1);
  GPtrArray *classes = NULL;
  for (guint i = 0; names[i]; i++) {
    if (!*g_strstrip (names[i]))
      continue;
    if (!classes)
      classes = g_ptr_array_new_with_free_func (g_free);
    g_ptr_array_add (classes, g_strdup (names[i]));
  }
  return classes;
}

/* ---- filters --------------------------------------------------------------------------------------------------- */

/* The part of the frame that counts, as gst_vig_frame_map() has it. */
static void
get_visible (const GstVideoInfo *info, GstBuffer *buffer, gint64 visible[4])
{
  const GstVideoCropMeta *crop = gst_buffer_get_video_crop_meta (buffer);
  visible[0] = crop ? crop->x : 0;
  visible[1] = crop ? crop->y : 0;
  visible[2] = visible[0] + (crop ? crop->width : (guint) info->width);
  visible[3] = visible[1] + (crop ? crop->height : (guint) info->height);
}

/* @place may be any numbers. FALSE: nothing of it is seen. */
static gboolean
clip (const GstVideoRectangle *place, const gint64 visible[4], GstVideoRectangle *part)
{
  gint64 left = MAX (place->x, visible[0]), top = MAX (place->y, visible[1]);
  gint64 right = MIN ((gint64) place->x + place->w, visible[2]);
  gint64 bottom = MIN ((gint64) place->y + place->h, visible[3]);
  if (left >= right || top >= bottom)
    return FALSE;
  *part = (GstVideoRectangle) { (int) left, (int) top, (int) (right - left), (int) (bottom - top) };
  return TRUE;
}

static gboolean
is_wanted (GQuark type, const GPtrArray *classes)
{
  const char *name = g_quark_to_string (type);
  for (guint i = 0; classes && i < classes->len; i++)
    if (name && g_str_equal (name, classes->pdata[i]))
      return TRUE;
  return !classes;
}

static gboolean
passes (GstVigRegion *region, const GstVigRegionFilter *filter, const gint64 visible[4])
{
  if (!is_wanted (region->type, filter->classes) || !clip (&region->place, visible, &region->part))
    return FALSE;
  gint64 shorter = MIN (region->part.w, region->part.h), longer = MAX (region->part.w, region->part.h);
  return shorter >= filter->min_size && longer <= shorter * MAX_RATIO;
}

/* ---- what upstream says ---------------------------------------------------------------------------------------- */

/* Trackers relate an object to its track in either direction, by whatever kind of relation. */
static gboolean
find_tracking (GstAnalyticsRelationMeta *meta, guint od_id, guint64 *tracking_id)
{
  GstAnalyticsMtdType type = gst_analytics_tracking_mtd_get_mtd_type ();
  GstAnalyticsTrackingMtd tracking;
  gpointer state = NULL;
  gboolean found = gst_analytics_relation_meta_get_direct_related (meta, od_id, GST_ANALYTICS_REL_TYPE_ANY, type,
      &state, &tracking);
  for (state = NULL; !found && gst_analytics_relation_meta_iterate (meta, &state, type, &tracking);)
    found = gst_analytics_relation_meta_get_relation (meta, tracking.id, od_id) != GST_ANALYTICS_REL_TYPE_NONE;
  GstClockTime first_seen, last_seen;
  gboolean lost;
  return found && gst_analytics_tracking_mtd_get_info (&tracking, tracking_id, &first_seen, &last_seen, &lost);
}

static GArray *
read_objects (GstAnalyticsRelationMeta *meta)
{
  GArray *objects = g_array_new (FALSE, FALSE, sizeof (GstVigRegion));
  gpointer state = NULL;
  GstAnalyticsODMtd od;
  gfloat confidence;
  while (meta && gst_analytics_relation_meta_iterate (meta, &state, gst_analytics_od_mtd_get_mtd_type (), &od)) {
    GstVigRegion r = { .type = gst_analytics_od_mtd_get_obj_type (&od), .has_od = TRUE, .od_id = od.id,
      .shot = GST_VIG_NO_SHOT };
    if (!gst_analytics_od_mtd_get_location (&od, &r.place.x, &r.place.y, &r.place.w, &r.place.h, &confidence))
      continue;
    g_array_append_val (objects, r);
  }
  return objects;
}

/* Whether the two are one object: of the same type, in the same place; or in places that overlap, where upstream has
 * given the meta the id of the ODMtd (places that were scaled may have been rounded differently). */
static gboolean
are_pair (const GstVigRegion *object, const GstVigRegion *roi, int roi_id)
{
  const GstVideoRectangle *a = &object->place, *b = &roi->place;
  if (object->type != roi->type)
    return FALSE;
  if (a->x == b->x && a->y == b->y && a->w == b->w && a->h == b->h)
    return TRUE;
  const gint64 place[4] = { a->x, a->y, (gint64) a->x + a->w, (gint64) a->y + a->h };
  GstVideoRectangle common;
  return roi_id >= 0 && (guint) roi_id == object->od_id && clip (b, place, &common);
}

static int
to_int (guint value)
{
  return (int) MIN (value, G_MAXINT);
}

/* Appends the regions of interest that are not among @objects already. */
static void
read_regions_of_interest (GstBuffer *buffer, GArray *objects)
{
  const guint n_ods = objects->len;
  gpointer state = NULL;
  GstMeta *meta;
  while ((meta = gst_buffer_iterate_meta_filtered (buffer, &state, GST_VIDEO_REGION_OF_INTEREST_META_API_TYPE))) {
    const GstVideoRegionOfInterestMeta *roi = (GstVideoRegionOfInterestMeta *) meta;
    GstVigRegion r = { .type = roi->roi_type, .shot = GST_VIG_NO_SHOT,
      .place = { to_int (roi->x), to_int (roi->y), to_int (roi->w), to_int (roi->h) } };
    gboolean found = FALSE;
    for (guint i = 0; !found && i < n_ods; i++)
      found = are_pair (&g_array_index (objects, GstVigRegion, i), &r, roi->id);
    if (!found)
      g_array_append_val (objects, r);
  }
}

static gboolean
has_twin (const GArray *objects, guint which)
{
  const GstVigRegion *r = (const GstVigRegion *) (gpointer) objects->data;
  for (guint i = 0; i < objects->len; i++)
    if (i != which && r[i].tracked && r[i].tracking_id == r[which].tracking_id)
      return TRUE;
  return FALSE;
}

static void
find_followed (GArray *objects)
{
  for (guint i = 0; i < objects->len; i++) {
    GstVigRegion *r = &g_array_index (objects, GstVigRegion, i);
    r->followed = r->tracked && !has_twin (objects, i);
  }
}

GArray *
gst_vig_regions_find (GstBuffer *buffer, const GstVideoInfo *info, const GstVigRegionFilter *filter, guint *n_skipped)
{
  GstAnalyticsRelationMeta *meta = gst_buffer_get_analytics_relation_meta (buffer);
  GArray *objects = read_objects (meta);
  read_regions_of_interest (buffer, objects);
  const guint n_found = objects->len, most = filter->max_objects ? filter->max_objects : G_MAXUINT;
  gint64 visible[4];
  get_visible (info, buffer, visible);
  guint n = 0;
  for (guint i = 0; i < n_found && n < most; i++) {
    GstVigRegion *r = &g_array_index (objects, GstVigRegion, i);
    if (!passes (r, filter, visible))
      continue;
    r->tracked = r->has_od && find_tracking (meta, r->od_id, &r->tracking_id);
    g_array_index (objects, GstVigRegion, n++) = *r;
  }
  g_array_set_size (objects, n);
  find_followed (objects);
  *n_skipped = n_found - n;
  return objects;
}

/* ---- what is said to downstream -------------------------------------------------------------------------------- */

static void
add_relation (GstAnalyticsRelationMeta *meta, guint types, guint from, guint to)
{
  types |= (guint) gst_analytics_relation_meta_get_relation (meta, from, to); /* setting forgets what was there */
  gst_analytics_relation_meta_set_relation (meta, (GstAnalyticsRelTypes) types, from, to);
}

void
gst_vig_region_relate (const GstVigRegion *region, GstBuffer *buffer, guint cls_id)
{
  GstAnalyticsRelationMeta *meta = gst_buffer_get_analytics_relation_meta (buffer);
  add_relation (meta, GST_ANALYTICS_REL_TYPE_RELATE_TO | GST_ANALYTICS_REL_TYPE_CONTAIN, region->od_id, cls_id);
  add_relation (meta, GST_ANALYTICS_REL_TYPE_RELATE_TO | GST_ANALYTICS_REL_TYPE_IS_PART_OF, cls_id, region->od_id);
}

gboolean
gst_vig_region_ensure_od (GstVigRegion *region, GstBuffer *buffer)
{
  if (region->has_od)
    return TRUE;
  GstAnalyticsRelationMetaInitParams params = { .initial_relation_order = 32, .initial_buf_size = 2048 };
  GstAnalyticsRelationMeta *meta = gst_buffer_add_analytics_relation_meta_full (buffer, &params);
  GstAnalyticsODMtd od;
  const GstVideoRectangle *p = &region->place;
  if (!meta || !gst_analytics_relation_meta_add_od_mtd (meta, region->type, p->x, p->y, p->w, p->h, 0, &od))
    return FALSE;
  region->has_od = TRUE;
  region->od_id = od.id;
  return TRUE;
}
