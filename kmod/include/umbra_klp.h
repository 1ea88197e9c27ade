/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The drop-in: makes a user of klp_shadow_*() one of Umbra, without an edit.
 *
 *	ccflags-y += -I$(UMBRA)/include -include umbra_klp.h
 *
 * or a line "#include <umbra_klp.h>" before or after <linux/livepatch.h>. The
 * five functions of the stock kernel then mean ours, with its prototypes. They
 * do what kernel/livepatch/shadow.c does, to the letter:
 *
 *  - any object and any id is legal, NULL, 0 and a size of 0 included;
 *  - data is zeroed, and aligned to 16;
 *  - constructors and destructors run one at a time, with interrupts off, before
 *    the call returns; a constructor's non-zero result leaves nothing behind,
 *    is logged, and gives NULL;
 *  - a second klp_shadow_alloc() of one pair warns and gives NULL;
 *  - klp_shadow_get_or_alloc() of an existing pair ignores size and constructor;
 *  - freeing what is not there does nothing; memory goes after a grace period;
 *  - all of it works in atomic context.
 *
 * What differs: klp_shadow_get() does not slow down with the number of variables
 * (the stock table has 4096 chains), no lock is held around more than one
 * constructor or destructor, and klp_shadow_free_all() is no atomic step: a pair
 * that is attached while it runs may stay though one attached later goes.
 *
 * Variables are in Umbra's table: a module that was built without this header
 * does not see them, and umbra_shadow_*() does.
 *
 * It pulls in no printk, so that the file's own pr_fmt() still comes first.
 */
#ifndef _UMBRA_KLP_H
#define _UMBRA_KLP_H

#include <linux/types.h>

#define klp_shadow_get		umbra_shadow_get
#define klp_shadow_alloc	umbra_klp_shadow_alloc
#define klp_shadow_get_or_alloc	umbra_klp_shadow_get_or_alloc
#define klp_shadow_free		umbra_klp_shadow_free
#define klp_shadow_free_all	umbra_klp_shadow_free_all

/* For a file that has included <linux/livepatch.h> before this one. */
void *umbra_shadow_get(void *obj, unsigned long id);
void *umbra_klp_shadow_alloc(void *obj, unsigned long id, size_t size,
			     gfp_t gfp_flags,
			     int (*ctor)(void *obj, void *shadow_data,
					 void *ctor_data),
			     void *ctor_data);
void *umbra_klp_shadow_get_or_alloc(void *obj, unsigned long id, size_t size,
				    gfp_t gfp_flags,
				    int (*ctor)(void *obj, void *shadow_data,
						void *ctor_data),
				    void *ctor_data);
void umbra_klp_shadow_free(void *obj, unsigned long id,
			   void (*dtor)(void *obj, void *shadow_data));
void umbra_klp_shadow_free_all(unsigned long id,
			       void (*dtor)(void *obj, void *shadow_data));

#endif /* _UMBRA_KLP_H */
