/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "vig-emu-runtime.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#if defined __SANITIZE_ADDRESS__
#include <sanitizer/asan_interface.h>
#else
#define ASAN_POISON_MEMORY_REGION(memory, size) ((void) (memory), (void) (size))
#define ASAN_UNPOISON_MEMORY_REGION(memory, size) ((void) (memory), (void) (size))
#endif

struct vig_emu_stream {
  std::deque<std::function<void ()>> queue;
  uint64_t enqueued = 0, done = 0;
};

struct vig_emu_event {
  cudaStream_t stream = nullptr; /* where it was recorded last, at that stream's operation number at */
  uint64_t at = 0;
};

namespace {

struct Emulator {
  std::recursive_mutex lock;
  std::map<uintptr_t, size_t> device, pinned; /* allocations: address to size */
  std::map<cudaStream_t, int> streams;
  std::map<std::string, int> calls;
  int others = 0; /* events, and what vig_emu_count () says */
  int running = 0;
  cudaError_t lost = cudaSuccess;
};

/* Never destroyed: what still runs at the process's end may use it. */
Emulator &
emu ()
{
  static Emulator *e = new Emulator;
  return *e;
}

typedef std::lock_guard<std::recursive_mutex> Lock;

thread_local cudaError_t last_error;

const struct { cudaError_t error; const char *name, *string; } errors[] = {
  { cudaSuccess, "cudaSuccess", "no error" },
  { cudaErrorInvalidValue, "cudaErrorInvalidValue", "invalid argument" },
  { cudaErrorMemoryAllocation, "cudaErrorMemoryAllocation", "out of memory" },
  { cudaErrorInvalidConfiguration, "cudaErrorInvalidConfiguration", "invalid configuration argument" },
  { cudaErrorInsufficientDriver, "cudaErrorInsufficientDriver", "CUDA driver version is insufficient for CUDA runtime version" },
  { cudaErrorDevicesUnavailable, "cudaErrorDevicesUnavailable", "CUDA-capable device(s) is/are busy or unavailable" },
  { cudaErrorNoDevice, "cudaErrorNoDevice", "no CUDA-capable device is detected" },
  { cudaErrorInvalidDevice, "cudaErrorInvalidDevice", "invalid device ordinal" },
  { cudaErrorNoKernelImageForDevice, "cudaErrorNoKernelImageForDevice", "no kernel image is available for execution on the device" },
  { cudaErrorECCUncorrectable, "cudaErrorECCUncorrectable", "uncorrectable ECC error encountered" },
  { cudaErrorInvalidResourceHandle, "cudaErrorInvalidResourceHandle", "invalid resource handle" },
  { cudaErrorNotReady, "cudaErrorNotReady", "device not ready" },
  { cudaErrorIllegalAddress, "cudaErrorIllegalAddress", "an illegal memory access was encountered" },
  { cudaErrorLaunchOutOfResources, "cudaErrorLaunchOutOfResources", "too many resources requested for launch" },
  { cudaErrorLaunchFailure, "cudaErrorLaunchFailure", "unspecified launch failure" },
  { cudaErrorUnknown, "cudaErrorUnknown", "unknown error" },
};

cudaError_t
error_named (const char *name, cudaError_t otherwise)
{
  if (!name || !*name)
    return otherwise;
  for (const auto &e : errors)
    if (strcmp (e.name, name) == 0)
      return e.error;
  fprintf (stderr, "VIG_EMU_FAIL: expected the name of a CUDA error, found \"%s\"\n", name);
  abort ();
}

int
number (const char *variable, int otherwise)
{
  const char *s = getenv (variable);
  return s ? atoi (s) : otherwise;
}

cudaError_t
failed (cudaError_t error)
{
  if (error != cudaSuccess)
    last_error = error;
  return error;
}

/* What a call begins with: the error to give back, if any. */
cudaError_t
enter (const char *call, cudaError_t usual)
{
  const char *name;
  if (emu ().lost != cudaSuccess)
    return failed (emu ().lost);
  return vig_emu_fails (call, &name) ? failed (error_named (name, usual)) : cudaSuccess;
}

bool
inside (const std::map<uintptr_t, size_t> &memory, const void *from, size_t size)
{
  uintptr_t at = (uintptr_t) from;
  auto i = memory.upper_bound (at);
  return i != memory.begin () && (--i, at - i->first <= i->second && size <= i->second - (at - i->first));
}

/* Whether any byte of it is the device's. */
bool
touches_device (const void *from, size_t size)
{
  uintptr_t at = (uintptr_t) from;
  auto i = emu ().device.lower_bound (at + size);
  return i != emu ().device.begin () && (--i, i->first + i->second > at);
}

void
let_device_memory (bool open)
{
  for (const auto &m : emu ().device)
    if (open)
      ASAN_UNPOISON_MEMORY_REGION ((void *) m.first, m.second);
    else
      ASAN_POISON_MEMORY_REGION ((void *) m.first, m.second);
}

/* Runs the stream's operations up to number `until`. */
void
drain (cudaStream_t stream, uint64_t until)
{
  Emulator &e = emu ();
  if (stream->done >= until)
    return;
  if (e.running++ == 0)
    let_device_memory (true);
  while (stream->done < until) {
    const char *name;
    std::function<void ()> run = std::move (stream->queue.front ());
    stream->queue.pop_front ();
    stream->done++;
    if (e.lost == cudaSuccess && vig_emu_fails ("run", &name))
      e.lost = error_named (name, cudaErrorIllegalAddress);
    if (e.lost == cudaSuccess)
      run ();
  }
  if (--e.running == 0)
    let_device_memory (false);
}

void
drain_all ()
{
  for (const auto &s : emu ().streams)
    drain (s.first, s.first->enqueued);
}

cudaError_t
allocate (std::map<uintptr_t, size_t> &memory, void **to, size_t size)
{
  void *p = nullptr;
  *to = nullptr;
  if (size == 0)
    return cudaSuccess;
  if (posix_memalign (&p, 256, size))
    return failed (cudaErrorMemoryAllocation);
  memset (p, 0xff, size);
  memory[(uintptr_t) p] = size;
  *to = p;
  return cudaSuccess;
}

cudaError_t
release (std::map<uintptr_t, size_t> &memory, void *p)
{
  if (!p)
    return emu ().lost;
  auto i = memory.find ((uintptr_t) p);
  if (i == memory.end ())
    return failed (cudaErrorInvalidValue);
  drain_all ();
  ASAN_UNPOISON_MEMORY_REGION (p, i->second);
  memory.erase (i);
  free (p);
  return failed (emu ().lost);
}

} /* namespace */

