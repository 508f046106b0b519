/* DPDK's rte_acl, as the benchmark calls it: one context at a time, IPv4 five-tuples. */
#include <arpa/inet.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include <rte_acl.h>
#include <rte_eal.h>
#include <rte_malloc.h>

struct peer_rule {
	uint32_t source, destination;
	uint16_t source_port[2], destination_port[2];
	uint8_t source_length, destination_length;
	uint8_t protocol, protocol_mask;
};

/* As rte_acl reads it: network byte order. */
struct peer_key {
	uint8_t protocol, pad[3];
	uint32_t source, destination;
	uint16_t source_port, destination_port;
};

static struct rte_acl_field_def fields[5] = {
	{RTE_ACL_FIELD_TYPE_BITMASK, 1, 0, 0, offsetof(struct peer_key, protocol)},
	{RTE_ACL_FIELD_TYPE_MASK, 4, 1, 1, offsetof(struct peer_key, source)},
	{RTE_ACL_FIELD_TYPE_MASK, 4, 2, 2, offsetof(struct peer_key, destination)},
	{RTE_ACL_FIELD_TYPE_RANGE, 2, 3, 3, offsetof(struct peer_key, source_port)},
	{RTE_ACL_FIELD_TYPE_RANGE, 2, 4, 3, offsetof(struct peer_key, destination_port)},
};
RTE_ACL_RULE_DEF(five_tuple, 5);

/* Hugepages where there are some, as DPDK wants them. Whether it works: 1 with, 0 without, -1 not at all. */
int peer_start(int hugepages)
{
	char *with[] = {"bench", "--in-memory", "-l", "0", "--no-pci", "--no-telemetry",
	                "--log-level", "error", "--force-max-simd-bitwidth=512"};
	char *without[] = {"bench", "--no-huge", "--no-shconf", "-m", "2048", "--file-prefix", "bench-acl", "-l", "0",
	                   "--no-pci", "--no-telemetry", "--log-level", "error",
	                   "--force-max-simd-bitwidth=512"};
	if (hugepages)
		return rte_eal_init(sizeof(with) / sizeof(*with), with);
	return rte_eal_init(sizeof(without) / sizeof(*without), without);
}

static size_t allocated(void)
{
	struct rte_malloc_socket_stats stats;
	if (rte_malloc_get_socket_stats(0, &stats))
		return 0;
	return stats.heap_allocsz_bytes;
}

/* A built context; its memory in bytes. Null where it cannot be built. */
void *peer_build(const struct peer_rule *rules, uint32_t count, size_t *memory)
{
	struct rte_acl_param parameters = {.name = "peer", .socket_id = 0,
		.rule_size = RTE_ACL_RULE_SZ(5), .max_rule_num = count};
	struct rte_acl_config config = {.num_categories = 1, .num_fields = 5};
	struct rte_acl_ctx *context;
	size_t before = allocated();
	uint32_t i;

	context = rte_acl_create(&parameters);
	if (context == NULL)
		return NULL;
	memcpy(config.defs, fields, sizeof(fields));
	for (i = 0; i < count; i++) {
		struct five_tuple rule;
		const struct peer_rule *from = &rules[i];
		memset(&rule, 0, sizeof(rule));
		rule.data.category_mask = 1;
		rule.data.priority = RTE_ACL_MAX_PRIORITY - (int32_t)i;
		rule.data.userdata = i + 1;
		rule.field[0].value.u8 = from->protocol;
		rule.field[0].mask_range.u8 = from->protocol_mask;
		rule.field[1].value.u32 = from->source;
		rule.field[1].mask_range.u32 = from->source_length;
		rule.field[2].value.u32 = from->destination;
		rule.field[2].mask_range.u32 = from->destination_length;
		rule.field[3].value.u16 = from->source_port[0];
		rule.field[3].mask_range.u16 = from->source_port[1];
		rule.field[4].value.u16 = from->destination_port[0];
		rule.field[4].mask_range.u16 = from->destination_port[1];
		if (rte_acl_add_rules(context, (struct rte_acl_rule *)&rule, 1)) {
			rte_acl_free(context);
			return NULL;
		}
	}
	if (rte_acl_build(context, &config)) {
		rte_acl_free(context);
		return NULL;
	}
	*memory = allocated() - before;
	return context;
}

/* 0: as rte_acl chooses; else one of its algorithms. Whether it can be had. */
int peer_algorithm(void *context, int algorithm)
{
	return rte_acl_set_ctx_classify(context, algorithm);
}

void peer_classify(void *context, const uint8_t **keys, uint32_t *results, uint32_t count)
{
	rte_acl_classify(context, keys, results, count, 1);
}

void peer_free(void *context)
{
	rte_acl_free(context);
}
