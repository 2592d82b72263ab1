/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The reference's operators by name, so that another backend on the CPU can take any of them into its own table.
 * They are the contracts of kernels.h in scalar C, on one thread, with every sum in double;
 * none depends on another, but for mlp, which takes vig_matmul_create_c()'s products.
 */
#ifndef VIG_REF_H
#define VIG_REF_H

#include "numbers.h"

/* What ctx of a backend that uses these operators starts with. */
typedef struct {
  const char *error; /* first failure since the last finish, or NULL; a static string */
} VigHost;

static inline void
vig_host_fail (VigHost *host, const char *error)
{
  if (!host->error)
    host->error = error;
}

void *vig_alloc_c (void *ctx, size_t size);
void vig_free_c (void *ctx, void *memory);
void vig_copy_c (void *ctx, void *to, const void *from, size_t size);
const char *vig_finish_c (void *ctx);

VigMatmul *vig_matmul_create_c (void *ctx, const VigMatmulDesc *desc);
void vig_matmul_run_c (void *ctx, VigMatmul *m, const VigMatmulRun *a);
void vig_matmul_destroy_c (void *ctx, VigMatmul *m);
size_t vig_matmul_bytes_c (void *ctx, const VigMatmul *m);

void vig_im2col_c (void *ctx, const VigIm2col *a);
void vig_rmsnorm_c (void *ctx, const VigNorm *a);
void vig_layernorm_c (void *ctx, const VigNorm *a);
void vig_add_pos_c (void *ctx, const VigAddPos *a);
void vig_dwconv3x3_c (void *ctx, const VigDwconv *a);
void vig_log_decay_c (void *ctx, const VigLogDecay *a);
void vig_gla_bidir_c (void *ctx, const VigGlaBidir *a);
size_t vig_gla_plan_c (void *ctx, VigGlaRun *a);
void vig_gla_c (void *ctx, const VigGlaRun *a);
void vig_gate_mix_c (void *ctx, const VigGateMix *a);
void vig_swiglu_c (void *ctx, const VigSwiglu *a);
void vig_pool_mean_c (void *ctx, const VigPoolMean *a);
void vig_softmax_c (void *ctx, const VigSoftmax *a);
void vig_class_map_c (void *ctx, const VigClassMap *a);
void vig_norm_dwconv_c (void *ctx, const VigNormDwconv *a);
void vig_gla_mix_c (void *ctx, const VigGlaMix *a);
void vig_mlp_c (void *ctx, const VigMlp *a);
void vig_dwconv3x3x3_c (void *ctx, const VigDwconvTime *a);
void vig_add_boundary_c (void *ctx, const VigAddBoundary *a);
void vig_cell_mean_c (void *ctx, const VigCellMean *a);
void vig_cell_add_c (void *ctx, const VigCellAdd *a);
void vig_memory_step_c (void *ctx, const VigMemoryStep *a);
void vig_difference_c (void *ctx, const VigDifference *a);

#endif
