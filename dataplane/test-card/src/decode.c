/* From DPDK's items and actions to what the card keeps. */
#include <errno.h>
#include <string.h>

#include "card.h"

static int refuse(struct rte_flow_error *error, enum rte_flow_error_type type, const void *cause,
                  const char *message)
{
	return rte_flow_error_set(error, ENOTSUP, type, cause, message);
}

int card_check_attr(const struct rte_flow_attr *attr, struct rte_flow_error *error)
{
	if (attr == NULL || attr->egress || attr->reserved || attr->group != 0 || attr->priority > 7)
		return refuse(error, RTE_FLOW_ERROR_TYPE_ATTR, attr,
		              "group 0, priorities to 7, ingress or transfer");
	if (attr->ingress == attr->transfer)
		return refuse(error, RTE_FLOW_ERROR_TYPE_ATTR, attr, "either ingress or transfer");
	return 0;
}

/* What an item says is at this place of `struct card_headers`, of this size. */
static void *place(struct card_headers *headers, enum rte_flow_item_type type, size_t *size, uint8_t *layer)
{
	switch (type) {
	case RTE_FLOW_ITEM_TYPE_REPRESENTED_PORT:
		*size = sizeof(headers->port);
		*layer = 0;
		return &headers->port;
	case RTE_FLOW_ITEM_TYPE_ETH:
		*size = sizeof(headers->ether);
		*layer = LAYER_ETHER;
		return &headers->ether;
	case RTE_FLOW_ITEM_TYPE_IPV4:
		*size = sizeof(headers->ipv4);
		*layer = LAYER_IPV4;
		return &headers->ipv4;
	case RTE_FLOW_ITEM_TYPE_IPV6:
		*size = sizeof(headers->ipv6);
		*layer = LAYER_IPV6;
		return &headers->ipv6;
	case RTE_FLOW_ITEM_TYPE_TCP:
		*size = sizeof(headers->tcp);
		*layer = LAYER_TCP;
		return &headers->tcp;
	case RTE_FLOW_ITEM_TYPE_UDP:
		*size = sizeof(headers->udp);
		*layer = LAYER_UDP;
		return &headers->udp;
	case RTE_FLOW_ITEM_TYPE_INTEGRITY:
		*size = sizeof(headers->integrity);
		*layer = 0;
		return &headers->integrity;
	default:
		return NULL;
	}
}

/* A template gives the masks, and the items only the values; without a template both are the items'. */
int card_decode_items(const struct rte_flow_item *items, const struct rte_flow_pattern_template *template,
                      struct card_headers *spec, struct card_headers *mask, uint8_t *count,
                      enum rte_flow_item_type *types, struct rte_flow_error *error)
{
	uint8_t n = 0, below = 0;

	memset(spec, 0, sizeof(*spec));
	memset(mask, 0, sizeof(*mask));
	if (template != NULL)
		*mask = template->mask;
	for (; items->type != RTE_FLOW_ITEM_TYPE_END; items++, n++) {
		size_t size;
		uint8_t layer;
		uint8_t *value, *bits;

		if (n == CARD_ITEMS)
			return refuse(error, RTE_FLOW_ERROR_TYPE_ITEM_NUM, items, "too many items");
		value = place(spec, items->type, &size, &layer);
		bits = place(mask, items->type, &size, &layer);
		if (value == NULL)
			return refuse(error, RTE_FLOW_ERROR_TYPE_ITEM, items, "an item that this card does not know");
		if (items->last != NULL)
			return refuse(error, RTE_FLOW_ERROR_TYPE_ITEM_LAST, items, "no ranges");
		/* From the wire inwards, each layer once. */
		if (layer != 0 && layer <= below)
			return refuse(error, RTE_FLOW_ERROR_TYPE_ITEM, items, "items out of order");
		if ((layer == LAYER_IPV6 && below == LAYER_IPV4) || (layer == LAYER_UDP && below == LAYER_TCP))
			return refuse(error, RTE_FLOW_ERROR_TYPE_ITEM, items, "two headers in one place");
		if (layer != 0)
			below = layer;
		mask->layers |= layer;
		if (template != NULL && (n >= template->count || template->types[n] != items->type))
			return rte_flow_error_set(error, EINVAL, RTE_FLOW_ERROR_TYPE_ITEM, items,
			                          "not the items of the template");
		if (template == NULL && items->spec != NULL && items->mask == NULL)
			return refuse(error, RTE_FLOW_ERROR_TYPE_ITEM_MASK, items, "no default masks");
		if (template == NULL && items->mask != NULL)
			memcpy(bits, items->mask, size);
		if (items->spec != NULL)
			memcpy(value, items->spec, size);
		if (types != NULL)
			types[n] = items->type;
	}
	if (template != NULL && n != template->count)
		return rte_flow_error_set(error, EINVAL, RTE_FLOW_ERROR_TYPE_ITEM_NUM, items,
		                          "not the items of the template");
	if (count != NULL)
		*count = n;
	return 0;
}

static size_t conf_size(enum rte_flow_action_type type, bool *known)
{
	*known = true;
	switch (type) {
	case RTE_FLOW_ACTION_TYPE_SET_IPV4_SRC:
	case RTE_FLOW_ACTION_TYPE_SET_IPV4_DST:
		return sizeof(struct rte_flow_action_set_ipv4);
	case RTE_FLOW_ACTION_TYPE_SET_IPV6_SRC:
	case RTE_FLOW_ACTION_TYPE_SET_IPV6_DST:
		return sizeof(struct rte_flow_action_set_ipv6);
	case RTE_FLOW_ACTION_TYPE_SET_TP_SRC:
	case RTE_FLOW_ACTION_TYPE_SET_TP_DST:
		return sizeof(struct rte_flow_action_set_tp);
	case RTE_FLOW_ACTION_TYPE_SET_MAC_SRC:
	case RTE_FLOW_ACTION_TYPE_SET_MAC_DST:
		return sizeof(struct rte_flow_action_set_mac);
	case RTE_FLOW_ACTION_TYPE_REPRESENTED_PORT:
	case RTE_FLOW_ACTION_TYPE_PORT_REPRESENTOR:
		return sizeof(struct rte_flow_action_ethdev);
	case RTE_FLOW_ACTION_TYPE_QUEUE:
		return sizeof(struct rte_flow_action_queue);
	case RTE_FLOW_ACTION_TYPE_AGE:
		return sizeof(struct rte_flow_action_age);
	case RTE_FLOW_ACTION_TYPE_COUNT:
		return sizeof(struct rte_flow_action_count);
	case RTE_FLOW_ACTION_TYPE_DEC_TTL:
	case RTE_FLOW_ACTION_TYPE_DROP:
		return 0;
	default:
		*known = false;
		return 0;
	}
}

int card_decode_actions(const struct rte_flow_action *actions, struct card_action *out, uint8_t *count,
                        struct rte_flow_error *error)
{
	uint8_t n = 0;

	for (; actions->type != RTE_FLOW_ACTION_TYPE_END; actions++, n++) {
		bool known;
		size_t size = conf_size(actions->type, &known);

		if (!known)
			return refuse(error, RTE_FLOW_ERROR_TYPE_ACTION, actions, "an action that this card does not know");
		if (n == CARD_ACTIONS)
			return refuse(error, RTE_FLOW_ERROR_TYPE_ACTION_NUM, actions, "too many actions");
		memset(&out[n], 0, sizeof(out[n]));
		out[n].type = actions->type;
		if (size > 0 && actions->conf != NULL)
			memcpy(&out[n].conf, actions->conf, size);
	}
	*count = n;
	return 0;
}
