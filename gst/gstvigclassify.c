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
#include "gstvigclassify.h"

#include <gst/video/video.h>
#include <vig/vig.h>

#include "gstvigcaps.h"
#include "gstvigflight.h"
#include "gstvigframe.h"
#include "gstvigkeeper.h"
#include "gstvigmeta.h"
#include "gstvigoverload.h"
#include "gstvigqueue.h"
#include "gstvigregions.h"
#include "gstvigstats.h"
#include "gstvigturns.h"

GST_DEBUG_CATEGORY_STATIC (gst_vig_classify_debug);
#define GST_CAT_DEFAULT gst_vig_classify_debug

#define LATENCY_EVERY 32 /* classified frames between two looks at what is measured */

#define DEFAULT_DEVICE "auto"
#define DEFAULT_PRECISION VIG_PRECISION_AUTO
#define DEFAULT_TOP_K 1
#define DEFAULT_THRESHOLD 0.0
#define DEFAULT_INTERVAL 1
#define DEFAULT_HOLD_RESULT TRUE
#define DEFAULT_HOLD_MAX (2 * GST_SECOND)
#define DEFAULT_INPUT_SIZE 0
#define DEFAULT_POST_MESSAGES TRUE
#define DEFAULT_ORIENTATION GST_VIDEO_ORIENTATION_AUTO
#define DEFAULT_THREADS 0
#define DEFAULT_SHARE TRUE
#define DEFAULT_MAX_BATCH 0
#define DEFAULT_BATCH_DELAY (-1)
#define DEFAULT_MAX_IN_FLIGHT 2
#define DEFAULT_OVERLOAD GST_VIG_OVERLOAD_AUTO
#define DEFAULT_LATENCY_BUDGET (-1)
#define DEFAULT_REGIONS GST_VIG_REGIONS_FRAME
#define DEFAULT_MIN_SIZE 0
#define DEFAULT_MAX_OBJECTS 0
#define DEFAULT_RECLASSIFY_INTERVAL 1

enum {
  PROP_0, PROP_MODEL_FILE, PROP_LABELS_FILE, PROP_DEVICE, PROP_PRECISION, PROP_THREADS, PROP_TOP_K, PROP_THRESHOLD,
  PROP_INTERVAL, PROP_HOLD_RESULT, PROP_HOLD_MAX, PROP_INPUT_SIZE, PROP_POST_MESSAGES, PROP_ORIENTATION, PROP_SHARE,
  PROP_MAX_BATCH, PROP_BATCH_DELAY, PROP_MAX_IN_FLIGHT, PROP_OVERLOAD, PROP_LATENCY_BUDGET,
  PROP_REGIONS, PROP_OBJECT_CLASSES, PROP_MIN_SIZE, PROP_MAX_OBJECTS,
  PROP_RECLASSIFY_INTERVAL, PROP_STATS
};

struct _GstVigClassify {
  GstElement parent;
  GstPad *sinkpad, *srcpad;

  /* object lock */
  GstVigLoadOptions load;
  gboolean stale;     /* other options than those of the model in use, from the next start on */
  gboolean other_model; /* another file than that of the model in use, at once if @started */
  guint n_models;     /* how often a file has been set */
  gboolean started;   /* between READY and PAUSED, or above */
  guint max_in_flight;
  GstVigSettings settings;
  char *object_classes;
  GPtrArray *wanted_classes; /* strings, what it lists; NULL: all. Never changed, replaced */
  GstVigStats stats;
  GstVigOverload overload;
  gboolean live;             /* upstream is */
  GstVigLatency latency;     /* what LATENCY queries are told */

  GstVigQueue queue;
  GstVigKeeper keeper; /* open from READY to NULL */

  /* Where frames come in: the sink pad's stream lock's. */
  struct {
    GstVideoInfo info;
    gboolean have_info;
    GstSegment segment;
    VigOrientation stream_orientation, global_orientation; /* of the tags; 0: none */
    guint model;            /* number of the one that the last frame was submitted to */
    GstVigTurns turns;
    gboolean hdr_warned;
    guint max_in_flight;
    guint held;              /* most frames that there may be, where a pool allows it */
  } in;

  /* Where they go out: the source task's, or its stream lock's. */
  guint room;               /* most frames that upstream's pool allows; changes while frames stand still */
  GstSegment segment;
  GQueue late;              /* of GstVigFlight: their buffers have left, their results are still to come */
  gboolean backwards_said;
  gboolean failed;          /* the last frame ended here, and the bus knows why */
  gboolean has_announced;
  GQuark announced;         /* label of the last message; 0: below the threshold */
  GstClockTime announced_since;
  guint64 latency_looks;
};

