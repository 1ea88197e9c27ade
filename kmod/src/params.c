// SPDX-License-Identifier: GPL-2.0
/*
 * The module's parameters, and what a wrong value is told.
 *
 *	counters	when loading	hooks count their decisions
 *	audit		at any time	where a shadow was attached is kept with it
 *	check		when loading	constructors that would wait for themselves
 *	slice_us	at any time	how long the work that frees runs at a time
 *
 * (fail_nth, for tests, is where memory is had: shim.c.)
 */
#include <linux/compiler.h>
#include <linux/kstrtox.h>
#include <linux/moduleparam.h>
#include <linux/sysfs.h>
#include <linux/time64.h>

#include "internal.h"

bool umbra_counters_on;
bool umbra_audit_on;
bool umbra_check_on;

/* What a boolean parameter takes; the kernel's own says only "invalid". */
static int umbra_bool_set(const char *val, const struct kernel_param *kp)
{
	bool audited = umbra_audit_on;
	int ret = param_set_bool(val, kp);

	if (ret)
		umbra_refused_err("%s=%s; it is on (1, y) or off (0, n)",
				  kp->name, val);
	/* The caller has the lock of the module's parameters. */
	if (umbra_audit_on && !audited)
		umbra_watch();
	else if (!umbra_audit_on && audited)
		umbra_unwatch();
	return ret;
}

static const struct kernel_param_ops umbra_bool_ops = {
	.flags = KERNEL_PARAM_OPS_FL_NOARG,
	.set = umbra_bool_set,
	.get = param_get_bool,
};
module_param_cb(counters, &umbra_bool_ops, &umbra_counters_on, 0444);
__MODULE_PARM_TYPE(counters, "bool");
MODULE_PARM_DESC(counters, "count hits, misses and diverted calls of hooks (default: no)");
module_param_cb(audit, &umbra_bool_ops, &umbra_audit_on, 0644);
__MODULE_PARM_TYPE(audit, "bool");
MODULE_PARM_DESC(audit, "keep with each new shadow where and when it was attached, for the leak audit; 32 bytes each (default: no)");

module_param_cb(check, &umbra_bool_ops, &umbra_check_on, 0444);
__MODULE_PARM_TYPE(check, "bool");
MODULE_PARM_DESC(check, "debugging: refuse what a constructor would wait for itself by (default: no)");

#define UMBRA_SLICE_MAX	100000U

static unsigned int umbra_slice_us = 100;

static int umbra_slice_set(const char *val, const struct kernel_param *kp)
{
	unsigned int us;
	int ret = kstrtouint(val, 0, &us);

	if (!ret && (!us || us > UMBRA_SLICE_MAX))
		ret = -ERANGE;
	if (ret) {
		umbra_refused_err("%s=%s; it is a number of microseconds from 1 to %u",
				  kp->name, val, UMBRA_SLICE_MAX);
		return ret;
	}
	WRITE_ONCE(umbra_slice_us, us);
	return 0;
}

static int umbra_slice_get(char *buf, const struct kernel_param *kp)
{
	return sysfs_emit(buf, "%u\n", READ_ONCE(umbra_slice_us));
}

static const struct kernel_param_ops umbra_slice_ops = {
	.set = umbra_slice_set,
	.get = umbra_slice_get,
};
module_param_cb(slice_us, &umbra_slice_ops, NULL, 0644);
__MODULE_PARM_TYPE(slice_us, "uint");
MODULE_PARM_DESC(slice_us, "microseconds for which freed shadows are taken apart before others may run, 1 to 100000 (default: 100)");

/* How long a slice of the reclaim work lasts, in nanoseconds. */
u64 umbra_c_slice(void)
{
	return (u64)READ_ONCE(umbra_slice_us) * NSEC_PER_USEC;
}
