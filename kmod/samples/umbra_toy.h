/* SPDX-License-Identifier: GPL-2.0 */
/* The toy driver of the samples: see umbra_toy.c. */
#ifndef _UMBRA_TOY_H
#define _UMBRA_TOY_H

#include <linux/list.h>
#include <linux/mutex.h>

struct toy {
	struct list_head node;
	/* Never used twice. */
	unsigned int nr;
	unsigned int queue;
};

extern unsigned int toy_limit;
extern unsigned int toy_second;
extern struct list_head toys;
extern struct mutex toy_lock;

struct toy *toy_probe(unsigned int nr);
void toy_remove(struct toy *toy);
int toy_reply(struct toy *toy);
int toy_open(struct toy *toy);

#endif /* _UMBRA_TOY_H */
