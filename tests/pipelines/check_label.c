/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The rooms of vig-label that need no video: which frames are wanted, lists of inputs, the journal, plans, files. */
#include <math.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <glib/gstdio.h>

#include "label/files.h"
#include "label/journal.h"
#include "label/load.h"
#include "label/manifest.h"
#include "label/plan.h"
#include "label/sampling.h"

static char *
make_folder (void)
{
  g_autoptr (GError) error = NULL;
  char *folder = g_dir_make_tmp ("vig-label-XXXXXX", &error);
  g_assert_no_error (error);
  return folder;
}

static void
remove_folder (char *folder)
{
  g_autoptr (GDir) dir = g_dir_open (folder, 0, NULL);
  const char *name;
  while ((name = g_dir_read_name (dir))) {
    g_autofree char *path = g_build_filename (folder, name, NULL);
    g_unlink (path);
  }
  g_rmdir (folder);
  g_free (folder);
}

/* ---- sampling ---- */

/* Ten hours at odd rates, timestamps rounded as Matroska does: as many frames as there are turns, none earlier than its turn by more
 * than the tolerance, none later than a frame. */
static void
test_sampling (void)
{
  static const double rates[] = { 0.1, 1, 2, 7, 10, 23.976, 25, 30000 / 1001. };
  const guint64 n = 10 * 3600 * 30000 / 1001;
  for (guint r = 0; r < G_N_ELEMENTS (rates); r++) {
    VigSampling sampling = { .rate = rates[r] };
    guint64 found = 0;
    for (guint64 i = 0; i < n; i++) {
      const GstClockTime exact = gst_util_uint64_scale (i, 1001 * GST_SECOND, 30000);
      const GstClockTime time = (exact + GST_MSECOND / 2) / GST_MSECOND * GST_MSECOND;
      if (!vig_sampling_wants (&sampling, time))
        continue;
      const double turn = (double) found / rates[r];
      g_assert_cmpfloat ((double) time / GST_SECOND, >=, turn - 0.0011);
      g_assert_cmpfloat ((double) time / GST_SECOND, <=, turn + 1001 / 30000. + 0.0011);
      found++;
    }
    g_assert_cmpfloat_with_epsilon ((double) found, floor ((double) n * 1001 / 30000 * rates[r]), 1.01);
  }
}

/* After a gap there is one frame, not one for each turn that was missed; and every frame where no rate is asked for. */
static void
test_sampling_gaps (void)
{
  VigSampling sampling = { .rate = 10 }, all = { 0 };
  g_assert_true (vig_sampling_wants (&sampling, 0));
  g_assert_false (vig_sampling_wants (&sampling, 40 * GST_MSECOND));
  g_assert_true (vig_sampling_wants (&sampling, 5 * GST_SECOND + 50 * GST_MSECOND));
  g_assert_false (vig_sampling_wants (&sampling, 5 * GST_SECOND + 90 * GST_MSECOND));
  g_assert_true (vig_sampling_wants (&sampling, 5 * GST_SECOND + 100 * GST_MSECOND));
  for (guint i = 0; i < 3; i++)
    g_assert_true (vig_sampling_wants (&all, 0));
}

/* ---- manifests ---- */

static char *
parse (const char *data, gsize size)
{
  g_autoptr (GPtrArray) lines = g_ptr_array_new_with_free_func (g_free);
  g_autoptr (GError) error = NULL;
  if (!vig_manifest_parse (data, size, "list", "/folder", lines, &error))
    return g_strdup (error->message);
  g_ptr_array_add (lines, NULL);
  return g_strjoinv ("|", (char **) lines->pdata);
}

static void
expect_lines (const char *data, gsize size, const char *expected)
{
  g_autofree char *found = parse (data, size);
  g_assert_cmpstr (found, ==, expected);
}

#define EXPECT_LINES(text, expected) expect_lines (text, sizeof text - 1, expected)

static void
test_manifest (void)
{
  EXPECT_LINES ("", "");
  EXPECT_LINES ("a\n\n#b\n/c d\r\nhttp://x/y z\n../e", "/folder/a|/c d|http://x/y z|/e");
  EXPECT_LINES ("a\nb\0#c\0\0d", "/folder/a\nb|/folder/#c|/folder/d");
  EXPECT_LINES ("\xff\n", "/folder/\xff");
  g_autofree char *line = g_strnfill (VIG_MANIFEST_MAX_LINE + 1, 'x');
  g_autofree char *data = g_strconcat ("a\n", line, NULL);
  expect_lines (data, strlen (data), "list: line 2: expected at most 65536 bytes, found 65537");
}

