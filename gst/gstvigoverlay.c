/* SPDX-License-Identifier: LGPL-2.1-or-later */
/**
 * SECTION:element-vigoverlay
 * @title: vigoverlay
 *
 * Draws what vigclassify has said about frames and objects onto the video.
 *
 * ## Example
 * |[
 * gst-launch-1.0 videotestsrc ! vigclassify model-file=models/camera-health.safetensors ! vigoverlay ! videoconvert ! autovideosink
 * ]|
 *
 * docs/vigoverlay.md describes what is drawn, and where.
 */
#include "gstvigoverlay.h"

#include "gstvigcanvas.h"
#include "gstvigcaps.h"
#include "gstvigmeta.h"

GST_DEBUG_CATEGORY_STATIC (gst_vig_overlay_debug);
#define GST_CAT_DEFAULT gst_vig_overlay_debug

#define COMPOSITION GST_CAPS_FEATURE_META_GST_VIDEO_OVERLAY_COMPOSITION

typedef struct {
  char *font;
  gboolean labels;
  double timeline; /* seconds */
  gboolean heatmap;
  double opacity;
} Settings;

struct _GstVigOverlay {
  GstElement parent;
  GstPad *sinkpad, *srcpad;

  /* object lock */
  Settings settings;
  gboolean stale; /* the canvas is for other caps, or another font */

  /* stream lock */
  GstVideoInfo info;
  gboolean have_info;
  gboolean attaches; /* downstream draws: the composition travels as a meta */
  GstSegment segment;
  GstVigCanvas canvas;
  GArray *histories; /* of GstVigHistory: of each classifier that has been heard of */
};

enum { PROP_0, PROP_FONT_DESC, PROP_DRAW_LABELS, PROP_TIMELINE, PROP_HEATMAP, PROP_OPACITY };

static GstStaticPadTemplate sink_template = GST_STATIC_PAD_TEMPLATE ("sink", GST_PAD_SINK, GST_PAD_ALWAYS,
    GST_STATIC_CAPS (GST_VIG_SYSTEM_CAPS));
static GstStaticPadTemplate src_template = GST_STATIC_PAD_TEMPLATE ("src", GST_PAD_SRC, GST_PAD_ALWAYS,
    GST_STATIC_CAPS (GST_VIG_SYSTEM_CAPS));

G_DEFINE_TYPE (GstVigOverlay, gst_vig_overlay, GST_TYPE_ELEMENT)
GST_ELEMENT_REGISTER_DEFINE_WITH_CODE (vigoverlay, "vigoverlay", GST_RANK_NONE, GST_TYPE_VIG_OVERLAY,
    GST_DEBUG_CATEGORY_INIT (gst_vig_overlay_debug, "vigoverlay", 0, "Draws what vigclassify says"))

/* ---- caps ------------------------------------------------------------------------------------------------------ */

static gboolean
has_composition (const GstCaps *caps, guint i)
{
  return gst_caps_features_contains (gst_caps_get_features (caps, i), COMPOSITION);
}

/* The same caps, all with overlay composition, or all without. (transfer full) */
static GstCaps *
with_composition (const GstCaps *caps, gboolean with)
{
  GstCaps *result = gst_caps_copy (caps);
  for (guint i = 0; i < gst_caps_get_size (result); i++) {
    GstCapsFeatures *features = gst_caps_get_features (result, i);
    if (with == has_composition (result, i) || gst_caps_features_is_any (features))
      continue;
    if (with)
      gst_caps_features_add (features, COMPOSITION);
    else
      gst_caps_features_remove (features, COMPOSITION);
  }
  return result;
}

/* What @pad can have where the other pad's peer can have what it says: each with composition or without, except that
 * nothing that has one on the sink pad loses it. (transfer full) */
