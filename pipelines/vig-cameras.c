/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Many cameras (or files), one model: prints a JSON line for every classified frame of every source.
 *
 *   vig-cameras --model M.safetensors rtsp://one/stream rtsp://two/stream video.mp4
 *
 * An example to copy from. Each source is a pipeline of its own,
 *   uridecodebin ! videoconvert ! vigclassify ! fakesink
 * so that an error, an end, a clock or a latency is that source's alone. What they have in common is the engine: all
 * vigclassify of one process that name the same model share it, without a word from the application.
 *
 * While it runs, lines on stdin add and remove sources: "add URI", "remove NUMBER". It ends on SIGINT or SIGTERM, or when
 * the last source is gone and stdin is at its end.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <gio/gunixinputstream.h>
#include <glib-unix.h>
#include <gst/gst.h>
#include <json-glib/json-glib.h>

typedef struct {
  /* options */
  char *model, *device;
  int interval, patience;
  char **uris;

  GMainLoop *loop;
  GstElement *keeper;
  GDataInputStream *commands; /* NULL: stdin has ended */
  GHashTable *sources;        /* number -> Source (owned) */
  int last_number;
} App;

typedef struct {
  App *app;
  int number;
  char *uri;
  GstElement *pipeline;
  guint watch;
  gint frames; /* atomic: the streaming thread counts, the main thread reads */
  int seen;    /* frames when on_patience() looked last */
} Source;

/* ---- JSON lines ------------------------------------------------------------------------------------------------- */

static char *
quote (const char *text)
{
  g_autofree char *valid = g_utf8_make_valid (text ? text : "", -1);
  g_autoptr (JsonNode) node = json_node_init_string (json_node_alloc (), valid);
  return json_to_string (node, FALSE);
}

/* Not printf's %f, which writes the decimal comma of the user's language. */
static char *
number (double x)
{
  char text[G_ASCII_DTOSTR_BUF_SIZE];
  return g_strdup (g_ascii_formatd (text, sizeof text, "%.6f", x));
}

/* One call of stdio a line: streaming threads print too, and a line must not be torn. */
static void
print_event (Source *source, const char *event, const char *message)
{
  g_autofree char *uri = quote (source->uri), *text = quote (message);
  printf ("{\"source\": %d, \"event\": \"%s\", \"uri\": %s, \"frames\": %d%s%s}\n", source->number, event, uri,
      g_atomic_int_get (&source->frames), message ? ", \"message\": " : "", message ? text : "");
}

static void
complain (const char *message)
{
  g_autofree char *text = quote (message);
  printf ("{\"event\": \"error\", \"message\": %s}\n", text);
}

/* ---- a frame's result ------------------------------------------------------------------------------------------- */

/* What a player's clock would show, in seconds: the segment says how that follows from a timestamp. */
static double
stream_seconds (GstPad *pad, GstBuffer *buffer)
{
  g_autoptr (GstEvent) event = gst_pad_get_sticky_event (pad, GST_EVENT_SEGMENT, 0);
  const GstSegment *segment;
  if (!event)
    return -1;
  gst_event_parse_segment (event, &segment);
  GstClockTime time = gst_segment_to_stream_time (segment, GST_FORMAT_TIME, GST_BUFFER_PTS (buffer));
  return GST_CLOCK_TIME_IS_VALID (time) ? (double) time / GST_SECOND : -1;
}

/* Runs in the source's streaming thread, which waits for it; a reader of stdout that is slow holds the source up here. */
static GstPadProbeReturn
on_frame (GstPad *pad, GstPadProbeInfo *info, gpointer data)
{
  Source *source = data;
  GstBuffer *buffer = GST_PAD_PROBE_INFO_BUFFER (info);
  g_atomic_int_inc (&source->frames);
  /* The meta is the buffer's and is not kept. Other classifiers in the pipeline would have entries of their own here. */
  GstCustomMeta *meta = gst_buffer_get_custom_meta (buffer, "VigResults");
  const GValue *results = meta ? gst_structure_get_value (gst_custom_meta_get_structure (meta), "results") : NULL;
  for (guint i = 0; results && i < gst_value_array_get_size (results); i++) {
    const GstStructure *result = gst_value_get_structure (gst_value_array_get_value (results, i));
    double confidence = 0;
    gst_structure_get_double (result, "confidence", &confidence);
    g_autofree char *label = quote (gst_structure_get_string (result, "label"));
    g_autofree char *time = number (stream_seconds (pad, buffer)), *sure = number (confidence);
    printf ("{\"source\": %d, \"pts\": %s, \"label\": %s, \"confidence\": %s, \"state\": \"%s\"}\n", source->number, time,
        label, sure, gst_structure_get_string (result, "state"));
  }
  return GST_PAD_PROBE_OK;
}

