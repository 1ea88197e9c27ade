// SPDX-License-Identifier: GPL-2.0
/*
 * What a user of klp_shadow_*() may count on. Compiled twice: against the stock
 * functions (klp_stock.c), which says that the claims are true, and against the
 * drop-in (klp_ours.c), which says that they stay so. The kernel's own test of
 * these functions cannot see any of this.
 */
#include <linux/completion.h>
#include <linux/delay.h>
#include <linux/hrtimer.h>
#include <linux/kthread.h>
#include <linux/livepatch.h>
#include <linux/mm.h>
#include <linux/rcupdate.h>
#include <linux/string.h>

#include "../src/compat.h"
#include "umbra_test.h"

#define ID	0x7001

int objects[16];

static bool atomic_here;

static int value_ctor(void *obj, void *data, void *value)
{
	atomic_here = irqs_disabled();
	return test_ctor(obj, data, value);
}

/* Any result but 0 is a failure, positive ones too. */
static int result_ctor(void *obj, void *data, void *result)
{
	atomic_inc(&ctors);
	return (int)(long)result;
}

static bool gone_in_dtor;

static void looking_dtor(void *obj, void *data)
{
	atomic_here = irqs_disabled();
	gone_in_dtor = !klp_shadow_get(obj, ID);
	test_dtor(obj, data);
}

static bool klp_any_key_and_size(void)
{
	void *ends[] = { NULL, (void *)~0UL, (void *)1UL };
	unsigned long ids[] = { 0, 1, ~0UL };
	size_t i, j;

	for (i = 0; i < ARRAY_SIZE(ends); i++)
		for (j = 0; j < ARRAY_SIZE(ids); j++) {
			void *data = klp_shadow_alloc(ends[i], ids[j], j, GFP_KERNEL,
						      NULL, NULL);

			CHECK(data && IS_ALIGNED((unsigned long)data, 16));
			CHECK(klp_shadow_get(ends[i], ids[j]) == data);
		}
	for (j = 0; j < ARRAY_SIZE(ids); j++)
		klp_shadow_free_all(ids[j], NULL);
	for (i = 0; i < ARRAY_SIZE(ends); i++)
		for (j = 0; j < ARRAY_SIZE(ids); j++)
			CHECK(!klp_shadow_get(ends[i], ids[j]));
	return true;
}

static bool klp_data_is_zeroed(void)
{
	int round;
	u8 *data;

	for (round = 0; round < 50; round++) {
		data = klp_shadow_alloc(&objects[0], ID, 100, GFP_KERNEL, NULL, NULL);
		CHECK(data && !memchr_inv(data, 0, 100));
		memset(data, 0xa5, 100);
		klp_shadow_free(&objects[0], ID, NULL);
		if (round % 10 == 9)
			rcu_barrier();
	}
	return true;
}

static bool klp_a_ctor_that_fails(void)
{
	static const int results[] = { -ENOMEM, -EBUSY, -EEXIST, 1, 77 };
	unsigned long *data;
	size_t i;

	atomic_set(&ctors, 0);
	atomic_set(&dtors, 0);
	for (i = 0; i < ARRAY_SIZE(results); i++) {
		void *result = (void *)(long)results[i];

		CHECK(!klp_shadow_alloc(&objects[0], ID, 8, GFP_KERNEL,
					result_ctor, result));
		CHECK(!klp_shadow_get_or_alloc(&objects[0], ID, 8, GFP_ATOMIC,
					       result_ctor, result));
		CHECK(!klp_shadow_get(&objects[0], ID));
		CHECK(atomic_read(&ctors) == 2 * i + 2);
	}
	klp_shadow_free(&objects[0], ID, test_dtor);
	CHECK(!atomic_read(&dtors));
	data = klp_shadow_alloc(&objects[0], ID, 8, GFP_KERNEL, value_ctor,
				(void *)5);
	CHECK(data && *data == 5 && atomic_here);
	klp_shadow_free(&objects[0], ID, NULL);
	return true;
}

