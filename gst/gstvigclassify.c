/* SPDX-License-Identifier: LGPL-2.1-or-later */
/**
 * SECTION:element-vigclassify
 * @title: vigclassify
 *
 * Classifies decoded video frames with a ViG model, attaches the result to each buffer as GstAnalytics metadata and
 * passes the buffer on untouched.
 *
 * ## Example
 * |[
 * gst-launch-1.0 -m videotestsrc num-buffers=60 ! vigclassify model-file=models/camera-health.safetensors ! fakesink
 * ]|
 * prints an element message each time the label changes.
 *
 * docs/vigclassify.md describes properties, metadata and messages.
 */
#include "gstvigclassify-private.h"

#include "gstvigcaps.h"
#include "gstvigframe.h"
#include "gstvigmeta.h"
#include "gstvigsayings.h"

GST_DEBUG_CATEGORY_STATIC (gst_vig_classify_debug);
#define GST_CAT_DEFAULT gst_vig_classify_debug

#define LATENCY_EVERY 32 /* classified frames between two looks at what is measured */

static GstStaticPadTemplate sink_template = GST_STATIC_PAD_TEMPLATE ("sink", GST_PAD_SINK, GST_PAD_ALWAYS,
    GST_STATIC_CAPS (GST_VIG_CAPS));
static GstStaticPadTemplate src_template = GST_STATIC_PAD_TEMPLATE ("src", GST_PAD_SRC, GST_PAD_ALWAYS,
    GST_STATIC_CAPS (GST_VIG_CAPS));

G_DEFINE_TYPE (GstVigClassify, gst_vig_classify, GST_TYPE_ELEMENT)
GST_ELEMENT_REGISTER_DEFINE_WITH_CODE (vigclassify, "vigclassify", GST_RANK_NONE, GST_TYPE_VIG_CLASSIFY,
    GST_DEBUG_CATEGORY_INIT (gst_vig_classify_debug, "vigclassify", 0, "Video classification with ViG models"))

/* ---- errors ---------------------------------------------------------------------------------------------------- */

/* What libvig says, in GStreamer's terms. */
static GstResourceError
resource_code (const GError *error)
{
  switch ((VigError) error->code) {
    case VIG_ERROR_FILE:
      return GST_RESOURCE_ERROR_OPEN_READ;
    case VIG_ERROR_MODEL:
      return GST_RESOURCE_ERROR_READ;
    case VIG_ERROR_DEVICE:
      return GST_RESOURCE_ERROR_NOT_FOUND;
    case VIG_ERROR_ARGUMENT:
      return GST_RESOURCE_ERROR_SETTINGS;
    case VIG_ERROR_NO_MEMORY:
      return GST_RESOURCE_ERROR_NO_SPACE_LEFT;
    case VIG_ERROR_FAILED:
    case VIG_ERROR_CANCELLED:
      break;
  }
  return GST_RESOURCE_ERROR_FAILED;
}

/* Posts what libvig or GStreamer has found. */
static void
post_problem (GstVigClassify *self, GstMessageType type, const GError *error, const char *debug)
{
  gboolean ours = error->domain == VIG_ERROR;
  gst_element_message_full (GST_ELEMENT (self), type, ours ? GST_RESOURCE_ERROR : error->domain,
      ours ? (int) resource_code (error) : error->code, g_strdup (error->message), g_strdup (debug), __FILE__,
      GST_FUNCTION, __LINE__);
}

/* Takes @error. */
static void
post_error (GstVigClassify *self, GError *error)
{
  post_problem (self, GST_MESSAGE_ERROR, error, NULL);
  g_error_free (error);
}

/* ---- the model ------------------------------------------------------------------------------------------------- */

static void
log_model (GstVigClassify *self, const GstVigLoaded *loaded)
{
  GST_INFO_OBJECT (self, "%s (%s) on %s, %s, used by %u, a frame takes %" GST_TIME_FORMAT,
      vig_model_get_name (loaded->model), vig_model_get_hash (loaded->model), vig_shared_get_device (loaded->shared),
      vig_precision_to_string (vig_shared_get_precision (loaded->shared)), vig_shared_get_n_users (loaded->shared),
      GST_TIME_ARGS (loaded->latency));
}

/* Makes everything that the properties which take effect from READY on describe. Posts the error if it cannot. */
static gboolean
open_model (GstVigClassify *self)
{
  g_autofree char *name = gst_object_get_path_string (GST_OBJECT (self));
  g_auto (GstVigLoadOptions) options = { 0 };
  GST_OBJECT_LOCK (self);
  gst_vig_load_options_copy (&options, &self->load);
  guint size = self->settings.input_size;
  options.clip_length = self->settings.clip.length;
  self->stale = self->other_model = FALSE;
  GST_OBJECT_UNLOCK (self);

  GError *error = NULL;
  if (!gst_vig_keeper_open (&self->keeper, &options, name, size, &error)) {
    post_error (self, error);
    return FALSE;
  }
  g_autoptr (GstVigLoaded) loaded = gst_vig_keeper_get (&self->keeper);
  GST_OBJECT_LOCK (self);
  self->latency = (GstVigLatency) { .told = loaded->latency };
  GST_OBJECT_UNLOCK (self);
  log_model (self, loaded);
  gst_vig_cuda_offer (loaded->cuda, GST_ELEMENT (self));
  return TRUE;
}

/* The file that could not be loaded is not tried again at the next start, unless another has been set since. */
static void
back_to_old_file (GstVigClassify *self, guint number, const GstVigLoaded *old)
{
  GST_OBJECT_LOCK (self);
  gboolean back = number == self->n_models;
  if (back) {
    g_free (self->load.model_file);
    g_free (self->load.labels_file);
    self->load.model_file = g_strdup (old->options.model_file);
    self->load.labels_file = g_strdup (old->options.labels_file);
  }
  GST_OBJECT_UNLOCK (self);
  if (back) {
    g_object_notify (G_OBJECT (self), "model-file");
    g_object_notify (G_OBJECT (self), "labels-file");
  }
}

/* Tells what came of a model-file that was set while frames came. */
static void
model_changed (gpointer user_data, guint number, const GstVigLoadOptions *asked, GstVigLoaded *loaded,
    const GError *error)
{
  GstVigClassify *self = user_data;
  g_autoptr (GstVigLoaded) in_use = loaded ? gst_vig_loaded_ref (loaded) : gst_vig_keeper_get (&self->keeper);
  if (error)
    back_to_old_file (self, number, in_use);
  else
    log_model (self, in_use);
  gst_element_post_message (GST_ELEMENT (self), gst_message_new_element (GST_OBJECT (self),
          gst_structure_new ("vig-model",
              "success", G_TYPE_BOOLEAN, error == NULL,
              "model-file", G_TYPE_STRING, asked->model_file,
              "labels-file", G_TYPE_STRING, asked->labels_file,
              "model", G_TYPE_STRING, vig_model_get_name (in_use->model),
              "model-hash", G_TYPE_STRING, vig_model_get_hash (in_use->model),
              "error", G_TYPE_STRING, error ? error->message : NULL, NULL)));
  if (error)
    post_problem (self, GST_MESSAGE_WARNING, error, "The model is not changed: the one before it stays in use.");
}

