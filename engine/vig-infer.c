/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The engine on the command line: pictures or ready tensors in, logits or labels out. */
#include <gdk-pixbuf/gdk-pixbuf.h>
#include <locale.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <vig/vig.h>

#include "json.h"
#include "tensor-file.h"

typedef struct {
  char *model, *input, **images, *output, *device, *precision;
  int threads, size, top_k;
  gboolean preprocess_only, json;
} Options;

/* What was classified: n items, and their results. */
typedef struct {
  guint n;
  char **names; /* of the pictures, or NULL */
  float *logits, *probabilities, *features;
} Results;

static gboolean
usage_error (GError **error, const char *message)
{
  g_set_error_literal (error, G_OPTION_ERROR, G_OPTION_ERROR_FAILED, message);
  return FALSE;
}

static gboolean
parse (Options *o, int *argc, char ***argv, GError **error)
{
  char **rest = NULL;
  const GOptionEntry entries[] = {
    { "model", 'm', 0, G_OPTION_ARG_FILENAME, &o->model, "The model", "M.safetensors" },
    { "input", 'i', 0, G_OPTION_ARG_FILENAME, &o->input,
        "Ready tensors: float32 [B, 3, H, W], already normalised; in a .safetensors file the tensor \"input\"",
        "IN.safetensors|IN.npy" },
    { "image", 0, 0, G_OPTION_ARG_FILENAME_ARRAY, &o->images, "Pictures (PNG, JPEG, …), preprocessed as the model says",
        "FILE…" },
    { "output", 'o', 0, G_OPTION_ARG_FILENAME, &o->output,
        "Write \"logits\" [B, classes] and \"features\" [B, width]; to .npy the logits alone",
        "OUT.safetensors|OUT.npy" },
    { "device", 'd', 0, G_OPTION_ARG_STRING, &o->device, "auto, cpu, cuda, cuda:N or ref (default auto)", "D" },
    { "precision", 'p', 0, G_OPTION_ARG_STRING, &o->precision, "auto, fp32, bf16 or fp16 (default auto)", "P" },
    { "threads", 't', 0, G_OPTION_ARG_INT, &o->threads, "Threads of the CPU backend (default one a core)", "N" },
    { "size", 's', 0, G_OPTION_ARG_INT, &o->size, "Side of the square input for pictures (default what the model says)",
        "N" },
    { "top-k", 'k', 0, G_OPTION_ARG_INT, &o->top_k, "How many labels to print (default 5)", "K" },
    { "preprocess-only", 0, 0, G_OPTION_ARG_NONE, &o->preprocess_only,
        "Stop after preprocessing and write \"input\" [B, 3, N, N]; without --model the official transform", NULL },
    { "json", 'j', 0, G_OPTION_ARG_NONE, &o->json, "Print one JSON object a line", NULL },
    { G_OPTION_REMAINING, 0, 0, G_OPTION_ARG_FILENAME_ARRAY, &rest, NULL, NULL },
    G_OPTION_ENTRY_NULL
  };
  g_autoptr (GOptionContext) context = g_option_context_new ("- classify pictures or tensors with a ViG model");

  g_option_context_add_main_entries (context, entries, NULL);
  g_option_context_set_description (context,
      "Examples:\n"
      "  vig-infer --model M.safetensors --image cat.jpg dog.png\n"
      "  vig-infer --model M.safetensors --input in.npy --output logits.npy --precision fp32\n"
      "  vig-infer --image cat.jpg --preprocess-only --size 224 --output in.safetensors\n");
  if (!g_option_context_parse (context, argc, argv, error))
    return FALSE;
  if (rest && !o->images) {
    g_strfreev (rest);
    return usage_error (error, "expected --image before the pictures");
  }
  if (rest) { /* --image FILE FILE …: the first is the option's, the others are left over */
    g_autoptr (GStrvBuilder) all = g_strv_builder_new ();
    g_strv_builder_addv (all, (const char **) o->images);
    g_strv_builder_addv (all, (const char **) rest);
    g_strfreev (o->images);
    g_strfreev (rest);
    o->images = g_strv_builder_end (all);
  }
  if (!o->input == !o->images)
    return usage_error (error, "expected either --input or --image");
  if (o->preprocess_only && (!o->images || !o->output))
    return usage_error (error, "expected --image and --output with --preprocess-only");
  if (!o->model && !o->preprocess_only)
    return usage_error (error, "expected --model");
  if (o->threads < 0 || o->size < 0 || o->top_k < 1)
    return usage_error (error, "expected --threads and --size of at least 0 and --top-k of at least 1");
  return TRUE;
}

