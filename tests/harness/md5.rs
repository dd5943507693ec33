//! MD5, to search for it: no crate here has it, and none should.

pub fn md5(text: &[u8]) -> [u8; 16] {
    const SHIFTS: [[u32; 4]; 4] = [[7, 12, 17, 22], [5, 9, 14, 20], [4, 11, 16, 23], [6, 10, 15, 21]];
    let mut padded = text.to_vec();
    padded.push(0x80);
    padded.resize(padded.len().next_multiple_of(64), 0);
    if (text.len() % 64) >= 56 {
        padded.resize(padded.len() + 64, 0);
    }
    let end = padded.len() - 8;
    padded[end..].copy_from_slice(&(text.len() as u64 * 8).to_le_bytes());
    let mut state = [0x6745_2301_u32, 0xefcd_ab89, 0x98ba_dcfe, 0x1032_5476];
    for block in padded.chunks_exact(64) {
        let word = |i: usize| u32::from_le_bytes(block[i * 4..i * 4 + 4].try_into().unwrap());
        let [mut a, mut b, mut c, mut d] = state;
        for i in 0..64_usize {
            let (mix, at) = match i / 16 {
                0 => ((b & c) | (!b & d), i),
                1 => ((d & b) | (!d & c), (5 * i + 1) % 16),
                2 => (b ^ c ^ d, (3 * i + 5) % 16),
                _ => (c ^ (b | !d), (7 * i) % 16),
            };
            #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
            let constant = (((i + 1) as f64).sin().abs() * 4_294_967_296.0) as u32;
            let sum = a.wrapping_add(mix).wrapping_add(constant).wrapping_add(word(at));
            (a, d, c) = (d, c, b);
            b = b.wrapping_add(sum.rotate_left(SHIFTS[i / 16][i % 4]));
        }
        for (old, new) in state.iter_mut().zip([a, b, c, d]) {
            *old = old.wrapping_add(new);
        }
    }
    let mut out = [0; 16];
    for (to, from) in out.chunks_exact_mut(4).zip(state) {
        to.copy_from_slice(&from.to_le_bytes());
    }
    out
}

#[test]
fn is_md5() {
    let hex = |text: &str| md5(text.as_bytes()).map(|b| format!("{b:02x}")).concat();
    assert_eq!(hex(""), "d41d8cd98f00b204e9800998ecf8427e");
    assert_eq!(hex("message digest"), "f96b697d7cb7938d525a2f31aaf161d0");
    let long = "12345678901234567890123456789012345678901234567890123456789012345678901234567890";
    assert_eq!(hex(long), "57edf4a22be3c955ac49da2e2107b67a");
    assert_eq!(hex(&"a".repeat(56)), "3b0c8ac703f828b04c6c197006d17218");
}
