/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <vig/map.h>

#include "frame-private.h"
#include "model-private.h"

/* How a picture in memory becomes upright: its axes are swapped, then each is turned round. */
typedef struct {
  gboolean swap, flip_x, flip_y;
} Turn;

static Turn
turn_of (VigOrientation orientation)
{
  static const Turn turns[] = { { 0 }, { 0 }, { .flip_x = TRUE }, { .flip_x = TRUE, .flip_y = TRUE }, { .flip_y = TRUE },
    { .swap = TRUE }, { .swap = TRUE, .flip_x = TRUE }, { TRUE, TRUE, TRUE }, { .swap = TRUE, .flip_y = TRUE } };
  return turns[orientation < G_N_ELEMENTS (turns) ? orientation : 1];
}

void
vig_map_get_grid (const VigModel *model, guint height, guint width, guint *rows, guint *columns)
{
  VigGrid stem, grids[VIG_MAX_STAGES];

  vig_config_grids (&model->config, height, width, &stem, grids);
  *rows = grids[model->config.n_stages - 1].h;
  *columns = grids[model->config.n_stages - 1].w;
}

float
vig_map_get_bias (const VigModel *model, guint index)
{
  return vig_model_get_weight (model, model->config.hierarchical ? "classifier.head.bias" : "head.bias")[index];
}

gboolean
vig_map_get_area (const VigModel *model, const VigFrame *frame, guint size, VigMapArea *area, GError **error)
{
  VigPreprocessDesc desc;
  VigPlanes planes;

  if (!vig_frame_describe (frame, &model->preprocess, size, &desc, &planes, error))
    return FALSE;
  const Turn turn = turn_of ((VigOrientation) desc.orientation);
  /* of the upright picture, 1 x 1 large */
  double x = (double) desc.out_x / desc.resize_width, y = (double) desc.out_y / desc.resize_height;
  double w = (double) desc.out_width / desc.resize_width, h = (double) desc.out_height / desc.resize_height;
  x = turn.flip_x ? 1 - x - w : x;
  y = turn.flip_y ? 1 - y - h : y;
  *area = (VigMapArea) {
    .x = desc.crop_x + (turn.swap ? y : x) * desc.crop_width,
    .y = desc.crop_y + (turn.swap ? x : y) * desc.crop_height,
    .width = (turn.swap ? h : w) * desc.crop_width,
    .height = (turn.swap ? w : h) * desc.crop_height,
  };
  return TRUE;
}

void
vig_map_turn (VigOrientation orientation, guint rows, guint columns, const float *from, float *to)
{
  const Turn turn = turn_of (orientation);
  const guint height = turn.swap ? columns : rows, width = turn.swap ? rows : columns;

  for (guint i = 0; i < height; i++)
    for (guint j = 0; j < width; j++) {
      guint x = turn.swap ? i : j, y = turn.swap ? j : i;
      x = turn.flip_x ? columns - 1 - x : x;
      y = turn.flip_y ? rows - 1 - y : y;
      to[(gsize) i * width + j] = from[(gsize) y * columns + x];
    }
}
