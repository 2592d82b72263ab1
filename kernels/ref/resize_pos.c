/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Bicubic resizing of the position embedding. */
#include <math.h>

#include "kernels.h"

/* Cubic convolution kernel (Keys), a = -0.75. */
static double
cubic (double t)
{
  const double a = -0.75;
  t = fabs (t);
  if (t <= 1)
    return ((a + 2) * t - (a + 3)) * t * t + 1;
  return t < 2 ? ((a * t - 5 * a) * t + 8 * a) * t - 4 * a : 0;
}

/* The four taps of output i of out on an axis of in samples. */
static void
taps (int i, int out, int in, int index[4], double weight[4])
{
  double source = (i + 0.5) * in / out - 0.5;
  int first = (int) floor (source) - 1;
  for (int t = 0; t < 4; t++) {
    int at = first + t;
    weight[t] = cubic (source - at);
    index[t] = at < 0 ? 0 : at >= in ? in - 1 : at;
  }
}

void
vig_resize_pos (const float *pos, int n_h, int n_w, int c, float *out, int h, int w)
{
  int iy[4], ix[4];
  double wy[4], wx[4];
  for (int y = 0; y < h; y++) {
    taps (y, h, n_h, iy, wy);
    for (int x = 0; x < w; x++) {
      taps (x, w, n_w, ix, wx);
      for (int ch = 0; ch < c; ch++) {
        double sum = 0;
        for (int j = 0; j < 4; j++)
          for (int i = 0; i < 4; i++)
            sum += wy[j] * wx[i] * pos[((size_t) iy[j] * n_w + ix[i]) * c + ch];
        out[((size_t) y * w + x) * c + ch] = (float) sum;
      }
    }
  }
}
