// SPDX-License-Identifier: GPL-2.0
/*
 * What a state's callbacks can rely on while its function is being called from
 * elsewhere, and what readers of a shadow can: where the kernel's own shadow
 * variables do otherwise, both are shown.
 */
#include <linux/completion.h>
#include <linux/delay.h>
#include <linux/kthread.h>
#include <linux/livepatch.h>
#include <linux/rcupdate.h>

#include "umbra_test.h"

#define STATE	540
#define PLAIN	541
#define MAGIC	0x5ad0u
#define OBJECT	((void *)&objects[10])

noinline UMBRA_HOOKED int umbra_state_target(void *obj);
noinline UMBRA_HOOKED int umbra_state_target(void *obj)
{
	barrier_data(obj);
	return 0;
}

/* What pre_patch stores beside the shadow: a plain variable. */
static unsigned int stored;
static unsigned int bad_reads, good_reads;

static int state_replacement(void *obj, unsigned int *shadow)
{
	if (stored != MAGIC || *shadow != MAGIC)
		bad_reads++;
	else
		good_reads++;
	return 1;
}

static struct umbra_state states[1];
static struct umbra_hook hook;
static struct umbra_patch patch;

static void fresh(void)
{
	if (hook.original)
		umbra_disable_patch(&patch);
	states[0] = (struct umbra_state){
		.id = STATE, .name = "state", .is_shadow = true,
	};
	hook = (struct umbra_hook){
		.symbol = "umbra_state_target", .replacement = state_replacement,
		.state = STATE, .shadow = STATE, .policy = UMBRA_HAS_SHADOW,
		.shadow_argument = 1,
	};
	patch = (struct umbra_patch){
		.mod = THIS_MODULE, .name = "test_state",
		.states = states, .nr_states = 1, .hooks = &hook, .nr_hooks = 1,
	};
}

static bool finished(void)
{
	hook.original = NULL;
	return true;
}

/* Calls the function all the time, and lets grace periods of tasks pass. */
static int caller(void *unused)
{
	while (!kthread_should_stop()) {
		umbra_state_target(OBJECT);
		cond_resched_tasks_rcu_qs();
	}
	return 0;
}

static int store_pre(struct umbra_patch *patch, struct umbra_state *state,
		     enum umbra_reason reason)
{
	unsigned int *shadow;

	shadow = umbra_shadow_alloc(OBJECT, STATE, sizeof(*shadow), GFP_KERNEL, NULL,
				    NULL);
	if (!shadow)
		return -ENOMEM;
	/* Found already, and not initialised yet: the gate is closed. */
	usleep_range(100, 1000);
	*shadow = MAGIC;
	stored = MAGIC;
	return 0;
}

static void store_post_un(struct umbra_patch *patch, struct umbra_state *state,
			  enum umbra_reason reason)
{
	stored = 0;
}

static bool r34_r36_patched_code_sees_all_that_pre_patch_stored(void)
{
	struct task_struct *task;
	int i, ret = 0;

	fresh();
	states[0].callbacks.pre_patch = store_pre;
	states[0].callbacks.post_unpatch = store_post_un;
	bad_reads = 0;
	good_reads = 0;
	task = kthread_run(caller, NULL, "umbra_test");
	CHECK(!IS_ERR(task));
	for (i = 0; i < 10 && !ret; i++) {
		ret = umbra_enable_patch(&patch);
		usleep_range(1000, 2000);
		ret = ret ?: umbra_disable_patch(&patch);
	}
	kthread_stop(task);
	CHECK(!ret);
	CHECK(!bad_reads && good_reads);
	return finished();
}

static bool closed_in_post, closed_in_pre_un;

static void gate_post(struct umbra_patch *patch, struct umbra_state *state,
		      enum umbra_reason reason)
{
	umbra_shadow_alloc(OBJECT, STATE, 8, GFP_KERNEL, NULL, NULL);
	closed_in_post = umbra_state_target(OBJECT) == 0;
}

static void gate_pre_un(struct umbra_patch *patch, struct umbra_state *state,
			enum umbra_reason reason)
{
	closed_in_pre_un = umbra_shadow_get(OBJECT, STATE) &&
			   umbra_state_target(OBJECT) == 0;
}

static bool r37_r38_the_gate_opens_after_post_patch_and_closes_before_pre_unpatch(void)
{
	fresh();
	states[0].callbacks.post_patch = gate_post;
	states[0].callbacks.pre_unpatch = gate_pre_un;
	CHECK(!umbra_enable_patch(&patch));
	CHECK(closed_in_post);
	CHECK(umbra_state_target(OBJECT) == 1);
	CHECK(!umbra_disable_patch(&patch));
	CHECK(closed_in_pre_un);
	return finished();
}

