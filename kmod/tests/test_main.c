// SPDX-License-Identifier: GPL-2.0
/*
 * Tests of umbra.h from inside the kernel, as KTAP on the console. Loading the
 * module runs them; it loads in any case, so that unloading is tested too. With
 * leak=N it only leaves N shadows behind, for the leak audit to find.
 */
#include "umbra_test.h"

#define LEAK_ID	599

int objects[16];

static uint leak;
module_param(leak, uint, 0444);
MODULE_PARM_DESC(leak, "attach so many shadows and leave them, and do nothing else");

static const struct umbra_test *const suites[] = {
	umbra_shadow_tests,
	umbra_patch_tests,
	umbra_abi_tests,
	umbra_hook_tests,
	umbra_state_tests,
	umbra_fault_tests,
};

static int __init umbra_test_init(void)
{
	const struct umbra_test *test;
	unsigned int n = 0;
	size_t i;

	for (i = 0; i < leak; i++)
		umbra_shadow_alloc((void *)i, LEAK_ID, 8, GFP_KERNEL, NULL, NULL);
	if (leak)
		return 0;

	for (i = 0; i < ARRAY_SIZE(suites); i++)
		for (test = suites[i]; test->run; test++)
			n++;
	pr_info("KTAP version 1\n");
	pr_info("1..%u\n", n);
	n = 0;
	for (i = 0; i < ARRAY_SIZE(suites); i++)
		for (test = suites[i]; test->run; test++)
			pr_info("%s %u %s\n", test->run() ? "ok" : "not ok", ++n,
				test->name);
	return 0;
}

static void __exit umbra_test_exit(void)
{
}

module_init(umbra_test_init);
module_exit(umbra_test_exit);
MODULE_DESCRIPTION("Umbra: tests from inside the kernel");
MODULE_AUTHOR("The Umbra developers");
MODULE_LICENSE("GPL");
