/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef GST_VIG_CUDA_H
#define GST_VIG_CUDA_H

#include <gst/gst.h>
#include <vig/shared.h>

G_BEGIN_DECLS

/**
 * GstVigCuda:
 *
 * What an element has to do with the memory of the GPU that its engine computes on: the engine's context as gstreamer-cuda
 * wraps it, and events that frames wait for. NULL stands for an engine on the CPU (or a build without gstreamer-cuda), and
 * is allowed everywhere. Any thread.
 */
typedef struct GstVigCuda GstVigCuda;

/* NULL where the CPU computes, or gstreamer-cuda does not work: the log says why. @shared must outlive it. */
GstVigCuda *gst_vig_cuda_new (VigShared *shared);
void gst_vig_cuda_free (GstVigCuda *cuda);

/* Tells the pipeline of the context, so that others make their frames in it. */
void gst_vig_cuda_offer (GstVigCuda *cuda, GstElement *element);

/* Whether @query asks for a CUDA context; it has been answered then. */
gboolean gst_vig_cuda_answer (GstVigCuda *cuda, GstElement *element, GstQuery *query);

/**
 * gst_vig_cuda_map_flags:
 * @across: (out): the frame is on a GPU, but in another context or on another GPU than computes: mapping copies it to the
 *   host
 *
 * How to map @buffer to read it: with GST_MAP_CUDA where it lies in the context that computes.
 */
GstMapFlags gst_vig_cuda_map_flags (GstVigCuda *cuda, GstBuffer *buffer, gboolean *across);

/**
 * gst_vig_cuda_describe:
 * @view: of @buffer, which is mapped with GST_MAP_CUDA
 * @error: GST_STREAM_ERROR
 *
 * Says that the planes are in the GPU's memory, and are there when the stream that @buffer is made in has come so far as
 * it has been told to by now. gst_vig_cuda_done() when nobody reads them any more.
 */
gboolean gst_vig_cuda_describe (GstVigCuda *cuda, GstBuffer *buffer, VigFrame *view, GError **error);
void gst_vig_cuda_done (GstVigCuda *cuda, VigFrame *view);

G_END_DECLS
#endif
