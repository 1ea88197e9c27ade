// SPDX-License-Identifier: GPL-2.0
/*
 * Tests of umbra.h from inside the kernel, as KTAP on the console. Loading the
 * module runs them; it loads in any case, so that unloading is tested too. With
 * leak=N it only leaves N shadows behind, for the leak audit to find.
 */
#include <linux/completion.h>
#include <linux/delay.h>
#include <linux/err.h>
#include <linux/kthread.h>
#include <linux/module.h>
#include <linux/slab.h>

#include <umbra.h>

#define ID	501
#define LEAK_ID	599

static uint leak;
module_param(leak, uint, 0444);
MODULE_PARM_DESC(leak, "attach so many shadows and leave them, and do nothing else");

#define CHECK(cond)							\
do {									\
	if (!(cond)) {							\
		pr_info("# %s:%d: %s\n", __func__, __LINE__, #cond);	\
		return false;						\
	}								\
} while (0)

/* Objects that nothing else knows; never dereferenced. */
static int objects[16];

static atomic_t ctors, dtors;
static void *dtor_obj, *dtor_data;

static int test_ctor(void *obj, void *shadow, void *value)
{
	atomic_inc(&ctors);
	*(unsigned long *)shadow = (unsigned long)value;
	return 0;
}

static int test_ctor_fails(void *obj, void *shadow, void *value)
{
	atomic_inc(&ctors);
	return -EILSEQ;
}

static void test_dtor(void *obj, void *shadow)
{
	dtor_obj = obj;
	dtor_data = shadow;
	atomic_inc(&dtors);
}

static unsigned long live(unsigned long id)
{
	struct umbra_type *type = umbra_type_get(id);
	unsigned long n = IS_ERR(type) ? ~0UL : umbra_live(type);

	umbra_type_put(type);
	return n;
}

/* ---- shadows ---- */

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

/* ---- hooks and patches ---- */

noinline int umbra_test_target(void *obj, int a, int b, int c, int d, int e);
noinline int umbra_test_target(void *obj, int a, int b, int c, int d, int e)
{
	barrier_data(obj);
	return a + 10 * b + 100 * c + 1000 * d + 10000 * e;
}

#define STATE_A	510
#define STATE_B	511
#define SHADOW	512

static struct umbra_hook hook_a, hook_b;

/* All six argument registers, and the original's answer made negative. */
static int replacement_a(void *obj, int a, int b, int c, int d, int e)
{
	int (*original)(void *obj, int a, int b, int c, int d, int e);

	original = hook_a.original;
	return -original(obj, a, b, c, d, e);
}

static int replacement_b(void *obj, int a, int b, int c, int d, int e)
{
	return 77;
}

static int call(void *obj)
{
	return umbra_test_target(obj, 1, 2, 3, 4, 5);
}

#define ORIGINAL	54321

static int order[16];
static int calls;
static int fail_state, fail_errno;

static int test_pre(struct umbra_patch *patch, struct umbra_state *state,
		    enum umbra_reason reason)
{
	order[calls++ % 16] = state->id * 10 + 1;
	if (state->id == fail_state) {
		umbra_shadow_alloc(&objects[5], state->id, 8, GFP_KERNEL, NULL, NULL);
		return fail_errno;
	}
	return 0;
}

static void test_post(struct umbra_patch *patch, struct umbra_state *state,
		      enum umbra_reason reason)
{
	/* Not open yet. */
	if (call(&objects[0]) != ORIGINAL && patch->nr_hooks)
		calls = 99;
	order[calls++ % 16] = state->id * 10 + 2;
}

static void test_pre_un(struct umbra_patch *patch, struct umbra_state *state,
			enum umbra_reason reason)
{
	if (call(&objects[0]) != ORIGINAL)
		calls = 99;
	order[calls++ % 16] = state->id * 10 + 3;
}

static void test_post_un(struct umbra_patch *patch, struct umbra_state *state,
			 enum umbra_reason reason)
{
	order[calls++ % 16] = state->id * 10 + 4;
}

#define CALLBACKS {							\
	.pre_patch = test_pre, .post_patch = test_post,			\
	.pre_unpatch = test_pre_un, .post_unpatch = test_post_un,	\
}

