"""An HTML page as the Markdown that its readers see. Pure.

What a page does not show is taken out before anything else reads it: `hidden`, what its own styles hide, comments,
scripts, templates, descriptions of pictures, titles that only a pointer shows. How much that was is said, and so is
that there are stylesheets of which nothing is known.
"""

import html
import re
import warnings
from collections.abc import Iterator
from dataclasses import dataclass

from bs4 import BeautifulSoup, MarkupResemblesLocatorWarning, Tag, XMLParsedAsHTMLWarning
from bs4.element import Comment
from bs4.exceptions import ParserRejectedMarkup
from markdownify import ATX, MarkdownConverter

DEEPEST = 200
"""Elements inside each other: no page for people has more."""
MOST_TAGS = 50_000
"""What is read in about a second."""
_NEVER_SHOWN = (
    *(
        "title",
        "script",
        "style",
        "template",
        "noscript",
        "iframe",
        "object",
        "embed",
        "meta",
        "svg",
        "canvas",
        "audio",
        "video",
    ),
    *("datalist", "img", "picture", "map", "input", "textarea", "select", "rp", "ac:placeholder", "ac:image"),
)
_HIDDEN_CLASSES = (
    *("sr-only", "visually-hidden", "visuallyhidden", "screen-reader-text", "screen-reader-only", "hidden", "d-none"),
    *("invisible", "assistive", "hide", "is-hidden", "u-hidden", "display-none"),
)
_HIDING = re.compile(
    r"display:none|visibility:(?:hidden|collapse)|content-visibility:hidden|(?<![\w-])opacity:(?:0?\.0\d*|0)(?![\d.])"
    r"|font-size:(?:0?\.\d+|0|1px)(?![\d.])|(?<![\w-])color:transparent|color:rgba\([^)]{0,60},0(?:\.0+)?\)"
    r"|clip:rect\(|clip-path:(?:inset\((?:50|100)|circle\(0)|text-indent:-\d{3,}"
    r"|(?<![\w-])(?:left|top|right|bottom|margin-left|margin-top):-\d{3,}|(?<![\w-])(?:max-)?(?:height|width):[01](?:px)?(?![\d.%])"
    r"|transform:scale\(0|mso-hide:all"
)
_COLOURS = re.compile(r"(?<![\w-])(color|background(?:-color)?):([^;]+)")
_CSS_COMMENT = re.compile(r"/\*.*?(?:\*/|\Z)", re.DOTALL)
_ONE_STEP = re.compile(r"[^\s>+~]+(?:(?:\s+|\s*>\s*)[^\s>+~]+)?")
"""A selector whose elements are found without going over the page again and again."""
MOST_MATCHES = 500_000
"""Elements times selectors: what is compared in about a second."""
_LINES = re.compile(r"\n{3,}")
_CONFLUENCE_CODE = ("code", "noformat")


@dataclass(frozen=True, slots=True)
class Page:
    """A page's title, None where it has none, its text, and sentences on what people should know of how it was read."""

    title: str | None
    text: str
    notes: tuple[str, ...] = ()


class PageUnreadable(ValueError):
    """No page for people is like that; the message is the rest of a sentence that begins with its name."""


def read_page(markup: str) -> Page:
    """The page as its readers see it. Raises PageUnreadable."""
    soup = _parsed(markup)
    title = soup.title.get_text(" ", strip=True) if soup.title else None
    styles = [tag.get_text() for tag in soup.find_all("style")]
    foreign = bool(soup.find("link", rel=lambda given: given is not None and "stylesheet" in given))
    for tag in soup.find_all(_NEVER_SHOWN):
        tag.decompose()
    selectors = _hiding_selectors(styles)
    # What depends on a state or a condition is not followed, but said.
    cheap = [one for one in selectors if _ONE_STEP.fullmatch(one) and "@" not in one and ":" not in one]
    if len(cheap) * len(soup.find_all(True)) > MOST_MATCHES:
        cheap = []
    foreign = foreign or len(cheap) < len(selectors)
    hidden = _take_out_hidden(soup, cheap)
    # Where a page says what it is about, the rest is the site's.
    about = soup.find("main") or soup.find("article")
    text = _LINES.sub("\n\n", _Converter().convert_soup(about if isinstance(about, Tag) else soup)).strip()
    return Page(title or None, f"{text}\n" if text else "", tuple(_notes(hidden, foreign)))


def read_confluence(markup: str) -> Page:
    """The same for Confluence's storage format, whose macros are elements of its own."""
    soup = _parsed(_without_cdata(markup))
    for macro in soup.find_all("ac:structured-macro"):
        _open_macro(soup, macro)
    for tag in soup.find_all(
        ("ac:parameter", "ac:task-id", "ac:task-uuid", "ac:task-status", "ri:user", "ri:attachment")
    ):
        tag.decompose()
    return read_page(str(soup))


