// SPDX-License-Identifier: GPL-2.0
/*
 * Instructions an operation, of Umbra and of the kernel's own shadow variables
 * in the same boot.
 *
 * Under QEMU's -icount the time stamp counter counts executed instructions, so
 * a difference of two readings is exact and the same from run to run. (On real
 * hardware the figures are cycles.) Timed loops run with interrupts off and
 * call an empty function in a first pass, whose cost is taken off.
 *
 * Loading the module runs it; the figures are messages of the guest protocol.
 */
#include <linux/err.h>
#include <linux/irqflags.h>
#include <linux/kprobes.h>
#include <linux/livepatch.h>
#include <linux/math64.h>
#include <linux/module.h>
#include <linux/slab.h>
#include <linux/timex.h>

#include "patch.h"

#define BENCH_ID	77
#define BENCH_STATE	78

static unsigned int sizes[] = { 1000, 100000 };
static unsigned int nr_sizes = ARRAY_SIZE(sizes);
module_param_array_named(n, sizes, uint, &nr_sizes, 0444);
MODULE_PARM_DESC(n, "how many shadows to measure with; several, by commas");

/* Addresses as slab objects have them; nobody follows them. */
static void *bench_key(unsigned int i)
{
	return (void *)(0xffff888000000000UL + i * 192UL);
}

static struct umbra_type *type;

/* One operation on the i-th object. */
typedef void (*bench_op_t)(unsigned int i);

static noinline void op_nothing(unsigned int i)
{
	barrier_data(bench_key(i));
}

static noinline void op_klp_alloc(unsigned int i)
{
	barrier_data(klp_shadow_alloc(bench_key(i), BENCH_ID, 8, GFP_ATOMIC,
				      NULL, NULL));
}

static noinline void op_klp_get(unsigned int i)
{
	barrier_data(klp_shadow_get(bench_key(i), BENCH_ID));
}

static noinline void op_alloc(unsigned int i)
{
	barrier_data(umbra_alloc(type, bench_key(i), 8, GFP_ATOMIC, NULL, NULL));
}

static noinline void op_get(unsigned int i)
{
	barrier_data(umbra_get(type, bench_key(i)));
}

static noinline void op_get_rcu(unsigned int i)
{
	barrier_data(umbra_get_rcu(type, bench_key(i)));
}

static noinline void op_shadow_get(unsigned int i)
{
	barrier_data(umbra_shadow_get(bench_key(i), BENCH_ID));
}

/* Cycles for op on objects from..to. */
static u64 bench_loop(bench_op_t op, unsigned int from, unsigned int to)
{
	unsigned long flags;
	unsigned int i;
	u64 start, end;

	local_irq_save(flags);
	start = rdtsc_ordered();
	for (i = from; i < to; i++)
		op(i);
	end = rdtsc_ordered();
	local_irq_restore(flags);
	return end - start;
}

static void bench_figure(const char *name, unsigned int n, u64 cycles)
{
	u64 hundredths = div_u64(cycles * 100 + n / 2, n);
	u32 rest;
	u64 whole = div_u64_rem(hundredths, 100, &rest);

	pr_info("@umbra {\"kind\":\"figure\",\"name\":\"%s\",\"n\":%u,\"value\":%llu.%02u,\"unit\":\"insn\"}\n",
		name, n, whole, rest);
}

static void bench(const char *name, bench_op_t op, unsigned int from,
		  unsigned int n)
{
	u64 empty, cycles;

	/* Once for the caches and for the translator, then for the figure. */
	if (op != op_klp_alloc && op != op_alloc)
		bench_loop(op, from, from + n);
	empty = bench_loop(op_nothing, from, from + n);
	cycles = bench_loop(op, from, from + n);
	bench_figure(name, n, cycles > empty ? cycles - empty : 0);
	cond_resched();
}

static void bench_size(unsigned int n)
{
	u64 start;

	bench("klp_shadow_alloc", op_klp_alloc, 0, n);
	bench("klp_shadow_get hit", op_klp_get, 0, n);
	bench("klp_shadow_get miss", op_klp_get, n, n);
	start = rdtsc_ordered();
	klp_shadow_free_all(BENCH_ID, NULL);
	bench_figure("klp_shadow_free_all, each", n, rdtsc_ordered() - start);

	bench("umbra_alloc", op_alloc, 0, n);
	bench("umbra_get hit", op_get, 0, n);
	bench("umbra_get miss", op_get, n, n);
	bench("umbra_get_rcu hit", op_get_rcu, 0, n);
	bench("umbra_get_rcu miss", op_get_rcu, n, n);
	bench("umbra_shadow_get hit", op_shadow_get, 0, n);
	bench("umbra_shadow_get miss", op_shadow_get, n, n);
	start = rdtsc_ordered();
	umbra_free_all(type, NULL);
	bench_figure("umbra_free_all until invisible, each", n,
		     rdtsc_ordered() - start);
	/* Reclaims, and lets the next size begin with nothing pending. */
	umbra_barrier();
}

