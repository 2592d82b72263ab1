/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The inner loops of preprocessing for AVX2, one row at a time: plain where the compiler finds the vector code. All of
 * it is integer arithmetic, exact, so the bits are those of the reference.
 *
 * 1920x1080 NV12 to 224 on one thread of a Zen 4 core: 2.0 ms (check-preprocess --bench), or 5.3 million ticks of its
 * clock: across 3.0, load 0.6, colour 0.55, down 0.4, widen 0.15, blend 0.05, the rest is normalisation. An AVX-512
 * version of this across, all 17 taps in one register, was no faster: most of its loads cross a cache line
 * (preprocess-bytes.c has another way).
 */
#include "cpu/preprocess.h"

#include <endian.h>
#include <immintrin.h>
#include <string.h>

/* ---- loading -------------------------------------------------------------------------------------------------- */

/* Every third byte: of 16 pixels in three vectors, 16 bytes are picked and put in order. */
static void
load3 (int16_t *restrict to, const uint8_t *restrict from, int n, int shift, int up)
{
  const __m128i count = _mm_cvtsi32_si128 (up);
  uint8_t index[48];
  __m128i pick[3];
  int i = 0;

  memset (index, 0x80, sizeof index); /* gives 0 */
  for (int k = 0; k < 16; k++) {
    int at = 3 * k + shift / 8;
    index[at / 16 * 16 + k] = (uint8_t) (at % 16);
  }
  for (int j = 0; j < 3; j++)
    pick[j] = _mm_loadu_si128 ((const __m128i *) (index + 16 * j));
  for (; i + 16 <= n; i += 16) {
    const __m128i *at = (const __m128i *) (from + 3 * (size_t) i);
    __m128i v = _mm_shuffle_epi8 (_mm_loadu_si128 (at), pick[0]);
    v = _mm_or_si128 (v, _mm_shuffle_epi8 (_mm_loadu_si128 (at + 1), pick[1]));
    v = _mm_or_si128 (v, _mm_shuffle_epi8 (_mm_loadu_si128 (at + 2), pick[2]));
    _mm256_storeu_si256 ((__m256i *) (to + i), _mm256_sll_epi16 (_mm256_cvtepu8_epi16 (v), count));
  }
  for (; i < n; i++)
    to[i] = (int16_t) (from[3 * (size_t) i + shift / 8] << up);
}

static void
load1 (int16_t *restrict to, const uint8_t *restrict from, int n, int up)
{
  for (int i = 0; i < n; i++)
    to[i] = (int16_t) (from[i] << up);
}

static void
load2 (int16_t *restrict to, const uint8_t *restrict from, int n, int shift, int mask, int up)
{
  for (int i = 0; i < n; i++) {
    uint16_t word;
    memcpy (&word, from + 2 * (size_t) i, 2);
    to[i] = (int16_t) ((le16toh (word) >> shift & mask) << up);
  }
}

static void
load4 (int16_t *restrict to, const uint8_t *restrict from, int n, int shift, int mask, int up)
{
  for (int i = 0; i < n; i++) {
    uint32_t word;
    memcpy (&word, from + 4 * (size_t) i, 4);
    to[i] = (int16_t) ((le32toh (word) >> shift & mask) << up);
  }
}

void
vig_row_load (int16_t *to, const uint8_t *from, int n, int step, int shift, int mask, int up)
{
  switch (step) {
    case 1: load1 (to, from, n, up); break;
    case 2: load2 (to, from, n, shift, mask, up); break;
    case 3: load3 (to, from, n, shift, up); break;
    case 4: load4 (to, from, n, shift, mask, up); break;
  }
}

/* ---- colour --------------------------------------------------------------------------------------------------- */

void
vig_row_blend (int16_t *restrict to, const int16_t *restrict a, const int16_t *restrict b, int n, int weight_a,
    int weight_b)
{
  for (int i = 0; i < n; i++)
    to[i] = (int16_t) (a[i] * weight_a + b[i] * weight_b);
}