/* Has the files loaded that were set while frames come; does not wait. */
static void
change_model (GstVigClassify *self)
{
  GST_OBJECT_LOCK (self);
  gboolean asked = self->started && self->other_model;
  GST_OBJECT_UNLOCK (self);
  if (!asked)
    return;
  g_autofree char *name = gst_object_get_path_string (GST_OBJECT (self));
  g_autoptr (GError) error = NULL;
  g_auto (GstVigLoadOptions) options = { 0 };
  GST_OBJECT_LOCK (self);
  guint number = self->n_models;
  if (self->started && self->other_model) { /* still */
    self->other_model = FALSE;
    gst_vig_load_options_copy (&options, &self->load);
    gst_vig_keeper_change (&self->keeper, options.model_file, options.labels_file, name, self->settings.input_size,
        self->settings.clip.length, number, &error);
  }
  GST_OBJECT_UNLOCK (self);
  if (error)
    model_changed (self, number, &options, NULL, error);
}

/* From now on files that are set are loaded at the next start. */
static void
stop_changing_model (GstVigClassify *self)
{
  GST_OBJECT_LOCK (self);
  self->started = FALSE;
  if (gst_vig_keeper_cancel (&self->keeper))
    self->other_model = TRUE;
  GST_OBJECT_UNLOCK (self);
}

/* ---- how long a frame may stay --------------------------------------------------------------------------------- */

/* Under the object lock. */
static gboolean
skips (GstVigClassify *self)
{
  return self->overload == GST_VIG_OVERLOAD_SKIP || (self->overload == GST_VIG_OVERLOAD_AUTO && self->live);
}

static GstClockTime
get_budget (const GstVigSettings *settings, const GstVigLoaded *loaded)
{
  if (settings->latency_budget >= 0)
    return (GstClockTime) settings->latency_budget;
  return vig_shared_get_batch_delay (loaded->shared) * GST_USECOND + loaded->latency;
}

static void
set_live (GstVigClassify *self, gboolean live)
{
  GST_OBJECT_LOCK (self);
  if (self->live != live)
    GST_INFO_OBJECT (self, "upstream is %slive", live ? "" : "not ");
  self->live = live;
  GST_OBJECT_UNLOCK (self);
}

static void
ask_whether_live (GstVigClassify *self)
{
  g_autoptr (GstQuery) query = gst_query_new_latency ();
  gboolean live = FALSE;
  if (gst_pad_peer_query (self->sinkpad, query))
    gst_query_parse_latency (query, &live, NULL, NULL);
  set_live (self, live);
}

/* Before a frame comes in, and before upstream is told how many there may be. */
static void
set_places (GstVigClassify *self)
{
  guint held = self->in.max_in_flight;
  g_autoptr (GstVigLoaded) loaded = gst_vig_keeper_get (&self->keeper);
  GST_OBJECT_LOCK (self);
  if (skips (self))
    held = MAX (held, gst_vig_overload_frames_held (get_budget (&self->settings, loaded), &self->in.info));
  GST_OBJECT_UNLOCK (self);
  self->in.held = held;
  gst_vig_queue_set_max_in_flight (&self->queue, MIN (held, self->room));
}

/* ---- frames come in -------------------------------------------------------------------------------------------- */

/* Something has happened after which, if clip-reset says so, answers begin anew. The sink pad's thread. */
static void
may_reset_clips (GstVigClassify *self, GstVigClipReset reason)
{
  GST_OBJECT_LOCK (self);
  if (self->settings.clip.reset & reason)
    self->in.clip_epoch++;
  GST_OBJECT_UNLOCK (self);
}

/* Once: a stream that does so may do so often. */
static void
warn_of_jump (GstVigClassify *self, gint64 before, GstBuffer *buffer)
{
  if (!self->in.jump_said)
    GST_WARNING_OBJECT (self, "time goes backwards: expected a frame behind %" GST_TIME_FORMAT ", found one at %"
        GST_TIME_FORMAT ": answers begin anew", GST_TIME_ARGS (gst_vig_clock_to_pts (before)),
        GST_TIME_ARGS (GST_BUFFER_PTS (buffer)));
  self->in.jump_said = TRUE;
}

/* When the frame is, and which clip it is of. */
static void
take_time (GstVigClassify *self, GstVigFlight *flight)
{
  GstVigClock *clock = &self->in.clock;
  if (GST_BUFFER_FLAG_IS_SET (flight->buffer, GST_BUFFER_FLAG_DISCONT))
    may_reset_clips (self, GST_VIG_CLIP_RESET_DISCONT);
  const gint64 before = clock->last;
  const GstVigTick tick = gst_vig_clock_tick (clock, self->in.clip_epoch, &self->in.segment, &self->in.info, flight->buffer);
  if (tick != GST_VIG_CLOCK_GOES_ON)
    clock->epoch = ++self->in.clip_epoch;
  if (tick == GST_VIG_CLOCK_GOES_BACK && flight->loaded->clip_mode != GST_VIG_CLIP_NONE)
    warn_of_jump (self, before, flight->buffer);
  flight->clip_epoch = self->in.clip_epoch;
  flight->time = self->in.clock.now;
}

/* Frames that are not of a window are not classified at all. */
static void
apply_stride (GstVigSettings *settings, GstVigClipMode mode)
{
  if (mode != GST_VIG_CLIP_JOINT)
    return;
  settings->interval = (guint) MIN ((guint64) settings->interval * settings->clip.stride, G_MAXUINT);
  settings->reclassify_interval = (guint) MIN ((guint64) settings->reclassify_interval * settings->clip.stride, G_MAXUINT);
}

static VigOrientation
upright (GstVigClassify *self, const GstVigSettings *settings)
{
  if (settings->orientation != GST_VIDEO_ORIENTATION_AUTO)
    return gst_vig_orientation_from_method (settings->orientation);
  return self->in.stream_orientation ? self->in.stream_orientation : self->in.global_orientation;
}

/* Of which classes it is to be said where they come from. Labels that the model does not have are said once. */
static void
choose_maps (GstVigClassify *self, GstVigFlight *flight)
{
  const GstVigLoaded *loaded = flight->loaded;
  const char *unknown;
  GST_OBJECT_LOCK (self);
  g_autoptr (GPtrArray) wanted = self->wanted_maps ? g_ptr_array_ref (self->wanted_maps) : NULL;
  GST_OBJECT_UNLOCK (self);
  flight->heat_classes = gst_vig_heat_find_classes (wanted, loaded->quarks, loaded->n_classes, &unknown);
  if (unknown && self->in.unknown_said != loaded->number)
    GST_ELEMENT_WARNING (self, RESOURCE, SETTINGS, ("heatmap-labels: expected labels of the model %s, found '%s', which it does "
            "not have.", vig_model_get_name (loaded->model), unknown), (NULL));
  if (unknown)
    self->in.unknown_said = loaded->number;
}

