// SPDX-License-Identifier: GPL-2.0
/*
 * Instructions an operation, of Umbra, of the kernel's own shadow variables and
 * of its rhashtable in the same boot.
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
#include <linux/rhashtable.h>
#include <linux/slab.h>
#include <linux/timex.h>
#include <linux/workqueue.h>

#include <umbra.h>
#include <umbra_klp.h>

#include "bench.h"

/* Here the stock functions and the drop-in are two things. */
#undef klp_shadow_get
#undef klp_shadow_alloc
#undef klp_shadow_get_or_alloc
#undef klp_shadow_free
#undef klp_shadow_free_all

#define BENCH_ID	77
#define BENCH_DROP_IN	79

static unsigned int sizes[] = { 1000, 10000, 100000, 1000000 };
static unsigned int nr_sizes = ARRAY_SIZE(sizes);
module_param_array_named(n, sizes, uint, &nr_sizes, 0444);
MODULE_PARM_DESC(n, "how many shadows to measure with; several, by commas");

static struct umbra_type *type;

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

/* A table of the kernel's, by the same keys; each node with as much data. */
struct bench_node {
	struct rhash_head head;
	void *key;
	u64 data;
};

static const struct rhashtable_params bench_params = {
	.key_len = sizeof(void *),
	.key_offset = offsetof(struct bench_node, key),
	.head_offset = offsetof(struct bench_node, head),
	.automatic_shrinking = true,
};

static struct rhashtable bench_table;
/* How many are in it: what finds no memory is no node. */
static unsigned int bench_nodes;

static noinline void op_rhashtable_insert(unsigned int i)
{
	struct bench_node *node = kzalloc(sizeof(*node), GFP_ATOMIC);

	if (!node)
		return;
	node->key = bench_key(i);
	if (rhashtable_insert_fast(&bench_table, &node->head, bench_params))
		kfree(node);
	else
		bench_nodes++;
}

static noinline void op_rhashtable_get(unsigned int i)
{
	void *key = bench_key(i);

	rcu_read_lock();
	barrier_data(rhashtable_lookup(&bench_table, &key, bench_params));
	rcu_read_unlock();
}

static void bench_node_free(void *node, void *unused)
{
	kfree(node);
}

/* Cycles for op on every step-th of the objects from..to. */
u64 bench_loop(bench_op_t op, unsigned int from, unsigned int to,
	       unsigned int step)
{
	unsigned long flags;
	unsigned int i;
	u64 start, end;

	local_irq_save(flags);
	start = rdtsc_ordered();
	for (i = from; i < to; i += step)
		op(i);
	end = rdtsc_ordered();
	local_irq_restore(flags);
	return end - start;
}

void bench_figure(const char *name, unsigned int n, u64 cycles)
{
	u64 hundredths = div_u64(cycles * 100 + n / 2, n);
	u32 rest;
	u64 whole = div_u64_rem(hundredths, 100, &rest);

	pr_info("@umbra {\"kind\":\"figure\",\"name\":\"%s\",\"n\":%u,\"value\":%llu.%02u,\"unit\":\"insn\"}\n",
		name, n, whole, rest);
}

/* Lookups of a large table: as many as that, from all over it. */
#define BENCH_SAMPLE	100000

/* Interrupts are off for so many insertions at a time. */
#define BENCH_STRETCH	10000

/* What the loops cost, which is taken off. */
static u64 bench_insert(const char *name, bench_op_t op, unsigned int n)
{
	u64 empty = 0, cycles = 0;
	unsigned int i;

	for (i = 0; i < n; i += BENCH_STRETCH) {
		unsigned int to = min(n, i + BENCH_STRETCH);

		empty += bench_loop(op_nothing, i, to, 1);
		cycles += bench_loop(op, i, to, 1);
		/* A table that grows by a work item of its own gets on. */
		cond_resched();
	}
	bench_figure(name, n, cycles > empty ? cycles - empty : 0);
	return empty;
}

static void bench(const char *name, bench_op_t op, unsigned int from,
		  unsigned int n)
{
	unsigned int step = max(1U, n / BENCH_SAMPLE);
	u64 empty, cycles;

	/* Once for the caches and for the translator, then for the figure. */
	bench_loop(op, from, from + n, step);
	empty = bench_loop(op_nothing, from, from + n, step);
	cycles = bench_loop(op, from, from + n, step);
	cycles = (cycles > empty ? cycles - empty : 0) * step;
	bench_figure(name, n, cycles);
	cond_resched();
}

