//! Owns the picture of an infrastructure: what is declared and what there is, and what depends on what, as DOT, Mermaid or
//! SVG.

use crate::commands::Session;
use crate::configuration::deferred::Order;
use crate::configuration::desired::needs;
use crate::configuration::reading::configured;
use provision_diagnostic::{Code, Failure, did_you_mean};
use provision_model::{Address, Declaration, Graph, cycle_of};
use rust_sugiyama::configure::{Config, RankingType};
use std::collections::{HashMap, HashSet};
use std::fmt::Write;

/// A picture of more than this nobody can read, and laying it out would take long.
const MOST: usize = 1_000;

/// Up to here neighbours are also exchanged one by one for fewer crossings, which takes time beyond.
const FINE: usize = 200;

/// The layout calls itself once per resource of a chain.
const STACK: usize = 64 << 20;

const LETTER: f64 = 7.5;

const HEIGHT: f64 = 46.0;

const GAP: f64 = 24.0;

const ROW: f64 = 60.0;

const MARGIN: f64 = 16.0;

/// Parts that have nothing to do with each other stand side by side up to this width.
const PAGE: f64 = 1_400.0;

/// How a graph is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Picture {
    Dot,
    Mermaid,
    Svg,
}

impl Picture {
    /// The names of the formats.
    pub const NAMES: [&'static str; 3] = ["dot", "mermaid", "svg"];

    /// The format of a name.
    pub fn named(name: &str) -> Result<Picture, Failure> {
        Ok(match name {
            "dot" => Picture::Dot,
            "mermaid" => Picture::Mermaid,
            "svg" => Picture::Svg,
            _ => {
                let help = did_you_mean(name, Self::NAMES, || format!("Use one of {}.", Self::NAMES.join(", ")));
                return Err(Failure::new(Code::GraphFormat, format!("a graph has no format `{name}`")).with_help(help));
            }
        })
    }
}

/// One resource of the picture.
struct Node {
    address: Address,
    kind: String,
    needs: Vec<Address>,
}

impl Session {
    /// The graph of what the configuration declares and of what the state holds besides.
    pub fn picture(&self, format: Picture) -> Result<String, Failure> {
        let config = configured(&self.workspace)?;
        // A drawing has no place for a cycle: it leaves out the references that are set after the creation.
        let drawn = match format {
            Picture::Svg => Order::of(&self.workspace.project.registry, &config.resources).ok(),
            Picture::Dot | Picture::Mermaid => None,
        };
        let later = |at: usize| drawn.as_ref().map_or(&[] as &[Address], |order| order.later[at].on.as_slice());
        let node = |(at, it): (usize, &Declaration)| {
            let needs = needs(it).into_iter().filter(|need| !later(at).contains(need)).collect();
            Node { address: it.address.clone(), kind: it.kind.clone(), needs }
        };
        let mut nodes: Vec<Node> = config.resources.iter().enumerate().map(node).collect();
        let declared: HashSet<Address> = nodes.iter().map(|node| node.address.clone()).collect();
        let state = self.workspace.store.resources()?;
        let besides = state.into_iter().filter(|resource| !declared.contains(&resource.address));
        nodes.extend(besides.map(|it| Node { address: it.address, kind: it.kind, needs: it.depends_on }));
        match format {
            Picture::Dot => Ok(dot(&config.name, &nodes)),
            Picture::Mermaid => Ok(mermaid(&nodes)),
            Picture::Svg => svg(&config.name, &nodes),
        }
    }
}

/// Who needs whom, by index, each once.
fn edges(nodes: &[Node]) -> Vec<(usize, usize)> {
    let graph = Graph::new(nodes.iter().map(|node| (&node.address, node.needs.as_slice())));
    let mut seen = HashSet::new();
    let all = graph.needs.iter().enumerate().flat_map(|(from, needs)| needs.iter().map(move |to| (from, *to)));
    all.filter(|edge| seen.insert(*edge)).collect()
}

fn dot(project: &str, nodes: &[Node]) -> String {
    let text = |text: &str| format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n"));
    let mut out = format!("digraph {} {{\n  rankdir = \"LR\";\n", text(project));
    out += "  node [shape = \"box\", style = \"rounded\"];\n";
    // Writing to a String cannot fail.
    for node in nodes {
        let label = format!("{}\n{}", node.address, node.kind);
        let _ = writeln!(out, "  {} [label = {}];", text(node.address.as_str()), text(&label));
    }
    for (from, to) in edges(nodes) {
        let _ = writeln!(out, "  {} -> {};", text(nodes[from].address.as_str()), text(nodes[to].address.as_str()));
    }
    out + "}\n"
}

fn mermaid(nodes: &[Node]) -> String {
    // What means something to Mermaid is written by its number.
    let text = |text: &str| -> String {
        let escaped = |c: char| match c {
            '"' | '#' | '<' | '>' | '&' | '`' | ';' => format!("#{};", u32::from(c)),
            other => other.to_string(),
        };
        text.chars().map(escaped).collect()
    };
    let mut out = String::from("flowchart LR\n");
    for (at, node) in nodes.iter().enumerate() {
        let _ = writeln!(out, "  n{at}[\"{}<br/>{}\"]", text(node.address.as_str()), text(&node.kind));
    }
    for (from, to) in edges(nodes) {
        let _ = writeln!(out, "  n{from} --> n{to}");
    }
    out
}

fn svg(project: &str, nodes: &[Node]) -> Result<String, Failure> {
    if nodes.len() > MOST {
        return Err(Failure::new(
            Code::GraphDrawing,
            format!("the graph has {} resources, more than the {MOST} of a picture", nodes.len()),
        )
        .with_help("Use --format dot with a program for large graphs."));
    }
    if let Err(cycle) = Graph::new(nodes.iter().map(|node| (&node.address, node.needs.as_slice()))).order() {
        return Err(Failure::new(Code::PlanCycle, format!("references form a cycle: {}", cycle_of(&cycle)))
            .with_help("Remove one of the references of the cycle."));
    }
    let edges = edges(nodes);
    let places = placed(nodes, &edges)?;
    let (mut right, mut bottom) = (0.0_f64, 0.0_f64);
    for (node, (x, y)) in nodes.iter().zip(&places) {
        right = right.max(x + width(node) / 2.0);
        bottom = bottom.max(y + HEIGHT / 2.0);
    }
    let (right, bottom) = (right + MARGIN, bottom + MARGIN);
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{right:.0}\" height=\"{bottom:.0}\" \
         viewBox=\"0 0 {right:.0} {bottom:.0}\" font-family=\"sans-serif\" font-size=\"13\" text-anchor=\"middle\">\n\
         <title>{}</title>\n\
         <defs><marker id=\"arrow\" viewBox=\"0 0 10 10\" refX=\"9\" refY=\"5\" markerWidth=\"7\" markerHeight=\"7\" \
         orient=\"auto\"><path d=\"M 0 0 L 10 5 L 0 10 z\" fill=\"gray\"/></marker></defs>\n",
        xml(project)
    );
    for (from, to) in edges {
        let ((x1, y1), (x2, y2)) = (places[from], places[to]);
        let half = if y2 > y1 { HEIGHT / 2.0 } else { -HEIGHT / 2.0 };
        let (y1, y2) = (y1 + half, y2 - half);
        let middle = (y1 + y2) / 2.0;
        let _ = writeln!(
            out,
            "<path d=\"M {x1:.1} {y1:.1} C {x1:.1} {middle:.1}, {x2:.1} {middle:.1}, {x2:.1} {y2:.1}\" fill=\"none\" \
             stroke=\"gray\" marker-end=\"url(#arrow)\"/>"
        );
    }
    for (node, (x, y)) in nodes.iter().zip(&places) {
        let (wide, left, top) = (width(node), x - width(node) / 2.0, y - HEIGHT / 2.0);
        let _ = writeln!(
            out,
            "<rect x=\"{left:.1}\" y=\"{top:.1}\" width=\"{wide:.1}\" height=\"{HEIGHT:.1}\" rx=\"6\" fill=\"white\" \
             stroke=\"black\"/>\n<text x=\"{x:.1}\" y=\"{:.1}\">{}</text>\n<text x=\"{x:.1}\" y=\"{:.1}\" fill=\"gray\">{}</text>",
            y - 4.0,
            xml(node.address.as_str()),
            y + 14.0,
            xml(&node.kind)
        );
    }
    Ok(out + "</svg>\n")
}

