/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "gstvigpublishevent.h"

#include <gst/analytics/analytics.h>
#include <float.h>
#include <json-glib/json-glib.h>
#include <math.h>

#define NTP_TO_UNIX (G_GUINT64_CONSTANT (2208988800) * GST_SECOND) /* 1900 to 1970 */

/* ---- values ---------------------------------------------------------------------------------------------------- */

static void
add_string (JsonBuilder *json, const char *name, const char *value)
{
  g_autofree char *valid = g_utf8_make_valid (value ? value : "", -1);
  json_builder_set_member_name (json, name);
  json_builder_add_string_value (json, valid);
}

static void
add_int (JsonBuilder *json, const char *name, gint64 value)
{
  json_builder_set_member_name (json, name);
  json_builder_add_int_value (json, value);
}

static void
add_bool (JsonBuilder *json, const char *name, gboolean value)
{
  json_builder_set_member_name (json, name);
  json_builder_add_boolean_value (json, value);
}

/* JSON has no infinities. */
static void
add_number (JsonBuilder *json, const char *name, double value)
{
  json_builder_set_member_name (json, name);
  if (isfinite (value))
    json_builder_add_double_value (json, value);
  else
    json_builder_add_null_value (json);
}

/* Nanoseconds; null: not known */
static void
add_time (JsonBuilder *json, const char *name, GstClockTime time)
{
  json_builder_set_member_name (json, name);
  if (GST_CLOCK_TIME_IS_VALID (time) && time <= G_MAXINT64)
    json_builder_add_int_value (json, (gint64) time);
  else
    json_builder_add_null_value (json);
}

/* RFC 3339, to the nanosecond; left out where it is not known. */
static void
add_utc (JsonBuilder *json, const char *name, GstClockTime utc)
{
  g_autoptr (GDateTime) date = GST_CLOCK_TIME_IS_VALID (utc) ? g_date_time_new_from_unix_utc (utc / GST_SECOND) : NULL;
  if (!date)
    return;
  g_autofree char *second = g_date_time_format (date, "%Y-%m-%dT%H:%M:%S");
  g_autofree char *text = g_strdup_printf ("%s.%09uZ", second, (guint) (utc % GST_SECOND));
  add_string (json, name, text);
}

static GstClockTime
get_time (const GstStructure *s, const char *field)
{
  guint64 value;
  return gst_structure_get_uint64 (s, field, &value) ? value : GST_CLOCK_TIME_NONE;
}

static double
get_double (const GstStructure *s, const char *field)
{
  double value;
  return gst_structure_get_double (s, field, &value) ? value : NAN;
}

/* ---- times ----------------------------------------------------------------------------------------------------- */

/* NONE: it has none */
static GstClockTime
find_utc (GstBuffer *buffer)
{
  static GstStaticCaps unix_caps = GST_STATIC_CAPS ("timestamp/x-unix"), ntp_caps = GST_STATIC_CAPS ("timestamp/x-ntp");
  g_autoptr (GstCaps) unix_time = gst_static_caps_get (&unix_caps), ntp = gst_static_caps_get (&ntp_caps);
  const GstReferenceTimestampMeta *meta = gst_buffer_get_reference_timestamp_meta (buffer, unix_time);
  if (meta)
    return meta->timestamp;
  meta = gst_buffer_get_reference_timestamp_meta (buffer, ntp);
  return meta && meta->timestamp >= NTP_TO_UNIX ? meta->timestamp - NTP_TO_UNIX : GST_CLOCK_TIME_NONE;
}

void
gst_vig_publish_scene_see (GstVigPublishScene *scene, GstBuffer *buffer)
{
  const GstClockTime utc = find_utc (buffer);
  if (!GST_CLOCK_TIME_IS_VALID (utc))
    return;
  scene->utc = utc;
  scene->utc_pts = GST_BUFFER_PTS (buffer);
}

