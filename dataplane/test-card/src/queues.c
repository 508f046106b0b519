/* Asynchronous operations: enqueued, handed over by a push, done, and told by a pull. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "card.h"

int card_info_get(struct rte_eth_dev *dev, struct rte_flow_port_info *port,
                  struct rte_flow_queue_info *queue, struct rte_flow_error *error)
{
	RTE_SET_USED(error);
	memset(port, 0, sizeof(*port));
	port->max_nb_queues = CARD_FLOW_QUEUES;
	port->max_nb_counters = card_of(dev)->options.capacity;
	port->max_nb_aging_objects = card_of(dev)->options.capacity;
	queue->max_size = CARD_FLOW_QUEUE_SIZE;
	return 0;
}

void card_queues_free(struct card *card)
{
	uint16_t n;

	for (n = 0; n < card->flow_queue_count; n++)
		free(card->flow_queues[n].operations);
	memset(card->flow_queues, 0, sizeof(card->flow_queues));
	card->flow_queue_count = 0;
}

int card_configure(struct rte_eth_dev *dev, const struct rte_flow_port_attr *attr, uint16_t count,
                   const struct rte_flow_queue_attr *queues[], struct rte_flow_error *error)
{
	struct card *card = card_of(dev);
	uint16_t n;

	if (attr->nb_counters > card->options.capacity || attr->nb_aging_objects > card->options.capacity ||
	    count == 0 || count > CARD_FLOW_QUEUES || card->tables != NULL)
		return rte_flow_error_set(error, EINVAL, RTE_FLOW_ERROR_TYPE_UNSPECIFIED, NULL,
		                          "over the limits, or in use");
	for (n = 0; n < count; n++)
		if (queues[n]->size == 0 || queues[n]->size > CARD_FLOW_QUEUE_SIZE)
			return rte_flow_error_set(error, EINVAL, RTE_FLOW_ERROR_TYPE_UNSPECIFIED, NULL,
			                          "the size of a queue");
	card_queues_free(card);
	for (n = 0; n < count; n++) {
		card->flow_queues[n].operations = calloc(queues[n]->size, sizeof(struct card_operation));
		if (card->flow_queues[n].operations == NULL)
			return rte_flow_error_set(error, ENOMEM, RTE_FLOW_ERROR_TYPE_UNSPECIFIED, NULL,
			                          "no memory");
		card->flow_queues[n].size = queues[n]->size;
		card->flow_queue_count = n + 1;
	}
	return 0;
}

/* The card does what it was handed, and will tell it so many pulls from now. */
static void hand_over(struct card *card, struct card_flow_queue *queue)
{
	for (; queue->pushed < queue->count; queue->pushed++) {
		struct card_operation *operation = &queue->operations[queue->pushed];
		struct card_rule *rule = card_rule_find(card, operation->handle);

		operation->due = queue->pulls + card->options.latency;
		operation->status = RTE_FLOW_OP_SUCCESS;
		if (operation->destroy) {
			card_rule_free(card, rule);
		} else if (!card_rule_go_live(card, rule)) {
			/* The handle stays, to be destroyed. */
			rule->state = RULE_FAILED;
			operation->status = RTE_FLOW_OP_ERROR;
		}
	}
}

static struct card_operation *enqueue(struct card *card, uint32_t index, struct rte_flow_error *error)
{
	struct card_flow_queue *queue = &card->flow_queues[index];

	if (index >= card->flow_queue_count || queue->count == queue->size) {
		rte_flow_error_set(error, index < card->flow_queue_count ? ENOMEM : EINVAL,
		                   RTE_FLOW_ERROR_TYPE_UNSPECIFIED, NULL, "the queue is full, or is none");
		return NULL;
	}
	return &queue->operations[queue->count];
}

static int fill_actions(struct card_rule *rule, const struct rte_flow_actions_template *template,
                        const struct rte_flow_action actions[], struct rte_flow_error *error)
{
	uint8_t n;
	int code = card_decode_actions(actions, rule->actions, &rule->action_count, error);

	if (code != 0)
		return code;
	if (rule->action_count != template->count)
		return rte_flow_error_set(error, EINVAL, RTE_FLOW_ERROR_TYPE_ACTION_NUM, actions,
		                          "not the actions of the template");
	for (n = 0; n < template->count; n++) {
		if (rule->actions[n].type != template->actions[n].type)
			return rte_flow_error_set(error, EINVAL, RTE_FLOW_ERROR_TYPE_ACTION, &actions[n],
			                          "not the actions of the template");
		if (template->fixed[n])
			rule->actions[n] = template->actions[n];
	}
	return 0;
}

