/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Umbra: shadow variables, system states and per-object hooks.
 *
 * A *shadow* is a variable attached to an object that somebody else made; it
 * is found by the object's address and an id. A *state* is a change of the
 * system that patches share by id: the first patch that brings it in runs its
 * callbacks, the last one that drops it undoes them and frees its shadows. A
 * *hook* sends calls of one kernel function to a replacement, depending on
 * whether one of the call's arguments has a shadow.
 *
 * Reads take no lock and write nothing that is shared. Everything that costs
 * is on the control path, which may sleep and is serialized.
 */
#ifndef _UMBRA_H
#define _UMBRA_H

#include <linux/compiler.h>
#include <linux/rcupdate.h>
#include <linux/types.h>
#include <asm/barrier.h>

/*
 * The version of this header: counted up when a structure or a function of it
 * changes. A module built with another version is refused with -ENOEXEC and a
 * reason where it comes to us first: umbra_type_get(), umbra_enable_patch(),
 * umbra_enable_livepatch(). The functions by (object, id) are those of the stock
 * kernel, and stay.
 */
#define UMBRA_ABI	2

/*
 * A call whose result is returned may become a jump, and then the log would name
 * the caller's caller as what was built with another version.
 */
#define umbra_not_the_last_call()	barrier()

struct module;
struct umbra_gate;
struct umbra_patch;
struct umbra_state;
struct umbra_type;

/* ------------------------------------------------------------------------
 * Shadows by (object, id)
 */

/**
 * typedef umbra_shadow_ctor_t - constructs a new shadow
 * @obj: the object the shadow belongs to
 * @shadow_data: the new shadow, zeroed, at its final address
 * @ctor_data: what the caller passed
 *
 * Runs once for each new shadow, outside any lock, before anybody can see it,
 * in the context of the caller: it may sleep where the caller may, and may
 * use the shadow API for other pairs. Waiting for its own pair would deadlock,
 * and so may whatever waits for reclamation, which may be waiting for this
 * constructor: umbra_barrier(), umbra_shadow_free_all() with a destructor,
 * umbra_gate_get(), enabling and disabling patches. With the module's parameter
 * check=1 they are refused there.
 *
 * Return: 0, or a negative errno, which leaves nothing behind.
 */
typedef int (*umbra_shadow_ctor_t)(void *obj, void *shadow_data, void *ctor_data);

/**
 * typedef umbra_shadow_dtor_t - destructs a shadow
 * @obj: the object it belonged to; do not follow it, it may be gone
 * @shadow_data: the shadow, no longer reachable by new lookups
 *
 * That of umbra_free(), umbra_free_all() and of a state runs on a work queue that
 * has WQ_MEM_RECLAIM, for it frees memory. So it must not flush an ordinary work
 * queue or a work item on one: the kernel warns of that.
 */
typedef void (*umbra_shadow_dtor_t)(void *obj, void *shadow_data);

/**
 * umbra_shadow_get - find the shadow of an object
 * @obj: the object, never dereferenced; NULL is a legal key
 * @id: the shadow's id, 0 included
 *
 * Wait-free and without a store to shared memory. To use the result past the
 * return, hold rcu_read_lock() around both, or know that it cannot be freed.
 *
 * Context: any, NMI included.
 * Return: the shadow's data, or NULL.
 */
void *umbra_shadow_get(void *obj, unsigned long id);

/**
 * umbra_shadow_alloc - attach a new shadow
 * @obj: the object
 * @id: the shadow's id
 * @size: bytes of data, zeroed and aligned to 16; 0 is legal
 * @gfp: how memory may be had
 * @ctor: constructor, or NULL
 * @ctor_data: passed to @ctor
 *
 * Context: any but NMI; sleeps only if @gfp or @ctor does.
 * Return: the data, or NULL if there is one already (logged), memory could not
 * be had or @ctor failed. umbra_alloc() says which.
 */
void *umbra_shadow_alloc(void *obj, unsigned long id, size_t size, gfp_t gfp,
			 umbra_shadow_ctor_t ctor, void *ctor_data);

/**
 * umbra_shadow_get_or_alloc - find the shadow or attach a new one
 * @obj: the object
 * @id: the shadow's id
 * @size: bytes of data, ignored if there is a shadow
 * @gfp: how memory may be had
 * @ctor: constructor, or NULL; not called if there is a shadow
 * @ctor_data: passed to @ctor
 *
 * Of callers racing for one pair one constructs, the others wait for it; one
 * whose @gfp does not allow sleeping waits for a moment only, for it may have
 * interrupted the one that constructs.
 *
 * Context: as umbra_shadow_alloc().
 * Return: the data, or NULL if memory could not be had or @ctor failed.
 */
