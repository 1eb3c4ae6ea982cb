"""Places in the checkout."""

from pathlib import Path

ROOT = Path(__file__).parents[3]
CONF = ROOT / "conf"


def portable(path: str) -> str:
    """A path as others may see it: the home directory becomes "~"."""
    home = str(Path.home())
    return path.replace(home, "~") if home != "/" else path


def public(text: str) -> str:
    """Text for records that leave this machine: paths start at the checkout or at "~"."""
    return portable(text.replace(f"{ROOT}/", "").replace(str(ROOT), "."))
