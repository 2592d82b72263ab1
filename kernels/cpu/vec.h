/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A vector of VW floats, for the files that are compiled once for each instruction set (the compiler's own macros say
 * for which), and the functions of ViG on it. VARIANT(name) is name_avx2, name_avx512 or name_bf16.
 *
 * Errors are against the true value of the float argument, largest found by tests/kernels/ and by the fits themselves.
 */
#ifndef VIG_VEC_H
#define VIG_VEC_H

#include <immintrin.h>

#include "ref/ref.h"

#if defined __AVX512F__

#if defined __AVX512BF16__
#define VARIANT(name) name##_bf16
#else
#define VARIANT(name) name##_avx512
#endif
enum { VW = 16 };
typedef __m512 Vec;
typedef __mmask16 Lanes; /* the first n lanes */

static inline Lanes v_lanes (int n) { return (Lanes) ((1u << n) - 1); }
static inline Vec v_set (float x) { return _mm512_set1_ps (x); }
static inline Vec v_load (const float *p) { return _mm512_loadu_ps (p); }
static inline void v_store (float *p, Vec x) { _mm512_storeu_ps (p, x); }
static inline Vec v_load_lanes (const float *p, Lanes m) { return _mm512_maskz_loadu_ps (m, p); } /* the others: 0 */
static inline void v_store_lanes (float *p, Lanes m, Vec x) { _mm512_mask_storeu_ps (p, m, x); }
static inline Vec v_zero_beyond (Lanes m, Vec x) { return _mm512_maskz_mov_ps (m, x); }
static inline Vec v_add (Vec a, Vec b) { return _mm512_add_ps (a, b); }
static inline Vec v_sub (Vec a, Vec b) { return _mm512_sub_ps (a, b); }
static inline Vec v_add_lanes (Lanes m, Vec a, Vec b) { return _mm512_mask_add_ps (a, m, a, b); } /* the others: a */
static inline Vec v_mul (Vec a, Vec b) { return _mm512_mul_ps (a, b); }
static inline Vec v_fma (Vec a, Vec b, Vec c) { return _mm512_fmadd_ps (a, b, c); }
static inline Vec v_fnma (Vec a, Vec b, Vec c) { return _mm512_fnmadd_ps (a, b, c); } /* c - a b */
static inline Vec v_sub_product (Vec a, Vec b, Vec c) { return _mm512_fmsub_ps (a, b, c); }     /* a b - c */
static inline Vec v_min (Vec a, Vec b) { return _mm512_min_ps (a, b); } /* b if either is NaN */
static inline Vec v_max (Vec a, Vec b) { return _mm512_max_ps (a, b); } /* likewise */
static inline Vec v_abs (Vec a) { return _mm512_abs_ps (a); }
static inline float v_sum (Vec x) { return _mm512_reduce_add_ps (x); }
static inline float v_greatest (Vec x) { return _mm512_reduce_max_ps (x); }

/* The sums of four vectors: to[i] = v_sum of the i-th, for a third of the work (in another order). */
static inline void
v_sum4 (Vec a, Vec b, Vec c, Vec d, float *to)
{
  Vec ab = v_add (_mm512_unpacklo_ps (a, b), _mm512_unpackhi_ps (a, b)); /* a b a b in each quarter */
  Vec cd = v_add (_mm512_unpacklo_ps (c, d), _mm512_unpackhi_ps (c, d));
  Vec abcd = v_add (_mm512_shuffle_ps (ab, cd, 0x44), _mm512_shuffle_ps (ab, cd, 0xee));
  __m256 half = _mm256_add_ps (_mm512_castps512_ps256 (abcd), _mm512_extractf32x8_ps (abcd, 1));
  _mm_storeu_ps (to, _mm_add_ps (_mm256_castps256_ps128 (half), _mm256_extractf128_ps (half, 1)));
}
static inline Vec v_round (Vec x) { return _mm512_roundscale_ps (x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC); }
static inline Vec v_scale (Vec x, Vec n) { return _mm512_scalef_ps (x, n); } /* x * 2^n */
static inline Vec v_scale_normal (Vec x, Vec n) { return v_scale (x, n); }

