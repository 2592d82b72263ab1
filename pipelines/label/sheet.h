/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A contact sheet: one picture that shows what a video shows and when. */
#ifndef VIG_SHEET_H
#define VIG_SHEET_H

#include "labelled.h"

/* (transfer full): a PNG. */
GBytes *vig_sheet_draw (const VigLabelled *video);

#endif
