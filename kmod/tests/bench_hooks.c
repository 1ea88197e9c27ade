// SPDX-License-Identifier: GPL-2.0
/* What a hook adds to a call, in instructions as in bench_main.c. */
#include <linux/module.h>

#include <umbra.h>

#include "bench.h"
#include "patch.h"

#define BENCH_STATE	78

noinline UMBRA_HOOKED int umbra_bench_target(void *obj);
noinline UMBRA_HOOKED int umbra_bench_target(void *obj)
{
	barrier_data(obj);
	return 1;
}

static int bench_replacement(void *obj)
{
	barrier_data(obj);
	return 2;
}

static noinline void op_call(unsigned int i)
{
	umbra_bench_target(bench_key(i));
}

#define CALLS	1000

static u64 plain;

static void bench_hook(const char *name, unsigned int from)
{
	u64 cycles;

	bench_loop(op_call, from, from + CALLS, 1);
	cycles = bench_loop(op_call, from, from + CALLS, 1);
	bench_figure(name, CALLS, cycles > plain ? cycles - plain : 0);
}

static int bench_pre_patch(struct umbra_patch *patch, struct umbra_state *state,
			   enum umbra_reason reason)
{
	unsigned int i;

	for (i = 0; i < CALLS; i++)
		if (!umbra_shadow_alloc(bench_key(i), BENCH_STATE, 8, GFP_KERNEL,
					NULL, NULL))
			return -ENOMEM;
	return 0;
}

/* The hooks are in place here, and the gate is still closed. */
static void bench_post_patch(struct umbra_patch *patch, struct umbra_state *state,
			     enum umbra_reason reason)
{
	bench_hook("hook, closed", 0);
}

static struct umbra_state states[] = {
	{
		.id = BENCH_STATE,
		.name = "bench",
		.is_shadow = true,
		.callbacks = {
			.pre_patch = bench_pre_patch,
			.post_patch = bench_post_patch,
		},
	},
};

static struct umbra_hook hooks[] = {
	UMBRA_TEST_HOOK("umbra_bench_target", bench_replacement, BENCH_STATE),
};

static struct umbra_patch patch = UMBRA_TEST_PATCH(states, hooks);

int bench_hooks(void)
{
	int ret;

	bench_loop(op_call, 0, CALLS, 1);
	plain = bench_loop(op_call, 0, CALLS, 1);
	ret = umbra_enable_patch(&patch);
	if (ret)
		return ret;
	bench_hook("hook, open, miss", CALLS);
	bench_hook("hook, open, hit and diverted", 0);
	/* While it is enabled the module has to stay, so that is no failure. */
	ret = umbra_disable_patch(&patch);
	if (ret)
		pr_err("umbra_bench: the patch stays enabled: %d\n", ret);
	return 0;
}
