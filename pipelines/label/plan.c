/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "plan.h"

#include <string.h>

#include "files.h"
#include "jsonl.h"

#define FILE_NAME "vig-label.plan"
#define VERSION 1

static void
planned_free (gpointer item)
{
  VigPlanned *planned = item;
  g_free (planned->name);
  g_free (planned->key);
  g_free (planned->input);
  g_free (planned);
}

VigPlan *
vig_plan_new (void)
{
  VigPlan *plan = g_new0 (VigPlan, 1);
  plan->planned = g_ptr_array_new_with_free_func (planned_free);
  return plan;
}

void
vig_plan_free (VigPlan *plan)
{
  if (!plan)
    return;
  g_free (plan->list);
  g_ptr_array_unref (plan->planned);
  g_free (plan);
}

void
vig_plan_add (VigPlan *plan, guint index, char *name, char *key, char *input)
{
  VigPlanned *planned = g_new0 (VigPlanned, 1);
  *planned = (VigPlanned) { index, name, key, input };
  g_ptr_array_add (plan->planned, planned);
}

/* ---- reading ------------------------------------------------------------------------------------------------------ */

/* Whole numbers up to @most only. */
static gboolean
get_count (JsonObject *object, const char *member, guint most, guint *count)
{
  const double value = vig_jsonl_get_number (object, member);
  *count = value >= 0 && value <= most ? (guint) value : 0;
  return value >= 0 && value <= most && (double) *count == value;
}

static gboolean
parse_head (VigPlan *plan, JsonObject *object)
{
  guint version;
  const char *list = vig_jsonl_get_string (object, "list");
  plan->list = g_strdup (list);
  return list && get_count (object, "plan", G_MAXINT, &version) && version == VERSION
      && get_count (object, "shard", VIG_MAX_SHARDS, &plan->shard)
      && get_count (object, "shards", VIG_MAX_SHARDS, &plan->n_shards)
      && get_count (object, "inputs", G_MAXINT, &plan->n_inputs) && get_count (object, "formats", G_MAXINT, &plan->formats)
      && plan->shard < plan->n_shards;
}

static gboolean
parse_planned (VigPlan *plan, JsonObject *object)
{
  guint index;
  const char *name = vig_jsonl_get_string (object, "name"), *key = vig_jsonl_get_string (object, "key");
  const char *input = vig_jsonl_get_string (object, "input");
  if (!name || !*name || strchr (name, '/') || !key || !input || plan->n_inputs == 0
      || !get_count (object, "index", plan->n_inputs - 1, &index) || index % plan->n_shards != plan->shard)
    return FALSE;
  vig_plan_add (plan, index, g_strdup (name), g_strdup (key), g_strdup (input));
  return TRUE;
}

VigPlan *
vig_plan_parse (const char *data, gsize size, const char *name, GError **error)
{
  g_autoptr (VigPlan) plan = vig_plan_new ();
  guint number = 0;
  for (gsize from = 0; from < size || number == 0;) {
    const char *end = from < size ? memchr (data + from, '\n', size - from) : NULL;
    const gsize n = end ? (gsize) (end - data) - from : size - from;
    g_autoptr (JsonParser) parser = vig_jsonl_parse (data + from, n);
    JsonObject *object = parser ? vig_jsonl_get_object (parser) : NULL;
    number++;
    if (!object || !(number == 1 ? parse_head (plan, object) : parse_planned (plan, object))) {
      g_set_error (error, G_IO_ERROR, G_IO_ERROR_INVALID_DATA, "%s: line %u: expected %s, found something else", name, number,
          number == 1 ? "the head of a plan of vig-label" : "an input of this shard");
      return NULL;
    }
    from += n + 1;
  }
  return g_steal_pointer (&plan);
}

VigPlan *
vig_plan_read (const char *folder, GError **error)
{
  g_autofree char *path = g_build_filename (folder, FILE_NAME, NULL), *name = g_filename_display_name (path), *data = NULL;
  gsize size;
  return g_file_get_contents (path, &data, &size, error) ? vig_plan_parse (data, size, name, error) : NULL;
}

/* ---- writing ------------------------------------------------------------------------------------------------------ */

gboolean
vig_plan_write (const VigPlan *plan, const char *folder, GError **error)
{
  g_autofree char *path = g_build_filename (folder, FILE_NAME, NULL);
  VigFile file;
  if (!vig_file_begin (&file, path, error))
    return FALSE;
  g_autofree char *list = vig_json_quote (plan->list);
  fprintf (file.out, "{\"plan\": %d, \"shard\": %u, \"shards\": %u, \"inputs\": %u, \"formats\": %u, \"list\": %s}\n", VERSION,
      plan->shard, plan->n_shards, plan->n_inputs, plan->formats, list);
  for (guint i = 0; i < plan->planned->len; i++) {
    const VigPlanned *p = plan->planned->pdata[i];
    g_autofree char *name = vig_json_quote (p->name), *key = vig_json_quote (p->key), *input = vig_json_quote (p->input);
    fprintf (file.out, "{\"index\": %u, \"name\": %s, \"key\": %s, \"input\": %s}\n", p->index, name, key, input);
  }
  return vig_file_end (&file, error);
}
