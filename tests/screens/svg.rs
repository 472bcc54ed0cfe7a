//! A buffer as an SVG picture: one rectangle for a run of equal background, one text for a word of equal style.
//! Frames are drawn as lines, not as letters, and `textLength` keeps the grid, so that any monospace font will do.

use std::fmt::Write;

use ratatui::{
    buffer::{Buffer, Cell},
    style::{Color, Modifier},
};
use unicode_width::UnicodeWidthStr;

/// The whole picture stands on whole pixels: nothing is blurred, and no seam shows between two rows.
const FONT: u32 = 15;
const CELL: u32 = 9;
const ROW: u32 = 19;
const BASE: u32 = 14;
const PAD: u32 = 14;

const FONTS: &str =
    "DejaVu Sans Mono, JetBrains Mono, Menlo, Consolas, Noto Sans Mono CJK SC, monospace";

fn hex(colour: Color, default: &str) -> String {
    match colour {
        Color::Rgb(r, g, b) => format!("#{r:02x}{g:02x}{b:02x}"),
        Color::Reset => default.to_owned(),
        other => panic!("pictures are drawn in true colours, not in {other:?}"),
    }
}

/// Foreground and background as they are seen.
fn colours(cell: &Cell) -> (String, String) {
    let (fg, bg) = (hex(cell.fg, "#c8d0da"), hex(cell.bg, "#10141b"));
    if cell.modifier.contains(Modifier::REVERSED) {
        (bg, fg)
    } else {
        (fg, bg)
    }
}

pub fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}

/// A frame's sign as a path in its cell, with its strength; none is a letter.
fn line(symbol: &str, x: u32, y: u32) -> Option<(String, u32)> {
    let (right, bottom) = (x + CELL, y + ROW);
    let (mx, my) = (
        f64::from(x) + f64::from(CELL) / 2.0,
        f64::from(y) + f64::from(ROW) / 2.0,
    );
    let path = match symbol {
        "─" | "━" => format!("M{x} {my}H{right}"),
        "│" | "┃" => format!("M{mx} {y}V{bottom}"),
        "╭" => format!("M{mx} {bottom}V{}Q{mx} {my} {right} {my}", my + 4.5),
        "╮" => format!("M{x} {my}Q{mx} {my} {mx} {}V{bottom}", my + 4.5),
        "╰" => format!("M{mx} {y}V{}Q{mx} {my} {right} {my}", my - 4.5),
        "╯" => format!("M{x} {my}Q{mx} {my} {mx} {}V{y}", my - 4.5),
        "┏" => format!("M{mx} {bottom}V{my}H{right}"),
        "┓" => format!("M{x} {my}H{mx}V{bottom}"),
        "┗" | "└" => format!("M{mx} {y}V{my}H{right}"),
        "┛" => format!("M{x} {my}H{mx}V{y}"),
        _ => return None,
    };
    Some((
        path,
        if "━┃┏┓┗┛".contains(symbol) {
            3
        } else {
            1
        },
    ))
}

/// Width and height of a buffer's picture.
pub fn size(buffer: &Buffer) -> (u32, u32) {
    let area = buffer.area;
    (
        u32::from(area.width) * CELL + 2 * PAD,
        u32::from(area.height) * ROW + 2 * PAD,
    )
}

/// The colour behind everything.
pub fn ground(buffer: &Buffer) -> String {
    let corner = buffer.cell((buffer.area.x, buffer.area.y));
    corner.map_or_else(|| "#10141b".into(), |c| colours(c).1)
}

/// The picture; the cursor is where a field is edited.
pub fn svg(buffer: &Buffer, cursor: Option<(u16, u16)>, title: &str) -> String {
    let mut out = open_document(size(buffer), &ground(buffer), title);
    for row in buffer.area.top()..buffer.area.bottom() {
        out.push_str(&draw_row(buffer, cursor, row));
    }
    out.push_str("</g>\n</svg>\n");
    out
}

