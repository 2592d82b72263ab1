/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "classifiers.h"

#include <string.h>

/* Frames of one file that are on their way: as many as a batch has, so that decoders go on while one is computed. */
#define IN_FLIGHT 8

struct VigClassifiers {
  const VigOptions *options;
  guint parallel; /* batches that their engine computes at once */
  GAsyncQueue *idle; /* of GstElement */
};

static gboolean
check_set (const VigOptions *options, GstElement *classify, GError **error)
{
  for (char **set = options->set; set && *set; set++) {
    const char *equals = strchr (*set, '=');
    g_autofree char *name = g_strndup (*set, equals ? (gsize) (equals - *set) : strlen (*set));
    GParamSpec *spec = g_object_class_find_property (G_OBJECT_GET_CLASS (classify), name);
    GValue value = G_VALUE_INIT;
    if (!equals || !spec || !(spec->flags & G_PARAM_WRITABLE)) {
      g_set_error (error, G_OPTION_ERROR, G_OPTION_ERROR_BAD_VALUE,
          "--set: expected NAME=VALUE with a property of vigclassify that can be set, found \"%s\"", *set);
      return FALSE;
    }
    g_value_init (&value, spec->value_type);
    const gboolean ok = gst_value_deserialize_with_pspec (&value, equals + 1, spec);
    g_value_unset (&value);
    if (!ok) {
      g_set_error (error, G_OPTION_ERROR, G_OPTION_ERROR_BAD_VALUE, "--set %s: expected a %s, found \"%s\"", name,
          g_type_name (spec->value_type), equals + 1);
      return FALSE;
    }
  }
  return TRUE;
}

/* To READY, on a bus of its own where it says why not. */
static gboolean
make_ready (GstElement *classify, GError **error)
{
  g_autoptr (GstBus) bus = gst_bus_new ();
  gst_element_set_bus (classify, bus);
  const gboolean ok = gst_element_set_state (classify, GST_STATE_READY) != GST_STATE_CHANGE_FAILURE;
  g_autoptr (GstMessage) message = ok ? NULL : gst_bus_pop_filtered (bus, GST_MESSAGE_ERROR);
  if (message)
    gst_message_parse_error (message, error, NULL);
  else if (!ok)
    g_set_error_literal (error, GST_CORE_ERROR, GST_CORE_ERROR_STATE_CHANGE, "vigclassify does not become ready");
  gst_element_set_bus (classify, NULL);
  return ok;
}

static void
discard (GstElement *classify)
{
  gst_element_set_state (classify, GST_STATE_NULL);
  gst_object_unref (classify);
}

static gboolean
is_set (const VigOptions *options, const char *property)
{
  const gsize n = strlen (property);
  for (char **set = options->set; set && *set; set++)
    if (strncmp (*set, property, n) == 0 && (*set)[n] == '=')
      return TRUE;
  return FALSE;
}

/* On a CPU as many batches at once as there are cores, each on one, so that none of the engine's threads waits for one that
 * decoding holds up: 8.1 s for 9.5 (76 files, two cores, in turns). */
static void
set_threads (const VigOptions *options, GstElement *classify)
{
  if (!is_set (options, "threads") && !is_set (options, "parallel-batches"))
    g_object_set (classify, "threads", 1, "parallel-batches", g_get_num_processors (), NULL);
}

static GstElement *
make (const VigOptions *options, GError **error)
{
  GstElement *classify = gst_element_factory_make ("vigclassify", NULL);
  if (!classify) {
    g_set_error_literal (error, GST_CORE_ERROR, GST_CORE_ERROR_MISSING_PLUGIN,
        "GStreamer finds no element vigclassify; is GST_PLUGIN_PATH set?");
    return NULL;
  }
  gst_object_ref_sink (classify);
  if (check_set (options, classify, error)) {
    g_object_set (classify, "max-in-flight", IN_FLIGHT, NULL);
    set_threads (options, classify);
    vig_options_apply (options, classify);
    if (make_ready (classify, error))
      return classify;
  }
  discard (classify);
  return NULL;
}

static guint
look_how_many (GstElement *classify)
{
  g_autoptr (GstStructure) stats = NULL;
  guint64 parallel = 1;
  g_object_get (classify, "stats", &stats, NULL);
  gst_structure_get_uint64 (stats, "parallel-batches", &parallel);
  return (guint) parallel;
}

VigClassifiers *
vig_classifiers_new (const VigOptions *options, GError **error)
{
  GstElement *first = make (options, error);
  if (!first)
    return NULL;
  VigClassifiers *classifiers = g_new0 (VigClassifiers, 1);
  *classifiers = (VigClassifiers) { .options = options, .parallel = look_how_many (first),
    .idle = g_async_queue_new_full ((GDestroyNotify) discard) };
  g_async_queue_push (classifiers->idle, first);
  return classifiers;
}

void
vig_classifiers_free (VigClassifiers *classifiers)
{
  if (!classifiers)
    return;
  g_async_queue_unref (classifiers->idle);
  g_free (classifiers);
}

guint
vig_classifiers_get_parallel (const VigClassifiers *classifiers)
{
  return classifiers->parallel;
}

GstElement *
vig_classifiers_take (VigClassifiers *classifiers, GError **error)
{
  GstElement *classify = g_async_queue_try_pop (classifiers->idle);
  return classify ? classify : make (classifiers->options, error);
}

void
vig_classifiers_give (VigClassifiers *classifiers, GstElement *classify)
{
  g_async_queue_push (classifiers->idle, classify);
}
