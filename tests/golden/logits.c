/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Logits and pooled features of every stored run against the original implementation, and the generator's weights
 * against their hash. "logits tiny" is quick, "logits published" runs the six models at their own size. With a
 * device after that, it alone is tested; "logits vig_t DEVICE" runs that model only. */
#include "golden.h"

#include <math.h>
#include <string.h>

typedef struct {
  const VigJson *run;
  const char *device;
  VigPrecision precision;
} Test;

static double
bound (const Test *test)
{
  if (test->precision == VIG_PRECISION_FP32)
    return 1e-4;
  if (test->precision == VIG_PRECISION_FP16)
    return 1e-2;
  return g_str_equal (golden_string (vig_json_get (test->run, "config"), "family"), "vig") ? 3e-2 : 5e-2;
}

/* The shares of all cells and the bias are the logit, of whichever class. */
static void
check_maps (const Test *test, VigEngine *engine, const float *tensor, guint h, guint w, const float *got, gsize n)
{
  const VigModel *model = vig_engine_get_model (engine);
  const int classes[] = { VIG_MAP_TOP, 0, (int) n - 1, VIG_MAP_NONE };
  int chosen[G_N_ELEMENTS (classes)];
  guint rows, columns;
  GError *error = NULL;
  double most = 0;
  VigRank top;

  vig_map_get_grid (model, h, w, &rows, &columns);
  const gsize cells = (gsize) rows * columns;
  g_autofree float *shares = g_new (float, G_N_ELEMENTS (classes) * cells), *logits = g_new (float, n);
  const VigMaps maps = { G_N_ELEMENTS (classes), classes, chosen, shares };
  vig_engine_classify_tensors (engine, tensor, 1, h, w, &(VigOutput) { .logits = logits, .maps = &maps }, &error);
  g_assert_no_error (error);
  g_assert_cmpmem (logits, n * sizeof *logits, got, n * sizeof *got);
  vig_top_k (got, (guint) n, 1, &top);
  g_assert_cmpint (chosen[0], ==, (int) top.index);
  for (gsize i = 0; i < n; i++)
    most = MAX (most, fabs (got[i]));
  for (guint m = 0; m < G_N_ELEMENTS (classes); m++) {
    double sum = 0;
    for (gsize i = 0; i < cells; i++)
      sum += shares[m * cells + i];
    if (classes[m] == VIG_MAP_NONE)
      g_assert_cmpfloat (sum, ==, 0);
    else /* products and shares are both of fp32, summed in other orders */
      g_assert_cmpfloat_with_epsilon (sum + vig_map_get_bias (model, (guint) chosen[m]), got[chosen[m]], 1e-5 * most);
  }
}

static void
check_case (const Test *test, VigEngine *engine, const GoldenFile *file, const VigJson *c)
{
  const char *input = golden_string (c, "input");
  g_autofree char *logits_name = g_strconcat (input, ".logits", NULL), *pooled_name = g_strconcat (input, ".pooled", NULL);
  const VigTensor *logits_shape, *pooled_shape;
  g_autofree float *want = golden_get (file, logits_name, &logits_shape);
  g_autofree float *want_pooled = golden_get (file, pooled_name, &pooled_shape);
  g_autofree float *got = g_new (float, logits_shape->count), *got_pooled = g_new (float, pooled_shape->count);
  GError *error = NULL;
  VigRank top;
  guint h, w;
  g_autofree float *tensor = golden_input (input, &h, &w);

  vig_engine_classify_tensors (engine, tensor, 1, h, w, &(VigOutput) { .logits = got, .features = got_pooled }, &error);
  g_assert_no_error (error);
  double e = golden_error (got, want, logits_shape->count);
  double e_pooled = golden_error (got_pooled, want_pooled, pooled_shape->count);
  g_test_message ("%s: logits %.2g, pooled %.2g", input, e, e_pooled);
  g_assert_cmpfloat (e, <=, bound (test));
  g_assert_cmpfloat (e_pooled, <=, bound (test));
  vig_top_k (got, (guint) logits_shape->count, 1, &top);
  if (golden_number (c, "margin") > 2 * e * golden_number (c, "max_abs_logit"))
    g_assert_cmpuint (top.index, ==, (guint) golden_number (c, "top1"));
  check_maps (test, engine, tensor, h, w, got, logits_shape->count);
}

