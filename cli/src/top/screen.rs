//! What stands where on the screen.

use ratatui::Frame;
use ratatui::layout::{Alignment, Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span, Text};
use ratatui::widgets::{Cell, Paragraph, Row, Sparkline, Table as TableWidget};

use super::tables::{self, Table};
use super::{Shown, View};
use crate::daemon::connections::Sort;
use crate::rates::Rates;
use crate::status_text::{administration, alarms, headline};
use crate::terminal::clean;
use crate::units::{bits, packets, rate};

impl Shown {
    /// What the last two answers come to; none before the first.
    pub(super) fn rates(&self) -> Option<Rates<'_>> {
        let now = self.seen.now.as_ref()?;
        Some(Rates::between(self.seen.before.as_ref(), now))
    }

    fn paint(&self, colour: Color) -> Style {
        match self.colour {
            true => Style::new().fg(colour),
            false => Style::new(),
        }
    }

    fn loud(&self) -> Style {
        self.paint(Color::Red).add_modifier(Modifier::BOLD)
    }
}

/// How many rows the view has that is shown.
pub(super) fn rows(shown: &Shown) -> usize {
    table(shown).map_or(0, |table| table.rows.len())
}

/// The one table of a view; none of the overview, which has several.
fn table(shown: &Shown) -> Option<Table> {
    match shown.view {
        View::Overview => None,
        View::Interfaces => Some(tables::interfaces(shown)),
        View::Drops => Some(tables::drops(shown)),
        View::Connections => Some(tables::connections(shown)),
        View::Talkers => Some(tables::talkers(shown)),
        View::Revisions => Some(tables::revisions(shown)),
    }
}

/// Draws everything.
pub(super) fn draw(frame: &mut Frame<'_>, shown: &Shown) {
    let wrong = wrong(shown);
    let below = Constraint::Length(u16::try_from(wrong.len()).unwrap_or(u16::MAX).min(6));
    let parts = [
        Constraint::Length(1),
        Constraint::Length(1),
        below,
        Constraint::Fill(1),
        Constraint::Length(1),
    ];
    let [head, tabs, alarms, body, foot] = Layout::vertical(parts).areas(frame.area());
    frame.render_widget(heading(shown), head);
    frame.render_widget(views(shown), tabs);
    frame.render_widget(Paragraph::new(wrong), alarms);
    match table(shown) {
        Some(table) => draw_table(frame, body, shown, &table, shown.scrolled),
        None => overview(frame, body, shown),
    }
    frame.render_widget(keys(shown), foot);
}

fn heading(shown: &Shown) -> Line<'static> {
    match &shown.seen.now {
        Some(now) => Line::styled(
            headline(now, false),
            Style::new().add_modifier(Modifier::BOLD),
        ),
        None => Line::raw("asking the gateway …"),
    }
}

fn views(shown: &Shown) -> Line<'static> {
    let mut spans = Vec::new();
    for (index, view) in View::ALL.into_iter().enumerate() {
        let text = format!(" {} {} ", index + 1, view.title());
        spans.push(match view == shown.view {
            true => Span::styled(text, Style::new().add_modifier(Modifier::REVERSED)),
            false => Span::raw(text),
        });
    }
    Line::from(spans)
}

/// What a person should know of, a line each.
fn wrong(shown: &Shown) -> Vec<Line<'static>> {
    let mut lines = Vec::new();
    if let Some(why) = &shown.seen.gone {
        let text = format!(
            "NO ANSWER  {}; asking again; below is what was last known",
            clean(why)
        );
        lines.push(Line::styled(text, shown.loud()));
    }
    let Some(now) = &shown.seen.now else {
        return lines;
    };
    for alarm in alarms(now) {
        lines.push(Line::styled(
            format!("ALARM  {}", clean(&alarm)),
            shown.loud(),
        ));
    }
    for interface in now.interfaces.iter().filter(|interface| !interface.open) {
        let problem = interface.problem.as_deref().unwrap_or_default();
        let text = format!(
            "DOWN  {}: port {}: {}",
            interface.name,
            interface.port,
            clean(problem)
        );
        lines.push(Line::styled(text, shown.loud()));
    }
    let waiting = (&now.confirmation, &now.lock, now.scheduled.as_slice());
    lines.extend(administration(waiting, false).into_iter().map(Line::raw));
    lines
}

