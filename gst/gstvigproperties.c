/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The properties of vigclassify (docs/vigclassify.md): what can be set, and where it goes. */
#include "gstvigclassify-private.h"

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
#define DEFAULT_PARALLEL_BATCHES 1
#define DEFAULT_SHARE TRUE
#define DEFAULT_MAX_BATCH 0
#define DEFAULT_BATCH_DELAY (-1)
#define DEFAULT_MAX_IN_FLIGHT 2
#define DEFAULT_OVERLOAD GST_VIG_OVERLOAD_AUTO
#define DEFAULT_LATENCY_BUDGET (-1)
#define DEFAULT_REGIONS GST_VIG_REGIONS_FRAME
#define DEFAULT_HEATMAP FALSE
#define DEFAULT_MIN_SIZE 0
#define DEFAULT_MAX_OBJECTS 0
#define DEFAULT_RECLASSIFY_INTERVAL 1
#define DEFAULT_CLIP_MODE GST_VIG_CLIP_AUTO
#define DEFAULT_CLIP_LENGTH 16
#define DEFAULT_CLIP_STRIDE 1
#define DEFAULT_CLIP_HOP 8
#define DEFAULT_CLIP_TIME_CONSTANT 1.0
#define DEFAULT_ENTER_THRESHOLD 0.0
#define DEFAULT_LEAVE_THRESHOLD (-1.0)
#define DEFAULT_MIN_DURATION 0
#define DEFAULT_CLIP_RESET GST_VIG_CLIP_RESET_ALL

enum {
  PROP_0, PROP_MODEL_FILE, PROP_LABELS_FILE, PROP_DEVICE, PROP_PRECISION, PROP_THREADS, PROP_PARALLEL_BATCHES, PROP_TOP_K,
  PROP_THRESHOLD, PROP_INTERVAL, PROP_HOLD_RESULT, PROP_HOLD_MAX, PROP_INPUT_SIZE, PROP_POST_MESSAGES, PROP_ORIENTATION, PROP_SHARE,
  PROP_MAX_BATCH, PROP_BATCH_DELAY, PROP_MAX_IN_FLIGHT, PROP_OVERLOAD, PROP_LATENCY_BUDGET,
  PROP_REGIONS, PROP_OBJECT_CLASSES, PROP_MIN_SIZE, PROP_MAX_OBJECTS,
  PROP_RECLASSIFY_INTERVAL, PROP_CLIP_MODE, PROP_CLIP_LENGTH, PROP_CLIP_STRIDE, PROP_CLIP_HOP,
  PROP_CLIP_TIME_CONSTANT, PROP_CLIP_RESET, PROP_ENTER_THRESHOLD, PROP_LEAVE_THRESHOLD, PROP_MIN_DURATION, PROP_HEATMAP,
  PROP_HEATMAP_LABELS, PROP_STATS
};

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

