/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef VIG_VIG_H
#define VIG_VIG_H

#include <vig/consensus.h>
#include <vig/engine.h>
#include <vig/error.h>
#include <vig/frame.h>
#include <vig/gla.h>
#include <vig/map.h>
#include <vig/model.h>
#include <vig/shared.h>
#include <vig/state.h>
#include <vig/window.h>

#endif
