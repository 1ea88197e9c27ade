// SPDX-License-Identifier: GPL-2.0
/*
 * Hooks, states and patches, on a function of our own, and everything that an
 * author can get wrong: each has its errno, and leaves nothing behind.
 */
#include <linux/delay.h>

#include "umbra_test.h"

noinline UMBRA_HOOKED int umbra_test_target(void *obj, int a, int b, int c, int d, int e);
noinline UMBRA_HOOKED int umbra_test_target(void *obj, int a, int b, int c, int d, int e)
{
	barrier_data(obj);
	return a + 10 * b + 100 * c + 1000 * d + 10000 * e;
}

/* All of its arguments arrive: no clone of it does without some. */
static UMBRA_HOOKED int umbra_test_six(void *a, void *b, void *c, void *d,
				       void *e, void *f)
{
	barrier_data(a);
	barrier_data(b);
	barrier_data(c);
	barrier_data(d);
	barrier_data(e);
	barrier_data(f);
	return 6;
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

static int replacement_six(void *a, void *b, void *c, void *d, void *e, void *f)
{
	return 66;
}

/* The object is the argument that was asked for, and no other. */
static bool policy_asks_each_of_six_arguments(void)
{
	unsigned int asked, marked;
	void *a[6];

	for (asked = 0; asked < 6; asked++) {
		fresh();
		hook_a.symbol = "umbra_test_six";
		hook_a.replacement = replacement_six;
		hook_a.policy = UMBRA_HAS_SHADOW;
		hook_a.shadow = SHADOW;
		hook_a.argument = asked;
		patch_a.nr_states = 1;
		states_a[0].callbacks = (struct umbra_state_callbacks){};
		CHECK(!umbra_enable_patch(&patch_a));
		CHECK(umbra_shadow_alloc(&objects[1], SHADOW, 8, GFP_KERNEL, NULL, NULL));
		for (marked = 0; marked < 6; marked++) {
			for (size_t i = 0; i < 6; i++)
				a[i] = &objects[i == marked ? 1 : 2 + i];
			CHECK((umbra_test_six(a[0], a[1], a[2], a[3], a[4], a[5]) == 66) ==
			      (marked == asked));
		}
		umbra_shadow_free(&objects[1], SHADOW, NULL);
		CHECK(!umbra_disable_patch(&patch_a));
	}
	return true;
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

static bool bad_function_that_cannot_be_traced(void)
{
	/* notrace, assembly, not even to be probed */
	static const char *const symbols[] = {
		"umbra_decide", "copy_page", "exc_int3",
	};
	size_t i;

	for (i = 0; i < ARRAY_SIZE(symbols); i++) {
		fresh();
		hook_a.symbol = symbols[i];
		CHECK(refused(&patch_a, -EOPNOTSUPP) && calls == 0);
	}
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
	states_a[0].target = "kvm-intel";
	CHECK(refused(&patch_a, -EINVAL));
	fresh();
	hook_a.argument = 6;
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

static bool bad_function_of_umbra_itself(void)
{
	fresh();
	hook_a.symbol = "umbra_replacement_begin";
	CHECK(refused(&patch_a, -EINVAL) && calls == 0);
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

static void test_dtor_sleeps(void *obj, void *shadow)
{
	might_sleep();
	usleep_range(10, 20);
	order[calls++ % 16] = 5;
}

static bool d2_r22_a_states_dtor_may_sleep_and_comes_last(void)
{
	fresh();
	states_a[0].callbacks.shadow_dtor = test_dtor_sleeps;
	CHECK(!umbra_enable_patch(&patch_a));
	CHECK(umbra_shadow_alloc(&objects[4], STATE_A, 8, GFP_KERNEL, NULL, NULL));
	CHECK(!umbra_disable_patch(&patch_a));
	CHECK(calls == 5 && order[3] == STATE_A * 10 + 4 && order[4] == 5);
	return true;
}

static bool r55_a_state_that_comes_back_starts_fresh(void)
{
	unsigned long *data;

	fresh();
	CHECK(!umbra_enable_patch(&patch_a));
	CHECK(umbra_shadow_alloc(&objects[4], STATE_A, 8, GFP_KERNEL, test_ctor,
				 (void *)42));
	patch_b.nr_states = 0;
	patch_b.nr_hooks = 0;
	patch_b.replace = true;
	CHECK(!umbra_enable_patch(&patch_b));
	CHECK(!live(STATE_A) && call(&objects[4]) == ORIGINAL);
	CHECK(!umbra_disable_patch(&patch_b));
	CHECK(!umbra_enable_patch(&patch_a));
	CHECK(!umbra_shadow_get(&objects[4], STATE_A));
	data = umbra_shadow_get_or_alloc(&objects[4], STATE_A, 8, GFP_KERNEL, NULL,
					 NULL);
	CHECK(data && *data == 0);
	CHECK(!umbra_disable_patch(&patch_a));
	return true;
}

const struct umbra_test umbra_patch_tests[] = {
	TEST(a_hook_diverts_and_calls_the_original),
	TEST(policy_always),
	TEST(policy_has_shadow),
	TEST(policy_lacks_shadow),
	TEST(policy_asks_each_of_six_arguments),
	TEST(bad_unknown_symbol),
	TEST(bad_function_that_cannot_be_traced),
	TEST(bad_hook_that_lacks_something),
	TEST(bad_function_of_umbra_itself),
	TEST(r2_bad_zero_id),
	TEST(r3_bad_duplicate_id),
	TEST(bad_already_enabled),
	TEST(bad_function_already_hooked),
	TEST(r4_bad_names_disagree),
	TEST(r30_a_failing_pre_patch_undoes_the_others),
	TEST(bad_enable_from_a_callback),
	TEST(r69_bad_block_disable),
	TEST(r53_replace_hands_function_and_shadows_over),
	TEST(r11_two_patches_share_a_state),
	TEST(d2_r22_a_states_dtor_may_sleep_and_comes_last),
	TEST(r55_a_state_that_comes_back_starts_fresh),
	{}
};