/* ---- the journal ---- */

static VigEntry *
make_entry (const char *name, const char *error)
{
  VigEntry *entry = g_new0 (VigEntry, 1);
  *entry = (VigEntry) { .key = g_strdup ("k\"ey"), .name = g_strdup (name), .error = g_strdup (error), .frames = 12, .segments = 3,
    .duration = 4.5 };
  return entry;
}

static void
test_journal (void)
{
  char *folder = make_folder ();
  g_autofree char *path = g_build_filename (folder, "vig-label.journal", NULL);
  g_autoptr (GError) error = NULL;
  VigJournal *journal = vig_journal_open (folder, &error);
  g_assert_no_error (error);
  g_assert_true (vig_journal_add (journal, make_entry ("a", NULL), &error));
  g_assert_true (vig_journal_add (journal, make_entry ("b", "a \"quoted\"\nreason \xff"), &error));
  g_assert_null (vig_journal_open (folder, &error)); /* by another, at the same time */
  g_assert_error (error, G_IO_ERROR, G_IO_ERROR_BUSY);
  g_clear_error (&error);
  vig_journal_free (journal);

  /* the power goes in the middle of a line */
  g_autofree char *data = NULL;
  gsize size;
  g_assert_true (g_file_get_contents (path, &data, &size, NULL));
  g_autofree char *torn = g_strdup_printf ("%s{\"journal\": 1, \"key\": \"x", data);
  g_assert_true (g_file_set_contents (path, torn, -1, NULL));
  journal = vig_journal_open (folder, &error);
  g_assert_no_error (error);
  g_assert_cmpstr (vig_journal_find (journal, "a")->key, ==, "k\"ey");
  g_assert_null (vig_journal_find (journal, "a")->error);
  g_assert_cmpstr (vig_journal_find (journal, "b")->error, ==, "a \"quoted\"\nreason \xef\xbf\xbd");
  g_assert_cmpuint (vig_journal_find (journal, "b")->frames, ==, 12);
  g_assert_cmpfloat (vig_journal_find (journal, "b")->duration, ==, 4.5);
  g_assert_true (vig_journal_add (journal, make_entry ("a", "later"), &error));
  vig_journal_free (journal);

  g_autoptr (VigJournal) peeked = vig_journal_peek (folder);
  g_assert_cmpstr (vig_journal_find (peeked, "a")->error, ==, "later");
  g_assert_nonnull (vig_journal_find (peeked, "b"));
  g_assert_null (vig_journal_find (peeked, "c"));
  remove_folder (folder);
}

static void
test_bad_entries (void)
{
  static const char *const lines[] = { "", "{}", "[]", "x", "{\"journal\": 1", "{\"journal\": 2, \"key\": \"k\", \"name\": \"n\", "
    "\"frames\": 1, \"segments\": 1, \"duration\": 1, \"error\": null}", "{\"journal\": 1, \"key\": \"k\", \"name\": \"../n\", "
    "\"frames\": 1, \"segments\": 1, \"duration\": 1, \"error\": null}", "{\"journal\": 1, \"key\": \"k\", \"name\": \"n\", "
    "\"frames\": -1, \"segments\": 1, \"duration\": 1, \"error\": null}", "{\"journal\": 1, \"key\": \"k\", \"name\": \"n\", "
    "\"frames\": 1e30, \"segments\": 1, \"duration\": 1, \"error\": null}", "{\"journal\": 1, \"key\": 7, \"name\": \"n\", "
    "\"frames\": 1, \"segments\": 1, \"duration\": 1, \"error\": null}", "\xff" };
  for (guint i = 0; i < G_N_ELEMENTS (lines); i++)
    g_assert_null (vig_entry_parse (lines[i], strlen (lines[i])));
}

/* ---- plans ---- */

