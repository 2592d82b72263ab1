/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "gstvigflight.h"

/* GST_DEFINE_MINI_OBJECT_TYPE() is not ISO C */
static GType
flight_get_type (void)
{
  static gsize type;
  if (g_once_init_enter (&type))
    g_once_init_leave (&type, g_boxed_type_register_static ("GstVigFlight", (GBoxedCopyFunc) gst_mini_object_ref,
        (GBoxedFreeFunc) gst_mini_object_unref));
  return type;
}

static void
flight_free (GstVigFlight *flight)
{
  if (flight->stream)
    vig_stream_cancel (flight->stream, &flight->request);
  gst_vig_flight_land (flight);
  g_clear_error (&flight->error);
  gst_clear_buffer (&flight->buffer);
  g_free (flight);
}

GstVigFlight *
gst_vig_flight_new (GstBuffer *buffer, guint n_classes)
{
  GstVigFlight *flight = g_malloc (sizeof *flight + n_classes * sizeof (float));
  *flight = (GstVigFlight) { .buffer = buffer };
  gst_mini_object_init (GST_MINI_OBJECT_CAST (flight), 0, flight_get_type (), NULL, NULL,
      (GstMiniObjectFreeFunction) flight_free);
  return flight;
}

void
gst_vig_flight_start (GstVigFlight *flight, VigStream *stream, const GstVideoInfo *info, VigOrientation orientation)
{
  flight->mapped = gst_vig_frame_map (&flight->frame, info, flight->buffer, orientation, &flight->error);
  if (!flight->mapped)
    return;
  flight->request.frame = flight->frame.view;
  flight->request.size = flight->settings.input_size;
  flight->request.probabilities = flight->probabilities;
  flight->request.last = flight->settings.interval > 1;
  if (vig_stream_submit (stream, &flight->request, &flight->error))
    flight->stream = stream;
}

gboolean
gst_vig_flight_land (GstVigFlight *flight)
{
  if (flight->stream) {
    vig_stream_wait (flight->stream, &flight->request);
    flight->stream = NULL;
    flight->error = g_steal_pointer (&flight->request.error);
  }
  if (flight->mapped) {
    gst_vig_frame_unmap (&flight->frame);
    flight->mapped = FALSE;
  }
  return !flight->error;
}

GstBuffer *
gst_vig_flight_steal_buffer (GstVigFlight *flight)
{
  return g_steal_pointer (&flight->buffer);
}
