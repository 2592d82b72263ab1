/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The emulated GPU as tests see it that use it through libvig: what the machine is like, and what is left of its use. */
#ifndef EMULATED_H
#define EMULATED_H

#include <glib.h>

/* Opens the module that VIG_CUDA_MODULE names: the one that the engine will open. Aborts if it is no emulated one. */
void emulated_init (void);

/* What the machine is like from now on: "VIG_EMU_NAME=VALUE VIG_EMU_NAME=VALUE" (vig-emu-runtime.h), the rest as usual;
 * calls are counted from here, and a lost device is whole again. Not while another thread computes. */
void emulated_machine (const char *settings);

int emulated_live (void);              /* streams, events, pieces of memory and the like that there are */
int emulated_calls (const char *call); /* how often it was made since emulated_machine() */

#endif