void *umbra_shadow_get_or_alloc(void *obj, unsigned long id, size_t size,
				gfp_t gfp, umbra_shadow_ctor_t ctor,
				void *ctor_data);

/**
 * umbra_shadow_free - detach a shadow
 * @obj: the object
 * @id: the shadow's id
 * @dtor: destructor, or NULL; called before the return, as the kernel's
 *	klp_shadow_free() does, so lookups that started earlier may still
 *	hold the data. umbra_free() waits for them first.
 *
 * Does nothing if there is none. Memory goes after a grace period.
 *
 * Context: any but NMI; @dtor is called in the caller's context.
 */
void umbra_shadow_free(void *obj, unsigned long id, umbra_shadow_dtor_t dtor);

/**
 * umbra_shadow_free_all - detach every shadow of an id
 * @id: the id
 * @dtor: destructor, or NULL; all have been called on return
 *
 * All become invisible at once; the cost is proportional to the shadows of
 * this id, with preemption on.
 *
 * Context: process, may sleep (a grace period, if @dtor is given, and then not
 * from a destructor).
 */
void umbra_shadow_free_all(unsigned long id, umbra_shadow_dtor_t dtor);

/* ------------------------------------------------------------------------
 * Shadows by a typed handle: the id is looked up once
 */

/* umbra_type_get(), asked for by a module built with this version. */
struct umbra_type *__umbra_type_get(unsigned long id, unsigned int abi);

/**
 * umbra_type_get - a handle for all shadows of one id
 * @id: the id
 *
 * Context: process, may sleep.
 * Return: a handle that keeps the type until umbra_type_put(), or ERR_PTR():
 * -ENOMEM, -ENOEXEC (see UMBRA_ABI).
 */
static inline struct umbra_type *umbra_type_get(unsigned long id)
{
	struct umbra_type *type = __umbra_type_get(id, UMBRA_ABI);

	umbra_not_the_last_call();
	return type;
}

/**
 * umbra_type_put - give a handle back
 * @type: from umbra_type_get(); NULL and error pointers are ignored
 *
 * The shadows stay.
 *
 * Context: process, may sleep.
 */
void umbra_type_put(struct umbra_type *type);

/* umbra_get(), in a read-side section that the caller is in. */
void *__umbra_get(const struct umbra_type *type, const void *obj);

/**
 * umbra_get_rcu - umbra_get() in an RCU section of the caller
 * @type: the handle
 * @obj: the object
 *
 * For who holds rcu_read_lock() anyway, or has preemption or interrupts off, and
 * uses the result until the end of that section: it costs no section of its own.
 *
 * Context: any, NMI included, in a section that synchronize_rcu() waits for.
 * Return: the data, or NULL.
 */
static inline void *umbra_get_rcu(const struct umbra_type *type, const void *obj)
{
	RCU_LOCKDEP_WARN(!rcu_read_lock_any_held(),
			 "a shadow is looked up outside of a read-side section");
	return __umbra_get(type, obj);
}

/**
 * umbra_get - umbra_shadow_get() by handle
 * @type: the handle
 * @obj: the object
 *
 * Context: any, NMI included.
 * Return: the data, or NULL.
 */
static inline void *umbra_get(const struct umbra_type *type, const void *obj)
{
	void *data;

	rcu_read_lock_sched_notrace();
	data = __umbra_get(type, obj);
	rcu_read_unlock_sched_notrace();
	return data;
}

/**
 * umbra_alloc - umbra_shadow_alloc() by handle, with the reason of a failure
 * @type: the handle
 * @obj: the object
 * @size: bytes of data
 * @gfp: how memory may be had
 * @ctor: constructor, or NULL
 * @ctor_data: passed to @ctor
 *
 * Context: any but NMI; sleeps only if @gfp or @ctor does.
 * Return: the data, or ERR_PTR: -EEXIST, -ENOMEM, -EBUSY if another
 * caller constructs it and @gfp does not allow waiting, -EINVAL for a size that no
 * entry can hold, or what @ctor returned.
 */
void *umbra_alloc(const struct umbra_type *type, void *obj, size_t size,
		  gfp_t gfp, umbra_shadow_ctor_t ctor, void *ctor_data);

/**
 * umbra_get_or_alloc - umbra_shadow_get_or_alloc() by handle
 * @type: the handle
 * @obj: the object
 * @size: bytes of data, ignored if there is a shadow
 * @gfp: how memory may be had
 * @ctor: constructor, or NULL
 * @ctor_data: passed to @ctor
 *
 * Context: any but NMI; sleeps only if @gfp or @ctor does.
 * Return: the data, or ERR_PTR as umbra_alloc(), without -EEXIST.
 */
