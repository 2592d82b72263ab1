/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef VIG_ENGINE_H
#define VIG_ENGINE_H

#include <vig/frame.h>
#include <vig/map.h>

G_BEGIN_DECLS

/* auto: the fastest one whose results the accuracy table of the README covers on this device and machine. */
typedef enum { VIG_PRECISION_AUTO, VIG_PRECISION_FP32, VIG_PRECISION_BF16, VIG_PRECISION_FP16 } VigPrecision;

VIG_API const char *vig_precision_to_string (VigPrecision precision); /* "auto", "fp32", "bf16", "fp16" */
VIG_API gboolean vig_precision_from_string (const char *string, VigPrecision *precision);

/**
 * VigEngineOptions:
 * @device: NULL or "auto", "cpu", "cuda", "cuda:N"; "ref" is the scalar reference, for tests. "auto" takes the GPU where
 *   one works; from one that fails before it has given out a result the CPU takes over, and the log says why. (A batch
 *   for which no output is wanted warms up.)
 * @n_threads: of the CPU backend; 0: one for each core this process may run on
 *
 * Zero-initialised options are the defaults.
 */
typedef struct {
  const char *device;
  VigPrecision precision;
  guint n_threads;
} VigEngineOptions;

/**
 * VigEngine:
 *
 * A model made ready for a device and precision: packed weights, and for every input size it has met a plan with its
 * workspace. The same input gives the same bits alone or in any batch, with any number of threads, on every run. After
 * the first batch of a size, shape and batch size nothing is allocated. An engine is used by one thread at a time; different
 * engines, also of one model, are independent.
 */
typedef struct VigEngine VigEngine;

/**
 * vig_engine_new:
 * @model: the engine takes a reference
 * @options: (nullable): needed only during the call
 * @error: VIG_ERROR_DEVICE (the message says why the device does not work), VIG_ERROR_ARGUMENT, VIG_ERROR_NO_MEMORY
 */
VIG_API VigEngine *vig_engine_new (VigModel *model, const VigEngineOptions *options, GError **error);
VIG_API void vig_engine_free (VigEngine *engine); /* NULL is allowed */
G_DEFINE_AUTOPTR_CLEANUP_FUNC (VigEngine, vig_engine_free)

VIG_API VigModel *vig_engine_get_model (VigEngine *engine);         /* (transfer none) */
VIG_API const char *vig_engine_get_device (const VigEngine *engine);      /* "cpu", … what auto became */
VIG_API const char *vig_engine_get_kernels (const VigEngine *engine);     /* e.g. "avx512+amx": for logs */

/**
 * vig_engine_get_cuda:
 * @device: (out) (optional): number of the CUDA device that computes, or -1
 * @context: (out) (optional): its primary context, a CUcontext that stays as long as the process; NULL where there is none
 *
 * Whether frames may lie in the memory of a CUDA device. Where the engine's device is "auto" it may come to be FALSE later:
 * when the CPU takes over. Any thread.
 */
VIG_API gboolean vig_engine_get_cuda (VigEngine *engine, int *device, void **context);
VIG_API VigPrecision vig_engine_get_precision (const VigEngine *engine);  /* never AUTO */
VIG_API gsize vig_engine_get_weight_bytes (const VigEngine *engine);
/* Of all plans: inputs, intermediate tensors, results; of libraries' own memory nothing. */
VIG_API gsize vig_engine_get_workspace_bytes (const VigEngine *engine);

/**
 * VigOutput:
 *
 * Where the results of a batch of n go; all memory is the caller's, NULL where it is not wanted.
 */
typedef struct {
  float *logits;        /* [n, classes] */
  float *probabilities; /* [n, classes], softmax of the logits */
  float *features;      /* [n, features]: what enters the head */
  const VigMaps *maps;  /* [n]: which maps are wanted of each */
  /* Filled in, microseconds for the whole batch. Of preprocessing, what a GPU does itself counts as inference. */
  gint64 preprocess_us, inference_us;
} VigOutput;

/**
 * vig_engine_classify_frames:
 * @frames: @n frames, each of its own format and size
 * @size: side of the square input in pixels; 0: what the model says
 * @error: VIG_ERROR_ARGUMENT (names the frame and field), VIG_ERROR_NO_MEMORY, VIG_ERROR_FAILED
 */
VIG_API gboolean vig_engine_classify_frames (VigEngine *engine, const VigFrame *frames, guint n, guint size,
    VigOutput *output, GError **error);

/**
 * vig_engine_classify_tensors:
 * @input: [n, 3, height, width], already normalised, host memory
 */
VIG_API gboolean vig_engine_classify_tensors (VigEngine *engine, const float *input, guint n, guint height,
    guint width, VigOutput *output, GError **error);

/**
 * vig_engine_preprocess:
 * @output: [3, size, size]: what vig_engine_classify_frames() would feed the model, host memory
 */
VIG_API gboolean vig_engine_preprocess (VigEngine *engine, const VigFrame *frame, guint size, float *output,
    GError **error);

/* One entry of a ranking. */
typedef struct {
  guint index;
  float value;
} VigRank;

/**
 * vig_top_k:
 * @ranks: (out caller-allocates): the @k greatest of @values, greatest first; equal values in order of index
 *
 * Returns: how many were written: min(@k, @n).
 */
VIG_API guint vig_top_k (const float *values, guint n, guint k, VigRank *ranks);

G_END_DECLS
#endif
