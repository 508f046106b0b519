//! The lookup with vectors of 512 bits: 64 addresses at a time, 16 a vector, whose levels are read in step, so that many reads of
//! memory are under way at a time.

use std::arch::x86_64::*;

use super::key::Key;
use super::leaf::{INTERVALS, Leaf, WINDOW};
use super::lookup::View;
use super::slot::{STRIDE, Slot};
use super::store::SEAM;

/// Whether this processor has what the lookups here use. The answer is remembered by the standard library.
pub(super) fn is_available() -> bool {
    is_x86_feature_detected!("avx512f")
        && is_x86_feature_detected!("avx512bw")
        && is_x86_feature_detected!("avx512dq")
        && is_x86_feature_detected!("avx512vl")
        && is_x86_feature_detected!("avx512vbmi2")
        && is_x86_feature_detected!("popcnt")
}

/// The addresses of a vector.
const LANES: usize = 16;
/// The vectors of a group.
const VECTORS: usize = 4;
/// The addresses of a group.
const GROUP: usize = LANES * VECTORS;

/// The first `count` of 16 lanes.
fn first_lanes(count: usize) -> __mmask16 {
    match count {
        0..LANES => (1 << count) - 1,
        _ => !0,
    }
}

/// The lanes whose slots lead to tables.
#[target_feature(enable = "avx512f,avx512dq")]
#[inline]
fn tables(slots: __m512i) -> __mmask16 {
    let leaf_up = _mm512_slli_epi32::<1>(slots);
    _mm512_movepi32_mask(_mm512_andnot_si512(leaf_up, slots))
}

/// The strides less one of tables.
#[target_feature(enable = "avx512f")]
#[inline]
fn strides_less_one(slots: __m512i) -> __m512i {
    _mm512_and_si512(
        _mm512_srli_epi32::<{ Slot::STRIDE_FROM }>(slots),
        _mm512_set1_epi32(7),
    )
}

/// One level down for 16 addresses, in the lanes of `active`, whose slots lead to tables; `windows` hold what
/// those decide on as their highest bits.
///
/// # Safety
///
/// The slots of active lanes are the trie's: they lead to tables that lie within `cells`.
#[target_feature(enable = "avx512f")]
#[inline]
unsafe fn step(cells: *const u32, windows: __m512i, slots: __m512i, active: __mmask16) -> __m512i {
    let bits_behind = _mm512_sub_epi32(_mm512_set1_epi32(31), strides_less_one(slots));
    let index = _mm512_srlv_epi32(windows, bits_behind);
    let pairs = _mm512_and_si512(slots, _mm512_set1_epi32(Slot::OFFSET as i32));
    let at = _mm512_add_epi32(_mm512_slli_epi32::<1>(pairs), index);
    // SAFETY: a table of a stride has a cell for each value of as many bits; offsets are below 2²⁸ words.
    unsafe { _mm512_mask_i32gather_epi32::<4>(slots, active, at, cells.cast()) }
}

/// Puts what no prefix says into the place of nothing.
#[target_feature(enable = "avx512f")]
#[inline]
fn or_default(slots: &mut [Slot], default: Slot) {
    let default = _mm512_set1_epi32(default.0 as i32);
    for slots in slots.chunks_mut(LANES) {
        let lanes = first_lanes(slots.len());
        // SAFETY: the lanes within the chunk alone are read and written; a slot is 32 bits.
        unsafe {
            let start = slots.as_mut_ptr().cast();
            let said = _mm512_maskz_loadu_epi32(lanes, start);
            let nothing = _mm512_testn_epi32_mask(said, said) & lanes;
            _mm512_mask_storeu_epi32(start, nothing, default);
        }
    }
}

/// Whether a whole group asks for one address, as packets of one flow do: then one lookup answers for all. `first` holds that
/// address in each of its parts of 128 or 32 bits.
///
/// # Safety
///
/// A multiple of 64 bytes can be read at `group`: `vectors` times as many.
#[target_feature(enable = "avx512f")]
#[inline]
unsafe fn all_equal(group: *const __m512i, vectors: usize, first: __m512i) -> bool {
    (0..vectors).all(|vector| {
        // SAFETY: as above.
        let keys = unsafe { _mm512_loadu_si512(group.add(vector)) };
        _mm512_cmpeq_epi64_mask(keys, first) == !0
    })
}

