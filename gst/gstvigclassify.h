/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef GST_VIG_CLASSIFY_H
#define GST_VIG_CLASSIFY_H

#include <gst/gst.h>

G_BEGIN_DECLS

#define GST_TYPE_VIG_CLASSIFY (gst_vig_classify_get_type ())
G_DECLARE_FINAL_TYPE (GstVigClassify, gst_vig_classify, GST, VIG_CLASSIFY, GstElement)

GST_ELEMENT_REGISTER_DECLARE (vigclassify)

G_END_DECLS
#endif
