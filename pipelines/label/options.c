/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "options.h"

#include <string.h>

#include "plan.h"

#define LABELS "labels-file="
#define DEFAULT_MODEL "camera-health-clip.safetensors"

static const struct {
  const char *name;
  VigFormats format;
} format_names[] = {
  { "jsonl", VIG_FORMAT_JSONL }, { "csv", VIG_FORMAT_CSV }, { "vtt", VIG_FORMAT_VTT },
  { "labelstudio", VIG_FORMAT_LABEL_STUDIO } };

static const char summary[] =
    "Labels videos: what is seen from when to when, of thousands of files, with one ViG model. INPUT is a file, a folder (all\n"
    "videos in it and below), a pattern (*.mp4), a URI, a manifest (NAME.txt, NAME.list, NAME.manifest: one input a line) or -\n"
    "(a manifest on standard input). Results are put into the output folder; what is there already is not done again.\n"
    "With --merge, INPUT is the output folder of a shard.";

static gboolean G_GNUC_PRINTF (2, 3)
refuse (GError **error, const char *format, ...)
{
  va_list args;
  va_start (args, format);
  g_autofree char *message = g_strdup_vprintf (format, args);
  va_end (args);
  g_set_error_literal (error, G_OPTION_ERROR, G_OPTION_ERROR_BAD_VALUE, message);
  return FALSE;
}

static gboolean
parse_formats (VigOptions *options, const char *text, GError **error)
{
  g_auto (GStrv) names = g_strsplit (text, ",", -1);
  options->formats = VIG_FORMAT_JSONL;
  for (char **name = names; *name; name++) {
    guint i = 0;
    while (i < G_N_ELEMENTS (format_names) && !g_str_equal (g_strstrip (*name), format_names[i].name))
      i++;
    if (i == G_N_ELEMENTS (format_names))
      return refuse (error, "--format: expected some of jsonl, csv, vtt and labelstudio, found \"%s\"", *name);
    options->formats |= format_names[i].format;
  }
  return TRUE;
}

static gboolean
parse_rate (VigOptions *options, const char *text, GError **error)
{
  char *end;
  if (g_str_equal (text, "all"))
    return TRUE;
  if (g_str_equal (text, "key")) {
    options->key_frames = TRUE;
    return TRUE;
  }
  options->rate = g_ascii_strtod (text, &end);
  if (end == text || *end || !(options->rate >= 1e-6 && options->rate <= 1e6))
    return refuse (error, "--sample-rate: expected frames per second above 0, \"all\" or \"key\", found \"%s\"", text);
  return TRUE;
}

static gboolean
parse_shard (VigOptions *options, const char *text, GError **error)
{
  char *end;
  const guint64 shard = g_ascii_strtoull (text, &end, 10);
  const guint64 n = *end == '/' ? g_ascii_strtoull (end + 1, &end, 10) : 0;
  if (!g_ascii_isdigit (*text) || *end || shard < 1 || shard > n || n > VIG_MAX_SHARDS)
    return refuse (error, "--shard: expected I/N with I from 1 to N, found \"%s\"", text);
  options->shard = (guint) shard - 1;
  options->n_shards = (guint) n;
  return TRUE;
}

static gboolean
check_numbers (const VigOptions *o, GError **error)
{
  if (o->top_k < 1)
    return refuse (error, "--top-k: expected at least 1, found %d", o->top_k);
  if (!(o->threshold >= 0 && o->threshold <= 1))
    return refuse (error, "--threshold: expected 0 to 1, found %g", o->threshold);
  if (!(o->enter >= 0 && o->enter <= 1))
    return refuse (error, "--enter-threshold: expected 0 to 1, found %g", o->enter);
  if (!(o->leave >= 0 && o->leave <= o->enter))
    return refuse (error, "--leave-threshold: expected 0 to --enter-threshold, which is %g, found %g", o->enter, o->leave);
  if (!(o->min_duration >= 0 && o->min_duration <= 1e9))
    return refuse (error, "--min-duration: expected seconds, at least 0, found %g", o->min_duration);
  if (!(o->stall_timeout > 0 && o->stall_timeout <= 1e9))
    return refuse (error, "--stall-timeout: expected seconds above 0, found %g", o->stall_timeout);
  if (o->jobs < 0 || o->jobs > 4096)
    return refuse (error, "--jobs: expected 0 to 4096, found %d", o->jobs);
  if (o->decode_threads < 0)
    return refuse (error, "--decode-threads: expected at least 0, found %d", o->decode_threads);
  return TRUE;
}

static gboolean
check_inputs (const VigOptions *o, GError **error)
{
  if (!o->arguments && !o->manifests)
    return refuse (error, o->merge ? "--merge: expected folders of shards, found none" : "expected an INPUT, found none");
  if (o->merge && (o->manifests || o->n_shards > 1))
    return refuse (error, "--merge: expected folders of shards only, found --manifest or --shard");
  return TRUE;
}

