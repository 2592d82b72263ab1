/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The CUDA driver's interface over the emulated runtime: what gstreamer-cuda uses to make, copy and wait for frames. The
 * emulated module is libcuda.so.1 by its soname, so that who opens the driver after it gets it (emulated.h).
 *
 * - The runtime's memory is that of the primary contexts. Memory of any other context has addresses that nobody can
 *   read but the copies here, made in that context: who hands it to a kernel as it is crashes.
 * - Streams and events are the runtime's, and as late; stream 0 has done everything when a call returns.
 * - What gstreamer-cuda asks for when it opens the driver and frames do without (textures, graphics, modules, IPC) is
 *   there and fails.
 */
#include "vig-emu-runtime.h"

#include <stdint.h>
#include <string.h>

#include <map>
#include <mutex>
#include <vector>

#define EXPORT extern "C" __attribute__ ((visibility ("default")))

typedef int CUresult; /* the numbers are those of cudaError_t */
typedef uint64_t CUdeviceptr;

enum { NOT_SUPPORTED = 801, INVALID_CONTEXT = 201, HOST = 1, DEVICE = 2, DEVICES = 8 };
static const CUdeviceptr FOREIGN = 1ull << 63; /* no address of this machine has this bit alone */

struct CUctx {
  int device;
  bool primary;
};
typedef CUctx *CUcontext;

/* CUDA_MEMCPY2D of cuda.h */
struct Copy2D {
  size_t src_x, src_y;
  int src_type;
  const void *src_host;
  CUdeviceptr src_device;
  void *src_array;
  size_t src_pitch;
  size_t dst_x, dst_y;
  int dst_type;
  void *dst_host;
  CUdeviceptr dst_device;
  void *dst_array;
  size_t dst_pitch;
  size_t width, height;
};

namespace {

CUctx primary[DEVICES] = { { 0, true }, { 1, true }, { 2, true }, { 3, true }, { 4, true }, { 5, true }, { 6, true }, { 7, true } };
thread_local std::vector<CUcontext> stack;

std::mutex lock;
std::map<CUdeviceptr, std::pair<size_t, CUcontext>> allocated; /* by address as the caller knows it: size and context */

CUcontext
current ()
{
  return stack.empty () ? &primary[vig_emu_device ()] : stack.back ();
}

bool
is_device (int device)
{
  int n = 0;
  return cudaGetDeviceCount (&n) == cudaSuccess && device >= 0 && device < n && device < DEVICES;
}

/* The memory behind an address, if it is the current context's. */
bool
resolve (CUdeviceptr at, void **memory)
{
  std::lock_guard<std::mutex> guard (lock);
  auto i = allocated.upper_bound (at);
  *memory = (void *) (at & ~FOREIGN);
  if (i == allocated.begin ())
    return !(at & FOREIGN);
  --i;
  return at - i->first < i->second.first ? i->second.second == current () : !(at & FOREIGN);
}

/* Runs what copy enqueues: in the stream, or to its end where that is stream 0. */
template<typename F> CUresult
in_stream (cudaStream_t stream, F copy)
{
  if (stream)
    return copy (stream);
  cudaError_t error = cudaStreamCreateWithFlags (&stream, cudaStreamNonBlocking);
  if (error == cudaSuccess) {
    error = copy (stream);
    cudaError_t ended = cudaStreamSynchronize (stream);
    cudaStreamDestroy (stream);
    error = error == cudaSuccess ? ended : error;
  }
  return error;
}

}

/* ---- contexts and devices ---- */

EXPORT CUresult cuInit (unsigned) { return 0; }
EXPORT CUresult cuDriverGetVersion (int *version) { return cudaDriverGetVersion (version); }
EXPORT CUresult cuDeviceGetCount (int *count) { return cudaGetDeviceCount (count); }

EXPORT CUresult
cuGetErrorName (CUresult error, const char **name)
{
  *name = cudaGetErrorName ((cudaError_t) error);
  return 0;
}

EXPORT CUresult
cuGetErrorString (CUresult error, const char **string)
{
  *string = cudaGetErrorString ((cudaError_t) error);
  return 0;
}

EXPORT CUresult
cuDeviceGet (int *device, int ordinal)
{
  *device = ordinal;
  return is_device (ordinal) ? cudaSuccess : cudaErrorInvalidDevice;
}

