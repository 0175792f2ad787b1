"""Minimal marked-up text, read once and written safely as HTML or as Markdown.

Marks: ``**strong**``, ``*emphasis*``, ``` `code` ```, ``[words](file.csv)`` for files beside the
report, ``[@name]`` for a figure or table; a backslash takes a mark's meaning away. Blank lines
part paragraphs; lines that begin with ``- `` or ``1. `` make lists. Everything else is text.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from markupsafe import Markup, escape

_TOKEN = re.compile(
    r"\\(?P<literal>[\\`*\[\]()])"
    r"|`(?P<code>[^`\n]+)`"
    r"|\*\*(?P<strong>(?=\S)(?:\\.|[^*\\])+?)\*\*"
    r"|\*(?P<em>(?=\S)(?:\\.|[^*\\])+?)\*"
    r"|\[@(?P<ref>[a-z0-9][a-z0-9_-]*)\]"
    # A relative file name only: no scheme, no leading slash, no parent folder.
    r"|\[(?P<words>[^\[\]\n]+)\]\((?P<href>(?![^)]*\.\.)[A-Za-z0-9_][A-Za-z0-9_./-]*)\)"
)
Resolve = Callable[[str], tuple[str, str]]
"""Maps the name of a figure or table to its label and anchor."""

Token = tuple[str, str, str]
Block = tuple[str, list[str]]


def literal(text: object) -> str:
    r"""Escape a text, such as an identifier, so that none of its characters is read as a mark.

    Examples
    --------
    >>> literal("a*b*c")
    'a\\*b\\*c'
    """
    return re.sub(r"([\\`*\[\]()])", r"\\\1", " ".join(str(text).split()))


def tokens(text: str) -> Iterator[Token]:
    """Yield (kind, text, target) in order."""
    at = 0
    for match in _TOKEN.finditer(text):
        if match.start() > at:
            yield "text", text[at : match.start()], ""
        kind = match.lastgroup or ""
        if kind == "literal":
            yield "text", match["literal"], ""
        elif kind == "href":
            yield "link", match["words"], match["href"]
        else:
            yield kind, match[kind], ""
        at = match.end()
    if at < len(text):
        yield "text", text[at:], ""


def blocks(text: str) -> list[Block]:
    """Part a text into paragraphs ("p") and lists ("ul", "ol"), each with its lines joined."""
    found: list[Block] = []
    for part in re.split(r"\n\s*\n", text.strip()):
        for k, raw in enumerate(part.splitlines()):
            line = raw.strip()
            item = re.match(r"(?:(-)|(\d+)\.)\s+(?=\S)", line)
            kind = "p" if item is None else "ul" if item[1] else "ol"
            if item is not None:
                line = line[item.end() :]
                if found and found[-1][0] == kind:
                    found[-1][1].append(line)
                else:
                    found.append((kind, [line]))
            elif k:
                # A wrapped line goes on with the paragraph or list item above it.
                found[-1][1][-1] += f" {line}"
            elif line:
                found.append(("p", [line]))
    return found


def inline_html(text: str, resolve: Resolve) -> Markup:
    """Write one line of marked-up text as HTML."""
    out = Markup()
    for kind, words, target in tokens(text):
        if kind == "text":
            # A number and its unit stay on one line.
            out += escape(re.sub(r"(?<=\d) %", "\u00a0%", words))
        elif kind == "code":
            out += Markup("<code>{}</code>").format(words)
        elif kind in ("strong", "em"):
            out += Markup(f"<{kind}>{{}}</{kind}>").format(inline_html(words, resolve))
        elif kind == "ref":
            label, anchor = resolve(words)
            out += Markup('<a href="#{}">{}</a>').format(anchor, label)
        else:
            out += Markup('<a href="{}">{}</a>').format(target, words)
    return out


def html(text: str, resolve: Resolve, lead: str = "") -> Markup:
    """Write marked-up text as HTML paragraphs and lists, `lead` bold at its beginning."""
    out = Markup("<p><b>{}</b></p>\n").format(lead) if lead else Markup()
    for kind, lines in blocks(text):
        if kind == "p" and lead:
            out = Markup("<p><b>{}</b> {}</p>\n").format(lead, inline_html(lines[0], resolve))
            lead = ""
        elif kind == "p":
            out += Markup("<p>{}</p>\n").format(inline_html(lines[0], resolve))
        else:
            items = Markup("").join(
                Markup("<li>{}</li>").format(inline_html(x, resolve)) for x in lines
            )
            out += Markup(f"<{kind}>{{}}</{kind}>\n").format(items)
    return out


def escape_markdown(text: object) -> str:
    r"""Escape a text so that CommonMark and GitHub show it as it is, formulas and pipes included.

    Underscores inside a word stay, so that FOODS_3_090 is readable in the source.

    Examples
    --------
    >>> escape_markdown("$x_1$ | <b>")
    '\\$x_1\\$ \\| &lt;b&gt;'
    """
    plain = " ".join(str(text).split())
    plain = re.sub(r"([\\`*\[\]|$~#!])", r"\\\1", plain)
    plain = re.sub(r"(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])", r"\\_", plain)
    plain = re.sub(r"&(?=#?\w+;)", "&amp;", plain)
    return plain.replace("<", "&lt;").replace(">", "&gt;")


def inline_markdown(text: str, resolve: Resolve) -> str:
    """Write one line of marked-up text as Markdown."""
    out = ""
    for kind, words, target in tokens(text):
        if kind == "text":
            lead = " " if words[:1].isspace() else ""
            tail = " " if words.strip() and words[-1:].isspace() else ""
            out += f"{lead}{escape_markdown(words)}{tail}"
        elif kind == "code":
            out += f"`{words}`"
        elif kind in ("strong", "em"):
            mark = "**" if kind == "strong" else "*"
            out += f"{mark}{inline_markdown(words, resolve)}{mark}"
        elif kind == "ref":
            out += escape_markdown(resolve(words)[0])
        else:
            out += f"[{escape_markdown(words)}]({target})"
    # A line must not turn into a heading, quote or list by how it begins.
    return re.sub(r"^([-+>#=]|\d+(?=[.)]\s))", lambda m: _guard(m[0]), out)


def _guard(start: str) -> str:
    return f"\\{start}" if not start.isdigit() else f"{start}&#8203;"


def markdown(text: str, resolve: Resolve, lead: str = "") -> str:
    """Write marked-up text as Markdown blocks, `lead` bold at its beginning."""
    parts: list[str] = []
    for kind, lines in blocks(text):
        words = [inline_markdown(x, resolve) for x in lines]
        if kind == "p":
            parts.append(f"**{lead}** {words[0]}" if lead and not parts else words[0])
        else:
            parts.append(
                "\n".join(f"{'-' if kind == 'ul' else f'{k}.'} {w}" for k, w in enumerate(words, 1))
            )
    return "\n\n".join(parts)
