/* A network card in software whose flow engine is complete: DPDK's flow API, synchronous and by
 * templates and queues, over rules that are really kept and really executed. No driver that Debian
 * ships has such an engine without hardware. Written against DPDK's API and nothing of Rewire, so
 * that what Rewire encodes is executed by somebody else.
 *
 * It is as strict as a driver may be: what does not fit its template, its queue or its table is
 * refused, and a handle that was destroyed is known to be. */
#ifndef TEST_CARD_H
#define TEST_CARD_H

#include <stdbool.h>
#include <stdint.h>

#include <ethdev_driver.h>
#include <rte_ether.h>
#include <rte_flow.h>
#include <rte_flow_driver.h>
#include <rte_ip.h>
#include <rte_spinlock.h>
#include <rte_tcp.h>
#include <rte_udp.h>

#define CARD_ITEMS 8u
#define CARD_ACTIONS 12u
#define CARD_TEMPLATES 32u
#define CARD_FLOW_QUEUES 4u
#define CARD_FLOW_QUEUE_SIZE 4096u
#define CARD_PACKET_QUEUES 8u
#define CARD_FRAMES 4096u

/* The headers of a packet, or what a rule wants of them. */
struct card_headers {
	uint16_t port; /* the one whose wire it came from */
	uint16_t layers;
	struct rte_ether_hdr ether;
	struct rte_ipv4_hdr ipv4;
	struct rte_ipv6_hdr ipv6;
	struct rte_tcp_hdr tcp;
	struct rte_udp_hdr udp;
	struct rte_flow_item_integrity integrity;
};

enum { LAYER_ETHER = 1, LAYER_IPV4 = 2, LAYER_IPV6 = 4, LAYER_TCP = 8, LAYER_UDP = 16 };

/* Where the headers of a packet begin, in bytes; 0 where there is none (but for Ethernet's). */
struct card_offsets {
	uint16_t ip;
	uint16_t l4;
};

struct card_action {
	enum rte_flow_action_type type;
	union {
		struct rte_flow_action_set_ipv4 ipv4;
		struct rte_flow_action_set_ipv6 ipv6;
		struct rte_flow_action_set_tp tp;
		struct rte_flow_action_set_mac mac;
		struct rte_flow_action_ethdev ethdev;
		struct rte_flow_action_queue queue;
		struct rte_flow_action_age age;
		struct rte_flow_action_count count;
	} conf;
};

enum card_rule_state { RULE_FREE, RULE_CREATING, RULE_LIVE, RULE_FAILED, RULE_DESTROYING };

struct rte_flow_template_table;

struct card_rule {
	enum card_rule_state state;
	uint32_t generation;
	uint32_t next_free;
	uint32_t queue; /* that it was created on; UINT32_MAX: synchronously */
	struct rte_flow_template_table *table;
	struct rte_flow_attr attr;
	struct card_headers spec, mask;
	struct card_action actions[CARD_ACTIONS];
	uint8_t action_count;
	bool aged_told;
	uint64_t hits, bytes, last_hit;
};

struct rte_flow_pattern_template {
	struct rte_flow_pattern_template *next;
	struct rte_flow_pattern_template_attr attr;
	enum rte_flow_item_type types[CARD_ITEMS];
	struct card_headers mask;
	uint8_t count;
	uint32_t users;
};

struct rte_flow_actions_template {
	struct rte_flow_actions_template *next;
	struct rte_flow_actions_template_attr attr;
	struct card_action actions[CARD_ACTIONS];
	bool fixed[CARD_ACTIONS]; /* the value is the template's, and not each rule's */
	uint8_t count;
	uint32_t users;
};

struct rte_flow_template_table {
	struct rte_flow_template_table *next;
	struct rte_flow_template_table_attr attr;
	struct rte_flow_pattern_template *patterns[CARD_TEMPLATES];
	struct rte_flow_actions_template *actions[CARD_TEMPLATES];
	uint8_t pattern_count, actions_count;
	uint32_t users;
};

struct card_operation {
	struct rte_flow *handle;
	void *user_data;
	bool destroy;
	enum rte_flow_op_status status;
	uint32_t due; /* the pull that may bring it */
};

/* [0, pushed) are with the card, [pushed, count) wait for a push. */
struct card_flow_queue {
	struct card_operation *operations;
	uint32_t size, count, pushed, pulls;
};

struct card_options {
	uint32_t capacity; /* rules, at most */
	uint32_t refuse;   /* every so manyth creation fails; 0: none */
	uint32_t reversed; /* completions come last first */
	uint32_t sync;     /* no templates, no queues */
	uint32_t latency;  /* pulls that bring nothing before a completion comes */
};

struct card_frames {
	struct rte_mbuf *frames[CARD_FRAMES];
	uint32_t head, count;
};

struct card_packet_queue {
	struct card *card;
	struct rte_mempool *pool;
	struct card_frames frames;
};

struct card {
	uint16_t port_id;
	struct card_options options;
	struct rte_ether_addr address;
	rte_spinlock_t lock; /* over all below */
	struct card_rule *rules;
	uint32_t rule_slots, first_free, rules_in_use, live, created;
	struct rte_flow_pattern_template *pattern_templates;
	struct rte_flow_actions_template *actions_templates;
	struct rte_flow_template_table *tables;
	struct card_flow_queue flow_queues[CARD_FLOW_QUEUES];
	uint16_t flow_queue_count;
	struct card_packet_queue *receive[CARD_PACKET_QUEUES];
	struct card_frames wire; /* what left the port */
	struct rte_eth_stats stats;
};

