// SPDX-License-Identifier: GPL-2.0
/*
 * Hooks umbra_tgt and attaches shadows to its object: of a state that names the
 * module as its target, of one that does not, and a stock one.
 */
#include <linux/atomic.h>
#include <linux/livepatch.h>
#include <linux/module.h>

#include <umbra.h>

#define TGT_STATE	41
#define TGT_OTHER	42

static atomic_t tgt_dtors = ATOMIC_INIT(0);
static void *tgt_object;

static int tgt_replacement(void *object)
{
	return 2;
}

static void tgt_dtor(void *obj, void *shadow)
{
	atomic_inc(&tgt_dtors);
}

static void tgt_callback(struct umbra_patch *patch, struct umbra_state *state,
			 enum umbra_reason reason)
{
}

#define TGT_CALLBACKS {							\
	.post_patch = tgt_callback, .pre_unpatch = tgt_callback,	\
	.post_unpatch = tgt_callback, .shadow_dtor = tgt_dtor,		\
}

static struct umbra_state states[] = {
	{
		.id = TGT_STATE, .name = "target's", .is_shadow = true,
		.callbacks = TGT_CALLBACKS, .target = "umbra_tgt",
	}, {
		.id = TGT_OTHER, .name = "nobody's", .is_shadow = true,
		.callbacks = TGT_CALLBACKS,
	},
};

static struct umbra_hook hooks[] = {
	{
		.symbol = "umbra_tgt_work",
		.replacement = tgt_replacement,
		.state = TGT_STATE,
		.shadow = TGT_STATE,
		.policy = UMBRA_HAS_SHADOW,
	}, {
		/* Of the kernel: stays. */
		.symbol = "security_inode_create",
		.replacement = tgt_replacement,
		.state = TGT_OTHER,
		.shadow = TGT_OTHER,
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

static int enabled_set(const char *val, const struct kernel_param *kp)
{
	bool enabled;
	int ret = kstrtobool(val, &enabled);

	if (ret)
		return ret;
	return enabled ? umbra_enable_patch(&patch) : umbra_disable_patch(&patch);
}

static int attach_set(const char *val, const struct kernel_param *kp)
{
	unsigned long addr;
	int ret = kstrtoul(val, 0, &addr);

	if (ret)
		return ret;
	tgt_object = (void *)addr;
	if (!umbra_shadow_get_or_alloc(tgt_object, TGT_STATE, 8, GFP_KERNEL, NULL, NULL) ||
	    !umbra_shadow_get_or_alloc(tgt_object, TGT_OTHER, 8, GFP_KERNEL, NULL, NULL) ||
	    !klp_shadow_get_or_alloc(tgt_object, TGT_STATE, 8, GFP_KERNEL, NULL, NULL))
		return -ENOMEM;
	return 0;
}

static int found_get(char *buf, const struct kernel_param *kp)
{
	return sysfs_emit(buf, "target %d other %d stock %d dtors %d\n",
			  !!umbra_shadow_get(tgt_object, TGT_STATE),
			  !!umbra_shadow_get(tgt_object, TGT_OTHER),
			  !!klp_shadow_get(tgt_object, TGT_STATE),
			  atomic_read(&tgt_dtors));
}

static const struct kernel_param_ops enabled_ops = {
	.set = enabled_set,
};
module_param_cb(enabled, &enabled_ops, NULL, 0200);
MODULE_PARM_DESC(enabled, "write 1 to enable the patch, 0 to disable it");

static const struct kernel_param_ops attach_ops = {
	.set = attach_set,
};
module_param_cb(attach, &attach_ops, NULL, 0200);
MODULE_PARM_DESC(attach, "attach shadows to the object at this address");

static const struct kernel_param_ops found_ops = {
	.get = found_get,
};
module_param_cb(found, &found_ops, NULL, 0400);
MODULE_PARM_DESC(found, "which shadows the object has, and how many were destructed");

static int __init tgt_patch_init(void)
{
	return 0;
}

static void __exit tgt_patch_exit(void)
{
	klp_shadow_free_all(TGT_STATE, NULL);
}

module_init(tgt_patch_init);
module_exit(tgt_patch_exit);
MODULE_DESCRIPTION("Umbra: a patch of a module, for tests");
MODULE_AUTHOR("The Umbra developers");
MODULE_LICENSE("GPL");
