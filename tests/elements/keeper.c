/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What keeps an element's model, with models that are nothing but a name and are loaded when the test says so: who is
 * heard of, who is in use, and which thread frees. */
#include "gstvigkeeper.h"

/* ---- models ---- */

static GMutex lock;
static GCond changed;
static int n_loading, n_loaded, n_freed, n_hurried;
static gboolean held;       /* loading waits */
static GThread *freed_in;

/* A file named "bad…" cannot be loaded. */
GstVigLoaded *
gst_vig_loaded_new (const GstVigLoadOptions *options, const char *user, guint size, GError **error)
{
  g_mutex_lock (&lock);
  n_loading++;
  g_cond_broadcast (&changed);
  while (held)
    g_cond_wait (&changed, &lock);
  n_loading--;
  gboolean good = !g_str_has_prefix (options->model_file, "bad");
  n_loaded += good;
  g_mutex_unlock (&lock);
  if (!good) {
    g_set_error (error, VIG_ERROR, VIG_ERROR_FILE, "%s", options->model_file);
    return NULL;
  }
  GstVigLoaded *loaded = g_new0 (GstVigLoaded, 1);
  gst_vig_load_options_copy (&loaded->options, options);
  g_atomic_ref_count_init (&loaded->refs);
  return loaded;
}

void
gst_vig_load_options_copy (GstVigLoadOptions *to, const GstVigLoadOptions *from)
{
  *to = *from;
  to->model_file = g_strdup (from->model_file);
  to->labels_file = g_strdup (from->labels_file);
}

void
gst_vig_load_options_clear (GstVigLoadOptions *options)
{
  g_free (options->model_file);
  g_free (options->labels_file);
}

void
gst_vig_loaded_set_last_unref (GstVigLoaded *loaded, void (*last_unref) (GstVigLoaded *, gpointer), gpointer data)
{
  loaded->last_unref = last_unref;
  loaded->data = data;
}

GstVigLoaded *
gst_vig_loaded_ref (GstVigLoaded *loaded)
{
  g_atomic_ref_count_inc (&loaded->refs);
  return loaded;
}

void
gst_vig_loaded_unref (GstVigLoaded *loaded)
{
  if (g_atomic_ref_count_dec (&loaded->refs))
    loaded->last_unref (loaded, loaded->data);
}

void
gst_vig_loaded_free (GstVigLoaded *loaded)
{
  g_mutex_lock (&lock);
  n_freed++;
  freed_in = g_thread_self ();
  g_cond_broadcast (&changed);
  g_mutex_unlock (&lock);
  gst_vig_load_options_clear (&loaded->options);
  g_free (loaded);
}

void
vig_stream_hurry (VigStream *stream)
{
  g_atomic_int_inc (&n_hurried);
}

static void
hold (gboolean on)
{
  g_mutex_lock (&lock);
  held = on;
  g_cond_broadcast (&changed);
  g_mutex_unlock (&lock);
}

static void
wait_for (const int *counter, int value)
{
  g_mutex_lock (&lock);
  while (*counter != value)
    g_cond_wait (&changed, &lock);
  g_mutex_unlock (&lock);
}

/* ---- the keeper of a test ---- */

typedef struct {
  GstVigKeeper keeper;
  int n_heard;
  GString *heard; /* "number:file " of those that succeeded, "number!file " of the others */
} Fixture;

static void
hear (gpointer owner, guint number, const GstVigLoadOptions *asked, GstVigLoaded *loaded, const GError *error)
{
  Fixture *f = owner;
  g_assert_true ((loaded == NULL) == (error != NULL));
  if (loaded)
    g_assert_true (gst_vig_keeper_uses (&f->keeper, loaded));
  g_mutex_lock (&lock);
  g_string_append_printf (f->heard, "%u%c%s ", number, loaded ? ':' : '!', asked->model_file);
  f->n_heard++;
  g_cond_broadcast (&changed);
  g_mutex_unlock (&lock);
}

