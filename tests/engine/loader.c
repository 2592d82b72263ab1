/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Model files: good ones are read as they are, every bad one gives one error that names what is wrong. */
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <glib/gstdio.h>

#include <model-private.h>

#include "made.h"

static const char *const families[] = { MADE_PLAIN, MADE_HIERARCHICAL, MADE_STREAM, MADE_JOINT };

/* Loads from memory of exactly the file's size, so that a sanitizer sees any step beyond. */
static VigModel *
load (const GByteArray *file, GError **error)
{
  g_autofree guint8 *copy = g_memdup2 (file->data, file->len);
  return vig_model_load_bytes (copy, file->len, "m.safetensors", error);
}

/* @file is refused, with @code and a message that starts with the file's name and holds @part; @file is freed. */
static void
refused_with (GByteArray *file, VigError code, const char *part)
{
  GError *error = NULL;
  g_autoptr (VigModel) model = load (file, &error);

  g_assert_null (model);
  g_assert_error (error, VIG_ERROR, (int) code);
  if (!g_str_has_prefix (error->message, "m.safetensors: ") || !strstr (error->message, part)
      || strchr (error->message, '\n') || !g_utf8_validate (error->message, -1, NULL)) {
    g_test_message ("expected \"%s\" in \"%s\"", part, error->message);
    g_test_fail ();
  }
  g_error_free (error);
  g_byte_array_unref (file);
}

static void
refused (GByteArray *file, const char *part)
{
  refused_with (file, VIG_ERROR_MODEL, part);
}

/* ---- good files ---- */

static void
test_good (void)
{
  const char *metadata[] = {
    "vig_labels", "[\"a cat\", \"d\\u00f6g\", \"\\ud83d\\ude00 \\\"x\\\"\"]", "vig_name", "pets", "other", "ignored",
    "vig_preprocess", "{\"size\": 96, \"resize\": \"stretch\", \"mean\": [0.5, 0.25, 0], \"std\": [1, 2, 0.5]}", NULL };

  for (guint f = 0; f < G_N_ELEMENTS (families); f++) {
    g_autoptr (Made) made = made_new (families[f]);
    g_autoptr (GByteArray) file = made_file (made, metadata);
    GError *error = NULL;
    g_autoptr (VigModel) m = load (file, &error);
    g_autofree char *hash = g_compute_checksum_for_data (G_CHECKSUM_SHA256, file->data, file->len);
    guint64 n = 0;

    g_assert_no_error (error);
    g_assert_cmpstr (vig_model_get_name (m), ==, "pets");
    g_assert_cmpstr (vig_model_get_family (m), ==, f == 1 ? "vig_h" : "vig");
    g_assert_cmpstr (vig_model_get_hash (m), ==, hash);
    g_assert_cmpuint (vig_model_get_n_classes (m), ==, 3);
    g_assert_cmpstr (vig_model_get_label (m, 0), ==, "a cat");
    g_assert_cmpstr (vig_model_get_label (m, 1), ==, "dög");
    g_assert_cmpstr (vig_model_get_label (m, 2), ==, "😀 \"x\"");
    g_assert_null (vig_model_get_label (m, 3));
    g_assert_cmpuint (vig_model_get_n_features (m), ==, f == 1 ? 8 : 4);
    g_assert_cmpuint (vig_model_get_input_size (m), ==, 96);
    g_assert_cmpuint (vig_model_get_min_size (m), ==, f == 0 ? 7 : f == 1 ? 1 : f == 2 ? 23 : 7);
    g_assert_true (m->preprocess.stretch);
    g_assert_cmpfloat (m->preprocess.mean[1], ==, 0.25f);
    g_assert_cmpfloat (m->preprocess.std[2], ==, 0.5f);
    for (guint i = 0; i < made->tensors->len; i++) {
      const VigTensor *t = &g_array_index (made->tensors, VigTensor, i);
      g_assert_cmpmem (vig_model_get_weight (m, "%s", t->name), t->count * 4, t->data, t->count * 4);
      n += t->count;
    }
    g_assert_cmpuint (vig_model_get_n_parameters (m), ==, n);
  }
}