/* The run's model: the last one is kept, for making a large one takes longer than running it. NULL drops it. */
static VigModel *
get_model (const VigJson *run)
{
  static const VigJson *last;
  static VigModel *model;

  if (run != last) {
    vig_model_unref (model);
    model = run ? golden_model (run) : NULL;
    last = run;
  }
  return model;
}

static void
test_run (gconstpointer data)
{
  const Test *test = data;
  VigModel *model = get_model (test->run);
  g_autoptr (GoldenFile) file = golden_open (golden_string (test->run, "logits"));
  GError *error = NULL;
  g_autoptr (VigEngine) engine = vig_engine_new (model,
      &(VigEngineOptions) { .device = test->device, .precision = test->precision }, &error);

  g_assert_no_error (error);
  g_assert_cmpstr (vig_model_get_hash (model), ==, golden_string (test->run, "weights_sha256"));
  for (const VigJson *c = vig_json_get (test->run, "cases")->first; c; c = c->next)
    check_case (test, engine, file, c);
}

/* The formula against an input as it was stored. */
static void
test_input (void)
{
  g_autofree char *path = golden_path ("inputs/a_48x80.npy"), *bytes = NULL;
  guint h, w;
  g_autofree float *input = golden_input ("a_48x80", &h, &w);
  gsize size;

  g_assert_true (g_file_get_contents (path, &bytes, &size, NULL));
  gsize data = 4 * 3 * (gsize) h * w;
  g_assert_cmpuint (size, >, data);
  g_autofree float *want = g_new (float, 3 * h * w);
  vig_tensor_to_float (&(VigTensor) { .dtype = VIG_DTYPE_F32, .count = 3 * h * w, .data = bytes + size - data }, want);
  g_assert_cmpmem (input, data, want, data);
}

static void
add (GPtrArray *tests, const VigJson *run, const char *device, VigPrecision precision)
{
  g_autofree char *path = g_strdup_printf ("/logits/%s/%s/%s", golden_string (run, "name"), device,
      vig_precision_to_string (precision));
  Test *test = g_new (Test, 1);

  *test = (Test) { run, device, precision };
  g_ptr_array_add (tests, test);
  g_test_add_data_func (path, test, test_run);
}

static void
add_all (GPtrArray *tests, const VigJson *run, const char *device)
{
  add (tests, run, device, VIG_PRECISION_FP32);
  add (tests, run, device, VIG_PRECISION_BF16);
  add (tests, run, device, VIG_PRECISION_FP16);
}

static void
add_run (GPtrArray *tests, const VigJson *run, gboolean tiny)
{
  add_all (tests, run, "cpu");
  if (tiny)
    add_all (tests, run, "ref");
  else if (g_str_equal (golden_string (run, "name"), "vig_t")) /* the reference is slow */
    add (tests, run, "ref", VIG_PRECISION_FP32);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_autoptr (VigJson) manifest = golden_manifest ();
  g_autoptr (GPtrArray) tests = g_ptr_array_new_with_free_func (g_free);
  const char *which = argc > 1 ? argv[1] : "", *device = argc > 2 ? argv[2] : NULL;
  gboolean tiny = g_str_equal (which, "tiny"), published = g_str_equal (which, "published");

  if (tiny && !device)
    g_test_add_func ("/input", test_input);
  for (const VigJson *run = vig_json_get (manifest, "runs")->first; run; run = run->next) {
    const char *name = golden_string (run, "name");
    if (!g_str_equal (name, which) && !(g_str_has_prefix (name, "tiny") ? tiny : published))
      continue;
    if (device)
      add_all (tests, run, device);
    else
      add_run (tests, run, tiny);
  }
  if (tests->len == 0)
    g_error ("usage: logits tiny|published|NAME [DEVICE]");
  int status = g_test_run ();
  get_model (NULL);
  return status;
}