static struct umbra_state states_a[2], states_b[2];
static struct umbra_patch patch_a, patch_b;

/* Both patches as they should be: each test spoils what it is about. */
static void fresh(void)
{
	hook_a = (struct umbra_hook){
		.symbol = "umbra_test_target",
		.replacement = replacement_a,
		.state = STATE_A,
		.policy = UMBRA_ALWAYS,
	};
	hook_b = (struct umbra_hook){
		.symbol = "umbra_test_target",
		.replacement = replacement_b,
		.state = STATE_B,
		.policy = UMBRA_ALWAYS,
	};
	states_a[0] = (struct umbra_state){
		.id = STATE_A, .name = "a", .is_shadow = true,
		.callbacks = CALLBACKS,
	};
	states_a[1] = (struct umbra_state){
		.id = STATE_A + 50, .name = "a2", .is_shadow = true,
		.callbacks = CALLBACKS,
	};
	states_b[0] = (struct umbra_state){
		.id = STATE_B, .name = "b", .is_shadow = true,
		.callbacks = CALLBACKS,
	};
	patch_a = (struct umbra_patch){
		.mod = THIS_MODULE, .name = "test_a",
		.states = states_a, .nr_states = 1,
		.hooks = &hook_a, .nr_hooks = 1,
	};
	patch_b = (struct umbra_patch){
		.mod = THIS_MODULE, .name = "test_b",
		.states = states_b, .nr_states = 1,
		.hooks = &hook_b, .nr_hooks = 1,
	};
	calls = 0;
	fail_state = 0;
}

static bool a_hook_diverts_and_calls_the_original(void)
{
	fresh();
	CHECK(call(&objects[0]) == ORIGINAL);
	CHECK(!umbra_enable_patch(&patch_a));
	CHECK(call(&objects[0]) == -ORIGINAL);
	CHECK(!umbra_disable_patch(&patch_a));
	CHECK(call(&objects[0]) == ORIGINAL);
	CHECK(calls == 4);
	CHECK(order[0] == STATE_A * 10 + 1 && order[1] == STATE_A * 10 + 2);
	CHECK(order[2] == STATE_A * 10 + 3 && order[3] == STATE_A * 10 + 4);
	return true;
}

static bool policy(enum umbra_policy policy, bool with, bool without)
{
	fresh();
	hook_a.policy = policy;
	hook_a.shadow = SHADOW;
	CHECK(!umbra_enable_patch(&patch_a));
	CHECK(umbra_shadow_alloc(&objects[1], SHADOW, 8, GFP_KERNEL, NULL, NULL));
	CHECK((call(&objects[1]) == -ORIGINAL) == with);
	CHECK((call(&objects[2]) == -ORIGINAL) == without);
	CHECK((call(NULL) == -ORIGINAL) == without);
	umbra_shadow_free(&objects[1], SHADOW, NULL);
	CHECK((call(&objects[1]) == -ORIGINAL) == without);
	CHECK(!umbra_disable_patch(&patch_a));
	return true;
}

static bool policy_always(void)
{
	return policy(UMBRA_ALWAYS, true, true);
}

static bool policy_has_shadow(void)
{
	return policy(UMBRA_HAS_SHADOW, true, false);
}

static bool policy_lacks_shadow(void)
{
	return policy(UMBRA_LACKS_SHADOW, false, true);
}

/* Tries what must fail, and looks for traces of it. */
static bool refused(struct umbra_patch *patch, int errno)
{
	int ret = umbra_enable_patch(patch);

	if (ret != errno)
		pr_info("# returned %d, not %d\n", ret, errno);
	CHECK(ret == errno);
	CHECK(!live(STATE_A) && !live(STATE_B) && !live(STATE_A + 50));
	CHECK(umbra_disable_patch(patch) == -ENOENT);
	return true;
}

static bool bad_unknown_symbol(void)
{
	fresh();
	hook_a.symbol = "umbra_no_such_function";
	CHECK(refused(&patch_a, -ENOENT) && calls == 0);
	return true;
}