static void
set_up (Fixture *f, gconstpointer data)
{
  g_autoptr (GError) error = NULL;
  n_loaded = n_freed = n_hurried = 0;
  *f = (Fixture) { .heard = g_string_new (NULL) };
  gst_vig_keeper_init (&f->keeper, hear, f);
  gst_vig_keeper_open (&f->keeper, &(GstVigLoadOptions) { .model_file = (char *) "a", .threads = 3 }, "user", 0, &error);
  g_assert_no_error (error);
}

static void
tear_down (Fixture *f, gconstpointer data)
{
  hold (FALSE);
  gst_vig_keeper_close (&f->keeper);
  g_assert_null (gst_vig_keeper_get (&f->keeper));
  gst_vig_keeper_clear (&f->keeper);
  g_assert_cmpint (n_freed, ==, n_loaded);
  g_string_free (f->heard, TRUE);
}

static void
change (Fixture *f, const char *file, guint number)
{
  g_autoptr (GError) error = NULL;
  gst_vig_keeper_change (&f->keeper, file, NULL, "user", 0, 17, number, &error);
  g_assert_no_error (error);
}

static void
expect_in_use (Fixture *f, const char *file)
{
  g_autoptr (GstVigLoaded) loaded = gst_vig_keeper_get (&f->keeper);
  g_assert_cmpstr (loaded->options.model_file, ==, file);
  g_assert_cmpuint (loaded->options.threads, ==, 3); /* as opened */
}

/* ---- tests ---- */

static void
test_change (Fixture *f, gconstpointer data)
{
  hold (TRUE);
  change (f, "b", 7); /* comes back while it loads */
  wait_for (&n_loading, 1);
  expect_in_use (f, "a");
  hold (FALSE);
  wait_for (&f->n_heard, 1);
  g_assert_cmpstr (f->heard->str, ==, "7:b ");
  expect_in_use (f, "b");
  g_assert_cmpint (n_hurried, ==, 1);
  g_autoptr (GstVigLoaded) loaded = gst_vig_keeper_get (&f->keeper);
  g_assert_cmpuint (loaded->options.clip_length, ==, 17); /* as it is now */
}

static void
test_failure (Fixture *f, gconstpointer data)
{
  change (f, "bad", 1);
  wait_for (&f->n_heard, 1);
  change (f, "b", 2);
  wait_for (&f->n_heard, 2);
  change (f, "bad again", 3);
  wait_for (&f->n_heard, 3);
  g_assert_cmpstr (f->heard->str, ==, "1!bad 2:b 3!bad again ");
  expect_in_use (f, "b");
}

/* While the first is loaded several more are asked for: only the last is loaded after it, and heard of. */
static void
test_last_wins (Fixture *f, gconstpointer data)
{
  hold (TRUE);
  change (f, "b", 1);
  wait_for (&n_loading, 1);
  change (f, "c", 2);
  change (f, "bad", 3);
  change (f, "d", 4);
  hold (FALSE);
  wait_for (&f->n_heard, 1);
  g_assert_cmpstr (f->heard->str, ==, "4:d ");
  expect_in_use (f, "d");
  g_assert_cmpint (n_loaded, ==, 3); /* a, b, d */
}

/* What fails when it is no longer wanted is not heard of either. */
static void
test_superseded_failure (Fixture *f, gconstpointer data)
{
  hold (TRUE);
  change (f, "bad", 1);
  wait_for (&n_loading, 1);
  change (f, "b", 2);
  hold (FALSE);
  wait_for (&f->n_heard, 1);
  g_assert_cmpstr (f->heard->str, ==, "2:b ");
}

static void
test_cancel (Fixture *f, gconstpointer data)
{
  g_assert_false (gst_vig_keeper_cancel (&f->keeper));
  hold (TRUE);
  change (f, "b", 1);
  wait_for (&n_loading, 1);
  g_assert_true (gst_vig_keeper_cancel (&f->keeper)); /* does not wait */
  g_assert_false (gst_vig_keeper_cancel (&f->keeper));
  change (f, "c", 2);
  g_assert_true (gst_vig_keeper_cancel (&f->keeper)); /* not begun */
  hold (FALSE);
  wait_for (&n_freed, 1); /* b */
  expect_in_use (f, "a");
  g_assert_cmpint (f->n_heard, ==, 0);
  change (f, "d", 3);
  wait_for (&f->n_heard, 1);
  g_assert_cmpstr (f->heard->str, ==, "3:d ");
}

