/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What the files of the CUDA backend share. ctx of its operators is a VigCuda.
 *
 * An operator only enqueues on stream; a failure is noted by vig_cuda_ok () and told by finish (). Which device a thread
 * talks to is the thread's own setting in CUDA: alloc, free, upload, download, finish, preprocess_* and matmul_create set
 * it. Every forward pass begins with one of them, the other operators need not.
 */
#ifndef VIG_CUDA_H
#define VIG_CUDA_H

extern "C" {
#include "kernels.h"
}

#ifdef VIG_EMULATE
#include "vig-emu-runtime.h"
#else
#include <cuda_runtime.h>
#endif

typedef struct VigCudaLt VigCudaLt; /* matmul.cu */

/* Memory that operators use between their own launches. A pipe has its own, for its recordings hold the addresses. */
typedef struct {
  void *scratch;            /* vig_cuda_scratch () */
  size_t scratch_size;
  void *workspace;          /* matmul.cu */
} VigCudaMemory;

/* Pinned memory that copies to the device start from. */
typedef struct {
  void *memory;
  cudaEvent_t free;         /* the last copy from it is over */
  uint64_t copy;            /* which one that was: see VigCuda */
} VigCudaPinned;

typedef struct {
  int device, sm;           /* its number; 75, 80, 90 … */
  cudaStream_t stream;      /* where operators enqueue: main, or side while a pipe is filled */
  cudaStream_t main, side;
  cudaEvent_t filled;       /* pipe.cu */
  char error[320], told[320]; /* the first failure since the last finish, or ""; the one that finish told */
  VigCudaLt *lt;
  VigCudaMemory own, *memory; /* the memory that operators use now: a pipe's while it is run, or the backend's own */
  VigCudaPinned staging[2]; /* uploads take turns */
  unsigned turn;
  uint64_t copies, arrived; /* from pinned memory: how many there were, and up to which all are known to be over */
  bool elsewhere;           /* the last operator went into a stream of its caller's, who may be recording: finish must not wait */
} VigCuda;

/* Notes the first failure: "NAME (what it means) while DOING". True if there was none. For launches too:
 *   vig_cuda_ok (cuda, VIG_LAUNCH (rmsnorm, …), "launching rmsnorm"); */
bool vig_cuda_ok (VigCuda *cuda, cudaError_t error, const char *doing, ...) __attribute__ ((format (printf, 3, 4)));

/* Notes a failure in words. */
void vig_cuda_fail (VigCuda *cuda, const char *sentence, ...) __attribute__ ((format (printf, 2, 3)));

/* Makes the device the calling thread's. */
bool vig_cuda_enter (VigCuda *cuda);

/* The table's own: host memory may change as soon as upload returns, whatever kind of memory it is. */
void *vig_cuda_alloc (void *ctx, size_t size);
void vig_cuda_free (void *ctx, void *memory);
void vig_cuda_upload (void *ctx, void *to, const void *host, size_t size);
void vig_cuda_download (void *ctx, void *host, const void *from, size_t size);

/* Memory that an operator uses between its own launches, at least size bytes; the next caller gets the same, so that it
 * allocates (and waits) only where a size is larger than any before. NULL: the failure is noted. */
void *vig_cuda_scratch (VigCuda *cuda, size_t size);
void vig_cuda_memory_clear (VigCuda *cuda, VigCudaMemory *memory);

/* Makes pinned memory; false: the failure is noted. */
bool vig_cuda_pinned_init (VigCuda *cuda, VigCudaPinned *pinned, size_t size);
void vig_cuda_pinned_clear (VigCudaPinned *pinned); /* what was never made is allowed */

/* From here on it may be written. Waits for the last copy from it, unless a batch after that copy was waited for. */
bool vig_cuda_pinned_take (VigCuda *cuda, VigCudaPinned *pinned);
bool vig_cuda_pinned_send (VigCuda *cuda, VigCudaPinned *pinned, void *to, size_t size);

/* Waits for all that was enqueued. */
bool vig_cuda_wait (VigCuda *cuda);

/* The first failure since it was last asked for, or NULL; valid until the next one is told. */
const char *vig_cuda_tell (VigCuda *cuda);

/* Operators, for those that are several in one. */
void vig_cuda_norm (VigCuda *cuda, const VigNorm *a); /* a layernorm if there is a bias */
void vig_cuda_log_decay (VigCuda *cuda, const VigLogDecay *a);
void vig_cuda_add_boundary (VigCuda *cuda, const VigAddBoundary *a);
void vig_cuda_gate_mix (VigCuda *cuda, const VigGateMix *a); /* in place if type is f32 and m == o */
void vig_cuda_gla_bidir (VigCuda *cuda, const VigGlaBidir *a, float *memory); /* of so many numbers: */
size_t vig_cuda_gla_numbers (const VigCuda *cuda, int batch, int tokens, int heads, int dk, int dv);
bool vig_cuda_mlp (VigCuda *cuda, const VigMlp *a, const void *in, const void *out, int width, VigType type); /* false: not
                                                                                  of this shape, nothing was done (mlp.cu) */
void vig_cuda_swiglu (VigCuda *cuda, const void *u, VigType u_type, int rows, int width, void *y, VigType type);

/* Each file puts its operators into the table. */
void vig_cuda_use_ops (VigKernels *k);
void vig_cuda_use_gla (VigKernels *k);
void vig_cuda_use_gla_mix (VigKernels *k);
void vig_cuda_use_gla_run (VigKernels *k);
void vig_cuda_use_time (VigKernels *k);
void vig_cuda_use_preprocess (VigKernels *k);
void vig_cuda_use_pipe (VigKernels *k);
bool vig_cuda_use_matmul (VigKernels *k); /* false: the error is noted */
void vig_cuda_matmul_close (VigCuda *cuda);
bool vig_cuda_matmul_reserve (VigCuda *cuda, VigCudaMemory *memory); /* workspace; false: the failure is noted */

/* The backend of one device; NULL: *why is a sentence, valid until this thread calls it again. */
extern "C" __attribute__ ((visibility ("default"))) VigKernels *vig_kernels_cuda_open (int device, const char **why);

#endif