static bool bad_hook_that_lacks_something(void)
{
	fresh();
	hook_a.replacement = NULL;
	CHECK(refused(&patch_a, -EINVAL));
	fresh();
	hook_a.symbol = NULL;
	CHECK(refused(&patch_a, -EINVAL));
	fresh();
	hook_a.policy = 7;
	CHECK(refused(&patch_a, -EINVAL));
	fresh();
	hook_a.symbol = "rcu_is_watching";
	CHECK(refused(&patch_a, -EINVAL));
	fresh();
	hook_a.state = STATE_B;
	CHECK(refused(&patch_a, -EINVAL));
	fresh();
	patch_a.hooks = NULL;
	CHECK(refused(&patch_a, -EINVAL));
	CHECK(umbra_enable_patch(NULL) == -EINVAL);
	CHECK(calls == 0);
	return true;
}

static bool r2_bad_zero_id(void)
{
	fresh();
	states_a[0].id = 0;
	CHECK(refused(&patch_a, -EINVAL) && calls == 0);
	return true;
}

static bool r3_bad_duplicate_id(void)
{
	fresh();
	states_a[1] = states_a[0];
	patch_a.nr_states = 2;
	CHECK(refused(&patch_a, -EINVAL) && calls == 0);
	return true;
}

static bool bad_already_enabled(void)
{
	fresh();
	CHECK(!umbra_enable_patch(&patch_a));
	CHECK(umbra_enable_patch(&patch_a) == -EEXIST);
	patch_b.name = "test_a";
	CHECK(umbra_enable_patch(&patch_b) == -EEXIST);
	CHECK(call(&objects[0]) == -ORIGINAL);
	CHECK(!umbra_disable_patch(&patch_a));
	CHECK(umbra_disable_patch(&patch_a) == -ENOENT);
	return true;
}

static bool bad_function_already_hooked(void)
{
	struct umbra_hook twice[2];

	fresh();
	CHECK(!umbra_enable_patch(&patch_a));
	CHECK(refused(&patch_b, -EBUSY));
	CHECK(call(&objects[0]) == -ORIGINAL);
	CHECK(!umbra_disable_patch(&patch_a));

	twice[0] = hook_b;
	twice[1] = hook_b;
	patch_b.hooks = twice;
	patch_b.nr_hooks = 2;
	CHECK(refused(&patch_b, -EBUSY));
	CHECK(call(&objects[0]) == ORIGINAL);
	return true;
}

static bool r4_bad_names_disagree(void)
{
	fresh();
	CHECK(!umbra_enable_patch(&patch_a));
	patch_b.nr_hooks = 0;
	states_b[0].id = STATE_A;
	CHECK(umbra_enable_patch(&patch_b) == -EINVAL);
	CHECK(!umbra_disable_patch(&patch_a));
	return true;
}

static bool r30_a_failing_pre_patch_undoes_the_others(void)
{
	fresh();
	patch_a.nr_states = 2;
	fail_state = STATE_A + 50;
	fail_errno = -EUCLEAN;
	CHECK(refused(&patch_a, -EUCLEAN));
	CHECK(calls == 3 && order[0] == STATE_A * 10 + 1);
	CHECK(order[1] == (STATE_A + 50) * 10 + 1 && order[2] == STATE_A * 10 + 4);
	CHECK(call(&objects[0]) == ORIGINAL);
	return true;
}

static int test_pre_reenters(struct umbra_patch *patch, struct umbra_state *state,
			     enum umbra_reason reason)
{
	return umbra_enable_patch(&patch_b);
}

static bool bad_enable_from_a_callback(void)
{
	fresh();
	states_a[0].callbacks.pre_patch = test_pre_reenters;
	CHECK(refused(&patch_a, -EDEADLK));
	return true;
}

