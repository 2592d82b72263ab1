/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Gated linear attention of one head in one direction, on the calling thread: what gla.c does for gla-mix.c. */
#ifndef VIG_GLA_H
#define VIG_GLA_H

#include "cpu/vec.h"

enum {
  GLA_SLICE = 2 * VW, /* columns of a slice of DV: the least a head can be cut into */
  GLA_SEGMENT = 64    /* tokens to walk at once: their decays stay in the innermost cache. A multiple of every chunk, so that
                         where chunks begin depends on the length alone */
};

/* DK as the walks lay it out: rounded up to whole vectors. */
static inline int
vig_gla_padded (int dk)
{
  return (dk + VW - 1) / VW * VW;
}

static inline int
vig_gla_segments (int tokens)
{
  return (tokens + GLA_SEGMENT - 1) / GLA_SEGMENT;
}

/* q, k, v and o point at the head's channels of token 0. */
typedef struct {
  int dk, dv;
  const void *q, *k, *v; ptrdiff_t row; VigType type; /* of that type */
  VigType products;          /* BF16: factors of products may be rounded to it */
  float *o; ptrdiff_t o_row; /* scale * (what is there, if add, + this direction's) */
  bool backward, add;
  float scale;
  int first, end;            /* slices to compute */
} GlaHead;

/* Floats that a walk works in, aligned to a vector: the state that goes on from walk to walk, and what is free between. */
size_t VARIANT (vig_gla_memory) (int dk, int slices);

/* state [DK, DV], or NULL for zeros */
void VARIANT (vig_gla_begin) (const GlaHead *h, const float *state, float *memory);

/* n tokens from `token` on, in the order of the direction; decays: d = exp gk of them, [n, padded DK], finite beyond DK. n is
 * a multiple of the segment but for the sequence's last tokens. */
void VARIANT (vig_gla_walk) (const GlaHead *h, size_t token, int n, const float *decays, float *memory);

#endif
