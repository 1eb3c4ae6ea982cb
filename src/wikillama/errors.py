"""The one exception that means: what the user gave cannot be used."""


class InputError(Exception):
    """Bad configuration or input. The message is one line: what is wrong, where, and how to fix it.

    Entry scripts print it and exit with code 2 (`wikillama.config.cli`).
    """

    def __init__(self, message: str) -> None:
        super().__init__(" ".join(message.split()))
