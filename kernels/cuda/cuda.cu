/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The CUDA backend: its table, memory, copies and errors. Never run on a GPU.
 *
 * A backend has two streams of its own, one for all computation and one beside it in which the inputs of batches are made
 * (pipe.cu). Uploads go through two pinned buffers in turn, so that a copy runs while the next piece is put into the other
 * one, and the host's memory is free as soon as upload returns; it waits where both are still being copied from, which a
 * batch that was waited for since tells without asking. Downloads wait, but for the results of a pipe.
 */
#include "cuda/device.cuh"

#include "cuda/cuda.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const size_t STAGING = 1 << 20; /* bytes of each pinned buffer */

/* ---- errors ---- */

static void
note (VigCuda *cuda, const char *reason, const char *format, va_list arguments)
{
  if (cuda->error[0])
    return;
  int n = snprintf (cuda->error, sizeof cuda->error, "%s", reason);
  if (n >= 0 && (size_t) n < sizeof cuda->error)
    vsnprintf (cuda->error + n, sizeof cuda->error - n, format, arguments);
}

bool
vig_cuda_ok (VigCuda *cuda, cudaError_t error, const char *doing, ...)
{
  char reason[160];
  va_list arguments;

  if (error == cudaSuccess)
    return true;
  snprintf (reason, sizeof reason, "%s (%s) while ", cudaGetErrorName (error), cudaGetErrorString (error));
  va_start (arguments, doing);
  note (cuda, reason, doing, arguments);
  va_end (arguments);
  cudaGetLastError (); /* told once is enough */
  return false;
}

void
vig_cuda_fail (VigCuda *cuda, const char *sentence, ...)
{
  va_list arguments;

  va_start (arguments, sentence);
  note (cuda, "", sentence, arguments);
  va_end (arguments);
}

bool
vig_cuda_enter (VigCuda *cuda)
{
  return vig_cuda_ok (cuda, cudaSetDevice (cuda->device), "turning to device %d", cuda->device);
}

const char *
vig_cuda_tell (VigCuda *cuda)
{
  if (!cuda->error[0])
    return NULL;
  memcpy (cuda->told, cuda->error, sizeof cuda->told);
  cuda->error[0] = 0;
  return cuda->told;
}

bool
vig_cuda_wait (VigCuda *cuda)
{
  if (!vig_cuda_enter (cuda) || !vig_cuda_ok (cuda, cudaStreamSynchronize (cuda->side), "waiting for the device")
      || !vig_cuda_ok (cuda, cudaStreamSynchronize (cuda->main), "waiting for the device"))
    return false;
  cuda->arrived = cuda->copies;
  return true;
}

static const char *
finish (void *ctx)
{
  VigCuda *cuda = (VigCuda *) ctx;

  if (!cuda->elsewhere)
    vig_cuda_wait (cuda);
  cuda->elsewhere = false;
  cuda->stream = cuda->main;
  return vig_cuda_tell (cuda);
}

/* ---- memory ---- */

void *
vig_cuda_alloc (void *ctx, size_t size)
{
  VigCuda *cuda = (VigCuda *) ctx;
  void *memory = NULL;

  if (vig_cuda_enter (cuda))
    vig_cuda_ok (cuda, cudaMalloc (&memory, size ? size : 1), "allocating %zu bytes on device %d", size, cuda->device);
  return memory;
}

void
vig_cuda_free (void *ctx, void *memory)
{
  if (!memory)
    return;
  vig_cuda_enter ((VigCuda *) ctx);
  cudaFree (memory);
}

void *
vig_cuda_scratch (VigCuda *cuda, size_t size)
{
  VigCudaMemory *memory = cuda->memory;

  if (size <= memory->scratch_size)
    return memory->scratch;
  if (!vig_cuda_wait (cuda))
    return NULL;
  cudaFree (memory->scratch);
  memory->scratch = NULL;
  memory->scratch_size = 0;
  if (vig_cuda_ok (cuda, cudaMalloc (&memory->scratch, size), "allocating %zu bytes of scratch memory", size))
    memory->scratch_size = size;
  return memory->scratch;
}

void
vig_cuda_memory_clear (VigCuda *cuda, VigCudaMemory *memory)
{
  vig_cuda_free (cuda, memory->scratch);
  vig_cuda_free (cuda, memory->workspace);
  *memory = {};
}