EXPORT CUresult
cuDeviceGetName (char *name, int size, int device)
{
  strncpy (name, "Emulated", (size_t) size);
  return is_device (device) ? cudaSuccess : cudaErrorInvalidDevice;
}

EXPORT CUresult
cuDeviceGetAttribute (int *value, int attribute, int device)
{
  enum { TEXTURE_ALIGNMENT = 14, UNIFIED_ADDRESSING = 41 };
  *value = attribute == TEXTURE_ALIGNMENT ? 512 : attribute == UNIFIED_ADDRESSING;
  if (attribute == cudaDevAttrComputeCapabilityMajor || attribute == cudaDevAttrComputeCapabilityMinor)
    return cudaDeviceGetAttribute (value, (cudaDeviceAttr) attribute, device);
  return 0;
}

EXPORT CUresult
cuDeviceCanAccessPeer (int *can, int, int)
{
  *can = 0;
  return 0;
}

EXPORT CUresult
cuCtxGetCurrent (CUcontext *context)
{
  *context = current ();
  return 0;
}

EXPORT CUresult
cuCtxPushCurrent_v2 (CUcontext context)
{
  stack.push_back (context);
  return 0;
}

EXPORT CUresult
cuCtxPopCurrent_v2 (CUcontext *context)
{
  if (stack.empty ())
    return INVALID_CONTEXT;
  if (context)
    *context = stack.back ();
  stack.pop_back ();
  return 0;
}

EXPORT CUresult
cuCtxCreate_v2 (CUcontext *context, unsigned, int device)
{
  if (!is_device (device))
    return cudaErrorInvalidDevice;
  stack.push_back (*context = new CUctx { device, false });
  vig_emu_count (1);
  return 0;
}

EXPORT CUresult
cuCtxDestroy_v2 (CUcontext context)
{
  if (context->primary)
    return INVALID_CONTEXT;
  if (!stack.empty () && stack.back () == context)
    stack.pop_back ();
  delete context;
  vig_emu_count (-1);
  return 0;
}

/* ---- memory ---- */

EXPORT CUresult
cuMemAlloc_v2 (CUdeviceptr *at, size_t size)
{
  void *memory = nullptr;
  CUresult error = cudaMalloc (&memory, size);
  std::lock_guard<std::mutex> guard (lock);
  *at = (CUdeviceptr) memory | (current ()->primary ? 0 : FOREIGN);
  if (error == 0)
    allocated[*at] = { size, current () };
  return error;
}

EXPORT CUresult
cuMemAllocPitch_v2 (CUdeviceptr *at, size_t *pitch, size_t width, size_t height, unsigned)
{
  *pitch = (width + 511) / 512 * 512;
  return cuMemAlloc_v2 (at, *pitch * height);
}

EXPORT CUresult
cuMemFree_v2 (CUdeviceptr at)
{
  {
    std::lock_guard<std::mutex> guard (lock);
    allocated.erase (at);
  }
  return cudaFree ((void *) (at & ~FOREIGN));
}

EXPORT CUresult cuMemAllocHost_v2 (void **memory, size_t size) { return cudaMallocHost (memory, size); }
EXPORT CUresult cuMemFreeHost (void *memory) { return cudaFreeHost (memory); }

EXPORT CUresult
cuMemcpy2DAsync_v2 (const Copy2D *c, cudaStream_t stream)
{
  void *from = (void *) c->src_host, *to = c->dst_host;
  const char *name;

  if (vig_emu_fails ("cuMemcpy2DAsync", &name))
    return cudaErrorInvalidValue;
  if ((c->src_type == DEVICE && !resolve (c->src_device, &from)) || (c->dst_type == DEVICE && !resolve (c->dst_device, &to))
      || (c->src_type != DEVICE && c->dst_type != DEVICE))
    return cudaErrorInvalidValue;
  cudaMemcpyKind kind = c->src_type == HOST ? cudaMemcpyHostToDevice : c->dst_type == HOST ? cudaMemcpyDeviceToHost
      : cudaMemcpyDeviceToDevice;
  return in_stream (stream, [=] (cudaStream_t s) {
    cudaError_t error = cudaSuccess;
    for (size_t y = 0; error == cudaSuccess && y < c->height; y++)
      error = cudaMemcpyAsync ((char *) to + (c->dst_y + y) * c->dst_pitch + c->dst_x,
          (char *) from + (c->src_y + y) * c->src_pitch + c->src_x, c->width, kind, s);
    return error;
  });
}