/* The old model lives as long as a frame holds it, and is then freed by another thread than the frame's. */
static void
test_last_frame (Fixture *f, gconstpointer data)
{
  GstVigLoaded *frame = gst_vig_keeper_get (&f->keeper), *other = gst_vig_loaded_ref (frame);
  change (f, "b", 1);
  wait_for (&f->n_heard, 1);
  change (f, "c", 2);
  wait_for (&f->n_heard, 2);
  wait_for (&n_freed, 1); /* b, which no frame has met */
  gst_vig_loaded_unref (other);
  g_usleep (10000);
  g_assert_cmpint (n_freed, ==, 1);
  g_assert_cmpstr (frame->options.model_file, ==, "a");
  gst_vig_loaded_unref (frame);
  wait_for (&n_freed, 2);
  g_assert_true (freed_in != g_thread_self ());
}

/* Closed while something is loaded, and opened again. */
static void
test_close (Fixture *f, gconstpointer data)
{
  g_autoptr (GError) error = NULL;
  hold (TRUE);
  change (f, "b", 1);
  wait_for (&n_loading, 1);
  hold (FALSE);
  gst_vig_keeper_close (&f->keeper);
  g_assert_cmpint (n_freed, ==, n_loaded);
  g_assert_null (gst_vig_keeper_get (&f->keeper));
  gst_vig_keeper_open (&f->keeper, &(GstVigLoadOptions) { .model_file = (char *) "c", .threads = 3 }, "user", 0, &error);
  g_assert_no_error (error);
  expect_in_use (f, "c");
  g_assert_false (gst_vig_keeper_open (&f->keeper, &(GstVigLoadOptions) { .model_file = (char *) "bad" }, "user", 0,
          &error));
  g_assert_error (error, VIG_ERROR, VIG_ERROR_FILE);
  g_assert_null (gst_vig_keeper_get (&f->keeper));
}

static gpointer
be_a_stream (gpointer data)
{
  Fixture *f = data;
  for (int i = 0; i < 3000; i++) {
    g_autoptr (GstVigLoaded) one = gst_vig_keeper_get (&f->keeper), two = gst_vig_loaded_ref (one);
    g_assert_cmpuint (two->options.threads, ==, 3);
  }
  return NULL;
}

static void
test_many (Fixture *f, gconstpointer data)
{
  static const char *const files[] = { "b", "bad", "c" };
  GThread *threads[4];
  for (guint i = 0; i < G_N_ELEMENTS (threads); i++)
    threads[i] = g_thread_new ("stream", be_a_stream, f);
  for (guint i = 0; i < 1000; i++) {
    change (f, files[i % 3], i);
    if (i % 50 == 0)
      g_usleep (500);
    if (i % 7 == 0)
      gst_vig_keeper_cancel (&f->keeper);
  }
  change (f, "last", 1000);
  for (guint i = 0; i < G_N_ELEMENTS (threads); i++)
    g_thread_join (threads[i]);
  for (gboolean there = FALSE; !there; g_usleep (1000)) {
    g_mutex_lock (&lock);
    there = g_str_has_suffix (f->heard->str, "1000:last ");
    g_mutex_unlock (&lock);
  }
  expect_in_use (f, "last");
}

#define ADD(path, test) g_test_add (path, Fixture, NULL, set_up, test, tear_down)

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  ADD ("/keeper/change", test_change);
  ADD ("/keeper/failure", test_failure);
  ADD ("/keeper/last-wins", test_last_wins);
  ADD ("/keeper/superseded-failure", test_superseded_failure);
  ADD ("/keeper/cancel", test_cancel);
  ADD ("/keeper/last-frame", test_last_frame);
  ADD ("/keeper/close", test_close);
  ADD ("/keeper/many", test_many);
  return g_test_run ();
}
