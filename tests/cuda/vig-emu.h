/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * CUDA on the CPU, for tests: the names that kernels/cuda/device.cuh gives to kernels, as C++17.
 *
 * A grid runs block after block, a block's threads as fibres of one host thread: each runs until it waits for others at
 * a barrier, shuffle or matrix instruction, then the next one has its turn, in the order of VIG_EMU_ORDER (forward,
 * reverse, or shuffle:SEED, another permutation at every turn; blocks likewise). Of that follows what it finds:
 *   - a race between two barriers: a thread sees another's value too early or too late, in one of the orders
 *   - a read of what nobody wrote: shared memory is NaN (0xff) at the start of every block
 *   - an access outside (under AddressSanitizer): shared memory is a heap block of just the bytes of the launch
 *   - a use of what cp.async brings before it is waited for: until then the destination is NaN
 *   - a wrong lane map: mma and ldmatrix move every element as PTX has it
 *   - lanes that miss a warp-wide operation or differ in their mask, barriers that some threads miss, addresses off their
 *     boundary, more shared memory or threads than there are: a message and abort ()
 * What it cannot find: missing memory fences and volatile accesses, races that give the same value in every order,
 * lanes that rely on running in step without __syncwarp where the order happens to suit them, bank conflicts, occupancy,
 * registers, and the roundings of the hardware's own functions: expf and the like are the C library's here, and sums
 * of matrix products are exact before they are cut off to fp32.
 */
#ifndef VIG_EMU_H
#define VIG_EMU_H

#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <functional>

#ifndef VIG_SM
#define VIG_SM 80
#endif

/* `#pragma unroll` is nvcc's */
#pragma GCC diagnostic ignored "-Wunknown-pragmas"

#define __global__
#define __device__
#define __host__
#define __forceinline__ inline __attribute__ ((always_inline))
#define __launch_bounds__(...)
#define __align__(n) __attribute__ ((aligned (n)))

/* ---- vectors -------------------------------------------------------------------------------------------------- */

struct __align__ (8) float2 { float x, y; };
struct __align__ (16) float4 { float x, y, z, w; };
struct __align__ (8) int2 { int x, y; };
struct __align__ (16) int4 { int x, y, z, w; };
struct __align__ (8) uint2 { unsigned x, y; };
struct __align__ (16) uint4 { unsigned x, y, z, w; };
struct uint3 { unsigned x, y, z; };

inline float2 make_float2 (float x, float y) { return { x, y }; }
inline float4 make_float4 (float x, float y, float z, float w) { return { x, y, z, w }; }
inline int2 make_int2 (int x, int y) { return { x, y }; }
inline int4 make_int4 (int x, int y, int z, int w) { return { x, y, z, w }; }
inline uint2 make_uint2 (unsigned x, unsigned y) { return { x, y }; }
inline uint4 make_uint4 (unsigned x, unsigned y, unsigned z, unsigned w) { return { x, y, z, w }; }

struct dim3 {
  unsigned x, y, z;
  constexpr dim3 (unsigned nx = 1, unsigned ny = 1, unsigned nz = 1) : x (nx), y (ny), z (nz) {}
};

extern "C" {
#include "numbers.h"
}
#include "vig-emu-runtime.h"

/* ---- launch --------------------------------------------------------------------------------------------------- */

/* Of the thread that runs now; set before each turn. */
extern uint3 threadIdx, blockIdx;
extern dim3 blockDim, gridDim;

/* Says where (kernel, block, thread) and what, and aborts. */
[[noreturn]] void vig_emu_fail (const char *format, ...) __attribute__ ((format (printf, 1, 2)));

/* Runs a grid now. One grid at a time: callers on other threads wait. */
void vig_emu_run (const char *name, dim3 grid, dim3 block, size_t shared, const std::function<void ()> &kernel);

/* What a launch of this shape gives: cudaSuccess or cudaErrorInvalidConfiguration. */
cudaError_t vig_emu_check_launch (dim3 grid, dim3 block, size_t shared);

/* Instead of VIG_EMU_ORDER, in its syntax; false if it is none. For tests in C too. */
extern "C" __attribute__ ((visibility ("default"))) bool vig_emu_set_order (const char *order);

#define VIG_LAUNCH(...) vig_launch (#__VA_ARGS__, __VA_ARGS__)

template <typename... P, typename... A>
inline cudaError_t
vig_launch (const char *name, void (*kernel) (P...), dim3 grid, dim3 block, size_t shared, cudaStream_t stream, A... args)
{
  cudaError_t error = vig_emu_check_launch (grid, block, shared);
  if (error != cudaSuccess)
    return error;
  return vig_emu_launch (stream, [=] {
    vig_emu_run (name, grid, block, shared, [=] { kernel (static_cast<P> (args)...); });
  });
}

/* ---- memory --------------------------------------------------------------------------------------------------- */

void *vig_emu_shared ();
void vig_emu_check_aligned (const void *p, size_t boundary);

template <typename T>
inline T *
vig_shared ()
{
  return static_cast<T *> (vig_emu_shared ());
}