static inline Vec
v_if_negative (Vec x, Vec then, Vec otherwise)
{
  return _mm512_mask_mov_ps (otherwise, _mm512_movepi32_mask (_mm512_castps_si512 (x)), then);
}

/* 1 / x: a 14-bit estimate and one Newton step; 0 for infinity. */
static inline Vec
v_reciprocal (Vec x)
{
  Vec y = _mm512_rcp14_ps (x);
  return v_fma (y, v_fnma (x, y, v_set (1)), y);
}

static inline Vec v_reciprocal_near (Vec x) { return _mm512_rcp14_ps (x); } /* to 6e-5 */
static inline Vec v_inverse_root (Vec x) { return _mm512_div_ps (v_set (1), _mm512_sqrt_ps (x)); }

static inline Vec
v_from_bf16 (__m256i h)
{
  return _mm512_castsi512_ps (_mm512_slli_epi32 (_mm512_cvtepu16_epi32 (h), 16));
}

/* To nearest, ties to even; NaN stays NaN. The instruction takes denormals for 0. */
static inline __m256i
v_to_bf16 (Vec x)
{
#if defined __AVX512BF16__
  return (__m256i) _mm512_cvtneps_pbh (x);
#else
  __m512i u = _mm512_castps_si512 (x);
  __m512i odd = _mm512_and_si512 (_mm512_srli_epi32 (u, 16), _mm512_set1_epi32 (1));
  __m512i r = _mm512_add_epi32 (u, _mm512_add_epi32 (odd, _mm512_set1_epi32 (0x7fff)));
  r = _mm512_mask_or_epi32 (r, _mm512_cmp_ps_mask (x, x, _CMP_UNORD_Q), u, _mm512_set1_epi32 (0x400000));
  return _mm512_cvtepi32_epi16 (_mm512_srli_epi32 (r, 16));
#endif
}

static inline Vec v_from_f16 (__m256i h) { return _mm512_cvtph_ps (h); }
static inline __m256i v_to_f16 (Vec x) { return _mm512_cvtps_ph (x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC); }

/* VW numbers of 16 bits */
typedef __m256i Narrow;
static inline Narrow v_load_16 (const uint16_t *p) { return _mm256_loadu_si256 ((const __m256i *) p); }
static inline void v_store_16 (uint16_t *p, Narrow x) { _mm256_storeu_si256 ((__m256i *) p, x); }
static inline Narrow v_load_16_lanes (const uint16_t *p, Lanes m) { return _mm256_maskz_loadu_epi16 (m, p); }
static inline void v_store_16_lanes (uint16_t *p, Lanes m, Narrow x) { _mm256_mask_storeu_epi16 (p, m, x); }

#elif defined __AVX2__

#define VARIANT(name) name##_avx2
enum { VW = 8 };
typedef __m256 Vec;
typedef __m256i Lanes;


static inline Lanes
v_lanes (int n)
{
  return _mm256_cmpgt_epi32 (_mm256_set1_epi32 (n), _mm256_setr_epi32 (0, 1, 2, 3, 4, 5, 6, 7));
}

