//! The report as a picture: bars of throughput, and lines of latency.

use std::fmt::Write;

use super::report::{Report, Row};

const WIDTH: f64 = 960.0;
const LEFT: f64 = 220.0;
const BAR: f64 = 22.0;
const GAP: f64 = 8.0;
const PLOT: f64 = 260.0;
const MARGIN: f64 = 48.0;
/// Between two names, one below the other.
const LINE_HEIGHT: f64 = 15.0;
/// Told apart by those too who do not see colours: one is dark, one is light.
const COLOURS: [&str; 2] = ["#2b5c8a", "#e0a458"];

/// One line of the lower plot: a name, and points of (part of the maximum, milliseconds).
struct Line {
    name: String,
    colour: &'static str,
    dashed: bool,
    points: Vec<(f64, f64)>,
}

/// Draws it.
pub(super) fn svg(report: &Report) -> String {
    let rows: Vec<Row<'_>> = report.rows().collect();
    let lines: Vec<Line> = rows.iter().flat_map(lines).collect();
    let bars_height = MARGIN + rows.len() as f64 * (BAR + GAP);
    let height = bars_height + if lines.is_empty() { MARGIN } else { PLOT + 3.0 * MARGIN };
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" font-family=\"sans-serif\" \
         font-size=\"13\"><rect width=\"100%\" height=\"100%\" fill=\"white\"/>"
    );
    text(&mut svg, (GAP, 24.0), "start", "events a second, until all of them are delivered");
    draw_bars(&mut svg, &rows);
    if !lines.is_empty() {
        draw_lines(&mut svg, &lines, bars_height + MARGIN);
    }
    text(&mut svg, (GAP, height - 12.0), "start", report.machine.to_string().lines().next().unwrap_or_default());
    svg + "</svg>\n"
}