template <typename V, typename T>
inline V
vig_load (const T *p)
{
  V v;
  vig_emu_check_aligned (p, sizeof v);
  memcpy (&v, p, sizeof v);
  return v;
}

template <typename V, typename T>
inline void
vig_store (T *p, V value)
{
  vig_emu_check_aligned (p, sizeof value);
  memcpy (static_cast<void *> (p), &value, sizeof value);
}

template <typename T>
inline T
__ldg (const T *p)
{
  return *p;
}

void vig_cp_async16 (void *shared, const void *global, bool valid = true);
void vig_cp_async_commit ();
void vig_emu_cp_async_wait (int n);

template <int n>
inline void
vig_cp_async_wait ()
{
  vig_emu_cp_async_wait (n);
}

/* ---- barriers, shuffles, votes -------------------------------------------------------------------------------- */

void __syncthreads ();
void vig_barrier (int id, int n_threads);
void __syncwarp (unsigned mask = 0xffffffff);
unsigned __ballot_sync (unsigned mask, int predicate);

inline int
__any_sync (unsigned mask, int predicate)
{
  return __ballot_sync (mask, predicate) != 0;
}

inline int
__all_sync (unsigned mask, int predicate)
{
  return __ballot_sync (mask, predicate) == mask;
}

enum VigEmuShuffle { VIG_EMU_IDX, VIG_EMU_UP, VIG_EMU_DOWN, VIG_EMU_XOR };

/* value of another lane as CUDA's __shfl_*_sync has it; of a lane outside the mask, all bits set. */
uint64_t vig_emu_shuffle (VigEmuShuffle how, unsigned mask, uint64_t value, int lane, int width);

template <typename T>
inline T
vig_emu_shuffle_as (VigEmuShuffle how, unsigned mask, T value, int lane, int width)
{
  static_assert (sizeof value == 4 || sizeof value == 8, "shuffles move 4 or 8 bytes");
  uint64_t bits = 0;
  memcpy (&bits, &value, sizeof value);
  bits = vig_emu_shuffle (how, mask, bits, lane, width);
  memcpy (&value, &bits, sizeof value);
  return value;
}

template <typename T>
inline T
__shfl_sync (unsigned mask, T value, int lane, int width = 32)
{
  return vig_emu_shuffle_as (VIG_EMU_IDX, mask, value, lane, width);
}

template <typename T>
inline T
__shfl_up_sync (unsigned mask, T value, unsigned delta, int width = 32)
{
  return vig_emu_shuffle_as (VIG_EMU_UP, mask, value, (int) delta, width);
}

template <typename T>
inline T
__shfl_down_sync (unsigned mask, T value, unsigned delta, int width = 32)
{
  return vig_emu_shuffle_as (VIG_EMU_DOWN, mask, value, (int) delta, width);
}

template <typename T>
inline T
__shfl_xor_sync (unsigned mask, T value, int lane_mask, int width = 32)
{
  return vig_emu_shuffle_as (VIG_EMU_XOR, mask, value, lane_mask, width);
}

/* ---- tensor cores --------------------------------------------------------------------------------------------- */

void vig_mma_m16n8k16_bf16 (float d[4], const uint32_t a[4], const uint32_t b[2]);
void vig_mma_m16n8k16_f16 (float d[4], const uint32_t a[4], const uint32_t b[2]);
void vig_mma_m16n8k8_tf32 (float d[4], const uint32_t a[4], const uint32_t b[2]);

inline uint32_t
vig_tf32 (float x)
{
  const uint32_t bits = vig_bits_of_f32 (x);
  return isfinite (x) ? (bits + 0x1000) & 0xffffe000 : bits;
}

void vig_ldmatrix_x4 (uint32_t r[4], const void *row);
void vig_ldmatrix_x4_trans (uint32_t r[4], const void *row);
void vig_ldmatrix_x2 (uint32_t r[2], const void *row);
void vig_ldmatrix_x2_trans (uint32_t r[2], const void *row);

/* ---- arithmetic ----------------------------------------------------------------------------------------------- */

inline uint32_t __float_as_uint (float f) { return vig_bits_of_f32 (f); }
inline float __uint_as_float (uint32_t u) { return vig_f32_of_bits (u); }
inline float __fadd_rn (float a, float b) { return a + b; }
inline float __fmul_rn (float a, float b) { return a * b; }
inline int __popc (unsigned x) { return __builtin_popcount (x); }
inline float rsqrtf (float x) { return 1 / sqrtf (x); }
inline int min (int a, int b) { return a < b ? a : b; }
inline int max (int a, int b) { return a > b ? a : b; }
inline unsigned min (unsigned a, unsigned b) { return a < b ? a : b; }
inline unsigned max (unsigned a, unsigned b) { return a > b ? a : b; }

inline float vig_to_float (vig_bf16 x) { return vig_bf16_to_f32 (x.bits); }
inline float vig_to_float (vig_half x) { return vig_f16_to_f32 (x.bits); }
inline void vig_round (float f, vig_bf16 *to) { to->bits = vig_bf16_from_f32 (f); }
inline void vig_round (float f, vig_half *to) { to->bits = vig_f16_from_f32 (f); }

#endif
