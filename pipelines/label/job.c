/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The pipeline is
 *   uridecodebin ! videoconvert ! vigclassify ! fakesink
 * with three probes: in front of each decoder (key frames only), in front of videoconvert (which frames are wanted), and in front of
 * the sink (results). Streaming threads write what they find into the VigLabelled; the job's thread waits for the bus meanwhile and
 * reads it when the pipeline has stopped.
 */
#include "job.h"

#include <math.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include <gst/analytics/analytics.h>
#include <gst/video/video.h>

#include "sampling.h"
#include "thumbs.h"

#define TICK (100 * GST_MSECOND)
#define NICENESS 5 /* of threads that decode, beyond the program's own */
/* After an error what has been read before it is still on its way; it is waited for until nothing has moved for so long. */
#define DRAIN_SECONDS 2.0
#define DRAIN_NOTHING_SECONDS 0.5 /* where nothing had come before it */

struct VigJob {
  const VigOptions *options;
  const VigInput *input;
  VigClassifiers *classifiers;
  gint cancelled; /* atomic */
  void (*decoded) (gpointer data); /* or NULL */
  gpointer decoded_data;

  GstElement *pipeline, *classify;
  VigLabelled *labelled;
  VigSampling sampling;
  GstVideoInfo info;  /* of the frames that come now */
  VigThumbs *thumbs;  /* or NULL: no pictures are asked for */
  gint has_caps;  /* atomic */
  char *trouble;  /* of the streaming threads, or NULL */

  GMutex lock;    /* guards what follows */
  char *lacking;  /* why what there is cannot be decoded, or NULL */
  VigJobProgress progress;
  GstClockTime reached; /* what has been read ends here */
};

VigJob *
vig_job_new (const VigOptions *options, const VigInput *input, VigClassifiers *classifiers)
{
  VigJob *job = g_new0 (VigJob, 1);
  job->options = options;
  job->input = input;
  job->classifiers = classifiers;
  job->sampling.rate = options->rate;
  job->progress.duration = GST_CLOCK_TIME_NONE;
  job->progress.beat = g_get_monotonic_time ();
  g_mutex_init (&job->lock);
  return job;
}

void
vig_job_free (VigJob *job)
{
  g_free (job->lacking);
  g_free (job->trouble);
  g_clear_pointer (&job->thumbs, vig_thumbs_free);
  g_mutex_clear (&job->lock);
  g_free (job);
}

void
vig_job_set_decoded (VigJob *job, void (*func) (gpointer data), gpointer data)
{
  job->decoded = func;
  job->decoded_data = data;
}

void
vig_job_cancel (VigJob *job)
{
  g_atomic_int_set (&job->cancelled, 1);
}

gboolean
vig_job_is_cancelled (VigJob *job)
{
  return g_atomic_int_get (&job->cancelled) != 0;
}

void
vig_job_get_progress (VigJob *job, VigJobProgress *progress)
{
  g_mutex_lock (&job->lock);
  *progress = job->progress;
  g_mutex_unlock (&job->lock);
}

static gint64
get_beat (VigJob *job)
{
  VigJobProgress progress;
  vig_job_get_progress (job, &progress);
  return progress.beat;
}

/* ---- times -------------------------------------------------------------------------------------------------------- */

/* Stream time, what a player's clock would show; NONE: it is not to be shown. */
static GstClockTime
get_time (GstPad *pad, GstClockTime time)
{
  g_autoptr (GstEvent) event = gst_pad_get_sticky_event (pad, GST_EVENT_SEGMENT, 0);
  const GstSegment *segment = NULL;
  if (!event)
    return GST_CLOCK_TIME_NONE;
  gst_event_parse_segment (event, &segment);
  return segment->format == GST_FORMAT_TIME ? gst_segment_to_stream_time (segment, GST_FORMAT_TIME, time) : GST_CLOCK_TIME_NONE;
}

static void
reach (VigJob *job, GstClockTime time, const GstBuffer *buffer)
{
  g_mutex_lock (&job->lock);
  job->progress.beat = g_get_monotonic_time ();
  if (GST_CLOCK_TIME_IS_VALID (time)) {
    if (GST_BUFFER_DURATION_IS_VALID (buffer))
      time += GST_BUFFER_DURATION (buffer);
    job->reached = MAX (job->reached, time);
  }
  g_mutex_unlock (&job->lock);
}

