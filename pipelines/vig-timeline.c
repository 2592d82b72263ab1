/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Classifies every frame of a video with vigclassify and prints what was seen when.
 *
 * An example of an application around the element: it is a plain pipeline,
 *   uridecodebin ! videoconvert ! vigclassify ! fakesink
 * and a probe in front of the sink that reads the results from the buffers: the ranking from the GstAnalyticsClsMtd, the
 * rest from the custom meta "VigResults". videoconvert passes on, untouched, what vigclassify takes itself.
 */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include <glib-unix.h>
#include <gst/analytics/analytics.h>
#include <gst/gst.h>
#include <json-glib/json-glib.h>

#define STALL_SECONDS 30

/* One classified frame; label is an interned string. */
typedef struct {
  double start, end; /* seconds of stream time */
  const char *label;
  double confidence;
} Frame;

/* Neighbouring frames of one label. */
typedef struct {
  double start, end;
  const char *label;
  double sum; /* of the confidences of the frames with that label */
  guint n;    /* number of them */
} Span;

typedef struct {
  /* options */
  char *model, *device, *results, *truth;
  int top_k;
  double smooth;

  const char *name; /* the video, as the user named it */
  GstElement *pipeline, *convert;
  GMainLoop *loop;
  gboolean terminal, interrupted, live;
  guint seen;       /* frames when on_watch looked last */
  char *error;      /* (owned): the first error of the run */
  FILE *out;

  GMutex lock;      /* guards what follows: the streaming thread writes, the progress line reads */
  GArray *frames;   /* of Frame */
  gboolean has_video;
} App;

static void G_GNUC_PRINTF (2, 3)
fail (App *app, const char *format, ...)
{
  va_list args;
  va_start (args, format);
  if (!app->error)
    app->error = g_strdup_vprintf (format, args);
  va_end (args);
  if (app->loop)
    g_main_loop_quit (app->loop);
}

/* ---- a frame's result ------------------------------------------------------------------------------------------- */

/* The entry of VigResults that our element wrote: the last one. */
static const GstStructure *
find_result (GstBuffer *buffer)
{
  GstCustomMeta *meta = gst_buffer_get_custom_meta (buffer, "VigResults");
  if (!meta)
    return NULL;
  const GValue *results = gst_structure_get_value (gst_custom_meta_get_structure (meta), "results");
  guint n = results ? gst_value_array_get_size (results) : 0;
  return n ? gst_value_get_structure (gst_value_array_get_value (results, n - 1)) : NULL;
}

/* Appends {"label": ..., "confidence": ...} without the closing brace. */
static void
append_class (GString *line, const char *label, double confidence)
{
  g_autoptr (JsonNode) node = json_node_init_string (json_node_alloc (), label);
  g_autofree char *quoted = json_to_string (node, FALSE);
  char number[G_ASCII_DTOSTR_BUF_SIZE];
  g_string_append_printf (line, "\"label\": %s, \"confidence\": %s", quoted,
      g_ascii_formatd (number, sizeof number, "%.6f", confidence));
}

static void
append_ranking (GString *line, GstBuffer *buffer, guint cls_id)
{
  GstAnalyticsRelationMeta *meta = gst_buffer_get_analytics_relation_meta (buffer);
  GstAnalyticsClsMtd cls;
  if (!meta || !gst_analytics_relation_meta_get_cls_mtd (meta, cls_id, &cls))
    return;
  g_string_append (line, ", \"top\": [");
  for (gsize i = 0; i < gst_analytics_cls_mtd_get_length (&cls); i++) {
    g_string_append (line, i ? ", {" : "{");
    append_class (line, g_quark_to_string (gst_analytics_cls_mtd_get_quark (&cls, i)), gst_analytics_cls_mtd_get_level (&cls, i));
    g_string_append_c (line, '}');
  }
  g_string_append_c (line, ']');
}

