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

struct demo_quarantine {
	unsigned long ino;
};

struct demo_denials {
	atomic_long_t count;
};

struct demo_frozen {
	unsigned long ino;
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

static inline int demo_set_ino(void *obj, void *shadow, void *unused)
{
	/* The first field of both kinds. */
	*(unsigned long *)shadow = ((struct inode *)obj)->i_ino;
	return 0;
}

/*
 * Attaches a shadow to each inode of the file system that @wanted picks. The
 * list lock is dropped around each allocation; the reference keeps our place.
 */
static inline int demo_attach(unsigned long id, size_t size,
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
		void *shadow;

		if (!wanted(inode) || !igrab(inode))
			continue;
		spin_unlock(&sb->s_inode_list_lock);
		iput(last);
		last = inode;
		shadow = umbra_get_or_alloc(type, inode, size, GFP_KERNEL,
					    demo_set_ino, NULL);
		if (IS_ERR(shadow)) {
			ret = PTR_ERR(shadow);
			goto out;
		}
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
	return demo_attach(DEMO_QUARANTINE, sizeof(struct demo_quarantine),
			   demo_is_quarantined);
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
