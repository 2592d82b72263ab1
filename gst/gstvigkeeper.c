/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "gstvigkeeper.h"

typedef struct GstVigChange {
  GstVigLoadOptions options;
  char *user;
  guint size, number;
  guint asked; /* the keeper's count */
} Change;

static void
change_free (Change *change)
{
  gst_vig_load_options_clear (&change->options);
  g_free (change->user);
  g_free (change);
}

/* ---- models that are no longer used ---- */

/* The last reference may go in any streaming thread, where nothing may take long, or in the engine's own, which must not
 * free itself. */
static void
bury (GstVigLoaded *loaded, gpointer data)
{
  GstVigKeeper *keeper = data;
  g_mutex_lock (&keeper->lock);
  keeper->gone = g_slist_prepend (keeper->gone, loaded);
  g_cond_signal (&keeper->wake);
  g_mutex_unlock (&keeper->lock);
}

/* Under the lock, which is let go of meanwhile. */
static void
free_gone (GstVigKeeper *keeper)
{
  GSList *gone = g_steal_pointer (&keeper->gone);
  g_mutex_unlock (&keeper->lock);
  g_slist_free_full (gone, (GDestroyNotify) gst_vig_loaded_free);
  g_mutex_lock (&keeper->lock);
}

/* ---- the thread ---- */

static GstVigLoaded *
load (GstVigKeeper *keeper, const GstVigLoadOptions *options, const char *user, guint size, GError **error)
{
  GstVigLoaded *loaded = gst_vig_loaded_new (options, user, size, error);
  if (loaded)
    gst_vig_loaded_set_last_unref (loaded, bury, keeper);
  return loaded;
}

/* Under the lock, which is let go of meanwhile. */
static void
make_change (GstVigKeeper *keeper)
{
  Change *change = g_steal_pointer (&keeper->next);
  g_autoptr (GError) error = NULL;
  GstVigLoaded *old = NULL;
  g_mutex_unlock (&keeper->lock);
  GstVigLoaded *loaded = load (keeper, &change->options, change->user, change->size, &error);
  g_mutex_lock (&keeper->lock);
  gboolean wanted = change->asked == keeper->asked;
  if (wanted && loaded) {
    old = keeper->loaded;
    keeper->loaded = gst_vig_loaded_ref (loaded);
  }
  if (wanted)
    keeper->pending = FALSE;
  g_mutex_unlock (&keeper->lock);
  if (old)
    vig_stream_hurry (old->stream); /* nothing follows those that are on their way */
  if (wanted)
    keeper->changed (keeper->owner, change->number, &change->options, loaded, error);
  g_clear_pointer (&old, gst_vig_loaded_unref);
  g_clear_pointer (&loaded, gst_vig_loaded_unref);
  change_free (change);
  g_mutex_lock (&keeper->lock);
}

static gpointer
run (gpointer data)
{
  GstVigKeeper *keeper = data;
  g_mutex_lock (&keeper->lock);
  while (!keeper->quit) {
    if (keeper->gone)
      free_gone (keeper);
    else if (keeper->next)
      make_change (keeper);
    else
      g_cond_wait (&keeper->wake, &keeper->lock);
  }
  g_mutex_unlock (&keeper->lock);
  return NULL;
}

/* ---- the keeper ---- */

void
gst_vig_keeper_init (GstVigKeeper *keeper, GstVigChanged changed, gpointer owner)
{
  *keeper = (GstVigKeeper) { .changed = changed, .owner = owner };
  g_mutex_init (&keeper->lock);
  g_cond_init (&keeper->wake);
}

void
gst_vig_keeper_clear (GstVigKeeper *keeper)
{
  g_assert (!keeper->loaded && !keeper->thread && !keeper->gone);
  g_cond_clear (&keeper->wake);
  g_mutex_clear (&keeper->lock);
}

/* Lets go of the model in use, and frees what nobody holds. */
static void
drop (GstVigKeeper *keeper)
{
  g_mutex_lock (&keeper->lock);
  GstVigLoaded *old = g_steal_pointer (&keeper->loaded);
  g_mutex_unlock (&keeper->lock);
  g_clear_pointer (&old, gst_vig_loaded_unref);
  g_mutex_lock (&keeper->lock);
  free_gone (keeper);
  g_mutex_unlock (&keeper->lock);
}

gboolean
gst_vig_keeper_open (GstVigKeeper *keeper, const GstVigLoadOptions *options, const char *user, guint size,
    GError **error)
{
  drop (keeper);
  GstVigLoaded *loaded = load (keeper, options, user, size, error);
  g_mutex_lock (&keeper->lock);
  keeper->loaded = loaded;
  g_mutex_unlock (&keeper->lock);
  return loaded != NULL;
}

void
gst_vig_keeper_close (GstVigKeeper *keeper)
{
  gst_vig_keeper_cancel (keeper);
  g_mutex_lock (&keeper->lock);
  GThread *thread = g_steal_pointer (&keeper->thread);
  keeper->quit = TRUE;
  g_cond_signal (&keeper->wake);
  g_mutex_unlock (&keeper->lock);
  g_clear_pointer (&thread, g_thread_join);
  keeper->quit = FALSE;
  drop (keeper);
}

GstVigLoaded *
gst_vig_keeper_get (GstVigKeeper *keeper)
{
  g_mutex_lock (&keeper->lock);
  GstVigLoaded *loaded = keeper->loaded ? gst_vig_loaded_ref (keeper->loaded) : NULL;
  g_mutex_unlock (&keeper->lock);
  return loaded;
}

gboolean
gst_vig_keeper_uses (GstVigKeeper *keeper, const GstVigLoaded *loaded)
{
  g_mutex_lock (&keeper->lock);
  gboolean uses = keeper->loaded == loaded;
  g_mutex_unlock (&keeper->lock);
  return uses;
}

/* Under the lock. Nothing that was asked for before is wanted any more. */
static void
supersede (GstVigKeeper *keeper)
{
  keeper->asked++;
  keeper->pending = FALSE;
  g_clear_pointer (&keeper->next, change_free);
}

static Change *
change_new (GstVigKeeper *keeper, const char *model_file, const char *labels_file, guint clip_length)
{
  Change *change = g_new0 (Change, 1);
  GstVigLoadOptions options = keeper->loaded->options;
  options.model_file = (char *) model_file;
  options.labels_file = (char *) labels_file;
  options.clip_length = clip_length;
  gst_vig_load_options_copy (&change->options, &options);
  return change;
}

gboolean
gst_vig_keeper_change (GstVigKeeper *keeper, const char *model_file, const char *labels_file, const char *user,
    guint size, guint clip_length, guint number, GError **error)
{
  g_mutex_lock (&keeper->lock);
  supersede (keeper);
  if (!keeper->thread)
    keeper->thread = g_thread_try_new ("vig-keeper", run, keeper, error);
  gboolean ok = keeper->thread != NULL;
  if (ok) {
    Change *change = change_new (keeper, model_file, labels_file, clip_length);
    change->user = g_strdup (user);
    change->size = size;
    change->number = number;
    change->asked = keeper->asked;
    keeper->next = change;
    keeper->pending = TRUE;
    g_cond_signal (&keeper->wake);
  }
  g_mutex_unlock (&keeper->lock);
  return ok;
}

gboolean
gst_vig_keeper_cancel (GstVigKeeper *keeper)
{
  g_mutex_lock (&keeper->lock);
  gboolean pending = keeper->pending;
  supersede (keeper);
  g_mutex_unlock (&keeper->lock);
  return pending;
}
