// SPDX-License-Identifier: GPL-2.0
/* The header's version, and the gate that it asks inline. */
#include "umbra_test.h"

#define STATE	520

static const struct umbra_gate *gate;
/* What each callback found, in the order of enum below. */
static int found[4];
static int refused;

enum { PRE, POST, PRE_UN, POST_UN };

static int abi_pre(struct umbra_patch *patch, struct umbra_state *state,
		   enum umbra_reason reason)
{
	refused = PTR_ERR(umbra_gate_get(STATE));
	found[PRE] = gate && umbra_gate_is_open(gate);
	return 0;
}

static void abi_post(struct umbra_patch *patch, struct umbra_state *state,
		     enum umbra_reason reason)
{
	found[POST] = gate && umbra_gate_is_open(gate);
}

static void abi_pre_un(struct umbra_patch *patch, struct umbra_state *state,
		       enum umbra_reason reason)
{
	found[PRE_UN] = umbra_gate_is_open(gate);
}

static void abi_post_un(struct umbra_patch *patch, struct umbra_state *state,
			enum umbra_reason reason)
{
	found[POST_UN] = umbra_gate_is_open(gate);
}

static struct umbra_state states[] = {
	{
		.id = STATE, .name = "gate",
		.callbacks = {
			.pre_patch = abi_pre, .post_patch = abi_post,
			.pre_unpatch = abi_pre_un, .post_unpatch = abi_post_un,
		},
	},
};

static struct umbra_patch patch = {
	.mod = THIS_MODULE,
	.name = "test_abi",
	.states = states,
	.nr_states = ARRAY_SIZE(states),
};

/* What umbra_enable_patch() of another umbra.h comes to. */
static bool another_version_is_refused(void)
{
	struct umbra_type *type;

	CHECK(__umbra_enable_patch(&patch, UMBRA_ABI + 1) == -ENOEXEC);
	/* Nothing that it points to was believed. */
	CHECK(__umbra_enable_patch((void *)1UL, UMBRA_ABI - 1) == -ENOEXEC);
	type = __umbra_type_get(STATE, UMBRA_ABI + 1);
	CHECK(PTR_ERR(type) == -ENOEXEC);
	umbra_type_put(type);
	return true;
}

static bool s4_the_gate_is_open_while_the_state_is_active(void)
{
	CHECK(PTR_ERR(umbra_gate_get(STATE)) == -ENOENT);
	CHECK(!umbra_enable_patch(&patch));
	CHECK(refused == -EDEADLK);
	gate = umbra_gate_get(STATE);
	CHECK(!IS_ERR(gate) && umbra_gate_is_open(gate));
	CHECK(!umbra_disable_patch(&patch));
	CHECK(!umbra_gate_is_open(gate));
	CHECK(umbra_gate_get(STATE) == gate);
	/* Again, now that the callbacks know it. */
	memset(found, 0xff, sizeof(found));
	CHECK(!umbra_enable_patch(&patch));
	CHECK(umbra_gate_is_open(gate));
	CHECK(!umbra_disable_patch(&patch));
	CHECK(!found[PRE] && !found[POST] && !found[PRE_UN] && !found[POST_UN]);
	return true;
}

static long gate_in_dtor;

static void asks_for_the_gate(void *obj, void *shadow)
{
	gate_in_dtor = PTR_ERR_OR_ZERO(umbra_gate_get(STATE));
}

/* Who has the control lock may be waiting for this destructor. */
static bool r62_a_destructor_is_refused_a_gate(void)
{
	struct umbra_type *type = umbra_type_get(STATE);

	CHECK(!IS_ERR(type));
	CHECK(!IS_ERR(umbra_alloc(type, &patch, 8, GFP_KERNEL, NULL, NULL)));
	gate_in_dtor = 0;
	CHECK(umbra_free(type, &patch, asks_for_the_gate));
	umbra_barrier();
	CHECK(gate_in_dtor == -EDEADLK);
	umbra_type_put(type);
	return true;
}

const struct umbra_test umbra_abi_tests[] = {
	TEST(another_version_is_refused),
	TEST(s4_the_gate_is_open_while_the_state_is_active),
	TEST(r62_a_destructor_is_refused_a_gate),
	{}
};
