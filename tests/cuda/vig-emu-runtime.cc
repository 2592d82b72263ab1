/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "vig-emu-runtime.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <algorithm>
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

typedef std::vector<std::function<void ()>> Operations;

struct Operation {
  std::function<void ()> run;
  cudaStream_t other; /* must have run up to its number at; or NULL */
  uint64_t at;
};

struct vig_emu_stream {
  std::deque<Operation> queue;
  uint64_t enqueued = 0, done = 0;
  bool busy = false; /* in the middle of an operation */
  enum { NOT, VALID, INVALID } capture = NOT;
  Operations captured;
};

struct vig_emu_event {
  cudaStream_t stream = nullptr; /* where it was recorded last, at that stream's operation number at */
  uint64_t at = 0;
};

struct vig_emu_graph {
  Operations operations;
};

struct vig_emu_graph_exec {
  std::shared_ptr<Operations> operations; /* a replay that is enqueued keeps them */
};

namespace {

struct Emulator {
  std::recursive_mutex lock;
  std::map<uintptr_t, size_t> device, pinned; /* allocations: address to size */
  std::vector<cudaStream_t> streams;
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
thread_local cudaStream_t captured_here; /* by this thread */
thread_local int current_device;

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
  { cudaErrorStreamCaptureUnsupported, "cudaErrorStreamCaptureUnsupported", "operation not permitted when stream is capturing" },
  { cudaErrorStreamCaptureInvalidated, "cudaErrorStreamCaptureInvalidated", "operation failed due to a previous error during capture" },
  { cudaErrorStreamCaptureUnmatched, "cudaErrorStreamCaptureUnmatched", "capture was not initiated in this stream" },
  { cudaErrorStreamCaptureIsolation, "cudaErrorStreamCaptureIsolation", "dependency created on uncaptured work in another stream" },
  { cudaErrorStreamCaptureImplicit, "cudaErrorStreamCaptureImplicit", "operation would make the legacy stream depend on a capturing blocking stream" },
  { cudaErrorStreamCaptureWrongThread, "cudaErrorStreamCaptureWrongThread", "attempt to terminate a thread-local capture sequence from another thread" },
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

/* Ends the use of a capture: what was captured so far, and whatever follows, is lost. */
cudaError_t
invalidate (cudaStream_t stream, cudaError_t error)
{
  stream->capture = vig_emu_stream::INVALID;
  stream->captured.clear ();
  return failed (error);
}

/* As enter, for what may make the device or the host wait. */
cudaError_t
enter_waiting (const char *call, cudaError_t usual)
{
  cudaError_t error = enter (call, usual);
  return error == cudaSuccess && captured_here ? invalidate (captured_here, cudaErrorStreamCaptureUnsupported) : error;
}

bool
is_stream (cudaStream_t stream)
{
  const auto &all = emu ().streams;
  return std::find (all.begin (), all.end (), stream) != all.end ();
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

void
step (cudaStream_t stream)
{
  Emulator &e = emu ();
  const char *name;
  std::function<void ()> run = std::move (stream->queue.front ().run);

  stream->queue.pop_front ();
  if (e.lost == cudaSuccess && vig_emu_fails ("run", &name))
    e.lost = error_named (name, cudaErrorIllegalAddress);
  stream->busy = true;
  if (e.lost == cudaSuccess)
    run ();
  stream->busy = false;
  stream->done++;
}

/* Whether the stream's next operation waits for nothing. */
bool
is_able (cudaStream_t stream)
{
  if (stream->busy || stream->queue.empty ())
    return false;
  const Operation &next = stream->queue.front ();
  return !next.other || !is_stream (next.other) || next.other->done >= next.at;
}

/* A stream that may take a step now, but for one; NULL if there is none or the order wants none. */
cudaStream_t
choose (cudaStream_t but)
{
  std::vector<cudaStream_t> able;
  for (cudaStream_t s : emu ().streams)
    if (s != but && is_able (s))
      able.push_back (s);
  unsigned i = able.empty () ? 0 : vig_emu_choose ((unsigned) able.size () + 1);
  return i ? able[i - 1] : nullptr;
}

/* Runs the stream's operations up to number `until`, and in between and afterwards what the order has in mind. */
void
drain (cudaStream_t stream, uint64_t until)
{
  Emulator &e = emu ();
  if (stream->done >= until)
    return;
  if (e.running++ == 0)
    let_device_memory (true);
  while (stream->done < until) {
    if (cudaStream_t other = choose (stream))
      step (other);
    else
      step (stream);
  }
  while (cudaStream_t any = choose (nullptr))
    step (any);
  if (--e.running == 0)
    let_device_memory (false);
}

void
drain_all ()
{
  for (cudaStream_t s : emu ().streams)
    drain (s, s->enqueued);
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
  if (captured_here)
    return invalidate (captured_here, cudaErrorStreamCaptureUnsupported);
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

cudaError_t
vig_emu_enqueue (cudaStream_t stream, std::function<void ()> run)
{
  Lock lock (emu ().lock);
  if (emu ().lost != cudaSuccess)
    return failed (emu ().lost);
  if (!is_stream (stream))
    return captured_here ? invalidate (captured_here, cudaErrorStreamCaptureImplicit) : failed (cudaErrorInvalidResourceHandle);
  if (stream->capture == vig_emu_stream::INVALID)
    return failed (cudaErrorStreamCaptureInvalidated);
  if (stream->capture == vig_emu_stream::VALID) {
    stream->captured.push_back (std::move (run));
    return cudaSuccess;
  }
  stream->queue.push_back ({ std::move (run), nullptr, 0 });
  stream->enqueued++;
  return cudaSuccess;
}

cudaError_t
vig_emu_launch (cudaStream_t stream, std::function<void ()> run)
{
  Lock lock (emu ().lock);
  cudaError_t error = enter ("launch", cudaErrorLaunchOutOfResources);
  return error == cudaSuccess ? vig_emu_enqueue (stream, std::move (run)) : error;
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
  if (error == cudaSuccess && (device < 0 || device >= number ("VIG_EMU_DEVICES", 1)))
    error = failed (cudaErrorInvalidDevice);
  if (error == cudaSuccess)
    current_device = device;
  return error;
}

int
vig_emu_device (void)
{
  return current_device;
}

cudaError_t
cudaGetDriverEntryPointByVersion (const char *symbol, void **entry, unsigned, unsigned long long,
    cudaDriverEntryPointQueryResult *result)
{
  Lock lock (emu ().lock);
  cudaError_t error = enter ("cudaGetDriverEntryPointByVersion", cudaErrorInvalidValue);
  *entry = error == cudaSuccess ? vig_emu_driver (symbol) : nullptr;
  *result = *entry ? cudaDriverEntryPointSuccess : cudaDriverEntryPointSymbolNotFound;
  return error;
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
  cudaError_t error = enter_waiting ("cudaMalloc", cudaErrorMemoryAllocation);
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
  cudaError_t error = enter_waiting ("cudaMallocHost", cudaErrorMemoryAllocation);
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
  bool pinned = (!from_host || inside (e.pinned, from, size)) && (!to_host || inside (e.pinned, to, size));
  if (!pinned && is_stream (stream) && stream->capture != vig_emu_stream::NOT)
    return invalidate (stream, cudaErrorStreamCaptureUnsupported);
  if (from_host && !pinned) {
    auto copy = std::make_shared<std::vector<char>> ((const char *) from, (const char *) from + size);
    return vig_emu_enqueue (stream, [=] { memcpy (to, copy->data (), size); });
  }
  error = vig_emu_enqueue (stream, [=] { memcpy (to, from, size); });
  if (error == cudaSuccess && !pinned)
    drain (stream, stream->enqueued);
  return error == cudaSuccess ? failed (e.lost) : error;
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
  return vig_emu_enqueue (stream, [=] { memset (to, value, size); });
}

/* ---- streams and events ---- */

cudaError_t
cudaStreamCreateWithFlags (cudaStream_t *stream, unsigned)
{
  Lock lock (emu ().lock);
  cudaError_t error = enter ("cudaStreamCreateWithFlags", cudaErrorMemoryAllocation);
  if (error == cudaSuccess)
    emu ().streams.push_back (*stream = new vig_emu_stream);
  return error;
}

cudaError_t
cudaStreamDestroy (cudaStream_t stream)
{
  Lock lock (emu ().lock);
  auto &all = emu ().streams;
  if (!is_stream (stream))
    return failed (cudaErrorInvalidResourceHandle);
  drain (stream, stream->enqueued);
  all.erase (std::find (all.begin (), all.end (), stream));
  delete stream;
  return failed (emu ().lost);
}

cudaError_t
cudaStreamSynchronize (cudaStream_t stream)
{
  Lock lock (emu ().lock);
  cudaError_t error = enter_waiting ("cudaStreamSynchronize", cudaErrorUnknown);
  if (error == cudaSuccess && !is_stream (stream))
    return failed (cudaErrorInvalidResourceHandle);
  if (error == cudaSuccess && stream->capture != vig_emu_stream::NOT)
    return invalidate (stream, cudaErrorStreamCaptureUnsupported);
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
  if (error != cudaSuccess || !other)
    return error;
  if (is_stream (stream) && stream->capture != vig_emu_stream::NOT)
    return invalidate (stream, cudaErrorStreamCaptureIsolation);
  error = vig_emu_enqueue (stream, [=] {
    if (is_stream (other))
      drain (other, at);
  });
  if (error == cudaSuccess) {
    stream->queue.back ().other = other;
    stream->queue.back ().at = at;
  }
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
  if (error != cudaSuccess)
    return error;
  if (!is_stream (stream))
    return failed (cudaErrorInvalidResourceHandle);
  if (stream->capture != vig_emu_stream::NOT)
    return invalidate (stream, cudaErrorStreamCaptureUnsupported);
  event->stream = stream;
  event->at = stream->enqueued;
  return error;
}

cudaError_t
cudaEventSynchronize (cudaEvent_t event)
{
  Lock lock (emu ().lock);
  cudaError_t error = enter_waiting ("cudaEventSynchronize", cudaErrorUnknown);
  if (error == cudaSuccess && event->stream && is_stream (event->stream))
    drain (event->stream, event->at);
  return failed (emu ().lost != cudaSuccess ? emu ().lost : error);
}

/* ---- graphs ---- */

cudaError_t
cudaStreamBeginCapture (cudaStream_t stream, cudaStreamCaptureMode)
{
  Lock lock (emu ().lock);
  cudaError_t error = enter ("cudaStreamBeginCapture", cudaErrorStreamCaptureUnsupported);
  if (error != cudaSuccess)
    return error;
  if (!is_stream (stream))
    return failed (cudaErrorStreamCaptureUnsupported); /* stream 0 */
  if (captured_here || stream->capture != vig_emu_stream::NOT)
    return failed (cudaErrorInvalidValue);
  stream->capture = vig_emu_stream::VALID;
  captured_here = stream;
  return cudaSuccess;
}

cudaError_t
cudaStreamEndCapture (cudaStream_t stream, cudaGraph_t *graph)
{
  Lock lock (emu ().lock);
  cudaError_t error = enter ("cudaStreamEndCapture", cudaErrorStreamCaptureInvalidated);
  *graph = nullptr;
  if (!is_stream (stream) || stream->capture == vig_emu_stream::NOT)
    return failed (cudaErrorStreamCaptureUnmatched);
  if (captured_here != stream)
    return failed (cudaErrorStreamCaptureWrongThread);
  if (error == cudaSuccess && stream->capture == vig_emu_stream::INVALID)
    error = failed (cudaErrorStreamCaptureInvalidated);
  Operations captured = std::move (stream->captured);
  stream->captured.clear ();
  stream->capture = vig_emu_stream::NOT;
  captured_here = nullptr;
  if (error != cudaSuccess)
    return error;
  *graph = new vig_emu_graph { std::move (captured) };
  vig_emu_count (1);
  return cudaSuccess;
}

cudaError_t
cudaGraphInstantiate (cudaGraphExec_t *exec, cudaGraph_t graph, unsigned long long)
{
  Lock lock (emu ().lock);
  cudaError_t error = enter_waiting ("cudaGraphInstantiate", cudaErrorMemoryAllocation);
  if (error != cudaSuccess)
    return error;
  *exec = new vig_emu_graph_exec { std::make_shared<Operations> (graph->operations) };
  vig_emu_count (1);
  return cudaSuccess;
}

cudaError_t
cudaGraphLaunch (cudaGraphExec_t exec, cudaStream_t stream)
{
  Lock lock (emu ().lock);
  cudaError_t error = enter ("cudaGraphLaunch", cudaErrorLaunchOutOfResources);
  auto operations = exec->operations;
  for (size_t i = 0; error == cudaSuccess && i < operations->size (); i++)
    error = vig_emu_enqueue (stream, [operations, i] { (*operations)[i] (); });
  return error;
}

cudaError_t
cudaGraphDestroy (cudaGraph_t graph)
{
  Lock lock (emu ().lock);
  delete graph;
  vig_emu_count (-1);
  return failed (emu ().lost);
}

/* One that is in flight ends first. */
cudaError_t
cudaGraphExecDestroy (cudaGraphExec_t exec)
{
  Lock lock (emu ().lock);
  delete exec;
  vig_emu_count (-1);
  return failed (emu ().lost);
}