static void
test_defaults (void)
{
  g_autoptr (Made) made = made_new (MADE_PLAIN);
  g_autoptr (GByteArray) file = made_file (made, NULL);
  GError *error = NULL;
  g_autoptr (VigModel) m = load (file, &error);

  g_assert_no_error (error);
  g_assert_cmpstr (vig_model_get_name (m), ==, "small");
  g_assert_cmpstr (vig_model_get_label (m, 2), ==, "class 2");
  g_assert_cmpuint (vig_model_get_input_size (m), ==, 32);
  g_assert_false (m->preprocess.stretch);
  g_assert_cmpfloat (m->preprocess.resize_ratio, ==, 256.0 / 224.0);
  g_assert_cmpfloat (m->preprocess.mean[0], ==, 0.485f);

  made_edit (file, "\\\"name\\\":\\\"small\\\",", "");
  g_autoptr (VigModel) nameless = load (file, &error);
  g_assert_no_error (error);
  g_assert_cmpstr (vig_model_get_name (nameless), ==, "m.safetensors");
}

/* Half floats of every kind, and data that is not aligned. */
static void
test_dtypes (void)
{
  static const struct { VigDtype dtype; guint16 bits; float value; } cases[] = {
    { VIG_DTYPE_F16, 0x3c00, 1 }, { VIG_DTYPE_F16, 0xc000, -2 }, { VIG_DTYPE_F16, 0x0001, 0x1p-24f },
    { VIG_DTYPE_F16, 0x83ff, -0x3ffp-24f }, { VIG_DTYPE_F16, 0x0400, 0x1p-14f }, { VIG_DTYPE_F16, 0x7bff, 65504 },
    { VIG_DTYPE_F16, 0x8000, -0.0f }, { VIG_DTYPE_BF16, 0x3f80, 1 }, { VIG_DTYPE_BF16, 0xc040, -3 },
    { VIG_DTYPE_BF16, 0x7f7f, 0x1.fep127f },
  };

  for (guint i = 0; i < G_N_ELEMENTS (cases); i++) {
    g_autoptr (Made) made = made_new (MADE_PLAIN);
    VigTensor *t = made_get (made, "head.bias");
    GError *error = NULL;
    made_set_dtype (made, t, cases[i].dtype);
    ((guint16 *) t->data)[2] = GUINT16_TO_LE (cases[i].bits);
    g_autoptr (GByteArray) file = made_file (made, NULL);
    if (i % 2)
      made_edit (file, "{", "{ "); /* the data moves by one byte */
    g_autoptr (VigModel) model = load (file, &error);
    g_assert_no_error (error);
    g_assert_cmpfloat (vig_model_get_weight (model, "head.bias")[2], ==, cases[i].value);
    g_assert_cmpint (signbit (vig_model_get_weight (model, "head.bias")[2]), ==, signbit (cases[i].value));
  }
}

/* ---- the container ---- */

static void
test_truncated (void)
{
  for (guint f = 0; f < G_N_ELEMENTS (families); f++) {
    g_autoptr (Made) made = made_new (families[f]);
    g_autoptr (GByteArray) file = made_file (made, NULL);
    for (guint length = 0; length < file->len; length++) {
      g_autofree guint8 *copy = g_memdup2 (file->data, MAX (length, 1));
      g_autoptr (GError) error = NULL;
      g_autoptr (VigModel) model = vig_model_load_bytes (copy, length, "m.safetensors", &error);
      g_assert_null (model);
      g_assert_error (error, VIG_ERROR, VIG_ERROR_MODEL);
    }
  }
}

/* One byte changed, at random places: whatever comes of it, no crash; and where it loads, the weights are finite. */
static void
test_flipped (void)
{
  g_autoptr (Made) made = made_new (MADE_HIERARCHICAL);
  g_autoptr (GByteArray) file = made_file (made, (const char *[]) { "vig_labels", "[\"a\",\"b\",\"c\"]", NULL });
  guint64 header;

  memcpy (&header, file->data, 8);
  for (guint i = 0; i < 3000; i++) {
    guint at = g_test_rand_int_range (0, (gint32) (8 + header));
    guint8 old = file->data[at];
    g_autoptr (GError) error = NULL;
    file->data[at] = (guint8) g_test_rand_int ();
    g_autoptr (VigModel) model = load (file, &error);
    g_assert_true (model || (error && error->domain == VIG_ERROR));
    file->data[at] = old;
  }
}

