#!/usr/bin/env python3
"""table.py FOLDER [--write] - the table of stores and cases in docs/suite.md, from what a run of the suite left in FOLDER.
Without --write it must already be there, to the letter."""
import pathlib
import sys

PAGE = pathlib.Path(__file__).parents[2] / "docs" / "suite.md"
STORES = ["key-vault", "infisical-v3", "infisical-v4", "openbao", "kubernetes", "local"]
GROUPS = ["values", "names", "lists", "changes", "writes", "versions", "failures", "transport", "credentials"]
HEAD = """# One suite for every store

Every store runs through the same cases, under exactly the least rights that [stores.md](stores.md) gives to copy. OpenBao and
Kubernetes are real servers; Key Vault and Infisical are fakes built from recorded exchanges and documented rules (the same
suite runs against a real one when its address and credentials are set: see tests/stores). This table is made from the run and checked by it.

✓: it holds. A number: the store cannot do it, says so by its features, and was checked to refuse it.
"""


def main() -> str | None:
    folder = pathlib.Path(sys.argv[1])
    found = {s: {p.relative_to(folder / s).as_posix(): p.read_text() for p in sorted((folder / s).glob("*/*"))} for s in STORES}
    cases = {case for store in found.values() for case in store}
    holes = [f"{store}: {case}" for store in STORES for case in sorted(cases) if case not in found[store]]
    if len(cases) < 60 or holes:
        return f"{len(cases)} cases; not run: {', '.join(holes[:5]) or 'none'}"
    notes: list[str] = []
    lines = [HEAD, "| case | " + " | ".join(STORES) + " |", "|---|" + "---|" * len(STORES)]
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
    text = "\n".join(lines)
    if "--write" in sys.argv:
        PAGE.write_text(text)
    elif not PAGE.exists() or PAGE.read_text() != text:
        return f"{PAGE.name} is not what the run found: tests/stores/table.py {folder} --write"
    return None


sys.exit(main())