/* ---- in front of decoders ----------------------------------------------------------------------------------------- */

static GstPadProbeReturn
on_encoded (GstPad *pad, GstPadProbeInfo *info, gpointer data)
{
  VigJob *job = data;
  GstBuffer *buffer = GST_PAD_PROBE_INFO_BUFFER (info);
  reach (job, get_time (pad, GST_BUFFER_PTS (buffer)), buffer);
  return job->options->key_frames && GST_BUFFER_FLAG_IS_SET (buffer, GST_BUFFER_FLAG_DELTA_UNIT) ? GST_PAD_PROBE_DROP
      : GST_PAD_PROBE_OK;
}

/* Decoders give way to the engine: where one of its threads is held up by them all the others wait for it. */
static GstBusSyncReply
on_sync (GstBus *bus, GstMessage *message, gpointer data)
{
  GstStreamStatusType status;
  if (GST_MESSAGE_TYPE (message) != GST_MESSAGE_STREAM_STATUS)
    return GST_BUS_PASS;
  gst_message_parse_stream_status (message, &status, NULL);
  if (status == GST_STREAM_STATUS_TYPE_ENTER) /* on Linux these are of one thread alone: first the main one's */
    setpriority (PRIO_PROCESS, (id_t) gettid (), getpriority (PRIO_PROCESS, (id_t) getpid ()) + NICENESS);
  return GST_BUS_PASS;
}

/* As many files are decoded at once, a thread for each is enough; and then what a decoder makes of damaged data does not depend on
 * which of its threads was first. */
static void
limit_threads (VigJob *job, GstElement *decoder)
{
  const char *const names[] = { "max-threads", "n-threads", "threads" };
  for (guint i = 0; i < G_N_ELEMENTS (names); i++) {
    GParamSpec *spec = g_object_class_find_property (G_OBJECT_GET_CLASS (decoder), names[i]);
    g_autofree char *value = g_strdup_printf ("%d", job->options->decode_threads);
    if (spec && job->options->decode_threads > 0 && (G_IS_PARAM_SPEC_INT (spec) || G_IS_PARAM_SPEC_UINT (spec)))
      gst_util_set_object_arg (G_OBJECT (decoder), names[i], value);
  }
}

static void
on_element (GstBin *bin, GstBin *parent, GstElement *element, gpointer data)
{
  GstElementFactory *factory = gst_element_get_factory (element);
  if (!factory || !gst_element_factory_list_is_type (factory, GST_ELEMENT_FACTORY_TYPE_DECODER)
      || !gst_element_factory_list_is_type (factory, GST_ELEMENT_FACTORY_TYPE_MEDIA_VIDEO | GST_ELEMENT_FACTORY_TYPE_MEDIA_IMAGE))
    return;
  limit_threads (data, element);
  g_autoptr (GstPad) pad = gst_element_get_static_pad (element, "sink");
  if (pad)
    gst_pad_add_probe (pad, GST_PAD_PROBE_TYPE_BUFFER, on_encoded, data, NULL);
}

/* Sound and subtitles are not missed. */
static void
on_unknown (GstElement *decoder, GstPad *pad, GstCaps *caps, gpointer data)
{
  VigJob *job = data;
  const GstStructure *s = gst_caps_get_structure (caps, 0);
  const char *name = gst_structure_get_name (s), *original = gst_structure_get_string (s, "original-media-type");
  const gboolean is_encrypted = g_str_has_suffix (name, "/x-cenc") || g_str_has_suffix (name, "/x-cbcs")
      || g_str_has_suffix (name, "/x-webm-enc") || gst_structure_has_field (s, "protection-system");
  const char *kind = is_encrypted && original ? original : name;
  if (!is_encrypted && !g_str_has_prefix (kind, "video/") && !g_str_has_prefix (kind, "image/"))
    return;
  g_mutex_lock (&job->lock);
  g_free (job->lacking);
  job->lacking = is_encrypted ? g_strdup_printf ("it is encrypted (%s)", kind) : g_strdup_printf ("no decoder for %s", kind);
  g_mutex_unlock (&job->lock);
}

