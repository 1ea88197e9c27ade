/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The same fix by the stock API alone, as its documentation has it: the first
 * patch attaches the shadows before it changes code, each frees them after. The
 * test shows what becomes of them; count says how many there are.
 */
#include <linux/livepatch.h>
#include <linux/module.h>
#include <linux/seq_file.h>

#define STOCK_ID	7001
#define STOCK_OBJECTS	4

static bool replace;
module_param(replace, bool, 0444);
MODULE_PARM_DESC(replace, "it replaces all others");
static bool shadows = true;
module_param(shadows, bool, 0444);
MODULE_PARM_DESC(shadows, "it attaches and frees shadows");

static void *stock_object(unsigned int n)
{
	return (void *)(0x1000UL + n);
}

static int stock_pre_patch(struct klp_object *obj)
{
	unsigned int n;

	for (n = 0; shadows && n < STOCK_OBJECTS; n++)
		if (!klp_shadow_get_or_alloc(stock_object(n), STOCK_ID, 16,
					     GFP_KERNEL, NULL, NULL))
			return -ENOMEM;
	return 0;
}

static void stock_post_unpatch(struct klp_object *obj)
{
	if (shadows)
		klp_shadow_free_all(STOCK_ID, NULL);
}

static int stock_cmdline(struct seq_file *m, void *v)
{
	seq_printf(m, "%s\n", KBUILD_MODNAME);
	return 0;
}

static struct klp_func funcs[] = {
	{ .old_name = "cmdline_proc_show", .new_func = stock_cmdline },
	{ }
};

static struct klp_object objs[] = {
	{
		.funcs = funcs,
		.callbacks.pre_patch = stock_pre_patch,
		.callbacks.post_unpatch = stock_post_unpatch,
	},
	{ }
};

static struct klp_patch patch = {
	.mod = THIS_MODULE,
	.objs = objs,
};

static int count_get(char *buf, const struct kernel_param *kp)
{
	unsigned int n, count = 0;

	for (n = 0; n < STOCK_OBJECTS; n++)
		count += !!klp_shadow_get(stock_object(n), STOCK_ID);
	return sysfs_emit(buf, "%u\n", count);
}

static int sweep_set(const char *val, const struct kernel_param *kp)
{
	klp_shadow_free_all(STOCK_ID, NULL);
	return 0;
}

static const struct kernel_param_ops count_ops = {
	.get = count_get,
	.set = sweep_set,
};
module_param_cb(count, &count_ops, NULL, 0600);
MODULE_PARM_DESC(count, "how many of the shadows there are; write to free them");

static int __init stock_init(void)
{
	patch.replace = replace;
	return klp_enable_patch(&patch);
}

static void __exit stock_exit(void)
{
}

module_init(stock_init);
module_exit(stock_exit);
MODULE_DESCRIPTION("Umbra: a stock livepatch for tests");
MODULE_AUTHOR("The Umbra developers");
MODULE_LICENSE("GPL");
MODULE_INFO(livepatch, "Y");