static void
test_plan (void)
{
  char *folder = make_folder ();
  g_autoptr (GError) error = NULL;
  g_autoptr (VigPlan) plan = vig_plan_new ();
  plan->shard = 1;
  plan->n_shards = 3;
  plan->n_inputs = 6;
  plan->formats = 5;
  plan->list = g_strdup ("abc");
  vig_plan_add (plan, 1, g_strdup ("n1"), g_strdup ("k1"), g_strdup ("in \"put\" \xff"));
  vig_plan_add (plan, 4, g_strdup ("n4"), g_strdup ("k4"), g_strdup (""));
  g_assert_true (vig_plan_write (plan, folder, &error));
  g_autoptr (VigPlan) found = vig_plan_read (folder, &error);
  g_assert_no_error (error);
  g_assert_cmpuint (found->shard, ==, 1);
  g_assert_cmpuint (found->n_shards, ==, 3);
  g_assert_cmpuint (found->n_inputs, ==, 6);
  g_assert_cmpuint (found->formats, ==, 5);
  g_assert_cmpstr (found->list, ==, "abc");
  g_assert_cmpuint (found->planned->len, ==, 2);
  const VigPlanned *first = found->planned->pdata[0];
  g_assert_cmpuint (first->index, ==, 1);
  g_assert_cmpstr (first->input, ==, "in \"put\" \xef\xbf\xbd");
  remove_folder (folder);
}

static void
test_bad_plans (void)
{
#define HEAD "{\"plan\": 1, \"shard\": 1, \"shards\": 3, \"inputs\": 6, \"formats\": 1, \"list\": \"x\"}\n"
  static const struct { const char *text; guint line; } cases[] = { { "", 1 }, { "x", 1 }, { "{}", 1 },
    { "{\"plan\": 1, \"shard\": 3, \"shards\": 3, \"inputs\": 6, \"formats\": 1, \"list\": \"x\"}", 1 },
    { "{\"plan\": 1, \"shard\": 0, \"shards\": 2e9, \"inputs\": 6, \"formats\": 1, \"list\": \"x\"}", 1 },
    { "{\"plan\": 1, \"shard\": 0.5, \"shards\": 3, \"inputs\": 6, \"formats\": 1, \"list\": \"x\"}", 1 },
    { HEAD "{", 2 }, { HEAD "{\"index\": 2, \"name\": \"n\", \"key\": \"k\", \"input\": \"i\"}", 2 },
    { HEAD "{\"index\": 7, \"name\": \"n\", \"key\": \"k\", \"input\": \"i\"}", 2 },
    { HEAD "{\"index\": 4, \"name\": \"a/n\", \"key\": \"k\", \"input\": \"i\"}", 2 } };
  for (guint i = 0; i < G_N_ELEMENTS (cases); i++) {
    g_autoptr (GError) error = NULL;
    g_autofree char *expected = g_strdup_printf ("plan: line %u: expected ", cases[i].line);
    g_assert_null (vig_plan_parse (cases[i].text, strlen (cases[i].text), "plan", &error));
    g_assert_error (error, G_IO_ERROR, G_IO_ERROR_INVALID_DATA);
    g_assert_true (g_str_has_prefix (error->message, expected));
  }
}

/* ---- files ---- */

static void
expect_content (const char *path, const char *expected)
{
  g_autofree char *data = NULL;
  g_file_get_contents (path, &data, NULL, NULL);
  g_assert_cmpstr (data, ==, expected);
}

static void
test_files (void)
{
  char *folder = make_folder ();
  g_autofree char *path = g_build_filename (folder, "a", NULL), *other = g_build_filename (folder, "b", NULL);
  g_autoptr (GError) error = NULL;
  VigFile file;
  g_assert_true (vig_file_begin (&file, path, &error));
  fputs ("one", file.out);
  g_assert_false (g_file_test (path, G_FILE_TEST_EXISTS));
  g_assert_true (vig_file_end (&file, &error));
  expect_content (path, "one");
  g_assert_true (vig_file_begin (&file, path, &error));
  fputs ("two", file.out);
  vig_file_drop (&file);
  expect_content (path, "one");

  /* one that is killed leaves its temporary file, which the next removes */
  g_assert_true (vig_file_begin (&file, path, &error));
  g_autofree char *left = g_strdup (file.temporary);
  vig_folder_sweep (folder);
  g_assert_false (g_file_test (left, G_FILE_TEST_EXISTS));
  expect_content (path, "one");
  vig_file_drop (&file);

  g_assert_true (vig_file_link (path, other, &error) && vig_file_link (path, other, &error)); /* also where it is there */
  expect_content (other, "one");
  g_assert_false (vig_file_begin (&file, "/nowhere/at/all", &error));
  g_assert_error (error, G_FILE_ERROR, G_FILE_ERROR_NOENT);
  g_assert_true (strstr (error->message, "/nowhere/at/all: cannot be written: ") == error->message);
  remove_folder (folder);
}

