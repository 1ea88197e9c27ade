// SPDX-License-Identifier: GPL-2.0
/*
 * Shadows are attached and detached: the Rust functions, and what watches them.
 *
 *	nobody watches	one jump that is patched out, then the Rust function
 *	a tracer	the event is told, with the caller
 *	audit=1		the caller is kept with the shadow, for the leak audit
 *
 * The watched way is out of line, so that the other needs no stack.
 */
#include <linux/compiler.h>
#include <linux/err.h>
#include <linux/export.h>
#include <linux/instruction_pointer.h>
#include <linux/jump_label.h>
#include <linux/printk.h>

#include <trace/events/umbra.h>

#include "internal.h"

DEFINE_STATIC_KEY_FALSE(umbra_watched);

/* For a tracer of umbra_alloc, and for audit=1. */
int umbra_watch(void)
{
	static_branch_inc(&umbra_watched);
	return 0;
}

void umbra_unwatch(void)
{
	static_branch_dec(&umbra_watched);
}

/**
 * umbra_watched_new - attach a shadow, and tell of it
 * @new: what; its site and, by handle, its id are filled in
 * @caller: where it is attached
 * @data: where to put it, or the one that is there
 *
 * Return: 0, -EEXIST, or why it could not be attached.
 */
int umbra_watched_new(struct umbra_new *new, unsigned long caller, void **data)
{
	int ret;

	if (READ_ONCE(umbra_audit_on))
		new->cookie = umbra_site(caller);
	*data = NULL;
	ret = umbra_rs_new(new, data);
	if (ret != -EEXIST)
		trace_umbra_alloc(new->id, new->obj, new->size, *data, ret,
				  caller);
	return ret;
}

/* umbra_shadow_alloc() says so only to the log. */
void umbra_c_duplicate(unsigned long id)
{
	pr_warn_ratelimited("umbra: an object already has a shadow of id %lu; free it first, or use get_or_alloc\n",
			    id);
}

static __always_inline int
umbra_watched_by(unsigned long caller, void **data,
		 const struct umbra_type *type, void *obj, unsigned long id,
		 size_t size, gfp_t gfp, umbra_shadow_ctor_t ctor, void *ctor_data)
{
	struct umbra_new new = {
		.type = type, .id = id, .obj = obj, .size = size, .gfp = gfp,
		.ctor = ctor, .ctor_data = ctor_data,
	};

	return umbra_watched_new(&new, caller, data);
}

/*
 * Out of line and with the arguments of the API, so that they are jumped to: what
 * they return to is the API's caller.
 */
static noinline void *umbra_watched_alloc(const struct umbra_type *type,
					  void *obj, size_t size, gfp_t gfp,
					  umbra_shadow_ctor_t ctor,
					  void *ctor_data)
{
	void *data;
	int ret = umbra_watched_by(_RET_IP_, &data, type, obj, 0, size, gfp, ctor,
				   ctor_data);

	return ret ? ERR_PTR(ret) : data;
}

static noinline void *umbra_watched_get_or_alloc(const struct umbra_type *type,
						 void *obj, size_t size,
						 gfp_t gfp,
						 umbra_shadow_ctor_t ctor,
						 void *ctor_data)
{
	void *data;
	int ret = umbra_watched_by(_RET_IP_, &data, type, obj, 0, size, gfp, ctor,
				   ctor_data);

	return ret && ret != -EEXIST ? ERR_PTR(ret) : data;
}

static noinline void *umbra_watched_shadow_alloc(void *obj, unsigned long id,
						 size_t size, gfp_t gfp,
						 umbra_shadow_ctor_t ctor,
						 void *ctor_data)
{
	void *data;
	int ret = umbra_watched_by(_RET_IP_, &data, NULL, obj, id, size, gfp, ctor,
				   ctor_data);

	if (ret == -EEXIST)
		umbra_c_duplicate(id);
	return ret ? NULL : data;
}

