/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Preprocessing in scalar C, and the tables that define it for every CPU variant. */
#ifndef VIG_REF_PREPROCESS_H
#define VIG_REF_PREPROCESS_H

#include "kernels.h"

/* CUDA compiles what is short for its kernels too. */
#ifdef __CUDACC__
#define VIG_ANYWHERE static __host__ __device__ __forceinline__
#else
#define VIG_ANYWHERE static inline
#endif

/* How one axis is resized: output i is the sum over k < count[i] of weight[i * max + k] * in[first[i] + k], rounded
 * (vig_tap_round). first rises with i, and so does first + count. */
typedef struct {
  int n, max;      /* outputs; most taps that one of them has */
  int *first;      /* [n] */
  int *count;      /* [n], at least 1 */
  int32_t *weight; /* [n, max], 22 fractional bits, 0 past count */
} VigTaps;

/* Outputs from .. from + n - 1 of in samples resized to out. False: no memory (taps is then empty). */
bool vig_taps_init (VigTaps *taps, int in, int out, int from, int n);
void vig_taps_clear (VigTaps *taps);

enum { VIG_TAP_BITS = 22 };

/* The sum of weighted samples as the 8-bit value it stands for. */
VIG_ANYWHERE uint8_t
vig_tap_round (int32_t sum)
{
  int32_t v = (sum + (1 << (VIG_TAP_BITS - 1))) >> VIG_TAP_BITS;
  return v < 0 ? 0 : v > 255 ? 255 : (uint8_t) v;
}

/* From YUV (or gray: u and v are 0) in sixteenths of a sample step to 8-bit RGB:
 * channel i = clip ((y[i] * Y + u[i] * U + v[i] * V + bias[i]) >> shift), the rounding half being in bias. Every factor
 * fits 16 bits, every sum 32. */
typedef struct {
  int32_t y[3], u[3], v[3], bias[3];
  int shift;
} VigColorMatrix;

void vig_color_matrix_init (VigColorMatrix *m, const VigPreprocessDesc *desc);

/* The chroma samples around luma sample `at` of an axis that has n of them: *second counts for the returned quarters,
 * *first for the rest. */
VIG_ANYWHERE int
vig_chroma_around (int at, int sub, int site, int n, int *first, int *second)
{
  int quarters = sub ? 2 * at - site : 4 * at;
  int i = quarters >> 2; /* rounds down, also below 0 */
  *first = i < 0 ? 0 : i < n ? i : n - 1;
  *second = i + 1 < n ? i + 1 : n - 1;
  return quarters & 3;
}

/* Size of the crop once it stands upright. */
static inline int
vig_upright_width (const VigPreprocessDesc *desc)
{
  return desc->orientation >= 5 ? desc->crop_height : desc->crop_width;
}

static inline int
vig_upright_height (const VigPreprocessDesc *desc)
{
  return desc->orientation >= 5 ? desc->crop_width : desc->crop_height;
}

/* Where pixel (x, y) of the upright crop lies in the picture. Orientations as in EXIF: 5..8 have rows and columns
 * exchanged. */
VIG_ANYWHERE void
vig_upright_source (const VigPreprocessDesc *desc, int x, int y, int *source_x, int *source_y)
{
  int o = desc->orientation, right = desc->crop_width - 1, bottom = desc->crop_height - 1;
  int sx = o >= 5 ? y : x, sy = o >= 5 ? x : y;

  *source_x = desc->crop_x + (o == 2 || o == 3 || o == 7 || o == 8 ? right - sx : sx);
  *source_y = desc->crop_y + (o == 3 || o == 4 || o == 6 || o == 7 ? bottom - sy : sy);
}

/* value / 255 normalised, every step rounded to float as the original does. */
static inline float
vig_normalise (const VigPreprocessDesc *desc, int channel, uint8_t value)
{
  return ((float) value / 255.0f - desc->mean[channel]) / desc->std[channel];
}

VigPreprocess *vig_preprocess_create_c (void *ctx, const VigPreprocessDesc *desc);
void vig_preprocess_run_c (void *ctx, VigPreprocess *p, const VigPlanes *frames, int n, float *out);
void vig_preprocess_destroy_c (void *ctx, VigPreprocess *p);

#endif
