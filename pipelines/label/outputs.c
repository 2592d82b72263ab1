/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "outputs.h"

#include <errno.h>
#include <string.h>

#include <glib/gstdio.h>

#include "files.h"
#include "jsonl.h"
#include "report.h"
#include "sheet.h"

#define VERSION 1
#define PAGE_SUFFIX ".html"

static char *
make_path (const char *folder, const char *name, const char *suffix)
{
  g_autofree char *file = g_strconcat (name, suffix, NULL);
  return g_build_filename (folder, "videos", file, NULL);
}

/* ---- JSON --------------------------------------------------------------------------------------------------------- */

/* Seconds, to the nanosecond; digits by hand, since printf() would write the decimal comma of the user's language. */
static void
put_time (FILE *out, GstClockTime time)
{
  fprintf (out, "%" G_GUINT64_FORMAT ".%09u", time / GST_SECOND, (guint) (time % GST_SECOND));
}

static void
put_confidence (FILE *out, double confidence)
{
  char text[G_ASCII_DTOSTR_BUF_SIZE];
  fputs (g_ascii_formatd (text, sizeof text, "%.6f", confidence), out);
}

static void
put_score (FILE *out, const VigScore *score)
{
  g_autofree char *label = vig_json_quote (g_quark_to_string (score->label));
  fprintf (out, "{\"label\": %s, \"confidence\": ", label);
  put_confidence (out, score->confidence);
  fputc ('}', out);
}

static void
put_video (FILE *out, const VigLabelled *l, const VigInput *input, const char *name)
{
  g_autofree char *uri = vig_json_quote (input->uri), *model = vig_json_quote (l->model), *created = vig_json_quote (l->created), *error = vig_json_quote (l->error);
  fprintf (out, "{\"type\": \"video\", \"input\": %s, \"version\": %d, \"uri\": %s, \"model\": %s, \"model_hash\": \"%s\", "
      "\"duration\": ", name, VERSION, uri, model, l->model_hash);
  put_time (out, l->duration);
  fprintf (out, ", \"width\": %d, \"height\": %d, \"frame_rate\": \"%d/%d\", \"rotation\": %d, \"created\": %s, "
      "\"frames\": %u, \"segments\": %u, \"error\": %s}\n", l->width, l->height, l->fps_n, MAX (l->fps_d, 1), l->rotation, created,
      l->frames->len, l->segments->len, error);
}

static void
put_frame (FILE *out, const VigLabelledFrame *frame, const char *name)
{
  fprintf (out, "{\"type\": \"frame\", \"input\": %s, \"time\": ", name);
  put_time (out, frame->time);
  fputs (", \"labels\": [", out);
  for (guint i = 0; i < frame->scores->len; i++) {
    fputs (i ? ", " : "", out);
    put_score (out, &g_array_index (frame->scores, VigScore, i));
  }
  fputs ("]}\n", out);
}

static void
put_segment (FILE *out, const VigLabelledSegment *segment, const char *name)
{
  g_autofree char *label = vig_json_quote (g_quark_to_string (segment->label));
  fprintf (out, "{\"type\": \"segment\", \"input\": %s, \"start\": ", name);
  put_time (out, segment->start);
  fputs (", \"end\": ", out);
  put_time (out, segment->end);
  fprintf (out, ", \"label\": %s, \"mean\": ", label);
  put_confidence (out, segment->mean);
  fputs (", \"peak\": ", out);
  put_confidence (out, segment->peak);
  fputs ("}\n", out);
}

static void
write_jsonl (FILE *out, const VigLabelled *l, const VigInput *input, const VigOptions *options)
{
  g_autofree char *name = vig_json_quote (l->input);
  put_video (out, l, input, name);
  for (guint i = 0; i < l->frames->len; i++)
    put_frame (out, &g_array_index (l->frames, VigLabelledFrame, i), name);
  for (guint i = 0; i < l->segments->len; i++)
    put_segment (out, &g_array_index (l->segments, VigLabelledSegment, i), name);
}

/* ---- CSV (RFC 4180) ----------------------------------------------------------------------------------------------- */

