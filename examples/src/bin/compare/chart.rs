//! The chart.

use std::path::Path;

use plotters::prelude::*;

use crate::{Row, Runtime, number};

type Error = Box<dyn std::error::Error>;

/// Draws a panel for each row, a bar in it for each runtime.
pub(crate) fn draw(path: &Path, runtimes: &[Runtime], rows: &[Row]) -> Result<(), Error> {
    let lines = rows.len().div_ceil(COLUMNS);
    let size = (
        PANEL.0 * COLUMNS as u32,
        PANEL.1 * u32::try_from(lines)?.max(1),
    );
    let root = SVGBackend::new(path, size).into_drawing_area();
    root.fill(&WHITE)?;
    for (panel, row) in root.split_evenly((lines.max(1), COLUMNS)).iter().zip(rows) {
        draw_row(panel, runtimes, row)?;
    }
    root.present()?;
    Ok(())
}

fn draw_row(
    panel: &DrawingArea<SVGBackend<'_>, plotters::coord::Shift>,
    runtimes: &[Runtime],
    row: &Row,
) -> Result<(), Error> {
    let medians = row.medians();
    let highest = medians
        .iter()
        .copied()
        .fold(0.0, f64::max)
        .max(f64::MIN_POSITIVE);
    let mut chart = ChartBuilder::on(panel)
        .caption(format!("{}, {}", row.what, row.unit), ("sans-serif", 15))
        .margin(12)
        .x_label_area_size(22)
        .build_cartesian_2d(0.0..runtimes.len() as f64, 0.0..highest * 1.15)?;
    chart
        .configure_mesh()
        .disable_mesh()
        .disable_y_axis()
        .disable_x_axis()
        .draw()?;
    for ((index, &value), runtime) in medians.iter().enumerate().zip(runtimes) {
        let left = index as f64;
        let color = Palette99::pick(index);
        chart.draw_series([Rectangle::new(
            [(left + 0.15, 0.0), (left + 0.85, value)],
            color.filled(),
        )])?;
        let font = ("sans-serif", 13).into_font();
        let centered = font
            .color(&BLACK)
            .pos(plotters::style::text_anchor::Pos::new(
                plotters::style::text_anchor::HPos::Center,
                plotters::style::text_anchor::VPos::Bottom,
            ));
        chart.draw_series([Text::new(
            number(value),
            (left + 0.5, value + highest * 0.01),
            centered.clone(),
        )])?;
        let (x, y) = chart.backend_coord(&(left + 0.5, 0.0));
        let (left_edge, top_edge) = panel.get_base_pixel();
        panel.draw(&Text::new(
            runtime.name(),
            (x - left_edge, y - top_edge + 18),
            centered,
        ))?;
    }
    Ok(())
}

/// Panels side by side.
const COLUMNS: usize = 4;

/// Size of a panel, pixels.
const PANEL: (u32, u32) = (300, 220);