static void
clear (Options *o)
{
  g_free (o->model);
  g_free (o->input);
  g_strfreev (o->images);
  g_free (o->output);
  g_free (o->device);
  g_free (o->precision);
}

static VigEngine *
open_engine (const Options *o, GError **error)
{
  VigEngineOptions options = { .device = o->device, .n_threads = (guint) o->threads };
  /* any model does for preprocessing alone: without one, the transform is the official one */
  g_autoptr (VigModel) model = o->model ? vig_model_load (o->model, error)
      : vig_model_new_random ("tiny_h", 0, NULL, error);

  if (!model)
    return NULL;
  if (o->precision && !vig_precision_from_string (o->precision, &options.precision)) {
    g_set_error (error, VIG_ERROR, VIG_ERROR_ARGUMENT, "precision: expected auto, fp32, bf16 or fp16, found \"%s\"",
        o->precision);
    return NULL;
  }
  return vig_engine_new (model, &options, error);
}

/* A picture in memory as the engine wants it described; the pixbuf owns the memory. */
static VigFrame
describe (GdkPixbuf *pixbuf)
{
  return (VigFrame) {
    .format = gdk_pixbuf_get_has_alpha (pixbuf) ? VIG_FORMAT_RGBA : VIG_FORMAT_RGB,
    .width = gdk_pixbuf_get_width (pixbuf), .height = gdk_pixbuf_get_height (pixbuf),
    .data = { gdk_pixbuf_read_pixels (pixbuf) }, .stride = { gdk_pixbuf_get_rowstride (pixbuf) },
    .full_range = TRUE,
  };
}

static GPtrArray *
load_images (char **names, GError **error)
{
  g_autoptr (GPtrArray) pixbufs = g_ptr_array_new_with_free_func (g_object_unref);

  for (char **name = names; *name; name++) {
    GdkPixbuf *pixbuf = gdk_pixbuf_new_from_file (*name, error);
    if (!pixbuf) {
      g_prefix_error (error, "%s: ", *name);
      return NULL;
    }
    g_ptr_array_add (pixbufs, pixbuf);
  }
  return g_steal_pointer (&pixbufs);
}

static gboolean
preprocess (const Options *o, VigEngine *engine, GPtrArray *pixbufs, GError **error)
{
  guint size = o->size ? (guint) o->size : vig_model_get_input_size (vig_engine_get_model (engine));
  gsize item = (gsize) 3 * size * size;
  g_autofree float *input = g_try_new (float, pixbufs->len * item);

  if (!input) {
    g_set_error (error, VIG_ERROR, VIG_ERROR_NO_MEMORY, "input %ux%u: no memory for it", size, size);
    return FALSE;
  }
  for (guint i = 0; i < pixbufs->len; i++) {
    VigFrame frame = describe (pixbufs->pdata[i]);
    if (!vig_engine_preprocess (engine, &frame, size, input + i * item, error))
      return FALSE;
  }
  VigTensor tensor = { .name = "input", .dtype = VIG_DTYPE_F32, .rank = 4, .shape = { pixbufs->len, 3, size, size },
    .count = pixbufs->len * item, .data = input };
  return vig_tensor_file_write (o->output, &tensor, 1, error);
}

static gboolean
make_room (Results *r, VigModel *model, GError **error)
{
  r->logits = g_try_new (float, (gsize) r->n * vig_model_get_n_classes (model));
  r->probabilities = g_try_new (float, (gsize) r->n * vig_model_get_n_classes (model));
  r->features = g_try_new (float, (gsize) r->n * vig_model_get_n_features (model));
  if (r->logits && r->probabilities && r->features)
    return TRUE;
  g_set_error (error, VIG_ERROR, VIG_ERROR_NO_MEMORY, "results: no memory for those of %u items", r->n);
  return FALSE;
}

static gboolean
classify_images (const Options *o, VigEngine *engine, GPtrArray *pixbufs, Results *r, GError **error)
{
  g_autofree VigFrame *frames = g_new (VigFrame, pixbufs->len);

  r->n = pixbufs->len;
  for (guint i = 0; i < r->n; i++)
    frames[i] = describe (pixbufs->pdata[i]);
  return make_room (r, vig_engine_get_model (engine), error)
      && vig_engine_classify_frames (engine, frames, r->n, (guint) o->size,
          &(VigOutput) { .logits = r->logits, .probabilities = r->probabilities, .features = r->features }, error);
}

