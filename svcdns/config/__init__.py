"""The configuration: every option said once, where values come from, and what may not be combined.

    readers -> acl, upstream_spec      what a value may be, and how a mistake is put
    options -> tables -> sections      what an option is; all that there are (about what is asked: query_words
    -> seeing) toml_file -> load <- checks        from file, variables and flags to Config; contradictions,
    warnings listening, own_address             where a server of it answers; which upstreams are itself

Standard library only, but for what a single option needs: the supervisor reads this.
"""
