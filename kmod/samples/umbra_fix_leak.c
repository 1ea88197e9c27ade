// SPDX-License-Identifier: GPL-2.0
/*
 * Sample: the kernel's livepatch-shadow-fix1.c and -fix2.c, ported.
 *
 * They correct livepatch-shadow-mod.c, which makes a dummy every second and loses
 * a pointer each time. What is shorter here: only dummies with a shadow come to
 * the replacement of dummy_free(), so it asks for nothing; and what is left when
 * the patch is disabled goes with its state, not by hand in module_exit().
 *
 * The functions are those of a module that exports nothing. Load that one first.
 */
#include <linux/jiffies.h>
#include <linux/list.h>
#include <linux/module.h>
#include <linux/slab.h>

#include <umbra.h>

#define LEAK		31
#define CHECKS		32

/* As in livepatch-shadow-mod.c. */
#define EXPIRE_PERIOD	12

struct dummy {
	struct list_head list;
	unsigned long jiffies_expire;
};

static struct umbra_hook hooks[];

static int leak_ctor(void *obj, void *shadow, void *leak)
{
	*(void **)shadow = leak;
	return 0;
}

static void leak_dtor(void *obj, void *shadow)
{
	pr_info("umbra_fix_leak: prevented a leak\n");
	kfree(*(void **)shadow);
}

static struct dummy *fix_alloc(void)
{
	int cookie = umbra_replacement_begin();
	struct dummy *d = kzalloc(sizeof(*d), GFP_KERNEL);
	int *leak = kzalloc(sizeof(*leak), GFP_KERNEL);

	if (!d || !leak ||
	    !umbra_shadow_alloc(d, LEAK, sizeof(leak), GFP_KERNEL, leak_ctor, leak)) {
		kfree(leak);
		kfree(d);
		d = NULL;
	} else {
		d->jiffies_expire = jiffies + EXPIRE_PERIOD * HZ;
	}
	umbra_replacement_end(cookie);
	return d;
}

static void fix_free(struct dummy *d)
{
	void (*original)(struct dummy *d) = hooks[1].original;
	int cookie = umbra_replacement_begin();
	int *checks = umbra_shadow_get(d, CHECKS);

	umbra_shadow_free(d, LEAK, leak_dtor);
	if (checks)
		pr_info("umbra_fix_leak: checked %d times\n", *checks);
	umbra_shadow_free(d, CHECKS, NULL);
	original(d);
	umbra_replacement_end(cookie);
}

/* Dummies that were there before get no counter: nobody would free it. */
static bool fix_check(struct dummy *d, unsigned long now)
{
	int *checks = umbra_shadow_get_or_alloc(d, CHECKS, sizeof(*checks), GFP_NOWAIT,
						NULL, NULL);

	if (checks)
		(*checks)++;
	return time_after(now, d->jiffies_expire);
}

static struct umbra_hook hooks[] = {
	{
		.symbol = "dummy_alloc",
		.replacement = fix_alloc,
		.state = LEAK,
		.policy = UMBRA_ALWAYS,
	}, {
		.symbol = "dummy_free",
		.replacement = fix_free,
		.state = LEAK,
		.shadow = LEAK,
		.policy = UMBRA_HAS_SHADOW,
	}, {
		.symbol = "dummy_check",
		.replacement = fix_check,
		.state = CHECKS,
		.shadow = LEAK,
		.policy = UMBRA_HAS_SHADOW,
	},
};

static struct umbra_state states[] = {
	{
		.id = LEAK,
		.name = "leak",
		.is_shadow = true,
		.callbacks.shadow_dtor = leak_dtor,
	}, {
		.id = CHECKS,
		.name = "checks",
		.is_shadow = true,
	},
};

static struct umbra_patch patch = {
	.mod = THIS_MODULE,
	.states = states,
	.nr_states = ARRAY_SIZE(states),
	.hooks = hooks,
	.nr_hooks = ARRAY_SIZE(hooks),
};

static int __init fix_init(void)
{
	return umbra_enable_patch(&patch);
}

static void __exit fix_exit(void)
{
}

module_init(fix_init);
module_exit(fix_exit);
MODULE_DESCRIPTION("Umbra sample: the kernel's shadow variable samples, ported");
MODULE_AUTHOR("The Umbra developers");
MODULE_LICENSE("GPL");