static bool r69_bad_block_disable(void)
{
	fresh();
	states_a[0].block_disable = true;
	CHECK(!umbra_enable_patch(&patch_a));
	CHECK(umbra_disable_patch(&patch_a) == -EPERM);
	/* The way out: a patch that has the state and does not block. */
	states_b[0] = states_a[0];
	states_b[0].block_disable = false;
	hook_b.state = STATE_A;
	patch_b.replace = true;
	CHECK(!umbra_enable_patch(&patch_b));
	CHECK(call(&objects[0]) == 77);
	CHECK(!umbra_disable_patch(&patch_b));
	return true;
}

static bool r53_replace_hands_function_and_shadows_over(void)
{
	void *data;

	fresh();
	CHECK(!umbra_enable_patch(&patch_a));
	data = umbra_shadow_alloc(&objects[3], STATE_A, 8, GFP_KERNEL, test_ctor,
				  (void *)42);
	CHECK(data);
	states_b[0] = states_a[0];
	states_b[0].callbacks.shadow_dtor = test_dtor;
	hook_b.state = STATE_A;
	patch_b.replace = true;
	calls = 0;
	CHECK(!umbra_enable_patch(&patch_b));
	/* No callback, the new code, the old shadow. */
	CHECK(calls == 0 && call(&objects[3]) == 77);
	CHECK(umbra_shadow_get(&objects[3], STATE_A) == data);
	CHECK(*(unsigned long *)data == 42);
	CHECK(umbra_disable_patch(&patch_a) == -ENOENT);
	atomic_set(&dtors, 0);
	CHECK(!umbra_disable_patch(&patch_b));
	/* R22, R51: freed with the state, before the return. */
	CHECK(atomic_read(&dtors) == 1 && !live(STATE_A));
	CHECK(call(&objects[3]) == ORIGINAL);
	return true;
}

static bool r11_two_patches_share_a_state(void)
{
	fresh();
	CHECK(!umbra_enable_patch(&patch_a));
	patch_b.nr_hooks = 0;
	states_b[0] = states_a[0];
	CHECK(!umbra_enable_patch(&patch_b));
	CHECK(calls == 2);
	CHECK(!umbra_disable_patch(&patch_a));
	CHECK(calls == 2 && call(&objects[0]) == ORIGINAL);
	CHECK(!umbra_disable_patch(&patch_b));
	CHECK(calls == 4);
	return true;
}

static const struct {
	const char *name;
	bool (*run)(void);
} tests[] = {
#define T(name) { #name, name }
	T(r47_the_five_operations),
	T(any_key_is_legal),
	T(sizes_and_alignment),
	T(r45_recycled_memory_is_zero),
	T(r44_a_failed_ctor_leaves_nothing),
	T(free_calls_the_dtor_before_it_returns),
	T(deferred_dtors_may_sleep_and_run_once),
	T(free_all_by_id_calls_every_dtor_before_it_returns),
	T(grows_with_interrupts_off),
	T(r44_racing_callers_construct_once),
	T(a_hook_diverts_and_calls_the_original),
	T(policy_always),
	T(policy_has_shadow),
	T(policy_lacks_shadow),
	T(bad_unknown_symbol),
	T(bad_hook_that_lacks_something),
	T(r2_bad_zero_id),
	T(r3_bad_duplicate_id),
	T(bad_already_enabled),
	T(bad_function_already_hooked),
	T(r4_bad_names_disagree),
	T(r30_a_failing_pre_patch_undoes_the_others),
	T(bad_enable_from_a_callback),
	T(r69_bad_block_disable),
	T(r53_replace_hands_function_and_shadows_over),
	T(r11_two_patches_share_a_state),
#undef T
};

static int __init umbra_test_init(void)
{
	size_t i;

	for (i = 0; i < leak; i++)
		umbra_shadow_alloc((void *)i, LEAK_ID, 8, GFP_KERNEL, NULL, NULL);
	if (leak)
		return 0;

	pr_info("KTAP version 1\n");
	pr_info("1..%zu\n", ARRAY_SIZE(tests));
	for (i = 0; i < ARRAY_SIZE(tests); i++)
		pr_info("%s %zu %s\n", tests[i].run() ? "ok" : "not ok", i + 1,
			tests[i].name);
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
