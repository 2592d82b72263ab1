/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "gstvigloaded.h"

void
gst_vig_load_options_copy (GstVigLoadOptions *to, const GstVigLoadOptions *from)
{
  *to = *from;
  to->model_file = g_strdup (from->model_file);
  to->labels_file = g_strdup (from->labels_file);
  to->device = g_strdup (from->device);
}

void
gst_vig_load_options_clear (GstVigLoadOptions *options)
{
  g_clear_pointer (&options->model_file, g_free);
  g_clear_pointer (&options->labels_file, g_free);
  g_clear_pointer (&options->device, g_free);
}

/* The engine: its own or the one that others with the same model, device, precision, threads and parallel batches have. */
static gboolean
acquire_engine (GstVigLoaded *loaded, const GstVigLoadOptions *options, const char *user, GError **error)
{
  const VigSharedOptions shared_options = {
    .engine = { .device = options->device, .precision = options->precision, .n_threads = options->threads },
    .n_parallel = options->parallel_batches,
    .user = user, .alone = !options->share, .max_batch = options->max_batch,
    .has_batch_delay = options->batch_delay >= 0, .batch_delay = MAX (options->batch_delay, 0) / GST_USECOND,
  };
  if (!options->model_file) {
    g_set_error (error, GST_RESOURCE_ERROR, GST_RESOURCE_ERROR_SETTINGS,
        "No model: set the property model-file to a ViG model (.safetensors).");
    return FALSE;
  }
  loaded->shared = vig_shared_acquire (options->model_file, &shared_options, error);
  if (!loaded->shared)
    return FALSE;
  loaded->stream = vig_stream_new (loaded->shared);
  loaded->model = vig_shared_get_model (loaded->shared);
  loaded->n_classes = vig_model_get_n_classes (loaded->model);
  gst_vig_held_init (&loaded->held, loaded->n_classes);
  gst_vig_clip_init (&loaded->clip, loaded->n_classes);
  loaded->ranks = g_new (VigRank, loaded->n_classes);
  return TRUE;
}

static gboolean
load_labels (GstVigLoaded *loaded, const char *labels_file, GError **error)
{
  if (labels_file) {
    loaded->labels = vig_labels_load (labels_file, loaded->n_classes, error);
    if (!loaded->labels)
      return FALSE;
  } else {
    loaded->labels = g_new0 (char *, loaded->n_classes + 1);
    for (guint i = 0; i < loaded->n_classes; i++)
      loaded->labels[i] = g_strdup (vig_model_get_label (loaded->model, i));
  }
  loaded->quarks = g_new (GQuark, loaded->n_classes);
  for (guint i = 0; i < loaded->n_classes; i++)
    loaded->quarks[i] = g_quark_from_string (loaded->labels[i]);
  return TRUE;
}

/* So that the first frame is no slower than the others, and a live pipeline knows what latency to expect before it. */
static gboolean
warm_up (GstVigLoaded *loaded, guint size, GError **error)
{
  gint64 us = 0;
  guint window = loaded->clip_mode == GST_VIG_CLIP_JOINT ? loaded->options.clip_length : 0;
  gboolean ok = vig_shared_warm_up (loaded->shared, size, window, &us, error);
  loaded->latency = us * GST_USECOND;
  loaded->cuda = ok ? gst_vig_cuda_new (loaded->shared) : NULL; /* when it is clear who computes */
  gst_vig_states_init (&loaded->states, loaded->shared, loaded->clip_mode);
  return ok;
}

GstVigLoaded *
gst_vig_loaded_new (const GstVigLoadOptions *options, const char *user, guint size, GError **error)
{
  static guint number;
  GstVigLoaded *loaded = g_new0 (GstVigLoaded, 1);
  g_atomic_ref_count_init (&loaded->refs);
  loaded->number = g_atomic_int_add (&number, 1) + 1;
  gst_vig_load_options_copy (&loaded->options, options);
  if (!acquire_engine (loaded, options, user, error)
      || !gst_vig_clip_mode_choose (options->clip_mode, loaded->model, &loaded->clip_mode, error)
      || !load_labels (loaded, options->labels_file, error) || !warm_up (loaded, size, error))
    g_clear_pointer (&loaded, gst_vig_loaded_unref);
  return loaded;
}

GstVigLoaded *
gst_vig_loaded_ref (GstVigLoaded *loaded)
{
  g_atomic_ref_count_inc (&loaded->refs);
  return loaded;
}

void
gst_vig_loaded_unref (GstVigLoaded *loaded)
{
  if (!g_atomic_ref_count_dec (&loaded->refs))
    return;
  if (loaded->last_unref)
    loaded->last_unref (loaded, loaded->data);
  else
    gst_vig_loaded_free (loaded);
}

void
gst_vig_loaded_set_last_unref (GstVigLoaded *loaded, void (*last_unref) (GstVigLoaded *, gpointer), gpointer data)
{
  loaded->last_unref = last_unref;
  loaded->data = data;
}

void
gst_vig_loaded_free (GstVigLoaded *loaded)
{
  vig_stream_free (loaded->stream);
  gst_vig_states_clear (&loaded->states);
  gst_vig_cuda_free (loaded->cuda);
  vig_shared_release (loaded->shared);
  g_strfreev (loaded->labels);
  g_free (loaded->quarks);
  gst_vig_held_clear (&loaded->held);
  gst_vig_clip_clear (&loaded->clip);
  g_free (loaded->ranks);
  gst_vig_load_options_clear (&loaded->options);
  g_free (loaded);
}
