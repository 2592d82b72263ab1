/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* vig-infer and vig-bench as a person runs them: results, formats, refusals. VIG_INFER and VIG_BENCH name them. */
#include <math.h>
#include <string.h>

#include <glib/gstdio.h>

#include <json.h>
#include <vig/vig.h>

#include "made.h"

static char *folder;

typedef struct {
  int status;
  char *out, *err;
} Run;

/* Runs @tool (an environment variable's name) with the words of @format: file names hold no spaces here. */
static Run * G_GNUC_PRINTF (2, 3)
run (const char *tool, const char *format, ...)
{
  va_list args;
  va_start (args, format);
  g_autofree char *words = g_strdup_vprintf (format, args);
  va_end (args);
  g_autofree char *line = g_strconcat (g_getenv (tool), " ", words, NULL);
  g_auto (GStrv) argv = g_strsplit (line, " ", -1);
  Run *r = g_new0 (Run, 1);
  GError *error = NULL;
  int wait_status;

  g_spawn_sync (folder, argv, NULL, G_SPAWN_DEFAULT, NULL, NULL, &r->out, &r->err, &wait_status, &error);
  g_assert_no_error (error);
  g_assert_true (g_spawn_check_wait_status (wait_status, &error) || error->domain == G_SPAWN_EXIT_ERROR);
  r->status = error ? error->code : 0;
  g_clear_error (&error);
  return r;
}

static void
run_free (Run *r)
{
  g_free (r->out);
  g_free (r->err);
  g_free (r);
}
G_DEFINE_AUTOPTR_CLEANUP_FUNC (Run, run_free)

/* @r failed with @status, said @part, and printed no result; @r is freed. */
static void
refused (Run *r, int status, const char *part)
{
  if (r->status != status || !strstr (r->err, part) || r->out[0])
    g_error ("expected status %d and \"%s\", found %d, \"%s\", \"%s\"", status, part, r->status, r->err, r->out);
  run_free (r);
}

static void
succeeded (const Run *r)
{
  if (r->status != 0 || r->err[0])
    g_error ("expected success, found %d, \"%s\"", r->status, r->err);
}

static char *
in_folder (const char *name)
{
  return g_build_filename (folder, name, NULL);
}

static void
save (const char *name, const void *data, gsize size)
{
  g_autofree char *path = in_folder (name);
  g_assert_true (g_file_set_contents (path, data, (gssize) size, NULL));
}

/* Values of a tensor in a .safetensors file of the folder. */
static float *
read_tensor (const char *file, const char *name, guint64 first, guint64 last)
{
  g_autofree char *path = in_folder (file), *bytes = NULL;
  GError *error = NULL;
  gsize size;

  g_assert_true (g_file_get_contents (path, &bytes, &size, NULL));
  g_autoptr (VigSafetensors) parsed = vig_safetensors_parse ((guint8 *) bytes, size, file, &error);
  g_assert_no_error (error);
  const VigTensor *t = vig_safetensors_get (parsed, name);
  g_assert_nonnull (t);
  g_assert_cmpuint (t->shape[0], ==, first);
  g_assert_cmpuint (t->shape[t->rank - 1], ==, last);
  float *values = g_new (float, t->count);
  vig_tensor_to_float (t, values);
  return values;
}

/* A .npy file of a header that says to be @length long, 80 bytes of it, and ten values. */
static void
save_npy (const char *name, guint length, const char *dict)
{
  g_autofree char *padded = g_strdup_printf ("%-80s", dict);
  g_autoptr (GByteArray) file = g_byte_array_new ();
  const guint8 start[10] = { 0x93, 'N', 'U', 'M', 'P', 'Y', 1, 0, length & 255, (guint8) (length >> 8) };
  const float values[10] = { 0 };

  g_byte_array_append (file, start, sizeof start);
  g_byte_array_append (file, (const guint8 *) padded, 80);
  g_byte_array_append (file, (const guint8 *) values, sizeof values);
  save (name, file->data, file->len);
}

