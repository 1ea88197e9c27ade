// SPDX-License-Identifier: GPL-2.0
/*
 * What a cycle of loading and unloading does while it is loaded: shadows of a type
 * and of a state, freed one by one and all at once, and with hook=1 a hook. It all
 * happens in the init function, and nothing may be left of it.
 */
#include <linux/err.h>
#include <linux/module.h>

#include "patch.h"

#define CYCLE_TYPE	951
#define CYCLE_STATE	952
#define CYCLE_SHADOWS	64

static bool with_hook;
module_param_named(hook, with_hook, bool, 0444);
MODULE_PARM_DESC(hook, "with a hook, which costs grace periods of tasks");

noinline UMBRA_HOOKED int umbra_cycle_target(void *obj);
noinline UMBRA_HOOKED int umbra_cycle_target(void *obj)
{
	barrier_data(obj);
	return 1;
}

static int cycle_replacement(void *obj)
{
	return 2;
}

static void *cycle_object(unsigned long i)
{
	return (void *)((i + 1) * 192);
}

static void cycle_dtor(void *obj, void *shadow)
{
}

static int cycle_pre(struct umbra_patch *patch, struct umbra_state *state,
		     enum umbra_reason reason)
{
	int i;

	for (i = 0; i < CYCLE_SHADOWS; i++)
		if (!umbra_shadow_alloc(cycle_object(i), CYCLE_STATE, 48, GFP_KERNEL,
					NULL, NULL))
			return -ENOMEM;
	return 0;
}

static struct umbra_state states[] = {
	{
		.id = CYCLE_STATE,
		.name = "cycle",
		.is_shadow = true,
		.callbacks = { .pre_patch = cycle_pre, .shadow_dtor = cycle_dtor },
	},
};

static struct umbra_hook hooks[] = {
	UMBRA_TEST_HOOK("umbra_cycle_target", cycle_replacement, CYCLE_STATE),
};

static struct umbra_patch patch = UMBRA_TEST_PATCH(states, hooks);

static int __init cycle_init(void)
{
	struct umbra_type *type = umbra_type_get(CYCLE_TYPE);
	int i, ret = 0;

	if (IS_ERR(type))
		return PTR_ERR(type);
	for (i = 0; i < CYCLE_SHADOWS && !ret; i++)
		ret = PTR_ERR_OR_ZERO(umbra_alloc(type, cycle_object(i), 8, GFP_KERNEL,
						  NULL, NULL));
	for (i = 0; i < CYCLE_SHADOWS / 2; i++)
		umbra_free(type, cycle_object(i), NULL);
	umbra_free_all(type, NULL);
	umbra_type_put(type);
	if (ret)
		return ret;

	if (!with_hook)
		patch.nr_hooks = 0;
	ret = umbra_enable_patch(&patch);
	if (ret)
		return ret;
	if (umbra_cycle_target(cycle_object(1)) != 1 + with_hook)
		pr_err("umbra_cycle: the wrong code ran\n");
	/* While it is enabled the module has to stay, so that is no failure. */
	ret = umbra_disable_patch(&patch);
	if (ret)
		pr_err("umbra_cycle: the patch stays enabled: %d\n", ret);
	return 0;
}

static void __exit cycle_exit(void)
{
}

module_init(cycle_init);
module_exit(cycle_exit);
MODULE_DESCRIPTION("Umbra: what is done in a cycle of loading and unloading");
MODULE_AUTHOR("The Umbra developers");
MODULE_LICENSE("GPL");
