"""Code and formulas come out of a page and back into its Markdown to the last character."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from selectolax.lexbor import LexborHTMLParser

from curation.clean import held as module
from curation.clean.held import Code, Formula, Held, fence_for, hold, put_back, without_marks

MARK = "\ufdd0{}\ufdd1"
READER = MarkdownIt("commonmark")


def held_of(html: str) -> tuple[list[Held], str]:
    tree = LexborHTMLParser(html)
    found = hold(tree)
    assert tree.body is not None
    return found, tree.body.text()


def only(html: str) -> Held:
    ((one,), text) = held_of(html)
    assert text.strip() == MARK.format(0)
    return one


@pytest.mark.parametrize(
    ("html", "expected"),
    [
        ("<pre><code>x = 1\n</code></pre>", Code("x = 1", "")),
        ("<pre><code class='language-c++'>a</code></pre>", Code("a", "c++")),
        ("<pre class='lang-sh'>ls</pre>", Code("ls", "sh")),
        (
            "<pre><div><span>python</span><button>Copy code</button></div><code>  f()\n\n</code></pre>",
            Code("  f()\n", "python"),
        ),
        ("<pre><div>copy</div><code>x</code></pre>", Code("x", "")),
        ("<pre>a<br>b</pre>", Code("a\nb", "")),
        ("<pre><code>&lt;b&gt; &amp;amp;</code></pre>", Code("<b> &amp;", "")),
        ("<PRE>UPPER</PRE>", Code("UPPER", "")),
        ("<math><annotation encoding='application/x-tex'>x^2</annotation></math>", Formula("x^2", False)),
        ("<code class='language-math'>y</code>", Formula("y", False)),
        (
            "<span class='katex-display'><span class='katex'><math><mi>z</mi>"
            "<annotation encoding='application/x-tex'>z_1</annotation></math></span></span>",
            Formula("z_1", True),
        ),
    ],
)  # fmt: skip
def test_what_is_held(html: str, expected: Held) -> None:
    assert only(html) == expected


@pytest.mark.parametrize(
    "html",
    ["<button>Copy</button>", "<svg><text>i</text></svg>", "<script>s</script>", "<style>s</style>", "<p hidden>h</p>",
     "<template>t</template>", "<noscript>n</noscript>", "<iframe>i</iframe>", "<object>o</object>",
     "<textarea>t</textarea>", "<select><option>o</option></select>", "<math></math>", "<span class=katex></span>"],
)  # fmt: skip
def test_what_is_a_pages_is_removed(html: str) -> None:
    assert held_of(f"<p>a</p>{html}<p>b</p>") == ([], "ab")


def test_every_element_that_is_looked_for_has_its_sign() -> None:
    """Pages without any of the signs are not searched, so that each selector needs one."""
    signs = [sign.decode().lstrip("<") for sign in module._SIGNS_OF_HELD]
    selectors = [selector.strip(" .[]") for selector in module._HELD.split(",")]
    assert [selector for selector in selectors if not any(sign in selector for sign in signs)] == []
    assert [sign for sign in signs if not any(sign in selector for selector in selectors)] == []


def test_the_outer_one_holds_the_inner_one() -> None:
    assert only("<pre><code>a <button>no</button><span class='katex'>b</span></code></pre>") == Code("a b", "")


def test_a_table_with_code_is_taken_apart() -> None:
    found, text = held_of("<table><tr><td>before</td><td><pre>x|y</pre></td></tr></table>")
    assert found == [Code("x|y", "")]
    assert text == f"before{MARK.format(0)}"


def test_marks_in_a_page_are_no_marks() -> None:
    assert without_marks("a\ufdd00\ufdd1b") == "a0b"
    plain = "nothing"
    assert without_marks(plain) is plain


@pytest.mark.parametrize(
    ("markdown", "held", "expected"),
    [
        ("a\n\n\ufdd00\ufdd1\n\nb", [Code("x\n y", "c")], "a\n\n```c\nx\n y\n```\n\nb"),
        ("\ufdd00\ufdd1", [Code("", "")], "```\n```"),
        ("- item\n\n  \ufdd00\ufdd1", [Code("x\n\ny", "")], "- item\n\n  ```\n  x\n\n  y\n  ```"),
        ("- \ufdd00\ufdd1", [Code("x\ny", "")], "- ```\n  x\n  y\n  ```"),
        ("> \ufdd00\ufdd1", [Code("x\ny", "")], "> ```\n> x\n> y\n> ```"),
        ("12. say \ufdd00\ufdd1 now", [Formula("x\n+1", False)], "12. say $x +1$ now"),
        ("| \ufdd00\ufdd1 |", [Formula("a|b", False)], r"| $a\|b$ |"),
        ("let \ufdd00\ufdd1 be", [Formula("x", True)], "let\n\n$$\nx\n$$\n\nbe"),
        ("\ufdd00\ufdd1 and \ufdd01\ufdd1", [Code("a", ""), Code("b", "")], "```\na\n```\n\nand\n\n```\nb\n```"),
    ],
)
def test_it_is_put_back_where_it_stood(markdown: str, held: list[Held], expected: str) -> None:
    assert put_back(markdown, held) == expected


def test_without_anything_held_the_text_is_the_same() -> None:
    assert put_back("a\nb", []) == "a\nb"


@pytest.mark.parametrize(("text", "fence"), [("", "```"), ("a `b` c", "```"), ("```", "````"), ("x````y", "`````")])
def test_a_fence_is_longer_than_what_is_inside(text: str, fence: str) -> None:
    assert fence_for(text) == fence


CODE = st.text(st.characters(exclude_categories=["Cs", "Cc"]) | st.sampled_from("\n`~> -1.\t"), max_size=60)


@given(CODE, st.sampled_from(["", "- ", "> ", "1. ", "- > "]))
def test_any_code_is_read_again_as_it_was(code: str, before: str) -> None:
    """By a Markdown reader, in a list or a quotation too; blank lines of white space alone may lose it."""
    code = code.replace("\t", " ")
    markdown = put_back(f"{before}{MARK.format(0)}", [Code(code, "")])
    (fence,) = [token for token in READER.parse(markdown) if token.type == "fence"]
    assert [line.rstrip() if not line.strip() else line for line in fence.content.split("\n")[:-1]] == [
        line.rstrip() if not line.strip() else line for line in (code.split("\n") if code else [])
    ]
