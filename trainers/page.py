"""A report as a self-contained page, as Markdown and as LaTeX, whatever its sentences and tables say."""

import base64
import dataclasses
import html
import pathlib

STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; margin: 0 auto; max-width: 70rem; padding: 0 1rem 2rem }
.wide { overflow-x: auto }
table { border-collapse: collapse; font-size: .875rem; font-variant-numeric: tabular-nums; margin: .5rem 0 }
caption { text-align: left; font-weight: 600; padding: .25rem 0 }
th, td { padding: .15rem .5rem; text-align: right; border-bottom: 1px solid #ddd; white-space: nowrap }
tr { background: #fff }
th:first-child, td:first-child { text-align: left; position: sticky; left: 0; background: inherit }
tr.own { background: #e8f0fe; font-weight: 600 }
img { max-width: 100%; height: auto }
p { overflow-wrap: anywhere }
@media print {
  body { max-width: none; font-size: 11px } table { font-size: 8px } th, td { padding: 1px 3px }
  .wide { overflow: visible } tr, img { break-inside: avoid } h2 { break-after: avoid }
}
"""


@dataclasses.dataclass(frozen=True)
class Table:
    """Text cells; the first column names the rows.

    Attributes:
        title: above it.
        header: names of the columns.
        rows: cells.
        own: names of the rows that were measured here, among others.
    """

    title: str
    header: list[str]
    rows: list[list[str]]
    own: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class Section:
    """What is to say about one directory: sentences, tables, pictures (caption and file)."""

    title: str
    sentences: list[str]
    tables: list[Table]
    pictures: list[tuple[str, pathlib.Path]]


def to_html(title: str, table: Table | None, parts: list[Section]) -> str:
    """The page; it needs no network."""
    body = [f"<h1>{html.escape(title)}</h1>"]
    body += [_html_table(table)] if table else []
    for part in parts:
        body.append(f"<h2>{html.escape(part.title)}</h2>")
        body += [f"<p>{html.escape(sentence)}</p>" for sentence in part.sentences]
        for caption, path in part.pictures:
            image = base64.b64encode(path.read_bytes()).decode()
            body.append(f'<p><img alt="{html.escape(caption)}" src="data:image/png;base64,{image}"></p>')
        body += [_html_table(table) for table in part.tables]
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        # An empty icon: a browser would ask the network for one.
        f'<link rel="icon" href="data:,">\n<title>{html.escape(title)}</title>\n<style>{STYLE}</style>\n'
        "</head>\n<body>\n" + "\n".join(body) + "\n</body>\n</html>\n"
    )


def _html_table(table):
    def row(tag, cells, attributes=""):
        return f"<tr{attributes}>" + "".join(f"<{tag}>{html.escape(c)}</{tag}>" for c in cells) + "</tr>"

    rows = [row("td", cells, ' class="own"' if cells[0] in table.own else "") for cells in table.rows]
    head = f"<caption>{html.escape(table.title)}</caption><thead>{row('th', table.header)}</thead>"
    return f'<div class="wide"><table>{head}<tbody>{"".join(rows)}</tbody></table></div>'


def to_markdown(title: str, table: Table | None, parts: list[Section]) -> str:
    """Sentences and tables as Markdown."""
    lines = [f"# {title}", ""]
    lines += _markdown_table(table) if table else []
    for part in parts:
        lines += [f"## {part.title}", "", *(f"{sentence}\n" for sentence in part.sentences)]
        for scores in part.tables:
            lines += _markdown_table(scores)
    return "\n".join(lines)


def _markdown_table(table):
    def row(cells):
        return "| " + " | ".join(cell.replace("|", r"\|") for cell in cells) + " |"

    rule = "| --- |" + " ---: |" * (len(table.header) - 1)
    return [f"**{table.title}**", "", row(table.header), rule, *map(row, table.rows), ""]


def to_latex(table: Table | None, parts: list[Section]) -> str:
    """The tables of scores as LaTeX `tabular`, without packages."""
    tables = [table] if table else []
    tables += [t for part in parts for t in part.tables if t.title != "Configuration"]
    return "\n".join(_latex_table(table) for table in tables)


def _latex_table(table):
    special = {c: rf"\{c}" for c in "&%$#_{}"} | {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}"}
    special |= {"^": r"\textasciicircum{}"}

    def row(cells):
        return " & ".join("".join(special.get(c, c) for c in cell) for cell in cells) + r" \\"

    body = "\n".join(map(row, table.rows))
    columns = "l" + "r" * (len(table.header) - 1)
    return (
        f"% {table.title}\n\\begin{{tabular}}{{{columns}}}\n\\hline\n{row(table.header)}\n\\hline\n{body}\n"
        "\\hline\n\\end{tabular}\n"
    )
