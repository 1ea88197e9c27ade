/* SPDX-License-Identifier: GPL-2.0 */
/* Everything that depends on the kernel's version. Tried: 6.1 and 6.12. */
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
