// SPDX-License-Identifier: GPL-2.0
/*
 * Memory that is refused while a table fills and grows: by the parameter fail_nth
 * of umbra.ko, so on any kernel.
 */
#include <linux/fs.h>

#include "umbra_test.h"

#define GROWING		560
/* A table splits its first segment at about 1060, so this is a split and more. */
#define SHADOWS		1300

static void *key(unsigned long i)
{
	return (void *)((i + 1) * 192);
}

/* Sets the parameter, and gives what was left of it: 0 if it has struck. */
static int let_fail(int n, int *left)
{
	char text[16] = "";
	struct file *file;
	loff_t at = 0;
	ssize_t len;
	int ret;

	file = filp_open("/sys/module/umbra/parameters/fail_nth", O_RDWR, 0);
	if (IS_ERR(file))
		return PTR_ERR(file);
	len = kernel_read(file, text, sizeof(text) - 1, &at);
	ret = len < 0 ? len : kstrtoint(strim(text), 0, left);
	len = scnprintf(text, sizeof(text), "%d", n);
	at = 0;
	if (!ret)
		ret = min_t(ssize_t, kernel_write(file, text, len, &at), 0);
	filp_close(file, NULL);
	return ret;
}

/* Fills a table; what is refused is tried once more. */
static bool fill(const struct umbra_type *type, unsigned int *refused)
{
	unsigned long i;

	for (i = 0; i < SHADOWS; i++) {
		unsigned long *data = umbra_alloc(type, key(i), 8, GFP_KERNEL,
						  test_ctor, (void *)i);

		if (IS_ERR(data)) {
			CHECK(PTR_ERR(data) == -ENOMEM);
			CHECK(!umbra_get(type, key(i)));
			(*refused)++;
			data = umbra_alloc(type, key(i), 8, GFP_KERNEL, test_ctor,
					   (void *)i);
		}
		CHECK(!IS_ERR(data));
	}
	for (i = 0; i < SHADOWS; i++) {
		unsigned long *data = umbra_get(type, key(i));

		CHECK(data && *data == i);
	}
	CHECK(umbra_live(type) == SHADOWS);
	return true;
}

static bool r35_each_allocation_of_a_growing_table_fails_in_turn(void)
{
	unsigned int refusals = 0, put_off = 0, n;
	struct umbra_type *type;
	int left = 0;

	type = umbra_type_get(GROWING);
	CHECK(!IS_ERR(type));
	/* Each at the start and about the split, some of those between. */
	for (n = 1; !left; n += n < 40 || n > 1000 ? 1 : 60) {
		unsigned int refused = 0;
		bool good;

		CHECK(!let_fail(n, &left));
		good = fill(type, &refused);
		CHECK(!let_fail(0, &left));
		CHECK(good);
		CHECK(refused <= 1);
		refusals += refused;
		put_off += !left && !refused;
		umbra_free_all(type, NULL);
		umbra_barrier();
		CHECK(!umbra_live(type));
	}
	umbra_type_put(type);
	pr_info("# %u refused, %u growths put off\n", refusals, put_off);
	/* A growth without memory is no failure of the insertion. */
	CHECK(n > SHADOWS && refusals && put_off);
	return true;
}

const struct umbra_test umbra_fault_tests[] = {
	TEST(r35_each_allocation_of_a_growing_table_fails_in_turn),
	{}
};