/* The guest's script wants to see the warning. */
static bool klp_a_second_alloc_warns(void)
{
	unsigned long *data;

	data = klp_shadow_alloc(&objects[0], ID, 8, GFP_KERNEL, value_ctor,
				(void *)5);
	CHECK(data);
	atomic_set(&ctors, 0);
	CHECK(!klp_shadow_alloc(&objects[0], ID, 8, GFP_KERNEL, value_ctor,
				(void *)6));
	CHECK(!atomic_read(&ctors));
	CHECK(klp_shadow_get(&objects[0], ID) == data && *data == 5);
	/* Size and constructor of what is there already do not matter. */
	CHECK(klp_shadow_get_or_alloc(&objects[0], ID, 5000, GFP_KERNEL, value_ctor,
				      (void *)7) == data);
	CHECK(!atomic_read(&ctors) && *data == 5);
	klp_shadow_free(&objects[0], ID, NULL);
	return true;
}

static bool klp_free_destructs_before_it_returns(void)
{
	void *data;

	atomic_set(&dtors, 0);
	klp_shadow_free(&objects[2], ID, test_dtor);
	CHECK(!atomic_read(&dtors));
	data = klp_shadow_alloc(&objects[2], ID, 8, GFP_KERNEL, NULL, NULL);
	CHECK(data);
	atomic_here = false;
	gone_in_dtor = false;
	klp_shadow_free(&objects[2], ID, looking_dtor);
	CHECK(atomic_read(&dtors) == 1 && dtor_obj == &objects[2]);
	CHECK(dtor_data == data && gone_in_dtor && atomic_here);
	CHECK(!klp_shadow_get(&objects[2], ID));
	klp_shadow_free(&objects[2], ID, looking_dtor);
	rcu_barrier();
	CHECK(atomic_read(&dtors) == 1);
	return true;
}

static DEFINE_SPINLOCK(outer);

/* All of it with interrupts off; the destructors of free_all too. */
static bool klp_works_in_atomic_context(void)
{
	const unsigned long n = 3000;
	unsigned long i, flags, made = 0, found = 0;
	bool all, one;

	atomic_set(&dtors, 0);
	for (i = 0; i < n; i++) {
		spin_lock_irqsave(&outer, flags);
		made += !!klp_shadow_alloc((void *)(i * 192), ID, 16, GFP_ATOMIC,
					   value_ctor, (void *)i);
		found += !!klp_shadow_get_or_alloc((void *)(i * 192), ID, 16,
						   GFP_ATOMIC, NULL, NULL);
		spin_unlock_irqrestore(&outer, flags);
	}
	CHECK(made == n && found == n);
	CHECK(klp_shadow_alloc(&objects[0], ID + 1, 8, GFP_KERNEL, NULL, NULL));
	spin_lock_irqsave(&outer, flags);
	klp_shadow_free((void *)192, ID, test_dtor);
	one = atomic_read(&dtors) == 1;
	klp_shadow_free_all(ID, test_dtor);
	all = atomic_read(&dtors) == n;
	spin_unlock_irqrestore(&outer, flags);
	CHECK(one && all);
	for (i = 0; i < n; i++)
		CHECK(!klp_shadow_get((void *)(i * 192), ID));
	/* Another id's are not touched. */
	CHECK(klp_shadow_get(&objects[0], ID + 1));
	klp_shadow_free_all(ID + 1, NULL);
	return true;
}

