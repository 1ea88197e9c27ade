// SPDX-License-Identifier: GPL-2.0
/*
 * Demo, fourth patch: states 1 and 3.
 *
 * As the second, without the counting, and every other directory is frozen:
 * files in it can be used, but none can be made or removed.
 */
#include "umbra_demo.h"

static struct umbra_hook hooks[];

static int demo_permission(struct inode *inode, int mask)
{
	if (demo_is_stale(inode, DEMO_QUARANTINE))
		return demo_original_permission(&hooks[0], inode, mask);
	return -EPERM;
}

static int demo_create(struct inode *dir, struct dentry *dentry, umode_t mode)
{
	int (*original)(struct inode *dir, struct dentry *dentry, umode_t mode);
	int cookie, ret;

	if (!demo_is_stale(dir, DEMO_FROZEN))
		return -EPERM;
	original = hooks[2].original;
	cookie = umbra_replacement_begin();
	ret = original(dir, dentry, mode);
	umbra_replacement_end(cookie);
	return ret;
}

static int demo_unlink(struct inode *dir, struct dentry *dentry)
{
	int (*original)(struct inode *dir, struct dentry *dentry);
	int cookie, ret;

	if (!demo_is_stale(dir, DEMO_FROZEN))
		return -EPERM;
	original = hooks[3].original;
	cookie = umbra_replacement_begin();
	ret = original(dir, dentry);
	umbra_replacement_end(cookie);
	return ret;
}

static void demo_inode_free(struct inode *inode);

static struct umbra_hook hooks[] = {
	{
		.symbol = "security_inode_permission",
		.replacement = demo_permission,
		.state = DEMO_QUARANTINE,
		.shadow = DEMO_QUARANTINE,
		.policy = UMBRA_HAS_SHADOW,
	}, {
		/* Files and directories have different shadows, so ask for none. */
		.symbol = "security_inode_free",
		.replacement = demo_inode_free,
		.state = DEMO_QUARANTINE,
		.policy = UMBRA_ALWAYS,
	}, {
		.symbol = "security_inode_create",
		.replacement = demo_create,
		.state = DEMO_FROZEN,
		.shadow = DEMO_FROZEN,
		.policy = UMBRA_HAS_SHADOW,
	}, {
		.symbol = "security_inode_unlink",
		.replacement = demo_unlink,
		.state = DEMO_FROZEN,
		.shadow = DEMO_FROZEN,
		.policy = UMBRA_HAS_SHADOW,
	},
};

static void demo_inode_free(struct inode *inode)
{
	void (*original)(struct inode *inode) = hooks[1].original;
	int cookie = umbra_replacement_begin();

	umbra_shadow_free(inode, DEMO_QUARANTINE, NULL);
	umbra_shadow_free(inode, DEMO_FROZEN, NULL);
	original(inode);
	umbra_replacement_end(cookie);
}

static int demo_freeze_directories(struct umbra_patch *patch,
				   struct umbra_state *state,
				   enum umbra_reason reason)
{
	return demo_attach(DEMO_FROZEN, demo_is_frozen);
}

static struct umbra_state states[] = {
	DEMO_QUARANTINE_STATE,
	{
		.id = DEMO_FROZEN,
		.name = "frozen",
		.is_shadow = true,
		.callbacks = {
			.pre_patch = demo_freeze_directories,
			.post_patch = demo_seen,
			.pre_unpatch = demo_seen,
			.post_unpatch = demo_seen,
		},
	},
};

static struct umbra_patch patch = {
	.mod = THIS_MODULE,
	.states = states,
	.nr_states = ARRAY_SIZE(states),
	.hooks = hooks,
	.nr_hooks = ARRAY_SIZE(hooks),
	.replace = true,
};

static int __init demo_init(void)
{
	return umbra_enable_patch(&patch);
}

/* While the patch is enabled it holds this module, so there is nothing to do. */
static void __exit demo_exit(void)
{
}

module_init(demo_init);
module_exit(demo_exit);
MODULE_DESCRIPTION("Umbra demo: quarantine and frozen directories");
MODULE_AUTHOR("The Umbra developers");
MODULE_LICENSE("GPL");
