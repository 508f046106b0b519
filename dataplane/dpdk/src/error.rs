use std::io;

/// What can go wrong, with what and why.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// DPDK's environment starts once in the life of a process, even after it was dropped.
    #[error("DPDK is already initialised in this process, which allows it once")]
    AlreadyInitialised,
    /// The environment did not start. The process cannot try again.
    #[error("DPDK did not start: {reason}")]
    Initialise {
        /// What DPDK logged on the way.
        reason: String,
    },
    /// This thread holds a registration already.
    #[error("this thread is already registered with DPDK")]
    ThreadAlreadyRegistered,
    /// DPDK has a place for 128 threads, and they are taken.
    #[error("this thread cannot be registered with DPDK: {source}")]
    RegisterThread {
        /// DPDK's error number.
        source: io::Error,
    },
    /// The pool was not made; mostly the configured memory is too small for it.
    #[error("no mempool {name:?} of {buffers} buffers of {data_room} bytes: {source}")]
    Mempool {
        /// The pool's name.
        name: String,
        /// How many buffers were asked for.
        buffers: u32,
        /// The size of each, without its headroom.
        data_room: u16,
        /// DPDK's error number.
        source: io::Error,
    },
    /// A port of this name is attached.
    #[error("port {port}: a port of this name is already attached")]
    NameInUse {
        /// The port's name.
        port: String,
    },
    /// The device was not opened.
    #[error("port {port}: {driver}: {reason}")]
    Attach {
        /// The port's name.
        port: String,
        /// The kind of device, as in [`VirtualDevice::driver`](crate::VirtualDevice::driver).
        driver: &'static str,
        /// Why, in words.
        reason: String,
    },
    /// The device was opened, but cannot be set up or started like that. It is closed again.
    #[error("port {port}: {driver}: cannot {step}: {reason}")]
    Configure {
        /// The port's name.
        port: String,
        /// The kind of device.
        driver: &'static str,
        /// What was being done.
        step: &'static str,
        /// Why, in words.
        reason: String,
    },
    /// A rule, or the engine of rules, is not what the device can do or has room for.
    #[error("port {port}: cannot {step}: {reason}")]
    Flow {
        /// The port's name.
        port: String,
        /// What was being done.
        step: &'static str,
        /// DPDK's error number, above 0.
        code: i32,
        /// Why, in words.
        reason: String,
    },
    /// As many flow operations are under way as the queue holds, or there is no queue.
    #[error("the queue of flow operations is full")]
    FlowQueueFull,
}

/// The error of a DPDK function that returned `code`, negative.
pub(crate) fn of_code(code: i32) -> io::Error {
    io::Error::from_raw_os_error(code.saturating_neg())
}

/// The error that DPDK left for the calling thread.
pub(crate) fn of_thread() -> io::Error {
    // SAFETY: reads a thread-local variable.
    io::Error::from_raw_os_error(unsafe { rewire_dpdk_sys::rewire_rte_errno() })
}
