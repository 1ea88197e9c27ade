// SPDX-License-Identifier: GPL-2.0
/*
 * A small patch that asks for memory in every way a patch can: two states, one
 * with shadows of its own, two hooks, names. Writing to its parameter "enabled"
 * enables and disables it, so that the guest's tests see each errno: they enable
 * it with each of its allocations failing in turn. (insmod tries a second time
 * by another system call when the first fails.)
 */
#include <linux/err.h>
#include <linux/module.h>

#include "patch.h"

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
	UMBRA_TEST_HOOK("security_inode_permission", unit_permission, UNIT_A),
	UMBRA_TEST_HOOK("security_inode_create", unit_create, UNIT_B),
};

static struct umbra_patch patch = UMBRA_TEST_PATCH(states, hooks);

static int unit_enabled_set(const char *val, const struct kernel_param *kp)
{
	return umbra_test_switch(&patch, val);
}

static const struct kernel_param_ops unit_enabled_ops = {
	.set = unit_enabled_set,
};
module_param_cb(enabled, &unit_enabled_ops, NULL, 0200);
MODULE_PARM_DESC(enabled, "write 1 to enable the patch, 0 to disable it");

static int __init unit_init(void)
{
	return 0;
}

static void __exit unit_exit(void)
{
}

module_init(unit_init);
module_exit(unit_exit);
MODULE_DESCRIPTION("Umbra: a small patch for tests");
MODULE_AUTHOR("The Umbra developers");
MODULE_LICENSE("GPL");
