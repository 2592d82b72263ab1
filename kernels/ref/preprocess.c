/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * From a picture in memory to the input tensor, in scalar C: the definition.
 *
 *   1. Every source pixel becomes 8-bit RGB. Chroma is interpolated linearly at its siting, exactly (sixteenths); the
 *      samples around a pixel may lie outside the crop, but are clamped to the picture. So a crop of a picture has
 *      the colours of the whole picture.
 *   2. The crop is turned upright.
 *   3. It is resized with an antialiased bicubic filter, a = -0.5: rows first, then columns, each pass rounded and
 *      clipped to 0..255. Weights, order and rounding are those of Pillow's 8-bit resize (what the official evaluation
 *      transform uses), to the bit. Only the window of the result is computed.
 *   4. The window is normalised to planar float.
 *
 * Domain: RGB and gray of 8 bits, YUV of 8 to 10; chroma subsampled by 1 or 2 on each axis; resizing by less than
 * 2^22 on an axis.
 */
#include "ref/preprocess.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

struct VigPreprocess {
  VigPreprocessDesc desc;
  VigTaps h, v;          /* over the upright crop */
  VigColorMatrix matrix;
  int x0, x1, y0, y1;    /* the part of the upright crop that the window is made of */
  uint8_t *row;          /* [x1 - x0, 3], one upright row */
  uint8_t *narrow;       /* [y1 - y0, out_width, 3], after the horizontal pass */
};

/* ---- resize tables -------------------------------------------------------------------------------------------- */

/* The cubic convolution kernel of Keys (1981), a = -0.5. */
static double
bicubic (double x)
{
  const double a = -0.5;

  x = fabs (x);
  if (x < 1)
    return ((a + 2) * x - (a + 3)) * x * x + 1;
  if (x < 2)
    return ((a * x - 5 * a) * x + 8 * a) * x - 4 * a;
  return 0;
}

/* Taps of output i; w has room for taps->max. */
static void
make_taps (VigTaps *taps, int i, int in, double centre, double stretch, double *w)
{
  double support = 2 * stretch, sum = 0;
  int first = (int) (centre - support + 0.5), end = (int) (centre + support + 0.5);
  int32_t *weight = taps->weight + (size_t) i * taps->max;

  first = first < 0 ? 0 : first;
  end = end > in ? in : end;
  for (int k = 0; k < end - first; k++)
    sum += w[k] = bicubic ((first + k - centre + 0.5) / stretch);
  for (int k = 0; k < end - first; k++)
    weight[k] = (int32_t) lround (w[k] / sum * (1 << VIG_TAP_BITS)); /* halves away from 0 */
  taps->first[i] = first;
  taps->count[i] = end - first;
}

bool
vig_taps_init (VigTaps *taps, int in, int out, int from, int n)
{
  double scale = (double) in / out, stretch = scale > 1 ? scale : 1;
  double *w;

  taps->n = n;
  taps->max = 2 * (int) ceil (2 * stretch) + 1;
  if (taps->max > in)
    taps->max = in;
  taps->first = calloc (n, sizeof *taps->first);
  taps->count = calloc (n, sizeof *taps->count);
  taps->weight = calloc ((size_t) n * taps->max, sizeof *taps->weight);
  w = calloc (taps->max, sizeof *w);
  if (!taps->first || !taps->count || !taps->weight || !w) {
    free (w);
    vig_taps_clear (taps);
    return false;
  }
  for (int i = 0; i < n; i++)
    make_taps (taps, i, in, (from + i + 0.5) * scale, stretch, w);
  free (w);
  return true;
}

void
vig_taps_clear (VigTaps *taps)
{
  free (taps->first);
  free (taps->count);
  free (taps->weight);
  memset (taps, 0, sizeof *taps);
}

/* ---- colour --------------------------------------------------------------------------------------------------- */