static void
test_header (void)
{
  static const char tensor[] = "{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}";
  GByteArray *file = made_raw (tensor, 4);
  guint64 length = GUINT64_TO_LE ((guint64) 2 << 30);

  memcpy (file->data, &length, 8);
  refused (file, "found a length of 2147483648");
  file = made_raw (tensor, 4);
  memset (file->data, 0xff, 8);
  refused (file, "found a length of 18446744073709551615");
  file = made_raw (tensor, 4);
  file->data[0]++; /* one byte of the data in the header */
  refused (file, "expected UTF-8, found the byte 0x00");
  refused (made_raw ("", 0), "expected a value");
  refused (made_raw ("[]", 0), "expected an object, found an array of 0");
  refused (made_raw ("{\"a\":1}", 0), "tensor a: expected an object, found 1");
  refused (made_raw ("{\"__metadata__\":[]}", 0), "__metadata__: expected an object");
  refused (made_raw ("{\"__metadata__\":{\"x\":1}}", 0), "__metadata__ \"x\": expected a string, found 1");
  refused (made_raw ("{}", 0), "expected an entry vig_config");
  refused (made_raw ("{\"__metadata__\":{}}", 0), "expected an entry vig_config");
}

static void
test_json (void)
{
  static const struct { const char *text, *part; } cases[] = {
    { "{", "expected a name in quotes, found the end" },
    { "{\"a\"}", "expected ':', found '}'" },
    { "{\"a\":}", "expected a value" },
    { "{\"a\":1,}", "expected a name in quotes" },
    { "{\"a\":[1,]}", "expected a value" },
    { "{\"a\":1 \"b\":2}", "expected ',' or '}'" },
    { "{\"a\":1}x", "expected nothing more, found 'x'" },
    { "{'a':1}", "expected a name in quotes" },
    { "{\"a\":/* x */1}", "expected a value" },
    { "{\"a\":nul}", "expected a value" },
    { "{\"a\":NaN}", "expected a value" },
    { "{\"a\":01}", "expected ',' or '}'" },
    { "{\"a\":1.}", "expected a digit" },
    { "{\"a\":1e}", "expected a digit" },
    { "{\"a\":-}", "expected a digit" },
    { "{\"a\":1e999}", "expected a finite number" },
    { "{\"a\":1000000000000000000000000000000000000000000000000000000000000000000000000}", "less than 64 characters" },
    { "{\"a\":\"\\x\"}", "expected an escape" },
    { "{\"a\":\"\\u12g4\"}", "four hexadecimal digits" },
    { "{\"a\":\"\\u0000\"}", "neither NUL" },
    { "{\"a\":\"\\ud800\"}", "second half of a surrogate pair" },
    { "{\"a\":\"\\ud800\\u0041\"}", "second half of a surrogate pair" },
    { "{\"a\":\"\\udc00\"}", "nor half a surrogate pair" },
    { "{\"a\":\"\n\"}", "expected the rest of a string" },
    { "{\"a\\n\":1}", "expected a name of at most 256 printable bytes" },
    { "{\"a\":\"x", "expected the rest of a string, found the end" },
    { "{\"a\":\"\xff\"}", "expected UTF-8, found the byte 0xff at byte 6" },
    { "{\"a\":\"\xed\xa0\x80\"}", "expected UTF-8" },
    { "{\"a\":1,\"a\":2}", "expected every name once, found \"a\" twice" },
    { "{\"a\":1,\"\\u0061\":2}", "expected every name once, found \"a\" twice" },
    { "{\"a\":{\"dtype\":\"F32\",\"dtype\":\"F32\"}}", "found \"dtype\" twice" },
  };
  g_autofree char *long_name = g_strnfill (257, 'n');
  g_autofree char *long_json = g_strconcat ("{\"", long_name, "\":1}", NULL);
  g_autoptr (GString) deep = g_string_new ("{\"a\":");
  g_autoptr (GString) many = g_string_new ("{\"a\":[0");

  for (guint i = 0; i < G_N_ELEMENTS (cases); i++)
    refused (made_raw (cases[i].text, 0), cases[i].part);
  refused (made_raw (long_json, 0), "expected a name of at most 256 printable bytes");
  for (guint i = 0; i < 100000; i++)
    g_string_append_c (deep, '[');
  refused (made_raw (deep->str, 0), "at most 16 levels of nesting");
  for (guint i = 0; i < 1000001; i++)
    g_string_append (many, ",0");
  refused (made_raw (many->str, 0), "at most 1000000 values");
  GByteArray *nul = made_raw ("{\"a\":1}  ", 0);
  nul->data[nul->len - 1] = 0;
  refused (nul, "expected UTF-8, found the byte 0x00");
}

#define T(name, dtype, shape, begin, end) \
  "\"" name "\":{\"dtype\":\"" dtype "\",\"shape\":" shape ",\"data_offsets\":[" #begin "," #end "]}"