/// The head of a picture, up to the group of its rows.
pub fn open_document((width, height): (u32, u32), ground: &str, title: &str) -> String {
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" viewBox=\"0 0 {width} {height}\" role=\"img\">\n\
         <title>{}</title>\n<rect x=\".5\" y=\".5\" width=\"{}\" height=\"{}\" rx=\"9\" fill=\"{ground}\" stroke=\"#3a4656\"/>\n\
         <g font-family=\"{FONTS}\" font-size=\"{FONT}\" fill=\"none\" xml:space=\"preserve\">\n",
        escape(title),
        width - 1,
        height - 1,
    )
}

/// One row, with the cursor if it is there.
pub fn draw_row(buffer: &Buffer, cursor: Option<(u16, u16)>, row: u16) -> String {
    let mut out = String::new();
    let cells: Vec<&Cell> = (buffer.area.left()..buffer.area.right())
        .filter_map(|x| buffer.cell((x, row)))
        .collect();
    let y = PAD + u32::from(row) * ROW;
    grounds(&mut out, &cells, y, &ground(buffer));
    lines(&mut out, &cells, y);
    words(&mut out, &cells, y);
    if let Some((column, _)) = cursor.filter(|(_, at)| *at == row) {
        let x = PAD + u32::from(column) * CELL;
        _ = writeln!(
            out,
            "<rect x=\"{x}\" y=\"{y}\" width=\"{CELL}\" height=\"{ROW}\" fill=\"#f0f4f8\" opacity=\".8\"/>"
        );
    }
    out
}

fn grounds(out: &mut String, cells: &[&Cell], y: u32, ground: &str) {
    runs(
        cells,
        |c| colours(c).1,
        |from, to, run| {
            let background = colours(run[0]).1;
            if background != ground {
                let (x, wide) = (PAD + from * CELL, (to - from) * CELL);
                _ = writeln!(
                    out,
                    "<rect x=\"{x}\" y=\"{y}\" width=\"{wide}\" height=\"{ROW}\" fill=\"{background}\"/>"
                );
            }
            for (n, cell) in (from..).zip(run.iter()).filter(|(_, c)| c.symbol() == "▌") {
                let (x, wide, fill) = (PAD + n * CELL, CELL / 2, colours(cell).0);
                _ = writeln!(
                    out,
                    "<rect x=\"{x}\" y=\"{y}\" width=\"{wide}\" height=\"{ROW}\" fill=\"{fill}\"/>"
                );
            }
        },
    );
}

/// Lines of one colour and strength in one path; straight ones are joined.
fn lines(out: &mut String, cells: &[&Cell], y: u32) {
    let key = |c: &Cell| {
        line(c.symbol(), 0, 0).map(|(_, wide)| (colours(c).0, wide, c.symbol().to_owned()))
    };
    runs(cells, key, |from, to, run| {
        let Some((colour, wide, symbol)) = key(run[0]) else {
            return;
        };
        let path = match symbol.as_str() {
            "─" | "━" => {
                format!(
                    "M{} {}H{}",
                    PAD + from * CELL,
                    f64::from(y) + f64::from(ROW) / 2.0,
                    PAD + to * CELL
                )
            }
            _ => (from..to)
                .filter_map(|n| line(&symbol, PAD + n * CELL, y))
                .map(|(path, _)| path)
                .collect(),
        };
        _ = writeln!(
            out,
            "<path d=\"{path}\" stroke=\"{colour}\" stroke-width=\"{wide}\"/>"
        );
    });
}