void
vig_row_widen (int16_t *restrict to, const int16_t *restrict c, int n, int site)
{
  for (int i = 0; i < n; i++) {
    to[2 * i] = (int16_t) (site * c[i - 1] + (4 - site) * c[i]);
    to[2 * i + 1] = (int16_t) ((2 + site) * c[i] + (2 - site) * c[i + 1]);
  }
}

/* Two factors for a pair of 16-bit lanes, as vpmaddwd takes them. */
static inline __m256i
pair (int a, int b)
{
  return _mm256_set1_epi32 ((int32_t) ((uint32_t) b << 16 | (uint16_t) a));
}

/* Two halves of a row, as unpacked, to 0..255 in order. */
static inline __m256i
clip (__m256i lo, __m256i hi)
{
  __m256i v = _mm256_packs_epi32 (lo, hi);
  return _mm256_min_epi16 (_mm256_max_epi16 (v, _mm256_setzero_si256 ()), _mm256_set1_epi16 (255));
}

void
vig_row_colour (int16_t *const rgb[3], const int16_t *y, const int16_t *u, const int16_t *v, int n,
    const VigColorMatrix *m)
{
  const __m128i shift = _mm_cvtsi32_si128 (m->shift);
  __m256i yu_gain[3], v_gain[3], bias[3];

  for (int c = 0; c < 3; c++) {
    yu_gain[c] = pair (m->y[c], m->u[c]);
    v_gain[c] = pair (m->v[c], 0);
    bias[c] = _mm256_set1_epi32 (m->bias[c]);
  }
  for (int i = 0; i < n; i += 16) {
    __m256i yy = _mm256_loadu_si256 ((const __m256i *) (y + i));
    __m256i uu = _mm256_loadu_si256 ((const __m256i *) (u + i));
    __m256i vv = _mm256_loadu_si256 ((const __m256i *) (v + i));
    __m256i yu_lo = _mm256_unpacklo_epi16 (yy, uu), yu_hi = _mm256_unpackhi_epi16 (yy, uu);
    __m256i v_lo = _mm256_unpacklo_epi16 (vv, vv), v_hi = _mm256_unpackhi_epi16 (vv, vv);
    for (int c = 0; c < 3; c++) {
      __m256i lo = _mm256_add_epi32 (_mm256_madd_epi16 (yu_lo, yu_gain[c]), bias[c]);
      __m256i hi = _mm256_add_epi32 (_mm256_madd_epi16 (yu_hi, yu_gain[c]), bias[c]);
      lo = _mm256_sra_epi32 (_mm256_add_epi32 (lo, _mm256_madd_epi16 (v_lo, v_gain[c])), shift);
      hi = _mm256_sra_epi32 (_mm256_add_epi32 (hi, _mm256_madd_epi16 (v_hi, v_gain[c])), shift);
      _mm256_storeu_si256 ((__m256i *) (rgb[c] + i), clip (lo, hi));
    }
  }
}

/* ---- filters -------------------------------------------------------------------------------------------------- */

/* Output i of every channel, as 8 partial sums each. */
static inline void
partial_sums (__m256i *sum, int channels, const int16_t *from, ptrdiff_t distance, const VigSplitTaps *t, int i)
{
  const int16_t *high = t->high + (size_t) i * t->taps, *low = t->low + (size_t) i * t->taps;
  __m256i h[3], l[3];

  from += t->first[i];
  for (int c = 0; c < channels; c++)
    h[c] = l[c] = _mm256_setzero_si256 ();
  for (int k = 0; k < t->taps; k += 16) {
    __m256i wh = _mm256_loadu_si256 ((const __m256i *) (high + k));
    __m256i wl = _mm256_loadu_si256 ((const __m256i *) (low + k));
    for (int c = 0; c < channels; c++) {
      __m256i s = _mm256_loadu_si256 ((const __m256i *) (from + c * distance + k));
      h[c] = _mm256_add_epi32 (h[c], _mm256_madd_epi16 (s, wh));
      l[c] = _mm256_add_epi32 (l[c], _mm256_madd_epi16 (s, wl));
    }
  }
  for (int c = 0; c < channels; c++)
    sum[c] = _mm256_add_epi32 (_mm256_slli_epi32 (h[c], VIG_SPLIT_BITS), l[c]);
}

