//! Plots: a bar for each median, and a line from the worst round to the best.

use std::fmt::Write as _;

use super::report::{Series, number};

const ROW: f64 = 30.0;
const LEFT: f64 = 330.0;
const WIDTH: f64 = 420.0;

/// Bars as SVG.
pub fn bars(title: &str, unit: &str, series: &[Series]) -> String {
    let largest = series.iter().flat_map(|one| &one.values).copied().fold(f64::MIN_POSITIVE, f64::max);
    let height = ROW.mul_add(series.len() as f64, 50.0);
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 860 {height}\" font-family=\"sans-serif\" font-size=\"13\">\n\
         <rect width=\"860\" height=\"{height}\" fill=\"#ffffff\"/>\n\
         <text x=\"12\" y=\"24\" font-size=\"15\" font-weight=\"bold\">{}, {}</text>\n",
        escaped(title),
        escaped(unit)
    );
    for (at, one) in series.iter().enumerate() {
        let top = ROW.mul_add(at as f64, 40.0);
        let x = |value: f64| LEFT + WIDTH * value / largest;
        let (low, high) = one.values.iter().fold((f64::MAX, 0_f64), |(low, high), v| (low.min(*v), high.max(*v)));
        let (middle, end) = (top + 10.0, x(high) + 8.0);
        let _ = write!(
            out,
            "<text x=\"{:.0}\" y=\"{:.0}\" text-anchor=\"end\">{}</text>\n\
             <rect x=\"{LEFT}\" y=\"{top}\" width=\"{:.1}\" height=\"20\" fill=\"{}\"/>\n\
             <line x1=\"{:.1}\" y1=\"{middle}\" x2=\"{:.1}\" y2=\"{middle}\" stroke=\"#222222\"/>\n\
             <text x=\"{end:.1}\" y=\"{:.0}\">{}</text>\n",
            LEFT - 8.0,
            top + 15.0,
            escaped(&one.name),
            x(one.median()) - LEFT,
            if one.name.contains("doorward") { "#2f6f9f" } else { "#b8b8b8" },
            x(low),
            x(high),
            top + 15.0,
            number(one.median()),
        );
    }
    out + "</svg>\n"
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;")
}
