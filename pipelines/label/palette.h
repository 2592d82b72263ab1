/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Which labels of a video matter most, and in which colour each is drawn, the same on pages, sheets and the index. */
#ifndef VIG_PALETTE_H
#define VIG_PALETTE_H

#include "labelled.h"

/* Labels with a colour of their own; the others share VIG_PALETTE_OTHER. */
#define VIG_PALETTE_SIZE 16
#define VIG_PALETTE_OTHER VIG_PALETTE_SIZE

typedef struct {
  GQuark label;
  double seconds;  /* in its segments */
  double presence; /* sum of its confidences in the frames */
  double peak;     /* the greatest of them */
  int colour;      /* 0 … VIG_PALETTE_OTHER */
} VigRankedLabel;

/* (transfer full): of VigRankedLabel, those with most seconds first, then most presence. */
GArray *vig_palette_rank (const VigLabelled *video);

/* Sorts and colours labels that the caller has counted himself. */
void vig_palette_sort (GArray *ranked);

/* (nullable): that of `label`. */
const VigRankedLabel *vig_palette_find (const GArray *ranked, GQuark label);
/* VIG_PALETTE_OTHER for a label that is not in it. */
int vig_palette_colour (const GArray *ranked, GQuark label);

/* 0xRRGGBB; readable on white and on near black. */
guint vig_palette_rgb (int colour);

#endif