static inline Vec v_set (float x) { return _mm256_set1_ps (x); }
static inline Vec v_load (const float *p) { return _mm256_loadu_ps (p); }
static inline void v_store (float *p, Vec x) { _mm256_storeu_ps (p, x); }
static inline Vec v_load_lanes (const float *p, Lanes m) { return _mm256_maskload_ps (p, m); }
static inline void v_store_lanes (float *p, Lanes m, Vec x) { _mm256_maskstore_ps (p, m, x); }
static inline Vec v_zero_beyond (Lanes m, Vec x) { return _mm256_and_ps (_mm256_castsi256_ps (m), x); }
static inline Vec v_add (Vec a, Vec b) { return _mm256_add_ps (a, b); }
static inline Vec v_sub (Vec a, Vec b) { return _mm256_sub_ps (a, b); }
static inline Vec v_add_lanes (Lanes m, Vec a, Vec b) { return _mm256_add_ps (a, _mm256_and_ps (_mm256_castsi256_ps (m), b)); }
static inline Vec v_mul (Vec a, Vec b) { return _mm256_mul_ps (a, b); }
static inline Vec v_fma (Vec a, Vec b, Vec c) { return _mm256_fmadd_ps (a, b, c); }
static inline Vec v_fnma (Vec a, Vec b, Vec c) { return _mm256_fnmadd_ps (a, b, c); }
static inline Vec v_sub_product (Vec a, Vec b, Vec c) { return _mm256_fmsub_ps (a, b, c); }
static inline Vec v_min (Vec a, Vec b) { return _mm256_min_ps (a, b); }
static inline Vec v_max (Vec a, Vec b) { return _mm256_max_ps (a, b); }
static inline Vec v_abs (Vec a) { return _mm256_andnot_ps (v_set (-0.f), a); }
static inline Vec v_if_negative (Vec x, Vec then, Vec otherwise) { return _mm256_blendv_ps (otherwise, then, x); }
static inline Vec v_round (Vec x) { return _mm256_round_ps (x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC); }
static inline Vec v_reciprocal (Vec x) { return _mm256_div_ps (v_set (1), x); }
static inline Vec v_reciprocal_near (Vec x) { return _mm256_rcp_ps (x); } /* to 4e-4 */
static inline Vec v_inverse_root (Vec x) { return _mm256_div_ps (v_set (1), _mm256_sqrt_ps (x)); }

static inline float
v_sum (Vec x)
{
  __m128 s = _mm_add_ps (_mm256_castps256_ps128 (x), _mm256_extractf128_ps (x, 1));
  s = _mm_add_ps (s, _mm_movehl_ps (s, s));
  return _mm_cvtss_f32 (_mm_add_ss (s, _mm_movehdup_ps (s)));
}

static inline float
v_greatest (Vec x)
{
  __m128 s = _mm_max_ps (_mm256_castps256_ps128 (x), _mm256_extractf128_ps (x, 1));
  s = _mm_max_ps (s, _mm_movehl_ps (s, s));
  return _mm_cvtss_f32 (_mm_max_ss (s, _mm_movehdup_ps (s)));
}

static inline void
v_sum4 (Vec a, Vec b, Vec c, Vec d, float *to)
{
  Vec ab = v_add (_mm256_unpacklo_ps (a, b), _mm256_unpackhi_ps (a, b));
  Vec cd = v_add (_mm256_unpacklo_ps (c, d), _mm256_unpackhi_ps (c, d));
  Vec abcd = v_add (_mm256_shuffle_ps (ab, cd, 0x44), _mm256_shuffle_ps (ab, cd, 0xee));
  _mm_storeu_ps (to, _mm_add_ps (_mm256_castps256_ps128 (abcd), _mm256_extractf128_ps (abcd, 1)));
}

/* x * 2^n for whole n in -250 .. 250, in two steps so that denormals come out right. */
static inline Vec
v_scale (Vec x, Vec n)
{
  __m256i whole = _mm256_cvtps_epi32 (n), half = _mm256_srai_epi32 (whole, 1), bias = _mm256_set1_epi32 (127);
  __m256i a = _mm256_slli_epi32 (_mm256_add_epi32 (half, bias), 23);
  __m256i b = _mm256_slli_epi32 (_mm256_add_epi32 (_mm256_sub_epi32 (whole, half), bias), 23);
  return v_mul (v_mul (x, _mm256_castsi256_ps (a)), _mm256_castsi256_ps (b));
}

/* The same where neither x nor the result is 0, denormal or infinite. */
static inline Vec
v_scale_normal (Vec x, Vec n)
{
  return _mm256_castsi256_ps (_mm256_add_epi32 (_mm256_castps_si256 (x), _mm256_slli_epi32 (_mm256_cvtps_epi32 (n), 23)));
}

static inline Vec
v_from_bf16 (__m128i h)
{
  return _mm256_castsi256_ps (_mm256_slli_epi32 (_mm256_cvtepu16_epi32 (h), 16));
}

