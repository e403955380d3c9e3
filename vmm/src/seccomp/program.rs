//! From rules to a classic BPF program for seccomp(2) (Linux: Documentation/userspace-api/seccomp_filter.rst).
//!
//! Each time a thread puts a filter on, the kernel translates it, and runs it once for every system call there is to
//! learn which it always allows. A chain of comparisons makes that a millisecond a thread, so the calls without
//! conditions are a bitmap: a comparison and a test for 32 calls.

use seccompiler::sock_filter;

use super::rules::{Rules, When};

/// `AUDIT_ARCH_X86_64`.
const ARCH: u32 = 0xc000_003e;
/// Where `struct seccomp_data` has the call's number, the architecture and the low half of the first argument.
const NUMBER: u32 = 0;
const ARCHITECTURE: u32 = 4;
const ARGUMENTS: u32 = 16;

/// Operations of classic BPF on the accumulator A (Linux: `include/uapi/linux/filter.h`).
const LOAD: u16 = 0x20;
const SET: u16 = 0x00;
const AND: u16 = 0x54;
const SHIFT_RIGHT: u16 = 0x74;
const SHIFT_LEFT_BY_X: u16 = 0x6c;
const A_TO_X: u16 = 0x07;
const IF_EQUAL: u16 = 0x15;
const IF_ANY_BIT: u16 = 0x45;
const IF_ANY_BIT_OF_X: u16 = 0x4d;
const RETURN: u16 = 0x06;

/// A program that returns `allow` for the calls of `rules` and `refuse` for all others; `None` where it would need a
/// jump over more than 255 instructions.
pub(super) fn compile(rules: &Rules, allow: u32, refuse: u32) -> Option<Vec<sock_filter>> {
    let mut program = vec![
        step(LOAD, ARCHITECTURE),
        branch(IF_EQUAL, ARCH, 1, 0),
        step(RETURN, refuse),
        // X = 1 << number % 32, A = number / 32: numbers of the x32 ABI are in no word.
        step(LOAD, NUMBER),
        step(AND, 31),
        step(A_TO_X, 0),
        step(SET, 1),
        step(SHIFT_LEFT_BY_X, 0),
        step(A_TO_X, 0),
        step(LOAD, NUMBER),
        step(SHIFT_RIGHT, 5),
    ];
    let words = words(&rules.always);
    for (index, (word, bits)) in words.iter().enumerate() {
        let to_conditions = u8::try_from(4 * (words.len() - index - 1) + 1).ok()?;
        program.push(branch(IF_EQUAL, *word, 0, 3));
        program.push(step(SET, *bits));
        program.push(branch(IF_ANY_BIT_OF_X, 0, 0, to_conditions));
        program.push(step(RETURN, allow));
    }
    program.push(step(LOAD, NUMBER));
    for (call, argument, when) in &rules.when {
        let mut tests = vec![step(LOAD, ARGUMENTS + 8 * u32::from(*argument))];
        match when {
            When::OneOf(values) => {
                for (index, value) in values.iter().enumerate() {
                    tests.push(branch(IF_EQUAL, *value, u8::try_from(values.len() - index).ok()?, 0));
                }
            }
            When::Without(bits) => tests.push(branch(IF_ANY_BIT, *bits, 0, 1)),
        }
        tests.extend([step(RETURN, refuse), step(RETURN, allow)]);
        program.push(branch(IF_EQUAL, *call, 0, u8::try_from(tests.len()).ok()?));
        program.append(&mut tests);
    }
    program.push(step(RETURN, refuse));
    Some(program)
}

/// The calls as bits: number / 32, and a bit for number % 32. Words without a bit are left out.
fn words(calls: &[u32]) -> Vec<(u32, u32)> {
    let mut words: Vec<(u32, u32)> = Vec::new();
    for call in calls {
        let (word, bit) = (call / 32, 1 << (call % 32));
        match words.iter_mut().find(|(known, _)| *known == word) {
            Some((_, bits)) => *bits |= bit,
            None => words.push((word, bit)),
        }
    }
    words
}

fn step(code: u16, k: u32) -> sock_filter {
    branch(code, k, 0, 0)
}

