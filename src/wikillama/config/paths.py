"""Places in the checkout."""

import re
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


# user and password of a URI, up to the last @ of its word: a / or an @ in a password is often left as it is
_USERINFO = re.compile(r"(?<=://)[^\s:/@]*(?::\S*)?@")
_PASSWORD = re.compile(r"(?<=[?&])(\w*password)=[^\s&]*")


def without_secrets(text: str) -> str:
    """Text that may hold URIs, without their users and passwords."""
    return _PASSWORD.sub(r"\1=...", _USERINFO.sub("", text))