static inline __m128i
v_to_bf16 (Vec x)
{
  __m256i u = _mm256_castps_si256 (x);
  __m256i odd = _mm256_and_si256 (_mm256_srli_epi32 (u, 16), _mm256_set1_epi32 (1));
  __m256i r = _mm256_add_epi32 (u, _mm256_add_epi32 (odd, _mm256_set1_epi32 (0x7fff)));
  __m256i nan = _mm256_or_si256 (u, _mm256_set1_epi32 (0x400000));
  r = _mm256_blendv_epi8 (r, nan, _mm256_castps_si256 (_mm256_cmp_ps (x, x, _CMP_UNORD_Q)));
  r = _mm256_srli_epi32 (r, 16);
  return _mm_packus_epi32 (_mm256_castsi256_si128 (r), _mm256_extracti128_si256 (r, 1));
}

static inline Vec v_from_f16 (__m128i h) { return _mm256_cvtph_ps (h); }
static inline __m128i v_to_f16 (Vec x) { return _mm256_cvtps_ph (x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC); }

/* VW numbers of 16 bits */
typedef __m128i Narrow;
static inline int v_count (Lanes m) { return __builtin_popcount ((unsigned) _mm256_movemask_ps (_mm256_castsi256_ps (m))); }
static inline Narrow v_load_16 (const uint16_t *p) { return _mm_loadu_si128 ((const __m128i *) p); }
static inline void v_store_16 (uint16_t *p, Narrow x) { _mm_storeu_si128 ((__m128i *) p, x); }

static inline Narrow
v_load_16_lanes (const uint16_t *p, Lanes m)
{
  uint16_t all[VW] = { 0 };
  memcpy (all, p, sizeof *p * (size_t) v_count (m));
  return v_load_16 (all);
}

static inline void
v_store_16_lanes (uint16_t *p, Lanes m, Narrow x)
{
  uint16_t all[VW];
  v_store_16 (all, x);
  memcpy (p, all, sizeof *p * (size_t) v_count (m));
}

#endif

static inline Vec
v_widen (Narrow x, VigType type)
{
  return type == VIG_TYPE_F16 ? v_from_f16 (x) : v_from_bf16 (x);
}

static inline Narrow
v_narrow (Vec x, VigType type)
{
  return type == VIG_TYPE_F16 ? v_to_f16 (x) : v_to_bf16 (x);
}

/* Up to VW elements from i on of a tensor of any type, n being how many are left (lanes beyond: 0). type is a constant
 * wherever these are inlined. */
static inline Vec
v_get (const void *p, size_t i, VigType type, int n)
{
  if (type == VIG_TYPE_F32)
    return n >= VW ? v_load ((const float *) p + i) : v_load_lanes ((const float *) p + i, v_lanes (n));
  const uint16_t *at = (const uint16_t *) p + i;
  return v_widen (n >= VW ? v_load_16 (at) : v_load_16_lanes (at, v_lanes (n)), type);
}

static inline Vec
v_get_f (const float *p, int n)
{
  return v_get (p, 0, VIG_TYPE_F32, n);
}

static inline void
v_put (void *p, size_t i, VigType type, int n, Vec x)
{
  if (type == VIG_TYPE_F32) {
    if (n >= VW)
      v_store ((float *) p + i, x);
    else
      v_store_lanes ((float *) p + i, v_lanes (n), x);
  } else {
    if (n >= VW)
      v_store_16 ((uint16_t *) p + i, v_narrow (x, type));
    else
      v_store_16_lanes ((uint16_t *) p + i, v_lanes (n), v_narrow (x, type));
  }
}

/* One element, rounded as v_put rounds. */
static inline void
v_put_one (void *p, size_t i, VigType type, float x)
{
  if (type == VIG_TYPE_F16)
    ((uint16_t *) p)[i] = (uint16_t) _cvtss_sh (x, _MM_FROUND_TO_NEAREST_INT);
  else
    vig_set (p, i, type, x);
}

/* (2^f - 1) / f for f in -0.5 .. 0.5, to 2e-9. */
static inline Vec
v_exp2_slope (Vec f)
{
  Vec p = v_fma (f, v_set (0.000153533572f), v_set (0.00133988762f));
  p = v_fma (f, p, v_set (0.00961843739f));
  p = v_fma (f, p, v_set (0.0555033247f));
  p = v_fma (f, p, v_set (0.240226479f));
  return v_fma (f, p, v_set (0.693147203f));
}

