/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "merge.h"

#include "combine.h"
#include "files.h"
#include "journal.h"
#include "outputs.h"
#include "plan.h"

/* One shard's folder. */
typedef struct {
  const char *folder;
  VigPlan *plan;
  VigJournal *journal;
} Shard;

typedef struct {
  VigOptions *options;
  VigProgress *progress;
  VigTotals *totals;
  GPtrArray *shards;   /* of Shard */
  GPtrArray *taken;    /* of VigPlanned *: those that are finished */
  GHashTable *indices; /* of theirs */
  VigJournal *journal; /* of the folder that they become */
} Merge;

static void
shard_free (gpointer item)
{
  Shard *shard = item;
  vig_plan_free (shard->plan);
  vig_journal_free (shard->journal);
  g_free (shard);
}

static const VigPlan *
get_first_plan (const Merge *merge)
{
  return merge->shards->len ? ((Shard *) merge->shards->pdata[0])->plan : NULL;
}

/* A shard that has not even begun is missing like any other. */
static gboolean
add_shard (Merge *merge, const char *folder, GError **error)
{
  g_autoptr (GError) why = NULL;
  g_autoptr (VigPlan) plan = vig_plan_read (folder, &why);
  const VigPlan *first = get_first_plan (merge);
  if (!plan) {
    vig_progress_say (merge->progress, TRUE, "%s", why->message);
    return TRUE;
  }
  if (first && (!g_str_equal (plan->list, first->list) || plan->n_shards != first->n_shards || plan->n_inputs != first->n_inputs)) {
    g_set_error (error, G_IO_ERROR, G_IO_ERROR_INVALID_DATA, "%s: expected a shard of the same inputs, model and options as %s, found "
        "other ones", folder, ((Shard *) merge->shards->pdata[0])->folder);
    return FALSE;
  }
  Shard *shard = g_new0 (Shard, 1);
  *shard = (Shard) { folder, g_steal_pointer (&plan), vig_journal_peek (folder) };
  g_ptr_array_add (merge->shards, shard);
  return TRUE;
}

static void
name_missing_shards (Merge *merge)
{
  const VigPlan *first = get_first_plan (merge);
  g_autofree gboolean *seen = g_new0 (gboolean, first->n_shards);
  for (guint i = 0; i < merge->shards->len; i++)
    seen[((Shard *) merge->shards->pdata[i])->plan->shard] = TRUE;
  for (guint i = 0; i < first->n_shards; i++)
    if (!seen[i])
      vig_progress_say (merge->progress, TRUE, "shard %u/%u is missing", i + 1, first->n_shards);
}

static VigEntry *
copy_entry (const VigEntry *entry)
{
  VigEntry *copy = g_new0 (VigEntry, 1);
  *copy = *entry;
  copy->key = g_strdup (entry->key);
  copy->name = g_strdup (entry->name);
  copy->error = g_strdup (entry->error);
  return copy;
}

static gboolean
take_input (Merge *merge, const Shard *shard, VigPlanned *planned, GError **error)
{
  const VigEntry *entry = vig_journal_find (shard->journal, planned->name);
  VigTotals *t = merge->totals;
  if (!entry || !g_str_equal (entry->key, planned->key)) {
    vig_progress_say (merge->progress, TRUE, "%s: not finished in %s", planned->input, shard->folder);
    return TRUE;
  }
  if (!g_hash_table_add (merge->indices, GUINT_TO_POINTER (planned->index)))
    return TRUE; /* the shard was named twice */
  if (entry->error)
    vig_progress_say (merge->progress, TRUE, "%s: %s", planned->input, entry->error);
  t->done++;
  t->failed += entry->error != NULL;
  t->frames += entry->frames;
  t->media += entry->duration;
  g_ptr_array_add (merge->taken, planned);
  return vig_outputs_take (merge->options->formats, planned->name, shard->folder, merge->options->output, error)
      && vig_journal_add (merge->journal, copy_entry (entry), error);
}

static gboolean
take_shards (Merge *merge, GError **error)
{
  for (guint i = 0; i < merge->shards->len; i++) {
    const Shard *shard = merge->shards->pdata[i];
    for (guint k = 0; k < shard->plan->planned->len; k++)
      if (!take_input (merge, shard, shard->plan->planned->pdata[k], error))
        return FALSE;
  }
  return TRUE;
}

static int
by_index (gconstpointer a, gconstpointer b)
{
  const VigPlanned *x = *(VigPlanned *const *) a, *y = *(VigPlanned *const *) b;
  return (x->index > y->index) - (x->index < y->index);
}

static gboolean
combine (Merge *merge, GError **error)
{
  g_autoptr (GPtrArray) names = g_ptr_array_new ();
  g_ptr_array_sort (merge->taken, by_index);
  for (guint i = 0; i < merge->taken->len; i++)
    g_ptr_array_add (names, ((VigPlanned *) merge->taken->pdata[i])->name);
  const char *const *list = (const char *const *) names->pdata;
  if (merge->options->formats & VIG_FORMAT_REPORT && !vig_outputs_write_index (merge->options->output, list, names->len, error))
    return FALSE;
  return vig_combine (merge->options, list, names->len, error);
}

static gboolean
merge_all (Merge *merge, GError **error)
{
  for (char **folder = merge->options->arguments; *folder; folder++)
    if (!add_shard (merge, *folder, error))
      return FALSE;
  const VigPlan *first = get_first_plan (merge);
  if (!first) {
    g_set_error_literal (error, G_IO_ERROR, G_IO_ERROR_NOT_FOUND, "--merge: expected output folders of vig-label, found none");
    return FALSE;
  }
  merge->options->formats = first->formats;
  merge->totals->inputs = first->n_inputs;
  name_missing_shards (merge);
  return (merge->journal = vig_outputs_open (merge->options, error)) && take_shards (merge, error) && combine (merge, error);
}

gboolean
vig_merge (VigOptions *options, VigProgress *progress, VigTotals *totals, GError **error)
{
  Merge merge = { .options = options, .progress = progress, .totals = totals,
    .shards = g_ptr_array_new_with_free_func (shard_free), .taken = g_ptr_array_new (),
    .indices = g_hash_table_new (NULL, NULL) };
  const gboolean ok = merge_all (&merge, error);
  g_ptr_array_unref (merge.shards);
  g_ptr_array_unref (merge.taken);
  g_hash_table_unref (merge.indices);
  vig_journal_free (merge.journal);
  return ok;
}
