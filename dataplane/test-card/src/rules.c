/* The rules: slots, and handles that name a slot and how often it was used, so that no handle lives twice. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "card.h"

static struct rte_flow *handle_of(const struct card *card, const struct card_rule *rule)
{
	uintptr_t slot = (uintptr_t)(rule - card->rules) + 1;

	return (struct rte_flow *)((uintptr_t)rule->generation << 24 | slot);
}

struct card_rule *card_rule_find(struct card *card, const struct rte_flow *handle)
{
	uintptr_t slot = (uintptr_t)handle & 0xffffff, generation = (uintptr_t)handle >> 24;
	struct card_rule *rule;

	if (slot == 0 || slot > card->rule_slots)
		return NULL;
	rule = &card->rules[slot - 1];
	return rule->state != RULE_FREE && rule->generation == generation ? rule : NULL;
}

struct rte_flow *card_rule_new(struct card *card, struct card_rule **rule)
{
	uint32_t generation;

	if (card->first_free == NO_SLOT) {
		uint32_t slots = card->rule_slots == 0 ? 64 : card->rule_slots * 2, n;
		struct card_rule *rules = realloc(card->rules, slots * sizeof(*rules));

		if (rules == NULL || slots > 0xffffff)
			return NULL;
		memset(rules + card->rule_slots, 0, (slots - card->rule_slots) * sizeof(*rules));
		for (n = card->rule_slots; n < slots; n++)
			rules[n].next_free = n + 1 < slots ? n + 1 : NO_SLOT;
		card->first_free = card->rule_slots;
		card->rules = rules;
		card->rule_slots = slots;
	}
	*rule = &card->rules[card->first_free];
	card->first_free = (*rule)->next_free;
	generation = (*rule)->generation + 1;
	memset(*rule, 0, sizeof(**rule));
	(*rule)->generation = generation;
	(*rule)->state = RULE_CREATING;
	(*rule)->queue = NO_QUEUE;
	(*rule)->last_hit = card_seconds;
	card->rules_in_use++;
	return handle_of(card, *rule);
}

void card_rule_free(struct card *card, struct card_rule *rule)
{
	if (rule->table != NULL)
		rule->table->users--;
	rule->table = NULL;
	if (rule->state == RULE_LIVE || rule->state == RULE_DESTROYING)
		card->live--;
	rule->state = RULE_FREE;
	rule->next_free = card->first_free;
	card->first_free = rule - card->rules;
	card->rules_in_use--;
}

/* False if there is no room for this one, or it is one of those that are refused. */
bool card_rule_go_live(struct card *card, struct card_rule *rule)
{
	card->created++;
	if (card->live >= card->options.capacity ||
	    (card->options.refuse != 0 && card->created % card->options.refuse == 0))
		return false;
	card->live++;
	rule->state = RULE_LIVE;
	return true;
}

struct card_rule *card_rule_first_match(struct card *card, const struct card_headers *headers)
{
	struct card_rule *best = NULL;
	uint32_t n;

	for (n = 0; n < card->rule_slots; n++) {
		struct card_rule *rule = &card->rules[n];
		bool live = rule->state == RULE_LIVE;

		/* A rule that waits for its removal is there until the card has done it. */
		if (rule->state == RULE_DESTROYING)
			live = true;
		if (live && (best == NULL || rule->attr.priority < best->attr.priority) &&
		    card_matches(rule, headers))
			best = rule;
	}
	return best;
}

void card_rules_init(struct card *card)
{
	card->first_free = NO_SLOT;
}
