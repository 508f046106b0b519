//! The lookup with vectors of 512 bits: 16 IPv4 or 8 IPv6 addresses at once, in groups whose levels are read in step, so that
//! many reads of memory are under way at a time.

use std::arch::x86_64::*;

use super::chunk::{HEADER, STRIDE, Slot};
use super::key::Key;
use super::lookup::View;

/// Whether this processor has what the lookups here use. The answer is remembered by the standard library.
pub(super) fn is_available() -> bool {
    is_x86_feature_detected!("avx512f")
        && is_x86_feature_detected!("avx512dq")
        && is_x86_feature_detected!("avx512vl")
        && is_x86_feature_detected!("avx512vpopcntdq")
}

/// The vectors of a group.
const GROUP: usize = 4;

/// The first `count` of 16 lanes.
fn lanes16(count: usize) -> __mmask16 {
    match count {
        0..16 => (1 << count) - 1,
        _ => !0,
    }
}

/// The first `count` of 8 lanes.
fn lanes8(count: usize) -> __mmask8 {
    match count {
        0..8 => (1 << count) - 1,
        _ => !0,
    }
}

/// The offsets of runs within chunks: those of the words of `slot`, given the bitmaps.
#[target_feature(enable = "avx512f,avx512dq,avx512vl,avx512vpopcntdq")]
#[inline]
fn rank(bitmaps: __m512i, slot: __m512i) -> __m256i {
    let behind = _mm512_sub_epi64(_mm512_set1_epi64(63), slot);
    let upto = _mm512_srlv_epi64(_mm512_set1_epi64(-1), behind);
    _mm512_cvtepi64_epi32(_mm512_popcnt_epi64(_mm512_and_si512(bitmaps, upto)))
}

/// One level down for 16 addresses, in the lanes of `active`, whose slots lead to chunks.
///
/// # Safety
///
/// The slots of active lanes are the trie's: they lead to chunks that lie within `words`.
#[target_feature(enable = "avx512f,avx512dq,avx512vl,avx512vpopcntdq")]
#[inline]
unsafe fn step16(
    words: *const u32,
    keys: __m512i,
    slots: __m512i,
    active: __mmask16,
    depth: u8,
) -> __m512i {
    let at = _mm512_and_si512(slots, _mm512_set1_epi32(!Slot::CHUNK as i32));
    let shifted = _mm512_sll_epi32(keys, _mm_cvtsi32_si128(i32::from(depth)));
    let slot = _mm512_srli_epi32::<{ 32 - STRIDE as u32 }>(shifted);
    let (at_low, at_high) = (
        _mm512_castsi512_si256(at),
        _mm512_extracti64x4_epi64::<1>(at),
    );
    let none = _mm512_setzero_si512();
    // SAFETY: 8 bytes of bitmap at the beginning of each active lane's chunk; offsets are below 2³¹ words.
    let (low, high) = unsafe {
        (
            _mm512_mask_i32gather_epi64::<4>(none, active as u8, at_low, words.cast()),
            _mm512_mask_i32gather_epi64::<4>(none, (active >> 8) as u8, at_high, words.cast()),
        )
    };
    let slot_low = _mm512_cvtepu32_epi64(_mm512_castsi512_si256(slot));
    let slot_high = _mm512_cvtepu32_epi64(_mm512_extracti64x4_epi64::<1>(slot));
    let ranks = _mm512_inserti64x4::<1>(
        _mm512_castsi256_si512(rank(low, slot_low)),
        rank(high, slot_high),
    );
    let index = _mm512_add_epi32(
        _mm512_add_epi32(at, ranks),
        _mm512_set1_epi32(HEADER as i32 - 1),
    );
    // SAFETY: the word of a run that the bitmap says is there.
    unsafe { _mm512_mask_i32gather_epi32::<4>(slots, active, index, words.cast()) }
}

/// Whether a whole group asks for one address, as packets of one flow do: then one lookup answers for all.
#[target_feature(enable = "avx512f")]
#[inline]
fn all_equal4(group: &[u32]) -> bool {
    let first = _mm512_set1_epi32(group[0] as i32);
    group.chunks_exact(16).all(|keys| {
        // SAFETY: 16 keys of 32 bits.
        let keys = unsafe { _mm512_loadu_epi32(keys.as_ptr().cast()) };
        _mm512_cmpeq_epi32_mask(keys, first) == !0
    })
}

