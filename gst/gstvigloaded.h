/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef GST_VIG_LOADED_H
#define GST_VIG_LOADED_H

#include <gst/gst.h>
#include <vig/shared.h>

#include "gstvigclip.h"
#include "gstvigcuda.h"
#include "gstvigheld.h"
#include "gstvigstates.h"

G_BEGIN_DECLS

/* What says how a model is to be loaded. Strings are its own. */
typedef struct {
  char *model_file, *labels_file, *device; /* the first two: NULL if not set */
  VigPrecision precision;
  guint threads, parallel_batches, max_batch;
  gint64 batch_delay; /* nanoseconds; < 0: not set */
  gboolean share;
  GstVigClipMode clip_mode;
  guint clip_length; /* of the windows that it is warmed up for, if it takes windows */
} GstVigLoadOptions;

void gst_vig_load_options_copy (GstVigLoadOptions *to, const GstVigLoadOptions *from);
void gst_vig_load_options_clear (GstVigLoadOptions *options);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC (GstVigLoadOptions, gst_vig_load_options_clear)

/**
 * GstVigLoaded:
 * @number: no other of this process has or had it
 * @options: how it was loaded
 * @stream: one element's, through which its frames reach the engine
 * @model: @shared's
 * @cuda: frames may be in its memory; NULL: in the host's alone
 * @clip_mode: what became of that of @options
 * @latency: how long a frame took alone while warming up
 * @held: what is said of the frames and objects that are not classified themselves
 * @clip: what of a clip has been seen
 * @ranks: for whoever ranks them
 * @states: what the model remembers
 *
 * A model that is ready to classify the frames of one element, with its labels. Reference counted: every frame in flight
 * holds it, so that its result is that of the model which it was submitted to, and is described by that model's labels.
 * @held, @clip and @ranks are of the thread that takes results, @states of that which submits; all else is immutable.
 */
typedef struct GstVigLoaded GstVigLoaded;
struct GstVigLoaded {
  guint number;
  GstVigLoadOptions options;
  VigShared *shared;
  VigStream *stream;
  VigModel *model;
  GstVigCuda *cuda;
  guint n_classes;
  char **labels;        /* [classes] */
  GQuark *quarks;       /* [classes]: of the labels */
  GstVigClipMode clip_mode;
  GstClockTime latency;
  GstVigHeld held;
  GstVigClip clip;
  VigRank *ranks;       /* [classes] */
  GstVigStates states;

  /*< private >*/
  gatomicrefcount refs;
  void (*last_unref) (GstVigLoaded *loaded, gpointer data);
  gpointer data;
};

/**
 * gst_vig_loaded_new:
 * @user: names the element in error messages
 * @size: side of the square input that is warmed up, in pixels; 0: what the model says
 * @error: of the domain VIG_ERROR, also where the model cannot do the clip mode; GST_RESOURCE_ERROR if there is no model
 *   to load
 *
 * Loads, validates and warms up, which may take seconds. Any thread.
 */
GstVigLoaded *gst_vig_loaded_new (const GstVigLoadOptions *options, const char *user, guint size, GError **error);

GstVigLoaded *gst_vig_loaded_ref (GstVigLoaded *loaded);
void gst_vig_loaded_unref (GstVigLoaded *loaded);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (GstVigLoaded, gst_vig_loaded_unref)

/* @last_unref is called by who drops the last reference, and is to have gst_vig_loaded_free() called: from a thread that
 * may wait, and that is not the engine's. Without one the last reference frees. */
void gst_vig_loaded_set_last_unref (GstVigLoaded *loaded, void (*last_unref) (GstVigLoaded *, gpointer), gpointer data);
void gst_vig_loaded_free (GstVigLoaded *loaded);

G_END_DECLS
#endif
