/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "gstvigpublishchanges.h"

#define MOST 1024

typedef struct {
  char *name;
  GQuark label; /* 0: none */
  GList link;   /* of order */
} Subject;

static void
free_subject (gpointer data)
{
  Subject *subject = data;
  g_free (subject->name);
  g_free (subject);
}

void
gst_vig_publish_changes_init (GstVigPublishChanges *changes)
{
  changes->subjects = g_hash_table_new_full (g_str_hash, g_str_equal, NULL, free_subject);
  g_queue_init (&changes->order);
}

void
gst_vig_publish_changes_clear (GstVigPublishChanges *changes)
{
  g_clear_pointer (&changes->subjects, g_hash_table_unref);
  g_queue_init (&changes->order);
}

void
gst_vig_publish_changes_forget (GstVigPublishChanges *changes)
{
  g_queue_init (&changes->order); /* links are in the subjects */
  g_hash_table_remove_all (changes->subjects);
}

/* (transfer full) */
static char *
name_subject (const GstStructure *result)
{
  guint64 id;
  int x = 0, y = 0, w = 0, h = 0;
  const char *element = gst_structure_get_string (result, "element");
  const char *type = gst_structure_get_string (result, "region-type");
  if (!type)
    return g_strdup (element);
  if (gst_structure_get_uint64 (result, "tracking-id", &id))
    return g_strdup_printf ("%s\n%" G_GUINT64_FORMAT, element, id);
  gst_structure_get (result, "region-x", G_TYPE_INT, &x, "region-y", G_TYPE_INT, &y, "region-width", G_TYPE_INT, &w,
      "region-height", G_TYPE_INT, &h, NULL);
  return g_strdup_printf ("%s\n%d %d %d %d %s", element, x, y, w, h, type);
}

/* Takes @name. */
static Subject *
add_subject (GstVigPublishChanges *changes, char *name)
{
  if (changes->order.length >= MOST) {
    Subject *oldest = changes->order.tail->data;
    g_queue_unlink (&changes->order, &oldest->link);
    g_hash_table_remove (changes->subjects, oldest->name);
  }
  Subject *subject = g_new0 (Subject, 1);
  subject->name = name;
  subject->link.data = subject;
  g_hash_table_insert (changes->subjects, name, subject);
  return subject;
}

gboolean
gst_vig_publish_changes_see (GstVigPublishChanges *changes, const GstStructure *result, gboolean *first, GQuark *previous)
{
  const gboolean says = g_strcmp0 (gst_structure_get_string (result, "state"), "below-threshold") != 0;
  const GQuark label = says ? g_quark_from_string (gst_structure_get_string (result, "label")) : 0;
  g_autofree char *name = name_subject (result);
  Subject *subject = name ? g_hash_table_lookup (changes->subjects, name) : NULL;
  if (!name)
    return FALSE;
  *first = subject == NULL;
  if (subject)
    g_queue_unlink (&changes->order, &subject->link);
  else
    subject = add_subject (changes, g_steal_pointer (&name));
  g_queue_push_head_link (&changes->order, &subject->link);
  *previous = subject->label;
  subject->label = label;
  return *first || *previous != label;
}