static void
write_line (App *app, GstBuffer *buffer, const Frame *frame, const GstStructure *result)
{
  g_autoptr (GString) line = g_string_new ("{\"pts\": ");
  char number[G_ASCII_DTOSTR_BUF_SIZE];
  g_string_append_printf (line, "%s, ", g_ascii_formatd (number, sizeof number, "%.6f", frame->start));
  append_class (line, frame->label, frame->confidence);
  guint cls_id;
  if (app->top_k > 1 && gst_structure_get_uint (result, "cls-id", &cls_id))
    append_ranking (line, buffer, cls_id);
  fprintf (app->out, "%s}\n", line->str);
}

/* Stream time of a PTS, seconds: what a player's clock would show. */
static double
stream_seconds (GstPad *pad, GstClockTime pts)
{
  g_autoptr (GstEvent) event = gst_pad_get_sticky_event (pad, GST_EVENT_SEGMENT, 0);
  const GstSegment *segment = NULL;
  if (event)
    gst_event_parse_segment (event, &segment);
  GstClockTime time = segment ? gst_segment_to_stream_time (segment, GST_FORMAT_TIME, pts) : GST_CLOCK_TIME_NONE;
  return (double) (GST_CLOCK_TIME_IS_VALID (time) ? time : pts) / GST_SECOND;
}

static GstPadProbeReturn
on_frame (GstPad *pad, GstPadProbeInfo *info, gpointer data)
{
  App *app = data;
  GstBuffer *buffer = GST_PAD_PROBE_INFO_BUFFER (info);
  const GstStructure *result = find_result (buffer);
  if (!result || !GST_BUFFER_PTS_IS_VALID (buffer))
    return GST_PAD_PROBE_OK;

  Frame frame = { .start = stream_seconds (pad, GST_BUFFER_PTS (buffer)) };
  frame.end = frame.start;
  if (GST_BUFFER_DURATION_IS_VALID (buffer))
    frame.end += (double) GST_BUFFER_DURATION (buffer) / GST_SECOND;
  frame.label = g_intern_string (gst_structure_get_string (result, "label"));
  gst_structure_get_double (result, "confidence", &frame.confidence);
  write_line (app, buffer, &frame, result);

  g_mutex_lock (&app->lock);
  g_array_append_val (app->frames, frame);
  g_mutex_unlock (&app->lock);
  return GST_PAD_PROBE_OK;
}

/* ---- the pipeline ----------------------------------------------------------------------------------------------- */

/* FALSE for what need not be decoded: sound and subtitles. */
static gboolean
on_continue (GstElement *decoder, GstPad *pad, GstCaps *caps, gpointer data)
{
  const char *name = gst_structure_get_name (gst_caps_get_structure (caps, 0));
  return !(g_str_has_prefix (name, "audio/") || g_str_has_prefix (name, "text/") || g_str_has_prefix (name, "subpicture/"));
}

/* What is not looked at still needs somewhere to go. */
static void
discard (App *app, GstPad *pad)
{
  GstElement *sink = gst_element_factory_make ("fakesink", NULL);
  g_object_set (sink, "async", FALSE, NULL);
  gst_bin_add (GST_BIN (app->pipeline), sink);
  gst_element_sync_state_with_parent (sink);
  g_autoptr (GstPad) sink_pad = gst_element_get_static_pad (sink, "sink");
  gst_pad_link (pad, sink_pad);
}

static void
on_pad (GstElement *decoder, GstPad *pad, gpointer data)
{
  App *app = data;
  g_autoptr (GstCaps) caps = gst_pad_query_caps (pad, NULL);
  g_autoptr (GstPad) sink = gst_element_get_static_pad (app->convert, "sink");
  gboolean is_video = g_str_has_prefix (gst_structure_get_name (gst_caps_get_structure (caps, 0)), "video/x-raw");
  if (is_video && !gst_pad_is_linked (sink) && GST_PAD_LINK_SUCCESSFUL (gst_pad_link (pad, sink))) {
    g_mutex_lock (&app->lock);
    app->has_video = TRUE;
    g_mutex_unlock (&app->lock);
  } else {
    discard (app, pad);
  }
}

