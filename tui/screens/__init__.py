"""The full-screen pages: each composes widgets and alone handles their messages."""
