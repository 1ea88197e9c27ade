// SPDX-License-Identifier: GPL-2.0
/* Shadows: what umbra.h says of each operation, from inside the kernel. */
#include <linux/completion.h>
#include <linux/delay.h>
#include <linux/fs.h>
#include <linux/kthread.h>
#include <linux/mm.h>
#include <linux/seq_file.h>
#include <linux/string.h>
#include <linux/uio.h>

#include "umbra_test.h"

#define ID	501
/* Of its own: what another test left to reclaim does not count. */
#define MERGE_ID	503

static int test_ctor_fails(void *obj, void *shadow, void *value)
{
	atomic_inc(&ctors);
	return -EILSEQ;
}

static bool r47_the_five_operations(void)
{
	void *obj = &objects[0], *data;

	CHECK(!umbra_shadow_get(obj, ID));
	data = umbra_shadow_alloc(obj, ID, 8, GFP_KERNEL, test_ctor, (void *)7);
	CHECK(data && *(unsigned long *)data == 7);
	CHECK(umbra_shadow_get(obj, ID) == data);
	CHECK(!umbra_shadow_get(obj, ID + 1));
	CHECK(!umbra_shadow_get(&objects[1], ID));
	/* One is there: alloc gives nothing, get_or_alloc ignores the rest. */
	CHECK(!umbra_shadow_alloc(obj, ID, 8, GFP_KERNEL, test_ctor, (void *)8));
	atomic_set(&ctors, 0);
	CHECK(umbra_shadow_get_or_alloc(obj, ID, 4096, GFP_KERNEL, test_ctor,
					(void *)9) == data);
	CHECK(!atomic_read(&ctors) && *(unsigned long *)data == 7);
	umbra_shadow_free(obj, ID, NULL);
	CHECK(!umbra_shadow_get(obj, ID));
	/* Freeing what is not there does nothing. */
	atomic_set(&dtors, 0);
	umbra_shadow_free(obj, ID, test_dtor);
	CHECK(!atomic_read(&dtors));
	return true;
}

static bool any_key_is_legal(void)
{
	void *ends[] = { NULL, (void *)~0UL, (void *)1UL };
	unsigned long ids[] = { 0, 1, ~0UL };
	size_t i, j;

	for (i = 0; i < ARRAY_SIZE(ends); i++)
		for (j = 0; j < ARRAY_SIZE(ids); j++)
			CHECK(umbra_shadow_alloc(ends[i], ids[j], 8, GFP_KERNEL,
						 NULL, NULL));
	for (i = 0; i < ARRAY_SIZE(ends); i++)
		for (j = 0; j < ARRAY_SIZE(ids); j++)
			CHECK(umbra_shadow_get(ends[i], ids[j]));
	for (j = 0; j < ARRAY_SIZE(ids); j++)
		umbra_shadow_free_all(ids[j], NULL);
	for (i = 0; i < ARRAY_SIZE(ends); i++)
		for (j = 0; j < ARRAY_SIZE(ids); j++)
			CHECK(!umbra_shadow_get(ends[i], ids[j]));
	return true;
}

static bool sizes_and_alignment(void)
{
	static const size_t sizes[] = { 0, 1, 8, 17, 48, 80, 150, 1000, 5000 };
	void *data[ARRAY_SIZE(sizes)];
	struct umbra_type *type;
	size_t i;

	for (i = 0; i < ARRAY_SIZE(sizes); i++) {
		data[i] = umbra_shadow_alloc(&objects[i], ID, sizes[i], GFP_KERNEL,
					     NULL, NULL);
		CHECK(data[i] && IS_ALIGNED((unsigned long)data[i], 16));
	}
	for (i = 0; i < ARRAY_SIZE(sizes); i++)
		CHECK(umbra_shadow_get(&objects[i], ID) == data[i]);
	umbra_shadow_free_all(ID, NULL);
	type = umbra_type_get(ID);
	CHECK(!IS_ERR(type));
	CHECK(umbra_alloc(type, &objects[0], ~0UL, GFP_KERNEL, NULL, NULL) ==
	      ERR_PTR(-EINVAL));
	umbra_type_put(type);
	return true;
}

