// SPDX-License-Identifier: GPL-2.0
/*
 * The drop-in for klp_shadow_*(): what a user of the stock functions may count
 * on, over our table. umbra_klp.h lists it.
 *
 * The stock code holds one lock, with interrupts off, around everything but a
 * lookup. Users can see three things of it, and these are kept: constructors
 * and destructors exclude each other, the destructor of a freed variable has
 * run before the pair can be attached anew, and a caller in an interrupt never
 * meets a pair that the interrupted task is only just making.
 */
#define pr_fmt(fmt) "umbra: " fmt

#include <linux/bug.h>
#include <linux/export.h>
#include <linux/instruction_pointer.h>
#include <linux/irqflags.h>
#include <linux/spinlock.h>

#include <umbra_klp.h>
#include <linux/livepatch.h>

#include "internal.h"

/*
 * Held around each constructor and destructor, and what has to be one with it. A
 * spinlock_t as the stock one, so that they may take one too. Where that sleeps
 * it cannot be taken in a section with interrupts off, as we do.
 */
#ifdef CONFIG_PREEMPT_RT
#error "the drop-in for klp_shadow_*() does not work with CONFIG_PREEMPT_RT"
#endif
static DEFINE_SPINLOCK(umbra_klp_lock);

/* What a pair is constructed with. */
struct umbra_klp_new {
	klp_shadow_ctor_t ctor;
	void *ctor_data;
	unsigned long caller;
	/* The constructor was called, and this is what it returned. */
	bool called;
	int ret;
};

static int umbra_klp_construct(void *obj, void *shadow_data, void *arg)
{
	struct umbra_klp_new *new = arg;
	unsigned long flags;

	/*
	 * The destructor of the pair's last variable may still run: the lock was
	 * taken before that one was detached, and we were let in by it being
	 * detached, so we see the lock held or the destructor done.
	 */
	if (!new->ctor && !raw_spin_is_locked(spinlock_check(&umbra_klp_lock)))
		return 0;

	spin_lock_irqsave(&umbra_klp_lock, flags);
	if (new->ctor) {
		new->called = true;
		new->ret = new->ctor(obj, shadow_data, new->ctor_data);
	}
	spin_unlock_irqrestore(&umbra_klp_lock, flags);
	return new->ret;
}

/* How often a caller in atomic context looks again, each time for a while. */
#define UMBRA_KLP_ROUNDS	100

/* One try; watched as umbra_shadow_alloc() is. */
static int umbra_klp_try(void *obj, unsigned long id, size_t size, gfp_t gfp,
			 struct umbra_klp_new *new, void **data)
{
	/*
	 * An interrupt on this CPU finds the pair attached or not, as with the
	 * stock code; another CPU that waits does so for no longer than for a lock.
	 */
	struct umbra_new pair = {
		.id = id, .obj = obj, .size = size, .gfp = gfp,
		.ctor = umbra_klp_construct, .ctor_data = new, .irqs_off = true,
	};

	if (umbra_watching())
		return umbra_watched_new(&pair, new->caller, data);
	return umbra_rs_new(&pair, data);
}

static int umbra_klp_make(void *obj, unsigned long id, size_t size, gfp_t gfp,
			  struct umbra_klp_new *new, void **data)
{
	unsigned int round = 0;
	int ret;

	do {
		ret = umbra_klp_try(obj, id, size, gfp, new, data);
	} while (ret == -EBUSY && !new->called && ++round < UMBRA_KLP_ROUNDS);
	if (new->called && new->ret) {
		pr_err("Failed to construct shadow variable <%p, %lx> (%d)\n",
		       obj, id, new->ret);
		return -EINVAL;
	}
	return ret;
}