/* ---- copies ---- */

bool
vig_cuda_pinned_init (VigCuda *cuda, VigCudaPinned *pinned, size_t size)
{
  return vig_cuda_ok (cuda, cudaMallocHost (&pinned->memory, size), "allocating %zu pinned bytes", size)
      && vig_cuda_ok (cuda, cudaEventCreateWithFlags (&pinned->free, cudaEventDisableTiming), "making an event");
}

void
vig_cuda_pinned_clear (VigCudaPinned *pinned)
{
  if (pinned->memory)
    cudaFreeHost (pinned->memory);
  if (pinned->free)
    cudaEventDestroy (pinned->free);
  *pinned = {};
}

bool
vig_cuda_pinned_take (VigCuda *cuda, VigCudaPinned *pinned)
{
  return pinned->copy <= cuda->arrived
      || vig_cuda_ok (cuda, cudaEventSynchronize (pinned->free), "waiting for an upload");
}

bool
vig_cuda_pinned_send (VigCuda *cuda, VigCudaPinned *pinned, void *to, size_t size)
{
  pinned->copy = ++cuda->copies;
  return vig_cuda_ok (cuda, cudaMemcpyAsync (to, pinned->memory, size, cudaMemcpyHostToDevice, cuda->stream),
             "uploading %zu bytes", size)
      && vig_cuda_ok (cuda, cudaEventRecord (pinned->free, cuda->stream), "uploading %zu bytes", size);
}

void
vig_cuda_upload (void *ctx, void *to, const void *host, size_t size)
{
  VigCuda *cuda = (VigCuda *) ctx;

  if (!vig_cuda_enter (cuda))
    return;
  for (size_t at = 0, n; at < size; at += n, cuda->turn ^= 1) {
    VigCudaPinned *staging = &cuda->staging[cuda->turn];
    n = size - at < STAGING ? size - at : STAGING;
    if (!vig_cuda_pinned_take (cuda, staging))
      return;
    memcpy (staging->memory, (const char *) host + at, n);
    if (!vig_cuda_pinned_send (cuda, staging, (char *) to + at, n))
      return;
  }
}

void
vig_cuda_download (void *ctx, void *host, const void *from, size_t size)
{
  VigCuda *cuda = (VigCuda *) ctx;

  if (vig_cuda_enter (cuda)
      && vig_cuda_ok (cuda, cudaMemcpyAsync (host, from, size, cudaMemcpyDeviceToHost, cuda->stream),
          "downloading %zu bytes", size))
    vig_cuda_ok (cuda, cudaStreamSynchronize (cuda->stream), "downloading %zu bytes", size);
}

/* ---- life ---- */

static __global__ void
nothing ()
{
}

static void
cuda_close (VigKernels *self)
{
  VigCuda *cuda = (VigCuda *) self->ctx;

  vig_cuda_enter (cuda);
  for (cudaStream_t stream : { cuda->side, cuda->main })
    if (stream)
      cudaStreamSynchronize (stream);
  vig_cuda_matmul_close (cuda);
  vig_cuda_memory_clear (cuda, &cuda->own);
  for (VigCudaPinned &staging : cuda->staging)
    vig_cuda_pinned_clear (&staging);
  if (cuda->filled)
    cudaEventDestroy (cuda->filled);
  for (cudaStream_t stream : { cuda->side, cuda->main })
    if (stream)
      cudaStreamDestroy (stream);
  cudaGetLastError ();
  free (cuda);
  free (self);
}

/* Finds the device; its compute capability times ten, or 0: the error is noted. */
static int
find_device (VigCuda *cuda, int device)
{
  int driver = 0, count = 0, major = 0, minor = 0;
  cudaError_t error = cudaGetDeviceCount (&count);

  if (error == cudaErrorInsufficientDriver) {
    cudaDriverGetVersion (&driver);
    cudaGetLastError ();
    if (driver == 0)
      vig_cuda_fail (cuda, "expected an NVIDIA driver, found none: %s", cudaGetErrorName (error));
    else
      vig_cuda_fail (cuda, "expected an NVIDIA driver for CUDA %d.%d or later, found one for CUDA %d.%d: %s",
          CUDART_VERSION / 1000, CUDART_VERSION % 1000 / 10, driver / 1000, driver % 1000 / 10,
          cudaGetErrorName (error));
    return 0;
  }
  if (!vig_cuda_ok (cuda, error, "looking for devices"))
    return 0;
  if (device < 0 || device >= count) {
    vig_cuda_fail (cuda, "expected a number below %d, found %d", count, device);
    return 0;
  }
  if (!vig_cuda_ok (cuda, cudaDeviceGetAttribute (&major, cudaDevAttrComputeCapabilityMajor, device), "asking device %d",
          device)
      || !vig_cuda_ok (cuda, cudaDeviceGetAttribute (&minor, cudaDevAttrComputeCapabilityMinor, device),
          "asking device %d", device))
    return 0;
  if (major * 10 + minor < 75) {
    vig_cuda_fail (cuda, "expected compute capability 7.5 or later, found %d.%d", major, minor);
    return 0;
  }
  return major * 10 + minor;
}

