/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "gstvigclip.h"

static const GEnumValue modes[] = {
  { GST_VIG_CLIP_AUTO, "What the model is made for: stream, joint, else none", "auto" },
  { GST_VIG_CLIP_NONE, "Each frame by itself", "none" },
  { GST_VIG_CLIP_MEAN, "Mean of the logits of the last clip-length frames, of which every clip-stride-th counts", "mean" },
  { GST_VIG_CLIP_EMA, "Mean of the logits of all frames, of which those longer ago weigh less: clip-time-constant", "ema" },
  { GST_VIG_CLIP_JOINT, "Windows of clip-length frames at once, by a model made for that", "joint" },
  { GST_VIG_CLIP_STREAM, "All frames until now, by a model with a memory", "stream" },
  { 0, NULL, NULL },
};

GType
gst_vig_clip_mode_get_type (void)
{
  static gsize type;
  if (g_once_init_enter (&type))
    g_once_init_leave (&type, g_enum_register_static ("GstVigClipMode", modes));
  return type;
}

GType
gst_vig_clip_reset_get_type (void)
{
  static gsize type;
  static const GFlagsValue values[] = {
    { GST_VIG_CLIP_RESET_FLUSH, "A flush, as of a seek", "flush" },
    { GST_VIG_CLIP_RESET_DISCONT, "A buffer with the flag DISCONT", "discont" },
    { GST_VIG_CLIP_RESET_CAPS, "Other caps", "caps" },
    { GST_VIG_CLIP_RESET_STREAM_START, "The start of a stream", "stream-start" },
    { 0, NULL, NULL },
  };
  if (g_once_init_enter (&type))
    g_once_init_leave (&type, g_flags_register_static ("GstVigClipReset", values));
  return type;
}

const char *
gst_vig_clip_mode_to_string (GstVigClipMode mode)
{
  return modes[mode].value_nick;
}

static gboolean
can_do (const VigModel *model, GstVigClipMode mode)
{
  return mode == GST_VIG_CLIP_NONE;
}

/* The names of those that the model can do. (transfer full) */
static char *
list_modes (const VigModel *model)
{
  GString *list = g_string_new (NULL);
  for (GstVigClipMode m = GST_VIG_CLIP_NONE; m <= GST_VIG_CLIP_STREAM; m++)
    if (can_do (model, m))
      g_string_append_printf (list, "%s%s", list->len ? ", " : "", gst_vig_clip_mode_to_string (m));
  return g_string_free (list, FALSE);
}

gboolean
gst_vig_clip_mode_choose (GstVigClipMode asked, const VigModel *model, GstVigClipMode *mode, GError **error)
{
  static const GstVigClipMode made_for[] = { GST_VIG_CLIP_STREAM, GST_VIG_CLIP_JOINT, GST_VIG_CLIP_NONE };
  for (guint i = 0; asked == GST_VIG_CLIP_AUTO && i < G_N_ELEMENTS (made_for); i++)
    if (can_do (model, made_for[i]))
      asked = made_for[i];
  *mode = asked;
  if (can_do (model, asked))
    return TRUE;
  g_autofree char *possible = list_modes (model);
  g_set_error (error, VIG_ERROR, VIG_ERROR_ARGUMENT, "clip-mode: expected one that the model \"%s\" can do (%s), found %s",
      vig_model_get_name (model), possible, gst_vig_clip_mode_to_string (asked));
  return FALSE;
}
