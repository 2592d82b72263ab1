/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "gstvigheat.h"

#include <string.h>

/* VIG_MAP_NONE: there is none. */
static int
find_class (const char *label, const GQuark *quarks, guint n_classes)
{
  const GQuark quark = g_quark_try_string (label);
  for (guint i = 0; quark && i < n_classes; i++)
    if (quarks[i] == quark)
      return (int) i;
  return VIG_MAP_NONE;
}

GArray *
gst_vig_heat_find_classes (const GPtrArray *wanted, const GQuark *quarks, guint n_classes, const char **unknown)
{
  GArray *classes = g_array_new (FALSE, FALSE, sizeof (int));
  int class = VIG_MAP_TOP;
  *unknown = NULL;
  if (!wanted)
    g_array_append_val (classes, class);
  for (guint i = 0; wanted && i < wanted->len && classes->len < VIG_MAX_MAPS; i++) {
    class = find_class (wanted->pdata[i], quarks, n_classes);
    if (class != VIG_MAP_NONE)
      g_array_append_val (classes, class);
    else
      *unknown = wanted->pdata[i];
  }
  return classes;
}

GstVigHeat *
gst_vig_heat_new (const VigModel *model, const VigFrame *frame, guint size, const GstVideoRectangle *part, const GArray *classes)
{
  const guint n = classes->len, side = size ? size : vig_model_get_input_size (model);
  VigMapArea area;
  guint rows, columns;
  if (n == 0 || side < vig_model_get_min_size (model) || !vig_map_get_area (model, frame, size, &area, NULL))
    return NULL;
  vig_map_get_grid (model, side, side, &rows, &columns);
  const gsize numbers = 2 * n * sizeof (int) + n * rows * columns * sizeof (float);
  GstVigHeat *heat = g_atomic_rc_box_alloc (sizeof *heat + numbers);
  int *chosen = (int *) (heat + 1), *asked = chosen + n;
  memcpy (asked, classes->data, n * sizeof *asked);
  *heat = (GstVigHeat) { .model = model, .maps = { n, asked, chosen, (float *) (asked + n) }, .rows = rows, .columns = columns,
    .orientation = frame->orientation, .area = area, .part = *part };
  return heat;
}

GstVigHeat *
gst_vig_heat_ref (GstVigHeat *heat)
{
  return heat ? g_atomic_rc_box_acquire (heat) : NULL;
}

void
gst_vig_heat_unref (GstVigHeat *heat)
{
  g_atomic_rc_box_release (heat);
}

/* The area, where the object is that was looked at. */
static VigMapArea
follow (const GstVigHeat *heat, const GstVideoRectangle *now)
{
  const GstVideoRectangle *then = &heat->part;
  const VigMapArea *a = &heat->area;
  if (!now || then->w == 0)
    return *a;
  const double wider = (double) now->w / then->w, higher = (double) now->h / then->h;
  return (VigMapArea) { now->x + (a->x - then->x) * wider, now->y + (a->y - then->y) * higher, a->width * wider,
    a->height * higher };
}

/* Map @i, in the order in which cells lie in the picture. (transfer full) */
static GstStructure *
describe_map (const GstVigHeat *heat, guint i, const VigMapArea *area, const char *const *labels)
{
  const gsize cells = (gsize) heat->rows * heat->columns;
  const guint class = (guint) heat->maps.chosen[i];
  const gboolean turned = heat->orientation >= 5;
  float *shares = g_new (float, cells);
  vig_map_turn (heat->orientation, heat->rows, heat->columns, heat->maps.shares + i * cells, shares);
  g_autoptr (GBytes) bytes = g_bytes_new_take (shares, cells * sizeof *shares);
  return gst_structure_new ("vig-heatmap",
      "label", G_TYPE_STRING, labels[class],
      "rows", G_TYPE_UINT, turned ? heat->columns : heat->rows,
      "columns", G_TYPE_UINT, turned ? heat->rows : heat->columns,
      "x", G_TYPE_DOUBLE, area->x, "y", G_TYPE_DOUBLE, area->y,
      "width", G_TYPE_DOUBLE, area->width, "height", G_TYPE_DOUBLE, area->height,
      "bias", G_TYPE_DOUBLE, (double) vig_map_get_bias (heat->model, class),
      "shares", G_TYPE_BYTES, bytes, NULL);
}

void
gst_vig_heat_describe (const GstVigHeat *heat, const GstVideoRectangle *now, const char *const *labels, GstStructure *result)
{
  const VigMapArea area = follow (heat, now);
  GValue maps = G_VALUE_INIT;
  gst_value_array_init (&maps, heat->maps.n);
  for (guint i = 0; i < heat->maps.n; i++) {
    GValue value = G_VALUE_INIT;
    g_value_init (&value, GST_TYPE_STRUCTURE);
    g_value_take_boxed (&value, describe_map (heat, i, &area, labels));
    gst_value_array_append_and_take_value (&maps, &value);
  }
  gst_structure_take_value (result, "heatmaps", &maps);
}
