/* SPDX-License-Identifier: LGPL-2.1-or-later */
/**
 * SECTION:element-vigpublish
 * @title: vigpublish
 *
 * Publishes what vigclassify says about frames, one JSON object each, and passes the frames on untouched.
 *
 * ## Example
 * |[
 * gst-launch-1.0 -q videotestsrc num-buffers=60 ! vigclassify model-file=models/camera-health.safetensors ! vigpublish ! fakesink
 * ]|
 * prints a line for each frame.
 *
 * docs/vigpublish.md describes properties, events and messages; docs/vigpublish.schema.json is the JSON schema.
 */
#include "gstvigpublish-private.h"

#include "gstvigmeta.h"

GST_DEBUG_CATEGORY_STATIC (gst_vig_publish_debug);
#define GST_CAT_DEFAULT gst_vig_publish_debug

static GstStaticPadTemplate sink_template = GST_STATIC_PAD_TEMPLATE ("sink", GST_PAD_SINK, GST_PAD_ALWAYS, GST_STATIC_CAPS_ANY);
static GstStaticPadTemplate src_template = GST_STATIC_PAD_TEMPLATE ("src", GST_PAD_SRC, GST_PAD_ALWAYS, GST_STATIC_CAPS_ANY);

G_DEFINE_TYPE (GstVigPublish, gst_vig_publish, GST_TYPE_BASE_TRANSFORM)
GST_ELEMENT_REGISTER_DEFINE_WITH_CODE (vigpublish, "vigpublish", GST_RANK_NONE, GST_TYPE_VIG_PUBLISH,
    GST_DEBUG_CATEGORY_INIT (gst_vig_publish_debug, "vigpublish", 0, "Publishing of what ViG models say"))

/* ---- what the bus is told -------------------------------------------------------------------------------------- */

/* Takes @details. */
static void
post (GstVigPublish *self, GstStructure *details)
{
  gst_element_post_message (GST_ELEMENT (self), gst_message_new_element (GST_OBJECT (self), details));
}

static void
warn (GstVigPublish *self, const GError *error)
{
  const gboolean event = error->code == GST_VIG_PUBLISH_ERROR_EVENT;
  const char *then = "It is tried again from time to time; until then results wait.";
  if (event)
    then = "That result is dropped.";
  else if (error->code == GST_VIG_PUBLISH_ERROR_OVER)
    then = "Results are dropped from now on.";
  GST_ELEMENT_WARNING (self, RESOURCE, WRITE, ("Not published: %s: %s", error->message, then), (NULL));
}

/* The queue's thread. */
static void
report (GstElement *element, const GstVigPublishReport *report)
{
  static const char *const names[] = { "connected", "disconnected", "dropped" };
  GstVigPublish *self = GST_VIG_PUBLISH (element);
  GstStructure *details = gst_vig_publish_counts_to_structure (&report->counts, "vig-publish");
  gst_structure_set (details, "event", G_TYPE_STRING, names[report->what], NULL);
  if (report->error)
    gst_structure_set (details, "error", G_TYPE_STRING, report->error->message, NULL);
  GST_INFO_OBJECT (self, "%" GST_PTR_FORMAT, (void *) details);
  post (self, details);
  if (report->error && report->first)
    warn (self, report->error);
  else if (report->what == GST_VIG_PUBLISH_DROPPED && report->first)
    GST_ELEMENT_WARNING (self, RESOURCE, WRITE, ("Results are dropped: more wait to be published than may (max-queued, "
            "max-queued-bytes)."), (NULL));
}

static void
warn_of_unsent (GstVigPublish *self, guint64 n)
{
  if (n > 0)
    GST_ELEMENT_WARNING (self, RESOURCE, WRITE, ("%" G_GUINT64_FORMAT " results were not published within drain-timeout, and "
            "are dropped.", n), (NULL));
}

/* ---- events ---------------------------------------------------------------------------------------------------- */

/* Takes @text. */
static void
publish (GstVigPublish *self, char *text, gsize length)
{
  GST_LOG_OBJECT (self, "%.*s", (int) length - 1, text);
  gst_vig_publish_queue_push (self->queue, gst_vig_publish_event_new (self->sequence++, self->stream, text, length));
}

static void
name_stream (GstVigPublish *self)
{
  GST_OBJECT_LOCK (self);
  const char *name = self->stream_name ? self->stream_name : self->stream_id;
  if (g_strcmp0 (name, self->stream) != 0 || !self->stream) {
    g_free (self->stream);
    self->stream = g_strdup (name ? name : GST_OBJECT_NAME (self));
  }
  GST_OBJECT_UNLOCK (self);
  self->scene.stream = self->stream;
}

static gboolean
is_held (const GstStructure *result)
{
  return g_strcmp0 (gst_structure_get_string (result, "state"), "held") == 0;
}

