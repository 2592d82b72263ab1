/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef GST_VIG_KEEPER_H
#define GST_VIG_KEEPER_H

#include "gstvigloaded.h"

G_BEGIN_DECLS

/**
 * GstVigChanged:
 * @number: which change, as its asker has numbered it
 * @asked: how it was to be loaded
 * @loaded: the model in use from now on; NULL: it is the old one,
 * @error: for this reason
 *
 * What came of a change. From the keeper's thread, with no lock held; everything is the keeper's.
 */
typedef void (*GstVigChanged) (gpointer owner, guint number, const GstVigLoadOptions *asked, GstVigLoaded *loaded,
    const GError *error);

/**
 * GstVigKeeper:
 *
 * Keeps the model that an element classifies with, changes it for another that is loaded in the background, and frees one
 * when the last frame that was submitted to it is gone. All functions may be called from any thread, but one thread at a
 * time opens and closes.
 */
typedef struct {
  GMutex lock;
  GCond wake;             /* what the thread waits for */
  GstVigLoaded *loaded;   /* in use; NULL: closed */
  GSList *gone;           /* of GstVigLoaded: nobody holds these any more */
  GThread *thread;        /* changes and frees models; NULL until there has been something to change */
  gboolean quit;
  struct GstVigChange *next; /* asked for last and not begun */
  guint asked;            /* how often something was asked for or cancelled: only the last counts */
  gboolean pending;       /* its answer is still to come */
  GstVigChanged changed;
  gpointer owner;
} GstVigKeeper;

void gst_vig_keeper_init (GstVigKeeper *keeper, GstVigChanged changed, gpointer owner);
void gst_vig_keeper_clear (GstVigKeeper *keeper); /* closed */

/* Loads a model, as gst_vig_loaded_new(), in place of the one there is. */
gboolean gst_vig_keeper_open (GstVigKeeper *keeper, const GstVigLoadOptions *options, const char *user, guint size,
    GError **error);

/* Cancels a change, waits until the thread is idle and frees everything. No frame holds a model any more. */
void gst_vig_keeper_close (GstVigKeeper *keeper);

/* The model in use. (transfer full); NULL: closed */
GstVigLoaded *gst_vig_keeper_get (GstVigKeeper *keeper);
gboolean gst_vig_keeper_uses (GstVigKeeper *keeper, const GstVigLoaded *loaded);

/**
 * gst_vig_keeper_change:
 * @model_file, @labels_file: (nullable): all else as for the model in use
 * @size, @clip_length: that are warmed up
 * @number: told when it is done; a change that is superseded or cancelled before is not heard of again
 *
 * Does not wait. FALSE: there is no thread to be had.
 */
gboolean gst_vig_keeper_change (GstVigKeeper *keeper, const char *model_file, const char *labels_file, const char *user,
    guint size, guint clip_length, guint number, GError **error);

/* From now on no change takes place. TRUE: there was one to come. */
gboolean gst_vig_keeper_cancel (GstVigKeeper *keeper);

G_END_DECLS
#endif