/* Of a time that no frame at hand has: as far from the last that is known as its PTS is. */
static GstClockTime
estimate_utc (const GstVigPublishScene *scene, GstClockTime pts)
{
  if (!GST_CLOCK_TIME_IS_VALID (scene->utc) || !GST_CLOCK_TIME_IS_VALID (scene->utc_pts) || !GST_CLOCK_TIME_IS_VALID (pts))
    return GST_CLOCK_TIME_NONE;
  const GstClockTimeDiff distance = GST_CLOCK_DIFF (scene->utc_pts, pts);
  return distance < 0 && (GstClockTime) -distance > scene->utc ? GST_CLOCK_TIME_NONE : scene->utc + distance;
}

static void
add_moment (JsonBuilder *json, const char *name, GstClockTime pts, GstClockTime stream, GstClockTime running,
    GstClockTime utc)
{
  json_builder_set_member_name (json, name);
  json_builder_begin_object (json);
  add_time (json, "pts", pts);
  add_time (json, "stream", stream);
  add_time (json, "running", running);
  add_utc (json, "utc", utc);
  json_builder_end_object (json);
}

static void
add_time_of (JsonBuilder *json, const GstVigPublishScene *scene, GstBuffer *buffer)
{
  const GstClockTime pts = GST_BUFFER_PTS (buffer);
  const gboolean known = scene->segment.format == GST_FORMAT_TIME && GST_CLOCK_TIME_IS_VALID (pts);
  add_moment (json, "time", pts, known ? gst_segment_to_stream_time (&scene->segment, GST_FORMAT_TIME, pts) : GST_CLOCK_TIME_NONE,
      known ? gst_segment_to_running_time (&scene->segment, GST_FORMAT_TIME, pts) : GST_CLOCK_TIME_NONE, find_utc (buffer));
}

/* ---- what all events have -------------------------------------------------------------------------------------- */

static JsonBuilder *
begin (const GstVigPublishScene *scene, const char *type, guint64 sequence, const GstStructure *by)
{
  JsonBuilder *json = json_builder_new ();
  json_builder_begin_object (json);
  add_int (json, "version", GST_VIG_PUBLISH_VERSION);
  add_string (json, "type", type);
  add_string (json, "session", scene->session);
  add_int (json, "sequence", (gint64) sequence);
  add_utc (json, "created", (GstClockTime) g_get_real_time () * GST_USECOND);
  add_string (json, "stream", scene->stream);
  add_string (json, "element", gst_structure_get_string (by, "element"));
  json_builder_set_member_name (json, "model");
  json_builder_begin_object (json);
  add_string (json, "name", gst_structure_get_string (by, "model"));
  add_string (json, "hash", gst_structure_get_string (by, "model-hash"));
  json_builder_end_object (json);
  return json;
}

/* All that is not whole is a confidence, which is a float: as many digits as it takes to read that float back, where
 * JSON-GLib writes seventeen. Strings stay as they are. */
static gboolean
shorten (const GMatchInfo *match, GString *to, gpointer data)
{
  g_autofree char *token = g_match_info_fetch (match, 0);
  char text[G_ASCII_DTOSTR_BUF_SIZE];
  if (*token == '"' || !strpbrk (token, ".eE")) {
    g_string_append (to, token);
    return FALSE;
  }
  const float value = (float) g_ascii_strtod (token, NULL);
  for (int digits = 1; digits <= FLT_DECIMAL_DIG; digits++) {
    const char format[] = { '%', '.', (char) ('0' + digits), 'g', '\0' };
    g_ascii_formatd (text, sizeof text, format, value);
    if ((float) g_ascii_strtod (text, NULL) == value)
      break;
  }
  g_string_append (to, text);
  return FALSE;
}

