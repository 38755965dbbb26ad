"""What a model looked at for one text of one's own, and which words its prediction depends on.

`maps.py` has its attention, in words, for the demo; `words.py` what methods of attribution say of one text, `told.py`
of several, by one model or two, which `terminal.py` and `page.py` show.
"""

from attention_lab.explanation.maps import CAUTION, Map, explain

__all__ = ["CAUTION", "Map", "explain"]
