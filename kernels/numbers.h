/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The numbers of 16 bits, and elements of a tensor of any type. */
#ifndef VIG_NUMBERS_H
#define VIG_NUMBERS_H

#include <string.h>

#include "kernels.h"

static inline uint32_t
vig_bits_of_f32 (float f)
{
  uint32_t u;
  memcpy (&u, &f, sizeof u);
  return u;
}

static inline float
vig_f32_of_bits (uint32_t u)
{
  float f;
  memcpy (&f, &u, sizeof f);
  return f;
}

/* ---- bfloat16: the upper half of a float ---- */

static inline float
vig_bf16_to_f32 (uint16_t h)
{
  return vig_f32_of_bits ((uint32_t) h << 16);
}

/* To nearest, ties to even; NaN stays NaN. */
static inline uint16_t
vig_bf16_from_f32 (float f)
{
  uint32_t u = vig_bits_of_f32 (f);
  if ((u & 0x7fffffff) > 0x7f800000)
    return (uint16_t) (u >> 16 | 0x40);
  return (uint16_t) ((u + 0x7fff + (u >> 16 & 1)) >> 16);
}

/* ---- IEEE half: sign, 5 bits of exponent (bias 15), 10 of fraction ---- */

static inline float
vig_f16_to_f32 (uint16_t h)
{
  uint32_t sign = (uint32_t) (h & 0x8000) << 16, size = h & 0x7fff;
  if (size < 0x400) /* 0 and subnormals: steps of 2^-24 */
    return vig_f32_of_bits (vig_bits_of_f32 ((float) size * 0x1p-24f) | sign);
  if (size < 0x7c00)
    return vig_f32_of_bits (sign | (size + ((127 - 15) << 10)) << 13);
  return vig_f32_of_bits (sign | 0x7f800000 | size << 13); /* infinity, NaN */
}

/* To nearest, ties to even; from 65520 on infinity; NaN stays NaN. */
static inline uint16_t
vig_f16_from_f32 (float f)
{
  uint32_t u = vig_bits_of_f32 (f), sign = u >> 16 & 0x8000, size = u & 0x7fffffff;
  if (size > 0x7f800000)
    return (uint16_t) (sign | 0x7e00);
  if (size >= 0x47800000) /* 65536 */
    return (uint16_t) (sign | 0x7c00);
  if (size < 0x38800000) /* 2^-14: below, steps of 2^-24, which are those of floats from 0.5 on */
    return (uint16_t) (sign | (vig_bits_of_f32 (vig_f32_of_bits (size) + 0.5f) - vig_bits_of_f32 (0.5f)));
  size -= (uint32_t) (127 - 15) << 23;
  return (uint16_t) (sign | (size + 0xfff + (size >> 13 & 1)) >> 13);
}

/* ---- tensors ---- */

static inline size_t
vig_type_size (VigType type)
{
  return type == VIG_TYPE_F32 ? 4 : 2;
}

static inline float
vig_get (const void *p, size_t i, VigType type)
{
  switch (type) {
    case VIG_TYPE_BF16: return vig_bf16_to_f32 (((const uint16_t *) p)[i]);
    case VIG_TYPE_F16: return vig_f16_to_f32 (((const uint16_t *) p)[i]);
    default: return ((const float *) p)[i];
  }
}

static inline void
vig_set (void *p, size_t i, VigType type, double value)
{
  switch (type) {
    case VIG_TYPE_BF16: ((uint16_t *) p)[i] = vig_bf16_from_f32 ((float) value); break;
    case VIG_TYPE_F16: ((uint16_t *) p)[i] = vig_f16_from_f32 ((float) value); break;
    default: ((float *) p)[i] = (float) value; break;
  }
}

/* A float as an element of the type would hold it. */
static inline float
vig_round_to (float f, VigType type)
{
  switch (type) {
    case VIG_TYPE_BF16: return vig_bf16_to_f32 (vig_bf16_from_f32 (f));
    case VIG_TYPE_F16: return vig_f16_to_f32 (vig_f16_from_f32 (f));
    default: return f;
  }
}

#endif