static GstStructure *
get_stats (GstVigClassify *self)
{
  GstStructure *stats = gst_structure_new_empty ("vig-stats");
  g_autoptr (GstVigLoaded) loaded = gst_vig_keeper_get (&self->keeper);
  GST_OBJECT_LOCK (self);
  gst_vig_stats_to_structure (&self->stats, stats);
  gst_structure_set (stats, "latency", G_TYPE_UINT64, self->latency.told,
      "sharers", G_TYPE_UINT64, (guint64) (loaded ? vig_shared_get_n_users (loaded->shared) : 0),
      "parallel-batches", G_TYPE_UINT64, (guint64) (loaded ? vig_shared_get_n_parallel (loaded->shared) : 0), NULL);
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

/* A list, and what is in it. */
static void
set_list (char **list, GPtrArray **items, const GValue *value)
{
  g_free (*list);
  *list = g_value_dup_string (value);
  g_clear_pointer (items, g_ptr_array_unref);
  *items = gst_vig_object_classes_parse (*list);
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
    case PROP_PARALLEL_BATCHES:
      self->load.parallel_batches = g_value_get_uint (value);
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
      set_list (&self->object_classes, &self->wanted_classes, value);
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
    case PROP_CLIP_MODE:
      self->load.clip_mode = g_value_get_enum (value);
      self->stale = TRUE;
      break;
    case PROP_CLIP_LENGTH:
      settings->clip.length = g_value_get_uint (value);
      break;
    case PROP_CLIP_STRIDE:
      settings->clip.stride = g_value_get_uint (value);
      break;
    case PROP_CLIP_HOP:
      settings->clip.hop = g_value_get_uint (value);
      break;
    case PROP_CLIP_TIME_CONSTANT:
      settings->clip.time_constant = g_value_get_double (value);
      break;
    case PROP_CLIP_RESET:
      settings->clip.reset = g_value_get_flags (value);
      break;
    case PROP_ENTER_THRESHOLD:
      self->limits.enter = g_value_get_double (value);
      break;
    case PROP_LEAVE_THRESHOLD:
      self->limits.leave = g_value_get_double (value);
      break;
    case PROP_MIN_DURATION:
      self->limits.min_duration = g_value_get_uint64 (value);
      break;
    case PROP_HEATMAP:
      settings->heatmap = g_value_get_boolean (value);
      break;
    case PROP_HEATMAP_LABELS:
      set_list (&self->heatmap_labels, &self->wanted_maps, value);
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
    case PROP_PARALLEL_BATCHES:
      g_value_set_uint (value, self->load.parallel_batches);
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
    case PROP_CLIP_MODE:
      g_value_set_enum (value, self->load.clip_mode);
      break;
    case PROP_CLIP_LENGTH:
      g_value_set_uint (value, settings->clip.length);
      break;
    case PROP_CLIP_STRIDE:
      g_value_set_uint (value, settings->clip.stride);
      break;
    case PROP_CLIP_HOP:
      g_value_set_uint (value, settings->clip.hop);
      break;
    case PROP_CLIP_TIME_CONSTANT:
      g_value_set_double (value, settings->clip.time_constant);
      break;
    case PROP_CLIP_RESET:
      g_value_set_flags (value, settings->clip.reset);
      break;
    case PROP_ENTER_THRESHOLD:
      g_value_set_double (value, self->limits.enter);
      break;
    case PROP_LEAVE_THRESHOLD:
      g_value_set_double (value, self->limits.leave);
      break;
    case PROP_MIN_DURATION:
      g_value_set_uint64 (value, self->limits.min_duration);
      break;
    case PROP_HEATMAP:
      g_value_set_boolean (value, settings->heatmap);
      break;
    case PROP_HEATMAP_LABELS:
      g_value_set_string (value, self->heatmap_labels);
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

void
gst_vig_classify_install_properties (GObjectClass *class)
{
  class->set_property = set_property;
  class->get_property = get_property;
  gst_type_mark_as_plugin_api (precision_get_type (), 0);
  gst_type_mark_as_plugin_api (gst_vig_regions_get_type (), 0);
  gst_type_mark_as_plugin_api (gst_vig_overload_get_type (), 0);
  gst_type_mark_as_plugin_api (gst_vig_clip_mode_get_type (), 0);
  gst_type_mark_as_plugin_api (gst_vig_clip_reset_get_type (), 0);

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
  g_object_class_install_property (class, PROP_PARALLEL_BATCHES, g_param_spec_uint ("parallel-batches", "Parallel batches",
          "How many batches the CPU computes at once, each with as many threads as threads says; a GPU computes one", 1,
          VIG_SHARED_MAX_PARALLEL, DEFAULT_PARALLEL_BATCHES, ready));
  g_object_class_install_property (class, PROP_TOP_K, g_param_spec_uint ("top-k", "Top k",
          "How many labels, the most confident first, are attached to a frame", 1, G_MAXUINT, DEFAULT_TOP_K,
          controllable));
  g_object_class_install_property (class, PROP_THRESHOLD, g_param_spec_double ("threshold", "Threshold",
          "Labels with less confidence (probability, 0 to 1) are not attached", 0, 1, DEFAULT_THRESHOLD,
          controllable));
  g_object_class_install_property (class, PROP_INTERVAL, g_param_spec_uint ("interval", "Interval",
          "Classify every n-th frame (1: every frame; with clip-mode=joint every n x clip-stride-th)", 1, G_MAXUINT, DEFAULT_INTERVAL, controllable));
  g_object_class_install_property (class, PROP_HOLD_RESULT, g_param_spec_boolean ("hold-result", "Hold result",
          "Attach the last result, marked as held and with its age, to the frames that are not classified",
          DEFAULT_HOLD_RESULT, playing));
  g_object_class_install_property (class, PROP_HOLD_MAX, g_param_spec_uint64 ("hold-max", "Longest hold",
          "Age up to which a result is held, in nanoseconds of running time; and for how long a tracked object may be in no "
          "frame until its result, clip, memory and segments end", 0, G_MAXUINT64, DEFAULT_HOLD_MAX,
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
          "device, precision, threads and parallel-batches: loaded once, frames of all classified in common batches",
          DEFAULT_SHARE, ready));
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
          "Interval of objects", "Classify an object that upstream tracks every n-th frame (with clip-mode=joint every n x "
          "clip-stride-th), and hold its result between", 1, G_MAXUINT, DEFAULT_RECLASSIFY_INTERVAL, playing));
  g_object_class_install_property (class, PROP_CLIP_MODE, g_param_spec_enum ("clip-mode", "Clip mode",
          "What an answer is of: the frame alone, or also those before it; what of it is possible depends on the model",
          gst_vig_clip_mode_get_type (), DEFAULT_CLIP_MODE, ready));
  g_object_class_install_property (class, PROP_CLIP_LENGTH, g_param_spec_uint ("clip-length", "Clip length",
          "Frames of a window (clip-mode=mean, joint)", 1, VIG_CONSENSUS_MAX_LENGTH, DEFAULT_CLIP_LENGTH, playing));
  g_object_class_install_property (class, PROP_CLIP_STRIDE, g_param_spec_uint ("clip-stride", "Clip stride",
          "Of the classified frames before, every how-many-th is in the window (clip-mode=mean, joint)", 1,
          VIG_CONSENSUS_MAX_STRIDE, DEFAULT_CLIP_STRIDE, playing));
  g_object_class_install_property (class, PROP_CLIP_HOP, g_param_spec_uint ("clip-hop", "Clip hop",
          "Of the classified frames, every how-many-th has an answer to the window that it ends; between, the last is held "
          "(clip-mode=joint)", 1, VIG_CONSENSUS_MAX_LENGTH, DEFAULT_CLIP_HOP, playing));
  g_object_class_install_property (class, PROP_CLIP_TIME_CONSTANT, g_param_spec_double ("clip-time-constant",
          "Time constant of clips", "Seconds, by timestamps, in which what was seen fades to 1/e of its weight "
          "(clip-mode=ema)", VIG_CONSENSUS_MIN_TIME, VIG_CONSENSUS_MAX_TIME, DEFAULT_CLIP_TIME_CONSTANT, playing));
  g_object_class_install_property (class, PROP_CLIP_RESET, g_param_spec_flags ("clip-reset", "Clip reset",
          "After what the frames before have no part in an answer (after another model, another direction or time that "
          "goes backwards they never have)", gst_vig_clip_reset_get_type (), DEFAULT_CLIP_RESET, playing));
  g_object_class_install_property (class, PROP_ENTER_THRESHOLD, g_param_spec_double ("enter-threshold",
          "Enter threshold", "A segment of a label begins with the first answer that gives it at least this probability "
          "(0: there are no segments)", 0, 1, DEFAULT_ENTER_THRESHOLD, ready));
  g_object_class_install_property (class, PROP_LEAVE_THRESHOLD, g_param_spec_double ("leave-threshold",
          "Leave threshold", "A segment of a label ends with the first answer that gives it less than this probability "
          "(-1: enter-threshold)", -1, 1, DEFAULT_LEAVE_THRESHOLD, ready));
  g_object_class_install_property (class, PROP_MIN_DURATION, g_param_spec_uint64 ("min-duration", "Shortest segment",
          "Segments that are shorter, in nanoseconds, are not posted", 0, G_MAXUINT64, DEFAULT_MIN_DURATION, ready));
  g_object_class_install_property (class, PROP_HEATMAP, g_param_spec_boolean ("heatmap", "Heat map",
          "Say where in the picture the label comes from: each cell's share of its logit, in the results' metadata",
          DEFAULT_HEATMAP, playing));
  g_object_class_install_property (class, PROP_HEATMAP_LABELS, g_param_spec_string ("heatmap-labels", "Labels of heat maps",
          "Comma-separated labels of which heatmap says where they come from (not set: the most confident one)", NULL, playing));
  g_object_class_install_property (class, PROP_STATS, g_param_spec_boxed ("stats", "Statistics",
          "Counters since the stream was started, and times in nanoseconds and frames per second over the last 256 "
          "frames", GST_TYPE_STRUCTURE, G_PARAM_READABLE | G_PARAM_STATIC_STRINGS));
}