static GstStaticPadTemplate sink_template = GST_STATIC_PAD_TEMPLATE ("sink", GST_PAD_SINK, GST_PAD_ALWAYS,
    GST_STATIC_CAPS (GST_VIG_CAPS));
static GstStaticPadTemplate src_template = GST_STATIC_PAD_TEMPLATE ("src", GST_PAD_SRC, GST_PAD_ALWAYS,
    GST_STATIC_CAPS (GST_VIG_CAPS));

G_DEFINE_TYPE (GstVigClassify, gst_vig_classify, GST_TYPE_ELEMENT)
GST_ELEMENT_REGISTER_DEFINE_WITH_CODE (vigclassify, "vigclassify", GST_RANK_NONE, GST_TYPE_VIG_CLASSIFY,
    GST_DEBUG_CATEGORY_INIT (gst_vig_classify_debug, "vigclassify", 0, "Video classification with ViG models"))

static GType
precision_get_type (void)
{
  static gsize type;
  static const GEnumValue values[] = {
    { VIG_PRECISION_AUTO, "The fastest that is accurate enough on this device", "auto" },
    { VIG_PRECISION_FP32, "32-bit floating point", "fp32" },
    { VIG_PRECISION_BF16, "bfloat16 matrix products, everything else 32-bit", "bf16" },
    { VIG_PRECISION_FP16, "Half-precision matrix products, everything else 32-bit", "fp16" },
    { 0, NULL, NULL },
  };
  if (g_once_init_enter (&type))
    g_once_init_leave (&type, g_enum_register_static ("GstVigPrecision", values));
  return type;
}

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
        number, &error);
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

/* ---- a frame --------------------------------------------------------------------------------------------------- */

/* Both are NONE where the segment does not count time (appsrc's, unless told to) or the frame has none. */
static GstClockTime
running_time (const GstSegment *segment, GstBuffer *buffer)
{
  if (segment->format != GST_FORMAT_TIME)
    return GST_CLOCK_TIME_NONE;
  return gst_segment_to_running_time (segment, GST_FORMAT_TIME, GST_BUFFER_PTS (buffer));
}

