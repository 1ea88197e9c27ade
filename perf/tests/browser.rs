//! The page in a real browser: what it shows, how it is used without a mouse, and
//! that it loads nothing.

#[path = "common/chromium.rs"]
mod chromium;
mod common;

use chromium::{Browser, Picture};
use common::Scratch;
use serde_json::Value;

/// A page over five runs, the last two by another compiler.
fn page() -> Scratch {
    let scratch = Scratch::new();
    scratch.record_baseline_and_run();
    let record: Value = serde_json::from_str(&scratch.read("run.json")).expect("JSON");
    let hit = "insn_get::get::klp_hit::n1k";
    for (run, count) in [24_000, 26_000, 25_000, 31_000, 33_000]
        .into_iter()
        .enumerate()
    {
        let mut record = record.clone();
        let provenance = &mut record["provenance"];
        provenance["recorded_at"] = (1_700_000_000 + run).into();
        provenance["commit"] = format!("{run}c0ffee{run:033}").into();
        if run > 2 {
            provenance["rustc"] = "rustc 9.9.9".into();
        }
        let benchmark = &mut record["benchmarks"][hit];
        benchmark["metrics"]["Ir"]["value"] = count.into();
        benchmark["functions"] =
            serde_json::json!({ "klp::get": { "src/klp.rs": count - 500, "src/hash.rs": 500 } });
        scratch.write(&format!("records/{run}.json"), &record.to_string());
    }
    let report = [
        "report",
        "records/4.json",
        "--since",
        "records/3.json",
        "--records",
        "records",
        "--format",
        "html",
        "--out",
        "page.html",
    ];
    scratch.run(&report).says(0, &[]);
    scratch
}

fn opened(scratch: &Scratch, scheme: &str) -> Browser {
    let mut browser = Browser::start();
    browser.prefer(scheme);
    browser.open(&scratch.path("page.html"));
    browser
}

/// The figure of instructions, moved into view; the middles of its points.
fn dots(browser: &mut Browser) -> Vec<(f64, f64)> {
    let list = browser.eval(&format!(
        "[...document.querySelectorAll('figure[data-id=\"insn_get::get::klp_hit::n1k\"]')]\
         .find((f) => f.querySelector('h3 .soft').textContent === 'Ir').id = 'ours';\
         {OURS}.scrollIntoView(); [...{OURS}.querySelectorAll('circle')].map((c) => {{\
         const r = c.getBoundingClientRect(); return [r.x + r.width / 2, r.y + r.height / 2]; }})"
    ));
    let number = |value: &Value| value.as_f64().expect("a number");
    let list = list.as_array().expect("a list").iter();
    list.map(|dot| (number(&dot[0]), number(&dot[1]))).collect()
}

const OURS: &str = "document.getElementById('ours')";

/// A colour of the page by its name in the style sheet.
fn color(browser: &mut Browser, name: &str) -> [u8; 3] {
    let text = browser.eval(&format!(
        "getComputedStyle(document.documentElement).getPropertyValue('--{name}').trim()"
    ));
    let text = text
        .as_str()
        .expect("a colour")
        .trim_start_matches('#')
        .to_owned();
    let part = |i: usize| u8::from_str_radix(&text[i..i + 2], 16).expect("two digits");
    [part(0), part(2), part(4)]
}

/// Pixels of the line around the middle between two points.
fn line_between(picture: &Picture, a: (f64, f64), b: (f64, f64), line: [u8; 3]) -> usize {
    let (x, y) = (f64::midpoint(a.0, b.0), f64::midpoint(a.1, b.1));
    picture.count([x - 3.0, y - 6.0, x + 3.0, y + 6.0], line)
}

