"""``python -m fastcore``: bench, warmup, config, cache."""

import sys


def main() -> None:
    try:
        from fastcore._cli.app import app
    except ModuleNotFoundError as error:
        if error.name not in {"rich", "typer"}:
            raise
        print(
            f"The command line of fastcore needs {error.name}, which is not installed."
            ' Install it with: pip install "fastcore-kernels[cli]"',
            file=sys.stderr,
        )
        raise SystemExit(2) from None
    app()


if __name__ == "__main__":
    main()
