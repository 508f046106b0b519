use std::collections::BTreeMap;

/// One scrape, in the Prometheus text format.
#[derive(Debug)]
pub struct Metrics(BTreeMap<String, f64>);

impl Metrics {
    /// Reads the text; panics at a line that is none of the format's.
    pub fn read(text: &str) -> Self {
        let samples = text.lines().filter(|line| !line.starts_with('#'));
        Metrics(samples.map(sample).collect())
    }

    /// Every sample of a metric: its labels as they are written (`{a="b"}`, or nothing), and its value.
    pub fn samples<'a>(&'a self, name: &'a str) -> impl Iterator<Item = (&'a str, f64)> {
        self.0.iter().filter_map(move |(series, value)| {
            let labels = series.strip_prefix(name)?;
            (labels.is_empty() || labels.starts_with('{')).then_some((labels, *value))
        })
    }

    /// The sum over all samples of a metric; panics if there is none.
    #[track_caller]
    pub fn sum(&self, name: &str) -> f64 {
        let mut samples = self.samples(name).peekable();
        assert!(
            samples.peek().is_some(),
            "no metric {name} among {:?}",
            self.0.keys()
        );
        samples.map(|(_, value)| value).sum()
    }

    /// The sum over the samples of a metric that have this label.
    pub fn labelled(&self, name: &str, label: &str, value: &str) -> f64 {
        let label = format!("{label}=\"{value}\"");
        let samples = self
            .samples(name)
            .filter(|(labels, _)| labels.contains(&label));
        samples.map(|(_, value)| value).sum()
    }
}

fn sample(line: &str) -> (String, f64) {
    // What follows is an exemplar.
    let line = line.split(" # ").next().unwrap_or(line);
    let parts = line
        .rsplit_once(' ')
        .and_then(|(series, value)| Some((series, value.parse().ok()?)));
    let Some((series, value)) = parts else {
        panic!("not a sample: {line:?}")
    };
    (series.to_owned(), value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_are_found_by_name_and_label() {
        let metrics =
            Metrics::read("# TYPE a counter\na{x=\"1\",y=\"2\"} 3\na{x=\"2\"} 4\nab 5\n# EOF\n");
        assert_eq!(metrics.sum("a"), 7.0);
        assert_eq!(metrics.sum("ab"), 5.0);
        assert_eq!(metrics.labelled("a", "x", "2"), 4.0);
        assert_eq!(metrics.labelled("a", "y", "1"), 0.0);
    }

    #[test]
    #[should_panic(expected = "not a sample")]
    fn what_is_no_sample_is_noticed() {
        Metrics::read("a{x=\"1\"} three\n");
    }
}
