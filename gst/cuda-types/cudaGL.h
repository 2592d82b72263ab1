/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* As cuda.h beside it: nothing more is needed of it. */
#include "cuda.h"
