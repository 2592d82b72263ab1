/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Primitives of the CUDA kernels, each of them twice: here as CUDA and PTX, and in tests/cuda/vig-emu.h as C++ that runs
 * on the CPU (VIG_EMULATE). A .cu file includes this and nothing of CUDA itself; it holds no inline assembly, no
 * <<<>>>, no __shared__ variable and no approximate intrinsic.
 *
 * Beside what follows, kernels use of CUDA itself: __global__ __device__ __host__ __forceinline__ __launch_bounds__
 * __restrict__ __align__, threadIdx blockIdx blockDim gridDim, __syncthreads __syncwarp, __shfl[_up|_down|_xor]_sync,
 * __ballot_sync __any_sync __all_sync, __ldg __popc __float_as_uint __uint_as_float, __fadd_rn __fmul_rn (what is rounded, and
 * not made part of an fmaf), min max, the functions of <math.h>
 * in float and rsqrtf, and the vectors float2 float4 int2 int4 uint2 uint4 with make_*. `#pragma unroll` is fine.
 *
 * VIG_SM is the compute capability that device code is compiled for (75, 80, 90, …; 0 in nvcc's host pass); the emulator
 * is 80 unless told otherwise. Never run on a GPU.
 */
#ifndef VIG_DEVICE_CUH
#define VIG_DEVICE_CUH

#include <stddef.h>
#include <stdint.h>

/* Storage of the two small types; all arithmetic is on float. */
struct __attribute__ ((aligned (2))) vig_bf16 { uint16_t bits; };
struct __attribute__ ((aligned (2))) vig_half { uint16_t bits; };

#ifdef VIG_EMULATE
#include "vig-emu.h"
#else

#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_runtime.h>

#ifdef __CUDA_ARCH__
#define VIG_SM (__CUDA_ARCH__ / 10)
#else
#define VIG_SM 0
#endif

/* ---- launch: VIG_LAUNCH (kernel, grid, block, shared bytes, stream, arguments…) is the launch's cudaError_t -------- */

#define VIG_LAUNCH(...) vig_launch (__VA_ARGS__)

template <typename... P, typename... A>
inline cudaError_t
vig_launch (void (*kernel) (P...), dim3 grid, dim3 block, size_t shared, cudaStream_t stream, A... args)
{
  if (shared > 48 * 1024) { /* more must be asked for */
    cudaError_t error = cudaFuncSetAttribute (kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, (int) shared);
    if (error != cudaSuccess)
      return error;
  }
  kernel<<<grid, block, shared, stream>>> (static_cast<P> (args)...);
  return cudaGetLastError ();
}

/* ---- memory --------------------------------------------------------------------------------------------------- */

/* The block's dynamic shared memory, on a boundary of 128 bytes. */
template <typename T>
__device__ __forceinline__ T *
vig_shared ()
{
  extern __shared__ __align__ (128) unsigned char vig_dynamic_shared[];
  return reinterpret_cast<T *> (vig_dynamic_shared);
}

/* One access of sizeof (V) bytes; p lies on such a boundary. */
template <typename V, typename T>
__device__ __forceinline__ V
vig_load (const T *p)
{
  return *reinterpret_cast<const V *> (p);
}

template <typename V, typename T>
__device__ __forceinline__ void
vig_store (T *p, V value)
{
  *reinterpret_cast<V *> (p) = value;
}

/* 16 bytes from global to shared memory, both on a boundary of 16; zeros if not valid (global is then not read, but must
 * be an address). There for this thread after vig_cp_async_wait, for others after a barrier as well. */
__device__ __forceinline__ void
vig_cp_async16 (void *shared, const void *global, bool valid = true)
{
#if VIG_SM >= 80
  asm volatile ("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"((unsigned) __cvta_generic_to_shared (shared)),
      "l"(global), "r"(valid ? 16 : 0) : "memory");
#else
  *static_cast<uint4 *> (shared) = valid ? *static_cast<const uint4 *> (global) : make_uint4 (0, 0, 0, 0);
#endif
}

/* The copies of this thread since the last commit are a group. */
__device__ __forceinline__ void
vig_cp_async_commit ()
{
#if VIG_SM >= 80
  asm volatile ("cp.async.commit_group;" ::: "memory");
#endif
}

/* Waits for all groups but the last n. */
template <int n>
__device__ __forceinline__ void
vig_cp_async_wait ()
{
#if VIG_SM >= 80
  asm volatile ("cp.async.wait_group %0;" ::"n"(n) : "memory");
#endif
}

/* ---- barriers ------------------------------------------------------------------------------------------------- */

/* Named barrier 1 .. 15 for n_threads threads of the block, whole warps. */
__device__ __forceinline__ void
vig_barrier (int id, int n_threads)
{
  asm volatile ("bar.sync %0, %1;" ::"r"(id), "r"(n_threads) : "memory");
}

/* ---- small types ---------------------------------------------------------------------------------------------- */

__host__ __device__ __forceinline__ float
vig_to_float (vig_bf16 x)
{
  __nv_bfloat16_raw raw;
  raw.x = x.bits;
  return __bfloat162float (raw);
}

__host__ __device__ __forceinline__ float
vig_to_float (vig_half x)
{
  __half_raw raw;
  raw.x = x.bits;
  return __half2float (raw);
}

__host__ __device__ __forceinline__ void
vig_round (float f, vig_bf16 *to)
{
  to->bits = static_cast<__nv_bfloat16_raw> (__float2bfloat16_rn (f)).x;
}

__host__ __device__ __forceinline__ void
vig_round (float f, vig_half *to)
{
  to->bits = static_cast<__half_raw> (__float2half_rn (f)).x;
}

/* ---- tensor cores: warp-wide, lane maps of PTX mma.sync.aligned.row.col and ldmatrix.sync.aligned.m8n8.b16 ---------- */

/* d [16, 8] += a [16, 16] b [16, 8]; lane = 4 g + t. Registers hold two neighbours, the lower index in the low half:
 * a: (row g, columns 2t 2t+1), (g+8, 2t), (g, 2t+8), (g+8, 2t+8); b: (rows 2t 2t+1, column g), (2t+8, g);
 * d: (row g, column 2t), (g, 2t+1), (g+8, 2t), (g+8, 2t+1). */
__device__ __forceinline__ void
vig_mma_m16n8k16_bf16 (float d[4], const uint32_t a[4], const uint32_t b[2])
{
#if VIG_SM >= 80
  asm ("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
#else
  __trap (); /* the backend refuses bf16 there */
#endif
}

__device__ __forceinline__ void
vig_mma_m16n8k16_f16 (float d[4], const uint32_t a[4], const uint32_t b[2])
{
#if VIG_SM >= 80
  asm ("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
#else
#pragma unroll
  for (int i = 0; i < 2; i++)
    asm ("mma.sync.aligned.m16n8k8.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5}, {%6}, {%0,%1,%2,%3};"
        : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
        : "r"(a[2 * i]), "r"(a[2 * i + 1]), "r"(b[i]));
#endif
}

/* d [16, 8] += a [16, 8] b [8, 8] of floats, of which the first 10 bits of the fraction count (tf32):
 * a: (g, t), (g+8, t), (g, t+4), (g+8, t+4); b: (t, g), (t+4, g); d as above. */
__device__ __forceinline__ void
vig_mma_m16n8k8_tf32 (float d[4], const uint32_t a[4], const uint32_t b[2])
{
#if VIG_SM >= 80
  asm ("mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
#else
  __trap ();
#endif
}

/* x to the nearest tf32, NaN and infinity as they are. */
__device__ __forceinline__ uint32_t
vig_tf32 (float x)
{
#if VIG_SM >= 80
  uint32_t bits;
  asm ("cvt.rna.tf32.f32 %0, %1;" : "=r"(bits) : "f"(x));
  return bits;
#else
  return __float_as_uint (x);
#endif
}

/* Matrices of 8 x 8 16-bit elements from shared memory. Lane 8 i + j gives row j of matrix i, 16 bytes on a boundary of
 * 16 (of x2 the first 16 lanes count); r[i] of lane 4 g + t is (row g, columns 2t 2t+1) of matrix i, or with trans
 * (rows 2t 2t+1, column g). */
#define VIG_LDMATRIX(name, n, trans, outputs, ...) \
  __device__ __forceinline__ void name (uint32_t r[n], const void *row) \
  { \
    asm volatile ("ldmatrix.sync.aligned.m8n8.x" #n trans ".shared.b16 " outputs ";" \
        : __VA_ARGS__ : "r"((unsigned) __cvta_generic_to_shared (row)) : "memory"); \
  }
VIG_LDMATRIX (vig_ldmatrix_x4, 4, "", "{%0,%1,%2,%3}, [%4]", "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3]))
VIG_LDMATRIX (vig_ldmatrix_x4_trans, 4, ".trans", "{%0,%1,%2,%3}, [%4]", "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3]))
VIG_LDMATRIX (vig_ldmatrix_x2, 2, "", "{%0,%1}, [%2]", "=r"(r[0]), "=r"(r[1]))
VIG_LDMATRIX (vig_ldmatrix_x2_trans, 2, ".trans", "{%0,%1}, [%2]", "=r"(r[0]), "=r"(r[1]))
#undef VIG_LDMATRIX

#endif /* VIG_EMULATE */

/* ---- what both share ------------------------------------------------------------------------------------------ */

__host__ __device__ __forceinline__ float
vig_to_float (float x)
{
  return x;
}

__host__ __device__ __forceinline__ void
vig_round (float f, float *to)
{
  *to = f;
}

/* To nearest, ties to even. */
template <typename T>
__host__ __device__ __forceinline__ T
vig_from_float (float f)
{
  T x;
  vig_round (f, &x);
  return x;
}

/* Two neighbours of a 16-bit type in one register, the lower index in the low half. */
template <typename T>
__device__ __forceinline__ uint32_t
vig_pack2 (float low, float high)
{
  return vig_from_float<T> (low).bits | (uint32_t) vig_from_float<T> (high).bits << 16;
}

template <typename T>
__device__ __forceinline__ float2
vig_unpack2 (uint32_t pair)
{
  return make_float2 (vig_to_float (T { (uint16_t) pair }), vig_to_float (T { (uint16_t) (pair >> 16) }));
}

/* Four neighbours in one access; p on a boundary of four elements. */
__device__ __forceinline__ float4
vig_load4 (const float *p)
{
  return vig_load<float4> (p);
}

template <typename T>
__device__ __forceinline__ float4
vig_load4 (const T *p)
{
  uint2 pairs = vig_load<uint2> (p);
  float2 low = vig_unpack2<T> (pairs.x), high = vig_unpack2<T> (pairs.y);
  return make_float4 (low.x, low.y, high.x, high.y);
}

__device__ __forceinline__ void
vig_store4 (float *p, float4 f)
{
  vig_store (p, f);
}

template <typename T>
__device__ __forceinline__ void
vig_store4 (T *p, float4 f)
{
  vig_store (p, make_uint2 (vig_pack2<T> (f.x, f.y), vig_pack2<T> (f.z, f.w)));
}

#endif
