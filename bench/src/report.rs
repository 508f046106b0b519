//! What a benchmark says: a table for people, and the one line for machines.

/// The costs of one run, of ours and of the peer where there is one.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Run {
    pub(crate) ours: f64,
    pub(crate) peer: Option<f64>,
}

/// The result of all runs.
#[derive(Debug)]
pub(crate) struct Report {
    pub(crate) unit: &'static str,
    pub(crate) peer_name: &'static str,
    pub(crate) runs: Vec<Run>,
    /// Further figures, as `key=value`.
    pub(crate) more: Vec<(&'static str, f64)>,
}

/// The middle one of some figures; the lower of the two middle ones where their number is even.
pub(crate) fn median(figures: impl IntoIterator<Item = f64>) -> f64 {
    let mut figures: Vec<f64> = figures.into_iter().collect();
    figures.sort_by(f64::total_cmp);
    figures
        .get(figures.len().saturating_sub(1) / 2)
        .copied()
        .unwrap_or(f64::NAN)
}

/// The figure that `share` of all figures do not exceed.
pub(crate) fn percentile(figures: &mut [f64], share: f64) -> f64 {
    figures.sort_by(f64::total_cmp);
    let index = (figures.len() as f64 * share) as usize;
    figures
        .get(index.min(figures.len().saturating_sub(1)))
        .copied()
        .unwrap_or(f64::NAN)
}

/// Three digits that mean something.
fn figure(value: f64) -> String {
    let digits = match value.abs() {
        100.0.. => 0,
        10.0.. => 1,
        _ => 2,
    };
    format!("{value:.digits$}")
}

impl Report {
    pub(crate) fn print(&self, name: &str) {
        println!(
            "\n  run  {:>12}  {:>12}  ratio   ({})",
            "ours", self.peer_name, self.unit
        );
        for (number, run) in self.runs.iter().enumerate() {
            let peer = run.peer.map_or("-".to_owned(), figure);
            let ratio = run
                .peer
                .map_or("-".to_owned(), |peer| format!("{:.2}", run.ours / peer));
            println!(
                "  {:>3}  {:>12}  {peer:>12}  {ratio}",
                number + 1,
                figure(run.ours)
            );
        }
        println!("\n{}", self.line(name));
    }

    fn line(&self, name: &str) -> String {
        let ours = median(self.runs.iter().map(|run| run.ours));
        let peers: Vec<f64> = self.runs.iter().filter_map(|run| run.peer).collect();
        let mut line = format!("bench {name} ours={}", figure(ours));
        if peers.is_empty() {
            line += &format!(" peer=- unit={}", self.unit);
        } else {
            let ratios: Vec<f64> = self
                .runs
                .iter()
                .filter_map(|run| Some(run.ours / run.peer?))
                .collect();
            let (least, most) = ratios
                .iter()
                .fold((f64::MAX, f64::MIN), |(least, most), r| {
                    (least.min(*r), most.max(*r))
                });
            line += &format!(
                " peer={} unit={} ratio={:.2} min={least:.2} max={most:.2} peer_name={}",
                figure(median(peers.iter().copied())),
                self.unit,
                median(ratios.iter().copied()),
                self.peer_name
            );
        }
        line += &format!(" runs={}", self.runs.len());
        for (key, value) in &self.more {
            line += &format!(" {key}={}", figure(*value));
        }
        line
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_for_machines() {
        let runs = [(3.0, 4.0), (3.1, 4.4), (3.3, 4.5)];
        let runs = runs
            .map(|(ours, peer)| Run {
                ours,
                peer: Some(peer),
            })
            .to_vec();
        let report = Report {
            unit: "ns/lookup",
            peer_name: "rte_fib",
            runs,
            more: vec![("p99_ns", 12.3)],
        };
        assert_eq!(
            report.line("lpm4-hit"),
            "bench lpm4-hit ours=3.10 peer=4.40 unit=ns/lookup ratio=0.73 min=0.70 max=0.75 \
             peer_name=rte_fib runs=3 p99_ns=12.3"
        );
        let alone = Report {
            unit: "ns/packet",
            peer_name: "-",
            runs: vec![Run {
                ours: 1234.0,
                peer: None,
            }],
            more: Vec::new(),
        };
        assert_eq!(
            alone.line("x"),
            "bench x ours=1234 peer=- unit=ns/packet runs=1"
        );
    }
}