fn xml(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

fn width(node: &Node) -> f64 {
    let letters = node.address.as_str().chars().count().max(node.kind.chars().count());
    letters as f64 * LETTER + GAP
}

/// The middle of each node: who needs something stands above it.
fn placed(nodes: &[Node], edges: &[(usize, usize)]) -> Result<Vec<(f64, f64)>, Failure> {
    if nodes.is_empty() {
        return Ok(Vec::new());
    }
    let sizes: Vec<(u32, (f64, f64))> = (0..).zip(nodes.iter().map(|node| (width(node), HEIGHT))).collect();
    let lines: Vec<(u32, u32)> = edges.iter().map(|(from, to)| (*from as u32, *to as u32)).collect();
    let config = Config {
        vertex_spacing: GAP,
        ranking_type: RankingType::Up,
        transpose: nodes.len() <= FINE,
        ..Config::default()
    };
    // On a thread of its own: a fault of the layout must end neither the command nor the plugin.
    let work = std::thread::Builder::new()
        .stack_size(STACK)
        .spawn(move || rust_sugiyama::from_vertices_and_edges(&sizes, &lines, &config));
    let mut parts = work.ok().and_then(|work| work.join().ok()).ok_or_else(failed)?;
    parts.sort_by_key(|(part, ..)| std::cmp::Reverse(part.len()));
    let heights: HashMap<usize, f64> =
        parts.iter().flat_map(|(part, ..)| part.iter().map(|(at, (_, y))| (*at, *y))).collect();
    let height = |at: &usize| heights.get(at).copied().unwrap_or_default();
    // Whichever way the layout counts, edges go down.
    let down: f64 = edges.iter().map(|(from, to)| height(to) - height(from)).sum();
    let sign = if down < 0.0 { -1.0 } else { 1.0 };
    let mut places: Vec<Option<(f64, f64)>> = vec![None; nodes.len()];
    let (mut left, mut top, mut tallest) = (MARGIN, MARGIN, 0.0_f64);
    for (part, ..) in parts {
        // The layout tells the rows by their heights.
        let mut rows: Vec<f64> = part.iter().map(|(_, (_, y))| sign * y).collect();
        rows.sort_by(f64::total_cmp);
        rows.dedup_by(|a, b| (*a - *b).abs() < 1.0);
        let half = |at: usize| nodes.get(at).map_or(0.0, |node| width(node) / 2.0);
        let from = part.iter().map(|(at, (x, _))| x - half(*at)).fold(f64::INFINITY, f64::min);
        let to = part.iter().map(|(at, (x, _))| x + half(*at)).fold(f64::NEG_INFINITY, f64::max);
        if left > MARGIN && left + to - from > PAGE {
            (left, top, tallest) = (MARGIN, top + tallest + ROW, 0.0);
        }
        for (at, (x, y)) in &part {
            let row = rows.partition_point(|row| *row < sign * y - 1.0) as f64;
            if let Some(place) = places.get_mut(*at) {
                *place = Some((left + x - from, top + row * (HEIGHT + ROW) + HEIGHT / 2.0));
            }
        }
        left += to - from + GAP;
        tallest = tallest.max(rows.len() as f64 * (HEIGHT + ROW) - ROW);
    }
    places.into_iter().collect::<Option<Vec<_>>>().ok_or_else(failed)
}

fn failed() -> Failure {
    Failure::new(Code::GraphDrawing, "the graph could not be laid out")
        .with_help("Use --format dot with another program, and report the graph.")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nodes(of: &[(&str, &[&str])]) -> Vec<Node> {
        let node = |(address, needs): &(&str, &[&str])| Node {
            address: Address::new(*address),
            kind: "hetzner.server".into(),
            needs: needs.iter().map(|need| Address::new(*need)).collect(),
        };
        of.iter().map(node).collect()
    }

    #[test]
    fn texts_name_every_node_and_edge() {
        let nodes = nodes(&[("web", &["net", "net", "elsewhere"]), ("net", &[])]);
        let dot = dot("a \"b\"", &nodes);
        assert!(dot.starts_with("digraph \"a \\\"b\\\"\" {\n"), "{dot}");
        assert!(dot.contains("  \"web\" [label = \"web\\nhetzner.server\"];\n"), "{dot}");
        assert_eq!(dot.matches("->").count(), 1);
        assert!(dot.contains("  \"web\" -> \"net\";\n"), "{dot}");
        let mermaid = mermaid(&nodes);
        assert_eq!(
            mermaid,
            "flowchart LR\n  n0[\"web<br/>hetzner.server\"]\n  n1[\"net<br/>hetzner.server\"]\n  n0 --> n1\n"
        );
    }

    #[test]
    fn a_picture_has_every_node_at_its_own_place() {
        let nodes = nodes(&[
            ("web", &["net", "fw"]),
            ("net", &[]),
            ("fw", &["net"]),
            ("alone", &[]),
            ("db", &["disk"]),
            ("disk", &[]),
        ]);
        let edges = edges(&nodes);
        let places = placed(&nodes, &edges).unwrap();
        for (from, to) in edges {
            assert!(places[from].1 + HEIGHT < places[to].1, "{places:?}");
        }
        for (at, one) in places.iter().enumerate() {
            for (other, two) in places.iter().enumerate().skip(at + 1) {
                let beside = (one.0 - two.0).abs() >= (width(&nodes[at]) + width(&nodes[other])) / 2.0;
                assert!(beside || (one.1 - two.1).abs() > HEIGHT, "{at} {other} {places:?}");
            }
        }
        let text = svg("a < b", &nodes).unwrap();
        assert!(text.starts_with("<svg ") && text.ends_with("</svg>\n") && text.contains("<title>a &lt; b</title>"));
        assert_eq!((text.matches("<rect").count(), text.matches("marker-end").count()), (6, 4));
        assert!(svg("empty", &[]).unwrap().starts_with("<svg "));
    }

    #[test]
    fn cycles_and_crowds_are_told() {
        let cycle = nodes(&[("a", &["b"]), ("b", &["a"])]);
        assert_eq!(svg("s", &cycle).unwrap_err().code(), Code::PlanCycle);
        let names: Vec<String> = (0..=MOST).map(|at| format!("n{at}")).collect();
        let many: Vec<(&str, &[&str])> = names.iter().map(|name| (name.as_str(), &[] as &[&str])).collect();
        assert_eq!(svg("s", &nodes(&many)).unwrap_err().code(), Code::GraphDrawing);
        assert_eq!(Picture::named("png").unwrap_err().code(), Code::GraphFormat);
        assert_eq!(Picture::named("svgs").unwrap_err().first.help.as_deref(), Some("Did you mean `svg`?"));
    }

    #[test]
    fn a_chain_with_shortcuts_is_laid_out_in_time() {
        let names: Vec<String> = (0..300).map(|at| format!("n{at}")).collect();
        let chain: Vec<Node> = (0..names.len())
            .map(|at| Node {
                address: Address::new(names[at].as_str()),
                kind: "local.data".into(),
                needs: [at + 1, at + 2]
                    .iter()
                    .filter_map(|to| names.get(*to))
                    .map(|it| Address::new(it.as_str()))
                    .collect(),
            })
            .collect();
        let begun = std::time::Instant::now();
        assert!(svg("s", &chain).unwrap().contains(">n299</text>"));
        assert!(begun.elapsed() < std::time::Duration::from_secs(20), "{:?}", begun.elapsed());
    }
}
