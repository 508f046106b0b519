//! The classic BPF: programs that say whether a packet is wanted (McCanne and Jacobson, "The BSD Packet Filter", 1993), as libpcap and
//! tcpdump compile them from filters that people write.
//!
//! A program is checked once, and then runs on any bytes without a fault: jumps lead forward, so that it ends; memory has 16 words; a
//! look behind the packet's end says that it is not wanted.

/// Words of scratch memory.
const MEMORY: usize = 16;
/// The most instructions of a program, as in Linux and BSD.
pub const MOST_INSTRUCTIONS: usize = 4096;

/// One instruction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Instruction {
    /// What to do.
    pub code: u16,
    /// Instructions to skip where a comparison holds.
    pub jump_true: u8,
    /// Instructions to skip where it does not.
    pub jump_false: u8,
    /// The operand.
    pub operand: u32,
}

/// Why instructions are no program. Instructions count from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProgramError {
    /// There are none, or more than [`MOST_INSTRUCTIONS`].
    #[error("a program has from 1 to {MOST_INSTRUCTIONS} instructions, not {0}")]
    Length(usize),
    /// There is no such instruction.
    #[error("instruction {at}: there is no code {code:#06x}")]
    Code {
        /// Which.
        at: usize,
        /// What it says.
        code: u16,
    },
    /// It leads behind the end.
    #[error("instruction {0} leads behind the program's end")]
    Jump(usize),
    /// It names a word of memory that is not there.
    #[error("instruction {0} names a word of memory beyond the {MEMORY} that there are")]
    Memory(usize),
    /// It divides by zero.
    #[error("instruction {0} divides by zero")]
    Division(usize),
    /// The program does not end with an answer.
    #[error("the last instruction gives no answer")]
    NoAnswer,
    /// A text is no list of instructions.
    #[error("line {0}: expected an instruction, four numbers with blanks between")]
    Text(usize),
}

/// A program that was checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Program(Box<[Instruction]>);

// The parts of a code: class, size, mode, operation, source (net/bpf.h of BSD).
const LD: u16 = 0x00;
const LDX: u16 = 0x01;
const ST: u16 = 0x02;
const STX: u16 = 0x03;
const ALU: u16 = 0x04;
const JMP: u16 = 0x05;
const RET: u16 = 0x06;
const MISC: u16 = 0x07;

