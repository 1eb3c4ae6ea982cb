"""What refers to a run, an experiment or a version, said in the target's terms."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import quote

_RUN_ID = re.compile(r"\b[0-9a-f]{32}\b")


@dataclass(frozen=True, slots=True)
class Names:
    """By what is called so in the source: what it is called in the target."""

    experiment: tuple[str, str]  # id in the source, id in the target
    runs: Mapping[str, str]  # ids
    versions: dict[str, dict[str, str]] = field(default_factory=dict)  # numbers, by registered model

    def translated(self, text: str) -> str:
        """Text with the ids of runs, links to pages of the MLflow UI and `models:/` URIs of the target."""
        text = _RUN_ID.sub(lambda found: self.runs.get(found[0], found[0]), text)
        here, there = self.experiment
        text = text.replace(f"#/experiments/{here}/", f"#/experiments/{there}/")
        for name in self.versions:
            text = self._numbered(name, text)
        return text

    def _numbered(self, name: str, text: str) -> str:
        numbers, page = self.versions[name], re.escape(f"#/models/{quote(name, safe='')}/versions/")
        mention = rf"(models:/{re.escape(name)}/|{page}|\b{re.escape(name)},? version )(\d+)\b"
        return re.sub(mention, lambda found: found[1] + numbers.get(found[2], found[2]), text)
