//! Where the parts of a document stand in its text: found by reading it again, when somebody asks.

use std::collections::HashMap;
use std::net::IpAddr;

use ipnet::IpNet;

use super::diagnostic::Diagnostic;
use super::event::{self, Event, Events, Scalar, Span};
use super::yaml::YamlEvents;
use crate::document::Path;
use crate::types::AddressRange;

/// The places of parts of a document in its text, each a field's value or the key of an object. Where there is no such
/// part, the nearest one above it, and at last the head of the document. Cost: the text, and the paths.
pub(super) fn locate<'p>(text: &str, paths: impl IntoIterator<Item = &'p Path>) -> Vec<Found> {
    let mut tree = Wanted::default();
    let paths: Vec<&Path> = paths.into_iter().collect();
    for path in &paths {
        tree.want(path);
    }
    let mut finder = Finder {
        events: YamlEvents::new(text),
    };
    // What is behind an error of syntax is not found.
    let _ = finder.document(&mut tree);
    paths.into_iter().map(|path| tree.found(path)).collect()
}

/// Where a path leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) span: Span,
    /// How many of its steps lead somewhere.
    pub(super) steps: usize,
}

/// The paths that are looked for, as a tree of their steps.
#[derive(Default)]
struct Wanted {
    span: Option<Span>,
    below: HashMap<String, Wanted>,
}

impl Wanted {
    fn want(&mut self, path: &Path) {
        let mut node = self;
        for step in path.steps() {
            node = node.below.entry(canonical(step)).or_default();
        }
    }

    fn found(&self, path: &Path) -> Found {
        let mut node = self;
        let mut found = Found {
            span: self.span.clone().unwrap_or_default(),
            steps: 0,
        };
        for (index, step) in path.steps().iter().enumerate() {
            let Some(below) = node.below.get(&canonical(step)) else {
                break;
            };
            let Some(span) = &below.span else { break };
            found.span = span.clone();
            found.steps = index + 1;
            node = below;
        }
        found
    }

    fn step(&mut self, text: &str) -> Option<&mut Wanted> {
        if self.below.is_empty() {
            return None;
        }
        self.below.get_mut(&canonical(text))
    }
}

struct Finder<'a> {
    events: YamlEvents<'a>,
}

impl<'a> Finder<'a> {
    fn document(&mut self, wanted: &mut Wanted) -> Result<(), Box<Diagnostic>> {
        match self.events.next()? {
            Some(first) => self.value(first, None, wanted),
            None => Ok(()),
        }
    }

    /// A value whose key stands at `key`.
    fn value(
        &mut self,
        (event, span): (Event<'a>, Span),
        key: Option<Span>,
        wanted: &mut Wanted,
    ) -> Result<(), Box<Diagnostic>> {
        let mut place = match (&event, key) {
            (Event::Scalar(_), _) if !span.is_empty() => Some(span.clone()),
            (_, key) => key,
        };
        // What comes first of all the places counts, should a key be there twice.
        let known = wanted.span.is_some();
        match event {
            Event::MapStart => {
                while let Some((Event::Key(name), key)) = self.events.next()? {
                    place.get_or_insert_with(|| key.clone());
                    let Some(first) = self.events.next()? else {
                        break;
                    };
                    match wanted.step(&name) {
                        Some(below) => self.value(first, Some(key), below)?,
                        None => drop(event::skip(&mut self.events, &first.0)?),
                    }
                }
            }
            Event::ListStart => {
                let mut index = 0usize;
                while let Some(first) = self.events.next()? {
                    if first.0 == Event::ListEnd {
                        break;
                    }
                    place.get_or_insert_with(|| first.1.clone());
                    self.item(first, index, wanted)?;
                    index += 1;
                }
            }
            _ => {}
        }
        if !known {
            wanted.span = Some(place.unwrap_or(span.start..span.start + 1));
        }
        Ok(())
    }

    /// An item of a list: found by its index, and a member of a set by its text, which may stand in an object.
    fn item(
        &mut self,
        first: (Event<'a>, Span),
        index: usize,
        wanted: &mut Wanted,
    ) -> Result<(), Box<Diagnostic>> {
        if let Event::Scalar(Scalar::Text(text)) = &first.0
            && let Some(below) = wanted.step(text)
        {
            below.span.get_or_insert(first.1.clone());
        }
        if let Some(below) = wanted.below.get_mut(&index.to_string()) {
            return self.value(first, None, below);
        }
        if first.0 != Event::MapStart {
            event::skip(&mut self.events, &first.0)?;
            return Ok(());
        }
        while let Some((Event::Key(_), _)) = self.events.next()? {
            let Some(value) = self.events.next()? else {
                break;
            };
            match &value.0 {
                Event::Scalar(Scalar::Text(text)) => {
                    if let Some(below) = wanted.step(text) {
                        below.span.get_or_insert(value.1.clone());
                    }
                }
                other => drop(event::skip(&mut self.events, other)?),
            }
        }
        Ok(())
    }
}

/// The canonical spelling of what may be a key or a member of a set: names are their own, prefixes and addresses have
/// several.
fn canonical(text: &str) -> String {
    if let Ok(network) = text.parse::<IpNet>() {
        return network.to_string();
    }
    if let Ok(address) = text.parse::<IpAddr>() {
        return address.to_string();
    }
    match text.parse::<AddressRange>() {
        Ok(range) => range.to_string(),
        Err(_) => text.to_owned(),
    }
}