static bool bench_grows(void)
{
	bool grows;

	rcu_read_lock();
	grows = rcu_access_pointer(rcu_dereference(bench_table.tbl)->future_tbl);
	rcu_read_unlock();
	return grows;
}

static int bench_rhashtable(unsigned int n)
{
	int ret = rhashtable_init(&bench_table, &bench_params);
	u64 start, loops;

	if (ret)
		return ret;
	bench_nodes = 0;
	start = rdtsc_ordered();
	loops = bench_insert("rhashtable insert", op_rhashtable_insert, n);
	/* Ours grows in its insertions, this one in a work item too. */
	do {
		flush_work(&bench_table.run_work);
	} while (bench_grows());
	bench_figure("rhashtable insert, its work item with it", n,
		     rdtsc_ordered() - start - 2 * loops);
	bench("rhashtable hit", op_rhashtable_get, 0, n);
	bench("rhashtable miss", op_rhashtable_get, n, n);
	rhashtable_free_and_destroy(&bench_table, bench_node_free, NULL);
	return bench_nodes == n ? 0 : -ENOMEM;
}

static int bench_size(unsigned int n)
{
	u64 start;

	bench_insert("klp_shadow_alloc", op_klp_alloc, n);
	bench("klp_shadow_get hit", op_klp_get, 0, n);
	bench("klp_shadow_get miss", op_klp_get, n, n);
	start = rdtsc_ordered();
	klp_shadow_free_all(BENCH_ID, NULL);
	bench_figure("klp_shadow_free_all, each", n, rdtsc_ordered() - start);

	bench_insert("umbra_alloc", op_alloc, n);
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
	return bench_rhashtable(n);
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
	bench_insert("kzalloc of an entry", op_kzalloc, n);
	while (memory) {
		void **piece = memory;

		memory = *piece;
		kfree(piece);
	}
}

/* ---- the longest time with preemption off, or interrupts ---- */

static unsigned int sections = 1000000;
module_param(sections, uint, 0444);
MODULE_PARM_DESC(sections, "how many shadows to look for the longest section with; 0: do not");

/*
 * umbra.ko turns preemption off by two functions, and interrupts by two others, in the
 * drop-in only. Probes on two of them see each section begin and end; what they cost
 * themselves is the shortest section with preemption off, and taken off, for those
 * inside of another section too.
 */
static u64 section_start, section_longest, section_shortest = ~0ULL;
static unsigned int section_depth, section_inner;

static int section_begins(struct kprobe *probe, struct pt_regs *regs)
{
	if (section_depth++)
		section_inner++;
	else
		section_start = rdtsc_ordered();
	return 0;
}

static int section_ends(struct kprobe *probe, struct pt_regs *regs)
{
	u64 length = rdtsc_ordered() - section_start;
	u64 probes = section_inner * 2 * section_shortest;

	/* The first may have begun before the probes were there. */
	if (!section_depth || --section_depth)
		return 0;
	if (section_inner)
		length -= min(length, probes);
	else
		section_shortest = min(section_shortest, length);
	section_longest = max(section_longest, length);
	section_inner = 0;
	return 0;
}

/* They are when the function returns that turns them off. */
static int irqs_are_off(struct kretprobe_instance *instance, struct pt_regs *regs)
{
	return section_begins(NULL, regs);
}

static struct kprobe guard_begins = {
	.symbol_name = "umbra_c_guard", .pre_handler = section_begins,
};

static struct kprobe guard_ends = {
	.symbol_name = "umbra_c_unguard", .pre_handler = section_ends,
};

static struct kretprobe irqs_begin = {
	.kp.symbol_name = "umbra_c_irqs_off", .handler = irqs_are_off,
};

static struct kprobe irqs_end = {
	.symbol_name = "umbra_c_irqs_as", .pre_handler = section_ends,
};

static int free_has_returned(struct kretprobe_instance *instance,
			     struct pt_regs *regs)
{
	return section_ends(NULL, regs);
}

/* What the drop-in's free with a destructor does under its lock. */
static struct kretprobe free_locked = {
	.kp.symbol_name = "umbra_rs_shadow_free",
	.entry_handler = irqs_are_off,
	.handler = free_has_returned,
};

static struct kprobe *guard_probes[] = { &guard_begins, &guard_ends };