void *umbra_get_or_alloc(const struct umbra_type *type, void *obj, size_t size,
			 gfp_t gfp, umbra_shadow_ctor_t ctor, void *ctor_data);

/**
 * umbra_free - detach a shadow, destruct it after the grace period
 * @type: the handle
 * @obj: the object
 * @dtor: destructor, or NULL; runs once, later, in a context that may sleep.
 *	Call umbra_barrier() before the module that holds it goes.
 *	If more than six different ones wait for their grace period, a further
 *	one needs a little memory, and without it the shadow stays.
 *
 * Context: any but NMI.
 * Return: whether there was one and it is detached.
 */
bool umbra_free(const struct umbra_type *type, void *obj,
		umbra_shadow_dtor_t dtor);

/**
 * umbra_free_all - detach every shadow of a type
 * @type: the handle
 * @dtor: destructor, or NULL; as umbra_free()'s
 *
 * Invisible on return in constant time; reclaimed later.
 *
 * Context: process, may sleep.
 */
void umbra_free_all(const struct umbra_type *type, umbra_shadow_dtor_t dtor);

/**
 * umbra_live - how many shadows a type has
 * @type: the handle
 *
 * Context: any.
 * Return: the count; a snapshot, if others attach and detach meanwhile.
 */
unsigned long umbra_live(const struct umbra_type *type);

/**
 * umbra_for_each - visit the shadows of a type
 * @type: the handle
 * @fn: called for each with its object, its data and @arg; must not sleep
 * @arg: passed to @fn
 *
 * Shadows that are there throughout are visited once; those attached or
 * detached meanwhile may or may not be.
 *
 * Context: process. Cost: proportional to the shadows of the type.
 */
void umbra_for_each(const struct umbra_type *type,
		    void (*fn)(void *obj, void *shadow_data, void *arg),
		    void *arg);

/**
 * umbra_barrier - wait until everything detached before is destructed and freed
 *
 * Context: process, sleeps for at least a grace period. Not from a destructor,
 * which it would wait for: there it returns at once, and the log says so.
 */
void umbra_barrier(void);

/* ------------------------------------------------------------------------
 * States
 */

/**
 * enum umbra_reason - why a callback runs
 * @UMBRA_ENABLE: a patch is being enabled beside those that are there
 * @UMBRA_DISABLE: the last patch with the state is being disabled
 * @UMBRA_REPLACE: a patch with .replace set is being enabled: it brings the
 *	state in, or takes the place of the last patch that has it
 * @UMBRA_REVERSE: the request that ran the counterpart is taken back on demand
 * @UMBRA_FAILED: the request that ran the counterpart failed later on
 * @UMBRA_FORCED: the clean-up that a forced transition put off is made up for:
 *	no task is in the old code any more
 */
enum umbra_reason {
	UMBRA_ENABLE,
	UMBRA_DISABLE,
	UMBRA_REPLACE,
	UMBRA_REVERSE,
	UMBRA_FAILED,
	UMBRA_FORCED,
};

/**
 * struct umbra_state_callbacks - what runs when a state comes and goes
 * @pre_patch: before the hooks open: allocate and initialise. The only one
 *	that can fail; its errno refuses the patch, and shadows it has attached
 *	under the state's id are freed. Undo anything else it did itself.
 * @post_patch: after the patch's hooks are in place, before they open
 * @pre_unpatch: after the hooks are closed, while tasks may still be in them
 * @post_unpatch: when no task can be in a replacement any more
 * @shadow_dtor: for each shadow of the state, after @post_unpatch
 *
 * All are optional and may sleep. None may enable or disable a patch: that is
 * refused with -EDEADLK. None runs when an enabled patch already has the state.
 */
struct umbra_state_callbacks {
	int (*pre_patch)(struct umbra_patch *patch, struct umbra_state *state,
			 enum umbra_reason reason);
	void (*post_patch)(struct umbra_patch *patch, struct umbra_state *state,
			   enum umbra_reason reason);
	void (*pre_unpatch)(struct umbra_patch *patch,
			    struct umbra_state *state, enum umbra_reason reason);
	void (*post_unpatch)(struct umbra_patch *patch,
			     struct umbra_state *state, enum umbra_reason reason);
	umbra_shadow_dtor_t shadow_dtor;
};