/* The settings of now, and the objects in the frame if they say so. */
static void
prepare (GstVigClassify *self, GstVigFlight *flight, gint64 arrival)
{
  guint n_skipped = 0;
  GST_OBJECT_LOCK (self);
  flight->settings = self->settings;
  if (skips (self))
    flight->until = arrival + (gint64) (get_budget (&flight->settings, flight->loaded) / GST_USECOND);
  g_autoptr (GPtrArray) classes = self->wanted_classes ? g_ptr_array_ref (self->wanted_classes) : NULL;
  GST_OBJECT_UNLOCK (self);
  apply_stride (&flight->settings, flight->loaded->clip_mode);
  take_time (self, flight);
  if (flight->settings.heatmap)
    choose_maps (self, flight);
  flight->epoch = self->in.turns.epoch;
  if (!self->in.have_info || flight->settings.regions == GST_VIG_REGIONS_FRAME)
    return;
  const GstVigRegionFilter filter = { .classes = classes, .min_size = flight->settings.min_size,
    .max_objects = flight->settings.max_objects };
  flight->regions = gst_vig_regions_find (flight->buffer, &self->in.info, &filter, &n_skipped);
  GST_OBJECT_LOCK (self);
  self->stats.objects_skipped += n_skipped;
  GST_OBJECT_UNLOCK (self);
}

/* Takes @buffer. What is wrong with it is said when it is its turn to leave. */
static GstVigFlight *
take_off (GstVigClassify *self, GstBuffer *buffer, gint64 arrival)
{
  guint n_shed = 0;
  g_autoptr (GstVigLoaded) loaded = gst_vig_keeper_get (&self->keeper);
  if (loaded->number != self->in.model)
    gst_vig_turns_end_results (&self->in.turns);
  self->in.model = loaded->number;
  GstVigFlight *flight = gst_vig_flight_new (buffer, loaded, &self->queue);
  gst_vig_moment_init (&flight->moment, &self->in.segment, buffer);
  if (GST_CLOCK_TIME_IS_VALID (flight->moment.stream))
    gst_object_sync_values (GST_OBJECT (self), flight->moment.stream);
  prepare (self, flight, arrival);
  if (!self->in.have_info) {
    g_set_error (&flight->error, GST_STREAM_ERROR, GST_STREAM_ERROR_FORMAT,
        "A frame came before any caps: nobody said what its bytes mean.");
    return flight;
  }
  gboolean busy = flight->until != G_MAXINT64
      && gst_vig_queue_get_computing (&self->queue) >= self->in.max_in_flight;
  g_autoptr (GArray) parts = gst_vig_turns_choose (&self->in.turns, flight, busy ? &n_shed : NULL);
  gst_vig_flight_recall (flight);
  flight->due = parts->len > 0;
  GST_OBJECT_LOCK (self);
  self->stats.shed += n_shed;
  GST_OBJECT_UNLOCK (self);
  if (flight->due)
    gst_vig_flight_start (flight, &self->in.info, upright (self, &flight->settings),
        (const GstVideoRectangle *) (gpointer) parts->data, parts->len);
  if (flight->due && !gst_vig_keeper_uses (&self->keeper, loaded))
    vig_stream_hurry (loaded->stream); /* changed meanwhile: nothing follows this frame there */
  GST_OBJECT_LOCK (self);
  self->stats.gpu_copies += flight->across;
  GST_OBJECT_UNLOCK (self);
  return flight;
}

/* ---- and go out ------------------------------------------------------------------------------------------------ */

/* Of a frame that is on its way out. */
static GstVigSpan
get_span (const GstVigFlight *flight)
{
  const GstClockTime pts = GST_BUFFER_PTS (flight->buffer);
  GstVigSpan span = { .start = pts, .last = pts, .end = pts, .running = flight->moment.running };
  if (GST_CLOCK_TIME_IS_VALID (pts) && GST_BUFFER_DURATION_IS_VALID (flight->buffer))
    span.end += GST_BUFFER_DURATION (flight->buffer);
  return span;
}

/* A message when the frame's label is another than that of the last message. */
static void
announce (GstVigClassify *self, const GstVigFlight *flight)
{
  VigRank top;
  vig_top_k (flight->shots[flight->frame_shot].probabilities, flight->loaded->n_classes, 1, &top);
  const GstVigSettings *settings = &flight->settings;
  GQuark label = top.value >= settings->threshold ? flight->loaded->quarks[top.index] : 0;
  if (self->has_announced && label == self->announced)
    return;
  GstClockTime pts = flight->span.start;
  if (settings->post_messages) {
    GstStructure *message = gst_structure_new ("vig-label",
        "label", G_TYPE_STRING, g_quark_to_string (label),
        "confidence", G_TYPE_DOUBLE, (double) top.value,
        "pts", G_TYPE_UINT64, pts,
        "stream-time", G_TYPE_UINT64, flight->moment.stream,
        "running-time", G_TYPE_UINT64, flight->span.running,
        "since", G_TYPE_UINT64, pts, NULL);
    if (self->has_announced)
      gst_structure_set (message,
          "previous-label", G_TYPE_STRING, g_quark_to_string (self->announced),
          "previous-since", G_TYPE_UINT64, self->announced_since, NULL);
    gst_element_post_message (GST_ELEMENT (self), gst_message_new_element (GST_OBJECT (self), message));
  }
  self->has_announced = TRUE;
  self->announced = label;
  self->announced_since = pts;
}

/* On the bus, and downstream with whose it is: elements there see no messages. */
static void
tell_segment (gpointer user_data, GstStructure *message)
{
  GstVigClassify *self = user_data;
  g_autofree char *name = gst_object_get_name (GST_OBJECT (self));
  GstStructure *segment = gst_structure_copy (message);
  gst_element_post_message (GST_ELEMENT (self), gst_message_new_element (GST_OBJECT (self), message));
  gst_structure_set (segment, "element", G_TYPE_STRING, name, "model", G_TYPE_STRING, self->segments_model,
      "model-hash", G_TYPE_STRING, self->segments_hash, NULL);
  gst_pad_push_event (self->srcpad, gst_event_new_custom (GST_EVENT_CUSTOM_DOWNSTREAM, segment));
}

/* Segments that end from now on are of answers of this model. */
static void
note_model_of_segments (GstVigClassify *self, const VigModel *model)
{
  if (g_strcmp0 (self->segments_hash, vig_model_get_hash (model)) == 0)
    return;
  g_free (self->segments_model);
  g_free (self->segments_hash);
  self->segments_model = g_strdup (vig_model_get_name (model));
  self->segments_hash = g_strdup (vig_model_get_hash (model));
}

/* What it took to get the results that have not been taken yet. Parts of a frame may have been in several batches; it has
 * waited for the last. */
