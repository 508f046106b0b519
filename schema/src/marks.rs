//! What every object can carry whatever it is: a note for people, that it is kept but ignored, and the same for each of its
//! fields.

mod fields;

pub use fields::{FieldMark, FieldMarks};
pub(crate) use fields::{PARTS, part};

use crate::table::{RowError, Values};
use crate::types::Line;
use crate::value::{Column, RawValue, Value};

/// The marks of an object and of its fields. Most have none, and cost one pointer.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Marks(Option<Box<Given>>);

/// Marks of which there is at least one.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Given {
    deactivated: bool,
    annotation: Option<Line>,
    fields: FieldMarks,
}

impl Marks {
    /// The number of columns that marks are stored in; they are the last ones of each table.
    pub const COLUMNS: usize = 3;

    /// Marks of an object with these values, and none of its fields.
    pub fn new(deactivated: bool, annotation: Option<Line>) -> Self {
        Marks::default()
            .with_deactivated(deactivated)
            .with_annotation(annotation)
    }

    /// Whether the object is kept and ignored, with everything below it.
    pub fn deactivated(&self) -> bool {
        self.0.as_ref().is_some_and(|marks| marks.deactivated)
    }

    /// What somebody noted about the object.
    pub fn annotation(&self) -> Option<&Line> {
        self.0.as_ref().and_then(|marks| marks.annotation.as_ref())
    }

    /// The marks of single fields.
    pub fn fields(&self) -> &FieldMarks {
        static NONE: FieldMarks = FieldMarks::NONE;
        self.0.as_ref().map_or(&NONE, |marks| &marks.fields)
    }

    /// Whether the object, or any of its fields, is kept and ignored.
    pub fn hides(&self) -> bool {
        let hides = |marks: &Given| marks.deactivated || marks.fields.any_deactivated();
        self.0.as_ref().is_some_and(|marks| hides(marks))
    }

    /// The same marks, deactivated or not.
    #[must_use]
    pub fn with_deactivated(&self, deactivated: bool) -> Self {
        self.with(|marks| marks.deactivated = deactivated)
    }

    /// The same marks with another annotation.
    #[must_use]
    pub fn with_annotation(&self, annotation: Option<Line>) -> Self {
        self.with(|marks| marks.annotation = annotation)
    }

    /// The same marks with other ones of the fields.
    #[must_use]
    pub fn with_fields(&self, fields: FieldMarks) -> Self {
        self.with(|marks| marks.fields = fields)
    }

    fn with(&self, change: impl FnOnce(&mut Given)) -> Self {
        let mut marks = self.0.as_deref().cloned().unwrap_or_default();
        change(&mut marks);
        Marks((marks != Given::default()).then(|| Box::new(marks)))
    }

    pub(crate) fn values(&self) -> [Value; Self::COLUMNS] {
        match &self.0 {
            None => [Value::Null, Value::Null, Value::Null],
            Some(marks) => [
                marks.deactivated.to_value(),
                marks.annotation.to_value(),
                marks.fields.to_value(),
            ],
        }
    }

    /// Reads the marks that stand at the end of a row's values.
    pub(crate) fn read<'a>(
        values: &mut Values<impl ExactSizeIterator<Item = RawValue<'a>>>,
    ) -> Result<Self, RowError> {
        let marks = Given {
            deactivated: values.next_of()?,
            annotation: values.next_of()?,
            fields: values.next_checked(FieldMarks::fit)?,
        };
        Ok(Marks((marks != Given::default()).then(|| Box::new(marks))))
    }
}
