/* The device: its packet queues, and the wire at its port, which the test holds the other end of. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <ethdev_vdev.h>
#include <rte_kvargs.h>
#include <rte_mbuf.h>

#include "card.h"
#include "test_card.h"

static bool put(struct card_frames *frames, struct rte_mbuf *mbuf)
{
	if (frames->count == CARD_FRAMES)
		return false;
	frames->frames[(frames->head + frames->count++) % CARD_FRAMES] = mbuf;
	return true;
}

static struct rte_mbuf *take(struct card_frames *frames)
{
	struct rte_mbuf *mbuf;

	if (frames->count == 0)
		return NULL;
	mbuf = frames->frames[frames->head];
	frames->head = (frames->head + 1) % CARD_FRAMES;
	frames->count--;
	return mbuf;
}

static uint16_t receive(void *queue, struct rte_mbuf **mbufs, uint16_t count)
{
	struct card_packet_queue *receive = queue;
	uint16_t n = 0;

	rte_spinlock_lock(&receive->card->lock);
	while (n < count && (mbufs[n] = take(&receive->frames)) != NULL)
		n++;
	receive->card->stats.ipackets += n;
	rte_spinlock_unlock(&receive->card->lock);
	return n;
}

static uint16_t transmit(void *queue, struct rte_mbuf **mbufs, uint16_t count)
{
	struct card *card = queue;
	uint16_t n = 0;

	rte_spinlock_lock(&card->lock);
	while (n < count && put(&card->wire, mbufs[n]))
		n++;
	card->stats.opackets += n;
	rte_spinlock_unlock(&card->lock);
	return n;
}

static int configure(struct rte_eth_dev *dev)
{
	RTE_SET_USED(dev);
	return 0;
}

static int start(struct rte_eth_dev *dev)
{
	dev->data->dev_link.link_status = RTE_ETH_LINK_UP;
	return 0;
}

static int stop(struct rte_eth_dev *dev)
{
	dev->data->dev_link.link_status = RTE_ETH_LINK_DOWN;
	return 0;
}

static int info(struct rte_eth_dev *dev, struct rte_eth_dev_info *info)
{
	RTE_SET_USED(dev);
	info->max_mac_addrs = 1;
	info->max_rx_pktlen = UINT32_MAX;
	info->max_rx_queues = CARD_PACKET_QUEUES;
	info->max_tx_queues = CARD_PACKET_QUEUES;
	info->flow_type_rss_offloads = RTE_ETH_RSS_IP | RTE_ETH_RSS_TCP | RTE_ETH_RSS_UDP;
	info->hash_key_size = 40;
	return 0;
}

static void free_frames(struct card_frames *frames)
{
	struct rte_mbuf *mbuf;

	while ((mbuf = take(frames)) != NULL)
		rte_pktmbuf_free(mbuf);
}

static int receive_queue_setup(struct rte_eth_dev *dev, uint16_t index, uint16_t descriptors, unsigned socket,
                               const struct rte_eth_rxconf *conf, struct rte_mempool *pool)
{
	struct card_packet_queue *queue = calloc(1, sizeof(*queue));

	RTE_SET_USED(descriptors);
	RTE_SET_USED(socket);
	RTE_SET_USED(conf);
	if (queue == NULL)
		return -ENOMEM;
	queue->card = card_of(dev);
	queue->pool = pool;
	card_of(dev)->receive[index] = queue;
	dev->data->rx_queues[index] = queue;
	return 0;
}

static void receive_queue_release(struct rte_eth_dev *dev, uint16_t index)
{
	struct card_packet_queue *queue = card_of(dev)->receive[index];

	if (queue != NULL)
		free_frames(&queue->frames);
	free(queue);
	card_of(dev)->receive[index] = NULL;
}

static int transmit_queue_setup(struct rte_eth_dev *dev, uint16_t index, uint16_t descriptors, unsigned socket,
                                const struct rte_eth_txconf *conf)
{
	RTE_SET_USED(descriptors);
	RTE_SET_USED(socket);
	RTE_SET_USED(conf);
	dev->data->tx_queues[index] = card_of(dev);
	return 0;
}

static int link_update(struct rte_eth_dev *dev, int wait)
{
	RTE_SET_USED(dev);
	RTE_SET_USED(wait);
	return 0;
}

static int mtu_set(struct rte_eth_dev *dev, uint16_t mtu)
{
	RTE_SET_USED(dev);
	RTE_SET_USED(mtu);
	return 0;
}

static int promiscuous(struct rte_eth_dev *dev)
{
	RTE_SET_USED(dev);
	return 0;
}

static int stats(struct rte_eth_dev *dev, struct rte_eth_stats *stats)
{
	struct card *card = card_of(dev);

	rte_spinlock_lock(&card->lock);
	*stats = card->stats;
	rte_spinlock_unlock(&card->lock);
	return 0;
}

static int flow_ops(struct rte_eth_dev *dev, const struct rte_flow_ops **ops)
{
	*ops = card_of(dev)->options.sync ? &card_sync_ops : &card_async_ops;
	return 0;
}

static uint64_t left_behind;

static int close_device(struct rte_eth_dev *dev)
{
	struct card *card = card_of(dev);
	uint16_t n;

	left_behind += card->rules_in_use;
	for (; card->tables != NULL || card->pattern_templates != NULL || card->actions_templates != NULL;
	     left_behind++)
		card_templates_free(card);
	card_queues_free(card);
	free(card->rules);
	card->rules = NULL;
	card->rule_slots = card->rules_in_use = 0;
	free_frames(&card->wire);
	for (n = 0; n < CARD_PACKET_QUEUES; n++)
		receive_queue_release(dev, n);
	dev->data->mac_addrs = NULL;
	return 0;
}

static const struct eth_dev_ops operations = {
	.dev_configure = configure,
	.dev_start = start,
	.dev_stop = stop,
	.dev_close = close_device,
	.dev_infos_get = info,
	.rx_queue_setup = receive_queue_setup,
	.tx_queue_setup = transmit_queue_setup,
	.rx_queue_release = receive_queue_release,
	.link_update = link_update,
	.mtu_set = mtu_set,
	.promiscuous_enable = promiscuous,
	.promiscuous_disable = promiscuous,
	.stats_get = stats,
	.flow_ops_get = flow_ops,
};

static int number(const char *key, const char *value, void *out)
{
	char *end;

	RTE_SET_USED(key);
	errno = 0;
	*(uint32_t *)out = strtoul(value, &end, 0);
	return errno == 0 && *value != 0 && *end == 0 ? 0 : -EINVAL;
}

static int parse_options(const char *arguments, struct card_options *options)
{
	static const char *const names[] = { "capacity", "refuse", "reversed", "sync", "latency", NULL };
	uint32_t *const values[] = { &options->capacity, &options->refuse, &options->reversed,
		                     &options->sync, &options->latency };
	struct rte_kvargs *list;
	int code = 0;
	size_t n;

	*options = (struct card_options){ .capacity = 1u << 20 };
	list = rte_kvargs_parse(arguments != NULL ? arguments : "", names);
	if (list == NULL)
		return -EINVAL;
	for (n = 0; names[n] != NULL && code == 0; n++)
		code = rte_kvargs_process(list, names[n], number, values[n]);
	rte_kvargs_free(list);
	return code;
}

static int probe(struct rte_vdev_device *vdev)
{
	struct card_options options;
	struct rte_eth_dev *dev;
	struct card *card;
	int code = parse_options(rte_vdev_device_args(vdev), &options);

	if (code != 0)
		return code;
	dev = rte_eth_vdev_allocate(vdev, sizeof(*card));
	if (dev == NULL)
		return -ENOMEM;
	card = card_of(dev);
	card->port_id = dev->data->port_id;
	card->options = options;
	card_rules_init(card);
	rte_spinlock_init(&card->lock);
	rte_eth_random_addr(card->address.addr_bytes);
	dev->data->mac_addrs = &card->address;
	dev->data->dev_link = (struct rte_eth_link){ .link_speed = RTE_ETH_SPEED_NUM_100G,
		                                     .link_duplex = RTE_ETH_LINK_FULL_DUPLEX };
	dev->data->dev_flags |= RTE_ETH_DEV_FLOW_OPS_THREAD_SAFE;
	dev->dev_ops = &operations;
	dev->rx_pkt_burst = receive;
	dev->tx_pkt_burst = transmit;
	rte_eth_dev_probing_finish(dev);
	return 0;
}

static int unplug(struct rte_vdev_device *vdev)
{
	struct rte_eth_dev *dev = rte_eth_dev_allocated(rte_vdev_device_name(vdev));

	return dev != NULL ? rte_eth_dev_close(dev->data->port_id) : 0;
}

static struct rte_vdev_driver driver = { .probe = probe, .remove = unplug };

RTE_PMD_REGISTER_VDEV(net_rewire_card, driver);
RTE_PMD_REGISTER_PARAM_STRING(net_rewire_card,
                              "capacity=<n> refuse=<n> reversed=<0|1> sync=<0|1> latency=<n>");

/* The card of a port, if it is one. */
static struct card *card_at(uint16_t port)
{
	if (!rte_eth_dev_is_valid_port(port) || rte_eth_devices[port].dev_ops != &operations)
		return NULL;
	return card_of(&rte_eth_devices[port]);
}