static void
put_field (FILE *out, const char *text)
{
  if (!strpbrk (text, ",\"\r\n")) {
    fputs (text, out);
    return;
  }
  fputc ('"', out);
  for (const char *c = text; *c; c++)
    fputs (*c == '"' ? "\"\"" : (char[]) { *c, 0 }, out);
  fputc ('"', out);
}

static void
put_row (FILE *out, const VigLabelled *l, GstClockTime time, guint rank, const VigScore *score)
{
  put_field (out, l->input);
  fputc (',', out);
  put_time (out, time);
  fprintf (out, ",%u,", rank);
  put_field (out, g_quark_to_string (score->label));
  fputc (',', out);
  put_confidence (out, score->confidence);
  fputs ("\r\n", out);
}

static void
write_frames_csv (FILE *out, const VigLabelled *l, const VigInput *input, const VigOptions *options)
{
  fputs ("input,time,rank,label,confidence\r\n", out);
  for (guint i = 0; i < l->frames->len; i++) {
    const VigLabelledFrame *frame = &g_array_index (l->frames, VigLabelledFrame, i);
    for (guint k = 0; k < frame->scores->len; k++)
      put_row (out, l, frame->time, k + 1, &g_array_index (frame->scores, VigScore, k));
  }
}

static void
write_segments_csv (FILE *out, const VigLabelled *l, const VigInput *input, const VigOptions *options)
{
  fputs ("input,start,end,label,mean,peak\r\n", out);
  for (guint i = 0; i < l->segments->len; i++) {
    const VigLabelledSegment *segment = &g_array_index (l->segments, VigLabelledSegment, i);
    put_field (out, l->input);
    fputc (',', out);
    put_time (out, segment->start);
    fputc (',', out);
    put_time (out, segment->end);
    fputc (',', out);
    put_field (out, g_quark_to_string (segment->label));
    fputc (',', out);
    put_confidence (out, segment->mean);
    fputc (',', out);
    put_confidence (out, segment->peak);
    fputs ("\r\n", out);
  }
}

/* ---- WebVTT ------------------------------------------------------------------------------------------------------- */

static void
put_vtt_time (FILE *out, guint64 ms)
{
  fprintf (out, "%02" G_GUINT64_FORMAT ":%02u:%02u.%03u", ms / 3600000, (guint) (ms / 60000 % 60), (guint) (ms / 1000 % 60),
      (guint) (ms % 1000));
}

/* A line end would end the line, an empty line the cue, and "-->" must be nowhere: its ">" never is. */
static void
put_vtt_text (FILE *out, const char *text)
{
  for (const char *c = text; *c; c++)
    fputs (*c == '&' ? "&amp;" : *c == '<' ? "&lt;" : *c == '>' ? "&gt;" : *c == '\n' || *c == '\r' ? " " : (char[]) { *c, 0 }, out);
}

static void
write_vtt (FILE *out, const VigLabelled *l, const VigInput *input, const VigOptions *options)
{
  fputs ("WEBVTT\n\nNOTE labels of ", out);
  put_vtt_text (out, l->input);
  fputs (" by ", out);
  put_vtt_text (out, l->model);
  fputs ("\n", out);
  for (guint i = 0; i < l->segments->len; i++) {
    const VigLabelledSegment *segment = &g_array_index (l->segments, VigLabelledSegment, i);
    const guint64 start = segment->start / GST_MSECOND;
    fputc ('\n', out);
    put_vtt_time (out, start);
    fputs (" --> ", out);
    put_vtt_time (out, MAX (segment->end / GST_MSECOND, start + 1)); /* a cue may not be empty */
    fputc ('\n', out);
    put_vtt_text (out, g_quark_to_string (segment->label));
    fprintf (out, " %d%%\n", (int) (100 * segment->mean + 0.5));
  }
}

/* ---- Label Studio ------------------------------------------------------------------------------------------------- */

/* Its frames are numbered from 1, and by the one rate that its Video tag has: framerate="$fps". */
static guint64
frame_at (const VigLabelled *l, GstClockTime time)
{
  const gboolean known = l->fps_n > 0 && l->fps_d > 0;
  return 1 + gst_util_uint64_scale_round (time, known ? (guint64) l->fps_n : 25, GST_SECOND * (known ? (guint64) l->fps_d : 1));
}

