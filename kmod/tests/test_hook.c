// SPDX-License-Identifier: GPL-2.0
/*
 * Hooks: the shadow's address as an argument of the replacement and how long it
 * is good, the contexts that a hooked function may run in, all slots in use.
 */
#include <linux/completion.h>
#include <linux/context_tracking.h>
#include <linux/delay.h>
#include <linux/interrupt.h>
#include <linux/irq_work.h>
#include <linux/jiffies.h>
#include <linux/kthread.h>
#include <linux/rcupdate.h>
#include <linux/sched.h>
#include <linux/smp.h>
#include <linux/timer.h>

#include <asm/apic.h>
#include <asm/nmi.h>

#include "umbra_test.h"

#define STATE	530
#define SHADOW	531
#define OBJECT	((void *)&objects[9])

static struct umbra_state states[] = {
	{ .id = STATE, .name = "hook", .is_shadow = true },
};

static struct umbra_hook hook;

static struct umbra_patch patch = {
	.mod = THIS_MODULE, .name = "test_hook",
	.states = states, .nr_states = 1,
	.hooks = &hook, .nr_hooks = 1,
};

/* Known by their names and called as they are written. */
noinline UMBRA_HOOKED int umbra_hook_two(void *obj, int a);
noinline UMBRA_HOOKED int umbra_hook_two(void *obj, int a)
{
	barrier_data(obj);
	return a;
}

noinline UMBRA_HOOKED int umbra_hook_five(int a, int b, int c, void *obj, int e);
noinline UMBRA_HOOKED int umbra_hook_five(int a, int b, int c, void *obj, int e)
{
	barrier_data(obj);
	return a + 10 * b + 100 * c + 1000 * e;
}

static void hook_on(const char *symbol, void *replacement, unsigned int argument,
		    unsigned int shadow_argument)
{
	hook = (struct umbra_hook){
		.symbol = symbol, .replacement = replacement, .state = STATE,
		.shadow = SHADOW, .policy = UMBRA_HAS_SHADOW,
		.argument = argument, .shadow_argument = shadow_argument,
	};
}

/* A test that failed leaves these behind, so the next one takes them away. */
static bool unfinished;

static void begin(void)
{
	if (unfinished) {
		umbra_disable_patch(&patch);
		umbra_shadow_free(OBJECT, SHADOW, NULL);
	}
	unfinished = true;
}

static bool finished(void)
{
	unfinished = false;
	return true;
}

/* A shadow with a number in it, or none. */
static unsigned long *mark(unsigned long number)
{
	return umbra_shadow_alloc(OBJECT, SHADOW, 8, GFP_KERNEL, test_ctor,
				  (void *)number);
}

/* ---- the shadow's address ---- */

static void *given;

static int two_and_shadow(void *obj, int a, unsigned long *shadow)
{
	int (*original)(void *obj, int a) = hook.original;

	given = shadow;
	return original(obj, a) + *shadow;
}

static int two_and_sixth(void *obj, int a, int c, int d, int e, unsigned long *shadow)
{
	given = shadow;
	return a + *shadow;
}

static int five_and_shadow(int a, int b, int c, void *obj, int e, unsigned long *shadow)
{
	given = shadow;
	return a + 10 * b + 100 * c + 1000 * e + *shadow;
}

static bool a_replacement_gets_the_shadow_that_was_found(void)
{
	unsigned long *data = mark(7000000);

	begin();
	CHECK(data);
	hook_on("umbra_hook_two", two_and_shadow, 0, 2);
	CHECK(!umbra_enable_patch(&patch));
	CHECK(umbra_hook_two(OBJECT, 3) == 7000003 && given == data);
	given = NULL;
	CHECK(umbra_hook_two(&objects[1], 3) == 3 && !given);
	CHECK(!umbra_disable_patch(&patch));

	hook_on("umbra_hook_two", two_and_sixth, 0, 5);
	CHECK(!umbra_enable_patch(&patch));
	CHECK(umbra_hook_two(OBJECT, 4) == 7000004 && given == data);
	CHECK(!umbra_disable_patch(&patch));

	/* The arguments in front of it arrive as they were. */
	hook_on("umbra_hook_five", five_and_shadow, 3, 5);
	CHECK(!umbra_enable_patch(&patch));
	CHECK(umbra_hook_five(1, 2, 3, OBJECT, 5) == 7005321 && given == data);
	CHECK(umbra_hook_five(1, 2, 3, &objects[1], 5) == 5321);
	CHECK(!umbra_disable_patch(&patch));
	umbra_shadow_free(OBJECT, SHADOW, NULL);
	return finished();
}