void
vig_color_matrix_init (VigColorMatrix *m, const VigPreprocessDesc *desc)
{
  int depth = desc->component[0].depth;
  double one = 1 << (depth - 8); /* sample steps in an 8-bit step */
  double max = (1 << depth) - 1;
  double kr = desc->kr, kb = desc->kb, kg = 1 - kr - kb;
  double luma = desc->full_range ? 255 / max : 255 / (219 * one);
  double chroma = desc->kind == VIG_COLOR_GRAY ? 0 : desc->full_range ? 255 / max : 255 / (224 * one);
  double black = desc->full_range ? 0 : 16 * one, middle = 128 * one;
  double u[3] = { 0, -2 * kb * (1 - kb) / kg, 2 * (1 - kb) };
  double v[3] = { 2 * (1 - kr), -2 * kr * (1 - kr) / kg, 0 };
  double unit;

  /* 13 bits for the gain in 8-bit steps (at most 2.15), 4 for the sixteenths, 2 more for samples of 10 bits */
  m->shift = 13 + 4 + (depth - 8);
  unit = ldexp (1, m->shift - 4);
  for (int i = 0; i < 3; i++) {
    m->y[i] = (int32_t) lround (luma * unit);
    m->u[i] = desc->kind == VIG_COLOR_GRAY ? 0 : (int32_t) lround (chroma * u[i] * unit);
    m->v[i] = desc->kind == VIG_COLOR_GRAY ? 0 : (int32_t) lround (chroma * v[i] * unit);
    m->bias[i] = (1 << (m->shift - 1)) - (int32_t) (16 * (black * m->y[i] + middle * (m->u[i] + m->v[i])));
  }
}

static int
sample (const VigPlanes *planes, const VigComponent *c, int x, int y)
{
  const uint8_t *at = planes->plane[c->plane] + y * planes->stride[c->plane] + c->offset + (ptrdiff_t) x * c->step;
  int raw = c->depth > 8 ? at[0] | at[1] << 8 : at[0];
  return raw >> c->shift & ((1 << c->depth) - 1);
}

/* A chroma component at a luma sample, in sixteenths. */
static int
chroma (const VigPreprocessDesc *d, const VigPlanes *planes, const VigComponent *c, int x, int y)
{
  int x0, x1, y0, y1;
  int fx = vig_chroma_around (x, d->sub_x, d->site_x, (d->width + d->sub_x) >> d->sub_x, &x0, &x1);
  int fy = vig_chroma_around (y, d->sub_y, d->site_y, (d->height + d->sub_y) >> d->sub_y, &y0, &y1);

  return (4 - fy) * ((4 - fx) * sample (planes, c, x0, y0) + fx * sample (planes, c, x1, y0))
      + fy * ((4 - fx) * sample (planes, c, x0, y1) + fx * sample (planes, c, x1, y1));
}

static void
pixel (const VigPreprocess *p, const VigPlanes *planes, int x, int y, uint8_t rgb[3])
{
  const VigPreprocessDesc *d = &p->desc;
  const VigColorMatrix *m = &p->matrix;
  int luma, cb = 0, cr = 0;

  if (d->kind == VIG_COLOR_RGB) {
    for (int c = 0; c < 3; c++)
      rgb[c] = (uint8_t) sample (planes, &d->component[c], x, y);
    return;
  }
  luma = 16 * sample (planes, &d->component[0], x, y);
  if (d->kind == VIG_COLOR_YUV) {
    cb = chroma (d, planes, &d->component[1], x, y);
    cr = chroma (d, planes, &d->component[2], x, y);
  }
  for (int c = 0; c < 3; c++) {
    int value = (m->y[c] * luma + m->u[c] * cb + m->v[c] * cr + m->bias[c]) >> m->shift;
    rgb[c] = value < 0 ? 0 : value > 255 ? 255 : (uint8_t) value;
  }
}

/* ---- the passes ----------------------------------------------------------------------------------------------- */