static void
test_layout (void)
{
  static const struct { const char *text; gsize data; const char *part; } cases[] = {
    { "{" T ("a", "F32", "[2]", 0, 8) "," T ("b", "F32", "[2]", 4, 12) "}", 12, "tensor b: expected data of its own, found it overlapping that of a" },
    { "{" T ("a", "F32", "[2]", 0, 8) "," T ("b", "F32", "[2]", 0, 8) "}", 8, "overlapping" },
    { "{" T ("a", "F32", "[2]", 0, 8) "," T ("b", "F32", "[2]", 12, 20) "}", 20, "expected data without holes, found 4 bytes that belong to no tensor before b" },
    { "{" T ("a", "F32", "[2]", 4, 12) "}", 12, "without holes, found 4 bytes" },
    { "{" T ("a", "F32", "[2]", 0, 8) "}", 9, "expected the file to end with the last tensor, found 1 bytes more" },
    { "{" T ("a", "F32", "[2]", 0, 8) "}", 7, "tensor a: expected data_offsets within the 7 bytes of data, found [0, 8]" },
    { "{" T ("a", "F32", "[2]", 8, 0) "}", 8, "expected data_offsets within" },
    { "{" T ("a", "F32", "[2]", 0, 9007199254740992) "}", 8, "expected data_offsets within" },
    { "{" T ("a", "F32", "[2]", 0, 1e300) "}", 8, "expected data_offsets of two whole numbers" },
    { "{" T ("a", "F32", "[2]", -8, 0) "}", 8, "expected data_offsets of two whole numbers" },
    { "{" T ("a", "F32", "[2]", 0, 7.5) "}", 8, "expected data_offsets of two whole numbers" },
    { "{" T ("a", "F32", "[2]", 0, 4) "}", 4, "tensor a: expected the bytes of F32 [2], found data_offsets of 4 bytes" },
    { "{" T ("a", "F16", "[2]", 0, 8) "}", 8, "expected the bytes of F16 [2]" },
    { "{" T ("a", "I64", "[1]", 0, 8) "}", 8, "tensor a: expected dtype F32, F16 or BF16, found \"I64\"" },
    { "{" T ("a", "", "[1]", 0, 8) "}", 8, "expected dtype" },
    { "{" T ("a", "F32", "[-1]", 0, 4) "}", 4, "expected a shape of whole numbers" },
    { "{" T ("a", "F32", "[1.5]", 0, 4) "}", 4, "expected a shape of whole numbers" },
    { "{" T ("a", "F32", "[\"1\"]", 0, 4) "}", 4, "expected a shape of whole numbers" },
    { "{" T ("a", "F32", "[2147483647,2147483647,2147483647]", 0, 4) "}", 4, "expected a shape of whole numbers whose product is a size" },
    { "{" T ("a", "F32", "[2147483647,2147483647,4]", 0, 4) "}", 4, "expected the bytes of F32" },
    { "{" T ("a", "F32", "[1,1,1,1,1,1,1,1,1]", 0, 4) "}", 4, "shape of at most 8 numbers" },
    { "{" T ("a", "F32", "1", 0, 4) "}", 4, "shape of at most 8 numbers, found 1" },
    { "{\"a\":{\"dtype\":\"F32\",\"shape\":[1]}}", 4, "expected data_offsets of two whole numbers, found none" },
    { "{\"a\":{\"dtype\":\"F32\",\"data_offsets\":[0,4]}}", 4, "shape of at most 8 numbers, found none" },
    { "{\"a\":{\"shape\":[1],\"data_offsets\":[0,4]}}", 4, "expected dtype F32, F16 or BF16, found none" },
    { "{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4,8]}}", 8, "expected data_offsets of two" },
    { "{" T ("a", "F32", "[0]", 0, 0) "," T ("b", "F32", "[1]", 0, 4) "}", 4, "expected an entry vig_config" }, /* fine so far */
  };

  for (guint i = 0; i < G_N_ELEMENTS (cases); i++)
    refused (made_raw (cases[i].text, cases[i].data), cases[i].part);
}

/* ---- the model ---- */