static void
put_region (FILE *out, const VigLabelled *l, guint i)
{
  const VigLabelledSegment *segment = &g_array_index (l->segments, VigLabelledSegment, i);
  const guint64 first = frame_at (l, segment->start), next = frame_at (l, segment->end);
  g_autofree char *label = vig_json_quote (g_quark_to_string (segment->label));
  fprintf (out, "%s\n      {\"id\": \"s%u\", \"from_name\": \"videoLabels\", \"to_name\": \"video\", \"type\": \"timelinelabels\", "
      "\"score\": ", i ? "," : "", i + 1);
  put_confidence (out, segment->mean);
  fprintf (out, ", \"value\": {\"ranges\": [{\"start\": %" G_GUINT64_FORMAT ", \"end\": %" G_GUINT64_FORMAT "}], "
      "\"timelinelabels\": [%s]}}", first, MAX (next, first + 1) - 1, label);
}

static double
mean_score (const VigLabelled *l)
{
  double sum = 0;
  for (guint i = 0; i < l->segments->len; i++)
    sum += g_array_index (l->segments, VigLabelledSegment, i).mean;
  return l->segments->len ? sum / l->segments->len : 0;
}

static char *
make_media_url (const VigInput *input, const VigLabelled *l, const VigOptions *options)
{
  if (!options->media_prefix)
    return g_strdup (input->uri);
  g_autofree char *escaped = g_uri_escape_string (input->given, "/", FALSE);
  return g_strconcat (options->media_prefix, escaped, NULL);
}

static void
write_label_studio (FILE *out, const VigLabelled *l, const VigInput *input, const VigOptions *options)
{
  g_autofree char *url = make_media_url (input, l, options), *video = vig_json_quote (url), *name = vig_json_quote (l->input);
  g_autofree char *version = g_strdup_printf ("%s %.12s", l->model, l->model_hash), *model = vig_json_quote (version);
  char fps[G_ASCII_DTOSTR_BUF_SIZE];
  g_ascii_formatd (fps, sizeof fps, "%.6g", l->fps_n > 0 && l->fps_d > 0 ? (double) l->fps_n / l->fps_d : 25.0);
  fprintf (out, "[\n{\"data\": {\"video\": %s, \"fps\": %s, \"input\": %s},\n  \"predictions\": [{\"model_version\": %s, "
      "\"score\": ", video, fps, name, model);
  put_confidence (out, mean_score (l));
  fputs (", \"result\": [", out);
  for (guint i = 0; i < l->segments->len; i++)
    put_region (out, l, i);
  fputs ("]}]}\n]\n", out);
}

/* ---- to look at --------------------------------------------------------------------------------------------------- */

static void
write_report (FILE *out, const VigLabelled *l, const VigInput *input, const VigOptions *options)
{
  g_autofree char *path = make_path (options->output, input->name, PAGE_SUFFIX);
  g_autoptr (GString) page = vig_report_page (l, input->path ? input->path : input->uri, path);
  fwrite (page->str, 1, page->len, out);
}

static void
write_contact_sheet (FILE *out, const VigLabelled *l, const VigInput *input, const VigOptions *options)
{
  g_autoptr (GBytes) png = vig_sheet_draw (l);
  fwrite (g_bytes_get_data (png, NULL), 1, g_bytes_get_size (png), out);
}

/* ---- all of them -------------------------------------------------------------------------------------------------- */

const VigOutput vig_outputs[] = {
  { ".jsonl", VIG_FORMAT_JSONL, write_jsonl, VIG_JOIN_LINES },
  { ".frames.csv", VIG_FORMAT_CSV, write_frames_csv, VIG_JOIN_TABLE },
  { ".segments.csv", VIG_FORMAT_CSV, write_segments_csv, VIG_JOIN_TABLE },
  { ".vtt", VIG_FORMAT_VTT, write_vtt, VIG_JOIN_NONE },
  { ".labelstudio.json", VIG_FORMAT_LABEL_STUDIO, write_label_studio, VIG_JOIN_ARRAY },
  { PAGE_SUFFIX, VIG_FORMAT_REPORT, write_report, VIG_JOIN_NONE },
  { ".png", VIG_FORMAT_CONTACT_SHEET, write_contact_sheet, VIG_JOIN_NONE },
};
const guint vig_n_outputs = G_N_ELEMENTS (vig_outputs);