static void
count_results (GstVigClassify *self, const GstVigFlight *flight)
{
  gint64 latency = -1;
  GST_OBJECT_LOCK (self);
  for (guint i = 0; i < flight->n_shots; i++) {
    const GstVigShot *shot = &flight->shots[i];
    if (shot->state != GST_VIG_SHOT_THERE || shot->taken)
      continue;
    self->stats.objects_classified += i != flight->frame_shot;
    gst_vig_times_add (&self->stats.preprocess, shot->request.preprocess_us * GST_USECOND);
    gst_vig_times_add (&self->stats.inference, shot->request.inference_us * GST_USECOND);
    gst_vig_times_add (&self->stats.batch, shot->request.batch);
    latency = MAX (latency, shot->request.latency_us);
  }
  if (latency >= 0)
    gst_vig_times_add (&self->stats.whole, latency * GST_USECOND);
  GST_OBJECT_UNLOCK (self);
}

/* One that is no numbers (a model that overflows) says nothing. */
static void
check_answer (GstVigClassify *self, const GstVigFlight *flight, GstVigShot *shot)
{
  for (guint i = 0; i < flight->loaded->n_classes; i++) {
    if (shot->probabilities[i] >= 0)
      continue;
    GST_WARNING_OBJECT (self, "frame at %" GST_TIME_FORMAT ": class %u: expected a probability, found %g: it has no answer",
        GST_TIME_ARGS (flight->span.start), i, (double) shot->probabilities[i]);
    shot->state = GST_VIG_SHOT_NONE;
    return;
  }
}

/* What a shot says becomes what it says together with those before it; what cannot be told from it is said on the bus or,
 * where the model's logits are no numbers, in the log. */
static gboolean
complete_clip (GstVigClassify *self, GstVigFlight *flight, GstVigShot *shot, const guint64 *tracking_id)
{
  g_autoptr (GError) error = NULL;
  if (!shot->logits || gst_vig_clip_add (&flight->loaded->clip, tracking_id, flight->time, &shot->span, shot->logits,
          shot->probabilities, &error))
    return TRUE;
  GST_WARNING_OBJECT (self, "frame at %" GST_TIME_FORMAT ": %s", GST_TIME_ARGS (flight->span.start), error->message);
  if (error->code == VIG_ERROR_NO_MEMORY && !flight->error)
    flight->error = g_steal_pointer (&error);
  shot->state = GST_VIG_SHOT_NONE;
  return FALSE;
}

/* A shot's result becomes the last one of the frame, or of an object; unless it comes late and one of a later frame is
 * there already. FALSE: it does not. */
static gboolean
take_shot (GstVigClassify *self, GstVigFlight *flight, guint i, const GstVigRegion *region)
{
  GstVigHeld *held = &flight->loaded->held;
  const guint64 *tracking_id = region ? &region->tracking_id : NULL;
  if (i == GST_VIG_NO_SHOT || flight->shots[i].state != GST_VIG_SHOT_THERE || flight->shots[i].taken)
    return FALSE;
  const GstVigLast *last = gst_vig_held_get (held, flight->epoch, tracking_id);
  GstClockTime then = last ? last->span.running : GST_CLOCK_TIME_NONE, now = flight->span.running;
  if (!flight->buffer && GST_CLOCK_TIME_IS_VALID (then) && GST_CLOCK_TIME_IS_VALID (now) && now < then)
    return FALSE;
  GstVigShot *shot = &flight->shots[i];
  if (!complete_clip (self, flight, shot, tracking_id))
    return FALSE;
  gst_vig_held_put (held, flight->epoch, tracking_id, &shot->span, shot->probabilities, shot->heat);
  gst_vig_segments_add (&self->segments, flight->epoch, region, &flight->moment, flight->loaded->quarks,
      shot->probabilities, flight->loaded->n_classes);
  note_model_of_segments (self, flight->loaded->model);
  return TRUE;
}

/* The flight's results become the last ones, of the frame and of its objects. */
static void
take_results (GstVigClassify *self, GstVigFlight *flight)
{
  for (guint i = 0; i < flight->n_shots; i++) {
    GstVigShot *shot = &flight->shots[i];
    if (shot->taken || shot->state != GST_VIG_SHOT_THERE)
      continue;
    shot->span = gst_vig_flight_get_span (flight, shot);
    check_answer (self, flight, shot);
  }
  GstVigLoaded *loaded = flight->loaded;
  if (flight->logits)
    gst_vig_clip_follow (&loaded->clip, loaded->clip_mode, &flight->settings.clip, flight->clip_epoch);
  gboolean news = take_shot (self, flight, flight->frame_shot, NULL);
  for (guint i = 0; flight->regions && i < flight->regions->len; i++) {
    const GstVigRegion *region = &g_array_index (flight->regions, GstVigRegion, i);
    if (!region->tracked)
      continue;
    if (region->followed)
      take_shot (self, flight, region->shot, region);
    if (!flight->buffer)
      continue;
    gst_vig_clip_see (&loaded->clip, region->tracking_id);
    gst_vig_segments_see (&self->segments, region);
  }
  count_results (self, flight);
  for (guint i = 0; i < flight->n_shots; i++)
    flight->shots[i].taken = flight->shots[i].state == GST_VIG_SHOT_THERE;
  if (news)
    announce (self, flight);
}

/* Results of frames that have left without them, in the order of the frames. @error is set if one failed, and none was. */
static void
take_late_results (GstVigClassify *self, GError **error)
{
  GstVigFlight *late;
  while ((late = g_queue_peek_head (&self->late)) && gst_vig_flight_is_over (late)) {
    g_queue_pop_head (&self->late);
    if (late->epoch == self->epoch)
      take_results (self, late);
    if (late->error && !*error)
      *error = g_steal_pointer (&late->error);
    gst_mini_object_unref (GST_MINI_OBJECT_CAST (late));
  }
}

/* Waits for the frame's results for as long as it may, and until nothing looks at it any more. FALSE: a flush has come. */
static gboolean
finish (GstVigClassify *self, GstVigFlight *flight)
{
  guint n_shed, n_there = 0, n_out = 0;
  flight->span = get_span (flight);
  gst_vig_segments_begin_frame (&self->segments, &flight->moment, flight->settings.hold_max);
  gst_vig_clip_begin_frame (&flight->loaded->clip, flight->span.running, flight->settings.hold_max);
  if (self->segment.rate < 0)
    flight->settings.hold_result = FALSE;
  if (!gst_vig_queue_wait_computed (&self->queue, &flight->out, flight->until))
    return FALSE;
  gst_vig_flight_leave (flight, &n_shed);
  self->epoch = flight->epoch;
  take_late_results (self, &flight->error);
  if (!flight->error)
    take_results (self, flight);
  for (guint i = 0; i < flight->n_shots; i++) {
    n_there += flight->shots[i].state == GST_VIG_SHOT_THERE;
    n_out += flight->shots[i].state == GST_VIG_SHOT_OUT && !flight->shots[i].silent;
  }
  GST_OBJECT_LOCK (self);
  self->stats.shed += n_shed;
  self->stats.late += n_out;
  if (flight->error)
    ;
  else if (n_there + n_out > 0)
    self->stats.classified++;
  else
    self->stats.skipped++;
  GST_OBJECT_UNLOCK (self);
  return TRUE;
}

/* What it has left without comes later, even if it has come while it was pushed. Takes @flight. */
static void
put_away (GstVigClassify *self, GstVigFlight *flight)
{
  if (gst_vig_flight_is_out (flight))
    g_queue_push_tail (&self->late, flight);
  else
    gst_mini_object_unref (GST_MINI_OBJECT_CAST (flight));
}

