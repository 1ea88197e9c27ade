// SPDX-License-Identifier: GPL-2.0
/*
 * A module that was built with another umbra.h: Kbuild makes one of another
 * version, whose struct umbra_patch has another layout. Loading it has to be
 * refused before anything of that structure is believed.
 */
#include <linux/build_bug.h>
#include <linux/err.h>
#include <linux/module.h>
#include <linux/string.h>

#include <umbra_livepatch.h>

/* It is another header, and not ours in another place. */
static_assert(offsetof(struct umbra_patch, mod) == sizeof(unsigned long));

static char *what = "patch";
module_param(what, charp, 0444);
MODULE_PARM_DESC(what, "how it comes to umbra.ko first: patch, livepatch or type");

/* Where another version looks for the module. */
#define NO_MODULE	0x5a5a5a5aUL

static struct umbra_patch patch = {
	.older = NO_MODULE,
	.mod = THIS_MODULE,
	.name = "older",
};

static struct umbra_livepatch livepatch = {
	.umbra.older = NO_MODULE,
	.klp.mod = THIS_MODULE,
};

static int __init older_init(void)
{
	if (!strcmp(what, "type"))
		return PTR_ERR_OR_ZERO(umbra_type_get(1));
	if (!strcmp(what, "livepatch"))
		return umbra_enable_livepatch(&livepatch);
	return umbra_enable_patch(&patch);
}

static void __exit older_exit(void)
{
}

module_init(older_init);
module_exit(older_exit);
MODULE_DESCRIPTION("Umbra: a module built with another umbra.h, for tests");
MODULE_AUTHOR("The Umbra developers");
MODULE_LICENSE("GPL");
