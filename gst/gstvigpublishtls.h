/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef GST_VIG_PUBLISH_TLS_H
#define GST_VIG_PUBLISH_TLS_H

#include "gstvigpublishsink.h"

G_BEGIN_DECLS

/* Whether OpenSSL, which a sink's library only asks when it connects, takes the files of these settings. A
 * GstResourceError that names the property and the file. */
gboolean gst_vig_publish_tls_check (const GstVigPublishSettings *settings, GError **error);

G_END_DECLS
#endif