/* ---- sources come and go: all of this in the main thread --------------------------------------------------------- */

/* A pipeline may not be stopped from one of its own threads (it would wait for itself), so neither from a probe; a message
 * to the main loop is the way. When the state is NULL those threads are gone, and nothing uses @data any more. */
static void
source_free (gpointer data)
{
  Source *source = data;
  if (source->watch)
    g_source_remove (source->watch); /* it holds a reference to the bus */
  if (source->pipeline) {
    gst_element_set_state (source->pipeline, GST_STATE_NULL);
    gst_object_unref (source->pipeline);
  }
  g_free (source->uri);
  g_free (source);
}

static void
remove_source (Source *source, const char *event, const char *message)
{
  App *app = source->app;
  print_event (source, event, message);
  g_hash_table_remove (app->sources, GINT_TO_POINTER (source->number));
  if (g_hash_table_size (app->sources) == 0 && !app->commands)
    g_main_loop_quit (app->loop);
}

static void
on_trouble (Source *source, GstMessage *message)
{
  g_autoptr (GError) error = NULL;
  g_autofree char *debug = NULL;
  gboolean fatal = GST_MESSAGE_TYPE (message) == GST_MESSAGE_ERROR;
  if (fatal)
    gst_message_parse_error (message, &error, &debug);
  else
    gst_message_parse_warning (message, &error, &debug);
  const char *detail = debug ? strrchr (debug, '\n') : NULL; /* its last line; before it is where in the source */
  g_autofree char *text = detail ? g_strdup_printf ("%s (%s)", error->message, detail + 1) : g_strdup (error->message);
  if (g_error_matches (error, GST_CORE_ERROR, GST_CORE_ERROR_MISSING_PLUGIN) && detail && !detail[1]) {
    g_free (text); /* what decodebin says when there is nothing that it was asked for */
    text = g_strdup ("there is no video stream in it");
  }
  if (fatal)
    remove_source (source, "error", text);
  else
    print_event (source, "warning", text);
}

static gboolean
on_message (GstBus *bus, GstMessage *message, gpointer data)
{
  Source *source = data;
  switch (GST_MESSAGE_TYPE (message)) {
    case GST_MESSAGE_ERROR:
      on_trouble (source, message);
      return G_SOURCE_REMOVE; /* as source_free() has done */
    case GST_MESSAGE_EOS:
      remove_source (source, "ended", NULL);
      return G_SOURCE_REMOVE;
    case GST_MESSAGE_WARNING:
      on_trouble (source, message);
      break;
    case GST_MESSAGE_LATENCY: /* an element's latency has changed: nothing happens unless the application asks */
      gst_bin_recalculate_latency (GST_BIN (source->pipeline));
      break;
    default:
      break;
  }
  return G_SOURCE_CONTINUE;
}

static char *
to_uri (const char *name, GError **error)
{
  if (gst_uri_is_valid (name))
    return g_strdup (name);
  return gst_filename_to_uri (name, error);
}

static GstElement *
make_pipeline (Source *source, GError **error)
{
  const App *app = source->app;
  g_autofree char *uri = to_uri (source->uri, error);
  if (!uri)
    return NULL;
  /* uridecodebin has no pads before it has seen the stream: "!" links when they come. It offers only video (ANY: in
   * whatever memory; what comes after it narrows that). videoconvert passes on untouched what vigclassify takes.
   * sync=false: nobody looks at the pictures, so files are read as fast as they are classified. */
  GstElement *pipeline = gst_parse_launch ("uridecodebin name=decode caps=video/x-raw(ANY) expose-all-streams=false ! "
      "videoconvert ! vigclassify name=classify ! fakesink name=sink sync=false", error);
  if (!pipeline)
    return NULL;
  g_autoptr (GstElement) decode = gst_bin_get_by_name (GST_BIN (pipeline), "decode");
  g_autoptr (GstElement) classify = gst_bin_get_by_name (GST_BIN (pipeline), "classify");
  g_autoptr (GstElement) sink = gst_bin_get_by_name (GST_BIN (pipeline), "sink");
  g_autoptr (GstPad) pad = gst_element_get_static_pad (sink, "sink");
  /* not in the text above: a name may hold spaces and quotes */
  g_object_set (decode, "uri", uri, NULL);
  g_object_set (classify, "model-file", app->model, "device", app->device, "interval", app->interval, "post-messages", FALSE,
      NULL);
  gst_pad_add_probe (pad, GST_PAD_PROBE_TYPE_BUFFER, on_frame, source, NULL);
  return pipeline;
}