static void
drop_late (GstVigClassify *self)
{
  g_queue_clear_full (&self->late, (GDestroyNotify) gst_mini_object_unref);
}

/* Says on the bus why the frame goes no further; what its upstream is told. */
static GstFlowReturn
give_up (GstVigClassify *self, GstVigFlight *flight)
{
  gboolean no_caps = !flight->due && flight->error->domain == GST_STREAM_ERROR;
  post_error (self, g_steal_pointer (&flight->error));
  return no_caps ? GST_FLOW_NOT_NEGOTIATED : GST_FLOW_ERROR;
}

/* The same frame, but one that metadata can be added to: a shell around the same memory if others hold the buffer too.
 * Memory that may not be shared is copied, and counted. */
static GstBuffer *
make_writable (GstVigClassify *self, GstBuffer *buffer)
{
  if (gst_buffer_is_writable (buffer))
    return buffer;
  GstBuffer *shell = gst_buffer_copy (buffer);
  if (!shell) {
    GST_WARNING_OBJECT (self, "a shared buffer could not be copied: its result is not attached");
    return buffer;
  }
  gboolean copied = FALSE;
  for (guint i = 0; i < gst_buffer_n_memory (shell); i++)
    copied |= gst_buffer_peek_memory (shell, i) != gst_buffer_peek_memory (buffer, i);
  gst_buffer_unref (buffer);
  if (copied) {
    GST_OBJECT_LOCK (self);
    self->stats.copies++;
    GST_OBJECT_UNLOCK (self);
  }
  return shell;
}

/* Says about @buffer, that of @flight, what there is to say; takes and returns it. */
static GstBuffer *
attach (GstVigClassify *self, GstBuffer *buffer, const GstVigFlight *flight)
{
  guint n_held, n_silent;
  g_autoptr (GArray) sayings = gst_vig_sayings_find (flight, &n_held, &n_silent);
  GST_OBJECT_LOCK (self);
  self->stats.objects_held += n_held;
  self->stats.objects_skipped += n_silent;
  GST_OBJECT_UNLOCK (self);
  if (sayings->len == 0)
    return buffer;
  buffer = make_writable (self, buffer);
  g_autofree char *name = gst_object_get_name (GST_OBJECT (self));
  if (gst_buffer_is_writable (buffer))
    gst_vig_sayings_attach (sayings, buffer, flight, name);
  return buffer;
}

/* Tells the pipeline when our latency is no longer what it was told. */
static void
watch_latency (GstVigClassify *self, const GstVigFlight *flight)
{
  GST_OBJECT_LOCK (self);
  GstClockTime is = self->latency.told;
  if (skips (self))
    is = get_budget (&self->settings, flight->loaded);
  else if (flight->due && ++self->latency_looks % LATENCY_EVERY == 0)
    is = gst_vig_times_p99 (&self->stats.whole);
  gboolean changed = gst_vig_latency_changes (&self->latency, is, g_get_monotonic_time ());
  GST_OBJECT_UNLOCK (self);
  if (!changed)
    return;
  GST_INFO_OBJECT (self, "latency is now %" GST_TIME_FORMAT, GST_TIME_ARGS (is));
  gst_element_post_message (GST_ELEMENT (self), gst_message_new_latency (GST_OBJECT (self)));
}

/* One that is finished. */
static GstFlowReturn
send_frame (GstVigClassify *self, GstVigFlight *flight)
{
  self->failed = flight->error != NULL;
  if (self->failed)
    return give_up (self, flight);
  GstBuffer *buffer = attach (self, gst_vig_flight_steal_buffer (flight), flight);
  watch_latency (self, flight);

  GST_OBJECT_LOCK (self);
  gst_vig_stats_frame_left (&self->stats, g_get_monotonic_time ());
  GST_OBJECT_UNLOCK (self);
  return gst_pad_push (self->srcpad, buffer);
}

/* ---- events and queries between frames ------------------------------------------------------------------------- */

/* Those that say what frames are, as they come in. */

static void
take_caps (GstVigClassify *self, const GstVideoInfo *info)
{
  if (!self->in.have_info || !gst_video_info_is_equal (info, &self->in.info)) {
    gst_vig_turns_end_results (&self->in.turns);
    may_reset_clips (self, GST_VIG_CLIP_RESET_CAPS);
  }
  self->in.info = *info;
  self->in.have_info = TRUE;
  GstVideoTransferFunction transfer = info->colorimetry.transfer;
  if (!self->in.hdr_warned
      && (transfer == GST_VIDEO_TRANSFER_SMPTE2084 || transfer == GST_VIDEO_TRANSFER_ARIB_STD_B67)) {
    self->in.hdr_warned = TRUE;
    GST_ELEMENT_WARNING (self, STREAM, FORMAT,
        ("The video is HDR (%s), but models expect SDR pictures: without tone mapping in front of vigclassify the "
            "results may be poor.", transfer == GST_VIDEO_TRANSFER_SMPTE2084 ? "PQ" : "HLG"), (NULL));
  }
}

/* Results say nothing about frames that come the other way round. */
static void
take_segment (GstVigClassify *self, GstEvent *event)
{
  const gboolean was = self->in.backwards;
  gst_event_copy_segment (event, &self->in.segment);
  self->in.backwards = self->in.segment.rate < 0;
  if (was != self->in.backwards) {
    gst_vig_turns_end_results (&self->in.turns);
    self->in.clip_epoch++;
  }
  ask_whether_live (self);
}

static void
take_tags (GstVigClassify *self, GstEvent *event)
{
  GstTagList *tags;
  g_autofree char *value = NULL;
  gst_event_parse_tag (event, &tags);
  if (!gst_tag_list_get_string (tags, GST_TAG_IMAGE_ORIENTATION, &value))
    return;
  if (gst_tag_list_get_scope (tags) == GST_TAG_SCOPE_GLOBAL)
    self->in.global_orientation = gst_vig_orientation_from_tag (value);
  else
    self->in.stream_orientation = gst_vig_orientation_from_tag (value);
}

/* And what they do when it is their turn to leave. */

/* Upstream may never call again and so never hear that its last frame was not taken: then the bus hears it, unless it
 * has heard of it from us. */
static void
check_flow_at_eos (GstVigClassify *self)
{
  gboolean told;
  GstFlowReturn flow = gst_vig_queue_get_flow (&self->queue, &told);
  if (!told && !self->failed && (flow == GST_FLOW_NOT_LINKED || flow < GST_FLOW_EOS))
    GST_ELEMENT_FLOW_ERROR (self, flow);
}

static void
say_backwards (GstVigClassify *self)
{
  if (self->segment.rate >= 0 || self->backwards_said)
    return;
  self->backwards_said = TRUE;
  GST_ELEMENT_INFO (self, STREAM, NOT_IMPLEMENTED,
      ("The stream plays backwards: frames are classified, but no result is held for those that follow."), (NULL));
}

