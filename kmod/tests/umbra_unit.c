// SPDX-License-Identifier: GPL-2.0
/*
 * A small patch that asks for memory in every way a patch can: two states, one
 * with shadows of its own, two hooks, names. The guest's tests load it with
 * each of its allocations failing in turn.
 */
#include <linux/err.h>
#include <linux/module.h>

#include <umbra.h>

#define UNIT_A	901
#define UNIT_B	902

/* Objects that nothing else knows. */
static int objects[8];

static int unit_permission(struct inode *inode, int mask)
{
	return -EIO;
}

static int unit_create(struct inode *dir, struct dentry *dentry, umode_t mode)
{
	return -EIO;
}

static int unit_pre(struct umbra_patch *patch, struct umbra_state *state,
		    enum umbra_reason reason)
{
	size_t i;

	for (i = 0; i < ARRAY_SIZE(objects); i++)
		if (!umbra_shadow_get_or_alloc(&objects[i], state->id, 16,
					       GFP_KERNEL, NULL, NULL))
			return -ENOMEM;
	return 0;
}

static struct umbra_state states[] = {
	{
		.id = UNIT_A,
		.name = "unit a",
		.is_shadow = true,
		.callbacks.pre_patch = unit_pre,
	}, {
		.id = UNIT_B,
		.name = "unit b",
		.is_shadow = true,
		.callbacks.pre_patch = unit_pre,
	},
};

/* No inode has a shadow of these ids, so nothing is ever diverted. */
static struct umbra_hook hooks[] = {
	{
		.symbol = "security_inode_permission",
		.replacement = unit_permission,
		.state = UNIT_A,
		.shadow = UNIT_A,
		.policy = UMBRA_HAS_SHADOW,
	}, {
		.symbol = "security_inode_create",
		.replacement = unit_create,
		.state = UNIT_B,
		.shadow = UNIT_B,
		.policy = UMBRA_HAS_SHADOW,
	},
};

static struct umbra_patch patch = {
	.mod = THIS_MODULE,
	.states = states,
	.nr_states = ARRAY_SIZE(states),
	.hooks = hooks,
	.nr_hooks = ARRAY_SIZE(hooks),
};

static int __init unit_init(void)
{
	return umbra_enable_patch(&patch);
}

static void __exit unit_exit(void)
{
}

module_init(unit_init);
module_exit(unit_exit);
MODULE_DESCRIPTION("Umbra: a small patch for tests");
MODULE_AUTHOR("The Umbra developers");
MODULE_LICENSE("GPL");
