// SPDX-License-Identifier: GPL-2.0
/*
 * Hooks, the part that talks to ftrace: a symbol's address, a slot's
 * trampoline on a function and off it again.
 */
#include <linux/ftrace.h>
#include <linux/kprobes.h>
#include <linux/module.h>
#include <linux/preempt.h>
#include <linux/rcupdate.h>
#include <linux/srcu.h>
#include <linux/string.h>
#include <linux/export.h>
#include <linux/pgtable.h>

#include "compat.h"
#include "internal.h"

/* Replacements that may sleep; see umbra_replacement_begin(). */
DEFINE_STATIC_SRCU(umbra_replacements);

static struct ftrace_ops umbra_ops[UMBRA_SLOTS];

/*
 * The sysctl kernel.ftrace_enabled would switch hooks off without a word. It is
 * refused while ftrace_ops with the flag PERMANENT are registered. Those of a
 * direct call cannot have it before 7.x, for ftrace sets their flags; so this one
 * is registered while there are hooks, on a function that nobody calls.
 */
static struct ftrace_ops umbra_keep_ops;
static unsigned int umbra_kept;

static noinline void umbra_keep_here(void)
{
	barrier();
}

static void notrace umbra_keep_func(unsigned long ip, unsigned long parent_ip,
				    struct ftrace_ops *ops, struct ftrace_regs *fregs)
{
}

/*
 * Functions that umbra_decide() calls: hooking one would make it call itself
 * without end.
 */
static const char *const umbra_untouchable[] = {
	"rcu_is_watching",
	"preempt_schedule_notrace",
	"preempt_schedule_notrace_thunk",
};

/* One look, as umbra_c_resolve(); @addr is set with -EOPNOTSUPP too. */
static int umbra_resolve(const char *symbol, unsigned long *addr)
{
	struct kprobe probe = {
		.symbol_name = symbol,
		.flags = KPROBE_FLAG_DISABLED,
	};
	/* Under the control lock; on the stack lockdep would not have it. */
	static struct ftrace_ops ops;
	int ret;

	ret = register_kprobe(&probe);
	*addr = (unsigned long)probe.addr;
	if (ret == -ENOMEM || ret == -ENOENT)
		return ret;
	if (ret)
		return probe.addr ? -EOPNOTSUPP : -ENOENT;
	unregister_kprobe(&probe);

	/* Whether ftrace has a call there; nothing is registered. */
	memset(&ops, 0, sizeof(ops));
	ret = ftrace_set_filter_ip(&ops, *addr, 0, 0);
	ftrace_free_filter(&ops);
	return ret && ret != -ENOMEM ? -EOPNOTSUPP : ret;
}

static bool umbra_is_module_addr(unsigned long addr)
{
	return addr >= MODULES_VADDR && addr < MODULES_END;
}

/* A reference to the module at an address; NULL if none is there or it goes. */
static struct module *umbra_module_hold(unsigned long find, unsigned long addr)
{
	struct module *mod;

	/* Keeps what is found from being freed before there is a reference. */
	preempt_disable();
	mod = (struct module *)umbra_call(find, addr);
	if (mod && !try_module_get(mod))
		mod = NULL;
	preempt_enable();
	return mod;
}

/**
 * umbra_c_resolve - find the address by which ftrace knows a function
 * @symbol: the function's name
 * @addr: where to put it
 *
 * The name table is not exported; a kprobe that is never armed finds it. A
 * module may go after its name was found and before ftrace was asked, and then
 * looks as if it could not be traced. So that is believed only of a module that
 * is held meanwhile.
 *
 * Return: 0, -ENOENT, -EOPNOTSUPP if it cannot be traced, -EINVAL for a function
 * that the trampoline needs or that is our own, -ENOMEM.
 */
int umbra_c_resolve(const char *symbol, unsigned long *addr)
{
	unsigned long find, seen;
	struct module *mod;
	int ret;

	if (match_string(umbra_untouchable, ARRAY_SIZE(umbra_untouchable),
			 symbol) >= 0)
		return -EINVAL;
	ret = umbra_resolve(symbol, addr);
	/* A decision may call it, and so may taking a hook off. */
	if (!ret && within_module(*addr, THIS_MODULE))
		return -EINVAL;
	if (ret != -EOPNOTSUPP || !umbra_is_module_addr(*addr))
		return ret;

	find = umbra_c_lookup("__module_text_address");
	if (!find)
		return ret;
	seen = *addr;
	mod = umbra_module_hold(find, seen);
	if (!mod)
		return -ENOENT;
	ret = umbra_resolve(symbol, addr);
	/* The name is another module's by now, which nobody holds. */
	if (ret == -EOPNOTSUPP && *addr != seen)
		ret = -ENOENT;
	module_put(mod);
	return ret;
}

/**
 * umbra_c_lookup - find what the kernel does not export
 * @symbol: a function or a variable
 *
 * A kprobe on data is refused, but only after the name was looked up.
 *
 * Return: its address (on kernels with IBT that of a function's call to ftrace),
 * or 0.
 */
unsigned long umbra_c_lookup(const char *symbol)
{
	struct kprobe probe = {
		.symbol_name = symbol,
		.flags = KPROBE_FLAG_DISABLED,
	};

	if (!register_kprobe(&probe))
		unregister_kprobe(&probe);
	return (unsigned long)probe.addr;
}

/**
 * umbra_c_entry - find the address by which ftrace knows a function
 * @addr: the function
 * @entry: where to put it
 *
 * Return: 0 or -ENOENT.
 */