fn keys(shown: &Shown) -> Line<'static> {
    let sort = match shown.sort {
        Sort::Bytes => "bytes",
        Sort::Packets => "packets",
        Sort::Age => "age",
    };
    let mut text = "q quit  Tab 1–6 view  ↑↓ scroll  p pause".to_owned();
    if matches!(shown.view, View::Connections | View::Talkers) {
        text += &format!("  s sort (most {sort})");
    }
    let mut spans = vec![Span::styled(text, shown.paint(Color::DarkGray))];
    if shown.is_paused {
        spans.push(Span::styled("  PAUSED", shown.loud()));
    }
    if let Some(found) = shown
        .seen
        .connections
        .as_ref()
        .filter(|_| shown.wish().connections.is_some())
    {
        spans.push(Span::raw(format!("  {} connections", found.total)));
    }
    Line::from(spans)
}

fn overview(frame: &mut Frame<'_>, area: Rect, shown: &Shown) {
    let (interfaces, drops) = (tables::interfaces(shown), tables::drops(shown));
    let length = |table: &Table| u16::try_from(table.rows.len().max(1) + 2).unwrap_or(u16::MAX);
    // Rates and drops have their place before the last interface has.
    let parts = [
        Constraint::Length(2),
        Constraint::Length(4),
        Constraint::Max(length(&interfaces)),
        Constraint::Max(length(&drops).min(7)),
        Constraint::Fill(1),
    ];
    let [figures, trends, above, middle, below] = Layout::vertical(parts).areas(area);
    frame.render_widget(Paragraph::new(numbers(shown)), figures);
    let sides = Layout::horizontal([Constraint::Fill(1), Constraint::Fill(1)]).spacing(2);
    let [left, right] = sides.areas(trends);
    let recent = &shown.seen.recent;
    trend(
        frame,
        left,
        "received",
        &recent.received.bytes,
        shown.paint(Color::Blue),
    );
    trend(
        frame,
        right,
        "transmitted",
        &recent.transmitted.bytes,
        shown.paint(Color::Green),
    );
    draw_table(frame, above, shown, &interfaces, 0);
    draw_table(frame, middle, shown, &drops, 0);
    draw_table(frame, below, shown, &tables::revisions(shown), 0);
}

/// The rates of all interfaces together, and connections.
fn numbers(shown: &Shown) -> Text<'static> {
    let Some(rates) = shown.rates() else {
        return Text::default();
    };
    let traffic = rates.traffic(|_| true);
    let dropped = rates.of(|status| Some(status.packets.dropped));
    let made = rates.of(|status| Some(status.connections.created));
    let connections = &rates.now.connections;
    let share = |worker| match rates.busy(worker) {
        Some(share) => format!("{:.0} %", 100.0 * share),
        None => "–".to_owned(),
    };
    let busy: Vec<String> = (0..rates.now.workers).map(share).collect();
    Text::from(vec![
        Line::raw(format!(
            "received {} {}   transmitted {} {}",
            bits(traffic.received_bytes),
            packets(traffic.received_packets),
            bits(traffic.transmitted_bytes),
            packets(traffic.transmitted_packets),
        )),
        Line::raw(format!(
            "dropped {}   connections {} ({} new)   NAT mappings {}   busy {}",
            packets(dropped),
            connections.now,
            rate(made),
            connections.mappings,
            busy.join(" "),
        )),
    ])
}

