"""The screens about one thing, and the keys that open them."""

PAGES = {"alerts": "a", "detail": "d", "layers": "l", "spectrum": "s"}
