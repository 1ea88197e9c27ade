// SPDX-License-Identifier: GPL-2.0
/*
 * Hooks umbra_tgt and attaches shadows to its object: of a state that names the
 * module as its target, of one that does not, and a stock one.
 */
#include <linux/atomic.h>
#include <linux/delay.h>
#include <linux/kprobes.h>
#include <linux/livepatch.h>
#include <linux/module.h>
#include <linux/sched.h>

#include "../patch.h"

#define TGT_STATE	41
#define TGT_OTHER	42
#define TGT_HOLDING	43

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
	UMBRA_TEST_HOOK("umbra_tgt_work", tgt_replacement, TGT_STATE),
	/* Of the kernel: stays. */
	UMBRA_TEST_HOOK("security_inode_create", tgt_replacement, TGT_OTHER),
};

static struct umbra_patch patch = UMBRA_TEST_PATCH(states, hooks);

static int enabled_set(const char *val, const struct kernel_param *kp)
{
	return umbra_test_switch(&patch, val);
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

/*
 * Never enabled: the second function does not exist. Before that is found out,
 * the first one has been looked for. Its state names no target, so the target
 * does not wait for it when it goes.
 */
static struct umbra_hook looking_hooks[] = {
	{
		.symbol = "umbra_tgt_work",
		.replacement = tgt_replacement,
		.state = TGT_OTHER,
	}, {
		.symbol = "umbra_tgt_no_such_function",
		.replacement = tgt_replacement,
		.state = TGT_OTHER,
	},
};

static struct umbra_patch looking = {
	.mod = THIS_MODULE,
	.name = "looking",
	.states = &states[1],
	.nr_states = 1,
	.hooks = looking_hooks,
	.nr_hooks = ARRAY_SIZE(looking_hooks),
};

static struct task_struct *tgt_looker;
static unsigned int tgt_slow_ms;
static int tgt_absent, tgt_untraceable, tgt_other;

/* A look sleeps after it found the name and before it asks ftrace about it. */
static void tgt_unregister_slowly(struct kprobe *probe)
{
	msleep(tgt_slow_ms);
	unregister_kprobe(probe);
}

static int tgt_slow_pre(struct kprobe *probe, struct pt_regs *regs)
{
	if (current != tgt_looker)
		return 0;
	tgt_looker = NULL;
	instruction_pointer_set(regs, (unsigned long)tgt_unregister_slowly);
	return 1;
}

static int look_set(const char *val, const struct kernel_param *kp)
{
	struct kprobe slow = {
		.symbol_name = "unregister_kprobe",
		.pre_handler = tgt_slow_pre,
	};
	int ret = kstrtouint(val, 0, &tgt_slow_ms);

	if (!ret)
		ret = register_kprobe(&slow);
	if (ret)
		return ret;
	tgt_looker = current;
	switch (umbra_enable_patch(&looking)) {
	case -ENOENT:
		tgt_absent++;
		break;
	case -EOPNOTSUPP:
		tgt_untraceable++;
		break;
	default:
		tgt_other++;
	}
	tgt_looker = NULL;
	unregister_kprobe(&slow);
	return 0;
}

static int looked_get(char *buf, const struct kernel_param *kp)
{
	return sysfs_emit(buf, "absent %d untraceable %d other %d\n",
			  tgt_absent, tgt_untraceable, tgt_other);
}

static struct umbra_hook notrace_hook = {
	.symbol = "umbra_tgt_untraceable",
	.replacement = tgt_replacement,
	.state = TGT_STATE,
};

static struct umbra_patch notrace_patch = {
	.mod = THIS_MODULE,
	.name = "notrace",
	.states = states,
	.nr_states = 1,
	.hooks = &notrace_hook,
	.nr_hooks = 1,
};

static int untraceable_set(const char *val, const struct kernel_param *kp)
{
	return umbra_enable_patch(&notrace_patch);
}

/* Keeps the control lock for a while; never enabled. */
static unsigned int tgt_hold_ms;

static int tgt_hold_pre(struct umbra_patch *patch, struct umbra_state *state,
			enum umbra_reason reason)
{
	msleep(tgt_hold_ms);
	return -ECANCELED;
}

static struct umbra_state holding_state = {
	.id = TGT_HOLDING, .name = "holding",
	.callbacks.pre_patch = tgt_hold_pre,
};

static struct umbra_patch holding = {
	.mod = THIS_MODULE,
	.name = "holding",
	.states = &holding_state,
	.nr_states = 1,
};

static int hold_set(const char *val, const struct kernel_param *kp)
{
	int ret = kstrtouint(val, 0, &tgt_hold_ms);

	if (!ret)
		ret = umbra_enable_patch(&holding);
	return ret == -ECANCELED ? 0 : ret;
}

static const struct kernel_param_ops hold_ops = {
	.set = hold_set,
};
module_param_cb(hold, &hold_ops, NULL, 0200);
MODULE_PARM_DESC(hold, "keep the control lock for so many milliseconds");

static const struct kernel_param_ops look_ops = {
	.set = look_set,
};
module_param_cb(look, &look_ops, NULL, 0200);
MODULE_PARM_DESC(look, "look for the target's function, milliseconds slower");

static const struct kernel_param_ops looked_ops = {
	.get = looked_get,
};
module_param_cb(looked, &looked_ops, NULL, 0400);
MODULE_PARM_DESC(looked, "what that found, added up");

static const struct kernel_param_ops untraceable_ops = {
	.set = untraceable_set,
};
module_param_cb(untraceable, &untraceable_ops, NULL, 0200);
MODULE_PARM_DESC(untraceable, "hook a function of the target that is notrace");

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
