"""Users of the API, each with a token: role, and the namespaces that it is for (none: all)."""

USERS = {
    "viewer": ("view", ()),
    "proxy": ("node", ()),
    "system:node:here": ("node", ()),
    "editor": ("edit", ()),
    "admin": ("admin", ()),
    "shop-viewer": ("view", ("shop",)),
    "shop-editor": ("edit", ("shop", "other")),
    "shop-admin": ("admin", ("shop",)),
}
