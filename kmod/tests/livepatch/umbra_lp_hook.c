// SPDX-License-Identifier: GPL-2.0
/*
 * The same function as the livepatches change, hooked by us, counted by another
 * tracer, and taken by another direct call: each when it is told to.
 */
#include <linux/atomic.h>
#include <linux/ftrace.h>
#include <linux/kprobes.h>
#include <linux/module.h>
#include <linux/seq_file.h>
#include <linux/string.h>

#include "../../src/compat.h"
#include "../patch.h"

#define HOOKED	"cmdline_proc_show"

static struct umbra_hook hooks[];

static int hook_cmdline(struct seq_file *m, void *v)
{
	int (*original)(struct seq_file *m, void *v) = hooks[0].original;

	seq_puts(m, "hook+");
	return original(m, v);
}

static struct umbra_state states[] = {
	{ .id = 61, .name = "hook" },
};

static struct umbra_hook hooks[] = {
	{
		.symbol = HOOKED,
		.replacement = hook_cmdline,
		.state = 61,
		.shadow = 61,
	},
};

static struct umbra_patch patch = UMBRA_TEST_PATCH(states, hooks);

static int hook_set(const char *val, const struct kernel_param *kp)
{
	return umbra_test_switch(&patch, val);
}

/* 0: all calls; 1: those of objects with a shadow, which none has. */
static int policy_set(const char *val, const struct kernel_param *kp)
{
	return kstrtouint(val, 0, (unsigned int *)&hooks[0].policy);
}

/* 2: the replacement is handed the shadow, which it does not look at. */
static int pass_set(const char *val, const struct kernel_param *kp)
{
	return kstrtouint(val, 0, &hooks[0].shadow_argument);
}

static atomic_t traced = ATOMIC_INIT(0);

static void notrace count_call(unsigned long ip, unsigned long parent_ip,
			       struct ftrace_ops *ops, struct ftrace_regs *fregs)
{
	atomic_inc(&traced);
}

static struct ftrace_ops tracer_ops = {
	.func = count_call,
};

static int tracer_set(const char *val, const struct kernel_param *kp)
{
	bool on;
	int ret = kstrtobool(val, &on);

	if (ret)
		return ret;
	if (!on)
		return unregister_ftrace_function(&tracer_ops);
	ret = ftrace_set_filter(&tracer_ops, HOOKED, strlen(HOOKED), 1);
	return ret ?: register_ftrace_function(&tracer_ops);
}

static int tracer_get(char *buf, const struct kernel_param *kp)
{
	return sysfs_emit(buf, "%d\n", atomic_xchg(&traced, 0));
}

/* Another's direct call, which goes back into the function at once. */
extern void another_trampoline(void);
asm(".pushsection .text, \"ax\", @progbits\n\t"
	".type another_trampoline, @function\n\t"
	".globl another_trampoline\n"
	"another_trampoline:\n\t"
	ASM_ENDBR
	ASM_RET
	".size another_trampoline, .-another_trampoline\n\t"
	".popsection\n");

static struct ftrace_ops direct_ops;

static int direct_set(const char *val, const struct kernel_param *kp)
{
	struct kprobe probe = { .symbol_name = HOOKED, .flags = KPROBE_FLAG_DISABLED };
	bool on;
	int ret = kstrtobool(val, &on);

	if (ret)
		return ret;
	if (!on) {
		ret = umbra_unregister_direct(&direct_ops, (unsigned long)another_trampoline);
		ftrace_free_filter(&direct_ops);
		return ret;
	}
	memset(&direct_ops, 0, sizeof(direct_ops));
	ret = register_kprobe(&probe);
	if (ret)
		return ret;
	ret = ftrace_set_filter_ip(&direct_ops, (unsigned long)probe.addr, 0, 0);
	unregister_kprobe(&probe);
	if (!ret)
		ret = umbra_register_direct(&direct_ops, (unsigned long)another_trampoline);
	if (ret)
		ftrace_free_filter(&direct_ops);
	return ret;
}

static const struct kernel_param_ops hook_param = {
	.set = hook_set,
};
module_param_cb(hook, &hook_param, NULL, 0200);
MODULE_PARM_DESC(hook, "write 1 to hook the function, 0 to let go of it");

static const struct kernel_param_ops policy_param = {
	.set = policy_set,
};
module_param_cb(policy, &policy_param, NULL, 0200);
MODULE_PARM_DESC(policy, "the hook's policy");

static const struct kernel_param_ops pass_param = {
	.set = pass_set,
};
module_param_cb(pass, &pass_param, NULL, 0200);
MODULE_PARM_DESC(pass, "which argument of the replacement is the shadow's address");

static const struct kernel_param_ops tracer_param = {
	.set = tracer_set,
	.get = tracer_get,
};
module_param_cb(tracer, &tracer_param, NULL, 0600);
MODULE_PARM_DESC(tracer, "trace it; calls since the last look");

static const struct kernel_param_ops direct_param = {
	.set = direct_set,
};
module_param_cb(direct, &direct_param, NULL, 0200);
MODULE_PARM_DESC(direct, "have another direct call on it");

static int __init hook_init(void)
{
	return 0;
}

static void __exit hook_exit(void)
{
}

module_init(hook_init);
module_exit(hook_exit);
MODULE_DESCRIPTION("Umbra: a hook beside livepatches and tracers, for tests");
MODULE_AUTHOR("The Umbra developers");
MODULE_LICENSE("GPL");
