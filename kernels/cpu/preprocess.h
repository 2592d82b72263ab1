/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Inside of the CPU backend's preprocessing: work on one row. Samples are int16_t. */
#ifndef VIG_CPU_PREPROCESS_H
#define VIG_CPU_PREPROCESS_H

#include "ref/preprocess.h"

/* A tap table whose 22-bit weights are cut in two, high * 2^VIG_SPLIT_BITS + low, so that they fit 16-bit multipliers
 * and the sums are still exact. The arrays are padded, n to fours and taps to sixteens, with weights of 0. */
typedef struct {
  int n, taps;
  int *first, *count;  /* [n] */
  int16_t *high, *low; /* [n, taps] */
} VigSplitTaps;

enum { VIG_SPLIT_BITS = 11 };

/* The same table for sixteen outputs at a time: of group g the samples that its outputs begin with are index[g] of those from
 * base[g] on, each followed by three more, and these four by four on to quads; weights of 22 bits in three parts. */
typedef struct {
  int groups, quads;   /* groups 0: there is no such table */
  int *base;           /* [groups] */
  uint8_t *index;      /* [groups, 16 outputs, 4] */
  int8_t *weight;      /* [groups, quads, 3 parts, 16, 4] */
} VigByteTaps;

enum { VIG_BYTES_BEYOND = 256 }; /* samples that may be read, as bytes, beyond a row */

/* false: no memory, or the outputs of a group lie too far apart for it */
bool vig_byte_taps_init (VigByteTaps *t, const VigSplitTaps *from);
void vig_byte_taps_clear (VigByteTaps *t);

/* But for load, all may read and write rows up to a multiple of 16 samples. */

/* to[i] = (the little-endian word of step bytes at from + i * step >> shift & mask) << up; reads those n words only */
void vig_row_load (int16_t *to, const uint8_t *from, int n, int step, int shift, int mask, int up);

/* to = a * weight_a + b * weight_b */
void vig_row_blend (int16_t *to, const int16_t *a, const int16_t *b, int n, int weight_a, int weight_b);

/* Chroma c[-1 .. n], sited at even luma positions (site 0) or midway to the odd ones (1), to 2 n positions, times 4 */
void vig_row_widen (int16_t *to, const int16_t *c, int n, int site);

/* YUV in sixteenths to 0..255 */
void vig_row_colour (int16_t *const rgb[3], const int16_t *y, const int16_t *u, const int16_t *v, int n,
    const VigColorMatrix *m);

/* All outputs of t, for 1 or 3 channels that lie to_distance and from_distance apart. Reads t->taps samples from
 * t->first[i] on, however many count. */
void vig_row_across (int16_t *to, ptrdiff_t to_distance, const int16_t *from, ptrdiff_t from_distance, int channels,
    const VigSplitTaps *t);

/* The same, only where cpu->bytes; bytes: for channels * (from_distance + VIG_BYTES_BEYOND) of them */
void vig_row_across_bytes (int16_t *to, ptrdiff_t to_distance, const int16_t *from, ptrdiff_t from_distance, int channels,
    const VigByteTaps *t, uint8_t *bytes);

/* Output i of t, for n columns; row[k] is row t->first[i] + k */
void vig_row_down (int16_t *to, const int16_t *const *row, int n, const VigSplitTaps *t, int i);

#endif