gboolean
vig_options_parse (VigOptions *o, int *argc, char ***argv, GError **error)
{
  g_autofree char *formats = NULL, *rate = NULL, *shard = NULL;
  gboolean report = FALSE, sheet = FALSE;
  *o = (VigOptions) { .top_k = 5, .enter = 0.6, .leave = 0.4, .min_duration = 0.5, .n_shards = 1, .decode_threads = 1,
    .stall_timeout = 60 };
  const GOptionEntry entries[] = {
    { "model", 'm', 0, G_OPTION_ARG_FILENAME, &o->model, "Model file (the one for cameras that comes with gst-vig)", "FILE" },
    { "output", 'o', 0, G_OPTION_ARG_FILENAME, &o->output, "Folder of the results (vig-labels)", "FOLDER" },
    { "format", 'f', 0, G_OPTION_ARG_STRING, &formats, "jsonl (always), csv, vtt, labelstudio (jsonl,csv,vtt)", "LIST" },
    { "report", 0, 0, G_OPTION_ARG_NONE, &report, "Also a page to look at for each input, and index.html for all", NULL },
    { "contact-sheet", 0, 0, G_OPTION_ARG_NONE, &sheet, "Also a picture (PNG) of small pictures for each input", NULL },
    { "combined", 'c', 0, G_OPTION_ARG_NONE, &o->combined, "Also one output for all inputs", NULL },
    { "sample-rate", 'r', 0, G_OPTION_ARG_STRING, &rate, "Frames per second that are classified, all (default) or key", "RATE" },
    { "top-k", 'k', 0, G_OPTION_ARG_INT, &o->top_k, "Labels of a frame, the most confident first (5)", "N" },
    { "threshold", 0, 0, G_OPTION_ARG_DOUBLE, &o->threshold, "Leave out labels of frames with less confidence (0)", "P" },
    { "enter-threshold", 0, 0, G_OPTION_ARG_DOUBLE, &o->enter, "A segment begins with this confidence (0.6; 0: none)", "P" },
    { "leave-threshold", 0, 0, G_OPTION_ARG_DOUBLE, &o->leave, "and ends with less than this (0.4)", "P" },
    { "min-duration", 0, 0, G_OPTION_ARG_DOUBLE, &o->min_duration, "Leave out shorter segments (0.5)", "SECONDS" },
    { "device", 'd', 0, G_OPTION_ARG_STRING, &o->device, "auto, cpu, cuda, cuda:N (auto)", "DEVICE" },
    { "precision", 0, 0, G_OPTION_ARG_STRING, &o->precision, "auto, fp32, bf16, fp16 (auto)", "PRECISION" },
    { "set", 's', 0, G_OPTION_ARG_STRING_ARRAY, &o->set, "Another property of vigclassify; more than once", "NAME=VALUE" },
    { "manifest", 0, 0, G_OPTION_ARG_FILENAME_ARRAY, &o->manifests, "A manifest, whatever its name; more than once", "FILE" },
    { "all-files", 0, 0, G_OPTION_ARG_NONE, &o->all_files, "Of folders every file, not only those named like videos", NULL },
    { "shard", 0, 0, G_OPTION_ARG_STRING, &shard, "Only the I-th of N parts of the inputs", "I/N" },
    { "merge", 0, 0, G_OPTION_ARG_NONE, &o->merge, "Make one output folder of those of all shards", NULL },
    { "jobs", 'j', 0, G_OPTION_ARG_INT, &o->jobs, "Files at once (0: as many as keep the engine busy)", "N" },
    { "decode-threads", 0, 0, G_OPTION_ARG_INT, &o->decode_threads, "Threads of a decoder (1; 0: as it likes)", "N" },
    { "stall-timeout", 0, 0, G_OPTION_ARG_DOUBLE, &o->stall_timeout, "Give up a file that nothing comes of for so long (60)",
        "SECONDS" },
    { "media-prefix", 0, 0, G_OPTION_ARG_STRING, &o->media_prefix, "How Label Studio finds the videos: PREFIX and the input, "
        "instead of its URI", "PREFIX" },
    { "force", 0, 0, G_OPTION_ARG_NONE, &o->force, "Label again what has been labelled", NULL },
    { "retry-failed", 0, 0, G_OPTION_ARG_NONE, &o->retry_failed, "Try again what has failed", NULL },
    { "fail-fast", 0, 0, G_OPTION_ARG_NONE, &o->fail_fast, "Stop at the first input that fails", NULL },
    { "dry-run", 'n', 0, G_OPTION_ARG_NONE, &o->dry_run, "Say what would be done, and do nothing", NULL },
    { "quiet", 'q', 0, G_OPTION_ARG_NONE, &o->quiet, "Say nothing but errors", NULL },
    { "version", 0, 0, G_OPTION_ARG_NONE, &o->version, "Say which version this is, and do nothing", NULL },
    { G_OPTION_REMAINING, 0, 0, G_OPTION_ARG_FILENAME_ARRAY, &o->arguments, NULL, "INPUT…" },
    G_OPTION_ENTRY_NULL
  };
  g_autoptr (GOptionContext) context = g_option_context_new (NULL);
  g_option_context_set_summary (context, summary);
  g_option_context_add_main_entries (context, entries, NULL);
  g_option_context_add_group (context, gst_init_get_option_group ());
  if (!g_option_context_parse (context, argc, argv, error))
    return FALSE;
  if (o->version)
    return TRUE;
  if (!parse_formats (o, formats ? formats : "jsonl,csv,vtt", error)
      || !parse_rate (o, rate ? rate : "all", error) || !parse_shard (o, shard ? shard : "1/1", error))
    return FALSE;
  o->formats |= (report ? VIG_FORMAT_REPORT : 0) | (sheet ? VIG_FORMAT_CONTACT_SHEET : 0);
  if (!o->model) /* not installed yet, the models lie elsewhere: meson devenv says where */
    o->model = g_build_filename (g_getenv ("VIG_MODEL_DIR") ? g_getenv ("VIG_MODEL_DIR") : MODEL_DIR, DEFAULT_MODEL, NULL);
  if (!o->output)
    o->output = g_strdup ("vig-labels");
  return check_numbers (o, error) && check_inputs (o, error);
}