/* ---- decoded frames ----------------------------------------------------------------------------------------------- */

static void
set_size (VigJob *job, GstCaps *caps)
{
  VigLabelled *l = job->labelled;
  const GstVideoInfo *info = &job->info;
  if (!gst_video_info_from_caps (&job->info, caps) || g_atomic_int_get (&job->has_caps))
    return;
  g_atomic_int_set (&job->has_caps, 1);
  l->width = (int) gst_util_uint64_scale_int_round ((guint64) info->width, info->par_n, info->par_d);
  l->height = info->height;
  l->fps_n = info->fps_n;
  l->fps_d = info->fps_d;
}

static void
set_tags (VigJob *job, GstTagList *tags)
{
  VigLabelled *l = job->labelled;
  GstVideoOrientationMethod method;
  if (job->thumbs && gst_video_orientation_from_tag (tags, &method))
    vig_thumbs_set_orientation (job->thumbs, method);
  g_autoptr (GstDateTime) date = NULL;
  g_autofree char *turn = NULL;
  if (!l->created && gst_tag_list_get_date_time (tags, GST_TAG_DATE_TIME, &date))
    l->created = gst_date_time_to_iso8601_string (date);
  if (!gst_tag_list_get_string (tags, GST_TAG_IMAGE_ORIENTATION, &turn))
    return;
  const char *digits = strrchr (turn, '-');
  l->rotation = digits ? (int) g_ascii_strtoll (digits + 1, NULL, 10) % 360 : 0;
}

static GstPadProbeReturn
on_event (GstPad *pad, GstPadProbeInfo *info, gpointer data)
{
  VigJob *job = data;
  GstEvent *event = GST_PAD_PROBE_INFO_EVENT (info);
  if (GST_EVENT_TYPE (event) == GST_EVENT_CAPS) {
    GstCaps *caps;
    gst_event_parse_caps (event, &caps);
    set_size (job, caps);
  } else if (GST_EVENT_TYPE (event) == GST_EVENT_TAG) {
    GstTagList *tags;
    gst_event_parse_tag (event, &tags);
    set_tags (job, tags);
  } else if (GST_EVENT_TYPE (event) == GST_EVENT_EOS && job->decoded) {
    job->decoded (job->decoded_data);
  }
  return GST_PAD_PROBE_OK;
}

/* What is not wanted goes no further. */
static GstPadProbeReturn
on_decoded (GstPad *pad, GstPadProbeInfo *info, gpointer data)
{
  VigJob *job = data;
  GstBuffer *buffer = GST_PAD_PROBE_INFO_BUFFER (info);
  const GstClockTime time = get_time (pad, GST_BUFFER_PTS (buffer));
  reach (job, time, buffer);
  if (!GST_CLOCK_TIME_IS_VALID (time) || !vig_sampling_wants (&job->sampling, time))
    return GST_PAD_PROBE_DROP;
  if (job->thumbs && g_atomic_int_get (&job->has_caps))
    vig_thumbs_frame (job->thumbs, buffer, &job->info, time);
  return GST_PAD_PROBE_OK;
}

/* ---- results ------------------------------------------------------------------------------------------------------ */

/* As many digits as are written, so that every output says the same. */
static double
round_confidence (double confidence)
{
  return round (confidence * 1e6) / 1e6;
}

static const GstStructure *
find_result (GstBuffer *buffer)
{
  GstCustomMeta *meta = gst_buffer_get_custom_meta (buffer, "VigResults");
  const GValue *results = meta ? gst_structure_get_value (gst_custom_meta_get_structure (meta), "results") : NULL;
  const guint n = results ? gst_value_array_get_size (results) : 0;
  return n ? gst_value_get_structure (gst_value_array_get_value (results, n - 1)) : NULL;
}

