//! As much of Protocol Buffers as it takes to write a message: <https://protobuf.dev/programming-guides/encoding/>.

/// A message that is being written, field by field.
#[derive(Debug, Default)]
pub(super) struct Message(Vec<u8>);

/// How a field is laid out.
#[derive(Clone, Copy)]
enum Wire {
    Varint = 0,
    Fixed64 = 1,
    Length = 2,
}

impl Message {
    /// The bytes of what one writes.
    pub(super) fn encode(write: impl FnOnce(&mut Message)) -> Vec<u8> {
        let mut message = Message::default();
        write(&mut message);
        message.0
    }

    fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }

    fn key(&mut self, field: u32, wire: Wire) {
        self.varint(u64::from(field) << 3 | wire as u64);
    }

    /// A field of type `uint64`, `int64`, `bool` or an enumeration.
    pub(super) fn number(&mut self, field: u32, value: u64) {
        self.key(field, Wire::Varint);
        self.varint(value);
    }

    /// A field of type `fixed64` or `sfixed64`.
    pub(super) fn fixed(&mut self, field: u32, value: u64) {
        self.key(field, Wire::Fixed64);
        self.0.extend_from_slice(&value.to_le_bytes());
    }

    /// A field of type `double`.
    pub(super) fn double(&mut self, field: u32, value: f64) {
        self.fixed(field, value.to_bits());
    }

    /// A field of type `bytes`.
    pub(super) fn bytes(&mut self, field: u32, value: &[u8]) {
        self.key(field, Wire::Length);
        self.varint(value.len() as u64);
        self.0.extend_from_slice(value);
    }

    /// A field of type `string`.
    pub(super) fn text(&mut self, field: u32, value: &str) {
        self.bytes(field, value.as_bytes());
    }

    /// A field that is a message.
    pub(super) fn message(&mut self, field: u32, write: impl FnOnce(&mut Message)) {
        self.bytes(field, &Message::encode(write));
    }

    /// A repeated field of type `fixed64`, or `double` by its bits, packed.
    pub(super) fn packed(&mut self, field: u32, values: impl ExactSizeIterator<Item = u64>) {
        self.key(field, Wire::Length);
        self.varint(8 * values.len() as u64);
        values.for_each(|value| self.0.extend_from_slice(&value.to_le_bytes()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The examples of the encoding's own page.
    #[test]
    fn messages_are_written_as_their_specification_shows() {
        let message = Message::encode(|m| m.number(1, 150));
        assert_eq!(message, [0x08, 0x96, 0x01]);
        let message = Message::encode(|m| m.text(2, "testing"));
        assert_eq!(message, b"\x12\x07testing");
        let message = Message::encode(|m| m.message(3, |m| m.number(1, 150)));
        assert_eq!(message, [0x1a, 0x03, 0x08, 0x96, 0x01]);
        let message = Message::encode(|m| m.double(4, 1.0));
        assert_eq!(message, [0x21, 0, 0, 0, 0, 0, 0, 0xf0, 0x3f]);
        let message = Message::encode(|m| m.packed(16, [1, 2].into_iter()));
        assert_eq!(message[..3], [0x82, 0x01, 16]);
        assert_eq!(message.len(), 19);
    }
}
