// SPDX-License-Identifier: GPL-2.0
/*
 * Demo, first patch: state 1, quarantine.
 *
 * Every fourth file is quarantined: opening it fails with "Permission denied",
 * for root too. All other files, on whatever file system, run the original
 * code. When an inode goes, its shadow goes with it.
 */
#include "umbra_demo.h"

/* The second patch is made of this source too, with another answer. */
#ifndef DEMO_ANSWER
#define DEMO_ANSWER	-EACCES
#define DEMO_DIFFERENCE	""
#endif

static struct umbra_hook hooks[];

static int demo_permission(struct inode *inode, int mask)
{
	if (demo_is_stale(inode, DEMO_QUARANTINE))
		return demo_original_permission(&hooks[0], inode, mask);
	return DEMO_ANSWER;
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
		.symbol = "security_inode_free",
		.replacement = demo_inode_free,
		.state = DEMO_QUARANTINE,
		.shadow = DEMO_QUARANTINE,
		.policy = UMBRA_HAS_SHADOW,
	},
};

static void demo_inode_free(struct inode *inode)
{
	void (*original)(struct inode *inode) = hooks[1].original;
	int cookie = umbra_replacement_begin();

	umbra_shadow_free(inode, DEMO_QUARANTINE, NULL);
	original(inode);
	umbra_replacement_end(cookie);
}

static struct umbra_state states[] = {
	DEMO_QUARANTINE_STATE,
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
MODULE_DESCRIPTION("Umbra demo: quarantine" DEMO_DIFFERENCE);
MODULE_AUTHOR("The Umbra developers");
MODULE_LICENSE("GPL");
