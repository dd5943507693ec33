#!/usr/bin/env python3
"""table.py FOLDER [--write] - the table of stores and cases in docs/stores.md, from what a run of the suite left in FOLDER.
Without --write it must already be there, to the letter."""
import pathlib
import sys

PAGE = pathlib.Path(__file__).parents[2] / "docs" / "stores.md"
STORES = ["key-vault", "infisical-v3", "infisical-v4", "openbao", "kubernetes", "local"]
GROUPS = ["values", "names", "lists", "changes", "writes", "versions", "failures", "transport", "credentials"]
BEGIN, END = "<!-- suite: begin -->\n", "<!-- suite: end -->\n"


def main() -> str | None:
    folder = pathlib.Path(sys.argv[1])
    found = {s: {p.relative_to(folder / s).as_posix(): p.read_text() for p in sorted((folder / s).glob("*/*"))} for s in STORES}
    cases = {case for store in found.values() for case in store}
    holes = [f"{store}: {case}" for store in STORES for case in sorted(cases) if case not in found[store]]
    if len(cases) < 60 or holes:
        return f"{len(cases)} cases; not run: {', '.join(holes[:5]) or 'none'}"
    notes: list[str] = []
    lines = ["| case | " + " | ".join(STORES) + " |", "|---|" + "---|" * len(STORES)]
    for group in GROUPS:
        lines.append(f"| **{group}** |" + " |" * len(STORES))
        for case in sorted(c for c in cases if c.startswith(group + "/")):
            cells = []
            for store in STORES:
                verdict = found[store][case]
                if verdict == "holds":
                    cells.append("✓")
                    continue
                if verdict not in notes:
                    notes.append(verdict)
                cells.append(str(notes.index(verdict) + 1))
            lines.append(f"| {case.split('/')[1].replace('_', ' ')} | " + " | ".join(cells) + " |")
    lines += ["", *(f"{number}. {note}" for number, note in enumerate(notes, 1)), ""]
    page = PAGE.read_text()
    before, rest = page.split(BEGIN)
    text = before + BEGIN + "\n".join(lines) + END + rest.split(END)[1]
    if "--write" in sys.argv:
        PAGE.write_text(text)
    elif page != text:
        return f"{PAGE.name} is not what the run found: tests/stores/table.py {folder} --write"
    return None


sys.exit(main())
