/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The seam between the C shims and the Rust object.
 *
 * umbra_rs_*: in Rust, called from C and from the trampoline.
 * umbra_c_*:  in C, called from Rust, because the kernel's interface is an
 *	       inline function, a macro or depends on the version.
 */
#ifndef _UMBRA_INTERNAL_H
#define _UMBRA_INTERNAL_H

#include <linux/jump_label.h>
#include <linux/types.h>
#include <umbra.h>

#include "trampoline.h"

struct module;
struct seq_file;
struct umbra_target;

/* What umbra_rs_livepatch_write() answers, if no errno. */
#define UMBRA_LIVEPATCH_NOT_OURS	0
#define UMBRA_LIVEPATCH_BEGUN		1
#define UMBRA_LIVEPATCH_REVERSE		2

/* Beside LOGLEVEL_*: a warning that anybody's code may cause as often as it likes. */
#define UMBRA_LOGLEVEL_OFTEN		100

/* One hook's place: what the trampoline of the same index reads. */
struct umbra_slot {
	/* NULL: closed, the call goes on to the original. */
	const struct umbra_target *target;
	/* Just behind the traced function's call to the trampoline; 0: free. */
	unsigned long original;
};

/* Per-CPU, written only while the parameter "counters" is set. */
struct umbra_counters {
	u64 hit;
	u64 miss;
	u64 diverted;
};

/* trampoline.S */
extern struct umbra_slot umbra_slots[UMBRA_SLOTS];
extern const unsigned long umbra_trampolines[UMBRA_SLOTS];
extern const unsigned long umbra_originals[UMBRA_SLOTS];
unsigned long umbra_call(unsigned long function, unsigned long argument);

/* api.c, called by trampoline.S */
const void *umbra_decide(const struct umbra_target *target,
			 unsigned long *args);

/* api.c */
int umbra_abi_check(unsigned int abi, unsigned long caller);

/* hook.c */
int umbra_c_resolve(const char *symbol, unsigned long *addr);
int umbra_c_attach(u32 slot, unsigned long addr);
void umbra_c_detach(u32 slot);
void umbra_c_release(u32 slot);
void umbra_c_synchronize_tasks(void);
void umbra_c_passing(int change);
void umbra_c_synchronize_readers(void);
unsigned long umbra_c_lookup(const char *symbol);
int umbra_c_entry(unsigned long addr, unsigned long *entry);

/* shim.c */
extern const gfp_t umbra_c_gfp_kernel;
int umbra_shim_init(void);
void umbra_shim_exit(void);
void *umbra_c_zalloc(size_t size, size_t align, gfp_t gfp);
void umbra_c_free(void *ptr);
bool umbra_c_relax(gfp_t gfp, unsigned int round);
void umbra_c_resched(void);
u64 umbra_c_clock(void);
void umbra_c_guard(void);
void umbra_c_unguard(void);
unsigned long umbra_c_irqs_off(void);
void umbra_c_irqs_as(unsigned long flags);
void umbra_c_synchronize_rcu(void);
void umbra_c_queue_reclaim(void);
void umbra_c_flush_reclaim(void);
u64 umbra_c_seed(void);
int umbra_c_construct(umbra_shadow_ctor_t ctor, void *obj, void *data,
		      void *ctor_data);
bool umbra_c_may_wait(const char *what);
bool umbra_c_trylock(void);
bool umbra_c_owns_control(void);
int umbra_c_lock(void);
void umbra_c_unlock(void);
bool umbra_c_module_get(struct module *mod);
void umbra_c_module_put(struct module *mod);
const char *umbra_c_module_name(struct module *mod);
void umbra_c_log(int level, const u8 *text, size_t len);
void umbra_c_seq_write(struct seq_file *m, const u8 *text, size_t len);
void umbra_c_count(bool hit, bool diverted);
void umbra_c_counters(struct umbra_counters *sum);

/* params.c */
extern bool umbra_counters_on;
extern bool umbra_audit_on;
extern bool umbra_check_on;
u64 umbra_c_slice(void);

/* livepatch.c */
bool umbra_c_livepatch_forced(struct umbra_patch *patch);
void umbra_livepatch_exit(void);

/* target.c */
int umbra_target_init(void);
void umbra_target_exit(void);
void *umbra_c_target_add(const char *name);
void umbra_c_target_remove(void *target);
bool umbra_c_target_is(struct module *mod, const char *name);
bool umbra_c_within(struct module *mod, unsigned long addr);
int umbra_c_attach_begin(const char *symbol, unsigned long addr);
void umbra_c_attach_end(void);

/* show.c */
int umbra_show_init(void);
void umbra_show_exit(void);