static void
test_tensors (void)
{
  for (guint f = 0; f < G_N_ELEMENTS (families); f++) {
    static const char *const names[] = { "blocks.0.attn.qkv_proj.weight", "layers.1.blocks.0.op.qkv_proj.weight",
      "blocks.1.temporal.qkv_proj.weight",
      "blocks.0.attn.qkv_proj.weight" };
    const char *name = names[f];
    guint width = f == 1 ? 8 : 4;
    g_autofree char *expected = g_strdup_printf ("tensor %s: expected shape [%u, %u], found [%u, %u]", name, 2 * width,
        width, width, 2 * width);
    g_autofree char *missing = g_strdup_printf ("tensor %s: expected shape [%u, %u], found no such tensor", name,
        2 * width, width);
    g_autofree char *nan = g_strdup_printf ("tensor %s: expected finite values, found NaN at index 17", name);
    g_autofree char *inf = g_strdup_printf ("tensor %s: expected finite values, found infinity at index 3", name);
    {
      g_autoptr (Made) made = made_new (families[f]);
      VigTensor *t = made_get (made, name);
      t->shape[0] = width;
      t->shape[1] = 2 * width;
      refused (made_file (made, NULL), expected);
      t->shape[0] = 2 * width * width;
      t->rank = 1;
      refused (made_file (made, NULL), "found [");
      t->rank = 2;
      t->shape[0] = 2 * width;
      t->shape[1] = width;
      t->name = "blocks.0.other";
      refused (made_file (made, NULL), missing);
      t->name = name;
      VigTensor more = { .name = "blocks.9.surprise", .rank = 1, .shape = { 1 }, .count = 1, .data = t->data };
      g_array_append_val (made->tensors, more);
      refused (made_file (made, NULL), "found also blocks.9.surprise");
    }
    {
      g_autoptr (Made) made = made_new (families[f]);
      float *values = (float *) made_get (made, name)->data;
      values[17] = NAN;
      refused (made_file (made, NULL), nan);
      values[3] = -INFINITY;
      refused (made_file (made, NULL), inf);
    }
    {
      g_autoptr (Made) made = made_new (families[f]);
      VigTensor *t = made_get (made, name);
      made_set_dtype (made, t, VIG_DTYPE_F16);
      ((guint16 *) t->data)[3] = GUINT16_TO_LE (0xfc00);
      refused (made_file (made, NULL), inf);
      t->dtype = VIG_DTYPE_BF16;
      ((guint16 *) t->data)[3] = GUINT16_TO_LE (0x7f80);
      refused (made_file (made, NULL), inf);
    }
    {
      g_autoptr (Made) made = made_new (families[f]);
      g_array_append_vals (made->tensors, made_get (made, name), 1);
      refused (made_file (made, NULL), "expected every name once");
    }
  }
}

/* What is multiplied where a scan enters another frame must not grow. */
static void
test_boundary (void)
{
  g_autoptr (Made) made = made_new (MADE_JOINT);
  ((float *) made_get (made, "blocks.1.attn.boundary")->data)[1] = 0.5f;
  refused (made_file (made, NULL), "tensor blocks.1.attn.boundary: expected no value above 0, found 0.5 at index 1");
}

