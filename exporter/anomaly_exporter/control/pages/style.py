"""How pages look, and the headers that keep anything else from them."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from typing import Final

STYLE: Final = """
:root{color-scheme:light dark;--ink:#1c2126;--soft:#59636e;--line:#d5dbe1;--page:#f6f8fa;--card:#fff;--act:#0b57d0;
--good:#1a7f37;--bad:#b3261e;--warn:#9a6700;--on:#fff}
@media(prefers-color-scheme:dark){:root{--ink:#e6e9ec;--soft:#9aa4ae;--line:#39424c;--page:#14181c;--card:#1d2329;
--act:#7fb0ff;--good:#56d364;--bad:#ff8f87;--warn:#e3b341;--on:#0b1420}}
*{box-sizing:border-box}
body{margin:0;background:var(--page);color:var(--ink);
font:16px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,sans-serif}
header,main,footer{max-width:60rem;margin:0 auto;padding:0 1rem}
header{display:flex;flex-wrap:wrap;gap:.25rem 1.25rem;align-items:center;padding-top:1rem;padding-bottom:.75rem}
header b{margin-right:auto}
header a[aria-current]{color:inherit;font-weight:600;text-decoration:none}
footer{color:var(--soft);font-size:.875rem;display:flex;flex-wrap:wrap;gap:.5rem 1rem;align-items:center;
padding-bottom:2rem}
h1{font-size:1.5rem;line-height:1.25;margin:.5rem 0 1rem}
h2{font-size:1.1rem;margin:0 0 .5rem}
a{color:var(--act)}
.card{background:var(--card);border:1px solid var(--line);border-radius:.5rem;padding:1rem 1.25rem;margin:0 0 1rem}
.note{border-left:.3rem solid var(--act)}.note.good{border-left-color:var(--good)}
.note.bad{border-left-color:var(--bad)}.note.warn{border-left-color:var(--warn)}
.note p,.note ul{margin:.15rem 0}
.soft{color:var(--soft)}.good{color:var(--good)}.bad{color:var(--bad)}.warn{color:var(--warn)}.run{color:var(--act)}
small,.hint{font-size:.875rem;color:var(--soft)}
table{border-collapse:collapse;width:100%}
th,td{text-align:left;vertical-align:top;padding:.5rem .75rem .5rem 0;border-top:1px solid var(--line);
min-width:5.75rem}
thead th{border-top:0;font-weight:600;color:var(--soft);font-size:.875rem}
td.n,th.n{text-align:right;font-variant-numeric:tabular-nums;padding-right:2rem}
td form{display:inline}
fieldset{border:0;padding:0;margin:0 0 1.25rem;min-width:0}
legend,label.f{font-weight:600;padding:0;display:block;margin-bottom:.15rem}
.pair{display:grid;grid-template-columns:repeat(auto-fill,minmax(13rem,1fr));gap:1rem 1.25rem;margin-bottom:1rem}
.choice{display:flex;gap:.6rem;align-items:flex-start;padding:.4rem 0}
.choice input{margin:.3rem 0 0;flex:none}
.choice span{min-width:0;overflow-wrap:anywhere}
.hint{display:block;font-weight:400;margin-top:.2rem}
input:not([type=radio],[type=checkbox]),select,textarea{font:inherit;color:inherit;background:var(--page);width:100%;
border:1px solid var(--line);border-radius:.35rem;padding:.5rem .6rem;min-height:2.75rem}
input[type=radio],input[type=checkbox]{width:1.15rem;height:1.15rem;accent-color:var(--act)}
textarea{min-height:5rem;resize:vertical}
button,.button{font:inherit;font-weight:600;border:1px solid var(--act);border-radius:.35rem;padding:.55rem 1.1rem;
min-height:2.75rem;background:var(--act);color:var(--on);cursor:pointer;text-decoration:none;display:inline-block;
white-space:nowrap}
button.quiet,.button.quiet{background:transparent;color:var(--act);font-weight:400}
button.stop{background:var(--bad);border-color:var(--bad)}
button[disabled]{opacity:.5;cursor:not-allowed}
.acts{display:flex;flex-wrap:wrap;gap:.75rem;align-items:center}
footer button{min-height:0;padding:.15rem .6rem}
:focus-visible{outline:3px solid var(--act);outline-offset:2px}
summary{cursor:pointer;padding:.4rem 0;margin-bottom:.5rem}
bdi{overflow-wrap:anywhere}
.entity{display:block;font-weight:600}
.line{white-space:nowrap}
@media(max-width:40rem){header,main,footer{padding-left:.75rem;padding-right:.75rem}
.card{padding:.85rem}
header{justify-content:space-between}header b{width:100%}
table,tbody,tr,td{display:block}thead{display:none}
tr{border-top:1px solid var(--line);padding:.6rem 0}tbody tr:first-child{border-top:0}
td,td.n{border:0;padding:.1rem 0;text-align:left}
td[data-name]::before{content:attr(data-name) ": ";color:var(--soft);font-size:.875rem}
.wide{width:100%}.wide button,button.wide{width:100%}}
"""

_DIGEST: Final = base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()

HEADERS: Final[Mapping[str, str]] = {
    "Content-Security-Policy": (
        f"default-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; style-src 'sha256-{_DIGEST}'"
    ),
    "X-Frame-Options": "DENY",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    # Not no-referrer: browsers then send "Origin: null" with our own forms.
    "Referrer-Policy": "same-origin",
    "Cache-Control": "no-store",
}
"""Every page is sent with these: nothing on it may run, load anything, or be shown inside another page."""