static void
publish_result (GstVigPublish *self, GstVigPublishWhat what, GstBuffer *buffer, const GstStructure *result)
{
  gboolean first = TRUE;
  GQuark previous = 0;
  gsize length;
  if (what == GST_VIG_PUBLISH_CHANGES && !gst_vig_publish_changes_see (&self->changes, result, &first, &previous))
    return;
  char *text = gst_vig_publish_result_to_json (&self->scene, self->sequence, buffer, result, !first,
      g_quark_to_string (previous), &length);
  publish (self, text, length);
}

static void
publish_results (GstVigPublish *self, GstBuffer *buffer)
{
  GST_OBJECT_LOCK (self);
  const GstVigPublishWhat what = self->what;
  const gboolean include_held = self->include_held;
  GST_OBJECT_UNLOCK (self);
  GstCustomMeta *meta = gst_buffer_get_custom_meta (buffer, GST_VIG_META_NAME);
  const GValue *results = meta ? gst_structure_get_value (gst_custom_meta_get_structure (meta), "results") : NULL;
  if (!results || what == GST_VIG_PUBLISH_SEGMENTS)
    return;
  for (guint i = 0; i < gst_value_array_get_size (results); i++) {
    const GstStructure *result = gst_value_get_structure (gst_value_array_get_value (results, i));
    if (include_held || !is_held (result))
      publish_result (self, what, buffer, result);
  }
}

static void
publish_segment (GstVigPublish *self, const GstStructure *segment)
{
  gsize length;
  GST_OBJECT_LOCK (self);
  const gboolean wanted = self->what == GST_VIG_PUBLISH_SEGMENTS;
  GST_OBJECT_UNLOCK (self);
  if (!wanted || !segment || !gst_structure_has_name (segment, "vig-segment"))
    return;
  name_stream (self);
  char *text = gst_vig_publish_segment_to_json (&self->scene, self->sequence, segment, &length);
  publish (self, text, length);
}

/* ---- frames ---------------------------------------------------------------------------------------------------- */

static GstFlowReturn
transform_ip (GstBaseTransform *trans, GstBuffer *buffer)
{
  GstVigPublish *self = GST_VIG_PUBLISH (trans);
  name_stream (self);
  self->scene.segment = trans->segment;
  gst_vig_publish_scene_see (&self->scene, buffer);
  publish_results (self, buffer);
  return GST_FLOW_OK;
}

static gboolean
set_caps (GstBaseTransform *trans, GstCaps *caps, GstCaps *same)
{
  GstVigPublish *self = GST_VIG_PUBLISH (trans);
  const GstStructure *structure = gst_caps_get_structure (caps, 0);
  if (!gst_structure_get_int (structure, "width", &self->scene.width)
      || !gst_structure_get_int (structure, "height", &self->scene.height))
    self->scene.width = self->scene.height = 0;
  return TRUE;
}

/* What is known of the stream before says nothing about what follows. */
static void
begin_anew (GstVigPublish *self)
{
  gst_vig_publish_changes_forget (&self->changes);
  self->scene.utc = self->scene.utc_pts = GST_CLOCK_TIME_NONE;
}

static void
take_stream_start (GstVigPublish *self, GstEvent *event)
{
  const char *id;
  gst_event_parse_stream_start (event, &id);
  GST_OBJECT_LOCK (self);
  g_free (self->stream_id);
  self->stream_id = g_strdup (id);
  GST_OBJECT_UNLOCK (self);
  begin_anew (self);
}

static void
drain (GstVigPublish *self)
{
  GST_OBJECT_LOCK (self);
  const GstClockTime timeout = self->drain_timeout;
  GST_OBJECT_UNLOCK (self);
  warn_of_unsent (self, gst_vig_publish_queue_drain (self->queue, timeout));
}

static gboolean
sink_event (GstBaseTransform *trans, GstEvent *event)
{
  GstVigPublish *self = GST_VIG_PUBLISH (trans);
  switch (GST_EVENT_TYPE (event)) {
    case GST_EVENT_STREAM_START:
      take_stream_start (self, event);
      break;
    case GST_EVENT_FLUSH_START:
      gst_vig_publish_queue_set_flushing (self->queue, TRUE);
      break;
    case GST_EVENT_FLUSH_STOP:
      gst_vig_publish_queue_set_flushing (self->queue, FALSE);
      begin_anew (self);
      break;
    case GST_EVENT_CUSTOM_DOWNSTREAM:
      publish_segment (self, gst_event_get_structure (event));
      break;
    case GST_EVENT_EOS:
      drain (self);
      break;
    default:
      break;
  }
  return GST_BASE_TRANSFORM_CLASS (gst_vig_publish_parent_class)->sink_event (trans, event);
}

/* ---- the element ----------------------------------------------------------------------------------------------- */