/* ---- for the emulator and tests ---- */

bool
vig_emu_fails (const char *call, const char **error)
{
  Lock lock (emu ().lock);
  const char *fail = getenv ("VIG_EMU_FAIL");
  int nth = ++emu ().calls[call];
  size_t length = strlen (call);
  char *rest;
  if (!fail || strncmp (fail, call, length) != 0 || fail[length] != ':' || strtol (fail + length + 1, &rest, 10) != nth)
    return false;
  *error = *rest == ':' ? rest + 1 : nullptr;
  return true;
}

bool
vig_emu_enqueue (cudaStream_t stream, std::function<void ()> run)
{
  Lock lock (emu ().lock);
  if (emu ().lost != cudaSuccess)
    return false;
  stream->queue.push_back (std::move (run));
  stream->enqueued++;
  return true;
}

cudaError_t
vig_emu_launch (cudaStream_t stream, std::function<void ()> run)
{
  Lock lock (emu ().lock);
  cudaError_t error = enter ("launch", cudaErrorLaunchOutOfResources);
  if (error == cudaSuccess)
    vig_emu_enqueue (stream, std::move (run));
  return error;
}

void
vig_emu_count (int n)
{
  Lock lock (emu ().lock);
  emu ().others += n;
}

void
vig_emu_reset (void)
{
  Lock lock (emu ().lock);
  emu ().calls.clear ();
  emu ().lost = last_error = cudaSuccess;
}

int
vig_emu_live (void)
{
  Lock lock (emu ().lock);
  Emulator &e = emu ();
  return (int) (e.device.size () + e.pinned.size () + e.streams.size ()) + e.others;
}

int
vig_emu_calls (const char *call)
{
  Lock lock (emu ().lock);
  return emu ().calls[call];
}

/* ---- devices and errors ---- */

cudaError_t
cudaDriverGetVersion (int *version)
{
  Lock lock (emu ().lock);
  *version = number ("VIG_EMU_DRIVER", 13000);
  return cudaSuccess;
}

