// SPDX-License-Identifier: GPL-2.0
/*
 * What Rust cannot call by itself: inline functions, macros, per-CPU data.
 */
#include <linux/atomic.h>
#include <linux/delay.h>
#include <linux/irqflags.h>
#include <linux/kernel.h>
#include <linux/list.h>
#include <linux/log2.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/percpu.h>
#include <linux/preempt.h>
#include <linux/printk.h>
#include <linux/random.h>
#include <linux/rcupdate.h>
#include <linux/sched.h>
#include <linux/sched/clock.h>
#include <linux/seq_file.h>
#include <linux/slab.h>
#include <linux/spinlock.h>
#include <linux/workqueue.h>

#include "internal.h"

/* The flags that Rust names. */
const gfp_t umbra_c_gfp_kernel = GFP_KERNEL;

/* ---- memory ---- */

static atomic_t umbra_fail_nth = ATOMIC_INIT(0);

/* Pieces of memory that are allocated; a processor's own may be negative. */
static DEFINE_PER_CPU(long, umbra_held);

static int umbra_fail_nth_set(const char *val, const struct kernel_param *kp)
{
	int n, ret = kstrtoint(val, 0, &n);

	if (ret)
		return ret;
	if (n < 0)
		return -EINVAL;
	atomic_set(&umbra_fail_nth, n);
	return 0;
}

static int umbra_fail_nth_get(char *buf, const struct kernel_param *kp)
{
	return sysfs_emit(buf, "%d\n", atomic_read(&umbra_fail_nth));
}

static const struct kernel_param_ops umbra_fail_nth_ops = {
	.set = umbra_fail_nth_set,
	.get = umbra_fail_nth_get,
};
module_param_cb(fail_nth, &umbra_fail_nth_ops, NULL, 0600);
MODULE_PARM_DESC(fail_nth, "debugging: fail the n-th allocation from now on, once; 0: none");

static bool umbra_should_fail(void)
{
	/* One load as long as nobody debugs. */
	return unlikely(atomic_read(&umbra_fail_nth)) &&
	       atomic_dec_if_positive(&umbra_fail_nth) == 0;
}

/**
 * umbra_c_zalloc - zeroed memory with an alignment
 * @size: bytes
 * @align: a power of two, at most a page
 * @gfp: as kmalloc()
 *
 * kmalloc() promises alignment to the size for powers of two only. In practice
 * the caches of 96 and 192 bytes are aligned to 32 and 64 unless slab
 * debugging moves the objects, so take what fits and round up if it is not.
 *
 * Return: the memory or NULL.
 */
notrace void *umbra_c_zalloc(size_t size, size_t align, gfp_t gfp)
{
	void *ptr;

	if (umbra_should_fail())
		return NULL;
	ptr = kzalloc(size, gfp | __GFP_NOWARN);
	if (unlikely(!IS_ALIGNED((unsigned long)ptr, align))) {
		kfree(ptr);
		ptr = kzalloc(roundup_pow_of_two(max(size, align)), gfp | __GFP_NOWARN);
	}
	if (likely(ptr))
		this_cpu_inc(umbra_held);
	return ptr;
}

notrace void umbra_c_free(void *ptr)
{
	if (ptr)
		this_cpu_dec(umbra_held);
	kfree(ptr);
}

/* Everything that umbra.ko allocated has to be given back by now. */
static void umbra_audit_memory(void)
{
	long held = 0;
	int cpu;

	for_each_possible_cpu(cpu)
		held += *per_cpu_ptr(&umbra_held, cpu);
	if (held)
		pr_err("umbra: leak audit: %ld pieces of memory were never freed\n", held);
}

/* ---- waiting ---- */

/* Looks at a running constructor that a caller in atomic context affords. */
#define UMBRA_ATOMIC_ROUNDS	1000
/* The same before one that may sleep does: most are short. */
#define UMBRA_SPIN_ROUNDS	100

/**
 * umbra_c_relax - wait a little for another caller's constructor
 * @gfp: whether the caller may sleep
 * @round: how often it has waited already
 *
 * A caller that may not sleep may have interrupted the one it waits for, on
 * this very CPU, so it gives up after a while.
 *
 * Return: whether to go on waiting.
 */
