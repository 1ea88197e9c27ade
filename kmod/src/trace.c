// SPDX-License-Identifier: GPL-2.0
/* The tracepoints, and what tells of a refusal. */
#include <linux/kernel.h>
#include <linux/printk.h>
#include <linux/string.h>

#define CREATE_TRACE_POINTS
#include <trace/events/umbra.h>

#include "internal.h"

/**
 * umbra_refused_err - a request is refused: says so in the log and to tracers
 * @fmt: what, why and the way out; no newline
 */
void umbra_refused_err(const char *fmt, ...)
{
	char text[UMBRA_TRACE_TEXT];
	struct va_format vaf;
	va_list args;

	va_start(args, fmt);
	vaf.fmt = fmt;
	vaf.va = &args;
	pr_err("umbra: refused: %pV\n", &vaf);
	va_end(args);
	if (!trace_umbra_refusal_enabled())
		return;
	va_start(args, fmt);
	vscnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	trace_umbra_refusal(text);
}

void umbra_c_refused(const u8 *text, size_t len)
{
	umbra_refused_err("%.*s", (int)len, text);
}

void umbra_c_trace_callback(const u8 *patch, size_t len, unsigned long state,
			    unsigned int callback, unsigned int reason,
			    int result)
{
	char name[UMBRA_TRACE_NAME];

	if (!trace_umbra_callback_enabled())
		return;
	scnprintf(name, sizeof(name), "%.*s", (int)len, patch);
	trace_umbra_callback(name, state, callback, reason, result);
}

void umbra_c_trace_split(unsigned long id)
{
	trace_umbra_split(id);
}

bool umbra_c_traces_free_all(void)
{
	return trace_umbra_free_all_enabled();
}

void umbra_c_trace_free_all(unsigned long id, unsigned long live)
{
	trace_umbra_free_all(id, live);
}