static void
on_no_more_pads (GstElement *decoder, gpointer data)
{
  App *app = data;
  g_mutex_lock (&app->lock);
  gboolean has_video = app->has_video;
  g_mutex_unlock (&app->lock);
  if (!has_video)
    GST_ELEMENT_ERROR (app->pipeline, STREAM, WRONG_TYPE, ("there is no video stream in it"), (NULL));
}

static gboolean
on_message (GstBus *bus, GstMessage *message, gpointer data)
{
  App *app = data;
  if (GST_MESSAGE_TYPE (message) == GST_MESSAGE_EOS) {
    g_main_loop_quit (app->loop);
  } else if (GST_MESSAGE_TYPE (message) == GST_MESSAGE_ERROR) {
    g_autoptr (GError) error = NULL;
    g_autofree char *debug = NULL;
    gst_message_parse_error (message, &error, &debug);
    const char *detail = debug ? strrchr (debug, '\n') : NULL; /* the last line; before it is where in the source */
    fail (app, detail ? "%s (%s)" : "%s", error->message, detail ? detail + 1 : "");
  }
  return G_SOURCE_CONTINUE;
}

static gboolean
on_interrupt (gpointer data)
{
  App *app = data;
  app->interrupted = TRUE;
  g_main_loop_quit (app->loop);
  return G_SOURCE_CONTINUE;
}

static gboolean
build_pipeline (App *app, const char *uri)
{
  g_autoptr (GError) error = NULL;
  app->pipeline = gst_parse_launch ("videoconvert name=convert ! vigclassify name=classify ! fakesink name=sink sync=false", &error);
  if (!app->pipeline || error) {
    fail (app, "%s", error->message);
    return FALSE;
  }
  g_autoptr (GstElement) classify = gst_bin_get_by_name (GST_BIN (app->pipeline), "classify");
  g_object_set (classify, "model-file", app->model, NULL);
  if (app->device)
    g_object_set (classify, "device", app->device, NULL);
  if (app->top_k > 1)
    g_object_set (classify, "top-k", app->top_k, NULL);

  GstElement *decoder = gst_element_factory_make ("uridecodebin", NULL);
  if (!decoder) {
    fail (app, "GStreamer's element uridecodebin (gst-plugins-base) is missing");
    return FALSE;
  }
  g_object_set (decoder, "uri", uri, NULL);
  gst_bin_add (GST_BIN (app->pipeline), decoder);
  app->convert = gst_bin_get_by_name (GST_BIN (app->pipeline), "convert");
  g_signal_connect (decoder, "autoplug-continue", G_CALLBACK (on_continue), app);
  g_signal_connect (decoder, "pad-added", G_CALLBACK (on_pad), app);
  g_signal_connect (decoder, "no-more-pads", G_CALLBACK (on_no_more_pads), app);

  g_autoptr (GstElement) sink = gst_bin_get_by_name (GST_BIN (app->pipeline), "sink");
  g_autoptr (GstPad) pad = gst_element_get_static_pad (sink, "sink");
  gst_pad_add_probe (pad, GST_PAD_PROBE_TYPE_BUFFER, on_frame, app, NULL);
  return TRUE;
}

/* ---- progress --------------------------------------------------------------------------------------------------- */

static double
duration_seconds (App *app)
{
  gint64 duration;
  return gst_element_query_duration (app->pipeline, GST_FORMAT_TIME, &duration) ? (double) duration / GST_SECOND : 0;
}

/* Some broken files make decodebin wait for ever without a word. */
static gboolean
on_watch (gpointer data)
{
  App *app = data;
  g_mutex_lock (&app->lock);
  guint n = app->frames->len;
  g_mutex_unlock (&app->lock);
  if (n == app->seen && !app->live)
    fail (app, "no frame for %d s", STALL_SECONDS);
  app->seen = n;
  return G_SOURCE_CONTINUE;
}

