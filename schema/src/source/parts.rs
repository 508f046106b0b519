//! One configuration in several documents: each says a part of it, and their union is the whole.
//!
//! Every object stands in one document, with all of its fields. What stands below it (the routes of a VPC, the rules of an
//! ACL) is a part of it, and stands there too; sections that are no objects of their own, such as `nat`, are open to all
//! documents. So what the union is does not depend on the order in which the documents are read.

use std::sync::Arc;

use super::diagnostic::{Diagnostic, Diagnostics, Text};
use super::reader::Way;
use super::{Failure, locate, located, rows, text};
use crate::document::Path;
use crate::meaning::Problem;
use crate::model::{Configuration, Row};

/// Several documents that are one configuration together.
#[derive(Clone, Debug)]
pub struct Parts {
    /// The union of what they say, as rows.
    pub configuration: Configuration,
    texts: Vec<Arc<Text>>,
}

/// Reads documents that are one configuration together, each with its name, which errors call it by. What the objects mean to
/// each other is not asked: see [`Parts::diagnose`]. Cost: the texts.
///
/// # Errors
///
/// For each document in which something is wrong, all of that: its syntax and shape, and the objects that another document
/// before it says already.
pub fn read_parts(documents: Vec<(String, Vec<u8>)>) -> Result<Parts, Vec<Diagnostics>> {
    let mut wrong = Vec::new();
    let mut parts: Vec<(Arc<Text>, Configuration)> = Vec::new();
    for (name, bytes) in documents {
        match read_part(&name, bytes) {
            Ok(part) => parts.push(part),
            Err(diagnostics) => wrong.push(diagnostics),
        }
    }
    let mut union = Configuration::default();
    for (index, (text, part)) in parts.iter().enumerate() {
        let mut twice: Vec<Row> = Vec::new();
        for row in part.rows() {
            match union.contains(&row.row_key()) {
                true => twice.push(row),
                false => drop(union.insert(row)),
            }
        }
        if !twice.is_empty() {
            let list = said_twice(text, &twice, &parts[..index]);
            wrong.push(Diagnostics::new(text.clone(), list));
        }
    }
    if !wrong.is_empty() {
        return Err(wrong);
    }
    Ok(Parts {
        configuration: union,
        texts: parts.into_iter().map(|(text, _)| text).collect(),
    })
}

impl Parts {
    /// The problems of the union, each in the document that says what it is about, with its place there; where none says
    /// it, in the one that says the most of what is above. Cost: the texts, and the problems.
    pub fn diagnose(&self, problems: Vec<Problem>) -> Vec<Diagnostics> {
        let mut of_each: Vec<Vec<Problem>> = vec![Vec::new(); self.texts.len()];
        let paths: Vec<Path> = problems
            .iter()
            .map(|problem| problem.path.clone())
            .collect();
        let mut best = vec![(0, 0); problems.len()];
        for (index, text) in self.texts.iter().enumerate() {
            let found = locate::locate(text.as_str(), &paths);
            for (best, found) in best.iter_mut().zip(found) {
                if found.steps > best.0 {
                    *best = (found.steps, index);
                }
            }
        }
        for ((_, index), problem) in best.into_iter().zip(problems) {
            if let Some(list) = of_each.get_mut(index) {
                list.push(problem);
            }
        }
        let texts = self.texts.iter().zip(of_each);
        let wrong = texts.filter(|(_, problems)| !problems.is_empty());
        wrong
            .map(|(text, problems)| {
                Diagnostics::new(text.clone(), located(text.as_str(), problems))
            })
            .collect()
    }
}

/// Reads one part. The names of objects that it does not say lead into other parts, perhaps: nobody asks yet.
fn read_part(name: &str, bytes: Vec<u8>) -> Result<(Arc<Text>, Configuration), Diagnostics> {
    let text = text(name, bytes)?;
    match rows(&text, Way::WHOLE, &Configuration::default, &mut |_, _| {}) {
        Ok(configuration) => Ok((text, configuration)),
        Err(Failure::Document { findings, .. }) => Err(Diagnostics::new(text, findings.list)),
        Err(Failure::State(error)) => {
            let error = Diagnostic::new(0..0, error.to_string());
            Err(Diagnostics::new(text, vec![error]))
        }
    }
}