static GArray *
read_scores (GstBuffer *buffer, const GstStructure *result)
{
  GArray *scores = g_array_new (FALSE, FALSE, sizeof (VigScore));
  GstAnalyticsRelationMeta *meta = gst_buffer_get_analytics_relation_meta (buffer);
  GstAnalyticsClsMtd cls;
  guint id;
  if (!meta || !gst_structure_get_uint (result, "cls-id", &id) || !gst_analytics_relation_meta_get_cls_mtd (meta, id, &cls))
    return scores;
  for (gsize i = 0; i < gst_analytics_cls_mtd_get_length (&cls); i++) {
    const VigScore score = { gst_analytics_cls_mtd_get_quark (&cls, i),
      round_confidence (gst_analytics_cls_mtd_get_level (&cls, i)) };
    g_array_append_val (scores, score);
  }
  return scores;
}

static GstPadProbeReturn
on_result (GstPad *pad, GstPadProbeInfo *info, gpointer data)
{
  VigJob *job = data;
  GstBuffer *buffer = GST_PAD_PROBE_INFO_BUFFER (info);
  const GstStructure *result = find_result (buffer);
  const char *state = result ? gst_structure_get_string (result, "state") : NULL;
  const GstClockTime time = get_time (pad, GST_BUFFER_PTS (buffer));
  g_mutex_lock (&job->lock);
  job->progress.beat = g_get_monotonic_time ();
  if (GST_CLOCK_TIME_IS_VALID (time))
    job->progress.position = time;
  job->progress.frames++;
  g_mutex_unlock (&job->lock);
  if (!state || g_str_equal (state, "held") || !GST_CLOCK_TIME_IS_VALID (time))
    return GST_PAD_PROBE_OK;
  if (!job->trouble && !g_str_equal (gst_structure_get_string (result, "model-hash"), job->options->model_hash))
    job->trouble = g_strdup ("the model's file has changed since the run began");
  const VigLabelledFrame frame = { time, read_scores (buffer, result) };
  g_array_append_val (job->labelled->frames, frame);
  return GST_PAD_PROBE_OK;
}

static void
add_segment (VigLabelled *labelled, const GstStructure *s)
{
  VigLabelledSegment segment = { 0 };
  if (gst_structure_has_field (s, "tracking-id"))
    return;
  gst_structure_get (s, "stream-start", G_TYPE_UINT64, &segment.start, "stream-end", G_TYPE_UINT64, &segment.end,
      "confidence", G_TYPE_DOUBLE, &segment.mean, "peak", G_TYPE_DOUBLE, &segment.peak, NULL);
  if (!GST_CLOCK_TIME_IS_VALID (segment.start) || !GST_CLOCK_TIME_IS_VALID (segment.end))
    return;
  segment.label = g_quark_from_string (gst_structure_get_string (s, "label"));
  segment.mean = round_confidence (segment.mean);
  segment.peak = round_confidence (segment.peak);
  g_array_append_val (labelled->segments, segment);
}

static int
by_start (gconstpointer a, gconstpointer b)
{
  const VigLabelledSegment *x = a, *y = b;
  if (x->start != y->start)
    return x->start < y->start ? -1 : 1;
  return strcmp (g_quark_to_string (x->label), g_quark_to_string (y->label));
}

/* ---- the pipeline ------------------------------------------------------------------------------------------------- */

static void
add_probe (VigJob *job, const char *element, GstPadProbeType type, GstPadProbeCallback callback)
{
  g_autoptr (GstElement) found = gst_bin_get_by_name (GST_BIN (job->pipeline), element);
  g_autoptr (GstPad) pad = gst_element_get_static_pad (found, "sink");
  gst_pad_add_probe (pad, type, callback, job, NULL);
}

