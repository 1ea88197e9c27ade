// SPDX-License-Identifier: GPL-2.0
/*
 * Sample: a fix of set-up code, for devices that were set up long ago.
 *
 * The toy driver sets devices up without a queue. Correcting toy_probe() helps
 * those that come; for those that are there pre_patch walks them and attaches a
 * shadow to each, which may fail, post_patch corrects them, and pre_unpatch gives
 * them back what they had.
 *
 * A device may go between pre_patch and the opening of the hook on toy_remove(),
 * and leave its shadow to the next one at its address. The shadow therefore
 * remembers which device it was made for.
 */
#include <linux/err.h>
#include <linux/module.h>

#include <umbra.h>

#include "umbra_toy.h"

#define PROBE		23	/* the corrected code */
#define QUEUE		24	/* on a device: what it had */
#define QUEUE_LENGTH	64

struct queue_before {
	unsigned int nr;
	unsigned int queue;
};

static struct umbra_hook hooks[];

static struct toy *fix_probe(unsigned int nr)
{
	struct toy *(*original)(unsigned int nr) = hooks[0].original;
	int cookie = umbra_replacement_begin();
	struct toy *toy = original(nr);

	if (toy)
		toy->queue = QUEUE_LENGTH;
	umbra_replacement_end(cookie);
	return toy;
}

static void fix_remove(struct toy *toy)
{
	void (*original)(struct toy *toy) = hooks[1].original;

	umbra_shadow_free(toy, QUEUE, NULL);
	original(toy);
}

static struct umbra_hook hooks[] = {
	{
		.symbol = "toy_probe",
		.replacement = fix_probe,
		.state = PROBE,
		.policy = UMBRA_ALWAYS,
	}, {
		.symbol = "toy_remove",
		.replacement = fix_remove,
		.state = PROBE,
		.shadow = QUEUE,
		.policy = UMBRA_HAS_SHADOW,
	},
};

static int queue_pre(struct umbra_patch *patch, struct umbra_state *state,
		     enum umbra_reason reason)
{
	struct queue_before *before;
	struct toy *toy;
	int ret = 0;

	mutex_lock(&toy_lock);
	list_for_each_entry(toy, &toys, node) {
		before = umbra_shadow_get_or_alloc(toy, QUEUE, sizeof(*before),
						   GFP_KERNEL, NULL, NULL);
		if (!before) {
			/* Those that were attached go by themselves. */
			ret = -ENOMEM;
			break;
		}
		before->nr = toy->nr;
		before->queue = toy->queue;
	}
	mutex_unlock(&toy_lock);
	return ret;
}

/* The shadow of this device, not of one that was at its address before. */
static struct queue_before *queue_before(struct toy *toy)
{
	struct queue_before *before = umbra_shadow_get(toy, QUEUE);

	return before && before->nr == toy->nr ? before : NULL;
}

static void queue_post(struct umbra_patch *patch, struct umbra_state *state,
		       enum umbra_reason reason)
{
	struct toy *toy;

	mutex_lock(&toy_lock);
	list_for_each_entry(toy, &toys, node)
		toy->queue = QUEUE_LENGTH;
	mutex_unlock(&toy_lock);
}

static void queue_pre_un(struct umbra_patch *patch, struct umbra_state *state,
			 enum umbra_reason reason)
{
	struct queue_before *before;
	struct toy *toy;

	mutex_lock(&toy_lock);
	list_for_each_entry(toy, &toys, node) {
		before = queue_before(toy);
		if (before)
			toy->queue = before->queue;
	}
	mutex_unlock(&toy_lock);
}

/*
 * Gates open in this order: when the devices are corrected new ones are so
 * already, and none can come in between with the bug.
 */
static struct umbra_state states[] = {
	{
		.id = PROBE,
		.name = "probe",
	}, {
		.id = QUEUE,
		.name = "queues",
		.is_shadow = true,
		.callbacks = {
			.pre_patch = queue_pre,
			.post_patch = queue_post,
			.pre_unpatch = queue_pre_un,
		},
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
MODULE_DESCRIPTION("Umbra sample: a fix for devices that are there already");
MODULE_AUTHOR("The Umbra developers");
MODULE_LICENSE("GPL");
