// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * liburcu's cds_lfht behind the operations that every contestant has.
 *
 * The memb flavour, liburcu's default, with its read side inlined
 * (_LGPL_SOURCE). A freed node goes through call_rcu.
 */
#define _LGPL_SOURCE
#include <stdlib.h>
#include <urcu/urcu-memb.h>
#include <urcu/rculfhash.h>

#define WORDS 6

struct node {
	struct cds_lfht_node link;
	unsigned long key;
	unsigned long payload[WORDS];
	struct rcu_head head;
};

static int match(struct cds_lfht_node *link, const void *key)
{
	return caa_container_of(link, struct node, link)->key ==
	       *(const unsigned long *)key;
}

static void reclaim(struct rcu_head *head)
{
	free(caa_container_of(head, struct node, head));
}

void umbra_lfht_register(void)
{
	urcu_memb_register_thread();
}

void umbra_lfht_unregister(void)
{
	urcu_memb_unregister_thread();
}

void umbra_lfht_lock(void)
{
	urcu_memb_read_lock();
}

void umbra_lfht_unlock(void)
{
	urcu_memb_read_unlock();
}

struct cds_lfht *umbra_lfht_new(unsigned long buckets, int resize)
{
	return cds_lfht_new_flavor(buckets, 1, 0,
				   resize ? CDS_LFHT_AUTO_RESIZE : 0,
				   &urcu_memb_flavor, NULL);
}

/* The payload of key, or NULL; inside a read-side section. */
const unsigned long *umbra_lfht_get(struct cds_lfht *table, unsigned long hash,
				    unsigned long key)
{
	struct cds_lfht_iter iter;
	struct cds_lfht_node *link;

	cds_lfht_lookup(table, hash, match, &key, &iter);
	link = cds_lfht_iter_get_node(&iter);
	return link ? caa_container_of(link, struct node, link)->payload : NULL;
}

/*
 * The payload of key, made from word if there is none; NULL without memory.
 * Inside a read-side section.
 */
const unsigned long *umbra_lfht_get_or_alloc(struct cds_lfht *table,
					     unsigned long hash,
					     unsigned long key,
					     unsigned long word)
{
	struct cds_lfht_node *there;
	struct node *node = malloc(sizeof(*node));
	unsigned long i;

	if (!node)
		return NULL;
	cds_lfht_node_init(&node->link);
	node->key = key;
	node->payload[0] = word;
	node->payload[1] = ~word;
	for (i = 2; i < WORDS; i++)
		node->payload[i] = word ^ i;
	there = cds_lfht_add_unique(table, hash, match, &key, &node->link);
	if (there != &node->link) {
		free(node);
		node = caa_container_of(there, struct node, link);
	}
	return node->payload;
}

/* Whether key was there; inside a read-side section. */
int umbra_lfht_free(struct cds_lfht *table, unsigned long hash,
		    unsigned long key)
{
	struct cds_lfht_iter iter;
	struct cds_lfht_node *link;

	cds_lfht_lookup(table, hash, match, &key, &iter);
	link = cds_lfht_iter_get_node(&iter);
	if (!link || cds_lfht_del(table, link))
		return 0;
	urcu_memb_call_rcu(&caa_container_of(link, struct node, link)->head,
			   reclaim);
	return 1;
}

/* Outside of any read-side section, by a registered thread, without users. */
int umbra_lfht_drop(struct cds_lfht *table)
{
	struct cds_lfht_iter iter;
	struct node *node;

	urcu_memb_read_lock();
	cds_lfht_for_each_entry(table, &iter, node, link) {
		if (!cds_lfht_del(table, &node->link))
			urcu_memb_call_rcu(&node->head, reclaim);
	}
	urcu_memb_read_unlock();
	return cds_lfht_destroy(table, NULL);
}
