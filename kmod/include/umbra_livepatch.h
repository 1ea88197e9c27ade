/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Umbra: states for real livepatches.
 *
 * A livepatch of the stock kernel changes code with a consistency model: each
 * task changes over where it runs none of the functions that change. What it
 * lacks is what becomes of the rest: shadow variables and other changes of the
 * system. Here a struct klp_patch gets states as a native patch has them
 * (umbra.h): counted over all patches, with callbacks at the first use and
 * after the last, through atomic replace, downgrade, reversal and force.
 *
 *	static struct klp_object objs[] = {
 *		{ .funcs = funcs },	// vmlinux; or UMBRA_LIVEPATCH_ANCHOR
 *		{ }
 *	};
 *	static struct umbra_livepatch fix = {
 *		.klp = { .mod = THIS_MODULE, .objs = objs, .replace = true },
 *		.umbra = { .states = states, .nr_states = ARRAY_SIZE(states) },
 *	};
 *	...
 *	return umbra_enable_livepatch(&fix);	// in module_init
 *	...
 *	MODULE_INFO(livepatch, "Y");
 */
#ifndef _UMBRA_LIVEPATCH_H
#define _UMBRA_LIVEPATCH_H

#include <linux/livepatch.h>
#include <umbra.h>

/**
 * struct umbra_livepatch - a livepatch with states
 * @klp: the livepatch. One of its objects has to be vmlinux (no name), because
 *	the stock core calls nothing for a module that is not loaded; that
 *	object's callbacks are Umbra's. @klp.states is not needed.
 * @umbra: .states and .nr_states are the author's; hooks are refused; all else
 *	is filled in from @klp. It is what the states' callbacks get.
 *
 * Both stay in place until the patch is disabled or replaced.
 */
struct umbra_livepatch {
	struct klp_patch klp;
	struct umbra_patch umbra;
};

/* A vmlinux object for a patch that changes no function of vmlinux. */
#define UMBRA_LIVEPATCH_ANCHOR	{ .funcs = (struct klp_func[]) { { } } }

/* umbra_enable_livepatch(), asked for by a module built with this version. */
int __umbra_enable_livepatch(struct umbra_livepatch *patch, unsigned int abi);

/**
 * umbra_enable_livepatch - klp_enable_patch() with states
 * @patch: the patch
 *
 * The new states' pre_patch and pre_unpatch of the states that go run before
 * any task changes over. When the last one has, post_unpatch of the states
 * that go runs (their shadows are freed then) and post_patch of the new ones.
 * If the transition is reversed, by the file "enabled" in
 * /sys/kernel/livepatch, all is undone in the opposite order, with the reason
 * UMBRA_REVERSE. With @klp.replace set it replaces all enabled patches, native
 * ones too.
 *
 * The patch is disabled by the same file. Umbra answers a write to it first:
 * -EPERM if a state blocks the disabling, -ENOMEM, -EBUSY while another
 * transition runs; the kernel log says what and why. A transition that has
 * not ended may always be reversed.
 *
 * If a transition is forced, the states and the code of the patches that go
 * stay for good, since a task may still run that code: their post_unpatch is
 * not called, their shadows are not freed, their modules cannot be unloaded,
 * and a patch that names such a state is refused.
 *
 * While such a patch is enabled, a livepatch with .replace that does not come
 * by this function is refused with -EBUSY: the stock core would take ours away
 * without a word to anybody.
 *
 * Context: process, in a module's init function as its last act. Not from a
 * callback.
 * Return: 0, or -EINVAL (no vmlinux object, one with callbacks, hooks, or wrong
 * states), -EPERM (a state that would go blocks it), -EBUSY (a transition
 * runs), -EOPNOTSUPP (this kernel's livepatch core is not the one we know),
 * -ENOEXEC (see UMBRA_ABI), what klp_enable_patch() says, or what a pre_patch
 * returned. Nothing is changed then.
 */
static inline int umbra_enable_livepatch(struct umbra_livepatch *patch)
{
	int ret = __umbra_enable_livepatch(patch, UMBRA_ABI);

	umbra_not_the_last_call();
	return ret;
}

#endif /* _UMBRA_LIVEPATCH_H */
