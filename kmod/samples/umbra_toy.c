// SPDX-License-Identifier: GPL-2.0
/*
 * A driver with bugs, for the samples to fix while it runs. Its devices come and
 * go by writing their numbers to the files in /sys/module/umbra_toy/parameters:
 *
 *	probe, remove	a device comes, a device goes
 *	reply, open	it is asked for something: written, or an error
 *	tick		a second is over
 *	queues		"number:length" of each device
 *
 * The bugs: all devices share one budget of replies, so that who can ask one of
 * them learns what the others do (umbra_fix_limit.c); devices are set up without
 * a queue (umbra_fix_probe.c); and anybody may open them, which somebody may want
 * otherwise for some (umbra_fix_open.c).
 */
#include <linux/errno.h>
#include <linux/module.h>
#include <linux/slab.h>

#include "umbra_toy.h"

unsigned int toy_limit = 3;
EXPORT_SYMBOL_GPL(toy_limit);
module_param_named(limit, toy_limit, uint, 0644);
MODULE_PARM_DESC(limit, "replies of all devices in a second");

unsigned int toy_second;
EXPORT_SYMBOL_GPL(toy_second);

LIST_HEAD(toys);
EXPORT_SYMBOL_GPL(toys);
/* Protects the list, the devices in it, and the replies. */
DEFINE_MUTEX(toy_lock);
EXPORT_SYMBOL_GPL(toy_lock);

/* Of all devices, in this second; under toy_lock as all else. */
static unsigned int toy_replies;

noinline struct toy *toy_probe(unsigned int nr)
{
	struct toy *toy = kzalloc(sizeof(*toy), GFP_KERNEL);

	if (!toy)
		return NULL;
	toy->nr = nr;
	/* The first bug: no queue. */
	list_add_tail(&toy->node, &toys);
	return toy;
}
EXPORT_SYMBOL_GPL(toy_probe);

noinline void toy_remove(struct toy *toy)
{
	list_del(&toy->node);
	kfree(toy);
}
EXPORT_SYMBOL_GPL(toy_remove);

noinline int toy_reply(struct toy *toy)
{
	/* The second bug: one budget for all. */
	if (toy_replies >= READ_ONCE(toy_limit))
		return -EBUSY;
	toy_replies++;
	return 0;
}
EXPORT_SYMBOL_GPL(toy_reply);

noinline int toy_open(struct toy *toy)
{
	return toy->nr ? 0 : -ENXIO;
}
EXPORT_SYMBOL_GPL(toy_open);

enum toy_request { TOY_PROBE, TOY_REMOVE, TOY_REPLY, TOY_OPEN, TOY_TICK };

static struct toy *toy_find(unsigned int nr)
{
	struct toy *toy;

	list_for_each_entry(toy, &toys, node)
		if (toy->nr == nr)
			return toy;
	return NULL;
}

static int toy_set(const char *val, const struct kernel_param *kp)
{
	enum toy_request request = (unsigned long)kp->arg;
	unsigned int nr;
	struct toy *toy;
	int ret = kstrtouint(val, 0, &nr);

	if (ret)
		return ret;
	mutex_lock(&toy_lock);
	toy = toy_find(nr);
	if (request == TOY_TICK) {
		toy_second++;
		toy_replies = 0;
	} else if (request == TOY_PROBE) {
		ret = toy ? -EEXIST : toy_probe(nr) ? 0 : -ENOMEM;
	} else if (!toy) {
		ret = -ENODEV;
	} else if (request == TOY_REMOVE) {
		toy_remove(toy);
	} else {
		ret = request == TOY_REPLY ? toy_reply(toy) : toy_open(toy);
	}
	mutex_unlock(&toy_lock);
	return ret;
}

static const struct kernel_param_ops toy_ops = { .set = toy_set };

module_param_cb(probe, &toy_ops, (void *)TOY_PROBE, 0200);
MODULE_PARM_DESC(probe, "a device of this number comes");
module_param_cb(remove, &toy_ops, (void *)TOY_REMOVE, 0200);
MODULE_PARM_DESC(remove, "the device of this number goes");
module_param_cb(reply, &toy_ops, (void *)TOY_REPLY, 0200);
MODULE_PARM_DESC(reply, "ask the device of this number for a reply");
module_param_cb(open, &toy_ops, (void *)TOY_OPEN, 0200);
MODULE_PARM_DESC(open, "open the device of this number");
module_param_cb(tick, &toy_ops, (void *)TOY_TICK, 0200);
MODULE_PARM_DESC(tick, "a second is over");

static int toy_queues_get(char *buf, const struct kernel_param *kp)
{
	struct toy *toy;
	int len = 0;

	mutex_lock(&toy_lock);
	list_for_each_entry(toy, &toys, node)
		len += sysfs_emit_at(buf, len, "%u:%u ", toy->nr, toy->queue);
	mutex_unlock(&toy_lock);
	return len;
}

static const struct kernel_param_ops toy_queues_ops = { .get = toy_queues_get };
module_param_cb(queues, &toy_queues_ops, NULL, 0444);
MODULE_PARM_DESC(queues, "number and queue length of each device");

static int __init toy_init(void)
{
	return 0;
}

static void __exit toy_exit(void)
{
	struct toy *toy, *next;

	list_for_each_entry_safe(toy, next, &toys, node)
		toy_remove(toy);
}

module_init(toy_init);
module_exit(toy_exit);
MODULE_DESCRIPTION("Umbra sample: a driver with bugs");
MODULE_AUTHOR("The Umbra developers");
MODULE_LICENSE("GPL");
