//! The kernel's own way to send frames into a network device as if they had been received, in batches: a BPF program of XDP
//! that writes one prepared frame after the other, run "live" (`BPF_PROG_TEST_RUN` with `BPF_F_TEST_XDP_LIVE_FRAMES`, Linux
//! 5.18). It is what pktgen would be used for, without a module.
//!
//! The numbers are those of `linux/bpf.h`, which the libc crate has not.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::ptr;

use crate::stores::Failure;

/// Bytes of a frame, what is there of it behind its length included.
pub(crate) const FRAME: usize = 64;

const MAP_CREATE: libc::c_long = 0;
const PROG_LOAD: libc::c_long = 5;
const PROG_TEST_RUN: libc::c_long = 10;
const LINK_CREATE: libc::c_long = 28;
const MAP_TYPE_ARRAY: u32 = 2;
const MAP_MMAPABLE: u32 = 1 << 10;
const PROG_TYPE_XDP: u32 = 6;
const ATTACH_XDP: u32 = 37;
const XDP_IN_THE_DRIVER: u32 = 1 << 2;
const LIVE_FRAMES: u32 = 1 << 1;

/// What becomes of a frame that a program has written.
#[derive(Clone, Copy)]
pub(crate) enum Verdict {
    /// Nothing: what is left is the cost of the program and of its buffers.
    Drop = 1,
    /// It goes to the kernel's stack.
    Pass = 2,
}

/// Calls bpf(2) with an attribute whose fields are numbers of 32 bits, in the order of its structure.
///
/// # Safety
/// Every address in the attribute must be good for what the command does with it.
unsafe fn bpf(command: libc::c_long, attribute: &[u32]) -> Result<i32, Failure> {
    let size = size_of_val(attribute);
    // SAFETY: the attribute is as long as is said; what it points at is the caller's promise.
    let result = unsafe { libc::syscall(libc::SYS_bpf, command, attribute.as_ptr(), size) };
    if result < 0 {
        return Err(format!("bpf({command}): {}", io::Error::last_os_error()).into());
    }
    Ok(result as i32)
}

/// An address, as two fields of 32 bits.
fn address<T>(of: *const T) -> [u32; 2] {
    let address = of as u64;
    [address as u32, (address >> 32) as u32]
}

/// An array that programs and we see.
struct Array {
    fd: OwnedFd,
    bytes: *mut u8,
    length: usize,
}

impl Array {
    fn new(value: usize, entries: usize) -> Result<Array, Failure> {
        let attribute = [
            MAP_TYPE_ARRAY,
            4,
            u32::try_from(value)?,
            u32::try_from(entries)?,
            MAP_MMAPABLE,
        ];
        // SAFETY: no address is in it. The descriptor is new, and nobody else's.
        let fd = unsafe { OwnedFd::from_raw_fd(bpf(MAP_CREATE, &attribute)?) };
        let length = (value * entries).next_multiple_of(4096);
        // SAFETY: a new mapping of the whole array, wherever the kernel likes.
        let bytes = unsafe {
            libc::mmap(
                ptr::null_mut(),
                length,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_SHARED,
                fd.as_raw_fd(),
                0,
            )
        };
        if bytes == libc::MAP_FAILED {
            return Err(io::Error::last_os_error().into());
        }
        Ok(Array {
            fd,
            bytes: bytes.cast(),
            length,
        })
    }

    /// Its bytes. No program may run meanwhile, which takes the array mutably.
    fn bytes(&mut self) -> &mut [u8] {
        // SAFETY: the mapping is so long, and lives as long as the array; only `Frames::run` lets others write there, and that
        // takes it mutably, too.
        unsafe { std::slice::from_raw_parts_mut(self.bytes, self.length) }
    }
}

impl Drop for Array {
    fn drop(&mut self) {
        // SAFETY: our mapping, which nobody uses any more.
        unsafe { libc::munmap(self.bytes.cast(), self.length) };
    }
}

/// An instruction: code, registers, offset, immediate.
#[repr(C)]
#[derive(Clone, Copy)]
struct Instruction(u8, u8, i16, i32);

const FRAME_POINTER: u8 = 10;

fn move_register(to: u8, from: u8) -> Instruction {
    Instruction(0xbf, to | from << 4, 0, 0)
}

fn add(to: u8, number: i32) -> Instruction {
    Instruction(0x07, to, 0, number)
}

fn load(code: u8, to: u8, from: u8, offset: i16) -> Instruction {
    Instruction(code, to | from << 4, offset, 0)
}

const LOAD32: u8 = 0x61;
const LOAD64: u8 = 0x79;
const STORE32: u8 = 0x63;
const STORE64: u8 = 0x7b;

fn set(to: u8, number: i32) -> Instruction {
    Instruction(0xb7, to, 0, number)
}

const EXIT: Instruction = Instruction(0x95, 0, 0, 0);

/// Register 0 becomes the entry of an array whose index lies at the frame pointer minus 8; or the program ends.
fn look_up(array: &Array) -> [Instruction; 7] {
    const PSEUDO_MAP_FD: u8 = 1;
    [
        Instruction(0x18, 1 | PSEUDO_MAP_FD << 4, 0, array.fd.as_raw_fd()),
        Instruction(0, 0, 0, 0),
        move_register(2, FRAME_POINTER),
        add(2, -8),
        // bpf_map_lookup_elem
        Instruction(0x85, 0, 0, 1),
        // Not null: over the end. Register 0 is 0 there, which is XDP_ABORTED.
        Instruction(0x55, 0, 1, 0),
        EXIT,
    ]
}

