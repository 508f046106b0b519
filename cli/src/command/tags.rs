use rewire_configdb::Tag;
use serde_json::{Value, json};

use crate::answer::Answer;
use crate::columns::{Cell, columns};
use crate::context::Context;
use crate::failure::Failure;
use crate::when;

/// List the tags
#[derive(clap::Args)]
pub(crate) struct Tags {}

impl Tags {
    pub(crate) fn run(self, context: &Context) -> Result<Answer, Failure> {
        let tags = context.open()?.tags()?;
        if tags.is_empty() {
            context.note("there are no tags");
        }
        Ok(context.shown(|_| text(&tags), || json!({ "tags": tags.iter().map(to_json).collect::<Value>() })))
    }
}

fn text(tags: &[Tag]) -> String {
    if tags.is_empty() {
        return String::new();
    }
    let mut rows = vec![["tag", "revision", "author", "time"].map(Cell::word)];
    rows.extend(tags.iter().map(|tag| {
        [
            Cell::word(&tag.name),
            Cell::word(&tag.revision.to_string()),
            Cell::word(&tag.author),
            Cell::word(&when::local(tag.tagged_at)),
        ]
    }));
    let rows: Vec<Vec<Cell>> = rows.into_iter().map(Vec::from).collect();
    columns(&rows).into_iter().map(|line| format!("{line}\n")).collect()
}

fn to_json(tag: &Tag) -> Value {
    json!({
        "tag": tag.name,
        "revision": tag.revision,
        "author": tag.author,
        "time": when::utc(tag.tagged_at),
    })
}