static bool r45_recycled_memory_is_zero(void)
{
	int round;
	u8 *data;

	for (round = 0; round < 50; round++) {
		data = umbra_shadow_alloc(&objects[0], ID, 100, GFP_KERNEL, NULL,
					  NULL);
		CHECK(data && !memchr_inv(data, 0, 100));
		memset(data, 0xa5, 100);
		umbra_shadow_free(&objects[0], ID, NULL);
		umbra_barrier();
	}
	return true;
}

static bool r44_a_failed_ctor_leaves_nothing(void)
{
	struct umbra_type *type = umbra_type_get(ID);
	void *data;

	CHECK(!IS_ERR(type));
	atomic_set(&ctors, 0);
	CHECK(!umbra_shadow_alloc(&objects[0], ID, 8, GFP_KERNEL, test_ctor_fails,
				  NULL));
	CHECK(umbra_alloc(type, &objects[0], 8, GFP_KERNEL, test_ctor_fails,
			  NULL) == ERR_PTR(-EILSEQ));
	CHECK(umbra_get_or_alloc(type, &objects[0], 8, GFP_KERNEL,
				 test_ctor_fails, NULL) == ERR_PTR(-EILSEQ));
	CHECK(atomic_read(&ctors) == 3);
	CHECK(!umbra_get(type, &objects[0]) && umbra_live(type) == 0);
	data = umbra_alloc(type, &objects[0], 8, GFP_KERNEL, test_ctor, (void *)3);
	CHECK(!IS_ERR(data) && *(unsigned long *)data == 3);
	CHECK(umbra_alloc(type, &objects[0], 8, GFP_KERNEL, test_ctor, NULL) ==
	      ERR_PTR(-EEXIST));
	CHECK(umbra_free(type, &objects[0], NULL));
	umbra_type_put(type);
	return true;
}

static bool free_calls_the_dtor_before_it_returns(void)
{
	void *data = umbra_shadow_alloc(&objects[2], ID, 8, GFP_KERNEL, NULL, NULL);

	CHECK(data);
	atomic_set(&dtors, 0);
	umbra_shadow_free(&objects[2], ID, test_dtor);
	CHECK(atomic_read(&dtors) == 1);
	CHECK(dtor_obj == &objects[2] && dtor_data == data);
	CHECK(!umbra_shadow_get(&objects[2], ID));
	umbra_barrier();
	CHECK(atomic_read(&dtors) == 1);
	return true;
}

static void test_dtor_sleeps(void *obj, void *shadow)
{
	might_sleep();
	usleep_range(10, 20);
	atomic_inc(&dtors);
}

static bool deferred_dtors_may_sleep_and_run_once(void)
{
	struct umbra_type *type = umbra_type_get(ID);
	size_t i;

	CHECK(!IS_ERR(type));
	atomic_set(&dtors, 0);
	for (i = 0; i < ARRAY_SIZE(objects); i++)
		CHECK(!IS_ERR(umbra_alloc(type, &objects[i], 8, GFP_KERNEL, NULL,
					  NULL)));
	CHECK(umbra_live(type) == ARRAY_SIZE(objects));
	CHECK(umbra_free(type, &objects[0], test_dtor_sleeps));
	CHECK(!umbra_free(type, &objects[0], test_dtor_sleeps));
	umbra_free_all(type, test_dtor_sleeps);
	CHECK(umbra_live(type) == 0 && !umbra_get(type, &objects[1]));
	umbra_barrier();
	CHECK(atomic_read(&dtors) == ARRAY_SIZE(objects));
	umbra_type_put(type);
	return true;
}