static GstVigPublishQueue *
open_queue (GstVigPublish *self, GError **error)
{
  GstVigPublishSettings settings;
  GST_OBJECT_LOCK (self);
  gst_vig_publish_settings_copy (&settings, &self->settings);
  GstVigPublishLimits limits = self->limits;
  GST_OBJECT_UNLOCK (self);
  limits.max_delay = MAX (limits.delay, limits.max_delay);
  GstVigPublishSink *sink = gst_vig_publish_sink_open (&settings, error);
  gst_vig_publish_settings_clear (&settings);
  return sink ? gst_vig_publish_queue_new (&limits, sink, GST_ELEMENT (self), report, error) : NULL;
}

static gboolean
start (GstBaseTransform *trans)
{
  GstVigPublish *self = GST_VIG_PUBLISH (trans);
  g_autoptr (GError) error = NULL;
  GstVigPublishQueue *queue = open_queue (self, &error);
  if (!queue) {
    gst_element_message_full (GST_ELEMENT (self), GST_MESSAGE_ERROR, error->domain, error->code, g_strdup (error->message),
        NULL, __FILE__, GST_FUNCTION, __LINE__);
    return FALSE;
  }
  g_free (self->session);
  self->session = g_uuid_string_random ();
  self->sequence = 0;
  self->scene = (GstVigPublishScene) { .session = self->session };
  begin_anew (self);
  GST_OBJECT_LOCK (self);
  g_clear_pointer (&self->stream_id, g_free);
  g_clear_pointer (&self->stream, g_free);
  self->queue = queue;
  GST_OBJECT_UNLOCK (self);
  return TRUE;
}

static gboolean
stop (GstBaseTransform *trans)
{
  GstVigPublish *self = GST_VIG_PUBLISH (trans);
  GstVigPublishCounts counts;
  GST_OBJECT_LOCK (self);
  GstVigPublishQueue *queue = self->queue;
  const GstClockTime timeout = self->drain_timeout;
  GST_OBJECT_UNLOCK (self);
  gst_vig_publish_queue_interrupt (queue);
  GST_OBJECT_LOCK (self);
  self->queue = NULL;
  gst_vig_publish_queue_get_counts (queue, &self->counts);
  GST_OBJECT_UNLOCK (self);
  guint64 n = gst_vig_publish_queue_close (queue, timeout, &counts);
  GST_OBJECT_LOCK (self);
  self->counts = counts;
  GST_OBJECT_UNLOCK (self);
  warn_of_unsent (self, n);
  return TRUE;
}

/* The streaming thread may be waiting for the queue. */
static GstStateChangeReturn
change_state (GstElement *element, GstStateChange transition)
{
  GstVigPublish *self = GST_VIG_PUBLISH (element);
  if (transition == GST_STATE_CHANGE_PAUSED_TO_READY && self->queue)
    gst_vig_publish_queue_interrupt (self->queue);
  return GST_ELEMENT_CLASS (gst_vig_publish_parent_class)->change_state (element, transition);
}

static void
finalize (GObject *object)
{
  GstVigPublish *self = GST_VIG_PUBLISH (object);
  gst_vig_publish_settings_clear (&self->settings);
  gst_vig_publish_changes_clear (&self->changes);
  g_free (self->stream_name);
  g_free (self->stream_id);
  g_free (self->stream);
  g_free (self->session);
  G_OBJECT_CLASS (gst_vig_publish_parent_class)->finalize (object);
}

static void
gst_vig_publish_class_init (GstVigPublishClass *class)
{
  GObjectClass *object_class = G_OBJECT_CLASS (class);
  GstElementClass *element_class = GST_ELEMENT_CLASS (class);
  GstBaseTransformClass *trans_class = GST_BASE_TRANSFORM_CLASS (class);
  object_class->finalize = finalize;
  element_class->change_state = change_state;
  trans_class->start = start;
  trans_class->stop = stop;
  trans_class->set_caps = set_caps;
  trans_class->sink_event = sink_event;
  trans_class->transform_ip = transform_ip;
  gst_vig_publish_install_properties (object_class);
  gst_element_class_add_static_pad_template (element_class, &sink_template);
  gst_element_class_add_static_pad_template (element_class, &src_template);
  gst_element_class_set_static_metadata (element_class, "ViG results publisher", "Filter/Metadata/Video",
      "Publishes what vigclassify says as JSON, to a file, standard output, MQTT or Kafka, leaving the frames untouched",
      "the gst-vig authors");
  gst_vig_meta_register ();
}

static void
gst_vig_publish_init (GstVigPublish *self)
{
  gst_vig_publish_init_properties (self);
  gst_vig_publish_changes_init (&self->changes);
  gst_base_transform_set_passthrough (GST_BASE_TRANSFORM (self), TRUE);
}