void
gst_vig_classify_init_properties (GstVigClassify *self)
{
  self->load = (GstVigLoadOptions) {
    .device = g_strdup (DEFAULT_DEVICE), .precision = DEFAULT_PRECISION, .threads = DEFAULT_THREADS,
    .parallel_batches = DEFAULT_PARALLEL_BATCHES, .share = DEFAULT_SHARE, .max_batch = DEFAULT_MAX_BATCH, .batch_delay = DEFAULT_BATCH_DELAY,
    .clip_mode = DEFAULT_CLIP_MODE,
  };
  self->max_in_flight = DEFAULT_MAX_IN_FLIGHT;
  self->overload = DEFAULT_OVERLOAD;
  self->limits = (GstVigLimits) { .enter = DEFAULT_ENTER_THRESHOLD, .leave = DEFAULT_LEAVE_THRESHOLD,
    .min_duration = DEFAULT_MIN_DURATION };
  self->settings = (GstVigSettings) {
    .top_k = DEFAULT_TOP_K, .interval = DEFAULT_INTERVAL, .input_size = DEFAULT_INPUT_SIZE,
    .threshold = DEFAULT_THRESHOLD, .hold_result = DEFAULT_HOLD_RESULT, .post_messages = DEFAULT_POST_MESSAGES,
    .hold_max = DEFAULT_HOLD_MAX, .orientation = DEFAULT_ORIENTATION, .regions = DEFAULT_REGIONS,
    .min_size = DEFAULT_MIN_SIZE, .max_objects = DEFAULT_MAX_OBJECTS, .reclassify_interval = DEFAULT_RECLASSIFY_INTERVAL,
    .latency_budget = DEFAULT_LATENCY_BUDGET, .heatmap = DEFAULT_HEATMAP,
    .clip = { .length = DEFAULT_CLIP_LENGTH, .stride = DEFAULT_CLIP_STRIDE, .hop = DEFAULT_CLIP_HOP, .time_constant = DEFAULT_CLIP_TIME_CONSTANT,
      .reset = DEFAULT_CLIP_RESET },
  };
}