fn words(out: &mut String, cells: &[&Cell], y: u32) {
    let drawn = |c: &Cell| matches!(c.symbol(), "" | " " | "▌") || line(c.symbol(), 0, 0).is_some();
    runs(
        cells,
        |c| (colours(c).0, c.modifier, drawn(c)),
        |from, _, run| {
            if drawn(run[0]) && !run[0].modifier.contains(Modifier::UNDERLINED) {
                return;
            }
            let text: String = run
                .iter()
                .map(|c| if drawn(c) { " " } else { c.symbol() })
                .collect();
            let mut style = String::new();
            for (modifier, words) in [
                (Modifier::BOLD, " font-weight=\"bold\""),
                (Modifier::ITALIC, " font-style=\"italic\""),
                (Modifier::DIM, " opacity=\".6\""),
                (Modifier::UNDERLINED, " text-decoration=\"underline\""),
            ] {
                if run[0].modifier.contains(modifier) {
                    style.push_str(words);
                }
            }
            let columns = u32::try_from(text.width()).expect("a row is short");
            _ = writeln!(
                out,
                "<text x=\"{}\" y=\"{}\" textLength=\"{}\" fill=\"{}\"{style}>{}</text>",
                PAD + from * CELL,
                y + BASE,
                columns * CELL,
                colours(run[0]).0,
                escape(&text)
            );
        },
    );
}

/// Runs of cells with one key: from, to, cells. The cell behind a wide sign belongs to it and is left out of a run's
/// text by being empty or blank.
fn runs<K: PartialEq>(
    cells: &[&Cell],
    key: impl Fn(&Cell) -> K,
    mut each: impl FnMut(u32, u32, &[&Cell]),
) {
    let mut from = 0;
    while from < cells.len() {
        let own = key(cells[from]);
        let to = (from..cells.len())
            .find(|i| key(cells[*i]) != own)
            .unwrap_or(cells.len());
        each(
            u32::try_from(from).expect("short"),
            u32::try_from(to).expect("short"),
            &cells[from..to],
        );
        from = to;
    }
}

#[cfg(test)]
mod tests {
    use ratatui::{layout::Rect, style::Style};

    use super::*;

    #[test]
    fn letters_keep_their_cells_and_their_looks() {
        let mut buffer = Buffer::empty(Rect::new(0, 0, 12, 2));
        let red = Style::new().fg(Color::Rgb(255, 0, 0));
        buffer.set_string(0, 0, "灰度 a<b", red.bold());
        buffer.set_string(0, 1, "──", Style::new());
        buffer.set_string(
            4,
            1,
            "no",
            red.bg(Color::Rgb(0, 0, 255)).reversed().dim().underlined(),
        );
        let made = svg(&buffer, None, "x & y");
        assert!(made.contains("<title>x &amp; y</title>"), "{made}");
        // Two columns for each wide sign; what follows stands behind them.
        let at = |column: u32, row: u32| {
            format!(
                "<text x=\"{}\" y=\"{}\"",
                PAD + column * CELL,
                PAD + row * ROW + BASE
            )
        };
        assert!(
            made.contains(&format!(
                "{} textLength=\"18\" fill=\"#ff0000\" font-weight=\"bold\">灰<",
                at(0, 0)
            )),
            "{made}"
        );
        assert!(
            made.contains(&format!(
                "{} textLength=\"18\" fill=\"#ff0000\" font-weight=\"bold\">度<",
                at(2, 0)
            )),
            "{made}"
        );
        assert!(
            made.contains(&format!(
                "{} textLength=\"27\" fill=\"#ff0000\" font-weight=\"bold\">a&lt;b<",
                at(5, 0)
            )),
            "{made}"
        );
        // Reversed: the colours have changed places.
        assert!(
            made.contains("width=\"18\" height=\"19\" fill=\"#ff0000\""),
            "{made}"
        );
        let looks = "fill=\"#0000ff\" opacity=\".6\" text-decoration=\"underline\">no<";
        assert!(
            made.contains(&format!("{} textLength=\"18\" {looks}", at(4, 1))),
            "{made}"
        );
        assert!(
            made.contains(&format!(
                "M{PAD} {}H{}",
                f64::from(PAD + ROW) + 9.5,
                PAD + 2 * CELL
            )),
            "{made}"
        );
    }
}