/* What the probes cost themselves is other probes' no longer. */
static void section_reset(void)
{
	section_longest = 0;
	section_shortest = ~0ULL;
	section_depth = 0;
	section_inner = 0;
}

static void section_figure(const char *name)
{
	if (section_longest)
		bench_figure(name, 1, section_longest - section_shortest);
	section_longest = 0;
}

/* The longest call for one of n objects, by itself: interrupts are off for it. */
static u64 bench_longest(bench_op_t op, unsigned int n, u64 *shortest)
{
	u64 longest = 0;
	unsigned int i;

	*shortest = ~0ULL;
	for (i = 0; i < n; i++) {
		u64 length, start;

		local_irq_disable();
		start = rdtsc_ordered();
		op(i);
		length = rdtsc_ordered() - start;
		local_irq_enable();
		longest = max(longest, length);
		*shortest = min(*shortest, length);
		if (i % BENCH_STRETCH == 0)
			cond_resched();
	}
	return longest;
}

static void op_destruct(void *obj, void *data)
{
	barrier_data(data);
}

static noinline void op_drop_in_alloc(unsigned int i)
{
	barrier_data(umbra_klp_shadow_alloc(bench_key(i), BENCH_DROP_IN, 8,
					    GFP_ATOMIC, NULL, NULL));
}

static noinline void op_drop_in_free(unsigned int i)
{
	umbra_klp_shadow_free(bench_key(i), BENCH_DROP_IN, op_destruct);
}

/*
 * A destructor of the drop-in's runs under a lock, with interrupts off: the longest time
 * over the shortest, and the shortest of some calls, which is more than that.
 */
static int bench_drop_in_free(unsigned int n)
{
	u64 nothing, shortest;
	unsigned int i, some = min(n, 1000U);
	int ret;

	bench_longest(op_nothing, 1000, &nothing);
	bench_longest(op_drop_in_free, some, &shortest);
	section_reset();
	ret = register_kretprobe(&free_locked);
	if (ret)
		return ret;
	for (i = some; i < n; i++) {
		op_drop_in_free(i);
		if (i % BENCH_STRETCH == 0)
			cond_resched();
	}
	unregister_kretprobe(&free_locked);
	section_longest += shortest - nothing;
	section_figure("interrupts off, longest, drop-in free and each of its free_all");
	umbra_barrier();
	return 0;
}

static int bench_longest_insert(unsigned int n)
{
	u64 nothing, shortest, longest;
	int ret = rhashtable_init(&bench_table, &bench_params);

	if (ret)
		return ret;
	bench_longest(op_nothing, 1000, &nothing);
	longest = bench_longest(op_rhashtable_insert, n, &shortest);
	bench_figure("longest rhashtable insert", 1, longest - nothing);
	rhashtable_free_and_destroy(&bench_table, bench_node_free, NULL);
	return 0;
}

static int bench_sections(unsigned int n)
{
	u64 longest, shortest;
	unsigned int i;
	int ret;

	ret = register_kprobes(guard_probes, ARRAY_SIZE(guard_probes));
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
	longest = bench_longest(op_get, n, &shortest);
	bench_figure("longest umbra_get, over the shortest", 1, longest - shortest);
	section_longest = 0;
	umbra_free_all(type, NULL);
	section_figure("longest section, umbra_free_all");
	umbra_barrier();
	section_figure("longest section, reclaiming all");
	for (i = 0; i < n; i++)
		op_drop_in_alloc(i);
	section_longest = 0;
	umbra_klp_shadow_free_all(BENCH_DROP_IN, op_destruct);
	section_figure("longest section, the drop-in's free_all with a destructor");
	umbra_barrier();
	unregister_kprobes(guard_probes, ARRAY_SIZE(guard_probes));
	section_reset();

	/* Other probes, whose own cost is not known: so over the shortest. */
	ret = register_kprobe(&irqs_end);
	if (ret)
		return ret;
	ret = register_kretprobe(&irqs_begin);
	if (!ret)
		for (i = 0; i < n; i++)
			op_drop_in_alloc(i);
	section_figure("interrupts off, longest, over the shortest, drop-in alloc");
	unregister_kretprobe(&irqs_begin);
	unregister_kprobe(&irqs_end);
	ret = ret ?: bench_drop_in_free(n);
	return ret ?: bench_longest_insert(n);
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
		ret = bench_size(sizes[i]);
		if (ret)
			goto out;
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
