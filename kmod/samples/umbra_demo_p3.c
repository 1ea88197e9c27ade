// SPDX-License-Identifier: GPL-2.0
/*
 * Demo, third patch: states 1 and 2.
 *
 * As the second, and it counts how often each quarantined file was asked for,
 * in a second shadow that is attached when it first is. The sum can be read from
 * /sys/module/umbra_demo_p3/parameters/denials.
 */
#include "umbra_demo.h"

static struct umbra_hook hooks[];

static int demo_permission(struct inode *inode, int mask)
{
	struct demo_denials *denials;
	int cookie;

	if (demo_is_stale(inode, DEMO_QUARANTINE))
		return demo_original_permission(&hooks[0], inode, mask);
	/* A path walk without references: ask to come again with one. */
	if (mask & MAY_NOT_BLOCK)
		return -ECHILD;
	cookie = umbra_replacement_begin();
	denials = umbra_shadow_get_or_alloc(inode, DEMO_DENIALS, sizeof(*denials),
					    GFP_KERNEL, NULL, NULL);
	/* Without memory this denial is not counted, but denied it is. */
	if (denials)
		atomic_long_inc(&denials->count);
	umbra_replacement_end(cookie);
	return -EPERM;
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
	umbra_shadow_free(inode, DEMO_DENIALS, NULL);
	original(inode);
	umbra_replacement_end(cookie);
}

/* The shadows are made when files are asked for. */
static int demo_denials_pre(struct umbra_patch *patch, struct umbra_state *state,
			    enum umbra_reason reason)
{
	return 0;
}

static void demo_sum(void *obj, void *shadow, void *arg)
{
	struct demo_denials *denials = shadow;

	*(unsigned long *)arg += atomic_long_read(&denials->count);
}

static int demo_denials_get(char *buffer, const struct kernel_param *kp)
{
	struct umbra_type *type = umbra_type_get(DEMO_DENIALS);
	unsigned long sum = 0;

	if (IS_ERR(type))
		return PTR_ERR(type);
	umbra_for_each(type, demo_sum, &sum);
	umbra_type_put(type);
	return sysfs_emit(buffer, "%lu\n", sum);
}

static const struct kernel_param_ops demo_denials_ops = {
	.get = demo_denials_get,
};
module_param_cb(denials, &demo_denials_ops, NULL, 0444);
MODULE_PARM_DESC(denials, "how often a quarantined file was asked for");

static struct umbra_state states[] = {
	DEMO_QUARANTINE_STATE,
	{
		.id = DEMO_DENIALS,
		.name = "denials",
		.is_shadow = true,
		.callbacks = {
			.pre_patch = demo_denials_pre,
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
MODULE_DESCRIPTION("Umbra demo: quarantine and counted denials");
MODULE_AUTHOR("The Umbra developers");
MODULE_LICENSE("GPL");
