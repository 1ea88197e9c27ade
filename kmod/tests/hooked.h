/* SPDX-License-Identifier: GPL-2.0 */
#ifndef _UMBRA_HOOKED_H
#define _UMBRA_HOOKED_H

/*
 * A function that tests hook: there by its name, and called for what it returns.
 * From version 14 on gcc takes a constant result out of a function that it does
 * not inline.
 */
#define UMBRA_HOOKED	__attribute__((__noipa__))

#endif /* _UMBRA_HOOKED_H */
