/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the four demo patches share: the objects, and what their shadows mean.
 *
 * The objects are inodes of a tmpfs, which the kernel made for files that
 * somebody touched. Which of them get a shadow can be told from the shell by
 * their number (ls -i).
 */
#ifndef _UMBRA_DEMO_H
#define _UMBRA_DEMO_H

#include <linux/err.h>
#include <linux/fs.h>
#include <linux/module.h>
#include <linux/namei.h>
#include <linux/path.h>
#include <linux/sched.h>

#include <umbra.h>

/* States, and the shadows that belong to them. */
#define DEMO_QUARANTINE	1	/* files: nobody may open them */
#define DEMO_DENIALS	2	/* how often a quarantined file was asked for */
#define DEMO_FROZEN	3	/* directories: nothing comes or goes */

/*
 * The shadow of a marked inode, quarantined or frozen. An inode may go after
 * pre_patch has marked it and before the hook opens that takes its shadow along,
 * and leave the shadow to the next inode at its address. So it remembers which
 * inode it was made for.
 */
struct demo_mark {
	unsigned long ino;
	u32 generation;
};

struct demo_denials {
	atomic_long_t count;
};

static char *path = "/demo";
module_param(path, charp, 0444);
MODULE_PARM_DESC(path, "where the tmpfs is mounted whose inodes are used");

static inline bool demo_is_quarantined(const struct inode *inode)
{
	return S_ISREG(inode->i_mode) && inode->i_ino % 4 == 0;
}

static inline bool demo_is_frozen(const struct inode *inode)
{
	return S_ISDIR(inode->i_mode) && inode->i_ino % 2 == 0;
}

/*
 * Whether an inode's mark was made for another inode, or is gone. Then it is
 * freed, and the inode is like one that never had any.
 */
static inline bool demo_is_stale(struct inode *inode, unsigned long id)
{
	struct demo_mark *mark;
	bool stale;

	rcu_read_lock();
	mark = umbra_shadow_get(inode, id);
	stale = !mark || mark->ino != inode->i_ino ||
		mark->generation != inode->i_generation;
	rcu_read_unlock();
	if (stale)
		umbra_shadow_free(inode, id, NULL);
	return stale;
}

/* The permission check as it was, for an inode whose mark was stale. */
static inline int demo_original_permission(const struct umbra_hook *hook,
					   struct inode *inode, int mask)
{
	int (*original)(struct inode *inode, int mask) = hook->original;
	int cookie = umbra_replacement_begin();
	int ret = original(inode, mask);

	umbra_replacement_end(cookie);
	return ret;
}

/*
 * Attaches a mark to each inode of the file system that @wanted picks. The
 * list lock is dropped around each allocation; the reference keeps our place.
 */
static inline int demo_attach(unsigned long id,
			      bool (*wanted)(const struct inode *inode))
{
	struct inode *inode, *last = NULL;
	struct umbra_type *type;
	struct super_block *sb;
	struct path where;
	int ret;

	ret = kern_path(path, LOOKUP_FOLLOW, &where);
	if (ret)
		return ret;
	sb = where.dentry->d_sb;
	type = umbra_type_get(id);
	if (IS_ERR(type)) {
		path_put(&where);
		return PTR_ERR(type);
	}

	spin_lock(&sb->s_inode_list_lock);
	list_for_each_entry(inode, &sb->s_inodes, i_sb_list) {
		struct demo_mark *mark;

		if (!wanted(inode) || !igrab(inode))
			continue;
		spin_unlock(&sb->s_inode_list_lock);
		iput(last);
		last = inode;
		mark = umbra_get_or_alloc(type, inode, sizeof(*mark), GFP_KERNEL,
					  NULL, NULL);
		if (IS_ERR(mark)) {
			ret = PTR_ERR(mark);
			goto out;
		}
		/* Also one that an inode left behind while we walk. */
		mark->ino = inode->i_ino;
		mark->generation = inode->i_generation;
		cond_resched();
		spin_lock(&sb->s_inode_list_lock);
	}
	spin_unlock(&sb->s_inode_list_lock);
out:
	iput(last);
	umbra_type_put(type);
	path_put(&where);
	return ret;
}

static inline int demo_quarantine_files(struct umbra_patch *patch,
					struct umbra_state *state,
					enum umbra_reason reason)
{
	return demo_attach(DEMO_QUARANTINE, demo_is_quarantined);
}

/*
 * The states need no more than their shadows, which come in pre_patch and go
 * by themselves. The other callbacks are here to be seen: umbra.ko logs each
 * one that runs.
 */
static inline void demo_seen(struct umbra_patch *patch, struct umbra_state *state,
			     enum umbra_reason reason)
{
}

#define DEMO_QUARANTINE_STATE {						\
	.id = DEMO_QUARANTINE,						\
	.name = "quarantine",						\
	.is_shadow = true,						\
	.callbacks = {							\
		/* Runs if no enabled patch has the state yet. */	\
		.pre_patch = demo_quarantine_files,			\
		.post_patch = demo_seen,				\
		.pre_unpatch = demo_seen,				\
		.post_unpatch = demo_seen,				\
	},								\
}

#endif /* _UMBRA_DEMO_H */