/* sites.c */
u64 umbra_site(unsigned long caller);
void umbra_sites_going(struct module *mod);
void umbra_sites_exit(void);
void umbra_c_leaked(unsigned long id, size_t live, const void *obj, u64 site);
void umbra_c_audit(struct seq_file *m, unsigned long id, size_t live,
		   const void *obj, u64 site);

/* trace.c */
__printf(1, 2) void umbra_refused_err(const char *fmt, ...);
void umbra_c_refused(const u8 *text, size_t len);
void umbra_c_trace_callback(const u8 *patch, size_t len, unsigned long state,
			    unsigned int callback, unsigned int reason,
			    int result);
bool umbra_c_traces_free_all(void);
void umbra_c_trace_free_all(unsigned long id, unsigned long live);
void umbra_c_trace_split(unsigned long id);

/* shadow.c */
struct umbra_new {
	/* NULL: by id. */
	const struct umbra_type *type;
	unsigned long id;
	void *obj;
	size_t size;
	/* From umbra_site(), or 0. */
	u64 cookie;
	umbra_shadow_ctor_t ctor;
	void *ctor_data;
	gfp_t gfp;
	/* With interrupts off from reserving its place to publishing it. */
	bool irqs_off;
};

DECLARE_STATIC_KEY_FALSE(umbra_watched);

/* Whether somebody wants to know who attaches what. */
static inline bool umbra_watching(void)
{
	return static_branch_unlikely(&umbra_watched);
}

int umbra_watch(void);
void umbra_unwatch(void);
int umbra_watched_new(struct umbra_new *new, unsigned long caller, void **data);
void umbra_c_duplicate(unsigned long id);

/* The Rust object */
int umbra_rs_init(bool counters);
void umbra_rs_exit(void);
void umbra_rs_reclaim(void);
const void *umbra_rs_decide(const struct umbra_target *target,
			    unsigned long *args);
void *umbra_rs_shadow_get(const void *obj, unsigned long id);
int umbra_rs_new(struct umbra_new *new, void **data);
struct umbra_type *umbra_rs_type_get(unsigned long id);
int umbra_rs_enable_patch(struct umbra_patch *patch);
void *umbra_rs_shadow_alloc(void *obj, unsigned long id, size_t size, gfp_t gfp,
			    umbra_shadow_ctor_t ctor, void *ctor_data);
void *umbra_rs_shadow_get_or_alloc(void *obj, unsigned long id, size_t size,
				   gfp_t gfp, umbra_shadow_ctor_t ctor,
				   void *ctor_data);
bool umbra_rs_shadow_free(void *obj, unsigned long id, umbra_shadow_dtor_t dtor);
void umbra_rs_shadow_help(const void *obj, unsigned long id);
void *umbra_rs_alloc(const struct umbra_type *type, void *obj, size_t size,
		     gfp_t gfp, umbra_shadow_ctor_t ctor, void *ctor_data);
void *umbra_rs_get_or_alloc(const struct umbra_type *type, void *obj,
			    size_t size, gfp_t gfp, umbra_shadow_ctor_t ctor,
			    void *ctor_data);
bool umbra_rs_free(const struct umbra_type *type, void *obj,
		   umbra_shadow_dtor_t dtor);
unsigned long umbra_rs_type_id(const struct umbra_type *type);
void umbra_rs_klp_free_all(unsigned long id,
			   void (*free)(void *obj, unsigned long id,
					umbra_shadow_dtor_t dtor),
			   umbra_shadow_dtor_t dtor);
int umbra_rs_disable_name(const char *name, size_t len);
int umbra_rs_livepatch_begin(struct umbra_patch *patch);
void umbra_rs_livepatch_begun(struct umbra_patch *patch, int result);
int umbra_rs_livepatch_start(struct umbra_patch *patch);
void umbra_rs_livepatch_end(struct umbra_patch *patch, bool patched);
int umbra_rs_livepatch_write(struct umbra_patch *patch, bool enable);
void umbra_rs_livepatch_reversed(struct umbra_patch *patch);
void umbra_rs_livepatch_abandon(struct umbra_patch *patch, int result);
bool umbra_rs_livepatch_any(void);
int umbra_rs_show_patches(struct seq_file *m);
int umbra_rs_show_states(struct seq_file *m);
int umbra_rs_show_types(struct seq_file *m);
int umbra_rs_show_hooks(struct seq_file *m);
int umbra_rs_show_reclaim(struct seq_file *m);
int umbra_rs_show_audit(struct seq_file *m);
int umbra_rs_show_json(struct seq_file *m);
void umbra_rs_target_going(struct module *mod, const char *name);
size_t umbra_rs_list_patches(char *buf, size_t size);

#endif /* _UMBRA_INTERNAL_H */
