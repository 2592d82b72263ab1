/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "gstvigflight.h"

#include "gstvigclock.h"

/* GST_DEFINE_MINI_OBJECT_TYPE() is not ISO C */
static GType
flight_get_type (void)
{
  static gsize type;
  if (g_once_init_enter (&type))
    g_once_init_leave (&type, g_boxed_type_register_static ("GstVigFlight", (GBoxedCopyFunc) gst_mini_object_ref,
        (GBoxedFreeFunc) gst_mini_object_unref));
  return type;
}

/* A window whose result nobody takes (it was shed, dropped by a flush, or failed) is made up for. */
static void
settle (GstVigShot *shot)
{
  if (shot->owed && !shot->taken)
    g_atomic_int_set (shot->owed, TRUE);
  g_clear_pointer (&shot->owed, g_atomic_rc_box_release);
}

static void
flight_free (GstVigFlight *flight)
{
  guint n_shed;
  gst_vig_flight_leave (flight, &n_shed);
  gst_vig_queue_wait_all_computed (flight->queue, &flight->out);
  gst_vig_flight_is_over (flight);
  for (guint i = 0; i < flight->n_shots; i++) {
    vig_state_free (flight->shots[i].request.state);
    g_clear_pointer (&flight->shots[i].heat, gst_vig_heat_unref);
    settle (&flight->shots[i]);
  }
  g_free (flight->shots);
  g_free (flight->logits);
  g_free (flight->probabilities);
  g_clear_pointer (&flight->regions, g_array_unref);
  g_clear_pointer (&flight->heat_classes, g_array_unref);
  g_clear_error (&flight->error);
  gst_clear_buffer (&flight->buffer);
  gst_vig_loaded_unref (flight->loaded);
  g_free (flight);
}

GstVigFlight *
gst_vig_flight_new (GstBuffer *buffer, GstVigLoaded *loaded, GstVigQueue *queue)
{
  GstVigFlight *flight = g_new0 (GstVigFlight, 1);
  flight->buffer = buffer;
  flight->loaded = gst_vig_loaded_ref (loaded);
  flight->queue = queue;
  flight->until = G_MAXINT64;
  flight->frame_shot = GST_VIG_NO_SHOT;
  gst_mini_object_init (GST_MINI_OBJECT_CAST (flight), 0, flight_get_type (), NULL, NULL,
      (GstMiniObjectFreeFunction) flight_free);
  return flight;
}

/* The engine's thread. The flight may be gone when the queue knows. */
static void
shot_answered (VigRequest *request, gpointer user_data)
{
  GstVigFlight *flight = user_data;
  GstVigShot *shot = (GstVigShot *) request;
  G_STATIC_ASSERT (G_STRUCT_OFFSET (GstVigShot, request) == 0);
  g_atomic_int_set (&shot->answered, TRUE);
  gst_vig_queue_computed (flight->queue, &flight->out, 1);
}

static void
aim (GstVigFlight *flight, GstVigShot *shot, const GstVideoRectangle *part)
{
  VigRequest *request = &shot->request;
  request->frame = flight->frame.view;
  if (part->w != 0) {
    request->frame.crop_x = part->x;
    request->frame.crop_y = part->y;
    request->frame.crop_width = part->w;
    request->frame.crop_height = part->h;
  }
  request->size = flight->settings.input_size;
  /* nobody knows which of the next frames has objects */
  request->last = flight->settings.interval > 1 || flight->settings.regions == GST_VIG_REGIONS_OBJECTS;
  request->logits = shot->logits;
  request->probabilities = shot->probabilities;
  if (flight->heat_classes)
    shot->heat = gst_vig_heat_new (flight->loaded->model, &request->frame, request->size, part, flight->heat_classes);
  if (shot->heat)
    request->maps = shot->heat->maps;
  request->done = shot_answered;
  request->user_data = flight;
}

static void
submit (GstVigFlight *flight)
{
  g_autofree VigRequest **requests = g_new (VigRequest *, flight->n_shots);
  for (guint i = 0; i < flight->n_shots; i++)
    requests[i] = &flight->shots[i].request;
  gst_vig_queue_compute (flight->queue, &flight->out, flight->n_shots);
  if (!vig_stream_submit_all (flight->loaded->stream, requests, flight->n_shots, &flight->error)) {
    gst_vig_queue_computed (flight->queue, &flight->out, flight->n_shots);
    return;
  }
  for (guint i = 0; i < flight->n_shots; i++)
    flight->shots[i].state = GST_VIG_SHOT_OUT;
}

static void
unmap (GstVigFlight *flight)
{
  if (!flight->mapped)
    return;
  gst_vig_cuda_done (flight->loaded->cuda, &flight->frame.view);
  gst_vig_frame_unmap (&flight->frame);
  flight->mapped = FALSE;
}

static gboolean
map (GstVigFlight *flight, const GstVideoInfo *info, VigOrientation orientation)
{
  GstVigCuda *cuda = flight->loaded->cuda;
  GstMapFlags flags = gst_vig_cuda_map_flags (cuda, flight->buffer, &flight->across);
  flight->mapped = gst_vig_frame_map (&flight->frame, info, flight->buffer, flags, orientation, &flight->error);
  if (flight->mapped && flags != GST_MAP_READ
      && !gst_vig_cuda_describe (cuda, flight->buffer, &flight->frame.view, &flight->error))
    unmap (flight);
  return flight->mapped;
}

