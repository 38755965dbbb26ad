"""The one exception for a user's mistake."""


class InputError(Exception):
    """Something the user can fix: the message is one sentence that names the file, the row and the remedy.

    Commands print it and end with exit code 1; a traceback is for our own mistakes.
    """


def check_unicode(text: str, name: str) -> None:
    """
    Raises:
        InputError: it has half a character, or a byte that is no text.
    """
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise InputError(f"{name} is not UTF-8 at character {error.start + 1}; remove or convert that") from None