/* The sums of four outputs, to 0..255. */
static inline void
finish_four (int16_t *to, __m256i a, __m256i b, __m256i c, __m256i d)
{
  __m256i abcd = _mm256_hadd_epi32 (_mm256_hadd_epi32 (a, b), _mm256_hadd_epi32 (c, d));
  __m128i v = _mm_add_epi32 (_mm256_castsi256_si128 (abcd), _mm256_extracti128_si256 (abcd, 1));

  v = _mm_srai_epi32 (_mm_add_epi32 (v, _mm_set1_epi32 (1 << (VIG_TAP_BITS - 1))), VIG_TAP_BITS);
  v = _mm_packs_epi32 (v, v);
  v = _mm_min_epi16 (_mm_max_epi16 (v, _mm_setzero_si128 ()), _mm_set1_epi16 (255));
  _mm_storel_epi64 ((__m128i *) to, v);
}

static inline void
across (int16_t *to, ptrdiff_t to_distance, const int16_t *from, ptrdiff_t from_distance, int channels,
    const VigSplitTaps *t)
{
  for (int i = 0; i < t->n; i += 4) {
    __m256i sum[4][3];
    for (int j = 0; j < 4; j++)
      partial_sums (sum[j], channels, from, from_distance, t, i + j);
    for (int c = 0; c < channels; c++)
      finish_four (to + c * to_distance + i, sum[0][c], sum[1][c], sum[2][c], sum[3][c]);
  }
}

void
vig_row_across (int16_t *to, ptrdiff_t to_distance, const int16_t *from, ptrdiff_t from_distance, int channels,
    const VigSplitTaps *t)
{
  if (channels == 3) /* a constant: the loops over it unroll */
    across (to, to_distance, from, from_distance, 3, t);
  else
    across (to, to_distance, from, from_distance, 1, t);
}

void
vig_row_down (int16_t *to, const int16_t *const *row, int n, const VigSplitTaps *t, int i)
{
  const int16_t *high = t->high + (size_t) i * t->taps, *low = t->low + (size_t) i * t->taps;
  const __m256i half = _mm256_set1_epi32 (1 << (VIG_TAP_BITS - 1));
  const int count = t->count[i];

  for (int x = 0; x < n; x += 16) {
    __m256i h_lo = _mm256_setzero_si256 (), h_hi = h_lo, l_lo = half, l_hi = half;
    for (int k = 0; k < count; k += 2) { /* past an odd end the weight is 0 */
      __m256i a = _mm256_loadu_si256 ((const __m256i *) (row[k] + x));
      __m256i b = _mm256_loadu_si256 ((const __m256i *) (row[k + 1 < count ? k + 1 : k] + x));
      __m256i lo = _mm256_unpacklo_epi16 (a, b), hi = _mm256_unpackhi_epi16 (a, b);
      __m256i wh = pair (high[k], high[k + 1]), wl = pair (low[k], low[k + 1]);
      h_lo = _mm256_add_epi32 (h_lo, _mm256_madd_epi16 (lo, wh));
      h_hi = _mm256_add_epi32 (h_hi, _mm256_madd_epi16 (hi, wh));
      l_lo = _mm256_add_epi32 (l_lo, _mm256_madd_epi16 (lo, wl));
      l_hi = _mm256_add_epi32 (l_hi, _mm256_madd_epi16 (hi, wl));
    }
    l_lo = _mm256_srai_epi32 (_mm256_add_epi32 (l_lo, _mm256_slli_epi32 (h_lo, VIG_SPLIT_BITS)), VIG_TAP_BITS);
    l_hi = _mm256_srai_epi32 (_mm256_add_epi32 (l_hi, _mm256_slli_epi32 (h_hi, VIG_SPLIT_BITS)), VIG_TAP_BITS);
    _mm256_storeu_si256 ((__m256i *) (to + x), clip (l_lo, l_hi));
  }
}
