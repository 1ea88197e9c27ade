// SPDX-License-Identifier: GPL-2.0
/*
 * The lookups, whose read-side section is an inline of the kernel's, and the
 * exports. All that is not here is exported straight from the Rust object.
 */
#include <linux/build_bug.h>
#include <linux/export.h>
#include <linux/rcupdate.h>
#include <linux/sched.h>

#include "internal.h"

/* rust/src/ffi.rs asserts the same numbers of its mirrors. */
static_assert(sizeof(struct umbra_state) == 72);
static_assert(sizeof(struct umbra_hook) == 48);
static_assert(sizeof(struct umbra_patch) == 56);

/**
 * umbra_decide - where a hooked function's call goes
 * @target: the open slot's
 * @args: the call's six register arguments, the first one at args[0], the
 *	others below it
 *
 * Called by the trampoline, in whatever context the hooked function is. The
 * idle task may run where RCU does not watch; no grace period would wait for
 * us there, so the call goes on to the original.
 *
 * Return: the replacement, or NULL for the original.
 */
notrace const void *umbra_decide(const struct umbra_target *target,
				 const unsigned long *args)
{
	const void *to;

	if (unlikely(is_idle_task(current)) && !rcu_is_watching())
		return NULL;
	rcu_read_lock_sched_notrace();
	to = umbra_rs_decide(target, args);
	rcu_read_unlock_sched_notrace();
	return to;
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

notrace void *umbra_get(const struct umbra_type *type, const void *obj)
{
	void *data;

	rcu_read_lock_sched_notrace();
	data = umbra_rs_get(type, obj);
	rcu_read_unlock_sched_notrace();
	return data;
}
EXPORT_SYMBOL_GPL(umbra_get);

/* Defined in the Rust object. */
#define EXPORT_RUST(sym)	EXPORT_SYMBOL_GPL(sym)

EXPORT_RUST(umbra_shadow_alloc);
EXPORT_RUST(umbra_shadow_get_or_alloc);
EXPORT_RUST(umbra_shadow_free);
EXPORT_RUST(umbra_shadow_free_all);
EXPORT_RUST(umbra_type_get);
EXPORT_RUST(umbra_type_put);
EXPORT_RUST(umbra_alloc);
EXPORT_RUST(umbra_get_or_alloc);
EXPORT_RUST(umbra_free);
EXPORT_RUST(umbra_free_all);
EXPORT_RUST(umbra_live);
EXPORT_RUST(umbra_for_each);
EXPORT_RUST(umbra_barrier);
EXPORT_RUST(umbra_enable_patch);
EXPORT_RUST(umbra_disable_patch);