/// An error for each object that a document before says, too; what stands below such an object goes without one.
fn said_twice(text: &Text, rows: &[Row], before: &[(Arc<Text>, Configuration)]) -> Vec<Diagnostic> {
    let mut paths: Vec<(Path, &Row)> = rows.iter().map(|row| (row.path(), row)).collect();
    paths.sort_by(|a, b| a.0.cmp(&b.0));
    paths.dedup_by(|below, above| below.0.steps().starts_with(above.0.steps()));
    let places = locate::locate(text.as_str(), paths.iter().map(|(path, _)| path));
    let errors = paths.iter().zip(places).map(|((path, row), here)| {
        let first = before
            .iter()
            .find(|(_, part)| part.contains(&row.row_key()));
        let there = first.and_then(|(text, _)| {
            let place = locate::locate(text.as_str(), [path]).pop()?;
            let (line, _) = text.position(place.span.start);
            Some(format!("{}, line {line}", text.name()))
        });
        let there = there.unwrap_or_default();
        let mut error = Diagnostic::new(here.span, format!("this object is also in {there}"));
        error.path = path.clone();
        error.help("an object stands in one document, with all that is below it")
    });
    errors.collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{meaning, testing};

    fn documents(texts: &[(&str, &str)]) -> Vec<(String, Vec<u8>)> {
        let own = |(name, text): &(&str, &str)| ((*name).to_owned(), text.as_bytes().to_vec());
        texts.iter().map(own).collect()
    }

    fn errors(texts: &[(&str, &str)]) -> String {
        let wrong = read_parts(documents(texts)).expect_err("something is wrong");
        let texts: Vec<String> = wrong.iter().map(Diagnostics::to_string).collect();
        texts.join("\n\n")
    }

    const VPCS: &str = "vpcs:\n  inside: {}\n  outside: {}\n";
    const LAN: &str =
        "interfaces:\n  lan: {vpc: inside, port: 'null:lan', mac: '02:00:00:00:00:01'}\n";

    #[test]
    fn names_lead_from_one_document_into_another() {
        let parts = read_parts(documents(&[("lan.yaml", LAN), ("vpcs.yaml", VPCS)])).unwrap();
        assert_eq!(meaning::check(&parts.configuration), []);
        assert_eq!(parts.configuration.len(), 3);
    }

    #[test]
    fn an_object_in_two_documents_is_an_error_that_names_both_places() {
        let again = "# more\nvpcs:\n  inside:\n    routes: {10.0.0.0/8: {type: reject}}\n";
        insta::assert_snapshot!(errors(&[
            ("a.yaml", VPCS),
            ("b.yaml", again),
            ("c.json", "{\"vpcs\": {\"inside\": {}}}")
        ]));
    }

    #[test]
    fn what_is_wrong_in_several_documents_is_said_of_each() {
        insta::assert_snapshot!(errors(&[
            ("a.yaml", "vpcs: {inside: {colour: red}}"),
            ("b.yaml", LAN),
            ("c.yaml", "interfaces: ["),
            ("empty.yaml", "")
        ]));
    }

    #[test]
    fn a_problem_of_the_whole_stands_in_the_document_that_says_it() {
        let parts = read_parts(documents(&[
            ("a.yaml", "vpcs: {outside: {}}"),
            ("lan.yaml", LAN),
        ]))
        .unwrap();
        let problems = meaning::check(&parts.configuration);
        let texts: Vec<String> = parts
            .diagnose(problems)
            .iter()
            .map(Diagnostics::to_string)
            .collect();
        insta::assert_snapshot!(texts.join("\n\n"));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        /// However a configuration is dealt out to documents by its outermost objects, they are that configuration.
        #[test]
        fn any_deal_is_the_whole(configuration in testing::configuration(), deal in prop::collection::vec(0usize..3, 1..40)) {
            let configuration = testing::complete(&configuration);
            let mut parts = vec![Configuration::default(); 3];
            // What stands below one outermost object goes to one document.
            let mut whose = std::collections::BTreeMap::new();
            for row in configuration.rows() {
                let path = row.path();
                let object: Vec<String> = path.steps().iter().take(if path.steps()[0] == "nat" { 3 } else { 2 }).cloned().collect();
                let next = whose.len();
                let part = *whose.entry(object).or_insert_with(|| deal[next % deal.len()]);
                parts[part].insert(row);
            }
            let documents = parts.iter().enumerate().map(|(index, part)| (format!("{index}.yaml"), super::super::to_yaml(&crate::document::to_document(part)).unwrap().into_bytes()));
            let read = read_parts(documents.collect()).unwrap();
            prop_assert_eq!(read.configuration, configuration);
        }
    }
}