static GstCaps *
get_caps (GstVigOverlay *self, GstPad *pad, GstCaps *filter)
{
  GstPad *other = pad == self->sinkpad ? self->srcpad : self->sinkpad;
  g_autoptr (GstCaps) template = gst_pad_get_pad_template_caps (pad);
  g_autoptr (GstCaps) asked = filter ? gst_caps_merge (with_composition (filter, TRUE), with_composition (filter, FALSE)) : NULL;
  g_autoptr (GstCaps) peer = gst_pad_peer_query_caps (other, asked);
  g_autoptr (GstCaps) there = gst_caps_intersect_full (peer, template, GST_CAPS_INTERSECT_FIRST);
  GstCaps *more = with_composition (there, pad == self->srcpad);
  GstCaps *caps = pad == self->srcpad ? gst_caps_merge (more, gst_caps_ref (there)) : gst_caps_merge (gst_caps_ref (there), more);
  if (!filter)
    return caps;
  GstCaps *filtered = gst_caps_intersect_full (filter, caps, GST_CAPS_INTERSECT_FIRST);
  gst_caps_unref (caps);
  return filtered;
}

/* Whether downstream says that it draws compositions on frames of these caps, which it knows. */
static gboolean
downstream_draws (GstVigOverlay *self, GstCaps *caps)
{
  g_autoptr (GstQuery) query = gst_query_new_allocation (caps, FALSE);
  return gst_pad_peer_query (self->srcpad, query)
      && gst_query_find_allocation_meta (query, GST_VIDEO_OVERLAY_COMPOSITION_META_API_TYPE, NULL);
}

static gboolean
push_caps (GstVigOverlay *self, GstCaps *caps)
{
  return gst_pad_push_event (self->srcpad, gst_event_new_caps (caps));
}

/* Tells downstream what comes, with the composition as a meta where it draws that itself; else we do. */
static gboolean
negotiate (GstVigOverlay *self, GstCaps *caps)
{
  const gboolean had = has_composition (caps, 0);
  g_autoptr (GstCaps) with = with_composition (caps, TRUE);
  gst_pad_check_reconfigure (self->srcpad);
  self->attaches = (had || gst_pad_peer_query_accept_caps (self->srcpad, with)) && push_caps (self, with)
      && downstream_draws (self, with);
  GST_INFO_OBJECT (self, "%s: %" GST_PTR_FORMAT, self->attaches ? "downstream draws" : "drawn here", (void *) caps);
  return self->attaches || had || push_caps (self, caps);
}

static gboolean
take_caps (GstVigOverlay *self, GstCaps *caps)
{
  if (!gst_video_info_from_caps (&self->info, caps)) {
    g_autofree char *string = gst_caps_to_string (caps);
    GST_ELEMENT_ERROR (self, STREAM, FORMAT, ("The caps must describe raw video, found %s.", string), (NULL));
    return FALSE;
  }
  self->have_info = TRUE;
  GST_OBJECT_LOCK (self);
  self->stale = TRUE;
  GST_OBJECT_UNLOCK (self);
  return negotiate (self, caps);
}

/* Downstream has changed: it may draw now, or not any more. */
static GstFlowReturn
renegotiate (GstVigOverlay *self)
{
  g_autoptr (GstCaps) caps = gst_pad_get_current_caps (self->sinkpad);
  if (negotiate (self, caps))
    return GST_FLOW_OK;
  gst_pad_mark_reconfigure (self->srcpad);
  return GST_PAD_IS_FLUSHING (self->srcpad) ? GST_FLOW_FLUSHING : GST_FLOW_NOT_NEGOTIATED;
}

/* ---- timeline -------------------------------------------------------------------------------------------------- */

static void
forget (GstVigOverlay *self)
{
  g_array_set_size (self->histories, 0);
}

/* What a classifier says about the frame itself; 0: nothing that is certain. */
static GQuark
label_of (const GArray *readings, GQuark element)
{
  for (guint i = 0; i < readings->len; i++) {
    const GstVigReading *reading = &g_array_index (readings, GstVigReading, i);
    if (reading->element == element && !reading->is_region)
      return reading->certain ? reading->label : 0;
  }
  return 0;
}

static gboolean
is_known (const GstVigOverlay *self, GQuark element)
{
  for (guint i = 0; i < self->histories->len; i++)
    if (g_array_index (self->histories, GstVigHistory, i).element == element)
      return TRUE;
  return FALSE;
}

