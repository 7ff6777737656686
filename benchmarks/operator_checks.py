"""The laws of every installed operator at its default size, as `bayesinv check` tests them: a minute or two."""

from __future__ import annotations

import math
from collections.abc import Sequence

from side_by_side.reporting import Report, Table, options

from bayesinv.physics import check, plugins

SHOWN = ("dot test", "known answer", "time, forward", "time, adjoint")
WANTED = ("dot test", "known answer")


def main(arguments: Sequence[str] | None = None) -> dict[str, float | None]:
    """Measures and prints."""
    report = Report("operator_checks", options(__doc__ or "", arguments))
    words = [f"{name} (at most)" if name in WANTED else f"{name}, ms" for name in SHOWN]
    table = Table("Operators at their default size", ["operator", *words, "checks passed"])
    for name in ["deblur", "inpaint"] if report.options.small else report.options.chosen(plugins.names()):
        try:
            results = {result.name: result for result in check(plugins.load(name)())}
        except ImportError as missing:
            report.note(f"skipped {name}: {missing}")
            continue
        cells = [name]
        for shown in SHOWN:
            found = results.get(shown)
            cells.append("-" if found is None else f"{found.value:.2g}")
            if found is not None and math.isfinite(found.tolerance):
                cells[-1] += f" ({found.tolerance:g})"
                report.figures[f"{shown}, {name}"] = found.value
        failed = [result.name for result in results.values() if not result.passed]
        report.figures[f"failed checks, {name}"] = float(len(failed))
        table.rows.append([*cells, f"{len(results) - len(failed)} of {len(results)}"])
        print(name, ", ".join(failed) or "passed", flush=True)
    report.tables.append(table)
    return report.finish(None)


if __name__ == "__main__":
    main()
