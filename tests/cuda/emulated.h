/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The emulated GPU as tests see it that use it through libvig: what the machine is like, and what is left of its use. */
#ifndef EMULATED_H
#define EMULATED_H

#include <glib.h>

/* Opens the module that VIG_CUDA_MODULE names: the one that the engine will open, and gstreamer-cuda as the driver if this
 * comes before. Aborts if it is no emulated one. */
void emulated_init (void);

/* As emulated_init(), but FALSE where the module is that of a real GPU. Then emulated_machine() and emulated_order() do
 * nothing, and nothing is live: tests that need no more than these run on it. */
gboolean emulated_try (void);

/* What the machine is like from now on: "VIG_EMU_NAME=VALUE VIG_EMU_NAME=VALUE" (vig-emu-runtime.h), the rest as usual;
 * calls are counted from here, and a lost device is whole again. Not while another thread computes. */
void emulated_machine (const char *settings);

int emulated_live (void);              /* streams, events, pieces of memory and the like that there are */
int emulated_calls (const char *call); /* how often it was made since emulated_machine() */
void emulated_order (const char *order); /* of threads and streams: forward, reverse, shuffle:SEED (vig-emu.h) */

/* A stream of somebody who makes frames on device 0, and what it makes. */
typedef struct EmulatedStream EmulatedStream;
EmulatedStream *emulated_stream_new (void);
void emulated_stream_free (EmulatedStream *stream);

/* Device memory of the primary context with the bytes of @host: once the stream has come so far, or at once (NULL). */
void *emulated_upload (EmulatedStream *stream, const void *host, gsize size);
void emulated_free (void *memory);

/* An event (CUevent) that the stream comes to when all is done that it has been given so far. */
void *emulated_event (EmulatedStream *stream);
void emulated_event_free (void *event);

#endif
