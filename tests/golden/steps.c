/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Intermediate tensors, layer by layer, in fp32: where the first one fails is where the mistake is. */
#include "golden.h"

#include <math.h>
#include <string.h>

#include <engine-private.h>
#include <model-private.h>

typedef struct {
  const VigJson *run, *step; /* step: the case, which has "steps" */
  const char *device;
} Test;

typedef struct {
  gsize rows, columns;
  float *values;
} Seen;

static void
free_seen (gpointer data)
{
  g_free (((Seen *) data)->values);
  g_free (data);
}

static void
remember (const char *name, const float *data, gsize rows, gsize columns, gpointer user_data)
{
  Seen *seen = g_new (Seen, 1);
  *seen = (Seen) { rows, columns, g_memdup2 (data, rows * columns * sizeof *data) };
  if (g_str_has_suffix (name, ".gate")) /* the kernels keep it before its sigmoid */
    for (gsize i = 0; i < rows * columns; i++)
      seen->values[i] = 1 / (1 + expf (-seen->values[i]));
  g_hash_table_insert (user_data, g_strdup (name), seen);
}

/* @want [n, columns] are the rows 0, every, 2 every, … of what was seen. */
static void
compare (const VigTensor *t, const Seen *seen, gsize every)
{
  g_autofree float *want = g_new (float, t->count), *got = g_new (float, t->count);

  g_assert_nonnull (seen);
  g_assert_cmpuint (t->shape[1], ==, seen->columns);
  g_assert_cmpuint (t->shape[0], ==, (seen->rows + every - 1) / every);
  vig_tensor_to_float (t, want);
  for (gsize i = 0; i < t->shape[0]; i++)
    memcpy (got + i * seen->columns, seen->values + i * every * seen->columns, seen->columns * sizeof *got);
  double e = golden_error (got, want, t->count);
  if (e > 1e-4)
    g_test_message ("%s: %.2g", t->name, e);
  g_assert_cmpfloat (e, <=, 1e-4);
}

/* Every cell's share of a class is that of the original's normed token, where all of them are stored. */
static void
check_shares (const VigModel *model, const VigTensor *norm, int class, const float *shares)
{
  const gsize tokens = norm->shape[0], d = norm->shape[1];
  const float *weight = vig_model_get_weight (model, model->config.hierarchical ? "classifier.head.weight" : "head.weight");
  g_autofree float *x = g_new (float, norm->count), *want = g_new0 (float, tokens);

  vig_tensor_to_float (norm, x);
  for (gsize t = 0; t < tokens; t++) {
    double sum = 0;
    for (gsize c = 0; c < d; c++)
      sum += (double) weight[(gsize) class * d + c] * x[t * d + c];
    want[t] = (float) (sum / (double) tokens);
  }
  g_assert_cmpfloat (golden_error (shares, want, tokens), <=, 1e-4);
}

static void
test_steps (gconstpointer data)
{
  const Test *test = data;
  g_autoptr (VigModel) model = golden_model (test->run);
  g_autoptr (GoldenFile) file = golden_open (golden_string (test->step, "steps"));
  g_autoptr (GHashTable) seen = g_hash_table_new_full (g_str_hash, g_str_equal, g_free, free_seen);
  const char *every = g_hash_table_lookup (file->tensors->metadata, "every");
  GError *error = NULL;
  g_autoptr (VigEngine) engine = vig_engine_new (model,
      &(VigEngineOptions) { .device = test->device, .precision = VIG_PRECISION_FP32 }, &error);
  guint h, w;
  g_autofree float *input = golden_input (golden_string (test->step, "input"), &h, &w);

  g_assert_no_error (error);
  const int classes[] = { 0, (int) vig_model_get_n_classes (model) - 1 };
  int chosen[2];
  guint rows, columns;
  vig_map_get_grid (model, h, w, &rows, &columns);
  g_autofree float *shares = g_new (float, 2 * (gsize) rows * columns);
  const VigMaps maps = { 2, classes, chosen, shares };
  vig_engine_set_tap (engine, remember, seen);
  vig_engine_classify_tensors (engine, input, 1, h, w, &(VigOutput) { .maps = &maps }, &error);
  g_assert_no_error (error);
  for (guint i = 0; i < file->tensors->tensors->len; i++) {
    const VigTensor *t = &g_array_index (file->tensors->tensors, VigTensor, i);
    compare (t, g_hash_table_lookup (seen, t->name), g_ascii_strtoull (every, NULL, 10));
    for (int m = 0; m < 2 && g_str_equal (t->name, "norm") && t->shape[0] == (guint64) rows * columns; m++)
      check_shares (model, t, classes[m], shares + (gsize) m * rows * columns);
  }
}

int
main (int argc, char **argv)
{
  static const char *const devices[] = { "ref", "cpu" };
  g_test_init (&argc, &argv, NULL);
  g_autoptr (VigJson) manifest = golden_manifest ();
  g_autoptr (GPtrArray) tests = g_ptr_array_new_with_free_func (g_free);

  for (const VigJson *run = vig_json_get (manifest, "runs")->first; run; run = run->next)
    for (const VigJson *c = vig_json_get (run, "cases")->first; c; c = c->next)
      for (guint d = 0; d < G_N_ELEMENTS (devices); d++) {
        const char *name = golden_string (run, "name");
        g_autofree char *path = g_strdup_printf ("/steps/%s/%s/%s", name, golden_string (c, "input"), devices[d]);
        if (!vig_json_get (c, "steps") || (d == 0 && !g_str_has_prefix (name, "tiny"))) /* the reference is slow */
          continue;
        Test *test = g_new (Test, 1);
        *test = (Test) { run, c, devices[d] };
        g_ptr_array_add (tests, test);
        g_test_add_data_func (path, test, test_steps);
      }
  return g_test_run ();
}
