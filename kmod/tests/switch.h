/* SPDX-License-Identifier: GPL-2.0 */
/* What test modules do with a value that is written to a parameter. */
#ifndef _UMBRA_SWITCH_H
#define _UMBRA_SWITCH_H

#include <linux/kstrtox.h>

#include <umbra.h>

/* Enables a patch (1) or disables it (0). */
static inline int umbra_test_switch(struct umbra_patch *patch, const char *val)
{
	bool on;
	int ret = kstrtobool(val, &on);

	if (ret)
		return ret;
	return on ? umbra_enable_patch(patch) : umbra_disable_patch(patch);
}

#endif /* _UMBRA_SWITCH_H */
