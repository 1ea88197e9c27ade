/* SPDX-License-Identifier: GPL-2.0 */
/* What trampoline.S and the C code agree on. */
#ifndef _UMBRA_TRAMPOLINE_H
#define _UMBRA_TRAMPOLINE_H

/* How many functions can be hooked at once. The Rust side checks the number. */
#define UMBRA_SLOTS		64

/* struct umbra_slot */
#define UMBRA_SLOT_SIZE		16
#define UMBRA_SLOT_TARGET	0
#define UMBRA_SLOT_ORIGINAL	8

#endif /* _UMBRA_TRAMPOLINE_H */
