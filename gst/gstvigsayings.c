/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "gstvigsayings.h"

#include "gstvigmeta.h"

/* What is to be said about a frame, or about an object in it. */
typedef struct {
  GstVigRegion *region;       /* NULL: the frame */
  const float *probabilities; /* [classes] */
  const GstVigHeat *heat;     /* NULL: nobody asked for it */
  GstVigSpan span;
  gboolean held;
  GstClockTime age;
} Saying;

/* The last result of the frame's model. Without running times nobody can tell how old it is. */
static gboolean
find_held (const GstVigFlight *flight, GstClockTime now, Saying *s)
{
  const GstVigSettings *settings = &flight->settings;
  if (!settings->hold_result || (s->region ? !s->region->followed : settings->regions == GST_VIG_REGIONS_OBJECTS))
    return FALSE;
  const GstVigLast *last = gst_vig_held_get (&flight->loaded->held, flight->epoch,
      s->region ? &s->region->tracking_id : NULL);
  if (!last || !GST_CLOCK_TIME_IS_VALID (now) || !GST_CLOCK_TIME_IS_VALID (last->span.running)
      || now < last->span.running)
    return FALSE;
  s->probabilities = last->probabilities;
  s->heat = settings->heatmap ? last->heat : NULL;
  s->span = last->span;
  s->held = TRUE;
  s->age = now - last->span.running;
  return s->age <= settings->hold_max;
}

/* FALSE: nothing. */
static gboolean
find_saying (const GstVigFlight *flight, GstVigRegion *region, Saying *s)
{
  guint shot = region ? region->shot : flight->frame_shot;
  *s = (Saying) { .region = region };
  if (shot == GST_VIG_NO_SHOT || flight->shots[shot].state != GST_VIG_SHOT_THERE)
    return find_held (flight, flight->span.running, s);
  s->probabilities = flight->shots[shot].probabilities;
  s->heat = flight->shots[shot].heat;
  s->span = flight->shots[shot].span;
  return TRUE;
}

GArray *
gst_vig_sayings_find (const GstVigFlight *flight, guint *n_held, guint *n_silent)
{
  GArray *sayings = g_array_new (FALSE, FALSE, sizeof (Saying));
  const guint n_objects = flight->regions ? flight->regions->len : 0;
  guint n_said = 0;
  Saying s;
  *n_held = 0;
  if (find_saying (flight, NULL, &s))
    g_array_append_val (sayings, s);
  for (guint i = 0; i < n_objects; i++) {
    if (!find_saying (flight, &g_array_index (flight->regions, GstVigRegion, i), &s))
      continue;
    g_array_append_val (sayings, s);
    n_said++;
    *n_held += s.held;
  }
  *n_silent = n_objects - n_said;
  return sayings;
}

static void
say (GstVigMetaWriter *writer, const char *element, const GstVigFlight *flight, const Saying *s)
{
  const GstVigLoaded *by = flight->loaded;
  guint n = vig_top_k (s->probabilities, by->n_classes, MIN (flight->settings.top_k, by->n_classes), by->ranks);
  const GstVigResult result = {
    .element = element, .model = vig_model_get_name (by->model), .model_hash = vig_model_get_hash (by->model),
    .labels = (const char *const *) by->labels, .quarks = by->quarks, .ranks = by->ranks, .n_ranks = n,
    .threshold = flight->settings.threshold, .clip_mode = gst_vig_clip_mode_to_string (by->clip_mode), .span = s->span,
    .held = s->held, .age = s->age, .region = s->region, .heat = s->heat,
  };
  gst_vig_meta_add (writer, &result);
}

void
gst_vig_sayings_attach (const GArray *sayings, GstBuffer *buffer, const GstVigFlight *flight, const char *element)
{
  GstVigMetaWriter writer;
  gst_vig_meta_begin (&writer, buffer);
  for (guint i = 0; i < sayings->len; i++)
    say (&writer, element, flight, &g_array_index (sayings, Saying, i));
  gst_vig_meta_end (&writer);
}
