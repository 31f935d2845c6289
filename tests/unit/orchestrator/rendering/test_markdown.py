"""Markdown of models: what it looks like, and that nothing in it becomes more than text."""

from __future__ import annotations

from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.orchestrator.rendering.markdown import (
    ATTRIBUTES,
    CLASSES,
    MAX_HIGHLIGHTED,
    MAX_NESTING,
    REL,
    SCHEMES,
    TAGS,
    as_it_is,
    to_html,
)

VOID = {"br", "hr"}


class Seen(HTMLParser):
    """Checks every tag, attribute and comment against the allow-list; gathers the text."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[str] = []
        self.text = ""
        self._open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag in TAGS, tag
        self.tags.append(tag)
        if tag not in VOID:
            self._open.append(tag)
        for name, value in attrs:
            self._check(tag, name, value or "")

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data

    def handle_comment(self, data: str) -> None:
        raise AssertionError(f"a comment: {data}")

    def handle_decl(self, decl: str) -> None:
        raise AssertionError(f"a declaration: {decl}")

    def handle_pi(self, data: str) -> None:
        raise AssertionError(f"an instruction: {data}")

    def unknown_decl(self, data: str) -> None:
        raise AssertionError(f"a section: {data}")

    def close(self) -> None:
        super().close()
        assert self._open == []

    def _check(self, tag: str, name: str, value: str) -> None:
        if name == "class":
            assert set(value.split()) <= CLASSES[tag]
        elif (tag, name) == ("a", "rel"):
            assert value == REL
        else:
            assert name in ATTRIBUTES.get(tag, ()), f"{tag} {name}"
        if name == "href":
            assert value.partition(":")[0].lower() in SCHEMES, value


def seen(text: str) -> Seen:
    parser = Seen()
    parser.feed(to_html(text))
    parser.close()
    return parser


@pytest.mark.parametrize(
    ("text", "html"),
    [
        ("**a** *b* ~~c~~ `d<`", "<p><strong>a</strong> <em>b</em> <s>c</s> <code>d&lt;</code></p>\n"),
        ("one\ntwo", "<p>one<br>\ntwo</p>\n"),
        ("# a\n###### b", "<h3>a</h3>\n<h6>b</h6>\n"),
        ("3. a\n4. b", '<ol start="3">\n<li>a</li>\n<li>b</li>\n</ol>\n'),
        ("> a\n\n---", "<blockquote>\n<p>a</p>\n</blockquote>\n<hr>\n"),
        ("[a](https://b.c/?d=1&e=2)", f'<p><a href="https://b.c/?d=1&amp;e=2" rel="{REL}">a</a></p>\n'),
        ('![a "x"](http://b/c.png)', f'<p><a href="http://b/c.png" rel="{REL}">a "x"</a></p>\n'),
        ("![](http://b/c.png)", f'<p><a href="http://b/c.png" rel="{REL}">http://b/c.png</a></p>\n'),
        ("<mailto:a@b.c>", f'<p><a href="mailto:a@b.c" rel="{REL}">mailto:a@b.c</a></p>\n'),
        ("[a](/runs)", "<p>[a](/runs)</p>\n"),
        ("[a](javascript:b)", "<p>[a](javascript:b)</p>\n"),
        ("[a](data:text/html,b)", "<p>[a](data:text/html,b)</p>\n"),
        ("a <b>c</b>", "<p>a &lt;b&gt;c&lt;/b&gt;</p>\n"),
        ("&lt;b&gt; &copy;", "<p>&lt;b&gt; ©</p>\n"),
        ("```\n<a>\n```", "<pre><code>&lt;a&gt;\n</code></pre>\n"),
        ("```no-such-language\na\n```", "<pre><code>a\n</code></pre>\n"),
        ("```python\nTrue\n```", '<pre><code><span class="kc">True</span>\n</code></pre>\n'),
        ("```html\n<script>\n```",
         '<pre><code><span class="p">&lt;</span><span class="nt">script</span><span class="p">&gt;</span>\n'
         "</code></pre>\n"),
        ("", ""),
    ],
)  # fmt: skip
def test_what_it_looks_like(text: str, html: str) -> None:
    assert to_html(text) == html


def test_a_table_is_aligned_by_classes() -> None:
    html = to_html("|a|b|c|\n|:-|:-:|-:|\n|1|2|3|")
    assert '<th class="align-left">a</th>\n<th class="align-center">b</th>\n<th class="align-right">c</th>' in html
    assert '<td class="align-left">1</td>\n<td class="align-center">2</td>\n<td class="align-right">3</td>' in html
    assert "style" not in html


def test_long_code_has_one_colour() -> None:
    code = "x = 1\n" * (MAX_HIGHLIGHTED // 6)
    assert "<span" in to_html(f"```python\n{code}```")
    assert "<span" not in to_html(f"```python\n{code}y = 2\n```")


def test_nesting_is_kept_as_deep_as_it_may_be() -> None:
    assert to_html(">" * (MAX_NESTING - 2) + "a").count("<blockquote>") == MAX_NESTING - 2
    assert to_html(">" * 100_000 + "a").count("<blockquote>") <= MAX_NESTING


ATTACKS = [
    "<script>alert(1)</script>",
    "<SCRIPT SRC=//evil/x.js></SCRIPT>",
    "<img src=x onerror=alert(1)>",
    '<img """><script>alert(1)</script>">',
    "<svg onload=alert(1)>",
    "<svg><script>alert(1)</script></svg>",
    "<math><mtext><table><mglyph><style><img src=x onerror=alert(1)>",
    "<iframe srcdoc='<script>alert(1)</script>'></iframe>",
    "<body onload=alert(1)>",
    "<style>@import '//evil/x.css';</style>",
    "<link rel=stylesheet href=//evil/x.css>",
    "<meta http-equiv=refresh content='0;url=//evil'>",
    "<base href=//evil/>",
    "<form action=//evil><button>a</button></form>",
    "<a href='javascript:alert(1)'>a</a>",
    "<div style='background:url(//evil)'>",
    "<!--><script>alert(1)</script>-->",
    "<![CDATA[<script>alert(1)</script>]]>",
    "<?php echo 1 ?><!DOCTYPE html>",
    "[a](javascript:alert(1))",
    "[a](JaVaScRiPt:alert(1))",
    "[a](java\tscript:alert(1))",
    "[a](<javascript:alert(1)>)",
    "[a](&#106;avascript:alert(1))",
    "[a](\\javascript:alert(1))",
    "[a](%6aavascript:alert(1))",
    "[a](vbscript:msgbox(1))",
    "[a](data:text/html;base64,PHNjcmlwdD5hbGVydCgxKTwvc2NyaXB0Pg==)",
    "[a](//evil)",
    "[a](file:///etc/passwd)",
    "[a]: javascript:alert(1)\n\n[a]",
    "<javascript:alert(1)>",
    "![a](javascript:alert(1))",
    "![a](data:image/svg+xml;base64,PHN2Zy8+)",
    '![a](https://b/" onload="alert(1))',
    '![" onerror="alert(1)](https://b/c)',
    '[a](https://b "x\\" onclick=\\"alert(1)")',
    '[a](https://b/"onmouseover="alert(1))',
    "`<script>alert(1)</script>`",
    "```\"><script>alert(1)</script>\na\n```",
    "```html onload=alert(1)\n<script>alert(1)</script>\n```",
    "~~~js\n</code></pre><script>alert(1)</script>\n~~~",
    "|<script>alert(1)</script>|b|\n|-|-|\n|<img src=x onerror=alert(1)>|c|",
    "# <script>alert(1)</script>",
    "- <script>alert(1)</script>",
    "> <script>alert(1)</script>",
    "\x00<script>alert(1)</script>",
    "＜script＞alert(1)＜/script＞",
    "</p></div></main><script>alert(1)</script>",
    "{{ 7*7 }} {% include 'x' %} ${7*7}",
]  # fmt: skip


@pytest.mark.parametrize("text", ATTACKS)
def test_attacks_stay_text(text: str) -> None:
    assert seen(text).tags.count("script") == 0


@pytest.mark.parametrize("text", [text for text in ATTACKS if text.startswith("<script>")])
def test_a_script_is_shown_as_it_was_written(text: str) -> None:
    assert seen(text).text == text + "\n"


PIECES = st.sampled_from(
    [
        *"<>&\"'`*_[]()!#|-:\\~\n\t =/;", "<script>", "</", "javascript:", "https://b", "![", "](", "```html\n",
        "\n|-|-|\n", "onload=", "&#x3c;", "<!--", "-->", "<a href=", "data:", "a", "\x00", "‮", "{{", "1. ",
    ]
)  # fmt: skip


@given(st.lists(PIECES, max_size=40).map("".join) | st.text(max_size=200))
def test_whatever_is_written_only_what_is_allowed_comes_out(text: str) -> None:
    seen(text)


@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r\x00"), max_size=100))
def test_as_it_is_shows_the_very_signs(text: str) -> None:
    parser = Seen()
    parser.feed(as_it_is(text))
    parser.close()
    assert parser.text == text
    assert parser.tags == ["pre"]