static bool bad_place_for_the_shadow(void)
{
	static const struct {
		enum umbra_policy policy;
		unsigned int argument, shadow_argument;
	} bad[] = {
		{ UMBRA_ALWAYS, 0, 2 },
		{ UMBRA_LACKS_SHADOW, 0, 2 },
		{ UMBRA_HAS_SHADOW, 0, 6 },
		{ UMBRA_HAS_SHADOW, 3, 3 },
		{ UMBRA_HAS_SHADOW, 3, 1 },
	};
	size_t i;

	begin();
	for (i = 0; i < ARRAY_SIZE(bad); i++) {
		hook_on("umbra_hook_two", two_and_shadow, bad[i].argument,
			bad[i].shadow_argument);
		hook.policy = bad[i].policy;
		CHECK(umbra_enable_patch(&patch) == -EINVAL);
	}
	return finished();
}

/* Who is in the replacement, and what it saw at its end. */
static DECLARE_COMPLETION(entered);
static DECLARE_COMPLETION(leave);
static unsigned long seen_at_end;
static int dtors_at_end;

static void poison(void *obj, void *shadow)
{
	*(unsigned long *)shadow = 0xdead;
	atomic_inc(&dtors);
}

static int two_sleeps(void *obj, int a, unsigned long *shadow)
{
	int cookie = umbra_replacement_begin();

	complete(&entered);
	wait_for_completion(&leave);
	seen_at_end = READ_ONCE(*shadow);
	dtors_at_end = atomic_read(&dtors);
	umbra_replacement_end(cookie);
	return a;
}

#define SPIN	(HZ / 2)

/* In no section: nothing but the code itself says that it is there. */
static int two_spins(void *obj, int a, unsigned long *shadow)
{
	unsigned long until = jiffies + SPIN;

	complete(&entered);
	while (time_before(jiffies, until))
		cpu_relax();
	seen_at_end = READ_ONCE(*shadow);
	dtors_at_end = atomic_read(&dtors);
	return a;
}

static int caller(void *unused)
{
	return umbra_hook_two(OBJECT, 1);
}

/* Detaches the shadow while a replacement that was handed it is at work. */
static bool kept_while_in(void *replacement, bool sleeps)
{
	struct task_struct *task;
	struct umbra_type *type;
	int early = 0;

	begin();
	CHECK(mark(42));
	type = umbra_type_get(SHADOW);
	CHECK(!IS_ERR(type));
	hook_on("umbra_hook_two", replacement, 0, 2);
	CHECK(!umbra_enable_patch(&patch));
	atomic_set(&dtors, 0);
	reinit_completion(&entered);
	reinit_completion(&leave);
	task = kthread_create(caller, NULL, "umbra_test");
	CHECK(!IS_ERR(task));
	get_task_struct(task);
	wake_up_process(task);
	wait_for_completion(&entered);

	CHECK(umbra_free(type, OBJECT, poison));
	CHECK(!umbra_get(type, OBJECT));
	if (sleeps) {
		/* Longer than it takes by far, if nobody is waited for. */
		msleep(1000);
		early = atomic_read(&dtors);
		complete(&leave);
	}
	umbra_barrier();
	kthread_stop(task);
	put_task_struct(task);
	CHECK(!early);
	CHECK(seen_at_end == 42 && dtors_at_end == 0);
	CHECK(atomic_read(&dtors) == 1);
	CHECK(!umbra_disable_patch(&patch));
	umbra_type_put(type);
	return finished();
}

static bool d9_a_shadow_is_kept_for_a_replacement_that_sleeps(void)
{
	return kept_while_in(two_sleeps, true);
}

static bool d9_a_shadow_is_kept_for_a_replacement_in_no_section(void)
{
	return kept_while_in(two_spins, false);
}

/* ---- contexts ---- */

static int in_context, context_nmi, context_hardirq, context_softirq;