/// Looks IPv4 addresses up: `keys[i]` into `slots[i]`. Their tables have no leaves.
///
/// # Safety
///
/// [`is_available`] has said yes.
#[target_feature(enable = "avx512f,avx512dq,avx512vl")]
pub(super) unsafe fn lookup4(view: &View<'_>, keys: &[u32], slots: &mut [Slot]) {
    let count = keys.len().min(slots.len());
    let cells = view.cells.as_ptr();
    let shift = _mm_cvtsi32_si128(32 - i32::from(view.bits));
    for from in (0..count).step_by(GROUP) {
        let group = &keys[from..count.min(from + GROUP)];
        let slots = &mut slots[from..from + group.len()];
        if group.len() == GROUP {
            let first = _mm512_set1_epi32(group[0] as i32);
            // SAFETY: 64 keys of 4 bytes.
            if unsafe { all_equal(group.as_ptr().cast(), VECTORS, first) } {
                slots.fill(view.one(group[0]));
                continue;
            }
        }
        let mut window = [_mm512_setzero_si512(); VECTORS];
        let mut slot = [_mm512_set1_epi32(view.root.0 as i32); VECTORS];
        let mut lanes = [0; VECTORS];
        let vectors = group.len().div_ceil(LANES);
        for vector in 0..vectors {
            lanes[vector] = first_lanes(group.len() - LANES * vector);
            // SAFETY: the lanes within the group alone are read.
            let key = unsafe {
                let start = group.as_ptr().add(LANES * vector).cast();
                _mm512_maskz_loadu_epi32(lanes[vector], start)
            };
            window[vector] = key;
            if view.bits > 0 {
                let index = _mm512_srl_epi32(key, shift);
                // SAFETY: there is a cell for each value of the first `bits` bits: IPv4's window is everything.
                slot[vector] =
                    unsafe { _mm512_i32gather_epi32::<4>(index, view.direct.as_ptr().cast()) };
                let bits = _mm_cvtsi32_si128(i32::from(view.bits));
                window[vector] = _mm512_sll_epi32(key, bits);
            }
        }
        loop {
            let mut any = 0;
            for vector in 0..vectors {
                let active = tables(slot[vector]) & lanes[vector];
                if active != 0 {
                    // SAFETY: the trie's own slots.
                    slot[vector] = unsafe { step(cells, window[vector], slot[vector], active) };
                    window[vector] = _mm512_slli_epi32::<{ STRIDE as u32 }>(window[vector]);
                }
                any |= active;
            }
            if any == 0 {
                break;
            }
        }
        for vector in 0..vectors {
            // SAFETY: the lanes within the group alone are written; a slot is 32 bits.
            unsafe {
                let start = slots.as_mut_ptr().add(LANES * vector).cast();
                _mm512_mask_storeu_epi32(start, lanes[vector], slot[vector]);
            }
        }
    }
    if view.default != Slot::NONE {
        or_default(&mut slots[..count], view.default);
    }
}

/// 16 IPv6 addresses under way.
#[derive(Clone, Copy)]
struct Way {
    /// Those of the 16 that there are.
    lanes: __mmask16,
    slot: __m512i,
    /// The bits from the depth on that the slot was found at: 32, and those behind, up to the 64th of the address.
    window: __m512i,
    behind: __m512i,
    depth: __m512i,
}

/// The first and the second 32 bits of `lanes` addresses of 16 bytes.
///
/// # Safety
///
/// As many addresses can be read.
#[target_feature(enable = "avx512f,avx512bw")]
#[inline]
unsafe fn load16(addresses: *const [u8; 16], count: usize) -> (__m512i, __m512i) {
    let words = |quarter: usize| {
        let lanes = first_lanes((4 * count).saturating_sub(LANES * quarter));
        // SAFETY: the words of addresses below `count` alone are read.
        unsafe {
            _mm512_maskz_loadu_epi32(lanes, addresses.cast::<i32>().wrapping_add(LANES * quarter))
        }
    };
    // The first words of eight addresses, and their second ones.
    let first_two = _mm512_setr_epi32(0, 4, 8, 12, 16, 20, 24, 28, 1, 5, 9, 13, 17, 21, 25, 29);
    let turned = _mm512_broadcast_i32x4(_mm_setr_epi8(
        3, 2, 1, 0, 7, 6, 5, 4, 11, 10, 9, 8, 15, 14, 13, 12,
    ));
    let low = _mm512_permutex2var_epi32(words(0), first_two, words(1));
    let high = _mm512_permutex2var_epi32(words(2), first_two, words(3));
    let (low, high) = (
        _mm512_shuffle_epi8(low, turned),
        _mm512_shuffle_epi8(high, turned),
    );
    (
        _mm512_shuffle_i64x2::<0b01_00_01_00>(low, high),
        _mm512_shuffle_i64x2::<0b11_10_11_10>(low, high),
    )
}

