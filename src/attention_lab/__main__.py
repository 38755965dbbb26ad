"""`python -m attention_lab` is the command `attention-lab`."""

from attention_lab.cli import app

if __name__ == "__main__":
    app()
