/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef GST_VIG_PUBLISH_H
#define GST_VIG_PUBLISH_H

#include <gst/base/gstbasetransform.h>

G_BEGIN_DECLS

#define GST_TYPE_VIG_PUBLISH (gst_vig_publish_get_type ())
G_DECLARE_FINAL_TYPE (GstVigPublish, gst_vig_publish, GST, VIG_PUBLISH, GstBaseTransform)
GST_ELEMENT_REGISTER_DECLARE (vigpublish)

G_END_DECLS
#endif