#[test]
fn the_picture_shows_the_line_where_the_values_are_in_light_and_dark() {
    let scratch = page();
    let mut seen = Vec::new();
    for scheme in ["light", "dark"] {
        let mut browser = opened(&scratch, scheme);
        let dots = dots(&mut browser);
        assert_eq!(dots.len(), 5);
        let (line, panel) = (color(&mut browser, "line"), color(&mut browser, "panel"));
        let text = color(&mut browser, "text");
        let picture = browser.picture();
        for i in [0, 1, 3] {
            let pixels = line_between(&picture, dots[i], dots[i + 1], line);
            assert!(
                pixels >= 4,
                "{scheme}: {pixels} pixels of the line after point {i}"
            );
        }
        let (a, b) = (dots[2], dots[3]);
        let gap = [
            a.0 + 10.0,
            b.1.min(a.1) - 5.0,
            b.0 - 10.0,
            b.1.max(a.1) + 5.0,
        ];
        assert_eq!(
            picture.count(gap, line),
            0,
            "{scheme}: no line to the other compiler"
        );
        // A point is a ring with the panel's colour in it.
        assert_eq!(picture.at(dots[1].0, dots[1].1), panel, "{scheme}");
        // Numbers stand left of the first point, commits below the lowest.
        let left = dots[0].0;
        let numbers = [
            left - 100.0,
            dots[3].1 - 20.0,
            left - 20.0,
            dots[0].1 + 20.0,
        ];
        assert!(
            picture.count(numbers, text) > 30,
            "{scheme}: numbers on the axis"
        );
        seen.push((line, panel));
    }
    assert_ne!(seen[0], seen[1], "light and dark differ");
    assert!(seen[0].1[0] > 200 && seen[1].1[0] < 60, "{seen:?}");
}

#[test]
fn nothing_is_loaded_and_nothing_goes_wrong() {
    let scratch = page();
    let mut browser = opened(&scratch, "light");
    browser.eval("document.title");
    let wrong = [
        "Runtime.exceptionThrown",
        "Runtime.consoleAPICalled",
        "Log.entryAdded",
    ];
    assert_eq!(browser.events(&wrong), Vec::<Value>::new());
    let requests = browser.events(&["Network.requestWillBeSent"]);
    let urls: Vec<_> = requests
        .iter()
        .filter_map(|event| event["params"]["request"]["url"].as_str())
        .collect();
    let page = format!("file://{}", scratch.path("page.html").display());
    assert_eq!(urls, [page.as_str()]);
    assert_eq!(browser.eval("document.title"), "Performance at 4c0ffee000");
}

#[test]
fn everything_can_be_reached_and_used_with_the_keyboard() {
    let scratch = page();
    let mut browser = opened(&scratch, "light");
    let focus = "document.activeElement.id || document.activeElement.tagName";
    let visible = "(() => { const s = getComputedStyle(document.activeElement); \
                   return s.outlineStyle !== 'none' || parseFloat(s.strokeWidth) >= 4; })()";
    for expected in ["A", "theme", "filter", "circle"] {
        browser.press("Tab");
        assert_eq!(browser.eval(focus), expected);
        assert_eq!(
            browser.eval(visible),
            true,
            "one sees that {expected} has the focus"
        );
    }
    // In the first plot: its last point has the focus, the arrows move it.
    let said = "document.activeElement.closest('figure').querySelector('.said').textContent";
    let count = "document.activeElement.closest('svg').querySelectorAll('circle').length";
    assert_eq!(browser.eval(count), 5);
    let mut values = Vec::new();
    for key in [
        "End",
        "ArrowLeft",
        "ArrowLeft",
        "Home",
        "ArrowLeft",
        "ArrowRight",
    ] {
        browser.press(key);
        let text = browser.eval(said);
        assert_eq!(
            browser.eval("document.activeElement.getAttribute('aria-label')"),
            text
        );
        values.push(text.as_str().expect("a text")[..10].to_owned());
    }
    let of = |run: usize| format!("{run}c0ffee{:03}", 0);
    assert_eq!(values, [of(4), of(3), of(2), of(0), of(0), of(1)]);
    // One stop for each plot.
    browser.press("Tab");
    assert_eq!(browser.eval("document.activeElement.tagName"), "circle");
    assert_eq!(
        browser.eval("[...document.querySelectorAll('figure')].indexOf(document.activeElement.closest('figure'))"),
        1
    );
    // The filter, from anywhere and back.
    let figures =
        "[...document.querySelectorAll('figure')].filter((f) => f.checkVisibility()).length";
    let all = browser.eval(figures).as_u64().expect("a number");
    browser.press("/");
    assert_eq!(browser.eval(focus), "filter");
    browser.type_text("PAPAYA n1k");
    let some = browser.eval(figures).as_u64().expect("a number");
    assert!(0 < some && some < all, "{some} of {all}");
    assert_eq!(
        browser.eval("document.getElementById('count').textContent"),
        format!("{some} plots")
    );
    browser.press("Escape");
    assert_eq!(browser.eval(figures), all);
}

