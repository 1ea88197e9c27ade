/* SPDX-License-Identifier: GPL-2.0 */
/* Everything that depends on the kernel's version. Tried: 6.1, 6.12 and 7.3. */
#ifndef _UMBRA_COMPAT_H
#define _UMBRA_COMPAT_H

#ifdef __ASSEMBLY__

/* From 6.2 on a function that is entered by a call accounts for it. */
#include <asm/nospec-branch.h>
#ifndef CALL_DEPTH_ACCOUNT
#define CALL_DEPTH_ACCOUNT
#endif

#else /* __ASSEMBLY__ */

#include <linux/ftrace.h>
#include <linux/hrtimer.h>
#include <linux/version.h>

#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 4, 0)
#define umbra_register_direct(ops, addr) \
	register_ftrace_direct_multi(ops, addr)
#define umbra_unregister_direct(ops, addr) \
	unregister_ftrace_direct_multi(ops, addr)
#else
#define umbra_register_direct(ops, addr) \
	register_ftrace_direct(ops, addr)
#define umbra_unregister_direct(ops, addr) \
	unregister_ftrace_direct(ops, addr, false)
#endif

#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 2, 0)
#define umbra_set_ip(fregs, ip)	ftrace_instruction_pointer_set(fregs, ip)
#else
#define umbra_set_ip(fregs, ip)	ftrace_regs_set_instruction_pointer(fregs, ip)
#endif

/*
 * ftrace asks before it puts an IPMODIFY user (a livepatch) on a function with
 * a direct call. We do not touch the registers, so both can be there. By 7.3 the
 * question has the function's address too.
 */
static inline int umbra_share(struct ftrace_ops *op, enum ftrace_ops_cmd cmd)
{
	return 0;
}

static inline int umbra_share_at(struct ftrace_ops *op, unsigned long ip,
				 enum ftrace_ops_cmd cmd)
{
	return 0;
}

#define umbra_ops_func							\
	__builtin_choose_expr(						\
		__builtin_types_compatible_p(ftrace_ops_func_t,		\
			int (*)(struct ftrace_ops *, enum ftrace_ops_cmd)), \
		umbra_share, umbra_share_at)

#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 13, 0)
static inline void umbra_hrtimer_on_stack(struct hrtimer *timer,
					  enum hrtimer_restart (*function)(struct hrtimer *),
					  clockid_t clock, enum hrtimer_mode mode)
{
	hrtimer_init_on_stack(timer, clock, mode);
	timer->function = function;
}
#else
#define umbra_hrtimer_on_stack(timer, function, clock, mode) \
	hrtimer_setup_on_stack(timer, function, clock, mode)
#endif

/* As the livepatch core asks for: arguments are enough to change the way. */
#ifdef CONFIG_HAVE_DYNAMIC_FTRACE_WITH_ARGS
#define UMBRA_IPMODIFY_FLAGS	FTRACE_OPS_FL_IPMODIFY
#else
#define UMBRA_IPMODIFY_FLAGS	(FTRACE_OPS_FL_IPMODIFY | FTRACE_OPS_FL_SAVE_REGS)
#endif

/*
 * Where a function goes on behind ftrace's call. A kprobe's address is that of
 * the call: with IBT that is 4 behind the symbol.
 */
static inline unsigned long umbra_behind_call(unsigned long addr)
{
	return addr + MCOUNT_INSN_SIZE;
}

#endif /* __ASSEMBLY__ */

#endif /* _UMBRA_COMPAT_H */
