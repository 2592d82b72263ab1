/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The CUDA runtime on the host's memory, for kernels/cuda/ compiled as C++: the calls that it uses, no more.
 *
 * - Streams run as late as allowed: nothing runs until something waits. What is read, reused or freed before its turn
 *   therefore shows. Then the order of threads (vig-emu.h) is that of streams too. Forward: only what is waited for runs.
 *   Reverse: all that other streams can do first, and the rest of the stream at last. Shuffle: now these, now those. What
 *   must not run before something else, or before the host has read a result, therefore shows in one of them.
 * - Device memory is host memory filled with NaNs. Under AddressSanitizer the host may not touch it: it is poisoned but
 *   while operations run. A copy outside one allocation, or in the wrong direction, is refused.
 * - Copies from memory that is not pinned read it at once, as CUDA does; from pinned memory, when their turn comes.
 *   Copies to memory that is not pinned wait.
 * - A stream that is captured runs nothing; what it is given, arguments and all, is kept for the graph. Meanwhile the thread
 *   that captures may not allocate, free or wait, no copy may be from or to memory that is not pinned, the stream takes no
 *   events (CUDA has a use for them; here there is none), and there is no stream 0. One such call and the capture is
 *   invalid. Each operation of a replay is an operation on the device.
 * - VIG_EMU_FAIL=CALL:N[:ERROR] makes the N-th call fail (counted from vig_emu_reset ()). CALL is a function's name,
 *   "launch" for a kernel launch, or "run" for an operation on the device: after that the device is lost, and every
 *   call fails with the same error.
 * - VIG_EMU_DEVICES (1), VIG_EMU_SM (90): how many devices there are, and their compute capability. VIG_EMU_MEMORY: how
 *   many bytes they have (all of the host's).
 *
 * Not shown here: anything of time, order between streams that only chance decides, memory that the driver keeps.
 */
#ifndef VIG_EMU_RUNTIME_H
#define VIG_EMU_RUNTIME_H

#include <stddef.h>

#include <functional>

#define CUDART_VERSION 13000

/* The numbers are CUDA's. */
enum cudaError_t {
  cudaSuccess = 0,
  cudaErrorInvalidValue = 1,
  cudaErrorMemoryAllocation = 2,
  cudaErrorInvalidConfiguration = 9,
  cudaErrorInsufficientDriver = 35,
  cudaErrorDevicesUnavailable = 46,
  cudaErrorNoDevice = 100,
  cudaErrorInvalidDevice = 101,
  cudaErrorNoKernelImageForDevice = 209,
  cudaErrorECCUncorrectable = 214,
  cudaErrorInvalidResourceHandle = 400,
  cudaErrorNotReady = 600,
  cudaErrorIllegalAddress = 700,
  cudaErrorLaunchOutOfResources = 701,
  cudaErrorLaunchFailure = 719,
  cudaErrorStreamCaptureUnsupported = 900,
  cudaErrorStreamCaptureInvalidated = 901,
  cudaErrorStreamCaptureUnmatched = 903,
  cudaErrorStreamCaptureIsolation = 905,
  cudaErrorStreamCaptureImplicit = 906,
  cudaErrorStreamCaptureWrongThread = 908,
  cudaErrorUnknown = 999
};

enum cudaMemcpyKind { cudaMemcpyHostToDevice = 1, cudaMemcpyDeviceToHost = 2, cudaMemcpyDeviceToDevice = 3 };

enum cudaDeviceAttr {
  cudaDevAttrMultiProcessorCount = 16,
  cudaDevAttrComputeCapabilityMajor = 75,
  cudaDevAttrComputeCapabilityMinor = 76,
  cudaDevAttrMaxSharedMemoryPerBlockOptin = 97
};

struct cudaFuncAttributes {
  int numRegs;
};

typedef struct vig_emu_stream *cudaStream_t;
typedef struct vig_emu_event *cudaEvent_t;
typedef struct vig_emu_graph *cudaGraph_t;
typedef struct vig_emu_graph_exec *cudaGraphExec_t;

enum { cudaStreamNonBlocking = 1, cudaEventDisableTiming = 2 };
enum cudaStreamCaptureMode { cudaStreamCaptureModeThreadLocal = 1 };

enum { cudaEnableDefault = 0 };
enum cudaDriverEntryPointQueryResult { cudaDriverEntryPointSuccess = 0, cudaDriverEntryPointSymbolNotFound = 1 };

cudaError_t cudaDriverGetVersion (int *version);
cudaError_t cudaGetDriverEntryPointByVersion (const char *symbol, void **entry, unsigned version, unsigned long long flags,
    cudaDriverEntryPointQueryResult *result);
cudaError_t cudaGetDeviceCount (int *count);
cudaError_t cudaSetDevice (int device);
cudaError_t cudaDeviceGetAttribute (int *value, cudaDeviceAttr attribute, int device);
cudaError_t cudaFuncGetAttributes (cudaFuncAttributes *attributes, const void *kernel);
cudaError_t cudaGetLastError (void);
const char *cudaGetErrorName (cudaError_t error);
const char *cudaGetErrorString (cudaError_t error);

cudaError_t cudaMalloc (void **memory, size_t size);
cudaError_t cudaFree (void *memory);
cudaError_t cudaMallocHost (void **memory, size_t size);
cudaError_t cudaFreeHost (void *memory);
cudaError_t cudaMemcpyAsync (void *to, const void *from, size_t size, cudaMemcpyKind kind, cudaStream_t stream);
cudaError_t cudaMemsetAsync (void *to, int value, size_t size, cudaStream_t stream);

cudaError_t cudaStreamCreateWithFlags (cudaStream_t *stream, unsigned flags);
cudaError_t cudaStreamDestroy (cudaStream_t stream);
cudaError_t cudaStreamSynchronize (cudaStream_t stream);
cudaError_t cudaStreamWaitEvent (cudaStream_t stream, cudaEvent_t event, unsigned flags = 0);
cudaError_t cudaEventCreateWithFlags (cudaEvent_t *event, unsigned flags);
cudaError_t cudaEventDestroy (cudaEvent_t event);
cudaError_t cudaEventRecord (cudaEvent_t event, cudaStream_t stream);
cudaError_t cudaEventSynchronize (cudaEvent_t event);

cudaError_t cudaStreamBeginCapture (cudaStream_t stream, cudaStreamCaptureMode mode);
cudaError_t cudaStreamEndCapture (cudaStream_t stream, cudaGraph_t *graph);
cudaError_t cudaGraphInstantiate (cudaGraphExec_t *exec, cudaGraph_t graph, unsigned long long flags);
cudaError_t cudaGraphLaunch (cudaGraphExec_t exec, cudaStream_t stream);
cudaError_t cudaGraphDestroy (cudaGraph_t graph);
cudaError_t cudaGraphExecDestroy (cudaGraphExec_t exec);

/* ---- for the other parts of the emulator ---- */

/* A kernel launch: @run does the whole grid when its turn comes. */
cudaError_t vig_emu_launch (cudaStream_t stream, std::function<void ()> run);

/* Any other operation. */
cudaError_t vig_emu_enqueue (cudaStream_t stream, std::function<void ()> run);

/* One of 0 .. n - 1: the first, the last or any, as the order has it. */
unsigned vig_emu_choose (unsigned n);

/* Whether VIG_EMU_FAIL means this call; *error: what its third part says, or 0. */
bool vig_emu_fails (const char *call, const char **error);

/* ---- for tests ---- */

extern "C" {
/* Counts from zero again, and makes a lost device whole. */
__attribute__ ((visibility ("default"))) void vig_emu_reset (void);
/* How many streams, events, graphs and pieces of memory there are, of the device or pinned. */
__attribute__ ((visibility ("default"))) int vig_emu_live (void);
/* How often a call, as VIG_EMU_FAIL names it, was made since vig_emu_reset (). */
__attribute__ ((visibility ("default"))) int vig_emu_calls (const char *call);
}

/* Adds to the count of vig_emu_live (). */
void vig_emu_count (int n);

/* The device of the calling thread, as it has set it. */
int vig_emu_device (void);

/* A function of the driver (vig-emu-driver.cc); NULL: there is none of this name. */
void *vig_emu_driver (const char *name);

#endif
