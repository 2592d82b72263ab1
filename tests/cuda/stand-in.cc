/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The reference in place of those files of kernels/cuda/ that do not exist yet. */
#include "cuda/cuda.h"

extern "C" {
#include "ref/preprocess.h"
#include "ref/ref.h"
}

#define OPERATOR(field, type) \
  k->field = [] (void *ctx, const type *a) { \
    type copy = *a; \
    VigCuda *cuda = (VigCuda *) ctx; \
    vig_cuda_ok (cuda, vig_emu_launch (cuda->stream, [copy] { vig_##field##_c (nullptr, &copy); }), "launching " #field); \
  };

#ifdef STAND_IN_OPS
void
vig_cuda_use_ops (VigKernels *k)
{
  OPERATOR (im2col, VigIm2col)
  OPERATOR (rmsnorm, VigNorm)
  OPERATOR (layernorm, VigNorm)
  OPERATOR (add_pos, VigAddPos)
  OPERATOR (dwconv3x3, VigDwconv)
  OPERATOR (log_decay, VigLogDecay)
  OPERATOR (gate_mix, VigGateMix)
  OPERATOR (swiglu, VigSwiglu)
  OPERATOR (pool_mean, VigPoolMean)
  OPERATOR (softmax, VigSoftmax)
}
#endif

#ifdef STAND_IN_GLA
void
vig_cuda_use_gla (VigKernels *k)
{
  OPERATOR (gla_bidir, VigGlaBidir)
}
#endif

#ifdef STAND_IN_PREPROCESS
void
vig_cuda_use_preprocess (VigKernels *k)
{
  k->preprocess_create = [] (void *, const VigPreprocessDesc *desc) { return vig_preprocess_create_c (nullptr, desc); };
  k->preprocess_run = [] (void *ctx, VigPreprocess *p, const VigPlanes *frames, int n, float *out) {
    VigCuda *cuda = (VigCuda *) ctx;
    vig_cuda_ok (cuda, vig_emu_launch (cuda->stream, [=] { vig_preprocess_run_c (nullptr, p, frames, n, out); }),
        "launching preprocess");
    cudaStreamSynchronize (cuda->stream);
  };
  k->preprocess_destroy = [] (void *, VigPreprocess *p) { vig_preprocess_destroy_c (nullptr, p); };
}
#endif
