"""HTML of chat pages as Markdown: what each element becomes, and what no HTML may do."""

from __future__ import annotations

import gc
import html
import time
from collections.abc import Sequence

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from curation.clean.held import fence_for
from curation.clean.markdown import to_markdown
from curation.clean.rendering import is_rendered

READER = MarkdownIt("commonmark").enable(["table", "strikethrough"])


def katex(tex: str, *, display: bool = False) -> str:
    inner = (
        '<span class="katex"><span class="katex-mathml"><math><semantics><mrow><mi>x</mi></mrow>'
        f'<annotation encoding="application/x-tex">{html.escape(tex)}</annotation></semantics></math></span>'
        '<span class="katex-html" aria-hidden="true"><span class="base">x</span></span></span>'
    )
    return f'<span class="katex-display">{inner}</span>' if display else inner


def page_code(code: str, *, language: str = "python", label: str = "python") -> str:
    """A code block as a chat's page has it: label and button above it, colours inside."""
    return (
        f'<pre><div class="bg-black rounded-md"><div class="flex"><span>{label}</span>'
        f'<button><svg></svg>Copy code</button></div><code class="!whitespace-pre hljs language-{language}">'
        f'<span class="hljs-keyword">{html.escape(code)}</span>\n</code></div></pre>'
    )


def blocks_of(markdown: str) -> list[tuple[str, str]]:
    """Language and text of each code block, as a Markdown reader finds them."""
    tokens = READER.parse(markdown)
    return [(token.info, token.content.removesuffix("\n")) for token in tokens if token.type == "fence"]


@pytest.mark.parametrize(
    ("given_html", "markdown"),
    [
        ("<p>a <strong>b</strong> <em>c</em> <del>d</del></p><p>e</p>", "a **b** *c* ~~d~~\n\ne"),
        ("<h1>A</h1><p>b</p><h3>C <code>d</code></h3>", "# A\n\nb\n\n### C `d`"),
        ("<p>one\ntwo<br>three<br></p>", "one\ntwo  \nthree"),
        (
            "<p>one <b>two</b>\n<a href='x'>three</a>\nfour\n<img src='y'>\nfive</p>",
            "one **two**\n[three](x)\nfour\n![](y)\nfive",
        ),
        ("<ul><li><b>a</b>\nb</li></ul><h2><b>a</b>\nb</h2>", "- **a**\n  b\n\n## **a** b"),
        ("<p>un<em>believ</em>able <strong> so </strong>it is</p>", "un*believ*able **so** it is"),
        ("<p>a\n2. b</p><p>c<br>3. d</p>", "a\n2. b\n\nc  \n3. d"),
        ("<ul>\n<li>a</li>\n<li>b\n<ul><li>c</li></ul>\n</li>\n</ul>", "- a\n- b\n  - c"),
        ('<ol start="9"><li>a</li><li><p>b</p><ul><li>c</li></ul></li></ol>', "9. a\n\n10. b\n\n    - c"),
        (
            "<ol><li><p>a</p><ul><li><p>b</p><ol><li>c<pre><code>d\n  e\n</code></pre></li></ol></li></ul></li></ol>",
            "1. a\n\n   - b\n\n     1. c\n\n        ```\n        d\n          e\n        ```",
        ),
        ("<blockquote><p>a</p><p>b</p></blockquote>", "> a\n>\n> b"),
        ("<ul><li><input type='checkbox' checked disabled> a</li></ul>", "- [x] a"),
        ('<p><a href="https://a.example/b_c">d</a> <a href="javascript:e()">f</a></p>', "[d](https://a.example/b_c) f"),
        (
            '<p><a href="https://a.example/b">https://a.example/b</a> <a href="mailto:a@b.example">a@b.example</a></p>',
            "https://a.example/b a@b.example",
        ),
        ('<p><img src="https://a.example/b.png" alt="c"></p>', "![c](https://a.example/b.png)"),
        ("<p>a&nbsp;b &lt;c&gt; &amp;lt; &copy; snake_case *d*</p>", "a b <c> &lt; © snake_case *d*"),
        ("<p>x<sup>2</sup></p>", "x<sup>2</sup>"),
        ("<p><code>a `b` c</code> <code>`</code> <code>d  e</code></p>", "``a `b` c`` `` ` `` `d  e`"),
        ("<p>a</p><button>Copy</button><svg><text>b</text></svg><script>c</script><style>d</style>", "a"),
        ("<p>1. no list</p><p># no heading</p>", "1\\. no list\n\n\\# no heading"),
        (
            "<table><thead><tr><th>a</th><th>b|c</th></tr></thead>"
            "<tbody><tr><td><code>d|e</code></td><td>f<br>g</td></tr></tbody></table>",
            "| a | b\\|c |\n| --- | --- |\n| `d\\|e` | f<br>g |",
        ),
        (
            "<table><tr><th align='left'>a</th><th style='text-align: center'>b</th><th align='right'>c</th><th>d</th>"
            "</tr><tr><td>1</td><td>2</td><td>3</td><td>4</td></tr></table>",
            "| a | b | c | d |\n| :--- | :---: | ---: | --- |\n| 1 | 2 | 3 | 4 |",
        ),
        ("<p>| --- |</p><table><tr><td align='right'>a</td></tr></table>", "| --- |\n\n| a |\n| --- |"),
        (f"<p>so {katex('a_1 < b^{2}')} holds</p>", "so $a_1 < b^{2}$ holds"),
        (f"<p>so</p>{katex('a_1', display=True)}<p>holds</p>", "so\n\n$$\na_1\n$$\n\nholds"),
        (f"<p>so {katex('a_1', display=True)} holds</p>", "so\n\n$$\na_1\n$$\n\nholds"),
        (f"<ul><li>a {katex('b')} c</li></ul>", "- a $b$ c"),
        (f"<table><tr><th>{katex('|x|')}</th></tr></table>", "| $\\|x\\|$ |\n| --- |"),
        ('<p><code class="language-math math-inline">x^2</code></p>', "$x^2$"),
        (
            "<math display='block'><annotation encoding='application/x-tex'>x</annotation></math>",
            "$$\nx\n$$",
        ),
        ("<div><div>a<p>b</p></div>c</div>", "a\n\nb\n\nc"),
        ("", ""),
        ("<p></p>", ""),
    ],
)
def test_elements(given_html: str, markdown: str) -> None:
    assert to_markdown(given_html) == markdown


