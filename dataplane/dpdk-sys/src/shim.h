/* What bindgen reads: DPDK's public headers and the shim over what they only offer inline. */
#ifndef REWIRE_DPDK_SHIM_H
#define REWIRE_DPDK_SHIM_H

#include <stddef.h>
#include <stdint.h>

#include <rte_dev.h>
#include <rte_eal.h>
#include <rte_errno.h>
#include <rte_ethdev.h>
#include <rte_flow.h>
#include <rte_lcore.h>
#include <rte_log.h>
#include <rte_mbuf.h>
#include <rte_mempool.h>

#ifdef REWIRE_ROUTE_TABLES
#include <rte_fib.h>
#include <rte_fib6.h>
#include <rte_hash.h>
#include <rte_lpm.h>
#include <rte_lpm6.h>
#include <rte_malloc.h>
#include <rte_vect.h>

int rewire_lpm_lookup_bulk(const struct rte_lpm *lpm, const uint32_t *addresses, uint32_t *hops,
                           unsigned count);
#endif

/* Of the calling thread. */
int rewire_rte_errno(void);
unsigned rewire_lcore_id(void);

struct rte_mbuf *rewire_mbuf_alloc(struct rte_mempool *pool);
int rewire_mbuf_alloc_bulk(struct rte_mempool *pool, struct rte_mbuf **mbufs, unsigned count);
void rewire_mbuf_free(struct rte_mbuf *mbuf);

uint16_t rewire_rx_burst(uint16_t port, uint16_t queue, struct rte_mbuf **mbufs, uint16_t count);
uint16_t rewire_tx_burst(uint16_t port, uint16_t queue, struct rte_mbuf **mbufs, uint16_t count);

/* Gets each message that DPDK logs, on the thread that logged it; `text` has no terminating zero. */
typedef void (*rewire_log_sink)(uint32_t level, const char *text, size_t length);

/* Sends DPDK's log to `sink` from now on, for the life of the process. 0, or an errno. */
int rewire_log_redirect(rewire_log_sink sink);

#endif