/// `jt` and `jf` are how many instructions are passed over where the condition holds and where it does not.
fn branch(code: u16, k: u32, jt: u8, jf: u8) -> sock_filter {
    sock_filter { code, jt, jf, k }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seccomp::{Role, rules};

    const ALLOW: u32 = 0x7fff_0000;
    const REFUSE: u32 = 0x8000_0000;

    /// Runs a program as the kernel does. `data` is `struct seccomp_data` in words.
    fn run(program: &[sock_filter], data: &[u32; 16]) -> u32 {
        let (mut a, mut x, mut at) = (0_u32, 0_u32, 0);
        loop {
            let sock_filter { code, jt, jf, k } = program[at];
            at += 1;
            let mut jump = |holds: bool| at += usize::from(if holds { jt } else { jf });
            match code {
                LOAD => a = data[k as usize / 4],
                SET => a = k,
                AND => a &= k,
                SHIFT_RIGHT => a >>= k,
                SHIFT_LEFT_BY_X => a <<= x,
                A_TO_X => x = a,
                IF_EQUAL => jump(a == k),
                IF_ANY_BIT => jump(a & k != 0),
                IF_ANY_BIT_OF_X => jump(a & x != 0),
                RETURN => return k,
                other => panic!("{other:#x}"),
            }
        }
    }

    fn call(number: u32, arguments: [u64; 6]) -> [u32; 16] {
        let mut data = [0; 16];
        (data[0], data[1]) = (number, ARCH);
        for (index, argument) in arguments.into_iter().enumerate() {
            data[4 + 2 * index] = u32::try_from(argument & u64::from(u32::MAX)).unwrap();
            data[5 + 2 * index] = u32::try_from(argument >> 32).unwrap();
        }
        data
    }

    /// Whether the rules let a call through, by the rules themselves.
    fn allowed(rules: &Rules, data: &[u32; 16]) -> bool {
        let holds = |argument: u8, when: &When| {
            let value = data[4 + 2 * usize::from(argument)];
            match when {
                When::OneOf(values) => values.contains(&value),
                When::Without(bits) => value & bits == 0,
            }
        };
        rules.always.contains(&data[0])
            || rules.when.iter().any(|(call, argument, when)| *call == data[0] && holds(*argument, when))
    }

    #[test]
    fn operations_are_the_kernels() {
        use libc::*;
        let kernels = [
            (LOAD, BPF_LD | BPF_W | BPF_ABS),
            (SET, BPF_LD | BPF_IMM),
            (AND, BPF_ALU | BPF_AND | BPF_K),
            (SHIFT_RIGHT, BPF_ALU | BPF_RSH | BPF_K),
            (SHIFT_LEFT_BY_X, BPF_ALU | BPF_LSH | BPF_X),
            (A_TO_X, BPF_MISC | BPF_TAX),
            (IF_EQUAL, BPF_JMP | BPF_JEQ | BPF_K),
            (IF_ANY_BIT, BPF_JMP | BPF_JSET | BPF_K),
            (IF_ANY_BIT_OF_X, BPF_JMP | BPF_JSET | BPF_X),
            (RETURN, BPF_RET | BPF_K),
        ];
        for (ours, kernels) in kernels {
            assert_eq!(u32::from(ours), kernels);
        }
    }

    #[test]
    fn programs_say_what_the_rules_say() {
        let values = [0, 1, 2, 3, 4, 7, 0xae80, 0x5401, 1030, u32::MAX, std::process::id()];
        let values: Vec<u64> = values.into_iter().map(u64::from).chain([1 << 32, u64::MAX]).collect();
        for role in Role::ALL {
            let rules = rules::of(role);
            let program = compile(&rules, ALLOW, REFUSE).unwrap();
            let mut let_through = 0;
            for number in (0..1024).chain([0x4000_0000, 0x4000_0001, 0x4000_0010, u32::MAX]) {
                for value in &values {
                    let data = call(number, [*value; 6]);
                    let expected = if allowed(&rules, &data) { ALLOW } else { REFUSE };
                    assert_eq!(run(&program, &data), expected, "{role:?} {number} {value:#x}");
                    let_through += usize::from(expected == ALLOW);
                }
            }
            assert!(let_through > rules.always.len() * values.len(), "{role:?} {let_through}");
        }
    }

    #[test]
    fn only_the_argument_with_the_condition_counts_and_only_its_low_half() {
        let rules =
            Rules { always: vec![], when: vec![(16, 1, When::OneOf(vec![5, 6])), (9, 2, When::Without(4))] };
        let program = compile(&rules, ALLOW, REFUSE).unwrap();
        let answers = |number, arguments| run(&program, &call(number, arguments)) == ALLOW;
        assert!(answers(16, [9, 5, 9, 9, 9, 9]) && answers(16, [9, 6 | 1 << 32, 9, 9, 9, 9]));
        assert!(!answers(16, [5, 9, 5, 5, 5, 5]) && !answers(16, [5, 5 << 32, 5, 5, 5, 5]));
        assert!(answers(9, [4, 4, 3, 4, 4, 4]) && !answers(9, [0, 0, 7, 0, 0, 0]));
    }

    #[test]
    fn another_architecture_may_nothing() {
        let rules = rules::of(Role::Stdio);
        let program = compile(&rules, ALLOW, REFUSE).unwrap();
        for arch in [0, 0x4000_0003, 0xc000_00b7] {
            for number in 0..512 {
                let mut data = call(number, [0; 6]);
                data[1] = arch;
                assert_eq!(run(&program, &data), REFUSE, "{arch:#x} {number}");
            }
        }
    }

    #[test]
    fn every_jump_stays_inside() {
        for role in Role::ALL {
            let program = compile(&rules::of(role), ALLOW, REFUSE).unwrap();
            assert!(program.len() < 128, "{role:?} {}", program.len());
            for (at, filter) in program.iter().enumerate() {
                let next = at + 1 + usize::from(filter.jt.max(filter.jf));
                assert!(filter.code == RETURN || next < program.len(), "{role:?} {at}");
            }
        }
        let many = Rules { always: (0..80).map(|word| word * 32).collect(), when: vec![] };
        assert!(compile(&many, ALLOW, REFUSE).is_none());
    }
}