/* The memory is not used again while a reader may look at it. */
static bool klp_data_outlives_the_readers(void)
{
	static void *fresh[64];
	bool same = true;
	u8 *data;
	size_t i;
	int round;

	for (round = 0; round < 20 && same; round++) {
		data = klp_shadow_alloc(&objects[0], ID, 100, GFP_KERNEL, NULL, NULL);
		CHECK(data);
		memset(data, 0xa5, 100);
		rcu_read_lock();
		data = klp_shadow_get(&objects[0], ID);
		klp_shadow_free(&objects[0], ID, NULL);
		/* For a worker that frees too early to get there. */
		mdelay(2);
		/* Of each size that an allocator may have taken it from. */
		for (i = 0; i < ARRAY_SIZE(fresh); i++)
			fresh[i] = kzalloc(96 << (i % 3), GFP_ATOMIC);
		same = !memchr_inv(data, 0xa5, 100);
		rcu_read_unlock();
		for (i = 0; i < ARRAY_SIZE(fresh); i++)
			kfree(fresh[i]);
	}
	CHECK(same);
	return true;
}

static unsigned long free_pages_now(void)
{
	struct sysinfo info;

	si_meminfo(&info);
	return info.freeram;
}

/* 240 MiB through 16 pairs, and none of it is missing afterwards. */
static bool klp_memory_comes_back(void)
{
	const unsigned long size = 8000, rounds = 30000;
	unsigned long before, i;
	int wait;

	rcu_barrier();
	before = free_pages_now();
	for (i = 0; i < rounds; i++) {
		CHECK(klp_shadow_alloc(&objects[i % 16], ID, size, GFP_KERNEL, NULL,
				       NULL));
		if (i % 16 == 15)
			klp_shadow_free_all(ID, NULL);
		if (i % 1000 == 999)
			synchronize_rcu();
	}
	klp_shadow_free_all(ID, NULL);
	for (wait = 0; wait < 100; wait++) {
		rcu_barrier();
		if (free_pages_now() + (size * rounds / PAGE_SIZE) / 4 > before)
			return true;
		msleep(50);
	}
	pr_info("# free pages: %lu before, %lu after\n", before, free_pages_now());
	return false;
}

#define RACERS	4
#define RACES	1500

static DECLARE_COMPLETION(race_start);
static DECLARE_COMPLETION(race_done);
static atomic_t race_failed;
/* Plain on purpose: the constructors and destructors exclude each other. */
static unsigned long race_inside, race_built, race_gone;

static int race_ctor(void *obj, void *data, void *value)
{
	if (race_inside++)
		atomic_inc(&race_failed);
	udelay(9);
	race_built++;
	race_inside--;
	return test_ctor(obj, data, value);
}

static void race_dtor(void *obj, void *data)
{
	if (race_inside++)
		atomic_inc(&race_failed);
	udelay(9);
	race_gone++;
	race_inside--;
}

/* Every other pair is this racer's own, so that constructors can meet. */
static int race(void *rank)
{
	unsigned long i, own = (unsigned long)rank * RACES;

	wait_for_completion(&race_start);
	for (i = 0; i < RACES; i++) {
		void *obj = (void *)((i % 2 ? own + i : i + 1) << 6);

		if (!klp_shadow_get_or_alloc(obj, ID, 8, i % 4 ? GFP_KERNEL : GFP_ATOMIC,
					     race_ctor, (void *)i))
			atomic_inc(&race_failed);
		if (i % 3 == 0)
			klp_shadow_free(obj, ID, race_dtor);
	}
	complete(&race_done);
	while (!kthread_should_stop()) {
		set_current_state(TASK_INTERRUPTIBLE);
		if (!kthread_should_stop())
			schedule();
		__set_current_state(TASK_RUNNING);
	}
	return 0;
}

