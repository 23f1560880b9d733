"""One file a command; each has ``add(parser)`` and ``run(args)``, and is imported only when it is called."""
