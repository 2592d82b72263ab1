/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Where in the picture classes come from: the same bits in every batch, of windows and streams, through requests; what is
 * refused; and which part of a picture the cells are. (That they add up to the logits: tests/golden/logits.c.) */
#include <math.h>
#include <string.h>

#include <engine-private.h>
#include <vig/vig.h>

#include "made.h"

enum { SIDE = 64, CELLS = 16, MAX = 9 };

static VigEngine *
open_engine (VigModel *model, const char *device)
{
  GError *error = NULL;
  VigEngine *engine = vig_engine_new (model, &(VigEngineOptions) { .device = device, .precision = VIG_PRECISION_FP32 }, &error);
  g_assert_no_error (error);
  return engine;
}

static float *
random_pictures (guint n)
{
  float *x = g_new (float, (gsize) n * 3 * SIDE * SIDE);
  g_autoptr (GRand) random = g_rand_new_with_seed (7);
  for (gsize i = 0; i < (gsize) n * 3 * SIDE * SIDE; i++)
    x[i] = (float) g_rand_double_range (random, -2, 2);
  return x;
}

/* Different numbers of maps of different pictures, in batches of every size: always those of the picture alone. */
static void
test_batches (void)
{
  const char *variants[] = { "tiny_t", "tiny_h" };
  for (guint v = 0; v < 2; v++) {
    g_autoptr (VigModel) model = random_model (variants[v], 3);
    g_autoptr (VigEngine) engine = open_engine (model, "cpu");
    g_autofree float *x = random_pictures (MAX);
    const int classes[] = { VIG_MAP_TOP, 1, 0, VIG_MAP_NONE };
    int chosen[MAX][4], alone_chosen[4];
    guint rows, columns;
    vig_map_get_grid (model, SIDE, SIDE, &rows, &columns);
    const gsize cells = (gsize) rows * columns;
    g_assert_cmpuint (cells, <=, CELLS);
    float shares[MAX][4 * CELLS], alone[4 * CELLS];
    for (guint n = 1; n <= MAX; n++) {
      VigMaps maps[MAX];
      for (guint i = 0; i < n; i++) {
        maps[i] = (VigMaps) { i % 5, classes, chosen[i], shares[i] };
        memset (shares[i], 0xff, sizeof shares[i]);
      }
      GError *error = NULL;
      vig_engine_classify_tensors (engine, x, n, SIDE, SIDE, &(VigOutput) { .maps = maps }, &error);
      g_assert_no_error (error);
      for (guint i = 0; i < n; i++) {
        const VigMaps one = { 4, classes, alone_chosen, alone };
        const guint8 *end = (const guint8 *) &shares[i][i % 5 * cells];
        g_assert_true (i % 5 * cells == 4 * CELLS || *end == 0xff); /* nothing but what was asked for */
        vig_engine_classify_tensors (engine, x + (gsize) i * 3 * SIDE * SIDE, 1, SIDE, SIDE, &(VigOutput) { .maps = &one }, &error);
        g_assert_no_error (error);
        g_assert_cmpmem (shares[i], i % 5 * cells * sizeof (float), alone, i % 5 * cells * sizeof (float));
        g_assert_cmpmem (chosen[i], i % 5 * sizeof (int), alone_chosen, i % 5 * sizeof (int));
      }
    }
  }
}

/* Of a window: the shares of the last frame, and together with those of the others (each as the last of nothing else) no
 * more than the logit; of a window of one they are all of it. */
static void
test_windows (void)
{
  enum { W = 3 };
  g_autoptr (Made) made = made_new (MADE_JOINT);
  g_autoptr (GByteArray) file = made_file (made, NULL);
  GError *error = NULL;
  g_autoptr (VigModel) model = vig_model_load_bytes (file->data, file->len, "made", &error);
  g_assert_no_error (error);
  g_autoptr (VigEngine) engine = open_engine (model, "cpu");
  g_autofree float *x = random_pictures (2 * W);
  const int top = VIG_MAP_TOP;
  for (guint w = 1; w <= W; w++) {
    float shares[2][CELLS], logits[2][3], frames[2 * W][3];
    int chosen[2];
    const VigMaps maps[] = { { 1, &top, &chosen[0], shares[0] }, { 1, &top, &chosen[1], shares[1] } };
    vig_engine_classify_windows_tensors (engine, x, 2, w, SIDE, SIDE, frames[0], &(VigOutput) { .logits = logits[0], .maps = maps },
        &error);
    g_assert_no_error (error);
    for (guint i = 0; i < 2; i++) {
      VigRank best;
      double sum = 0;
      vig_top_k (logits[i], 3, 1, &best);
      g_assert_cmpint (chosen[i], ==, (int) best.index);
      for (guint c = 0; c < CELLS; c++)
        sum += shares[i][c];
      const float bias = vig_map_get_bias (model, best.index), last = frames[i * w + w - 1][best.index];
      g_assert_cmpfloat_with_epsilon (sum, (last - bias) / (float) w, 1e-5 * (1 + fabs (last)));
    }
  }
}

