/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "gstvigclassify.h"
#include "gstvigoverlay.h"
#include "gstvigpublish.h"

static gboolean
plugin_init (GstPlugin *plugin)
{
  return GST_ELEMENT_REGISTER (vigclassify, plugin) && GST_ELEMENT_REGISTER (vigoverlay, plugin)
      && GST_ELEMENT_REGISTER (vigpublish, plugin);
}

GST_PLUGIN_DEFINE (GST_VERSION_MAJOR, GST_VERSION_MINOR, vig, "Video classification with ViG models", plugin_init,
    VERSION, "LGPL", PACKAGE, "https://arxiv.org/abs/2405.18425")