struct rte_flow *card_async_create(struct rte_eth_dev *dev, uint32_t queue,
                                   const struct rte_flow_op_attr *op_attr,
                                   struct rte_flow_template_table *table,
                                   const struct rte_flow_item items[], uint8_t pattern_index,
                                   const struct rte_flow_action actions[], uint8_t actions_index,
                                   void *user_data, struct rte_flow_error *error)
{
	struct card *card = card_of(dev);
	struct card_operation *operation;
	struct rte_flow *handle = NULL;
	struct card_rule *rule = NULL;

	rte_spinlock_lock(&card->lock);
	operation = enqueue(card, queue, error);
	if (operation == NULL)
		goto out;
	if (pattern_index >= table->pattern_count || actions_index >= table->actions_count) {
		rte_flow_error_set(error, EINVAL, RTE_FLOW_ERROR_TYPE_UNSPECIFIED, NULL, "no such template");
		goto out;
	}
	if (table->users >= table->attr.nb_flows) {
		rte_flow_error_set(error, ENOSPC, RTE_FLOW_ERROR_TYPE_UNSPECIFIED, NULL, "the table is full");
		goto out;
	}
	handle = card_rule_new(card, &rule);
	if (handle == NULL)
		goto out;
	rule->attr = table->attr.flow_attr;
	rule->queue = queue;
	if (card_decode_items(items, table->patterns[pattern_index], &rule->spec, &rule->mask, NULL, NULL,
	                      error) != 0 ||
	    fill_actions(rule, table->actions[actions_index], actions, error) != 0) {
		card_rule_free(card, rule);
		handle = NULL;
		goto out;
	}
	rule->table = table;
	table->users++;
	operation->handle = handle;
	operation->user_data = user_data;
	operation->destroy = false;
	card->flow_queues[queue].count++;
	if (!op_attr->postpone)
		hand_over(card, &card->flow_queues[queue]);
out:
	rte_spinlock_unlock(&card->lock);
	return handle;
}

int card_async_destroy(struct rte_eth_dev *dev, uint32_t queue, const struct rte_flow_op_attr *op_attr,
                       struct rte_flow *handle, void *user_data, struct rte_flow_error *error)
{
	struct card *card = card_of(dev);
	struct card_operation *operation;
	struct card_rule *rule;
	int code = 0;

	rte_spinlock_lock(&card->lock);
	operation = enqueue(card, queue, error);
	rule = card_rule_find(card, handle);
	if (operation == NULL) {
		code = -rte_errno;
	} else if (rule == NULL || rule->state == RULE_DESTROYING || rule->queue != queue) {
		code = rte_flow_error_set(error, ENOENT, RTE_FLOW_ERROR_TYPE_HANDLE, handle,
		                          "no such rule, or not of this queue");
	} else if (rule->state == RULE_CREATING) {
		code = rte_flow_error_set(error, EBUSY, RTE_FLOW_ERROR_TYPE_HANDLE, handle,
		                          "its creation is not pushed yet");
	} else {
		if (rule->state == RULE_LIVE)
			rule->state = RULE_DESTROYING;
		operation->handle = handle;
		operation->user_data = user_data;
		operation->destroy = true;
		card->flow_queues[queue].count++;
		if (!op_attr->postpone)
			hand_over(card, &card->flow_queues[queue]);
	}
	rte_spinlock_unlock(&card->lock);
	return code;
}

int card_push(struct rte_eth_dev *dev, uint32_t queue, struct rte_flow_error *error)
{
	struct card *card = card_of(dev);

	if (queue >= card->flow_queue_count)
		return rte_flow_error_set(error, EINVAL, RTE_FLOW_ERROR_TYPE_UNSPECIFIED, NULL, "no such queue");
	rte_spinlock_lock(&card->lock);
	hand_over(card, &card->flow_queues[queue]);
	rte_spinlock_unlock(&card->lock);
	return 0;
}

int card_pull(struct rte_eth_dev *dev, uint32_t index, struct rte_flow_op_result results[],
              uint16_t count, struct rte_flow_error *error)
{
	struct card *card = card_of(dev);
	struct card_flow_queue *queue;
	uint32_t due = 0, take, from;
	uint16_t n;

	if (index >= card->flow_queue_count)
		return rte_flow_error_set(error, EINVAL, RTE_FLOW_ERROR_TYPE_UNSPECIFIED, NULL, "no such queue");
	rte_spinlock_lock(&card->lock);
	queue = &card->flow_queues[index];
	while (due < queue->pushed && (int32_t)(queue->pulls - queue->operations[due].due) >= 0)
		due++;
	queue->pulls++;
	take = RTE_MIN(due, count);
	/* Reversed: the last of those that are due. */
	from = card->options.reversed ? due - take : 0;
	for (n = 0; n < take; n++) {
		uint32_t which = card->options.reversed ? from + take - 1 - n : n;

		results[n].status = queue->operations[which].status;
		results[n].user_data = queue->operations[which].user_data;
	}
	memmove(&queue->operations[from], &queue->operations[from + take],
	        (queue->count - from - take) * sizeof(struct card_operation));
	queue->count -= take;
	queue->pushed -= take;
	rte_spinlock_unlock(&card->lock);
	return (int)take;
}