static gboolean
on_progress (gpointer data)
{
  App *app = data;
  g_mutex_lock (&app->lock);
  guint n = app->frames->len;
  Frame last = n ? g_array_index (app->frames, Frame, n - 1) : (Frame) { 0 };
  g_mutex_unlock (&app->lock);
  if (n == 0)
    return G_SOURCE_CONTINUE;
  g_autofree char *of = duration_seconds (app) > 0 ? g_strdup_printf (" of %.1f", duration_seconds (app)) : g_strdup ("");
  g_printerr ("%s%8.1f%s s  %6u frames  %-16s %3.0f%%%s", app->terminal ? "\r" : "", last.end, of, n, last.label,
      100 * last.confidence, app->terminal ? "\033[K" : "\n");
  return G_SOURCE_CONTINUE;
}

/* Plays to the end, an error or an interrupt. */
static void
run (App *app)
{
  app->loop = g_main_loop_new (NULL, FALSE);
  g_autoptr (GstBus) bus = gst_element_get_bus (app->pipeline);
  guint watch = gst_bus_add_watch (bus, on_message, app);
  guint timer = g_timeout_add (app->terminal ? 200 : 5000, on_progress, app);
  guint stall = g_timeout_add_seconds (STALL_SECONDS, on_watch, app);
  guint interrupt = g_unix_signal_add (SIGINT, on_interrupt, app);
  gint64 start = g_get_monotonic_time ();

  /* A failed state change posts its reason on the bus: the loop finds it there. */
  app->live = gst_element_set_state (app->pipeline, GST_STATE_PLAYING) == GST_STATE_CHANGE_NO_PREROLL;
  g_main_loop_run (app->loop);

  double promised = duration_seconds (app), seconds = (double) (g_get_monotonic_time () - start) / G_USEC_PER_SEC;
  gst_element_set_state (app->pipeline, GST_STATE_NULL);
  g_source_remove (watch);
  g_source_remove (timer);
  g_source_remove (stall);
  g_source_remove (interrupt);
  g_clear_pointer (&app->loop, g_main_loop_unref);
  if (app->terminal)
    g_printerr ("\r\033[K");

  guint n = app->frames->len;
  double seen = n ? g_array_index (app->frames, Frame, n - 1).end : 0;
  if (!app->error && n == 0 && !app->interrupted)
    fail (app, "no frame could be decoded");
  /* containers round, and sound may last a little longer than the picture */
  if (!app->error && !app->interrupted && seen < 0.95 * promised - 1)
    fail (app, "the video ends after %.1f s, but its header promises %.1f s; is the file truncated?", seen, promised);
  if (n > 0)
    g_print ("%u frames in %.1f s (%.0f frames/s)\n\n", n, seconds, n / seconds);
}

/* ---- the timeline ----------------------------------------------------------------------------------------------- */

static void
append_run (App *app, GArray *spans, const Span *run)
{
  Span *last = spans->len ? &g_array_index (spans, Span, spans->len - 1) : NULL;
  if (last && (last->label == run->label || run->end - run->start < app->smooth)) {
    last->end = run->end;
    if (last->label == run->label) {
      last->sum += run->sum;
      last->n += run->n;
    }
  } else if (last && spans->len == 1 && last->end - last->start < app->smooth) {
    *last = (Span) { last->start, run->end, run->label, run->sum, run->n };
  } else {
    g_array_append_vals (spans, run, 1);
  }
}

