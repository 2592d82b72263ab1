/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* vig-gla as a person runs it (VIG_GLA names it): on the goldens of the operator, in every form, precision and kind of
 * input; and what it refuses. With a device as argument: on that, without what is the same everywhere. */
#include "golden.h"

#include <string.h>

#include <glib/gstdio.h>

static char *folder;
static const char *device;

typedef struct {
  int status;
  char *out, *err;
} Run;

/* Runs vig-gla with the words of @format: file names hold no spaces here. */
static Run * G_GNUC_PRINTF (1, 2)
run (const char *format, ...)
{
  va_list args;
  va_start (args, format);
  g_autofree char *words = g_strdup_vprintf (format, args);
  va_end (args);
  g_autofree char *line = g_strconcat (g_getenv ("VIG_GLA"), " ", words, NULL);
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

static void
succeeded (Run *r)
{
  if (r->status != 0 || r->err[0] || r->out[0])
    g_error ("expected success, found %d, \"%s\", \"%s\"", r->status, r->out, r->err);
  run_free (r);
}

static void
refused (Run *r, int status, const char *part)
{
  if (r->status != status || !strstr (r->err, part) || r->out[0])
    g_error ("expected status %d and \"%s\", found %d, \"%s\", \"%s\"", status, part, r->status, r->err, r->out);
  run_free (r);
}

static char *
in_folder (const char *name)
{
  return g_build_filename (folder, name, NULL);
}

/* A .safetensors file of the folder. */
static GoldenFile *
written (const char *name)
{
  g_autofree char *path = in_folder (name);
  return golden_open (path);
}

static void
save (const char *name, const VigTensor *tensors, guint n)
{
  g_autofree char *path = in_folder (name);
  g_autoptr (GByteArray) bytes = vig_safetensors_format (tensors, n, NULL);
  g_assert_true (g_file_set_contents (path, (const char *) bytes->data, bytes->len, NULL));
}

/* One result against that of the golden, or of another run; NULL: there is none. */
static void
check (const GoldenFile *got, const char *name, const GoldenFile *want, const char *as, VigDtype dtype, double bound)
{
  const VigTensor *g = vig_safetensors_get (got->tensors, name), *w;
  g_autofree float *a = g ? golden_get (got, name, NULL) : NULL, *b = golden_get (want, as, &w);
  if (!g || g->rank != w->rank || memcmp (g->shape, w->shape, w->rank * sizeof *w->shape) != 0 || g->dtype != dtype)
    g_error ("%s: expected a tensor of the golden's shape and type %d", name, (int) dtype);
  double e = golden_error (a, b, w->count);
  g_test_message ("%s: %.2g", name, e);
  g_assert_cmpfloat (e, <=, bound);
}

static void
check_golden (const GoldenFile *golden, VigDtype dtype, double bound, double state_bound)
{
  static const char *const names[] = { "o_fw", "o_bw", "o_sum", "end_fw", "end_bw" };
  g_autoptr (GoldenFile) got = written ("out.safetensors");
  g_assert_cmpuint (got->tensors->tensors->len, ==, G_N_ELEMENTS (names));
  for (guint i = 0; i < G_N_ELEMENTS (names); i++)
    check (got, names[i], golden, names[i], i < 3 ? dtype : VIG_DTYPE_F32, i < 3 ? bound : state_bound);
}

static void
test_golden (gconstpointer data)
{
  static const char *const forms[] = { "auto", "tokens", "chunks", "split" };
  g_autofree char *path = golden_path (data);
  g_autoptr (GoldenFile) golden = golden_open (data);
  for (guint i = 0; i < G_N_ELEMENTS (forms); i++) {
    succeeded (run ("--device %s --form %s %s out.safetensors", device ? device : "cpu", forms[i], path));
    check_golden (golden, VIG_DTYPE_F32, 1e-5, 1e-5);
  }
  /* the golden's own inputs are not of 16 bits: 2^-9 and 2^-12 of each */
  succeeded (run ("-d %s -p bf16 %s out.safetensors", device ? device : "cpu", path));
  check_golden (golden, VIG_DTYPE_BF16, 3e-2, 2e-2);
  succeeded (run ("-d %s -p fp16 %s out.safetensors", device ? device : "cpu", path));
  check_golden (golden, VIG_DTYPE_F16, 4e-3, 2e-3);
}

/* ---- kinds of input ---- */

/* The tensors of a golden, some of them left out; q, k, v and so on as they are there. */
static guint
some_of (const GoldenFile *file, const char *without, VigTensor *to)
{
  static const char *const names[] = { "q", "k", "v", "log_decay_fw", "log_decay_bw", "state_fw", "state_bw" };
  guint n = 0;
  for (guint i = 0; i < G_N_ELEMENTS (names); i++) {
    const VigTensor *t = vig_safetensors_get (file->tensors, names[i]);
    if (t && !strstr (without, names[i]))
      to[n++] = *t;
  }
  return n;
}

static void
test_one_direction (void)
{
  g_autoptr (GoldenFile) golden = golden_open ("gla/len17_state.safetensors");
  VigTensor tensors[7];

  save ("in.safetensors", tensors, some_of (golden, "log_decay_bw state_bw", tensors));
  succeeded (run ("in.safetensors out.safetensors"));
  g_autoptr (GoldenFile) fw = written ("out.safetensors");
  check (fw, "o_fw", golden, "o_fw", VIG_DTYPE_F32, 1e-5);
  check (fw, "o_sum", golden, "o_fw", VIG_DTYPE_F32, 1e-5);
  check (fw, "end_fw", golden, "end_fw", VIG_DTYPE_F32, 1e-5);
  g_assert_cmpuint (fw->tensors->tensors->len, ==, 3);
  save ("in.safetensors", tensors, some_of (golden, "log_decay_fw state_fw", tensors));
  succeeded (run ("in.safetensors out.safetensors"));
  g_autoptr (GoldenFile) bw = written ("out.safetensors");
  check (bw, "o_bw", golden, "o_bw", VIG_DTYPE_F32, 1e-5);
  check (bw, "end_bw", golden, "end_bw", VIG_DTYPE_F32, 1e-5);
  g_assert_cmpuint (bw->tensors->tensors->len, ==, 3);
}

/* A name that means nothing is told, and the rest computed. */
static void
test_unused (void)
{
  g_autoptr (GoldenFile) golden = golden_open ("gla/len17_state.safetensors");
  VigTensor tensors[7];
  guint n = some_of (golden, "", tensors);
  tensors[5].name = "state_forward";
  save ("in.safetensors", tensors, n);
  Run *r = run ("in.safetensors out.safetensors");
  g_assert_cmpint (r->status, ==, 0);
  g_assert_cmpstr (r->err, ==, "vig-gla: in.safetensors: tensor state_forward is not used\n");
  run_free (r);
  g_autoptr (GoldenFile) got = written ("out.safetensors");
  check (got, "o_bw", golden, "o_bw", VIG_DTYPE_F32, 1e-5);
}

/* A golden whose gates are all 0, without them. */
static void
test_no_gates (void)
{
  g_autoptr (GoldenFile) golden = golden_open ("gla/none196.safetensors");
  VigTensor tensors[7];
  save ("in.safetensors", tensors, some_of (golden, "log_decay_fw log_decay_bw", tensors));
  succeeded (run ("in.safetensors out.safetensors"));
  check_golden (golden, VIG_DTYPE_F32, 1e-5, 1e-5);
}

/* A batch of two: each half is a golden; and gates of heads. */
static void
test_batch (void)
{
  enum { H = 2, L = 9, DK = 4, DV = 6 };
  float q[2 * H * L * DK], v[2 * H * L * DV], gates[2 * H * L], wide[2 * H * L * DK];
  for (guint i = 0; i < G_N_ELEMENTS (q); i++)
    q[i] = (float) (i * 37 % 19) / 8 - 1;
  for (guint i = 0; i < G_N_ELEMENTS (v); i++)
    v[i] = (float) (i * 23 % 17) / 8 - 1;
  for (guint i = 0; i < G_N_ELEMENTS (gates); i++)
    gates[i] = -(float) (i * 11 % 13) / 8;
  for (guint i = 0; i < G_N_ELEMENTS (wide); i++)
    wide[i] = gates[i / DK];
  VigTensor in[] = {
    { .name = "q", .rank = 4, .shape = { 2, H, L, DK }, .count = 2 * H * L * DK, .data = q },
    { .name = "k", .rank = 4, .shape = { 2, H, L, DK }, .count = 2 * H * L * DK, .data = q },
    { .name = "v", .rank = 4, .shape = { 2, H, L, DV }, .count = 2 * H * L * DV, .data = v },
    { .name = "log_decay_fw", .rank = 4, .shape = { 2, H, L, DK }, .count = 2 * H * L * DK, .data = wide },
  };
  save ("in.safetensors", in, G_N_ELEMENTS (in));
  succeeded (run ("in.safetensors wide.safetensors"));
  in[3] = (VigTensor) { .name = "log_decay_fw", .rank = 3, .shape = { 2, H, L }, .count = 2 * H * L, .data = gates };
  save ("in.safetensors", in, G_N_ELEMENTS (in));
  succeeded (run ("--threads 1 in.safetensors out.safetensors"));
  g_autoptr (GoldenFile) a = written ("wide.safetensors"), b = written ("out.safetensors");
  check (a, "o_fw", b, "o_fw", VIG_DTYPE_F32, 0);
  check (a, "end_fw", b, "end_fw", VIG_DTYPE_F32, 0);
  for (guint i = 0; i < 4; i++) { /* the second alone */
    in[i].count /= 2;
    in[i].data = (const float *) in[i].data + in[i].count;
    memmove (in[i].shape, in[i].shape + 1, --in[i].rank * sizeof *in[i].shape);
  }
  save ("in.safetensors", in, G_N_ELEMENTS (in));
  succeeded (run ("in.safetensors out.safetensors"));
  g_autoptr (GoldenFile) alone = written ("out.safetensors");
  g_autofree float *both = golden_get (a, "o_fw", NULL), *second = golden_get (alone, "o_fw", NULL);
  g_assert_cmpmem (both + H * L * DV, H * L * DV * sizeof (float), second, H * L * DV * sizeof (float));
}

/* ---- what is refused ---- */

/* What --help has to name: everything that is read and written, and every choice. */
static void
test_help (void)
{
  static const char *const parts[] = { "--device", "--form", "--precision", "--threads", "IN OUT", "q and k", "log_decay_fw",
    "log_decay_bw", "state_fw", "state_bw", "o_fw", "o_bw", "o_sum", "end_fw", "end_bw", "chunks", "bf16" };
  Run *r = run ("--help");
  g_assert_cmpint (r->status, ==, 0);
  for (guint i = 0; i < G_N_ELEMENTS (parts); i++)
    g_assert_nonnull (strstr (r->out, parts[i]));
  run_free (r);
}

/* Files that are none, or hold numbers of another type. */
static void
test_wrong_bytes (void)
{
  static const struct { const char *header; gsize values; const char *part; } files[] = {
    { "{\"q\":{\"dtype\":\"I64\",\"shape\":[1,1,1],\"data_offsets\":[0,8]}}", 8, "tensor q: " },
    { "{\"q\":{\"dtype\":\"F32\",\"shape\":[1,1,2],\"data_offsets\":[0,8]}}", 4, "bad.safetensors: " },
    { "{\"q\":{\"dtype\":\"F32\",\"shape\":[1,1,-1],\"data_offsets\":[0,4]}}", 4, "tensor q: " },
    { "{\"q\":[]}", 0, "tensor q: " }, { "[]", 0, "bad.safetensors: " }, { "", 0, "bad.safetensors: " },
  };
  for (guint i = 0; i < G_N_ELEMENTS (files); i++) {
    g_autoptr (GByteArray) bytes = g_byte_array_new ();
    g_autofree char *path = in_folder ("bad.safetensors");
    guint64 size = GUINT64_TO_LE ((guint64) strlen (files[i].header));
    g_byte_array_append (bytes, (const guint8 *) &size, sizeof size);
    g_byte_array_append (bytes, (const guint8 *) files[i].header, (guint) strlen (files[i].header));
    for (gsize j = 0; j < files[i].values; j++)
      g_byte_array_append (bytes, (const guint8 *) "", 1);
    g_assert_true (g_file_set_contents (path, (const char *) bytes->data, bytes->len, NULL));
    refused (run ("bad.safetensors never.safetensors"), 1, files[i].part);
  }
}

static void
test_refused (void)
{
  g_autoptr (GoldenFile) golden = golden_open ("gla/len17_state.safetensors");
  g_autofree char *path = golden_path ("gla/len17_state.safetensors");
  VigTensor t[7];
  guint n = some_of (golden, "", t);

  refused (run ("%s", path), 2, "expected two files, IN and OUT, found 1");
  refused (run ("a b c"), 2, "expected two files, IN and OUT, found 3");
  refused (run ("--threads -1 a b"), 2, "expected --threads of at least 0, found -1");
  refused (run ("--threads 100000 %s out.safetensors", path), 1, "threads: expected at most");
  refused (run ("--chunks a b"), 2, "Unknown option --chunks");
  refused (run ("--precision"), 2, "--precision");
  refused (run ("--form scan %s out.safetensors", path), 1, "form: expected auto, tokens, chunks or split, found \"scan\"");
  refused (run ("--precision fp8 %s out.safetensors", path), 1, "precision: expected fp32, bf16 or fp16, found \"fp8\"");
  refused (run ("--precision auto %s out.safetensors", path), 1, "precision: expected fp32, bf16 or fp16, found \"auto\"");
  refused (run ("--device tpu %s out.safetensors", path), 1, "device: expected");
  refused (run ("--form split --device ref %s /dev/null/out", path), 1, "/dev/null/out");
  refused (run ("nothing.safetensors out.safetensors"), 1, "nothing.safetensors");

#define BAD(index, field, value, part) \
  do { \
    VigTensor before = t[index]; \
    t[index].field = value; \
    save ("bad.safetensors", t, n); \
    t[index] = before; \
    refused (run ("bad.safetensors never.safetensors"), 1, part); \
  } while (0)
  BAD (0, name, "Q", "bad.safetensors: expected a tensor \"q\", found none");
  BAD (1, name, "K", "bad.safetensors: expected a tensor \"k\", found none");
  BAD (2, name, "w", "bad.safetensors: expected a tensor \"v\", found none");
  guint64 heads = t[0].shape[0], tokens = t[0].shape[1], dk = t[0].shape[2];
  t[0].shape[0] = tokens;
  BAD (0, shape[1], heads, "tensor k: expected shape [");
  t[0].shape[0] = heads;
  t[2].shape[0] = tokens;
  BAD (2, shape[1], heads, "tensor v: expected shape [");
  t[2].shape[0] = heads;
  t[2].shape[1] *= t[2].shape[2];
  BAD (2, rank, 2, "tensor v: expected as many dimensions as q has");
  t[2].shape[1] = tokens;
  t[4].count /= dk;
  BAD (4, rank, 2, "tensor log_decay_bw: expected shape ["); /* of heads, beside the other's of channels */
  t[4].count *= dk;
  t[3].shape[0] = dk;
  BAD (3, shape[2], heads, "tensor log_decay_fw: expected shape [");
  t[3].shape[0] = heads;
  t[5].shape[1] = t[5].shape[2];
  BAD (5, shape[2], dk, "tensor state_fw: expected shape [");
  t[5].shape[1] = dk;
  BAD (4, name, "x", "state_bw: expected NULL, as the plan has no such direction");
  t[0].shape[1] *= dk;
  BAD (0, rank, 2, "tensor q: expected [heads, tokens, dk]");
  t[0].shape[1] = tokens;
#undef BAD
  float none = 0;
  for (guint i = 0; i < 3; i++)
    t[i] = (VigTensor) { .name = t[i].name, .rank = 3, .shape = { 1, 0, 4 }, .data = &none };
  save ("bad.safetensors", t, 3);
  refused (run ("bad.safetensors never.safetensors"), 1, "tensor q: expected dimensions of 1 to 2147483647, found shape [1, 0, 4]");
  static const float ones[20] = { 1 };
  for (guint i = 0; i < 3; i++)
    t[i] = (VigTensor) { .name = t[i].name, .rank = 3, .shape = { 1, 5, i < 2 ? 4 : 0 }, .count = i < 2 ? 20 : 0, .data = ones };
  save ("bad.safetensors", t, 3);
  refused (run ("bad.safetensors never.safetensors"), 1, "tensor v: expected dimensions of 1 to 2147483647, found shape [1, 5, 0]");
  g_autofree float *zeros = g_new0 (float, 300);
  for (guint i = 0; i < 3; i++)
    t[i] = (VigTensor) { .name = t[i].name, .rank = 3, .shape = { 1, 1, 300 }, .count = 300, .data = zeros };
  save ("bad.safetensors", t, 3);
  refused (run ("bad.safetensors never.safetensors"), 1, "dk: expected 1 to 256, found 300");
  test_wrong_bytes ();
  g_autofree char *never = in_folder ("never.safetensors");
  g_assert_false (g_file_test (never, G_FILE_TEST_EXISTS));
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  device = argc > 1 ? argv[1] : NULL;
  g_autoptr (VigJson) manifest = golden_manifest ();
  folder = g_dir_make_tmp ("vig-gla-XXXXXX", NULL);
  for (const VigJson *gla = vig_json_get (manifest, "gla")->first; gla; gla = gla->next) {
    g_autofree char *path = g_strdup_printf ("/vig-gla/%s", golden_string (gla, "file"));
    g_test_add_data_func (path, golden_string (gla, "file"), test_golden);
  }
  if (!device) {
    g_test_add_func ("/vig-gla/one-direction", test_one_direction);
    g_test_add_func ("/vig-gla/no-gates", test_no_gates);
    g_test_add_func ("/vig-gla/unused", test_unused);
    g_test_add_func ("/vig-gla/batch", test_batch);
    g_test_add_func ("/vig-gla/help", test_help);
    g_test_add_func ("/vig-gla/refused", test_refused);
  }
  int status = g_test_run ();
  g_autoptr (GDir) dir = g_dir_open (folder, 0, NULL);
  for (const char *name; (name = g_dir_read_name (dir));) {
    g_autofree char *path = in_folder (name);
    g_unlink (path);
  }
  g_rmdir (folder);
  g_free (folder);
  return status;
}
