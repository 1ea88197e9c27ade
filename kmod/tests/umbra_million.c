// SPDX-License-Identifier: GPL-2.0
/*
 * A million shadows are freed while a hook asks for them. Two patches:
 *
 *	owner	has the state whose shadows they are; disabling it frees them (by
 *		/sys/kernel/umbra/disable)
 *	asker	hooks a function of ours for objects that have one; stays enabled
 *
 * A kernel thread calls the hooked function all the time, and now and then
 * attaches and frees a shadow of another id. What it saw is told by the parameter
 * "seen".
 */
#include <linux/atomic.h>
#include <linux/delay.h>
#include <linux/err.h>
#include <linux/kthread.h>
#include <linux/module.h>
#include <linux/sched.h>

#include <umbra.h>

#include "hooked.h"

#define MILLION_ID	610
#define ASKER_ID	611
#define OTHER_ID	612

static unsigned long nr_objects;
static atomic_long_t dtors = ATOMIC_LONG_INIT(0);

/* Addresses as slab objects have them; nobody follows them. */
static void *million_key(unsigned long i)
{
	return (void *)(0xffff888000000000UL + i * 192UL);
}

static UMBRA_HOOKED int million_target(void *obj)
{
	barrier_data(obj);
	return 0;
}

static int million_replacement(void *obj)
{
	return 1;
}

static unsigned int rest_ms;
module_param(rest_ms, uint, 0444);
MODULE_PARM_DESC(rest_ms, "how long every 62500th destructor sleeps, so that others see how far it is");

static void million_dtor(void *obj, void *shadow)
{
	if (!(atomic_long_inc_return(&dtors) % 62500) && rest_ms)
		msleep(rest_ms);
}

static struct umbra_state owner_state = {
	.id = MILLION_ID, .name = "million", .is_shadow = true,
	.callbacks.shadow_dtor = million_dtor,
};

static struct umbra_patch owner = {
	.mod = THIS_MODULE, .name = "owner",
	.states = &owner_state, .nr_states = 1,
};

static struct umbra_state asker_state = { .id = ASKER_ID, .name = "asker" };

static struct umbra_hook asker_hook = {
	.symbol = "million_target",
	.replacement = million_replacement,
	.state = ASKER_ID,
	.shadow = MILLION_ID,
	.policy = UMBRA_HAS_SHADOW,
};

static struct umbra_patch asker = {
	.mod = THIS_MODULE, .name = "asker",
	.states = &asker_state, .nr_states = 1,
	.hooks = &asker_hook, .nr_hooks = 1,
};

static struct task_struct *caller;
static unsigned long calls, diverted;

static int million_call(void *unused)
{
	unsigned long i = 1;

	while (!kthread_should_stop()) {
		/* A full cycle through all objects, for an odd step. */
		i = i * 5 + 1;
		if (million_target(million_key(i % nr_objects)))
			WRITE_ONCE(diverted, diverted + 1);
		WRITE_ONCE(calls, calls + 1);
		if (!(i % 64)) {
			umbra_shadow_get_or_alloc(million_key(i), OTHER_ID, 8,
						  GFP_KERNEL, NULL, NULL);
			umbra_shadow_free(million_key(i), OTHER_ID, NULL);
		}
		cond_resched();
	}
	return 0;
}

static int million_fill(unsigned long n)
{
	struct umbra_type *type = umbra_type_get(MILLION_ID);
	unsigned long i;
	void *data = NULL;

	if (IS_ERR(type))
		return PTR_ERR(type);
	for (i = 0; i < n && !IS_ERR(data); i++) {
		data = umbra_alloc(type, million_key(i), 8, GFP_KERNEL, NULL, NULL);
		if (!(i % 1024))
			cond_resched();
	}
	umbra_type_put(type);
	nr_objects = n;
	return PTR_ERR_OR_ZERO(data);
}

static int fill_set(const char *val, const struct kernel_param *kp)
{
	unsigned long n;
	int ret = kstrtoul(val, 0, &n);

	if (!ret && (!n || caller))
		ret = -EINVAL;
	if (!ret)
		ret = umbra_enable_patch(&owner);
	if (!ret)
		ret = umbra_enable_patch(&asker);
	if (!ret)
		ret = million_fill(n);
	if (ret)
		return ret;
	caller = kthread_run(million_call, NULL, "umbra_million");
	if (!IS_ERR(caller))
		return 0;
	ret = PTR_ERR(caller);
	caller = NULL;
	return ret;
}

static const struct kernel_param_ops fill_ops = {
	.set = fill_set,
};
module_param_cb(fill, &fill_ops, NULL, 0200);
MODULE_PARM_DESC(fill, "enable both patches, attach so many shadows, begin to call");

static int stop_set(const char *val, const struct kernel_param *kp)
{
	if (!caller)
		return -EINVAL;
	kthread_stop(caller);
	caller = NULL;
	return umbra_disable_patch(&asker);
}

static const struct kernel_param_ops stop_ops = {
	.set = stop_set,
};
module_param_cb(stop, &stop_ops, NULL, 0200);
MODULE_PARM_DESC(stop, "write to stop calling, and disable the hook");

static int seen_get(char *buf, const struct kernel_param *kp)
{
	return sysfs_emit(buf, "%lu %lu %ld\n", READ_ONCE(calls),
			  READ_ONCE(diverted), atomic_long_read(&dtors));
}

static const struct kernel_param_ops seen_ops = {
	.get = seen_get,
};
module_param_cb(seen, &seen_ops, NULL, 0400);
MODULE_PARM_DESC(seen, "calls, those diverted, destructors run");

static int __init million_init(void)
{
	return 0;
}

static void __exit million_exit(void)
{
}

module_init(million_init);
module_exit(million_exit);
MODULE_DESCRIPTION("Umbra: a million shadows freed under a running hook, for tests");
MODULE_AUTHOR("The Umbra developers");
MODULE_LICENSE("GPL");
