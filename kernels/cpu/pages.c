/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "cpu/pages.h"

#include <stdlib.h>
#include <sys/mman.h>

enum { HUGE = 2 << 20, BLOCK = 4 * HUGE }; /* bytes of a huge page, and of a block unless a piece needs more */

/* Pieces follow one another; what is given back is free again when all of its block is. */
struct VigPages {
  VigPages *next;
  char *base;
  size_t size, used;
  size_t pieces; /* not given back */
};

static VigPages *
block_new (size_t size)
{
  VigPages *block = calloc (1, sizeof *block);
  void *base;
  if (!block || posix_memalign (&base, HUGE, size)) {
    free (block);
    return NULL;
  }
#ifdef MADV_HUGEPAGE
  madvise (base, size, MADV_HUGEPAGE); /* a wish: small pages do as well */
#endif
  block->base = base;
  block->size = size;
  return block;
}

void *
vig_pages_take (VigPages **pages, size_t size)
{
  VigPages *block = *pages;
  size = (size + 63) / 64 * 64;
  while (block && block->size - block->used < size)
    block = block->next;
  if (!block) {
    block = block_new (size > BLOCK ? (size + HUGE - 1) / HUGE * HUGE : BLOCK);
    if (!block)
      return NULL;
    block->next = *pages;
    *pages = block;
  }
  void *memory = block->base + block->used;
  block->used += size;
  block->pieces++;
  return memory;
}

void
vig_pages_give (VigPages **pages, void *memory)
{
  char *piece = memory;
  if (!piece)
    return;
  while (piece < (*pages)->base || piece >= (*pages)->base + (*pages)->size)
    pages = &(*pages)->next;
  VigPages *block = *pages;
  if (--block->pieces > 0)
    return;
  *pages = block->next;
  free (block->base);
  free (block);
}