/* 2^(x c), c being log2 e or its negative: 2^n 2^f, n = round (x c), f = x c - n in one rounding. For x in -150 .. 150;
 * relative error 1e-7 + 2e-8 |x|; denormals, 0 and infinity where they belong. */
static inline Vec
v_exp2_of (Vec x, float c)
{
  Vec n = v_round (v_mul (x, v_set (c)));
  Vec f = v_sub_product (x, v_set (c), n);
  return v_scale (v_fma (f, v_exp2_slope (f), v_set (1)), n);
}

#define V_LOG2E 1.44269504f

/* exp x for x up to 88; 0 far below; NaN for NaN. */
static inline Vec
v_exp (Vec x)
{
  return v_exp2_of (v_max (v_set (-150), x), V_LOG2E);
}

/* 1 / (1 + exp -x). For what becomes a number of type: relative error 2e-7 + 2e-8 |x| above x = -87, denormal or 0 below;
 * 2e-4 (AVX2: 5e-4) where 16 bits do not hold more, and there 1e-38 below x = -87. */
static inline Vec
v_sigmoid (Vec x, VigType type)
{
  if (type == VIG_TYPE_F32) {
    x = v_min (v_set (150), v_max (v_set (-88), x));
    return v_reciprocal (v_add (v_set (1), v_exp2_of (x, -V_LOG2E)));
  }
  x = v_min (v_set (87), v_max (v_set (-87), x));
  Vec n = v_round (v_mul (x, v_set (-V_LOG2E)));
  Vec f = v_sub_product (x, v_set (-V_LOG2E), n);
  Vec p = v_fma (f, v_set (0.0551716704f), v_set (0.242611143f)); /* 2^f to 8e-5 */
  p = v_fma (f, p, v_set (0.693260987f));
  p = v_fma (f, p, v_set (0.999928072f));
  return v_reciprocal_near (v_add (v_set (1), v_scale_normal (p, n)));
}

static inline Vec
v_silu (Vec x, VigType type)
{
  return v_mul (x, v_sigmoid (x, type));
}

/* 0.5 x (1 + erf (x / sqrt 2)) = x Phi (x), by erfc y = t exp (-y^2 + P (t)), t = 1 / (1 + y / 2), y = |x| / sqrt 2.
 * P of degree 9 is fitted at Chebyshev nodes over y = 0 .. 10 to 5e-8 in the exponent. Error 1e-6 relatively down to
 * x = -5, where the function is -1.4e-6. */
static inline Vec
v_gelu (Vec x)
{
  static const float P[] = { -1.265448f, 0.998632783f, 0.386640412f, 0.0346027996f, 0.00126758794f, -0.0802804356f,
    -0.696251894f, 1.15673375f, -0.680827176f, 0.144930213f };
  Vec y = v_min (v_set (10), v_mul (v_abs (x), v_set (0.707106781f)));
  Vec t = v_reciprocal (v_fma (y, v_set (0.5f), v_set (1)));
  Vec p = v_set (P[9]);
  for (int i = 8; i >= 0; i--)
    p = v_fma (p, t, v_set (P[i]));
  Vec tail = v_mul (v_mul (v_set (0.5f), t), v_exp (v_fnma (y, y, p)));
  return v_mul (x, v_if_negative (x, tail, v_sub (v_set (1), tail)));
}

/* log sigmoid z = min (z, 0) - log1p (e), e = exp -|z| <= 1, log1p e = e Q (e), Q fitted to 3e-8. Relative error 3e-7 +
 * 2e-8 |z|. */
static inline Vec
v_log_sigmoid (Vec z)
{
  static const float Q[] = { 0.99999997f, -0.49999493f, 0.333190945f, -0.248429641f, 0.191059357f, -0.136630948f,
    0.078224172f, -0.029504146f, 0.00523242162f };
  Vec e = v_exp2_of (v_min (v_set (150), v_abs (z)), -V_LOG2E);
  Vec q = v_set (Q[8]);
  for (int i = 7; i >= 0; i--)
    q = v_fma (q, e, v_set (Q[i]));
  return v_fnma (q, e, v_min (v_set (0), z));
}

