/* SPDX-License-Identifier: GPL-2.0 */
/* What the files of umbra_bench.ko share. */
#ifndef _UMBRA_BENCH_H
#define _UMBRA_BENCH_H

#include <linux/types.h>

/* One operation on the i-th object. */
typedef void (*bench_op_t)(unsigned int i);

/* Addresses as slab objects have them; nobody follows them. */
static inline void *bench_key(unsigned int i)
{
	return (void *)(0xffff888000000000UL + i * 192UL);
}

u64 bench_loop(bench_op_t op, unsigned int from, unsigned int to,
	       unsigned int step);
void bench_figure(const char *name, unsigned int n, u64 cycles);
int bench_hooks(void);

#endif /* _UMBRA_BENCH_H */
