/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Batches in flight, and their recordings (CUDA graphs). Never run on a GPU.
 *
 *   side:  input of batch 1 | input of batch 2 | …
 *   main:                   | batch 1, results | batch 2, results | …
 *
 * Inputs are copied and preprocessed in a stream of their own, beside the batch before; all computation is in one stream, so
 * that the buffers between operators are there once. A batch of a size that the pipe has not met yet is enqueued call by
 * call: operators then choose their algorithms and get their memory. The next one in either slot is captured on its way, and from
 * then on enqueued in one call. Sizes are exact: rounding them up would compute what nobody asked for. The SIZES that were
 * used last are kept; where recording fails, the pipe goes on call by call.
 *
 * A batch allocates nothing but when it is recorded, and the host waits for nothing but its result; an input that does not
 * fit into the pinned buffers at once (cuda.cu, preprocess.cu) waits for copies of its own, too.
 */
#include "cuda/cuda.h"
#include "cuda/device.cuh"

#include <stdio.h>
#include <stdlib.h>

enum { SIZES = 16 }; /* recordings: one for each slot of a size */

namespace vig_pipe { /* no other file's Recording is this one */

struct Recording {
  int n;                            /* 0: free */
  uint64_t used;                    /* when last */
  cudaGraphExec_t graph[VIG_SLOTS]; /* NULL: not yet */
};

}

using namespace vig_pipe;

struct VigPipe {
  VigCudaMemory memory;
  cudaEvent_t done[VIG_SLOTS];
  uint64_t copies[VIG_SLOTS]; /* cuda->copies before it: all of them are over when it is */
  void *results[VIG_SLOTS]; /* pinned */
  Recording recordings[SIZES];
  uint64_t clock;
  bool refused;             /* recording failed */
  char why[320];
};

/* ---- recordings ---- */

/* One that is in flight ends before CUDA frees it. */
static void
forget (Recording *r)
{
  for (cudaGraphExec_t &graph : r->graph) {
    if (graph)
      cudaGraphExecDestroy (graph);
    graph = NULL;
  }
}

/* The recordings of a size, or NULL. */
static Recording *
find (VigPipe *p, int n)
{
  for (Recording &r : p->recordings)
    if (r.n == n) {
      r.used = ++p->clock;
      return &r;
    }
  return NULL;
}

/* From now on the size is known; in place of the one that was not used for longest. */
static void
add (VigPipe *p, int n)
{
  Recording *oldest = &p->recordings[0];

  for (Recording &r : p->recordings)
    if (r.used < oldest->used)
      oldest = &r;
  forget (oldest);
  *oldest = { n, ++p->clock, {} };
}

/* What a recording repeats. */
static void
enqueue (VigCuda *cuda, VigPipe *p, const VigPipeRun *a)
{
  a->work (a->data);
  vig_cuda_ok (cuda, cudaMemcpyAsync (p->results[a->slot], a->results, a->size, cudaMemcpyDeviceToHost, cuda->stream),
      "downloading %zu bytes", a->size);
}

static bool
capture (VigCuda *cuda, VigPipe *p, const VigPipeRun *a, cudaGraph_t *graph)
{
  if (!vig_cuda_ok (cuda, cudaStreamBeginCapture (cuda->main, cudaStreamCaptureModeThreadLocal), "recording"))
    return false;
  enqueue (cuda, p, a);
  vig_cuda_ok (cuda, cudaStreamEndCapture (cuda->main, graph), "recording");
  return !cuda->error[0];
}

/* False: what failed was told to the pipe, as if nothing had been tried. */
static bool
record (VigCuda *cuda, VigPipe *p, const VigPipeRun *a, cudaGraphExec_t *recording)
{
  cudaGraph_t graph = NULL;
  bool done = capture (cuda, p, a, &graph)
      && vig_cuda_ok (cuda, cudaGraphInstantiate (recording, graph, 0), "making a graph of a recording");

  if (graph)
    cudaGraphDestroy (graph);
  if (!done) {
    cudaGetLastError ();
    snprintf (p->why, sizeof p->why, "%s", vig_cuda_tell (cuda));
    p->refused = true;
  }
  return done;
}

/* ---- a batch ---- */