static int two_by_context(void *obj, int a, unsigned long *shadow)
{
	context_nmi = !!in_nmi();
	context_hardirq = !!in_hardirq();
	context_softirq = !!in_serving_softirq();
	return *shadow;
}

static void call_it(void *unused)
{
	WRITE_ONCE(in_context, umbra_hook_two(OBJECT, 1));
}

static void call_by_work(struct irq_work *work)
{
	call_it(NULL);
}

static void call_by_timer(struct timer_list *timer)
{
	call_it(NULL);
}

static DEFINE_IRQ_WORK(irq_call, call_by_work);
static DEFINE_TIMER(timer_call, call_by_timer);

static int call_by_nmi(unsigned int cmd, struct pt_regs *regs)
{
	if (READ_ONCE(in_context))
		return NMI_DONE;
	call_it(NULL);
	return NMI_HANDLED;
}

static bool wait_for_it(void)
{
	unsigned long until = jiffies + 10 * HZ;

	while (!READ_ONCE(in_context) && time_before(jiffies, until))
		usleep_range(100, 1000);
	return READ_ONCE(in_context);
}

static bool diverts_in_irqs_and_nmi(void)
{
	unsigned int cpu;

	in_context = 0;
	irq_work_queue(&irq_call);
	irq_work_sync(&irq_call);
	CHECK(in_context == 42 && context_hardirq && !context_nmi);

	for_each_online_cpu(cpu) {
		in_context = 0;
		CHECK(!smp_call_function_single(cpu, call_it, NULL, 1));
		CHECK(in_context == 42);
	}

	in_context = 0;
	mod_timer(&timer_call, jiffies + 1);
	CHECK(wait_for_it());
	CHECK(in_context == 42 && context_softirq && !context_hardirq);

	in_context = 0;
	CHECK(!register_nmi_handler(NMI_LOCAL, call_by_nmi, 0, "umbra_test"));
	for_each_online_cpu(cpu) {
		in_context = 0;
		context_nmi = 0;
		preempt_disable();
		apic->send_IPI_mask(cpumask_of(cpu), NMI_VECTOR);
		preempt_enable();
		wait_for_it();
		if (in_context != 42 || !context_nmi)
			break;
	}
	unregister_nmi_handler(NMI_LOCAL, "umbra_test");
	CHECK(in_context == 42 && context_nmi);
	return true;
}

static bool a_hook_works_in_irq_softirq_and_nmi(void)
{
	bool good;

	begin();
	CHECK(mark(42));
	hook_on("umbra_hook_two", two_by_context, 0, 2);
	CHECK(!umbra_enable_patch(&patch));
	good = diverts_in_irqs_and_nmi();
	CHECK(!umbra_disable_patch(&patch));
	umbra_shadow_free(OBJECT, SHADOW, NULL);
	return good && finished();
}

/* As the idle task is: by its flag, and with RCU watching or not. */
static int call_as_idle(bool watched)
{
	int ret;

	local_irq_disable();
	current->flags |= PF_IDLE;
	if (!watched)
		ct_idle_enter();
	ret = umbra_hook_two(OBJECT, 1);
	if (!watched)
		ct_idle_exit();
	current->flags &= ~PF_IDLE;
	local_irq_enable();
	return ret;
}

static bool where_rcu_does_not_watch_the_original_runs(void)
{
	begin();
	CHECK(mark(42));
	hook_on("umbra_hook_two", two_by_context, 0, 2);
	CHECK(!umbra_enable_patch(&patch));
	CHECK(umbra_hook_two(OBJECT, 1) == 42);
	CHECK(call_as_idle(true) == 42);
	CHECK(call_as_idle(false) == 1);
	CHECK(!umbra_disable_patch(&patch));
	umbra_shadow_free(OBJECT, SHADOW, NULL);
	return finished();
}

static atomic_t unwatched = ATOMIC_INIT(0);

static void idle_replacement(void)
{
	void (*original)(void) = hook.original;

	if (!rcu_is_watching())
		atomic_inc(&unwatched);
	original();
}