/* What arrives at a port that no rule takes over. */
static int to_core(struct card *card, struct rte_mbuf *mbuf, const struct card_headers *headers)
{
	uint16_t queues = rte_eth_devices[card->port_id].data->nb_rx_queues;
	int code;

	rte_spinlock_lock(&card->lock);
	code = put(&card->receive[card_spread(headers) % queues]->frames, mbuf) ? TEST_CARD_TO_CORE :
	                                                                          TEST_CARD_DROPPED;
	rte_spinlock_unlock(&card->lock);
	if (code == TEST_CARD_DROPPED)
		rte_pktmbuf_free(mbuf);
	return code;
}

static int to_wire(uint16_t port, struct rte_mbuf *mbuf)
{
	struct card *card = card_at(port);
	bool sent = false;

	if (card != NULL) {
		rte_spinlock_lock(&card->lock);
		sent = put(&card->wire, mbuf);
		rte_spinlock_unlock(&card->lock);
	}
	if (!sent)
		rte_pktmbuf_free(mbuf);
	return sent ? TEST_CARD_FORWARDED : TEST_CARD_DROPPED;
}

int rewire_test_card_arrive(uint16_t port, const uint8_t *frame, uint16_t length)
{
	struct card *card = card_at(port);
	struct card_headers headers;
	struct card_offsets offsets;
	struct card_rule *rule;
	struct rte_mbuf *mbuf;
	uint8_t *data;
	int fate = TEST_CARD_TO_CORE;
	uint16_t target = port;
	uint8_t n;

	if (card == NULL || card->receive[0] == NULL)
		return TEST_CARD_NO_CARD;
	mbuf = rte_pktmbuf_alloc(card->receive[0]->pool);
	data = mbuf != NULL ? (uint8_t *)rte_pktmbuf_append(mbuf, length) : NULL;
	if (data == NULL) {
		rte_pktmbuf_free(mbuf);
		return TEST_CARD_DROPPED;
	}
	memcpy(data, frame, length);
	mbuf->port = port;
	card_parse(port, data, length, &headers, &offsets);
	rte_spinlock_lock(&card->lock);
	rule = card_rule_first_match(card, &headers);
	if (rule != NULL) {
		rule->hits++;
		rule->bytes += length;
		rule->last_hit = card_seconds;
		rule->aged_told = false;
		card_rewrite(rule, data, &headers, &offsets);
		for (n = 0; n < rule->action_count; n++) {
			switch (rule->actions[n].type) {
			case RTE_FLOW_ACTION_TYPE_DROP:
				fate = TEST_CARD_DROPPED;
				break;
			case RTE_FLOW_ACTION_TYPE_REPRESENTED_PORT:
				fate = TEST_CARD_FORWARDED;
				target = rule->actions[n].conf.ethdev.port_id;
				break;
			default:
				break;
			}
		}
	}
	rte_spinlock_unlock(&card->lock);
	switch (fate) {
	case TEST_CARD_FORWARDED:
		return to_wire(target, mbuf);
	case TEST_CARD_DROPPED:
		rte_pktmbuf_free(mbuf);
		return fate;
	default:
		return to_core(card, mbuf, &headers);
	}
}

