/* SPDX-License-Identifier: GPL-2.0 */
/* What the files of umbra_test.ko share. */
#ifndef _UMBRA_TEST_H
#define _UMBRA_TEST_H

#include <linux/atomic.h>
#include <linux/err.h>
#include <linux/module.h>
#include <linux/slab.h>

#include <umbra.h>

#include "hooked.h"

struct umbra_test {
	const char *name;
	bool (*run)(void);
};

#define TEST(name)	{ #name, name }

/* Each ends with an empty one. */
extern const struct umbra_test umbra_shadow_tests[];
extern const struct umbra_test umbra_patch_tests[];
extern const struct umbra_test umbra_abi_tests[];
extern const struct umbra_test umbra_hook_tests[];
extern const struct umbra_test umbra_state_tests[];
extern const struct umbra_test umbra_fault_tests[];

#define CHECK(cond)							\
do {									\
	if (!(cond)) {							\
		pr_info("# %s:%d: %s\n", __func__, __LINE__, #cond);	\
		return false;						\
	}								\
} while (0)

/* Objects that nothing else knows; never dereferenced. */
extern int objects[16];

static atomic_t ctors, dtors;
static void *dtor_obj, *dtor_data;

static inline int test_ctor(void *obj, void *shadow, void *value)
{
	atomic_inc(&ctors);
	*(unsigned long *)shadow = (unsigned long)value;
	return 0;
}

static inline void test_dtor(void *obj, void *shadow)
{
	dtor_obj = obj;
	dtor_data = shadow;
	atomic_inc(&dtors);
}

static inline unsigned long live(unsigned long id)
{
	struct umbra_type *type = umbra_type_get(id);
	unsigned long n = IS_ERR(type) ? ~0UL : umbra_live(type);

	umbra_type_put(type);
	return n;
}

#endif /* _UMBRA_TEST_H */