/* Whether the module was compiled for this device. */
static bool
find_code (VigCuda *cuda)
{
  cudaFuncAttributes attributes;

  return vig_cuda_enter (cuda)
      && vig_cuda_ok (cuda, cudaFuncGetAttributes (&attributes, (const void *) nothing),
          "looking for kernels for compute capability %d.%d", cuda->sm / 10, cuda->sm % 10);
}

/* The device's primary context. The runtime keeps it until the process ends; its handle is the driver's to tell. */
static void *
find_context (VigCuda *cuda)
{
  void *entry = NULL, *context = NULL;
  int (*get_current) (void **context);
  cudaDriverEntryPointQueryResult found;

  if (!vig_cuda_ok (cuda, cudaGetDriverEntryPointByVersion ("cuCtxGetCurrent", &entry, 12000, cudaEnableDefault, &found),
          "asking for the context of device %d", cuda->device))
    return NULL;
  memcpy (&get_current, &entry, sizeof entry);
  if (!entry || get_current (&context) || !context)
    vig_cuda_fail (cuda, "expected a context of device %d, found none", cuda->device);
  return context;
}

static bool
open_streams (VigCuda *cuda)
{
  bool ok = vig_cuda_ok (cuda, cudaEventCreateWithFlags (&cuda->filled, cudaEventDisableTiming), "making an event");
  for (cudaStream_t *stream : { &cuda->main, &cuda->side })
    ok = ok && vig_cuda_ok (cuda, cudaStreamCreateWithFlags (stream, cudaStreamNonBlocking), "making a stream");
  cuda->stream = cuda->main;
  cuda->memory = &cuda->own;
  for (VigCudaPinned &staging : cuda->staging)
    ok = ok && vig_cuda_pinned_init (cuda, &staging, STAGING);
  return ok;
}

VigKernels *
vig_kernels_cuda_open (int device, const char **why)
{
  static thread_local char reason[sizeof ((VigCuda *) 0)->error];
  VigKernels *self = (VigKernels *) calloc (1, sizeof *self);
  VigCuda *cuda = (VigCuda *) calloc (1, sizeof *cuda);

  *why = reason;
  if (!self || !cuda) {
    free (self);
    free (cuda);
    snprintf (reason, sizeof reason, "no memory to open it");
    return NULL;
  }
  self->abi = VIG_KERNELS_ABI;
  self->name = "cuda";
  self->ctx = cuda;
  self->close = cuda_close;
  self->alloc = vig_cuda_alloc;
  self->free = vig_cuda_free;
  self->upload = vig_cuda_upload;
  self->download = vig_cuda_download;
  self->finish = finish;
  vig_cuda_use_ops (self);
  vig_cuda_use_gla (self);
  vig_cuda_use_gla_mix (self);
  vig_cuda_use_gla_run (self);
  vig_cuda_use_time (self);
  vig_cuda_use_preprocess (self);
  vig_cuda_use_pipe (self);
  cuda->device = device;
  cuda->sm = find_device (cuda, device);
  self->chunk = 32 << 20;
  self->fastest = cuda->sm >= 80 ? VIG_TYPE_BF16 : VIG_TYPE_F16;
  if (cuda->sm == 75)
    self->no_bf16 = "expected compute capability 8.0 or later, found 7.5";
  self->device = device;
  if (cuda->sm && find_code (cuda) && (self->context = find_context (cuda)) && open_streams (cuda)
      && vig_cuda_use_matmul (self))
    return self;
  memcpy (reason, cuda->error, sizeof reason);
  cuda_close (self);
  return NULL;
}
