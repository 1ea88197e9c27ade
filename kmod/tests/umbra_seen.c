// SPDX-License-Identifier: GPL-2.0
/*
 * Does what the tests of the module's visible side look for: each operation that
 * is traced, shadows that nobody frees, and time that passes.
 */
#include <linux/completion.h>
#include <linux/delay.h>
#include <linux/err.h>
#include <linux/hrtimer.h>
#include <linux/irqflags.h>
#include <linux/kprobes.h>
#include <linux/kstrtox.h>
#include <linux/module.h>
#include <linux/timekeeping.h>

#include <umbra.h>

#include "../src/compat.h"

#define SEEN_ID		601
#define SEEN_LEAK_ID	602
#define SEEN_MANY	100

/* Objects that nothing else knows. */
static int objects[4];

static int seen_refuses(void *obj, void *shadow, void *data)
{
	return -EILSEQ;
}

/* By handle and by id: attach, find it there, fail, detach, find none. */
static noinline int seen_operations(void)
{
	struct umbra_type *type = umbra_type_get(SEEN_ID);
	unsigned long i;

	if (IS_ERR(type))
		return PTR_ERR(type);
	/* Enough for the table to grow. */
	for (i = 1; i <= SEEN_MANY; i++)
		umbra_alloc(type, (void *)i, 8, GFP_KERNEL, NULL, NULL);
	umbra_free_all(type, NULL);
	umbra_alloc(type, &objects[0], 8, GFP_KERNEL, NULL, NULL);
	umbra_get_or_alloc(type, &objects[0], 8, GFP_KERNEL, NULL, NULL);
	umbra_get_or_alloc(type, &objects[1], 8, GFP_KERNEL, NULL, NULL);
	umbra_alloc(type, &objects[2], 8, GFP_KERNEL, seen_refuses, NULL);
	umbra_shadow_alloc(&objects[2], SEEN_ID, 8, GFP_KERNEL, NULL, NULL);
	umbra_shadow_get_or_alloc(&objects[3], SEEN_ID, 8, GFP_KERNEL, NULL, NULL);
	umbra_free(type, &objects[0], NULL);
	umbra_free(type, &objects[0], NULL);
	umbra_shadow_free(&objects[1], SEEN_ID, NULL);
	umbra_shadow_free(&objects[1], SEEN_ID, NULL);
	umbra_free_all(type, NULL);
	umbra_type_put(type);
	return 0;
}

static int run_set(const char *val, const struct kernel_param *kp)
{
	return seen_operations();
}

static const struct kernel_param_ops run_ops = {
	.set = run_set,
};
module_param_cb(run, &run_ops, NULL, 0200);
MODULE_PARM_DESC(run, "write to do each operation");

static noinline int seen_leaks(void *obj)
{
	return umbra_shadow_alloc(obj, SEEN_LEAK_ID, 8, GFP_KERNEL, NULL, NULL) ?
	       0 : -ENOMEM;
}

static int leak_set(const char *val, const struct kernel_param *kp)
{
	unsigned int i;
	int ret = kstrtouint(val, 0, &i);

	if (!ret && i >= ARRAY_SIZE(objects))
		ret = -ERANGE;
	if (ret)
		return ret;
	/* As the audit will name it. */
	pr_info("umbra_seen: object %u is %p\n", i, &objects[i]);
	return seen_leaks(&objects[i]);
}

static const struct kernel_param_ops leak_ops = {
	.set = leak_set,
};
module_param_cb(leak, &leak_ops, NULL, 0200);
MODULE_PARM_DESC(leak, "leave a shadow on the object of this number");

/* Both would wait for themselves. */
static int seen_waits_in_ctor(void *obj, void *shadow, void *data)
{
	umbra_barrier();
	return 0;
}

static void seen_waits_in_dtor(void *obj, void *shadow)
{
	umbra_barrier();
}

static int wait_set(const char *val, const struct kernel_param *kp)
{
	struct umbra_type *type = umbra_type_get(SEEN_ID);
	void *data;

	if (IS_ERR(type))
		return PTR_ERR(type);
	data = umbra_alloc(type, &objects[0], 8, GFP_KERNEL, seen_waits_in_ctor, NULL);
	umbra_free(type, &objects[0], seen_waits_in_dtor);
	umbra_barrier();
	umbra_type_put(type);
	return PTR_ERR_OR_ZERO(data);
}