static void
remember (GstVigOverlay *self, const GArray *readings, GstClockTime now, GstClockTime length)
{
  for (guint i = 0; i < readings->len; i++) {
    const GstVigReading *reading = &g_array_index (readings, GstVigReading, i);
    GstVigHistory history;
    if (reading->is_region || is_known (self, reading->element))
      continue;
    gst_vig_history_init (&history, reading->element);
    g_array_append_val (self->histories, history);
  }
  for (guint i = self->histories->len; i-- > 0;) {
    GstVigHistory *history = &g_array_index (self->histories, GstVigHistory, i);
    gst_vig_history_add (history, now, label_of (readings, history->element), length);
    if (gst_vig_history_is_silent (history) && label_of (readings, history->element) == 0)
      g_array_remove_index (self->histories, i);
  }
}

static void
add_timeline (GstVigOverlay *self, GstBuffer *buffer, const GArray *readings, double seconds)
{
  const GstClockTime length = (GstClockTime) (seconds * GST_SECOND);
  const GstClockTime now = gst_segment_to_running_time (&self->segment, GST_FORMAT_TIME, GST_BUFFER_PTS (buffer));
  if (length == 0 || !GST_CLOCK_TIME_IS_VALID (now))
    return;
  remember (self, readings, now, length);
  gst_vig_canvas_add_timeline (&self->canvas, self->histories, now, length);
}

/* ---- frames ---------------------------------------------------------------------------------------------------- */

/* The settings of now; the canvas suits them and the caps. */
static Settings
get_settings (GstVigOverlay *self)
{
  GST_OBJECT_LOCK (self);
  const gboolean stale = self->stale;
  Settings settings = self->settings;
  settings.font = stale ? g_strdup (settings.font) : NULL;
  self->stale = FALSE;
  GST_OBJECT_UNLOCK (self);
  if (stale)
    gst_vig_canvas_set_frame (&self->canvas, &self->info, settings.font);
  g_clear_pointer (&settings.font, g_free);
  return settings;
}

/* (transfer none) (nullable) */
static GstVideoOverlayComposition *
draw (GstVigOverlay *self, GstBuffer *buffer)
{
  const Settings settings = get_settings (self);
  g_autoptr (GArray) readings = gst_vig_readings_take (buffer);
  gst_vig_sprites_begin (&self->canvas.sprites);
  if (settings.heatmap)
    gst_vig_canvas_add_heat (&self->canvas, readings, settings.opacity);
  gst_vig_canvas_add_boxes (&self->canvas, readings, settings.labels);
  add_timeline (self, buffer, readings, settings.timeline);
  if (settings.labels)
    gst_vig_canvas_add_lines (&self->canvas, readings);
  return gst_vig_sprites_end (&self->canvas.sprites);
}

static void
add_rectangles (GstVideoOverlayComposition *to, GstVideoOverlayComposition *from)
{
  for (guint i = 0; i < gst_video_overlay_composition_n_rectangles (from); i++)
    gst_video_overlay_composition_add_rectangle (to, gst_video_overlay_composition_get_rectangle (from, i));
}

/* Over what somebody else wants to have drawn on it. */
static void
attach (GstBuffer *buffer, GstVideoOverlayComposition *composition)
{
  GstVideoOverlayCompositionMeta *meta = gst_buffer_get_video_overlay_composition_meta (buffer);
  if (!meta) {
    gst_buffer_add_video_overlay_composition_meta (buffer, composition);
    return;
  }
  GstVideoOverlayComposition *both = gst_video_overlay_composition_new (NULL);
  add_rectangles (both, meta->overlay);
  add_rectangles (both, composition);
  gst_video_overlay_composition_unref (meta->overlay);
  meta->overlay = both;
}

static gboolean
blend (GstVigOverlay *self, GstBuffer *buffer, GstVideoOverlayComposition *composition)
{
  GstVideoFrame frame;
  if (!gst_video_frame_map (&frame, &self->info, buffer, GST_MAP_READWRITE)) {
    GST_ELEMENT_ERROR (self, RESOURCE, WRITE, ("A frame of %" G_GSIZE_FORMAT " bytes must be writable memory that holds %s of "
            "%dx%d pixels, and is not.", gst_buffer_get_size (buffer), GST_VIDEO_INFO_NAME (&self->info),
            GST_VIDEO_INFO_WIDTH (&self->info), GST_VIDEO_INFO_HEIGHT (&self->info)), (NULL));
    return FALSE;
  }
  gst_video_overlay_composition_blend (composition, &frame);
  gst_video_frame_unmap (&frame);
  return TRUE;
}