/* A disk that is full is an error in the end, and the old file stays. */
static void
test_full (void)
{
  g_autoptr (GError) error = NULL;
  g_autofree char *target = g_strdup ("/dev/full");
  VigFile file = { .out = fopen ("/dev/full", "w"), .path = g_steal_pointer (&target), .temporary = g_strdup ("/nowhere/temporary") };
  if (!file.out) {
    g_free (file.path);
    g_free (file.temporary);
    g_test_skip ("there is no /dev/full");
    return;
  }
  fputs ("x", file.out);
  g_assert_false (vig_file_end (&file, &error));
  g_assert_error (error, G_FILE_ERROR, G_FILE_ERROR_NOSPC);
}

/* ---- how many at once ---- */

/* What ten seconds of @idle cores and @engine at work make of the limit */
static guint
look_again (VigLoad *load, double idle, double engine, gboolean full)
{
  load->since = g_get_monotonic_time () - 10 * G_USEC_PER_SEC;
  vig_load_look (load, load->idle + 10 * idle * g_get_num_processors (), load->engine + 10 * engine * load->parallel, full);
  return load->limit;
}

static void
test_load (void)
{
  VigLoad load;
  vig_load_init (&load, 3, 1);
  vig_load_look (&load, 0, 0, TRUE);
  g_assert_cmpuint (look_again (&load, 1, 0, TRUE), ==, 3); /* what the user says */

  vig_load_init (&load, 0, 2);
  const guint first = load.limit;
  vig_load_look (&load, 1e6, 0, TRUE); /* nothing to compare with yet */
  g_assert_cmpuint (load.limit, ==, first);
  vig_load_look (&load, 2e6, 0, TRUE); /* too soon */
  g_assert_cmpuint (load.limit, ==, first);
  g_assert_cmpuint (look_again (&load, 1, 0, TRUE), ==, first + 1);
  g_assert_cmpuint (look_again (&load, 1, 1, TRUE), ==, first + 1); /* the engine is at work */
  g_assert_cmpuint (look_again (&load, 0.05, 0, TRUE), ==, first + 1); /* the cores are, for whomever */
  g_assert_cmpuint (look_again (&load, 1, 0.5, FALSE), ==, first + 1); /* fewer run than may */
  g_assert_cmpuint (look_again (&load, 0.2, 0.5, TRUE), ==, first + 2);
  for (int i = 0; i < 1000; i++)
    look_again (&load, 1, 0, TRUE);
  g_assert_cmpuint (load.limit, ==, load.most);
}

/* Seconds that cores had nothing to do: what the system says, if it does, and no more than there were. */
static void
test_load_idle (void)
{
  g_autofree char *stat = NULL;
  const double first = vig_load_get_idle ();
  const gint64 start = g_get_monotonic_time ();
  if (g_file_get_contents ("/proc/stat", &stat, NULL, NULL)) { /* cpu  user nice system idle iowait … */
    g_auto (GStrv) fields = g_strsplit (stat, " ", 8);
    const double ticks = g_ascii_strtod (fields[5], NULL) + g_ascii_strtod (fields[6], NULL);
    g_assert_cmpfloat (fabs (ticks / (double) sysconf (_SC_CLK_TCK) - first), <, 1 + 0.1 * (double) sysconf (_SC_NPROCESSORS_CONF));
  } else
    g_assert_cmpfloat (first, ==, 0);
  g_usleep (300000);
  const double rest = vig_load_get_idle () - first, most = 1e-6 * (double) (g_get_monotonic_time () - start);
  g_assert_cmpfloat (rest, >, -0.1); /* what is waited for a disk may become less */
  g_assert_cmpfloat (rest, <=, (most + 0.1) * (double) sysconf (_SC_NPROCESSORS_CONF));
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/label/sampling/drift", test_sampling);
  g_test_add_func ("/label/sampling/gaps", test_sampling_gaps);
  g_test_add_func ("/label/manifest", test_manifest);
  g_test_add_func ("/label/journal", test_journal);
  g_test_add_func ("/label/journal/bad", test_bad_entries);
  g_test_add_func ("/label/plan", test_plan);
  g_test_add_func ("/label/plan/bad", test_bad_plans);
  g_test_add_func ("/label/files", test_files);
  g_test_add_func ("/label/files/full", test_full);
  g_test_add_func ("/label/load", test_load);
  g_test_add_func ("/label/load/idle", test_load_idle);
  return g_test_run ();
}
