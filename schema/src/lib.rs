//! The configuration model: its types, its JSON Schema, its SQL migrations. One definition.
