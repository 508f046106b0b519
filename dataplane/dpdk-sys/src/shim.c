/* Functions that DPDK defines `static inline` (or as macros), given a symbol. A call costs about
 * 1.6 ns more than inlined: nothing for a burst, too much for every field of every packet, which
 * is why fields of an mbuf are read from Rust and mbufs are freed in bulk. */
#define _GNU_SOURCE
#include <errno.h>
#include <stdio.h>
#include <sys/types.h>

#include "shim.h"

int rewire_rte_errno(void) { return rte_errno; }

unsigned rewire_lcore_id(void) { return rte_lcore_id(); }

struct rte_mbuf *rewire_mbuf_alloc(struct rte_mempool *pool) { return rte_pktmbuf_alloc(pool); }

int rewire_mbuf_alloc_bulk(struct rte_mempool *pool, struct rte_mbuf **mbufs, unsigned count)
{
	return rte_pktmbuf_alloc_bulk(pool, mbufs, count);
}

void rewire_mbuf_free(struct rte_mbuf *mbuf) { rte_pktmbuf_free(mbuf); }

uint16_t rewire_rx_burst(uint16_t port, uint16_t queue, struct rte_mbuf **mbufs, uint16_t count)
{
	return rte_eth_rx_burst(port, queue, mbufs, count);
}

uint16_t rewire_tx_burst(uint16_t port, uint16_t queue, struct rte_mbuf **mbufs, uint16_t count)
{
	return rte_eth_tx_burst(port, queue, mbufs, count);
}

#ifdef REWIRE_ROUTE_TABLES
int rewire_lpm_lookup_bulk(const struct rte_lpm *lpm, const uint32_t *addresses, uint32_t *hops,
                           unsigned count)
{
	return rte_lpm_lookup_bulk(lpm, addresses, hops, count);
}
#endif

static rewire_log_sink log_sink;

/* rte_vlog flushes after each message, so a write is one message, on the thread that logged it,
 * while DPDK's record of the current message's level still holds. */
static ssize_t log_write(void *cookie, const char *text, size_t length)
{
	(void)cookie;
	log_sink((uint32_t)rte_log_cur_msg_loglevel(), text, length);
	return (ssize_t)length;
}

int rewire_log_redirect(rewire_log_sink sink)
{
	cookie_io_functions_t functions = { .write = log_write };
	FILE *stream = fopencookie(NULL, "w", functions);

	if (stream == NULL)
		return errno;
	log_sink = sink;
	return rte_openlog_stream(stream) == 0 ? 0 : EINVAL;
}
