/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <vig/error.h>

G_DEFINE_QUARK (vig-error-quark, vig_error)
