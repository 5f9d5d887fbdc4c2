//! Vectors without structure: starts of iterations and perturbations that no pattern of the data is orthogonal to.

/// Entry `i` of the vector of this seed: between 1/2 and 1 in magnitude, of a random sign; the same every time. A counter
/// through the mixing function of splitmix64 (Steele, Lea & Flood, OOPSLA 2014).
pub(crate) fn probe(seed: u64, i: usize) -> f64 {
    let mut z =
        (i as u64).wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ seed.wrapping_mul(0xD1B5_4A32_D192_ED03);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^= z >> 31;
    let size = 0.5 + (z >> 12) as f64 / (1u64 << 53) as f64;
    if z & 1 == 0 { size } else { -size }
}
