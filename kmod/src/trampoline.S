/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The code that runs at the entry of a hooked function.
 *
 * ftrace has the function call its slot's trampoline first. On entry
 *
 *	 0(%rsp)  returns into the hooked function, behind that call
 *	 8(%rsp)  returns to the hooked function's caller
 *
 * and the argument registers are the caller's. The trampoline returns to the
 * original by a plain RET, and to a replacement by putting its address into
 * 0(%rsp) first: the replacement then runs as if the caller had called it.
 * Writing the return slot instead of jumping keeps the stack as objtool's
 * unwind data says it is, and needs no indirect branch, so it is the same code
 * with and without retpolines and IBT.
 *
 * A closed slot costs four instructions here (and the landing pads, with IBT)
 * and touches one line of memory that is written only when a hook opens or
 * closes. An open one asks umbra_decide(), which may use everything that a C
 * function may: the argument registers are saved around it, as the array that it
 * reads the object from. It writes to that array too, if the replacement is to
 * get the shadow's address: into the place of a register behind those that the
 * function itself has, which its caller leaves free.
 *
 *	(%rsp) rdi | rsi | rdx | rcx | r8 | r9 | return into the function | ...
 *
 * No code is made at run time: the trampolines are stamped out below.
 */
#include <linux/linkage.h>
#include <asm/ibt.h>
#include <asm/nospec-branch.h>

#include "compat.h"
#include "trampoline.h"

	.section .text, "ax"

/* The slow half. %r11: the slot's target, read once. */
SYM_FUNC_START_LOCAL(umbra_ask)
	CALL_DEPTH_ACCOUNT
	pushq	%r9
	pushq	%r8
	pushq	%rcx
	pushq	%rdx
	pushq	%rsi
	pushq	%rdi
	movq	%r11, %rdi
	movq	%rsp, %rsi
	call	umbra_decide
	testq	%rax, %rax
	jz	.Lkeep
	movq	%rax, 48(%rsp)
.Lkeep:
	popq	%rdi
	popq	%rsi
	popq	%rdx
	popq	%rcx
	popq	%r8
	popq	%r9
	RET
SYM_FUNC_END(umbra_ask)

/*
 * Goes to %r11 without an indirect branch: the return slot of this call is
 * given up for it, so %r11 sees the stack of the caller's entry.
 */
SYM_FUNC_START_LOCAL(umbra_go)
	movq	%r11, (%rsp)
	RET
SYM_FUNC_END(umbra_go)

/* Calls the function at %rdi with the argument in %rsi, without an indirect branch. */
SYM_FUNC_START(umbra_call)
	movq	%rdi, %r11
	movq	%rsi, %rdi
	call	umbra_go
	RET
SYM_FUNC_END(umbra_call)

.macro UMBRA_SLOT n
	.balign 32
SYM_FUNC_START_LOCAL(umbra_trampoline_\n)
	ENDBR
	movq	umbra_slots + \n * UMBRA_SLOT_SIZE + UMBRA_SLOT_TARGET(%rip), %r11
	testq	%r11, %r11
	jnz	umbra_ask
	RET
SYM_FUNC_END(umbra_trampoline_\n)

	/* Called by replacements: the function as it was. */
	.balign 32
SYM_FUNC_START_LOCAL(umbra_original_\n)
	ENDBR
	movq	umbra_slots + \n * UMBRA_SLOT_SIZE + UMBRA_SLOT_ORIGINAL(%rip), %r11
	call	umbra_go
	RET
SYM_FUNC_END(umbra_original_\n)
.endm

.macro UMBRA_ADDRESSES prefix
	.set	i, 0
	.rept	UMBRA_SLOTS
	UMBRA_ADDRESS \prefix, %i
	.set	i, i + 1
	.endr
.endm

.macro UMBRA_ADDRESS prefix, n
	.quad	\prefix\()_\n
.endm

	.altmacro
	.set	i, 0
	.rept	UMBRA_SLOTS
	UMBRA_SLOT %i
	.set	i, i + 1
	.endr

	.section .rodata, "a"
	.balign 8
SYM_DATA_START(umbra_trampolines)
	UMBRA_ADDRESSES umbra_trampoline
SYM_DATA_END(umbra_trampolines)
SYM_DATA_START(umbra_originals)
	UMBRA_ADDRESSES umbra_original
SYM_DATA_END(umbra_originals)
	.noaltmacro

	/* Written by hooking and unhooking only. */
	.section .bss, "aw", @nobits
	.balign 64
SYM_DATA(umbra_slots, .skip UMBRA_SLOTS * UMBRA_SLOT_SIZE)
