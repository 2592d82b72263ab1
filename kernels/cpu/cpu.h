/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the files of the CPU backend share. ctx of its operators is a VigCpu. */
#ifndef VIG_CPU_H
#define VIG_CPU_H

#include "cpu/pages.h"
#include "cpu/pool.h"
#include "ref/ref.h"

typedef struct VigDnnl VigDnnl; /* matmul.c */
struct VigProducts;

typedef struct {
  VigHost host; /* first: the reference's operators work on this backend too */
  VigPool *pool;
  int n_threads;
  bool bf16;                 /* oneDNN multiplies bf16 in hardware */
  bool bytes;                /* AVX-512 with VBMI and VNNI */
  void **scratch;            /* [n_threads], scratch_size bytes each */
  size_t scratch_size;
  void *buffer;              /* of buffer_size bytes, for all threads together */
  size_t buffer_size;
  VigDnnl *dnnl;
  const struct VigProducts *products; /* product.h; NULL: oneDNN does them all */
  VigPages *pages;                    /* their weights */

  /* what ops.c does for matmul.c, on the calling thread */
  void (*widen) (const void *from, VigType type, size_t n, float *to); /* n numbers of the type as floats */
  void (*narrow) (const float *from, size_t n, void *to, VigType type);
  void (*norm) (const VigNorm *a, int first, int end);                 /* a layernorm if there is a bias */
  void (*swiglu) (const void *u, VigType u_type, int rows, int width, void *y, VigType type); /* u_type: F32 or type */
} VigCpu;

/* Makes scratch[0 .. n_threads - 1] at least size bytes (64-byte aligned, contents lost); on failure finish() says so. */
bool vig_cpu_scratch (VigCpu *cpu, size_t size);

/* The buffer, at least size bytes (64-byte aligned, contents lost); NULL on failure, which finish() tells. */
void *vig_cpu_buffer (VigCpu *cpu, size_t size);

/* How many pieces to cut n rows into, each of at least `least` rows: a few for each thread, so that one that is held up
 * gives some away. Piece i is rows vig_cpu_cut (n, pieces, i) up to vig_cpu_cut (n, pieces, i + 1). Only for operators whose
 * rows do not depend on each other. */
static inline int
vig_cpu_pieces (const VigCpu *cpu, int n, int least)
{
  int most = n / least, pieces = cpu->n_threads == 1 ? 1 : cpu->n_threads * 4;
  return most < 1 ? 1 : pieces < most ? pieces : most;
}

static inline int
vig_cpu_cut (int n, int pieces, int i)
{
  return (int) ((long long) n * i / pieces);
}

/* The SIMD variants (ops.c and gla.c, compiled once for each instruction set) put themselves into the table. */
void vig_cpu_use_avx2 (VigKernels *k);
void vig_cpu_use_avx512 (VigKernels *k);
void vig_cpu_use_bf16 (VigKernels *k); /* AVX-512 with its conversion to bf16 */

/* Preprocessing, for AVX2; one of its loops once more for cpu->bytes. */
void vig_cpu_use_preprocess (VigKernels *k);

/* Matrix products through oneDNN. */
bool vig_cpu_use_dnnl (VigKernels *k); /* false: no memory */
void vig_cpu_dnnl_close (VigCpu *cpu);
bool vig_cpu_dnnl_has_bf16 (void);
bool vig_cpu_dnnl_has_amx (void);
void vig_cpu_dnnl_start_thread (void);

#endif