/* With what is known of the frames before. */
static void
end_segments (GstVigClassify *self)
{
  GError *error = NULL;
  take_late_results (self, &error);
  if (error)
    post_error (self, error);
  gst_vig_segments_end (&self->segments);
}

/* Frames are at other times from now on, and what was open ends in those of the last. */
static void
follow_segment (GstVigClassify *self, GstEvent *event)
{
  const GstSegment *next;
  gst_event_parse_segment (event, &next);
  if (!gst_segment_is_equal (next, &self->segment))
    end_segments (self);
  gst_segment_copy_into (next, &self->segment);
  self->segments.backwards = next->rate < 0;
  say_backwards (self);
}

static void
send_event (GstVigClassify *self, GstEvent *event)
{
  switch (GST_EVENT_TYPE (event)) {
    case GST_EVENT_STREAM_START:
      end_segments (self);
      self->has_announced = FALSE;
      gst_vig_queue_forgive (&self->queue, GST_FLOW_EOS);
      break;
    case GST_EVENT_CAPS:
      gst_vig_queue_forgive (&self->queue, GST_FLOW_NOT_NEGOTIATED);
      break;
    case GST_EVENT_SEGMENT:
      follow_segment (self, event);
      gst_vig_queue_forgive (&self->queue, GST_FLOW_EOS);
      break;
    case GST_EVENT_EOS:
      end_segments (self);
      check_flow_at_eos (self);
      break;
    default:
      break;
  }
  gst_pad_push_event (self->srcpad, event);
  gst_vig_queue_event_done (&self->queue);
}

/* Memory goes through untouched, so what downstream can take is what upstream may send; only that we hold @held at most.
 * Returns how many we may hold where a pool cannot grow by more; G_MAXUINT: any number. */
static guint
ask_for_more_buffers (GstQuery *query, guint held)
{
  guint room = G_MAXUINT;
  for (guint i = 0; i < gst_query_get_n_allocation_pools (query); i++) {
    GstBufferPool *pool;
    guint size, min, max;
    gst_query_parse_nth_allocation_pool (query, i, &pool, &size, &min, &max);
    guint more = max == 0 ? G_MAXUINT : max - MIN (min, max);
    gst_query_set_nth_allocation_pool (query, i, pool, size, min + MIN (held, more), max);
    room = MIN (room, MAX (more, 1));
    g_clear_object (&pool);
  }
  return room;
}

static gboolean
send_query (GstVigClassify *self, GstQuery *query)
{
  gboolean answer = gst_pad_peer_query (self->srcpad, query);
  if (answer && GST_QUERY_TYPE (query) == GST_QUERY_ALLOCATION)
    self->room = ask_for_more_buffers (query, self->in.held); /* its asker waits, so these are ours */
  return answer;
}

/* Takes @flight. A frame that was put in before the one ahead of it failed goes the same way: nothing is said twice. */
static GstFlowReturn
pass_frame (GstVigClassify *self, GstVigFlight *flight)
{
  gboolean told;
  guint n_shed;
  GstFlowReturn flow = GST_FLOW_FLUSHING;
  if (!finish (self, flight)) {
    gst_vig_flight_leave (flight, &n_shed); /* over at once if nothing of it has begun: the next frame makes up for its window */
  } else {
    flow = gst_vig_queue_get_flow (&self->queue, &told);
    if (flow >= GST_FLOW_OK)
      flow = send_frame (self, flight);
  }
  gst_clear_buffer (&flight->buffer);
  put_away (self, flight);
  return flow;
}

/* The source pad's task: one item of the queue. */
static void
loop (gpointer user_data)
{
  GstVigClassify *self = user_data;
  GstMiniObject *item = gst_vig_queue_pop (&self->queue);
  if (!item)
    gst_pad_pause_task (self->srcpad);
  else if (GST_IS_EVENT (item))
    send_event (self, GST_EVENT_CAST (item));
  else if (GST_IS_QUERY (item))
    gst_vig_queue_query_done (&self->queue, send_query (self, GST_QUERY_CAST (item)));
  else
    gst_vig_queue_frame_done (&self->queue, pass_frame (self, (GstVigFlight *) item));
}

/* ---- pads ------------------------------------------------------------------------------------------------------ */

static GstFlowReturn
sink_chain (GstPad *pad, GstObject *parent, GstBuffer *buffer)
{
  GstVigClassify *self = GST_VIG_CLASSIFY (parent);
  const gint64 arrival = g_get_monotonic_time ();
  GST_OBJECT_LOCK (self);
  self->stats.frames_in++;
  GST_OBJECT_UNLOCK (self);
  set_places (self);
  GstFlowReturn flow = gst_vig_queue_wait_for_place (&self->queue);
  if (flow < GST_FLOW_OK) {
    gst_buffer_unref (buffer);
    return flow;
  }
  GstVigFlight *flight = take_off (self, buffer, arrival);
  return gst_vig_queue_push_frame (&self->queue, GST_MINI_OBJECT_CAST (flight)) ? flow : GST_FLOW_FLUSHING;
}

/* Whether frames may be in CUDA memory: that is known when the engine is. */
static gboolean
takes_cuda (GstVigClassify *self)
{
  g_autoptr (GstVigLoaded) loaded = gst_vig_keeper_get (&self->keeper);
  return loaded && loaded->cuda;
}

/* Sees the caps before the pad itself refuses those outside of its template, with no word of why. */
static GstPadProbeReturn
explain_caps (GstPad *pad, GstPadProbeInfo *info, gpointer data)
{
  GError *error = NULL;
  GstVideoInfo video;
  GstCaps *caps;
  GstEvent *event = GST_PAD_PROBE_INFO_EVENT (info);
  if (GST_EVENT_TYPE (event) != GST_EVENT_CAPS)
    return GST_PAD_PROBE_OK;
  gst_event_parse_caps (event, &caps);
  if (!gst_vig_caps_parse (caps, takes_cuda (data), &video, &error))
    post_error (data, error);
  return GST_PAD_PROBE_OK;
}

static gboolean
flush_start (GstVigClassify *self, GstEvent *event)
{
  gst_vig_queue_set_flushing (&self->queue, TRUE);
  gboolean ok = gst_pad_push_event (self->srcpad, event);
  gst_pad_pause_task (self->srcpad); /* waits until the frame in flight is out */
  return ok;
}

static gboolean
flush_stop (GstVigClassify *self, GstEvent *event)
{
  gboolean reset_time;
  gst_event_parse_flush_stop (event, &reset_time);
  gboolean ok = gst_pad_push_event (self->srcpad, event);
  gst_vig_turns_end_results (&self->in.turns);
  may_reset_clips (self, GST_VIG_CLIP_RESET_FLUSH);
  if (reset_time)
    gst_segment_init (&self->in.segment, GST_FORMAT_TIME);
  gst_vig_queue_set_flushing (&self->queue, TRUE); /* as it is, unless no FLUSH_START came before, or another start */
  GST_PAD_STREAM_LOCK (self->srcpad);
  self->has_announced = FALSE;
  self->epoch = self->in.turns.epoch;
  gst_vig_segments_end (&self->segments);
  if (reset_time)
    gst_segment_init (&self->segment, GST_FORMAT_TIME);
  GST_PAD_STREAM_UNLOCK (self->srcpad);
  if (GST_PAD_MODE (self->srcpad) == GST_PAD_MODE_PUSH) {
    gst_vig_queue_set_flushing (&self->queue, FALSE);
    gst_pad_start_task (self->srcpad, loop, self, NULL);
  }
  return ok;
}

