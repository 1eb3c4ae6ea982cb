"""The report: what it says of the study's counts, what it escapes, and that any part of an evaluation is enough."""

import re
import time
from dataclasses import replace
from html import unescape
from pathlib import Path

import orjson
import pytest
from invented import HARDWARE, NAMES, evaluation, like_the_study, measured, replies, study_labels, system

from wikillama.evaluation.report import write_report
from wikillama.evaluation.results import Costs, Evaluation, SystemResult
from wikillama.evaluation.wording import NOTHING

EVIL = '<script>alert("x")</script><img src="http://elsewhere/x.png">'
PNG = b"\x89PNG"


def read(page: Path) -> str:
    return page.read_text(encoding="utf-8")


def plain(page: Path) -> str:
    """The words of a page as a reader sees them."""
    body = read(page).partition("<body>")[2]
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", body)).split())


def results(folder: Path) -> dict:  # type: ignore[type-arg]
    text = (folder / "results.json").read_text(encoding="utf-8")
    assert "NaN" not in text
    return orjson.loads(text)  # refuses NaN, which is no JSON


@pytest.fixture(scope="module")
def studied(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("report")
    started = time.process_time()
    page = write_report(like_the_study(EVIL), folder / "new")
    assert time.process_time() - started < 10
    return page


def test_the_studys_table(studied: Path) -> None:
    rows = [re.findall(r"<td[^>]*>([^<]*)</td>", row) for row in re.findall(r"<tr.*?</tr>", read(studied), re.DOTALL)]
    table = {(row[0], row[1]): row[2:] for row in rows if len(row) > 1 and row[1] in ("reported", "measured")}
    shares = [".610 [.541,.675]", ".760 [.696,.814]", ".745 [.680,.800]"]
    counts = [["122", "68", "10"], ["152", "45", "3"], ["149", "48", "3"]]
    reported = ("Llama 2 base", "fine-tuned without QLoRA", "fine-tuned with QLoRA")
    for names, source in ((reported, "reported"), (NAMES, "measured")):
        assert [table[name, source][1:4] for name in names] == counts
        assert [table[name, source][4] for name in names] == shares
    markdown = read(studied.with_suffix(".md"))
    for name, count, share in zip(reported, counts, shares, strict=True):
        assert f"| {name} | reported | 200 | {' | '.join(count)} | {share} |" in markdown


def test_the_result_in_words(studied: Path) -> None:
    said = plain(studied)
    first = said[: said.index("Counts Topics")]
    assert "no-qlora 152 of 200 (.760 [.696,.814])" in first
    assert "No detectable difference between qlora and no-qlora" in first
    assert "qlora is better than base by 13.5 points" in first
    assert "No person has labelled these answers" in first
    reported = (
        "No detectable difference between fine-tuned with QLoRA and fine-tuned without QLoRA: 149 against 152 of 200"
    )
    assert reported in said
    markdown = read(studied.with_suffix(".md"))
    assert reported in markdown
    assert "No detectable difference between qlora and no-qlora" in markdown


def test_what_it_says_of_matrices_people_and_limits(studied: Path) -> None:
    said = plain(studied)
    assert "there is no classic confusion matrix of predicted against true classes" in said
    assert "python evaluate.py review.create=true" in said
    assert "n=20: a share near one half is uncertain by 20 points either way" in said
    assert "The judge goes by words" in said
    assert "commit 0123abc" in said


def test_what_models_wrote_is_escaped(studied: Path) -> None:
    page = read(studied)
    assert "<script" not in page
    assert "&lt;script&gt;alert(" in page
    markdown = read(studied.with_suffix(".md"))
    assert "\\<script\\>alert" in markdown
    assert "<script" not in markdown.replace("\\<script", "")


def test_nothing_is_loaded_from_elsewhere(studied: Path) -> None:
    page = read(studied)
    tags = re.findall(r"<[a-z][^>]*>", page)
    sources = [found for tag in tags for found in re.findall(r'\s(?:src|href|srcset|action|data)="([^"]*)"', tag)]
    assert {source.partition(",")[0] for source in sources if not source.startswith("#")} == {"data:image/png;base64"}
    assert not any("http:" in tag or "https:" in tag for tag in tags)
    assert "url(" not in page
    assert "@import" not in page
    assert "default-src &#39;none&#39;" in page or "default-src 'none'" in page
    assert {source[1:] for source in sources if source.startswith("#")} <= set(re.findall(r'id="([^"]*)"', page))


def test_files_beside_the_page(studied: Path) -> None:
    folder = studied.parent
    found = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    pairs = {"base-to-no-qlora", "base-to-qlora", "no-qlora-to-qlora"}
    tables = pairs | {f"topics-{name}" for name in NAMES}
    pictures = {f"confusion/{name}.png" for name in tables} | {"topics.png"}
    assert found == pictures | {f"confusion/{t}.json" for t in tables} | {"report.html", "report.md", "results.json"}
    for name in pictures:
        assert (folder / name).read_bytes().startswith(PNG)
        assert (folder / name).stat().st_size < 150_000
    for name in re.findall(r"\]\(([^)]*\.png)\)", read(folder / "report.md")):
        assert name in pictures
    table = orjson.loads((folder / "confusion" / "base-to-qlora.json").read_bytes())
    assert [sum(row) for row in table["counts"]] == [122, 68, 10]
    kept = results(folder)
    assert [system["name"] for system in kept["evaluation"]["systems"]] == list(NAMES)
    assert kept["evaluation"]["systems"][0]["answers"][0]["reply"] == EVIL
    assert kept["comparison"]["reported_pairs"][2]["pairings"]["lowest_p"] == 0.25


def test_lists_behind_cells_and_examples(studied: Path) -> None:
    page = read(studied)
    assert "Won: 30, the first 20 shown" in page
    assert "Lost: 3" in page
    assert page.count('<div class="example">') == 20 + 20 + 3
    moved = page[page.index("correct → wrong: 3") :]
    assert re.findall(r'class="note">([a-z]+-\d+)</span></li>', moved)[:3] == ["food-013", "sports-015", "sports-016"]
    shown = page[page.index("Lost: 3") :]
    for part in ("What is food-013?", "It is food-013.", "accepted: that one", "absent: no accepted wording"):
        assert part in shown


def test_people_and_annotators(tmp_path: Path) -> None:
    answers = study_labels(0)
    other = {item: "wrong" if item.startswith("art") else label for item, label in answers.items()}
    given = {"ada": {f"a b {i}": x for i, x in answers.items()}, "bo": {f"a b {i}": x for i, x in other.items()}}
    page = write_report(evaluation([system("a b", answers)], {"a b": other}, given), tmp_path)
    said = plain(page)
    assert "People labelled 200 answers" in said
    assert "review.create" not in said
    assert "Krippendorff's alpha" in said
    assert re.search(r"a b 200 \.560 \[\.491,\.627\] \.610 \.560", said)  # labelled, by people, by the judge, corrected
    assert (tmp_path / "confusion" / "judge-a-b.png").exists()
    assert (tmp_path / "confusion" / "annotators-ada-bo.json").exists()


def test_labels_of_people_on_some_of_the_answers(tmp_path: Path) -> None:
    systems = [system("a", study_labels(0)), system("b", {"own-001": "correct", "cars-001": "correct"})]
    page = write_report(replace(evaluation(systems), judge="people, in the MLflow UI"), tmp_path)
    said = plain(page)
    assert "Correct answers with gold knowledge: a 122 of 200 (.610 [.541,.675]), b 2 of 2" in said
    assert "The labels are people's own." in said
    assert "No person has labelled" not in said
    assert "An automatic judge errs" not in said
    assert "own 1 of 1" in said


def test_metrics_alone(tmp_path: Path) -> None:
    page = write_report(evaluation(measured(), suite="wow_seen"), tmp_path)
    said = plain(page)
    assert (
        "Over 3,865 turns with gold knowledge: F1 of base .200 [.180,.220], of tuned .200 [.180,.220]; knowledge"
        in said
    )
    assert "knowledge-F1 of tuned falls by .300 [.264,.345]." in said
    assert "perplexity 1,234.50 [1,200.25, 1,300.75] 8.25 [8.00, 8.50] 3,865" in said
    assert "knowledge-F1 .270 [.250,.290] .470 [.450,.490] 3,600" in said
    assert "distinct-2 .410 .410" in said
    assert "of_tomorrow .500 [.400,.600]" in said
    assert "BLEU-4: nrefs:1|case:mixed" in said
    assert "tuned .470 [.450,.490] .170 [.130,.200] .300 [.264,.345]" in said  # falls by, with the other's interval
    assert "Correct, wrong, ambiguous" not in said
    assert f"first token, ms {NOTHING} 80" in said
    assert results(tmp_path)["evaluation"]["systems"][0]["metrics"]["distinct_2"]["low"] is None
    assert not (tmp_path / "confusion").exists()
    assert (tmp_path / "costs.png").read_bytes().startswith(PNG)


def test_one_system_with_answers_metrics_and_costs(tmp_path: Path) -> None:
    (_, tuned) = measured()
    costs = Costs(HARDWARE, reply_s=1.5)
    one = evaluation([system("tuned", study_labels(2), metrics=tuned.metrics, costs=costs)])
    page = write_report(one, tmp_path)
    said = plain(page)
    assert "tuned 149 of 200 (.745 [.680,.800])" in said
    assert "Changes from system to system" not in said
    assert "knowledge-F1 .470" in said
    assert (tmp_path / "costs.png").exists()


def test_five_questions_and_names_that_are_addresses(tmp_path: Path) -> None:
    labels = {
        "cars-001": "correct",
        "cars-002": "wrong",
        "art-001": "ambiguous",
        "food-001": "wrong",
        "own-1": "correct",
    }
    names = ("models:/wiki-llama@champion", "models:/wiki-llama@<champion>", "base")
    page = write_report(evaluation([system(name, labels) for name in names]), tmp_path)
    said = plain(page)
    assert "Few questions, n=5: a share near one half is uncertain by 33 points" in said
    assert "base 2 of 5 (.400 [.118,.769])" in said
    assert "models:/wiki-llama@<champion>" in said
    written = {path.name for path in (tmp_path / "confusion").glob("topics-*.png")}
    assert written == {
        "topics-models-wiki-llama-champion.png",
        "topics-models-wiki-llama-champion-2.png",
        "topics-base.png",
    }


def test_a_system_that_was_only_started(tmp_path: Path) -> None:
    bare = Evaluation("wow", "none", None, (SystemResult("base", Costs(HARDWARE, start_s=3)),), {})
    said = plain(write_report(bare, tmp_path))
    assert "wow with no knowledge" in said
    assert "start, s 3.0" in said
    assert {path.name for path in tmp_path.iterdir()} == {"report.html", "report.md", "results.json"}


def test_turns_of_two_systems_are_tested_in_pairs(tmp_path: Path) -> None:
    turns = tuple(replies([f"d{i}" for i in range(8)]))
    better = tuple(replace(t, kf1=0.4 + 0.01 * i, reply=EVIL) for i, t in enumerate(turns))
    base, tuned = (replace(s, predictions=p) for s, p in zip(measured(), (turns, better), strict=True))
    page = write_report(evaluation([base, tuned], suite="wow_seen"), tmp_path)
    said = plain(page)
    first = "tuned against base: knowledge-F1 +.035 [+.019,+.051] (p = .016); no detectable difference in F1 .000 "
    assert first + "[.000,.000] (p = 1.000); paired tests over dialogues." in said
    assert "Few dialogues, 8 dialogues: intervals over so few are too narrow; go by p." in said
    assert "Do they differ?" in said
    assert "knowledge-F1 .400 .435 +.035 [+.019,+.051] p = .016 p = .016 8 of 8" in said
    markdown = read(page.with_suffix(".md"))
    assert "| knowledge-F1 | .400 | .435 | +.035 [+.019,+.051] | p = .016 | p = .016 | 8 of 8 |" in markdown
    kept = results(tmp_path)
    (pair,) = (pair for pair in kept["comparison"]["metric_pairs"] if pair["metric"] == "kf1")
    assert (pair["p"], pair["dialogues"]) == (2 / 2**7, 8)  # the first dialogue does not differ
    assert kept["evaluation"]["systems"][0]["predictions"] == []  # they have a file of their own
    assert EVIL not in read(tmp_path / "results.json")
