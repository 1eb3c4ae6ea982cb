"""Wiki-Llama: Llama 2 as a knowledge-grounded conversation partner, with every experiment tracked.

from wikillama import load_adapter
bot = load_adapter("models:/wiki-llama@candidate")
bot.reply(["Do you know the Ford Mustang?"], ["The Ford Mustang was introduced in April 1964."])
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from wikillama.tracking.loading import load_adapter

__version__ = "0.1.0"
__all__ = ["load_adapter"]


def __getattr__(name: str) -> object:
    # torch and mlflow take seconds to import; nobody who only reads a config should wait for them.
    if name == "load_adapter":
        from wikillama.tracking.loading import load_adapter

        return load_adapter
    raise AttributeError(name)