/* m.safetensors; in.safetensors and in.npy: two items of 40x56; red.ppm, 60x40 */
static void
set_up (void)
{
  g_autoptr (Made) made = made_new (MADE_PLAIN);
  g_autoptr (GByteArray) model = made_file (made, (const char *[]) { "vig_labels", "[\"a \\\"b\\\"\",\"c\",\"d\"]",
      NULL });
  g_autofree float *input = g_new (float, 2 * 3 * 40 * 56);
  g_autoptr (GString) picture = g_string_new ("P6 60 40 255\n");
  char npy[128] = "\x93NUMPY\x01\x00\x76\x00{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3, 40, 56), }";

  folder = g_dir_make_tmp ("vig-tools-XXXXXX", NULL);
  for (guint i = 0; i < 2 * 3 * 40 * 56; i++)
    input[i] = sinf ((float) i);
  VigTensor t = { .name = "input", .rank = 4, .shape = { 2, 3, 40, 56 }, .count = 2 * 3 * 40 * 56, .data = input };
  g_autoptr (GByteArray) in = vig_safetensors_format (&t, 1, NULL);
  g_autoptr (GByteArray) in_npy = g_byte_array_new ();
  memset (npy + strlen (npy + 10) + 10, ' ', sizeof npy - strlen (npy + 10) - 11);
  npy[sizeof npy - 1] = '\n';
  g_byte_array_append (in_npy, (guint8 *) npy, sizeof npy);
  g_byte_array_append (in_npy, (guint8 *) input, sizeof (float) * 2 * 3 * 40 * 56);
  for (guint i = 0; i < 60 * 40; i++)
    g_string_append_len (picture, "\xff\0\0", 3);
  save ("m.safetensors", model->data, model->len);
  save ("in.safetensors", in->data, in->len);
  save ("in.npy", in_npy->data, in_npy->len);
  save ("red.ppm", picture->str, picture->len);
}

static void
tear_down (void)
{
  g_autoptr (GDir) dir = g_dir_open (folder, 0, NULL);
  for (const char *name; (name = g_dir_read_name (dir));) {
    g_autofree char *path = in_folder (name);
    g_unlink (path);
  }
  g_rmdir (folder);
  g_free (folder);
}

/* What the library says to the same input. */
static void
classify (float *logits, float *features)
{
  g_autofree char *path = in_folder ("m.safetensors");
  g_autofree float *input = read_tensor ("in.safetensors", "input", 2, 56);
  GError *error = NULL;
  g_autoptr (VigModel) model = vig_model_load (path, &error);
  g_autoptr (VigEngine) engine = vig_engine_new (model, &(VigEngineOptions) { .precision = VIG_PRECISION_FP32 }, &error);
  vig_engine_classify_tensors (engine, input, 2, 40, 56, &(VigOutput) { .logits = logits, .features = features }, &error);
  g_assert_no_error (error);
}

static void
test_tensors (void)
{
  static const char *const inputs[] = { "in.safetensors", "in.npy" };
  float want[6], want_features[8];

  classify (want, want_features);
  for (guint i = 0; i < G_N_ELEMENTS (inputs); i++) {
    g_autoptr (Run) r = run ("VIG_INFER", "--model m.safetensors --input %s --output out.safetensors --precision fp32 "
        "--device cpu --threads 1", inputs[i]);
    succeeded (r);
    g_assert_cmpstr (r->out, ==, "");
    g_autofree float *logits = read_tensor ("out.safetensors", "logits", 2, 3);
    g_autofree float *features = read_tensor ("out.safetensors", "features", 2, 4);
    g_assert_cmpmem (logits, sizeof want, want, sizeof want);
    g_assert_cmpmem (features, sizeof want_features, want_features, sizeof want_features);
  }
  g_autoptr (Run) r = run ("VIG_INFER", "-m m.safetensors -i in.npy -o out.npy -p fp32");
  g_autofree char *path = in_folder ("out.npy"), *bytes = NULL;
  gsize size;
  succeeded (r);
  g_assert_true (g_file_get_contents (path, &bytes, &size, NULL));
  g_assert_cmpuint ((size - sizeof want) % 64, ==, 0);
  g_assert_cmpmem (bytes, 8, "\x93NUMPY\x01", 8);
  g_assert_nonnull (strstr (bytes + 10, "'shape': (2, 3, )"));
  g_assert_cmpmem (bytes + size - sizeof want, sizeof want, want, sizeof want);
}

static void
test_text (void)
{
  g_autoptr (Run) r = run ("VIG_INFER", "--model m.safetensors --image red.ppm red.ppm --top-k 2");
  g_auto (GStrv) lines = g_strsplit (r->out, "\n", -1);

  succeeded (r);
  g_assert_cmpuint (g_strv_length (lines), ==, 7);
  g_assert_cmpstr (lines[0], ==, "red.ppm");
  g_assert_nonnull (strchr (lines[1], '%'));
  g_assert_cmpstr (lines[1], ==, lines[4]);
  g_assert_cmpstr (lines[2], ==, lines[5]);
}