/* One field of vig_config or vig_preprocess changed, and what is said about it. */
static void
test_config (void)
{
  static const struct { guint family; const char *from, *to, *part; } cases[] = {
    { 0, "\"family\":\"vig\"", "\"family\":\"vit\"", "vig_config: family: expected \"vig\" or \"vig_h\", found \"vit\"" },
    { 0, "\"family\":\"vig\",", "", "vig_config: expected a field \"family\", found none" },
    { 0, "\"family\":\"vig\"", "\"family\":1", "found 1" },
    { 0, "\"embed_dim\":4", "\"embed_dim\":8", "expected shape [1, 4, 8], found [1, 4, 4]" },
    { 0, "\"embed_dim\":4", "\"embed_dim\":5", "expected a width that is a multiple of twice the heads" },
    { 0, "\"embed_dim\":4", "\"embed_dim\":0", "embed_dim: expected a whole number from 2 to 16384, found 0" },
    { 0, "\"embed_dim\":4", "\"embed_dim\":-4", "embed_dim: expected a whole number from 2 to 16384, found -4" },
    { 0, "\"embed_dim\":4", "\"embed_dim\":1e9", "embed_dim: expected" },
    { 0, "\"embed_dim\":4", "\"embed_dim\":4.5", "embed_dim: expected" },
    { 0, "\"embed_dim\":4", "\"embed_dim\":\"4\"", "embed_dim: expected a whole number from 2 to 16384, found \"4\"" },
    { 0, "\"embed_dim\":4,", "", "expected a field \"embed_dim\", found none" },
    { 0, "\"depth\":1", "\"depth\":2", "tensor blocks.1.attn_norm.weight: expected shape [4], found no such tensor" },
    { 0, "\"depth\":1", "\"depth\":1000000", "depth: expected" },
    { 0, "\"num_heads\":1", "\"num_heads\":0", "num_heads: expected" },
    { 0, "\"num_heads\":1", "\"num_heads\":2", "g_norm.weight: expected shape [2], found [4]" },
    { 0, "\"num_heads\":1", "\"num_heads\":3", "multiple of twice the heads" },
    { 0, "\"img_size\":32", "\"img_size\":48", "tensor pos_embed: expected shape [1, 9, 4], found [1, 4, 4]" },
    { 0, "\"patch_size\":16", "\"patch_size\":8", "patch_size: expected a whole number from 16 to 16, found 8" },
    { 0, "\"in_chans\":3", "\"in_chans\":1", "in_chans: expected" },
    { 0, "\"num_classes\":3", "\"num_classes\":4", "head.weight: expected shape [4, 4], found [3, 4]" },
    { 0, "\"act_in_conv\":true", "\"act_in_conv\":1", "act_in_conv: expected true or false, found 1" },
    { 0, ",\"out_act\":true", "", "expected a field \"out_act\", found none" },
    { 0, "\"depth\":1", "\"depth\":1,\"tokens\":2", "expected only the fields" },
    { 0, "\"depth\":1", "\"depth\":1,\"depth\":1", "found \"depth\" twice" },
    { 0, "\"name\":\"small\"", "\"name\":7", "name: expected a string, found 7" },
    { 1, "\"dims\":[4,8]", "\"dims\":[]", "dims: expected a list of 1 to 8 numbers" },
    { 1, "\"dims\":[4,8]", "\"dims\":4", "dims: expected a list of 1 to 8 numbers, found 4" },
    { 1, "\"dims\":[4,8]", "\"dims\":[4,8,16]", "depths: expected a list of 3 numbers (as many as dims), found an array of 2" },
    { 1, "\"dims\":[4,8]", "\"dims\":[2,2,2,2,2,2,2,2,2]", "dims: expected a list of 1 to 8" },
    { 1, "\"depths\":[1,1]", "\"depths\":[1,0]", "depths: expected a whole number from 1" },
    { 1, "\"num_heads\":[1,2]", "\"num_heads\":[1,8]", "found 8 and 8 heads in stage 1" },
    { 2, "\"kind\":\"stream\"", "\"kind\":\"clip\"", "temporal: kind: expected \"joint\" or \"stream\", found \"clip\"" },
    { 2, "\"kind\":\"stream\",", "", "temporal: expected a field \"kind\", found none" },
    { 2, "\"after\":[0,1]", "\"after\":[]", "temporal: after: expected a list of 1 to 16 blocks, found an array of 0" },
    { 2, "\"after\":[0,1]", "\"after\":[0,2]", "temporal: after: expected a whole number from 1 to 1, found 2" },
    { 2, "\"after\":[0,1]", "\"after\":[1,1]", "temporal: after: expected a whole number from 2 to 1, found 1" },
    { 2, "\"after\":[0,1]", "\"after\":[0]", "vig_config, found also blocks.1.temporal" },
    { 2, "\"grid\":2", "\"grid\":3", "temporal: grid: expected no more cells than the 2 tokens of a side, found 3" },
    { 2, "\"width\":4", "\"width\":5", "temporal: expected a width that is a multiple of twice the heads, found 5 and 1 heads" },
    { 2, "\"width\":4", "\"width\":8", "blocks.0.temporal.qkv_proj.weight: expected shape [16, 4], found [8, 4]" },
    { 2, "\"step\":0.2", "\"step\":0", "temporal: step: expected a number from 1e-06 to 1e+06, found 0" },
    { 2, "\"step\":0.2", "\"step\":\"0.2\"", "temporal: step: expected a number from" },
    { 2, "\"width\":4", "\"width\":16384", "temporal: expected modules that remember at most 1073741824 bytes of a stream, found "
      "4294967296" },
    { 2, "\"max_elapsed\":4", "\"max_elapsed\":0.5", "temporal: max_elapsed: expected a number from 1 to" },
    { 2, "\"difference\":8", "\"difference\":-8", "temporal: difference: expected a number from 0" },
    { 2, "\"difference\":8", "\"difference\":0", "in_chans: expected a whole number from 3 to 3, found 6" },
    { 2, "\"in_chans\":6", "\"in_chans\":3", "in_chans: expected a whole number from 6 to 6, found 3" },
    { 2, "\"grid\":2", "\"grid\":2,\"cells\":4", "temporal: expected only the fields kind" },
    { 3, "\"frames\":3", "\"frames\":0", "temporal: frames: expected a whole number from 1 to 4096, found 0" },
    { 3, "\"frames\":3", "\"frames\":4", "tensor temporal_pos_embed: expected shape [1, 4, 4], found [1, 3, 4]" },
    { 3, "\"conv\":\"time\"", "\"conv\":\"3d\"", "temporal: conv: expected \"frame\" or \"time\", found \"3d\"" },
    { 3, "\"conv\":\"time\"", "\"conv\":\"frame\"", "in_proj.0.weight: expected shape [4, 1, 3, 3], found [4, 1, 3, 3, 3]" },
    { 3, ",\"conv\":\"time\"", "", "temporal: expected a field \"conv\", found none" },
  };

  for (guint i = 0; i < G_N_ELEMENTS (cases); i++) {
    g_autoptr (Made) made = made_new (families[cases[i].family]);
    g_auto (GStrv) parts = g_strsplit (families[cases[i].family], cases[i].from, 2);
    g_assert_cmpuint (g_strv_length (parts), ==, 2);
    g_autofree char *config = g_strconcat (parts[0], cases[i].to, parts[1], NULL);
    refused (made_file (made, (const char *[]) { "vig_config", config, NULL }), cases[i].part);
  }
}

