//! Shapes of the tables of the driver in miniature, and its source of choices.

use crate::support::bench::Shape;

pub(super) fn granule(choice: u32) -> u32 {
    [12, 14, 16][choice as usize % 3]
}

pub(super) fn stage1_shape(granule: u32) -> Shape {
    let start = match granule {
        12 => 39,
        14 => 47,
        _ => 42,
    };
    Shape {
        granule,
        start,
        bits: 48,
    }
}

pub(super) fn stage2_shape(granule: u32) -> Shape {
    let start = match granule {
        12 => 30,
        14 => 36,
        _ => 29,
    };
    Shape {
        granule,
        start,
        bits: 39,
    }
}

/// Bits number `n` that random bits stand for; those of different numbers have nothing in common.
pub(super) fn mix(random: u64, n: u64) -> u64 {
    let z = (random ^ n.wrapping_mul(0x9e37_79b9_7f4a_7c15)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    (z ^ z >> 29).wrapping_mul(0x94d0_49bb_1331_11eb) >> 16
}

/// log2 of a level-2 block.
pub(super) fn block(granule: u32) -> u32 {
    2 * granule - 3
}

/// log2 of the pages of a contiguous region.
pub(super) fn contiguous_log2(granule: u32) -> u32 {
    match granule {
        12 => 4,
        14 => 7,
        _ => 5,
    }
}