/// The last seconds, as many as there are columns, the last at the right.
fn trend(frame: &mut Frame<'_>, area: Rect, name: &str, values: &[u64], style: Style) {
    let [title, picture] =
        Layout::vertical([Constraint::Length(1), Constraint::Fill(1)]).areas(area);
    let width = usize::from(picture.width);
    let mut last = values[values.len().saturating_sub(width)..].to_vec();
    let most = last.iter().max().copied().unwrap_or(0);
    last.splice(0..0, std::iter::repeat_n(0, width - last.len()));
    let text = format!("{name}, {width} s, up to {}", bits(most as f64));
    frame.render_widget(Line::raw(text), title);
    frame.render_widget(Sparkline::default().data(last).style(style), picture);
}

fn draw_table(frame: &mut Frame<'_>, area: Rect, shown: &Shown, table: &Table, scrolled: usize) {
    if table.rows.is_empty() {
        let style = shown.paint(Color::DarkGray);
        frame.render_widget(Line::styled(table.empty, style), area);
        return;
    }
    let cell = |text: &str, is_number: bool| {
        let alignment = if is_number {
            Alignment::Right
        } else {
            Alignment::Left
        };
        Cell::from(Text::from(text.to_owned()).alignment(alignment))
    };
    let is_shown = |column: &tables::Column| column.from <= area.width;
    let columns = || table.columns.iter().filter(|column| is_shown(column));
    let titles = columns().map(|column| cell(column.title, column.is_number));
    let header = Row::new(titles).style(Style::new().add_modifier(Modifier::UNDERLINED));
    let rows = table.rows.iter().skip(scrolled).map(|(is_bad, cells)| {
        let cells = cells.iter().zip(table.columns);
        let cells = cells.filter(|(_, column)| is_shown(column));
        let row = Row::new(cells.map(|(text, column)| cell(text, column.is_number)));
        if *is_bad {
            row.style(shown.loud())
        } else {
            row
        }
    });
    let widths = columns().map(tables::Column::constraint);
    let widget = TableWidget::new(rows, widths)
        .header(header)
        .column_spacing(1);
    frame.render_widget(widget, area);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use ratatui::Terminal;
    use ratatui::backend::TestBackend;

    use super::*;
    use crate::connections::tests::found;
    use crate::daemon::recent::{Columns, Rates as Column};
    use crate::rates::tests::answers;
    use crate::top::ask::Seen;

    fn shown(view: View) -> Shown {
        let (before, now) = answers();
        let received = (0..300).map(|second| second * 1_000).collect();
        let recent = Columns {
            received: Column {
                packets: Vec::new(),
                bytes: received,
            },
            ..Columns::default()
        };
        let seen = Seen {
            before: Some(before),
            now: Some(now),
            recent,
            connections: Some(found()),
            revisions: Vec::new(),
            gone: None,
        };
        Shown {
            view,
            seen,
            ..Shown::default()
        }
    }

    fn screen(shown: &Shown, width: u16, height: u16) -> String {
        let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
        terminal.draw(|frame| draw(frame, shown)).unwrap();
        terminal.backend().to_string()
    }

    #[test]
    fn each_view_fits_onto_an_old_terminal_and_onto_a_large_one() {
        for view in View::ALL {
            insta::assert_snapshot!(format!("{view:?}_80"), screen(&shown(view), 80, 24));
        }
        insta::assert_snapshot!("Overview_140", screen(&shown(View::Overview), 140, 40));
        insta::assert_snapshot!(
            "Connections_140",
            screen(&shown(View::Connections), 140, 12)
        );
    }

    #[test]
    fn what_is_wrong_is_said_above_all() {
        let mut gone = shown(View::Drops);
        gone.seen.gone = Some("no gateway is running".to_owned());
        gone.is_paused = true;
        insta::assert_snapshot!(screen(&gone, 80, 12));
        insta::assert_snapshot!("nothing_is_known_yet", screen(&Shown::default(), 60, 6));
    }

    proptest! {
        #[test]
        fn every_size_can_be_drawn(width in 1u16..200, height in 1u16..60, view in 0usize..6, scrolled in 0usize..10) {
            let mut shown = shown(View::ALL[view]);
            shown.scrolled = scrolled;
            shown.colour = true;
            screen(&shown, width, height);
        }
    }
}