void
vig_options_clear (VigOptions *options)
{
  g_free (options->model);
  g_free (options->device);
  g_free (options->precision);
  g_strfreev (options->set);
  g_strfreev (options->manifests);
  g_strfreev (options->arguments);
  g_free (options->output);
  g_free (options->media_prefix);
  g_free (options->model_name);
  g_free (options->model_hash);
}

/* ---- the model --------------------------------------------------------------------------------------------------- */

/* As vigclassify counts it: SHA-256 of the file. */
gboolean
vig_options_look_at_model (VigOptions *options, GError **error)
{
  g_autofree char *data = NULL;
  gsize size;
  if (!g_file_get_contents (options->model, &data, &size, error)) {
    g_prefix_error (error, "--model: ");
    return FALSE;
  }
  options->model_hash = g_compute_checksum_for_data (G_CHECKSUM_SHA256, (guchar *) data, size);
  g_autofree char *base = g_path_get_basename (options->model);
  g_autofree char *name = g_utf8_make_valid (base, -1);
  char *suffix = g_str_has_suffix (name, ".safetensors") ? strrchr (name, '.') : NULL;
  if (suffix)
    *suffix = 0;
  options->model_name = g_steal_pointer (&name);
  return TRUE;
}

/* ---- what it is for vigclassify ----------------------------------------------------------------------------------- */

void
vig_options_apply (const VigOptions *o, GstElement *classify)
{
  g_object_set (classify, "model-file", o->model, "top-k", o->top_k, "threshold", o->threshold,
      "enter-threshold", o->enter, "leave-threshold", o->enter > 0 ? o->leave : -1.0,
      "min-duration", (guint64) (o->min_duration * GST_SECOND), "post-messages", FALSE, NULL);
  gst_util_set_object_arg (G_OBJECT (classify), "overload", "block"); /* every frame has an answer */
  if (o->device)
    g_object_set (classify, "device", o->device, NULL);
  if (o->precision)
    gst_util_set_object_arg (G_OBJECT (classify), "precision", o->precision);
  for (char **set = o->set; set && *set; set++) {
    g_auto (GStrv) pair = g_strsplit (*set, "=", 2);
    gst_util_set_object_arg (G_OBJECT (classify), pair[0], pair[1]);
  }
}

static void
append_number (GString *text, const char *name, double value)
{
  char number[G_ASCII_DTOSTR_BUF_SIZE];
  g_string_append_printf (text, "%s=%s;", name, g_ascii_dtostr (number, sizeof number, value));
}

/* What is in it counts, not what it is called. */
static void
append_labels (GString *text, const char *set)
{
  g_autofree char *data = NULL, *hash = NULL;
  gsize size;
  if (g_str_has_prefix (set, LABELS) && g_file_get_contents (set + strlen (LABELS), &data, &size, NULL))
    hash = g_compute_checksum_for_data (G_CHECKSUM_SHA256, (guchar *) data, size);
  g_string_append_printf (text, "%s;", hash ? hash : "");
}

char *
vig_options_describe (const VigOptions *o)
{
  GString *text = g_string_new (NULL);
  append_number (text, "rate", o->rate);
  append_number (text, "key-frames", o->key_frames);
  append_number (text, "top-k", o->top_k);
  append_number (text, "threshold", o->threshold);
  append_number (text, "enter", o->enter);
  append_number (text, "leave", o->leave);
  append_number (text, "min-duration", o->min_duration);
  append_number (text, "formats", o->formats);
  g_string_append_printf (text, "device=%s;precision=%s;media-prefix=%s;", o->device ? o->device : "auto",
      o->precision ? o->precision : "auto", o->media_prefix ? o->media_prefix : "");
  for (char **set = o->set; set && *set; set++) {
    g_string_append_printf (text, "%s;", *set);
    append_labels (text, *set);
  }
  return g_string_free (text, FALSE);
}
