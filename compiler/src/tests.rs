//! Tests of the whole crate, and what they share.

mod acl;
mod change;
mod effective;
mod errors;
mod histories;
mod incremental;
mod intents;
mod law;
mod nat;
mod nat64;
mod peerings;
mod snapshots;
mod warnings;

use rewire_schema::{Changeset, Configuration, from_document};
use rewire_tables::{TableOperation, Tables};
use serde_json::Value;

use crate::{Compiled, Compiler, Errors};

/// The configuration of a document.
fn configuration(document: Value) -> Configuration {
    from_document(&document).expect("the document is one")
}

/// Tables that operations lead to from empty ones.
fn tables(operations: &[TableOperation]) -> Tables {
    let mut tables = Tables::default();
    operations
        .iter()
        .for_each(|operation| tables.apply(operation));
    tables
}

/// A compiler and the tables that its operations made.
struct Gateway {
    compiler: Compiler,
    tables: Tables,
}

impl Gateway {
    fn new(document: Value) -> Gateway {
        let (compiler, compiled) = Compiler::compile(configuration(document), 1).unwrap();
        Gateway {
            compiler,
            tables: tables(&compiled.operations),
        }
    }

    /// Goes to another configuration by its changeset, and holds the outcome against compiling it whole.
    fn go(&mut self, to: Configuration) -> Result<Compiled, Errors> {
        let changeset = Changeset::between(&self.compiler.stored(), &to);
        let compiled = self
            .compiler
            .apply(self.compiler.revision() + 1, &changeset)?;
        compiled
            .operations
            .iter()
            .for_each(|operation| self.tables.apply(operation));
        let (_, whole) = Compiler::compile(to, self.compiler.revision()).unwrap();
        let whole = tables(&whole.operations);
        assert_eq!(self.tables.canonical_lines(), whole.canonical_lines());
        assert_eq!(self.tables.revision(), whole.revision());
        Ok(compiled)
    }

    /// Goes to another document.
    fn goto(&mut self, document: Value) -> Result<Compiled, Errors> {
        self.go(configuration(document))
    }
}

/// The operations behind the revision's number, as people read them.
fn lines(operations: &[TableOperation]) -> String {
    let lines: Vec<String> = operations[1..].iter().map(|o| format!("{o:?}")).collect();
    lines.join("\n")
}