static void
test_errors (void)
{
  g_autoptr (VigModel) model = random_model ("tiny_t", 3);
  g_autoptr (VigEngine) engine = open_engine (model, "cpu");
  g_autofree float *x = random_pictures (1);
  const int bad = (int) vig_model_get_n_classes (model), worse = -3, many[VIG_MAX_MAPS + 1] = { 0 };
  int chosen[VIG_MAX_MAPS + 1];
  float shares[(VIG_MAX_MAPS + 1) * CELLS];
  const VigMaps all[] = { { 1, &bad, chosen, shares }, { 1, &worse, chosen, shares }, { VIG_MAX_MAPS + 1, many, chosen, shares },
    { 1, many, NULL, shares }, { 1, many, chosen, NULL }, { 1, NULL, chosen, shares } };
  for (guint i = 0; i < G_N_ELEMENTS (all); i++) {
    GError *error = NULL;
    g_assert_false (vig_engine_classify_tensors (engine, x, 1, SIDE, SIDE, &(VigOutput) { .maps = &all[i] }, &error));
    check_error (&error, VIG_ERROR_ARGUMENT, "map");
  }
}

/* A picture of 40 x 20 whose input is its middle, turned in every way: the same middle, and cells that lie where they are. */
static void
test_places (void)
{
  g_autoptr (VigModel) model = random_model ("tiny_t", 3);
  static const guint8 data[40 * 20];
  const float cells[] = { 0, 1, 2, 3, 4, 5 };
  /* of two rows of three: the corners of the picture in memory, from the top left clockwise */
  const float corners[9][4] = { { 0, 2, 5, 3 }, { 0, 2, 5, 3 }, { 2, 0, 3, 5 }, { 5, 3, 0, 2 }, { 3, 5, 2, 0 }, { 0, 3, 5, 2 },
    { 2, 5, 3, 0 }, { 5, 2, 0, 3 }, { 3, 0, 2, 5 } };
  for (guint o = 0; o <= 8; o++) {
    VigFrame frame = { .format = VIG_FORMAT_GRAY8, .width = 40, .height = 20, .data = { data }, .stride = { 40 }, .orientation = o };
    VigMapArea area;
    GError *error = NULL;
    float turned[6];
    g_assert_true (vig_map_get_area (model, &frame, 0, &area, &error));
    g_assert_cmpfloat_with_epsilon (area.x + area.width / 2, 20, 0.2);
    g_assert_cmpfloat_with_epsilon (area.y + area.height / 2, 10, 0.2);
    g_assert_cmpfloat_with_epsilon (area.width, area.height, 0.2);
    g_assert_cmpfloat (area.width, <=, 20);
    g_assert_cmpfloat (area.width, >, 15);
    frame.crop_x = 10;
    frame.crop_width = frame.crop_height = 10;
    frame.crop_y = 5;
    g_assert_true (vig_map_get_area (model, &frame, 0, &area, &error));
    g_assert_cmpfloat_with_epsilon (area.x + area.width / 2, 15, 0.1);
    g_assert_cmpfloat_with_epsilon (area.y + area.height / 2, 10, 0.1);
    vig_map_turn (o, 2, 3, cells, turned);
    const guint columns = o >= 5 ? 2 : 3;
    g_assert_cmpfloat (turned[0], ==, corners[o][0]);
    g_assert_cmpfloat (turned[columns - 1], ==, corners[o][1]);
    g_assert_cmpfloat (turned[5], ==, corners[o][2]);
    g_assert_cmpfloat (turned[6 - columns], ==, corners[o][3]);
    frame.width = 0;
    g_assert_false (vig_map_get_area (model, &frame, 0, &area, &error));
    check_error (&error, VIG_ERROR_ARGUMENT, "size");
  }
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/maps/batches", test_batches);
  g_test_add_func ("/maps/windows", test_windows);
  g_test_add_func ("/maps/errors", test_errors);
  g_test_add_func ("/maps/places", test_places);
  return g_test_run ();
}
