//! Safe wrappers over DPDK: EAL, mempools, mbufs, ports and queues.