static void
test_json (void)
{
  g_autoptr (Run) r = run ("VIG_INFER", "--model m.safetensors --image red.ppm --json --size 48 -o out.safetensors");
  GError *error = NULL;
  g_autoptr (VigJson) json = vig_json_parse (r->out, strlen (r->out), "out", &error);
  double sum = 0;
  guint n = 0;

  succeeded (r);
  g_assert_no_error (error);
  g_assert_cmpstr (vig_json_get (json, "input")->string, ==, "red.ppm");
  g_assert_cmpstr (vig_json_get (json, "model")->string, ==, "small");
  for (const VigJson *c = vig_json_get (json, "results")->first; c; c = c->next, n++) {
    sum += vig_json_get (c, "confidence")->number;
    if (vig_json_get (c, "class")->number == 0)
      g_assert_cmpstr (vig_json_get (c, "label")->string, ==, "a \"b\"");
  }
  g_assert_cmpuint (n, ==, 3);
  g_assert_cmpfloat (fabs (sum - 1), <, 1e-4);
}

static void
test_preprocess (void)
{
  g_autoptr (Run) r = run ("VIG_INFER", "--image red.ppm --preprocess-only --size 32 --output pre.safetensors");
  succeeded (r);
  g_autofree float *input = read_tensor ("pre.safetensors", "input", 1, 32);
  for (guint i = 0; i < 32 * 32; i++) { /* red, by the official mean and deviation */
    g_assert_cmpfloat (fabsf (input[i] - (1 - 0.485f) / 0.229f), <, 1e-6f);
    g_assert_cmpfloat (fabsf (input[1024 + i] + 0.456f / 0.224f), <, 1e-6f);
    g_assert_cmpfloat (fabsf (input[2048 + i] + 0.406f / 0.225f), <, 1e-6f);
  }
}

static void
test_infer_refusals (void)
{
  save_npy ("short.npy", 60000, "{'descr'");
  save_npy ("int.npy", 80, "{'descr': '<i4', 'fortran_order': False, 'shape': (1, 3, 8, 8), }");
  save_npy ("few.npy", 80, "{'descr': '<f4', 'fortran_order': False, 'shape': (1, 3, 8, 8), }");
  save_npy ("flat.npy", 80, "{'descr': '<f4', 'fortran_order': False, 'shape': (0,), }");
  save ("text.png", "no picture", 10);
  refused (run ("VIG_INFER", "--input in.npy"), 2, "expected --model");
  refused (run ("VIG_INFER", "--model m.safetensors"), 2, "expected either --input or --image");
  refused (run ("VIG_INFER", "--model m.safetensors --input in.npy --image red.ppm"), 2, "either --input or --image");
  refused (run ("VIG_INFER", "--model m.safetensors in.npy"), 2, "expected --image before the pictures");
  refused (run ("VIG_INFER", "--nonsense"), 2, "--nonsense");
  refused (run ("VIG_INFER", "--model m.safetensors --image red.ppm --top-k 0"), 2, "--top-k of at least 1");
  refused (run ("VIG_INFER", "--image red.ppm --preprocess-only"), 2, "expected --image and --output");
  refused (run ("VIG_INFER", "--model gone --input in.npy"), 1, "gone: cannot be opened");
  refused (run ("VIG_INFER", "--model in.safetensors --input in.npy"), 1, "in.safetensors: expected an entry vig_config");
  refused (run ("VIG_INFER", "--model m.safetensors --input gone.npy"), 1, "gone.npy");
  refused (run ("VIG_INFER", "--model m.safetensors --input m.safetensors"), 1, "expected a tensor \"input\", found none");
  refused (run ("VIG_INFER", "--model m.safetensors --input short.npy"), 1, "short.npy: expected the header of a .npy");
  refused (run ("VIG_INFER", "--model m.safetensors --input int.npy"), 1, "expected a .npy of little-endian float32");
  refused (run ("VIG_INFER", "--model m.safetensors --input few.npy"), 1, "expected 192 values, found 10");
  refused (run ("VIG_INFER", "--model m.safetensors --input flat.npy"), 1, "expected a tensor of 4 dimensions");
  refused (run ("VIG_INFER", "--model m.safetensors --image text.png"), 1, "text.png: ");
  refused (run ("VIG_INFER", "--model m.safetensors --image red.ppm --device cuda"), 1, "without; use cpu or auto");
  refused (run ("VIG_INFER", "--model m.safetensors --image red.ppm --precision fp8"), 1, "found \"fp8\"");
  refused (run ("VIG_INFER", "--model m.safetensors --image red.ppm --size 6"), 1, "expected 7 to 8192 pixels");
  refused (run ("VIG_INFER", "--model m.safetensors --image red.ppm --output gone/out.npy"), 1, "gone/out.npy");
}

