"""The console: the page that a browser shows, as files, and what a browser is told to allow it.

`static/` is HTML, CSS and ES modules as they are written, without a build step; `static/vendor/` holds two
modules of others, their versions, digests and licences.  `files` gives them to the API.
"""