static void free_by_hand(struct umbra_patch *patch, struct umbra_state *state,
			 enum umbra_reason reason)
{
	umbra_shadow_free_all(STATE, test_dtor);
}

static bool r39_r97_a_free_all_in_post_unpatch_and_the_automatic_one_are_one(void)
{
	int i;

	fresh();
	states[0].callbacks.post_unpatch = free_by_hand;
	states[0].callbacks.shadow_dtor = test_dtor;
	CHECK(!umbra_enable_patch(&patch));
	for (i = 0; i < 5; i++)
		CHECK(umbra_shadow_alloc(&objects[i], STATE, 8, GFP_KERNEL, NULL, NULL));
	atomic_set(&dtors, 0);
	CHECK(!umbra_disable_patch(&patch));
	CHECK(atomic_read(&dtors) == 5 && !live(STATE));
	return finished();
}

static int failing_pre(struct umbra_patch *patch, struct umbra_state *state,
		       enum umbra_reason reason)
{
	int i;

	for (i = 0; i < 5; i++)
		umbra_shadow_alloc(&objects[i], STATE, 8, GFP_KERNEL, NULL, NULL);
	return -EDOM;
}

static bool r31_d4_what_a_failing_pre_patch_attached_is_gone(void)
{
	fresh();
	states[0].callbacks.pre_patch = failing_pre;
	states[0].callbacks.shadow_dtor = test_dtor;
	atomic_set(&dtors, 0);
	CHECK(umbra_enable_patch(&patch) == -EDOM);
	CHECK(atomic_read(&dtors) == 5 && !live(STATE));
	return finished();
}

/* ---- all tasks, then the old patch ---- */

static DECLARE_COMPLETION(entered);
static DECLARE_COMPLETION(leave);
static DECLARE_COMPLETION(replaced);
static bool old_undone, new_done;

static int old_replacement(void *obj, void *shadow)
{
	int cookie = umbra_replacement_begin();

	complete(&entered);
	wait_for_completion(&leave);
	umbra_replacement_end(cookie);
	return 2;
}

static int new_replacement(void *obj)
{
	return 3;
}

static void old_post_un(struct umbra_patch *patch, struct umbra_state *state,
			enum umbra_reason reason)
{
	WRITE_ONCE(old_undone, true);
}

static void new_post(struct umbra_patch *patch, struct umbra_state *state,
		     enum umbra_reason reason)
{
	WRITE_ONCE(new_done, true);
}

static struct umbra_state new_states[] = {
	{ .id = STATE + 5, .name = "new", .callbacks.post_patch = new_post },
};

static struct umbra_hook new_hook = {
	.symbol = "umbra_state_target", .replacement = new_replacement,
	.state = STATE + 5, .policy = UMBRA_ALWAYS,
};

static struct umbra_patch new_patch = {
	.mod = THIS_MODULE, .name = "test_state_new",
	.states = new_states, .nr_states = 1, .hooks = &new_hook, .nr_hooks = 1,
	.replace = true,
};

static int call_old(void *unused)
{
	return umbra_state_target(OBJECT);
}

static int replace_old(void *unused)
{
	int ret = umbra_enable_patch(&new_patch);

	complete(&replaced);
	return ret;
}

static bool r88_the_old_patch_goes_when_no_task_is_in_it(void)
{
	struct task_struct *task, *other;
	unsigned int users;
	bool early;
	int ret;

	fresh();
	hook.replacement = old_replacement;
	states[0].callbacks.post_unpatch = old_post_un;
	old_undone = false;
	new_done = false;
	users = module_refcount(THIS_MODULE);
	CHECK(!umbra_enable_patch(&patch));
	CHECK(umbra_shadow_alloc(OBJECT, STATE, 8, GFP_KERNEL, NULL, NULL));
	task = kthread_create(call_old, NULL, "umbra_test");
	other = kthread_create(replace_old, NULL, "umbra_test");
	CHECK(!IS_ERR(task) && !IS_ERR(other));
	get_task_struct(task);
	get_task_struct(other);
	wake_up_process(task);
	wait_for_completion(&entered);
	wake_up_process(other);
	msleep(1500);
	early = old_undone || new_done || completion_done(&replaced);
	complete(&leave);
	wait_for_completion(&replaced);
	kthread_stop(task);
	ret = kthread_stop(other);
	put_task_struct(task);
	put_task_struct(other);
	CHECK(!early);
	CHECK(!ret && old_undone && new_done);
	CHECK(umbra_state_target(OBJECT) == 3);
	/* R91: a replaced patch is nobody's any more, and may come again. */
	CHECK(umbra_disable_patch(&patch) == -ENOENT);
	CHECK(module_refcount(THIS_MODULE) == users + 1);
	hook.replacement = state_replacement;
	patch.replace = true;
	CHECK(!umbra_enable_patch(&patch));
	CHECK(!umbra_disable_patch(&patch));
	CHECK(module_refcount(THIS_MODULE) == users);
	return finished();
}