static void
test_bench (void)
{
  g_autoptr (Run) r = run ("VIG_BENCH", "--model m.safetensors --batch 2 --size 40 --seconds 0.01 --json --profile");
  g_autoptr (Run) plain = run ("VIG_BENCH", "--random tiny_h --batch 2 --size 40 --seconds 0.01 --json --resident --peak 0");
  g_autoptr (Run) text = run ("VIG_BENCH", "--random tiny_h --device cpu --precision fp32 --seconds 0.01 --profile");
  GError *error = NULL;
  g_autoptr (VigJson) json = vig_json_parse (r->out, strlen (r->out), "out", &error);
  static const char *const numbers[] = { "median_ms", "p99_ms", "frames_per_second", "gflops", "peak_gflops",
    "share_of_peak", "product_gflops", "product_share_of_peak", "weight_bytes", "workspace_bytes", "runs" };

  succeeded (r);
  succeeded (text);
  succeeded (plain);
  g_assert_nonnull (strstr (plain->out, "\"median_ms\""));
  g_assert_null (strstr (plain->out, "peak"));
  g_assert_no_error (error);
  for (guint i = 0; i < G_N_ELEMENTS (numbers); i++)
    g_assert_cmpfloat (vig_json_get (json, numbers[i])->number, >, 0);
  g_assert_cmpfloat (vig_json_get (json, "batch")->number, ==, 2);
  g_assert_cmpfloat (vig_json_get (json, "product_gflops")->number, <, vig_json_get (json, "gflops")->number);
  g_assert_nonnull (vig_json_get (vig_json_get (json, "profile"), "gla_mix"));
  g_assert_true (g_str_has_prefix (text->out, "tiny_h on cpu ("));
  g_assert_nonnull (strstr (text->out, "fp32, batch 1, 224x224"));
  g_assert_nonnull (strstr (text->out, "% of the measured peak"));
  g_assert_nonnull (strstr (text->out, "  gla_mix "));

  refused (run ("VIG_BENCH", "--batch 2"), 2, "expected either --model or --random");
  refused (run ("VIG_BENCH", "--random tiny_h --model m.safetensors"), 2, "expected either --model or --random");
  refused (run ("VIG_BENCH", "--random tiny_h --batch 0"), 2, "expected --batch from 1");
  refused (run ("VIG_BENCH", "--random tiny_h more"), 2, "expected options only");
  refused (run ("VIG_BENCH", "--random huge"), 1, "variant: expected one of");
  refused (run ("VIG_BENCH", "--random tiny_h --device cuda:0"), 1, "device cuda:0: expected a build with");
  refused (run ("VIG_BENCH", "--random tiny_t --size 3 --seconds 0"), 1, "expected 7 to 8192 pixels");
}

static void
test_help (void)
{
  g_autoptr (Run) infer = run ("VIG_INFER", "--help");
  g_autoptr (Run) bench = run ("VIG_BENCH", "--help");
  succeeded (infer);
  succeeded (bench);
  g_assert_nonnull (strstr (infer->out, "--preprocess-only"));
  g_assert_nonnull (strstr (infer->out, "vig-infer --model M.safetensors --image cat.jpg"));
  g_assert_nonnull (strstr (bench->out, "--profile"));
}

int
main (int argc, char **argv)
{
  int status;

  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/tools/tensors", test_tensors);
  g_test_add_func ("/tools/text", test_text);
  g_test_add_func ("/tools/json", test_json);
  g_test_add_func ("/tools/preprocess", test_preprocess);
  g_test_add_func ("/tools/infer-refusals", test_infer_refusals);
  g_test_add_func ("/tools/bench", test_bench);
  g_test_add_func ("/tools/help", test_help);
  set_up ();
  status = g_test_run ();
  tear_down ();
  return status;
}
