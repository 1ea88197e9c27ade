// SPDX-License-Identifier: GPL-2.0
/*
 * A module that livepatches change. While "busy" is set a task sleeps in the
 * function that they change, so that a transition stalls. While "taken" is set
 * another tracer has that function, so that it cannot be patched.
 */
#include <linux/err.h>
#include <linux/ftrace.h>
#include <linux/kthread.h>
#include <linux/module.h>
#include <linux/sched.h>

static struct task_struct *lp_task;
static bool lp_busy;
static bool inside;
module_param(inside, bool, 0400);
MODULE_PARM_DESC(inside, "the task is in umbra_lp_wait()");

/* Known by its name, so neither inlined nor cloned. */
static noinline __noclone void umbra_lp_wait(void)
{
	WRITE_ONCE(inside, READ_ONCE(lp_busy));
	while (READ_ONCE(lp_busy))
		schedule_timeout_idle(1);
	WRITE_ONCE(inside, false);
}

static int lp_thread(void *unused)
{
	while (!kthread_should_stop()) {
		umbra_lp_wait();
		schedule_timeout_idle(1);
	}
	return 0;
}

static int busy_set(const char *val, const struct kernel_param *kp)
{
	struct task_struct *task;
	bool busy;
	int ret = kstrtobool(val, &busy);

	if (ret)
		return ret;
	if (busy && !lp_task) {
		WRITE_ONCE(lp_busy, true);
		task = kthread_run(lp_thread, NULL, "umbra_lp_busy");
		if (IS_ERR(task))
			return PTR_ERR(task);
		lp_task = task;
	} else if (!busy && lp_task) {
		WRITE_ONCE(lp_busy, false);
		kthread_stop(lp_task);
		lp_task = NULL;
	}
	return 0;
}

static const struct kernel_param_ops busy_ops = {
	.set = busy_set,
};
module_param_cb(busy, &busy_ops, NULL, 0200);
MODULE_PARM_DESC(busy, "keep a task in umbra_lp_wait()");

static void notrace lp_tracer(unsigned long ip, unsigned long parent_ip,
			      struct ftrace_ops *ops, struct ftrace_regs *fregs)
{
}

static struct ftrace_ops lp_ops = {
	.func = lp_tracer,
	.flags = FTRACE_OPS_FL_IPMODIFY,
};

static bool lp_taken;

static int taken_set(const char *val, const struct kernel_param *kp)
{
	bool taken;
	int ret = kstrtobool(val, &taken);

	if (ret || taken == lp_taken)
		return ret;
	if (taken) {
		ret = ftrace_set_filter(&lp_ops, "umbra_lp_wait",
					strlen("umbra_lp_wait"), 1);
		if (!ret)
			ret = register_ftrace_function(&lp_ops);
	} else {
		ret = unregister_ftrace_function(&lp_ops);
	}
	if (!ret)
		lp_taken = taken;
	return ret;
}

static const struct kernel_param_ops taken_ops = {
	.set = taken_set,
};
module_param_cb(taken, &taken_ops, NULL, 0200);
MODULE_PARM_DESC(taken, "let another tracer have umbra_lp_wait()");

static int __init lp_target_init(void)
{
	return 0;
}

static void __exit lp_target_exit(void)
{
	busy_set("0", NULL);
	taken_set("0", NULL);
}

module_init(lp_target_init);
module_exit(lp_target_exit);
MODULE_DESCRIPTION("Umbra: what the livepatches of the tests change");
MODULE_AUTHOR("The Umbra developers");
MODULE_LICENSE("GPL");