int umbra_c_entry(unsigned long addr, unsigned long *entry)
{
	struct kprobe probe = {
		.addr = (void *)addr,
		.flags = KPROBE_FLAG_DISABLED,
	};

	if (register_kprobe(&probe))
		return -ENOENT;
	*entry = (unsigned long)probe.addr;
	unregister_kprobe(&probe);
	return 0;
}

/* One hook more that ftrace must not be switched off under. */
static int umbra_keep(void)
{
	struct ftrace_ops *ops = &umbra_keep_ops;
	unsigned long ip;
	int ret;

	if (umbra_kept++)
		return 0;
	memset(ops, 0, sizeof(*ops));
	ops->func = umbra_keep_func;
	ops->flags = FTRACE_OPS_FL_PERMANENT;
	ret = umbra_c_entry((unsigned long)umbra_keep_here, &ip);
	/* To the caller -ENOENT would mean the function it wants to hook. */
	if (ret)
		ret = -EOPNOTSUPP;
	if (!ret)
		ret = ftrace_set_filter_ip(ops, ip, 0, 0);
	if (!ret)
		ret = register_ftrace_function(ops);
	if (!ret)
		return 0;
	umbra_kept = 0;
	ftrace_free_filter(ops);
	umbra_refused_err("ftrace cannot be kept on (%d); -EBUSY means that the sysctl kernel.ftrace_enabled is 0",
			  ret);
	return ret;
}

static void umbra_unkeep(void)
{
	if (--umbra_kept)
		return;
	WARN_ON_ONCE(unregister_ftrace_function(&umbra_keep_ops));
	ftrace_free_filter(&umbra_keep_ops);
}

/**
 * umbra_c_attach - put a slot's trampoline on a function
 * @slot: a free slot
 * @addr: from umbra_c_resolve()
 *
 * Return: 0; -EOPNOTSUPP if ftrace has no call there; -EBUSY if another direct
 * call is, or ftrace was switched off; -ENOMEM.
 */
int umbra_c_attach(u32 slot, unsigned long addr)
{
	struct ftrace_ops *ops = &umbra_ops[slot];
	int ret;

	ret = umbra_keep();
	if (ret)
		return ret;
	/* ftrace leaves pointers of the last use behind. */
	memset(ops, 0, sizeof(*ops));
	ops->ops_func = umbra_ops_func;
	ret = ftrace_set_filter_ip(ops, addr, 0, 0);
	if (ret) {
		umbra_unkeep();
		return ret == -ENOMEM ? ret : -EOPNOTSUPP;
	}

	/* Read by replacements only, and none runs before the slot opens. */
	umbra_slots[slot].original = umbra_behind_call(addr);
	ret = umbra_register_direct(ops, umbra_trampolines[slot]);
	if (ret) {
		ftrace_free_filter(ops);
		umbra_c_release(slot);
		umbra_unkeep();
	}
	return ret;
}

/**
 * umbra_c_detach - take a slot's trampoline off its function
 * @slot: an attached slot, closed
 *
 * Tasks may still be in the trampoline until umbra_c_synchronize_tasks().
 */
void umbra_c_detach(u32 slot)
{
	struct ftrace_ops *ops = &umbra_ops[slot];

	/* It can only fail for ops that are not registered. */
	WARN_ON_ONCE(umbra_unregister_direct(ops, umbra_trampolines[slot]));
	ftrace_free_filter(ops);
	umbra_unkeep();
}

/**
 * umbra_c_release - forget the function that a slot was on
 * @slot: a detached slot, after umbra_c_synchronize_tasks(): no replacement is
 *	left that could call the function
 *
 * Or what comes to its address later would be taken for a target.
 */
void umbra_c_release(u32 slot)
{
	WRITE_ONCE(umbra_slots[slot].original, 0);
}

/**
 * umbra_c_synchronize_tasks - wait until no task is in code that was closed
 *
 * First for tasks on their way in: between the trampoline's load and a
 * replacement's umbra_replacement_begin() nothing sleeps, so each task that
 * sleeps or is in userspace once has passed. The rude kind adds the idle
 * tasks. Then for those that sleep in a replacement, and then for those on
 * their way out, between umbra_replacement_end() and the return.
 */
void umbra_c_synchronize_tasks(void)
{
	synchronize_rcu_tasks_rude();
	synchronize_rcu_tasks();
	synchronize_srcu(&umbra_replacements);
	synchronize_rcu_tasks();
}

/* Hooks that hand the shadow's address to their replacement. */
static atomic_t umbra_passing_hooks = ATOMIC_INIT(0);

/**
 * umbra_c_passing - a hook that passes the shadow's address comes or goes
 * @change: 1 before it can open, -1 when nobody can be in its replacement
 */
void umbra_c_passing(int change)
{
	atomic_add(change, &umbra_passing_hooks);
}

/**
 * umbra_c_synchronize_readers - wait until nobody uses what was detached before
 *
 * For everything that looked it up in a section, and for replacements that it
 * was handed to: those have no section of their own, but are waited for as
 * their code is. A replacement that was handed it got it from a decision before
 * the grace period ended, so its hook is counted by then, and stays counted
 * until that replacement is over.
 */
void umbra_c_synchronize_readers(void)
{
	synchronize_rcu();
	if (atomic_read(&umbra_passing_hooks))
		umbra_c_synchronize_tasks();
}

int umbra_replacement_begin(void)
	__acquires(&umbra_replacements)
{
	return srcu_read_lock(&umbra_replacements);
}
EXPORT_SYMBOL_GPL(umbra_replacement_begin);

void umbra_replacement_end(int cookie)
	__releases(&umbra_replacements)
{
	srcu_read_unlock(&umbra_replacements, cookie);
}
EXPORT_SYMBOL_GPL(umbra_replacement_end);