static const struct kernel_param_ops wait_ops = {
	.set = wait_set,
};
module_param_cb(wait, &wait_ops, NULL, 0200);
MODULE_PARM_DESC(wait, "have a constructor and a destructor wait for reclamation");

static unsigned long exit_frees;
module_param(exit_frees, ulong, 0444);
MODULE_PARM_DESC(exit_frees, "free all shadows of this id when unloading, whoever has them");

/* Frees where nobody may take a mutex, not even try to. */
static unsigned long freed_id;
static DECLARE_COMPLETION(freed);

static enum hrtimer_restart seen_frees(struct hrtimer *timer)
{
	umbra_shadow_free_all(freed_id, NULL);
	complete(&freed);
	return HRTIMER_NORESTART;
}

static int irq_frees_set(const char *val, const struct kernel_param *kp)
{
	struct hrtimer timer;
	int ret = kstrtoul(val, 0, &freed_id);

	if (ret)
		return ret;
	umbra_hrtimer_on_stack(&timer, seen_frees, CLOCK_MONOTONIC,
			       HRTIMER_MODE_REL_HARD);
	hrtimer_start(&timer, ns_to_ktime(NSEC_PER_MSEC), HRTIMER_MODE_REL_HARD);
	wait_for_completion(&freed);
	hrtimer_cancel(&timer);
	destroy_hrtimer_on_stack(&timer);
	return 0;
}

static const struct kernel_param_ops irq_frees_ops = {
	.set = irq_frees_set,
};
module_param_cb(irq_frees, &irq_frees_ops, NULL, 0200);
MODULE_PARM_DESC(irq_frees, "free all shadows of this id in an interrupt, whoever has them");

static int irqs_off_frees_set(const char *val, const struct kernel_param *kp)
{
	unsigned long flags, id;
	int ret = kstrtoul(val, 0, &id);

	if (ret)
		return ret;
	local_irq_save(flags);
	umbra_shadow_free_all(id, NULL);
	local_irq_restore(flags);
	return 0;
}

static const struct kernel_param_ops irqs_off_frees_ops = {
	.set = irqs_off_frees_set,
};
module_param_cb(irqs_off_frees, &irqs_off_frees_ops, NULL, 0200);
MODULE_PARM_DESC(irqs_off_frees, "free all shadows of this id with interrupts off, whoever has them");

/* ---- time that passes: who asks how long the machine is up is told more ---- */

static unsigned int days;
module_param(days, uint, 0600);
MODULE_PARM_DESC(days, "the machine was started so many days earlier, as far as anybody can tell");

/* Of a call, until it returns: whether it asks for the time since boot. */
static int uptime_asked(struct kretprobe_instance *instance, struct pt_regs *regs)
{
	*(bool *)instance->data = regs_get_kernel_argument(regs, 0) == TK_OFFS_BOOT;
	return 0;
}

static int uptime_told(struct kretprobe_instance *instance, struct pt_regs *regs)
{
	u64 more = (u64)READ_ONCE(days) * 24 * 3600 * NSEC_PER_SEC;

	if (*(bool *)instance->data)
		regs_set_return_value(regs, regs_return_value(regs) + more);
	return 0;
}

static struct kretprobe uptime = {
	.kp.symbol_name = "ktime_get_with_offset",
	.entry_handler = uptime_asked,
	.handler = uptime_told,
	.data_size = sizeof(bool),
};

static int __init seen_init(void)
{
	return register_kretprobe(&uptime);
}

static void __exit seen_exit(void)
{
	unregister_kretprobe(&uptime);
	if (exit_frees)
		umbra_shadow_free_all(exit_frees, NULL);
}

module_init(seen_init);
module_exit(seen_exit);
MODULE_DESCRIPTION("Umbra: what can be seen, for tests");
MODULE_AUTHOR("The Umbra developers");
MODULE_LICENSE("GPL");