/* No frame comes for now: those that have come wait for no others. */
static void
hurry (GstVigClassify *self)
{
  g_autoptr (GstVigLoaded) loaded = gst_vig_keeper_get (&self->keeper);
  if (loaded)
    vig_stream_hurry (loaded->stream);
}

/* Serialised events as they come in: what they say holds for the frames behind them. */
static gboolean
take_event (GstVigClassify *self, GstEvent *event)
{
  GstVideoInfo info;
  GstCaps *caps;
  switch (GST_EVENT_TYPE (event)) {
    case GST_EVENT_STREAM_START:
      gst_vig_turns_end_results (&self->in.turns);
      may_reset_clips (self, GST_VIG_CLIP_RESET_STREAM_START);
      self->in.stream_orientation = 0;
      break;
    case GST_EVENT_CAPS:
      gst_event_parse_caps (event, &caps);
      if (!gst_vig_caps_parse (caps, takes_cuda (self), &info, NULL)) /* explain_caps() has said why */
        return FALSE;
      take_caps (self, &info);
      break;
    case GST_EVENT_SEGMENT:
      take_segment (self, event);
      break;
    case GST_EVENT_TAG:
      take_tags (self, event);
      break;
    case GST_EVENT_GAP:
    case GST_EVENT_EOS:
      hurry (self);
      break;
    default:
      break;
  }
  return TRUE;
}

static GstFlowReturn
sink_event (GstPad *pad, GstObject *parent, GstEvent *event)
{
  GstVigClassify *self = GST_VIG_CLASSIFY (parent);
  GST_LOG_OBJECT (pad, "%" GST_PTR_FORMAT, (void *) event);
  if (GST_EVENT_TYPE (event) == GST_EVENT_FLUSH_START)
    return flush_start (self, event) ? GST_FLOW_OK : GST_FLOW_ERROR;
  if (GST_EVENT_TYPE (event) == GST_EVENT_FLUSH_STOP)
    return flush_stop (self, event) ? GST_FLOW_OK : GST_FLOW_ERROR;
  if (!GST_EVENT_IS_SERIALIZED (event))
    return gst_pad_event_default (pad, parent, event) ? GST_FLOW_OK : GST_FLOW_ERROR;
  if (!take_event (self, event)) {
    gst_event_unref (event);
    return GST_FLOW_NOT_NEGOTIATED;
  }
  return gst_vig_queue_push_event (&self->queue, event) ? GST_FLOW_OK : GST_FLOW_FLUSHING;
}

static gboolean
answer_context (GstVigClassify *self, GstQuery *query)
{
  g_autoptr (GstVigLoaded) loaded = gst_vig_keeper_get (&self->keeper);
  return loaded && gst_vig_cuda_answer (loaded->cuda, GST_ELEMENT (self), query);
}

/* What the default handler says, as far as frames can be where the caps say. */
static gboolean
answer_caps (GstVigClassify *self, GstPad *pad, GstQuery *query)
{
  GstCaps *caps;
  if (!gst_pad_query_default (pad, GST_OBJECT (self), query))
    return FALSE;
  if (gst_vig_keeper_uses (&self->keeper, NULL)) /* not known yet */
    return TRUE;
  gst_query_parse_caps_result (query, &caps);
  caps = gst_vig_caps_choose (gst_caps_ref (caps), takes_cuda (self));
  gst_query_set_caps_result (query, caps);
  gst_caps_unref (caps);
  return TRUE;
}

static gboolean
answer_accept_caps (GstVigClassify *self, GstPad *pad, GstQuery *query)
{
  GstCaps *caps;
  gst_query_parse_accept_caps (query, &caps);
  if (!gst_vig_caps_are_cuda (caps) || takes_cuda (self))
    return gst_pad_query_default (pad, GST_OBJECT (self), query);
  gst_query_set_accept_caps_result (query, FALSE);
  return TRUE;
}

/* Of either pad; those that are not in order with frames. */
static gboolean
answer_query (GstVigClassify *self, GstPad *pad, GstQuery *query)
{
  switch (GST_QUERY_TYPE (query)) {
    case GST_QUERY_CAPS:
      return answer_caps (self, pad, query);
    case GST_QUERY_ACCEPT_CAPS:
      return answer_accept_caps (self, pad, query);
    case GST_QUERY_CONTEXT:
      return answer_context (self, query) || gst_pad_query_default (pad, GST_OBJECT (self), query);
    default:
      return gst_pad_query_default (pad, GST_OBJECT (self), query);
  }
}

static gboolean
sink_query (GstPad *pad, GstObject *parent, GstQuery *query)
{
  GstVigClassify *self = GST_VIG_CLASSIFY (parent);
  if (!GST_QUERY_IS_SERIALIZED (query))
    return answer_query (self, pad, query);
  hurry (self);
  set_places (self);
  gboolean answer = gst_vig_queue_ask (&self->queue, query);
  set_places (self); /* ALLOCATION may have said that there is room for fewer */
  return answer;
}

static gboolean
src_event (GstPad *pad, GstObject *parent, GstEvent *event)
{
  GstVigClassify *self = GST_VIG_CLASSIFY (parent);
  if (GST_EVENT_TYPE (event) == GST_EVENT_RECONFIGURE) { /* linked anew, perhaps */
    gst_vig_queue_forgive (&self->queue, GST_FLOW_NOT_LINKED);
    gst_vig_queue_forgive (&self->queue, GST_FLOW_NOT_NEGOTIATED);
  }
  return gst_pad_event_default (pad, parent, event);
}

/* Live: what upstream says and the time that a frame spends here. */
static gboolean
src_query (GstPad *pad, GstObject *parent, GstQuery *query)
{
  GstVigClassify *self = GST_VIG_CLASSIFY (parent);
  if (GST_QUERY_TYPE (query) != GST_QUERY_LATENCY)
    return answer_query (self, pad, query);
  if (!gst_pad_peer_query (self->sinkpad, query))
    return FALSE;
  gboolean live;
  GstClockTime min, max;
  gst_query_parse_latency (query, &live, &min, &max);
  set_live (self, live);
  g_autoptr (GstVigLoaded) loaded = gst_vig_keeper_get (&self->keeper);
  GST_OBJECT_LOCK (self);
  if (loaded && skips (self))
    self->latency.told = get_budget (&self->settings, loaded);
  min += self->latency.told;
  if (GST_CLOCK_TIME_IS_VALID (max))
    max += self->latency.told;
  GST_OBJECT_UNLOCK (self);
  gst_query_set_latency (query, live, min, max);
  return TRUE;
}