static char *
shorten_numbers (const char *json)
{
  static GRegex *tokens;
  if (g_once_init_enter (&tokens))
    g_once_init_leave (&tokens, g_regex_new ("\"(?:[^\"\\\\]|\\\\.)*+\"|-?\\d[\\d.eE+-]*+", G_REGEX_OPTIMIZE, 0, NULL));
  return g_regex_replace_eval (tokens, json, -1, 0, 0, shorten, NULL, NULL);
}

/* Takes @json. */
static char *
end (JsonBuilder *json, gsize *length)
{
  json_builder_end_object (json);
  g_autoptr (JsonNode) root = json_builder_get_root (json);
  g_object_unref (json);
  g_autofree char *text = json_to_string (root, FALSE);
  g_autofree char *shorter = shorten_numbers (text);
  *length = strlen (shorter) + 1;
  return g_strconcat (shorter, "\n", NULL);
}

/* Ids are names, not numbers: some are greater than what JSON's readers can count to. */
static void
add_tracking_id (JsonBuilder *json, const GstStructure *s)
{
  guint64 id;
  if (!gst_structure_get_uint64 (s, "tracking-id", &id))
    return;
  g_autofree char *text = g_strdup_printf ("%" G_GUINT64_FORMAT, id);
  add_string (json, "tracking_id", text);
}

/* ---- results --------------------------------------------------------------------------------------------------- */

static void
add_label (JsonBuilder *json, const char *label, double confidence)
{
  json_builder_begin_object (json);
  add_string (json, "label", label);
  add_number (json, "confidence", confidence);
  json_builder_end_object (json);
}

/* The ClsMtd of the result, if no element since has dropped it or given its id to another. */
static gboolean
find_cls (GstBuffer *buffer, const GstStructure *result, GstAnalyticsClsMtd *cls)
{
  guint id;
  GstAnalyticsRelationMeta *meta = gst_buffer_get_analytics_relation_meta (buffer);
  if (!meta || !gst_structure_get_uint (result, "cls-id", &id)
      || !gst_analytics_relation_meta_get_cls_mtd (meta, id, cls) || gst_analytics_cls_mtd_get_length (cls) == 0)
    return FALSE;
  const char *label = g_quark_to_string (gst_analytics_cls_mtd_get_quark (cls, 0));
  return g_strcmp0 (label, gst_structure_get_string (result, "label")) == 0;
}

static void
add_labels (JsonBuilder *json, GstBuffer *buffer, const GstStructure *result)
{
  GstAnalyticsClsMtd cls;
  json_builder_set_member_name (json, "labels");
  json_builder_begin_array (json);
  if (find_cls (buffer, result, &cls))
    for (gsize i = 0; i < gst_analytics_cls_mtd_get_length (&cls); i++)
      add_label (json, g_quark_to_string (gst_analytics_cls_mtd_get_quark (&cls, i)),
          gst_analytics_cls_mtd_get_level (&cls, i));
  else if (gst_structure_has_field (result, "cls-id"))
    add_label (json, gst_structure_get_string (result, "label"), get_double (result, "confidence"));
  json_builder_end_array (json);
}

/* Where the object is in this frame: its ODMtd says so, and follows the frame through elements that scale it. */
static void
find_place (GstBuffer *buffer, const GstStructure *result, int place[4])
{
  static const char *const fields[] = { "region-x", "region-y", "region-width", "region-height" };
  guint id;
  float confidence;
  GstAnalyticsODMtd od;
  for (int i = 0; i < 4; i++)
    if (!gst_structure_get_int (result, fields[i], &place[i]))
      place[i] = 0;
  GstAnalyticsRelationMeta *meta = gst_buffer_get_analytics_relation_meta (buffer);
  if (!meta || !gst_structure_get_uint (result, "region-id", &id) || !gst_analytics_relation_meta_get_od_mtd (meta, id, &od))
    return;
  const char *type = g_quark_to_string (gst_analytics_od_mtd_get_obj_type (&od));
  if (g_strcmp0 (type ? type : "", gst_structure_get_string (result, "region-type")) == 0)
    gst_analytics_od_mtd_get_location (&od, &place[0], &place[1], &place[2], &place[3], &confidence);
}