/* What any insertion of that size pays: its memory. */
static void *memory;

static noinline void op_kzalloc(unsigned int i)
{
	/* Its size is not known to the compiler, as an entry's is not. */
	size_t size = 24;
	void **piece;

	OPTIMIZER_HIDE_VAR(size);
	piece = kzalloc(size, GFP_ATOMIC);
	if (piece) {
		*piece = memory;
		memory = piece;
	}
}

static void bench_memory(unsigned int n)
{
	bench("kzalloc of an entry", op_kzalloc, 0, n);
	while (memory) {
		void **piece = memory;

		memory = *piece;
		kfree(piece);
	}
}

/* ---- the longest time with preemption off ---- */

static unsigned int sections = 1000000;
module_param(sections, uint, 0444);
MODULE_PARM_DESC(sections, "how many shadows to look for the longest section with; 0: do not");

/*
 * umbra.ko turns preemption off by two functions, and never interrupts. Probes on
 * them see each section begin and end; what they cost themselves is the shortest
 * section, and taken off.
 */
static u64 section_start, section_longest, section_shortest = ~0ULL;

static int section_begins(struct kprobe *probe, struct pt_regs *regs)
{
	section_start = rdtsc_ordered();
	return 0;
}

static int section_ends(struct kprobe *probe, struct pt_regs *regs)
{
	u64 length = rdtsc_ordered() - section_start;

	if (section_start) {
		section_longest = max(section_longest, length);
		section_shortest = min(section_shortest, length);
	}
	section_start = 0;
	return 0;
}

static struct kprobe section_probes[] = {
	{ .symbol_name = "umbra_c_guard", .pre_handler = section_begins },
	{ .symbol_name = "umbra_c_unguard", .pre_handler = section_ends },
};

static void section_figure(const char *name)
{
	if (section_longest)
		bench_figure(name, 1, section_longest - section_shortest);
	section_longest = 0;
}

static int bench_sections(unsigned int n)
{
	struct kprobe *probes[] = { &section_probes[0], &section_probes[1] };
	u64 longest = 0, shortest = ~0ULL;
	unsigned int i;
	int ret = register_kprobes(probes, ARRAY_SIZE(probes));

	if (ret)
		return ret;
	for (i = 0; i < n; i++)
		op_alloc(i);
	section_figure("longest section, umbra_alloc");
	for (i = 0; i < n / 10; i++)
		umbra_free(type, bench_key(i), NULL);
	section_figure("longest section, umbra_free");
	umbra_barrier();
	section_figure("longest section, reclaiming those");
	/* A lookup is one section, which is an inline of the kernel's. */
	for (i = 0; i < n; i++) {
		u64 length, start;

		local_irq_disable();
		start = rdtsc_ordered();
		op_get(i);
		length = rdtsc_ordered() - start;
		local_irq_enable();
		longest = max(longest, length);
		shortest = min(shortest, length);
	}
	bench_figure("longest umbra_get, over the shortest", 1, longest - shortest);
	section_longest = 0;
	umbra_free_all(type, NULL);
	section_figure("longest section, umbra_free_all");
	umbra_barrier();
	section_figure("longest section, reclaiming all");
	unregister_kprobes(probes, ARRAY_SIZE(probes));
	return 0;
}

/* ---- what a hook adds to a call ---- */

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

	bench_loop(op_call, from, from + CALLS);
	cycles = bench_loop(op_call, from, from + CALLS);
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

static int bench_hooks(void)
{
	int ret;

	bench_loop(op_call, 0, CALLS);
	plain = bench_loop(op_call, 0, CALLS);
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

static int __init bench_init(void)
{
	unsigned int i;
	int ret;

	type = umbra_type_get(BENCH_ID);
	if (IS_ERR(type))
		return PTR_ERR(type);
	for (i = 0; i < nr_sizes; i++) {
		if (!sizes[i] || sizes[i] > 10000000) {
			pr_err("umbra_bench: n=%u: give numbers from 1 to 10000000\n",
			       sizes[i]);
			ret = -EINVAL;
			goto out;
		}
		bench_size(sizes[i]);
	}
	bench_memory(1000);
	ret = sections ? bench_sections(sections) : 0;
	ret = ret ?: bench_hooks();
out:
	umbra_type_put(type);
	return ret;
}

static void __exit bench_exit(void)
{
}

module_init(bench_init);
module_exit(bench_exit);
MODULE_DESCRIPTION("Umbra: instructions an operation");
MODULE_AUTHOR("The Umbra developers");
MODULE_LICENSE("GPL");
