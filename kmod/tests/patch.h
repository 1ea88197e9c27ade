/* SPDX-License-Identifier: GPL-2.0 */
/* The patches of test modules: how they are written down, and a switch for them. */
#ifndef _UMBRA_PATCH_H
#define _UMBRA_PATCH_H

#include <linux/kstrtox.h>
#include <linux/module.h>

#include <umbra.h>

#include "hooked.h"

/* A patch with two arrays, named after its module. */
#define UMBRA_TEST_PATCH(of_states, of_hooks) {				\
	.mod = THIS_MODULE,						\
	.states = of_states, .nr_states = ARRAY_SIZE(of_states),	\
	.hooks = of_hooks, .nr_hooks = ARRAY_SIZE(of_hooks),		\
}

/* A hook for the objects that have a shadow of the hook's own state. */
#define UMBRA_TEST_HOOK(function, by, id) {				\
	.symbol = function, .replacement = by,				\
	.state = id, .shadow = id, .policy = UMBRA_HAS_SHADOW,		\
}

/* What is written to a parameter enables a patch (1) or disables it (0). */
static inline int umbra_test_switch(struct umbra_patch *patch, const char *val)
{
	bool on;
	int ret = kstrtobool(val, &on);

	if (ret)
		return ret;
	return on ? umbra_enable_patch(patch) : umbra_disable_patch(patch);
}

#endif /* _UMBRA_PATCH_H */
