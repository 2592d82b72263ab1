/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "gstvigsegments.h"

typedef struct {
  guint class;
  GQuark label;
  GstVigMoment first; /* the first that is known; NONE: none is */
  double sum;  /* of the confidences of, */
  guint n;     /* as many answers */
  double peak; /* the greatest of them */
} Open;

/* What is known of a tracked object. */
typedef struct {
  GstVigSubject subject;
  GstVigSegments *segments;
  guint64 id;
  GQuark type;
} Object;

gboolean
gst_vig_limits_check (const GstVigLimits *limits, GError **error)
{
  if (limits->leave <= limits->enter)
    return TRUE;
  g_set_error (error, GST_RESOURCE_ERROR, GST_RESOURCE_ERROR_SETTINGS,
      "leave-threshold: expected at most enter-threshold, which is %g, found %g.", limits->enter, limits->leave);
  return FALSE;
}

static double
get_leave (const GstVigLimits *limits)
{
  return limits->leave < 0 ? limits->enter : limits->leave;
}

/* ---- times ----------------------------------------------------------------------------------------------------- */

static GstClockTime
to_stream (const GstSegment *segment, GstClockTime pts)
{
  return segment->format == GST_FORMAT_TIME ? gst_segment_to_stream_time (segment, GST_FORMAT_TIME, pts)
      : GST_CLOCK_TIME_NONE;
}

static GstClockTime
to_running (const GstSegment *segment, GstClockTime pts)
{
  return segment->format == GST_FORMAT_TIME ? gst_segment_to_running_time (segment, GST_FORMAT_TIME, pts)
      : GST_CLOCK_TIME_NONE;
}

static const GstVigMoment unknown = { .pts = GST_CLOCK_TIME_NONE, .stream = GST_CLOCK_TIME_NONE,
  .running = GST_CLOCK_TIME_NONE, .end = GST_CLOCK_TIME_NONE, .stream_end = GST_CLOCK_TIME_NONE,
  .running_end = GST_CLOCK_TIME_NONE };

static gboolean
is_known (const GstVigMoment *moment)
{
  return GST_CLOCK_TIME_IS_VALID (moment->pts);
}

void
gst_vig_moment_init (GstVigMoment *moment, const GstSegment *segment, GstBuffer *buffer)
{
  const GstClockTime pts = GST_BUFFER_PTS (buffer);
  GstClockTime end = pts;
  if (GST_CLOCK_TIME_IS_VALID (pts) && GST_BUFFER_DURATION_IS_VALID (buffer))
    end += GST_BUFFER_DURATION (buffer);
  if (segment->format == GST_FORMAT_TIME && GST_CLOCK_TIME_IS_VALID (segment->stop) && GST_CLOCK_TIME_IS_VALID (end)
      && pts <= segment->stop)
    end = MIN (end, segment->stop);
  *moment = (GstVigMoment) { .pts = pts, .stream = to_stream (segment, pts), .running = to_running (segment, pts),
    .end = end, .stream_end = to_stream (segment, end), .running_end = to_running (segment, end) };
}

/* ---- a segment that is over ------------------------------------------------------------------------------------ */

/* All of it: up to @next, or to the end of @last where that is not known. */
static GstVigMoment
get_extent (const GstVigMoment *first, const GstVigMoment *last, const GstVigMoment *next)
{
  GstVigMoment m = *first;
  m.end = is_known (next) ? next->pts : last->end;
  m.stream_end = is_known (next) ? next->stream : last->stream_end;
  m.running_end = is_known (next) ? next->running : last->running_end;
  return m;
}

/* The same where frames come from the last to the first: in running time alone the later is still behind. */
static GstVigMoment
get_extent_backwards (const GstVigMoment *first, const GstVigMoment *last, const GstVigMoment *next)
{
  GstVigMoment m = *first;
  m.pts = is_known (next) ? next->end : last->pts;
  m.stream = is_known (next) ? next->stream_end : last->stream;
  m.running = first->running_end;
  m.running_end = is_known (next) ? next->running_end : last->running;
  return m;
}

/* @last: of the subject; @next: of the answer that ended it; unknown: something else did, behind @last */
static void
tell (GstVigSegments *segments, const Open *open, const GstVigMoment *last, const GstVigMoment *next, const Object *object)
{
  const GstVigMoment *first = &open->first;
  if (!is_known (first)) /* then @last is of before it */
    last = first;
  const GstVigMoment m = (segments->backwards ? get_extent_backwards : get_extent) (first, last, next);
  const gboolean known = GST_CLOCK_TIME_IS_VALID (m.pts) && GST_CLOCK_TIME_IS_VALID (m.end) && m.end >= m.pts;
  if (segments->limits.min_duration > 0 && (!known || m.end - m.pts < segments->limits.min_duration))
    return;
  GstStructure *message = gst_structure_new ("vig-segment",
      "label", G_TYPE_STRING, g_quark_to_string (open->label),
      "confidence", G_TYPE_DOUBLE, open->sum / open->n,
      "peak", G_TYPE_DOUBLE, open->peak,
      "start", G_TYPE_UINT64, m.pts, "end", G_TYPE_UINT64, m.end,
      "stream-start", G_TYPE_UINT64, m.stream, "stream-end", G_TYPE_UINT64, m.stream_end,
      "running-start", G_TYPE_UINT64, m.running, "running-end", G_TYPE_UINT64, m.running_end,
      "answers", G_TYPE_UINT, open->n, NULL);
  if (object) {
    const char *type = g_quark_to_string (object->type);
    gst_structure_set (message, "tracking-id", G_TYPE_UINT64, object->id,
        "region-type", G_TYPE_STRING, type ? type : "", NULL);
  }
  segments->found (segments->owner, message);
}