static gboolean
src_activate_mode (GstPad *pad, GstObject *parent, GstPadMode mode, gboolean active)
{
  GstVigClassify *self = GST_VIG_CLASSIFY (parent);
  if (mode != GST_PAD_MODE_PUSH)
    return FALSE;
  gst_vig_queue_set_flushing (&self->queue, !active);
  gboolean ok = active ? gst_pad_start_task (pad, loop, self, NULL) : gst_pad_stop_task (pad);
  if (!ok || active)
    return ok;
  GST_PAD_STREAM_LOCK (pad); /* a FLUSH_STOP may come at the same time */
  gst_vig_segments_end (&self->segments);
  drop_late (self);
  GST_PAD_STREAM_UNLOCK (pad);
  return TRUE;
}

/* ---- the element ----------------------------------------------------------------------------------------------- */

/* Between streams: nothing of the last one is left. */
static void
reset_stream (GstVigClassify *self)
{
  gst_vig_queue_empty (&self->queue);
  gst_vig_turns_end_results (&self->in.turns);
  self->in.clip_epoch++;
  self->has_announced = FALSE;
  self->in.have_info = FALSE;
  self->in.hdr_warned = self->in.jump_said = FALSE;
  self->in.stream_orientation = self->in.global_orientation = 0;
  gst_segment_init (&self->in.segment, GST_FORMAT_TIME);
  self->in.backwards = FALSE;
  self->latency_looks = 0;
  self->backwards_said = FALSE;
  self->room = G_MAXUINT;
  gst_segment_init (&self->segment, GST_FORMAT_TIME);
}

static gboolean
set_limits (GstVigClassify *self)
{
  GError *error = NULL;
  GST_OBJECT_LOCK (self);
  self->segments.limits = self->limits;
  GST_OBJECT_UNLOCK (self);
  if (gst_vig_limits_check (&self->segments.limits, &error))
    return TRUE;
  post_error (self, error);
  return FALSE;
}

static gboolean
start_stream (GstVigClassify *self)
{
  if (!set_limits (self))
    return FALSE;
  GST_OBJECT_LOCK (self);
  gboolean stale = self->stale || self->other_model || gst_vig_keeper_uses (&self->keeper, NULL);
  GST_OBJECT_UNLOCK (self);
  if (stale && !open_model (self))
    return FALSE;
  reset_stream (self);
  GST_OBJECT_LOCK (self);
  self->stats = (GstVigStats) { 0 };
  self->in.max_in_flight = self->in.held = self->max_in_flight;
  self->latency.posted = 0;
  self->live = FALSE;
  self->started = TRUE;
  GST_OBJECT_UNLOCK (self);
  gst_vig_queue_set_max_in_flight (&self->queue, self->in.held);
  change_model (self); /* if another has been set since it was loaded */
  return TRUE;
}

static GstStateChangeReturn
change_state (GstElement *element, GstStateChange transition)
{
  GstVigClassify *self = GST_VIG_CLASSIFY (element);
  if (transition == GST_STATE_CHANGE_NULL_TO_READY && !open_model (self))
    return GST_STATE_CHANGE_FAILURE;
  if (transition == GST_STATE_CHANGE_READY_TO_PAUSED && !start_stream (self))
    return GST_STATE_CHANGE_FAILURE;
  if (transition == GST_STATE_CHANGE_PAUSED_TO_READY || transition == GST_STATE_CHANGE_READY_TO_NULL)
    stop_changing_model (self);
  GstStateChangeReturn ret = GST_ELEMENT_CLASS (gst_vig_classify_parent_class)->change_state (element, transition);
  if (transition == GST_STATE_CHANGE_PLAYING_TO_PAUSED)
    hurry (self);
  if (transition == GST_STATE_CHANGE_READY_TO_NULL)
    gst_vig_keeper_close (&self->keeper);
  return ret;
}

/* Files that one g_object_set() names are one change of the model. */
static void
dispatch_properties_changed (GObject *object, guint n, GParamSpec **specs)
{
  change_model (GST_VIG_CLASSIFY (object));
  G_OBJECT_CLASS (gst_vig_classify_parent_class)->dispatch_properties_changed (object, n, specs);
}

static void
finalize (GObject *object)
{
  GstVigClassify *self = GST_VIG_CLASSIFY (object);
  gst_vig_queue_clear (&self->queue);
  gst_vig_keeper_close (&self->keeper);
  gst_vig_keeper_clear (&self->keeper);
  gst_vig_load_options_clear (&self->load);
  gst_vig_turns_clear (&self->in.turns);
  gst_vig_segments_clear (&self->segments);
  g_free (self->segments_model);
  g_free (self->segments_hash);
  g_free (self->object_classes);
  g_clear_pointer (&self->wanted_classes, g_ptr_array_unref);
  g_free (self->heatmap_labels);
  g_clear_pointer (&self->wanted_maps, g_ptr_array_unref);
  G_OBJECT_CLASS (gst_vig_classify_parent_class)->finalize (object);
}

static void
gst_vig_classify_class_init (GstVigClassifyClass *class)
{
  GObjectClass *object_class = G_OBJECT_CLASS (class);
  GstElementClass *element_class = GST_ELEMENT_CLASS (class);
  object_class->dispatch_properties_changed = dispatch_properties_changed;
  object_class->finalize = finalize;
  element_class->change_state = change_state;
  gst_vig_classify_install_properties (object_class);
  gst_element_class_add_static_pad_template (element_class, &sink_template);
  gst_element_class_add_static_pad_template (element_class, &src_template);
  gst_element_class_set_static_metadata (element_class, "ViG video classifier", "Filter/Analyzer/Video",
      "Classifies video frames with a ViG model and attaches the labels as analytics metadata, leaving the frames "
      "untouched", "the gst-vig authors");
  gst_vig_meta_register ();
}

static void
gst_vig_classify_init (GstVigClassify *self)
{
  gst_vig_classify_init_properties (self);
  gst_vig_queue_init (&self->queue, self->max_in_flight);
  gst_vig_turns_init (&self->in.turns);
  gst_vig_segments_init (&self->segments, tell_segment, self);
  gst_vig_keeper_init (&self->keeper, model_changed, self);

  self->sinkpad = gst_pad_new_from_static_template (&sink_template, "sink");
  gst_pad_set_chain_function (self->sinkpad, sink_chain);
  gst_pad_set_event_full_function (self->sinkpad, sink_event);
  gst_pad_set_query_function (self->sinkpad, sink_query);
  gst_pad_add_probe (self->sinkpad, GST_PAD_PROBE_TYPE_EVENT_DOWNSTREAM, explain_caps, self, NULL);
  GST_PAD_SET_PROXY_CAPS (self->sinkpad);
  gst_element_add_pad (GST_ELEMENT (self), self->sinkpad);

  self->srcpad = gst_pad_new_from_static_template (&src_template, "src");
  gst_pad_set_activatemode_function (self->srcpad, src_activate_mode);
  gst_pad_set_event_function (self->srcpad, src_event);
  gst_pad_set_query_function (self->srcpad, src_query);
  GST_PAD_SET_PROXY_CAPS (self->srcpad);
  gst_element_add_pad (GST_ELEMENT (self), self->srcpad);
}
