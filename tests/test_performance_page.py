"""The figures of docs/performance.md are those of a run: of the document that `benchmarks.compare` left."""

from __future__ import annotations

import pytest

from benchmarks.compare import report
from benchmarks.compare.jobs import JOBS
from benchmarks.compare.results import Document, dump, read
from benchmarks.compare.rivals import NAMES


@pytest.fixture(scope="module")
def document() -> Document:
    """The committed one."""
    return read(report.RESULTS)


def test_the_page_shows_the_run(document: Document) -> None:
    """Each part of the page is what the report makes of the document; `python -m benchmarks.compare.report` does it."""
    page = report.PAGE.read_text(encoding="utf-8")
    assert page.count("<!-- figures: ") == 4
    assert page == report.with_figures(page, document)


def test_the_plots_show_the_run(document: Document) -> None:
    """Each plot is what the report makes of the document, and is on the page."""
    page = report.PAGE.read_text(encoding="utf-8")
    for name, plot in report.plots(document).items():
        assert (report.IMAGES / f"{name}.svg").read_text(encoding="utf-8") == plot
        assert f"](images/{name}.svg)" in page


def test_nothing_is_left_out(document: Document) -> None:
    """The run did all jobs with all rivals, or says why one is missing."""
    assert document.jobs == list(JOBS)
    absent = {(entry.job, entry.rival) for entry in document.missing}
    for job in JOBS.values():
        expected = {name for name in NAMES if not name.startswith("ours") or name in job.ours}
        assert expected == document.of(job.name).keys() | {rival for name, rival in absent if name == job.name}


def test_a_document_is_read_as_it_was_written(document: Document) -> None:
    """Writing what was read gives the same bytes."""
    assert dump(document) == report.RESULTS.read_text(encoding="utf-8")
