/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What a run has set out to do, beside its journal of what is done: so that the outputs of shards can be put together, and
 * what is missing be named. */
#ifndef VIG_LABEL_PLAN_H
#define VIG_LABEL_PLAN_H

#include <gio/gio.h>

#define VIG_MAX_SHARDS 1000000

/* @key: as VigEntry has it, of the results that are wanted */
typedef struct {
  guint index;
  char *name, *key, *input;
} VigPlanned;

/**
 * VigPlan:
 * @shard, @n_shards: which part of
 * @n_inputs: that there are in all shards, and
 * @list: a hash of them and of what the results depend on: shards belong together that have the same
 * @planned: of VigPlanned, by index
 */
typedef struct {
  guint shard, n_shards, n_inputs, formats;
  char *list;
  GPtrArray *planned;
} VigPlan;

VigPlan *vig_plan_new (void);
void vig_plan_free (VigPlan *plan); /* NULL is allowed */
G_DEFINE_AUTOPTR_CLEANUP_FUNC (VigPlan, vig_plan_free)

/* Takes the strings. */
void vig_plan_add (VigPlan *plan, guint index, char *name, char *key, char *input);

/* G_IO_ERROR_INVALID_DATA: names the line */
VigPlan *vig_plan_parse (const char *data, gsize size, const char *name, GError **error);

gboolean vig_plan_write (const VigPlan *plan, const char *folder, GError **error); /* GFileError */
VigPlan *vig_plan_read (const char *folder, GError **error);

#endif