static gboolean
classify_tensors (const Options *o, VigEngine *engine, Results *r, GError **error)
{
  guint64 shape[4];
  g_autofree float *input = vig_tensor_file_read (o->input, "input", 4, shape, error);

  if (!input)
    return FALSE;
  if (shape[1] != 3 || shape[0] > G_MAXUINT32 || shape[2] > G_MAXUINT32 || shape[3] > G_MAXUINT32) {
    g_autofree char *found = vig_shape_to_string (shape, 4);
    g_set_error (error, VIG_ERROR, VIG_ERROR_FILE, "%s: expected input of shape [B, 3, H, W], found %s", o->input, found);
    return FALSE;
  }
  r->n = (guint) shape[0];
  return make_room (r, vig_engine_get_model (engine), error)
      && vig_engine_classify_tensors (engine, input, r->n, (guint) shape[2], (guint) shape[3],
          &(VigOutput) { .logits = r->logits, .probabilities = r->probabilities, .features = r->features }, error);
}

static gboolean
write_output (const Options *o, VigModel *model, const Results *r, GError **error)
{
  guint64 classes = vig_model_get_n_classes (model), features = vig_model_get_n_features (model);
  VigTensor tensors[] = {
    { .name = "logits", .rank = 2, .shape = { r->n, classes }, .count = r->n * classes, .data = r->logits },
    { .name = "features", .rank = 2, .shape = { r->n, features }, .count = r->n * features, .data = r->features },
  };
  return !o->output || vig_tensor_file_write (o->output, tensors, G_N_ELEMENTS (tensors), error);
}

static void
print_json (const char *name, guint item, VigEngine *engine, const VigRank *ranks, guint n)
{
  VigModel *model = vig_engine_get_model (engine);
  g_autoptr (GString) line = g_string_new ("{\"input\":");

  vig_json_append_string (line, name);
  g_string_append_printf (line, ",\"index\":%u,\"model\":", item);
  vig_json_append_string (line, vig_model_get_name (model));
  g_string_append_printf (line, ",\"precision\":\"%s\",\"results\":[",
      vig_precision_to_string (vig_engine_get_precision (engine)));
  for (guint i = 0; i < n; i++) {
    char value[G_ASCII_DTOSTR_BUF_SIZE];
    g_string_append_printf (line, "%s{\"class\":%u,\"label\":", i ? "," : "", ranks[i].index);
    vig_json_append_string (line, vig_model_get_label (model, ranks[i].index));
    g_string_append_printf (line, ",\"confidence\":%s}", g_ascii_formatd (value, sizeof value, "%.6g", ranks[i].value));
  }
  g_string_append (line, "]}");
  puts (line->str);
}

static void
print_results (const Options *o, VigEngine *engine, const Results *r)
{
  VigModel *model = vig_engine_get_model (engine);
  guint classes = vig_model_get_n_classes (model);
  g_autofree VigRank *ranks = g_new (VigRank, MIN ((guint) o->top_k, classes));

  for (guint i = 0; i < r->n; i++) {
    guint n = vig_top_k (r->probabilities + (gsize) i * classes, classes, (guint) o->top_k, ranks);
    if (o->json) {
      print_json (r->names ? r->names[i] : o->input, i, engine, ranks, n);
      continue;
    }
    if (r->names)
      printf ("%s\n", r->names[i]);
    else
      printf ("%s [%u]\n", o->input, i);
    for (guint j = 0; j < n; j++)
      printf ("  %6.2f%%  %s\n", 100.0 * (double) ranks[j].value, vig_model_get_label (model, ranks[j].index));
  }
}

static gboolean
run (const Options *o, GError **error)
{
  g_autoptr (VigEngine) engine = open_engine (o, error);
  g_autoptr (GPtrArray) pixbufs = NULL;
  Results r = { .names = o->images };
  gboolean done;

  if (!engine || (o->images && !(pixbufs = load_images (o->images, error))))
    return FALSE;
  if (o->preprocess_only)
    return preprocess (o, engine, pixbufs, error);
  done = (o->images ? classify_images (o, engine, pixbufs, &r, error) : classify_tensors (o, engine, &r, error))
      && write_output (o, vig_engine_get_model (engine), &r, error);
  if (done && (o->json || !o->output))
    print_results (o, engine, &r);
  g_free (r.logits);
  g_free (r.probabilities);
  g_free (r.features);
  return done;
}

int
main (int argc, char **argv)
{
  Options o = { .top_k = 5 };
  g_autoptr (GError) error = NULL;
  int status = EXIT_SUCCESS;

  setlocale (LC_CTYPE, "");
  if (!parse (&o, &argc, &argv, &error)) {
    fprintf (stderr, "vig-infer: %s\nTry vig-infer --help.\n", error->message);
    status = 2;
  } else if (!run (&o, &error)) {
    fprintf (stderr, "vig-infer: %s\n", error->message);
    status = EXIT_FAILURE;
  }
  clear (&o);
  return status;
}
