/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef VIG_MAP_H
#define VIG_MAP_H

#include <vig/frame.h>
#include <vig/model.h>

G_BEGIN_DECLS

/* In place of a class: that of the greatest logit; none. */
enum { VIG_MAP_TOP = -1, VIG_MAP_NONE = -2 };

enum { VIG_MAX_MAPS = 64 };

/**
 * VigMaps:
 * @n: how many are wanted of a picture, at most VIG_MAX_MAPS; 0: none
 * @classes: [@n]: of which classes: numbers of them, VIG_MAP_TOP or VIG_MAP_NONE
 * @chosen: (out caller-allocates): [@n]: which classes they became
 * @shares: (out caller-allocates): [@n, rows, columns], vig_map_get_grid(); of VIG_MAP_NONE 0
 *
 * Where in the picture a class comes from. A class's logit is the mean over the tokens, each of which stands for a cell of
 * the picture, plus a bias, so each cell has an exact share of it: the shares of a picture and vig_map_get_bias() add up to
 * the logit. Of a window of frames they are those of its last frame alone, of the window's logit.
 */
typedef struct {
  guint n;
  const int *classes;
  int *chosen;
  float *shares;
} VigMaps;

/* Of inputs of @height x @width pixels: how many cells they are. */
VIG_API void vig_map_get_grid (const VigModel *model, guint height, guint width, guint *rows, guint *columns);

/* What the shares of class @index add up to with it is its logit. */
VIG_API float vig_map_get_bias (const VigModel *model, guint index);

/* A rectangle of a picture as it is in memory, in luma samples. */
typedef struct {
  double x, y, width, height;
} VigMapArea;

/**
 * vig_map_get_area:
 * @size: side of the square input, pixels; 0: what the model says
 * @error: VIG_ERROR_ARGUMENT: as vig_engine_classify_frames()
 *
 * Which part of the picture the input shows, and the cells divide evenly: models look at the middle, cropped to a square.
 */
VIG_API gboolean vig_map_get_area (const VigModel *model, const VigFrame *frame, guint size, VigMapArea *area, GError **error);

/**
 * vig_map_turn:
 * @rows, @columns: of @from
 * @from: cells of an upright picture
 * @to: (out caller-allocates): the same cells, in the order in which they lie in the picture as it is in memory; from an
 *   orientation of 5 on these are @columns rows
 */
VIG_API void vig_map_turn (VigOrientation orientation, guint rows, guint columns, const float *from, float *to);

G_END_DECLS
#endif
