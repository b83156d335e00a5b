"""A result as text: the table on the terminal, Markdown for the results folder and the README, a plot."""

import math
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks.results import CaseResult, Results, Row

LABELS = {
    "cpu_us": "CPU per request, µs",
    "rate": "requests/s",
    "mb_s": "MB/s",
    "p50_us": "median, µs",
    "p99_us": "p99, µs",
    "p99_9_us": "p99.9, µs",
    "broker_cores": "cores used by the broker",
    "broker_cpu_s": "CPU of the broker, s",
    "alone_p99_us": "p99 before, µs",
    "p99_growth": "p99, times what it was before",
    "alone_answer_p99_us": "p99 of answers before, µs",
    "alone_p99_spread": "p99 of windows before, largest / smallest",
    "alone_answer_p99_spread": "p99 of answers of windows before, largest / smallest",
    "answer_p99_us": "p99 of answers, µs",
    "answer_p99_growth": "p99 of answers, times what it was before",
    "cold_mb_s": "MB/s of the cold consumer",
    "gentle_mb_s": "MB/s compacted beside them",
    "compacted_mb_s": "MB/s compacted with nobody there",
    "answers_s": "until the port answers, s",
    "seconds": "seconds",
    "first_s": "until all have joined, s",
    "join_s": "one joins: settled after, s",
    "join_cpu_s": "one joins: CPU of the broker, s",
    "leave_s": "one leaves: settled after, s",
    "leave_cpu_s": "one leaves: CPU of the broker, s",
    "groups_mb": "added by the groups, MB",
    "idle_mb": "idle, MB",
    "loaded_mb": "after load, MB",
    "idle_to_loaded": "Odradek idle / Kafka after load, MB",
}
CLIENT_LABELS = {"rate": "records/s"}


def label(case: CaseResult, row: Row) -> str:
    is_client = case.name.startswith(("java", "confluent"))
    return CLIENT_LABELS.get(row.metric, LABELS[row.metric]) if is_client else LABELS[row.metric]


def number(value: float) -> str:
    """Three significant figures, thousands separated; a dash for what was not measured."""
    if math.isnan(value):
        return "-"
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def ratio(row: Row) -> str:
    return "-" if math.isnan(row.ratio) else f"{row.ratio:.2f}"


def verdict(row: Row) -> str:
    return "" if row.met is None else "ok" if row.met else "missed"


def print_table(results: Results) -> None:
    """The table on stdout, with the misses in red."""
    table = Table(title="Odradek / Kafka, medians")
    for column in ("case", "", "Kafka", "Odradek", "ratio", "target", ""):
        table.add_column(
            column, justify="right" if column in ("Kafka", "Odradek", "ratio", "target") else "left"
        )
    for case in results.cases:
        for position, row in enumerate(case.rows):
            style = {True: "green", False: "bold red", None: ""}[row.met]
            cells = [number(row.kafka), number(row.odradek), ratio(row), row.target, verdict(row)]
            table.add_row(
                case.title if position == 0 else "",
                label(case, row),
                *cells,
                style=style,
                end_section=position == len(case.rows) - 1,
            )
        if case.error:
            table.add_row(case.title, f"failed: {case.error}", style="bold red", end_section=True)
    Console(width=160).print(table)


def markdown_table(results: Results) -> str:
    lines = ["| case | | Kafka | Odradek | ratio | target | |", "|---|---|---:|---:|---:|---:|---|"]
    for case in results.cases:
        for position, row in enumerate(case.rows):
            title = case.title if position == 0 else ""
            cells = [title, label(case, row), number(row.kafka), number(row.odradek)]
            cells += [f"**{ratio(row)}**" if row.target else ratio(row), row.target, verdict(row)]
            lines.append("| " + " | ".join(cells) + " |")
        if case.error:
            lines.append(f"| {case.title} | failed: {case.error.splitlines()[0]} | | | | | missed |")
    return "\n".join(lines)


