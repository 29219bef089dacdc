"""How the registry is driven: Kubernetes' REST paths on aiohttp, watch streams, health, metrics."""

import email  # noqa: F401  # which is to have its part

from svcdns.system.deferred_package import defer

# Before anything of them is loaded: what a server has no use for, or few have.
defer("aiohttp")  # its client
defer("aiohttp.multipart", "BodyPartReader", "MultipartReader")  # bodies of forms
defer("aiohttp.web_fileresponse", "FileResponse")  # with all types of files
defer("aiohttp.web_ws", "WebSocketReady", "WebSocketResponse", "WSMsgType")  # until somebody watches by one
defer("argparse", "ArgumentParser")  # for `python -m aiohttp.web`
defer("attr.validators")
defer("calendar")  # dates in headers, into seconds
defer("email.policy", "HTTP")  # how headers are read, until there is a Content-Type
defer("html", "escape")  # with 2,231 names of letters
defer("idna")  # domain names of other letters than ASCII
defer("prometheus_client")  # its own server
defer("prometheus_client.decorator", "decorate")  # of functions
defer("shutil", "rmtree")  # of tempfile, for folders; with what packs files
defer("urllib.request", "getproxies", "proxy_bypass")  # a client, too