static GstClockTime
stream_time (const GstSegment *segment, GstBuffer *buffer)
{
  if (segment->format != GST_FORMAT_TIME)
    return GST_CLOCK_TIME_NONE;
  return gst_segment_to_stream_time (segment, GST_FORMAT_TIME, GST_BUFFER_PTS (buffer));
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

static VigOrientation
upright (GstVigClassify *self, const GstVigSettings *settings)
{
  if (settings->orientation != GST_VIDEO_ORIENTATION_AUTO)
    return gst_vig_orientation_from_method (settings->orientation);
  return self->in.stream_orientation ? self->in.stream_orientation : self->in.global_orientation;
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
  GstClockTime now = stream_time (&self->in.segment, buffer);
  if (GST_CLOCK_TIME_IS_VALID (now))
    gst_object_sync_values (GST_OBJECT (self), now);
  g_autoptr (GstVigLoaded) loaded = gst_vig_keeper_get (&self->keeper);
  if (loaded->number != self->in.model)
    gst_vig_turns_end_results (&self->in.turns);
  self->in.model = loaded->number;
  GstVigFlight *flight = gst_vig_flight_new (buffer, loaded, &self->queue);
  prepare (self, flight, arrival);
  if (!self->in.have_info) {
    g_set_error (&flight->error, GST_STREAM_ERROR, GST_STREAM_ERROR_FORMAT,
        "A frame came before any caps: nobody said what its bytes mean.");
    return flight;
  }
  gboolean busy = flight->until != G_MAXINT64
      && gst_vig_queue_get_computing (&self->queue) >= self->in.max_in_flight;
  g_autoptr (GArray) parts = gst_vig_turns_choose (&self->in.turns, flight,
      running_time (&self->in.segment, buffer), busy ? &n_shed : NULL);
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

static GstVigSpan
get_span (GstVigClassify *self, GstBuffer *buffer)
{
  GstVigSpan span = { GST_BUFFER_PTS (buffer), GST_BUFFER_PTS (buffer), running_time (&self->segment, buffer) };
  if (GST_BUFFER_PTS_IS_VALID (buffer) && GST_BUFFER_DURATION_IS_VALID (buffer))
    span.end += GST_BUFFER_DURATION (buffer);
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
        "stream-time", G_TYPE_UINT64, flight->stream_time,
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

/* A shot's result becomes the last one of the frame, or of an object; unless it comes late and one of a later frame is
 * there already. */
static void
take_shot (const GstVigFlight *flight, guint i, const guint64 *tracking_id)
{
  GstVigHeld *held = &flight->loaded->held;
  if (i == GST_VIG_NO_SHOT || flight->shots[i].state != GST_VIG_SHOT_THERE || flight->shots[i].taken)
    return;
  const GstVigLast *last = gst_vig_held_get (held, flight->epoch, tracking_id);
  GstClockTime then = last ? last->span.running : GST_CLOCK_TIME_NONE, now = flight->span.running;
  if (!flight->buffer && GST_CLOCK_TIME_IS_VALID (then) && GST_CLOCK_TIME_IS_VALID (now) && now < then)
    return;
  gst_vig_held_put (held, flight->epoch, tracking_id, &flight->span, flight->shots[i].probabilities);
}

/* The flight's results become the last ones, of the frame and of its objects. */
static void
take_results (GstVigClassify *self, GstVigFlight *flight)
{
  gboolean news = flight->frame_shot != GST_VIG_NO_SHOT && !flight->shots[flight->frame_shot].taken
      && flight->shots[flight->frame_shot].state == GST_VIG_SHOT_THERE;
  take_shot (flight, flight->frame_shot, NULL);
  for (guint i = 0; flight->regions && i < flight->regions->len; i++) {
    const GstVigRegion *region = &g_array_index (flight->regions, GstVigRegion, i);
    if (region->tracked)
      take_shot (flight, region->shot, &region->tracking_id);
  }
  count_results (self, flight);
  for (guint i = 0; i < flight->n_shots; i++)
    flight->shots[i].taken = flight->shots[i].state == GST_VIG_SHOT_THERE;
  if (news)
    announce (self, flight);
}

/* Results of frames that have left without them, in the order of the frames. That one failed is said with @flight. */
static void
take_late_results (GstVigClassify *self, GstVigFlight *flight)
{
  GstVigFlight *late;
  while ((late = g_queue_peek_head (&self->late)) && gst_vig_flight_is_over (late)) {
    g_queue_pop_head (&self->late);
    if (late->error && !flight->error)
      flight->error = g_steal_pointer (&late->error);
    if (late->epoch == flight->epoch)
      take_results (self, late);
    gst_mini_object_unref (GST_MINI_OBJECT_CAST (late));
  }
}

/* Waits for the frame's results for as long as it may, and until nothing looks at it any more. FALSE: a flush has come. */
static gboolean
finish (GstVigClassify *self, GstVigFlight *flight)
{
  guint n_shed, n_there = 0, n_out = 0;
  flight->span = get_span (self, flight->buffer);
  flight->stream_time = stream_time (&self->segment, flight->buffer);
  if (self->segment.rate < 0)
    flight->settings.hold_result = FALSE;
  if (!gst_vig_queue_wait_computed (&self->queue, &flight->out, flight->until))
    return FALSE;
  gst_vig_flight_leave (flight, &n_shed);
  take_late_results (self, flight);
  if (!flight->error)
    take_results (self, flight);
  for (guint i = 0; i < flight->n_shots; i++) {
    n_there += flight->shots[i].state == GST_VIG_SHOT_THERE;
    n_out += flight->shots[i].state == GST_VIG_SHOT_OUT;
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

/* What is still to come of it comes later. Takes @flight. */
static void
put_away (GstVigClassify *self, GstVigFlight *flight)
{
  if (gst_vig_flight_is_over (flight))
    gst_mini_object_unref (GST_MINI_OBJECT_CAST (flight));
  else
    g_queue_push_tail (&self->late, flight);
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

/* What is to be said about a frame, or about an object in it. */
typedef struct {
  GstVigRegion *region;       /* NULL: the frame */
  const float *probabilities; /* [classes] */
  GstVigSpan span;
  gboolean held;
  GstClockTime age;
} Saying;

/* The last result of the frame's model. Without running times nobody can tell how old it is. */
static gboolean
find_held (const GstVigFlight *flight, GstClockTime now, Saying *s)
{
  const GstVigSettings *settings = &flight->settings;
  if (!settings->hold_result || (s->region ? !s->region->tracked : settings->regions == GST_VIG_REGIONS_OBJECTS))
    return FALSE;
  const GstVigLast *last = gst_vig_held_get (&flight->loaded->held, flight->epoch,
      s->region ? &s->region->tracking_id : NULL);
  if (!last || !GST_CLOCK_TIME_IS_VALID (now) || !GST_CLOCK_TIME_IS_VALID (last->span.running)
      || now < last->span.running)
    return FALSE;
  s->probabilities = last->probabilities;
  s->span = last->span;
  s->held = TRUE;
  s->age = now - last->span.running;
  return s->age <= settings->hold_max;
}

/* FALSE: nothing. */
static gboolean
find_saying (const GstVigFlight *flight, GstVigRegion *region, Saying *s)
{
  guint shot = region ? region->shot : flight->frame_shot;
  *s = (Saying) { .region = region };
  if (shot == GST_VIG_NO_SHOT || flight->shots[shot].state != GST_VIG_SHOT_THERE)
    return find_held (flight, flight->span.running, s);
  s->probabilities = flight->shots[shot].probabilities;
  s->span = flight->span;
  return TRUE;
}

/* Returns: (transfer full): of Saying: the frame's first, then its objects'. */
static GArray *
find_sayings (GstVigClassify *self, const GstVigFlight *flight)
{
  GArray *sayings = g_array_new (FALSE, FALSE, sizeof (Saying));
  const guint n_objects = flight->regions ? flight->regions->len : 0;
  guint n_said = 0, n_held = 0;
  Saying s;
  if (find_saying (flight, NULL, &s))
    g_array_append_val (sayings, s);
  for (guint i = 0; i < n_objects; i++) {
    if (!find_saying (flight, &g_array_index (flight->regions, GstVigRegion, i), &s))
      continue;
    g_array_append_val (sayings, s);
    n_said++;
    n_held += s.held;
  }
  GST_OBJECT_LOCK (self);
  self->stats.objects_held += n_held;
  self->stats.objects_skipped += n_objects - n_said;
  GST_OBJECT_UNLOCK (self);
  return sayings;
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

static void
say (GstVigMetaWriter *writer, const char *name, const GstVigFlight *flight, const Saying *s)
{
  const GstVigLoaded *by = flight->loaded;
  guint n = vig_top_k (s->probabilities, by->n_classes, MIN (flight->settings.top_k, by->n_classes), by->ranks);
  const GstVigResult result = {
    .element = name, .model = vig_model_get_name (by->model), .model_hash = vig_model_get_hash (by->model),
    .labels = (const char *const *) by->labels, .quarks = by->quarks, .ranks = by->ranks, .n_ranks = n,
    .threshold = flight->settings.threshold, .span = s->span, .held = s->held, .age = s->age, .region = s->region,
  };
  gst_vig_meta_add (writer, &result);
}

/* Says about @buffer, that of @flight, what is to be said; takes and returns it. */
static GstBuffer *
attach (GstVigClassify *self, GstBuffer *buffer, const GstVigFlight *flight, const GArray *sayings)
{
  if (sayings->len == 0)
    return buffer;
  buffer = make_writable (self, buffer);
  if (!gst_buffer_is_writable (buffer))
    return buffer;
  g_autofree char *name = gst_object_get_name (GST_OBJECT (self));
  GstVigMetaWriter writer;
  gst_vig_meta_begin (&writer, buffer);
  for (guint i = 0; i < sayings->len; i++)
    say (&writer, name, flight, &g_array_index (sayings, Saying, i));
  gst_vig_meta_end (&writer);
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
  g_autoptr (GArray) sayings = find_sayings (self, flight);
  GstBuffer *buffer = attach (self, gst_vig_flight_steal_buffer (flight), flight, sayings);
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
  if (!self->in.have_info || !gst_video_info_is_equal (info, &self->in.info))
    gst_vig_turns_end_results (&self->in.turns);
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
  gboolean backwards = self->in.segment.rate < 0;
  gst_event_copy_segment (event, &self->in.segment);
  if (backwards != (self->in.segment.rate < 0))
    gst_vig_turns_end_results (&self->in.turns);
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

static void
send_event (GstVigClassify *self, GstEvent *event)
{
  switch (GST_EVENT_TYPE (event)) {
    case GST_EVENT_STREAM_START:
      self->has_announced = FALSE;
      gst_vig_queue_forgive (&self->queue, GST_FLOW_EOS);
      break;
    case GST_EVENT_CAPS:
      gst_vig_queue_forgive (&self->queue, GST_FLOW_NOT_NEGOTIATED);
      break;
    case GST_EVENT_SEGMENT:
      gst_event_copy_segment (event, &self->segment);
      say_backwards (self);
      gst_vig_queue_forgive (&self->queue, GST_FLOW_EOS);
      break;
    case GST_EVENT_EOS:
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
  GstFlowReturn flow = GST_FLOW_FLUSHING;
  if (finish (self, flight)) {
    flow = gst_vig_queue_get_flow (&self->queue, &told);
    if (flow >= GST_FLOW_OK)
      flow = send_frame (self, flight);
    gst_clear_buffer (&flight->buffer);
  }
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
  if (reset_time)
    gst_segment_init (&self->in.segment, GST_FORMAT_TIME);
  gst_vig_queue_set_flushing (&self->queue, TRUE); /* as it is, unless no FLUSH_START came before, or another start */
  GST_PAD_STREAM_LOCK (self->srcpad);
  self->has_announced = FALSE;
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
  if (ok && !active)
    drop_late (self);
  return ok;
}

/* ---- the element ----------------------------------------------------------------------------------------------- */

/* Between streams: nothing of the last one is left. */
static void
reset_stream (GstVigClassify *self)
{
  gst_vig_queue_empty (&self->queue);
  gst_vig_turns_end_results (&self->in.turns);
  self->has_announced = FALSE;
  self->in.have_info = FALSE;
  self->in.hdr_warned = FALSE;
  self->in.stream_orientation = self->in.global_orientation = 0;
  gst_segment_init (&self->in.segment, GST_FORMAT_TIME);
  self->latency_looks = 0;
  self->backwards_said = FALSE;
  self->room = G_MAXUINT;
  gst_segment_init (&self->segment, GST_FORMAT_TIME);
}

static gboolean
start_stream (GstVigClassify *self)
{
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

static GstStructure *
get_stats (GstVigClassify *self)
{
  GstStructure *stats = gst_structure_new_empty ("vig-stats");
  g_autoptr (GstVigLoaded) loaded = gst_vig_keeper_get (&self->keeper);
  GST_OBJECT_LOCK (self);
  gst_vig_stats_to_structure (&self->stats, stats);
  gst_structure_set (stats, "latency", G_TYPE_UINT64, self->latency.told,
      "sharers", G_TYPE_UINT64, (guint64) (loaded ? vig_shared_get_n_users (loaded->shared) : 0), NULL);
  GST_OBJECT_UNLOCK (self);
  return stats;
}

/* What is loaded from; when that is, change_model() and start_stream() decide. */
static void
set_file (GstVigClassify *self, char **field, const GValue *value)
{
  g_free (*field);
  *field = g_value_dup_string (value);
  self->other_model = TRUE;
  self->n_models++;
}

static void
set_object_classes (GstVigClassify *self, const GValue *value)
{
  g_free (self->object_classes);
  self->object_classes = g_value_dup_string (value);
  g_clear_pointer (&self->wanted_classes, g_ptr_array_unref);
  self->wanted_classes = gst_vig_object_classes_parse (self->object_classes);
}

static void
set_property (GObject *object, guint id, const GValue *value, GParamSpec *pspec)
{
  GstVigClassify *self = GST_VIG_CLASSIFY (object);
  GstVigSettings *settings = &self->settings;
  GST_OBJECT_LOCK (self);
  switch (id) {
    case PROP_MODEL_FILE:
      set_file (self, &self->load.model_file, value);
      break;
    case PROP_LABELS_FILE:
      set_file (self, &self->load.labels_file, value);
      break;
    case PROP_DEVICE:
      g_free (self->load.device);
      self->load.device = g_value_dup_string (value);
      self->stale = TRUE;
      break;
    case PROP_PRECISION:
      self->load.precision = g_value_get_enum (value);
      self->stale = TRUE;
      break;
    case PROP_THREADS:
      self->load.threads = g_value_get_uint (value);
      self->stale = TRUE;
      break;
    case PROP_SHARE:
      self->load.share = g_value_get_boolean (value);
      self->stale = TRUE;
      break;
    case PROP_MAX_BATCH:
      self->load.max_batch = g_value_get_uint (value);
      self->stale = TRUE;
      break;
    case PROP_BATCH_DELAY:
      self->load.batch_delay = g_value_get_int64 (value);
      self->stale = TRUE;
      break;
    case PROP_MAX_IN_FLIGHT:
      self->max_in_flight = g_value_get_uint (value);
      break;
    case PROP_REGIONS:
      settings->regions = g_value_get_enum (value);
      break;
    case PROP_OBJECT_CLASSES:
      set_object_classes (self, value);
      break;
    case PROP_MIN_SIZE:
      settings->min_size = g_value_get_uint (value);
      break;
    case PROP_MAX_OBJECTS:
      settings->max_objects = g_value_get_uint (value);
      break;
    case PROP_RECLASSIFY_INTERVAL:
      settings->reclassify_interval = g_value_get_uint (value);
      break;
    case PROP_OVERLOAD:
      self->overload = g_value_get_enum (value);
      break;
    case PROP_LATENCY_BUDGET:
      settings->latency_budget = g_value_get_int64 (value);
      break;
    case PROP_TOP_K:
      settings->top_k = g_value_get_uint (value);
      break;
    case PROP_THRESHOLD:
      settings->threshold = g_value_get_double (value);
      break;
    case PROP_INTERVAL:
      settings->interval = g_value_get_uint (value);
      break;
    case PROP_HOLD_RESULT:
      settings->hold_result = g_value_get_boolean (value);
      break;
    case PROP_HOLD_MAX:
      settings->hold_max = g_value_get_uint64 (value);
      break;
    case PROP_INPUT_SIZE:
      settings->input_size = g_value_get_uint (value);
      break;
    case PROP_POST_MESSAGES:
      settings->post_messages = g_value_get_boolean (value);
      break;
    case PROP_ORIENTATION:
      settings->orientation = g_value_get_enum (value);
      break;
    default:
      G_OBJECT_WARN_INVALID_PROPERTY_ID (object, id, pspec);
  }
  GST_OBJECT_UNLOCK (self);
}

/* Files that one g_object_set() names are one change of the model. */
static void
dispatch_properties_changed (GObject *object, guint n, GParamSpec **specs)
{
  change_model (GST_VIG_CLASSIFY (object));
  G_OBJECT_CLASS (gst_vig_classify_parent_class)->dispatch_properties_changed (object, n, specs);
}

static void
get_property (GObject *object, guint id, GValue *value, GParamSpec *pspec)
{
  GstVigClassify *self = GST_VIG_CLASSIFY (object);
  const GstVigSettings *settings = &self->settings;
  if (id == PROP_STATS) {
    g_value_take_boxed (value, get_stats (self));
    return;
  }
  GST_OBJECT_LOCK (self);
  switch (id) {
    case PROP_MODEL_FILE:
      g_value_set_string (value, self->load.model_file);
      break;
    case PROP_LABELS_FILE:
      g_value_set_string (value, self->load.labels_file);
      break;
    case PROP_DEVICE:
      g_value_set_string (value, self->load.device);
      break;
    case PROP_PRECISION:
      g_value_set_enum (value, self->load.precision);
      break;
    case PROP_THREADS:
      g_value_set_uint (value, self->load.threads);
      break;
    case PROP_SHARE:
      g_value_set_boolean (value, self->load.share);
      break;
    case PROP_MAX_BATCH:
      g_value_set_uint (value, self->load.max_batch);
      break;
    case PROP_BATCH_DELAY:
      g_value_set_int64 (value, self->load.batch_delay);
      break;
    case PROP_MAX_IN_FLIGHT:
      g_value_set_uint (value, self->max_in_flight);
      break;
    case PROP_REGIONS:
      g_value_set_enum (value, settings->regions);
      break;
    case PROP_OBJECT_CLASSES:
      g_value_set_string (value, self->object_classes);
      break;
    case PROP_MIN_SIZE:
      g_value_set_uint (value, settings->min_size);
      break;
    case PROP_MAX_OBJECTS:
      g_value_set_uint (value, settings->max_objects);
      break;
    case PROP_RECLASSIFY_INTERVAL:
      g_value_set_uint (value, settings->reclassify_interval);
      break;
    case PROP_OVERLOAD:
      g_value_set_enum (value, self->overload);
      break;
    case PROP_LATENCY_BUDGET:
      g_value_set_int64 (value, settings->latency_budget);
      break;
    case PROP_TOP_K:
      g_value_set_uint (value, settings->top_k);
      break;
    case PROP_THRESHOLD:
      g_value_set_double (value, settings->threshold);
      break;
    case PROP_INTERVAL:
      g_value_set_uint (value, settings->interval);
      break;
    case PROP_HOLD_RESULT:
      g_value_set_boolean (value, settings->hold_result);
      break;
    case PROP_HOLD_MAX:
      g_value_set_uint64 (value, settings->hold_max);
      break;
    case PROP_INPUT_SIZE:
      g_value_set_uint (value, settings->input_size);
      break;
    case PROP_POST_MESSAGES:
      g_value_set_boolean (value, settings->post_messages);
      break;
    case PROP_ORIENTATION:
      g_value_set_enum (value, settings->orientation);
      break;
    default:
      G_OBJECT_WARN_INVALID_PROPERTY_ID (object, id, pspec);
  }
  GST_OBJECT_UNLOCK (self);
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
  g_free (self->object_classes);
  g_clear_pointer (&self->wanted_classes, g_ptr_array_unref);
  G_OBJECT_CLASS (gst_vig_classify_parent_class)->finalize (object);
}

static void
install_properties (GObjectClass *class)
{
  const GParamFlags ready = G_PARAM_READWRITE | G_PARAM_STATIC_STRINGS | GST_PARAM_MUTABLE_READY;
  const GParamFlags playing = G_PARAM_READWRITE | G_PARAM_STATIC_STRINGS | GST_PARAM_MUTABLE_PLAYING;
  const GParamFlags controllable = playing | GST_PARAM_CONTROLLABLE;

  g_object_class_install_property (class, PROP_MODEL_FILE, g_param_spec_string ("model-file", "Model file",
          "Path of the ViG model (.safetensors with architecture, preprocessing and labels); required. Set while frames "
          "come it is loaded in the background", NULL, playing));
  g_object_class_install_property (class, PROP_LABELS_FILE, g_param_spec_string ("labels-file", "Labels file",
          "Path of a text file with one label a line, in place of the labels in the model file", NULL, playing));
  g_object_class_install_property (class, PROP_DEVICE, g_param_spec_string ("device", "Device",
          "Where the model runs: auto, cpu, cuda or cuda:N", DEFAULT_DEVICE, ready));
  g_object_class_install_property (class, PROP_PRECISION, g_param_spec_enum ("precision", "Precision",
          "Arithmetic of the matrix products", precision_get_type (), DEFAULT_PRECISION, ready));
  g_object_class_install_property (class, PROP_THREADS, g_param_spec_uint ("threads", "Threads",
          "CPU threads that one frame is spread over (0: one for each core this process may use)", 0, 1024,
          DEFAULT_THREADS, ready));
  g_object_class_install_property (class, PROP_TOP_K, g_param_spec_uint ("top-k", "Top k",
          "How many labels, the most confident first, are attached to a frame", 1, G_MAXUINT, DEFAULT_TOP_K,
          controllable));
  g_object_class_install_property (class, PROP_THRESHOLD, g_param_spec_double ("threshold", "Threshold",
          "Labels with less confidence (probability, 0 to 1) are not attached", 0, 1, DEFAULT_THRESHOLD,
          controllable));
  g_object_class_install_property (class, PROP_INTERVAL, g_param_spec_uint ("interval", "Interval",
          "Classify every n-th frame (1: every frame)", 1, G_MAXUINT, DEFAULT_INTERVAL, controllable));
  g_object_class_install_property (class, PROP_HOLD_RESULT, g_param_spec_boolean ("hold-result", "Hold result",
          "Attach the last result, marked as held and with its age, to the frames that are not classified",
          DEFAULT_HOLD_RESULT, playing));
  g_object_class_install_property (class, PROP_HOLD_MAX, g_param_spec_uint64 ("hold-max", "Longest hold",
          "Age up to which a result is held, in nanoseconds of running time", 0, G_MAXUINT64, DEFAULT_HOLD_MAX,
          playing));
  g_object_class_install_property (class, PROP_INPUT_SIZE, g_param_spec_uint ("input-size", "Input size",
          "Side in pixels of the square that a frame is resized to for the model (0: what the model says)", 0, 8192,
          DEFAULT_INPUT_SIZE, playing));
  g_object_class_install_property (class, PROP_POST_MESSAGES, g_param_spec_boolean ("post-messages", "Post messages",
          "Post an element message 'vig-label' on the bus each time the label changes", DEFAULT_POST_MESSAGES,
          playing));
  g_object_class_install_property (class, PROP_ORIENTATION, g_param_spec_enum ("orientation", "Orientation",
          "How the picture is turned upright for the model, the frame itself staying as it is (auto: as the stream's "
          "image-orientation tag says)", GST_TYPE_VIDEO_ORIENTATION_METHOD, DEFAULT_ORIENTATION, playing));
  g_object_class_install_property (class, PROP_SHARE, g_param_spec_boolean ("share", "Share",
          "Share the engine with the other elements of this process that have the same model (whatever its path), "
          "device, precision and threads: loaded once, frames of all classified in common batches", DEFAULT_SHARE,
          ready));
  g_object_class_install_property (class, PROP_MAX_BATCH, g_param_spec_uint ("max-batch", "Largest batch",
          "Most frames, of all elements that share the engine, in one batch (0: as another of them says, or 8)", 0,
          VIG_SHARED_MAX_BATCH, DEFAULT_MAX_BATCH, ready));
  g_object_class_install_property (class, PROP_BATCH_DELAY, g_param_spec_int64 ("batch-delay", "Batch delay",
          "How long, in nanoseconds, a frame waits at most for frames of other elements to share its batch with (-1: as "
          "another of them says, or 5 ms)", -1, VIG_SHARED_MAX_DELAY * (gint64) GST_USECOND, DEFAULT_BATCH_DELAY, ready));
  g_object_class_install_property (class, PROP_MAX_IN_FLIGHT, g_param_spec_uint ("max-in-flight", "Most in flight",
          "Most frames that this element holds: those that wait for a batch, are in one, or are on their way downstream; "
          "where frames do not wait for their results (overload), most that wait for a batch or are in one",
          1, 1024, DEFAULT_MAX_IN_FLIGHT, ready));
  g_object_class_install_property (class, PROP_OVERLOAD, g_param_spec_enum ("overload", "Overload",
          "What happens where frames come faster than they are classified: they wait for their results, or for "
          "latency-budget at most and then leave with the last one", gst_vig_overload_get_type (), DEFAULT_OVERLOAD,
          playing));
  g_object_class_install_property (class, PROP_LATENCY_BUDGET, g_param_spec_int64 ("latency-budget", "Latency budget",
          "With overload=skip, how long, in nanoseconds, a frame waits at most for its result (-1: batch-delay and the "
          "99th percentile measured while warming up)", -1, G_MAXINT64, DEFAULT_LATENCY_BUDGET, playing));
  g_object_class_install_property (class, PROP_REGIONS, g_param_spec_enum ("regions", "Regions",
          "What is classified: the frame, or the objects that upstream has found in it (GstAnalyticsODMtd, "
          "GstVideoRegionOfInterestMeta), or both", gst_vig_regions_get_type (), DEFAULT_REGIONS, playing));
  g_object_class_install_property (class, PROP_OBJECT_CLASSES, g_param_spec_string ("object-classes",
          "Object classes", "Comma-separated types of the objects that are classified (not set: all)", NULL, playing));
  g_object_class_install_property (class, PROP_MIN_SIZE, g_param_spec_uint ("min-size", "Smallest size",
          "Objects whose shorter side has fewer pixels in the frame are not classified", 0, G_MAXINT,
          DEFAULT_MIN_SIZE, playing));
  g_object_class_install_property (class, PROP_MAX_OBJECTS, g_param_spec_uint ("max-objects", "Most objects",
          "Most objects of a frame that are classified, the first that upstream has attached (0: all)", 0, G_MAXINT,
          DEFAULT_MAX_OBJECTS, playing));
  g_object_class_install_property (class, PROP_RECLASSIFY_INTERVAL, g_param_spec_uint ("reclassify-interval",
          "Interval of objects", "Classify an object that upstream tracks every n-th frame, and hold its result between",
          1, G_MAXUINT, DEFAULT_RECLASSIFY_INTERVAL, playing));
  g_object_class_install_property (class, PROP_STATS, g_param_spec_boxed ("stats", "Statistics",
          "Counters since the stream was started, and times in nanoseconds and frames per second over the last 256 "
          "frames", GST_TYPE_STRUCTURE, G_PARAM_READABLE | G_PARAM_STATIC_STRINGS));
}

static void
gst_vig_classify_class_init (GstVigClassifyClass *class)
{
  GObjectClass *object_class = G_OBJECT_CLASS (class);
  GstElementClass *element_class = GST_ELEMENT_CLASS (class);
  object_class->set_property = set_property;
  object_class->get_property = get_property;
  object_class->dispatch_properties_changed = dispatch_properties_changed;
  object_class->finalize = finalize;
  element_class->change_state = change_state;
  install_properties (object_class);
  gst_element_class_add_static_pad_template (element_class, &sink_template);
  gst_element_class_add_static_pad_template (element_class, &src_template);
  gst_element_class_set_static_metadata (element_class, "ViG video classifier", "Filter/Analyzer/Video",
      "Classifies video frames with a ViG model and attaches the labels as analytics metadata, leaving the frames "
      "untouched", "the gst-vig authors");
  gst_type_mark_as_plugin_api (precision_get_type (), 0);
  gst_type_mark_as_plugin_api (gst_vig_regions_get_type (), 0);
  gst_type_mark_as_plugin_api (gst_vig_overload_get_type (), 0);
  gst_vig_meta_register ();
}

static void
gst_vig_classify_init (GstVigClassify *self)
{
  self->load = (GstVigLoadOptions) {
    .device = g_strdup (DEFAULT_DEVICE), .precision = DEFAULT_PRECISION, .threads = DEFAULT_THREADS,
    .share = DEFAULT_SHARE, .max_batch = DEFAULT_MAX_BATCH, .batch_delay = DEFAULT_BATCH_DELAY,
  };
  self->max_in_flight = DEFAULT_MAX_IN_FLIGHT;
  self->overload = DEFAULT_OVERLOAD;
  self->settings = (GstVigSettings) {
    .top_k = DEFAULT_TOP_K, .interval = DEFAULT_INTERVAL, .input_size = DEFAULT_INPUT_SIZE,
    .threshold = DEFAULT_THRESHOLD, .hold_result = DEFAULT_HOLD_RESULT, .post_messages = DEFAULT_POST_MESSAGES,
    .hold_max = DEFAULT_HOLD_MAX, .orientation = DEFAULT_ORIENTATION, .regions = DEFAULT_REGIONS,
    .min_size = DEFAULT_MIN_SIZE, .max_objects = DEFAULT_MAX_OBJECTS, .reclassify_interval = DEFAULT_RECLASSIFY_INTERVAL,
    .latency_budget = DEFAULT_LATENCY_BUDGET,
  };
  gst_vig_queue_init (&self->queue, DEFAULT_MAX_IN_FLIGHT);
  gst_vig_turns_init (&self->in.turns);
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