impl Program {
    /// Checks a program.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn new(instructions: &[Instruction]) -> Result<Program, ProgramError> {
        let length = instructions.len();
        if length == 0 || length > MOST_INSTRUCTIONS {
            return Err(ProgramError::Length(length));
        }
        for (at, instruction) in instructions.iter().enumerate() {
            check(at, instruction, length)?;
        }
        match instructions.last().map(|last| last.code & 0x07) {
            Some(RET) => Ok(Program(instructions.into())),
            _ => Err(ProgramError::NoAnswer),
        }
    }

    /// Reads what `tcpdump -ddd` writes: the number of instructions, and then one a line, in decimal numbers.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn from_text(text: &str) -> Result<Program, ProgramError> {
        let mut instructions = Vec::new();
        for (number, line) in text.lines().enumerate().skip(1) {
            let wrong = ProgramError::Text(number + 1);
            let mut words = line.split_ascii_whitespace();
            let mut word = || words.next().ok_or(wrong);
            let instruction = Instruction {
                code: word()?.parse().map_err(|_| wrong)?,
                jump_true: word()?.parse().map_err(|_| wrong)?,
                jump_false: word()?.parse().map_err(|_| wrong)?,
                operand: word()?.parse().map_err(|_| wrong)?,
            };
            instructions.push(instruction);
        }
        Program::new(&instructions)
    }

    /// The instructions.
    pub fn instructions(&self) -> &[Instruction] {
        &self.0
    }

    /// Runs the program on a frame: 0 where it is not wanted, else how many bytes of it are. Cost: the instructions, each once at
    /// most.
    pub fn run(&self, frame: &[u8]) -> u32 {
        let (mut a, mut x) = (0_u32, 0_u32);
        let mut memory = [0_u32; MEMORY];
        let mut next = 0;
        // A program that was checked ends with an answer.
        while let Some(instruction) = self.0.get(next) {
            next += 1;
            let Instruction {
                code,
                jump_true,
                jump_false,
                operand: k,
            } = *instruction;
            match code & 0x07 {
                LD | LDX => {
                    let value = match code & 0xe0 {
                        0x00 => Some(k),
                        0x20 => load(frame, code, k),
                        0x40 => k.checked_add(x).and_then(|at| load(frame, code, at)),
                        0x60 => memory.get(k as usize).copied(),
                        0x80 => Some(frame.len() as u32),
                        // The length of an IPv4 header.
                        _ => frame.get(k as usize).map(|byte| u32::from(byte & 0x0f) * 4),
                    };
                    let Some(value) = value else { return 0 };
                    match code & 0x07 {
                        LD => a = value,
                        _ => x = value,
                    }
                }
                ST | STX => {
                    if let Some(word) = memory.get_mut(k as usize) {
                        *word = if code & 0x07 == ST { a } else { x };
                    }
                }
                ALU => {
                    let operand = if code & 0x08 == 0 { k } else { x };
                    a = match code & 0xf0 {
                        0x00 => a.wrapping_add(operand),
                        0x10 => a.wrapping_sub(operand),
                        0x20 => a.wrapping_mul(operand),
                        0x30 => match a.checked_div(operand) {
                            Some(quotient) => quotient,
                            None => return 0,
                        },
                        0x40 => a | operand,
                        0x50 => a & operand,
                        0x60 => a.checked_shl(operand).unwrap_or(0),
                        0x70 => a.checked_shr(operand).unwrap_or(0),
                        0x80 => a.wrapping_neg(),
                        0x90 => match a.checked_rem(operand) {
                            Some(rest) => rest,
                            None => return 0,
                        },
                        _ => a ^ operand,
                    };
                }
                JMP => {
                    let operand = if code & 0x08 == 0 { k } else { x };
                    let holds = match code & 0xf0 {
                        0x00 => {
                            next = next.saturating_add(k as usize);
                            continue;
                        }
                        0x10 => a == operand,
                        0x20 => a > operand,
                        0x30 => a >= operand,
                        _ => a & operand != 0,
                    };
                    next += usize::from(if holds { jump_true } else { jump_false });
                }
                RET => return if code & 0x18 == 0x10 { a } else { k },
                _ => match code & 0xf8 {
                    0x00 => x = a,
                    _ => a = x,
                },
            }
        }
        0
    }
}

/// A word, half a word or a byte of a frame.
fn load(frame: &[u8], code: u16, at: u32) -> Option<u32> {
    let bytes = frame.get(at as usize..)?;
    match code & 0x18 {
        0x00 => bytes.first_chunk().map(|word| u32::from_be_bytes(*word)),
        0x08 => bytes
            .first_chunk()
            .map(|half| u32::from(u16::from_be_bytes(*half))),
        _ => bytes.first().map(|byte| u32::from(*byte)),
    }
}

