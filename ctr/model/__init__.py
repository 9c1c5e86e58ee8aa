"""The served model: its sparse form, its bytes, publishing it, following it.

``pages`` and ``sparse`` are the weights, ``image`` the publisher's copy of them, ``encoding`` their
bytes, ``manifest`` what is said about a version. ``snapshot`` stores versions as files, and
``prune`` makes a smaller one of one. ``records`` is what a model topic holds: ``topic`` writes it
(through ``transactions``, after a look at its ``tail``), ``assembler`` puts versions together
again, ``control`` holds one. ``follow`` and ``follow_files`` are the followers, and ``update`` what
they return. The format is specified in ``docs/model-format.md``.
"""
