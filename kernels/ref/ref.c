/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The reference backend: its table, and memory, which is the host's. */
#include <stdlib.h>
#include <unistd.h>

#include "ref/preprocess.h"
#include "ref/ref.h"

void *
vig_alloc_c (void *ctx, size_t size)
{
  void *memory;
  /* memory is promised freely and missed late: no more than there could be */
  if (size / (size_t) sysconf (_SC_PAGESIZE) >= (size_t) sysconf (_SC_PHYS_PAGES))
    return NULL;
  return posix_memalign (&memory, 64, size ? size : 1) ? NULL : memory;
}

void
vig_free_c (void *ctx, void *memory)
{
  free (memory);
}

void
vig_copy_c (void *ctx, void *to, const void *from, size_t size)
{
  memcpy (to, from, size);
}

const char *
vig_finish_c (void *ctx)
{
  VigHost *host = ctx;
  const char *error = host->error;
  host->error = NULL;
  return error;
}

static void
ref_close (VigKernels *self)
{
  free (self->ctx);
  free (self);
}

static const VigKernels ref = {
  .abi = VIG_KERNELS_ABI,
  .name = "ref",
  .close = ref_close,
  .alloc = vig_alloc_c,
  .free = vig_free_c,
  .upload = vig_copy_c,
  .download = vig_copy_c,
  .finish = vig_finish_c,
  .preprocess_create = vig_preprocess_create_c,
  .preprocess_run = vig_preprocess_run_c,
  .preprocess_destroy = vig_preprocess_destroy_c,
  .matmul_create = vig_matmul_create_c,
  .matmul_run = vig_matmul_run_c,
  .matmul_destroy = vig_matmul_destroy_c,
  .matmul_bytes = vig_matmul_bytes_c,
  .im2col = vig_im2col_c,
  .rmsnorm = vig_rmsnorm_c,
  .layernorm = vig_layernorm_c,
  .add_pos = vig_add_pos_c,
  .dwconv3x3 = vig_dwconv3x3_c,
  .log_decay = vig_log_decay_c,
  .gla_bidir = vig_gla_bidir_c,
  .gla_plan = vig_gla_plan_c,
  .gla = vig_gla_c,
  .gate_mix = vig_gate_mix_c,
  .swiglu = vig_swiglu_c,
  .pool_mean = vig_pool_mean_c,
  .softmax = vig_softmax_c,
  .class_map = vig_class_map_c,
  .norm_dwconv = vig_norm_dwconv_c,
  .gla_mix = vig_gla_mix_c,
  .mlp = vig_mlp_c,
  .dwconv3x3x3 = vig_dwconv3x3x3_c,
  .add_boundary = vig_add_boundary_c,
  .cell_mean = vig_cell_mean_c,
  .cell_add = vig_cell_add_c,
  .memory_step = vig_memory_step_c,
  .difference = vig_difference_c,
};

VigKernels *
vig_kernels_ref_open (void)
{
  VigKernels *self = malloc (sizeof *self);
  VigHost *host = calloc (1, sizeof *host);
  if (!self || !host) {
    free (self);
    free (host);
    return NULL;
  }
  *self = ref;
  self->ctx = host;
  return self;
}