static bool free_all_by_id_calls_every_dtor_before_it_returns(void)
{
	size_t i;

	for (i = 0; i < ARRAY_SIZE(objects); i++)
		CHECK(umbra_shadow_alloc(&objects[i], ID, 8, GFP_KERNEL, NULL, NULL));
	CHECK(umbra_shadow_alloc(&objects[0], ID + 1, 8, GFP_KERNEL, NULL, NULL));
	atomic_set(&dtors, 0);
	umbra_shadow_free_all(ID, test_dtor);
	CHECK(atomic_read(&dtors) == ARRAY_SIZE(objects));
	/* Another id's are not touched. */
	CHECK(umbra_shadow_get(&objects[0], ID + 1));
	umbra_shadow_free_all(ID + 1, NULL);
	return true;
}

static void test_count(void *obj, void *shadow, void *arg)
{
	*(unsigned long *)arg += *(unsigned long *)shadow;
}

static bool grows_with_interrupts_off(void)
{
	const unsigned long n = 20000;
	struct umbra_type *type = umbra_type_get(ID);
	unsigned long i, flags, found = 0, sum = 0;
	void *failed = NULL;

	CHECK(!IS_ERR(type));
	/* In bites, so that the emulated machine's watchdogs are not woken. */
	for (i = 0; i < n && !failed; i += 500) {
		unsigned long j;

		local_irq_save(flags);
		for (j = i; j < i + 500; j++)
			if (IS_ERR(umbra_alloc(type, (void *)(j * 192), 8, GFP_ATOMIC,
					       test_ctor, (void *)1)))
				failed = (void *)j;
		local_irq_restore(flags);
	}
	CHECK(!failed);
	for (i = 0; i < n; i++)
		found += !!umbra_get(type, (void *)(i * 192));
	CHECK(found == n && umbra_live(type) == n);
	for (i = n; i < 2 * n; i++)
		found += !!umbra_get(type, (void *)(i * 192));
	CHECK(found == n);
	umbra_for_each(type, test_count, &sum);
	CHECK(sum == n);
	umbra_free_all(type, NULL);
	umbra_barrier();
	CHECK(umbra_live(type) == 0);
	umbra_type_put(type);
	return true;
}

/* The table of types in debugfs; kernel_read() does not take such a file. */
static ssize_t test_read_types(char *text, size_t size)
{
	struct file *file = filp_open("/sys/kernel/debug/umbra/types", O_RDONLY, 0);
	struct kvec room = { .iov_base = text, .iov_len = size };
	struct iov_iter iter;
	struct kiocb kiocb;
	ssize_t n;

	if (IS_ERR(file))
		return PTR_ERR(file);
	init_sync_kiocb(&kiocb, file);
	iov_iter_kvec(&iter, READ, &room, 1, size);
	n = seq_read_iter(&kiocb, &iter);
	filp_close(file, NULL);
	return n;
}

/* How many lines a type has, and bytes in its shadows, as debugfs says; or why not. */
static long test_lines(unsigned long id, unsigned long *bytes)
{
	const size_t size = SZ_64K;
	char *text = kvzalloc(size, GFP_KERNEL), *row = text, *next;
	ssize_t n = text ? test_read_types(text, size - 1) : -ENOMEM;
	long found = n < 0 ? n : -ENOENT;

	while (found == -ENOENT && (next = strsep(&row, "\n"))) {
		unsigned long its_id, live, pending, lines;

		if (sscanf(next, "%lu %lu %lu %lu %lu", &its_id, &live, bytes,
			   &pending, &lines) == 5 && its_id == id)
			found = lines;
	}
	kvfree(text);
	return found;
}

static void *merge_key(unsigned long i)
{
	return (void *)(i * 192);
}