/* ---- beside the kernel's own ---- */

static void poison(void *obj, void *shadow)
{
	*(unsigned int *)shadow = ~MAGIC;
	atomic_inc(&dtors);
}

static int magic_ctor(void *obj, void *shadow, void *unused)
{
	*(unsigned int *)shadow = MAGIC;
	return 0;
}

static bool d9_d12_a_reader_in_a_section_keeps_what_it_found(void)
{
	struct umbra_type *type = umbra_type_get(PLAIN);
	unsigned int *found, stock, ours;

	CHECK(!IS_ERR(type));
	CHECK(klp_shadow_alloc(OBJECT, PLAIN, 8, GFP_KERNEL, magic_ctor, NULL));
	CHECK(umbra_shadow_alloc(OBJECT, PLAIN, 8, GFP_KERNEL, magic_ctor, NULL));

	rcu_read_lock();
	found = klp_shadow_get(OBJECT, PLAIN);
	klp_shadow_free(OBJECT, PLAIN, poison);
	stock = *found;
	rcu_read_unlock();
	/* Destructed under its reader. */
	CHECK(stock != MAGIC);

	atomic_set(&dtors, 0);
	rcu_read_lock();
	found = umbra_get(type, OBJECT);
	umbra_free(type, OBJECT, poison);
	mdelay(100);
	ours = READ_ONCE(*found);
	rcu_read_unlock();
	CHECK(ours == MAGIC);
	umbra_barrier();
	CHECK(atomic_read(&dtors) == 1);
	umbra_type_put(type);
	return true;
}

static bool irqs_were_off;

static int context_ctor(void *obj, void *shadow, void *unused)
{
	irqs_were_off |= irqs_disabled();
	return 0;
}

static void context_dtor(void *obj, void *shadow)
{
	irqs_were_off |= irqs_disabled();
}

/* May sleep, which a kernel that checks for it would complain of otherwise. */
static int sleeping_ctor(void *obj, void *shadow, void *unused)
{
	might_sleep();
	usleep_range(10, 20);
	return context_ctor(obj, shadow, unused);
}

static void sleeping_dtor(void *obj, void *shadow)
{
	might_sleep();
	usleep_range(10, 20);
	context_dtor(obj, shadow);
}

static bool d11_r62_ctors_and_dtors_run_with_interrupts_on(void)
{
	struct umbra_type *type = umbra_type_get(PLAIN);

	CHECK(!IS_ERR(type));
	irqs_were_off = false;
	CHECK(klp_shadow_alloc(OBJECT, PLAIN, 8, GFP_KERNEL, context_ctor, NULL));
	CHECK(irqs_were_off);
	irqs_were_off = false;
	klp_shadow_free_all(PLAIN, context_dtor);
	CHECK(irqs_were_off);

	irqs_were_off = false;
	CHECK(!IS_ERR(umbra_alloc(type, OBJECT, 8, GFP_KERNEL, sleeping_ctor, NULL)));
	CHECK(!IS_ERR(umbra_get_or_alloc(type, &objects[1], 8, GFP_KERNEL,
					 sleeping_ctor, NULL)));
	CHECK(umbra_free(type, OBJECT, sleeping_dtor));
	umbra_free_all(type, sleeping_dtor);
	umbra_barrier();
	CHECK(!irqs_were_off);
	CHECK(umbra_shadow_alloc(OBJECT, PLAIN, 8, GFP_KERNEL, context_ctor, NULL));
	umbra_shadow_free_all(PLAIN, context_dtor);
	CHECK(!irqs_were_off);
	umbra_type_put(type);
	return true;
}

const struct umbra_test umbra_state_tests[] = {
	TEST(r34_r36_patched_code_sees_all_that_pre_patch_stored),
	TEST(r37_r38_the_gate_opens_after_post_patch_and_closes_before_pre_unpatch),
	TEST(r39_r97_a_free_all_in_post_unpatch_and_the_automatic_one_are_one),
	TEST(r31_d4_what_a_failing_pre_patch_attached_is_gone),
	TEST(r88_the_old_patch_goes_when_no_task_is_in_it),
	TEST(d9_d12_a_reader_in_a_section_keeps_what_it_found),
	TEST(d11_r62_ctors_and_dtors_run_with_interrupts_on),
	{}
};
