/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the element's two files share: gstvigclassify.c, which has pads and frames, and gstvigproperties.c. */
#ifndef GST_VIG_CLASSIFY_PRIVATE_H
#define GST_VIG_CLASSIFY_PRIVATE_H

#include <gst/video/video.h>
#include <vig/vig.h>

#include "gstvigclassify.h"
#include "gstvigclock.h"
#include "gstvigflight.h"
#include "gstvigkeeper.h"
#include "gstvigoverload.h"
#include "gstvigqueue.h"
#include "gstvigregions.h"
#include "gstvigsegments.h"
#include "gstvigstats.h"
#include "gstvigturns.h"

struct _GstVigClassify {
  GstElement parent;
  GstPad *sinkpad, *srcpad;

  /* object lock */
  GstVigLoadOptions load;
  gboolean stale;     /* other options than those of the model in use, from the next start on */
  gboolean other_model; /* another file than that of the model in use, at once if @started */
  guint n_models;     /* how often a file has been set */
  gboolean started;   /* between READY and PAUSED, or above */
  guint max_in_flight;
  GstVigSettings settings;
  char *object_classes;
  GPtrArray *wanted_classes; /* strings, what it lists; NULL: all. Never changed, replaced */
  char *heatmap_labels;
  GPtrArray *wanted_maps;    /* likewise; NULL: the most confident one */
  GstVigLimits limits;       /* of segments, from the next start on */
  GstVigStats stats;
  GstVigOverload overload;
  gboolean live;             /* upstream is */
  GstVigLatency latency;     /* what LATENCY queries are told */

  GstVigQueue queue;
  GstVigKeeper keeper; /* open from READY to NULL */

  /* Where frames come in: the sink pad's stream lock's. */
  struct {
    GstVideoInfo info;
    gboolean have_info;
    GstSegment segment;
    gboolean backwards;     /* the last segment was, also once a flush has ended it */
    VigOrientation stream_orientation, global_orientation; /* of the tags; 0: none */
    guint model;            /* number of the one that the last frame was submitted to */
    GstVigTurns turns;
    guint clip_epoch;        /* one later each time that clip-reset says so */
    GstVigClock clock;
    gboolean hdr_warned, jump_said;
    guint unknown_said;      /* number of the model that has not all of heatmap-labels, as was said */
    guint max_in_flight;
    guint held;              /* most frames that there may be, where a pool allows it */
  } in;

  /* Where they go out: the source task's, or its stream lock's. */
  guint room;               /* most frames that upstream's pool allows; changes while frames stand still */
  GstSegment segment;
  GstVigSegments segments;
  char *segments_model, *segments_hash; /* of the answers that are in them */
  guint epoch;              /* of the last frame */
  GQueue late;              /* of GstVigFlight: their buffers have left, their results are still to come */
  gboolean backwards_said;
  gboolean failed;          /* the last frame ended here, and the bus knows why */
  gboolean has_announced;
  GQuark announced;         /* label of the last message; 0: below the threshold */
  GstClockTime announced_since;
  guint64 latency_looks;
};

/* All but finalize and what is to happen when a property has changed. */
void gst_vig_classify_install_properties (GObjectClass *class);
void gst_vig_classify_init_properties (GstVigClassify *self);

#endif