cudaError_t
cudaGetDeviceCount (int *count)
{
  Lock lock (emu ().lock);
  cudaError_t error = enter ("cudaGetDeviceCount", cudaErrorNoDevice);
  *count = error == cudaSuccess ? number ("VIG_EMU_DEVICES", 1) : 0;
  return error;
}

cudaError_t
cudaSetDevice (int device)
{
  Lock lock (emu ().lock);
  cudaError_t error = enter ("cudaSetDevice", cudaErrorDevicesUnavailable);
  return error != cudaSuccess || (device >= 0 && device < number ("VIG_EMU_DEVICES", 1)) ? error
      : failed (cudaErrorInvalidDevice);
}

cudaError_t
cudaDeviceGetAttribute (int *value, cudaDeviceAttr attribute, int device)
{
  Lock lock (emu ().lock);
  int sm = number ("VIG_EMU_SM", 90);
  switch (attribute) {
    case cudaDevAttrMultiProcessorCount: *value = 4; break;
    case cudaDevAttrComputeCapabilityMajor: *value = sm / 10; break;
    case cudaDevAttrComputeCapabilityMinor: *value = sm % 10; break;
    case cudaDevAttrMaxSharedMemoryPerBlockOptin: /* bytes, the CUDA programming guide's table of compute capabilities */
      *value = 1024 * (sm == 75 ? 64 : sm == 80 ? 163 : sm == 86 || sm == 89 || sm >= 120 ? 99 : 227);
      break;
  }
  return enter ("cudaDeviceGetAttribute", cudaErrorInvalidValue);
}

cudaError_t
cudaFuncGetAttributes (cudaFuncAttributes *attributes, const void *)
{
  Lock lock (emu ().lock);
  *attributes = cudaFuncAttributes ();
  return enter ("cudaFuncGetAttributes", cudaErrorNoKernelImageForDevice);
}

cudaError_t
cudaGetLastError (void)
{
  Lock lock (emu ().lock);
  cudaError_t error = emu ().lost != cudaSuccess ? emu ().lost : last_error;
  last_error = cudaSuccess;
  return error;
}

const char *
cudaGetErrorName (cudaError_t error)
{
  for (const auto &e : errors)
    if (e.error == error)
      return e.name;
  return "unrecognized error code";
}

const char *
cudaGetErrorString (cudaError_t error)
{
  for (const auto &e : errors)
    if (e.error == error)
      return e.string;
  return "unrecognized error code";
}

/* ---- memory ---- */

static bool
fits (size_t size)
{
  const char *limit = getenv ("VIG_EMU_MEMORY");
  for (const auto &m : emu ().device)
    size += m.second;
  return !limit || size <= strtoull (limit, nullptr, 10);
}

cudaError_t
cudaMalloc (void **memory, size_t size)
{
  Lock lock (emu ().lock);
  cudaError_t error = enter ("cudaMalloc", cudaErrorMemoryAllocation);
  if (error == cudaSuccess && !fits (size))
    error = failed (cudaErrorMemoryAllocation);
  if (error == cudaSuccess)
    error = allocate (emu ().device, memory, size);
  if (error == cudaSuccess)
    ASAN_POISON_MEMORY_REGION (*memory, size);
  return error;
}

/* Waits for the device, as CUDA's does; gives the memory back even when the device is lost. */
cudaError_t
cudaFree (void *memory)
{
  Lock lock (emu ().lock);
  return release (emu ().device, memory);
}

cudaError_t
cudaMallocHost (void **memory, size_t size)
{
  Lock lock (emu ().lock);
  cudaError_t error = enter ("cudaMallocHost", cudaErrorMemoryAllocation);
  return error == cudaSuccess ? allocate (emu ().pinned, memory, size) : error;
}

cudaError_t
cudaFreeHost (void *memory)
{
  Lock lock (emu ().lock);
  return release (emu ().pinned, memory);
}

