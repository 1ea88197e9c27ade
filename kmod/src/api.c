// SPDX-License-Identifier: GPL-2.0
/*
 * The lookups, whose read-side section is an inline of the kernel's, and the
 * exports. All that is not here is exported straight from the Rust object.
 */
#include <linux/build_bug.h>
#include <linux/err.h>
#include <linux/export.h>
#include <linux/instruction_pointer.h>
#include <linux/rcupdate.h>
#include <linux/sched.h>

#include "internal.h"

/* rust/src/ffi.rs asserts the same numbers of its mirrors. */
static_assert(sizeof(struct umbra_state) == 72);
static_assert(sizeof(struct umbra_hook) == 56);
static_assert(sizeof(struct umbra_patch) == 56);
static_assert(sizeof(struct umbra_new) == 64);

static __always_inline const void *
umbra_decide_watched(const struct umbra_target *target, unsigned long *args)
{
	const void *to;

	rcu_read_lock_sched_notrace();
	to = umbra_rs_decide(target, args);
	rcu_read_unlock_sched_notrace();
	return to;
}

/*
 * The idle task's calls, the interrupts on top of it included. It may run where
 * RCU does not watch. Out of line: umbra_decide() then needs no stack.
 */
static noinline notrace const void *
umbra_decide_idle(const struct umbra_target *target, unsigned long *args)
{
	return rcu_is_watching() ? umbra_decide_watched(target, args) : NULL;
}

/**
 * umbra_decide - where a hooked function's call goes
 * @target: the open slot's
 * @args: the call's six register arguments; the shadow's address is put into
 *	the one that the hook asks it into
 *
 * Called by the trampoline, in whatever context the hooked function is, NMI
 * included: it takes no lock and waits for nobody. Where RCU does not watch no
 * grace period would wait for us, so the call goes on to the original. That is
 * the idle task's only: all other code without RCU is noinstr, where ftrace has
 * no call.
 *
 * Return: the replacement, or NULL for the original.
 */
notrace const void *umbra_decide(const struct umbra_target *target,
				 unsigned long *args)
{
	if (unlikely(is_idle_task(current)))
		return umbra_decide_idle(target, args);
	return umbra_decide_watched(target, args);
}

notrace void *umbra_shadow_get(void *obj, unsigned long id)
{
	void *data;

	rcu_read_lock_sched_notrace();
	data = umbra_rs_shadow_get(obj, id);
	rcu_read_unlock_sched_notrace();
	return data;
}
EXPORT_SYMBOL_GPL(umbra_shadow_get);

/**
 * umbra_abi_check - refuse a module that was built with another umbra.h
 * @abi: the version that it was built with
 * @caller: where it called from; what it passed may mean anything
 *
 * Return: 0 or -ENOEXEC.
 */
int umbra_abi_check(unsigned int abi, unsigned long caller)
{
	if (likely(abi == UMBRA_ABI))
		return 0;
	umbra_refused_err("%ps was built with version %u of umbra.h, this is version %u; build it anew with the header of this umbra.ko",
			  (void *)caller, abi, UMBRA_ABI);
	return -ENOEXEC;
}

struct umbra_type *__umbra_type_get(unsigned long id, unsigned int abi)
{
	int ret = umbra_abi_check(abi, _RET_IP_);

	return ret ? ERR_PTR(ret) : umbra_rs_type_get(id);
}
EXPORT_SYMBOL_GPL(__umbra_type_get);

int __umbra_enable_patch(struct umbra_patch *patch, unsigned int abi)
{
	int ret = umbra_abi_check(abi, _RET_IP_);

	if (ret)
		return ret;
	if (!umbra_c_may_wait("umbra_enable_patch()"))
		return -EDEADLK;
	return umbra_rs_enable_patch(patch);
}
EXPORT_SYMBOL_GPL(__umbra_enable_patch);

/* Defined in the Rust object. */
#define EXPORT_RUST(sym)	EXPORT_SYMBOL_GPL(sym)

EXPORT_RUST(__umbra_get);
EXPORT_RUST(umbra_shadow_free_all);
EXPORT_RUST(umbra_type_put);
EXPORT_RUST(umbra_free_all);
EXPORT_RUST(umbra_live);
EXPORT_RUST(umbra_for_each);
EXPORT_RUST(umbra_barrier);
EXPORT_RUST(umbra_gate_get);
EXPORT_RUST(umbra_disable_patch);