static GstFlowReturn
sink_chain (GstPad *pad, GstObject *parent, GstBuffer *buffer)
{
  GstVigOverlay *self = GST_VIG_OVERLAY (parent);
  GstFlowReturn flow = GST_FLOW_OK;
  if (!self->have_info) {
    GST_ELEMENT_ERROR (self, STREAM, FORMAT, ("A frame came before any caps: nobody said what its bytes mean."), (NULL));
    flow = GST_FLOW_NOT_NEGOTIATED;
  } else if (gst_pad_check_reconfigure (self->srcpad)) {
    flow = renegotiate (self);
  }
  GstVideoOverlayComposition *composition = flow == GST_FLOW_OK ? draw (self, buffer) : NULL;
  if (composition) {
    buffer = gst_buffer_make_writable (buffer);
    if (self->attaches)
      attach (buffer, composition);
    else if (!blend (self, buffer, composition))
      flow = GST_FLOW_ERROR;
  }
  if (flow == GST_FLOW_OK)
    return gst_pad_push (self->srcpad, buffer);
  gst_buffer_unref (buffer);
  return flow;
}

/* ---- pads ------------------------------------------------------------------------------------------------------ */

static gboolean
sink_event (GstPad *pad, GstObject *parent, GstEvent *event)
{
  GstVigOverlay *self = GST_VIG_OVERLAY (parent);
  GstCaps *caps;
  gboolean ok;
  switch (GST_EVENT_TYPE (event)) {
    case GST_EVENT_CAPS:
      gst_event_parse_caps (event, &caps);
      ok = take_caps (self, caps);
      gst_event_unref (event);
      return ok;
    case GST_EVENT_SEGMENT:
      gst_event_copy_segment (event, &self->segment);
      break;
    case GST_EVENT_STREAM_START:
    case GST_EVENT_FLUSH_STOP:
      forget (self);
      break;
    default:
      break;
  }
  return gst_pad_event_default (pad, parent, event);
}

/* Of either pad. */
static gboolean
pad_query (GstPad *pad, GstObject *parent, GstQuery *query)
{
  GstCaps *filter;
  if (GST_QUERY_TYPE (query) != GST_QUERY_CAPS)
    return gst_pad_query_default (pad, parent, query);
  gst_query_parse_caps (query, &filter);
  g_autoptr (GstCaps) caps = get_caps (GST_VIG_OVERLAY (parent), pad, filter);
  gst_query_set_caps_result (query, caps);
  return TRUE;
}

/* ---- the element ----------------------------------------------------------------------------------------------- */

static GstStateChangeReturn
change_state (GstElement *element, GstStateChange transition)
{
  GstVigOverlay *self = GST_VIG_OVERLAY (element);
  GstStateChangeReturn ret = GST_ELEMENT_CLASS (gst_vig_overlay_parent_class)->change_state (element, transition);
  if (transition == GST_STATE_CHANGE_PAUSED_TO_READY) {
    forget (self);
    gst_vig_sprites_forget (&self->canvas.sprites);
    gst_segment_init (&self->segment, GST_FORMAT_TIME);
    self->have_info = FALSE;
  }
  return ret;
}

static void
set_property (GObject *object, guint id, const GValue *value, GParamSpec *spec)
{
  GstVigOverlay *self = GST_VIG_OVERLAY (object);
  GST_OBJECT_LOCK (self);
  switch (id) {
    case PROP_FONT_DESC:
      g_free (self->settings.font);
      self->settings.font = g_value_dup_string (value);
      self->stale = TRUE;
      break;
    case PROP_DRAW_LABELS:
      self->settings.labels = g_value_get_boolean (value);
      break;
    case PROP_TIMELINE:
      self->settings.timeline = g_value_get_double (value);
      break;
    case PROP_HEATMAP:
      self->settings.heatmap = g_value_get_boolean (value);
      break;
    case PROP_OPACITY:
      self->settings.opacity = g_value_get_double (value);
      break;
    default:
      G_OBJECT_WARN_INVALID_PROPERTY_ID (object, id, spec);
  }
  GST_OBJECT_UNLOCK (self);
}