/* Pixel (x, y) of the upright crop. */
static void
upright_pixel (const VigPreprocess *p, const VigPlanes *planes, int x, int y, uint8_t rgb[3])
{
  int sx, sy;

  vig_upright_source (&p->desc, x, y, &sx, &sy);
  pixel (p, planes, sx, sy, rgb);
}

static void
narrow_row (VigPreprocess *p, const VigPlanes *planes, int y)
{
  uint8_t *to = p->narrow + (size_t) (y - p->y0) * p->h.n * 3;

  for (int x = p->x0; x < p->x1; x++)
    upright_pixel (p, planes, x, y, p->row + (size_t) (x - p->x0) * 3);
  for (int i = 0; i < p->h.n; i++)
    for (int c = 0; c < 3; c++) {
      int32_t sum = 0;
      for (int k = 0; k < p->h.count[i]; k++)
        sum += p->h.weight[(size_t) i * p->h.max + k] * p->row[(size_t) (p->h.first[i] + k - p->x0) * 3 + c];
      to[i * 3 + c] = vig_tap_round (sum);
    }
}

static void
out_pixel (const VigPreprocess *p, int x, int y, float *out)
{
  size_t plane = (size_t) p->h.n * p->v.n;

  for (int c = 0; c < 3; c++) {
    int32_t sum = 0;
    for (int k = 0; k < p->v.count[y]; k++)
      sum += p->v.weight[(size_t) y * p->v.max + k]
          * p->narrow[((size_t) (p->v.first[y] + k - p->y0) * p->h.n + x) * 3 + c];
    out[c * plane + (size_t) y * p->h.n + x] = vig_normalise (&p->desc, c, vig_tap_round (sum));
  }
}

void
vig_preprocess_run_c (void *ctx, VigPreprocess *p, const VigPlanes *frames, int n, float *out)
{
  for (int f = 0; f < n; f++, out += (size_t) 3 * p->h.n * p->v.n) {
    for (int y = p->y0; y < p->y1; y++)
      narrow_row (p, &frames[f], y);
    for (int y = 0; y < p->v.n; y++)
      for (int x = 0; x < p->h.n; x++)
        out_pixel (p, x, y, out);
  }
}

VigPreprocess *
vig_preprocess_create_c (void *ctx, const VigPreprocessDesc *desc)
{
  VigPreprocess *p = calloc (1, sizeof *p);

  if (p == NULL)
    return NULL;
  assert (desc->out_x >= 0 && desc->out_x + desc->out_width <= desc->resize_width);
  assert (desc->out_y >= 0 && desc->out_y + desc->out_height <= desc->resize_height);
  assert (desc->component[0].depth <= (desc->kind == VIG_COLOR_YUV ? 10 : 8));
  p->desc = *desc;
  if (desc->kind != VIG_COLOR_RGB)
    vig_color_matrix_init (&p->matrix, desc);
  if (!vig_taps_init (&p->h, vig_upright_width (desc), desc->resize_width, desc->out_x, desc->out_width)
      || !vig_taps_init (&p->v, vig_upright_height (desc), desc->resize_height, desc->out_y, desc->out_height))
    goto fail;
  p->x0 = p->h.first[0];
  p->x1 = p->h.first[p->h.n - 1] + p->h.count[p->h.n - 1];
  p->y0 = p->v.first[0];
  p->y1 = p->v.first[p->v.n - 1] + p->v.count[p->v.n - 1];
  p->row = malloc ((size_t) (p->x1 - p->x0) * 3);
  p->narrow = malloc ((size_t) (p->y1 - p->y0) * p->h.n * 3);
  if (p->row == NULL || p->narrow == NULL)
    goto fail;
  return p;

fail:
  vig_preprocess_destroy_c (ctx, p);
  return NULL;
}

void
vig_preprocess_destroy_c (void *ctx, VigPreprocess *p)
{
  if (p == NULL)
    return;
  vig_taps_clear (&p->h);
  vig_taps_clear (&p->v);
  free (p->row);
  free (p->narrow);
  free (p);
}