static void
test_metadata (void)
{
  static const struct { const char *key, *value, *part; } cases[] = {
    { "vig_config", "", "vig_config: broken JSON at byte 0" },
    { "vig_config", "[]", "vig_config: expected an object, found an array of 0" },
    { "vig_labels", "[\"a\",\"b\",\"c\",\"d\"]", "vig_labels: expected 3 labels, one for each class, found 4" },
    { "vig_labels", "[\"a\",\"b\"]", "vig_labels: expected 3 labels, one for each class, found 2" },
    { "vig_labels", "[\"a\",\"b\",3]", "vig_labels: expected a string at index 2, found 3" },
    { "vig_labels", "{}", "vig_labels: expected an array, found an object" },
    { "vig_labels", "a\nb\nc", "vig_labels: broken JSON" },
    { "vig_preprocess", "[", "vig_preprocess: broken JSON" },
    { "vig_preprocess", "3", "vig_preprocess: expected an object, found 3" },
    { "vig_preprocess", "{\"size\":0}", "vig_preprocess: size: expected a whole number of pixels" },
    { "vig_preprocess", "{\"size\":6}", "vig_preprocess: size: expected" },
    { "vig_preprocess", "{\"size\":8193}", "vig_preprocess: size: expected" },
    { "vig_preprocess", "{\"resize\":\"letterbox\"}", "resize: expected \"crop\" or \"stretch\", found \"letterbox\"" },
    { "vig_preprocess", "{\"resize\":true}", "resize: expected \"crop\" or \"stretch\", found true" },
    { "vig_preprocess", "{\"resize_ratio\":0.5}", "resize_ratio: expected a number from 1 to 16, found 0.5" },
    { "vig_preprocess", "{\"mean\":[1,2]}", "mean: expected three numbers from -1000 to 1000, found an array of 2" },
    { "vig_preprocess", "{\"mean\":[1,2,\"x\"]}", "mean: expected three numbers" },
    { "vig_preprocess", "{\"std\":[0,1,1]}", "std: expected three numbers from 1e-6 to 1000" },
    { "vig_preprocess", "{\"crop\":1}", "expected only the fields" },
  };

  for (guint i = 0; i < G_N_ELEMENTS (cases); i++) {
    g_autoptr (Made) made = made_new (MADE_PLAIN);
    refused (made_file (made, (const char *[]) { cases[i].key, cases[i].value, NULL }), cases[i].part);
  }
}

/* ---- files ---- */

static void
refused_path (const char *path, VigError code, const char *part)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (VigModel) model = vig_model_load (path, &error);

  g_assert_null (model);
  g_assert_error (error, VIG_ERROR, (int) code);
  g_assert_true (g_str_has_prefix (error->message, path));
  if (!strstr (error->message, part))
    g_error ("expected \"%s\" in \"%s\"", part, error->message);
}

