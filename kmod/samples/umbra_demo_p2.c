// SPDX-License-Identifier: GPL-2.0
/*
 * Demo, second patch: state 1 again, with other code.
 *
 * It replaces the first: quarantined files say "Operation not permitted" now.
 * The state is in both, so no callback runs and not one shadow is touched. As a
 * cumulative patch has all that the one before it had, there is one source to
 * maintain: the first patch's.
 */
#include <linux/errno.h>

#define DEMO_ANSWER	-EPERM
#define DEMO_DIFFERENCE	", said differently"
#include "umbra_demo_p1.c"
