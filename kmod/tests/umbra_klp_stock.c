// SPDX-License-Identifier: GPL-2.0
/* The claims, of the stock functions. */
#define KLP_WHOSE	"stock"
#include "klp_semantics.c"