/* Runs of one label; a run shorter than `smooth` joins the span before it (the first one: the span after it). */
static GArray *
make_spans (App *app)
{
  GArray *spans = g_array_new (FALSE, FALSE, sizeof (Span));
  Span run = { 0 };
  for (guint i = 0; i < app->frames->len; i++) {
    const Frame *frame = &g_array_index (app->frames, Frame, i);
    if (i > 0)
      run.end = MAX (run.end, frame->start); /* where frames have no duration */
    if (run.label != frame->label) {
      if (run.label)
        append_run (app, spans, &run);
      run = (Span) { .start = frame->start, .label = frame->label };
    }
    run.end = MAX (run.end, frame->end);
    run.sum += frame->confidence;
    run.n++;
  }
  if (run.label)
    append_run (app, spans, &run);
  return spans;
}

static void
print_timeline (App *app)
{
  g_autoptr (GArray) spans = make_spans (app);
  g_print ("   start       end  label             confidence\n");
  for (guint i = 0; i < spans->len; i++) {
    const Span *span = &g_array_index (spans, Span, i);
    g_print ("%8.2f  %8.2f  %-16s  %9.1f%%\n", span->start, span->end, span->label, 100 * span->sum / span->n);
  }
  g_print ("(A label seen for less than %g s at a time is shown as the one before it; every frame's own result is in the "
      "file below.)\n", app->smooth);
}

/* ---- the truth -------------------------------------------------------------------------------------------------- */

/* Reads [{"start": s, "end": s, "label": "..."}, ...] as spans. */
static GArray *
load_truth (const char *path, GError **error)
{
  g_autoptr (JsonParser) parser = json_parser_new ();
  if (!json_parser_load_from_file (parser, path, error))
    return NULL;
  JsonNode *root = json_parser_get_root (parser);
  GArray *spans = g_array_new (FALSE, FALSE, sizeof (Span));
  JsonArray *array = root && JSON_NODE_HOLDS_ARRAY (root) ? json_node_get_array (root) : NULL;
  for (guint i = 0; array && i < json_array_get_length (array); i++) {
    JsonObject *object = json_array_get_object_element (array, i);
    Span span = { json_object_get_double_member_with_default (object, "start", 0),
      json_object_get_double_member_with_default (object, "end", 0),
      g_intern_string (json_object_get_string_member_with_default (object, "label", "")), 0, 0 };
    g_array_append_val (spans, span);
  }
  return spans;
}

/* The label that holds for most of second @k; NULL where there is none. */
static const char *
truth_of_second (const GArray *truth, int k)
{
  const char *label = NULL;
  double most = 0;
  for (guint i = 0; i < truth->len; i++) {
    const Span *span = &g_array_index (truth, Span, i);
    double part = MIN (span->end, k + 1) - MAX (span->start, k);
    if (part > most) {
      most = part;
      label = span->label;
    }
  }
  return label;
}

/* How many frames begin in second @k, and how many of them carry @label. */
static guint
count_frames (App *app, int k, const char *label, guint *right)
{
  guint n = 0;
  *right = 0;
  for (guint i = 0; i < app->frames->len; i++) {
    const Frame *frame = &g_array_index (app->frames, Frame, i);
    if (frame->start >= k && frame->start < k + 1) {
      n++;
      *right += frame->label == label;
    }
  }
  return n;
}

/* A second is recognised when more than half of its frames carry the label that holds for most of it. */
static void
print_recognised (App *app)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (GArray) truth = load_truth (app->truth, &error);
  if (!truth) {
    fail (app, "%s", error->message);
    return;
  }
  g_autoptr (GString) missed = g_string_new (NULL);
  const char *label, *last = NULL;
  guint recognised = 0, seconds = 0, right;
  double end = truth->len ? g_array_index (truth, Span, truth->len - 1).end : 0;
  for (int k = 0; k < end; k++) {
    if (!(label = truth_of_second (truth, k)))
      continue;
    seconds++;
    guint n = count_frames (app, k, label, &right);
    if (2 * right > n) {
      recognised++;
      last = NULL;
      continue;
    }
    if (label != last)
      g_string_append_printf (missed, "%s %s at", missed->len ? ";" : "Not recognised:", label);
    g_string_append_printf (missed, " %d", k);
    last = label;
  }
  if (missed->len)
    g_print ("%s s\n", missed->str);
  g_print ("recognised %u of %u seconds (%u%%)\n", recognised, seconds, seconds ? 100 * recognised / seconds : 0);
}