fn check(at: usize, instruction: &Instruction, length: usize) -> Result<(), ProgramError> {
    let Instruction {
        code,
        jump_true,
        jump_false,
        operand: k,
    } = *instruction;
    let behind = length - at - 1;
    let is_known = match code & 0x07 {
        // Immediate, absolute, indirect, memory, length.
        LD => matches!(
            code,
            0x00 | 0x20 | 0x28 | 0x30 | 0x40 | 0x48 | 0x50 | 0x60 | 0x80
        ),
        LDX => matches!(code, 0x01 | 0x61 | 0x81 | 0xb1),
        ST | STX => matches!(code, 0x02 | 0x03),
        ALU => code & 0xff00 == 0 && code & 0xf0 <= 0xa0 && (code & 0xf0 != 0x80 || code == 0x84),
        JMP => code & 0xff00 == 0 && code & 0xf0 <= 0x40 && code != 0x0d,
        RET => matches!(code, 0x06 | 0x16),
        MISC => matches!(code, 0x07 | 0x87),
        _ => false,
    };
    if !is_known {
        return Err(ProgramError::Code { at, code });
    }
    match code & 0x07 {
        LD | LDX if code & 0xe0 == 0x60 && k as usize >= MEMORY => Err(ProgramError::Memory(at)),
        ST | STX if k as usize >= MEMORY => Err(ProgramError::Memory(at)),
        ALU if matches!(code, 0x34 | 0x94) && k == 0 => Err(ProgramError::Division(at)),
        JMP if code == 0x05 && k as usize >= behind => Err(ProgramError::Jump(at)),
        JMP if code != 0x05 && usize::from(jump_true.max(jump_false)) >= behind => {
            Err(ProgramError::Jump(at))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `tcpdump -ddd -y EN10MB 'ip and tcp dst port 443'`.
    const HTTPS: &str = "11
40 0 0 12
21 0 8 2048
48 0 0 23
21 0 6 6
40 0 0 20
69 4 0 8191
177 0 0 14
72 0 0 16
21 0 1 443
6 0 0 262144
6 0 0 0
";

    fn instruction(code: u16, jump_true: u8, jump_false: u8, operand: u32) -> Instruction {
        Instruction {
            code,
            jump_true,
            jump_false,
            operand,
        }
    }

    fn https(port: u16) -> Vec<u8> {
        let mut frame = vec![0; 54];
        frame[12..14].copy_from_slice(&[8, 0]);
        frame[14] = 0x45;
        frame[23] = 6;
        frame[36..38].copy_from_slice(&port.to_be_bytes());
        frame
    }

    #[test]
    fn a_compiled_filter_takes_what_it_means() {
        let program = Program::from_text(HTTPS).unwrap();
        assert_eq!(program.run(&https(443)), 262_144);
        assert_eq!(program.run(&https(80)), 0);
        assert_eq!(program.run(&https(443)[..30]), 0);
        assert_eq!(program.run(&[]), 0);
    }

    #[test]
    fn what_is_no_program_is_refused() {
        let ret = instruction(0x06, 0, 0, 1);
        for (instructions, error) in [
            (vec![], ProgramError::Length(0)),
            (
                vec![ret; MOST_INSTRUCTIONS + 1],
                ProgramError::Length(MOST_INSTRUCTIONS + 1),
            ),
            (vec![instruction(0x20, 0, 0, 0)], ProgramError::NoAnswer),
            (
                vec![instruction(0xff, 0, 0, 0), ret],
                ProgramError::Code { at: 0, code: 0xff },
            ),
            (vec![instruction(0x05, 0, 0, 1), ret], ProgramError::Jump(0)),
            (vec![instruction(0x15, 0, 1, 1), ret], ProgramError::Jump(0)),
            (
                vec![instruction(0x02, 0, 0, 16), ret],
                ProgramError::Memory(0),
            ),
            (
                vec![instruction(0x34, 0, 0, 0), ret],
                ProgramError::Division(0),
            ),
        ] {
            assert_eq!(Program::new(&instructions), Err(error));
        }
        assert_eq!(Program::from_text("1\n6 0 0"), Err(ProgramError::Text(2)));
    }

    /// No program and no frame makes it fail, and every one ends.
    #[test]
    fn no_program_panics() {
        let mut state = 1_u64;
        let mut number = move || {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            (state >> 33) as u32
        };
        let codes: Vec<u16> = (0..0x100).collect();
        let mut ran = 0;
        for _ in 0..20_000 {
            let mut instructions: Vec<_> = (0..number() % 12)
                .map(|_| {
                    let operand = match number() % 3 {
                        0 => number(),
                        _ => number() % 20,
                    };
                    let code = codes[number() as usize % codes.len()];
                    instruction(code, (number() % 4) as u8, (number() % 4) as u8, operand)
                })
                .collect();
            instructions.push(instruction(0x16, 0, 0, 0));
            if let Ok(program) = Program::new(&instructions) {
                let frame: Vec<u8> = (0..number() % 40).map(|byte| byte as u8).collect();
                program.run(&frame);
                ran += 1;
            }
        }
        assert!(ran > 100, "{ran} programs ran");
    }
}