bool umbra_c_relax(gfp_t gfp, unsigned int round)
{
	/*
	 * Sleep rather than yield: a real-time task that yields would keep the
	 * one it waits for from running.
	 */
	if (gfpflags_allow_blocking(gfp) && round >= UMBRA_SPIN_ROUNDS) {
		usleep_range(20, 100);
		return true;
	}
	cpu_relax();
	return round < UMBRA_ATOMIC_ROUNDS;
}

void umbra_c_resched(void)
{
	cond_resched();
}

/* Nanoseconds; near enough between CPUs for the length of a slice. */
u64 umbra_c_clock(void)
{
	return local_clock();
}

/*
 * A section with preemption off is a read-side section for synchronize_rcu()
 * and costs two instructions; the notrace kind is safe in a trampoline.
 */
notrace void umbra_c_guard(void)
	__acquires(RCU_SCHED)
{
	rcu_read_lock_sched_notrace();
}

notrace void umbra_c_unguard(void)
	__releases(RCU_SCHED)
{
	rcu_read_unlock_sched_notrace();
}

/*
 * Sections without interrupts, nested in what the caller has. Preemption is off too,
 * so that its end looks whether to reschedule, as with a spinlock.
 */
unsigned long umbra_c_irqs_off(void)
{
	unsigned long flags;

	preempt_disable();
	local_irq_save(flags);
	return flags;
}

void umbra_c_irqs_as(unsigned long flags)
{
	local_irq_restore(flags);
	preempt_enable();
}

void umbra_c_synchronize_rcu(void)
{
	synchronize_rcu();
}

static struct workqueue_struct *umbra_wq;

static void umbra_reclaim_work(struct work_struct *work)
{
	umbra_rs_reclaim();
}

static DECLARE_WORK(umbra_reclaim, umbra_reclaim_work);

void umbra_c_queue_reclaim(void)
{
	queue_work(umbra_wq, &umbra_reclaim);
}

/*
 * A run that started before may have missed what was retired just now, so ask
 * for another: flush_work() waits for the last one queued.
 */
void umbra_c_flush_reclaim(void)
{
	queue_work(umbra_wq, &umbra_reclaim);
	flush_work(&umbra_reclaim);
}

u64 umbra_c_seed(void)
{
	return get_random_u64();
}

/* ---- constructors and destructors that wait for themselves ---- */

/* A task in a constructor, noted with the parameter "check" only. */
struct umbra_constructing {
	struct list_head node;
	struct task_struct *task;
};

static LIST_HEAD(umbra_constructing);
static DEFINE_SPINLOCK(umbra_constructing_lock);

/**
 * umbra_c_construct - call a constructor, and know that this task is in it
 * @ctor: the author's
 * @obj: its first argument
 * @data: its second argument
 * @ctor_data: its third argument
 *
 * Return: what it returned.
 */
int umbra_c_construct(umbra_shadow_ctor_t ctor, void *obj, void *data,
		      void *ctor_data)
{
	struct umbra_constructing me = { .task = in_task() ? current : NULL };
	unsigned long flags;
	int ret;

	spin_lock_irqsave(&umbra_constructing_lock, flags);
	list_add(&me.node, &umbra_constructing);
	spin_unlock_irqrestore(&umbra_constructing_lock, flags);
	ret = ctor(obj, data, ctor_data);
	spin_lock_irqsave(&umbra_constructing_lock, flags);
	list_del(&me.node);
	spin_unlock_irqrestore(&umbra_constructing_lock, flags);
	return ret;
}

static bool umbra_in_constructor(void)
{
	struct umbra_constructing *it;
	unsigned long flags;
	bool in = false;

	spin_lock_irqsave(&umbra_constructing_lock, flags);
	list_for_each_entry(it, &umbra_constructing, node)
		in |= it->task == current;
	spin_unlock_irqrestore(&umbra_constructing_lock, flags);
	return in;
}

/**
 * umbra_c_may_wait - whether the caller may wait for reclamation
 * @what: what it called, for the log
 *
 * Reclamation waits for the destructor that it runs, and for constructors of
 * shadows that it is to reclaim: if one of those waited for it, for ever.
 *
 * Return: whether it is in neither (in a constructor: as far as "check" tells).
 */
