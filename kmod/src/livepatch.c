// SPDX-License-Identifier: GPL-2.0
/*
 * The livepatch adapter, the part that talks to the stock core: callbacks of
 * one klp_object become events of our engine, and a write to a patch's file
 * "enabled" is ours to answer before it is the core's.
 *
 *	stock core, under klp_mutex		engine, under the control lock
 *	pre_patch(vmlinux)		->	the steps before the switch
 *	post_patch(vmlinux)		->	switched; or an unpatch was reversed
 *	pre_unpatch(vmlinux)		->	the steps before the switch
 *	post_unpatch(vmlinux)		->	switched; or a patch was reversed, or
 *						failed in a later object
 *	write to "enabled"		->	plan it and begin, or refuse, or reverse
 *
 * The core cannot be told "no" once it disables a patch: its pre_unpatch
 * returns nothing. So two of its functions are redirected while umbra.ko is
 * loaded and has been asked to enable a livepatch once:
 *
 * - the store function of "enabled": for patches of ours a disable is begun in
 *   the engine first, which may refuse, and has all memory when it does not;
 * - klp_enable_patch(): a replacing livepatch that is not ours is refused while
 *   one of ours is enabled, since no callback of those replaced would run.
 *
 * Whether a write disables or reverses must not change between our look and
 * the act, so both happen under klp_mutex. It is not exported, as the function
 * that reverses is not; a kernel without them is told apart and refused.
 *
 * Locks: umbra_livepatch_loading, klp_mutex, the control lock, in this order.
 */
#include <linux/export.h>
#include <linux/ftrace.h>
#include <linux/instruction_pointer.h>
#include <linux/kobject.h>
#include <linux/kprobes.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/rcupdate.h>
#include <linux/srcu.h>
#include <linux/string.h>
#include <linux/sysfs.h>
#include <umbra_livepatch.h>

#include "compat.h"
#include "internal.h"

#if !IS_ENABLED(CONFIG_LIVEPATCH)
#error "umbra.ko needs a kernel with CONFIG_LIVEPATCH"
#endif

typedef ssize_t (*umbra_store_t)(struct kobject *kobj,
				 struct kobj_attribute *attr,
				 const char *buf, size_t count);

/* The stock core's own, found when first needed. */
static struct mutex *umbra_klp_mutex;
static unsigned long umbra_klp_reverse;
static umbra_store_t umbra_klp_store;

/* One klp_enable_patch() at a time, ours or not. Also guards the redirection. */
static DEFINE_MUTEX(umbra_livepatch_loading);
static bool umbra_livepatch_redirected;

/*
 * Tasks in what the core's functions are redirected to. They take klp_mutex and
 * the control lock, so who has one of these must not wait for them: they are no
 * replacements of a patch, whose SRCU is waited for with the control lock.
 */
DEFINE_STATIC_SRCU(umbra_livepatch_calls);

static struct umbra_livepatch *umbra_livepatch_of(struct klp_object *obj)
{
	struct klp_patch *klp = container_of(obj->kobj.parent, struct klp_patch,
					     kobj);

	return container_of(klp, struct umbra_livepatch, klp);
}

/* ---- callbacks of the vmlinux object, under klp_mutex ---- */

static int umbra_livepatch_pre_patch(struct klp_object *obj)
{
	return umbra_rs_livepatch_start(&umbra_livepatch_of(obj)->umbra);
}

static void umbra_livepatch_post_patch(struct klp_object *obj)
{
	umbra_rs_livepatch_end(&umbra_livepatch_of(obj)->umbra, true);
}

static void umbra_livepatch_pre_unpatch(struct klp_object *obj)
{
	umbra_rs_livepatch_start(&umbra_livepatch_of(obj)->umbra);
}

static void umbra_livepatch_post_unpatch(struct klp_object *obj)
{
	umbra_rs_livepatch_end(&umbra_livepatch_of(obj)->umbra, false);
}

static const struct klp_callbacks umbra_livepatch_callbacks = {
	.pre_patch = umbra_livepatch_pre_patch,
	.post_patch = umbra_livepatch_post_patch,
	.pre_unpatch = umbra_livepatch_pre_unpatch,
	.post_unpatch = umbra_livepatch_post_unpatch,
};

/**
 * umbra_c_livepatch_forced - whether a forced transition took a patch away
 * @patch: the states' half of a livepatch
 *
 * Return: what the core noted; it will never let go of the module then.
 */
bool umbra_c_livepatch_forced(struct umbra_patch *patch)
{
	return container_of(patch, struct umbra_livepatch, umbra)->klp.forced;
}

