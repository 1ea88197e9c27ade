// SPDX-License-Identifier: GPL-2.0
/*
 * A module with a function that is hooked and an object that has a shadow. Where
 * the object is, is told it, so that the next one can be at the same address.
 */
#include <linux/module.h>

#include "../hooked.h"

static unsigned long object;
module_param(object, ulong, 0400);
MODULE_PARM_DESC(object, "where its object is; never followed");

static UMBRA_HOOKED int umbra_tgt_work(void *object)
{
	barrier_data(object);
	return 1;
}

/* No call to ftrace is in it. */
static notrace UMBRA_HOOKED int umbra_tgt_untraceable(void *object)
{
	barrier_data(object);
	return 1;
}

static int call_get(char *buf, const struct kernel_param *kp)
{
	return sysfs_emit(buf, "%d\n", umbra_tgt_work((void *)object) *
			  umbra_tgt_untraceable((void *)object));
}

static const struct kernel_param_ops call_ops = {
	.get = call_get,
};
module_param_cb(call, &call_ops, NULL, 0400);
MODULE_PARM_DESC(call, "what umbra_tgt_work() returns, times 1");

static int __init tgt_init(void)
{
	return 0;
}

static void __exit tgt_exit(void)
{
}

module_init(tgt_init);
module_exit(tgt_exit);
MODULE_DESCRIPTION("Umbra: a module to be hooked by the tests");
MODULE_AUTHOR("The Umbra developers");
MODULE_LICENSE("GPL");