static gboolean
build_pipeline (VigJob *job, GError **error)
{
  /* Nothing but video is decoded. videoconvert passes on, untouched, what vigclassify takes itself. */
  job->pipeline = gst_parse_launch_full ("uridecodebin name=decode caps=video/x-raw(ANY) expose-all-streams=false ! "
      "videoconvert name=convert  fakesink name=sink sync=false", NULL, GST_PARSE_FLAG_FATAL_ERRORS, error);
  if (!job->pipeline || !(job->classify = vig_classifiers_take (job->classifiers, error)))
    return FALSE;
  gst_object_ref_sink (job->pipeline);
  g_autoptr (GstBus) bus = gst_element_get_bus (job->pipeline);
  gst_bus_set_sync_handler (bus, on_sync, NULL, NULL);
  g_autoptr (GstElement) decode = gst_bin_get_by_name (GST_BIN (job->pipeline), "decode");
  g_autoptr (GstElement) convert = gst_bin_get_by_name (GST_BIN (job->pipeline), "convert");
  g_autoptr (GstElement) sink = gst_bin_get_by_name (GST_BIN (job->pipeline), "sink");
  gst_bin_add (GST_BIN (job->pipeline), job->classify);
  gst_element_link_many (convert, job->classify, sink, NULL);
  g_object_set (decode, "uri", job->input->uri, NULL);
  g_signal_connect (decode, "deep-element-added", G_CALLBACK (on_element), job);
  g_signal_connect (decode, "unknown-type", G_CALLBACK (on_unknown), job);
  add_probe (job, "convert", GST_PAD_PROBE_TYPE_EVENT_DOWNSTREAM, on_event);
  add_probe (job, "convert", GST_PAD_PROBE_TYPE_BUFFER, on_decoded);
  add_probe (job, "sink", GST_PAD_PROBE_TYPE_BUFFER, on_result);
  return TRUE;
}

/* Back to READY, where the classifier keeps its engine for the next file, and the last segments are told. */
static void
stop_pipeline (VigJob *job)
{
  if (job->pipeline)
    gst_element_set_state (job->pipeline, GST_STATE_READY);
}

static void
drop_pipeline (VigJob *job)
{
  if (job->classify) {
    gst_bin_remove (GST_BIN (job->pipeline), job->classify);
    vig_classifiers_give (job->classifiers, job->classify);
  }
  if (job->pipeline) {
    gst_element_set_state (job->pipeline, GST_STATE_NULL);
    gst_object_unref (job->pipeline);
  }
  job->classify = job->pipeline = NULL;
}

/* ---- until its end ------------------------------------------------------------------------------------------------ */

/* (transfer full) (nullable) */
static char *
get_lacking (VigJob *job)
{
  g_mutex_lock (&job->lock);
  char *lacking = g_strdup (job->lacking);
  g_mutex_unlock (&job->lock);
  return lacking;
}

/* A sentence of it, without where in whose source it was said. */
static void
on_error (VigJob *job, GstMessage *message)
{
  g_autoptr (GError) error = NULL;
  g_autofree char *debug = NULL;
  gst_message_parse_error (message, &error, &debug);
  const char *detail = debug ? strrchr (debug, '\n') : NULL;
  if (job->labelled->error)
    return;
  if ((job->labelled->error = get_lacking (job)))
    return;
  if (g_error_matches (error, GST_CORE_ERROR, GST_CORE_ERROR_MISSING_PLUGIN) && detail && !detail[1])
    job->labelled->error = g_strdup ("there is no video stream in it"); /* what decodebin says when there is nothing for it */
  else
    job->labelled->error = detail && detail[1] ? g_strdup_printf ("%s (%s)", error->message, detail + 1) : g_strdup (error->message);
}

/* Returns whether that was the end. */
static gboolean
on_message (VigJob *job, GstMessage *message)
{
  if (GST_MESSAGE_TYPE (message) == GST_MESSAGE_ERROR)
    on_error (job, message);
  else if (gst_message_has_name (message, "vig-segment"))
    add_segment (job->labelled, gst_message_get_structure (message));
  return GST_MESSAGE_TYPE (message) == GST_MESSAGE_EOS;
}

static void
read_progress (VigJob *job)
{
  gint64 duration;
  g_autoptr (GstStructure) stats = NULL;
  guint64 inference = 0, preprocess = 0, classified = 0;
  double batch = 0;
  const gboolean known = gst_element_query_duration (job->pipeline, GST_FORMAT_TIME, &duration);
  g_object_get (job->classify, "stats", &stats, NULL);
  gst_structure_get (stats, "inference-mean", G_TYPE_UINT64, &inference, "preprocess-mean", G_TYPE_UINT64, &preprocess,
      "classified", G_TYPE_UINT64, &classified, "batch-mean", G_TYPE_DOUBLE, &batch, NULL);
  g_mutex_lock (&job->lock);
  if (known && duration > 0)
    job->progress.duration = (GstClockTime) duration;
  if (batch > 0)
    job->progress.engine = (double) classified * (double) (inference + preprocess) / GST_SECOND / batch;
  g_mutex_unlock (&job->lock);
}

