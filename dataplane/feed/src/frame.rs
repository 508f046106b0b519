//! Frames: how the Forwarding Plane Manager protocol cuts a stream of bytes into netlink messages.
//!
//! A frame is `01 01 LENGTH`, and then the message (FRRouting, `fpm/fpm.h`): the protocol's version, 1 for netlink, and the
//! length in network order, of the whole frame. Nothing marks where a frame begins, so that after a wrong header nothing that
//! follows can be trusted: the session ends.

/// The length of a frame's header, in bytes.
pub const HEADER: usize = 4;

/// The longest frame, in bytes: what its length can say.
pub const LONGEST_FRAME: usize = u16::MAX as usize;

/// Why a stream is no stream of frames. The session ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// The first byte is the protocol's version.
    #[error("a frame of version {0}, expected 1")]
    Version(u8),
    /// The second byte is the kind of message: 1 is netlink, 2 is protobuf.
    #[error("a frame of type {0}, expected 1, netlink (is the daemon told to speak another one?)")]
    Type(u8),
    /// The length counts its own header.
    #[error("a frame of {0} bytes, shorter than its header")]
    Length(u16),
}

/// The messages of the first frame of `bytes`, and the length of the frame; none where the frame is not whole yet.
///
/// # Errors
///
/// What is wrong with the header, as soon as its four bytes are there.
pub fn first(bytes: &[u8]) -> Result<Option<(&[u8], usize)>, FrameError> {
    let Some(&[version, kind, high, low]) = bytes.first_chunk() else {
        return Ok(None);
    };
    let length = u16::from_be_bytes([high, low]);
    if version != 1 {
        return Err(FrameError::Version(version));
    }
    if kind != 1 {
        return Err(FrameError::Type(kind));
    }
    let end = usize::from(length);
    if end < HEADER {
        return Err(FrameError::Length(length));
    }
    Ok(bytes.get(HEADER..end).map(|messages| (messages, end)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_is_taken_once_it_is_whole() {
        let bytes = [1, 1, 0, 6, 0xaa, 0xbb, 1];
        for short in 0..6 {
            assert_eq!(first(&bytes[..short]), Ok(None));
        }
        assert_eq!(first(&bytes), Ok(Some((&[0xaa, 0xbb][..], 6))));
        assert_eq!(first(&[1, 1, 0, 4]), Ok(Some((&[][..], 4))));
    }

    #[test]
    fn what_is_no_frame_says_why() {
        assert_eq!(first(&[2, 1, 0, 4]), Err(FrameError::Version(2)));
        assert_eq!(first(&[1, 2, 0, 4]), Err(FrameError::Type(2)));
        assert_eq!(first(&[1, 1, 0, 3]), Err(FrameError::Length(3)));
        assert_eq!(first(b"GET / HTTP/1.0"), Err(FrameError::Version(b'G')));
    }
}
