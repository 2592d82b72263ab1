/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The CPU backend: the best variant of every operator that the machine has and the mask allows. */
#include "cpu/product.h"

#include <stdio.h>
#include <stdlib.h>

static void
cpu_free (VigCpu *cpu)
{
  vig_cpu_dnnl_close (cpu);
  for (int i = 0; cpu->scratch && i < cpu->n_threads; i++)
    free (cpu->scratch[i]);
  free (cpu->scratch);
  free (cpu->buffer);
  vig_pool_free (cpu->pool);
  free (cpu);
}

static void
cpu_close (VigKernels *self)
{
  cpu_free (self->ctx);
  free (self);
}

static VigCpu *
cpu_new (int threads)
{
  VigCpu *cpu = calloc (1, sizeof *cpu);
  if (!cpu)
    return NULL;
  cpu->pool = vig_pool_new (threads, vig_cpu_dnnl_start_thread);
  if (cpu->pool)
    cpu->n_threads = vig_pool_n_threads (cpu->pool);
  cpu->scratch = calloc ((size_t) cpu->n_threads + 1, sizeof *cpu->scratch);
  if (cpu->pool && cpu->scratch)
    return cpu;
  cpu_free (cpu);
  return NULL;
}

bool
vig_cpu_scratch (VigCpu *cpu, size_t size)
{
  if (size <= cpu->scratch_size)
    return true;
  for (int i = 0; i < cpu->n_threads; i++) {
    free (cpu->scratch[i]);
    if (posix_memalign (&cpu->scratch[i], 64, size)) {
      cpu->scratch[i] = NULL;
      cpu->scratch_size = 0;
      vig_host_fail (&cpu->host, "no memory for the threads' scratch space");
      return false;
    }
  }
  cpu->scratch_size = size;
  return true;
}

void *
vig_cpu_buffer (VigCpu *cpu, size_t size)
{
  if (size > cpu->buffer_size) {
    free (cpu->buffer);
    cpu->buffer_size = size;
    if (posix_memalign (&cpu->buffer, 64, size)) {
      cpu->buffer = NULL;
      cpu->buffer_size = 0;
      vig_host_fail (&cpu->host, "no memory for a shared buffer");
    }
  }
  return cpu->buffer;
}

/* What the machine has of mask; a set without the one below it does not count. */
static unsigned
available (unsigned mask)
{
  unsigned has = 0;
#if defined __x86_64__
  if (__builtin_cpu_supports ("avx2") && __builtin_cpu_supports ("fma") && __builtin_cpu_supports ("f16c"))
    has |= VIG_CPU_AVX2;
  if (has && __builtin_cpu_supports ("avx512f") && __builtin_cpu_supports ("avx512bw") &&
      __builtin_cpu_supports ("avx512dq") && __builtin_cpu_supports ("avx512vl"))
    has |= VIG_CPU_AVX512;
  if (has & VIG_CPU_AVX512 && __builtin_cpu_supports ("avx512bf16") && vig_cpu_dnnl_has_bf16 ())
    has |= VIG_CPU_BF16;
#endif
  has &= mask;
  if (!(has & VIG_CPU_AVX2))
    return 0;
  return has & VIG_CPU_AVX512 ? has : VIG_CPU_AVX2;
}

VigKernels *
vig_kernels_cpu_open (int threads, unsigned mask)
{
  const char *more = getenv ("VIG_CPU_MASK"); /* VIG_CPU_AVX2 … as a number */
  if (more)
    mask &= (unsigned) strtoul (more, NULL, 0);

  VigKernels *self = vig_kernels_ref_open ();
  unsigned isa = available (mask);
  if (!self || !isa)
    return self;
  VigCpu *cpu = cpu_new (threads);
  if (!cpu) {
    self->close (self);
    return NULL;
  }
  free (self->ctx);
  self->ctx = cpu;
  self->close = cpu_close;
#if defined __x86_64__
  self->name = "avx2";
  vig_cpu_use_avx2 (self);
  vig_cpu_use_preprocess (self);
  if (isa & VIG_CPU_AVX512) {
    self->name = "avx512";
    vig_cpu_use_avx512 (self);
    cpu->products = &vig_products_avx512;
    cpu->bytes = __builtin_cpu_supports ("avx512vbmi") && __builtin_cpu_supports ("avx512vnni");
  }
  if (isa & VIG_CPU_BF16) {
    cpu->bf16 = true;
    self->fastest = VIG_TYPE_BF16;
    vig_cpu_use_bf16 (self);
    if (!vig_cpu_dnnl_has_amx ())
      cpu->products = &vig_products_bf16;
    self->name = vig_cpu_dnnl_has_amx () ? "avx512+amx" : "avx512+bf16";
  }
#endif
  if (!vig_cpu_use_dnnl (self)) {
    self->close (self);
    return NULL;
  }
  return self;
}