#[test]
fn the_colours_follow_the_system_until_somebody_chooses() {
    let scratch = page();
    let mut browser = opened(&scratch, "dark");
    let dark = color(&mut browser, "page");
    let button = "document.getElementById('theme').textContent";
    browser.becomes(button, "Light colours");
    browser.prefer("light");
    let light = color(&mut browser, "page");
    assert!(dark[0] < 60 && light[0] > 200);
    browser.becomes(button, "Dark colours");
    browser.press("Tab");
    browser.press("Tab");
    browser.press("Enter");
    assert_eq!(color(&mut browser, "page"), dark);
    browser.prefer("dark");
    browser.press("Enter");
    assert_eq!(
        color(&mut browser, "page"),
        light,
        "chosen against the system"
    );
}

#[test]
fn every_text_has_enough_contrast_and_a_narrow_window_is_wide_enough() {
    // The ratio of WCAG 2: 4.5 is asked of small text.
    const LEAST: &str = "(() => {
        const parse = (c) => c.match(/[\\d.]+/g).map(Number);
        const light = (c) => parse(c).slice(0, 3).map((v) => (v /= 255) <= 0.03928 ? v / 12.92
            : ((v + 0.055) / 1.055) ** 2.4).reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
        const behind = (e) => { for (; e; e = e.parentElement) {
            const c = getComputedStyle(e).backgroundColor;
            if (!c.endsWith(', 0)')) return c; } return 'rgb(255, 255, 255)'; };
        let worst = [99, ''];
        for (const e of document.querySelectorAll('body *')) {
            const own = [...e.childNodes].some((n) => n.nodeType === 3 && n.textContent.trim());
            if (!own || !e.checkVisibility() || ['SCRIPT', 'STYLE', 'title'].includes(e.tagName)) continue;
            const style = getComputedStyle(e);
            const ink = light(e instanceof SVGElement ? style.fill : style.color);
            const paper = light(behind(e));
            const ratio = (Math.max(ink, paper) + 0.05) / (Math.min(ink, paper) + 0.05);
            if (ratio < worst[0]) worst = [ratio, e.outerHTML.slice(0, 80)];
        }
        return worst; })()";
    let scratch = page();
    for scheme in ["light", "dark"] {
        let mut browser = opened(&scratch, scheme);
        let worst = browser.eval(LEAST);
        assert!(
            worst[0].as_f64().is_some_and(|r| (4.5..99.0).contains(&r)),
            "{scheme}: {worst}"
        );
        browser.size(360, 700);
        let width = browser.eval("document.documentElement.scrollWidth");
        assert!(width.as_u64().is_some_and(|w| w <= 360), "{width} of 360");
    }
}

#[test]
fn without_scripts_the_page_says_the_same() {
    let scratch = page();
    let mut browser = Browser::start();
    browser.call(
        "Emulation.setScriptExecutionDisabled",
        serde_json::json!({ "value": true }),
    );
    browser.open(&scratch.path("page.html"));
    assert_eq!(
        browser.eval("document.body.classList.contains('js')"),
        false
    );
    assert_eq!(
        browser.eval("document.getElementById('filter').checkVisibility()"),
        false
    );
    assert_eq!(
        browser.eval("document.querySelector('#functions tbody').rows.length"),
        1
    );
    assert_eq!(
        browser.eval("document.querySelector('#functions tbody td:last-child').textContent"),
        "+2000"
    );
    let said = "[...document.querySelectorAll('.said')].every((s) => s.textContent.includes(':'))";
    assert_eq!(browser.eval(said), true);
}
