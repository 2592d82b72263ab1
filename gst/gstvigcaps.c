/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Which frames are taken: the caps of the pads. */
#include "gstvigcaps.h"

#include "gstvigframe.h"

#define CUDA_MEMORY "memory:CUDAMemory"

/* The memory that structure @i speaks of, if it is another than the system's. */
static const char *
foreign_memory (const GstCaps *caps, guint i)
{
  GstCapsFeatures *features = gst_caps_get_features (caps, i);
  for (guint f = 0; f < gst_caps_features_get_size (features); f++) {
    const char *feature = gst_caps_features_get_nth (features, f);
    if (g_str_has_prefix (feature, "memory:") && !g_str_equal (feature, GST_CAPS_FEATURE_MEMORY_SYSTEM_MEMORY))
      return feature;
  }
  return NULL;
}

static gboolean
is_cuda (const GstCaps *caps, guint i)
{
  return g_strcmp0 (foreign_memory (caps, i), CUDA_MEMORY) == 0;
}

static const char *
downloader (const char *memory)
{
  if (g_str_equal (memory, "memory:GLMemory"))
    return "gldownload";
  if (g_str_equal (memory, CUDA_MEMORY))
    return "cudadownload";
  return "vapostproc, or glupload ! gldownload,";
}

gboolean
gst_vig_caps_parse (const GstCaps *caps, gboolean cuda, GstVideoInfo *info, GError **error)
{
  const char *memory = foreign_memory (caps, 0);
  if (memory && !(cuda && is_cuda (caps, 0))) {
    g_set_error (error, GST_STREAM_ERROR, GST_STREAM_ERROR_FORMAT,
        "The frames must be in system memory, but the caps say %s: put %s in front of vigclassify.", memory,
        downloader (memory));
    return FALSE;
  }
  if (!gst_video_info_from_caps (info, caps)) {
    g_autofree char *string = gst_caps_to_string (caps);
    g_set_error (error, GST_STREAM_ERROR, GST_STREAM_ERROR_FORMAT, "The caps must describe raw video, found %s.",
        string);
    return FALSE;
  }
  return gst_vig_frame_check_info (info, error);
}

gboolean
gst_vig_caps_are_cuda (const GstCaps *caps)
{
  for (guint i = 0; i < gst_caps_get_size (caps); i++)
    if (!is_cuda (caps, i))
      return FALSE;
  return gst_caps_get_size (caps) > 0;
}

GstCaps *
gst_vig_caps_choose (GstCaps *caps, gboolean cuda)
{
  GstCaps *chosen = gst_caps_new_empty ();
  for (int wanted = 1; wanted >= 0; wanted--)
    for (guint i = 0; i < gst_caps_get_size (caps); i++)
      if (is_cuda (caps, i) == wanted && (cuda || !wanted))
        gst_caps_append_structure_full (chosen, gst_structure_copy (gst_caps_get_structure (caps, i)),
            gst_caps_features_copy (gst_caps_get_features (caps, i)));
  gst_caps_unref (caps);
  return chosen;
}