static bool g9_a_type_that_lost_most_shadows_gives_lines_back(void)
{
	/* Sixty-four segments; a round of the work ends after 32 merges. */
	const unsigned long n = 60000, stays = 1000;
	struct umbra_type *type = umbra_type_get(MERGE_ID);
	unsigned long i, full_bytes, bytes, found = 0, sum = 0;
	long full, lines;
	int round = 0;

	CHECK(!IS_ERR(type));
	for (i = 0; i < n; i++)
		CHECK(!IS_ERR(umbra_alloc(type, merge_key(i), 8, GFP_KERNEL,
					  test_ctor, (void *)1)));
	full = test_lines(MERGE_ID, &full_bytes);
	CHECK(full > (long)n / 7);
	for (i = 0; i < n; i++)
		if (i % stays)
			CHECK(umbra_free(type, merge_key(i), NULL));
	do {
		umbra_barrier();
		lines = test_lines(MERGE_ID, &bytes);
	} while (lines * 20 > full && ++round < 10);
	pr_info("# %ld of %ld lines, %lu of %lu bytes, %d barriers\n", lines,
		full, bytes, full_bytes, round + 1);
	CHECK(lines > 0 && lines * 20 <= full && bytes * 100 < full_bytes);
	for (i = 0; i < n; i++) {
		unsigned long *data = umbra_get(type, merge_key(i));

		CHECK(!data == !!(i % stays) && (!data || *data == 1));
		found += !!data;
	}
	CHECK(found == n / stays && umbra_live(type) == found);
	umbra_for_each(type, test_count, &sum);
	CHECK(sum == found);
	/* What was merged is split again. */
	for (i = 0; i < n; i++)
		CHECK(!IS_ERR(umbra_get_or_alloc(type, merge_key(i), 8, GFP_KERNEL,
						 test_ctor, (void *)1)));
	for (i = 0, found = 0; i < n; i++)
		found += !!umbra_get(type, merge_key(i));
	CHECK(found == n && umbra_live(type) == n);
	umbra_free_all(type, NULL);
	umbra_barrier();
	umbra_type_put(type);
	return true;
}

#define RACERS	4
#define RACES	2000

static struct umbra_type *race_type;
static DECLARE_COMPLETION(race_start);
static DECLARE_COMPLETION(race_done);
static atomic_t race_failed;

static int race(void *unused)
{
	unsigned long i;

	wait_for_completion(&race_start);
	for (i = 0; i < RACES; i++) {
		unsigned long *data = umbra_get_or_alloc(race_type, (void *)(i << 6),
							 8, GFP_KERNEL, test_ctor,
							 (void *)i);

		if (IS_ERR(data) || READ_ONCE(*data) != i)
			atomic_inc(&race_failed);
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

static bool r44_racing_callers_construct_once(void)
{
	struct task_struct *tasks[RACERS];
	int i;

	race_type = umbra_type_get(ID);
	CHECK(!IS_ERR(race_type));
	atomic_set(&ctors, 0);
	atomic_set(&race_failed, 0);
	for (i = 0; i < RACERS; i++) {
		tasks[i] = kthread_run(race, NULL, "umbra_race/%d", i);
		CHECK(!IS_ERR(tasks[i]));
	}
	complete_all(&race_start);
	for (i = 0; i < RACERS; i++)
		wait_for_completion(&race_done);
	for (i = 0; i < RACERS; i++)
		kthread_stop(tasks[i]);
	CHECK(!atomic_read(&race_failed));
	CHECK(atomic_read(&ctors) == RACES && umbra_live(race_type) == RACES);
	umbra_free_all(race_type, NULL);
	umbra_barrier();
	umbra_type_put(race_type);
	return true;
}

const struct umbra_test umbra_shadow_tests[] = {
	TEST(r47_the_five_operations),
	TEST(any_key_is_legal),
	TEST(sizes_and_alignment),
	TEST(r45_recycled_memory_is_zero),
	TEST(r44_a_failed_ctor_leaves_nothing),
	TEST(free_calls_the_dtor_before_it_returns),
	TEST(deferred_dtors_may_sleep_and_run_once),
	TEST(free_all_by_id_calls_every_dtor_before_it_returns),
	TEST(grows_with_interrupts_off),
	TEST(g9_a_type_that_lost_most_shadows_gives_lines_back),
	TEST(r44_racing_callers_construct_once),
	{}
};
