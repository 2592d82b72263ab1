/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the user asked for. */
#ifndef VIG_LABEL_OPTIONS_H
#define VIG_LABEL_OPTIONS_H

#include <gst/gst.h>

typedef enum {
  VIG_FORMAT_JSONL = 1 << 0,
  VIG_FORMAT_CSV = 1 << 1,
  VIG_FORMAT_VTT = 1 << 2,
  VIG_FORMAT_LABEL_STUDIO = 1 << 3,
  VIG_FORMAT_REPORT = 1 << 4,
  VIG_FORMAT_CONTACT_SHEET = 1 << 5,
  /* those that show pictures of the video */
  VIG_FORMATS_WITH_PICTURES = VIG_FORMAT_REPORT | VIG_FORMAT_CONTACT_SHEET,
} VigFormats;

/**
 * VigOptions:
 * @rate: frames per second that are classified; 0: every one
 * @key_frames: only those that need no other to be decoded
 * @set: (nullable): "name=value" of vigclassify
 * @shard, @n_shards: of the inputs @shard (from 0), @shard + @n_shards, …
 * @arguments: (nullable): inputs; with @merge: folders
 * @model_hash: of the model's file, and of what else the answers depend on: see vig_options_look_at_model()
 */
typedef struct {
  char *model, *device, *precision;
  char **set;
  int top_k;
  double threshold, enter, leave, min_duration;
  double rate;
  gboolean key_frames;

  char **manifests, **arguments;
  gboolean all_files;
  guint shard, n_shards;

  char *output, *media_prefix;
  VigFormats formats;
  gboolean combined, merge;

  int jobs, decode_threads;
  double stall_timeout;
  gboolean force, dry_run, retry_failed, fail_fast, quiet, version;

  char *model_name, *model_hash;
} VigOptions;

/* With @version nothing else is looked at. GOptionError */
gboolean vig_options_parse (VigOptions *options, int *argc, char ***argv, GError **error);
void vig_options_clear (VigOptions *options);

/* Reads the model's file for its name and hash; and checks that vigclassify takes what is @set. */
gboolean vig_options_look_at_model (VigOptions *options, GError **error);

/* (transfer full): all that results depend on but the input and the model, as text. */
char *vig_options_describe (const VigOptions *options);

/* Sets what concerns vigclassify. */
void vig_options_apply (const VigOptions *options, GstElement *classify);

#endif
