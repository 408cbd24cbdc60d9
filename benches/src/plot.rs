//! A bar chart of a case's medians.

use anyhow::{Result, anyhow};
use plotters::prelude::*;

use crate::figures::{Case, number};

const WIDTH: u32 = 900;
const BAR: u32 = 34;
const HEAD: u32 = 60;
/// Width of the names, left of the bars.
const NAMES: i32 = 360;
const INK: RGBColor = RGBColor(60, 60, 60);
const BASE: RGBColor = RGBColor(150, 150, 150);
const OURS: RGBColor = RGBColor(30, 110, 160);

/// The chart as SVG; `None` for a case with fewer than two rows.
pub fn bar_chart(case: &Case) -> Result<Option<String>> {
    if case.rows.len() < 2 {
        return Ok(None);
    }
    let mut svg = String::new();
    let count = u32::try_from(case.rows.len())?;
    draw(
        case,
        SVGBackend::with_string(&mut svg, (WIDTH, HEAD + count * BAR + 10)).into_drawing_area(),
    )
    .map_err(|error| anyhow!("draw {}: {error}", case.key))?;
    Ok(Some(svg + "\n"))
}

fn draw<'a>(
    case: &Case,
    area: DrawingArea<SVGBackend<'a>, plotters::coord::Shift>,
) -> Result<(), DrawingAreaErrorKind<<SVGBackend<'a> as DrawingBackend>::ErrorType>> {
    let text = |size: i32| ("sans-serif", size).into_font().color(&INK);
    area.fill(&WHITE)?;
    area.draw(&Text::new(
        format!("{}, {}", case.title, case.unit),
        (10, 14),
        text(20),
    ))?;
    let most = case.rows.iter().map(|row| row.median()).fold(0.0, f64::max);
    let room = f64::from(WIDTH) - f64::from(NAMES) - 90.0;
    let mut top = i32::try_from(HEAD).unwrap_or_default();
    for row in &case.rows {
        let median = row.median();
        #[expect(clippy::cast_possible_truncation, reason = "pixels of a picture")]
        let length = (median / most * room).max(1.0) as i32;
        let is_base = case.base.as_deref() == Some(&row.name);
        let color = if is_base { BASE } else { OURS };
        area.draw(&Text::new(row.name.clone(), (10, top + 6), text(15)))?;
        area.draw(&Rectangle::new(
            [(NAMES, top), (NAMES + length, top + 24)],
            color.filled(),
        ))?;
        area.draw(&Text::new(
            number(median),
            (NAMES + length + 8, top + 6),
            text(15),
        ))?;
        top += i32::try_from(BAR).unwrap_or_default();
    }
    area.present()
}