void
gst_vig_flight_recall (GstVigFlight *flight)
{
  GstVigStates *states = &flight->loaded->states;
  gst_vig_states_begin (states, &flight->settings.clip, flight->clip_epoch, flight->time, flight->moment.running,
      flight->settings.hold_max);
  for (guint i = 0; flight->regions && i < flight->regions->len; i++) {
    const GstVigRegion *region = &g_array_index (flight->regions, GstVigRegion, i);
    if (region->tracked)
      gst_vig_states_see (states, region->tracking_id);
  }
}

static gboolean
aim_at_clip (GstVigFlight *flight, guint i, const guint64 *tracking_id)
{
  if (i == GST_VIG_NO_SHOT)
    return TRUE;
  GstVigShot *shot = &flight->shots[i];
  return gst_vig_states_aim (&flight->loaded->states, &flight->settings.clip, tracking_id, &shot->request, &shot->owed,
      &shot->silent, &flight->error);
}

/* Of which streams of pictures the shots are the next. Objects that are not followed are of none. */
static gboolean
aim_at_clips (GstVigFlight *flight)
{
  gboolean ok = aim_at_clip (flight, flight->frame_shot, NULL);
  for (guint i = 0; ok && flight->regions && i < flight->regions->len; i++) {
    const GstVigRegion *region = &g_array_index (flight->regions, GstVigRegion, i);
    ok = !region->followed || aim_at_clip (flight, region->shot, &region->tracking_id);
  }
  return ok;
}

void
gst_vig_flight_start (GstVigFlight *flight, const GstVideoInfo *info, VigOrientation orientation,
    const GstVideoRectangle *parts, guint n)
{
  if (!map (flight, info, orientation))
    return;
  const gsize n_classes = flight->loaded->n_classes;
  flight->n_shots = n;
  flight->shots = g_new0 (GstVigShot, n);
  flight->probabilities = g_new (float, n * n_classes);
  if (gst_vig_clip_mode_needs_logits (flight->loaded->clip_mode))
    flight->logits = g_new (float, n * n_classes);
  for (guint i = 0; i < n; i++) {
    flight->shots[i].probabilities = flight->probabilities + i * n_classes;
    flight->shots[i].logits = flight->logits ? flight->logits + i * n_classes : NULL;
    aim (flight, &flight->shots[i], &parts[i]);
  }
  if (aim_at_clips (flight))
    submit (flight);
}

/* Takes the results that have come. FALSE: some are still to come. */
static gboolean
land (GstVigFlight *flight)
{
  gboolean all = TRUE;
  for (guint i = 0; i < flight->n_shots; i++) {
    GstVigShot *shot = &flight->shots[i];
    if (shot->state != GST_VIG_SHOT_OUT)
      continue;
    if (!g_atomic_int_get (&shot->answered)) {
      all = FALSE;
      continue;
    }
    shot->state = shot->request.error || shot->silent ? GST_VIG_SHOT_NONE : GST_VIG_SHOT_THERE;
    if (flight->error)
      g_clear_error (&shot->request.error);
    else
      flight->error = g_steal_pointer (&shot->request.error);
  }
  return all;
}

static guint
cancel (GstVigFlight *flight)
{
  guint n = 0;
  for (guint i = 0; i < flight->n_shots; i++) {
    GstVigShot *shot = &flight->shots[i];
    if (shot->state != GST_VIG_SHOT_OUT || vig_stream_cancel (flight->loaded->stream, &shot->request) == 0)
      continue;
    shot->state = GST_VIG_SHOT_NONE;
    g_clear_error (&shot->request.error);
    settle (shot); /* here: the next frame may come before this flight is freed */
    n++;
  }
  if (n > 0)
    gst_vig_queue_computed (flight->queue, &flight->out, n);
  return n;
}

gboolean
gst_vig_flight_leave (GstVigFlight *flight, guint *n_shed)
{
  *n_shed = 0;
  if (!land (flight)) {
    *n_shed = cancel (flight);
    for (guint i = 0; i < flight->n_shots; i++)
      if (flight->shots[i].state == GST_VIG_SHOT_OUT)
        vig_stream_wait_read (flight->loaded->stream, &flight->shots[i].request);
    land (flight);
  }
  unmap (flight);
  return !flight->error;
}

gboolean
gst_vig_flight_is_out (const GstVigFlight *flight)
{
  for (guint i = 0; i < flight->n_shots; i++)
    if (flight->shots[i].state == GST_VIG_SHOT_OUT)
      return TRUE;
  return FALSE;
}

gboolean
gst_vig_flight_is_over (GstVigFlight *flight)
{
  return land (flight);
}

GstVigSpan
gst_vig_flight_get_span (const GstVigFlight *flight, const GstVigShot *shot)
{
  const GstVigLoaded *loaded = flight->loaded;
  GstVigSpan span = flight->span;
  guint64 enough = 1;
  if (loaded->clip_mode == GST_VIG_CLIP_STREAM)
    enough = 2;
  else if (loaded->clip_mode == GST_VIG_CLIP_JOINT)
    enough = flight->settings.clip.length;
  else if (gst_vig_clip_mode_needs_logits (loaded->clip_mode))
    enough = G_MAXUINT64; /* what is not tracked is never seen twice */
  span.warming_up = shot->request.n_seen < enough;
  if (shot->request.state && GST_CLOCK_TIME_IS_VALID (span.last))
    span.start = gst_vig_clock_get_start (shot->request.first_time, span.last);
  return span;
}

GstBuffer *
gst_vig_flight_steal_buffer (GstVigFlight *flight)
{
  return g_steal_pointer (&flight->buffer);
}
