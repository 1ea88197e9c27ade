// SPDX-License-Identifier: GPL-2.0
/*
 * Where shadows were attached, for the leak audit (audit=1): of what is there now
 * in debugfs, of what is left in the log when umbra.ko goes.
 *
 * When umbra.ko goes, all modules that called it have gone, and their addresses
 * are nobody's or somebody else's. So a site's name is made out when it is first
 * seen, and a shadow keeps the site's number, and the time:
 *
 *	bit 63          32 31           0
 *	[ time, 2^30 ns  ] [ number, 0: not known ]
 */
#include <linux/kallsyms.h>
#include <linux/limits.h>
#include <linux/list.h>
#include <linux/minmax.h>
#include <linux/module.h>
#include <linux/printk.h>
#include <linux/seq_file.h>
#include <linux/slab.h>
#include <linux/spinlock.h>
#include <linux/timekeeping.h>

#include "internal.h"

struct umbra_site {
	struct list_head node;
	/* 0: its module has gone, and another may come to the address. */
	unsigned long addr;
	u32 number;
	char name[];
};

static LIST_HEAD(umbra_sites);
static u32 umbra_nr_sites;
/* Shadows are attached in any context but NMI. */
static DEFINE_SPINLOCK(umbra_sites_lock);

#define UMBRA_TIME_SHIFT	30

static u64 umbra_now(void)
{
	return min_t(u64, ktime_get_boottime_ns() >> UMBRA_TIME_SHIFT, U32_MAX);
}

static struct umbra_site *umbra_site_new(unsigned long addr)
{
	/* Of the lock; too large for the stack. */
	static char name[KSYM_SYMBOL_LEN];
	struct umbra_site *site;
	int len;

	len = snprintf(name, sizeof(name), "%pS", (void *)addr);
	site = kzalloc(struct_size(site, name, len + 1),
		       GFP_ATOMIC | __GFP_NOWARN);
	if (!site)
		return NULL;
	site->addr = addr;
	site->number = ++umbra_nr_sites;
	memcpy(site->name, name, len);
	list_add_tail(&site->node, &umbra_sites);
	return site;
}

/**
 * umbra_site - where and when, in one word
 * @caller: what attaches a shadow
 *
 * Context: any but NMI.
 */
u64 umbra_site(unsigned long caller)
{
	struct umbra_site *site, *it;
	unsigned long flags;
	u32 number;

	site = NULL;
	spin_lock_irqsave(&umbra_sites_lock, flags);
	list_for_each_entry(it, &umbra_sites, node) {
		if (it->addr == caller) {
			site = it;
			break;
		}
	}
	if (!site)
		site = umbra_site_new(caller);
	number = site ? site->number : 0;
	spin_unlock_irqrestore(&umbra_sites_lock, flags);
	return umbra_now() << 32 | number;
}

/* A module goes: what comes to its addresses is another site. */
void umbra_sites_going(struct module *mod)
{
	struct umbra_site *site;

	spin_lock_irq(&umbra_sites_lock);
	list_for_each_entry(site, &umbra_sites, node)
		if (within_module(site->addr, mod))
			site->addr = 0;
	spin_unlock_irq(&umbra_sites_lock);
}

/* Stays until umbra.ko goes. */
static const char *umbra_site_name(u64 site)
{
	const char *name = "(not known: there was no memory to note it)";
	struct umbra_site *it;
	unsigned long flags;

	spin_lock_irqsave(&umbra_sites_lock, flags);
	list_for_each_entry(it, &umbra_sites, node)
		if (it->number == (u32)site)
			name = it->name;
	spin_unlock_irqrestore(&umbra_sites_lock, flags);
	return name;
}

/* How long ago, in seconds. */
static u64 umbra_site_age(u64 site)
{
	return ((umbra_now() - (site >> 32)) << UMBRA_TIME_SHIFT) / NSEC_PER_SEC;
}

/**
 * umbra_c_audit - a type's line in debugfs
 * @m: the file
 * @id: the type's id
 * @live: how many shadows it has
 * @obj: the oldest one's object, or anyone's if @site is 0
 * @site: from umbra_site(), or 0
 */
void umbra_c_audit(struct seq_file *m, unsigned long id, size_t live,
		   const void *obj, u64 site)
{
	seq_printf(m, "%10lu %10zu %p ", id, live, obj);
	if (site)
		seq_printf(m, "%8llu %s\n", umbra_site_age(site),
			   umbra_site_name(site));
	else
		seq_printf(m, "%8s %s\n", "-", "(not noted: audit was off)");
}

/**
 * umbra_c_leaked - the leak audit's line about a type
 * @id: the type's id
 * @live: how many of its shadows were never freed
 * @obj: the oldest one's object, or anyone's if @site is 0
 * @site: from umbra_site(), or 0
 */
void umbra_c_leaked(unsigned long id, size_t live, const void *obj, u64 site)
{
	if (!site) {
		pr_warn("umbra: leak audit: id %lu: %zu shadows were never freed, one of them of object %p; load with audit=1 to learn where they were attached\n",
			id, live, obj);
		return;
	}
	pr_warn("umbra: leak audit: id %lu: %zu shadows were never freed, the oldest of object %p, attached %llu s ago by %s\n",
		id, live, obj, umbra_site_age(site), umbra_site_name(site));
}

void umbra_sites_exit(void)
{
	struct umbra_site *site, *next;

	list_for_each_entry_safe(site, next, &umbra_sites, node)
		kfree(site);
}