static noinline void *umbra_watched_shadow_get_or_alloc(void *obj,
							unsigned long id,
							size_t size, gfp_t gfp,
							umbra_shadow_ctor_t ctor,
							void *ctor_data)
{
	void *data;
	int ret = umbra_watched_by(_RET_IP_, &data, NULL, obj, id, size, gfp, ctor,
				   ctor_data);

	return ret && ret != -EEXIST ? NULL : data;
}

/* ---- by (object, id) ---- */

notrace void *umbra_shadow_alloc(void *obj, unsigned long id, size_t size,
				 gfp_t gfp, umbra_shadow_ctor_t ctor,
				 void *ctor_data)
{
	if (umbra_watching())
		return umbra_watched_shadow_alloc(obj, id, size, gfp, ctor,
						  ctor_data);
	return umbra_rs_shadow_alloc(obj, id, size, gfp, ctor, ctor_data);
}
EXPORT_SYMBOL_GPL(umbra_shadow_alloc);

notrace void *umbra_shadow_get_or_alloc(void *obj, unsigned long id,
					size_t size, gfp_t gfp,
					umbra_shadow_ctor_t ctor,
					void *ctor_data)
{
	if (umbra_watching())
		return umbra_watched_shadow_get_or_alloc(obj, id, size, gfp,
							 ctor, ctor_data);
	return umbra_rs_shadow_get_or_alloc(obj, id, size, gfp, ctor, ctor_data);
}
EXPORT_SYMBOL_GPL(umbra_shadow_get_or_alloc);

static noinline void umbra_watched_shadow_free(void *obj, unsigned long id,
					       umbra_shadow_dtor_t dtor,
					       unsigned long caller)
{
	bool found = umbra_rs_shadow_free(obj, id, dtor);

	trace_umbra_free(id, obj, found, caller);
}

notrace void umbra_shadow_free(void *obj, unsigned long id,
			       umbra_shadow_dtor_t dtor)
{
	if (trace_umbra_free_enabled())
		umbra_watched_shadow_free(obj, id, dtor, _RET_IP_);
	else
		umbra_rs_shadow_free(obj, id, dtor);
}
EXPORT_SYMBOL_GPL(umbra_shadow_free);

/* ---- by handle ---- */

notrace void *umbra_alloc(const struct umbra_type *type, void *obj, size_t size,
			  gfp_t gfp, umbra_shadow_ctor_t ctor, void *ctor_data)
{
	if (umbra_watching())
		return umbra_watched_alloc(type, obj, size, gfp, ctor, ctor_data);
	return umbra_rs_alloc(type, obj, size, gfp, ctor, ctor_data);
}
EXPORT_SYMBOL_GPL(umbra_alloc);

notrace void *umbra_get_or_alloc(const struct umbra_type *type, void *obj,
				 size_t size, gfp_t gfp,
				 umbra_shadow_ctor_t ctor, void *ctor_data)
{
	if (umbra_watching())
		return umbra_watched_get_or_alloc(type, obj, size, gfp, ctor,
						  ctor_data);
	return umbra_rs_get_or_alloc(type, obj, size, gfp, ctor, ctor_data);
}
EXPORT_SYMBOL_GPL(umbra_get_or_alloc);

static noinline bool umbra_watched_free(const struct umbra_type *type,
					void *obj, umbra_shadow_dtor_t dtor,
					unsigned long caller)
{
	bool found = umbra_rs_free(type, obj, dtor);

	trace_umbra_free(umbra_rs_type_id(type), obj, found, caller);
	return found;
}

notrace bool umbra_free(const struct umbra_type *type, void *obj,
			umbra_shadow_dtor_t dtor)
{
	if (trace_umbra_free_enabled())
		return umbra_watched_free(type, obj, dtor, _RET_IP_);
	return umbra_rs_free(type, obj, dtor);
}
EXPORT_SYMBOL_GPL(umbra_free);