static void
test_files (void)
{
  g_autofree char *folder = g_dir_make_tmp ("vig-loader-XXXXXX", NULL);
  g_autofree char *path = g_build_filename (folder, "model.safetensors", NULL);
  g_autoptr (Made) made = made_new (MADE_PLAIN);
  g_autoptr (GByteArray) file = made_file (made, NULL);
  GError *error = NULL;

  refused_path (path, VIG_ERROR_FILE, "cannot be opened: No such file");
  refused_path (folder, VIG_ERROR_FILE, "expected a file, found a folder");
  refused_path ("/dev/zero", VIG_ERROR_FILE, "expected a file, found something else");
  g_assert_cmpint (mkfifo (path, 0600), ==, 0);
  refused_path (path, VIG_ERROR_FILE, "expected a file, found something else"); /* and does not hang */
  g_unlink (path);

  g_assert_true (g_file_set_contents (path, "", 0, NULL));
  refused_path (path, VIG_ERROR_MODEL, "expected a safetensors file of at least 8 bytes, found 0");
  g_assert_true (g_file_set_contents (path, (char *) file->data, 20, NULL));
  refused_path (path, VIG_ERROR_MODEL, "expected a header of at most 12 bytes");
  guint64 length = GUINT64_TO_LE ((guint64) 2 << 30); /* a header of 2 GB that is really there, if sparse */
  g_assert_true (g_file_set_contents (path, (char *) &length, 8, NULL));
  g_assert_cmpint (truncate (path, ((off_t) 3 << 30)), ==, 0);
  refused_path (path, VIG_ERROR_MODEL, "found a length of 2147483648");
  g_assert_cmpint (truncate (path, ((off_t) 5 << 30)), ==, 0);
  refused_path (path, VIG_ERROR_FILE, "expected at most 4294967296 bytes, found 5368709120");

  g_assert_true (g_file_set_contents (path, (char *) file->data, file->len, NULL));
  g_autoptr (VigModel) model = vig_model_load (path, &error);
  g_assert_no_error (error);
  g_assert_cmpint (truncate (path, 100), ==, 0); /* the model is in memory: nothing happens */
  g_assert_cmpfloat (vig_model_get_weight (model, "norm.weight")[3], ==,
      ((const float *) made_get (made, "norm.weight")->data)[3]);
  g_unlink (path);
  g_rmdir (folder);
}

static void
test_labels (void)
{
  static const struct { const char *text; guint n; const char *part; } bad[] = {
    { "a\nb\n", 3, "expected 3 labels, one for each class, found 2" },
    { "a\nb\nc\nd\n", 3, "expected 3 labels, one for each class, found 4" },
    { "", 1, "found 0" },
    { "a\n\xff\n", 2, "expected UTF-8 text, found the byte 0xff at byte 2" },
  };
  g_autofree char *folder = g_dir_make_tmp ("vig-labels-XXXXXX", NULL), *path = g_build_filename (folder, "l", NULL);
  GError *error = NULL;

  g_assert_true (g_file_set_contents (path, "a cat\r\n\nthe dög\n\n\r\n\n", -1, NULL));
  g_auto (GStrv) labels = vig_labels_load (path, 3, &error);
  g_assert_no_error (error);
  g_assert_cmpstr (labels[0], ==, "a cat");
  g_assert_cmpstr (labels[1], ==, "");
  g_assert_cmpstr (labels[2], ==, "the dög");
  for (guint i = 0; i < G_N_ELEMENTS (bad); i++) {
    g_assert_true (g_file_set_contents (path, bad[i].text, -1, NULL));
    g_assert_null (vig_labels_load (path, bad[i].n, &error));
    g_assert_error (error, VIG_ERROR, VIG_ERROR_MODEL);
    g_assert_nonnull (strstr (error->message, bad[i].part));
    g_clear_error (&error);
  }
  g_unlink (path);
  g_assert_null (vig_labels_load (path, 3, &error));
  g_assert_error (error, VIG_ERROR, VIG_ERROR_FILE);
  g_clear_error (&error);
  g_rmdir (folder);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/loader/good", test_good);
  g_test_add_func ("/loader/defaults", test_defaults);
  g_test_add_func ("/loader/dtypes", test_dtypes);
  g_test_add_func ("/loader/truncated", test_truncated);
  g_test_add_func ("/loader/flipped", test_flipped);
  g_test_add_func ("/loader/header", test_header);
  g_test_add_func ("/loader/json", test_json);
  g_test_add_func ("/loader/layout", test_layout);
  g_test_add_func ("/loader/tensors", test_tensors);
  g_test_add_func ("/loader/boundary", test_boundary);
  g_test_add_func ("/loader/config", test_config);
  g_test_add_func ("/loader/metadata", test_metadata);
  g_test_add_func ("/loader/files", test_files);
  g_test_add_func ("/loader/labels", test_labels);
  return g_test_run ();
}
