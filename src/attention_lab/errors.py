"""The one exception for a user's mistake."""


class InputError(Exception):
    """Something the user can mend: the message is one sentence that names the file, the row and the remedy.

    Commands print it and end with exit code 1; a traceback is for our own mistakes.
    """
