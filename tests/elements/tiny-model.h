/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef TINY_MODEL_H
#define TINY_MODEL_H

/* The classes of the tiny model, in order: the eight corners of the colour cube, and which side of a grey ramp is
 * bright. */
enum { TINY_BLACK, TINY_BLUE, TINY_GREEN, TINY_CYAN, TINY_RED, TINY_MAGENTA, TINY_YELLOW, TINY_WHITE,
  TINY_LEFT, TINY_RIGHT, TINY_TOP, TINY_BOTTOM, TINY_CLASSES };

extern const char *const tiny_labels[TINY_CLASSES + 1];

/**
 * tiny_model_write:
 *
 * Writes a ViG model of two blocks whose weights are set by hand so that it names plain colours and ramps: input 32x32,
 * shorter side resized to 32, centre crop. 0.7 MB. Aborts when @path cannot be written.
 */
void tiny_model_write (const char *path);

/* Another of as many classes as there are @labels: the first of those. */
void tiny_model_write_as (const char *path, const char *name, const char *const *labels);

/* What a model takes. */
typedef enum { TINY_IMAGE, TINY_JOINT, TINY_STREAM } TinyKind;

/* One that takes windows of frames, or that has a memory: what it says depends on all that it has seen, and is not to be
 * understood. */
void tiny_model_write_over_time (const char *path, TinyKind kind);

#endif
