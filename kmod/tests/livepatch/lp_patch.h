/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A livepatch with states for the tests, several modules of it: its states and
 * what is special about them are parameters. It changes /proc/cmdline, and in
 * umbra_lp_target, if that is loaded, the function that a task can be kept in.
 */
#include <linux/err.h>
#include <linux/module.h>
#include <linux/sched.h>
#include <linux/seq_file.h>

#include <umbra_livepatch.h>

#define LP_STATES	16
#define LP_OBJECTS	4

static unsigned long states[LP_STATES];
static int nr_states;
module_param_array(states, ulong, &nr_states, 0444);
MODULE_PARM_DESC(states, "ids of its states");
static unsigned long block;
module_param(block, ulong, 0444);
MODULE_PARM_DESC(block, "the state that blocks its disabling");
static unsigned long fail;
module_param(fail, ulong, 0444);
MODULE_PARM_DESC(fail, "the state whose pre_patch fails, with -EUCLEAN");
static bool replace;
module_param(replace, bool, 0444);
MODULE_PARM_DESC(replace, "it replaces all others");
static bool native;
module_param(native, bool, 0444);
MODULE_PARM_DESC(native, "enable the states only, by umbra_enable_patch()");
static bool anchor = true;
module_param(anchor, bool, 0444);
MODULE_PARM_DESC(anchor, "have a vmlinux object");
static bool callbacks;
module_param(callbacks, bool, 0444);
MODULE_PARM_DESC(callbacks, "give the vmlinux object a callback of its own");
static bool hooks;
module_param(hooks, bool, 0444);
MODULE_PARM_DESC(hooks, "have hooks as well");
static bool wait;
module_param(wait, bool, 0444);
MODULE_PARM_DESC(wait, "do not enable it until told to");

static bool busy;
module_param(busy, bool, 0600);
MODULE_PARM_DESC(busy, "keep the target's task in this patch's code");
static bool inside;
module_param(inside, bool, 0400);
MODULE_PARM_DESC(inside, "it is there");

/* Objects that nothing else knows; the same for all patches. */
static void *lp_object(unsigned int n)
{
	return (void *)(0x1000UL + n);
}

/* Fails after its work, so that what it leaves behind can be seen: D4. */
static int lp_pre_patch(struct umbra_patch *patch, struct umbra_state *state,
			enum umbra_reason reason)
{
	unsigned int n;

	for (n = 0; n < LP_OBJECTS; n++)
		if (!umbra_shadow_get_or_alloc(lp_object(n), state->id, 16,
					       GFP_KERNEL, NULL, NULL))
			return -ENOMEM;
	return state->id == fail ? -EUCLEAN : 0;
}

static void lp_other(struct umbra_patch *patch, struct umbra_state *state,
		     enum umbra_reason reason)
{
}

static void lp_dtor(void *obj, void *shadow)
{
	/* Frees with a state come from a context that may sleep: D2. */
	might_sleep();
}

static int lp_cmdline(struct seq_file *m, void *v)
{
	seq_printf(m, "%s\n", KBUILD_MODNAME);
	return 0;
}

/* As the target's own: a task can be kept in it, and is seen. */
static noinline void lp_wait(void)
{
	WRITE_ONCE(inside, READ_ONCE(busy));
	while (READ_ONCE(busy))
		schedule_timeout_idle(1);
	WRITE_ONCE(inside, false);
}

static struct klp_func vmlinux_funcs[] = {
	{ .old_name = "cmdline_proc_show", .new_func = lp_cmdline },
	{ }
};

static struct klp_func target_funcs[] = {
	{ .old_name = "umbra_lp_wait", .new_func = lp_wait },
	{ }
};

static struct klp_object objs[] = {
	{ .funcs = vmlinux_funcs },
	{ .name = "umbra_lp_target", .funcs = target_funcs },
	{ }
};

static int lp_author_pre_patch(struct klp_object *obj)
{
	return 0;
}

static struct umbra_state lp_states[LP_STATES];
static char lp_names[LP_STATES][8];
static struct umbra_hook lp_hooks[1];

static struct umbra_livepatch patch = {
	.klp = { .mod = THIS_MODULE, .objs = objs },
	.umbra = { .states = lp_states },
};

static struct umbra_patch native_patch = {
	.mod = THIS_MODULE,
	.states = lp_states,
};

static int lp_enable(void)
{
	int i;

	for (i = 0; i < nr_states; i++) {
		snprintf(lp_names[i], sizeof(lp_names[i]), "s%lu", states[i]);
		lp_states[i] = (struct umbra_state) {
			.id = states[i],
			.name = lp_names[i],
			.is_shadow = true,
			.block_disable = states[i] == block && block,
			.callbacks = {
				.pre_patch = lp_pre_patch,
				.post_patch = lp_other,
				.pre_unpatch = lp_other,
				.post_unpatch = lp_other,
				.shadow_dtor = lp_dtor,
			},
		};
	}
	native_patch.nr_states = nr_states;
	native_patch.replace = replace;
	if (native)
		return umbra_enable_patch(&native_patch);
	patch.umbra.nr_states = nr_states;
	patch.umbra.hooks = lp_hooks;
	patch.umbra.nr_hooks = hooks;
	patch.klp.replace = replace;
	if (!anchor)
		patch.klp.objs = &objs[1];
	if (callbacks)
		objs[0].callbacks.pre_patch = lp_author_pre_patch;
	return umbra_enable_livepatch(&patch);
}

static int lp_enable_set(const char *val, const struct kernel_param *kp)
{
	return lp_enable();
}

static const struct kernel_param_ops lp_enable_ops = {
	.set = lp_enable_set,
};
module_param_cb(enable, &lp_enable_ops, NULL, 0200);
MODULE_PARM_DESC(enable, "write anything to enable it");

#define LP_DTOR_ID	7100

static int lp_in_dtor;

static void lp_enabling_dtor(void *obj, void *shadow)
{
	lp_in_dtor = lp_enable();
}

static int lp_enable_in_dtor_set(const char *val, const struct kernel_param *kp)
{
	struct umbra_type *type = umbra_type_get(LP_DTOR_ID);
	void *data;

	if (IS_ERR(type))
		return PTR_ERR(type);
	lp_in_dtor = -ENODATA;
	data = umbra_alloc(type, lp_object(0), 8, GFP_KERNEL, NULL, NULL);
	umbra_free(type, lp_object(0), lp_enabling_dtor);
	umbra_barrier();
	umbra_type_put(type);
	return IS_ERR(data) ? PTR_ERR(data) : lp_in_dtor;
}

static const struct kernel_param_ops lp_enable_in_dtor_ops = {
	.set = lp_enable_in_dtor_set,
};
module_param_cb(enable_in_dtor, &lp_enable_in_dtor_ops, NULL, 0200);
MODULE_PARM_DESC(enable_in_dtor, "write anything to have a destructor enable it");

static int __init lp_init(void)
{
	return wait ? 0 : lp_enable();
}

static void __exit lp_exit(void)
{
}

module_init(lp_init);
module_exit(lp_exit);
MODULE_DESCRIPTION("Umbra: a livepatch for tests");
MODULE_AUTHOR("The Umbra developers");
MODULE_LICENSE("GPL");
MODULE_INFO(livepatch, "Y");