bool umbra_c_may_wait(const char *what)
{
	const char *in;

	might_sleep();
	if (current_work() == &umbra_reclaim)
		in = "destructor";
	else if (umbra_check_on && umbra_in_constructor())
		in = "constructor";
	else
		return true;
	umbra_refused_err("%s waits for reclamation, which waits for the %s that called it; call it elsewhere",
			  what, in);
	return false;
}

/* ---- the control lock ---- */

static DEFINE_MUTEX(umbra_control);
static struct task_struct *umbra_control_owner;

/* Whether the caller is a callback that runs under the control lock. */
bool umbra_c_owns_control(void)
{
	/* Only a task itself can have stored its own address here. */
	return READ_ONCE(umbra_control_owner) == current;
}

/**
 * umbra_c_lock - take the lock of the control path
 *
 * Return: 0, or -EDEADLK if the caller has it: a callback that enables or
 * disables a patch.
 */
int umbra_c_lock(void)
{
	if (umbra_c_owns_control())
		return -EDEADLK;
	mutex_lock(&umbra_control);
	WRITE_ONCE(umbra_control_owner, current);
	return 0;
}

/* As umbra_c_lock(), if nobody has it now and the context may have a mutex. */
bool umbra_c_trylock(void)
{
	if (!in_task() || irqs_disabled() || umbra_c_owns_control())
		return false;
	if (!mutex_trylock(&umbra_control))
		return false;
	WRITE_ONCE(umbra_control_owner, current);
	return true;
}

void umbra_c_unlock(void)
{
	WRITE_ONCE(umbra_control_owner, NULL);
	mutex_unlock(&umbra_control);
}

bool umbra_c_module_get(struct module *mod)
{
	return try_module_get(mod);
}

void umbra_c_module_put(struct module *mod)
{
	module_put(mod);
}

const char *umbra_c_module_name(struct module *mod)
{
	return mod ? module_name(mod) : "kernel";
}

/* ---- words ---- */

void umbra_c_log(int level, const u8 *text, size_t len)
{
	switch (level) {
	case LOGLEVEL_ERR:
		pr_err("umbra: %.*s\n", (int)len, text);
		break;
	case LOGLEVEL_WARNING:
		pr_warn("umbra: %.*s\n", (int)len, text);
		break;
	case UMBRA_LOGLEVEL_OFTEN:
		pr_warn_ratelimited("umbra: %.*s\n", (int)len, text);
		break;
	case LOGLEVEL_EMERG:
		pr_emerg("umbra: %.*s\n", (int)len, text);
		break;
	default:
		pr_info("umbra: %.*s\n", (int)len, text);
	}
}

void umbra_c_seq_write(struct seq_file *m, const u8 *text, size_t len)
{
	seq_write(m, text, len);
}

/* ---- counters ---- */

static DEFINE_PER_CPU(struct umbra_counters, umbra_percpu);

/* Called by a decision, with preemption off. */
notrace void umbra_c_count(bool hit, bool diverted)
{
	if (hit)
		this_cpu_inc(umbra_percpu.hit);
	else
		this_cpu_inc(umbra_percpu.miss);
	if (diverted)
		this_cpu_inc(umbra_percpu.diverted);
}

void umbra_c_counters(struct umbra_counters *sum)
{
	int cpu;

	memset(sum, 0, sizeof(*sum));
	for_each_possible_cpu(cpu) {
		const struct umbra_counters *c = per_cpu_ptr(&umbra_percpu, cpu);

		sum->hit += READ_ONCE(c->hit);
		sum->miss += READ_ONCE(c->miss);
		sum->diverted += READ_ONCE(c->diverted);
	}
}

int umbra_shim_init(void)
{
	/* Reclaiming frees memory, so it must get on when there is none. */
	umbra_wq = alloc_workqueue("umbra", WQ_UNBOUND | WQ_MEM_RECLAIM, 1);
	return umbra_wq ? 0 : -ENOMEM;
}

void umbra_shim_exit(void)
{
	destroy_workqueue(umbra_wq);
	umbra_audit_memory();
}
