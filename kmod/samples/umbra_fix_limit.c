// SPDX-License-Identifier: GPL-2.0
/*
 * Sample: a security fix that also changes a global.
 *
 * The toy driver gives all devices one budget of replies, so that an attacker on
 * one device can count what the others do. The fix keeps a budget for each device,
 * in a shadow of the device, and lifts the common limit, which code outside of
 * the fixed function may look at too. The global changes only when the new code
 * is in place, and has its old value again before the old code runs alone: that
 * is what post_patch and pre_unpatch are for. The old value is kept in a shadow
 * of the state's id on NULL, had in pre_patch, which is the one that may fail.
 */
#include <linux/err.h>
#include <linux/limits.h>
#include <linux/module.h>

#include <umbra.h>

#include "umbra_toy.h"

#define LIMIT		21	/* on NULL: the old limit */
#define BUDGET		22	/* on a device: what it has used */

#define BUDGET_EACH	3

struct budget {
	unsigned int second;
	unsigned int used;
};

static struct umbra_hook hooks[];

static int fix_reply(struct toy *toy)
{
	struct budget *budget;

	budget = umbra_shadow_get_or_alloc(toy, BUDGET, sizeof(*budget), GFP_NOWAIT,
					   NULL, NULL);
	/* Without memory no budget, and without a budget no reply. */
	if (!budget)
		return -EBUSY;
	/* Under the driver's lock, as the original. */
	if (budget->second != toy_second) {
		budget->second = toy_second;
		budget->used = 0;
	}
	if (budget->used >= BUDGET_EACH)
		return -EBUSY;
	budget->used++;
	return 0;
}

static void fix_remove(struct toy *toy)
{
	void (*original)(struct toy *toy) = hooks[1].original;

	umbra_shadow_free(toy, BUDGET, NULL);
	original(toy);
}

static struct umbra_hook hooks[] = {
	{
		.symbol = "toy_reply",
		.replacement = fix_reply,
		.state = LIMIT,
		.policy = UMBRA_ALWAYS,
	}, {
		.symbol = "toy_remove",
		.replacement = fix_remove,
		.state = BUDGET,
		.shadow = BUDGET,
		.policy = UMBRA_HAS_SHADOW,
	},
};

static int limit_pre(struct umbra_patch *patch, struct umbra_state *state,
		     enum umbra_reason reason)
{
	void *old = umbra_shadow_alloc(NULL, LIMIT, sizeof(toy_limit), GFP_KERNEL,
				       NULL, NULL);

	return old ? 0 : -ENOMEM;
}

static void limit_post(struct umbra_patch *patch, struct umbra_state *state,
		       enum umbra_reason reason)
{
	unsigned int *old = umbra_shadow_get(NULL, LIMIT);

	*old = toy_limit;
	WRITE_ONCE(toy_limit, UINT_MAX);
}

static void limit_pre_un(struct umbra_patch *patch, struct umbra_state *state,
			 enum umbra_reason reason)
{
	unsigned int *old = umbra_shadow_get(NULL, LIMIT);

	/* Who set it meanwhile meant it. */
	if (toy_limit == UINT_MAX)
		WRITE_ONCE(toy_limit, *old);
}

/* Gates open in this order: the clean-up is there before the first budget. */
static struct umbra_state states[] = {
	{
		.id = BUDGET,
		.name = "reply budget",
		.is_shadow = true,
	}, {
		.id = LIMIT,
		.name = "reply limit",
		.is_shadow = true,
		.callbacks = {
			.pre_patch = limit_pre,
			.post_patch = limit_post,
			.pre_unpatch = limit_pre_un,
		},
	},
};

static struct umbra_patch patch = {
	.mod = THIS_MODULE,
	.states = states,
	.nr_states = ARRAY_SIZE(states),
	.hooks = hooks,
	.nr_hooks = ARRAY_SIZE(hooks),
};

static int __init fix_init(void)
{
	return umbra_enable_patch(&patch);
}

static void __exit fix_exit(void)
{
}

module_init(fix_init);
module_exit(fix_exit);
MODULE_DESCRIPTION("Umbra sample: a fix that changes a global");
MODULE_AUTHOR("The Umbra developers");
MODULE_LICENSE("GPL");
