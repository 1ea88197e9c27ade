/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What Umbra does, event by event: /sys/kernel/tracing/events/umbra.
 *
 *	umbra_callback	a state's callback returned
 *	umbra_refusal	a request was refused, and why
 *	umbra_alloc	a shadow was attached, or could not be
 *	umbra_free	a shadow was detached, or there was none
 *	umbra_free_all	all shadows of an id were detached
 *	umbra_split	lines of a type were replaced, by more or by fresh ones
 *
 * Lookups and hooks have none: they are too often, and counters=1 counts them.
 */
#undef TRACE_SYSTEM
#define TRACE_SYSTEM umbra

#if !defined(_TRACE_UMBRA_H) || defined(TRACE_HEADER_MULTI_READ)
#define _TRACE_UMBRA_H

#include <linux/string.h>
#include <linux/tracepoint.h>

#ifndef UMBRA_TRACE_NAME
/* With the 0 at the end; longer ones are cut. */
#define UMBRA_TRACE_NAME	56
#define UMBRA_TRACE_TEXT	200

int umbra_watch(void);
void umbra_unwatch(void);
#endif

TRACE_EVENT(umbra_callback,
	    TP_PROTO(const char *patch, unsigned long state,
		     unsigned int callback, unsigned int reason, int result),
	    TP_ARGS(patch, state, callback, reason, result),
	    TP_STRUCT__entry(__array(char, patch, UMBRA_TRACE_NAME)
			     __field(unsigned long, state)
			     __field(unsigned int, callback)
			     __field(unsigned int, reason)
			     __field(int, result)),
	    TP_fast_assign(strscpy(__entry->patch, patch, UMBRA_TRACE_NAME);
			   __entry->state = state;
			   __entry->callback = callback;
			   __entry->reason = reason;
			   __entry->result = result;),
	    TP_printk("patch=%s state=%lu %s on %s returned %d",
		      __entry->patch, __entry->state,
		      __print_symbolic(__entry->callback,
				       { 0, "pre_patch" },
				       { 1, "post_patch" },
				       { 2, "pre_unpatch" },
				       { 3, "post_unpatch" }),
		      __print_symbolic(__entry->reason,
				       { 0, "enable" },
				       { 1, "disable" },
				       { 2, "replace" },
				       { 3, "reverse" },
				       { 4, "failed" },
				       { 5, "forced" }),
		      __entry->result)
);

TRACE_EVENT(umbra_refusal,
	    TP_PROTO(const char *text),
	    TP_ARGS(text),
	    TP_STRUCT__entry(__array(char, text, UMBRA_TRACE_TEXT)),
	    TP_fast_assign(strscpy(__entry->text, text, UMBRA_TRACE_TEXT);),
	    TP_printk("%s", __entry->text)
);

/* A tracer opens the watched way of src/shadow.c. */
TRACE_EVENT_FN(umbra_alloc,
	       TP_PROTO(unsigned long id, const void *obj, size_t size,
			const void *data, int result, unsigned long caller),
	       TP_ARGS(id, obj, size, data, result, caller),
	       TP_STRUCT__entry(__field(unsigned long, id)
				__field(const void *, obj)
				__field(size_t, size)
				__field(const void *, data)
				__field(int, result)
				__field(unsigned long, caller)),
	       TP_fast_assign(__entry->id = id;
			      __entry->obj = obj;
			      __entry->size = size;
			      __entry->data = data;
			      __entry->result = result;
			      __entry->caller = caller;),
	       TP_printk("id=%lu obj=%p size=%zu data=%p result=%d caller=%pS",
			 __entry->id, __entry->obj, __entry->size,
			 __entry->data, __entry->result,
			 (void *)__entry->caller),
	       umbra_watch, umbra_unwatch
);

TRACE_EVENT(umbra_free,
	    TP_PROTO(unsigned long id, const void *obj, bool found,
		     unsigned long caller),
	    TP_ARGS(id, obj, found, caller),
	    TP_STRUCT__entry(__field(unsigned long, id)
			     __field(const void *, obj)
			     __field(bool, found)
			     __field(unsigned long, caller)),
	    TP_fast_assign(__entry->id = id;
			   __entry->obj = obj;
			   __entry->found = found;
			   __entry->caller = caller;),
	    TP_printk("id=%lu obj=%p found=%d caller=%pS", __entry->id,
		      __entry->obj, __entry->found, (void *)__entry->caller)
);

TRACE_EVENT(umbra_free_all,
	    TP_PROTO(unsigned long id, unsigned long live),
	    TP_ARGS(id, live),
	    TP_STRUCT__entry(__field(unsigned long, id)
			     __field(unsigned long, live)),
	    TP_fast_assign(__entry->id = id;
			   __entry->live = live;),
	    TP_printk("id=%lu live=%lu", __entry->id, __entry->live)
);

TRACE_EVENT(umbra_split,
	    TP_PROTO(unsigned long id),
	    TP_ARGS(id),
	    TP_STRUCT__entry(__field(unsigned long, id)),
	    TP_fast_assign(__entry->id = id;),
	    TP_printk("id=%lu", __entry->id)
);

#endif /* _TRACE_UMBRA_H */

/* In trace/events/ of our own include folder. */
#include <trace/define_trace.h>