/// Loads a program that writes the next of the frames, and decides so.
fn load_writer(frames: &Array, next: &Array, verdict: Verdict) -> Result<OwnedFd, Failure> {
    let mut program = vec![
        move_register(6, 1),
        set(1, 0),
        Instruction(STORE32, FRAME_POINTER | 1 << 4, -8, 0),
    ];
    program.extend(look_up(next));
    program.extend([
        load(LOAD64, 7, 0, 0),
        Instruction(STORE32, FRAME_POINTER | 7 << 4, -8, 0),
        add(7, 1),
        Instruction(STORE64, 7 << 4, 0, 0),
    ]);
    program.extend(look_up(frames));
    // From where to where the frame is; it must have room.
    program.extend([
        load(LOAD32, 2, 6, 0),
        load(LOAD32, 3, 6, 4),
        move_register(4, 2),
        add(4, FRAME as i32),
        // Not larger: over the end.
        Instruction(0xbd, 4 | 3 << 4, 2, 0),
        set(0, 0),
        EXIT,
    ]);
    for at in (0..FRAME as i16).step_by(8) {
        program.extend([
            load(LOAD64, 5, 0, at),
            Instruction(STORE64, 2 | 5 << 4, at, 0),
        ]);
    }
    program.extend([set(0, verdict as i32), EXIT]);
    load_program(&program)
}

fn load_program(program: &[Instruction]) -> Result<OwnedFd, Failure> {
    let (instructions, license) = (address(program.as_ptr()), address(c"GPL".as_ptr()));
    let mut log = vec![0u8; 1 << 16];
    let into = address(log.as_mut_ptr());
    let attribute = [
        PROG_TYPE_XDP,
        u32::try_from(program.len())?,
        instructions[0],
        instructions[1],
        license[0],
        license[1],
        1,
        u32::try_from(log.len())?,
        into[0],
        into[1],
    ];
    // SAFETY: the instructions, the licence and the log are there, and as long as is said.
    let loaded = unsafe { bpf(PROG_LOAD, &attribute) };
    let fd = loaded.map_err(|error| {
        let said = String::from_utf8_lossy(&log);
        format!("{error}: {}", said.trim_end_matches('\0'))
    })?;
    // SAFETY: the descriptor is new, and nobody else's.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Lets a device hand what it receives to its stack through XDP, in the driver, which makes it one that frames can be sent into.
/// As long as what this gives is there.
pub(crate) fn prepare(device: u32) -> Result<[OwnedFd; 2], Failure> {
    let program = load_program(&[set(0, Verdict::Pass as i32), EXIT])?;
    let attribute = [
        program.as_raw_fd() as u32,
        device,
        ATTACH_XDP,
        XDP_IN_THE_DRIVER,
    ];
    // SAFETY: no address is in it. The descriptor is new, and nobody else's.
    let link = unsafe { OwnedFd::from_raw_fd(bpf(LINK_CREATE, &attribute)?) };
    Ok([program, link])
}

/// Frames that are ready to be sent, in their order.
pub(crate) struct Frames {
    frames: Array,
    next: Array,
    passes: OwnedFd,
    drops: OwnedFd,
    number: usize,
}

impl Frames {
    /// Room for so many.
    pub(crate) fn new(number: usize) -> Result<Frames, Failure> {
        let (frames, next) = (Array::new(FRAME, number)?, Array::new(8, 1)?);
        Ok(Frames {
            passes: load_writer(&frames, &next, Verdict::Pass)?,
            drops: load_writer(&frames, &next, Verdict::Drop)?,
            frames,
            next,
            number,
        })
    }

    /// Writes all of them anew.
    pub(crate) fn write(&mut self, mut write: impl FnMut(&mut [u8; FRAME])) {
        let (frames, _) = self.frames.bytes().as_chunks_mut();
        frames.iter_mut().take(self.number).for_each(&mut write);
    }

    /// Sends all of them into a prepared device of this thread's network namespace, in batches of so many; answers the
    /// nanoseconds of one, all that the kernel does with it on this core included.
    pub(crate) fn run(
        &mut self,
        device: u32,
        verdict: Verdict,
        batch: usize,
    ) -> Result<f64, Failure> {
        self.next.bytes()[..8].fill(0);
        let program: RawFd = match verdict {
            Verdict::Drop => self.drops.as_raw_fd(),
            Verdict::Pass => self.passes.as_raw_fd(),
        };
        let bytes = [0u8; FRAME];
        // struct xdp_md: data, data_end, data_meta, ingress_ifindex, rx_queue_index, egress_ifindex.
        let context = [0, FRAME as u32, 0, device, 0, 0];
        let (data, context_at) = (address(bytes.as_ptr()), address(context.as_ptr()));
        let attribute = [
            program as u32,
            0,
            FRAME as u32,
            0,
            data[0],
            data[1],
            0,
            0,
            u32::try_from(self.number)?,
            0,
            size_of_val(&context) as u32,
            0,
            context_at[0],
            context_at[1],
            0,
            0,
            LIVE_FRAMES,
            0,
            u32::try_from(batch)?,
            0,
        ];
        let start = std::time::Instant::now();
        // SAFETY: the bytes and the context are there, and as long as is said; nothing is written to them. What the program
        // writes lies in the arrays, which are borrowed mutably.
        unsafe { bpf(PROG_TEST_RUN, &attribute)? };
        Ok(start.elapsed().as_nanos() as f64 / self.number as f64)
    }
}