@pytest.mark.parametrize(
    ("given_html", "block"),
    [
        (page_code("def f():\n    return 1"), ("python", "def f():\n    return 1")),
        ('<pre><code class="language-c++">\n\n  a\tb\u00a0c  \n\n\n</code></pre>', ("c++", "\n\n  a\tb\u00a0c  \n\n")),
        (
            '<pre><div><span>bash</span><button>Copy code</button></div><code class="hljs">ls</code></pre>',
            ("bash", "ls"),
        ),
        ("<pre><div>Copy</div><code>ls</code></pre>", ("", "ls")),
        ("<pre>plain\n  text</pre>", ("", "plain\n  text")),
        ("<pre><code>a<br>b</code></pre>", ("", "a\nb")),
        ("<pre><code>a</code>\n<code>b</code></pre>", ("", "a\nb")),
        ("<pre><code></code></pre>", ("", "")),
        ("<pre><code>&amp;lt; &lt;b&gt; \\* _x_ $y$</code></pre>", ("", "&lt; <b> \\* _x_ $y$")),
        ("<pre><code>a\n```py\n~~~~\n`````</code></pre>", ("", "a\n```py\n~~~~\n`````")),
        ('<pre><div class="cm-editor"><div>js</div><div class="cm-content">a<br>  b</div></div></pre>', ("", "a\n  b")),
    ],
)
def test_code_blocks_keep_every_character(given_html: str, block: tuple[str, str]) -> None:
    assert blocks_of(to_markdown(f"<p>before</p>{given_html}<p>after</p>")) == [block]


CONTAINERS: Sequence[tuple[str, str]] = [
    ("", ""),
    ("<ul><li>", "</li></ul>"),
    ("<ul><li><p>a</p>", "<p>b</p></li></ul>"),
    ("<ol start='99'><li>a<ul><li>", "</li></ul></li></ol>"),
    ("<blockquote><p>a</p>", "</blockquote>"),
    ("<ol><li><p>x</p><blockquote>", "</blockquote></li><li>y</li></ol>"),
    ("<table><tr><td>a</td><td>", "</td></tr></table>"),
    ("<p>a ", " b</p>"),
    ("text <a href='https://a.example'>", "</a>"),
]
CODE = st.text(st.sampled_from("ab`~ \t\n<&>*_-#|1.\u00a0é"), max_size=40)


@settings(deadline=None)
@given(code=CODE, container=st.sampled_from(CONTAINERS), on_a_page=st.booleans())
@example(code="\n  \n", container=CONTAINERS[5], on_a_page=True)
def test_code_comes_through_to_the_last_character_wherever_it_stands(
    code: str, container: tuple[str, str], on_a_page: bool
) -> None:
    block = page_code(code) if on_a_page else f"<pre><code class='language-python'>{html.escape(code)}\n</code></pre>"
    assert blocks_of(to_markdown(container[0] + block + container[1])) == [("python", code)]


@given(st.text(st.sampled_from("`a\n"), max_size=12))
def test_no_line_of_code_closes_its_fence(code: str) -> None:
    fence = fence_for(code)
    assert len(fence) >= 3
    assert fence not in code