def _without_cdata(markup: str) -> str:
    """The same with its CDATA sections as text, of which HTML knows nothing."""
    first, *rest = markup.split("<![CDATA[")
    parts = [first]
    for one in rest:
        text, end, after = one.partition("]]>")
        parts += [html.escape(text, quote=False), after] if end else [html.escape(text, quote=False)]
    return "".join(parts)


def _parsed(markup: str) -> BeautifulSoup:
    """The page's elements, by a parser that takes time in proportion to its size."""
    if markup.count("<") > MOST_TAGS:
        raise PageUnreadable("it has more elements than a page for people")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", MarkupResemblesLocatorWarning)
        warnings.simplefilter("ignore", XMLParsedAsHTMLWarning)
        try:
            soup = BeautifulSoup(markup, "lxml")
        except ParserRejectedMarkup:
            raise PageUnreadable("it is no HTML") from None
    depths = {id(soup): 0}
    for tag in soup.find_all(True):
        depths[id(tag)] = depth = depths[id(tag.parent)] + 1
        if depth > DEEPEST:
            raise PageUnreadable("its elements are nested too deeply")
    return soup


def _open_macro(soup: BeautifulSoup, macro: Tag) -> None:
    """Code becomes a code block, other macros what people wrote in them; a hidden excerpt is shown to nobody."""
    if macro.decomposed:
        return
    name = str(macro.get("ac:name", ""))
    settings = {
        str(one.get("ac:name", "")): one.get_text(strip=True) for one in macro.find_all("ac:parameter", recursive=False)
    }
    body = macro.find("ac:plain-text-body")
    if settings.get("hidden", "").lower() == "true":
        macro.decompose()
    elif name in _CONFLUENCE_CODE and body is not None:
        block, code = soup.new_tag("pre"), soup.new_tag("code")
        code["class"] = f"language-{settings.get('language', '')}"
        code.string = "".join(body.strings)
        block.append(code)
        macro.replace_with(block)


def _take_out_hidden(soup: BeautifulSoup, selectors: list[str]) -> int:
    """Take out what the page itself hides, by `selectors` too; how many pieces with text that were."""
    hiding = [tag for tag in soup.find_all(True) if _is_hidden(tag)]
    for selector in selectors:
        try:
            hiding += soup.select(selector)
        except (ValueError, NotImplementedError):
            # No element is found by what is no selector.
            continue
    found = 0
    for tag in hiding:
        if not tag.decomposed and tag.name not in ("html", "body"):
            found += bool(tag.get_text(strip=True))
            tag.decompose()
    comments = [one for one in soup.find_all(string=True) if isinstance(one, Comment)]
    for comment in comments:
        comment.extract()
    return found


def _is_hidden(tag: Tag) -> bool:
    if tag.has_attr("hidden") or (tag.name == "dialog" and not tag.has_attr("open")):
        return True
    classes = tag.get("class") or ()
    if any(one in _HIDDEN_CLASSES for one in ([classes] if isinstance(classes, str) else classes)):
        return True
    style = tag.get("style")
    return isinstance(style, str) and hides(style)


def hides(style: str) -> bool:
    """Whether an element with that style shows no text."""
    plain = re.sub(r"\s+|!important", "", _CSS_COMMENT.sub("", style.lower())).replace("\\", "")
    if _HIDING.search(plain):
        return True
    colours: dict[str, str] = {key.removesuffix("-color"): value for key, value in _COLOURS.findall(plain)}
    return "background" in colours and colours.get("color") == colours["background"]


def _hiding_selectors(styles: list[str]) -> list[str]:
    rules = [rule for sheet in styles for rule in _rules(_CSS_COMMENT.sub("", sheet))]
    return [one.strip() for selector, style in rules if hides(style) for one in selector.split(",") if one.strip()]


def _rules(sheet: str) -> Iterator[tuple[str, str]]:
    """Selectors and styles, those in blocks too; the end of a sheet closes what is open."""
    for block in sheet.split("}"):
        before, brace, style = block.rpartition("{")
        if brace:
            yield before.rpartition("{")[2], style


def _notes(hidden: int, foreign: bool) -> list[str]:
    notes = list[str]()
    if hidden:
        pieces = "A piece of text was" if hidden == 1 else f"{hidden} pieces of text were"
        notes.append(f"{pieces} left out that the spec's page hides from its readers: see who wrote it.")
    if foreign:
        notes.append("The spec's page has stylesheets that were not read: text that only they hide may be in the spec.")
    return notes


class _Converter(MarkdownConverter):
    """Texts as they are written: nothing escaped, no addresses, no titles."""

    def __init__(self) -> None:
        super().__init__(
            heading_style=ATX,
            escape_asterisks=False,
            escape_underscores=False,
            escape_misc=False,
            strip=["a"],
            code_language_callback=_language,
        )


def _language(block: Tag) -> str:
    """The language that a code block says it is in."""
    for tag in (block, block.find("code")):
        classes = tag.get("class") if isinstance(tag, Tag) else None
        for one in [classes] if isinstance(classes, str) else classes or ():
            if one.startswith(("language-", "code-", "lang-")):
                return one.split("-", 1)[1]
    return ""