char *
vig_outputs_folder (const char *folder)
{
  return g_build_filename (folder, "videos", NULL);
}

char *
vig_output_path (const VigOutput *output, const char *folder, const char *name)
{
  return make_path (folder, name, output->suffix);
}

VigJournal *
vig_outputs_open (const VigOptions *options, GError **error)
{
  g_autofree char *videos = vig_outputs_folder (options->output);
  if (g_mkdir_with_parents (videos, 0777) != 0) {
    g_set_error (error, G_FILE_ERROR, (int) g_file_error_from_errno (errno), "%s: cannot be made: %s", videos, g_strerror (errno));
    return NULL;
  }
  g_autoptr (VigJournal) journal = vig_journal_open (options->output, error);
  if (!journal || !vig_folder_sync (options->output, error))
    return NULL;
  vig_folder_sweep (options->output);
  vig_folder_sweep (videos);
  return g_steal_pointer (&journal);
}

gboolean
vig_outputs_exist (const VigOptions *options, const char *name)
{
  for (guint i = 0; i < vig_n_outputs; i++) {
    g_autofree char *path = vig_output_path (&vig_outputs[i], options->output, name);
    if (options->formats & vig_outputs[i].format && !g_file_test (path, G_FILE_TEST_IS_REGULAR))
      return FALSE;
  }
  return TRUE;
}

gboolean
vig_outputs_write (const VigOptions *options, const VigInput *input, const VigLabelled *labelled, GError **error)
{
  for (guint i = 0; i < vig_n_outputs; i++) {
    g_autofree char *path = vig_output_path (&vig_outputs[i], options->output, input->name);
    VigFile file;
    if (!(options->formats & vig_outputs[i].format))
      continue;
    if (!vig_file_begin (&file, path, error))
      return FALSE;
    vig_outputs[i].write (file.out, labelled, input, options);
    if (!vig_file_end (&file, error))
      return FALSE;
  }
  g_autofree char *folder = vig_outputs_folder (options->output);
  return vig_folder_sync (folder, error);
}

/* A page's links depend on where it lies. */
static gboolean
take_page (const char *from, const char *to, GError **error)
{
  VigFile file;
  g_autofree char *data = NULL;
  gsize size;
  if (!g_file_get_contents (from, &data, &size, error))
    return FALSE;
  g_autoptr (GString) page = g_string_new_len (data, (gssize) size);
  vig_report_move (page, from, to);
  if (!vig_file_begin (&file, to, error))
    return FALSE;
  fwrite (page->str, 1, page->len, file.out);
  return vig_file_end (&file, error);
}

gboolean
vig_outputs_take (VigFormats formats, const char *name, const char *from, const char *to, GError **error)
{
  for (guint i = 0; i < vig_n_outputs; i++) {
    const VigOutput *output = &vig_outputs[i];
    g_autofree char *source = vig_output_path (output, from, name), *target = vig_output_path (output, to, name);
    if (!(formats & output->format))
      continue;
    if (!(output->format == VIG_FORMAT_REPORT ? take_page : vig_file_link) (source, target, error))
      return FALSE;
  }
  return TRUE;
}

gboolean
vig_outputs_write_index (const char *folder, const char *const *names, guint n, GError **error)
{
  VigFile file;
  g_autoptr (GPtrArray) pages = g_ptr_array_new_with_free_func (g_free);
  g_autofree char *path = g_build_filename (folder, "index.html", NULL);
  for (guint i = 0; i < n; i++) {
    g_autofree char *page = make_path (folder, names[i], PAGE_SUFFIX);
    if (g_file_test (page, G_FILE_TEST_IS_REGULAR))
      g_ptr_array_add (pages, g_steal_pointer (&page));
  }
  if (!vig_file_begin (&file, path, error))
    return FALSE;
  g_autoptr (GString) index = vig_report_index (pages, path);
  fwrite (index->str, 1, index->len, file.out);
  return vig_file_end (&file, error) && vig_folder_sync (folder, error);
}
