// SPDX-License-Identifier: GPL-2.0
/*
 * What can be seen and done from outside: in debugfs tables, and all of them in
 * one JSON document; in sysfs the list of enabled patches and the way to disable
 * one.
 */
#include <linux/debugfs.h>
#include <linux/fs.h>
#include <linux/kobject.h>
#include <linux/module.h>
#include <linux/seq_file.h>
#include <linux/string.h>
#include <linux/sysfs.h>

#include "internal.h"

static struct dentry *umbra_dir;
static struct kobject *umbra_kobj;

#define UMBRA_SHOW(what)						\
static int umbra_##what##_show(struct seq_file *m, void *unused)	\
{									\
	return umbra_rs_show_##what(m);					\
}									\
DEFINE_SHOW_ATTRIBUTE(umbra_##what)

UMBRA_SHOW(patches);
UMBRA_SHOW(states);
UMBRA_SHOW(types);
UMBRA_SHOW(hooks);
UMBRA_SHOW(reclaim);
UMBRA_SHOW(audit);
UMBRA_SHOW(json);

static ssize_t patches_show(struct kobject *kobj, struct kobj_attribute *attr,
			    char *buf)
{
	/* sysfs takes a whole page for a mistake. */
	return umbra_rs_list_patches(buf, PAGE_SIZE - 1);
}

static ssize_t disable_store(struct kobject *kobj, struct kobj_attribute *attr,
			     const char *buf, size_t count)
{
	size_t len = count;
	int ret;

	if (len && buf[len - 1] == '\n')
		len--;
	ret = umbra_rs_disable_name(buf, len);
	return ret ? ret : count;
}

static struct kobj_attribute umbra_patches_attr = __ATTR_RO(patches);
static struct kobj_attribute umbra_disable_attr = __ATTR_WO(disable);

static struct attribute *umbra_attrs[] = {
	&umbra_patches_attr.attr,
	&umbra_disable_attr.attr,
	NULL,
};

static const struct attribute_group umbra_group = {
	.attrs = umbra_attrs,
};

int umbra_show_init(void)
{
	int ret;

	umbra_kobj = kobject_create_and_add("umbra", kernel_kobj);
	if (!umbra_kobj)
		return -ENOMEM;
	ret = sysfs_create_group(umbra_kobj, &umbra_group);
	if (ret) {
		kobject_put(umbra_kobj);
		return ret;
	}
	/* A kernel without debugfs only shows less. */
	umbra_dir = debugfs_create_dir("umbra", NULL);
	debugfs_create_file("patches", 0444, umbra_dir, NULL, &umbra_patches_fops);
	debugfs_create_file("states", 0444, umbra_dir, NULL, &umbra_states_fops);
	debugfs_create_file("types", 0444, umbra_dir, NULL, &umbra_types_fops);
	debugfs_create_file("hooks", 0444, umbra_dir, NULL, &umbra_hooks_fops);
	debugfs_create_file("reclaim", 0444, umbra_dir, NULL, &umbra_reclaim_fops);
	debugfs_create_file("audit", 0444, umbra_dir, NULL, &umbra_audit_fops);
	debugfs_create_file("json", 0444, umbra_dir, NULL, &umbra_json_fops);
	return 0;
}

void umbra_show_exit(void)
{
	debugfs_remove(umbra_dir);
	sysfs_remove_group(umbra_kobj, &umbra_group);
	kobject_put(umbra_kobj);
}