/// Looks IPv4 addresses up: `keys[i]` into `slots[i]`.
///
/// # Safety
///
/// [`is_available`] has said yes.
#[target_feature(enable = "avx512f,avx512dq,avx512vl,avx512vpopcntdq")]
pub(super) unsafe fn lookup4(view: &View<'_>, keys: &[u32], slots: &mut [Slot]) {
    let count = keys.len().min(slots.len());
    let words = view.words.as_ptr();
    let default = _mm512_set1_epi32(view.default.0 as i32);
    let shift = _mm_cvtsi32_si128(32 - i32::from(view.bits));
    for from in (0..count).step_by(16 * GROUP) {
        let mut key = [_mm512_setzero_si512(); GROUP];
        let mut slot = [_mm512_set1_epi32(view.root.0 as i32); GROUP];
        let mut lanes = [0; GROUP];
        let vectors = (count - from).div_ceil(16).min(GROUP);
        if let Some(group) = keys.get(from..from + 16 * GROUP)
            && all_equal4(group)
        {
            slots[from..from + 16 * GROUP].fill(view.one(group[0]));
            continue;
        }
        for vector in 0..vectors {
            let first = from + 16 * vector;
            lanes[vector] = lanes16(count - first);
            // SAFETY: the lanes below `count` alone are read.
            key[vector] =
                unsafe { _mm512_maskz_loadu_epi32(lanes[vector], keys.as_ptr().add(first).cast()) };
            if view.bits > 0 {
                let index = _mm512_srl_epi32(key[vector], shift);
                // SAFETY: there is a cell for each value of the first `bits` bits: IPv4's window is everything.
                slot[vector] =
                    unsafe { _mm512_i32gather_epi32::<4>(index, view.cells.as_ptr().cast()) };
            }
        }
        let mut depth = view.bits;
        loop {
            let mut any = 0;
            for vector in 0..vectors {
                let active = _mm512_movepi32_mask(slot[vector]) & lanes[vector];
                if active != 0 {
                    // SAFETY: the trie's own slots.
                    slot[vector] =
                        unsafe { step16(words, key[vector], slot[vector], active, depth) };
                }
                any |= active;
            }
            depth += STRIDE;
            if any == 0 {
                break;
            }
        }
        for vector in 0..vectors {
            let first = from + 16 * vector;
            let nothing = _mm512_cmpeq_epi32_mask(slot[vector], _mm512_setzero_si512());
            let said = _mm512_mask_mov_epi32(slot[vector], nothing, default);
            // SAFETY: the lanes below `count` alone are written; a slot is 32 bits.
            unsafe {
                _mm512_mask_storeu_epi32(slots.as_mut_ptr().add(first).cast(), lanes[vector], said);
            }
        }
    }
}

/// The vectors of a group of IPv6 addresses.
const GROUP6: usize = 8;

/// The last depth whose six bits lie in the first 64.
const DEEPEST: i64 = 58;

/// One level down for 8 addresses, by the first 64 bits of each, and a depth of its own for each.
///
/// # Safety
///
/// As for [`step16`].
#[target_feature(enable = "avx512f,avx512dq,avx512vl,avx512vpopcntdq")]
#[inline]
unsafe fn step8(
    words: *const u32,
    keys: __m512i,
    slots: __m256i,
    active: __mmask8,
    depth: __m512i,
) -> __m256i {
    let at = _mm256_and_si256(slots, _mm256_set1_epi32(!Slot::CHUNK as i32));
    let slot = _mm512_srli_epi64::<{ 64 - STRIDE as u32 }>(_mm512_sllv_epi64(keys, depth));
    let none = _mm512_setzero_si512();
    // SAFETY: as in `step16`.
    let bitmaps = unsafe { _mm512_mask_i32gather_epi64::<4>(none, active, at, words.cast()) };
    let index = _mm256_add_epi32(
        _mm256_add_epi32(at, rank(bitmaps, slot)),
        _mm256_set1_epi32(HEADER as i32 - 1),
    );
    // SAFETY: as in `step16`.
    unsafe { _mm256_mmask_i32gather_epi32::<4>(slots, active, index, words.cast()) }
}

/// As [`all_equal4`].
#[target_feature(enable = "avx512f,avx512dq")]
#[inline]
fn all_equal6(group: &[u128]) -> bool {
    // SAFETY: one key of 128 bits.
    let first = _mm512_broadcast_i64x2(unsafe { _mm_loadu_si128(group.as_ptr().cast()) });
    group.chunks_exact(4).all(|keys| {
        // SAFETY: 4 keys of 128 bits.
        let keys = unsafe { _mm512_loadu_epi64(keys.as_ptr().cast()) };
        _mm512_cmpeq_epi64_mask(keys, first) == !0
    })
}

