//! Netlink's two layers of framing: messages in a frame, attributes in a message (RFC 3549, section 2.2; `netlink(7)`).
//!
//! Everything is in the byte order of the machine that wrote it, which is this one or one like it: little-endian. Both kinds of
//! parts are padded to four bytes. Nothing is copied.

/// A message's header: length, type, flags, sequence number, port.
const MESSAGE_HEADER: usize = 16;
/// An attribute's header: length and type.
const ATTRIBUTE_HEADER: usize = 4;
/// An attribute's type without the flags "nested" and "in network order".
const TYPE_MASK: u16 = 0x3fff;

/// Something is shorter or longer than it says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Truncated;

/// One message: its type, and what follows its header.
pub type Message<'a> = (u16, &'a [u8]);
/// One attribute: its type, and its value.
pub type Attribute<'a> = (u16, &'a [u8]);

/// The messages of a frame in order. After one that is cut off there are no more.
pub fn messages(bytes: &[u8]) -> impl Iterator<Item = Result<Message<'_>, Truncated>> {
    parts(bytes, MESSAGE_HEADER, |header| {
        Some((u32_at(header, 0)? as usize, u16_at(header, 4)?))
    })
}

/// The attributes of a message in order. After one that is cut off there are no more.
pub fn attributes(bytes: &[u8]) -> impl Iterator<Item = Result<Attribute<'_>, Truncated>> {
    parts(bytes, ATTRIBUTE_HEADER, |header| {
        Some((
            usize::from(u16_at(header, 0)?),
            u16_at(header, 2)? & TYPE_MASK,
        ))
    })
}

/// Parts that begin with a header, of which `read` gives length and type, and are padded to four bytes.
fn parts(
    mut rest: &[u8],
    header: usize,
    read: impl Fn(&[u8]) -> Option<(usize, u16)>,
) -> impl Iterator<Item = Result<(u16, &[u8]), Truncated>> {
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let whole = std::mem::take(&mut rest);
        let Some((length, kind)) = read(whole) else {
            return Some(Err(Truncated));
        };
        let Some(value) = whole.get(header..length) else {
            return Some(Err(Truncated));
        };
        // The last one may lack its padding.
        rest = whole.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some(Ok((kind, value)))
    })
}

/// The 16-bit number at an offset.
pub(crate) fn u16_at(bytes: &[u8], offset: usize) -> Option<u16> {
    let bytes = bytes.get(offset..)?.first_chunk()?;
    Some(u16::from_le_bytes(*bytes))
}

/// The 32-bit number at an offset.
pub(crate) fn u32_at(bytes: &[u8], offset: usize) -> Option<u32> {
    let bytes = bytes.get(offset..)?.first_chunk()?;
    Some(u32::from_le_bytes(*bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_are_padded_and_the_last_one_need_not_be() {
        let bytes = [5, 0, 1, 0x80, 7, 0, 0, 0, 6, 0, 2, 0, 8, 9];
        let all: Vec<_> = attributes(&bytes).collect();
        assert_eq!(all, [Ok((1, &[7][..])), Ok((2, &[8, 9][..]))]);
    }

    #[test]
    fn lengths_that_lie_end_it() {
        for bytes in [
            &[3, 0, 1, 0][..],
            &[0, 0, 0, 0],
            &[9, 0, 1, 0, 1, 2, 3, 4],
            &[4, 0, 1],
        ] {
            let all: Vec<_> = attributes(bytes).collect();
            assert_eq!(all, [Err(Truncated)], "{bytes:?}");
        }
        let mut message = vec![0; 20];
        message[0] = 21;
        assert_eq!(messages(&message).collect::<Vec<_>>(), [Err(Truncated)]);
        message[..4].copy_from_slice(&u32::MAX.to_le_bytes());
        assert_eq!(messages(&message).collect::<Vec<_>>(), [Err(Truncated)]);
    }
}
