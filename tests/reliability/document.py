"""Draws the table of docs/reliability.md of all figures that are kept; the text around it is written by hand."""

import json
import os
import platform
import re

BEGIN = "<!-- figures: begin -->"
END = "<!-- figures: end -->"


def draw(path, results, figures):
    kept = load(results)
    gateways = sorted({told["gateway"] for told in kept}, key=lambda name: (name != "mcp-wrapper", name))
    notes = []
    table = lines_of_table(kept, gateways, figures, notes)
    text = [BEGIN, "", *table, ""]
    text += [f"{number}. {sentence}" for number, sentence in enumerate(notes, 1)] + [""] * bool(notes)
    text += ["How these came about:", "", *conditions(kept, gateways, figures), "", END]
    with open(path, encoding="utf-8") as document:
        old = document.read()
    before, after = old.split(BEGIN)[0], old.split(END)[1]
    with open(path, "w", encoding="utf-8") as document:
        document.write(before + "\n".join(text) + after)


def load(results):
    kept = []
    for name in sorted(os.listdir(results)):
        if name.endswith(".json"):
            with open(os.path.join(results, name), encoding="utf-8") as text:
                kept.append(json.load(text))
    return kept


def lines_of_table(kept, gateways, figures, notes):
    by = {(told["gateway"], told["figure"]): told for told in kept}
    yield "| figure | " + " | ".join(gateways) + " |"
    yield "| --- |" + " --- |" * len(gateways)
    for figure, module in figures.items():
        cells, labels = {}, []
        for gateway in gateways:
            told = by.get((gateway, figure))
            if told and "value" in told:
                for label, text in module.rows(told["value"]):
                    cells[(gateway, label)] = text
                    labels += [label] if label not in labels else []
        for label in labels:
            row = [cells.get((gateway, label)) or absent(by.get((gateway, figure)), notes) for gateway in gateways]
            yield f"| {label} | " + " | ".join(row) + " |"


def absent(told, notes):
    """A dash, with the number of the sentence that says why."""
    if told is None:
        return "not measured"
    if "unable" not in told:
        return "–"
    sentence = f"{told['gateway']}, {told['figure']}: {told['unable']}"
    if sentence not in notes:
        notes.append(sentence)
    return f"– ({notes.index(sentence) + 1})"


def conditions(kept, gateways, figures):
    system = f"{platform.system()} {re.sub(r'[^0-9.].*', '', platform.release())}, {platform.machine()}"
    cores = sorted({told["cores"] for told in kept})
    yield f"- {system}, {', '.join(map(str, cores))} cores, Python {platform.python_version()} as the client."
    for gateway in gateways:
        versions = sorted({told.get("version", "unknown") for told in kept if told["gateway"] == gateway})
        yield f"- {gateway}: {', '.join(versions)}."
    yield ""
    yield "| gateway | figure | when | load of the machine, before and after | took | command |"
    yield "| --- | --- | --- | --- | --- | --- |"
    for gateway in gateways:
        for figure in figures:
            for told in kept:
                if (told["gateway"], told["figure"]) == (gateway, figure):
                    load = f"{told['load'][0]}, {told['load'][1]}"
                    when, took = told["date"], f"{told['seconds']} s"
                    yield f"| {gateway} | {figure} | {when} | {load} | {took} | `{told['command']}` |"