/**
 * struct umbra_state - one change of the system
 * @id: not zero, at most 32 bits; shared by all patches that support the state
 * @name: for people; must agree between patches
 * @is_shadow: shadows of the same id belong to the state and go with it
 * @block_disable: the patch cannot be disabled, nor replaced by one without
 *	the state
 * @callbacks: see there
 * @target: the module whose objects have the state's shadows, or NULL. When it
 *	unloads, its exit function has returned and its memory is still there,
 *	they are freed, shadow_dtor included; the callbacks do not run. So an
 *	object at the same address never inherits one. The name is the one of
 *	/proc/modules: kvm_intel, not kvm-intel. No callback of a patch that
 *	names a module may load it: if its init fails, that waits for us while
 *	the callback waits for it.
 */
struct umbra_state {
	unsigned long id;
	const char *name;
	bool is_shadow;
	bool block_disable;
	struct umbra_state_callbacks callbacks;
	const char *target;
};

/**
 * struct umbra_gate - whether a state may be relied on
 * @open: not 0 from when the first user's post_patch has returned until the
 *	last user's pre_unpatch is called; by umbra_gate_is_open()
 */
struct umbra_gate {
	u32 open;
};

/**
 * umbra_gate_get - find the gate of a state
 * @state: the state's id
 *
 * A hook has the gate of its state asked for it. This is for code that runs
 * otherwise: a timer, a replacement that depends on another state.
 *
 * Context: process, may sleep. Not from a state's callback.
 * Return: the gate, which is good for as long as the caller's module may call
 * us, or ERR_PTR(): -ENOENT if no patch has named the state yet, -EDEADLK (from
 * a callback, shadow_dtor included).
 */
const struct umbra_gate *umbra_gate_get(unsigned long state);

/**
 * umbra_gate_is_open - whether a state may be relied on now
 * @gate: from umbra_gate_get()
 *
 * Who finds it open sees what post_patch did. It may be closed at once, and the
 * state's shadows stay until a grace period after that: hold rcu_read_lock()
 * around the question and what follows from it.
 *
 * Context: any, NMI included. One load.
 */
static inline bool umbra_gate_is_open(const struct umbra_gate *gate)
{
	/* Pairs with the release when the gate is opened. */
	return smp_load_acquire(&gate->open);
}

/* ------------------------------------------------------------------------
 * Hooks
 */

/**
 * enum umbra_policy - which calls go to the replacement
 * @UMBRA_ALWAYS: all
 * @UMBRA_HAS_SHADOW: those whose object, the first argument if not told
 *	otherwise, has a shadow
 * @UMBRA_LACKS_SHADOW: those whose object has none: objects marked
 *	before stay on the old code, new ones run the new
 */
enum umbra_policy {
	UMBRA_ALWAYS,
	UMBRA_HAS_SHADOW,
	UMBRA_LACKS_SHADOW,
};

/**
 * struct umbra_hook - the redirection of one function
 * @symbol: the function's name. Of several that share it the first in the
 *	kernel's table is meant. A function of a module that is loaded is found
 *	too. When that module unloads, the hook is taken off and does not come
 *	back before the patch is enabled anew; the rest of the patch stays.
 * @replacement: a function of the same type
 * @state: id of the state of the same patch that opens and closes the hook
 * @shadow: id of the shadow that @policy looks for; 0 with UMBRA_ALWAYS
 * @policy: which calls are redirected
 * @argument: which argument is the object that @policy asks about, 0 for the
 *	first to 5 for the sixth, all of them integers or pointers
 * @shadow_argument: 0, or which argument of @replacement gets the address of the
 *	shadow that was found, counted as @argument: one behind the function's
 *	own, so @replacement has a parameter more than the function. With
 *	UMBRA_HAS_SHADOW only. The shadow stays where it is, destructed neither,
 *	until the replacement returns or sleeps; between
 *	umbra_replacement_begin() and umbra_replacement_end() it may sleep. It
 *	may be detached meanwhile, and what frees it at once (a destructor
 *	given to umbra_shadow_free()) does not wait. While such a hook is there
 *	all that was detached waits for a grace period of tasks too, tenths of
 *	a second, so a replacement must not wait for a destructor. A kernel
 *	thread that neither sleeps nor calls cond_resched_tasks_rcu_qs() holds
 *	up such a grace period, and with it all reclaiming, for as long as it
 *	runs.
 * @original: set before the replacement can run: calls the function as it was
 *	compiled, without what a livepatch has made of it. Cast it to the
 *	function's type. It stays callable for as long as a replacement may run.
 *
 * A replacement that may sleep, or that calls something that may (@original
 * included), does so between umbra_replacement_begin() and
 * umbra_replacement_end(): a task asleep outside of them is not waited for
 * when the patch goes. Calls made where RCU is not watching (deep in the idle
 * loop) are never redirected.
 */