static bool klp_ctors_and_dtors_exclude_each_other(void)
{
	struct task_struct *tasks[RACERS];
	int i;

	atomic_set(&race_failed, 0);
	for (i = 0; i < RACERS; i++) {
		tasks[i] = kthread_run(race, (void *)(i + 1UL), "klp_race/%d", i);
		CHECK(!IS_ERR(tasks[i]));
	}
	complete_all(&race_start);
	for (i = 0; i < RACERS; i++)
		wait_for_completion(&race_done);
	for (i = 0; i < RACERS; i++)
		kthread_stop(tasks[i]);
	klp_shadow_free_all(ID, race_dtor);
	if (atomic_read(&race_failed) || race_built != race_gone)
		pr_info("# %d failed, %lu made, %lu gone\n",
			atomic_read(&race_failed), race_built, race_gone);
	CHECK(!atomic_read(&race_failed));
	CHECK(race_built >= RACES && race_built == race_gone);
	return true;
}

static atomic_t irq_calls, irq_failed;

static int slow_ctor(void *obj, void *data, void *value)
{
	udelay(9);
	return 0;
}

static enum hrtimer_restart irq_alloc(struct hrtimer *timer)
{
	atomic_inc(&irq_calls);
	if (!klp_shadow_get_or_alloc(&objects[7], ID, 8, GFP_ATOMIC, slow_ctor, NULL))
		atomic_inc(&irq_failed);
	hrtimer_forward_now(timer, ns_to_ktime(130 * NSEC_PER_USEC));
	return HRTIMER_RESTART;
}

/* An interrupt on the same CPU never meets a pair that is only half there. */
static bool klp_an_interrupt_gets_the_same_pair(void)
{
	struct hrtimer timer;
	unsigned long end;
	bool task_failed = false;

	atomic_set(&irq_calls, 0);
	atomic_set(&irq_failed, 0);
	umbra_hrtimer_on_stack(&timer, irq_alloc, CLOCK_MONOTONIC,
			       HRTIMER_MODE_REL_PINNED_HARD);
	hrtimer_start(&timer, ns_to_ktime(130 * NSEC_PER_USEC), HRTIMER_MODE_REL_PINNED_HARD);
	end = jiffies + HZ / 2;
	while (time_before(jiffies, end)) {
		task_failed |= !klp_shadow_get_or_alloc(&objects[7], ID, 8, GFP_KERNEL,
							slow_ctor, NULL);
		klp_shadow_free(&objects[7], ID, NULL);
		cond_resched();
	}
	hrtimer_cancel(&timer);
	destroy_hrtimer_on_stack(&timer);
	klp_shadow_free_all(ID, NULL);
	if (atomic_read(&irq_failed))
		pr_info("# %d of %d interrupts got nothing\n",
			atomic_read(&irq_failed), atomic_read(&irq_calls));
	CHECK(!task_failed && !atomic_read(&irq_failed));
	CHECK(atomic_read(&irq_calls) > 10);
	return true;
}

static const struct umbra_test klp_tests[] = {
	TEST(klp_any_key_and_size),
	TEST(klp_data_is_zeroed),
	TEST(klp_a_ctor_that_fails),
	TEST(klp_a_second_alloc_warns),
	TEST(klp_free_destructs_before_it_returns),
	TEST(klp_works_in_atomic_context),
	TEST(klp_data_outlives_the_readers),
	TEST(klp_memory_comes_back),
	TEST(klp_ctors_and_dtors_exclude_each_other),
	TEST(klp_an_interrupt_gets_the_same_pair),
};

static int __init klp_init(void)
{
	size_t i;

	pr_info("KTAP version 1\n");
	pr_info("1..%zu\n", ARRAY_SIZE(klp_tests));
	for (i = 0; i < ARRAY_SIZE(klp_tests); i++)
		pr_info("%s %zu %s_%s\n", klp_tests[i].run() ? "ok" : "not ok", i + 1,
			KLP_WHOSE, klp_tests[i].name);
	return 0;
}

static void __exit klp_exit(void)
{
}

module_init(klp_init);
module_exit(klp_exit);
MODULE_DESCRIPTION("Umbra: what klp_shadow_*() promises, " KLP_WHOSE);
MODULE_AUTHOR("The Umbra developers");
MODULE_LICENSE("GPL");
