/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A program outside the tree: what an application does with libvig. Usage: outside MODEL.safetensors */
#include <stdio.h>

#include <vig/vig.h>

int
main (int argc, char **argv)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (VigModel) model = vig_model_load (argv[1], &error);
  g_autoptr (VigEngine) engine = model ? vig_engine_new (model, NULL, &error) : NULL;
  if (!engine) {
    fprintf (stderr, "%s\n", error->message);
    return 1;
  }
  static guint8 black[64 * 48];
  VigFrame frame = { .format = VIG_FORMAT_GRAY8, .width = 64, .height = 48, .data = { black }, .stride = { 64 } };
  g_autofree float *probabilities = g_new (float, vig_model_get_n_classes (model));
  VigOutput output = { .probabilities = probabilities };
  if (!vig_engine_classify_frames (engine, &frame, 1, 0, &output, &error)) {
    fprintf (stderr, "%s\n", error->message);
    return 1;
  }
  VigRank best;
  vig_top_k (probabilities, vig_model_get_n_classes (model), 1, &best);
  printf ("%s\n", vig_model_get_label (model, best.index));
  return 0;
}