TAGS = [
    "p",
    "div",
    "ul",
    "ol",
    "li",
    "pre",
    "code",
    "table",
    "tr",
    "td",
    "blockquote",
    "strong",
    "a",
    "span",
    "h2",
    "br",
]
OTHER_TAGS = ["math", "annotation", "button", "svg", "script", "template", "html", "body", "frameset", "b", "select"]
PIECES = st.sampled_from(
    [f"<{tag}>" for tag in (*TAGS, *OTHER_TAGS)]
    + [f"</{tag}>" for tag in (*TAGS, *OTHER_TAGS)]
    + [
        '<span class="katex">',
        '<code class="language-x">',
        "<!--",
        "-->",
        "<![CDATA[",
        "&amp;",
        "&#0;",
        "\ufdd00\ufdd1",
        "\0",
    ]
    + ["<", ">", '"', "| a", "```", "$", " ", "\n", "word", "\ud800"]
)


@settings(deadline=None)
@given(pieces=st.lists(PIECES | st.text(max_size=3), max_size=25))
def test_no_html_raises_an_error_and_a_second_time_gives_the_same(pieces: list[str]) -> None:
    fragment = "".join(pieces)
    is_rendered(fragment)
    assert to_markdown(fragment) == to_markdown(fragment)


@settings(deadline=None)
@given(tags=st.lists(st.sampled_from(TAGS[:-1]), max_size=30), words=st.lists(st.text("abcé1", min_size=1), max_size=5))
def test_every_word_that_can_be_read_is_still_there(tags: list[str], words: list[str]) -> None:
    fragment = "".join(f"<{tag}>" for tag in tags) + " ".join(words) + "".join(f"</{tag}>" for tag in reversed(tags))
    markdown = to_markdown(fragment)
    assert all(word in markdown for word in words)


def test_code_that_a_browser_moves_out_of_its_element_stays() -> None:
    assert to_markdown("<pre><table><code><td>1</td></code></table></pre>") == "```\n1\n```"


@pytest.mark.parametrize("tag", ["div", "ul><li", "b", "blockquote", "table><tr><td", "pre", "p", 'a href="x"'])
@pytest.mark.parametrize("depth", [10, 150, 400, 10_000])
def test_text_in_elements_of_any_depth_is_there(tag: str, depth: int) -> None:
    names = [part.split(" ")[0] for part in tag.split("><")]
    closing = "".join(f"</{name}>" for name in reversed(names))
    assert "word" in to_markdown(f"<{tag}>" * depth + "word")
    assert "word" in to_markdown(f"<{tag}>" * depth + "word" + closing * depth)


REPEATED = {
    "words": ("<p>", "word ", "</p>"),
    "paragraphs": ("", "<p>a <b>c</b></p>\n", ""),
    "open brackets": ("<p>", "<", ""),
    "comments": ("<p>", "<!--", ""),
    "entities": ("<p>", "&amp;", "</p>"),
    "nulls": ("<p>", "\0", "</p>"),
    "list items": ("<ul>", "<li>a</li>", "</ul>"),
    "lists in one another": ("", "<ul><li>a", ""),
    "quotations in one another": ("", "<blockquote>a", ""),
    "quotations": ("<blockquote>" * 32, "<p>a</p>", "</blockquote>" * 32),
    "buttons deep down": ("<div>" * 400, "<button></button>", ""),
    "cells": ("<table><tr>", "<td>a</td>", "</tr></table>"),
    "rows": ("<table>", "<tr><td>a</td></tr>", "</table>"),
    "blocks of code": ("", "<pre><code>a\n</code></pre>", ""),
    "code": ("<pre><code>", "x = 1\n", "</code></pre>"),
    "backticks": ("<pre><code>", "`", "</code></pre>"),
    "formulas": ("<p>", '<code class="language-math">x</code>', "</p>"),
    "attributes": ("<p ", "a", ">b</p>"),
    "line ends": ("<p>", "<b>a</b>\n", "</p>"),
    "blanks": ("<p>a", " \n", "<b>b</b></p>"),
}


@pytest.mark.parametrize("name", REPEATED)
def test_a_text_four_times_as_long_takes_about_four_times_as_long(name: str) -> None:
    head, piece, tail = REPEATED[name]
    short, long = (head + piece * (size // len(piece)) + tail for size in (1 << 16, 1 << 18))
    limit_s = 8 * max(rendering_s(short), 0.05)
    # Other work on the machine makes one measurement long, but hardly five of them.
    assert any(rendering_s(long) < limit_s for _ in range(5))


def rendering_s(fragment: str) -> float:
    """Processor seconds, without the garbage of the tests before."""
    gc.collect()
    began = time.process_time()
    is_rendered(fragment)
    to_markdown(fragment)
    return time.process_time() - began