/* Until EOS; or nothing more comes after an error; or it stands still; or it is cancelled. Stillness is counted in turns of this
 * loop, so that a process that was stopped, or a computer that was asleep, is not taken for a file that is broken. */
static void
play (VigJob *job)
{
  g_autoptr (GstBus) bus = gst_element_get_bus (job->pipeline);
  gint64 beat = 0;
  double still = 0;
  gst_element_set_state (job->pipeline, GST_STATE_PLAYING); /* if that fails, the reason is on the bus */
  while (!vig_job_is_cancelled (job)) {
    g_autoptr (GstMessage) message = gst_bus_timed_pop_filtered (bus, TICK, GST_MESSAGE_ERROR | GST_MESSAGE_EOS
        | GST_MESSAGE_ELEMENT);
    if (message && on_message (job, message))
      return;
    if (message)
      continue;
    read_progress (job);
    still = get_beat (job) == beat ? still + (double) TICK / GST_SECOND : 0;
    beat = get_beat (job);
    if (job->labelled->error && still >= (g_atomic_int_get (&job->has_caps) ? DRAIN_SECONDS : DRAIN_NOTHING_SECONDS))
      return;
    if (!job->labelled->error && still >= job->options->stall_timeout) {
      job->labelled->error = g_strdup_printf ("nothing has come of it for %g seconds", job->options->stall_timeout);
      return;
    }
  }
}

/* What is still to be told when it has stopped. */
static void
finish_segments (VigJob *job)
{
  g_autoptr (GstBus) bus = gst_element_get_bus (job->pipeline);
  GstMessage *message;
  while ((message = gst_bus_pop (bus))) {
    if (gst_message_has_name (message, "vig-segment"))
      add_segment (job->labelled, gst_message_get_structure (message));
    gst_message_unref (message);
  }
  g_array_sort (job->labelled->segments, by_start);
}

static char *
seconds (GstClockTime time)
{
  char text[G_ASCII_DTOSTR_BUF_SIZE];
  return g_strdup (g_ascii_formatd (text, sizeof text, "%.1f", (double) time / GST_SECOND));
}

/* Containers round, and sound may last a little longer than the picture. */
static void
judge (VigJob *job)
{
  VigLabelled *l = job->labelled;
  const GstClockTime promised = job->progress.duration;
  l->duration = job->reached;
  if (l->rotation % 180) {
    const int width = l->width;
    l->width = l->height;
    l->height = width;
  }
  if (!l->error && job->trouble)
    l->error = g_strdup (job->trouble);
  if (!l->error && !g_atomic_int_get (&job->has_caps))
    l->error = g_strdup (job->lacking ? job->lacking : "no frame could be decoded");
  if (!l->error && GST_CLOCK_TIME_IS_VALID (promised) && (double) job->reached < 0.95 * (double) promised - GST_SECOND) {
    g_autofree char *is = seconds (job->reached), *should = seconds (promised);
    l->error = g_strdup_printf ("it ends after %s s, but its header promises %s s: is it truncated?", is, should);
  }
}

VigLabelled *
vig_job_run (VigJob *job)
{
  g_autoptr (GError) error = NULL;
  g_autofree char *display = vig_input_display (job->input);
  VigLabelled *labelled = job->labelled = vig_labelled_new (display);
  labelled->model = g_strdup (job->options->model_name);
  labelled->model_hash = g_strdup (job->options->model_hash);
  if (job->options->formats & VIG_FORMATS_WITH_PICTURES)
    job->thumbs = vig_thumbs_new (labelled->thumbnails);
  if (job->input->problem) {
    labelled->error = g_strdup (job->input->problem);
    return labelled;
  }
  if (build_pipeline (job, &error)) {
    play (job);
    read_progress (job);
    stop_pipeline (job);
    finish_segments (job);
    judge (job);
  } else {
    labelled->error = g_strdup (error->message);
  }
  drop_pipeline (job);
  return labelled;
}
