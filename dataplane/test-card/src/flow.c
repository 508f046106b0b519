/* The synchronous calls, and the table of all calls. */
#include <errno.h>
#include <string.h>

#include "card.h"

uint64_t card_seconds;

int card_validate(struct rte_eth_dev *dev, const struct rte_flow_attr *attr,
                  const struct rte_flow_item items[], const struct rte_flow_action actions[],
                  struct rte_flow_error *error)
{
	struct card_headers spec, mask;
	struct card_action decoded[CARD_ACTIONS];
	uint8_t count;
	int code = card_check_attr(attr, error);

	RTE_SET_USED(dev);
	if (code == 0)
		code = card_decode_items(items, NULL, &spec, &mask, NULL, NULL, error);
	return code == 0 ? card_decode_actions(actions, decoded, &count, error) : code;
}

struct rte_flow *card_create(struct rte_eth_dev *dev, const struct rte_flow_attr *attr,
                             const struct rte_flow_item items[], const struct rte_flow_action actions[],
                             struct rte_flow_error *error)
{
	struct card *card = card_of(dev);
	struct rte_flow *handle;
	struct card_rule *rule;

	if (card_validate(dev, attr, items, actions, error) != 0)
		return NULL;
	rte_spinlock_lock(&card->lock);
	handle = card_rule_new(card, &rule);
	if (handle != NULL && !card_rule_go_live(card, rule)) {
		card_rule_free(card, rule);
		handle = NULL;
	}
	if (handle == NULL) {
		rte_flow_error_set(error, ENOSPC, RTE_FLOW_ERROR_TYPE_UNSPECIFIED, NULL, "no room for a rule");
	} else {
		rule->attr = *attr;
		card_decode_items(items, NULL, &rule->spec, &rule->mask, NULL, NULL, NULL);
		card_decode_actions(actions, rule->actions, &rule->action_count, NULL);
	}
	rte_spinlock_unlock(&card->lock);
	return handle;
}

int card_destroy(struct rte_eth_dev *dev, struct rte_flow *handle, struct rte_flow_error *error)
{
	struct card *card = card_of(dev);
	struct card_rule *rule;
	int code = 0;

	rte_spinlock_lock(&card->lock);
	rule = card_rule_find(card, handle);
	if (rule == NULL || rule->queue != NO_QUEUE)
		code = rte_flow_error_set(error, ENOENT, RTE_FLOW_ERROR_TYPE_HANDLE, handle,
		                          "no rule that was created synchronously");
	else
		card_rule_free(card, rule);
	rte_spinlock_unlock(&card->lock);
	return code;
}

int card_flush(struct rte_eth_dev *dev, struct rte_flow_error *error)
{
	struct card *card = card_of(dev);
	uint32_t n;

	RTE_SET_USED(error);
	rte_spinlock_lock(&card->lock);
	for (n = 0; n < card->rule_slots; n++)
		if (card->rules[n].state == RULE_LIVE)
			card_rule_free(card, &card->rules[n]);
	rte_spinlock_unlock(&card->lock);
	return 0;
}

static const struct rte_flow_action_age *age_of(const struct card_rule *rule)
{
	uint8_t n;

	for (n = 0; n < rule->action_count; n++)
		if (rule->actions[n].type == RTE_FLOW_ACTION_TYPE_AGE)
			return &rule->actions[n].conf.age;
	return NULL;
}

static int read_rule(const struct card_rule *rule, const struct rte_flow_action *action, void *data,
                     struct rte_flow_error *error)
{
	struct rte_flow_query_count *count = data;
	struct rte_flow_query_age *age = data;
	uint8_t n;

	for (n = 0; n < rule->action_count; n++)
		if (rule->actions[n].type == action->type)
			break;
	if (n == rule->action_count)
		return rte_flow_error_set(error, EINVAL, RTE_FLOW_ERROR_TYPE_ACTION, action,
		                          "the rule has no such action");
	switch (action->type) {
	case RTE_FLOW_ACTION_TYPE_COUNT:
		count->hits = rule->hits;
		count->bytes = rule->bytes;
		count->hits_set = count->bytes_set = 1;
		return 0;
	case RTE_FLOW_ACTION_TYPE_AGE:
		age->sec_since_last_hit = card_seconds - rule->last_hit;
		age->sec_since_last_hit_valid = 1;
		age->aged = card_seconds - rule->last_hit >= rule->actions[n].conf.age.timeout;
		return 0;
	default:
		return rte_flow_error_set(error, ENOTSUP, RTE_FLOW_ERROR_TYPE_ACTION, action,
		                          "an action that counts nothing");
	}
}

int card_query(struct rte_eth_dev *dev, struct rte_flow *handle, const struct rte_flow_action *actions,
               void *data, struct rte_flow_error *error)
{
	struct card *card = card_of(dev);
	struct card_rule *rule;
	int code;

	rte_spinlock_lock(&card->lock);
	rule = card_rule_find(card, handle);
	if (rule == NULL)
		code = rte_flow_error_set(error, ENOENT, RTE_FLOW_ERROR_TYPE_HANDLE, handle, "no such rule");
	else
		code = read_rule(rule, actions, data, error);
	rte_spinlock_unlock(&card->lock);
	return code;
}

/* Each rule once for each time that it falls silent. Without an array: how many there are. */
int card_aged(struct rte_eth_dev *dev, void **contexts, uint32_t count, struct rte_flow_error *error)
{
	struct card *card = card_of(dev);
	uint32_t n, found = 0;

	RTE_SET_USED(error);
	rte_spinlock_lock(&card->lock);
	for (n = 0; n < card->rule_slots; n++) {
		struct card_rule *rule = &card->rules[n];
		const struct rte_flow_action_age *age = rule->state == RULE_LIVE ? age_of(rule) : NULL;

		if (age == NULL || rule->aged_told || card_seconds - rule->last_hit < age->timeout)
			continue;
		if (count == 0) {
			found++;
		} else if (found < count) {
			rule->aged_told = true;
			contexts[found++] = age->context;
		}
	}
	rte_spinlock_unlock(&card->lock);
	return (int)found;
}

const struct rte_flow_ops card_sync_ops = {
	.validate = card_validate,
	.create = card_create,
	.destroy = card_destroy,
	.flush = card_flush,
	.query = card_query,
	.get_aged_flows = card_aged,
};

const struct rte_flow_ops card_async_ops = {
	.validate = card_validate,
	.create = card_create,
	.destroy = card_destroy,
	.flush = card_flush,
	.query = card_query,
	.get_aged_flows = card_aged,
	.info_get = card_info_get,
	.configure = card_configure,
	.pattern_template_create = card_pattern_template_create,
	.pattern_template_destroy = card_pattern_template_destroy,
	.actions_template_create = card_actions_template_create,
	.actions_template_destroy = card_actions_template_destroy,
	.template_table_create = card_table_create,
	.template_table_destroy = card_table_destroy,
	.async_create = card_async_create,
	.async_destroy = card_async_destroy,
	.push = card_push,
	.pull = card_pull,
};