static void
add_source (App *app, const char *uri)
{
  g_autoptr (GError) error = NULL;
  Source *source = g_new0 (Source, 1);
  source->app = app;
  source->number = ++app->last_number;
  source->uri = g_strdup (uri);
  source->pipeline = make_pipeline (source, &error);
  g_hash_table_insert (app->sources, GINT_TO_POINTER (source->number), source);
  if (!source->pipeline) {
    remove_source (source, "error", error->message);
    return;
  }
  print_event (source, "added", NULL);
  g_autoptr (GstBus) bus = gst_element_get_bus (source->pipeline);
  source->watch = gst_bus_add_watch (bus, on_message, source);
  /* If this fails, the reason is on the bus, where the main loop finds it. */
  gst_element_set_state (source->pipeline, GST_STATE_PLAYING);
}

/* A camera that is cut off need not say anything. */
static gboolean
on_patience (gpointer data)
{
  App *app = data;
  g_autoptr (GList) sources = g_hash_table_get_values (app->sources); /* the table changes meanwhile */
  for (GList *l = sources; l; l = l->next) {
    Source *source = l->data;
    int frames = g_atomic_int_get (&source->frames);
    if (frames == source->seen)
      remove_source (source, "error", "it has sent no frame for too long");
    else
      source->seen = frames;
  }
  return G_SOURCE_CONTINUE;
}

/* ---- commands --------------------------------------------------------------------------------------------------- */

static void
run_command (App *app, char *line)
{
  char *rest = strchr (g_strstrip (line), ' ');
  if (rest)
    *rest++ = 0;
  if (g_str_equal (line, "add") && rest) {
    add_source (app, g_strstrip (rest));
  } else if (g_str_equal (line, "remove") && rest) {
    Source *source = g_hash_table_lookup (app->sources, GINT_TO_POINTER (atoi (rest)));
    if (source)
      remove_source (source, "removed", NULL);
    else
      complain ("remove: there is no source of that number");
  } else if (*line) {
    complain ("a command is \"add URI\" or \"remove NUMBER\"");
  }
}

/* Asks for lines one by one: the main loop does other things until one has come. */
static void
on_command (GObject *object, GAsyncResult *result, gpointer data)
{
  App *app = data;
  g_autofree char *line = g_data_input_stream_read_line_finish (G_DATA_INPUT_STREAM (object), result, NULL, NULL);
  if (line) {
    run_command (app, line);
    g_data_input_stream_read_line_async (app->commands, G_PRIORITY_DEFAULT, NULL, on_command, app);
  } else {
    g_clear_object (&app->commands);
    if (g_hash_table_size (app->sources) == 0)
      g_main_loop_quit (app->loop);
  }
}

/* ---- */

static gboolean
on_interrupt (gpointer data)
{
  App *app = data;
  g_main_loop_quit (app->loop);
  return G_SOURCE_CONTINUE;
}

/* An element that never plays, only to hold the engine: the model is loaded once, now, even if all sources go and others
 * come later; and one that cannot be loaded is an error before any camera is asked for pictures. */