struct umbra_hook {
	const char *symbol;
	void *replacement;
	unsigned long state;
	unsigned long shadow;
	enum umbra_policy policy;
	unsigned int argument;
	unsigned int shadow_argument;
	void *original;
};

/**
 * umbra_replacement_begin - first thing in a replacement that may sleep
 *
 * Who disables or replaces a patch waits for umbra_replacement_end() while it
 * holds the lock of the control path. So nothing that takes that lock, directly
 * or by waiting for somebody who does, may be called between the two: no enabling
 * or disabling of patches and livepatches, no umbra_gate_get() (get the gate in
 * the module's init), no loading or unloading of a module that a patch is about.
 *
 * Context: any but NMI; does not sleep.
 * Return: a cookie for umbra_replacement_end().
 */
int umbra_replacement_begin(void);

/**
 * umbra_replacement_end - last thing in a replacement that may sleep
 * @cookie: from umbra_replacement_begin()
 *
 * Context: as umbra_replacement_begin().
 */
void umbra_replacement_end(int cookie);

/* ------------------------------------------------------------------------
 * Patches
 */

/**
 * struct umbra_patch - what is enabled and disabled as one
 * @mod: THIS_MODULE; held while the patch is enabled
 * @name: for people and for /sys/kernel/umbra/disable; NULL: the module's name
 * @states: the states it supports
 * @nr_states: how many
 * @hooks: the functions it redirects
 * @nr_hooks: how many
 * @replace: it replaces all enabled patches
 *
 * The structure and all that it points to must stay in place until the patch
 * is disabled or replaced, which is when @mod's reference is dropped.
 */
struct umbra_patch {
	struct module *mod;
	const char *name;
	struct umbra_state *states;
	size_t nr_states;
	struct umbra_hook *hooks;
	size_t nr_hooks;
	bool replace;
};

/* umbra_enable_patch(), asked for by a module built with this version. */
int __umbra_enable_patch(struct umbra_patch *patch, unsigned int abi);

/**
 * umbra_enable_patch - enable a patch
 * @patch: the patch
 *
 * Order of the callbacks: the new states' pre_patch, pre_unpatch of the states
 * that go, the switch of the hooks, post_unpatch of the states that go (their
 * shadows are freed then), the new states' post_patch.
 *
 * In a module's init function this has to be the last thing that can fail: the
 * kernel frees a module whose init fails, whoever holds it.
 *
 * Context: process, may sleep for seconds (RCU tasks grace periods). Not from
 * a state's callback.
 * Return: 0, or
 * -EINVAL: a state id is zero or twice in the patch, names of one state
 *	disagree, a hook names no state of the patch, lacks its symbol or
 *	replacement, or hooks Umbra itself or what the trampoline needs, a
 *	target's name has a '-' in it;
 * -EEXIST: the patch, or one of this name, is already enabled;
 * -ENOENT: a symbol is unknown;
 * -EOPNOTSUPP: a function cannot be traced: it is notrace or assembly;
 * -EBUSY: a function is hooked by another patch that stays enabled, or by
 *	someone else's direct call; the sysctl kernel.ftrace_enabled is 0; a
 *	livepatch's transition runs; @patch replaces and a livepatch is enabled;
 *	a state's clean-up waits since a forced transition;
 * -EPERM: a state that would go blocks its disabling;
 * -ENOSPC: all hook slots are in use; -EOVERFLOW: a state's users are;
 * -ENOMEM, -ENODEV (the module is going away), -EDEADLK (from a callback),
 * -ENOEXEC (see UMBRA_ABI);
 * or what a pre_patch callback returned. Nothing is changed then, and the
 * kernel log says what and why.
 */
static inline int umbra_enable_patch(struct umbra_patch *patch)
{
	int ret = __umbra_enable_patch(patch, UMBRA_ABI);

	umbra_not_the_last_call();
	return ret;
}

/**
 * umbra_disable_patch - disable a patch
 * @patch: an enabled patch
 *
 * On return no task is in a replacement of the patch and the module's
 * reference is dropped, so a module that disables its own patch has to be sure
 * that somebody else holds one.
 *
 * Context: process, may sleep for seconds. Not from a state's callback.
 * Return: 0, or -ENOENT (not enabled), -EPERM (a state blocks it), -EBUSY (a
 * livepatch's transition runs), -EINVAL (it is a livepatch: that is disabled by
 * its file in /sys/kernel/livepatch), -ENOMEM, -EDEADLK (from a callback).
 */
int umbra_disable_patch(struct umbra_patch *patch);

#endif /* _UMBRA_H */
