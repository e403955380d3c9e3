//! SHA-256 (FIPS 180-4) in plain arithmetic: the stub can ask no processor what it has, since CPUID would trap, and the less a
//! verifier has to read the better.

use core::iter::zip;

/// Bytes of a block.
const BLOCK: usize = 64;

const INITIAL: [u32; 8] =
    [0x6a09_e667, 0xbb67_ae85, 0x3c6e_f372, 0xa54f_f53a, 0x510e_527f, 0x9b05_688c, 0x1f83_d9ab, 0x5be0_cd19];

#[rustfmt::skip]
const ROUND: [u32; 64] = [
    0x428a_2f98, 0x7137_4491, 0xb5c0_fbcf, 0xe9b5_dba5, 0x3956_c25b, 0x59f1_11f1, 0x923f_82a4, 0xab1c_5ed5,
    0xd807_aa98, 0x1283_5b01, 0x2431_85be, 0x550c_7dc3, 0x72be_5d74, 0x80de_b1fe, 0x9bdc_06a7, 0xc19b_f174,
    0xe49b_69c1, 0xefbe_4786, 0x0fc1_9dc6, 0x240c_a1cc, 0x2de9_2c6f, 0x4a74_84aa, 0x5cb0_a9dc, 0x76f9_88da,
    0x983e_5152, 0xa831_c66d, 0xb003_27c8, 0xbf59_7fc7, 0xc6e0_0bf3, 0xd5a7_9147, 0x06ca_6351, 0x1429_2967,
    0x27b7_0a85, 0x2e1b_2138, 0x4d2c_6dfc, 0x5338_0d13, 0x650a_7354, 0x766a_0abb, 0x81c2_c92e, 0x9272_2c85,
    0xa2bf_e8a1, 0xa81a_664b, 0xc24b_8b70, 0xc76c_51a3, 0xd192_e819, 0xd699_0624, 0xf40e_3585, 0x106a_a070,
    0x19a4_c116, 0x1e37_6c08, 0x2748_774c, 0x34b0_bcb5, 0x391c_0cb3, 0x4ed8_aa4a, 0x5b9c_ca4f, 0x682e_6ff3,
    0x748f_82ee, 0x78a5_636f, 0x84c8_7814, 0x8cc7_0208, 0x90be_fffa, 0xa450_6ceb, 0xbef9_a3f7, 0xc671_78f2,
];

/// The hash of some bytes.
#[must_use]
pub fn sha256(bytes: &[u8]) -> [u8; 32] {
    let mut state = INITIAL;
    let (blocks, rest) = bytes.as_chunks::<BLOCK>();
    blocks.iter().for_each(|block| compress(&mut state, block));
    let mut last = [[0; BLOCK]; 2];
    // The rest, a one bit, zeros, and at the end the number of bits.
    let padded = last.as_flattened_mut();
    zip(padded.iter_mut(), rest.iter().chain(&[0x80])).for_each(|(place, byte)| *place = *byte);
    let used = if rest.len() < BLOCK - 8 { 1 } else { 2 };
    let bits = (bytes.len() as u64).wrapping_mul(8).to_be_bytes();
    zip(padded.iter_mut().take(used * BLOCK).rev(), bits.iter().rev())
        .for_each(|(place, byte)| *place = *byte);
    last.iter().take(used).for_each(|block| compress(&mut state, block));
    let mut hash = [0; 32];
    zip(hash.chunks_exact_mut(4), state).for_each(|(place, word)| place.copy_from_slice(&word.to_be_bytes()));
    hash
}

fn compress(state: &mut [u32; 8], block: &[u8; BLOCK]) {
    // The last 16 words of the schedule, a ring.
    let mut words = [0_u32; 16];
    zip(&mut words, block.as_chunks::<4>().0).for_each(|(word, bytes)| *word = u32::from_be_bytes(*bytes));
    let [mut a, mut b, mut c, mut d, mut e, mut f, mut g, mut h] = *state;
    for (round, constant) in ROUND.iter().enumerate() {
        if round >= 16 {
            let at = |back: usize| words[(round - back) % 16];
            let (early, late) = (at(15), at(2));
            let early = early.rotate_right(7) ^ early.rotate_right(18) ^ (early >> 3);
            let late = late.rotate_right(17) ^ late.rotate_right(19) ^ (late >> 10);
            words[round % 16] = at(16).wrapping_add(early).wrapping_add(at(7)).wrapping_add(late);
        }
        let choice = (e & f) ^ (!e & g);
        let spread = e.rotate_right(6) ^ e.rotate_right(11) ^ e.rotate_right(25);
        let one = h
            .wrapping_add(spread)
            .wrapping_add(choice)
            .wrapping_add(*constant)
            .wrapping_add(words[round % 16]);
        let majority = (a & b) ^ (a & c) ^ (b & c);
        let other = (a.rotate_right(2) ^ a.rotate_right(13) ^ a.rotate_right(22)).wrapping_add(majority);
        (h, g, f, e, d, c, b, a) = (g, f, e, d.wrapping_add(one), c, b, a, one.wrapping_add(other));
    }
    zip(state, [a, b, c, d, e, f, g, h]).for_each(|(word, value)| *word = word.wrapping_add(value));
}