static void
add_region (JsonBuilder *json, GstBuffer *buffer, const GstStructure *result)
{
  static const char *const names[] = { "x", "y", "width", "height" };
  int place[4];
  if (!gst_structure_has_field (result, "region-type"))
    return;
  find_place (buffer, result, place);
  json_builder_set_member_name (json, "region");
  json_builder_begin_object (json);
  add_string (json, "label", gst_structure_get_string (result, "region-type"));
  for (int i = 0; i < 4; i++)
    add_int (json, names[i], place[i]);
  add_tracking_id (json, result);
  json_builder_end_object (json);
}

static void
add_frame (JsonBuilder *json, const GstVigPublishScene *scene)
{
  if (scene->width <= 0 || scene->height <= 0)
    return;
  json_builder_set_member_name (json, "frame");
  json_builder_begin_object (json);
  add_int (json, "width", scene->width);
  add_int (json, "height", scene->height);
  json_builder_end_object (json);
}

static void
add_span (JsonBuilder *json, const GstStructure *result)
{
  json_builder_set_member_name (json, "span");
  json_builder_begin_object (json);
  add_time (json, "start", get_time (result, "span-start"));
  add_time (json, "last", get_time (result, "span-last"));
  add_time (json, "end", get_time (result, "span-end"));
  json_builder_end_object (json);
}

char *
gst_vig_publish_result_to_json (const GstVigPublishScene *scene, guint64 sequence, GstBuffer *buffer,
    const GstStructure *result, gboolean changed, const char *previous, gsize *length)
{
  gboolean warming_up = FALSE;
  JsonBuilder *json = begin (scene, "result", sequence, result);
  add_time_of (json, scene, buffer);
  add_frame (json, scene);
  add_region (json, buffer, result);
  add_string (json, "state", gst_structure_get_string (result, "state"));
  add_time (json, "age", get_time (result, "age"));
  add_string (json, "clip_mode", gst_structure_get_string (result, "clip-mode"));
  gst_structure_get_boolean (result, "warming-up", &warming_up);
  add_bool (json, "warming_up", warming_up);
  add_span (json, result);
  add_string (json, "label", gst_structure_get_string (result, "label"));
  add_number (json, "confidence", get_double (result, "confidence"));
  add_labels (json, buffer, result);
  if (changed && previous) {
    add_string (json, "previous_label", previous);
  } else if (changed) {
    json_builder_set_member_name (json, "previous_label");
    json_builder_add_null_value (json);
  }
  return end (json, length);
}

/* ---- segments -------------------------------------------------------------------------------------------------- */

char *
gst_vig_publish_segment_to_json (const GstVigPublishScene *scene, guint64 sequence, const GstStructure *segment,
    gsize *length)
{
  const GstClockTime first = get_time (segment, "start"), last = get_time (segment, "end");
  guint answers = 0;
  JsonBuilder *json = begin (scene, "segment", sequence, segment);
  add_moment (json, "start", first, get_time (segment, "stream-start"), get_time (segment, "running-start"),
      estimate_utc (scene, first));
  add_moment (json, "end", last, get_time (segment, "stream-end"), get_time (segment, "running-end"),
      estimate_utc (scene, last));
  if (gst_structure_has_field (segment, "region-type")) {
    json_builder_set_member_name (json, "region");
    json_builder_begin_object (json);
    add_string (json, "label", gst_structure_get_string (segment, "region-type"));
    add_tracking_id (json, segment);
    json_builder_end_object (json);
  }
  add_string (json, "label", gst_structure_get_string (segment, "label"));
  add_number (json, "confidence", get_double (segment, "confidence"));
  add_number (json, "peak", get_double (segment, "peak"));
  gst_structure_get_uint (segment, "answers", &answers);
  add_int (json, "answers", answers);
  return end (json, length);
}
