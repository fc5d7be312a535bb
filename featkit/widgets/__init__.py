"""What people look at in a notebook: the browser for feature views, and small panels.

A widget is one Python file with the traits, one of JavaScript, the table three, and one of CSS;
``dom.js`` and ``tokens.css`` are what they share. JavaScript shows, filters and sorts what it was
given at once; whatever needs the store is asked of Python by a message.
"""
