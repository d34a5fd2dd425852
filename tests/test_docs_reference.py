"""What is generated is fresh, and what it says is complete."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

from anomaly_exporter import metrics
from anomaly_exporter.config import Config, Model, Query, Target

ROOT = Path(__file__).resolve().parents[1]


def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("docs_generate", ROOT / "docs" / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


GENERATE = script()
GENERATED: dict[Path, str] = GENERATE.generated()


@pytest.mark.parametrize("path", GENERATED, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_generated_file_is_what_the_code_renders(path: Path) -> None:
    assert path.read_text(encoding="utf-8") == GENERATED[path], "stale: run `make reference`"


def test_checking_finds_nothing_to_do(capsys: pytest.CaptureFixture[str]) -> None:
    assert GENERATE.main(["--check"]) == 0
    assert capsys.readouterr().out == ""


def test_every_metric_is_in_the_reference() -> None:
    page = GENERATED[ROOT / "docs" / "metrics.md"]
    assert [spec.name for spec in metrics.ALL if f"| `{spec.name}` |" not in page] == []


@pytest.mark.parametrize("section", [Config, Target, Query, Model], ids=lambda section: section.__name__)
def test_every_key_of_a_section_is_in_the_reference_with_its_meaning(section: type[Config]) -> None:
    page = GENERATED[ROOT / "docs" / "configuration.md"]
    for key, field in section.model_fields.items():
        assert f"| `{key}` |" in page
        assert field.description, f"{section.__name__}.{key} has no docstring"
        assert " ".join(field.description.split()).replace("|", "\\|") in page


def test_a_page_without_markers_is_refused_by_name(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("nothing to replace\n")
    with pytest.raises(ValueError, match=r"page\.md: expected the lines"):
        GENERATE.between(page, "text")


def test_only_the_text_between_the_markers_is_replaced(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"before\n{GENERATE.BEGIN}\nold\n{GENERATE.END}\nafter\n")
    assert GENERATE.between(page, "new") == f"before\n{GENERATE.BEGIN}\n\nnew\n\n{GENERATE.END}\nafter\n"