#define NO_QUEUE UINT32_MAX
#define NO_SLOT UINT32_MAX

static inline struct card *card_of(struct rte_eth_dev *dev) { return dev->data->dev_private; }

/* decode.c */
int card_decode_items(const struct rte_flow_item *items, const struct rte_flow_pattern_template *template,
                      struct card_headers *spec, struct card_headers *mask, uint8_t *count,
                      enum rte_flow_item_type *types, struct rte_flow_error *error);
int card_decode_actions(const struct rte_flow_action *actions, struct card_action *out, uint8_t *count,
                        struct rte_flow_error *error);
int card_check_attr(const struct rte_flow_attr *attr, struct rte_flow_error *error);

/* execute.c */
bool card_parse(uint16_t port, const uint8_t *frame, uint32_t length, struct card_headers *headers,
                struct card_offsets *offsets);
bool card_matches(const struct card_rule *rule, const struct card_headers *headers);
void card_rewrite(const struct card_rule *rule, uint8_t *frame, const struct card_headers *headers,
                  const struct card_offsets *offsets);
uint32_t card_spread(const struct card_headers *headers);

/* rules.c: with the lock held */
struct rte_flow *card_rule_new(struct card *card, struct card_rule **rule);
struct card_rule *card_rule_find(struct card *card, const struct rte_flow *handle);
void card_rule_free(struct card *card, struct card_rule *rule);
bool card_rule_go_live(struct card *card, struct card_rule *rule);
struct card_rule *card_rule_first_match(struct card *card, const struct card_headers *headers);
void card_rules_init(struct card *card);

/* flow.c, templates.c, queues.c */
extern const struct rte_flow_ops card_sync_ops;
extern const struct rte_flow_ops card_async_ops;
int card_validate(struct rte_eth_dev *dev, const struct rte_flow_attr *attr,
                  const struct rte_flow_item items[], const struct rte_flow_action actions[],
                  struct rte_flow_error *error);
struct rte_flow *card_create(struct rte_eth_dev *dev, const struct rte_flow_attr *attr,
                             const struct rte_flow_item items[], const struct rte_flow_action actions[],
                             struct rte_flow_error *error);
int card_destroy(struct rte_eth_dev *dev, struct rte_flow *handle, struct rte_flow_error *error);
int card_flush(struct rte_eth_dev *dev, struct rte_flow_error *error);
int card_query(struct rte_eth_dev *dev, struct rte_flow *handle, const struct rte_flow_action *actions,
               void *data, struct rte_flow_error *error);
int card_aged(struct rte_eth_dev *dev, void **contexts, uint32_t count, struct rte_flow_error *error);
void card_templates_free(struct card *card);
void card_queues_free(struct card *card);

struct rte_flow_pattern_template *card_pattern_template_create(
	struct rte_eth_dev *dev, const struct rte_flow_pattern_template_attr *attr,
	const struct rte_flow_item items[], struct rte_flow_error *error);
int card_pattern_template_destroy(struct rte_eth_dev *dev, struct rte_flow_pattern_template *template,
                                  struct rte_flow_error *error);
struct rte_flow_actions_template *card_actions_template_create(
	struct rte_eth_dev *dev, const struct rte_flow_actions_template_attr *attr,
	const struct rte_flow_action actions[], const struct rte_flow_action masks[],
	struct rte_flow_error *error);
int card_actions_template_destroy(struct rte_eth_dev *dev, struct rte_flow_actions_template *template,
                                  struct rte_flow_error *error);
struct rte_flow_template_table *card_table_create(
	struct rte_eth_dev *dev, const struct rte_flow_template_table_attr *attr,
	struct rte_flow_pattern_template *patterns[], uint8_t pattern_count,
	struct rte_flow_actions_template *actions[], uint8_t actions_count, struct rte_flow_error *error);
int card_table_destroy(struct rte_eth_dev *dev, struct rte_flow_template_table *table,
                       struct rte_flow_error *error);

int card_info_get(struct rte_eth_dev *dev, struct rte_flow_port_info *port,
                  struct rte_flow_queue_info *queue, struct rte_flow_error *error);
int card_configure(struct rte_eth_dev *dev, const struct rte_flow_port_attr *attr, uint16_t count,
                   const struct rte_flow_queue_attr *queues[], struct rte_flow_error *error);
struct rte_flow *card_async_create(struct rte_eth_dev *dev, uint32_t queue,
                                   const struct rte_flow_op_attr *op_attr,
                                   struct rte_flow_template_table *table,
                                   const struct rte_flow_item items[], uint8_t pattern_index,
                                   const struct rte_flow_action actions[], uint8_t actions_index,
                                   void *user_data, struct rte_flow_error *error);
int card_async_destroy(struct rte_eth_dev *dev, uint32_t queue, const struct rte_flow_op_attr *op_attr,
                       struct rte_flow *handle, void *user_data, struct rte_flow_error *error);
int card_push(struct rte_eth_dev *dev, uint32_t queue, struct rte_flow_error *error);
int card_pull(struct rte_eth_dev *dev, uint32_t queue, struct rte_flow_op_result results[],
              uint16_t count, struct rte_flow_error *error);

/* The card's clock, in seconds: the test's. */
extern uint64_t card_seconds;

#endif
