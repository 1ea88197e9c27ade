// SPDX-License-Identifier: GPL-2.0
/*
 * Sample: other code for some objects, the old code for all others.
 *
 * Writing a device's number to the parameter "lock" attaches a shadow to it. From
 * then on opening this device runs the replacement; a call with any other device
 * never leaves the original. Nothing is switched for it: the shadow is the switch.
 * The replacement is handed the shadow that it was chosen by, a counter, and needs
 * no lookup of its own; reading "lock" shows the counters.
 */
#include <linux/atomic.h>
#include <linux/err.h>
#include <linux/module.h>

#include <umbra.h>

#include "umbra_toy.h"

#define LOCKED	25

static struct umbra_hook hooks[];

/* toy_open() has one argument; the second is the shadow. */
static int locked_open(struct toy *toy, atomic_t *refused)
{
	atomic_inc(refused);
	return -EPERM;
}

static void locked_remove(struct toy *toy)
{
	void (*original)(struct toy *toy) = hooks[1].original;

	umbra_shadow_free(toy, LOCKED, NULL);
	original(toy);
}

static struct umbra_hook hooks[] = {
	{
		.symbol = "toy_open",
		.replacement = locked_open,
		.state = LOCKED,
		.shadow = LOCKED,
		.policy = UMBRA_HAS_SHADOW,
		.shadow_argument = 1,
	}, {
		.symbol = "toy_remove",
		.replacement = locked_remove,
		.state = LOCKED,
		.shadow = LOCKED,
		.policy = UMBRA_HAS_SHADOW,
	},
};

/* Under toy_lock: shadows are attached only while the clean-up hook is open. */
static bool enabled;

static int lock_set(const char *val, const struct kernel_param *kp)
{
	unsigned int nr;
	struct toy *toy;
	int ret = kstrtouint(val, 0, &nr);

	if (ret)
		return ret;
	ret = -ENODEV;
	mutex_lock(&toy_lock);
	list_for_each_entry(toy, &toys, node)
		if (enabled && toy->nr == nr)
			ret = umbra_shadow_get_or_alloc(toy, LOCKED, sizeof(atomic_t),
							GFP_KERNEL, NULL, NULL) ?
			      0 : -ENOMEM;
	mutex_unlock(&toy_lock);
	return ret;
}

static int lock_get(char *buf, const struct kernel_param *kp)
{
	struct toy *toy;
	int len = 0;

	mutex_lock(&toy_lock);
	list_for_each_entry(toy, &toys, node) {
		/* Freed by toy_remove() only, which toy_lock keeps out. */
		atomic_t *refused = umbra_shadow_get(toy, LOCKED);

		if (refused)
			len += sysfs_emit_at(buf, len, "%u:%d\n", toy->nr,
					     atomic_read(refused));
	}
	mutex_unlock(&toy_lock);
	return len;
}

static const struct kernel_param_ops lock_ops = { .set = lock_set, .get = lock_get };
module_param_cb(lock, &lock_ops, NULL, 0600);
MODULE_PARM_DESC(lock, "number of a device that nobody may open any more; who tried, number:times");

static void locked_pre_un(struct umbra_patch *patch, struct umbra_state *state,
			  enum umbra_reason reason)
{
	mutex_lock(&toy_lock);
	enabled = false;
	mutex_unlock(&toy_lock);
}

static struct umbra_state states[] = {
	{
		.id = LOCKED,
		.name = "locked",
		.is_shadow = true,
		.callbacks.pre_unpatch = locked_pre_un,
	},
};

static struct umbra_patch patch = {
	.mod = THIS_MODULE,
	.states = states,
	.nr_states = ARRAY_SIZE(states),
	.hooks = hooks,
	.nr_hooks = ARRAY_SIZE(hooks),
};

static int __init locked_init(void)
{
	int ret = umbra_enable_patch(&patch);

	/* Not in post_patch: the hooks open when that has returned. */
	mutex_lock(&toy_lock);
	enabled = !ret;
	mutex_unlock(&toy_lock);
	return ret;
}

static void __exit locked_exit(void)
{
}

module_init(locked_init);
module_exit(locked_exit);
MODULE_DESCRIPTION("Umbra sample: other code for some objects");
MODULE_AUTHOR("The Umbra developers");
MODULE_LICENSE("GPL");
