"""Opens reports in headless Chromium, at the widths of a phone and of a desktop, in light and dark and on paper.

Input: HTML files, and a folder for screenshots. Output: a line for each thing that was checked, PNG files, and exit status 1 if anything
was wrong: something wider than the screen, a request to elsewhere, an error, words that vanish in the dark. Needs Chromium and the Python
package websocket-client:

    python scripts/check_report.py runs/train-1/report.html screenshots

CHROMIUM names another browser than `chromium`.
"""

import pathlib
import sys

from check_page import Browser, Checks

# Elements that reach beyond the right edge of the page. What scrolls by itself may hold wider things; what is drawn is clipped by its
# picture.
OVERFLOWING = """
(() => {
  const width = document.documentElement.clientWidth;
  const scrolls = (e) => e && e !== document.body && (getComputedStyle(e).overflowX === "auto" || scrolls(e.parentElement));
  return [...document.body.querySelectorAll("*")]
    .filter((e) => !e.closest("svg") && e.getBoundingClientRect().right > width + 1 && !scrolls(e.parentElement))
    .map((e) => e.tagName + " " + (e.textContent || "").trim().slice(0, 40));
})()
"""
# Text in a picture that is cut off by it.
CUT = """
[...document.querySelectorAll("svg")].flatMap((svg) => {
  const frame = svg.getBoundingClientRect();
  return [...svg.querySelectorAll("text")]
    .filter((t) => { const r = t.getBoundingClientRect(); return r.right > frame.right + 1 || r.left < frame.left - 1 || r.bottom > frame.bottom + 1; })
    .map((t) => t.textContent);
})
"""
# The contrast of the page's words with its background, as WCAG 2 defines it, at its lowest.
CONTRAST = """
(() => {
  const light = (text) => {
    const [r, g, b] = text.match(/[\\d.]+/g).map(Number).map((v) => v / 255).map((v) => v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const back = light(getComputedStyle(document.body).backgroundColor);
  return Math.min(...[...document.querySelectorAll("h1, h2, p, td, th, figcaption, dt, dd")].map((e) => {
    const text = light(getComputedStyle(e).color);
    return (Math.max(text, back) + 0.05) / (Math.min(text, back) + 0.05);
  }));
})()
"""
LOOKS = [("desktop", 1280, "light"), ("desktop-dark", 1280, "dark"), ("phone", 375, "light"), ("phone-dark", 375, "dark")]


def check(browser, checks, page, out):
    name = page.stem
    for look, width, scheme in LOOKS:
        browser.look(width, 900, scheme, touch=width < 500)
        checks.check(browser.open(page.as_uri()), f"{name} opens ({look})")
        wide = browser.value("document.documentElement.scrollWidth") - browser.value("document.documentElement.clientWidth")
        checks.check(wide <= 0, f"{name} is not wider than the screen ({look}, by {wide} pixels)")
        for what, script in (("overflows", OVERFLOWING), ("is cut off in a picture", CUT)):
            found = browser.value(script)
            checks.check(not found, f"{name}: nothing {what} ({look}) {found or ''}")
        contrast = browser.value(CONTRAST)
        checks.check(contrast >= 4.5, f"{name}: words stand out from the page ({look}, {contrast:.1f} : 1)")
        browser.screenshot(out / f"{name}-{look}.png")
    browser.call("Emulation.setEmulatedMedia", media="print")
    browser.call("Emulation.setDeviceMetricsOverride", width=794, height=1123, deviceScaleFactor=1, mobile=False)
    hidden = browser.value("[...document.querySelectorAll('.tall, .scroll')].filter((e) => e.scrollHeight > e.clientHeight + 1).length")
    checks.check(hidden == 0, f"{name}: on paper nothing hides in a box that scrolls ({hidden})")
    browser.screenshot(out / f"{name}-paper.png")
    browser.call("Emulation.setEmulatedMedia", media="")
    broken = browser.value("[...document.images].filter((i) => !i.naturalWidth).length")
    checks.check(broken == 0, f"{name}: every picture is there ({broken} are not)")
    outside = browser.value("performance.getEntriesByType('resource').map((e) => e.name).filter((n) => !n.startsWith('data:'))")
    checks.check(not outside, f"{name}: nothing is fetched {outside or ''}")
    complaints = browser.value("complaints")
    checks.check(not complaints, f"{name}: no errors {complaints or ''}")


def main():
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    *pages, out = [pathlib.Path(argument).resolve() for argument in sys.argv[1:]]
    out.mkdir(parents=True, exist_ok=True)
    browser, checks = Browser(), Checks()
    try:
        for page in pages:
            check(browser, checks, page, out)
    finally:
        browser.close()
    print(f"{checks.failed} wrong" if checks.failed else "all is well")
    sys.exit(1 if checks.failed else 0)


if __name__ == "__main__":
    main()
