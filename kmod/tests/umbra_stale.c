// SPDX-License-Identifier: GPL-2.0
/*
 * Leaves an inode what an inode that went between pre_patch and the opening of
 * the clean-up hook would leave to the next one at its address: a mark of the
 * demo that was made for another inode. Loading does it, for the file in "path".
 */
#include "../samples/umbra_demo.h"

static unsigned long id = DEMO_QUARANTINE;
module_param(id, ulong, 0444);
MODULE_PARM_DESC(id, "of which shadow");

static int __init stale_init(void)
{
	struct demo_mark *mark;
	struct inode *inode;
	struct path where;
	int ret;

	ret = kern_path(path, LOOKUP_FOLLOW, &where);
	if (ret)
		return ret;
	inode = d_inode(where.dentry);
	mark = umbra_shadow_alloc(inode, id, sizeof(*mark), GFP_KERNEL, NULL, NULL);
	if (mark) {
		mark->ino = inode->i_ino;
		mark->generation = inode->i_generation + 1;
	}
	path_put(&where);
	return mark ? 0 : -ENOMEM;
}

static void __exit stale_exit(void)
{
}

module_init(stale_init);
module_exit(stale_exit);
MODULE_DESCRIPTION("Umbra: a shadow that outlived its object");
MODULE_AUTHOR("The Umbra developers");
MODULE_LICENSE("GPL");