/* exp (log_sigmoid (z) / 16) = (1 + exp -z)^(-1/16). With u = exp (-|z| / 16), e = u^16: (1 + e)^(-1/16) = 1 + e R (e), times
 * u if z < 0. Beside factors of type F32: relative error 3e-7 + 2e-9 |z|, of the logarithm 4e-6; beside narrower ones 4e-6
 * and 1e-4. */
static inline Vec
v_decay (Vec z, VigType type)
{
  static const float near[] = { -0.0624959556f, 0.0329882414f, -0.0209067602f, 0.0108945849f, -0.00287957332f };
  static const float exact[] = { -0.0624999858f, 0.0332012304f, -0.0227849627f, 0.0171093994f, -0.0125571808f,
    0.0076797172f, -0.00315794373f, 0.000613016288f };
  const float *R = type == VIG_TYPE_F32 ? exact : near;
  Vec x = v_min (v_set (2400), v_abs (z)), u;
  if (type == VIG_TYPE_F32)
    u = v_exp2_of (x, -V_LOG2E / 16);
  else {
    Vec n = v_round (v_mul (x, v_set (-V_LOG2E / 16)));
    Vec f = v_sub_product (x, v_set (-V_LOG2E / 16), n);
    Vec p = v_fma (f, v_set (0.00957010206f), v_set (0.0559178632f)); /* 2^f to 3e-6 */
    p = v_fma (f, p, v_set (0.240247448f));
    p = v_fma (f, p, v_set (0.693121814f));
    u = v_scale (v_fma (f, p, v_set (0.999999261f)), n);
  }
  Vec e = v_mul (u, u);
  e = v_mul (e, e);
  e = v_mul (e, e);
  e = v_mul (e, e);
  int degree = type == VIG_TYPE_F32 ? 7 : 4;
  Vec r = v_set (R[degree]);
  for (int i = degree - 1; i >= 0; i--)
    r = v_fma (r, e, v_set (R[i]));
  r = v_fma (r, e, v_set (1));
  return v_if_negative (z, v_mul (u, r), r);
}

static inline Vec
v_act (Vec x, VigAct act, VigType type)
{
  return act == VIG_ACT_SILU ? v_silu (x, type) : act == VIG_ACT_GELU ? v_gelu (x) : x;
}

/* n numbers from element i on will be wanted soon. For what lies a row apart, too far for the hardware to see a pattern. */
static inline void
prefetch (const void *p, size_t i, int n, VigType type)
{
  const char *at = (const char *) p + i * vig_type_size (type), *end = at + n * vig_type_size (type);
  for (; at < end; at += 64)
    __builtin_prefetch (at);
}

/* Inner loops take element types and activations as constants: templates, and calls of f (…, type) with the type as one. */
#define TEMPLATE static inline __attribute__ ((always_inline)) void

#define FOR_TYPE(type, f, ...) \
  do { \
    if ((type) == VIG_TYPE_F32) \
      f (__VA_ARGS__, VIG_TYPE_F32); \
    else if ((type) == VIG_TYPE_BF16) \
      f (__VA_ARGS__, VIG_TYPE_BF16); \
    else \
      f (__VA_ARGS__, VIG_TYPE_F16); \
  } while (0)

/* What ops.c does for gla-mix.c and time.c. */

/* The mix of gate_mix: of rows, as the other operators give and want them. */
typedef struct {
  int heads, dv;
  const void *gate; ptrdiff_t gate_row; VigType gate_type; /* F32 or type */
  const float *o; ptrdiff_t o_row;
  const void *l; void *m; ptrdiff_t row;                   /* of type */
  VigType type;
  const float *g_norm, *l_norm;
  float eps;
  VigAct act;
} Mix;

void VARIANT (vig_mix_rows) (const Mix *a, int first, int end);

/* All rows and channels on this thread; scratch: rank * LOG_DECAY_CHANNELS floats. */
void VARIANT (vig_log_decay_rows) (const VigLogDecay *a, float *scratch);
enum { LOG_DECAY_CHANNELS = 2 * VW };

#endif
