/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Memory for what stays and is read again and again, as packed weights are: pieces of large blocks, in huge pages where the
 * system has them. A model's weights lie in thousands of small ones otherwise, more than a core remembers. */
#ifndef VIG_PAGES_H
#define VIG_PAGES_H

#include <stddef.h>

typedef struct VigPages VigPages; /* NULL: nothing taken yet */

/* 64-byte aligned; NULL if there is no memory. One thread at a time. */
void *vig_pages_take (VigPages **pages, size_t size);

/* memory may be NULL. A block goes back to the system with the last piece of it. */
void vig_pages_give (VigPages **pages, void *memory);

#endif
