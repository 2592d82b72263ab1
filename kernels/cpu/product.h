/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Matrix products of our own (product.c), which matmul.c uses beside oneDNN's: a table for each instruction set. */
#ifndef VIG_PRODUCT_H
#define VIG_PRODUCT_H

#include "cpu/cpu.h"

/* Weights as pack() lays them out. */
typedef struct {
  int n, k;
  VigType type;      /* of a and the weights */
  void *weight;
  float *bias;       /* [n], or NULL */
} VigPacked;

typedef struct VigProducts {
  bool (*takes) (int k, VigType type);
  size_t (*size) (int n, int k, VigType type); /* bytes of packed weights */
  void (*pack) (const VigMatmulDesc *desc, void *to);
  void (*run) (VigCpu *cpu, const VigPacked *m, const VigMatmulRun *a);
  void (*mlp) (VigCpu *cpu, const VigPacked *in, const VigPacked *out, const VigMlp *a);
} VigProducts;

extern const VigProducts vig_products_avx512, vig_products_bf16;

#endif