/// Begins with 16 addresses or fewer.
///
/// # Safety
///
/// As for [`load16`].
#[target_feature(enable = "avx512f,avx512bw,avx512vbmi2")]
#[inline]
unsafe fn begin16(view: &View<'_>, addresses: *const [u8; 16], count: usize) -> Way {
    let lanes = first_lanes(count);
    // SAFETY: as above.
    let (window, behind) = unsafe { load16(addresses, count) };
    let root = Way {
        lanes,
        slot: _mm512_maskz_set1_epi32(lanes, view.root.0 as i32),
        window,
        behind,
        depth: _mm512_setzero_si512(),
    };
    if view.bits == 0 {
        return root;
    }
    let shape = <[u8; 16]>::SHAPE;
    let first_cell = shape.window << (view.bits - shape.window_length);
    let first_bits = _mm512_srl_epi32(window, _mm_cvtsi32_si128(32 - i32::from(view.bits)));
    let index = _mm512_sub_epi32(first_bits, _mm512_set1_epi32(first_cell as i32));
    let cells = _mm512_set1_epi32(view.direct.len() as i32);
    let inside = _mm512_cmplt_epu32_mask(index, cells) & lanes;
    let bits = _mm512_maskz_set1_epi32(inside, i32::from(view.bits));
    Way {
        lanes,
        // SAFETY: the lanes alone whose index is within the cells.
        slot: unsafe {
            let cells = view.direct.as_ptr().cast();
            _mm512_mask_i32gather_epi32::<4>(root.slot, inside, index, cells)
        },
        window: _mm512_shldv_epi32(window, behind, bits),
        behind: _mm512_sllv_epi32(behind, bits),
        depth: bits,
    }
}

/// Looks IPv6 addresses up: `keys[i]` into `slots[i]`. What is longer than 60 bits is finished one by one.
///
/// # Safety
///
/// [`is_available`] has said yes.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vbmi2,popcnt")]
pub(super) unsafe fn lookup6(view: &View<'_>, keys: &[[u8; 16]], slots: &mut [Slot]) {
    let count = keys.len().min(slots.len());
    for from in (0..count).step_by(GROUP) {
        let group = &keys[from..count.min(from + GROUP)];
        let slots = &mut slots[from..from + group.len()];
        if group.len() == GROUP {
            // SAFETY: one key of 16 bytes, and 64 of them.
            let is_one = unsafe {
                let first = _mm512_broadcast_i32x4(_mm_loadu_si128(group.as_ptr().cast()));
                all_equal(group.as_ptr().cast(), 4 * VECTORS, first)
            };
            if is_one {
                slots.fill(view.one(group[0]));
                continue;
            }
        }
        // SAFETY: the processor has been asked; the group and its slots are equally long.
        unsafe { group6(view, group, slots) };
    }
    if view.default != Slot::NONE {
        or_default(&mut slots[..count], view.default);
    }
}

