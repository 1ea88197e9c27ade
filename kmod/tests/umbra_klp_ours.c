// SPDX-License-Identifier: GPL-2.0
/* The claims, of the drop-in, taken in by an include behind <linux/livepatch.h>. */
#include <linux/livepatch.h>
#include <umbra_klp.h>

#define KLP_WHOSE	"ours"
#include "klp_semantics.c"