EXPORT CUresult cuMemcpy2D_v2 (const Copy2D *c) { return cuMemcpy2DAsync_v2 (c, nullptr); }

EXPORT CUresult
cuMemcpyHtoDAsync_v2 (CUdeviceptr to, const void *from, size_t size, cudaStream_t stream)
{
  Copy2D c = {};
  c.src_type = HOST, c.src_host = from, c.dst_type = DEVICE, c.dst_device = to, c.width = size, c.height = 1;
  return cuMemcpy2DAsync_v2 (&c, stream);
}

EXPORT CUresult cuMemcpyHtoD_v2 (CUdeviceptr to, const void *from, size_t size) { return cuMemcpyHtoDAsync_v2 (to, from, size, nullptr); }

/* ---- streams and events ---- */

EXPORT CUresult cuStreamCreate (cudaStream_t *stream, unsigned flags) { return cudaStreamCreateWithFlags (stream, flags); }
EXPORT CUresult cuStreamDestroy_v2 (cudaStream_t stream) { return cudaStreamDestroy (stream); }
EXPORT CUresult cuStreamSynchronize (cudaStream_t stream) { return stream ? cudaStreamSynchronize (stream) : 0; }
EXPORT CUresult cuEventCreate (cudaEvent_t *event, unsigned flags) { return cudaEventCreateWithFlags (event, flags); }
EXPORT CUresult cuEventDestroy_v2 (cudaEvent_t event) { return cudaEventDestroy (event); }
EXPORT CUresult cuEventRecord (cudaEvent_t event, cudaStream_t stream) { return stream ? cudaEventRecord (event, stream) : 0; }
EXPORT CUresult cuEventSynchronize (cudaEvent_t event) { return cudaEventSynchronize (event); }

/* ---- the rest ---- */

#define LACKS(name) EXPORT CUresult name (void) { return NOT_SUPPORTED; }
LACKS (cuCtxSynchronize)
LACKS (cuCtxEnablePeerAccess)
LACKS (cuCtxDisablePeerAccess)
LACKS (cuCtxGetLimit)
LACKS (cuCtxSetLimit)
LACKS (cuGraphicsMapResources)
LACKS (cuGraphicsUnmapResources)
LACKS (cuGraphicsResourceSetMapFlags_v2)
LACKS (cuGraphicsSubResourceGetMappedArray)
LACKS (cuGraphicsResourceGetMappedPointer_v2)
LACKS (cuGraphicsUnregisterResource)
LACKS (cuGraphicsGLRegisterImage)
LACKS (cuGraphicsGLRegisterBuffer)
LACKS (cuGLGetDevices_v2)
LACKS (cuMemcpyDtoD_v2)
LACKS (cuMemcpyDtoDAsync_v2)
LACKS (cuMemcpyDtoH_v2)
LACKS (cuMemcpyDtoHAsync_v2)
LACKS (cuMemsetD2D8_v2)
LACKS (cuMemsetD2D8Async)
LACKS (cuMemsetD2D16_v2)
LACKS (cuMemsetD2D16Async)
LACKS (cuMemsetD2D32_v2)
LACKS (cuMemsetD2D32Async)
LACKS (cuModuleLoadData)
LACKS (cuModuleUnload)
LACKS (cuModuleGetFunction)
LACKS (cuTexObjectCreate)
LACKS (cuTexObjectDestroy)
LACKS (cuLaunchKernel)
LACKS (cuIpcGetEventHandle)
LACKS (cuIpcOpenEventHandle)
LACKS (cuIpcGetMemHandle)
LACKS (cuIpcOpenMemHandle)
LACKS (cuIpcCloseMemHandle)
LACKS (cuExternalMemoryGetMappedBuffer)
LACKS (cuExternalMemoryGetMappedMipmappedArray)
LACKS (cuImportExternalMemory)
LACKS (cuImportExternalSemaphore)
LACKS (cuDestroyExternalMemory)
LACKS (cuDestroyExternalSemaphore)
LACKS (cuSignalExternalSemaphoresAsync)
LACKS (cuWaitExternalSemaphoresAsync)

void *
vig_emu_driver (const char *name)
{
  return strcmp (name, "cuCtxGetCurrent") == 0 ? (void *) cuCtxGetCurrent : nullptr;
}
