"""The staff API on one HTML page: what there is, who may, what it takes (pure).

Complete by itself: no script, nothing loaded from anywhere; the one style sheet is named by
its hash in the page's own policy. Headings, tables and labels are in reading order.
"""

import base64
import hashlib
import re
from collections.abc import Sequence
from html import escape
from typing import Final

from hie.staff import problem
from hie.staff.model import Field, Needs, Route
from hie.staff.openapi import ADDRESS, scope

_STYLE: Final = (
    "body{font:1rem/1.5 system-ui,sans-serif;max-width:60rem;margin:0 auto;padding:1rem;"
    "color:#1b1b1b;background:#fff}"
    "h1,h2,h3{line-height:1.25}h2{margin-top:2.5rem;border-bottom:2px solid #005ea2}"
    "h3{margin-top:2rem}code{font-size:.95em;background:#f0f0f0;padding:.1em .3em;"
    "overflow-wrap:anywhere}"
    "table{border-collapse:collapse;width:100%;margin:.5rem 0}"
    "caption{text-align:left;font-weight:600;padding:.3rem 0}"
    "th,td{border:1px solid #71767a;padding:.3rem .5rem;text-align:left;vertical-align:top}"
    "th{background:#f0f0f0}a{color:#005ea2}a:focus-visible{outline:3px solid #2491ff}"
    ".skip{position:absolute;left:-999px}.skip:focus{left:1rem;top:1rem;background:#fff;"
    "padding:.5rem}"
    "@media (prefers-color-scheme:dark){body{background:#1b1b1b;color:#f0f0f0}"
    "code,th{background:#2e2e2e}a{color:#73b3e7}}"
)
_INTRO: Final = (
    "<p>What stewards and privacy officers see and decide, as JSON over HTTP. Send a bearer token "
    "of the role named with each operation; who decides must be named in it. Every person shown is "
    "put on the audit trail before it is shown; every decision can be taken back.</p>"
    "<ul>"
    "<li>Before you decide a task, read it: its <code>ETag</code> goes into <code>If-Match</code>, "
    "so that two stewards never decide one task.</li>"
    "<li>A decision needs an <code>Idempotency-Key</code> of your own: sent again, it gets the "
    "first answer.</li>"
    "<li>Numbers of tasks and decisions are texts: they have more digits than JavaScript "
    "counts.</li>"
    "<li>A list has <code>next</code>, the address of its next page.</li>"
    "</ul>"
)


def html(routes: Sequence[Route]) -> bytes:
    """The page."""
    sections = dict.fromkeys(route.section for route in routes)
    contents = "".join(
        f'<li><a href="#{_anchor(section)}">{escape(section)}</a></li>' for section in sections
    )
    body = "".join(
        f'<h2 id="{_anchor(section)}">{escape(section)}</h2>'
        + "".join(_operation(route) for route in routes if route.section == section)
        for section in sections
    )
    page = (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>Staff API</title><style>{_STYLE}</style></head><body>"
        '<a class="skip" href="#main">Skip to the operations</a>'
        f"<header><h1>Staff API</h1>{_INTRO}"
        f'<p>For programs: <a href="{ADDRESS}/openapi.json">OpenAPI 3.1 document</a>.</p>'
        f'<nav aria-label="Sections"><ul>{contents}<li><a href="#problems">What is refused</a>'
        f'</li></ul></nav></header><main id="main">{body}{_problems()}</main></body></html>'
    )
    return page.encode()


def policy(page: bytes) -> str:
    """The content security policy of the page: its own style sheet, and nothing else."""
    found = re.search(rb"<style>(.*?)</style>", page, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(found[1] if found else b"").digest()).decode()
    return (
        f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'; "
        "frame-ancestors 'none'"
    )


def _operation(route: Route) -> str:
    address = f"{ADDRESS}{route.path}"
    needs = "".join(f"<li>header <code>{need.value}</code></li>" for need in route.needs)
    text = f"<p>{escape(route.text)}</p>" if route.text else ""
    return (
        f'<section aria-labelledby="{route.name}"><h3 id="{route.name}">{escape(route.summary)}'
        f"</h3><p><code>{route.method} {escape(address)}</code></p>{text}"
        f"<ul><li>scope <code>{scope(route)}</code></li>{needs}"
        f"<li>answers <code>{escape(route.answer)}</code></li></ul>"
        f"{_fields('Parameters', route.query)}{_fields('Members of the body', route.body)}"
        "</section>"
    )


def _fields(caption: str, fields: Sequence[Field]) -> str:
    if not fields:
        return ""
    rows = "".join(
        f'<tr><th scope="row"><code>{escape(each.name)}</code></th><td>{_kind(each)}</td>'
        f"<td>{escape(each.text)}</td></tr>"
        for each in fields
    )
    return (
        f"<table><caption>{caption}</caption><thead><tr>"
        '<th scope="col">Name</th><th scope="col">What it holds</th>'
        f'<th scope="col">Meaning</th></tr></thead><tbody>{rows}</tbody></table>'
    )


def _kind(each: Field) -> str:
    told = "required " if each.is_required else ""
    if each.choices:
        return told + " | ".join(f"<code>{escape(choice)}</code>" for choice in each.choices)
    return told + escape(each.kind)


def _problems() -> str:
    rows = "".join(
        f'<tr id="{row.name}"><th scope="row">{row.status}</th><td>{escape(row.title)}</td>'
        f"<td>{escape(row.remedy)}</td></tr>"
        for row in sorted(problem.TABLE.values(), key=lambda row: (row.status, row.name))
    )
    missing = (
        f'<tr id="version-required"><th scope="row">428</th><td>{Needs.VERSION.value} is missing'
        "</td><td>read the task, and send its ETag</td></tr>"
    )
    return (
        '<h2 id="problems">What is refused</h2><p>Refusals are '
        "<code>application/problem+json</code>: <code>detail</code> says what is wrong, "
        "<code>errors</code> where, <code>remedy</code> what to do.</p>"
        "<table><caption>Statuses</caption><thead><tr>"
        '<th scope="col">Status</th><th scope="col">What it says</th>'
        f'<th scope="col">What to do</th></tr></thead><tbody>{rows}{missing}</tbody></table>'
    )


def _anchor(section: str) -> str:
    return re.sub(r"[^a-z]+", "-", section.lower()).strip("-")
