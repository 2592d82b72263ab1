/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Frames in CUDA memory, through gstreamer-cuda: the one file that knows it. Never run on a GPU.
 *
 * The engine computes in the primary context of its device, which stays as long as the process. Wrapped as a GstCudaContext
 * it is offered to the pipeline; frames made in it are read where they are. Whoever makes a frame may still be at it when
 * the frame comes: an event behind its work in its stream tells the engine's stream when to read. The buffer is held until
 * the results are there, so its memory is not used again before it has been read.
 */
#include "gstvigcuda.h"

#ifdef HAVE_GST_CUDA

#define GST_USE_UNSTABLE_API
#include <gst/cuda/gstcuda.h>

struct GstVigCuda {
  VigShared *shared;
  GstCudaContext *context;
  int device;
  GMutex lock;
  GPtrArray *events; /* under the lock: of CUevent, those that no frame has */
};

GstVigCuda *
gst_vig_cuda_new (VigShared *shared)
{
  int device;
  void *handle;
  CUdevice number;
  if (!vig_shared_get_cuda (shared, &device, &handle))
    return NULL;
  GstCudaContext *context = gst_cuda_load_library () && CuInit (0) == CUDA_SUCCESS
      && CuDeviceGet (&number, device) == CUDA_SUCCESS ? gst_cuda_context_new_wrapped (handle, number) : NULL;
  if (!context) {
    GST_WARNING ("gstreamer-cuda does not work with the context of CUDA device %d: frames must be in system memory", device);
    return NULL;
  }
  GstVigCuda *cuda = g_new0 (GstVigCuda, 1);
  *cuda = (GstVigCuda) { .shared = shared, .context = context, .device = device, .events = g_ptr_array_new () };
  g_mutex_init (&cuda->lock);
  return cuda;
}

void
gst_vig_cuda_free (GstVigCuda *cuda)
{
  if (!cuda)
    return;
  gst_cuda_context_push (cuda->context);
  for (guint i = 0; i < cuda->events->len; i++)
    CuEventDestroy (cuda->events->pdata[i]);
  gst_cuda_context_pop (NULL);
  g_ptr_array_unref (cuda->events);
  g_mutex_clear (&cuda->lock);
  gst_object_unref (cuda->context);
  g_free (cuda);
}

void
gst_vig_cuda_offer (GstVigCuda *cuda, GstElement *element)
{
  if (cuda)
    gst_element_post_message (element, gst_message_new_have_context (GST_OBJECT (element),
            gst_context_new_cuda_context (cuda->context)));
}

gboolean
gst_vig_cuda_answer (GstVigCuda *cuda, GstElement *element, GstQuery *query)
{
  return cuda && GST_QUERY_TYPE (query) == GST_QUERY_CONTEXT
      && gst_cuda_handle_context_query (element, query, cuda->context);
}

GstMapFlags
gst_vig_cuda_map_flags (GstVigCuda *cuda, GstBuffer *buffer, gboolean *across)
{
  GstMemory *memory = cuda && gst_buffer_n_memory (buffer) == 1 ? gst_buffer_peek_memory (buffer, 0) : NULL;
  *across = FALSE;
  if (!gst_is_cuda_memory (memory))
    return GST_MAP_READ;
  GstCudaContext *context = GST_CUDA_MEMORY_CAST (memory)->context;
  *across = gst_cuda_context_get_handle (context) != gst_cuda_context_get_handle (cuda->context)
      || !vig_shared_get_cuda (cuda->shared, NULL, NULL); /* the CPU has taken over */
  return *across ? GST_MAP_READ : GST_MAP_READ | (GstMapFlags) GST_MAP_CUDA;
}

/* An event of the pool's, or a new one; NULL: there is none to be had. In the context. */
static CUevent
take_event (GstVigCuda *cuda)
{
  CUevent event = NULL;
  g_mutex_lock (&cuda->lock);
  if (cuda->events->len > 0)
    event = g_ptr_array_steal_index_fast (cuda->events, cuda->events->len - 1);
  g_mutex_unlock (&cuda->lock);
  if (!event && CuEventCreate (&event, CU_EVENT_DISABLE_TIMING) != CUDA_SUCCESS)
    return NULL;
  return event;
}

gboolean
gst_vig_cuda_describe (GstVigCuda *cuda, GstBuffer *buffer, VigFrame *view, GError **error)
{
  GstCudaStream *stream = gst_cuda_memory_get_stream (GST_CUDA_MEMORY_CAST (gst_buffer_peek_memory (buffer, 0)));
  CUresult result = CUDA_SUCCESS;
  view->memory = VIG_MEMORY_CUDA;
  view->device = cuda->device;
  if (!stream) /* what is done in the default stream is waited for by those who do it */
    return TRUE;
  gst_cuda_context_push (cuda->context);
  view->ready = take_event (cuda);
  if (view->ready)
    result = CuEventRecord (view->ready, gst_cuda_stream_get_handle (stream));
  gst_cuda_context_pop (NULL);
  if (view->ready && result == CUDA_SUCCESS)
    return TRUE;
  gst_vig_cuda_done (cuda, view);
  const char *name = NULL;
  CuGetErrorName (result, &name);
  g_set_error (error, GST_STREAM_ERROR, GST_STREAM_ERROR_FAILED,
      "The frame is in CUDA memory, but nobody can wait until it is complete: %s.",
      result == CUDA_SUCCESS ? "there is no event to be had" : name ? name : "an unknown error");
  return FALSE;
}

void
gst_vig_cuda_done (GstVigCuda *cuda, VigFrame *view)
{
  if (!view->ready)
    return;
  g_mutex_lock (&cuda->lock);
  g_ptr_array_add (cuda->events, view->ready);
  g_mutex_unlock (&cuda->lock);
  view->ready = NULL;
}

#else

GstVigCuda *
gst_vig_cuda_new (VigShared *shared)
{
  return NULL;
}

void
gst_vig_cuda_free (GstVigCuda *cuda)
{
}

void
gst_vig_cuda_offer (GstVigCuda *cuda, GstElement *element)
{
}

gboolean
gst_vig_cuda_answer (GstVigCuda *cuda, GstElement *element, GstQuery *query)
{
  return FALSE;
}

GstMapFlags
gst_vig_cuda_map_flags (GstVigCuda *cuda, GstBuffer *buffer, gboolean *across)
{
  *across = FALSE;
  return GST_MAP_READ;
}

gboolean
gst_vig_cuda_describe (GstVigCuda *cuda, GstBuffer *buffer, VigFrame *view, GError **error)
{
  g_return_val_if_reached (FALSE);
}

void
gst_vig_cuda_done (GstVigCuda *cuda, VigFrame *view)
{
}

#endif