static void
end_subject (GstVigSegments *segments, GstVigSubject *subject, const Object *object)
{
  for (guint i = 0; subject->open && i < subject->open->len; i++)
    tell (segments, &g_array_index (subject->open, Open, i), &subject->last, &unknown, object);
  if (subject->open)
    g_array_set_size (subject->open, 0);
  subject->last = unknown;
}

static void
end_object (gpointer note)
{
  Object *object = note;
  end_subject (object->segments, &object->subject, object);
  g_clear_pointer (&object->subject.open, g_array_unref);
}

/* ---- answers --------------------------------------------------------------------------------------------------- */

/* All classes in order; those that are open are in that order too. */
static void
add_answer (GstVigSegments *segments, GstVigSubject *subject, const Object *object, const GstVigMoment *moment,
    const GQuark *labels, const float *probabilities, guint n)
{
  GArray *now = segments->scratch;
  g_array_set_size (now, 0);
  for (guint class = 0, i = 0; class < n; class++) {
    const double p = probabilities[class];
    const Open *old = i < subject->open->len ? &g_array_index (subject->open, Open, i) : NULL;
    Open open = { .class = class, .label = labels[class], .first = *moment };
    if (old && old->class == class) {
      i++;
      open = *old;
      if (!(p >= get_leave (&segments->limits))) { /* or is no number */
        tell (segments, old, &subject->last, moment, object);
        continue;
      }
    } else if (!(p >= segments->limits.enter)) {
      continue;
    }
    if (!is_known (&open.first))
      open.first = *moment;
    open.sum += p;
    open.n++;
    open.peak = MAX (open.peak, p);
    g_array_append_val (now, open);
  }
  segments->scratch = subject->open;
  subject->open = now;
  if (is_known (moment))
    subject->last = *moment;
}

static gboolean
goes_back (const GstVigSegments *segments, const GstVigMoment *last, const GstVigMoment *moment)
{
  if (!is_known (last) || !is_known (moment))
    return FALSE;
  return segments->backwards ? moment->pts > last->pts : moment->pts < last->pts;
}

static gboolean
any_enters (const GstVigSegments *segments, const float *probabilities, guint n)
{
  for (guint i = 0; i < n; i++)
    if (probabilities[i] >= segments->limits.enter)
      return TRUE;
  return FALSE;
}

static Object *
get_object (GstVigSegments *segments, const GstVigRegion *region)
{
  Object *object = gst_vig_tracks_note (&segments->objects, region->tracking_id);
  object->segments = segments;
  object->id = region->tracking_id;
  object->type = region->type;
  return object;
}

static void
end_all (GstVigSegments *segments)
{
  end_subject (segments, &segments->frame, NULL);
  while (gst_vig_tracks_peek_oldest (&segments->objects))
    gst_vig_tracks_forget_oldest (&segments->objects);
}

void
gst_vig_segments_add (GstVigSegments *segments, guint epoch, const GstVigRegion *region, const GstVigMoment *moment,
    const GQuark *labels, const float *probabilities, guint n)
{
  if (!(segments->limits.enter > 0) || moment->part != segments->part)
    return;
  if (epoch != segments->epoch)
    end_all (segments);
  segments->epoch = epoch;
  if (region && !gst_vig_tracks_find (&segments->objects, region->tracking_id)
      && !any_enters (segments, probabilities, n))
    return;
  Object *object = region ? get_object (segments, region) : NULL;
  GstVigSubject *subject = object ? &object->subject : &segments->frame;
  if (!subject->open) {
    subject->open = g_array_new (FALSE, FALSE, sizeof (Open));
    subject->last = unknown;
  }
  if (goes_back (segments, &subject->last, moment))
    end_subject (segments, subject, object);
  add_answer (segments, subject, object, moment, labels, probabilities, n);
}

/* ---- objects that are there, or not ---------------------------------------------------------------------------- */

void
gst_vig_segments_see (GstVigSegments *segments, const GstVigRegion *region)
{
  gst_vig_tracks_see (&segments->objects, region->tracking_id);
}

void
gst_vig_segments_begin_frame (GstVigSegments *segments, GstVigMoment *moment, GstClockTime longest)
{
  gst_vig_tracks_begin_frame (&segments->objects, moment->running, longest);
  moment->part = segments->part;
}

/* ---- all of them ----------------------------------------------------------------------------------------------- */

void
gst_vig_segments_init (GstVigSegments *segments, void (*found) (gpointer owner, GstStructure *message), gpointer owner)
{
  *segments = (GstVigSegments) { .found = found, .owner = owner, .scratch = g_array_new (FALSE, FALSE, sizeof (Open)) };
  gst_vig_tracks_init (&segments->objects, sizeof (Object), end_object);
}

void
gst_vig_segments_clear (GstVigSegments *segments)
{
  gst_vig_tracks_clear (&segments->objects);
  g_clear_pointer (&segments->frame.open, g_array_unref);
  g_clear_pointer (&segments->scratch, g_array_unref);
}

void
gst_vig_segments_end (GstVigSegments *segments)
{
  end_all (segments);
  segments->part++;
}