int rewire_test_card_depart(uint16_t port, uint8_t *frame, uint16_t room)
{
	struct card *card = card_at(port);
	struct rte_mbuf *mbuf;
	int length;

	if (card == NULL)
		return TEST_CARD_NO_CARD;
	rte_spinlock_lock(&card->lock);
	mbuf = take(&card->wire);
	rte_spinlock_unlock(&card->lock);
	if (mbuf == NULL)
		return 0;
	length = RTE_MIN(rte_pktmbuf_data_len(mbuf), room);
	memcpy(frame, rte_pktmbuf_mtod(mbuf, uint8_t *), length);
	rte_pktmbuf_free(mbuf);
	return length;
}

int rewire_test_card_holds(uint16_t port, uint32_t *rules, uint32_t *tables, uint32_t *templates)
{
	struct card *card = card_at(port);
	const struct rte_flow_template_table *table;
	const struct rte_flow_pattern_template *pattern;
	const struct rte_flow_actions_template *actions;

	if (card == NULL)
		return TEST_CARD_NO_CARD;
	rte_spinlock_lock(&card->lock);
	*rules = card->rules_in_use;
	*tables = *templates = 0;
	for (table = card->tables; table != NULL; table = table->next)
		(*tables)++;
	for (pattern = card->pattern_templates; pattern != NULL; pattern = pattern->next)
		(*templates)++;
	for (actions = card->actions_templates; actions != NULL; actions = actions->next)
		(*templates)++;
	rte_spinlock_unlock(&card->lock);
	return 0;
}

uint64_t rewire_test_card_left_behind(void) { return left_behind; }

void rewire_test_card_advance(uint64_t seconds) { card_seconds += seconds; }