cudaError_t
cudaMemcpyAsync (void *to, const void *from, size_t size, cudaMemcpyKind kind, cudaStream_t stream)
{
  Lock lock (emu ().lock);
  Emulator &e = emu ();
  bool to_host = kind == cudaMemcpyDeviceToHost, from_host = kind == cudaMemcpyHostToDevice;
  cudaError_t error = enter ("cudaMemcpyAsync", cudaErrorInvalidValue);

  if (error != cudaSuccess || size == 0)
    return error;
  if ((to_host ? touches_device (to, size) : !inside (e.device, to, size))
      || (from_host ? touches_device (from, size) : !inside (e.device, from, size)))
    return failed (cudaErrorInvalidValue);
  if (from_host && !inside (e.pinned, from, size)) {
    auto copy = std::make_shared<std::vector<char>> ((const char *) from, (const char *) from + size);
    vig_emu_enqueue (stream, [=] { memcpy (to, copy->data (), size); });
  } else
    vig_emu_enqueue (stream, [=] { memcpy (to, from, size); });
  if (to_host && !inside (e.pinned, to, size))
    drain (stream, stream->enqueued);
  return failed (e.lost);
}

cudaError_t
cudaMemsetAsync (void *to, int value, size_t size, cudaStream_t stream)
{
  Lock lock (emu ().lock);
  cudaError_t error = enter ("cudaMemsetAsync", cudaErrorInvalidValue);
  if (error != cudaSuccess || size == 0)
    return error;
  if (!inside (emu ().device, to, size))
    return failed (cudaErrorInvalidValue);
  vig_emu_enqueue (stream, [=] { memset (to, value, size); });
  return cudaSuccess;
}

/* ---- streams and events ---- */

cudaError_t
cudaStreamCreateWithFlags (cudaStream_t *stream, unsigned)
{
  Lock lock (emu ().lock);
  cudaError_t error = enter ("cudaStreamCreateWithFlags", cudaErrorMemoryAllocation);
  if (error == cudaSuccess)
    emu ().streams[*stream = new vig_emu_stream] = 1;
  return error;
}

cudaError_t
cudaStreamDestroy (cudaStream_t stream)
{
  Lock lock (emu ().lock);
  if (!emu ().streams.count (stream))
    return failed (cudaErrorInvalidResourceHandle);
  drain (stream, stream->enqueued);
  emu ().streams.erase (stream);
  delete stream;
  return failed (emu ().lost);
}

cudaError_t
cudaStreamSynchronize (cudaStream_t stream)
{
  Lock lock (emu ().lock);
  cudaError_t error = enter ("cudaStreamSynchronize", cudaErrorUnknown);
  if (error == cudaSuccess)
    drain (stream, stream->enqueued);
  return failed (emu ().lost != cudaSuccess ? emu ().lost : error);
}

/* An operation that runs the other stream up to the event. */
cudaError_t
cudaStreamWaitEvent (cudaStream_t stream, cudaEvent_t event, unsigned)
{
  Lock lock (emu ().lock);
  cudaError_t error = enter ("cudaStreamWaitEvent", cudaErrorInvalidResourceHandle);
  cudaStream_t other = event->stream;
  uint64_t at = event->at;
  if (error == cudaSuccess && other)
    vig_emu_enqueue (stream, [=] {
      if (emu ().streams.count (other))
        drain (other, at);
    });
  return error;
}

cudaError_t
cudaEventCreateWithFlags (cudaEvent_t *event, unsigned)
{
  Lock lock (emu ().lock);
  cudaError_t error = enter ("cudaEventCreateWithFlags", cudaErrorMemoryAllocation);
  if (error == cudaSuccess) {
    *event = new vig_emu_event;
    vig_emu_count (1);
  }
  return error;
}

cudaError_t
cudaEventDestroy (cudaEvent_t event)
{
  Lock lock (emu ().lock);
  delete event;
  vig_emu_count (-1);
  return failed (emu ().lost);
}

cudaError_t
cudaEventRecord (cudaEvent_t event, cudaStream_t stream)
{
  Lock lock (emu ().lock);
  cudaError_t error = enter ("cudaEventRecord", cudaErrorInvalidResourceHandle);
  if (error == cudaSuccess) {
    event->stream = stream;
    event->at = stream->enqueued;
  }
  return error;
}

cudaError_t
cudaEventSynchronize (cudaEvent_t event)
{
  Lock lock (emu ().lock);
  cudaError_t error = enter ("cudaEventSynchronize", cudaErrorUnknown);
  if (error == cudaSuccess && event->stream && emu ().streams.count (event->stream))
    drain (event->stream, event->at);
  return failed (emu ().lost != cudaSuccess ? emu ().lost : error);
}