/**
 * umbra_klp_shadow_alloc - klp_shadow_alloc() of the drop-in
 * @obj: the object
 * @id: the variable's id
 * @size: bytes of data, zeroed
 * @gfp_flags: how memory may be had
 * @ctor: constructor, or NULL; runs with interrupts off
 * @ctor_data: passed to @ctor
 *
 * Context: any but NMI; sleeps only if @gfp_flags allows.
 * Return: the data, or NULL if there is one already (with a warning), memory
 * could not be had or @ctor failed.
 */
void *umbra_klp_shadow_alloc(void *obj, unsigned long id, size_t size,
			     gfp_t gfp_flags, klp_shadow_ctor_t ctor,
			     void *ctor_data)
{
	struct umbra_klp_new new = {
		.ctor = ctor, .ctor_data = ctor_data, .caller = _RET_IP_,
	};
	void *data = NULL;
	int ret;

	ret = umbra_klp_make(obj, id, size, gfp_flags, &new, &data);
	if (ret != -EEXIST)
		return ret ? NULL : data;
	WARN(1, "Duplicate shadow variable <%p, %lx>\n", obj, id);
	return NULL;
}
EXPORT_SYMBOL_GPL(umbra_klp_shadow_alloc);

/**
 * umbra_klp_shadow_get_or_alloc - klp_shadow_get_or_alloc() of the drop-in
 * @obj: the object
 * @id: the variable's id
 * @size: bytes of data, ignored if there is a variable
 * @gfp_flags: how memory may be had
 * @ctor: constructor, or NULL; not called if there is a variable
 * @ctor_data: passed to @ctor
 *
 * Context: as umbra_klp_shadow_alloc().
 * Return: the data, or NULL if memory could not be had or @ctor failed.
 */
void *umbra_klp_shadow_get_or_alloc(void *obj, unsigned long id, size_t size,
				    gfp_t gfp_flags, klp_shadow_ctor_t ctor,
				    void *ctor_data)
{
	struct umbra_klp_new new = {
		.ctor = ctor, .ctor_data = ctor_data, .caller = _RET_IP_,
	};
	void *data = umbra_shadow_get(obj, id);
	int ret;

	if (data)
		return data;
	ret = umbra_klp_make(obj, id, size, gfp_flags, &new, &data);
	return ret && ret != -EEXIST ? NULL : data;
}
EXPORT_SYMBOL_GPL(umbra_klp_shadow_get_or_alloc);

/**
 * umbra_klp_shadow_free - klp_shadow_free() of the drop-in
 * @obj: the object
 * @id: the variable's id
 * @dtor: destructor, or NULL; runs with interrupts off, before the return
 *
 * Context: any but NMI.
 */
void umbra_klp_shadow_free(void *obj, unsigned long id, klp_shadow_dtor_t dtor)
{
	unsigned long flags;

	if (!dtor) {
		umbra_shadow_free(obj, id, NULL);
		return;
	}
	/*
	 * The object's lines may be in the middle of being replaced. That is brought
	 * to its end here, where interrupts are on if the caller has them on.
	 */
	umbra_rs_shadow_help(obj, id);
	spin_lock_irqsave(&umbra_klp_lock, flags);
	umbra_shadow_free(obj, id, dtor);
	spin_unlock_irqrestore(&umbra_klp_lock, flags);
}
EXPORT_SYMBOL_GPL(umbra_klp_shadow_free);

/**
 * umbra_klp_shadow_free_all - klp_shadow_free_all() of the drop-in
 * @id: the id
 * @dtor: destructor, or NULL; runs for each with interrupts off, and for all
 *	before the return
 *
 * If @dtor is given, preemption is off for fifty or so variables at a time, and
 * for those of a thousand that found no lane; without, its cost is constant.
 *
 * Context: any but NMI.
 */
void umbra_klp_shadow_free_all(unsigned long id, klp_shadow_dtor_t dtor)
{
	if (dtor)
		umbra_rs_klp_free_all(id, umbra_klp_shadow_free, dtor);
	else
		umbra_shadow_free_all(id, NULL);
}
EXPORT_SYMBOL_GPL(umbra_klp_shadow_free_all);