fn draw_bars(svg: &mut String, rows: &[Row<'_>]) {
    let rate = |row: &Row<'_>| row.median(|run| run.events_per_second);
    let most = rows.iter().map(rate).fold(1.0, f64::max);
    for (place, row) in rows.iter().enumerate() {
        let top = MARGIN + place as f64 * (BAR + GAP);
        let length = rate(row) / most * (WIDTH - LEFT - 90.0);
        let colour = COLOURS[row.subject as usize % COLOURS.len()];
        let _ =
            write!(svg, "<rect x=\"{LEFT}\" y=\"{top}\" width=\"{length:.1}\" height=\"{BAR}\" fill=\"{colour}\"/>");
        let name = format!("{}, {}", row.case.name, row.subject.name());
        text(svg, (LEFT - GAP, top + 16.0), "end", &name);
        text(svg, (LEFT + length + GAP, top + 16.0), "start", &format!("{:.0}", rate(row)));
    }
}

/// The median of p50, and that of p99, over the parts of the maximum.
fn lines(row: &Row<'_>) -> Vec<Line> {
    let parts: Vec<_> = row.runs[0].at_rates.iter().enumerate().filter_map(|(n, at)| Some((n, at.part?))).collect();
    let line = |quantile: &str, dashed: bool, pick: fn(&super::histogram::Latency) -> u64| {
        let milliseconds = |place: usize| {
            row.median(|run| run.at_rates.get(place).map_or(0.0, |at| pick(&at.delivery) as f64 / 1000.0))
        };
        Line {
            name: format!("{}, {} {quantile}", row.case.name, row.subject.name()),
            colour: COLOURS[row.subject as usize % COLOURS.len()],
            dashed,
            points: parts.iter().map(|(place, part)| (*part, milliseconds(*place))).collect(),
        }
    };
    let lines = [line("p50", false, |latency| latency.p50_us), line("p99", true, |latency| latency.p99_us)];
    lines.into_iter().filter(|line| !line.points.is_empty()).collect()
}

/// Milliseconds on a scale of powers of ten: p50 and p99 would not be on one otherwise.
fn draw_lines(svg: &mut String, lines: &[Line], top: f64) {
    let all = || lines.iter().flat_map(|line| &line.points).map(|(_, milliseconds)| milliseconds.max(0.01).log10());
    let (low, high) = (all().fold(f64::INFINITY, f64::min).floor(), all().fold(f64::NEG_INFINITY, f64::max).ceil());
    let high = high.max(low + 1.0);
    let x = |part: f64| LEFT + part * (WIDTH - 2.0 * LEFT);
    let y = |milliseconds: f64| top + PLOT * (high - milliseconds.max(0.01).log10()) / (high - low);
    text(svg, (GAP, top - 16.0), "start", "from due to delivered, in milliseconds, at parts of the maximum");
    for power in low as i32..=high as i32 {
        let (value, at) = (10_f64.powi(power), y(10_f64.powi(power)));
        let _ = write!(svg, "<path d=\"M{LEFT} {at:.1}H{:.1}\" stroke=\"#ddd\"/>", WIDTH - LEFT);
        text(svg, (LEFT - GAP, at + 4.0), "end", &value.to_string());
    }
    for part in [0.0, 0.25, 0.5, 0.8, 1.0] {
        text(svg, (x(part), top + PLOT + 20.0), "middle", &format!("{:.0} %", part * 100.0));
    }
    for line in lines {
        let points: Vec<_> = line.points.iter().map(|(part, ms)| format!("{:.1},{:.1}", x(*part), y(*ms))).collect();
        let dashes = if line.dashed { " stroke-dasharray=\"6 4\"" } else { "" };
        let (points, colour) = (points.join(" "), line.colour);
        let _ =
            write!(svg, "<polyline points=\"{points}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"{dashes}/>");
    }
    let mut names: Vec<_> = lines.iter().filter_map(|line| line.points.last().map(|last| (last, &line.name))).collect();
    names.sort_by(|((_, one), _), ((_, other), _)| other.total_cmp(one));
    let mut lowest = f64::NEG_INFINITY;
    for ((part, milliseconds), name) in names {
        lowest = (lowest + LINE_HEIGHT).max(y(*milliseconds));
        text(svg, (x(*part) + GAP, lowest + 4.0), "start", name);
    }
}

fn text(svg: &mut String, (x, y): (f64, f64), anchor: &str, text: &str) {
    let text = text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    let _ = write!(svg, "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\">{text}</text>");
}

#[cfg(test)]
mod tests {
    use super::{
        super::{case::Case, machine::Machine, run::Run, subject::Subject},
        *,
    };

    fn report() -> Report {
        let runs = [
            (Subject::Latchhook, "base", 1000.0),
            (Subject::Ceiling, "base", 2000.0),
            (Subject::Latchhook, "b", 500.0),
        ];
        Report {
            machine: Machine::example(),
            runs: runs.map(|(subject, case, rate)| Run::example(subject, case, rate)).to_vec(),
            cases: ["base", "b"].map(Case::example).to_vec(),
        }
    }

    fn attributes(svg: &str, element: &str, name: &str) -> Vec<String> {
        let (element, name) = (format!("<{element} "), format!("{name}=\""));
        let elements = svg.split(&element).skip(1).map(|rest| rest.split('>').next().unwrap());
        elements.filter_map(|text| text.split(&name).nth(1)?.split('"').next().map(str::to_owned)).collect()
    }

    #[test]
    fn a_row_that_is_twice_as_fast_has_a_bar_that_is_twice_as_long() {
        let svg = svg(&report());

        let bars: Vec<f64> =
            attributes(&svg, "rect", "width").iter().skip(1).map(|width| width.parse().unwrap()).collect();
        assert_eq!(bars, [325.0, 650.0, 162.5]);
    }

    #[test]
    fn each_row_has_a_line_for_p50_and_one_for_p99_and_the_slower_is_higher() {
        let svg = svg(&report());

        let lines = attributes(&svg, "polyline", "points");
        let height = |line: &str| line.split([' ', ',']).nth(1).unwrap().parse::<f64>().unwrap();
        assert_eq!(lines.len(), 6);
        assert!(height(&lines[1]) < height(&lines[0]), "the y axis points down: {lines:?}");
    }

    /// Two of the example's rows have the same latency.
    #[test]
    fn no_name_of_a_line_is_written_over_another() {
        let svg = svg(&report());

        let is_name = |text: &&str| text.contains(" p50<") || text.contains(" p99<");
        let height = |text: &str| text.split("y=\"").nth(1).unwrap().split('"').next().unwrap().parse::<f64>().unwrap();
        let heights: Vec<f64> = svg.split("<text ").filter(is_name).map(height).collect();
        assert_eq!(heights.len(), 6);
        assert!(heights.windows(2).all(|pair| pair[1] - pair[0] > LINE_HEIGHT - 0.1), "{heights:?}");
    }

    #[test]
    fn names_cannot_break_the_picture() {
        assert!(svg(&report()).contains("A &lt;fast&gt; CPU"));
    }

    #[test]
    fn without_latency_there_are_only_bars() {
        let mut report = report();
        report.runs.iter_mut().for_each(|run| run.at_rates.clear());

        assert!(!svg(&report).contains("polyline"));
    }
}
