//! What every object can carry whatever it is: a note for people, and that it is kept but ignored.

use crate::types::Line;
use crate::value::{Column, Value};

/// The marks of an object. Most have none, and cost one pointer.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Marks(Option<Box<(bool, Option<Line>)>>);

impl Marks {
    /// The number of columns that marks are stored in; they are the last ones of each table.
    pub const COLUMNS: usize = 2;

    /// Marks with these values.
    pub fn new(deactivated: bool, annotation: Option<Line>) -> Self {
        let any = deactivated || annotation.is_some();
        Marks(any.then(|| Box::new((deactivated, annotation))))
    }

    /// Whether the object is kept and ignored, with everything below it.
    pub fn deactivated(&self) -> bool {
        self.0.as_ref().is_some_and(|marks| marks.0)
    }

    /// What somebody noted about the object.
    pub fn annotation(&self) -> Option<&Line> {
        self.0.as_ref().and_then(|marks| marks.1.as_ref())
    }

    /// The same marks, deactivated or not.
    #[must_use]
    pub fn with_deactivated(&self, deactivated: bool) -> Self {
        Marks::new(deactivated, self.annotation().cloned())
    }

    /// The same marks with another annotation.
    #[must_use]
    pub fn with_annotation(&self, annotation: Option<Line>) -> Self {
        Marks::new(self.deactivated(), annotation)
    }

    pub(crate) fn values(&self) -> [Value; Self::COLUMNS] {
        [
            self.deactivated().to_value(),
            self.annotation()
                .map_or(Value::Null, |annotation| annotation.to_value()),
        ]
    }
}