/// Looks IPv6 addresses up: `keys[i]` into `slots[i]`. What is longer than 64 bits is finished one by one.
///
/// # Safety
///
/// [`is_available`] has said yes.
#[target_feature(enable = "avx512f,avx512dq,avx512vl,avx512vpopcntdq")]
pub(super) unsafe fn lookup6(view: &View<'_>, keys: &[u128], slots: &mut [Slot]) {
    let count = keys.len().min(slots.len());
    let words = view.words.as_ptr();
    let default = _mm256_set1_epi32(view.default.0 as i32);
    let bits = i64::from(view.bits);
    let shape = u128::SHAPE;
    let first_cell = i64::from(shape.window) << view.bits.saturating_sub(shape.window_length);
    let upper_halves = _mm512_setr_epi64(1, 3, 5, 7, 9, 11, 13, 15);
    for from in (0..count).step_by(8 * GROUP6) {
        let mut key = [_mm512_setzero_si512(); GROUP6];
        let mut slot = [_mm256_set1_epi32(view.root.0 as i32); GROUP6];
        let mut depth = [_mm512_setzero_si512(); GROUP6];
        let mut lanes = [0; GROUP6];
        let vectors = (count - from).div_ceil(8).min(GROUP6);
        if let Some(group) = keys.get(from..from + 8 * GROUP6)
            && all_equal6(group)
        {
            slots[from..from + 8 * GROUP6].fill(view.one(group[0]));
            continue;
        }
        for vector in 0..vectors {
            let first = from + 8 * vector;
            lanes[vector] = lanes8(count - first);
            // Two words an address, the lower one first.
            let pairs = if count - first >= 8 {
                !0
            } else {
                (1u16 << (2 * (count - first))) - 1
            };
            // SAFETY: the words of addresses below `count` alone are read.
            let (low, high) = unsafe {
                let start = keys.as_ptr().add(first).cast::<i64>();
                (
                    _mm512_maskz_loadu_epi64(pairs as u8, start),
                    _mm512_maskz_loadu_epi64((pairs >> 8) as u8, start.wrapping_add(8)),
                )
            };
            key[vector] = _mm512_permutex2var_epi64(low, upper_halves, high);
            if bits > 0 {
                let first_bits = _mm512_srl_epi64(key[vector], _mm_cvtsi64_si128(64 - bits));
                let index = _mm512_sub_epi64(first_bits, _mm512_set1_epi64(first_cell));
                let cells = _mm512_set1_epi64(view.cells.len() as i64);
                let inside = _mm512_cmplt_epu64_mask(index, cells);
                // SAFETY: the lanes alone whose index is within the cells.
                slot[vector] = unsafe {
                    _mm512_mask_i64gather_epi32::<4>(
                        slot[vector],
                        inside,
                        index,
                        view.cells.as_ptr().cast(),
                    )
                };
                depth[vector] = _mm512_maskz_set1_epi64(inside, bits);
            }
        }
        loop {
            let mut any = 0;
            for vector in 0..vectors {
                let near = _mm512_cmple_epi64_mask(depth[vector], _mm512_set1_epi64(DEEPEST));
                let active = _mm256_movepi32_mask(slot[vector]) & lanes[vector] & near;
                if active != 0 {
                    // SAFETY: the trie's own slots.
                    slot[vector] =
                        unsafe { step8(words, key[vector], slot[vector], active, depth[vector]) };
                    let stride = _mm512_set1_epi64(i64::from(STRIDE));
                    depth[vector] =
                        _mm512_mask_add_epi64(depth[vector], active, depth[vector], stride);
                }
                any |= active;
            }
            if any == 0 {
                break;
            }
        }
        for vector in 0..vectors {
            let first = from + 8 * vector;
            let nothing = _mm256_cmpeq_epi32_mask(slot[vector], _mm256_setzero_si256());
            let said = _mm256_mask_mov_epi32(slot[vector], nothing, default);
            // SAFETY: the lanes below `count` alone are written; a slot is 32 bits.
            unsafe {
                _mm256_mask_storeu_epi32(slots.as_mut_ptr().add(first).cast(), lanes[vector], said);
            }
            let mut deeper = _mm256_movepi32_mask(slot[vector]) & lanes[vector];
            if deeper != 0 {
                let mut depths = [0i64; 8];
                // SAFETY: eight words of 64 bits.
                unsafe { _mm512_storeu_epi64(depths.as_mut_ptr(), depth[vector]) };
                while deeper != 0 {
                    let lane = deeper.trailing_zeros() as usize;
                    deeper &= deeper - 1;
                    let slot = &mut slots[first + lane];
                    *slot = view.finish(keys[first + lane], *slot, depths[lane] as u8);
                }
            }
        }
    }
}