/* ---- what the core does not let us see or refuse ---- */

/*
 * Answers a write to "enabled". The core's own answer is the same for all that
 * is not ours or not for us to decide.
 */
static ssize_t umbra_livepatch_write(struct kobject *kobj,
				     struct kobj_attribute *attr,
				     const char *buf, size_t count)
{
	struct klp_patch *klp = container_of(kobj, struct klp_patch, kobj);
	struct umbra_patch *patch =
		&container_of(klp, struct umbra_livepatch, klp)->umbra;
	bool enable;
	ssize_t ret;
	int answer;

	if (kstrtobool(buf, &enable))
		return umbra_klp_store(kobj, attr, buf, count);

	mutex_lock(umbra_klp_mutex);
	answer = UMBRA_LIVEPATCH_NOT_OURS;
	if (klp->enabled != enable)
		answer = umbra_rs_livepatch_write(patch, enable);
	if (answer == UMBRA_LIVEPATCH_REVERSE) {
		umbra_call(umbra_klp_reverse, 0);
		umbra_rs_livepatch_reversed(patch);
	}
	mutex_unlock(umbra_klp_mutex);

	if (answer < 0)
		return answer;
	if (answer == UMBRA_LIVEPATCH_REVERSE)
		return count;
	ret = umbra_klp_store(kobj, attr, buf, count);
	if (answer == UMBRA_LIVEPATCH_BEGUN && ret < 0)
		umbra_rs_livepatch_abandon(patch, ret);
	return ret;
}

/* In the place of the stock store function. */
static ssize_t umbra_livepatch_store(struct kobject *kobj,
				     struct kobj_attribute *attr,
				     const char *buf, size_t count)
{
	int cookie = srcu_read_lock(&umbra_livepatch_calls);
	ssize_t ret;

	if (umbra_c_owns_control())
		ret = -EDEADLK;
	else
		ret = umbra_livepatch_write(kobj, attr, buf, count);
	srcu_read_unlock(&umbra_livepatch_calls, cookie);
	return ret;
}

/* In the place of klp_enable_patch(), for those who do not come by us. */
static int umbra_livepatch_foreign(struct klp_patch *klp)
{
	int cookie = srcu_read_lock(&umbra_livepatch_calls);
	int ret;

	if (umbra_c_owns_control()) {
		ret = -EDEADLK;
		goto out;
	}
	mutex_lock(&umbra_livepatch_loading);
	if (klp && klp->mod && klp->replace && umbra_rs_livepatch_any()) {
		umbra_refused_err("livepatch %s would replace patches whose states it knows nothing of; enable it by umbra_enable_livepatch(), or disable those first",
				  klp->mod->name);
		ret = -EBUSY;
	} else {
		ret = klp_enable_patch(klp);
	}
	mutex_unlock(&umbra_livepatch_loading);
out:
	srcu_read_unlock(&umbra_livepatch_calls, cookie);
	return ret;
}

static unsigned long umbra_store_ip;

static void notrace umbra_livepatch_redirect(unsigned long ip,
					     unsigned long parent_ip,
					     struct ftrace_ops *ops,
					     struct ftrace_regs *fregs)
{
	/* Our own calls are meant for the stock functions. */
	if (within_module(parent_ip, THIS_MODULE))
		return;
	umbra_set_ip(fregs, ip == umbra_store_ip ?
			    (unsigned long)umbra_livepatch_store :
			    (unsigned long)umbra_livepatch_foreign);
}

static struct ftrace_ops umbra_livepatch_ops;

/* Finds what the core keeps to itself, all of it or nothing. */
static int umbra_livepatch_find(void)
{
	const struct attribute_group **groups;
	const struct kobj_type *type;
	struct attribute **attr;

	umbra_klp_mutex = (void *)umbra_c_lookup("klp_mutex");
	umbra_klp_reverse = umbra_c_lookup("klp_reverse_transition");
	type = (void *)umbra_c_lookup("klp_ktype_patch");
	if (!umbra_klp_mutex || !umbra_klp_reverse || !type)
		return -EOPNOTSUPP;
	/* A name like enabled_store is anybody's; the attribute's is the core's. */
	for (groups = type->default_groups; groups && *groups; groups++)
		for (attr = (*groups)->attrs; attr && *attr; attr++)
			if (!strcmp((*attr)->name, "enabled"))
				umbra_klp_store = container_of(*attr,
							       struct kobj_attribute,
							       attr)->store;
	return umbra_klp_store ? 0 : -EOPNOTSUPP;
}

