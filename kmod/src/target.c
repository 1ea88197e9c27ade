// SPDX-License-Identifier: GPL-2.0
/*
 * Target modules: those whose functions are hooked, or whose objects have
 * shadows. When one goes, its hooks are taken off and the shadows of the states
 * that name it are freed, after its exit function and before its memory goes. So
 * nothing of them is left to whatever comes to the same addresses.
 *
 * Modules that no patch is about do not wait for the control lock: a callback
 * that holds it may be loading them.
 */
#include <linux/atomic.h>
#include <linux/list.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/notifier.h>
#include <linux/string.h>

#include "internal.h"

/* One state's target, for as long as its patch is known. */
struct umbra_named {
	struct list_head node;
	const char *name;
};

static LIST_HEAD(umbra_names);
static DEFINE_MUTEX(umbra_names_lock);

/* A hook is being put on a function that may be a module's. */
static atomic_t umbra_attaching = ATOMIC_INIT(0);

/**
 * umbra_c_target_add - watch a module by name
 * @name: stays in place until umbra_c_target_remove()
 *
 * Return: what umbra_c_target_remove() takes, or NULL if there is no memory.
 */
void *umbra_c_target_add(const char *name)
{
	struct umbra_named *named;

	named = umbra_c_zalloc(sizeof(*named), __alignof__(*named), GFP_KERNEL);
	if (!named)
		return NULL;
	named->name = name;
	mutex_lock(&umbra_names_lock);
	list_add(&named->node, &umbra_names);
	mutex_unlock(&umbra_names_lock);
	return named;
}

void umbra_c_target_remove(void *target)
{
	struct umbra_named *named = target;

	mutex_lock(&umbra_names_lock);
	list_del(&named->node);
	mutex_unlock(&umbra_names_lock);
	umbra_c_free(named);
}

bool umbra_c_target_is(struct module *mod, const char *name)
{
	return !strcmp(mod->name, name);
}

bool umbra_c_within(struct module *mod, unsigned long addr)
{
	return within_module(addr, mod);
}

/**
 * umbra_c_attach_begin - look a hook's function up again and keep it
 * @symbol: its name
 * @addr: where it was
 *
 * Between the look and umbra_c_attach_end() a module that goes waits for the
 * control lock, which the caller has; one that went before is not found.
 *
 * Return: 0, or -ENOENT if the function is no longer there.
 */
int umbra_c_attach_begin(const char *symbol, unsigned long addr)
{
	unsigned long now;
	int ret;

	atomic_inc(&umbra_attaching);
	/* The count before the look: pairs with umbra_target_needed(). */
	smp_mb__after_atomic();
	ret = umbra_c_resolve(symbol, &now);
	if (!ret && now != addr)
		ret = -ENOENT;
	if (ret)
		umbra_c_attach_end();
	return ret;
}

void umbra_c_attach_end(void)
{
	atomic_dec(&umbra_attaching);
}

static bool umbra_target_needed(struct module *mod)
{
	struct umbra_named *named;
	bool needed = false;
	unsigned int i;

	/* The module's state before the count: pairs with umbra_c_attach_begin(). */
	smp_mb();
	if (atomic_read(&umbra_attaching))
		return true;
	for (i = 0; i < UMBRA_SLOTS; i++)
		if (within_module(READ_ONCE(umbra_slots[i].original), mod))
			return true;
	mutex_lock(&umbra_names_lock);
	list_for_each_entry(named, &umbra_names, node)
		needed |= umbra_c_target_is(mod, named->name);
	mutex_unlock(&umbra_names_lock);
	return needed;
}

static int umbra_target_notify(struct notifier_block *nb, unsigned long action,
			       void *data)
{
	struct module *mod = data;

	if (action != MODULE_STATE_GOING)
		return NOTIFY_DONE;
	umbra_sites_going(mod);
	if (umbra_target_needed(mod))
		umbra_rs_target_going(mod, mod->name);
	return NOTIFY_DONE;
}

static struct notifier_block umbra_target_nb = {
	.notifier_call = umbra_target_notify,
};

int umbra_target_init(void)
{
	return register_module_notifier(&umbra_target_nb);
}

void umbra_target_exit(void)
{
	unregister_module_notifier(&umbra_target_nb);
}
