/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef GST_VIG_OVERLAY_H
#define GST_VIG_OVERLAY_H

#include <gst/gst.h>

G_BEGIN_DECLS

#define GST_TYPE_VIG_OVERLAY (gst_vig_overlay_get_type ())
G_DECLARE_FINAL_TYPE (GstVigOverlay, gst_vig_overlay, GST, VIG_OVERLAY, GstElement)

GST_ELEMENT_REGISTER_DECLARE (vigoverlay)

G_END_DECLS
#endif