/* The idle loop's own functions: refused, or never diverted without RCU. */
static bool a_hook_in_the_idle_loop_is_safe_or_refused(void)
{
	static const char *const symbols[] = {
		"arch_cpu_idle", "arch_cpu_idle_enter", "arch_cpu_idle_exit",
		"default_idle", "do_idle", "cpuidle_enter_state",
	};
	unsigned int hooked = 0;
	size_t i;

	begin();
	for (i = 0; i < ARRAY_SIZE(symbols); i++) {
		int ret;

		hook_on(symbols[i], idle_replacement, 0, 0);
		hook.policy = UMBRA_ALWAYS;
		ret = umbra_enable_patch(&patch);
		CHECK(!ret || ret == -EOPNOTSUPP || ret == -ENOENT);
		pr_info("# %s: %d\n", symbols[i], ret);
		if (ret)
			continue;
		hooked++;
		/* Time to be idle in. */
		msleep(50);
		CHECK(!umbra_disable_patch(&patch));
		CHECK(!atomic_read(&unwatched));
	}
	return finished();
}

/* ---- all slots ---- */

#define SLOTS	64

#define DEFINE_MANY(n)						\
noinline UMBRA_HOOKED int umbra_hook_many_##n(void *obj);		\
noinline UMBRA_HOOKED int umbra_hook_many_##n(void *obj)		\
{								\
	barrier_data(obj);					\
	return n;						\
}

#define MANY(n)	DEFINE_MANY(n)
#include "hook_many.h"
#undef MANY

#define MANY(n)	"umbra_hook_many_" #n,
static const char *const many_names[] = {
#include "hook_many.h"
};

#undef MANY

#define MANY(n)	umbra_hook_many_##n,
static int (*const many_calls[])(void *obj) = {
#include "hook_many.h"
};

#undef MANY

static struct umbra_hook many[ARRAY_SIZE(many_names)];

static int many_replacement(void *obj)
{
	return -1;
}

static unsigned int diverted(void)
{
	unsigned int n = 0;
	size_t i;

	for (i = 0; i < ARRAY_SIZE(many_calls); i++)
		n += many_calls[i](OBJECT) == -1;
	return n;
}

static bool bad_more_hooks_than_slots(void)
{
	static struct umbra_state other_states[] = {
		{ .id = STATE + 5, .name = "other" },
	};
	static struct umbra_hook one;
	static struct umbra_patch other = {
		.mod = THIS_MODULE, .name = "test_one_more",
		.states = other_states, .nr_states = 1,
		.hooks = &one, .nr_hooks = 1,
	};
	struct umbra_patch all = patch;
	size_t i;

	begin();
	static_assert(ARRAY_SIZE(many_names) == SLOTS + 1);
	for (i = 0; i < ARRAY_SIZE(many); i++)
		many[i] = (struct umbra_hook){
			.symbol = many_names[i], .replacement = many_replacement,
			.state = STATE, .policy = UMBRA_ALWAYS,
		};
	all.hooks = many;
	all.nr_hooks = SLOTS + 1;
	CHECK(umbra_enable_patch(&all) == -ENOSPC);
	CHECK(diverted() == 0);
	all.nr_hooks = SLOTS;
	CHECK(!umbra_enable_patch(&all));
	CHECK(diverted() == SLOTS);

	one = many[SLOTS];
	one.state = STATE + 5;
	CHECK(umbra_enable_patch(&other) == -ENOSPC);
	CHECK(diverted() == SLOTS);
	CHECK(!umbra_disable_patch(&all));
	CHECK(diverted() == 0);
	/* They were given back. */
	CHECK(!umbra_enable_patch(&other));
	CHECK(diverted() == 1);
	CHECK(!umbra_disable_patch(&other));
	return finished();
}

const struct umbra_test umbra_hook_tests[] = {
	TEST(a_replacement_gets_the_shadow_that_was_found),
	TEST(bad_place_for_the_shadow),
	TEST(d9_a_shadow_is_kept_for_a_replacement_that_sleeps),
	TEST(d9_a_shadow_is_kept_for_a_replacement_in_no_section),
	TEST(a_hook_works_in_irq_softirq_and_nmi),
	TEST(where_rcu_does_not_watch_the_original_runs),
	TEST(a_hook_in_the_idle_loop_is_safe_or_refused),
	TEST(bad_more_hooks_than_slots),
	{}
};