static int umbra_livepatch_redirect_once(void)
{
	struct ftrace_ops *ops = &umbra_livepatch_ops;
	unsigned long enable_ip;
	int ret;

	if (umbra_livepatch_redirected)
		return 0;
	ret = umbra_livepatch_find();
	if (!ret)
		ret = umbra_c_entry((unsigned long)umbra_klp_store,
				    &umbra_store_ip);
	if (!ret)
		ret = umbra_c_entry((unsigned long)klp_enable_patch, &enable_ip);
	if (ret) {
		umbra_refused_err("this kernel's livepatch core is not one that states can be kept for");
		return -EOPNOTSUPP;
	}
	memset(ops, 0, sizeof(*ops));
	ops->func = umbra_livepatch_redirect;
	/* The sysctl ftrace_enabled must not switch it off under a patch. */
	ops->flags = UMBRA_IPMODIFY_FLAGS | FTRACE_OPS_FL_PERMANENT;
	ret = ftrace_set_filter_ip(ops, umbra_store_ip, 0, 0);
	if (!ret)
		ret = ftrace_set_filter_ip(ops, enable_ip, 0, 0);
	if (!ret)
		ret = register_ftrace_function(ops);
	if (ret) {
		umbra_refused_err("the livepatch core's functions cannot be traced (%d); -EBUSY means that a livepatch is on them",
				  ret);
		ftrace_free_filter(ops);
		return ret;
	}
	umbra_livepatch_redirected = true;
	return 0;
}

/* ---- the API ---- */

static struct klp_object *umbra_livepatch_anchor(struct umbra_livepatch *patch)
{
	static const struct klp_callbacks none;
	struct klp_patch *klp;
	struct klp_object *obj;
	const char *why;

	why = "it is no livepatch: .klp lacks .mod or .objs";
	if (!patch || !patch->klp.mod || !patch->klp.objs)
		goto refused;
	klp = &patch->klp;
	why = "its hooks belong into a patch of their own, by umbra_enable_patch()";
	if (patch->umbra.nr_hooks)
		goto refused;
	why = "none of its objects is vmlinux; add UMBRA_LIVEPATCH_ANCHOR";
	klp_for_each_object_static(klp, obj) {
		if (obj->name)
			continue;
		why = "its vmlinux object has callbacks; make them a state's";
		if (memcmp(&obj->callbacks, &none, sizeof(none)))
			goto refused;
		return obj;
	}
refused:
	umbra_refused_err("livepatch %s: %s",
			  patch && patch->klp.mod ? patch->klp.mod->name : "(none)", why);
	return NULL;
}

int __umbra_enable_livepatch(struct umbra_livepatch *patch, unsigned int abi)
{
	struct klp_object *anchor;
	int ret = umbra_abi_check(abi, _RET_IP_);

	if (ret)
		return ret;
	anchor = umbra_livepatch_anchor(patch);
	if (!anchor)
		return -EINVAL;
	if (!umbra_c_may_wait("umbra_enable_livepatch()"))
		return -EDEADLK;
	if (umbra_c_owns_control()) {
		umbra_refused_err("a state's callback may not enable a patch");
		return -EDEADLK;
	}
	patch->umbra.mod = patch->klp.mod;
	patch->umbra.name = patch->klp.mod->name;
	patch->umbra.replace = patch->klp.replace;

	mutex_lock(&umbra_livepatch_loading);
	ret = umbra_livepatch_redirect_once();
	if (!ret)
		ret = umbra_rs_livepatch_begin(&patch->umbra);
	if (!ret) {
		anchor->callbacks = umbra_livepatch_callbacks;
		ret = klp_enable_patch(&patch->klp);
		umbra_rs_livepatch_begun(&patch->umbra, ret);
		if (ret)
			memset(&anchor->callbacks, 0, sizeof(anchor->callbacks));
	}
	mutex_unlock(&umbra_livepatch_loading);
	return ret;
}
EXPORT_SYMBOL_GPL(__umbra_enable_livepatch);

/**
 * umbra_livepatch_exit - give the stock core its functions back
 *
 * No livepatch of ours is enabled, for each holds this module.
 */
void umbra_livepatch_exit(void)
{
	if (!umbra_livepatch_redirected)
		return;
	WARN_ON_ONCE(unregister_ftrace_function(&umbra_livepatch_ops));
	ftrace_free_filter(&umbra_livepatch_ops);
	/* On their way in, there, and on their way out. */
	umbra_c_synchronize_tasks();
	synchronize_srcu(&umbra_livepatch_calls);
	synchronize_rcu_tasks();
}