static void
get_property (GObject *object, guint id, GValue *value, GParamSpec *spec)
{
  GstVigOverlay *self = GST_VIG_OVERLAY (object);
  GST_OBJECT_LOCK (self);
  switch (id) {
    case PROP_FONT_DESC:
      g_value_set_string (value, self->settings.font);
      break;
    case PROP_DRAW_LABELS:
      g_value_set_boolean (value, self->settings.labels);
      break;
    case PROP_TIMELINE:
      g_value_set_double (value, self->settings.timeline);
      break;
    case PROP_HEATMAP:
      g_value_set_boolean (value, self->settings.heatmap);
      break;
    case PROP_OPACITY:
      g_value_set_double (value, self->settings.opacity);
      break;
    default:
      G_OBJECT_WARN_INVALID_PROPERTY_ID (object, id, spec);
  }
  GST_OBJECT_UNLOCK (self);
}

static void
finalize (GObject *object)
{
  GstVigOverlay *self = GST_VIG_OVERLAY (object);
  g_array_unref (self->histories);
  gst_vig_canvas_clear (&self->canvas);
  g_free (self->settings.font);
  G_OBJECT_CLASS (gst_vig_overlay_parent_class)->finalize (object);
}

static void
install_properties (GObjectClass *class)
{
  const GParamFlags flags = G_PARAM_READWRITE | G_PARAM_STATIC_STRINGS | GST_PARAM_MUTABLE_PLAYING;
  g_object_class_install_property (class, PROP_FONT_DESC, g_param_spec_string ("font-desc", "Font description",
          "Pango font description, such as 'Sans Bold'; a size in it is in pixels, without one it suits the frame", NULL, flags));
  g_object_class_install_property (class, PROP_DRAW_LABELS, g_param_spec_boolean ("draw-labels", "Draw labels",
          "Draw labels with their confidence, of the frame and beside boxes", TRUE, flags));
  g_object_class_install_property (class, PROP_TIMELINE, g_param_spec_double ("timeline", "Timeline",
          "Seconds that the timeline of labels goes back; 0: no timeline", 0, 86400, 10, flags));
  g_object_class_install_property (class, PROP_HEATMAP, g_param_spec_boolean ("heatmap", "Heat map",
          "Show where in the picture labels come from, as vigclassify says with heatmap=true", FALSE, flags));
  g_object_class_install_property (class, PROP_OPACITY, g_param_spec_double ("opacity", "Opacity of heat maps",
          "How much of the picture is covered where the label comes from", 0, 1, 0.6, flags));
}

static void
gst_vig_overlay_class_init (GstVigOverlayClass *class)
{
  GObjectClass *object_class = G_OBJECT_CLASS (class);
  GstElementClass *element_class = GST_ELEMENT_CLASS (class);
  object_class->set_property = set_property;
  object_class->get_property = get_property;
  object_class->finalize = finalize;
  element_class->change_state = change_state;
  install_properties (object_class);
  gst_vig_meta_register ();
  gst_element_class_add_static_pad_template (element_class, &sink_template);
  gst_element_class_add_static_pad_template (element_class, &src_template);
  gst_element_class_set_static_metadata (element_class, "ViG results overlay", "Filter/Editor/Video/Overlay",
      "Draws the labels that vigclassify attaches to frames and objects, their confidence and a timeline", "the gst-vig authors");
}

static GstPad *
add_pad (GstVigOverlay *self, GstStaticPadTemplate *template, const char *name)
{
  GstPad *pad = gst_pad_new_from_static_template (template, name);
  gst_pad_set_query_function (pad, pad_query);
  gst_element_add_pad (GST_ELEMENT (self), pad);
  return pad;
}

static void
gst_vig_overlay_init (GstVigOverlay *self)
{
  self->settings = (Settings) { .labels = TRUE, .timeline = 10, .opacity = 0.6 };
  gst_segment_init (&self->segment, GST_FORMAT_TIME);
  gst_vig_canvas_init (&self->canvas);
  self->histories = g_array_new (FALSE, FALSE, sizeof (GstVigHistory));
  g_array_set_clear_func (self->histories, (GDestroyNotify) gst_vig_history_clear);
  self->sinkpad = add_pad (self, &sink_template, "sink");
  gst_pad_set_chain_function (self->sinkpad, sink_chain);
  gst_pad_set_event_function (self->sinkpad, sink_event);
  self->srcpad = add_pad (self, &src_template, "src");
}