static gboolean
hold_model (App *app)
{
  app->keeper = gst_element_factory_make ("vigclassify", "keeper");
  if (!app->keeper) {
    g_printerr ("vig-cameras: GStreamer finds no element vigclassify; is GST_PLUGIN_PATH set?\n");
    return FALSE;
  }
  gst_object_ref_sink (app->keeper);
  g_object_set (app->keeper, "model-file", app->model, "device", app->device, NULL);
  g_autoptr (GstBus) bus = gst_bus_new (); /* it has no pipeline whose bus it could use */
  gst_element_set_bus (app->keeper, bus);
  if (gst_element_set_state (app->keeper, GST_STATE_READY) != GST_STATE_CHANGE_FAILURE)
    return TRUE;
  g_autoptr (GstMessage) message = gst_bus_pop_filtered (bus, GST_MESSAGE_ERROR);
  g_autoptr (GError) error = NULL;
  if (message)
    gst_message_parse_error (message, &error, NULL);
  g_printerr ("vig-cameras: %s\n", error ? error->message : "the model cannot be loaded");
  return FALSE;
}

static void
run (App *app)
{
  g_autoptr (GInputStream) input = g_unix_input_stream_new (STDIN_FILENO, FALSE);
  app->commands = g_data_input_stream_new (input);
  app->loop = g_main_loop_new (NULL, FALSE);
  app->sources = g_hash_table_new_full (NULL, NULL, NULL, source_free);
  g_unix_signal_add (SIGINT, on_interrupt, app);
  g_unix_signal_add (SIGTERM, on_interrupt, app);
  if (app->patience > 0)
    g_timeout_add_seconds (app->patience, on_patience, app);
  g_data_input_stream_read_line_async (app->commands, G_PRIORITY_DEFAULT, NULL, on_command, app);
  for (char **uri = app->uris; uri && *uri; uri++)
    add_source (app, *uri);
  g_main_loop_run (app->loop);

  GHashTableIter iter;
  gpointer source;
  g_hash_table_iter_init (&iter, app->sources);
  while (g_hash_table_iter_next (&iter, NULL, &source)) {
    print_event (source, "removed", NULL);
    g_hash_table_iter_remove (&iter);
  }
  g_hash_table_unref (app->sources);
  g_main_loop_unref (app->loop);
  /* app->commands still has a read under way, so it is left to the end of the process */
}

static gboolean
parse_options (App *app, int *argc, char ***argv)
{
  GOptionEntry entries[] = {
    { "model", 'm', 0, G_OPTION_ARG_FILENAME, &app->model, "Model file (.safetensors)", "FILE" },
    { "device", 'd', 0, G_OPTION_ARG_STRING, &app->device, "Device of vigclassify (auto)", "DEVICE" },
    { "interval", 'i', 0, G_OPTION_ARG_INT, &app->interval, "Classify every N-th frame (1)", "N" },
    { "patience", 'p', 0, G_OPTION_ARG_INT, &app->patience, "Give a source up that sends no frame for so long (30; 0: never)",
        "SECONDS" },
    { G_OPTION_REMAINING, 0, 0, G_OPTION_ARG_FILENAME_ARRAY, &app->uris, NULL, "FILE|URI…" },
    G_OPTION_ENTRY_NULL
  };
  g_autoptr (GError) error = NULL;
  g_autoptr (GOptionContext) context = g_option_context_new (NULL);
  g_option_context_set_summary (context, "Classifies many sources with one model and prints JSON lines; while it runs, "
      "\"add URI\" and \"remove NUMBER\" on stdin.");
  g_option_context_add_main_entries (context, entries, NULL);
  g_option_context_add_group (context, gst_init_get_option_group ());
  if (!g_option_context_parse (context, argc, argv, &error))
    g_printerr ("vig-cameras: %s\n", error->message);
  else if (!app->model || app->interval < 1 || app->patience < 0)
    g_printerr ("vig-cameras: --model is needed, --interval is at least 1 and --patience at least 0; see --help\n");
  else
    return TRUE;
  return FALSE;
}

int
main (int argc, char **argv)
{
  App app = { .interval = 1, .patience = 30 };
  int status = 2;
  setvbuf (stdout, NULL, _IOLBF, 0); /* a reader sees every line at once, also through a pipe */
  if (parse_options (&app, &argc, &argv)) {
    if (!app.device)
      app.device = g_strdup ("auto");
    status = hold_model (&app) ? 0 : 1;
    if (status == 0)
      run (&app);
    if (app.keeper) {
      gst_element_set_state (app.keeper, GST_STATE_NULL);
      gst_element_set_bus (app.keeper, NULL);
      gst_object_unref (app.keeper);
    }
  }
  g_strfreev (app.uris);
  g_free (app.model);
  g_free (app.device);
  return status;
}
