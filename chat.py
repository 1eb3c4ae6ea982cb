"""Talk to an adapter: a local page, or the terminal.

python chat.py adapter=models:/wiki-llama@champion
python chat.py ui=terminal
python chat.py --help
"""

from wikillama.config import cli
from wikillama.config.chat import ChatConfig, check_chat


def main(cfg: ChatConfig) -> None:
    check_chat(cfg)
    from wikillama.jobs.chat import chat  # torch and friends take seconds; a mistyped key should not

    chat(cfg)


if __name__ == "__main__":
    cli.run("chat", ChatConfig, main)
