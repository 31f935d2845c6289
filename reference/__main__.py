"""Write every generated page of docs/: `make docs`.

python -m reference
"""

from __future__ import annotations

from reference.pages import DOCS, PAGES


def main() -> None:
    """Write what has changed, and say what that is."""
    for name, make in PAGES.items():
        path, text = DOCS / name, make()
        if not path.is_file() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")
            print(f"wrote docs/{name}")


if __name__ == "__main__":
    main()