SUMMARY_COLUMNS = {
    "CPU of the broker": ("cpu_us", "broker_cpu_s", "join_cpu_s"),
    "throughput": ("mb_s", "rate", "cold_mb_s"),
    "p99": ("p99_us",),
}
UNITS = {
    "cpu_us": " µs",
    "broker_cpu_s": " s",
    "mb_s": " MB/s",
    "cold_mb_s": " MB/s",
    "rate": "/s",
    "p99_us": " µs",
    "seconds": " s",
    "answers_s": " s",
    "join_cpu_s": " s",
}


def summary(results: Results) -> str:
    """The README's tables: a line per case, "Kafka → Odradek (ratio)" in each cell."""
    loads = [f"| | {' | '.join(SUMMARY_COLUMNS)} |", "|---" * (len(SUMMARY_COLUMNS) + 1) + "|"]
    processes = ["| | Kafka | Odradek | ratio |", "|---|---:|---:|---:|"]
    for case in results.cases:
        if case.name in ("start", "memory", "idle-groups", "recovery"):
            for row in case.rows:
                unit = UNITS.get(row.metric, " MB")
                numbers = f"{number(row.kafka)}{unit} | {number(row.odradek)}{unit} | {ratio(row)}"
                name = case.title if row.metric == "seconds" else f"{case.title}, {_title(row)}"
                processes.append(f"| {name} | {numbers} |")
            continue
        rows = {row.metric: row for row in case.rows}
        cells = []
        for metrics in SUMMARY_COLUMNS.values():
            found = [rows[metric] for metric in metrics if metric in rows]
            cells.append(_cell(found[0]) if found else "")
        loads.append(f"| {case.title} | {' | '.join(cells)} |")
    return "\n".join([*loads, "", *processes])


def _cell(row: Row) -> str:
    return f"{number(row.kafka)} → {number(row.odradek)}{UNITS[row.metric]} (**{ratio(row)}**)"


def _title(row: Row) -> str:
    return LABELS[row.metric].removesuffix(", MB").removesuffix(", s")


def markdown(results: Results) -> str:
    """The whole report: machine, settings, table."""
    machine = "\n".join(f"- {key}: {value}" for key, value in results.machine.items())
    settings = "\n".join(f"- {key}: {value}" for key, value in results.settings.items())
    return (
        f"# {results.date}, {results.name}\n\n{machine}\n\nSettings:\n{settings}\n\n"
        f"Medians over the rounds; ratio = Odradek / Kafka.\n\n{markdown_table(results)}\n\n"
        f"![ratios]({results.date}-{results.name}.png)\n"
    )


def plot(results: Results, path: Path) -> bool:
    """Bars of the ratios that have targets, with the targets marked; False without matplotlib."""
    try:
        import matplotlib
    except ImportError:
        return False
    matplotlib.use("Agg")
    from matplotlib import pyplot

    rows = [
        (case, row)
        for case in results.cases
        for row in case.rows
        if row.target and row.ratio > 0 and "itself" not in row.target
    ]
    figure, axes = pyplot.subplots(figsize=(11, 0.32 * len(rows) + 1.6))
    for position, (_, row) in enumerate(reversed(rows)):
        limit = float(row.target.split()[1])
        axes.barh(position, row.ratio - 1, left=1, color="#2a7f4f" if row.met else "#c0392b", height=0.7)
        axes.plot([limit, limit], [position - 0.45, position + 0.45], color="black", linewidth=2)
        axes.annotate(
            f"{row.ratio:.2f}",
            (row.ratio, position),
            xytext=(3 if row.ratio >= 1 else -3, 0),
            textcoords="offset points",
            horizontalalignment="left" if row.ratio >= 1 else "right",
            verticalalignment="center",
            fontsize=7,
        )
    axes.set_yticks(
        range(len(rows)),
        [f"{case.title}: {label(case, row)} {row.target}" for case, row in reversed(rows)],
        fontsize=7,
    )
    axes.set_xscale("log")
    axes.margins(x=0.08)
    axes.axvline(1, color="grey", linewidth=0.8, linestyle=":")
    axes.set_xlabel("Odradek / Kafka (black: target, green: met)")
    figure.tight_layout()
    figure.savefig(path, dpi=120)
    pyplot.close(figure)
    return True
