/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef VIG_WINDOW_H
#define VIG_WINDOW_H

#include <vig/engine.h>

G_BEGIN_DECLS

/**
 * vig_engine_classify_windows:
 * @frames: [@n * @window]: window after window, the frames of each in order of time
 * @n: windows, 1 to 524287
 * @window: frames of each, 1 to 4096
 * @size: side of the square input in pixels; 0: what the model says
 * @frame_logits: (nullable): [@n * @window, classes]: the logits of every frame, as it is seen among the others of its window
 * @output: of the windows: [@n, …]. Logits and features are the means of those of the frames.
 * @error: as vig_engine_classify_frames(); VIG_ERROR_ARGUMENT also if the model does not take windows
 *
 * For a model that takes windows of frames (docs/temporal.md, kind "joint"): the tokens of a window are one sequence. The cost
 * is that of as many images. (vig_engine_classify_frames() takes each frame for a window of its own.)
 */
VIG_API gboolean vig_engine_classify_windows (VigEngine *engine, const VigFrame *frames, guint n, guint window, guint size,
    float *frame_logits, VigOutput *output, GError **error);

G_END_DECLS
#endif