/// Looks a group up, of 64 addresses or fewer.
///
/// # Safety
///
/// As for [`lookup6`]; there are as many slots as keys.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vbmi2,popcnt")]
#[inline]
unsafe fn group6(view: &View<'_>, keys: &[[u8; 16]], slots: &mut [Slot]) {
    let vectors = keys.len().div_ceil(LANES);
    let nothing = _mm512_setzero_si512();
    let mut ways = [Way {
        lanes: 0,
        slot: nothing,
        window: nothing,
        behind: nothing,
        depth: nothing,
    }; VECTORS];
    for (way, keys) in ways.iter_mut().zip(keys.chunks(LANES)) {
        // SAFETY: the chunk's keys.
        *way = unsafe { begin16(view, keys.as_ptr(), keys.len()) };
    }
    let mut active = [0; VECTORS];
    for (active, way) in active.iter_mut().zip(&ways) {
        *active = tables(way.slot);
    }
    let cells = view.cells.as_ptr();
    while active.iter().any(|active| *active != 0) {
        for (way, active) in ways.iter_mut().zip(&mut active) {
            if *active == 0 {
                continue;
            }
            // SAFETY: the trie's own slots.
            way.slot = unsafe { step(cells, way.window, way.slot, *active) };
            let further = tables(way.slot) & *active;
            let stride = _mm512_set1_epi32(i32::from(STRIDE));
            way.window = _mm512_mask_shldv_epi32(way.window, further, way.behind, stride);
            way.behind = _mm512_mask_sllv_epi32(way.behind, further, way.behind, stride);
            way.depth = _mm512_mask_add_epi32(way.depth, further, way.depth, stride);
            let seam = _mm512_set1_epi32(i32::from(SEAM));
            *active = further & _mm512_cmplt_epi32_mask(way.depth, seam);
        }
    }
    // SAFETY: as above.
    unsafe { in_leaves(view, &ways[..vectors], slots) };
    for (way, (keys, slots)) in ways
        .iter()
        .zip(keys.chunks(LANES).zip(slots.chunks_mut(LANES)))
    {
        let deeper = tables(way.slot) & way.lanes;
        if deeper != 0 {
            let mut depths = [0u32; LANES];
            // SAFETY: sixteen words of 32 bits.
            unsafe { _mm512_storeu_si512(depths.as_mut_ptr().cast(), way.depth) };
            for lane in (0..LANES).filter(|lane| deeper >> lane & 1 != 0) {
                slots[lane] = view.finish(keys[lane], slots[lane], depths[lane] as u8);
            }
        }
    }
}

/// Writes the slots of addresses under way, and where they lead to leaves, what those say: one address after the other in a line
/// without branches, so that the processor has the leaves of many under way.
///
/// # Safety
///
/// There are as many slots as lanes.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,popcnt")]
#[inline]
unsafe fn in_leaves(view: &View<'_>, ways: &[Way], slots: &mut [Slot]) {
    /// Where the leaf of a slot begins, in bytes, is what is left of its number shifted.
    const LINE: u32 = size_of::<Leaf>().trailing_zeros();
    let mut offsets = [0u32; GROUP];
    let mut windows = [0u32; GROUP];
    let mut any = 0;
    for (vector, way) in ways.iter().enumerate() {
        let leads = _mm512_movepi32_mask(way.slot);
        let leaves = leads & !tables(way.slot);
        any |= leaves;
        // Where there is no leaf, the first one is read for nothing.
        let offset = _mm512_maskz_slli_epi32::<LINE>(leaves, way.slot);
        let window = _mm512_srli_epi32::<{ 32 - WINDOW as u32 }>(way.window);
        // SAFETY: sixteen words each of a group's four times sixteen.
        unsafe {
            _mm512_storeu_si512(offsets.as_mut_ptr().add(LANES * vector).cast(), offset);
            _mm512_storeu_si512(windows.as_mut_ptr().add(LANES * vector).cast(), window);
        }
    }
    if any != 0 {
        let leaves = view.leaves.as_ptr().cast::<u8>();
        for ((offset, window), slot) in offsets.iter().zip(&windows).zip(slots.iter_mut()) {
            // SAFETY: the first leaf, which is there when any is, or one that the trie leads to: 64 bytes that begin at a multiple of 64;
            // seven boundaries at most are not above the window, which leaves the last of eight values.
            unsafe {
                let leaf = leaves.add(*offset as usize).cast::<u32>();
                let window = _mm256_set1_epi32(*window as i32);
                let boundaries = _mm256_load_si256(leaf.cast());
                let behind = _mm256_cmpge_epu32_mask(window, boundaries).count_ones();
                *slot = Slot(*leaf.add(INTERVALS + behind as usize));
            }
        }
    }
    for (way, slots) in ways.iter().zip(slots.chunks_mut(LANES)) {
        let leads = _mm512_movepi32_mask(way.slot);
        let others = way.lanes & (!leads | tables(way.slot));
        // SAFETY: the lanes within the chunk alone are written; a slot is 32 bits.
        unsafe { _mm512_mask_storeu_epi32(slots.as_mut_ptr().cast(), others, way.slot) };
    }
}
