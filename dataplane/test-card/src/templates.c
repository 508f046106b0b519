/* Templates and tables. Each knows how many use it, and is not destroyed under them. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "card.h"

#define LINK(list, item) ((item)->next = (list), (list) = (item))
#define UNLINK(list, item, type)                                                                                \
	do {                                                                                                     \
		type **link = &(list);                                                                           \
		while (*link != (item))                                                                          \
			link = &(*link)->next;                                                                   \
		*link = (item)->next;                                                                            \
	} while (0)

static int busy(struct rte_flow_error *error, const char *message)
{
	return rte_flow_error_set(error, EBUSY, RTE_FLOW_ERROR_TYPE_STATE, NULL, message);
}

struct rte_flow_pattern_template *card_pattern_template_create(
	struct rte_eth_dev *dev, const struct rte_flow_pattern_template_attr *attr,
	const struct rte_flow_item items[], struct rte_flow_error *error)
{
	struct card *card = card_of(dev);
	struct rte_flow_pattern_template *template = calloc(1, sizeof(*template));
	struct card_headers spec;

	if (template == NULL)
		return NULL;
	template->attr = *attr;
	if (card_decode_items(items, NULL, &spec, &template->mask, &template->count, template->types, error)) {
		free(template);
		return NULL;
	}
	rte_spinlock_lock(&card->lock);
	LINK(card->pattern_templates, template);
	rte_spinlock_unlock(&card->lock);
	return template;
}

int card_pattern_template_destroy(struct rte_eth_dev *dev, struct rte_flow_pattern_template *template,
                                  struct rte_flow_error *error)
{
	struct card *card = card_of(dev);

	if (template->users > 0)
		return busy(error, "a table uses the pattern template");
	rte_spinlock_lock(&card->lock);
	UNLINK(card->pattern_templates, template, struct rte_flow_pattern_template);
	rte_spinlock_unlock(&card->lock);
	free(template);
	return 0;
}

struct rte_flow_actions_template *card_actions_template_create(
	struct rte_eth_dev *dev, const struct rte_flow_actions_template_attr *attr,
	const struct rte_flow_action actions[], const struct rte_flow_action masks[],
	struct rte_flow_error *error)
{
	struct card *card = card_of(dev);
	struct rte_flow_actions_template *template = calloc(1, sizeof(*template));
	uint8_t n;

	if (template == NULL)
		return NULL;
	template->attr = *attr;
	if (card_decode_actions(actions, template->actions, &template->count, error)) {
		free(template);
		return NULL;
	}
	for (n = 0; n < template->count; n++) {
		if (masks[n].type != actions[n].type) {
			rte_flow_error_set(error, EINVAL, RTE_FLOW_ERROR_TYPE_ACTION, &masks[n],
			                   "masks are of other actions");
			free(template);
			return NULL;
		}
		template->fixed[n] = masks[n].conf != NULL;
	}
	rte_spinlock_lock(&card->lock);
	LINK(card->actions_templates, template);
	rte_spinlock_unlock(&card->lock);
	return template;
}

int card_actions_template_destroy(struct rte_eth_dev *dev, struct rte_flow_actions_template *template,
                                  struct rte_flow_error *error)
{
	struct card *card = card_of(dev);

	if (template->users > 0)
		return busy(error, "a table uses the actions template");
	rte_spinlock_lock(&card->lock);
	UNLINK(card->actions_templates, template, struct rte_flow_actions_template);
	rte_spinlock_unlock(&card->lock);
	free(template);
	return 0;
}

struct rte_flow_template_table *card_table_create(
	struct rte_eth_dev *dev, const struct rte_flow_template_table_attr *attr,
	struct rte_flow_pattern_template *patterns[], uint8_t pattern_count,
	struct rte_flow_actions_template *actions[], uint8_t actions_count, struct rte_flow_error *error)
{
	struct card *card = card_of(dev);
	struct rte_flow_template_table *table;
	uint8_t n;

	if (card_check_attr(&attr->flow_attr, error) != 0)
		return NULL;
	if (pattern_count == 0 || pattern_count > CARD_TEMPLATES || actions_count == 0 ||
	    actions_count > CARD_TEMPLATES) {
		rte_flow_error_set(error, EINVAL, RTE_FLOW_ERROR_TYPE_UNSPECIFIED, NULL, "number of templates");
		return NULL;
	}
	for (n = 0; n < pattern_count; n++)
		if (patterns[n]->attr.transfer != attr->flow_attr.transfer)
			goto mismatch;
	for (n = 0; n < actions_count; n++)
		if (actions[n]->attr.transfer != attr->flow_attr.transfer)
			goto mismatch;
	table = calloc(1, sizeof(*table));
	if (table == NULL)
		return NULL;
	table->attr = *attr;
	table->pattern_count = pattern_count;
	table->actions_count = actions_count;
	rte_spinlock_lock(&card->lock);
	for (n = 0; n < pattern_count; n++) {
		table->patterns[n] = patterns[n];
		patterns[n]->users++;
	}
	for (n = 0; n < actions_count; n++) {
		table->actions[n] = actions[n];
		actions[n]->users++;
	}
	LINK(card->tables, table);
	rte_spinlock_unlock(&card->lock);
	return table;
mismatch:
	rte_flow_error_set(error, EINVAL, RTE_FLOW_ERROR_TYPE_ATTR_TRANSFER, NULL,
	                   "the table and its templates are for different directions");
	return NULL;
}

int card_table_destroy(struct rte_eth_dev *dev, struct rte_flow_template_table *table,
                       struct rte_flow_error *error)
{
	struct card *card = card_of(dev);
	uint8_t n;

	rte_spinlock_lock(&card->lock);
	if (table->users > 0) {
		rte_spinlock_unlock(&card->lock);
		return busy(error, "the table has rules");
	}
	for (n = 0; n < table->pattern_count; n++)
		table->patterns[n]->users--;
	for (n = 0; n < table->actions_count; n++)
		table->actions[n]->users--;
	UNLINK(card->tables, table, struct rte_flow_template_table);
	rte_spinlock_unlock(&card->lock);
	free(table);
	return 0;
}

void card_templates_free(struct card *card)
{
	while (card->tables != NULL) {
		struct rte_flow_template_table *table = card->tables;

		card->tables = table->next;
		free(table);
	}
	while (card->pattern_templates != NULL) {
		struct rte_flow_pattern_template *template = card->pattern_templates;

		card->pattern_templates = template->next;
		free(template);
	}
	while (card->actions_templates != NULL) {
		struct rte_flow_actions_template *template = card->actions_templates;

		card->actions_templates = template->next;
		free(template);
	}
}