/* ---- */

static gboolean
parse_options (App *app, int *argc, char ***argv)
{
  GOptionEntry entries[] = {
    { "model", 'm', 0, G_OPTION_ARG_FILENAME, &app->model, "Model file (.safetensors)", "FILE" },
    { "device", 'd', 0, G_OPTION_ARG_STRING, &app->device, "Device of vigclassify (auto)", "DEVICE" },
    { "results", 'r', 0, G_OPTION_ARG_FILENAME, &app->results, "Write every frame's result there, as JSON lines", "FILE" },
    { "top-k", 'k', 0, G_OPTION_ARG_INT, &app->top_k, "Write the K best labels of every frame (1)", "K" },
    { "smooth", 's', 0, G_OPTION_ARG_DOUBLE, &app->smooth, "Leave shorter spans out of the timeline (0.5)", "SECONDS" },
    { "truth", 't', 0, G_OPTION_ARG_FILENAME, &app->truth, "Compare with this timeline (JSON), second by second", "FILE" },
    G_OPTION_ENTRY_NULL
  };
  g_autoptr (GError) error = NULL;
  g_autoptr (GOptionContext) context = g_option_context_new ("FILE|URI");
  g_option_context_set_summary (context, "Classifies every frame of a video and prints what was seen when.");
  g_option_context_add_main_entries (context, entries, NULL);
  g_option_context_add_group (context, gst_init_get_option_group ());
  if (!g_option_context_parse (context, argc, argv, &error)) {
    g_printerr ("vig-timeline: %s\n", error->message);
    return FALSE;
  }
  if (*argc != 2 || !app->model) {
    g_printerr ("vig-timeline: one FILE or URI and --model are needed; see --help\n");
    return FALSE;
  }
  return TRUE;
}

static void
play (App *app)
{
  g_autoptr (GError) error = NULL;
  g_autofree char *uri = gst_uri_is_valid (app->name) ? g_strdup (app->name) : gst_filename_to_uri (app->name, &error);
  if (!uri) {
    fail (app, "%s", error->message);
  } else if (!gst_uri_is_valid (app->name) && !g_file_test (app->name, G_FILE_TEST_EXISTS)) {
    fail (app, "no such file");
  } else if (!(app->out = fopen (app->results ? app->results : "/dev/null", "w"))) {
    fail (app, "the results cannot be written to %s: %s", app->results, g_strerror (errno));
  } else if (build_pipeline (app, uri)) {
    run (app);
    if (fclose (app->out) != 0)
      fail (app, "the results cannot be written to %s: %s", app->results, g_strerror (errno));
  }
}

int
main (int argc, char **argv)
{
  App app = { .smooth = 0.5, .top_k = 1, .terminal = isatty (STDERR_FILENO) };
  if (!parse_options (&app, &argc, &argv))
    return 2;
  app.name = argv[1];
  app.frames = g_array_new (FALSE, FALSE, sizeof (Frame));
  g_mutex_init (&app.lock);

  play (&app);
  if (app.frames->len > 0) {
    print_timeline (&app);
    if (app.results)
      g_print ("%u results in %s\n", app.frames->len, app.results);
    if (app.truth)
      print_recognised (&app);
  }
  if (app.error)
    g_printerr ("vig-timeline: %s: %s\n", app.name, app.error);

  int status = app.error ? 1 : app.interrupted ? 130 : 0;
  g_clear_object (&app.convert);
  g_clear_object (&app.pipeline);
  g_array_unref (app.frames);
  g_mutex_clear (&app.lock);
  g_free (app.model);
  g_free (app.device);
  g_free (app.results);
  g_free (app.truth);
  g_free (app.error);
  return status;
}