/* Call by call. */
static void
run_new (VigCuda *cuda, VigPipe *p, const VigPipeRun *a)
{
  const void *scratch = p->memory.scratch;

  enqueue (cuda, p, a);
  if (p->memory.scratch != scratch) /* the other sizes' recordings have the old one */
    for (Recording &r : p->recordings)
      forget (&r);
}

static void
pipe_fill (void *ctx, VigPipe *p)
{
  VigCuda *cuda = (VigCuda *) ctx;
  cuda->stream = cuda->side;
}

static const char *
pipe_run (void *ctx, VigPipe *p, const VigPipeRun *a)
{
  VigCuda *cuda = (VigCuda *) ctx;
  const bool sound = !cuda->error[0], could = !p->refused;
  Recording *r = find (p, a->n);
  cudaGraphExec_t *recording = r ? &r->graph[a->slot] : NULL;

  vig_cuda_enter (cuda);
  vig_cuda_ok (cuda, cudaEventRecord (cuda->filled, cuda->side), "enqueueing a batch");
  vig_cuda_ok (cuda, cudaStreamWaitEvent (cuda->main, cuda->filled, 0), "enqueueing a batch");
  cuda->stream = cuda->main;
  cuda->memory = &p->memory;
  if (recording && (*recording || (sound && could && record (cuda, p, a, recording))))
    vig_cuda_ok (cuda, cudaGraphLaunch (*recording, cuda->main), "enqueueing the recording of a batch");
  else
    run_new (cuda, p, a);
  if (!r && !cuda->error[0])
    add (p, a->n);
  cuda->memory = &cuda->own;
  vig_cuda_ok (cuda, cudaEventRecord (p->done[a->slot], cuda->main), "enqueueing a batch");
  p->copies[a->slot] = cuda->error[0] ? 0 : cuda->copies;
  return could && p->refused ? p->why : NULL;
}

static const char *
pipe_wait (void *ctx, VigPipe *p, int slot, void **results)
{
  VigCuda *cuda = (VigCuda *) ctx;

  *results = p->results[slot];
  if (vig_cuda_enter (cuda) && vig_cuda_ok (cuda, cudaEventSynchronize (p->done[slot]), "waiting for a batch")
      && cuda->arrived < p->copies[slot])
    cuda->arrived = p->copies[slot];
  return vig_cuda_tell (cuda);
}

static size_t
pipe_bytes (void *ctx, const VigPipe *p)
{
  return p->memory.scratch_size;
}

/* ---- create, destroy ---- */

static void
pipe_destroy (void *ctx, VigPipe *p)
{
  VigCuda *cuda = (VigCuda *) ctx;

  if (!p)
    return;
  vig_cuda_enter (cuda);
  for (Recording &r : p->recordings)
    forget (&r);
  for (int i = 0; i < VIG_SLOTS; i++) {
    if (p->results[i])
      cudaFreeHost (p->results[i]);
    if (p->done[i])
      cudaEventDestroy (p->done[i]);
  }
  vig_cuda_memory_clear (cuda, &p->memory);
  free (p);
}

static VigPipe *
pipe_create (void *ctx, size_t results)
{
  VigCuda *cuda = (VigCuda *) ctx;
  VigPipe *p = (VigPipe *) calloc (1, sizeof *p);
  bool done = p && vig_cuda_enter (cuda) && vig_cuda_matmul_reserve (cuda, &p->memory);

  if (!p)
    vig_cuda_fail (cuda, "no memory for batches in flight");
  for (int i = 0; done && i < VIG_SLOTS; i++)
    done = vig_cuda_ok (cuda, cudaMallocHost (&p->results[i], results), "allocating %zu pinned bytes", results)
        && vig_cuda_ok (cuda, cudaEventCreateWithFlags (&p->done[i], cudaEventDisableTiming), "making an event");
  if (done)
    return p;
  pipe_destroy (ctx, p);
  return NULL;
}

void
vig_cuda_use_pipe (VigKernels *k)
{
  k->pipe_create = pipe_create;
  k->pipe_fill = pipe_fill;
  k->pipe_run = pipe_run;
  k->pipe_wait = pipe_wait;
  k->pipe_bytes = pipe_bytes;
  k->pipe_destroy = pipe_destroy;
}
