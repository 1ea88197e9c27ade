// SPDX-License-Identifier: GPL-2.0
/*
 * Umbra: loading and unloading.
 *
 * Patches hold a reference to this module through the symbols they use and to
 * their own through umbra_enable_patch(), so it can be unloaded only when none
 * is enabled.
 */
#include <linux/module.h>

#include "internal.h"

static int __init umbra_init(void)
{
	int ret;

	BUILD_BUG_ON(sizeof(struct umbra_slot) != UMBRA_SLOT_SIZE);
	BUILD_BUG_ON(offsetof(struct umbra_slot, target) != UMBRA_SLOT_TARGET);
	BUILD_BUG_ON(offsetof(struct umbra_slot, original) != UMBRA_SLOT_ORIGINAL);

	ret = umbra_shim_init();
	if (ret)
		return ret;
	ret = umbra_rs_init(umbra_counters_on);
	if (ret)
		goto err_shim;
	ret = umbra_target_init();
	if (ret)
		goto err_rs;
	ret = umbra_show_init();
	if (ret)
		goto err_target;
	return 0;

err_target:
	umbra_target_exit();
err_rs:
	umbra_rs_exit();
err_shim:
	umbra_shim_exit();
	return ret;
}

static void __exit umbra_exit(void)
{
	umbra_livepatch_exit();
	umbra_show_exit();
	umbra_target_exit();
	umbra_rs_exit();
	umbra_sites_exit();
	umbra_shim_exit();
}

module_init(umbra_init);
module_exit(umbra_exit);
MODULE_DESCRIPTION("Shadow variables, system states and per-object hooks");
MODULE_VERSION("0.1.0");
MODULE_AUTHOR("The Umbra developers");
MODULE_LICENSE("GPL");
